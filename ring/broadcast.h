/* ring/broadcast.h - one writer, any number of readers that each see every record, or exactly how many they lost.
 *
 * It lives on any 64-byte aligned memory that all see, at whatever address each sees it.  The writer never waits: it
 * overwrites the oldest records.  Readers write nothing and may map it read-only; one that is slow or stopped loses
 * records and is told how many.  ring/README.md draws it and argues its memory orders.
 *
 *   weir_broadcast_init            once, by whoever made the memory
 *   weir_broadcast_writer_attach   then push, push_more, reserve + commit, flush
 *   weir_broadcast_reader_attach   then read; weir_broadcast_reader_resume: where another reader stopped
 *
 * There is no detach.  A writer whose owner is gone, in order or killed, is replaced by attaching a new one; that the
 * old one is gone is for the caller to know.  "_more" says that more follows: such records appear to readers all at
 * once, with the next push, commit or flush.
 *
 * Callers:  the writer's calls by one thread at a time; a reader's handle by one thread at a time.  Async-signal-safe,
 *           except inside another call on the same handle.
 * Progress: every call is wait-free.  A writer that stops or dies anywhere costs readers nothing.
 * Hostile:  no bytes in the ring make a call fault, loop or leave the ring's memory. */
#ifndef WEIR_RING_BROADCAST_H
#define WEIR_RING_BROADCAST_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/base/api.h>
#include <weir/base/atomic.h>
#include <weir/base/cacheline.h>
#include <weir/base/status.h>

WEIR_BEGIN_DECLS

#define WEIR_BROADCAST_CAPACITY_MIN 256u
#define WEIR_BROADCAST_CAPACITY_MAX (UINT64_C(1) << 46)
#define WEIR_BROADCAST_CONTROL 512u /* bytes before the data */
#define WEIR_BROADCAST_ANCHORS 16u  /* record boundaries that are remembered */
#define WEIR_BROADCAST_AHEAD 512u   /* bytes behind a record, or two records of its size, whose lines the writer takes at once, */
#define WEIR_BROADCAST_AHEAD_MAX 4096u /* but no more than so many (ring/README.md, "Lines ahead") */
#define WEIR_BROADCAST_TRIES 8      /* at records that are overwritten while they are read; then WEIR_AGAIN */

/* A record begins with two words: a tag above the payload's length in bytes, 0 for "nothing yet"; and its number. */
#define WEIR_BROADCAST_HEADER 16u
#define WEIR_BROADCAST_DATA (UINT64_C(0x77656972) << 32)
#define WEIR_BROADCAST_PAD (UINT64_C(0x70616464) << 32)
#define WEIR_BROADCAST_TAG (UINT64_C(0xffffffff) << 32)

typedef struct weir_broadcast_writer {
    uint64_t pos;          /* where the next header goes */
    uint64_t limit_pos;    /* what lies at a position before this may be overwritten by now */
    uint64_t capacity;     /* 0: not attached */
    unsigned char *data;   /* the ring's bytes, at this process's address */
    uint64_t number;       /* the next record's */
    uint64_t own_pos;      /* the lines that begin before it are the writer's own, as far as it knows */
    uint64_t batch_header; /* an open batch: its first header, not stored yet; 0: no batch is open */
    uint32_t reserved;     /* an open reservation: its payload bytes + 1; 0: none is open */
    uint32_t record_max;   /* bytes */
    uint64_t batch_pos;    /* where the open batch's first header goes */
    uint64_t batch_number; /* that record's number */
    uint64_t reserved_pos;
    void *ring;
} weir_broadcast_writer;

typedef struct weir_broadcast_reader {
    const unsigned char *data;
    uint64_t capacity; /* 0: not attached, or corrupt */
    uint64_t pos;      /* the next record to read */
    uint64_t number;   /* its number */
    uint64_t lost;     /* records lost that read has not told of yet */
    uint32_t record_max;
    weir_status fault; /* WEIR_E_CORRUPT once seen */
    const void *ring;
} weir_broadcast_reader;

/* weir_broadcast_footprint returns the bytes of memory that a ring of this capacity takes, or 0 where capacity is no
 * power of two from WEIR_BROADCAST_CAPACITY_MIN to _MAX. */
WEIR_API uint64_t weir_broadcast_footprint(uint64_t capacity_bytes);

/* weir_broadcast_record_max returns the longest record: a quarter of the capacity less 24 bytes (at most 2^31 - 8).  0
 * where capacity is no capacity. */
WEIR_API uint32_t weir_broadcast_record_max(uint64_t capacity_bytes);

/* weir_broadcast_init makes an empty ring in mem.  start_pos is 0, or where the positions begin, a multiple of 8; the
 * first record's number is start_number, 0 or another (tests start them just before a wrap).
 *
 * Callers:  one thread, before the memory is shown to others.
 * Returns:  WEIR_OK; WEIR_E_INVALID (mem not 64-byte aligned, size under the footprint, capacity or start_pos wrong).
 * If killed: mem holds no ring, or the whole new one: the magic goes first and comes last. */
WEIR_API weir_status weir_broadcast_init(void *mem, uint64_t size_bytes, uint64_t capacity_bytes, uint64_t start_pos,
                                         uint64_t start_number);

/* weir_broadcast_writer_attach makes w the writer.  It begins behind the last record that a former writer committed;
 * what that one had not committed, half a batch too, is as if it had never been.
 *
 * Callers:  one thread; the former writer must be gone.  Readers may be at work.
 * Progress: a walk over the records since the last boundary that is remembered, at most capacity / 16 steps.
 * Returns:  WEIR_OK; WEIR_E_INVALID (mem not aligned); WEIR_E_NOT_WEIR; WEIR_E_VERSION; WEIR_E_CORRUPT.
 * If killed: nothing was written. */
WEIR_API weir_status weir_broadcast_writer_attach(weir_broadcast_writer *w, void *mem, uint64_t size_bytes);

/* weir_broadcast_reader_attach makes r a reader.  It begins at the newest record boundary that is remembered: of a ring
 * with a writer at work the last eighth of the capacity or less, of a ring just made its first record.  mem may be
 * mapped read-only.
 *
 * Returns:  as weir_broadcast_writer_attach; WEIR_AGAIN (the writer overtook every try). */
WEIR_API weir_status weir_broadcast_reader_attach(weir_broadcast_reader *r, const void *mem, uint64_t size_bytes);

/* weir_broadcast_reader_resume is weir_broadcast_reader_attach for who goes on where another reader stopped: the next
 * record is that of the given number, or, where that is overwritten, the first behind a boundary that is still there, and what
 * lies between counts as lost.  A number that is not written yet is that of the newest record.
 *
 * Progress: a walk over the records between two boundaries, at most capacity / 16 steps.
 * Returns:  as weir_broadcast_reader_attach; WEIR_E_CORRUPT also where a walk meets what no writer writes. */
WEIR_API weir_status weir_broadcast_reader_resume(weir_broadcast_reader *r, const void *mem, uint64_t size_bytes,
                                                  uint64_t number);

/* The paths that are taken seldom, kept out of line. */
WEIR_API weir_status weir_broadcast_advance(weir_broadcast_writer *w, uint64_t end_pos);
WEIR_API void weir_broadcast_own(weir_broadcast_writer *w, uint64_t end_pos, uint64_t size);
WEIR_API weir_status weir_broadcast_refuse(const weir_broadcast_writer *w, uint64_t len);

/* ---- writer ---- */

static inline uint64_t weir_broadcast_size(uint64_t len)
{
    return WEIR_BROADCAST_HEADER + ((len + 7) & ~UINT64_C(7));
}

/* The position at which a record of len bytes would go: here, or behind padding at the ring's start. */
static inline weir_status weir_broadcast_place(weir_broadcast_writer *w, uint64_t len, uint64_t *start_pos)
{
    if (WEIR_UNLIKELY(len > w->record_max || w->capacity == 0))
        return weir_broadcast_refuse(w, len);
    uint64_t size = weir_broadcast_size(len);
    uint64_t room = w->capacity - (w->pos & (w->capacity - 1));
    uint64_t start = w->pos + (size > room ? room : 0);
    uint64_t end = start + size + 8; /* the word behind the record is cleared */
    if (WEIR_UNLIKELY((int64_t)(w->limit_pos - end) < 0)) {
        weir_status status = weir_broadcast_advance(w, end);
        if (status != WEIR_OK)
            return status;
    }
    *start_pos = start;
    return WEIR_OK;
}

/* Stores a header that was held back: all that it leads to is there then, up to end_pos. */
static inline void weir_broadcast_publish(weir_broadcast_writer *w, uint64_t pos, uint64_t header, uint64_t end_pos)
{
    uint64_t mask = w->capacity - 1;
    /* relaxed: the word behind the records reads as "nothing yet" once the store below is seen, by its release. */
    weir_store_rlx(weir_word_at(w->data, end_pos & mask), 0);
    /* order BROADCAST-DATA rel: all of the records before their first header.  Without it a reader can follow that to
     * bytes, or a header, that are still an older lap's. */
    weir_store_rel(weir_word_at(w->data, pos & mask), header);
}

/* weir_broadcast_flush publishes the open batch; without one it does nothing.
 *
 * Progress: wait-free.  Ordering: release (edge BROADCAST-DATA).
 * If killed: before the store none of the batch exists; after it, all does. */
static inline void weir_broadcast_flush(weir_broadcast_writer *w)
{
    if (w->batch_header == 0)
        return;
    weir_broadcast_publish(w, w->batch_pos, w->batch_header, w->pos);
    w->batch_header = 0;
}

/* Makes the record at start_pos the ring's last one.  Its bytes are in place.  What is stored elsewhere, and the lines ahead,
 * come behind the ring's own words (ring/README.md, "What stands between the stores"). */
static inline void weir_broadcast_finish(weir_broadcast_writer *w, uint64_t start_pos, uint64_t len, bool more)
{
    uint64_t mask = w->capacity - 1, size = weir_broadcast_size(len);
    uint64_t first_pos = w->pos, end_pos = start_pos + size, number = w->number;
    uint64_t header = WEIR_BROADCAST_DATA | len;
    bool open = w->batch_header != 0;
    /* relaxed: seen through the header alone. */
    weir_store_rlx(weir_word_at(w->data, (start_pos & mask) + 8), number);
    if (WEIR_UNLIKELY(start_pos != first_pos)) {
        /* relaxed: readers come here only through the padding's header, which is stored with or after it. */
        weir_store_rlx(weir_word_at(w->data, start_pos & mask), header);
        header = WEIR_BROADCAST_PAD | (start_pos - first_pos - 8);
    }
    if (open) {
        weir_store_rlx(weir_word_at(w->data, first_pos & mask), header); /* relaxed: reached through the first alone */
    } else if (more) { /* its word stays 0: nothing behind it can be reached */
        w->batch_pos = first_pos;
        w->batch_number = number;
        w->batch_header = header;
    } else {
        weir_broadcast_publish(w, first_pos, header, end_pos);
    }
    if (WEIR_UNLIKELY((int64_t)(end_pos + size - w->own_pos) > 0))
        weir_broadcast_own(w, end_pos, size);
    w->pos = end_pos;
    w->number = number + 1;
    w->reserved = 0;
    if (open && !more)
        weir_broadcast_flush(w);
}

static inline weir_status weir_broadcast_put(weir_broadcast_writer *w, const void *msg, uint64_t len, bool more)
{
    uint64_t start_pos = 0;
    weir_status status = weir_broadcast_place(w, len, &start_pos);
    if (WEIR_UNLIKELY(status != WEIR_OK))
        return status;
    /* relaxed: readers believe these words only if the limit says that they were not overwritten. */
    weir_words_store(weir_word_at(w->data, (start_pos & (w->capacity - 1)) + WEIR_BROADCAST_HEADER), msg, len);
    weir_broadcast_finish(w, start_pos, len, more);
    return WEIR_OK;
}

/* weir_broadcast_push copies len bytes of msg into the ring as one record and publishes it, and the open batch with it.
 *
 * Progress: wait-free.  Ordering: release; what the caller wrote before is visible to whoever gets this record.
 * Returns:  WEIR_OK; WEIR_FULL (the open batch has reached a quarter of the capacity: flush it; nothing was written);
 *           WEIR_E_TOO_LARGE (len over the record limit); WEIR_E_STATE (w is not attached).
 * If killed: before the header's store the record never existed; after it, it is whole. */
static inline weir_status weir_broadcast_push(weir_broadcast_writer *w, const void *msg, uint64_t len)
{
    return weir_broadcast_put(w, msg, len, false);
}

/* weir_broadcast_push_more is weir_broadcast_push without the publication: the record joins the open batch, or opens
 * one. */
static inline weir_status weir_broadcast_push_more(weir_broadcast_writer *w, const void *msg, uint64_t len)
{
    return weir_broadcast_put(w, msg, len, true);
}

/* weir_broadcast_reserve gives the address, 8-byte aligned, of room for one record of up to len bytes.  The caller
 * writes there and then commits; a push, or another reserve, gives the room up.  Nothing is visible before the commit.
 * Whoever writes there with plain stores relies on the processor alone: a reader that is overtaken just then reads what
 * is written, and throws it away.
 *
 * Progress, Returns: as weir_broadcast_push.  If killed: the record never existed. */
static inline weir_status weir_broadcast_reserve(weir_broadcast_writer *w, uint64_t len, void **slot)
{
    uint64_t start_pos = 0;
    w->reserved = 0;
    weir_status status = weir_broadcast_place(w, len, &start_pos);
    if (WEIR_UNLIKELY(status != WEIR_OK))
        return status;
    w->reserved = (uint32_t)len + 1;
    w->reserved_pos = start_pos;
    *slot = w->data + (start_pos & (w->capacity - 1)) + WEIR_BROADCAST_HEADER;
    return WEIR_OK;
}

static inline weir_status weir_broadcast_commit_as(weir_broadcast_writer *w, uint64_t len, bool more)
{
    if (WEIR_UNLIKELY(w->reserved == 0))
        return WEIR_E_STATE;
    if (WEIR_UNLIKELY(len >= w->reserved))
        return WEIR_E_INVALID;
    weir_broadcast_finish(w, w->reserved_pos, len, more);
    return WEIR_OK;
}

/* weir_broadcast_commit publishes the reserved record with its first len bytes, and the open batch with it.
 *
 * Progress: wait-free.  Ordering: as weir_broadcast_push.
 * Returns:  WEIR_OK; WEIR_E_STATE (no reservation is open); WEIR_E_INVALID (len over what was reserved; it stays).
 * If killed: before the header's store the record never existed; after it, it is whole. */
static inline weir_status weir_broadcast_commit(weir_broadcast_writer *w, uint64_t len)
{
    return weir_broadcast_commit_as(w, len, false);
}

/* weir_broadcast_commit_more is weir_broadcast_commit without the publication. */
static inline weir_status weir_broadcast_commit_more(weir_broadcast_writer *w, uint64_t len)
{
    return weir_broadcast_commit_as(w, len, true);
}

/* ---- reader ---- */

/* weir_broadcast_read copies the next record into buffer and moves on.  *lost is how many records, exactly, were
 * overwritten between this one and the one that was read before it.
 *
 * Progress: wait-free: at most WEIR_BROADCAST_TRIES copies.  Ordering: acquire (edge BROADCAST-DATA).
 * Returns:  WEIR_OK; WEIR_EMPTY; WEIR_AGAIN (overtaken at every try: what is lost is counted, and read goes on where
 *           records are); WEIR_E_TOO_SMALL (the record stays, as long as it is there; *len is what it needs);
 *           WEIR_E_CORRUPT; WEIR_E_STATE (not attached).
 * If killed: nothing was written. */
WEIR_API weir_status weir_broadcast_read(weir_broadcast_reader *r, void *buffer, uint64_t size_bytes, uint32_t *len,
                                         uint64_t *lost);

/* weir_broadcast_ready tells whether a record waits, or the reader's place was overrun, without reading it.
 *
 * Returns:  WEIR_OK; WEIR_EMPTY; WEIR_E_CORRUPT or WEIR_E_STATE. */
WEIR_API weir_status weir_broadcast_ready(const weir_broadcast_reader *r);

WEIR_END_DECLS

#endif
