/* bench/scale.c - weir, and more of everything: producers, consumers, channels, bytes, capacity. */
#include "commands.h"
#include "kinds.h"
#include "startup.h"
#include "systems.h"

#include <stdio.h>

/* Of the kinds that may have several: more and more of them. */
static void plan_sides(struct programme *programme, const struct kind *kind, const struct options_numbers *sides)
{
    for (unsigned i = 0; i < sides->count; i++) {
        uint64_t n = sides->of[i];
        struct bench_work work = kinds_work(kind->shape, BENCH_SPIN, 64, 1, kind->producers ? n : 1,
                                            kind->consumers ? n : 1, programme->options->capacity.of[0]);
        kinds_add(programme, programme_contest(programme, "scaling, %s, 64 B, %u+%u", kind->word, work.producers,
                                               work.consumers), kind, &work, false);
    }
}

static void plan_capacities(struct programme *programme, const struct options_numbers *capacities)
{
    for (unsigned i = 0; i < capacities->count; i++) {
        char text[16];
        struct bench_work work = kinds_work(BENCH_SPSC, BENCH_SPIN, 64, 1, 1, 1, capacities->of[i]);
        kinds_add(programme, programme_contest(programme, "scaling, spsc, 64 B, capacity %s",
                                               rows_bytes(capacities->of[i], text)), &kinds[0], &work, false);
    }
}

static void plan_bytes(struct programme *programme, const struct options_numbers *bytes)
{
    for (unsigned i = 0; i < bytes->count; i++) {
        char text[16];
        struct bench_work work = kinds_work(BENCH_SPSC, BENCH_SPIN, bytes->of[i], 1, 1, 1, UINT64_C(4) << 20);
        kinds_add(programme, programme_contest(programme, "scaling, spsc, %s, capacity 4 MiB",
                                               rows_bytes(bytes->of[i], text)), &kinds[0], &work, false);
    }
}

static void plan_channels(struct programme *programme, const struct options_numbers *channels)
{
    for (unsigned i = 0; i < channels->count; i++) {
        struct bench_work work = kinds_work(BENCH_SPSC, BENCH_SPIN, 64, 1, 1, 1, 4096);
        work.channels = (uint32_t)channels->of[i];
        contest_add(programme, programme_contest(programme, "scaling, %u channels, 64 B", work.channels),
                    &bench_weir_channels, &work, false);
    }
}

void command_scale(const struct options *options, struct rows *rows)
{
    static struct programme programme;
    programme_begin(&programme, options);
    const struct options_numbers sides = options->quick ? OPTIONS_OR(options->producers, 2, 8)
                                                        : OPTIONS_OR(options->producers, 1, 2, 4, 8, 16, 32);
    const struct options_numbers channels = options->quick ? OPTIONS_OR(options->channels, 1, 100)
                                                           : OPTIONS_OR(options->channels, 1, 10, 100, 1000, 10000);
    const struct options_numbers capacities =
        options->quick ? OPTIONS_OR(options->capacity, 65536, 1048576)
                       : OPTIONS_OR(options->capacity, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216);
    const struct options_numbers bytes =
        options->quick ? OPTIONS_OR(options->bytes, 64, 1024)
                       : OPTIONS_OR(options->bytes, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384, 65536, 262144, 1048576);
    for (const struct kind *kind = kinds; kind->word != NULL; kind++)
        if ((kind->producers || kind->consumers) && options_has(&options->kind, kind->word))
            plan_sides(&programme, kind, &sides);
    plan_capacities(&programme, &capacities);
    plan_bytes(&programme, &bytes);
    plan_channels(&programme, &channels);
    programme_run(&programme, rows, "scale");
    startup_memory(&programme, &capacities, rows);
    startup_times(&programme, rows);
    programme_end(&programme, rows);
}
