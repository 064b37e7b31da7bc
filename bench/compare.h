/* bench/compare.h - all systems that can do a work, in one contest. */
#ifndef WEIR_BENCH_COMPARE_H
#define WEIR_BENCH_COMPARE_H

#include "kinds.h"

/* words: what the work is, for the title. */
struct contest *compare_all(struct programme *programme, const char *words, const struct bench_work *work, bool latency);

#endif
