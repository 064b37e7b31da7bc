#include <weir/base/fail.h>
#include <weir/ring/broadcast.h>
#include <weir/ring/broadcast_layout.h>

#define RECORD_MAX UINT64_C(0x7ffffff8) /* 2^31 - 8: a length is 32 bits, and its sums must not wrap */

static bool capacity_is_valid(uint64_t capacity)
{
    return capacity >= WEIR_BROADCAST_CAPACITY_MIN && capacity <= WEIR_BROADCAST_CAPACITY_MAX &&
           (capacity & (capacity - 1)) == 0;
}

uint64_t weir_broadcast_footprint(uint64_t capacity_bytes)
{
    return capacity_is_valid(capacity_bytes) ? WEIR_BROADCAST_CONTROL + capacity_bytes : 0;
}

uint32_t weir_broadcast_record_max(uint64_t capacity_bytes)
{
    if (!capacity_is_valid(capacity_bytes))
        return 0;
    /* Padding and a record take less than half, and a step and an open batch less than three eighths more: so the last
     * eighth before the open batch is always whole, and with it the newest anchor. */
    uint64_t max = capacity_bytes / 4 - WEIR_BROADCAST_HEADER - 8;
    return (uint32_t)(max < RECORD_MAX ? max : RECORD_MAX);
}

weir_status weir_broadcast_init(void *mem, uint64_t size_bytes, uint64_t capacity_bytes, uint64_t start_pos,
                                uint64_t start_number)
{
    uint64_t footprint = weir_broadcast_footprint(capacity_bytes);
    if (mem == NULL || (uintptr_t)mem % WEIR_LINE != 0)
        return weir_fail(WEIR_E_INVALID, "a ring needs memory aligned to %d bytes", WEIR_LINE);
    if (footprint == 0)
        return weir_fail(WEIR_E_INVALID, "capacity %llu is not a power of two of at least %u bytes",
                         (unsigned long long)capacity_bytes, WEIR_BROADCAST_CAPACITY_MIN);
    if (size_bytes < footprint)
        return weir_fail(WEIR_E_INVALID, "a ring of capacity %llu needs %llu bytes, not %llu",
                         (unsigned long long)capacity_bytes, (unsigned long long)footprint,
                         (unsigned long long)size_bytes);
    if (start_pos % 8 != 0)
        return weir_fail(WEIR_E_INVALID, "a ring's first position is a multiple of 8");
    weir_broadcast_layout *ring = mem;
    unsigned char *data = (unsigned char *)mem + WEIR_BROADCAST_CONTROL;
    weir_store_rlx(&ring->magic, 0);
    weir_fence_compiler(); /* whoever is killed from here on leaves no ring, not an older one half changed */
    weir_store_rlx(&ring->version, WEIR_BROADCAST_VERSION);
    weir_store_rlx(&ring->capacity, capacity_bytes);
    weir_store_rlx(&ring->limit, start_pos + 8); /* the first header's word is written now */
    weir_store_rlx(&ring->anchor[0].pos, start_pos);
    weir_store_rlx(&ring->anchor[0].number, start_number);
    weir_store_rlx(&ring->anchors, 1);
    weir_store_rlx(weir_word_at(data, start_pos & (capacity_bytes - 1)), 0);
    /* order BROADCAST-INIT rel: the control block before its magic.  Without it who polls for the magic can attach to
     * half a control block. */
    weir_store_rel(&ring->magic, WEIR_BROADCAST_MAGIC);
    return WEIR_OK;
}

/* Checks the control block; the capacity is read here once and kept by the caller. */
static weir_status validate(const void *mem, uint64_t size_bytes, uint64_t *capacity)
{
    if (mem == NULL || (uintptr_t)mem % WEIR_LINE != 0)
        return weir_fail(WEIR_E_INVALID, "a ring needs memory aligned to %d bytes", WEIR_LINE);
    if (size_bytes < WEIR_BROADCAST_CONTROL)
        return weir_fail(WEIR_E_NOT_WEIR, "%llu bytes are too few for a ring", (unsigned long long)size_bytes);
    const weir_broadcast_layout *ring = mem;
    /* order BROADCAST-INIT acq: the magic before the control block. */
    if (weir_load_acq(&ring->magic) != WEIR_BROADCAST_MAGIC)
        return weir_fail(WEIR_E_NOT_WEIR, "no broadcast ring in that memory");
    uint64_t version = weir_load_rlx(&ring->version);
    if (version != WEIR_BROADCAST_VERSION)
        return weir_fail(WEIR_E_VERSION, "the ring has layout version %llu, this library knows %llu",
                         (unsigned long long)version, (unsigned long long)WEIR_BROADCAST_VERSION);
    uint64_t bytes = weir_load_rlx(&ring->capacity);
    uint64_t footprint = weir_broadcast_footprint(bytes);
    if (footprint == 0 || footprint > size_bytes)
        return weir_fail(WEIR_E_CORRUPT, "the ring states capacity %llu in %llu bytes", (unsigned long long)bytes,
                         (unsigned long long)size_bytes);
    *capacity = bytes;
    return WEIR_OK;
}

/* The one decoder of a header: the bytes up to the next header, or 0 where no writer writes such a header at idx. */
static uint64_t decode(uint64_t header, uint64_t idx, uint64_t capacity, uint32_t record_max)
{
    uint64_t len = (uint32_t)header;
    uint64_t room = capacity - idx;
    switch (header & WEIR_BROADCAST_TAG) {
    case WEIR_BROADCAST_DATA:
        return len <= record_max && weir_broadcast_size(len) <= room ? weir_broadcast_size(len) : 0;
    case WEIR_BROADCAST_PAD: /* always to the end, and never a whole lap */
        return len + 8 == room && idx != 0 ? room : 0;
    default:
        return 0;
    }
}

/* ---- anchors ---- */

/* Has what stood at pos been overwritten, or may it be just now?  Asked after it was read. */
static bool overtaken(const weir_broadcast_layout *ring, uint64_t pos, uint64_t capacity)
{
    /* order BROADCAST-LIMIT acq: what was read before the limit.  Without it bytes of a newer record can pass for those
     * of the older. */
    weir_fence_acq();
    return weir_load_rlx(&ring->limit) - pos > capacity;
}

/* Reads the anchor `back` before the newest, or the first.  False: it was overwritten meanwhile. */
static bool read_anchor(const weir_broadcast_layout *ring, uint64_t back, uint64_t capacity, uint64_t *pos,
                        uint64_t *number)
{
    /* order BROADCAST-ANCHOR acq: the count before the anchor. */
    uint64_t count = weir_load_acq(&ring->anchors);
    uint64_t at = count > back ? count - 1 - back : 0;
    const weir_broadcast_anchor *anchor = &ring->anchor[at % WEIR_BROADCAST_ANCHORS];
    *pos = weir_load_rlx(&anchor->pos);
    *number = weir_load_rlx(&anchor->number);
    if (overtaken(ring, *pos, capacity)) /* with its fence: the anchor before what is read now */
        return false;
    return weir_load_rlx(&ring->anchors) - at < WEIR_BROADCAST_ANCHORS;
}

/* ---- writer ---- */

weir_status weir_broadcast_writer_attach(weir_broadcast_writer *w, void *mem, uint64_t size_bytes)
{
    uint64_t capacity = 0, pos, number;
    *w = (weir_broadcast_writer){ .capacity = 0 };
    weir_status status = validate(mem, size_bytes, &capacity);
    if (status != WEIR_OK)
        return status;
    weir_broadcast_layout *ring = mem;
    unsigned char *data = (unsigned char *)mem + WEIR_BROADCAST_CONTROL;
    uint32_t record_max = weir_broadcast_record_max(capacity);
    uint64_t limit_pos = weir_load_rlx(&ring->limit); /* relaxed: only a writer writes it, and that one is gone */
    /* Of this limit, and not of the one that read_anchor looked at, it is asked how far it lies from the boundary: it
     * bounds the walk, and tells when this writer must move it. */
    if (!read_anchor(ring, 0, capacity, &pos, &number) || pos % 8 != 0 || limit_pos % 8 != 0 ||
        limit_pos - pos > capacity)
        return weir_fail(WEIR_E_CORRUPT, "the ring's newest record boundary is not among its bytes");
    bool padded = false;
    for (;;) {
        uint64_t idx = pos & (capacity - 1);
        /* order BROADCAST-DATA acq: a former writer's header before the header behind it. */
        uint64_t header = weir_load_acq(weir_word_at(data, idx));
        if (header == 0 && !padded)
            break;
        uint64_t size = decode(header, idx, capacity, record_max);
        bool pad = (header & WEIR_BROADCAST_TAG) == WEIR_BROADCAST_PAD;
        /* The word behind it was cleared, so the limit lies behind that. */
        if (size == 0 || (padded && pad) || limit_pos - pos < size + 8 ||
            (!pad && weir_load_rlx(weir_word_at(data, idx + 8)) != number))
            return weir_fail(WEIR_E_CORRUPT, "impossible header %#llx at position %llu", (unsigned long long)header,
                             (unsigned long long)pos);
        number += !pad;
        padded = pad; /* its record was published with it */
        pos += size;
    }
    /* order BROADCAST-LIMIT rel: the limit as the former writer left it, before what this one writes below it.  Without
     * it a reader can copy this one's bytes and still find an older limit. */
    weir_fence_rel();
    w->ring = mem;
    w->data = data;
    w->capacity = capacity;
    w->record_max = record_max;
    w->pos = pos;
    w->own_pos = pos;
    w->number = number;
    w->limit_pos = limit_pos;
    return WEIR_OK;
}

void weir_broadcast_own(weir_broadcast_writer *w, uint64_t end_pos, uint64_t size)
{
    uint64_t ahead = 2 * size > WEIR_BROADCAST_AHEAD ? 2 * size : WEIR_BROADCAST_AHEAD;
    uint64_t to_pos = end_pos + (ahead < WEIR_BROADCAST_AHEAD_MAX ? ahead : WEIR_BROADCAST_AHEAD_MAX);
    uint64_t pos = (int64_t)(w->own_pos - end_pos) > 0 ? w->own_pos : end_pos;
    if ((int64_t)(w->limit_pos - to_pos) < 0)
        to_pos = w->limit_pos; /* behind it lie records that can still be read */
    pos = (pos + WEIR_LINE - 1) & ~(uint64_t)(WEIR_LINE - 1);
    for (; (int64_t)(to_pos - pos) > 0; pos += WEIR_LINE)
        /* relaxed: given up to the writer, reached through headers that are stored behind this with release. */
        weir_store_rlx(weir_word_at(w->data, pos & (w->capacity - 1)), 0);
    w->own_pos = to_pos;
}

weir_status weir_broadcast_refuse(const weir_broadcast_writer *w, uint64_t len)
{
    if (w->capacity == 0)
        return WEIR_E_STATE;
    return weir_fail(WEIR_E_TOO_LARGE, "a record of %llu bytes is over the limit of %u in a ring of capacity %llu",
                     (unsigned long long)len, w->record_max, (unsigned long long)w->capacity);
}

/* Takes the bytes up to end_pos, and the rest of that eighth, from the readers before they are overwritten. */
weir_status weir_broadcast_advance(weir_broadcast_writer *w, uint64_t end_pos)
{
    weir_broadcast_layout *ring = w->ring;
    uint64_t step = w->capacity / 8;
    bool open = w->batch_header != 0;
    uint64_t pos = open ? w->batch_pos : w->pos, number = open ? w->batch_number : w->number;
    if (w->pos - pos > w->capacity / 4)
        return WEIR_FULL;
    uint64_t count = weir_load_rlx(&ring->anchors); /* relaxed, as the stores to the entry: only this side writes */
    weir_broadcast_anchor *anchor = &ring->anchor[count % WEIR_BROADCAST_ANCHORS];
    weir_store_rlx(&anchor->pos, pos);
    weir_store_rlx(&anchor->number, number);
    /* order BROADCAST-ANCHOR rel: the anchor before the count.  Without it a reader can begin at half an anchor. */
    weir_store_rel(&ring->anchors, count + 1);
    w->limit_pos = (end_pos + step - 1) & ~(step - 1);
    weir_store_rlx(&ring->limit, w->limit_pos); /* relaxed: the fence orders it before the bytes */
    /* order BROADCAST-LIMIT rel: the limit before the bytes that it gives up.  Without it a reader can copy new bytes
     * and still find the old limit. */
    weir_fence_rel();
    return WEIR_OK;
}

/* ---- reader ---- */

weir_status weir_broadcast_reader_attach(weir_broadcast_reader *r, const void *mem, uint64_t size_bytes)
{
    uint64_t capacity = 0;
    *r = (weir_broadcast_reader){ .capacity = 0 };
    weir_status status = validate(mem, size_bytes, &capacity);
    if (status != WEIR_OK)
        return status;
    uint64_t pos, number;
    int tries = 0;
    while (!read_anchor(mem, 0, capacity, &pos, &number))
        if (++tries == WEIR_BROADCAST_TRIES)
            return WEIR_AGAIN;
    if (pos % 8 != 0)
        return weir_fail(WEIR_E_CORRUPT, "a record boundary at position %llu, between two words",
                         (unsigned long long)pos);
    r->ring = mem;
    r->data = (const unsigned char *)mem + WEIR_BROADCAST_CONTROL;
    r->capacity = capacity;
    r->record_max = weir_broadcast_record_max(capacity);
    r->pos = pos;
    r->number = number;
    return WEIR_OK;
}

static weir_status poison(weir_broadcast_reader *r, const char *what, uint64_t value)
{
    weir_status status = weir_fail(WEIR_E_CORRUPT, "impossible %s %#llx at position %llu", what,
                                   (unsigned long long)value, (unsigned long long)r->pos);
    *r = (weir_broadcast_reader){ .fault = status };
    return status;
}

/* Goes on at a boundary that is still there: some way back first, so that little is lost; then nearer to the newest. */
static weir_status catch_up(weir_broadcast_reader *r, int tries)
{
    uint64_t pos, number;
    if (!read_anchor(r->ring, tries < 3 ? 3u - (unsigned)tries : 0, r->capacity, &pos, &number))
        return WEIR_AGAIN;
    if (pos % 8 != 0 || number - r->number > UINT64_MAX / 2)
        return poison(r, "record boundary, of number", number);
    r->lost += number - r->number;
    r->pos = pos;
    r->number = number;
    return WEIR_AGAIN;
}

/* One try at the record at r->pos.  AGAIN: it was overtaken, or there was padding. */
static weir_status try_read(weir_broadcast_reader *r, void *buffer, uint64_t size_bytes, uint32_t *len, int tries)
{
    uint64_t idx = r->pos & (r->capacity - 1);
    /* order BROADCAST-DATA acq: the header before the record's bytes and the header behind it. */
    uint64_t header = weir_load_acq(weir_word_of(r->data, idx));
    uint64_t size = decode(header, idx, r->capacity, r->record_max);
    bool pad = (header & WEIR_BROADCAST_TAG) == WEIR_BROADCAST_PAD;
    uint32_t bytes = (uint32_t)header;
    uint64_t number = r->number;
    bool fits = bytes <= size_bytes;
    if (size != 0 && !pad) {
        number = weir_load_rlx(weir_word_of(r->data, idx + 8));
        if (fits)
            weir_words_load(buffer, weir_word_of(r->data, idx + WEIR_BROADCAST_HEADER), bytes);
    }
    if (WEIR_UNLIKELY(overtaken(r->ring, r->pos, r->capacity)))
        return catch_up(r, tries);
    if (header == 0)
        return WEIR_EMPTY;
    if (WEIR_UNLIKELY(size == 0))
        return poison(r, "header", header);
    if (WEIR_UNLIKELY(number != r->number))
        return poison(r, "record number", number);
    if (pad) {
        r->pos += size;
        return WEIR_AGAIN;
    }
    *len = bytes;
    if (WEIR_UNLIKELY(!fits))
        return WEIR_E_TOO_SMALL;
    r->pos += size;
    r->number++;
    return WEIR_OK;
}

weir_status weir_broadcast_read(weir_broadcast_reader *r, void *buffer, uint64_t size_bytes, uint32_t *len,
                                uint64_t *lost)
{
    if (WEIR_UNLIKELY(r->capacity == 0))
        return r->fault != WEIR_OK ? r->fault : WEIR_E_STATE;
    for (int tries = 0; tries < WEIR_BROADCAST_TRIES; tries++) {
        weir_status status = try_read(r, buffer, size_bytes, len, tries);
        if (status == WEIR_AGAIN)
            continue;
        if (status == WEIR_OK) {
            *lost = r->lost;
            r->lost = 0;
        }
        return status;
    }
    return WEIR_AGAIN;
}

/* Goes back to the newest boundary that is not behind the number, or else as far as records are still there. */
static void go_back(weir_broadcast_reader *r, uint64_t number)
{
    uint64_t pos, first;
    for (unsigned back = 1; (int64_t)(r->number - number) > 0 && back < WEIR_BROADCAST_ANCHORS; back++) {
        if (!read_anchor(r->ring, back, r->capacity, &pos, &first) || pos % 8 != 0)
            return;
        r->pos = pos;
        r->number = first;
    }
}

weir_status weir_broadcast_reader_resume(weir_broadcast_reader *r, const void *mem, uint64_t size_bytes,
                                         uint64_t number)
{
    weir_status status = weir_broadcast_reader_attach(r, mem, size_bytes);
    if (status != WEIR_OK)
        return status;
    go_back(r, number);
    for (uint64_t steps = 0; (int64_t)(number - r->number) > 0 && steps < r->capacity / WEIR_BROADCAST_HEADER; steps++) {
        uint32_t len = 0;
        uint64_t lost;
        status = weir_broadcast_read(r, NULL, 0, &len, &lost); /* past it without a copy */
        if (status == WEIR_E_TOO_SMALL) {
            r->pos += weir_broadcast_size(len);
            r->number++;
        } else if (status == WEIR_EMPTY || status < 0) {
            break;
        }
    }
    if (r->fault != WEIR_OK)
        return r->fault;
    r->lost = (int64_t)(r->number - number) > 0 ? r->number - number : 0;
    return WEIR_OK;
}

weir_status weir_broadcast_ready(const weir_broadcast_reader *r)
{
    if (r->capacity == 0)
        return r->fault != WEIR_OK ? r->fault : WEIR_E_STATE;
    /* relaxed: only whether it is 0; whoever reads the record acquires it then. */
    uint64_t header = weir_load_rlx(weir_word_of(r->data, r->pos & (r->capacity - 1)));
    return header != 0 || overtaken(r->ring, r->pos, r->capacity) ? WEIR_OK : WEIR_EMPTY;
}
