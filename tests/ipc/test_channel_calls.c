/* Sending and receiving: every call's every status, batches, waking, counters. */
#include "ipc/endless_sleep.h"

#include <weir/ipc/channel_private.h>

#include <criterion/criterion.h>
#include <pthread.h>

struct pair {
    weir_channel *p, *c;
    struct third third;
};

static struct pair pair_open(uint64_t capacity, weir_wait wait)
{
    struct pair pair;
    weir_channel_options options = { .capacity = capacity, .wait = wait };
    static bool has_dir; /* one for each test: each runs in a process of its own */
    if (!has_dir)
        (void)support_shm_dir();
    has_dir = true;
    CHECK_OK(weir_channel_open(&pair.p, "pair", WEIR_PRODUCER, &options));
    CHECK_OK(weir_channel_open(&pair.c, "pair", WEIR_CONSUMER, &options));
    third_open(&pair.third, "pair");
    return pair;
}

static void pair_close(struct pair *pair)
{
    third_close(&pair->third);
    CHECK_OK(weir_channel_close(pair->p));
    CHECK_OK(weir_channel_close(pair->c));
}

static const weir_wait all_waits[] = { WEIR_WAIT_SPIN_SLEEP, WEIR_WAIT_SPIN, WEIR_WAIT_SLEEP };

/* ---- lengths ---- */

Test(channel_calls, messages_of_every_length_up_to_the_limit_arrive_whole_by_copy_and_in_place)
{
    static unsigned char out[HELP_BUFFER], in[HELP_BUFFER];
    struct pair pair = pair_open(4096, WEIR_WAIT_SPIN);
    uint32_t limit = facts_of(pair.p).record_max;
    CHECK(limit == 4096 / 2 - 16);
    for (uint32_t len = 0; len <= limit; len++) {
        message_fill(out, len * UINT64_C(0x1001), sizeof out);
        if (len % 2 == 0) {
            CHECK_OK(weir_send(pair.p, out, len, WEIR_NOWAIT));
        } else {
            void *slot = NULL;
            CHECK_OK(weir_reserve(pair.p, limit, &slot, WEIR_NOWAIT));
            CHECK((uintptr_t)slot % 8 == 0);
            memcpy(slot, out, len);
            CHECK_OK(weir_commit(pair.p, len)); /* shorter than what was reserved */
        }
        uint32_t got = UINT32_MAX;
        if (len % 3 == 0) {
            const void *msg = NULL;
            CHECK_OK(weir_peek(pair.c, &msg, &got, WEIR_NOWAIT));
            CHECK(got == len && (uintptr_t)msg % 8 == 0 && memcmp(msg, out, len) == 0);
            CHECK_OK(weir_release(pair.c));
        } else {
            memset(in, 0xee, sizeof in);
            CHECK_OK(weir_receive(pair.c, in, len, &got, WEIR_NOWAIT)); /* a buffer of exactly its size */
            CHECK(got == len && memcmp(in, out, len) == 0);
            CHECK(in[len] == 0xee); /* and not a byte behind it */
        }
    }
    CHECK_STATUS(receive_nothing(pair.c, WEIR_NOWAIT), WEIR_EMPTY);
    pair_close(&pair);
}

Test(channel_calls, a_message_over_the_limit_is_TOO_LARGE_and_nothing_is_sent)
{
    static unsigned char out[HELP_BUFFER];
    struct pair pair = pair_open(4096, WEIR_WAIT_SPIN);
    static const uint64_t over[] = { 2033,           4096,          8192, UINT64_C(1) << 31, UINT64_C(1) << 32,
                                     UINT64_MAX - 7, UINT64_MAX };
    for (size_t i = 0; i < sizeof over / sizeof over[0]; i++) {
        void *slot = out;
        CHECK_STATUS(weir_send(pair.p, out, over[i], WEIR_FOREVER), WEIR_E_TOO_LARGE);
        CHECK(strstr(weir_error_detail(), "2032") != NULL);
        CHECK_STATUS(weir_send_more(pair.p, out, over[i], WEIR_FOREVER), WEIR_E_TOO_LARGE);
        CHECK_STATUS(weir_reserve(pair.p, over[i], &slot, WEIR_FOREVER), WEIR_E_TOO_LARGE);
        CHECK(slot == out);
        CHECK_STATUS(weir_commit(pair.p, 0), WEIR_E_STATE);
    }
    CHECK_STATUS(receive_nothing(pair.c, WEIR_NOWAIT), WEIR_EMPTY);
    CHECK_OK(send_id(pair.p, 1, WEIR_NOWAIT));
    receive_id(pair.c, 1);
    pair_close(&pair);
}

Test(channel_calls, a_buffer_too_small_keeps_the_message_and_tells_its_length)
{
    static unsigned char out[HELP_BUFFER], in[HELP_BUFFER];
    struct pair pair = pair_open(4096, WEIR_WAIT_SLEEP);
    for (uint64_t round = 0; round < 50; round++) { /* many places in the lane, behind padding too */
        uint32_t bytes = 100 + (uint32_t)(round * 37 % 1500), len = 0;
        message_fill(out, round, bytes);
        CHECK_OK(weir_send(pair.p, out, bytes, WEIR_NOWAIT));
        memset(in, 0xee, sizeof in);
        CHECK_STATUS(weir_receive(pair.c, in, bytes - 1, &len, WEIR_FOREVER), WEIR_E_TOO_SMALL);
        CHECK(len == bytes);
        len = 0;
        CHECK_STATUS(weir_receive_more(pair.c, in, 0, &len, WEIR_NOWAIT), WEIR_E_TOO_SMALL);
        CHECK(len == bytes && in[0] == 0xee);
        CHECK_STATUS(weir_channel_drain(pair.p, WEIR_NOWAIT), WEIR_FULL);
        CHECK_OK(weir_receive(pair.c, in, bytes, &len, WEIR_NOWAIT));
        CHECK(len == bytes && message_is_whole(in, round, len));
    }
    pair_close(&pair);
}

/* ---- roles and order ---- */

Test(channel_calls, a_call_of_the_other_role_is_STATE_and_leaves_its_outputs)
{
    struct pair pair = pair_open(4096, WEIR_WAIT_SPIN_SLEEP);
    uint64_t id = 7;
    uint32_t len = 77;
    void *slot = &id;
    const void *msg = &id;
    CHECK_STATUS(weir_send(pair.c, &id, 8, WEIR_FOREVER), WEIR_E_STATE);
    CHECK_STATUS(weir_send(pair.c, NULL, 0, WEIR_NOWAIT), WEIR_E_STATE);
    CHECK_STATUS(weir_send_more(pair.c, &id, 8, WEIR_FOREVER), WEIR_E_STATE);
    CHECK_STATUS(weir_reserve(pair.c, 8, &slot, WEIR_FOREVER), WEIR_E_STATE);
    CHECK_STATUS(weir_commit(pair.c, 0), WEIR_E_STATE);
    CHECK_STATUS(weir_commit_more(pair.c, 0), WEIR_E_STATE);
    CHECK_STATUS(weir_flush(pair.c), WEIR_E_STATE);
    CHECK_STATUS(weir_channel_drain(pair.c, WEIR_FOREVER), WEIR_E_STATE);
    CHECK(weir_error_detail()[0] != 0);
    CHECK_STATUS(weir_receive(pair.p, &id, 8, &len, WEIR_FOREVER), WEIR_E_STATE);
    CHECK_STATUS(weir_receive_more(pair.p, &id, 8, &len, WEIR_FOREVER), WEIR_E_STATE);
    CHECK_STATUS(weir_peek(pair.p, &msg, &len, WEIR_FOREVER), WEIR_E_STATE);
    CHECK_STATUS(weir_release(pair.p), WEIR_E_STATE);
    CHECK(id == 7 && len == 77 && slot == &id && msg == &id);
    /* Both go on. */
    CHECK_OK(send_id(pair.p, 1, WEIR_NOWAIT));
    receive_id(pair.c, 1);
    pair_close(&pair);
}

Test(channel_calls, a_commit_needs_a_reservation_and_no_more_bytes_than_it_has)
{
    struct pair pair = pair_open(4096, WEIR_WAIT_SPIN_SLEEP);
    void *slot;
    uint64_t id = 42;
    CHECK_STATUS(weir_commit(pair.p, 0), WEIR_E_STATE);
    CHECK_STATUS(weir_commit_more(pair.p, 0), WEIR_E_STATE);
    CHECK_OK(weir_reserve(pair.p, 8, &slot, WEIR_NOWAIT));
    memcpy(slot, &id, 8);
    CHECK_STATUS(weir_commit(pair.p, 9), WEIR_E_INVALID);
    CHECK_STATUS(weir_commit_more(pair.p, UINT64_MAX), WEIR_E_INVALID);
    CHECK_STATUS(receive_nothing(pair.c, WEIR_NOWAIT), WEIR_EMPTY);
    CHECK_OK(weir_commit(pair.p, 8)); /* it stayed reserved */
    CHECK_STATUS(weir_commit(pair.p, 8), WEIR_E_STATE);
    receive_id(pair.c, 42);
    /* Another send gives the room up. */
    CHECK_OK(weir_reserve(pair.p, 8, &slot, WEIR_NOWAIT));
    CHECK_OK(send_id(pair.p, 43, WEIR_NOWAIT));
    CHECK_STATUS(weir_commit(pair.p, 8), WEIR_E_STATE);
    /* And a reservation that is never committed was never sent. */
    CHECK_OK(weir_reserve(pair.p, 2000, &slot, WEIR_NOWAIT));
    memset(slot, 0xff, 2000);
    receive_id(pair.c, 43);
    CHECK_STATUS(receive_nothing(pair.c, WEIR_NOWAIT), WEIR_EMPTY);
    CHECK_OK(weir_reserve(pair.p, 0, &slot, WEIR_NOWAIT));
    CHECK_OK(weir_commit(pair.p, 0));
    uint32_t len = 9;
    CHECK_OK(weir_receive(pair.c, NULL, 0, &len, WEIR_NOWAIT));
    CHECK(len == 0);
    pair_close(&pair);
}

/* ---- no room, no message, no time ---- */

Test(channel_calls, NOWAIT_gives_FULL_and_EMPTY_and_leaves_the_outputs)
{
    for (size_t i = 0; i < 3; i++) {
        struct pair pair = pair_open(4096, all_waits[i]);
        uint64_t id = 7;
        uint32_t len = 77;
        const void *msg = &id;
        void *slot = &id;
        weir_status last;
        CHECK_STATUS(weir_receive(pair.c, &id, 8, &len, WEIR_NOWAIT), WEIR_EMPTY);
        CHECK_STATUS(weir_receive_more(pair.c, &id, 8, &len, WEIR_NOWAIT), WEIR_EMPTY);
        CHECK_STATUS(weir_peek(pair.c, &msg, &len, WEIR_NOWAIT), WEIR_EMPTY);
        CHECK_OK(weir_channel_drain(pair.p, WEIR_NOWAIT));
        uint64_t count = send_until_full(pair.p, 0, &last);
        CHECK_STATUS(last, WEIR_FULL);
        CHECK(count == 4096 / 16 - 1); /* one header stays free */
        CHECK_STATUS(weir_send_more(pair.p, &id, 8, WEIR_NOWAIT), WEIR_FULL);
        CHECK_STATUS(weir_reserve(pair.p, 8, &slot, WEIR_NOWAIT), WEIR_FULL);
        CHECK_STATUS(weir_commit(pair.p, 0), WEIR_E_STATE);
        CHECK_STATUS(weir_channel_drain(pair.p, WEIR_NOWAIT), WEIR_FULL);
        CHECK(id == 7 && len == 77 && msg == &id && slot == &id);
        CHECK(facts_of(pair.p).full == 3 && facts_of(pair.p).sleeps == 0);
        for (uint64_t next = 0; next < count; next++)
            receive_id(pair.c, next);
        CHECK_STATUS(receive_nothing(pair.c, WEIR_NOWAIT), WEIR_EMPTY);
        CHECK_OK(weir_channel_drain(pair.p, WEIR_NOWAIT));
        CHECK(facts_of(pair.c).sleeps == 0);
        pair_close(&pair);
    }
}

static weir_status timed_call(struct pair *pair, int call, weir_timeout timeout)
{
    uint64_t id = 0;
    uint32_t len;
    const void *msg;
    void *slot;
    switch (call) {
    case 0: return weir_receive(pair->c, &id, 8, &len, timeout);
    case 1: return weir_receive_more(pair->c, &id, 8, &len, timeout);
    case 2: return weir_peek(pair->c, &msg, &len, timeout);
    case 3: return weir_send(pair->p, &id, 8, timeout);
    case 4: return weir_send_more(pair->p, &id, 8, timeout);
    case 5: return weir_reserve(pair->p, 8, &slot, timeout);
    default: return weir_channel_drain(pair->p, timeout);
    }
}

/* A long wait is made of sleeps, none longer than the bound that covers a waker's stop: of somebody idle, 450 ms. */
static void check_that_it_sleeps_a_bounded_time(struct pair *pair, int call)
{
    weir_channel *channel = call < 3 ? pair->c : pair->p;
    uint64_t before = facts_of(channel).sleeps;
    bounded_longest_ns = 0;
    for (int64_t end = help_now_ns() + HELP_DEADLINE; bounded_longest_ns == 0 && help_now_ns() < end;)
        CHECK_STATUS(timed_call(pair, call, WEIR_MILLISECONDS(200)), WEIR_TIMEOUT);
    CHECK(bounded_longest_ns > 0 && bounded_longest_ns <= WEIR_MILLISECONDS(450));
    CHECK(facts_of(channel).sleeps > before);
}

Test(channel_calls, a_timeout_comes_when_the_given_time_has_passed_in_every_call_and_wait)
{
    static const weir_timeout times[] = { 1, 20000, 300000, WEIR_MILLISECONDS(5), WEIR_MILLISECONDS(90) };
    for (size_t i = 0; i < 3; i++) {
        struct pair pair = pair_open(4096, all_waits[i]);
        for (int call = 0; call < 7; call++) {
            weir_status last = WEIR_OK;
            if (call == 3)
                (void)send_until_full(pair.p, 0, &last);
            for (size_t t = 0; t < sizeof times / sizeof times[0]; t++) {
                int64_t begin = help_now_ns();
                CHECK_STATUS(timed_call(&pair, call, times[t]), WEIR_TIMEOUT);
                int64_t took = help_now_ns() - begin;
                cr_assert_geq(took, times[t], "call %d", call);
                cr_assert_lt(took, times[t] + HELP_DEADLINE, "call %d", call);
            }
            if (all_waits[i] != WEIR_WAIT_SPIN)
                check_that_it_sleeps_a_bounded_time(&pair, call);
        }
        if (all_waits[i] == WEIR_WAIT_SPIN)
            CHECK(facts_of(pair.c).sleeps == 0 && facts_of(pair.p).sleeps == 0);
        CHECK(facts_of(pair.p).full >= 15);
        /* Nobody is left asleep in the section. */
        CHECK(weir_load32_rlx(&pair.third.layout->consumer.armed) == 0);
        CHECK(weir_load32_rlx(&pair.third.layout->member[0].sleeper.armed) == 0);
        pair_close(&pair);
    }
}

/* Sends once the consumer waits. */
static void *send_to_who_waits(void *arg)
{
    struct pair *pair = arg;
    wait_for_word32(&pair->third.layout->consumer.armed, 1);
    CHECK_OK(send_id(pair->p, 77, WEIR_NOWAIT));
    return NULL;
}

Test(channel_calls, times_too_long_for_a_clock_are_for_ever_and_a_message_ends_them)
{
    struct pair pair = pair_open(4096, WEIR_WAIT_SLEEP);
    const weir_timeout times[] = { INT64_MAX, weir_until(INT64_MAX), WEIR_FOREVER, INT64_MIN / 2 };
    for (uint64_t i = 0; i < 4; i++) {
        uint64_t got;
        uint32_t len;
        CHECK_OK(send_id(pair.p, i, times[i]));
        CHECK_OK(weir_receive(pair.c, &got, 8, &len, times[i]));
        CHECK(got == i);
        CHECK_OK(weir_channel_drain(pair.p, times[i]));
        pthread_t sender;
        CHECK(pthread_create(&sender, NULL, send_to_who_waits, &pair) == 0);
        CHECK_OK(weir_receive(pair.c, &got, 8, &len, times[i])); /* not TIMEOUT from a sum that wrapped */
        CHECK(pthread_join(sender, NULL) == 0 && got == 77);
    }
    weir_channel *late = pair.c;
    CHECK_OK(weir_channel_close(pair.p));
    uint64_t got;
    uint32_t len;
    CHECK_STATUS(weir_receive(late, &got, 8, &len, INT64_MAX), WEIR_CLOSED);
    CHECK_OK(weir_channel_open(&pair.p, "pair", WEIR_PRODUCER, NULL));
    pair_close(&pair);
}

/* Who sleeps at once lingers in a stream; but in vain it costs little: one wait in 16, and none behind a vain one. */
Test(channel_calls, a_wait_that_lingers_in_vain_rests_for_fifteen)
{
    struct pair pair = pair_open(4096, WEIR_WAIT_SLEEP);
    struct channel_cold *cold = channel_cold(pair.c), *producers = channel_cold(pair.p);
    CHECK_STATUS(timed_call(&pair, 0, WEIR_MILLISECONDS(1)), WEIR_TIMEOUT);
    CHECK(cold->rest == 0); /* one message at a time, or none, is no stream */
    for (uint32_t i = 0; i < 33; i++) {
        cold->pauses = 8;
        cold->idle = false;
        CHECK_STATUS(timed_call(&pair, 0, WEIR_MILLISECONDS(1)), WEIR_TIMEOUT);
        CHECK(cold->rest == 15 - i % 16);
    }
    cold->rest = 0;
    CHECK_STATUS(timed_call(&pair, 0, WEIR_MILLISECONDS(1)), WEIR_TIMEOUT); /* idle */
    cold->idle = false;
    CHECK_STATUS(timed_call(&pair, 0, 20000), WEIR_TIMEOUT); /* shorter than it would linger */
    CHECK(cold->rest == 0);
    weir_status last;
    (void)send_until_full(pair.p, 0, &last);
    CHECK_STATUS(timed_call(&pair, 3, WEIR_MILLISECONDS(1)), WEIR_TIMEOUT);
    CHECK(producers->rest == 15); /* a full lane is a stream */
    pair_close(&pair);
}

/* ---- batches ---- */

enum { BATCH_SEND, BATCH_COMMIT, BATCH_FLUSH, BATCH_DRAIN, BATCH_CLOSE, BATCH_FULL, BATCH_FULL_RESERVE, BATCH_ENDS };

Test(channel_calls, a_batch_appears_at_once_by_whatever_ends_it)
{
    for (int end = 0; end < BATCH_ENDS; end++) {
        struct pair pair = pair_open(4096, WEIR_WAIT_SLEEP);
        uint64_t id = 0;
        void *slot;
        static unsigned char large[2000];
        for (; id < 9; id++) {
            if (id % 2 == 0) {
                CHECK_OK(weir_send_more(pair.p, &id, 8, WEIR_FOREVER));
            } else {
                CHECK_OK(weir_reserve(pair.p, 100, &slot, WEIR_FOREVER));
                memcpy(slot, &id, 8);
                CHECK_OK(weir_commit_more(pair.p, 8));
            }
            CHECK_STATUS(receive_nothing(pair.c, WEIR_NOWAIT), WEIR_EMPTY);
        }
        switch (end) {
        case BATCH_SEND:
            CHECK_OK(send_id(pair.p, id++, WEIR_NOWAIT));
            break;
        case BATCH_COMMIT:
            CHECK_OK(weir_reserve(pair.p, 8, &slot, WEIR_NOWAIT));
            CHECK_STATUS(receive_nothing(pair.c, WEIR_NOWAIT), WEIR_EMPTY);
            memcpy(slot, &id, 8);
            CHECK_OK(weir_commit(pair.p, 8));
            id++;
            break;
        case BATCH_FLUSH:
            CHECK_OK(weir_flush(pair.p));
            CHECK_OK(weir_flush(pair.p)); /* also when there is nothing */
            break;
        case BATCH_DRAIN:
            CHECK_STATUS(weir_channel_drain(pair.p, WEIR_NOWAIT), WEIR_FULL);
            break;
        case BATCH_CLOSE:
            CHECK_OK(weir_channel_close(pair.p));
            break;
        case BATCH_FULL:
            CHECK_OK(weir_send_more(pair.p, large, 1900, WEIR_NOWAIT));
            CHECK_OK(weir_send_more(pair.p, large, 1900, WEIR_NOWAIT));
            CHECK_STATUS(receive_nothing(pair.c, WEIR_NOWAIT), WEIR_EMPTY);
            CHECK_STATUS(weir_send_more(pair.p, large, 2000, WEIR_NOWAIT), WEIR_FULL);
            break;
        default:
            CHECK_OK(weir_send_more(pair.p, large, 1900, WEIR_NOWAIT));
            CHECK_OK(weir_send_more(pair.p, large, 1900, WEIR_NOWAIT));
            CHECK_STATUS(weir_reserve(pair.p, 2000, &slot, WEIR_MILLISECONDS(1)), WEIR_TIMEOUT);
            break;
        }
        for (uint64_t next = 0; next < id; next++) {
            uint64_t got = 0;
            uint32_t len = 0;
            CHECK_OK(weir_receive(pair.c, &got, 8, &len, WEIR_NOWAIT));
            CHECK(got == next && len == 8);
        }
        for (int i = 0; i < 2 && (end == BATCH_FULL || end == BATCH_FULL_RESERVE); i++) {
            uint32_t len = 0;
            CHECK_OK(weir_receive(pair.c, large, sizeof large, &len, WEIR_NOWAIT));
            CHECK(len == 1900);
        }
        CHECK_STATUS(receive_nothing(pair.c, WEIR_NOWAIT), end == BATCH_CLOSE ? WEIR_CLOSED : WEIR_EMPTY);
        if (end == BATCH_CLOSE)
            CHECK_OK(weir_channel_open(&pair.p, "pair", WEIR_PRODUCER, NULL));
        pair_close(&pair);
    }
}

Test(channel_calls, a_batch_longer_than_the_lane_goes_on_while_the_consumer_reads)
{
    for (size_t i = 0; i < 3; i++) {
        struct pair pair = pair_open(4096, all_waits[i]);
        third_close(&pair.third);
        CHECK_OK(weir_channel_close(pair.p));
        pid_t child = child_fork();
        if (child == 0) {
            weir_channel *p;
            CHECK_OK(weir_channel_open(&p, "pair", WEIR_PRODUCER, &(weir_channel_options){ .wait = all_waits[i] }));
            for (uint64_t id = 0; id < 2000; id++)
                CHECK_OK(weir_send_more(p, &id, 8, HELP_DEADLINE));
            CHECK_OK(weir_channel_close(p));
            _exit(0);
        }
        for (uint64_t id = 0; id < 2000;) {
            uint64_t got = 0;
            uint32_t len = 0;
            weir_status status = weir_receive(pair.c, &got, 8, &len, HELP_DEADLINE);
            if (status == WEIR_CLOSED && id == 0) /* the end of the first producer */
                continue;
            CHECK_OK(status);
            CHECK(got == id++ && len == 8);
        }
        CHECK(support_wait(child) == 0);
        CHECK_OK(weir_channel_close(pair.c));
    }
}

/* ---- releasing ---- */

Test(channel_calls, room_comes_back_with_the_release_and_not_before)
{
    struct pair pair = pair_open(4096, WEIR_WAIT_SPIN_SLEEP);
    weir_status last;
    uint64_t got, next = 0, read = 0;
    uint32_t len;
    const void *msg;
    CHECK_OK(weir_release(pair.c)); /* nothing was read: fine */
    for (int round = 0; round < 20; round++) {
        next = send_until_full(pair.p, next, &last);
        CHECK_STATUS(last, WEIR_FULL);
        for (; read < next; read++) {
            if (read % 2 == 0) {
                CHECK_OK(weir_receive_more(pair.c, &got, 8, &len, WEIR_NOWAIT));
            } else {
                CHECK_OK(weir_peek(pair.c, &msg, &len, WEIR_NOWAIT));
                got = message_id(msg);
            }
            CHECK(got == read && len == 8);
        }
        CHECK_STATUS(weir_receive_more(pair.c, &got, 8, &len, WEIR_NOWAIT), WEIR_EMPTY);
        CHECK_STATUS(weir_peek(pair.c, &msg, &len, WEIR_MILLISECONDS(1)), WEIR_TIMEOUT); /* waiting releases nothing */
        CHECK_STATUS(send_id(pair.p, next, WEIR_NOWAIT), WEIR_FULL);
        CHECK_STATUS(weir_channel_drain(pair.p, WEIR_NOWAIT), WEIR_FULL);
        CHECK_OK(weir_release(pair.c));
        CHECK_OK(weir_channel_drain(pair.p, WEIR_NOWAIT));
        /* A receive gives back what was read before it, too. */
        CHECK_OK(send_id(pair.p, next, WEIR_NOWAIT));
        CHECK_OK(send_id(pair.p, next + 1, WEIR_NOWAIT));
        CHECK_OK(weir_peek(pair.c, &msg, &len, WEIR_NOWAIT));
        CHECK(message_id(msg) == next);
        receive_id(pair.c, next + 1);
        CHECK_OK(weir_channel_drain(pair.p, WEIR_NOWAIT));
        read = next += 2;
    }
    pair_close(&pair);
}

/* ---- waking: a sleeper's word is cleared by whoever has news for it ---- */

#define ARM(word) weir_store32_rlx(&(word), 1)
#define ARMED(word) (weir_load32_rlx(&(word)) == 1)

Test(channel_calls, every_publication_wakes_a_sleeping_consumer_and_an_unpublished_message_does_not)
{
    struct pair pair = pair_open(4096, WEIR_WAIT_SPIN);
    weir_atomic_u32 *armed = &pair.third.layout->consumer.armed;
    void *slot;
    uint64_t id = 0;
    ARM(*armed);
    CHECK_OK(weir_send_more(pair.p, &id, 8, WEIR_NOWAIT));
    CHECK_OK(weir_reserve(pair.p, 8, &slot, WEIR_NOWAIT));
    CHECK_OK(weir_commit_more(pair.p, 8));
    CHECK(ARMED(*armed));
    CHECK_OK(weir_flush(pair.p));
    CHECK(!ARMED(*armed));
    ARM(*armed);
    CHECK_OK(weir_send(pair.p, &id, 8, WEIR_NOWAIT));
    CHECK(!ARMED(*armed));
    ARM(*armed);
    CHECK_OK(weir_reserve(pair.p, 8, &slot, WEIR_NOWAIT));
    CHECK(ARMED(*armed));
    CHECK_OK(weir_commit(pair.p, 8));
    CHECK(!ARMED(*armed));
    CHECK_OK(weir_send_more(pair.p, &id, 8, WEIR_NOWAIT));
    ARM(*armed);
    CHECK_STATUS(weir_channel_drain(pair.p, WEIR_NOWAIT), WEIR_FULL);
    CHECK(!ARMED(*armed));
    /* A batch that goes out because there is no more room. */
    while (weir_send_more(pair.p, &id, 8, WEIR_NOWAIT) == WEIR_OK)
        ARM(*armed);
    CHECK(!ARMED(*armed));
    /* A send that had to wait wakes as one that had not: here room is there at the second look. */
    ARM(*armed);
    CHECK_OK(weir_channel_close(pair.p));
    CHECK(!ARMED(*armed));
    ARM(*armed);
    CHECK_OK(weir_channel_open(&pair.p, "pair", WEIR_PRODUCER, NULL));
    CHECK(!ARMED(*armed));
    pair_close(&pair);
}

Test(channel_calls, a_release_wakes_a_producer_when_it_has_what_it_waits_for)
{
    struct pair pair = pair_open(4096, WEIR_WAIT_SPIN);
    weir_sleeper *sleeper = &pair.third.layout->member[0].sleeper;
    uint64_t id, got;
    uint32_t len;
    const void *msg;
    for (id = 0; id < 100; id++)
        CHECK_OK(send_id(pair.p, id, WEIR_NOWAIT));
    weir_store_rlx(&sleeper->want_pos, (uint64_t)3 * 16);
    ARM(sleeper->armed);
    receive_id(pair.c, 0);
    receive_id(pair.c, 1);
    CHECK(ARMED(sleeper->armed)); /* two records are not yet what it wants */
    receive_id(pair.c, 2);
    CHECK(!ARMED(sleeper->armed));
    weir_store_rlx(&sleeper->want_pos, (uint64_t)5 * 16);
    ARM(sleeper->armed);
    CHECK_OK(weir_receive_more(pair.c, &got, 8, &len, WEIR_NOWAIT));
    CHECK_OK(weir_peek(pair.c, &msg, &len, WEIR_NOWAIT));
    CHECK(ARMED(sleeper->armed)); /* read, not released */
    CHECK_OK(weir_release(pair.c));
    CHECK(!ARMED(sleeper->armed));
    ARM(sleeper->armed);
    weir_store_rlx(&sleeper->want_pos, UINT64_MAX / 2);
    CHECK_OK(weir_channel_close(pair.c));
    CHECK(!ARMED(sleeper->armed)); /* news of an end is for everybody */
    ARM(sleeper->armed);
    CHECK_OK(weir_channel_open(&pair.c, "pair", WEIR_CONSUMER, NULL));
    CHECK(!ARMED(sleeper->armed));
    pair_close(&pair);
}

Test(channel_calls, a_waiting_producer_asks_for_a_place_that_the_consumer_reaches)
{
    static const uint64_t lens[] = { 8, 100, 500, 1000, 1500, 2032 };
    static unsigned char out[HELP_BUFFER];
    struct pair pair = pair_open(4096, WEIR_WAIT_SLEEP);
    weir_sleeper *sleeper = &pair.third.layout->member[0].sleeper;
    for (size_t i = 0; i < 200; i++) {
        /* Fill the lane, wait for room for one more, and see what was asked for. */
        uint64_t fill = lens[i * 7 % 5], len = lens[i % 6], count = 0;
        while (weir_send(pair.p, out, fill, WEIR_NOWAIT) == WEIR_OK)
            count++;
        if (weir_send(pair.p, out, len, WEIR_NOWAIT) == WEIR_OK)
            count++;
        weir_status status = weir_send(pair.p, out, len, 1000);
        CHECK(status == WEIR_TIMEOUT || status == WEIR_OK);
        count += status == WEIR_OK;
        if (status == WEIR_TIMEOUT) {
            uint64_t want = weir_load_rlx(&sleeper->want_pos), head = weir_load_rlx(&pair.third.lane->head);
            /* It is ahead of what is released, and at most where the lane is empty. */
            CHECK(want - head - 1 < 4096);
            CHECK(want <= pair.p->tx.pos);
            /* Once it is reached there is room. */
            while (weir_load_rlx(&pair.third.lane->head) < want) {
                uint32_t got;
                CHECK_OK(weir_receive(pair.c, out, sizeof out, &got, WEIR_NOWAIT));
                count--;
            }
            CHECK_OK(weir_send(pair.p, out, len, WEIR_NOWAIT));
            count++;
        }
        for (uint32_t got; count > 0; count--)
            CHECK_OK(weir_receive(pair.c, out, sizeof out, &got, WEIR_NOWAIT));
        CHECK_STATUS(receive_nothing(pair.c, WEIR_NOWAIT), WEIR_EMPTY);
    }
    /* Who drains waits for all. */
    for (uint64_t id = 0; id < 10; id++)
        CHECK_OK(send_id(pair.p, id, WEIR_NOWAIT));
    CHECK_STATUS(weir_channel_drain(pair.p, 1000), WEIR_TIMEOUT);
    CHECK(weir_load_rlx(&sleeper->want_pos) == pair.p->tx.pos);
    pair_close(&pair);
}

/* ---- what no call changes ---- */

Test(channel_calls, every_call_keeps_errno)
{
    struct pair pair = pair_open(4096, WEIR_WAIT_SLEEP);
    weir_channel_facts facts;
    weir_channel *other;
    uint64_t id = 0;
    uint32_t len;
    void *slot;
    const void *msg;
    weir_status last;
#define KEEPS_ERRNO(call)                                                                                             \
    do {                                                                                                              \
        errno = 1234;                                                                                                 \
        (void)(call);                                                                                                 \
        CHECK(errno == 1234);                                                                                         \
    } while (0)
    KEEPS_ERRNO(weir_channel_open(&other, "pair", WEIR_PRODUCER, NULL));
    KEEPS_ERRNO(weir_channel_open(&other, "pair", WEIR_PRODUCER, &(weir_channel_options){ .capacity = UINT64_MAX }));
    weir_channel_options most = { .capacity = WEIR_CAPACITY_MAX };
    KEEPS_ERRNO(weir_channel_open(&other, "big", WEIR_PRODUCER, &most));
    KEEPS_ERRNO(weir_channel_open(&other, "other", WEIR_CONSUMER, NULL));
    KEEPS_ERRNO(weir_receive(other, &id, 8, &len, WEIR_MILLISECONDS(1)));
    KEEPS_ERRNO(weir_channel_close(other));
    KEEPS_ERRNO(weir_receive(pair.c, &id, 8, &len, WEIR_MILLISECONDS(2)));
    KEEPS_ERRNO(weir_peek(pair.c, &msg, &len, WEIR_NOWAIT));
    KEEPS_ERRNO(weir_send(pair.p, &id, 8, WEIR_NOWAIT));
    KEEPS_ERRNO(weir_send(pair.p, &id, 9999, WEIR_NOWAIT));
    KEEPS_ERRNO(weir_reserve(pair.p, 8, &slot, WEIR_NOWAIT));
    KEEPS_ERRNO(weir_commit(pair.p, 8));
    KEEPS_ERRNO(weir_channel_drain(pair.p, WEIR_MILLISECONDS(2)));
    KEEPS_ERRNO(weir_receive(pair.c, &id, 8, &len, WEIR_NOWAIT));
    (void)send_until_full(pair.p, 0, &last);
    KEEPS_ERRNO(weir_send(pair.p, &id, 8, WEIR_MILLISECONDS(2)));
    weir_store32_rlx(&pair.third.layout->consumer.armed, 1);
    KEEPS_ERRNO(weir_flush(pair.p));
    KEEPS_ERRNO(weir_channel_info(pair.p, &facts));
    KEEPS_ERRNO(weir_channel_close(NULL));
    KEEPS_ERRNO(weir_channel_close(pair.p));
    KEEPS_ERRNO(weir_channel_open(&pair.p, "pair", WEIR_PRODUCER, NULL));
    pair_close(&pair);
}
