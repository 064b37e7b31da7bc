#include <weir/ipc/os.h>

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Not FUTEX_PRIVATE_FLAG: the word lies in memory of several processes. */
void weir_os_sleep(weir_atomic_u32 *word, uint32_t value, int64_t ns)
{
    int saved = errno;
    struct timespec wait = { .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };
    (void)syscall(SYS_futex, &word->word, FUTEX_WAIT, value, &wait, NULL, 0);
    errno = saved;
}

void weir_os_wake(weir_atomic_u32 *word)
{
    int saved = errno;
    (void)syscall(SYS_futex, &word->word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
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

int64_t weir_os_wall_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

void weir_os_process(uint64_t *process, uint64_t *pid_space)
{
    int saved = errno;
    struct stat space;
    *process = (uint64_t)getpid();
    *pid_space = stat("/proc/self/ns/pid", &space) == 0 ? (uint64_t)space.st_ino : 0;
    errno = saved;
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

void *weir_os_handle_alloc(void)
{
    int saved = errno;
    size_t size = 2 * (size_t)WEIR_OS_HANDLE_PART;
    void *handle = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (handle == MAP_FAILED) {
        handle = NULL;
    } else if (madvise(handle, WEIR_OS_HANDLE_PART, MADV_WIPEONFORK) != 0) {
        (void)munmap(handle, size);
        handle = NULL;
    }
    errno = saved;
    return handle;
}

void weir_os_handle_free(void *handle)
{
    int saved = errno;
    (void)munmap(handle, 2 * (size_t)WEIR_OS_HANDLE_PART);
    errno = saved;
}
