/* ipc/kind_mpmc.c - a work queue: many producers, a lane for each, made when it joins; each message goes to one of
 * the consumers. */
#include <weir/base/fail.h>
#include <weir/ipc/kind.h>

#include <stdlib.h>

/* As many slots as make up the capacity. */
static weir_mpmc_shape ring_shape(const struct channel_shape *shape)
{
    uint64_t stride = WEIR_MPMC_HEADER + ((uint64_t)shape->record_bytes + 7) / 8 * 8;
    uint32_t slots = WEIR_MPMC_SLOTS_MIN;
    while (slots < WEIR_MPMC_SLOTS_MAX && slots * stride < shape->capacity)
        slots *= 2;
    return (weir_mpmc_shape){ shape->producers, shape->consumers, slots, shape->record_bytes };
}

static uint64_t footprint(const struct channel_shape *shape, uint32_t lanes)
{
    weir_mpmc_shape ring = ring_shape(shape);
    ring.lanes = lanes;
    return weir_mpmc_footprint(&ring);
}

static uint64_t capacity(const struct channel_shape *shape)
{
    weir_mpmc_shape ring = ring_shape(shape);
    return ring.slots * (WEIR_MPMC_HEADER + ((uint64_t)ring.record_max + 7) / 8 * 8);
}

static uint32_t record_max(const struct channel_shape *shape)
{
    return shape->record_bytes;
}

static weir_status init(void *ring, uint64_t bytes, const struct channel_shape *shape, uint32_t lanes)
{
    weir_mpmc_shape as = ring_shape(shape);
    return weir_mpmc_init_some(ring, bytes, &as, lanes, 0);
}

static weir_status attach(weir_channel *channel, void *ring, uint64_t bytes, const struct channel_shape *shape)
{
    struct channel_cold *cold = channel_cold(channel);
    uint32_t place = cold->slot - cold->own.first;
    weir_mpmc_shape found, expected = ring_shape(shape);
    weir_status status = weir_mpmc_shape_of(ring, bytes, &found);
    if (status != WEIR_OK)
        return status;
    if (found.lanes != expected.lanes || found.consumers != expected.consumers || found.slots != expected.slots ||
        found.record_max != expected.record_max)
        return WEIR_E_MISMATCH;
    if (cold->role == WEIR_PRODUCER)
        return weir_mpmc_producer_attach(&channel->slots_tx, ring, bytes, place);
    if (cold->handles == NULL)
        cold->handles = malloc(shape->producers * sizeof(weir_mpmc_lane));
    if (cold->handles == NULL)
        return weir_fail(WEIR_E_NO_MEMORY, "no memory for the handles of the lanes");
    cold->ring = ring;
    cold->ring_bytes = bytes;
    weir_mpmc_consumer *c = &cold->end.mpmc;
    status = weir_mpmc_consumer_attach(c, ring, bytes, place, cold->generation, 0, cold->handles, shape->producers);
    if (status != WEIR_OK)
        return status;
    c->room.reach = weir_channel_reach;
    c->room.reach_arg = channel;
    return WEIR_OK;
}

/* ---- producer ---- */

static weir_mpmc_producer *tx(weir_channel *channel)
{
    return &channel->slots_tx;
}

static weir_status put(weir_channel *channel, const void *msg, uint64_t len, bool more)
{
    return more ? weir_mpmc_push_more(tx(channel), msg, len) : weir_mpmc_push(tx(channel), msg, len);
}

static weir_status reserve(weir_channel *channel, uint64_t len, void **slot)
{
    return weir_mpmc_reserve(tx(channel), len, slot);
}

static weir_status commit(weir_channel *channel, uint64_t len, bool more)
{
    return weir_mpmc_commit_as(tx(channel), len, more, NULL);
}

static void flush(weir_channel *channel)
{
    weir_mpmc_flush(tx(channel));
}

static weir_status place(weir_channel *channel, uint64_t len)
{
    tx(channel)->near = weir_os_processor(); /* who finds no room may have been moved since it last did */
    return weir_mpmc_place(tx(channel), len);
}

static weir_status drained(weir_channel *channel)
{
    return weir_mpmc_drained(tx(channel));
}

/* Positions of 56 bits are compared as the words' upper ones.  A quarter of the lane at once; who finishes a run wakes
 * in any case, because the run that is waited for may end before that. */
static uint64_t want(weir_channel *channel, uint64_t len)
{
    weir_mpmc_producer *p = tx(channel);
    if (len == UINT64_MAX)
        return p->pos << 8;
    return (p->free_pos + (UINT64_C(1) << p->shift) / 4) << 8;
}

/* ---- consumer ---- */

/* Where there are more processes than processors, a yield makes whole runs of what is but a few messages now. */
static void stands(struct channel_cold *cold)
{
    cold->end.mpmc.near = weir_os_processor();
    cold->end.mpmc.picky = cold->crowded && cold->wait == WEIR_WAIT_SPIN && !cold->waited;
}

/* The calls that serve the rest of a run are inline. */
static void take_in_hand(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_mpmc_consumer *c = &cold->end.mpmc;
    weir_mpmc_hand_take(c, &channel->hand);
    channel->peer = &cold->layout->member[c->at].sleeper;
}

static weir_mpmc_consumer *put_back(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    cold->taken += weir_mpmc_hand_back(&cold->end.mpmc, &channel->hand);
    return &cold->end.mpmc;
}

/* What it has claimed and not given back, others recover. */
static void detach(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    if (cold->role == WEIR_CONSUMER)
        (void)weir_mpmc_consumer_detach(put_back(channel));
}

static weir_status peek(weir_channel *channel, const void **msg, uint32_t *len)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_mpmc_consumer *c = put_back(channel);
    stands(cold);
    weir_status status = weir_mpmc_peek(c, msg, len, &cold->message.producer, &cold->message.redelivered);
    if (status == WEIR_OK)
        take_in_hand(channel);
    return status;
}

static weir_status pop(weir_channel *channel, void *buffer, uint64_t size_bytes, uint32_t *len)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_mpmc_consumer *c = put_back(channel);
    stands(cold);
    weir_status status = weir_mpmc_pop_more(c, buffer, size_bytes, len, &cold->message.producer,
                                            &cold->message.redelivered);
    if (status == WEIR_OK)
        take_in_hand(channel);
    return status;
}

/* Behind the release of what was read of that lane. */
static void released(weir_channel *channel, uint32_t lane, const weir_mpmc_lane *run)
{
    if (!weir_channel_producer_sleeps(channel, lane))
        return;
    if (run->pos == run->end_pos)
        weir_channel_woken_by_any(channel, lane);
    else
        weir_channel_woken(channel, lane, run->pos << 8);
}

static void release(weir_channel *channel)
{
    if (channel->hand.run != NULL) {
        weir_channel_release_hand(channel);
        return;
    }
    weir_mpmc_consumer *c = &channel_cold(channel)->end.mpmc;
    if (c->count == 0)
        return;
    uint32_t first = c->held != 0 ? 0 : c->at, end = c->held != 0 ? c->count : c->at + 1;
    weir_mpmc_release(c);
    if (c->count == 0) /* it was found corrupt: the next call says so */
        return;
    for (uint32_t lane = first; lane < end; lane++)
        released(channel, lane, &c->lanes[lane]);
}

static weir_status ready(weir_channel *channel)
{
    return weir_mpmc_ready(put_back(channel));
}

static bool is_taken(const void *ring, uint64_t bytes, uint32_t place)
{
    uint32_t owner, generation;
    return weir_mpmc_owner(ring, bytes, place, &owner, &generation) == WEIR_OK && owner != place;
}

/* A consumer takes over what those have claimed who are gone. */
static weir_status recover(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_status status = WEIR_OK;
    if (cold->role == WEIR_PRODUCER)
        return WEIR_OK;
    for (uint32_t place = 0; status == WEIR_OK && place < cold->own.count; place++) {
        uint32_t owner, generation;
        weir_participant of;
        status = weir_mpmc_owner(cold->ring, cold->ring_bytes, place, &owner, &generation);
        if (status != WEIR_OK || (owner == cold->slot - cold->own.first && generation == cold->generation)) {
            status = status == WEIR_EMPTY ? WEIR_OK : status;
            continue;
        }
        status = weir_participant_look(cold->section, cold->own.first + owner, &of);
        if (status == WEIR_OK && (of.presence != WEIR_ALIVE || of.generation != generation)) {
            status = weir_mpmc_recover(put_back(channel), owner, generation);
            weir_channel_recovered(channel, status, owner);
        }
    }
    return status;
}

const struct channel_kind weir_channel_mpmc = {
    .name = "mpmc",
    .many_producers = true,
    .many_consumers = true,
    .made_for_record = true,
    .joins_first = true,
    .footprint = footprint,
    .capacity = capacity,
    .record_max = record_max,
    .init = init,
    .grow = weir_mpmc_grow,
    .attach = attach,
    .detach = detach,
    .put = put,
    .reserve = reserve,
    .commit = commit,
    .flush = flush,
    .place = place,
    .drained = drained,
    .want = want,
    .peek = peek,
    .pop = pop,
    .release = release,
    .ready = ready,
    .is_taken = is_taken,
    .recover = recover,
};
