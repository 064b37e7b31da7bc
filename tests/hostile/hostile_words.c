/* hooks.  Every value of every 16-bit slice, and a boundary set, of every control word, through each attach and the
 * first operation behind it; and through the first operation of handles that were there before. */
#include "hostile.h"

#include "support.h"

#include <stdio.h>

static uint64_t mutations;
static const unsigned some_states[] = { 1, 5, 9 };

/* One value of one word: each attach, with a first operation of each side behind it.  which chooses the operations. */
static void try_value(hostile_ring *r, unsigned state, uint64_t off, uint64_t value, uint64_t which, bool with_living)
{
    uint64_t lane = (off ^ which) << 56, argument = (off + value * 31 + which * 7) << 8 & UINT64_C(0xffffffffff);
    for (unsigned living = 0; living < (with_living ? 2u : 1u); living++) {
        hostile_state(r, state);
        uint64_t old = weir_load_rlx(weir_word_at(r->mem, off));
        mutations += old != value;
        weir_store_rlx(weir_word_at(r->mem, off), value);
        if (living == 0) {
            (void)hostile_run(r, hostile_pick(r, HOSTILE_ATTACHES_CONSUMER, which), argument);
            (void)hostile_run(r, hostile_pick(r, HOSTILE_ATTACHES_PRODUCER, which), lane);
        }
        (void)hostile_run(r, hostile_pick(r, HOSTILE_CONSUMES, which), argument);
        (void)hostile_run(r, hostile_pick(r, HOSTILE_PRODUCES, which), lane | argument | which);
    }
}

static void slices(hostile_ring *r, unsigned state, uint64_t off, uint64_t step)
{
    hostile_state(r, state);
    uint64_t old = weir_load_rlx(weir_word_at(r->mem, off));
    for (unsigned slice = 0; slice < 4; slice++)
        for (uint64_t part = 0; part < 65536; part += step) {
            uint64_t value = (old & ~(UINT64_C(0xffff) << slice * 16)) | part << slice * 16;
            hostile_where.life = part;
            try_value(r, state, off, value, part + slice + part / 256, false);
        }
}

static void boundaries(hostile_ring *r, unsigned state, uint64_t off)
{
    hostile_state(r, state);
    uint64_t old = weir_load_rlx(weir_word_at(r->mem, off));
    for (unsigned n = 0; n < 64 * 8 + 24; n++) {
        static const int8_t near[24] = { 0, 1, -1, 2, 4, -4, 7, -7, 8, -8, 9, 15, 16, -16, 24, 32, -32, 64, -64, 100,
                                         120, 127, -127, -128 };
        uint64_t power = UINT64_C(1) << n / 8 % 64, value;
        switch (n < 512 ? n % 8 : 8) {
        case 0: value = power; break;
        case 1: value = power - 1; break;
        case 2: value = power + 1; break;
        case 3: value = old + power; break;
        case 4: value = old - power; break;
        case 5: value = old + power - 8; break;
        case 6: value = 0 - power; break;
        case 7: value = old ^ power; break;
        default: value = old + (uint64_t)(int64_t)near[n - 512]; break;
        }
        for (unsigned op = 0; op < r->row->op_count; op++) { /* each operation is the first one once */
            hostile_where.life = n;
            try_value(r, state, off, value, op, true);
        }
    }
}

int main(void)
{
    uint64_t step = support_count(100) >= 100 ? 1 : 13;
    hostile_begin("words");
    for (unsigned row = 0; row < hostile_row_count; row++) {
        hostile_ring r;
        uint64_t off, words = 0;
        hostile_open(&r, hostile_rows[row]);
        for (; hostile_control_word(r.row, words, &off); words++) {
            for (unsigned i = 0; i < HOSTILE_COUNT(some_states); i++)
                boundaries(&r, some_states[i], off);
            slices(&r, some_states[1], off, step);
        }
        (void)printf("words: %-13s %llu words\n", r.row->name, (unsigned long long)words);
        hostile_close(&r);
    }
    (void)printf("part words: mutations=%llu operations=%llu executions=0\n", (unsigned long long)mutations,
                 (unsigned long long)hostile_operations);
    return 0;
}
