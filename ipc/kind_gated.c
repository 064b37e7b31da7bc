/* ipc/kind_gated.c - one producer who waits for the slowest consumer; each gets all. */
#include <weir/base/fail.h>
#include <weir/ipc/kind.h>

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
        cold->handles = calloc(shape->consumers, sizeof(uint64_t));
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

/* The ring waits for nobody where there is no reader.  A channel keeps what it holds for one to come, or to come again:
 * the ring is asked only where somebody is there. */
static weir_status ask(weir_channel *channel, uint64_t len)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_participant consumers;
    weir_status status = weir_channel_crowd(cold, cold->peers, false, &consumers, NULL);
    if (status != WEIR_OK)
        return status;
    return consumers.presence == WEIR_ALIVE ? weir_broadcast_gated_ask(&channel->gated_tx, len) : WEIR_FULL;
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
    weir_participant consumers;
    if (status == WEIR_OK)
        status = weir_channel_crowd(cold, cold->peers, false, &consumers, NULL);
    if (status != WEIR_OK || consumers.presence == WEIR_ALIVE)
        return status;
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
        if (status == WEIR_OK && (reader.presence != WEIR_ALIVE || reader.generation != gate.generation))
            status = weir_broadcast_gated_recover(&channel->gated_tx, gate.reader, gate.generation);
    }
    return status == WEIR_EMPTY ? WEIR_OK : status;
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
