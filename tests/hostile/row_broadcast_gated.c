#include "lanes.h"

#include <weir/ring/broadcast_gated_layout.h>

#define CAPACITY 256u
#define READERS 3u
#define UNTOUCHED UINT32_C(0xdeadbeef)

struct ends {
    weir_broadcast_gated_writer w;
    weir_broadcast_gated_reader r;
    uint64_t dead[READERS];
    uint32_t reader, generation; /* who r is, or was: each attach is another */
};

static struct ends *ends(const hostile_ring *r) { return (struct ends *)(void *)r->ends; }
static weir_broadcast_gated_writer *tx(hostile_ring *r) { return &ends(r)->w; }
static weir_broadcast_gated_reader *rx(hostile_ring *r) { return &ends(r)->r; }

/* Room for one reader more than it has: then what the ring states fits, and the caller's notes do not. */
static uint64_t bytes(void) { return weir_broadcast_gated_footprint(READERS + 1, CAPACITY); }

static void data_sane(const hostile_ring *r, const unsigned char *data, uint64_t capacity)
{
    uint64_t off = (uint64_t)(data - r->mem);
    HOSTILE_CHECK(capacity >= WEIR_SPSC_CAPACITY_MIN && (capacity & (capacity - 1)) == 0);
    HOSTILE_CHECK(off >= WEIR_BROADCAST_GATED_CONTROL && off <= bytes() && capacity <= bytes() - off);
}

static void writer_sane(hostile_ring *r)
{
    const weir_broadcast_gated_writer *w = tx(r);
    const weir_spsc_producer *lane = &w->lane;
    if (lane->capacity == 0)
        return;
    data_sane(r, lane->data, lane->capacity);
    HOSTILE_CHECK(w->ring == r->mem && w->dead == ends(r)->dead && w->readers >= 1 && w->readers <= READERS);
    HOSTILE_CHECK(lane->record_max == weir_spsc_record_max(lane->capacity));
    HOSTILE_CHECK(lane->pos % 8 == 0 && lane->head_pos % 8 == 0 && w->announced_pos % 8 == 0);
    HOSTILE_CHECK(lane->limit_pos == lane->head_pos + lane->capacity);
    HOSTILE_CHECK(lane->pos - lane->head_pos <= lane->capacity); /* never more than a lap */
    /* Nothing is given up that is not announced; a new writer supposes that a lap may be. */
    HOSTILE_CHECK((int64_t)(w->announced_pos - lane->head_pos) >= 0);
}

static void reader_sane(hostile_ring *r)
{
    const weir_broadcast_gated_reader *reader = rx(r);
    hostile_lane_consumer_sane(&reader->lane);
    if (reader->lane.capacity == 0)
        return;
    data_sane(r, reader->lane.data, reader->lane.capacity);
    HOSTILE_CHECK(reader->word != NULL && reader->lane.head == reader->word + 1);
}

/* ---- writer ---- */

static uint64_t some_len(uint64_t random)
{
    return random & 7 ? (random >> 8) % 48 : (random >> 8) % HOSTILE_BUFFER;
}

static weir_status push(hostile_ring *r, uint64_t random)
{
    weir_status status = weir_broadcast_gated_push(tx(r), r->buffer, some_len(random));
    writer_sane(r);
    return status;
}

static weir_status push_more(hostile_ring *r, uint64_t random)
{
    weir_status status = weir_broadcast_gated_push_more(tx(r), r->buffer, some_len(random));
    writer_sane(r);
    return status;
}

static weir_status push_array(hostile_ring *r, uint64_t random)
{
    uint32_t count = (uint32_t)(random >> 20) % 8, pushed = UNTOUCHED;
    weir_status status = weir_broadcast_gated_push_array(tx(r), r->buffer, (random >> 8) % 32, count, &pushed);
    HOSTILE_CHECK(pushed <= count && (status != WEIR_OK || pushed == count) && (status >= 0 || pushed == 0));
    writer_sane(r);
    return status;
}

static weir_status reserve(hostile_ring *r, uint64_t random)
{
    const weir_spsc_producer *lane = &tx(r)->lane;
    uint64_t len = some_len(random);
    void *slot = NULL;
    weir_status status = weir_broadcast_gated_reserve(tx(r), len, &slot);
    HOSTILE_CHECK((status == WEIR_OK) == (slot != NULL));
    if (status == WEIR_OK) {
        uint64_t off = (uint64_t)((unsigned char *)slot - lane->data);
        HOSTILE_CHECK(off % 8 == 0 && off <= lane->capacity && len <= lane->capacity - off);
        memset(slot, (int)random, len);
    }
    writer_sane(r);
    return status;
}

static weir_status commit(hostile_ring *r, uint64_t random)
{
    uint64_t len = some_len(random);
    weir_status status = random >> 30 & 1 ? weir_broadcast_gated_commit(tx(r), len)
                                          : weir_broadcast_gated_commit_more(tx(r), len);
    writer_sane(r);
    return status;
}

static weir_status flush(hostile_ring *r, uint64_t random)
{
    (void)random;
    weir_broadcast_gated_flush(tx(r));
    writer_sane(r);
    return WEIR_OK;
}

static weir_status drained(hostile_ring *r, uint64_t random)
{
    (void)random;
    weir_status status = weir_broadcast_gated_drained(tx(r));
    writer_sane(r);
    return status;
}

static weir_status gate_from(hostile_ring *r, uint32_t from, weir_broadcast_gated_gate *gate)
{
    *gate = (weir_broadcast_gated_gate){ .lag_bytes = UNTOUCHED, .reader = UNTOUCHED, .generation = UNTOUCHED };
    weir_status status = weir_broadcast_gated_gate_from(tx(r), from, gate);
    if (status == WEIR_OK)
        HOSTILE_CHECK(gate->reader >= from && gate->reader < tx(r)->readers && gate->lag_bytes % 8 == 0 &&
                      gate->lag_bytes <= INT64_MAX);
    else
        HOSTILE_CHECK(gate->lag_bytes == UNTOUCHED && gate->reader == UNTOUCHED && gate->generation == UNTOUCHED);
    writer_sane(r);
    return status;
}

/* All that gate, one after the other. */
static weir_status gates(hostile_ring *r, uint64_t random)
{
    weir_broadcast_gated_gate gate;
    weir_status status;
    for (uint32_t from = random & 7 ? 0 : (uint32_t)(random >> 8);; from = gate.reader + 1)
        if ((status = gate_from(r, from, &gate)) != WEIR_OK)
            return status;
}

/* Tells the writer of a reader that gates and is gone: all are but the one that is attached.  Otherwise, old news. */
static weir_status recover(hostile_ring *r, uint64_t random)
{
    const struct ends *e = ends(r);
    weir_broadcast_gated_gate gate;
    weir_status status = gate_from(r, (uint32_t)(random >> 8 & 3), &gate);
    bool living = status == WEIR_OK && e->r.word != NULL && gate.reader == e->reader &&
                  gate.generation == e->generation;
    if (status != WEIR_OK || living) {
        gate.reader = (uint32_t)(random >> 10 & 3);
        gate.generation = UINT32_MAX - (uint32_t)(random >> 12 & 3);
    }
    uint32_t readers = tx(r)->readers;
    status = weir_broadcast_gated_recover(tx(r), gate.reader, gate.generation);
    if (tx(r)->lane.capacity != 0)
        HOSTILE_CHECK(status == (gate.reader < readers ? WEIR_OK : WEIR_E_INVALID));
    writer_sane(r);
    return status;
}

/* ---- reader ---- */

static weir_status peek(hostile_ring *r, uint64_t random)
{
    (void)random;
    const void *msg = NULL;
    uint32_t len = UNTOUCHED;
    weir_status status = weir_broadcast_gated_peek(rx(r), &msg, &len);
    if (status == WEIR_OK)
        hostile_lane_record(&rx(r)->lane, msg, len);
    else
        HOSTILE_CHECK(msg == NULL && len == UNTOUCHED);
    reader_sane(r);
    return status;
}

static weir_status pop_as(hostile_ring *r, uint64_t random, bool more)
{
    uint64_t size = random >> 8 & (HOSTILE_BUFFER - 1);
    uint32_t len = UNTOUCHED;
    unsigned char *to = r->buffer + HOSTILE_BUFFER - size;
    weir_status status = more ? weir_broadcast_gated_pop_more(rx(r), to, size, &len)
                              : weir_broadcast_gated_pop(rx(r), to, size, &len);
    if (status == WEIR_OK || status == WEIR_E_TOO_SMALL)
        HOSTILE_CHECK((len <= size) == (status == WEIR_OK) && len <= rx(r)->lane.record_max);
    else
        HOSTILE_CHECK(len == UNTOUCHED);
    reader_sane(r);
    return status;
}

static weir_status pop(hostile_ring *r, uint64_t random) { return pop_as(r, random, false); }
static weir_status pop_more(hostile_ring *r, uint64_t random) { return pop_as(r, random, true); }

static weir_status release(hostile_ring *r, uint64_t random)
{
    (void)random;
    weir_broadcast_gated_release(rx(r));
    HOSTILE_CHECK(rx(r)->lane.head_pos == rx(r)->lane.pos);
    return WEIR_OK;
}

static weir_status ready(hostile_ring *r, uint64_t random)
{
    (void)random;
    return weir_broadcast_gated_ready(&ends(r)->r);
}

static weir_status readers(hostile_ring *r, uint64_t random)
{
    (void)random;
    uint32_t count = UNTOUCHED;
    weir_status status = weir_broadcast_gated_readers(r->mem, bytes(), &count);
    uint64_t least = weir_broadcast_gated_footprint(count, WEIR_SPSC_CAPACITY_MIN);
    HOSTILE_CHECK(status == WEIR_OK ? least != 0 && least <= bytes() : count == UNTOUCHED);
    return status;
}

/* ---- the row ---- */

static weir_status init(hostile_ring *r, uint64_t start_pos)
{
    return weir_broadcast_gated_init(r->mem, bytes(), READERS, CAPACITY, start_pos);
}

static weir_status attach_writer(hostile_ring *r, uint64_t random)
{
    (void)random;
    weir_status status = weir_broadcast_gated_writer_attach(tx(r), r->mem, bytes(), ends(r)->dead, READERS);
    HOSTILE_CHECK((status == WEIR_OK) == (tx(r)->lane.capacity != 0));
    writer_sane(r);
    return status;
}

static weir_status attach_at(hostile_ring *r, uint32_t reader, weir_broadcast_gated_start start)
{
    struct ends *e = ends(r);
    e->reader = reader;
    weir_status status = weir_broadcast_gated_reader_attach(&e->r, r->mem, bytes(), reader, ++e->generation, start);
    HOSTILE_CHECK((status == WEIR_OK) == (e->r.word != NULL) && (status == WEIR_OK) == (e->r.lane.capacity != 0));
    HOSTILE_CHECK(start == WEIR_BROADCAST_GATED_RESUME || status != WEIR_E_STATE);
    reader_sane(r);
    return status;
}

/* At any slot, also one that there is not, and at each start. */
static weir_status attach_reader(hostile_ring *r, uint64_t random)
{
    uint32_t bits = (uint32_t)(random >> 8 & 0xff);
    return attach_at(r, bits == 255 ? READERS : bits % READERS, (weir_broadcast_gated_start)(bits / READERS % 3));
}

static weir_status resume(hostile_ring *r, uint64_t random)
{
    (void)random;
    return attach_at(r, ends(r)->reader, WEIR_BROADCAST_GATED_RESUME);
}

/* It begins a life without a handle: not even corrupt is for longer. */
static weir_status detach(hostile_ring *r, uint64_t random)
{
    (void)random;
    bool attached = rx(r)->word != NULL;
    weir_status status = weir_broadcast_gated_reader_detach(rx(r));
    HOSTILE_CHECK(status == (attached ? WEIR_OK : WEIR_E_STATE) && rx(r)->word == NULL);
    return status;
}

/* A reader writes its own entry, from before its attach is through; a writer what it announces, and its data, wherever
 * the ring said they are. */
static bool may_write(const hostile_ring *r, hostile_side side, uint64_t off)
{
    const struct ends *e = ends(r);
    const weir_spsc_producer *lane = &e->w.lane;
    uint64_t entry = WEIR_BROADCAST_GATED_CONTROL + e->reader * (uint64_t)WEIR_BROADCAST_GATED_ENTRY;
    if (side == HOSTILE_CONSUMES || side == HOSTILE_ATTACHES_CONSUMER)
        return e->r.word != NULL && (off == entry || off == entry + 8);
    if (side != HOSTILE_PRODUCES || lane->capacity == 0)
        return false;
    return off == offsetof(weir_broadcast_gated_layout, announced) ||
           off - (uint64_t)(lane->data - r->mem) < lane->capacity;
}

/* The loads: what the ring states (4); two words of each entry, twice where the limit moves; two of announced in each
 * try of a reader, and the walk of one that begins at the newest. */
#define ATTACHES (HOSTILE_ATTACH_STATUSES | HOSTILE_STATUS(WEIR_E_INVALID))
#define READER_ATTACHES (ATTACHES | HOSTILE_STATUS(WEIR_AGAIN) | HOSTILE_STATUS(WEIR_E_STATE))
#define READER_LOADS (5 + 2 * WEIR_BROADCAST_GATED_TRIES + 2)
#define GATES (2 * READERS)

static const hostile_op ops[] = {
    { "reader_attach", HOSTILE_ATTACHES_CONSUMER, attach_reader, READER_ATTACHES, READER_LOADS, 1, false },
    { "reader_detach", HOSTILE_ATTACHES_CONSUMER, detach, HOSTILE_STATUS(WEIR_OK) | HOSTILE_STATUS(WEIR_E_STATE), 0, 0,
      false },
    { "resume", HOSTILE_ATTACHES_CONSUMER, resume, READER_ATTACHES, READER_LOADS, 0, false },
    { "readers", HOSTILE_LOOKS, readers, HOSTILE_ATTACH_STATUSES, 4, 0, false },
    { "writer_attach", HOSTILE_ATTACHES_PRODUCER, attach_writer, ATTACHES, 6, 1, false },
    { "peek", HOSTILE_CONSUMES, peek, HOSTILE_PEEK_STATUSES, 2, 0, false },
    { "pop", HOSTILE_CONSUMES, pop, HOSTILE_POP_STATUSES, 2, 1, false },
    { "pop_more", HOSTILE_CONSUMES, pop_more, HOSTILE_POP_STATUSES, 2, 1, false },
    { "release", HOSTILE_CONSUMES, release, 0, 0, 0, true },
    { "ready", HOSTILE_CONSUMES, ready, HOSTILE_PEEK_STATUSES, 1, 0, false },
    { "push", HOSTILE_PRODUCES, push, HOSTILE_PUSH_STATUSES, 2 * GATES, 0, false },
    { "push_more", HOSTILE_PRODUCES, push_more, HOSTILE_PUSH_STATUSES, 2 * GATES, 0, false },
    { "push_array", HOSTILE_PRODUCES, push_array, HOSTILE_PUSH_STATUSES, 2 * GATES, 0, false },
    { "reserve", HOSTILE_PRODUCES, reserve, HOSTILE_PUSH_STATUSES, 2 * GATES, 0, false },
    { "commit", HOSTILE_PRODUCES, commit,
      HOSTILE_STATUS(WEIR_OK) | HOSTILE_STATUS(WEIR_E_STATE) | HOSTILE_STATUS(WEIR_E_INVALID) |
          HOSTILE_STATUS(WEIR_E_CORRUPT), 0, 0, false },
    { "flush", HOSTILE_PRODUCES, flush, 0, 0, 0, true },
    { "drained", HOSTILE_PRODUCES, drained,
      HOSTILE_STATUS(WEIR_OK) | HOSTILE_STATUS(WEIR_FULL) | HOSTILE_STATUS(WEIR_E_CORRUPT) |
          HOSTILE_STATUS(WEIR_E_STATE), GATES, 0, false },
    { "gates", HOSTILE_PRODUCES, gates,
      HOSTILE_STATUS(WEIR_EMPTY) | HOSTILE_STATUS(WEIR_E_CORRUPT) | HOSTILE_STATUS(WEIR_E_STATE), GATES, 0, false },
    { "recover", HOSTILE_PRODUCES, recover,
      HOSTILE_STATUS(WEIR_OK) | HOSTILE_STATUS(WEIR_E_INVALID) | HOSTILE_STATUS(WEIR_E_CORRUPT) |
          HOSTILE_STATUS(WEIR_E_STATE), GATES + 1, 0, false },
};

static const hostile_words control[] = {
    { 0, 4, 0 },
    { offsetof(weir_broadcast_gated_layout, announced), 1, 0 },
    { WEIR_BROADCAST_GATED_CONTROL + 0, READERS, WEIR_BROADCAST_GATED_ENTRY },
    { WEIR_BROADCAST_GATED_CONTROL + 8, READERS, WEIR_BROADCAST_GATED_ENTRY },
};

const hostile_row hostile_row_broadcast_gated = {
    .name = "broadcast_gated", .bytes = bytes, .ends_bytes = sizeof(struct ends), .producers = 1, .init = init,
    .ops = ops, .op_count = HOSTILE_COUNT(ops),
    .control = control, .control_count = HOSTILE_COUNT(control), .may_write = may_write,
};
