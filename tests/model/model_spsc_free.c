/* tests/model/model_spsc_free.c - no byte is overwritten before it was read.
 * edges: SPSC-FREE */
#include "spsc_rig.h"

#define FREE(id, title, push, pop, p, s, ...)                                                                          \
    static const struct plan id##_plan = { __VA_ARGS__ };                                                              \
    static void id##_setup(void) { rig_setup(&id##_plan); }                                                            \
    MODEL(id) = { .name = "spsc_free: " title, .setup = id##_setup,                                                    \
                  .threads = { { .name = "producer", .run = (push) }, { .name = "consumer", .run = (pop) } },          \
                  .check = rig_check_all, .preemptions = (p), .stale = (s), .must_reach = MARK_EMPTY | MARK_FULL,      \
                  .random = 20000 }

/* Reads two in place before it gives them back, so that the lane is full the while. */
static void peek_pairs(void)
{
    while (rig.popped < rig.plan->count) {
        while (rig_peek(&rig.consumer, rig.popped) == WEIR_EMPTY) {
            weir_spsc_release(&rig.consumer);
            MODEL_ASSERT(model_wait());
        }
        rig.popped++;
        if (rig.popped % 2 == 0)
            weir_spsc_release(&rig.consumer);
    }
    weir_spsc_release(&rig.consumer);
}

FREE(lap, "a lap and more", rig_push_all, rig_pop_all, 3, 2, 0, 5, { 16, 16, 16, 16, 8 });
FREE(small, "a lap of small records", rig_push_all, rig_pop_all, 3, 2, 32, 6, { 8, 8, 8, 8, 8, 8 });
FREE(held, "two records held", rig_push_all, peek_pairs, 3, 2, 40, 5, { 16, 8, 16, 16, 8 });
FREE(held_in_place, "two records held, written in place", rig_commit_all, peek_pairs, 3, 2, 16, 5,
     { 16, 16, 8, 16, 16 });

/* What the consumer did with a record happened before the producer knows that it is drained. */
static uint64_t result;

static void drain(void)
{
    uint64_t seen = 0;
    weir_status status;
    rig_push_all();
    while ((status = weir_spsc_drained(&rig.producer)) == WEIR_FULL) {
        model_reached(MARK_FULL);
        MODEL_ASSERT(model_wait());
    }
    MODEL_ASSERT(status == WEIR_OK);
    WEIR_PAYLOAD_READ(&seen, &result, sizeof seen);
    MODEL_ASSERT(seen == 7);
}

static void work(void)
{
    static const uint64_t seven = 7;
    while (rig_peek(&rig.consumer, 0) == WEIR_EMPTY)
        MODEL_ASSERT(model_wait());
    WEIR_PAYLOAD_WRITE(&result, &seven, sizeof seven);
    weir_spsc_release(&rig.consumer);
    rig.popped = 1;
}

static void drained_setup(void)
{
    static const struct plan plan = { .start_pos = 0, .count = 1, .lens = { 8 } };
    rig_setup(&plan);
    model_share("result", &result, sizeof result, 0);
}

MODEL(drained) = { .name = "spsc_free: drained", .setup = drained_setup, .check = rig_check_all,
                   .threads = { { .name = "producer", .run = drain }, { .name = "consumer", .run = work } },
                   .preemptions = 5, .stale = 4, .must_reach = MARK_EMPTY | MARK_FULL, .random = 10000 };
