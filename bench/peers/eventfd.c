/* bench/peers/eventfd.c - one message in shared memory, and an eventfd that says it is there: the least that a system which
 * sleeps can do.  Round trips only, for it holds one message. */
#include "../loops.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static uint64_t memory(const struct bench_work *work) { return work->bytes; }

static bool make(struct bench_link *link, const char **error)
{
    *error = "eventfd failed";
    return (link->fd[0] = eventfd(0, EFD_CLOEXEC)) >= 0;
}

static void remove_eventfd(struct bench_link *link)
{
    if (link->fd[0] >= 0)
        (void)close(link->fd[0]);
}

static bool failed(struct bench_end *end)
{
    if (errno != EINTR)
        bench_fail(end, strerror(errno));
    return false;
}

BENCH_INLINE void *reserve(struct bench_end *end, uint32_t bytes)
{
    (void)bytes;
    return end->link->memory;
}

BENCH_INLINE void commit(struct bench_end *end, void *slot, uint32_t bytes, bool more)
{
    uint64_t one = 1;
    (void)slot, (void)bytes, (void)more;
    while (write(end->link->fd[0], &one, sizeof one) != sizeof one && !failed(end) && errno == EINTR)
        ;
}

BENCH_INLINE const void *peek(struct bench_end *end, uint32_t bytes)
{
    uint64_t count;
    (void)bytes;
    return read(end->link->fd[0], &count, sizeof count) == sizeof count || failed(end) ? end->link->memory : NULL;
}

BENCH_INLINE void release(struct bench_end *end) { (void)end; }

BENCH_TRIPS(ping, bench_ping_in_place, reserve, commit, peek, release)
BENCH_TRIPS(pong, bench_pong_in_place, reserve, commit, peek, release)

const struct bench_peer bench_eventfd = {
    .name = "eventfd", .what = "an eventfd beside one message", .can = BENCH_SPSC | BENCH_SLEEP | BENCH_LATENCY,
    .memory = memory, .make = make, .remove = remove_eventfd, .ping = ping, .pong = pong,
};
