/* base/atomic.h - the one includer of <stdatomic.h>.
 *
 * Shared words are of these types and are touched by these functions alone; the order is in the function's name:
 * _rlx relaxed, _acq acquire, _rel release.  Words are 64 bits, except those a futex waits on, which are 32.
 * There is no default-order operator, and no operation that nobody needs yet.
 * C++ has the same types with the compiler's builtins, because <stdatomic.h> is not C++ before C++23. */
#ifndef WEIR_BASE_ATOMIC_H
#define WEIR_BASE_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <weir/base/api.h>

#if defined(WEIR_ATOMIC_BACKEND)

/* Tests put an explorer of weak memory here, or hooks behind each store: a header that defines all that follows up to
 * the else, and the two WEIR_PAYLOAD_ macros below. */
#include WEIR_ATOMIC_BACKEND

#elif defined(__cplusplus)

typedef struct weir_atomic_u64 { uint64_t word; } weir_atomic_u64;
typedef struct weir_atomic_u32 { uint32_t word; } weir_atomic_u32;

#define WEIR_ATOMIC_LOAD(a, order) __atomic_load_n(&(a)->word, __ATOMIC_##order)
#define WEIR_ATOMIC_STORE(a, value, order) __atomic_store_n(&(a)->word, (value), __ATOMIC_##order)
#define WEIR_ATOMIC_EXCHANGE(a, value, order) __atomic_exchange_n(&(a)->word, (value), __ATOMIC_##order)
#define WEIR_ATOMIC_ADD(a, value, order) __atomic_fetch_add(&(a)->word, (value), __ATOMIC_##order)
#define WEIR_ATOMIC_OR(a, bits, order) __atomic_fetch_or(&(a)->word, (bits), __ATOMIC_##order)
#define WEIR_ATOMIC_AND(a, bits, order) __atomic_fetch_and(&(a)->word, (bits), __ATOMIC_##order)
#define WEIR_ATOMIC_CAS(a, expected, desired, order)                                                                  \
    __atomic_compare_exchange_n(&(a)->word, (expected), (desired), false, __ATOMIC_##order, __ATOMIC_RELAXED)
#define WEIR_ATOMIC_FENCE_ACQ() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define WEIR_ATOMIC_FENCE_REL() __atomic_thread_fence(__ATOMIC_RELEASE)
#define WEIR_ATOMIC_FENCE_SC() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define WEIR_ATOMIC_FENCE_COMPILER() __atomic_signal_fence(__ATOMIC_SEQ_CST)

#else

#include <stdatomic.h>

typedef struct weir_atomic_u64 { _Atomic uint64_t word; } weir_atomic_u64;
typedef struct weir_atomic_u32 { _Atomic uint32_t word; } weir_atomic_u32;

#define WEIR_ORDER_RELAXED memory_order_relaxed
#define WEIR_ORDER_ACQUIRE memory_order_acquire
#define WEIR_ORDER_RELEASE memory_order_release
#define WEIR_ATOMIC_LOAD(a, order) atomic_load_explicit(&(a)->word, WEIR_ORDER_##order)
#define WEIR_ATOMIC_STORE(a, value, order) atomic_store_explicit(&(a)->word, (value), WEIR_ORDER_##order)
#define WEIR_ATOMIC_EXCHANGE(a, value, order) atomic_exchange_explicit(&(a)->word, (value), WEIR_ORDER_##order)
#define WEIR_ATOMIC_ADD(a, value, order) atomic_fetch_add_explicit(&(a)->word, (value), WEIR_ORDER_##order)
#define WEIR_ATOMIC_OR(a, bits, order) atomic_fetch_or_explicit(&(a)->word, (bits), WEIR_ORDER_##order)
#define WEIR_ATOMIC_AND(a, bits, order) atomic_fetch_and_explicit(&(a)->word, (bits), WEIR_ORDER_##order)
#define WEIR_ATOMIC_CAS(a, expected, desired, order)                                                                  \
    atomic_compare_exchange_strong_explicit(&(a)->word, (expected), (desired), WEIR_ORDER_##order,                    \
                                            memory_order_relaxed)
#define WEIR_ATOMIC_FENCE_ACQ() atomic_thread_fence(memory_order_acquire)
#define WEIR_ATOMIC_FENCE_REL() atomic_thread_fence(memory_order_release)
#define WEIR_ATOMIC_FENCE_SC() atomic_thread_fence(memory_order_seq_cst)
#define WEIR_ATOMIC_FENCE_COMPILER() atomic_signal_fence(memory_order_seq_cst)

#endif

#ifdef __cplusplus
static_assert(sizeof(weir_atomic_u64) == 8 && sizeof(weir_atomic_u32) == 4, "a shared word is exactly its bits");
#else
_Static_assert(sizeof(weir_atomic_u64) == 8 && sizeof(weir_atomic_u32) == 4, "a shared word is exactly its bits");
#endif

/* Adds to a number that one thread writes, others look at, and nothing is decided by: models leave it out. */
#ifndef WEIR_ATOMIC_TALLY
#define WEIR_ATOMIC_TALLY(a, more) WEIR_ATOMIC_STORE(a, WEIR_ATOMIC_LOAD(a, RELAXED) + (more), RELAXED)
#endif
WEIR_INLINE void weir_tally(weir_atomic_u64 *a, uint64_t more) { WEIR_ATOMIC_TALLY(a, more); }

static inline uint64_t weir_load_rlx(const weir_atomic_u64 *a) { return WEIR_ATOMIC_LOAD(a, RELAXED); }
static inline uint64_t weir_load_acq(const weir_atomic_u64 *a) { return WEIR_ATOMIC_LOAD(a, ACQUIRE); }
static inline void weir_store_rlx(weir_atomic_u64 *a, uint64_t value) { WEIR_ATOMIC_STORE(a, value, RELAXED); }
static inline void weir_store_rel(weir_atomic_u64 *a, uint64_t value) { WEIR_ATOMIC_STORE(a, value, RELEASE); }

/* These return the word as it was. */
static inline uint64_t weir_fetch_add_rlx(weir_atomic_u64 *a, uint64_t value)
{
    return WEIR_ATOMIC_ADD(a, value, RELAXED);
}
static inline uint64_t weir_fetch_or_rlx(weir_atomic_u64 *a, uint64_t bits) { return WEIR_ATOMIC_OR(a, bits, RELAXED); }
static inline uint64_t weir_fetch_or_rel(weir_atomic_u64 *a, uint64_t bits) { return WEIR_ATOMIC_OR(a, bits, RELEASE); }
static inline uint64_t weir_fetch_and_rlx(weir_atomic_u64 *a, uint64_t bits)
{
    return WEIR_ATOMIC_AND(a, bits, RELAXED);
}

/* These compare and swap, and say whether they did; if not, *expected is the word as it is.  They fail for no other
 * reason than that (strong), and a failure orders nothing. */
static inline bool weir_cas_rlx(weir_atomic_u64 *a, uint64_t *expected, uint64_t desired)
{
    return WEIR_ATOMIC_CAS(a, expected, desired, RELAXED);
}
static inline bool weir_cas_acq(weir_atomic_u64 *a, uint64_t *expected, uint64_t desired)
{
    return WEIR_ATOMIC_CAS(a, expected, desired, ACQUIRE);
}
static inline bool weir_cas_rel(weir_atomic_u64 *a, uint64_t *expected, uint64_t desired)
{
    return WEIR_ATOMIC_CAS(a, expected, desired, RELEASE);
}

static inline uint32_t weir_load32_rlx(const weir_atomic_u32 *a) { return WEIR_ATOMIC_LOAD(a, RELAXED); }
static inline void weir_store32_rlx(weir_atomic_u32 *a, uint32_t value) { WEIR_ATOMIC_STORE(a, value, RELAXED); }
static inline uint32_t weir_exchange32_rlx(weir_atomic_u32 *a, uint32_t value)
{
    return WEIR_ATOMIC_EXCHANGE(a, value, RELAXED);
}

/* weir_fence_sc is the full fence of a store-then-load handshake; weir_fence_acq and _rel order relaxed accesses to
 * bytes that may be overwritten while they are read; weir_fence_compiler stops the compiler alone, for a handler in the
 * same thread and for the cheap side of an asymmetric fence. */
static inline void weir_fence_sc(void) { WEIR_ATOMIC_FENCE_SC(); }
static inline void weir_fence_acq(void) { WEIR_ATOMIC_FENCE_ACQ(); }
static inline void weir_fence_rel(void) { WEIR_ATOMIC_FENCE_REL(); }
static inline void weir_fence_compiler(void) { WEIR_ATOMIC_FENCE_COMPILER(); }

/* A record's bytes on their way into a ring and out of it: plain memory, which whoever explores a ring must see. */
#ifndef WEIR_ATOMIC_BACKEND
#define WEIR_PAYLOAD_WRITE(to, from, len) memcpy((to), (from), (len))
#define WEIR_PAYLOAD_READ(to, from, len) memcpy((to), (from), (len))
#endif

/* weir_word_at is the one place where bytes of a section become a shared word.  off is a multiple of 8. */
static inline weir_atomic_u64 *weir_word_at(void *base, uint64_t off)
{
    return (weir_atomic_u64 *)(void *)((unsigned char *)base + off);
}

/* The same where nothing is written: the memory may be mapped read-only. */
static inline const weir_atomic_u64 *weir_word_of(const void *base, uint64_t off)
{
    return (const weir_atomic_u64 *)(const void *)((const unsigned char *)base + off);
}

/* weir_words_store and weir_words_load copy bytes into shared words and out of them, each word relaxed: for what may be
 * overwritten while it is read, which for plain bytes would be a data race.  The last word is filled up with zeros. */
static inline void weir_words_store(weir_atomic_u64 *words, const void *from, uint64_t len)
{
    const unsigned char *bytes = (const unsigned char *)from;
    for (; len >= 8; words++, bytes += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        weir_store_rlx(words, word);
    }
    if (len != 0) {
        uint64_t word = 0;
        memcpy(&word, bytes, len);
        weir_store_rlx(words, word);
    }
}

static inline void weir_words_load(void *to, const weir_atomic_u64 *words, uint64_t len)
{
    unsigned char *bytes = (unsigned char *)to;
    for (; len >= 8; words++, bytes += 8, len -= 8) {
        uint64_t word = weir_load_rlx(words);
        memcpy(bytes, &word, 8);
    }
    if (len != 0) {
        uint64_t word = weir_load_rlx(words);
        memcpy(bytes, &word, len);
    }
}

#endif
