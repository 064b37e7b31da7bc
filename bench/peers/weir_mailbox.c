/* bench/peers/weir_mailbox.c - our mailboxes: senders to one owner, who answers through a mailbox of theirs (round trips). */
#include "../loops.h"

#include <weir/weir.h>

#include <stdio.h>

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
    char name[64];
    (void)snprintf(name, sizeof name, "Local/%s", end->link->name);
    weir_mailbox_options options = {
        .capacity = work->capacity,
        .message_bytes = work->bytes,
        .wait = work->wait == BENCH_SLEEP ? WEIR_WAIT_SLEEP : WEIR_WAIT_SPIN,
    };
    weir_sender *sender = NULL;
    weir_mailbox *mailbox = NULL;
    weir_status status = end->produces ? weir_sender_open(&sender, name, NULL, &options)
                                       : weir_mailbox_open(&mailbox, name, &options);
    end->priv = end->produces ? (void *)sender : (void *)mailbox;
    return status == WEIR_OK || refused(end, status);
}

static void close_end(struct bench_end *end)
{
    if (end->produces)
        (void)weir_sender_close(end->priv);
    else
        (void)weir_mailbox_close(end->priv);
}

BENCH_INLINE bool send_one(struct bench_end *end, const void *msg, uint32_t bytes)
{
    weir_status status = weir_sender_send(end->priv, 0, 0, msg, bytes, WEIR_FOREVER);
    return WEIR_LIKELY(status == WEIR_OK) || refused(end, status);
}

BENCH_INLINE bool receive_one(struct bench_end *end, void *buffer, uint32_t bytes)
{
    weir_mail mail;
    weir_status status = weir_mailbox_receive(end->priv, &mail, buffer, bytes, WEIR_FOREVER);
    return WEIR_LIKELY(status == WEIR_OK) || refused(end, status);
}

BENCH_SIDE(produce, bench_produce_copies, send_one)
BENCH_SIDE(consume, bench_consume_copies, receive_one)
BENCH_TRIPS(ping, bench_ping_copies, send_one, receive_one)
BENCH_TRIPS(pong, bench_pong_copies, send_one, receive_one)

const struct bench_peer bench_weir_mailbox = {
    .name = "weir-mailbox", .what = "mailbox: senders to one owner",
    .can = BENCH_MPSC | BENCH_SPIN | BENCH_SLEEP | BENCH_NO_PACING | BENCH_LATENCY,
    .open = open_end, .produce = produce, .consume = consume, .ping = ping, .pong = pong, .close = close_end,
};
