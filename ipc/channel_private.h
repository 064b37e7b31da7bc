/* ipc/channel_private.h - private: the half of a channel's handle that only the library sees. */
#ifndef WEIR_IPC_CHANNEL_PRIVATE_H
#define WEIR_IPC_CHANNEL_PRIVATE_H

#include <stdbool.h>

#include <weir/ipc/channel_layout.h>
#include <weir/ipc/os.h>
#include <weir/naming/view.h>

#define CHANNEL_ALIVE 0x77656972u

/* It lies behind the part that a fork clears, so that a child can free it. */
struct channel_cold {
    weir_section *section;
    weir_view view; /* the whole content, or what there was of it before the lane came */
    weir_role role;
    weir_wait wait;
    uint32_t slot, peer_slot;
    bool claimed;
    bool full_fence;
    bool idle; /* the last wait ended with nothing */
    uint64_t capacity;            /* stated by this handle; 0: none */
    char type[WEIR_TYPE_MAX + 1]; /* stated by this handle; "": none */
    uint64_t ended;               /* the peer's generation + 1 whose end was seen last, */
    uint64_t reported;            /* and the one whose end the caller knows of; 0: none */
    int64_t since_ns;             /* when the waiting began that has brought nothing yet */
    int64_t probed_ns;            /* when its lock was last asked about */
    uint32_t pauses;              /* between two looks for a message, */
    uint64_t wait_pos, wait_size; /* from where the last wait ended and the message it found there */
    uint64_t full, sleeps;        /* counters */
};

static inline struct channel_cold *channel_cold(weir_channel *channel)
{
    return (struct channel_cold *)(void *)((unsigned char *)channel + WEIR_OS_HANDLE_PART);
}

_Static_assert(sizeof(weir_channel) <= WEIR_OS_HANDLE_PART, "a handle's parts fit their pages");
_Static_assert(sizeof(struct channel_cold) <= WEIR_OS_HANDLE_PART, "a handle's parts fit their pages");

/* weir_channel_attach_lane attaches this handle's end to the lane; WEIR_EMPTY while there is none. */
weir_status weir_channel_attach_lane(weir_channel *channel);

#endif
