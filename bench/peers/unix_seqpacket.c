/* bench/peers/unix_seqpacket.c - a Unix socket that keeps messages apart, its send buffer of about the capacity; batches by
 * sendmmsg and recvmmsg. */
#include "unix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#define AT_ONCE 1024u /* UIO_MAXIOV: the kernel takes no more by one call */

struct packets {
    int fd;
    uint32_t set;          /* of the headers, those that point to their place */
    struct mmsghdr *msg;   /* a batch */
    struct iovec *part;
};

static struct packets *packets_of(const struct bench_end *end) { return end->priv; }

static bool make(struct bench_link *link, const char **error) { return unix_make(link, SOCK_SEQPACKET, error); }

static bool open_end(struct bench_end *end)
{
    struct packets *p = calloc(1, sizeof *p);
    uint32_t batch = end->work->batch < AT_ONCE ? end->work->batch : AT_ONCE;
    end->priv = p;
    if (p == NULL || (p->msg = calloc(batch, sizeof *p->msg)) == NULL || (p->part = calloc(batch, sizeof *p->part)) == NULL)
        return false;
    p->fd = end->link->fd[end->produces];
    struct timeval patience = { .tv_usec = bench_shares(end) ? BENCH_LOOK_UP_MS * 1000 : 0 };
    return fcntl(p->fd, F_SETFL, end->work->wait == BENCH_SPIN ? O_NONBLOCK : 0) == 0 &&
           setsockopt(p->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0;
}

static void close_end(struct bench_end *end)
{
    free(packets_of(end)->msg);
    free(packets_of(end)->part);
    free(packets_of(end));
}

static __attribute__((noinline)) bool failed(struct bench_end *end)
{
    if (errno != EAGAIN && errno != EINTR)
        bench_fail(end, strerror(errno));
    return false;
}

BENCH_INLINE bool send_one(struct bench_end *end, const void *msg, uint32_t bytes)
{
    return WEIR_LIKELY(send(packets_of(end)->fd, msg, bytes, MSG_NOSIGNAL) == (ssize_t)bytes) || failed(end);
}

BENCH_INLINE bool receive_one(struct bench_end *end, void *buffer, uint32_t bytes)
{
    return WEIR_LIKELY(recv(packets_of(end)->fd, buffer, bytes, 0) == (ssize_t)bytes) || failed(end);
}

static uint32_t point(struct packets *p, const void *msgs, uint32_t bytes, uint32_t count)
{
    count = count < AT_ONCE ? count : AT_ONCE;
    for (uint32_t i = 0; i < count; i++) {
        p->part[i] = (struct iovec){ (unsigned char *)(uintptr_t)msgs + (size_t)i * bytes, bytes };
        p->msg[i].msg_hdr = (struct msghdr){ .msg_iov = &p->part[i], .msg_iovlen = 1 };
    }
    return count;
}

BENCH_INLINE uint32_t send_many(struct bench_end *end, const void *msgs, uint32_t bytes, uint32_t count)
{
    struct packets *p = packets_of(end);
    int n = sendmmsg(p->fd, p->msg, point(p, msgs, bytes, count), MSG_NOSIGNAL);
    return n > 0 ? (uint32_t)n : failed(end);
}

BENCH_INLINE uint32_t receive_many(struct bench_end *end, void *msgs, uint32_t bytes, uint32_t count)
{
    struct packets *p = packets_of(end);
    int n = recvmmsg(p->fd, p->msg, point(p, msgs, bytes, count), MSG_WAITFORONE, NULL);
    return n > 0 ? (uint32_t)n : failed(end);
}

static void produce(struct bench_end *end)
{
    if (end->work->batch > 1)
        BENCH_BY_SIZE(bench_produce_arrays, end, send_many);
    else
        BENCH_BY_SIZE(bench_produce_copies, end, send_one);
}

static void consume(struct bench_end *end)
{
    if (end->work->batch > 1)
        BENCH_BY_SIZE(bench_consume_arrays, end, receive_many);
    else
        BENCH_BY_SIZE(bench_consume_copies, end, receive_one);
}

BENCH_TRIPS(ping, bench_ping_copies, send_one, receive_one)
BENCH_TRIPS(pong, bench_pong_copies, send_one, receive_one)

const struct bench_peer bench_unix_seqpacket = {
    .name = "unix-seqpacket", .what = "a Unix socket of packets", .bytes_max = 131072, /* sure to fit an unraised buffer */
    .can = BENCH_SPSC | BENCH_MPSC | BENCH_MPMC | BENCH_SPIN | BENCH_SLEEP | BENCH_BATCH | BENCH_LATENCY,
    .make = make, .remove = unix_remove, .open = open_end, .produce = produce, .consume = consume, .ping = ping,
    .pong = pong, .close = close_end,
};
