/* ring/latest.h - the newest value and nothing else: one writer, any number of readers, who may map it read-only.
 *
 * It lives on any 64-byte aligned memory that all see, at whatever address each sees it.  Values are 0 to value_max
 * bytes.  ring/README.md draws it and argues its memory orders.
 *
 *   weir_latest_init            once, by whoever made the memory
 *   weir_latest_writer_attach   then write, or reserve + publish
 *   weir_latest_reader_attach   then read
 *
 * There is no detach.  A writer whose owner is gone, in order or killed, is replaced by attaching a new one; that the
 * old one is gone is for the caller to know.
 *
 * Callers:  the writer's calls by one thread at a time; a reader's handle by one thread at a time.  Async-signal-safe,
 *           except inside another call on the same handle.
 * Progress: every call is wait-free.  Readers write nothing: they cost the writer no more than the cache lines they
 *           fetch, and a writer that stops or dies anywhere costs them nothing.
 * Hostile:  no bytes in the ring make a call fault, loop or leave the ring's memory. */
#ifndef WEIR_RING_LATEST_H
#define WEIR_RING_LATEST_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/base/api.h>
#include <weir/base/atomic.h>
#include <weir/base/cacheline.h>
#include <weir/base/status.h>

WEIR_BEGIN_DECLS

#define WEIR_LATEST_SLOTS_MIN 4u
#define WEIR_LATEST_SLOTS_MAX 1024u
#define WEIR_LATEST_VALUE_MAX UINT32_C(0x40000000) /* bytes */
#define WEIR_LATEST_CONTROL 256u /* bytes before the slots: two line pairs */
#define WEIR_LATEST_SLOT 16u     /* bytes of a slot before its value */
#define WEIR_LATEST_TRIES 8      /* at a value that is overwritten while it is read; then WEIR_AGAIN */

typedef struct weir_latest_writer {
    weir_atomic_u64 *current; /* the newest value's number, in the ring; NULL: not attached */
    unsigned char *slots;
    uint64_t number; /* of the newest value; 0: there is none yet */
    uint64_t stride; /* bytes from slot to slot */
    uint32_t mask;   /* slots - 1 */
    uint32_t value_max;
    bool reserved;
} weir_latest_writer;

typedef struct weir_latest_reader {
    const weir_atomic_u64 *current; /* NULL: not attached, or corrupt */
    const unsigned char *slots;
    uint64_t stride;
    uint32_t mask;
    uint32_t value_max;
    weir_status fault; /* WEIR_E_CORRUPT once seen */
} weir_latest_reader;

/* weir_latest_footprint returns the bytes of memory that it takes; 0 where value_max is above WEIR_LATEST_VALUE_MAX or
 * slots is no power of two from WEIR_LATEST_SLOTS_MIN to _MAX.  A reader is overtaken only if slots - 1 values are
 * written while it copies one. */
WEIR_API uint64_t weir_latest_footprint(uint32_t value_max, uint32_t slots);

/* weir_latest_init makes one in mem, with no value yet.  start_number is 0; or, for tests of large numbers, that of an
 * empty value that is there.
 *
 * Callers:  one thread, before the memory is shown to others.
 * Returns:  WEIR_OK; WEIR_E_INVALID (mem not 64-byte aligned, size under the footprint, value_max or slots wrong).
 * If killed: mem holds none, or the whole new one: the magic goes first and comes last. */
WEIR_API weir_status weir_latest_init(void *mem, uint64_t size_bytes, uint32_t value_max, uint32_t slots,
                                      uint64_t start_number);

/* weir_latest_writer_attach makes w the writer.  The newest value stays what it is.
 *
 * Callers:  one thread; the former writer must be gone.
 * Returns:  WEIR_OK; WEIR_E_INVALID (mem not aligned); WEIR_E_NOT_WEIR; WEIR_E_VERSION; WEIR_E_CORRUPT.
 * If killed: nothing was written. */
WEIR_API weir_status weir_latest_writer_attach(weir_latest_writer *w, void *mem, uint64_t size_bytes);

/* weir_latest_reader_attach makes r a reader.  mem may be mapped read-only.  Returns: as weir_latest_writer_attach. */
WEIR_API weir_status weir_latest_reader_attach(weir_latest_reader *r, const void *mem, uint64_t size_bytes);

/* The slot of a value's number. */
static inline uint64_t weir_latest_off(uint64_t number, uint32_t mask, uint64_t stride)
{
    return (number & mask) * stride;
}

/* weir_latest_reserve gives the address, 8-byte aligned, of room for the next value; publish makes it the newest.  The
 * room is not the newest value's: nobody is disturbed before publish.  Whoever writes there with plain stores relies on
 * the processor alone: a reader that is overtaken just then reads what is written, and throws it away.
 *
 * Returns:  WEIR_OK; WEIR_E_STATE (not attached).
 * If killed: the value never existed. */
static inline weir_status weir_latest_reserve(weir_latest_writer *w, void **value)
{
    if (WEIR_UNLIKELY(w->current == NULL))
        return WEIR_E_STATE;
    unsigned char *slot = w->slots + weir_latest_off(w->number + 1, w->mask, w->stride);
    /* relaxed: the fence below orders it before the value's bytes. */
    weir_store_rlx(weir_word_at(slot, 0), w->number + 1);
    /* order LATEST-REUSE rel: the slot's new number before its new bytes.  Without it a reader can copy new bytes and
     * still find the old number behind them. */
    weir_fence_rel();
    w->reserved = true;
    *value = slot + WEIR_LATEST_SLOT;
    return WEIR_OK;
}

/* weir_latest_publish makes the reserved room, with its first len bytes, the newest value.
 *
 * Progress: wait-free.  Ordering: release (edge LATEST-VALUE).
 * Returns:  WEIR_OK; WEIR_E_STATE (nothing is reserved); WEIR_E_TOO_LARGE (len over value_max; the reservation stays).
 * If killed: before the number's store the value never existed; after it, it is the newest. */
static inline weir_status weir_latest_publish(weir_latest_writer *w, uint32_t len)
{
    if (WEIR_UNLIKELY(w->current == NULL || !w->reserved))
        return WEIR_E_STATE;
    if (WEIR_UNLIKELY(len > w->value_max))
        return WEIR_E_TOO_LARGE;
    w->reserved = false;
    w->number++;
    unsigned char *slot = w->slots + weir_latest_off(w->number, w->mask, w->stride);
    weir_store_rlx(weir_word_at(slot, 8), len); /* relaxed: as the bytes, behind the fence and before the release */
    /* order LATEST-VALUE rel: the value before its number.  Without it a reader can find the number and an older
     * value. */
    weir_store_rel(w->current, w->number);
    return WEIR_OK;
}

/* weir_latest_write copies len bytes in as the newest value.
 *
 * Progress: wait-free.  Ordering: release (edge LATEST-VALUE): what the caller wrote before is visible to whoever reads
 *           this value.
 * Returns:  WEIR_OK; WEIR_E_TOO_LARGE (nothing was written); WEIR_E_STATE (not attached).
 * If killed: as weir_latest_publish. */
static inline weir_status weir_latest_write(weir_latest_writer *w, const void *value, uint32_t len)
{
    if (WEIR_UNLIKELY(len > w->value_max))
        return w->current == NULL ? WEIR_E_STATE : WEIR_E_TOO_LARGE;
    void *room;
    weir_status status = weir_latest_reserve(w, &room);
    if (WEIR_UNLIKELY(status != WEIR_OK))
        return status;
    weir_words_store(weir_word_at(room, 0), value, len);
    return weir_latest_publish(w, len);
}

WEIR_API weir_status weir_latest_poison(weir_latest_reader *r, uint64_t number, uint64_t len);

/* weir_latest_read copies the newest value into buffer.  *number is its number: 1 for the first; the next is one more.
 *
 * Progress: wait-free: at most WEIR_LATEST_TRIES copies.  Ordering: acquire (edge LATEST-VALUE).
 * Returns:  WEIR_OK; WEIR_EMPTY (no value yet); WEIR_AGAIN (overtaken at each try: the writer is that fast, or the ring
 *           has too few slots); WEIR_E_TOO_SMALL (*len is what it needs); WEIR_E_CORRUPT; WEIR_E_STATE (not attached).
 * If killed: nothing was written. */
static inline weir_status weir_latest_read(weir_latest_reader *r, void *buffer, uint64_t size_bytes, uint32_t *len,
                                           uint64_t *number)
{
    if (WEIR_UNLIKELY(r->current == NULL))
        return r->fault != WEIR_OK ? r->fault : WEIR_E_STATE;
    for (int tries = 0; tries < WEIR_LATEST_TRIES; tries++) {
        /* order LATEST-VALUE acq: the number before the value. */
        uint64_t newest = weir_load_acq(r->current);
        if (newest == 0)
            return WEIR_EMPTY;
        const unsigned char *slot = r->slots + weir_latest_off(newest, r->mask, r->stride);
        /* relaxed, and the bytes as well: believed only if the number below is still theirs. */
        uint64_t bytes = weir_load_rlx(weir_word_of(slot, 8));
        bool fits = bytes <= r->value_max && bytes <= size_bytes;
        if (fits)
            weir_words_load(buffer, weir_word_of(slot, WEIR_LATEST_SLOT), bytes);
        /* order LATEST-REUSE acq: the bytes before the number. */
        weir_fence_acq();
        if (WEIR_UNLIKELY(weir_load_rlx(weir_word_of(slot, 0)) != newest))
            continue; /* overtaken */
        if (WEIR_UNLIKELY(bytes > r->value_max))
            return weir_latest_poison(r, newest, bytes);
        *len = (uint32_t)bytes;
        if (WEIR_UNLIKELY(!fits))
            return WEIR_E_TOO_SMALL;
        *number = newest;
        return WEIR_OK;
    }
    return WEIR_AGAIN;
}

/* weir_latest_number tells the newest value's number; 0: there is none, or r is not attached. */
static inline uint64_t weir_latest_number(const weir_latest_reader *r)
{
    /* relaxed: a hint; whoever reads the value acquires it then. */
    return r->current != NULL ? weir_load_rlx(r->current) : 0;
}

WEIR_END_DECLS

#endif
