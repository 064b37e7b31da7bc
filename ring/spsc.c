#include <weir/base/fail.h>
#include <weir/ring/spsc.h>
#include <weir/ring/spsc_layout.h>

#define RECORD_MAX UINT64_C(0x7ffffff8) /* 2^31 - 8: a length is 32 bits, and its sums must not wrap */

static bool capacity_is_valid(uint64_t capacity)
{
    return capacity >= WEIR_SPSC_CAPACITY_MIN && capacity <= WEIR_SPSC_CAPACITY_MAX &&
           (capacity & (capacity - 1)) == 0;
}

uint64_t weir_spsc_capacity(uint64_t wish_bytes)
{
    if (wish_bytes > WEIR_SPSC_CAPACITY_MAX)
        return 0;
    uint64_t capacity = WEIR_SPSC_CAPACITY_MIN;
    while (capacity < wish_bytes)
        capacity *= 2;
    return capacity;
}

uint64_t weir_spsc_footprint(uint64_t capacity_bytes)
{
    return capacity_is_valid(capacity_bytes) ? WEIR_SPSC_CONTROL + capacity_bytes : 0;
}

uint32_t weir_spsc_record_max(uint64_t capacity_bytes)
{
    if (!capacity_is_valid(capacity_bytes))
        return 0;
    /* A record of size s may need s - 8 bytes of padding before it and a cleared header behind it: 2s <= capacity. */
    uint64_t max = capacity_bytes / 2 - 2 * WEIR_SPSC_HEADER;
    return (uint32_t)(max < RECORD_MAX ? max : RECORD_MAX);
}

weir_status weir_spsc_init(void *mem, uint64_t size_bytes, uint64_t capacity_bytes, uint64_t start_pos)
{
    uint64_t footprint = weir_spsc_footprint(capacity_bytes);
    if (mem == NULL || (uintptr_t)mem % WEIR_LINE != 0)
        return weir_fail(WEIR_E_INVALID, "a ring needs memory aligned to %d bytes", WEIR_LINE);
    if (footprint == 0)
        return weir_fail(WEIR_E_INVALID, "capacity %llu is not a power of two of at least %u bytes",
                         (unsigned long long)capacity_bytes, WEIR_SPSC_CAPACITY_MIN);
    if (size_bytes < footprint)
        return weir_fail(WEIR_E_INVALID, "a ring of capacity %llu needs %llu bytes, not %llu",
                         (unsigned long long)capacity_bytes, (unsigned long long)footprint,
                         (unsigned long long)size_bytes);
    if (start_pos % WEIR_SPSC_HEADER != 0)
        return weir_fail(WEIR_E_INVALID, "a ring's first position is a multiple of %u", WEIR_SPSC_HEADER);

    weir_spsc_layout *ring = mem;
    unsigned char *data = (unsigned char *)mem + WEIR_SPSC_CONTROL;
    weir_store_rlx(&ring->magic, 0);
    weir_fence_compiler(); /* whoever is killed from here on leaves no ring, not an older one half changed */
    weir_store_rlx(&ring->version, WEIR_SPSC_VERSION);
    weir_store_rlx(&ring->capacity, capacity_bytes);
    weir_store_rlx(&ring->head, start_pos);
    weir_store_rlx(weir_word_at(data, start_pos & (capacity_bytes - 1)), 0);
    /* order SPSC-INIT rel: the control block before its magic.  Without it an end that polls for the magic can attach
     * to half a control block. */
    weir_store_rel(&ring->magic, WEIR_SPSC_MAGIC);
    return WEIR_OK;
}

/* Checks the control block; each shared size is read here once and kept by the caller. */
static weir_status validate(void *mem, uint64_t size_bytes, uint64_t *capacity, uint64_t *head_pos)
{
    if (mem == NULL || (uintptr_t)mem % WEIR_LINE != 0)
        return weir_fail(WEIR_E_INVALID, "a ring needs memory aligned to %d bytes", WEIR_LINE);
    if (size_bytes < WEIR_SPSC_CONTROL)
        return weir_fail(WEIR_E_NOT_WEIR, "%llu bytes are too few for a ring", (unsigned long long)size_bytes);
    weir_spsc_layout *ring = mem;
    /* order SPSC-INIT acq: the magic before the control block. */
    if (weir_load_acq(&ring->magic) != WEIR_SPSC_MAGIC)
        return weir_fail(WEIR_E_NOT_WEIR, "no spsc ring in that memory");
    uint64_t version = weir_load_rlx(&ring->version);
    if (version != WEIR_SPSC_VERSION)
        return weir_fail(WEIR_E_VERSION, "the ring has layout version %llu, this library knows %llu",
                         (unsigned long long)version, (unsigned long long)WEIR_SPSC_VERSION);
    uint64_t bytes = weir_load_rlx(&ring->capacity);
    uint64_t footprint = weir_spsc_footprint(bytes);
    if (footprint == 0 || footprint > size_bytes)
        return weir_fail(WEIR_E_CORRUPT, "the ring states capacity %llu in %llu bytes", (unsigned long long)bytes,
                         (unsigned long long)size_bytes);
    /* order SPSC-FREE acq: the former or living consumer's reads before what this end writes. */
    uint64_t pos = weir_load_acq(&ring->head);
    if (pos % WEIR_SPSC_HEADER != 0)
        return weir_fail(WEIR_E_CORRUPT, "the consumer's position %llu is between two words",
                         (unsigned long long)pos);
    *capacity = bytes;
    *head_pos = pos;
    return WEIR_OK;
}

/* The one decoder of a header from the ring: the bytes up to the next header, or 0 where no producer writes such a
 * header at idx. */
static uint64_t decode(uint64_t header, uint64_t idx, uint64_t capacity, uint32_t record_max)
{
    uint64_t len = (uint32_t)header;
    uint64_t size = weir_spsc_size(len);
    uint64_t room = capacity - idx;
    switch (header & WEIR_SPSC_TAG) {
    case WEIR_SPSC_DATA:
        return len <= record_max && size <= room ? size : 0;
    case WEIR_SPSC_PAD: /* always to the end, and never a whole lap */
        return len % 8 == 0 && size == room && idx != 0 ? size : 0;
    default:
        return 0;
    }
}

weir_status weir_spsc_walk(unsigned char *data, uint64_t capacity, uint64_t *pos)
{
    uint32_t record_max = weir_spsc_record_max(capacity);
    uint64_t head_pos = *pos;
    bool padded = false;
    for (;;) {
        uint64_t idx = *pos & (capacity - 1);
        /* order SPSC-DATA acq: a former producer's header before the header behind it. */
        uint64_t header = weir_load_acq(weir_word_at(data, idx));
        if (header == 0 && !padded)
            return WEIR_OK;
        uint64_t size = decode(header, idx, capacity, record_max);
        if (size == 0 || *pos - head_pos + size >= capacity)
            return weir_fail(WEIR_E_CORRUPT, "impossible header %#llx at position %llu", (unsigned long long)header,
                             (unsigned long long)*pos);
        padded = (header & WEIR_SPSC_TAG) == WEIR_SPSC_PAD; /* its record was published with it */
        *pos += size;
    }
}

weir_status weir_spsc_producer_attach(weir_spsc_producer *p, void *mem, uint64_t size_bytes)
{
    uint64_t capacity = 0, head_pos = 0;
    *p = (weir_spsc_producer){ .fault = WEIR_OK };
    weir_status status = validate(mem, size_bytes, &capacity, &head_pos);
    if (status != WEIR_OK)
        return status;
    unsigned char *data = (unsigned char *)mem + WEIR_SPSC_CONTROL;
    uint64_t pos = head_pos;
    status = weir_spsc_walk(data, capacity, &pos);
    if (status != WEIR_OK)
        return status;
    p->data = data;
    p->head = &((weir_spsc_layout *)mem)->head;
    p->capacity = capacity;
    p->record_max = weir_spsc_record_max(capacity);
    p->pos = pos;
    p->head_pos = head_pos;
    p->limit_pos = head_pos + capacity;
    p->own_pos = pos;
    p->cleared_pos = WEIR_SPSC_NOT_CLEARED;
    return WEIR_OK;
}

weir_status weir_spsc_consumer_attach(weir_spsc_consumer *c, void *mem, uint64_t size_bytes)
{
    uint64_t capacity = 0, head_pos = 0;
    *c = (weir_spsc_consumer){ .fault = WEIR_OK };
    weir_status status = validate(mem, size_bytes, &capacity, &head_pos);
    if (status != WEIR_OK)
        return status;
    c->data = (unsigned char *)mem + WEIR_SPSC_CONTROL;
    c->head = &((weir_spsc_layout *)mem)->head;
    c->capacity = capacity;
    c->record_max = weir_spsc_record_max(capacity);
    c->pos = c->limit_pos = c->head_pos = head_pos;
    return WEIR_OK;
}

static weir_status producer_poison(weir_spsc_producer *p, uint64_t head_pos)
{
    weir_status status = weir_fail(WEIR_E_CORRUPT, "the consumer's position %llu is not between %llu and %llu",
                                   (unsigned long long)head_pos, (unsigned long long)p->head_pos,
                                   (unsigned long long)p->pos);
    /* Without capacity every call comes back to the slow path and finds the fault. */
    *p = (weir_spsc_producer){ .fault = status };
    return status;
}

/* Reads the consumer's position, believes it only if it can be one, and keeps it. */
static weir_status read_head(weir_spsc_producer *p)
{
    if (p->capacity == 0)
        return p->fault != WEIR_OK ? p->fault : WEIR_E_STATE;
    if (p->head == NULL) /* its limit is moved by whoever it belongs to */
        return WEIR_OK;
    /* order SPSC-FREE acq: the consumer's reads of what it gave back before our writes over it. */
    uint64_t head_pos = weir_load_acq(p->head);
    uint64_t published_pos = p->batch_header != 0 ? p->batch_pos : p->pos;
    if (head_pos % WEIR_SPSC_HEADER != 0 || head_pos - p->head_pos > published_pos - p->head_pos)
        return producer_poison(p, head_pos);
    p->head_pos = head_pos;
    p->limit_pos = head_pos + p->capacity;
    return WEIR_OK;
}

weir_status weir_spsc_place_slow(weir_spsc_producer *p, uint64_t len, uint64_t *start_pos)
{
    if (p->capacity == 0)
        return p->fault != WEIR_OK ? p->fault : WEIR_E_STATE;
    if (len > p->record_max)
        return weir_fail(WEIR_E_TOO_LARGE, "a record of %llu bytes is over the limit of %u in a lane of capacity %llu",
                         (unsigned long long)len, p->record_max, (unsigned long long)p->capacity);
    weir_status status = read_head(p);
    if (status != WEIR_OK)
        return status;
    /* In a stream more are on their way to the consumer, or their release is on its way back. */
    p->alone = p->pos - p->head_pos <= weir_spsc_size(len);
    return weir_spsc_fits(p, len, start_pos) ? WEIR_OK : WEIR_FULL;
}

weir_status weir_spsc_reserve_slow(weir_spsc_producer *p, uint64_t len, void **slot)
{
    uint64_t start_pos = 0;
    p->reserved = 0;
    weir_status status = weir_spsc_place_slow(p, len, &start_pos);
    if (status == WEIR_OK)
        (void)weir_spsc_reserve_now(p, len, slot); /* it fits now */
    return status;
}

/* Makes the lines that begin from pos on and before to_pos, all of it free room, the producer's own. */
static void own(weir_spsc_producer *p, uint64_t pos, uint64_t to_pos)
{
    if ((int64_t)(p->own_pos - pos) > 0)
        pos = p->own_pos;
    pos = (pos + WEIR_LINE - 1) & ~(uint64_t)(WEIR_LINE - 1);
    for (; (int64_t)(to_pos - pos) > 0; pos += WEIR_LINE)
        /* relaxed: free room, reached through headers that are stored behind this with release. */
        weir_store_rlx(weir_word_at(p->data, pos & (p->capacity - 1)), 0);
    if ((int64_t)(to_pos - p->own_pos) > 0)
        p->own_pos = to_pos;
}

void weir_spsc_own(weir_spsc_producer *p, uint64_t end_pos, uint64_t size)
{
    uint64_t ahead = 2 * size > WEIR_SPSC_AHEAD_MIN ? 2 * size : WEIR_SPSC_AHEAD_MIN;
    if (p->alone && size <= WEIR_LINE) /* the consumer's processor, which guesses what comes next, takes more from us */
        ahead = WEIR_SPSC_AHEAD_ALONE;
    uint64_t to_pos = end_pos + (ahead < WEIR_SPSC_AHEAD_MAX ? ahead : WEIR_SPSC_AHEAD_MAX);
    if ((int64_t)(p->limit_pos - to_pos) < 0)
        to_pos = p->limit_pos; /* behind it is what the consumer still has */
    own(p, end_pos, to_pos);
}

void weir_spsc_own_record(weir_spsc_producer *p, uint64_t start_pos, uint64_t len)
{
    uint64_t size = weir_spsc_size(len);
    own(p, start_pos, start_pos + (size < WEIR_SPSC_OWN_MAX ? size : WEIR_SPSC_OWN_MAX));
}

/* Where the compiler sees no copy that could be too long for a buffer: lengths were compared before. */
void weir_spsc_copy_long(void *buffer, const void *msg, uint64_t len)
{
    WEIR_PAYLOAD_READ(buffer, msg, len);
}

/* A message that is too long to be copied word by word: in steps whose lines are still in L1 when they are copied to. */
static void copy_long(weir_spsc_producer *p, uint64_t pos, const unsigned char *msg, uint64_t len)
{
    while (len != 0) {
        uint64_t some = len < WEIR_SPSC_AHEAD_MAX ? len : WEIR_SPSC_AHEAD_MAX;
        own(p, pos, pos + some);
        weir_spsc_copy(p->data + (pos & (p->capacity - 1)), msg, some);
        pos += some;
        msg += some;
        len -= some;
    }
}

/* As weir_spsc_put_now, of such a message. */
static void put_long(weir_spsc_producer *p, uint64_t start_pos, const void *msg, uint64_t len, bool more,
                     weir_atomic_u64 *tally)
{
    uint64_t payload_pos = start_pos + WEIR_SPSC_HEADER;
    if (more) {
        weir_spsc_finish(p, start_pos, len, true, tally);
        copy_long(p, payload_pos, msg, len);
        return;
    }
    copy_long(p, payload_pos, msg, len);
    weir_spsc_end(p, start_pos + weir_spsc_size(len));
    weir_spsc_finish(p, start_pos, len, false, tally);
}

weir_status weir_spsc_put_slow(weir_spsc_producer *p, const void *msg, uint64_t len, int more, weir_atomic_u64 *tally)
{
    uint64_t start_pos = 0;
    weir_status status = weir_spsc_place(p, len, &start_pos);
    if (status != WEIR_OK)
        return status;
    if (len > WEIR_SPSC_COPY_MAX)
        put_long(p, start_pos, msg, len, more != 0, tally);
    else
        (void)weir_spsc_put_now(p, msg, len, more != 0, tally); /* it fits now */
    return WEIR_OK;
}

weir_status weir_spsc_push_array(weir_spsc_producer *p, const void *msgs, uint64_t len, uint32_t count,
                                 uint32_t *pushed)
{
    *pushed = 0;
    if (len > p->record_max || p->capacity == 0)
        return weir_spsc_place_slow(p, len, &(uint64_t){ 0 });
    /* In locals, because what is stored to memory between two records costs as much as a record. */
    unsigned char *data = p->data;
    const unsigned char *from = msgs;
    uint64_t capacity = p->capacity, mask = capacity - 1, size = weir_spsc_size(len);
    uint64_t pos = p->pos, limit_pos = p->limit_pos;
    weir_status status = WEIR_OK;
    uint32_t done = 0;
    for (; done < count; done++, from += len) {
        uint64_t room = capacity - (pos & mask);
        uint64_t start_pos = pos + (size > room ? room : 0);
        uint64_t end_pos = start_pos + size + WEIR_SPSC_HEADER;
        if (WEIR_UNLIKELY((int64_t)(limit_pos - end_pos) < 0)) {
            p->pos = pos;
            status = weir_spsc_place_slow(p, len, &start_pos);
            if (status != WEIR_OK)
                break;
            limit_pos = p->limit_pos;
        }
        uint64_t header = WEIR_SPSC_DATA | len;
        if (WEIR_UNLIKELY(start_pos != pos)) {
            weir_store_rlx(weir_word_at(data, start_pos & mask), header); /* relaxed: behind the padding's header */
            header = WEIR_SPSC_PAD | (start_pos - pos - WEIR_SPSC_HEADER);
        }
        if (p->batch_header == 0) { /* the first: its word stays 0 until the flush */
            p->batch_pos = pos;
            p->batch_header = header;
        } else {
            weir_store_rlx(weir_word_at(data, pos & mask), header); /* relaxed: reached through the first alone */
        }
        weir_spsc_copy(data + (start_pos & mask) + WEIR_SPSC_HEADER, from, len);
        pos = start_pos + size;
        weir_spsc_ahead(p, pos, size);
    }
    if (status < 0 || done == 0)
        return status;
    p->pos = pos;
    p->reserved = 0;
    weir_spsc_flush(p);
    *pushed = done;
    return status;
}

weir_status weir_spsc_drained(weir_spsc_producer *p)
{
    weir_status status = read_head(p);
    if (status != WEIR_OK)
        return status;
    return p->head_pos == p->pos && p->batch_header == 0 ? WEIR_OK : WEIR_FULL;
}

static weir_status consumer_poison(weir_spsc_consumer *c, uint64_t header)
{
    weir_status status = weir_fail(WEIR_E_CORRUPT, "impossible header %#llx at position %llu",
                                   (unsigned long long)header, (unsigned long long)c->pos);
    *c = (weir_spsc_consumer){ .fault = status };
    return status;
}

/* peek's path for what is not a plain record before the limit: padding, which is followed by a record at the start; the first
 * record of a lap, or of another's turn; or nonsense. */
weir_status weir_spsc_consumer_next(weir_spsc_consumer *c, uint64_t header, const void **msg, uint32_t *len)
{
    uint64_t idx = c->pos & (c->capacity - 1), pad = 0, size = decode(header, idx, c->capacity, c->record_max);
    if (size != 0 && (header & WEIR_SPSC_TAG) == WEIR_SPSC_PAD) {
        pad = size;
        idx = 0;
        /* order SPSC-DATA acq: as peek's. */
        header = weir_load_acq(weir_word_at(c->data, 0));
        size = decode(header, 0, c->capacity, c->record_max);
        if ((header & WEIR_SPSC_TAG) == WEIR_SPSC_PAD)
            size = 0;
    }
    if (size == 0 || c->pos - c->head_pos + pad + size >= c->capacity)
        return consumer_poison(c, header);
    if (c->turn != 0 && pad + size > c->limit_pos - c->pos)
        return WEIR_EMPTY;
    if (c->turn == 0)
        c->limit_pos = c->head_pos + c->capacity - 1; /* an unreleased lap is less than the capacity */
    *msg = c->data + idx + WEIR_SPSC_HEADER;
    *len = (uint32_t)header;
    c->pos += pad + size;
    return WEIR_OK;
}
