/* tests/support.h - what the test programs share.  Plain C, no framework: Criterion suites use it as well. */
#ifndef WEIR_TESTS_SUPPORT_H
#define WEIR_TESTS_SUPPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <weir/weir.h>

#define SUPPORT_SKIP 77

/* Ends the program with status 1 and says where, unless condition holds. */
#define CHECK(condition)                                                                                              \
    do {                                                                                                              \
        if (!(condition))                                                                                             \
            support_fail(__FILE__, __LINE__, #condition);                                                             \
    } while (0)

/* The same for a call that must return a given status; says the one it got and its detail. */
#define CHECK_STATUS(call, expected) support_check_status(__FILE__, __LINE__, #call, (call), (expected))
#define CHECK_OK(call) CHECK_STATUS(call, WEIR_OK)

__attribute__((noreturn)) void support_fail(const char *file, int line, const char *what);
void support_check_status(const char *file, int line, const char *call, weir_status got, weir_status expected);

/* Ends the program with 77 and says why on standard output. */
__attribute__((noreturn, format(printf, 1, 2))) void support_skip(const char *format, ...);

/* Makes an empty folder under /dev/shm (or under WEIR_TEST_SHM_PARENT), points WEIR_SHM_DIR at it, and removes it with all
 * in it when the program that called this exits (not when a forked child of it does, and not when it is killed).
 * Returns its path. */
const char *support_shm_dir(void);

/* Entries under dir, in it and in its folders; with print, says each on standard error. */
unsigned support_entries(const char *dir, bool print);
unsigned support_lines(const char *path); /* of a file */

/* full counts in the release build, a share of them elsewhere (WEIR_TEST_PERCENT), at least 1. */
uint64_t support_count(uint64_t full);

/* A seed: WEIR_TEST_SEED if set, else of the clock; printed, so that a failure can be run again. */
uint64_t support_seed(void);
uint64_t support_random(uint64_t *state); /* xorshift64*, Vigna 2016 */

/* The end of a page behind which nobody may touch anything: what lies just before it is read or written exactly.  The
 * same page at each call. */
unsigned char *support_page_end(void);

/* Waits for a child and gives its exit status, or -signal. */
int support_wait(pid_t child);

#endif
