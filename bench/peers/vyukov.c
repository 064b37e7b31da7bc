/* bench/peers/vyukov.c - D. Vyukov's bounded queue (1024cores.net), our own text: slots that hold a message and a sequence
 * number, which says whose turn it is.  Messages are written and read in place; with one producer, or one consumer, that
 * side needs no compare-and-swap and has none.  The yardstick of slot queues. */
#include "../loops.h"

#include <stdlib.h>

struct queue {
    _Alignas(WEIR_LINE_PAIR) weir_atomic_u64 head; /* the next to be written */
    _Alignas(WEIR_LINE_PAIR) weir_atomic_u64 tail; /* the next to be read */
    _Alignas(WEIR_LINE_PAIR) unsigned char slots[];
};

/* An end's own. */
struct side {
    unsigned char *slots;
    weir_atomic_u64 *pos;
    uint64_t mask, stride;
    uint64_t at;  /* the slot that is held */
    bool alone;   /* in its role */
};

static struct side *side_of(const struct bench_end *end) { return end->priv; }

/* A slot: the sequence number and the message, and no line belongs to two slots unless two fit in it. */
static uint64_t stride_of(const struct bench_work *work)
{
    uint64_t bytes = 8 + (uint64_t)work->bytes;
    return bytes <= 32 ? (bytes <= 16 ? 16 : 32) : (bytes + 63) & ~UINT64_C(63);
}

static uint64_t memory(const struct bench_work *work)
{
    return sizeof(struct queue) + bench_slots(work) * stride_of(work);
}

static bool make(struct bench_link *link, const char **error)
{
    struct queue *queue = link->memory;
    (void)error;
    for (uint64_t i = 0; i < bench_slots(link->work); i++)
        weir_store_rlx(weir_word_at(queue->slots, i * stride_of(link->work)), i); /* relaxed: the sides are forked later */
    return true;
}

static bool open_end(struct bench_end *end)
{
    struct side *side = aligned_alloc(WEIR_LINE_PAIR, WEIR_LINE_PAIR);
    struct queue *queue = end->link->memory;
    end->priv = side;
    if (side == NULL)
        return false;
    *side = (struct side){
        .slots = queue->slots, .pos = end->produces ? &queue->head : &queue->tail, .mask = bench_slots(end->work) - 1,
        .stride = stride_of(end->work), .alone = (end->produces ? end->work->producers : end->work->consumers) == 1,
    };
    return true;
}

static void close_end(struct bench_end *end) { free(end->priv); }

/* The slot at pos, if its sequence number is `due` ahead of pos: then it is this side's.  NULL: full, or empty. */
BENCH_INLINE void *claim(struct side *side, uint64_t due, bool alone)
{
    uint64_t pos = alone ? side->at : weir_load_rlx(side->pos); /* relaxed: the slot says whether it is right */
    for (;;) {
        weir_atomic_u64 *turn = weir_word_at(side->slots, (pos & side->mask) * side->stride);
        int64_t ahead = (int64_t)(weir_load_acq(turn) - (pos + due));
        if (ahead < 0)
            return NULL;
        if (ahead == 0 && (alone || weir_cas_rlx(side->pos, &pos, pos + 1))) { /* relaxed: the slot orders */
            side->at = pos;
            return turn + 1;
        }
        if (ahead != 0)
            pos = weir_load_rlx(side->pos);
    }
}

/* The held slot is whose turn comes next. */
BENCH_INLINE void pass(struct side *side, uint64_t turn)
{
    weir_store_rel(weir_word_at(side->slots, (side->at & side->mask) * side->stride), side->at + turn);
    side->at++;
}

#define CALLS(suffix, alone)                                                                                           \
    BENCH_INLINE void *reserve_##suffix(struct bench_end *end, uint32_t bytes)                                         \
    {                                                                                                                  \
        (void)bytes;                                                                                                   \
        return claim(side_of(end), 0, alone);                                                                          \
    }                                                                                                                  \
    BENCH_INLINE const void *peek_##suffix(struct bench_end *end, uint32_t bytes)                                      \
    {                                                                                                                  \
        (void)bytes;                                                                                                   \
        return claim(side_of(end), 1, alone);                                                                          \
    }

CALLS(alone, true)
CALLS(among, false)

BENCH_INLINE void commit(struct bench_end *end, void *slot, uint32_t bytes, bool more)
{
    (void)slot, (void)bytes, (void)more;
    pass(side_of(end), 1);
}

BENCH_INLINE void release(struct bench_end *end) { pass(side_of(end), side_of(end)->mask + 1); }

static void produce(struct bench_end *end)
{
    if (side_of(end)->alone)
        BENCH_BY_SIZE(bench_produce_in_place, end, reserve_alone, commit);
    else
        BENCH_BY_SIZE(bench_produce_in_place, end, reserve_among, commit);
}

static void consume(struct bench_end *end)
{
    if (side_of(end)->alone)
        BENCH_BY_SIZE(bench_consume_in_place, end, peek_alone, release);
    else
        BENCH_BY_SIZE(bench_consume_in_place, end, peek_among, release);
}

BENCH_TRIPS(ping, bench_ping_in_place, reserve_alone, commit, peek_alone, release)
BENCH_TRIPS(pong, bench_pong_in_place, reserve_alone, commit, peek_alone, release)

const struct bench_peer bench_vyukov = {
    .name = "vyukov", .what = "Vyukov's bounded queue of slots",
    .can = BENCH_SPSC | BENCH_MPSC | BENCH_MPMC | BENCH_SPIN | BENCH_LATENCY,
    .memory = memory, .make = make, .open = open_end, .produce = produce, .consume = consume, .ping = ping, .pong = pong,
    .close = close_end,
};
