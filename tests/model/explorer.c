/* tests/model/explorer.c - threads, the choices between them, and the search through all choices.
 *
 * Every thread has a stack of its own and runs until it comes to a point where something is to be chosen.  An execution
 * is the list of its choices; the next one repeats them but for the last that has another possibility left: depth
 * first, without remembering states. */
#undef _FORTIFY_SOURCE /* its longjmp refuses to go to another stack */
#include "search.h"
#include "memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define STACK_BYTES 65536
#define CHOICES 8192  /* of one execution */
#define POINTS 20000  /* in one execution; more is a loop without end */
#define UNBOUNDED 1000000u

/* At random, the first possibility (go on, newest value, survive) is taken this often. */
enum { ODDS_GO_ON = 4, ODDS_NEWEST = 4, ODDS_SURVIVE = 24, ODDS_EVEN = 0 };

enum state { ABSENT, AWAITS, READY, WAITS, SLEEPS, ENDED };

/* A stack that can be left and gone back to.  ucontext enters it once; after that _setjmp and _longjmp switch, because
 * ucontext makes system calls. */
struct fiber {
    ucontext_t entry;
    jmp_buf top;   /* where each execution starts on it */
    jmp_buf point; /* where it was left */
    bool entered, started;
    void *stack;
};

struct thread {
    const struct model_thread *is;
    enum state state;
    bool killed;
    bool go_on;           /* what model_wait returns */
    unsigned own_stores;  /* by this thread */
    unsigned waits_since; /* the others' stores when it began to wait */
    unsigned caught_up;   /* all stores + 1 when the newest values were brought to it; 0: never */
    const void *sleeps_on[MODEL_WORDS]; /* NULL: fewer */
    bool woken; /* not by the sleep's bound */
};

struct choice { uint16_t chosen, count; };

static struct {
    const struct model *model;
    struct thread threads[MODEL_ALL_THREADS]; /* 0 is setup and check, on the main stack */
    struct fiber fibers[MODEL_ALL_THREADS];
    unsigned thread_count;
    unsigned self;
    bool running;  /* between setup and check */
    bool switched; /* the thread has just been chosen and has done nothing yet */
    bool failed;
    bool tracing;
    bool random;
    uint64_t seed;
    struct choice choices[CHOICES];
    unsigned choice_count, choice_at;
    unsigned points, stores, preemptions, stale, kills, timeouts;
    unsigned preemptions_max, stale_max;
    uint32_t reached;
    char story[256];
} explorer;

/* ---- fibers ---- */

static void switch_fiber(struct fiber *from, struct fiber *to)
{
    if (_setjmp(from->point) != 0)
        return;
    if (to->started)
        _longjmp(to->point, 1);
    to->started = true;
    if (to->entered)
        _longjmp(to->top, 1);
    to->entered = true;
    setcontext(&to->entry);
}

static void fiber_main(void);

static void prepare_fiber(struct fiber *fiber)
{
    if (fiber->stack != NULL)
        return;
    if ((fiber->stack = malloc(STACK_BYTES)) == NULL)
        abort();
    getcontext(&fiber->entry);
    fiber->entry.uc_stack.ss_sp = fiber->stack;
    fiber->entry.uc_stack.ss_size = STACK_BYTES;
    fiber->entry.uc_link = NULL;
    makecontext(&fiber->entry, fiber_main, 0);
}

static struct fiber *own_fiber(void)
{
    return &explorer.fibers[explorer.self];
}

/* ---- choices ---- */

static uint64_t next_random(void)
{
    explorer.seed ^= explorer.seed << 13;
    explorer.seed ^= explorer.seed >> 7;
    explorer.seed ^= explorer.seed << 17;
    return explorer.seed * UINT64_C(0x2545f4914f6cdd1d) >> 16;
}

static unsigned random_choice(unsigned count, unsigned odds)
{
    if (odds == ODDS_EVEN)
        return (unsigned)(next_random() % count);
    return next_random() % odds != 0 ? 0 : (unsigned)(1 + next_random() % (count - 1));
}

static unsigned choose(unsigned count, unsigned odds)
{
    if (count <= 1)
        return 0;
    if (explorer.choice_at == explorer.choice_count) {
        if (explorer.choice_count == CHOICES)
            explorer_fail("more than %d choices in one execution", CHOICES);
        unsigned chosen = explorer.random ? random_choice(count, odds) : 0;
        explorer.choices[explorer.choice_count++] = (struct choice){ (uint16_t)chosen, (uint16_t)count };
    }
    struct choice *choice = &explorer.choices[explorer.choice_at++];
    if (choice->count != count) {
        fprintf(stderr, "model: %s is not the same twice: setup must reset everything\n", explorer.model->name);
        exit(2);
    }
    return choice->chosen;
}

unsigned explorer_choose_stale(unsigned count)
{
    if (!explorer.running || explorer.stale >= explorer.stale_max)
        return 0;
    unsigned chosen = choose(count, ODDS_NEWEST);
    explorer.stale += chosen != 0;
    return chosen;
}

/* The next execution's choices; false when there are no others. */
static bool next_choices(void)
{
    while (explorer.choice_count > 0) {
        struct choice *last = &explorer.choices[explorer.choice_count - 1];
        if (++last->chosen < last->count)
            return true;
        explorer.choice_count--;
    }
    return false;
}

/* ---- who goes on ---- */

unsigned explorer_thread(void)
{
    return explorer.self;
}

static unsigned others_stores(const struct thread *thread)
{
    return explorer.stores - thread->own_stores;
}

static bool can_go_on(const struct thread *thread)
{
    return thread->state == READY || (thread->state == WAITS && others_stores(thread) > thread->waits_since);
}

/* Goes on with a thread; returns when this one is chosen again. */
static void go_to(unsigned next)
{
    unsigned self = explorer.self;
    struct thread *thread = &explorer.threads[next];
    if (thread->state == WAITS)
        thread->go_on = true;
    thread->state = READY;
    explorer.switched = true;
    if (next == self)
        return;
    struct fiber *from = own_fiber();
    explorer.self = next;
    if (explorer_traces())
        explorer_trace("goes on");
    switch_fiber(from, &explorer.fibers[next]);
}

/* When nobody can go on as things are: the newest values reach somebody who waits, ... */
static unsigned may_catch_up(unsigned *candidates)
{
    unsigned count = 0;
    for (unsigned i = 1; i <= explorer.thread_count; i++)
        if (explorer.threads[i].state == WAITS && explorer.threads[i].caught_up != explorer.stores + 1)
            candidates[count++] = i;
    return count;
}

/* ... or a sleep comes to its bound after a death, ... */
static unsigned may_time_out(unsigned *candidates)
{
    unsigned count = 0;
    for (unsigned i = 1; i <= explorer.thread_count; i++)
        if (explorer.threads[i].state == SLEEPS && explorer.kills > 0 && explorer.timeouts < 2 * MODEL_THREADS)
            candidates[count++] = i;
    return count;
}

/* ... or somebody gives up. */
static unsigned may_give_up(unsigned *candidates)
{
    unsigned count = 0;
    for (unsigned i = 1; i <= explorer.thread_count; i++)
        if (explorer.threads[i].state == WAITS)
            candidates[count++] = i;
    return count;
}

static unsigned stir(unsigned *candidates)
{
    unsigned count = may_catch_up(candidates);
    if (count > 0) {
        unsigned next = candidates[choose(count, ODDS_EVEN)];
        memory_catch_up(next);
        explorer.threads[next].caught_up = explorer.stores + 1;
        return next;
    }
    count = may_time_out(candidates);
    if (count > 0) {
        unsigned next = candidates[choose(count, ODDS_EVEN)];
        memory_catch_up(next); /* the bound is an age */
        explorer.timeouts++;
        return next;
    }
    count = may_give_up(candidates);
    if (count > 0) {
        unsigned next = candidates[choose(count, ODDS_EVEN)];
        explorer.threads[next].go_on = false;
        explorer.threads[next].state = READY;
        return next;
    }
    for (unsigned i = 1; i <= explorer.thread_count; i++)
        if (explorer.threads[i].state == SLEEPS)
            explorer_fail("%s sleeps, and nobody is left to wake it", explorer_thread_name(i));
    return 0;
}

/* The running thread cannot go on: chooses one that can.  Comes back when this one can again; from the last thread's
 * end to the main stack. */
static void yield(void)
{
    unsigned candidates[MODEL_ALL_THREADS], count = 0;
    for (unsigned i = 1; i <= explorer.thread_count; i++)
        if (can_go_on(&explorer.threads[i]))
            candidates[count++] = i;
    unsigned next = count > 0 ? candidates[choose(count, ODDS_EVEN)] : stir(candidates);
    if (next != 0) {
        go_to(next);
        return;
    }
    struct fiber *from = own_fiber();
    explorer.self = MODEL_SETUP;
    switch_fiber(from, &explorer.fibers[MODEL_SETUP]);
}

void explorer_point(void)
{
    if (!explorer.running)
        return;
    if (++explorer.points > POINTS)
        explorer_fail("does not end");
    if (explorer.switched) {
        explorer.switched = false;
        return;
    }
    if (explorer.preemptions >= explorer.preemptions_max)
        return;
    unsigned candidates[MODEL_ALL_THREADS] = { explorer.self }, count = 1;
    for (unsigned i = 1; i <= explorer.thread_count; i++)
        if (i != explorer.self && can_go_on(&explorer.threads[i]))
            candidates[count++] = i;
    unsigned chosen = choose(count, ODDS_GO_ON);
    if (chosen != 0) {
        explorer.preemptions++;
        go_to(candidates[chosen]);
    }
    explorer.switched = false;
}

void explorer_stored(void)
{
    if (!explorer.running)
        return;
    explorer.stores++;
    explorer.timeouts = 0;
    explorer.threads[explorer.self].own_stores++;
}

/* ---- ends ---- */

static void end_thread(void)
{
    struct thread *self = &explorer.threads[explorer.self];
    self->state = ENDED;
    for (unsigned i = 1; i <= explorer.thread_count; i++) {
        struct thread *thread = &explorer.threads[i];
        if (thread->state == AWAITS && thread->is->after == explorer.self) {
            memory_start(i, explorer.self);
            thread->state = READY;
        }
    }
    yield();
    abort(); /* an ended thread is not gone back to */
}

static void fiber_main(void)
{
    (void)_setjmp(own_fiber()->top); /* whatever the last execution left deeper on this stack is forgotten */
    explorer.threads[explorer.self].is->run();
    end_thread();
}

void explorer_kill_point(void)
{
    if (!explorer.running)
        return;
    struct thread *self = &explorer.threads[explorer.self];
    if (!self->is->victim || explorer.kills >= explorer.model->kills || choose(2, ODDS_SURVIVE) == 0)
        return;
    explorer.kills++;
    self->killed = true;
    if (explorer_traces())
        explorer_trace("is killed");
    end_thread();
}

bool model_killed(unsigned thread)
{
    return explorer.threads[thread].killed;
}

bool model_ended(unsigned thread)
{
    explorer_point();
    if (explorer.threads[thread].state != ENDED)
        return false;
    memory_start(explorer.self, thread);
    return true;
}

/* ---- waiting ---- */

bool model_wait(void)
{
    if (!explorer.running)
        return false;
    struct thread *self = &explorer.threads[explorer.self];
    self->state = WAITS;
    self->waits_since = others_stores(self);
    self->go_on = true;
    yield();
    return self->go_on;
}

bool model_sleep_any(const struct model_sleeps *on, unsigned count)
{
    struct thread *self = &explorer.threads[explorer.self];
    explorer_point();
    for (unsigned i = 0; i < MODEL_WORDS; i++)
        self->sleeps_on[i] = i < count ? on[i].word32 : NULL;
    for (unsigned i = 0; i < count; i++)
        if (memory_latest(on[i].word32, sizeof on[i].value) != on[i].value)
            return true;
    for (unsigned i = 0; i < count && explorer_traces(); i++)
        explorer_trace("sleeps on %s", memory_name(on[i].word32));
    self->state = SLEEPS;
    self->woken = false;
    yield();
    return self->woken;
}

bool model_sleep(const void *word, uint32_t value)
{
    return model_sleep_any(&(struct model_sleeps){ word, value }, 1);
}

static bool sleeps_on(const struct thread *thread, const void *word)
{
    bool found = false;
    for (unsigned i = 0; i < MODEL_WORDS; i++)
        found = found || thread->sleeps_on[i] == word;
    return thread->state == SLEEPS && found;
}

void model_wake(const void *word)
{
    explorer_point();
    explorer_kill_point();
    for (unsigned i = 1; i <= explorer.thread_count; i++)
        if (sleeps_on(&explorer.threads[i], word)) {
            explorer.threads[i].state = READY;
            explorer.threads[i].woken = true;
        }
    if (explorer_traces())
        explorer_trace("wakes who sleeps on %s", memory_name(word));
}

void model_reached(uint32_t marks)
{
    explorer.reached |= marks;
}

/* ---- failures ---- */

_Noreturn static void abandon(void)
{
    explorer.failed = true;
    if (explorer.tracing)
        explorer_trace("FAILS: %s", explorer.story);
    explorer.self = MODEL_SETUP;
    _longjmp(explorer.fibers[MODEL_SETUP].point, 1);
}

void explorer_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(explorer.story, sizeof explorer.story, format, arguments);
    va_end(arguments);
    abandon();
}

void model_fail(const char *file, int line, const char *what)
{
    const char *base = strrchr(file, '/');
    explorer_fail("%s:%d: %s", base != NULL ? base + 1 : file, line, what);
}

bool explorer_traces(void)
{
    return explorer.tracing && explorer.running;
}

const char *explorer_thread_name(unsigned thread)
{
    return thread == MODEL_SETUP ? "setup" : explorer.threads[thread].is->name;
}

void explorer_trace(const char *format, ...)
{
    va_list arguments;
    printf("    %-14s ", explorer_thread_name(explorer.self));
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
}

/* ---- executions ---- */

static void begin(void)
{
    memory_reset_execution();
    explorer.choice_at = explorer.points = explorer.stores = 0;
    explorer.preemptions = explorer.stale = explorer.kills = explorer.timeouts = 0;
    explorer.failed = explorer.running = false;
    explorer.switched = true;
    explorer.self = MODEL_SETUP;
    explorer.model->setup();
    for (unsigned i = 1; i <= explorer.thread_count; i++) {
        struct thread *thread = &explorer.threads[i];
        *thread = (struct thread){ .is = &explorer.model->threads[i - 1] };
        thread->state = thread->is->after != 0 ? AWAITS : READY;
        explorer.fibers[i].started = false;
        memory_start(i, MODEL_SETUP);
    }
}

/* One execution; false if it failed. */
static bool execute(void)
{
    if (_setjmp(explorer.fibers[MODEL_SETUP].point) == 0) { /* where abandon comes to from setup, and from a thread before a switch */
        begin();
        explorer.running = true;
        yield();
        explorer.running = false;
        for (unsigned i = 1; i <= explorer.thread_count; i++)
            memory_start(MODEL_SETUP, i);
        if (_setjmp(explorer.fibers[MODEL_SETUP].point) == 0 && explorer.model->check != NULL && !explorer.failed)
            explorer.model->check();
    }
    explorer.running = false;
    return !explorer.failed;
}

static void prepare(const struct model *model)
{
    explorer.model = model;
    explorer.choice_count = 0;
    explorer.thread_count = 0;
    explorer.fibers[MODEL_SETUP].started = true;
    explorer.tracing = false;
    while (explorer.thread_count < MODEL_THREADS && model->threads[explorer.thread_count].run != NULL)
        prepare_fiber(&explorer.fibers[++explorer.thread_count]);
    memory_reset_model();
}

/* After a failure: the same choices once more, told step by step; unless it is the failure that must be. */
static void tell(struct search_result *result)
{
    if (explorer.model->must_fail != NULL && strstr(explorer.story, explorer.model->must_fail) != NULL) {
        result->failed_as_it_must = true;
        return;
    }
    result->failed = true;
    printf("FAILED %s: %s\n", explorer.model->name, explorer.story);
    explorer.tracing = true;
    execute();
    explorer.tracing = false;
}

struct search_result search_all(const struct model *model, unsigned preemptions, unsigned stale, uint64_t executions)
{
    struct search_result result = { 0 };
    prepare(model);
    explorer.random = false;
    explorer.preemptions_max = preemptions;
    explorer.stale_max = stale;
    explorer.reached = 0;
    do {
        if (!execute()) {
            tell(&result);
            break;
        }
        result.executions++;
    } while (result.executions < executions && next_choices());
    result.exhausted = explorer.choice_count == 0;
    result.reached = explorer.reached;
    return result;
}

struct search_result search_random(const struct model *model, uint64_t seed, uint64_t executions)
{
    struct search_result result = { 0 };
    prepare(model);
    explorer.random = true;
    explorer.seed = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
    explorer.preemptions_max = explorer.stale_max = UNBOUNDED;
    explorer.reached = 0;
    for (; result.executions < executions; result.executions++) {
        explorer.choice_count = 0;
        if (!execute()) {
            tell(&result);
            break;
        }
    }
    result.reached = explorer.reached;
    return result;
}
