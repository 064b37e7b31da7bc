/* Three producers and a consumer of a ring of lanes for the storm; each lane is checked as storm_spsc.c checks its one:
 * what a life leaves is known but for the one call that the kill interrupted. */
#include "storm.h"

#include "ring/kinds.h"

#define LIVES_MAX UINT64_C(131072)
#define PRODUCERS 3u
#define CAPACITY UINT64_C(512)
#define BUFFER 256u
#define BATCH_MAX 6u

enum { CONSUMER = PRODUCERS, CHILDREN };

/* A record's number: which life's it is, and its place among that one's. */
#define RECORD(life, seq) ((uint64_t)(life) << 40 | (seq))
#define RECORD_LIFE(id) ((id) >> 40)
#define RECORD_SEQ(id) ((id) & ((UINT64_C(1) << 40) - 1))

typedef struct notes {
    weir_atomic_u64 kind; /* in ring_kinds */
    weir_atomic_u64 left[PRODUCERS];
    /* the consumer's, of each lane: the next record after what it has certainly released, and may have released */
    weir_atomic_u64 released[PRODUCERS], seen[PRODUCERS];
    struct {
        weir_atomic_u64 lane;          /* 1 and up; 0: it published nothing */
        weir_atomic_u64 sent, sending; /* records published; how many, if its call has happened */
    } life[LIVES_MAX];
    _Alignas(WEIR_LINE_PAIR) unsigned char ring[WEIR_MPSC_CONTROL + PRODUCERS * (WEIR_SPSC_CONTROL + CAPACITY)];
} notes;

static ring ring_of(notes *n)
{
    return (ring){ .kind = &ring_kinds[weir_load_rlx(&n->kind)], .mem = n->ring, .bytes = sizeof n->ring,
                   .capacity = CAPACITY, .producers = PRODUCERS };
}

static void make(notes *n, uint64_t kind)
{
    weir_store_rlx(&n->kind, kind);
    ring r = ring_of(n);
    CHECK_OK(r.kind->init(&r, UINT64_MAX - 4095));
}

static void make_mpsc(void *share) { make(share, 1); }
static void make_ordered(void *share) { make(share, 2); }

/* ---- a producer ---- */

static weir_status put(storm_child *self, ring *r, uint64_t seq, bool more)
{
    unsigned char out[BUFFER];
    uint64_t random = support_random(&self->seed), len = 16 + random / 4 % 100;
    void *slot = NULL;
    weir_status status;
    storm_fill(out, RECORD(self->life, seq), len);
    if (random % 2 != 0) {
        status = r->kind->push(r, self->index, out, len, more);
    } else if ((status = r->kind->reserve(r, self->index, len, &slot)) == WEIR_OK) {
        memcpy(slot, out, len);
        status = r->kind->commit(r, self->index, len, more);
    }
    storm_turn(self, status == WEIR_OK);
    STORM_CHECK(self, status == WEIR_OK || status == WEIR_FULL);
    return status;
}

static void produce(storm_child *self)
{
    notes *n = self->share;
    ring r = ring_of(n);
    uint64_t seq = 0;
    STORM_CHECK(self, self->life < LIVES_MAX);
    STORM_CHECK(self, r.kind->attach_producer(&r, self->index) == WEIR_OK);
    storm_note(&n->life[self->life].lane, self->index + 1);
    while (weir_load_rlx(&self->page->stop) == 0) {
        uint64_t random = support_random(&self->seed), batch = random % 8 < 4 ? 0 : 1 + random / 8 % BATCH_MAX, got = 0;
        while (got < batch && put(self, &r, seq + got, true) == WEIR_OK)
            got++;
        bool last = random % 2 == 0 && got == batch;
        storm_note(&n->life[self->life].sending, seq + got + last);
        if (!last || put(self, &r, seq + got, false) != WEIR_OK) { /* without room for it the batch is still open */
            storm_note(&n->life[self->life].sending, seq + got);
            r.kind->flush(&r, self->index);
            last = false;
        }
        seq += got + last;
        storm_note(&n->life[self->life].sent, seq);
        if (got + last == 0)
            storm_idle(self);
    }
    storm_note(&n->left[self->index], 1);
}

/* ---- the consumer ---- */

typedef struct consumer {
    storm_child *self;
    notes *n;
    ring r;
    struct {
        uint64_t state; /* the record that is expected */
        bool known;     /* something was received in this life */
    } lane[PRODUCERS];
} consumer;

static bool may_end(const notes *n, uint64_t life, uint64_t seq)
{
    return seq == weir_load_acq(&n->life[life].sent) || seq == weir_load_acq(&n->life[life].sending);
}

/* May record id come in that lane when the one after `state` is expected? */
static bool may_follow(const notes *n, uint32_t lane, uint64_t state, uint64_t id)
{
    uint64_t life = RECORD_LIFE(state);
    if (id == state)
        return true;
    if (RECORD_LIFE(id) <= life || RECORD_LIFE(id) > LIVES_MAX || RECORD_SEQ(id) != 0 ||
        !may_end(n, life, RECORD_SEQ(state)))
        return false;
    for (life++; life < RECORD_LIFE(id); life++)
        if (weir_load_acq(&n->life[life].lane) == lane + 1 && !may_end(n, life, 0))
            return false;
    return true;
}

/* The first record after a take-over: the former consumer's last release of the lane was done or not done. */
static void expect(consumer *c, uint32_t lane, uint64_t id)
{
    if (!c->lane[lane].known) {
        uint64_t seen = weir_load_acq(&c->n->seen[lane]), released = weir_load_acq(&c->n->released[lane]);
        c->lane[lane].state = may_follow(c->n, lane, seen, id) ? seen : released;
    }
    STORM_CHECK(c->self, may_follow(c->n, lane, c->lane[lane].state, id));
}

static void check_record(consumer *c, uint32_t lane, const void *msg, uint32_t len)
{
    uint64_t id;
    STORM_CHECK(c->self, lane < PRODUCERS && len >= 16 && len <= BUFFER);
    memcpy(&id, msg, sizeof id);
    STORM_CHECK(c->self, RECORD_LIFE(id) < LIVES_MAX && storm_whole(msg, id, len));
    STORM_CHECK(c->self, RECORD_SEQ(id) < weir_load_acq(&c->n->life[RECORD_LIFE(id)].sending));
    expect(c, lane, id);
    if (!c->lane[lane].known) { /* certain now */
        storm_note(&c->n->released[lane], c->lane[lane].state);
        storm_note(&c->n->seen[lane], c->lane[lane].state);
        c->lane[lane].known = true;
    }
    c->lane[lane].state = id + 1;
}

static bool read_some(consumer *c)
{
    unsigned char in[BUFFER];
    uint64_t count = 1 + support_random(&c->self->seed) % 8, got = 0, lost;
    for (; got < count; got++) {
        uint32_t len = 0, lane = 0;
        weir_status status = c->r.kind->pop_more(&c->r, in, sizeof in, &len, &lane, &lost);
        storm_turn(c->self, status == WEIR_OK);
        if (status == WEIR_EMPTY)
            break;
        STORM_CHECK(c->self, status == WEIR_OK);
        check_record(c, lane, in, len);
    }
    for (uint32_t i = 0; i < PRODUCERS; i++)
        if (c->lane[i].known)
            storm_note(&c->n->seen[i], c->lane[i].state);
    c->r.kind->release(&c->r);
    for (uint32_t i = 0; i < PRODUCERS; i++)
        if (c->lane[i].known)
            storm_note(&c->n->released[i], c->lane[i].state);
    return got > 0;
}

static void consume(storm_child *self)
{
    static consumer c;
    c.self = self;
    c.n = self->share;
    c.r = ring_of(c.n);
    STORM_CHECK(self, c.r.kind->attach_consumer(&c.r) == WEIR_OK);
    for (;;) {
        bool left = true; /* before the look that finds nothing */
        for (uint32_t i = 0; i < PRODUCERS; i++)
            left = left && weir_load_acq(&c.n->left[i]) != 0;
        if (read_some(&c))
            continue;
        if (left)
            break;
        storm_idle(self);
    }
    for (uint32_t i = 0; i < PRODUCERS; i++) /* all is received that was ever published */
        expect(&c, i, RECORD(LIVES_MAX, 0));
}

static void live(storm_child *self)
{
    if (self->index == CONSUMER)
        consume(self);
    else
        produce(self);
}

const storm_kind storm_mpsc[STORM_LANES_COUNT] = {
    { "mpsc", CHILDREN, sizeof(notes), make_mpsc, live, NULL },
};
const storm_kind storm_mpsc_ordered[STORM_LANES_COUNT] = {
    { "mpsc-ordered", CHILDREN, sizeof(notes), make_ordered, live, NULL },
};
