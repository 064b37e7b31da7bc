/* 2,000,000 sleeps that a peer ends, and none that it forgot: processes that sleep at once whenever they have nothing to do,
 * with random delays between, on a word of their own and on one that several share, with both kinds of fence.
 *
 * A wake-up is lost if a sleep lasted to its bound though what it waited for had been there for long.  How late the sleeper
 * then runs does not matter, so a busy machine makes none; a peer that was itself held up between the message and the
 * wake, which it can tell, has lost none either. */
#include "ipc/channel_help.h"

#include <inttypes.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <weir/ipc/os.h>

#define CYCLES UINT64_C(2000000)
#define LOST_NS INT64_C(25000000) /* of the 45 ms that a sleep lasts at least */
#define SLOW_NS INT64_C(15000000) /* a send, from before the message to behind the wake */
#define ROUNDS_MAX (UINT64_C(1) << 23)
#define DOUBTS_MAX 1000u
#define PARTS_MAX 4u

/* Of one process, in memory that all share. */
struct part {
    weir_atomic_u64 cycles;   /* sleeps that a wake ended */
    weir_atomic_u64 bounds;   /* that ended by themselves */
    weir_atomic_u64 acted_ns; /* when it began to do what another waits for */
    weir_atomic_u64 doubts;
    uint64_t doubt[DOUBTS_MAX];   /* rounds in which a sleep lasted though what it waited for was there, */
    uint64_t slow[ROUNDS_MAX / 64]; /* and, a bit each, in which this process took long to do what another waits for */
};

static struct part *parts, *own;
static bool full_fence;
static struct {
    bool by_itself; /* the last sleep ended so, */
    int64_t end_ns; /* at this time at the earliest */
} last_sleep;

bool __real_weir_os_can_fence_others(void);
bool __wrap_weir_os_can_fence_others(void);
bool __wrap_weir_os_sleep(weir_atomic_u32 *word, uint32_t value, int64_t ns);

bool __wrap_weir_os_can_fence_others(void)
{
    return __real_weir_os_can_fence_others() && !full_fence;
}

static void add_one(weir_atomic_u64 *count)
{
    weir_store_rel(count, weir_load_rlx(count) + 1);
}

/* As the library's, and it looks at what the kernel says. */
bool __wrap_weir_os_sleep(weir_atomic_u32 *word, uint32_t value, int64_t ns)
{
    struct timespec wait = { .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };
    last_sleep.end_ns = weir_now() + ns;
    long result = syscall(SYS_futex, &word->word, FUTEX_WAIT, value, &wait, NULL, 0);
    last_sleep.by_itself = result != 0 && errno == ETIMEDOUT;
    if (result == 0)
        add_one(&own->cycles);
    if (last_sleep.by_itself)
        add_one(&own->bounds);
    return result == 0;
}

static void delay(uint64_t *seed)
{
    uint64_t random = support_random(seed);
    for (uint64_t i = (random & 3) != 0 ? random >> 32 & ((random & 12) != 0 ? 63 : 1023) : 0; i > 0; i--)
        weir_pause();
}

/* Around what another waits for. */
static int64_t act_begin(void)
{
    int64_t now = weir_now();
    weir_store_rel(&own->acted_ns, (uint64_t)now);
    return now;
}

static void act_end(uint64_t round, int64_t begin)
{
    CHECK(round < ROUNDS_MAX);
    if (weir_now() - begin > SLOW_NS)
        own->slow[round / 64] |= UINT64_C(1) << round % 64;
}

/* Behind a wait, for what was begun at that time. */
static void judge(uint64_t round, int64_t caused_ns)
{
    if (!last_sleep.by_itself || last_sleep.end_ns - caused_ns < LOST_NS)
        return;
    uint64_t count = weir_load_rlx(&own->doubts);
    if (count < DOUBTS_MAX)
        own->doubt[count] = round;
    weir_store_rel(&own->doubts, count + 1);
}

struct word {
    uint64_t round;
    int64_t sent_ns;
    uint64_t ends; /* it is the last */
};

static bool ends_with(weir_channel *c, uint64_t round, uint64_t *seed)
{
    struct word word;
    uint32_t len;
    delay(seed);
    last_sleep.by_itself = false;
    CHECK_OK(weir_receive(c, &word, sizeof word, &len, HELP_DEADLINE));
    CHECK(len == sizeof word && word.round == round);
    judge(round, word.sent_ns);
    return word.ends != 0;
}

static void send_word(weir_channel *p, uint64_t round, bool ends, uint64_t *seed)
{
    delay(seed);
    struct word word = { .round = round, .ends = ends, .sent_ns = act_begin() };
    CHECK_OK(weir_send(p, &word, sizeof word, HELP_DEADLINE));
    act_end(round, word.sent_ns);
}

static weir_channel *open_end(const char *name, weir_kind kind, weir_role role)
{
    weir_channel *channel;
    weir_channel_options options = { .kind = kind, .capacity = 4096, .wait = WEIR_WAIT_SLEEP };
    CHECK_OK(weir_channel_open(&channel, name, role, &options));
    return channel;
}

static uint64_t cycles_so_far(uint32_t count)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += weir_load_acq(&parts[i].cycles);
    return sum;
}

/* ---- each on a word of its own: ping-pong ---- */

static void pong(uint64_t seed)
{
    own = &parts[1];
    weir_channel *c = open_end("ping", WEIR_SPSC, WEIR_CONSUMER), *p = open_end("pong", WEIR_SPSC, WEIR_PRODUCER);
    bool ends = false;
    for (uint64_t round = 0; !ends; round++) {
        ends = ends_with(c, round, &seed);
        send_word(p, round, ends, &seed);
    }
    CHECK_OK(weir_channel_drain(p, HELP_DEADLINE));
    CHECK_OK(weir_channel_close(c));
    CHECK_OK(weir_channel_close(p));
}

static void ping(uint64_t cycles, uint64_t *seed)
{
    own = &parts[0];
    weir_channel *p = open_end("ping", WEIR_SPSC, WEIR_PRODUCER), *c = open_end("pong", WEIR_SPSC, WEIR_CONSUMER);
    bool ends = false;
    for (uint64_t round = 0; !ends; round++) {
        send_word(p, round, round % 64 == 0 && cycles_so_far(2) >= cycles, seed);
        ends = ends_with(c, round, seed);
    }
    weir_channel_facts facts = facts_of(c);
    CHECK(facts.woken > 0 && facts.woken <= facts.sleeps);
    CHECK_OK(weir_channel_close(p));
    CHECK_OK(weir_channel_close(c));
}

/* ---- consumers who share a word; their producer sleeps until all have released ---- */

static void listen(uint32_t part, uint64_t seed)
{
    own = &parts[part];
    weir_channel *c = open_end("shared", WEIR_BROADCAST_GATED, WEIR_CONSUMER);
    weir_status status;
    const void *msg;
    uint32_t len;
    for (bool ends = false; !ends;) {
        delay(&seed);
        last_sleep.by_itself = false;
        while ((status = weir_peek(c, &msg, &len, HELP_DEADLINE)) == WEIR_CLOSED) /* before its first message */
            continue;
        CHECK_OK(status);
        const struct word word = *(const struct word *)msg;
        judge(word.round, word.sent_ns);
        ends = word.ends != 0;
        delay(&seed);
        int64_t begin = act_begin();
        CHECK_OK(weir_release(c));
        act_end(word.round, begin);
    }
    CHECK_OK(weir_channel_close(c));
}

static void talk(uint64_t cycles, uint32_t listeners, uint64_t *seed)
{
    own = &parts[0];
    weir_channel *p = open_end("shared", WEIR_BROADCAST_GATED, WEIR_PRODUCER);
    while (facts_of(p).consumers_alive < listeners) /* each that is announced gets all that is sent from now on */
        (void)usleep(100);
    bool ends = false;
    for (uint64_t round = 0; !ends; round++) {
        ends = round % 64 == 0 && cycles_so_far(listeners + 1) >= cycles;
        send_word(p, round, ends, seed);
        delay(seed);
        last_sleep.by_itself = false;
        CHECK_OK(weir_channel_drain(p, HELP_DEADLINE));
        int64_t released = 0; /* the last of them */
        for (uint32_t i = 1; i <= listeners; i++) {
            int64_t at = (int64_t)weir_load_acq(&parts[i].acted_ns);
            released = at > released ? at : released;
        }
        judge(round, released);
    }
    CHECK_OK(weir_channel_close(p));
}

/* ---- what came of it ---- */

static bool is_excused(uint32_t count, uint32_t part, uint64_t round)
{
    bool slow = false;
    for (uint32_t i = 0; i < count; i++)
        slow = slow || (i != part && (parts[i].slow[round / 64] >> round % 64 & 1) != 0);
    return slow;
}

static uint64_t run(const char *what, uint32_t listeners, bool fence, uint64_t cycles, uint64_t *seed)
{
    uint32_t count = listeners != 0 ? listeners + 1 : 2;
    parts = share_pages(count * sizeof *parts);
    full_fence = fence;
    int64_t begin = weir_now();
    pid_t children[PARTS_MAX];
    for (uint32_t i = 1; i < count; i++) {
        uint64_t childs = support_random(seed) | 1;
        children[i] = child_fork();
        if (children[i] == 0) {
            listeners != 0 ? listen(i, childs) : pong(childs);
            _exit(0);
        }
    }
    listeners != 0 ? talk(cycles, listeners, seed) : ping(cycles, seed);
    uint64_t done = 0, bounds = 0, doubts = 0, lost = 0;
    for (uint32_t i = 0; i < count; i++) {
        CHECK(i == 0 || support_wait(children[i]) == 0);
        done += weir_load_acq(&parts[i].cycles);
        bounds += weir_load_acq(&parts[i].bounds);
        uint64_t own_doubts = weir_load_acq(&parts[i].doubts);
        doubts += own_doubts;
        for (uint64_t n = 0; n < own_doubts; n++)
            lost += n >= DOUBTS_MAX || !is_excused(count, i, parts[i].doubt[n]);
    }
    int64_t took = weir_now() - begin;
    (void)printf("%s, %s: sleeps ended by a wake %" PRIu64 ", by the bound %" PRIu64 ", held up %" PRIu64 ", lost %" PRIu64
                 " (%.1f s, %.1f us each)\n",
                 what, fence ? "full fences" : "membarrier", done, bounds, doubts - lost, lost, (double)took / 1e9,
                 (double)took / 1e3 / (double)(done + 1));
    CHECK(munmap(parts, count * sizeof *parts) == 0);
    CHECK(done >= cycles);
    CHECK(lost == 0);
    return done;
}

int main(void)
{
    const char *dir = support_shm_dir();
    uint64_t seed = support_seed(), done = 0, tenth = support_count(CYCLES) / 10 + 1;
    for (int fence = 0; fence < 2; fence++) {
        done += run("one on a word", 0, fence != 0, 2 * tenth, &seed);
        done += run("three on a word", 3, fence != 0, 3 * tenth, &seed);
        CHECK(support_entries(dir, true) == 0);
    }
    (void)printf("channel_wakes: cycles=%" PRIu64 " lost=0\n", done);
    return 0;
}
