#include "support.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY 512u

struct ring {
    unsigned char *mem;
    weir_spsc_producer p;
    weir_spsc_consumer c;
};

static struct ring ring_make(uint64_t start_pos)
{
    struct ring r;
    uint64_t size = weir_spsc_footprint(CAPACITY);
    r.mem = aligned_alloc(64, size);
    memset(r.mem, 0xa5, size);
    CHECK_OK(weir_spsc_init(r.mem, size, CAPACITY, start_pos));
    CHECK_OK(weir_spsc_producer_attach(&r.p, r.mem, size));
    CHECK_OK(weir_spsc_consumer_attach(&r.c, r.mem, size));
    return r;
}

static weir_status one_by_one(weir_spsc_producer *p, const unsigned char *msgs, uint64_t len, uint32_t count,
                              uint32_t *pushed)
{
    weir_status status = WEIR_OK;
    for (*pushed = 0; *pushed < count; ++*pushed) {
        status = weir_spsc_push_more(p, msgs + *pushed * len, len);
        if (status != WEIR_OK)
            break;
    }
    if (*pushed > 0)
        weir_spsc_flush(p);
    return status;
}

Test(spsc_array, an_array_leaves_the_same_bytes_as_its_records_one_by_one)
{
    uint64_t random = support_seed();
    unsigned char msgs[16 * 240];
    for (uint64_t start = 0; start < CAPACITY; start += 8) {
        struct ring a = ring_make(start - 64), b = ring_make(start - 64); /* across 2^64 too */
        for (int step = 0; step < 300; step++) {
            uint64_t len = support_random(&random) % (weir_spsc_record_max(CAPACITY) + 1);
            if (support_random(&random) % 2 == 0)
                len %= 24;
            uint32_t count = (uint32_t)(support_random(&random) % 16), in_a = 99, in_b = 99;
            for (size_t i = 0; i < sizeof msgs; i++)
                msgs[i] = (unsigned char)support_random(&random);
            if (support_random(&random) % 4 == 0) { /* an open batch goes out with the array */
                weir_status status = weir_spsc_push_more(&a.p, msgs, len);
                CHECK_STATUS(weir_spsc_push_more(&b.p, msgs, len), status);
            }
            weir_status status = weir_spsc_push_array(&a.p, msgs, len, count, &in_a);
            CHECK_STATUS(one_by_one(&b.p, msgs, len, count, &in_b), status);
            cr_assert_eq(in_a, in_b);
            cr_assert(status == WEIR_OK ? in_a == count : status == WEIR_FULL && in_a < count);
            cr_assert_eq(memcmp(a.mem, b.mem, weir_spsc_footprint(CAPACITY)), 0, "start %llu step %d",
                         (unsigned long long)start, step);
            for (uint64_t reads = support_random(&random) % 16; reads > 0; reads--) {
                const void *in_place_a, *in_place_b;
                uint32_t len_a = 0, len_b = 0;
                status = weir_spsc_peek(&a.c, &in_place_a, &len_a);
                CHECK_STATUS(weir_spsc_peek(&b.c, &in_place_b, &len_b), status);
                cr_assert_eq(len_a, len_b);
            }
            weir_spsc_release(&a.c);
            weir_spsc_release(&b.c);
        }
        free(a.mem);
        free(b.mem);
    }
}

Test(spsc_array, an_array_larger_than_the_ring_goes_in_as_far_as_it_fits_and_is_published)
{
    struct ring r = ring_make(0);
    uint64_t msgs[100];
    uint32_t pushed = 0, len = 0, received = 0;
    for (uint64_t i = 0; i < 100; i++)
        msgs[i] = i;
    while (received < 100) {
        weir_status status = weir_spsc_push_array(&r.p, msgs + received, 8, 100 - received, &pushed);
        cr_assert_eq(status, pushed == 100 - received ? WEIR_OK : WEIR_FULL);
        cr_assert_gt(pushed, 0);
        for (uint32_t i = 0; i < pushed; i++, received++) {
            uint64_t got = 0;
            CHECK_OK(weir_spsc_pop(&r.c, &got, sizeof got, &len));
            cr_assert_eq(got, received);
        }
        cr_assert_eq(weir_spsc_ready(&r.c), WEIR_EMPTY);
    }
    free(r.mem);
}

Test(spsc_array, a_full_ring_takes_none_and_keeps_an_open_batch_closed)
{
    struct ring r = ring_make(0);
    unsigned char msg[200] = { 1 };
    uint32_t pushed = 99;
    CHECK_OK(weir_spsc_push(&r.p, msg, 200));
    CHECK_OK(weir_spsc_push_more(&r.p, msg, 200));
    CHECK_STATUS(weir_spsc_push_array(&r.p, msg, 200, 1, &pushed), WEIR_FULL);
    cr_assert_eq(pushed, 0);
    uint32_t len;
    CHECK_OK(weir_spsc_pop(&r.c, msg, sizeof msg, &len));
    cr_assert_eq(weir_spsc_ready(&r.c), WEIR_EMPTY, "the open batch was published");
    weir_spsc_flush(&r.p);
    CHECK_OK(weir_spsc_ready(&r.c));
    free(r.mem);
}

Test(spsc_array, what_no_array_can_be_is_refused_and_pushes_none)
{
    struct ring r = ring_make(0);
    unsigned char msg[512] = { 1 };
    uint32_t pushed = 99;
    CHECK_STATUS(weir_spsc_push_array(&r.p, msg, weir_spsc_record_max(CAPACITY) + 1, 1, &pushed), WEIR_E_TOO_LARGE);
    cr_assert_eq(pushed, 0);
    CHECK_OK(weir_spsc_push_array(&r.p, msg, 8, 0, &pushed));
    cr_assert_eq(weir_spsc_ready(&r.c), WEIR_EMPTY);
    weir_spsc_producer unattached = { .pos = 0 };
    CHECK_STATUS(weir_spsc_push_array(&unattached, msg, 8, 1, &pushed), WEIR_E_STATE);
    /* A consumer's position that none can have, found when room is short. */
    while (weir_spsc_push(&r.p, msg, 100) == WEIR_OK)
        ;
    weir_store_rlx(r.p.head, 4096);
    CHECK_STATUS(weir_spsc_push_array(&r.p, msg, 100, 2, &pushed), WEIR_E_CORRUPT);
    CHECK_STATUS(weir_spsc_push_array(&r.p, msg, 8, 2, &pushed), WEIR_E_CORRUPT);
    cr_assert_eq(pushed, 0);
    free(r.mem);
}
