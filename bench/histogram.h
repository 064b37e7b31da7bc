/* bench/histogram.h - how often each duration came: 128 classes an octave, so a class is at most 0.8 % wide. */
#ifndef WEIR_BENCH_HISTOGRAM_H
#define WEIR_BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BITS 7
#define HISTOGRAM_CLASSES ((64 - HISTOGRAM_BITS + 1) << HISTOGRAM_BITS)

struct bench_histogram {
    uint64_t count, max;
    uint64_t of[HISTOGRAM_CLASSES];
};

static inline void histogram_add(struct bench_histogram *h, uint64_t value)
{
    unsigned octave = 63u - (unsigned)__builtin_clzll(value | (1u << HISTOGRAM_BITS));
    unsigned shift = octave - HISTOGRAM_BITS;
    h->of[((uint64_t)shift << HISTOGRAM_BITS) + (value >> shift)]++;
    h->count++;
    if (value > h->max)
        h->max = value;
}

/* The lowest value of a class, and how many values it has. */
static inline uint64_t histogram_low(uint32_t class)
{
    uint32_t shift = class >> HISTOGRAM_BITS; /* values below 256 have classes of their own */
    return shift <= 1 ? class : ((uint64_t)(class & ((1u << HISTOGRAM_BITS) - 1)) | (1u << HISTOGRAM_BITS)) << (shift - 1);
}

static inline uint64_t histogram_width(uint32_t class)
{
    uint32_t shift = class >> HISTOGRAM_BITS;
    return shift <= 1 ? 1 : UINT64_C(1) << (shift - 1);
}

static inline double histogram_value(uint32_t class) /* its middle */
{
    return (double)histogram_low(class) + (double)(histogram_width(class) - 1) / 2;
}

/* The value that a share of all (0 to 1) does not exceed; 0 where there are none.  A clock that moves in steps of more
 * than one gives few values, so it is found within its step: as if those that took k steps were spread evenly from
 * k - 1/2 to k + 1/2. */
double histogram_quantile(const struct bench_histogram *h, double share);

/* How many ticks bench_ticks moves at once, 1 where it is not seen to move in steps. */
double bench_tick_step(void);

#endif
