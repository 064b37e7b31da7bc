/* bench/histogram.c - quantiles, found within the steps of a clock that moves in steps. */
#include "histogram.h"

#include "peer.h"

#define LOOKS 4096u

/* The share of these differences that are a number of steps, give or take one tick. */
static double fits(const uint64_t *apart, double step)
{
    uint32_t good = 0;
    for (uint32_t i = 0; i < LOOKS; i++) {
        double steps = (double)(uint64_t)((double)apart[i] / step + 0.5), off = (double)apart[i] - steps * step;
        good += off >= -1.5 && off <= 1.5;
    }
    return (double)good / LOOKS;
}

static double most_frequent(const uint64_t *apart)
{
    uint32_t of[1024] = { 0 }, best = 0;
    for (uint32_t i = 0; i < LOOKS; i++)
        if (apart[i] < 1024)
            of[apart[i]]++;
    for (uint32_t i = 2; i < 1024; i++)
        best = of[i] > of[best] ? i : best;
    return best;
}

/* Reads the clock at short, changing distances.  Virtual machines were seen where it moves by 10 ns at a time. */
static double find_step(void)
{
    uint64_t apart[LOOKS];
    for (uint32_t i = 0; i < LOOKS;) {
        uint64_t began = bench_ticks();
        for (uint32_t j = 0; j < i % 16; j++)
            weir_fence_compiler();
        apart[i] = bench_ticks() - began;
        i += apart[i] != 0 && apart[i] < 300;
    }
    double usual = most_frequent(apart);
    for (uint32_t part = 1; usual / part >= 5; part++) {
        double step = usual / part, sum = 0, steps = 0;
        if (fits(apart, step) < 0.9)
            continue;
        for (uint32_t i = 0; i < LOOKS; i++) {
            sum += (double)apart[i];
            steps += (double)(uint64_t)((double)apart[i] / step + 0.5);
        }
        return sum / steps;
    }
    return 1;
}

double bench_tick_step(void)
{
    static double known;
    if (known == 0)
        known = find_step();
    return known;
}

double histogram_quantile(const struct bench_histogram *h, double share)
{
    double step = bench_tick_step(), want = share * (double)h->count, seen = 0;
    for (uint32_t i = 0; i < HISTOGRAM_CLASSES; i++) {
        double middle = histogram_value(i), width = (double)histogram_width(i), count = (double)h->of[i];
        if (width < step) { /* all classes of one step together */
            uint64_t steps = (uint64_t)(middle / step + 0.5);
            while (i + 1 < HISTOGRAM_CLASSES && (uint64_t)(histogram_value(i + 1) / step + 0.5) == steps)
                count += (double)h->of[++i];
            middle = (double)steps * step;
            width = step;
        }
        if (count != 0 && seen + count >= want) {
            double value = middle + ((want - seen) / count - 0.5) * width;
            return value < (double)h->max ? value : (double)h->max;
        }
        seen += count;
    }
    return 0;
}
