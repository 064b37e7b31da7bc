/* ipc/os_linux_watch.c - who closes a section, as inotify(7) tells it.
 *
 * IN_CLOSE comes when an open file description ends: at close(2), at exit, and at a SIGKILL, with the last mapping
 * where that is all that was left of it. */
#include <weir/base/fail.h>
#include <weir/ipc/os.h>
#include <weir/ipc/os_linux.h>
#include <weir/naming/section_private.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define STACK_BYTES ((size_t)256 << 10) /* of address space: what is touched of it is one page or two */

weir_watch_calls weir_watch_linux = {
    .inotify_init1 = inotify_init1,
    .inotify_add_watch = inotify_add_watch,
    .inotify_rm_watch = inotify_rm_watch,
    .read = read,
    .close = close,
    .ppoll = ppoll,
    .thread_create = pthread_create,
    .atfork = pthread_atfork,
};

weir_status weir_os_watch_open(int *watch)
{
    int saved = errno;
    weir_status status = WEIR_OK;
    int fd = weir_watch_linux.inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd >= 0 && fd <= 2) { /* in a program that has closed those, others would write there */
        int moved = fcntl(fd, F_DUPFD_CLOEXEC, 3), error = errno;
        (void)weir_watch_linux.close(fd);
        fd = moved;
        errno = error;
    }
    if (fd >= 0)
        *watch = fd;
    else if (errno == ENOSYS || errno == EPERM || errno == EACCES) /* a seccomp filter says EPERM */
        status = weir_fail(WEIR_E_UNSUPPORTED, "no inotify here: %s", strerror(errno));
    else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
        status = weir_fail(WEIR_E_NO_MEMORY, "no inotify instance: %s (ulimit -n, fs.inotify.max_user_instances)",
                           strerror(errno));
    else
        status = weir_fail(WEIR_E_OS, "no inotify instance: %s", strerror(errno));
    errno = saved;
    return status;
}

void weir_os_watch_close(int watch)
{
    int saved = errno;
    (void)weir_watch_linux.close(watch);
    errno = saved;
}

weir_status weir_os_watch_add(int watch, const weir_section *section, int *key)
{
    int saved = errno;
    weir_status status = WEIR_OK;
    char self[64];
    /* By its descriptor: a name may mean another section by now, and an unnamed one has none. */
    (void)snprintf(self, sizeof self, "/proc/self/fd/%d", section->os.fd);
    int descriptor = weir_watch_linux.inotify_add_watch(watch, self, IN_CLOSE_WRITE | IN_CLOSE_NOWRITE);
    if (descriptor >= 0)
        *key = descriptor;
    else if (errno == ENOENT || errno == ENOTDIR)
        status = weir_fail(WEIR_E_UNSUPPORTED, "%s cannot be watched: /proc is not mounted", section->os.title);
    else if (errno == ENOSPC)
        status = weir_fail(WEIR_E_NO_SPACE, "%s cannot be watched: this user watches as many files as he may "
                                            "(fs.inotify.max_user_watches)", section->os.title);
    else if (errno == ENOMEM)
        status = weir_fail(WEIR_E_NO_MEMORY, "%s cannot be watched: %s", section->os.title, strerror(errno));
    else if (errno == EACCES || errno == EPERM)
        status = weir_fail(WEIR_E_PERMISSION, "%s cannot be watched: %s", section->os.title, strerror(errno));
    else
        status = weir_fail(WEIR_E_OS, "%s cannot be watched: %s", section->os.title, strerror(errno));
    errno = saved;
    return status;
}

void weir_os_watch_remove(int watch, int key)
{
    int saved = errno;
    (void)weir_watch_linux.inotify_rm_watch(watch, key); /* IN_IGNORED comes, which wakes the thread */
    errno = saved;
}

void weir_os_watch_wait(int watch, int64_t ns)
{
    struct pollfd look = { .fd = watch, .events = POLLIN };
    struct timespec timeout = { .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };
    (void)weir_watch_linux.ppoll(&look, 1, ns < 0 ? NULL : &timeout, NULL);
}

unsigned weir_os_watch_read(int watch, int *keys, unsigned room, bool *lost)
{
    char bytes[64 * sizeof(struct inotify_event)] __attribute__((aligned(8)));
    unsigned count = 0;
    while (count + 64 <= room) { /* as many as come at once: an event about a file has no name behind it */
        ssize_t len = weir_watch_linux.read(watch, bytes, sizeof bytes);
        for (ssize_t at = 0; at + (ssize_t)sizeof(struct inotify_event) <= len;) {
            const struct inotify_event *event = (const void *)(bytes + at);
            at += (ssize_t)(sizeof *event + event->len);
            if ((event->mask & IN_Q_OVERFLOW) != 0)
                *lost = true;
            else if ((event->mask & IN_CLOSE) != 0)
                keys[count++] = event->wd;
        }
        if (len <= 0)
            break;
    }
    return count;
}

static void *run(void *body)
{
    (void)pthread_setname_np(pthread_self(), "weir-watch");
    void (*function)(void);
    memcpy(&function, &body, sizeof function);
    function();
    return NULL;
}

weir_status weir_os_thread_start(void (*body)(void))
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    void *arg;
    memcpy(&arg, &body, sizeof arg);
    int error = pthread_attr_init(&attributes);
    if (error != 0)
        return weir_fail(WEIR_E_NO_MEMORY, "no thread for the watch: %s", strerror(error));
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* the thread inherits it */
    error = weir_watch_linux.thread_create(&thread, &attributes, run, arg);
    if (error == EINVAL) { /* a program whose thread-local data alone takes that much stack */
        (void)pthread_attr_destroy(&attributes);
        (void)pthread_attr_init(&attributes);
        (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        error = weir_watch_linux.thread_create(&thread, &attributes, run, arg);
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    if (error != 0)
        return weir_fail(WEIR_E_NO_MEMORY, "no thread for the watch: %s", strerror(error));
    return WEIR_OK;
}

weir_status weir_os_watch_at_fork(void (*before)(void), void (*parent)(void), void (*child)(void))
{
    if (weir_watch_linux.atfork(before, parent, child) != 0)
        return weir_fail(WEIR_E_NO_MEMORY, "no memory for a fork handler");
    return WEIR_OK;
}
