/* hooks.  A live mutator under every operation of every ring: bytes change between two accesses of one call, at exactly
 * the places where it looks, and between calls. */
#include "hostile.h"

#include "support.h"

#include <stdio.h>
#include <stdlib.h>

#define FULL UINT64_C(50000000) /* words changed, all rings together; the other parts change some more */
#define CALLS 16u

static void attach_some(hostile_ring *r, uint64_t bits)
{
    for (unsigned lane = 0; lane < r->row->producers; lane++)
        if ((bits >> lane & 1) != 0)
            (void)hostile_run(r, hostile_pick(r, HOSTILE_ATTACHES_PRODUCER, bits >> 8), (uint64_t)lane << 56);
    (void)hostile_run(r, hostile_pick(r, HOSTILE_ATTACHES_CONSUMER, bits >> 16), bits);
}

static void life(hostile_ring *r, uint64_t seed)
{
    static const uint8_t means[] = { 1, 1, 1, 2, 2, 4, 8, 32 };
    uint64_t random = seed | 1, bits = hostile_random(&random) >> 8;
    hostile_state(r, (unsigned)(bits % HOSTILE_STATES));
    hostile_target(hostile_where.state, hostile_random(&random));
    hostile_arm(means[bits >> 8 & 7]);
    for (unsigned i = bits >> 16 & 3; i > 0; i--)
        hostile_strike();
    if ((bits >> 20 & 1) != 0) /* else the handles that were there go on */
        attach_some(r, bits >> 21);
    for (unsigned i = 0; i < CALLS; i++) {
        static const hostile_side sides[16] = {
            HOSTILE_CONSUMES, HOSTILE_CONSUMES, HOSTILE_CONSUMES, HOSTILE_CONSUMES, HOSTILE_CONSUMES, HOSTILE_CONSUMES,
            HOSTILE_CONSUMES, HOSTILE_PRODUCES, HOSTILE_PRODUCES, HOSTILE_PRODUCES, HOSTILE_PRODUCES, HOSTILE_PRODUCES,
            HOSTILE_PRODUCES, HOSTILE_ATTACHES_CONSUMER, HOSTILE_ATTACHES_CONSUMER, HOSTILE_ATTACHES_PRODUCER,
        };
        bits = hostile_random(&random) >> 8;
        if ((bits & 7) == 0)
            hostile_strike();
        hostile_side side = sides[bits >> 4 & 15];
        if (side == HOSTILE_CONSUMES && r->corrupt[0]) /* it would only say so again: mostly another comes */
            side = bits >> 3 & 1 ? HOSTILE_ATTACHES_CONSUMER : side;
        (void)hostile_run(r, hostile_pick(r, side, bits >> 8), hostile_random(&random));
    }
    hostile_arm(0);
}

static uint64_t life_seed(uint64_t seed, unsigned row, uint64_t number)
{
    uint64_t mixed = seed ^ (number * 64 + row + 1) * UINT64_C(0x9e3779b97f4a7c15);
    (void)hostile_random(&mixed);
    return mixed;
}

int main(void)
{
    const char *only = getenv("WEIR_HOSTILE_RING"), *only_life = getenv("WEIR_HOSTILE_LIFE");
    uint64_t full = support_count(FULL), seed = support_seed();
    hostile_begin("live");
    hostile_where.seed = seed;
    for (unsigned row = 0; row < hostile_row_count; row++) {
        hostile_ring r;
        if (only != NULL && strcmp(only, hostile_rows[row]->name) != 0)
            continue;
        uint64_t until = hostile_mutated() + full / hostile_row_count + 1, number = 0;
        hostile_open(&r, hostile_rows[row]);
        uint64_t before = hostile_operations;
        for (; hostile_mutated() < until; number++) {
            if (only_life != NULL)
                number = strtoull(only_life, NULL, 10);
            hostile_where.life = number;
            life(&r, life_seed(seed, row, number));
            if (only_life != NULL)
                break;
        }
        (void)printf("live: %-13s lives=%llu operations=%llu\n", r.row->name, (unsigned long long)number,
                     (unsigned long long)(hostile_operations - before));
        hostile_close(&r);
    }
    (void)printf("live: random=%llu near-valid=%llu replayed=%llu flips=%llu\n",
                 (unsigned long long)hostile_mutations[HOSTILE_RANDOM],
                 (unsigned long long)hostile_mutations[HOSTILE_NEAR],
                 (unsigned long long)hostile_mutations[HOSTILE_REPLAY],
                 (unsigned long long)hostile_mutations[HOSTILE_FLIP]);
    (void)printf("part live: mutations=%llu operations=%llu executions=0\n", (unsigned long long)hostile_mutated(),
                 (unsigned long long)hostile_operations);
    return 0;
}
