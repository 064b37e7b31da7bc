/* bench/throughput.c - weir's kinds, one way: messages a second. */
#include "commands.h"
#include "kinds.h"

static void plan_kind(struct programme *programme, const struct kind *kind, const char *wait, uint64_t batch)
{
    const struct options *options = programme->options;
    const struct options_numbers bytes = options->quick ? OPTIONS_OR(options->bytes, 64, 1024)
                                                        : OPTIONS_OR(options->bytes, 8, 64, 256, 1024, 4096, 65536, 1048576);
    const struct options_numbers producers = OPTIONS_OR(options->producers, 2), consumers = OPTIONS_OR(options->consumers, 2);
    for (unsigned i = 0; i < bytes.count; i++) {
        for (unsigned p = 0; p < (kind->producers ? producers.count : 1); p++) {
            for (unsigned c = 0; c < (kind->consumers ? consumers.count : 1); c++) {
                char text[16];
                struct bench_work work = kinds_work(kind->shape, kinds_wait(wait), bytes.of[i], batch,
                                                    kind->producers ? producers.of[p] : 1,
                                                    kind->consumers ? consumers.of[c] : 1, options->capacity.of[0]);
                struct contest *contest =
                    programme_contest(programme, "throughput, %s, %s, %u+%u, %s, %s", kind->word,
                                      rows_bytes(bytes.of[i], text), work.producers, work.consumers, wait,
                                      batch == 1 ? "one at a time" : "in batches");
                kinds_add(programme, contest, kind, &work, false);
            }
        }
    }
}

void command_throughput(const struct options *options, struct rows *rows)
{
    static struct programme programme;
    programme_begin(&programme, options);
    const struct options_numbers batch = OPTIONS_OR(options->batch, 1, 32);
    for (const struct kind *kind = kinds; kind->word != NULL; kind++)
        for (unsigned i = 0; options_has(&options->kind, kind->word) && i < batch.count; i++)
            for (unsigned w = 0; w < (options->wait.count != 0 ? options->wait.count : 1); w++)
                plan_kind(&programme, kind, options->wait.count != 0 ? options->wait.of[w] : "spin", batch.of[i]);
    programme_run(&programme, rows, "throughput");
    programme_end(&programme, rows);
}
