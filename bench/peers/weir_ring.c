/* bench/peers/weir_ring.c - our spsc ring alone, on memory that both sides have: what a channel adds to it. */
#include "../loops.h"

#include <weir/ring/spsc.h>

#include <stdlib.h>

union ring {
    weir_spsc_producer tx;
    weir_spsc_consumer rx;
};

static union ring *ring_of(const struct bench_end *end) { return end->priv; }

static uint64_t memory(const struct bench_work *work) { return weir_spsc_footprint(work->capacity); }

static bool make(struct bench_link *link, const char **error)
{
    *error = "weir_spsc_init failed";
    return weir_spsc_init(link->memory, link->memory_bytes, link->work->capacity, 0) == WEIR_OK;
}

static bool open_end(struct bench_end *end)
{
    union ring *ring = aligned_alloc(WEIR_LINE_PAIR, (sizeof *ring + WEIR_LINE_PAIR - 1) & ~(size_t)(WEIR_LINE_PAIR - 1));
    if (ring == NULL)
        return false;
    end->priv = ring;
    const struct bench_link *link = end->link;
    return (end->produces ? weir_spsc_producer_attach(&ring->tx, link->memory, link->memory_bytes)
                          : weir_spsc_consumer_attach(&ring->rx, link->memory, link->memory_bytes)) == WEIR_OK;
}

static void close_end(struct bench_end *end) { free(end->priv); }

BENCH_INLINE bool send_one(struct bench_end *end, const void *msg, uint32_t bytes)
{
    return weir_spsc_push(&ring_of(end)->tx, msg, bytes) == WEIR_OK;
}

BENCH_INLINE bool receive_one(struct bench_end *end, void *buffer, uint32_t bytes)
{
    uint32_t len;
    return weir_spsc_pop(&ring_of(end)->rx, buffer, bytes, &len) == WEIR_OK;
}

BENCH_INLINE uint32_t send_many(struct bench_end *end, const void *msgs, uint32_t bytes, uint32_t count)
{
    uint32_t sent = 0;
    (void)weir_spsc_push_array(&ring_of(end)->tx, msgs, bytes, count, &sent);
    return sent;
}

BENCH_INLINE uint32_t receive_many(struct bench_end *end, void *msgs, uint32_t bytes, uint32_t count)
{
    uint32_t len, got = 0;
    while (got < count && weir_spsc_pop_more(&ring_of(end)->rx, (unsigned char *)msgs + (size_t)got * bytes, bytes,
                                             &len) == WEIR_OK)
        got++;
    weir_spsc_release(&ring_of(end)->rx);
    return got;
}

BENCH_INLINE void *reserve(struct bench_end *end, uint32_t bytes)
{
    void *slot;
    if (WEIR_LIKELY(weir_spsc_reserve(&ring_of(end)->tx, bytes, &slot) == WEIR_OK))
        return slot;
    weir_spsc_flush(&ring_of(end)->tx);
    return NULL;
}

BENCH_INLINE void commit(struct bench_end *end, void *slot, uint32_t bytes, bool more)
{
    (void)slot;
    (void)weir_spsc_commit_as(&ring_of(end)->tx, bytes, more, NULL);
}

BENCH_INLINE const void *peek(struct bench_end *end, uint32_t bytes)
{
    const void *msg;
    uint32_t len;
    (void)bytes;
    return weir_spsc_peek(&ring_of(end)->rx, &msg, &len) == WEIR_OK ? msg : NULL;
}

BENCH_INLINE void release(struct bench_end *end) { weir_spsc_release(&ring_of(end)->rx); }

#include "weir_sides.h"

#define SYSTEM(label, words, way)                                                                                      \
    {                                                                                                                  \
        .name = label, .what = words, .can = BENCH_SPSC | BENCH_SPIN | BENCH_BATCH | BENCH_LATENCY, .memory = memory,  \
        .make = make, .open = open_end, .produce = produce_##way, .consume = consume_##way, .ping = ping_##way,        \
        .pong = pong_##way, .close = close_end,                                                                        \
    }

const struct bench_peer bench_weir_ring = SYSTEM("weir-ring", "spsc ring alone, copying calls", copies);
const struct bench_peer bench_weir_ring_in_place = SYSTEM("weir-ring-in-place", "spsc ring alone, in place", in_place);
