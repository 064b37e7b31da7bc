/* hooks.  A channel of every kind over a section whose bytes are changed while it is opened, listed, watched by an observer,
 * shown by `weir stat`, and used: what its layout says, the words of its members, their slots, the ring's control block.  Then
 * every value of every slice, and a boundary set, of the words of the layout. */
#include "aliased.h"

#include "ipc/kinds_help.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "../../tools/weir/tool.h"

#include <weir/ipc/channel_private.h>
#include <weir/naming/section_layout.h>

#ifdef WEIR_ATOMIC_BACKEND

#define NAME "Local/hostile"
#define MEMBERS 2u /* of each role, of which a kind may have many */
#define ROUNDS UINT64_C(1500) /* of each kind */
#define CALLS 16u
#define RECORD 64u
#define LOADS_MAX UINT64_C(20000) /* of a call: the takeover of a lane looks at what lies in it, a listing at 254 places */
#define FILE_MAX (UINT64_C(4) << 20) /* no stated number makes it longer: the memory is real */
#define OPENED_OF 131u /* one value of a slice in so many is met by who opens, by the seed; of the boundary set each */
#define STAT_OF 16u /* one listing in so many is printed */

/* ---- the words ---- */

#define CONTENT WEIR_SECTION_HEADER
#define MEMBER (CONTENT + offsetof(weir_channel_layout, member))
#define SLOTS (2 * MEMBERS + 1)

static const struct kind_row *kind;
static uint64_t file_pages;
static uint64_t bytes(void) { return file_pages; }

/* The layout's words, the slots', the members'; the rest is the section's and the ring's own. */
#define DECIDING_GROUPS 7u /* of these, something is decided by the first */
static hostile_words control[] = {
    { CONTENT, 4, 0 }, { CONTENT + 96, 5, 0 }, { CONTENT + offsetof(weir_channel_layout, consumer), 4, 0 },
    { offsetof(weir_section_layout, slot), SLOTS, 0 },
    { MEMBER, 2 * MEMBERS, sizeof(weir_channel_member) }, { MEMBER + 8, 2 * MEMBERS, sizeof(weir_channel_member) },
    { MEMBER + offsetof(weir_channel_member, introduced), 2 * MEMBERS, sizeof(weir_channel_member) },
    { MEMBER + offsetof(weir_channel_member, identity), 5, 0 },
    { MEMBER + offsetof(weir_channel_member, count), 2 * (WEIR_LINE / 8), 0 },
    { 8, 2, 0 }, { offsetof(weir_section_layout, size), 3, 0 }, { CONTENT, 32, 0 } /* the ring: begin() says where */
};
_Static_assert(offsetof(weir_channel_layout, type_version) < 96 + 5 * 8, "what is stated of a channel is among the words");

static hostile_row row = {
    .bytes = bytes, .producers = 1, .control = control, .control_count = HOSTILE_COUNT(control), .aliased = true,
};

/* ---- the calls, each with what its header says it may answer ---- */

#define ENDS (S(CLOSED) | S(DIED))
#define LOOKS (S(OK) | S(E_CORRUPT))
#define OPENS                                                                                                         \
    (S(OK) | S(E_BUSY) | S(E_IN_USE) | S(E_MISMATCH) | S(E_TOO_LARGE) | S(E_NO_SPACE) | S(E_NOT_WEIR) |               \
     S(E_VERSION) | S(E_CORRUPT) | S(E_UNSUPPORTED))
#define OBSERVES (S(OK) | S(E_NOT_FOUND) | S(E_MISMATCH) | S(E_NOT_WEIR) | S(E_VERSION) | S(E_CORRUPT))
#define SENDS (S(OK) | S(FULL) | ENDS | S(E_TOO_LARGE) | S(E_CORRUPT))
#define RECEIVES (S(OK) | S(EMPTY) | ENDS | S(FULL) | S(AGAIN) | S(E_TOO_SMALL) | S(E_CORRUPT) | S(E_MISMATCH))

struct ends {
    weir_channel *p, *c;
    weir_observer *observer;
};

static weir_channel *come(weir_role role, uint64_t bits)
{
    weir_channel *channel = NULL;
    weir_channel_options options = {
        .kind = kind->kind, .identity = bits & 3, .type.name = bits >> 2 & 1 ? "order" : NULL,
        .record_bytes = bits >> 3 & 1 ? RECORD : 0, .wait = (weir_wait)(bits >> 4 & 1) * WEIR_WAIT_SLEEP,
    };
    weir_status status = CALL("open", weir_channel_open(&channel, NAME, role, &options), OPENS);
    HOSTILE_CHECK((status == WEIR_OK) == (channel != NULL));
    return channel;
}

static weir_observer *try_observe(void)
{
    weir_observer *observer = NULL;
    weir_status status = CALL("observer_open", weir_observer_open(&observer, NAME, NULL), OBSERVES);
    HOSTILE_CHECK((status == WEIR_OK) == (observer != NULL));
    return observer;
}

/* ---- what a listing may say, whatever stands there ---- */

static void check_member(const weir_member *m)
{
    static const weir_counts none;
    HOSTILE_CHECK(m->role == WEIR_PRODUCER || m->role == WEIR_CONSUMER);
    HOSTILE_CHECK(m->place < WEIR_MEMBERS_MAX && m->deaths <= 0xffff);
    HOSTILE_CHECK(m->presence == WEIR_ALIVE || m->presence == WEIR_LEFT || m->presence == WEIR_DEAD);
    HOSTILE_CHECK(m->known || (m->identity | m->process | m->pid_space | m->since_ns) == 0);
    HOSTILE_CHECK(m->known || memcmp(&m->held, &none, sizeof none) == 0);
    HOSTILE_CHECK(m->position_is <= WEIR_POSITION_READ && (m->position_is != WEIR_POSITION_NONE || m->position == 0));
}

/* No more than there is room for; what is behind those is untouched. */
static void check_members(weir_status status, const weir_member *members, uint32_t max, uint32_t count)
{
    const unsigned char *rest = (const unsigned char *)members;
    uint32_t told = status != WEIR_OK ? 0 : count < max ? count : max;
    HOSTILE_CHECK(status != WEIR_OK || count <= WEIR_CHANNEL_PLACES_MAX);
    for (uint32_t i = 0; i < told; i++)
        check_member(&members[i]);
    for (uint64_t i = told * sizeof *members; i < max * sizeof *members; i++)
        HOSTILE_CHECK(status != WEIR_OK || rest[i] == 0xa5);
}

static weir_member listed[WEIR_CHANNEL_PLACES_MAX];

/* A listing of at most max, by one or the other. */
static void list(weir_observer *observer, weir_channel *channel, uint32_t max)
{
    uint32_t count = 0;
    weir_status status;
    memset(listed, 0xa5, max * sizeof *listed);
    if (observer != NULL)
        status = CALL("observer_members", weir_observer_members(observer, listed, max, &count), LOOKS);
    else
        status = CALL("members", weir_channel_members(channel, listed, max, &count), LOOKS);
    check_members(status, listed, max, count);
}

static void check_facts(const weir_channel_facts *facts)
{
    HOSTILE_CHECK(facts->producers <= WEIR_MEMBERS_MAX && facts->producers_alive <= facts->producers);
    HOSTILE_CHECK(facts->consumers <= WEIR_MEMBERS_MAX && facts->consumers_alive <= facts->consumers);
    HOSTILE_CHECK(memchr(facts->type, 0, sizeof facts->type) != NULL);
    HOSTILE_CHECK(facts->capacity <= WEIR_CAPACITY_MAX);
}

static void facts_by(weir_observer *observer, weir_channel *channel)
{
    weir_channel_facts facts;
    weir_status status;
    if (observer != NULL)
        status = CALL("observer_channel", weir_observer_channel(observer, &facts), LOOKS);
    else
        status = CALL("info", weir_channel_info(channel, &facts), LOOKS);
    if (status == WEIR_OK)
        check_facts(&facts);
}

/* What `weir stat` does; standard output goes nowhere. */
static void stat_channel(uint64_t bits)
{
    weir_section_info info;
    weir_status status = CALL("stat", weir_section_stat(NAME, &info), S(OK));
    if (status == WEIR_OK)
        tool_channel(&info, bits & 1);
}

/* ---- the calls of a round ---- */

static void use(struct ends *e, uint64_t bits)
{
    static unsigned char msg[RECORD];
    uint32_t len = 0, max = bits >> 8 & 7;
    weir_timeout timeout = WEIR_NOWAIT;
    switch (bits & 15) {
    case 0: case 1: case 2:
        if (e->p != NULL)
            (void)CALL("send", weir_send(e->p, msg, bits >> 16 & 31, timeout), SENDS);
        break;
    case 3: case 4:
        if (e->c != NULL)
            (void)CALL("receive", weir_receive(e->c, msg, bits >> 16 & 63, &len, timeout), RECEIVES);
        break;
    case 5:
        if (e->c != NULL)
            (void)CALL("wait_gone", weir_channel_wait_gone(e->c, WEIR_PRODUCER, 0, (uint32_t)(bits >> 20 & 3), timeout),
                       S(EMPTY) | ENDS | S(E_INVALID));
        break;
    case 6:
        if (e->p != NULL)
            (void)CALL("wait_peer", weir_channel_wait_peer(e->p, timeout), S(OK) | S(EMPTY));
        break;
    case 7: case 8:
        if (e->p != NULL)
            list(NULL, e->p, max);
        break;
    case 9: case 10: case 11:
        if (e->observer != NULL)
            list(e->observer, NULL, max == 0 ? WEIR_CHANNEL_PLACES_MAX : max);
        break;
    case 12: case 13:
        if (e->observer != NULL)
            facts_by(e->observer, NULL);
        break;
    case 14:
        if (e->c != NULL)
            facts_by(NULL, e->c);
        break;
    default:
        if (bits >> 8 & STAT_OF)
            stat_channel(bits >> 20);
    }
}

static void open_ends(struct ends *e, uint64_t bits)
{
    *e = (struct ends){ .p = bits & 1 ? come(WEIR_PRODUCER, bits >> 8) : NULL };
    e->observer = try_observe();
    e->c = come(WEIR_CONSUMER, bits >> 16);
    if ((bits & 1) == 0)
        e->p = come(WEIR_PRODUCER, bits >> 8);
}

static void close_ends(struct ends *e)
{
    (void)CALL("close", weir_channel_close(e->p), S(OK));
    (void)CALL("close", weir_channel_close(e->c), S(OK));
    (void)CALL("observer_close", weir_observer_close(e->observer), S(OK));
}

/* ---- a channel of a kind ---- */

/* Who was there before: a producer and a consumer that have left, of whom each has counted, and of those that may be many one
 * each that was killed. */
static void be_killed(weir_role role)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        weir_channel *channel = open_kind(NAME, kind->kind, role, 0);
        (void)channel;
        (void)kill(getpid(), SIGKILL);
    }
    CHECK(support_wait(child) == -SIGKILL);
}

static weir_section *begin(const char *dir)
{
    weir_section *section;
    weir_channel_options options = {
        .kind = kind->kind, .capacity = WEIR_CAPACITY_MIN, .record_bytes = RECORD, .type = { "order", 8, 8, 1 },
        .producers = kind->producers ? MEMBERS : 0, .consumers = kind->consumers ? MEMBERS : 0, .identity = 7,
    };
    weir_channel *p, *c;
    uint32_t len;
    char text[RECORD];
    CHECK_OK(weir_channel_open(&p, NAME, WEIR_PRODUCER, &options));
    CHECK_OK(weir_section_open(&section, NAME, &(weir_section_options){ .content = WEIR_CHANNEL_CONTENT }));
    CHECK_OK(weir_channel_open(&c, NAME, WEIR_CONSUMER, &options));
    CHECK_OK(weir_send(p, "one", 3, WEIR_NOWAIT));
    CHECK_OK(weir_receive(c, text, sizeof text, &len, WEIR_NOWAIT));
    if (kind->producers)
        be_killed(WEIR_PRODUCER);
    if (kind->consumers)
        be_killed(WEIR_CONSUMER);
    CHECK_OK(weir_send(p, "another", 7, WEIR_NOWAIT));
    file_pages = (CONTENT + weir_section_size(section) + 4095) / 4096 * 4096;
    uint32_t producers = kind->producers ? MEMBERS : 1, consumers = kind->consumers ? MEMBERS : 1;
    control[HOSTILE_COUNT(control) - 1].off = CONTENT + (uint32_t)weir_channel_ring_off(producers, consumers);
    row.name = kind->name;
    aliased_begin(&row);
    aliased_map(dir, "hostile", 0, file_pages);
    aliased_note();
    CHECK_OK(weir_channel_close(c));
    CHECK_OK(weir_channel_close(p));
    aliased_good();
    return section;
}

static void one_round(uint64_t n, uint64_t *random)
{
    struct ends e;
    unsigned mean = aliased_round(n, random);
    open_ends(&e, hostile_random(random) >> 8);
    HOSTILE_CHECK(n % 4 < 2 || (e.p != NULL && e.c != NULL && e.observer != NULL));
    if (n % 4 >= 2)
        hostile_arm(mean);
    for (unsigned i = 0; i < CALLS; i++)
        use(&e, hostile_random(random) >> 8);
    close_ends(&e);
    hostile_arm(0);
    aliased_mend();
}

/* ---- every value of every slice, and a boundary set ---- */

/* Words that are changed at once: one; or all of a member's that nothing is decided by. */
struct sweep {
    uint64_t off[20];
    uint32_t count;
};

/* Those who come, and their first calls. */
static void meet(uint64_t which)
{
    struct ends e;
    open_ends(&e, which);
    if (e.observer != NULL)
        list(e.observer, NULL, 4);
    if (e.p != NULL)
        (void)CALL("send", weir_send(e.p, "first", 5, WEIR_NOWAIT), SENDS);
    if (e.c != NULL)
        list(NULL, e.c, 4);
    close_ends(&e);
    aliased_mend();
}

/* All values, for an observer that was there before; one in so many for those who open. */
static void slices(weir_observer *there, const struct sweep *words, uint64_t seed)
{
    bool of_layout = words->off[0] >= CONTENT && words->off[0] < MEMBER;
    for (unsigned slice = 0; slice < 64; slice += 16)
        for (uint64_t part = 0; part < 65536; part++) {
            hostile_where.life = part;
            for (uint32_t n = 0; n < words->count; n++) {
                uint64_t old = aliased_good_word(words->off[n]), value = (part + n * 4099) & 0xffff;
                (void)aliased_put(words->off[n], (old & ~(UINT64_C(0xffff) << slice)) | value << slice);
            }
            if (of_layout)
                facts_by(there, NULL);
            else
                list(there, NULL, 4);
            if ((part + slice) % OPENED_OF == seed % OPENED_OF)
                meet(part);
        }
}

/* The whole set, for those who open too; of another kind than that one a quarter, by the seed. */
static void boundaries(weir_observer *there, const struct sweep *words, uint64_t seed)
{
    for (unsigned n = 0; n < 64 * 4; n++) {
        uint64_t power = UINT64_C(1) << n % 64;
        hostile_where.life = n;
        for (uint32_t word = 0; word < words->count; word++) {
            uint64_t old = aliased_good_word(words->off[word]);
            const uint64_t values[] = { power, power - 1, old + power, old ^ power };
            (void)aliased_put(words->off[word], values[n / 64]);
        }
        facts_by(there, NULL);
        list(there, NULL, 4);
        if (kind->kind == WEIR_MPMC || n % 4 == seed % 4)
            meet(n);
    }
}

static void sweep(weir_observer *there, const struct sweep *words, uint64_t seed, bool first)
{
    if (first && kind->kind == WEIR_MPMC) /* it has all of them, and their words are each kind's */
        slices(there, words, seed);
    boundaries(there, words, seed);
    aliased_mend();
}

/* What a member says of itself and has counted, and what it was when it came. */
static struct sweep numbers_of(uint64_t member)
{
    struct sweep words = { .count = 0 };
    for (uint64_t off = offsetof(weir_channel_member, identity); off < offsetof(weir_channel_member, introduced); off += 8)
        words.off[words.count++] = member + off;
    for (unsigned i = 0; i < WEIR_COUNTS; i++) {
        words.off[words.count++] = member + offsetof(weir_channel_member, count[i]);
        words.off[words.count++] = member + offsetof(weir_channel_member, count_before[i]);
    }
    return words;
}

static void words(uint64_t seed)
{
    weir_observer *there = try_observe();
    HOSTILE_CHECK(there != NULL);
    for (unsigned group = 0; group < DECIDING_GROUPS; group++)
        for (uint32_t n = 0; n < control[group].count; n++) {
            uint32_t stride = control[group].stride;
            struct sweep one = { { control[group].off + n * (stride != 0 ? stride : 8) }, 1 };
            sweep(there, &one, seed, n == 0 || stride == 0); /* another member's are alike */
        }
    for (unsigned member = 0; member < (kind->producers ? MEMBERS : 1) + (kind->consumers ? MEMBERS : 1); member++) {
        struct sweep all = numbers_of(MEMBER + member * sizeof(weir_channel_member));
        sweep(there, &all, seed, member == 0);
    }
    (void)CALL("observer_close", weir_observer_close(there), S(OK));
}

int main(void)
{
    const char *dir = support_shm_dir(), *only = getenv("WEIR_HOSTILE_LIFE"), *ring = getenv("WEIR_HOSTILE_RING");
    uint64_t seed = support_seed();
    hostile_begin("members");
    hostile_where.seed = seed;
    weir_watch_allow(false); /* its thread would go through the hooks beside this one */
    CHECK(setrlimit(RLIMIT_FSIZE, &(struct rlimit){ FILE_MAX, FILE_MAX }) == 0);
    CHECK(freopen("/dev/null", "w", stdout) != NULL); /* what stat prints; the rest is said on standard error */
    FOR_EACH_KIND(k) {
        kind = k;
        if (ring != NULL && strcmp(ring, k->name) != 0)
            continue;
        weir_section *section = begin(dir);
        for (uint64_t n = 0, rounds = support_count(ROUNDS); n < rounds; n++) {
            if (only != NULL)
                n = strtoull(only, NULL, 10);
            uint64_t random = (seed ^ (n + 1) * UINT64_C(0x9e3779b97f4a7c15)) | 1;
            hostile_where.life = n;
            one_round(n, &random);
            if (only != NULL)
                break;
        }
        if (only == NULL)
            words(seed);
        (void)fprintf(stderr, "members: %-15s %llu calls\n", k->name, (unsigned long long)hostile_operations);
        CHECK_OK(weir_section_close(section));
        aliased_end();
        CHECK(support_entries(dir, true) == 0);
    }
    (void)fprintf(stderr, "part members: mutations=%llu operations=%llu executions=0\n",
                  (unsigned long long)(aliased_mutations + hostile_mutated()), (unsigned long long)hostile_operations);
    return 0;
}

#endif
