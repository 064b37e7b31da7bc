/* ring/broadcast_gated.h - one writer, up to 256 readers that each see every record: the writer waits for the slowest.
 *
 * It lives on any 64-byte aligned memory that all see and may write, at whatever address each sees it.  Records,
 * batches and in-place calls are those of the lane (spsc.h); every reader has a slot with a position of its own, and
 * the writer's room ends a capacity behind the least of them.  ring/README.md draws it and argues its memory orders.
 *
 *   weir_broadcast_gated_init            once, by whoever made the memory
 *   weir_broadcast_gated_writer_attach   then push, push_more, push_array, reserve + commit, flush
 *   weir_broadcast_gated_reader_attach   then pop, pop_more, peek, release; and detach
 *
 * Who owns a slot, and which generation of it, is for the caller to say (ipc/ knows).  A reader that was killed goes on
 * gating until the writer is told: weir_broadcast_gated_recover.  The writer needs no detach; one whose owner is gone,
 * in order or killed, is replaced by attaching a new one.
 *
 * Callers:  the writer's calls by one thread at a time, a reader's by one thread at a time; all run freely beside each
 *           other.  Async-signal-safe, except inside another call on the same handle.
 * Progress: every call is wait-free.  A stopped reader holds what it has not released, at most the capacity: then FULL.
 *           A stopped or dead writer costs readers nothing.
 * Hostile:  no bytes in the ring make a call fault, loop or leave the ring's memory.  Bytes that no writer or reader
 *           writes give WEIR_E_CORRUPT, and that handle then answers so for good. */
#ifndef WEIR_RING_BROADCAST_GATED_H
#define WEIR_RING_BROADCAST_GATED_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/base/api.h>
#include <weir/base/atomic.h>
#include <weir/base/status.h>
#include <weir/ring/spsc.h>

WEIR_BEGIN_DECLS

#define WEIR_BROADCAST_GATED_READERS_MAX 256u
#define WEIR_BROADCAST_GATED_CONTROL 256u /* bytes before the entries: two line pairs */
#define WEIR_BROADCAST_GATED_ENTRY 128u   /* bytes of a reader's entry; the data follow the last one */
#define WEIR_BROADCAST_GATED_TRIES 8      /* of a reader to begin where the writer has just been; then WEIR_AGAIN */

/* Where a reader begins. */
typedef enum weir_broadcast_gated_start {
    WEIR_BROADCAST_GATED_OLDEST = 0, /* at the oldest record that is still held */
    WEIR_BROADCAST_GATED_NEWEST = 1, /* behind the newest one that is published */
    WEIR_BROADCAST_GATED_RESUME = 2  /* where the slot's former holder stopped: what it had not released comes again */
} weir_broadcast_gated_start;

typedef struct weir_broadcast_gated_writer {
    weir_spsc_producer lane; /* without a head of its own: its limit is what the entries allow */
    void *ring;
    uint64_t announced_pos; /* what is stored in the ring's announced */
    uint64_t *dead;         /* by slot: the word of a reader that is known to be dead, or 0 */
    uint32_t readers;
} weir_broadcast_gated_writer;

typedef struct weir_broadcast_gated_reader {
    weir_spsc_consumer lane; /* its head is this reader's position, in its entry */
    weir_atomic_u64 *word;   /* its entry's word; null: not attached */
} weir_broadcast_gated_reader;

/* A reader that the writer waits for. */
typedef struct weir_broadcast_gated_gate {
    uint64_t lag_bytes; /* published and not released by it */
    uint32_t reader, generation;
} weir_broadcast_gated_gate;

/* weir_broadcast_gated_footprint returns the bytes of memory that a ring with that many reader slots takes, or 0 where
 * readers is not 1 to WEIR_BROADCAST_GATED_READERS_MAX or capacity is no capacity of a lane. */
WEIR_API uint64_t weir_broadcast_gated_footprint(uint32_t readers, uint64_t capacity_bytes);

/* weir_broadcast_gated_record_max returns the longest record: a lane's (weir_spsc_record_max). */
WEIR_API uint32_t weir_broadcast_gated_record_max(uint64_t capacity_bytes);

/* weir_broadcast_gated_init makes an empty ring without readers in mem.  start_pos is 0, or where the positions begin,
 * a multiple of 8 (tests start them just before a wrap).
 *
 * Callers:  one thread, before the memory is shown to others.
 * Returns:  WEIR_OK; WEIR_E_INVALID (mem not 64-byte aligned, size under the footprint, readers, capacity or start_pos
 *           wrong).
 * If killed: mem holds no ring, or the whole new one: the magic goes first and comes last. */
WEIR_API weir_status weir_broadcast_gated_init(void *mem, uint64_t size_bytes, uint32_t readers,
                                               uint64_t capacity_bytes, uint64_t start_pos);

/* weir_broadcast_gated_readers tells how many reader slots the ring in mem has.
 *
 * Returns:  WEIR_OK; WEIR_E_INVALID, WEIR_E_NOT_WEIR, WEIR_E_VERSION, WEIR_E_CORRUPT as the attaches. */
WEIR_API weir_status weir_broadcast_gated_readers(const void *mem, uint64_t size_bytes, uint32_t *readers);

/* weir_broadcast_gated_writer_attach makes w the writer.  It begins behind the last record that a former writer
 * committed; what that one had not committed, half a batch too, is as if it had never been.  dead is the caller's
 * memory for count words, one for each reader slot, and w's as long as w is used; which readers are dead is not
 * inherited: who is told of is told of again.
 *
 * Callers:  one thread; the former writer must be gone.  Readers may be at work, come and go.
 * Progress: a walk over the records that are held, at most capacity / 8 steps.
 * Returns:  WEIR_OK; WEIR_E_INVALID (mem not aligned, dead is null or count less than the ring's readers);
 *           WEIR_E_NOT_WEIR (no such ring there); WEIR_E_VERSION; WEIR_E_CORRUPT (sizes that do not fit size_bytes, or
 *           an impossible header).  w is unattached on failure.
 * If killed: nothing was written. */
WEIR_API weir_status weir_broadcast_gated_writer_attach(weir_broadcast_gated_writer *w, void *mem, uint64_t size_bytes,
                                                        uint64_t *dead, uint32_t count);

/* weir_broadcast_gated_reader_attach makes r the holder of reader slot `reader` and begins at `start`.  From its return
 * on nothing is lost to r.  generation is one that this slot has not had before.
 *
 * Callers:  one thread; the slot's former holder must be gone.  The writer may be at work.
 * Progress: wait-free: WEIR_BROADCAST_GATED_TRIES tries, and for NEWEST a walk over the records that are held.
 * Returns:  WEIR_OK; WEIR_AGAIN (the writer gave up records at each try, which it does once in as much as the readers
 *           released); WEIR_E_STATE (RESUME, and what comes next after the former holder's last release is given up:
 *           it can go on at OLDEST, and has lost some records); WEIR_E_INVALID (mem not aligned, no such slot, no such
 *           start); WEIR_E_NOT_WEIR, WEIR_E_VERSION, WEIR_E_CORRUPT.  On failure r is unattached and, unless an
 *           argument was wrong or there is no such ring, nobody gates for the slot.
 * If killed: the former holder's entry as it was, or this one gates at what it would have read first. */
WEIR_API weir_status weir_broadcast_gated_reader_attach(weir_broadcast_gated_reader *r, void *mem, uint64_t size_bytes,
                                                        uint32_t reader, uint32_t generation,
                                                        weir_broadcast_gated_start start);

/* weir_broadcast_gated_ask looks how far all readers are and moves the writer's limit: the path that push and reserve
 * take when there is no room left.
 *
 * Returns:  WEIR_OK (a record of len bytes fits); WEIR_FULL; WEIR_E_TOO_LARGE, WEIR_E_CORRUPT, WEIR_E_STATE. */
WEIR_API weir_status weir_broadcast_gated_ask(weir_broadcast_gated_writer *w, uint64_t len);

/* ---- writer ---- */

static inline weir_status weir_broadcast_gated_put(weir_broadcast_gated_writer *w, const void *msg, uint64_t len,
                                                   bool more)
{
    weir_status status;
    do /* twice at most: what ask says fits does fit */
        status = weir_spsc_put(&w->lane, msg, len, more);
    while (WEIR_UNLIKELY(status == WEIR_FULL) && (status = weir_broadcast_gated_ask(w, len)) == WEIR_OK);
    return status;
}

/* weir_broadcast_gated_push copies len bytes of msg into the ring as one record and publishes it, and the open batch
 * with it.  An open reservation is given up if the record goes in.
 *
 * Progress: wait-free.  Ordering: release; what the caller wrote before is visible to whoever gets this record.
 * Returns:  WEIR_OK; WEIR_FULL (a reader that is not known to be dead has not released enough:
 *           weir_broadcast_gated_gate_from says who; nothing written; an open batch stays unpublished and holds its
 *           room: flush it before waiting); WEIR_E_TOO_LARGE; WEIR_E_CORRUPT (an impossible entry of a reader);
 *           WEIR_E_STATE (w is not attached).
 * If killed: before the header's store the record never existed; after it, it is whole. */
static inline weir_status weir_broadcast_gated_push(weir_broadcast_gated_writer *w, const void *msg, uint64_t len)
{
    return weir_broadcast_gated_put(w, msg, len, false);
}

/* weir_broadcast_gated_push_more is weir_broadcast_gated_push without the publication: the record joins the open batch,
 * or opens one. */
static inline weir_status weir_broadcast_gated_push_more(weir_broadcast_gated_writer *w, const void *msg, uint64_t len)
{
    return weir_broadcast_gated_put(w, msg, len, true);
}

/* Do the readers have to be asked before that many records go in?  So that all that fit appear at once.  Padding is less than
 * a record. */
static inline bool weir_broadcast_gated_asks_for(const weir_broadcast_gated_writer *w, uint64_t len, uint32_t count)
{
    const weir_spsc_producer *lane = &w->lane;
    return len <= lane->record_max && lane->capacity != 0 &&
           lane->limit_pos - lane->pos < weir_spsc_size(len) * (count + UINT64_C(1)) + WEIR_SPSC_HEADER;
}

/* weir_broadcast_gated_push_array copies count records of len bytes each, which lie one behind the other in msgs, and
 * publishes them, and the open batch with them, all at once.
 *
 * Progress, Ordering, Returns, If killed: as weir_spsc_push_array: WEIR_FULL says that *pushed of them are in. */
WEIR_API weir_status weir_broadcast_gated_push_array(weir_broadcast_gated_writer *w, const void *msgs, uint64_t len,
                                                     uint32_t count, uint32_t *pushed);

/* weir_broadcast_gated_reserve gives the address, 8-byte aligned, of room for one record of up to len bytes.  The
 * caller writes there and then commits; a push, or another reserve, gives the room up.  Nothing is visible before.
 *
 * Progress, Returns: as weir_broadcast_gated_push.  If killed: the record never existed. */
static inline weir_status weir_broadcast_gated_reserve(weir_broadcast_gated_writer *w, uint64_t len, void **slot)
{
    weir_status status;
    do
        status = weir_spsc_reserve(&w->lane, len, slot);
    while (WEIR_UNLIKELY(status == WEIR_FULL) && (status = weir_broadcast_gated_ask(w, len)) == WEIR_OK);
    return status;
}

/* weir_broadcast_gated_commit publishes the reserved record with its first len bytes, and the open batch with it; all
 * as weir_spsc_commit.  weir_broadcast_gated_commit_more does not publish. */
static inline weir_status weir_broadcast_gated_commit(weir_broadcast_gated_writer *w, uint64_t len)
{
    return weir_spsc_commit(&w->lane, len);
}

static inline weir_status weir_broadcast_gated_commit_more(weir_broadcast_gated_writer *w, uint64_t len)
{
    return weir_spsc_commit_more(&w->lane, len);
}

/* weir_broadcast_gated_flush publishes the open batch; without one it does nothing.  As weir_spsc_flush. */
static inline void weir_broadcast_gated_flush(weir_broadcast_gated_writer *w) { weir_spsc_flush(&w->lane); }

/* weir_broadcast_gated_drained tells whether every reader that is there and not known to be dead has released all.
 *
 * Progress: wait-free.  Ordering: acquire (edges SPSC-FREE, GATE-LEAVE).
 * Returns:  WEIR_OK (so it is, and no batch is open); WEIR_FULL (not yet); WEIR_E_CORRUPT; WEIR_E_STATE. */
WEIR_API weir_status weir_broadcast_gated_drained(weir_broadcast_gated_writer *w);

/* weir_broadcast_gated_gate_from gives the first reader from slot `from` on that is there and not known to be dead, so
 * that a writer that found WEIR_FULL can ask about just those:
 *
 *   for (uint32_t from = 0; weir_broadcast_gated_gate_from(w, from, &gate) == WEIR_OK; from = gate.reader + 1)
 *
 * Progress: wait-free.
 * Returns:  WEIR_OK; WEIR_EMPTY (none from there on); WEIR_E_CORRUPT; WEIR_E_STATE. */
WEIR_API weir_status weir_broadcast_gated_gate_from(weir_broadcast_gated_writer *w, uint32_t from,
                                                    weir_broadcast_gated_gate *gate);

/* weir_broadcast_gated_recover tells the writer that this generation of that reader is dead: it gates no longer.  The
 * ring is not written to; a holder of the slot with another generation is not concerned, whenever it comes.
 *
 * Callers:  the writer's thread; who calls knows that this reader does nothing any more.  Once or more often.
 * Progress: wait-free.
 * Returns:  WEIR_OK (also where it has left, or another holds the slot); WEIR_E_INVALID (no such slot);
 *           WEIR_E_CORRUPT (found before); WEIR_E_STATE (w is not attached).
 * If killed: nothing was written.  The next writer is told again. */
WEIR_API weir_status weir_broadcast_gated_recover(weir_broadcast_gated_writer *w, uint32_t reader, uint32_t generation);

/* ---- reader ---- */

/* weir_broadcast_gated_peek gives the next record in place and moves on to the one behind it; the bytes stay until
 * release.  For writers you trust; all as weir_spsc_peek. */
static inline weir_status weir_broadcast_gated_peek(weir_broadcast_gated_reader *r, const void **msg, uint32_t *len)
{
    return weir_spsc_peek(&r->lane, msg, len);
}

/* weir_broadcast_gated_release gives back the room of every record read so far, for this reader.
 *
 * Progress: wait-free.  Ordering: release (edge SPSC-FREE).
 * If killed: before the store all of them come again to who resumes; after it, none. */
static inline void weir_broadcast_gated_release(weir_broadcast_gated_reader *r) { weir_spsc_release(&r->lane); }

/* weir_broadcast_gated_pop_more copies the next record into buffer and moves on; its room is given back by a later
 * release or pop.  weir_broadcast_gated_pop does so at once.  All as weir_spsc_pop_more and weir_spsc_pop. */
static inline weir_status weir_broadcast_gated_pop_more(weir_broadcast_gated_reader *r, void *buffer,
                                                        uint64_t size_bytes, uint32_t *len)
{
    return weir_spsc_pop_more(&r->lane, buffer, size_bytes, len);
}

static inline weir_status weir_broadcast_gated_pop(weir_broadcast_gated_reader *r, void *buffer, uint64_t size_bytes,
                                                   uint32_t *len)
{
    return weir_spsc_pop(&r->lane, buffer, size_bytes, len);
}

/* weir_broadcast_gated_ready tells whether a record waits, without reading it.  As weir_spsc_ready. */
static inline weir_status weir_broadcast_gated_ready(const weir_broadcast_gated_reader *r)
{
    return weir_spsc_ready(&r->lane);
}

/* weir_broadcast_gated_reader_detach leaves: the writer waits for r no longer.  What r had not released comes again to
 * who resumes, as long as it is held.
 *
 * Progress: wait-free.  Ordering: release (edge GATE-LEAVE).
 * Returns:  WEIR_OK (also where r found WEIR_E_CORRUPT before); WEIR_E_STATE (not attached).
 * If killed: before the store r gates as before; after it, it has left. */
WEIR_API weir_status weir_broadcast_gated_reader_detach(weir_broadcast_gated_reader *r);

WEIR_END_DECLS

#endif
