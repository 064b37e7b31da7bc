/* The lane's calls one by one: every status of each, and what stays untouched. */
#include "spsc_rig.h"

#include <criterion/criterion.h>

/* Not constants, or the compiler warns of what the lane refuses or never touches. */
void *nowhere;
uint64_t too_long[] = { UINT64_MAX, UINT64_MAX - 7, INT64_MAX, UINT64_C(1) << 32, UINT32_MAX, 256, 128, 113 };

static bool is_capacity(uint64_t bytes)
{
    return bytes >= 64 && bytes <= UINT64_C(1) << 46 && (bytes & (bytes - 1)) == 0;
}

/* ---- sizes ---- */

Test(spsc, capacity_is_the_next_power_of_two_of_at_least_64)
{
    CHECK(weir_spsc_capacity(0) == 64);
    CHECK(weir_spsc_capacity(64) == 64);
    for (uint64_t power = 64; power <= WEIR_SPSC_CAPACITY_MAX; power *= 2) {
        CHECK(weir_spsc_capacity(power) == power);
        CHECK(weir_spsc_capacity(power - 1) == power);
        CHECK(weir_spsc_capacity(power / 2 + 1) == power);
    }
}

Test(spsc, capacity_of_a_wish_over_the_limit_is_0)
{
    CHECK(weir_spsc_capacity(WEIR_SPSC_CAPACITY_MAX) == UINT64_C(1) << 46);
    CHECK(weir_spsc_capacity(WEIR_SPSC_CAPACITY_MAX + 1) == 0);
    CHECK(weir_spsc_capacity(UINT64_MAX) == 0);
}

Test(spsc, footprint_and_record_max_of_what_is_no_capacity_are_0)
{
    for (unsigned bit = 0; bit < 64; bit++)
        for (uint64_t away = 0; away < 3; away++) {
            uint64_t bytes = (UINT64_C(1) << bit) + away - 1;
            CHECK(weir_spsc_footprint(bytes) == (is_capacity(bytes) ? 256 + bytes : 0));
            CHECK((weir_spsc_record_max(bytes) == 0) == !is_capacity(bytes));
        }
}

Test(spsc, record_max_is_half_the_capacity_less_two_headers_and_at_least_a_quarter)
{
    for (uint64_t capacity = 64; capacity <= UINT64_C(1) << 31; capacity *= 2) {
        CHECK(weir_spsc_record_max(capacity) == capacity / 2 - 16);
        CHECK(weir_spsc_record_max(capacity) >= capacity / 4);
    }
    for (uint64_t capacity = UINT64_C(1) << 33; capacity <= WEIR_SPSC_CAPACITY_MAX; capacity *= 2)
        CHECK(weir_spsc_record_max(capacity) == (UINT32_C(1) << 31) - 8);
}

/* ---- init ---- */

Test(spsc, init_that_refuses_writes_nothing)
{
    rig r;
    rig_alloc(&r, 128);
    CHECK_STATUS(weir_spsc_init(NULL, r.bytes, 128, 0), WEIR_E_INVALID);
    for (unsigned off = 1; off < 64; off++)
        CHECK_STATUS(weir_spsc_init(r.mem + off, r.bytes - 64, 64, 0), WEIR_E_INVALID);
    CHECK_STATUS(weir_spsc_init(r.mem, r.bytes - 1, 128, 0), WEIR_E_INVALID);
    CHECK_STATUS(weir_spsc_init(r.mem, 0, 128, 0), WEIR_E_INVALID);
    CHECK_STATUS(weir_spsc_init(r.mem, UINT64_MAX, 0, 0), WEIR_E_INVALID);
    CHECK_STATUS(weir_spsc_init(r.mem, r.bytes, 32, 0), WEIR_E_INVALID);
    CHECK_STATUS(weir_spsc_init(r.mem, r.bytes, 96, 0), WEIR_E_INVALID);
    CHECK_STATUS(weir_spsc_init(r.mem, UINT64_MAX, WEIR_SPSC_CAPACITY_MAX * 2, 0), WEIR_E_INVALID);
    for (uint64_t start = 1; start < 8; start++) {
        CHECK_STATUS(weir_spsc_init(r.mem, r.bytes, 128, start), WEIR_E_INVALID);
        CHECK_STATUS(weir_spsc_init(r.mem, r.bytes, 128, 0 - start), WEIR_E_INVALID);
    }
    for (uint64_t off = 0; off < r.bytes; off += 8)
        CHECK(weir_load_rlx(weir_word_at(r.mem, off)) == RIG_STALE);
    rig_close(&r);
}

Test(spsc, init_writes_the_control_block_and_one_header_and_nothing_else)
{
    for (uint64_t start = 0; start < 128; start += 8) {
        rig r;
        rig_open(&r, 128, start);
        for (uint64_t pos = 0; pos < 128; pos += 8)
            CHECK(weir_load_rlx(rig_word(&r, pos)) == (pos == start ? 0 : RIG_STALE));
        rig_expect_empty(&r);
        CHECK_OK(weir_spsc_drained(&r.p));
        rig_close(&r);
    }
}

Test(spsc, init_of_more_memory_than_needed_leaves_the_rest_alone)
{
    rig r;
    rig_alloc(&r, 256);
    CHECK_OK(weir_spsc_init(r.mem, r.bytes, 64, 0));
    rig_attach(&r);
    CHECK(r.p.capacity == 64 && r.c.capacity == 64);
    for (uint64_t off = WEIR_SPSC_CONTROL + 64; off < r.bytes; off += 8)
        CHECK(weir_load_rlx(weir_word_at(r.mem, off)) == RIG_STALE);
    rig_close(&r);
}

/* ---- attach ---- */

/* Every call on a handle that is not attached. */
static void expect_all_calls(rig *r, weir_status status)
{
    unsigned char buffer[8] = { 0 };
    void *slot = buffer;
    const void *msg = buffer;
    uint32_t len = 77;
    for (uint64_t bytes = 0; bytes < 2; bytes++) {
        CHECK_STATUS(weir_spsc_push(&r->p, buffer, bytes), status);
        CHECK_STATUS(weir_spsc_push_more(&r->p, buffer, bytes), status);
        CHECK_STATUS(weir_spsc_reserve(&r->p, bytes, &slot), status);
        CHECK_STATUS(weir_spsc_commit(&r->p, bytes), status);
        CHECK_STATUS(weir_spsc_commit_more(&r->p, bytes), status);
    }
    CHECK_STATUS(weir_spsc_push(&r->p, buffer, too_long[0]), status);
    weir_spsc_flush(&r->p);
    CHECK_STATUS(weir_spsc_drained(&r->p), status);
    CHECK_STATUS(weir_spsc_peek(&r->c, &msg, &len), status);
    CHECK_STATUS(weir_spsc_pop(&r->c, buffer, sizeof buffer, &len), status);
    CHECK_STATUS(weir_spsc_pop_more(&r->c, buffer, sizeof buffer, &len), status);
    CHECK_STATUS(weir_spsc_ready(&r->c), status);
    weir_spsc_release(&r->c);
    CHECK(slot == buffer && msg == buffer && len == 77);
}

static void expect_attach(rig *r, void *mem, uint64_t bytes, weir_status producer, weir_status consumer)
{
    memset(&r->p, 0xff, sizeof r->p); /* whatever the handle held before must not shine through */
    memset(&r->c, 0xff, sizeof r->c);
    CHECK_STATUS(weir_spsc_producer_attach(&r->p, mem, bytes), producer);
    CHECK_STATUS(weir_spsc_consumer_attach(&r->c, mem, bytes), consumer);
    if (producer != WEIR_OK && consumer != WEIR_OK)
        expect_all_calls(r, WEIR_E_STATE);
}

Test(spsc, every_call_on_a_handle_that_was_never_attached_is_out_of_order)
{
    rig r = { .mem = NULL };
    expect_all_calls(&r, WEIR_E_STATE);
}

Test(spsc, attach_refuses_memory_that_is_not_aligned)
{
    rig r;
    rig_open(&r, 128, 0);
    expect_attach(&r, NULL, r.bytes, WEIR_E_INVALID, WEIR_E_INVALID);
    for (unsigned off = 1; off < 64; off++)
        expect_attach(&r, r.mem + off, r.bytes - off, WEIR_E_INVALID, WEIR_E_INVALID);
    rig_close(&r);
}

Test(spsc, attach_where_no_ring_is_says_not_weir)
{
    rig r;
    rig_alloc(&r, 64);
    expect_attach(&r, r.mem, r.bytes, WEIR_E_NOT_WEIR, WEIR_E_NOT_WEIR);
    memset(r.mem, 0, r.bytes);
    expect_attach(&r, r.mem, r.bytes, WEIR_E_NOT_WEIR, WEIR_E_NOT_WEIR);
    rig_close(&r);
}

Test(spsc, attach_to_less_than_a_control_block_reads_nothing_and_says_not_weir)
{
    rig r = { .mem = aligned_alloc(WEIR_LINE, WEIR_LINE) };
    CHECK(r.mem != NULL);
    weir_store_rlx(&rig_control(&r)->magic, WEIR_SPSC_MAGIC); /* were it read, another status would come of it */
    weir_store_rlx(&rig_control(&r)->version, WEIR_SPSC_VERSION + 1);
    for (uint64_t bytes = 0; bytes < WEIR_SPSC_CONTROL; bytes++)
        expect_attach(&r, r.mem, bytes, WEIR_E_NOT_WEIR, WEIR_E_NOT_WEIR);
    rig_close(&r);
}

Test(spsc, attach_to_another_version_says_version_whatever_else_is_there)
{
    rig r;
    rig_open(&r, 64, 0);
    weir_store_rlx(&rig_control(&r)->capacity, 5); /* a later layout may mean something else by it */
    weir_store_rlx(&rig_control(&r)->version, WEIR_SPSC_VERSION + 1);
    expect_attach(&r, r.mem, r.bytes, WEIR_E_VERSION, WEIR_E_VERSION);
    weir_store_rlx(&rig_control(&r)->version, 0);
    expect_attach(&r, r.mem, r.bytes, WEIR_E_VERSION, WEIR_E_VERSION);
    rig_close(&r);
}

Test(spsc, attach_to_a_ring_that_is_cut_off_says_corrupt)
{
    rig r;
    rig_open(&r, 4096, 0);
    for (uint64_t bytes = WEIR_SPSC_CONTROL; bytes < r.bytes; bytes += 8)
        expect_attach(&r, r.mem, bytes, WEIR_E_CORRUPT, WEIR_E_CORRUPT);
    expect_attach(&r, r.mem, r.bytes - 1, WEIR_E_CORRUPT, WEIR_E_CORRUPT);
    expect_attach(&r, r.mem, r.bytes, WEIR_OK, WEIR_OK);
    rig_close(&r);
}

Test(spsc, attach_to_a_head_between_two_words_says_corrupt)
{
    rig r;
    rig_open(&r, 64, 0);
    for (uint64_t head = 1; head < 8; head++) {
        weir_store_rlx(&rig_control(&r)->head, head);
        expect_attach(&r, r.mem, r.bytes, WEIR_E_CORRUPT, WEIR_E_CORRUPT);
    }
    rig_close(&r);
}

Test(spsc, producer_attach_behind_an_impossible_header_says_corrupt_and_the_consumer_finds_out_on_reading)
{
    rig r;
    rig_open(&r, 64, 0);
    weir_store_rlx(rig_word(&r, 0), WEIR_SPSC_DATA | 17);
    expect_attach(&r, r.mem, r.bytes, WEIR_E_CORRUPT, WEIR_OK);
    const void *msg;
    uint32_t len;
    CHECK_STATUS(weir_spsc_peek(&r.c, &msg, &len), WEIR_E_CORRUPT);
    CHECK_STATUS(weir_spsc_ready(&r.c), WEIR_E_CORRUPT);
    rig_close(&r);
}

/* ---- push ---- */

Test(spsc, push_copies_and_the_caller_may_use_its_buffer_again)
{
    rig r;
    rig_open(&r, 64, 0);
    char msg[] = "river";
    CHECK_OK(weir_spsc_push(&r.p, msg, sizeof msg));
    memset(msg, 0, sizeof msg);
    char got[sizeof msg];
    uint32_t len = 0;
    CHECK_OK(weir_spsc_pop(&r.c, got, sizeof got, &len));
    CHECK(len == sizeof msg && strcmp(got, "river") == 0);
    rig_close(&r);
}

Test(spsc, an_empty_record_needs_no_buffer_at_either_end)
{
    rig r;
    rig_open(&r, 64, 0);
    uint32_t len = 77;
    CHECK_OK(weir_spsc_push(&r.p, nowhere, 0));
    CHECK_OK(weir_spsc_pop(&r.c, nowhere, 0, &len));
    CHECK(len == 0);
    rig_expect_empty(&r);
    rig_close(&r);
}

Test(spsc, a_record_over_the_limit_is_too_large_and_nothing_is_written)
{
    rig r, before;
    rig_open(&r, 256, 0);
    rig_copy(&before, r.mem, r.capacity);
    static char msg[1024];
    void *slot = msg;
    for (size_t i = 0; i < sizeof too_long / sizeof too_long[0]; i++) {
        CHECK_STATUS(weir_spsc_push(&r.p, msg, too_long[i]), WEIR_E_TOO_LARGE);
        CHECK_STATUS(weir_spsc_push_more(&r.p, msg, too_long[i]), WEIR_E_TOO_LARGE);
        CHECK_STATUS(weir_spsc_reserve(&r.p, too_long[i], &slot), WEIR_E_TOO_LARGE);
    }
    CHECK(slot == msg && strstr(weir_error_detail(), "112") != NULL);
    CHECK(memcmp(before.mem, r.mem, r.bytes) == 0);
    CHECK_OK(rig_push(&r, 0, 112));
    rig_expect_pop(&r, 0, 112);
    rig_close(&before);
    rig_close(&r);
}

Test(spsc, push_into_a_full_ring_returns_full_and_writes_nothing)
{
    rig r, before;
    rig_open(&r, 64, 0);
    for (uint64_t i = 0; i < 7; i++) /* seven words, and the eighth is "nothing yet" */
        CHECK_OK(rig_push(&r, i, 0));
    rig_copy(&before, r.mem, r.capacity);
    unsigned char byte = 0;
    void *slot = &byte;
    for (uint64_t len = 0; len <= 16; len++) {
        CHECK_STATUS(rig_push(&r, 9, len), WEIR_FULL);
        CHECK_STATUS(rig_push_more(&r, 9, len), WEIR_FULL);
        CHECK_STATUS(weir_spsc_reserve(&r.p, len, &slot), WEIR_FULL);
    }
    CHECK_STATUS(weir_spsc_commit(&r.p, 0), WEIR_E_STATE);
    CHECK(slot == &byte && memcmp(before.mem, r.mem, r.bytes) == 0);
    rig_expect_pop(&r, 0, 0);
    CHECK_OK(rig_push(&r, 7, 0));
    CHECK_STATUS(rig_push(&r, 8, 0), WEIR_FULL);
    for (uint64_t i = 1; i < 8; i++)
        rig_expect_pop(&r, i, 0);
    rig_expect_empty(&r);
    rig_close(&before);
    rig_close(&r);
}

Test(spsc, push_reads_exactly_the_message_from_any_address)
{
    rig r;
    rig_open(&r, 4096, 0);
    for (uint64_t len = 0; len <= 600; len++)
        for (uint64_t skip = 0; skip < 8; skip++) {
            /* It ends with the message: one byte more is AddressSanitizer's. */
            unsigned char *msg = malloc(skip + len > 0 ? skip + len : 1);
            CHECK(msg != NULL);
            rig_fill(msg + skip, skip, len);
            CHECK_OK(weir_spsc_push(&r.p, msg + skip, len));
            CHECK_OK(weir_spsc_push_more(&r.p, msg + skip, len));
            weir_spsc_flush(&r.p);
            rig_expect_pop(&r, skip, len);
            rig_expect_pop(&r, skip, len);
            free(msg);
        }
    rig_close(&r);
}

/* ---- reserve and commit ---- */

Test(spsc, a_reservation_is_invisible_until_its_commit)
{
    rig r;
    rig_open(&r, 64, 0);
    void *slot = NULL;
    CHECK_OK(weir_spsc_reserve(&r.p, 16, &slot));
    CHECK((uintptr_t)slot % 8 == 0);
    rig_fill(slot, 5, 16);
    rig_expect_empty(&r);
    CHECK_OK(weir_spsc_drained(&r.p));
    CHECK_OK(weir_spsc_commit(&r.p, 16));
    rig_expect_pop(&r, 5, 16);
    rig_close(&r);
}

Test(spsc, commit_of_fewer_bytes_hands_over_those_and_gives_the_rest_back)
{
    rig r;
    rig_open(&r, 64, 0);
    for (uint64_t len = 0; len <= 16; len++) {
        void *slot = NULL;
        CHECK_OK(weir_spsc_reserve(&r.p, 16, &slot));
        uint64_t start_pos = (uint64_t)((unsigned char *)slot - rig_data(&r)) - 8;
        rig_fill(slot, len, 16);
        CHECK_OK(weir_spsc_commit(&r.p, len));
        CHECK((r.p.pos & 63) == ((start_pos + rig_size(len)) & 63));
        rig_expect_pop(&r, len, len);
        rig_expect_empty(&r);
    }
    rig_close(&r);
}

Test(spsc, commit_of_more_than_was_reserved_is_invalid_and_the_reservation_stays)
{
    rig r;
    rig_open(&r, 64, 0);
    for (uint64_t len = 0; len <= 16; len++) {
        void *slot = NULL;
        CHECK_OK(weir_spsc_reserve(&r.p, len, &slot));
        rig_fill(slot, len, len);
        CHECK_STATUS(weir_spsc_commit(&r.p, len + 1), WEIR_E_INVALID);
        CHECK_STATUS(weir_spsc_commit_more(&r.p, UINT64_MAX), WEIR_E_INVALID);
        CHECK_STATUS(weir_spsc_commit(&r.p, len + (UINT64_C(1) << 32)), WEIR_E_INVALID);
        rig_expect_empty(&r);
        CHECK_OK(weir_spsc_commit(&r.p, len));
        rig_expect_pop(&r, len, len);
    }
    rig_close(&r);
}

Test(spsc, commit_without_a_reservation_is_out_of_order)
{
    rig r;
    rig_open(&r, 64, 0);
    void *slot = NULL;
    CHECK_STATUS(weir_spsc_commit(&r.p, 0), WEIR_E_STATE);
    CHECK_STATUS(weir_spsc_commit_more(&r.p, 0), WEIR_E_STATE);
    CHECK_OK(weir_spsc_reserve(&r.p, 0, &slot));
    CHECK_OK(weir_spsc_commit(&r.p, 0));
    CHECK_STATUS(weir_spsc_commit(&r.p, 0), WEIR_E_STATE);
    rig_expect_pop(&r, 0, 0);
    rig_expect_empty(&r);
    rig_close(&r);
}

Test(spsc, a_push_or_a_failed_reserve_gives_the_open_reservation_up)
{
    rig r;
    rig_open(&r, 256, 0);
    void *slot = NULL;
    CHECK_OK(weir_spsc_reserve(&r.p, 16, &slot));
    rig_fill(slot, 1, 16);
    CHECK_OK(rig_push(&r, 2, 8));
    CHECK_STATUS(weir_spsc_commit(&r.p, 16), WEIR_E_STATE);
    CHECK_OK(weir_spsc_reserve(&r.p, 16, &slot));
    CHECK_OK(rig_push_more(&r, 3, 8));
    CHECK_STATUS(weir_spsc_commit(&r.p, 16), WEIR_E_STATE);
    CHECK_OK(weir_spsc_reserve(&r.p, 16, &slot));
    CHECK_STATUS(weir_spsc_reserve(&r.p, 113, &slot), WEIR_E_TOO_LARGE);
    CHECK_STATUS(weir_spsc_commit(&r.p, 16), WEIR_E_STATE);
    weir_spsc_flush(&r.p);
    rig_expect_pop(&r, 2, 8);
    rig_expect_pop(&r, 3, 8);
    rig_expect_empty(&r);
    rig_close(&r);
}

Test(spsc, a_second_reserve_takes_the_first_ones_place)
{
    rig r;
    rig_open(&r, 64, 0);
    void *first = NULL, *second = NULL;
    CHECK_OK(weir_spsc_reserve(&r.p, 16, &first));
    CHECK_OK(weir_spsc_reserve(&r.p, 3, &second));
    CHECK(first == second);
    CHECK_STATUS(weir_spsc_commit(&r.p, 16), WEIR_E_INVALID);
    rig_fill(second, 6, 3);
    CHECK_OK(weir_spsc_commit(&r.p, 3));
    rig_expect_pop(&r, 6, 3);
    rig_close(&r);
}

/* ---- reading ---- */

Test(spsc, pop_into_too_small_a_buffer_keeps_the_record_and_says_its_length)
{
    rig r;
    rig_open(&r, 64, 40); /* 16 bytes go behind padding: the padding must not be passed either */
    CHECK_OK(rig_push(&r, 1, 0));
    CHECK_OK(rig_push(&r, 2, 16));
    rig_expect_pop(&r, 1, 0);
    uint64_t head = weir_load_rlx(&rig_control(&r)->head);
    for (uint64_t size = 0; size < 16; size++) {
        unsigned char buffer[16] = { 0 }, zero[16] = { 0 };
        uint32_t len = 77;
        CHECK_STATUS(weir_spsc_pop(&r.c, buffer, size, &len), WEIR_E_TOO_SMALL);
        CHECK(len == 16 && memcmp(buffer, zero, 16) == 0);
        len = 77;
        CHECK_STATUS(weir_spsc_pop_more(&r.c, buffer, size, &len), WEIR_E_TOO_SMALL);
        CHECK(len == 16 && memcmp(buffer, zero, 16) == 0);
        weir_spsc_release(&r.c);
        CHECK(weir_load_rlx(&rig_control(&r)->head) == head);
        CHECK_OK(weir_spsc_ready(&r.c));
    }
    rig_expect_pop(&r, 2, 16);
    rig_expect_empty(&r);
    rig_close(&r);
}

Test(spsc, pop_more_and_peek_hold_the_room_until_a_release_or_a_pop)
{
    for (unsigned by_pop = 0; by_pop < 2; by_pop++) {
        rig r;
        rig_open(&r, 64, 0);
        for (uint64_t i = 0; i < 7; i++)
            CHECK_OK(rig_push(&r, i, 0));
        uint32_t len = 77;
        rig_expect_peek(&r, 0, 0);
        CHECK_OK(weir_spsc_pop_more(&r.c, nowhere, 0, &len));
        rig_expect_peek(&r, 2, 0);
        CHECK_STATUS(rig_push(&r, 7, 0), WEIR_FULL);
        if (by_pop)
            rig_expect_pop(&r, 3, 0);
        else
            weir_spsc_release(&r.c);
        for (uint64_t i = 7; i < 10 + by_pop; i++)
            CHECK_OK(rig_push(&r, i, 0));
        CHECK_STATUS(rig_push(&r, 11, 0), WEIR_FULL);
        for (uint64_t i = 3 + by_pop; i < 10 + by_pop; i++)
            rig_expect_pop(&r, i, 0);
        rig_expect_empty(&r);
        rig_close(&r);
    }
}

Test(spsc, every_release_stores_the_position_before_it_returns)
{
    rig r;
    rig_open(&r, 128, 0);
    for (uint64_t i = 0; i < 3; i++)
        CHECK_OK(rig_push(&r, i, 8));
    for (uint64_t i = 0; i < 3; i++) {
        rig_expect_peek(&r, i, 8);
        CHECK(weir_load_rlx(&rig_control(&r)->head) == i * 16);
        weir_spsc_release(&r.c);
        CHECK(weir_load_rlx(&rig_control(&r)->head) == (i + 1) * 16);
    }
    rig_close(&r);
}

/* Records are read as soon as so many are there.  In the third lap: how many pushes had the fourth line behind them cleared? */
static unsigned lines_ahead(unsigned held)
{
    rig r;
    uint64_t msg[7] = { 0 }; /* a record is a line */
    uint32_t len;
    unsigned cleared = 0;
    rig_open(&r, 4096, 0);
    for (unsigned pushed = 0; pushed < 3 * 64; pushed += held) {
        for (unsigned i = 0; i < held; i++) {
            CHECK_OK(weir_spsc_push(&r.p, msg, sizeof msg));
            const weir_atomic_u64 *line = weir_word_at(r.mem + WEIR_SPSC_CONTROL, (r.p.pos + 256) % 4096);
            cleared += pushed >= 2 * 64 && weir_load_rlx(line) == 0;
        }
        for (unsigned i = 0; i < held; i++)
            CHECK_OK(weir_spsc_pop(&r.c, msg, sizeof msg, &len));
    }
    rig_close(&r);
    return cleared;
}

Test(spsc, lines_are_taken_far_ahead_only_where_records_do_not_go_one_at_a_time)
{
    CHECK(lines_ahead(1) == 0);
    CHECK(lines_ahead(8) != 0);
}

Test(spsc, ready_sees_a_record_without_reading_it)
{
    rig r;
    rig_open(&r, 64, 0);
    CHECK_STATUS(weir_spsc_ready(&r.c), WEIR_EMPTY);
    CHECK_OK(rig_push(&r, 1, 4));
    CHECK_OK(weir_spsc_ready(&r.c));
    CHECK_OK(weir_spsc_ready(&r.c));
    rig_expect_pop(&r, 1, 4);
    CHECK_STATUS(weir_spsc_ready(&r.c), WEIR_EMPTY);
    rig_close(&r);
}

Test(spsc, drained_is_full_until_the_consumer_released_everything)
{
    rig r;
    rig_open(&r, 128, 0);
    CHECK_OK(weir_spsc_drained(&r.p));
    CHECK_OK(rig_push(&r, 1, 4));
    CHECK_OK(rig_push(&r, 2, 4));
    CHECK_STATUS(weir_spsc_drained(&r.p), WEIR_FULL);
    rig_expect_pop(&r, 1, 4);
    CHECK_STATUS(weir_spsc_drained(&r.p), WEIR_FULL);
    rig_expect_peek(&r, 2, 4);
    CHECK_STATUS(weir_spsc_drained(&r.p), WEIR_FULL);
    weir_spsc_release(&r.c);
    CHECK_OK(weir_spsc_drained(&r.p));
    rig_close(&r);
}

Test(spsc, drained_is_full_while_a_batch_is_open)
{
    rig r;
    rig_open(&r, 128, 0);
    CHECK_OK(rig_push_more(&r, 1, 4));
    CHECK_STATUS(weir_spsc_drained(&r.p), WEIR_FULL);
    weir_spsc_flush(&r.p);
    CHECK_STATUS(weir_spsc_drained(&r.p), WEIR_FULL);
    rig_expect_pop(&r, 1, 4);
    CHECK_OK(weir_spsc_drained(&r.p));
    rig_close(&r);
}

Test(spsc, a_position_the_consumer_cannot_have_is_corrupt_for_the_producer_and_stays_so)
{
    rig r;
    rig_open(&r, 64, 0);
    CHECK_OK(rig_push(&r, 1, 0));
    weir_store_rlx(&rig_control(&r)->head, 16); /* one word beyond what was published */
    CHECK_STATUS(weir_spsc_drained(&r.p), WEIR_E_CORRUPT);
    weir_store_rlx(&rig_control(&r)->head, 0);
    weir_store_rlx(rig_word(&r, 0), WEIR_SPSC_DATA | 17);
    uint32_t len = 77;
    CHECK_STATUS(weir_spsc_pop(&r.c, nowhere, 0, &len), WEIR_E_CORRUPT);
    expect_all_calls(&r, WEIR_E_CORRUPT);
    rig_close(&r);
}
