/* ring/spsc_layout.h - private: the ring's control block in memory; the data follow it.  ring/README.md draws it. */
#ifndef WEIR_RING_SPSC_LAYOUT_H
#define WEIR_RING_SPSC_LAYOUT_H

#include <stddef.h>

#include <weir/base/atomic.h>
#include <weir/base/cacheline.h>
#include <weir/ring/spsc.h>

#define WEIR_SPSC_MAGIC UINT64_C(0x6373707372696577) /* "weirspsc" */
#define WEIR_SPSC_VERSION UINT64_C(1)

typedef struct weir_spsc_layout {
    /* written once, by init */
    weir_atomic_u64 magic;
    weir_atomic_u64 version;
    weir_atomic_u64 capacity; /* bytes of data, a power of two */
    uint8_t constant_pad[WEIR_LINE_PAIR - 24];
    /* written by the consumer alone */
    weir_atomic_u64 head; /* everything before this position was released */
    uint8_t consumer_pad[WEIR_LINE_PAIR - 8];
} weir_spsc_layout;

_Static_assert(offsetof(weir_spsc_layout, head) == WEIR_LINE_PAIR, "the consumer's line pair is its own");
_Static_assert(sizeof(weir_spsc_layout) == WEIR_SPSC_CONTROL, "the data begin behind the control block");

/* weir_spsc_walk moves *pos, a record's beginning, over the headers there, each checked, to the first 0.
 *
 * Returns:  WEIR_OK; WEIR_E_CORRUPT (an impossible header; *pos is where it stands). */
weir_status weir_spsc_walk(unsigned char *data, uint64_t capacity, uint64_t *pos);

#endif
