/* ring/mpsc.h - many producers, one consumer: a lane (spsc.h) for each producer, read in turn.
 *
 * It lives on any 64-byte aligned memory that all see, at whatever address each sees it.  A producer has a lane of its
 * own, and its handle is that lane's: what spsc.h says of push, reserve, commit, flush and so on holds here as well.
 * No two producers ever write the same word.  So one that stops or dies, at whatever instruction, holds up nobody but
 * itself: there is no place in front of another's record that it could leave unfinished.
 *
 *   weir_mpsc_init             once, by whoever made the memory; or weir_mpsc_init_some, with lanes to come
 *   weir_mpsc_grow             makes lanes that are not there yet, while all others are at work
 *   weir_mpsc_producer_attach  a lane that has no producer; then the producer's calls of spsc.h
 *   weir_mpsc_consumer_attach  then pop, pop_more, peek, release
 *
 * Order is FIFO for each producer.  Which lane belongs to whom, and that its former owner is gone, is for the caller to
 * know (ipc/ does); a lane whose owner is gone is read to its end, and taken over by attaching to it.
 *
 * Callers:  each lane's producer calls by one thread at a time, consumer calls by one thread at a time.
 *           Async-signal-safe, except inside another call on the same handle.
 * Progress: every call is wait-free.  A call that finds nothing looks at every lane once.
 * Hostile:  as spsc.h.  One lane's impossible bytes make the consumer answer WEIR_E_CORRUPT for good. */
#ifndef WEIR_RING_MPSC_H
#define WEIR_RING_MPSC_H

#include <stdint.h>

#include <weir/ring/lanes.h>
#include <weir/ring/spsc.h>

WEIR_BEGIN_DECLS

#define WEIR_MPSC_LANES_MAX 256u
#define WEIR_MPSC_CONTROL 256u /* bytes before the first lane */
#define WEIR_MPSC_TURN 64u     /* records of one lane before the others are looked at */

/* The consumer's private half.  lanes is the caller's memory, a handle for each lane. */
typedef struct weir_mpsc_consumer {
    weir_spsc_consumer *lanes;
    weir_ring_room room;
    uint64_t capacity; /* of each lane */
    uint32_t count; /* lanes attached to; 0: not attached, or corrupt */
    uint32_t at;    /* the lane whose turn it is */
    uint32_t left;  /* records of it before the next lane's turn */
    uint32_t held;  /* not 0: records of other lanes than that were read and not released */
    weir_status fault; /* WEIR_E_CORRUPT once seen */
} weir_mpsc_consumer;

/* weir_mpsc_footprint returns the bytes of memory that it takes; 0 where lanes is not 1 to WEIR_MPSC_LANES_MAX or
 * capacity_bytes no capacity of a lane. */
WEIR_API uint64_t weir_mpsc_footprint(uint32_t lanes, uint64_t capacity_bytes);

/* weir_mpsc_init makes it in mem, with all lanes empty.  start_pos: as weir_spsc_init, of each lane.
 *
 * Callers:  one thread, before the memory is shown to others.
 * Returns:  WEIR_OK; WEIR_E_INVALID (mem not 64-byte aligned, size under the footprint, lanes, capacity or start_pos
 *           wrong).
 * If killed: mem holds none, or the whole new one: the magic goes first and comes last. */
WEIR_API weir_status weir_mpsc_init(void *mem, uint64_t size_bytes, uint32_t lanes, uint64_t capacity_bytes,
                                    uint64_t start_pos);

/* weir_mpsc_init_some makes one that may have up to `lanes` lanes, of which the first `made` (1 to lanes) are there.
 * size_bytes need only hold these: the footprint of `made` lanes.  Otherwise as weir_mpsc_init. */
WEIR_API weir_status weir_mpsc_init_some(void *mem, uint64_t size_bytes, uint32_t lanes, uint32_t made,
                                         uint64_t capacity_bytes, uint64_t start_pos);

/* weir_mpsc_grow makes lanes, empty, until there are `made` of them; more than that stay.  size_bytes holds them.
 *
 * Callers:  one thread at a time; producers and the consumer may be at work.  The consumer finds the new lanes itself.
 * Ordering: release; who finds a lane finds it whole (edge RING-LANES).
 * Returns:  WEIR_OK; WEIR_E_INVALID (more than the ring may have, or than size_bytes holds); otherwise as
 *           weir_mpsc_producer_attach.
 * If killed: a lane is there or it is not; the next call goes on. */
WEIR_API weir_status weir_mpsc_grow(void *mem, uint64_t size_bytes, uint32_t made);

/* weir_mpsc_lanes tells how many lanes are there.  Returns: WEIR_OK; otherwise as weir_mpsc_producer_attach. */
WEIR_API weir_status weir_mpsc_lanes(const void *mem, uint64_t size_bytes, uint32_t *lanes);

/* weir_mpsc_producer_attach makes p the producer of a lane, as weir_spsc_producer_attach does: behind the last record
 * that a former producer committed there.
 *
 * Callers:  one thread; the lane's former producer must be gone.  All others may be at work.
 * Returns:  WEIR_OK; WEIR_E_INVALID (mem not aligned, no such lane); WEIR_E_NOT_WEIR; WEIR_E_VERSION; WEIR_E_CORRUPT.
 * If killed: nothing was written. */
WEIR_API weir_status weir_mpsc_producer_attach(weir_spsc_producer *p, void *mem, uint64_t size_bytes, uint32_t lane);

/* weir_mpsc_consumer_attach makes c the consumer of all lanes.  What a former consumer read without releasing is seen
 * again.  handles has room for `count` lanes, as many as there may ever be, and is c's until it is attached no more.
 * Where lanes are made beyond size_bytes later, c->room.reach and .reach_arg are set behind the attach.
 *
 * Callers:  one thread; the former consumer must be gone.
 * Returns:  as weir_mpsc_producer_attach; WEIR_E_INVALID too where count is too small.
 * If killed: nothing was written. */
WEIR_API weir_status weir_mpsc_consumer_attach(weir_mpsc_consumer *c, void *mem, uint64_t size_bytes,
                                               weir_spsc_consumer *handles, uint32_t count);

/* The paths that are taken seldom, kept out of line.  turn: to the next lane that has a record. */
WEIR_API weir_status weir_mpsc_turn(weir_mpsc_consumer *c);
WEIR_API weir_status weir_mpsc_poison(weir_mpsc_consumer *c, weir_status status);
WEIR_API void weir_mpsc_release_all(weir_mpsc_consumer *c);

/* weir_mpsc_peek gives the next record in place, of the lane whose turn it is or of the next that has one, and moves on
 * to the one behind it; the bytes stay until release.  For producers you trust, as weir_spsc_peek.  *lane is whose.
 *
 * Progress: wait-free; WEIR_EMPTY after a look at every lane.  Ordering: acquire (edge SPSC-DATA).
 * Returns:  WEIR_OK; WEIR_EMPTY; WEIR_E_CORRUPT; WEIR_E_STATE (c is not attached).
 * If killed: the record is seen again by the next consumer. */
static inline weir_status weir_mpsc_peek(weir_mpsc_consumer *c, const void **msg, uint32_t *len, uint32_t *lane)
{
    for (int turns = 0;; turns++) { /* the lane that turn finds has a record, and no producer takes it back */
        if (WEIR_LIKELY(c->left != 0)) {
            weir_status status = weir_spsc_peek(&c->lanes[c->at], msg, len);
            if (WEIR_LIKELY(status == WEIR_OK)) {
                c->left--;
                *lane = c->at;
                return WEIR_OK;
            }
            if (WEIR_UNLIKELY(status != WEIR_EMPTY))
                return weir_mpsc_poison(c, status);
        }
        weir_status status = turns == 0 ? weir_mpsc_turn(c) : WEIR_EMPTY; /* one that does keeps nobody */
        if (status != WEIR_OK)
            return status;
    }
}

/* weir_mpsc_release gives back the room of every record read so far, in every lane.
 *
 * Progress: wait-free.  Ordering: release (edge SPSC-FREE), for each lane.
 * If killed: in some lanes the records are given back, in the others the next consumer sees them again. */
static inline void weir_mpsc_release(weir_mpsc_consumer *c)
{
    if (WEIR_UNLIKELY(c->held != 0))
        weir_mpsc_release_all(c);
    else if (WEIR_LIKELY(c->count != 0))
        weir_spsc_release(&c->lanes[c->at]);
}

/* weir_mpsc_pop_more copies the next record into buffer without giving it back; release gives back all that were read.
 *
 * Progress, Ordering: as weir_mpsc_peek.
 * Returns:  WEIR_OK; WEIR_EMPTY; WEIR_E_TOO_SMALL (the record stays; *len and *lane are its); WEIR_E_CORRUPT;
 *           WEIR_E_STATE.
 * If killed: the record is seen again by the next consumer. */
static inline weir_status weir_mpsc_pop_more(weir_mpsc_consumer *c, void *buffer, uint64_t size_bytes, uint32_t *len,
                                             uint32_t *lane)
{
    for (int turns = 0;; turns++) { /* as peek's */
        if (WEIR_LIKELY(c->left != 0)) {
            weir_status status = weir_spsc_pop_more(&c->lanes[c->at], buffer, size_bytes, len);
            if (WEIR_LIKELY(status == WEIR_OK)) {
                c->left--;
                *lane = c->at;
                return WEIR_OK;
            }
            if (status == WEIR_E_TOO_SMALL) {
                *lane = c->at;
                return status;
            }
            if (WEIR_UNLIKELY(status != WEIR_EMPTY))
                return weir_mpsc_poison(c, status);
        }
        weir_status status = turns == 0 ? weir_mpsc_turn(c) : WEIR_EMPTY;
        if (status != WEIR_OK)
            return status;
    }
}

/* weir_mpsc_pop is weir_mpsc_pop_more with a release behind it. */
static inline weir_status weir_mpsc_pop(weir_mpsc_consumer *c, void *buffer, uint64_t size_bytes, uint32_t *len,
                                        uint32_t *lane)
{
    weir_status status = weir_mpsc_pop_more(c, buffer, size_bytes, len, lane);
    if (WEIR_LIKELY(status == WEIR_OK))
        weir_mpsc_release(c);
    return status;
}

/* weir_mpsc_ready tells whether a record waits in any lane, without reading it.
 *
 * Returns:  WEIR_OK; WEIR_EMPTY (after a look at every lane); WEIR_E_CORRUPT or WEIR_E_STATE as weir_mpsc_peek. */
WEIR_API weir_status weir_mpsc_ready(weir_mpsc_consumer *c);

WEIR_END_DECLS

#endif
