/* serial */
/* One owner and several senders of a mailbox, each in a process of its own, killed and stopped at random moments of
 * opening, sending, calling, answering, sleeping and leaving, while a third holder keeps the section.  Every message says
 * whose it is and its place among them; what was sent, seen and received is noted in shared memory.  So:
 *   each is whole, in order for each sender, and none comes after an owner's receive of it had returned;
 *   of what is kept, no more is missing than owners were killed: the one that each may have had in hand;
 *   of what is discarded, none comes to an owner that was not there when its send had returned;
 *   an answer is that of the call it is given to, whoever else's come late; and no call outlasts its owner;
 *   a sender that is gone is a status of the owner's, and no loss of the others'. */
#include "ipc/mailbox_help.h"

#include <inttypes.h>

#define NAME "Local/storm"
#define LIVES 8192    /* of senders, in one run */
#define MESSAGES 256  /* of one life */
#define SENDERS 4
#define PROGRESS_NS INT64_C(30000000000)

enum { SEEN = 1, RECEIVED = 2 };

struct page {
    weir_atomic_u64 failures, stop, done;
    weir_atomic_u64 received_all, answers_all, gone_all, told_all;
    struct {
        weir_atomic_u64 sending, sent;
    } life[LIVES];
    weir_atomic_u32 mark[LIVES][MESSAGES];
    weir_atomic_u32 owner[LIVES][MESSAGES]; /* the owner that had come last when its send had returned; 0: it has not */
};

static struct page *page;
static weir_undelivered policy;

#define STORM_CHECK(condition)                                                                                        \
    do {                                                                                                              \
        if (!(condition)) {                                                                                           \
            weir_store_rlx(&page->failures, 1);                                                                       \
            support_fail(__FILE__, __LINE__, #condition);                                                             \
        }                                                                                                             \
    } while (0)

#define ID(life, seq) ((uint64_t)(life) << 32 | (seq))
#define LIFE_OF(id) ((id) >> 32)
#define SEQ_OF(id) ((id) & 0xffffffff)

static uint64_t length_of(uint64_t id) { return 8 + ((id + 1) * UINT64_C(0x9e3779b97f4a7c15) >> 40) % 200; }
static uint64_t answer_to(uint64_t id) { return (id + 77) * UINT64_C(0xbf58476d1ce4e5b9); }

static void add(weir_atomic_u64 *count) { weir_store_rlx(count, weir_load_rlx(count) + 1); } /* of several, a hint */

static weir_timeout some_time(uint64_t *seed)
{
    uint64_t random = support_random(seed);
    return (random & 3) == 0 ? WEIR_NOWAIT : (random & 3) == 1 ? (weir_timeout)(random >> 8 & 0xfffff)
                                                               : WEIR_MILLISECONDS(1000);
}

static void must(weir_status status, const char *what)
{
    if (status != WEIR_OK)
        (void)fprintf(stderr, "%s: %s: %s\n", what, weir_status_name(status), weir_error_detail());
    STORM_CHECK(status == WEIR_OK);
}

static weir_mailbox_options options_of(uint64_t seed)
{
    return (weir_mailbox_options){ .undelivered = policy, .wait = (weir_wait)(seed >> 16) % 3, .capacity = 4096 };
}

/* ---- a sender's life ---- */

/* True: it was sent, and of a call answered; false: not, or that is not known. */
static bool deliver(weir_sender *sender, uint64_t id, bool calls, uint64_t *seed)
{
    unsigned char out[256];
    uint64_t len = length_of(id), answer = 0;
    message_fill(out, id, len);
    if (!calls) {
        weir_status status = weir_sender_send(sender, 1, id, out, len, some_time(seed));
        if (status == WEIR_CLOSED || status == WEIR_DIED)
            add(&page->told_all);
        else if (status != WEIR_FULL && status != WEIR_TIMEOUT)
            must(status, "send");
        return status == WEIR_OK;
    }
    weir_mail mail;
    int64_t start = help_now_ns();
    weir_status status = weir_sender_call(sender, 2, out, len, &mail, &answer, sizeof answer, WEIR_MILLISECONDS(10000));
    STORM_CHECK(help_now_ns() - start < WEIR_MILLISECONDS(15000));
    if (status == WEIR_CLOSED || status == WEIR_DIED) {
        add(&page->told_all);
        return false;
    }
    must(status, "call"); /* not a TIMEOUT: owners come and go much faster */
    STORM_CHECK(answer == answer_to(id) && mail.len == sizeof answer && mail.answer && mail.type == 3);
    STORM_CHECK((weir_load32_rlx(&page->mark[LIFE_OF(id)][SEQ_OF(id)]) & SEEN) != 0);
    add(&page->answers_all);
    return true;
}

static void live(uint32_t place, uint64_t life, uint64_t seed)
{
    weir_mailbox *replies;
    weir_sender *sender;
    weir_mailbox_options options = options_of(seed);
    options.identity = place + 1;
    must(weir_mailbox_open(&replies, NULL, &(weir_mailbox_options){ .wait = options.wait }), "open replies");
    must(weir_sender_open(&sender, NAME, replies, &options), "open sender");
    uint64_t seq = 0;
    while (seq < MESSAGES && weir_load_rlx(&page->stop) == 0) {
        bool calls = support_random(&seed) % 4 == 0;
        weir_store_rel(&page->life[life].sending, seq + 1);
        weir_fence_compiler();
        bool sent = deliver(sender, ID(life, seq), calls, &seed);
        weir_fence_compiler();
        weir_channel_facts facts;
        must(weir_sender_info(sender, &facts), "info");
        if (sent && facts.consumer.generation != 0)
            weir_store32_rlx(&page->owner[life][seq], facts.consumer.generation);
        /* A call whose owner ended may have been received: its number is not used again, and not said to be sent. */
        if (!sent && calls)
            weir_store32_rlx(&page->owner[life][seq], UINT32_MAX);
        if (sent || calls)
            weir_store_rel(&page->life[life].sent, ++seq);
    }
    while (weir_load_rlx(&page->stop) != 0 && seq < MESSAGES) { /* behind which all of this life was received */
        weir_store_rel(&page->life[life].sending, seq + 1);
        if (deliver(sender, ID(life, seq++), true, &seed))
            break;
    }
    must(weir_sender_close(sender), "close sender");
    must(weir_mailbox_close(replies), "close replies");
}

/* ---- an owner's ---- */

static void check(uint64_t *next, const weir_mail *mail, const void *msg, uint32_t generation)
{
    uint64_t id = mail->len >= 8 ? message_id(msg) : UINT64_MAX;
    STORM_CHECK(LIFE_OF(id) < LIVES && SEQ_OF(id) < MESSAGES);
    STORM_CHECK(mail->len == length_of(id) && message_is_whole(msg, id, mail->len) && !mail->answer);
    STORM_CHECK(SEQ_OF(id) < weir_load_acq(&page->life[LIFE_OF(id)].sending));
    STORM_CHECK(mail->type == (mail->from.call != 0 ? 2 : 1) && mail->from.owner != 0);
    weir_atomic_u32 *mark = &page->mark[LIFE_OF(id)][SEQ_OF(id)];
    uint32_t before = weir_load32_rlx(mark);
    if ((before & RECEIVED) != 0)
        (void)fprintf(stderr, "%" PRIx64 " came after it was received\n", id);
    STORM_CHECK((before & RECEIVED) == 0);
    STORM_CHECK(SEQ_OF(id) >= next[LIFE_OF(id)]);
    uint32_t there = weir_load32_rlx(&page->owner[LIFE_OF(id)][SEQ_OF(id)]);
    if (policy == WEIR_DISCARD && there != 0 && there < generation)
        (void)fprintf(stderr, "%" PRIx64 ", of %u, came to %u\n", id, there, generation);
    STORM_CHECK(policy == WEIR_KEEP || there == 0 || there >= generation);
    next[LIFE_OF(id)] = SEQ_OF(id) + 1;
    weir_store32_rlx(mark, SEEN | RECEIVED);
    add(&page->received_all);
}

static weir_mailbox *come(uint64_t seed, uint32_t *generation)
{
    weir_mailbox *mailbox;
    weir_mailbox_options options = options_of(seed);
    weir_mailbox_facts facts;
    must(weir_mailbox_open(&mailbox, NAME, &options), "open");
    must(weir_mailbox_info(mailbox, &facts), "info");
    *generation = facts.channel.consumer.generation;
    return mailbox;
}

static void answer(weir_mailbox *mailbox, const weir_mail *mail, uint64_t id)
{
    uint64_t word = answer_to(id);
    weir_status status = weir_mailbox_reply(mailbox, mail, 3, &word, sizeof word, WEIR_MILLISECONDS(100));
    if (status == WEIR_CLOSED || status == WEIR_DIED)
        add(&page->gone_all);
    else if (status != WEIR_TIMEOUT) /* of one that is stopped, and full */
        must(status, "reply");
}

static void serve_storm(uint64_t seed)
{
    static uint64_t next[LIVES];
    uint32_t generation;
    weir_mailbox *mailbox = come(seed, &generation);
    while (weir_load_acq(&page->done) == 0) {
        unsigned char in[256];
        weir_mail mail;
        weir_status status = weir_mailbox_receive(mailbox, &mail, in, sizeof in, some_time(&seed));
        if (status == WEIR_OK) {
            check(next, &mail, in, generation);
            if (mail.from.call != 0)
                answer(mailbox, &mail, message_id(in));
        } else if (status != WEIR_EMPTY && status != WEIR_TIMEOUT && status != WEIR_CLOSED && status != WEIR_DIED) {
            must(status, "receive");
        }
        if ((support_random(&seed) & 1023) == 0) { /* leaves in order, and comes again */
            must(weir_mailbox_close(mailbox), "close");
            mailbox = come(seed, &generation);
        }
    }
    weir_mailbox_facts facts;
    must(weir_mailbox_info(mailbox, &facts), "info");
    STORM_CHECK(facts.malformed == 0 && (policy == WEIR_DISCARD || facts.discarded == 0));
    must(weir_mailbox_close(mailbox), "close");
}

/* ---- the storm ---- */

static uint64_t lives, kills, owner_kills;

static pid_t start_sender(uint32_t place, uint64_t *seed)
{
    uint64_t own = support_random(seed), life = lives++;
    CHECK(lives <= LIVES);
    pid_t child = child_fork();
    if (child == 0) {
        live(place, life, own);
        _exit(0);
    }
    return child;
}

static pid_t start_owner(uint64_t *seed)
{
    uint64_t own = support_random(seed);
    pid_t child = child_fork();
    if (child == 0) {
        serve_storm(own);
        _exit(0);
    }
    return child;
}

static void random_delay(uint64_t *seed)
{
    uint64_t random = support_random(seed);
    struct timespec pause = { .tv_nsec = (long)(random & 3 ? random >> 32 & 0x1fffff : random >> 32 & 0x3ffff) };
    (void)nanosleep(&pause, NULL);
}

/* Senders whose life was through are followed by others. */
static void start_again(pid_t *child, uint64_t *seed)
{
    for (uint32_t i = 0; i < SENDERS; i++) {
        int state;
        if (waitpid(child[i], &state, WNOHANG) != child[i])
            continue;
        CHECK(WIFEXITED(state) && WEXITSTATUS(state) == 0);
        child[i] = start_sender(i, seed);
    }
}

static void wait_for_progress(pid_t *child, uint64_t *seed)
{
    uint64_t received = weir_load_acq(&page->received_all), answers = weir_load_acq(&page->answers_all);
    int64_t deadline = help_now_ns() + PROGRESS_NS;
    while (weir_load_acq(&page->received_all) == received || weir_load_acq(&page->answers_all) == answers) {
        start_again(child, seed);
        CHECK(weir_load_acq(&page->failures) == 0 && help_now_ns() < deadline);
        (void)usleep(200);
    }
}

/* Kills one, stopped before or not, or stops it and lets it go on: true: it is to be started again. */
static bool strike(pid_t child, bool may_have_ended, uint64_t *seed)
{
    uint64_t random = support_random(seed);
    if ((random & 3) == 0) {
        CHECK(kill(child, SIGSTOP) == 0);
        random_delay(seed);
        if ((random & 4) == 0) {
            CHECK(kill(child, SIGCONT) == 0);
            return false;
        }
    }
    CHECK(kill(child, SIGKILL) == 0);
    int status = support_wait(child);
    CHECK(status == -SIGKILL || (status == 0 && may_have_ended));
    kills++;
    return true;
}

static uint64_t missing(uint64_t *sent_all)
{
    uint64_t none = 0;
    for (uint64_t life = 0; life < lives; life++) {
        uint64_t sent = weir_load_acq(&page->life[life].sent);
        *sent_all += sent;
        for (uint64_t seq = 0; seq < sent; seq++)
            none += weir_load32_rlx(&page->owner[life][seq]) != UINT32_MAX &&
                    (weir_load32_rlx(&page->mark[life][seq]) & SEEN) == 0;
    }
    return none;
}

static void storm(uint64_t count, uint64_t *seed)
{
    pid_t sender[SENDERS], owner;
    struct third keeper;
    weir_mailbox *maker;
    page = share_pages(sizeof *page);
    lives = owner_kills = 0;
    CHECK_OK(weir_mailbox_open(&maker, NAME, &(weir_mailbox_options){ .undelivered = policy, .capacity = 4096 }));
    third_open(&keeper, NAME);
    CHECK_OK(weir_mailbox_close(maker));
    for (uint32_t i = 0; i < SENDERS; i++)
        sender[i] = start_sender(i, seed);
    owner = start_owner(seed);
    for (uint64_t end = kills + count; kills < end;) {
        random_delay(seed);
        start_again(sender, seed);
        uint64_t random = support_random(seed);
        if (random % 16 == 0)
            wait_for_progress(sender, seed);
        if (random >> 8 & 1) {
            if (!strike(owner, false, seed))
                continue;
            owner_kills++;
            if ((random >> 16 & 3) == 0) /* nobody is there for a while */
                random_delay(seed);
            owner = start_owner(seed);
        } else {
            uint32_t victim = (uint32_t)(random >> 16) % SENDERS;
            if (strike(sender[victim], true, seed))
                sender[victim] = start_sender(victim, seed);
        }
        CHECK(weir_load_acq(&page->failures) == 0);
    }
    wait_for_progress(sender, seed);
    weir_store_rel(&page->stop, 1);
    for (uint32_t i = 0; i < SENDERS; i++)
        CHECK(support_wait(sender[i]) == 0);
    /* What the killed ones left comes too: the owner ends when nothing has come for long. */
    for (uint64_t before = UINT64_MAX; before != weir_load_acq(&page->received_all); (void)usleep(300000))
        before = weir_load_acq(&page->received_all);
    weir_store_rel(&page->done, 1);
    CHECK(support_wait(owner) == 0);
    CHECK(weir_load_acq(&page->failures) == 0);
    uint64_t sent_all = 0, none = missing(&sent_all);
    (void)printf("%s: %" PRIu64 " lives, %" PRIu64 " owners killed, %" PRIu64 " sent, %" PRIu64 " received, %" PRIu64
                 " missing, %" PRIu64 " calls answered, %" PRIu64 " senders gone, %" PRIu64 " ends told\n",
                 policy == WEIR_KEEP ? "keep" : "discard", lives, owner_kills, sent_all,
                 weir_load_acq(&page->received_all), none, weir_load_acq(&page->answers_all),
                 weir_load_acq(&page->gone_all), weir_load_acq(&page->told_all));
    (void)fflush(stdout);
    CHECK(policy == WEIR_DISCARD || none <= owner_kills);
    CHECK(weir_load_acq(&page->answers_all) != 0 && weir_load_acq(&page->told_all) != 0);
    third_close(&keeper);
    CHECK(munmap(page, sizeof *page) == 0);
}

/* Nobody keeps it: all are killed, and what they leave is in nobody's way. */
static void kill_all(const char *dir, uint64_t rounds, uint64_t *seed)
{
    for (uint64_t round = 0; round < rounds; round++) {
        pid_t child[SENDERS + 1];
        page = share_pages(sizeof *page);
        lives = 0;
        for (uint32_t i = 0; i < SENDERS; i++)
            child[i] = start_sender(i, seed);
        child[SENDERS] = start_owner(seed);
        random_delay(seed);
        for (uint32_t i = 0; i <= SENDERS; i++)
            CHECK(kill(child[i], SIGKILL) == 0);
        for (uint32_t i = 0; i <= SENDERS; i++, kills++)
            (void)support_wait(child[i]);
        CHECK(weir_load_acq(&page->failures) == 0);
        weir_mailbox *mailbox = own(NAME, policy), *back = own(NULL, 0);
        weir_sender *sender = sends_to(NAME, back);
        CHECK(mailbox_facts(mailbox).channel.consumer.generation == 1);
        post_id(sender, 1);
        weir_mail mail = get_id(mailbox, 1);
        CHECK_OK(answer_id(mailbox, &mail, 2));
        (void)get_id(back, 2);
        CHECK_OK(weir_sender_close(sender));
        CHECK_OK(weir_mailbox_close(back));
        CHECK_OK(weir_mailbox_close(mailbox));
        CHECK(support_entries(dir, true) == 0);
        CHECK(munmap(page, sizeof *page) == 0);
    }
}

int main(void)
{
    const char *dir = support_shm_dir();
    uint64_t seed = support_seed();
    for (policy = WEIR_KEEP; policy <= WEIR_DISCARD; policy++) {
        storm(support_count(1000), &seed);
        kill_all(dir, support_count(20), &seed);
    }
    (void)printf("kills=%" PRIu64 "\n", kills);
    CHECK(kills >= support_count(2000));
    return 0;
}
