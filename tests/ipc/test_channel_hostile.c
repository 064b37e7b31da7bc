/* Bytes in a channel's section that no weir writes: a status, never a fault, never a hang. */
#include "ipc/channel_help.h"

#include <criterion/criterion.h>
#include <pthread.h>

#define NAME "hostile"

static const weir_wait all_waits[] = { WEIR_WAIT_SPIN_SLEEP, WEIR_WAIT_SPIN, WEIR_WAIT_SLEEP };

/* ---- at open ---- */

static void openers_get(weir_status status, const char *what, uint64_t value)
{
    for (int role = WEIR_PRODUCER; role <= WEIR_CONSUMER; role++) {
        weir_channel *channel = NULL;
        weir_status got = weir_channel_open(&channel, NAME, (weir_role)role, NULL);
        cr_assert_eq(got, status, "%s = %#llx, role %d: %s, not %s (%s)", what, (unsigned long long)value, role,
                     weir_status_name(got), weir_status_name(status), weir_error_detail());
        cr_assert_null(channel);
    }
}

/* A channel that only a third holder has open, so that both roles can be tried. */
static struct third abandoned(void)
{
    struct third third;
    weir_channel *p = open_as(NAME, WEIR_PRODUCER, 4096);
    third_open(&third, NAME);
    CHECK_OK(send_id(p, 1, WEIR_NOWAIT));
    CHECK_OK(weir_channel_close(p));
    return third;
}

Test(channel_hostile, an_impossible_channel_header_is_refused)
{
    (void)support_shm_dir();
    struct third third = abandoned();
    weir_channel_layout *layout = third.layout;
    static const uint32_t versions[] = { 0, 1, UINT32_MAX }, kinds[] = { 0, 2, UINT32_MAX };
    static const uint32_t counts[] = { 0, 2, UINT32_MAX };
    static const uint32_t fences[] = { 2, UINT32_MAX };
    uint32_t version = layout->version, kind = layout->kind, fence = layout->full_fence;
    for (size_t i = 0; i < 3; i++) {
        layout->version = versions[i];
        openers_get(WEIR_E_VERSION, "version", versions[i]);
        layout->version = version;
        layout->kind = kinds[i];
        openers_get(WEIR_E_MISMATCH, "kind", kinds[i]);
        layout->kind = kind;
        layout->producers = counts[i];
        openers_get(WEIR_E_CORRUPT, "producers", counts[i]);
        layout->producers = 1;
        layout->consumers = counts[i];
        openers_get(WEIR_E_CORRUPT, "consumers", counts[i]);
        layout->consumers = 1;
    }
    for (size_t i = 0; i < 2; i++) {
        layout->full_fence = fences[i];
        openers_get(WEIR_E_CORRUPT, "fence", fences[i]);
        layout->full_fence = fence;
    }
    static const uint64_t lanes[] = { 1, 64, 2048, 4095, 4097, 8192, 12288, UINT64_C(1) << 46, UINT64_C(1) << 47,
                                      UINT64_C(1) << 63, UINT64_MAX, UINT64_MAX - 4095 };
    for (size_t i = 0; i < sizeof lanes / sizeof lanes[0]; i++) {
        weir_store_rlx(&layout->capacity, lanes[i]);
        openers_get(WEIR_E_CORRUPT, "capacity", lanes[i]);
    }
    weir_store_rlx(&layout->capacity, 4096);
    static const uint64_t types[] = { 64, 4096, UINT64_C(1) << 32, UINT64_MAX };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        weir_store_rlx(&layout->type_len, types[i]);
        openers_get(WEIR_E_CORRUPT, "type_len", types[i]);
    }
    weir_store_rlx(&layout->type_len, 0);
    /* Nothing of that was kept: as it was, it is fine. */
    weir_channel *c = open_as(NAME, WEIR_CONSUMER, 0);
    CHECK(facts_of(c).consumer.generation == 1 && facts_of(c).producer.generation == 1);
    receive_id(c, 1);
    CHECK_OK(weir_channel_close(c));
    third_close(&third);
}

Test(channel_hostile, an_impossible_lane_is_refused)
{
    (void)support_shm_dir();
    struct third third = abandoned();
    weir_spsc_layout *lane = third.lane;
    weir_store_rlx(&lane->magic, 0);
    openers_get(WEIR_E_CORRUPT, "magic", 0);
    weir_store_rlx(&lane->magic, WEIR_SPSC_MAGIC);
    weir_store_rlx(&lane->version, 2);
    openers_get(WEIR_E_VERSION, "lane's version", 2);
    weir_store_rlx(&lane->version, WEIR_SPSC_VERSION);
    static const uint64_t capacities[] = { 0, 3, 64, 2048, 4095, 8192, UINT64_C(1) << 40, UINT64_MAX };
    for (size_t i = 0; i < sizeof capacities / sizeof capacities[0]; i++) {
        weir_store_rlx(&lane->capacity, capacities[i]);
        openers_get(WEIR_E_CORRUPT, "lane's capacity", capacities[i]);
    }
    weir_store_rlx(&lane->capacity, 4096);
    static const uint64_t heads[] = { 1, 4, 12345, UINT64_MAX };
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        weir_store_rlx(&lane->head, heads[i]);
        openers_get(WEIR_E_CORRUPT, "head", heads[i]);
    }
    weir_store_rlx(&lane->head, 0);
    /* A producer walks the records to find where to go on. */
    static const uint64_t headers[] = { 1, WEIR_SPSC_DATA | 4096, WEIR_SPSC_DATA | 2033, WEIR_SPSC_PAD | 8, UINT64_MAX,
                                        WEIR_SPSC_PAD | 4088, WEIR_SPSC_DATA | UINT32_MAX };
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        weir_channel *p = NULL;
        weir_store_rlx(weir_word_at(third.data, 16), headers[i]);
        CHECK_STATUS(weir_channel_open(&p, NAME, WEIR_PRODUCER, NULL), WEIR_E_CORRUPT);
        CHECK(p == NULL);
    }
    for (uint64_t at = 16; at < 4096; at += 8) /* records without end: a whole lap of them */
        weir_store_rlx(weir_word_at(third.data, at), WEIR_SPSC_DATA);
    weir_channel *p = NULL;
    CHECK_STATUS(weir_channel_open(&p, NAME, WEIR_PRODUCER, NULL), WEIR_E_CORRUPT);
    third_close(&third);
}

Test(channel_hostile, a_section_too_short_or_without_slots_is_refused)
{
    (void)support_shm_dir();
    static const struct {
        uint64_t size;
        uint32_t slots;
    } made[] = { { 1, 2 }, { 64, 2 }, { 4095, 2 }, { 4096, 0 }, { 8192, 1 } };
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
        weir_section *section;
        weir_section_options options = { .content = WEIR_CHANNEL_CONTENT, .slots = made[i].slots };
        CHECK_OK(weir_section_create(&section, NAME, made[i].size, &options));
        if (made[i].size >= WEIR_CHANNEL_DATA) { /* what is left to refuse is the slots */
            weir_view view;
            CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE));
            weir_channel_layout *layout = view.base;
            layout->version = WEIR_CHANNEL_VERSION;
            layout->kind = WEIR_SPSC;
            layout->producers = layout->consumers = 1;
            CHECK_OK(weir_view_unmap(&view));
        }
        for (int role = WEIR_PRODUCER; role <= WEIR_CONSUMER; role++) {
            weir_channel *channel = NULL;
            weir_status status = weir_channel_open(&channel, NAME, (weir_role)role, NULL);
            cr_assert_lt((int)status, 0, "case %zu", i);
            CHECK(made[i].size >= WEIR_CHANNEL_DATA || status == WEIR_E_CORRUPT);
            CHECK(channel == NULL);
        }
        CHECK_OK(weir_section_close(section));
    }
}

/* ---- while it is open ---- */

/* Every call of the consumer, and all say CORRUPT, waiting or not. */
static void consumer_is_corrupt(weir_channel *c)
{
    const void *msg;
    uint64_t got;
    uint32_t len;
    for (int again = 0; again < 2; again++) {
        CHECK_STATUS(weir_receive(c, &got, 8, &len, WEIR_NOWAIT), WEIR_E_CORRUPT);
        CHECK_STATUS(weir_receive(c, &got, 8, &len, WEIR_FOREVER), WEIR_E_CORRUPT);
        CHECK_STATUS(weir_receive_more(c, &got, 8, &len, WEIR_FOREVER), WEIR_E_CORRUPT);
        CHECK_STATUS(weir_peek(c, &msg, &len, WEIR_FOREVER), WEIR_E_CORRUPT);
        CHECK_STATUS(weir_peek(c, &msg, &len, WEIR_NOWAIT), WEIR_E_CORRUPT);
        CHECK_STATUS(weir_release(c), WEIR_E_CORRUPT);
    }
}

static void producer_is_corrupt(weir_channel *p)
{
    void *slot;
    for (int again = 0; again < 2; again++) {
        CHECK_STATUS(send_id(p, 0, WEIR_NOWAIT), WEIR_E_CORRUPT);
        CHECK_STATUS(send_id(p, 0, WEIR_FOREVER), WEIR_E_CORRUPT);
        CHECK_STATUS(weir_send(p, &slot, UINT64_MAX, WEIR_FOREVER), WEIR_E_CORRUPT);
        CHECK_STATUS(weir_send_more(p, &slot, 8, WEIR_FOREVER), WEIR_E_CORRUPT);
        CHECK_STATUS(weir_reserve(p, 8, &slot, WEIR_FOREVER), WEIR_E_CORRUPT);
        CHECK_STATUS(weir_commit(p, 8), WEIR_E_CORRUPT);
        CHECK_STATUS(weir_commit_more(p, 8), WEIR_E_CORRUPT);
        CHECK_STATUS(weir_flush(p), WEIR_E_CORRUPT);
        CHECK_STATUS(weir_channel_drain(p, WEIR_FOREVER), WEIR_E_CORRUPT);
        CHECK_STATUS(weir_channel_drain(p, WEIR_NOWAIT), WEIR_E_CORRUPT);
    }
}

Test(channel_hostile, an_impossible_header_in_the_lane_is_CORRUPT_for_good_to_the_consumer)
{
    (void)support_shm_dir();
    static const uint64_t headers[] = {
        1, UINT64_MAX, UINT64_C(1) << 63, WEIR_SPSC_DATA | 2033, WEIR_SPSC_DATA | UINT32_MAX, WEIR_SPSC_PAD,
        WEIR_SPSC_PAD | 8, WEIR_SPSC_PAD | 4072, WEIR_SPSC_PAD | 4071, WEIR_SPSC_TAG,
    };
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        for (int call = 0; call < 4; call++) {
            struct third third;
            const void *msg;
            uint64_t got;
            uint32_t len;
            weir_channel *p = open_as(NAME, WEIR_PRODUCER, 4096);
            weir_channel *c;
            CHECK_OK(weir_channel_open(&c, NAME, WEIR_CONSUMER, &(weir_channel_options){ .wait = all_waits[i % 3] }));
            third_open(&third, NAME);
            CHECK_OK(send_id(p, 1, WEIR_NOWAIT));
            receive_id(c, 1);
            weir_store_rel(weir_word_at(third.data, 16), headers[i]);
            weir_timeout timeout = call % 2 == 0 ? WEIR_NOWAIT : WEIR_FOREVER;
            weir_status status = call < 2 ? weir_receive(c, &got, 8, &len, timeout) : weir_peek(c, &msg, &len, timeout);
            CHECK_STATUS(status, WEIR_E_CORRUPT);
            CHECK(weir_error_detail()[0] != 0);
            weir_store_rel(weir_word_at(third.data, 16), 0); /* mended, it stays so for this handle */
            CHECK_OK(send_id(p, 2, WEIR_NOWAIT));
            consumer_is_corrupt(c);
            CHECK_OK(weir_channel_close(c));
            /* and not for the next one */
            c = open_as(NAME, WEIR_CONSUMER, 0);
            receive_id(c, 2);
            CHECK_OK(weir_channel_close(c));
            CHECK_OK(weir_channel_close(p));
            third_close(&third);
        }
}

Test(channel_hostile, an_impossible_position_of_the_consumer_is_CORRUPT_for_good_to_the_producer)
{
    (void)support_shm_dir();
    static const int64_t off_by[] = { 1, 4, -8, -4096, 4096, 8192, INT64_MAX - 7, INT64_MIN };
    for (size_t i = 0; i < sizeof off_by / sizeof off_by[0]; i++)
        for (int call = 0; call < 4; call++) {
            struct third third;
            weir_status last, status;
            void *slot;
            weir_channel *p;
            weir_channel_options options = { .capacity = 4096, .wait = all_waits[i % 3] };
            CHECK_OK(weir_channel_open(&p, NAME, WEIR_PRODUCER, &options));
            third_open(&third, NAME);
            weir_channel *c = open_as(NAME, WEIR_CONSUMER, 0);
            CHECK_OK(send_id(p, 0, WEIR_NOWAIT));
            receive_id(c, 0);
            CHECK_OK(weir_channel_drain(p, WEIR_NOWAIT)); /* it believes in 16 now */
            (void)send_until_full(p, 0, &last);
            CHECK_STATUS(last, WEIR_FULL);
            weir_store_rel(&third.lane->head, 16 + (uint64_t)off_by[i]);
            if (call == 0)
                status = send_id(p, 0, WEIR_NOWAIT);
            else if (call == 1)
                status = send_id(p, 0, WEIR_FOREVER);
            else if (call == 2)
                status = weir_reserve(p, 8, &slot, WEIR_FOREVER);
            else
                status = weir_channel_drain(p, WEIR_FOREVER);
            CHECK_STATUS(status, WEIR_E_CORRUPT);
            weir_store_rel(&third.lane->head, 16);
            producer_is_corrupt(p);
            CHECK_OK(weir_channel_close(p));
            CHECK_OK(weir_channel_close(c));
            third_close(&third);
        }
}

Test(channel_hostile, a_lane_that_comes_to_a_waiting_consumer_and_is_none_is_CORRUPT_for_good)
{
    (void)support_shm_dir();
    for (int lie = 0; lie < 5; lie++) {
        struct third third;
        weir_channel *c = open_as(NAME, WEIR_CONSUMER, 0);
        third_open(&third, NAME);
        CHECK_OK(weir_section_extend(third.section, WEIR_CHANNEL_DATA + 8192));
        weir_view_unmap(&third.view);
        CHECK_OK(weir_view_map(&third.view, third.section, 0, 0, WEIR_READ_WRITE));
        third.layout = third.view.base;
        unsigned char *lane = (unsigned char *)third.view.base + WEIR_CHANNEL_LANE;
        if (lie == 4) { /* whole, and of another version than the channel's lanes are */
            CHECK_OK(weir_spsc_init(lane, WEIR_SPSC_CONTROL + 8192, 8192, 0));
            weir_store_rlx(&((weir_spsc_layout *)(void *)lane)->version, 2);
        } else if (lie != 0) /* 0: a lane is stated and none is there */
            CHECK_OK(weir_spsc_init(lane, WEIR_SPSC_CONTROL + 8192, 4096, 0)); /* 1: a smaller one than is stated */
        /* 2: no capacity a lane can have; 3: longer than the section */
        weir_store_rel(&third.layout->capacity, lie == 2 ? 5000 : lie == 3 ? 1 << 20 : 8192);
        CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_E_CORRUPT);
        CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_E_CORRUPT);
        CHECK_STATUS(receive_nothing(c, WEIR_FOREVER), WEIR_E_CORRUPT);
        CHECK_OK(weir_channel_close(c));
        third_close(&third);
    }
}

Test(channel_hostile, a_section_without_a_channels_slots_or_with_reserved_room_is_CORRUPT_to_openers)
{
    (void)support_shm_dir();
    for (int lie = 0; lie < 4; lie++) {
        weir_section *section;
        weir_channel *channel;
        weir_section_options options = { .content = WEIR_CHANNEL_CONTENT, .slots = lie < 3 ? (uint32_t)lie : 3,
                                         .flags = lie == 3 ? WEIR_RESERVE : 0 };
        CHECK_OK(weir_section_create(&section, NAME, 12288, &options));
        if (lie != 3) { /* else not even the layout's words can be touched */
            weir_view view;
            CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE));
            weir_channel_layout *layout = view.base;
            layout->version = WEIR_CHANNEL_VERSION;
            layout->kind = WEIR_SPSC;
            CHECK_OK(weir_view_unmap(&view));
        }
        CHECK_STATUS(weir_channel_open(&channel, NAME, WEIR_PRODUCER, NULL), WEIR_E_CORRUPT);
        CHECK_STATUS(weir_channel_open(&channel, NAME, WEIR_CONSUMER, NULL), WEIR_E_CORRUPT);
        CHECK_OK(weir_section_close(section));
    }
}

/* ---- any bytes ---- */

static void spoil(uint64_t *seed, unsigned char *content, uint64_t bytes)
{
    static const uint64_t likely[] = { 0, 1, 8, 16, 4096, 8192, WEIR_SPSC_DATA, WEIR_SPSC_DATA | 8, WEIR_SPSC_PAD | 8,
                                       WEIR_SPSC_MAGIC, UINT64_MAX, UINT64_C(1) << 63 };
    uint64_t random = support_random(seed);
    uint64_t value = random % 3 == 0 ? support_random(seed) : likely[random / 3 % (sizeof likely / sizeof likely[0])];
    /* Half of it where the words are that are believed. */
    static const uint64_t known[] = { 0, 8, 16, 24, 32, 256, 264, 384, 392, 3840, 3848, 3856, 3968, 4096, 4112 };
    uint64_t at = (random >> 40) % (bytes / 8) * 8;
    if ((random >> 32 & 1) != 0)
        at = known[(random >> 33) % (sizeof known / sizeof known[0])];
    weir_store_rlx(weir_word_at(content, at), value);
}

static void use_anyhow(uint64_t *seed)
{
    static unsigned char buffer[HELP_BUFFER];
    weir_channel *p = NULL, *c = NULL;
    uint32_t len;
    const void *msg;
    void *slot;
    weir_channel_facts facts;
    (void)weir_channel_open(&p, NAME, WEIR_PRODUCER, NULL);
    (void)weir_channel_open(&c, NAME, WEIR_CONSUMER, NULL);
    for (int i = 0; i < 20; i++) {
        uint64_t random = support_random(seed);
        weir_timeout timeout = random % 8 == 0 ? 20000 : WEIR_NOWAIT;
        switch (random >> 8 & 7) {
        case 0: if (p) (void)weir_send(p, buffer, random >> 20 & 4095, timeout); break;
        case 1: if (p) (void)weir_send_more(p, buffer, random >> 20 & 255, timeout); break;
        case 2: if (p && weir_reserve(p, 64, &slot, timeout) == WEIR_OK) (void)weir_commit(p, random >> 20 & 63); break;
        case 3: if (p) (void)weir_channel_drain(p, timeout); break;
        case 4: if (c) (void)weir_receive(c, buffer, sizeof buffer, &len, timeout); break;
        case 5: if (c && weir_peek(c, &msg, &len, timeout) == WEIR_OK) memcpy(buffer, msg, len); break;
        case 6: if (c) (void)weir_release(c); break;
        default: if (c) (void)weir_channel_info(c, &facts); break;
        }
    }
    (void)weir_channel_close(p);
    (void)weir_channel_close(c);
}

Test(channel_hostile, whatever_bytes_stand_in_the_section_calls_return)
{
    (void)support_shm_dir();
    uint64_t seed = support_seed(), rounds = support_count(10000);
    struct third third = abandoned();
    static unsigned char good[8192];
    memcpy(good, third.view.base, sizeof good);
    (void)alarm(100);
    for (uint64_t round = 0; round < rounds; round++) {
        memcpy(third.view.base, good, sizeof good);
        for (uint64_t words = 1 + support_random(&seed) % 6; words > 0; words--)
            spoil(&seed, third.view.base, sizeof good);
        use_anyhow(&seed);
    }
    memcpy(third.view.base, good, sizeof good);
    third_close(&third);
}

/* A peer that scribbles while the other end works. */
struct scribbler {
    struct third *third;
    weir_atomic_u64 stop;
    uint64_t seed;
};

static void *scribble(void *arg)
{
    struct scribbler *self = arg;
    while (weir_load_rlx(&self->stop) == 0)
        spoil(&self->seed, self->third->view.base, 8192);
    return NULL;
}

Test(channel_hostile, a_peer_that_scribbles_meanwhile_gets_no_fault_and_no_hang)
{
    (void)support_shm_dir();
    uint64_t seed = support_seed(), rounds = support_count(3000);
    struct third third = abandoned();
    static unsigned char good[8192];
    memcpy(good, third.view.base, sizeof good);
    struct scribbler scribbler = { .third = &third, .seed = seed | 1 };
    pthread_t thread;
    (void)alarm(100);
    CHECK(pthread_create(&thread, NULL, scribble, &scribbler) == 0);
    for (uint64_t round = 0; round < rounds; round++) {
        for (uint64_t at = 0; at < sizeof good; at += 8) {
            uint64_t word;
            memcpy(&word, good + at, 8);
            weir_store_rlx(weir_word_at(third.view.base, at), word);
        }
        use_anyhow(&seed);
    }
    weir_store_rlx(&scribbler.stop, 1);
    CHECK(pthread_join(thread, NULL) == 0);
    memcpy(third.view.base, good, sizeof good);
    third_close(&third);
}
