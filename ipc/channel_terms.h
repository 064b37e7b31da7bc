/* ipc/channel_terms.h - private: what the openers of a channel agree on, and the ring they make of it. */
#ifndef WEIR_IPC_CHANNEL_TERMS_H
#define WEIR_IPC_CHANNEL_TERMS_H

#include <weir/ipc/kind.h>

/* The opener's wishes, checked: what a new channel is made from. */
struct terms {
    uint32_t kind;
    const struct channel_kind *calls;
    uint64_t capacity; /* rounded; 0: not stated */
    uint32_t record_bytes;
    uint32_t producers, consumers; /* 0: not stated */
    uint64_t identity;
    struct channel_type type;
    bool full_fence; /* this process cannot fence others */
    bool makes_ring; /* where there is none: it knows what is needed for that */
};

/* What a new channel is filled with. */
struct making {
    const struct terms *terms;
    struct channel_shape shape;
};

/* ---- the terms: channel_terms.c ---- */

weir_status weir_terms_check_options(const weir_channel_options *options, weir_role role, struct terms *terms);

/* The ring that these terms make; asked: a capacity that somebody stated before there was a ring, or 0. */
struct channel_shape weir_terms_shape(const struct terms *terms, uint32_t producers, uint32_t consumers, uint64_t asked);

/* How many of a role a new channel is made for. */
uint32_t weir_terms_members(uint32_t stated, bool many);

/* weir_terms_check_section tells whether the section can be a channel's at all, before it is mapped. */
weir_status weir_terms_check_section(weir_section *section);

/* weir_terms_init_layout is a section's init: it fills a new channel's content; arg is a struct making. */
weir_status weir_terms_init_layout(void *content, uint64_t size, void *arg);

/* weir_terms_read_head reads the channel's constants, each once and checked, into the handle; of any kind, one that
 * this library does not know among them (kind: NULL). */
weir_status weir_terms_read_head(struct channel_cold *cold);

/* weir_terms_check_layout does so and compares them with what this handle states. */
weir_status weir_terms_check_layout(struct channel_cold *cold, const struct terms *terms);

/* weir_terms_compare compares what this handle states with what the channel states by now. */
weir_status weir_terms_compare(struct channel_cold *cold, uint64_t capacity);

/* What follows is for the holder of the terms' slot. */
void weir_terms_state_type(weir_channel_layout *layout, const struct channel_type *type);
void weir_terms_state_ring(weir_channel_layout *layout, const struct channel_shape *shape, bool stated);

weir_status weir_terms_read_type(const weir_channel_layout *layout, const char *channel, struct channel_type *type);

/* ---- the ring: channel_ring.c ---- */

static inline uint64_t weir_channel_ring_at(const struct channel_cold *cold)
{
    return weir_channel_ring_off(weir_channel_producers(cold), weir_channel_consumers(cold));
}

/* weir_channel_view sees that `bytes` of the content can be touched, and that up to `room` will be at the same
 * addresses. */
weir_status weir_channel_view(weir_channel *channel, uint64_t bytes, uint64_t room);
weir_status weir_channel_view_ring(weir_channel *channel, const struct channel_shape *shape, uint32_t lanes);

/* The ring as the section states it; WEIR_EMPTY while there is none. */
weir_status weir_channel_stated_shape(struct channel_cold *cold, struct channel_shape *shape);

/* weir_channel_settle makes what is missing of the ring for this handle, and states what is not stated yet. */
weir_status weir_channel_settle(weir_channel *channel, const struct terms *terms);

#endif
