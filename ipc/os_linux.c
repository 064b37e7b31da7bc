#include <weir/ipc/os.h>

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Not FUTEX_PRIVATE_FLAG: the word lies in memory of several processes. */
bool weir_os_sleep(weir_atomic_u32 *word, uint32_t value, int64_t ns)
{
    int saved = errno;
    struct timespec wait = { .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };
    bool woken = syscall(SYS_futex, &word->word, FUTEX_WAIT, value, &wait, NULL, 0) == 0;
    errno = saved;
    return woken;
}

void weir_os_wake(weir_atomic_u32 *word)
{
    int saved = errno;
    (void)syscall(SYS_futex, &word->word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    errno = saved;
}

/* As futex(2) has it; older headers do not. */
struct futex_wait {
    uint64_t value, address;
    uint32_t flags, reserved;
};
#define FUTEX_32_BITS 2u
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

bool weir_os_sleep_any(const struct weir_os_sleep *on, uint32_t count, int64_t ns)
{
    int saved = errno;
    struct futex_wait waits[WEIR_OS_SLEEP_ANY_MAX];
    for (uint32_t i = 0; i < count; i++)
        waits[i] = (struct futex_wait){ on[i].value, (uint64_t)(uintptr_t)&on[i].word->word, FUTEX_32_BITS, 0 };
    int64_t until = weir_os_now_ns();
    until = ns > INT64_MAX - until ? INT64_MAX : until + ns;
    struct timespec end = { .tv_sec = (time_t)(until / 1000000000), .tv_nsec = (long)(until % 1000000000) };
    long woken = syscall(SYS_futex_waitv, waits, count, 0, &end, CLOCK_MONOTONIC);
    bool can = woken >= 0 || (errno != ENOSYS && errno != EPERM); /* EPERM: a filter that does not know the call */
    errno = saved;
    return can;
}

int weir_os_poll(const int *descriptors, uint32_t count, int64_t ns)
{
    int saved = errno, readable = -1;
    struct pollfd few[2], *fds = count <= 2 ? few : calloc(count, sizeof *fds);
    if (fds != NULL) {
        struct timespec wait = { .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };
        for (uint32_t i = 0; i < count; i++)
            fds[i] = (struct pollfd){ .fd = descriptors[i], .events = POLLIN };
        readable = ppoll(fds, count, &wait, NULL);
        readable = readable < 0 ? 0 : readable; /* a signal */
        if (fds != few)
            free(fds);
    }
    errno = saved;
    return readable;
}

void weir_os_signal(int fd)
{
    int saved = errno;
    (void)!write(fd, "", 1); /* full: it is readable */
    errno = saved;
}

void weir_os_hush(int fd)
{
    int saved = errno;
    char bytes[256];
    while (read(fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes)
        continue;
    errno = saved;
}

bool weir_os_can_fence_others(void)
{
    int saved = errno;
    bool can = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0;
    errno = saved;
    return can;
}

void weir_os_fence_others(void)
{
    int saved = errno;
    (void)syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0);
    errno = saved;
}

int64_t weir_os_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

int64_t weir_os_lately_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

int64_t weir_os_wall_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* A process stays in its pid namespace, so it is read once: it takes 3 to 7 us. */
static weir_atomic_u64 space_of_process;

static uint64_t read_pid_space(void)
{
    char space[64]; /* "pid:[4026531836]"; stat(2) of what it points to tells the same and takes twice as long */
    const size_t prefix = sizeof "pid:[" - 1;
    ssize_t len = readlink("/proc/self/ns/pid", space, sizeof space - 1);
    space[len > 0 ? len : 0] = 0;
    return len > (ssize_t)prefix ? strtoull(space + prefix, NULL, 10) : 0;
}

static void forget_pid_space(void) { weir_store_rlx(&space_of_process, 0); }

static void forget_in_children(void) { (void)pthread_atfork(NULL, NULL, forget_pid_space); }

void weir_os_process(uint64_t *process, uint64_t *pid_space)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int saved = errno;
    (void)pthread_once(&once, forget_in_children);
    *process = (uint64_t)getpid();
    *pid_space = weir_load_rlx(&space_of_process); /* relaxed, both: a number, and whoever stores it stores the same */
    if (*pid_space == 0)
        weir_store_rlx(&space_of_process, *pid_space = read_pid_space());
    errno = saved;
}

uint32_t weir_os_processor(void)
{
    return (uint32_t)(sched_getcpu() + 1);
}

void weir_os_yield(void)
{
    (void)sched_yield();
}

void weir_os_nap(int64_t ns)
{
    int saved = errno;
    (void)nanosleep(&(struct timespec){ .tv_nsec = (long)ns }, NULL);
    errno = saved;
}

/* getrandom does not block once the machine has started.  Where a filter forbids it, the clock and the process do: then
 * it may be guessed, and still is another's only by the worst of luck. */
uint64_t weir_os_unique(void)
{
    int saved = errno;
    uint64_t number = 0;
    if (syscall(SYS_getrandom, &number, sizeof number, 0) != (long)sizeof number)
        number = ((uint64_t)weir_os_now_ns() ^ (uint64_t)getpid() << 40) * UINT64_C(0x9e3779b97f4a7c15);
    errno = saved;
    return number != 0 ? number : 1;
}
