/* The lane beside a plain queue: random calls, and the same answer from both to each, statuses and bytes. */
#include "spsc_rig.h"

#include <criterion/criterion.h>

#define ENTRIES 1024u /* more than a ring of 4096 holds: 511 */

/* The queue.  Indices count records since the beginning; an entry is at index % ENTRIES. */
typedef struct model {
    struct {
        record record;
        uint64_t end_pos;
    } entry[ENTRIES];
    uint64_t released;  /* everything before it was given back */
    uint64_t read;      /* the consumer's next */
    uint64_t published; /* what the consumer may see ends here */
    uint64_t written;   /* with the open batch */
    uint64_t head_pos;
    uint64_t read_pos;
    uint64_t published_pos;
    uint64_t pos;
    uint64_t seq;
    uint64_t reserved; /* bytes + 1 */
    void *slot;
} model;

typedef struct run {
    rig r;
    model m;
    uint64_t random;
    uint64_t done[16]; /* how often each call gave WEIR_OK */
    uint64_t fulls, empties;
} run;

static uint64_t pick(run *t, uint64_t below) { return support_random(&t->random) % below; }

static weir_status model_room(const run *t, uint64_t len)
{
    const model *m = &t->m;
    if (len > t->r.capacity / 2 - 16)
        return WEIR_E_TOO_LARGE;
    return rig_fits(t->r.capacity, m->head_pos, m->pos, len) ? WEIR_OK : WEIR_FULL;
}

static void model_flush(model *m)
{
    m->published = m->written;
    m->published_pos = m->pos;
}

/* place_len decides about padding, len is what was committed of it. */
static void model_write(run *t, uint64_t place_len, uint64_t len, bool more)
{
    model *m = &t->m;
    m->pos = rig_end(t->r.capacity, m->pos, place_len) - rig_size(place_len) + rig_size(len);
    m->entry[m->written % ENTRIES].record = (record){ m->seq, (uint32_t)len };
    m->entry[m->written % ENTRIES].end_pos = m->pos;
    m->written++;
    m->seq++;
    m->reserved = 0;
    if (!more)
        model_flush(m);
}

static uint64_t random_len(run *t)
{
    uint64_t max = t->r.capacity / 2 - 16;
    switch (pick(t, 16)) {
    case 0:
        return pick(t, max + 9); /* sometimes over the limit */
    case 1:
        return max;
    case 2:
    case 3:
        return 0;
    default:
        return pick(t, max < 64 ? max + 1 : 64);
    }
}

static void do_push(run *t, bool more)
{
    uint64_t len = random_len(t);
    weir_status expected = model_room(t, len);
    CHECK_STATUS(more ? rig_push_more(&t->r, t->m.seq, len) : rig_push(&t->r, t->m.seq, len), expected);
    if (expected == WEIR_OK) /* else an open reservation stays what it was */
        model_write(t, len, len, more);
    t->fulls += expected == WEIR_FULL;
    t->done[more] += expected == WEIR_OK;
}

static void do_reserve(run *t)
{
    uint64_t len = random_len(t);
    weir_status expected = model_room(t, len);
    t->m.slot = t;
    CHECK_STATUS(weir_spsc_reserve(&t->r.p, len, &t->m.slot), expected);
    t->m.reserved = expected == WEIR_OK ? len + 1 : 0;
    if (expected == WEIR_OK)
        rig_fill(t->m.slot, t->m.seq, len);
    else
        CHECK(t->m.slot == t);
    t->done[2] += expected == WEIR_OK;
}

static void do_commit(run *t, bool more)
{
    uint64_t reserved = t->m.reserved, len = pick(t, 4) == 0 ? pick(t, reserved + 2) : reserved - (reserved > 0);
    weir_status expected = reserved == 0 ? WEIR_E_STATE : len >= reserved ? WEIR_E_INVALID : WEIR_OK;
    CHECK_STATUS(more ? weir_spsc_commit_more(&t->r.p, len) : weir_spsc_commit(&t->r.p, len), expected);
    if (expected == WEIR_OK)
        model_write(t, reserved - 1, len, more);
    t->done[3 + more] += expected == WEIR_OK;
}

static void do_flush(run *t)
{
    weir_spsc_flush(&t->r.p);
    t->done[5] += t->m.published != t->m.written;
    model_flush(&t->m);
}

static void do_drained(run *t)
{
    bool drained = t->m.released == t->m.written;
    CHECK_STATUS(weir_spsc_drained(&t->r.p), drained ? WEIR_OK : WEIR_FULL);
    t->done[6] += drained;
}

static void model_release(model *m)
{
    m->released = m->read;
    m->head_pos = m->read_pos;
}

static record model_read(model *m)
{
    m->read_pos = m->entry[m->read % ENTRIES].end_pos;
    return m->entry[m->read++ % ENTRIES].record;
}

static void do_peek(run *t)
{
    if (t->m.read == t->m.published) {
        t->empties++;
        rig_expect_empty(&t->r);
        return;
    }
    record next = model_read(&t->m);
    rig_expect_peek(&t->r, next.seq, next.len);
    t->done[7]++;
}

static void do_pop(run *t, bool more)
{
    unsigned char buffer[RIG_LEN_MAX];
    bool empty = t->m.read == t->m.published;
    record next = t->m.entry[t->m.read % ENTRIES].record;
    uint64_t size = pick(t, 8) == 0 ? pick(t, 24) : sizeof buffer;
    weir_status expected = empty ? WEIR_EMPTY : next.len > size ? WEIR_E_TOO_SMALL : WEIR_OK;
    uint32_t len = UINT32_MAX;
    CHECK_STATUS(more ? weir_spsc_pop_more(&t->r.c, buffer, size, &len) : weir_spsc_pop(&t->r.c, buffer, size, &len),
                 expected);
    CHECK(len == (empty ? UINT32_MAX : next.len));
    if (expected == WEIR_OK) {
        CHECK(rig_holds(buffer, next.seq, next.len));
        (void)model_read(&t->m);
        if (!more)
            model_release(&t->m);
        t->done[8 + more]++;
    }
}

static void do_release(run *t)
{
    t->done[10] += t->m.read != t->m.released;
    weir_spsc_release(&t->r.c);
    model_release(&t->m);
}

static void do_ready(run *t)
{
    CHECK_STATUS(weir_spsc_ready(&t->r.c), t->m.read == t->m.published ? WEIR_EMPTY : WEIR_OK);
}

static void take_over_producer(run *t)
{
    model *m = &t->m;
    CHECK_OK(weir_spsc_producer_attach(&t->r.p, t->r.mem, t->r.bytes));
    t->done[11] += m->written != m->published;
    t->done[12] += m->written == m->published;
    m->written = m->published;
    m->pos = m->published_pos;
    m->reserved = 0;
}

static void take_over_consumer(run *t)
{
    model *m = &t->m;
    CHECK_OK(weir_spsc_consumer_attach(&t->r.c, t->r.mem, t->r.bytes));
    t->done[13] += m->read != m->released;
    t->done[14] += m->read == m->released;
    m->read = m->released;
    m->read_pos = m->head_pos;
}

/* Both ends die, and their successors work on a copy of the bytes elsewhere. */
static void move_house(run *t)
{
    rig copy;
    rig_copy(&copy, t->r.mem, t->r.capacity);
    rig_close(&t->r);
    t->r = copy;
    take_over_producer(t);
    take_over_consumer(t);
    t->done[15]++;
}

static void step(run *t)
{
    static const unsigned weight[] = { 14, 14, 8, 6, 6, 6, 2, 12, 14, 10, 8, 4, 2, 2, 1 };
    uint64_t at = pick(t, 109);
    unsigned call = 0;
    while (at >= weight[call])
        at -= weight[call++];
    switch (call) {
    case 0: do_push(t, false); break;
    case 1: do_push(t, true); break;
    case 2: do_reserve(t); break;
    case 3: do_commit(t, false); break;
    case 4: do_commit(t, true); break;
    case 5: do_flush(t); break;
    case 6: do_drained(t); break;
    case 7: do_peek(t); break;
    case 8: do_pop(t, false); break;
    case 9: do_pop(t, true); break;
    case 10: do_release(t); break;
    case 11: do_ready(t); break;
    case 12: take_over_producer(t); break;
    case 13: take_over_consumer(t); break;
    default: move_house(t); break;
    }
    CHECK(t->r.p.pos == t->m.pos && t->r.c.pos == t->m.read_pos);
    CHECK(weir_load_rlx(&rig_control(&t->r)->head) == t->m.head_pos);
}

static void compare(uint64_t capacity, uint64_t start_pos, uint64_t steps)
{
    static run t;
    t = (run){ .random = support_seed() };
    rig_open(&t.r, capacity, start_pos);
    t.m.head_pos = t.m.read_pos = t.m.published_pos = t.m.pos = start_pos;
    for (uint64_t i = 0; i < steps; i++)
        step(&t);
    if (steps >= 10000) { /* a comparison in which something never happened compares nothing */
        for (unsigned i = 0; i < 16; i++)
            CHECK(t.done[i] > 0);
        CHECK(t.fulls > 0 && t.empties > 0);
    }
    rig_close(&t.r);
}

Test(spsc_model, capacity_64_does_what_a_queue_does)
{
    compare(64, 0, support_count(2000000));
}

Test(spsc_model, capacity_64_across_2_to_the_64_does_what_a_queue_does)
{
    compare(64, 0 - UINT64_C(400000), support_count(2000000));
}

Test(spsc_model, capacity_128_does_what_a_queue_does)
{
    compare(128, 72, support_count(2000000));
}

Test(spsc_model, capacity_256_across_2_to_the_32_does_what_a_queue_does)
{
    compare(256, (UINT64_C(1) << 32) - 4000, support_count(2000000));
}

Test(spsc_model, capacity_512_does_what_a_queue_does)
{
    compare(512, 0, support_count(1000000));
}

Test(spsc_model, capacity_1024_does_what_a_queue_does)
{
    compare(1024, 0, support_count(1000000));
}

Test(spsc_model, capacity_4096_does_what_a_queue_does)
{
    compare(4096, 4088, support_count(1000000));
}

Test(spsc_model, many_short_lives_of_small_rings_do_what_a_queue_does)
{
    static run t;
    uint64_t random = support_seed();
    for (uint64_t i = support_count(50000); i > 0; i--) {
        uint64_t capacity = UINT64_C(64) << support_random(&random) % 3;
        uint64_t start_pos = (support_random(&random) % 64) * 8 - 256;
        t = (run){ .random = support_random(&random) };
        rig_open(&t.r, capacity, start_pos);
        t.m.head_pos = t.m.read_pos = t.m.published_pos = t.m.pos = start_pos;
        for (unsigned j = 0; j < 40; j++)
            step(&t);
        rig_close(&t.r);
    }
}
