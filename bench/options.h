/* bench/options.h - what the command line says. */
#ifndef WEIR_BENCH_OPTIONS_H
#define WEIR_BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#define OPTIONS_LIST_MAX 32u

struct options_numbers {
    uint64_t of[OPTIONS_LIST_MAX];
    unsigned count; /* 0: not given */
};

struct options_words {
    char text[256];
    const char *of[OPTIONS_LIST_MAX];
    unsigned count;
};

struct options {
    bool quick, help;
    const char *json, *out;
    struct options_numbers bytes, producers, consumers, capacity, batch, channels, target;
    struct options_words kind, wait, only;
    struct options_numbers rate;   /* one: round trips begun a second */
    struct options_numbers rounds, run_ms;
};

/* Reads argv[0 .. count) into options.  allowed: the names, without their dashes, that the command has, a blank between.
 * false: said on stderr what is wrong. */
bool options_read(struct options *options, const char *allowed, int count, char **argv);

/* The list, or what to take where none was given. */
struct options_numbers options_or(const struct options_numbers *given, const uint64_t *others, unsigned count);

#define OPTIONS_OR(given, ...)                                                                                         \
    options_or(&(given), (const uint64_t[]){ __VA_ARGS__ }, sizeof((const uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t))

/* Is the word in the list, or the list not given? */
bool options_has(const struct options_words *words, const char *word);

#endif
