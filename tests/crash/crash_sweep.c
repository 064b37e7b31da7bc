/* Every instruction of every operation is a place to be killed: the trap flag stops behind each, the handler keeps what
 * the ring's memory then is, and each such image is recovered and examined. */
#include "crash.h"

#include <signal.h>
#include <stdio.h>

#define POINTS UINT64_C(3100000)
#define POINTS_MIN UINT64_C(3000000)
#define IMAGES_MIN UINT64_C(15000)
#define RECOVERIES UINT64_C(2100)
#define RECOVERIES_MIN UINT64_C(2000)

#if defined(__x86_64__)

#define TRAP_ON "orq $0x100, (%%rsp)"
#define TRAP_OFF "andq $~0x100, (%%rsp)"
/* The red zone below the stack pointer may be in use. */
#define SET_TRAP(how)                                                                                                 \
    __asm__ __volatile__("lea -128(%%rsp), %%rsp\n\tpushfq\n\t" how "\n\tpopfq\n\tlea 128(%%rsp), %%rsp" ::           \
                             : "memory", "cc")

static volatile sig_atomic_t trapped;

static void at_trap(int signal)
{
    (void)signal;
    trapped = 1;
    crash_point();
}

static void step(void (*call)(crash_world *w), crash_world *w)
{
    SET_TRAP(TRAP_ON);
    call(w);
    SET_TRAP(TRAP_OFF);
}

static void nothing(crash_world *w) { (void)w; }

int main(void)
{
    struct sigaction action = { .sa_handler = at_trap };
    CHECK(sigaction(SIGTRAP, &action, NULL) == 0);
    step(nothing, NULL);
    if (!trapped)
        support_skip("the trap flag does nothing here; crash_hooks is the portable variant");
    crash_plan plan = { .program = "crash sweep", .step = step, .points = support_count(POINTS),
                        .states_max = UINT64_MAX, .recoveries = support_count(RECOVERIES) };
    crash_totals totals = crash_sweep(&plan);
    uint64_t zero;
    if (support_count(100) >= 100 && !crash_wanted_state(&zero)) {
        CHECK(totals.points >= POINTS_MIN);
        CHECK(totals.images >= IMAGES_MIN);
        CHECK(totals.recoveries >= RECOVERIES_MIN);
    }
    crash_done();
    (void)printf("crash sweep: points=%llu images=%llu states=%llu operations=%llu failures=0\n",
                 (unsigned long long)totals.points, (unsigned long long)totals.images,
                 (unsigned long long)totals.states, (unsigned long long)totals.operations);
    (void)printf("crashes inside the recovery of %llu distinct images\n", (unsigned long long)totals.recoveries);
    return 0;
}

#else

int main(void)
{
    support_skip("the trap flag is x86-64's; crash_hooks is the portable variant");
}

#endif
