#include "wide.h"

#define LINE 64
#define LINES 4 /* read together */

typedef uint64_t vector __attribute__((vector_size(LINE), may_alias)); /* a line; the compiler makes what there is of it */

#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__clang__)
#define WIDEST __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDEST
#endif

WIDEST void bench_fill_wide(void *at, uint64_t bytes, uint64_t number)
{
    uint64_t *word = at, *end = word + bytes / 8;
    vector value = { number, number, number, number, number, number, number, number };
    for (; word < end && (uintptr_t)word % LINE != 0; word++)
        *word = number;
    for (; end - word >= LINES * LINE / 8; word += LINES * LINE / 8)
        for (int i = 0; i < LINES; i++)
            ((vector *)(void *)word)[i] = value;
    for (; word < end; word++)
        *word = number;
}

WIDEST uint64_t bench_differ_wide(const void *at, uint64_t bytes, uint64_t number)
{
    const uint64_t *word = at, *end = word + bytes / 8;
    vector value = { number, number, number, number, number, number, number, number };
    vector differ[LINES] = { { 0 } };
    uint64_t bits = 0;
    for (; word < end && (uintptr_t)word % LINE != 0; word++)
        bits |= *word ^ number;
    for (; end - word >= LINES * LINE / 8; word += LINES * LINE / 8)
        for (int i = 0; i < LINES; i++)
            differ[i] |= ((const vector *)(const void *)word)[i] ^ value;
    for (; word < end; word++)
        bits |= *word ^ number;
    vector all = differ[0] | differ[1] | differ[2] | differ[3];
    return bits | all[0] | all[1] | all[2] | all[3] | all[4] | all[5] | all[6] | all[7];
}
