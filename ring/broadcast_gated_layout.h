/* ring/broadcast_gated_layout.h - private: the control block in memory, the readers' entries, and behind them the data.
 * ring/README.md draws it. */
#ifndef WEIR_RING_BROADCAST_GATED_LAYOUT_H
#define WEIR_RING_BROADCAST_GATED_LAYOUT_H

#include <stddef.h>

#include <weir/base/atomic.h>
#include <weir/base/cacheline.h>
#include <weir/ring/broadcast_gated.h>

#define WEIR_BROADCAST_GATED_MAGIC UINT64_C(0x6574616772696577) /* "weirgate" */
#define WEIR_BROADCAST_GATED_VERSION UINT64_C(1)
#define WEIR_BROADCAST_GATED_PRESENT UINT64_C(1)

/* Written by the holder of that reader's slot alone. */
typedef struct weir_broadcast_gated_entry {
    weir_atomic_u64 word;   /* its generation in the upper 32 bits, and PRESENT; or 0 */
    weir_atomic_u64 cursor; /* everything before this position was released */
    uint8_t pad[WEIR_LINE_PAIR - 16];
} weir_broadcast_gated_entry;

typedef struct weir_broadcast_gated_layout {
    /* written once, by init */
    weir_atomic_u64 magic;
    weir_atomic_u64 version;
    weir_atomic_u64 capacity; /* bytes of data, a power of two */
    weir_atomic_u64 readers;
    uint8_t constant_pad[WEIR_LINE_PAIR - 32];
    /* written by the writer alone, when it asks the entries */
    weir_atomic_u64 announced; /* a record boundary: everything before it may be given up; it only grows */
    uint8_t announced_pad[WEIR_LINE_PAIR - 8];
    weir_broadcast_gated_entry entry[];
} weir_broadcast_gated_layout;

_Static_assert(offsetof(weir_broadcast_gated_layout, announced) == WEIR_LINE_PAIR, "the writer's line pair is its own");
_Static_assert(sizeof(weir_broadcast_gated_layout) == WEIR_BROADCAST_GATED_CONTROL, "entries follow the control block");
_Static_assert(sizeof(weir_broadcast_gated_entry) == WEIR_BROADCAST_GATED_ENTRY, "each reader's line pair is its own");

static inline unsigned char *weir_broadcast_gated_data(void *mem, uint32_t readers)
{
    return (unsigned char *)mem + WEIR_BROADCAST_GATED_CONTROL + (uint64_t)readers * WEIR_BROADCAST_GATED_ENTRY;
}

#endif
