/* ipc/kind_spsc.c - one producer, one consumer; and the calls of an end that has a lane of its own. */
#include <weir/ipc/kind.h>

/* ---- the producer of a lane ---- */

weir_status weir_channel_lane_put(weir_channel *channel, const void *msg, uint64_t len, bool more)
{
    return weir_spsc_put(&channel->tx, msg, len, more);
}

weir_status weir_channel_lane_put_array(weir_channel *channel, const void *msgs, uint64_t len, uint32_t count,
                                        uint32_t *sent)
{
    return weir_spsc_push_array(&channel->tx, msgs, len, count, sent);
}

weir_status weir_channel_lane_reserve(weir_channel *channel, uint64_t len, void **slot)
{
    return weir_spsc_reserve(&channel->tx, len, slot);
}

weir_status weir_channel_lane_commit(weir_channel *channel, uint64_t len, bool more)
{
    return weir_spsc_commit_as(&channel->tx, len, more, NULL);
}

void weir_channel_lane_flush(weir_channel *channel)
{
    weir_spsc_flush(&channel->tx);
}

weir_status weir_channel_lane_place(weir_channel *channel, uint64_t len)
{
    uint64_t start_pos;
    return weir_spsc_place(&channel->tx, len, &start_pos);
}

weir_status weir_channel_lane_drained(weir_channel *channel)
{
    return weir_spsc_drained(&channel->tx);
}

/* What is needed, and at least a quarter of the lane with it, so that a full lane costs a wake for many messages. */
uint64_t weir_channel_lane_want_of(const weir_spsc_producer *lane, uint64_t len)
{
    if (len == UINT64_MAX)
        return lane->pos;
    uint64_t size = weir_spsc_size(len);
    uint64_t room = lane->capacity - (lane->pos & (lane->capacity - 1));
    uint64_t need = (size > room ? room : 0) + size + WEIR_SPSC_HEADER;
    uint64_t quarter = lane->capacity / 4;
    return lane->pos + (need > quarter ? need : quarter) - lane->capacity;
}

uint64_t weir_channel_lane_want(weir_channel *channel, uint64_t len)
{
    return weir_channel_lane_want_of(&channel->tx, len);
}

/* ---- its consumer ---- */

weir_status weir_channel_lane_peek(weir_channel *channel, const void **msg, uint32_t *len)
{
    return weir_spsc_peek(&channel->rx, msg, len);
}

weir_status weir_channel_lane_pop(weir_channel *channel, void *buffer, uint64_t size_bytes, uint32_t *len)
{
    return weir_spsc_pop_more(&channel->rx, buffer, size_bytes, len);
}

void weir_channel_lane_release(weir_channel *channel)
{
    weir_spsc_release(&channel->rx);
    weir_channel_released(channel);
}

weir_status weir_channel_lane_ready(weir_channel *channel)
{
    return weir_spsc_ready(&channel->rx);
}

/* ---- the kind ---- */

static uint64_t footprint(const struct channel_shape *shape, uint32_t lanes)
{
    (void)lanes;
    return weir_spsc_footprint(shape->capacity);
}

static uint64_t capacity(const struct channel_shape *shape)
{
    return shape->capacity;
}

static uint32_t record_max(const struct channel_shape *shape)
{
    return weir_spsc_record_max(shape->capacity);
}

static weir_status init(void *ring, uint64_t bytes, const struct channel_shape *shape, uint32_t lanes)
{
    (void)lanes;
    return weir_spsc_init(ring, bytes, shape->capacity, 0);
}

static weir_status attach(weir_channel *channel, void *ring, uint64_t bytes, const struct channel_shape *shape)
{
    bool producer = channel_cold(channel)->role == WEIR_PRODUCER;
    weir_status status = producer ? weir_spsc_producer_attach(&channel->tx, ring, bytes)
                                  : weir_spsc_consumer_attach(&channel->rx, ring, bytes);
    channel_cold(channel)->first_pos = channel->rx.pos;
    uint64_t found = producer ? channel->tx.capacity : channel->rx.capacity;
    return status == WEIR_OK && found != shape->capacity ? WEIR_E_MISMATCH : status;
}

const struct channel_kind weir_channel_spsc = {
    .name = "spsc",
    .footprint = footprint,
    .capacity = capacity,
    .record_max = record_max,
    .init_bytes = WEIR_SPSC_CONTROL + WEIR_SPSC_HEADER,
    .init = init,
    .attach = attach,
    .put = weir_channel_lane_put,
    .put_array = weir_channel_lane_put_array,
    .reserve = weir_channel_lane_reserve,
    .commit = weir_channel_lane_commit,
    .flush = weir_channel_lane_flush,
    .place = weir_channel_lane_place,
    .drained = weir_channel_lane_drained,
    .want = weir_channel_lane_want,
    .peek = weir_channel_lane_peek,
    .pop = weir_channel_lane_pop,
    .release = weir_channel_lane_release,
    .ready = weir_channel_lane_ready,
};
