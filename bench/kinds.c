/* bench/kinds.c - weir's kinds as the command line names them. */
#include "kinds.h"

#include "systems.h"

#include <stddef.h>
#include <string.h>

const struct kind kinds[] = {
    { "spsc", { "weir-ring", "weir-ring-in-place", "weir", "weir-in-place", "weir-full-fences" }, BENCH_SPSC, false, false },
    { "mpsc", { "weir-mpsc" }, BENCH_MPSC, true, false },
    { "mpsc-ordered", { "weir-mpsc-ordered" }, BENCH_MPSC, true, false },
    { "mpmc", { "weir-mpmc", "weir-mpmc-in-place" }, BENCH_MPMC, true, true },
    { "gated", { "weir-gated", "weir-gated-in-place" }, BENCH_BROADCAST, false, true },
    { "broadcast", { "weir-broadcast" }, BENCH_BROADCAST, false, true },
    { "latest", { "weir-latest" }, BENCH_BROADCAST, false, true },
    { "mailbox", { "weir-mailbox" }, BENCH_MPSC, true, false },
    { NULL, { NULL }, 0, false, false },
};

struct bench_work kinds_work(uint32_t shape, uint32_t wait, uint64_t bytes, uint64_t batch, uint64_t producers,
                             uint64_t consumers, uint64_t capacity)
{
    if (capacity == 0)
        capacity = 8 * bytes > KINDS_CAPACITY ? 8 * bytes : KINDS_CAPACITY;
    return (struct bench_work){
        .shape = shape, .wait = wait, .bytes = (uint32_t)bytes, .batch = (uint32_t)batch,
        .producers = (uint32_t)producers, .consumers = (uint32_t)consumers, .capacity = capacity,
    };
}

uint32_t kinds_wait(const char *word) { return strcmp(word, "sleep") == 0 ? BENCH_SLEEP : BENCH_SPIN; }

void kinds_add(const struct programme *programme, struct contest *contest, const struct kind *kind,
               const struct bench_work *work, bool latency)
{
    for (unsigned i = 0; kind->systems[i] != NULL; i++)
        contest_add(programme, contest, systems_find(kind->systems[i]), work, latency);
}
