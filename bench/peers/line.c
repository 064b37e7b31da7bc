/* bench/peers/line.c - the machine's own round trips: one word in one cache line, which each side changes in turn; and what a
 * message takes that comes in a line which only its sender writes, without any ring. */
#include "../loops.h"

static uint64_t memory(const struct bench_work *work)
{
    (void)work;
    return 4096;
}

static weir_atomic_u64 *flag(struct bench_end *end) { return end->link->memory; }

/* Both sides use the first link's word: the pinger's is `out`, the ponger's is `back`. */
static bool await(struct bench_end *end, uint64_t value)
{
    uint32_t turn = 0;
    while (weir_load_acq(flag(end)) != value) {
        weir_pause();
        if (++turn % 1024 == 0 && !bench_waited(end))
            return false;
    }
    return true;
}

static void ping(struct bench_end *out, struct bench_end *back)
{
    uint64_t now = bench_ticks();
    for (uint64_t trip = 0; trip < out->work->messages; trip++) {
        uint64_t began = now;
        weir_store_rel(flag(out), 2 * trip + 1);
        if (!await(out, 2 * trip + 2))
            return;
        now = bench_ticks();
        if (trip >= out->work->warm_up)
            bench_trip(out, now - began);
        back->received++;
    }
}

static void pong(struct bench_end *back, struct bench_end *out)
{
    (void)out;
    for (uint64_t trip = 0; trip < back->work->messages; trip++) {
        if (!await(back, 2 * trip + 1))
            return;
        weir_store_rel(flag(back), 2 * trip + 2);
        back->received++;
    }
}

const struct bench_peer bench_line = {
    .name = "line", .what = "one cache line, changed in turn", .can = BENCH_SPSC | BENCH_SPIN | BENCH_LATENCY,
    .memory = memory, .ping = ping, .pong = pong,
};

/* ---- a line of each direction; a line of its own for each message ---- */

#define WORDS (WEIR_LINE / 8)

static uint64_t two_lanes(const struct bench_work *work) { return 2 * work->capacity; }

/* The lines of one direction. */
struct lane {
    weir_atomic_u64 *word;
    uint64_t mask; /* how many lines, less 1 */
    bool whole; /* a message is all of its line, and the next one's is fetched once it is sent */
};

static struct lane lane_of(const struct bench_end *end, unsigned direction, bool whole)
{
    uint64_t lines = 1;
    while (2 * lines * WEIR_LINE <= end->link->work->capacity)
        lines *= 2;
    weir_atomic_u64 *word = (weir_atomic_u64 *)end->link->memory + direction * lines * WORDS;
    return (struct lane){ word, whole ? lines - 1 : 0, whole };
}

BENCH_INLINE weir_atomic_u64 *line_of(const struct lane *lane, uint64_t number)
{
    return lane->word + (number & lane->mask) * WORDS;
}

/* The word that is waited for is stored last. */
BENCH_INLINE void put_line(const struct lane *lane, uint64_t number)
{
    weir_atomic_u64 *line = line_of(lane, number);
    for (uint32_t i = WORDS - 1; lane->whole && i > 0; i--)
        weir_store_rlx(&line[i], number); /* relaxed: before the first word, which releases them */
    weir_store_rel(&line[0], number);
    if (lane->whole)
        weir_store_rlx(line_of(lane, number + 1), 0); /* relaxed: no number */
}

BENCH_INLINE bool get_line(struct bench_end *end, const struct lane *lane, uint64_t number)
{
    const weir_atomic_u64 *line = line_of(lane, number);
    uint64_t differ = 0;
    for (uint32_t turn = 0; weir_load_acq(&line[0]) != number;) {
        weir_pause();
        if (++turn % 1024 == 0 && !bench_waited(end))
            return false;
    }
    for (uint32_t i = 1; lane->whole && i < WORDS; i++)
        differ |= weir_load_rlx(&line[i]) ^ number; /* relaxed: behind the first word */
    end->wrong += differ != 0;
    return true;
}

BENCH_INLINE void ping_lines(struct bench_end *out, struct bench_end *back, bool whole)
{
    const struct lane there = lane_of(out, 0, whole), here = lane_of(out, 1, whole);
    uint64_t now = bench_ticks();
    for (uint64_t trip = 1; trip <= out->work->messages; trip++) {
        uint64_t began = now;
        put_line(&there, trip);
        if (!get_line(back, &here, trip))
            return;
        now = bench_ticks();
        if (trip > out->work->warm_up)
            bench_trip(out, now - began);
        back->received++;
    }
}

BENCH_INLINE void pong_lines(struct bench_end *back, bool whole)
{
    const struct lane there = lane_of(back, 0, whole), here = lane_of(back, 1, whole);
    for (uint64_t trip = 1; trip <= back->work->messages; trip++) {
        if (!get_line(back, &there, trip))
            return;
        back->received++;
        put_line(&here, trip);
    }
}

#define LINES(name, whole)                                                                                             \
    static void ping_##name(struct bench_end *out, struct bench_end *back) { ping_lines(out, back, whole); }           \
    static void pong_##name(struct bench_end *back, struct bench_end *out)                                             \
    {                                                                                                                  \
        (void)out;                                                                                                     \
        pong_lines(back, whole);                                                                                       \
    }

LINES(two, false)
LINES(each, true)

const struct bench_peer bench_line_two = {
    .name = "line-each-way", .what = "a word in a line of each direction", .can = BENCH_SPSC | BENCH_SPIN | BENCH_LATENCY,
    .memory = two_lanes, .ping = ping_two, .pong = pong_two,
};
const struct bench_peer bench_line_each = {
    .name = "line-each-time", .what = "a line of its own for each message of 56 bytes, prepared; no ring",
    .can = BENCH_SPSC | BENCH_SPIN | BENCH_LATENCY, .memory = two_lanes, .ping = ping_each, .pong = pong_each,
};
