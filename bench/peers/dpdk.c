/* bench/peers/dpdk.c - DPDK's rte_ring, messages by value, on shared memory and without its environment (EAL).
 *
 * dpdk is for one producer and one consumer; dpdk-mp, -rts and -hts have that synchronisation where several share an end,
 * and a plain end where one is alone.  Singly: enqueue and dequeue, which copy.  In batches: zero-copy bursts where the
 * mode has them (one alone, and HTS), else copying bursts.  -zc has zero-copy bursts of one. */
#include <rte_config.h>

#include <rte_ring.h>
#include <rte_ring_elem.h>

#include "../loops.h"

#include <stdlib.h>

extern const struct bench_peer bench_dpdk_rts, bench_dpdk_hts, bench_dpdk_hts_zc;

/* An end's own: a burst of the ring's slots that it has opened, of which it has used some. */
struct side {
    struct rte_ring *ring;
    struct rte_ring_zc_data burst;
    uint32_t open, used;
};

static struct side *side_of(const struct bench_end *end) { return end->priv; }

static uint64_t memory(const struct bench_work *work)
{
    ssize_t bytes = rte_ring_get_memsize_elem(work->bytes, bench_slots(work));
    return bytes > 0 ? (uint64_t)bytes : 0;
}

static bool make(struct bench_link *link, const char **error)
{
    bool rts = link->peer == &bench_dpdk_rts, hts = link->peer == &bench_dpdk_hts || link->peer == &bench_dpdk_hts_zc;
    unsigned int many_producers = rts ? RING_F_MP_RTS_ENQ : hts ? RING_F_MP_HTS_ENQ : 0;
    unsigned int many_consumers = rts ? RING_F_MC_RTS_DEQ : hts ? RING_F_MC_HTS_DEQ : 0;
    unsigned int flags = (link->work->producers == 1 ? RING_F_SP_ENQ : many_producers) |
                         (link->work->consumers == 1 ? RING_F_SC_DEQ : many_consumers);
    *error = "rte_ring_init failed";
    return link->memory != NULL && rte_ring_init(link->memory, "weir-bench", bench_slots(link->work), flags) == 0;
}

static bool open_end(struct bench_end *end)
{
    struct side *side = aligned_alloc(WEIR_LINE_PAIR, (sizeof *side + WEIR_LINE_PAIR - 1) / WEIR_LINE_PAIR * WEIR_LINE_PAIR);
    end->priv = side;
    if (side == NULL)
        return false;
    *side = (struct side){ .ring = end->link->memory };
    return true;
}

static void close_end(struct bench_end *end) { free(end->priv); }

/* ---- copying ---- */

BENCH_INLINE bool send_one(struct bench_end *end, const void *msg, uint32_t bytes)
{
    return rte_ring_enqueue_bulk_elem(side_of(end)->ring, msg, bytes, 1, NULL) == 1;
}

BENCH_INLINE bool receive_one(struct bench_end *end, void *buffer, uint32_t bytes)
{
    return rte_ring_dequeue_bulk_elem(side_of(end)->ring, buffer, bytes, 1, NULL) == 1;
}

BENCH_INLINE uint32_t send_many(struct bench_end *end, const void *msgs, uint32_t bytes, uint32_t count)
{
    return rte_ring_enqueue_burst_elem(side_of(end)->ring, msgs, bytes, count, NULL);
}

BENCH_INLINE uint32_t receive_many(struct bench_end *end, void *msgs, uint32_t bytes, uint32_t count)
{
    return rte_ring_dequeue_burst_elem(side_of(end)->ring, msgs, bytes, count, NULL);
}

/* ---- in place ---- */

BENCH_INLINE void *next(struct side *side, uint32_t bytes)
{
    uint32_t i = side->used++, first = side->burst.n1;
    return i < first ? (unsigned char *)side->burst.ptr1 + (size_t)i * bytes
                     : (unsigned char *)side->burst.ptr2 + (size_t)(i - first) * bytes;
}

BENCH_INLINE void *reserve(struct bench_end *end, uint32_t bytes)
{
    struct side *side = side_of(end);
    if (side->used == side->open) {
        side->used = 0;
        side->open = rte_ring_enqueue_zc_burst_elem_start(side->ring, bytes, end->work->batch, &side->burst, NULL);
        if (side->open == 0)
            return NULL;
    }
    return next(side, bytes);
}

BENCH_INLINE void commit(struct bench_end *end, void *slot, uint32_t bytes, bool more)
{
    struct side *side = side_of(end);
    (void)slot, (void)bytes;
    if (more && side->used != side->open)
        return;
    rte_ring_enqueue_zc_elem_finish(side->ring, side->used);
    side->used = side->open = 0;
}

BENCH_INLINE void release(struct bench_end *end)
{
    struct side *side = side_of(end);
    if (side->open != 0)
        rte_ring_dequeue_zc_elem_finish(side->ring, side->used);
    side->used = side->open = 0;
}

BENCH_INLINE const void *peek(struct bench_end *end, uint32_t bytes)
{
    struct side *side = side_of(end);
    if (side->used == side->open) {
        release(end); /* all of the burst has been read */
        side->open = rte_ring_dequeue_zc_burst_elem_start(side->ring, bytes, end->work->batch, &side->burst, NULL);
        if (side->open == 0)
            return NULL;
    }
    return next(side, bytes);
}

/* ---- the systems ---- */

BENCH_SIDE(produce_one, bench_produce_copies, send_one)
BENCH_SIDE(produce_many, bench_produce_arrays, send_many)
BENCH_SIDE(produce_zc, bench_produce_in_place, reserve, commit)
BENCH_SIDE(consume_one, bench_consume_copies, receive_one)
BENCH_SIDE(consume_many, bench_consume_arrays, receive_many)
BENCH_SIDE(consume_zc, bench_consume_in_place, peek, release)
BENCH_TRIPS(ping, bench_ping_copies, send_one, receive_one)
BENCH_TRIPS(pong, bench_pong_copies, send_one, receive_one)
BENCH_TRIPS(ping_zc, bench_ping_in_place, reserve, commit, peek, release)
BENCH_TRIPS(pong_zc, bench_pong_in_place, reserve, commit, peek, release)

static bool has_zc(enum rte_ring_sync_type mode) { return mode == RTE_RING_SYNC_ST || mode == RTE_RING_SYNC_MT_HTS; }

static void produce(struct bench_end *end)
{
    if (end->work->batch == 1)
        produce_one(end);
    else if (has_zc(side_of(end)->ring->prod.sync_type))
        produce_zc(end);
    else
        produce_many(end);
}

static void consume(struct bench_end *end)
{
    if (end->work->batch == 1)
        consume_one(end);
    else if (has_zc(side_of(end)->ring->cons.sync_type))
        consume_zc(end);
    else
        consume_many(end);
}

#define SYSTEM(label, words, abilities, suffix)                                                                        \
    {                                                                                                                  \
        .name = label, .what = "DPDK's rte_ring, " words, .can = (abilities) | BENCH_SPIN | BENCH_BATCH,               \
        .memory = memory, .make = make, .open = open_end, .produce = produce##suffix, .consume = consume##suffix,      \
        .ping = ping##suffix, .pong = pong##suffix, .close = close_end,                                                \
    }

const struct bench_peer bench_dpdk = SYSTEM("dpdk", "one producer and consumer", BENCH_SPSC | BENCH_LATENCY, );
const struct bench_peer bench_dpdk_zc = SYSTEM("dpdk-zc", "zero-copy singly", BENCH_SPSC | BENCH_LATENCY, _zc);
const struct bench_peer bench_dpdk_mp = SYSTEM("dpdk-mp", "default synchronisation", BENCH_MPSC | BENCH_MPMC, );
const struct bench_peer bench_dpdk_rts = SYSTEM("dpdk-rts", "relaxed tail synchronisation", BENCH_MPSC | BENCH_MPMC, );
const struct bench_peer bench_dpdk_hts = SYSTEM("dpdk-hts", "head-tail synchronisation", BENCH_MPSC | BENCH_MPMC, );
const struct bench_peer bench_dpdk_hts_zc = SYSTEM("dpdk-hts-zc", "head-tail, zero-copy singly", BENCH_MPSC | BENCH_MPMC, _zc);
