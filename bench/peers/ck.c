/* bench/peers/ck.c - Concurrency Kit's ck_ring, made for one or several producers and consumers as the work has them.
 *
 * Messages lie in the ring by value: a producer gets its slot (reserve), fills it and commits, which was no slower than to
 * copy at any size; a consumer's call copies out, for there is no other.  ck generates its typed rings from these functions
 * by CK_RING_PROTOTYPE, for a size that is known when it is compiled; called themselves they take any.  Nothing in the ring
 * is an address, so it works across processes. */
#include "../loops.h"

#include <ck_ring.h>
#include <stdlib.h>

struct shared {
    ck_ring_t ring;
    _Alignas(WEIR_LINE_PAIR) unsigned char slots[];
};

struct side {
    struct shared *shared;
    unsigned int ticket; /* of several producers: the slot that is held */
    bool alone;          /* in its role */
};

static struct side *side_of(const struct bench_end *end) { return end->priv; }

static uint64_t memory(const struct bench_work *work)
{
    return sizeof(struct shared) + (uint64_t)bench_slots(work) * work->bytes;
}

static bool make(struct bench_link *link, const char **error)
{
    (void)error;
    ck_ring_init(&((struct shared *)link->memory)->ring, bench_slots(link->work));
    return true;
}

static bool open_end(struct bench_end *end)
{
    struct side *side = malloc(sizeof *side);
    end->priv = side;
    if (side == NULL)
        return false;
    *side = (struct side){ .shared = end->link->memory,
                           .alone = (end->produces ? end->work->producers : end->work->consumers) == 1 };
    return true;
}

static void close_end(struct bench_end *end) { free(end->priv); }

BENCH_INLINE void *reserve_sp(struct bench_end *end, uint32_t bytes)
{
    struct shared *s = side_of(end)->shared;
    return _ck_ring_enqueue_reserve_sp(&s->ring, s->slots, bytes, NULL);
}

BENCH_INLINE void commit_sp(struct bench_end *end, void *slot, uint32_t bytes, bool more)
{
    (void)slot, (void)bytes, (void)more;
    _ck_ring_enqueue_commit_sp(&side_of(end)->shared->ring);
}

BENCH_INLINE void *reserve_mp(struct bench_end *end, uint32_t bytes)
{
    struct shared *s = side_of(end)->shared;
    return _ck_ring_enqueue_reserve_mp(&s->ring, s->slots, bytes, &side_of(end)->ticket, NULL);
}

BENCH_INLINE void commit_mp(struct bench_end *end, void *slot, uint32_t bytes, bool more)
{
    (void)slot, (void)bytes, (void)more;
    _ck_ring_enqueue_commit_mp(&side_of(end)->shared->ring, side_of(end)->ticket);
}

BENCH_INLINE bool send_sp(struct bench_end *end, const void *msg, uint32_t bytes)
{
    struct shared *s = side_of(end)->shared;
    return _ck_ring_enqueue_sp(&s->ring, s->slots, msg, bytes, NULL);
}

BENCH_INLINE bool receive_sc(struct bench_end *end, void *buffer, uint32_t bytes)
{
    struct shared *s = side_of(end)->shared;
    return _ck_ring_dequeue_sc(&s->ring, s->slots, buffer, bytes);
}

BENCH_INLINE bool receive_mc(struct bench_end *end, void *buffer, uint32_t bytes)
{
    struct shared *s = side_of(end)->shared;
    return _ck_ring_dequeue_mc(&s->ring, s->slots, buffer, bytes);
}

static void produce(struct bench_end *end)
{
    if (side_of(end)->alone)
        BENCH_BY_SIZE(bench_produce_in_place, end, reserve_sp, commit_sp);
    else
        BENCH_BY_SIZE(bench_produce_in_place, end, reserve_mp, commit_mp);
}

static void consume(struct bench_end *end)
{
    if (side_of(end)->alone)
        BENCH_BY_SIZE(bench_consume_copies, end, receive_sc);
    else
        BENCH_BY_SIZE(bench_consume_copies, end, receive_mc);
}

BENCH_TRIPS(ping, bench_ping_copies, send_sp, receive_sc)
BENCH_TRIPS(pong, bench_pong_copies, send_sp, receive_sc)

const struct bench_peer bench_ck = {
    .name = "ck", .what = "Concurrency Kit's ck_ring, by value, producers in place",
    .can = BENCH_SPSC | BENCH_MPSC | BENCH_MPMC | BENCH_SPIN | BENCH_LATENCY,
    .memory = memory, .make = make, .open = open_end, .produce = produce, .consume = consume, .ping = ping, .pong = pong,
    .close = close_end,
};
