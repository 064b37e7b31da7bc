/* tests/model/explorer.h - what a harness of the weak-memory explorer is made of.
 *
 * A model is a small program over a ring: a setup, some threads, a check.  The explorer runs it again and again, each
 * time with another interleaving and other old values read, until there is no other within the bounds; then, with wider
 * bounds, at random.  README.md tells what memory may do and where the limits are.
 *
 * The ring's own headers and sources are compiled against backend.h, so every access to a shared word, and every copy
 * of payload, is a call of memory.h.  Everything else that a harness has is private: handles, counters, buffers are
 * ordinary variables, which setup must bring to the same values each time. */
#ifndef MODEL_EXPLORER_H
#define MODEL_EXPLORER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_THREADS 6

struct model_thread {
    const char *name;
    void (*run)(void);
    unsigned after; /* the number (from 1) of the thread whose end, or death, it awaits; 0: none.  It sees all of it */
    bool victim;    /* may be killed: before each of its stores */
};

struct model {
    const char *name; /* "spsc_free: a full lap" */
    void (*setup)(void);
    struct model_thread threads[MODEL_THREADS];
    void (*check)(void); /* after the last thread's end; sees everything */
    /* The bounds of the exhaustive search.  A preemption is a switch away from a thread that could go on; an old value
     * is one that is read, or a store that takes effect, behind a newer one. */
    unsigned preemptions, stale;
    unsigned kills;
    unsigned random;     /* executions at random, without bounds on preemptions and old values */
    uint32_t must_reach; /* the marks that some execution must reach: that the model is not empty talk */
    const char *must_fail; /* part of the failure that there must be: models of the explorer itself */
    struct model *next;
};

/* MODEL(id) = { .name = ..., ... }; adds a model to the program that this file is linked into. */
#define MODEL(id)                                                                                                      \
    static struct model id;                                                                                            \
    __attribute__((constructor)) static void id##_add(void) { model_add(&id); }                                        \
    static struct model id
void model_add(struct model *model);

/* ---- for setup ---- */

/* model_zero brings private variables back to zero. */
void model_zero(void *variables, size_t bytes);

/* model_share makes memory known as shared, with the same first content in each 64-bit word.  In the memory itself that
 * content stays: what is stored there is the explorer's. */
void model_share(const char *name, void *memory, size_t bytes, uint64_t content);

/* ---- for threads and checks ---- */

/* model_wait is what a loop does that finds nothing: true when it is worth another look, because another thread has
 * stored something, or because nobody else can go on and the newest values have reached this one.  False when nothing
 * will ever come. */
bool model_wait(void);

/* model_sleep is futex(2)'s wait: it returns at once if the word is not value, and otherwise when model_wake is called
 * for it.  A sleep that nobody is left to end is a failure, unless somebody was killed: then it ends by its bound, and
 * returns false. */
bool model_sleep(const void *word32, uint32_t value);
void model_wake(const void *word32);

/* model_sleep_any is futex_waitv(2): it returns at once if one of the words is not its value, and otherwise when model_wake
 * is called for any.  Not for GenMC. */
#define MODEL_WORDS 2u
struct model_sleeps { const void *word32; uint32_t value; };
bool model_sleep_any(const struct model_sleeps *on, unsigned count);

/* model_fence_others is membarrier(2): see memory.h. */
void model_fence_others(void);

/* model_killed tells whether a thread was killed in this execution; model_ended whether it was killed or came to its
 * end, as the kernel knows it: whoever hears so sees all that it did. */
bool model_killed(unsigned thread);
bool model_ended(unsigned thread);

/* What a harness notes for all its threads: it orders nothing. */
static inline void model_note(bool *note) { *note = true; }
static inline bool model_noted(const bool *note) { return *note; }

/* A number that is smaller under GenMC (genmc_backend.h), which tries everything and would not end. */
#define MODEL_BOUND(here, in_genmc) (here)

/* model_reached marks something that happened; see must_reach. */
void model_reached(uint32_t marks);

#define MODEL_ASSERT(condition)                                                                                        \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            model_fail(__FILE__, __LINE__, #condition);                                                                \
    } while (0)
_Noreturn void model_fail(const char *file, int line, const char *what);

#endif
