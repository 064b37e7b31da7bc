/* bench/peers/weir_channels.c - many of our channels between two processes, a message through each in turn. */
#include "../loops.h"
#include "../systems.h"

#include <weir/weir.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

struct many {
    uint32_t count, next;
    weir_channel *of[];
};

static struct many *many_of(const struct bench_end *end) { return end->priv; }

static bool refused(struct bench_end *end, weir_status status)
{
    static char text[200];
    (void)snprintf(text, sizeof text, "%s: %s", weir_status_text(status), weir_error_detail());
    bench_fail(end, text);
    return false;
}

/* Each channel has a descriptor. */
static void allow_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void close_end(struct bench_end *end)
{
    struct many *many = many_of(end);
    for (uint32_t i = 0; many != NULL && i < many->count; i++)
        (void)weir_channel_close(many->of[i]);
    free(many);
}

static bool open_end(struct bench_end *end)
{
    uint32_t wanted = end->work->channels > 1 ? end->work->channels : 1;
    struct many *many = calloc(1, sizeof *many + wanted * sizeof many->of[0]);
    if (many == NULL)
        return false;
    end->priv = many;
    allow_descriptors();
    for (; many->count < wanted; many->count++) {
        char name[80];
        weir_channel_options options = { .capacity = end->work->capacity, .wait = WEIR_WAIT_SPIN };
        (void)snprintf(name, sizeof name, "Local/%s.%u", end->link->name, many->count);
        weir_status status = weir_channel_open(&many->of[many->count], name,
                                               end->produces ? WEIR_PRODUCER : WEIR_CONSUMER, &options);
        if (status != WEIR_OK) {
            (void)refused(end, status);
            close_end(end);
            return false;
        }
    }
    return true;
}

BENCH_INLINE weir_channel *next_of(struct many *many)
{
    weir_channel *channel = many->of[many->next++];
    if (many->next == many->count)
        many->next = 0;
    return channel;
}

BENCH_INLINE bool send_one(struct bench_end *end, const void *msg, uint32_t bytes)
{
    weir_status status = weir_send(next_of(many_of(end)), msg, bytes, WEIR_FOREVER);
    return WEIR_LIKELY(status == WEIR_OK) || refused(end, status);
}

BENCH_INLINE bool receive_one(struct bench_end *end, void *buffer, uint32_t bytes)
{
    uint32_t len;
    weir_status status = weir_receive(next_of(many_of(end)), buffer, bytes, &len, WEIR_FOREVER);
    return WEIR_LIKELY(status == WEIR_OK) || refused(end, status);
}

static void produce(struct bench_end *end) { BENCH_BY_SIZE(bench_produce_copies, end, send_one); }
static void consume(struct bench_end *end) { BENCH_BY_SIZE(bench_consume_copies, end, receive_one); }

const struct bench_peer bench_weir_channels = {
    .name = "weir-channels", .what = "many channels, a message through each in turn",
    .can = BENCH_SPSC | BENCH_SPIN | BENCH_NO_PACING, .open = open_end, .produce = produce, .consume = consume,
    .close = close_end,
};
