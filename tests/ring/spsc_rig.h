/* tests/ring/spsc_rig.h - one ring with both its ends, and what every suite of the lane asks of it.
 *
 * The memory is exactly the footprint, so that AddressSanitizer sees one byte too many, and it is full of well-formed
 * empty records before init, so that whatever the producer forgets to clear is seen as a record. */
#ifndef WEIR_TESTS_SPSC_RIG_H
#define WEIR_TESTS_SPSC_RIG_H

#include "support.h"

#include <stdlib.h>
#include <string.h>
#include <weir/ring/spsc_layout.h>

#define RIG_LEN_MAX 8192u  /* the suites' longest record */
#define RIG_STALE WEIR_SPSC_DATA /* the header of an empty record, left by an older lap */

typedef struct rig {
    uint64_t capacity;
    uint64_t bytes;
    unsigned char *mem;
    weir_spsc_producer p;
    weir_spsc_consumer c;
} rig;

/* A record by what is in it: rig_fill makes its bytes from seq. */
typedef struct record {
    uint64_t seq;
    uint32_t len;
} record;

static inline void rig_alloc(rig *r, uint64_t capacity)
{
    *r = (rig){ .capacity = capacity, .bytes = WEIR_SPSC_CONTROL + capacity };
    r->mem = aligned_alloc(WEIR_LINE, r->bytes);
    CHECK(r->mem != NULL);
    for (uint64_t off = 0; off < r->bytes; off += 8)
        weir_store_rlx(weir_word_at(r->mem, off), RIG_STALE);
}

static inline void rig_attach(rig *r)
{
    CHECK_OK(weir_spsc_producer_attach(&r->p, r->mem, r->bytes));
    CHECK_OK(weir_spsc_consumer_attach(&r->c, r->mem, r->bytes));
}

static inline void rig_open(rig *r, uint64_t capacity, uint64_t start_pos)
{
    rig_alloc(r, capacity);
    CHECK_OK(weir_spsc_init(r->mem, r->bytes, capacity, start_pos));
    rig_attach(r);
}

static inline void rig_close(rig *r)
{
    free(r->mem);
    *r = (rig){ .mem = NULL };
}

/* A crash image: the same bytes at another address, with no handle on them. */
static inline void rig_copy(rig *copy, const void *mem, uint64_t capacity)
{
    *copy = (rig){ .capacity = capacity, .bytes = WEIR_SPSC_CONTROL + capacity };
    copy->mem = aligned_alloc(WEIR_LINE, copy->bytes);
    CHECK(copy->mem != NULL);
    memcpy(copy->mem, mem, copy->bytes);
}

static inline unsigned char *rig_data(const rig *r) { return r->mem + WEIR_SPSC_CONTROL; }

static inline weir_atomic_u64 *rig_word(const rig *r, uint64_t pos)
{
    return weir_word_at(rig_data(r), pos & (r->capacity - 1));
}

static inline weir_spsc_layout *rig_control(const rig *r) { return (weir_spsc_layout *)(void *)r->mem; }

static inline unsigned char rig_byte(uint64_t seq, uint64_t i)
{
    return (unsigned char)(seq * 0x9d + i * 7 + (i >> 8) + 1);
}

static inline void rig_fill(void *buffer, uint64_t seq, uint64_t len)
{
    unsigned char *bytes = buffer;
    for (uint64_t i = 0; i < len; i++)
        bytes[i] = rig_byte(seq, i);
}

static inline bool rig_holds(const void *buffer, uint64_t seq, uint64_t len)
{
    const unsigned char *bytes = buffer;
    for (uint64_t i = 0; i < len; i++)
        if (bytes[i] != rig_byte(seq, i))
            return false;
    return true;
}

static inline weir_status rig_push(rig *r, uint64_t seq, uint64_t len)
{
    unsigned char msg[RIG_LEN_MAX];
    CHECK(len <= sizeof msg);
    rig_fill(msg, seq, len);
    return weir_spsc_push(&r->p, msg, len);
}

static inline weir_status rig_push_more(rig *r, uint64_t seq, uint64_t len)
{
    unsigned char msg[RIG_LEN_MAX];
    CHECK(len <= sizeof msg);
    rig_fill(msg, seq, len);
    return weir_spsc_push_more(&r->p, msg, len);
}

/* The next record must be this one; it is read in place and not released. */
static inline void rig_expect_peek(rig *r, uint64_t seq, uint64_t len)
{
    const void *msg = NULL;
    uint32_t got = UINT32_MAX;
    CHECK_OK(weir_spsc_ready(&r->c));
    CHECK_OK(weir_spsc_peek(&r->c, &msg, &got));
    CHECK(got == len);
    CHECK((uintptr_t)msg % 8 == 0);
    CHECK((const unsigned char *)msg >= rig_data(r) && (const unsigned char *)msg + len <= r->mem + r->bytes);
    CHECK(rig_holds(msg, seq, len));
}

static inline void rig_expect_pop(rig *r, uint64_t seq, uint64_t len)
{
    unsigned char buffer[RIG_LEN_MAX];
    uint32_t got = UINT32_MAX;
    CHECK_OK(weir_spsc_pop(&r->c, buffer, len, &got));
    CHECK(got == len);
    CHECK(rig_holds(buffer, seq, len));
}

static inline void rig_expect_empty(rig *r)
{
    unsigned char buffer[8];
    const void *msg = buffer;
    uint32_t len = 77;
    CHECK_STATUS(weir_spsc_ready(&r->c), WEIR_EMPTY);
    CHECK_STATUS(weir_spsc_peek(&r->c, &msg, &len), WEIR_EMPTY);
    CHECK_STATUS(weir_spsc_pop(&r->c, buffer, sizeof buffer, &len), WEIR_EMPTY);
    CHECK_STATUS(weir_spsc_pop_more(&r->c, buffer, sizeof buffer, &len), WEIR_EMPTY);
    CHECK(msg == buffer && len == 77);
}

/* A second opinion on where records go, written from the description and not from the code. */
static inline uint64_t rig_size(uint64_t len) { return 8 + (len + 7) / 8 * 8; }

static inline uint64_t rig_end(uint64_t capacity, uint64_t pos, uint64_t len)
{
    uint64_t room = capacity - pos % capacity;
    return pos + (rig_size(len) > room ? room : 0) + rig_size(len);
}

static inline bool rig_fits(uint64_t capacity, uint64_t head_pos, uint64_t pos, uint64_t len)
{
    return rig_end(capacity, pos, len) + 8 - head_pos <= capacity;
}

/* New ends on this memory must find exactly these records, and must be able to go on for a lap. */
static inline void rig_expect_image(const void *mem, uint64_t capacity, const record *expected, uint64_t count)
{
    rig r;
    rig_copy(&r, mem, capacity);
    rig_attach(&r);
    for (uint64_t i = 0; i < count; i++)
        rig_expect_peek(&r, expected[i].seq, expected[i].len);
    rig_expect_empty(&r);
    CHECK(r.p.pos == r.c.pos);
    weir_spsc_release(&r.c);
    CHECK_OK(weir_spsc_drained(&r.p));
    for (uint64_t i = 0; i <= capacity / 8; i++) { /* empty records step on every word */
        CHECK_OK(rig_push(&r, i, 0));
        rig_expect_pop(&r, i, 0);
        rig_expect_empty(&r);
    }
    rig_close(&r);
}

#endif
