#include "hostile.h"

#include <weir/ring/broadcast_layout.h>

#define CAPACITY 512u
#define UNTOUCHED UINT32_C(0xdeadbeef)

struct ends {
    weir_broadcast_writer w;
    weir_broadcast_reader r;
};

static weir_broadcast_writer *tx(hostile_ring *r) { return &((struct ends *)(void *)r->ends)->w; }
static weir_broadcast_reader *rx(hostile_ring *r) { return &((struct ends *)(void *)r->ends)->r; }

static void writer_sane(const weir_broadcast_writer *w)
{
    if (w->capacity == 0)
        return;
    HOSTILE_CHECK(w->capacity >= WEIR_BROADCAST_CAPACITY_MIN && w->capacity <= CAPACITY);
    HOSTILE_CHECK(w->pos % 8 == 0 && w->limit_pos % 8 == 0);
    /* What may be overwritten by now lies less than a lap before the limit: or the writer never moves it. */
    HOSTILE_CHECK(w->limit_pos - w->pos <= w->capacity);
}

static void reader_sane(const weir_broadcast_reader *r)
{
    HOSTILE_CHECK(r->capacity == 0 || (r->capacity >= WEIR_BROADCAST_CAPACITY_MIN && r->capacity <= CAPACITY &&
                                       r->pos % 8 == 0));
}

/* ---- writer ---- */

static uint64_t some_len(uint64_t random)
{
    return random & 7 ? (random >> 8) % 64 : (random >> 8) % HOSTILE_BUFFER;
}

static weir_status push(hostile_ring *r, uint64_t random)
{
    weir_status status = weir_broadcast_push(tx(r), r->buffer, some_len(random));
    writer_sane(tx(r));
    return status;
}

static weir_status push_more(hostile_ring *r, uint64_t random)
{
    weir_status status = weir_broadcast_push_more(tx(r), r->buffer, some_len(random));
    writer_sane(tx(r));
    return status;
}

static weir_status reserve(hostile_ring *r, uint64_t random)
{
    const weir_broadcast_writer *w = tx(r);
    uint64_t len = some_len(random);
    void *slot = NULL;
    weir_status status = weir_broadcast_reserve(tx(r), len, &slot);
    HOSTILE_CHECK((status == WEIR_OK) == (slot != NULL));
    if (status == WEIR_OK) {
        uint64_t off = (uint64_t)((unsigned char *)slot - w->data);
        HOSTILE_CHECK(off % 8 == 0 && off <= w->capacity && len <= w->capacity - off);
        memset(slot, (int)random, len);
    }
    writer_sane(w);
    return status;
}

static weir_status commit(hostile_ring *r, uint64_t random)
{
    uint64_t len = some_len(random);
    weir_status status = random >> 30 & 1 ? weir_broadcast_commit(tx(r), len) : weir_broadcast_commit_more(tx(r), len);
    writer_sane(tx(r));
    return status;
}

static weir_status flush(hostile_ring *r, uint64_t random)
{
    (void)random;
    weir_broadcast_flush(tx(r));
    return WEIR_OK;
}

/* ---- reader ---- */

static weir_status read_as(hostile_ring *r, uint64_t random)
{
    uint64_t size = random >> 8 & (HOSTILE_BUFFER - 1), lost = UNTOUCHED;
    uint32_t len = UNTOUCHED;
    weir_status status = weir_broadcast_read(rx(r), r->buffer + HOSTILE_BUFFER - size, size, &len, &lost);
    if (status == WEIR_OK)
        HOSTILE_CHECK(len <= size && len <= rx(r)->record_max);
    else if (status == WEIR_E_TOO_SMALL)
        HOSTILE_CHECK(len > size && len <= rx(r)->record_max && lost == UNTOUCHED);
    else
        HOSTILE_CHECK(len == UNTOUCHED && lost == UNTOUCHED);
    reader_sane(rx(r));
    return status;
}

static weir_status ready(hostile_ring *r, uint64_t random)
{
    (void)random;
    return weir_broadcast_ready(rx(r));
}

/* ---- the row ---- */

static uint64_t bytes(void) { return weir_broadcast_footprint(CAPACITY); }

static weir_status init(hostile_ring *r, uint64_t start_pos)
{
    return weir_broadcast_init(r->mem, bytes(), CAPACITY, start_pos, start_pos / 8);
}

static weir_status attach_writer(hostile_ring *r, uint64_t random)
{
    (void)random;
    weir_status status = weir_broadcast_writer_attach(tx(r), r->mem, bytes());
    writer_sane(tx(r));
    HOSTILE_CHECK((status == WEIR_OK) == (tx(r)->capacity != 0));
    return status;
}

static weir_status attach_reader(hostile_ring *r, uint64_t random)
{
    weir_status status = random & 1 ? weir_broadcast_reader_attach(rx(r), r->mem, bytes())
                                    : weir_broadcast_reader_resume(rx(r), r->mem, bytes(), random >> 1 & 0x7f);
    reader_sane(rx(r));
    HOSTILE_CHECK((status == WEIR_OK) == (rx(r)->capacity != 0));
    return status;
}

/* Resume walks: at most half as many steps as the ring has words, of 8 tries.  A try reads a header, a number, a record of at most a quarter of the ring, the limit, and an anchor (5). */
#define PUSHES                                                                                                        \
    (HOSTILE_STATUS(WEIR_OK) | HOSTILE_STATUS(WEIR_FULL) | HOSTILE_STATUS(WEIR_E_TOO_LARGE) |                         \
     HOSTILE_STATUS(WEIR_E_STATE))
#define ATTACHES                                                                                                      \
    (HOSTILE_STATUS(WEIR_OK) | HOSTILE_STATUS(WEIR_E_NOT_WEIR) | HOSTILE_STATUS(WEIR_E_VERSION) |                     \
     HOSTILE_STATUS(WEIR_E_CORRUPT))
#define READIES                                                                                                       \
    (HOSTILE_STATUS(WEIR_OK) | HOSTILE_STATUS(WEIR_EMPTY) | HOSTILE_STATUS(WEIR_E_CORRUPT) |                          \
     HOSTILE_STATUS(WEIR_E_STATE))

static const hostile_op ops[] = {
    { "writer_attach", HOSTILE_ATTACHES_PRODUCER, attach_writer, ATTACHES, 10, 1, false },
    { "reader_attach", HOSTILE_ATTACHES_CONSUMER, attach_reader, ATTACHES | HOSTILE_STATUS(WEIR_AGAIN),
      3 + 5 * (WEIR_BROADCAST_TRIES + WEIR_BROADCAST_ANCHORS), 4 * WEIR_BROADCAST_TRIES, false },
    { "read", HOSTILE_CONSUMES, read_as,
      READIES | HOSTILE_STATUS(WEIR_AGAIN) | HOSTILE_STATUS(WEIR_E_TOO_SMALL), 8 * WEIR_BROADCAST_TRIES,
      WEIR_BROADCAST_TRIES / 4, false },
    { "ready", HOSTILE_CONSUMES, ready, READIES, 2, 0, false },
    { "push", HOSTILE_PRODUCES, push, PUSHES, 1, 0, false },
    { "push_more", HOSTILE_PRODUCES, push_more, PUSHES, 1, 0, false },
    { "reserve", HOSTILE_PRODUCES, reserve, PUSHES, 1, 0, false },
    { "commit", HOSTILE_PRODUCES, commit,
      HOSTILE_STATUS(WEIR_OK) | HOSTILE_STATUS(WEIR_E_STATE) | HOSTILE_STATUS(WEIR_E_INVALID), 0, 0, false },
    { "flush", HOSTILE_PRODUCES, flush, 0, 0, 0, true },
};

static const hostile_words control[] = {
    { 0, 3, 0 },
    { offsetof(weir_broadcast_layout, limit), 2, 0 },
    { offsetof(weir_broadcast_layout, anchor), 2 * WEIR_BROADCAST_ANCHORS, 0 },
};

const hostile_row hostile_row_broadcast = {
    .name = "broadcast", .bytes = bytes, .ends_bytes = sizeof(struct ends), .producers = 1, .init = init,
    .ops = ops, .op_count = HOSTILE_COUNT(ops),
    .control = control, .control_count = HOSTILE_COUNT(control),
};
