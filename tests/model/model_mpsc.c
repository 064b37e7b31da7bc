/* tests/model/model_mpsc.c - many producers: each one's records in order, and in mpsc_ordered one order for all; a
 * producer is killed and succeeded while the others go on.
 * edges: MPSC-INIT RING-LANES SPSC-DATA SPSC-FREE */
#include <weir/ring/mpsc.h>
#include <weir/ring/mpsc_layout.h>
#include <weir/ring/mpsc_ordered.h>

#include "explorer.h"

#define LANES 2u
#define CAPACITY 64u
#define RING_BYTES (WEIR_MPSC_CONTROL + LANES * 384u)

enum { MARK_EMPTY = 1, MARK_FULL = 2, MARK_KILLED = 4, MARK_OTHER = 8, MARK_TURNED = 16 };

static struct {
    _Alignas(64) unsigned char ring[RING_BYTES];
    weir_atomic_u64 told;
    weir_spsc_producer producers[LANES], heir;
    weir_mpsc_consumer consumer;
    weir_spsc_consumer handles[LANES];
    weir_mpsc_ordered_producer ordered_producers[LANES];
    weir_mpsc_ordered_consumer ordered_consumer;
    weir_mpsc_ordered_lane ordered_handles[LANES];
    unsigned records[LANES];  /* of each producer */
    unsigned pushed[LANES];   /* its calls that came back */
    unsigned popped[LANES];   /* its records that came */
} rig;

static void blank(unsigned records)
{
    model_zero(&rig, sizeof rig);
    rig.records[0] = rig.records[1] = records;
    model_share("mpsc", rig.ring, sizeof rig.ring, WEIR_SPSC_DATA | 8); /* a header that could be an older lap's */
    model_share("told", &rig.told, sizeof rig.told, 0);
}

static void init(void)
{
    MODEL_ASSERT(weir_mpsc_footprint(LANES, CAPACITY) == sizeof rig.ring);
    MODEL_ASSERT(weir_mpsc_init(rig.ring, sizeof rig.ring, LANES, CAPACITY, 40) == WEIR_OK);
}

static void setup(unsigned records)
{
    blank(records);
    init();
    for (unsigned lane = 0; lane < LANES; lane++)
        MODEL_ASSERT(weir_mpsc_producer_attach(&rig.producers[lane], rig.ring, sizeof rig.ring, lane) == WEIR_OK);
    MODEL_ASSERT(weir_mpsc_consumer_attach(&rig.consumer, rig.ring, sizeof rig.ring, rig.handles, LANES) == WEIR_OK);
}

static uint64_t message(unsigned lane, unsigned n)
{
    return (uint64_t)(lane + 1) << 32 | (n + 1);
}

/* ---- the plain one ---- */

static void push_rest(weir_spsc_producer *producer, unsigned lane)
{
    for (; rig.pushed[lane] < rig.records[lane]; rig.pushed[lane]++) {
        uint64_t bits = message(lane, rig.pushed[lane]);
        weir_status status;
        while ((status = weir_spsc_push(producer, &bits, sizeof bits)) == WEIR_FULL) {
            model_reached(MARK_FULL);
            MODEL_ASSERT(model_wait());
        }
        MODEL_ASSERT(status == WEIR_OK);
    }
}

static void produce_0(void) { push_rest(&rig.producers[0], 0); }
static void produce_1(void) { push_rest(&rig.producers[1], 1); }

static void came(uint64_t bits, uint32_t len, uint32_t lane)
{
    MODEL_ASSERT(len == sizeof bits && lane < LANES);
    MODEL_ASSERT(bits == message(lane, rig.popped[lane]));
    if (rig.popped[lane]++ != 0 && rig.popped[1 - lane] != 0)
        model_reached(MARK_TURNED);
}

static bool all_came(void)
{
    return rig.popped[0] == rig.records[0] && rig.popped[1] == rig.records[1];
}

static void pop_all(void)
{
    while (!all_came()) {
        uint64_t bits = 0;
        uint32_t len = 0, lane = 0;
        weir_status status = weir_mpsc_pop(&rig.consumer, &bits, sizeof bits, &len, &lane);
        if (status == WEIR_OK) {
            came(bits, len, lane);
            continue;
        }
        MODEL_ASSERT(status == WEIR_EMPTY);
        model_reached(MARK_EMPTY);
        MODEL_ASSERT(model_wait());
    }
}

/* In place; what was read of all lanes is given back when nothing more is there. */
static void peek_all(void)
{
    unsigned held = 0;
    while (!all_came()) {
        uint64_t bits = 0;
        const void *msg;
        uint32_t len = 0, lane = 0;
        weir_status status = weir_mpsc_peek(&rig.consumer, &msg, &len, &lane);
        if (status == WEIR_OK) {
            WEIR_PAYLOAD_READ(&bits, msg, len);
            came(bits, len, lane);
            held++;
            continue;
        }
        MODEL_ASSERT(status == WEIR_EMPTY);
        model_reached(MARK_EMPTY);
        weir_mpsc_release(&rig.consumer);
        MODEL_ASSERT(held != 0 || model_wait());
        held = 0;
    }
    weir_mpsc_release(&rig.consumer);
}

static void check(void)
{
    MODEL_ASSERT(all_came() && weir_mpsc_ready(&rig.consumer) == WEIR_EMPTY);
}

static void setup_1(void) { setup(1); }
static void setup_2(void) { setup(2); }
static void setup_lap(void) { setup(4), rig.records[1] = MODEL_BOUND(4, 1); }

#define MPSC(id, title, set, pop, marks, p, s)                                                                         \
    MODEL(id) = { .name = "mpsc: " title, .setup = (set), .check = check,                                              \
                  .threads = { { .name = "producer", .run = produce_0 },                                               \
                               { .name = "other producer", .run = produce_1 },                                         \
                               { .name = "consumer", .run = (pop) } },                                                 \
                  .preemptions = (p), .stale = (s), .must_reach = (marks), .random = 20000 }

MPSC(one_each, "one record each", setup_1, pop_all, MARK_EMPTY, 3, 3);
MPSC(two_each, "two records each", setup_2, pop_all, MARK_EMPTY | MARK_TURNED, 2, 2);
MPSC(lap, "a lap, in place", setup_lap, peek_all, MARK_EMPTY | MARK_TURNED | MARK_FULL, 1, 1);

/* ---- a producer is killed ---- */

static void succeed(void)
{
    MODEL_ASSERT(weir_mpsc_producer_attach(&rig.heir, rig.ring, sizeof rig.ring, 0) == WEIR_OK);
    unsigned there = (unsigned)((rig.heir.pos - 40) / 16);
    MODEL_ASSERT(there == rig.pushed[0] || (model_killed(1) && there == rig.pushed[0] + 1));
    if (model_killed(1))
        model_reached(MARK_KILLED);
    rig.pushed[0] = there;
    push_rest(&rig.heir, 0);
}

MODEL(producer_dies) = { .name = "mpsc: a producer is killed", .setup = setup_2, .check = check,
                         .threads = { { .name = "producer", .run = produce_0, .victim = true },
                                      { .name = "other producer", .run = produce_1 },
                                      { .name = "consumer", .run = pop_all },
                                      { .name = "next producer", .run = succeed, .after = 1 } },
                         .preemptions = 1, .stale = 1, .kills = 1, .must_reach = MARK_EMPTY | MARK_KILLED,
                         .random = 20000 };

/* ---- it is made while others wait for it ---- */

static bool is_there(weir_status status)
{
    if (status == WEIR_OK)
        return true;
    MODEL_ASSERT(status == WEIR_E_NOT_WEIR);
    model_reached(MARK_OTHER);
    MODEL_ASSERT(model_wait());
    return false;
}

static void attach_and_push(void)
{
    while (!is_there(weir_mpsc_producer_attach(&rig.producers[0], rig.ring, sizeof rig.ring, 0)))
        ;
    produce_0();
}

static void attach_and_pop(void)
{
    while (!is_there(weir_mpsc_consumer_attach(&rig.consumer, rig.ring, sizeof rig.ring, rig.handles, LANES)))
        ;
    rig.popped[1] = rig.records[1]; /* of the other lane nothing comes */
    pop_all();
}

static void setup_init(void) { blank(1); }

MODEL(attach) = { .name = "mpsc: ends that wait for it", .setup = setup_init, .check = check,
                  .threads = { { .name = "maker", .run = init },
                               { .name = "producer", .run = attach_and_push },
                               { .name = "consumer", .run = attach_and_pop } },
                  .preemptions = 2, .stale = 1, .must_reach = MARK_OTHER, .random = 20000 };

/* ---- a lane that is made while the consumer is at work ---- */

static void setup_growing(void)
{
    blank(1);
    MODEL_ASSERT(weir_mpsc_init_some(rig.ring, sizeof rig.ring, LANES, 1, CAPACITY, 40) == WEIR_OK);
    MODEL_ASSERT(weir_mpsc_producer_attach(&rig.producers[0], rig.ring, sizeof rig.ring, 0) == WEIR_OK);
    MODEL_ASSERT(weir_mpsc_consumer_attach(&rig.consumer, rig.ring, sizeof rig.ring, rig.handles, LANES) == WEIR_OK);
}

static void grow_and_push(void)
{
    MODEL_ASSERT(weir_mpsc_grow(rig.ring, sizeof rig.ring, LANES) == WEIR_OK);
    MODEL_ASSERT(weir_mpsc_producer_attach(&rig.producers[1], rig.ring, sizeof rig.ring, 1) == WEIR_OK);
    produce_1();
}

MODEL(growing) = { .name = "mpsc: a lane that is made later", .setup = setup_growing, .check = check,
                   .threads = { { .name = "producer", .run = produce_0 },
                                { .name = "grower", .run = grow_and_push },
                                { .name = "consumer", .run = pop_all } },
                   .preemptions = 2, .stale = 1, .random = 20000 };

/* A consumer that comes in the middle of it finds one lane, or two whole ones. */
static void setup_coming(void)
{
    blank(1);
    MODEL_ASSERT(weir_mpsc_init_some(rig.ring, sizeof rig.ring, LANES, 1, CAPACITY, 40) == WEIR_OK);
}

static void grow_alone(void)
{
    MODEL_ASSERT(weir_mpsc_grow(rig.ring, sizeof rig.ring, LANES) == WEIR_OK);
}

static void come(void)
{
    MODEL_ASSERT(weir_mpsc_consumer_attach(&rig.consumer, rig.ring, sizeof rig.ring, rig.handles, LANES) == WEIR_OK);
    model_reached(rig.consumer.count == 1 ? MARK_EMPTY : MARK_OTHER);
}

MODEL(coming) = { .name = "mpsc: a consumer comes while a lane is made", .setup = setup_coming,
                  .threads = { { .name = "grower", .run = grow_alone }, { .name = "consumer", .run = come } },
                  .preemptions = 2, .stale = 3, .must_reach = MARK_EMPTY | MARK_OTHER, .random = 20000 };

/* ---- the ordered one: the second producer begins when it has heard that the first has pushed ---- */

static void setup_ordered(void)
{
    blank(1);
    MODEL_ASSERT(weir_mpsc_ordered_init(rig.ring, sizeof rig.ring, LANES, CAPACITY, 40, UINT64_MAX) == WEIR_OK);
    for (unsigned lane = 0; lane < LANES; lane++)
        MODEL_ASSERT(weir_mpsc_ordered_producer_attach(&rig.ordered_producers[lane], rig.ring, sizeof rig.ring, lane) ==
                     WEIR_OK);
    MODEL_ASSERT(weir_mpsc_ordered_consumer_attach(&rig.ordered_consumer, rig.ring, sizeof rig.ring,
                                                   rig.ordered_handles, LANES) == WEIR_OK);
}

static void ordered_push(unsigned lane)
{
    uint64_t bits = message(lane, rig.pushed[lane]);
    MODEL_ASSERT(weir_mpsc_ordered_push(&rig.ordered_producers[lane], &bits, sizeof bits) == WEIR_OK);
    rig.pushed[lane]++;
}

static void push_and_tell(void)
{
    ordered_push(0);
    weir_store_rel(&rig.told, 1);
}

static void hear_and_push(void)
{
    while (weir_load_acq(&rig.told) == 0)
        MODEL_ASSERT(model_wait());
    ordered_push(1);
}

static void push_to_0(void) { ordered_push(0); }
static void push_to_1(void) { ordered_push(1); }

static void pop_ordered(unsigned count)
{
    while (rig.popped[0] + rig.popped[1] < count) {
        uint64_t bits = 0;
        uint32_t len = 0, lane = 0;
        weir_status status = weir_mpsc_ordered_pop(&rig.ordered_consumer, &bits, sizeof bits, &len, &lane);
        if (status == WEIR_OK) {
            came(bits, len, lane);
            continue;
        }
        MODEL_ASSERT(status == WEIR_EMPTY);
        model_reached(MARK_EMPTY);
        MODEL_ASSERT(model_wait());
    }
}

static void pop_in_one_order(void)
{
    pop_ordered(1);
    MODEL_ASSERT(rig.popped[0] == 1);
    pop_ordered(2);
}

static void pop_in_any_order(void)
{
    pop_ordered(1);
    model_reached(rig.popped[0] == 1 ? MARK_TURNED : MARK_OTHER);
    pop_ordered(2);
}

MODEL(ordered) = { .name = "mpsc_ordered: one behind the other", .setup = setup_ordered,
                   .threads = { { .name = "producer", .run = push_and_tell },
                                { .name = "other producer", .run = hear_and_push },
                                { .name = "consumer", .run = pop_in_one_order } },
                   .preemptions = 2, .stale = 2, .must_reach = MARK_EMPTY, .random = 20000 };
MODEL(at_once) = { .name = "mpsc_ordered: both at once", .setup = setup_ordered,
                   .threads = { { .name = "producer", .run = push_to_0 },
                                { .name = "other producer", .run = push_to_1 },
                                { .name = "consumer", .run = pop_in_any_order } },
                   .preemptions = 3, .stale = 2, .must_reach = MARK_EMPTY | MARK_TURNED | MARK_OTHER, .random = 20000 };
