#include "hostile.h"

#include <weir/ring/latest_layout.h>

#define VALUE_MAX 100u
#define SLOTS 4u
#define STRIDE 128u
#define UNTOUCHED UINT32_C(0xdeadbeef)

struct ends {
    weir_latest_writer w;
    weir_latest_reader r;
};

static weir_latest_writer *tx(hostile_ring *r) { return &((struct ends *)(void *)r->ends)->w; }
static weir_latest_reader *rx(hostile_ring *r) { return &((struct ends *)(void *)r->ends)->r; }

static uint64_t bytes(void) { return weir_latest_footprint(VALUE_MAX, SLOTS); }

static bool slots_are_inside(uint32_t mask, uint64_t stride, uint32_t value_max)
{
    return WEIR_LATEST_SLOT + (uint64_t)value_max <= stride && WEIR_LATEST_CONTROL + stride * (mask + 1) <= bytes();
}

static void sane(hostile_ring *r)
{
    const weir_latest_writer *w = tx(r);
    const weir_latest_reader *reader = rx(r);
    HOSTILE_CHECK(w->current == NULL || slots_are_inside(w->mask, w->stride, w->value_max));
    HOSTILE_CHECK(reader->current == NULL || slots_are_inside(reader->mask, reader->stride, reader->value_max));
}

static weir_status write(hostile_ring *r, uint64_t random)
{
    weir_status status = weir_latest_write(tx(r), r->buffer, (uint32_t)(random >> 8 & 127));
    sane(r);
    return status;
}

static weir_status reserve(hostile_ring *r, uint64_t random)
{
    void *value = NULL;
    weir_status status = weir_latest_reserve(tx(r), &value);
    HOSTILE_CHECK((status == WEIR_OK) == (value != NULL));
    if (status == WEIR_OK) {
        uint64_t off = (uint64_t)((unsigned char *)value - r->mem);
        HOSTILE_CHECK(off >= WEIR_LATEST_CONTROL && off % 8 == 0 && off + tx(r)->value_max <= bytes());
        memset(value, (int)random, tx(r)->value_max);
    }
    sane(r);
    return status;
}

static weir_status publish(hostile_ring *r, uint64_t random)
{
    weir_status status = weir_latest_publish(tx(r), (uint32_t)(random >> 8 & 127));
    sane(r);
    return status;
}

static weir_status read_as(hostile_ring *r, uint64_t random)
{
    uint64_t size = random >> 8 & (HOSTILE_BUFFER - 1), number = UNTOUCHED;
    uint32_t len = UNTOUCHED;
    weir_status status = weir_latest_read(rx(r), r->buffer + HOSTILE_BUFFER - size, size, &len, &number);
    if (status == WEIR_OK)
        HOSTILE_CHECK(len <= size && len <= rx(r)->value_max);
    else if (status == WEIR_E_TOO_SMALL)
        HOSTILE_CHECK(len > size && len <= rx(r)->value_max && number == UNTOUCHED);
    else
        HOSTILE_CHECK(len == UNTOUCHED && number == UNTOUCHED);
    sane(r);
    return status;
}

static weir_status number(hostile_ring *r, uint64_t random)
{
    (void)random;
    (void)weir_latest_number(rx(r));
    return WEIR_OK;
}

/* ---- the row ---- */

static weir_status init(hostile_ring *r, uint64_t start_pos)
{
    return weir_latest_init(r->mem, bytes(), VALUE_MAX, SLOTS, start_pos);
}

static weir_status attach_writer(hostile_ring *r, uint64_t random)
{
    (void)random;
    weir_status status = weir_latest_writer_attach(tx(r), r->mem, bytes());
    HOSTILE_CHECK((status == WEIR_OK) == (tx(r)->current != NULL));
    sane(r);
    return status;
}

static weir_status attach_reader(hostile_ring *r, uint64_t random)
{
    (void)random;
    weir_status status = weir_latest_reader_attach(rx(r), r->mem, bytes());
    HOSTILE_CHECK((status == WEIR_OK) == (rx(r)->current != NULL));
    sane(r);
    return status;
}

/* A try reads three words and a value, which is less than a quarter of the memory. */
#define OK_OR(status) (HOSTILE_STATUS(WEIR_OK) | HOSTILE_STATUS(status))
#define ATTACHES (OK_OR(WEIR_E_NOT_WEIR) | HOSTILE_STATUS(WEIR_E_VERSION) | HOSTILE_STATUS(WEIR_E_CORRUPT))

static const hostile_op ops[] = {
    { "writer_attach", HOSTILE_ATTACHES_PRODUCER, attach_writer, ATTACHES, 5, 0, false },
    { "reader_attach", HOSTILE_ATTACHES_CONSUMER, attach_reader, ATTACHES, 4, 0, false },
    { "read", HOSTILE_CONSUMES, read_as,
      OK_OR(WEIR_EMPTY) | HOSTILE_STATUS(WEIR_AGAIN) | HOSTILE_STATUS(WEIR_E_TOO_SMALL) |
          HOSTILE_STATUS(WEIR_E_CORRUPT) | HOSTILE_STATUS(WEIR_E_STATE), 3 * WEIR_LATEST_TRIES, WEIR_LATEST_TRIES / 4,
      false },
    { "number", HOSTILE_CONSUMES, number, 0, 1, 0, true },
    { "write", HOSTILE_PRODUCES, write, OK_OR(WEIR_E_TOO_LARGE) | HOSTILE_STATUS(WEIR_E_STATE), 0, 0, false },
    { "reserve", HOSTILE_PRODUCES, reserve, OK_OR(WEIR_E_STATE), 0, 0, false },
    { "publish", HOSTILE_PRODUCES, publish, OK_OR(WEIR_E_TOO_LARGE) | HOSTILE_STATUS(WEIR_E_STATE), 0, 0, false },
};

static const hostile_words control[] = {
    { 0, 4, 0 },
    { offsetof(weir_latest_layout, current), 1, 0 },
    { WEIR_LATEST_CONTROL + 0, SLOTS, STRIDE }, /* each slot's number, */
    { WEIR_LATEST_CONTROL + 8, SLOTS, STRIDE }, /* and its length */
};

const hostile_row hostile_row_latest = {
    .name = "latest", .bytes = bytes, .ends_bytes = sizeof(struct ends), .producers = 1, .init = init,
    .ops = ops, .op_count = HOSTILE_COUNT(ops),
    .control = control, .control_count = HOSTILE_COUNT(control),
};
