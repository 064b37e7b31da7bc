/* bench/limits.c - the machine's own: what no ring can better. */
#include "commands.h"
#include "kinds.h"
#include "systems.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECES 3u /* sizes of a piece that are tried */

static const uint32_t pieces[PIECES] = { 1024, 2048, 4096 };

/* ---- memcpy ---- */

/* Copies for that long; bytes a second. */
static double copy(unsigned char *to, const unsigned char *from, uint64_t bytes, double seconds)
{
    uint64_t copied = 0, at_once = bytes < 65536 ? 65536 / bytes : 1;
    int64_t began = bench_now_ns(), now;
    do {
        for (uint64_t i = 0; i < at_once; i++) {
            memcpy(to, from, bytes);
            __asm__ volatile("" : : "r"(to) : "memory"); /* each is done */
        }
        copied += bytes * at_once;
        now = bench_now_ns();
    } while ((double)(now - began) < seconds * 1e9);
    return (double)copied * 1e9 / (double)(now - began);
}

static void measure_copies(const struct programme *programme, struct rows *rows)
{
    static const uint64_t sizes[] = { 64, 1024, 4096, 65536, 262144, 1048576, 8388608 };
    const uint64_t most = sizes[sizeof sizes / sizeof sizes[0] - 1];
    unsigned char *memory = aligned_alloc(4096, 2 * most);
    if (memory == NULL) {
        rows->failed = true;
        return;
    }
    memset(memory, 1, 2 * most);
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        double value[ROUNDS_MAX], seconds = programme->run_s / 4;
        struct row row = { .what = "limits", .system = "memcpy", .bytes = sizes[i], .producers = 1, .consumers = 1,
                           .wait = "", .batch = 1, .unit = "B/s", .group = "memcpy in one thread, by size" };
        for (unsigned round = 0; round < programme->rounds; round++)
            value[round] = copy(memory, memory + most, sizes[i], seconds);
        rows_sum_up(&row, value, programme->rounds);
        row_extra(&row, "size", (double)sizes[i]);
        rows_add(rows, &row);
    }
    free(memory);
}

/* ---- what takes two ---- */

/* Of the pieces that were tried, the best of this buffer. */
static void stream_row(const struct contest *contest, struct rows *rows)
{
    const struct contender *best = NULL;
    for (unsigned i = 0; i < contest->count; i++) {
        const struct contender *contender = &contest->of[i];
        if (contender->best != NULL &&
            (best == NULL || rows_median(contender->best->value, contender->best->rounds) * contender->work.bytes >
                                 rows_median(best->best->value, best->best->rounds) * best->work.bytes))
            best = contender;
    }
    if (best == NULL)
        return;
    struct row row;
    contender_row(best, contest, "limits", &row);
    row.unit = "B/s";
    row.extras = 0;
    row.median *= best->work.bytes;
    row.min *= best->work.bytes;
    row.max *= best->work.bytes;
    row.bytes = best->work.capacity;
    row_extra(&row, "piece", best->work.bytes);
    row_extra(&row, "pauses", best->best->pauses);
    row_extra(&row, "line_ns", rows_median(best->best->line, best->best->rounds));
    (void)snprintf(row.system, sizeof row.system, "stream");
    (void)snprintf(row.group, sizeof row.group, "streaming of lines through a shared buffer, by its size");
    rows_add(rows, &row);
}

void command_limits(const struct options *options, struct rows *rows)
{
    static struct programme programme;
    programme_begin(&programme, options);
    const struct options_numbers sizes = options->quick ? OPTIONS_OR(options->bytes, 262144, 1048576)
                                                        : OPTIONS_OR(options->bytes, 65536, 262144, 1048576, 8388608);
    struct bench_work trip = kinds_work(BENCH_SPSC, BENCH_SPIN, 8, 1, 1, 1, 0);
    struct contest *line = programme_contest(&programme, "cache line round trip"), *stream[OPTIONS_LIST_MAX];
    contest_add(&programme, line, &bench_line, &trip, true);
    contest_add(&programme, line, &bench_line_two, &trip, true);
    contest_add(&programme, line, &bench_line_each, &trip, true);
    trip.wait = BENCH_SLEEP;
    struct contest *futex = programme_contest(&programme, "futex, from wake to the woken side's running");
    contest_add(&programme, futex, &bench_futex, &trip, true);
    for (unsigned i = 0; i < sizes.count; i++) {
        char text[16];
        stream[i] = programme_contest(&programme, "streaming of lines, %s", rows_bytes(sizes.of[i], text));
        for (unsigned p = 0; p < PIECES; p++) {
            struct bench_work work = kinds_work(BENCH_SPSC, BENCH_SPIN, pieces[p], 1, 1, 1, sizes.of[i]);
            contest_add(&programme, stream[i], &bench_stream, &work, false);
        }
    }
    if (line != NULL)
        contest_rows(&programme, line, rows, "limits");
    for (unsigned i = 0; i < sizes.count; i++) {
        if (stream[i] == NULL)
            continue;
        contest_run(&programme, stream[i]);
        stream_row(stream[i], rows);
    }
    measure_copies(&programme, rows);
    if (futex != NULL)
        contest_rows(&programme, futex, rows, "limits");
    programme_end(&programme, rows);
}
