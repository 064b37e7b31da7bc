/* ipc/channel_private.h - private: the half of a channel's handle that only the library sees. */
#ifndef WEIR_IPC_CHANNEL_PRIVATE_H
#define WEIR_IPC_CHANNEL_PRIVATE_H

#include <stdbool.h>

#include <weir/ipc/channel_layout.h>
#include <weir/ipc/os.h>
#include <weir/ipc/watch.h>
#include <weir/naming/view.h>
#include <weir/ring/broadcast.h>
#include <weir/ring/latest.h>
#include <weir/ring/mpmc.h>
#include <weir/ring/mpsc.h>
#include <weir/ring/mpsc_ordered.h>

#define CHANNEL_ALIVE 0x77656972u

struct channel_kind;

/* The ring's handle, where it is not the inline one. */
union channel_end {
    weir_mpsc_consumer mpsc;
    weir_mpsc_ordered_producer ordered_tx;
    weir_mpsc_ordered_consumer ordered;
    weir_mpmc_consumer mpmc;
    weir_broadcast_writer broadcast_tx;
    weir_broadcast_reader broadcast;
    weir_latest_writer latest_tx;
    weir_latest_reader latest;
};

/* A type, as it is stated. */
struct channel_type {
    char name[WEIR_TYPE_MAX + 1]; /* "": none is stated */
    uint32_t size, alignment, version;
};

/* When the kernel was last asked about somebody's life, and how much news of deaths there had been. */
struct channel_asked {
    int64_t when_ns;
    uint64_t news;
};

/* What a wait for a message looks at besides: whether somebody of another channel is still there.  Of that channel's
 * deaths it is told. */
struct channel_beside {
    weir_channel *channel;
    weir_status (*look)(void *arg, int64_t now); /* WEIR_EMPTY: nothing ends the wait */
    void *arg;
};

/* The participants of one role: their slots of the section. */
struct channel_side {
    uint32_t first, count;
};

/* It lies behind the part that a fork clears, so that a child can free it. */
struct channel_cold {
    weir_section *section;
    weir_view early; /* what was mapped before the ring came, if a larger view has replaced it: it stays until close, so
                      * that what others may look at does too (channel.sleeper and the counters) */
    weir_view view; /* the whole content, or what there was of it before the ring came; of lanes with room for more */
    uint64_t room; /* bytes of address space that the view has */
    const struct channel_kind *kind;
    weir_kind number; /* of the kind */
    weir_role role;
    weir_wait wait;
    struct channel_side own, peers;
    uint32_t slot; /* of the section */
    uint32_t generation; /* in it */
    bool claimed, attached;
    bool came_first; /* before there was a ring */
    bool resumes;    /* its place's last holder had the same identity */
    bool full_fence;
    bool idle; /* the last wait ended with nothing */
    uint64_t capacity;            /* stated by this handle; 0: none */
    struct channel_type type;     /* stated by this handle */
    uint64_t ended, ended_deaths; /* the peers' joins + 1, and deaths, whose end was seen last, */
    uint64_t reported, reported_deaths; /* and those of which the caller knows; 0: none */
    int64_t since_ns;             /* when the waiting began that has brought nothing yet */
    struct channel_asked probed;    /* about the peers' locks; */
    struct channel_asked asked;     /* about those of consumers that are behind, */
    struct channel_asked recovered; /* and of those whose work may have to be recovered */
    uint64_t none_lives;            /* the peers' joins + 1 when the kernel last said that none of them lives */
    bool watched;                   /* deaths are told */
    bool unwatchable;               /* that was tried, in vain */
    bool listens;                   /* a client of the watch without its thread: its sleeps do the rounds, */
    bool deaf;                      /* or cannot */
    bool described;                 /* the caller has the descriptor, which is not for its sleeps alone */
    struct weir_watch_client watch;
    const struct channel_beside *beside; /* NULL: nothing */
    weir_channel *waits_beside;  /* whose waits look at this channel besides; set before the first of them */
    weir_atomic_u32 beside_waits; /* one does */
    bool told_elsewhere;         /* a mailbox's sender: its layer tells the caller of ends, and traces that */
    uint32_t record_bytes;          /* stated by this handle */
    uint32_t armings;             /* how often it has announced that it sleeps */
    bool crowded;                 /* the last yield let others run: there are more processes than processors */
    bool waited;                  /* this call has waited: it takes what there is */
    uint32_t pauses;              /* between two looks for a message, */
    uint32_t rest;                /* waits until one may linger again */
    uint64_t wait_pos, wait_size; /* from where the last wait ended and the message it found there */
    weir_channel_layout *layout;  /* stays from open to close: other threads look at it */
    weir_channel_member *member;  /* this handle's own, in it */
    uint64_t taken;               /* messages that came by a call that is not inline; */
    uint64_t taken_asked;         /* those at the last look whether a dead consumer left any */
    uint64_t redelivered;
    weir_message message; /* the last one that came by a call that is not inline */
    uint64_t first_pos;   /* of an inline consumer's: where it began */
    uint32_t others[WEIR_CHANNEL_ROLE_MAX]; /* descriptors of the peers' FIFOs that are kept, by place, plus 1; 0: none */
    union channel_end end;
    void *ring; /* mpmc: where it is, to look who owns what */
    uint64_t ring_bytes;
    void *handles;         /* the end's, one for each lane or reader; or room for a copy of a message */
    uint64_t position;     /* latest: the number of the value that was read last; */
    uint64_t reserved;     /* the bytes that are reserved */
};

static inline struct channel_cold *channel_cold(weir_channel *channel)
{
    return (struct channel_cold *)(void *)((unsigned char *)channel + WEIR_OS_HANDLE_APART);
}

_Static_assert(sizeof(weir_channel) <= WEIR_OS_HANDLE_PART, "a handle's parts fit their pages");
_Static_assert(sizeof(struct channel_cold) <= WEIR_OS_HANDLE_PART, "a handle's parts fit their pages");
_Static_assert(offsetof(weir_channel, busy) / 32 == offsetof(weir_channel, tx.reserved) / 32,
               "what a send stores in the handle goes to the cache as one store (ring/README.md)");

#define CHANNEL_OVERLAID(field) \
    (offsetof(weir_mpmc_producer, none) <= offsetof(weir_spsc_producer, field) && \
     offsetof(weir_mpmc_producer, stop_pos) > offsetof(weir_spsc_producer, field))
_Static_assert(CHANNEL_OVERLAID(reserved) && CHANNEL_OVERLAID(record_max) && CHANNEL_OVERLAID(limit_pos) &&
                   CHANNEL_OVERLAID(capacity) &&
                   offsetof(weir_mpmc_producer, fault) == offsetof(weir_spsc_producer, fault),
               "the inline calls of a lane find nothing in a work queue's producer, and its fault");

/* weir_channel_tally adds to one of this handle's counters (WEIR_COUNT_...). */
static inline void weir_channel_tally(struct channel_cold *cold, unsigned which, uint64_t more)
{
    weir_tally(&cold->member->count[which], more);
}

/* weir_channel_producers and _consumers: how many there is room for. */
static inline uint32_t weir_channel_producers(const struct channel_cold *cold)
{
    return cold->role == WEIR_PRODUCER ? cold->own.count : cold->peers.count;
}

static inline uint32_t weir_channel_consumers(const struct channel_cold *cold)
{
    return cold->role == WEIR_PRODUCER ? cold->peers.count : cold->own.count;
}

/* weir_channel_attach_ring attaches this handle's end to the ring; WEIR_EMPTY while there is none. */
weir_status weir_channel_attach_ring(weir_channel *channel);

/* weir_channel_attaches_later tells a status of that call that says: not yet. */
static inline bool weir_channel_attaches_later(weir_status status)
{
    return status == WEIR_EMPTY ||  /* there is no ring */
           status == WEIR_AGAIN ||  /* its writer was faster, at each try */
           status == WEIR_E_IN_USE; /* what the place's last holder left is just being worked through by another */
}

/* weir_channel_explain is a status that a ring met, as the caller should hear it: it knows nothing of forks and roles. */
weir_status weir_channel_explain(weir_channel *channel, weir_status status);

/* weir_channel_poison makes every later call on the handle answer that status. */
void weir_channel_poison(weir_channel *channel, weir_status status);

/* weir_channel_wake_peers wakes all of the other role; and consumers who have work of the dead to look for. */
void weir_channel_wake_peers(weir_channel *channel);

/* weir_channel_crowd counts a side together: generation and deaths are sums, presence is that of all.  *alive: how many
 * are.  ask: of the kernel too, a call for each that is said to be present. */
weir_status weir_channel_crowd(struct channel_cold *cold, struct channel_side side, bool ask, weir_participant *all,
                               uint32_t *alive);

#endif
