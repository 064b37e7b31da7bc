/* What every kind of ring does: order, exactly once, full and empty, every offset, every size, positions near the ends of
 * their range, moved in memory, taken over; and a differential test against plain queues. */
#include "kinds.h"

#include <criterion/criterion.h>
#include <stdio.h>

static const uint64_t starts[] = { 0, (UINT64_C(1) << 32) - 512, (UINT64_C(1) << 63) - 512, 0 - UINT64_C(512) };
#define STARTS (sizeof starts / sizeof starts[0])

static unsigned char buffer[1 << 16];

/* Reads one record and checks whose and which it is. */
static void expect(ring *r, unsigned producer, uint64_t seq, uint64_t len)
{
    uint32_t got = 0;
    unsigned from = 99;
    uint64_t lost = 0;
    CHECK_OK(r->kind->pop_more(r, buffer, sizeof buffer, &got, &from, &lost));
    cr_assert(from == producer && got == len && lost == 0 && record_is(buffer, producer, seq, len),
              "%s: record %llu of %u, %llu bytes: got %u bytes of %u, lost %llu", r->kind->name,
              (unsigned long long)seq, producer, (unsigned long long)len, got, from, (unsigned long long)lost);
}

static void expect_empty(ring *r)
{
    uint32_t len = 77;
    unsigned from = 77;
    uint64_t lost = 77;
    cr_assert_eq(r->kind->ready(r), WEIR_EMPTY, "%s", r->kind->name);
    cr_assert_eq(r->kind->pop_more(r, buffer, sizeof buffer, &len, &from, &lost), WEIR_EMPTY, "%s", r->kind->name);
}

static weir_status push(ring *r, unsigned producer, uint64_t seq, uint64_t len, bool more)
{
    record_fill(buffer, producer, seq, len);
    return r->kind->push(r, producer, buffer, len, more);
}

Test(conformance, records_of_every_size_pass_at_every_offset)
{
    for (size_t k = 0; k < RING_KINDS; k++)
        for (size_t s = 0; s < STARTS; s++) {
            const ring_kind *kind = &ring_kinds[k];
            ring r;
            ring_make(&r, kind, 1, kind->capacity_min * 2, starts[s]);
            uint32_t max = kind->record_max(r.capacity);
            uint64_t seq = 0;
            for (uint64_t shift = 0; shift < r.capacity / 8 + 1; shift++) {
                for (uint32_t len = 0; len <= max; len++, seq++) {
                    CHECK_OK(push(&r, 0, seq, len, false));
                    cr_assert_eq(kind->ready(&r), WEIR_OK);
                    expect(&r, 0, seq, len);
                    kind->release(&r);
                }
                expect_empty(&r);
                uint64_t move = shift % 3 * 8; /* the next round begins elsewhere */
                CHECK_OK(push(&r, 0, seq, move, false));
                expect(&r, 0, seq++, move);
                kind->release(&r);
            }
            ring_free(&r);
        }
}

Test(conformance, push_reads_exactly_the_message_and_pop_writes_exactly_the_record)
{
    for (size_t k = 0; k < RING_KINDS; k++) {
        const ring_kind *kind = &ring_kinds[k];
        ring r;
        ring_make(&r, kind, 1, 1024, 0);
        uint32_t max = kind->record_max(r.capacity), got = 0;
        unsigned from;
        uint64_t lost;
        for (uint32_t len = 0; len <= max; len++)
            for (int more = 0; more < 2; more++) {
                unsigned char *msg = support_page_end() - len; /* one byte more is a fault */
                record_fill(msg, 0, len, len);
                CHECK_OK(kind->push(&r, 0, msg, len, more != 0));
                kind->flush(&r, 0);
                memset(msg, 0, len);
                CHECK_OK(kind->pop_more(&r, msg, len, &got, &from, &lost));
                cr_assert(got == len && record_is(msg, 0, len, len), "%s: %u bytes", kind->name, len);
                kind->release(&r);
            }
        ring_free(&r);
    }
}

Test(conformance, a_record_over_the_limit_is_refused_and_one_too_long_for_the_buffer_stays)
{
    for (size_t k = 0; k < RING_KINDS; k++) {
        const ring_kind *kind = &ring_kinds[k];
        ring r;
        void *slot = NULL;
        ring_make(&r, kind, kind->producers, kind->capacity_min, 0);
        uint32_t max = kind->record_max(r.capacity), len = 0;
        unsigned from;
        uint64_t lost;
        cr_assert_eq(push(&r, 0, 0, max + 1, false), WEIR_E_TOO_LARGE, "%s", kind->name);
        cr_assert_eq(kind->push(&r, 0, buffer, UINT64_MAX - 7, false), WEIR_E_TOO_LARGE, "%s", kind->name);
        cr_assert_eq(kind->reserve(&r, 0, max + 1, &slot), WEIR_E_TOO_LARGE, "%s", kind->name);
        cr_assert_null(slot);
        expect_empty(&r);
        CHECK_OK(push(&r, 0, 5, max, false));
        memset(buffer, 0x5a, max);
        cr_assert_eq(kind->pop_more(&r, buffer, max - 1, &len, &from, &lost), WEIR_E_TOO_SMALL, "%s", kind->name);
        cr_assert_eq(len, max, "%s", kind->name);
        expect(&r, 0, 5, max);
        kind->release(&r);
        expect_empty(&r);
        ring_free(&r);
    }
}

Test(conformance, what_does_not_lose_says_full_writes_nothing_and_goes_on_after_a_release)
{
    for (size_t k = 0; k < RING_KINDS; k++)
        for (size_t s = 0; s < STARTS; s++) {
            const ring_kind *kind = &ring_kinds[k];
            if (kind->lossy)
                continue;
            ring r;
            ring_make(&r, kind, kind->producers, 256, starts[s]);
            uint64_t pushed[KIND_PRODUCERS_MAX] = { 0 };
            for (unsigned round = 0; round < 20; round++) {
                for (unsigned p = 0; p < r.producers; p++) {
                    weir_status status;
                    while ((status = push(&r, p, pushed[p], 8 + (pushed[p] * 5 + round) % 50, false)) == WEIR_OK)
                        pushed[p]++;
                    cr_assert_eq(status, WEIR_FULL, "%s", kind->name);
                    cr_assert_eq(push(&r, p, pushed[p], 8 + (pushed[p] * 5 + round) % 50, true), WEIR_FULL);
                }
                uint64_t read[KIND_PRODUCERS_MAX] = { 0 }, lost = 0;
                uint32_t len;
                unsigned from;
                while (kind->pop_more(&r, buffer, sizeof buffer, &len, &from, &lost) == WEIR_OK)
                    read[from]++;
                for (unsigned p = 0; p < r.producers; p++) {
                    cr_assert_gt(read[p], 0, "%s: the lane of %u", kind->name, p);
                    cr_assert_eq(push(&r, p, pushed[p], 56, false), WEIR_FULL, "%s: before the release", kind->name);
                }
                kind->release(&r);
            }
            ring_free(&r);
        }
}

Test(conformance, a_batch_appears_at_once_and_with_the_next_push)
{
    for (size_t k = 0; k < RING_KINDS; k++) {
        const ring_kind *kind = &ring_kinds[k];
        ring r;
        ring_make(&r, kind, kind->producers, 1024, 0);
        for (uint64_t round = 0; round < 200; round++) {
            uint64_t seq = round * 8;
            unsigned p = (unsigned)(round % r.producers);
            for (uint64_t i = 0; i < 5; i++) {
                CHECK_OK(push(&r, p, seq + i, i * 7, true));
                expect_empty(&r);
            }
            if (round % 2 == 0)
                kind->flush(&r, p);
            else
                CHECK_OK(push(&r, p, seq + 5, 3, false));
            kind->flush(&r, p); /* of nothing: nothing */
            for (uint64_t i = 0; i < 5; i++)
                expect(&r, p, seq + i, i * 7);
            if (round % 2 != 0)
                expect(&r, p, seq + 5, 3);
            expect_empty(&r);
            kind->release(&r);
        }
        ring_free(&r);
    }
}

Test(conformance, what_is_reserved_is_seen_with_its_commit_and_a_shorter_commit_is_shorter)
{
    for (size_t k = 0; k < RING_KINDS; k++) {
        const ring_kind *kind = &ring_kinds[k];
        ring r;
        void *slot;
        ring_make(&r, kind, kind->producers, 512, 0);
        cr_assert_eq(kind->commit(&r, 0, 1, false), WEIR_E_STATE, "%s", kind->name);
        for (uint64_t seq = 0; seq < 300; seq++) {
            unsigned p = (unsigned)(seq % r.producers);
            uint64_t room = seq % 60, len = seq % 3 == 0 ? room / 2 : room;
            CHECK_OK(kind->reserve(&r, p, room, &slot));
            cr_assert_eq((uintptr_t)slot % 8, 0);
            record_fill(slot, p, seq, len);
            expect_empty(&r);
            cr_assert_eq(kind->commit(&r, p, room + 1, false), WEIR_E_INVALID, "%s", kind->name);
            CHECK_OK(kind->commit(&r, p, len, seq % 5 == 0));
            if (seq % 5 == 0) {
                expect_empty(&r);
                kind->flush(&r, p);
            }
            expect(&r, p, seq, len);
            kind->release(&r);
            cr_assert_eq(kind->commit(&r, p, 0, false), WEIR_E_STATE, "%s: twice", kind->name);
        }
        ring_free(&r);
    }
}

/* ---- against plain queues ---- */

#define QUEUE 4096

struct queue {
    struct { /* of all producers, in the order of their pushes */
        unsigned producer;
        uint64_t seq, len;
        bool open; /* its batch is not published */
    } at[QUEUE];
    uint64_t first, count;
    uint64_t seq[KIND_PRODUCERS_MAX];
};

static void queue_take(struct queue *q, uint64_t i)
{
    for (; i + 1 < q->count; i++)
        q->at[(q->first + i) % QUEUE] = q->at[(q->first + i + 1) % QUEUE];
    q->count--;
}

static uint64_t queue_waiting(const struct queue *q)
{
    uint64_t waiting = 0;
    for (uint64_t i = 0; i < q->count; i++)
        waiting += !q->at[(q->first + i) % QUEUE].open;
    return waiting;
}

static bool queue_is_open(const struct queue *q, unsigned producer)
{
    for (uint64_t i = 0; i < q->count; i++)
        if (q->at[(q->first + i) % QUEUE].producer == producer && q->at[(q->first + i) % QUEUE].open)
            return true;
    return false;
}

/* The producer's open batch is there, or never was. */
static void queue_end_batch(struct queue *q, unsigned producer, bool published)
{
    for (uint64_t i = 0; i < q->count;) {
        uint64_t at = (q->first + i) % QUEUE;
        bool open = q->at[at].producer == producer && q->at[at].open;
        if (open && published)
            q->at[at].open = false;
        if (open && !published)
            queue_take(q, i);
        else
            i++;
    }
}

/* The record that was read must be the first that is published, its producer's or everybody's; and is gone from the
 * queue then. */
static void queue_expect(struct queue *q, const ring *r, unsigned producer, uint32_t len, uint64_t lost)
{
    for (; lost > 0; lost--) {
        cr_assert(q->count > 0 && !q->at[q->first % QUEUE].open, "%s: more lost than was there", r->kind->name);
        queue_take(q, 0);
    }
    uint64_t i = 0;
    while (i < q->count && (q->at[(q->first + i) % QUEUE].open ||
                            (!r->kind->one_order && q->at[(q->first + i) % QUEUE].producer != producer)))
        i++;
    cr_assert_lt(i, q->count, "%s: a record that nobody pushed", r->kind->name);
    uint64_t at = (q->first + i) % QUEUE;
    cr_assert(q->at[at].producer == producer && q->at[at].len == len &&
                  record_is(buffer, producer, q->at[at].seq, len),
              "%s: not the record that is next", r->kind->name);
    queue_take(q, i);
}

/* One record, copied or written in place, perhaps shorter than was reserved, perhaps after a reservation that was given
 * up. */
static weir_status put(ring *r, struct queue *q, unsigned p, uint64_t len, bool more, uint64_t bits)
{
    uint64_t seq = q->seq[p], more_room = r->kind->record_max(r->capacity) - len;
    uint64_t room = len + (bits & 1 ? (bits >> 8) % (more_room + 1) : 0);
    void *slot = NULL;
    if (bits % 8 < 4)
        return push(r, p, seq, len, more);
    weir_status status = r->kind->reserve(r, p, room, &slot);
    if (status != WEIR_OK)
        return status;
    memset(slot, 0x5a, room);
    if (bits & 16)
        return push(r, p, seq, len, more); /* given up */
    cr_assert_eq(r->kind->commit(r, p, room + 1, more), WEIR_E_INVALID, "%s", r->kind->name);
    if (bits & 32) { /* the reservation stays */
        r->kind->flush(r, p);
        queue_end_batch(q, p, true);
    }
    record_fill(slot, p, seq, len);
    return r->kind->commit(r, p, len, more);
}

static void random_push(ring *r, struct queue *q, uint64_t *random)
{
    unsigned p = (unsigned)(support_random(random) % r->producers);
    uint32_t max = r->kind->record_max(r->capacity);
    uint64_t bits = support_random(random), how = bits >> 32;
    uint64_t len = bits / 4 % (bits % 4 == 0 || max < 24 ? max + 1 : 24);
    bool more = how % 4 == 0, flushes = (how >> 4) % 16 == 0;
    if (q->count + 1 >= QUEUE)
        return;
    weir_status status = put(r, q, p, len, more, how >> 8);
    if (status == WEIR_FULL)
        cr_assert(!r->kind->lossy || queue_is_open(q, p), "%s is full with no batch open", r->kind->name);
    else
        CHECK_OK(status);
    if (status == WEIR_OK) {
        uint64_t at = (q->first + q->count++) % QUEUE;
        q->at[at].producer = p;
        q->at[at].seq = q->seq[p]++;
        q->at[at].len = len;
        q->at[at].open = more;
    }
    if (flushes || status == WEIR_FULL)
        r->kind->flush(r, p);
    if (flushes || status == WEIR_FULL || !more)
        queue_end_batch(q, p, true);
}

/* One with the first lane alone; r->producers is how many are there. */
static void make_some(ring *r, const ring_kind *kind, uint64_t capacity, uint64_t start)
{
    ring_make(r, kind, kind->producers, capacity, start);
    memset(r->mem, 0xee, r->bytes);
    CHECK_OK(kind->init_some(r, 1, start));
    r->producers = 1;
    ring_attach(r);
}

static void grow(ring *r)
{
    CHECK_OK(r->kind->grow(r->mem, r->bytes, r->producers + 1));
    CHECK_OK(r->kind->attach_producer(r, r->producers));
    r->producers++;
}

static void differential(const ring_kind *kind, uint64_t capacity, uint64_t start, bool grows, uint64_t *random)
{
    static struct queue q;
    ring r;
    memset(&q, 0, sizeof q);
    if (grows)
        make_some(&r, kind, capacity, start);
    else
        ring_make(&r, kind, kind->producers, capacity, start);
    for (uint64_t step = 0; step < support_count(20000); step++) {
        uint64_t what = support_random(random) % 100;
        uint64_t burst = support_random(random) % 16;
        uint32_t len;
        unsigned from;
        uint64_t lost = 0;
        if (r.producers < kind->producers && step % 128 == 127)
            grow(&r);
        if (what < 45) {
            for (uint64_t i = 0; i < burst; i++)
                random_push(&r, &q, random);
        } else if (what < 97) {
            weir_status status = WEIR_OK;
            for (uint64_t i = 0; i < burst && status == WEIR_OK; i++) {
                status = kind->pop_more(&r, buffer, sizeof buffer, &len, &from, &lost);
                if (status == WEIR_FULL && kind->one_run && queue_waiting(&q) > 0) {
                    kind->release(&r);
                    status = kind->pop_more(&r, buffer, sizeof buffer, &len, &from, &lost);
                }
                if (status == WEIR_OK)
                    queue_expect(&q, &r, from, len, kind->lossy ? lost : 0);
                else /* what is lost before a record that is not published yet is told with that one */
                    cr_assert(status == WEIR_EMPTY && queue_waiting(&q) == (kind->lossy ? r.rx.broadcast.lost : 0),
                              "%s: %s, %llu are there", kind->name, weir_status_name(status),
                              (unsigned long long)queue_waiting(&q));
            }
            kind->release(&r);
        } else if (what < 99) { /* a new producer; all it should find is there */
            CHECK_OK(kind->attach_producer(&r, (unsigned)(burst % r.producers)));
            queue_end_batch(&q, (unsigned)(burst % r.producers), false);
        } else if (!kind->lossy) { /* another address, and all ends anew */
            ring_move(&r);
            ring_attach(&r);
            for (unsigned p = 0; p < r.producers; p++)
                queue_end_batch(&q, p, false);
        }
    }
    ring_free(&r);
}

Test(conformance, random_operations_give_what_plain_queues_give, .timeout = 120)
{
    uint64_t random = support_seed();
    for (size_t k = 0; k < RING_KINDS; k++)
        for (size_t s = 0; s < STARTS; s++)
            for (uint64_t capacity = ring_kinds[k].capacity_min; capacity <= 4096; capacity *= 4)
                differential(&ring_kinds[k], capacity, starts[s], false, &random);
}

Test(conformance, lanes_that_come_under_their_ends_give_what_plain_queues_give, .timeout = 120)
{
    uint64_t random = support_seed();
    for (size_t k = 0; k < RING_KINDS; k++)
        for (uint64_t turn = 0; turn < 20 && ring_kinds[k].grow != NULL; turn++)
            differential(&ring_kinds[k], ring_kinds[k].capacity_min << turn % 5, starts[turn % STARTS], true, &random);
}

/* ---- taken over ---- */

Test(conformance, what_was_not_released_is_seen_again_and_what_was_not_published_never_was)
{
    for (size_t k = 0; k < RING_KINDS; k++) {
        const ring_kind *kind = &ring_kinds[k];
        if (kind->lossy)
            continue; /* its readers hold nothing */
        ring r;
        ring_make(&r, kind, kind->producers, 512, 0);
        for (uint64_t round = 0; round < 100; round++) {
            uint64_t seq = round * 10;
            unsigned p = (unsigned)(round % r.producers);
            for (uint64_t i = 0; i < 4; i++)
                CHECK_OK(push(&r, p, seq + i, 8 + i, false));
            CHECK_OK(push(&r, p, seq + 4, 30, true)); /* its producer is killed here */
            expect(&r, p, seq, 8);
            kind->release(&r);
            expect(&r, p, seq + 1, 9); /* and its consumer here */
            ring_move(&r);
            ring_attach(&r);
            for (uint64_t i = 1; i < 4; i++)
                expect(&r, p, seq + i, 8 + i);
            expect_empty(&r);
            CHECK_OK(push(&r, p, seq + 5, 11, false));
            if (kind->one_run)
                kind->release(&r);
            expect(&r, p, seq + 5, 11);
            kind->release(&r);
            expect_empty(&r);
        }
        ring_free(&r);
    }
}
