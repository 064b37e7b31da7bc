/* ipc/kind_mpsc.c - many producers, a lane for each, made when it joins; one consumer. */
#include <weir/base/fail.h>
#include <weir/ipc/kind.h>

#include <stdlib.h>

#define TURN_BYTES 8192u /* of a lane in hand, before the others are looked at */

static uint64_t footprint(const struct channel_shape *shape, uint32_t lanes)
{
    return weir_mpsc_footprint(lanes, shape->capacity);
}

static uint64_t capacity(const struct channel_shape *shape)
{
    return shape->capacity;
}

/* The end's handles, one for each lane there may be. */
static weir_status make_handles(struct channel_cold *cold, uint64_t bytes)
{
    if (cold->handles == NULL)
        cold->handles = malloc(bytes);
    return cold->handles != NULL ? WEIR_OK : weir_fail(WEIR_E_NO_MEMORY, "no memory for the handles of the lanes");
}

/* ---- mpsc ---- */

static uint32_t record_max(const struct channel_shape *shape)
{
    return weir_spsc_record_max(shape->capacity);
}

static weir_status init(void *ring, uint64_t bytes, const struct channel_shape *shape, uint32_t lanes)
{
    return weir_mpsc_init_some(ring, bytes, shape->producers, lanes, shape->capacity, 0);
}

static weir_status attach(weir_channel *channel, void *ring, uint64_t bytes, const struct channel_shape *shape)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_status status;
    if (cold->role == WEIR_PRODUCER) {
        status = weir_mpsc_producer_attach(&channel->tx, ring, bytes, cold->slot - cold->own.first);
        return status == WEIR_OK && channel->tx.capacity != shape->capacity ? WEIR_E_MISMATCH : status;
    }
    weir_mpsc_consumer *c = &cold->end.mpsc;
    status = make_handles(cold, shape->producers * sizeof(weir_spsc_consumer));
    if (status == WEIR_OK)
        status = weir_mpsc_consumer_attach(c, ring, bytes, cold->handles, shape->producers);
    if (status != WEIR_OK)
        return status;
    c->room.reach = weir_channel_reach;
    c->room.reach_arg = channel;
    return c->capacity != shape->capacity ? WEIR_E_MISMATCH : WEIR_OK;
}

/* The lane whose turn it is is in hand, and its calls are inline, while nothing is held of another: channel->rx is its handle
 * then, and c->lanes[c->at] as it was when it was taken.  A mailbox's calls are not inline. */
static void take_in_hand(weir_channel *channel, weir_mpsc_consumer *c)
{
    struct channel_cold *cold = channel_cold(channel);
    if (cold->number != WEIR_MPSC || c->count == 0 || c->held != 0)
        return;
    weir_spsc_consumer hand = c->lanes[c->at];
    uint64_t lap = hand.head_pos + hand.capacity - 1 - hand.pos;
    hand.turn = 1;
    hand.limit_pos = hand.pos + (lap < TURN_BYTES ? lap : TURN_BYTES);
    channel->rx = hand;
    channel->peer = &cold->layout->member[c->at].sleeper;
}

static weir_mpsc_consumer *put_back(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_mpsc_consumer *c = &cold->end.mpsc;
    if (channel->rx.capacity == 0)
        return c;
    weir_spsc_consumer *lane = &c->lanes[c->at];
    if (lane->pos != channel->rx.pos) {
        cold->taken += 2; /* several; how many, the counter in the section knows */
        c->left = 0;      /* its turn is over */
    }
    *lane = channel->rx;
    lane->turn = 0;
    channel->rx.capacity = 0;
    return c;
}

static weir_status peek(weir_channel *channel, const void **msg, uint32_t *len)
{
    return weir_mpsc_peek(put_back(channel), msg, len, &channel_cold(channel)->message.producer);
}

static weir_status pop(weir_channel *channel, void *buffer, uint64_t size_bytes, uint32_t *len)
{
    return weir_mpsc_pop_more(put_back(channel), buffer, size_bytes, len, &channel_cold(channel)->message.producer);
}

static void release(weir_channel *channel)
{
    weir_mpsc_consumer *c = put_back(channel);
    if (c->count == 0)
        return;
    uint32_t first = c->held != 0 ? 0 : c->at, end = c->held != 0 ? c->count : c->at + 1;
    weir_mpsc_release(c);
    for (uint32_t lane = first; lane < end; lane++)
        if (weir_channel_producer_sleeps(channel, lane))
            weir_channel_woken(channel, lane, c->lanes[lane].head_pos);
}

static weir_status next(weir_channel *channel, const struct channel_get *get)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_mpsc_consumer *c = put_back(channel);
    uint32_t producer = 0;
    weir_status status = get->msg != NULL
                             ? weir_mpsc_peek(c, get->msg, get->len, &producer)
                             : weir_mpsc_pop_more(c, get->buffer, get->size_bytes, get->len, &producer);
    if (status != WEIR_OK)
        return status;
    cold->message = (weir_message){ .producer = producer };
    cold->taken++;
    weir_tally(channel->messages, 1);
    if (get->releases)
        release(channel);
    take_in_hand(channel, c);
    return WEIR_OK;
}

static weir_status ready(weir_channel *channel)
{
    return weir_mpsc_ready(put_back(channel));
}

/* A mailbox is such a channel under a name of its own (kind.h). */
#define MPSC_CALLS                        \
    .many_producers = true,               \
    .footprint = footprint,               \
    .capacity = capacity,                 \
    .record_max = record_max,             \
    .init = init,                         \
    .grow = weir_mpsc_grow,               \
    .attach = attach,                     \
    .put = weir_channel_lane_put,         \
    .put_array = weir_channel_lane_put_array, \
    .reserve = weir_channel_lane_reserve, \
    .commit = weir_channel_lane_commit,   \
    .flush = weir_channel_lane_flush,     \
    .place = weir_channel_lane_place,     \
    .drained = weir_channel_lane_drained, \
    .want = weir_channel_lane_want,       \
    .peek = peek,                         \
    .pop = pop,                           \
    .release = release,                   \
    .next = next,                         \
    .ready = ready

const struct channel_kind weir_channel_mpsc = { .name = "mpsc", MPSC_CALLS };
const struct channel_kind weir_channel_mailbox = { .name = "mailbox", MPSC_CALLS };
const struct channel_kind weir_channel_mailbox_discard = { .name = "mailbox-discard", MPSC_CALLS };

/* ---- mpsc, ordered ---- */

static uint32_t ordered_record_max(const struct channel_shape *shape)
{
    return weir_mpsc_ordered_record_max(shape->capacity);
}

static weir_status ordered_init(void *ring, uint64_t bytes, const struct channel_shape *shape, uint32_t lanes)
{
    return weir_mpsc_ordered_init_some(ring, bytes, shape->producers, lanes, shape->capacity, 0, 0);
}

static weir_status ordered_attach(weir_channel *channel, void *ring, uint64_t bytes, const struct channel_shape *shape)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_status status;
    if (cold->role == WEIR_PRODUCER) {
        weir_mpsc_ordered_producer *p = &cold->end.ordered_tx;
        status = weir_mpsc_ordered_producer_attach(p, ring, bytes, cold->slot - cold->own.first);
        return status == WEIR_OK && p->lane.capacity != shape->capacity ? WEIR_E_MISMATCH : status;
    }
    weir_mpsc_ordered_consumer *c = &cold->end.ordered;
    status = make_handles(cold, shape->producers * sizeof(weir_mpsc_ordered_lane));
    if (status == WEIR_OK)
        status = weir_mpsc_ordered_consumer_attach(c, ring, bytes, cold->handles, shape->producers);
    if (status != WEIR_OK)
        return status;
    c->room.reach = weir_channel_reach;
    c->room.reach_arg = channel;
    return c->capacity != shape->capacity ? WEIR_E_MISMATCH : WEIR_OK;
}

static weir_mpsc_ordered_producer *ordered_tx(weir_channel *channel)
{
    return &channel_cold(channel)->end.ordered_tx;
}

static weir_status ordered_put(weir_channel *channel, const void *msg, uint64_t len, bool more)
{
    return weir_mpsc_ordered_put(ordered_tx(channel), msg, len, more);
}

static weir_status ordered_reserve(weir_channel *channel, uint64_t len, void **slot)
{
    return weir_mpsc_ordered_reserve(ordered_tx(channel), len, slot);
}

static weir_status ordered_commit(weir_channel *channel, uint64_t len, bool more)
{
    return weir_mpsc_ordered_commit_as(ordered_tx(channel), len, more);
}

static void ordered_flush(weir_channel *channel)
{
    weir_mpsc_ordered_flush(ordered_tx(channel));
}

static weir_status ordered_place(weir_channel *channel, uint64_t len)
{
    uint64_t start_pos;
    return weir_spsc_place(&ordered_tx(channel)->lane, len + WEIR_MPSC_STAMP, &start_pos);
}

static weir_status ordered_drained(weir_channel *channel)
{
    return weir_spsc_drained(&ordered_tx(channel)->lane);
}

static uint64_t ordered_want(weir_channel *channel, uint64_t len)
{
    return weir_channel_lane_want_of(&ordered_tx(channel)->lane, len == UINT64_MAX ? len : len + WEIR_MPSC_STAMP);
}

static weir_status ordered_peek(weir_channel *channel, const void **msg, uint32_t *len)
{
    struct channel_cold *cold = channel_cold(channel);
    return weir_mpsc_ordered_peek(&cold->end.ordered, msg, len, &cold->message.producer);
}

static weir_status ordered_pop(weir_channel *channel, void *buffer, uint64_t size_bytes, uint32_t *len)
{
    struct channel_cold *cold = channel_cold(channel);
    return weir_mpsc_ordered_pop_more(&cold->end.ordered, buffer, size_bytes, len, &cold->message.producer);
}

static void ordered_release(weir_channel *channel)
{
    weir_mpsc_ordered_consumer *c = &channel_cold(channel)->end.ordered;
    for (uint32_t lane = 0; lane < c->count; lane++) {
        weir_spsc_consumer *own = &c->lanes[lane].lane;
        if (own->head_pos == own->pos)
            continue;
        weir_spsc_release(own);
        weir_channel_woken(channel, lane, own->head_pos);
    }
}

static weir_status ordered_ready(weir_channel *channel)
{
    return weir_mpsc_ordered_ready(&channel_cold(channel)->end.ordered);
}

const struct channel_kind weir_channel_mpsc_ordered = {
    .name = "mpsc-ordered",
    .many_producers = true,
    .footprint = footprint,
    .capacity = capacity,
    .record_max = ordered_record_max,
    .init = ordered_init,
    .grow = weir_mpsc_ordered_grow,
    .attach = ordered_attach,
    .put = ordered_put,
    .reserve = ordered_reserve,
    .commit = ordered_commit,
    .flush = ordered_flush,
    .place = ordered_place,
    .drained = ordered_drained,
    .want = ordered_want,
    .peek = ordered_peek,
    .pop = ordered_pop,
    .release = ordered_release,
    .ready = ordered_ready,
};
