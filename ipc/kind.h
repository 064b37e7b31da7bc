/* ipc/kind.h - private: what a channel asks of its ring.  A table for each kind, a file for each table (kind_*.c). */
#ifndef WEIR_IPC_KIND_H
#define WEIR_IPC_KIND_H

#include <weir/ipc/channel_private.h>

/* What a ring is made for. */
struct channel_shape {
    uint64_t capacity; /* of a lane: a power of two */
    uint32_t record_bytes; /* of the kinds that are made for a longest record; 0: of the others */
    uint32_t producers, consumers;
};

/* What a call wants to do with the next message. */
struct channel_get {
    const void **msg; /* NULL: copy it */
    void *buffer;
    uint64_t size_bytes;
    uint32_t *len;
    bool releases;
};

/* The calls are made on a handle that is attached, by its role; they take no part in waiting and waking.  WEIR_EMPTY
 * and WEIR_FULL are for the caller to wait for. */
struct channel_kind {
    const char *name;
    bool many_producers, many_consumers;
    bool made_for_record; /* a producer makes the ring, who knows the longest record */
    bool joins_first;     /* a consumer's generation stands in the ring: it is announced before it attaches */

    /* What a ring of that shape takes with that many lanes (of kinds without lanes: 1), what its lane really holds, and
     * its longest record; 0: there is none of that shape. */
    uint64_t (*footprint)(const struct channel_shape *shape, uint32_t lanes);
    uint64_t (*capacity)(const struct channel_shape *shape);
    uint32_t (*record_max)(const struct channel_shape *shape);
    uint64_t init_bytes; /* init writes no more than so many of the ring's first bytes; 0: anywhere in it */
    weir_status (*init)(void *ring, uint64_t bytes, const struct channel_shape *shape, uint32_t lanes);
    weir_status (*grow)(void *ring, uint64_t bytes, uint32_t lanes); /* NULL: it has all it will have */
    weir_status (*attach)(weir_channel *channel, void *ring, uint64_t bytes, const struct channel_shape *shape);
    void (*detach)(weir_channel *channel); /* NULL: nothing is to be done */

    weir_status (*put)(weir_channel *channel, const void *msg, uint64_t len, bool more);
    /* All that fit, at once; *sent of them.  NULL: put, one by one, is as fast. */
    weir_status (*put_array)(weir_channel *channel, const void *msgs, uint64_t len, uint32_t count, uint32_t *sent);
    weir_status (*reserve)(weir_channel *channel, uint64_t len, void **slot);
    weir_status (*commit)(weir_channel *channel, uint64_t len, bool more);
    void (*flush)(weir_channel *channel);
    weir_status (*place)(weir_channel *channel, uint64_t len); /* is there room? */
    weir_status (*drained)(weir_channel *channel);             /* WEIR_FULL: not yet */
    uint64_t (*want)(weir_channel *channel, uint64_t len); /* who releases that position wakes a producer that waits for
                                                            * room; len UINT64_MAX: one that waits for all */

    weir_status (*peek)(weir_channel *channel, const void **msg, uint32_t *len);
    weir_status (*pop)(weir_channel *channel, void *buffer, uint64_t size_bytes, uint32_t *len);
    void (*release)(weir_channel *channel); /* and wakes who sleeps for it */
    /* Shorter ways to a message, got and counted, each tried before those above; where they say no, no message was taken
     * (what was found lost is still to be told).  NULL: there is none.  in_hand: of a kind whose calls are not inline, for
     * who finds one at once.  next: of a kind whose lane in hand is inline, when that has ended. */
    bool (*in_hand)(weir_channel *channel, const struct channel_get *get);
    weir_status (*next)(weir_channel *channel, const struct channel_get *get);
    weir_status (*ready)(weir_channel *channel);

    /* Is what a consumer left in that place being seen to by another?  NULL: nobody sees to another's. */
    bool (*is_taken)(const void *ring, uint64_t bytes, uint32_t place);

    /* Asks who is gone and sees to what they left.  A call of the system or some: not at every look. */
    weir_status (*recover)(weir_channel *channel); /* NULL: what the dead leave needs nobody */
};

/* weir_channel_recovered notes that what was left in a place was seen to, if status is WEIR_OK. */
void weir_channel_recovered(weir_channel *channel, weir_status status, uint32_t place);

/* NULL: there is no such kind. */
const struct channel_kind *weir_channel_kind(uint32_t kind);

extern const struct channel_kind weir_channel_spsc, weir_channel_mpsc, weir_channel_mpsc_ordered, weir_channel_mpmc,
    weir_channel_broadcast, weir_channel_broadcast_gated, weir_channel_latest, weir_channel_mailbox,
    weir_channel_mailbox_discard;

/* The calls of a producer whose handle is channel->tx: a lane of its own. */
weir_status weir_channel_lane_put(weir_channel *channel, const void *msg, uint64_t len, bool more);
weir_status weir_channel_lane_put_array(weir_channel *channel, const void *msgs, uint64_t len, uint32_t count,
                                        uint32_t *sent);
weir_status weir_channel_lane_reserve(weir_channel *channel, uint64_t len, void **slot);
weir_status weir_channel_lane_commit(weir_channel *channel, uint64_t len, bool more);
void weir_channel_lane_flush(weir_channel *channel);
weir_status weir_channel_lane_place(weir_channel *channel, uint64_t len);
weir_status weir_channel_lane_drained(weir_channel *channel);
uint64_t weir_channel_lane_want(weir_channel *channel, uint64_t len);
uint64_t weir_channel_lane_want_of(const weir_spsc_producer *lane, uint64_t len);

/* And of a consumer whose handle is channel->rx. */
weir_status weir_channel_lane_peek(weir_channel *channel, const void **msg, uint32_t *len);
weir_status weir_channel_lane_pop(weir_channel *channel, void *buffer, uint64_t size_bytes, uint32_t *len);
void weir_channel_lane_release(weir_channel *channel);
weir_status weir_channel_lane_ready(weir_channel *channel);

/* weir_channel_woken wakes the producer of that place if it sleeps and what it waits for has been released. */
void weir_channel_woken(weir_channel *channel, uint32_t producer, uint64_t released_pos);
void weir_channel_woken_by_any(weir_channel *channel, uint32_t producer); /* whatever it waits for */

/* The waker's half of the handshake with the producer of that place: is it worth a call of the two above? */
static inline bool weir_channel_producer_sleeps(weir_channel *channel, uint32_t producer)
{
    if (channel->full_fence != 0)
        weir_fence_sc(); /* order WAKE sc: what was released before the look at armed */
    else
        weir_fence_compiler(); /* order WAKE sc: the sleeper's membarrier is the fence of both sides */
    return WEIR_UNLIKELY(weir_load32_rlx(&channel_cold(channel)->layout->member[producer].sleeper.armed) != 0);
}

/* weir_channel_ask_alerts says in the section whether this handle has a descriptor; weir_channel_hush gives up that,
 * those of others, and the watch. */
void weir_channel_ask_alerts(struct channel_cold *cold, bool wanted);
void weir_channel_hush(weir_channel *channel);
void weir_channel_forget(struct channel_cold *cold); /* the descriptors of others, which weir_channel_signal has kept */

/* weir_channel_make_copy sees to memory for a message that peek can give, of the kinds that overwrite them. */
weir_status weir_channel_make_copy(struct channel_cold *cold, uint32_t record_max);

/* weir_channel_reach sees that the ring's first bytes can be touched: the lanes' weir_ring_reach; arg is the channel. */
weir_status weir_channel_reach(void *arg, uint64_t bytes);

/* For the kinds whose producer knows of no reader: where this consumer is, and whether all that are there have come
 * so far. */
void weir_channel_progress(weir_channel *channel, uint64_t position);
weir_status weir_channel_all_at(weir_channel *channel, uint64_t position);

#endif
