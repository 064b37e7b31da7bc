/* ipc/channel_info.c - what a channel is, and who is there: for its participants and its observers. */
#include <weir/base/fail.h>
#include <weir/ipc/channel_look.h>
#include <weir/ipc/channel_terms.h>
#include <weir/ipc/member.h>

#include <string.h>

/* The ring as it is stated; one that is impossible, or of a kind that is not known here, is none: who attaches finds
 * that out. */
static bool stated_shape(struct channel_cold *cold, struct channel_shape *shape)
{
    struct weir_detail detail;
    weir_detail_save(&detail);
    bool there = cold->kind != NULL && weir_channel_stated_shape(cold, shape) == WEIR_OK;
    weir_detail_restore(&detail);
    return there;
}

weir_status weir_look_at_channel(struct channel_cold *cold, weir_channel_facts *facts)
{
    weir_channel_facts seen = { .kind = cold->number };
    struct channel_side producers = { 0, weir_channel_producers(cold) };
    struct channel_side consumers = { producers.count, weir_channel_consumers(cold) };
    struct channel_type type;
    struct channel_shape shape;
    weir_status status = weir_channel_crowd(cold, producers, true, &seen.producer, &seen.producers_alive);
    if (status == WEIR_OK)
        status = weir_channel_crowd(cold, consumers, true, &seen.consumer, &seen.consumers_alive);
    if (status == WEIR_OK)
        status = weir_terms_read_type(cold->view.base, weir_section_name(cold->section), &type);
    if (status != WEIR_OK)
        return status;
    if (stated_shape(cold, &shape)) {
        seen.capacity = cold->kind->capacity(&shape);
        seen.record_max = cold->kind->record_max(&shape);
    }
    seen.producers = producers.count;
    seen.consumers = consumers.count;
    memcpy(seen.type, type.name, sizeof seen.type);
    seen.type_size = type.size;
    seen.type_alignment = type.alignment;
    seen.type_version = type.version;
    *facts = seen;
    return WEIR_OK;
}

/* What this handle has counted since it came. */
static uint64_t counted(const struct channel_cold *cold, unsigned which)
{
    return weir_load_rlx(&cold->member->count[which]) - weir_load_rlx(&cold->member->count_before[which]);
}

weir_status weir_channel_info(weir_channel *channel, weir_channel_facts *facts)
{
    if (!weir_channel_enter(channel))
        return WEIR_E_BUSY;
    struct channel_cold *cold = channel_cold(channel);
    weir_channel_facts seen;
    weir_status status = weir_channel_explain(channel, WEIR_OK);
    if (status == WEIR_OK)
        status = weir_look_at_channel(cold, &seen);
    if (status != WEIR_OK)
        return weir_channel_leave(channel, status);
    seen.slot = cold->slot - cold->own.first;
    seen.messages = counted(cold, WEIR_COUNT_MESSAGES);
    seen.full = counted(cold, WEIR_COUNT_FULL);
    seen.sleeps = counted(cold, WEIR_COUNT_SLEPT);
    seen.woken = counted(cold, WEIR_COUNT_WOKEN);
    seen.lost = counted(cold, WEIR_COUNT_LOST);
    seen.recovered = counted(cold, WEIR_COUNT_RECOVERED);
    seen.redelivered = cold->redelivered;
    *facts = seen;
    return weir_channel_leave(channel, WEIR_OK);
}

/* ---- the places ---- */

weir_status weir_look_at_members(struct channel_cold *cold, weir_member *out, uint32_t max, uint32_t *count)
{
    struct channel_shape shape;
    bool ring = stated_shape(cold, &shape);
    uint32_t producers = weir_channel_producers(cold), found = 0;
    for (uint32_t slot = 0; slot < producers + weir_channel_consumers(cold); slot++) {
        weir_member one = { .known = false };
        const weir_channel_layout *layout = cold->view.base;
        weir_status status = weir_member_look(cold->section, slot, &layout->member[slot], &one);
        if (status == WEIR_EMPTY)
            continue;
        if (status != WEIR_OK)
            return status;
        one.role = slot < producers ? WEIR_PRODUCER : WEIR_CONSUMER;
        one.place = slot < producers ? slot : slot - producers;
        if (ring)
            one.position_is = weir_look_at_position(cold, &shape, one.role, one.place, &one.position);
        if (found < max)
            out[found] = one;
        found++;
    }
    *count = found;
    return WEIR_OK;
}

weir_status weir_channel_members(weir_channel *channel, weir_member *out, uint32_t max, uint32_t *count)
{
    if ((out == NULL && max != 0) || count == NULL)
        return weir_fail(WEIR_E_INVALID, "no place to return the members, or their number");
    if (!weir_channel_enter(channel))
        return WEIR_E_BUSY;
    weir_status status = weir_channel_explain(channel, WEIR_OK);
    struct channel_cold *cold = channel_cold(channel);
    struct weir_detail detail;
    weir_detail_save(&detail);
    if (status == WEIR_OK && weir_view_refresh(&cold->view) != WEIR_OK)
        weir_detail_restore(&detail); /* lanes that came since show no position then */
    if (status == WEIR_OK)
        status = weir_look_at_members(cold, out, max, count);
    return weir_channel_leave(channel, status);
}
