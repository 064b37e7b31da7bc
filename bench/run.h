/* bench/run.h - one run: its processes, and what they found. */
#ifndef WEIR_BENCH_RUN_H
#define WEIR_BENCH_RUN_H

#include "histogram.h"
#include "peer.h"

struct bench_result {
    char error[200];        /* "" where it went well */
    double per_second;      /* messages; of a broadcast, those that the slowest consumer got */
    double seconds;         /* that all of it took, warm-up and all */
    double done;            /* share of the messages that were received: less than 1 where it took too long */
    double worst_side;      /* of several producers or consumers: the least share of an equal share, 1 is fair */
    uint64_t lost;
    double p50, p90, p99, p999, max; /* ns, of a latency run */
};

/* bench_run does the work once.  histogram: what a latency run's trips took, in ticks, is added to it; NULL: not a latency
 * run.  A run that takes longer than limit_ms milliseconds is ended.  Its rate is that of what had come by then, if its
 * consumers could be asked to leave; else, and of a latency run, its result is an error. */
void bench_run(const struct bench_peer *peer, const struct bench_work *work, struct bench_histogram *histogram,
               unsigned limit_ms, struct bench_result *result);

unsigned bench_processors(void); /* that this process may use */
void bench_pin(unsigned index);  /* to the index-th of them, counted round */

#endif
