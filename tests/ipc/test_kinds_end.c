/* Channels of every kind: ends, deaths, who comes before or after, what is recovered. */
#include "ipc/kinds_help.h"

#include <criterion/criterion.h>

#define NAME "ends"

static void sends_three(weir_channel *p)
{
    for (uint64_t id = 1; id <= 3; id++)
        CHECK_OK(send_id(p, id, WEIR_NOWAIT));
}

static weir_channel_options of_kind(weir_kind kind)
{
    return (weir_channel_options){ .kind = kind, .capacity = 4096 };
}

Test(kinds_end, the_end_of_all_producers_comes_once_after_what_they_sent)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k)
        for (int killed = 0; killed < 2; killed++) {
            weir_channel *c = open_kind(NAME, k->kind, WEIR_CONSUMER, 0);
            uint32_t count = k->producers ? 3 : 1;
            for (int round = 0; round < 2; round++) {
                pid_t child[3];
                for (uint32_t i = 0; i < count; i++)
                    child[i] = child_stands(NAME, WEIR_PRODUCER, of_kind(k->kind), sends_three);
                for (uint32_t i = 0; i < (k->kind == WEIR_LATEST ? 1 : 3 * count); i++) {
                    uint64_t got;
                    uint32_t len;
                    CHECK_OK(weir_receive(c, &got, 8, &len, WEIR_NOWAIT));
                }
                for (uint32_t i = 0; i < count; i++) { /* as long as one lives, it is no end */
                    CHECK_STATUS(receive_nothing(c, i % 2 == 0 ? WEIR_NOWAIT : WEIR_MILLISECONDS(30)),
                                 i % 2 == 0 ? WEIR_EMPTY : WEIR_TIMEOUT);
                    child_kill(child[i]);
                }
                CHECK_STATUS(receive_nothing(c, killed ? WEIR_FOREVER : HELP_DEADLINE), WEIR_DIED);
                CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_EMPTY);
                CHECK_STATUS(receive_nothing(c, WEIR_MILLISECONDS(20)), WEIR_TIMEOUT);
            }
            weir_channel *p = open_kind(NAME, k->kind, WEIR_PRODUCER, 0);
            CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_EMPTY);
            CHECK_OK(weir_channel_close(p));
            CHECK_STATUS(receive_nothing(c, WEIR_FOREVER), WEIR_CLOSED);
            CHECK_OK(weir_channel_close(c));
        }
}

Test(kinds_end, a_producer_that_waits_hears_the_end_of_all_consumers)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k) {
        weir_channel *p = open_kind(NAME, k->kind, WEIR_PRODUCER, 4096);
        uint32_t count = k->consumers ? 3 : 1;
        pid_t child[3];
        for (uint32_t i = 0; i < count; i++)
            child[i] = child_stands(NAME, WEIR_CONSUMER, of_kind(k->kind), works_not);
        weir_status last = WEIR_FULL;
        if (k->waits)
            (void)send_until_full(p, 0, &last);
        else
            CHECK_OK(send_id(p, 0, WEIR_NOWAIT));
        CHECK(last == WEIR_FULL);
        for (uint32_t i = 0; i < count; i++) {
            CHECK_STATUS(weir_channel_drain(p, WEIR_MILLISECONDS(30)), WEIR_TIMEOUT);
            child_kill(child[i]);
        }
        CHECK_STATUS(weir_channel_drain(p, WEIR_FOREVER), WEIR_DIED);
        if (k->waits)
            CHECK_STATUS(send_id(p, 0, WEIR_NOWAIT), WEIR_FULL);
        weir_channel *c = open_kind(NAME, k->kind, WEIR_CONSUMER, 0);
        if (k->kind != WEIR_LATEST)
            receive_id(c, 0); /* a killed last consumer's comes to the next one */
        CHECK_OK(weir_channel_close(c));
        CHECK_STATUS(weir_channel_drain(p, WEIR_FOREVER), k->kind == WEIR_BROADCAST ? WEIR_OK : WEIR_CLOSED);
        CHECK_OK(weir_channel_close(p));
    }
}

Test(kinds_end, a_producer_whose_last_consumer_leaves_in_order_hears_closed_though_another_had_died)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k) {
        if (!k->consumers || !k->waits)
            continue;
        weir_channel *p = open_kind(NAME, k->kind, WEIR_PRODUCER, 4096);
        pid_t child = child_stands(NAME, WEIR_CONSUMER, of_kind(k->kind), works_not);
        weir_channel *c = open_kind(NAME, k->kind, WEIR_CONSUMER, 0);
        weir_status last;
        (void)send_until_full(p, 0, &last);
        child_kill(child);
        CHECK_STATUS(weir_channel_drain(p, WEIR_MILLISECONDS(50)), WEIR_TIMEOUT);
        CHECK_OK(weir_channel_close(c));
        CHECK_STATUS(weir_channel_drain(p, WEIR_FOREVER), WEIR_CLOSED);
        CHECK_OK(weir_channel_close(p));
    }
}

Test(kinds_end, a_death_before_a_consumer_came_is_no_news_of_those_that_live)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k) {
        if (!k->producers)
            continue;
        pid_t child = child_stands(NAME, WEIR_PRODUCER, of_kind(k->kind), works_not);
        weir_channel *p = open_kind(NAME, k->kind, WEIR_PRODUCER, 0);
        child_kill(child);
        weir_channel *c = open_kind(NAME, k->kind, WEIR_CONSUMER, 0);
        CHECK_OK(weir_channel_close(p));
        CHECK_STATUS(receive_nothing(c, WEIR_FOREVER), WEIR_CLOSED);
        CHECK_OK(weir_channel_close(c));
    }
}

Test(kinds_end, drain_of_a_producer_that_waits_for_nobody_is_not_fine_when_its_only_consumer_was_killed)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k) {
        if (k->waits)
            continue;
        weir_channel *p = open_kind(NAME, k->kind, WEIR_PRODUCER, 4096);
        pid_t child = child_stands(NAME, WEIR_CONSUMER, of_kind(k->kind), works_not);
        CHECK_OK(send_id(p, 1, WEIR_NOWAIT));
        child_kill(child);
        CHECK_STATUS(weir_channel_drain(p, WEIR_FOREVER), WEIR_DIED);
        weir_channel *c = open_kind(NAME, k->kind, WEIR_CONSUMER, 0);
        receive_id(c, 1);
        CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_EMPTY);
        CHECK_OK(weir_channel_drain(p, WEIR_NOWAIT));
        CHECK_OK(weir_channel_close(c));
        CHECK_OK(weir_channel_drain(p, WEIR_NOWAIT)); /* it had come to the end */
        CHECK_OK(weir_channel_close(p));
    }
}

Test(kinds_end, a_stopped_consumer_costs_a_waiting_producer_no_more_than_the_room)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k) {
        if (!k->waits)
            continue;
        weir_channel *p = open_kind(NAME, k->kind, WEIR_PRODUCER, 4096);
        pid_t child = child_stands(NAME, WEIR_CONSUMER, of_kind(k->kind), works_not);
        CHECK(kill(child, SIGSTOP) == 0);
        weir_status last;
        CHECK(send_until_full(p, 0, &last) > 0 && last == WEIR_FULL);
        CHECK_STATUS(send_id(p, 0, WEIR_MILLISECONDS(100)), WEIR_TIMEOUT);
        child_kill(child);
        CHECK_STATUS(send_id(p, 0, WEIR_FOREVER), WEIR_DIED);
        CHECK_OK(weir_channel_close(p));
    }
}

/* ---- going on where another stopped ---- */

static weir_channel *come_again(weir_kind kind, uint64_t identity)
{
    weir_channel *c;
    CHECK_OK(weir_channel_open(&c, NAME, WEIR_CONSUMER, &(weir_channel_options){ .kind = kind, .identity = identity }));
    return c;
}

/* The next message of one that goes on is the one behind the last it has released. */
Test(kinds_end, a_consumer_with_the_number_of_one_who_left_goes_on_where_that_one_stopped)
{
    (void)support_shm_dir();
    const weir_kind kinds[] = { WEIR_SPSC, WEIR_MPSC, WEIR_MPSC_ORDERED, WEIR_BROADCAST, WEIR_BROADCAST_GATED };
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        bool many = kinds[k] == WEIR_BROADCAST || kinds[k] == WEIR_BROADCAST_GATED;
        weir_channel *p = open_kind(NAME, kinds[k], WEIR_PRODUCER, 65536), *c[3];
        uint64_t next[3] = { 0, 0, 0 }, id = 0, seed = 7;
        int consumers = many ? 3 : 1;
        for (int i = 0; i < consumers; i++)
            c[i] = come_again(kinds[k], 100u + (unsigned)i);
        for (int round = 0; round < 30; round++) {
            for (uint64_t n = support_random(&seed) % 20; n > 0; n--, id++)
                CHECK_OK(send_id(p, id, WEIR_NOWAIT));
            for (int i = 0; i < consumers; i++)
                for (uint64_t n = support_random(&seed) % 30; n > 0 && next[i] < id; n--)
                    receive_id(c[i], next[i]++);
            for (int i = 0; i < consumers; i++) /* what is not released comes again */
                if (next[i] < id && round % 3 == 0) {
                    const void *msg;
                    uint32_t len;
                    CHECK_OK(weir_peek(c[i], &msg, &len, WEIR_NOWAIT));
                }
            for (int i = 0; i < consumers; i++)
                CHECK_OK(weir_channel_close(c[i]));
            for (int i = consumers; i-- > 0;) /* in another order */
                c[i] = come_again(kinds[k], 100u + (unsigned)i);
            if (round % 5 == 4) { /* nor does another producer begin anew */
                CHECK_OK(weir_channel_close(p));
                p = open_kind(NAME, kinds[k], WEIR_PRODUCER, 0);
            }
        }
        for (int i = 0; i < consumers; i++) {
            while (next[i] < id)
                receive_id(c[i], next[i]++);
            CHECK_OK(weir_channel_close(c[i]));
        }
        CHECK_OK(weir_channel_close(p));
    }
}

Test(kinds_end, what_was_overwritten_while_nobody_was_there_is_counted_for_who_goes_on)
{
    (void)support_shm_dir();
    weir_channel *p = open_kind(NAME, WEIR_BROADCAST, WEIR_PRODUCER, 4096), *c = come_again(WEIR_BROADCAST, 9);
    for (uint64_t id = 0; id < 10; id++)
        CHECK_OK(send_id(p, id, WEIR_NOWAIT));
    for (uint64_t id = 0; id < 4; id++)
        receive_id(c, id);
    CHECK_OK(weir_channel_close(c));
    for (uint64_t id = 10; id < 2000; id++)
        CHECK_OK(send_id(p, id, WEIR_NOWAIT));
    c = come_again(WEIR_BROADCAST, 9);
    CHECK_OK(weir_channel_close(c)); /* it has not heard of the loss yet */
    c = come_again(WEIR_BROADCAST, 9);
    uint64_t got = 0;
    uint32_t len;
    CHECK_OK(weir_receive(c, &got, sizeof got, &len, WEIR_NOWAIT));
    CHECK(got > 4 && got < 2000 - 4096 / 32 / 2 && message_of(c).lost == got - 4);
    while (++got < 2000)
        receive_id(c, got);
    CHECK(facts_of(c).lost == 2000 - 4 - facts_of(c).messages);
    weir_channel *other = come_again(WEIR_BROADCAST, 10); /* of another number: nothing to it */
    CHECK_OK(weir_receive(other, &got, sizeof got, &len, WEIR_NOWAIT));
    CHECK(got > 1900 && message_of(other).lost == 0);
    CHECK_OK(weir_channel_close(other));
    CHECK_OK(weir_channel_close(c));
    CHECK_OK(weir_channel_close(p));
}

Test(kinds_end, who_goes_on_with_the_newest_value_does_not_get_it_twice)
{
    (void)support_shm_dir();
    weir_channel *p = open_kind(NAME, WEIR_LATEST, WEIR_PRODUCER, 4096), *c = come_again(WEIR_LATEST, 9);
    CHECK_OK(send_id(p, 1, WEIR_NOWAIT));
    receive_id(c, 1);
    CHECK_OK(weir_channel_close(c));
    c = come_again(WEIR_LATEST, 9);
    CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_EMPTY);
    CHECK_OK(send_id(p, 2, WEIR_NOWAIT));
    receive_id(c, 2);
    weir_channel *other = come_again(WEIR_LATEST, 0);
    receive_id(other, 2);
    CHECK_OK(weir_channel_close(other));
    CHECK_OK(weir_channel_close(c));
    CHECK_OK(weir_channel_close(p));
}

Test(kinds_end, who_goes_on_after_a_death_gets_what_was_not_released)
{
    (void)support_shm_dir();
    const weir_kind kinds[] = { WEIR_BROADCAST, WEIR_BROADCAST_GATED };
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        weir_channel *p = open_kind(NAME, kinds[k], WEIR_PRODUCER, 65536), *other = come_again(kinds[k], 1);
        struct gate sent = gate_make(), done = gate_make();
        pid_t child = child_fork();
        if (child == 0) {
            weir_channel *c = come_again(kinds[k], 2);
            const void *msg;
            uint32_t len;
            gate_open(done);
            gate_wait(sent);
            for (uint64_t id = 0; id < 5; id++)
                receive_id(c, id);
            CHECK_OK(weir_peek(c, &msg, &len, HELP_DEADLINE));
            gate_open(done);
            for (;;)
                (void)pause();
        }
        gate_wait(done);
        for (uint64_t id = 0; id < 10; id++)
            CHECK_OK(send_id(p, id, WEIR_NOWAIT));
        gate_open(sent);
        gate_wait(done);
        CHECK_OK(weir_channel_close(other)); /* its place is the first that is free */
        child_kill(child);
        weir_channel *c = come_again(kinds[k], 2);
        receive_id(c, 5);
        CHECK_OK(weir_channel_close(c));
        CHECK_OK(weir_channel_close(p));
        gate_close(sent);
        gate_close(done);
    }
}

/* ---- broadcast, gated ---- */

Test(kinds_end, a_gated_producer_that_comes_first_keeps_a_lap_for_who_comes)
{
    (void)support_shm_dir();
    weir_channel *p = open_kind(NAME, WEIR_BROADCAST_GATED, WEIR_PRODUCER, 4096);
    weir_status last;
    uint64_t end = send_until_full(p, 0, &last);
    CHECK(end > 4096 / 16 - 4);
    CHECK_STATUS(weir_channel_drain(p, WEIR_NOWAIT), WEIR_FULL);
    weir_channel *c = open_kind(NAME, WEIR_BROADCAST_GATED, WEIR_CONSUMER, 0);
    for (uint64_t id = 0; id < end; id++)
        receive_id(c, id);
    CHECK_OK(weir_channel_drain(p, WEIR_NOWAIT));
    CHECK_OK(weir_channel_close(c));
    CHECK_OK(weir_channel_close(p));
}

Test(kinds_end, a_gated_consumer_that_came_before_the_ring_gets_all_that_is_sent)
{
    (void)support_shm_dir();
    for (int with_another = 0; with_another < 2; with_another++) {
        weir_channel *first = open_kind(NAME, WEIR_BROADCAST_GATED, WEIR_CONSUMER, 0), *second = NULL;
        weir_channel *p = open_kind(NAME, WEIR_BROADCAST_GATED, WEIR_PRODUCER, 4096);
        if (with_another)
            second = open_kind(NAME, WEIR_BROADCAST_GATED, WEIR_CONSUMER, 0);
        weir_status last = WEIR_OK;
        uint64_t end = 0, seen = 0;
        for (int lap = 0; lap < 5; lap++) { /* who reads alone gets no further than a lap before the other */
            end = send_until_full(p, end, &last);
            for (; second != NULL && seen < end; seen++)
                receive_id(second, seen);
        }
        CHECK(last == WEIR_FULL && end < 4096 / 16);
        CHECK_STATUS(weir_channel_drain(p, WEIR_NOWAIT), WEIR_FULL);
        for (uint64_t id = 0; id < end; id++)
            receive_id(first, id);
        CHECK_OK(weir_channel_drain(p, WEIR_NOWAIT));
        uint64_t more = send_until_full(p, end, &last);
        CHECK(more > end);
        CHECK_OK(weir_channel_close(first));
        CHECK_OK(weir_channel_close(second));
        CHECK_OK(weir_channel_close(p));
    }
}

Test(kinds_end, a_gated_consumer_that_dies_before_it_has_read_anything_gates_no_longer)
{
    (void)support_shm_dir();
    pid_t child = child_stands(NAME, WEIR_CONSUMER, (weir_channel_options){ .kind = WEIR_BROADCAST_GATED }, works_not);
    weir_channel *p = open_kind(NAME, WEIR_BROADCAST_GATED, WEIR_PRODUCER, 4096);
    weir_channel *c = open_kind(NAME, WEIR_BROADCAST_GATED, WEIR_CONSUMER, 0);
    weir_status last;
    uint64_t end = send_until_full(p, 0, &last), id = 0;
    for (; id < end; id++)
        receive_id(c, id);
    CHECK_STATUS(send_id(p, end, WEIR_MILLISECONDS(30)), WEIR_TIMEOUT);
    child_kill(child);
    for (; end < 1000; end++, id++) {
        CHECK_OK(send_id(p, end, HELP_DEADLINE));
        receive_id(c, id);
    }
    CHECK_OK(weir_channel_drain(p, HELP_DEADLINE));
    CHECK_OK(weir_channel_close(c));
    CHECK_OK(weir_channel_close(p));
}

Test(kinds_end, a_dead_gated_consumer_gates_no_longer_and_others_get_all)
{
    (void)support_shm_dir();
    weir_channel *p = open_kind(NAME, WEIR_BROADCAST_GATED, WEIR_PRODUCER, 4096);
    pid_t child = child_stands(NAME, WEIR_CONSUMER, of_kind(WEIR_BROADCAST_GATED), works_not);
    weir_channel *c = open_kind(NAME, WEIR_BROADCAST_GATED, WEIR_CONSUMER, 0);
    weir_status last;
    uint64_t end = send_until_full(p, 0, &last);
    for (uint64_t id = 0; id < end; id++)
        receive_id(c, id);
    CHECK_STATUS(send_id(p, end, WEIR_NOWAIT), WEIR_FULL);
    child_kill(child);
    CHECK_OK(send_id(p, end, HELP_DEADLINE));
    receive_id(c, end);
    /* Also without a wait, if only it is asked long enough. */
    child = child_stands(NAME, WEIR_CONSUMER, of_kind(WEIR_BROADCAST_GATED), works_not);
    end = send_until_full(p, end + 1, &last);
    while (receive_nothing(c, WEIR_NOWAIT) == WEIR_OK)
        continue;
    child_kill(child);
    int64_t deadline = help_now_ns() + HELP_DEADLINE;
    while ((last = send_id(p, end, WEIR_NOWAIT)) == WEIR_FULL)
        CHECK(help_now_ns() < deadline);
    CHECK_STATUS(last, WEIR_OK);
    CHECK_OK(weir_channel_close(c));
    CHECK_OK(weir_channel_close(p));
}

/* ---- the work queue ---- */

static uint64_t sent_before;

static void claims_some(weir_channel *c)
{
    uint64_t got;
    uint32_t len;
    CHECK_OK(weir_receive_more(c, &got, 8, &len, HELP_DEADLINE));
}

static void recovers_and_reads_one(weir_channel *c)
{
    uint64_t got;
    uint32_t len;
    weir_status status;
    do
        status = weir_receive(c, &got, 8, &len, WEIR_NOWAIT); /* of the dead one's run, which goes on behind it */
    while (status != WEIR_OK || !message_of(c).redelivered);
}

/* All numbers below end come to c, some of them flagged. */
static void check_all_come(weir_channel *c, uint64_t end)
{
    bool seen[1024] = { false };
    uint64_t got = 0;
    uint32_t len;
    for (uint64_t left = end; left > 0; left--) {
        CHECK_OK(weir_receive(c, &got, 8, &len, HELP_DEADLINE));
        CHECK(got < end && !seen[got]);
        seen[got] = true;
    }
    CHECK(facts_of(c).redelivered > 0);
}

Test(kinds_end, what_a_dead_consumer_had_claimed_comes_to_one_that_sleeps)
{
    (void)support_shm_dir();
    weir_channel *p = open_kind(NAME, WEIR_MPMC, WEIR_PRODUCER, 65536);
    for (uint64_t id = 0; id < 20; id++)
        CHECK_OK(send_id(p, id, WEIR_NOWAIT));
    pid_t child = child_stands(NAME, WEIR_CONSUMER, (weir_channel_options){ .kind = WEIR_MPMC }, claims_some);
    weir_channel *c = open_kind(NAME, WEIR_MPMC, WEIR_CONSUMER, 0);
    uint64_t got, count = 0;
    uint32_t len;
    while (weir_receive(c, &got, 8, &len, WEIR_NOWAIT) == WEIR_OK)
        count++;
    CHECK(count > 0 && count < 20 && facts_of(c).redelivered == 0);
    CHECK_STATUS(weir_channel_drain(p, WEIR_NOWAIT), WEIR_FULL);
    child_kill(child);
    for (; count < 20; count++)
        CHECK_OK(weir_receive(c, &got, 8, &len, HELP_DEADLINE));
    CHECK(facts_of(c).redelivered > 0);
    CHECK_OK(weir_channel_drain(p, WEIR_NOWAIT));
    CHECK_OK(weir_channel_close(c));
    CHECK_OK(weir_channel_close(p));
}

/* And it has never touched that lane, which lies behind what it had mapped. */
Test(kinds_end, what_a_dead_consumer_had_claimed_of_a_lane_that_came_later_comes_to_one_that_came_before)
{
    (void)support_shm_dir();
    weir_channel *p = open_kind(NAME, WEIR_MPMC, WEIR_PRODUCER, 65536);
    weir_channel *c = open_kind(NAME, WEIR_MPMC, WEIR_CONSUMER, 0);
    CHECK_OK(send_id(p, 0, WEIR_NOWAIT));
    receive_id(c, 0);
    weir_channel *later = open_kind(NAME, WEIR_MPMC, WEIR_PRODUCER, 0);
    for (uint64_t id = 0; id < 20; id++)
        CHECK_OK(send_id(later, id, WEIR_NOWAIT));
    pid_t child = child_stands(NAME, WEIR_CONSUMER, (weir_channel_options){ .kind = WEIR_MPMC }, claims_some);
    child_kill(child);
    check_all_come(c, 20);
    CHECK_OK(weir_channel_drain(later, WEIR_NOWAIT));
    CHECK_OK(weir_channel_close(c));
    CHECK_OK(weir_channel_close(later));
    CHECK_OK(weir_channel_close(p));
}

Test(kinds_end, what_a_dead_consumer_had_claimed_comes_to_one_that_always_finds_something)
{
    (void)support_shm_dir();
    weir_channel *p = open_kind(NAME, WEIR_MPMC, WEIR_PRODUCER, 65536);
    for (sent_before = 0; sent_before < 20; sent_before++)
        CHECK_OK(send_id(p, sent_before, WEIR_NOWAIT));
    pid_t child = child_stands(NAME, WEIR_CONSUMER, (weir_channel_options){ .kind = WEIR_MPMC }, claims_some);
    weir_channel *c = open_kind(NAME, WEIR_MPMC, WEIR_CONSUMER, 0);
    weir_channel *other = open_kind(NAME, WEIR_MPMC, WEIR_PRODUCER, 0); /* whose lane has room */
    child_kill(child);
    int64_t deadline = help_now_ns() + HELP_DEADLINE;
    uint64_t id = 1000, got;
    uint32_t len;
    while (facts_of(c).redelivered == 0) {
        CHECK(help_now_ns() < deadline);
        CHECK_OK(send_id(other, id++, HELP_DEADLINE));
        CHECK_OK(send_id(other, id++, HELP_DEADLINE));
        CHECK_OK(weir_receive(c, &got, 8, &len, WEIR_NOWAIT));
        CHECK_OK(weir_receive(c, &got, 8, &len, WEIR_NOWAIT));
    }
    CHECK_OK(weir_channel_close(c));
    CHECK_OK(weir_channel_close(other));
    CHECK_OK(weir_channel_close(p));
}

Test(kinds_end, what_a_dead_consumer_had_from_another_dead_one_comes_to_the_next)
{
    (void)support_shm_dir();
    weir_channel *p = open_kind(NAME, WEIR_MPMC, WEIR_PRODUCER, 65536);
    weir_channel_options options = { .kind = WEIR_MPMC };
    for (uint64_t id = 0; id < 40; id++)
        CHECK_OK(send_id(p, id, WEIR_NOWAIT));
    pid_t first = child_stands(NAME, WEIR_CONSUMER, options, claims_some);
    pid_t second = child_stands(NAME, WEIR_CONSUMER, options, claims_some);
    child_kill(first);
    child_kill(second);
    first = child_stands(NAME, WEIR_CONSUMER, options, works_not); /* in the first one's place, with what that left */
    second = child_stands(NAME, WEIR_CONSUMER, options, works_not);
    child_kill(first);
    pid_t third = child_stands(NAME, WEIR_CONSUMER, options, works_not);
    child_kill(second);
    child_kill(third);
    /* The first place's leftovers are in the hands of one in another place, and all are dead. */
    first = child_stands(NAME, WEIR_CONSUMER, options, claims_some);
    second = child_stands(NAME, WEIR_CONSUMER, options, works_not);
    child_kill(first);
    child_kill(second);
    weir_channel *c = open_kind(NAME, WEIR_MPMC, WEIR_CONSUMER, 0);
    check_all_come(c, 40);
    CHECK_OK(weir_channel_drain(p, WEIR_NOWAIT));
    CHECK_OK(weir_channel_close(c));
    CHECK_OK(weir_channel_close(p));
}

Test(kinds_end, a_consumer_takes_no_place_whose_leftovers_a_stopped_one_works_through)
{
    (void)support_shm_dir();
    for (int alive = 0; alive < 2; alive++) {
        weir_channel *p = open_kind(NAME, WEIR_MPMC, WEIR_PRODUCER, 65536);
        weir_channel_options options = { .kind = WEIR_MPMC };
        for (uint64_t id = 0; id < 40; id++)
            CHECK_OK(send_id(p, id, WEIR_NOWAIT));
        pid_t first = child_stands(NAME, WEIR_CONSUMER, options, claims_some);
        struct gate go = gate_make(), done = gate_make();
        pid_t second = child_fork();
        if (second == 0) {
            weir_channel *c = open_kind(NAME, WEIR_MPMC, WEIR_CONSUMER, 0);
            gate_open(done);
            gate_wait(go);
            recovers_and_reads_one(c);
            gate_open(done);
            for (;;)
                (void)pause();
        }
        gate_wait(done);
        child_kill(first);
        gate_open(go);
        gate_wait(done);
        if (!alive)
            child_kill(second);
        weir_channel *c = open_kind(NAME, WEIR_MPMC, WEIR_CONSUMER, 0);
        CHECK(facts_of(c).slot == (alive ? 2 : 1));
        CHECK_OK(send_id(p, 40, WEIR_NOWAIT));
        uint64_t got;
        uint32_t len;
        CHECK_OK(weir_receive(c, &got, 8, &len, HELP_DEADLINE));
        if (alive)
            child_kill(second);
        while (weir_channel_drain(p, WEIR_NOWAIT) != WEIR_OK)
            CHECK_OK(weir_receive(c, &got, 8, &len, HELP_DEADLINE));
        CHECK(facts_of(c).redelivered > 0);
        CHECK_OK(weir_channel_close(c));
        CHECK_OK(weir_channel_close(p));
        gate_close(go);
        gate_close(done);
    }
}

/* ---- several sleepers ---- */

static weir_kind sleeps_on;

static void child_sleeps(pid_t *child)
{
    *child = child_fork();
    if (*child == 0) {
        weir_channel *c;
        CHECK_OK(weir_channel_open(&c, NAME, WEIR_CONSUMER,
                                   &(weir_channel_options){ .kind = sleeps_on, .wait = WEIR_WAIT_SLEEP }));
        uint64_t got;
        uint32_t len;
        CHECK_OK(weir_receive(c, &got, 8, &len, WEIR_FOREVER));
        CHECK_OK(weir_channel_close(c));
        _exit(0);
    }
}

/* A waker clears the word, and another arms it, between one's last look and its sleep: were it with the same value, it
 * would sleep though it was woken. */
Test(kinds_end, sleepers_that_share_a_word_never_arm_it_with_the_same_value)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k) {
        if (!k->consumers)
            continue;
        struct third third;
        pid_t child[4];
        uint32_t seen[64], count = 0;
        weir_channel *p = open_kind(NAME, k->kind, WEIR_PRODUCER, 4096);
        sleeps_on = k->kind;
        third_open(&third, NAME);
        for (int i = 0; i < 4; i++)
            child_sleeps(&child[i]);
        int64_t deadline = help_now_ns() + HELP_DEADLINE;
        while (count < 16) { /* as if a waker had cleared it: each time one arms it again, in a bounded sleep */
            uint32_t armed = weir_load32_rlx(&third.layout->consumer.armed);
            CHECK(help_now_ns() < deadline);
            if (armed == 0)
                continue;
            for (uint32_t i = 0; i < count; i++)
                CHECK(seen[i] != armed);
            seen[count++] = armed;
            weir_store32_rlx(&third.layout->consumer.armed, 0);
        }
        for (uint64_t id = 0; id < 4; id++)
            CHECK_OK(send_id(p, id, HELP_DEADLINE));
        for (int i = 0; i < 4; i++) /* the last values stay for who came late */
            CHECK(support_wait(child[i]) == 0);
        CHECK_OK(weir_channel_close(p));
        third_close(&third);
    }
}
