/* tests/model/model_spsc_takeover.c - an end is killed at each of its stores; the next one attaches while the other end
 * is at work.  What was committed stays, what was not is gone, what was released is not seen again.
 * edges: SPSC-DATA SPSC-FREE */
#include "spsc_rig.h"

/* A producer pushes records until it has pushed the last; its successors go on with the first that is not there.  So
 * the consumer sees each record once, and rig.pushed is at most one call behind what is there. */

enum way { PUSH, COMMIT, PAIRS };
static enum way way;
static weir_spsc_producer heirs[2];
static weir_spsc_consumer heir;
static bool heir_came;

/* One call, or two records at once; how many records. */
static unsigned push_some(weir_spsc_producer *producer, unsigned n)
{
    if (way == PAIRS && n + 2 <= rig.plan->count) {
        while (rig_push_more(producer, n) == WEIR_FULL)
            MODEL_ASSERT(model_wait());
        while (rig_push(producer, n + 1) == WEIR_FULL) /* which alone would fit, had the batch not opened */
            MODEL_ASSERT(model_wait());
        return 2;
    }
    while ((way == COMMIT ? rig_commit(producer, n) : rig_push(producer, n)) == WEIR_FULL)
        MODEL_ASSERT(model_wait());
    return 1;
}

static void push_rest(weir_spsc_producer *producer)
{
    while (rig.pushed < rig.plan->count)
        rig.pushed += push_some(producer, rig.pushed);
}

static void produce(void)
{
    push_rest(&rig.producer);
}

/* How many records the ring has had that end at pos: their sizes and the padding are known. */
static unsigned records_until(uint64_t pos)
{
    uint64_t at = rig.plan->start_pos;
    unsigned n = 0;
    while (at != pos) {
        MODEL_ASSERT(n < rig.plan->count);
        uint64_t size = weir_spsc_size(rig.plan->lens[n]), room = CAPACITY - at % CAPACITY;
        at += (size > room ? room : 0) + size;
        n++;
    }
    return n;
}

static void succeed_producer(weir_spsc_producer *producer, unsigned former)
{
    MODEL_ASSERT(weir_spsc_producer_attach(producer, rig.ring, sizeof rig.ring) == WEIR_OK);
    unsigned there = records_until(producer->pos);
    unsigned last = 1; /* that its last call pushed */
    if (way == PAIRS && rig.pushed + 2 <= rig.plan->count)
        last = 2;
    MODEL_ASSERT(there == rig.pushed || (model_killed(former) && there == rig.pushed + last));
    if (model_killed(former))
        model_reached(there == rig.pushed ? MARK_KILLED : MARK_OTHER);
    rig.pushed = there;
    push_rest(producer);
}

static void succeed_1(void) { succeed_producer(&heirs[0], 1); }
static void succeed_3(void) { succeed_producer(&heirs[1], 3); }

static void succeed_consumer(void)
{
    MODEL_ASSERT(weir_spsc_consumer_attach(&heir, rig.ring, sizeof rig.ring) == WEIR_OK);
    MODEL_ASSERT(records_until(heir.pos) == rig.popped); /* the release is the last that a pop does */
    if (model_killed(2))
        model_reached(MARK_KILLED);
    heir_came = true;
    for (; rig.popped < rig.plan->count; rig.popped++)
        while (rig_pop(&heir, rig.popped) == WEIR_EMPTY)
            MODEL_ASSERT(model_wait());
}

static void check(void)
{
    rig_check_end(heir_came ? &heir : &rig.consumer);
}

static void setup(enum way how, const struct plan *plan)
{
    way = how;
    heir_came = false;
    rig_setup(plan);
}

/* ---- the producer is killed ---- */

#define PRODUCER_DIES(id, title, how, marks, p, s, ...)                                                                \
    static const struct plan id##_plan = { __VA_ARGS__ };                                                              \
    static void id##_setup(void) { setup((how), &id##_plan); }                                                         \
    MODEL(id) = { .name = "spsc_takeover: " title, .setup = id##_setup, .check = check,                                \
                  .threads = { { .name = "producer", .run = produce, .victim = true },                                 \
                               { .name = "consumer", .run = rig_pop_all },                                             \
                               { .name = "next producer", .run = succeed_1, .after = 1 } },                            \
                  .preemptions = (p), .stale = (s), .kills = 1, .must_reach = MARK_KILLED | MARK_EMPTY | (marks),      \
                  .random = 20000 }

PRODUCER_DIES(push_dies, "push", PUSH, MARK_FULL, 2, 2, 0, 4, { 16, 8, 16, 8 });
PRODUCER_DIES(padding_dies, "push with padding", PUSH, 0, 3, 2, 48, 2, { 16, 8 });
PRODUCER_DIES(commit_dies, "reserve and commit", COMMIT, MARK_FULL, 2, 2, 40, 3, { 16, 12, 16 });
PRODUCER_DIES(batch_dies, "a batch", PAIRS, 0, 3, 2, 40, 3, { 8, 8, 0 });

/* The next producer is killed as well. */
static const struct plan two_deaths_plan = { .start_pos = 40, .count = 3, .lens = { 16, 8, 8 } };
static void two_deaths_setup(void) { setup(PUSH, &two_deaths_plan); }
MODEL(two_deaths) = { .name = "spsc_takeover: two producers, one after the other", .setup = two_deaths_setup,
                      .threads = { { .name = "producer", .run = produce, .victim = true },
                                   { .name = "consumer", .run = rig_pop_all },
                                   { .name = "next producer", .run = succeed_1, .after = 1, .victim = true },
                                   { .name = "third producer", .run = succeed_3, .after = 3 } },
                      .check = check, .preemptions = 2, .stale = 1, .kills = 2,
                      .must_reach = MARK_KILLED | MARK_EMPTY, .random = 20000 };

/* ---- the consumer is killed ---- */

#define CONSUMER_DIES(id, title, pop, how, p, s, ...)                                                                  \
    static const struct plan id##_plan = { __VA_ARGS__ };                                                              \
    static void id##_setup(void) { setup((how), &id##_plan); }                                                         \
    MODEL(id) = { .name = "spsc_takeover: " title, .setup = id##_setup, .check = check,                                \
                  .threads = { { .name = "producer", .run = produce },                                                 \
                               { .name = "consumer", .run = (pop), .victim = true },                                   \
                               { .name = "next consumer", .run = succeed_consumer, .after = 2 } },                     \
                  .preemptions = (p), .stale = (s), .kills = 1, .must_reach = MARK_KILLED | MARK_EMPTY | MARK_FULL,    \
                  .random = 20000 }

CONSUMER_DIES(pop_dies, "pop", rig_pop_all, PUSH, 3, 2, 16, 4, { 16, 16, 16, 8 });
CONSUMER_DIES(peek_dies, "peek and release", rig_peek_all, COMMIT, 2, 2, 40, 4, { 16, 12, 16, 16 });

/* ---- both ---- */

static const struct plan both_die_plan = { .start_pos = 40, .count = 3, .lens = { 16, 8, 16 } };
static void both_die_setup(void) { setup(PUSH, &both_die_plan); }
MODEL(both_die) = { .name = "spsc_takeover: both ends", .setup = both_die_setup, .check = check,
                    .threads = { { .name = "producer", .run = produce, .victim = true },
                                 { .name = "consumer", .run = rig_pop_all, .victim = true },
                                 { .name = "next producer", .run = succeed_1, .after = 1 },
                                 { .name = "next consumer", .run = succeed_consumer, .after = 2 } },
                    .preemptions = 2, .stale = 1, .kills = 2, .must_reach = MARK_KILLED | MARK_EMPTY, .random = 20000 };
