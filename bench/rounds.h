/* bench/rounds.h - systems compared: turn about, round by round, each run beside the machine's own round trip. */
#ifndef WEIR_BENCH_ROUNDS_H
#define WEIR_BENCH_ROUNDS_H

#include "options.h"
#include "rows.h"
#include "run.h"

#define ROUNDS_MAX 31u
#define CONTENDERS_MAX 64u

/* One system's runs at one pacing. */
struct attempt {
    uint32_t pauses;
    uint64_t messages;         /* of the next run, so that it takes its time */
    unsigned rounds;
    double value[ROUNDS_MAX];  /* messages a second; of a latency run p50 in ns */
    double line[ROUNDS_MAX];   /* the machine's round trip beside it, ns */
    double worst_side[ROUNDS_MAX];
    uint64_t lost, sent;
    unsigned cut_short;        /* rounds that took too long, whose value is of what had come by then */
    struct bench_histogram *histogram; /* of all rounds, in ticks; NULL: not a latency run */
};

/* A system, and the work it does.  What spins without a pace of its own has two attempts, with 1 and with 32 pauses. */
struct contender {
    const struct bench_peer *peer;
    struct bench_work work;
    bool latency;
    struct attempt attempt[2];
    unsigned attempts;
    struct attempt *best;      /* NULL: it did not work */
};

/* Those that take turns. */
struct contest {
    char title[96];
    struct contender of[CONTENDERS_MAX];
    unsigned count;
};

/* All contests of a command, known before the first, so that the time of a run can be found. */
struct programme {
    const struct options *options;
    struct contest *contest[512];
    unsigned count, rounds, repeats_max, repeated;
    unsigned runs_left, runs_all;
    double run_s;              /* wished */
    double overhead_s;         /* of a run beside its work, as it was of late */
    int64_t deadline_ns;       /* 0: none */
    double line_ns;            /* as it was last */
    bool dry;                  /* count the runs that there will be, and run none */
    bool ours_failed;
};

void programme_begin(struct programme *programme, const struct options *options);
/* NULL: said so, no memory. */
struct contest *programme_contest(struct programme *programme, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Adds the system with this work; not if it can't do it, or is not wanted (--only). */
void contest_add(const struct programme *programme, struct contest *contest, const struct bench_peer *peer,
                 const struct bench_work *work, bool latency);
bool contest_can(const struct bench_peer *peer, const struct bench_work *work, bool latency);
void contest_run(struct programme *programme, struct contest *contest);
/* contest_run, and a row for each system that worked. */
void contest_rows(struct programme *programme, struct contest *contest, struct rows *rows, const char *what);
/* Runs all contests; rows of all. */
void programme_run(struct programme *programme, struct rows *rows, const char *what);
void programme_free(struct programme *programme); /* its contests */
void programme_end(struct programme *programme, struct rows *rows);

const struct contender *contest_find(const struct contest *contest, const char *system); /* NULL: not there, or failed */
bool contender_is_ours(const struct contender *contender);
void contender_row(const struct contender *contender, const struct contest *contest, const char *what, struct row *row);

/* What has gone wrong with a system; of ours it makes the program's exit status 1. */
void programme_failed(struct programme *programme, const char *system, const char *what, const char *error);

#endif
