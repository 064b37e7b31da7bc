/* hooks.  A mailbox, and the one that its answers go to, over sections whose bytes are changed: before the ends are opened,
 * at the loads of every call, and by a thread beside them; and every value of every slice of a message's head.  Both files are
 * mapped here as well; the calls see them through mappings of their own. */
#include "aliased.h"

#include "support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <weir/ipc/mailbox_private.h>
#include <weir/naming/section_layout.h>
#include <weir/ring/mpsc_layout.h>

#ifdef WEIR_ATOMIC_BACKEND

#define NAME "Local/hostile"
#define BACK "Local/back" /* where its answers go */
#define SENDERS 2u
#define ROUNDS UINT64_C(10000)
#define ROUNDS_BESIDE UINT64_C(1500)
#define CALLS 16u
#define CAPACITY WEIR_CAPACITY_MIN
/* Of a call.  What grows is what it drops: at most 65,536 messages, of which no lane here has more than 80 but by replays. */
#define LOADS_MAX UINT64_C(16384)
#define LONG 300u /* bytes of a message that a head could take for a name, and more */
#define KEPT 700u /* of a mailbox's memory: two or three messages, or they would never fill it */
#define FILE_MAX (UINT64_C(4) << 20) /* no stated number makes it longer: the memory is real */

/* ---- the words ---- */

#define RING 3840u /* of 2 producers and 1 consumer: in the content */
#define FILE_PAGES UINT64_C(20480)
#define MEMBERS (WEIR_SECTION_HEADER + offsetof(weir_channel_layout, member))
#define LANES (WEIR_SECTION_HEADER + RING + WEIR_MPSC_CONTROL)
#define LANE_STRIDE 4352u
#define DATA (LANES + WEIR_SPSC_CONTROL)

#define CONTROL(file)                                                                                                 \
    { (file) + 8, 2, 0 }, { (file) + offsetof(weir_section_layout, size), 3, 0 },                                     \
    { (file) + offsetof(weir_section_layout, slot), SENDERS + 2, 0 },                                                 \
    { (file) + WEIR_SECTION_HEADER, 4, 0 }, { (file) + WEIR_SECTION_HEADER + 96, 5, 0 },                              \
    { (file) + WEIR_SECTION_HEADER + offsetof(weir_channel_layout, consumer), 4, 0 },                                 \
    { (file) + MEMBERS, SENDERS + 1, sizeof(weir_channel_member) },                                                   \
    { (file) + MEMBERS + offsetof(weir_channel_member, identity), 6, 0 },                                             \
    { (file) + MEMBERS + SENDERS * sizeof(weir_channel_member) + offsetof(weir_channel_member, identity), 6, 0 },      \
    { (file) + WEIR_SECTION_HEADER + RING, 5, 0 }, { (file) + LANES, SENDERS, LANE_STRIDE },                          \
    { (file) + LANES + 16, 2, 0 }, { (file) + LANES + offsetof(weir_spsc_layout, head), SENDERS, LANE_STRIDE },       \
    { (file) + DATA, 16, 0 }, { (file) + DATA + LANE_STRIDE, 10, 0 }
static const hostile_words control[] = { CONTROL(0), CONTROL(FILE_PAGES) };

static uint64_t bytes(void) { return 2 * FILE_PAGES; }
static const hostile_row row = {
    .name = "mailbox", .bytes = bytes, .producers = 1, .control = control, .control_count = HOSTILE_COUNT(control),
    .aliased = true,
};

/* ---- the calls, each with what its header says it may answer ---- */

#define ENDS (S(CLOSED) | S(DIED))
#define SENDS (S(OK) | S(FULL) | S(TIMEOUT) | ENDS | S(E_TOO_LARGE) | S(E_CORRUPT))
#define RECEIVES (S(OK) | S(EMPTY) | S(TIMEOUT) | ENDS | S(AGAIN) | S(E_TOO_SMALL) | S(E_CORRUPT) | S(E_MISMATCH))
#define SECTION (S(OK) | S(E_NO_SPACE) | S(E_NOT_WEIR) | S(E_VERSION) | S(E_CORRUPT))
#define OPENS (SECTION | S(E_BUSY) | S(E_IN_USE) | S(E_MISMATCH) | S(E_TOO_LARGE) | S(E_UNSUPPORTED))
#define CALLS_FOR (S(OK) | S(TIMEOUT) | ENDS | S(FULL) | S(E_TOO_SMALL) | S(E_TOO_LARGE) | S(E_CORRUPT) | S(E_MISMATCH))
#define REPLIES (OPENS | ENDS | S(FULL) | S(TIMEOUT) | S(E_STATE) | S(E_INVALID) | S(E_NAME))
#define OBSERVES (S(OK) | S(E_NOT_FOUND) | S(E_MISMATCH) | S(E_NOT_WEIR) | S(E_VERSION) | S(E_CORRUPT))

struct ends {
    weir_mailbox *owner, *back;
    weir_sender *sender, *caller; /* the second wants answers */
    weir_mail mail;               /* the last one that the owner received */
    bool owner_corrupt;
};

static weir_mailbox *try_own(const char *name, uint64_t bits)
{
    weir_mailbox *mailbox = NULL;
    weir_mailbox_options options = {
        .undelivered = (weir_undelivered)(bits & 3) % 3, .capacity = bits >> 2 & 1 ? CAPACITY : 0,
        .wait = (weir_wait)(bits >> 3 & 1) * WEIR_WAIT_SLEEP, .senders = bits >> 4 & 1 ? SENDERS : 0,
        .kept_bytes = KEPT,
    };
    weir_status status = CALL("mailbox_open", weir_mailbox_open(&mailbox, name, &options), OPENS);
    HOSTILE_CHECK((status == WEIR_OK) == (mailbox != NULL));
    return mailbox;
}

static weir_sender *try_send_to(weir_mailbox *replies, uint64_t bits)
{
    weir_sender *sender = NULL;
    weir_mailbox_options options = {
        .undelivered = (weir_undelivered)(bits & 3) % 3, .message_bytes = bits >> 2 & 1 ? 100 : 0,
        .wait = (weir_wait)(bits >> 3 & 1) * WEIR_WAIT_SLEEP, .identity = bits >> 4 & 3,
    };
    weir_status status = CALL("sender_open", weir_sender_open(&sender, NAME, replies, &options), OPENS);
    HOSTILE_CHECK((status == WEIR_OK) == (sender != NULL));
    return sender;
}

/* Of all options: those that agree with what is there. */
#define AGREES 0u

static void open_ends(struct ends *e, uint64_t bits)
{
    *e = (struct ends){ .owner = NULL };
    if (bits & 1)
        e->sender = try_send_to(NULL, bits >> 8);
    e->owner = try_own(NAME, bits >> 16);
    if (!(bits & 1))
        e->sender = try_send_to(NULL, bits >> 8);
    e->back = try_own(BACK, bits >> 24);
    if (e->back != NULL)
        e->caller = try_send_to(e->back, bits >> 32);
}

static void close_ends(struct ends *e)
{
    (void)CALL("sender_close", weir_sender_close(e->sender), S(OK));
    (void)CALL("sender_close", weir_sender_close(e->caller), S(OK));
    (void)CALL("mailbox_close", weir_mailbox_close(e->back), S(OK));
    (void)CALL("mailbox_close", weir_mailbox_close(e->owner), S(OK));
}

static bool is_untouched(const unsigned char *at, uint64_t len)
{
    for (uint64_t i = 0; i < len; i++)
        if (at[i] != 0xa5)
            return false;
    return true;
}

/* A mail as it may be: whatever it says, it has an end and lies within bounds. */
static void check_mail(const weir_mail *mail)
{
    HOSTILE_CHECK(memchr(mail->from.name, 0, sizeof mail->from.name) != NULL);
    HOSTILE_CHECK(mail->sender < WEIR_MEMBERS_MAX && mail->len < CAPACITY);
    HOSTILE_CHECK(!mail->answer || mail->from.owner == 0);
    HOSTILE_CHECK(mail->from.owner != 0 || mail->from.name[0] == 0);
}

static weir_status receive(weir_mailbox *mailbox, weir_mail *out, uint64_t size, weir_timeout timeout)
{
    unsigned char *buffer = support_page_end() - size;
    weir_mail mail;
    memset(&mail, 0xa5, sizeof mail);
    memset(buffer, 0xa5, size);
    weir_status status = CALL("receive", weir_mailbox_receive(mailbox, &mail, buffer, size, timeout), RECEIVES);
    if (status == WEIR_OK || status == WEIR_E_TOO_SMALL) {
        check_mail(&mail);
        HOSTILE_CHECK((mail.len <= size) == (status == WEIR_OK));
        *out = mail;
    } else {
        HOSTILE_CHECK(is_untouched((const unsigned char *)&mail, sizeof mail));
    }
    HOSTILE_CHECK(is_untouched(buffer, size) || (status == WEIR_OK && mail.len != 0));
    return status;
}

static void owner_receives(struct ends *e, uint64_t size, weir_timeout timeout)
{
    const struct mailbox_state *state = mailbox_state(e->owner);
    bool in_hand = state->kept.count != 0 || state->next.bytes != NULL;
    weir_status status = receive(e->owner, &e->mail, size, timeout);
    HOSTILE_CHECK(!e->owner_corrupt || in_hand || status == WEIR_E_CORRUPT); /* for good */
    e->owner_corrupt = e->owner_corrupt || status == WEIR_E_CORRUPT;
}

/* The answer to the call that comes next, before it is asked: for all that anybody could say, it is a fast one. */
static void answer_next(struct ends *e, uint64_t bits)
{
    const struct mailbox_state *own = mailbox_state(e->back);
    weir_mail mail = { .correlation = own->calls + 1,
                       .from = { .owner = own->owner, .generation = own->generation, .call = 1, .name = BACK } };
    (void)CALL("reply", weir_mailbox_reply(e->owner, &mail, 1, "an answer", bits & 7, WEIR_NOWAIT), REPLIES);
}

static void call(struct ends *e, uint64_t bits, weir_timeout timeout)
{
    uint64_t size = bits >> 8 & 15;
    unsigned char *buffer = support_page_end() - size;
    weir_mail answer;
    if (e->owner != NULL && bits & 1)
        answer_next(e, bits >> 1);
    memset(&answer, 0xa5, sizeof answer);
    memset(buffer, 0xa5, size);
    weir_status status = CALL("call", weir_sender_call(e->caller, 2, "question", 8, &answer, buffer, size, timeout), CALLS_FOR);
    if (status == WEIR_OK || status == WEIR_E_TOO_SMALL)
        check_mail(&answer);
    HOSTILE_CHECK(status != WEIR_OK || (answer.answer && answer.len <= size));
    HOSTILE_CHECK(is_untouched(buffer, size) || status == WEIR_OK);
}

static void look(const struct ends *e, uint64_t bits)
{
    static weir_member members[WEIR_CHANNEL_PLACES_MAX];
    weir_observer *observer = NULL;
    weir_channel_facts facts;
    weir_mailbox_facts mail_facts;
    uint32_t count = 0, max = bits >> 4 & 3;
    switch (bits & 3) {
    case 0:
        if (CALL("observer_open", weir_observer_open(&observer, bits >> 8 & 1 ? NAME : BACK, NULL), OBSERVES) != WEIR_OK)
            return;
        (void)CALL("observer_channel", weir_observer_channel(observer, &facts), S(OK) | S(E_CORRUPT));
        (void)CALL("observer_members", weir_observer_members(observer, members, max, &count), S(OK) | S(E_CORRUPT));
        (void)CALL("observer_close", weir_observer_close(observer), S(OK));
        break;
    case 1:
        if (e->owner != NULL)
            (void)CALL("members", weir_channel_members(mailbox_state(e->owner)->channel, members, WEIR_CHANNEL_PLACES_MAX,
                                                       &count), S(OK) | S(E_CORRUPT));
        break;
    case 2:
        if (e->owner != NULL)
            (void)CALL("mailbox_info", weir_mailbox_info(e->owner, &mail_facts), S(OK) | S(E_CORRUPT));
        break;
    default:
        if (e->sender != NULL)
            (void)CALL("sender_info", weir_sender_info(e->sender, &facts), S(OK) | S(E_CORRUPT));
    }
    HOSTILE_CHECK(count <= WEIR_CHANNEL_PLACES_MAX);
}

static void use(struct ends *e, uint64_t bits)
{
    static unsigned char msg[4096];
    weir_timeout timeout = (bits >> 40 & 63) == 0 ? 20000 : WEIR_NOWAIT;
    weir_sender *sender = bits >> 48 & 1 && e->caller != NULL ? e->caller : e->sender;
    uint64_t len = bits >> 32 & 15 ? bits >> 16 & 63 : bits >> 16 & 4095;
    switch (bits & 15) {
    case 0: case 1: case 2: case 3:
        if (sender != NULL)
            (void)CALL("send", weir_sender_send(sender, 3, bits, msg, len, timeout), SENDS);
        break;
    case 4: case 5: case 6:
        if (e->owner != NULL)
            owner_receives(e, bits >> 8 & 63, timeout);
        break;
    case 7: case 8:
        if (e->back != NULL)
            (void)receive(e->back, &(weir_mail){ .len = 0 }, bits >> 8 & 63, timeout);
        break;
    case 9: case 10:
        if (e->owner != NULL)
            (void)CALL("reply", weir_mailbox_reply(e->owner, &e->mail, 4, msg, len, timeout), REPLIES);
        break;
    case 11: case 12: case 13:
        if (e->caller != NULL)
            call(e, bits >> 8, timeout);
        break;
    case 14:
        if (sender != NULL)
            (void)CALL("sender_wait", weir_sender_wait(sender, timeout), S(OK) | S(TIMEOUT) | S(EMPTY));
        break;
    default:
        look(e, bits >> 8);
    }
}

/* ---- the rounds ---- */

/* Two mailboxes whose users have left; in the one are two messages, of which one wants an answer, in the other is an answer. */
static void make(const char *dir, weir_section *held[2])
{
    weir_mailbox_options options = { .undelivered = WEIR_KEEP, .capacity = CAPACITY, .senders = SENDERS };
    weir_section_options content = { .content = WEIR_CHANNEL_CONTENT };
    weir_mailbox *owner, *back;
    weir_sender *caller, *sender, *other;
    weir_mail mail;
    char text[16];
    CHECK_OK(weir_mailbox_open(&back, BACK, &options));
    CHECK_OK(weir_sender_open(&other, BACK, NULL, NULL));
    CHECK_OK(weir_mailbox_open(&owner, NAME, &options));
    CHECK_OK(weir_sender_open(&caller, NAME, back, NULL));
    CHECK_OK(weir_sender_open(&sender, NAME, NULL, NULL));
    CHECK_OK(weir_section_open(&held[0], NAME, &content));
    CHECK_OK(weir_section_open(&held[1], BACK, &content));
    for (int i = 0; i < 3; i++) {
        CHECK_OK(weir_sender_send(caller, 1, 7, "question", 8, WEIR_NOWAIT));
        CHECK_OK(weir_sender_send(sender, 1, 8, "a word", 6, WEIR_NOWAIT));
        if (i == 0) {
            do
                CHECK_OK(weir_mailbox_receive(owner, &mail, text, sizeof text, WEIR_NOWAIT));
            while (mail.from.owner == 0);
            CHECK_OK(weir_mailbox_reply(owner, &mail, 1, "answer", 6, WEIR_NOWAIT));
        }
        if (i == 0) { /* the files have all their pages now */
            aliased_begin(&row);
            aliased_map(dir, "hostile", 0, FILE_PAGES);
            aliased_map(dir, "back", FILE_PAGES, FILE_PAGES);
        }
        aliased_note();
    }
    CHECK_OK(weir_sender_close(sender));
    CHECK_OK(weir_sender_close(caller));
    CHECK_OK(weir_mailbox_close(owner));
    CHECK_OK(weir_sender_close(other));
    CHECK_OK(weir_mailbox_close(back));
    aliased_good();
    struct weir_mpsc_layout *ring = (void *)(aliased.mem + WEIR_SECTION_HEADER + RING);
    CHECK(weir_load_rlx(&ring->magic) == WEIR_MPSC_MAGIC && weir_load_rlx(&ring->made) == SENDERS);
}

static void one_round(uint64_t n, uint64_t *random)
{
    struct ends e;
    unsigned mean = aliased_round(n, random);
    open_ends(&e, n % 4 < 2 ? hostile_random(random) >> 8 : AGREES);
    HOSTILE_CHECK(n % 4 < 2 || (e.owner != NULL && e.back != NULL && e.sender != NULL && e.caller != NULL));
    if (n % 4 >= 2)
        hostile_arm(mean);
    for (unsigned i = 0; i < CALLS; i++)
        use(&e, hostile_random(random) >> 8);
    close_ends(&e);
    hostile_arm(0);
    aliased_mend();
}

static void changing(uint64_t seed, const char *only)
{
    for (uint64_t n = 0, rounds = support_count(ROUNDS); n < rounds; n++) {
        if (only != NULL)
            n = strtoull(only, NULL, 10);
        uint64_t random = (seed ^ (n + 1) * UINT64_C(0x9e3779b97f4a7c15)) | 1;
        hostile_where.life = n;
        one_round(n, &random);
        if (only != NULL)
            break;
    }
}

/* ---- the same by a thread, whose changes come where no hook is: in the copy of a head, between its check and its use ---- */

static _Atomic bool stop;

static void *enemy(void *arg)
{
    uint64_t random = *(uint64_t *)arg;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        uint64_t bits = hostile_random(&random) >> 8;
        for (uint64_t pause = bits & 1 ? 0 : bits >> 1 & 127; pause > 0; pause--)
            weir_pause();
        hostile_strike();
    }
    return NULL;
}

static void beside(uint64_t seed)
{
    uint64_t random = seed | 1, enemys = ~seed | 1;
    hostile_where.part = "mailbox, a thread beside (again: only with luck)";
    for (uint64_t n = 0, rounds = support_count(ROUNDS_BESIDE); n < rounds; n++) {
        struct ends e;
        pthread_t thread;
        hostile_where.life = n;
        open_ends(&e, AGREES);
        atomic_store(&stop, false);
        hostile_target(0, hostile_random(&random));
        CHECK(pthread_create(&thread, NULL, enemy, &enemys) == 0);
        for (unsigned i = 0; i < 8 * CALLS; i++)
            use(&e, hostile_random(&random) >> 8);
        atomic_store(&stop, true);
        (void)pthread_join(thread, NULL);
        close_ends(&e);
        aliased_mend();
    }
}

/* ---- every value of every slice, and a boundary set, of a message's head ---- */

/* Where the caller's next message will lie: its producer's handle knows. */
static uint64_t next_head(const struct ends *e)
{
    const weir_spsc_consumer *lane = &channel_cold(mailbox_state(e->owner)->channel)->end.mpsc.lanes[1];
    return DATA + LANE_STRIDE + (lane->pos & (CAPACITY - 1)) + 8;
}

static void try_head(struct ends *e, unsigned word, uint64_t mask, uint64_t value, uint64_t len, bool replies)
{
    static const char text[LONG] = "abcdefghijklmnopqrstuvwxyz";
    uint64_t off = next_head(e);
    weir_status status = WEIR_OK;
    (void)CALL("send", weir_sender_send(e->caller, 3, 9, text, len, WEIR_NOWAIT), S(OK));
    if (off + sizeof(struct mail_head) + len > DATA + LANE_STRIDE + CAPACITY || (uint32_t)aliased_word(off) != MAIL_MAGIC)
        off = DATA + LANE_STRIDE + 8; /* it went to the beginning */
    HOSTILE_CHECK((uint32_t)aliased_word(off) == MAIL_MAGIC);
    (void)aliased_put(off + word * 8, (aliased_word(off + word * 8) & ~mask) | (value & mask));
    status = receive(e->owner, &e->mail, 2 * LONG, WEIR_NOWAIT); /* or it was dropped */
    HOSTILE_CHECK(status == WEIR_OK || status == WEIR_EMPTY);
    if (status == WEIR_OK && replies)
        (void)CALL("reply", weir_mailbox_reply(e->owner, &e->mail, 4, "ok", 2, WEIR_NOWAIT), REPLIES);
    if (replies)
        while (receive(e->back, &e->mail, 64, WEIR_NOWAIT) == WEIR_OK)
            continue;
}

static void heads(void)
{
    struct ends e;
    uint64_t step = support_count(100) >= 100 ? 1 : 13;
    hostile_where.part = "mailbox, heads (the same every time)";
    open_ends(&e, AGREES);
    while (receive(e.owner, &e.mail, 64, WEIR_NOWAIT) == WEIR_OK)
        continue;
    for (unsigned word = 0; word < sizeof(struct mail_head) / 8 + 1; word++) { /* and of the name */
        for (unsigned slice = 0; slice < 64; slice += 16)
            for (uint64_t part = 0; part < 65536; part += step) {
                hostile_where.life = part;
                try_head(&e, word, UINT64_C(0xffff) << slice, part << slice, part / 256 % 2 ? LONG : 8, part % 64 == 0);
            }
        for (unsigned n = 0; n < 64 * 3; n++) {
            uint64_t power = UINT64_C(1) << n % 64;
            hostile_where.life = n;
            try_head(&e, word, UINT64_MAX, n < 64 ? power : n < 128 ? power - 1 : 0 - power, 8, true);
        }
    }
    close_ends(&e);
    aliased_mend();
}

int main(void)
{
    const char *dir = support_shm_dir(), *only = getenv("WEIR_HOSTILE_LIFE");
    uint64_t seed = support_seed();
    weir_section *held[2];
    hostile_begin("mailbox");
    hostile_where.seed = seed;
    weir_watch_allow(false); /* its thread would go through the hooks beside this one */
    make(dir, held);
    CHECK(setrlimit(RLIMIT_FSIZE, &(struct rlimit){ FILE_MAX, FILE_MAX }) == 0);
    changing(seed, only);
    (void)printf("mailbox: %llu calls while its bytes change\n", (unsigned long long)hostile_operations);
    if (only == NULL) {
        heads();
        (void)printf("mailbox: %llu calls with those of heads\n", (unsigned long long)hostile_operations);
        weir_watch_allow(true);
        beside(seed);
    }
    HOSTILE_CHECK(support_entries(dir, false) == 3); /* the folder, and the two: no address has made anything */
    CHECK_OK(weir_section_close(held[0]));
    CHECK_OK(weir_section_close(held[1]));
    aliased_end();
    CHECK(support_entries(dir, true) == 0);
    (void)printf("part mailbox: mutations=%llu operations=%llu executions=0\n",
                 (unsigned long long)(aliased_mutations + hostile_mutated()), (unsigned long long)hostile_operations);
    return 0;
}

#endif
