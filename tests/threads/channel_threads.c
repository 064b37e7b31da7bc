/* Both ends of a channel in one process, on two threads: every wait, a small lane, every way to send and to receive. */
#include "ipc/channel_help.h"

#include <pthread.h>

#define MESSAGES UINT64_C(200000)

struct run {
    weir_channel_options options;
    uint64_t count, seed;
    bool opens_first;
    pthread_barrier_t *opened;
};

static uint64_t length_of(uint64_t id)
{
    return 8 + (id % 16 != 0 ? id * 29 % 120 : id * 131 % 1500);
}

static void *produce(void *arg)
{
    struct run *run = arg;
    static _Thread_local unsigned char out[HELP_BUFFER];
    uint64_t seed = run->seed | 1;
    weir_channel *p;
    if (!run->opens_first)
        (void)pthread_barrier_wait(run->opened);
    CHECK_OK(weir_channel_open(&p, "threads", WEIR_PRODUCER, &run->options));
    if (run->opens_first)
        (void)pthread_barrier_wait(run->opened);
    for (uint64_t id = 0; id < run->count; id++) {
        uint64_t len = length_of(id), how = support_random(&seed) >> 20 & 7;
        void *slot = out;
        if (how >= 4)
            CHECK_OK(weir_reserve(p, len + (how & 1), &slot, HELP_DEADLINE));
        message_fill(slot, id, len);
        switch (how) {
        case 4:
        case 5: CHECK_OK(weir_commit(p, len)); break;
        case 6:
        case 7: CHECK_OK(weir_commit_more(p, len)); break;
        case 0: CHECK_OK(weir_send_more(p, out, len, HELP_DEADLINE)); break;
        default: CHECK_OK(weir_send(p, out, len, HELP_DEADLINE)); break;
        }
    }
    CHECK_OK(weir_channel_close(p)); /* publishes what is left of a batch */
    return NULL;
}

static void *consume(void *arg)
{
    struct run *run = arg;
    static _Thread_local unsigned char in[HELP_BUFFER];
    uint64_t seed = run->seed ^ UINT64_C(0x5555555555555555), unreleased = 0;
    weir_channel *c;
    if (run->opens_first)
        (void)pthread_barrier_wait(run->opened);
    CHECK_OK(weir_channel_open(&c, "threads", WEIR_CONSUMER, &run->options));
    if (!run->opens_first)
        (void)pthread_barrier_wait(run->opened);
    for (uint64_t id = 0; id < run->count; id++) {
        uint32_t len;
        const void *msg = in;
        uint64_t how = support_random(&seed) >> 20 & 3;
        if (how == 0)
            CHECK_OK(weir_peek(c, &msg, &len, HELP_DEADLINE));
        else if (how == 1)
            CHECK_OK(weir_receive_more(c, in, sizeof in, &len, HELP_DEADLINE));
        else
            CHECK_OK(weir_receive(c, in, sizeof in, &len, HELP_DEADLINE));
        CHECK(len == length_of(id));
        CHECK(message_is_whole(msg, id, len));
        unreleased = how < 2 ? unreleased + len + 16 : 0;
        if (unreleased > 1000) {
            CHECK_OK(weir_release(c));
            unreleased = 0;
        }
    }
    CHECK_STATUS(receive_nothing(c, HELP_DEADLINE), WEIR_CLOSED);
    CHECK_OK(weir_channel_close(c));
    return NULL;
}

int main(void)
{
    const char *dir = support_shm_dir();
    uint64_t seed = support_seed();
    for (int wait = WEIR_WAIT_SPIN_SLEEP; wait <= WEIR_WAIT_SLEEP; wait++)
        for (int order = 0; order < 2; order++) {
            pthread_barrier_t opened;
            pthread_t threads[2];
            CHECK(pthread_barrier_init(&opened, NULL, 2) == 0);
            struct run p = { .options = { .wait = (weir_wait)wait, .capacity = 4096 },
                             .count = support_count(MESSAGES),
                             .seed = support_random(&seed),
                             .opens_first = order == 0,
                             .opened = &opened };
            struct run c = p;
            c.opens_first = order == 0;
            if (order == 1)
                c.options.capacity = 0; /* the lane comes with the producer, under the consumer's eyes */
            CHECK(pthread_create(&threads[0], NULL, produce, &p) == 0);
            CHECK(pthread_create(&threads[1], NULL, consume, &c) == 0);
            CHECK(pthread_join(threads[0], NULL) == 0);
            CHECK(pthread_join(threads[1], NULL) == 0);
            CHECK(pthread_barrier_destroy(&opened) == 0);
            CHECK(support_entries(dir, true) == 0);
        }
    return 0;
}
