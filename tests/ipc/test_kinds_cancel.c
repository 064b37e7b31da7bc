/* Channels of every kind: what ends a call that waits, and what does not.  Where endless_sleeps is set only a wake ends a
 * sleep, so one that nobody ends fails. */
#include "ipc/endless_sleep.h"
#include "ipc/blocked_calls.h"

#include <criterion/criterion.h>
#include <pthread.h>

static weir_atomic_u64 slept; /* this process's endless sleeps */
static const weir_wait waits[] = { WEIR_WAIT_SPIN_SLEEP, WEIR_WAIT_SPIN, WEIR_WAIT_SLEEP };

/* ---- before the call ---- */

Test(kinds_cancel, one_before_the_call_ends_the_next_that_waits_and_only_that)
{
    (void)support_shm_dir();
    struct blocked b;
    for (int w = 0; w < 3; w++)
        FOR_EACH_BLOCKED(&b, waits[w]) {
            CHECK_OK(weir_channel_cancel(b.own));
            CHECK_OK(weir_channel_cancel(b.own)); /* twice is once */
            CHECK_STATUS(blocked_call(&b, WEIR_NOWAIT), b.none);
            CHECK_STATUS(blocked_call(&b, weir_until(0)), WEIR_TIMEOUT); /* nor does that wait */
            CHECK_STATUS(blocked_call(&b, HELP_DEADLINE), WEIR_CANCELLED);
            CHECK_STATUS(blocked_call(&b, WEIR_MILLISECONDS(1)), WEIR_TIMEOUT);
            CHECK_OK(weir_channel_cancel(b.own));
            blocked_end_unsent(&b);
            CHECK_OK(blocked_call(&b, HELP_DEADLINE)); /* it need not wait */
            blocked_close(&b);
        }
}

Test(kinds_cancel, whatever_is_for_ever_is_ended)
{
    (void)support_shm_dir();
    const weir_timeout times[] = { WEIR_FOREVER, INT64_MAX, INT64_MIN / 2, weir_until(INT64_MAX), -2 };
    struct blocked b;
    FOR_EACH_BLOCKED(&b, WEIR_WAIT_SPIN_SLEEP) {
        for (unsigned i = 0; i < sizeof times / sizeof times[0]; i++) {
            CHECK_OK(weir_channel_cancel(b.own));
            CHECK_STATUS(blocked_call(&b, times[i]), WEIR_CANCELLED);
        }
        blocked_end_unsent(&b);
        blocked_close(&b);
    }
}

Test(kinds_cancel, a_consumer_that_came_before_the_ring_is_cancelled_before_and_after_it_is_there)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k)
        for (int w = 0; w < 3; w++) {
            weir_channel *c, *p;
            weir_channel_options options = { .kind = k->kind, .wait = waits[w] };
            CHECK_OK(weir_channel_open(&c, "early", WEIR_CONSUMER, &options));
            CHECK(facts_of(c).capacity == 0);
            CHECK_OK(weir_channel_cancel(c));
            CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_EMPTY);
            CHECK_STATUS(receive_nothing(c, HELP_DEADLINE), WEIR_CANCELLED);
            CHECK_STATUS(receive_nothing(c, WEIR_MILLISECONDS(1)), WEIR_TIMEOUT);
            CHECK_OK(weir_channel_cancel(c)); /* goes over to the view of the ring */
            CHECK_OK(weir_channel_open(&p, "early", WEIR_PRODUCER, &options));
            CHECK_STATUS(receive_nothing(c, HELP_DEADLINE), WEIR_CANCELLED);
            CHECK_OK(send_id(p, 1, WEIR_NOWAIT));
            receive_id(c, 1);
            CHECK_OK(weir_channel_cancel(c));
            CHECK_STATUS(receive_nothing(c, HELP_DEADLINE), WEIR_CANCELLED);
            CHECK(facts_of(c).messages == 1);
            CHECK_OK(weir_channel_close(p));
            CHECK_OK(weir_channel_close(c));
        }
}

/* ---- in it ---- */

struct other {
    weir_channel *channel;
    pthread_t target;
    uint64_t last; /* sleeps before the call */
};

static void wait_until_asleep(uint64_t *last)
{
    int64_t deadline = help_now_ns() + HELP_DEADLINE;
    while (!endless_is_asleep(&slept, *last)) {
        CHECK(help_now_ns() < deadline);
        (void)usleep(20);
    }
    *last = weir_load_acq(&slept);
}

static void *cancel_who_sleeps(void *arg)
{
    struct other *other = arg;
    wait_until_asleep(&other->last);
    CHECK_OK(weir_channel_cancel(other->channel));
    return NULL;
}

Test(kinds_cancel, a_thread_ends_a_sleep)
{
    (void)support_shm_dir();
    struct blocked b;
    endless_sleeps = &slept;
    FOR_EACH_BLOCKED(&b, how % 2 == 0 ? WEIR_WAIT_SLEEP : WEIR_WAIT_SPIN_SLEEP) {
        struct other other = { .channel = b.own, .last = weir_load_acq(&slept) };
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, cancel_who_sleeps, &other) == 0);
        CHECK_STATUS(blocked_call(&b, WEIR_FOREVER), WEIR_CANCELLED);
        CHECK(pthread_join(thread, NULL) == 0);
        blocked_end_unsent(&b); /* no message was lost, and none sent */
        blocked_close(&b);
    }
}

/* ---- a waker that was stopped, or killed, between clearing the word and waking ---- */

static void *clear_and_cancel(void *arg)
{
    struct other *other = arg;
    wait_until_asleep(&other->last);
    weir_store32_rlx(&other->channel->sleeper->armed, 0);
    CHECK_OK(weir_channel_cancel(other->channel));
    return NULL;
}

Test(kinds_cancel, ends_a_sleep_whose_word_a_stopped_waker_has_cleared)
{
    (void)support_shm_dir();
    struct blocked b;
    endless_sleeps = &slept;
    FOR_EACH_BLOCKED(&b, WEIR_WAIT_SLEEP) {
        struct other other = { .channel = b.own, .last = weir_load_acq(&slept) };
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, clear_and_cancel, &other) == 0);
        CHECK_STATUS(blocked_call(&b, WEIR_FOREVER), WEIR_CANCELLED);
        CHECK(pthread_join(thread, NULL) == 0);
        blocked_end_unsent(&b);
        blocked_close(&b);
    }
}

/* What it had sent is found by the news of its death. */
Test(kinds_cancel, a_death_ends_a_sleep_whose_word_the_dead_had_cleared)
{
    (void)support_shm_dir();
    endless_sleeps = share_pages(sizeof *endless_sleeps);
    FOR_EACH_KIND(k) {
        weir_channel *c = open_kind("cleared", k->kind, WEIR_CONSUMER, 0);
        pid_t child = child_fork();
        if (child == 0) {
            weir_channel *p = open_kind("cleared", k->kind, WEIR_PRODUCER, 4096);
            while (weir_load32_rlx(&p->peer->armed) == 0 || !endless_is_asleep(endless_sleeps, 0)) /* behind its coming */
                (void)usleep(20);
            (void)usleep(1000); /* and in the call */
            CHECK(weir_exchange32_rlx(&p->peer->armed, 0) != 0);
            CHECK_OK(send_id(p, 1, WEIR_NOWAIT));
            (void)kill(getpid(), SIGKILL);
        }
        receive_id(c, 1);
        CHECK_STATUS(receive_nothing(c, WEIR_FOREVER), WEIR_DIED);
        CHECK(support_wait(child) == -SIGKILL);
        CHECK_OK(weir_channel_close(c));
    }
}

static void *cancel_soon(void *arg)
{
    struct other *other = arg;
    (void)usleep(200);
    CHECK_OK(weir_channel_cancel(other->channel));
    return NULL;
}

Test(kinds_cancel, a_thread_ends_a_spin)
{
    (void)support_shm_dir();
    struct blocked b;
    FOR_EACH_BLOCKED(&b, WEIR_WAIT_SPIN) {
        struct other other = { .channel = b.own };
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, cancel_soon, &other) == 0);
        CHECK_STATUS(blocked_call(&b, WEIR_FOREVER), WEIR_CANCELLED);
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK(facts_of(b.own).sleeps == 0);
        blocked_end_unsent(&b);
        blocked_close(&b);
    }
}

/* ---- signals ---- */

static weir_channel *volatile handlers_channel;
static weir_atomic_u64 handled;

static void only_count(int number)
{
    (void)number;
    weir_store_rel(&handled, weir_load_rlx(&handled) + 1);
}

static void cancel_here(int number)
{
    only_count(number);
    if (weir_channel_cancel(handlers_channel) != WEIR_OK)
        _exit(1);
}

#define SIGNALS 3

/* Some that do nothing, each in a sleep of its own, and one that cancels. */
static void *interrupt(void *arg)
{
    struct other *other = arg;
    for (uint64_t i = 0; i < SIGNALS; i++) {
        wait_until_asleep(&other->last);
        CHECK(pthread_kill(other->target, SIGUSR1) == 0);
        wait_for_count(&handled, i + 1);
    }
    wait_until_asleep(&other->last);
    CHECK(pthread_kill(other->target, SIGUSR2) == 0);
    return NULL;
}

static void take_signals(void)
{
    struct sigaction count = { .sa_handler = only_count }, cancel = { .sa_handler = cancel_here }; /* no SA_RESTART */
    CHECK(sigaction(SIGUSR1, &count, NULL) == 0 && sigaction(SIGUSR2, &cancel, NULL) == 0);
}

Test(kinds_cancel, a_signal_ends_no_call_and_one_whose_handler_cancels_does)
{
    (void)support_shm_dir();
    struct blocked b;
    take_signals();
    endless_sleeps = &slept;
    FOR_EACH_BLOCKED(&b, WEIR_WAIT_SLEEP) {
        struct other other = { .channel = b.own, .target = pthread_self(), .last = weir_load_acq(&slept) };
        pthread_t thread;
        handlers_channel = b.own;
        weir_store_rel(&handled, 0);
        CHECK(pthread_create(&thread, NULL, interrupt, &other) == 0);
        CHECK_STATUS(blocked_call(&b, WEIR_FOREVER), WEIR_CANCELLED);
        CHECK(weir_load_acq(&handled) == SIGNALS + 1);
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK(facts_of(b.own).sleeps >= SIGNALS + 1 && facts_of(b.own).woken == 1);
        blocked_end_unsent(&b);
        blocked_close(&b);
    }
}

/* ---- several on one word ---- */

#define SHARERS 3

struct sharer {
    weir_channel *channel;
    weir_status status;
    weir_atomic_u64 returned;
};

static void *receive_once(void *arg)
{
    struct sharer *own = arg;
    own->status = receive_nothing(own->channel, HELP_DEADLINE);
    weir_store_rel(&own->returned, 1);
    return NULL;
}

Test(kinds_cancel, of_several_that_sleep_on_one_word_only_the_one_that_is_meant_returns)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k) {
        if (!k->consumers)
            continue;
        struct sharer own[SHARERS];
        struct third third;
        pthread_t threads[SHARERS];
        weir_channel *p;
        weir_channel_options options = { .kind = k->kind, .wait = WEIR_WAIT_SLEEP };
        CHECK_OK(weir_channel_open(&p, "shared", WEIR_PRODUCER, &options));
        third_open(&third, "shared");
        for (int i = 0; i < SHARERS; i++) {
            own[i] = (struct sharer){ .status = WEIR_OK };
            CHECK_OK(weir_channel_open(&own[i].channel, "shared", WEIR_CONSUMER, &options));
            CHECK(pthread_create(&threads[i], NULL, receive_once, &own[i]) == 0);
        }
        weir_channel_member *member = &third.layout->member[facts_of(p).producers];
        for (int i = 0; i < SHARERS; i++)
            wait_for_count(&member[i].count[WEIR_COUNT_SLEPT], 1);
        CHECK_OK(weir_channel_cancel(own[1].channel));
        CHECK(pthread_join(threads[1], NULL) == 0);
        CHECK_STATUS(own[1].status, WEIR_CANCELLED);
        CHECK(weir_load_acq(&own[0].returned) == 0 && weir_load_acq(&own[2].returned) == 0);
        for (uint64_t id = 1; id <= (k->kind == WEIR_MPMC ? 2 : 1); id++)
            CHECK_OK(send_id(p, id, WEIR_NOWAIT));
        CHECK(pthread_join(threads[0], NULL) == 0 && pthread_join(threads[2], NULL) == 0);
        CHECK_OK(own[0].status);
        CHECK_OK(own[2].status);
        CHECK_STATUS(receive_nothing(own[1].channel, WEIR_NOWAIT), k->kind == WEIR_MPMC ? WEIR_EMPTY : WEIR_OK);
        for (int i = 0; i < SHARERS; i++)
            CHECK_OK(weir_channel_close(own[i].channel));
        CHECK_OK(weir_channel_close(p));
        third_close(&third);
    }
}

/* ---- where there is nobody to cancel ---- */

Test(kinds_cancel, a_child_is_told_that_the_handle_is_its_parents)
{
    (void)support_shm_dir();
    struct blocked b;
    FOR_EACH_KIND(k) {
        CHECK(blocked_open(&b, k, BLOCKED_RECEIVE, WEIR_WAIT_SLEEP));
        pid_t child = child_fork();
        if (child == 0) {
            weir_channel *both[] = { b.p, b.c };
            for (int i = 0; i < 2; i++) {
                CHECK_STATUS(weir_channel_cancel(both[i]), WEIR_E_FORKED);
                CHECK_STATUS(weir_channel_wait_peer(both[i], WEIR_FOREVER), WEIR_E_FORKED);
                CHECK_STATUS(weir_send_pieces(both[i], NULL, 0, WEIR_FOREVER), WEIR_E_FORKED);
            }
            _exit(0);
        }
        CHECK(support_wait(child) == 0);
        CHECK_STATUS(blocked_call(&b, WEIR_MILLISECONDS(1)), WEIR_TIMEOUT); /* the child's was not ours */
        blocked_close(&b);
    }
}
