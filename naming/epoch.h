/* naming/epoch.h - private: readers' epochs, the portable way to know when no reader is left.
 *
 * Every reader thread has a slot in a list.  Its word is 0 outside of read sections, and inside the epoch at which the
 * section began.  A writer takes out what is to go, begins a new epoch, and waits for each slot to be 0 or of that epoch.
 * [K. Fraser, Practical lock-freedom, 2004, 5.2.3, has epochs; that a counter of 64 bits, which never recurs, needs one
 * pass over the readers and not two is from M. Desnoyers et al., User-Level Implementations of Read-Copy Update, IEEE
 * TPDS 23(2), 2012.]
 *
 * Readers are wait-free: a load, a store, a full fence; then a store.  Slots are given back, never freed, so that a
 * writer may always walk the list. */
#ifndef WEIR_NAMING_EPOCH_H
#define WEIR_NAMING_EPOCH_H

#include <weir/base/atomic.h>
#include <weir/base/cacheline.h>

typedef struct weir_epoch_slot {
    weir_atomic_u64 since; /* written by its thread: 0, or the epoch at which its read section began */
    weir_atomic_u64 taken; /* 1: a thread has it */
    weir_atomic_u64 next;  /* address; written before the slot is in the list */
} weir_epoch_slot;

typedef struct weir_epochs {
    weir_atomic_u64 now;   /* from 1 */
    weir_atomic_u64 slots; /* address of the newest */
} weir_epochs;

#define WEIR_EPOCHS_INIT { { 1 }, { 0 } }

/* weir_epoch_pause is what wait does between two looks at a slot; turn counts them from 0. */
void weir_epoch_pause(unsigned turn);

static inline weir_epoch_slot *weir_epoch_slot_at(const weir_atomic_u64 *word)
{
    /* order GRACE-SLOT acq: the address of a slot before its words. */
    return (weir_epoch_slot *)(uintptr_t)weir_load_acq(word);
}

/* weir_epoch_take gives a slot that no thread has; NULL: there is none, add one. */
static inline weir_epoch_slot *weir_epoch_take(weir_epochs *epochs)
{
    for (weir_epoch_slot *slot = weir_epoch_slot_at(&epochs->slots); slot != NULL;
         slot = (weir_epoch_slot *)(uintptr_t)weir_load_rlx(&slot->next)) { /* relaxed: the head's order has them all */
        uint64_t taken = 0;
        /* order GRACE-SLOT-FREE acq: the last holder's 0 comes before what this thread stores.  Without it that 0 can take
         * its place behind, and a writer pass over a reader. */
        if (weir_load_rlx(&slot->taken) == 0 && weir_cas_acq(&slot->taken, &taken, 1))
            return slot;
    }
    return NULL;
}

/* weir_epoch_add puts a new slot, zeroed, into the list, taken by the caller. */
static inline void weir_epoch_add(weir_epochs *epochs, weir_epoch_slot *slot)
{
    uint64_t first = weir_load_rlx(&epochs->slots); /* relaxed: only compared and passed on */
    weir_store_rlx(&slot->taken, 1);                /* relaxed: published below */
    do
        weir_store_rlx(&slot->next, first);
    /* order GRACE-SLOT rel: the slot's words before its address. */
    while (!weir_cas_rel(&epochs->slots, &first, (uint64_t)(uintptr_t)slot));
}

/* weir_epoch_give_back: the thread that has the slot is about to end. */
static inline void weir_epoch_give_back(weir_epoch_slot *slot)
{
    /* order GRACE-LEFT rel: a section that the thread ends in has been left. */
    weir_store_rel(&slot->since, 0);
    /* order GRACE-SLOT-FREE rel: that 0 before another has the slot. */
    weir_store_rel(&slot->taken, 0);
}

static inline void weir_epoch_enter(const weir_epochs *epochs, weir_epoch_slot *slot)
{
    /* relaxed: whoever sees an epoch sees, behind the fence below, what was done before it began, by the fence in wait.
     * order GRACE-LEFT rel: a writer that finds this section, and not the end of the last one, knows that that has
     * ended. */
    weir_store_rel(&slot->since, weir_load_rlx(&epochs->now));
    /* order GRACE-READ sc: store the slot, then look at what is published; pairs with wait.  Without it a writer can miss
     * a reader that has found what the writer takes away. */
    weir_fence_sc();
}

static inline void weir_epoch_leave(weir_epoch_slot *slot)
{
    /* order GRACE-LEFT rel: all reads of the section before its end. */
    weir_store_rel(&slot->since, 0);
}

/* weir_epoch_wait returns when every section that was entered before has been left. */
static inline void weir_epoch_wait(weir_epochs *epochs)
{
    /* order GRACE-READ sc: what was taken out, then look at the slots; pairs with enter. */
    weir_fence_sc();
    uint64_t now = weir_fetch_add_rlx(&epochs->now, 1) + 1; /* relaxed: see enter */
    for (weir_epoch_slot *slot = weir_epoch_slot_at(&epochs->slots); slot != NULL;
         slot = (weir_epoch_slot *)(uintptr_t)weir_load_rlx(&slot->next)) {
        for (unsigned turn = 0;; turn++) {
            /* order GRACE-LEFT acq: a section's end before what is done to what it has read. */
            uint64_t since = weir_load_acq(&slot->since);
            if (since == 0 || since >= now)
                break;
            weir_epoch_pause(turn);
        }
    }
}

#endif
