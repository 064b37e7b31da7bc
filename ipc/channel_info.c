/* ipc/channel_info.c - what a channel is, and who is there. */
#include <weir/base/fail.h>
#include <weir/ipc/channel_terms.h>

#include <string.h>

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
    weir_channel_facts seen = { .kind = WEIR_SPSC };
    weir_status status = weir_channel_explain(channel, WEIR_OK);
    if (status != WEIR_OK)
        return weir_channel_leave(channel, status);
    struct channel_side producers = { 0, weir_channel_producers(cold) };
    struct channel_side consumers = { producers.count, weir_channel_consumers(cold) };
    status = weir_channel_crowd(cold, producers, true, &seen.producer, &seen.producers_alive);
    if (status == WEIR_OK)
        status = weir_channel_crowd(cold, consumers, true, &seen.consumer, &seen.consumers_alive);
    struct channel_type type;
    if (status == WEIR_OK)
        status = weir_terms_read_type(cold->view.base, weir_section_name(cold->section), &type);
    if (status != WEIR_OK)
        return weir_channel_leave(channel, status);
    struct channel_shape shape;
    struct weir_detail detail;
    weir_detail_save(&detail); /* an impossible ring is found by who attaches */
    if (weir_channel_stated_shape(cold, &shape) == WEIR_OK) {
        seen.capacity = cold->kind->capacity(&shape);
        seen.record_max = cold->kind->record_max(&shape);
    }
    weir_detail_restore(&detail);
    seen.kind = cold->number;
    seen.producers = producers.count;
    seen.consumers = consumers.count;
    seen.slot = cold->slot - cold->own.first;
    memcpy(seen.type, type.name, sizeof seen.type);
    seen.type_size = type.size;
    seen.type_alignment = type.alignment;
    seen.type_version = type.version;
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
