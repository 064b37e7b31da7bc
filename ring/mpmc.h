/* ring/mpmc.h - a work queue: many producers, many consumers; each record goes to one of the consumers.
 *
 * It lives on any 64-byte aligned memory that all see, at whatever address each sees it.  A producer has a lane of its
 * own, of slots for one record each.  A consumer claims a run of a lane's records, at most run_max of them, by one
 * compare-and-swap, reads them in place and gives them back in order.  Where its run stands is in a word of its own, so
 * what a dead consumer had not given back is known exactly: another one takes it over and delivers it again.
 *
 *   weir_mpmc_init             once, by whoever made the memory; or weir_mpmc_init_some, with lanes to come
 *   weir_mpmc_grow             makes lanes that are not there yet, while all others are at work
 *   weir_mpmc_producer_attach  a lane that has no producer; then push, push_more, reserve + commit, flush
 *   weir_mpmc_consumer_attach  a consumer slot that has no consumer; then pop, pop_more, peek, release
 *   weir_mpmc_recover          what a consumer that is gone had not finished
 *   weir_mpmc_consumer_detach  gives up a consumer's slot
 *
 * Order: a lane's records are handed out in the order in which they were pushed.  A record comes once; `redelivered`
 * marks one that a former consumer had claimed, and may have worked through, before it was gone.
 *
 * Consumers are told apart by {slot, generation}: the caller gives each one that attaches to a slot a higher generation
 * than any before, and knows which are gone (ipc/ does).  A consumer that stops holds up its own run's room and nothing
 * else, and harms nobody when it goes on.
 *
 * Callers:  each lane's producer calls by one thread at a time, each consumer's by one thread at a time; all beside
 *           each other.  Async-signal-safe, except inside another call on the same handle.
 * Progress: every call is wait-free.  A claim that others win WEIR_MPMC_TRIES times in a row goes on to the next lane,
 *           and each of those times another consumer got records.
 * Hostile:  no bytes in the ring make a call fault, loop or leave the ring's memory.  Bytes that nobody writes give
 *           WEIR_E_CORRUPT, and that handle then answers so for good. */
#ifndef WEIR_RING_MPMC_H
#define WEIR_RING_MPMC_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/ring/lanes.h>
#include <weir/ring/spsc.h>

WEIR_BEGIN_DECLS

#define WEIR_MPMC_LANES_MAX 256u
#define WEIR_MPMC_CONSUMERS_MAX 256u
#define WEIR_MPMC_SLOTS_MIN 2u
#define WEIR_MPMC_SLOTS_MAX (1u << 24)
#define WEIR_MPMC_RECORD_MAX 0x7ffffff8u /* bytes: 2^31 - 8 */
#define WEIR_MPMC_RUN 32u                /* records of a run, where the consumer has no wish */
#define WEIR_MPMC_RUN_MAX 64u
#define WEIR_MPMC_TURN 64u    /* records of one lane before the others are looked at */
#define WEIR_MPMC_FAIR 8u     /* runs, of which one is taken wherever its turn is, near or not */
#define WEIR_MPMC_TRIES 8     /* claims of one lane that others may win in one call */
#define WEIR_MPMC_CONTROL 128u /* bytes before the owner words */

/* A slot is a header word and the payload.  The header: the tag of its position above, the payload's length below.  A
 * tag names the lap, so the slot of position p is committed when it has p's tag, and before that of a lap earlier. */
#define WEIR_MPMC_HEADER 8u
#define WEIR_MPMC_TAG (UINT64_C(0xffffffff) << 32)
#define WEIR_MPMC_POS_MASK ((UINT64_C(1) << 56) - 1) /* of positions, what stands in shared words */
#define WEIR_MPMC_CONFIRMED UINT64_C(1)
#define WEIR_MPMC_WORD_STEP UINT64_C(254) /* of a run word, for a record: its position goes up, what is left down */

/* What a ring is made as. */
typedef struct weir_mpmc_shape {
    uint32_t lanes;      /* producers: the most there can be, 1 to WEIR_MPMC_LANES_MAX */
    uint32_t consumers;  /* 1 to WEIR_MPMC_CONSUMERS_MAX */
    uint32_t slots;      /* of each lane: a power of two, WEIR_MPMC_SLOTS_MIN to WEIR_MPMC_SLOTS_MAX */
    uint32_t record_max; /* bytes of the longest record, up to WEIR_MPMC_RECORD_MAX */
} weir_mpmc_shape;

/* The producer's private half.  Its fields belong to the functions below.  Positions count slots.  What a push stores comes
 * first and lies close (ring/README.md: the same 32 bytes).  Slots are gone through some at a time, up to stop_pos:
 * no lap ends before it, and the lines up to there, and as many again, are the producer's own already. */
typedef struct weir_mpmc_producer {
    uint64_t pos;          /* where the next record goes */
    unsigned char *slot;   /* its slot; right where pos is not stop_pos */
    uint64_t none[3];      /* 0: who takes this for a weir_spsc_producer, as a channel does, finds no room in it */
    uint64_t stop_pos;     /* the first position that takes a closer look; not behind limit_pos */
    uint32_t record_max;
    uint32_t reserved;     /* an open reservation: its payload bytes + 1; 0: none is open */
    uint64_t tag;          /* of the positions before stop_pos */
    uint64_t stride;       /* bytes of a slot */
    uint64_t batch_header; /* an open batch: its first header, not stored yet; 0: no batch is open */
    uint64_t batch_pos;
    weir_status fault;     /* WEIR_E_CORRUPT once seen; a weir_spsc_producer's is in the same place */
    uint32_t consumers;    /* 0: not attached, or corrupt */
    unsigned char *data;   /* the lane's slots, at this process's address */
    weir_atomic_u64 *claim; /* the claim word; the run words lie behind it */
    uint64_t limit_pos;    /* the first position that is not known to be free */
    uint64_t claim_pos;    /* as last believed */
    uint64_t free_pos;     /* everything before it is done, as last believed */
    uint64_t own_pos;      /* the lines of the slots before it are the producer's own, as far as it knows */
    uint32_t step;         /* slots that are gone through at a time */
    uint32_t shift;        /* 2^shift slots */
    uint32_t near;         /* the caller's: where it runs, or 0; told to consumers when it looks for room */
    uint32_t told;         /* what was told last */
} weir_mpmc_producer;

/* The consumer's private half of a lane: where it is, and the run of it that this consumer has in hand. */
typedef struct weir_mpmc_lane {
    unsigned char *data;
    weir_atomic_u64 *claim;
    weir_atomic_u64 *run;  /* the run's word */
    uint64_t pos;          /* the run's first record that is not given back */
    uint64_t next_pos;     /* the next to read */
    uint64_t end_pos;      /* behind the last */
    uint64_t claim_pos;    /* as last believed */
    uint32_t slot;         /* whose run word it is */
    uint32_t redelivered;  /* 1: a former consumer claimed it */
} weir_mpmc_lane;

/* The rest of the run in hand, up to the lap's end, as a consumer's shortest calls need it: weir_mpmc_hand_take.  All 0:
 * nothing is in hand.  A run's word goes up by WEIR_MPMC_WORD_STEP for each record. */
typedef struct weir_mpmc_hand {
    const unsigned char *next; /* the slot to read next */
    uint64_t word;         /* the run's word, when all that was read is done; */
    uint64_t end_word;     /* when all that is in hand is; */
    uint64_t done_word;    /* as it is */
    uint64_t tag;
    uint64_t stride;
    weir_atomic_u64 *run;  /* where that word is */
    uint32_t record_max;
} weir_mpmc_hand;

/* The consumer's private half.  lanes is the caller's memory, a handle for each lane. */
typedef struct weir_mpmc_consumer {
    weir_mpmc_lane *lanes;
    uint64_t stride;
    uint32_t count; /* lanes attached to; 0: not attached, or corrupt */
    uint32_t at;    /* the lane whose turn it is */
    uint32_t left;  /* records of it before the next lane's turn */
    uint32_t held;  /* not 0: release must look at more than that lane */
    uint32_t shift;
    uint32_t record_max;
    uint32_t run_max;
    uint32_t consumers;
    uint32_t slot, generation;
    uint32_t near;          /* the caller's: where it runs, or 0.  Lanes whose producer runs there come first */
    uint32_t picky;         /* the caller's: not 0: of the others those alone in which a whole run waits; else EMPTY */
    uint32_t turns;         /* runs; one of WEIR_MPMC_FAIR is taken without regard to who is near */
    uint32_t leftovers;     /* not 0: runs of former consumers may be there, and come first */
    uint32_t adopted_count;
    weir_atomic_u64 *owners; /* the owner words, a line pair apart */
    weir_status fault;       /* WEIR_E_CORRUPT once seen */
    weir_ring_room room;
    uint64_t adopted[WEIR_MPMC_CONSUMERS_MAX / 64]; /* a bit for each slot whose leftover runs are this one's */
} weir_mpmc_consumer;

/* weir_mpmc_footprint returns the bytes of memory that a ring of that shape takes; 0 where no ring can have it.  One of
 * which fewer lanes are there takes what a ring of that many takes. */
WEIR_API uint64_t weir_mpmc_footprint(const weir_mpmc_shape *shape);

/* weir_mpmc_init makes an empty ring in mem.  start_pos is where positions begin: 0, or any below 2^56.
 *
 * Callers:  one thread, before the memory is shown to others.  Progress: it writes every slot's header.
 * Returns:  WEIR_OK; WEIR_E_INVALID (mem not 64-byte aligned, size under the footprint, shape or start_pos wrong).
 * If killed: mem holds none, or the whole new one: the magic goes first and comes last. */
WEIR_API weir_status weir_mpmc_init(void *mem, uint64_t size_bytes, const weir_mpmc_shape *shape, uint64_t start_pos);

/* weir_mpmc_init_some makes one that may have up to shape->lanes lanes, of which the first `made` (1 to that) are
 * there.  size_bytes need only hold these.  Otherwise as weir_mpmc_init. */
WEIR_API weir_status weir_mpmc_init_some(void *mem, uint64_t size_bytes, const weir_mpmc_shape *shape, uint32_t made,
                                         uint64_t start_pos);

/* weir_mpmc_grow makes lanes, empty, until there are `made` of them; more than that stay.  size_bytes holds them.
 *
 * Callers:  one thread at a time; producers and consumers may be at work.  Consumers find the new lanes themselves.
 * Progress: it writes every new slot's header.  Ordering: release; who finds a lane finds it whole (edge RING-LANES).
 * Returns:  WEIR_OK; WEIR_E_INVALID (more than the ring may have, or than size_bytes holds); otherwise as
 *           weir_mpmc_shape_of.
 * If killed: a lane is there or it is not; the next call goes on. */
WEIR_API weir_status weir_mpmc_grow(void *mem, uint64_t size_bytes, uint32_t made);

/* weir_mpmc_shape_of tells what the ring in mem was made as.
 *
 * Callers:  any thread.  Progress: wait-free.
 * Returns:  WEIR_OK; WEIR_E_INVALID (mem not aligned); WEIR_E_NOT_WEIR (no such ring there); WEIR_E_VERSION;
 *           WEIR_E_CORRUPT (a shape that there is not, or lanes that do not fit size_bytes). */
WEIR_API weir_status weir_mpmc_shape_of(const void *mem, uint64_t size_bytes, weir_mpmc_shape *shape);

/* weir_mpmc_lanes tells how many lanes are there.  Callers, Progress, Returns: as weir_mpmc_shape_of. */
WEIR_API weir_status weir_mpmc_lanes(const void *mem, uint64_t size_bytes, uint32_t *lanes);

/* weir_mpmc_owner tells who has consumer slot `slot`: *owner and *generation are the slot and generation of the
 * consumer that attached to it, or of the one that took it over from a consumer that was gone.  Whoever knows who is
 * gone finds here what to give weir_mpmc_recover.  size_bytes need not hold the lanes.
 *
 * Callers:  any thread.  Progress: wait-free.  Ordering: none; it may have changed since.
 * Returns:  WEIR_OK; WEIR_EMPTY (nobody has it); WEIR_E_INVALID (no such slot) and otherwise as weir_mpmc_shape_of. */
WEIR_API weir_status weir_mpmc_owner(const void *mem, uint64_t size_bytes, uint32_t slot, uint32_t *owner,
                                     uint32_t *generation);

/* ---- producer ---- */

/* weir_mpmc_producer_attach makes p the producer of a lane.  It begins behind the last record that a former producer
 * committed there; what that one had not committed, half a batch too, is as if it had never been.
 *
 * Callers:  one thread; the lane's former producer must be gone.  All others may be at work.
 * Progress: a walk over the lane's slots.
 * Returns:  WEIR_OK; WEIR_E_INVALID (no such lane) and otherwise as weir_mpmc_shape_of.  p is unattached on failure.
 * If killed: headers of a batch that never was are taken back, or some of them: the next producer does the rest. */
WEIR_API weir_status weir_mpmc_producer_attach(weir_mpmc_producer *p, void *mem, uint64_t size_bytes, uint32_t lane);

/* weir_mpmc_record_max returns the bytes of the longest record that p may push; 0 where p is not attached. */
static inline uint32_t weir_mpmc_record_max(const weir_mpmc_producer *p) { return p->record_max; }

/* The paths that are taken seldom, kept out of line.  go_on: at stop_pos, to the slots behind it, as far as room is known. */
WEIR_API weir_status weir_mpmc_producer_refresh(weir_mpmc_producer *p);
WEIR_API weir_status weir_mpmc_producer_refuse(const weir_mpmc_producer *p, uint64_t len);
WEIR_API void weir_mpmc_producer_go_on(weir_mpmc_producer *p);
WEIR_API weir_status weir_mpmc_reserve_slow(weir_mpmc_producer *p, uint64_t len, void **slot);
WEIR_API weir_status weir_mpmc_put_slow(weir_mpmc_producer *p, const void *msg, uint64_t len, int more);

/* The tag that makes the slot of pos a committed one, in its place in the header; never 0.  A lap's number is kept to
 * 31 bits: of 2^24 slots at most, positions of 56 bits have as many laps, so a tag goes on through their wrap. */
static inline uint64_t weir_mpmc_tag(uint64_t pos, uint32_t shift)
{
    return UINT64_C(1) << 63 | (pos >> shift & 0x7fffffff) << 32;
}

static inline unsigned char *weir_mpmc_slot(unsigned char *data, uint64_t pos, uint32_t shift, uint64_t stride)
{
    return data + (pos & ((UINT64_C(1) << shift) - 1)) * stride;
}

/* Is there room for a record of that length at p->pos? */
static inline weir_status weir_mpmc_place(weir_mpmc_producer *p, uint64_t len)
{
    if (WEIR_UNLIKELY(len > p->record_max))
        return weir_mpmc_producer_refuse(p, len);
    return WEIR_LIKELY(p->pos != p->stop_pos) ? WEIR_OK : weir_mpmc_producer_refresh(p);
}

/* weir_mpmc_flush publishes the open batch; without one it does nothing.
 *
 * Progress: wait-free.  Ordering: release (edge MPMC-DATA).
 * If killed: before the store none of the batch exists; after it, all does. */
WEIR_INLINE void weir_mpmc_flush(weir_mpmc_producer *p)
{
    if (p->batch_header == 0)
        return;
    weir_atomic_u64 *first = weir_word_at(weir_mpmc_slot(p->data, p->batch_pos, p->shift, p->stride), 0);
    /* order MPMC-DATA rel: all headers and bytes of the batch before its first header.  Without it a consumer can
     * follow the first record to bytes of an older lap. */
    weir_store_rel(first, p->batch_header);
    p->batch_header = 0;
}

/* Makes what is, or will be, in the slot at p->pos the lane's last record; there is room.  tally: as weir_spsc_finish's. */
WEIR_INLINE void weir_mpmc_finish(weir_mpmc_producer *p, uint64_t len, bool more, weir_atomic_u64 *tally)
{
    unsigned char *slot = p->slot;
    uint64_t header = p->tag | len, pos = p->pos;
    if (more && p->batch_header == 0) { /* nobody looks behind the first header that is not committed */
        p->batch_pos = pos;
        p->batch_header = header;
    } else if (more || WEIR_UNLIKELY(p->batch_header != 0)) {
        weir_store_rlx(weir_word_at(slot, 0), header); /* relaxed: reached behind the first alone */
    } else {
        /* order MPMC-DATA rel: the record's bytes before its header.  Without it a consumer can see the length and an
         * older lap's bytes. */
        weir_store_rel(weir_word_at(slot, 0), header);
    }
    if (tally != NULL)
        weir_tally(tally, 1);
    p->pos = pos + 1;
    p->slot = slot + p->stride;
    if (!more)
        weir_mpmc_flush(p);
    if (WEIR_UNLIKELY(p->reserved != 0))
        p->reserved = 0;
    if (WEIR_UNLIKELY(pos + 1 == p->stop_pos))
        weir_mpmc_producer_go_on(p);
}

/* Short messages for which room is known need no call. */
WEIR_INLINE bool weir_mpmc_put_now(weir_mpmc_producer *p, const void *msg, uint64_t len, bool more,
                                   weir_atomic_u64 *tally)
{
    if (WEIR_UNLIKELY(p->pos == p->stop_pos || len > p->record_max || len > WEIR_SPSC_COPY_MAX))
        return false;
    unsigned char *payload = p->slot + WEIR_MPMC_HEADER;
    if (more) { /* nothing is seen before the flush: header first, so that the stores only go up */
        weir_mpmc_finish(p, len, true, tally);
        weir_spsc_copy_up(payload, msg, len);
    } else {
        weir_spsc_copy_down(payload, msg, len);
        weir_mpmc_finish(p, len, false, tally);
    }
    return true;
}

WEIR_INLINE weir_status weir_mpmc_put(weir_mpmc_producer *p, const void *msg, uint64_t len, bool more)
{
    return weir_mpmc_put_now(p, msg, len, more, NULL) ? WEIR_OK : weir_mpmc_put_slow(p, msg, len, more);
}

/* weir_mpmc_push copies len bytes of msg into the lane as one record and publishes it, and the open batch with it.
 * An open reservation is given up if the record goes in.
 *
 * Progress: wait-free; when the known room is used up, a look at one word of each consumer slot.
 * Ordering: release; what the caller wrote before is visible to whoever gets this record (edge MPMC-DATA).
 * Returns:  WEIR_OK; WEIR_FULL (nothing written; an open batch stays unpublished and holds its room: flush it before
 *           waiting); WEIR_E_TOO_LARGE (len over the record limit); WEIR_E_CORRUPT (an impossible claim or run word);
 *           WEIR_E_STATE (p is not attached).
 * If killed: before the header's store the record never existed; after it, it is whole. */
WEIR_INLINE weir_status weir_mpmc_push(weir_mpmc_producer *p, const void *msg, uint64_t len)
{
    return weir_mpmc_put(p, msg, len, false);
}

/* weir_mpmc_push_more is weir_mpmc_push without the publication: the record joins the open batch, or opens one. */
WEIR_INLINE weir_status weir_mpmc_push_more(weir_mpmc_producer *p, const void *msg, uint64_t len)
{
    return weir_mpmc_put(p, msg, len, true);
}

/* Where room is known. */
WEIR_INLINE bool weir_mpmc_reserve_now(weir_mpmc_producer *p, uint64_t len, void **slot)
{
    if (WEIR_UNLIKELY(p->pos == p->stop_pos || len > p->record_max))
        return false;
    p->reserved = (uint32_t)len + 1;
    *slot = p->slot + WEIR_MPMC_HEADER;
    return true;
}

/* weir_mpmc_reserve gives the address, 8-byte aligned, of room for one record of up to len bytes.  The caller writes
 * there and then commits; a push, or another reserve, gives the room up.  Nothing is visible before the commit.
 *
 * Progress, Returns: as weir_mpmc_push.  If killed: the record never existed. */
WEIR_INLINE weir_status weir_mpmc_reserve(weir_mpmc_producer *p, uint64_t len, void **slot)
{
    return WEIR_LIKELY(weir_mpmc_reserve_now(p, len, slot)) ? WEIR_OK : weir_mpmc_reserve_slow(p, len, slot);
}

WEIR_INLINE weir_status weir_mpmc_commit_as(weir_mpmc_producer *p, uint64_t len, bool more, weir_atomic_u64 *tally)
{
    if (WEIR_UNLIKELY(p->reserved == 0))
        return p->fault != WEIR_OK ? p->fault : WEIR_E_STATE;
    if (WEIR_UNLIKELY(len >= p->reserved))
        return WEIR_E_INVALID;
    weir_mpmc_finish(p, len, more, tally);
    return WEIR_OK;
}

/* weir_mpmc_commit publishes the reserved record with its first len bytes, and the open batch with it.
 *
 * Progress: wait-free.  Ordering: as weir_mpmc_push.
 * Returns:  WEIR_OK; WEIR_E_STATE (no reservation is open); WEIR_E_INVALID (len over what was reserved; the reservation
 *           stays); WEIR_E_CORRUPT (the handle found that before).
 * If killed: before the header's store the record never existed; after it, it is whole. */
WEIR_INLINE weir_status weir_mpmc_commit(weir_mpmc_producer *p, uint64_t len)
{
    return weir_mpmc_commit_as(p, len, false, NULL);
}

/* weir_mpmc_commit_more is weir_mpmc_commit without the publication. */
WEIR_INLINE weir_status weir_mpmc_commit_more(weir_mpmc_producer *p, uint64_t len)
{
    return weir_mpmc_commit_as(p, len, true, NULL);
}

/* weir_mpmc_drained tells whether everything that was pushed into the lane is done: claimed and given back.
 *
 * Progress: as weir_mpmc_push.  Ordering: acquire (edge MPMC-FREE).
 * Returns:  WEIR_OK (all is, and no batch is open); WEIR_FULL (not yet); WEIR_E_CORRUPT; WEIR_E_STATE. */
WEIR_API weir_status weir_mpmc_drained(weir_mpmc_producer *p);

/* ---- consumer ---- */

/* weir_mpmc_consumer_attach makes c the consumer of slot `slot`, as {slot, generation}.  What former consumers of that
 * slot, which must be gone, had claimed and not given back is c's: it comes first, marked redelivered.
 *
 * run_max: the most records that c claims at once, up to WEIR_MPMC_RUN_MAX; 0 means WEIR_MPMC_RUN.  A lower one shares
 * out better what is slow to work on.  handles has room for `count` lanes, at least as many as there may ever be, and
 * is c's until it is detached.  Where lanes are made beyond size_bytes later, c->room.reach and .reach_arg are set
 * behind the attach.
 *
 * Callers:  one thread.  Progress: wait-free.  Ordering: acquire (edge MPMC-OWNER).
 * Returns:  WEIR_OK; WEIR_E_INVALID (mem not aligned, no such slot, run_max or count wrong); WEIR_E_IN_USE (another
 *           consumer is just working through what that slot had left, or it has a consumer of this or a later
 *           generation: take another slot); WEIR_E_NOT_WEIR; WEIR_E_VERSION; WEIR_E_CORRUPT.  c is unattached then.
 * If killed: the slot is free, or {slot, generation}'s. */
WEIR_API weir_status weir_mpmc_consumer_attach(weir_mpmc_consumer *c, void *mem, uint64_t size_bytes, uint32_t slot,
                                               uint32_t generation, uint32_t run_max, weir_mpmc_lane *handles,
                                               uint32_t count);

/* weir_mpmc_recover takes over what the consumer {owner, generation} has not given back, of its own slot and of those
 * that it was working through for others.  The caller knows that this consumer is gone: killed, or left for good.  c
 * then delivers it, marked redelivered, before it claims anything new, and frees the slots when that is done.  News
 * that is stale, or that another consumer has acted on, changes nothing.
 *
 * Progress: wait-free; it looks at every consumer slot, after it has found every lane that was there for that consumer.
 * Ordering: acquire (edges MPMC-CLAIM, RING-LANES).
 * Returns:  WEIR_OK (also where there was nothing); WEIR_E_INVALID (no such slot, or it is c itself); WEIR_E_CORRUPT;
 *           WEIR_E_STATE (c is not attached).
 * If killed: each of those slots is still {owner, generation}'s, or c's: two calls find all. */
WEIR_API weir_status weir_mpmc_recover(weir_mpmc_consumer *c, uint32_t owner, uint32_t generation);

/* weir_mpmc_consumer_detach ends c, which is then not attached.  What c has claimed and not given back, read or not,
 * stays for weir_mpmc_recover or the slot's next consumer.
 *
 * Progress: wait-free.  Ordering: release (edge MPMC-OWNER).
 * Returns:  WEIR_OK (nothing is left, the slot is free); WEIR_FULL (something is left, and the slot taken until that is
 *           done); WEIR_E_CORRUPT (c was, and the slot is not free); WEIR_E_STATE (c is not attached).
 * If killed: the slot is free, or still c's and to be recovered. */
WEIR_API weir_status weir_mpmc_consumer_detach(weir_mpmc_consumer *c);

/* The paths that are taken seldom, kept out of line.  next: to the next run, of this or another lane. */
WEIR_API weir_status weir_mpmc_next(weir_mpmc_consumer *c);
WEIR_API weir_status weir_mpmc_poison(weir_mpmc_consumer *c, const char *what, uint64_t word);
WEIR_API void weir_mpmc_release_all(weir_mpmc_consumer *c);

/* weir_mpmc_peek gives the next record in place and moves on to the one behind it; the bytes stay until release.  For
 * producers you trust, as weir_spsc_peek.  *lane is whose it is; *redelivered tells whether a former consumer had
 * claimed it.  c holds one run of a lane at a time: of a lane whose run it has read and not released it gets no more.
 *
 * Progress: wait-free.  Ordering: acquire (edge MPMC-DATA, or MPMC-CLAIM).
 * Returns:  WEIR_OK; WEIR_EMPTY (after a look at every lane); WEIR_FULL (records wait, but only where c has a run that
 *           it has read: release first); WEIR_AGAIN (records were there, and others claimed them, WEIR_MPMC_TRIES times
 *           in a row); WEIR_E_CORRUPT; WEIR_E_STATE (c is not attached).
 * If killed: what was claimed comes again, redelivered, to whoever recovers it. */
static inline weir_status weir_mpmc_peek(weir_mpmc_consumer *c, const void **msg, uint32_t *len, uint32_t *lane,
                                         bool *redelivered)
{
    if (WEIR_UNLIKELY(c->count == 0 || c->lanes[c->at].next_pos == c->lanes[c->at].end_pos)) {
        weir_status status = weir_mpmc_next(c);
        if (status != WEIR_OK)
            return status;
    }
    weir_mpmc_lane *of = &c->lanes[c->at];
    unsigned char *slot = weir_mpmc_slot(of->data, of->next_pos, c->shift, c->stride);
    /* relaxed: whoever claimed the run acquired its headers, and they stay until it is given back. */
    uint64_t header = weir_load_rlx(weir_word_at(slot, 0));
    uint32_t bytes = (uint32_t)header;
    if (WEIR_UNLIKELY((header & WEIR_MPMC_TAG) != weir_mpmc_tag(of->next_pos, c->shift) || bytes > c->record_max)) {
        (void)weir_mpmc_poison(c, "header", header);
        return WEIR_E_CORRUPT;
    }
    of->next_pos++;
    *msg = slot + WEIR_MPMC_HEADER;
    *len = bytes;
    *lane = c->at;
    *redelivered = of->redelivered != 0;
    return WEIR_OK;
}

/* Says in a run's word how far it is done. */
WEIR_INLINE void weir_mpmc_say_done(weir_atomic_u64 *run, uint64_t word)
{
    /* order MPMC-FREE rel: the reads of these records before their producer's writes over them.  Without it bytes are
     * overwritten that are still being read. */
    weir_store_rel(run, word);
}

/* All that was read of that run is. */
static inline void weir_mpmc_done(weir_mpmc_lane *of)
{
    of->pos = of->next_pos;
    uint64_t left = of->end_pos - of->pos;
    weir_mpmc_say_done(of->run, of->pos << 8 | left << 1 | WEIR_MPMC_CONFIRMED);
}

/* weir_mpmc_release gives back every record read so far, in every lane: they are done.
 *
 * Progress: wait-free; one store for each run.  Ordering: release (edge MPMC-FREE).
 * If killed: in some lanes the records are done, in the others they come again to whoever recovers them. */
static inline void weir_mpmc_release(weir_mpmc_consumer *c)
{
    if (WEIR_UNLIKELY(c->held != 0))
        weir_mpmc_release_all(c);
    else if (WEIR_LIKELY(c->count != 0) && c->lanes[c->at].next_pos != c->lanes[c->at].pos)
        weir_mpmc_done(&c->lanes[c->at]);
}

/* weir_mpmc_pop_more copies the next record into buffer without giving it back; release gives back all that were read.
 *
 * Progress, Ordering: as weir_mpmc_peek.
 * Returns:  as weir_mpmc_peek; WEIR_E_TOO_SMALL (the record stays; *len, *lane and *redelivered are its).
 * If killed: as weir_mpmc_peek. */
static inline weir_status weir_mpmc_pop_more(weir_mpmc_consumer *c, void *buffer, uint64_t size_bytes, uint32_t *len,
                                             uint32_t *lane, bool *redelivered)
{
    const void *msg = NULL;
    weir_status status = weir_mpmc_peek(c, &msg, len, lane, redelivered);
    if (status != WEIR_OK)
        return status;
    if (WEIR_UNLIKELY(*len > size_bytes)) {
        c->lanes[c->at].next_pos--;
        return WEIR_E_TOO_SMALL;
    }
    if (*len != 0)
        WEIR_PAYLOAD_READ(buffer, msg, *len);
    return WEIR_OK;
}

/* weir_mpmc_pop is weir_mpmc_pop_more with a release behind it. */
static inline weir_status weir_mpmc_pop(weir_mpmc_consumer *c, void *buffer, uint64_t size_bytes, uint32_t *len,
                                        uint32_t *lane, bool *redelivered)
{
    weir_status status = weir_mpmc_pop_more(c, buffer, size_bytes, len, lane, redelivered);
    if (WEIR_LIKELY(status == WEIR_OK))
        weir_mpmc_release(c);
    return status;
}

/* ---- the run in hand ---- */

/* weir_mpmc_hand_take gives the rest of c's run, up to the lap's end, into hand; nothing where c holds other runs, or the
 * run is a former consumer's.  c is not used before weir_mpmc_hand_back, which returns how many records were read.  Both
 * touch nothing shared.
 *
 * Callers:  c's.  Progress: wait-free; so are the three calls below.  If killed: as c's, between two calls. */
WEIR_API void weir_mpmc_hand_take(weir_mpmc_consumer *c, weir_mpmc_hand *hand);
WEIR_API uint32_t weir_mpmc_hand_back(weir_mpmc_consumer *c, weir_mpmc_hand *hand);

/* weir_mpmc_hand_peek is weir_mpmc_peek in hand; false: nothing is in hand, or what is there is to be looked at by c. */
WEIR_INLINE bool weir_mpmc_hand_peek(weir_mpmc_hand *hand, const void **msg, uint32_t *len)
{
    if (WEIR_UNLIKELY(hand->word == hand->end_word))
        return false;
    /* relaxed: as weir_mpmc_peek's. */
    uint64_t header = weir_load_rlx(weir_word_of(hand->next, 0));
    if (WEIR_UNLIKELY((header & WEIR_MPMC_TAG) != hand->tag || (uint32_t)header > hand->record_max))
        return false;
    *msg = hand->next + WEIR_MPMC_HEADER;
    *len = (uint32_t)header;
    hand->next += hand->stride;
    hand->word += WEIR_MPMC_WORD_STEP;
    return true;
}

/* weir_mpmc_hand_pop copies it; false also where it is longer than that. */
WEIR_INLINE bool weir_mpmc_hand_pop(weir_mpmc_hand *hand, void *buffer, uint64_t size_bytes, uint32_t *len)
{
    const void *msg;
    uint32_t bytes;
    if (!weir_mpmc_hand_peek(hand, &msg, &bytes))
        return false;
    if (WEIR_UNLIKELY(bytes > size_bytes)) {
        hand->next -= hand->stride;
        hand->word -= WEIR_MPMC_WORD_STEP;
        return false;
    }
    if (bytes == size_bytes) /* a size that the compiler may know */
        weir_spsc_copy_out(buffer, msg, size_bytes);
    else
        weir_spsc_copy_out(buffer, msg, bytes);
    *len = bytes;
    return true;
}

/* weir_mpmc_hand_release gives back what was read, of c before the run was taken in hand too.
 *
 * Ordering: release (edge MPMC-FREE).  If killed: all of it is done, or comes again to whoever recovers it. */
WEIR_INLINE void weir_mpmc_hand_release(weir_mpmc_hand *hand)
{
    if (hand->done_word == hand->word)
        return;
    hand->done_word = hand->word;
    weir_mpmc_say_done(hand->run, hand->word);
}

/* weir_mpmc_ready tells whether a record waits that c may have, without claiming it.
 *
 * Progress: wait-free.  Ordering: none, but for lanes that have come (edge RING-LANES).
 * Returns:  WEIR_OK; WEIR_EMPTY (after a look at every lane); WEIR_FULL (as weir_mpmc_peek); WEIR_E_CORRUPT or
 *           WEIR_E_STATE as weir_mpmc_peek. */
WEIR_API weir_status weir_mpmc_ready(weir_mpmc_consumer *c);

WEIR_END_DECLS

#endif
