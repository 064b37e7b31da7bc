/* tests/model/genmc_backend.h - the harnesses for GenMC: stands in for explorer.h and backend.h, by their guards.
 *
 * genmc.sh includes it in front of everything.  Threads are POSIX threads, atomics are the compiler's, payload goes
 * word by word.  model_wait ends an execution that has nothing to go on with (GenMC explores those in which it has).
 * A kill is a thread that raises a flag at any time; the victim looks at it before each store.  Nobody sleeps. */
#define MODEL_EXPLORER_H
#define MODEL_BACKEND_H

#include <assert.h>
#include <pthread.h>
#include <genmc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- explorer.h ---- */

#define MODEL_THREADS 6

struct model_thread {
    const char *name;
    void (*run)(void);
    unsigned after;
    bool victim;
};

struct model {
    const char *name;
    void (*setup)(void);
    struct model_thread threads[MODEL_THREADS];
    void (*check)(void);
    unsigned preemptions, stale, kills, random;
    uint32_t must_reach;
    const char *must_fail;
};

#define MODEL(id) static const struct model id
#define MODEL_ASSERT(condition) assert(condition)

static pthread_t model_threads[MODEL_THREADS];
static _Thread_local unsigned model_self;
static _Thread_local bool model_victim;
static bool model_was_killed[MODEL_THREADS + 1];
static unsigned model_reaper; /* an atomic */

static inline void model_zero(void *variables, size_t bytes) { (void)variables, (void)bytes; }

static inline void model_share(const char *name, void *memory, size_t bytes, uint64_t content)
{
    (void)name;
    for (size_t off = 0; content != 0 && off < bytes; off += 8)
        *(uint64_t *)(void *)((unsigned char *)memory + off) = content;
}

static inline bool model_wait(void)
{
    __VERIFIER_assume(0);
    return true;
}

static inline bool model_killed(unsigned thread) { return model_was_killed[thread]; }
static inline void model_reached(uint32_t marks) { (void)marks; }

static inline void model_kill_point(void)
{
    if (!model_victim || __atomic_load_n(&model_reaper, __ATOMIC_RELAXED) == 0)
        return;
    model_was_killed[model_self] = true;
    pthread_exit(NULL);
}

/* ---- backend.h ---- */

typedef struct weir_atomic_u64 { uint64_t word; } weir_atomic_u64;
typedef struct weir_atomic_u32 { uint32_t word; } weir_atomic_u32;

#define WEIR_ATOMIC_LOAD(a, order) __atomic_load_n(&(a)->word, __ATOMIC_##order)
#define WEIR_ATOMIC_STORE(a, value, order) (model_kill_point(), __atomic_store_n(&(a)->word, (value), __ATOMIC_##order))
#define WEIR_ATOMIC_EXCHANGE(a, value, order)                                                                          \
    (model_kill_point(), __atomic_exchange_n(&(a)->word, (value), __ATOMIC_##order))
#define WEIR_ATOMIC_ADD(a, value, order) (model_kill_point(), __atomic_fetch_add(&(a)->word, (value), __ATOMIC_##order))
#define WEIR_ATOMIC_OR(a, bits, order) (model_kill_point(), __atomic_fetch_or(&(a)->word, (bits), __ATOMIC_##order))
#define WEIR_ATOMIC_AND(a, bits, order) (model_kill_point(), __atomic_fetch_and(&(a)->word, (bits), __ATOMIC_##order))
#define WEIR_ATOMIC_CAS(a, expected, desired, order)                                                                   \
    (model_kill_point(), __atomic_compare_exchange_n(&(a)->word, (expected), (desired), false, __ATOMIC_##order,       \
                                                     __ATOMIC_RELAXED))
#define WEIR_ATOMIC_FENCE_ACQ() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define WEIR_ATOMIC_FENCE_REL() __atomic_thread_fence(__ATOMIC_RELEASE)
#define WEIR_ATOMIC_FENCE_SC() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define WEIR_ATOMIC_FENCE_COMPILER() ((void)0)

/* Private buffers are whole words; what is behind the payload's last byte is not compared. */
#define WEIR_PAYLOAD_WRITE(to, from, len)                                                                              \
    do {                                                                                                               \
        for (uint64_t done = 0; done < (len); done += 8) {                                                             \
            model_kill_point();                                                                                        \
            ((uint64_t *)(void *)(to))[done / 8] = ((const uint64_t *)(const void *)(from))[done / 8];                 \
        }                                                                                                              \
    } while (0)
#define WEIR_PAYLOAD_READ(to, from, len)                                                                               \
    do {                                                                                                               \
        for (uint64_t done = 0; done < (len); done += 8)                                                               \
            ((uint64_t *)(void *)(to))[done / 8] = ((const uint64_t *)(const void *)(from))[done / 8];                 \
    } while (0)

/* What copies with memcpy or formats texts, which GenMC does not run. */
#define WEIR_ATOMIC_BACKEND "backend.h"
#define weir_words_store unused_words_store
#define weir_words_load unused_words_load
#include <weir/base/atomic.h>
#include <weir/base/fail.h>
#undef weir_words_store
#undef weir_words_load

static inline void weir_words_store(weir_atomic_u64 *words, const void *from, uint64_t len)
{
    for (uint64_t i = 0; i < (len + 7) / 8; i++)
        weir_store_rlx(&words[i], ((const uint64_t *)from)[i]);
}

static inline void weir_words_load(void *to, const weir_atomic_u64 *words, uint64_t len)
{
    for (uint64_t i = 0; i < (len + 7) / 8; i++)
        ((uint64_t *)to)[i] = weir_load_rlx(&words[i]);
}

weir_status weir_fail(weir_status status, const char *format, ...)
{
    (void)format;
    return status;
}

/* ---- the program ---- */

static const struct model *model_under_test;

static void *model_thread_main(void *number)
{
    unsigned self = (unsigned)(uintptr_t)number;
    const struct model_thread *is = &model_under_test->threads[self - 1];
    model_self = self;
    model_victim = is->victim;
    if (is->after != 0)
        pthread_join(model_threads[is->after - 1], NULL);
    is->run();
    return NULL;
}

static void *model_reaper_main(void *unused)
{
    __atomic_store_n(&model_reaper, 1, __ATOMIC_RELAXED);
    return unused;
}

#define MODEL_GENMC_MAIN(id)                                                                                           \
    int main(void)                                                                                                     \
    {                                                                                                                  \
        pthread_t reaper;                                                                                              \
        bool awaited[MODEL_THREADS + 1] = { false };                                                                   \
        unsigned count = 0;                                                                                            \
        model_under_test = &(id);                                                                                      \
        (id).setup();                                                                                                  \
        if ((id).kills != 0)                                                                                           \
            pthread_create(&reaper, NULL, model_reaper_main, NULL);                                                    \
        for (; count < MODEL_THREADS && (id).threads[count].run != NULL; count++) {                                    \
            awaited[(id).threads[count].after] = true;                                                                 \
            pthread_create(&model_threads[count], NULL, model_thread_main, (void *)(uintptr_t)(count + 1));            \
        }                                                                                                              \
        for (unsigned i = 1; i <= count; i++)                                                                          \
            if (!awaited[i])                                                                                           \
                pthread_join(model_threads[i - 1], NULL);                                                              \
        if ((id).kills != 0)                                                                                           \
            pthread_join(reaper, NULL);                                                                                \
        if ((id).check != NULL)                                                                                        \
            (id).check();                                                                                              \
        return 0;                                                                                                      \
    }
