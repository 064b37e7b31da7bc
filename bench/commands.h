/* bench/commands.h - the subcommands: each measures, prints its tables, and leaves rows.  rows->failed: one of ours did
 * not work. */
#ifndef WEIR_BENCH_COMMANDS_H
#define WEIR_BENCH_COMMANDS_H

#include "options.h"
#include "rows.h"

void command_limits(const struct options *options, struct rows *rows);
void command_throughput(const struct options *options, struct rows *rows);
void command_latency(const struct options *options, struct rows *rows);
void command_scale(const struct options *options, struct rows *rows);
void command_peers(const struct options *options, struct rows *rows);
void command_targets(const struct options *options, struct rows *rows);
void command_all(const struct options *options, struct rows *rows);

#endif
