/* Ends: closed, died, taken over, forked, interrupted. */
#include "ipc/channel_help.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sys/time.h>

#include <weir/naming/os_linux.h>

#define NAME "end"

static const weir_wait all_waits[] = { WEIR_WAIT_SPIN_SLEEP, WEIR_WAIT_SPIN, WEIR_WAIT_SLEEP };

/* A child that opens the channel in a role, does its work and then leaves or is killed. */
typedef void (*work)(weir_channel *channel);

static void child_ends(weir_role role, work do_work, bool killed)
{
    pid_t child = child_fork();
    if (child == 0) {
        weir_channel *channel = open_as(NAME, role, 0);
        do_work(channel);
        if (killed)
            (void)raise(SIGKILL);
        CHECK_OK(weir_channel_close(channel));
        _exit(0);
    }
    CHECK(support_wait(child) == (killed ? -SIGKILL : 0));
}

static void do_nothing(weir_channel *channel)
{
    (void)channel;
}

static void send_three(weir_channel *p)
{
    for (uint64_t id = 0; id < 3; id++)
        CHECK_OK(send_id(p, id, WEIR_NOWAIT));
}

static void read_four_and_release_two(weir_channel *c)
{
    uint64_t got;
    uint32_t len;
    const void *msg;
    receive_id(c, 0);
    CHECK_OK(weir_receive_more(c, &got, 8, &len, WEIR_NOWAIT));
    CHECK_OK(weir_release(c));
    CHECK_OK(weir_receive_more(c, &got, 8, &len, WEIR_NOWAIT));
    CHECK_OK(weir_peek(c, &msg, &len, WEIR_NOWAIT));
    CHECK(got == 2 && message_id(msg) == 3);
}

/* ---- the producer ends ---- */

Test(channel_end, the_end_of_a_producer_comes_after_its_messages_and_once_for_each)
{
    (void)support_shm_dir();
    for (int wait = 0; wait < 3; wait++) {
        weir_channel *c;
        CHECK_OK(weir_channel_open(&c, NAME, WEIR_CONSUMER, &(weir_channel_options){ .wait = all_waits[wait] }));
        CHECK_STATUS(receive_nothing(c, WEIR_MILLISECONDS(60)), WEIR_TIMEOUT); /* nobody was there yet */
        for (int round = 0; round < 6; round++) {
            bool killed = round % 2 != 0;
            weir_status end = killed ? WEIR_DIED : WEIR_CLOSED;
            const void *msg;
            uint32_t len;
            child_ends(WEIR_PRODUCER, round < 4 ? send_three : do_nothing, killed);
            weir_timeout timeout = round < 2 ? WEIR_NOWAIT : WEIR_FOREVER;
            if (round < 4)
                for (uint64_t id = 0; id < 3; id++)
                    receive_id(c, id);
            if (round % 3 == 0)
                CHECK_STATUS(receive_nothing(c, timeout), end);
            else
                CHECK_STATUS(weir_peek(c, &msg, &len, timeout), end);
            CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_EMPTY);
            CHECK_STATUS(receive_nothing(c, WEIR_MILLISECONDS(60)), WEIR_TIMEOUT);
            CHECK_STATUS(weir_peek(c, &msg, &len, WEIR_NOWAIT), WEIR_EMPTY);
            weir_participant producer = facts_of(c).producer;
            CHECK(producer.generation == (uint32_t)round + 1 && producer.deaths == (uint32_t)(round + 1) / 2);
        }
        CHECK_OK(weir_channel_close(c));
    }
}

static int (*real_lock)(int fd, int command, struct flock *range);
static weir_atomic_u32 *sleeper; /* the peer's word */

/* The peer has looked before the leaver said that it leaves, and lies down just when its slot is given up. */
static int lock_of_a_leaver(int fd, int command, struct flock *range)
{
    if (command == F_OFD_SETLK && range->l_type == F_UNLCK && range->l_start < WEIR_SLOT_FIRST + weir_channel_slot_terms(1, 1))
        weir_store32_rlx(sleeper, 1);
    return real_lock(fd, command, range);
}

Test(channel_end, who_closes_wakes_the_other_side_when_it_has_left_and_not_before)
{
    (void)support_shm_dir();
    for (int role = WEIR_PRODUCER; role <= WEIR_CONSUMER; role++) {
        struct third third;
        weir_channel *channel = open_as(NAME, (weir_role)role, 4096);
        third_open(&third, NAME);
        sleeper = role == WEIR_PRODUCER ? &third.layout->consumer.armed : &third.layout->member[0].sleeper.armed;
        real_lock = weir_linux.lock;
        weir_linux.lock = lock_of_a_leaver;
        CHECK_OK(weir_channel_close(channel));
        weir_linux.lock = real_lock;
        CHECK(weir_load32_rlx(sleeper) == 0);
        third_close(&third);
    }
}

Test(channel_end, a_waiting_consumer_hears_of_the_end_and_then_waits_for_the_next_one)
{
    (void)support_shm_dir();
    for (int round = 0; round < 12; round++) {
        bool killed = round % 2 != 0;
        struct gate ready = gate_make();
        weir_channel *c;
        CHECK_OK(weir_channel_open(&c, NAME, WEIR_CONSUMER, &(weir_channel_options){ .wait = all_waits[round % 3] }));
        pid_t child = child_fork();
        if (child == 0) {
            struct third third;
            weir_channel *p = open_as(NAME, WEIR_PRODUCER, 0);
            third_open(&third, NAME);
            gate_open(ready);
            if (round % 3 != 1) /* the consumer is asleep when it happens */
                wait_for_word32(&third.layout->consumer.armed, 1);
            if (killed)
                (void)raise(SIGKILL);
            third_close(&third);
            CHECK_OK(weir_channel_close(p));
            _exit(0);
        }
        gate_wait(ready);
        CHECK_STATUS(receive_nothing(c, HELP_DEADLINE), killed ? WEIR_DIED : WEIR_CLOSED);
        CHECK(support_wait(child) == (killed ? -SIGKILL : 0));
        child = child_fork();
        if (child == 0) {
            weir_channel *p = open_as(NAME, WEIR_PRODUCER, 0);
            send_three(p);
            CHECK_OK(weir_channel_close(p));
            _exit(0);
        }
        for (uint64_t id = 0; id < 3; id++)
            receive_id(c, id);
        CHECK_STATUS(receive_nothing(c, HELP_DEADLINE), WEIR_CLOSED);
        CHECK(support_wait(child) == 0);
        CHECK_OK(weir_channel_close(c));
        gate_close(ready);
    }
}

static void send_three_and_half_a_batch(weir_channel *p)
{
    void *slot;
    uint64_t id = 100;
    send_three(p);
    CHECK_OK(weir_send_more(p, &id, 8, WEIR_NOWAIT));
    CHECK_OK(weir_send_more(p, &id, 8, WEIR_NOWAIT));
    CHECK_OK(weir_reserve(p, 8, &slot, WEIR_NOWAIT));
    memcpy(slot, &id, 8);
}

Test(channel_end, what_a_killed_producer_did_not_publish_was_never_sent_and_its_successor_goes_on_behind_the_rest)
{
    (void)support_shm_dir();
    weir_channel *c = open_as(NAME, WEIR_CONSUMER, 4096);
    for (uint64_t round = 0; round < 100; round++) { /* through many laps */
        child_ends(WEIR_PRODUCER, send_three_and_half_a_batch, true);
        weir_channel *p = open_as(NAME, WEIR_PRODUCER, 0);
        CHECK_OK(send_id(p, 3, WEIR_NOWAIT));
        for (uint64_t id = 0; id < 4; id++)
            receive_id(c, id);
        CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_EMPTY); /* a death is no news once there is a successor */
        CHECK_OK(weir_channel_close(p));
        CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_CLOSED);
    }
    CHECK(facts_of(c).producer.generation == 200 && facts_of(c).producer.deaths == 100);
    CHECK_OK(weir_channel_close(c));
}

static void send_a_batch(weir_channel *p)
{
    for (uint64_t id = 0; id < 3; id++)
        CHECK_OK(weir_send_more(p, &id, 8, WEIR_NOWAIT));
}

Test(channel_end, close_publishes_the_batch_and_the_end_comes_behind_it)
{
    (void)support_shm_dir();
    weir_channel *c = open_as(NAME, WEIR_CONSUMER, 4096);
    child_ends(WEIR_PRODUCER, send_a_batch, false);
    for (uint64_t id = 0; id < 3; id++)
        receive_id(c, id);
    CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_CLOSED);
    child_ends(WEIR_PRODUCER, send_a_batch, true);
    CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_DIED);
    CHECK_OK(weir_channel_close(c));
}

Test(channel_end, a_consumer_that_comes_after_the_producer_receives_all_and_then_the_end)
{
    (void)support_shm_dir();
    for (int killed = 0; killed < 2; killed++) {
        struct third third;
        weir_channel *c = open_as(NAME, WEIR_CONSUMER, 0);
        third_open(&third, NAME);
        CHECK_OK(weir_channel_close(c));
        child_ends(WEIR_PRODUCER, send_three, killed != 0);
        for (int again = 0; again < 2; again++) {
            c = open_as(NAME, WEIR_CONSUMER, 0);
            for (uint64_t id = 0; id < 3 && again == 0; id++)
                receive_id(c, id);
            CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), killed ? WEIR_DIED : WEIR_CLOSED);
            CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_EMPTY);
            CHECK_OK(weir_channel_close(c));
        }
        third_close(&third);
    }
}

/* ---- the consumer ends ---- */

Test(channel_end, a_producer_fills_the_lane_hears_of_the_end_once_and_the_next_consumer_gets_all)
{
    (void)support_shm_dir();
    for (int round = 0; round < 6; round++) {
        bool killed = round % 2 != 0;
        weir_status end = killed ? WEIR_DIED : WEIR_CLOSED, last;
        weir_channel *p;
        weir_channel_options options = { .capacity = 4096, .wait = all_waits[round / 2] };
        CHECK_OK(weir_channel_open(&p, NAME, WEIR_PRODUCER, &options));
        child_ends(WEIR_CONSUMER, do_nothing, killed);
        uint64_t count = send_until_full(p, 0, &last);
        CHECK(count == 255);
        CHECK_STATUS(last, end); /* not before the lane is full, and then at once */
        CHECK_STATUS(send_id(p, count, WEIR_NOWAIT), WEIR_FULL);
        CHECK_STATUS(send_id(p, count, WEIR_MILLISECONDS(60)), WEIR_TIMEOUT);
        CHECK_STATUS(weir_channel_drain(p, WEIR_NOWAIT), WEIR_FULL);
        weir_channel *c = open_as(NAME, WEIR_CONSUMER, 0);
        for (uint64_t id = 0; id < count; id++)
            receive_id(c, id);
        CHECK_OK(weir_channel_drain(p, WEIR_NOWAIT));
        /* The next generation's end is news again, for whoever drains too. */
        CHECK_OK(send_id(p, 0, WEIR_NOWAIT));
        CHECK_OK(weir_channel_close(c));
        CHECK_STATUS(weir_channel_drain(p, WEIR_FOREVER), WEIR_CLOSED);
        CHECK_STATUS(weir_channel_drain(p, WEIR_MILLISECONDS(1)), WEIR_TIMEOUT);
        child_ends(WEIR_CONSUMER, do_nothing, true);
        CHECK_STATUS(weir_channel_drain(p, WEIR_FOREVER), WEIR_DIED);
        CHECK_OK(weir_channel_close(p));
    }
}

Test(channel_end, a_producer_waiting_for_room_hears_of_the_end_of_the_consumer)
{
    (void)support_shm_dir();
    for (int round = 0; round < 12; round++) {
        bool killed = round % 2 != 0;
        struct gate ready = gate_make(), full = gate_make();
        weir_channel *p;
        weir_status last;
        weir_channel_options options = { .capacity = 4096, .wait = all_waits[round % 3] };
        CHECK_OK(weir_channel_open(&p, NAME, WEIR_PRODUCER, &options));
        pid_t child = child_fork();
        if (child == 0) {
            struct third third;
            weir_channel *c = open_as(NAME, WEIR_CONSUMER, 0);
            third_open(&third, NAME);
            gate_open(ready);
            gate_wait(full);
            if (round % 3 != 1)
                wait_for_word32(&third.layout->member[0].sleeper.armed, 1);
            if (killed)
                (void)raise(SIGKILL);
            third_close(&third);
            CHECK_OK(weir_channel_close(c));
            _exit(0);
        }
        gate_wait(ready);
        (void)send_until_full(p, 0, &last);
        CHECK_STATUS(last, WEIR_FULL); /* it is there */
        gate_open(full);
        weir_status end = killed ? WEIR_DIED : WEIR_CLOSED;
        if (round < 6)
            CHECK_STATUS(send_id(p, 0, HELP_DEADLINE), end);
        else
            CHECK_STATUS(weir_channel_drain(p, HELP_DEADLINE), end);
        CHECK(support_wait(child) == (killed ? -SIGKILL : 0));
        CHECK_OK(weir_channel_close(p));
        gate_close(ready);
        gate_close(full);
    }
}

Test(channel_end, a_producer_that_comes_after_the_consumer_has_gone_just_waits_for_the_next_one)
{
    (void)support_shm_dir();
    for (int killed = 0; killed < 2; killed++) {
        struct third third;
        weir_status last;
        weir_channel *p = open_as(NAME, WEIR_PRODUCER, 4096);
        third_open(&third, NAME);
        child_ends(WEIR_CONSUMER, do_nothing, killed != 0);
        CHECK_OK(weir_channel_close(p));
        p = open_as(NAME, WEIR_PRODUCER, 0);
        (void)send_until_full(p, 0, &last);
        CHECK_STATUS(last, WEIR_FULL);
        CHECK_STATUS(send_id(p, 0, WEIR_MILLISECONDS(60)), WEIR_TIMEOUT);
        CHECK_OK(weir_channel_close(p));
        third_close(&third);
    }
}

Test(channel_end, what_was_not_released_is_received_again_by_the_next_consumer_and_what_was_released_is_not)
{
    (void)support_shm_dir();
    for (int killed = 0; killed < 2; killed++) {
        weir_channel *p = open_as(NAME, WEIR_PRODUCER, 4096);
        for (uint64_t id = 0; id < 10; id++)
            CHECK_OK(send_id(p, id, WEIR_NOWAIT));
        child_ends(WEIR_CONSUMER, read_four_and_release_two, killed != 0);
        weir_channel *c = open_as(NAME, WEIR_CONSUMER, 0);
        for (uint64_t id = 2; id < 10; id++)
            receive_id(c, id);
        CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_EMPTY);
        CHECK_OK(weir_channel_close(p));
        CHECK_OK(weir_channel_close(c));
    }
}

/* ---- fork ---- */

static void every_call_is_FORKED(weir_channel *channel)
{
    uint64_t id = 7;
    uint32_t len = 77;
    void *slot = &id;
    const void *msg = &id;
    weir_channel_facts facts = { .full = 99 };
    errno = 1234;
    CHECK_STATUS(weir_send(channel, &id, 8, WEIR_FOREVER), WEIR_E_FORKED);
    CHECK_STATUS(weir_send(channel, &id, 0, WEIR_NOWAIT), WEIR_E_FORKED);
    CHECK_STATUS(weir_send_more(channel, &id, 8, WEIR_FOREVER), WEIR_E_FORKED);
    CHECK_STATUS(weir_reserve(channel, 8, &slot, WEIR_FOREVER), WEIR_E_FORKED);
    CHECK_STATUS(weir_commit(channel, 8), WEIR_E_FORKED);
    CHECK_STATUS(weir_commit_more(channel, 0), WEIR_E_FORKED);
    CHECK_STATUS(weir_flush(channel), WEIR_E_FORKED);
    CHECK_STATUS(weir_receive(channel, &id, 8, &len, WEIR_FOREVER), WEIR_E_FORKED);
    CHECK_STATUS(weir_receive_more(channel, &id, 8, &len, WEIR_NOWAIT), WEIR_E_FORKED);
    CHECK_STATUS(weir_peek(channel, &msg, &len, WEIR_FOREVER), WEIR_E_FORKED);
    CHECK_STATUS(weir_release(channel), WEIR_E_FORKED);
    CHECK_STATUS(weir_channel_drain(channel, WEIR_FOREVER), WEIR_E_FORKED);
    CHECK_STATUS(weir_channel_info(channel, &facts), WEIR_E_FORKED);
    CHECK(id == 7 && len == 77 && slot == &id && msg == &id && facts.full == 99);
    CHECK(errno == 1234);
    CHECK_OK(weir_channel_close(channel));
}

Test(channel_end, in_a_forked_child_every_call_is_FORKED_close_is_fine_and_the_parent_goes_on)
{
    const char *dir = support_shm_dir();
    weir_channel *p = open_as(NAME, WEIR_PRODUCER, 4096), *c = open_as(NAME, WEIR_CONSUMER, 0);
    weir_channel *lone = open_as("lone", WEIR_CONSUMER, 0); /* it has no lane */
    uint64_t id = 1;
    void *slot;
    CHECK_OK(send_id(p, 0, WEIR_NOWAIT));
    CHECK_OK(weir_send_more(p, &id, 8, WEIR_NOWAIT));
    CHECK_OK(weir_reserve(p, 8, &slot, WEIR_NOWAIT));
    pid_t child = child_fork();
    if (child == 0) {
        every_call_is_FORKED(p);
        every_call_is_FORKED(c);
        every_call_is_FORKED(lone);
        weir_channel *other;
        CHECK_STATUS(weir_channel_open(&other, NAME, WEIR_PRODUCER, NULL), WEIR_E_IN_USE);
        CHECK_OK(weir_channel_open(&other, "childs", WEIR_PRODUCER, NULL)); /* and it opens its own */
        CHECK_OK(weir_channel_close(other));
        _exit(0);
    }
    CHECK(support_wait(child) == 0);
    id = 2;
    memcpy(slot, &id, 8);
    CHECK_OK(weir_commit(p, 8));
    for (id = 0; id < 3; id++)
        receive_id(c, id);
    CHECK(facts_of(p).consumer.presence == WEIR_ALIVE && facts_of(c).producer.presence == WEIR_ALIVE);
    CHECK_OK(weir_channel_close(p));
    CHECK_OK(weir_channel_close(c));
    CHECK_OK(weir_channel_close(lone));
    CHECK(support_entries(dir, true) == 0);
}

Test(channel_end, a_forked_child_that_lives_on_does_not_keep_its_parents_roles)
{
    (void)support_shm_dir();
    struct gate ready = gate_make(), go = gate_make();
    weir_channel *c = open_as(NAME, WEIR_CONSUMER, 4096);
    pid_t *grandchild = share_pages(4096);
    pid_t child = child_fork();
    if (child == 0) {
        weir_channel *p = open_as(NAME, WEIR_PRODUCER, 0);
        send_three(p);
        *grandchild = fork();
        CHECK(*grandchild >= 0);
        if (*grandchild == 0) {
            *grandchild = getpid();
            gate_open(ready);
            gate_wait(go);
            _exit(0);
        }
        for (;;)
            (void)pause();
    }
    gate_wait(ready);
    child_kill(child);
    for (uint64_t id = 0; id < 3; id++)
        receive_id(c, id);
    CHECK_STATUS(receive_nothing(c, HELP_DEADLINE), WEIR_DIED);
    weir_channel *p = open_as(NAME, WEIR_PRODUCER, 0);
    CHECK_OK(weir_channel_close(p));
    gate_open(go);
    CHECK_OK(weir_channel_close(c));
}

/* ---- signals ---- */

static struct {
    weir_channel *self, *other;
    bool self_sends;
    int ticks;
    weir_status wrong; /* a status that was not BUSY */
    weir_status helped;
} at_signal;

static void note(weir_status status)
{
    if (status != WEIR_E_BUSY)
        at_signal.wrong = status;
}

static void on_signal(int number)
{
    uint64_t id = 1000;
    uint32_t len;
    void *slot;
    const void *msg;
    weir_channel_facts facts;
    int saved = errno;
    (void)number;
    if (at_signal.self->busy == 0)
        return; /* before the call, or behind it: the machine was slow */
    note(weir_send(at_signal.self, &id, 8, WEIR_FOREVER));
    note(weir_send_more(at_signal.self, &id, 8, WEIR_FOREVER));
    note(weir_reserve(at_signal.self, 8, &slot, WEIR_FOREVER));
    note(weir_commit(at_signal.self, 8));
    note(weir_commit_more(at_signal.self, 8));
    note(weir_flush(at_signal.self));
    note(weir_receive(at_signal.self, &id, 8, &len, WEIR_FOREVER));
    note(weir_receive_more(at_signal.self, &id, 8, &len, WEIR_FOREVER));
    note(weir_peek(at_signal.self, &msg, &len, WEIR_FOREVER));
    note(weir_release(at_signal.self));
    note(weir_channel_drain(at_signal.self, WEIR_FOREVER));
    note(weir_channel_info(at_signal.self, &facts));
    note(weir_channel_close(at_signal.self));
    /* On another handle the same call is served: here the one that ends the wait. */
    if (++at_signal.ticks == 5)
        at_signal.helped = at_signal.self_sends ? weir_receive(at_signal.other, &id, 8, &len, WEIR_NOWAIT)
                                                : weir_send(at_signal.other, &id, 8, WEIR_NOWAIT);
    errno = saved;
}

static void with_signals(int on)
{
    struct itimerval every = { .it_interval = { .tv_usec = on * 3000 }, .it_value = { .tv_usec = on * 3000 } };
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    at_signal.ticks = 0;
    at_signal.wrong = WEIR_E_BUSY;
    at_signal.helped = WEIR_E_STATE;
    if (on)
        CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
}

Test(channel_end, in_a_handler_inside_a_call_the_same_handle_is_BUSY_and_another_one_works)
{
    (void)support_shm_dir();
    for (int wait = 0; wait < 3; wait++) {
        weir_channel_options options = { .capacity = 4096, .wait = all_waits[wait] };
        weir_channel *p, *c;
        weir_status last;
        uint64_t got = 0;
        uint32_t len = 0;
        CHECK_OK(weir_channel_open(&p, NAME, WEIR_PRODUCER, &options));
        CHECK_OK(weir_channel_open(&c, NAME, WEIR_CONSUMER, &options));

        at_signal.self = c;
        at_signal.other = p;
        at_signal.self_sends = false;
        with_signals(1);
        weir_status status = weir_receive(c, &got, 8, &len, HELP_DEADLINE);
        with_signals(0);
        CHECK_OK(status);
        CHECK(got == 1000 && len == 8);

        (void)send_until_full(p, 0, &last);
        at_signal.self = p;
        at_signal.other = c;
        at_signal.self_sends = true;
        with_signals(1);
        status = send_id(p, 77, HELP_DEADLINE);
        int ticks = at_signal.ticks;
        weir_status wrong = at_signal.wrong, helped = at_signal.helped;
        with_signals(0);
        CHECK_OK(status);
        CHECK(ticks >= 5);
        CHECK_STATUS(wrong, WEIR_E_BUSY);
        CHECK_OK(helped);
        for (uint64_t id = 1; id < 255; id++)
            receive_id(c, id);
        receive_id(c, 77);
        CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_EMPTY);
        CHECK_OK(weir_channel_close(p));
        CHECK_OK(weir_channel_close(c));
    }
}

Test(channel_end, a_signal_does_not_end_a_wait_early)
{
    (void)support_shm_dir();
    for (int wait = 0; wait < 3; wait++) {
        weir_channel_options options = { .capacity = 4096, .wait = all_waits[wait] };
        weir_channel *c, *p;
        CHECK_OK(weir_channel_open(&p, "tx", WEIR_PRODUCER, &options));
        CHECK_OK(weir_channel_open(&c, NAME, WEIR_CONSUMER, &options));
        at_signal.self = c;
        at_signal.other = p; /* of a channel where nobody waits */
        at_signal.self_sends = false;
        int ticks = 0;
        for (int64_t end = help_now_ns() + HELP_DEADLINE; ticks < 2 && help_now_ns() < end;) {
            with_signals(1);
            int64_t begin = help_now_ns();
            weir_status status = receive_nothing(c, WEIR_MILLISECONDS(100));
            int64_t took = help_now_ns() - begin;
            ticks = at_signal.ticks;
            weir_status wrong = at_signal.wrong;
            with_signals(0);
            CHECK_STATUS(status, WEIR_TIMEOUT);
            CHECK(took >= WEIR_MILLISECONDS(100));
            CHECK_STATUS(wrong, WEIR_E_BUSY);
        }
        CHECK(ticks >= 2);
        CHECK_OK(weir_channel_close(p));
        CHECK_OK(weir_channel_close(c));
    }
}
