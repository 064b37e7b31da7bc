/* tests/ipc/endless_sleep.h - sleeps that only a wake ends: one that nobody ends is a failure, however fast or slow the
 * machine is.  With the bound that sleeps have it would be a late return, as any may be on a busy machine.
 * For the tests that tests/CMakeLists.txt links with --wrap=weir_os_sleep. */
#ifndef WEIR_TESTS_ENDLESS_SLEEP_H
#define WEIR_TESTS_ENDLESS_SLEEP_H

#include "ipc/channel_help.h"

#include <weir/ipc/os.h>

/* Where this process counts its sleeps, in memory that others see: one more as a sleep begins, one more as it ends, so
 * it is odd while it lasts.  NULL: sleeps are bounded, as they are outside of tests. */
static weir_atomic_u64 *endless_sleeps;

static int64_t bounded_longest_ns; /* the longest bound that a sleep was given, where they are bounded */

bool __real_weir_os_sleep(weir_atomic_u32 *word, uint32_t value, int64_t ns);
bool __wrap_weir_os_sleep(weir_atomic_u32 *word, uint32_t value, int64_t ns);

bool __wrap_weir_os_sleep(weir_atomic_u32 *word, uint32_t value, int64_t ns)
{
    weir_atomic_u64 *count = endless_sleeps;
    if (count == NULL) {
        if (ns > bounded_longest_ns)
            bounded_longest_ns = ns;
        return __real_weir_os_sleep(word, value, ns);
    }
    weir_store_rel(count, weir_load_rlx(count) + 1);
    int64_t begin = help_now_ns();
    bool woken = __real_weir_os_sleep(word, value, HELP_DEADLINE);
    if (help_now_ns() - begin >= HELP_DEADLINE)
        support_fail(__FILE__, __LINE__, "a sleep was ended by a wake");
    weir_store_rel(count, weir_load_rlx(count) + 1);
    return woken;
}

/* Is its owner asleep, in a sleep that began after the given count? */
static inline bool endless_is_asleep(const weir_atomic_u64 *count, uint64_t after)
{
    uint64_t now = weir_load_acq(count);
    return now % 2 == 1 && now > after;
}

#endif
