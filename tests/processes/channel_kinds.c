/* serial */
/* Several producers and consumers of every kind, each in a process of its own, killed and stopped at random moments of
 * opening, sending, receiving, sleeping and leaving, while a third holder keeps the section.  Every record says whose it
 * is and its place among them; what was sent, seen and released is noted in shared memory.  So at the end:
 *   nothing committed is missing (but what a lossy kind has counted), no record comes after it was released, each is
 *   whole, in order for each producer, and in a work queue comes once that is not flagged as redelivered;
 *   a broadcast's losses are exact; a gated reader gets all from its first one on; the newest value is never torn. */
#include "ipc/kinds_help.h"

#include <inttypes.h>

#define NAME "kinds"
#define LIVES 4096  /* of producers, in one run */
#define RECORDS 512 /* of one life */
#define SIDE_MAX 16
#define PROGRESS_NS INT64_C(30000000000)

enum { SEEN = 1, RELEASED = 2, FIRST_HAND = 4 };

struct page {
    weir_atomic_u64 failures, stop, done;
    weir_atomic_u64 sent_all, received_all;
    struct {
        weir_atomic_u64 sending, sent; /* how many may be committed, how many are */
    } life[LIVES];
    weir_atomic_u32 mark[LIVES][RECORDS];
};

static struct page *page;
static const struct kind_row *kind;

#define STORM_CHECK(condition)                                                                                        \
    do {                                                                                                              \
        if (!(condition)) {                                                                                           \
            weir_store_rlx(&page->failures, 1);                                                                       \
            (void)fprintf(stderr, "%s: ", kind->name);                                                                \
            support_fail(__FILE__, __LINE__, #condition);                                                             \
        }                                                                                                             \
    } while (0)

#define ID(life, seq) ((uint64_t)(life) << 32 | (seq))
#define LIFE_OF(id) ((id) >> 32)
#define SEQ_OF(id) ((id) & 0xffffffff)

static uint64_t length_of(uint64_t id) { return 8 + ((id + 1) * UINT64_C(0x9e3779b97f4a7c15) >> 40) % 200; }

static weir_channel *must_open(weir_role role, weir_channel_options options)
{
    weir_channel *channel;
    weir_status status = weir_channel_open(&channel, NAME, role, &options);
    if (status != WEIR_OK)
        (void)fprintf(stderr, "%s %d: %s: %s\n", kind->name, (int)role, weir_status_name(status), weir_error_detail());
    STORM_CHECK(status == WEIR_OK);
    return channel;
}

static weir_timeout some_time(uint64_t *seed)
{
    uint64_t random = support_random(seed);
    return (random & 3) == 0 ? WEIR_NOWAIT : (random & 3) == 1 ? (weir_timeout)(random >> 8 & 0xfffff)
                                                               : WEIR_MILLISECONDS(1000);
}

/* ---- a producer's life ---- */

static bool not_now(weir_status status)
{
    bool fine = status == WEIR_FULL || status == WEIR_EMPTY || status == WEIR_TIMEOUT || status == WEIR_CLOSED ||
                status == WEIR_DIED || status == WEIR_AGAIN;
    if (status != WEIR_OK && !fine)
        (void)fprintf(stderr, "%s: %s\n", weir_status_name(status), weir_error_detail());
    STORM_CHECK(status == WEIR_OK || fine);
    return status != WEIR_OK;
}

static bool put(weir_channel *p, uint64_t id, uint64_t *seed)
{
    unsigned char out[256];
    uint64_t len = length_of(id);
    void *slot;
    weir_status status;
    if (support_random(seed) & 1) {
        status = weir_reserve(p, len, &slot, some_time(seed));
        if (!not_now(status)) {
            message_fill(slot, id, len);
            STORM_CHECK(weir_commit(p, len) == WEIR_OK);
        }
    } else {
        message_fill(out, id, len);
        status = weir_send(p, out, len, some_time(seed));
    }
    return !not_now(status);
}

static void produce(uint32_t place, uint64_t life, uint64_t seed)
{
    weir_channel *p = must_open(WEIR_PRODUCER, (weir_channel_options){ .kind = kind->kind, .identity = place + 1,
                                                                       .wait = (weir_wait)(seed >> 16) % 3 });
    uint64_t seq = 0;
    while (seq < RECORDS && weir_load_rlx(&page->stop) == 0) {
        weir_store_rel(&page->life[life].sending, seq + 1);
        weir_fence_compiler();
        if (!put(p, ID(life, seq), &seed))
            continue;
        weir_fence_compiler();
        weir_store_rel(&page->life[life].sent, ++seq);
        weir_store_rlx(&page->sent_all, weir_load_rlx(&page->sent_all) + 1); /* of several, a hint */
        if (!kind->waits && seq % 16 == 0)
            (void)usleep(50); /* or nobody gets anything but losses */
    }
    if (weir_load_rlx(&page->stop) != 0)
        while (not_now(weir_channel_drain(p, WEIR_MILLISECONDS(500))))
            continue;
    STORM_CHECK(weir_channel_close(p) == WEIR_OK);
}

/* ---- a consumer's ---- */

struct consumer {
    weir_channel *channel;
    uint64_t next[LIVES]; /* of each producer's life: the next that may come */
    uint64_t last;        /* the id that came last; UINT64_MAX: none yet */
    uint64_t held[64];
    int count;
};

/* Between the record that came last and this one, of one producer after the other, there are that many. */
static bool follows(const struct consumer *c, uint64_t id, uint64_t lost)
{
    uint64_t life = LIFE_OF(c->last), seq = SEQ_OF(c->last) + 1;
    if (LIFE_OF(id) == life)
        return SEQ_OF(id) == seq + lost;
    uint64_t least = SEQ_OF(id), most = SEQ_OF(id);
    for (uint64_t i = life; i < LIFE_OF(id); i++) { /* what the ones that are gone have committed, within one each */
        uint64_t from = i == life ? seq : 0;
        uint64_t sent = weir_load_acq(&page->life[i].sent), sending = weir_load_acq(&page->life[i].sending);
        least += sent > from ? sent - from : 0;
        most += sending > from ? sending - from : 0;
    }
    return LIFE_OF(id) > life && lost >= least && lost <= most;
}

static void check(struct consumer *c, const void *msg, uint32_t len)
{
    uint64_t id = len >= 8 ? message_id(msg) : UINT64_MAX;
    STORM_CHECK(LIFE_OF(id) < LIVES && SEQ_OF(id) < RECORDS);
    STORM_CHECK(len == length_of(id) && message_is_whole(msg, id, len));
    STORM_CHECK(SEQ_OF(id) < weir_load_acq(&page->life[LIFE_OF(id)].sending));
    weir_message message = { .lost = 0 };
    STORM_CHECK(weir_channel_message(c->channel, &message) == WEIR_OK);
    uint64_t *next = &c->next[LIFE_OF(id)];
    if (kind->kind == WEIR_LATEST) {
        STORM_CHECK(c->last == UINT64_MAX || id > c->last);
    } else if (kind->kind == WEIR_BROADCAST || kind->kind == WEIR_BROADCAST_GATED) {
        STORM_CHECK(kind->kind == WEIR_BROADCAST || message.lost == 0);
        if (c->last != UINT64_MAX && !follows(c, id, message.lost))
            (void)fprintf(stderr, "%" PRIx64 " behind %" PRIx64 ", %" PRIu64 " lost\n", id, c->last, message.lost);
        STORM_CHECK(c->last == UINT64_MAX || follows(c, id, message.lost));
    } else {
        weir_atomic_u32 *mark = &page->mark[LIFE_OF(id)][SEQ_OF(id)];
        uint32_t before = weir_load32_rlx(mark);
        if ((before & RELEASED) != 0)
            (void)fprintf(stderr, "%" PRIx64 " came after it was released\n", id);
        STORM_CHECK((before & RELEASED) == 0);
        STORM_CHECK(message.redelivered || SEQ_OF(id) >= *next);
        if (kind->kind == WEIR_MPMC && !message.redelivered) {
            STORM_CHECK((before & FIRST_HAND) == 0);
            before |= FIRST_HAND;
        } else if (kind->kind != WEIR_MPMC) {
            STORM_CHECK(SEQ_OF(id) == *next || *next == 0);
        }
        weir_store32_rlx(mark, before | SEEN);
        c->held[c->count++] = id;
    }
    if (SEQ_OF(id) >= *next)
        *next = SEQ_OF(id) + 1;
    c->last = id;
    weir_store_rlx(&page->received_all, weir_load_rlx(&page->received_all) + 1);
}

static void give_back(struct consumer *c)
{
    weir_fence_compiler();
    STORM_CHECK(weir_release(c->channel) == WEIR_OK);
    weir_fence_compiler();
    for (int i = 0; i < c->count; i++) {
        weir_atomic_u32 *mark = &page->mark[LIFE_OF(c->held[i])][SEQ_OF(c->held[i])];
        weir_store32_rlx(mark, weir_load32_rlx(mark) | RELEASED);
    }
    c->count = 0;
}

static void consume(uint32_t place, uint64_t seed)
{
    static struct consumer own;
    static unsigned char in[256];
    struct consumer *c = &own;
    *c = (struct consumer){ .last = UINT64_MAX };
    c->channel = must_open(WEIR_CONSUMER, (weir_channel_options){ .kind = kind->kind, .identity = place + 1,
                                                                  .wait = (weir_wait)(seed >> 16) % 3 });
    while (weir_load_acq(&page->done) == 0) {
        uint64_t random = support_random(&seed);
        const void *msg = in;
        uint32_t len = 0;
        /* What is not released holds room. */
        weir_timeout timeout = c->count != 0 ? WEIR_NOWAIT : some_time(&seed);
        weir_status status = random & 1 ? weir_peek(c->channel, &msg, &len, timeout)
                                        : weir_receive_more(c->channel, in, sizeof in, &len, timeout);
        if (!not_now(status))
            check(c, msg, len);
        if (status != WEIR_OK || c->count == 64 || (random >> 8 & 3) == 0)
            give_back(c);
        if ((random >> 16 & 1023) == 0) { /* leaves in order, and comes again */
            give_back(c);
            STORM_CHECK(weir_channel_close(c->channel) == WEIR_OK);
            c->channel = must_open(WEIR_CONSUMER, (weir_channel_options){ .kind = kind->kind, .identity = place + 1 });
            c->last = UINT64_MAX;
            memset(c->next, 0, sizeof c->next);
        }
    }
    give_back(c);
    STORM_CHECK(weir_channel_close(c->channel) == WEIR_OK);
}

/* ---- the storm ---- */

static uint64_t lives, kills;

static pid_t start(bool produces, uint32_t place, uint64_t *seed)
{
    uint64_t own = support_random(seed), life = lives;
    if (produces) {
        lives++;
        CHECK(lives <= LIVES);
    }
    pid_t child = child_fork();
    if (child == 0) {
        if (produces)
            produce(place, life, own);
        else
            consume(place, own);
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

/* Producers whose life was through are followed by others. */
static void start_again(pid_t *producer, uint32_t count, uint64_t *seed)
{
    for (uint32_t i = 0; i < count; i++) {
        int state;
        if (waitpid(producer[i], &state, WNOHANG) != producer[i])
            continue;
        CHECK(WIFEXITED(state) && WEXITSTATUS(state) == 0);
        producer[i] = start(true, i, seed);
    }
}

static void wait_for_progress(pid_t *producer, uint32_t count, uint64_t *seed)
{
    uint64_t sent = weir_load_acq(&page->sent_all), received = weir_load_acq(&page->received_all);
    int64_t deadline = help_now_ns() + PROGRESS_NS;
    while (weir_load_acq(&page->sent_all) == sent || weir_load_acq(&page->received_all) == received) {
        start_again(producer, count, seed);
        if (help_now_ns() > deadline)
            (void)fprintf(stderr, "%s: no progress\n", kind->name);
        CHECK(weir_load_acq(&page->failures) == 0 && help_now_ns() < deadline);
        (void)usleep(200);
    }
}

static void storm(uint32_t producers, uint32_t consumers, uint64_t count, uint64_t *seed)
{
    pid_t child[2][SIDE_MAX];
    struct third keeper;
    lives = 0;
    page = share_pages(sizeof *page);
    weir_channel *maker = must_open(WEIR_PRODUCER, (weir_channel_options){ .kind = kind->kind, .capacity = 4096,
                                                                           .record_bytes = kind->for_record ? 208 : 0 });
    third_open(&keeper, NAME);
    CHECK_OK(weir_channel_close(maker));
    for (uint32_t i = 0; i < producers; i++)
        child[0][i] = start(true, i, seed);
    for (uint32_t i = 0; i < consumers; i++)
        child[1][i] = start(false, i, seed);
    for (uint64_t done = 0; done < count; done++, kills++) {
        random_delay(seed);
        uint64_t random = support_random(seed);
        start_again(child[0], producers, seed);
        if (random % 16 == 0)
            wait_for_progress(child[0], producers, seed);
        bool side = (random >> 8 & 1) != 0;
        uint32_t victim = (uint32_t)(random >> 16) % (side ? consumers : producers);
        bool all = (random >> 32) % 64 == 0; /* of that side: the last of them, too */
        for (uint32_t i = all ? 0 : victim; i <= (all ? (side ? consumers : producers) - 1 : victim); i++) {
            if ((random >> 40 & 3) == 0) { /* stopped, and killed there or let go on */
                CHECK(kill(child[side][i], SIGSTOP) == 0);
                random_delay(seed);
                if ((random >> 42 & 1) == 0) {
                    CHECK(kill(child[side][i], SIGCONT) == 0);
                    continue;
                }
            }
            CHECK(kill(child[side][i], SIGKILL) == 0);
            int status = support_wait(child[side][i]);
            CHECK(status == -SIGKILL || (status == 0 && !side)); /* a producer's life may have been through */
            child[side][i] = start(!side, i, seed);
        }
    }
    wait_for_progress(child[0], producers, seed);
    weir_store_rel(&page->stop, 1);
    for (uint32_t i = 0; i < producers; i++)
        CHECK(support_wait(child[0][i]) == 0);
    weir_store_rel(&page->done, 1);
    for (uint32_t i = 0; i < consumers; i++)
        CHECK(support_wait(child[1][i]) == 0);
    uint64_t sent_all = 0;
    for (uint64_t life = 0; life < lives; life++) {
        uint64_t sent = weir_load_acq(&page->life[life].sent);
        bool each = kind->waits && kind->kind != WEIR_BROADCAST_GATED;
        sent_all += sent;
        for (uint64_t seq = 0; each && seq < sent; seq++)
            if ((weir_load32_rlx(&page->mark[life][seq]) & SEEN) == 0) {
                (void)fprintf(stderr, "%s: %" PRIx64 " never came\n", kind->name, ID(life, seq));
                CHECK(!"all that was sent came");
            }
    }
    CHECK(weir_load_acq(&page->failures) == 0);
    (void)printf("%s: %u producers, %u consumers, %" PRIu64 " lives, %" PRIu64 " records sent, %" PRIu64 " received\n",
                 kind->name, producers, consumers, lives, sent_all, weir_load_acq(&page->received_all));
    (void)fflush(stdout);
    third_close(&keeper);
    CHECK(munmap(page, sizeof *page) == 0);
}

/* Nobody keeps it: all are killed, and what they leave is in nobody's way. */
static void kill_all(const char *dir, uint64_t rounds, uint64_t *seed)
{
    for (uint64_t round = 0; round < rounds; round++) {
        pid_t child[6];
        uint32_t producers = kind->producers ? 3 : 1, consumers = kind->consumers ? 3 : 1, count = 0;
        page = share_pages(sizeof *page);
        lives = 0;
        for (uint32_t i = 0; i < producers; i++)
            child[count++] = start(true, i, seed);
        for (uint32_t i = 0; i < consumers; i++)
            child[count++] = start(false, i, seed);
        random_delay(seed);
        for (uint32_t i = 0; i < count; i++)
            CHECK(kill(child[i], SIGKILL) == 0);
        for (uint32_t i = 0; i < count; i++, kills++)
            (void)support_wait(child[i]);
        CHECK(weir_load_acq(&page->failures) == 0);
        weir_channel *p = must_open(WEIR_PRODUCER, (weir_channel_options){ .kind = kind->kind });
        weir_channel *c = must_open(WEIR_CONSUMER, (weir_channel_options){ .kind = kind->kind });
        CHECK(facts_of(p).producer.generation == 1 && facts_of(c).consumer.generation == 1);
        CHECK_OK(send_id(p, 1, WEIR_NOWAIT));
        receive_id(c, 1);
        CHECK_OK(weir_channel_close(p));
        CHECK_OK(weir_channel_close(c));
        CHECK(support_entries(dir, true) == 0);
        CHECK(munmap(page, sizeof *page) == 0);
    }
}

int main(void)
{
    const char *dir = support_shm_dir();
    uint64_t seed = support_seed();
    FOR_EACH_KIND(k) {
        kind = k;
        storm(k->producers ? 4 : 1, k->consumers ? 4 : 1, support_count(300), &seed);
        CHECK(support_entries(dir, true) == 0);
        kill_all(dir, support_count(10), &seed);
    }
    kind = &kind_rows[3];
    storm(16, 16, support_count(100), &seed); /* 32 processes, on however few cores */
    CHECK(support_entries(dir, true) == 0);
    (void)printf("kills=%" PRIu64 "\n", kills);
    return 0;
}
