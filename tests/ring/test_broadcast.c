/* Broadcast: who is overrun learns exactly how much was lost, also in the middle of a copy; batches; late
 * readers; a writer killed between any two calls; positions and numbers at the ends of their range; every status. */
#include "kinds.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>
#include <weir/ring/broadcast_layout.h>

#define CAPACITY 1024u

typedef struct cast {
    unsigned char *mem;
    uint64_t bytes, capacity;
    weir_broadcast_writer w;
    weir_broadcast_reader r;
} cast;

static unsigned char buffer[4096];

static const uint64_t starts[] = { 0, 1016, (UINT64_C(1) << 32) - 512, (UINT64_C(1) << 63) - 512, 0 - UINT64_C(512) };
#define STARTS (sizeof starts / sizeof starts[0])

static void open_cast(cast *b, uint64_t capacity, uint64_t start_pos, uint64_t start_number)
{
    b->capacity = capacity;
    b->bytes = weir_broadcast_footprint(capacity);
    CHECK(b->bytes != 0);
    b->mem = aligned_alloc(128, b->bytes);
    CHECK(b->mem != NULL);
    for (uint64_t off = 0; off < b->bytes; off += 8) /* what is not cleared is seen as an empty record */
        weir_store_rlx(weir_word_at(b->mem, off), WEIR_BROADCAST_DATA);
    CHECK_OK(weir_broadcast_init(b->mem, b->bytes, capacity, start_pos, start_number));
    CHECK_OK(weir_broadcast_writer_attach(&b->w, b->mem, b->bytes));
    CHECK_OK(weir_broadcast_reader_attach(&b->r, b->mem, b->bytes));
}

static weir_broadcast_layout *control(const cast *b) { return (weir_broadcast_layout *)(void *)b->mem; }

/* Record seq's length, and its bytes, follow from seq. */
static uint32_t length(uint64_t seq, uint32_t max)
{
    return (uint32_t)(seq * UINT64_C(0x9e3779b97f4a7c15) >> 40) % (max + 1);
}

static weir_status put(cast *b, uint64_t seq, uint32_t len, bool more)
{
    unsigned char bytes[512];
    record_fill(bytes, 0, seq, len);
    return more ? weir_broadcast_push_more(&b->w, bytes, len) : weir_broadcast_push(&b->w, bytes, len);
}

/* The reader's next record is seq, after so many lost. */
static void expect_of(weir_broadcast_reader *r, uint64_t seq, uint32_t len, uint64_t lost)
{
    uint32_t got = 77;
    uint64_t gone = 77;
    memset(buffer, 0xbb, sizeof buffer);
    CHECK_OK(weir_broadcast_read(r, buffer, sizeof buffer, &got, &gone));
    cr_assert(got == len && gone == lost && record_is(buffer, 0, seq, len),
              "record %llu: %u of %u bytes, lost %llu not %llu", (unsigned long long)seq, got, len,
              (unsigned long long)gone, (unsigned long long)lost);
    for (size_t i = len; i < sizeof buffer; i++)
        cr_assert_eq(buffer[i], 0xbb);
}

static void expect_not(weir_broadcast_reader *r, weir_status expected)
{
    uint32_t len = 77;
    uint64_t lost = 77;
    errno = 12345;
    CHECK_STATUS(weir_broadcast_read(r, buffer, sizeof buffer, &len, &lost), expected);
    cr_assert(len == 77 && lost == 77 && errno == 12345);
}

/* Reads all that is there; the next record would have been *seq.  All numbers are of records that were written. */
static uint64_t drain(weir_broadcast_reader *r, uint64_t *seq, uint64_t written, uint32_t max)
{
    uint64_t lost_in_all = 0;
    for (;;) {
        uint32_t len = 0;
        uint64_t lost = 0;
        weir_status status = weir_broadcast_read(r, buffer, sizeof buffer, &len, &lost);
        if (status == WEIR_EMPTY)
            break;
        if (status == WEIR_AGAIN)
            continue;
        CHECK_OK(status);
        *seq += lost;
        lost_in_all += lost;
        cr_assert_lt(*seq, written);
        cr_assert(len == length(*seq, max) && record_is(buffer, 0, *seq, len), "record %llu", (unsigned long long)*seq);
        ++*seq;
    }
    /* With nothing behind the boundary that it went on at, the next record will tell what was lost. */
    cr_assert_eq(*seq + r->lost, written, "ended at %llu of %llu", (unsigned long long)*seq,
                 (unsigned long long)written);
    return lost_in_all;
}

Test(broadcast, sizes_know_their_limits)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t capacity = UINT64_C(1) << bit;
        bool valid = capacity >= 256 && capacity <= WEIR_BROADCAST_CAPACITY_MAX;
        uint64_t max = capacity / 4 - 24;
        cr_assert_eq(weir_broadcast_footprint(capacity), valid ? 512 + capacity : 0);
        cr_assert_eq(weir_broadcast_record_max(capacity), !valid ? 0 : max < 0x7ffffff8 ? max : 0x7ffffff8);
        cr_assert_eq(weir_broadcast_footprint(capacity + 8), 0);
        cr_assert_eq(weir_broadcast_record_max(capacity - 1), 0);
    }
    cr_assert_eq(weir_broadcast_footprint(0), 0);
}

Test(broadcast, init_refuses_what_is_wrong_and_writes_nothing)
{
    unsigned char *mem = aligned_alloc(128, 4096);
    memset(mem, 0xee, 4096);
    errno = 12345;
    CHECK_STATUS(weir_broadcast_init(NULL, 768, 256, 0, 0), WEIR_E_INVALID);
    CHECK_STATUS(weir_broadcast_init(mem + 8, 768, 256, 0, 0), WEIR_E_INVALID);
    cr_assert(strstr(weir_error_detail(), "aligned") != NULL);
    CHECK_STATUS(weir_broadcast_init(mem, 767, 256, 0, 0), WEIR_E_INVALID);
    cr_assert(strstr(weir_error_detail(), "needs 768 bytes, not 767") != NULL);
    CHECK_STATUS(weir_broadcast_init(mem, 4096, 128, 0, 0), WEIR_E_INVALID);
    CHECK_STATUS(weir_broadcast_init(mem, 4096, 257, 0, 0), WEIR_E_INVALID);
    cr_assert(strstr(weir_error_detail(), "capacity 257") != NULL);
    CHECK_STATUS(weir_broadcast_init(mem, UINT64_MAX, WEIR_BROADCAST_CAPACITY_MAX * 2, 0, 0), WEIR_E_INVALID);
    CHECK_STATUS(weir_broadcast_init(mem, 768, 256, 4, 0), WEIR_E_INVALID);
    cr_assert(strstr(weir_error_detail(), "multiple of 8") != NULL);
    cr_assert_eq(errno, 12345);
    for (size_t i = 0; i < 4096; i++)
        cr_assert_eq(mem[i], 0xee);
    CHECK_OK(weir_broadcast_init(mem, 768, 256, 248, 0));
    for (size_t i = 768; i < 4096; i++)
        cr_assert_eq(mem[i], 0xee);
    free(mem);
}

static void attaches_say(cast *b, uint64_t bytes, weir_status writer, weir_status reader)
{
    weir_broadcast_writer w = b->w;
    weir_broadcast_reader r = b->r;
    errno = 12345;
    CHECK_STATUS(weir_broadcast_writer_attach(&w, b->mem, bytes), writer);
    CHECK_STATUS(weir_broadcast_reader_attach(&r, b->mem, bytes), reader);
    cr_assert_eq(errno, 12345);
    CHECK_STATUS(weir_broadcast_push(&w, buffer, 1), WEIR_E_STATE); /* a refused handle is none */
    expect_not(&r, WEIR_E_STATE);
}

Test(broadcast, attach_says_what_is_wrong)
{
    cast b;
    open_cast(&b, CAPACITY, 0, 0);
    attaches_say(&b, 511, WEIR_E_NOT_WEIR, WEIR_E_NOT_WEIR);
    attaches_say(&b, b.bytes - 1, WEIR_E_CORRUPT, WEIR_E_CORRUPT);
    b.mem += 8;
    attaches_say(&b, b.bytes, WEIR_E_INVALID, WEIR_E_INVALID);
    b.mem -= 8;
    weir_store_rlx(&control(&b)->version, 2);
    attaches_say(&b, b.bytes, WEIR_E_VERSION, WEIR_E_VERSION);
    cr_assert(strstr(weir_error_detail(), "layout version 2") != NULL);
    weir_store_rlx(&control(&b)->version, 1);
    weir_store_rlx(&control(&b)->anchor[0].pos, 4);
    weir_store_rlx(&control(&b)->limit, 12);
    attaches_say(&b, b.bytes, WEIR_E_CORRUPT, WEIR_E_CORRUPT);
    weir_store_rlx(&control(&b)->anchor[0].pos, 0);
    weir_store_rlx(&control(&b)->limit, CAPACITY + 8); /* it is overwritten by now */
    attaches_say(&b, b.bytes, WEIR_E_CORRUPT, WEIR_AGAIN);
    weir_store_rlx(&control(&b)->limit, 8);
    static const uint64_t bad[] = { 0, 255, 257, 512 + 256, 2048, UINT64_C(1) << 47, UINT64_MAX };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        weir_store_rlx(&control(&b)->capacity, bad[i]);
        attaches_say(&b, b.bytes, WEIR_E_CORRUPT, WEIR_E_CORRUPT);
        cr_assert(strstr(weir_error_detail(), "states capacity") != NULL);
    }
    weir_store_rlx(&control(&b)->capacity, CAPACITY);
    weir_store_rlx(&control(&b)->magic, 0);
    attaches_say(&b, b.bytes, WEIR_E_NOT_WEIR, WEIR_E_NOT_WEIR);
    free(b.mem);
}

Test(broadcast, calls_on_a_handle_that_is_not_attached_say_so)
{
    weir_broadcast_writer w = { .capacity = 0 };
    weir_broadcast_reader r = { .capacity = 0 };
    void *slot = NULL;
    CHECK_STATUS(weir_broadcast_push(&w, buffer, 0), WEIR_E_STATE);
    CHECK_STATUS(weir_broadcast_push_more(&w, buffer, 9), WEIR_E_STATE);
    CHECK_STATUS(weir_broadcast_reserve(&w, 1, &slot), WEIR_E_STATE);
    CHECK_STATUS(weir_broadcast_commit(&w, 0), WEIR_E_STATE);
    CHECK_STATUS(weir_broadcast_commit_more(&w, 0), WEIR_E_STATE);
    weir_broadcast_flush(&w);
    expect_not(&r, WEIR_E_STATE);
    CHECK_STATUS(weir_broadcast_ready(&r), WEIR_E_STATE);
    cr_assert_null(slot);
}

Test(broadcast, commit_wants_a_reservation_and_no_more_than_it)
{
    cast b;
    void *slot = NULL;
    open_cast(&b, CAPACITY, 0, 0);
    CHECK_STATUS(weir_broadcast_commit(&b.w, 0), WEIR_E_STATE);
    CHECK_OK(weir_broadcast_reserve(&b.w, 20, &slot));
    cr_assert_eq((uintptr_t)slot % 8, 0);
    CHECK_STATUS(weir_broadcast_commit(&b.w, 21), WEIR_E_INVALID);
    CHECK_STATUS(weir_broadcast_commit(&b.w, UINT64_MAX), WEIR_E_INVALID);
    expect_not(&b.r, WEIR_EMPTY);
    record_fill(slot, 0, 0, 20);
    CHECK_OK(weir_broadcast_commit(&b.w, 20)); /* it stayed */
    CHECK_STATUS(weir_broadcast_commit(&b.w, 20), WEIR_E_STATE);
    expect_of(&b.r, 0, 20, 0);
    CHECK_OK(weir_broadcast_reserve(&b.w, 20, &slot));
    memset(slot, 0xaa, 20);
    CHECK_OK(put(&b, 1, 5, false)); /* gives the room up */
    CHECK_STATUS(weir_broadcast_commit(&b.w, 5), WEIR_E_STATE);
    expect_of(&b.r, 1, 5, 0);
    expect_not(&b.r, WEIR_EMPTY);
    CHECK_OK(weir_broadcast_reserve(&b.w, 20, &slot));
    CHECK_STATUS(weir_broadcast_reserve(&b.w, CAPACITY, &slot), WEIR_E_TOO_LARGE);
    CHECK_STATUS(weir_broadcast_commit(&b.w, 5), WEIR_E_STATE); /* so did the refused one */
    free(b.mem);
}

Test(broadcast, a_record_too_long_for_the_buffer_stays)
{
    cast b;
    uint32_t len = 0;
    uint64_t lost = 77;
    open_cast(&b, CAPACITY, 0, 0);
    CHECK_OK(put(&b, 0, 41, false));
    memset(buffer, 0xbb, sizeof buffer);
    CHECK_STATUS(weir_broadcast_read(&b.r, buffer, 40, &len, &lost), WEIR_E_TOO_SMALL);
    cr_assert(len == 41 && lost == 77 && buffer[0] == 0xbb);
    expect_of(&b.r, 0, 41, 0);
    CHECK_OK(put(&b, 1, 0, false));
    CHECK_OK(weir_broadcast_read(&b.r, NULL, 0, &len, &lost));
    cr_assert(len == 0 && lost == 0);
    free(b.mem);
}

/* The writer goes on by every number of records up to many laps between two reads. */
Test(broadcast, what_an_overrun_reader_lost_is_exact)
{
    static const uint64_t numbers[] = { 0, 0 - UINT64_C(40), (UINT64_C(1) << 63) - 40 };
    for (size_t s = 0; s < STARTS; s++)
        for (size_t n = 0; n < 3; n++)
            for (uint64_t capacity = 256; capacity <= CAPACITY; capacity *= 4) {
                cast b;
                open_cast(&b, capacity, starts[s], numbers[n]);
                uint32_t max = weir_broadcast_record_max(capacity);
                uint64_t written = 0, seen = 0, lost = 0;
                for (unsigned burst = 0; burst < 150; burst++) {
                    for (unsigned i = 0; i < burst; i++, written++)
                        CHECK_OK(put(&b, written, length(written, max), false));
                    if (burst != 0)
                        CHECK_OK(weir_broadcast_ready(&b.r));
                    lost += drain(&b.r, &seen, written, max);
                    CHECK_STATUS(weir_broadcast_ready(&b.r), WEIR_EMPTY);
                }
                cr_assert(lost > written / 4 && lost < written);
                free(b.mem);
            }
}

/* Nothing is lost that need not be: a reader that is within the last eighth less than the capacity misses nothing. */
Test(broadcast, a_reader_within_the_ring_loses_nothing)
{
    for (uint32_t len = 0; len <= 232; len += 8) {
        cast b;
        open_cast(&b, CAPACITY, 0, 0);
        uint64_t keep = (CAPACITY * 7 / 8 - 8 - 256) / (len + 16), written = 0, seen = 0;
        for (unsigned round = 0; round < 100; round++) {
            for (uint64_t i = 0; i < keep; i++, written++)
                CHECK_OK(put(&b, written, len, false));
            while (seen < written)
                expect_of(&b.r, seen++, len, 0);
        }
        free(b.mem);
    }
}

/* One that was overrun goes on far behind the writer, so that it does not lose everything again. */
Test(broadcast, an_overrun_reader_goes_on_at_least_a_quarter_behind)
{
    cast b;
    open_cast(&b, CAPACITY, 0, 0);
    for (uint64_t laps = 2; laps < 30; laps++) {
        uint64_t seq = 0, total = laps * (CAPACITY / 32);
        uint64_t before = weir_load_rlx(&control(&b)->anchors) == 1 ? 0 : b.w.number;
        for (uint64_t i = 0; i < total; i++)
            CHECK_OK(put(&b, before + i, 16, false));
        uint32_t len;
        uint64_t lost;
        CHECK_OK(weir_broadcast_read(&b.r, buffer, sizeof buffer, &len, &lost));
        seq = before + lost;
        cr_assert(record_is(buffer, 0, seq, 16));
        cr_assert_geq(before + total - seq, CAPACITY / 32 / 4);
        for (seq++; seq < before + total; seq++)
            expect_of(&b.r, seq, 16, 0);
    }
    free(b.mem);
}

/* ---- overtaken in the middle of a copy: the buffer's page is not there, and whoever puts it there writes on ---- */

static struct {
    cast *b;
    unsigned char *page;
    uint64_t size, seq, records;
    unsigned faults;
} overtake;

static void on_fault(int signal_number, siginfo_t *info, void *context)
{
    (void)context;
    unsigned char *at = info->si_addr;
    if (at < overtake.page || at >= overtake.page + overtake.size ||
        mprotect(overtake.page, overtake.size, PROT_READ | PROT_WRITE) != 0)
        (void)signal(signal_number, SIG_DFL);
    overtake.faults++;
    for (uint64_t i = 0; i < overtake.records; i++) /* async-signal-safe, and the handle is not the interrupted one */
        CHECK_OK(put(overtake.b, ++overtake.seq, 200, false));
}

Test(broadcast, a_reader_overtaken_while_it_copies_gives_no_byte_of_the_newer_record)
{
    struct sigaction action = { .sa_flags = SA_SIGINFO }, former;
    action.sa_sigaction = on_fault;
    overtake.size = 4096;
    overtake.page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(overtake.page != MAP_FAILED && sigaction(SIGSEGV, &action, &former) == 0);
    for (uint64_t records = 0; records < 40; records++)
        for (uint64_t shift = 0; shift < CAPACITY; shift += 64) {
            cast b;
            uint32_t len = 0;
            uint64_t lost = 0;
            open_cast(&b, CAPACITY, shift, 0);
            CHECK_OK(put(&b, 0, 200, false));
            CHECK(mprotect(overtake.page, 4096, PROT_NONE) == 0);
            overtake.b = &b;
            overtake.records = records;
            overtake.seq = 0;
            overtake.faults = 0;
            CHECK_OK(weir_broadcast_read(&b.r, overtake.page, 4096, &len, &lost));
            cr_assert_eq(overtake.faults, 1);
            cr_assert(len == 200 && lost <= records && record_is(overtake.page, 0, lost, 200),
                      "%llu records: lost %llu", (unsigned long long)records, (unsigned long long)lost);
            cr_assert(records < 4 || lost > 0);
            cr_assert(records > 1 || lost == 0);
            for (uint64_t seq = lost + 1; seq <= records; seq++)
                expect_of(&b.r, seq, 200, 0);
            expect_not(&b.r, WEIR_EMPTY);
            free(b.mem);
        }
    CHECK(sigaction(SIGSEGV, &former, NULL) == 0 && munmap(overtake.page, 4096) == 0);
}

/* The limit moves before the bytes that it gives up: a reservation alone takes them from the readers. */
Test(broadcast, the_limit_is_stored_before_anything_behind_it_is_written)
{
    for (size_t s = 0; s < STARTS; s++) {
        cast b;
        void *slot = NULL;
        open_cast(&b, CAPACITY, starts[s], 0);
        for (uint64_t seq = 0; seq < 300; seq++) {
            uint32_t len = length(seq, 232);
            CHECK_OK(weir_broadcast_reserve(&b.w, len, &slot));
            uint64_t end = b.w.reserved_pos + weir_broadcast_size(len) + 8, limit = weir_load_rlx(&control(&b)->limit);
            cr_assert((int64_t)(limit - end) >= 0 && limit - b.w.pos <= CAPACITY * 5 / 8);
            record_fill(slot, 0, seq, len);
            CHECK_OK(weir_broadcast_commit(&b.w, len));
            expect_of(&b.r, seq, len, 0);
        }
        free(b.mem);
    }
}

Test(broadcast, a_reader_overtaken_at_every_try_says_so_and_goes_on_later)
{
    cast b;
    open_cast(&b, CAPACITY, 0, 0);
    for (uint64_t seq = 0; seq < 20; seq++)
        CHECK_OK(put(&b, seq, 16, false));
    uint64_t limit = weir_load_rlx(&control(&b)->limit);
    weir_store_rlx(&control(&b)->limit, limit + 2 * CAPACITY); /* as a writer would that is two laps on by then */
    expect_not(&b.r, WEIR_AGAIN);
    CHECK_OK(weir_broadcast_ready(&b.r));
    weir_store_rlx(&control(&b)->limit, limit);
    expect_of(&b.r, 0, 16, 0); /* nothing was overwritten after all */
    free(b.mem);
}

/* ---- batches ---- */

Test(broadcast, a_batch_of_a_quarter_is_full_until_it_is_flushed)
{
    for (size_t s = 0; s < STARTS; s++)
        for (uint32_t len = 0; len <= 232; len += 29) {
            cast b;
            void *slot = NULL;
            open_cast(&b, CAPACITY, starts[s], 7);
            uint64_t seen = 0, written = 0;
            for (unsigned round = 0; round < 20; round++) {
                uint64_t begin = b.w.pos;
                weir_status status;
                while ((status = put(&b, written, len, true)) == WEIR_OK) {
                    written++;
                    expect_not(&b.r, WEIR_EMPTY);
                    CHECK_STATUS(weir_broadcast_ready(&b.r), WEIR_EMPTY);
                }
                CHECK_STATUS(status, WEIR_FULL);
                cr_assert_gt(b.w.pos - begin, CAPACITY / 4);
                cr_assert_leq(b.w.pos - begin, CAPACITY * 3 / 8 + 2 * weir_broadcast_size(len));
                unsigned char *before = malloc(b.bytes);
                memcpy(before, b.mem, b.bytes);
                CHECK_STATUS(weir_broadcast_reserve(&b.w, len, &slot), WEIR_FULL);
                CHECK_STATUS(put(&b, written, len, false), WEIR_FULL);
                cr_assert_eq(memcmp(before, b.mem, b.bytes), 0);
                free(before);
                weir_broadcast_flush(&b.w);
                CHECK_OK(weir_broadcast_ready(&b.r));
                while (seen < written)
                    expect_of(&b.r, seen++, len, 0);
                expect_not(&b.r, WEIR_EMPTY);
            }
            free(b.mem);
        }
}

/* A new reader, and one that was overrun, at any moment of an open batch, find what is published and nothing else. */
Test(broadcast, an_open_batch_is_behind_no_boundary)
{
    uint64_t random = support_seed();
    for (unsigned round = 0; round < 400; round++) {
        cast b;
        open_cast(&b, 512, starts[round % STARTS], 0);
        uint64_t written = 0, published = 0;
        for (unsigned i = 0; i < 60; i++) {
            bool more = support_random(&random) % 8 != 0;
            weir_status status = put(&b, written, length(written, 104), more);
            if (status == WEIR_FULL)
                weir_broadcast_flush(&b.w);
            else
                written++;
            if (status == WEIR_FULL || !more)
                published = written;
            weir_broadcast_reader late, old = b.r;
            uint64_t seen = 0;
            CHECK_OK(weir_broadcast_reader_attach(&late, b.mem, b.bytes));
            cr_assert_leq(late.number, published);
            seen = late.number;
            cr_assert_eq(drain(&late, &seen, published, 104), 0);
            seen = 0;
            (void)drain(&old, &seen, published, 104);
        }
        free(b.mem);
    }
}

/* ---- late readers ---- */

Test(broadcast, a_late_reader_begins_in_the_last_eighth_and_in_a_new_ring_at_the_first_record)
{
    cast b;
    open_cast(&b, CAPACITY, 0, 1000);
    for (uint64_t seq = 0; seq < 500; seq++) {
        CHECK_OK(put(&b, seq, 16, false));
        weir_broadcast_reader late;
        CHECK_OK(weir_broadcast_reader_attach(&late, b.mem, b.bytes));
        uint64_t first = late.number - 1000;
        cr_assert_leq(first, seq);
        cr_assert_leq(b.w.pos - late.pos, CAPACITY / 8 + 32);
        if (seq < 3)
            cr_assert_eq(first, 0);
        for (; first <= seq; first++)
            expect_of(&late, first, 16, 0);
        expect_not(&late, WEIR_EMPTY);
    }
    free(b.mem);
}

Test(broadcast, who_resumes_gets_the_next_record_or_hears_exactly_what_is_lost)
{
    for (size_t start = 0; start < STARTS; start++) {
        cast b;
        uint64_t first_number = starts[start] & ~UINT64_C(7), held = 0, lost_some = 0;
        open_cast(&b, CAPACITY, first_number, first_number);
        for (uint64_t seq = 0; seq < 60; seq++) {
            CHECK_OK(put(&b, seq, length(seq, 100), false));
            for (uint64_t stopped = 0; stopped <= seq + 1; stopped++) {
                weir_broadcast_reader next;
                CHECK_OK(weir_broadcast_reader_resume(&next, b.mem, b.bytes, first_number + stopped));
                uint64_t from = next.number - first_number;
                cr_assert(from >= stopped && from <= seq + 1 && next.lost == from - stopped, "%llu of %llu, from %llu",
                          (unsigned long long)stopped, (unsigned long long)seq, (unsigned long long)from);
                cr_assert(next.lost == 0 || b.w.pos - next.pos > CAPACITY / 2 - 128); /* what is there is not lost */
                held += next.lost == 0;
                lost_some += next.lost != 0;
                if (from > seq)
                    expect_not(&next, WEIR_EMPTY);
                for (uint64_t lost = next.lost; from <= seq; from++, lost = 0)
                    expect_of(&next, from, length(from, 100), lost);
            }
        }
        cr_assert(held > 100 && lost_some > 100);
        free(b.mem);
    }
}

Test(broadcast, who_resumes_at_a_number_that_never_was_begins_among_what_there_is)
{
    cast b;
    open_cast(&b, CAPACITY, 0, 1000);
    for (uint64_t seq = 0; seq < 100; seq++)
        CHECK_OK(put(&b, seq, 16, false));
    const uint64_t never[] = { 0, 999, 1101, 2000, UINT64_MAX, UINT64_MAX / 2 + 1000, UINT64_MAX / 2 + 1200 };
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++) {
        weir_broadcast_reader r;
        CHECK_OK(weir_broadcast_reader_resume(&r, b.mem, b.bytes, never[i]));
        cr_assert(r.number > 1000 && r.number <= 1100);
    }
    weir_broadcast_reader r;
    weir_store_rlx(weir_word_at(b.mem, WEIR_BROADCAST_CONTROL + b.w.pos % CAPACITY - 32), 5); /* the newest's header */
    CHECK_STATUS(weir_broadcast_reader_resume(&r, b.mem, b.bytes, 1100), WEIR_E_CORRUPT);
    expect_not(&r, WEIR_E_CORRUPT);
    free(b.mem);
}

Test(broadcast, readers_may_map_it_read_only)
{
    cast b = { .bytes = weir_broadcast_footprint(CAPACITY) };
    int fd = memfd_create("broadcast", 0);
    CHECK(fd >= 0 && ftruncate(fd, (off_t)b.bytes) == 0);
    b.mem = mmap(NULL, b.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    void *seen = mmap(NULL, b.bytes, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(b.mem != MAP_FAILED && seen != MAP_FAILED && close(fd) == 0);
    CHECK_OK(weir_broadcast_init(b.mem, b.bytes, CAPACITY, 0, 0));
    CHECK_OK(weir_broadcast_writer_attach(&b.w, b.mem, b.bytes));
    CHECK_OK(weir_broadcast_reader_attach(&b.r, seen, b.bytes));
    uint64_t written = 0, next = 0;
    for (unsigned burst = 0; burst < 100; burst++) {
        for (unsigned i = 0; i < burst; i++, written++)
            CHECK_OK(put(&b, written, length(written, 232), false));
        (void)drain(&b.r, &next, written, 232);
    }
    CHECK(munmap(b.mem, b.bytes) == 0 && munmap(seen, b.bytes) == 0);
}

/* ---- death ---- */

/* At each step the ring is copied, given a new writer, and must hold what was published, and take on. */
static void heir_goes_on(const cast *b, uint64_t published, uint64_t seen)
{
    cast heir = { .bytes = b->bytes, .capacity = b->capacity };
    heir.mem = aligned_alloc(128, b->bytes);
    memcpy(heir.mem, b->mem, b->bytes);
    CHECK_OK(weir_broadcast_writer_attach(&heir.w, heir.mem, heir.bytes));
    cr_assert(heir.w.number == published && heir.w.batch_header == 0);
    cr_assert_eq(memcmp(heir.mem, b->mem, b->bytes), 0); /* attaching writes nothing */
    heir.r = b->r;
    heir.r.ring = heir.mem;
    heir.r.data = heir.mem + WEIR_BROADCAST_CONTROL;
    (void)drain(&heir.r, &seen, published, 104);
    for (unsigned i = 0; i < 12; i++) {
        weir_status status = put(&heir, published, length(published, 104), i % 3 == 1);
        if (status == WEIR_OK)
            published++;
        else
            weir_broadcast_flush(&heir.w);
    }
    weir_broadcast_flush(&heir.w);
    (void)drain(&heir.r, &seen, published, 104);
    CHECK_OK(weir_broadcast_reader_attach(&heir.r, heir.mem, heir.bytes));
    seen = heir.r.number;
    cr_assert_eq(drain(&heir.r, &seen, published, 104), 0);
    free(heir.mem);
}

Test(broadcast, a_writer_killed_between_any_two_calls_is_replaced_and_half_a_batch_never_was)
{
    uint64_t random = support_seed();
    for (unsigned round = 0; round < 100; round++) {
        cast b;
        open_cast(&b, 512, starts[round % STARTS], 0);
        uint64_t written = 0, published = 0, seen = 0;
        for (unsigned i = 0; i < 80; i++) {
            uint64_t bits = support_random(&random);
            bool more = bits % 8 != 0;
            void *slot = NULL;
            uint32_t len = length(written, 104);
            weir_status status = weir_broadcast_reserve(&b.w, len, &slot);
            if (status == WEIR_FULL) {
                weir_broadcast_flush(&b.w);
                published = written;
            } else {
                CHECK_OK(status);
                heir_goes_on(&b, published, seen);
                memset(slot, 0xaa, len);
                heir_goes_on(&b, published, seen);
                record_fill(slot, 0, written, len);
                CHECK_OK(more ? weir_broadcast_commit_more(&b.w, len) : weir_broadcast_commit(&b.w, len));
                written++;
                if (!more)
                    published = written;
            }
            heir_goes_on(&b, published, seen);
            if (bits >> 8 & 1)
                (void)drain(&b.r, &seen, published, 104);
            if ((bits >> 16) % 16 == 0) {
                CHECK_OK(weir_broadcast_writer_attach(&b.w, b.mem, b.bytes));
                written = published;
            }
        }
        free(b.mem);
    }
}

/* ---- impossible bytes ---- */

Test(broadcast, impossible_words_are_corrupt_for_good)
{
    for (unsigned what = 0; what < 5; what++) {
        cast b;
        open_cast(&b, CAPACITY, 0, 0);
        CHECK_OK(put(&b, 0, 16, false));
        weir_atomic_u64 *header = weir_word_at(b.mem, WEIR_BROADCAST_CONTROL);
        if (what == 0)
            weir_store_rlx(header, WEIR_BROADCAST_DATA | 233);
        if (what == 1)
            weir_store_rlx(header, 16);
        if (what == 2)
            weir_store_rlx(header, WEIR_BROADCAST_PAD | (CAPACITY - 8)); /* a whole lap of padding */
        if (what == 3)
            weir_store_rlx(weir_word_at(header, 8), 1);
        if (what == 4) { /* overrun, and a boundary in the past */
            for (uint64_t seq = 1; seq < 100; seq++)
                CHECK_OK(put(&b, seq, 16, false));
            for (unsigned i = 0; i < WEIR_BROADCAST_ANCHORS; i++)
                weir_store_rlx(&control(&b)->anchor[i].number, UINT64_MAX);
        }
        expect_not(&b.r, WEIR_E_CORRUPT);
        cr_assert(strstr(weir_error_detail(), "impossible") != NULL || what == 4);
        CHECK_OK(weir_broadcast_init(b.mem, b.bytes, CAPACITY, 0, 0));
        expect_not(&b.r, WEIR_E_CORRUPT);
        CHECK_STATUS(weir_broadcast_ready(&b.r), WEIR_E_CORRUPT);
        free(b.mem);
    }
}
