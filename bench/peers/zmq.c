/* bench/peers/zmq.c - ZeroMQ over ipc://: PUSH and PULL; high-water marks of as many messages as the capacity holds.
 *
 * Each side has a context of its own.  Messages are filled where libzmq will send them from, and read where it put them.
 * Consumers bind, each a name without a file (abstract), and producers connect to all.  A side sleeps when it waits:
 * its context's own thread needs the processor. */
#include "../loops.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <zmq.h>

struct side {
    void *context, *socket;
    zmq_msg_t msg; /* the one that is filled or read */
};

static struct side *side_of(const struct bench_end *end) { return end->priv; }

static bool set(struct side *side, int option, int value)
{
    return zmq_setsockopt(side->socket, option, &value, sizeof value) == 0;
}

static bool meet(struct bench_end *end, struct side *side)
{
    char name[80];
    if (!end->produces) {
        (void)snprintf(name, sizeof name, "ipc://@%s.%u", end->link->name, end->index);
        return zmq_bind(side->socket, name) == 0;
    }
    for (uint32_t i = 0; i < end->work->consumers; i++) {
        (void)snprintf(name, sizeof name, "ipc://@%s.%u", end->link->name, i);
        if (zmq_connect(side->socket, name) != 0)
            return false;
    }
    return true;
}

static bool open_end(struct bench_end *end)
{
    struct side *side = calloc(1, sizeof *side);
    int mark = (int)bench_slots(end->work);
    end->priv = side;
    if (side == NULL || (side->context = zmq_ctx_new()) == NULL ||
        (side->socket = zmq_socket(side->context, end->produces ? ZMQ_PUSH : ZMQ_PULL)) == NULL)
        return false;
    return set(side, ZMQ_SNDHWM, mark) && set(side, ZMQ_RCVHWM, mark) && set(side, ZMQ_RECONNECT_IVL, 1) &&
           set(side, ZMQ_RCVTIMEO, bench_shares(end) ? BENCH_LOOK_UP_MS : -1) && meet(end, side);
}

/* What was sent goes first: a closed socket lingers. */
static void close_end(struct bench_end *end)
{
    (void)zmq_close(side_of(end)->socket);
    (void)zmq_ctx_term(side_of(end)->context);
    free(end->priv);
}

static __attribute__((noinline)) void failed(struct bench_end *end)
{
    if (zmq_errno() != EAGAIN && zmq_errno() != EINTR)
        bench_fail(end, zmq_strerror(zmq_errno()));
}

BENCH_INLINE void *reserve(struct bench_end *end, uint32_t bytes)
{
    struct side *side = side_of(end);
    if (WEIR_LIKELY(zmq_msg_init_size(&side->msg, bytes) == 0))
        return zmq_msg_data(&side->msg);
    failed(end);
    return NULL;
}

BENCH_INLINE void commit(struct bench_end *end, void *slot, uint32_t bytes, bool more)
{
    (void)slot, (void)more;
    if (WEIR_UNLIKELY(zmq_msg_send(&side_of(end)->msg, side_of(end)->socket, 0) != (int)bytes))
        failed(end);
}

BENCH_INLINE const void *peek(struct bench_end *end, uint32_t bytes)
{
    struct side *side = side_of(end);
    (void)zmq_msg_init(&side->msg);
    if (WEIR_LIKELY(zmq_msg_recv(&side->msg, side->socket, 0) == (int)bytes))
        return zmq_msg_data(&side->msg);
    failed(end);
    return NULL;
}

BENCH_INLINE void release(struct bench_end *end) { (void)zmq_msg_close(&side_of(end)->msg); }

BENCH_SIDE(produce, bench_produce_in_place, reserve, commit)
BENCH_SIDE(consume, bench_consume_in_place, peek, release)
BENCH_TRIPS(ping, bench_ping_in_place, reserve, commit, peek, release)
BENCH_TRIPS(pong, bench_pong_in_place, reserve, commit, peek, release)

const struct bench_peer bench_zmq = {
    .name = "zmq", .what = "ZeroMQ ipc, push and pull",
    .can = BENCH_SPSC | BENCH_MPSC | BENCH_MPMC | BENCH_SLEEP | BENCH_LATENCY,
    .open = open_end, .produce = produce, .consume = consume, .ping = ping, .pong = pong, .close = close_end,
};
