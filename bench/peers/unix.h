/* bench/peers/unix.h - Unix socket pairs, with buffers of about the capacity. */
#ifndef WEIR_BENCH_PEERS_UNIX_H
#define WEIR_BENCH_PEERS_UNIX_H

#include "../loops.h"

#include <sys/socket.h>
#include <unistd.h>

/* The kernel counts a small message as some 800 bytes of its buffer.  Beyond net.core.wmem_max is for root only. */
static inline void unix_enlarge(int fd, uint64_t capacity)
{
    int bytes = capacity > INT32_MAX / 2 ? INT32_MAX / 2 : (int)capacity;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

static inline bool unix_make(struct bench_link *link, int type, const char **error)
{
    *error = "socketpair failed";
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, link->fd) != 0)
        return false;
    unix_enlarge(link->fd[1], link->work->capacity);
    return true;
}

static inline void unix_remove(struct bench_link *link)
{
    for (int i = 0; i < 2; i++)
        if (link->fd[i] >= 0)
            (void)close(link->fd[i]);
}

#endif
