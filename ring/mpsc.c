#include <weir/base/fail.h>
#include <weir/ring/mpsc.h>
#include <weir/ring/mpsc_layout.h>

uint64_t weir_mpsc_footprint(uint32_t lanes, uint64_t capacity_bytes)
{
    if (lanes == 0 || lanes > WEIR_MPSC_LANES_MAX || weir_spsc_footprint(capacity_bytes) == 0)
        return 0;
    return WEIR_MPSC_CONTROL + weir_mpsc_stride(capacity_bytes) * lanes; /* at most 2^55: it does not wrap */
}

/* Makes the lanes [from, to). */
static weir_status make_lanes(void *mem, uint64_t capacity, uint32_t from, uint32_t to, uint64_t start_pos)
{
    weir_status status = WEIR_OK;
    for (uint32_t i = from; i < to && status == WEIR_OK; i++)
        status = weir_spsc_init(weir_mpsc_lane(mem, capacity, i), weir_spsc_footprint(capacity), capacity, start_pos);
    return status;
}

weir_status weir_mpsc_init_as(const weir_mpsc_plan *plan, void *mem, uint64_t size_bytes)
{
    uint32_t lanes = plan->lanes, made = plan->made;
    uint64_t capacity_bytes = plan->capacity;
    uint64_t footprint = weir_mpsc_footprint(lanes, capacity_bytes) != 0 && made <= lanes
                             ? weir_mpsc_footprint(made, capacity_bytes)
                             : 0;
    if (mem == NULL || (uintptr_t)mem % WEIR_LINE != 0)
        return weir_fail(WEIR_E_INVALID, "a ring needs memory aligned to %d bytes", WEIR_LINE);
    if (footprint == 0)
        return weir_fail(WEIR_E_INVALID,
                         "%u of %u lanes (1 to %u) of capacity %llu (a power of two of at least %u bytes)", made, lanes,
                         WEIR_MPSC_LANES_MAX, (unsigned long long)capacity_bytes, WEIR_SPSC_CAPACITY_MIN);
    if (size_bytes < footprint)
        return weir_fail(WEIR_E_INVALID, "%u lanes of capacity %llu need %llu bytes, not %llu", made,
                         (unsigned long long)capacity_bytes, (unsigned long long)footprint,
                         (unsigned long long)size_bytes);
    weir_mpsc_layout *ring = mem;
    weir_store_rlx(&ring->magic, 0);
    weir_fence_compiler(); /* whoever is killed from here on leaves no ring, not an older one half changed */
    weir_store_rlx(&ring->version, WEIR_MPSC_VERSION);
    weir_store_rlx(&ring->lanes, lanes);
    weir_store_rlx(&ring->capacity, capacity_bytes);
    weir_store_rlx(&ring->made, made);
    weir_store_rlx(&ring->stamp, plan->start_stamp);
    weir_status status = make_lanes(mem, capacity_bytes, 0, made, plan->start_pos);
    if (status != WEIR_OK)
        return status;
    /* order MPSC-INIT rel: the control block and the lanes before the magic.  Without it who polls for the magic can
     * attach to half a control block. */
    weir_store_rel(&ring->magic, plan->magic);
    return WEIR_OK;
}

weir_status weir_mpsc_init_some(void *mem, uint64_t size_bytes, uint32_t lanes, uint32_t made, uint64_t capacity_bytes,
                                uint64_t start_pos)
{
    return weir_mpsc_init_as(&(weir_mpsc_plan){ WEIR_MPSC_MAGIC, lanes, made, capacity_bytes, start_pos, 0 }, mem,
                             size_bytes);
}

weir_status weir_mpsc_init(void *mem, uint64_t size_bytes, uint32_t lanes, uint64_t capacity_bytes, uint64_t start_pos)
{
    return weir_mpsc_init_some(mem, size_bytes, lanes, lanes, capacity_bytes, start_pos);
}

weir_status weir_mpsc_grow_as(uint64_t magic, void *mem, uint64_t size_bytes, uint32_t made)
{
    weir_mpsc_sizes sizes = { .made = 0 };
    weir_status status = weir_mpsc_validate(magic, mem, size_bytes, &sizes);
    if (status != WEIR_OK)
        return status;
    status = weir_ring_can_grow(&sizes.room, made);
    if (status != WEIR_OK || made <= sizes.made)
        return status;
    status = make_lanes(mem, sizes.capacity, sizes.made, made, 0);
    if (status == WEIR_OK)
        weir_ring_show(&((weir_mpsc_layout *)mem)->made, made);
    return status;
}

weir_status weir_mpsc_grow(void *mem, uint64_t size_bytes, uint32_t made)
{
    return weir_mpsc_grow_as(WEIR_MPSC_MAGIC, mem, size_bytes, made);
}

weir_status weir_mpsc_validate(uint64_t magic, const void *mem, uint64_t size_bytes, weir_mpsc_sizes *sizes)
{
    if (mem == NULL || (uintptr_t)mem % WEIR_LINE != 0)
        return weir_fail(WEIR_E_INVALID, "a ring needs memory aligned to %d bytes", WEIR_LINE);
    if (size_bytes < WEIR_MPSC_CONTROL)
        return weir_fail(WEIR_E_NOT_WEIR, "%llu bytes are too few for a ring", (unsigned long long)size_bytes);
    const weir_mpsc_layout *ring = mem;
    /* order MPSC-INIT acq: the magic before the control block and the lanes. */
    if (weir_load_acq(&ring->magic) != magic)
        return weir_fail(WEIR_E_NOT_WEIR, "no mpsc ring of that kind in that memory");
    uint64_t version = weir_load_rlx(&ring->version);
    if (version != WEIR_MPSC_VERSION)
        return weir_fail(WEIR_E_VERSION, "the ring has layout version %llu, this library knows %llu",
                         (unsigned long long)version, (unsigned long long)WEIR_MPSC_VERSION);
    uint64_t count = weir_load_rlx(&ring->lanes), bytes = weir_load_rlx(&ring->capacity), made = 0;
    weir_ring_room room = { .bytes = size_bytes, .first_off = WEIR_MPSC_CONTROL, .made = &ring->made };
    if (count <= WEIR_MPSC_LANES_MAX && weir_mpsc_footprint((uint32_t)count, bytes) != 0) {
        room.lanes = (uint32_t)count;
        room.lane_bytes = weir_mpsc_stride(bytes);
    }
    if (!weir_ring_made(&room, &made)) /* of a room of no lanes, neither */
        return weir_fail(WEIR_E_CORRUPT, "the ring states %llu lanes of capacity %llu, %llu at most, in %llu bytes",
                         (unsigned long long)made, (unsigned long long)bytes, (unsigned long long)count,
                         (unsigned long long)size_bytes);
    *sizes = (weir_mpsc_sizes){ (uint32_t)made, bytes, room };
    return WEIR_OK;
}

weir_status weir_mpsc_lanes(const void *mem, uint64_t size_bytes, uint32_t *lanes)
{
    weir_mpsc_sizes sizes = { .made = 0 };
    weir_status status = weir_mpsc_validate(WEIR_MPSC_MAGIC, mem, size_bytes, &sizes);
    if (status == WEIR_OK)
        *lanes = sizes.made;
    return status;
}

weir_status weir_mpsc_attach_producer(uint64_t magic, weir_spsc_producer *p, void *mem, uint64_t size_bytes,
                                      uint32_t lane)
{
    weir_mpsc_sizes sizes = { .made = 0 };
    *p = (weir_spsc_producer){ .fault = WEIR_OK };
    weir_status status = weir_mpsc_validate(magic, mem, size_bytes, &sizes);
    if (status != WEIR_OK)
        return status;
    if (lane >= sizes.made)
        return weir_fail(WEIR_E_INVALID, "the ring has %u lanes, there is no lane %u", sizes.made, lane);
    uint64_t capacity = sizes.capacity;
    status = weir_spsc_producer_attach(p, weir_mpsc_lane(mem, capacity, lane), weir_spsc_footprint(capacity));
    if (status == WEIR_OK && p->capacity == capacity)
        return WEIR_OK;
    *p = (weir_spsc_producer){ .fault = WEIR_OK };
    return weir_fail(WEIR_E_CORRUPT, "lane %u of the ring is none of capacity %llu", lane,
                     (unsigned long long)capacity);
}

weir_status weir_mpsc_producer_attach(weir_spsc_producer *p, void *mem, uint64_t size_bytes, uint32_t lane)
{
    return weir_mpsc_attach_producer(WEIR_MPSC_MAGIC, p, mem, size_bytes, lane);
}

weir_status weir_mpsc_attach_consumer(weir_spsc_consumer *c, const weir_ring_room *room, uint64_t capacity,
                                      uint32_t lane)
{
    weir_status status = weir_spsc_consumer_attach(c, weir_ring_lane(room, lane), weir_spsc_footprint(capacity));
    if (status == WEIR_OK && c->capacity == capacity)
        return WEIR_OK;
    return weir_fail(WEIR_E_CORRUPT, "lane %u of the ring is none of capacity %llu", lane,
                     (unsigned long long)capacity);
}

weir_status weir_mpsc_consumer_attach(weir_mpsc_consumer *c, void *mem, uint64_t size_bytes,
                                      weir_spsc_consumer *handles, uint32_t count)
{
    weir_mpsc_sizes sizes = { .made = 0 };
    *c = (weir_mpsc_consumer){ .fault = WEIR_OK };
    weir_status status = weir_mpsc_validate(WEIR_MPSC_MAGIC, mem, size_bytes, &sizes);
    if (status != WEIR_OK)
        return status;
    if (handles == NULL || count < sizes.room.lanes)
        return weir_fail(WEIR_E_INVALID, "the ring may have %u lanes, there is room for the handles of %u",
                         sizes.room.lanes, count);
    sizes.room.mem = mem;
    for (uint32_t i = 0; i < sizes.made; i++) {
        status = weir_mpsc_attach_consumer(&handles[i], &sizes.room, sizes.capacity, i);
        if (status != WEIR_OK)
            return status;
    }
    c->lanes = handles;
    c->count = sizes.made;
    c->capacity = sizes.capacity;
    c->room = sizes.room;
    return WEIR_OK;
}

/* ---- reading ---- */

static weir_status look_for_lanes(weir_mpsc_consumer *c)
{
    uint32_t made;
    if (c->count == 0)
        return c->fault != WEIR_OK ? c->fault : WEIR_E_STATE;
    if (WEIR_LIKELY(!weir_ring_news(&c->room, c->count, &made)))
        return WEIR_OK;
    weir_status status = weir_ring_reach_lanes(&c->room, made);
    for (uint32_t i = c->count; i < made && status == WEIR_OK; i++)
        status = weir_mpsc_attach_consumer(&c->lanes[i], &c->room, c->capacity, i);
    if (status != WEIR_OK)
        return weir_mpsc_poison(c, status);
    c->count = made;
    return WEIR_OK;
}

weir_status weir_mpsc_turn(weir_mpsc_consumer *c)
{
    weir_status status = look_for_lanes(c);
    if (status != WEIR_OK)
        return status;
    for (uint32_t looked = 0, lane = c->at; looked < c->count; looked++) {
        lane = lane + 1 < c->count ? lane + 1 : 0;
        if (weir_spsc_ready(&c->lanes[lane]) == WEIR_EMPTY)
            continue;
        if (lane != c->at && c->lanes[c->at].pos != c->lanes[c->at].head_pos)
            c->held = 1;
        c->at = lane;
        c->left = WEIR_MPSC_TURN;
        return WEIR_OK;
    }
    c->left = 1; /* so that a poll looks at this lane first */
    return WEIR_EMPTY;
}

weir_status weir_mpsc_poison(weir_mpsc_consumer *c, weir_status status)
{
    if (c->count != 0)
        *c = (weir_mpsc_consumer){ .fault = status };
    return status;
}

void weir_mpsc_release_all(weir_mpsc_consumer *c)
{
    for (uint32_t i = 0; i < c->count; i++)
        weir_spsc_release(&c->lanes[i]);
    c->held = 0;
}

weir_status weir_mpsc_ready(weir_mpsc_consumer *c)
{
    weir_status status = look_for_lanes(c);
    if (status != WEIR_OK)
        return status;
    for (uint32_t i = 0; i < c->count; i++)
        if (weir_spsc_ready(&c->lanes[i]) != WEIR_EMPTY)
            return WEIR_OK;
    return WEIR_EMPTY;
}
