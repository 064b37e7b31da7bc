/* The work queue against a plain model: random lives of all ends, who die, are recovered from, replaced, leave; every
 * record is given back exactly once, none comes as new that has come before, none comes again that was given back. */
#include "kinds.h"

#include <criterion/criterion.h>
#include <weir/ring/mpmc_layout.h>

#define LANES 3u
#define CONSUMERS 4u
#define RECORD_MAX 40u
#define RECORDS 4096u

enum fate { WAITS, READ, DONE };

typedef struct queue {
    unsigned char *mem;
    uint64_t bytes, random, start;
    weir_mpmc_producer p[LANES];
    uint64_t published[LANES], open[LANES];
    unsigned char fate[LANES][RECORDS];
    struct {
        weir_mpmc_consumer c;
        weir_mpmc_lane lanes[LANES];
        bool lives;
        struct { uint32_t lane; uint64_t seq; } read[RECORDS]; /* and not released */
        uint64_t count;
    } c[CONSUMERS];
    uint32_t generation;
    struct { uint32_t slot, generation; } gone[RECORDS]; /* not told of yet */
    uint64_t gone_count, again, dead;
} queue;

static uint64_t pick(queue *q, uint64_t below) { return support_random(&q->random) % below; }

static uint32_t length(uint32_t lane, uint64_t seq) { return (uint32_t)((seq * 3 + lane) * 7 % (RECORD_MAX - 7)) + 8; }

static void publish(queue *q, uint32_t lane)
{
    q->published[lane] += q->open[lane];
    q->open[lane] = 0;
}

static void produce(queue *q)
{
    uint32_t lane = (uint32_t)pick(q, LANES);
    uint64_t seq = q->published[lane] + q->open[lane], what = pick(q, 20);
    unsigned char msg[RECORD_MAX];
    if (seq >= RECORDS)
        return;
    uint32_t len = length(lane, seq);
    memcpy(msg, &seq, 8);
    record_fill(msg + 8, lane, seq, len - 8);
    if (what == 0) { /* dies, and its open batch with it */
        CHECK_OK(weir_mpmc_producer_attach(&q->p[lane], q->mem, q->bytes, lane));
        q->p[lane].near = lane + 1;
        q->open[lane] = 0;
        return;
    }
    void *slot = NULL;
    bool more = what % 3 == 0;
    weir_status status;
    if (what % 2 != 0) {
        status = more ? weir_mpmc_push_more(&q->p[lane], msg, len) : weir_mpmc_push(&q->p[lane], msg, len);
    } else if ((status = weir_mpmc_reserve(&q->p[lane], RECORD_MAX, &slot)) == WEIR_OK) {
        memcpy(slot, msg, len);
        CHECK_OK(more ? weir_mpmc_commit_more(&q->p[lane], len) : weir_mpmc_commit(&q->p[lane], len));
    }
    if (status == WEIR_FULL) {
        weir_mpmc_flush(&q->p[lane]);
        publish(q, lane);
        return;
    }
    CHECK_OK(status);
    q->open[lane]++;
    if (!more)
        publish(q, lane);
}

static void release(queue *q, uint32_t i)
{
    weir_mpmc_release(&q->c[i].c);
    for (uint64_t k = 0; k < q->c[i].count; k++) {
        unsigned char *fate = &q->fate[q->c[i].read[k].lane][q->c[i].read[k].seq];
        cr_assert_eq(*fate, READ);
        *fate = DONE;
    }
    q->c[i].count = 0;
}

static bool consume(queue *q, uint32_t i)
{
    unsigned char msg[RECORD_MAX];
    uint32_t len = 0, lane = LANES;
    bool again = false;
    uint64_t seq;
    weir_status ready = weir_mpmc_ready(&q->c[i].c);
    weir_status status = weir_mpmc_pop_more(&q->c[i].c, msg, sizeof msg, &len, &lane, &again);
    cr_assert_eq(ready, status);
    if (status == WEIR_FULL) {
        cr_assert_gt(q->c[i].count, 0);
        release(q, i);
        status = weir_mpmc_pop_more(&q->c[i].c, msg, sizeof msg, &len, &lane, &again);
        CHECK_OK(status);
    }
    if (status == WEIR_EMPTY) { /* all that was published was claimed, by somebody */
        for (lane = 0; lane < LANES; lane++)
            cr_assert_eq(weir_mpmc_claim_of(weir_load_rlx(q->p[lane].claim)).pos,
                         (q->start + q->published[lane]) & WEIR_MPMC_POS_MASK, "lane %u", lane);
        return false;
    }
    CHECK_OK(status);
    cr_assert(lane < LANES && len >= 8);
    memcpy(&seq, msg, 8);
    cr_assert(seq < q->published[lane] && len == length(lane, seq) && record_is(msg + 8, lane, seq, len - 8));
    cr_assert_neq(q->fate[lane][seq], DONE, "record %llu of lane %u was given back", (unsigned long long)seq, lane);
    if (!again)
        cr_assert_neq(q->fate[lane][seq], READ, "record %llu of lane %u as new", (unsigned long long)seq, lane);
    q->again += again;
    q->fate[lane][seq] = READ;
    q->c[i].read[q->c[i].count].lane = lane;
    q->c[i].read[q->c[i].count++].seq = seq;
    return true;
}

static void come(queue *q, uint32_t i)
{
    weir_status status = weir_mpmc_consumer_attach(&q->c[i].c, q->mem, q->bytes, i, ++q->generation,
                                                   (uint32_t)pick(q, 9), q->c[i].lanes, LANES);
    q->c[i].lives = status == WEIR_OK;
    q->c[i].count = 0;
    q->c[i].c.near = (uint32_t)pick(q, LANES + 1); /* one lane's producer, or nobody's */
    if (status != WEIR_OK)
        CHECK_STATUS(status, WEIR_E_IN_USE);
}

static void go(queue *q, uint32_t i, bool in_order)
{
    uint32_t generation = q->c[i].c.generation;
    if (in_order) {
        weir_status status = weir_mpmc_consumer_detach(&q->c[i].c);
        cr_assert(status == WEIR_FULL || (status == WEIR_OK && q->c[i].count == 0));
    }
    q->c[i].lives = false;
    q->c[i].count = 0;
    q->dead++;
    q->gone[q->gone_count].slot = i; /* of those, too, who left nothing: that changes nothing */
    q->gone[q->gone_count++].generation = generation;
}

/* One who lives hears of one who is gone; perhaps twice, or of one long gone. */
static void tell(queue *q, uint32_t i)
{
    if (q->gone_count == 0)
        return;
    uint64_t at = pick(q, q->gone_count);
    CHECK_OK(weir_mpmc_recover(&q->c[i].c, q->gone[at].slot, q->gone[at].generation));
    if (pick(q, 2) == 0)
        q->gone[at] = q->gone[--q->gone_count];
}

static void step(queue *q)
{
    uint64_t what = pick(q, 100);
    uint32_t i = (uint32_t)pick(q, CONSUMERS);
    if (what < 45) {
        for (uint64_t k = pick(q, 8); k > 0; k--)
            produce(q);
    } else if (!q->c[i].lives) {
        if (what < 60)
            come(q, i);
    } else if (what < 80) {
        for (uint64_t k = pick(q, 8); k > 0 && consume(q, i); k--)
            continue;
    } else if (what < 92) {
        release(q, i);
    } else if (what < 94) {
        go(q, i, what == 92);
    } else {
        tell(q, i);
    }
}

/* All go, one comes and takes over what is left, and reads all. */
static void finish(queue *q)
{
    uint32_t last = 0, owner, generation;
    for (uint32_t lane = 0; lane < LANES; lane++) {
        weir_mpmc_flush(&q->p[lane]);
        publish(q, lane);
    }
    for (uint32_t i = 0; i < CONSUMERS; i++)
        if (q->c[i].lives)
            go(q, i, false);
    for (come(q, 0); !q->c[last].lives; come(q, last)) /* the slot of the last who took over is no other's */
        CHECK(++last < CONSUMERS);
    for (uint32_t slot = 0; slot < CONSUMERS; slot++)
        if (weir_mpmc_owner(q->mem, q->bytes, slot, &owner, &generation) == WEIR_OK && owner != last)
            CHECK_OK(weir_mpmc_recover(&q->c[last].c, owner, generation));
    while (consume(q, last))
        continue;
    release(q, last);
    for (uint32_t lane = 0; lane < LANES; lane++) {
        CHECK_OK(weir_mpmc_drained(&q->p[lane]));
        for (uint64_t seq = 0; seq < q->published[lane]; seq++)
            cr_assert_eq(q->fate[lane][seq], DONE, "record %llu of lane %u", (unsigned long long)seq, lane);
    }
    CHECK_OK(weir_mpmc_consumer_detach(&q->c[last].c));
}

static uint64_t play(uint64_t seed, uint32_t slots, uint64_t start)
{
    static queue q;
    memset(&q, 0, sizeof q);
    q.random = seed;
    q.start = start;
    weir_mpmc_shape shape = { LANES, CONSUMERS, slots, RECORD_MAX };
    q.bytes = weir_mpmc_footprint(&shape);
    q.mem = aligned_alloc(128, (q.bytes + 127) / 128 * 128);
    CHECK(q.mem != NULL);
    CHECK_OK(weir_mpmc_init(q.mem, q.bytes, &shape, start));
    for (uint32_t lane = 0; lane < LANES; lane++)
        CHECK_OK(weir_mpmc_producer_attach(&q.p[lane], q.mem, q.bytes, lane));
    for (unsigned i = 0; i < 3000 && q.gone_count < RECORDS - CONSUMERS; i++)
        step(&q);
    finish(&q);
    free(q.mem);
    return q.again;
}

Test(mpmc_model, every_record_is_given_back_once_whoever_dies, .timeout = 240)
{
    static const uint64_t starts[] = { 0, (UINT64_C(1) << 32) - 100, (UINT64_C(1) << 56) - 100 };
    uint64_t random = support_seed(), again = 0;
    for (uint64_t i = 0; i < support_count(600); i++)
        again += play(support_random(&random), 2u << i % 6, starts[i % 3]);
    cr_assert_gt(again, 0);
}
