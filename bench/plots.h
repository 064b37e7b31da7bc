/* bench/plots.h - scripts for gnuplot, each of which makes one SVG. */
#ifndef WEIR_BENCH_PLOTS_H
#define WEIR_BENCH_PLOTS_H

#include <stdbool.h>

#define PLOT_POINTS 64u
#define PLOT_SERIES 32u

struct plot_series {
    char name[64];
    bool ours;
    unsigned count;
    double x[PLOT_POINTS], y[PLOT_POINTS];
};

struct plot {
    const char *file;      /* "throughput": throughput.gp makes throughput.svg */
    const char *title, *x, *y;
    const char *x_ticks;   /* gnuplot's: "\"64 B\" 64, ..." */
    const char *note;      /* under the title */
    double y_unit;         /* y's are divided by it */
    struct plot_series series[PLOT_SERIES];
    unsigned count;
};

/* The series of that name, new if there is none; NULL: there is room for no more. */
struct plot_series *plot_series(struct plot *plot, const char *name, bool ours);
void plot_point(struct plot_series *series, double x, double y);
/* Without series it writes none, which is well.  false: it could not be written. */
bool plot_write(const struct plot *plot, const char *folder);

#endif
