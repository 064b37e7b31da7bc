/* tests/model/memory.h - private: the memory of the explorer, and what it asks of the scheduler.
 *
 * A word of shared memory is the list of all its values, oldest first: the modification order.  A thread has a view: of
 * each word, the oldest value that it may still read.  Reading moves the view up; so does acquiring what another
 * thread released, because a released value carries its writer's view.  That is RC11 without seq_cst accesses (which
 * base/atomic.h does not have) in its operational form.  Plain bytes have no order of their own: each access to them,
 * and each access to a word that is also used as plain bytes, is checked for a data race by vector clocks. */
#ifndef MODEL_MEMORY_H
#define MODEL_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "explorer.h"

#define MODEL_SETUP 0u /* the thread that setup and check run as; a model's threads are 1, 2, ... */
#define MODEL_ALL_THREADS (MODEL_THREADS + 1)

/* ---- memory.c, called by explorer.c ---- */

void memory_reset_model(void);     /* forgets all regions and words */
void memory_reset_execution(void); /* every word back to its first value, no views */
void memory_start(unsigned thread, unsigned from); /* thread (goes on and) sees all that from has seen and done */
void memory_catch_up(unsigned thread);             /* the newest values have reached it; it acquires nothing */
uint64_t memory_latest(const void *word, unsigned size);
const char *memory_name(const void *word); /* "ring+256" */

/* ---- explorer.c, called by memory.c ---- */

unsigned explorer_thread(void); /* the one that runs now */
void explorer_point(void);      /* another thread may go on here instead */
void explorer_kill_point(void); /* before a store: a victim may be killed */

/* explorer_choose_stale chooses one of count possibilities; 0 is the newest value and costs nothing. */
unsigned explorer_choose_stale(unsigned count);

void explorer_stored(void); /* there is something new for those that wait */
_Noreturn void explorer_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* explorer_trace adds a line to the story of a failed execution. */
bool explorer_traces(void);
void explorer_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *explorer_thread_name(unsigned thread);

#endif
