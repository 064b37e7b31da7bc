/* Channels of every kind: a participant is killed before and behind each of its system calls of opening, of its first
 * messages and of leaving.  The other side goes on, a successor with the same number opens the role, and all that was
 * sent and not released comes. */
#include "ipc/kinds_help.h"
#include "naming/faults.h"

#define NAME "kills"
#define MESSAGES 3

static bool polls; /* these lives are an event loop's: with a descriptor, and the death watch */

static void ask_for_descriptor(weir_channel *channel)
{
    int fd;
    if (polls)
        CHECK_OK(weir_channel_descriptor(channel, &fd));
}

static void life_of_a_producer(weir_channel_options options)
{
    weir_channel *p;
    CHECK_OK(weir_channel_open(&p, NAME, WEIR_PRODUCER, &options));
    ask_for_descriptor(p);
    for (uint64_t id = 0; id < MESSAGES; id++)
        CHECK_OK(send_id(p, id, WEIR_NOWAIT));
    CHECK_STATUS(weir_channel_drain(p, WEIR_NOWAIT), WEIR_FULL); /* asks who is there */
    CHECK_OK(weir_channel_close(p));
}

static void life_of_a_consumer(weir_channel_options options)
{
    weir_channel *c;
    CHECK_OK(weir_channel_open(&c, NAME, WEIR_CONSUMER, &options));
    ask_for_descriptor(c);
    receive_id(c, options.kind == WEIR_LATEST ? MESSAGES - 1 : 0);
    while (receive_nothing(c, WEIR_NOWAIT) == WEIR_OK)
        continue;
    CHECK_OK(weir_channel_close(c));
}

/* True: it was killed. */
static bool try_life(weir_role role, weir_channel_options options, long at, bool after)
{
    pid_t child = child_fork();
    if (child == 0) {
        arm_kill(at, after);
        if (role == WEIR_PRODUCER)
            life_of_a_producer(options);
        else
            life_of_a_consumer(options);
        disarm();
        _exit(0);
    }
    int status = support_wait(child);
    CHECK(status == 0 || status == -SIGKILL);
    return status != 0;
}

static void follow_a_producer(const struct kind_row *k, weir_channel_options options, weir_channel *c, bool killed)
{
    weir_channel *p;
    uint64_t got, count = 0;
    uint32_t len;
    weir_status end;
    while ((end = weir_receive(c, &got, 8, &len, WEIR_NOWAIT)) == WEIR_OK) {
        CHECK(k->kind == WEIR_LATEST ? got < MESSAGES : got == count);
        count++;
    }
    CHECK(end == WEIR_EMPTY ? count == 0 : end == WEIR_DIED || end == WEIR_CLOSED);
    CHECK(killed || (end == WEIR_CLOSED && count == (k->kind == WEIR_LATEST ? 1 : MESSAGES)));
    CHECK_OK(weir_channel_open(&p, NAME, WEIR_PRODUCER, &options));
    for (uint64_t id = 100; id < 500; id++) { /* some laps */
        CHECK_OK(send_id(p, id, WEIR_NOWAIT));
        receive_id(c, id);
    }
    CHECK_OK(weir_channel_close(p));
    CHECK_STATUS(receive_nothing(c, HELP_DEADLINE), WEIR_CLOSED);
}

static void follow_a_consumer(weir_channel_options options, weir_channel *p)
{
    weir_channel *c;
    uint64_t got = 0, next = 0;
    uint32_t len;
    CHECK_OK(weir_channel_open(&c, NAME, WEIR_CONSUMER, &options));
    bool first = true;
    while (weir_receive(c, &got, 8, &len, WEIR_NOWAIT) == WEIR_OK) {
        CHECK(first || got == next); /* what it released does not come again, all else does */
        next = got + 1;
        first = false;
    }
    CHECK(next == MESSAGES || first);
    for (uint64_t id = 100; id < 500; id++) {
        CHECK_OK(send_id(p, id, HELP_DEADLINE)); /* a dead one gates until that is known */
        receive_id(c, id);
    }
    CHECK_OK(weir_channel_drain(p, HELP_DEADLINE));
    CHECK_OK(weir_channel_close(c));
}

Test(kinds_kills, a_participant_killed_at_each_of_its_system_calls, .timeout = 200)
{
    const char *dir = prepare();
    uint64_t lives = 0, step = 100 / support_count(100);
    FOR_EACH_KIND(k)
        for (int variant = 0; variant < 10; variant++) {
            weir_role role = variant % 2 != 0 ? WEIR_PRODUCER : WEIR_CONSUMER;
            bool after = variant / 2 % 2 != 0, second = variant == 4 || variant == 5; /* beside another of its role */
            polls = variant >= 6;
            if (second && !(role == WEIR_PRODUCER ? k->producers : k->consumers))
                continue;
            weir_channel_options options = { .kind = k->kind, .record_bytes = 64, .identity = 5 };
            for (long at = 1;; at += (long)step) {
                weir_channel *other, *beside = NULL;
                weir_channel_options others = { .kind = k->kind, .record_bytes = 64 };
                if (role == WEIR_CONSUMER)
                    others.capacity = 4096;
                else
                    options.capacity = 4096; /* the ring comes with it */
                CHECK_OK(weir_channel_open(&other, NAME, role == WEIR_PRODUCER ? WEIR_CONSUMER : WEIR_PRODUCER,
                                           &others));
                if (second)
                    CHECK_OK(weir_channel_open(&beside, NAME, role, &others));
                if (role == WEIR_CONSUMER)
                    for (uint64_t id = 0; id < MESSAGES; id++)
                        CHECK_OK(send_id(other, id, WEIR_NOWAIT));
                bool killed = try_life(role, options, at, after);
                lives++;
                CHECK_OK(weir_channel_close(beside));
                if (role == WEIR_PRODUCER)
                    follow_a_producer(k, options, other, killed);
                else
                    follow_a_consumer(options, other);
                CHECK_OK(weir_channel_close(other));
                CHECK(support_entries(dir, true) == 0);
                if (!killed)
                    break;
                CHECK(at < 1000);
            }
        }
    CHECK(lives > 7 * 8 * 10 / step);
}
