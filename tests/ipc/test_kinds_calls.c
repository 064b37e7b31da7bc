/* Channels of every kind: the calls of both ends. */
#include "ipc/kinds_help.h"

#include <criterion/criterion.h>
#include <weir/naming/os_linux.h>

#define NAME "calls"

struct ends {
    weir_channel *p, *c;
};

static struct ends open_ends(const struct kind_row *k, uint64_t capacity)
{
    struct ends ends = { .c = open_kind(NAME, k->kind, WEIR_CONSUMER, 0) };
    weir_channel_options options = { .kind = k->kind, .capacity = capacity, .record_bytes = k->for_record ? 1024 : 0 };
    CHECK_OK(weir_channel_open(&ends.p, NAME, WEIR_PRODUCER, &options));
    return ends;
}

static void close_ends(struct ends ends)
{
    CHECK_OK(weir_channel_close(ends.p));
    CHECK_OK(weir_channel_close(ends.c));
}

/* Receives a whole message, by copy or in place, released or not. */
static uint64_t get(weir_channel *c, int how)
{
    static unsigned char in[HELP_BUFFER];
    const void *msg = in;
    uint32_t len = 0;
    if (how == 0)
        CHECK_OK(weir_receive(c, in, sizeof in, &len, HELP_DEADLINE));
    else if (how == 1)
        CHECK_OK(weir_receive_more(c, in, sizeof in, &len, HELP_DEADLINE));
    else
        CHECK_OK(weir_peek(c, &msg, &len, HELP_DEADLINE));
    CHECK(len >= 8 && message_is_whole(msg, message_id(msg), len));
    CHECK(((uintptr_t)msg & 7) == 0 || how < 2);
    if (how != 0)
        CHECK_OK(weir_release(c));
    return message_id(msg);
}

Test(kinds_calls, every_way_to_send_meets_every_way_to_receive)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k) {
        struct ends ends = open_ends(k, 16384);
        unsigned char out[1024];
        uint64_t id = 1;
        for (int round = 0; round < 300; round++) { /* some laps */
            uint64_t len = 8 + (id * 37) % 1000;
            message_fill(out, id, len);
            void *slot = NULL;
            switch (round % 4) {
            case 0: CHECK_OK(weir_send(ends.p, out, len, HELP_DEADLINE)); break;
            case 1:
                CHECK_OK(weir_send_more(ends.p, out, len, HELP_DEADLINE));
                CHECK_OK(weir_flush(ends.p));
                break;
            case 2:
                CHECK_OK(weir_reserve(ends.p, 1024, &slot, HELP_DEADLINE));
                CHECK(((uintptr_t)slot & 7) == 0);
                memcpy(slot, out, len);
                CHECK_OK(weir_commit(ends.p, len));
                break;
            default:
                CHECK_OK(weir_reserve(ends.p, len, &slot, HELP_DEADLINE));
                memcpy(slot, out, len);
                CHECK_STATUS(weir_commit(ends.p, len + 1), WEIR_E_INVALID); /* it stays reserved */
                CHECK_OK(weir_commit_more(ends.p, len));
                CHECK_OK(weir_flush(ends.p));
            }
            CHECK_STATUS(weir_commit(ends.p, 8), WEIR_E_STATE);
            CHECK(get(ends.c, round / 4 % 3) == id);
            id++;
        }
        CHECK_OK(weir_flush(ends.p));
        CHECK_OK(weir_channel_drain(ends.p, HELP_DEADLINE));
        weir_channel_facts facts = facts_of(ends.c);
        CHECK(facts.lost == 0 && facts.redelivered == 0);
        close_ends(ends);
    }
}

Test(kinds_calls, a_batch_appears_at_once)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k) {
        if (k->kind == WEIR_LATEST) /* each is published */
            continue;
        struct ends ends = open_ends(k, 65536);
        for (uint64_t id = 1; id <= 3; id++)
            CHECK_OK(weir_send_more(ends.p, &id, sizeof id, WEIR_NOWAIT));
        CHECK_STATUS(receive_nothing(ends.c, WEIR_NOWAIT), WEIR_EMPTY);
        CHECK_STATUS(receive_nothing(ends.c, WEIR_MILLISECONDS(1)), WEIR_TIMEOUT);
        CHECK_OK(weir_flush(ends.p));
        for (uint64_t id = 1; id <= 3; id++)
            receive_id(ends.c, id);
        uint64_t id = 4;
        CHECK_OK(weir_send_more(ends.p, &id, sizeof id, WEIR_NOWAIT));
        CHECK_OK(send_id(ends.p, 5, WEIR_NOWAIT));
        receive_id(ends.c, 4);
        receive_id(ends.c, 5);
        id = 6;
        CHECK_OK(weir_send_more(ends.p, &id, sizeof id, WEIR_NOWAIT));
        CHECK_OK(weir_channel_close(ends.p));
        receive_id(ends.c, 6);
        CHECK_STATUS(receive_nothing(ends.c, WEIR_NOWAIT), WEIR_CLOSED);
        CHECK_OK(weir_channel_close(ends.c));
    }
}

Test(kinds_calls, an_array_comes_whole_and_says_how_many_went)
{
    (void)support_shm_dir();
    static uint64_t ids[20000];
    for (uint64_t i = 0; i < 20000; i++)
        ids[i] = i + 1;
    FOR_EACH_KIND(k) {
        struct ends ends = open_ends(k, 4096);
        uint32_t sent = 99;
        CHECK_OK(weir_send_array(ends.p, ids, 8, 0, &sent, WEIR_NOWAIT));
        CHECK(sent == 0);
        CHECK_OK(weir_send_array(ends.p, ids, 8, 3, &sent, WEIR_NOWAIT));
        CHECK(sent == 3);
        if (k->kind == WEIR_LATEST) {
            receive_id(ends.c, 3);
            close_ends(ends);
            continue;
        }
        weir_status status = weir_send_array(ends.p, ids + 3, 8, 10000, &sent, WEIR_NOWAIT);
        CHECK(status == (k->waits ? WEIR_FULL : WEIR_OK));
        CHECK(k->waits ? sent > 0 && sent < 10000 : sent == 10000);
        uint32_t last = 3 + sent;
        status = weir_send_array(ends.p, ids + last, 8, 5, &sent, WEIR_MILLISECONDS(5));
        CHECK(status == (k->waits ? WEIR_TIMEOUT : WEIR_OK));
        CHECK(sent == (k->waits ? 0 : 5));
        last += sent;
        uint64_t got = 0, lost = 0, expected = 1;
        uint32_t len;
        while ((status = weir_receive(ends.c, &got, 8, &len, WEIR_NOWAIT)) == WEIR_OK) {
            expected += message_of(ends.c).lost;
            lost += message_of(ends.c).lost;
            CHECK(got == expected);
            expected++;
        }
        CHECK(status == WEIR_EMPTY && expected == last + 1);
        CHECK(k->waits ? lost == 0 : lost > 0);
        CHECK(facts_of(ends.c).lost == lost);
        CHECK(k->waits ? facts_of(ends.p).full > 0 : facts_of(ends.p).full == 0);
        close_ends(ends);
    }
}

Test(kinds_calls, full_and_timeout_and_room_again)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k) {
        struct ends ends = open_ends(k, 4096);
        if (!k->waits) { /* never */
            for (uint64_t id = 1; id < 10000; id++)
                CHECK_OK(send_id(ends.p, id, WEIR_NOWAIT));
            CHECK(facts_of(ends.p).full == 0);
            close_ends(ends);
            continue;
        }
        weir_status last;
        void *slot;
        uint64_t end = send_until_full(ends.p, 1, &last), full = facts_of(ends.p).full;
        CHECK(last == WEIR_FULL && end > 1 && full > 0);
        CHECK_STATUS(send_id(ends.p, end, WEIR_MILLISECONDS(3)), WEIR_TIMEOUT);
        CHECK_STATUS(weir_reserve(ends.p, 8, &slot, WEIR_NOWAIT), WEIR_FULL);
        CHECK_STATUS(weir_channel_drain(ends.p, WEIR_NOWAIT), WEIR_FULL);
        CHECK_STATUS(weir_channel_drain(ends.p, WEIR_MILLISECONDS(3)), WEIR_TIMEOUT);
        CHECK(facts_of(ends.p).full == full + 2);
        for (uint64_t id = 1; id < end; id++)
            receive_id(ends.c, id);
        CHECK_STATUS(receive_nothing(ends.c, WEIR_NOWAIT), WEIR_EMPTY);
        CHECK_OK(weir_channel_drain(ends.p, WEIR_NOWAIT));
        CHECK_OK(send_id(ends.p, end, WEIR_NOWAIT));
        receive_id(ends.c, end);
        close_ends(ends);
    }
}

Test(kinds_calls, a_call_that_the_role_does_not_have_is_a_wrong_state)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k) {
        struct ends ends = open_ends(k, 4096);
        uint64_t word = 0;
        const void *msg;
        void *slot;
        uint32_t len, sent = 5;
        weir_message message;
        CHECK_STATUS(receive_nothing(ends.p, WEIR_FOREVER), WEIR_E_STATE);
        CHECK_STATUS(weir_receive_more(ends.p, &word, 8, &len, WEIR_NOWAIT), WEIR_E_STATE);
        CHECK_STATUS(weir_peek(ends.p, &msg, &len, WEIR_FOREVER), WEIR_E_STATE);
        CHECK_STATUS(weir_release(ends.p), WEIR_E_STATE);
        CHECK_STATUS(weir_channel_message(ends.p, &message), WEIR_E_STATE);
        CHECK_STATUS(weir_send(ends.c, &word, 8, WEIR_FOREVER), WEIR_E_STATE);
        CHECK_STATUS(weir_send(ends.c, &word, 0, WEIR_FOREVER), WEIR_E_STATE);
        CHECK_STATUS(weir_send_more(ends.c, &word, 8, WEIR_FOREVER), WEIR_E_STATE);
        CHECK_STATUS(weir_send_array(ends.c, &word, 8, 1, &sent, WEIR_FOREVER), WEIR_E_STATE);
        CHECK(sent == 0);
        CHECK_STATUS(weir_reserve(ends.c, 8, &slot, WEIR_FOREVER), WEIR_E_STATE);
        CHECK_STATUS(weir_commit(ends.c, 8), WEIR_E_STATE);
        CHECK_STATUS(weir_flush(ends.c), WEIR_E_STATE);
        CHECK_STATUS(weir_channel_drain(ends.c, WEIR_FOREVER), WEIR_E_STATE);
        CHECK_OK(weir_release(ends.c));
        CHECK_OK(send_id(ends.p, 1, WEIR_NOWAIT));
        receive_id(ends.c, 1);
        close_ends(ends);
    }
}

Test(kinds_calls, a_forked_childs_handle_says_so_and_harms_nobody)
{
    const char *dir = support_shm_dir();
    FOR_EACH_KIND(k) {
        struct ends ends = open_ends(k, 4096);
        CHECK_OK(send_id(ends.p, 1, WEIR_NOWAIT));
        pid_t child = child_fork();
        if (child == 0) {
            uint64_t word = 0;
            const void *msg;
            void *slot;
            uint32_t len, sent;
            weir_channel_facts facts;
            weir_message message;
            CHECK_STATUS(send_id(ends.p, 2, WEIR_FOREVER), WEIR_E_FORKED);
            CHECK_STATUS(weir_send_array(ends.p, &word, 8, 1, &sent, WEIR_FOREVER), WEIR_E_FORKED);
            CHECK_STATUS(weir_reserve(ends.p, 8, &slot, WEIR_FOREVER), WEIR_E_FORKED);
            CHECK_STATUS(weir_commit(ends.p, 8), WEIR_E_FORKED);
            CHECK_STATUS(weir_flush(ends.p), WEIR_E_FORKED);
            CHECK_STATUS(weir_channel_drain(ends.p, WEIR_FOREVER), WEIR_E_FORKED);
            CHECK_STATUS(weir_channel_info(ends.p, &facts), WEIR_E_FORKED);
            CHECK_STATUS(receive_nothing(ends.c, WEIR_FOREVER), WEIR_E_FORKED);
            CHECK_STATUS(weir_peek(ends.c, &msg, &len, WEIR_FOREVER), WEIR_E_FORKED);
            CHECK_STATUS(weir_release(ends.c), WEIR_E_FORKED);
            CHECK_STATUS(weir_channel_message(ends.c, &message), WEIR_E_FORKED);
            close_ends(ends);
            _exit(0);
        }
        CHECK(support_wait(child) == 0);
        receive_id(ends.c, 1);
        CHECK_OK(send_id(ends.p, 2, WEIR_NOWAIT));
        receive_id(ends.c, 2);
        CHECK(facts_of(ends.c).producers_alive == 1);
        close_ends(ends);
        CHECK(support_entries(dir, true) == 0);
    }
}

Test(kinds_calls, facts_tell_who_came_who_lives_and_who_died)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k)
        for (weir_role role = WEIR_PRODUCER; role <= WEIR_CONSUMER; role++) {
            bool many = role == WEIR_PRODUCER ? k->producers : k->consumers;
            weir_channel *mine = open_kind(NAME, k->kind, role == WEIR_PRODUCER ? WEIR_CONSUMER : WEIR_PRODUCER, 4096);
            weir_channel_options options = { .kind = k->kind };
            uint32_t count = many ? 3 : 1;
            for (uint32_t round = 0; round < 2; round++) {
                pid_t child[3];
                for (uint32_t i = 0; i < count; i++)
                    child[i] = child_stands(NAME, role, options, works_not);
                weir_channel_facts facts = facts_of(mine);
                weir_participant of = role == WEIR_PRODUCER ? facts.producer : facts.consumer;
                CHECK(of.generation == (round + 1) * count && of.deaths == round * count);
                CHECK(of.presence == WEIR_ALIVE);
                CHECK((role == WEIR_PRODUCER ? facts.producers_alive : facts.consumers_alive) == count);
                for (uint32_t i = 0; i < count; i++)
                    child_kill(child[i]);
                facts = facts_of(mine);
                of = role == WEIR_PRODUCER ? facts.producer : facts.consumer;
                CHECK(of.deaths == (round + 1) * count && of.presence == WEIR_DEAD);
                CHECK((role == WEIR_PRODUCER ? facts.producers_alive : facts.consumers_alive) == 0);
            }
            CHECK_OK(weir_channel_close(mine));
        }
}

Test(kinds_calls, who_leaves_and_comes_again_goes_on_where_it_was)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k) {
        if (k->kind == WEIR_BROADCAST || k->kind == WEIR_LATEST) /* nobody waits for who is not there */
            continue;
        struct ends ends = open_ends(k, 16384);
        for (uint64_t id = 1; id <= 10; id++)
            CHECK_OK(send_id(ends.p, id, WEIR_NOWAIT));
        receive_id(ends.c, 1);
        uint64_t got;
        uint32_t len;
        CHECK_OK(weir_receive_more(ends.c, &got, 8, &len, WEIR_NOWAIT)); /* 2, never released */
        CHECK(got == 2);
        CHECK_OK(weir_channel_close(ends.c));
        ends.c = open_kind(NAME, k->kind, WEIR_CONSUMER, 0);
        for (uint64_t id = 2; id <= 10; id++) {
            receive_id(ends.c, id);
            CHECK(message_of(ends.c).redelivered == (k->kind == WEIR_MPMC && id <= 5)); /* it had claimed half */
        }
        CHECK_OK(weir_channel_close(ends.p));
        ends.p = open_kind(NAME, k->kind, WEIR_PRODUCER, 0);
        CHECK_OK(send_id(ends.p, 11, WEIR_NOWAIT));
        receive_id(ends.c, 11);
        close_ends(ends);
    }
}

/* Only a work queue's: the next message may be had by nobody who holds the one before it. */
Test(kinds_calls, a_receive_that_is_given_too_little_room_gives_back_what_is_held_of_a_work_queue_alone)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k) {
        if (k->kind == WEIR_BROADCAST || k->kind == WEIR_LATEST) /* their producers wait for no release */
            continue;
        struct ends ends = open_ends(k, 16384);
        const void *msg;
        uint32_t len;
        char little[4];
        for (uint64_t id = 1; id <= 2; id++)
            CHECK_OK(send_id(ends.p, id, WEIR_NOWAIT));
        CHECK_OK(weir_peek(ends.c, &msg, &len, WEIR_NOWAIT));
        CHECK_STATUS(weir_receive(ends.c, little, sizeof little, &len, WEIR_NOWAIT), WEIR_E_TOO_SMALL);
        CHECK_OK(weir_channel_close(ends.c));
        ends.c = open_kind(NAME, k->kind, WEIR_CONSUMER, 0);
        for (uint64_t id = k->kind == WEIR_MPMC ? 2 : 1; id <= 2; id++)
            receive_id(ends.c, id);
        CHECK(receive_nothing(ends.c, WEIR_NOWAIT) == WEIR_EMPTY);
        close_ends(ends);
    }
}

Test(kinds_calls, what_is_known_of_the_last_message_stays_known_when_no_more_come)
{
    (void)support_shm_dir();
    struct ends ends = open_ends(&kind_rows[4], 4096);
    for (uint64_t id = 0; id < 1000; id++)
        CHECK_OK(send_id(ends.p, id, WEIR_NOWAIT));
    uint64_t got;
    uint32_t len;
    CHECK_OK(weir_receive(ends.c, &got, 8, &len, WEIR_NOWAIT));
    CHECK(got > 0 && message_of(ends.c).lost == got);
    while (receive_nothing(ends.c, WEIR_NOWAIT) == WEIR_OK)
        continue;
    for (uint64_t id = 1000; id < 2000; id++)
        CHECK_OK(send_id(ends.p, id, WEIR_NOWAIT));
    uint64_t last = 999;
    while (weir_receive(ends.c, &got, 8, &len, WEIR_NOWAIT) == WEIR_OK) {
        CHECK(message_of(ends.c).lost == got - last - 1);
        last = got;
        CHECK_STATUS(weir_receive(ends.c, &got, 0, &len, WEIR_NOWAIT), last < 1999 ? WEIR_E_TOO_SMALL : WEIR_EMPTY);
        (void)message_of(ends.c);
    }
    CHECK(last == 1999);
    CHECK_STATUS(receive_nothing(ends.c, WEIR_NOWAIT), WEIR_EMPTY);
    close_ends(ends);

    weir_channel *first = open_kind(NAME, WEIR_MPSC, WEIR_PRODUCER, 4096);
    ends = (struct ends){ open_kind(NAME, WEIR_MPSC, WEIR_PRODUCER, 0), open_kind(NAME, WEIR_MPSC, WEIR_CONSUMER, 0) };
    CHECK_OK(send_id(ends.p, 1, WEIR_NOWAIT));
    receive_id(ends.c, 1);
    CHECK_STATUS(receive_nothing(ends.c, WEIR_NOWAIT), WEIR_EMPTY);
    CHECK(message_of(ends.c).producer == 1);
    CHECK_OK(weir_channel_close(first));
    close_ends(ends);
}

Test(kinds_calls, a_broadcast_batch_longer_than_the_ring_goes_out_in_parts_and_is_never_full)
{
    (void)support_shm_dir();
    struct ends ends = open_ends(&kind_rows[4], 4096);
    for (uint64_t id = 0; id < 500; id++)
        CHECK_OK(weir_send_more(ends.p, &id, 8, WEIR_NOWAIT));
    CHECK(facts_of(ends.p).full == 0);
    CHECK_OK(weir_flush(ends.p));
    uint64_t got = 0, last = 0;
    uint32_t len;
    while (weir_receive(ends.c, &got, 8, &len, WEIR_NOWAIT) == WEIR_OK)
        last = got;
    CHECK(last == 499);
    close_ends(ends);
}

Test(kinds_calls, a_work_queues_consumer_that_holds_all_it_may_hears_full_and_receive_goes_on)
{
    (void)support_shm_dir();
    struct ends ends = open_ends(&kind_rows[3], 65536);
    for (uint64_t id = 0; id < 40; id++)
        CHECK_OK(send_id(ends.p, id, WEIR_NOWAIT));
    uint64_t id = 0, got;
    uint32_t len;
    weir_status status;
    while ((status = weir_receive_more(ends.c, &got, 8, &len, WEIR_NOWAIT)) == WEIR_OK)
        CHECK(got == id++);
    CHECK(status == WEIR_FULL && id > 0 && id < 40);
    CHECK_STATUS(weir_receive_more(ends.c, &got, 8, &len, HELP_DEADLINE), WEIR_FULL);
    receive_id(ends.c, id++);
    for (; id < 40; id++)
        receive_id(ends.c, id);
    CHECK_STATUS(receive_nothing(ends.c, WEIR_NOWAIT), WEIR_EMPTY);
    CHECK_OK(weir_channel_drain(ends.p, WEIR_NOWAIT));
    close_ends(ends);
}

/* ---- what a poll costs ---- */

static int (*real_lock)(int fd, int command, struct flock *range);
static uint64_t asked;

static int count_lock(int fd, int command, struct flock *range)
{
    asked++;
    return real_lock(fd, command, range);
}

Test(kinds_calls, a_poll_that_finds_nothing_asks_the_kernel_now_and_then)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k)
        for (int side = 0; side < 2; side++) {
            struct ends ends = open_ends(k, 4096);
            weir_channel *more = k->consumers ? open_kind(NAME, k->kind, WEIR_CONSUMER, 0) : NULL;
            weir_status last = WEIR_OK;
            if (side == 1 && k->waits)
                (void)send_until_full(ends.p, 0, &last);
            else if (side == 1)
                CHECK_OK(send_id(ends.p, 0, WEIR_NOWAIT));
            real_lock = weir_linux.lock;
            weir_linux.lock = count_lock;
            asked = 0;
            int64_t start = help_now_ns(), end;
            uint64_t polls = 0;
            while ((end = help_now_ns()) - start < 45 * 1000000) {
                if (side == 0)
                    CHECK_STATUS(receive_nothing(ends.c, WEIR_NOWAIT), WEIR_EMPTY);
                else
                    CHECK_STATUS(weir_channel_drain(ends.p, WEIR_NOWAIT), WEIR_FULL);
                polls++;
            }
            weir_linux.lock = real_lock;
            /* At most every 10 ms, for each that is there and for each that has left something. */
            uint64_t times = (uint64_t)(end - start) / 10000000 + 1;
            CHECK(polls > 100 && asked > 0);
            CHECK(asked <= times * 8);
            CHECK_OK(weir_channel_close(more));
            close_ends(ends);
        }
}
