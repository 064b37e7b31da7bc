/* A canceller beside calls of every kind: no message is lost, sent twice or half, no call returns CANCELLED that was not
 * cancelled, and a sleeper hears of it at once.  The consumer is there before the ring, whose coming replaces its view
 * under the canceller's eyes. */
#include "ipc/kinds_help.h"

#include <inttypes.h>
#include <pthread.h>

#define MESSAGES UINT64_C(10000)
#define LATENCIES UINT64_C(2000)

struct canceller {
    weir_channel *channel;
    uint64_t seed;
    weir_atomic_u64 ends;
    weir_atomic_u64 cancels;
};

static void *cancel_on(void *arg)
{
    struct canceller *own = arg;
    while (weir_load_acq(&own->ends) == 0) {
        /* Counted first: who was cancelled finds it counted. */
        weir_store_rel(&own->cancels, weir_load_rlx(&own->cancels) + 1);
        CHECK_OK(weir_channel_cancel(own->channel));
        for (uint64_t i = support_random(&own->seed) >> 32 & 1023; i > 0; i--)
            weir_pause();
    }
    return NULL;
}

struct run {
    const struct kind_row *kind;
    weir_wait wait;
    uint64_t count, seed;
    pthread_barrier_t came; /* the consumer is there */
    uint64_t cancelled;     /* of the consumer's calls */
};

/* Sends in every way that waits. */
static weir_status send_one(weir_channel *p, uint64_t id, uint64_t how)
{
    void *slot;
    uint32_t sent;
    weir_status status;
    switch (how) {
    case 0: return weir_send_pieces(p, (weir_piece[]){ { &id, 5 }, { (unsigned char *)&id + 5, 3 } }, 2, HELP_DEADLINE);
    case 1: return weir_send_array(p, &id, 8, 1, &sent, HELP_DEADLINE);
    case 2:
        status = weir_reserve(p, 8, &slot, HELP_DEADLINE);
        if (status == WEIR_OK) {
            memcpy(slot, &id, 8);
            CHECK_OK(weir_commit(p, 8));
        }
        return status;
    default: return weir_send(p, &id, 8, HELP_DEADLINE);
    }
}

static void *produce(void *arg)
{
    struct run *run = arg;
    struct canceller canceller = { .seed = run->seed | 1 };
    weir_channel_options options = { .kind = run->kind->kind, .capacity = 4096, .wait = run->wait };
    uint64_t seed = run->seed ^ 0x5555, cancelled = 0;
    pthread_t thread;
    (void)pthread_barrier_wait(&run->came);
    (void)usleep(1000); /* so that the consumer is cancelled before there is a ring */
    CHECK_OK(weir_channel_open(&canceller.channel, "cancel", WEIR_PRODUCER, &options));
    CHECK(pthread_create(&thread, NULL, cancel_on, &canceller) == 0);
    for (uint64_t id = 1; id <= run->count;) {
        weir_status status = send_one(canceller.channel, id, support_random(&seed) >> 32 & 3);
        cancelled += status == WEIR_CANCELLED;
        id += status == WEIR_OK;
        CHECK(status == WEIR_OK || status == WEIR_CANCELLED);
    }
    weir_status status;
    while ((status = weir_channel_drain(canceller.channel, HELP_DEADLINE)) == WEIR_CANCELLED)
        cancelled++;
    CHECK_OK(status);
    weir_store_rel(&canceller.ends, 1);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(cancelled <= weir_load_acq(&canceller.cancels));
    CHECK_OK(weir_channel_close(canceller.channel));
    return NULL;
}

static void consume(struct run *run)
{
    struct canceller canceller = { .seed = run->seed ^ 0x3333 };
    weir_channel_options options = { .kind = run->kind->kind, .wait = run->wait };
    uint64_t last = 0, lost = 0, got;
    uint32_t len;
    weir_status status;
    pthread_t thread;
    CHECK_OK(weir_channel_open(&canceller.channel, "cancel", WEIR_CONSUMER, &options));
    CHECK(pthread_create(&thread, NULL, cancel_on, &canceller) == 0);
    (void)pthread_barrier_wait(&run->came);
    for (;;) {
        status = weir_receive(canceller.channel, &got, 8, &len, HELP_DEADLINE);
        if (status == WEIR_CANCELLED) {
            run->cancelled++;
            continue;
        }
        if (status != WEIR_OK)
            break;
        weir_message message = message_of(canceller.channel);
        CHECK(len == 8 && got > last);
        CHECK(run->kind->kind == WEIR_LATEST || got == last + message.lost + 1);
        lost += message.lost;
        last = got;
    }
    CHECK_STATUS(status, WEIR_CLOSED);
    CHECK(last == run->count && (lost == 0 || !run->kind->waits));
    weir_store_rel(&canceller.ends, 1);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(run->cancelled <= weir_load_acq(&canceller.cancels));
    CHECK_OK(weir_channel_close(canceller.channel));
}

static uint64_t run_kind(const struct kind_row *k, weir_wait wait, uint64_t *seed)
{
    struct run run = { .kind = k, .wait = wait, .count = support_count(MESSAGES), .seed = support_random(seed) };
    pthread_t thread;
    CHECK(pthread_barrier_init(&run.came, NULL, 2) == 0);
    CHECK(pthread_create(&thread, NULL, produce, &run) == 0);
    consume(&run);
    CHECK(pthread_join(thread, NULL) == 0 && pthread_barrier_destroy(&run.came) == 0);
    return run.cancelled;
}

/* ---- how long it takes ---- */

struct latency {
    weir_channel *channel;
    weir_atomic_u64 *sleeps; /* that the channel has counted */
    weir_atomic_u64 at_ns;
    uint64_t count;
};

static void *cancel_sleeper(void *arg)
{
    struct latency *own = arg;
    for (uint64_t i = 1; i <= own->count; i++) {
        wait_for_count(own->sleeps, i);
        (void)usleep(50); /* it is about to sleep: until it does */
        weir_store_rel(&own->at_ns, (uint64_t)weir_now());
        CHECK_OK(weir_channel_cancel(own->channel));
        while (weir_load_acq(&own->at_ns) != 0)
            (void)usleep(20);
    }
    return NULL;
}

static int by_size(const void *one, const void *other)
{
    int64_t a = *(const int64_t *)one, b = *(const int64_t *)other;
    return (a > b) - (a < b);
}

static void measure_latency(void)
{
    static int64_t took[LATENCIES];
    struct latency own = { .count = support_count(LATENCIES) };
    weir_channel_options options = { .capacity = 4096, .wait = WEIR_WAIT_SLEEP };
    struct third third;
    pthread_t thread;
    CHECK_OK(weir_channel_open(&own.channel, "latency", WEIR_CONSUMER, &options));
    third_open(&third, "latency");
    own.sleeps = &third.layout->member[1].count[WEIR_COUNT_SLEPT];
    CHECK(pthread_create(&thread, NULL, cancel_sleeper, &own) == 0);
    uint64_t late = 0;
    for (uint64_t i = 0; i < own.count; i++) {
        /* One sleep a call: a cancel that is not heard would leave it asleep for 180 ms. */
        CHECK_STATUS(receive_nothing(own.channel, HELP_DEADLINE), WEIR_CANCELLED);
        took[i] = weir_now() - (int64_t)weir_load_acq(&own.at_ns);
        late += took[i] > 100000000;
        weir_store_rel(&own.at_ns, 0);
        uint64_t slept = weir_load_rlx(own.sleeps);
        weir_store_rlx(own.sleeps, i + 1); /* one that looked again counts no further */
        CHECK(slept >= i + 1);
    }
    CHECK(pthread_join(thread, NULL) == 0);
    qsort(took, own.count, sizeof took[0], by_size);
    (void)printf("a cancel ends a sleep: p50 %.1f us, p99 %.1f us, longest %.1f us; over 100 ms: %" PRIu64 "\n",
                 (double)took[own.count / 2] / 1e3, (double)took[own.count * 99 / 100] / 1e3,
                 (double)took[own.count - 1] / 1e3, late);
    CHECK(took[own.count / 2] < 20000000); /* a lost one ends with its sleep, after 180 ms */
    third_close(&third);
    CHECK_OK(weir_channel_close(own.channel));
}

int main(void)
{
    const char *dir = support_shm_dir();
    uint64_t seed = support_seed(), cancelled = 0;
    FOR_EACH_KIND(k)
        for (int wait = WEIR_WAIT_SPIN_SLEEP; wait <= WEIR_WAIT_SLEEP; wait++) {
            cancelled += run_kind(k, (weir_wait)wait, &seed);
            CHECK(support_entries(dir, true) == 0);
        }
    (void)printf("calls cancelled: %" PRIu64 "\n", cancelled);
    CHECK(cancelled > 0);
    measure_latency();
    CHECK(support_entries(dir, true) == 0);
    return 0;
}
