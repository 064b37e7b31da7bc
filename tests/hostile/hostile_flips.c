/* hooks.  Every flip between check and use: each load of each operation gets, once, each of a set of values, and the word
 * is what it was again (or, the other way round, changes) before the next load.  No chance in it: an operation that looks
 * twice at a word and believes both looks is found. */
#include "hostile.h"

#include <stdio.h>

#ifdef WEIR_ATOMIC_BACKEND

#define ARGUMENTS 4u /* of each operation */
#define VALUES 46u

static uint64_t nth_value(uint64_t old, unsigned n)
{
    static const uint64_t fixed[] = {
        0, 1, 7, 8, UINT64_C(1) << 31, UINT64_C(1) << 32, UINT64_C(1) << 46, UINT64_C(1) << 63, UINT64_MAX,
        UINT64_MAX - 7, WEIR_SPSC_DATA, WEIR_SPSC_DATA | 8, WEIR_SPSC_DATA | 64, WEIR_SPSC_DATA | 248,
        WEIR_SPSC_DATA | UINT32_MAX, WEIR_SPSC_PAD, WEIR_SPSC_PAD | 8, WEIR_SPSC_PAD | 120, WEIR_SPSC_PAD | 248,
        WEIR_SPSC_PAD | 504, 64, 128, 256, 512, 3, 4,
    };
    static const int16_t near[] = { 1, -1, 4, 8, -8, 16, -16, 64, -64, 128, -128, 256, -256, 512, -512, 1024, -1024,
                                    2048, -2048 };
    _Static_assert(HOSTILE_COUNT(fixed) + HOSTILE_COUNT(near) + 1 == VALUES, "each has its number");
    if (n < HOSTILE_COUNT(fixed))
        return fixed[n];
    n -= (unsigned)HOSTILE_COUNT(fixed);
    return n < HOSTILE_COUNT(near) ? old + (uint64_t)(int64_t)near[n] : ~old;
}

/* One operation whose load number `at` meets the value; false where it has no such load. */
static bool flip_at(hostile_ring *r, unsigned state, const hostile_op *op, uint64_t argument, uint64_t at, unsigned value)
{
    hostile_state(r, state);
    hostile_where.life = at * 1000 + value;
    hostile_flip_load(at, value % 2 != 0, nth_value, value / 2);
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
                        for (unsigned value = 0; there && value < 2 * VALUES; value++)
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
