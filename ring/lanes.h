/* ring/lanes.h - lanes that come later: what mpsc.h, mpsc_ordered.h and mpmc.h have in common.
 *
 * Such a ring is made for a number of lanes and may begin with fewer, in as much memory as these need.  Lanes lie one
 * behind the other, and a word in the ring says how many are there: the first ones. */
#ifndef WEIR_RING_LANES_H
#define WEIR_RING_LANES_H

#include <stdint.h>

#include <weir/base/api.h>
#include <weir/base/atomic.h>
#include <weir/base/status.h>

WEIR_BEGIN_DECLS

/* weir_ring_reach is a function of the caller's, for memory that grows: the first `bytes` of the ring are about to be
 * touched.  WEIR_OK: they are there; what else it returns ends the call, and is the handle's fault for good. */
typedef weir_status weir_ring_reach(void *arg, uint64_t bytes);

/* Where a consumer finds lanes that are made while it is attached. */
typedef struct weir_ring_room {
    unsigned char *mem;
    uint64_t bytes;              /* that can be touched */
    uint64_t first_off;          /* of the first lane; */
    uint64_t lane_bytes;         /* the next ones lie that far apart */
    const weir_atomic_u64 *made; /* the word that says how many are there */
    uint32_t lanes;              /* the most there can be */
    weir_ring_reach *reach;      /* NULL: no more bytes will come */
    void *reach_arg;
} weir_ring_room;

WEIR_END_DECLS

#endif
