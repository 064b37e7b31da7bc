/* ring/mpsc_layout.h - private: the control block in memory; the lanes follow it, each a whole spsc ring. */
#ifndef WEIR_RING_MPSC_LAYOUT_H
#define WEIR_RING_MPSC_LAYOUT_H

#include <weir/base/atomic.h>
#include <weir/base/cacheline.h>
#include <weir/ring/lanes_private.h>
#include <weir/ring/mpsc.h>

#define WEIR_MPSC_MAGIC UINT64_C(0x6373706d72696577)         /* "weirmpsc" */
#define WEIR_MPSC_ORDERED_MAGIC UINT64_C(0x64726f6d72696577) /* "weirmord" */
#define WEIR_MPSC_VERSION UINT64_C(2)

typedef struct weir_mpsc_layout {
    /* written once, by init */
    weir_atomic_u64 magic;
    weir_atomic_u64 version;
    weir_atomic_u64 lanes;
    weir_atomic_u64 capacity; /* bytes of data of each lane, a power of two */
    /* goes up with each lane that is made */
    weir_atomic_u64 made; /* lanes that are there: the first ones */
    uint8_t constant_pad[WEIR_LINE_PAIR - 40];
    /* mpsc_ordered.h: the next record's stamp, drawn by every producer */
    weir_atomic_u64 stamp;
    uint8_t stamp_pad[WEIR_LINE_PAIR - 8];
} weir_mpsc_layout;

_Static_assert(sizeof(weir_mpsc_layout) == WEIR_MPSC_CONTROL, "the lanes begin behind the control block");

/* Lanes lie on line pairs of their own. */
static inline uint64_t weir_mpsc_stride(uint64_t capacity)
{
    return (weir_spsc_footprint(capacity) + WEIR_LINE_PAIR - 1) / WEIR_LINE_PAIR * WEIR_LINE_PAIR;
}

static inline void *weir_mpsc_lane(void *mem, uint64_t capacity, uint32_t lane)
{
    return (unsigned char *)mem + WEIR_MPSC_CONTROL + weir_mpsc_stride(capacity) * lane;
}

/* What the control block says, checked; each word of it is read once, for the caller to keep. */
typedef struct weir_mpsc_sizes {
    uint32_t made; /* lanes that are there; room.lanes: that there may be */
    uint64_t capacity;
    weir_ring_room room;
} weir_mpsc_sizes;

/* What a ring is made of; made: how many of the lanes at once. */
typedef struct weir_mpsc_plan {
    uint64_t magic;
    uint32_t lanes, made;
    uint64_t capacity, start_pos, start_stamp;
} weir_mpsc_plan;

/* weir_mpsc_init_as, _grow_as, _validate and the attaches to one lane are what both kinds share; magic says which. */
weir_status weir_mpsc_init_as(const weir_mpsc_plan *plan, void *mem, uint64_t size_bytes);
weir_status weir_mpsc_grow_as(uint64_t magic, void *mem, uint64_t size_bytes, uint32_t made);
weir_status weir_mpsc_validate(uint64_t magic, const void *mem, uint64_t size_bytes, weir_mpsc_sizes *sizes);
weir_status weir_mpsc_attach_producer(uint64_t magic, weir_spsc_producer *p, void *mem, uint64_t size_bytes,
                                      uint32_t lane);
weir_status weir_mpsc_attach_consumer(weir_spsc_consumer *c, const weir_ring_room *room, uint64_t capacity,
                                      uint32_t lane);

#endif
