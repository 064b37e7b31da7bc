/* Channels of every kind: what is seen of one who stands still between two steps, and what must hold however much time
 * has passed, or none.  tests/CMakeLists.txt links it with --wrap=weir_participant_join and --wrap=weir_os_now_ns. */
#include "ipc/kinds_help.h"

#include <weir/ipc/os.h>

#include <criterion/criterion.h>

#define NAME "between"
#define SENT 20u

/* ---- a step that is held up, a clock that is set ---- */

static const struct gate *joins, *joins_on; /* who is about to join opens the one, waits at the other; NULL: does not */

weir_status __real_weir_participant_join(weir_section *section, const weir_participant *before);
weir_status __wrap_weir_participant_join(weir_section *section, const weir_participant *before);

weir_status __wrap_weir_participant_join(weir_section *section, const weir_participant *before)
{
    if (joins != NULL) {
        gate_open(*joins);
        gate_wait(*joins_on);
    }
    return __real_weir_participant_join(section, before);
}

static int64_t clock_ns; /* what the library takes for the time; 0: what it is */

int64_t __real_weir_os_now_ns(void);
int64_t __wrap_weir_os_now_ns(void);

int64_t __wrap_weir_os_now_ns(void)
{
    return clock_ns != 0 ? clock_ns : __real_weir_os_now_ns();
}

static void clock_advance(int64_t ns)
{
    clock_ns = (clock_ns != 0 ? clock_ns : __real_weir_os_now_ns()) + ns;
}

/* ---- the work queue ---- */

static void send_all(weir_channel *p)
{
    for (uint64_t id = 0; id < SENT; id++)
        CHECK_OK(send_id(p, id, WEIR_NOWAIT));
}

static void claims_some(weir_channel *c)
{
    uint64_t got;
    uint32_t len;
    CHECK_OK(weir_receive_more(c, &got, 8, &len, HELP_DEADLINE));
}

/* As many as there are now; then it says that. */
static uint32_t receive_all(weir_channel *c, weir_status then)
{
    uint64_t got;
    uint32_t len, count = 0;
    weir_status status;
    while ((status = weir_receive(c, &got, 8, &len, WEIR_NOWAIT)) == WEIR_OK)
        count++;
    CHECK_STATUS(status, then);
    return count;
}

Test(kinds_between, a_consumer_that_opens_is_not_taken_for_a_dead_one)
{
    (void)support_shm_dir();
    struct gate about = gate_make(), on = gate_make(), opened = gate_make(), go = gate_make();
    weir_channel *p = open_kind(NAME, WEIR_MPMC, WEIR_PRODUCER, 65536);
    weir_channel *c = open_kind(NAME, WEIR_MPMC, WEIR_CONSUMER, 0);
    pid_t child = child_fork();
    if (child == 0) {
        joins = &about;
        joins_on = &on;
        weir_channel *own = open_kind(NAME, WEIR_MPMC, WEIR_CONSUMER, 0);
        gate_open(opened);
        gate_wait(go);
        claims_some(own);
        gate_open(opened);
        for (;;)
            (void)pause();
    }
    gate_wait(about);
    clock_advance(WEIR_MILLISECONDS(1000));
    CHECK(receive_all(c, WEIR_EMPTY) == 0); /* and looks whether somebody has died */
    gate_open(on);
    gate_wait(opened);
    send_all(p);
    gate_open(go);
    gate_wait(opened);
    child_kill(child);
    uint32_t count = 0;
    for (int i = 0; i < 3; i++) { /* all it had comes again */
        clock_advance(WEIR_MILLISECONDS(1000));
        count += receive_all(c, WEIR_EMPTY);
    }
    CHECK(count == SENT && facts_of(c).redelivered > 0);
    CHECK_OK(weir_channel_drain(p, WEIR_NOWAIT));
    CHECK_OK(weir_channel_close(c));
    CHECK_OK(weir_channel_close(p));
    gate_close(about);
    gate_close(on);
    gate_close(opened);
    gate_close(go);
}

Test(kinds_between, a_consumer_that_stands_still_for_a_year_keeps_what_it_has_claimed)
{
    (void)support_shm_dir();
    weir_channel *p = open_kind(NAME, WEIR_MPMC, WEIR_PRODUCER, 65536);
    send_all(p);
    pid_t child = child_stands(NAME, WEIR_CONSUMER, (weir_channel_options){ .kind = WEIR_MPMC }, claims_some);
    weir_channel *c = open_kind(NAME, WEIR_MPMC, WEIR_CONSUMER, 0);
    CHECK(kill(child, SIGSTOP) == 0);
    uint32_t count = receive_all(c, WEIR_EMPTY);
    CHECK(count > 0 && count < SENT);
    for (int day = 0; day < 365; day++) {
        clock_advance(WEIR_MILLISECONDS(86400000));
        CHECK(receive_all(c, WEIR_EMPTY) == 0);
    }
    CHECK(facts_of(c).redelivered == 0);
    CHECK_STATUS(weir_channel_drain(p, WEIR_NOWAIT), WEIR_FULL);
    child_kill(child);
    clock_advance(WEIR_MILLISECONDS(1000));
    CHECK(receive_all(c, WEIR_EMPTY) == SENT - count);
    CHECK_OK(weir_channel_drain(p, WEIR_NOWAIT));
    CHECK_OK(weir_channel_close(c));
    CHECK_OK(weir_channel_close(p));
}

Test(kinds_between, what_a_dead_consumer_had_comes_before_the_end_though_one_has_just_looked)
{
    (void)support_shm_dir();
    weir_channel *p = open_kind(NAME, WEIR_MPMC, WEIR_PRODUCER, 65536);
    send_all(p);
    pid_t child = child_stands(NAME, WEIR_CONSUMER, (weir_channel_options){ .kind = WEIR_MPMC }, claims_some);
    weir_channel *c = open_kind(NAME, WEIR_MPMC, WEIR_CONSUMER, 0);
    clock_advance(WEIR_MILLISECONDS(1000));
    uint32_t count = receive_all(c, WEIR_EMPTY); /* the last call finds nothing, and nobody who is dead; */
    CHECK(count > 0 && count < SENT);
    child_kill(child); /* then, at the same time, */
    CHECK_OK(weir_channel_close(p));
    count += receive_all(c, WEIR_CLOSED);
    CHECK(count == SENT && facts_of(c).redelivered > 0);
    CHECK_OK(weir_channel_close(c));
}

/* ---- broadcast, gated ---- */

Test(kinds_between, a_gated_lane_that_nobody_reads_any_more_is_full_with_what_was_not_read)
{
    (void)support_shm_dir();
    for (int killed = 0; killed < 2; killed++) {
        weir_channel_options options = { .kind = WEIR_BROADCAST_GATED };
        weir_channel *p = open_kind(NAME, WEIR_BROADCAST_GATED, WEIR_PRODUCER, 4096);
        weir_status status = WEIR_OK;
        uint64_t end = 0;
        send_all(p);
        if (killed != 0)
            child_kill(child_stands(NAME, WEIR_CONSUMER, options, works_not));
        else
            CHECK_OK(try_open(NAME, WEIR_CONSUMER, options));
        for (end = SENT; end < 4096 && status == WEIR_OK; end += status == WEIR_OK) {
            clock_advance(WEIR_MILLISECONDS(1000));
            status = send_id(p, end, WEIR_NOWAIT);
        }
        CHECK(status != WEIR_OK && end > SENT && end < 4096);
        weir_channel *c = open_kind(NAME, WEIR_BROADCAST_GATED, WEIR_CONSUMER, 0);
        for (uint64_t id = 0; id < end; id++)
            receive_id(c, id);
        CHECK_OK(weir_channel_close(c));
        CHECK_OK(weir_channel_close(p));
    }
}

/* ---- of every kind ---- */

static void sleeps_for_ever(weir_channel *c)
{
    uint64_t got;
    uint32_t len;
    CHECK_OK(weir_receive(c, &got, 8, &len, WEIR_FOREVER));
}

Test(kinds_between, one_whose_sleep_ends_leaves_the_others_to_be_woken)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k) {
        if (!k->consumers)
            continue;
        struct third third;
        weir_channel_options options = { .kind = k->kind, .wait = WEIR_WAIT_SLEEP };
        weir_channel *c, *p = open_kind(NAME, k->kind, WEIR_PRODUCER, 4096);
        third_open(&third, NAME);
        const weir_atomic_u32 *armed = &third.layout->consumer.armed;
        CHECK_OK(weir_channel_open(&c, NAME, WEIR_CONSUMER, &options));
        pid_t child = child_fork();
        if (child == 0) {
            weir_channel *own;
            CHECK_OK(weir_channel_open(&own, NAME, WEIR_CONSUMER, &options));
            sleeps_for_ever(own);
            CHECK_OK(weir_channel_close(own));
            _exit(0);
        }
        int64_t deadline = help_now_ns() + HELP_DEADLINE;
        while (weir_load32_rlx(armed) == 0)
            CHECK(help_now_ns() < deadline);
        for (int i = 0; i < 20; i++) { /* the word says all the time that somebody sleeps */
            CHECK_STATUS(receive_nothing(c, WEIR_MILLISECONDS(1)), WEIR_TIMEOUT);
            CHECK(weir_load32_rlx(armed) != 0);
        }
        CHECK_OK(weir_channel_close(c)); /* or it might be the one that gets the message */
        CHECK_OK(send_id(p, 0, HELP_DEADLINE));
        CHECK(support_wait(child) == 0);
        CHECK_OK(weir_channel_close(p));
        third_close(&third);
    }
}

/* In a place where nobody has come since; it is taken again. */
Test(kinds_between, the_number_of_one_who_is_gone_is_free_wherever_that_one_was)
{
    const char *dir = support_shm_dir();
    FOR_EACH_KIND(k)
        for (weir_role role = WEIR_PRODUCER; role <= WEIR_CONSUMER; role++)
            for (int killed = 0; killed < 2; killed++) {
                if (!(role == WEIR_PRODUCER ? k->producers : k->consumers))
                    continue;
                weir_channel_options options = { .kind = k->kind, .capacity = 4096, .identity = 6 };
                weir_channel *six, *seven, *keeper;
                weir_role other = role == WEIR_PRODUCER ? WEIR_CONSUMER : WEIR_PRODUCER;
                CHECK_OK(weir_channel_open(&keeper, NAME, other, &options));
                CHECK_OK(weir_channel_open(&six, NAME, role, &options));
                options.identity = 7;
                if (killed != 0)
                    child_kill(child_stands(NAME, role, options, works_not));
                else
                    CHECK_OK(try_open(NAME, role, options));
                CHECK_OK(weir_channel_close(six));
                CHECK_OK(weir_channel_open(&seven, NAME, role, &options));
                CHECK(facts_of(seven).slot == 1);
                CHECK_OK(weir_channel_close(seven));
                CHECK_OK(weir_channel_close(keeper));
            }
    CHECK(support_entries(dir, true) == 0);
}

Test(kinds_between, the_number_of_one_who_was_refused_is_free)
{
    const char *dir = support_shm_dir();
    FOR_EACH_KIND(k) {
        if (!k->producers)
            continue;
        weir_channel_options options = { .kind = k->kind, .capacity = 4096, .identity = 6 };
        weir_channel *six, *seven, *keeper = open_kind(NAME, k->kind, WEIR_CONSUMER, 4096);
        CHECK_OK(weir_channel_open(&six, NAME, WEIR_PRODUCER, &options));
        options.identity = 8;
        CHECK_OK(try_open(NAME, WEIR_PRODUCER, options));
        options = (weir_channel_options){ .kind = k->kind, .identity = 7, .record_bytes = 100000 };
        CHECK_STATUS(try_open(NAME, WEIR_PRODUCER, options), WEIR_E_TOO_LARGE);
        CHECK_OK(weir_channel_close(six));
        options.record_bytes = 0;
        CHECK_OK(weir_channel_open(&seven, NAME, WEIR_PRODUCER, &options));
        CHECK(facts_of(seven).slot == 0); /* the number stands at the second place still, which was never its */
        CHECK_OK(weir_channel_close(seven));
        CHECK_OK(weir_channel_close(keeper));
    }
    CHECK(support_entries(dir, true) == 0);
}
