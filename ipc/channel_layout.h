/* ipc/channel_layout.h - private: a channel in its section's content.  ipc/README.md draws it. */
#ifndef WEIR_IPC_CHANNEL_LAYOUT_H
#define WEIR_IPC_CHANNEL_LAYOUT_H

#include <stddef.h>

#include <weir/ipc/channel.h>
#include <weir/ring/spsc_layout.h>

#define WEIR_CHANNEL_CONTENT 0x6e616863u /* "chan", the section's content number */
#define WEIR_CHANNEL_VERSION 4u
#define WEIR_CHANNEL_ROLE_MAX 127u /* producers, and consumers, that a channel can be made for */

/* Slots of the section: the producers', the consumers', and one that is only ever locked, by whoever agrees on the
 * terms. */
static inline uint32_t weir_channel_slots(uint32_t producers, uint32_t consumers) { return producers + consumers + 1; }
static inline uint32_t weir_channel_slot_terms(uint32_t producers, uint32_t consumers) { return producers + consumers; }

/* What a member counts: for whoever looks; nothing is decided by it. */
enum {
    WEIR_COUNT_MESSAGES,  /* sent, or received */
    WEIR_COUNT_FULL,      /* sends that found no room */
    WEIR_COUNT_SLEPT,
    WEIR_COUNT_WOKEN,     /* sleeps that somebody ended */
    WEIR_COUNT_LOST,      /* messages overwritten before they were read */
    WEIR_COUNT_RECOVERED, /* times it saw to what a dead participant had left */
    WEIR_COUNTS
};

/* What one participant writes; its slot's number is its place.  sleeper: a producer's; cleared by who wakes it.  The
 * counters go on from holder to holder; what they were when the holder came is beside them. */
typedef struct weir_channel_member {
    weir_sleeper sleeper;
    uint8_t sleeper_pad[WEIR_LINE - 16];
    weir_atomic_u64 identity; /* that its opener stated; 0: none */
    weir_atomic_u64 position; /* a consumer's, where the ring keeps none: how far it has read */
    weir_atomic_u64 process;  /* the holder's pid, in */
    weir_atomic_u64 pid_space; /* the pid namespace of that number; 0: not known */
    weir_atomic_u64 since_ns; /* when it came: CLOCK_REALTIME */
    weir_atomic_u64 introduced; /* weir_channel_introduced of the generation that the five above and count_before are
                                 * of, position excepted; 0: they are being changed (edge MEMBER) */
    uint8_t pad[WEIR_LINE - 48];
    weir_atomic_u64 count[WEIR_COUNTS];
    uint8_t count_pad[WEIR_LINE - 8 * WEIR_COUNTS];
    weir_atomic_u64 count_before[WEIR_COUNTS];
    uint8_t before_pad[WEIR_LINE - 8 * WEIR_COUNTS];
} weir_channel_member;

typedef struct weir_channel_layout {
    /* written once, before the section is visible */
    uint32_t version;
    uint32_t kind;
    uint32_t full_fence; /* 0: a sleeper's membarrier stands for both sides' fences */
    /* written once, before capacity */
    weir_atomic_u32 capacity_stated; /* 0: capacity is the default, which nobody asked for */
    /* written once, by the creator or by the holder of the terms' slot */
    weir_atomic_u64 capacity; /* of a lane; 0: there is no ring yet */
    weir_atomic_u64 type_len; /* 0: no type is stated yet */
    uint8_t type[WEIR_TYPE_MAX + 1];
    uint32_t producers, consumers; /* how many the channel is made for; before the section is visible */
    weir_atomic_u64 record_bytes;  /* longest record, of the kinds whose ring is made for one; before capacity */
    weir_atomic_u64 asked;         /* a capacity that was stated before there was a ring; 0: none */
    weir_atomic_u32 type_size, type_alignment, type_version; /* before type_len; 0: not stated */
    uint8_t constant_pad[256 - 132];
    /* written by consumers that sleep, cleared by the producer that wakes them */
    weir_sleeper consumer;
    weir_atomic_u64 consumer_alerts[2]; /* a bit for each consumer that has a descriptor */
    uint8_t consumer_pad[WEIR_LINE_PAIR - 32];
    /* each written by its participant */
    weir_channel_member member[];
} weir_channel_layout;

_Static_assert(offsetof(weir_channel_layout, capacity) == 16, "layout");
_Static_assert(offsetof(weir_channel_layout, type) == 32, "layout");
_Static_assert(offsetof(weir_channel_layout, record_bytes) == 104, "layout");
_Static_assert(offsetof(weir_channel_layout, consumer) == 256, "the consumers' line pair is their own");
_Static_assert(offsetof(weir_channel_layout, member) == 384, "members lie on line pairs");
_Static_assert(offsetof(weir_channel_member, count) == WEIR_LINE_PAIR, "counters lie off the lines that others look at");
_Static_assert(sizeof(weir_channel_member) == 2 * WEIR_LINE_PAIR, "a member's line pairs are its own");

static inline uint64_t weir_channel_introduced(uint32_t generation) { return (uint64_t)generation << 1 | 1; }

/* Where the ring begins: behind the members, so that what lies behind a control block of a line pair or two begins on a
 * page (a lane's bytes do). */
#define WEIR_CHANNEL_PAGE 4096u
static inline uint64_t weir_channel_ring_off(uint32_t producers, uint32_t consumers)
{
    uint64_t members = sizeof(weir_channel_layout) + (producers + consumers) * sizeof(weir_channel_member);
    uint64_t pages = (members + WEIR_SPSC_CONTROL + WEIR_CHANNEL_PAGE - 1) / WEIR_CHANNEL_PAGE;
    return pages * WEIR_CHANNEL_PAGE - WEIR_SPSC_CONTROL;
}

/* A channel of one producer and one consumer. */
#define WEIR_CHANNEL_SLOT_PRODUCER 0u
#define WEIR_CHANNEL_SLOT_CONSUMER 1u
#define WEIR_CHANNEL_LANE (WEIR_CHANNEL_PAGE - WEIR_SPSC_CONTROL)
#define WEIR_CHANNEL_DATA WEIR_CHANNEL_PAGE

#endif
