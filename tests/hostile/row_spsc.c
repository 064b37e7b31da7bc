#include "lanes.h"

#include <weir/ring/spsc_layout.h>

#define CAPACITY 256u
#define UNTOUCHED UINT32_C(0xdeadbeef)

struct ends {
    struct hostile_lanes lanes;
    weir_spsc_consumer c;
};

static weir_spsc_producer *tx(hostile_ring *r)
{
    return &((struct hostile_lanes *)(void *)r->ends)->tx[r->lane];
}

static weir_spsc_consumer *rx(hostile_ring *r) { return &((struct ends *)(void *)r->ends)->c; }

/* ---- what holds of a private half, whatever the shared one says ---- */

void hostile_lane_producer_sane(const weir_spsc_producer *p)
{
    if (p->capacity == 0)
        return;
    HOSTILE_CHECK(p->capacity >= WEIR_SPSC_CAPACITY_MIN && (p->capacity & (p->capacity - 1)) == 0);
    HOSTILE_CHECK(p->record_max == weir_spsc_record_max(p->capacity));
    HOSTILE_CHECK(p->pos % 8 == 0 && p->head_pos % 8 == 0 && p->limit_pos == p->head_pos + p->capacity);
    HOSTILE_CHECK(p->pos - p->head_pos < p->capacity); /* never more than a lap */
}

void hostile_lane_consumer_sane(const weir_spsc_consumer *c)
{
    if (c->capacity == 0)
        return;
    HOSTILE_CHECK(c->capacity >= WEIR_SPSC_CAPACITY_MIN && (c->capacity & (c->capacity - 1)) == 0);
    HOSTILE_CHECK(c->pos % 8 == 0 && c->head_pos % 8 == 0 && c->pos - c->head_pos < c->capacity);
}

void hostile_lane_record(const weir_spsc_consumer *c, const void *msg, uint64_t len)
{
    uint64_t off = (uint64_t)((const unsigned char *)msg - c->data);
    HOSTILE_CHECK(off % 8 == 0 && off <= c->capacity && len <= c->capacity - off);
    HOSTILE_CHECK(len <= c->record_max);
    hostile_use(msg, len);
}

/* ---- producer ---- */

static uint64_t some_len(uint64_t random)
{
    return random & 7 ? (random >> 8) % 48 : (random >> 8) % HOSTILE_BUFFER;
}

weir_status hostile_lane_push(hostile_ring *r, uint64_t random)
{
    weir_status status = weir_spsc_push(tx(r), r->buffer, some_len(random));
    hostile_lane_producer_sane(tx(r));
    return status;
}

weir_status hostile_lane_push_more(hostile_ring *r, uint64_t random)
{
    weir_status status = weir_spsc_push_more(tx(r), r->buffer, some_len(random));
    hostile_lane_producer_sane(tx(r));
    return status;
}

weir_status hostile_lane_push_array(hostile_ring *r, uint64_t random)
{
    uint32_t count = (uint32_t)(random >> 20) % 8, pushed = UNTOUCHED;
    weir_status status = weir_spsc_push_array(tx(r), r->buffer, (random >> 8) % 32, count, &pushed);
    HOSTILE_CHECK(pushed <= count && (status != WEIR_OK || pushed == count) && (status >= 0 || pushed == 0));
    hostile_lane_producer_sane(tx(r));
    return status;
}

weir_status hostile_lane_reserve(hostile_ring *r, uint64_t random)
{
    weir_spsc_producer *p = tx(r);
    uint64_t len = some_len(random);
    void *slot = NULL;
    weir_status status = weir_spsc_reserve(p, len, &slot);
    HOSTILE_CHECK((status == WEIR_OK) == (slot != NULL));
    if (status == WEIR_OK) {
        uint64_t off = (uint64_t)((unsigned char *)slot - p->data);
        HOSTILE_CHECK(off % 8 == 0 && off <= p->capacity && len <= p->capacity - off);
        memset(slot, (int)random, len);
    }
    hostile_lane_producer_sane(p);
    return status;
}

weir_status hostile_lane_commit(hostile_ring *r, uint64_t random)
{
    uint64_t len = some_len(random);
    weir_status status = random >> 30 & 1 ? weir_spsc_commit(tx(r), len) : weir_spsc_commit_more(tx(r), len);
    hostile_lane_producer_sane(tx(r));
    return status;
}

weir_status hostile_lane_flush(hostile_ring *r, uint64_t random)
{
    (void)random;
    weir_spsc_flush(tx(r));
    hostile_lane_producer_sane(tx(r));
    return WEIR_OK;
}

weir_status hostile_lane_drained(hostile_ring *r, uint64_t random)
{
    (void)random;
    weir_status status = weir_spsc_drained(tx(r));
    hostile_lane_producer_sane(tx(r));
    return status;
}

/* ---- consumer ---- */

static weir_status peek(hostile_ring *r, uint64_t random)
{
    (void)random;
    const void *msg = NULL;
    uint32_t len = UNTOUCHED;
    weir_status status = weir_spsc_peek(rx(r), &msg, &len);
    if (status == WEIR_OK)
        hostile_lane_record(rx(r), msg, len);
    else
        HOSTILE_CHECK(msg == NULL && len == UNTOUCHED);
    hostile_lane_consumer_sane(rx(r));
    return status;
}

static weir_status pop_as(hostile_ring *r, uint64_t random, bool more)
{
    uint64_t size = random >> 8 & (HOSTILE_BUFFER - 1);
    uint32_t len = UNTOUCHED;
    unsigned char *to = r->buffer + HOSTILE_BUFFER - size;
    weir_status status = more ? weir_spsc_pop_more(rx(r), to, size, &len) : weir_spsc_pop(rx(r), to, size, &len);
    if (status == WEIR_OK)
        HOSTILE_CHECK(len <= size && len <= rx(r)->record_max);
    else if (status == WEIR_E_TOO_SMALL)
        HOSTILE_CHECK(len > size && len <= rx(r)->record_max);
    else
        HOSTILE_CHECK(len == UNTOUCHED);
    hostile_lane_consumer_sane(rx(r));
    return status;
}

static weir_status pop(hostile_ring *r, uint64_t random) { return pop_as(r, random, false); }
static weir_status pop_more(hostile_ring *r, uint64_t random) { return pop_as(r, random, true); }

static weir_status release(hostile_ring *r, uint64_t random)
{
    (void)random;
    weir_spsc_release(rx(r));
    HOSTILE_CHECK(rx(r)->head_pos == rx(r)->pos);
    return WEIR_OK;
}

static weir_status ready(hostile_ring *r, uint64_t random)
{
    (void)random;
    return weir_spsc_ready(rx(r));
}

/* ---- the row ---- */

static uint64_t bytes(void) { return weir_spsc_footprint(CAPACITY); }

static weir_status init(hostile_ring *r, uint64_t start_pos)
{
    return weir_spsc_init(r->mem, bytes(), CAPACITY, start_pos);
}

static weir_status attach_producer(hostile_ring *r, uint64_t random)
{
    (void)random;
    weir_status status = weir_spsc_producer_attach(tx(r), r->mem, bytes());
    hostile_lane_producer_sane(tx(r));
    HOSTILE_CHECK((status == WEIR_OK) == (tx(r)->capacity != 0) && tx(r)->capacity <= CAPACITY);
    return status;
}

static weir_status attach_consumer(hostile_ring *r, uint64_t random)
{
    (void)random;
    weir_status status = weir_spsc_consumer_attach(rx(r), r->mem, bytes());
    hostile_lane_consumer_sane(rx(r));
    HOSTILE_CHECK((status == WEIR_OK) == (rx(r)->capacity != 0) && rx(r)->capacity <= CAPACITY);
    return status;
}

static const hostile_op ops[] = {
    { "producer_attach", HOSTILE_ATTACHES_PRODUCER, attach_producer, HOSTILE_ATTACH_STATUSES, 4, 1, false },
    { "consumer_attach", HOSTILE_ATTACHES_CONSUMER, attach_consumer, HOSTILE_ATTACH_STATUSES, 4, 0, false },
    { "peek", HOSTILE_CONSUMES, peek, HOSTILE_PEEK_STATUSES, 2, 0, false },
    { "pop", HOSTILE_CONSUMES, pop, HOSTILE_POP_STATUSES, 2, 1, false },
    { "pop_more", HOSTILE_CONSUMES, pop_more, HOSTILE_POP_STATUSES, 2, 1, false },
    { "release", HOSTILE_CONSUMES, release, 0, 0, 0, true },
    { "ready", HOSTILE_CONSUMES, ready, HOSTILE_PEEK_STATUSES, 1, 0, false },
    HOSTILE_LANE_OPS,
};

static const hostile_words control[] = { { 0, 3, 0 }, { offsetof(weir_spsc_layout, head), 1, 0 } };
static const hostile_words consumer_writes[] = { { offsetof(weir_spsc_layout, head), 1, 0 } };

const hostile_row hostile_row_spsc = {
    .name = "spsc", .bytes = bytes, .ends_bytes = sizeof(struct ends), .producers = 1, .init = init,
    .ops = ops, .op_count = HOSTILE_COUNT(ops),
    .control = control, .control_count = HOSTILE_COUNT(control),
    .consumer_writes = consumer_writes, .consumer_writes_count = HOSTILE_COUNT(consumer_writes),
};
