/* Channels of every kind: impossible bytes, and lanes that come at the wrong moment. */
#include "ipc/kinds_help.h"

#include <criterion/criterion.h>
#include <weir/naming/os_linux.h>
#include <weir/ring/broadcast_layout.h>
#include <weir/ring/mpmc_layout.h>
#include <weir/ring/mpsc_layout.h>

#define NAME "hostile"

static void *ring_of(struct third *third, const struct kind_row *k)
{
    uint32_t producers = k->producers ? WEIR_MEMBERS_DEFAULT : 1, consumers = k->consumers ? WEIR_MEMBERS_DEFAULT : 1;
    return (unsigned char *)third->view.base + weir_channel_ring_off(producers, consumers);
}

/* Works a pair of handles until both have said what they have to say; none of it may fault or hang. */
static void work(const struct kind_row *k, weir_channel *p, weir_channel *c)
{
    static unsigned char bytes[2048];
    const void *msg;
    void *slot;
    uint32_t len;
    weir_channel_facts facts;
    for (int i = 0; i < 8; i++) {
        (void)weir_send(p, bytes, 100, WEIR_NOWAIT);
        if (weir_reserve(p, 50, &slot, WEIR_NOWAIT) == WEIR_OK)
            (void)weir_commit(p, 50);
        (void)weir_peek(c, &msg, &len, WEIR_NOWAIT);
        (void)weir_release(c);
        (void)weir_receive(c, bytes, sizeof bytes, &len, WEIR_MILLISECONDS(1));
        (void)weir_channel_drain(p, WEIR_NOWAIT);
        (void)weir_channel_info(p, &facts); /* CORRUPT, where it is the type */
        (void)weir_channel_info(c, &facts);
    }
    (void)k;
}

/* Every word of the layout, of the members and of the ring's control, to values that nobody writes. */
Test(kinds_hostile, no_word_that_is_spoiled_makes_a_call_fault_or_hang, .timeout = 100)
{
    (void)support_shm_dir();
    static const uint64_t values[] = { 0, 1, UINT64_MAX, UINT64_C(1) << 63, UINT64_C(0x1000000010), 12345 };
    uint64_t step = 100 / support_count(100), seed = support_seed();
    FOR_EACH_KIND(k)
        for (int attached = 0; attached < 2; attached++) {
            struct third third;
            weir_channel *p = open_kind(NAME, k->kind, WEIR_PRODUCER, 4096), *c = NULL;
            third_open(&third, NAME);
            static unsigned char saved[1 << 22];
            uint64_t off = (uint64_t)((unsigned char *)ring_of(&third, k) - (unsigned char *)third.view.base);
            uint64_t words = (off + 8192) / 8;
            if (words > third.view.size / 8)
                words = third.view.size / 8;
            CHECK(third.view.size <= sizeof saved || k->kind == WEIR_MPMC);
            uint64_t whole = third.view.size < sizeof saved ? third.view.size : sizeof saved;
            CHECK_OK(weir_channel_close(p));
            memcpy(saved, third.view.base, whole);
            for (uint64_t word = support_random(&seed) % step; word < words; word += step) {
                if (word * 8 >= 384 + 256 && word * 8 < off && word % 16 > 3) /* a member's padding */
                    continue;
                if (word * 8 >= off + 768 && word % 8 != 0)
                    continue;
                uint64_t value = values[support_random(&seed) % 6];
                memcpy(third.view.base, saved, whole);
                if (!attached)
                    memcpy((unsigned char *)third.view.base + word * 8, &value, 8);
                p = c = NULL;
                (void)weir_channel_open(&p, NAME, WEIR_PRODUCER, &(weir_channel_options){ .kind = k->kind });
                (void)weir_channel_open(&c, NAME, WEIR_CONSUMER, &(weir_channel_options){ .kind = k->kind });
                CHECK(!attached || (p != NULL && c != NULL));
                if (attached)
                    memcpy((unsigned char *)third.view.base + word * 8, &value, 8);
                if (p != NULL && c != NULL)
                    work(k, p, c);
                CHECK_OK(weir_channel_close(p));
                CHECK_OK(weir_channel_close(c));
            }
            third_close(&third);
        }
}

Test(kinds_hostile, a_broadcast_ring_without_a_boundary_does_not_hang_who_opens_it, .timeout = 60)
{
    (void)support_shm_dir();
    struct third third;
    weir_channel *p = open_kind(NAME, WEIR_BROADCAST, WEIR_PRODUCER, 4096), *c = NULL;
    third_open(&third, NAME);
    weir_broadcast_layout *ring = ring_of(&third, &kind_rows[4]);
    weir_store_rlx(&ring->limit, UINT64_C(1) << 40);
    weir_status status = weir_channel_open(&c, NAME, WEIR_CONSUMER, &(weir_channel_options){ .kind = WEIR_BROADCAST });
    if (status == WEIR_OK) {
        CHECK_STATUS(receive_nothing(c, WEIR_MILLISECONDS(5)), WEIR_TIMEOUT);
        CHECK_OK(weir_channel_close(p));
        CHECK_STATUS(receive_nothing(c, HELP_DEADLINE), WEIR_CLOSED);
        CHECK_OK(weir_channel_close(c));
    }
    third_close(&third);
}

static void claims_some(weir_channel *c)
{
    uint64_t got;
    uint32_t len;
    CHECK_OK(weir_receive_more(c, &got, 8, &len, HELP_DEADLINE));
}

Test(kinds_hostile, an_owner_word_that_is_spoiled_is_corrupt_and_no_fault_in_release)
{
    (void)support_shm_dir();
    struct third third;
    weir_channel *p = open_kind(NAME, WEIR_MPMC, WEIR_PRODUCER, 65536);
    for (uint64_t id = 0; id < 8; id++)
        CHECK_OK(send_id(p, id, WEIR_NOWAIT));
    pid_t child = child_stands(NAME, WEIR_CONSUMER, (weir_channel_options){ .kind = WEIR_MPMC }, claims_some);
    weir_channel *c = open_kind(NAME, WEIR_MPMC, WEIR_CONSUMER, 0);
    uint64_t got;
    uint32_t len;
    while (weir_receive(c, &got, 8, &len, WEIR_NOWAIT) == WEIR_OK)
        continue;
    child_kill(child);
    const void *msg;
    CHECK_OK(weir_peek(c, &msg, &len, HELP_DEADLINE));
    CHECK(message_of(c).redelivered);
    while (weir_peek(c, &msg, &len, WEIR_NOWAIT) == WEIR_OK)
        continue;
    third_open(&third, NAME);
    unsigned char *ring = ring_of(&third, &kind_rows[3]);
    weir_store_rlx(weir_word_at(ring, weir_mpmc_owner_off(0)), UINT64_C(0x123456789a01));
    (void)weir_release(c);
    CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_E_CORRUPT);
    CHECK_STATUS(weir_release(c), WEIR_E_CORRUPT);
    CHECK_STATUS(weir_peek(c, &msg, &len, HELP_DEADLINE), WEIR_E_CORRUPT);
    CHECK_OK(weir_channel_close(c));
    CHECK_OK(weir_channel_close(p));
    third_close(&third);
}

/* It is asked whom the dead have left something to, in a ring that is none any more, or has no such consumer. */
Test(kinds_hostile, who_looks_for_what_the_dead_left_in_a_spoiled_ring_finds_it_corrupt_for_good)
{
    (void)support_shm_dir();
    static const struct { uint64_t off, value; } spoiled[] = {
        { offsetof(weir_mpmc_layout, magic), 0 },
        { offsetof(weir_mpmc_layout, version), 99 },
        { offsetof(weir_mpmc_layout, consumers), 1 },
    };
    for (size_t i = 0; i < sizeof spoiled / sizeof spoiled[0]; i++) {
        struct third third;
        weir_channel *p = open_kind(NAME, WEIR_MPMC, WEIR_PRODUCER, 4096), *c = open_kind(NAME, WEIR_MPMC, WEIR_CONSUMER, 0);
        third_open(&third, NAME);
        weir_atomic_u64 *word = weir_word_at(ring_of(&third, &kind_rows[3]), spoiled[i].off);
        uint64_t good = weir_load_rlx(word);
        weir_store_rlx(word, spoiled[i].value);
        CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_E_CORRUPT);
        weir_store_rlx(word, good);
        CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_E_CORRUPT);
        CHECK_OK(weir_channel_close(c));
        CHECK_OK(weir_channel_close(p));
        third_close(&third);
    }
}

Test(kinds_hostile, a_ring_that_was_found_corrupt_is_so_for_good_and_for_every_call)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k) {
        if (!k->producers)
            continue;
        struct third third;
        weir_channel *p = open_kind(NAME, k->kind, WEIR_PRODUCER, 4096);
        weir_channel *c = open_kind(NAME, k->kind, WEIR_CONSUMER, 0);
        CHECK_OK(send_id(p, 1, WEIR_NOWAIT));
        receive_id(c, 1);
        third_open(&third, NAME);
        unsigned char *ring = ring_of(&third, k);
        weir_atomic_u64 *made = weir_word_at(ring, k->kind == WEIR_MPMC ? offsetof(weir_mpmc_layout, made)
                                                                        : offsetof(weir_mpsc_layout, made));
        weir_store_rlx(made, 1000); /* lanes that there are none of */
        uint64_t got;
        uint32_t len;
        CHECK_STATUS(weir_receive(c, &got, 8, &len, WEIR_NOWAIT), WEIR_E_CORRUPT);
        weir_store_rlx(made, 1);
        CHECK_STATUS(weir_receive(c, &got, 8, &len, HELP_DEADLINE), WEIR_E_CORRUPT);
        CHECK_STATUS(weir_release(c), WEIR_E_CORRUPT);
        CHECK_OK(weir_channel_close(c));
        c = open_kind(NAME, k->kind, WEIR_CONSUMER, 0);
        weir_store_rlx(made, 2); /* one that has no bytes */
        CHECK_STATUS(weir_receive(c, &got, 8, &len, WEIR_NOWAIT), WEIR_E_CORRUPT);
        CHECK_OK(weir_channel_close(c));
        CHECK_OK(weir_channel_close(p));
        third_close(&third);
    }
}

/* A consumer that came before the ring has handles for the lanes that the channel states. */
Test(kinds_hostile, a_ring_of_more_lanes_than_the_channel_has_places_is_corrupt)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k) {
        if (!k->producers)
            continue;
        struct third third;
        uint64_t got;
        uint32_t len;
        weir_channel *c = open_kind(NAME, k->kind, WEIR_CONSUMER, 0);
        weir_channel *p = open_kind(NAME, k->kind, WEIR_PRODUCER, 4096);
        third_open(&third, NAME);
        weir_atomic_u64 *lanes = weir_word_at(ring_of(&third, k), k->kind == WEIR_MPMC ? offsetof(weir_mpmc_layout, lanes)
                                                                                       : offsetof(weir_mpsc_layout, lanes));
        weir_store_rlx(lanes, weir_load_rlx(lanes) + 1);
        CHECK_STATUS(weir_receive(c, &got, 8, &len, WEIR_NOWAIT), WEIR_E_CORRUPT);
        CHECK(strstr(weir_error_detail(), "has another") != NULL);
        weir_store_rlx(lanes, weir_load_rlx(lanes) - 1);
        CHECK_STATUS(weir_receive(c, &got, 8, &len, WEIR_NOWAIT), WEIR_E_CORRUPT); /* for good */
        CHECK_OK(weir_channel_close(c));
        CHECK_OK(weir_channel_close(p));
        third_close(&third);
    }
}

Test(kinds_hostile, a_layout_with_more_places_than_the_section_is_corrupt)
{
    (void)support_shm_dir();
    struct third third;
    weir_channel *p;
    CHECK_OK(weir_channel_open(&p, NAME, WEIR_PRODUCER,
                               &(weir_channel_options){ .kind = WEIR_MPSC, .producers = 2, .capacity = 65536 }));
    third_open(&third, NAME);
    third.layout->producers = 100;
    check_refused(NAME, WEIR_CONSUMER, (weir_channel_options){ .kind = WEIR_MPSC }, WEIR_E_CORRUPT, "100", "places");
    third.layout->producers = 2;
    CHECK_OK(weir_channel_close(p));
    third_close(&third);
}

/* ---- a lane that is made while a consumer attaches ---- */

static void *(*real_mmap)(void *at, size_t size, int protection, int flags, int fd, off_t offset);
static struct gate go, done;
static int maps_left;

/* Another process's producer comes behind the consumer's mapping, and before it looks at the ring. */
static void *mmap_and_a_producer(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    void *base = real_mmap(at, size, protection, flags, fd, offset);
    if (--maps_left == 0) {
        gate_open(go);
        gate_wait(done);
    }
    return base;
}

static pid_t late_producer(weir_kind kind)
{
    go = gate_make();
    done = gate_make();
    pid_t child = child_fork();
    if (child == 0) {
        gate_wait(go);
        weir_channel *p = open_kind(NAME, kind, WEIR_PRODUCER, 0);
        CHECK_OK(send_id(p, 2, WEIR_NOWAIT));
        gate_open(done);
        for (;;)
            (void)pause();
    }
    return child;
}

Test(kinds_hostile, a_lane_that_is_made_while_a_consumer_attaches_is_no_corruption)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k) {
        if (!k->producers)
            continue;
        for (int nth = 1; nth <= 2; nth++) {
            weir_channel *c = open_kind(NAME, k->kind, WEIR_CONSUMER, 0);
            weir_channel *p = open_kind(NAME, k->kind, WEIR_PRODUCER, 65536);
            CHECK_OK(send_id(p, 1, WEIR_NOWAIT));
            pid_t child = late_producer(k->kind);
            maps_left = nth;
            real_mmap = weir_linux.mmap;
            weir_linux.mmap = mmap_and_a_producer;
            uint64_t first = 0, second = 0;
            uint32_t len;
            CHECK_OK(weir_receive(c, &first, 8, &len, WEIR_NOWAIT));
            weir_linux.mmap = real_mmap;
            CHECK(nth > 1 || maps_left <= 0); /* it does map */
            if (maps_left > 0)
                gate_open(go);
            CHECK_OK(weir_receive(c, &second, 8, &len, HELP_DEADLINE));
            CHECK(first + second == 3);
            child_kill(child);
            gate_close(go);
            gate_close(done);
            CHECK_OK(weir_channel_close(p));
            CHECK_OK(weir_channel_close(c));
        }
    }
}
