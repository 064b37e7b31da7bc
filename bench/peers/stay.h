/* bench/peers/stay.h - for systems that drop what is under way when its sender leaves: producers stay until the consumers
 * have all. */
#ifndef WEIR_BENCH_PEERS_STAY_H
#define WEIR_BENCH_PEERS_STAY_H

#include "../peer.h"

#include <time.h>

/* A link's memory is consumers that have all. */
static inline uint64_t stay_memory(const struct bench_work *work)
{
    (void)work;
    return sizeof(weir_atomic_u64);
}

static inline void stay(struct bench_end *end)
{
    weir_atomic_u64 *done = (weir_atomic_u64 *)end->link->memory;
    if (!end->produces)
        (void)weir_fetch_add_rlx(done, 1); /* relaxed: the messages were the system's to order */
    while (end->produces && weir_load_rlx(done) < end->work->consumers && bench_waited(end))
        (void)nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
}

#endif
