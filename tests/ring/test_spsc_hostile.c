/* Bytes that no weir writes.  Whatever is in the ring, a call answers with a status, stays inside the ring's memory
 * (which is exactly its footprint, for AddressSanitizer to see) and ends. */
#include "spsc_rig.h"

#include <criterion/criterion.h>

#define CAPACITY 256u
#define RECORD_MAX 112u

/* ---- the values ---- */

#define SLICE_VALUES (4u * 65536u)

static const uint64_t boundary[] = {
    0, 1, 2, 7, 8, 9, 15, 16, 63, 64, 65, 127, 128, 255, 256, 257, 511, 512, 4096, INT32_MAX, UINT32_C(1) << 31,
    UINT32_MAX - 7, UINT32_MAX, UINT64_C(1) << 32, (UINT64_C(1) << 46), (UINT64_C(1) << 46) + 1, UINT64_C(1) << 47,
    INT64_MAX, UINT64_C(1) << 63, UINT64_MAX - 255, UINT64_MAX - 256, UINT64_MAX - 15, UINT64_MAX - 8, UINT64_MAX - 7,
    UINT64_MAX,
    WEIR_SPSC_DATA, WEIR_SPSC_DATA | 1, WEIR_SPSC_DATA | RECORD_MAX, WEIR_SPSC_DATA | (RECORD_MAX + 1),
    WEIR_SPSC_DATA | CAPACITY, WEIR_SPSC_DATA | UINT32_MAX, WEIR_SPSC_DATA | (UINT32_MAX - 7),
    WEIR_SPSC_PAD, WEIR_SPSC_PAD | 8, WEIR_SPSC_PAD | 9, WEIR_SPSC_PAD | (CAPACITY - 8), WEIR_SPSC_PAD | UINT32_MAX,
    WEIR_SPSC_PAD | (UINT32_MAX - 7), WEIR_SPSC_MAGIC, WEIR_SPSC_VERSION,
};
#define BOUNDARIES (sizeof boundary / sizeof boundary[0])

#define NEAR 256u

/* The values a word is set to: the boundaries, all values near the proper one, then the proper value with each of its
 * 16-bit parts at each of its values (a share of them, by step, where not all are run). */
static uint64_t nth_value(uint64_t n, uint64_t proper)
{
    if (n < BOUNDARIES)
        return boundary[n];
    if (n < BOUNDARIES + NEAR)
        return proper - NEAR / 2 + (n - BOUNDARIES);
    n -= BOUNDARIES + NEAR;
    uint64_t slice = n / 65536 % 4, bits = n % 65536;
    return (proper & ~(UINT64_C(0xffff) << slice * 16)) | bits << slice * 16;
}

static uint64_t next_n(uint64_t n)
{
    uint64_t step = n < BOUNDARIES + NEAR ? 1 : SLICE_VALUES / support_count(SLICE_VALUES);
    return n + (step > 1 ? step | 1 : step); /* odd: every slice gets low and high, even and odd values */
}

#define EACH_VALUE(n, value, proper)                                                                                  \
    for (uint64_t n = 0, value = nth_value(0, (proper)); n < BOUNDARIES + NEAR + SLICE_VALUES;                        \
         n = next_n(n), value = nth_value(n, (proper)))

/* ---- the calls ---- */

/* A ring in which the position has gone past the end, with two records, the first behind padding. */
static void open_used(rig *r)
{
    rig_open(r, CAPACITY, CAPACITY - 40);
    CHECK_OK(rig_push(r, 0, 0));
    rig_expect_pop(r, 0, 0);
    CHECK_OK(rig_push(r, 1, 50));
    CHECK_OK(rig_push(r, 2, 16));
}

static bool stays_inside(const rig *r, const void *msg, uint64_t len)
{
    const unsigned char *bytes = msg, *end = r->mem + r->bytes;
    return bytes >= rig_data(r) && bytes <= end && len <= (uint64_t)(end - bytes) && (uintptr_t)bytes % 8 == 0;
}

/* Reads every byte, as a consumer does. */
static void sink(const void *msg, uint64_t len)
{
    static unsigned char read[RIG_LEN_MAX];
    memcpy(read, msg, len);
}

static weir_status check_status(weir_status status, weir_status no_progress, weir_status fault)
{
    CHECK(status == WEIR_OK || status == no_progress || status == fault || status == WEIR_E_CORRUPT);
    return status;
}

static weir_status produce(rig *r, uint64_t call, uint64_t len)
{
    unsigned char msg[RIG_LEN_MAX];
    void *slot = NULL;
    weir_status status = WEIR_OK;
    switch (call % 8) {
    case 0:
    case 1:
    case 2:
        rig_fill(msg, call, len);
        return check_status(weir_spsc_push(&r->p, msg, len), WEIR_FULL, WEIR_E_TOO_LARGE);
    case 3:
    case 4:
        rig_fill(msg, call, len);
        return check_status(weir_spsc_push_more(&r->p, msg, len), WEIR_FULL, WEIR_E_TOO_LARGE);
    case 5:
        weir_spsc_flush(&r->p);
        return WEIR_OK;
    case 6:
        status = check_status(weir_spsc_reserve(&r->p, len, &slot), WEIR_FULL, WEIR_E_TOO_LARGE);
        if (status == WEIR_OK) {
            CHECK(stays_inside(r, slot, len));
            rig_fill(slot, call, len);
            CHECK_OK(weir_spsc_commit(&r->p, len / 2));
        }
        return status;
    default:
        return check_status(weir_spsc_drained(&r->p), WEIR_FULL, WEIR_FULL);
    }
}

static weir_status consume(rig *r, uint64_t call, uint64_t size)
{
    const void *msg = NULL;
    uint32_t len = UINT32_MAX;
    weir_status status = WEIR_OK;
    unsigned char buffer[RIG_LEN_MAX];
    switch (call % 8) {
    case 0:
    case 1:
    case 2:
        status = check_status(weir_spsc_peek(&r->c, &msg, &len), WEIR_EMPTY, WEIR_EMPTY);
        if (status == WEIR_OK) {
            CHECK(stays_inside(r, msg, len) && len <= weir_spsc_record_max(r->capacity));
            sink(msg, len);
        } else {
            CHECK(msg == NULL && len == UINT32_MAX);
        }
        return status;
    case 3:
    case 4:
        status = check_status(weir_spsc_pop(&r->c, buffer, size, &len), WEIR_EMPTY, WEIR_E_TOO_SMALL);
        CHECK(status != WEIR_OK || len <= size);
        return status;
    case 5:
        status = check_status(weir_spsc_pop_more(&r->c, buffer, size, &len), WEIR_EMPTY, WEIR_E_TOO_SMALL);
        CHECK(status != WEIR_OK || len <= size);
        return status;
    case 6:
        weir_spsc_release(&r->c);
        return WEIR_OK;
    default:
        return check_status(weir_spsc_ready(&r->c), WEIR_EMPTY, WEIR_EMPTY);
    }
}

static void expect_producer_gone(rig *r, weir_status fault)
{
    unsigned char byte = 0;
    void *slot = &byte;
    CHECK_STATUS(weir_spsc_push(&r->p, &byte, 0), fault);
    CHECK_STATUS(weir_spsc_push(&r->p, &byte, 1), fault);
    CHECK_STATUS(weir_spsc_push_more(&r->p, &byte, 1), fault);
    CHECK_STATUS(weir_spsc_reserve(&r->p, 1, &slot), fault);
    CHECK_STATUS(weir_spsc_commit(&r->p, 0), fault);
    CHECK_STATUS(weir_spsc_commit_more(&r->p, 0), fault);
    weir_spsc_flush(&r->p);
    CHECK_STATUS(weir_spsc_drained(&r->p), fault);
}

static void expect_consumer_gone(rig *r, weir_status fault)
{
    unsigned char byte = 0;
    const void *msg = &byte;
    uint32_t len = 77;
    CHECK_STATUS(weir_spsc_peek(&r->c, &msg, &len), fault);
    CHECK_STATUS(weir_spsc_pop(&r->c, &byte, 1, &len), fault);
    CHECK_STATUS(weir_spsc_pop_more(&r->c, &byte, 1, &len), fault);
    weir_spsc_release(&r->c);
    CHECK_STATUS(weir_spsc_ready(&r->c), fault);
    CHECK(msg == &byte && len == 77);
}

/* Attaches both ends and makes the first calls with them, each end on bytes the other has not yet been at. */
static void attach_and_call(rig *r, weir_status *producer, weir_status *consumer)
{
    uint64_t bytes[(WEIR_SPSC_CONTROL + CAPACITY) / 8];
    memcpy(bytes, r->mem, sizeof bytes);
    *producer = weir_spsc_producer_attach(&r->p, r->mem, r->bytes);
    CHECK(memcmp(bytes, r->mem, sizeof bytes) == 0); /* attaching writes nothing */
    if (*producer == WEIR_OK)
        for (uint64_t call = 0; call < 24; call++)
            (void)produce(r, call, call * 5 % (RECORD_MAX + 8));
    else
        expect_producer_gone(r, WEIR_E_STATE);
    memcpy(r->mem, bytes, sizeof bytes);
    *consumer = weir_spsc_consumer_attach(&r->c, r->mem, r->bytes);
    CHECK(memcmp(bytes, r->mem, sizeof bytes) == 0);
    if (*consumer == WEIR_OK)
        for (uint64_t call = 0; call < 24; call++)
            (void)consume(r, call, call * 5 % (RECORD_MAX + 8));
    else
        expect_consumer_gone(r, WEIR_E_STATE);
    memcpy(r->mem, bytes, sizeof bytes);
}

/* ---- the control block ---- */

Test(spsc_hostile, any_other_magic_is_not_weir)
{
    rig r;
    weir_status producer, consumer;
    open_used(&r);
    EACH_VALUE(n, value, WEIR_SPSC_MAGIC) {
        weir_store_rlx(&rig_control(&r)->magic, value);
        attach_and_call(&r, &producer, &consumer);
        CHECK(producer == (value == WEIR_SPSC_MAGIC ? WEIR_OK : WEIR_E_NOT_WEIR) && consumer == producer);
    }
    rig_close(&r);
}

Test(spsc_hostile, any_other_version_is_version)
{
    rig r;
    weir_status producer, consumer;
    open_used(&r);
    EACH_VALUE(n, value, WEIR_SPSC_VERSION) {
        weir_store_rlx(&rig_control(&r)->version, value);
        attach_and_call(&r, &producer, &consumer);
        CHECK(producer == (value == WEIR_SPSC_VERSION ? WEIR_OK : WEIR_E_VERSION) && consumer == producer);
    }
    rig_close(&r);
}

Test(spsc_hostile, a_capacity_that_is_none_or_does_not_fit_is_corrupt)
{
    rig r;
    weir_status producer, consumer;
    open_used(&r);
    EACH_VALUE(n, value, CAPACITY) {
        weir_store_rlx(&rig_control(&r)->capacity, value);
        attach_and_call(&r, &producer, &consumer);
        if (value == 64 || value == 128) /* smaller ones fit; what the data say then is garbage */
            CHECK(consumer == WEIR_OK && (producer == WEIR_OK || producer == WEIR_E_CORRUPT));
        else
            CHECK(producer == (value == CAPACITY ? WEIR_OK : WEIR_E_CORRUPT) && consumer == producer);
    }
    rig_close(&r);
}

Test(spsc_hostile, any_head_is_corrupt_or_a_place_to_start)
{
    rig r;
    weir_status producer, consumer;
    open_used(&r);
    uint64_t proper = weir_load_rlx(&rig_control(&r)->head);
    unsigned corrupt = 0;
    EACH_VALUE(n, value, proper) {
        weir_store_rlx(&rig_control(&r)->head, value);
        attach_and_call(&r, &producer, &consumer);
        CHECK(consumer == (value % 8 == 0 ? WEIR_OK : WEIR_E_CORRUPT));
        CHECK(producer == WEIR_E_CORRUPT || (producer == WEIR_OK && consumer == WEIR_OK));
        CHECK(value != proper || producer == WEIR_OK);
        corrupt += producer == WEIR_E_CORRUPT && consumer == WEIR_OK;
    }
    CHECK(corrupt > 0);
    rig_close(&r);
}

Test(spsc_hostile, the_constant_words_are_read_at_attach_and_never_again)
{
    rig r;
    for (size_t i = 0; i < BOUNDARIES; i++) {
        open_used(&r);
        weir_store_rlx(&rig_control(&r)->magic, boundary[i]);
        weir_store_rlx(&rig_control(&r)->version, boundary[i]);
        weir_store_rlx(&rig_control(&r)->capacity, boundary[i]);
        rig_expect_pop(&r, 1, 50);
        rig_expect_pop(&r, 2, 16);
        for (uint64_t j = 0; j < 40; j++) {
            CHECK_OK(rig_push(&r, j, j * 7 % 113));
            CHECK_OK(weir_spsc_ready(&r.c));
            rig_expect_pop(&r, j, j * 7 % 113);
        }
        CHECK_OK(weir_spsc_drained(&r.p));
        rig_close(&r);
    }
}

/* ---- the consumer's position under a living producer ---- */

Test(spsc_hostile, a_living_producer_believes_only_positions_between_the_last_one_and_what_it_published)
{
    rig r;
    open_used(&r);
    weir_spsc_producer alive = r.p;
    uint64_t proper = weir_load_rlx(&rig_control(&r)->head);
    unsigned believed = 0;
    EACH_VALUE(n, value, proper) {
        r.p = alive;
        weir_store_rlx(&rig_control(&r)->head, value);
        bool possible = value % 8 == 0 && value - alive.head_pos <= alive.pos - alive.head_pos;
        weir_status drained = possible ? value == alive.pos ? WEIR_OK : WEIR_FULL : WEIR_E_CORRUPT;
        CHECK_STATUS(weir_spsc_drained(&r.p), drained);
        believed += possible;
        weir_store_rlx(&rig_control(&r)->head, proper);
        if (!possible)
            expect_producer_gone(&r, WEIR_E_CORRUPT); /* for good, however well the ring looks now */
    }
    CHECK(believed > 2);
    rig_close(&r);
}

Test(spsc_hostile, a_position_inside_an_open_batch_is_not_believed)
{
    for (uint64_t ahead = 0; ahead <= 48; ahead += 8) {
        rig r;
        rig_open(&r, CAPACITY, 0);
        CHECK_OK(rig_push(&r, 0, 8));
        for (uint64_t i = 0; i < 2; i++)
            CHECK_OK(rig_push_more(&r, i, 8));
        weir_store_rlx(&rig_control(&r)->head, ahead);
        CHECK_STATUS(weir_spsc_drained(&r.p), ahead <= 16 ? WEIR_FULL : WEIR_E_CORRUPT);
        rig_close(&r);
    }
}

Test(spsc_hostile, a_position_that_goes_back_is_not_believed)
{
    rig r;
    rig_open(&r, CAPACITY, 0);
    for (uint64_t i = 0; i < 3; i++) {
        CHECK_OK(rig_push(&r, i, 8));
        rig_expect_pop(&r, i, 8);
    }
    CHECK_OK(weir_spsc_drained(&r.p));
    weir_store_rlx(&rig_control(&r)->head, 32);
    CHECK_STATUS(weir_spsc_drained(&r.p), WEIR_E_CORRUPT);
    expect_producer_gone(&r, WEIR_E_CORRUPT);
    rig_close(&r);
}

Test(spsc_hostile, a_full_ring_whose_consumer_is_at_a_place_it_cannot_be_is_corrupt_and_not_written)
{
    rig r, before;
    rig_open(&r, 64, 0);
    for (uint64_t i = 0; i < 7; i++)
        CHECK_OK(rig_push(&r, i, 0));
    weir_spsc_producer alive = r.p;
    rig_copy(&before, r.mem, r.capacity);
    for (uint64_t head = 57; head < 200; head++) {
        unsigned char byte = 0;
        void *slot = &byte;
        weir_store_rlx(&rig_control(&r)->head, head);
        r.p = alive;
        CHECK_STATUS(rig_push(&r, 9, 0), WEIR_E_CORRUPT);
        r.p = alive;
        CHECK_STATUS(rig_push_more(&r, 9, 0), WEIR_E_CORRUPT);
        r.p = alive;
        CHECK_STATUS(weir_spsc_reserve(&r.p, 0, &slot), WEIR_E_CORRUPT);
        CHECK(memcmp(rig_data(&before), rig_data(&r), 64) == 0 && slot == &byte);
    }
    rig_close(&before);
    rig_close(&r);
}

/* ---- a record's header ---- */

/* What the consumer may answer to a header at idx of an otherwise empty ring with no room given away, by the layout's
 * description. */
static weir_status judge(uint64_t header, uint64_t idx, uint64_t first_header)
{
    uint64_t len = header & UINT32_MAX, size = 8 + (len + 7) / 8 * 8;
    if (header == 0)
        return WEIR_EMPTY;
    if (header >> 32 == WEIR_SPSC_DATA >> 32)
        return len <= RECORD_MAX && size <= CAPACITY - idx ? WEIR_OK : WEIR_E_CORRUPT;
    if (header >> 32 != WEIR_SPSC_PAD >> 32 || idx == 0 || len != CAPACITY - idx - 8)
        return WEIR_E_CORRUPT;
    len = first_header & UINT32_MAX;
    if (first_header >> 32 != WEIR_SPSC_DATA >> 32 || len > RECORD_MAX)
        return WEIR_E_CORRUPT;
    return CAPACITY - idx + 8 + (len + 7) / 8 * 8 < CAPACITY ? WEIR_OK : WEIR_E_CORRUPT;
}

static void try_header(uint64_t idx, uint64_t proper)
{
    rig r;
    rig_open(&r, CAPACITY, idx);
    weir_spsc_consumer fresh = r.c;
    EACH_VALUE(n, value, proper) {
        const void *msg = NULL;
        uint32_t len = UINT32_MAX;
        r.c = fresh;
        weir_store_rlx(rig_word(&r, 0), WEIR_SPSC_DATA | 24);
        weir_store_rlx(rig_word(&r, 32), 0);
        weir_store_rlx(rig_word(&r, idx), value);
        weir_status expected = judge(value, idx, weir_load_rlx(rig_word(&r, 0)));
        CHECK_STATUS(weir_spsc_peek(&r.c, &msg, &len), expected);
        if (expected == WEIR_OK) {
            CHECK(stays_inside(&r, msg, len));
            sink(msg, len);
        } else if (expected == WEIR_E_CORRUPT) {
            weir_store_rlx(rig_word(&r, idx), WEIR_SPSC_DATA);
            CHECK(msg == NULL && len == UINT32_MAX);
            expect_consumer_gone(&r, WEIR_E_CORRUPT);
            weir_store_rlx(rig_word(&r, idx), value);
        }
        /* The producer walks over the same header and judges it likewise, or finds what is behind it wrong. */
        weir_status attached = weir_spsc_producer_attach(&r.p, r.mem, r.bytes);
        CHECK(attached == WEIR_OK || attached == WEIR_E_CORRUPT);
        CHECK(expected == WEIR_E_CORRUPT ? attached == WEIR_E_CORRUPT : expected == WEIR_OK || attached == WEIR_OK);
    }
    rig_close(&r);
}

Test(spsc_hostile, any_data_header_is_a_record_or_corrupt)
{
    for (uint64_t idx = 0; idx < CAPACITY; idx += 72)
        try_header(idx, WEIR_SPSC_DATA | 16);
}

/* Of a lap's first record peek looks more closely than of those behind it. */
Test(spsc_hostile, a_record_over_the_limit_behind_a_good_one_is_corrupt)
{
    rig r;
    unsigned char buffer[RIG_LEN_MAX];
    uint32_t len = 0;
    rig_open(&r, CAPACITY, 0);
    CHECK_OK(rig_push(&r, 0, 8));
    CHECK_OK(rig_push(&r, 1, 8));
    weir_store_rlx(weir_word_at(rig_data(&r), 16), WEIR_SPSC_DATA | (RECORD_MAX + 1));
    rig_expect_pop(&r, 0, 8);
    CHECK_STATUS(weir_spsc_pop(&r.c, buffer, sizeof buffer, &len), WEIR_E_CORRUPT);
    rig_close(&r);
}

Test(spsc_hostile, any_padding_header_is_padding_to_the_end_or_corrupt)
{
    try_header(0, WEIR_SPSC_PAD | (CAPACITY - 8));
    try_header(8, WEIR_SPSC_PAD | (CAPACITY - 16));
    try_header(CAPACITY - 40, WEIR_SPSC_PAD | 32);
    try_header(CAPACITY - 8, WEIR_SPSC_PAD);
}

/* Padding is at idx; the word at the start is every value. */
Test(spsc_hostile, whatever_stands_behind_padding_is_a_record_or_corrupt)
{
    for (uint64_t idx = 8; idx < CAPACITY; idx += 80) {
        rig r;
        rig_open(&r, CAPACITY, idx);
        weir_spsc_consumer fresh = r.c;
        EACH_VALUE(n, value, WEIR_SPSC_DATA | 16) {
            unsigned char buffer[RECORD_MAX];
            uint32_t len = UINT32_MAX;
            r.c = fresh;
            weir_store_rlx(rig_word(&r, idx), WEIR_SPSC_PAD | (CAPACITY - idx - 8));
            weir_store_rlx(rig_word(&r, 0), value);
            weir_status expected = judge(weir_load_rlx(rig_word(&r, idx)), idx, value);
            CHECK_STATUS(weir_spsc_pop_more(&r.c, buffer, sizeof buffer, &len), expected);
            if (expected != WEIR_OK)
                expect_consumer_gone(&r, WEIR_E_CORRUPT);
            weir_status attached = weir_spsc_producer_attach(&r.p, r.mem, r.bytes);
            CHECK(attached == WEIR_OK || attached == WEIR_E_CORRUPT);
            CHECK(expected == WEIR_OK || attached == WEIR_E_CORRUPT);
        }
        rig_close(&r);
    }
}

/* Records without end: a ring in which no word is "nothing yet". */
Test(spsc_hostile, a_ring_full_of_records_from_end_to_end_is_corrupt_after_less_than_a_lap)
{
    for (uint64_t capacity = 64; capacity <= 4096; capacity *= 2)
        for (uint64_t pos = 0; pos < 64; pos += 8) {
            rig r;
            rig_open(&r, capacity, pos);
            weir_store_rlx(rig_word(&r, pos), RIG_STALE); /* the rest is so already */
            CHECK_STATUS(weir_spsc_producer_attach(&r.p, r.mem, r.bytes), WEIR_E_CORRUPT);
            for (uint64_t i = 0; i < capacity / 8 - 1; i++) {
                const void *msg = NULL;
                uint32_t len = 77;
                CHECK_OK(weir_spsc_peek(&r.c, &msg, &len));
            }
            const void *msg = NULL;
            uint32_t len = 77;
            CHECK_STATUS(weir_spsc_peek(&r.c, &msg, &len), WEIR_E_CORRUPT);
            expect_consumer_gone(&r, WEIR_E_CORRUPT);
            rig_close(&r);
        }
}

/* ---- everything at random ---- */

static uint64_t random_word(uint64_t *random)
{
    uint64_t bits = support_random(random);
    switch (bits >> 60 & 7) {
    case 0: return 0;
    case 1: return bits << 8;
    case 2: return boundary[bits % BOUNDARIES];
    case 3: return WEIR_SPSC_PAD | (bits % (CAPACITY / 8)) * 8;
    default: return WEIR_SPSC_DATA | bits % (RECORD_MAX + 2);
    }
}

struct outcome {
    uint64_t written, read, producer_corrupt, consumer_corrupt;
};

static void batter(uint64_t *random, uint64_t steps, struct outcome *seen)
{
    rig r;
    rig_open(&r, CAPACITY, support_random(random) % 64 * 8);
    bool producer_gone = false, consumer_gone = false;
    for (uint64_t i = 0; i < steps; i++) {
        uint64_t bits = support_random(random);
        if (bits % 8 == 0)
            weir_store_rlx(rig_word(&r, (bits >> 8) % 32 * 8), random_word(random));
        if (bits % 256 == 1)
            weir_store_rlx(&rig_control(&r)->head, (bits >> 52) & ~(uint64_t)(bits % 512 == 1 ? 7 : 0));
        if (bits >> 63 != 0) {
            weir_status status = produce(&r, bits >> 20, (bits >> 24) % (RECORD_MAX + 2));
            bool flush = (bits >> 20) % 8 == 5;
            CHECK(!producer_gone || flush || status == WEIR_E_CORRUPT);
            producer_gone |= status == WEIR_E_CORRUPT;
            seen->written += status == WEIR_OK;
            seen->producer_corrupt += status == WEIR_E_CORRUPT;
        } else {
            weir_status status = consume(&r, bits >> 20, (bits >> 24) % (RECORD_MAX + 2));
            bool release = (bits >> 20) % 8 == 6;
            CHECK(!consumer_gone || release || status == WEIR_E_CORRUPT);
            consumer_gone |= status == WEIR_E_CORRUPT;
            seen->read += status == WEIR_OK;
            seen->consumer_corrupt += status == WEIR_E_CORRUPT;
        }
        if (producer_gone && (bits >> 40) % 8 == 0)
            producer_gone = weir_spsc_producer_attach(&r.p, r.mem, r.bytes) != WEIR_OK;
        if (consumer_gone && (bits >> 44) % 8 == 0)
            consumer_gone = weir_spsc_consumer_attach(&r.c, r.mem, r.bytes) != WEIR_OK;
        if ((producer_gone && r.p.fault == WEIR_OK) || (consumer_gone && r.c.fault == WEIR_OK))
            break; /* the attach found no ring: this one is done for */
    }
    rig_close(&r);
}

Test(spsc_hostile, random_corruption_under_random_calls_gives_statuses_and_nothing_else)
{
    uint64_t random = support_seed(), rounds = support_count(20000);
    struct outcome seen = { 0, 0, 0, 0 };
    for (uint64_t i = 0; i < rounds; i++)
        batter(&random, 100, &seen);
    /* Both ends must have come to work, and both must have met the garbage. */
    CHECK(seen.written > rounds && seen.read > rounds);
    CHECK(seen.producer_corrupt > rounds / 10 && seen.consumer_corrupt > rounds / 10);
}
