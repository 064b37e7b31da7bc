/* The newest value: every status, what an overtaken reader does, a writer that is gone, numbers at the end of their
 * range.  read's acquire fence, between its copy and its second look, is where the suite lets the writer go on. */
#include <weir/base/atomic.h>

static void look_again(void);
static void slot_is_taken(void);
#define weir_fence_acq() look_again()
#define weir_fence_rel() slot_is_taken()

#include "kinds.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>
#include <weir/ring/latest_layout.h>

#define VALUE_MAX 100u

typedef struct value {
    unsigned char *mem;
    uint64_t bytes;
    weir_latest_writer w;
    weir_latest_reader r;
} value;

static struct {
    value *v; /* null: nothing happens */
    unsigned values, times, looks; /* so many new values, at so many looks */
    bool reserve;
    bool lengthen; /* the newest one's slot states VALUE_MAX: no writer does that */
    uint64_t seq;
} between;

static unsigned char buffer[256];

/* reserve's release fence: what it must order is the slot's number, before, and the bytes, behind it. */
static struct {
    const weir_atomic_u64 *number; /* null: not looked at */
    uint64_t seen;
    unsigned fences;
} taken;

static void slot_is_taken(void)
{
    WEIR_ATOMIC_FENCE_REL();
    taken.fences++;
    if (taken.number != NULL)
        taken.seen = weir_load_rlx(taken.number);
}

static void put(value *v, uint64_t seq, uint32_t len)
{
    unsigned char bytes[VALUE_MAX];
    record_fill(bytes, 0, seq, len);
    CHECK_OK(weir_latest_write(&v->w, bytes, len));
}

static weir_atomic_u64 *slot_word(const value *v, uint64_t number, uint64_t off)
{
    return weir_word_at(v->mem + WEIR_LATEST_CONTROL + weir_latest_off(number, v->w.mask, v->w.stride), off);
}

static void look_again(void)
{
    void *slot = NULL;
    between.looks++;
    WEIR_ATOMIC_FENCE_ACQ();
    if (between.v == NULL || between.looks > between.times)
        return;
    for (unsigned i = 0; i < between.values; i++)
        put(between.v, ++between.seq, VALUE_MAX);
    if (between.reserve)
        CHECK_OK(weir_latest_reserve(&between.v->w, &slot));
    if (between.lengthen)
        weir_store_rlx(slot_word(between.v, between.v->w.number, 8), VALUE_MAX);
}

static void open_value(value *v, uint32_t value_max, uint32_t slots, uint64_t start)
{
    v->bytes = weir_latest_footprint(value_max, slots);
    CHECK(v->bytes != 0);
    v->mem = aligned_alloc(128, v->bytes);
    CHECK(v->mem != NULL);
    memset(v->mem, 0xee, v->bytes);
    CHECK_OK(weir_latest_init(v->mem, v->bytes, value_max, slots, start));
    CHECK_OK(weir_latest_writer_attach(&v->w, v->mem, v->bytes));
    CHECK_OK(weir_latest_reader_attach(&v->r, v->mem, v->bytes));
}

static weir_latest_layout *control(const value *v) { return (weir_latest_layout *)(void *)v->mem; }

/* Reads, and touches nothing but what it read. */
static void expect(value *v, uint64_t number, uint64_t seq, uint32_t len)
{
    uint32_t got = 77;
    uint64_t which = 77;
    memset(buffer, 0xbb, sizeof buffer);
    CHECK_OK(weir_latest_read(&v->r, buffer, sizeof buffer, &got, &which));
    cr_assert(got == len && which == number && record_is(buffer, 0, seq, len), "value %llu of %u: got %llu of %u",
              (unsigned long long)number, len, (unsigned long long)which, got);
    for (size_t i = len; i < sizeof buffer; i++)
        cr_assert_eq(buffer[i], 0xbb);
    cr_assert_eq(weir_latest_number(&v->r), number);
}

/* Reads, gets the status, and finds nothing touched. */
static void expect_not(value *v, weir_status expected)
{
    uint32_t len = 77;
    uint64_t number = 77;
    errno = 12345;
    CHECK_STATUS(weir_latest_read(&v->r, buffer, sizeof buffer, &len, &number), expected);
    cr_assert(len == 77 && number == 77 && errno == 12345);
}

Test(latest, footprint_knows_its_limits)
{
    cr_assert_eq(weir_latest_footprint(0, 4), 256 + 4 * 128);
    cr_assert_eq(weir_latest_footprint(112, 4), 256 + 4 * 128);
    cr_assert_eq(weir_latest_footprint(113, 4), 256 + 4 * 256);
    cr_assert_eq(weir_latest_footprint(WEIR_LATEST_VALUE_MAX, 1024),
                 256 + 1024 * ((uint64_t)WEIR_LATEST_VALUE_MAX + 128));
    cr_assert_eq(weir_latest_footprint(WEIR_LATEST_VALUE_MAX + 1, 4), 0);
    cr_assert_eq(weir_latest_footprint(UINT32_MAX, 4), 0);
    static const uint32_t wrong[] = { 0, 1, 2, 3, 5, 6, 7, 12, 1023, 1025, 2048, UINT32_C(1) << 31, UINT32_MAX };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        cr_assert_eq(weir_latest_footprint(8, wrong[i]), 0, "%u slots", wrong[i]);
}

Test(latest, init_refuses_what_is_wrong_and_writes_nothing)
{
    unsigned char *mem = aligned_alloc(128, 4096);
    memset(mem, 0xee, 4096);
    uint64_t bytes = weir_latest_footprint(8, 4);
    errno = 12345;
    CHECK_STATUS(weir_latest_init(NULL, bytes, 8, 4, 0), WEIR_E_INVALID);
    CHECK_STATUS(weir_latest_init(mem + 8, bytes, 8, 4, 0), WEIR_E_INVALID);
    cr_assert(strstr(weir_error_detail(), "aligned") != NULL);
    CHECK_STATUS(weir_latest_init(mem, bytes - 1, 8, 4, 0), WEIR_E_INVALID);
    cr_assert(strstr(weir_error_detail(), "need 768 bytes, not 767") != NULL, "%s", weir_error_detail());
    CHECK_STATUS(weir_latest_init(mem, 4096, 8, 3, 0), WEIR_E_INVALID);
    cr_assert(strstr(weir_error_detail(), "3 slots") != NULL, "%s", weir_error_detail());
    CHECK_STATUS(weir_latest_init(mem, UINT64_MAX, WEIR_LATEST_VALUE_MAX + 1, 4, 0), WEIR_E_INVALID);
    cr_assert_eq(errno, 12345);
    for (size_t i = 0; i < 4096; i++)
        cr_assert_eq(mem[i], 0xee);
    CHECK_OK(weir_latest_init(mem, bytes, 8, 4, 0));
    for (size_t i = bytes; i < 4096; i++)
        cr_assert_eq(mem[i], 0xee);
    free(mem);
}

static void attaches_say(value *v, uint64_t bytes, weir_status expected, const char *detail)
{
    weir_latest_writer w = v->w;
    weir_latest_reader r = v->r;
    uint32_t len;
    uint64_t number;
    errno = 12345;
    CHECK_STATUS(weir_latest_writer_attach(&w, v->mem, bytes), expected);
    cr_assert(strstr(weir_error_detail(), detail) != NULL, "%s", weir_error_detail());
    CHECK_STATUS(weir_latest_reader_attach(&r, v->mem, bytes), expected);
    cr_assert(strstr(weir_error_detail(), detail) != NULL, "%s", weir_error_detail());
    cr_assert_eq(errno, 12345);
    CHECK_STATUS(weir_latest_write(&w, buffer, 1), WEIR_E_STATE); /* a refused handle is none */
    CHECK_STATUS(weir_latest_read(&r, buffer, 1, &len, &number), WEIR_E_STATE);
}

Test(latest, attach_says_what_is_wrong)
{
    value v;
    open_value(&v, VALUE_MAX, 4, 0);
    attaches_say(&v, 255, WEIR_E_NOT_WEIR, "255 bytes");
    attaches_say(&v, v.bytes - 1, WEIR_E_CORRUPT, "states values of 100 bytes in 4 slots");
    v.mem++;
    attaches_say(&v, v.bytes, WEIR_E_INVALID, "aligned");
    v.mem--;
    unsigned char *mem = v.mem;
    v.mem = NULL;
    attaches_say(&v, v.bytes, WEIR_E_INVALID, "aligned");
    v.mem = mem;
    weir_store_rlx(&control(&v)->version, 2);
    attaches_say(&v, v.bytes, WEIR_E_VERSION, "layout version 2");
    weir_store_rlx(&control(&v)->version, 1);
    static const uint64_t bad[] = { 0, 3, 5, 8, 2048, UINT64_C(4) << 32 | 4, UINT64_MAX, UINT64_C(1) << 32 };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        weir_store_rlx(&control(&v)->slots, bad[i]);
        attaches_say(&v, v.bytes, WEIR_E_CORRUPT, "slots");
    }
    weir_store_rlx(&control(&v)->slots, 4);
    static const uint64_t long_values[] = { 113, WEIR_LATEST_VALUE_MAX + 1, UINT64_C(1) << 32, UINT64_MAX };
    for (size_t i = 0; i < sizeof long_values / sizeof long_values[0]; i++) {
        weir_store_rlx(&control(&v)->value_max, long_values[i]);
        attaches_say(&v, v.bytes, WEIR_E_CORRUPT, "states values");
    }
    weir_store_rlx(&control(&v)->value_max, VALUE_MAX);
    weir_store_rlx(&control(&v)->magic, 0);
    attaches_say(&v, v.bytes, WEIR_E_NOT_WEIR, "no latest value");
    free(v.mem);
}

Test(latest, calls_on_a_handle_that_is_not_attached_say_so)
{
    weir_latest_writer w = { .current = NULL };
    weir_latest_reader r = { .current = NULL };
    void *slot = NULL;
    uint32_t len = 77;
    uint64_t number = 77;
    CHECK_STATUS(weir_latest_write(&w, buffer, 0), WEIR_E_STATE);
    CHECK_STATUS(weir_latest_write(&w, buffer, 9), WEIR_E_STATE);
    CHECK_STATUS(weir_latest_reserve(&w, &slot), WEIR_E_STATE);
    CHECK_STATUS(weir_latest_publish(&w, 0), WEIR_E_STATE);
    CHECK_STATUS(weir_latest_read(&r, buffer, 9, &len, &number), WEIR_E_STATE);
    cr_assert_eq(weir_latest_number(&r), 0);
    cr_assert(slot == NULL && len == 77 && number == 77);
}

Test(latest, there_is_no_value_before_the_first)
{
    value v;
    open_value(&v, VALUE_MAX, 4, 0);
    expect_not(&v, WEIR_EMPTY);
    cr_assert_eq(weir_latest_number(&v.r), 0);
    put(&v, 5, 10);
    expect(&v, 1, 5, 10);
    CHECK_OK(weir_latest_init(v.mem, v.bytes, VALUE_MAX, 4, 0)); /* nothing of the older one is seen in a new one */
    expect_not(&v, WEIR_EMPTY);
    free(v.mem);
}

Test(latest, values_of_every_size_are_read_as_often_as_one_likes)
{
    for (uint32_t slots = 4; slots <= 1024; slots *= 4) {
        value v;
        open_value(&v, VALUE_MAX, slots, 0);
        uint64_t number = 0;
        for (unsigned round = 0; round < 20; round++)
            for (uint32_t len = 0; len <= VALUE_MAX; len++) {
                number++;
                put(&v, number, len);
                expect(&v, number, number, len);
                expect(&v, number, number, len);
            }
        free(v.mem);
    }
}

Test(latest, the_newest_alone_is_read)
{
    value v;
    open_value(&v, VALUE_MAX, 8, 0);
    uint64_t number = 0;
    for (unsigned skip = 1; skip < 40; skip++) {
        for (unsigned i = 0; i < skip; i++) {
            number++;
            put(&v, number, (uint32_t)(number % (VALUE_MAX + 1)));
        }
        expect(&v, number, number, (uint32_t)(number % (VALUE_MAX + 1)));
    }
    free(v.mem);
}

Test(latest, a_value_over_the_limit_is_refused_and_changes_nothing)
{
    value v;
    void *slot = NULL;
    open_value(&v, VALUE_MAX, 4, 0);
    put(&v, 1, 20);
    unsigned char *before = malloc(v.bytes);
    memcpy(before, v.mem, v.bytes);
    CHECK_STATUS(weir_latest_write(&v.w, buffer, VALUE_MAX + 1), WEIR_E_TOO_LARGE);
    CHECK_STATUS(weir_latest_write(&v.w, buffer, sizeof buffer), WEIR_E_TOO_LARGE);
    cr_assert_eq(memcmp(before, v.mem, v.bytes), 0);
    CHECK_STATUS(weir_latest_publish(&v.w, 4), WEIR_E_STATE); /* nothing is reserved */
    CHECK_OK(weir_latest_reserve(&v.w, &slot));
    CHECK_STATUS(weir_latest_publish(&v.w, VALUE_MAX + 1), WEIR_E_TOO_LARGE);
    expect(&v, 1, 1, 20);
    record_fill(slot, 0, 2, VALUE_MAX);
    CHECK_OK(weir_latest_publish(&v.w, VALUE_MAX)); /* the reservation stayed */
    expect(&v, 2, 2, VALUE_MAX);
    CHECK_STATUS(weir_latest_publish(&v.w, 4), WEIR_E_STATE); /* and is used up */
    free(before);
    free(v.mem);
}

Test(latest, a_buffer_too_small_is_told_what_it_needs_and_not_touched)
{
    value v;
    uint32_t len = 0;
    uint64_t number = 77;
    open_value(&v, VALUE_MAX, 4, 0);
    put(&v, 1, 33);
    memset(buffer, 0xbb, sizeof buffer);
    CHECK_STATUS(weir_latest_read(&v.r, buffer, 32, &len, &number), WEIR_E_TOO_SMALL);
    cr_assert(len == 33 && number == 77);
    for (size_t i = 0; i < sizeof buffer; i++)
        cr_assert_eq(buffer[i], 0xbb);
    CHECK_OK(weir_latest_read(&v.r, buffer, 33, &len, &number));
    cr_assert(len == 33 && number == 1 && record_is(buffer, 0, 1, 33));
    put(&v, 2, 0);
    CHECK_OK(weir_latest_read(&v.r, NULL, 0, &len, &number));
    cr_assert(len == 0 && number == 2);
    free(v.mem);
}

/* The slot says whose it is before its bytes change: that is what an overtaken reader sees. */
Test(latest, reserve_takes_the_slot_from_its_readers_first_and_disturbs_nobody)
{
    value v;
    void *slot = NULL;
    open_value(&v, VALUE_MAX, 4, 0);
    for (uint64_t number = 1; number < 20; number++) {
        taken.number = slot_word(&v, number, 0);
        taken.fences = 0;
        CHECK_OK(weir_latest_reserve(&v.w, &slot));
        cr_assert(taken.fences == 1 && taken.seen == number);
        taken.number = NULL;
        cr_assert_eq((uintptr_t)slot % 8, 0);
        cr_assert_eq(weir_load_rlx(slot_word(&v, number, 0)), number);
        cr_assert((unsigned char *)slot == (unsigned char *)slot_word(&v, number, WEIR_LATEST_SLOT));
        memset(slot, 0xaa, VALUE_MAX);
        if (number > 1)
            expect(&v, number - 1, number - 1, (uint32_t)number - 1);
        else
            expect_not(&v, WEIR_EMPTY);
        record_fill(slot, 0, number, number);
        CHECK_OK(weir_latest_publish(&v.w, (uint32_t)number));
        expect(&v, number, number, (uint32_t)number);
    }
    free(v.mem);
}

Test(latest, a_writer_that_died_before_publish_left_no_trace)
{
    value v;
    void *slot = NULL;
    open_value(&v, VALUE_MAX, 4, 0);
    for (uint64_t number = 1; number < 30; number++) {
        for (unsigned deaths = 0; deaths < number % 4; deaths++) {
            CHECK_OK(weir_latest_reserve(&v.w, &slot));
            memset(slot, 0xaa, VALUE_MAX);
            memset(&v.w, 0xdd, sizeof v.w);
            CHECK_OK(weir_latest_writer_attach(&v.w, v.mem, v.bytes));
            CHECK_STATUS(weir_latest_publish(&v.w, 1), WEIR_E_STATE);
            if (number > 1)
                expect(&v, number - 1, number - 1, 50);
            else
                expect_not(&v, WEIR_EMPTY);
        }
        put(&v, number, 50);
        expect(&v, number, number, 50);
    }
    free(v.mem);
}

Test(latest, the_value_in_hand_stays_while_slots_less_one_newer_ones_come)
{
    for (uint32_t slots = 4; slots <= 32; slots *= 2) {
        value v;
        open_value(&v, VALUE_MAX, slots, 0);
        put(&v, 1, 70);
        memset(&between, 0, sizeof between);
        between.v = &v;
        between.seq = 1;
        between.values = slots - 1;
        between.times = 1;
        uint32_t len;
        uint64_t number;
        CHECK_OK(weir_latest_read(&v.r, buffer, sizeof buffer, &len, &number));
        cr_assert(number == 1 && len == 70 && record_is(buffer, 0, 1, 70) && between.looks == 1);
        between.v = NULL;
        free(v.mem);
    }
}

Test(latest, an_overtaken_reader_gets_the_newer_value)
{
    for (unsigned times = 1; times < WEIR_LATEST_TRIES; times++)
        for (unsigned values = 3; values <= 12; values++) {
            value v;
            open_value(&v, VALUE_MAX, 4, 0);
            put(&v, 1, 70);
            memset(&between, 0, sizeof between);
            between.v = &v;
            between.seq = 1;
            between.values = values;
            between.reserve = values == 3; /* the fourth is only begun */
            between.times = times;
            expect(&v, 1 + values * times, 1 + values * times, VALUE_MAX);
            cr_assert_eq(between.looks, times + 1);
            between.v = NULL;
            free(v.mem);
        }
}

Test(latest, a_reader_overtaken_at_every_try_says_so_and_goes_on_later)
{
    value v;
    open_value(&v, VALUE_MAX, 4, 0);
    put(&v, 1, 70);
    memset(&between, 0, sizeof between);
    between.v = &v;
    between.seq = 1;
    between.values = 4;
    between.times = 1000;
    expect_not(&v, WEIR_AGAIN);
    cr_assert_eq(between.looks, WEIR_LATEST_TRIES);
    between.v = NULL;
    expect(&v, 1 + 4 * WEIR_LATEST_TRIES, between.seq, VALUE_MAX);
    free(v.mem);
}

/* A length that is impossible is the writer's only if the slot still is that value's. */
Test(latest, an_impossible_length_is_corrupt_unless_the_slot_was_overwritten)
{
    value v;
    open_value(&v, VALUE_MAX, 4, 0);
    put(&v, 1, 8);
    weir_store_rlx(slot_word(&v, 1, 8), VALUE_MAX + 1);
    memset(&between, 0, sizeof between);
    between.v = &v;
    between.values = 4;
    between.times = 1;
    expect(&v, 5, 4, VALUE_MAX);
    between.v = NULL;
    static const uint64_t lengths[] = { VALUE_MAX + 1, UINT64_C(1) << 32, UINT64_MAX, (UINT64_C(1) << 32) + 8 };
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        CHECK_OK(weir_latest_reader_attach(&v.r, v.mem, v.bytes));
        weir_store_rlx(slot_word(&v, 5, 8), lengths[i]);
        expect_not(&v, WEIR_E_CORRUPT);
        cr_assert(strstr(weir_error_detail(), "value 5 states") != NULL, "%s", weir_error_detail());
        weir_store_rlx(slot_word(&v, 5, 8), 8);
        expect_not(&v, WEIR_E_CORRUPT); /* for good */
        cr_assert_eq(weir_latest_number(&v.r), 0);
    }
    free(v.mem);
}

Test(latest, a_length_that_changes_behind_the_copy_is_not_given_out)
{
    value v;
    open_value(&v, VALUE_MAX, 4, 0);
    put(&v, 1, 8);
    memset(&between, 0, sizeof between);
    between.v = &v;
    between.lengthen = true;
    between.times = 1;
    expect(&v, 1, 1, 8);
    between.v = NULL;
    free(v.mem);
}

Test(latest, write_reads_exactly_the_value_and_read_writes_exactly_it)
{
    value v;
    open_value(&v, VALUE_MAX, 4, 0);
    for (uint32_t len = 0; len <= VALUE_MAX; len++) {
        unsigned char *bytes = support_page_end() - len; /* one byte more is a fault */
        uint32_t got = 77;
        uint64_t number = 77;
        record_fill(bytes, 0, len, len);
        CHECK_OK(weir_latest_write(&v.w, bytes, len));
        memset(bytes, 0, len);
        CHECK_OK(weir_latest_read(&v.r, bytes, len, &got, &number));
        cr_assert(got == len && number == len + 1 && record_is(bytes, 0, len, len), "%u bytes", len);
    }
    free(v.mem);
}

Test(latest, readers_may_map_it_read_only)
{
    value v;
    uint64_t bytes = weir_latest_footprint(VALUE_MAX, 4);
    int fd = memfd_create("latest", 0);
    CHECK(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0);
    unsigned char *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    const unsigned char *seen = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(mem != MAP_FAILED && seen != MAP_FAILED && close(fd) == 0);
    CHECK_OK(weir_latest_init(mem, bytes, VALUE_MAX, 4, 0));
    CHECK_OK(weir_latest_writer_attach(&v.w, mem, bytes));
    CHECK_OK(weir_latest_reader_attach(&v.r, seen, bytes));
    expect_not(&v, WEIR_EMPTY);
    for (uint64_t number = 1; number < 50; number++) {
        put(&v, number, 77);
        expect(&v, number, number, 77);
    }
    CHECK(munmap(mem, bytes) == 0 && munmap((void *)(uintptr_t)seen, bytes) == 0);
}

Test(latest, numbers_go_to_the_end_of_their_range)
{
    static const uint64_t starts[] = { 1, 2, 3, (UINT64_C(1) << 32) - 3, (UINT64_C(1) << 63) - 3, UINT64_MAX - 6 };
    for (size_t s = 0; s < sizeof starts / sizeof starts[0]; s++)
        for (uint32_t slots = 4; slots <= 16; slots *= 2) {
            value v;
            open_value(&v, VALUE_MAX, slots, starts[s]);
            expect(&v, starts[s], 0, 0); /* an empty value that is there */
            for (uint64_t number = starts[s] + 1; number - starts[s] <= 6; number++) {
                if (number % 2 == 0)
                    CHECK_OK(weir_latest_writer_attach(&v.w, v.mem, v.bytes));
                put(&v, number, 9);
                expect(&v, number, number, 9);
            }
            free(v.mem);
        }
}
