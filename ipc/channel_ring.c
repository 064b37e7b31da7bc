/* ipc/channel_ring.c - the ring in a channel's section: made, grown, viewed, attached to. */
#include <weir/base/fail.h>
#include <weir/ipc/channel_terms.h>

weir_status weir_channel_view(weir_channel *channel, uint64_t bytes, uint64_t room)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_status status = WEIR_OK;
    bool there = bytes <= cold->view.size || bytes <= weir_section_size(cold->section);
    if (there && room > cold->room) { /* what is stated and not there is not mapped either: it may be any number */
        weir_view whole;
        status = weir_view_map_growing(&whole, cold->section, room, WEIR_READ_WRITE);
        if (status != WEIR_OK)
            return status;
        if (channel->alive == CHANNEL_ALIVE && cold->early.base == NULL) /* other threads may be looking at it */
            cold->early = cold->view;
        else if (cold->view.base != NULL)
            (void)weir_view_unmap(&cold->view);
        cold->view = whole;
        cold->room = room > whole.size ? room : whole.size; /* all of the content is mapped in any case */
        if (channel->alive != CHANNEL_ALIVE) {
            cold->layout = whole.base;
            channel->peer = cold->role == WEIR_PRODUCER ? &cold->layout->consumer : &cold->layout->member[0].sleeper;
        }
    } else if (there && bytes > cold->view.size) {
        status = weir_view_refresh(&cold->view);
        if (status != WEIR_OK)
            return status;
    }
    if (bytes > cold->view.size)
        return weir_fail(WEIR_E_CORRUPT, "%s has %llu bytes of content, its ring needs %llu",
                         weir_section_name(cold->section), (unsigned long long)weir_section_size(cold->section),
                         (unsigned long long)bytes);
    return WEIR_OK;
}

weir_status weir_channel_view_ring(weir_channel *channel, const struct channel_shape *shape, uint32_t lanes)
{
    struct channel_cold *cold = channel_cold(channel);
    uint64_t off = weir_channel_ring_at(cold);
    return weir_channel_view(channel, off + cold->kind->footprint(shape, lanes),
                    off + cold->kind->footprint(shape, shape->producers));
}

weir_status weir_channel_reach(void *arg, uint64_t bytes)
{
    struct channel_cold *cold = channel_cold(arg);
    return weir_channel_view(arg, weir_channel_ring_at(cold) + bytes, 0);
}

weir_status weir_channel_stated_shape(struct channel_cold *cold, struct channel_shape *shape)
{
    const weir_channel_layout *layout = cold->view.base;
    /* order LANE acq: the capacity before the ring, and before what else is stated of it. */
    uint64_t capacity = weir_load_acq(&layout->capacity);
    uint64_t record = weir_load_rlx(&layout->record_bytes);
    if (capacity == 0)
        return WEIR_EMPTY;
    *shape = (struct channel_shape){ capacity, (uint32_t)record, weir_channel_producers(cold), weir_channel_consumers(cold) };
    bool possible = capacity >= WEIR_CAPACITY_MIN && capacity <= WEIR_CAPACITY_MAX && (capacity & (capacity - 1)) == 0 &&
                    (cold->kind->made_for_record ? record != 0 && record <= UINT32_MAX : record == 0);
    if (!possible || cold->kind->footprint(shape, shape->producers) == 0 ||
        cold->kind->footprint(shape, shape->producers) > WEIR_SECTION_SIZE_MAX - weir_channel_ring_at(cold))
        return weir_fail(WEIR_E_CORRUPT, "%s states a ring of %llu bytes, for records of %llu",
                         weir_section_name(cold->section), (unsigned long long)capacity, (unsigned long long)record);
    return WEIR_OK;
}

static weir_status attach_stated(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    struct channel_shape shape;
    weir_status status = weir_channel_stated_shape(cold, &shape);
    if (status == WEIR_OK)
        status = weir_terms_compare(cold, shape.capacity);
    if (status == WEIR_OK)
        status = weir_channel_view_ring(channel, &shape, 1);
    if (status != WEIR_OK)
        return status;
    uint64_t off = weir_channel_ring_at(cold), seen;
    do { /* lanes that were made since the section was looked at are not there yet, and look impossible */
        seen = cold->view.size;
        status = cold->kind->attach(channel, (unsigned char *)cold->view.base + off, seen - off, &shape);
        if (status == WEIR_E_CORRUPT && weir_section_size(cold->section) > seen &&
            weir_view_refresh(&cold->view) != WEIR_OK)
            break;
    } while (status == WEIR_E_CORRUPT && cold->view.size > seen);
    if (status == WEIR_E_MISMATCH || status == WEIR_E_INVALID) /* of more lanes, or slots, than the handle is for */
        status = weir_fail(WEIR_E_CORRUPT, "%s states a ring of %llu bytes and has another",
                           weir_section_name(cold->section), (unsigned long long)shape.capacity);
    cold->attached = status == WEIR_OK;
    return status == WEIR_E_NOT_WEIR ? WEIR_E_CORRUPT : status;
}

weir_status weir_channel_attach_ring(weir_channel *channel)
{
    weir_status status = attach_stated(channel);
    if (status == WEIR_E_CORRUPT) /* for good, as when a ring turns out corrupt later */
        weir_channel_poison(channel, status);
    return status;
}

/* Does the longest message that this side will send fit a ring of that shape? */
static weir_status check_record(struct channel_cold *cold, const struct terms *terms, const struct channel_shape *shape)
{
    struct channel_shape larger = *shape;
    uint32_t max = cold->kind->record_max(shape);
    if (terms->record_bytes <= max)
        return WEIR_OK;
    if (cold->kind->made_for_record)
        return weir_fail(WEIR_E_TOO_LARGE, "a record of %u bytes is over the limit of %u, for which %s was made",
                         terms->record_bytes, max, weir_section_name(cold->section));
    while (larger.capacity < WEIR_CAPACITY_MAX && cold->kind->record_max(&larger) < terms->record_bytes)
        larger.capacity *= 2;
    return weir_fail(WEIR_E_TOO_LARGE,
                     "a record of %u bytes is over the limit of %u in a lane of %llu bytes: that takes a capacity of "
                     "%llu or more",
                     terms->record_bytes, max, (unsigned long long)shape->capacity, (unsigned long long)larger.capacity);
}

/* Makes the section hold that many lanes. */
static weir_status make_room(weir_channel *channel, const struct channel_shape *shape, uint32_t lanes)
{
    struct channel_cold *cold = channel_cold(channel);
    uint64_t bytes = cold->kind->footprint(shape, lanes);
    if (bytes == 0)
        return weir_fail(WEIR_E_INVALID, "a ring of kind %s of %llu bytes for records of %u", cold->kind->name,
                         (unsigned long long)shape->capacity, shape->record_bytes);
    weir_status status = weir_section_extend(cold->section, weir_channel_ring_at(cold) + bytes);
    return status == WEIR_OK ? weir_channel_view_ring(channel, shape, lanes) : status;
}

/* What is missing is all of it, unless it waits for a producer to say how large; or a producer's lane.  The type is stated before the ring, because who finds the ring has found all terms; and after what
 * can fail, because who is refused states nothing. */
weir_status weir_channel_settle(weir_channel *channel, const struct terms *terms)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_channel_layout *layout = cold->view.base;
    struct channel_shape shape;
    weir_status status = weir_channel_stated_shape(cold, &shape);
    bool makes_ring = status == WEIR_EMPTY && terms->makes_ring;
    if (status != WEIR_OK && status != WEIR_EMPTY)
        return status;
    uint32_t lanes = cold->role == WEIR_PRODUCER ? cold->slot - cold->own.first + 1 : 1;
    if (makes_ring) /* relaxed: only the terms' holder stores it */
        shape = weir_terms_shape(terms, weir_channel_producers(cold), weir_channel_consumers(cold), weir_load_rlx(&layout->asked));
    if (makes_ring || (status == WEIR_OK && cold->kind->grow != NULL && cold->role == WEIR_PRODUCER)) {
        status = check_record(cold, terms, &shape);
        if (status == WEIR_OK)
            status = make_room(channel, &shape, lanes);
        uint64_t off = weir_channel_ring_at(cold);
        unsigned char *ring = (unsigned char *)cold->view.base + off;
        if (status == WEIR_OK)
            status = makes_ring ? cold->kind->init(ring, cold->view.size - off, &shape, lanes)
                                : cold->kind->grow(ring, cold->view.size - off, lanes);
        if (status != WEIR_OK)
            return status == WEIR_E_NOT_WEIR ? WEIR_E_CORRUPT : status;
        layout = cold->view.base;
    } else if (status == WEIR_OK) {
        status = check_record(cold, terms, &shape);
        if (status != WEIR_OK)
            return status;
    }
    if (weir_load_rlx(&layout->type_len) == 0) /* relaxed: only the terms' holder stores it, */
        weir_terms_state_type(layout, &terms->type);
    if (weir_load_rlx(&layout->asked) == 0) /* and this */
        weir_store_rlx(&layout->asked, terms->capacity);
    if (makes_ring)
        weir_terms_state_ring(layout, &shape, weir_load_rlx(&layout->asked) != 0);
    return WEIR_OK;
}
