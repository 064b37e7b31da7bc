/* Channels of every kind: the type that both sides state, and what is counted. */
#include "ipc/endless_sleep.h"
#include "ipc/blocked_calls.h"

#include <criterion/criterion.h>
#include <pthread.h>

#define NAME "facts"

/* ---- the type ---- */

struct point {
    uint64_t x, y;
    uint32_t color;
};

static weir_channel *open_typed(const struct kind_row *k, weir_role role, weir_type type)
{
    weir_channel *channel;
    CHECK_OK(weir_channel_open(&channel, NAME, role, &(weir_channel_options){ .kind = k->kind, .type = type }));
    return channel;
}

static void check_type(weir_channel *channel, weir_type type)
{
    weir_channel_facts facts = facts_of(channel);
    CHECK(strcmp(facts.type, type.name) == 0);
    CHECK(facts.type_size == type.size && facts.type_alignment == type.alignment && facts.type_version == type.version);
}

Test(kinds_facts, each_number_of_the_type_that_differs_is_MISMATCH_and_the_detail_has_both_sides)
{
    (void)support_shm_dir();
    const weir_type stated = { "point", 1024, 8, 31 };
    const weir_type other[] = { { "paint", 1024, 8, 31 }, { "point", 1023, 8, 31 }, { "point", 1024, 16, 31 },
                                { "point", 1024, 8, 30 }, { "point", 1, 0, 0 }, { "point", 0, 1, 0 }, { "point", 0, 0, 1 },
                                { "point ", 0, 0, 0 }, { "poin", 0, 0, 0 } };
    const char *const theirs = "\"point\" (size 1024, alignment 8, version 31)";
    FOR_EACH_KIND(k)
        for (weir_role first = WEIR_PRODUCER; first <= WEIR_CONSUMER; first++) {
            weir_role second = first == WEIR_PRODUCER ? WEIR_CONSUMER : WEIR_PRODUCER;
            weir_channel *own = open_typed(k, first, stated);
            for (unsigned i = 0; i < sizeof other / sizeof other[0]; i++) {
                char ours[160];
                (void)snprintf(ours, sizeof ours, "\"%s\" (size %u, alignment %u, version %u;", other[i].name,
                               other[i].size, other[i].alignment, other[i].version);
                check_refused(NAME, second, (weir_channel_options){ .kind = k->kind, .type = other[i] }, WEIR_E_MISMATCH,
                              theirs, ours);
            }
            CHECK(facts_of(own).producer.generation + facts_of(own).consumer.generation == 1);
            CHECK_STATUS(weir_channel_wait_peer(own, WEIR_NOWAIT), WEIR_EMPTY);
            check_type(own, stated);
            CHECK_OK(weir_channel_close(own));
        }
}

Test(kinds_facts, numbers_that_are_not_stated_agree_with_any)
{
    (void)support_shm_dir();
    const weir_type whole = { "point", 24, 8, 3 };
    FOR_EACH_KIND(k) {
        weir_channel *own = open_typed(k, WEIR_CONSUMER, whole);
        for (int stated = 0; stated < 8; stated++) {
            weir_type part = { "point", stated & 1 ? 24 : 0, stated & 2 ? 8 : 0, stated & 4 ? 3 : 0 };
            weir_channel *peer = open_typed(k, WEIR_PRODUCER, part);
            check_type(peer, whole);
            CHECK_OK(weir_channel_close(peer));
        }
        weir_channel *peer = open_typed(k, WEIR_PRODUCER, (weir_type){ NULL, 0, 0, 0 });
        check_type(peer, whole);
        CHECK_OK(weir_channel_close(peer));
        CHECK_OK(weir_channel_close(own));
    }
}

Test(kinds_facts, the_first_to_state_a_type_fixes_it)
{
    (void)support_shm_dir();
    const weir_type none = { NULL, 0, 0, 0 }, bare = { "point", 0, 0, 0 }, whole = WEIR_TYPE_OF(struct point, 2);
    CHECK(whole.size == sizeof(struct point) && whole.alignment == 8 && whole.version == 2);
    CHECK(strcmp(whole.name, "struct point") == 0);
    FOR_EACH_KIND(k) {
        weir_channel *c = open_typed(k, WEIR_CONSUMER, none);
        check_type(c, (weir_type){ "", 0, 0, 0 });
        weir_channel *p = open_typed(k, WEIR_PRODUCER, whole);
        check_type(c, whole);
        check_type(p, whole);
        CHECK_OK(weir_channel_close(p)); /* the type stays */
        check_refused(NAME, WEIR_PRODUCER, (weir_channel_options){ .kind = k->kind, .type = bare }, WEIR_E_MISMATCH,
                      "struct point", "\"point\"");
        CHECK_OK(weir_channel_close(c));
        c = open_typed(k, WEIR_CONSUMER, bare); /* its numbers are not stated by anybody then */
        p = open_typed(k, WEIR_PRODUCER, (weir_type){ "point", 24, 8, 3 });
        check_type(c, bare);
        CHECK_OK(weir_channel_close(p));
        p = open_typed(k, WEIR_PRODUCER, (weir_type){ "point", 25, 4, 4 });
        CHECK_OK(weir_channel_close(p));
        CHECK_OK(weir_channel_close(c));
    }
}

Test(kinds_facts, a_type_that_is_none_is_INVALID)
{
    const char *dir = support_shm_dir();
    char longest[WEIR_TYPE_MAX + 2];
    memset(longest, 'x', sizeof longest);
    longest[WEIR_TYPE_MAX + 1] = 0;
    const weir_type bad[] = { { "t", 0, 3, 0 }, { "t", 0, 24, 0 }, { "t", 0, UINT32_MAX, 0 }, { NULL, 1, 0, 0 },
                              { "", 0, 8, 0 }, { NULL, 0, 0, 7 }, { longest, 0, 0, 0 } };
    const char *const says[] = { "alignment 3", "alignment 24", "alignment 4294967295", "1 bytes", "alignment 8",
                                 "version 7", "longer than 63" };
    FOR_EACH_KIND(k)
        for (weir_role role = WEIR_PRODUCER; role <= WEIR_CONSUMER; role++)
            for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
                check_refused(NAME, role, (weir_channel_options){ .kind = k->kind, .type = bad[i] }, WEIR_E_INVALID,
                              says[i], "");
    CHECK(support_entries(dir, true) == 0);
    longest[WEIR_TYPE_MAX] = 0;
    FOR_EACH_KIND(k) {
        const weir_type edge = { longest, UINT32_MAX, UINT32_C(1) << 31, UINT32_MAX };
        weir_channel *own = open_typed(k, WEIR_CONSUMER, edge);
        check_type(own, edge);
        CHECK_OK(weir_channel_close(own));
    }
}

/* ---- messages ---- */

/* In every way there is; how many. */
static uint64_t send_in_every_way(weir_channel *p)
{
    uint64_t ids[4] = { 1, 2, 3, 4 };
    uint32_t sent;
    void *slot;
    CHECK_OK(weir_send(p, ids, 8, WEIR_NOWAIT));
    CHECK_OK(weir_send_more(p, ids, 8, WEIR_NOWAIT));
    CHECK_OK(weir_reserve(p, 8, &slot, WEIR_NOWAIT));
    CHECK_OK(weir_reserve(p, 8, &slot, WEIR_NOWAIT)); /* which takes the first one's place */
    memcpy(slot, ids, 8);
    CHECK_OK(weir_commit(p, 8));
    CHECK_OK(weir_reserve(p, 8, &slot, WEIR_NOWAIT));
    memcpy(slot, ids, 8);
    CHECK_OK(weir_commit_more(p, 8));
    CHECK_OK(weir_send_array(p, ids, 8, 4, &sent, WEIR_NOWAIT));
    CHECK_OK(weir_send_array(p, ids, 8, 0, &sent, WEIR_NOWAIT));
    CHECK_OK(weir_send_pieces(p, (weir_piece[]){ { ids, 3 }, { ids, 5 } }, 2, WEIR_NOWAIT));
    CHECK_STATUS(weir_send(p, ids, UINT32_MAX, WEIR_NOWAIT), WEIR_E_TOO_LARGE);
    CHECK_STATUS(weir_commit(p, 8), WEIR_E_STATE);
    CHECK_OK(weir_flush(p));
    return 9;
}

static uint64_t receive_in_every_way(weir_channel *c)
{
    uint64_t count = 0, got;
    uint32_t len;
    const void *msg;
    weir_status status;
    do {
        switch (count % 3) {
        case 0: status = weir_receive(c, &got, 8, &len, WEIR_NOWAIT); break;
        case 1: status = weir_receive_more(c, &got, 8, &len, WEIR_NOWAIT); break;
        default: status = weir_peek(c, &msg, &len, WEIR_NOWAIT); break;
        }
        count += status == WEIR_OK;
        if (status == WEIR_OK && count % 3 == 1) { /* one that stays is not received */
            weir_status small = weir_receive(c, &got, 0, &len, WEIR_NOWAIT);
            CHECK(small == WEIR_E_TOO_SMALL || small == WEIR_EMPTY);
        }
        if (count % 3 == 0 || status == WEIR_FULL) /* a work queue's consumer holds no more */
            CHECK_OK(weir_release(c));
    } while (status == WEIR_OK || status == WEIR_FULL);
    CHECK_STATUS(status, WEIR_EMPTY);
    CHECK_OK(weir_release(c));
    return count;
}

Test(kinds_facts, a_message_counts_once_at_each_end_however_it_goes)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k) {
        struct blocked b = { .kind = k };
        b.p = open_kind(NAME, k->kind, WEIR_PRODUCER, 1 << 16);
        b.c = open_kind(NAME, k->kind, WEIR_CONSUMER, 0);
        uint64_t sent = 0, received = 0;
        for (int round = 0; round < 50; round++) {
            sent += send_in_every_way(b.p);
            received += receive_in_every_way(b.c);
            CHECK(facts_of(b.p).messages == sent && facts_of(b.c).messages == received);
        }
        CHECK(k->kind == WEIR_LATEST ? received == 50 : received == sent);
        weir_channel_facts p = facts_of(b.p), c = facts_of(b.c);
        CHECK(p.full + p.sleeps + p.woken + p.recovered + p.lost + p.redelivered == 0);
        CHECK(c.full + c.sleeps + c.woken + c.recovered + c.lost + c.redelivered == 0);
        blocked_close(&b);
    }
}

/* ---- a place's next holder ---- */

Test(kinds_facts, who_takes_a_place_starts_at_0_and_the_places_total_goes_on)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k) {
        weir_channel *c = open_kind(NAME, k->kind, WEIR_CONSUMER, 0), *p;
        struct third third;
        uint64_t total = 0;
        for (int holder = 0; holder < 3; holder++) {
            p = open_kind(NAME, k->kind, WEIR_PRODUCER, 1 << 17);
            CHECK(facts_of(p).slot == 0 && facts_of(p).messages == 0 && facts_of(p).full == 0);
            uint64_t own = 0;
            for (int i = 0; i <= holder; i++)
                own += send_in_every_way(p);
            total += own;
            CHECK(facts_of(p).messages == own);
            third_open(&third, NAME);
            CHECK(weir_load_acq(&third.layout->member[0].count[WEIR_COUNT_MESSAGES]) == total);
            third_close(&third);
            CHECK_OK(weir_channel_close(p));
        }
        uint64_t received = 0, got;
        uint32_t len;
        while (weir_receive(c, &got, 8, &len, WEIR_NOWAIT) == WEIR_OK)
            received++;
        CHECK(facts_of(c).messages == received && received > 0);
        p = open_kind(NAME, k->kind, WEIR_PRODUCER, 0);
        CHECK_OK(weir_channel_close(c));
        c = open_kind(NAME, k->kind, WEIR_CONSUMER, 0);
        CHECK(facts_of(c).slot == 0 && facts_of(c).messages == 0);
        third_open(&third, NAME);
        weir_channel_member *member = &third.layout->member[facts_of(c).producers];
        CHECK(weir_load_acq(&member->count[WEIR_COUNT_MESSAGES]) == received);
        CHECK(weir_load_acq(&member->process) == (uint64_t)getpid());
        third_close(&third);
        CHECK_OK(weir_channel_close(c));
        CHECK_OK(weir_channel_close(p));
    }
}

/* ---- waiting ---- */

static weir_atomic_u64 slept;

static void *end_the_sleep(void *arg)
{
    struct blocked *b = arg;
    int64_t deadline = help_now_ns() + HELP_DEADLINE;
    while (!endless_is_asleep(&slept, 0)) {
        CHECK(help_now_ns() < deadline);
        (void)usleep(20);
    }
    blocked_end(b);
    return NULL;
}

Test(kinds_facts, a_call_without_room_counts_full_and_a_sleep_counts_and_whether_a_peer_ended_it)
{
    (void)support_shm_dir();
    struct blocked b;
    FOR_EACH_BLOCKED(&b, WEIR_WAIT_SLEEP) {
        bool sends = how >= BLOCKED_SEND && how <= BLOCKED_PIECES;
        uint64_t full = sends ? facts_of(b.own).full : 0; /* that it took to fill it: 1 */
        CHECK(full == sends);
        CHECK_STATUS(blocked_call(&b, WEIR_NOWAIT), b.none);
        CHECK(facts_of(b.own).full == full + sends && facts_of(b.own).sleeps == 0);
        weir_channel_facts before;
        uint64_t calls = 1;
        do { /* its time may be over before it sleeps */
            CHECK_STATUS(blocked_call(&b, WEIR_MILLISECONDS(1)), WEIR_TIMEOUT);
            before = facts_of(b.own);
            CHECK(before.full == full + ++calls * sends);
        } while (before.sleeps == 0);
        CHECK(before.woken == 0);
        weir_store_rel(&slept, 0);
        endless_sleeps = &slept;
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, end_the_sleep, &b) == 0);
        CHECK_OK(blocked_call(&b, WEIR_FOREVER));
        CHECK(pthread_join(thread, NULL) == 0);
        endless_sleeps = NULL;
        weir_channel_facts after = facts_of(b.own);
        CHECK(how == BLOCKED_ARRAY ? after.full > before.full /* once more for each part of it */
                                   : after.full == before.full + sends);
        CHECK(after.sleeps > before.sleeps && after.woken > 0);
        CHECK(after.woken <= after.sleeps - before.sleeps);
        blocked_close(&b);
    }
}

static void *sleeps_in_vain(void *arg)
{
    for (int i = 0; i < 3; i++)
        CHECK_STATUS(receive_nothing(arg, WEIR_MILLISECONDS(100)), WEIR_TIMEOUT);
    return NULL;
}

Test(kinds_facts, who_shares_a_word_does_not_count_anothers_arming_as_a_wake)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k) {
        if (!k->consumers)
            continue;
        weir_channel_options options = { .kind = k->kind, .wait = WEIR_WAIT_SLEEP };
        weir_channel *p = open_kind(NAME, k->kind, WEIR_PRODUCER, 4096), *c[2];
        for (int i = 0; i < 2; i++)
            CHECK_OK(weir_channel_open(&c[i], NAME, WEIR_CONSUMER, &options));
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, sleeps_in_vain, c[0]) == 0);
        for (int i = 0; i < 100; i++)
            CHECK_STATUS(receive_nothing(c[1], WEIR_MILLISECONDS(2)), WEIR_TIMEOUT);
        CHECK(pthread_join(thread, NULL) == 0);
        for (int i = 0; i < 2; i++) {
            CHECK(facts_of(c[i]).sleeps > 2 && facts_of(c[i]).woken == 0);
            CHECK_OK(weir_channel_close(c[i]));
        }
        CHECK_OK(weir_channel_close(p));
    }
}

/* ---- what was lost, and what the dead had ---- */

Test(kinds_facts, lost_is_what_each_message_says_together)
{
    (void)support_shm_dir();
    struct blocked b;
    CHECK(blocked_open(&b, &kind_rows[4], BLOCKED_RECEIVE, WEIR_WAIT_SPIN_SLEEP));
    uint64_t id = 0, last = 0, lost = 0, received = 0, got;
    uint32_t len;
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 1000; i++)
            CHECK_OK(send_id(b.p, ++id, WEIR_NOWAIT));
        while (weir_receive(b.c, &got, 8, &len, WEIR_NOWAIT) == WEIR_OK) {
            lost += got - last - 1;
            CHECK(message_of(b.c).lost == got - last - 1 && facts_of(b.c).lost == lost);
            last = got;
            received++;
        }
    }
    CHECK(last == id && lost > 0 && received + lost == id);
    CHECK(facts_of(b.c).messages == received && facts_of(b.p).messages == id);
    blocked_close(&b);
}

static void claims_some(weir_channel *own)
{
    uint64_t got;
    uint32_t len;
    CHECK_OK(weir_receive_more(own, &got, 8, &len, WEIR_NOWAIT));
}

Test(kinds_facts, recovered_counts_each_of_the_dead_whose_work_was_taken_over)
{
    (void)support_shm_dir();
    weir_channel *p = open_kind(NAME, WEIR_MPMC, WEIR_PRODUCER, 65536);
    weir_channel *c = open_kind(NAME, WEIR_MPMC, WEIR_CONSUMER, 0);
    for (uint64_t dead = 1; dead <= 3; dead++) {
        for (uint64_t id = 0; id < 10; id++)
            CHECK_OK(send_id(p, id, WEIR_NOWAIT));
        child_kill(child_stands(NAME, WEIR_CONSUMER, (weir_channel_options){ .kind = WEIR_MPMC }, claims_some));
        uint64_t got;
        uint32_t len;
        for (int left = 10; left > 0; left--)
            CHECK_OK(weir_receive(c, &got, 8, &len, HELP_DEADLINE));
        CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_EMPTY);
        CHECK(facts_of(c).recovered == dead && facts_of(c).messages == 10 * dead);
    }
    CHECK(facts_of(c).redelivered > 0);
    CHECK_OK(weir_channel_close(c));
    CHECK_OK(weir_channel_close(p));
}
