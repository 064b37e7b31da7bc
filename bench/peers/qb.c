/* bench/peers/qb.c - libqb's qb_rb, in place: alloc and commit, peek and reclaim.
 *
 * Without its semaphore whoever waits spins.  With it a consumer sleeps on an empty ring; a producer of a full one is told so
 * at once and asks again either way, for libqb has nothing to sleep on there.  Its files are gone before the sides begin:
 * they inherit the mappings. */
#include "../loops.h"

#include <qb/qbrb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static qb_ringbuffer_t *ring_of(const struct bench_end *end) { return end->link->priv; }

extern const struct bench_peer bench_qb_rb;

static void remove_files(const char *name)
{
    static const char *const part[] = { "header", "data" };
    for (int i = 0; i < 2; i++) {
        char path[96];
        (void)snprintf(path, sizeof path, "/dev/shm/qb-%s-%s", name, part[i]);
        (void)unlink(path);
    }
}

/* A record is its words, two of header, and rounded up; the ring keeps one of them free. */
static bool make(struct bench_link *link, const char **error)
{
    uint64_t capacity = link->work->capacity > 4 * (uint64_t)link->work->bytes ? link->work->capacity
                                                                                : 4 * (uint64_t)link->work->bytes;
    uint32_t flags = QB_RB_FLAG_CREATE | QB_RB_FLAG_SHARED_PROCESS;
    if (link->peer == &bench_qb_rb)
        flags |= QB_RB_FLAG_NO_SEMAPHORE;
    *error = "qb_rb_open failed";
    link->priv = qb_rb_open(link->name, capacity, flags, 0);
    remove_files(link->name);
    return link->priv != NULL;
}

static void remove_ring(struct bench_link *link)
{
    if (link->priv != NULL)
        qb_rb_close(link->priv);
}

BENCH_INLINE void *reserve(struct bench_end *end, uint32_t bytes) { return qb_rb_chunk_alloc(ring_of(end), bytes); }

BENCH_INLINE void commit(struct bench_end *end, void *slot, uint32_t bytes, bool more)
{
    (void)slot, (void)more;
    if (WEIR_UNLIKELY(qb_rb_chunk_commit(ring_of(end), bytes) < 0))
        bench_fail(end, "qb_rb_chunk_commit failed");
}

BENCH_INLINE const void *peek_within(struct bench_end *end, uint32_t bytes, int32_t ms)
{
    void *msg;
    return qb_rb_chunk_peek(ring_of(end), &msg, ms) == (ssize_t)bytes ? msg : NULL;
}

BENCH_INLINE const void *peek_now(struct bench_end *end, uint32_t bytes) { return peek_within(end, bytes, 0); }
BENCH_INLINE const void *peek(struct bench_end *end, uint32_t bytes) { return peek_within(end, bytes, -1); }
BENCH_INLINE void release(struct bench_end *end) { qb_rb_chunk_reclaim(ring_of(end)); }

BENCH_SIDE(produce, bench_produce_in_place, reserve, commit)
BENCH_SIDE(consume_spinning, bench_consume_in_place, peek_now, release)
BENCH_SIDE(consume_sleeping, bench_consume_in_place, peek, release)
BENCH_TRIPS(ping_spinning, bench_ping_in_place, reserve, commit, peek_now, release)
BENCH_TRIPS(ping_sleeping, bench_ping_in_place, reserve, commit, peek, release)
BENCH_TRIPS(pong_spinning, bench_pong_in_place, reserve, commit, peek_now, release)
BENCH_TRIPS(pong_sleeping, bench_pong_in_place, reserve, commit, peek, release)

static bool sleeps(const struct bench_end *end) { return end->work->wait == BENCH_SLEEP; }

static void consume(struct bench_end *end) { (sleeps(end) ? consume_sleeping : consume_spinning)(end); }
static void ping(struct bench_end *out, struct bench_end *back) { (sleeps(out) ? ping_sleeping : ping_spinning)(out, back); }
static void pong(struct bench_end *back, struct bench_end *out) { (sleeps(out) ? pong_sleeping : pong_spinning)(back, out); }

#define SYSTEM(label, words, waits)                                                                                    \
    {                                                                                                                  \
        .name = label, .what = words, .can = BENCH_SPSC | BENCH_LATENCY | (waits), .make = make,                       \
        .remove = remove_ring, .produce = produce, .consume = consume, .ping = ping, .pong = pong,                     \
    }

const struct bench_peer bench_qb_rb = SYSTEM("qb-rb", "libqb's ring without semaphore", BENCH_SPIN);
const struct bench_peer bench_qb_rb_sem = SYSTEM("qb-rb-sem", "libqb's ring with semaphore", BENCH_SPIN | BENCH_SLEEP);
