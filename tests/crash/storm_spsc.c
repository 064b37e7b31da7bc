/* A producer and a consumer of one lane for the storm.  Every record says whose it is and its place among that life's;
 * each end notes what it is about to do and what it has done.  So what a life leaves behind is known exactly but for
 * the one call that the kill interrupted, and that has happened as a whole or not at all. */
#include "storm.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <weir/ring/spsc.h>

#define LIVES_MAX UINT64_C(131072)
#define BUFFER 1024u
#define BATCH_MAX 8u
#define SMALL UINT64_C(256)
#define LARGE UINT64_C(16384)

enum { PRODUCER, CONSUMER, CHILDREN };

/* A record's number: which life's it is, and its place among that one's. */
#define RECORD(life, seq) ((uint64_t)(life) << 40 | (seq))
#define RECORD_LIFE(id) ((id) >> 40)
#define RECORD_SEQ(id) ((id) & ((UINT64_C(1) << 40) - 1))

typedef struct notes {
    uint64_t capacity;
    weir_atomic_u64 left; /* the producer has left in order */
    /* the consumer's: the next record after what it has certainly released, and after what it may have released */
    weir_atomic_u64 released, seen;
    uint32_t len; /* what pop was copying to when it was killed */
    unsigned char buffer[BUFFER];
    struct {
        weir_atomic_u64 sent, sending; /* the producer's: how many are published; how many, if its call has happened */
        weir_atomic_u64 parts;         /* that call is an array: any number up to there */
        weir_atomic_u64 known;         /* the consumer's: how many it has seen */
    } life[LIVES_MAX];
    _Alignas(WEIR_LINE_PAIR) unsigned char ring[];
} notes;

static uint64_t ring_bytes(uint64_t capacity) { return WEIR_SPSC_CONTROL + capacity; }

static void make(notes *n, uint64_t capacity)
{
    n->capacity = capacity;
    CHECK_OK(weir_spsc_init(n->ring, ring_bytes(capacity), capacity, UINT64_MAX - 4095));
}

static void make_small(void *share) { make(share, SMALL); }
static void make_large(void *share) { make(share, LARGE); }

static uint64_t random_len(const notes *n, uint64_t random)
{
    uint64_t max = weir_spsc_record_max(n->capacity);
    uint64_t often = max < 120 ? max : 120, seldom = max < BUFFER ? max : BUFFER;
    return 16 + random / 16 % ((random % 16 != 0 ? often : seldom) - 15);
}

/* ---- the producer ---- */

typedef struct producer {
    storm_child *self;
    notes *n;
    weir_spsc_producer p;
    uint64_t seq;  /* the next record */
    uint64_t open; /* records of the batch that is not published */
} producer;

static void note_sending(producer *p, uint64_t sending, bool parts)
{
    storm_note(&p->n->life[p->self->life].parts, parts);
    storm_note(&p->n->life[p->self->life].sending, sending);
}

static void note_sent(producer *p)
{
    storm_note(&p->n->life[p->self->life].sent, p->seq);
    p->open = 0;
}

static void publish_batch(producer *p)
{
    note_sending(p, p->seq, false);
    weir_spsc_flush(&p->p);
    note_sent(p);
    storm_turn(p->self, 0);
}

/* False: there is no room, and the storm is over. */
static bool put(producer *p, bool in_place, bool more, uint64_t random)
{
    unsigned char out[BUFFER];
    uint64_t id = RECORD(p->self->life, p->seq), len = random_len(p->n, random);
    void *slot = NULL;
    weir_status status;
    storm_fill(out, id, len);
    if (!more)
        note_sending(p, p->seq + 1, false);
    for (;;) {
        if (in_place && (status = weir_spsc_reserve(&p->p, len, &slot)) == WEIR_OK) {
            memcpy(slot, out, len);
            status = more ? weir_spsc_commit_more(&p->p, len) : weir_spsc_commit(&p->p, len);
        } else if (!in_place) {
            status = more ? weir_spsc_push_more(&p->p, out, len) : weir_spsc_push(&p->p, out, len);
        }
        storm_turn(p->self, status == WEIR_OK);
        if (status != WEIR_FULL)
            break;
        if (p->open > 0) { /* it holds room and nobody can take it */
            publish_batch(p);
            if (!more)
                note_sending(p, p->seq + 1, false);
        }
        if (weir_load_rlx(&p->self->page->stop) != 0)
            return false;
        storm_idle(p->self);
    }
    STORM_CHECK(p->self, status == WEIR_OK);
    p->seq++;
    p->open += more;
    if (!more)
        note_sent(p);
    return true;
}

static void put_array(producer *p, uint64_t random)
{
    unsigned char out[BATCH_MAX * 64];
    uint32_t count = (uint32_t)(1 + random % BATCH_MAX), pushed = 0;
    uint64_t len = 16 + (random >> 8) % 33;
    for (uint32_t i = 0; i < count; i++)
        storm_fill(out + i * len, RECORD(p->self->life, p->seq + i), len);
    note_sending(p, p->seq + count, true);
    weir_status status = weir_spsc_push_array(&p->p, out, len, count, &pushed);
    STORM_CHECK(p->self, status == WEIR_OK ? pushed == count : status == WEIR_FULL && pushed < count);
    p->seq += pushed;
    note_sent(p);
    storm_turn(p->self, pushed);
    if (pushed == 0)
        storm_idle(p->self);
}

static void produce(storm_child *self)
{
    producer p = { .self = self, .n = self->share };
    STORM_CHECK(self, self->life < LIVES_MAX);
    weir_status status = weir_spsc_producer_attach(&p.p, p.n->ring, ring_bytes(p.n->capacity));
    STORM_CHECK(self, status == WEIR_OK);
    while (weir_load_rlx(&self->page->stop) == 0) {
        uint64_t random = support_random(&self->seed), way = random & 7;
        if (way == 0) {
            put_array(&p, random >> 8);
            continue;
        }
        for (uint64_t i = way < 4 ? 1 + (random >> 8) % BATCH_MAX : 1; i > 0; i--) /* 1 to 3: a batch */
            if (!put(&p, (random >> 16 >> i & 1) != 0, way < 4 && (i > 1 || way == 1), support_random(&self->seed)))
                break;
        if (p.open > 0)
            publish_batch(&p);
    }
    note_sending(&p, p.seq, false);
    storm_note(&p.n->left, 1);
}

/* ---- the consumer ---- */

typedef struct consumer {
    storm_child *self;
    notes *n;
    weir_spsc_consumer c;
    uint64_t state; /* the record that is expected */
    bool first;     /* nothing was received in this life: state is not known yet */
} consumer;

/* May that life's records end at seq, its producer being gone? */
static bool may_end(const notes *n, uint64_t life, uint64_t seq)
{
    uint64_t sent = weir_load_acq(&n->life[life].sent), sending = weir_load_acq(&n->life[life].sending);
    bool parts = weir_load_acq(&n->life[life].parts) != 0;
    return seq >= weir_load_acq(&n->life[life].known) &&
           (seq == sent || seq == sending || (parts && seq > sent && seq < sending));
}

/* May record id come when the one after `state` is expected? */
static bool may_follow(const notes *n, uint64_t state, uint64_t id)
{
    uint64_t life = RECORD_LIFE(state);
    if (id == state)
        return true;
    if (RECORD_LIFE(id) <= life || RECORD_LIFE(id) > LIVES_MAX || RECORD_SEQ(id) != 0 || life >= LIVES_MAX)
        return false;
    if (!may_end(n, life, RECORD_SEQ(state)))
        return false;
    for (life++; life < RECORD_LIFE(id); life++)
        if (!may_end(n, life, 0))
            return false;
    return true;
}

static uint64_t id_of(const void *msg)
{
    uint64_t id;
    memcpy(&id, msg, sizeof id);
    return id;
}

/* The first record after a take-over: the former consumer's last release was done or not done. */
static uint64_t first_state(consumer *c, uint64_t id)
{
    const notes *n = c->n;
    uint64_t released = weir_load_acq(&n->released), seen = weir_load_acq(&n->seen), popped = id_of(n->buffer);
    if (may_follow(n, seen, id))
        return seen;
    if (seen == released && n->len >= 16 && n->len <= BUFFER && storm_whole(n->buffer, popped, n->len) &&
        may_follow(n, released, popped) && may_follow(n, popped + 1, id))
        return popped + 1; /* killed in pop, behind its release */
    if (!may_follow(n, released, id))
        (void)fprintf(stderr, "record %" PRIx64 " after a take-over: released %" PRIx64 ", seen %" PRIx64 "\n", id,
                      released, seen);
    STORM_CHECK(c->self, may_follow(n, released, id));
    return released;
}

static void check_record(consumer *c, const void *msg, uint32_t len)
{
    STORM_CHECK(c->self, len >= 16 && len <= BUFFER);
    uint64_t id = id_of(msg), life = RECORD_LIFE(id), seq = RECORD_SEQ(id);
    STORM_CHECK(c->self, life < LIVES_MAX && storm_whole(msg, id, len));
    if (c->first) {
        c->state = first_state(c, id);
        storm_note(&c->n->released, c->state); /* certain now: what the buffer holds no longer matters */
        storm_note(&c->n->seen, c->state);
        c->first = false;
    }
    if (!may_follow(c->n, c->state, id))
        (void)fprintf(stderr, "record %" PRIx64 " where %" PRIx64 " was expected\n", id, c->state);
    STORM_CHECK(c->self, may_follow(c->n, c->state, id));
    STORM_CHECK(c->self, seq < weir_load_acq(&c->n->life[life].sending)); /* it had begun to publish it */
    if (seq >= weir_load_rlx(&c->n->life[life].known))
        weir_store_rel(&c->n->life[life].known, seq + 1);
    c->state = id + 1;
}

static bool pop_one(consumer *c)
{
    static const uint64_t none = UINT64_MAX;
    memcpy(c->n->buffer, &none, sizeof none);
    weir_fence_compiler();
    weir_status status = weir_spsc_pop(&c->c, c->n->buffer, BUFFER, &c->n->len);
    storm_turn(c->self, status == WEIR_OK);
    if (status == WEIR_EMPTY)
        return false;
    STORM_CHECK(c->self, status == WEIR_OK);
    check_record(c, c->n->buffer, c->n->len);
    storm_note(&c->n->seen, c->state);
    storm_note(&c->n->released, c->state);
    return true;
}

static bool read_some(consumer *c, uint64_t random)
{
    unsigned char in[BUFFER];
    uint64_t count = 1 + random % BATCH_MAX, got = 0;
    for (; got < count; got++) {
        const void *msg = in;
        uint32_t len = 0;
        weir_status status = (random >> 8 >> got & 1) != 0 ? weir_spsc_peek(&c->c, &msg, &len)
                                                           : weir_spsc_pop_more(&c->c, in, sizeof in, &len);
        storm_turn(c->self, status == WEIR_OK);
        if (status == WEIR_EMPTY)
            break;
        STORM_CHECK(c->self, status == WEIR_OK);
        check_record(c, msg, len);
    }
    if (got == 0)
        return false;
    storm_note(&c->n->seen, c->state);
    weir_spsc_release(&c->c);
    storm_note(&c->n->released, c->state);
    return true;
}

/* All is received that was ever published. */
static void check_end(consumer *c)
{
    const uint64_t end = RECORD(LIVES_MAX, 0);
    if (c->first)
        c->state = first_state(c, end);
    STORM_CHECK(c->self, may_follow(c->n, c->state, end));
}

static void consume(storm_child *self)
{
    consumer c = { .self = self, .n = self->share, .first = true };
    weir_status status = weir_spsc_consumer_attach(&c.c, c.n->ring, ring_bytes(c.n->capacity));
    STORM_CHECK(self, status == WEIR_OK);
    for (;;) {
        bool left = weir_load_acq(&c.n->left) != 0; /* before the look that finds nothing */
        uint64_t random = support_random(&self->seed);
        /* The former consumer's buffer is evidence until the first record is there. */
        bool any = !c.first && (random & 1) != 0 ? pop_one(&c) : read_some(&c, random >> 1);
        if (any)
            continue;
        if (left)
            break;
        storm_idle(self);
    }
    check_end(&c);
}

static void live(storm_child *self)
{
    if (self->index == PRODUCER)
        produce(self);
    else
        consume(self);
}

const storm_kind storm_spsc[STORM_SPSC_COUNT] = {
    { "spsc, nearly always full or empty", CHILDREN, sizeof(notes) + WEIR_SPSC_CONTROL + SMALL, make_small, live,
      NULL },
    { "spsc", CHILDREN, sizeof(notes) + WEIR_SPSC_CONTROL + LARGE, make_large, live, NULL },
};
