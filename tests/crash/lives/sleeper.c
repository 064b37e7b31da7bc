/* Its sleeps are longer than those outside of tests (tests/crash/CMakeLists.txt wraps them): one that only its bound ends
 * is late, and is seen to be. */
#include "lives/sleeper.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>

#include <weir/ipc/os.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

#define BOUND_NS INT64_C(1000000000) /* of its sleeps: 45 ms outside of tests */
#define LATE_NS INT64_C(500000000)   /* 50 ms, and what a busy machine adds */
#define END_S 10                     /* when it has to have returned in any case */

bool __real_weir_os_sleep(weir_atomic_u32 *word, uint32_t value, int64_t ns);
bool __real_weir_os_sleep_any(const struct weir_os_sleep *on, uint32_t count, int64_t ns);
bool __wrap_weir_os_sleep(weir_atomic_u32 *word, uint32_t value, int64_t ns);
bool __wrap_weir_os_sleep_any(const struct weir_os_sleep *on, uint32_t count, int64_t ns);

static _Thread_local bool is_sleeper;

static struct {
    weir_status (*body)(life_scene *s);
    pthread_t thread;
    weir_atomic_u32 number; /* the system's, of the thread; relaxed: a number */
    weir_status status;
    bool there;
    uint64_t ended, late;
    int64_t longest_ns;
} sleeper;

bool __wrap_weir_os_sleep(weir_atomic_u32 *word, uint32_t value, int64_t ns)
{
    return __real_weir_os_sleep(word, value, is_sleeper ? BOUND_NS : ns);
}

bool __wrap_weir_os_sleep_any(const struct weir_os_sleep *on, uint32_t count, int64_t ns)
{
    return __real_weir_os_sleep_any(on, count, is_sleeper ? BOUND_NS : ns);
}

static void *run(void *arg)
{
    is_sleeper = true;
    weir_store32_rlx(&sleeper.number, (uint32_t)syscall(SYS_gettid));
    sleeper.status = sleeper.body(arg);
    return NULL;
}

/* The system call that the thread is in; -1: none, or it has ended. */
static long call_of(uint32_t number)
{
    char path[64];
    long call = -1;
    (void)snprintf(path, sizeof path, "/proc/self/task/%u/syscall", number);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return -1;
    if (fscanf(file, "%ld", &call) != 1) /* "running" */
        call = -1;
    (void)fclose(file);
    return call;
}

static bool is_asleep(void)
{
    uint32_t number = weir_load32_rlx(&sleeper.number);
    long call = number != 0 ? call_of(number) : -1;
    return call == SYS_futex || call == SYS_futex_waitv;
}

void sleeper_begin(life_scene *s, weir_status (*body)(life_scene *s))
{
    sleeper.body = body;
    sleeper.there = true;
    weir_store32_rlx(&sleeper.number, 0);
    CHECK(pthread_create(&sleeper.thread, NULL, run, s) == 0);
    int64_t begun = help_now_ns();
    for (unsigned looks = 0; looks < 2; looks = is_asleep() ? looks + 1 : 0) { /* it may have been at the watch's lock */
        CHECK(help_now_ns() - begun < HELP_DEADLINE);
        (void)usleep(100);
    }
}

bool sleeper_is_there(void) { return sleeper.there; }

weir_status sleeper_end(void)
{
    struct timespec until;
    CHECK(sleeper.there);
    sleeper.there = false;
    int64_t begun = help_now_ns();
    CHECK(clock_gettime(CLOCK_REALTIME, &until) == 0);
    until.tv_sec += END_S;
    CHECK(pthread_timedjoin_np(sleeper.thread, NULL, &until) == 0); /* it was told */
    int64_t took = help_now_ns() - begun;
    sleeper.ended++;
    sleeper.late += took > LATE_NS;
    sleeper.longest_ns = took > sleeper.longest_ns ? took : sleeper.longest_ns;
    return sleeper.status;
}

void sleeper_done(void)
{
    (void)printf("asleep: %llu, late: %llu, longest: %lld ms\n", (unsigned long long)sleeper.ended,
                 (unsigned long long)sleeper.late, (long long)(sleeper.longest_ns / 1000000));
    CHECK(sleeper.late * SLEEPER_LATE_OF <= sleeper.ended);
}
