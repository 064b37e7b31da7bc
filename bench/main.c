/* bench/main.c - weir-bench: what is measured is a subcommand. */
#include "commands.h"
#include "systems.h"

#include <stdio.h>
#include <string.h>

#define COMMON " quick help json rounds run-ms"

static const struct command {
    const char *name, *what;
    const char *allowed;
    void (*run)(const struct options *options, struct rows *rows);
    const char *own; /* its options, for its help */
} commands[] = {
    { "limits", "the machine's own: cache-line round trip, streaming, memcpy, futex wake", "bytes" COMMON, command_limits,
      "  --bytes N,...         sizes of the shared buffer (64K,256K,1M,8M)\n" },
    { "throughput", "weir's kinds, one way: messages a second", "kind bytes producers consumers capacity batch wait only"
      COMMON, command_throughput,
      "  --kind K,...          spsc, mpsc, mpsc-ordered, mpmc, gated, broadcast, latest, mailbox (all)\n"
      "  --bytes N,...         of a message (8,64,256,1K,4K,64K,1M)\n"
      "  --producers N,...     of those kinds that may have several (2)\n"
      "  --consumers N,...     likewise (2)\n"
      "  --capacity N          bytes of a lane (256K, and room for 8 messages)\n"
      "  --batch N,...         published at once (1,32)\n"
      "  --wait W,...          spin, sleep (spin)\n"
      "  --only SYSTEM,...     of these systems alone\n" },
    { "latency", "weir's kinds, there and back: p50 to p99.9, with the histogram", "kind bytes capacity wait rate only"
      COMMON, command_latency,
      "  --kind K,...          as of throughput (all that answer)\n"
      "  --bytes N,...         of a message (8,48,64,256,1K,4K)\n"
      "  --capacity N          bytes of a lane (256K)\n"
      "  --wait W,...          spin, sleep (both)\n"
      "  --rate N              trips begun a second, each counted from when it was to begin (each when the last ended)\n"
      "  --only SYSTEM,...     of these systems alone\n" },
    { "scale", "weir, and more producers, consumers, channels, bytes, capacity; start-up and memory",
      "kind bytes producers capacity channels only" COMMON, command_scale,
      "  --kind K,...          of those that may have several of a role (all)\n"
      "  --producers N,...     of each role that may have several (1,2,4,8,16,32)\n"
      "  --channels N,...      between two processes (1,10,100,1000,10000)\n"
      "  --capacity N,...      bytes of a lane (4K to 16M)\n"
      "  --bytes N,...         of a message (8 to 1M)\n"
      "  --only SYSTEM,...     of these systems alone\n" },
    { "peers", "weir and whatever of its peers is installed, the same work turn about", "bytes capacity wait only" COMMON,
      command_peers,
      "  --bytes N,...         of a message (8,64,256,1K,4K,64K; several to several at 64 and 1K)\n"
      "  --capacity N          bytes that a queue is to hold (256K, and room for 8 messages)\n"
      "  --wait W,...          spin, sleep (both)\n"
      "  --only SYSTEM,...     these systems alone\n" },
    { "targets", "the speeds that weir is to have: measured, needed, met or not", "target only" COMMON, command_targets,
      "  --target N,...        of these alone (1 to 9)\n"
      "  --only SYSTEM,...     with these systems alone\n" },
    { "all", "all of these: results.json, report.md and the plots' scripts in a folder", "out only" COMMON, command_all,
      "  --out DIR             where to (must be there; .)\n"
      "  --only SYSTEM,...     of these systems alone\n" },
};

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static void help(void)
{
    printf("usage: weir-bench COMMAND [OPTION...]\n\n");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        printf("  %-13s %s\n", commands[i].name, commands[i].what);
    printf("\n  --json FILE   the rows, as a JSON array\n"
           "  --quick       two sizes, three rounds, at most 60 seconds\n"
           "  --rounds N    of each comparison (5)\n"
           "  --run-ms N    milliseconds of one run (250)\n"
           "  --help        behind a command: its own options\n\n"
           "Sizes take K, M, G; lists a comma.  Exit status: 0, or 1 where the command line is wrong or one of weir's own\n"
           "systems failed.  Systems, a name in --only:\n");
    const struct bench_peer *peer;
    for (unsigned i = 0; (peer = systems_at(i)) != NULL; i++)
        printf("  %-24s %s\n", peer->name, peer->what);
}

static void help_of(const struct command *command)
{
    printf("usage: weir-bench %s [OPTION...]: %s\n%s", command->name, command->what, command->own);
    printf("  --json FILE, --quick, --rounds N, --run-ms N: see weir-bench --help\n");
}

static bool known_systems(const struct options *options)
{
    for (unsigned i = 0; i < options->only.count; i++) {
        if (systems_find(options->only.of[i]) == NULL) {
            fprintf(stderr, "weir-bench: --only: there is no system %s (--help tells those there are)\n", options->only.of[i]);
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    struct options options = { 0 };
    struct rows rows = { 0 };
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        help();
        return 0;
    }
    const struct command *command = argc > 1 ? find(argv[1]) : NULL;
    if (command == NULL) {
        fprintf(stderr, "weir-bench: %s%s (weir-bench --help tells those there are)\n",
                argc > 1 ? "there is no command " : "a command is missing", argc > 1 ? argv[1] : "");
        return 1;
    }
    if (!options_read(&options, command->allowed, argc - 2, argv + 2) || !known_systems(&options))
        return 1;
    if (options.help) {
        help_of(command);
        return 0;
    }
    printf("weir-bench %s, %s, %s, %s\n", command->name, rows_commit(), rows_cpu(), rows_compiler());
    rows.command = command->name;
    command->run(&options, &rows);
    systems_finish();
    bool written = options.json == NULL || rows_write(&rows, options.json);
    bool failed = rows.failed || !written;
    rows_free(&rows);
    return failed ? 1 : 0;
}
