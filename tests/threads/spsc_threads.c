/* One lane between two threads: order and content of every message, by copy, in place, in batches, and with ends that
 * are taken over while the other end is at work.  Small capacities, so that the ring is full and empty and wraps all
 * the time.  Under ThreadSanitizer the payload is plain memory: a missing order is a race. */
#include "support.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum mode { COPY, IN_PLACE, BATCH, TAKE_OVER, MODES };

static const char *const mode_name[MODES] = { "copy", "in place", "batch", "take-over" };

typedef struct lane {
    void *mem;
    uint64_t bytes;
    uint64_t capacity;
    weir_atomic_u64 *messages; /* how many there are to be; the producer lowers it when the time is up */
    enum mode mode;
    uint64_t seed;
} lane;

#define RUN_MS 600        /* a busy machine gets fewer messages, not a longer test, */
#define MESSAGES_MIN 2000 /* but not fewer than these */

#define WORDS_MAX 256u

/* What message seq is: its length and its words follow from it, so that an empty one is checked as well. */
static uint64_t mix(uint64_t seq)
{
    seq = (seq ^ seq >> 30) * UINT64_C(0xbf58476d1ce4e5b9); /* splitmix64, Steele et al. 2014 */
    seq = (seq ^ seq >> 27) * UINT64_C(0x94d049bb133111eb);
    return seq ^ seq >> 31;
}

static uint32_t length(const lane *l, uint64_t seq)
{
    uint32_t max = weir_spsc_record_max(l->capacity);
    uint64_t bits = mix(seq + l->seed);
    return (uint32_t)(bits % 8 == 0 ? (bits >> 8) % (max + 1) : (bits >> 8) % (max < 48 ? max + 1 : 49));
}

static void fill(const lane *l, void *to, uint64_t seq, uint32_t len)
{
    unsigned char *bytes = to;
    for (uint32_t i = 0; i < len; i += 8) {
        uint64_t word = mix(seq + l->seed) + i;
        memcpy(bytes + i, &word, len - i < 8 ? len - i : 8);
    }
}

static void check(const lane *l, const void *msg, uint64_t seq, uint32_t len)
{
    const unsigned char *bytes = msg;
    CHECK(len == length(l, seq));
    for (uint32_t i = 0; i < len; i += 8) {
        uint64_t word = mix(seq + l->seed) + i;
        CHECK(memcmp(bytes + i, &word, len - i < 8 ? len - i : 8) == 0);
    }
}

static uint64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Spins a while, then lets the other thread have the processor: there may be only one. */
static void wait_a_moment(unsigned *spins)
{
    if (++*spins % 1000 == 0)
        (void)sched_yield();
    else
        weir_pause();
}

/* ---- producer ---- */

static weir_status send_in_place(const lane *l, weir_spsc_producer *p, uint64_t seq, bool more)
{
    void *slot = NULL;
    uint32_t len = length(l, seq);
    uint32_t spare = weir_spsc_record_max(l->capacity) - len;
    weir_status status = weir_spsc_reserve(p, len + (spare < 5 ? spare : 5), &slot);
    if (status != WEIR_OK)
        return status;
    fill(l, slot, seq, len);
    CHECK_OK(more ? weir_spsc_commit_more(p, len) : weir_spsc_commit(p, len));
    return WEIR_OK;
}

static weir_status send_copy(const lane *l, weir_spsc_producer *p, uint64_t seq, bool more)
{
    uint64_t msg[WORDS_MAX];
    uint32_t len = length(l, seq);
    fill(l, msg, seq, len);
    return more ? weir_spsc_push_more(p, msg, len) : weir_spsc_push(p, msg, len);
}

static void *produce(void *arg)
{
    const lane *l = arg;
    weir_spsc_producer p;
    unsigned spins = 0;
    uint64_t published = 0; /* a batch that was given up is sent again from here */
    uint64_t messages = weir_load_rlx(l->messages), deadline_ms = now_ms() + RUN_MS, turn = 0;
    CHECK_OK(weir_spsc_producer_attach(&p, l->mem, l->bytes));
    for (uint64_t seq = 0; seq < messages;) {
        uint64_t bits = mix(seq ^ l->seed);
        bool in_place = l->mode == IN_PLACE || (l->mode != COPY && bits % 2 == 0);
        bool more = (l->mode == BATCH || l->mode == TAKE_OVER) && bits / 2 % 8 != 0 && seq + 1 < messages;
        weir_status status = in_place ? send_in_place(l, &p, seq, more) : send_copy(l, &p, seq, more);
        if (status == WEIR_OK) {
            seq++;
            if (!more)
                published = seq;
        } else {
            CHECK_STATUS(status, WEIR_FULL);
            weir_spsc_flush(&p);
            published = seq;
            wait_a_moment(&spins);
        }
        if (l->mode == TAKE_OVER && ++spins % 97 == 0) {
            memset(&p, 0, sizeof p);
            CHECK_OK(weir_spsc_producer_attach(&p, l->mem, l->bytes));
            seq = published;
        }
        if (++turn % 256 == 0 && messages > seq && seq >= MESSAGES_MIN && now_ms() >= deadline_ms) {
            messages = seq;
            weir_store_rlx(l->messages, messages); /* relaxed: it must not order what the lane has to */
        }
    }
    weir_spsc_flush(&p);
    for (weir_status status = WEIR_FULL; status != WEIR_OK; wait_a_moment(&spins)) {
        status = weir_spsc_drained(&p);
        CHECK(status == WEIR_OK || status == WEIR_FULL);
    }
    return NULL;
}

/* ---- consumer ---- */

static void consume(const lane *l)
{
    weir_spsc_consumer c;
    unsigned spins = 0;
    uint64_t released = 0; /* what was read since is seen again by the next consumer */
    uint64_t buffer[WORDS_MAX];
    CHECK_OK(weir_spsc_consumer_attach(&c, l->mem, l->bytes));
    for (uint64_t seq = 0; released < weir_load_rlx(l->messages);) {
        uint64_t bits = mix(seq * 3 + spins);
        bool in_place = l->mode == IN_PLACE || (l->mode != COPY && bits % 2 == 0);
        bool more = (l->mode == BATCH || l->mode == TAKE_OVER) && bits / 2 % 8 != 0;
        const void *msg = buffer;
        uint32_t len = 0;
        weir_status status = in_place ? weir_spsc_peek(&c, &msg, &len)
                             : more   ? weir_spsc_pop_more(&c, buffer, sizeof buffer, &len)
                                      : weir_spsc_pop(&c, buffer, sizeof buffer, &len);
        if (status == WEIR_OK) {
            check(l, msg, seq, len);
            seq++;
            if (in_place && !more)
                weir_spsc_release(&c);
            if (!more)
                released = seq;
        } else {
            CHECK_STATUS(status, WEIR_EMPTY);
            weir_spsc_release(&c);
            released = seq;
            wait_a_moment(&spins);
        }
        if (l->mode == TAKE_OVER && ++spins % 89 == 0) {
            memset(&c, 0, sizeof c);
            CHECK_OK(weir_spsc_consumer_attach(&c, l->mem, l->bytes));
            seq = released;
        }
    }
    CHECK_STATUS(weir_spsc_ready(&c), WEIR_EMPTY);
}

static void run(enum mode mode, uint64_t capacity, uint64_t seed)
{
    weir_atomic_u64 messages;
    weir_store_rlx(&messages, support_count(1000000));
    lane l = { .bytes = weir_spsc_footprint(capacity), .capacity = capacity, .mode = mode, .seed = seed };
    l.messages = &messages;
    l.mem = aligned_alloc(WEIR_LINE, l.bytes);
    CHECK(l.mem != NULL);
    memset(l.mem, 0xee, l.bytes);
    /* The positions go past 2^64 underway. */
    CHECK_OK(weir_spsc_init(l.mem, l.bytes, capacity, 0 - UINT64_C(8) * MESSAGES_MIN));
    pthread_t producer;
    CHECK(pthread_create(&producer, NULL, produce, &l) == 0);
    consume(&l);
    CHECK(pthread_join(producer, NULL) == 0);
    (void)printf("%s, capacity %llu: %llu messages\n", mode_name[mode], (unsigned long long)capacity,
                 (unsigned long long)weir_load_rlx(&messages));
    free(l.mem);
}

int main(void)
{
    static const uint64_t capacities[] = { 64, 256, 4096 };
    uint64_t seed = support_seed();
    for (enum mode mode = COPY; mode < MODES; mode++)
        for (size_t i = 0; i < sizeof capacities / sizeof capacities[0]; i++)
            run(mode, capacities[i], seed + i);
    return 0;
}
