/* ring/latest_layout.h - private: the control block in memory; the slots follow it.  ring/README.md draws it. */
#ifndef WEIR_RING_LATEST_LAYOUT_H
#define WEIR_RING_LATEST_LAYOUT_H

#include <stddef.h>

#include <weir/base/atomic.h>
#include <weir/base/cacheline.h>
#include <weir/ring/latest.h>

#define WEIR_LATEST_MAGIC UINT64_C(0x7473746c72696577) /* "weirltst" */
#define WEIR_LATEST_VERSION UINT64_C(1)

typedef struct weir_latest_layout {
    /* written once, by init */
    weir_atomic_u64 magic;
    weir_atomic_u64 version;
    weir_atomic_u64 value_max; /* bytes */
    weir_atomic_u64 slots;     /* a power of two */
    uint8_t constant_pad[WEIR_LINE_PAIR - 32];
    /* written by the writer alone */
    weir_atomic_u64 current; /* the newest value's number; 0: none.  It lies in slot number mod slots */
    uint8_t writer_pad[WEIR_LINE_PAIR - 8];
} weir_latest_layout;

/* A slot: the number of the value that is, or is being, written there; its length in bytes; its bytes. */

_Static_assert(offsetof(weir_latest_layout, current) == WEIR_LINE_PAIR, "the writer's line pair is its own");
_Static_assert(sizeof(weir_latest_layout) == WEIR_LATEST_CONTROL, "the slots begin behind the control block");

#endif
