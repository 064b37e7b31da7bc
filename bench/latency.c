/* bench/latency.c - weir's kinds, there and back. */
#include "commands.h"
#include "kinds.h"

#include <stdio.h>

void command_latency(const struct options *options, struct rows *rows)
{
    static struct programme programme;
    static const char *const waits[] = { "spin", "sleep" };
    programme_begin(&programme, options);
    const struct options_numbers bytes = options->quick ? OPTIONS_OR(options->bytes, 64, 1024)
                                                        : OPTIONS_OR(options->bytes, 8, 48, 64, 256, 1024, 4096);
    for (unsigned w = 0; w < 2; w++) {
        for (unsigned i = 0; options_has(&options->wait, waits[w]) && i < bytes.count; i++) {
            char text[16], rate[32] = "";
            if (options->rate.count != 0)
                (void)snprintf(rate, sizeof rate, ", %llu trips a second", (unsigned long long)options->rate.of[0]);
            struct contest *contest = programme_contest(&programme, "latency, %s, %s%s", rows_bytes(bytes.of[i], text),
                                                        waits[w], rate);
            for (const struct kind *kind = kinds; kind->word != NULL; kind++) {
                struct bench_work work = kinds_work(kind->shape, kinds_wait(waits[w]), bytes.of[i], 1, 1, 1,
                                                    options->capacity.of[0]);
                work.interval_ns = options->rate.count != 0 ? 1000000000 / options->rate.of[0] : 0;
                if (options_has(&options->kind, kind->word))
                    kinds_add(&programme, contest, kind, &work, true);
            }
        }
    }
    programme_run(&programme, rows, "latency");
    programme_end(&programme, rows);
}
