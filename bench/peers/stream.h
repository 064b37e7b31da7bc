/* bench/peers/stream.h - pipes and stream sockets: messages of one size in a stream of bytes.
 *
 * Writers write a message, or a batch, with one call.  Readers take what there is, up to 64 KiB or a batch, with one call and
 * read it in place, as whoever reads a stream in earnest does. */
#ifndef WEIR_BENCH_PEERS_STREAM_H
#define WEIR_BENCH_PEERS_STREAM_H

#include "../loops.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STREAM_ROOM 65536u

struct stream {
    int fd;
    int patience_ms;         /* of a reader that finds nothing: -1 sleeps in read */
    uint32_t part;           /* bytes of the message under way that were written */
    uint32_t begin, have;    /* the reader's bytes: from begin up to have */
    uint32_t room;
    unsigned char *bytes;
};

static inline struct stream *stream_of(const struct bench_end *end) { return end->priv; }

/* Descriptors are inherited, and with them whether they block: set here, by one side or all alike. */
static inline bool stream_open(struct bench_end *end, int fd)
{
    struct stream *s = calloc(1, sizeof *s);
    uint64_t batch = (uint64_t)end->work->bytes * end->work->batch;
    end->priv = s;
    if (s == NULL)
        return false;
    s->fd = fd;
    s->room = batch > STREAM_ROOM ? (uint32_t)batch : STREAM_ROOM / end->work->bytes * end->work->bytes;
    s->patience_ms = end->work->wait == BENCH_SPIN ? 0 : bench_shares(end) ? BENCH_LOOK_UP_MS : -1;
    s->bytes = end->produces ? NULL : malloc(s->room);
    int flags = s->patience_ms < 0 ? 0 : O_NONBLOCK;
    return (end->produces || s->bytes != NULL) && fcntl(fd, F_SETFL, flags) == 0;
}

static inline void stream_close(struct bench_end *end)
{
    free(stream_of(end)->bytes);
    free(stream_of(end));
}

static inline bool stream_failed(struct bench_end *end)
{
    if (errno != EAGAIN && errno != EINTR)
        bench_fail(end, strerror(errno));
    return false;
}

/* How many of the messages are written whole; a part of the next may be, and the next call goes on there. */
BENCH_INLINE uint32_t stream_send_many(struct bench_end *end, const void *msgs, uint32_t bytes, uint32_t count)
{
    struct stream *s = stream_of(end);
    ssize_t n = write(s->fd, (const unsigned char *)msgs + s->part, (size_t)bytes * count - s->part);
    if (n < 0)
        return stream_failed(end);
    uint64_t whole = s->part + (uint64_t)n;
    s->part = (uint32_t)(whole % bytes);
    return (uint32_t)(whole / bytes);
}

BENCH_INLINE bool stream_send(struct bench_end *end, const void *msg, uint32_t bytes)
{
    return stream_send_many(end, msg, bytes, 1) == 1;
}

static __attribute__((noinline)) bool stream_fill(struct bench_end *end, struct stream *s)
{
    memmove(s->bytes, s->bytes + s->begin, s->have - s->begin);
    s->have -= s->begin;
    s->begin = 0;
    ssize_t n = read(s->fd, s->bytes + s->have, s->room - s->have);
    if (n > 0)
        s->have += (uint32_t)n;
    else if (n == 0)
        bench_fail(end, "end of stream");
    else if (!stream_failed(end) && s->patience_ms > 0)
        (void)poll(&(struct pollfd){ .fd = s->fd, .events = POLLIN }, 1, s->patience_ms);
    return n > 0;
}

/* The next message; those before stay until there is no whole one left, and then they have been read. */
BENCH_INLINE const void *stream_peek(struct bench_end *end, uint32_t bytes)
{
    struct stream *s = stream_of(end);
    while (s->have - s->begin < bytes)
        if (!stream_fill(end, s))
            return NULL;
    s->begin += bytes;
    return s->bytes + s->begin - bytes;
}

BENCH_INLINE void stream_release(struct bench_end *end) { (void)end; }

/* Round trips copy: one message is what a trip has. */
BENCH_INLINE bool stream_receive(struct bench_end *end, void *buffer, uint32_t bytes)
{
    const void *msg = stream_peek(end, bytes);
    if (msg != NULL)
        memcpy(buffer, msg, bytes);
    return msg != NULL;
}

static inline void stream_produce(struct bench_end *end)
{
    if (end->work->batch > 1)
        BENCH_BY_SIZE(bench_produce_arrays, end, stream_send_many);
    else
        BENCH_BY_SIZE(bench_produce_copies, end, stream_send);
}

static inline void stream_consume(struct bench_end *end)
{
    BENCH_BY_SIZE(bench_consume_in_place, end, stream_peek, stream_release);
}

static inline void stream_ping(struct bench_end *out, struct bench_end *back)
{
    BENCH_BY_SIZE(bench_ping_copies, out, back, stream_send, stream_receive);
}

static inline void stream_pong(struct bench_end *back, struct bench_end *out)
{
    BENCH_BY_SIZE(bench_pong_copies, back, out, stream_send, stream_receive);
}

#endif
