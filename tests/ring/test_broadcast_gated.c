/* broadcast-gated beyond the conformance suite: several readers each see all, who gates and who does not, readers that
 * leave, die, come again and come while the writer is at work, every status, and a model of it all at random. */
#include "kinds.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <weir/ring/broadcast_gated_layout.h>

#define SLOTS 4u
#define OLDEST WEIR_BROADCAST_GATED_OLDEST
#define NEWEST WEIR_BROADCAST_GATED_NEWEST
#define RESUME WEIR_BROADCAST_GATED_RESUME

static const uint64_t starts[] = { 0, (UINT64_C(1) << 32) - 512, (UINT64_C(1) << 63) - 512, 0 - UINT64_C(512) };
#define STARTS (sizeof starts / sizeof starts[0])

typedef weir_broadcast_gated_reader reader;

typedef struct stage {
    void *mem;
    uint64_t bytes, capacity;
    weir_broadcast_gated_writer w;
    uint64_t dead[SLOTS];
    uint64_t sent; /* the next record's number */
} stage;

static unsigned char buffer[1 << 12];

static void attach_writer(stage *s)
{
    CHECK_OK(weir_broadcast_gated_writer_attach(&s->w, s->mem, s->bytes, s->dead, SLOTS));
}

static void begin(stage *s, uint64_t capacity, uint64_t start)
{
    *s = (stage){ .capacity = capacity, .bytes = weir_broadcast_gated_footprint(SLOTS, capacity) };
    s->mem = aligned_alloc(128, (s->bytes + 127) / 128 * 128);
    CHECK(s->mem != NULL);
    memset(s->mem, 0xee, s->bytes);
    CHECK_OK(weir_broadcast_gated_init(s->mem, s->bytes, SLOTS, capacity, start));
    attach_writer(s);
}

static void end(stage *s) { free(s->mem); }

static weir_broadcast_gated_layout *control(const stage *s) { return s->mem; }

static weir_status join(stage *s, reader *r, uint32_t slot, uint32_t generation, weir_broadcast_gated_start start)
{
    return weir_broadcast_gated_reader_attach(r, s->mem, s->bytes, slot, generation, start);
}

static weir_status push(stage *s, uint64_t len)
{
    record_fill(buffer, 0, s->sent, len);
    weir_status status = weir_broadcast_gated_push(&s->w, buffer, len);
    s->sent += status == WEIR_OK;
    return status;
}

/* Pushes records of 8 bytes, of which the ring holds (capacity - 8) / 16, until it is full. */
static uint64_t fill(stage *s)
{
    weir_status status;
    uint64_t count = 0;
    while ((status = push(s, 8)) == WEIR_OK)
        count++;
    CHECK_STATUS(status, WEIR_FULL);
    return count;
}

static void expect(reader *r, uint64_t seq, uint64_t len)
{
    uint32_t got = 0;
    CHECK_OK(weir_broadcast_gated_pop_more(r, buffer, sizeof buffer, &got));
    cr_assert(got == len && record_is(buffer, 0, seq, len), "not record %llu", (unsigned long long)seq);
}

static void expect_empty(reader *r)
{
    uint32_t len = 0;
    CHECK_STATUS(weir_broadcast_gated_ready(r), WEIR_EMPTY);
    CHECK_STATUS(weir_broadcast_gated_pop(r, buffer, sizeof buffer, &len), WEIR_EMPTY);
}

/* Reads the records of 8 bytes from one to before another. */
static void read_8(reader *r, uint64_t from, uint64_t to)
{
    for (; from < to; from++)
        expect(r, from, 8);
}

/* ---- sizes and arguments ---- */

Test(broadcast_gated, footprint_knows_its_limits)
{
    cr_assert_eq(weir_broadcast_gated_footprint(1, 64), 256 + 128 + 64);
    cr_assert_eq(weir_broadcast_gated_footprint(256, 4096), 256 + 256 * 128 + 4096);
    cr_assert_eq(weir_broadcast_gated_footprint(0, 64), 0);
    cr_assert_eq(weir_broadcast_gated_footprint(257, 64), 0);
    cr_assert_eq(weir_broadcast_gated_footprint(UINT32_MAX, 64), 0);
    cr_assert_eq(weir_broadcast_gated_footprint(1, 32), 0);
    cr_assert_eq(weir_broadcast_gated_footprint(1, 96), 0);
    cr_assert_eq(weir_broadcast_gated_footprint(1, WEIR_SPSC_CAPACITY_MAX * 2), 0);
    cr_assert_gt(weir_broadcast_gated_footprint(256, WEIR_SPSC_CAPACITY_MAX), WEIR_SPSC_CAPACITY_MAX);
    cr_assert_eq(weir_broadcast_gated_record_max(64), 16);
    cr_assert_eq(weir_broadcast_gated_record_max(65), 0);
}

Test(broadcast_gated, init_refuses_what_is_wrong)
{
    unsigned char *mem = aligned_alloc(128, 4096), *before = malloc(4096);
    memset(mem, 0xee, 4096);
    memcpy(before, mem, 4096);
    errno = 12345;
    CHECK_STATUS(weir_broadcast_gated_init(NULL, 4096, 2, 64, 0), WEIR_E_INVALID);
    CHECK_STATUS(weir_broadcast_gated_init(mem + 8, 4000, 2, 64, 0), WEIR_E_INVALID);
    cr_assert(strstr(weir_error_detail(), "aligned") != NULL);
    CHECK_STATUS(weir_broadcast_gated_init(mem, 4096, 0, 64, 0), WEIR_E_INVALID);
    CHECK_STATUS(weir_broadcast_gated_init(mem, UINT64_MAX, 257, 64, 0), WEIR_E_INVALID);
    cr_assert(strstr(weir_error_detail(), "257 readers") != NULL);
    CHECK_STATUS(weir_broadcast_gated_init(mem, 4096, 2, 63, 0), WEIR_E_INVALID);
    CHECK_STATUS(weir_broadcast_gated_init(mem, 256 + 2 * 128 + 64 - 1, 2, 64, 0), WEIR_E_INVALID);
    cr_assert(strstr(weir_error_detail(), "needs 576 bytes, not 575") != NULL);
    CHECK_STATUS(weir_broadcast_gated_init(mem, 4096, 2, 64, 4), WEIR_E_INVALID);
    cr_assert(memcmp(mem, before, 4096) == 0 && errno == 12345);
    CHECK_OK(weir_broadcast_gated_init(mem, 576, 2, 64, 0 - UINT64_C(8)));
    free(mem);
    free(before);
}

/* Both attaches, of which each must answer so, and leave handles that answer so. */
static void attaches_refuse(stage *s, void *mem, uint64_t bytes, weir_status expected)
{
    weir_broadcast_gated_writer w;
    reader r;
    uint64_t dead[SLOTS];
    uint32_t count = 77;
    const void *msg;
    CHECK_STATUS(weir_broadcast_gated_readers(mem, bytes, &count), expected);
    cr_assert_eq(count, 77);
    CHECK_STATUS(weir_broadcast_gated_writer_attach(&w, mem, bytes, dead, SLOTS), expected);
    CHECK_STATUS(weir_broadcast_gated_push(&w, s, 1), WEIR_E_STATE);
    CHECK_STATUS(weir_broadcast_gated_reader_attach(&r, mem, bytes, 0, 1, OLDEST), expected);
    CHECK_STATUS(weir_broadcast_gated_peek(&r, &msg, &count), WEIR_E_STATE);
    CHECK_STATUS(weir_broadcast_gated_reader_detach(&r), WEIR_E_STATE);
}

static void attaches_refuse_word(stage *s, weir_atomic_u64 *word, uint64_t value, weir_status expected)
{
    uint64_t old = weir_load_rlx(word);
    weir_store_rlx(word, value);
    attaches_refuse(s, s->mem, s->bytes, expected);
    weir_store_rlx(word, old);
}

Test(broadcast_gated, attach_refuses_what_is_no_such_ring)
{
    stage s;
    begin(&s, 128, 0);
    errno = 12345;
    attaches_refuse(&s, NULL, s.bytes, WEIR_E_INVALID);
    attaches_refuse(&s, (unsigned char *)s.mem + 8, s.bytes - 8, WEIR_E_INVALID);
    attaches_refuse(&s, s.mem, 255, WEIR_E_NOT_WEIR);
    attaches_refuse(&s, s.mem, s.bytes - 1, WEIR_E_CORRUPT);
    attaches_refuse_word(&s, &control(&s)->magic, 0, WEIR_E_NOT_WEIR);
    attaches_refuse_word(&s, &control(&s)->version, 2, WEIR_E_VERSION);
    attaches_refuse_word(&s, &control(&s)->capacity, 256, WEIR_E_CORRUPT);
    attaches_refuse_word(&s, &control(&s)->capacity, 96, WEIR_E_CORRUPT);
    attaches_refuse_word(&s, &control(&s)->readers, 0, WEIR_E_CORRUPT);
    attaches_refuse_word(&s, &control(&s)->readers, SLOTS + 1, WEIR_E_CORRUPT);
    attaches_refuse_word(&s, &control(&s)->readers, UINT64_C(1) << 32 | SLOTS, WEIR_E_CORRUPT);
    uint32_t count = 0;
    CHECK_OK(weir_broadcast_gated_readers(s.mem, s.bytes, &count));
    cr_assert(count == SLOTS && errno == 12345);
    end(&s);
}

Test(broadcast_gated, attach_refuses_wrong_arguments_and_writes_nothing)
{
    stage s;
    reader r;
    begin(&s, 128, 0);
    unsigned char *before = malloc(s.bytes);
    memcpy(before, s.mem, s.bytes);
    CHECK_STATUS(weir_broadcast_gated_writer_attach(&s.w, s.mem, s.bytes, NULL, SLOTS), WEIR_E_INVALID);
    CHECK_STATUS(weir_broadcast_gated_writer_attach(&s.w, s.mem, s.bytes, s.dead, SLOTS - 1), WEIR_E_INVALID);
    CHECK_STATUS(weir_broadcast_gated_push(&s.w, "", 0), WEIR_E_STATE);
    CHECK_STATUS(join(&s, &r, SLOTS, 1, OLDEST), WEIR_E_INVALID);
    CHECK_STATUS(join(&s, &r, UINT32_MAX, 1, OLDEST), WEIR_E_INVALID);
    CHECK_STATUS(join(&s, &r, 0, 1, (weir_broadcast_gated_start)3), WEIR_E_INVALID);
    CHECK_STATUS(weir_broadcast_gated_ready(&r), WEIR_E_STATE);
    attach_writer(&s);
    cr_assert(memcmp(before, s.mem, s.bytes) == 0);
    free(before);
    end(&s);
}

Test(broadcast_gated, unattached_handles_say_so)
{
    weir_broadcast_gated_writer w = { .readers = 0 };
    weir_broadcast_gated_gate gate;
    reader r = { .word = NULL };
    uint32_t count = 0;
    void *slot = NULL;
    const void *msg;
    CHECK_STATUS(weir_broadcast_gated_push(&w, "", 0), WEIR_E_STATE);
    CHECK_STATUS(weir_broadcast_gated_push_more(&w, "", 0), WEIR_E_STATE);
    CHECK_STATUS(weir_broadcast_gated_push_array(&w, "", 0, 1, &count), WEIR_E_STATE);
    CHECK_STATUS(weir_broadcast_gated_reserve(&w, 0, &slot), WEIR_E_STATE);
    CHECK_STATUS(weir_broadcast_gated_commit(&w, 0), WEIR_E_STATE);
    CHECK_STATUS(weir_broadcast_gated_ask(&w, 0), WEIR_E_STATE);
    CHECK_STATUS(weir_broadcast_gated_drained(&w), WEIR_E_STATE);
    CHECK_STATUS(weir_broadcast_gated_gate_from(&w, 0, &gate), WEIR_E_STATE);
    CHECK_STATUS(weir_broadcast_gated_recover(&w, 0, 1), WEIR_E_STATE);
    weir_broadcast_gated_flush(&w);
    CHECK_STATUS(weir_broadcast_gated_peek(&r, &msg, &count), WEIR_E_STATE);
    CHECK_STATUS(weir_broadcast_gated_pop(&r, buffer, 8, &count), WEIR_E_STATE);
    CHECK_STATUS(weir_broadcast_gated_pop_more(&r, buffer, 8, &count), WEIR_E_STATE);
    CHECK_STATUS(weir_broadcast_gated_ready(&r), WEIR_E_STATE);
    CHECK_STATUS(weir_broadcast_gated_reader_detach(&r), WEIR_E_STATE);
    weir_broadcast_gated_release(&r);
}

/* ---- who gates ---- */

Test(broadcast_gated, every_reader_sees_every_record_and_the_slowest_gates)
{
    for (size_t i = 0; i < STARTS; i++) {
        stage s;
        reader r[3];
        begin(&s, 256, starts[i]);
        for (uint32_t slot = 0; slot < 3; slot++)
            CHECK_OK(join(&s, &r[slot], slot + 1, 7 + slot, OLDEST));
        cr_assert_eq(fill(&s), 15); /* 15 records of 16 bytes and the 0 behind them */
        read_8(&r[0], 0, 15);
        expect_empty(&r[0]);
        read_8(&r[1], 0, 4);
        read_8(&r[2], 0, 9);
        cr_assert_eq(fill(&s), 0, "read is not released");
        weir_broadcast_gated_release(&r[0]);
        weir_broadcast_gated_release(&r[2]);
        cr_assert_eq(fill(&s), 0, "the slowest has released nothing");
        weir_broadcast_gated_release(&r[1]);
        cr_assert_eq(fill(&s), 4);
        weir_broadcast_gated_release(&r[0]);
        cr_assert_eq(fill(&s), 0);
        for (unsigned slot = 0; slot < 3; slot++) {
            static const uint64_t next[] = { 15, 4, 9 };
            read_8(&r[slot], next[slot], 19);
            expect_empty(&r[slot]);
            weir_broadcast_gated_release(&r[slot]);
        }
        CHECK_OK(weir_broadcast_gated_drained(&s.w));
        cr_assert_eq(fill(&s), 15);
        end(&s);
    }
}

Test(broadcast_gated, without_readers_it_is_never_full_and_holds_the_last_ones_for_who_comes)
{
    stage s;
    reader r;
    begin(&s, 256, 0);
    for (unsigned i = 0; i < 15; i++)
        CHECK_OK(push(&s, 8));
    CHECK_OK(join(&s, &r, 0, 1, OLDEST)); /* nothing was given up yet */
    read_8(&r, 0, 15);
    CHECK_OK(weir_broadcast_gated_reader_detach(&r));
    for (unsigned i = 0; i < 1000; i++)
        CHECK_OK(push(&s, i % 113));
    CHECK_OK(weir_broadcast_gated_drained(&s.w));
    for (unsigned i = 0; i < 3; i++)
        CHECK_OK(push(&s, 8));
    CHECK_OK(join(&s, &r, 0, 2, NEWEST));
    expect_empty(&r);
    CHECK_OK(push(&s, 8));
    expect(&r, s.sent - 1, 8);
    CHECK_STATUS(join(&s, &r, 0, 3, RESUME), WEIR_OK); /* the record was not released */
    expect(&r, s.sent - 1, 8);
    end(&s);
}

Test(broadcast_gated, a_reader_that_leaves_gates_no_longer_and_may_come_again)
{
    stage s;
    reader a, b;
    begin(&s, 256, 0);
    CHECK_OK(join(&s, &a, 0, 1, OLDEST));
    CHECK_OK(join(&s, &b, 3, 1, OLDEST));
    cr_assert_eq(fill(&s), 15);
    read_8(&b, 0, 10);
    weir_broadcast_gated_release(&b);
    cr_assert_eq(fill(&s), 0);
    CHECK_OK(weir_broadcast_gated_reader_detach(&a));
    CHECK_STATUS(weir_broadcast_gated_reader_detach(&a), WEIR_E_STATE);
    CHECK_STATUS(weir_broadcast_gated_ready(&a), WEIR_E_STATE);
    cr_assert_eq(fill(&s), 10);
    CHECK_STATUS(join(&s, &a, 0, 2, RESUME), WEIR_E_STATE); /* record 0 is given up */
    cr_assert(strstr(weir_error_detail(), "position 0 is given up, up to 160") != NULL, "%s", weir_error_detail());
    CHECK_OK(join(&s, &a, 0, 2, OLDEST));
    read_8(&a, 10, 25);
    read_8(&b, 10, 25);
    weir_broadcast_gated_release(&b);
    cr_assert_eq(fill(&s), 0, "a gates again");
    weir_broadcast_gated_release(&a);
    cr_assert_eq(fill(&s), 15);
    CHECK_OK(weir_broadcast_gated_reader_detach(&b)); /* and comes again at once: it goes on where it was */
    CHECK_OK(join(&s, &b, 3, 2, RESUME));
    read_8(&b, 25, 40);
    end(&s);
}

Test(broadcast_gated, a_dead_reader_gates_until_the_writer_is_told)
{
    stage s;
    reader a, dead;
    begin(&s, 256, 0);
    CHECK_OK(join(&s, &a, 0, 1, OLDEST));
    CHECK_OK(join(&s, &dead, 2, UINT32_MAX, OLDEST));
    fill(&s);
    read_8(&dead, 0, 3);
    read_8(&a, 0, 15);
    weir_broadcast_gated_release(&a);
    cr_assert_eq(fill(&s), 0);
    CHECK_STATUS(weir_broadcast_gated_drained(&s.w), WEIR_FULL);
    CHECK_OK(weir_broadcast_gated_recover(&s.w, 2, UINT32_MAX - 1)); /* stale news of a former one */
    CHECK_OK(weir_broadcast_gated_recover(&s.w, 1, 5));              /* of nobody */
    cr_assert_eq(fill(&s), 0);
    CHECK_STATUS(weir_broadcast_gated_recover(&s.w, SLOTS, 5), WEIR_E_INVALID);
    CHECK_OK(weir_broadcast_gated_recover(&s.w, 2, UINT32_MAX));
    CHECK_OK(weir_broadcast_gated_recover(&s.w, 2, UINT32_MAX));
    CHECK_OK(weir_broadcast_gated_drained(&s.w));
    cr_assert_eq(fill(&s), 15);
    read_8(&a, 15, 30);
    weir_broadcast_gated_release(&a);
    attach_writer(&s); /* a new writer has not been told */
    cr_assert_eq(fill(&s), 0);
    for (unsigned i = 0; i < 100; i++)
        CHECK_STATUS(weir_broadcast_gated_ask(&s.w, 8), WEIR_FULL);
    CHECK_OK(weir_broadcast_gated_recover(&s.w, 2, UINT32_MAX));
    cr_assert_eq(fill(&s), 15);
    end(&s);
}

Test(broadcast_gated, a_dead_readers_slot_taken_over_gates_again_and_stale_news_harm_nobody)
{
    stage s;
    reader a, dead, heir;
    begin(&s, 256, 0);
    CHECK_OK(join(&s, &a, 0, 1, OLDEST));
    CHECK_OK(join(&s, &dead, 1, 1, OLDEST));
    fill(&s);
    read_8(&dead, 0, 3);
    weir_broadcast_gated_release(&dead);
    read_8(&dead, 3, 5);
    CHECK_OK(join(&s, &heir, 1, 2, RESUME)); /* the writer does not even know */
    read_8(&heir, 3, 15);
    read_8(&a, 0, 15);
    weir_broadcast_gated_release(&a);
    cr_assert_eq(fill(&s), 3); /* the heir holds from record 3 on */
    CHECK_OK(weir_broadcast_gated_recover(&s.w, 1, 1));
    cr_assert_eq(fill(&s), 0);
    weir_broadcast_gated_release(&heir);
    cr_assert_eq(fill(&s), 12);
    CHECK_OK(weir_broadcast_gated_recover(&s.w, 1, 2)); /* now it is dead as well */
    CHECK_OK(weir_broadcast_gated_recover(&s.w, 1, 1)); /* and older news come late: they undo nothing */
    read_8(&a, 15, 30);
    weir_broadcast_gated_release(&a);
    cr_assert_eq(fill(&s), 15);
    CHECK_STATUS(join(&s, &heir, 1, 3, RESUME), WEIR_E_STATE);
    cr_assert_eq(weir_load_rlx(&control(&s)->entry[1].word), 0);
    CHECK_OK(join(&s, &heir, 1, 4, NEWEST));
    expect_empty(&heir);
    read_8(&a, 30, 45);
    weir_broadcast_gated_release(&a);
    cr_assert_eq(fill(&s), 15);
    read_8(&a, 45, 60);
    weir_broadcast_gated_release(&a);
    cr_assert_eq(fill(&s), 0, "the last heir gates");
    end(&s);
}

Test(broadcast_gated, gate_from_says_who_gates_and_by_how_much)
{
    stage s;
    reader r[3];
    weir_broadcast_gated_gate gate = { .lag_bytes = 77 };
    begin(&s, 256, starts[3]);
    CHECK_STATUS(weir_broadcast_gated_gate_from(&s.w, 0, &gate), WEIR_EMPTY);
    CHECK_OK(join(&s, &r[0], 1, 10, OLDEST));
    CHECK_OK(join(&s, &r[2], 3, 30, OLDEST));
    fill(&s);
    CHECK_OK(join(&s, &r[1], 2, 20, OLDEST));
    read_8(&r[2], 0, 2);
    weir_broadcast_gated_release(&r[2]);
    CHECK_OK(weir_broadcast_gated_recover(&s.w, 2, 20));
    CHECK_OK(weir_broadcast_gated_gate_from(&s.w, 0, &gate));
    cr_assert(gate.reader == 1 && gate.generation == 10 && gate.lag_bytes == 240);
    CHECK_OK(weir_broadcast_gated_gate_from(&s.w, 2, &gate));
    cr_assert(gate.reader == 3 && gate.generation == 30 && gate.lag_bytes == 208);
    gate.reader = 77;
    CHECK_STATUS(weir_broadcast_gated_gate_from(&s.w, 4, &gate), WEIR_EMPTY);
    CHECK_STATUS(weir_broadcast_gated_gate_from(&s.w, UINT32_MAX, &gate), WEIR_EMPTY);
    cr_assert_eq(gate.reader, 77);
    end(&s);
}

Test(broadcast_gated, drained_waits_for_every_reader_and_for_the_open_batch)
{
    stage s;
    reader a, b;
    begin(&s, 256, 0);
    CHECK_OK(weir_broadcast_gated_drained(&s.w));
    CHECK_OK(join(&s, &a, 0, 1, OLDEST));
    CHECK_OK(join(&s, &b, 1, 1, OLDEST));
    CHECK_OK(push(&s, 8));
    CHECK_STATUS(weir_broadcast_gated_drained(&s.w), WEIR_FULL);
    read_8(&a, 0, 1);
    weir_broadcast_gated_release(&a);
    CHECK_STATUS(weir_broadcast_gated_drained(&s.w), WEIR_FULL);
    read_8(&b, 0, 1);
    CHECK_STATUS(weir_broadcast_gated_drained(&s.w), WEIR_FULL);
    weir_broadcast_gated_release(&b);
    CHECK_OK(weir_broadcast_gated_drained(&s.w));
    CHECK_OK(weir_broadcast_gated_push_more(&s.w, "", 1));
    CHECK_STATUS(weir_broadcast_gated_drained(&s.w), WEIR_FULL);
    end(&s);
}

Test(broadcast_gated, a_newcomer_begins_at_the_oldest_record_or_behind_the_newest)
{
    for (size_t i = 0; i < STARTS; i++) {
        stage s;
        reader a, old, new;
        begin(&s, 256, starts[i]);
        CHECK_OK(join(&s, &a, 0, 1, OLDEST));
        fill(&s);
        read_8(&a, 0, 7);
        weir_broadcast_gated_release(&a);
        CHECK_OK(join(&s, &old, 1, 1, OLDEST)); /* released by all, not yet given up */
        CHECK_OK(join(&s, &new, 2, 1, NEWEST));
        expect_empty(&new);
        read_8(&old, 0, 1);
        cr_assert_eq(fill(&s), 0);
        weir_broadcast_gated_release(&old);
        cr_assert_eq(fill(&s), 1);
        expect(&new, 15, 8);
        expect_empty(&new);
        read_8(&old, 1, 16);
        read_8(&a, 7, 16);
        end(&s);
    }
}

Test(broadcast_gated, a_newcomer_sees_nothing_of_an_open_batch_until_its_flush)
{
    stage s;
    reader r[3];
    begin(&s, 256, 0);
    CHECK_OK(push(&s, 8));
    for (uint64_t i = 0; i < 3; i++) {
        record_fill(buffer, 0, s.sent++, 8);
        CHECK_OK(weir_broadcast_gated_push_more(&s.w, buffer, 8));
    }
    CHECK_OK(join(&s, &r[0], 0, 1, NEWEST));
    CHECK_OK(join(&s, &r[1], 1, 1, OLDEST));
    expect_empty(&r[0]);
    read_8(&r[1], 0, 1);
    expect_empty(&r[1]);
    weir_broadcast_gated_flush(&s.w);
    read_8(&r[0], 1, 2);
    weir_broadcast_gated_release(&r[0]); /* in the middle of the batch */
    CHECK_OK(weir_broadcast_gated_reader_detach(&r[0]));
    CHECK_OK(join(&s, &r[2], 0, 2, RESUME));
    read_8(&r[2], 2, 4);
    read_8(&r[1], 1, 4);
    expect_empty(&r[1]);
    expect_empty(&r[2]);
    end(&s);
}

Test(broadcast_gated, many_readers_each_with_its_own_place)
{
    enum { MANY = WEIR_BROADCAST_GATED_READERS_MAX };
    static reader r[MANY];
    static uint64_t dead[MANY];
    stage s = { .capacity = 1024, .bytes = weir_broadcast_gated_footprint(MANY, 1024) };
    s.mem = aligned_alloc(128, s.bytes);
    CHECK(s.mem != NULL);
    CHECK_OK(weir_broadcast_gated_init(s.mem, s.bytes, MANY, s.capacity, starts[3]));
    CHECK_OK(weir_broadcast_gated_writer_attach(&s.w, s.mem, s.bytes, dead, MANY));
    for (uint32_t i = 0; i < MANY; i++)
        CHECK_OK(join(&s, &r[i], i, 1, OLDEST));
    cr_assert_eq(fill(&s), 63);
    for (uint64_t round = 0; round < 8; round++)
        for (uint32_t i = 0; i < MANY; i++) {
            read_8(&r[i], round * 9, round * 9 + 9);
            weir_broadcast_gated_release(&r[i]);
            cr_assert_eq(fill(&s), i == MANY - 1 ? 9 : 0, "reader %u", i);
        }
    CHECK_OK(weir_broadcast_gated_recover(&s.w, 255, 1));
    end(&s);
}

/* ---- records ---- */

Test(broadcast_gated, an_array_appears_at_once_as_far_as_it_fits)
{
    stage s;
    reader a, b;
    unsigned char msgs[40 * 8];
    uint32_t pushed = 77;
    begin(&s, 256, 0);
    CHECK_OK(join(&s, &a, 0, 1, OLDEST));
    CHECK_OK(join(&s, &b, 1, 1, OLDEST));
    for (uint64_t i = 0; i < 40; i++)
        record_fill(msgs + i * 8, 0, i, 8);
    CHECK_STATUS(weir_broadcast_gated_push_array(&s.w, msgs, 113, 1, &pushed), WEIR_E_TOO_LARGE);
    cr_assert_eq(pushed, 0);
    CHECK_STATUS(weir_broadcast_gated_push_array(&s.w, msgs, 8, 40, &pushed), WEIR_FULL);
    cr_assert_eq(pushed, 15);
    read_8(&a, 0, 15);
    weir_broadcast_gated_release(&a);
    CHECK_STATUS(weir_broadcast_gated_push_array(&s.w, msgs + 15 * 8, 8, 25, &pushed), WEIR_FULL);
    cr_assert_eq(pushed, 0);
    read_8(&b, 0, 12);
    weir_broadcast_gated_release(&b);
    CHECK_OK(weir_broadcast_gated_push_array(&s.w, msgs + 15 * 8, 8, 12, &pushed));
    cr_assert_eq(pushed, 12);
    read_8(&a, 15, 27);
    read_8(&b, 12, 27);
    expect_empty(&a);
    CHECK_STATUS(weir_broadcast_gated_push_array(&s.w, msgs, 8, 1, &pushed), WEIR_FULL);
    CHECK_OK(weir_broadcast_gated_push_array(&s.w, msgs, 8, 0, &pushed));
    weir_broadcast_gated_release(&a);
    weir_broadcast_gated_release(&b);
    CHECK_OK(weir_broadcast_gated_push_array(&s.w, msgs + 27 * 8, 8, 13, &pushed));
    read_8(&b, 27, 40);
    end(&s);
}

Test(broadcast_gated, in_place_calls_and_their_statuses)
{
    stage s;
    reader a, b;
    void *slot = NULL;
    const void *msg = NULL;
    uint32_t len = 0;
    begin(&s, 256, 0);
    CHECK_OK(join(&s, &a, 0, 1, OLDEST));
    CHECK_OK(join(&s, &b, 1, 1, OLDEST));
    CHECK_STATUS(weir_broadcast_gated_reserve(&s.w, 113, &slot), WEIR_E_TOO_LARGE);
    CHECK_STATUS(weir_broadcast_gated_commit(&s.w, 0), WEIR_E_STATE);
    CHECK_OK(weir_broadcast_gated_reserve(&s.w, 40, &slot));
    memcpy(slot, "in place", 8);
    CHECK_STATUS(weir_broadcast_gated_commit(&s.w, 41), WEIR_E_INVALID);
    CHECK_OK(weir_broadcast_gated_commit_more(&s.w, 8));
    CHECK_STATUS(weir_broadcast_gated_peek(&a, &msg, &len), WEIR_EMPTY);
    CHECK_OK(weir_broadcast_gated_reserve(&s.w, 112, &slot));
    CHECK_OK(weir_broadcast_gated_commit(&s.w, 0));
    CHECK_OK(weir_broadcast_gated_peek(&a, &msg, &len));
    cr_assert(len == 8 && memcmp(msg, "in place", 8) == 0);
    CHECK_STATUS(weir_broadcast_gated_pop(&b, buffer, 7, &len), WEIR_E_TOO_SMALL);
    cr_assert_eq(len, 8);
    s.sent = 100;
    cr_assert_eq(fill(&s), 14);
    CHECK_STATUS(weir_broadcast_gated_reserve(&s.w, 0, &slot), WEIR_FULL);
    cr_assert_eq(memcmp(msg, "in place", 8), 0, "what is not released stays");
    weir_broadcast_gated_release(&a);
    CHECK_STATUS(weir_broadcast_gated_reserve(&s.w, 0, &slot), WEIR_FULL);
    CHECK_OK(weir_broadcast_gated_pop(&b, buffer, 8, &len));
    CHECK_OK(weir_broadcast_gated_reserve(&s.w, 0, &slot));
    end(&s);
}

/* ---- what no reader and no writer writes ---- */

static void all_say_corrupt(stage *s)
{
    weir_broadcast_gated_gate gate;
    uint32_t pushed = 0;
    void *slot;
    CHECK_STATUS(weir_broadcast_gated_push(&s->w, "", 0), WEIR_E_CORRUPT);
    CHECK_STATUS(weir_broadcast_gated_push_more(&s->w, "", 0), WEIR_E_CORRUPT);
    CHECK_STATUS(weir_broadcast_gated_push_array(&s->w, "", 0, 1, &pushed), WEIR_E_CORRUPT);
    CHECK_STATUS(weir_broadcast_gated_reserve(&s->w, 0, &slot), WEIR_E_CORRUPT);
    CHECK_STATUS(weir_broadcast_gated_commit(&s->w, 0), WEIR_E_CORRUPT);
    CHECK_STATUS(weir_broadcast_gated_ask(&s->w, 0), WEIR_E_CORRUPT);
    CHECK_STATUS(weir_broadcast_gated_drained(&s->w), WEIR_E_CORRUPT);
    CHECK_STATUS(weir_broadcast_gated_gate_from(&s->w, 0, &gate), WEIR_E_CORRUPT);
    CHECK_STATUS(weir_broadcast_gated_recover(&s->w, 0, 1), WEIR_E_CORRUPT);
}

/* Each way of the writer to read entries finds it, and the handle then says so for good. */
static void entry_is_corrupt(stage *s, uint64_t word, uint64_t cursor)
{
    weir_broadcast_gated_gate gate;
    uint32_t pushed = 0;
    for (unsigned way = 0; way < 4; way++) {
        attach_writer(s);
        weir_store_rlx(&control(s)->entry[2].word, word);
        weir_store_rlx(&control(s)->entry[2].cursor, cursor);
        if (way == 0)
            CHECK_STATUS(weir_broadcast_gated_push(&s->w, "", 0), WEIR_E_CORRUPT);
        else if (way == 1)
            CHECK_STATUS(weir_broadcast_gated_drained(&s->w), WEIR_E_CORRUPT);
        else if (way == 2)
            CHECK_STATUS(weir_broadcast_gated_gate_from(&s->w, 1, &gate), WEIR_E_CORRUPT);
        else
            CHECK_STATUS(weir_broadcast_gated_push_array(&s->w, "", 0, 1, &pushed), WEIR_E_CORRUPT);
        cr_assert(strstr(weir_error_detail(), "reader 2") != NULL);
        weir_store_rlx(&control(s)->entry[2].word, 0);
        all_say_corrupt(s);
    }
}

Test(broadcast_gated, an_impossible_entry_poisons_the_writer)
{
    stage s;
    reader r;
    begin(&s, 256, 0);
    CHECK_OK(join(&s, &r, 0, 1, OLDEST));
    fill(&s);
    const uint64_t present = UINT64_C(5) << 32 | 1;
    entry_is_corrupt(&s, present, 248);          /* beyond what is published, 240 */
    entry_is_corrupt(&s, present, 4);            /* between two words */
    entry_is_corrupt(&s, present, INT64_MAX - 7);
    entry_is_corrupt(&s, UINT64_C(5) << 32, 0);  /* a generation without presence */
    entry_is_corrupt(&s, UINT64_C(5) << 32 | 3, 0);
    entry_is_corrupt(&s, 2, 0);
    attach_writer(&s); /* far behind, but it may be: somebody died there long ago */
    weir_store_rlx(&control(&s)->entry[2].cursor, 240 - (UINT64_C(1) << 62));
    weir_store_rlx(&control(&s)->entry[2].word, present);
    cr_assert_eq(fill(&s), 0);
    CHECK_OK(weir_broadcast_gated_recover(&s.w, 2, 5));
    read_8(&r, 0, 15);
    weir_broadcast_gated_release(&r);
    cr_assert_eq(fill(&s), 15);
    end(&s);
}

Test(broadcast_gated, an_impossible_oldest_record_or_header_is_corrupt)
{
    stage s;
    reader r, other;
    uint32_t len = 0;
    begin(&s, 256, 0);
    CHECK_OK(join(&s, &r, 0, 1, OLDEST));
    fill(&s);
    weir_store_rlx(&control(&s)->announced, 4);
    CHECK_STATUS(join(&s, &other, 1, 1, OLDEST), WEIR_E_CORRUPT);
    CHECK_STATUS(weir_broadcast_gated_ready(&other), WEIR_E_STATE);
    CHECK_STATUS(weir_broadcast_gated_writer_attach(&s.w, s.mem, s.bytes, s.dead, SLOTS), WEIR_E_CORRUPT);
    weir_store_rlx(&control(&s)->announced, 8); /* in the middle of a record */
    CHECK_STATUS(weir_broadcast_gated_writer_attach(&s.w, s.mem, s.bytes, s.dead, SLOTS), WEIR_E_CORRUPT);
    CHECK_STATUS(join(&s, &other, 1, 1, NEWEST), WEIR_E_CORRUPT);
    cr_assert_eq(weir_load_rlx(&control(&s)->entry[1].word), 0, "it does not gate");
    CHECK_OK(join(&s, &other, 1, 1, OLDEST));
    CHECK_STATUS(weir_broadcast_gated_pop(&other, buffer, 8, &len), WEIR_E_CORRUPT);
    CHECK_STATUS(weir_broadcast_gated_ready(&other), WEIR_E_CORRUPT);
    CHECK_OK(weir_broadcast_gated_reader_detach(&other)); /* it can leave all the same */
    cr_assert_eq(weir_load_rlx(&control(&s)->entry[1].word), 0);
    weir_store_rlx(&control(&s)->entry[1].cursor, 12);
    CHECK_STATUS(join(&s, &other, 1, 2, RESUME), WEIR_E_STATE); /* no place to resume at */
    end(&s);
}

/* Words change under living ends and between them; every call is made, and none does more than answer. */
static void allowed(weir_status status)
{
    bool fault = status == WEIR_E_CORRUPT || status == WEIR_E_STATE || status == WEIR_E_NOT_WEIR ||
                 status == WEIR_E_VERSION || status == WEIR_E_INVALID || status == WEIR_E_TOO_SMALL ||
                 status == WEIR_E_TOO_LARGE;
    cr_assert(status == WEIR_OK || status == WEIR_EMPTY || status == WEIR_FULL || status == WEIR_AGAIN || fault,
              "status %d", (int)status);
}

static void any_call(stage *s, reader *r, uint64_t bits)
{
    weir_broadcast_gated_gate gate;
    uint32_t slot = bits >> 8 & 3, count = 0;
    uint64_t len = bits >> 16 & 31;
    const void *msg = NULL;
    void *room = NULL;
    switch (bits % 14) {
    case 0:
        allowed(join(s, &r[slot], slot, (uint32_t)(bits >> 20 & 7), (weir_broadcast_gated_start)(bits >> 32 & 3)));
        break;
    case 1:
        allowed(weir_broadcast_gated_writer_attach(&s->w, s->mem, s->bytes, s->dead, SLOTS));
        break;
    case 2:
        allowed(weir_broadcast_gated_push_array(&s->w, buffer, len, bits >> 24 & 7, &count));
        break;
    case 3:
        if (weir_broadcast_gated_reserve(&s->w, len, &room) == WEIR_OK)
            memset(room, 1, len);
        break;
    case 4:
        allowed(weir_broadcast_gated_commit_more(&s->w, len));
        break;
    case 5:
        weir_broadcast_gated_flush(&s->w);
        break;
    case 6:
        allowed(weir_broadcast_gated_drained(&s->w));
        break;
    case 7:
        allowed(weir_broadcast_gated_gate_from(&s->w, slot, &gate));
        break;
    case 8:
        allowed(weir_broadcast_gated_recover(&s->w, slot, (uint32_t)(bits >> 20 & 7)));
        break;
    case 9:
        if (weir_broadcast_gated_peek(&r[slot], &msg, &count) == WEIR_OK)
            memcpy(buffer, msg, count); /* all of it is there */
        break;
    case 10:
        weir_broadcast_gated_release(&r[slot]);
        break;
    case 11:
        allowed(weir_broadcast_gated_reader_detach(&r[slot]));
        break;
    default:
        allowed(weir_broadcast_gated_push(&s->w, buffer, len));
    }
}

Test(broadcast_gated, any_bytes_give_a_status, .timeout = 120)
{
    uint64_t random = support_seed();
    for (uint64_t round = 0; round < support_count(20000); round++) {
        stage s;
        reader r[SLOTS] = { { .word = NULL } };
        begin(&s, 64 << round % 3, starts[round % STARTS]);
        for (unsigned i = 0; i < 60; i++) {
            uint64_t bits = support_random(&random), value = support_random(&random), kind = bits & 7;
            if (i > 10 && i % 4 == 0) {
                weir_atomic_u64 *word = weir_word_at(s.mem, (bits >> 8) % (s.bytes / 8) * 8);
                uint64_t old = weir_load_rlx(word);
                weir_store_rlx(word, kind == 0   ? value
                                     : kind == 1 ? old ^ UINT64_C(1) << value % 64
                                     : kind == 2 ? old + (value & 15) * 8 - 64
                                     : kind == 3 ? WEIR_SPSC_DATA | (value & 127)
                                     : kind == 4 ? WEIR_SPSC_PAD | (value & 127)
                                     : kind == 5 ? (value & 7) << 32 | 1
                                                 : 0);
            }
            any_call(&s, r, support_random(&random) >> 4);
        }
        end(&s);
    }
}

/* ---- a writer that gives up records at every moment ---- */

#if defined(__x86_64__)
static weir_atomic_u64 *announced;

static void give_up_one_more(int signal)
{
    (void)signal;
    weir_store_rlx(announced, weir_load_rlx(announced) + 8);
}

/* The red zone below the stack pointer may be in use. */
#define SET_TRAP(how)                                                                                                 \
    __asm__ __volatile__("lea -128(%%rsp), %%rsp\n\tpushfq\n\t" how "\n\tpopfq\n\tlea 128(%%rsp), %%rsp" ::           \
                             : "memory", "cc")

Test(broadcast_gated, a_newcomer_overtaken_at_each_try_says_again_and_does_not_gate)
{
    stage s;
    reader r;
    struct sigaction action = { .sa_handler = give_up_one_more };
    begin(&s, 256, 0);
    announced = &control(&s)->announced;
    CHECK(sigaction(SIGTRAP, &action, NULL) == 0);
    SET_TRAP("orq $0x100, (%%rsp)"); /* behind each instruction */
    weir_status status = join(&s, &r, 1, 1, OLDEST);
    SET_TRAP("andq $~0x100, (%%rsp)");
    if (weir_load_rlx(announced) == 0)
        cr_skip_test("the trap flag does nothing here");
    CHECK_STATUS(status, WEIR_AGAIN);
    cr_assert_eq(weir_load_rlx(&control(&s)->entry[1].word), 0);
    CHECK_STATUS(weir_broadcast_gated_ready(&r), WEIR_E_STATE);
    end(&s);
}
#endif

/* ---- all of it at random, against a model ---- */

typedef struct model {
    struct {
        bool gates, told, lives; /* told: the writer knows that it is dead */
        uint64_t released, next; /* records */
        uint32_t generation;
    } slot[SLOTS];
    uint64_t pos[4096 + 1]; /* where record i mod 4096 begins */
    uint32_t len[4096];
    uint64_t sent, published, limit_pos, announced;
} model;

static uint64_t least(const model *m)
{
    uint64_t at = m->published;
    for (unsigned i = 0; i < SLOTS; i++)
        if (m->slot[i].gates && !m->slot[i].told && m->slot[i].released < at)
            at = m->slot[i].released;
    return at;
}

/* Is there room?  The writer asks when there seems to be none. */
static bool model_place(model *m, uint64_t capacity, uint64_t len, uint64_t *begin_pos)
{
    uint64_t pos = m->pos[m->sent % 4096], size = 8 + (len + 7) / 8 * 8, room = capacity - pos % capacity;
    *begin_pos = pos + (size > room ? room : 0);
    if ((int64_t)(m->limit_pos - (*begin_pos + size + 8)) >= 0)
        return true;
    uint64_t at = least(m);
    if (at > m->announced)
        m->announced = at;
    if ((int64_t)(m->pos[at % 4096] + capacity - m->limit_pos) > 0)
        m->limit_pos = m->pos[at % 4096] + capacity;
    return (int64_t)(m->limit_pos - (*begin_pos + size + 8)) >= 0;
}

static void model_push(stage *s, model *m, uint64_t bits)
{
    uint32_t max = weir_broadcast_gated_record_max(s->capacity);
    uint64_t len = bits % 4 == 0 ? bits / 4 % (max + 1) : bits / 4 % 24 % (max + 1), begin_pos = 0;
    bool more = bits >> 40 & 1, room = model_place(m, s->capacity, len, &begin_pos);
    record_fill(buffer, 0, m->sent, len);
    weir_status status = more ? weir_broadcast_gated_push_more(&s->w, buffer, len)
                              : weir_broadcast_gated_push(&s->w, buffer, len);
    CHECK_STATUS(status, room ? WEIR_OK : WEIR_FULL);
    if (!room) {
        weir_broadcast_gated_flush(&s->w);
        m->published = m->sent;
        return;
    }
    m->len[m->sent % 4096] = (uint32_t)len;
    m->sent++;
    m->pos[m->sent % 4096] = begin_pos + 8 + (len + 7) / 8 * 8;
    if (!more)
        m->published = m->sent;
}

static void model_read(model *m, reader *r, unsigned i, uint64_t bits)
{
    if (!m->slot[i].lives)
        return;
    for (uint64_t n = bits % 8; n > 0; n--) {
        if (m->slot[i].next == m->published) {
            expect_empty(r);
            m->slot[i].released = m->slot[i].next; /* by pop: not at all, but read */
            weir_broadcast_gated_release(r);
            return;
        }
        expect(r, m->slot[i].next, m->len[m->slot[i].next % 4096]);
        m->slot[i].next++;
    }
    if (bits & 64) {
        weir_broadcast_gated_release(r);
        m->slot[i].released = m->slot[i].next;
    }
}

/* A holder comes, whose former one has left, or is dead whether the writer knows or not. */
static void model_join(stage *s, model *m, reader *r, unsigned i, uint64_t bits)
{
    weir_broadcast_gated_start start = bits % 3 == 0 ? OLDEST : bits % 3 == 1 ? NEWEST : RESUME;
    if (m->slot[i].lives)
        return;
    bool held = m->slot[i].released >= m->announced;
    CHECK_STATUS(join(s, r, i, ++m->slot[i].generation, start), start == RESUME && !held ? WEIR_E_STATE : WEIR_OK);
    m->slot[i].told = false;
    m->slot[i].lives = m->slot[i].gates = start != RESUME || held;
    if (start != RESUME)
        m->slot[i].released = start == OLDEST ? m->announced : m->published;
    m->slot[i].next = m->slot[i].released;
}

static void model_go(stage *s, model *m, reader *r, unsigned i, uint64_t bits)
{
    if (m->slot[i].lives && bits % 2 == 0) {
        CHECK_OK(weir_broadcast_gated_reader_detach(r));
        m->slot[i].gates = m->slot[i].lives = false;
    } else if (m->slot[i].lives) { /* it is killed */
        m->slot[i].lives = false;
    } else if (m->slot[i].generation > 0) {
        CHECK_OK(weir_broadcast_gated_recover(&s->w, i, m->slot[i].generation));
        m->slot[i].told = m->slot[i].gates;
    }
    if (m->slot[i].generation > 1) /* stale news */
        CHECK_OK(weir_broadcast_gated_recover(&s->w, i, m->slot[i].generation - 1));
}

static void model_new_writer(stage *s, model *m)
{
    attach_writer(s);
    m->sent = m->published;
    m->limit_pos = m->pos[m->sent % 4096];
    for (unsigned i = 0; i < SLOTS; i++)
        m->slot[i].told = false;
}

static void differential(uint64_t capacity, uint64_t start, uint64_t *random)
{
    static model m;
    reader r[SLOTS];
    stage s;
    memset(&m, 0, sizeof m);
    begin(&s, capacity, start);
    m.pos[0] = m.limit_pos = start;
    for (uint64_t step = 0; step < support_count(20000); step++) {
        uint64_t bits = support_random(random), what = bits >> 8 & 127, value = bits >> 16;
        unsigned i = (unsigned)(bits & 3);
        if (what < 60)
            model_push(&s, &m, value);
        else if (what < 110)
            model_read(&m, &r[i], i, value);
        else if (what < 118)
            model_join(&s, &m, &r[i], i, value);
        else if (what < 124)
            model_go(&s, &m, &r[i], i, value);
        else if (what < 126)
            model_new_writer(&s, &m);
        else
            CHECK_STATUS(weir_broadcast_gated_drained(&s.w),
                         least(&m) == m.published && m.published == m.sent ? WEIR_OK : WEIR_FULL);
    }
    cr_assert_gt(m.published, support_count(20000) / 20);
    end(&s);
}

Test(broadcast_gated, random_operations_of_all_do_what_a_model_does, .timeout = 120)
{
    uint64_t random = support_seed();
    for (size_t i = 0; i < STARTS; i++)
        for (uint64_t capacity = 64; capacity <= 4096; capacity *= 4)
            differential(capacity, starts[i], &random);
}
