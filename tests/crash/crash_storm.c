/* serial */
/* Real processes over a ring in shared memory, each with a mapping of its own: killed at random, stopped at random
 * while the others must go on, killed while stopped, replaced while another is stopped. */
#include "crash.h"
#include "storm.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KILLS UINT64_C(60000)
#define STOPS UINT64_C(2000)
#define HANG_NS INT64_C(20000000000) /* whatever takes that long hangs */
#define PAGE_BYTES ((sizeof(storm_page) + 4095) / 4096 * 4096)

typedef struct storm {
    const storm_kind *kind;
    storm_page *page;
    int fd;
    uint64_t bytes, lives, seed;
    uint64_t kills, stops, records;
    struct {
        pid_t pid;
        uint64_t life;
    } child[STORM_CHILDREN_MAX];
} storm;

static int64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void sleep_ns(uint64_t ns)
{
    struct timespec pause = { .tv_nsec = (long)ns };
    (void)nanosleep(&pause, NULL);
}

static void *map(const storm *s)
{
    void *base = mmap(NULL, s->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
    CHECK(base != MAP_FAILED);
    return base;
}

__attribute__((noreturn)) static void child_main(const storm *s, unsigned index, pid_t parent, uint64_t seed)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    /* A second mapping: the address differs from the one before, and so from life to life. */
    unsigned char *base = map(s);
    storm_child self = { .page = (storm_page *)(void *)base, .share = base + PAGE_BYTES, .index = index,
                         .life = s->lives, .seed = seed };
    weir_store_rel(&self.page->child[index].begun, self.life);
    s->kind->live(&self);
    _exit(0);
}

static void start(storm *s, unsigned index)
{
    pid_t parent = getpid();
    uint64_t seed = support_random(&s->seed);
    s->lives++;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        child_main(s, index, parent, seed);
    s->child[index].pid = child;
    s->child[index].life = s->lives;
}

static void must_not_hang(const storm *s, int64_t begun, const char *what)
{
    CHECK(weir_load_acq(&s->page->failed) == 0);
    if (now_ns() - begun < HANG_NS)
        return;
    for (unsigned i = 0; i < s->kind->children; i++)
        (void)fprintf(stderr, "child %u: life %" PRIu64 " turns %" PRIu64 " done %" PRIu64 "\n", i,
                      weir_load_acq(&s->page->child[i].begun), weir_load_acq(&s->page->child[i].turns),
                      weir_load_acq(&s->page->child[i].done));
    support_fail(__FILE__, __LINE__, what);
}

static void wait_for_word(const storm *s, const weir_atomic_u64 *word, uint64_t at_least, const char *what)
{
    int64_t begun = now_ns();
    for (uint64_t round = 0; weir_load_acq(word) < at_least; round++) {
        must_not_hang(s, begun, what);
        if (round < 8)
            (void)sched_yield();
        else
            sleep_ns(20000);
    }
}

static void kill_child(storm *s, unsigned index)
{
    CHECK(kill(s->child[index].pid, SIGKILL) == 0);
    if (support_wait(s->child[index].pid) != -SIGKILL)
        support_fail(__FILE__, __LINE__, "it lives until it is killed: it failed by itself");
    s->kills++;
    if (s->kind->died != NULL)
        s->kind->died((unsigned char *)s->page + PAGE_BYTES, index);
}

/* Records go through, of every child. */
static void wait_for_progress(const storm *s)
{
    uint64_t done[STORM_CHILDREN_MAX];
    for (unsigned i = 0; i < s->kind->children; i++)
        done[i] = weir_load_acq(&s->page->child[i].done);
    for (unsigned i = 0; i < s->kind->children; i++)
        wait_for_word(s, &s->page->child[i].done, done[i] + 4, "records go through");
}

/* Those who are not stopped go on: their calls come back. */
static void wait_for_turns(const storm *s, unsigned stopped)
{
    uint64_t turns[STORM_CHILDREN_MAX];
    for (unsigned i = 0; i < s->kind->children; i++)
        turns[i] = weir_load_acq(&s->page->child[i].turns);
    for (unsigned i = 0; i < s->kind->children; i++)
        if (i != stopped)
            wait_for_word(s, &s->page->child[i].turns, turns[i] + 64, "a stopped process holds up nobody");
    CHECK(weir_load_acq(&s->page->child[stopped].turns) == turns[stopped]);
}

static void stop_one(storm *s)
{
    uint64_t random = support_random(&s->seed);
    unsigned index = (unsigned)(random % s->kind->children), other = (index + 1) % s->kind->children;
    int state;
    CHECK(kill(s->child[index].pid, SIGSTOP) == 0);
    CHECK(waitpid(s->child[index].pid, &state, WUNTRACED) == s->child[index].pid);
    if (!WIFSTOPPED(state))
        support_fail(__FILE__, __LINE__, "it lives until it is killed: it failed by itself");
    s->stops++;
    wait_for_turns(s, index);
    if ((random >> 8) % 4 == 0) { /* another dies meanwhile and is replaced */
        kill_child(s, other);
        start(s, other);
        wait_for_turns(s, index);
    }
    if ((random >> 16) % 4 == 0) {
        kill_child(s, index);
        start(s, index);
        return;
    }
    CHECK(kill(s->child[index].pid, SIGCONT) == 0);
}

/* Most are let begin, then anything from nothing to a few hundred microseconds. */
static void random_delay(storm *s, unsigned victim)
{
    uint64_t random = support_random(&s->seed);
    if ((random & 15) != 0)
        wait_for_word(s, &s->page->child[victim].begun, s->child[victim].life, "a new life begins");
    if ((random & 48) != 0)
        sleep_ns((random >> 8) % ((random & 64) != 0 ? 40000 : 200000));
}

static void kill_some(storm *s)
{
    uint64_t random = support_random(&s->seed);
    unsigned victim = (unsigned)(random % s->kind->children);
    bool all = (random >> 16) % 16 == 0;
    random_delay(s, victim);
    for (unsigned i = 0; i < s->kind->children; i++)
        if (all || i == victim)
            kill_child(s, i);
    for (unsigned i = 0; i < s->kind->children; i++)
        if (all || i == victim)
            start(s, i);
}

static void end_in_order(storm *s)
{
    weir_store_rel(&s->page->stop, 1);
    (void)alarm((unsigned)(HANG_NS / 1000000000));
    for (unsigned i = 0; i < s->kind->children; i++)
        CHECK(support_wait(s->child[i].pid) == 0);
    CHECK(weir_load_acq(&s->page->failed) == 0);
}

static void rage(storm *s, uint64_t kills, uint64_t stops)
{
    s->bytes = PAGE_BYTES + (s->kind->bytes + 4095) / 4096 * 4096;
    s->fd = memfd_create("crash-storm", MFD_CLOEXEC);
    CHECK(s->fd >= 0 && ftruncate(s->fd, (off_t)s->bytes) == 0);
    s->page = map(s);
    s->kind->make((unsigned char *)s->page + PAGE_BYTES);
    for (unsigned i = 0; i < s->kind->children; i++)
        start(s, i);
    for (uint64_t round = 0; s->kills < kills || s->stops < stops; round++) {
        crash_at.state = round;
        crash_alive();
        /* Both come to their end at the same time. */
        if (s->stops < stops && s->stops * kills <= s->kills * stops)
            stop_one(s);
        else
            kill_some(s);
        if (round % 64 == 0)
            wait_for_progress(s);
    }
    end_in_order(s);
    for (unsigned i = 0; i < s->kind->children; i++)
        s->records += weir_load_acq(&s->page->child[i].done);
    CHECK(munmap(s->page, s->bytes) == 0 && close(s->fd) == 0);
}

int main(void)
{
    uint64_t seed = crash_begin("crash storm"), kills = 0, stops = 0, left = 0;
    uint64_t kills_wanted = support_count(KILLS), stops_wanted = support_count(STOPS);
    int64_t begun = now_ns();
    CHECK(prctl(PR_SET_TIMERSLACK, 1) == 0); /* or no sleep is shorter than 50 us */
    for (unsigned ring = 0; ring < crash_ring_count; ring++)
        left += crash_rings[ring]->storm_count;
    for (unsigned ring = 0; ring < crash_ring_count; ring++)
        for (unsigned i = 0; i < crash_rings[ring]->storm_count; i++, left--) {
            storm s = { .kind = &crash_rings[ring]->storms[i], .seed = support_random(&seed) };
            crash_at.ring = crash_rings[ring]->name;
            crash_at.operation = "storm";
            crash_at.doing = s.kind->name;
            uint64_t kills_to_go = kills < kills_wanted ? kills_wanted - kills : 0;
            uint64_t stops_to_go = stops < stops_wanted ? stops_wanted - stops : 0;
            rage(&s, (kills_to_go + left - 1) / left, (stops_to_go + left - 1) / left);
            kills += s.kills;
            stops += s.stops;
            (void)printf("  %s: kills=%" PRIu64 " stops=%" PRIu64 " records=%" PRIu64 "\n", s.kind->name, s.kills,
                         s.stops, s.records);
            (void)fflush(stdout);
        }
    crash_done();
    (void)printf("crash storm: kills=%" PRIu64 " stops=%" PRIu64 " failures=0\n", kills, stops);
    (void)printf("in %.1f s\n", (double)(now_ns() - begun) / 1e9);
    return 0;
}
