/* tests/model/model_spsc_init.c - whoever finds the magic finds the whole control block.
 * edges: SPSC-INIT SPSC-FREE */
#include "spsc_rig.h"

static void blank(void)
{
    static const struct plan plan = { .start_pos = 40, .count = 2, .lens = { 16, 8 } };
    rig_blank(&plan);
}

static void init(void)
{
    MODEL_ASSERT(weir_spsc_init(rig.ring, sizeof rig.ring, CAPACITY, rig.plan->start_pos) == WEIR_OK);
}

/* The one who comes after: makes what was not made. */
static void init_again(void)
{
    weir_spsc_consumer consumer;
    weir_status status = weir_spsc_consumer_attach(&consumer, rig.ring, sizeof rig.ring);
    MODEL_ASSERT(status == WEIR_OK || (status == WEIR_E_NOT_WEIR && model_killed(1)));
    if (status == WEIR_E_NOT_WEIR) {
        model_reached(MARK_KILLED);
        init();
    }
}

static bool came(weir_status status)
{
    if (status == WEIR_OK)
        return true;
    MODEL_ASSERT(status == WEIR_E_NOT_WEIR); /* no other: never half a control block */
    model_reached(MARK_OTHER);
    MODEL_ASSERT(model_wait());
    return false;
}

static void produce(void)
{
    while (!came(weir_spsc_producer_attach(&rig.producer, rig.ring, sizeof rig.ring)))
        ;
    MODEL_ASSERT(rig.producer.capacity == CAPACITY && rig.producer.pos == rig.plan->start_pos);
    rig_push_all();
}

static void consume(void)
{
    while (!came(weir_spsc_consumer_attach(&rig.consumer, rig.ring, sizeof rig.ring)))
        ;
    MODEL_ASSERT(rig.consumer.capacity == CAPACITY && rig.consumer.pos == rig.plan->start_pos);
    rig_pop_all();
}

MODEL(attach) = { .name = "spsc_init: ends that wait for the ring", .setup = blank, .check = rig_check_all,
                  .threads = { { .name = "maker", .run = init },
                               { .name = "producer", .run = produce },
                               { .name = "consumer", .run = consume } },
                  .preemptions = 2, .stale = 2, .must_reach = MARK_OTHER | MARK_EMPTY, .random = 20000 };

MODEL(attach_after_death) = { .name = "spsc_init: the maker is killed", .setup = blank, .check = rig_check_all,
                              .threads = { { .name = "maker", .run = init, .victim = true },
                                           { .name = "next maker", .run = init_again, .after = 1 },
                                           { .name = "producer", .run = produce },
                                           { .name = "consumer", .run = consume } },
                              .preemptions = 1, .stale = 1, .kills = 1,
                              .must_reach = MARK_OTHER | MARK_EMPTY | MARK_KILLED, .random = 20000 };
