/* bench/plots.c - scripts for gnuplot: log axes, and a name at the end of each line in place of a legend. */
#include "plots.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const our_colours[] = { "#c1121f", "#e76f51", "#9d0208", "#f4a261", "#6a040f", "#bc6c25", "#d90429", "#ff8fa3" };
static const char *const peer_colours[] = { "#1d4e89", "#2a9d8f", "#6a4c93", "#577590", "#3a7d44", "#118ab2", "#8d99ae",
                                            "#4d908e", "#7b6d8d", "#90be6d", "#073b4c", "#5e548e" };

struct plot_series *plot_series(struct plot *plot, const char *name, bool ours)
{
    for (unsigned i = 0; i < plot->count; i++)
        if (strcmp(plot->series[i].name, name) == 0)
            return &plot->series[i];
    if (plot->count == PLOT_SERIES)
        return NULL;
    struct plot_series *series = &plot->series[plot->count++];
    (void)snprintf(series->name, sizeof series->name, "%s", name);
    series->ours = ours;
    return series;
}

void plot_point(struct plot_series *series, double x, double y)
{
    if (series == NULL || series->count == PLOT_POINTS || y <= 0)
        return;
    series->x[series->count] = x;
    series->y[series->count++] = y;
}

static const char *colour_of(const struct plot *plot, unsigned index)
{
    unsigned before = 0;
    for (unsigned i = 0; i < index; i++)
        before += plot->series[i].ours == plot->series[index].ours;
    return plot->series[index].ours ? our_colours[before % (sizeof our_colours / sizeof our_colours[0])]
                                    : peer_colours[before % (sizeof peer_colours / sizeof peer_colours[0])];
}

struct frame {
    double x_low, x_high, y_low, y_high; /* decimal logarithms */
};

static struct frame frame_of(const struct plot *plot)
{
    struct frame frame = { 1e9, -1e9, 1e9, -1e9 };
    for (unsigned i = 0; i < plot->count; i++) {
        for (unsigned j = 0; j < plot->series[i].count; j++) {
            double x = log10(plot->series[i].x[j]), y = log10(plot->series[i].y[j] / plot->y_unit);
            frame.x_low = x < frame.x_low ? x : frame.x_low;
            frame.x_high = x > frame.x_high ? x : frame.x_high;
            frame.y_low = y < frame.y_low ? y : frame.y_low;
            frame.y_high = y > frame.y_high ? y : frame.y_high;
        }
    }
    double margin = (frame.y_high - frame.y_low) * 0.05 + 0.02;
    frame.y_low -= margin;
    frame.y_high += margin;
    return frame;
}

/* Where the names go: at the heights of the lines' ends, moved apart where they would lie over each other. */
static void place_names(const struct plot *plot, const struct frame *frame, double *height)
{
    unsigned order[PLOT_SERIES];
    double apart = (frame->y_high - frame->y_low) / 36;
    for (unsigned i = 0; i < plot->count; i++) {
        const struct plot_series *series = &plot->series[i];
        unsigned at = i;
        height[i] = log10(series->y[series->count - 1] / plot->y_unit);
        for (; at > 0 && height[order[at - 1]] > height[i]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    for (unsigned pass = 0; pass < 200; pass++) {
        for (unsigned i = 0; i + 1 < plot->count; i++) {
            double overlap = apart - (height[order[i + 1]] - height[order[i]]);
            if (overlap > 1e-9) {
                height[order[i]] -= overlap / 2;
                height[order[i + 1]] += overlap / 2;
            }
        }
    }
    for (unsigned i = 0; i < plot->count; i++) {
        double low = frame->y_low + apart / 2 + i * apart;
        if (height[order[i]] < low)
            height[order[i]] = low;
    }
}

static void write_frame(FILE *file, const struct plot *plot, const struct frame *frame)
{
    fprintf(file,
            "set terminal svg size 1100,680 dynamic font 'Helvetica,Arial,sans-serif,15' background rgb 'white'\n"
            "set output '%s.svg'\n"
            "set title \"{/:Bold=20 %s}\\n{/=13 %s}\" noenhanced offset 0,0.4\nset title enhanced\n"
            "unset key\nset border 3 lc rgb '#999999'\nset tics nomirror textcolor rgb '#444444'\n"
            "set grid xtics ytics lc rgb '#e5e5e5' lt 1 lw 1\nset rmargin 22\n"
            "set xlabel '%s' textcolor rgb '#444444'\nset ylabel '%s' textcolor rgb '#444444'\n"
            "set logscale xy\nset format y '%%.0s%%c'\nset xrange [%g:%g]\nset yrange [%g:%g]\nset xtics (%s)\n",
            plot->file, plot->title, plot->note, plot->x, plot->y, pow(10, frame->x_low), pow(10, frame->x_high),
            pow(10, frame->y_low), pow(10, frame->y_high), plot->x_ticks);
}

static void write_script(FILE *file, const struct plot *plot)
{
    double height[PLOT_SERIES];
    struct frame frame = frame_of(plot);
    place_names(plot, &frame, height);
    write_frame(file, plot, &frame);
    for (unsigned i = 0; i < plot->count; i++) {
        const struct plot_series *series = &plot->series[i];
        fprintf(file, "set label %u '%s' at graph 1.015, first %g left noenhanced textcolor rgb '%s' font ',%s'\n", i + 1,
                series->name, pow(10, height[i]), colour_of(plot, i), series->ours ? "14" : "13");
        fprintf(file, "$s%u << E\n", i);
        for (unsigned j = 0; j < series->count; j++)
            fprintf(file, "%g %g\n", series->x[j], series->y[j] / plot->y_unit);
        fprintf(file, "E\n");
    }
    fprintf(file, "plot ");
    for (unsigned i = 0; i < plot->count; i++) {
        const struct plot_series *series = &plot->series[i];
        fprintf(file, "%s$s%u with %s lc rgb '%s' lw %s dt %d", i == 0 ? "" : ", \\\n     ", i,
                series->count > 20 ? "lines" : "linespoints", colour_of(plot, i), series->ours ? "3" : "1.6",
                series->ours ? 1 : 2);
        if (series->count <= 20)
            fprintf(file, " pt %u ps 0.6", series->ours ? 7u : 6u);
    }
    fprintf(file, "\n");
}

static void drop_empty(struct plot *plot)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < plot->count; i++)
        if (plot->series[i].count != 0)
            plot->series[kept++] = plot->series[i];
    plot->count = kept;
}

bool plot_write(const struct plot *given, const char *folder)
{
    static struct plot plot;
    char path[512];
    plot = *given;
    drop_empty(&plot);
    if (plot.count == 0)
        return true;
    (void)snprintf(path, sizeof path, "%s/%s.gp", folder, plot.file);
    FILE *file = fopen(path, "w");
    if (file == NULL)
        return false;
    write_script(file, &plot);
    bool written = ferror(file) == 0;
    return fclose(file) == 0 && written;
}
