/* bench/kinds.h - weir's kinds as the command line names them: their systems, and the work they are for. */
#ifndef WEIR_BENCH_KINDS_H
#define WEIR_BENCH_KINDS_H

#include "rounds.h"

#define KINDS_CAPACITY (UINT64_C(256) << 10) /* weir's default */

struct kind {
    const char *word;
    const char *systems[6]; /* NULL behind the last */
    uint32_t shape;
    bool producers, consumers; /* may be several */
};

extern const struct kind kinds[];   /* .word is NULL behind the last */

/* capacity 0: the default, and room for 8 messages. */
struct bench_work kinds_work(uint32_t shape, uint32_t wait, uint64_t bytes, uint64_t batch, uint64_t producers,
                             uint64_t consumers, uint64_t capacity);
uint32_t kinds_wait(const char *word); /* "spin" or "sleep" */
/* Adds the kind's systems that can do the work. */
void kinds_add(const struct programme *programme, struct contest *contest, const struct kind *kind,
               const struct bench_work *work, bool latency);

#endif
