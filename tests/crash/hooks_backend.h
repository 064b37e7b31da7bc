/* tests/crash/hooks_backend.h - the atomics of base/atomic.h with a hook behind each access: WEIR_ATOMIC_BACKEND. */
#ifndef WEIR_TESTS_CRASH_HOOKS_BACKEND_H
#define WEIR_TESTS_CRASH_HOOKS_BACKEND_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct weir_atomic_u64 { _Atomic uint64_t word; } weir_atomic_u64;
typedef struct weir_atomic_u32 { _Atomic uint32_t word; } weir_atomic_u32;

/* Each access has happened when its hook is called. */
void crash_hook_load(void);
void crash_hook_store(void);

static inline uint64_t crash_loaded64(uint64_t value) { crash_hook_load(); return value; }
static inline uint32_t crash_loaded32(uint32_t value) { crash_hook_load(); return value; }
static inline uint64_t crash_changed64(uint64_t value) { crash_hook_store(); return value; }
static inline uint32_t crash_changed32(uint32_t value) { crash_hook_store(); return value; }

static inline bool crash_swapped(bool done) { done ? crash_hook_store() : crash_hook_load(); return done; }

#define CRASH_LOADED(a, value) _Generic((a)->word, uint64_t: crash_loaded64, uint32_t: crash_loaded32)(value)
#define CRASH_CHANGED(a, value) _Generic((a)->word, uint64_t: crash_changed64, uint32_t: crash_changed32)(value)

#define WEIR_ORDER_RELAXED memory_order_relaxed
#define WEIR_ORDER_ACQUIRE memory_order_acquire
#define WEIR_ORDER_RELEASE memory_order_release
#define WEIR_ATOMIC_LOAD(a, order) CRASH_LOADED(a, atomic_load_explicit(&(a)->word, WEIR_ORDER_##order))
#define WEIR_ATOMIC_STORE(a, value, order)                                                                            \
    (atomic_store_explicit(&(a)->word, (value), WEIR_ORDER_##order), crash_hook_store())
#define WEIR_ATOMIC_EXCHANGE(a, value, order)                                                                         \
    CRASH_CHANGED(a, atomic_exchange_explicit(&(a)->word, (value), WEIR_ORDER_##order))
#define WEIR_ATOMIC_ADD(a, value, order)                                                                              \
    CRASH_CHANGED(a, atomic_fetch_add_explicit(&(a)->word, (value), WEIR_ORDER_##order))
#define WEIR_ATOMIC_OR(a, bits, order)                                                                                \
    CRASH_CHANGED(a, atomic_fetch_or_explicit(&(a)->word, (bits), WEIR_ORDER_##order))
#define WEIR_ATOMIC_AND(a, bits, order)                                                                               \
    CRASH_CHANGED(a, atomic_fetch_and_explicit(&(a)->word, (bits), WEIR_ORDER_##order))
#define WEIR_ATOMIC_CAS(a, expected, desired, order)                                                                  \
    crash_swapped(atomic_compare_exchange_strong_explicit(&(a)->word, (expected), (desired), WEIR_ORDER_##order,      \
                                                          memory_order_relaxed))
#define WEIR_ATOMIC_FENCE_ACQ() atomic_thread_fence(memory_order_acquire)
#define WEIR_ATOMIC_FENCE_REL() atomic_thread_fence(memory_order_release)
#define WEIR_ATOMIC_FENCE_SC() atomic_thread_fence(memory_order_seq_cst)
#define WEIR_ATOMIC_FENCE_COMPILER() atomic_signal_fence(memory_order_seq_cst)

/* A payload is copied word by word, with a hook behind each. */
void crash_payload_write(void *to, const void *from, uint64_t len);
void crash_payload_read(void *to, const void *from, uint64_t len);

/* Where in the source the access stands: the macros of hooks_sites.h say it. */
#define WEIR_PAYLOAD_WRITE(to, from, len) (CRASH_SITE(), crash_payload_write((to), (from), (len)))
#define WEIR_PAYLOAD_READ(to, from, len) (CRASH_SITE(), crash_payload_read((to), (from), (len)))

#endif
