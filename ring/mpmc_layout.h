/* ring/mpmc_layout.h - private: the control block in memory, its shared words and their one decoder each. */
#ifndef WEIR_RING_MPMC_LAYOUT_H
#define WEIR_RING_MPMC_LAYOUT_H

#include <stddef.h>

#include <weir/base/atomic.h>
#include <weir/base/cacheline.h>
#include <weir/ring/lanes_private.h>
#include <weir/ring/mpmc.h>

#define WEIR_MPMC_MAGIC UINT64_C(0x636d706d72696577) /* "weirmpmc" */
#define WEIR_MPMC_VERSION UINT64_C(3)

/* Behind it: an owner word for each consumer slot, on line pairs; then the lanes. */
typedef struct weir_mpmc_layout {
    /* written once, by init */
    weir_atomic_u64 magic;
    weir_atomic_u64 version;
    weir_atomic_u64 lanes;
    weir_atomic_u64 consumers;
    weir_atomic_u64 slots; /* of each lane, a power of two */
    weir_atomic_u64 record_max;
    /* goes up with each lane that is made */
    weir_atomic_u64 made; /* lanes that are there: the first ones */
    uint8_t constant_pad[WEIR_LINE_PAIR - 56];
} weir_mpmc_layout;

_Static_assert(sizeof(weir_mpmc_layout) == WEIR_MPMC_CONTROL, "the owner words begin behind the control block");

/* A lane: the claim word on a line pair, a run word for each consumer slot on a line, then the slots. */
static inline uint64_t weir_mpmc_slots_off(uint32_t consumers)
{
    return WEIR_LINE_PAIR + ((uint64_t)consumers * WEIR_LINE + WEIR_LINE_PAIR - 1) / WEIR_LINE_PAIR * WEIR_LINE_PAIR;
}

/* Of a power of two. */
static inline uint32_t weir_mpmc_shift_of(uint32_t slots)
{
    uint32_t shift = 0;
    while (UINT64_C(1) << shift < slots)
        shift++;
    return shift;
}

static inline uint64_t weir_mpmc_stride(uint32_t record_max)
{
    return WEIR_MPMC_HEADER + (((uint64_t)record_max + 7) & ~UINT64_C(7));
}

static inline uint64_t weir_mpmc_lane_bytes(const weir_mpmc_shape *shape)
{
    uint64_t bytes = weir_mpmc_slots_off(shape->consumers) + shape->slots * weir_mpmc_stride(shape->record_max);
    return (bytes + WEIR_LINE_PAIR - 1) / WEIR_LINE_PAIR * WEIR_LINE_PAIR;
}

static inline uint64_t weir_mpmc_owner_off(uint32_t slot)
{
    return WEIR_MPMC_CONTROL + (uint64_t)slot * WEIR_LINE_PAIR;
}

/* The offset of a lane, and of its claim word. */
static inline uint64_t weir_mpmc_lane_off(const weir_mpmc_shape *shape, uint32_t lane)
{
    return weir_mpmc_owner_off(shape->consumers) + lane * weir_mpmc_lane_bytes(shape);
}

/* Where the lane's producer ran when it last looked for room; a hint, and any value will do. */
static inline weir_atomic_u64 *weir_mpmc_home(weir_atomic_u64 *claim)
{
    return weir_word_at(claim, WEIR_LINE);
}

static inline weir_atomic_u64 *weir_mpmc_run(weir_atomic_u64 *claim, uint32_t slot)
{
    return weir_word_at(claim, WEIR_LINE_PAIR + (uint64_t)slot * WEIR_LINE);
}

/* What the control block says, checked; each word of it is read once, for the caller to keep. */
typedef struct weir_mpmc_sizes {
    weir_mpmc_shape shape;
    uint32_t made; /* lanes that are there; shape.lanes: that there may be */
    weir_ring_room room;
} weir_mpmc_sizes;

/* weir_mpmc_validate reads it.  Returns: as weir_mpmc_shape_of. */
weir_status weir_mpmc_validate(const void *mem, uint64_t size_bytes, weir_mpmc_sizes *sizes);

/* ---- the claim word: everything before pos was claimed, last by that consumer slot ---- */

typedef struct weir_mpmc_claim {
    uint64_t pos; /* 56 bits */
    uint32_t by;
} weir_mpmc_claim;

static inline uint64_t weir_mpmc_claim_word(uint64_t pos, uint32_t by)
{
    return pos << 8 | by;
}

static inline weir_mpmc_claim weir_mpmc_claim_of(uint64_t word)
{
    return (weir_mpmc_claim){ .pos = word >> 8, .by = (uint32_t)(word & 0xff) };
}

/* ---- a run word: what that slot has of that lane, and has not finished ---- */

typedef struct weir_mpmc_run_state {
    uint64_t pos;  /* 56 bits: the first record that is not done */
    uint32_t left; /* records from there on; 0: the run is done */
    bool intent;   /* stored before the claim, and not confirmed since: it may never have come true */
} weir_mpmc_run_state;

static inline weir_mpmc_run_state weir_mpmc_run_of(uint64_t word)
{
    return (weir_mpmc_run_state){ .pos = word >> 8, .left = (uint32_t)(word >> 1 & 0x7f),
                                  .intent = (word & 0xfe) != 0 && (word & WEIR_MPMC_CONFIRMED) == 0 };
}

static inline uint64_t weir_mpmc_run_word(uint64_t pos, uint32_t left, uint64_t confirmed)
{
    return pos << 8 | (uint64_t)left << 1 | confirmed;
}

/* ---- an owner word: who works through what that slot has; 0: nobody, and there is nothing ---- */

typedef struct weir_mpmc_owner_state {
    uint32_t generation;
    uint32_t owner; /* a consumer slot */
    bool held;
} weir_mpmc_owner_state;

static inline uint64_t weir_mpmc_owner_word(uint32_t owner, uint32_t generation)
{
    return (uint64_t)generation << 32 | (uint64_t)owner << 8 | 1;
}

/* False: no consumer writes such a word. */
static inline bool weir_mpmc_owner_of(uint64_t word, uint32_t consumers, weir_mpmc_owner_state *state)
{
    *state = (weir_mpmc_owner_state){ .generation = (uint32_t)(word >> 32), .owner = (uint32_t)(word >> 8 & 0xffffff),
                                      .held = word != 0 };
    return word == 0 || ((word & 0xff) == 1 && state->owner < consumers);
}

#endif
