#include <weir/base/fail.h>
#include <weir/ring/mpsc_layout.h>
#include <weir/ring/mpsc_ordered.h>

uint64_t weir_mpsc_ordered_footprint(uint32_t lanes, uint64_t capacity_bytes)
{
    return weir_mpsc_footprint(lanes, capacity_bytes);
}

uint32_t weir_mpsc_ordered_record_max(uint64_t capacity_bytes)
{
    uint32_t max = weir_spsc_record_max(capacity_bytes);
    return max != 0 ? max - WEIR_MPSC_STAMP : 0;
}

weir_status weir_mpsc_ordered_init_some(void *mem, uint64_t size_bytes, uint32_t lanes, uint32_t made,
                                        uint64_t capacity_bytes, uint64_t start_pos, uint64_t start_stamp)
{
    return weir_mpsc_init_as(
        &(weir_mpsc_plan){ WEIR_MPSC_ORDERED_MAGIC, lanes, made, capacity_bytes, start_pos, start_stamp }, mem,
        size_bytes);
}

weir_status weir_mpsc_ordered_init(void *mem, uint64_t size_bytes, uint32_t lanes, uint64_t capacity_bytes,
                                   uint64_t start_pos, uint64_t start_stamp)
{
    return weir_mpsc_ordered_init_some(mem, size_bytes, lanes, lanes, capacity_bytes, start_pos, start_stamp);
}

weir_status weir_mpsc_ordered_grow(void *mem, uint64_t size_bytes, uint32_t made)
{
    return weir_mpsc_grow_as(WEIR_MPSC_ORDERED_MAGIC, mem, size_bytes, made);
}

weir_status weir_mpsc_ordered_producer_attach(weir_mpsc_ordered_producer *p, void *mem, uint64_t size_bytes,
                                              uint32_t lane)
{
    p->stamp = NULL;
    weir_status status = weir_mpsc_attach_producer(WEIR_MPSC_ORDERED_MAGIC, &p->lane, mem, size_bytes, lane);
    if (status == WEIR_OK)
        p->stamp = &((weir_mpsc_layout *)mem)->stamp;
    return status;
}

static weir_status attach_lanes(weir_mpsc_ordered_lane *handles, const weir_ring_room *room, uint64_t capacity,
                                uint32_t from, uint32_t to)
{
    weir_status status = WEIR_OK;
    for (uint32_t i = from; i < to && status == WEIR_OK; i++) {
        handles[i] = (weir_mpsc_ordered_lane){ .has_head = 0 };
        status = weir_mpsc_attach_consumer(&handles[i].lane, room, capacity, i);
    }
    return status;
}

weir_status weir_mpsc_ordered_consumer_attach(weir_mpsc_ordered_consumer *c, void *mem, uint64_t size_bytes,
                                              weir_mpsc_ordered_lane *handles, uint32_t count)
{
    weir_mpsc_sizes sizes = { .made = 0 };
    *c = (weir_mpsc_ordered_consumer){ .fault = WEIR_OK };
    weir_status status = weir_mpsc_validate(WEIR_MPSC_ORDERED_MAGIC, mem, size_bytes, &sizes);
    if (status != WEIR_OK)
        return status;
    if (handles == NULL || count < sizes.room.lanes)
        return weir_fail(WEIR_E_INVALID, "the ring may have %u lanes, there is room for the handles of %u",
                         sizes.room.lanes, count);
    sizes.room.mem = mem;
    status = attach_lanes(handles, &sizes.room, sizes.capacity, 0, sizes.made);
    if (status != WEIR_OK)
        return status;
    c->lanes = handles;
    c->count = sizes.made;
    c->capacity = sizes.capacity;
    c->room = sizes.room;
    return WEIR_OK;
}

weir_status weir_mpsc_ordered_refuse(const weir_mpsc_ordered_producer *p, uint64_t len)
{
    if (p->lane.capacity == 0)
        return p->lane.fault != WEIR_OK ? p->lane.fault : WEIR_E_STATE;
    return weir_fail(WEIR_E_TOO_LARGE, "a record of %llu bytes is over the limit of %u in lanes of capacity %llu",
                     (unsigned long long)len, p->lane.record_max - WEIR_MPSC_STAMP,
                     (unsigned long long)p->lane.capacity);
}

static weir_status poison(weir_mpsc_ordered_consumer *c, weir_status status)
{
    *c = (weir_mpsc_ordered_consumer){ .fault = status };
    return status;
}

/* Looks at the head of a lane that had none; the lane's own position stays before it.  EMPTY: still none. */
static weir_status look(weir_mpsc_ordered_consumer *c, weir_mpsc_ordered_lane *l)
{
    uint64_t pos = l->lane.pos;
    weir_status status = weir_spsc_peek(&l->lane, &l->msg, &l->len);
    if (status != WEIR_OK)
        return status;
    if (l->len < WEIR_MPSC_STAMP)
        return weir_fail(WEIR_E_CORRUPT, "a record of %u bytes, too short for a stamp", l->len);
    WEIR_PAYLOAD_READ(&l->stamp, l->msg, sizeof l->stamp);
    l->msg = (const unsigned char *)l->msg + WEIR_MPSC_STAMP;
    l->len -= WEIR_MPSC_STAMP;
    l->next_pos = l->lane.pos;
    l->lane.pos = pos;
    l->has_head = 1;
    c->heads++;
    return WEIR_OK;
}

static weir_status look_for_lanes(weir_mpsc_ordered_consumer *c)
{
    uint32_t made;
    if (c->count == 0)
        return c->fault != WEIR_OK ? c->fault : WEIR_E_STATE;
    if (WEIR_LIKELY(!weir_ring_news(&c->room, c->count, &made)))
        return WEIR_OK;
    weir_status status = weir_ring_reach_lanes(&c->room, made);
    if (status == WEIR_OK)
        status = attach_lanes(c->lanes, &c->room, c->capacity, c->count, made);
    if (status != WEIR_OK)
        return poison(c, status);
    c->count = made;
    return WEIR_OK;
}

/* Looks at every lane without a head, those that have just come among them.  *found: whether one came. */
static weir_status look_at_empty(weir_mpsc_ordered_consumer *c, bool *found)
{
    *found = false;
    weir_status status = look_for_lanes(c);
    if (status != WEIR_OK)
        return status;
    if (c->heads == c->count)
        return WEIR_OK;
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->lanes[i].has_head != 0)
            continue;
        status = look(c, &c->lanes[i]);
        if (status == WEIR_OK)
            *found = true;
        else if (status != WEIR_EMPTY)
            return poison(c, status);
    }
    return WEIR_OK;
}

/* The lane whose head comes next.  A lane's stamps go up, so a head that is known stays its lane's lowest.  A record
 * that was pushed before the lowest of them was published before it: a look at the empty lanes that began after that
 * one was seen finds it.  So: look until a look finds nothing new. */
static weir_status next_lane(weir_mpsc_ordered_consumer *c, uint32_t *lane)
{
    if (c->count == 0)
        return c->fault != WEIR_OK ? c->fault : WEIR_E_STATE;
    bool found = true;
    while (found) { /* at most once for each lane, and once more */
        weir_status status = look_at_empty(c, &found);
        if (status != WEIR_OK)
            return status;
    }
    if (c->heads == 0)
        return WEIR_EMPTY;
    uint32_t best = c->count;
    for (uint32_t i = 0; i < c->count; i++)
        if (c->lanes[i].has_head != 0 &&
            (best == c->count || (int64_t)(c->lanes[i].stamp - c->lanes[best].stamp) < 0))
            best = i;
    *lane = best;
    return WEIR_OK;
}

static void deliver(weir_mpsc_ordered_consumer *c, weir_mpsc_ordered_lane *l)
{
    l->lane.pos = l->next_pos;
    l->has_head = 0;
    c->heads--;
}

weir_status weir_mpsc_ordered_peek(weir_mpsc_ordered_consumer *c, const void **msg, uint32_t *len, uint32_t *lane)
{
    uint32_t next;
    weir_status status = next_lane(c, &next);
    if (status != WEIR_OK)
        return status;
    *msg = c->lanes[next].msg;
    *len = c->lanes[next].len;
    *lane = next;
    deliver(c, &c->lanes[next]);
    return WEIR_OK;
}

void weir_mpsc_ordered_release(weir_mpsc_ordered_consumer *c)
{
    for (uint32_t i = 0; i < c->count; i++)
        weir_spsc_release(&c->lanes[i].lane);
}

weir_status weir_mpsc_ordered_pop_more(weir_mpsc_ordered_consumer *c, void *buffer, uint64_t size_bytes, uint32_t *len,
                                       uint32_t *lane)
{
    uint32_t next;
    weir_status status = next_lane(c, &next);
    if (status != WEIR_OK)
        return status;
    weir_mpsc_ordered_lane *l = &c->lanes[next];
    *len = l->len;
    *lane = next;
    if (l->len > size_bytes)
        return WEIR_E_TOO_SMALL;
    if (l->len != 0)
        WEIR_PAYLOAD_READ(buffer, l->msg, l->len);
    deliver(c, l);
    return WEIR_OK;
}

weir_status weir_mpsc_ordered_pop(weir_mpsc_ordered_consumer *c, void *buffer, uint64_t size_bytes, uint32_t *len,
                                  uint32_t *lane)
{
    weir_status status = weir_mpsc_ordered_pop_more(c, buffer, size_bytes, len, lane);
    if (status == WEIR_OK)
        weir_mpsc_ordered_release(c);
    return status;
}

weir_status weir_mpsc_ordered_ready(weir_mpsc_ordered_consumer *c)
{
    weir_status status = look_for_lanes(c);
    if (status != WEIR_OK)
        return status;
    if (c->heads != 0)
        return WEIR_OK;
    for (uint32_t i = 0; i < c->count; i++)
        if (weir_spsc_ready(&c->lanes[i].lane) != WEIR_EMPTY)
            return WEIR_OK;
    return WEIR_EMPTY;
}
