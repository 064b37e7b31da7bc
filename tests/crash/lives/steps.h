/* crash/lives/steps.h - a process that goes through its life in single steps, or is lost at one of them.
 *
 * x86-64 alone: the trap flag steps, a breakpoint planted in the process's own code finds the step again at full speed. */
#ifndef WEIR_TESTS_CRASH_STEPS_H
#define WEIR_TESTS_CRASH_STEPS_H

#include <stdbool.h>
#include <stdint.h>

#define STEPS_MAX (UINT64_C(1) << 19)

/* A point: the instruction at `at` is the next. */
typedef struct steps_point {
    uintptr_t at;
    uintptr_t called; /* the foreign function that has just come back; 0: none */
    uint16_t operation; /* of the life, by its own count */
    bool changed; /* a section's bytes or its length are not what they were at the point before; of what a foreign
                   * function does, when it comes back */
} steps_point;

/* Shared with the process that steps. */
typedef struct steps_trace {
    uint64_t count;
    steps_point point[STEPS_MAX];
} steps_trace;

/* Where a life is to be lost: when `at` comes for the nth time, and that many single steps behind it. */
typedef struct steps_aim {
    uintptr_t at;
    uint64_t nth, steps;
    int signal; /* SIGKILL, SIGSTOP */
} steps_aim;

/* steps_possible: can a process do all this here? */
bool steps_possible(void);

/* steps_to_trace and steps_to_aim: what the next steps_begin of this process does.  steps_begin and steps_end enclose the
 * life; steps_pause and steps_go on what is not to be stepped. */
void steps_to_trace(steps_trace *trace);
void steps_to_aim(const steps_aim *aim);
void steps_begin(void);
void steps_end(void);
void steps_pause(void);
void steps_go_on(void);

/* steps_forget: this process, forked in a pause, has a life of its own. */
void steps_forget(void);

/* steps_operation: the life's next operation begins. */
void steps_operation(unsigned number);

/* steps_is_distinct: may somebody else see a difference between this point and the one before? */
bool steps_is_distinct(const steps_trace *trace, uint64_t point);

/* steps_aim_at: how to find a point of the trace again. */
steps_aim steps_aim_at(const steps_trace *trace, uint64_t point, int signal);

#endif
