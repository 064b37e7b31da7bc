/* bench/report.c - everything, and a report of it: tables by size, percentiles, scaling; scripts for the plots. */
#include "commands.h"
#include "peer.h"
#include "plots.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static bool is_ours(const struct row *row) { return strncmp(row->system, "weir", 4) == 0; }
static uint32_t sides_of(const struct row *row) { return row->producers > row->consumers ? row->producers : row->consumers; }

/* ---- tables with a column for each size ---- */

/* Which rows: of a command, what they are, and the work; 0 or NULL: any. */
struct choice {
    const char *command, *what, *wait, *group; /* group: how it begins */
    uint32_t batch, producers, consumers;
};

static bool chosen(const struct row *row, const struct choice *choice)
{
    return strcmp(row->command, choice->command) == 0 && (choice->what == NULL || strcmp(row->what, choice->what) == 0) &&
           (choice->wait == NULL || strcmp(row->wait, choice->wait) == 0) &&
           (choice->group == NULL || strncmp(row->group, choice->group, strlen(choice->group)) == 0) &&
           (choice->batch == 0 || row->batch == choice->batch) &&
           (choice->producers == 0 || row->producers == choice->producers) &&
           (choice->consumers == 0 || row->consumers == choice->consumers);
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t bytes_of(const struct row *row) { return row->bytes; }
static uint64_t sides_number(const struct row *row) { return sides_of(row); }

/* The columns' numbers, each once; how many. */
static unsigned columns_of(const struct rows *rows, const struct choice *choice, uint64_t (*column)(const struct row *),
                           uint64_t list[32])
{
    unsigned count = 0;
    for (size_t i = 0; i < rows->count; i++) {
        bool known = !chosen(&rows->of[i], choice);
        for (unsigned j = 0; j < count; j++)
            known |= list[j] == column(&rows->of[i]);
        if (!known && count < 32)
            list[count++] = column(&rows->of[i]);
    }
    qsort(list, count, sizeof *list, ascending);
    return count;
}

static const struct row *find(const struct rows *rows, const struct choice *choice, const char *system,
                              uint64_t (*column)(const struct row *), uint64_t number)
{
    for (size_t i = 0; i < rows->count; i++)
        if (chosen(&rows->of[i], choice) && strcmp(rows->of[i].system, system) == 0 && column(&rows->of[i]) == number)
            return &rows->of[i];
    return NULL;
}

static bool first_of_system(const struct rows *rows, const struct choice *choice, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (chosen(&rows->of[i], choice) && strcmp(rows->of[i].system, rows->of[index].system) == 0)
            return false;
    return chosen(&rows->of[index], choice);
}

static void heading(FILE *file, const uint64_t *list, unsigned count, bool sizes)
{
    char text[16];
    fprintf(file, "| |");
    for (unsigned i = 0; i < count; i++)
        fprintf(file, sizes ? " %s |" : " %s |", sizes ? rows_bytes(list[i], text) : rows_number((double)list[i], text));
    fprintf(file, "\n|---|");
    for (unsigned i = 0; i < count; i++)
        fprintf(file, "---:|");
    fprintf(file, "\n");
}

/* A line for each system, a column for each size or number of sides; the medians. */
static void table(FILE *file, const struct rows *rows, const char *title, const struct choice *choice, bool by_sides)
{
    uint64_t list[32], (*column)(const struct row *) = by_sides ? sides_number : bytes_of;
    unsigned count = columns_of(rows, choice, column, list);
    char text[16];
    if (count == 0)
        return;
    fprintf(file, "\n### %s\n\n", title);
    heading(file, list, count, !by_sides);
    for (size_t i = 0; i < rows->count; i++) {
        if (!first_of_system(rows, choice, i))
            continue;
        fprintf(file, is_ours(&rows->of[i]) ? "| **%s** |" : "| %s |", rows->of[i].system);
        for (unsigned j = 0; j < count; j++) {
            const struct row *row = find(rows, choice, rows->of[i].system, column, list[j]);
            fprintf(file, " %s |", row != NULL ? rows_number(row->median, text) : "");
        }
        fprintf(file, "\n");
    }
}

/* ---- tables as they were printed ---- */

static void plain_heading(FILE *file, const struct row *row)
{
    fprintf(file, "\n### %s\n\n| | median | min | max | |", row->group);
    for (unsigned i = 0; i < row->extras; i++)
        fprintf(file, " %s |", row->extra[i].name);
    fprintf(file, "\n|---|---:|---:|---:|---|");
    for (unsigned i = 0; i < row->extras; i++)
        fprintf(file, "---:|");
    fprintf(file, "\n");
}

static void plain(FILE *file, const struct rows *rows, const struct choice *choice)
{
    const char *group = "";
    char text[4][16];
    for (size_t i = 0; i < rows->count; i++) {
        const struct row *row = &rows->of[i];
        if (!chosen(row, choice))
            continue;
        if (strcmp(row->group, group) != 0)
            plain_heading(file, row);
        group = row->group;
        fprintf(file, "| %s | %s | %s | %s | %s |", row->system, rows_number(row->median, text[0]),
                rows_number(row->min, text[1]), rows_number(row->max, text[2]), row->unit);
        for (unsigned j = 0; j < row->extras; j++)
            fprintf(file, " %s |", rows_number(row->extra[j].value, text[3]));
        fprintf(file, "\n");
    }
}

static void picture(FILE *file, const char *name, const char *words)
{
    fprintf(file, "\n![%s](%s.svg)\n", words, name);
}

static void write_report(FILE *file, const struct rows *rows)
{
    static const struct { const char *title; struct choice choice; } peers[] = {
        { "One to one, each message visible at once, messages a second", { "peers", "throughput", "spin", NULL, 1, 1, 1 } },
        { "One to one, in batches of 32", { "peers", "throughput", "spin", NULL, 32, 1, 1 } },
        { "One to one, whoever waits sleeps", { "peers", "throughput", "sleep", NULL, 1, 1, 1 } },
        { "Two to one", { "peers", "throughput", "spin", NULL, 1, 2, 1 } },
        { "Eight to one", { "peers", "throughput", "spin", NULL, 1, 8, 1 } },
        { "Two to two", { "peers", "throughput", "spin", NULL, 1, 2, 2 } },
        { "Four to four", { "peers", "throughput", "spin", NULL, 1, 4, 4 } },
        { "Round trip, spinning, p50 in ns", { "peers", "latency", "spin", NULL, 1, 1, 1 } },
        { "Round trip, sleeping, p50 in ns", { "peers", "latency", "sleep", NULL, 1, 1, 1 } },
    };
    char date[32];
    time_t now = time(NULL);
    (void)strftime(date, sizeof date, "%Y-%m-%d", gmtime(&now));
    fprintf(file, "# weir-bench\n\nCommit %s, %s, %s, %s. Medians of rounds in which all systems took turns; bold is weir.\n"
            "How it was measured, and what it does not show: bench/README.md. All figures: results.json.\n",
            rows_commit(), rows_cpu(), rows_compiler(), date);
    fprintf(file, "\n## Targets\n");
    plain(file, rows, &(struct choice){ .command = "targets" });
    fprintf(file, "\n## The machine's limits\n");
    plain(file, rows, &(struct choice){ .command = "limits" });
    fprintf(file, "\n## weir and its peers\n");
    picture(file, "throughput", "messages a second by size");
    picture(file, "latency", "round trips by percentile");
    for (size_t i = 0; i < sizeof peers / sizeof peers[0]; i++)
        table(file, rows, peers[i].title, &peers[i].choice, false);
    fprintf(file, "\n## weir's kinds\n");
    table(file, rows, "One at a time, messages a second", &(struct choice){ .command = "throughput", .batch = 1 }, false);
    table(file, rows, "In batches of 32", &(struct choice){ .command = "throughput", .batch = 32 }, false);
    plain(file, rows, &(struct choice){ .command = "latency" });
    fprintf(file, "\n## Scaling\n");
    picture(file, "scaling", "messages a second by processes");
    table(file, rows, "More producers, messages a second", &(struct choice){ "scale", "scale", "spin", "scaling, mpsc", 0, 0, 1 },
          true);
    table(file, rows, "More of both", &(struct choice){ .command = "scale", .group = "scaling, mpmc" }, true);
    table(file, rows, "More consumers, gated", &(struct choice){ .command = "scale", .group = "scaling, gated" }, true);
    table(file, rows, "More consumers, not gated", &(struct choice){ .command = "scale", .group = "scaling, broadcast" }, true);
    plain(file, rows, &(struct choice){ .command = "scale", .group = "scaling, spsc" });
    for (unsigned channels = 1; channels <= 10000; channels *= 10) {
        char group[40];
        (void)snprintf(group, sizeof group, "scaling, %u channels", channels);
        plain(file, rows, &(struct choice){ .command = "scale", .group = group });
    }
    plain(file, rows, &(struct choice){ .command = "scale", .what = "memory" });
    plain(file, rows, &(struct choice){ .command = "scale", .what = "startup" });
}

/* ---- plots ---- */

static bool plot_throughput(const struct rows *rows, const char *folder)
{
    static struct plot plot = {
        .file = "throughput", .title = "One producer, one consumer", .x = "message", .y = "million messages a second",
        .note = "each message visible at once, written and read whole, checked; the better of two pacings",
        .x_ticks = "'8 B' 8, '64 B' 64, '256 B' 256, '1 KiB' 1024, '4 KiB' 4096, '64 KiB' 65536", .y_unit = 1e6,
    };
    const struct choice choice = { "peers", "throughput", "spin", NULL, 1, 1, 1 };
    plot.count = 0;
    uint64_t list[32];
    unsigned count = columns_of(rows, &choice, bytes_of, list);
    for (unsigned j = 0; j < count; j++)
        for (size_t i = 0; i < rows->count; i++)
            if (chosen(&rows->of[i], &choice) && rows->of[i].bytes == list[j] &&
                strcmp(rows->of[i].system, "weir-full-fences") != 0)
                plot_point(plot_series(&plot, rows->of[i].system, is_ours(&rows->of[i])), (double)list[j], rows->of[i].median);
    return plot_write(&plot, folder);
}

/* One in so many trips takes longer: 2 is the median. */
static void add_percentiles(struct plot_series *series, const struct row *row)
{
    uint64_t all = 0, seen = 0;
    double next = 1.3;
    for (unsigned i = 0; i < row->histogram_length; i++)
        all += row->histogram[i][1];
    for (unsigned i = 0; i < row->histogram_length && seen < all; i++) {
        seen += row->histogram[i][1];
        double rarity = seen < all ? (double)all / (double)(all - seen) : (double)all;
        if (rarity >= next && rarity <= 2e4) {
            plot_point(series, rarity, (double)row->histogram[i][0]);
            next = rarity * 1.2;
        }
    }
}

static bool plot_latency(const struct rows *rows, const char *folder)
{
    static struct plot plot = {
        .file = "latency", .title = "Round trip of 64 bytes", .x = "share of trips that took at most so long", .y = "ns",
        .note = "both sides spin; two processes on two processors",
        .x_ticks = "'50 %%' 2, '90 %%' 10, '99 %%' 100, '99.9 %%' 1000, '99.99 %%' 10000, '99.999 %%' 100000", .y_unit = 1,
    };
    const struct choice choice = { "peers", "latency", "spin", NULL, 1, 1, 1 };
    plot.count = 0;
    for (size_t i = 0; i < rows->count; i++)
        if (chosen(&rows->of[i], &choice) && rows->of[i].bytes == 64 && rows->of[i].histogram != NULL &&
            strcmp(rows->of[i].system, "weir-full-fences") != 0)
            add_percentiles(plot_series(&plot, rows->of[i].system, is_ours(&rows->of[i])), &rows->of[i]);
    return plot_write(&plot, folder);
}

static bool plot_scaling(const struct rows *rows, const char *folder)
{
    static struct plot plot = {
        .file = "scaling", .title = "More processes", .x = "producers, consumers, or each of both",
        .y = "million messages a second", .note = "64 bytes; dashed: peers, producers alone",
        .x_ticks = "1, 2, 4, 8, 16, 32", .y_unit = 1e6,
    };
    static const char *const groups[] = { "scaling, mpsc", "scaling, mpmc", "scaling, gated", "scaling, broadcast" };
    plot.count = 0;
    for (size_t i = 0; i < rows->count; i++) {
        const struct row *row = &rows->of[i];
        bool wanted = false;
        for (unsigned j = 0; j < 4; j++)
            wanted |= chosen(row, &(struct choice){ .command = "scale", .group = groups[j] });
        bool peer = !is_ours(row) && row->bytes == 64 && row->producers > 1 &&
                    chosen(row, &(struct choice){ "peers", "throughput", "spin", NULL, 1, 0, 1 });
        if (wanted || peer)
            plot_point(plot_series(&plot, row->system, is_ours(row)), sides_of(row), row->median);
    }
    return plot_write(&plot, folder);
}

/* ---- all ---- */

static bool write_all(const struct rows *rows, const char *folder)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/results.json", folder);
    if (!rows_write(rows, path))
        return false;
    (void)snprintf(path, sizeof path, "%s/report.md", folder);
    FILE *file = fopen(path, "w");
    bool written = file != NULL;
    if (written) {
        write_report(file, rows);
        written = ferror(file) == 0;
        written = fclose(file) == 0 && written;
    }
    written = written && plot_throughput(rows, folder) && plot_latency(rows, folder) && plot_scaling(rows, folder);
    if (!written)
        fprintf(stderr, "weir-bench: %s: %s\n", path, strerror(errno));
    return written;
}

void command_all(const struct options *options, struct rows *rows)
{
    static const struct {
        const char *name;
        void (*run)(const struct options *options, struct rows *rows);
    } all[] = { { "limits", command_limits }, { "throughput", command_throughput }, { "latency", command_latency },
                { "scale", command_scale }, { "peers", command_peers }, { "targets", command_targets } };
    const char *folder = options->out != NULL ? options->out : ".";
    if (!write_all(rows, folder)) { /* better now than in half an hour */
        rows->failed = true;
        return;
    }
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        rows->command = all[i].name;
        all[i].run(options, rows);
        rows->failed |= !write_all(rows, folder); /* what there is so far: a long run may be ended */
    }
}
