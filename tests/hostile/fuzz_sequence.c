/* Any sequence of calls, with words of the ring changed in between, against a plain model of queues.  Until the first
 * change, results are exactly the model's; behind it they are statuses, with outputs in bounds.  Input: which ring, where
 * its positions begin, and two bytes for each call. */
#include "ring/kinds.h"

#define PRODUCERS 3u
#define RECORDS_MAX 600u
#define UNTOUCHED UINT32_C(0xdeadbeef)

/* The kinds that the queues below are the model of, by their numbers in corpus/fuzz_sequence: a new one comes last.
 * latest has a model of its own. */
static const char *const modelled[] = { "spsc", "mpsc", "mpsc-ordered", "broadcast", "latest", "broadcast-gated",
                                        "mpmc" };
#define LATEST 4u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Records of one producer: [0, released) are gone, [released, read) are read, [read, published) wait, and [published,
 * count) are an open batch.  Where the consumer takes runs, it has what is before `claimed`. */
struct queue {
    struct { uint64_t len, pos, end_pos, order; } record[RECORDS_MAX]; /* pos: of padding, where there is some */
    unsigned released, read, claimed, published, count;
    uint64_t pos; /* where the next one goes */
    uint64_t reserved_len, reserved_pos;
    bool reserved;
};

static struct model {
    ring r;
    struct queue queue[PRODUCERS];
    uint64_t capacity, start_pos, order;
    bool spoiled; /* a word was changed: only statuses count */
} m;

static unsigned char buffer[1024], expected[1024];

static bool is_lossy(void) { return m.r.kind->lossy; }
static bool has_runs(void) { return m.r.kind->one_run; }
static uint64_t stamp_bytes(void) { return m.r.kind->record_max == weir_mpsc_ordered_record_max ? WEIR_MPSC_STAMP : 0; }

static void any_status(weir_status status)
{
    static const int may[] = { WEIR_OK, WEIR_EMPTY, WEIR_FULL, WEIR_AGAIN, WEIR_E_CORRUPT, WEIR_E_NOT_WEIR,
                               WEIR_E_VERSION, WEIR_E_STATE, WEIR_E_INVALID, WEIR_E_TOO_SMALL, WEIR_E_TOO_LARGE,
                               WEIR_E_IN_USE };
    for (unsigned i = 0; i < sizeof may / sizeof may[0]; i++)
        if (may[i] == (int)status)
            return;
    CHECK(!"a status that no header names");
}

/* ---- producer ---- */

/* Where a record would go, and whether there is room for it and the word behind it; of runs, whether a slot is free. */
static bool place(const struct queue *q, uint64_t len, uint64_t *pos)
{
    if (has_runs())
        return q->count - q->released < mpmc_shape(&m.r).slots;
    uint64_t capacity = m.capacity, size = 8 + (len + stamp_bytes() + 7) / 8 * 8, room = capacity - q->pos % capacity;
    *pos = q->pos + (size > room ? room : 0);
    uint64_t head = q->released > 0 ? q->record[q->released - 1].end_pos : m.start_pos;
    return *pos + size + 8 - head <= capacity;
}

static void add(struct queue *q, uint64_t len, uint64_t pos, bool more)
{
    unsigned n = q->count++;
    q->record[n].len = len;
    q->record[n].pos = q->pos;
    q->record[n].order = m.order++;
    q->pos = q->record[n].end_pos = pos + 8 + (len + stamp_bytes() + 7) / 8 * 8;
    q->reserved = false;
    if (!more)
        q->published = q->count;
}

/* Says what a push or reserve must answer; a lossy ring's room is not modelled: it is FULL only with a batch open. */
static void expect_room(const struct queue *q, weir_status status, uint64_t len, uint64_t *pos)
{
    if (len > m.r.kind->record_max(m.capacity))
        CHECK(status == WEIR_E_TOO_LARGE);
    else if (is_lossy())
        CHECK(status == WEIR_OK || (status == WEIR_FULL && q->published < q->count));
    else
        CHECK(status == (place(q, len, pos) ? WEIR_OK : WEIR_FULL));
}

static void push(unsigned p, uint64_t len, bool more)
{
    struct queue *q = &m.queue[p];
    uint64_t pos = 0;
    if (q->count == RECORDS_MAX)
        return;
    record_fill(buffer, p, q->count, len);
    weir_status status = m.r.kind->push(&m.r, p, buffer, len, more);
    any_status(status);
    if (m.spoiled)
        return;
    expect_room(q, status, len, &pos);
    if (status == WEIR_OK)
        add(q, len, pos, more);
}

static void reserve(unsigned p, uint64_t len)
{
    struct queue *q = &m.queue[p];
    void *slot = NULL;
    uint64_t pos = 0;
    weir_status status = m.r.kind->reserve(&m.r, p, len, &slot);
    any_status(status);
    if (status == WEIR_OK) {
        CHECK((unsigned char *)slot >= (unsigned char *)m.r.mem &&
              (unsigned char *)slot + len <= (unsigned char *)m.r.mem + m.r.bytes);
        record_fill(slot, p, q->count, len);
    }
    if (m.spoiled)
        return;
    expect_room(q, status, len, &pos);
    q->reserved = status == WEIR_OK;
    q->reserved_len = len;
    q->reserved_pos = pos;
}

static void commit(unsigned p, uint64_t len, bool more)
{
    struct queue *q = &m.queue[p];
    if (q->count == RECORDS_MAX)
        return;
    weir_status status = m.r.kind->commit(&m.r, p, len, more);
    any_status(status);
    if (m.spoiled)
        return;
    CHECK(status == (!q->reserved ? WEIR_E_STATE : len > q->reserved_len ? WEIR_E_INVALID : WEIR_OK));
    if (status == WEIR_OK)
        add(q, len, q->reserved_pos, more);
}

static void attach_producer(unsigned p)
{
    struct queue *q = &m.queue[p];
    weir_status status = m.r.kind->attach_producer(&m.r, p);
    any_status(status);
    if (m.spoiled)
        return;
    CHECK(status == WEIR_OK); /* and the open batch never was */
    if (q->published < q->count)
        q->pos = q->record[q->published].pos;
    q->count = q->published;
    q->reserved = false;
}

/* ---- consumer ---- */

/* May a record of this producer be had?  A run that was read is to be released before the next one is claimed. */
static bool is_there(const struct queue *q)
{
    if (has_runs() && q->read == q->claimed && q->released < q->read)
        return false;
    return q->read < q->published;
}

/* Records wait, but behind a run that was read. */
static bool is_held_up(void)
{
    for (unsigned p = 0; has_runs() && p < PRODUCERS; p++)
        if (m.queue[p].read < m.queue[p].published && !is_there(&m.queue[p]))
            return true;
    return false;
}

static bool anything(void)
{
    /* A reader that was lapped may stand at the end already, with all of it counted as lost and not told of yet. */
    if (is_lossy())
        return m.queue[0].published - m.queue[0].read != m.r.rx.broadcast.lost;
    for (unsigned p = 0; p < PRODUCERS; p++)
        if (is_there(&m.queue[p]))
            return true;
    return false;
}

/* May the next record be this producer's?  Where one order holds, it is the one pushed first. */
static bool may_be_next(unsigned p)
{
    const struct queue *q = &m.queue[p];
    if (p >= PRODUCERS || !is_there(q))
        return false;
    for (unsigned other = 0; m.r.kind->one_order && other < PRODUCERS; other++) {
        const struct queue *o = &m.queue[other];
        if (o->read < o->published && o->record[o->read].order < q->record[q->read].order)
            return false;
    }
    return true;
}

static void pop(uint64_t room)
{
    uint32_t len = UNTOUCHED;
    unsigned from = UNTOUCHED;
    uint64_t lost = 0;
    unsigned char *to = buffer + sizeof buffer - room; /* up to the redzone behind it */
    weir_status status = m.r.kind->pop_more(&m.r, to, room, &len, &from, &lost);
    any_status(status);
    CHECK(status != WEIR_OK || len <= room);
    if (m.spoiled)
        return;
    if (status == WEIR_EMPTY || status == WEIR_FULL) {
        CHECK(!anything() && is_held_up() == (status == WEIR_FULL));
        return;
    }
    CHECK((status == WEIR_OK || status == WEIR_E_TOO_SMALL) && from < PRODUCERS);
    struct queue *q = &m.queue[from];
    if (q->read == q->claimed) /* the next run: all that one consumer finds, which is no more than it may claim */
        q->claimed = q->published;
    if (is_lossy() && status == WEIR_OK) {
        CHECK(lost < q->published - q->read); /* exactly so many, and then this one */
        q->read += (unsigned)lost;
    }
    if (status == WEIR_E_TOO_SMALL) {
        CHECK(anything() && len > room && (is_lossy() || (may_be_next(from) && len == q->record[q->read].len)));
        return;
    }
    CHECK(may_be_next(from) && len == q->record[q->read].len);
    record_fill(expected, from, q->read, len);
    CHECK(memcmp(to, expected, len) == 0);
    q->read++;
}

static void release(void)
{
    m.r.kind->release(&m.r);
    for (unsigned p = 0; p < PRODUCERS; p++)
        m.queue[p].released = m.queue[p].read;
}

static void attach_consumer(void)
{
    weir_status status = m.r.kind->attach_consumer(&m.r);
    any_status(status);
    if (m.spoiled)
        return;
    CHECK(status == WEIR_OK);
    for (unsigned p = 0; p < PRODUCERS; p++)
        m.queue[p].read = m.queue[p].released; /* seen again */
    if (is_lossy()) { /* it begins at some boundary, not beyond the end */
        uint64_t number = m.r.rx.broadcast.number - m.start_pos / 8;
        CHECK(number <= m.queue[0].published);
        m.queue[0].read = (unsigned)number;
    }
}

static void ready(void)
{
    weir_status status = m.r.kind->ready(&m.r);
    any_status(status);
    if (m.spoiled)
        return;
    /* A lossy reader that is overrun learns what is left when it reads. */
    CHECK(status == (anything() ? WEIR_OK : is_held_up() ? WEIR_FULL : WEIR_EMPTY));
}

/* ---- the enemy ---- */

static void spoil(void *mem, uint64_t bytes, uint8_t where, uint8_t what)
{
    static const uint64_t values[] = { 0, 1, 8, UINT64_MAX, UINT64_C(1) << 63, WEIR_SPSC_DATA, WEIR_SPSC_DATA | 8,
                                       WEIR_SPSC_DATA | 200, WEIR_SPSC_PAD | 8, WEIR_SPSC_PAD | 120 };
    weir_atomic_u64 *word = weir_word_at(mem, where % (bytes / 8) * 8);
    uint64_t old = weir_load_rlx(word), n = what & 31;
    m.spoiled = true;
    if (n < sizeof values / sizeof values[0])
        weir_store_rlx(word, values[n]);
    else
        weir_store_rlx(word, what & 128 ? old ^ UINT64_C(1) << (what & 63) : old + (UINT64_C(8) << (what & 7)));
}

/* ---- the calls ---- */

static const ring_kind *kind_named(const char *name)
{
    for (unsigned i = 0; i < RING_KINDS; i++)
        if (strcmp(ring_kinds[i].name, name) == 0)
            return &ring_kinds[i];
    CHECK(!"a kind of that name");
    return NULL;
}

static void queues(const ring_kind *kind, uint64_t start_pos, const uint8_t *data, size_t size)
{
    unsigned producers = kind->producers;
    uint64_t capacity = kind->capacity_min * 2;
    memset(&m, 0, sizeof m);
    ring_make(&m.r, kind, producers, capacity, start_pos);
    m.capacity = capacity;
    m.start_pos = start_pos;
    for (unsigned p = 0; p < PRODUCERS; p++)
        m.queue[p].pos = start_pos;
    for (size_t i = 0; i + 1 < size; i += 2) {
        unsigned p = data[i] >> 4 & 3;
        uint64_t arg = data[i + 1], len = arg % 64;
        p = p < producers ? p : 0;
        switch (data[i] & 15) {
        case 0: case 1: push(p, len, false); break;
        case 2: push(p, len, true); break;
        case 3: push(p, arg, arg & 1); break;
        case 4: reserve(p, arg < 128 ? len : arg); break;
        case 5: commit(p, len, false); break;
        case 6: commit(p, len, true); break;
        case 7:
            m.r.kind->flush(&m.r, p);
            m.queue[p].published = m.queue[p].count;
            break;
        case 8: case 9: pop(255); break;
        case 10: pop(arg); break;
        case 11: release(); break;
        case 12: ready(); break;
        case 13: attach_consumer(); break;
        case 14: attach_producer(p); break;
        default:
            if (i + 3 < size && arg >= 240) { /* seldom: most sequences are to be exact to their end */
                spoil(m.r.mem, m.r.bytes, data[i + 2], data[i + 3]);
                i += 2;
            }
        }
    }
    ring_free(&m.r);
}

static void newest(uint64_t start, const uint8_t *data, size_t size)
{
    enum { VALUE = 100, SLOTS = 4 };
    static unsigned char mem[WEIR_LATEST_CONTROL + SLOTS * 128] __attribute__((aligned(64)));
    memset(mem, 0xee, sizeof mem);
    m.spoiled = false;
    CHECK(weir_latest_footprint(VALUE, SLOTS) == sizeof mem);
    CHECK_OK(weir_latest_init(mem, sizeof mem, VALUE, SLOTS, start));
    weir_latest_writer w;
    weir_latest_reader r;
    CHECK_OK(weir_latest_writer_attach(&w, mem, sizeof mem));
    CHECK_OK(weir_latest_reader_attach(&r, mem, sizeof mem));
    uint64_t number = start, len = 0;
    bool reserved = false;
    for (size_t i = 0; i + 1 < size; i += 2) {
        uint64_t arg = data[i + 1] & 127, got_number = UNTOUCHED;
        uint32_t got = UNTOUCHED;
        void *value = NULL;
        weir_status status = WEIR_OK;
        record_fill(expected, 0, number + 1, arg);
        switch (data[i] & 7) {
        case 0:
            status = weir_latest_write(&w, expected, (uint32_t)arg);
            if (!m.spoiled)
                CHECK(status == (arg <= VALUE ? WEIR_OK : WEIR_E_TOO_LARGE));
            if (status == WEIR_OK) {
                number++, len = arg;
                reserved = false;
            }
            break;
        case 1:
            status = weir_latest_reserve(&w, &value);
            CHECK(status == WEIR_OK ? value != NULL : m.spoiled);
            if (status == WEIR_OK)
                record_fill(value, 0, number + 1, w.value_max);
            reserved = true;
            break;
        case 2:
            status = weir_latest_publish(&w, (uint32_t)arg);
            if (!m.spoiled)
                CHECK(status == (!reserved ? WEIR_E_STATE : arg > VALUE ? WEIR_E_TOO_LARGE : WEIR_OK));
            if (status == WEIR_OK) {
                number++, len = arg;
                reserved = false;
            }
            break;
        case 3: case 4:
            status = weir_latest_read(&r, buffer + sizeof buffer - arg, arg, &got, &got_number);
            CHECK(status != WEIR_OK || got <= arg);
            if (m.spoiled)
                break;
            CHECK(status == (number == 0 ? WEIR_EMPTY : len > arg ? WEIR_E_TOO_SMALL : WEIR_OK));
            CHECK(number == 0 || got == len);
            record_fill(expected, 0, number, len);
            CHECK(status != WEIR_OK || (got_number == number && memcmp(buffer + sizeof buffer - arg, expected, len) == 0));
            break;
        case 5:
            status = weir_latest_writer_attach(&w, mem, sizeof mem);
            CHECK(m.spoiled || status == WEIR_OK);
            reserved = false;
            break;
        case 6:
            status = weir_latest_reader_attach(&r, mem, sizeof mem);
            CHECK(m.spoiled || status == WEIR_OK);
            break;
        default:
            if (i + 3 < size && data[i + 1] >= 240) {
                spoil(mem, sizeof mem, data[i + 2], data[i + 3]);
                i += 2;
            }
        }
        any_status(status);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    uint64_t start = data[1] & 1 ? UINT64_MAX - 255 + (data[1] & 0xf8) : data[1] & 0xf8;
    unsigned kind = data[0] % (unsigned)(sizeof modelled / sizeof modelled[0]);
    if (kind == LATEST)
        newest(data[1] & 2 ? start : 0, data + 2, size - 2);
    else
        queues(kind_named(modelled[kind]), start, data + 2, size - 2);
    return 0;
}
