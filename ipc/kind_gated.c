/* ipc/kind_gated.c - one producer who waits for the slowest consumer; each gets all. */
#include <weir/base/fail.h>
#include <weir/ipc/kind.h>
#include <weir/ring/broadcast_gated_layout.h>

#include <stdlib.h>

static uint64_t footprint(const struct channel_shape *shape, uint32_t lanes)
{
    (void)lanes;
    return weir_broadcast_gated_footprint(shape->consumers, shape->capacity);
}

static uint64_t capacity(const struct channel_shape *shape)
{
    return shape->capacity;
}

static uint32_t record_max(const struct channel_shape *shape)
{
    return weir_broadcast_gated_record_max(shape->capacity);
}

static weir_status init(void *ring, uint64_t bytes, const struct channel_shape *shape, uint32_t lanes)
{
    (void)lanes;
    return weir_broadcast_gated_init(ring, bytes, shape->consumers, shape->capacity, 0);
}

static weir_status attach_reader(weir_channel *channel, void *ring, uint64_t bytes)
{
    struct channel_cold *cold = channel_cold(channel);
    uint32_t reader = cold->slot - cold->own.first;
    weir_status status = WEIR_E_STATE;
    if (cold->generation > 1) /* what the place's last holder had not released comes again, if it is still held */
        status = weir_broadcast_gated_reader_attach(&channel->gated_rx, ring, bytes, reader, cold->generation,
                                                    WEIR_BROADCAST_GATED_RESUME);
    if (status == WEIR_E_STATE)
        status = weir_broadcast_gated_reader_attach(&channel->gated_rx, ring, bytes, reader, cold->generation,
                                                    WEIR_BROADCAST_GATED_OLDEST);
    return status;
}

static weir_status attach(weir_channel *channel, void *ring, uint64_t bytes, const struct channel_shape *shape)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_status status;
    if (cold->role == WEIR_CONSUMER) {
        status = attach_reader(channel, ring, bytes);
        cold->first_pos = channel->rx.pos;
        return status == WEIR_OK && channel->rx.capacity != shape->capacity ? WEIR_E_MISMATCH : status;
    }
    if (cold->handles == NULL)
        cold->handles = calloc(shape->consumers, 2 * sizeof(uint64_t));
    if (cold->handles == NULL)
        return weir_fail(WEIR_E_NO_MEMORY, "no memory for a note on each consumer");
    status = weir_broadcast_gated_writer_attach(&channel->gated_tx, ring, bytes, cold->handles, shape->consumers);
    return status == WEIR_OK && channel->tx.capacity != shape->capacity ? WEIR_E_MISMATCH : status;
}

/* Leaving, a consumer says where it stood: nobody else knows whether all had been released. */
static void detach(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    if (cold->role != WEIR_CONSUMER)
        return;
    if (channel->rx.capacity != 0)
        weir_channel_progress(channel, channel->rx.head_pos | 1);
    (void)weir_broadcast_gated_reader_detach(&channel->gated_rx);
}

/* ---- producer ---- */

/* Behind the ring's own notes: of each place the generation, plus 1, of a holder that died before it had attached. */
static uint64_t *never_came(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    return (uint64_t *)cold->handles + cold->peers.count;
}

/* Is the one that its place's word calls present known to be dead? */
static bool is_known_dead(weir_channel *channel, const weir_participant *one)
{
    uint32_t reader = one->slot - channel_cold(channel)->peers.first;
    uint64_t word = (uint64_t)one->generation << 32 | WEIR_BROADCAST_GATED_PRESENT;
    return channel->gated_tx.dead[reader] == word || never_came(channel)[reader] == (uint64_t)one->generation + 1;
}

/* Is a consumer there, for whom all has to be held, that the ring does not know of yet? */
static bool comes(weir_channel *channel, const weir_participant *one)
{
    uint32_t reader = one->slot - channel_cold(channel)->peers.first;
    weir_broadcast_gated_gate gate;
    if (one->presence != WEIR_ALIVE || is_known_dead(channel, one))
        return false;
    weir_status status = weir_broadcast_gated_gate_from(&channel->gated_tx, reader, &gate);
    return status == WEIR_EMPTY ||
           (status == WEIR_OK && (gate.reader != reader || gate.generation != one->generation));
}

/* Does the ring know of all consumers that are there?  *any: whether any is. */
static bool all_came(weir_channel *channel, bool *any)
{
    struct channel_cold *cold = channel_cold(channel);
    *any = false;
    for (uint32_t slot = cold->peers.first; slot < cold->peers.first + cold->peers.count; slot++) {
        weir_participant one = weir_participant_glance(cold->section, slot);
        if (comes(channel, &one))
            return false;
        *any |= one.presence == WEIR_ALIVE && !is_known_dead(channel, &one);
    }
    return true;
}

/* The ring waits for nobody where there is no reader.  A channel keeps what it holds for one to come, or to come again,
 * or to begin: then there is room up to a lap behind the oldest record that is held. */
static weir_status ask(weir_channel *channel, uint64_t len)
{
    weir_broadcast_gated_writer *w = &channel->gated_tx;
    bool any;
    if (all_came(channel, &any) && any)
        return weir_broadcast_gated_ask(w, len);
    uint64_t limit_pos = w->announced_pos + w->lane.capacity;
    if (w->lane.capacity != 0 && (int64_t)(limit_pos - w->lane.limit_pos) > 0)
        w->lane.limit_pos = limit_pos; /* no reader is before what is announced, and none begins before it */
    return weir_channel_lane_place(channel, len);
}

static weir_status place(weir_channel *channel, uint64_t len)
{
    weir_status status = weir_channel_lane_place(channel, len);
    return status == WEIR_FULL ? ask(channel, len) : status;
}

static weir_status put(weir_channel *channel, const void *msg, uint64_t len, bool more)
{
    weir_status status = weir_channel_lane_put(channel, msg, len, more);
    if (status == WEIR_FULL && (status = ask(channel, len)) == WEIR_OK)
        status = weir_channel_lane_put(channel, msg, len, more);
    return status;
}

/* As weir_broadcast_gated_push_array, but that the channel asks, which keeps what it holds. */
static weir_status put_array(weir_channel *channel, const void *msgs, uint64_t len, uint32_t count, uint32_t *sent)
{
    if (weir_broadcast_gated_asks_for(&channel->gated_tx, len, count))
        (void)ask(channel, len); /* what it finds wrong, the lane says too */
    return weir_channel_lane_put_array(channel, msgs, len, count, sent);
}

static weir_status reserve(weir_channel *channel, uint64_t len, void **slot)
{
    weir_status status = weir_channel_lane_reserve(channel, len, slot);
    if (status == WEIR_FULL && (status = ask(channel, len)) == WEIR_OK)
        status = weir_channel_lane_reserve(channel, len, slot);
    return status;
}

/* All is released by those who are there; or, where nobody is, by one who left. */
static weir_status drained(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    const weir_channel_layout *layout = cold->view.base;
    weir_status status = weir_broadcast_gated_drained(&channel->gated_tx);
    bool any;
    if (status != WEIR_OK)
        return status;
    if (!all_came(channel, &any))
        return WEIR_FULL;
    if (any)
        return WEIR_OK;
    for (uint32_t slot = cold->peers.first; slot < cold->peers.first + cold->peers.count; slot++)
        if (weir_load_rlx(&layout->member[slot].position) == (channel->tx.pos | 1)) /* relaxed: only a number */
            return WEIR_OK;
    return WEIR_FULL;
}

/* Readers who are dead gate no longer; but the last of them keeps its place for who comes after it. */
static weir_status recover(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_broadcast_gated_gate gate;
    weir_participant reader;
    uint32_t alive = 0;
    if (cold->role == WEIR_CONSUMER)
        return WEIR_OK;
    weir_status status = weir_channel_crowd(cold, cold->peers, true, &reader, &alive);
    for (uint32_t from = 0; status == WEIR_OK && alive != 0; from = gate.reader + 1) {
        status = weir_broadcast_gated_gate_from(&channel->gated_tx, from, &gate);
        if (status == WEIR_OK)
            status = weir_participant_look(cold->section, cold->peers.first + gate.reader, &reader);
        if (status == WEIR_OK && (reader.presence != WEIR_ALIVE || reader.generation != gate.generation)) {
            status = weir_broadcast_gated_recover(&channel->gated_tx, gate.reader, gate.generation);
            weir_channel_recovered(channel, status, gate.reader);
        }
    }
    if (status != WEIR_EMPTY && status != WEIR_OK)
        return status;
    status = WEIR_OK;
    for (uint32_t slot = cold->peers.first; status == WEIR_OK && slot < cold->peers.first + cold->peers.count; slot++) {
        reader = weir_participant_glance(cold->section, slot);
        if (!comes(channel, &reader))
            continue;
        status = weir_participant_look(cold->section, slot, &reader);
        if (status == WEIR_OK && reader.presence == WEIR_DEAD)
            never_came(channel)[slot - cold->peers.first] = (uint64_t)reader.generation + 1;
    }
    return status;
}

const struct channel_kind weir_channel_broadcast_gated = {
    .name = "broadcast-gated",
    .many_consumers = true,
    .joins_first = true,
    .footprint = footprint,
    .capacity = capacity,
    .record_max = record_max,
    .init = init,
    .attach = attach,
    .detach = detach,
    .put = put,
    .put_array = put_array,
    .reserve = reserve,
    .commit = weir_channel_lane_commit,
    .flush = weir_channel_lane_flush,
    .place = place,
    .drained = drained,
    .want = weir_channel_lane_want,
    .peek = weir_channel_lane_peek,
    .pop = weir_channel_lane_pop,
    .release = weir_channel_lane_release,
    .ready = weir_channel_lane_ready,
    .recover = recover,
};
