/* ipc/kind_broadcast.c - one producer who never waits; each consumer gets all, or hears how many it lost. */
#include <weir/base/fail.h>
#include <weir/ipc/kind.h>

#include <stdlib.h>

#define ATTACH_TRIES 16

/* Nothing can be read in place that may be overwritten: a copy of the handle's own is. */
weir_status weir_channel_make_copy(struct channel_cold *cold, uint32_t record_max)
{
    if (cold->handles == NULL)
        cold->handles = malloc(record_max + UINT64_C(1));
    return cold->handles != NULL ? WEIR_OK : weir_fail(WEIR_E_NO_MEMORY, "no memory for a copy of a message");
}

static uint64_t footprint(const struct channel_shape *shape, uint32_t lanes)
{
    (void)lanes;
    return weir_broadcast_footprint(shape->capacity);
}

static uint64_t capacity(const struct channel_shape *shape)
{
    return shape->capacity;
}

static uint32_t record_max(const struct channel_shape *shape)
{
    return weir_broadcast_record_max(shape->capacity);
}

static weir_status init(void *ring, uint64_t bytes, const struct channel_shape *shape, uint32_t lanes)
{
    (void)lanes;
    return weir_broadcast_init(ring, bytes, shape->capacity, 0, 0);
}

static weir_status attach(weir_channel *channel, void *ring, uint64_t bytes, const struct channel_shape *shape)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_status status;
    if (cold->role == WEIR_PRODUCER) {
        status = weir_broadcast_writer_attach(&cold->end.broadcast_tx, ring, bytes);
        return status == WEIR_OK && cold->end.broadcast_tx.capacity != shape->capacity ? WEIR_E_MISMATCH : status;
    }
    weir_broadcast_reader *r = &cold->end.broadcast;
    weir_channel_layout *layout = cold->view.base;
    uint64_t stopped = weir_load_rlx(&layout->member[cold->slot].position); /* relaxed: only a number */
    int tries = 0;
    do { /* overtaken by a writer who is at work: it is a lap ahead each time; or by nobody, and the ring is spoiled */
        status = cold->resumes ? weir_broadcast_reader_resume(r, ring, bytes, stopped)
                               : weir_broadcast_reader_attach(r, ring, bytes);
    } while (status == WEIR_AGAIN && ++tries < ATTACH_TRIES);
    if (status == WEIR_OK)
        status = weir_channel_make_copy(cold, r->record_max);
    if (status != WEIR_OK)
        return status;
    if (cold->came_first && !cold->resumes) /* it was there for all of them: the ring's first has number 0 */
        r->lost += r->number;
    weir_channel_progress(channel, r->number - r->lost); /* who goes on here hears of the loss, if this one does not */
    return r->capacity != shape->capacity ? WEIR_E_MISMATCH : WEIR_OK;
}

/* ---- producer ---- */

static weir_broadcast_writer *tx(weir_channel *channel)
{
    return &channel_cold(channel)->end.broadcast_tx;
}

/* It is only ever full of its own open batch. */
static void publish_batch(weir_channel *channel)
{
    weir_broadcast_flush(tx(channel));
    weir_channel_published(channel);
}

static weir_status put(weir_channel *channel, const void *msg, uint64_t len, bool more)
{
    weir_status status = weir_broadcast_put(tx(channel), msg, len, more);
    if (status != WEIR_FULL)
        return status;
    publish_batch(channel);
    return weir_broadcast_put(tx(channel), msg, len, more);
}

static weir_status reserve(weir_channel *channel, uint64_t len, void **slot)
{
    weir_status status = weir_broadcast_reserve(tx(channel), len, slot);
    if (status != WEIR_FULL)
        return status;
    publish_batch(channel);
    return weir_broadcast_reserve(tx(channel), len, slot);
}

static weir_status commit(weir_channel *channel, uint64_t len, bool more)
{
    return weir_broadcast_commit_as(tx(channel), len, more);
}

static void flush(weir_channel *channel)
{
    weir_broadcast_flush(tx(channel));
}

static weir_status place(weir_channel *channel, uint64_t len)
{
    uint64_t start_pos;
    return weir_broadcast_place(tx(channel), len, &start_pos);
}

static weir_status drained(weir_channel *channel)
{
    return weir_channel_all_at(channel, tx(channel)->number);
}

static uint64_t want(weir_channel *channel, uint64_t len)
{
    (void)len; /* it waits for nothing else */
    return tx(channel)->number;
}

/* ---- consumer ---- */

static weir_status pop(weir_channel *channel, void *buffer, uint64_t size_bytes, uint32_t *len)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_broadcast_reader *r = &cold->end.broadcast;
    uint64_t lost;
    weir_status status = weir_broadcast_read(r, buffer, size_bytes, len, &lost);
    if (status == WEIR_OK) {
        cold->message.lost = lost;
        if (WEIR_UNLIKELY(lost != 0))
            weir_channel_tally(cold, WEIR_COUNT_LOST, lost);
    } else if (status == WEIR_EMPTY) {
        weir_channel_progress(channel, r->number);
    }
    return status;
}

static weir_status peek(weir_channel *channel, const void **msg, uint32_t *len)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_status status = pop(channel, cold->handles, cold->end.broadcast.record_max, len);
    if (status == WEIR_OK)
        *msg = cold->handles;
    return status;
}

static void release(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    if (cold->end.broadcast.capacity != 0)
        weir_channel_progress(channel, cold->end.broadcast.number);
}

/* Whoever finds a record needs nothing of what a call does that cannot go on. */
static bool in_hand(weir_channel *channel, const struct channel_get *get)
{
    weir_status status = get->msg != NULL ? peek(channel, get->msg, get->len)
                                          : pop(channel, get->buffer, get->size_bytes, get->len);
    if (status != WEIR_OK)
        return false;
    channel_cold(channel)->taken++;
    weir_tally(channel->messages, 1);
    if (get->releases)
        release(channel);
    return true;
}

static weir_status ready(weir_channel *channel)
{
    return weir_broadcast_ready(&channel_cold(channel)->end.broadcast);
}

const struct channel_kind weir_channel_broadcast = {
    .name = "broadcast",
    .many_consumers = true,
    .footprint = footprint,
    .capacity = capacity,
    .record_max = record_max,
    .init = init,
    .attach = attach,
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
    .in_hand = in_hand,
    .ready = ready,
};
