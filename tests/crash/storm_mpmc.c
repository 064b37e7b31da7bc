/* The work queue in the storm: three producers, three consumers, of whom any may be gone at any moment.  The parent
 * says who is; consumers hear of it, recover, and come back to their slots as a new generation.
 *
 * Each record has a mark: how far it is known to have come.  A record that was given back never comes again, one that
 * comes as new never came before, and each that was published is given back. */
#include "storm.h"

#include "ring/kinds.h"

#include <sched.h>

#define PRODUCERS 3u
#define CONSUMERS 3u
#define SLOTS 16u
#define RECORD_MAX 120u
#define BUFFER 128u
#define BATCH_MAX 6u
#define MARKS 64u /* of each lane: a record's takes the place of that of one that must be done, as its slot was */
#define HELD_MAX (PRODUCERS * WEIR_MPMC_RUN_MAX)

enum { CHILDREN = PRODUCERS + CONSUMERS };
enum mark { NEVER, CAME, GIVING, GIVEN }; /* GIVING: its release may have happened */

typedef struct notes {
    weir_atomic_u64 dead[CONSUMERS]; /* the highest generation of that slot that is known to be gone */
    weir_atomic_u64 life[CONSUMERS]; /* the generation at work */
    weir_atomic_u64 left[PRODUCERS];
    struct {
        weir_atomic_u64 sent, sending; /* records published in all lives; how many, if its call has happened */
    } lane[PRODUCERS];
    weir_atomic_u64 marks[PRODUCERS][MARKS]; /* the record's number + 1, and its mark */
    _Alignas(WEIR_LINE_PAIR) unsigned char ring[16384];
} notes;

static const weir_mpmc_shape shape = { PRODUCERS, CONSUMERS, SLOTS, RECORD_MAX };

static void make(void *share)
{
    notes *n = share;
    CHECK(weir_mpmc_footprint(&shape) <= sizeof n->ring);
    CHECK_OK(weir_mpmc_init(n->ring, sizeof n->ring, &shape, (UINT64_C(1) << 56) - 1000));
}

static void died(void *share, unsigned index)
{
    notes *n = share;
    if (index >= PRODUCERS)
        weir_store_rel(&n->dead[index - PRODUCERS], weir_load_acq(&n->life[index - PRODUCERS]));
}

/* ---- marks ---- */

static uint64_t mark_word(uint64_t seq, enum mark mark) { return (seq + 1) << 2 | (uint64_t)mark; }

/* NEVER where the mark is still that of the record before it in that place, which then was given back. */
static enum mark mark_of(storm_child *self, uint32_t lane, uint64_t seq)
{
    notes *n = self->share;
    uint64_t word = weir_load_acq(&n->marks[lane][seq % MARKS]);
    if (word >> 2 == seq + 1)
        return (enum mark)(word & 3);
    STORM_CHECK(self, (word == 0 && seq < MARKS) || (word >> 2 == seq + 1 - MARKS && (word & 3) >= GIVING));
    return NEVER;
}

/* Only who has the record in hand marks it. */
static void set_mark(storm_child *self, uint32_t lane, uint64_t seq, enum mark mark)
{
    storm_note(&((notes *)self->share)->marks[lane][seq % MARKS], mark_word(seq, mark));
}

/* It is in hand no more: another may be in its place. */
static void set_given(storm_child *self, uint32_t lane, uint64_t seq)
{
    uint64_t word = mark_word(seq, GIVING);
    (void)weir_cas_rel(&((notes *)self->share)->marks[lane][seq % MARKS], &word, mark_word(seq, GIVEN));
}

/* ---- a producer ---- */

static weir_status put(storm_child *self, weir_mpmc_producer *p, uint64_t seq, bool more)
{
    unsigned char out[BUFFER];
    uint64_t random = support_random(&self->seed), len = 16 + random / 4 % (RECORD_MAX - 15);
    void *slot = NULL;
    weir_status status;
    storm_fill(out, seq, len);
    if (random % 2 != 0) {
        status = more ? weir_mpmc_push_more(p, out, len) : weir_mpmc_push(p, out, len);
    } else if ((status = weir_mpmc_reserve(p, len, &slot)) == WEIR_OK) {
        memcpy(slot, out, len);
        status = more ? weir_mpmc_commit_more(p, len) : weir_mpmc_commit(p, len);
    }
    storm_turn(self, status == WEIR_OK);
    STORM_CHECK(self, status == WEIR_OK || status == WEIR_FULL);
    return status;
}

/* Every record was given back, by somebody to whom it had come. */
static void leave(storm_child *self, weir_mpmc_producer *p)
{
    notes *n = self->share;
    weir_status status;
    storm_note(&n->left[self->index], 1);
    while ((status = weir_mpmc_drained(p)) == WEIR_FULL)
        storm_idle(self);
    STORM_CHECK(self, status == WEIR_OK);
    uint64_t sent = weir_load_acq(&n->lane[self->index].sent);
    for (uint64_t seq = sent > MARKS ? sent - MARKS : 0; seq < sent; seq++)
        STORM_CHECK(self, mark_of(self, self->index, seq) >= GIVING);
}

/* A record's number is its position: a life that ends inside a call leaves no doubt which were published. */
static void produce(storm_child *self)
{
    notes *n = self->share;
    weir_mpmc_producer p;
    uint32_t lane = self->index;
    STORM_CHECK(self, weir_mpmc_producer_attach(&p, n->ring, sizeof n->ring, lane) == WEIR_OK);
    uint64_t seq = (p.pos + 1000) & WEIR_MPMC_POS_MASK;
    STORM_CHECK(self, seq == weir_load_acq(&n->lane[lane].sent) || seq == weir_load_acq(&n->lane[lane].sending));
    storm_note(&n->lane[lane].sent, seq);
    storm_note(&n->lane[lane].sending, seq);
    while (weir_load_rlx(&self->page->stop) == 0) {
        uint64_t random = support_random(&self->seed), batch = random % 8 < 4 ? 0 : 1 + random / 8 % BATCH_MAX, got = 0;
        while (got < batch && put(self, &p, seq + got, true) == WEIR_OK)
            got++;
        bool last = random % 2 == 0 && got == batch;
        storm_note(&n->lane[lane].sending, seq + got + last);
        if (!last || put(self, &p, seq + got, false) != WEIR_OK) {
            storm_note(&n->lane[lane].sending, seq + got);
            weir_mpmc_flush(&p);
            last = false;
        }
        seq += got + last;
        storm_note(&n->lane[lane].sent, seq);
        if (got + last == 0)
            storm_idle(self);
    }
    leave(self, &p);
}

/* ---- a consumer ---- */

typedef struct consumer {
    storm_child *self;
    notes *n;
    weir_mpmc_consumer c;
    weir_mpmc_lane lanes[PRODUCERS];
    uint64_t told[CONSUMERS]; /* deaths that it has acted on */
    struct { uint32_t lane; uint64_t seq; } held[HELD_MAX];
    uint64_t count;
} consumer;

static void check_record(consumer *c, uint32_t lane, const void *msg, uint32_t len, bool again)
{
    uint64_t seq;
    STORM_CHECK(c->self, lane < PRODUCERS && len >= 16 && len <= RECORD_MAX);
    memcpy(&seq, msg, sizeof seq);
    STORM_CHECK(c->self, seq < weir_load_acq(&c->n->lane[lane].sending) && storm_whole(msg, seq, len));
    enum mark mark = mark_of(c->self, lane, seq);
    STORM_CHECK(c->self, mark != GIVEN && (again || mark == NEVER));
    set_mark(c->self, lane, seq, CAME);
    STORM_CHECK(c->self, c->count < HELD_MAX);
    c->held[c->count].lane = lane;
    c->held[c->count++].seq = seq;
}

static void give_back(consumer *c)
{
    for (uint64_t i = 0; i < c->count; i++)
        set_mark(c->self, c->held[i].lane, c->held[i].seq, GIVING);
    weir_mpmc_release(&c->c);
    for (uint64_t i = 0; i < c->count; i++)
        set_given(c->self, c->held[i].lane, c->held[i].seq);
    c->count = 0;
}

/* Of itself, too: what its own slot's former lives had taken over is theirs. */
static void hear(consumer *c)
{
    for (uint32_t slot = 0; slot < CONSUMERS; slot++) {
        uint32_t owner, generation;
        if (weir_load_acq(&c->n->dead[slot]) == c->told[slot])
            continue;
        c->told[slot] = weir_load_acq(&c->n->dead[slot]);
        for (uint32_t x = 0; x < CONSUMERS; x++)
            if (weir_mpmc_owner(c->n->ring, sizeof c->n->ring, x, &owner, &generation) == WEIR_OK && owner == slot &&
                generation <= c->told[slot])
                STORM_CHECK(c->self, weir_mpmc_recover(&c->c, owner, generation) == WEIR_OK);
    }
}

static bool read_some(consumer *c)
{
    unsigned char in[BUFFER];
    uint64_t count = 1 + support_random(&c->self->seed) % 12, got = 0;
    for (; got < count; got++) {
        const void *msg = in;
        uint32_t len = 0, lane = 0;
        bool again = false;
        weir_status status = count % 2 != 0 ? weir_mpmc_peek(&c->c, &msg, &len, &lane, &again)
                                            : weir_mpmc_pop_more(&c->c, in, sizeof in, &len, &lane, &again);
        storm_turn(c->self, status == WEIR_OK);
        if (status == WEIR_AGAIN)
            continue;
        if (status == WEIR_EMPTY || status == WEIR_FULL) {
            STORM_CHECK(c->self, status != WEIR_FULL || c->count > 0);
            break;
        }
        STORM_CHECK(c->self, status == WEIR_OK);
        check_record(c, lane, msg, len, again);
    }
    give_back(c);
    return got > 0;
}

/* Its slot may be in another's hands, who works through what its former life left: then it waits for that. */
static void join(consumer *c)
{
    uint32_t slot = c->self->index - PRODUCERS;
    weir_status status;
    storm_note(&c->n->life[slot], c->self->life);
    while ((status = weir_mpmc_consumer_attach(&c->c, c->n->ring, sizeof c->n->ring, slot, (uint32_t)c->self->life,
                                               (uint32_t)(support_random(&c->self->seed) % 9), c->lanes, PRODUCERS)) !=
           WEIR_OK) {
        STORM_CHECK(c->self, status == WEIR_E_IN_USE);
        storm_turn(c->self, 0);
        storm_idle(c->self);
    }
}

static void consume(storm_child *self)
{
    static consumer c;
    c.self = self;
    c.n = self->share;
    join(&c);
    for (;;) {
        bool left = true; /* before the look that finds nothing */
        for (uint32_t i = 0; i < PRODUCERS; i++)
            left = left && weir_load_acq(&c.n->left[i]) != 0;
        hear(&c);
        if (read_some(&c)) { /* several have always work: without this each would use up its time slice */
            (void)sched_yield();
            continue;
        }
        if (left)
            break;
        storm_idle(self);
    }
    STORM_CHECK(self, weir_mpmc_consumer_detach(&c.c) == WEIR_OK);
}

static void live(storm_child *self)
{
    if (self->index >= PRODUCERS)
        consume(self);
    else
        produce(self);
}

const storm_kind storm_mpmc[STORM_MPMC_COUNT] = {
    { "mpmc", CHILDREN, sizeof(notes), make, live, died },
};
