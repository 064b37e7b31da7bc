/* ipc/channel_layout.h - private: a channel in its section's content.  ipc/README.md draws it. */
#ifndef WEIR_IPC_CHANNEL_LAYOUT_H
#define WEIR_IPC_CHANNEL_LAYOUT_H

#include <stddef.h>

#include <weir/ipc/channel.h>
#include <weir/ring/spsc_layout.h>

#define WEIR_CHANNEL_CONTENT 0x6e616863u /* "chan", the section's content number */
#define WEIR_CHANNEL_VERSION 1u
#define WEIR_CHANNEL_DATA 4096u /* the lane's bytes begin here, on a page; its control block ends here */
#define WEIR_CHANNEL_LANE (WEIR_CHANNEL_DATA - WEIR_SPSC_CONTROL)
#define WEIR_CHANNEL_SLOT_PRODUCER 0u
#define WEIR_CHANNEL_SLOT_CONSUMER 1u
#define WEIR_CHANNEL_SLOT_TERMS 2u /* only ever locked: by whoever agrees on the words below */
#define WEIR_CHANNEL_SLOTS 3u

typedef struct weir_channel_layout {
    /* written once, before the section is visible */
    uint32_t version;
    uint32_t kind;
    uint32_t full_fence; /* 0: a sleeper's membarrier stands for both sides' fences */
    /* written once, before lane_bytes */
    weir_atomic_u32 capacity_stated; /* 0: lane_bytes is the default, which nobody asked for */
    /* written once, by the creator or by the holder of the terms' slot */
    weir_atomic_u64 lane_bytes; /* the lane's capacity; 0: there is no lane yet */
    weir_atomic_u64 type_len;   /* 0: no type is stated yet */
    uint8_t type[WEIR_TYPE_MAX + 1];
    uint8_t constant_pad[256 - 96];
    /* written by the consumer, cleared by the producer that wakes it */
    weir_sleeper consumer;
    uint8_t consumer_pad[WEIR_LINE_PAIR - 16];
    /* written by the producer, cleared by the consumer that wakes it */
    weir_sleeper producer;
    uint8_t producer_pad[WEIR_LINE_PAIR - 16];
} weir_channel_layout;

_Static_assert(offsetof(weir_channel_layout, lane_bytes) == 16, "layout");
_Static_assert(offsetof(weir_channel_layout, type) == 32, "layout");
_Static_assert(offsetof(weir_channel_layout, consumer) == 256, "a sleeper's line pair is its own");
_Static_assert(offsetof(weir_channel_layout, producer) == 384, "a sleeper's line pair is its own");
_Static_assert(sizeof(weir_channel_layout) == 512 && 512 <= WEIR_CHANNEL_LANE, "the lane lies behind");
_Static_assert(WEIR_CHANNEL_LANE % WEIR_LINE == 0, "the lane is aligned");

#endif
