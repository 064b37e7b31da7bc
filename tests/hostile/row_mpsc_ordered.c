#include "lanes.h"

#include <weir/ring/mpsc_layout.h>
#include <weir/ring/mpsc_ordered.h>
#include <weir/ring/spsc_layout.h>

#define CAPACITY 128u
#define UNTOUCHED UINT32_C(0xdeadbeef)

struct ends {
    weir_mpsc_ordered_producer tx[HOSTILE_LANES];
    weir_mpsc_ordered_consumer c;
    weir_mpsc_ordered_lane handles[HOSTILE_LANES];
};

static struct ends *ends(hostile_ring *r) { return (struct ends *)(void *)r->ends; }
static weir_mpsc_ordered_producer *tx(hostile_ring *r) { return &ends(r)->tx[r->lane]; }

static void sane(hostile_ring *r)
{
    const struct ends *e = ends(r);
    uint32_t heads = 0;
    HOSTILE_CHECK(e->c.count <= HOSTILE_LANES && (e->c.count == 0 || e->c.lanes == e->handles));
    for (uint32_t i = 0; i < e->c.count; i++) {
        hostile_lane_consumer_sane(&e->handles[i].lane);
        heads += e->handles[i].has_head;
    }
    HOSTILE_CHECK(heads == e->c.heads);
}

/* ---- producer ---- */

static uint64_t some_len(uint64_t random)
{
    return random & 7 ? (random >> 8) % 32 : (random >> 8) % HOSTILE_BUFFER;
}

static weir_status push(hostile_ring *r, uint64_t random)
{
    uint64_t len = some_len(random);
    weir_status status = random >> 30 & 1 ? weir_mpsc_ordered_push(tx(r), r->buffer, len)
                                          : weir_mpsc_ordered_push_more(tx(r), r->buffer, len);
    hostile_lane_producer_sane(&tx(r)->lane);
    return status;
}

static weir_status reserve(hostile_ring *r, uint64_t random)
{
    const weir_spsc_producer *p = &tx(r)->lane;
    uint64_t len = some_len(random);
    void *slot = NULL;
    weir_status status = weir_mpsc_ordered_reserve(tx(r), len, &slot);
    HOSTILE_CHECK((status == WEIR_OK) == (slot != NULL));
    if (status == WEIR_OK) {
        uint64_t off = (uint64_t)((unsigned char *)slot - p->data);
        HOSTILE_CHECK(off % 8 == 0 && off <= p->capacity && len <= p->capacity - off);
        memset(slot, (int)random, len);
    }
    hostile_lane_producer_sane(p);
    return status;
}

static weir_status commit(hostile_ring *r, uint64_t random)
{
    uint64_t len = some_len(random);
    weir_status status = random >> 30 & 1 ? weir_mpsc_ordered_commit(tx(r), len)
                                          : weir_mpsc_ordered_commit_more(tx(r), len);
    hostile_lane_producer_sane(&tx(r)->lane);
    return status;
}

static weir_status flush(hostile_ring *r, uint64_t random)
{
    (void)random;
    weir_mpsc_ordered_flush(tx(r));
    return WEIR_OK;
}

/* ---- consumer ---- */

static weir_status peek(hostile_ring *r, uint64_t random)
{
    (void)random;
    const void *msg = NULL;
    uint32_t len = UNTOUCHED, lane = UNTOUCHED;
    weir_status status = weir_mpsc_ordered_peek(&ends(r)->c, &msg, &len, &lane);
    if (status == WEIR_OK) {
        HOSTILE_CHECK(lane < ends(r)->c.count);
        hostile_lane_record(&ends(r)->handles[lane].lane, msg, len);
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
    weir_status status = more ? weir_mpsc_ordered_pop_more(&ends(r)->c, to, size, &len, &lane)
                              : weir_mpsc_ordered_pop(&ends(r)->c, to, size, &len, &lane);
    if (status == WEIR_OK || status == WEIR_E_TOO_SMALL)
        HOSTILE_CHECK(lane < ends(r)->c.count && (len <= size) == (status == WEIR_OK) &&
                      len + WEIR_MPSC_STAMP <= ends(r)->handles[lane].lane.record_max);
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
    weir_mpsc_ordered_release(&ends(r)->c);
    sane(r);
    return WEIR_OK;
}

static weir_status ready(hostile_ring *r, uint64_t random)
{
    (void)random;
    return weir_mpsc_ordered_ready(&ends(r)->c);
}

static weir_status grow(hostile_ring *r, uint64_t random)
{
    return weir_mpsc_ordered_grow(r->mem, r->row->bytes(), 1 + (uint32_t)(random >> 8) % (HOSTILE_LANES + 2));
}

/* ---- the row ---- */

static uint64_t bytes(void) { return weir_mpsc_ordered_footprint(HOSTILE_LANES, CAPACITY); }

static weir_status init(hostile_ring *r, uint64_t start_pos)
{
    return weir_mpsc_ordered_init(r->mem, bytes(), HOSTILE_LANES, CAPACITY, start_pos, start_pos / 8);
}

static weir_status attach_producer(hostile_ring *r, uint64_t random)
{
    (void)random;
    weir_status status = weir_mpsc_ordered_producer_attach(tx(r), r->mem, bytes(), r->lane);
    hostile_lane_producer_sane(&tx(r)->lane);
    HOSTILE_CHECK((status == WEIR_OK) == (tx(r)->lane.capacity != 0 && tx(r)->stamp != NULL));
    return status;
}

static weir_status attach_consumer(hostile_ring *r, uint64_t random)
{
    (void)random;
    weir_status status = weir_mpsc_ordered_consumer_attach(&ends(r)->c, r->mem, bytes(), ends(r)->handles,
                                                           HOSTILE_LANES);
    HOSTILE_CHECK((status == WEIR_OK) == (ends(r)->c.count != 0));
    sane(r);
    return status;
}

/* INVALID: the ring states fewer lanes.  A push draws a stamp.  A look at all empty lanes (a header, or padding and a
 * header, and a stamp each) is repeated while it finds one, at most once for each lane. */
#define ATTACHES (HOSTILE_ATTACH_STATUSES | HOSTILE_STATUS(WEIR_E_INVALID))
#define LATER (1 + 4 * HOSTILE_LANES) /* the number of lanes, and those that it says have come */
#define LOOKS (4 * HOSTILE_LANES + (1 + 3 * HOSTILE_LANES) * (HOSTILE_LANES + 1))

static const hostile_op ops[] = {
    { "producer_attach", HOSTILE_ATTACHES_PRODUCER, attach_producer, ATTACHES, 9, 1, false },
    { "grow", HOSTILE_GROWS, grow, ATTACHES, 5, 0, false },
    { "consumer_attach", HOSTILE_ATTACHES_CONSUMER, attach_consumer, ATTACHES, 5 + 4 * HOSTILE_LANES, 0, false },
    { "peek", HOSTILE_CONSUMES, peek, HOSTILE_PEEK_STATUSES, LOOKS, 0, false },
    { "pop", HOSTILE_CONSUMES, pop, HOSTILE_POP_STATUSES, LOOKS, 1, false },
    { "pop_more", HOSTILE_CONSUMES, pop_more, HOSTILE_POP_STATUSES, LOOKS, 1, false },
    { "release", HOSTILE_CONSUMES, release, 0, 0, 0, true },
    { "ready", HOSTILE_CONSUMES, ready, HOSTILE_PEEK_STATUSES, LATER + HOSTILE_LANES, 0, false },
    { "push", HOSTILE_PRODUCES, push, HOSTILE_PUSH_STATUSES, 2, 0, false },
    { "push again", HOSTILE_PRODUCES, push, HOSTILE_PUSH_STATUSES, 2, 0, false },
    { "reserve", HOSTILE_PRODUCES, reserve, HOSTILE_PUSH_STATUSES, 1, 0, false },
    { "commit", HOSTILE_PRODUCES, commit,
      HOSTILE_STATUS(WEIR_OK) | HOSTILE_STATUS(WEIR_E_STATE) | HOSTILE_STATUS(WEIR_E_INVALID) |
          HOSTILE_STATUS(WEIR_E_CORRUPT), 1, 0, false },
    { "flush", HOSTILE_PRODUCES, flush, 0, 0, 0, true },
};

#define LANE_STRIDE (WEIR_SPSC_CONTROL + CAPACITY)

static const hostile_words control[] = {
    { 0, 5, 0 },
    { offsetof(weir_mpsc_layout, stamp), 1, 0 },
    { WEIR_MPSC_CONTROL + 0, HOSTILE_LANES, LANE_STRIDE },
    { WEIR_MPSC_CONTROL + 8, HOSTILE_LANES, LANE_STRIDE },
    { WEIR_MPSC_CONTROL + 16, HOSTILE_LANES, LANE_STRIDE },
    { WEIR_MPSC_CONTROL + offsetof(weir_spsc_layout, head), HOSTILE_LANES, LANE_STRIDE },
};
static const hostile_words consumer_writes[] = {
    { WEIR_MPSC_CONTROL + offsetof(weir_spsc_layout, head), HOSTILE_LANES, LANE_STRIDE },
};

const hostile_row hostile_row_mpsc_ordered = {
    .name = "mpsc_ordered", .bytes = bytes, .ends_bytes = sizeof(struct ends), .producers = HOSTILE_LANES,
    .init = init, .ops = ops, .op_count = HOSTILE_COUNT(ops),
    .control = control, .control_count = HOSTILE_COUNT(control),
    .consumer_writes = consumer_writes, .consumer_writes_count = HOSTILE_COUNT(consumer_writes),
};
