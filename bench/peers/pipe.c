/* bench/peers/pipe.c - a pipe, as large as it may be made (F_SETPIPE_SZ), its readers buffered.
 *
 * Several writers, or readers, share one where a write is atomic: up to PIPE_BUF bytes. */
#include "stream.h"

#include <limits.h>

/* What the capacity asks for, or the most that this user may have. */
static void enlarge(int fd, uint64_t capacity)
{
    while (capacity > 65536 && fcntl(fd, F_SETPIPE_SZ, (int)capacity) < 0)
        capacity /= 2;
}

static bool make(struct bench_link *link, const char **error)
{
    *error = "pipe failed";
    if (pipe2(link->fd, O_CLOEXEC) != 0)
        return false;
    enlarge(link->fd[0], link->work->capacity);
    return true;
}

static void remove_pipe(struct bench_link *link)
{
    for (int i = 0; i < 2; i++)
        if (link->fd[i] >= 0)
            (void)close(link->fd[i]);
}

static bool open_end(struct bench_end *end) { return stream_open(end, end->link->fd[end->produces]); }

#define SYSTEM(label, words, abilities, most)                                                                          \
    {                                                                                                                  \
        .name = label, .what = words, .can = (abilities) | BENCH_SPIN | BENCH_SLEEP | BENCH_BATCH, .bytes_max = most,  \
        .make = make, .remove = remove_pipe, .open = open_end, .produce = stream_produce, .consume = stream_consume,   \
        .ping = stream_ping, .pong = stream_pong, .close = stream_close,                                               \
    }

const struct bench_peer bench_pipe = SYSTEM("pipe", "a pipe", BENCH_SPSC | BENCH_LATENCY, 0);
const struct bench_peer bench_pipe_shared = SYSTEM("pipe-shared", "a pipe of several writers or readers",
                                                   BENCH_MPSC | BENCH_MPMC, PIPE_BUF);
