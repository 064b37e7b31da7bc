#include "lanes.h"

#include <weir/ring/mpmc_layout.h>

#define LANES 2u
#define CONSUMERS 3u
#define SLOTS 8u
#define RECORD_MAX 40u
#define RUN 8u /* the longest that a consumer here claims */
#define FOOTPRINT 2048u
#define BYTES (FOOTPRINT + 768u) /* room for one lane more than it has, and no handle for that */
#define UNTOUCHED UINT32_C(0xdeadbeef)

static const weir_mpmc_shape made_as = { LANES, CONSUMERS, SLOTS, RECORD_MAX };

struct ends {
    weir_mpmc_producer tx[LANES];
    weir_mpmc_consumer c;
    weir_mpmc_lane handles[LANES];
    uint32_t slot, generation; /* who c is, or was: each attach is another */
};

static struct ends *ends(const hostile_ring *r) { return (struct ends *)(void *)r->ends; }
static weir_mpmc_producer *tx(hostile_ring *r) { return &ends(r)->tx[r->lane]; }
static weir_mpmc_consumer *rx(hostile_ring *r) { return &ends(r)->c; }

static uint64_t bytes(void)
{
    HOSTILE_CHECK(weir_mpmc_footprint(&made_as) == FOOTPRINT);
    return BYTES;
}

/* ---- what holds of a private half, whatever the shared one says ---- */

/* A lane's words and slots lie in the ring: the claim word, a run word for each consumer, the slots. */
static void lane_sane(const hostile_ring *r, const weir_atomic_u64 *claim, const unsigned char *data,
                      uint32_t consumers, uint64_t slots_bytes)
{
    uint64_t at = (uint64_t)((const unsigned char *)claim - r->mem), off = (uint64_t)(data - r->mem);
    HOSTILE_CHECK(consumers >= 1 && at >= weir_mpmc_owner_off(consumers) && at < BYTES);
    HOSTILE_CHECK(off == at + weir_mpmc_slots_off(consumers) && off <= BYTES && slots_bytes <= BYTES - off);
}

static void producer_sane(hostile_ring *r)
{
    const weir_mpmc_producer *p = tx(r);
    uint64_t slots = UINT64_C(1) << p->shift;
    if (p->consumers == 0)
        return;
    lane_sane(r, p->claim, p->data, p->consumers, p->stride << p->shift);
    HOSTILE_CHECK(p->stride == weir_mpmc_stride(p->record_max) && p->reserved <= p->record_max + 1);
    HOSTILE_CHECK(p->limit_pos == p->free_pos + slots && p->limit_pos - p->pos <= slots); /* never more than a lap */
    HOSTILE_CHECK(p->pos - p->claim_pos <= slots && p->stop_pos - p->pos <= p->limit_pos - p->pos);
}

static void consumer_sane(hostile_ring *r)
{
    const struct ends *e = ends(r);
    const weir_mpmc_consumer *c = &e->c;
    if (c->count == 0)
        return;
    HOSTILE_CHECK(c->count <= c->room.lanes && c->room.lanes <= LANES && c->room.bytes == BYTES);
    HOSTILE_CHECK(c->lanes == e->handles && c->at < c->count && c->slot == e->slot &&
                  c->slot < c->consumers && c->stride == weir_mpmc_stride(c->record_max));
    uint32_t adopted = 0;
    for (uint32_t slot = 0; slot < WEIR_MPMC_CONSUMERS_MAX; slot++)
        if ((c->adopted[slot / 64] >> slot % 64 & 1) != 0) {
            HOSTILE_CHECK(slot < c->consumers); /* its own too, if that one's word says that it was another's */
            adopted++;
        }
    HOSTILE_CHECK(c->adopted_count == adopted);
    for (uint32_t i = 0; i < c->count; i++) {
        const weir_mpmc_lane *of = &e->handles[i];
        lane_sane(r, of->claim, of->data, c->consumers, c->stride << c->shift);
        HOSTILE_CHECK(of->slot < c->consumers && of->run == weir_mpmc_run(of->claim, of->slot) && of->redelivered <= 1);
        HOSTILE_CHECK(of->next_pos - of->pos <= of->end_pos - of->pos && of->end_pos - of->pos <= WEIR_MPMC_RUN_MAX);
    }
}

/* ---- producer ---- */

static uint64_t some_len(uint64_t random)
{
    return random & 7 ? (random >> 8) % (RECORD_MAX + 1) : (random >> 8) % HOSTILE_BUFFER;
}

static weir_status push(hostile_ring *r, uint64_t random)
{
    weir_status status = weir_mpmc_push(tx(r), r->buffer, some_len(random));
    producer_sane(r);
    return status;
}

static weir_status push_more(hostile_ring *r, uint64_t random)
{
    weir_status status = weir_mpmc_push_more(tx(r), r->buffer, some_len(random));
    producer_sane(r);
    return status;
}

static weir_status reserve(hostile_ring *r, uint64_t random)
{
    const weir_mpmc_producer *p = tx(r);
    uint64_t len = some_len(random);
    void *slot = NULL;
    weir_status status = weir_mpmc_reserve(tx(r), len, &slot);
    HOSTILE_CHECK((status == WEIR_OK) == (slot != NULL));
    if (status == WEIR_OK) {
        uint64_t off = (uint64_t)((unsigned char *)slot - p->data), in_slot = off % p->stride;
        HOSTILE_CHECK(off < p->stride << p->shift && in_slot == WEIR_MPMC_HEADER && len <= p->stride - in_slot);
        memset(slot, (int)random, len);
    }
    producer_sane(r);
    return status;
}

static weir_status commit(hostile_ring *r, uint64_t random)
{
    uint64_t len = some_len(random);
    weir_status status = random >> 30 & 1 ? weir_mpmc_commit(tx(r), len) : weir_mpmc_commit_more(tx(r), len);
    producer_sane(r);
    return status;
}

static weir_status flush(hostile_ring *r, uint64_t random)
{
    (void)random;
    weir_mpmc_flush(tx(r));
    producer_sane(r);
    return WEIR_OK;
}

static weir_status drained(hostile_ring *r, uint64_t random)
{
    (void)random;
    weir_status status = weir_mpmc_drained(tx(r));
    producer_sane(r);
    return status;
}

/* ---- consumer ---- */

static weir_status peek(hostile_ring *r, uint64_t random)
{
    const void *msg = NULL;
    uint32_t len = UNTOUCHED, lane = UNTOUCHED;
    bool before = (random & 1) != 0, redelivered = before;
    const weir_mpmc_consumer *c = rx(r);
    weir_status status = weir_mpmc_peek(rx(r), &msg, &len, &lane, &redelivered);
    if (status == WEIR_OK) {
        HOSTILE_CHECK(lane < c->count && len <= c->record_max);
        const unsigned char *data = ends(r)->handles[lane].data;
        uint64_t off = (uint64_t)((const unsigned char *)msg - data);
        uint64_t slot = off - WEIR_MPMC_HEADER; /* which is all there is of one where no record has a byte */
        HOSTILE_CHECK(slot < c->stride << c->shift && slot % c->stride == 0);
        hostile_use(msg, len);
    } else {
        HOSTILE_CHECK(msg == NULL && len == UNTOUCHED && lane == UNTOUCHED && redelivered == before);
    }
    consumer_sane(r);
    return status;
}

static weir_status pop_as(hostile_ring *r, uint64_t random, bool more)
{
    uint64_t size = random >> 8 & (HOSTILE_BUFFER - 1);
    unsigned char *to = r->buffer + HOSTILE_BUFFER - size;
    uint32_t len = UNTOUCHED, lane = UNTOUCHED, count = rx(r)->count, record_max = rx(r)->record_max;
    bool before = (random & 1) != 0, redelivered = before;
    weir_status status = more ? weir_mpmc_pop_more(rx(r), to, size, &len, &lane, &redelivered)
                              : weir_mpmc_pop(rx(r), to, size, &len, &lane, &redelivered);
    if (rx(r)->count > count) /* lanes that the call has taken in */
        count = rx(r)->count;
    if (status == WEIR_OK || status == WEIR_E_TOO_SMALL)
        HOSTILE_CHECK(lane < count && (len <= size) == (status == WEIR_OK) && len <= record_max);
    else
        HOSTILE_CHECK(len == UNTOUCHED && lane == UNTOUCHED && redelivered == before);
    consumer_sane(r);
    return status;
}

static weir_status pop(hostile_ring *r, uint64_t random) { return pop_as(r, random, false); }
static weir_status pop_more(hostile_ring *r, uint64_t random) { return pop_as(r, random, true); }

static weir_status release(hostile_ring *r, uint64_t random)
{
    (void)random;
    weir_mpmc_release(rx(r));
    for (uint32_t i = 0; i < rx(r)->count; i++)
        HOSTILE_CHECK(ends(r)->handles[i].next_pos == ends(r)->handles[i].pos);
    consumer_sane(r);
    return WEIR_OK;
}

static weir_status ready(hostile_ring *r, uint64_t random)
{
    (void)random;
    return weir_mpmc_ready(&ends(r)->c);
}

static weir_status owner_of(hostile_ring *r, uint32_t slot, uint32_t *owner, uint32_t *generation)
{
    *owner = *generation = UNTOUCHED;
    weir_status status = weir_mpmc_owner(r->mem, BYTES, slot, owner, generation);
    HOSTILE_CHECK(status == WEIR_OK ? *owner < WEIR_MPMC_CONSUMERS_MAX
                                    : *owner == UNTOUCHED && *generation == UNTOUCHED);
    return status;
}

/* Takes over from who has a slot: who is not c is gone.  Otherwise, old news. */
static weir_status recover(hostile_ring *r, uint64_t random)
{
    uint32_t owner, generation;
    if ((random & 3) == 0 || owner_of(r, (uint32_t)(random >> 8 & 0xff) % CONSUMERS, &owner, &generation) != WEIR_OK) {
        owner = (uint32_t)(random >> 8 & 3);
        generation = (uint32_t)(random >> 10 & 7);
    }
    bool wrong = owner >= rx(r)->consumers || (owner == rx(r)->slot && generation == rx(r)->generation);
    bool attached = rx(r)->count != 0;
    weir_status status = weir_mpmc_recover(rx(r), owner, generation);
    HOSTILE_CHECK((status == WEIR_E_INVALID) == (attached && wrong));
    consumer_sane(r);
    return status;
}

static weir_status owner(hostile_ring *r, uint64_t random)
{
    uint32_t who, generation;
    return owner_of(r, (uint32_t)(random >> 8 & 0xff) % (CONSUMERS + 1), &who, &generation);
}

static weir_status shape_of(hostile_ring *r, uint64_t random)
{
    (void)random;
    weir_mpmc_shape shape = { UNTOUCHED, UNTOUCHED, UNTOUCHED, UNTOUCHED };
    weir_status status = weir_mpmc_shape_of(r->mem, BYTES, &shape);
    HOSTILE_CHECK(status == WEIR_OK ? weir_mpmc_footprint(&shape) != 0 /* of lanes that may not be there */
                                    : shape.lanes == UNTOUCHED && shape.consumers == UNTOUCHED &&
                                          shape.slots == UNTOUCHED && shape.record_max == UNTOUCHED);
    return status;
}

static weir_status lanes(hostile_ring *r, uint64_t random)
{
    (void)random;
    uint32_t count = UNTOUCHED;
    weir_status status = weir_mpmc_lanes(r->mem, BYTES, &count);
    HOSTILE_CHECK(status == WEIR_OK ? count >= 1 && count <= WEIR_MPMC_LANES_MAX : count == UNTOUCHED);
    return status;
}

static weir_status grow(hostile_ring *r, uint64_t random)
{
    return weir_mpmc_grow(r->mem, r->row->bytes(), 1 + (uint32_t)(random >> 8) % (LANES + 2));
}

/* ---- the row ---- */

static weir_status init(hostile_ring *r, uint64_t start_pos)
{
    return weir_mpmc_init(r->mem, BYTES, &made_as, start_pos & WEIR_MPMC_POS_MASK);
}

static uint64_t changed_before; /* a producer attached */

static weir_status attach_producer(hostile_ring *r, uint64_t random)
{
    (void)random;
    changed_before = hostile_mutated();
    weir_status status = weir_mpmc_producer_attach(tx(r), r->mem, BYTES, r->lane);
    HOSTILE_CHECK((status == WEIR_OK) == (tx(r)->consumers != 0));
    producer_sane(r);
    return status;
}

static weir_status attach_at(hostile_ring *r, uint32_t slot, uint32_t run_max)
{
    struct ends *e = ends(r);
    e->slot = slot;
    weir_status status = weir_mpmc_consumer_attach(&e->c, r->mem, BYTES, slot, ++e->generation, run_max,
                                                   e->handles, LANES);
    HOSTILE_CHECK((status == WEIR_OK) == (e->c.count != 0));
    consumer_sane(r);
    return status;
}

/* At any slot, also one that there is not; who was attached before is gone. */
static weir_status attach_consumer(hostile_ring *r, uint64_t random)
{
    uint32_t bits = (uint32_t)(random >> 8 & 0xff);
    return attach_at(r, bits == 255 ? CONSUMERS : bits % CONSUMERS, 1 + bits / CONSUMERS % RUN);
}

static weir_status attach_next(hostile_ring *r, uint64_t random)
{
    return attach_at(r, (ends(r)->slot + 1) % CONSUMERS, 1 + (uint32_t)(random >> 8 & 0xff) % RUN);
}

static weir_status detach(hostile_ring *r, uint64_t random)
{
    (void)random;
    weir_status before = rx(r)->fault, status = weir_mpmc_consumer_detach(rx(r));
    HOSTILE_CHECK(rx(r)->count == 0 && (before == WEIR_OK || status == before)); /* for good */
    return status;
}

/* A new producer does not say yet where its slots are: it takes headers back, in the lane that the ring has there. */
static bool new_producer_may_write(const hostile_ring *r, uint64_t off)
{
    weir_mpmc_shape now;
    for (unsigned i = 0; i < sizeof made_as / 4; i++)
        (&now.lanes)[i] = (uint32_t)weir_load_rlx(weir_word_at(r->mem, 16 + 8 * i));
    if (hostile_mutated() != changed_before || /* it may have read something else, which is undone by now */
        memcmp(&now, &made_as, sizeof now) != 0)
        return off >= weir_mpmc_owner_off(1) + weir_mpmc_slots_off(1);
    uint64_t from = off - weir_mpmc_lane_off(&made_as, r->lane) - weir_mpmc_slots_off(CONSUMERS);
    return from < SLOTS * weir_mpmc_stride(RECORD_MAX) && from % weir_mpmc_stride(RECORD_MAX) == 0;
}

/* A consumer writes owner words (its own before it knows the lanes), claim words and run words; a producer slots. */
static bool may_write(const hostile_ring *r, hostile_side side, uint64_t off)
{
    const struct ends *e = ends(r);
    const weir_mpmc_producer *p = &e->tx[r->lane];
    if (side == HOSTILE_PRODUCES)
        return p->consumers != 0 && off - (uint64_t)(p->data - r->mem) < p->stride << p->shift;
    if (side == HOSTILE_ATTACHES_PRODUCER)
        return new_producer_may_write(r, off);
    if (off == weir_mpmc_owner_off(e->slot))
        return true;
    for (uint32_t lane = 0; lane < LANES && e->handles[lane].claim != NULL; lane++) {
        uint64_t claim = (uint64_t)((unsigned char *)e->handles[lane].claim - r->mem);
        uint64_t data = (uint64_t)(e->handles[lane].data - r->mem);
        if (off == claim || (off >= claim + WEIR_LINE_PAIR && off < data && off % WEIR_LINE == 0) ||
            (off >= weir_mpmc_owner_off(0) && off < claim && lane == 0 && off % WEIR_LINE_PAIR == 0))
            return true;
    }
    return false;
}

/* The loads.  A ring that states other numbers: as many consumers as have room for their owner words, and as many lanes
 * as there are handles.  A leftover is a claim word, a run word and what settles it; an owner word is read and
 * changed. */
#define WHO (BYTES / WEIR_LINE_PAIR)
#define SHAPE 7
#define LATER (1 + LANES) /* the number of lanes, and the claim words of those that it says have come */
#define ROOM (1 + WHO) /* the claim word, the run words */
#define SETTLE (WHO * (3 * LANES + 1))
#define CLAIM (WEIR_MPMC_TRIES * (4 + 2 * RUN)) /* the claim word, headers, a confirmation, the claim */
#define LOOKS (LATER + LANES * (3 * WHO + CLAIM + 4))
#define READIES                                                                                                       \
    (HOSTILE_STATUS(WEIR_OK) | HOSTILE_STATUS(WEIR_EMPTY) | HOSTILE_STATUS(WEIR_FULL) |                               \
     HOSTILE_STATUS(WEIR_E_CORRUPT) | HOSTILE_STATUS(WEIR_E_STATE))
#define PEEKS (READIES | HOSTILE_STATUS(WEIR_AGAIN))
#define POPS (PEEKS | HOSTILE_STATUS(WEIR_E_TOO_SMALL))
#define ATTACHES (HOSTILE_ATTACH_STATUSES | HOSTILE_STATUS(WEIR_E_INVALID))
#define CONSUMER_LOADS (SHAPE + 1 + WEIR_MPMC_TRIES + 2 * WHO + 4 * LANES + SETTLE)

static const hostile_op ops[] = {
    { "consumer_attach", HOSTILE_ATTACHES_CONSUMER, attach_consumer, ATTACHES | HOSTILE_STATUS(WEIR_E_IN_USE),
      CONSUMER_LOADS, 0, false },
    { "consumer_detach", HOSTILE_ATTACHES_CONSUMER, detach,
      HOSTILE_STATUS(WEIR_OK) | HOSTILE_STATUS(WEIR_FULL) | HOSTILE_STATUS(WEIR_E_CORRUPT) |
          HOSTILE_STATUS(WEIR_E_STATE), 2 * LANES + SETTLE + 1, 0, false },
    { "consumer_attach next", HOSTILE_ATTACHES_CONSUMER, attach_next, ATTACHES | HOSTILE_STATUS(WEIR_E_IN_USE),
      CONSUMER_LOADS, 0, false },
    { "shape_of", HOSTILE_LOOKS, shape_of, HOSTILE_ATTACH_STATUSES, SHAPE, 0, false },
    { "lanes", HOSTILE_LOOKS, lanes, HOSTILE_ATTACH_STATUSES, SHAPE, 0, false },
    { "owner", HOSTILE_LOOKS, owner, ATTACHES | HOSTILE_STATUS(WEIR_EMPTY), SHAPE + 1, 0, false },
    { "producer_attach", HOSTILE_ATTACHES_PRODUCER, attach_producer, ATTACHES, SHAPE + 1, 1, false },
    { "grow", HOSTILE_GROWS, grow, ATTACHES, SHAPE, 0, false },
    { "peek", HOSTILE_CONSUMES, peek, PEEKS, LOOKS + 1, 0, false },
    { "pop", HOSTILE_CONSUMES, pop, POPS, LOOKS + 1 + SETTLE, 1, false },
    { "pop_more", HOSTILE_CONSUMES, pop_more, POPS, LOOKS + 1, 1, false },
    { "release", HOSTILE_CONSUMES, release, 0, SETTLE, 0, true },
    { "ready", HOSTILE_CONSUMES, ready, READIES, LATER + LANES * (WHO + 2), 0, false },
    { "recover", HOSTILE_CONSUMES, recover,
      HOSTILE_STATUS(WEIR_OK) | HOSTILE_STATUS(WEIR_E_INVALID) | HOSTILE_STATUS(WEIR_E_CORRUPT) |
          HOSTILE_STATUS(WEIR_E_STATE), SHAPE + 1 + LATER + 2 * WHO + SETTLE, 0, false },
    { "push", HOSTILE_PRODUCES, push, HOSTILE_PUSH_STATUSES, ROOM, 0, false },
    { "push_more", HOSTILE_PRODUCES, push_more, HOSTILE_PUSH_STATUSES, ROOM, 0, false },
    { "reserve", HOSTILE_PRODUCES, reserve, HOSTILE_PUSH_STATUSES, ROOM, 0, false },
    { "commit", HOSTILE_PRODUCES, commit,
      HOSTILE_STATUS(WEIR_OK) | HOSTILE_STATUS(WEIR_E_STATE) | HOSTILE_STATUS(WEIR_E_INVALID) |
          HOSTILE_STATUS(WEIR_E_CORRUPT), 0, 0, false },
    { "flush", HOSTILE_PRODUCES, flush, 0, 0, 0, true },
    { "drained", HOSTILE_PRODUCES, drained,
      HOSTILE_STATUS(WEIR_OK) | HOSTILE_STATUS(WEIR_FULL) | HOSTILE_STATUS(WEIR_E_CORRUPT) |
          HOSTILE_STATUS(WEIR_E_STATE), ROOM, 0, false },
};

#define LANE_STRIDE ((FOOTPRINT - WEIR_MPMC_CONTROL - CONSUMERS * WEIR_LINE_PAIR) / LANES)
#define FIRST_LANE (WEIR_MPMC_CONTROL + CONSUMERS * WEIR_LINE_PAIR)

static const hostile_words control[] = {
    { 0, 7, 0 },
    { WEIR_MPMC_CONTROL, CONSUMERS, WEIR_LINE_PAIR }, /* owners */
    { FIRST_LANE, LANES, LANE_STRIDE },               /* claims */
    { FIRST_LANE + WEIR_LINE_PAIR, CONSUMERS, WEIR_LINE },               /* runs, */
    { FIRST_LANE + LANE_STRIDE + WEIR_LINE_PAIR, CONSUMERS, WEIR_LINE }, /* of the other lane */
};

const hostile_row hostile_row_mpmc = {
    .name = "mpmc", .bytes = bytes, .ends_bytes = sizeof(struct ends), .producers = LANES, .init = init,
    .ops = ops, .op_count = HOSTILE_COUNT(ops),
    .control = control, .control_count = HOSTILE_COUNT(control), .may_write = may_write,
};
