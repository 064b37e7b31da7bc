/* bench/loops.h - the work, made of an adaptor's calls: every message is filled by who sends it, read whole by who receives
 * it, and its number checked.
 *
 * An adaptor passes its calls, static inline functions, to these, and the compiler puts them in: a system pays for its own
 * instructions and for no call in between.  Each is compiled for the common sizes as constants, as a program has it that
 * sends a struct. */
#ifndef WEIR_BENCH_LOOPS_H
#define WEIR_BENCH_LOOPS_H

#include "peer.h"
#include "wide.h"

#include <stddef.h>

#define BENCH_INLINE static inline __attribute__((always_inline))
#define BENCH_ID_SHIFT 48 /* a message's number is its producer's index << 48 | how many that one has sent before */
#define BENCH_MARK 1024   /* messages between two looks whether the parent has given up */
#define BENCH_LOCAL 256   /* bytes of a message that a program would have on its stack */

/* What an adaptor's calls do.  None waits where the system spins: false, NULL or 0 is "full" or "empty", and the loop
 * waits.  Where it sleeps, the call does. */
typedef bool bench_send(struct bench_end *end, const void *msg, uint32_t bytes);
typedef bool bench_receive(struct bench_end *end, void *buffer, uint32_t bytes);
typedef uint32_t bench_send_many(struct bench_end *end, const void *msgs, uint32_t bytes, uint32_t count);
typedef uint32_t bench_receive_many(struct bench_end *end, void *msgs, uint32_t bytes, uint32_t count);
typedef void *bench_reserve(struct bench_end *end, uint32_t bytes); /* full: publishes what is open, and NULL */
typedef void bench_commit(struct bench_end *end, void *slot, uint32_t bytes, bool more); /* more: need not be visible yet */
typedef const void *bench_peek(struct bench_end *end, uint32_t bytes); /* the next one; those before stay */
typedef void bench_release(struct bench_end *end);                     /* all that were peeked */

/* BENCH_BY_SIZE(LOOP, end, calls...): LOOP with the message's size as a constant where it is a common one. */
#define BENCH_BY_SIZE(loop, end, ...)                                                                                  \
    do {                                                                                                               \
        switch ((end)->work->bytes) {                                                                                  \
        case 8: loop(end, 8, __VA_ARGS__); break;                                                                      \
        case 64: loop(end, 64, __VA_ARGS__); break;                                                                    \
        case 256: loop(end, 256, __VA_ARGS__); break;                                                                  \
        case 1024: loop(end, 1024, __VA_ARGS__); break;                                                                \
        case 4096: loop(end, 4096, __VA_ARGS__); break;                                                                \
        default: loop(end, (end)->work->bytes, __VA_ARGS__);                                                           \
        }                                                                                                              \
    } while (0)

BENCH_INLINE void bench_fill(void *msg, uint64_t number, uint32_t bytes)
{
    uint64_t *word = (uint64_t *)msg;
    if (bytes >= BENCH_WIDE) {
        bench_fill_wide(msg, bytes, number);
        return;
    }
    for (uint32_t i = 0; i < bytes / 8; i++)
        word[i] = number;
}

/* Reads all of it.  Its number, or UINT64_MAX if the words differ. */
BENCH_INLINE uint64_t bench_read(const void *msg, uint32_t bytes)
{
    const uint64_t *word = (const uint64_t *)msg;
    uint64_t number = word[0], differ = 0;
    if (bytes >= BENCH_WIDE)
        return WEIR_LIKELY(bench_differ_wide(msg, bytes, number) == 0) ? number : UINT64_MAX;
    for (uint32_t i = 1; i < bytes / 8; i++)
        differ |= word[i] ^ number;
    return WEIR_LIKELY(differ == 0) ? number : UINT64_MAX;
}

/* Between two looks.  false: leave. */
BENCH_INLINE bool bench_wait(struct bench_end *end, uint32_t *turn)
{
    for (uint32_t i = 0; i < end->work->pauses; i++)
        weir_pause();
    return WEIR_LIKELY(++*turn % 64 != 0) || bench_waited(end);
}

/* ---- producers ---- */

BENCH_INLINE uint64_t bench_first(const struct bench_end *end)
{
    return (uint64_t)end->index << BENCH_ID_SHIFT;
}

BENCH_INLINE void bench_produce_copies(struct bench_end *end, uint32_t bytes, bench_send *send)
{
    uint64_t local[BENCH_LOCAL / 8], number = bench_first(end), last = number + end->work->messages;
    void *msg = bytes <= BENCH_LOCAL ? (void *)local : (void *)end->buffer;
    for (; number < last; number++) {
        uint32_t turn = 0;
        bench_fill(msg, number, bytes);
        while (!send(end, msg, bytes))
            if (!bench_wait(end, &turn))
                return;
    }
}

BENCH_INLINE void bench_produce_arrays(struct bench_end *end, uint32_t bytes, bench_send_many *send)
{
    uint64_t number = bench_first(end), last = number + end->work->messages;
    while (number < last) {
        uint64_t left = last - number;
        uint32_t count = left < end->work->batch ? (uint32_t)left : end->work->batch, sent = 0, turn = 0;
        for (uint32_t i = 0; i < count; i++)
            bench_fill(end->buffer + (size_t)i * bytes, number + i, bytes);
        for (;;) {
            sent += send(end, end->buffer + (size_t)sent * bytes, bytes, count - sent);
            if (sent == count)
                break;
            if (!bench_wait(end, &turn))
                return;
        }
        number += count;
    }
}

BENCH_INLINE void bench_produce_in_place(struct bench_end *end, uint32_t bytes, bench_reserve *reserve,
                                         bench_commit *commit)
{
    uint64_t number = bench_first(end), last = number + end->work->messages;
    uint32_t batch = end->work->batch, open = 0;
    for (; number < last; number++) {
        uint32_t turn = 0;
        void *slot;
        while ((slot = reserve(end, bytes)) == NULL) {
            open = 0;
            if (!bench_wait(end, &turn))
                return;
        }
        bench_fill(slot, number, bytes);
        open = open + 1 == batch || number + 1 == last ? 0 : open + 1;
        commit(end, slot, bytes, open != 0);
    }
}

/* ---- consumers ---- */

/* What one consumer keeps while it receives. */
struct bench_seen {
    uint64_t next[BENCH_SIDES_MAX]; /* of each producer */
    uint64_t got, told, total;      /* told: of what it got, added to the sum that consumers share */
    uint64_t mark;                  /* how many it has when it looks at the clock, or whether the parent has given up */
    bool exact;                     /* it gets every message, so the next number is known */
};

BENCH_INLINE void bench_consume_begin(struct bench_end *end, struct bench_seen *seen)
{
    bool shared = end->work->shape == BENCH_MPMC && end->work->consumers > 1;
    seen->got = seen->told = 0;
    seen->total = shared ? UINT64_MAX : end->work->producers * end->work->messages;
    seen->exact = !shared && (end->link->peer->can & BENCH_LOSSY) == 0;
    for (uint32_t i = 0; i < BENCH_SIDES_MAX; i++)
        seen->next[i] = (uint64_t)i << BENCH_ID_SHIFT;
    seen->mark = end->work->warm_up != 0 ? end->work->warm_up : BENCH_MARK;
    end->begin_ns = bench_now_ns();
}

/* A system whose calls return never waits in a loop of ours: so it is asked here, and what it has done by then counts. */
static __attribute__((noinline)) bool bench_consume_mark(struct bench_end *end, struct bench_seen *seen)
{
    if (seen->got == end->work->warm_up)
        end->begin_ns = bench_now_ns();
    seen->mark = seen->got + BENCH_MARK;
    return bench_goes_on(end);
}

/* A message that was received: is it whole, and not one that was to come before?  false: leave. */
BENCH_INLINE bool bench_consume_one(struct bench_end *end, struct bench_seen *seen, const void *msg, uint32_t bytes)
{
    uint64_t number = bench_read(msg, bytes);
    uint64_t *next = &seen->next[(number >> BENCH_ID_SHIFT) % BENCH_SIDES_MAX];
    if (WEIR_UNLIKELY(number != *next))
        end->wrong += seen->exact || number < *next || number == UINT64_MAX;
    *next = number + 1;
    return WEIR_LIKELY(++seen->got != seen->mark) || bench_consume_mark(end, seen);
}

/* Nothing there.  false: that was all, or leave. */
BENCH_INLINE bool bench_consume_none(struct bench_end *end, struct bench_seen *seen, uint32_t *turn)
{
    if (seen->total == UINT64_MAX) {
        bool all = bench_all_taken(end, seen->got - seen->told);
        seen->told = seen->got;
        if (all)
            return false;
    }
    return bench_wait(end, turn);
}

BENCH_INLINE void bench_consume_end(struct bench_end *end, const struct bench_seen *seen)
{
    end->end_ns = bench_now_ns();
    end->received = seen->got;
}

BENCH_INLINE void bench_consume_copies(struct bench_end *end, uint32_t bytes, bench_receive *receive)
{
    struct bench_seen seen;
    uint64_t local[BENCH_LOCAL / 8];
    void *msg = bytes <= BENCH_LOCAL ? (void *)local : (void *)end->buffer;
    bench_consume_begin(end, &seen);
    for (bool on = true; on && seen.got + end->lost < seen.total;) {
        uint32_t turn = 0;
        bool have;
        while (!(have = receive(end, msg, bytes)) && (on = bench_consume_none(end, &seen, &turn)))
            ;
        if (have)
            on = bench_consume_one(end, &seen, msg, bytes);
    }
    bench_consume_end(end, &seen);
}

BENCH_INLINE void bench_consume_arrays(struct bench_end *end, uint32_t bytes, bench_receive_many *receive)
{
    struct bench_seen seen;
    bench_consume_begin(end, &seen);
    for (bool on = true; on && seen.got + end->lost < seen.total;) {
        uint32_t turn = 0, count;
        while ((count = receive(end, end->buffer, bytes, end->work->batch)) == 0 &&
               (on = bench_consume_none(end, &seen, &turn)))
            ;
        for (uint32_t i = 0; i < count; i++)
            on &= bench_consume_one(end, &seen, end->buffer + (size_t)i * bytes, bytes);
    }
    bench_consume_end(end, &seen);
}

BENCH_INLINE void bench_consume_in_place(struct bench_end *end, uint32_t bytes, bench_peek *peek, bench_release *release)
{
    struct bench_seen seen;
    uint32_t held = 0, batch = end->work->batch;
    bench_consume_begin(end, &seen);
    for (bool on = true; on && seen.got + end->lost < seen.total;) {
        uint32_t turn = 0;
        const void *msg;
        while ((msg = peek(end, bytes)) == NULL) {
            if (held != 0)
                release(end);
            held = 0;
            if (!(on = bench_consume_none(end, &seen, &turn)))
                break;
        }
        if (msg == NULL)
            break;
        on = bench_consume_one(end, &seen, msg, bytes);
        if (++held == batch) {
            release(end);
            held = 0;
        }
    }
    if (held != 0)
        release(end);
    bench_consume_end(end, &seen);
}

/* ---- round trips ---- */

/* When a trip is to begin: when the one before has ended, or when its turn is, however late the one before was. */
BENCH_INLINE uint64_t bench_trip_begins(const struct bench_end *end, uint64_t first, uint64_t trip, double ticks_apart,
                                        uint64_t now)
{
    if (end->work->interval_ns == 0)
        return now;
    uint64_t turn = first + (uint64_t)((double)trip * ticks_apart);
    while ((int64_t)(bench_ticks() - turn) < 0)
        weir_pause();
    return turn;
}

/* What a sender that has to ask again does between its calls is the system's wait, too. */
#define BENCH_UNTIL(end, call)                                                                                         \
    do {                                                                                                               \
        for (uint32_t turn_ = 0; !(call);)                                                                             \
            if (!bench_wait(end, &turn_))                                                                              \
                return;                                                                                                \
    } while (0)

BENCH_INLINE void bench_ping_copies(struct bench_end *out, uint32_t bytes, struct bench_end *back, bench_send *send,
                                    bench_receive *receive)
{
    uint64_t local[2][BENCH_LOCAL / 8], now = bench_ticks(), first = now;
    double apart = (double)out->work->interval_ns / bench_ns_per_tick();
    void *msg = bytes <= BENCH_LOCAL ? (void *)local[0] : (void *)out->buffer;
    void *answer = bytes <= BENCH_LOCAL ? (void *)local[1] : (void *)back->buffer;
    for (uint64_t trip = 0; trip < out->work->messages; trip++) {
        uint64_t began = bench_trip_begins(out, first, trip, apart, now);
        bench_fill(msg, trip, bytes);
        BENCH_UNTIL(out, send(out, msg, bytes));
        BENCH_UNTIL(back, receive(back, answer, bytes));
        back->wrong += bench_read(answer, bytes) != trip;
        now = bench_ticks();
        if (trip >= out->work->warm_up)
            bench_trip(out, now - began);
        back->received++;
    }
}

BENCH_INLINE void bench_pong_copies(struct bench_end *back, uint32_t bytes, struct bench_end *out, bench_send *send,
                                    bench_receive *receive)
{
    uint64_t local[BENCH_LOCAL / 8];
    void *msg = bytes <= BENCH_LOCAL ? (void *)local : (void *)back->buffer;
    for (uint64_t trip = 0; trip < back->work->messages; trip++) {
        BENCH_UNTIL(back, receive(back, msg, bytes));
        back->wrong += bench_read(msg, bytes) != trip;
        back->received++;
        BENCH_UNTIL(out, send(out, msg, bytes));
    }
}

BENCH_INLINE void bench_ping_in_place(struct bench_end *out, uint32_t bytes, struct bench_end *back, bench_reserve *reserve,
                                      bench_commit *commit, bench_peek *peek, bench_release *release)
{
    uint64_t now = bench_ticks(), first = now;
    double apart = (double)out->work->interval_ns / bench_ns_per_tick();
    for (uint64_t trip = 0; trip < out->work->messages; trip++) {
        uint64_t began = bench_trip_begins(out, first, trip, apart, now);
        void *slot;
        const void *answer;
        BENCH_UNTIL(out, (slot = reserve(out, bytes)) != NULL);
        bench_fill(slot, trip, bytes);
        commit(out, slot, bytes, false);
        BENCH_UNTIL(back, (answer = peek(back, bytes)) != NULL);
        back->wrong += bench_read(answer, bytes) != trip;
        now = bench_ticks();
        release(back);
        if (trip >= out->work->warm_up)
            bench_trip(out, now - began);
        back->received++;
    }
}

BENCH_INLINE void bench_pong_in_place(struct bench_end *back, uint32_t bytes, struct bench_end *out, bench_reserve *reserve,
                                      bench_commit *commit, bench_peek *peek, bench_release *release)
{
    for (uint64_t trip = 0; trip < back->work->messages; trip++) {
        const void *msg;
        void *slot;
        BENCH_UNTIL(back, (msg = peek(back, bytes)) != NULL);
        uint64_t number = bench_read(msg, bytes);
        back->wrong += number != trip;
        back->received++;
        BENCH_UNTIL(out, (slot = reserve(out, bytes)) != NULL);
        bench_fill(slot, number, bytes);
        commit(out, slot, bytes, false);
        release(back);
    }
}

/* ---- what an adaptor writes ---- */

/* BENCH_SIDE(name, loop, calls...) is a produce or a consume, BENCH_TRIPS a ping or a pong, each one of the loops above. */
#define BENCH_SIDE(name, ...)                                                                                          \
    static void name(struct bench_end *end) { BENCH_SIDE_OF(end, __VA_ARGS__); }
#define BENCH_SIDE_OF(end, loop, ...) BENCH_BY_SIZE(loop, end, __VA_ARGS__)
#define BENCH_TRIPS(name, loop, ...)                                                                                   \
    static void name(struct bench_end *first, struct bench_end *second)                                                \
    {                                                                                                                  \
        BENCH_BY_SIZE(loop, first, second, __VA_ARGS__);                                                               \
    }

/* How many messages the queue is to hold: a power of two, as most rings need it. */
static inline uint32_t bench_slots(const struct bench_work *work)
{
    uint32_t slots = 2;
    while ((uint64_t)slots * work->bytes < work->capacity)
        slots *= 2;
    return slots;
}

/* A consumer that shares its queue must not sleep for good: another may take the last message.  So it looks up. */
#define BENCH_LOOK_UP_MS 2
static inline bool bench_shares(const struct bench_end *end)
{
    return !end->produces && end->work->shape == BENCH_MPMC && end->work->consumers > 1;
}

#endif
