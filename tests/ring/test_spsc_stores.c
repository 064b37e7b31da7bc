/* Killed at every store of a call: the lane's inline calls are compiled here with atomics that show each store to the
 * suite.  A crash image is what was there at the last release store, with any part of what was written since: that is
 * also what a machine with weaker order than x86, or a compiler, may leave. */
#include <weir/base/atomic.h>

#include <stdbool.h>

static void watched_store(weir_atomic_u64 *word, uint64_t value, bool release);
static uint64_t watched_load(const weir_atomic_u64 *word, bool acquire);

#define weir_store_rlx(word, value) watched_store((word), (value), false)
#define weir_store_rel(word, value) watched_store((word), (value), true)
#define weir_load_rlx(word) watched_load((word), false)
#define weir_load_acq(word) watched_load((word), true)

#include "spsc_rig.h"

#include <criterion/criterion.h>

#define CAPACITY 128u
#define WORDS ((WEIR_SPSC_CONTROL + CAPACITY) / 8)

static struct {
    rig *ring; /* null: nothing is watched */
    record expected[16];
    uint64_t before; /* records that must be there until the release store, */
    uint64_t after;  /* and from then on */
    unsigned releases;
    unsigned images;
    uint64_t shadow[WORDS];
    uint64_t random;
    /* the loads */
    bool counting;
    unsigned loads;
    unsigned acquires;
    bool change;
    uint64_t change_to; /* what a hostile producer stores right behind a load of a header */
} watch;

static void image_must_hold(const uint64_t *image, uint64_t count)
{
    rig *ring = watch.ring;
    watch.ring = NULL; /* what the check itself does is not watched */
    rig_expect_image(image, CAPACITY, watch.expected, count);
    watch.ring = ring;
    watch.images++;
}

/* Any part of the words written since the last release may be there: none, each, all but each, all, some. */
static void images_must_hold(void)
{
    uint64_t image[WORDS], now[WORDS];
    size_t changed[WORDS], count = 0;
    uint64_t expected = watch.releases > 0 ? watch.after : watch.before;
    memcpy(now, watch.ring->mem, sizeof now);
    for (size_t i = 0; i < WORDS; i++)
        if (now[i] != watch.shadow[i])
            changed[count++] = i;
    for (size_t round = 0; round < 2 * count + 6; round++) {
        uint64_t some = support_random(&watch.random);
        memcpy(image, watch.shadow, sizeof image);
        for (size_t i = 0; i < count; i++) {
            bool in = round < count ? i == round : round < 2 * count ? i != round - count : (some >> i % 64 & 1) != 0;
            if (in || round == 2 * count)
                image[changed[i]] = now[changed[i]];
        }
        image_must_hold(image, expected);
    }
}

static void watched_store(weir_atomic_u64 *word, uint64_t value, bool release)
{
    if (watch.ring == NULL) {
        WEIR_ATOMIC_STORE(word, value, RELEASE);
        return;
    }
    images_must_hold();
    if (release)
        memcpy(watch.shadow, watch.ring->mem, sizeof watch.shadow);
    WEIR_ATOMIC_STORE(word, value, RELEASE);
    if (release) {
        watch.releases++;
        memcpy(watch.shadow, watch.ring->mem, sizeof watch.shadow);
    }
    images_must_hold();
}

static uint64_t watched_load(const weir_atomic_u64 *word, bool acquire)
{
    uint64_t value = WEIR_ATOMIC_LOAD(word, ACQUIRE);
    if (watch.counting) {
        watch.loads++;
        watch.acquires += acquire;
        if (watch.change)
            WEIR_ATOMIC_STORE((weir_atomic_u64 *)(uintptr_t)word, watch.change_to, RELAXED);
    }
    return value;
}

static void watch_begin(rig *r, uint64_t before, uint64_t after)
{
    watch.before = before;
    watch.after = after;
    watch.releases = 0;
    memcpy(watch.shadow, r->mem, sizeof watch.shadow);
    watch.ring = r;
}

/* The call is over: the same holds, and it was one release store that made the difference, if there was one. */
static void watch_end(unsigned releases)
{
    images_must_hold();
    watch.ring = NULL;
    CHECK(watch.releases == releases);
}

static uint64_t expect(uint64_t count, uint64_t seq, uint64_t len)
{
    watch.expected[count] = (record){ seq, (uint32_t)len };
    return count + 1;
}

/* ---- the producer's stores ---- */

enum way { PUSH, COMMIT, BATCH_AND_FLUSH, BATCH_AND_PUSH, WAYS };

/* One record is there; then count more by this way, each of len bytes. */
static void publish(rig *r, enum way way, uint64_t count, uint64_t len)
{
    uint64_t there = expect(0, 1, 5);
    CHECK_OK(rig_push(r, 1, 5));
    for (uint64_t i = 0; i < count; i++)
        (void)expect(there + i, 10 + i, len);
    for (uint64_t i = 0; i < count; i++) {
        bool last = i + 1 == count;
        void *slot = NULL;
        weir_status status = WEIR_FULL;
        switch (way) {
        case PUSH:
        case COMMIT:
            watch_begin(r, there + i, there + i + 1);
            if (way == PUSH) {
                status = rig_push(r, 10 + i, len);
            } else if ((status = weir_spsc_reserve(&r->p, len, &slot)) == WEIR_OK) {
                rig_fill(slot, 10 + i, len);
                CHECK_OK(weir_spsc_commit(&r->p, len));
            }
            watch_end(status == WEIR_OK ? 1 : 0);
            break;
        case BATCH_AND_FLUSH:
        case BATCH_AND_PUSH:
        default:
            watch_begin(r, there, there + count);
            if (last && way == BATCH_AND_PUSH)
                status = rig_push(r, 10 + i, len);
            else
                status = rig_push_more(r, 10 + i, len);
            if (status == WEIR_OK && last && way == BATCH_AND_FLUSH)
                weir_spsc_flush(&r->p);
            watch_end(status == WEIR_OK && last ? 1 : 0);
            break;
        }
        if (status != WEIR_OK)
            return; /* it was full, and nothing of it is there: that is checked above too */
    }
}

Test(spsc_stores, a_producer_killed_at_any_store_leaves_all_of_a_publication_or_nothing)
{
    watch.random = support_seed();
    for (enum way way = PUSH; way < WAYS; way++)
        for (uint64_t pos = 0; pos < CAPACITY; pos += 8)
            for (uint64_t len = 0; len <= 48; len += len < 16 ? 4 : 8) {
                rig r;
                rig_open(&r, CAPACITY, 0 - pos);
                publish(&r, way, len <= 16 ? 3 : 2, len);
                rig_close(&r);
            }
    CHECK(watch.images > 10000);
}

Test(spsc_stores, a_producer_killed_at_any_store_leaves_no_trace_of_a_new_lap_in_the_old_one)
{
    watch.random = support_seed();
    for (uint64_t pos = 0; pos < CAPACITY; pos += 8) {
        rig r;
        rig_open(&r, CAPACITY, pos);
        for (uint64_t i = 0; i < 30; i++) { /* three laps over what real records left */
            uint64_t len = i * 7 % 25, start_pos;
            (void)expect(0, i, len);
            CHECK_OK(weir_spsc_place(&r.p, len, &start_pos)); /* what is out of line is not compiled here */
            watch_begin(&r, 0, 1);
            CHECK_OK(rig_push(&r, i, len));
            watch_end(1);
            rig_expect_pop(&r, i, len);
        }
        rig_close(&r);
    }
}

/* ---- the consumer's stores ---- */

Test(spsc_stores, a_consumer_killed_at_any_store_has_released_all_it_read_or_nothing)
{
    watch.random = support_seed();
    for (uint64_t pos = 0; pos < CAPACITY; pos += 8)
        for (uint64_t read = 1; read <= 3; read++) {
            rig r;
            rig_open(&r, CAPACITY, pos);
            for (uint64_t i = 0; i < 3; i++)
                CHECK_OK(rig_push(&r, i, 20));
            for (uint64_t i = 0; i < 3; i++)
                (void)expect(i, i, 20);
            watch_begin(&r, 3, 3);
            for (uint64_t i = 0; i < read; i++)
                rig_expect_peek(&r, i, 20);
            watch_end(0);
            for (uint64_t i = read; i < 3; i++)
                (void)expect(i - read, i, 20);
            uint64_t head_pos = WEIR_ATOMIC_LOAD(&rig_control(&r)->head, RELAXED);
            weir_spsc_release(&r.c);
            CHECK(head_pos == pos && WEIR_ATOMIC_LOAD(&rig_control(&r)->head, RELAXED) == r.c.pos);
            rig_expect_image(r.mem, CAPACITY, watch.expected, 3 - read);
            rig_close(&r);
        }
}

/* ---- loads ---- */

static void count_begin(bool change, uint64_t change_to)
{
    watch.loads = watch.acquires = 0;
    watch.change = change;
    watch.change_to = change_to;
    watch.counting = true;
}

Test(spsc_stores, a_push_with_room_reads_nothing_of_the_ring)
{
    rig r;
    rig_open(&r, CAPACITY, 0);
    count_begin(false, 0);
    for (uint64_t i = 0; i < 15; i++)
        CHECK_OK(rig_push(&r, i, 0));
    watch.counting = false;
    CHECK(watch.loads == 0);
    rig_close(&r);
}

/* A producer that changes the header once it was read, to anything: the consumer goes by what it read. */
Test(spsc_stores, a_header_is_read_once_and_what_it_becomes_then_does_not_matter)
{
    static const uint64_t becomes[] = {
        0, 1, UINT64_MAX, WEIR_SPSC_DATA, WEIR_SPSC_DATA | 48, WEIR_SPSC_DATA | UINT32_MAX, WEIR_SPSC_PAD,
        WEIR_SPSC_PAD | 24,
    };
    for (uint64_t pos = 0; pos < CAPACITY; pos += 8)
        for (uint32_t len = 0; len <= 16; len += 4)
            for (size_t i = 0; i < sizeof becomes / sizeof becomes[0]; i++)
                for (unsigned copy = 0; copy < 2; copy++) {
                    rig r;
                    rig_open(&r, CAPACITY, pos);
                    CHECK_OK(rig_push(&r, 1, len));
                    unsigned char *exact = malloc(len > 0 ? len : 1); /* one byte more is ASan's */
                    const void *msg = exact;
                    uint32_t got = 77;
                    CHECK(exact != NULL);
                    count_begin(true, becomes[i]);
                    CHECK_OK(copy ? weir_spsc_pop(&r.c, exact, len, &got) : weir_spsc_peek(&r.c, &msg, &got));
                    watch.counting = false;
                    CHECK(watch.loads == 1 && watch.acquires == 1);
                    CHECK(got == len && rig_holds(msg, 1, len));
                    CHECK(r.c.pos == rig_end(CAPACITY, pos, len));
                    free(exact);
                    rig_close(&r);
                }
}

/* As the first, with a length that grows only after it was found to fit the buffer. */
Test(spsc_stores, a_record_that_is_too_large_for_the_buffer_stays_too_large_when_its_header_shrinks)
{
    rig r;
    rig_open(&r, CAPACITY, 0);
    unsigned char buffer[8] = { 0 };
    uint32_t len = 77;
    CHECK_OK(rig_push(&r, 1, 9));
    count_begin(true, WEIR_SPSC_DATA | 8);
    CHECK_STATUS(weir_spsc_pop(&r.c, buffer, sizeof buffer, &len), WEIR_E_TOO_SMALL);
    watch.counting = false;
    CHECK(len == 9 && buffer[0] == 0);
    rig_close(&r);
}
