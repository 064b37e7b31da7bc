/* New ends on a ring whose former ends are gone, at every moment between two calls. */
#include "spsc_rig.h"

#include <criterion/criterion.h>

#define CAPACITY 128u

static void new_producer(rig *r)
{
    memset(&r->p, 0xff, sizeof r->p); /* nothing of the former one may be of use */
    CHECK_OK(weir_spsc_producer_attach(&r->p, r->mem, r->bytes));
}

static void new_consumer(rig *r)
{
    memset(&r->c, 0xff, sizeof r->c);
    CHECK_OK(weir_spsc_consumer_attach(&r->c, r->mem, r->bytes));
}

/* The consumer, an old or a new one, must get these records and then those of the new producer, for two laps. */
static void expect_and_go_on(rig *r, const record *expected, uint64_t count)
{
    CHECK_OK(rig_push(r, 100, 3));
    for (uint64_t i = 0; i < count; i++)
        rig_expect_pop(r, expected[i].seq, expected[i].len);
    rig_expect_pop(r, 100, 3);
    rig_expect_empty(r);
    for (uint64_t i = 0; i <= 2 * CAPACITY / 8; i++) {
        uint64_t len = i % 3 == 0 ? 9 : 0;
        CHECK_OK(rig_push(r, i, len));
        rig_expect_pop(r, i, len);
        rig_expect_empty(r);
    }
    CHECK_OK(weir_spsc_drained(&r->p));
}

/* ---- a new producer ---- */

Test(spsc_takeover, a_new_producer_after_nothing_begins_at_the_start)
{
    for (uint64_t pos = 0; pos < CAPACITY; pos += 8) {
        rig r;
        rig_open(&r, CAPACITY, pos);
        new_producer(&r);
        CHECK(r.p.pos == pos);
        expect_and_go_on(&r, NULL, 0);
        rig_close(&r);
    }
}

Test(spsc_takeover, a_new_producer_begins_behind_the_committed_records)
{
    static const record all[] = { { 1, 12 }, { 2, 0 }, { 3, 24 } };
    for (uint64_t pos = 0; pos < CAPACITY; pos += 8)
        for (uint64_t count = 1; count <= 3; count++) {
            rig r;
            rig_open(&r, CAPACITY, 0 - pos);
            for (uint64_t i = 0; i < count; i++)
                CHECK_OK(rig_push(&r, all[i].seq, all[i].len));
            uint64_t end_pos = r.p.pos;
            rig_expect_image(r.mem, CAPACITY, all, count);
            new_producer(&r);
            CHECK(r.p.pos == end_pos);
            expect_and_go_on(&r, all, count);
            rig_close(&r);
        }
}

Test(spsc_takeover, a_new_producer_on_a_full_ring_finds_it_full)
{
    for (uint64_t pos = 0; pos < CAPACITY; pos += 8) {
        rig r;
        rig_open(&r, CAPACITY, pos);
        for (uint64_t i = 0; i < CAPACITY / 8 - 1; i++)
            CHECK_OK(rig_push(&r, i, 0));
        new_producer(&r);
        CHECK_STATUS(rig_push(&r, 0, 0), WEIR_FULL);
        CHECK_STATUS(weir_spsc_drained(&r.p), WEIR_FULL);
        for (uint64_t i = 0; i < CAPACITY / 8 - 1; i++)
            rig_expect_pop(&r, i, 0);
        expect_and_go_on(&r, NULL, 0);
        rig_close(&r);
    }
}

Test(spsc_takeover, a_new_producer_begins_where_a_consumer_that_released_all_stands)
{
    rig r;
    rig_open(&r, CAPACITY, 64);
    for (uint64_t i = 0; i < 40; i++) {
        uint64_t len = i * 5 % 49;
        CHECK_OK(rig_push(&r, i, len));
        rig_expect_pop(&r, i, len);
        new_producer(&r);
        CHECK(r.p.pos == r.c.pos);
        CHECK_OK(weir_spsc_drained(&r.p));
        rig_expect_empty(&r);
    }
    rig_close(&r);
}

Test(spsc_takeover, a_reservation_that_was_written_and_abandoned_never_existed)
{
    static const record kept[] = { { 1, 10 } };
    for (uint64_t pos = 0; pos < CAPACITY; pos += 8)
        for (uint64_t len = 0; len <= 48; len += 4) {
            rig r;
            rig_open(&r, CAPACITY, pos);
            void *slot = NULL;
            CHECK_OK(rig_push(&r, 1, 10));
            if (weir_spsc_reserve(&r.p, len, &slot) == WEIR_OK)
                for (uint64_t i = 0; i + 8 <= len; i += 8) /* the worst bytes: they look like records */
                    memcpy((unsigned char *)slot + i, &(uint64_t){ RIG_STALE }, 8);
            rig_expect_image(r.mem, CAPACITY, kept, 1);
            new_producer(&r);
            expect_and_go_on(&r, kept, 1);
            rig_close(&r);
        }
}

Test(spsc_takeover, half_a_batch_vanishes_wherever_it_stands)
{
    static const record kept[] = { { 1, 3 } };
    unsigned padded = 0;
    for (uint64_t pos = 0; pos < CAPACITY; pos += 8)
        for (uint64_t len = 0; len <= 32; len += 8)
            for (uint64_t count = 1; count <= 3; count++) {
                rig r;
                rig_open(&r, CAPACITY, pos);
                CHECK_OK(rig_push(&r, 1, 3));
                uint64_t end_pos = r.p.pos;
                for (uint64_t i = 0; i < count; i++) {
                    uint64_t from = r.p.pos;
                    if (rig_push_more(&r, 50 + i, len) == WEIR_OK && r.p.pos - from != rig_size(len))
                        padded++;
                    rig_expect_image(r.mem, CAPACITY, kept, 1);
                }
                new_producer(&r);
                CHECK(r.p.pos == end_pos);
                expect_and_go_on(&r, kept, 1);
                rig_close(&r);
            }
    CHECK(padded > 0);
}

Test(spsc_takeover, padding_at_the_end_is_passed_together_with_its_record)
{
    for (uint64_t pos = 8; pos < CAPACITY; pos += 8)
        for (uint64_t len = 0; len <= 48; len++) {
            rig r;
            rig_open(&r, CAPACITY, pos);
            CHECK_OK(rig_push(&r, 1, len));
            uint64_t end_pos = r.p.pos;
            new_producer(&r);
            CHECK(r.p.pos == end_pos);
            new_consumer(&r);
            rig_expect_pop(&r, 1, len);
            expect_and_go_on(&r, NULL, 0);
            rig_close(&r);
        }
}

Test(spsc_takeover, padding_without_a_record_behind_it_is_no_state_a_producer_leaves)
{
    for (uint64_t pos = 8; pos < CAPACITY; pos += 8) {
        rig r;
        rig_open(&r, CAPACITY, pos);
        weir_store_rlx(rig_word(&r, pos), WEIR_SPSC_PAD | (CAPACITY - pos - 8));
        weir_store_rlx(rig_word(&r, 0), 0);
        CHECK_STATUS(weir_spsc_producer_attach(&r.p, r.mem, r.bytes), WEIR_E_CORRUPT);
        const void *msg = NULL;
        uint32_t len = 77;
        CHECK_STATUS(weir_spsc_peek(&r.c, &msg, &len), WEIR_E_CORRUPT);
        rig_close(&r);
    }
}

/* ---- a new consumer ---- */

Test(spsc_takeover, a_new_consumer_sees_what_was_read_and_not_released_again_and_nothing_else)
{
    for (uint64_t pos = 0; pos < CAPACITY; pos += 8)
        for (uint64_t released = 0; released <= 4; released++)
            for (uint64_t read = released; read <= 4; read++) {
                rig r;
                rig_open(&r, CAPACITY, 0 - pos);
                for (uint64_t i = 0; i < 4; i++)
                    CHECK_OK(rig_push(&r, i, 3 * i)); /* 72 bytes and at most 8 of padding */
                for (uint64_t i = 0; i < read; i++) {
                    if (i == released)
                        weir_spsc_release(&r.c);
                    rig_expect_peek(&r, i, 3 * i);
                }
                if (read == released)
                    weir_spsc_release(&r.c);
                record left[4];
                for (uint64_t i = released; i < 4; i++)
                    left[i - released] = (record){ i, (uint32_t)(3 * i) };
                rig_expect_image(r.mem, CAPACITY, left, 4 - released);
                new_consumer(&r);
                expect_and_go_on(&r, left, 4 - released);
                rig_close(&r);
            }
}

Test(spsc_takeover, what_a_consumer_popped_is_not_seen_by_the_next_and_what_it_pop_mored_is)
{
    rig r;
    rig_open(&r, CAPACITY, 0);
    unsigned char buffer[16];
    uint32_t len = 0;
    for (uint64_t i = 0; i < 5; i++)
        CHECK_OK(rig_push(&r, i, 5));
    rig_expect_pop(&r, 0, 5);
    CHECK_OK(weir_spsc_pop_more(&r.c, buffer, sizeof buffer, &len));
    CHECK_STATUS(weir_spsc_pop(&r.c, buffer, 4, &len), WEIR_E_TOO_SMALL);
    new_consumer(&r);
    for (uint64_t i = 1; i < 5; i++)
        rig_expect_pop(&r, i, 5);
    new_consumer(&r);
    rig_expect_empty(&r);
    rig_close(&r);
}

Test(spsc_takeover, the_producer_goes_on_beside_a_new_consumer_and_the_room_stays_held)
{
    rig r;
    rig_open(&r, 64, 0);
    for (uint64_t i = 0; i < 7; i++)
        CHECK_OK(rig_push(&r, i, 0));
    for (uint64_t i = 0; i < 7; i++)
        rig_expect_peek(&r, i, 0);
    new_consumer(&r);
    CHECK_STATUS(rig_push(&r, 7, 0), WEIR_FULL);
    rig_expect_pop(&r, 0, 0);
    CHECK_OK(rig_push(&r, 7, 0));
    CHECK_STATUS(rig_push(&r, 8, 0), WEIR_FULL);
    for (uint64_t i = 1; i < 8; i++)
        rig_expect_pop(&r, i, 0);
    rig_expect_empty(&r);
    rig_close(&r);
}

/* ---- killed inside a call, by hand ---- */

Test(spsc_takeover, a_record_without_its_header_never_existed)
{
    static const record kept[] = { { 1, 20 } };
    for (uint64_t pos = 0; pos < CAPACITY; pos += 8)
        for (uint64_t len = 0; len <= 48; len += 8) {
            rig r;
            rig_open(&r, CAPACITY, pos);
            CHECK_OK(rig_push(&r, 1, 20));
            if (!rig_fits(CAPACITY, pos, r.p.pos, len)) {
                rig_close(&r);
                continue;
            }
            /* As push does it: payload, the next header's 0, behind padding the record's own header. */
            uint64_t end_pos = rig_end(CAPACITY, r.p.pos, len), start_pos = end_pos - rig_size(len);
            rig_fill(rig_data(&r) + (start_pos & (CAPACITY - 1)) + 8, 2, len);
            rig_expect_image(r.mem, CAPACITY, kept, 1);
            weir_store_rlx(rig_word(&r, end_pos), 0);
            rig_expect_image(r.mem, CAPACITY, kept, 1);
            if (start_pos != r.p.pos)
                weir_store_rlx(rig_word(&r, start_pos), WEIR_SPSC_DATA | len);
            rig_expect_image(r.mem, CAPACITY, kept, 1);
            new_producer(&r);
            expect_and_go_on(&r, kept, 1);
            rig_close(&r);
        }
}

Test(spsc_takeover, a_record_whose_producer_died_behind_its_header_is_whole)
{
    static const record both[] = { { 1, 4 }, { 2, 30 } };
    for (uint64_t pos = 0; pos < CAPACITY; pos += 8) {
        rig r;
        rig_open(&r, CAPACITY, pos);
        CHECK_OK(rig_push(&r, 1, 4));
        uint64_t old_pos = r.p.pos, end_pos = rig_end(CAPACITY, old_pos, 30), start_pos = end_pos - rig_size(30);
        rig_fill(rig_data(&r) + (start_pos & (CAPACITY - 1)) + 8, 2, 30);
        weir_store_rlx(rig_word(&r, end_pos), 0);
        weir_store_rlx(rig_word(&r, start_pos), WEIR_SPSC_DATA | 30);
        if (start_pos != old_pos)
            weir_store_rlx(rig_word(&r, old_pos), WEIR_SPSC_PAD | (start_pos - old_pos - 8));
        rig_expect_image(r.mem, CAPACITY, both, 2);
        new_producer(&r);
        CHECK(r.p.pos == end_pos);
        expect_and_go_on(&r, both, 2);
        rig_close(&r);
    }
}
