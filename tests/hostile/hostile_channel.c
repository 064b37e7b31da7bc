/* hooks.  A channel over a section whose header, layout words, lane and records are changed: before both ends are opened,
 * and at the loads of every call.  The file is mapped here as well; the calls see it through mappings of their own. */
#include "aliased.h"

#include "support.h"

#include <stdio.h>
#include <stdlib.h>

#include <weir/ipc/channel_private.h>
#include <weir/naming/section_layout.h>

#ifdef WEIR_ATOMIC_BACKEND

#define NAME "Local/hostile"
#define ROUNDS UINT64_C(24000)
#define FILE_BYTES (WEIR_SECTION_HEADER + WEIR_CHANNEL_DATA + WEIR_CAPACITY_MIN)
#define LOADS_MAX 4096u /* of a call; nothing in one of them grows with what the words say but the walk of a producer */

/* ---- the words ---- */

#define CONTENT WEIR_SECTION_HEADER
#define LANE (CONTENT + WEIR_CHANNEL_LANE)
static const hostile_words control[] = {
    { 8, 2, 0 }, { offsetof(weir_section_layout, size), 2, 0 }, /* version, content, slots, flags; size, id */
    { offsetof(weir_section_layout, slot), 3, 0 },
    { CONTENT, 4, 0 }, { CONTENT + offsetof(weir_channel_layout, type), 2, 0 },
    { CONTENT + offsetof(weir_channel_layout, consumer), 2, 0 },
    { CONTENT + offsetof(weir_channel_layout, member), 2, 0 },
    { LANE, 3, 0 }, { LANE + offsetof(weir_spsc_layout, head), 1, 0 },
    { CONTENT + WEIR_CHANNEL_DATA, 6, 0 },
};

static uint64_t bytes(void) { return FILE_BYTES; }
static const hostile_row row = {
    .name = "channel", .bytes = bytes, .producers = 1, .control = control, .control_count = HOSTILE_COUNT(control),
    .aliased = true,
};
/* A channel with two messages in it, whose users were never there: this process holds the section alone. */
static weir_section *make(const char *dir)
{
    weir_section *section;
    weir_channel *p;
    CHECK_OK(weir_channel_open(&p, NAME, WEIR_PRODUCER, &(weir_channel_options){ .capacity = WEIR_CAPACITY_MIN,
                                                                                 .type.name = "order" }));
    CHECK_OK(weir_section_open(&section, NAME, &(weir_section_options){ .content = WEIR_CHANNEL_CONTENT }));
    CHECK_OK(weir_send(p, "one", 3, WEIR_NOWAIT));
    CHECK_OK(weir_send(p, "another", 7, WEIR_NOWAIT));
    CHECK_OK(weir_channel_close(p));
    aliased_begin(&row);
    aliased_map(dir, "hostile", 0, FILE_BYTES);
    aliased_good();
    return section;
}

/* ---- the calls, each with what its header says it may answer ---- */

#define ENDS (S(CLOSED) | S(DIED))
#define SENDS (S(OK) | S(FULL) | S(TIMEOUT) | ENDS | S(E_TOO_LARGE) | S(E_CORRUPT))
#define RECEIVES (S(OK) | S(EMPTY) | S(TIMEOUT) | ENDS | S(E_CORRUPT) | S(E_MISMATCH))
#define OPENS                                                                                                         \
    (S(OK) | S(E_IN_USE) | S(E_MISMATCH) | S(E_NOT_WEIR) | S(E_VERSION) | S(E_CORRUPT) | S(E_UNSUPPORTED))

/* The lane that a handle believes in lies within its view. */
static void sane(weir_channel *channel)
{
    uint64_t capacity = channel->tx.capacity | channel->rx.capacity;
    HOSTILE_CHECK(capacity == 0 || WEIR_CHANNEL_DATA + capacity <= channel_cold(channel)->view.size);
}

static weir_channel *try_open(weir_role role, uint64_t bits)
{
    static const char *const types[] = { NULL, NULL, "order", "other" };
    weir_channel *channel = NULL;
    weir_channel_options options = { .capacity = bits & 1 ? 0 : WEIR_CAPACITY_MIN << (bits >> 1 & 1),
                                     .type.name = types[bits >> 2 & 3], .wait = (weir_wait)(bits >> 4 & 1) * WEIR_WAIT_SLEEP };
    weir_status status = CALL("open", weir_channel_open(&channel, NAME, role, &options), OPENS);
    HOSTILE_CHECK((status == WEIR_OK) == (channel != NULL));
    if (channel != NULL)
        sane(channel);
    return channel;
}

static void produce(weir_channel *p, uint64_t bits, weir_timeout timeout)
{
    static unsigned char msg[4096];
    uint64_t len = bits >> 8 & 63;
    uint32_t sent = 0;
    void *slot = NULL;
    switch (bits & 7) {
    case 0: case 1:
        (void)CALL("send", weir_send(p, msg, bits & 128 ? bits >> 8 & 4095 : len, timeout), SENDS);
        break;
    case 2:
        (void)CALL("send_more", weir_send_more(p, msg, len, timeout), SENDS);
        break;
    case 3:
        (void)CALL("send_array", weir_send_array(p, msg, len, 5, &sent, timeout), SENDS);
        HOSTILE_CHECK(sent <= 5);
        break;
    case 4:
        if (CALL("reserve", weir_reserve(p, len, &slot, timeout), SENDS) == WEIR_OK) {
            memset(slot, 7, len);
            (void)CALL("commit", weir_commit(p, len), S(OK) | S(E_CORRUPT));
        }
        break;
    case 5:
        (void)CALL("flush", weir_flush(p), S(OK) | S(E_CORRUPT));
        break;
    default:
        (void)CALL("drain", weir_channel_drain(p, timeout), S(OK) | S(FULL) | S(TIMEOUT) | ENDS | S(E_CORRUPT));
    }
}

static void consume(weir_channel *c, uint64_t bits, weir_timeout timeout)
{
    static unsigned char buffer[4096];
    uint32_t len = 0;
    const void *msg = NULL;
    weir_channel_facts facts;
    weir_status status;
    switch (bits & 7) {
    case 0: case 1: case 2:
        status = CALL("receive", weir_receive(c, buffer, bits >> 8 & 63, &len, timeout), RECEIVES | S(E_TOO_SMALL));
        HOSTILE_CHECK(status != WEIR_OK || len <= (bits >> 8 & 63));
        break;
    case 3: case 4:
        if (CALL("peek", weir_peek(c, &msg, &len, timeout), RECEIVES) == WEIR_OK)
            hostile_use(msg, len);
        break;
    case 5:
        (void)CALL("release", weir_release(c), S(OK) | S(E_CORRUPT));
        break;
    default:
        (void)CALL("info", weir_channel_info(c, &facts), S(OK) | S(E_CORRUPT));
    }
}

static void use(uint64_t *random)
{
    uint64_t bits = hostile_random(random) >> 8;
    weir_channel *p = NULL, *c = NULL;
    if (bits & 1)
        p = try_open(WEIR_PRODUCER, bits >> 8);
    c = try_open(WEIR_CONSUMER, bits >> 16);
    if ((bits & 1) == 0)
        p = try_open(WEIR_PRODUCER, bits >> 8);
    for (unsigned i = 0; i < 12; i++) {
        bits = hostile_random(random) >> 8;
        weir_timeout timeout = (bits >> 40 & 63) == 0 ? 20000 : WEIR_NOWAIT;
        if (p != NULL && (bits >> 48 & 1) != 0)
            produce(p, bits, timeout);
        else if (c != NULL)
            consume(c, bits, timeout);
        if (c != NULL)
            sane(c);
    }
    (void)CALL("close", weir_channel_close(p), S(OK));
    (void)CALL("close", weir_channel_close(c), S(OK));
}

/* ---- the rounds ---- */

/* Every load of an open meets a value, in the header or in the content's first page. */
static void flip_open(weir_role role, unsigned page, unsigned value, uint64_t lane_capacity)
{
    bool there = true;
    for (uint64_t at = 0; there; at++) {
        hostile_where.life = at * 1000 + value;
        (void)aliased_put(LANE + offsetof(weir_spsc_layout, capacity), lane_capacity);
        hostile_target(0, 1);
        hostile_flip_load(at, value % 2 != 0, value / 2, page);
        weir_channel *channel = try_open(role, 5);
        there = hostile_struck();
        hostile_arm(0);
        for (unsigned call = 0; channel != NULL && call < 2; call++)
            if (role == WEIR_PRODUCER)
                produce(channel, 128 | (uint64_t)value << 8, WEIR_NOWAIT);
            else
                consume(channel, (uint64_t)value << 8, WEIR_NOWAIT);
        (void)CALL("close", weir_channel_close(channel), S(OK));
        aliased_mend();
    }
}

static void flip_opens(void)
{
    for (unsigned role = WEIR_PRODUCER; role <= WEIR_CONSUMER; role++)
        for (unsigned value = 0; value < 2 * HOSTILE_FLIP_VALUES; value++) {
            uint64_t met = hostile_flip_value(WEIR_CAPACITY_MIN, value / 2);
            for (unsigned page = 0; page < 2; page++)
                flip_open((weir_role)role, page, value, WEIR_CAPACITY_MIN);
            if (weir_spsc_footprint(met) != 0) /* a lie that the lane's own word agrees with */
                flip_open((weir_role)role, 1, value, met);
        }
}

int main(void)
{
    const char *dir = support_shm_dir(), *only = getenv("WEIR_HOSTILE_LIFE");
    uint64_t seed = support_seed(), rounds = support_count(ROUNDS);
    hostile_begin("channel");
    hostile_where.seed = seed;
    weir_section *section = make(dir);
    hostile_where.part = "channel, flipped opens (the same every time)";
    if (only == NULL)
        flip_opens();
    hostile_where.part = "channel";
    (void)printf("channel: %llu calls round flipped opens\n", (unsigned long long)hostile_operations);
    for (uint64_t n = 0; n < rounds; n++) {
        if (only != NULL)
            n = strtoull(only, NULL, 10);
        uint64_t random = (seed ^ (n + 1) * UINT64_C(0x9e3779b97f4a7c15)) | 1, bits = hostile_random(&random) >> 8;
        hostile_where.life = n;
        hostile_target(0, hostile_random(&random));
        if (n % 2 == 0) {
            aliased_rest(n / 2, bits);
            for (unsigned more = bits >> 40 & 3; more > 0; more--) /* and often others with it */
                aliased_rest(hostile_random(&random) >> 8, hostile_random(&random) >> 8);
        } else {
            static const uint8_t means[] = { 1, 2, 4, 8, 16, 32, 64, 128 };
            hostile_arm(means[bits & 7]);
        }
        use(&random);
        hostile_arm(0);
        aliased_mend();
        if (only != NULL)
            break;
    }
    CHECK_OK(weir_section_close(section));
    aliased_end();
    CHECK(support_entries(dir, true) == 0);
    (void)printf("part channel: mutations=%llu operations=%llu executions=0\n",
                 (unsigned long long)(aliased_mutations + hostile_mutated()), (unsigned long long)hostile_operations);
    return 0;
}

#endif
