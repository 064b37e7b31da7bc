/* bench/peers/futex.c - the kernel's own: from a futex wake to the woken side's running. */
#include "../loops.h"
#include "../systems.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ASLEEP_NS 20000 /* by then the other side sleeps again */

struct shared {
    uint32_t turn;         /* 2 * trip + 1: wake; 2 * trip + 2: it is awake */
    weir_atomic_u64 woken; /* when it was, in ticks */
};

static uint64_t memory(const struct bench_work *work)
{
    (void)work;
    return 4096;
}

static struct shared *shared_of(const struct bench_end *end) { return end->link->memory; }

/* Both sides use the first link's memory: the pinger's is `out`, the ponger's is `back`. */
static void ping(struct bench_end *out, struct bench_end *back)
{
    struct shared *shared = shared_of(out);
    for (uint32_t trip = 0; trip < out->work->messages; trip++) {
        int64_t until = bench_now_ns() + ASLEEP_NS;
        while (bench_now_ns() < until)
            weir_pause();
        __atomic_store_n(&shared->turn, 2 * trip + 1, __ATOMIC_SEQ_CST);
        uint64_t began = bench_ticks();
        (void)syscall(SYS_futex, &shared->turn, FUTEX_WAKE, 1, NULL, NULL, 0);
        for (uint32_t turn = 0; __atomic_load_n(&shared->turn, __ATOMIC_ACQUIRE) != 2 * trip + 2;)
            if (!bench_wait(out, &turn))
                return;
        if (trip >= out->work->warm_up)
            bench_trip(out, weir_load_rlx(&shared->woken) - began);
        back->received++;
    }
}

static void pong(struct bench_end *back, struct bench_end *out)
{
    struct shared *shared = shared_of(back);
    (void)out;
    for (uint32_t trip = 0; trip < back->work->messages; trip++) {
        while (__atomic_load_n(&shared->turn, __ATOMIC_ACQUIRE) != 2 * trip + 1) {
            if (!bench_waited(back))
                return;
            (void)syscall(SYS_futex, &shared->turn, FUTEX_WAIT, 2 * trip, NULL,
                          NULL, 0);
        }
        weir_store_rlx(&shared->woken, bench_ticks()); /* relaxed: the turn's store is behind it */
        __atomic_store_n(&shared->turn, 2 * trip + 2, __ATOMIC_RELEASE);
        back->received++;
    }
}

const struct bench_peer bench_futex = {
    .name = "futex", .what = "futex wake to the woken side's running", .can = BENCH_SPSC | BENCH_SLEEP | BENCH_LATENCY,
    .memory = memory, .ping = ping, .pong = pong,
};
