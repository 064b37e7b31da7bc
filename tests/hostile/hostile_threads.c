/* The same enemy in a thread of its own, on the library as users compile it, without hooks: words change at any moment the
 * scheduler and the processor allow. */
#include "hostile.h"

#include "support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define FULL_MUTATIONS UINT64_C(5000000) /* all rings together; */
#define FULL_OPERATIONS UINT64_C(5000000) /* at least both */
#define CALLS 64u

static _Atomic uint64_t struck;
static _Atomic bool stop;

static void *enemy(void *arg)
{
    uint64_t random = *(uint64_t *)arg;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        uint64_t bits = hostile_random(&random) >> 8;
        /* Bursts, and stretches in which the others get somewhere: at once, or after up to some microseconds. */
        for (uint64_t pause = bits & 1 ? 0 : (bits >> 1 & 127); pause > 0; pause--)
            weir_pause();
        hostile_strike();
        atomic_store_explicit(&struck, hostile_mutated(), memory_order_relaxed);
    }
    return NULL;
}

static void one_life(hostile_ring *r, uint64_t *random)
{
    uint64_t bits = hostile_random(random) >> 8;
    hostile_state(r, (unsigned)(bits % HOSTILE_STATES));
    for (unsigned i = 0; i < CALLS; i++) {
        bits = hostile_random(random) >> 8;
        hostile_side side = (hostile_side)(bits & 3);
        if (side >= HOSTILE_ATTACHES_CONSUMER && (bits >> 2 & 3) != 0)
            side = (hostile_side)(bits >> 4 & 1);
        (void)hostile_run(r, hostile_pick(r, side, bits >> 8), hostile_random(random));
    }
}

int main(void)
{
    uint64_t seed = support_seed(), random = seed, enemys_random = seed ^ UINT64_C(0x9e3779b97f4a7c15);
    uint64_t mutations = support_count(FULL_MUTATIONS) / hostile_row_count + 1;
    uint64_t operations = support_count(FULL_OPERATIONS) / hostile_row_count + 1;
    hostile_begin("threads");
    hostile_where.seed = seed;
    for (unsigned row = 0; row < hostile_row_count; row++) {
        hostile_ring r;
        hostile_open(&r, hostile_rows[row]);
        hostile_target(5, seed);
        uint64_t until_mutations = hostile_mutated() + mutations, until_operations = hostile_operations + operations;
        pthread_t thread;
        atomic_store(&stop, false);
        CHECK(pthread_create(&thread, NULL, enemy, &enemys_random) == 0);
        while (hostile_operations < until_operations ||
               atomic_load_explicit(&struck, memory_order_relaxed) < until_mutations) {
            hostile_where.life++;
            one_life(&r, &random);
        }
        atomic_store(&stop, true);
        CHECK(pthread_join(thread, NULL) == 0);
        (void)printf("threads: %s\n", r.row->name);
        hostile_close(&r);
    }
    (void)printf("part threads: mutations=%llu operations=%llu executions=0\n", (unsigned long long)hostile_mutated(),
                 (unsigned long long)hostile_operations);
    return 0;
}
