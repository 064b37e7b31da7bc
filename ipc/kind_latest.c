/* ipc/kind_latest.c - one producer; consumers get the newest message alone, and each of these once. */
#include <weir/base/fail.h>
#include <weir/ipc/kind.h>
#include <weir/ring/latest_layout.h>

#define SLOTS_MAX 16u /* more than a reader can be overtaken by do no good, and cost cache */

/* As many slots as the capacity holds. */
static uint32_t slots_of(const struct channel_shape *shape)
{
    uint32_t slots = WEIR_LATEST_SLOTS_MIN;
    while (slots < SLOTS_MAX &&
           weir_latest_footprint(shape->record_bytes, slots * 2) <= WEIR_LATEST_CONTROL + shape->capacity)
        slots *= 2;
    return slots;
}

static uint64_t footprint(const struct channel_shape *shape, uint32_t lanes)
{
    (void)lanes;
    return weir_latest_footprint(shape->record_bytes, slots_of(shape));
}

static uint64_t capacity(const struct channel_shape *shape)
{
    uint64_t bytes = footprint(shape, 1);
    return bytes != 0 ? bytes - WEIR_LATEST_CONTROL : 0;
}

static uint32_t record_max(const struct channel_shape *shape)
{
    return shape->record_bytes;
}

static weir_status init(void *ring, uint64_t bytes, const struct channel_shape *shape, uint32_t lanes)
{
    (void)lanes;
    return weir_latest_init(ring, bytes, shape->record_bytes, slots_of(shape), 0);
}

static weir_status attach(weir_channel *channel, void *ring, uint64_t bytes, const struct channel_shape *shape)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_latest_writer *w = &cold->end.latest_tx;
    weir_latest_reader *r = &cold->end.latest;
    weir_status status;
    if (cold->role == WEIR_PRODUCER) {
        status = weir_latest_writer_attach(w, ring, bytes);
        bool same = w->value_max == shape->record_bytes && w->mask + 1 == slots_of(shape);
        return status == WEIR_OK && !same ? WEIR_E_MISMATCH : status;
    }
    status = weir_latest_reader_attach(r, ring, bytes);
    if (status == WEIR_OK)
        status = weir_channel_make_copy(cold, r->value_max);
    if (status != WEIR_OK)
        return status;
    weir_channel_layout *layout = cold->view.base;
    if (cold->resumes) /* relaxed: only a number */
        cold->position = weir_load_rlx(&layout->member[cold->slot].position);
    weir_channel_progress(channel, cold->position);
    return r->value_max == shape->record_bytes && r->mask + 1 == slots_of(shape) ? WEIR_OK : WEIR_E_MISMATCH;
}

/* ---- producer ---- */

static weir_latest_writer *tx(weir_channel *channel)
{
    return &channel_cold(channel)->end.latest_tx;
}

static weir_status refuse(weir_channel *channel, uint64_t len)
{
    return weir_fail(WEIR_E_TOO_LARGE, "a message of %llu bytes is over the limit of %u", (unsigned long long)len,
                     tx(channel)->value_max);
}

/* A newer one takes an unpublished one's place anyway: each is published at once. */
static weir_status put(weir_channel *channel, const void *msg, uint64_t len, bool more)
{
    (void)more;
    if (tx(channel)->current != NULL && len > tx(channel)->value_max)
        return refuse(channel, len);
    return weir_latest_write(tx(channel), msg, (uint32_t)len);
}

static weir_status reserve(weir_channel *channel, uint64_t len, void **slot)
{
    if (tx(channel)->current != NULL && len > tx(channel)->value_max)
        return refuse(channel, len);
    channel_cold(channel)->reserved = len;
    return weir_latest_reserve(tx(channel), slot);
}

static weir_status commit(weir_channel *channel, uint64_t len, bool more)
{
    (void)more;
    weir_latest_writer *w = tx(channel);
    if (w->reserved && len > channel_cold(channel)->reserved)
        return WEIR_E_INVALID;
    return weir_latest_publish(w, (uint32_t)len);
}

static void flush(weir_channel *channel)
{
    (void)channel;
}

static weir_status place(weir_channel *channel, uint64_t len)
{
    (void)channel;
    (void)len;
    return WEIR_OK;
}

static weir_status drained(weir_channel *channel)
{
    return weir_channel_all_at(channel, tx(channel)->number);
}

static uint64_t want(weir_channel *channel, uint64_t len)
{
    (void)len;
    return tx(channel)->number;
}

/* ---- consumer ---- */

static weir_status pop(weir_channel *channel, void *buffer, uint64_t size_bytes, uint32_t *len)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_latest_reader *r = &cold->end.latest;
    uint64_t number = 0;
    if (r->current != NULL && weir_latest_number(r) == cold->position) {
        weir_channel_progress(channel, cold->position);
        return WEIR_EMPTY;
    }
    weir_status status = weir_latest_read(r, buffer, size_bytes, len, &number);
    if (status == WEIR_OK)
        cold->position = number;
    return status;
}

static weir_status peek(weir_channel *channel, const void **msg, uint32_t *len)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_status status = pop(channel, cold->handles, cold->end.latest.value_max, len);
    if (status == WEIR_OK)
        *msg = cold->handles;
    return status;
}

static void release(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    if (cold->end.latest.current != NULL)
        weir_channel_progress(channel, cold->position);
}

static weir_status ready(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_latest_reader *r = &cold->end.latest;
    if (r->current == NULL)
        return r->fault != WEIR_OK ? r->fault : WEIR_E_STATE;
    return weir_latest_number(r) != cold->position ? WEIR_OK : WEIR_EMPTY;
}

const struct channel_kind weir_channel_latest = {
    .name = "latest",
    .many_consumers = true,
    .made_for_record = true,
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
    .ready = ready,
};
