/* tests/model/model_mpmc.c - the work queue: claims that race, room that comes back, consumers who are killed at any
 * store, who recover from them, and are killed in that; producers who are killed in a batch; lanes that come later.
 * edges: MPMC-INIT MPMC-DATA MPMC-CLAIM MPMC-FREE MPMC-LAP MPMC-OWNER RING-LANES */
#include <weir/ring/mpmc.h>
#include <weir/ring/mpmc_layout.h>

#include "explorer.h"

#define CONSUMERS_MAX 3u
#define LANES_MAX 2u
#define RECORDS_MAX 8u
#define START ((UINT64_C(1) << 56) - 3) /* so that positions wrap */
#define RING_BYTES 1408u

enum { MARK_EMPTY = 1, MARK_FULL = 2, MARK_KILLED = 4, MARK_AGAIN = 8, MARK_LEFT = 16, MARK_OTHER = 32 };

static struct {
    _Alignas(128) unsigned char ring[RING_BYTES];
    weir_mpmc_shape shape;
    weir_mpmc_producer producer, heir, later;
    weir_mpmc_consumer c[CONSUMERS_MAX];
    weir_mpmc_lane lane[CONSUMERS_MAX][LANES_MAX];
    unsigned records, pushed;
    unsigned first_later;       /* records from there on are those of the lane that comes later */
    unsigned batch;             /* records of a batch, 0 or 1: none */
    bool few;                   /* a consumer looks only so often: */
    unsigned takes[CONSUMERS_MAX];
    unsigned held[CONSUMERS_MAX]; /* the record that it has in hand at first, and 1; 0: none */
    bool came[RECORDS_MAX];     /* as new */
    bool giving[RECORDS_MAX];   /* its release has begun, */
    bool done[RECORDS_MAX];     /* and returned */
    bool lives[CONSUMERS_MAX];
} rig;

static uint64_t message(unsigned n) { return UINT64_C(0x0101010101010101) * (n + 1); }

static void blank(unsigned consumers, unsigned slots)
{
    model_zero(&rig, sizeof rig);
    rig.shape = (weir_mpmc_shape){ 1, consumers, slots, 8 };
    rig.first_later = RECORDS_MAX;
    model_share("mpmc", rig.ring, sizeof rig.ring, 0x99);
    MODEL_ASSERT(weir_mpmc_footprint(&rig.shape) <= sizeof rig.ring);
}

static void init(void)
{
    MODEL_ASSERT(weir_mpmc_init(rig.ring, sizeof rig.ring, &rig.shape, START) == WEIR_OK);
}

static weir_status attach(unsigned who, uint32_t generation, uint32_t run_max)
{
    weir_status status = weir_mpmc_consumer_attach(&rig.c[who], rig.ring, sizeof rig.ring, who, generation, run_max,
                                                   rig.lane[who], LANES_MAX);
    rig.lives[who] = status == WEIR_OK;
    return status;
}

static void setup(unsigned consumers, unsigned slots, unsigned records, uint32_t run_max)
{
    blank(consumers, slots);
    rig.records = records;
    init();
    MODEL_ASSERT(weir_mpmc_producer_attach(&rig.producer, rig.ring, sizeof rig.ring, 0) == WEIR_OK);
    for (unsigned i = 0; i < consumers; i++)
        MODEL_ASSERT(attach(i, 1, run_max) == WEIR_OK);
}

/* ---- the producer ---- */

static bool push_one(weir_mpmc_producer *p, unsigned n, bool more)
{
    uint64_t bits = message(n);
    weir_status status = more ? weir_mpmc_push_more(p, &bits, sizeof bits) : weir_mpmc_push(p, &bits, sizeof bits);
    if (status == WEIR_FULL)
        model_reached(MARK_FULL);
    else
        MODEL_ASSERT(status == WEIR_OK);
    return status == WEIR_OK;
}

/* One by one, or in batches, which FULL ends early. */
static void push_rest(weir_mpmc_producer *p)
{
    while (rig.pushed < rig.records) {
        unsigned n = 0;
        while (n + 1 < rig.batch && rig.pushed + n + 1 < rig.records && push_one(p, rig.pushed + n, true))
            n++;
        if (push_one(p, rig.pushed + n, false)) {
            rig.pushed += n + 1;
            continue;
        }
        weir_mpmc_flush(p);
        rig.pushed += n;
        MODEL_ASSERT(n != 0 || model_wait());
    }
}

static void produce(void) { push_rest(&rig.producer); }

/* ---- consumers ---- */

static bool all_done(void)
{
    for (unsigned n = 0; n < rig.records; n++)
        if (!model_noted(&rig.done[n]))
            return false;
    return true;
}

/* The first consumer as a channel does, out of its hand where it may. */
static void give(unsigned who, unsigned n)
{
    weir_mpmc_hand hand = { .run = NULL };
    rig.giving[n] = true;
    if (who == 0)
        weir_mpmc_hand_take(&rig.c[who], &hand);
    if (hand.run != NULL)
        weir_mpmc_hand_release(&hand);
    else
        weir_mpmc_release(&rig.c[who]);
    (void)weir_mpmc_hand_back(&rig.c[who], &hand);
    model_note(&rig.done[n]);
}

/* One record, and gives it back.  False: nothing is there. */
static bool take_one(unsigned who)
{
    const void *msg = NULL;
    uint64_t bits = 0;
    uint32_t len = 0, lane = 1;
    bool again = false;
    weir_status status = weir_mpmc_peek(&rig.c[who], &msg, &len, &lane, &again);
    if (status == WEIR_EMPTY || status == WEIR_AGAIN) {
        model_reached(status == WEIR_EMPTY ? MARK_EMPTY : MARK_AGAIN);
        return status == WEIR_AGAIN;
    }
    MODEL_ASSERT(status == WEIR_OK && len == sizeof bits);
    WEIR_PAYLOAD_READ(&bits, msg, len);
    unsigned n = (unsigned)(bits & 0xff) - 1;
    MODEL_ASSERT(n < rig.records && bits == message(n) && !model_noted(&rig.done[n]) && lane == (n >= rig.first_later));
    MODEL_ASSERT(again || !rig.came[n]); /* as new: once */
    if (again)
        model_reached(MARK_LEFT);
    rig.came[n] = true;
    give(who, n);
    return true;
}

/* Of a consumer that looks only so often; what it leaves is taken in the end (check). */
static void take_all(unsigned who)
{
    if (rig.held[who] != 0)
        give(who, rig.held[who] - 1);
    for (unsigned i = 0; rig.few && i < rig.takes[who]; i++)
        (void)take_one(who);
    while (!rig.few && (take_one(who) || (!all_done() && model_wait())))
        continue;
}

static void take_0(void) { take_all(0); }
static void take_1(void) { take_all(1); }

static bool somebody_was_killed(void)
{
    for (unsigned thread = 1; thread <= MODEL_THREADS; thread++)
        if (model_killed(thread))
            return true;
    return false;
}

/* Whoever is killed behind the store of a release does not say any more that it was done. */
static void check(void)
{
    for (unsigned i = 0; i < rig.shape.consumers; i++)
        while (rig.few && rig.lives[i] && take_one(i))
            continue;
    for (unsigned n = 0; n < rig.records; n++)
        MODEL_ASSERT(rig.done[n] || (rig.giving[n] && somebody_was_killed()));
    MODEL_ASSERT(weir_mpmc_drained(rig.heir.consumers != 0 ? &rig.heir : &rig.producer) == WEIR_OK);
    MODEL_ASSERT(rig.first_later == RECORDS_MAX || weir_mpmc_drained(&rig.later) == WEIR_OK);
    for (unsigned i = 0; i < rig.shape.consumers; i++)
        if (rig.lives[i])
            MODEL_ASSERT(weir_mpmc_ready(&rig.c[i]) == WEIR_EMPTY);
}

/* ---- nobody dies ---- */

static void setup_publish(void) { setup(1, 2, 2, 2); }
static void setup_lap(void) { setup(1, 2, MODEL_BOUND(4, 3), 2); }

/* Under GenMC. */
static void look_few(unsigned first, unsigned other)
{
    rig.few = MODEL_BOUND(false, true);
    rig.takes[0] = first;
    rig.takes[1] = other;
}

static void setup_race(void)
{
    setup(2, 4, MODEL_BOUND(3, 2), 2);
    look_few(1, 1);
}

static void setup_batch(void)
{
    setup(2, 4, MODEL_BOUND(3, 2), 1);
    rig.batch = MODEL_BOUND(3, 2);
    look_few(1, 1);
}

/* In setup. */
static void hold(unsigned who, unsigned n)
{
    const void *msg;
    uint32_t len, lane;
    bool again;
    MODEL_ASSERT(weir_mpmc_peek(&rig.c[who], &msg, &len, &lane, &again) == WEIR_OK);
    rig.came[n] = true;
    rig.held[who] = n + 1;
}

/* Under GenMC the first lap is there, and what is left of it in hands. */
static void setup_two_laps(unsigned records, uint32_t run_max, unsigned batch)
{
    setup(2, 2, MODEL_BOUND(0, 2), run_max);
    push_rest(&rig.producer);
    rig.records = records;
    rig.batch = batch;
    look_few(1, 1);
}

static void setup_lap_race(void)
{
    setup_two_laps(3, 1, 0);
    if (MODEL_BOUND(false, true))
        hold(0, 0), hold(1, 1);
}

static void setup_lap_batch(void)
{
    setup_two_laps(4, 2, 2);
    if (MODEL_BOUND(false, true))
        (void)take_one(0), hold(0, 1), look_few(0, 1);
}

#define QUEUE(id, title, set, marks, p, s, ...)                                                                       \
    MODEL(id) = { .name = "mpmc: " title, .setup = (set), .check = check,                                              \
                  .threads = { { .name = "producer", .run = produce }, { .name = "consumer", .run = take_0 },          \
                               __VA_ARGS__ },                                                                          \
                  .preemptions = (p), .stale = (s), .must_reach = (marks), .random = 20000 }
#define OTHER { .name = "other consumer", .run = take_1 }

QUEUE(publish, "one consumer", setup_publish, MARK_EMPTY, 3, 2, { .name = NULL });
QUEUE(lap, "one consumer, two laps", setup_lap, MARK_EMPTY | MARK_FULL, 2, 2, { .name = NULL });
QUEUE(race, "two claim at once", setup_race, MARK_EMPTY, 2, 1, OTHER);
QUEUE(batch, "two claim parts of a batch", setup_batch, MARK_EMPTY, 2, 1, OTHER);
QUEUE(lap_race, "two claim, more than a lap", setup_lap_race, MARK_EMPTY | MARK_FULL, 1, 2, OTHER);
QUEUE(lap_batch, "two claim, two laps of batches", setup_lap_batch, MARK_EMPTY | MARK_FULL, 1, 2, OTHER);

/* One looks while the other takes all there was and a batch of the next lap comes: it sees headers of that lap, and
 * knows them for what they are. */
static void take_and_push(void)
{
    while (take_one(1))
        continue;
    if (push_one(&rig.producer, 2, true))
        (void)push_one(&rig.producer, 3, false);
    weir_mpmc_flush(&rig.producer);
}

static void look_once(void)
{
    if (!take_one(0))
        model_reached(MARK_OTHER);
}

static void setup_look(void)
{
    setup(2, 2, 2, 2);
    push_rest(&rig.producer);
    rig.records = 4;
}

MODEL(later_lap) = { .name = "mpmc: headers of a later lap", .setup = setup_look,
                     .threads = { { .name = "consumer", .run = look_once },
                                  { .name = "other, producer", .run = take_and_push } },
                     .preemptions = 2, .stale = 3, .must_reach = MARK_OTHER, .random = 20000 };

/* ---- a consumer is killed ---- */

/* Hears that consumer `gone` of generation 1 is, and goes on for it. */
static void succeed(unsigned who, unsigned gone)
{
    MODEL_ASSERT(weir_mpmc_recover(&rig.c[who], gone, 1) == WEIR_OK);
    take_all(who);
}

static void succeed_0_as_2(void)
{
    rig.lives[0] = false;
    if (model_killed(2))
        model_reached(MARK_KILLED);
    succeed(2, 0);
}

static void attach_as_0(void)
{
    if (model_killed(2))
        model_reached(MARK_KILLED);
    MODEL_ASSERT(attach(0, 2, 2) == WEIR_OK);
    take_all(0);
}

static void setup_dies(void) { setup(3, 2, MODEL_BOUND(3, 1), 2); }
static void setup_dies_2(void) { setup(2, 2, MODEL_BOUND(3, 1), 2); }

MODEL(claimer_dies) = { .name = "mpmc: a consumer is killed, and recovered from", .setup = setup_dies, .check = check,
                        .threads = { { .name = "producer", .run = produce },
                                     { .name = "consumer", .run = take_0, .victim = true },
                                     { .name = "other consumer", .run = take_1 },
                                     { .name = "heir", .run = succeed_0_as_2, .after = 2 } },
                        .preemptions = 1, .stale = 1, .kills = 1, .must_reach = MARK_EMPTY | MARK_KILLED | MARK_LEFT,
                        .random = 20000 };
MODEL(claimer_dies_alone) = { .name = "mpmc: a consumer is killed, its slot is taken", .setup = setup_dies_2,
                              .check = check,
                              .threads = { { .name = "producer", .run = produce },
                                           { .name = "consumer", .run = take_0, .victim = true },
                                           { .name = "other consumer", .run = take_1 },
                                           { .name = "next consumer", .run = attach_as_0, .after = 2 } },
                              .preemptions = 1, .stale = 1, .kills = 1,
                              .must_reach = MARK_EMPTY | MARK_KILLED | MARK_LEFT, .random = 20000 };

/* ---- two recover from one ---- */

/* Consumer 0 is gone with the first half of the records claimed, and one of them read; the others wait. */
static void setup_gone_of(unsigned records)
{
    const void *msg;
    uint32_t len, lane;
    bool again;
    setup(3, 4, records, 2);
    push_rest(&rig.producer);
    MODEL_ASSERT(weir_mpmc_peek(&rig.c[0], &msg, &len, &lane, &again) == WEIR_OK);
    rig.came[0] = true;
    rig.lives[0] = false;
}

static void setup_gone(void) { setup_gone_of(4); }
static void setup_adoption(void) { setup_gone_of(MODEL_BOUND(4, 2)); }

static void succeed_0_as_1(void) { succeed(1, 0); }
static void succeed_0_as_2_too(void) { succeed(2, 0); }

MODEL(adoption) = { .name = "mpmc: two recover from one", .setup = setup_adoption, .check = check,
                    .threads = { { .name = "one", .run = succeed_0_as_1 },
                                 { .name = "other", .run = succeed_0_as_2_too } },
                    .preemptions = 3, .stale = 1, .must_reach = MARK_LEFT | MARK_EMPTY, .random = 20000 };

/* The adopter is killed as well. */
static void succeed_both_as_2(void)
{
    rig.lives[1] = false;
    if (model_killed(1))
        model_reached(MARK_KILLED);
    MODEL_ASSERT(weir_mpmc_recover(&rig.c[2], 1, 1) == WEIR_OK);
    succeed(2, 0);
}

MODEL(adopter_dies) = { .name = "mpmc: who recovers is killed", .setup = setup_adoption, .check = check,
                        .threads = { { .name = "heir", .run = succeed_0_as_1, .victim = true },
                                     { .name = "second heir", .run = succeed_both_as_2, .after = 1 } },
                        .preemptions = 2, .stale = 1, .kills = 1, .must_reach = MARK_LEFT | MARK_KILLED,
                        .random = 20000 };

/* A freed slot has its next consumer; the words of the former must not come behind this one's. */
static void free_slot(void)
{
    MODEL_ASSERT(weir_mpmc_recover(&rig.c[1], 0, 1) == WEIR_OK);
    MODEL_ASSERT(take_one(1) && take_one(1));
}

static void take_freed_slot(void)
{
    weir_status status;
    const void *msg;
    uint32_t len, lane;
    bool again = true;
    /* Only a free slot may be had: generation 0 sees to that. */
    while ((status = attach(0, 0, 2)) != WEIR_OK) {
        MODEL_ASSERT(status == WEIR_E_IN_USE);
        model_reached(MARK_OTHER);
        MODEL_ASSERT(model_wait());
    }
    MODEL_ASSERT(weir_mpmc_peek(&rig.c[0], &msg, &len, &lane, &again) == WEIR_OK && !again);
}

static void check_held(void)
{
    weir_mpmc_run_state run = weir_mpmc_run_of(weir_load_rlx(weir_mpmc_run(rig.lane[0][0].claim, 0)));
    MODEL_ASSERT(run.left == 1 && !run.intent && run.pos == ((START + 2) & WEIR_MPMC_POS_MASK));
}

static void leave_slot(void)
{
    MODEL_ASSERT(take_one(0));
    MODEL_ASSERT(weir_mpmc_consumer_detach(&rig.c[0]) == WEIR_OK);
}

/* Consumer 0 has one record, gives it back and leaves. */
static void setup_leaves(void)
{
    setup(1, 4, 4, 1);
    push_rest(&rig.producer);
    rig.records = 1;
}

static void check_left(void)
{
    weir_mpmc_run_state run = weir_mpmc_run_of(weir_load_rlx(weir_mpmc_run(rig.lane[0][0].claim, 0)));
    MODEL_ASSERT(run.left != 0 && !run.intent);
}

static weir_mpmc_consumer next_consumer;
static weir_mpmc_lane next_lane;

static void take_left_slot(void)
{
    weir_status status;
    const void *msg;
    uint32_t len, lane;
    bool again = true;
    /* As above. */
    while ((status = weir_mpmc_consumer_attach(&next_consumer, rig.ring, sizeof rig.ring, 0, 0, 2, &next_lane, 1)) !=
           WEIR_OK) {
        MODEL_ASSERT(status == WEIR_E_IN_USE);
        model_reached(MARK_OTHER);
        MODEL_ASSERT(model_wait());
    }
    MODEL_ASSERT(weir_mpmc_peek(&next_consumer, &msg, &len, &lane, &again) == WEIR_OK && !again);
}

MODEL(freed) = { .name = "mpmc: a slot is freed and taken", .setup = setup_gone, .check = check_held,
                 .threads = { { .name = "heir", .run = free_slot },
                              { .name = "next consumer", .run = take_freed_slot } },
                 .preemptions = 2, .stale = 2, .must_reach = MARK_LEFT | MARK_OTHER, .random = 20000 };
MODEL(left) = { .name = "mpmc: a slot is left and taken", .setup = setup_leaves, .check = check_left,
                .threads = { { .name = "consumer", .run = leave_slot },
                             { .name = "next consumer", .run = take_left_slot } },
                .preemptions = 2, .stale = 2, .must_reach = MARK_OTHER, .random = 20000 };

/* ---- a producer is killed ---- */

static void next_producer(void)
{
    MODEL_ASSERT(weir_mpmc_producer_attach(&rig.heir, rig.ring, sizeof rig.ring, 0) == WEIR_OK);
    unsigned there = (unsigned)((rig.heir.pos - START) & WEIR_MPMC_POS_MASK);
    unsigned at_once = rig.batch > 1 ? rig.batch : 1;
    if (model_killed(1)) {
        model_reached(MARK_KILLED);
        MODEL_ASSERT(there >= rig.pushed && there <= rig.pushed + at_once);
    }
    rig.pushed = there;
    push_rest(&rig.heir);
}

static void setup_producer_dies(void)
{
    setup(2, 4, 4, 2);
    rig.batch = 3;
}

MODEL(producer_dies) = { .name = "mpmc: a producer is killed in a batch", .setup = setup_producer_dies, .check = check,
                         .threads = { { .name = "producer", .run = produce, .victim = true },
                                      { .name = "consumer", .run = take_0 },
                                      { .name = "next producer", .run = next_producer, .after = 1 } },
                         .preemptions = 2, .stale = 1, .kills = 1, .must_reach = MARK_EMPTY | MARK_KILLED,
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
    while (!is_there(weir_mpmc_producer_attach(&rig.producer, rig.ring, sizeof rig.ring, 0)))
        ;
    produce();
}

static void attach_and_take(void)
{
    while (!is_there(attach(0, 1, 2)))
        ;
    take_all(0);
}

static void setup_init(void)
{
    blank(1, 2);
    rig.records = 1;
}

MODEL(made) = { .name = "mpmc: ends that wait for it", .setup = setup_init, .check = check,
                .threads = { { .name = "maker", .run = init },
                             { .name = "producer", .run = attach_and_push },
                             { .name = "consumer", .run = attach_and_take } },
                .preemptions = 2, .stale = 1, .must_reach = MARK_OTHER, .random = 20000 };

/* ---- a lane that is made while the others are at work ---- */

/* A record is in the first lane; those that come later are numbered behind it. */
static void setup_one_of_two(unsigned consumers, unsigned later)
{
    blank(consumers, 2);
    rig.shape.lanes = 2;
    rig.records = 1 + later;
    rig.first_later = 1;
    MODEL_ASSERT(weir_mpmc_footprint(&rig.shape) <= sizeof rig.ring);
    MODEL_ASSERT(weir_mpmc_init_some(rig.ring, sizeof rig.ring, &rig.shape, 1, START) == WEIR_OK);
    MODEL_ASSERT(weir_mpmc_producer_attach(&rig.producer, rig.ring, sizeof rig.ring, 0) == WEIR_OK);
    MODEL_ASSERT(push_one(&rig.producer, 0, false));
    rig.pushed = 1;
}

static void setup_growing(void)
{
    setup_one_of_two(1, 1);
    MODEL_ASSERT(attach(0, 1, 2) == WEIR_OK);
}

static void grow_alone(void)
{
    MODEL_ASSERT(weir_mpmc_grow(rig.ring, sizeof rig.ring, 2) == WEIR_OK);
}

static void grow_and_push(void)
{
    grow_alone();
    MODEL_ASSERT(weir_mpmc_producer_attach(&rig.later, rig.ring, sizeof rig.ring, 1) == WEIR_OK);
    push_rest(&rig.later);
}

MODEL(growing) = { .name = "mpmc: a lane that is made later", .setup = setup_growing, .check = check,
                   .threads = { { .name = "grower", .run = grow_and_push }, { .name = "consumer", .run = take_0 } },
                   .preemptions = 2, .stale = 2, .must_reach = MARK_EMPTY, .random = 20000 };

/* A consumer that comes in the middle of it finds one lane, or two whole ones. */
static void setup_coming(void) { setup_one_of_two(1, 0); }

static void come(void)
{
    MODEL_ASSERT(attach(0, 1, 2) == WEIR_OK);
    model_reached(rig.c[0].count == 1 ? MARK_EMPTY : MARK_OTHER);
    MODEL_ASSERT(rig.c[0].count == 1 || rig.lane[0][1].claim_pos == 0);
}

MODEL(coming) = { .name = "mpmc: a consumer comes while a lane is made", .setup = setup_coming,
                  .threads = { { .name = "grower", .run = grow_alone }, { .name = "consumer", .run = come } },
                  .preemptions = 2, .stale = 3, .must_reach = MARK_EMPTY | MARK_OTHER, .random = 20000 };

/* Who is killed had a run in a lane that its heir has not heard of. */
static void setup_dies_later(void)
{
    setup_one_of_two(2, 2);
    MODEL_ASSERT(attach(0, 1, 2) == WEIR_OK && attach(1, 1, 2) == WEIR_OK);
}

static void succeed_1_as_0(void)
{
    rig.lives[1] = false;
    if (model_killed(2))
        model_reached(MARK_KILLED);
    succeed(0, 1);
}

MODEL(dies_in_a_new_lane) = { .name = "mpmc: a consumer is killed in a lane that its heir does not know",
                              .setup = setup_dies_later, .check = check,
                              .threads = { { .name = "grower", .run = grow_and_push },
                                           { .name = "consumer", .run = take_1, .victim = true },
                                           { .name = "heir", .run = succeed_1_as_0, .after = 2 } },
                              .preemptions = 1, .stale = 2, .kills = 1, .must_reach = MARK_KILLED | MARK_LEFT,
                              .random = 20000 };
