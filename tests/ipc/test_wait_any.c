/* One wait for several channels. */
#include "ipc/kinds_help.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sys/resource.h>
#include <weir/ipc/channel_private.h>

#define MANY 200 /* more than one futex_waitv takes */

struct sender {
    weir_channel *channel;
    int delay_us;
    bool cancels;
};

static void *send_later(void *arg)
{
    struct sender *s = arg;
    (void)usleep((useconds_t)s->delay_us);
    if (s->cancels)
        CHECK_OK(weir_channel_cancel(s->channel));
    else
        CHECK_OK(send_id(s->channel, 1, WEIR_NOWAIT));
    return NULL;
}

static const char *name_of(unsigned i)
{
    static char name[32];
    (void)snprintf(name, sizeof name, "any-%u", i);
    return name;
}

static void open_all(weir_channel **p, weir_channel **c, unsigned count, weir_wait wait)
{
    for (unsigned i = 0; i < count; i++) {
        weir_channel_options options = { .capacity = 4096, .wait = wait };
        CHECK_OK(weir_channel_open(&p[i], name_of(i), WEIR_PRODUCER, &options));
        CHECK_OK(weir_channel_open(&c[i], name_of(i), WEIR_CONSUMER, &options));
    }
}

static void close_all(weir_channel **p, weir_channel **c, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        CHECK_OK(weir_channel_close(p[i]));
        CHECK_OK(weir_channel_close(c[i]));
    }
    CHECK(support_entries(getenv("WEIR_SHM_DIR"), true) == 0);
}

/* A message to each in turn, while the waiter spins, sleeps, or has not begun. */
static void each_in_turn(unsigned count, unsigned step, weir_wait wait)
{
    weir_channel *p[MANY], *c[MANY];
    open_all(p, c, count, wait);
    for (unsigned i = 0; i < count; i += step) {
        struct sender sender = { p[i], (int)(i * 37 % 300), false };
        pthread_t thread;
        uint32_t which = 0;
        CHECK(pthread_create(&thread, NULL, send_later, &sender) == 0);
        CHECK_OK(weir_wait_any(c, count, &which, HELP_DEADLINE));
        CHECK(which == i);
        CHECK_OK(receive_nothing(c[i], WEIR_NOWAIT));
        CHECK(pthread_join(thread, NULL) == 0);
    }
    close_all(p, c, count);
}

Test(wait_any, wakes_for_any_of_a_few)
{
    support_shm_dir();
    static const weir_wait waits[] = { WEIR_WAIT_SPIN_SLEEP, WEIR_WAIT_SPIN, WEIR_WAIT_SLEEP };
    for (int i = 0; i < 3; i++)
        each_in_turn(17, 1, waits[i]);
}

Test(wait_any, wakes_for_any_of_128_and_of_more)
{
    support_shm_dir();
    struct rlimit files = { 4096, 4096 };
    (void)setrlimit(RLIMIT_NOFILE, &files);
    each_in_turn(128, 5, WEIR_WAIT_SLEEP);
    each_in_turn(MANY, 7, WEIR_WAIT_SLEEP);
}

static void *send_behind_a_sleep(void *arg)
{
    const struct sender *s = arg;
    wait_for_count(&channel_cold(s->channel)->layout->member[1].count[WEIR_COUNT_SLEPT], 1); /* its consumer's */
    CHECK_OK(send_id(s->channel, 1, WEIR_NOWAIT));
    return NULL;
}

Test(wait_any, the_one_that_was_woken_counts_it_and_all_count_the_sleep)
{
    support_shm_dir();
    for (unsigned count = 2; count <= MANY; count += MANY - 2) { /* words, descriptors */
        weir_channel *p[MANY], *c[MANY];
        open_all(p, c, count, WEIR_WAIT_SLEEP);
        struct sender sender = { p[1], 0, false };
        pthread_t thread;
        uint32_t which = 0;
        CHECK(pthread_create(&thread, NULL, send_behind_a_sleep, &sender) == 0);
        CHECK_OK(weir_wait_any(c, count, &which, WEIR_FOREVER));
        CHECK(which == 1 && pthread_join(thread, NULL) == 0);
        for (unsigned i = 0; i < count; i++)
            CHECK(facts_of(c[i]).sleeps > 0 && facts_of(c[i]).woken == (i == 1));
        close_all(p, c, count);
    }
}

struct stopped {
    weir_channel *sender, *receiver;
};

/* As a waker that is stopped between clearing the word and waking, and then another. */
static void *clear_and_send_later(void *arg)
{
    const struct stopped *s = arg;
    weir_atomic_u32 *armed = &channel_cold(s->receiver)->layout->consumer.armed;
    wait_for_word32(armed, 1);
    weir_store32_rlx(armed, 0);
    wait_for_word32(armed, 1);
    CHECK_OK(send_id(s->sender, 1, WEIR_NOWAIT));
    return NULL;
}

Test(wait_any, a_word_that_a_stopped_waker_has_cleared_is_armed_again)
{
    support_shm_dir();
    for (unsigned count = 2; count <= MANY; count += MANY - 2) {
        weir_channel *p[MANY], *c[MANY];
        open_all(p, c, count, WEIR_WAIT_SLEEP);
        struct stopped stopped = { p[1], c[1] };
        pthread_t thread;
        uint32_t which = 0;
        CHECK(pthread_create(&thread, NULL, clear_and_send_later, &stopped) == 0);
        CHECK_OK(weir_wait_any(c, count, &which, WEIR_FOREVER));
        CHECK(which == 1);
        CHECK(pthread_join(thread, NULL) == 0);
        close_all(p, c, count);
    }
}

Test(wait_any, looks_behind_the_last_one_first_and_a_time_that_passes_is_TIMEOUT)
{
    support_shm_dir();
    weir_channel *p[3], *c[3];
    uint32_t which = 0;
    open_all(p, c, 3, WEIR_WAIT_SPIN_SLEEP);
    CHECK_STATUS(weir_wait_any(c, 3, &which, WEIR_NOWAIT), WEIR_EMPTY);
    CHECK_STATUS(weir_wait_any(c, 3, &which, weir_until(weir_now() - 1)), WEIR_TIMEOUT);
    int64_t begin = help_now_ns();
    CHECK_STATUS(weir_wait_any(c, 3, &which, WEIR_MILLISECONDS(120)), WEIR_TIMEOUT);
    CHECK(help_now_ns() - begin >= WEIR_MILLISECONDS(120));
    for (int i = 0; i < 3; i++)
        CHECK_OK(send_id(p[i], 1, WEIR_NOWAIT));
    static const uint32_t turns[] = { 1, 2, 0, 1 };
    for (int i = 0; i < 4; i++) {
        CHECK_OK(weir_wait_any(c, 3, &which, WEIR_NOWAIT));
        CHECK(which == turns[i]);
    }
    close_all(p, c, 3);
}

Test(wait_any, of_kinds_and_roles_together)
{
    support_shm_dir();
    weir_channel *p[KINDS], *c[KINDS], *both[KINDS + 1];
    uint32_t which = 0;
    for (unsigned i = 0; i < KINDS; i++) {
        c[i] = both[i] = open_kind(kind_rows[i].name, kind_rows[i].kind, WEIR_CONSUMER, WEIR_CONSUMER == WEIR_CONSUMER ? 0 : 4096); /* before there is a ring */
        p[i] = open_kind(kind_rows[i].name, kind_rows[i].kind, WEIR_PRODUCER, WEIR_PRODUCER == WEIR_CONSUMER ? 0 : 4096);
    }
    weir_channel *full, *drain = open_as("full", WEIR_CONSUMER, 0);
    weir_channel_options words = { .capacity = 4096, .record_bytes = 8 };
    CHECK_OK(weir_channel_open(&full, "full", WEIR_PRODUCER, &words));
    both[KINDS] = full;
    weir_status last;
    (void)send_until_full(full, 0, &last);
    CHECK_STATUS(weir_wait_any(both, KINDS + 1, &which, WEIR_MILLISECONDS(2)), WEIR_TIMEOUT);
    for (unsigned i = 0; i < KINDS; i++) {
        struct sender sender = { p[i], 3000, false };
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, send_later, &sender) == 0);
        CHECK_OK(weir_wait_any(both, KINDS + 1, &which, HELP_DEADLINE));
        CHECK(which == i);
        CHECK_OK(receive_nothing(c[i], WEIR_NOWAIT));
        CHECK(pthread_join(thread, NULL) == 0);
    }
    while (receive_nothing(drain, WEIR_NOWAIT) == WEIR_OK)
        continue;
    CHECK_OK(weir_wait_any(both, KINDS + 1, &which, HELP_DEADLINE));
    CHECK(which == KINDS);
    CHECK_OK(weir_channel_close(full));
    CHECK_OK(weir_channel_close(drain));
    close_all(p, c, KINDS);
}

Test(wait_any, ends_deaths_and_cancels)
{
    support_shm_dir();
    weir_channel *p[3], *c[3];
    uint32_t which = 0;
    open_all(p, c, 3, WEIR_WAIT_SLEEP);
    for (int i = 0; i < 2; i++) { /* sleeping, and before it begins */
        struct sender sender = { c[2], i * 20000, true };
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, send_later, &sender) == 0);
        CHECK_STATUS(weir_wait_any(c, 3, &which, HELP_DEADLINE), WEIR_CANCELLED);
        CHECK(which == 2 && pthread_join(thread, NULL) == 0);
    }
    CHECK_OK(weir_channel_close(p[1]));
    CHECK_OK(weir_wait_any(c, 3, &which, HELP_DEADLINE));
    CHECK(which == 1);
    CHECK_STATUS(receive_nothing(c[1], WEIR_NOWAIT), WEIR_CLOSED); /* not swallowed */
    CHECK_STATUS(weir_wait_any(c, 3, &which, WEIR_MILLISECONDS(1)), WEIR_TIMEOUT);

    struct gate gate = gate_make();
    pid_t child = child_fork();
    if (child == 0) {
        (void)open_as(name_of(1), WEIR_PRODUCER, 4096);
        gate_open(gate);
        for (;;)
            (void)pause();
    }
    gate_wait(gate);
    CHECK_STATUS(weir_wait_any(c, 3, &which, WEIR_MILLISECONDS(1)), WEIR_TIMEOUT);
    child_kill(child);
    CHECK_OK(weir_wait_any(c, 3, &which, HELP_DEADLINE));
    CHECK(which == 1);
    CHECK_STATUS(receive_nothing(c[1], WEIR_NOWAIT), WEIR_DIED);
    gate_close(gate);
    p[1] = open_as(name_of(1), WEIR_PRODUCER, 4096);
    close_all(p, c, 3);
}

Test(wait_any, what_is_wrong_is_said_and_nothing_stays_held)
{
    support_shm_dir();
    weir_channel *p[2], *c[2];
    uint32_t which = 0;
    open_all(p, c, 2, WEIR_WAIT_SLEEP);
    weir_channel *twice[] = { c[0], c[1], c[0] }, *missing[] = { c[0], NULL };
    CHECK_STATUS(weir_wait_any(twice, 3, &which, WEIR_NOWAIT), WEIR_E_BUSY);
    CHECK_STATUS(weir_wait_any(missing, 2, &which, WEIR_NOWAIT), WEIR_E_INVALID);
    CHECK_STATUS(weir_wait_any(c, 0, &which, WEIR_NOWAIT), WEIR_E_INVALID);
    CHECK_STATUS(weir_wait_any(NULL, 1, &which, WEIR_NOWAIT), WEIR_E_INVALID);
    CHECK_STATUS(weir_wait_any(c, 2, NULL, WEIR_NOWAIT), WEIR_E_INVALID);
    which = 77; /* no index: from the first on */
    CHECK_STATUS(weir_wait_any(c, 2, &which, WEIR_NOWAIT), WEIR_EMPTY);
    pid_t child = child_fork();
    if (child == 0) {
        CHECK_STATUS(weir_wait_any(c, 2, &which, WEIR_NOWAIT), WEIR_E_FORKED);
        _exit(0);
    }
    CHECK(support_wait(child) == 0);
    CHECK_OK(send_id(p[0], 1, WEIR_NOWAIT));
    receive_id(c[0], 1);
    close_all(p, c, 2);
}
