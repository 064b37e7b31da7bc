/* The lane's end and its start: every offset, every length, positions across 2^32 and 2^64, batches. */
#include "spsc_rig.h"

#include <criterion/criterion.h>

/* Puts the ring back to empty at pos without allocating it again. */
static void restart(rig *r, uint64_t pos)
{
    for (uint64_t off = 0; off < r->capacity; off += 8)
        weir_store_rlx(rig_word(r, off), RIG_STALE);
    CHECK_OK(weir_spsc_init(r->mem, r->bytes, r->capacity, pos));
    rig_attach(r);
}

/* ---- one record ---- */

Test(spsc_wrap, every_length_up_to_the_limit_fits_an_empty_ring_at_every_offset)
{
    for (uint64_t capacity = 64; capacity <= 512; capacity *= 2) {
        rig r;
        rig_open(&r, capacity, 0);
        for (uint64_t pos = 0; pos < capacity; pos += 8)
            for (uint64_t len = 0; len <= weir_spsc_record_max(capacity); len++) {
                restart(&r, pos);
                CHECK_OK(rig_push(&r, len, len));
                CHECK(r.p.pos == rig_end(capacity, pos, len));
                rig_expect_pop(&r, len, len);
                CHECK(r.c.pos == r.p.pos);
                rig_expect_empty(&r);
                CHECK_OK(weir_spsc_drained(&r.p));
            }
        rig_close(&r);
    }
}

Test(spsc_wrap, every_length_can_be_reserved_at_every_offset_and_committed_shorter)
{
    for (uint64_t capacity = 64; capacity <= 128; capacity *= 2) {
        rig r;
        rig_open(&r, capacity, 0);
        for (uint64_t pos = 0; pos < capacity; pos += 8)
            for (uint64_t len = 0; len <= weir_spsc_record_max(capacity); len++)
                for (uint64_t used = 0; used <= len; used++) {
                    void *slot = NULL;
                    restart(&r, pos);
                    CHECK_OK(weir_spsc_reserve(&r.p, len, &slot));
                    CHECK((unsigned char *)slot >= rig_data(&r));
                    CHECK((unsigned char *)slot + len <= r.mem + r.bytes);
                    rig_fill(slot, pos, len);
                    CHECK_OK(weir_spsc_commit(&r.p, used));
                    rig_expect_pop(&r, pos, used);
                    rig_expect_empty(&r);
                }
        rig_close(&r);
    }
}

/* The words that a push clears ahead, in free room: where the header behind the next record of its size will be, unless more
 * follows, and the first of each line that begins in the 512 bytes behind it, or in two records of its size, if these are more,
 * but in no more than 4096. */
static bool is_ahead(uint64_t at, uint64_t end_pos, uint64_t len, bool more)
{
    uint64_t size = rig_size(len), ahead = 2 * size > 512 ? 2 * size : 512;
    ahead = ahead < 4096 ? ahead : 4096;
    return (at == end_pos + size && !more) || (at % WEIR_LINE == 0 && at < end_pos + ahead);
}

/* What others may be reading, or have not given back, must not be touched: push's stores are these words alone. */
Test(spsc_wrap, a_push_writes_its_record_its_padding_and_the_next_header_and_nothing_else)
{
    for (uint64_t capacity = 64; capacity <= 256; capacity *= 2) {
        rig r;
        rig_open(&r, capacity, 0);
        for (uint64_t pos = 0; pos < capacity; pos += 8)
            for (uint64_t len = 0; len <= weir_spsc_record_max(capacity); len++)
                for (unsigned more = 0; more < 2; more++) {
                    restart(&r, pos);
                    CHECK_OK(more ? rig_push_more(&r, len, len) : rig_push(&r, len, len));
                    uint64_t end_pos = rig_end(capacity, pos, len);
                    for (uint64_t at = end_pos + 8; at < pos + capacity; at += 8) {
                        uint64_t word = weir_load_rlx(rig_word(&r, at));
                        CHECK(word == RIG_STALE || (word == 0 && is_ahead(at, end_pos, len, more != 0)));
                    }
                    if (end_pos - pos != rig_size(len)) /* behind the padding's header nothing is written either */
                        for (uint64_t at = pos + 8; at % capacity != 0; at += 8)
                            CHECK(weir_load_rlx(rig_word(&r, at)) == RIG_STALE);
                }
        rig_close(&r);
    }
}

Test(spsc_wrap, a_push_takes_the_lines_ahead_and_none_that_was_not_released)
{
    const uint64_t capacity = 4096, len = 56;
    rig r;
    rig_open(&r, capacity, 0);
    for (unsigned more = 0; more < 2; more++) {
        restart(&r, 0);
        CHECK_OK(more ? rig_push_more(&r, 1, len) : rig_push(&r, 1, len));
        for (uint64_t at = rig_size(len) + 8; at < capacity; at += 8)
            CHECK((weir_load_rlx(rig_word(&r, at)) == 0) == is_ahead(at, rig_size(len), len, more != 0));
    }
    restart(&r, 0);
    uint64_t pushed = 0, popped = 0;
    for (unsigned turn = 0; turn < 200; turn++) { /* it is full, gives one back, and is full again */
        while (rig_push(&r, pushed, len) == WEIR_OK)
            pushed++;
        rig_expect_pop(&r, popped++, len);
    }
    while (popped < pushed)
        rig_expect_pop(&r, popped++, len);
    rig_expect_empty(&r);
    rig_close(&r);
}

/* The longest record before which one of len bytes fits, from pos on. */
static uint64_t longest_before(uint64_t capacity, uint64_t pos, uint64_t len)
{
    uint64_t before = weir_spsc_record_max(capacity);
    while (!rig_fits(capacity, pos, rig_end(capacity, pos, before), len))
        before -= 8;
    return before;
}

/* A record that is not released, and one of len bytes behind it that just fits: that one's lines are made the producer's own
 * before its bytes come, and no word of the former's may be. */
static void put_long(rig *r, uint64_t pos, uint64_t len, unsigned way)
{
    uint64_t before = longest_before(r->capacity, pos, len);
    void *slot = NULL;
    restart(r, pos);
    CHECK_OK(rig_push(r, 1, before));
    uint64_t next_pos = r->p.pos, end_pos = rig_end(r->capacity, next_pos, len);
    if (way == 0)
        CHECK_OK(rig_push(r, 2, len));
    else if (way == 1)
        CHECK_OK(rig_push_more(r, 2, len));
    else
        CHECK_OK(weir_spsc_reserve(&r->p, len, &slot));
    CHECK((weir_load_rlx(rig_word(r, next_pos)) != 0) == (way == 0));
    for (uint64_t at = end_pos + 8; at < pos + r->capacity; at += 8) {
        uint64_t word = weir_load_rlx(rig_word(r, at));
        CHECK(word == RIG_STALE || word == 0);
    }
    rig_expect_pop(r, 1, before);
    if (slot != NULL) {
        rig_expect_empty(r);
        rig_fill(slot, 2, len);
        CHECK_OK(weir_spsc_commit(&r->p, len));
    }
    weir_spsc_flush(&r->p);
    rig_expect_pop(r, 2, len);
    rig_expect_empty(r);
}

Test(spsc_wrap, a_long_record_takes_its_own_lines_and_none_that_was_not_released)
{
    static const uint64_t lens[] = { 1032, 4088, 4096, 4097, 4160, 6000, 8170, 8176 };
    rig r;
    rig_open(&r, 16384, 0);
    CHECK(weir_spsc_record_max(r.capacity) == 8176);
    for (uint64_t pos = 0; pos < r.capacity; pos += 56)
        for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++)
            for (unsigned way = 0; way < 3; way++)
                put_long(&r, pos, lens[i], way);
    rig_close(&r);
}

Test(spsc_wrap, every_length_goes_through_a_ring_of_2048_at_every_offset_in_a_line)
{
    rig r;
    rig_open(&r, 2048, 0);
    for (uint64_t pos = 0; pos < 64; pos += 8)
        for (uint64_t len = 0; len <= weir_spsc_record_max(2048); len++) {
            restart(&r, pos);
            CHECK_OK(len % 2 == 0 ? rig_push(&r, len, len) : rig_push_more(&r, len, len));
            weir_spsc_flush(&r.p);
            rig_expect_pop(&r, len, len);
            rig_expect_empty(&r);
        }
    rig_close(&r);
}

Test(spsc_wrap, lengths_around_the_limit_fit_an_empty_ring_of_4096_at_every_offset)
{
    rig r;
    rig_open(&r, 4096, 0);
    uint32_t max = weir_spsc_record_max(4096);
    for (uint64_t pos = 0; pos < 4096; pos += 8)
        for (uint64_t less = 0; less < 24; less++) {
            restart(&r, pos);
            CHECK_OK(rig_push(&r, less, max - less));
            rig_expect_pop(&r, less, max - less);
            rig_expect_empty(&r);
        }
    rig_close(&r);
}

/* ---- one record into what others left free ---- */

/* The head at head_pos, and used bytes of empty records behind it; then one record of len: it must go in exactly if
 * the description says so, and a refusal must write nothing. */
static unsigned try_one(rig *r, unsigned char *before, uint64_t head_pos, uint64_t used, uint64_t len)
{
    restart(r, head_pos);
    for (uint64_t i = 0; i < used; i += 8)
        CHECK_OK(rig_push(r, i, 0));
    bool fits = rig_fits(r->capacity, head_pos, head_pos + used, len);
    memcpy(before, r->mem, r->bytes);
    CHECK_STATUS(rig_push(r, 1, len), fits ? WEIR_OK : WEIR_FULL);
    if (!fits)
        CHECK(memcmp(before, r->mem, r->bytes) == 0);
    for (uint64_t i = 0; i < used; i += 8)
        rig_expect_pop(r, i, 0);
    if (!fits) /* what was full before is room now */
        CHECK_OK(rig_push(r, 1, len));
    rig_expect_pop(r, 1, len);
    rig_expect_empty(r);
    return fits ? 0 : 1;
}

Test(spsc_wrap, a_record_goes_in_exactly_if_padding_and_record_and_the_next_header_fit)
{
    for (uint64_t capacity = 64; capacity <= 128; capacity *= 2) {
        rig r;
        unsigned full = 0;
        rig_open(&r, capacity, 0);
        unsigned char before[WEIR_SPSC_CONTROL + 128];
        for (uint64_t head = 0; head < capacity; head += 8)
            for (uint64_t used = 0; used < capacity; used += 8)
                for (uint64_t len = 0; len <= weir_spsc_record_max(capacity); len++)
                    full += try_one(&r, before, head, used, len);
        CHECK(full > 0);
        rig_close(&r);
    }
}

Test(spsc_wrap, a_record_goes_into_a_ring_of_4096_exactly_if_it_fits_sampled)
{
    rig r;
    unsigned full = 0;
    uint64_t seed = support_seed();
    rig_open(&r, 4096, 0);
    unsigned char before[WEIR_SPSC_CONTROL + 4096];
    for (uint64_t i = support_count(20000); i > 0; i--)
        full += try_one(&r, before, support_random(&seed) % 512 * 8, support_random(&seed) % 512 * 8,
                        support_random(&seed) % (weir_spsc_record_max(4096) + 1));
    CHECK(full > 0);
    rig_close(&r);
}

Test(spsc_wrap, no_room_at_the_end_and_none_at_the_front_is_full_and_writes_nothing)
{
    rig r, before;
    rig_open(&r, 64, 16);
    for (uint64_t i = 0; i < 4; i++) /* words 2 to 5 are taken; 6 and 7 are the end, 0 and 1 the front */
        CHECK_OK(rig_push(&r, i, 0));
    rig_copy(&before, r.mem, r.capacity);
    CHECK_STATUS(rig_push(&r, 9, 9), WEIR_FULL); /* 24 bytes: 16 at the end, 16 at the front */
    CHECK(memcmp(before.mem, r.mem, r.bytes) == 0);
    rig_expect_pop(&r, 0, 0);
    CHECK_STATUS(rig_push(&r, 9, 9), WEIR_FULL); /* 24 at the front, but no word for the next header */
    CHECK(memcmp(before.mem + 256, r.mem + 256, 64) == 0);
    rig_expect_pop(&r, 1, 0);
    CHECK_OK(rig_push(&r, 9, 9));
    rig_expect_pop(&r, 2, 0);
    rig_expect_pop(&r, 3, 0);
    rig_expect_pop(&r, 9, 9);
    rig_expect_empty(&r);
    rig_close(&before);
    rig_close(&r);
}

/* ---- positions ---- */

/* Five laps of all lengths, one to three records in the ring. */
static void run_laps(rig *r, uint64_t start_pos)
{
    uint64_t written = 0, read = 0, max = weir_spsc_record_max(r->capacity);
    restart(r, start_pos);
    while (r->p.pos - start_pos < 5 * r->capacity) {
        uint64_t len = written * 5 % (max + 1);
        if (written - read < 3 && rig_push(r, written, len) == WEIR_OK) {
            written++;
            continue;
        }
        rig_expect_pop(r, read, read * 5 % (max + 1));
        read++;
    }
    for (; read < written; read++)
        rig_expect_pop(r, read, read * 5 % (max + 1));
    rig_expect_empty(r);
    CHECK_OK(weir_spsc_drained(&r->p));
    CHECK(weir_load_rlx(&rig_control(r)->head) == r->p.pos);
}

Test(spsc_wrap, positions_go_on_across_every_power_of_two_and_past_2_to_the_64)
{
    for (uint64_t capacity = 64; capacity <= 256; capacity *= 2) {
        rig r;
        rig_open(&r, capacity, 0);
        static const unsigned bits[] = { 31, 32, 33, 62, 63 };
        for (uint64_t back = 0; back <= 2 * capacity; back += 8) {
            for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++)
                run_laps(&r, (UINT64_C(1) << bits[i]) - back);
            run_laps(&r, 0 - back);
        }
        rig_close(&r);
    }
}

Test(spsc_wrap, a_ring_that_stands_on_2_to_the_64_is_full_when_it_is_full)
{
    for (uint64_t back = 0; back <= 64; back += 8) {
        rig r;
        rig_open(&r, 64, 0 - back);
        for (uint64_t i = 0; i < 7; i++)
            CHECK_OK(rig_push(&r, i, 0));
        CHECK_STATUS(rig_push(&r, 7, 0), WEIR_FULL);
        CHECK_STATUS(weir_spsc_drained(&r.p), WEIR_FULL);
        record all[7];
        for (uint64_t i = 0; i < 7; i++)
            all[i] = (record){ i, 0 };
        rig_expect_image(r.mem, r.capacity, all, 7);
        for (uint64_t i = 0; i < 7; i++)
            rig_expect_pop(&r, i, 0);
        rig_expect_empty(&r);
        rig_close(&r);
    }
}

/* ---- batches ---- */

Test(spsc_batch, nothing_of_a_batch_is_visible_before_the_flush_and_all_of_it_after)
{
    rig r;
    rig_open(&r, 256, 0);
    CHECK_OK(rig_push(&r, 0, 4));
    rig_expect_pop(&r, 0, 4);
    for (uint64_t i = 1; i < 6; i++) {
        CHECK_OK(rig_push_more(&r, i, i * 3));
        rig_expect_empty(&r);
    }
    weir_spsc_flush(&r.p);
    for (uint64_t i = 1; i < 6; i++)
        rig_expect_peek(&r, i, i * 3);
    rig_expect_empty(&r);
    rig_close(&r);
}

Test(spsc_batch, a_push_and_a_commit_publish_the_batch_before_them)
{
    rig r;
    rig_open(&r, 256, 0);
    void *slot = NULL;
    CHECK_OK(rig_push_more(&r, 1, 5));
    CHECK_OK(rig_push(&r, 2, 6));
    rig_expect_pop(&r, 1, 5);
    rig_expect_pop(&r, 2, 6);
    CHECK_OK(weir_spsc_reserve(&r.p, 7, &slot));
    rig_fill(slot, 3, 7);
    CHECK_OK(weir_spsc_commit_more(&r.p, 7));
    rig_expect_empty(&r);
    CHECK_OK(weir_spsc_reserve(&r.p, 8, &slot));
    rig_fill(slot, 4, 8);
    rig_expect_empty(&r);
    CHECK_OK(weir_spsc_commit(&r.p, 8));
    rig_expect_pop(&r, 3, 7);
    rig_expect_pop(&r, 4, 8);
    rig_expect_empty(&r);
    rig_close(&r);
}

Test(spsc_batch, flush_without_a_batch_writes_nothing)
{
    rig r, before;
    rig_open(&r, 128, 0);
    CHECK_OK(rig_push_more(&r, 1, 5));
    weir_spsc_flush(&r.p);
    rig_copy(&before, r.mem, r.capacity);
    weir_spsc_flush(&r.p);
    CHECK(memcmp(before.mem, r.mem, r.bytes) == 0);
    rig_expect_pop(&r, 1, 5);
    weir_spsc_flush(&r.p);
    rig_expect_empty(&r);
    rig_close(&before);
    rig_close(&r);
}

Test(spsc_batch, a_full_ring_leaves_the_open_batch_unpublished_until_its_flush)
{
    rig r, before;
    rig_open(&r, 64, 24);
    for (uint64_t i = 0; i < 7; i++)
        CHECK_OK(rig_push_more(&r, i, 0));
    rig_copy(&before, r.mem, r.capacity);
    CHECK_STATUS(rig_push(&r, 7, 0), WEIR_FULL);
    CHECK_STATUS(rig_push_more(&r, 7, 0), WEIR_FULL);
    CHECK(memcmp(before.mem, r.mem, r.bytes) == 0);
    rig_expect_empty(&r);
    weir_spsc_flush(&r.p);
    for (uint64_t i = 0; i < 7; i++)
        rig_expect_pop(&r, i, 0);
    rig_expect_empty(&r);
    rig_close(&before);
    rig_close(&r);
}

/* Three records at every offset: the padding comes to stand before the first, the middle, the last, or not at all. */
Test(spsc_batch, a_batch_may_span_the_end_with_padding_before_any_of_its_records)
{
    unsigned padded[3] = { 0, 0, 0 };
    rig r;
    rig_open(&r, 256, 0);
    for (uint64_t pos = 0; pos < 256; pos += 8)
        for (uint64_t len = 0; len <= 44; len += 3) {
            restart(&r, pos);
            for (uint64_t i = 0; i < 3; i++) {
                uint64_t from = r.p.pos;
                CHECK_OK(rig_push_more(&r, i, len + i));
                CHECK(r.p.pos == rig_end(256, from, len + i));
                if (r.p.pos - from != rig_size(len + i))
                    padded[i]++;
                rig_expect_empty(&r);
                CHECK_STATUS(weir_spsc_drained(&r.p), WEIR_FULL);
                rig_expect_image(r.mem, r.capacity, NULL, 0);
            }
            weir_spsc_flush(&r.p);
            for (uint64_t i = 0; i < 3; i++)
                rig_expect_peek(&r, i, len + i);
            rig_expect_empty(&r);
            CHECK(weir_load_rlx(&rig_control(&r)->head) == pos);
            weir_spsc_release(&r.c);
            CHECK_OK(weir_spsc_drained(&r.p));
        }
    CHECK(padded[0] > 0 && padded[1] > 0 && padded[2] > 0);
    rig_close(&r);
}

Test(spsc_batch, records_read_as_a_batch_are_given_back_all_at_once)
{
    rig r;
    rig_open(&r, 256, 200);
    unsigned char buffer[64];
    uint32_t len = 0;
    for (uint64_t i = 0; i < 4; i++)
        CHECK_OK(rig_push(&r, i, 20));
    for (uint64_t i = 0; i < 4; i++) {
        CHECK_OK(weir_spsc_pop_more(&r.c, buffer, sizeof buffer, &len));
        CHECK(len == 20 && rig_holds(buffer, i, len));
        CHECK(weir_load_rlx(&rig_control(&r)->head) == 200);
        CHECK_STATUS(weir_spsc_drained(&r.p), WEIR_FULL);
    }
    weir_spsc_release(&r.c);
    CHECK(weir_load_rlx(&rig_control(&r)->head) == r.p.pos);
    CHECK_OK(weir_spsc_drained(&r.p));
    rig_close(&r);
}

Test(spsc_batch, the_consumer_may_release_the_record_before_an_open_batch)
{
    rig r;
    rig_open(&r, 64, 0);
    CHECK_OK(rig_push(&r, 0, 16));
    for (uint64_t i = 1; i < 5; i++)
        CHECK_OK(rig_push_more(&r, i, 0));
    CHECK_STATUS(rig_push_more(&r, 5, 0), WEIR_FULL);
    rig_expect_pop(&r, 0, 16);
    for (uint64_t i = 5; i < 8; i++)
        CHECK_OK(rig_push_more(&r, i, 0));
    CHECK_STATUS(rig_push(&r, 8, 0), WEIR_FULL);
    rig_expect_empty(&r);
    weir_spsc_flush(&r.p);
    for (uint64_t i = 1; i < 8; i++)
        rig_expect_pop(&r, i, 0);
    rig_expect_empty(&r);
    rig_close(&r);
}
