/* tests/ipc/blocked_calls.h - every call that waits, in front of a channel of any kind where it has to. */
#ifndef WEIR_TESTS_BLOCKED_CALLS_H
#define WEIR_TESTS_BLOCKED_CALLS_H

#include "kinds_help.h"

enum blocked_how {
    BLOCKED_RECEIVE,
    BLOCKED_RECEIVE_MORE,
    BLOCKED_PEEK,
    BLOCKED_CONSUMER_ALONE, /* wait_peer */
    BLOCKED_SEND,
    BLOCKED_SEND_MORE,
    BLOCKED_RESERVE,
    BLOCKED_ARRAY,
    BLOCKED_PIECES,
    BLOCKED_DRAIN,
    BLOCKED_PRODUCER_ALONE,
    BLOCKED_HOWS
};

struct blocked {
    const struct kind_row *kind;
    enum blocked_how how;
    weir_channel *p, *c; /* NULL: it is not there */
    weir_channel *own;   /* on which the call is made */
    uint64_t sent;       /* numbered from 1, and not received */
    weir_status none;    /* what the call returns with WEIR_NOWAIT */
};

#define BLOCKED_NAME "blocked"

/* False where that kind's call never waits. */
static inline bool blocked_open(struct blocked *b, const struct kind_row *k, enum blocked_how how, weir_wait wait)
{
    bool sends = how >= BLOCKED_SEND && how <= BLOCKED_PIECES;
    if (sends && !k->waits)
        return false;
    *b = (struct blocked){ .kind = k, .how = how, .none = sends || how == BLOCKED_DRAIN ? WEIR_FULL : WEIR_EMPTY };
    weir_channel_options options = { .kind = k->kind, .wait = wait };
    if (how != BLOCKED_PRODUCER_ALONE)
        CHECK_OK(weir_channel_open(&b->c, BLOCKED_NAME, WEIR_CONSUMER, &options));
    options.capacity = 4096;
    if (how != BLOCKED_CONSUMER_ALONE)
        CHECK_OK(weir_channel_open(&b->p, BLOCKED_NAME, WEIR_PRODUCER, &options));
    b->own = how <= BLOCKED_CONSUMER_ALONE ? b->c : b->p;
    if (b->c != NULL && b->p != NULL) /* so that it is attached */
        CHECK_STATUS(receive_nothing(b->c, WEIR_NOWAIT), WEIR_EMPTY);
    weir_status last;
    if (sends)
        b->sent = send_until_full(b->p, 1, &last) - 1;
    if (how == BLOCKED_DRAIN)
        CHECK_OK(send_id(b->p, ++b->sent, WEIR_NOWAIT));
    return true;
}

static inline weir_status blocked_call(struct blocked *b, weir_timeout timeout)
{
    uint64_t id = b->sent + 1, ids[3] = { id, id + 1, id + 2 }, got;
    weir_piece pieces[2] = { { &id, 4 }, { (unsigned char *)&id + 4, 4 } };
    const void *msg = NULL;
    void *slot = NULL;
    uint32_t len = 77, sent = 77;
    weir_status status;
    switch (b->how) {
    case BLOCKED_RECEIVE: return weir_receive(b->own, &got, sizeof got, &len, timeout);
    case BLOCKED_RECEIVE_MORE: return weir_receive_more(b->own, &got, sizeof got, &len, timeout);
    case BLOCKED_PEEK: return weir_peek(b->own, &msg, &len, timeout);
    case BLOCKED_SEND: return weir_send(b->own, &id, sizeof id, timeout);
    case BLOCKED_SEND_MORE: return weir_send_more(b->own, &id, sizeof id, timeout);
    case BLOCKED_RESERVE: return weir_reserve(b->own, sizeof id, &slot, timeout);
    case BLOCKED_ARRAY:
        status = weir_send_array(b->own, ids, 8, 3, &sent, timeout);
        CHECK(status == WEIR_OK || sent == 0);
        return status;
    case BLOCKED_PIECES: return weir_send_pieces(b->own, pieces, 2, timeout);
    case BLOCKED_DRAIN: return weir_channel_drain(b->own, timeout);
    default: return weir_channel_wait_peer(b->own, timeout);
    }
}

/* What it waits for comes. */
static inline void blocked_end(struct blocked *b)
{
    weir_channel_options options = { .kind = b->kind->kind };
    if (b->p == NULL) {
        CHECK_OK(weir_channel_open(&b->p, BLOCKED_NAME, WEIR_PRODUCER, &options));
    } else if (b->c == NULL) {
        CHECK_OK(weir_channel_open(&b->c, BLOCKED_NAME, WEIR_CONSUMER, &options));
    } else if (b->own == b->c) {
        CHECK_OK(send_id(b->p, 1, WEIR_NOWAIT));
    } else {
        for (uint64_t id = 1; id <= b->sent; id++)
            receive_id(b->c, id);
    }
}

/* The same, while no call is under way: those that were made, and ended with nothing, have sent nothing. */
static inline void blocked_end_unsent(struct blocked *b)
{
    blocked_end(b);
    if (b->own == b->p && b->how != BLOCKED_PRODUCER_ALONE)
        CHECK_STATUS(receive_nothing(b->c, WEIR_NOWAIT), WEIR_EMPTY);
}

static inline void blocked_close(struct blocked *b)
{
    CHECK_OK(weir_channel_close(b->p));
    CHECK_OK(weir_channel_close(b->c));
}

#define FOR_EACH_BLOCKED(b, wait)                                                                                      \
    FOR_EACH_KIND(k)                                                                                                   \
        for (int how = 0; how < BLOCKED_HOWS; how++)                                                                   \
            if (!blocked_open((b), k, (enum blocked_how)how, (wait)))                                                  \
                continue;                                                                                              \
            else

#endif
