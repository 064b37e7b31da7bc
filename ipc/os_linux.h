/* ipc/os_linux.h - private to the Linux half: the system calls of the death watch, in a table that a test may replace,
 * as naming/os_linux.h has it for the sections. */
#ifndef WEIR_IPC_OS_LINUX_H
#define WEIR_IPC_OS_LINUX_H

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

typedef struct weir_watch_calls {
    int (*inotify_init1)(int flags);
    int (*inotify_add_watch)(int fd, const char *path, uint32_t mask);
    int (*inotify_rm_watch)(int fd, int watch);
    ssize_t (*read)(int fd, void *buffer, size_t size);
    int (*close)(int fd);
    int (*ppoll)(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask);
    int (*thread_create)(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *arg);
    int (*atfork)(void (*before)(void), void (*parent)(void), void (*child)(void));
} weir_watch_calls;

extern weir_watch_calls weir_watch_linux;

#endif
