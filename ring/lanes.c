#include <weir/base/fail.h>
#include <weir/ring/lanes_private.h>

/* Of lanes that there may be: the ring's footprint does not wrap, nor does a part of it. */
static uint64_t bytes_of(const weir_ring_room *room, uint64_t lanes)
{
    return room->first_off + room->lane_bytes * lanes;
}

static uint64_t stated(const weir_ring_room *room)
{
    /* order RING-LANES acq: the number before the lanes.  Without it half a lane is believed. */
    return weir_load_acq(room->made);
}

bool weir_ring_made(const weir_ring_room *room, uint64_t *made)
{
    *made = stated(room);
    return *made != 0 && *made <= room->lanes && bytes_of(room, *made) <= room->bytes;
}

weir_status weir_ring_can_grow(const weir_ring_room *room, uint32_t made)
{
    if (made <= room->lanes && bytes_of(room, made) <= room->bytes)
        return WEIR_OK;
    return weir_fail(WEIR_E_INVALID, "%u lanes of at most %u, in %llu bytes", made, room->lanes,
                     (unsigned long long)room->bytes);
}

void weir_ring_show(weir_atomic_u64 *word, uint32_t made)
{
    /* order RING-LANES rel: the lanes before their number.  Without it a consumer can attach to half a lane. */
    weir_store_rel(word, made);
}

bool weir_ring_news(const weir_ring_room *room, uint32_t known, uint32_t *made)
{
    if (known == room->lanes)
        return false;
    uint64_t there = stated(room);
    *made = there <= UINT32_MAX ? (uint32_t)there : UINT32_MAX;
    return *made > known;
}

weir_status weir_ring_reach_lanes(weir_ring_room *room, uint32_t made)
{
    if (made > room->lanes)
        return weir_fail(WEIR_E_CORRUPT, "the ring states %u lanes of at most %u", made, room->lanes);
    uint64_t bytes = bytes_of(room, made);
    if (bytes <= room->bytes)
        return WEIR_OK;
    if (room->reach == NULL)
        return weir_fail(WEIR_E_CORRUPT, "the ring states %u lanes in %llu bytes", made,
                         (unsigned long long)room->bytes);
    weir_status status = room->reach(room->reach_arg, bytes);
    if (status == WEIR_OK)
        room->bytes = bytes;
    return status;
}
