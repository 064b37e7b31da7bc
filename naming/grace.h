/* naming/grace.h - private: what the registry asks of a scheme that knows when no reader is left [RCU's four calls].
 *
 * registry_urcu.c and registry_portable.c are two answers; one of them is in the library (WEIR_REGISTRY), both are
 * tested.  Only a thread's outermost read section enters and leaves: registry.c counts. */
#ifndef WEIR_NAMING_GRACE_H
#define WEIR_NAMING_GRACE_H

#include <weir/base/atomic.h>
#include <weir/base/status.h>

extern const char weir_grace_name[];

/* weir_grace_enter begins a read section of this thread.  WEIR_OK, or WEIR_E_NO_MEMORY. */
weir_status weir_grace_enter(void);
void weir_grace_leave(void);

/* weir_grace_ongoing tells whether this thread is in a read section of the scheme that was not entered here. */
bool weir_grace_ongoing(void);

/* weir_grace_wait returns when each read section that was entered before the call has been left.  Not in one.  The
 * caller holds the registry's lock, and cannot be cancelled. */
void weir_grace_wait(void);

/* Around a fork.  before comes with the registry's lock held, so nobody is in wait; where the forking thread is inside
 * of a read section, none of them is called, and the child calls nothing of this file any more. */
void weir_grace_before_fork(void);
void weir_grace_after_fork_parent(void);
void weir_grace_after_fork_child(void);

/* The word through which what is protected is found: an address, or 0. */
static inline void *weir_grace_get(const weir_atomic_u64 *word)
{
    /* order GRACE-DATA acq: the address before what lies there.  Without it a reader can see a new table's address and
     * the old bytes. */
    return (void *)(uintptr_t)weir_load_acq(word);
}

static inline void weir_grace_set(weir_atomic_u64 *word, const void *address)
{
    /* order GRACE-DATA rel: what lies there before the address. */
    weir_store_rel(word, (uint64_t)(uintptr_t)address);
}

#endif
