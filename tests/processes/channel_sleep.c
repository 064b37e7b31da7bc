/* No wake-up is lost: both ends sleep at once whenever they have nothing to do, with random delays between, and hardly
 * any wait lasts as long as a sleep's bound.  What a killed producer committed reaches a consumer that nobody woke. */
#include "ipc/channel_help.h"

#include <inttypes.h>

#define LATE_NS INT64_C(35000000) /* a sleep's bound is 45 ms */

struct counts {
    weir_atomic_u64 late[2], sleeps[2], done[2];
};

static void delay(uint64_t *seed)
{
    uint64_t random = support_random(seed);
    if ((random & 3) == 0)
        return;
    for (uint64_t i = random >> 32 & ((random & 4) != 0 ? 63 : 511); i > 0; i--)
        weir_pause();
}

static void add(weir_atomic_u64 *word, uint64_t more)
{
    weir_store_rel(word, weir_load_rlx(word) + more); /* one writer each */
}

static weir_channel *open_waiter(const char *name, weir_role role, weir_wait wait)
{
    weir_channel *channel;
    weir_channel_options options = { .capacity = 4096, .wait = wait };
    CHECK_OK(weir_channel_open(&channel, name, role, &options));
    return channel;
}

static weir_channel *open_sleeper(const char *name, weir_role role)
{
    return open_waiter(name, role, WEIR_WAIT_SLEEP);
}

static void finish(weir_channel *channel, weir_atomic_u64 *sleeps)
{
    add(sleeps, facts_of(channel).sleeps);
    CHECK_OK(weir_channel_close(channel));
}

/* A wait may be late because the machine is busy; as a rule it is not. */
static void judge(const char *what, const struct counts *counts, uint64_t waits)
{
    uint64_t late = weir_load_acq(&counts->late[0]) + weir_load_acq(&counts->late[1]);
    uint64_t sleeps = weir_load_acq(&counts->sleeps[0]) + weir_load_acq(&counts->sleeps[1]);
    (void)printf("%s: waits=%" PRIu64 " sleeps=%" PRIu64 " late=%" PRIu64 "\n", what, waits, sleeps, late);
    CHECK(sleeps > waits / 1000); /* or nothing was tried; a slow build finds its peer awake more often */
    CHECK(late <= 10 + waits / 5000);
}

/* ---- ping-pong: every message meets a peer that is about to sleep ----
 * The delays before a receive make the answer come now before it arms, now after.  Against a peer that spins the answer
 * comes so fast that it often meets the very moment. */

static void play(bool serves, weir_wait wait, uint64_t count, uint64_t seed, struct counts *counts)
{
    weir_channel *p = open_waiter(serves ? "ping" : "pong", WEIR_PRODUCER, WEIR_WAIT_SLEEP);
    weir_channel *c = open_waiter(serves ? "pong" : "ping", WEIR_CONSUMER, wait);
    int side = serves;
    for (uint64_t id = 0; id < count; id++) {
        if (serves) {
            delay(&seed);
            CHECK_OK(send_id(p, id, HELP_DEADLINE));
        }
        delay(&seed);
        int64_t begin = help_now_ns();
        receive_id(c, id);
        if (help_now_ns() - begin >= LATE_NS)
            add(&counts->late[side], 1);
        if (!serves) {
            delay(&seed);
            CHECK_OK(send_id(p, id, HELP_DEADLINE));
        }
        add(&counts->done[side], 1);
    }
    CHECK_OK(weir_channel_drain(p, HELP_DEADLINE));
    finish(p, &counts->sleeps[side]);
    finish(c, &counts->sleeps[side]);
}

static void ping_pong(weir_wait childs_wait, uint64_t count, uint64_t *seed)
{
    struct counts *counts = share_pages(sizeof *counts);
    uint64_t childs = support_random(seed);
    pid_t child = child_fork();
    if (child == 0) {
        play(false, childs_wait, count, childs, counts);
        _exit(0);
    }
    play(true, WEIR_WAIT_SLEEP, count, support_random(seed), counts);
    CHECK(support_wait(child) == 0);
    judge(childs_wait == WEIR_WAIT_SPIN ? "ping-pong with a spinner" : "ping-pong", counts, 2 * count);
}

/* ---- bursts through a small lane: the producer sleeps for room as the consumer does for messages ---- */

static void burst(uint64_t count, uint64_t *seed)
{
    static unsigned char buffer[HELP_BUFFER];
    struct counts *counts = share_pages(sizeof *counts);
    uint64_t childs = support_random(seed);
    pid_t child = child_fork();
    if (child == 0) {
        weir_channel *c = open_sleeper("burst", WEIR_CONSUMER);
        for (uint64_t id = 0; id < count; id++) {
            uint32_t len;
            int64_t begin = help_now_ns();
            const void *msg = buffer;
            bool more = (support_random(&childs) & 7) == 0;
            if (more)
                CHECK_OK(weir_peek(c, &msg, &len, HELP_DEADLINE));
            else
                CHECK_OK(weir_receive(c, buffer, sizeof buffer, &len, HELP_DEADLINE));
            if (help_now_ns() - begin >= LATE_NS)
                add(&counts->late[1], 1);
            CHECK(message_is_whole(msg, id, len));
            if (more)
                CHECK_OK(weir_release(c));
            if ((support_random(&childs) & 15) == 0)
                delay(&childs);
        }
        finish(c, &counts->sleeps[1]);
        _exit(0);
    }
    weir_channel *p = open_sleeper("burst", WEIR_PRODUCER);
    for (uint64_t id = 0, left = 0; id < count; id++, left--) {
        uint64_t random = support_random(seed), len = 8 + (random & 15 ? random >> 8 & 127 : random >> 8 & 1023);
        if (left == 0) {
            delay(seed);
            left = 1 + (random >> 32 & 127);
        }
        message_fill(buffer, id, len);
        int64_t begin = help_now_ns();
        CHECK_OK((random >> 40 & 7) == 0 && id + 1 < count && left > 1 ? weir_send_more(p, buffer, len, HELP_DEADLINE)
                                                                      : weir_send(p, buffer, len, HELP_DEADLINE));
        if (help_now_ns() - begin >= LATE_NS)
            add(&counts->late[0], 1);
    }
    int64_t begin = help_now_ns();
    CHECK_OK(weir_channel_drain(p, HELP_DEADLINE));
    if (help_now_ns() - begin >= LATE_NS)
        add(&counts->late[0], 1);
    finish(p, &counts->sleeps[0]);
    CHECK(support_wait(child) == 0);
    judge("bursts", counts, count);
}

/* ---- a waker that dies between the message and the wake ---- */

static void dies_before_it_wakes(uint64_t rounds)
{
    for (uint64_t round = 0; round < rounds; round++) {
        weir_channel *c = open_sleeper("dies", WEIR_CONSUMER);
        pid_t child = child_fork();
        if (child == 0) {
            struct third third;
            weir_channel *p = open_sleeper("dies", WEIR_PRODUCER);
            third_open(&third, "dies");
            wait_for_word32(&third.layout->consumer.armed, 1);
            /* As if it had cleared the word and not come to the system call: what it sends now wakes nobody. */
            weir_store32_rlx(&third.layout->consumer.armed, 0);
            for (uint64_t id = 0; id <= round % 3; id++)
                CHECK_OK(send_id(p, id, WEIR_NOWAIT));
            (void)raise(SIGKILL);
        }
        for (uint64_t id = 0; id <= round % 3; id++)
            receive_id(c, id);
        CHECK_STATUS(receive_nothing(c, HELP_DEADLINE), WEIR_DIED);
        CHECK(support_wait(child) == -SIGKILL);
        /* The other side: a consumer that made room and woke nobody. */
        weir_channel *p = open_sleeper("dies", WEIR_PRODUCER);
        weir_status last;
        (void)send_until_full(p, 0, &last);
        CHECK_STATUS(last, WEIR_FULL);
        CHECK_OK(weir_channel_close(c));
        CHECK_STATUS(send_id(p, 0, WEIR_NOWAIT), WEIR_CLOSED);
        child = child_fork();
        if (child == 0) {
            struct third third;
            c = open_sleeper("dies", WEIR_CONSUMER);
            third_open(&third, "dies");
            wait_for_word32(&third.layout->member[0].sleeper.armed, 1);
            weir_store32_rlx(&third.layout->member[0].sleeper.armed, 0);
            for (uint64_t id = 0; id < 3; id++)
                receive_id(c, id);
            (void)raise(SIGKILL);
        }
        CHECK_OK(send_id(p, 0, HELP_DEADLINE));
        CHECK(support_wait(child) == -SIGKILL);
        CHECK_OK(weir_channel_close(p));
    }
}

int main(void)
{
    const char *dir = support_shm_dir();
    uint64_t seed = support_seed();
    ping_pong(WEIR_WAIT_SLEEP, support_count(100000), &seed);
    ping_pong(WEIR_WAIT_SPIN, support_count(100000), &seed);
    burst(support_count(400000), &seed);
    dies_before_it_wakes(support_count(60));
    CHECK(support_entries(dir, true) == 0);
    return 0;
}
