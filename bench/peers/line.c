/* bench/peers/line.c - the machine's own round trip: one word in one cache line, which each side changes in turn. */
#include "../loops.h"

static uint64_t memory(const struct bench_work *work)
{
    (void)work;
    return 4096;
}

static weir_atomic_u64 *flag(struct bench_end *end) { return end->link->memory; }

/* Both sides use the first link's word: the pinger's is `out`, the ponger's is `back`. */
static bool await(struct bench_end *end, uint64_t value)
{
    uint32_t turn = 0;
    while (weir_load_acq(flag(end)) != value) {
        weir_pause();
        if (++turn % 1024 == 0 && !bench_waited(end))
            return false;
    }
    return true;
}

static void ping(struct bench_end *out, struct bench_end *back)
{
    uint64_t now = bench_ticks();
    for (uint64_t trip = 0; trip < out->work->messages; trip++) {
        uint64_t began = now;
        weir_store_rel(flag(out), 2 * trip + 1);
        if (!await(out, 2 * trip + 2))
            return;
        now = bench_ticks();
        if (trip >= out->work->warm_up)
            bench_trip(out, now - began);
        back->received++;
    }
}

static void pong(struct bench_end *back, struct bench_end *out)
{
    (void)out;
    for (uint64_t trip = 0; trip < back->work->messages; trip++) {
        if (!await(back, 2 * trip + 1))
            return;
        weir_store_rel(flag(back), 2 * trip + 2);
        back->received++;
    }
}

const struct bench_peer bench_line = {
    .name = "line", .what = "one cache line, changed in turn", .can = BENCH_SPSC | BENCH_SPIN | BENCH_LATENCY,
    .memory = memory, .ping = ping, .pong = pong,
};
