/* ipc/os.h - private: what ipc/ asks of an operating system.  Every call keeps errno. */
#ifndef WEIR_IPC_OS_H
#define WEIR_IPC_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/base/atomic.h>

/* weir_os_sleep sleeps while *word is value, for at most ns nanoseconds; it may wake early for any reason.
 * weir_os_wake wakes whoever sleeps on word, in any process. */
void weir_os_sleep(weir_atomic_u32 *word, uint32_t value, int64_t ns);
void weir_os_wake(weir_atomic_u32 *word);

/* weir_os_can_fence_others makes this process one whose running threads weir_os_fence_others fences: a full fence in
 * each, as if it stood between any two instructions.  False where the system cannot.  Linux: membarrier(2). */
bool weir_os_can_fence_others(void);
void weir_os_fence_others(void);

int64_t weir_os_now_ns(void); /* monotonic */
int64_t weir_os_wall_ns(void); /* since 1970, for people */

/* weir_os_process tells this process's number, and the number of the space that this number is of (Linux: its pid
 * namespace; 0: not known). */
void weir_os_process(uint64_t *process, uint64_t *pid_space);
void weir_os_yield(void);
void weir_os_nap(int64_t ns);

/* weir_os_handle_alloc gives two zeroed parts of at most WEIR_OS_HANDLE_PART bytes: the first is cleared in a forked
 * child, the second, WEIR_OS_HANDLE_PART behind it, is not.  NULL without memory. */
#define WEIR_OS_HANDLE_PART 4096u
void *weir_os_handle_alloc(void);
void weir_os_handle_free(void *handle);

#endif
