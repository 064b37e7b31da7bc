/* mpsc and mpsc-ordered beyond the conformance suite: every status, whose turn it is, what is released and what a new
 * consumer sees again, producers that are gone, and the second look that the one order rests on. */
#include <weir/base/atomic.h>

static uint64_t watched_load(const weir_atomic_u64 *word);
#define weir_load_acq(word) watched_load(word)

#include "kinds.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>
#include <weir/ring/mpsc_layout.h>

static const ring_kind *const mpsc = &ring_kinds[1], *const ordered = &ring_kinds[2];
static unsigned char buffer[1 << 12];

static struct {
    weir_atomic_u64 *word; /* null: nothing is flipped */
    unsigned flips;
} flip;

/* A hostile producer that takes a header away just before peek looks and puts it back right behind it. */
static uint64_t watched_load(const weir_atomic_u64 *word)
{
    if (word == flip.word && flip.word != NULL && ++flip.flips < 1000)
        return 0;
    return WEIR_ATOMIC_LOAD(word, ACQUIRE);
}

static void put(ring *r, unsigned lane, uint64_t seq)
{
    record_fill(buffer, lane, seq, 8);
    CHECK_OK(r->kind->push(r, lane, buffer, 8, false));
}

static void expect(ring *r, unsigned lane, uint64_t seq)
{
    uint32_t len = 0;
    unsigned from = 99;
    CHECK_OK(r->kind->pop_more(r, buffer, sizeof buffer, &len, &from, NULL));
    cr_assert(from == lane && len == 8 && record_is(buffer, lane, seq, 8), "%s: want %llu of %u, got one of %u",
              r->kind->name, (unsigned long long)seq, lane, from);
}

static weir_mpsc_layout *control(const ring *r) { return (weir_mpsc_layout *)r->mem; }

static const ring_kind *kind_of(unsigned k) { return k == 0 ? mpsc : ordered; }

Test(mpsc, footprint_knows_its_limits)
{
    cr_assert_eq(weir_mpsc_footprint(1, 64), 256 + 384);
    cr_assert_eq(weir_mpsc_footprint(3, 128), 256 + 3 * 384);
    cr_assert_eq(weir_mpsc_footprint(WEIR_MPSC_LANES_MAX, 4096), 256 + 256 * 4352);
    cr_assert_eq(weir_mpsc_ordered_footprint(3, 128), weir_mpsc_footprint(3, 128));
    cr_assert_eq(weir_mpsc_footprint(0, 64), 0);
    cr_assert_eq(weir_mpsc_footprint(WEIR_MPSC_LANES_MAX + 1, 64), 0);
    cr_assert_eq(weir_mpsc_footprint(UINT32_MAX, 64), 0);
    cr_assert_eq(weir_mpsc_footprint(1, 0), 0);
    cr_assert_eq(weir_mpsc_footprint(1, 96), 0);
    cr_assert_eq(weir_mpsc_footprint(1, WEIR_SPSC_CAPACITY_MAX * 2), 0);
    cr_assert_gt(weir_mpsc_footprint(WEIR_MPSC_LANES_MAX, WEIR_SPSC_CAPACITY_MAX), WEIR_SPSC_CAPACITY_MAX);
    cr_assert_eq(weir_mpsc_ordered_record_max(64), weir_spsc_record_max(64) - 8);
    cr_assert_eq(weir_mpsc_ordered_record_max(65), 0);
}

static weir_status init(unsigned k, void *mem, uint64_t size, uint32_t lanes, uint64_t capacity, uint64_t start)
{
    return k == 0 ? weir_mpsc_init(mem, size, lanes, capacity, start)
                  : weir_mpsc_ordered_init(mem, size, lanes, capacity, start, 0);
}

Test(mpsc, init_refuses_what_is_wrong)
{
    unsigned char *mem = aligned_alloc(128, 4096);
    for (unsigned k = 0; k < 2; k++) {
        memset(mem, 0xee, 4096);
        errno = 12345;
        CHECK_STATUS(init(k, NULL, 4096, 2, 64, 0), WEIR_E_INVALID);
        CHECK_STATUS(init(k, mem + 8, 4000, 2, 64, 0), WEIR_E_INVALID);
        cr_assert(strstr(weir_error_detail(), "aligned") != NULL);
        CHECK_STATUS(init(k, mem, 4096, 0, 64, 0), WEIR_E_INVALID);
        CHECK_STATUS(init(k, mem, UINT64_MAX, 257, 64, 0), WEIR_E_INVALID);
        cr_assert(strstr(weir_error_detail(), "257 lanes") != NULL);
        CHECK_STATUS(init(k, mem, 4096, 2, 63, 0), WEIR_E_INVALID);
        CHECK_STATUS(init(k, mem, 256 + 2 * 384 - 1, 2, 64, 0), WEIR_E_INVALID);
        cr_assert(strstr(weir_error_detail(), "1024 bytes, not 1023") != NULL, "%s", weir_error_detail());
        for (size_t i = 0; i < 4096; i++)
            cr_assert_eq(mem[i], 0xee);
        CHECK_STATUS(init(k, mem, 4096, 2, 64, 4), WEIR_E_INVALID);
        cr_assert_neq(weir_load_rlx(weir_word_at(mem, 0)), k == 0 ? WEIR_MPSC_MAGIC : WEIR_MPSC_ORDERED_MAGIC);
        cr_assert_eq(errno, 12345);
        CHECK_OK(init(k, mem, 256 + 2 * 384, 2, 64, 0));
    }
    free(mem);
}

static void attaches_say(ring *r, uint64_t bytes, weir_status expected, const char *detail)
{
    uint64_t whole = r->bytes;
    uint32_t len = 77;
    unsigned from = 77;
    r->bytes = bytes;
    errno = 12345;
    CHECK_STATUS(r->kind->attach_producer(r, 0), expected);
    cr_assert(strstr(weir_error_detail(), detail) != NULL, "%s", weir_error_detail());
    CHECK_STATUS(r->kind->attach_consumer(r), expected);
    cr_assert(strstr(weir_error_detail(), detail) != NULL, "%s", weir_error_detail());
    if (r->kind == mpsc) {
        uint32_t lanes = 77;
        CHECK_STATUS(weir_mpsc_lanes(r->mem, bytes, &lanes), expected);
        cr_assert_eq(lanes, 77);
    }
    cr_assert_eq(errno, 12345);
    CHECK_STATUS(r->kind->push(r, 0, buffer, 1, false), WEIR_E_STATE); /* a refused handle is none */
    CHECK_STATUS(r->kind->pop_more(r, buffer, 9, &len, &from, NULL), WEIR_E_STATE);
    CHECK_STATUS(r->kind->ready(r), WEIR_E_STATE);
    r->kind->release(r);
    r->bytes = whole;
}

Test(mpsc, attach_says_what_is_wrong)
{
    for (unsigned k = 0; k < 2; k++) {
        ring r;
        ring_make(&r, kind_of(k), 3, 128, 0);
        uint32_t lanes = 0;
        uint64_t magic = weir_load_rlx(&control(&r)->magic);
        if (k == 0)
            CHECK_OK(weir_mpsc_lanes(r.mem, r.bytes, &lanes));
        cr_assert_eq(lanes, k == 0 ? 3 : 0);
        CHECK_STATUS(r.kind->attach_producer(&r, 3), WEIR_E_INVALID);
        cr_assert(strstr(weir_error_detail(), "no lane 3") != NULL);
        weir_spsc_consumer handles[3];
        weir_mpsc_ordered_lane ordered_handles[3];
        if (k == 0) {
            CHECK_STATUS(weir_mpsc_consumer_attach(&r.rx.mpsc, r.mem, r.bytes, handles, 2), WEIR_E_INVALID);
            CHECK_STATUS(weir_mpsc_consumer_attach(&r.rx.mpsc, r.mem, r.bytes, NULL, 3), WEIR_E_INVALID);
        } else {
            CHECK_STATUS(weir_mpsc_ordered_consumer_attach(&r.rx.ordered, r.mem, r.bytes, ordered_handles, 2),
                         WEIR_E_INVALID);
            CHECK_STATUS(weir_mpsc_ordered_consumer_attach(&r.rx.ordered, r.mem, r.bytes, NULL, 3), WEIR_E_INVALID);
        }
        attaches_say(&r, 255, WEIR_E_NOT_WEIR, "255 bytes");
        attaches_say(&r, r.bytes - 1, WEIR_E_CORRUPT, "states 3 lanes");
        r.mem = (unsigned char *)r.mem + 8;
        attaches_say(&r, r.bytes, WEIR_E_INVALID, "aligned");
        r.mem = (unsigned char *)r.mem - 8;
        weir_store_rlx(&control(&r)->version, 3);
        attaches_say(&r, r.bytes, WEIR_E_VERSION, "layout version 3");
        weir_store_rlx(&control(&r)->version, WEIR_MPSC_VERSION);
        static const uint64_t bad_made[] = { 0, 4, 257, UINT64_C(1) << 32 | 3, UINT64_MAX };
        for (size_t i = 0; i < sizeof bad_made / sizeof bad_made[0]; i++) {
            weir_store_rlx(&control(&r)->made, bad_made[i]);
            attaches_say(&r, r.bytes, WEIR_E_CORRUPT, "lanes of capacity");
        }
        weir_store_rlx(&control(&r)->made, 3);
        static const uint64_t bad_lanes[] = { 0, 2, 257, UINT64_C(1) << 32 | 3, UINT64_MAX };
        for (size_t i = 0; i < sizeof bad_lanes / sizeof bad_lanes[0]; i++) {
            weir_store_rlx(&control(&r)->lanes, bad_lanes[i]);
            attaches_say(&r, r.bytes, WEIR_E_CORRUPT, "lanes of capacity");
        }
        weir_store_rlx(&control(&r)->lanes, 3);
        weir_store_rlx(&control(&r)->capacity, 64); /* the lanes know better, and of the later there are none */
        CHECK_STATUS(r.kind->attach_producer(&r, 0), WEIR_E_CORRUPT);
        CHECK_STATUS(r.kind->attach_consumer(&r), WEIR_E_CORRUPT);
        cr_assert(strstr(weir_error_detail(), "lane 0 of the ring is none of capacity 64") != NULL);
        weir_store_rlx(&control(&r)->capacity, 128);
        weir_atomic_u64 *own = weir_word_at(weir_mpsc_lane(r.mem, 128, 0), 16);
        weir_store_rlx(own, 64); /* a lane that fits, and is not what the ring states */
        CHECK_STATUS(r.kind->attach_producer(&r, 0), WEIR_E_CORRUPT);
        CHECK_STATUS(r.kind->attach_consumer(&r), WEIR_E_CORRUPT);
        weir_store_rlx(own, 128);
        weir_store_rlx(&control(&r)->capacity, 129);
        attaches_say(&r, r.bytes, WEIR_E_CORRUPT, "capacity 129");
        weir_store_rlx(&control(&r)->capacity, 128);
        static const uint64_t magics[] = { 0, WEIR_MPSC_MAGIC, WEIR_MPSC_ORDERED_MAGIC };
        for (size_t i = 0; i < 3; i++) { /* one kind is not the other */
            weir_store_rlx(&control(&r)->magic, magics[i]);
            if (magics[i] != magic)
                attaches_say(&r, r.bytes, WEIR_E_NOT_WEIR, "no mpsc ring of that kind");
        }
        ring_free(&r);
    }
}

Test(mpsc, one_lanes_impossible_bytes_are_corrupt_for_good)
{
    for (unsigned k = 0; k < 2; k++)
        for (unsigned bad = 0; bad < 3; bad++) {
            ring r;
            uint32_t len = 77;
            unsigned from = 77;
            ring_make(&r, kind_of(k), 3, 128, 0);
            weir_atomic_u64 *header = weir_word_at(weir_mpsc_lane(r.mem, 128, bad), WEIR_SPSC_CONTROL);
            /* in the ordered kind a record too short for its stamp is impossible as well */
            weir_store_rlx(header, k == 1 && bad == 2 ? WEIR_SPSC_DATA | 7 : UINT64_C(1) << 40);
            CHECK_OK(r.kind->ready(&r));
            CHECK_STATUS(r.kind->pop_more(&r, buffer, sizeof buffer, &len, &from, NULL), WEIR_E_CORRUPT);
            weir_store_rlx(header, 0);
            put(&r, (bad + 1) % 3, 1);
            CHECK_STATUS(r.kind->pop_more(&r, buffer, sizeof buffer, &len, &from, NULL), WEIR_E_CORRUPT);
            CHECK_STATUS(r.kind->ready(&r), WEIR_E_CORRUPT);
            const void *msg;
            CHECK_STATUS(k == 0 ? weir_mpsc_peek(&r.rx.mpsc, &msg, &len, &from)
                                : weir_mpsc_ordered_peek(&r.rx.ordered, &msg, &len, &from), WEIR_E_CORRUPT);
            r.kind->release(&r);
            ring_free(&r);
        }
}

/* ---- lanes that come later ---- */

static weir_status init_some(unsigned k, ring *r, uint32_t lanes, uint32_t made)
{
    return k == 0 ? weir_mpsc_init_some(r->mem, r->bytes, lanes, made, r->capacity, 0)
                  : weir_mpsc_ordered_init_some(r->mem, r->bytes, lanes, made, r->capacity, 0, 0);
}

static weir_status grow(unsigned k, ring *r, uint64_t bytes, uint32_t made)
{
    return k == 0 ? weir_mpsc_grow(r->mem, bytes, made) : weir_mpsc_ordered_grow(r->mem, bytes, made);
}

static weir_ring_room *room(unsigned k, ring *r) { return k == 0 ? &r->rx.mpsc.room : &r->rx.ordered.room; }

/* A ring of up to 4 lanes in the memory of one. */
static void make_one_of_four(unsigned k, ring *r)
{
    *r = (ring){ .kind = kind_of(k), .capacity = 128, .producers = 1, .bytes = weir_mpsc_footprint(4, 128) };
    r->mem = aligned_alloc(128, (r->bytes + 127) / 128 * 128);
    memset(r->mem, 0xee, r->bytes);
    r->bytes = weir_mpsc_footprint(1, 128);
    CHECK_OK(init_some(k, r, 4, 1));
    for (uint64_t i = r->bytes; i < weir_mpsc_footprint(4, 128); i++)
        cr_assert_eq(((unsigned char *)r->mem)[i], 0xee);
    ring_attach(r);
}

struct reach {
    uint64_t bytes;
    weir_status answer;
    unsigned calls;
};

static weir_status reach(void *arg, uint64_t bytes)
{
    struct reach *seen = arg;
    seen->bytes = bytes;
    seen->calls++;
    return seen->answer;
}

Test(mpsc, lanes_that_are_made_later_are_found_and_served)
{
    for (unsigned k = 0; k < 2; k++) {
        ring r;
        struct reach seen = { .answer = WEIR_OK };
        make_one_of_four(k, &r);
        room(k, &r)->reach = reach;
        room(k, &r)->reach_arg = &seen;
        put(&r, 0, 0);
        expect(&r, 0, 0);
        CHECK_STATUS(r.kind->attach_producer(&r, 1), WEIR_E_INVALID);
        r.bytes = weir_mpsc_footprint(3, 128);
        CHECK_OK(grow(k, &r, r.bytes, 3));
        CHECK_OK(r.kind->attach_producer(&r, 2));
        put(&r, 2, 0);
        put(&r, 0, 1);
        expect(&r, k == 0 ? 0 : 2, k == 0 ? 1 : 0); /* the ordered kind looks at every lane each time */
        expect(&r, k == 0 ? 2 : 0, k == 0 ? 0 : 1);
        cr_assert(seen.calls == 1 && seen.bytes == r.bytes);
        CHECK_OK(grow(k, &r, r.bytes, 2)); /* they stay */
        CHECK_OK(r.kind->attach_producer(&r, 2));
        put(&r, 2, 1);
        CHECK_OK(r.kind->ready(&r));
        expect(&r, 2, 1);
        r.bytes = weir_mpsc_footprint(4, 128);
        CHECK_OK(grow(k, &r, r.bytes, 4));
        CHECK_STATUS(r.kind->ready(&r), WEIR_EMPTY); /* a lane is no record */
        CHECK_OK(r.kind->attach_producer(&r, 3));
        put(&r, 3, 0);
        expect(&r, 3, 0);
        ring_free(&r);
    }
}

Test(mpsc, growing_beyond_the_memory_or_the_lanes_is_refused)
{
    for (unsigned k = 0; k < 2; k++) {
        ring r;
        make_one_of_four(k, &r);
        CHECK_STATUS(init_some(k, &r, 4, 0), WEIR_E_INVALID);
        CHECK_STATUS(init_some(k, &r, 4, 5), WEIR_E_INVALID);
        CHECK_STATUS(init_some(k, &r, 4, 2), WEIR_E_INVALID);
        CHECK_STATUS(grow(k, &r, r.bytes, 2), WEIR_E_INVALID);
        CHECK_STATUS(grow(k, &r, UINT64_MAX, 5), WEIR_E_INVALID);
        CHECK_STATUS(grow(1 - k, &r, r.bytes, 1), WEIR_E_NOT_WEIR);
        CHECK_OK(grow(k, &r, r.bytes, 1));
        ring_free(&r);
    }
}

Test(mpsc, lanes_that_are_stated_and_cannot_be_reached_are_not_touched)
{
    static const uint64_t stated[] = { 2, 4, 5, UINT64_C(1) << 32 | 2, UINT64_MAX };
    for (unsigned k = 0; k < 2; k++)
        for (size_t i = 0; i < sizeof stated / sizeof stated[0]; i++)
            for (unsigned how = 0; how < 2; how++) {
                ring r;
                struct reach seen = { .answer = WEIR_E_RANGE };
                uint32_t len;
                unsigned lane;
                make_one_of_four(k, &r);
                room(k, &r)->reach = how == 0 ? NULL : reach;
                room(k, &r)->reach_arg = &seen;
                weir_store_rlx(&control(&r)->made, stated[i]);
                weir_status expected = how == 0 || stated[i] > 4 ? WEIR_E_CORRUPT : WEIR_E_RANGE;
                CHECK_STATUS(r.kind->pop_more(&r, buffer, sizeof buffer, &len, &lane, NULL), expected);
                cr_assert_eq(seen.calls, expected == WEIR_E_RANGE ? 1 : 0);
                weir_store_rlx(&control(&r)->made, 1);
                CHECK_STATUS(r.kind->ready(&r), expected); /* for good */
                ring_free(&r);
            }
}

Test(mpsc, what_finds_nothing_or_nonsense_leaves_its_outputs_untouched)
{
    for (unsigned k = 0; k < 2; k++)
        for (unsigned bad = 0; bad < 2; bad++) {
            ring r;
            uint32_t len = 77;
            unsigned from = 77;
            ring_make(&r, kind_of(k), 3, 128, 0);
            if (bad == 1) /* in another lane than the one whose turn it is */
                weir_store_rlx(weir_word_at(weir_mpsc_lane(r.mem, 128, 2), WEIR_SPSC_CONTROL), UINT64_C(1) << 40);
            weir_status expected = bad == 1 ? WEIR_E_CORRUPT : WEIR_EMPTY;
            CHECK_STATUS(r.kind->pop_more(&r, buffer, sizeof buffer, &len, &from, NULL), expected);
            cr_assert(len == 77 && from == 77, "kind %u: %u bytes of lane %u", k, len, from);
            ring_free(&r);
        }
}

/* As in spsc.h: another reserve gives the room up, whatever it answers; a push does only if its record goes in. */
Test(mpsc, a_refused_reserve_gives_the_room_up_and_a_refused_push_does_not)
{
    for (unsigned k = 0; k < 2; k++) {
        ring r;
        void *slot;
        ring_make(&r, kind_of(k), 1, 128, 0);
        CHECK_OK(r.kind->reserve(&r, 0, 8, &slot));
        CHECK_STATUS(r.kind->push(&r, 0, buffer, 1000, false), WEIR_E_TOO_LARGE);
        CHECK_OK(r.kind->commit(&r, 0, 0, false));
        for (unsigned i = 0; i < 3 - k; i++) {
            CHECK_OK(r.kind->reserve(&r, 0, 8, &slot));
            CHECK_OK(r.kind->push(&r, 0, buffer, k == 0 ? 24 : 16, false)); /* 32 bytes of the ring */
            CHECK_STATUS(r.kind->commit(&r, 0, 8, false), WEIR_E_STATE);
        }
        CHECK_OK(r.kind->reserve(&r, 0, 0, &slot));
        CHECK_STATUS(r.kind->push(&r, 0, buffer, 40, false), WEIR_FULL);
        CHECK_OK(r.kind->commit(&r, 0, 0, false));
        ring_free(&r);
        ring_make(&r, kind_of(k), 1, 128, 0);
        CHECK_OK(r.kind->reserve(&r, 0, 0, &slot));
        CHECK_STATUS(r.kind->reserve(&r, 0, 1000, &slot), WEIR_E_TOO_LARGE);
        CHECK_STATUS(r.kind->commit(&r, 0, 0, false), WEIR_E_STATE);
        ring_free(&r);
    }
}

/* ---- whose turn it is ---- */

Test(mpsc, a_busy_lane_does_not_starve_the_others)
{
    ring r;
    ring_make(&r, mpsc, 8, 4096, 0);
    for (unsigned lane = 0; lane < 8; lane++)
        for (uint64_t seq = 0; seq < 200; seq++)
            put(&r, lane, seq);
    uint64_t seen[8] = { 0 };
    unsigned last = 99, run = 0;
    for (unsigned i = 0; i < 8 * 200; i++) {
        uint32_t len;
        unsigned lane = 0;
        CHECK_OK(weir_mpsc_pop(&r.rx.mpsc, buffer, sizeof buffer, &len, &lane));
        cr_assert(record_is(buffer, lane, seen[lane]++, 8));
        run = lane == last ? run + 1 : 1;
        last = lane;
        cr_assert_leq(run, WEIR_MPSC_TURN);
    }
    ring_free(&r);
}

/* "twice at most" must hold for any bytes, also for those that change. */
Test(mpsc, a_producer_that_flips_its_header_does_not_keep_peek)
{
    for (unsigned copy = 0; copy < 2; copy++) {
        ring r;
        uint32_t len = 0;
        unsigned lane = 0;
        const void *msg = NULL;
        ring_make(&r, mpsc, 3, 128, 0);
        put(&r, 1, 0);
        flip.word = weir_word_at(weir_mpsc_lane(r.mem, 128, 1), WEIR_SPSC_CONTROL);
        flip.flips = 0;
        weir_status status = copy == 0 ? weir_mpsc_peek(&r.rx.mpsc, &msg, &len, &lane)
                                       : weir_mpsc_pop_more(&r.rx.mpsc, buffer, sizeof buffer, &len, &lane);
        flip.word = NULL;
        cr_assert_leq(flip.flips, 2 * 3 + 2, "looked %u times, then %d", flip.flips, status);
        ring_free(&r);
    }
}

/* ---- release ---- */

/* Reads `reads` records, releases behind the read number `release_at`: a new consumer sees the later ones again. */
Test(mpsc, a_new_consumer_sees_what_was_not_released_and_nothing_else)
{
    for (unsigned k = 0; k < 2; k++)
        for (unsigned reads = 0; reads <= 12; reads++)
            for (unsigned release_at = 0; release_at <= reads; release_at++) {
                ring r;
                uint64_t first[3] = { 0 }, seen[3] = { 0 };
                ring_make(&r, kind_of(k), 3, 256, 0);
                for (uint64_t i = 0; i < 12; i++)
                    put(&r, (unsigned)(i % 3), i / 3);
                for (unsigned i = 0; i < reads; i++) {
                    uint32_t len;
                    unsigned lane = 0;
                    CHECK_OK(r.kind->pop_more(&r, buffer, sizeof buffer, &len, &lane, NULL));
                    cr_assert(record_is(buffer, lane, seen[lane]++, 8));
                    if (i + 1 == release_at) {
                        r.kind->release(&r);
                        memcpy(first, seen, sizeof first);
                    }
                }
                CHECK_OK(r.kind->attach_consumer(&r));
                unsigned again = 0;
                for (; r.kind->ready(&r) == WEIR_OK; again++) {
                    uint32_t len;
                    unsigned lane = 0;
                    CHECK_OK(r.kind->pop_more(&r, buffer, sizeof buffer, &len, &lane, NULL));
                    cr_assert(record_is(buffer, lane, first[lane]++, 8), "%s: %u read, released at %u", r.kind->name,
                              reads, release_at);
                }
                cr_assert_eq(again, 12 - release_at);
                ring_free(&r);
            }
}

/* pop is pop_more with a release behind it: of every record read so far, in every lane. */
Test(mpsc, pop_releases_what_was_read_before_it_in_every_lane)
{
    for (unsigned k = 0; k < 2; k++) {
        ring r;
        uint32_t len;
        unsigned lane = 0;
        ring_make(&r, kind_of(k), 3, 128, 0);
        put(&r, 1, 0);
        put(&r, 2, 0);
        expect(&r, 1, 0);
        if (k == 0)
            CHECK_OK(weir_mpsc_pop(&r.rx.mpsc, buffer, sizeof buffer, &len, &lane));
        else
            CHECK_OK(weir_mpsc_ordered_pop(&r.rx.ordered, buffer, sizeof buffer, &len, &lane));
        cr_assert_eq(lane, 2);
        CHECK_OK(r.kind->attach_consumer(&r));
        cr_assert_eq(r.kind->ready(&r), WEIR_EMPTY, "%s: seen again", r.kind->name);
        ring_free(&r);
    }
}

Test(mpsc, peek_gives_the_record_in_place)
{
    for (unsigned k = 0; k < 2; k++) {
        ring r;
        ring_make(&r, kind_of(k), 2, 128, 0);
        for (uint64_t seq = 0; seq < 100; seq++) {
            const void *msg = NULL;
            uint32_t len = 0;
            unsigned lane = 99;
            put(&r, seq % 2, seq);
            CHECK_OK(k == 0 ? weir_mpsc_peek(&r.rx.mpsc, &msg, &len, &lane)
                            : weir_mpsc_ordered_peek(&r.rx.ordered, &msg, &len, &lane));
            cr_assert(lane == seq % 2 && len == 8 && record_is(msg, lane, seq, 8));
            cr_assert((const unsigned char *)msg > (unsigned char *)r.mem);
            CHECK_STATUS(k == 0 ? weir_mpsc_peek(&r.rx.mpsc, &msg, &len, &lane)
                                : weir_mpsc_ordered_peek(&r.rx.ordered, &msg, &len, &lane), WEIR_EMPTY);
            r.kind->release(&r);
        }
        ring_free(&r);
    }
}

/* ---- death ---- */

/* The consumer is not disturbed by a producer that is gone with a reservation, half a batch, or a drawn stamp; the
 * lane's next owner goes on behind what was committed. */
Test(mpsc, a_dead_producer_holds_up_nobody)
{
    uint64_t random = support_seed();
    for (unsigned k = 0; k < 2; k++)
        for (unsigned round = 0; round < 200; round++) {
            ring r;
            ring_make(&r, kind_of(k), 4, 256, round % 2 == 0 ? 0 : 0 - UINT64_C(256));
            uint64_t written[4] = { 0 }, published[4] = { 0 }, seen[4] = { 0 };
            for (unsigned i = 0; i < 200; i++) {
                uint64_t bits = support_random(&random);
                unsigned lane = bits % 4, from = 0;
                uint32_t len = bits >> 8 & 31;
                void *slot = NULL;
                bool more = (bits >> 16) % 4 != 0;
                weir_status status = r.kind->reserve(&r, lane, len, &slot);
                if (status == WEIR_OK && (bits >> 20) % 8 != 0) {
                    record_fill(slot, lane, written[lane]++, len);
                    CHECK_OK(r.kind->commit(&r, lane, len, more));
                    if (!more)
                        published[lane] = written[lane];
                } else if (status == WEIR_FULL) {
                    r.kind->flush(&r, lane);
                    published[lane] = written[lane];
                }
                if ((bits >> 24) % 8 == 0) { /* killed */
                    if (k == 1)
                        (void)weir_fetch_add_rlx(&control(&r)->stamp, 1);
                    CHECK_OK(r.kind->attach_producer(&r, lane));
                    written[lane] = published[lane];
                }
                for (uint64_t reads = (bits >> 28) % 3; reads > 0 && r.kind->ready(&r) == WEIR_OK; reads--) {
                    CHECK_OK(r.kind->pop_more(&r, buffer, sizeof buffer, &len, &from, NULL));
                    cr_assert_lt(seen[from], published[from]);
                    cr_assert(record_is(buffer, from, seen[from]++, len));
                }
                r.kind->release(&r);
            }
            for (unsigned lane = 0; lane < 4; lane++) {
                CHECK_OK(r.kind->attach_producer(&r, lane));
                while (seen[lane] < published[lane]) {
                    uint32_t len;
                    unsigned from = 0;
                    CHECK_OK(r.kind->pop_more(&r, buffer, sizeof buffer, &len, &from, NULL));
                    cr_assert(record_is(buffer, from, seen[from]++, len));
                }
            }
            cr_assert_eq(r.kind->ready(&r), WEIR_EMPTY);
            ring_free(&r);
        }
}

/* ---- one order ---- */

Test(mpsc_ordered, batches_take_their_place_when_pushed_and_a_wrap_of_the_stamps_changes_nothing)
{
    static const uint64_t stamps[] = { 0, UINT64_MAX - 3, (UINT64_C(1) << 63) - 3 };
    for (size_t s = 0; s < 3; s++) {
        ring r;
        ring_make(&r, ordered, 3, 256, 0);
        CHECK_OK(weir_mpsc_ordered_init(r.mem, r.bytes, 3, 256, 0, stamps[s]));
        ring_attach(&r);
        for (uint64_t i = 0; i < 8; i++) { /* all of it is open until the end */
            record_fill(buffer, (unsigned)(i * 5 % 3), i, 8);
            CHECK_OK(r.kind->push(&r, (unsigned)(i * 5 % 3), buffer, 8, true));
        }
        cr_assert_eq(r.kind->ready(&r), WEIR_EMPTY);
        for (unsigned lane = 0; lane < 3; lane++)
            r.kind->flush(&r, lane);
        for (uint64_t i = 0; i < 8; i++)
            expect(&r, (unsigned)(i * 5 % 3), i);
        cr_assert_eq(r.kind->ready(&r), WEIR_EMPTY);
        ring_free(&r);
    }
}

Test(mpsc_ordered, what_was_reserved_takes_its_place_when_it_is_committed)
{
    ring r;
    ring_make(&r, ordered, 3, 256, 0);
    for (uint64_t i = 0; i < 50; i++) {
        void *slot[2] = { NULL, NULL };
        for (unsigned lane = 0; lane < 2; lane++)
            CHECK_OK(r.kind->reserve(&r, lane, 8, &slot[lane]));
        put(&r, 2, i);
        for (unsigned lane = 2; lane-- > 0;) {
            record_fill(slot[lane], lane, i, 8);
            CHECK_OK(r.kind->commit(&r, lane, 8, false));
        }
        for (unsigned lane = 3; lane-- > 0;)
            expect(&r, lane, i);
        r.kind->release(&r);
    }
    ring_free(&r);
}

static struct {
    ring *r; /* the producers' view */
    unsigned char *page;
    unsigned faults;
} meanwhile;

static void on_fault(int signal_number, siginfo_t *info, void *context)
{
    (void)context;
    unsigned char *at = info->si_addr;
    if (at < meanwhile.page || at >= meanwhile.page + 4096 ||
        mprotect(meanwhile.page, 4096, PROT_READ | PROT_WRITE) != 0)
        (void)signal(signal_number, SIG_DFL);
    meanwhile.faults++;
    put(meanwhile.r, 0, 0); /* returned before the other began */
    put(meanwhile.r, 1, 0);
}

/* The consumer has looked at lane 0 and found nothing; as it comes to lane 1, one is pushed to lane 0 and then one to
 * lane 1.  The page with lane 1's header is not there, and whoever puts it there pushes both. */
Test(mpsc_ordered, the_second_look_finds_what_was_pushed_before_the_record_in_hand)
{
    for (unsigned how = 0; how < 2; how++) {
        ring r = { .kind = ordered, .capacity = 1 << 16, .producers = 2 };
        r.bytes = (ordered->footprint(&r) + 4095) & ~UINT64_C(4095);
        int fd = memfd_create("ordered", 0);
        CHECK(fd >= 0 && ftruncate(fd, (off_t)r.bytes) == 0);
        r.mem = mmap(NULL, r.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        ring consumer = r;
        consumer.mem = mmap(NULL, r.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        CHECK(r.mem != MAP_FAILED && consumer.mem != MAP_FAILED && close(fd) == 0);
        CHECK_OK(weir_mpsc_ordered_init(r.mem, r.bytes, 2, r.capacity, 1 << 15, how == 0 ? 0 : UINT64_MAX));
        ring_attach(&r);
        CHECK_OK(ordered->attach_consumer(&consumer));
        uintptr_t header = (uintptr_t)weir_mpsc_lane(consumer.mem, r.capacity, 1) + WEIR_SPSC_CONTROL + (1 << 15);
        meanwhile.r = &r;
        meanwhile.page = (unsigned char *)consumer.mem + (header - (uintptr_t)consumer.mem) / 4096 * 4096;
        meanwhile.faults = 0;
        struct sigaction action = { .sa_flags = SA_SIGINFO }, former;
        action.sa_sigaction = on_fault;
        CHECK(sigaction(SIGSEGV, &action, &former) == 0 && mprotect(meanwhile.page, 4096, PROT_NONE) == 0);
        expect(&consumer, 0, 0);
        expect(&consumer, 1, 0);
        cr_assert_eq(meanwhile.faults, 1);
        CHECK(sigaction(SIGSEGV, &former, NULL) == 0);
        CHECK(munmap(r.mem, r.bytes) == 0 && munmap(consumer.mem, r.bytes) == 0);
    }
}
