/* ipc/os.h - private: what ipc/ asks of an operating system.  Every call keeps errno. */
#ifndef WEIR_IPC_OS_H
#define WEIR_IPC_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/base/atomic.h>
#include <weir/naming/section.h>

/* weir_os_sleep sleeps while *word is value, for at most ns nanoseconds; it may wake early for any reason.
 * True: a weir_os_wake ended it; false also where *word was not value from the start.  weir_os_wake wakes whoever sleeps on word, in any process. */
bool weir_os_sleep(weir_atomic_u32 *word, uint32_t value, int64_t ns);
void weir_os_wake(weir_atomic_u32 *word);

/* weir_os_sleep_any sleeps while each word is its value, at most ns nanoseconds; it may wake early for any reason.
 * False: the system cannot (Linux before 5.16). */
#define WEIR_OS_SLEEP_ANY_MAX 128u
struct weir_os_sleep { weir_atomic_u32 *word; uint32_t value; };
bool weir_os_sleep_any(const struct weir_os_sleep *on, uint32_t count, int64_t ns);

/* weir_os_poll sleeps until one of the descriptors is readable (-1 never is), at most ns nanoseconds.  How many are; less
 * than 0: there is no memory, of which two need none. */
int weir_os_poll(const int *descriptors, uint32_t count, int64_t ns);

/* weir_os_signal makes a FIFO that does not block readable; weir_os_hush takes all that is in it.  Async-signal-safe. */
void weir_os_signal(int fd);
void weir_os_hush(int fd);

/* weir_os_can_fence_others makes this process one whose running threads weir_os_fence_others fences: a full fence in
 * each, as if it stood between any two instructions.  False where the system cannot.  Linux: membarrier(2). */
bool weir_os_can_fence_others(void);
void weir_os_fence_others(void);

int64_t weir_os_now_ns(void); /* monotonic */
int64_t weir_os_lately_ns(void); /* the same, some milliseconds ago: a quarter of the time it takes */
int64_t weir_os_wall_ns(void); /* since 1970, for people */

/* weir_os_process tells this process's number, and the number of the space that this number is of (Linux: its pid
 * namespace; 0: not known). */
void weir_os_process(uint64_t *process, uint64_t *pid_space);
void weir_os_yield(void);
uint32_t weir_os_processor(void); /* a number of the processor that this thread runs on, from 1; 0: not known.  Cheap */
uint64_t weir_os_unique(void); /* a number that no other call gives, in any process, and that nobody guesses; not 0 */
void weir_os_nap(int64_t ns);

/* weir_os_handle_alloc gives two zeroed parts of WEIR_OS_HANDLE_PART bytes: the first is cleared in a forked child, the
 * second, WEIR_OS_HANDLE_APART behind it, is not.  NULL without memory.  Any thread; a fork in another one harms neither
 * process, and a child gives back its own copies of what it inherited. */
#define WEIR_OS_HANDLE_PART 4096u
#ifndef WEIR_OS_HANDLE_APART /* models have them closer */
#define WEIR_OS_HANDLE_APART (64 * WEIR_OS_HANDLE_PART)
#endif
void *weir_os_handle_alloc(void);
void weir_os_handle_free(void *handle);

/* ---- for watch.c ---- */

/* weir_os_watch_open gives a source of news about closes of files; -1 is no watch.  weir_os_watch_close ends it, with all
 * that it watches. */
weir_status weir_os_watch_open(int *watch);
void weir_os_watch_close(int watch);

/* weir_os_watch_add has it tell of the section's file, under a key that is the same each time; weir_os_watch_remove ends
 * that, and wakes who waits. */
weir_status weir_os_watch_add(int watch, const weir_section *section, int *key);
void weir_os_watch_remove(int watch, int key);

/* weir_os_watch_wait waits until there is news, at most ns (negative: as long as it takes), or for no reason. */
void weir_os_watch_wait(int watch, int64_t ns);

/* weir_os_watch_read takes what news there is, without waiting, but not more than `room` of it, which is 64 at least: the
 * keys, and how many; *lost: there was more than the system keeps. */
unsigned weir_os_watch_read(int watch, int *keys, unsigned room, bool *lost);

/* weir_os_thread_start runs body in a thread of its own, detached, in which all signals are blocked. */
weir_status weir_os_thread_start(void (*body)(void));

/* weir_os_watch_at_fork: as pthread_atfork. */
weir_status weir_os_watch_at_fork(void (*before)(void), void (*parent)(void), void (*child)(void));

#endif
