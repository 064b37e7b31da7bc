/* Any bytes as records: what the consumer and the new producer make of them, against a second reading of ring/README.md.
 * Input: which ring, where its first position lies, how far that is published or read, and the data's bytes. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include <weir/ring/broadcast_layout.h>
#include <weir/ring/latest_layout.h>
#include <weir/ring/spsc_layout.h>

#define LANE 256u
#define RING 512u
#define RECORDS_MAX 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a walk over the data meets. */
struct walk {
    struct { uint64_t off, len; } record[RECORDS_MAX];
    unsigned count;
    uint64_t end_pos; /* where it ended, */
    bool whole;       /* at a 0, and not at nonsense */
    bool nonsense;    /* of a ring: at what no writer writes, before the limit; else it may be what the limit hides */
};

static uint64_t word_at(const unsigned char *bytes, uint64_t off)
{
    uint64_t value;
    memcpy(&value, bytes + off, 8);
    return value;
}

static uint64_t up8(uint64_t len) { return (len + 7) / 8 * 8; }

/* A record at off whose header is `head` bytes long, or nothing that a producer writes. */
static bool is_record(const unsigned char *data, uint64_t off, uint64_t capacity, uint64_t head, uint64_t max,
                      uint64_t *len)
{
    uint64_t word = word_at(data, off);
    *len = word & 0xffffffff;
    return word >> 32 == 0x77656972 && *len <= max && off + head + up8(*len) <= capacity;
}

static bool is_padding(const unsigned char *data, uint64_t off, uint64_t capacity)
{
    return off != 0 && word_at(data, off) >> 32 == 0x70616464 &&
           (word_at(data, off) & 0xffffffff) == capacity - off - 8;
}

static void walk_lane(struct walk *w, const unsigned char *data, uint64_t head_pos)
{
    uint64_t pos = head_pos, len;
    w->count = 0;
    for (;;) {
        uint64_t off = pos % LANE, record_pos = pos;
        w->end_pos = pos;
        w->whole = word_at(data, off) == 0;
        if (w->whole)
            return;
        if (is_padding(data, off, LANE)) /* a record is behind it, at the start */
            record_pos += LANE - off;
        if (!is_record(data, record_pos % LANE, LANE, 8, LANE / 2 - 16, &len))
            return;
        pos = record_pos + 8 + up8(len);
        if (pos - head_pos + 8 > LANE) /* the 0 behind it is never a word that the reader still has */
            return;
        w->record[w->count].off = record_pos % LANE + 8;
        w->record[w->count++].len = len;
    }
}

/* The same records come out, whole, and then the end that is there. */
static void read_lane(const struct walk *w, unsigned char *mem, uint64_t bytes)
{
    unsigned char buffer[LANE];
    weir_spsc_consumer c, in_place;
    const unsigned char *data = mem + WEIR_SPSC_CONTROL;
    CHECK_OK(weir_spsc_consumer_attach(&c, mem, bytes));
    CHECK_OK(weir_spsc_consumer_attach(&in_place, mem, bytes));
    uint32_t len;
    const void *msg;
    for (unsigned i = 0; i < w->count; i++) {
        uint64_t expected = w->record[i].len;
        if (expected != 0)
            CHECK(weir_spsc_pop_more(&c, buffer, expected - 1, &len) == WEIR_E_TOO_SMALL && len == expected);
        CHECK(weir_spsc_pop_more(&c, buffer, expected, &len) == WEIR_OK && len == expected);
        CHECK(memcmp(buffer, data + w->record[i].off, len) == 0);
        CHECK(weir_spsc_peek(&in_place, &msg, &len) == WEIR_OK && len == expected && msg == data + w->record[i].off);
    }
    weir_status end = w->whole ? WEIR_EMPTY : WEIR_E_CORRUPT;
    CHECK(weir_spsc_pop_more(&c, buffer, sizeof buffer, &len) == end);
    CHECK(weir_spsc_peek(&in_place, &msg, &len) == end);
}

static void decode_lane(uint64_t start_pos, const uint8_t *bytes, size_t size)
{
    uint64_t whole = weir_spsc_footprint(LANE);
    unsigned char *mem = aligned_alloc(64, whole), *data = mem + WEIR_SPSC_CONTROL;
    CHECK(mem != NULL);
    memset(mem, 0, whole);
    CHECK_OK(weir_spsc_init(mem, whole, LANE, start_pos));
    if (size != 0)
        memcpy(data, bytes, size < LANE ? size : LANE);
    struct walk w;
    walk_lane(&w, data, start_pos);
    read_lane(&w, mem, whole);
    weir_spsc_producer p;
    weir_status status = weir_spsc_producer_attach(&p, mem, whole);
    CHECK(status == (w.whole ? WEIR_OK : WEIR_E_CORRUPT));
    if (status == WEIR_OK) { /* it goes on behind the last record */
        uint64_t off = w.end_pos % LANE, pad = 16 > LANE - off ? LANE - off : 0;
        bool fits = w.end_pos - start_pos + pad + 16 + 8 <= LANE;
        CHECK(weir_spsc_push(&p, "8 bytes", 8) == (fits ? WEIR_OK : WEIR_FULL));
        w.record[w.count].off = (off + pad) % LANE + 8;
        w.record[w.count].len = 8;
        w.count += fits;
        read_lane(&w, mem, whole);
    }
    free(mem);
}

/* One lap of a broadcast's records, from its one boundary on; numbers go up by one. */
static void walk_ring(struct walk *w, const unsigned char *data, uint64_t start_pos, uint64_t limit)
{
    uint64_t pos = start_pos, len;
    w->count = 0;
    w->nonsense = false;
    for (;;) {
        uint64_t off = pos % RING, record_pos = pos;
        w->end_pos = pos;
        w->whole = word_at(data, off) == 0;
        if (w->whole)
            return;
        if (is_padding(data, off, RING)) {
            record_pos += RING - off;
            if (record_pos - start_pos + 8 > limit) /* beyond what was given up to be written */
                return;
        }
        off = record_pos % RING;
        w->nonsense = record_pos - start_pos <= limit && word_at(data, off) != 0 &&
                      (!is_record(data, off, RING, 16, RING / 4 - 24, &len) || word_at(data, off + 8) != w->count + 7);
        if (w->nonsense || !is_record(data, off, RING, 16, RING / 4 - 24, &len) ||
            record_pos - start_pos + 16 + up8(len) + 8 > limit)
            return;
        pos = record_pos + 16 + up8(len);
        w->record[w->count].off = record_pos % RING + 16;
        w->record[w->count++].len = len;
    }
}

static void decode_ring(uint64_t start_pos, uint64_t limit, const uint8_t *bytes, size_t size)
{
    uint64_t whole = weir_broadcast_footprint(RING), lost;
    unsigned char *mem = aligned_alloc(64, whole), *data = mem + WEIR_BROADCAST_CONTROL, buffer[RING];
    CHECK(mem != NULL);
    memset(mem, 0, whole);
    CHECK_OK(weir_broadcast_init(mem, whole, RING, start_pos, 7));
    weir_store_rlx(&((weir_broadcast_layout *)(void *)mem)->limit, start_pos + limit);
    if (size != 0)
        memcpy(data, bytes, size < RING ? size : RING);
    struct walk w;
    walk_ring(&w, data, start_pos, limit);
    weir_broadcast_reader r;
    uint32_t len;
    CHECK_OK(weir_broadcast_reader_attach(&r, mem, whole));
    for (unsigned i = 0; i < w.count; i++) {
        CHECK(weir_broadcast_read(&r, buffer, sizeof buffer, &len, &lost) == WEIR_OK && lost == 0);
        CHECK(len == w.record[i].len && memcmp(buffer, data + w.record[i].off, len) == 0);
    }
    /* Behind the limit, what stands there may be read as a record, or be overrun; a 0 within is the end. */
    weir_status status = weir_broadcast_read(&r, buffer, sizeof buffer, &len, &lost);
    CHECK(w.whole ? status == WEIR_EMPTY : w.nonsense ? status == WEIR_E_CORRUPT : status == WEIR_OK || status == WEIR_E_CORRUPT || status == WEIR_AGAIN ||
                                               status == WEIR_EMPTY);
    weir_broadcast_writer writer;
    status = weir_broadcast_writer_attach(&writer, mem, whole);
    CHECK(status == (w.whole ? WEIR_OK : WEIR_E_CORRUPT));
    if (status == WEIR_OK) {
        CHECK_OK(weir_broadcast_push(&writer, "8 bytes", 8));
        uint64_t next;
        CHECK_OK(weir_broadcast_read(&r, buffer, sizeof buffer, &len, &next));
        CHECK(next == 0 && len == 8 && memcmp(buffer, "8 bytes", 8) == 0);
    }
    free(mem);
}

static void decode_latest(uint64_t current, const uint8_t *bytes, size_t size)
{
    enum { VALUE = 40, SLOTS = 4, STRIDE = 128 };
    uint64_t whole = weir_latest_footprint(VALUE, SLOTS), number;
    unsigned char *mem = aligned_alloc(64, whole), *slots = mem + WEIR_LATEST_CONTROL, buffer[VALUE];
    CHECK(mem != NULL && whole == WEIR_LATEST_CONTROL + SLOTS * STRIDE);
    memset(mem, 0, whole);
    CHECK_OK(weir_latest_init(mem, whole, VALUE, SLOTS, 0));
    weir_store_rlx(&((weir_latest_layout *)(void *)mem)->current, current);
    for (unsigned i = 0; i < SLOTS; i++) /* the bytes, 64 to a slot */
        if (size > i * 64u)
            memcpy(slots + i * STRIDE, bytes + i * 64, size - i * 64u < 64 ? size - i * 64u : 64);
    const unsigned char *slot = slots + current % SLOTS * STRIDE;
    weir_status expected = current == 0                                 ? WEIR_EMPTY
                           : word_at(slot, 0) != current                ? WEIR_AGAIN
                           : word_at(slot, 8) > VALUE                   ? WEIR_E_CORRUPT
                                                                        : WEIR_OK;
    weir_latest_reader r;
    uint32_t len;
    CHECK_OK(weir_latest_reader_attach(&r, mem, whole));
    CHECK(weir_latest_read(&r, buffer, sizeof buffer, &len, &number) == expected);
    if (expected == WEIR_OK)
        CHECK(len == word_at(slot, 8) && number == current && memcmp(buffer, slot + 16, len) == 0);
    weir_latest_writer w;
    CHECK_OK(weir_latest_writer_attach(&w, mem, whole));
    CHECK_OK(weir_latest_write(&w, "8 bytes", 8));
    if (expected != WEIR_E_CORRUPT && current + 1 != 0)
        CHECK(weir_latest_read(&r, buffer, sizeof buffer, &len, &number) == WEIR_OK && len == 8 && number == current + 1);
    free(mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    uint64_t base = data[0] & 64 ? UINT64_MAX - 1023 : 0, pos = base + data[1] * UINT64_C(8), more = data[2];
    switch (data[0] % 3) {
    case 0:
        decode_lane(pos, data + 3, size - 3);
        break;
    case 1:
        decode_ring(pos, more * 8 % (RING + 8), data + 3, size - 3);
        break;
    default:
        decode_latest(data[0] & 64 ? base + more : more, data + 3, size - 3);
    }
    return 0;
}
