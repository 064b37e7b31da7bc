#include "lanes.h"

#include <weir/ring/mpsc_layout.h>
#include <weir/ring/spsc_layout.h>

#define CAPACITY 128u
#define UNTOUCHED UINT32_C(0xdeadbeef)

struct ends {
    struct hostile_lanes lanes;
    weir_mpsc_consumer c;
    weir_spsc_consumer handles[HOSTILE_LANES];
};

static struct ends *ends(hostile_ring *r) { return (struct ends *)(void *)r->ends; }

static void sane(hostile_ring *r)
{
    const struct ends *e = ends(r);
    HOSTILE_CHECK(e->c.count <= HOSTILE_LANES && (e->c.count == 0 || (e->c.lanes == e->handles && e->c.at < e->c.count)));
    for (uint32_t i = 0; i < e->c.count; i++)
        hostile_lane_consumer_sane(&e->handles[i]);
}

static weir_status peek(hostile_ring *r, uint64_t random)
{
    (void)random;
    const void *msg = NULL;
    uint32_t len = UNTOUCHED, lane = UNTOUCHED;
    weir_status status = weir_mpsc_peek(&ends(r)->c, &msg, &len, &lane);
    if (status == WEIR_OK) {
        HOSTILE_CHECK(lane < ends(r)->c.count);
        hostile_lane_record(&ends(r)->handles[lane], msg, len);
    } else {
        HOSTILE_CHECK(msg == NULL && len == UNTOUCHED && lane == UNTOUCHED);
    }
    sane(r);
    return status;
}

static weir_status pop_as(hostile_ring *r, uint64_t random, bool more)
{
    uint64_t size = random >> 8 & (HOSTILE_BUFFER - 1);
    unsigned char *to = r->buffer + HOSTILE_BUFFER - size;
    uint32_t len = UNTOUCHED, lane = UNTOUCHED;
    weir_status status = more ? weir_mpsc_pop_more(&ends(r)->c, to, size, &len, &lane)
                              : weir_mpsc_pop(&ends(r)->c, to, size, &len, &lane);
    if (status == WEIR_OK || status == WEIR_E_TOO_SMALL)
        HOSTILE_CHECK(lane < ends(r)->c.count && (len <= size) == (status == WEIR_OK) &&
                      len <= ends(r)->handles[lane].record_max);
    else
        HOSTILE_CHECK(len == UNTOUCHED && lane == UNTOUCHED);
    sane(r);
    return status;
}

static weir_status pop(hostile_ring *r, uint64_t random) { return pop_as(r, random, false); }
static weir_status pop_more(hostile_ring *r, uint64_t random) { return pop_as(r, random, true); }

static weir_status release(hostile_ring *r, uint64_t random)
{
    (void)random;
    weir_mpsc_release(&ends(r)->c);
    for (uint32_t i = 0; i < ends(r)->c.count; i++)
        HOSTILE_CHECK(ends(r)->handles[i].head_pos == ends(r)->handles[i].pos);
    sane(r);
    return WEIR_OK;
}

static weir_status ready(hostile_ring *r, uint64_t random)
{
    (void)random;
    return weir_mpsc_ready(&ends(r)->c);
}

static weir_status lanes(hostile_ring *r, uint64_t random)
{
    (void)random;
    uint32_t count = UNTOUCHED;
    weir_status status = weir_mpsc_lanes(r->mem, r->row->bytes(), &count);
    HOSTILE_CHECK(status == WEIR_OK ? count >= 1 && count <= WEIR_MPSC_LANES_MAX : count == UNTOUCHED);
    return status;
}

static weir_status grow(hostile_ring *r, uint64_t random)
{
    return weir_mpsc_grow(r->mem, r->row->bytes(), 1 + (uint32_t)(random >> 8) % (HOSTILE_LANES + 2));
}

/* ---- the row ---- */

static uint64_t bytes(void) { return weir_mpsc_footprint(HOSTILE_LANES, CAPACITY); }

static weir_status init(hostile_ring *r, uint64_t start_pos)
{
    return weir_mpsc_init(r->mem, bytes(), HOSTILE_LANES, CAPACITY, start_pos);
}

static weir_status attach_producer(hostile_ring *r, uint64_t random)
{
    (void)random;
    weir_spsc_producer *p = &ends(r)->lanes.tx[r->lane];
    weir_status status = weir_mpsc_producer_attach(p, r->mem, bytes(), r->lane);
    hostile_lane_producer_sane(p);
    HOSTILE_CHECK((status == WEIR_OK) == (p->capacity != 0));
    return status;
}

static weir_status attach_consumer(hostile_ring *r, uint64_t random)
{
    (void)random;
    weir_status status = weir_mpsc_consumer_attach(&ends(r)->c, r->mem, bytes(), ends(r)->handles, HOSTILE_LANES);
    HOSTILE_CHECK((status == WEIR_OK) == (ends(r)->c.count != 0));
    sane(r);
    return status;
}

/* INVALID: the ring states fewer lanes, or more than there are handles for.  Lanes' loads: four and a walk in an
 * attach; a look, or two of padding, in each for who reads. */
#define ATTACHES (HOSTILE_ATTACH_STATUSES | HOSTILE_STATUS(WEIR_E_INVALID))
#define LATER (1 + 4 * HOSTILE_LANES) /* the number of lanes, and those that it says have come */
#define LOOKS (LATER + 2 + 2 * HOSTILE_LANES)

static const hostile_op ops[] = {
    { "producer_attach", HOSTILE_ATTACHES_PRODUCER, attach_producer, ATTACHES, 9, 1, false },
    { "grow", HOSTILE_GROWS, grow, ATTACHES, 5, 0, false },
    { "consumer_attach", HOSTILE_ATTACHES_CONSUMER, attach_consumer, ATTACHES, 5 + 4 * HOSTILE_LANES, 0, false },
    { "lanes", HOSTILE_LOOKS, lanes, HOSTILE_ATTACH_STATUSES, 5, 0, false },
    { "peek", HOSTILE_CONSUMES, peek, HOSTILE_PEEK_STATUSES, LOOKS, 0, false },
    { "pop", HOSTILE_CONSUMES, pop, HOSTILE_POP_STATUSES, LOOKS, 1, false },
    { "pop_more", HOSTILE_CONSUMES, pop_more, HOSTILE_POP_STATUSES, LOOKS, 1, false },
    { "release", HOSTILE_CONSUMES, release, 0, 0, 0, true },
    { "ready", HOSTILE_CONSUMES, ready, HOSTILE_PEEK_STATUSES, LATER + HOSTILE_LANES, 0, false },
    HOSTILE_LANE_OPS,
};

#define LANE_STRIDE (WEIR_SPSC_CONTROL + CAPACITY) /* a multiple of a line pair: weir_mpsc_stride */
_Static_assert(LANE_STRIDE % WEIR_LINE_PAIR == 0, "one lane lies behind the other");

static const hostile_words control[] = {
    { 0, 5, 0 },
    { WEIR_MPSC_CONTROL + 0, HOSTILE_LANES, LANE_STRIDE }, /* each lane's magic, */
    { WEIR_MPSC_CONTROL + 8, HOSTILE_LANES, LANE_STRIDE },
    { WEIR_MPSC_CONTROL + 16, HOSTILE_LANES, LANE_STRIDE },
    { WEIR_MPSC_CONTROL + offsetof(weir_spsc_layout, head), HOSTILE_LANES, LANE_STRIDE },
};
static const hostile_words consumer_writes[] = {
    { WEIR_MPSC_CONTROL + offsetof(weir_spsc_layout, head), HOSTILE_LANES, LANE_STRIDE },
};

const hostile_row hostile_row_mpsc = {
    .name = "mpsc", .bytes = bytes, .ends_bytes = sizeof(struct ends), .producers = HOSTILE_LANES, .init = init,
    .ops = ops, .op_count = HOSTILE_COUNT(ops),
    .control = control, .control_count = HOSTILE_COUNT(control),
    .consumer_writes = consumer_writes, .consumer_writes_count = HOSTILE_COUNT(consumer_writes),
};
