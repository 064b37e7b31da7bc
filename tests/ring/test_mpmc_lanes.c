/* The work queue's lanes that come later: who finds them, in which memory, and what the dead leave in them. */
#include "kinds.h"

#include <criterion/criterion.h>
#include <weir/ring/mpmc_layout.h>

#define LANES 4u
#define CONSUMERS 4u
#define RECORD_MAX 24u
#define UNTOUCHED 0xee

typedef struct rig {
    unsigned char *mem;
    uint64_t bytes; /* that hold the lanes which are there */
    weir_mpmc_shape shape;
    weir_mpmc_producer p[LANES];
    weir_mpmc_consumer c[CONSUMERS];
    weir_mpmc_lane handles[CONSUMERS][LANES];
    uint32_t generation;
    uint64_t pushed[LANES];
    /* what was asked for */
    uint64_t reached;
    weir_status answer;
    unsigned calls;
} rig;

static unsigned char buffer[RECORD_MAX];

static uint64_t bytes_of(uint32_t lanes)
{
    weir_mpmc_shape shape = { lanes, CONSUMERS, 16, RECORD_MAX };
    return weir_mpmc_footprint(&shape);
}

static weir_status reach(void *arg, uint64_t bytes)
{
    rig *r = arg;
    r->reached = bytes;
    r->calls++;
    return r->answer;
}

static weir_status attach(rig *r, uint32_t slot)
{
    weir_status status = weir_mpmc_consumer_attach(&r->c[slot], r->mem, r->bytes, slot, ++r->generation, 0,
                                                   r->handles[slot], LANES);
    r->c[slot].room.reach = reach;
    r->c[slot].room.reach_arg = r;
    return status;
}

/* A ring of up to 4 lanes, of which `made` are there, with that many consumers. */
static void make(rig *r, uint32_t made, uint32_t consumers)
{
    *r = (rig){ .shape = { LANES, CONSUMERS, 16, RECORD_MAX }, .bytes = bytes_of(made), .answer = WEIR_OK };
    r->mem = aligned_alloc(128, bytes_of(LANES));
    CHECK(r->mem != NULL);
    memset(r->mem, UNTOUCHED, bytes_of(LANES));
    CHECK_OK(weir_mpmc_init_some(r->mem, r->bytes, &r->shape, made, 0));
    for (uint64_t i = r->bytes; i < bytes_of(LANES); i++)
        CHECK(r->mem[i] == UNTOUCHED);
    for (uint32_t lane = 0; lane < made; lane++)
        CHECK_OK(weir_mpmc_producer_attach(&r->p[lane], r->mem, r->bytes, lane));
    for (uint32_t slot = 0; slot < consumers; slot++)
        CHECK_OK(attach(r, slot));
}

static void grow(rig *r, uint32_t made)
{
    if (r->bytes < bytes_of(made))
        r->bytes = bytes_of(made);
    CHECK_OK(weir_mpmc_grow(r->mem, r->bytes, made));
    for (uint32_t lane = 0; lane < made; lane++)
        if (r->p[lane].consumers == 0)
            CHECK_OK(weir_mpmc_producer_attach(&r->p[lane], r->mem, r->bytes, lane));
}

static void end(rig *r) { free(r->mem); }

static weir_atomic_u64 *made_word(rig *r) { return &((weir_mpmc_layout *)(void *)r->mem)->made; }

static void push(rig *r, uint32_t lane, uint64_t count)
{
    for (; count > 0; count--) {
        record_fill(buffer, lane, r->pushed[lane]++, 8);
        CHECK_OK(weir_mpmc_push(&r->p[lane], buffer, 8));
    }
}

static weir_status pop(rig *r, uint32_t slot, uint32_t *lane, bool *again)
{
    uint32_t len = 8;
    weir_status status = weir_mpmc_pop_more(&r->c[slot], buffer, sizeof buffer, &len, lane, again);
    CHECK(len == 8);
    return status;
}

/* It comes to that consumer, who does not give it back. */
static void expect(rig *r, uint32_t slot, uint32_t lane, uint64_t seq, bool again)
{
    uint32_t from = LANES;
    bool redelivered = !again;
    CHECK_OK(weir_mpmc_ready(&r->c[slot]));
    CHECK_OK(pop(r, slot, &from, &redelivered));
    cr_assert(from == lane && redelivered == again && record_is(buffer, lane, seq, 8), "lane %u", from);
}

static void expect_nothing(rig *r, uint32_t slot)
{
    uint32_t lane;
    bool again;
    CHECK_STATUS(weir_mpmc_ready(&r->c[slot]), WEIR_EMPTY);
    CHECK_STATUS(pop(r, slot, &lane, &again), WEIR_EMPTY);
}

static uint32_t owner_of(const rig *r, uint32_t slot)
{
    uint32_t owner = CONSUMERS, generation;
    weir_status status = weir_mpmc_owner(r->mem, r->bytes, slot, &owner, &generation);
    CHECK(status == WEIR_OK || status == WEIR_EMPTY);
    return owner;
}

static uint32_t lanes_of(const rig *r)
{
    uint32_t lanes = 99;
    CHECK_OK(weir_mpmc_lanes(r->mem, r->bytes, &lanes));
    return lanes;
}

/* ---- who finds them ---- */

Test(mpmc_lanes, lanes_that_are_made_later_are_found_and_served)
{
    rig r;
    make(&r, 1, 2);
    cr_assert_eq(lanes_of(&r), 1);
    CHECK_STATUS(weir_mpmc_producer_attach(&r.p[1], r.mem, bytes_of(LANES), 1), WEIR_E_INVALID);
    push(&r, 0, 1);
    expect(&r, 0, 0, 0, false);
    weir_mpmc_release(&r.c[0]);
    cr_assert_eq(r.calls, 0);
    grow(&r, 3);
    cr_assert_eq(lanes_of(&r), 3);
    for (uint32_t slot = 0; slot < 2; slot++) {
        push(&r, 2, 1);
        expect(&r, slot, 2, slot, false);
        weir_mpmc_release(&r.c[slot]);
        cr_assert(r.calls == slot + 1 && r.reached == bytes_of(3)); /* each asks for itself */
    }
    grow(&r, 2); /* they stay */
    cr_assert_eq(lanes_of(&r), 3);
    push(&r, 2, 1);
    expect(&r, 1, 2, 2, false);
    grow(&r, 4);
    expect_nothing(&r, 0); /* a lane is no record */
    CHECK_OK(attach(&r, 2));
    cr_assert_eq(r.c[2].count, 4);
    for (uint32_t lane = 0; lane < LANES; lane++) {
        push(&r, lane, 1);
        expect(&r, 2, lane, r.pushed[lane] - 1, false);
        weir_mpmc_release(&r.c[2]);
    }
    weir_mpmc_release(&r.c[1]);
    for (uint32_t lane = 0; lane < LANES; lane++)
        CHECK_OK(weir_mpmc_drained(&r.p[lane]));
    end(&r);
}

Test(mpmc_lanes, who_holds_a_run_goes_on_with_it_behind_a_growth)
{
    rig r;
    make(&r, 1, 2);
    push(&r, 0, 8);
    expect(&r, 0, 0, 0, false); /* 0 to 3 */
    grow(&r, 4);
    push(&r, 3, 2);
    for (uint64_t seq = 1; seq < 4; seq++)
        expect(&r, 0, 0, seq, false);
    expect(&r, 0, 3, 0, false); /* its run is read, and stays its */
    weir_mpmc_release(&r.c[0]);
    expect(&r, 1, 0, 4, false); /* 4 and 5 */
    CHECK_STATUS(weir_mpmc_consumer_detach(&r.c[1]), WEIR_FULL);
    end(&r);
}

Test(mpmc_lanes, a_lap_of_a_lane_that_came_later_is_full_exactly)
{
    rig r;
    make(&r, 1, 1);
    grow(&r, 2);
    for (uint64_t lap = 0; lap < 3; lap++) {
        push(&r, 1, 16);
        CHECK_STATUS(weir_mpmc_push(&r.p[1], "", 0), WEIR_FULL);
        for (uint64_t seq = lap * 16; seq < lap * 16 + 16; seq++) {
            expect(&r, 0, 1, seq, false);
            weir_mpmc_release(&r.c[0]);
        }
        expect_nothing(&r, 0);
    }
    end(&r);
}

/* ---- what the dead had there ---- */

/* Consumer 1 knows a lane that 0 does not know, has a run of it, and is gone. */
static uint32_t leave_in_a_new_lane(rig *r)
{
    make(r, 1, 3);
    push(r, 0, 1);
    expect(r, 0, 0, 0, false); /* it has been at work, and held this */
    weir_mpmc_release(&r->c[0]);
    grow(r, 4);
    push(r, 3, 4);
    expect(r, 1, 3, 0, false); /* 0 and 1 */
    cr_assert(r->c[0].count == 1 && r->c[1].count == 4);
    return r->c[1].generation;
}

Test(mpmc_lanes, a_run_of_the_dead_in_a_lane_that_its_heir_does_not_know_comes_again)
{
    rig r;
    uint32_t dead = leave_in_a_new_lane(&r);
    r.calls = 0;
    CHECK_OK(weir_mpmc_recover(&r.c[0], 1, dead));
    cr_assert(r.calls == 1 && r.reached == bytes_of(4)); /* before it looks at what is there */
    cr_assert_eq(owner_of(&r, 1), 0);
    expect(&r, 0, 3, 0, true);
    expect(&r, 0, 3, 1, true);
    cr_assert_eq(owner_of(&r, 1), 0);
    weir_mpmc_release(&r.c[0]);
    cr_assert_eq(owner_of(&r, 1), CONSUMERS);
    expect(&r, 0, 3, 2, false);
    expect(&r, 2, 3, 3, false);
    end(&r);
}

Test(mpmc_lanes, the_slot_s_next_consumer_gets_it_too_and_whoever_recovers_from_the_heir)
{
    for (unsigned how = 0; how < 2; how++) {
        rig r;
        uint32_t dead = leave_in_a_new_lane(&r), heir = how == 0 ? 1 : 2;
        if (how == 0) {
            CHECK_OK(attach(&r, 1));
        } else { /* 0 takes it over and dies as well; 2 knows one lane */
            CHECK_OK(weir_mpmc_recover(&r.c[0], 1, dead));
            CHECK_OK(weir_mpmc_recover(&r.c[2], 0, r.c[0].generation));
        }
        expect(&r, heir, 3, 0, true);
        expect(&r, heir, 3, 1, true);
        weir_mpmc_release(&r.c[heir]);
        expect(&r, heir, 3, 2, false);
        end(&r);
    }
}

/* ---- memory ---- */

Test(mpmc_lanes, growing_beyond_the_memory_or_the_lanes_is_refused)
{
    rig r;
    make(&r, 1, 1);
    CHECK_STATUS(weir_mpmc_init_some(r.mem, UINT64_MAX, &r.shape, 0, 0), WEIR_E_INVALID);
    CHECK_STATUS(weir_mpmc_init_some(r.mem, UINT64_MAX, &r.shape, LANES + 1, 0), WEIR_E_INVALID);
    CHECK_STATUS(weir_mpmc_init_some(r.mem, r.bytes, &r.shape, 2, 0), WEIR_E_INVALID);
    CHECK_STATUS(weir_mpmc_grow(r.mem, r.bytes, 2), WEIR_E_INVALID);
    CHECK_STATUS(weir_mpmc_grow(r.mem, bytes_of(2) - 1, 2), WEIR_E_INVALID);
    CHECK_STATUS(weir_mpmc_grow(r.mem, UINT64_MAX, LANES + 1), WEIR_E_INVALID);
    CHECK_STATUS(weir_mpmc_grow(r.mem + 8, r.bytes, 1), WEIR_E_INVALID);
    CHECK_STATUS(weir_mpmc_consumer_attach(&r.c[1], r.mem, r.bytes, 1, 9, 0, r.handles[1], LANES - 1), WEIR_E_INVALID);
    for (uint64_t i = r.bytes; i < bytes_of(LANES); i++)
        CHECK(r.mem[i] == UNTOUCHED);
    CHECK_OK(weir_mpmc_grow(r.mem, r.bytes, 1));
    CHECK_OK(weir_mpmc_grow(r.mem, r.bytes, 0)); /* there is one */
    cr_assert_eq(lanes_of(&r), 1);
    end(&r);
}

/* It is told who is gone there, and only then looks for lanes. */
Test(mpmc_lanes, who_has_a_slot_can_be_asked_in_the_memory_of_the_first_lanes)
{
    rig r;
    uint32_t owner = 9, generation = 0, lanes = 9;
    weir_mpmc_shape shape;
    make(&r, 1, 2);
    grow(&r, 4);
    CHECK_STATUS(weir_mpmc_shape_of(r.mem, bytes_of(1), &shape), WEIR_E_CORRUPT);
    CHECK_STATUS(weir_mpmc_lanes(r.mem, bytes_of(1), &lanes), WEIR_E_CORRUPT);
    CHECK_OK(weir_mpmc_owner(r.mem, bytes_of(1), 1, &owner, &generation));
    cr_assert(owner == 1 && generation == r.c[1].generation && lanes == 9);
    CHECK_STATUS(weir_mpmc_owner(r.mem, weir_mpmc_owner_off(CONSUMERS) - 1, 1, &owner, &generation), WEIR_E_CORRUPT);
    end(&r);
}

static weir_status call(rig *r, unsigned which, uint32_t dead)
{
    uint32_t lane;
    bool again;
    const void *msg;
    uint32_t len;
    switch (which) {
    case 0:
        return pop(r, 0, &lane, &again);
    case 1:
        return weir_mpmc_peek(&r->c[0], &msg, &len, &lane, &again);
    case 2:
        return weir_mpmc_ready(&r->c[0]);
    default:
        return weir_mpmc_recover(&r->c[0], 1, dead);
    }
}

Test(mpmc_lanes, lanes_that_are_stated_and_cannot_be_reached_are_not_touched)
{
    static const uint64_t stated[] = { 2, 4, 5, UINT64_C(1) << 32 | 2, UINT64_MAX };
    for (size_t i = 0; i < sizeof stated / sizeof stated[0]; i++)
        for (unsigned which = 0; which < 4; which++)
            for (unsigned how = 0; how < 2; how++) {
                rig r;
                make(&r, 1, 2);
                r.answer = WEIR_E_RANGE;
                if (how == 0)
                    r.c[0].room.reach = NULL;
                weir_store_rlx(made_word(&r), stated[i]);
                weir_status expected = how == 0 || stated[i] > LANES ? WEIR_E_CORRUPT : WEIR_E_RANGE;
                uint32_t dead = r.c[1].generation;
                CHECK_STATUS(weir_mpmc_recover(&r.c[0], CONSUMERS, 1), WEIR_E_INVALID); /* nothing is looked at */
                CHECK_STATUS(call(&r, which, dead), expected);
                cr_assert_eq(r.calls, expected == WEIR_E_RANGE ? 1 : 0);
                cr_assert_eq(owner_of(&r, 1), 1); /* nothing was taken over */
                weir_store_rlx(made_word(&r), 1);
                for (unsigned next = 0; next < 4; next++)
                    CHECK_STATUS(call(&r, next, dead), expected); /* for good */
                CHECK_STATUS(weir_mpmc_consumer_detach(&r.c[0]), expected);
                end(&r);
            }
}

Test(mpmc_lanes, a_number_that_falls_is_not_believed)
{
    rig r;
    make(&r, 3, 1);
    push(&r, 2, 2);
    weir_store_rlx(made_word(&r), 1);
    expect(&r, 0, 2, 0, false);
    weir_mpmc_release(&r.c[0]);
    weir_store_rlx(made_word(&r), 0);
    expect(&r, 0, 2, 1, false);
    end(&r);
}
