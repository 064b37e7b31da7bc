/* bench/rows.h - what was measured: rows in memory, as a table on stdout, and as JSON. */
#ifndef WEIR_BENCH_ROWS_H
#define WEIR_BENCH_ROWS_H

#include "histogram.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROWS_EXTRAS 12u

struct row {
    const char *what;      /* "throughput", "latency", "limits", ...: a word that stays */
    char system[64];
    uint64_t bytes;
    uint32_t producers, consumers;
    const char *wait;      /* "spin", "sleep", or "" */
    uint32_t batch;
    const char *unit;
    double median, min, max;
    unsigned rounds;
    char group[96];        /* the table it stands in */
    const char *command;   /* that measured it; of the rows when it is added */
    struct {
        const char *name;  /* of another field of it */
        double value;
    } extra[ROWS_EXTRAS];
    unsigned extras;
    uint64_t (*histogram)[2]; /* ns, count; NULL: none.  The rows' own */
    unsigned histogram_length;
};

struct rows {
    struct row *of;
    size_t count, room;
    const char *command;   /* under way */
    bool failed;           /* one of ours did not work, or there was no memory */
};

/* Adds a row and prints it; with a heading where the group is another than the last row's. */
void rows_add(struct rows *rows, const struct row *row);
/* How many rounds were ended before their time; a note behind the others in the table. */
#define ROW_CUT_SHORT "cut_short"
void row_extra(struct row *row, const char *name, double value);
double row_get(const struct row *row, const char *name); /* a field by name; 0: it has none */
void row_histogram(struct row *row, const struct bench_histogram *ticks);
bool rows_write(const struct rows *rows, const char *path); /* false: said on stderr what is wrong */
void rows_free(struct rows *rows);

/* Median, least and most of count values. */
void rows_sum_up(struct row *row, const double *values, unsigned count);
double rows_median(const double *values, unsigned count);

/* "64", "4 KiB"; "12.3 M": four digits and a prefix. */
const char *rows_bytes(uint64_t bytes, char text[16]);
const char *rows_number(double value, char text[16]);

const char *rows_cpu(void);
const char *rows_commit(void);
const char *rows_compiler(void);

#endif
