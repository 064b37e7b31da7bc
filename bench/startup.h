/* bench/startup.h - what it takes to begin: time and memory. */
#ifndef WEIR_BENCH_STARTUP_H
#define WEIR_BENCH_STARTUP_H

#include "rounds.h"

/* From the first call to the first message, of one round each, in ns: ours, one side behind the other in a process that
 * has had another channel before, so that all code and data it touches is there; the bare system calls that it needs,
 * likewise; both for the first time in their process, which has the faults of that too; both sides of ours at once, in
 * two. */
struct startup {
    double ours[ROUNDS_MAX], bare[ROUNDS_MAX], ours_first[ROUNDS_MAX], bare_first[ROUNDS_MAX], both[ROUNDS_MAX];
    unsigned rounds;
};
bool startup_measure(struct programme *programme, struct startup *startup);
void startup_times(struct programme *programme, struct rows *rows); /* measures, and adds rows */

/* What a channel of that capacity takes in memory, both sides and all of it used; bytes.  false: it did not work. */
struct startup_memory {
    double committed; /* of the section, as it says */
    double taken;     /* by the section and by both handles */
};
bool startup_takes(struct programme *programme, uint64_t capacity, struct startup_memory *memory);
void startup_memory(struct programme *programme, const struct options_numbers *capacities, struct rows *rows);

#endif
