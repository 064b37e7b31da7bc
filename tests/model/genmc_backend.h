/* tests/model/genmc_backend.h - the harnesses for GenMC: stands in for explorer.h and backend.h, by their guards.
 *
 * genmc.sh includes it in front of everything.  Threads are POSIX threads, atomics are the compiler's, payload goes
 * word by word.  What the explorer bounds by preemptions and old values is not bounded here; what is:
 *
 *   MODEL_GENMC_WAITS  how often a thread goes on from model_wait before it must find something (1).  An execution in
 *                      which it then finds nothing ends there, and with --check-liveness that is an error if what it
 *                      looked at cannot change any more: model_wait's "nothing will ever come".
 *   MODEL_GENMC_RETURNS  how often a thread comes back from a sleep (any number): two who share a word and arm it in turns
 *                      end each other's sleeps for as long as nothing comes.
 *   MODEL_GENMC_REACH  marks that no execution may reach: GenMC's error then shows that one does.
 *
 * A kill is a thread that raises a flag at any time; the victim looks at it before each store. */
#define MODEL_EXPLORER_H
#define MODEL_BACKEND_H

#include <assert.h>
#include <pthread.h>
#include <genmc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEIR_OS_HANDLE_APART 4096u /* as backend.h */

#ifndef MODEL_GENMC_WAITS
#define MODEL_GENMC_WAITS 1
#endif
#ifndef MODEL_GENMC_REACH
#define MODEL_GENMC_REACH 0u
#endif

#define MODEL_OVERLOAD static inline __attribute__((overloadable)) /* genmc.sh: model_clear, model_copy */

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
#define MODEL_BOUND(in_explorer, here) (here)
#define MODEL_ASSERT(condition) assert(condition)

enum { MODEL_RUNS, MODEL_ENDED, MODEL_KILLED };

static const struct model *model_under_test;
static pthread_t model_threads[MODEL_THREADS];
static _Thread_local unsigned model_waits;
#ifdef MODEL_GENMC_INLINE /* GenMC inlines no function with a thread-local variable in it: genmc.sh */
#define model_self ((unsigned)__VERIFIER_thread_self() - (model_under_test->kills != 0)) /* the reaper comes first */
#define model_victim                                                                                                   \
    (model_under_test->kills != 0 && __VERIFIER_thread_self() > 1 && model_under_test->threads[model_self - 1].victim)
#define model_begin(self, victim) assert((self) == model_self)
#else
static _Thread_local unsigned model_self;
static _Thread_local bool model_victim;
#define model_begin(self, victim) (model_self = (self), model_victim = (victim))
#endif
static unsigned model_state[MODEL_THREADS + 1]; /* atomics */
static unsigned model_reaper;                   /* an atomic */
static unsigned model_wakes[4];                 /* atomics: how many there were, of each word */
static unsigned model_asleep[MODEL_THREADS + 1]; /* a thread that sleeps at its end: the wakes before, and 1 */
static const void *model_slept_on[MODEL_THREADS + 1], *model_woke[MODEL_THREADS + 1];

static inline void model_zero(void *variables, size_t bytes) { (void)variables, (void)bytes; }

static inline void model_share(const char *name, void *memory, size_t bytes, uint64_t content)
{
    (void)name;
    for (size_t off = 0; content != 0 && off < bytes; off += 8)
        *(uint64_t *)(void *)((unsigned char *)memory + off) = content;
}

static inline void model_note(bool *note) { __atomic_store_n(note, true, __ATOMIC_RELAXED); }
static inline bool model_noted(const bool *note) { return __atomic_load_n(note, __ATOMIC_RELAXED); }

static inline bool model_wait(void)
{
#if MODEL_GENMC_WAITS == 0
    __VERIFIER_assume(0);
#else
    __VERIFIER_spin_end(model_waits++ < MODEL_GENMC_WAITS); /* liveness: of what was read since the last start */
    __VERIFIER_loop_begin();
    __VERIFIER_spin_start();
#endif
    return true;
}

static inline unsigned model_state_of(unsigned thread)
{
    return __atomic_load_n(&model_state[thread], __ATOMIC_ACQUIRE);
}

static inline void model_end(unsigned how)
{
    __atomic_store_n(&model_state[model_self], how, __ATOMIC_RELEASE);
}

static inline bool model_killed(unsigned thread) { return model_state_of(thread) == MODEL_KILLED; }
static inline bool model_ended(unsigned thread) { return model_state_of(thread) != MODEL_RUNS; }
static inline void model_reached(uint32_t marks) { assert((marks & MODEL_GENMC_REACH) == 0); }

static inline void model_kill_point(void)
{
    if (!model_victim || __atomic_load_n(&model_reaper, __ATOMIC_RELAXED) == 0)
        return;
    model_end(MODEL_KILLED);
    pthread_exit(NULL);
}

/* futex(2): the counter is the queue's lock, so a wake lies before a sleep, which then sees what was stored before it,
 * or behind it.  A queue for each word, by where it lies: main looks whether two have the same.  Who finds no wake stays
 * asleep; main says whether one was on its way. */
static inline unsigned model_queue(const void *word32) { return (unsigned)((uintptr_t)word32 / 128 % 4); }

#ifdef MODEL_GENMC_RETURNS
static unsigned model_returns[MODEL_THREADS + 1];
#define model_comes_back() (__VERIFIER_assume(model_returns[model_self]++ < MODEL_GENMC_RETURNS), true)
#else
#define model_comes_back() true
#endif

static inline bool model_sleep(const void *word32, uint32_t value)
{
    unsigned *wakes = &model_wakes[model_queue(word32)];
    model_slept_on[model_self] = word32;
    unsigned before = __atomic_fetch_add(wakes, 0, __ATOMIC_ACQ_REL);
    if (__atomic_load_n((const uint32_t *)word32, __ATOMIC_RELAXED) != value)
        return model_comes_back();
    if (__atomic_load_n(wakes, __ATOMIC_ACQUIRE) != before)
        return model_comes_back();
    for (unsigned i = 1; i <= MODEL_THREADS && model_under_test->threads[i - 1].run != NULL; i++)
        if (model_under_test->kills != 0 && i != model_self && model_killed(i))
            return false;
    model_asleep[model_self] = before + 1;
    pthread_exit(NULL);
}

static inline void model_wake(const void *word32)
{
    model_kill_point();
    model_woke[model_self] = word32;
    __atomic_fetch_add(&model_wakes[model_queue(word32)], 1, __ATOMIC_ACQ_REL);
}

static inline void model_fence_others(void) { assert(!"GenMC has no membarrier"); }

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
#define WEIR_ATOMIC_TALLY(a, more) ((void)(a), (void)(more))
#define WEIR_ATOMIC_FENCE_ACQ() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define WEIR_ATOMIC_FENCE_REL() __atomic_thread_fence(__ATOMIC_RELEASE)
#define WEIR_ATOMIC_FENCE_SC() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define WEIR_ATOMIC_FENCE_COMPILER() ((void)0)

/* Private buffers are whole words; what lies behind the payload's last byte is not compared. */
static inline void model_payload_write(void *to, const void *from, uint64_t len)
{
    for (uint64_t done = 0; done < len; done += 8) {
        model_kill_point();
        ((uint64_t *)to)[done / 8] = ((const uint64_t *)from)[done / 8];
    }
}

static inline void model_payload_read(void *to, const void *from, uint64_t len)
{
    for (uint64_t done = 0; done < len; done += 8)
        ((uint64_t *)to)[done / 8] = ((const uint64_t *)from)[done / 8];
}

#define WEIR_PAYLOAD_WRITE(to, from, len) model_payload_write((to), (from), (len))
#define WEIR_PAYLOAD_READ(to, from, len) model_payload_read((to), (from), (len))

/* What copies with memcpy or formats texts, which GenMC does not run. */
#define WEIR_ATOMIC_BACKEND "backend.h"
#define weir_words_store unused_words_store
#define weir_words_load unused_words_load
#define __builtin_ia32_pause() ((void)0)
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

static void *model_thread_main(void *number)
{
    unsigned self = (unsigned)(uintptr_t)number;
    const struct model_thread *is = &model_under_test->threads[self - 1];
    model_begin(self, is->victim);
    if (is->after != 0)
        pthread_join(model_threads[is->after - 1], NULL);
    is->run();
    model_end(MODEL_ENDED);
    return NULL;
}

static void *model_reaper_main(void *unused)
{
    __atomic_store_n(&model_reaper, 1, __ATOMIC_RELAXED);
    return unused;
}

static void model_same_word(const void **known, const void *word)
{
    assert(word == NULL || *known == NULL || *known == word);
    if (word != NULL)
        *known = word;
}

/* Nobody is left who could run.  True: the model's check can speak; false: a sleeper would go on, in another
 * execution, woken or (somebody was killed) at its sleep's bound. */
static bool model_all_ended(unsigned count)
{
    const void *words[4] = { NULL };
    bool sleeps = false, goes_on = false;
    for (unsigned i = 1; i <= count; i++) {
        unsigned wakes = __atomic_load_n(&model_wakes[model_queue(model_slept_on[i])], __ATOMIC_RELAXED);
        model_same_word(&words[model_queue(model_slept_on[i])], model_slept_on[i]);
        model_same_word(&words[model_queue(model_woke[i])], model_woke[i]);
        sleeps = sleeps || model_asleep[i] != 0;
        goes_on = goes_on || model_killed(i) || (model_asleep[i] != 0 && model_asleep[i] != wakes + 1);
    }
    assert(goes_on || !sleeps); /* a wake that is lost: nobody is left */
    return !sleeps;
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
        if (model_all_ended(count) && (id).check != NULL)                                                              \
            (id).check();                                                                                              \
        return 0;                                                                                                      \
    }
