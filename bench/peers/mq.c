/* bench/peers/mq.c - a POSIX message queue, as long as the system lets this user have it (/proc/sys/fs/mqueue, RLIMIT_MSGQUEUE).
 *
 * Its name is gone before the sides begin: they inherit its descriptors. */
#include "../loops.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <mqueue.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* What the system lets a message of this user have; 8192 unless root has changed it. */
static uint32_t bytes_limit(void)
{
    static uint32_t limit;
    FILE *file = limit == 0 ? fopen("/proc/sys/fs/mqueue/msgsize_max", "r") : NULL;
    if (limit == 0 && (file == NULL || fscanf(file, "%" SCNu32, &limit) != 1))
        limit = 8192;
    if (file != NULL)
        (void)fclose(file);
    return limit;
}

/* Whether it blocks belongs to the descriptor's description, so readers and writers have one each. */
static bool make(struct bench_link *link, const char **error)
{
    char name[64];
    (void)snprintf(name, sizeof name, "/%s", link->name);
    struct mq_attr attr = { .mq_maxmsg = bench_slots(link->work), .mq_msgsize = link->work->bytes };
    int block = link->work->wait == BENCH_SPIN ? O_NONBLOCK : 0;
    while ((link->fd[0] = mq_open(name, O_RDONLY | O_CREAT | O_EXCL | block, 0600, &attr)) < 0 && attr.mq_maxmsg > 10)
        attr.mq_maxmsg = attr.mq_maxmsg / 2 > 10 ? attr.mq_maxmsg / 2 : 10;
    *error = strerror(errno);
    if (link->fd[0] < 0)
        return false;
    link->fd[1] = mq_open(name, O_WRONLY | block);
    *error = strerror(errno);
    (void)mq_unlink(name);
    return link->fd[1] >= 0;
}

static void remove_queue(struct bench_link *link)
{
    for (int i = 0; i < 2; i++)
        if (link->fd[i] >= 0)
            (void)mq_close(link->fd[i]);
}

static __attribute__((noinline)) bool failed(struct bench_end *end)
{
    if (errno != EAGAIN && errno != EINTR && errno != ETIMEDOUT)
        bench_fail(end, strerror(errno));
    return false;
}

BENCH_INLINE bool send_one(struct bench_end *end, const void *msg, uint32_t bytes)
{
    return WEIR_LIKELY(mq_send(end->link->fd[1], msg, bytes, 0) == 0) || failed(end);
}

static bool receive_until(struct bench_end *end, void *buffer, uint32_t bytes)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += BENCH_LOOK_UP_MS * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    return mq_timedreceive(end->link->fd[0], buffer, bytes, NULL, &until) == (ssize_t)bytes || failed(end);
}

BENCH_INLINE bool receive_one(struct bench_end *end, void *buffer, uint32_t bytes)
{
    if (WEIR_UNLIKELY(bench_shares(end)))
        return receive_until(end, buffer, bytes);
    return WEIR_LIKELY(mq_receive(end->link->fd[0], buffer, bytes, NULL) == (ssize_t)bytes) || failed(end);
}

BENCH_SIDE(produce, bench_produce_copies, send_one)
BENCH_SIDE(consume, bench_consume_copies, receive_one)
BENCH_TRIPS(ping, bench_ping_copies, send_one, receive_one)
BENCH_TRIPS(pong, bench_pong_copies, send_one, receive_one)

const struct bench_peer bench_mq = {
    .name = "mq", .what = "a POSIX message queue", .bytes_limit = bytes_limit,
    .can = BENCH_SPSC | BENCH_MPSC | BENCH_MPMC | BENCH_SPIN | BENCH_SLEEP | BENCH_LATENCY,
    .make = make, .remove = remove_queue, .produce = produce, .consume = consume, .ping = ping, .pong = pong,
};
