/* bench/targets.c - the speeds that weir is to have, each a ratio within one run: measured, beside what is needed. */
#include "commands.h"
#include "compare.h"
#include "startup.h"
#include "systems.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- who is compared ---- */

static bool one_of(const char *words, const char *name)
{
    const char *at = strstr(words, name);
    size_t length = strlen(name);
    return at != NULL && (at == words || at[-1] == ' ') && (at[length] == 0 || at[length] == ' ');
}

enum group { OURS, PEERS, RTE, RTE_AND_CK, VYUKOV, STREAM, ONE };

static bool is_in(enum group group, const struct bench_peer *peer, const char *name)
{
    switch (group) {
    case OURS: return systems_is_ours(peer) && strcmp(peer->name, "weir-full-fences") != 0;
    case PEERS: return !systems_is_ours(peer) && peer != &bench_stream;
    case RTE: return strncmp(peer->name, "dpdk", 4) == 0;
    case RTE_AND_CK: return strncmp(peer->name, "dpdk", 4) == 0 || strncmp(peer->name, "ck", 2) == 0;
    case VYUKOV: return strcmp(peer->name, "vyukov") == 0;
    case STREAM: return peer == &bench_stream;
    case ONE: break;
    }
    return one_of(name, peer->name);
}

/* Bytes of what was counted, so that pieces and messages compare; a latency's ns. */
static double worth(const struct contender *contender, unsigned round)
{
    return contender->best->value[round] * (contender->latency ? 1 : contender->work.bytes);
}

/* The best of those that worked; NULL: none did. */
static const struct contender *best_of(const struct contest *contest, enum group group, const char *names)
{
    const struct contender *best = NULL;
    double best_worth = 0;
    for (unsigned i = 0; contest != NULL && i < contest->count; i++) {
        const struct contender *contender = &contest->of[i];
        if (contender->best == NULL || !is_in(group, contender->peer, names))
            continue;
        double median = rows_median(contender->best->value, contender->best->rounds) *
                        (contender->latency ? 1 : contender->work.bytes);
        if (best == NULL || (contender->latency ? median < best_worth : median > best_worth)) {
            best = contender;
            best_worth = median;
        }
    }
    return best;
}

/* ---- a verdict ---- */

struct course {
    struct programme programme;
    struct rows *rows;
    unsigned number;           /* of the target */
    const char *text;
};

static void verdict(struct course *course, const double *ratios, unsigned count, double needed, bool at_most, uint64_t bytes,
                    const char *format, ...) __attribute__((format(printf, 7, 8)));

static void verdict(struct course *course, const double *ratios, unsigned count, double needed, bool at_most, uint64_t bytes,
                    const char *format, ...)
{
    struct row row = { .what = "target", .bytes = bytes, .producers = 1, .consumers = 1, .wait = "", .batch = 1, .unit = "x" };
    va_list args;
    va_start(args, format);
    (void)vsnprintf(row.system, sizeof row.system, format, args);
    va_end(args);
    (void)snprintf(row.group, sizeof row.group, "target %u: %s", course->number, course->text);
    rows_sum_up(&row, ratios, count);
    bool met = count != 0 && (at_most ? row.median <= needed : row.median >= needed);
    row_extra(&row, "target", course->number);
    row_extra(&row, at_most ? "at_most" : "at_least", needed);
    row_extra(&row, "met", met);
    rows_add(course->rows, &row);
}

/* Round by round, one's worth over another's; of those rounds alone in which the machine's own round trip was alike beside
 * both, if there are any: virtual machines move from one pair of processors to another, five times as far.  How many. */
static unsigned pair(const struct contender *of, const struct contender *over, double ratio[ROUNDS_MAX])
{
    unsigned alike = 0, rounds = of->best->rounds;
    for (unsigned i = 0; i < rounds; i++) {
        double lines = of->best->line[i] / over->best->line[i];
        if (lines > 1 / 1.3 && lines < 1.3)
            ratio[alike++] = worth(of, i) / worth(over, i);
    }
    for (unsigned i = 0; alike == 0 && i < rounds; i++)
        ratio[i] = worth(of, i) / worth(over, i);
    return alike != 0 ? alike : rounds;
}

/* Ours over theirs, round by round. */
static void compare(struct course *course, const struct contest *contest, enum group group, double needed, bool at_most,
                    const char *label)
{
    const struct contender *ours = best_of(contest, OURS, NULL), *theirs = best_of(contest, group, NULL);
    double ratio[ROUNDS_MAX];
    if (course->programme.dry)
        return;
    if (ours == NULL || theirs == NULL) {
        printf("  target %u: %s: there is nothing to compare with\n", course->number, label);
        return;
    }
    verdict(course, ratio, pair(ours, theirs, ratio), needed, at_most, ours->work.bytes, "%s: %s / %s", label, ours->peer->name,
            theirs->peer->name);
}

/* Ours in raw round trips: a latency's share, or messages of a stream in the time of one. */
static void compare_line(struct course *course, const struct contest *contest, double needed, const char *label)
{
    const struct contender *ours = best_of(contest, OURS, NULL);
    double ratio[ROUNDS_MAX];
    if (ours == NULL)
        return;
    for (unsigned i = 0; i < ours->best->rounds; i++)
        ratio[i] = ours->latency ? ours->best->value[i] / ours->best->line[i]
                                 : ours->best->value[i] * ours->best->line[i] / 1e9;
    verdict(course, ratio, ours->best->rounds, needed, ours->latency, ours->work.bytes, "%s: %s / line", label,
            ours->peer->name);
}

/* The worst round over the median: one figure. */
static void compare_worst(struct course *course, const struct contest *contest, double needed, const char *label)
{
    const struct contender *ours = best_of(contest, OURS, NULL);
    struct row row = { 0 };
    if (ours == NULL)
        return;
    rows_sum_up(&row, ours->best->value, ours->best->rounds);
    double ratio = row.min / row.median;
    verdict(course, &ratio, 1, needed, false, ours->work.bytes, "%s: worst round / median", label);
}

/* One system at two works of a contest, the second's figures over the first's. */
static void compare_two(struct course *course, const struct contender *of, const struct contender *over, double needed,
                        const char *label)
{
    double ratio[ROUNDS_MAX];
    if (of->best == NULL || over->best == NULL)
        return;
    verdict(course, ratio, pair(of, over, ratio), needed, false, of->work.bytes, "%s", label);
}

/* ---- the targets ---- */

static const char *sized(uint64_t bytes, const char *more)
{
    static char text[4][48];
    static unsigned next;
    char size[16];
    char *to = text[next++ % 4];
    (void)snprintf(to, sizeof text[0], "%s%s", rows_bytes(bytes, size), more);
    return to;
}

static struct contest *all_run(struct course *course, const struct bench_work *work, bool latency)
{
    struct contest *contest = compare_all(&course->programme, "target", work, latency);
    if (contest != NULL)
        contest_run(&course->programme, contest);
    return contest;
}

static void round_trip(struct course *course)
{
    static const uint64_t sizes[] = { 8, 56, 64 };
    for (unsigned i = 0; i < 3; i++) {
        struct bench_work work = kinds_work(BENCH_SPSC, BENCH_SPIN, sizes[i], 1, 1, 1, 0);
        struct contest *contest = all_run(course, &work, true);
        compare_line(course, contest, sizes[i] <= 56 ? 1.25 : 1.4, sized(sizes[i], ""));
        if (sizes[i] == 64)
            compare(course, contest, PEERS, 1, true, sized(sizes[i], ""));
    }
}

static void one_to_one(struct course *course)
{
    static const uint64_t sizes[] = { 64, 1024, 8, 256, 4096 };
    for (unsigned i = 0; i < (course->programme.options->quick ? 2 : 5); i++) {
        struct bench_work work = kinds_work(BENCH_SPSC, BENCH_SPIN, sizes[i], 1, 1, 1, 0);
        compare(course, all_run(course, &work, false), PEERS, 1.1, false, sized(sizes[i], ""));
        work.batch = 32;
        compare(course, all_run(course, &work, false), RTE, 1.25, false, sized(sizes[i], ", batches"));
    }
}

static void streaming(struct course *course)
{
    static const struct {
        uint64_t bytes, capacity;
        uint32_t batch;
        const char *label;
    } plans[] = {
        { 1024, UINT64_C(256) << 10, 32, "1 KiB batched, 256 KiB" },
        { 1024, UINT64_C(4) << 20, 32, "1 KiB batched, 4 MiB" },
        { 65536, UINT64_C(512) << 10, 1, "64 KiB, 512 KiB" },
        { 1 << 20, UINT64_C(8) << 20, 1, "1 MiB, 8 MiB" },
    };
    struct programme *programme = &course->programme;
    for (unsigned i = 0; i < sizeof plans / sizeof plans[0]; i++) {
        struct bench_work work = kinds_work(BENCH_SPSC, BENCH_SPIN, plans[i].bytes, plans[i].batch, 1, 1, plans[i].capacity);
        struct contest *contest = programme_contest(programme, "target, streaming, %s", plans[i].label);
        if (contest == NULL)
            return;
        kinds_add(programme, contest, &kinds[0], &work, false);
        for (uint32_t piece = 2048; piece <= 4096; piece *= 2) {
            struct bench_work pieces = kinds_work(BENCH_SPSC, BENCH_SPIN, piece, 1, 1, 1, plans[i].capacity);
            contest_add(programme, contest, &bench_stream, &pieces, false);
        }
        contest_run(programme, contest);
        compare(course, contest, STREAM, 0.9, false, plans[i].label);
    }
}

/* ours alone: few sides, and many, in one contest. */
static void crowd(struct course *course, uint32_t shape, uint32_t few, uint32_t many, double needed, const char *label)
{
    struct programme *programme = &course->programme;
    struct contest *contest = programme_contest(programme, "target, %s", label);
    const struct bench_peer *peer = systems_find(shape == BENCH_MPSC ? "weir-mpsc" : "weir-mpmc");
    uint32_t sides[] = { few, many };
    for (unsigned i = 0; contest != NULL && i < 2; i++) {
        struct bench_work work = kinds_work(shape, BENCH_SPIN, 64, 1, sides[i], shape == BENCH_MPSC ? 1 : sides[i], 0);
        contest_add(programme, contest, peer, &work, false);
    }
    if (contest == NULL || contest->count != 2)
        return;
    contest_run(programme, contest);
    compare_two(course, &contest->of[1], &contest->of[0], needed, label);
}

static void many_to_one(struct course *course)
{
    static const uint32_t producers[] = { 2, 8, 4, 32 };
    for (unsigned i = 0; i < (course->programme.options->quick ? 2 : 4); i++) {
        char label[24];
        (void)snprintf(label, sizeof label, "%u+1", producers[i]);
        struct bench_work work = kinds_work(BENCH_MPSC, BENCH_SPIN, 64, 1, producers[i], 1, 0);
        struct contest *contest = all_run(course, &work, false);
        compare(course, contest, PEERS, 2, false, label);
        compare_worst(course, contest, 0.5, label);
    }
    crowd(course, BENCH_MPSC, 2, 32, 0.8, "32+1 / 2+1");
}

static void many_to_many(struct course *course)
{
    static const uint32_t sides[] = { 2, 4, 16 };
    for (unsigned i = 0; i < (course->programme.options->quick ? 2 : 3); i++) {
        char label[24];
        (void)snprintf(label, sizeof label, "%u+%u", sides[i], sides[i]);
        struct bench_work work = kinds_work(BENCH_MPMC, BENCH_SPIN, 64, 1, sides[i], sides[i], 0);
        struct contest *contest = all_run(course, &work, false);
        compare(course, contest, RTE_AND_CK, 8, false, label);
        compare(course, contest, VYUKOV, 2.5, false, label);
        compare_worst(course, contest, 0.5, label);
    }
    crowd(course, BENCH_MPMC, 2, 16, 0.5, "16+16 / 2+2");
}

/* One at a time, which the target asks of, and beside it in batches. */
static void broadcast(struct course *course)
{
    static const double needed[] = { 6.5, 4.5, 3.6 };
    static const char *const systems[] = { "weir-gated", "weir-gated-in-place" };
    for (unsigned i = 0; i < 6; i++) {
        char label[24];
        (void)snprintf(label, sizeof label, "1+%u%s", 1u << i % 3, i < 3 ? "" : ", batches");
        struct bench_work work = kinds_work(BENCH_BROADCAST, BENCH_SPIN, 64, i < 3 ? 1 : 32, 1, 1u << i % 3, 0);
        struct contest *contest = programme_contest(&course->programme, "target, gated broadcast, %s", label);
        if (contest == NULL)
            return;
        for (unsigned j = 0; j < 2; j++)
            contest_add(&course->programme, contest, systems_find(systems[j]), &work, false);
        contest_run(&course->programme, contest);
        compare_line(course, contest, needed[i % 3], label);
    }
}

static void whole_channel(struct course *course)
{
    static const char *const pairs[][2] = { { "weir", "weir-ring" }, { "weir-in-place", "weir-ring-in-place" },
                                            { "weir-full-fences", "weir-ring" } };
    static const uint64_t sizes[] = { 64, 1024 };
    for (unsigned i = 0; i < 2; i++) {
        struct bench_work work = kinds_work(BENCH_SPSC, BENCH_SPIN, sizes[i], 1, 1, 1, 0);
        struct contest *contest = programme_contest(&course->programme, "target, channel and ring");
        if (contest == NULL)
            return;
        kinds_add(&course->programme, contest, &kinds[0], &work, false);
        contest_run(&course->programme, contest);
        for (unsigned j = 0; j < 3; j++) {
            const struct contender *of = contest_find(contest, pairs[j][0]), *over = contest_find(contest, pairs[j][1]);
            char label[48];
            (void)snprintf(label, sizeof label, "%s: %s / %s", sized(sizes[i], ""), pairs[j][0], pairs[j][1]);
            if (of != NULL && over != NULL) /* with full fences the cost is stated: any will do */
                compare_two(course, of, over, j == 2 ? 0 : 0.9, label);
        }
    }
}

static void sleepers(struct course *course)
{
    static const uint64_t sizes[] = { 64, 1024, 8, 256, 4096 };
    for (unsigned i = 0; i < (course->programme.options->quick ? 2 : 5); i++) {
        struct bench_work work = kinds_work(BENCH_SPSC, BENCH_SLEEP, sizes[i], 1, 1, 1, 0);
        compare(course, all_run(course, &work, false), PEERS, 2, false, sized(sizes[i], ""));
    }
    struct bench_work work = kinds_work(BENCH_SPSC, BENCH_SLEEP, 64, 1, 1, 1, 0);
    struct contest *contest = programme_contest(&course->programme, "target, sleeping round trip");
    if (contest == NULL)
        return;
    kinds_add(&course->programme, contest, &kinds[0], &work, true);
    contest_add(&course->programme, contest, systems_find("eventfd"), &work, true);
    contest_run(&course->programme, contest);
    compare(course, contest, PEERS, 1.05, true, "there and back");
}

static void start_up(struct course *course)
{
    struct startup startup;
    double ratio[ROUNDS_MAX];
    struct startup_memory memory;
    if (course->programme.dry)
        return;
    if (startup_measure(&course->programme, &startup)) {
        for (unsigned i = 0; i < startup.rounds; i++)
            ratio[i] = startup.ours[i] / startup.bare[i];
        verdict(course, ratio, startup.rounds, 2, true, KINDS_CAPACITY, "start-up: weir / bare system calls");
        for (unsigned i = 0; i < startup.rounds; i++)
            ratio[i] = startup.ours[i] / 1000;
        verdict(course, ratio, startup.rounds, 250, true, KINDS_CAPACITY, "start-up: weir, us");
        for (unsigned i = 0; i < startup.rounds; i++)
            ratio[i] = startup.ours_first[i] / startup.bare_first[i];
        verdict(course, ratio, startup.rounds, 0, false, KINDS_CAPACITY, "the process's first: weir / bare (no target)");
        for (unsigned i = 0; i < startup.rounds; i++)
            ratio[i] = startup.ours_first[i] / 1000;
        verdict(course, ratio, startup.rounds, 0, false, KINDS_CAPACITY, "the process's first: weir, us (no target)");
    }
    if (startup_takes(&course->programme, KINDS_CAPACITY, &memory)) {
        double beside = (memory.taken - memory.committed) / 1024;
        verdict(course, &beside, 1, 64, true, KINDS_CAPACITY, "memory beside what is committed, KiB");
    }
}

static const struct target {
    const char *text;
    void (*run)(struct course *course);
} targets[] = {
    { "round trip, in raw round trips", round_trip },
    { "one to one, over the best peer; batches over rte_ring", one_to_one },
    { "large messages, over streaming of lines", streaming },
    { "many to one, over the best peer", many_to_one },
    { "many to many, over rte_ring and ck, and over a slot queue", many_to_many },
    { "gated broadcast, messages in the time of a raw round trip", broadcast },
    { "the whole channel, over the ring alone", whole_channel },
    { "sleeping receivers, over the best sleeping peer", sleepers },
    { "start-up and memory", start_up },
};

#define TARGETS (sizeof targets / sizeof targets[0])

static bool wanted(const struct options *options, uint64_t number)
{
    for (unsigned i = 0; i < options->target.count; i++)
        if (options->target.of[i] == number)
            return true;
    return options->target.count == 0;
}

void command_targets(const struct options *options, struct rows *rows)
{
    static struct course course;
    int64_t left = 0;
    for (unsigned i = 0; i < TARGETS; i++)
        left += wanted(options, i + 1);
    int64_t deadline = 0;
    for (unsigned i = 0; i < TARGETS; i++) {
        if (!wanted(options, i + 1))
            continue;
        course = (struct course){ .rows = rows, .number = i + 1, .text = targets[i].text };
        programme_begin(&course.programme, options);
        if (options->quick) { /* each has its share of the time that is left */
            int64_t now = bench_now_ns();
            deadline = deadline == 0 ? course.programme.deadline_ns : deadline;
            course.programme.deadline_ns = now + (deadline > now ? deadline - now : 0) / left--;
        }
        course.programme.dry = true; /* first the plan: how many runs */
        targets[i].run(&course);
        course.programme.dry = false;
        programme_free(&course.programme);
        targets[i].run(&course);
        programme_end(&course.programme, rows);
    }
}
