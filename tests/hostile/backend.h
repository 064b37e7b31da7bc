/* tests/hostile/backend.h - the atomics of base/atomic.h with a hook before and behind each access: WEIR_ATOMIC_BACKEND.
 * In the hooks the bytes change under the operation (mutate.c), its loads are counted, and its stores are looked at.
 *
 * An operation that base/atomic.h gains needs its line here. */
#ifndef WEIR_TESTS_HOSTILE_BACKEND_H
#define WEIR_TESTS_HOSTILE_BACKEND_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct weir_atomic_u64 { _Atomic uint64_t word; } weir_atomic_u64;
typedef struct weir_atomic_u32 { _Atomic uint32_t word; } weir_atomic_u32;

/* What the hooks look at: small, because each access does. */
struct hostile_hook {
    uint64_t countdown;   /* loads until bytes change; none do while it is HOSTILE_NEVER */
    uint64_t loads;       /* of the operation so far, */
    uint64_t loads_max;   /* and what its capacity allows */
    const void *flip;     /* this word gets flip_value behind the load that is under way */
    uint64_t flip_value;
    bool watch_stores;    /* the operation may write only what is listed (run.c) */
};
#define HOSTILE_NEVER UINT64_MAX
extern struct hostile_hook hostile_hook;

void hostile_mutate(const void *loaded);           /* countdown has come to 0 */
void hostile_flip_back(void);                      /* behind a load of hostile_hook.flip */
void hostile_store_seen(const void *word);         /* with watch_stores */
__attribute__((noreturn)) void hostile_loads_out(void); /* loads have passed loads_max */

static inline void hostile_before(const void *word)
{
    if (__builtin_expect(++hostile_hook.loads > hostile_hook.loads_max, 0))
        hostile_loads_out();
    if (__builtin_expect(--hostile_hook.countdown == 0, 0))
        hostile_mutate(word);
}

static inline void hostile_behind(void)
{
    if (__builtin_expect(hostile_hook.flip != NULL, 0))
        hostile_flip_back();
}

static inline void hostile_storing(const void *word)
{
    if (__builtin_expect(hostile_hook.watch_stores, 0))
        hostile_store_seen(word);
}

static inline uint64_t hostile_loaded64(uint64_t value) { hostile_behind(); return value; }
static inline uint32_t hostile_loaded32(uint32_t value) { hostile_behind(); return value; }

#define HOSTILE_LOADED(a, value) _Generic((a)->word, uint64_t: hostile_loaded64, uint32_t: hostile_loaded32)(value)
#define HOSTILE_CHANGES(a) (hostile_before(&(a)->word), hostile_storing(&(a)->word))

#define WEIR_ORDER_RELAXED memory_order_relaxed
#define WEIR_ORDER_ACQUIRE memory_order_acquire
#define WEIR_ORDER_RELEASE memory_order_release
#define WEIR_ORDER_ACQ_REL memory_order_acq_rel
#define WEIR_ATOMIC_LOAD(a, order)                                                                                    \
    HOSTILE_LOADED(a, (hostile_before(&(a)->word), atomic_load_explicit(&(a)->word, WEIR_ORDER_##order)))
#define WEIR_ATOMIC_STORE(a, value, order)                                                                            \
    (hostile_storing(&(a)->word), atomic_store_explicit(&(a)->word, (value), WEIR_ORDER_##order))
#define WEIR_ATOMIC_EXCHANGE(a, value, order)                                                                         \
    HOSTILE_LOADED(a, (HOSTILE_CHANGES(a), atomic_exchange_explicit(&(a)->word, (value), WEIR_ORDER_##order)))
#define WEIR_ATOMIC_ADD(a, value, order)                                                                              \
    HOSTILE_LOADED(a, (HOSTILE_CHANGES(a), atomic_fetch_add_explicit(&(a)->word, (value), WEIR_ORDER_##order)))
#define WEIR_ATOMIC_OR(a, bits, order)                                                                                \
    HOSTILE_LOADED(a, (HOSTILE_CHANGES(a), atomic_fetch_or_explicit(&(a)->word, (bits), WEIR_ORDER_##order)))
#define WEIR_ATOMIC_AND(a, bits, order)                                                                               \
    HOSTILE_LOADED(a, (HOSTILE_CHANGES(a), atomic_fetch_and_explicit(&(a)->word, (bits), WEIR_ORDER_##order)))
/* Strong; order is that of success, a failure is relaxed. */
#define WEIR_ATOMIC_CAS(a, expected, desired, order)                                                                  \
    (HOSTILE_CHANGES(a), atomic_compare_exchange_strong_explicit(&(a)->word, (expected), (desired),                   \
                                                                 WEIR_ORDER_##order, memory_order_relaxed))
#define WEIR_ATOMIC_FENCE_ACQ() atomic_thread_fence(memory_order_acquire)
#define WEIR_ATOMIC_FENCE_REL() atomic_thread_fence(memory_order_release)
#define WEIR_ATOMIC_FENCE_SC() atomic_thread_fence(memory_order_seq_cst)
#define WEIR_ATOMIC_FENCE_COMPILER() atomic_signal_fence(memory_order_seq_cst)

/* A payload is copied word by word, with the hooks at each. */
void hostile_payload_write(void *to, const void *from, uint64_t len);
void hostile_payload_read(void *to, const void *from, uint64_t len);
#define WEIR_PAYLOAD_WRITE(to, from, len) hostile_payload_write((to), (from), (len))
#define WEIR_PAYLOAD_READ(to, from, len) hostile_payload_read((to), (from), (len))

#endif
