/* The work queue: who gets which records, runs and halves, what a dead consumer leaves and who takes it over, every
 * status; and random lives of all ends against a plain model. */
#include "kinds.h"

#include <criterion/criterion.h>
#include <weir/ring/mpmc_layout.h>

#define LANES 3u
#define CONSUMERS 4u
#define RECORD_MAX 40u

typedef struct rig {
    unsigned char *mem;
    uint64_t bytes;
    weir_mpmc_shape shape;
    weir_mpmc_producer p[LANES];
    weir_mpmc_consumer c[CONSUMERS];
    weir_mpmc_lane handles[CONSUMERS][LANES];
    uint32_t generation;
    uint64_t pushed[LANES];
} rig;

static const uint64_t starts[] = { 0, (UINT64_C(1) << 32) - 20, (UINT64_C(1) << 56) - 20 };
#define STARTS (sizeof starts / sizeof starts[0])

static unsigned char buffer[RECORD_MAX];

static weir_status attach(rig *r, uint32_t slot, uint32_t run_max)
{
    return weir_mpmc_consumer_attach(&r->c[slot], r->mem, r->bytes, slot, ++r->generation, run_max, r->handles[slot],
                                     LANES);
}

static void make(rig *r, uint32_t lanes, uint32_t consumers, uint32_t slots, uint64_t start)
{
    *r = (rig){ .shape = { lanes, consumers, slots, RECORD_MAX } };
    r->bytes = weir_mpmc_footprint(&r->shape);
    CHECK(r->bytes != 0 && r->bytes % WEIR_LINE == 0);
    r->mem = aligned_alloc(128, (r->bytes + 127) / 128 * 128);
    CHECK(r->mem != NULL);
    memset(r->mem, 0xee, r->bytes);
    CHECK_OK(weir_mpmc_init(r->mem, r->bytes, &r->shape, start));
    for (uint32_t lane = 0; lane < lanes; lane++)
        CHECK_OK(weir_mpmc_producer_attach(&r->p[lane], r->mem, r->bytes, lane));
    for (uint32_t slot = 0; slot < consumers; slot++)
        CHECK_OK(attach(r, slot, 0));
}

static void end(rig *r) { free(r->mem); }

static uint32_t length(uint64_t seq) { return (uint32_t)(seq * 7 % (RECORD_MAX + 1)); }

static weir_status push_as(rig *r, uint32_t lane, bool more)
{
    record_fill(buffer, lane, r->pushed[lane], length(r->pushed[lane]));
    weir_status status = more ? weir_mpmc_push_more(&r->p[lane], buffer, length(r->pushed[lane]))
                              : weir_mpmc_push(&r->p[lane], buffer, length(r->pushed[lane]));
    r->pushed[lane] += status == WEIR_OK;
    return status;
}

static void push(rig *r, uint32_t lane, uint64_t count)
{
    for (; count > 0; count--)
        CHECK_OK(push_as(r, lane, false));
}

/* Records first to last of that lane come to the consumer, as they are, and stay unreleased. */
static void expect(rig *r, uint32_t slot, uint32_t lane, uint64_t first, uint64_t last, bool again)
{
    for (uint64_t seq = first; seq <= last; seq++) {
        uint32_t len = 0, from = 99;
        bool redelivered = !again;
        CHECK_OK(weir_mpmc_pop_more(&r->c[slot], buffer, sizeof buffer, &len, &from, &redelivered));
        cr_assert(from == lane && len == length(seq) && record_is(buffer, lane, seq, len),
                  "record %llu of lane %u: got %u bytes of lane %u", (unsigned long long)seq, lane, len, from);
        cr_assert_eq(redelivered, again, "record %llu", (unsigned long long)seq);
    }
}

static void expect_not(rig *r, uint32_t slot, weir_status wanted)
{
    uint32_t len = 77, lane = 77;
    bool redelivered = true;
    const void *msg = NULL;
    cr_assert_eq(weir_mpmc_ready(&r->c[slot]), wanted);
    cr_assert_eq(weir_mpmc_pop_more(&r->c[slot], buffer, sizeof buffer, &len, &lane, &redelivered), wanted);
    cr_assert_eq(weir_mpmc_peek(&r->c[slot], &msg, &len, &lane, &redelivered), wanted);
    cr_assert(len == 77 && lane == 77 && redelivered && msg == NULL);
}

/* Who has that slot; 99: nobody. */
static void expect_owner(rig *r, uint32_t slot, uint32_t owner, uint32_t generation)
{
    uint32_t who = 99, when = 0;
    weir_status status = weir_mpmc_owner(r->mem, r->bytes, slot, &who, &when);
    cr_assert_eq(status, owner == 99 ? WEIR_EMPTY : WEIR_OK);
    cr_assert(who == owner && (owner == 99 || when == generation), "slot %u: %u of %u", slot, who, when);
}

static weir_atomic_u64 *claim_of(rig *r, uint32_t lane)
{
    return weir_word_at(r->mem, weir_mpmc_lane_off(&r->shape, lane));
}

static weir_atomic_u64 *run_of(rig *r, uint32_t lane, uint32_t slot) { return weir_mpmc_run(claim_of(r, lane), slot); }

/* ---- runs ---- */

/* Reads that many records of what is in hand. */
static void read_in_hand(weir_mpmc_hand *hand, uint32_t lane, uint64_t first, uint64_t last)
{
    uint32_t len = 0;
    for (uint64_t seq = first; seq <= last; seq++) {
        cr_assert(weir_mpmc_hand_pop(hand, buffer, sizeof buffer, &len));
        cr_assert(len == length(seq) && record_is(buffer, lane, seq, len));
    }
}

Test(mpmc, what_is_in_hand_ends_with_the_lap_and_is_given_back_as_far_as_it_was_read)
{
    for (unsigned i = 0; i < STARTS; i++) {
        rig r;
        weir_mpmc_hand hand;
        const void *msg = NULL;
        uint32_t len = 77;
        make(&r, 1, 1, 8, starts[i] & ~UINT64_C(7)); /* alone, a consumer claims all that waits */
        push(&r, 0, 5);
        expect(&r, 0, 0, 0, 4, false);
        weir_mpmc_release(&r.c[0]);
        push(&r, 0, 6); /* three up to the lap's end, three behind it */
        expect(&r, 0, 0, 5, 5, false);
        weir_mpmc_hand_take(&r.c[0], &hand);
        cr_assert_eq(hand.end_word - hand.word, 2 * WEIR_MPMC_WORD_STEP);
        read_in_hand(&hand, 0, 6, 6);
        cr_assert(!weir_mpmc_hand_pop(&hand, buffer, length(7) - 1, &len) && len == 77); /* too small: it stays */
        weir_mpmc_hand_release(&hand);
        cr_assert_eq(weir_mpmc_run_of(weir_load_rlx(run_of(&r, 0, 0))).left, 4);
        read_in_hand(&hand, 0, 7, 7);
        cr_assert(!weir_mpmc_hand_peek(&hand, &msg, &len) && msg == NULL);
        cr_assert_eq(weir_mpmc_hand_back(&r.c[0], &hand), 2);
        cr_assert(weir_mpmc_hand_back(&r.c[0], &hand) == 0 && !weir_mpmc_hand_peek(&hand, &msg, &len));
        cr_assert_eq(weir_mpmc_run_of(weir_load_rlx(run_of(&r, 0, 0))).left, 4); /* what was read only is not done */
        push(&r, 0, 4);
        cr_assert_eq(push_as(&r, 0, false), WEIR_FULL);
        weir_mpmc_hand_take(&r.c[0], &hand);
        read_in_hand(&hand, 0, 8, 10);
        weir_mpmc_hand_release(&hand); /* all that was read before it was taken in hand, too */
        cr_assert_eq(weir_mpmc_run_of(weir_load_rlx(run_of(&r, 0, 0))).left, 0);
        cr_assert_eq(weir_mpmc_hand_back(&r.c[0], &hand), 3);
        expect(&r, 0, 0, 11, 14, false);
        weir_mpmc_release(&r.c[0]);
        expect_not(&r, 0, WEIR_EMPTY);
        end(&r);
    }
}

Test(mpmc, nothing_is_in_hand_of_a_consumer_that_holds_other_runs_or_those_of_the_dead)
{
    rig r;
    weir_mpmc_hand hand;
    const void *msg;
    uint32_t len;
    make(&r, 2, 2, 8, 0);
    push(&r, 0, 2);
    push(&r, 1, 4);
    expect(&r, 0, 0, 0, 0, false);
    expect(&r, 0, 1, 0, 0, false); /* while lane 0's run is not given back */
    weir_mpmc_hand_take(&r.c[0], &hand);
    cr_assert(hand.run == NULL && !weir_mpmc_hand_peek(&hand, &msg, &len));
    weir_mpmc_release(&r.c[0]);
    weir_mpmc_hand_take(&r.c[0], &hand);
    cr_assert(hand.run != NULL);
    read_in_hand(&hand, 1, 1, 1);
    cr_assert_eq(weir_mpmc_hand_back(&r.c[0], &hand), 1);
    CHECK_OK(weir_mpmc_recover(&r.c[1], 0, r.c[0].generation)); /* it had read that one, and not given it back */
    expect(&r, 1, 1, 1, 1, true);
    weir_mpmc_hand_take(&r.c[1], &hand);
    cr_assert(hand.run == NULL);
    end(&r);
}

Test(mpmc, a_claim_takes_half_of_what_waits_rounded_up_and_no_more_than_the_run)
{
    for (size_t s = 0; s < STARTS; s++) {
        rig r;
        make(&r, 1, 3, 256, starts[s]);
        push(&r, 0, 10);
        expect(&r, 0, 0, 0, 4, false);
        expect_not(&r, 0, WEIR_FULL);
        expect(&r, 1, 0, 5, 7, false);
        expect(&r, 2, 0, 8, 8, false);
        weir_mpmc_release(&r.c[0]);
        expect(&r, 0, 0, 9, 9, false);
        for (uint32_t slot = 0; slot < 3; slot++) {
            weir_mpmc_release(&r.c[slot]);
            expect_not(&r, slot, WEIR_EMPTY);
        }
        CHECK_OK(weir_mpmc_drained(&r.p[0]));
        uint64_t seq = 10;
        static const uint32_t runs[] = { 1, 3, 0, WEIR_MPMC_RUN_MAX };
        for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
            uint32_t most = runs[i] != 0 ? runs[i] : WEIR_MPMC_RUN;
            CHECK_OK(weir_mpmc_consumer_detach(&r.c[0]));
            CHECK_OK(attach(&r, 0, runs[i]));
            push(&r, 0, 2 * most + 8);
            expect(&r, 0, 0, seq, seq + most - 1, false);
            expect_not(&r, 0, WEIR_FULL);
            weir_mpmc_release(&r.c[0]);
            for (uint64_t at = seq + most; at < seq + 2 * most + 8; at++) {
                expect(&r, 0, 0, at, at, false);
                weir_mpmc_release(&r.c[0]);
            }
            seq += 2 * most + 8;
        }
        end(&r);
    }
}

Test(mpmc, one_who_holds_a_read_run_goes_to_other_lanes_and_then_is_full)
{
    rig r;
    make(&r, 3, 1, 16, 0);
    push(&r, 0, 4);
    push(&r, 1, 1);
    expect(&r, 0, 0, 0, 3, false);
    push(&r, 0, 1);
    cr_assert_eq(weir_mpmc_ready(&r.c[0]), WEIR_OK);
    expect(&r, 0, 1, 0, 0, false);
    expect_not(&r, 0, WEIR_FULL);
    push(&r, 2, 2);
    expect(&r, 0, 2, 0, 1, false);
    expect_not(&r, 0, WEIR_FULL);
    cr_assert_eq(weir_mpmc_drained(&r.p[1]), WEIR_FULL);
    weir_mpmc_release(&r.c[0]); /* of all three */
    CHECK_OK(weir_mpmc_drained(&r.p[1]));
    CHECK_OK(weir_mpmc_drained(&r.p[2]));
    expect(&r, 0, 0, 4, 4, false);
    weir_mpmc_release(&r.c[0]);
    expect_not(&r, 0, WEIR_EMPTY);
    end(&r);
}

Test(mpmc, lanes_come_in_turn)
{
    rig r;
    make(&r, 2, 1, 256, 0);
    push(&r, 0, 200);
    push(&r, 1, 3);
    uint32_t len, lane, before = 0;
    bool redelivered;
    do {
        CHECK_OK(weir_mpmc_pop(&r.c[0], buffer, sizeof buffer, &len, &lane, &redelivered));
    } while (lane == 0 && ++before < 200);
    cr_assert_leq(before, WEIR_MPMC_TURN);
    end(&r);
}

Test(mpmc, a_lane_whose_turn_is_over_goes_on_while_the_others_are_empty)
{
    rig r;
    make(&r, 3, 1, 256, 0);
    for (uint32_t lane = 0; lane < 3; lane++) {
        push(&r, lane, 3 * WEIR_MPMC_TURN);
        for (uint64_t seq = 0; seq < 3 * WEIR_MPMC_TURN; seq++) {
            expect(&r, 0, lane, seq, seq, false);
            weir_mpmc_release(&r.c[0]);
        }
        expect_not(&r, 0, WEIR_EMPTY);
    }
    end(&r);
}

/* Fills the lane, so that its producer looks for room and says where it runs. */
static void fill_at(rig *r, uint32_t lane, uint32_t near)
{
    r->p[lane].near = near;
    push(r, lane, r->shape.slots);
    CHECK_STATUS(push_as(r, lane, false), WEIR_FULL);
}

Test(mpmc, lanes_near_by_come_first_but_for_one_run_of_eight)
{
    rig r;
    make(&r, 3, 2, 16, 0);
    for (uint32_t lane = 0; lane < 3; lane++)
        fill_at(&r, lane, lane + 1);
    CHECK_OK(weir_mpmc_consumer_detach(&r.c[0]));
    CHECK_OK(attach(&r, 0, 1));
    r.c[0].near = 3;
    uint32_t of[3] = { 0 };
    for (uint32_t i = 0; i < 16; i++) {
        uint32_t len = 0, lane = 0;
        bool again = false;
        CHECK_OK(weir_mpmc_pop(&r.c[0], buffer, sizeof buffer, &len, &lane, &again));
        of[lane]++;
    }
    cr_assert(of[2] >= 14 && of[0] + of[1] >= 1, "%u %u %u", of[0], of[1], of[2]);
    for (uint32_t i = 16; i < 48; i++) { /* and the others when there is nothing near */
        uint32_t len = 0, lane = 0;
        bool again = false;
        CHECK_OK(weir_mpmc_pop(&r.c[0], buffer, sizeof buffer, &len, &lane, &again));
    }
    end(&r);
}

Test(mpmc, who_is_picky_takes_whole_runs_or_what_is_near)
{
    rig r;
    make(&r, 2, 2, 16, 0);
    CHECK_OK(weir_mpmc_consumer_detach(&r.c[0]));
    CHECK_OK(attach(&r, 0, 4));
    r.c[0].near = 2;
    r.c[0].picky = 1;
    push(&r, 0, 3);
    for (uint32_t i = 0; i < 2 * WEIR_MPMC_FAIR; i++) { /* too few, and of one who runs elsewhere */
        uint32_t len = 0, lane = 0;
        bool again = false;
        CHECK_STATUS(weir_mpmc_pop(&r.c[0], buffer, sizeof buffer, &len, &lane, &again), WEIR_EMPTY);
    }
    push(&r, 0, 1);
    expect(&r, 0, 0, 0, 1, false);
    weir_mpmc_release(&r.c[0]);
    fill_at(&r, 1, 2);
    for (uint32_t i = 0; i < 16; i++) {
        uint32_t len = 0, lane = 0;
        bool again = false;
        CHECK_OK(weir_mpmc_pop(&r.c[0], buffer, sizeof buffer, &len, &lane, &again));
        cr_assert_eq(lane, 1);
    }
    r.c[0].picky = 0;
    expect(&r, 0, 0, 2, 2, false);
    end(&r);
}

Test(mpmc, a_lane_is_full_exactly_until_its_oldest_record_is_done)
{
    for (size_t s = 0; s < STARTS; s++) {
        rig r;
        make(&r, 1, 2, 8, starts[s]);
        for (unsigned round = 0; round < 30; round++) {
            uint64_t first = r.pushed[0];
            push(&r, 0, 8);
            cr_assert_eq(push_as(&r, 0, false), WEIR_FULL);
            expect(&r, 0, 0, first, first + 3, false);
            expect(&r, 1, 0, first + 4, first + 5, false);
            weir_mpmc_release(&r.c[1]); /* behind what the other holds */
            cr_assert_eq(push_as(&r, 0, false), WEIR_FULL);
            cr_assert_eq(weir_mpmc_drained(&r.p[0]), WEIR_FULL);
            weir_mpmc_release(&r.c[0]);
            push(&r, 0, 6);
            cr_assert_eq(push_as(&r, 0, false), WEIR_FULL);
            expect(&r, 0, 0, first + 6, first + 9, false);
            expect(&r, 1, 0, first + 10, first + 11, false);
            weir_mpmc_release(&r.c[1]);
            expect(&r, 1, 0, first + 12, first + 12, false);
            weir_mpmc_release(&r.c[1]);
            expect(&r, 1, 0, first + 13, first + 13, false);
            weir_mpmc_release(&r.c[1]);
            cr_assert_eq(weir_mpmc_drained(&r.p[0]), WEIR_FULL);
            weir_mpmc_release(&r.c[0]);
            CHECK_OK(weir_mpmc_drained(&r.p[0]));
        }
        end(&r);
    }
}

/* ---- who is gone, and who takes over ---- */

Test(mpmc, what_the_dead_did_not_give_back_comes_again_to_whoever_recovers_it)
{
    for (size_t s = 0; s < STARTS; s++) {
        rig r;
        make(&r, 2, 3, 16, starts[s]);
        push(&r, 0, 10);
        push(&r, 1, 2);
        expect(&r, 0, 0, 0, 2, false);
        weir_mpmc_release(&r.c[0]);
        expect(&r, 0, 0, 3, 3, false); /* it dies with 3 and 4 of one lane */
        uint32_t dead = r.c[0].generation, heir = r.c[1].generation;
        expect_owner(&r, 0, 0, dead);
        CHECK_OK(weir_mpmc_recover(&r.c[1], 0, dead - 1)); /* stale news */
        expect_owner(&r, 0, 0, dead);
        CHECK_OK(weir_mpmc_recover(&r.c[1], 0, dead));
        expect_owner(&r, 0, 1, heir);
        CHECK_OK(weir_mpmc_recover(&r.c[2], 0, dead)); /* too late */
        expect_owner(&r, 0, 1, heir);
        cr_assert_eq(attach(&r, 0, 0), WEIR_E_IN_USE);
        expect(&r, 1, 0, 3, 4, true);
        expect_owner(&r, 0, 1, heir);
        weir_mpmc_release(&r.c[1]);
        expect_owner(&r, 0, 99, 0);
        expect(&r, 1, 0, 5, 7, false);
        weir_mpmc_release(&r.c[1]);
        CHECK_OK(attach(&r, 0, 0));
        expect_owner(&r, 0, 0, r.generation);
        expect(&r, 0, 0, 8, 8, false);
        expect(&r, 0, 1, 0, 0, false);
        weir_mpmc_release(&r.c[0]);
        end(&r);
    }
}

Test(mpmc, the_slot_s_next_consumer_gets_it_too)
{
    rig r;
    make(&r, 1, 2, 16, 0);
    push(&r, 0, 8);
    expect(&r, 0, 0, 0, 1, false);
    CHECK_OK(attach(&r, 0, 0));
    push(&r, 0, 4);
    expect(&r, 0, 0, 0, 3, true);
    weir_mpmc_release(&r.c[0]);
    expect(&r, 0, 0, 4, 7, false);
    end(&r);
}

Test(mpmc, an_adopter_who_dies_is_recovered_from_with_all_it_had)
{
    rig r;
    make(&r, 2, 4, 32, 0);
    push(&r, 0, 16);
    push(&r, 1, 3);
    uint32_t dead[3];
    expect(&r, 0, 0, 0, 0, false); /* 0 to 7 of lane 0 */
    expect(&r, 0, 0, 1, 1, false);
    weir_mpmc_release(&r.c[0]);
    for (uint32_t i = 0; i < 3; i++)
        dead[i] = r.c[i].generation;
    CHECK_OK(weir_mpmc_recover(&r.c[1], 0, dead[0]));
    expect(&r, 1, 0, 2, 4, true);
    weir_mpmc_release(&r.c[1]);
    expect(&r, 1, 0, 5, 7, true);
    expect(&r, 1, 1, 0, 1, false); /* a run of its own, of the other lane */
    CHECK_OK(weir_mpmc_recover(&r.c[2], 1, dead[1]));
    expect_owner(&r, 0, 2, dead[2]);
    expect_owner(&r, 1, 2, dead[2]);
    cr_assert_eq(weir_mpmc_ready(&r.c[2]), WEIR_OK);
    expect(&r, 2, 0, 5, 6, true);
    CHECK_OK(weir_mpmc_recover(&r.c[3], 2, dead[2])); /* that one, too, with nothing given back */
    expect(&r, 3, 1, 0, 1, true); /* it begins with that lane */
    expect(&r, 3, 0, 5, 7, true);
    weir_mpmc_release(&r.c[3]);
    for (uint32_t slot = 0; slot < 3; slot++)
        expect_owner(&r, slot, 99, 0);
    expect(&r, 3, 0, 8, 11, false);
    expect(&r, 3, 1, 2, 2, false);
    end(&r);
}

Test(mpmc, a_slot_s_next_consumer_also_gets_what_its_former_was_adopting)
{
    rig r;
    make(&r, 1, 3, 16, 0);
    push(&r, 0, 4);
    expect(&r, 0, 0, 0, 1, false);
    CHECK_OK(weir_mpmc_recover(&r.c[1], 0, r.c[0].generation));
    CHECK_OK(attach(&r, 1, 0));
    expect_owner(&r, 0, 1, r.generation);
    expect(&r, 1, 0, 0, 1, true);
    weir_mpmc_release(&r.c[1]);
    expect_owner(&r, 0, 99, 0);
    end(&r);
}

Test(mpmc, several_leftovers_of_one_lane_come_one_behind_the_other)
{
    rig r;
    make(&r, 1, 4, 16, 0);
    push(&r, 0, 8);
    expect(&r, 0, 0, 0, 0, false); /* 0 to 3 */
    expect(&r, 1, 0, 4, 4, false); /* 4 and 5 */
    CHECK_OK(weir_mpmc_recover(&r.c[2], 0, r.c[0].generation));
    CHECK_OK(weir_mpmc_recover(&r.c[2], 1, r.c[1].generation));
    expect(&r, 2, 0, 0, 3, true);
    expect_not(&r, 2, WEIR_FULL);
    weir_mpmc_release(&r.c[2]);
    expect(&r, 2, 0, 4, 5, true);
    expect_not(&r, 2, WEIR_FULL);
    weir_mpmc_release(&r.c[2]);
    expect(&r, 2, 0, 6, 6, false);
    end(&r);
}

Test(mpmc, one_who_leaves_in_order_leaves_nothing_or_what_it_had)
{
    rig r;
    make(&r, 2, 3, 16, 0);
    uint32_t left = r.c[0].generation;
    CHECK_OK(weir_mpmc_consumer_detach(&r.c[0]));
    expect_owner(&r, 0, 99, 0);
    cr_assert_eq(weir_mpmc_consumer_detach(&r.c[0]), WEIR_E_STATE);
    CHECK_OK(attach(&r, 0, 0));
    left = r.generation;
    push(&r, 0, 4);
    expect(&r, 0, 0, 0, 1, false);
    cr_assert_eq(weir_mpmc_consumer_detach(&r.c[0]), WEIR_FULL);
    expect_owner(&r, 0, 0, left);
    CHECK_OK(weir_mpmc_recover(&r.c[1], 0, left));
    cr_assert_eq(weir_mpmc_consumer_detach(&r.c[1]), WEIR_FULL); /* with what it had taken over */
    expect_owner(&r, 0, 1, left - 2);
    expect_owner(&r, 1, 99, 0);
    CHECK_OK(weir_mpmc_recover(&r.c[2], 1, left - 2));
    expect(&r, 2, 0, 0, 1, true);
    weir_mpmc_release(&r.c[2]);
    expect_owner(&r, 0, 99, 0);
    end(&r);
}

/* ---- between an intent and its claim ---- */

/* The state that a claimer leaves who dies right behind its claim: the claim is true, its word says so to nobody. */
static void unconfirm(rig *r, uint32_t lane, uint32_t slot)
{
    uint64_t word = weir_load_rlx(run_of(r, lane, slot));
    cr_assert(word & WEIR_MPMC_CONFIRMED);
    weir_store_rlx(run_of(r, lane, slot), word & ~WEIR_MPMC_CONFIRMED);
}

Test(mpmc, a_claim_that_was_not_confirmed_is_true_while_the_claim_word_says_so)
{
    rig r;
    make(&r, 1, 3, 8, 40);
    push(&r, 0, 8);
    expect(&r, 0, 0, 0, 0, false); /* 0 to 3 */
    unconfirm(&r, 0, 0);
    cr_assert_eq(push_as(&r, 0, false), WEIR_FULL); /* it pins its room */
    CHECK_OK(weir_mpmc_recover(&r.c[1], 0, r.c[0].generation));
    cr_assert(weir_load_rlx(run_of(&r, 0, 0)) & WEIR_MPMC_CONFIRMED);
    expect(&r, 1, 0, 0, 3, true);
    weir_mpmc_release(&r.c[1]);
    push(&r, 0, 4);
    cr_assert_eq(push_as(&r, 0, false), WEIR_FULL);
    end(&r);
}

Test(mpmc, whoever_claims_behind_an_unconfirmed_claim_confirms_it)
{
    rig r;
    make(&r, 1, 3, 8, 40);
    push(&r, 0, 8);
    expect(&r, 0, 0, 0, 0, false);
    unconfirm(&r, 0, 0);
    expect(&r, 1, 0, 4, 5, false);
    cr_assert(weir_load_rlx(run_of(&r, 0, 0)) & WEIR_MPMC_CONFIRMED);
    CHECK_OK(weir_mpmc_recover(&r.c[2], 0, r.c[0].generation));
    expect(&r, 2, 0, 0, 3, true);
    end(&r);
}

Test(mpmc, an_intent_whose_claim_another_won_is_nothing)
{
    rig r;
    make(&r, 1, 3, 8, 40);
    push(&r, 0, 8);
    weir_store_rlx(run_of(&r, 0, 0), weir_mpmc_run_word(40, 4, 0)); /* and here it stands still */
    expect(&r, 1, 0, 0, 3, false);
    weir_mpmc_release(&r.c[1]);
    push(&r, 0, 4); /* it pins nothing */
    cr_assert_eq(push_as(&r, 0, false), WEIR_FULL);
    CHECK_OK(weir_mpmc_recover(&r.c[2], 0, r.c[0].generation));
    expect_owner(&r, 0, 99, 0);
    expect(&r, 2, 0, 4, 7, false);
    weir_store_rlx(run_of(&r, 0, 1), weir_mpmc_run_word(40, 4, 0)); /* left by one who leaves in order */
    CHECK_OK(weir_mpmc_consumer_detach(&r.c[1]));
    CHECK_OK(attach(&r, 1, 0));
    expect(&r, 1, 0, 8, 9, false);
    end(&r);
}

/* ---- a producer's batch ---- */

Test(mpmc, half_a_batch_of_a_dead_producer_vanishes_also_for_the_batches_of_the_next)
{
    for (size_t s = 0; s < STARTS; s++) {
        rig r;
        make(&r, 1, 2, 8, starts[s]);
        for (unsigned round = 0; round < 20; round++) {
            uint64_t first = r.pushed[0], batch = round % 7;
            push(&r, 0, 1);
            for (uint64_t i = 0; i < batch; i++)
                CHECK_OK(push_as(&r, 0, true));
            r.pushed[0] = first + 1;
            CHECK_OK(weir_mpmc_producer_attach(&r.p[0], r.mem, r.bytes, 0));
            push(&r, 0, round % 3);
            for (uint64_t seq = first; seq < r.pushed[0]; seq++) {
                expect(&r, 0, 0, seq, seq, false);
                weir_mpmc_release(&r.c[0]);
            }
            expect_not(&r, 0, WEIR_EMPTY);
            expect_not(&r, 1, WEIR_EMPTY);
        }
        end(&r);
    }
}

/* ---- every status ---- */

Test(mpmc, what_cannot_be_made_is_refused)
{
    rig r;
    make(&r, 2, 2, 8, 0);
    static const weir_mpmc_shape wrong[] = {
        { 0, 2, 8, 40 }, { 257, 2, 8, 40 }, { 2, 0, 8, 40 }, { 2, 257, 8, 40 }, { 2, 2, 1, 40 }, { 2, 2, 0, 40 },
        { 2, 2, 12, 40 }, { 2, 2, WEIR_MPMC_SLOTS_MAX * 2, 40 }, { 2, 2, 8, WEIR_MPMC_RECORD_MAX + 1 },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        cr_assert_eq(weir_mpmc_footprint(&wrong[i]), 0);
        CHECK_STATUS(weir_mpmc_init(r.mem, UINT64_MAX, &wrong[i], 0), WEIR_E_INVALID);
    }
    weir_mpmc_shape most = { 256, 256, WEIR_MPMC_SLOTS_MAX, WEIR_MPMC_RECORD_MAX };
    cr_assert_gt(weir_mpmc_footprint(&most), (UINT64_C(1) << 63)); /* and did not wrap */
    CHECK_STATUS(weir_mpmc_init(NULL, r.bytes, &r.shape, 0), WEIR_E_INVALID);
    CHECK_STATUS(weir_mpmc_init(r.mem + 8, r.bytes, &r.shape, 0), WEIR_E_INVALID);
    CHECK_STATUS(weir_mpmc_init(r.mem, r.bytes - 1, &r.shape, 0), WEIR_E_INVALID);
    CHECK_STATUS(weir_mpmc_init(r.mem, r.bytes, &r.shape, UINT64_C(1) << 56), WEIR_E_INVALID);
    push(&r, 0, 1); /* the ring is as it was */
    expect(&r, 0, 0, 0, 0, false);
    end(&r);
}

Test(mpmc, what_cannot_be_attached_to_is_refused)
{
    rig r;
    weir_mpmc_shape shape;
    uint32_t owner, generation, lanes;
    make(&r, 2, 2, 8, 0);
    CHECK_OK(weir_mpmc_shape_of(r.mem, r.bytes, &shape));
    cr_assert(shape.lanes == 2 && shape.consumers == 2 && shape.slots == 8 && shape.record_max == RECORD_MAX);
    CHECK_STATUS(weir_mpmc_producer_attach(&r.p[0], r.mem, r.bytes, 2), WEIR_E_INVALID);
    CHECK_STATUS(weir_mpmc_owner(r.mem, r.bytes, 2, &owner, &generation), WEIR_E_INVALID);
    weir_mpmc_consumer *c = &r.c[0];
    weir_mpmc_lane *h = r.handles[0];
    CHECK_STATUS(weir_mpmc_consumer_attach(c, r.mem, r.bytes, 2, 100, 0, h, LANES), WEIR_E_INVALID);
    CHECK_STATUS(weir_mpmc_consumer_attach(c, r.mem, r.bytes, 0, 100, 65, h, LANES), WEIR_E_INVALID);
    CHECK_STATUS(weir_mpmc_consumer_attach(c, r.mem, r.bytes, 0, 100, 0, h, 1), WEIR_E_INVALID);
    CHECK_STATUS(weir_mpmc_consumer_attach(c, r.mem, r.bytes, 0, 100, 0, NULL, 2), WEIR_E_INVALID);
    CHECK_STATUS(weir_mpmc_consumer_attach(c, r.mem + 8, r.bytes, 0, 100, 0, h, LANES), WEIR_E_INVALID);
    CHECK_OK(weir_mpmc_consumer_attach(c, r.mem, r.bytes, 0, INT32_MAX, 0, h, LANES));
    CHECK_OK(weir_mpmc_consumer_attach(c, r.mem, r.bytes, 0, UINT32_MAX - 1, 0, h, LANES)); /* generations wrap */
    CHECK_STATUS(weir_mpmc_consumer_attach(c, r.mem, r.bytes, 0, UINT32_MAX - 1, 0, h, LANES), WEIR_E_IN_USE);
    CHECK_STATUS(weir_mpmc_consumer_attach(c, r.mem, r.bytes, 0, UINT32_MAX - 2, 0, h, LANES), WEIR_E_IN_USE);
    CHECK_OK(weir_mpmc_consumer_attach(c, r.mem, r.bytes, 0, 3, 0, h, LANES));
    CHECK_STATUS(weir_mpmc_recover(c, 2, 0), WEIR_E_INVALID);
    CHECK_STATUS(weir_mpmc_recover(c, 0, 3), WEIR_E_INVALID);
    static const struct { uint64_t off, value; weir_status status; bool owner; } words[] = {
        { 0, 0, WEIR_E_NOT_WEIR, false },       { 8, 1, WEIR_E_VERSION, false },
        { 8, WEIR_MPMC_VERSION + 1, WEIR_E_VERSION, false },        { 24, 257, WEIR_E_CORRUPT, false },
        { 32, 12, WEIR_E_CORRUPT, false },      { 40, UINT64_C(1) << 32 | 40, WEIR_E_CORRUPT, false },
        { 16, 0, WEIR_E_CORRUPT, false },       { 16, 257, WEIR_E_CORRUPT, false },
        { 24, 100, WEIR_E_CORRUPT, false },     /* their owner words have no room */
        { 48, 0, WEIR_E_CORRUPT, true },        { 48, 3, WEIR_E_CORRUPT, true }, /* lanes that are there; */
        { 48, UINT64_MAX, WEIR_E_CORRUPT, true }, { 16, 1, WEIR_E_CORRUPT, true },
        { 32, 16, WEIR_E_CORRUPT, true },       /* lanes are no business of the owner words */
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        uint64_t was = weir_load_rlx(weir_word_at(r.mem, words[i].off));
        weir_store_rlx(weir_word_at(r.mem, words[i].off), words[i].value);
        CHECK_STATUS(weir_mpmc_shape_of(r.mem, r.bytes, &shape), words[i].status);
        CHECK_STATUS(weir_mpmc_owner(r.mem, r.bytes, 0, &owner, &generation),
                     words[i].owner ? WEIR_OK : words[i].status);
        CHECK_STATUS(weir_mpmc_lanes(r.mem, r.bytes, &lanes), words[i].status);
        CHECK_STATUS(weir_mpmc_grow(r.mem, r.bytes, 1), words[i].status);
        CHECK_STATUS(weir_mpmc_producer_attach(&r.p[0], r.mem, r.bytes, 0), words[i].status);
        CHECK_STATUS(weir_mpmc_consumer_attach(c, r.mem, r.bytes, 0, 100, 0, h, LANES), words[i].status);
        weir_store_rlx(weir_word_at(r.mem, words[i].off), was);
    }
    CHECK_STATUS(weir_mpmc_shape_of(r.mem, WEIR_MPMC_CONTROL - 1, &shape), WEIR_E_NOT_WEIR);
    CHECK_STATUS(weir_mpmc_shape_of(r.mem + 8, r.bytes, &shape), WEIR_E_INVALID);
    CHECK_STATUS(weir_mpmc_shape_of(r.mem, r.bytes - 1, &shape), WEIR_E_CORRUPT);
    end(&r);
}

Test(mpmc, handles_that_are_not_attached_say_so)
{
    weir_mpmc_producer p = { .fault = WEIR_OK };
    weir_mpmc_consumer c = { .fault = WEIR_OK };
    void *slot = NULL;
    const void *msg;
    uint32_t len, lane;
    bool redelivered;
    cr_assert_eq(weir_mpmc_record_max(&p), 0);
    cr_assert_eq(weir_mpmc_push(&p, "", 0), WEIR_E_STATE);
    cr_assert_eq(weir_mpmc_push_more(&p, "x", 1), WEIR_E_STATE);
    cr_assert_eq(weir_mpmc_reserve(&p, 0, &slot), WEIR_E_STATE);
    cr_assert_eq(weir_mpmc_commit(&p, 0), WEIR_E_STATE);
    cr_assert_eq(weir_mpmc_commit_more(&p, 0), WEIR_E_STATE);
    cr_assert_eq(weir_mpmc_drained(&p), WEIR_E_STATE);
    weir_mpmc_flush(&p);
    cr_assert_eq(weir_mpmc_peek(&c, &msg, &len, &lane, &redelivered), WEIR_E_STATE);
    cr_assert_eq(weir_mpmc_pop_more(&c, buffer, 1, &len, &lane, &redelivered), WEIR_E_STATE);
    cr_assert_eq(weir_mpmc_pop(&c, buffer, 1, &len, &lane, &redelivered), WEIR_E_STATE);
    cr_assert_eq(weir_mpmc_ready(&c), WEIR_E_STATE);
    cr_assert_eq(weir_mpmc_recover(&c, 0, 0), WEIR_E_STATE);
    cr_assert_eq(weir_mpmc_consumer_detach(&c), WEIR_E_STATE);
    weir_mpmc_release(&c);
}

/* Each is tried on a ring of its own: 8 slots, 6 pushed, 0 to 2 held by slot 0. */
static void corrupt(rig *r, weir_atomic_u64 *word, uint64_t value, bool producer, bool consumer)
{
    uint64_t was = weir_load_rlx(word);
    weir_mpmc_producer p = r->p[0];
    weir_mpmc_consumer c = r->c[1];
    weir_mpmc_lane handles[LANES];
    uint32_t len, lane;
    bool redelivered;
    memcpy(handles, r->handles[1], sizeof handles);
    weir_store_rlx(word, value);
    if (producer) {
        cr_assert_eq(weir_mpmc_drained(&r->p[0]), WEIR_E_CORRUPT, "%llx", (unsigned long long)value);
        cr_assert_eq(weir_mpmc_push(&r->p[0], "", 0), WEIR_E_CORRUPT);
        cr_assert_eq(weir_mpmc_push(&r->p[0], "x", 1), WEIR_E_CORRUPT);
        cr_assert_eq(weir_mpmc_commit(&r->p[0], 1), WEIR_E_CORRUPT);
    }
    if (consumer) {
        cr_assert_eq(weir_mpmc_pop(&r->c[1], buffer, sizeof buffer, &len, &lane, &redelivered), WEIR_E_CORRUPT,
                     "%llx", (unsigned long long)value);
        cr_assert_eq(weir_mpmc_ready(&r->c[1]), WEIR_E_CORRUPT);
        cr_assert_eq(weir_mpmc_recover(&r->c[1], 0, 1), WEIR_E_CORRUPT);
        cr_assert_eq(weir_mpmc_consumer_detach(&r->c[1]), WEIR_E_CORRUPT);
        weir_mpmc_release(&r->c[1]);
    }
    weir_store_rlx(word, was);
    r->p[0] = p;
    r->c[1] = c;
    memcpy(r->handles[1], handles, sizeof handles);
}

Test(mpmc, impossible_words_are_corrupt_for_good)
{
    rig r;
    make(&r, 1, 2, 8, 1000);
    push(&r, 0, 6);
    expect(&r, 0, 0, 0, 0, false);
    cr_assert_eq(weir_load_rlx(run_of(&r, 0, 0)), weir_mpmc_run_word(1000, 3, 1));
    CHECK_OK(weir_mpmc_recover(&r.c[1], 0, 100)); /* nothing; it only has seen the claim */
    corrupt(&r, claim_of(&r, 0), weir_mpmc_claim_word(1007, 0), true, false);  /* beyond what is published */
    corrupt(&r, claim_of(&r, 0), weir_mpmc_claim_word(999, 0), true, true);    /* back */
    corrupt(&r, claim_of(&r, 0), weir_mpmc_claim_word(1003, 2), true, true);   /* nobody's */
    corrupt(&r, run_of(&r, 0, 0), weir_mpmc_run_word(1004, 3, 1), true, false);
    corrupt(&r, run_of(&r, 0, 0), weir_mpmc_run_word(900, 3, 1), true, false);
    corrupt(&r, run_of(&r, 0, 0), weir_mpmc_run_word(1000, 127, 1), true, false);
    unsigned char *slot = weir_mpmc_slot(r.p[0].data, 1003, 3, r.p[0].stride);
    corrupt(&r, weir_word_at(slot, 0), weir_mpmc_tag(1003 + 8, 3), false, true);
    corrupt(&r, weir_word_at(slot, 0), 0, false, true);
    corrupt(&r, weir_word_at(slot, 0), weir_mpmc_tag(1003, 3) | (RECORD_MAX + 1), false, true);
    weir_atomic_u64 *owner = weir_word_at(r.mem, weir_mpmc_owner_off(0));
    static const uint64_t owners[] = { 2, 3, 0x201, UINT64_MAX };
    uint32_t dead = r.c[0].generation;
    for (size_t i = 0; i < 4; i++) {
        uint64_t was = weir_load_rlx(owner);
        uint32_t who, when;
        weir_mpmc_consumer c = r.c[1];
        weir_store_rlx(owner, owners[i]);
        CHECK_STATUS(weir_mpmc_recover(&r.c[1], 0, 100), WEIR_E_CORRUPT);
        CHECK_STATUS(weir_mpmc_owner(r.mem, r.bytes, 0, &who, &when), WEIR_E_CORRUPT);
        CHECK_STATUS(attach(&r, 0, 0), WEIR_E_CORRUPT);
        weir_store_rlx(owner, was);
        r.c[1] = c;
    }
    weir_store_rlx(run_of(&r, 0, 0), weir_mpmc_run_word(980, 3, 1)); /* of the dead: more than a lap back */
    CHECK_STATUS(weir_mpmc_recover(&r.c[1], 0, dead), WEIR_E_CORRUPT);
    weir_store_rlx(weir_word_at(slot, 0), 0);
    CHECK_STATUS(weir_mpmc_producer_attach(&r.p[0], r.mem, r.bytes, 0), WEIR_E_CORRUPT);
    end(&r);
}
