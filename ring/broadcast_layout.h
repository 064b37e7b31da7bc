/* ring/broadcast_layout.h - private: the ring's control block in memory; the data follow it.  ring/README.md draws
 * it. */
#ifndef WEIR_RING_BROADCAST_LAYOUT_H
#define WEIR_RING_BROADCAST_LAYOUT_H

#include <stddef.h>

#include <weir/base/atomic.h>
#include <weir/base/cacheline.h>
#include <weir/ring/broadcast.h>

#define WEIR_BROADCAST_MAGIC UINT64_C(0x7473636272696577) /* "weirbcst" */
#define WEIR_BROADCAST_VERSION UINT64_C(1)

/* A boundary between records: where readers that were overtaken, new readers and new writers begin. */
typedef struct weir_broadcast_anchor {
    weir_atomic_u64 pos;
    weir_atomic_u64 number; /* of the record that begins there */
} weir_broadcast_anchor;

typedef struct weir_broadcast_layout {
    /* written once, by init */
    weir_atomic_u64 magic;
    weir_atomic_u64 version;
    weir_atomic_u64 capacity; /* bytes of data, a power of two */
    uint8_t constant_pad[WEIR_LINE_PAIR - 24];
    /* written by the writer alone, once for each eighth of the capacity */
    weir_atomic_u64 limit;   /* bytes before this position less the capacity may be overwritten */
    weir_atomic_u64 anchors; /* how many there have been; the newest is at [anchors - 1 mod ANCHORS] */
    uint8_t limit_pad[WEIR_LINE_PAIR - 16];
    weir_broadcast_anchor anchor[WEIR_BROADCAST_ANCHORS];
} weir_broadcast_layout;

_Static_assert(offsetof(weir_broadcast_layout, limit) == WEIR_LINE_PAIR, "the writer's line pair is its own");
_Static_assert(sizeof(weir_broadcast_layout) == WEIR_BROADCAST_CONTROL, "the data begin behind the control block");

#endif
