/* ring/lanes_private.h - private: making, finding and reaching the lanes of a ring (lanes.h). */
#ifndef WEIR_RING_LANES_PRIVATE_H
#define WEIR_RING_LANES_PRIVATE_H

#include <stdbool.h>

#include <weir/ring/lanes.h>

static inline void *weir_ring_lane(const weir_ring_room *room, uint32_t lane)
{
    return room->mem + room->first_off + room->lane_bytes * lane;
}

/* weir_ring_made reads how many lanes there are.  False: that many there cannot be, or not in the room's bytes. */
bool weir_ring_made(const weir_ring_room *room, uint64_t *made);

/* weir_ring_can_grow tells whether the room holds that many lanes.  Returns: WEIR_OK; WEIR_E_INVALID. */
weir_status weir_ring_can_grow(const weir_ring_room *room, uint32_t made);

/* weir_ring_show states that that many lanes are there, which are whole. */
void weir_ring_show(weir_atomic_u64 *word, uint32_t made);

/* weir_ring_news tells whether lanes have come that the consumer does not know; *made: how many there are then. */
bool weir_ring_news(const weir_ring_room *room, uint32_t known, uint32_t *made);

/* weir_ring_reach_lanes sees that the lanes up to `made` can be touched: a number that some peer has written is no
 * proof that there are bytes.  Returns: WEIR_OK; WEIR_E_CORRUPT; or what the caller's function said. */
weir_status weir_ring_reach_lanes(weir_ring_room *room, uint32_t made);

#endif
