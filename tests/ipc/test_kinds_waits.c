/* Channels of every kind: deadlines, waiting for a peer, messages of several pieces. */
#include "ipc/endless_sleep.h"
#include "ipc/blocked_calls.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <weir/ipc/channel_private.h>
#include <weir/naming/os_linux.h>

/* ---- deadlines ---- */

Test(kinds_waits, a_deadline_in_the_past_looks_once_and_does_not_sleep)
{
    (void)support_shm_dir();
    const int64_t past[] = { 0, -1, INT64_MIN, 1000000, weir_now() - 1, weir_now() };
    struct blocked b;
    FOR_EACH_BLOCKED(&b, WEIR_WAIT_SLEEP) {
        for (unsigned i = 0; i < sizeof past / sizeof past[0]; i++)
            CHECK_STATUS(blocked_call(&b, weir_until(past[i])), WEIR_TIMEOUT);
        CHECK(facts_of(b.own).sleeps == 0);
        blocked_end_unsent(&b);
        CHECK_OK(blocked_call(&b, weir_until(-1)));
        blocked_close(&b);
    }
}

Test(kinds_waits, calls_that_share_a_deadline_wait_for_it_together)
{
    (void)support_shm_dir();
    struct blocked b;
    for (int wait = WEIR_WAIT_SPIN_SLEEP; wait <= WEIR_WAIT_SLEEP; wait++)
        FOR_EACH_BLOCKED(&b, (weir_wait)wait) {
            int64_t deadline = weir_now() + 2000000;
            CHECK_STATUS(blocked_call(&b, weir_until(deadline)), WEIR_TIMEOUT);
            CHECK(weir_now() >= deadline);
            uint64_t sleeps = facts_of(b.own).sleeps;
            for (int i = 0; i < 3; i++)
                CHECK_STATUS(blocked_call(&b, weir_until(deadline)), WEIR_TIMEOUT);
            CHECK(facts_of(b.own).sleeps == sleeps);
            blocked_end_unsent(&b);
            CHECK_OK(blocked_call(&b, weir_until(deadline)));
            blocked_close(&b);
        }
}

Test(kinds_waits, every_point_in_time_is_a_timeout_of_its_own_range)
{
    const int64_t points[] = { 0, 1, 1000000000, INT64_MAX / 2 - 1, INT64_MAX / 2 };
    for (unsigned i = 0; i < 5; i++) {
        CHECK(weir_until(points[i]) == INT64_MIN + points[i]);
        CHECK(weir_until(points[i]) < INT64_MIN / 2);
    }
    CHECK(weir_until(INT64_MAX) == weir_until(INT64_MAX / 2));
    CHECK(weir_until(INT64_MAX / 2 + 1) == weir_until(INT64_MAX / 2));
    CHECK(weir_until(INT64_MIN) == weir_until(0) && weir_until(-1) == weir_until(0));
    CHECK(weir_until(weir_now()) != WEIR_FOREVER && weir_until(0) != WEIR_NOWAIT);
    int64_t before = help_now_ns(), now = weir_now();
    CHECK(before <= now && now <= help_now_ns());
}

/* ---- waiting for a peer ---- */

static weir_role other_role(weir_role role) { return role == WEIR_PRODUCER ? WEIR_CONSUMER : WEIR_PRODUCER; }

#define FOR_EACH_KIND_AND_ROLE(k, role)                                                                                \
    FOR_EACH_KIND(k)                                                                                                   \
        for (weir_role role = WEIR_PRODUCER; role <= WEIR_CONSUMER; role++)

Test(kinds_waits, wait_peer_tells_who_is_there_from_who_has_left)
{
    (void)support_shm_dir();
    FOR_EACH_KIND_AND_ROLE(k, role) {
        weir_channel *own = open_kind("peer", k->kind, role, 0);
        CHECK_STATUS(weir_channel_wait_peer(own, WEIR_NOWAIT), WEIR_EMPTY);
        CHECK_STATUS(weir_channel_wait_peer(own, WEIR_MILLISECONDS(1)), WEIR_TIMEOUT);
        for (int i = 0; i < 3; i++) {
            weir_channel *peer = open_kind("peer", k->kind, other_role(role), 0);
            CHECK_OK(weir_channel_wait_peer(own, WEIR_NOWAIT));
            CHECK_OK(weir_channel_wait_peer(peer, WEIR_NOWAIT));
            CHECK_OK(weir_channel_wait_peer(own, WEIR_FOREVER));
            CHECK_OK(weir_channel_close(peer));
            CHECK_STATUS(weir_channel_wait_peer(own, WEIR_NOWAIT), WEIR_EMPTY);
            CHECK_STATUS(weir_channel_wait_peer(own, WEIR_MILLISECONDS(1)), WEIR_TIMEOUT);
        }
        if (role == WEIR_CONSUMER) /* the end is not told by it, nor taken away */
            CHECK_STATUS(receive_nothing(own, WEIR_NOWAIT), WEIR_CLOSED);
        own->busy = 1; /* as a handler inside another call finds it */
        CHECK_STATUS(weir_channel_wait_peer(own, WEIR_NOWAIT), WEIR_E_BUSY);
        own->busy = 0;
        CHECK_OK(weir_channel_close(own));
    }
}

Test(kinds_waits, wait_peer_counts_no_dead_and_the_one_that_comes_after_at_once)
{
    (void)support_shm_dir();
    FOR_EACH_KIND_AND_ROLE(k, role) {
        weir_channel *own = open_kind("peer", k->kind, role, 0);
        for (int i = 0; i < 2; i++) {
            child_kill(child_stands("peer", other_role(role), (weir_channel_options){ .kind = k->kind }, works_not));
            CHECK_STATUS(weir_channel_wait_peer(own, WEIR_NOWAIT), WEIR_EMPTY);
            CHECK_STATUS(weir_channel_wait_peer(own, WEIR_MILLISECONDS(1)), WEIR_TIMEOUT);
            weir_channel *peer = open_kind("peer", k->kind, other_role(role), 0);
            CHECK_OK(weir_channel_wait_peer(own, WEIR_NOWAIT)); /* however lately the kernel was asked */
            CHECK_OK(weir_channel_close(peer));
        }
        CHECK_OK(weir_channel_close(own));
    }
}

Test(kinds_waits, wait_peer_believes_its_own_look_after_another_calls)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k) {
        struct blocked b;
        CHECK(blocked_open(&b, k, BLOCKED_DRAIN, WEIR_WAIT_SLEEP));
        CHECK_STATUS(weir_channel_drain(b.p, WEIR_NOWAIT), WEIR_FULL); /* asks the kernel who is there */
        CHECK_OK(weir_channel_wait_peer(b.p, WEIR_NOWAIT));
        CHECK_OK(weir_channel_wait_peer(b.c, WEIR_NOWAIT));
        blocked_close(&b);
    }
}

static int (*real_lock)(int fd, int command, struct flock *range);

static int no_lock(int fd, int command, struct flock *range)
{
    (void)fd, (void)command, (void)range;
    errno = ENOLCK;
    return -1;
}

Test(kinds_waits, wait_peer_says_that_the_kernel_does_not_answer_and_asks_again)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k) {
        struct blocked b;
        CHECK(blocked_open(&b, k, BLOCKED_DRAIN, WEIR_WAIT_SLEEP));
        real_lock = weir_linux.lock;
        weir_linux.lock = no_lock;
        weir_status without[] = { weir_channel_wait_peer(b.p, WEIR_NOWAIT), weir_channel_wait_peer(b.c, HELP_DEADLINE) };
        weir_linux.lock = real_lock;
        CHECK_STATUS(without[0], WEIR_E_OS);
        CHECK_STATUS(without[1], WEIR_E_OS);
        CHECK_OK(weir_channel_wait_peer(b.p, WEIR_NOWAIT));
        CHECK_OK(weir_channel_wait_peer(b.c, WEIR_NOWAIT));
        blocked_close(&b);
    }
}

static weir_atomic_u64 slept;
static struct {
    const struct kind_row *kind;
    weir_role role;
    uint64_t last;
    weir_channel *channel;
} comer;

static void *come_when_it_sleeps(void *unused)
{
    int64_t deadline = help_now_ns() + HELP_DEADLINE;
    while (!endless_is_asleep(&slept, comer.last)) {
        CHECK(help_now_ns() < deadline);
        (void)usleep(20);
    }
    comer.channel = open_kind("peer", comer.kind->kind, comer.role, 0);
    return unused;
}

/* Before any ring, behind one that has left, and behind one that was killed. */
Test(kinds_waits, who_comes_wakes_who_waits_for_a_peer)
{
    (void)support_shm_dir();
    endless_sleeps = &slept;
    FOR_EACH_KIND_AND_ROLE(k, role) {
        weir_channel_options options = { .kind = k->kind, .wait = WEIR_WAIT_SLEEP };
        weir_channel *own;
        CHECK_OK(weir_channel_open(&own, "peer", role, &options));
        for (int before = 0; before < 3; before++) {
            if (before == 2) {
                endless_sleeps = NULL;
                child_kill(child_stands("peer", other_role(role), options, works_not));
                endless_sleeps = &slept;
            }
            comer.kind = k;
            comer.role = other_role(role);
            comer.last = weir_load_acq(&slept);
            pthread_t thread;
            CHECK(pthread_create(&thread, NULL, come_when_it_sleeps, NULL) == 0);
            CHECK_OK(weir_channel_wait_peer(own, HELP_DEADLINE));
            CHECK(pthread_join(thread, NULL) == 0);
            CHECK_OK(weir_channel_close(comer.channel));
        }
        CHECK_OK(weir_channel_close(own));
    }
}

/* What the second producer waits for is given back by calls that are inline, of what the consumer has in hand. */
static void check_whom_the_hand_wakes(weir_kind kind)
{
    weir_channel *p[2], *c;
    const void *msg;
    uint64_t id = 0;
    uint32_t len;
    weir_channel_options options = { .kind = kind, .record_bytes = sizeof id };
    for (unsigned i = 0; i < 2; i++)
        CHECK_OK(weir_channel_open(&p[i], "hand", WEIR_PRODUCER, &options));
    CHECK_OK(weir_channel_open(&c, "hand", WEIR_CONSUMER, &options));
    for (unsigned i = 0; i < 8; i++)
        CHECK_OK(weir_send(p[1], &id, sizeof id, WEIR_NOWAIT));
    weir_channel_member *member = channel_cold(c)->layout->member;
    for (unsigned i = 0; i < 4; i++) {
        weir_store32_rlx(&member[0].sleeper.armed, 1);
        weir_store32_rlx(&member[1].sleeper.armed, 1);
        if (i < 2) {
            CHECK_OK(weir_receive(c, &id, sizeof id, &len, WEIR_NOWAIT));
        } else {
            CHECK_OK(weir_peek(c, &msg, &len, WEIR_NOWAIT));
            CHECK_OK(weir_release(c));
        }
        CHECK(weir_load32_rlx(&member[1].sleeper.armed) == 0 && weir_load32_rlx(&member[0].sleeper.armed) == 1);
    }
    CHECK_OK(weir_channel_close(c));
    for (unsigned i = 0; i < 2; i++)
        CHECK_OK(weir_channel_close(p[i]));
}

Test(kinds_waits, who_reads_on_in_a_lane_wakes_that_lanes_producer_and_no_other)
{
    (void)support_shm_dir();
    check_whom_the_hand_wakes(WEIR_MPSC);
    check_whom_the_hand_wakes(WEIR_MPSC_ORDERED);
    check_whom_the_hand_wakes(WEIR_MPMC);
}

/* ---- pieces ---- */

static struct blocked open_pieces(const struct kind_row *k)
{
    struct blocked b;
    CHECK(blocked_open(&b, k, BLOCKED_RECEIVE, WEIR_WAIT_SPIN_SLEEP));
    return b;
}

static void check_receives(weir_channel *c, const void *expected, uint32_t bytes)
{
    static unsigned char in[HELP_BUFFER];
    uint32_t len = 77;
    CHECK_OK(weir_receive(c, in, sizeof in, &len, HELP_DEADLINE));
    CHECK(len == bytes && memcmp(in, expected, bytes) == 0);
}

Test(kinds_waits, pieces_become_one_message_however_it_is_cut)
{
    (void)support_shm_dir();
    unsigned char whole[300];
    message_fill(whole, 5, sizeof whole);
    FOR_EACH_KIND(k) {
        struct blocked b = open_pieces(k);
        CHECK_OK(weir_send_pieces(b.p, NULL, 0, WEIR_NOWAIT)); /* a message of no bytes */
        check_receives(b.c, whole, 0);
        weir_piece nothing[] = { { NULL, 0 }, { whole, 0 } };
        CHECK_OK(weir_send_pieces(b.p, nothing, 2, WEIR_NOWAIT));
        check_receives(b.c, whole, 0);
        for (uint32_t cut = 0; cut <= sizeof whole; cut++) {
            unsigned char *end = support_page_end() - (sizeof whole - cut); /* nothing behind a piece is read */
            memcpy(end, whole + cut, sizeof whole - cut);
            weir_piece pieces[] = { { NULL, 0 }, { whole, cut }, { end + 1, 0 }, { end, sizeof whole - cut }, { NULL, 0 } };
            CHECK_OK(weir_send_pieces(b.p, pieces, 5, WEIR_NOWAIT));
            check_receives(b.c, whole, sizeof whole);
        }
        CHECK(facts_of(b.p).messages == 2 + sizeof whole + 1);
        blocked_close(&b);
    }
}

Test(kinds_waits, pieces_that_are_no_message_are_refused_and_nothing_is_sent)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k) {
        struct blocked b = open_pieces(k);
        uint32_t max = facts_of(b.p).record_max;
        uint64_t word = 1;
        unsigned char *longest = calloc(1, (size_t)max + 1);
        CHECK(longest != NULL);
        const weir_piece missing[] = { { &word, 8 }, { NULL, 1 } };
        const weir_piece too_long[][2] = {
            { { &word, UINT64_MAX - 7 }, { &word, 16 } }, /* their sum is 8 */
            { { &word, 16 }, { &word, UINT64_MAX - 7 } },
            { { &word, UINT64_MAX }, { &word, 1 } },
            { { &word, UINT64_C(1) << 32 }, { &word, 8 } }, /* 8 in 32 bits */
            { { &word, 8 }, { &word, UINT32_MAX } },
            { { longest, max }, { &word, 1 } },
            { { &word, 0 }, { longest, (uint64_t)max + 1 } },
        };
        CHECK_STATUS(weir_send_pieces(b.p, missing, 2, WEIR_NOWAIT), WEIR_E_INVALID);
        CHECK(strstr(weir_error_detail(), "piece 1 of 2") != NULL);
        for (unsigned i = 0; i < sizeof too_long / sizeof too_long[0]; i++)
            CHECK_STATUS(weir_send_pieces(b.p, too_long[i], 2, WEIR_NOWAIT), WEIR_E_TOO_LARGE);
        CHECK_STATUS(receive_nothing(b.c, WEIR_NOWAIT), WEIR_EMPTY);
        CHECK_STATUS(weir_send_pieces(b.c, NULL, 0, WEIR_NOWAIT), WEIR_E_STATE);
        CHECK_OK(weir_send_pieces(b.p, (weir_piece[]){ { longest, max / 2 }, { longest, max - max / 2 } }, 2, WEIR_NOWAIT));
        check_receives(b.c, longest, max);
        CHECK(facts_of(b.p).messages == 1);
        free(longest);
        blocked_close(&b);
    }
}

Test(kinds_waits, pieces_keep_their_place_behind_a_batch_and_take_a_reserve_away)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k) {
        struct blocked b = open_pieces(k);
        uint64_t ids[] = { 1, 2, 3 };
        void *slot;
        if (k->kind != WEIR_LATEST) {
            CHECK_OK(weir_send_more(b.p, &ids[0], 8, WEIR_NOWAIT));
            CHECK_OK(weir_send_more(b.p, &ids[1], 8, WEIR_NOWAIT));
            CHECK_STATUS(receive_nothing(b.c, WEIR_NOWAIT), WEIR_EMPTY);
        }
        CHECK_OK(weir_reserve(b.p, 8, &slot, WEIR_NOWAIT));
        CHECK_OK(weir_send_pieces(b.p, (weir_piece[]){ { &ids[2], 8 } }, 1, WEIR_NOWAIT));
        CHECK_STATUS(weir_commit(b.p, 8), WEIR_E_STATE);
        for (int i = k->kind == WEIR_LATEST ? 2 : 0; i < 3; i++)
            receive_id(b.c, ids[i]);
        CHECK_STATUS(receive_nothing(b.c, WEIR_NOWAIT), WEIR_EMPTY);
        blocked_close(&b);
    }
}

/* A handler that runs while a piece is copied is inside the call: what it sends must not take the room away. */
static weir_channel *copied_to;
static unsigned char *locked_page;
static weir_status handlers_status;

static void send_and_unlock(int number)
{
    (void)number;
    uint64_t id = 99;
    handlers_status = weir_send(copied_to, &id, sizeof id, WEIR_NOWAIT);
    if (mprotect(locked_page, 4096, PROT_READ) != 0)
        _exit(1);
}

Test(kinds_waits, a_handler_in_the_midst_of_the_pieces_finds_the_handle_busy)
{
    (void)support_shm_dir();
    locked_page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(locked_page != MAP_FAILED);
    message_fill(locked_page, 7, 64);
    struct sigaction action = { .sa_handler = send_and_unlock };
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
    FOR_EACH_KIND(k) {
        struct blocked b = open_pieces(k);
        copied_to = b.p;
        handlers_status = WEIR_OK;
        CHECK(mprotect(locked_page, 4096, PROT_NONE) == 0);
        CHECK_OK(weir_send_pieces(b.p, (weir_piece[]){ { locked_page, 64 } }, 1, WEIR_NOWAIT));
        CHECK_STATUS(handlers_status, WEIR_E_BUSY);
        check_receives(b.c, locked_page, 64);
        CHECK_STATUS(receive_nothing(b.c, WEIR_NOWAIT), WEIR_EMPTY);
        blocked_close(&b);
    }
}
