/* bench/rows.c - what was measured: rows in memory, as a table on stdout, and as JSON. */
#include "rows.h"

#include "bench_commit.h"
#include "peer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- where ---- */

const char *rows_commit(void) { return BENCH_COMMIT; }

const char *rows_compiler(void)
{
#if defined(__clang__)
    return __VERSION__;
#else
    return "gcc " __VERSION__;
#endif
}

const char *rows_cpu(void)
{
    static char name[128];
    if (name[0] != 0)
        return name;
    FILE *file = fopen("/proc/cpuinfo", "r");
    char line[256];
    strcpy(name, "unknown");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && colon != NULL) {
            (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
            break;
        }
    }
    if (file != NULL)
        (void)fclose(file);
    return name;
}

/* ---- numbers ---- */

const char *rows_bytes(uint64_t bytes, char text[16])
{
    const char *unit = " B";
    if (bytes != 0 && bytes % (1 << 20) == 0) {
        bytes >>= 20;
        unit = " MiB";
    } else if (bytes != 0 && bytes % 1024 == 0) {
        bytes >>= 10;
        unit = " KiB";
    }
    (void)snprintf(text, 16, "%llu%s", (unsigned long long)bytes % 100000000, unit);
    return text;
}

const char *rows_number(double value, char text[16])
{
    static const char *const prefix[] = { "", " k", " M", " G", " T" };
    unsigned i = 0;
    while (value >= 9999.5 && i < 4) {
        value /= 1000;
        i++;
    }
    (void)snprintf(text, 16, "%.*f%s", value == (double)(uint64_t)value ? 0 : value < 10 ? 3 : value < 100 ? 2 : value < 1000 ? 1 : 0, value, prefix[i]);
    return text;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void rows_sum_up(struct row *row, const double *values, unsigned count)
{
    double sorted[64];
    count = count < 64 ? count : 64;
    row->rounds = count;
    if (count == 0)
        return;
    memcpy(sorted, values, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, ascending);
    row->min = sorted[0];
    row->max = sorted[count - 1];
    row->median = (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
}

double rows_median(const double *values, unsigned count)
{
    struct row row = { 0 };
    rows_sum_up(&row, values, count);
    return row.median;
}

/* ---- a row ---- */

void row_extra(struct row *row, const char *name, double value)
{
    if (row->extras < ROWS_EXTRAS) {
        row->extra[row->extras].name = name;
        row->extra[row->extras++].value = value;
    }
}

double row_get(const struct row *row, const char *name)
{
    for (unsigned i = 0; i < row->extras; i++)
        if (strcmp(row->extra[i].name, name) == 0)
            return row->extra[i].value;
    return 0;
}

void row_histogram(struct row *row, const struct bench_histogram *ticks)
{
    unsigned used = 0;
    for (uint32_t i = 0; i < HISTOGRAM_CLASSES; i++)
        used += ticks->of[i] != 0;
    row->histogram = malloc((used + 1) * sizeof *row->histogram);
    for (uint32_t i = 0; row->histogram != NULL && i < HISTOGRAM_CLASSES; i++) {
        if (ticks->of[i] != 0) {
            uint64_t *entry = row->histogram[row->histogram_length++];
            entry[0] = (uint64_t)(histogram_value(i) * bench_ns_per_tick() + 0.5);
            entry[1] = ticks->of[i];
        }
    }
}

static void print(const struct row *row, bool heading)
{
    char text[16];
    if (heading) {
        printf("\n%s\n  %-44s %10s %10s %10s  %-5s", row->group, "", "median", "min", "max", "");
        for (unsigned i = 0; i < row->extras; i++)
            if (strcmp(row->extra[i].name, ROW_CUT_SHORT) != 0)
                printf(" %10s", row->extra[i].name);
        printf("\n");
    }
    printf("  %-44s %10s", row->system, rows_number(row->median, text));
    printf(" %10s", rows_number(row->min, text));
    printf(" %10s  %-5s", rows_number(row->max, text), row->unit);
    for (unsigned i = 0; i < row->extras; i++) {
        bool note = strcmp(row->extra[i].name, ROW_CUT_SHORT) == 0;
        printf(note ? "  %s of its rounds cut short" : " %10s", rows_number(row->extra[i].value, text));
    }
    printf("\n");
    (void)fflush(stdout);
}

void rows_add(struct rows *rows, const struct row *row)
{
    if (rows->count == rows->room) {
        size_t room = rows->room != 0 ? 2 * rows->room : 64;
        struct row *more = realloc(rows->of, room * sizeof *more);
        if (more == NULL) {
            fprintf(stderr, "weir-bench: no memory for the results\n");
            rows->failed = true;
            free(row->histogram);
            return;
        }
        rows->of = more;
        rows->room = room;
    }
    rows->of[rows->count] = *row;
    rows->of[rows->count++].command = rows->command;
    print(row, rows->count == 1 || strcmp(rows->of[rows->count - 2].group, row->group) != 0);
}

void rows_free(struct rows *rows)
{
    for (size_t i = 0; i < rows->count; i++)
        free(rows->of[i].histogram);
    free(rows->of);
    *rows = (struct rows){ 0 };
}

/* ---- JSON ---- */

static void write_text(FILE *file, const char *name, const char *text)
{
    fprintf(file, "\"%s\": \"", name);
    for (; *text != 0; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', file);
        fputc((unsigned char)*text < 32 ? ' ' : *text, file);
    }
    fputs("\", ", file);
}

static void write_row(FILE *file, const struct row *row)
{
    fputs("{", file);
    write_text(file, "what", row->what);
    write_text(file, "system", row->system);
    fprintf(file, "\"bytes\": %llu, \"producers\": %u, \"consumers\": %u, ", (unsigned long long)row->bytes, row->producers,
            row->consumers);
    write_text(file, "wait", row->wait);
    fprintf(file, "\"batch\": %u, ", row->batch);
    write_text(file, "unit", row->unit);
    fprintf(file, "\"median\": %.6g, \"min\": %.6g, \"max\": %.6g, \"rounds\": %u, ", row->median, row->min, row->max,
            row->rounds);
    for (unsigned i = 0; i < row->extras; i++)
        fprintf(file, "\"%s\": %.6g, ", row->extra[i].name, row->extra[i].value);
    if (row->histogram != NULL) {
        fputs("\"histogram\": [", file);
        for (unsigned i = 0; i < row->histogram_length; i++)
            fprintf(file, "%s[%llu, %llu]", i == 0 ? "" : ", ", (unsigned long long)row->histogram[i][0],
                    (unsigned long long)row->histogram[i][1]);
        fputs("], ", file);
    }
    write_text(file, "group", row->group);
    write_text(file, "commit", rows_commit());
    write_text(file, "cpu", rows_cpu());
    fprintf(file, "\"compiler\": \"%s\"}", rows_compiler());
}

bool rows_write(const struct rows *rows, const char *path)
{
    FILE *file = fopen(path, "w");
    bool written = file != NULL;
    if (written) {
        for (size_t i = 0; i < rows->count; i++) {
            fputs(i == 0 ? "[\n" : ",\n", file);
            write_row(file, &rows->of[i]);
        }
        fputs(rows->count == 0 ? "[]\n" : "\n]\n", file);
        written = ferror(file) == 0;
        written = fclose(file) == 0 && written;
    }
    if (!written)
        fprintf(stderr, "weir-bench: %s: %s\n", path, strerror(errno));
    return written;
}
