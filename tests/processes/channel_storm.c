/* serial */
/* SIGKILL at random of either end, or both, while a third holder keeps the section.  Every record says which producer
 * sent it and its place among them; both ends note in shared memory what they are about to do and what they have
 * done.  So each take-over is checked exactly: nothing committed is lost, nothing released comes again, all else is in
 * order, and only the one operation that the kill interrupted may be found done or not done. */
#include "ipc/channel_help.h"

#include <inttypes.h>
#include <weir/ipc/observer.h>

#define NAME "storm"
#define CAPACITY UINT64_C(4096)
#define BATCH_MAX 8
#define EPOCHS_MAX 16384
#define PROGRESS_NS INT64_C(20000000000)

/* A record's number: which producer's it is, and its place among them. */
#define RECORD(epoch, seq) ((uint64_t)(epoch) << 40 | (seq))
#define RECORD_EPOCH(id) ((id) >> 40)
#define RECORD_SEQ(id) ((id) & ((UINT64_C(1) << 40) - 1))

struct page {
    weir_atomic_u64 failures, stop;
    weir_atomic_u64 sent_all, received_all; /* progress, of all epochs */
    weir_atomic_u64 ends;                   /* DIED, as told to both */
    /* the consumer's: the next record after what it has certainly released, and after what it may have released */
    weir_atomic_u64 released, seen;
    unsigned char buffer[HELP_BUFFER]; /* what weir_receive was copying to when it was killed */
    struct {
        weir_atomic_u64 sending, sent; /* the producer's: how many may be committed, how many are */
        weir_atomic_u64 known;         /* the consumer's: how many it has seen */
    } epoch[EPOCHS_MAX];
};

static struct page *page;
static uint64_t limit; /* bytes of the longest record */

static uint64_t length_of(uint64_t id)
{
    uint64_t mix = (id + 1) * UINT64_C(0x9e3779b97f4a7c15) >> 20;
    return 8 + ((mix & 15) != 0 ? (mix >> 4) % 200 : (mix >> 4) % (limit - 7));
}

#define STORM_CHECK(condition)                                                                                        \
    do {                                                                                                              \
        if (!(condition)) {                                                                                           \
            weir_store_rlx(&page->failures, 1);                                                                       \
            support_fail(__FILE__, __LINE__, #condition);                                                             \
        }                                                                                                             \
    } while (0)

/* What is noted is noted before, or after, the call beside it. */
static void note(weir_atomic_u64 *word, uint64_t value)
{
    weir_fence_compiler();
    weir_store_rel(word, value);
    weir_fence_compiler();
}

static weir_timeout random_timeout(uint64_t random)
{
    return (random & 3) == 0 ? WEIR_NOWAIT : (random & 3) == 1 ? (weir_timeout)(random >> 8 & 0xfffff) : HELP_DEADLINE;
}

/* ---- the producer ---- */

/* "Not now" in a form that is allowed; anything else fails. */
static bool again(weir_status status, weir_timeout timeout)
{
    if (status == WEIR_OK)
        return false;
    if (status == WEIR_DIED)
        (void)weir_fetch_add_rlx(&page->ends, 1);
    bool fine = status == WEIR_DIED || (timeout == WEIR_NOWAIT && (status == WEIR_FULL || status == WEIR_EMPTY)) ||
                (timeout > 0 && timeout < HELP_DEADLINE && status == WEIR_TIMEOUT);
    if (!fine)
        (void)fprintf(stderr, "%s with timeout %lld\n", weir_status_name(status), (long long)timeout);
    STORM_CHECK(fine);
    return true;
}

/* Writes record id into the lane; more: unpublished. */
static void put(weir_channel *p, uint64_t id, bool in_place, bool more, uint64_t *seed)
{
    static unsigned char out[HELP_BUFFER];
    uint64_t len = length_of(id);
    weir_timeout timeout;
    if (in_place) {
        void *slot = NULL;
        uint64_t asked = len + (support_random(seed) & 1 ? (limit - len) / 2 : 0);
        do
            timeout = random_timeout(support_random(seed));
        while (again(weir_reserve(p, asked, &slot, timeout), timeout));
        message_fill(slot, id, len);
        STORM_CHECK((more ? weir_commit_more(p, len) : weir_commit(p, len)) == WEIR_OK);
        return;
    }
    message_fill(out, id, len);
    do
        timeout = random_timeout(support_random(seed));
    while (again(more ? weir_send_more(p, out, len, timeout) : weir_send(p, out, len, timeout), timeout));
}

static void produce(uint64_t epoch, uint64_t seed)
{
    weir_channel *p;
    weir_channel_options options = { .wait = (weir_wait)(seed % 3) };
    weir_status status = weir_channel_open(&p, NAME, WEIR_PRODUCER, &options);
    if (status != WEIR_OK)
        (void)fprintf(stderr, "producer: %s: %s\n", weir_status_name(status), weir_error_detail());
    STORM_CHECK(status == WEIR_OK);
    uint64_t seq = 0;
    while (weir_load_rlx(&page->stop) == 0) {
        uint64_t random = support_random(&seed);
        uint64_t count = (random & 3) == 0 ? 1 + (random >> 8) % BATCH_MAX : 1;
        /* A batch may be published in parts, where it waits for room: until its end all of it is uncertain. */
        note(&page->epoch[epoch].sending, seq + count);
        for (uint64_t i = 0; i < count; i++) {
            bool more = i + 1 < count || (random >> 4 & 3) == 0;
            put(p, RECORD(epoch, seq + i), (random >> 16 >> i & 1) != 0, more, &seed);
        }
        STORM_CHECK(weir_flush(p) == WEIR_OK);
        seq += count;
        note(&page->epoch[epoch].sent, seq);
        note(&page->sent_all, weir_load_rlx(&page->sent_all) + count);
    }
    weir_timeout timeout = HELP_DEADLINE;
    while (again(weir_channel_drain(p, timeout), timeout))
        continue;
    STORM_CHECK(weir_channel_close(p) == WEIR_OK);
}

/* ---- the consumer ---- */

/* May record id come when the one after `state` is expected? */
static bool may_follow(uint64_t state, uint64_t id)
{
    uint64_t epoch = RECORD_EPOCH(state), seq = RECORD_SEQ(state);
    if (id == state)
        return true;
    if (RECORD_EPOCH(id) <= epoch || RECORD_EPOCH(id) >= EPOCHS_MAX || RECORD_SEQ(id) != 0)
        return false;
    /* The producer of that epoch is gone: it has committed that many, no less and no more. */
    if (seq < weir_load_acq(&page->epoch[epoch].sent) || seq < weir_load_acq(&page->epoch[epoch].known) ||
        seq > weir_load_acq(&page->epoch[epoch].sending))
        return false;
    for (epoch++; epoch < RECORD_EPOCH(id); epoch++)
        if (weir_load_acq(&page->epoch[epoch].sent) != 0 || weir_load_acq(&page->epoch[epoch].known) != 0)
            return false;
    return true;
}

static bool is_record(const void *msg, uint64_t len, uint64_t id)
{
    return RECORD_EPOCH(id) < EPOCHS_MAX && len == length_of(id) && message_is_whole(msg, id, len);
}

/* The first record after a take-over: the former consumer's last release was done or not done. */
static uint64_t first_state(uint64_t id)
{
    uint64_t released = weir_load_acq(&page->released), seen = weir_load_acq(&page->seen);
    if (may_follow(seen, id))
        return seen;
    uint64_t copied = message_id(page->buffer);
    if (seen == released && is_record(page->buffer, length_of(copied), copied) && may_follow(released, copied) &&
        may_follow(copied + 1, id))
        return copied + 1; /* killed inside weir_receive, behind its release */
    if (!may_follow(released, id))
        (void)fprintf(stderr, "record %" PRIx64 " after a take-over: released %" PRIx64 ", seen %" PRIx64 "\n", id,
                      released, seen);
    STORM_CHECK(may_follow(released, id));
    return released;
}

/* Checks a record against the state; the state behind it. */
static uint64_t check_record(uint64_t state, bool *first, const void *msg, uint32_t len)
{
    uint64_t id = len >= 8 ? message_id(msg) : UINT64_MAX;
    STORM_CHECK(id != UINT64_MAX && RECORD_EPOCH(id) < EPOCHS_MAX);
    if (*first) {
        state = first_state(id);
        note(&page->released, state); /* this is certain now, and what the buffer has no longer matters */
        note(&page->seen, state);
    }
    *first = false;
    if (!may_follow(state, id))
        (void)fprintf(stderr, "record %" PRIx64 " where %" PRIx64 " was expected\n", id, state);
    STORM_CHECK(may_follow(state, id));
    if (!is_record(msg, len, id))
        (void)fprintf(stderr, "record %" PRIx64 " of %u bytes is not whole\n", id, len);
    STORM_CHECK(is_record(msg, len, id));
    uint64_t epoch = RECORD_EPOCH(id), seq = RECORD_SEQ(id);
    STORM_CHECK(seq < weir_load_acq(&page->epoch[epoch].sending)); /* never more than it began to send */
    if (seq >= weir_load_rlx(&page->epoch[epoch].known))
        weir_store_rel(&page->epoch[epoch].known, seq + 1);
    return id + 1;
}

/* DIED or CLOSED: everything that producer committed was received before. */
static void check_end(uint64_t state, bool first)
{
    if (first) /* nothing was received by this consumer: it takes the state that fits */
        state = weir_load_acq(&page->seen);
    uint64_t sent = weir_load_acq(&page->epoch[RECORD_EPOCH(state)].sent);
    bool in_buffer = first && may_follow(state, message_id(page->buffer));
    if (RECORD_SEQ(state) + in_buffer < sent)
        (void)fprintf(stderr, "the end came at %" PRIx64 ", %" PRIu64 " are sent\n", state, sent);
    STORM_CHECK(RECORD_SEQ(state) + in_buffer >= sent);
}

static weir_status receive_one(weir_channel *c, uint64_t *state, bool *first, uint64_t *seed)
{
    uint32_t len = 0;
    weir_timeout timeout = random_timeout(support_random(seed));
    uint64_t none = UINT64_MAX;
    memcpy(page->buffer, &none, sizeof none);
    weir_fence_compiler();
    weir_status status = weir_receive(c, page->buffer, sizeof page->buffer, &len, timeout);
    if (status == WEIR_DIED)
        check_end(*state, *first);
    if (status != WEIR_CLOSED && again(status, timeout))
        return WEIR_EMPTY;
    if (status == WEIR_CLOSED)
        return status;
    *state = check_record(*state, first, page->buffer, len);
    note(&page->seen, *state);
    note(&page->released, *state);
    weir_store_rlx(&page->received_all, weir_load_rlx(&page->received_all) + 1);
    return WEIR_OK;
}

static weir_status receive_some(weir_channel *c, uint64_t *state, bool *first, uint64_t *seed)
{
    static unsigned char in[HELP_BUFFER];
    uint64_t count = 1 + support_random(seed) % BATCH_MAX, got = 0;
    weir_status status = WEIR_OK;
    for (; got < count; got++) {
        uint32_t len = 0;
        const void *msg = in;
        /* What is not released holds room: only the first is waited for. */
        weir_timeout timeout = got == 0 ? random_timeout(support_random(seed)) : WEIR_NOWAIT;
        if (support_random(seed) & 1)
            status = weir_peek(c, &msg, &len, timeout);
        else
            status = weir_receive_more(c, in, sizeof in, &len, timeout);
        if (status == WEIR_DIED)
            check_end(*state, *first);
        if (status == WEIR_CLOSED || again(status, timeout))
            break;
        *state = check_record(*state, first, msg, len);
    }
    if (got == 0)
        return status == WEIR_CLOSED ? status : WEIR_EMPTY;
    note(&page->seen, *state);
    STORM_CHECK(weir_release(c) == WEIR_OK);
    note(&page->released, *state);
    weir_store_rlx(&page->received_all, weir_load_rlx(&page->received_all) + got);
    return status == WEIR_CLOSED ? status : WEIR_OK;
}

static void consume(uint64_t seed)
{
    weir_channel *c;
    weir_channel_options options = { .wait = (weir_wait)(seed % 3) };
    weir_status status = weir_channel_open(&c, NAME, WEIR_CONSUMER, &options);
    if (status != WEIR_OK)
        (void)fprintf(stderr, "consumer: %s: %s\n", weir_status_name(status), weir_error_detail());
    STORM_CHECK(status == WEIR_OK);
    uint64_t state = 0;
    bool first = true;
    do /* the former consumer's buffer is evidence until the first record is there */
        status = !first && (support_random(&seed) & 1) != 0 ? receive_one(c, &state, &first, &seed)
                                                            : receive_some(c, &state, &first, &seed);
    while (status != WEIR_CLOSED);
    STORM_CHECK(weir_load_acq(&page->stop) != 0); /* nobody leaves before */
    check_end(state, first);
    STORM_CHECK(weir_channel_close(c) == WEIR_OK);
}

/* ---- the storm ---- */

static void random_delay(uint64_t *seed)
{
    uint64_t random = support_random(seed);
    if ((random & 3) == 0) { /* within what a start takes */
        for (uint64_t i = random >> 32 & 0x3fff; i > 0; i--)
            weir_pause();
        return;
    }
    struct timespec pause = { .tv_nsec = (long)((random & 4) != 0 ? random >> 32 & 0x3fffff : random >> 32 & 0x7ffff) };
    (void)nanosleep(&pause, NULL);
}

static uint64_t epochs;

static pid_t start(int role, uint64_t *seed)
{
    uint64_t childs = support_random(seed), epoch = 0;
    if (role == 0) {
        epoch = epochs++;
        CHECK(epoch < EPOCHS_MAX);
    }
    pid_t child = child_fork();
    if (child == 0) {
        if (role == 0)
            produce(epoch, childs);
        else
            consume(childs);
        _exit(0);
    }
    return child;
}

/* Both ends go on by themselves: nobody hangs. */
static void wait_for_progress(void)
{
    uint64_t sent = weir_load_acq(&page->sent_all), received = weir_load_acq(&page->received_all);
    int64_t deadline = help_now_ns() + PROGRESS_NS;
    while (weir_load_acq(&page->sent_all) <= sent + 4 || weir_load_acq(&page->received_all) <= received + 4) {
        if (weir_load_acq(&page->failures) == 0 && help_now_ns() > deadline)
            (void)fprintf(stderr, "no progress: sent %" PRIu64 ", received %" PRIu64 "\n",
                          weir_load_acq(&page->sent_all), weir_load_acq(&page->received_all));
        CHECK(weir_load_acq(&page->failures) == 0 && help_now_ns() <= deadline);
        (void)usleep(100);
    }
}

static void wait_until_there(const struct third *keeper, int role)
{
    int64_t deadline = help_now_ns() + PROGRESS_NS;
    weir_participant participant;
    uint32_t slot = role == 0 ? WEIR_CHANNEL_SLOT_PRODUCER : WEIR_CHANNEL_SLOT_CONSUMER;
    for (;;) {
        CHECK_OK(weir_participant_look(keeper->section, slot, &participant));
        if (participant.presence == WEIR_ALIVE)
            return;
        CHECK(weir_load_acq(&page->failures) == 0 && help_now_ns() < deadline);
        (void)usleep(100);
    }
}

/* Whoever reads /proc/PID/maps of a killed process just then keeps its memory, its mappings and so its locks, for as long
 * as that takes: a little behind waitpid. */
static void wait_until_gone(const struct third *keeper, int role)
{
    int64_t deadline = help_now_ns() + PROGRESS_NS;
    weir_participant participant;
    uint32_t slot = role == 0 ? WEIR_CHANNEL_SLOT_PRODUCER : WEIR_CHANNEL_SLOT_CONSUMER;
    do {
        CHECK_OK(weir_participant_look(keeper->section, slot, &participant));
        CHECK(help_now_ns() < deadline);
    } while (participant.presence == WEIR_ALIVE);
}

static uint64_t kill_either_end(uint64_t count, uint64_t *seed)
{
    struct third keeper;
    page = share_pages(sizeof *page);
    weir_channel *maker = open_as(NAME, WEIR_CONSUMER, CAPACITY); /* a producer's leaving would be news */
    limit = facts_of(maker).record_max;
    third_open(&keeper, NAME);
    CHECK_OK(weir_channel_close(maker));
    pid_t child[2];
    for (int role = 0; role < 2; role++)
        child[role] = start(role, seed);
    uint64_t kills = 0, least = 0;
    while (kills < count) {
        random_delay(seed);
        uint64_t random = support_random(seed);
        bool at_work = random % 32 == 0, both = !at_work && (random >> 16) % 16 == 0;
        int victim = random >> 8 & 1;
        if (at_work)
            wait_for_progress();
        else if (random % 2 == 0)
            wait_until_there(&keeper, victim);
        least += random % 2 == 0; /* the others may be killed before they are there */
        uint64_t ends = weir_load_acq(&page->ends);
        for (int role = 0; role < 2; role++)
            if (both || role == victim)
                CHECK(kill(child[role], SIGKILL) == 0);
        for (int role = 0; role < 2; role++)
            if (both || role == victim) {
                CHECK(support_wait(child[role]) == -SIGKILL); /* it did not end by itself */
                wait_until_gone(&keeper, role);
                kills++;
            }
        if (at_work)
            wait_for_count(&page->ends, ends + 1); /* it is told */
        for (int role = 0; role < 2; role++)
            if (both || role == victim)
                child[role] = start(role, seed);
    }
    wait_for_progress();
    weir_store_rel(&page->stop, 1);
    CHECK(support_wait(child[0]) == 0);
    CHECK(support_wait(child[1]) == 0);
    weir_participant participant;
    uint64_t deaths = 0;
    for (uint32_t slot = WEIR_CHANNEL_SLOT_PRODUCER; slot <= WEIR_CHANNEL_SLOT_CONSUMER; slot++) {
        CHECK_OK(weir_participant_look(keeper.section, slot, &participant));
        CHECK(participant.presence == WEIR_LEFT);
        deaths += participant.deaths;
    }
    CHECK(deaths <= kills && deaths >= least);
    third_close(&keeper);
    return kills;
}

/* ---- both ends at once, under many names ---- */

#define NAMES 6

static void fresh_and_usable(const char *name)
{
    weir_channel *p = open_as(name, WEIR_PRODUCER, 8192), *c = open_as(name, WEIR_CONSUMER, 0);
    CHECK(facts_of(p).capacity == 8192);
    CHECK(facts_of(p).producer.generation == 1 && facts_of(c).consumer.generation == 1);
    CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_EMPTY);
    CHECK_OK(send_id(p, 1, WEIR_NOWAIT));
    receive_id(c, 1);
    CHECK_OK(weir_channel_close(p));
    CHECK_OK(weir_channel_close(c));
}

static void work_until_killed(const char *name, bool produces, weir_atomic_u64 *progress)
{
    weir_channel *channel = open_as(name, produces ? WEIR_PRODUCER : WEIR_CONSUMER, 0);
    uint64_t got;
    uint32_t len;
    for (uint64_t id = 0;; id++) {
        weir_status status = produces ? send_id(channel, id, HELP_DEADLINE)
                                      : weir_receive(channel, &got, sizeof got, &len, HELP_DEADLINE);
        while (status == WEIR_DIED) /* the other one was first */
            (void)pause();
        CHECK_OK(status);
        weir_store_rel(progress, id);
    }
}

/* As wait_until_gone. */
static void wait_until_unused(const char *name)
{
    int64_t deadline = help_now_ns() + PROGRESS_NS;
    weir_observer *observer;
    weir_status status;
    while ((status = weir_observer_open(&observer, name, NULL)) == WEIR_OK) {
        CHECK_OK(weir_observer_close(observer));
        CHECK(help_now_ns() < deadline);
    }
    CHECK_STATUS(status, WEIR_E_NOT_FOUND);
}

static uint64_t kill_both_ends(const char *dir, uint64_t rounds, uint64_t *seed)
{
    weir_atomic_u64 *progress = share_pages(4096);
    uint64_t kills = 0;
    for (uint64_t round = 0; round < rounds; round++) {
        pid_t child[NAMES][2];
        char name[NAMES][32];
        for (int i = 0; i < NAMES; i++) {
            (void)snprintf(name[i], sizeof name[i], "%s/storm-%d", i % 2 != 0 ? "Global" : "Local", i);
            for (int side = 0; side < 2; side++) {
                weir_store_rlx(&progress[i * 2 + side], 0);
                child[i][side] = child_fork();
                if (child[i][side] == 0)
                    work_until_killed(name[i], side == (int)(round & 1), &progress[i * 2 + side]);
            }
        }
        for (int i = 0; i < NAMES * 2; i++)
            wait_for_count(&progress[i], 1);
        random_delay(seed);
        for (int i = 0; i < NAMES; i++)
            for (int side = 0; side < 2; side++)
                CHECK(kill(child[i][side], SIGKILL) == 0);
        for (int i = 0; i < NAMES; i++)
            for (int side = 0; side < 2; side++, kills++)
                CHECK(support_wait(child[i][side]) == -SIGKILL);
        CHECK(support_entries(dir, false) >= NAMES);
        for (int i = 0; i < NAMES; i++)
            wait_until_unused(name[i]);
        if (round % 2 == 0)
            for (int i = 0; i < NAMES; i++)
                fresh_and_usable(name[i]);
        else
            fresh_and_usable("another");
        CHECK(support_entries(dir, true) == 0);
    }
    return kills;
}

int main(void)
{
    const char *dir = support_shm_dir();
    uint64_t seed = support_seed();
    uint64_t kills = kill_either_end(support_count(5000), &seed);
    CHECK(support_entries(dir, true) == 0);
    kills += kill_both_ends(dir, support_count(30), &seed);
    (void)printf("kills=%" PRIu64 " records=%" PRIu64 " failures=%" PRIu64 "\n", kills,
                 weir_load_acq(&page->received_all), weir_load_acq(&page->failures));
    CHECK(weir_load_acq(&page->failures) == 0);
    return 0;
}
