/* The ends of a channel in one process, each on a thread: every wait, a small lane, every way to send and to receive; and
 * several of each role, of the kinds that have them. */
#include "ipc/kinds_help.h"

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

/* ---- several of a role ---- */

#define SIDE 3
#define LONGEST 1508

struct many {
    const struct kind_row *kind;
    uint32_t place;
    uint64_t count, seed; /* messages of each producer */
    weir_wait wait;
    pthread_barrier_t *opened;
    weir_atomic_u64 received;
};

static weir_channel *open_many(struct many *own, weir_role role)
{
    weir_channel *channel;
    weir_channel_options options = { .kind = own->kind->kind, .wait = own->wait };
    options.record_bytes = own->kind->for_record && role == WEIR_PRODUCER ? LONGEST : 0;
    options.capacity = role == WEIR_PRODUCER ? 4096 : 0;
    CHECK_OK(weir_channel_open(&channel, "threads", role, &options));
    (void)pthread_barrier_wait(own->opened);
    return channel;
}

static void *produce_many(void *arg)
{
    struct many *own = arg;
    static _Thread_local unsigned char out[HELP_BUFFER];
    uint64_t seed = own->seed | 1;
    weir_channel *p = open_many(own, WEIR_PRODUCER);
    for (uint64_t seq = 0; seq < own->count; seq++) {
        uint64_t id = (uint64_t)own->place << 32 | seq, len = length_of(id), how = support_random(&seed) >> 20 & 3;
        if (len > LONGEST / 2) /* of the shortest limit, broadcast's */
            len /= 2;
        void *slot = out;
        if (how >= 2)
            CHECK_OK(weir_reserve(p, len, &slot, HELP_DEADLINE));
        message_fill(slot, id, len);
        switch (how) {
        case 3: CHECK_OK(weir_commit_more(p, len)); break;
        case 2: CHECK_OK(weir_commit(p, len)); break;
        case 1: CHECK_OK(weir_send_more(p, out, len, HELP_DEADLINE)); break;
        default: CHECK_OK(weir_send(p, out, len, HELP_DEADLINE)); break;
        }
    }
    CHECK_OK(weir_channel_drain(p, HELP_DEADLINE));
    CHECK_OK(weir_channel_close(p));
    return NULL;
}

static void *consume_many(void *arg)
{
    struct many *own = arg;
    static _Thread_local unsigned char in[HELP_BUFFER];
    uint64_t seed = own->seed ^ UINT64_C(0x5555555555555555), next[SIDE] = { 0 };
    weir_channel *c = open_many(own, WEIR_CONSUMER);
    weir_status status;
    for (;;) {
        uint32_t len;
        const void *msg = in;
        bool in_place = (support_random(&seed) >> 20 & 1) != 0;
        status = in_place ? weir_peek(c, &msg, &len, HELP_DEADLINE)
                          : weir_receive(c, in, sizeof in, &len, HELP_DEADLINE);
        if (status == WEIR_FULL)
            CHECK_OK(weir_release(c));
        if (status == WEIR_FULL)
            continue;
        if (status != WEIR_OK)
            break;
        uint64_t id = message_id(msg), of = id >> 32, seq = id & 0xffffffff;
        CHECK(of < SIDE && seq < own->count && message_is_whole(msg, id, len));
        weir_message message = message_of(c);
        bool each = own->kind->waits && own->kind->kind != WEIR_MPMC;
        CHECK(each || own->kind->kind == WEIR_BROADCAST ? seq == next[of] + message.lost : seq >= next[of]);
        next[of] = seq + 1;
        weir_store_rel(&own->received, weir_load_rlx(&own->received) + 1);
        if (in_place)
            CHECK_OK(weir_release(c));
    }
    CHECK_STATUS(status, WEIR_CLOSED);
    CHECK_OK(weir_channel_close(c));
    return NULL;
}

static void run_many(const struct kind_row *k, weir_wait wait, uint64_t *seed)
{
    uint32_t producers = k->producers ? SIDE : 1, consumers = k->consumers ? SIDE : 1, count = 0;
    pthread_barrier_t opened;
    pthread_t threads[2 * SIDE];
    static struct many own[2 * SIDE];
    CHECK(pthread_barrier_init(&opened, NULL, producers + consumers) == 0);
    for (; count < producers + consumers; count++) {
        own[count] = (struct many){ .kind = k, .place = count < producers ? count : count - producers,
                                    .count = support_count(20000), .seed = support_random(seed), .wait = wait,
                                    .opened = &opened };
        CHECK(pthread_create(&threads[count], NULL, count < producers ? produce_many : consume_many, &own[count]) == 0);
    }
    for (uint32_t i = 0; i < count; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    uint64_t all = producers * own[0].count, received = 0;
    for (uint32_t i = producers; i < count; i++) {
        received += weir_load_acq(&own[i].received);
        CHECK(k->kind != WEIR_BROADCAST_GATED || weir_load_acq(&own[i].received) == all);
        CHECK(weir_load_acq(&own[i].received) <= all);
    }
    CHECK(!k->waits || k->kind == WEIR_BROADCAST_GATED || received == all);
    CHECK(received > 0 && pthread_barrier_destroy(&opened) == 0);
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
    FOR_EACH_KIND(k)
        for (int wait = WEIR_WAIT_SPIN_SLEEP; wait <= WEIR_WAIT_SLEEP; wait++) {
            run_many(k, (weir_wait)wait, &seed);
            CHECK(support_entries(dir, true) == 0);
        }
    return 0;
}
