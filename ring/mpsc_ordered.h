/* ring/mpsc_ordered.h - many producers, one consumer, one order: a record whose push returned before another's began is
 * delivered first, whoever's they are.
 *
 * As mpsc.h, a lane for each producer; each record carries a stamp, drawn from one counter when it is pushed.  The
 * consumer delivers the lowest stamp at the lanes' heads, after a second look at the lanes that were empty: whatever
 * was published before the record in hand is there by then.  Gaps in the stamps mean nothing and nobody waits for
 * one, so a producer that stops or dies between its stamp and its record holds up nobody.
 *
 * Records pushed with push_more take their place when they are pushed and are delivered after they are flushed; what
 * others pushed in between may have been delivered before.
 *
 *   weir_mpsc_ordered_init             once, by whoever made the memory
 *   weir_mpsc_ordered_producer_attach  a lane that has no producer; then push, push_more, reserve + commit, flush
 *   weir_mpsc_ordered_consumer_attach  then pop, pop_more, peek, release
 *
 * Callers, Hostile: as mpsc.h.
 * Progress: every call is wait-free; peek looks at every lane, at most once for each lane that was empty and is not. */
#ifndef WEIR_RING_MPSC_ORDERED_H
#define WEIR_RING_MPSC_ORDERED_H

#include <weir/ring/mpsc.h>

WEIR_BEGIN_DECLS

#define WEIR_MPSC_STAMP 8u /* bytes of a lane's record before the payload */

typedef struct weir_mpsc_ordered_producer {
    weir_spsc_producer lane;
    weir_atomic_u64 *stamp; /* the counter, in the ring */
} weir_mpsc_ordered_producer;

/* The consumer's private half of a lane: its handle, and the record at its head, looked at and not delivered. */
typedef struct weir_mpsc_ordered_lane {
    weir_spsc_consumer lane;
    uint64_t stamp;
    uint64_t next_pos; /* behind that record */
    const void *msg;
    uint32_t len;
    uint32_t has_head; /* 0: none is known */
} weir_mpsc_ordered_lane;

typedef struct weir_mpsc_ordered_consumer {
    weir_mpsc_ordered_lane *lanes; /* the caller's memory, one for each lane */
    weir_ring_room room;
    uint64_t capacity;             /* of each lane */
    uint32_t count;                /* lanes attached to; 0: not attached, or corrupt */
    uint32_t heads;                /* lanes that have a head */
    weir_status fault;             /* WEIR_E_CORRUPT once seen */
} weir_mpsc_ordered_consumer;

/* weir_mpsc_ordered_footprint, _init, _init_some, _grow, _producer_attach, _consumer_attach: as those of mpsc.h.
 * start_stamp is the first stamp, 0 or another (tests start it just before a wrap).  handles is weir_mpsc_ordered_lane,
 * one for each lane. */
WEIR_API uint64_t weir_mpsc_ordered_footprint(uint32_t lanes, uint64_t capacity_bytes);
WEIR_API weir_status weir_mpsc_ordered_init(void *mem, uint64_t size_bytes, uint32_t lanes, uint64_t capacity_bytes,
                                            uint64_t start_pos, uint64_t start_stamp);
WEIR_API weir_status weir_mpsc_ordered_init_some(void *mem, uint64_t size_bytes, uint32_t lanes, uint32_t made,
                                                 uint64_t capacity_bytes, uint64_t start_pos, uint64_t start_stamp);
WEIR_API weir_status weir_mpsc_ordered_grow(void *mem, uint64_t size_bytes, uint32_t made);
WEIR_API weir_status weir_mpsc_ordered_producer_attach(weir_mpsc_ordered_producer *p, void *mem, uint64_t size_bytes,
                                                       uint32_t lane);
WEIR_API weir_status weir_mpsc_ordered_consumer_attach(weir_mpsc_ordered_consumer *c, void *mem, uint64_t size_bytes,
                                                       weir_mpsc_ordered_lane *handles, uint32_t count);

WEIR_API weir_status weir_mpsc_ordered_refuse(const weir_mpsc_ordered_producer *p, uint64_t len);

/* weir_mpsc_ordered_record_max returns the longest record: a lane's, less the stamp.  0 where capacity is none. */
WEIR_API uint32_t weir_mpsc_ordered_record_max(uint64_t capacity_bytes);

/* ---- producer ---- */

/* weir_mpsc_ordered_reserve, _commit, _commit_more, _push, _push_more and _flush are those of spsc.h, on the producer's
 * lane.  A record takes its stamp in commit, or in push.
 *
 * Progress: wait-free (one fetch_add).  Ordering: as spsc.h; the stamp needs none: of two pushes of which one happened
 *           before the other, its draw did too, and a counter's draws are in one order.
 * Returns, If killed: as spsc.h; a stamp that was drawn and not used is a gap, which means nothing. */
static inline weir_status weir_mpsc_ordered_reserve(weir_mpsc_ordered_producer *p, uint64_t len, void **slot)
{
    void *record;
    p->lane.reserved = 0;
    if (WEIR_UNLIKELY(len > UINT32_MAX || len + WEIR_MPSC_STAMP > p->lane.record_max))
        return weir_mpsc_ordered_refuse(p, len);
    weir_status status = weir_spsc_reserve(&p->lane, len + WEIR_MPSC_STAMP, &record);
    if (status == WEIR_OK)
        *slot = (unsigned char *)record + WEIR_MPSC_STAMP;
    return status;
}

static inline weir_status weir_mpsc_ordered_commit_as(weir_mpsc_ordered_producer *p, uint64_t len, bool more)
{
    if (WEIR_UNLIKELY(p->lane.reserved == 0 || len + WEIR_MPSC_STAMP < len ||
                      len + WEIR_MPSC_STAMP >= p->lane.reserved))
        return weir_spsc_commit_as(&p->lane, UINT64_MAX, more, NULL); /* it says what is wrong */
    uint64_t stamp = weir_fetch_add_rlx(p->stamp, 1);
    uint64_t idx = weir_spsc_start(&p->lane, p->lane.reserved - 1) & (p->lane.capacity - 1);
    WEIR_PAYLOAD_WRITE(p->lane.data + idx + WEIR_SPSC_HEADER, &stamp, sizeof stamp);
    return weir_spsc_commit_as(&p->lane, len + WEIR_MPSC_STAMP, more, NULL);
}

static inline weir_status weir_mpsc_ordered_commit(weir_mpsc_ordered_producer *p, uint64_t len)
{
    return weir_mpsc_ordered_commit_as(p, len, false);
}

static inline weir_status weir_mpsc_ordered_commit_more(weir_mpsc_ordered_producer *p, uint64_t len)
{
    return weir_mpsc_ordered_commit_as(p, len, true);
}

static inline weir_status weir_mpsc_ordered_put(weir_mpsc_ordered_producer *p, const void *msg, uint64_t len, bool more)
{
    void *slot = NULL;
    uint32_t reserved = p->lane.reserved;
    weir_status status = weir_mpsc_ordered_reserve(p, len, &slot);
    if (WEIR_UNLIKELY(status != WEIR_OK)) {
        p->lane.reserved = p->lane.capacity != 0 ? reserved : 0; /* only a record that goes in gives it up */
        return status;
    }
    weir_spsc_copy((unsigned char *)slot, msg, len);
    return weir_mpsc_ordered_commit_as(p, len, more);
}

static inline weir_status weir_mpsc_ordered_push(weir_mpsc_ordered_producer *p, const void *msg, uint64_t len)
{
    return weir_mpsc_ordered_put(p, msg, len, false);
}

static inline weir_status weir_mpsc_ordered_push_more(weir_mpsc_ordered_producer *p, const void *msg, uint64_t len)
{
    return weir_mpsc_ordered_put(p, msg, len, true);
}

static inline void weir_mpsc_ordered_flush(weir_mpsc_ordered_producer *p)
{
    weir_spsc_flush(&p->lane);
}

/* ---- consumer ---- */

/* weir_mpsc_ordered_peek gives the next record in place; the bytes stay until release.  *lane is whose it is.
 *
 * Progress: wait-free.  Ordering: acquire (edge SPSC-DATA).
 * Returns:  WEIR_OK; WEIR_EMPTY; WEIR_E_CORRUPT; WEIR_E_STATE (c is not attached).
 * If killed: the record is seen again by the next consumer. */
WEIR_API weir_status weir_mpsc_ordered_peek(weir_mpsc_ordered_consumer *c, const void **msg, uint32_t *len,
                                            uint32_t *lane);

/* weir_mpsc_ordered_release gives back the room of every record delivered so far, in every lane.  As
 * weir_mpsc_release. */
WEIR_API void weir_mpsc_ordered_release(weir_mpsc_ordered_consumer *c);

/* weir_mpsc_ordered_pop_more, weir_mpsc_ordered_pop and weir_mpsc_ordered_ready: as those of mpsc.h. */
WEIR_API weir_status weir_mpsc_ordered_pop_more(weir_mpsc_ordered_consumer *c, void *buffer, uint64_t size_bytes,
                                                uint32_t *len, uint32_t *lane);
WEIR_API weir_status weir_mpsc_ordered_pop(weir_mpsc_ordered_consumer *c, void *buffer, uint64_t size_bytes,
                                           uint32_t *len, uint32_t *lane);
WEIR_API weir_status weir_mpsc_ordered_ready(weir_mpsc_ordered_consumer *c);

WEIR_END_DECLS

#endif
