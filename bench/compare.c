/* bench/compare.c - weir and the peers that are installed: the same work, in the same run, turn about. */
#include "commands.h"
#include "compare.h"
#include "systems.h"

#include <stdio.h>

struct contest *compare_all(struct programme *programme, const char *words, const struct bench_work *work, bool latency)
{
    char text[16];
    const struct bench_peer *peer;
    struct contest *contest =
        programme_contest(programme, "%s, %s, %s, %u+%u, %s%s", latency ? "latency" : "throughput", words,
                          rows_bytes(work->bytes, text), work->producers, work->consumers,
                          work->wait == BENCH_SPIN ? "spin" : "sleep", work->batch > 1 ? ", in batches" : "");
    for (unsigned i = 0; (peer = systems_at(i)) != NULL; i++)
        contest_add(programme, contest, peer, work, latency);
    return contest;
}

static void plan_size(struct programme *programme, uint64_t bytes, bool crowds)
{
    static const struct {
        const char *words;
        uint32_t shape, wait, batch, producers, consumers;
        bool latency, crowd;
    } plans[] = {
        { "one to one", BENCH_SPSC, BENCH_SPIN, 1, 1, 1, false, false },
        { "one to one", BENCH_SPSC, BENCH_SPIN, 32, 1, 1, false, false },
        { "one to one", BENCH_SPSC, BENCH_SLEEP, 1, 1, 1, false, false },
        { "many to one", BENCH_MPSC, BENCH_SPIN, 1, 2, 1, false, true },
        { "many to one", BENCH_MPSC, BENCH_SPIN, 1, 8, 1, false, true },
        { "many to many", BENCH_MPMC, BENCH_SPIN, 1, 2, 2, false, true },
        { "many to many", BENCH_MPMC, BENCH_SPIN, 1, 4, 4, false, true },
        { "there and back", BENCH_SPSC, BENCH_SPIN, 1, 1, 1, true, false },
        { "there and back", BENCH_SPSC, BENCH_SLEEP, 1, 1, 1, true, false },
    };
    const struct options *options = programme->options;
    for (size_t i = 0; i < sizeof plans / sizeof plans[0]; i++) {
        struct bench_work work = kinds_work(plans[i].shape, plans[i].wait, bytes, plans[i].batch, plans[i].producers,
                                            plans[i].consumers, options->capacity.of[0]);
        bool wanted = options_has(&options->wait, plans[i].wait == BENCH_SPIN ? "spin" : "sleep");
        bool usual = options->bytes.count != 0 || (plans[i].latency ? bytes <= 4096 : bytes >= 8);
        if (wanted && usual && (crowds || !plans[i].crowd))
            (void)compare_all(programme, plans[i].words, &work, plans[i].latency);
    }
}

void command_peers(const struct options *options, struct rows *rows)
{
    static struct programme programme;
    programme_begin(&programme, options);
    const struct options_numbers bytes = options->quick ? OPTIONS_OR(options->bytes, 64, 1024)
                                                        : OPTIONS_OR(options->bytes, 8, 64, 256, 1024, 4096, 65536);
    for (unsigned i = 0; i < bytes.count; i++)
        plan_size(&programme, bytes.of[i], options->bytes.count != 0 || bytes.of[i] == 64 || bytes.of[i] == 1024);
    for (unsigned i = 0; i < programme.count; i++)
        contest_rows(&programme, programme.contest[i], rows,
                     programme.contest[i]->count != 0 && programme.contest[i]->of[0].latency ? "latency" : "throughput");
    programme_end(&programme, rows);
}
