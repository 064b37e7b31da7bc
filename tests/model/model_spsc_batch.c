/* tests/model/model_spsc_batch.c - a batch appears at once, whole and in order, and is given back at once.
 * edges: SPSC-DATA SPSC-FREE */
#include "spsc_rig.h"

static void expect_ok(weir_status status)
{
    MODEL_ASSERT(status == WEIR_OK);
}

/* Two records and a flush, then two that a push publishes. */
static void push_batches(void)
{
    for (unsigned n = 0; n < rig.plan->count; n++) {
        bool last = n % 2 != 0;
        bool by_flush = last && n % 4 == 1;
        while ((last && !by_flush ? rig_push(&rig.producer, n) : rig_push_more(&rig.producer, n)) == WEIR_FULL) {
            weir_spsc_flush(&rig.producer); /* an open batch holds its room */
            model_reached(MARK_OTHER);
            MODEL_ASSERT(model_wait());
        }
        if (by_flush)
            weir_spsc_flush(&rig.producer);
    }
    weir_spsc_flush(&rig.producer);
}

static void push_array(void)
{
    static uint64_t words[RECORDS * RECORD_WORDS];
    uint32_t len = rig.plan->lens[0]; /* all have the same, a multiple of 8 */
    unsigned done = 0;
    for (unsigned n = 0; n < rig.plan->count; n++)
        for (unsigned i = 0; i < len / 8; i++)
            words[n * len / 8 + i] = rig_word(n, i);
    while (done < rig.plan->count) {
        uint32_t pushed = 0;
        weir_status status =
            weir_spsc_push_array(&rig.producer, &words[done * len / 8], len, rig.plan->count - done, &pushed);
        done += pushed;
        if (status == WEIR_FULL) {
            model_reached(MARK_FULL);
            MODEL_ASSERT(pushed != 0 || model_wait());
        } else {
            expect_ok(status);
        }
    }
}

/* Reads whatever is there, and gives all of it back. */
static void pop_batches(void)
{
    while (rig.popped < rig.plan->count) {
        bool some = false;
        while (rig.popped < rig.plan->count && rig_peek(&rig.consumer, rig.popped) == WEIR_OK) {
            some = true;
            rig.popped++;
        }
        weir_spsc_release(&rig.consumer);
        if (!some)
            MODEL_ASSERT(model_wait());
    }
}

/* The second of a batch is there as soon as the first is. */
static void pop_pair(void)
{
    while (rig_peek(&rig.consumer, 0) == WEIR_EMPTY)
        MODEL_ASSERT(model_wait());
    expect_ok(rig_peek(&rig.consumer, 1));
    weir_spsc_release(&rig.consumer);
    rig.popped = 2;
    rig_pop_all();
}

#define BATCH(id, title, push, pop, marks, p, s, ...)                                                                  \
    static const struct plan id##_plan = { __VA_ARGS__ };                                                              \
    static void id##_setup(void) { rig_setup(&id##_plan); }                                                            \
    MODEL(id) = { .name = "spsc_batch: " title, .setup = id##_setup,                                                   \
                  .threads = { { .name = "producer", .run = (push) }, { .name = "consumer", .run = (pop) } },          \
                  .check = rig_check_all, .preemptions = (p), .stale = (s), .must_reach = (marks), .random = 20000 }

BATCH(pair, "two at once", push_batches, pop_pair, MARK_EMPTY, 9, 6, 0, 2, { 8, 8 });
BATCH(padded, "two at once, padding first", push_batches, pop_pair, MARK_EMPTY, 9, 6, 56, 2, { 8, 16 });
BATCH(padded_between, "two at once, padding between", push_batches, pop_pair, MARK_EMPTY, 9, 6, 40, 2, { 8, 8 });
BATCH(lap, "batches over a lap", push_batches, pop_batches, MARK_EMPTY | MARK_FULL | MARK_OTHER, 3, 2, 16, 6,
      { 8, 8, 16, 8, 8, 0 });
BATCH(array, "an array at once", push_array, pop_pair, MARK_EMPTY, 9, 6, 40, 2, { 8, 8 });
BATCH(arrays, "arrays over a lap", push_array, pop_batches, MARK_EMPTY | MARK_FULL, 2, 2, 24, 6,
      { 16, 16, 16, 16, 16, 16 });
