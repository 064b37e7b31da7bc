/* hooks.  Every flip between check and use: each load of each operation gets, once, each of a set of values, and the word
 * is what it was again (or, the other way round, changes) before the next load.  No chance in it: an operation that looks
 * twice at a word and believes both looks is found. */
#include "hostile.h"

#include <stdio.h>

#ifdef WEIR_ATOMIC_BACKEND

#define ARGUMENTS 4u /* of each operation */

/* One operation whose load number `at` meets the value; false where it has no such load. */
static bool flip_at(hostile_ring *r, unsigned state, const hostile_op *op, uint64_t argument, uint64_t at, unsigned value)
{
    hostile_state(r, state);
    hostile_where.life = at * 1000 + value;
    hostile_flip_load(at, value % 2 != 0, value / 2, 0);
    (void)hostile_run(r, op, argument);
    bool struck = hostile_struck();
    hostile_arm(0);
    if (!struck)
        return false;
    /* What it made of it in private meets good bytes now, and a call of each side. */
    (void)hostile_run(r, hostile_pick(r, HOSTILE_CONSUMES, argument + at), argument << 3);
    (void)hostile_run(r, hostile_pick(r, HOSTILE_PRODUCES, argument + at), argument << 3);
    return true;
}

int main(void)
{
    hostile_begin("flips");
    for (unsigned row = 0; row < hostile_row_count; row++) {
        hostile_ring r;
        uint64_t loads = 0;
        hostile_open(&r, hostile_rows[row]);
        for (unsigned state = 0; state < HOSTILE_STATES; state++)
            for (unsigned i = 0; i < r.row->op_count; i++)
                for (uint64_t n = 0; n < ARGUMENTS; n++) {
                    uint64_t argument = n << 56 | (n * 61 + 9) << 8 | n; /* a lane, a length or size */
                    bool there = true;
                    hostile_target(state, 1);
                    for (uint64_t at = 0; there; at++, loads++)
                        for (unsigned value = 0; there && value < 2 * HOSTILE_FLIP_VALUES; value++)
                            there = flip_at(&r, state, &r.row->ops[i], argument, at, value);
                }
        (void)printf("flips: %-13s %llu loads\n", r.row->name, (unsigned long long)loads);
        hostile_close(&r);
    }
    (void)printf("part flips: mutations=%llu operations=%llu executions=0\n", (unsigned long long)hostile_mutated(),
                 (unsigned long long)hostile_operations);
    return 0;
}

#endif
