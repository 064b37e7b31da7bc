/* bench/peers/nng.c - nng over ipc: push and pull, with as long buffers as it has (8,192 messages), or the capacity.
 *
 * Messages are filled where nng will send them from, and read where it put them.  Consumers listen, each at a name without
 * a file (abstract), and producers dial all.  A side sleeps when it waits: nng's own threads need the processor. */
#include "../loops.h"
#include "stay.h"

#include <nng/nng.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>
#include <stdio.h>
#include <stdlib.h>

#define BUFFER_MAX 8192

struct side {
    nng_socket socket;
    nng_msg *msg; /* the one that is filled or read */
};

static struct side *side_of(const struct bench_end *end) { return end->priv; }

static bool fine(struct bench_end *end, int error)
{
    if (error != 0 && error != NNG_ETIMEDOUT && error != NNG_EAGAIN)
        bench_fail(end, nng_strerror(error));
    return error == 0;
}

/* A dialer that is started without waiting goes on until there is somebody. */
static bool meet(struct bench_end *end, struct side *side)
{
    char name[80];
    if (!end->produces) {
        (void)snprintf(name, sizeof name, "abstract://%s.%u", end->link->name, end->index);
        return fine(end, nng_listen(side->socket, name, NULL, 0));
    }
    for (uint32_t i = 0; i < end->work->consumers; i++) {
        nng_dialer dialer;
        (void)snprintf(name, sizeof name, "abstract://%s.%u", end->link->name, i);
        if (!fine(end, nng_dialer_create(&dialer, side->socket, name)))
            return false;
        (void)nng_dialer_set_ms(dialer, NNG_OPT_RECONNMINT, 1);
        if (!fine(end, nng_dialer_start(dialer, NNG_FLAG_NONBLOCK)))
            return false;
    }
    return true;
}

static bool open_end(struct bench_end *end)
{
    struct side *side = calloc(1, sizeof *side);
    int buffer = bench_slots(end->work) < BUFFER_MAX ? (int)bench_slots(end->work) : BUFFER_MAX;
    end->priv = side;
    if (side == NULL || !fine(end, end->produces ? nng_push0_open(&side->socket) : nng_pull0_open(&side->socket)))
        return false;
    if (end->produces)
        (void)nng_socket_set_int(side->socket, NNG_OPT_SENDBUF, buffer);
    else
        (void)nng_socket_set_size(side->socket, NNG_OPT_RECVMAXSZ, 0);
    return (!bench_shares(end) ||
            fine(end, nng_socket_set_ms(side->socket, NNG_OPT_RECVTIMEO, BENCH_LOOK_UP_MS))) && meet(end, side);
}

static void close_end(struct bench_end *end)
{
    stay(end); /* nng drops what is under way when its socket is closed */
    (void)nng_close(side_of(end)->socket);
    free(end->priv);
}

BENCH_INLINE void *reserve(struct bench_end *end, uint32_t bytes)
{
    struct side *side = side_of(end);
    return fine(end, nng_msg_alloc(&side->msg, bytes)) ? nng_msg_body(side->msg) : NULL;
}

BENCH_INLINE void commit(struct bench_end *end, void *slot, uint32_t bytes, bool more)
{
    (void)slot, (void)bytes, (void)more;
    (void)fine(end, nng_sendmsg(side_of(end)->socket, side_of(end)->msg, 0));
}

BENCH_INLINE const void *peek(struct bench_end *end, uint32_t bytes)
{
    struct side *side = side_of(end);
    if (!fine(end, nng_recvmsg(side->socket, &side->msg, 0)))
        return NULL;
    if (WEIR_UNLIKELY(nng_msg_len(side->msg) != bytes))
        bench_fail(end, "a message of another length");
    return nng_msg_body(side->msg);
}

BENCH_INLINE void release(struct bench_end *end) { nng_msg_free(side_of(end)->msg); }

BENCH_SIDE(produce, bench_produce_in_place, reserve, commit)
BENCH_SIDE(consume, bench_consume_in_place, peek, release)
BENCH_TRIPS(ping, bench_ping_in_place, reserve, commit, peek, release)
BENCH_TRIPS(pong, bench_pong_in_place, reserve, commit, peek, release)

const struct bench_peer bench_nng = {
    .name = "nng", .what = "nng ipc, push and pull",
    .can = BENCH_SPSC | BENCH_MPSC | BENCH_MPMC | BENCH_SLEEP | BENCH_LATENCY,
    .memory = stay_memory, .open = open_end, .produce = produce, .consume = consume, .ping = ping, .pong = pong,
    .close = close_end,
};
