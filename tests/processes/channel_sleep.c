/* No wake-up is lost: both ends sleep at once whenever they have nothing to do, with random delays between, and only a
 * wake ends a sleep.  What a killed producer committed reaches a consumer that nobody woke. */
#include "ipc/endless_sleep.h"

#include <inttypes.h>
#include <sched.h>

#define HANDSHAKE 64 /* of so many messages one is sent to a peer that is asleep for certain */

struct counts {
    weir_atomic_u64 sleeps[2]; /* of each side, as endless_sleep.h counts */
    weir_atomic_u64 looks;     /* the producer of bursts waits for its consumer to sleep */
    weir_atomic_u64 ended;
};

static void delay(uint64_t *seed)
{
    uint64_t random = support_random(seed);
    if ((random & 3) == 0)
        return;
    for (uint64_t i = random >> 32 & ((random & 4) != 0 ? 63 : 511); i > 0; i--)
        weir_pause();
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

/* Waits until the peer sleeps, once more since *last. */
static void wait_for_sleep(const weir_atomic_u64 *sleeps, uint64_t *last)
{
    int64_t deadline = help_now_ns() + HELP_DEADLINE;
    while (!endless_is_asleep(sleeps, *last)) {
        CHECK(help_now_ns() < deadline);
        (void)sched_yield();
    }
    *last = weir_load_acq(sleeps);
}

/* least: sleeps that one side has seen of the other.  Others are up to the machine. */
static void judge(const char *what, struct counts *counts, uint64_t waits, uint64_t least)
{
    uint64_t sleeps = (weir_load_acq(&counts->sleeps[0]) + weir_load_acq(&counts->sleeps[1])) / 2;
    (void)printf("%s: waits=%" PRIu64 " sleeps=%" PRIu64 ", of them certain=%" PRIu64 "\n", what, waits, sleeps, least);
    CHECK(least > 0 && sleeps >= least);
    endless_sleeps = NULL;
    CHECK(munmap(counts, sizeof *counts) == 0);
}

/* ---- ping-pong: every message meets a peer that is about to sleep ----
 * The delays before a receive make the answer come now before it arms, now after.  Against a peer that spins the answer
 * comes so fast that it often meets the very moment. */

static void play(bool serves, weir_wait wait, weir_wait peers_wait, uint64_t count, uint64_t seed,
                 struct counts *counts)
{
    weir_channel *p = open_waiter(serves ? "ping" : "pong", WEIR_PRODUCER, WEIR_WAIT_SLEEP);
    weir_channel *c = open_waiter(serves ? "pong" : "ping", WEIR_CONSUMER, wait);
    uint64_t last = 0;
    endless_sleeps = &counts->sleeps[serves];
    for (uint64_t id = 0; id < count; id++) {
        if (!serves) {
            delay(&seed);
            receive_id(c, id);
        }
        delay(&seed);
        if (id % HANDSHAKE == HANDSHAKE - 1 && peers_wait != WEIR_WAIT_SPIN)
            wait_for_sleep(&counts->sleeps[!serves], &last);
        CHECK_OK(send_id(p, id, HELP_DEADLINE));
        if (serves) {
            delay(&seed);
            receive_id(c, id);
        }
    }
    CHECK_OK(weir_channel_drain(p, HELP_DEADLINE));
    CHECK_OK(weir_channel_close(p));
    CHECK_OK(weir_channel_close(c));
}

static void ping_pong(weir_wait childs_wait, uint64_t count, uint64_t *seed)
{
    bool spins = childs_wait == WEIR_WAIT_SPIN;
    struct counts *counts = share_pages(sizeof *counts);
    uint64_t childs = support_random(seed);
    pid_t child = child_fork();
    if (child == 0) {
        play(false, childs_wait, WEIR_WAIT_SLEEP, count, childs, counts);
        _exit(0);
    }
    play(true, WEIR_WAIT_SLEEP, childs_wait, count, support_random(seed), counts);
    CHECK(support_wait(child) == 0);
    judge(spins ? "ping-pong with a spinner" : "ping-pong", counts, 2 * count, count / HANDSHAKE * (spins ? 1 : 2));
}

/* ---- bursts through a small lane: the producer sleeps for room as the consumer does for messages ---- */

/* Lets the lane fill up, until the producer sleeps; not while it waits for this side to sleep. */
static void let_it_fill(const struct counts *counts)
{
    int64_t deadline = help_now_ns() + HELP_DEADLINE;
    while (!endless_is_asleep(&counts->sleeps[0], 0) && weir_load_acq(&counts->looks) == 0 &&
           weir_load_acq(&counts->ended) == 0) {
        CHECK(help_now_ns() < deadline);
        (void)sched_yield();
    }
}

static void burst_consumer(uint64_t count, uint64_t seed, struct counts *counts)
{
    static unsigned char buffer[HELP_BUFFER];
    weir_channel *c = open_sleeper("burst", WEIR_CONSUMER);
    endless_sleeps = &counts->sleeps[1];
    for (uint64_t id = 0; id < count; id++) {
        uint32_t len;
        const void *msg = buffer;
        bool more = (support_random(&seed) & 7) == 0;
        if (more)
            CHECK_OK(weir_peek(c, &msg, &len, HELP_DEADLINE));
        else
            CHECK_OK(weir_receive(c, buffer, sizeof buffer, &len, HELP_DEADLINE));
        CHECK(message_is_whole(msg, id, len));
        if (more)
            CHECK_OK(weir_release(c));
        uint64_t random = support_random(&seed);
        if ((random & 15) == 0)
            delay(&seed);
        if ((random >> 8 & 511) == 0)
            let_it_fill(counts);
    }
    CHECK_OK(weir_channel_close(c));
}

/* The sleeps of the consumer that it has waited for. */
static uint64_t burst_producer(uint64_t count, uint64_t *seed, struct counts *counts)
{
    static unsigned char buffer[HELP_BUFFER];
    weir_channel *p = open_sleeper("burst", WEIR_PRODUCER);
    uint64_t bursts = 0, seen = 0, last = 0;
    endless_sleeps = &counts->sleeps[0];
    for (uint64_t id = 0, left = 0; id < count; id++, left--) {
        uint64_t random = support_random(seed), len = 8 + (random & 15 ? random >> 8 & 127 : random >> 8 & 1023);
        if (left == 0) { /* all before is published */
            delay(seed);
            left = 1 + (random >> 32 & 127);
            if (++bursts % 8 == 0) {
                weir_store_rel(&counts->looks, 1);
                wait_for_sleep(&counts->sleeps[1], &last);
                weir_store_rel(&counts->looks, 0);
                seen++;
            }
        }
        message_fill(buffer, id, len);
        CHECK_OK((random >> 40 & 7) == 0 && id + 1 < count && left > 1 ? weir_send_more(p, buffer, len, HELP_DEADLINE)
                                                                      : weir_send(p, buffer, len, HELP_DEADLINE));
    }
    CHECK_OK(weir_channel_drain(p, HELP_DEADLINE));
    weir_store_rel(&counts->ended, 1);
    CHECK_OK(weir_channel_close(p));
    return seen;
}

static void burst(uint64_t count, uint64_t *seed)
{
    struct counts *counts = share_pages(sizeof *counts);
    uint64_t childs = support_random(seed);
    pid_t child = child_fork();
    if (child == 0) {
        burst_consumer(count, childs, counts);
        _exit(0);
    }
    uint64_t seen = burst_producer(count, seed, counts);
    CHECK(support_wait(child) == 0);
    judge("bursts", counts, count, seen);
}

/* ---- a waker that dies between the message and the wake: here the bound ends the sleep ---- */

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
    burst(support_count(400000) < 20000 ? 20000 : support_count(400000), &seed);
    dies_before_it_wakes(support_count(60));
    CHECK(support_entries(dir, true) == 0);
    return 0;
}
