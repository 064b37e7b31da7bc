/* ring/spsc.h - the lane: a wait-free byte ring for one producer and one consumer.
 *
 * It lives on any 64-byte aligned memory that both ends see, at whatever address each sees it: heap, a static array, a
 * view of a section.  Nothing in that memory is a pointer.  ring/README.md draws it and argues its memory orders.
 *
 * Records are 0 to weir_spsc_record_max(capacity) bytes and are handed over whole and in order.  A record's payload
 * starts 8-byte aligned.  Each end has a private handle, which only it touches:
 *
 *   weir_spsc_init             once, by whoever made the memory, before either end attaches
 *   weir_spsc_producer_attach  then push, push_more, push_array, reserve + commit, flush
 *   weir_spsc_consumer_attach  then pop, pop_more, peek, release
 *
 * There is no detach: a handle holds nothing.  An end whose owner is gone, in order or killed, is taken over by
 * attaching a new handle to it; that the old owner is gone is for the caller to know (ipc/ does).
 *
 * "_more" says that more follows: records written by push_more and commit_more appear to the consumer all at once, with
 * the next push, commit or flush; records read by pop_more and peek are given back all at once by release or pop.
 *
 * Callers:  producer calls by one thread at a time, consumer calls by one thread at a time; the two run freely beside
 *           each other.  Async-signal-safe, except inside another call on the same handle.
 * Progress: every call is wait-free: no loop in it depends on the other end, and a stopped or dead one costs nothing
 *           but the memory it holds (FULL, EMPTY).  Attaching a producer walks the records that are there.
 * Hostile:  no bytes in the ring make a call fault, loop or leave the ring's memory.  Bytes that no producer or
 *           consumer writes give WEIR_E_CORRUPT, and that handle then answers so for good. */
#ifndef WEIR_RING_SPSC_H
#define WEIR_RING_SPSC_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <weir/base/api.h>
#include <weir/base/atomic.h>
#include <weir/base/cacheline.h>
#include <weir/base/status.h>

WEIR_BEGIN_DECLS

#define WEIR_SPSC_CAPACITY_MIN 64u
#define WEIR_SPSC_CAPACITY_MAX (UINT64_C(1) << 46)
#define WEIR_SPSC_CONTROL 256u /* bytes before the data: two line pairs */
#define WEIR_SPSC_COPY_MAX 1024u /* bytes; above it memcpy is as fast */
#define WEIR_SPSC_AHEAD_MIN 512u  /* bytes behind a record that are made the producer's own at once: two records of */
#define WEIR_SPSC_AHEAD_MAX 4096u /* its size, but no less and no more than these; a longer record's own come before it. */
#define WEIR_SPSC_AHEAD_ALONE 128u /* No less than this of records that fit a line and go one at a time (ring/README.md) */
#define WEIR_SPSC_OWN_MAX 65536u  /* of a longer reservation: more would leave L1 and L2 again before it is filled */
#define WEIR_SPSC_NOT_CLEARED UINT64_C(1) /* no position: those are multiples of 8 */

/* A record's header is one 64-bit word: a tag above, the payload's length in bytes below.  0 is "nothing yet". */
#define WEIR_SPSC_HEADER 8u
#define WEIR_SPSC_DATA (UINT64_C(0x77656972) << 32)
#define WEIR_SPSC_PAD (UINT64_C(0x70616464) << 32)
#define WEIR_SPSC_TAG (UINT64_C(0xffffffff) << 32)

/* The producer's private half.  Its fields belong to the functions below.  What a push stores lies in the first 24 bytes (the
 * mark of a channel's call stands before them, in the same 32): stores that follow one another go to the cache as one
 * where they lie that close, and each one more that does not stands between the ring's lines (ring/README.md). */
typedef struct weir_spsc_producer {
    uint64_t pos;          /* where the next header goes */
    uint64_t cleared_pos;  /* the word there, ahead of the records, is a 0 (weir_spsc_prepare), or NOT_CLEARED */
    uint32_t reserved;     /* an open reservation: its payload bytes + 1; 0: none is open */
    uint32_t record_max;   /* bytes */
    uint64_t limit_pos;    /* the consumer's position as last believed, plus the capacity */
    uint64_t capacity;     /* 0: not attached, or corrupt */
    unsigned char *data;   /* the ring's bytes, at this process's address */
    uint64_t own_pos;      /* the lines that begin before it are the producer's own, as far as it knows */
    /* Seldom written, on another line. */
    uint64_t batch_header; /* an open batch: its first header, not stored yet; 0: no batch is open */
    uint64_t batch_pos;    /* where the open batch's first header goes */
    uint64_t head_pos;     /* the consumer's position as last believed */
    weir_atomic_u64 *head; /* the consumer's position, in the ring; null: others move the limit (broadcast_gated.h) */
    weir_status fault;     /* WEIR_E_CORRUPT once seen */
    bool alone;            /* records go one at a time: when the consumer was asked last, it had all but one */
} weir_spsc_producer;

/* The consumer's private half. */
typedef struct weir_spsc_consumer {
    unsigned char *data;
    weir_atomic_u64 *head;
    uint64_t capacity; /* 0: not attached, or corrupt */
    uint64_t pos;      /* the next record to read */
    uint64_t limit_pos; /* no record that reaches beyond it is read without a closer look; not before pos */
    uint64_t head_pos; /* what is stored in *head: everything before it was given back */
    uint32_t record_max;
    uint32_t turn;     /* not 0: what lies behind the limit is EMPTY, until the caller moves that: others have their turn */
    weir_status fault;
} weir_spsc_consumer;

/* weir_spsc_capacity rounds a wish up to what the ring needs: the next power of two, at least 64.
 *
 * Returns:  bytes, or 0 where the wish is above WEIR_SPSC_CAPACITY_MAX. */
WEIR_API uint64_t weir_spsc_capacity(uint64_t wish_bytes);

/* weir_spsc_footprint returns the bytes of memory that a ring of this capacity takes, or 0 where capacity is not a
 * power of two from 64 to WEIR_SPSC_CAPACITY_MAX. */
WEIR_API uint64_t weir_spsc_footprint(uint64_t capacity_bytes);

/* weir_spsc_record_max returns the longest record that always fits an empty ring, wherever its position stands: half
 * the capacity less two headers (at most 2^31 - 8).  0 where capacity is no capacity. */
WEIR_API uint32_t weir_spsc_record_max(uint64_t capacity_bytes);

/* weir_spsc_init makes an empty ring in mem.  It writes the control block and one header; the rest may hold anything.
 *
 * start_pos is where the position counters begin: 0, or any multiple of 8 (tests start them just before a wrap).
 * Callers:  one thread, before the memory is shown to the other end.
 * Returns:  WEIR_OK; WEIR_E_INVALID (mem not 64-byte aligned, size under the footprint, capacity or start_pos wrong).
 * If killed: mem holds no ring, or the whole new one: the magic goes first and comes last. */
WEIR_API weir_status weir_spsc_init(void *mem, uint64_t size_bytes, uint64_t capacity_bytes, uint64_t start_pos);

/* weir_spsc_producer_attach makes p the ring's producer.  It begins behind the last record that a former producer
 * committed; what that one had not committed, half a batch too, is as if it had never been.
 *
 * Callers:  one thread; the former producer must be gone.  The consumer may be at work.
 * Progress: a walk over the records that are there, at most capacity / 8 steps.
 * Returns:  WEIR_OK; WEIR_E_INVALID (mem not aligned); WEIR_E_NOT_WEIR (no ring there); WEIR_E_VERSION; WEIR_E_CORRUPT
 *           (capacity does not fit size_bytes, or an impossible header).  p is unattached on failure.
 * If killed: nothing was written. */
WEIR_API weir_status weir_spsc_producer_attach(weir_spsc_producer *p, void *mem, uint64_t size_bytes);

/* weir_spsc_consumer_attach makes c the ring's consumer.  It begins at the first record that was not released: what a
 * former consumer read without releasing is seen again.
 *
 * Callers, Returns, If killed: as weir_spsc_producer_attach, with the ends exchanged.  Progress: wait-free. */
WEIR_API weir_status weir_spsc_consumer_attach(weir_spsc_consumer *c, void *mem, uint64_t size_bytes);

/* The paths that are taken seldom, kept out of line. */
WEIR_API weir_status weir_spsc_place_slow(weir_spsc_producer *p, uint64_t len, uint64_t *start_pos);
WEIR_API weir_status weir_spsc_put_slow(weir_spsc_producer *p, const void *msg, uint64_t len, int more,
                                        weir_atomic_u64 *tally);
WEIR_API weir_status weir_spsc_reserve_slow(weir_spsc_producer *p, uint64_t len, void **slot);
WEIR_API void weir_spsc_copy_long(void *buffer, const void *msg, uint64_t len);
WEIR_API void weir_spsc_own(weir_spsc_producer *p, uint64_t end_pos, uint64_t size);
WEIR_API void weir_spsc_own_record(weir_spsc_producer *p, uint64_t start_pos, uint64_t len);
WEIR_API weir_status weir_spsc_consumer_next(weir_spsc_consumer *c, uint64_t header, const void **msg, uint32_t *len);

/* ---- producer ---- */

WEIR_INLINE uint64_t weir_spsc_size(uint64_t len)
{
    return WEIR_SPSC_HEADER + ((len + 7) & ~UINT64_C(7));
}

/* The position at which a record of len bytes goes: here, or behind padding at the ring's start. */
WEIR_INLINE uint64_t weir_spsc_start(const weir_spsc_producer *p, uint64_t len)
{
    uint64_t room = p->capacity - (p->pos & (p->capacity - 1));
    return p->pos + (weir_spsc_size(len) > room ? room : 0);
}

/* The same, and whether it fits there, as far as is known of the consumer. */
WEIR_INLINE bool weir_spsc_fits(const weir_spsc_producer *p, uint64_t len, uint64_t *start_pos)
{
    if (WEIR_UNLIKELY(len > p->record_max))
        return false;
    uint64_t size = weir_spsc_size(len), start = weir_spsc_start(p, len);
    *start_pos = start;
    /* One header more than the record: the word behind it must be ours to clear. */
    return (int64_t)(p->limit_pos - (start + size + WEIR_SPSC_HEADER)) >= 0;
}

/* The same, and the consumer is asked before it does not. */
static inline weir_status weir_spsc_place(weir_spsc_producer *p, uint64_t len, uint64_t *start_pos)
{
    return WEIR_LIKELY(weir_spsc_fits(p, len, start_pos)) ? WEIR_OK : weir_spsc_place_slow(p, len, start_pos);
}

/* weir_spsc_flush publishes the open batch; without one it does nothing.
 *
 * Progress: wait-free.  Ordering: release (edge SPSC-DATA).
 * If killed: before the store none of the batch exists; after it, all does. */
WEIR_INLINE void weir_spsc_flush(weir_spsc_producer *p)
{
    if (p->batch_header == 0)
        return;
    uint64_t mask = p->capacity - 1;
    /* relaxed: the word behind the batch reads as "nothing yet" once the store below is seen, by its release. */
    weir_store_rlx(weir_word_at(p->data, p->pos & mask), 0);
    /* order SPSC-DATA rel: all headers and bytes of the batch before its first header.  Without it the consumer can
     * follow the first record to a header that is still an older lap's. */
    weir_store_rel(weir_word_at(p->data, p->batch_pos & mask), p->batch_header);
    p->batch_header = 0;
}

/* Makes the lines behind end_pos the producer's own, unless they are as far as another record of that size needs: by one
 * store to each, which fetches many side by side, where the stores of a payload fill the store buffer with a few lines. */
WEIR_INLINE void weir_spsc_ahead(weir_spsc_producer *p, uint64_t end_pos, uint64_t size)
{
    if (WEIR_UNLIKELY((int64_t)(end_pos + size - p->own_pos) > 0))
        weir_spsc_own(p, end_pos, size);
}

/* The same while nobody waits for it, and clears the word behind that record: so its push waits for no line but the first,
 * which the consumer looks at.  The position of the cleared word, or NOT_CLEARED. */
WEIR_INLINE uint64_t weir_spsc_prepare(weir_spsc_producer *p, uint64_t end_pos, uint64_t size)
{
    uint64_t next_pos = end_pos + size;
    weir_spsc_ahead(p, end_pos, size);
    if ((int64_t)(p->limit_pos - WEIR_SPSC_HEADER - next_pos) < 0)
        return WEIR_SPSC_NOT_CLEARED;
    /* relaxed: free room, reached through a header that is stored behind this with release. */
    weir_store_rlx(weir_word_at(p->data, next_pos & (p->capacity - 1)), 0);
    return next_pos;
}

/* The word behind a record reads as "nothing yet" once the record's header is seen, by that one's release. */
WEIR_INLINE void weir_spsc_end(weir_spsc_producer *p, uint64_t end_pos)
{
    if (p->cleared_pos != end_pos)
        weir_store_rlx(weir_word_at(p->data, end_pos & (p->capacity - 1)), 0); /* relaxed: as said */
}

/* Makes the record at start_pos the ring's last one.  Unless more follows, its bytes are in place, and the word behind it is
 * 0 (weir_spsc_end) where no batch is open.  Then come the lines ahead, and what is
 * stored elsewhere: `tally` (NULL: none), and what is private.  A store to another line between two to the ring costs as
 * much as a record, and coming back to a line costs again (ring/README.md). */
WEIR_INLINE void weir_spsc_finish(weir_spsc_producer *p, uint64_t start_pos, uint64_t len, bool more,
                                  weir_atomic_u64 *tally)
{
    uint64_t mask = p->capacity - 1, size = weir_spsc_size(len);
    uint64_t first_pos = p->pos, end_pos = start_pos + size, cleared_pos = WEIR_SPSC_NOT_CLEARED;
    uint64_t header = WEIR_SPSC_DATA | len;
    if (WEIR_UNLIKELY(start_pos != first_pos)) {
        /* relaxed: the consumer comes here only through the padding's header, which is stored with or after it. */
        weir_store_rlx(weir_word_at(p->data, start_pos & mask), header);
        header = WEIR_SPSC_PAD | (start_pos - first_pos - WEIR_SPSC_HEADER);
    }
    if (more && p->batch_header == 0) { /* its word stays 0: nothing behind it can be reached */
        p->batch_pos = first_pos;
        p->batch_header = header;
    } else if (more || WEIR_UNLIKELY(p->batch_header != 0)) {
        weir_store_rlx(weir_word_at(p->data, first_pos & mask), header); /* relaxed: reached through the first alone */
    } else {
        /* order SPSC-DATA rel: the record's bytes, and the 0 behind it, before its header.  Without it the consumer can
         * see the length and an older lap's bytes. */
        weir_store_rel(weir_word_at(p->data, first_pos & mask), header);
        cleared_pos = weir_spsc_prepare(p, end_pos, size);
    }
    if (more)
        weir_spsc_ahead(p, end_pos, size);
    if (tally != NULL)
        weir_tally(tally, 1);
    p->pos = end_pos;
    if (!more) {
        p->cleared_pos = cleared_pos;
        weir_spsc_flush(p);
    }
    if (WEIR_UNLIKELY(p->reserved != 0))
        p->reserved = 0;
}

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "weir_spsc_last_word is for little-endian machines"
#endif
/* The last 1 to 7 bytes of a payload and zeros, in the order of little-endian machines: a loop that the compiler does not
 * make a call. */
WEIR_INLINE uint64_t weir_spsc_last_word(const unsigned char *from, uint64_t len)
{
    uint64_t word = 0;
    while (len-- != 0)
        word = word << 8 | from[len];
    return word;
}

/* Copies one word, or two.  A message that was written a moment ago waits to go to the cache behind the ring's last
 * records: a load of more than what was stored at once waits with it, for all their lines.  So loads are of 8 bytes.  Stores
 * of 16 are half as many in the store buffer; aligned, they cross no line. */
WEIR_INLINE void weir_spsc_copy_word(unsigned char *to, const unsigned char *from)
{
    memcpy(to, from, 8);
    weir_fence_compiler(); /* or several become one */
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Warray-bounds" /* a message of 8 bytes whose length the compiler cannot see */
WEIR_INLINE void weir_spsc_copy_pair(unsigned char *to, const unsigned char *from)
{
    uint64_t pair[2];
    memcpy(&pair[0], from, 8);
    weir_fence_compiler();
    memcpy(&pair[1], from + 8, 8);
    memcpy(to, pair, 16);
    weir_fence_compiler();
}
#pragma GCC diagnostic pop

/* Copies a payload to where it stands 8-byte aligned.  The last word is filled up with zeros. */
WEIR_INLINE void weir_spsc_copy_up(unsigned char *to, const void *msg, uint64_t len)
{
#ifdef WEIR_ATOMIC_BACKEND
    if (len != 0)
        WEIR_PAYLOAD_WRITE(to, msg, len);
#else
    const unsigned char *from = (const unsigned char *)msg;
    uint64_t at = 0, end = len & ~UINT64_C(7);
    if (((uintptr_t)to & 8) != 0 && end != 0) {
        weir_spsc_copy_word(to, from);
        at = 8;
    }
    for (; end - at >= 16; at += 16)
        weir_spsc_copy_pair(to + at, from + at);
    if (at != end)
        weir_spsc_copy_word(to + at, from + at);
    if (end != len) {
        uint64_t word = weir_spsc_last_word(from + end, len - end);
        memcpy(to + end, &word, 8);
    }
#endif
}

/* The same from its end to its start. */
WEIR_INLINE void weir_spsc_copy_down(unsigned char *to, const void *msg, uint64_t len)
{
#ifdef WEIR_ATOMIC_BACKEND
    if (len != 0)
        WEIR_PAYLOAD_WRITE(to, msg, len);
#else
    const unsigned char *from = (const unsigned char *)msg;
    uint64_t at = len & ~UINT64_C(7);
    if (at != len) {
        uint64_t word = weir_spsc_last_word(from + at, len - at);
        memcpy(to + at, &word, 8);
        weir_fence_compiler();
    }
    if (((uintptr_t)(to + at) & 8) != 0 && at != 0) {
        at -= 8;
        weir_spsc_copy_word(to + at, from + at);
    }
    while (at >= 16) {
        at -= 16;
        weir_spsc_copy_pair(to + at, from + at);
    }
    if (at != 0)
        weir_spsc_copy_word(to, from);
#endif
}

/* Whatever its length. */
static inline void weir_spsc_copy(unsigned char *to, const void *msg, uint64_t len)
{
#ifndef WEIR_ATOMIC_BACKEND
    if (len > WEIR_SPSC_COPY_MAX) {
        memcpy(to, msg, len);
        return;
    }
#endif
    weir_spsc_copy_up(to, msg, len);
}

/* Short messages that fit need no call. */
WEIR_INLINE bool weir_spsc_put_now(weir_spsc_producer *p, const void *msg, uint64_t len, bool more,
                                   weir_atomic_u64 *tally)
{
    uint64_t start_pos = 0;
    if (WEIR_UNLIKELY(len > WEIR_SPSC_COPY_MAX || !weir_spsc_fits(p, len, &start_pos)))
        return false;
    unsigned char *payload = p->data + (start_pos & (p->capacity - 1)) + WEIR_SPSC_HEADER;
    if (more) { /* nothing is seen before the flush: header first, so that the stores only go up */
        weir_spsc_finish(p, start_pos, len, true, tally);
        weir_spsc_copy_up(payload, msg, len);
    } else { /* the header goes last, so the stores go down to it */
        weir_spsc_end(p, start_pos + weir_spsc_size(len));
        weir_spsc_copy_down(payload, msg, len);
        weir_spsc_finish(p, start_pos, len, false, tally);
    }
    return true;
}

WEIR_INLINE weir_status weir_spsc_put(weir_spsc_producer *p, const void *msg, uint64_t len, bool more)
{
    return weir_spsc_put_now(p, msg, len, more, NULL) ? WEIR_OK : weir_spsc_put_slow(p, msg, len, more, NULL);
}

/* weir_spsc_push copies len bytes of msg into the ring as one record and publishes it, and the open batch with it.
 * An open reservation is given up if the record goes in.
 *
 * Progress: wait-free.  Ordering: release; what the caller wrote before is visible to whoever gets this record.
 * Returns:  WEIR_OK; WEIR_FULL (nothing written; an open batch stays unpublished and holds its room: flush it before
 *           waiting); WEIR_E_TOO_LARGE (len over the record limit); WEIR_E_CORRUPT (an impossible position of the
 *           consumer); WEIR_E_STATE (p is not attached).
 * If killed: before the header's store the record never existed; after it, it is whole. */
WEIR_INLINE weir_status weir_spsc_push(weir_spsc_producer *p, const void *msg, uint64_t len)
{
    return weir_spsc_put(p, msg, len, false);
}

/* weir_spsc_push_more is weir_spsc_push without the publication: the record joins the open batch, or opens one. */
WEIR_INLINE weir_status weir_spsc_push_more(weir_spsc_producer *p, const void *msg, uint64_t len)
{
    return weir_spsc_put(p, msg, len, true);
}

/* weir_spsc_push_array copies count records of len bytes each, which lie one behind the other in msgs, into the ring
 * and publishes them, and the open batch with them, all at once.  Of records of one size it is the fastest way:
 * between them nothing is stored but the ring's own bytes, upwards.
 *
 * Progress: wait-free.  Ordering: as weir_spsc_push.
 * Returns:  WEIR_OK (all); WEIR_FULL (*pushed of them are in and published, perhaps 0); WEIR_E_TOO_LARGE,
 *           WEIR_E_CORRUPT, WEIR_E_STATE as weir_spsc_push (*pushed = 0).
 * If killed: before the first record's header is stored none of them existed; after it, all that fit do. */
WEIR_API weir_status weir_spsc_push_array(weir_spsc_producer *p, const void *msgs, uint64_t len, uint32_t count,
                                          uint32_t *pushed);

/* Where it fits, as far as is known of the consumer. */
WEIR_INLINE bool weir_spsc_reserve_now(weir_spsc_producer *p, uint64_t len, void **slot)
{
    uint64_t start_pos = 0;
    if (WEIR_UNLIKELY(!weir_spsc_fits(p, len, &start_pos)))
        return false;
    if (WEIR_UNLIKELY(len > WEIR_SPSC_AHEAD_MAX))
        weir_spsc_own_record(p, start_pos, len); /* the caller fills it word by word */
    p->reserved = (uint32_t)len + 1;
    if ((int64_t)(p->cleared_pos - start_pos - weir_spsc_size(len)) < 0)
        p->cleared_pos = WEIR_SPSC_NOT_CLEARED; /* the caller may write there */
    *slot = p->data + (start_pos & (p->capacity - 1)) + WEIR_SPSC_HEADER;
    return true;
}

/* weir_spsc_reserve gives the address, 8-byte aligned, of room for one record of up to len bytes.  The caller writes
 * there and then commits; a push, or another reserve, gives the room up.  Nothing is visible before the commit.
 *
 * Progress, Returns: as weir_spsc_push.  If killed: the record never existed. */
WEIR_INLINE weir_status weir_spsc_reserve(weir_spsc_producer *p, uint64_t len, void **slot)
{
    return WEIR_LIKELY(weir_spsc_reserve_now(p, len, slot)) ? WEIR_OK : weir_spsc_reserve_slow(p, len, slot);
}

WEIR_INLINE weir_status weir_spsc_commit_as(weir_spsc_producer *p, uint64_t len, bool more, weir_atomic_u64 *tally)
{
    if (WEIR_UNLIKELY(p->reserved == 0))
        return p->fault != WEIR_OK ? p->fault : WEIR_E_STATE;
    if (WEIR_UNLIKELY(len >= p->reserved))
        return WEIR_E_INVALID;
    uint64_t start_pos = weir_spsc_start(p, p->reserved - 1);
    if (!more)
        weir_spsc_end(p, start_pos + weir_spsc_size(len));
    weir_spsc_finish(p, start_pos, len, more, tally);
    return WEIR_OK;
}

/* weir_spsc_commit publishes the reserved record with its first len bytes, and the open batch with it.
 *
 * Progress: wait-free.  Ordering: as weir_spsc_push.
 * Returns:  WEIR_OK; WEIR_E_STATE (no reservation is open); WEIR_E_INVALID (len over what was reserved; the reservation
 *           stays); WEIR_E_CORRUPT (the handle found that before).
 * If killed: before the header's store the record never existed; after it, it is whole. */
WEIR_INLINE weir_status weir_spsc_commit(weir_spsc_producer *p, uint64_t len)
{
    return weir_spsc_commit_as(p, len, false, NULL);
}

/* weir_spsc_commit_more is weir_spsc_commit without the publication. */
WEIR_INLINE weir_status weir_spsc_commit_more(weir_spsc_producer *p, uint64_t len)
{
    return weir_spsc_commit_as(p, len, true, NULL);
}

/* weir_spsc_drained tells whether the consumer has released everything.
 *
 * Progress: wait-free.  Ordering: acquire (edge SPSC-FREE).
 * Returns:  WEIR_OK (all is released, no batch is open); WEIR_FULL (not yet); WEIR_E_CORRUPT; WEIR_E_STATE. */
WEIR_API weir_status weir_spsc_drained(weir_spsc_producer *p);

/* ---- consumer ---- */

/* weir_spsc_peek gives the next record in place and moves on to the one behind it; the bytes stay until release.  For
 * producers you trust: another kind may still change the bytes while they are read; pop copies first.
 *
 * Progress: wait-free.  Ordering: acquire (edge SPSC-DATA).
 * Returns:  WEIR_OK; WEIR_EMPTY; WEIR_E_CORRUPT (an impossible header); WEIR_E_STATE (c is not attached).
 * If killed: the record is seen again by the next consumer. */
WEIR_INLINE weir_status weir_spsc_peek(weir_spsc_consumer *c, const void **msg, uint32_t *len)
{
    if (WEIR_UNLIKELY(c->capacity == 0))
        return c->fault != WEIR_OK ? c->fault : WEIR_E_STATE;
    uint64_t idx = c->pos & (c->capacity - 1);
    /* order SPSC-DATA acq: the header before the record's bytes and the header behind it. */
    uint64_t header = weir_load_acq(weir_word_at(c->data, idx));
    if (header == 0)
        return WEIR_EMPTY;
    uint32_t bytes = (uint32_t)header;
    uint64_t size = weir_spsc_size(bytes);
    if (WEIR_UNLIKELY((header & WEIR_SPSC_TAG) != WEIR_SPSC_DATA || bytes > c->record_max ||
                      size > c->capacity - idx || size > c->limit_pos - c->pos))
        return weir_spsc_consumer_next(c, header, msg, len);
    *msg = c->data + idx + WEIR_SPSC_HEADER;
    *len = bytes;
    c->pos += size;
    return WEIR_OK;
}

/* weir_spsc_release gives back the room of every record read so far.
 *
 * Progress: wait-free.  Ordering: release (edge SPSC-FREE).
 * If killed: before the store all of them are seen again by the next consumer; after it, none. */
static inline void weir_spsc_release(weir_spsc_consumer *c)
{
    if (c->head_pos == c->pos)
        return;
    c->head_pos = c->pos;
    /* order SPSC-FREE rel: the consumer's reads of the records before the position that gives them back.  Without it
     * the producer can overwrite bytes that are still being read. */
    weir_store_rel(c->head, c->pos);
}

/* Short messages go out word by word: whoever reads the words of what was copied 16 bytes at a time waits for them
 * (ring/README.md). */
WEIR_INLINE void weir_spsc_copy_out(void *buffer, const void *msg, uint64_t len)
{
#ifndef WEIR_ATOMIC_BACKEND
    if (len <= WEIR_SPSC_COPY_MAX) {
        unsigned char *to = (unsigned char *)buffer;
        const unsigned char *from = (const unsigned char *)msg;
        for (; len >= 32; to += 32, from += 32, len -= 32) {
            weir_spsc_copy_word(to, from);
            weir_spsc_copy_word(to + 8, from + 8);
            weir_spsc_copy_word(to + 16, from + 16);
            weir_spsc_copy_word(to + 24, from + 24);
        }
        for (; len >= 8; to += 8, from += 8, len -= 8)
            weir_spsc_copy_word(to, from);
        for (; len != 0; len--)
            *to++ = *from++;
        return;
    }
#endif
    if (len != 0)
        weir_spsc_copy_long(buffer, msg, len);
}

/* weir_spsc_pop_more copies the next record into buffer and moves on; its room is given back by a later release or pop.
 *
 * Progress: wait-free.  Ordering: acquire (edge SPSC-DATA).  Safe against any bytes: the length is read once.
 * Returns:  WEIR_OK (*len = the record's bytes); WEIR_EMPTY; WEIR_E_TOO_SMALL (size_bytes is less than the record,
 *           which stays the next one; *len = its bytes); WEIR_E_CORRUPT; WEIR_E_STATE (c is not attached).
 * If killed: the record is seen again by the next consumer. */
WEIR_INLINE weir_status weir_spsc_pop_more(weir_spsc_consumer *c, void *buffer, uint64_t size_bytes, uint32_t *len)
{
    const void *msg;
    uint64_t pos = c->pos;
    weir_status status = weir_spsc_peek(c, &msg, len);
    if (status != WEIR_OK)
        return status;
    if (WEIR_UNLIKELY(*len > size_bytes)) {
        c->pos = pos;
        return WEIR_E_TOO_SMALL;
    }
    if (*len == size_bytes) /* a size that the compiler may know */
        weir_spsc_copy_out(buffer, msg, size_bytes);
    else
        weir_spsc_copy_out(buffer, msg, *len);
    return WEIR_OK;
}

/* weir_spsc_pop is weir_spsc_pop_more with a release behind it.
 *
 * If killed: before the release the record is seen again by the next consumer. */
WEIR_INLINE weir_status weir_spsc_pop(weir_spsc_consumer *c, void *buffer, uint64_t size_bytes, uint32_t *len)
{
    weir_status status = weir_spsc_pop_more(c, buffer, size_bytes, len);
    if (WEIR_LIKELY(status == WEIR_OK))
        weir_spsc_release(c);
    return status;
}

/* weir_spsc_ready tells whether a record waits, without reading it.
 *
 * Returns:  WEIR_OK; WEIR_EMPTY; WEIR_E_CORRUPT or WEIR_E_STATE as weir_spsc_peek. */
static inline weir_status weir_spsc_ready(const weir_spsc_consumer *c)
{
    if (WEIR_UNLIKELY(c->capacity == 0))
        return c->fault != WEIR_OK ? c->fault : WEIR_E_STATE;
    /* relaxed: only whether it is 0; whoever reads the record acquires it then. */
    return weir_load_rlx(weir_word_at(c->data, c->pos & (c->capacity - 1))) != 0 ? WEIR_OK : WEIR_EMPTY;
}

WEIR_END_DECLS

#endif
