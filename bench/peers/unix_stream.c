/* bench/peers/unix_stream.c - a Unix stream socket, its send buffer of about the capacity, its reader buffered. */
#include "stream.h"
#include "unix.h"

static bool make(struct bench_link *link, const char **error) { return unix_make(link, SOCK_STREAM, error); }
static bool open_end(struct bench_end *end) { return stream_open(end, end->link->fd[end->produces]); }

const struct bench_peer bench_unix_stream = {
    .name = "unix-stream", .what = "a Unix stream socket",
    .can = BENCH_SPSC | BENCH_SPIN | BENCH_SLEEP | BENCH_BATCH | BENCH_LATENCY,
    .make = make, .remove = unix_remove, .open = open_end, .produce = stream_produce, .consume = stream_consume,
    .ping = stream_ping, .pong = stream_pong, .close = stream_close,
};
