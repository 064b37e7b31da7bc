/* bench/peers/weir.c - our channels, of every kind; copying calls, and those in place. */
#include "../loops.h"

#include <weir/weir.h>

#include <stdio.h>
#include <stdlib.h>

struct system {
    struct bench_peer peer; /* first: a link has its address */
    weir_kind kind;
    bool full_fences;
};

/* What a kernel without asymmetric fences leaves: the senders fence.  The program is linked with --wrap. */
static bool full_fences;
bool __real_weir_os_can_fence_others(void);
bool __wrap_weir_os_can_fence_others(void);
bool __wrap_weir_os_can_fence_others(void) { return __real_weir_os_can_fence_others() && !full_fences; }

static weir_channel *channel_of(const struct bench_end *end) { return end->priv; }

static bool refused(struct bench_end *end, weir_status status)
{
    static char text[200];
    (void)snprintf(text, sizeof text, "%s: %s", weir_status_text(status), weir_error_detail());
    bench_fail(end, text);
    return false;
}

static bool open_end(struct bench_end *end)
{
    const struct bench_work *work = end->work;
    weir_channel *channel;
    char name[64];
    (void)snprintf(name, sizeof name, "Local/%s", end->link->name);
    const struct system *system = (const struct system *)end->link->peer;
    full_fences = system->full_fences;
    weir_channel_options options = {
        .kind = system->kind,
        .capacity = work->capacity,
        .record_bytes = work->bytes,
        .wait = work->wait == BENCH_SLEEP ? WEIR_WAIT_SLEEP : WEIR_WAIT_SPIN,
    };
    weir_status status = weir_channel_open(&channel, name, end->produces ? WEIR_PRODUCER : WEIR_CONSUMER, &options);
    if (status != WEIR_OK)
        return refused(end, status);
    end->priv = channel;
    return true;
}

static void close_end(struct bench_end *end) { (void)weir_channel_close(channel_of(end)); }

/* Consumers that share learn from each other that all was received, so they look up now and then. */
static weir_timeout patience(const struct bench_end *end)
{
    return bench_shares(end) ? WEIR_MILLISECONDS(BENCH_LOOK_UP_MS) : WEIR_FOREVER;
}

/* A status that is not OK: is it but "nothing yet"?  false to the loop either way; of an error it then leaves. */
static __attribute__((noinline)) bool nothing(struct bench_end *end, weir_status status)
{
    if (status != WEIR_EMPTY && status != WEIR_TIMEOUT && !(status == WEIR_CLOSED && patience(end) != WEIR_FOREVER))
        (void)refused(end, status);
    return false;
}

/* What was overwritten before it was read: of the kinds that do not wait for their readers. */
static void note_lost(struct bench_end *end)
{
    weir_message message;
    if ((end->link->peer->can & BENCH_LOSSY) != 0 && weir_channel_message(channel_of(end), &message) == WEIR_OK)
        end->lost += message.lost;
}

BENCH_INLINE bool send_one(struct bench_end *end, const void *msg, uint32_t bytes)
{
    weir_status status = weir_send(channel_of(end), msg, bytes, WEIR_FOREVER);
    return WEIR_LIKELY(status == WEIR_OK) || nothing(end, status);
}

BENCH_INLINE bool receive_one(struct bench_end *end, void *buffer, uint32_t bytes)
{
    uint32_t len;
    weir_status status = weir_receive(channel_of(end), buffer, bytes, &len, patience(end));
    if (WEIR_UNLIKELY(status != WEIR_OK))
        return nothing(end, status);
    note_lost(end);
    return true;
}

/* The newest value: what its reader did not get is what lies between two numbers. */
BENCH_INLINE bool receive_latest(struct bench_end *end, void *buffer, uint32_t bytes)
{
    uint32_t len;
    weir_status status = weir_receive(channel_of(end), buffer, bytes, &len, WEIR_FOREVER);
    if (WEIR_UNLIKELY(status != WEIR_OK))
        return nothing(end, status);
    end->lost = *(const uint64_t *)buffer + 1 - ++end->received;
    return true;
}

BENCH_INLINE uint32_t send_many(struct bench_end *end, const void *msgs, uint32_t bytes, uint32_t count)
{
    uint32_t sent = 0;
    weir_status status = weir_send_array(channel_of(end), msgs, bytes, count, &sent, WEIR_FOREVER);
    if (WEIR_UNLIKELY(status != WEIR_OK))
        (void)nothing(end, status);
    return sent;
}

BENCH_INLINE uint32_t receive_many(struct bench_end *end, void *msgs, uint32_t bytes, uint32_t count)
{
    uint32_t len, got = 0;
    weir_timeout timeout = patience(end);
    for (; got < count; got++, timeout = WEIR_NOWAIT) {
        weir_status status = weir_receive_more(channel_of(end), (unsigned char *)msgs + (size_t)got * bytes, bytes, &len,
                                               timeout);
        if (WEIR_UNLIKELY(status != WEIR_OK)) {
            if (got == 0)
                (void)nothing(end, status);
            break;
        }
        note_lost(end);
    }
    (void)weir_release(channel_of(end));
    return got;
}

BENCH_INLINE void *reserve(struct bench_end *end, uint32_t bytes)
{
    void *slot = NULL;
    weir_status status = weir_reserve(channel_of(end), bytes, &slot, WEIR_FOREVER);
    if (WEIR_UNLIKELY(status != WEIR_OK))
        (void)nothing(end, status);
    return slot;
}

BENCH_INLINE void commit(struct bench_end *end, void *slot, uint32_t bytes, bool more)
{
    (void)slot;
    weir_status status = more ? weir_commit_more(channel_of(end), bytes) : weir_commit(channel_of(end), bytes);
    if (WEIR_UNLIKELY(status != WEIR_OK))
        (void)nothing(end, status);
}

/* Who holds messages may be whom the producer waits for; or it holds as many as it may (FULL). */
BENCH_INLINE const void *peek(struct bench_end *end, uint32_t bytes)
{
    const void *msg = NULL;
    uint32_t len;
    (void)bytes;
    weir_status status = weir_peek(channel_of(end), &msg, &len, end->work->batch == 1 ? patience(end) : WEIR_NOWAIT);
    if (WEIR_UNLIKELY(status == WEIR_EMPTY || status == WEIR_FULL)) {
        (void)weir_release(channel_of(end));
        status = weir_peek(channel_of(end), &msg, &len, patience(end));
    }
    if (WEIR_UNLIKELY(status != WEIR_OK))
        (void)nothing(end, status);
    return msg;
}

BENCH_INLINE void release(struct bench_end *end) { (void)weir_release(channel_of(end)); }

#include "weir_sides.h"

BENCH_SIDE(consume_latest, bench_consume_copies, receive_latest)

#define WAITS (BENCH_SPIN | BENCH_SLEEP | BENCH_NO_PACING)
#define SYSTEM(label, words, kind_of, abilities, way)                                                                  \
    {                                                                                                                  \
        {                                                                                                              \
            .name = label, .what = words, .can = WAITS | (abilities), .open = open_end, .produce = produce_##way,      \
            .consume = consume_##way, .ping = ping_##way, .pong = pong_##way, .close = close_end,                      \
        },                                                                                                             \
        kind_of, false                                                                                                 \
    }

static const struct system systems[] = {
    SYSTEM("weir", "channel, spsc, copying calls", WEIR_SPSC, BENCH_SPSC | BENCH_BATCH | BENCH_LATENCY, copies),
    SYSTEM("weir-in-place", "channel, spsc, reserve and peek", WEIR_SPSC, BENCH_SPSC | BENCH_BATCH | BENCH_LATENCY,
           in_place),
    SYSTEM("weir-mpsc", "channel, mpsc", WEIR_MPSC, BENCH_MPSC | BENCH_BATCH | BENCH_LATENCY, copies),
    SYSTEM("weir-mpsc-ordered", "channel, mpsc-ordered", WEIR_MPSC_ORDERED, BENCH_MPSC | BENCH_LATENCY, copies),
    SYSTEM("weir-mpmc", "channel, mpmc", WEIR_MPMC, BENCH_MPMC | BENCH_BATCH | BENCH_LATENCY, copies),
    SYSTEM("weir-mpmc-in-place", "channel, mpmc, reserve and peek", WEIR_MPMC, BENCH_MPMC | BENCH_BATCH | BENCH_LATENCY,
           in_place),
    SYSTEM("weir-gated", "channel, broadcast-gated", WEIR_BROADCAST_GATED, BENCH_BROADCAST | BENCH_BATCH | BENCH_LATENCY,
           copies),
    SYSTEM("weir-gated-in-place", "channel, broadcast-gated, reserve and peek", WEIR_BROADCAST_GATED,
           BENCH_BROADCAST | BENCH_BATCH | BENCH_LATENCY, in_place),
    SYSTEM("weir-broadcast", "channel, broadcast (lossy)", WEIR_BROADCAST, BENCH_BROADCAST | BENCH_LOSSY, copies),
};

static const struct system latest = {
    .peer = { .name = "weir-latest", .what = "channel, latest: the newest value",
              .can = WAITS | BENCH_BROADCAST | BENCH_LOSSY, .open = open_end, .produce = produce_copies,
              .consume = consume_latest, .close = close_end },
    .kind = WEIR_LATEST,
};

static const struct system fenced = {
    .peer = { .name = "weir-full-fences", .what = "channel, spsc, without asymmetric fences",
              .can = WAITS | BENCH_SPSC | BENCH_BATCH | BENCH_LATENCY, .open = open_end, .produce = produce_copies,
              .consume = consume_copies, .ping = ping_copies, .pong = pong_copies, .close = close_end },
    .kind = WEIR_SPSC, .full_fences = true,
};

const struct bench_peer *bench_weir(uint32_t index)
{
    const uint32_t count = sizeof systems / sizeof systems[0];
    return index < count ? &systems[index].peer : index == count ? &latest.peer : index == count + 1 ? &fenced.peer : NULL;
}
