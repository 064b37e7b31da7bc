/* bench/rounds.c - systems compared: turn about, round by round, each run beside the machine's own round trip. */
#include "rounds.h"

#include "systems.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_NS 2000000.0       /* how long the line's round trip is measured */
#define DISTURBED 1.3           /* a change of it by more means that the run is done again */
#define QUICK_NS 48000000000    /* of a command that is quick, but for what it does beside its contests */
#define SHORTEST_S 0.003        /* of a run */
#define SIDE_S 0.003            /* of a run, for each side, where they share processors: a slice of the scheduler or two */

void programme_begin(struct programme *programme, const struct options *options)
{
    unsigned rounds = options->rounds.count != 0 ? (unsigned)options->rounds.of[0] : options->quick ? 3 : 5;
    *programme = (struct programme){
        .options = options, .rounds = rounds, .repeats_max = options->quick ? 2 : 5,
        .run_s = options->run_ms.count != 0 ? (double)options->run_ms.of[0] / 1000 : options->quick ? 0.06 : 0.25,
        .overhead_s = 0.008, .deadline_ns = options->quick ? bench_now_ns() + QUICK_NS : 0,
    };
}

struct contest *programme_contest(struct programme *programme, const char *format, ...)
{
    struct contest *contest = calloc(1, sizeof *contest);
    if (contest == NULL || programme->count == sizeof programme->contest / sizeof programme->contest[0]) {
        fprintf(stderr, "weir-bench: too much to compare\n");
        free(contest);
        programme->ours_failed = true;
        return NULL;
    }
    va_list args;
    va_start(args, format);
    (void)vsnprintf(contest->title, sizeof contest->title, format, args);
    va_end(args);
    return programme->contest[programme->count++] = contest;
}

/* ---- who takes part ---- */

bool contest_can(const struct bench_peer *peer, const struct bench_work *work, bool latency)
{
    uint32_t needed = work->shape | work->wait | (work->batch > 1 ? BENCH_BATCH : 0) | (latency ? BENCH_LATENCY : 0);
    uint32_t bytes_max = peer->bytes_limit != NULL ? peer->bytes_limit() : peer->bytes_max;
    bool can = (peer->can & needed) == needed && (bytes_max == 0 || work->bytes <= bytes_max);
    return can && (latency ? peer->ping != NULL : peer->produce != NULL);
}

void contest_add(const struct programme *programme, struct contest *contest, const struct bench_peer *peer,
                 const struct bench_work *work, bool latency)
{
    if (contest == NULL || peer == NULL || contest->count == CONTENDERS_MAX || !contest_can(peer, work, latency))
        return;
    bool limit = systems_find(peer->name) != peer; /* the machine's own are never left out */
    if (!limit && !options_has(&programme->options->only, peer->name))
        return;
    struct contender *contender = &contest->of[contest->count++];
    *contender = (struct contender){ .peer = peer, .work = *work, .latency = latency, .attempts = 1 };
    contender->attempt[0].pauses = 1;
    if (work->wait == BENCH_SPIN && (peer->can & BENCH_NO_PACING) == 0) {
        contender->attempts = 2;
        contender->attempt[1].pauses = 32;
    }
}

bool contender_is_ours(const struct contender *contender) { return systems_is_ours(contender->peer); }

const struct contender *contest_find(const struct contest *contest, const char *system)
{
    for (unsigned i = 0; contest != NULL && i < contest->count; i++)
        if (contest->of[i].best != NULL && strcmp(contest->of[i].peer->name, system) == 0)
            return &contest->of[i];
    return NULL;
}

void programme_failed(struct programme *programme, const char *system, const char *what, const char *error)
{
    fprintf(stderr, "weir-bench: %s: %s: %s; left out\n", system, what, error);
    programme->ours_failed |= strncmp(system, "weir", 4) == 0;
}

/* ---- one run ---- */

/* Long runs show how far they are. */
static void progress(const struct programme *programme, const char *title, const char *system)
{
    if (!isatty(STDERR_FILENO))
        return;
    if (system == NULL)
        fprintf(stderr, "\r%*s\r", 110, "");
    else
        fprintf(stderr, "\r[%u of %u] %-60.60s %-24.24s", programme->runs_all - programme->runs_left, programme->runs_all,
                title, system);
}

/* How long the next run is to take: what was wished, or what is left for it. */
static double time_of_run(const struct programme *programme)
{
    if (programme->deadline_ns == 0)
        return programme->run_s;
    double left = (double)(programme->deadline_ns - bench_now_ns()) / 1e9;
    double each = left / (programme->runs_left > 0 ? programme->runs_left : 1) - programme->overhead_s;
    return each > programme->run_s ? programme->run_s : each < SHORTEST_S ? SHORTEST_S : each;
}

/* With more sides than processors each is to have its turn some times. */
static double time_for(const struct programme *programme, const struct contender *contender)
{
    unsigned sides = contender->work.producers + contender->work.consumers;
    double least = sides > bench_processors() ? SIDE_S * sides : 0, wished = time_of_run(programme);
    return wished > least ? wished : least;
}

static bool has_time(const struct programme *programme) { return time_of_run(programme) > SHORTEST_S; }

/* The machine's own round trip, now, in ns. */
static double line_now(struct programme *programme)
{
    struct bench_result result;
    struct bench_histogram *histogram = calloc(1, sizeof *histogram);
    double usual = programme->line_ns > 20 ? programme->line_ns : 150;
    double wished_ns = has_time(programme) ? LINE_NS : LINE_NS / 4;
    struct bench_work work = { .shape = BENCH_SPSC, .wait = BENCH_SPIN, .bytes = 8, .batch = 1, .producers = 1,
                               .consumers = 1, .messages = (uint64_t)(wished_ns / usual) + 100, .warm_up = 100 };
    if (histogram == NULL)
        return 0;
    bench_run(&bench_line, &work, histogram, 2000, &result);
    free(histogram);
    return result.error[0] == 0 ? result.p50 : 0;
}

static void set_length(struct contender *contender, struct attempt *attempt, double seconds)
{
    struct bench_work *work = &contender->work;
    uint64_t least = (uint64_t)work->batch * 4 + 16;
    work->pauses = attempt->pauses;
    work->messages = attempt->messages;
    if (contender->latency && work->interval_ns != 0)
        work->messages = (uint64_t)(seconds * 1e9 / (double)work->interval_ns);
    if (work->messages < least)
        work->messages = least;
    /* Consumers that share, or that miss messages, have no one message behind which the time begins. */
    bool none = (work->shape == BENCH_MPMC && work->consumers > 1) || (contender->peer->can & BENCH_LOSSY) != 0;
    work->warm_up = none ? 0 : (contender->latency ? 1 : work->producers) * work->messages / 16;
}

/* Runs once, and learns how many messages a run of that many seconds has. */
static bool run_once(struct programme *programme, struct contender *contender, struct attempt *attempt, double seconds,
                     struct bench_histogram *histogram, struct bench_result *result)
{
    unsigned limit_ms = programme->options->quick ? 1500 : 5000 + (unsigned)(seconds * 20000);
    set_length(contender, attempt, seconds);
    bench_run(contender->peer, &contender->work, histogram, limit_ms, result);
    if (result->error[0] != 0)
        return false;
    double share = seconds / (result->seconds > 1e-6 ? result->seconds : 1e-6);
    attempt->messages = (uint64_t)(share * result->done * (double)contender->work.messages) + 1;
    return true;
}

static double result_value(const struct contender *contender, const struct bench_result *result)
{
    return contender->latency ? result->p50 : result->per_second;
}

static bool steady(double before, double after)
{
    return before > 0 && after > 0 && before < after * DISTURBED && after < before * DISTURBED;
}

/* One round's run of one attempt, done again while the machine changes under it. */
static bool measure(struct programme *programme, const struct contest *contest, struct contender *contender,
                    struct attempt *attempt, struct bench_result *result)
{
    unsigned round = attempt->rounds;
    for (unsigned try = 0;; try++) {
        struct bench_histogram *histogram = contender->latency ? calloc(1, sizeof *histogram) : NULL;
        if (contender->latency && histogram == NULL)
            return false;
        double before = programme->line_ns > 0 ? programme->line_ns : line_now(programme);
        bool ran = run_once(programme, contender, attempt, time_for(programme, contender), histogram, result);
        double after = programme->line_ns = line_now(programme);
        bool accepted = ran && (steady(before, after) || try == programme->repeats_max || !has_time(programme));
        if (accepted && histogram != NULL) {
            for (uint32_t i = 0; i < HISTOGRAM_CLASSES; i++)
                attempt->histogram->of[i] += histogram->of[i];
            attempt->histogram->count += histogram->count;
            if (histogram->max > attempt->histogram->max)
                attempt->histogram->max = histogram->max;
        }
        free(histogram);
        if (accepted) {
            attempt->value[round] = result_value(contender, result);
            attempt->line[round] = (before + after) / 2;
            attempt->worst_side[round] = result->worst_side;
            attempt->lost += result->lost;
            attempt->sent += contender->work.messages * contender->work.producers;
            attempt->cut_short += result->done < 1;
            attempt->rounds++;
        }
        if (accepted || !ran)
            return ran;
        programme->repeated++;
        if (!programme->options->quick) {
            progress(programme, "", NULL);
            fprintf(stderr, "weir-bench: %s, round %u, %s: again, the machine's round trip went from %.0f to %.0f ns\n",
                    contest->title, round + 1, contender->peer->name, before, after);
        }
    }
}

/* ---- a contest ---- */

static void left_out(struct programme *programme, const struct contest *contest, struct contender *contender,
                     const char *error)
{
    progress(programme, "", NULL);
    programme_failed(programme, contender->peer->name, contest->title, error);
    contender->attempts = 0;
}

/* Finds how many messages a run has, from few on. */
static bool pilot(struct programme *programme, struct contender *contender, struct attempt *attempt,
                  struct bench_result *result)
{
    uint64_t few = (UINT64_C(4) << 20) / contender->work.bytes;
    double seconds = time_for(programme, contender);
    uint64_t most = contender->latency || contender->work.wait == BENCH_SLEEP ? 500 : 4000;
    attempt->messages = few < 16 ? 16 : few > most ? most : few;
    for (unsigned i = 0; i < 3; i++) {
        struct bench_histogram *histogram = contender->latency ? calloc(1, sizeof *histogram) : NULL;
        uint64_t had = attempt->messages;
        bool ran = (!contender->latency || histogram != NULL) &&
                   run_once(programme, contender, attempt, seconds, histogram, result);
        free(histogram);
        if (!ran)
            return false;
        if (attempt->messages < had * 8) /* that many had a good part of the time */
            return true;
        if (i < 2)
            attempt->messages /= 5;
    }
    return true;
}

/* Is the first pacing's figure the better one? */
static bool better(const struct contender *contender, double first, double second)
{
    return contender->latency ? first <= second : first >= second;
}

static void prepare(struct programme *programme, const struct contest *contest, struct contender *contender)
{
    struct bench_result result;
    double value[2] = { 0, 0 };
    if (!systems_begin(contender->peer)) {
        left_out(programme, contest, contender, "could not be started");
        return;
    }
    for (unsigned i = 0; i < contender->attempts; i++) {
        struct attempt *attempt = &contender->attempt[i];
        progress(programme, contest->title, contender->peer->name);
        attempt->histogram = contender->latency ? calloc(1, sizeof *attempt->histogram) : NULL;
        if (!pilot(programme, contender, attempt, &result)) {
            left_out(programme, contest, contender, result.error);
            return;
        }
        value[i] = result_value(contender, &result);
    }
    if (programme->options->quick && contender->attempts == 2) { /* no time for both */
        if (!better(contender, value[0], value[1])) {
            struct attempt first = contender->attempt[0];
            contender->attempt[0] = contender->attempt[1];
            contender->attempt[1] = first;
        }
        contender->attempts = 1;
    }
}

static void choose(struct contender *contender)
{
    struct attempt *attempt = contender->attempt;
    if (contender->attempts == 0)
        return;
    contender->best = &attempt[0];
    if (contender->attempts == 2 && !better(contender, rows_median(attempt[0].value, attempt[0].rounds),
                                            rows_median(attempt[1].value, attempt[1].rounds)))
        contender->best = &attempt[1];
}

static unsigned runs_of(const struct programme *programme, const struct contest *contest)
{
    unsigned runs = 0;
    for (unsigned i = 0; i < contest->count; i++) {
        unsigned attempts = contest->of[i].attempts;
        runs += 2 * attempts + (programme->options->quick ? 1 : attempts) * programme->rounds; /* pilots too */
    }
    return runs;
}

/* The plan at first: all contests' runs. */
static void count_runs(struct programme *programme)
{
    for (unsigned i = 0; i < programme->count; i++)
        programme->runs_left += runs_of(programme, programme->contest[i]);
    programme->runs_all = programme->runs_left;
}

void contest_run(struct programme *programme, struct contest *contest)
{
    struct bench_result result;
    if (programme->dry) {
        programme->runs_all = programme->runs_left += runs_of(programme, contest);
        return;
    }
    if (programme->runs_all == 0)
        count_runs(programme);
    unsigned runs = runs_of(programme, contest);
    unsigned behind = programme->runs_left > runs ? programme->runs_left - runs : 0; /* when this one has ended */
    for (unsigned i = 0; i < contest->count; i++) {
        unsigned attempts = contest->of[i].attempts;
        prepare(programme, contest, &contest->of[i]);
        programme->runs_left -= programme->runs_left > 2 * attempts ? 2 * attempts : programme->runs_left;
    }
    for (unsigned round = 0; round < programme->rounds; round++) {
        for (unsigned i = 0; i < contest->count; i++) {
            struct contender *contender = &contest->of[i];
            for (unsigned j = 0; j < contender->attempts; j++) {
                progress(programme, contest->title, contender->peer->name);
                int64_t began = bench_now_ns();
                double wished = time_of_run(programme);
                if (!measure(programme, contest, contender, &contender->attempt[j], &result))
                    left_out(programme, contest, contender, result.error);
                double beside = (double)(bench_now_ns() - began) / 1e9 - wished;
                programme->overhead_s += 0.1 * ((beside > 0 ? beside : 0) - programme->overhead_s);
                programme->runs_left -= programme->runs_left > behind;
            }
        }
    }
    programme->runs_left = behind;
    for (unsigned i = 0; i < contest->count; i++)
        choose(&contest->of[i]);
    progress(programme, "", NULL);
}

/* ---- rows ---- */

void contender_row(const struct contender *contender, const struct contest *contest, const char *what, struct row *row)
{
    const struct bench_work *work = &contender->work;
    const struct attempt *best = contender->best;
    const struct bench_histogram *h = best->histogram;
    *row = (struct row){
        .what = what, .bytes = work->bytes, .producers = work->producers, .consumers = work->consumers,
        .wait = work->wait == BENCH_SPIN ? "spin" : "sleep", .batch = work->batch, .unit = contender->latency ? "ns" : "/s",
    };
    (void)snprintf(row->system, sizeof row->system, "%s", contender->peer->name);
    (void)snprintf(row->group, sizeof row->group, "%s", contest->title);
    rows_sum_up(row, best->value, best->rounds);
    if (contender->latency) {
        double tick = bench_ns_per_tick();
        row_extra(row, "p90", histogram_quantile(h, 0.9) * tick);
        row_extra(row, "p99", histogram_quantile(h, 0.99) * tick);
        row_extra(row, "p999", histogram_quantile(h, 0.999) * tick);
        row_extra(row, "max_ns", (double)h->max * tick);
        row_extra(row, "line_ns", rows_median(best->line, best->rounds));
        row_histogram(row, h);
    } else {
        row_extra(row, "bytes_s", row->median * work->bytes);
        row_extra(row, "line_ns", rows_median(best->line, best->rounds));
        if (work->producers > 1)
            row_extra(row, "fairness", rows_median(best->worst_side, best->rounds));
        if ((contender->peer->can & BENCH_LOSSY) != 0)
            row_extra(row, "lost_share", best->sent != 0 ? (double)best->lost / (double)best->sent / work->consumers : 0);
    }
    if (work->wait == BENCH_SPIN) /* 0: it has a pace of its own */
        row_extra(row, "pauses", (contender->peer->can & BENCH_NO_PACING) != 0 ? 0 : best->pauses);
    if (work->channels > 1)
        row_extra(row, "channels", work->channels);
    row_extra(row, "capacity", (double)work->capacity);
    if (best->cut_short != 0)
        row_extra(row, ROW_CUT_SHORT, best->cut_short);
}

void contest_rows(struct programme *programme, struct contest *contest, struct rows *rows, const char *what)
{
    contest_run(programme, contest);
    for (unsigned i = 0; i < contest->count; i++) {
        struct row row;
        if (contest->of[i].best == NULL)
            continue;
        contender_row(&contest->of[i], contest, what, &row);
        rows_add(rows, &row);
    }
}

void programme_run(struct programme *programme, struct rows *rows, const char *what)
{
    for (unsigned i = 0; i < programme->count; i++)
        contest_rows(programme, programme->contest[i], rows, what);
}

void programme_free(struct programme *programme)
{
    for (unsigned i = 0; i < programme->count; i++) {
        for (unsigned j = 0; j < programme->contest[i]->count; j++)
            for (unsigned k = 0; k < 2; k++)
                free(programme->contest[i]->of[j].attempt[k].histogram);
        free(programme->contest[i]);
    }
    programme->count = 0;
}

void programme_end(struct programme *programme, struct rows *rows)
{
    programme_free(programme);
    if (programme->repeated != 0)
        printf("\n%u runs were done again: the machine's own round trip had changed by more than 30 %% under them\n",
               programme->repeated);
    rows->failed |= programme->ours_failed;
}
