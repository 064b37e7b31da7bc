/* serial */
/* A process that sleeps is told of another's death, by the one watch it has (ipc/watch.h): when that was all but a
 * mapping, when it was watching itself, of a thousand sections, across pid namespaces; and what it costs. */
#include "ipc/watch_help.h"

#include <weir/naming/section_private.h>

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define MS INT64_C(1000000)
#define BOUND_NS (50 * MS)
#define LONG_NS (10000 * MS) /* a sleep that ends of itself has not been woken */

static const char *dir;

/* ---- how late this machine runs what is due ---- */

static weir_atomic_u64 late_max_ns;
static weir_atomic_u32 late_end;

static void *measure_late(void *arg)
{
    (void)arg;
    while (weir_load32_rlx(&late_end) == 0) {
        int64_t from = monotonic_ns();
        (void)nanosleep(&(struct timespec){ .tv_nsec = MS }, NULL);
        uint64_t late = (uint64_t)(monotonic_ns() - from - MS);
        if (late > weir_load_rlx(&late_max_ns))
            weir_store_rlx(&late_max_ns, late);
    }
    return NULL;
}

/* ---- deaths ---- */

enum holding { ALL_OF_IT, ONLY_A_MAPPING, WATCHING_ITSELF, HOLDINGS };
static const char *const holding_names[] = { "a descriptor and a mapping", "only a mapping", "a watch of its own" };

struct victim {
    const char *name;
    enum holding holding;
};

static void be_victim(void *arg)
{
    struct victim *v = arg;
    static watch_sleeper own;
    weir_section *section;
    weir_view view;
    weir_participant claimed;
    CHECK_OK(weir_section_open(&section, v->name, NULL));
    CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE));
    CHECK_OK(weir_participant_claim(section, 0, 1, &claimed));
    CHECK_OK(weir_participant_join(section, &claimed));
    watch_sleeper_init(&own);
    if (v->holding == WATCHING_ITSELF)
        CHECK_OK(weir_watch_add(&own.client, section));
    if (v->holding == ONLY_A_MAPPING)
        CHECK(close(section->os.fd) == 0);
}

/* Sleeps until slot 0 is seen dead; how long that took from the kill on. */
static int64_t sleep_until_dead(weir_section *section, watch_sleeper *s, const holder *victim)
{
    weir_participant seen;
    CHECK_OK(weir_participant_look(section, 0, &seen));
    CHECK(seen.presence == WEIR_ALIVE);
    int64_t from = monotonic_ns();
    CHECK(kill(victim->pid, SIGKILL) == 0);
    for (;;) {
        uint64_t news = weir_watch_seen(&s->client);
        CHECK_OK(weir_participant_look(section, 0, &seen));
        int64_t took = monotonic_ns() - from;
        if (seen.presence == WEIR_DEAD)
            return took;
        CHECK(took < LONG_NS);
        watch_sleep(s, news, LONG_NS);
    }
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void deaths(enum holding holding, size_t kills)
{
    static int64_t took[1000];
    weir_section *section;
    watch_sleeper sleeper;
    struct victim v = { .name = "Local/deaths", .holding = holding };
    CHECK(kills <= 1000);
    CHECK_OK(weir_section_create(&section, v.name, 4096, &(weir_section_options){ .slots = 2 }));
    watch_sleeper_init(&sleeper);
    CHECK_OK(weir_watch_add(&sleeper.client, section));
    for (size_t i = 0; i < kills; i++) {
        holder h = holder_start(be_victim, NULL, &v);
        took[i] = sleep_until_dead(section, &sleeper, &h);
        CHECK(support_wait(h.pid) == -SIGKILL && close(h.go) == 0);
    }
    weir_watch_remove(&sleeper.client);
    CHECK_OK(weir_section_close(section));
    qsort(took, kills, sizeof took[0], by_value);
    int64_t late = (int64_t)weir_load_rlx(&late_max_ns), longest = took[kills - 1];
    (void)printf("%zu deaths with %s: seen after p50 %lld us, p99 %lld us, max %lld us "
                 "(the machine was late by %lld us)\n",
                 kills, holding_names[holding], (long long)took[kills / 2] / 1000,
                 (long long)took[kills * 99 / 100] / 1000, (long long)longest / 1000, (long long)late / 1000);
    CHECK(longest <= BOUND_NS || late > 10 * MS);
}

/* ---- a thousand ---- */

#define MANY 1000

static void be_user_of_many(void *arg)
{
    (void)arg;
    char name[32];
    struct rlimit limit = { 4096, 4096 };
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    for (int i = 0; i < MANY; i++) {
        weir_section *section;
        weir_participant claimed;
        (void)snprintf(name, sizeof name, "Local/many-%d", i);
        CHECK_OK(weir_section_open(&section, name, NULL));
        CHECK_OK(weir_participant_claim(section, 0, 1, &claimed));
        CHECK_OK(weir_participant_join(section, &claimed));
    }
}

static bool all_told(watch_sleeper *sleepers, const uint64_t *before)
{
    for (int i = 0; i < MANY; i++)
        if (watch_told(&sleepers[i]) == before[i])
            return false;
    return true;
}

static void a_thousand(void)
{
    static watch_sleeper sleepers[MANY];
    static weir_section *sections[MANY];
    static uint64_t before[MANY];
    char name[32];
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = 4096 < limit.rlim_max ? 4096 : limit.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > MANY + 100);
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof name, "Local/many-%d", i);
        CHECK_OK(weir_section_create(&sections[i], name, 4096, &(weir_section_options){ .slots = 1 }));
        watch_sleeper_init(&sleepers[i]);
        CHECK_OK(weir_watch_add(&sleepers[i].client, sections[i]));
    }
    CHECK_SOON(watch_threads() == 1);
    holder h = holder_start(be_user_of_many, NULL, NULL);
    (void)nanosleep(&(struct timespec){ .tv_nsec = 100 * MS }, NULL); /* what the openings' sweeps closed is told */
    for (int i = 0; i < MANY; i++)
        before[i] = watch_told(&sleepers[i]);
    int64_t from = monotonic_ns();
    CHECK(kill(h.pid, SIGKILL) == 0);
    CHECK_SOON(all_told(sleepers, before));
    int64_t told = monotonic_ns() - from;
    for (int i = 0; i < MANY; i++) {
        weir_participant seen;
        CHECK_OK(weir_participant_look(sections[i], 0, &seen));
        CHECK_SOON((CHECK_OK(weir_participant_look(sections[i], 0, &seen)), seen.presence == WEIR_DEAD));
    }
    CHECK(support_wait(h.pid) == -SIGKILL && close(h.go) == 0);
    (void)printf("%d sections of one death: all told after %lld us\n", MANY, (long long)told / 1000);
    for (int i = 0; i < MANY; i++) {
        weir_watch_remove(&sleepers[i].client);
        CHECK_OK(weir_section_close(sections[i]));
    }
}

/* ---- what it costs ---- */

static clockid_t watch_clock; /* of the watch's thread */

static void find_clock(void *arg)
{
    (void)arg;
    if (watch_clock == 0)
        CHECK(pthread_getcpuclockid(pthread_self(), &watch_clock) == 0);
}

static int64_t cpu_ns(void)
{
    struct timespec used;
    CHECK(clock_gettime(watch_clock, &used) == 0);
    return used.tv_sec * INT64_C(1000000000) + used.tv_nsec;
}

static void costs(void)
{
    weir_section *section;
    watch_sleeper sleeper;
    struct weir_watch_client clock_finder = { .told = find_clock };
    CHECK_OK(weir_section_create(&section, "Local/costs", 4096, NULL));
    path_text path = section_path(dir, "Local/costs");
    watch_sleeper_init(&sleeper);
    CHECK_OK(weir_watch_add(&sleeper.client, section));
    CHECK_OK(weir_watch_add(&clock_finder, section));
    watch_touch(path.text);
    CHECK_SOON(weir_load_rlx(&clock_finder.news) == 4); /* at once, and three times behind */
    (void)nanosleep(&(struct timespec){ .tv_nsec = 10 * MS }, NULL);

    int64_t idle = cpu_ns();
    (void)nanosleep(&(struct timespec){ .tv_nsec = 500 * MS }, NULL);
    idle = cpu_ns() - idle;
    CHECK(idle == 0);

    uint64_t told = watch_told(&sleeper), closes = 0;
    int64_t used = cpu_ns(), from = monotonic_ns(), took;
    for (; (took = monotonic_ns() - from) < 1000 * MS; closes++)
        watch_touch(path.text);
    used = cpu_ns() - used;
    told = watch_told(&sleeper) - told;
    (void)printf("idle: 0; %llu closes in a second: told %llu times, %.2f %% of a core\n", (unsigned long long)closes,
                 (unsigned long long)told, 100.0 * (double)used / (double)took);
    CHECK(closes > 1000 && told >= 1 && told <= (uint64_t)(took / MS) + 4);
    CHECK(used < took / 4);
    weir_watch_remove(&clock_finder);
    weir_watch_remove(&sleeper.client);
    CHECK_OK(weir_section_close(section));
}

/* ---- the thread's life ---- */

static void comes_and_goes(void)
{
    weir_section *section;
    watch_sleeper sleeper;
    unsigned fds = open_fds();
    CHECK_OK(weir_section_create(&section, "Local/life", 4096, NULL));
    for (int i = 0; i < 50; i++) { /* one thread serves them all */
        watch_sleeper_init(&sleeper);
        CHECK_OK(weir_watch_add(&sleeper.client, section));
        CHECK_SOON(watch_threads() == 1); /* it has its name from itself */
        weir_watch_remove(&sleeper.client);
        weir_watch_remove(&sleeper.client); /* once more is nothing */
    }
    CHECK_SOON(watch_threads() == 0); /* a second behind the last */
    CHECK_OK(weir_section_close(section));
    CHECK_SOON(open_fds() == fds);
    CHECK(unshare(CLONE_FS) == 0); /* which shares nothing with a thread that is no more */
}

/* A process that exits or execs with clients, and a thread in the middle of telling. */
static void exits(void)
{
    for (int i = 0; i < 20; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            static watch_sleeper sleepers[8];
            weir_section *section;
            CHECK_OK(weir_section_create(&section, "Local/exits", 4096, NULL));
            for (int k = 0; k < 8; k++) {
                watch_sleeper_init(&sleepers[k]);
                CHECK_OK(weir_watch_add(&sleepers[k].client, section));
            }
            for (int k = 0; k < i * 5; k++)
                watch_touch(section_path(dir, "Local/exits").text);
            if (i % 2 == 0)
                (void)execl("/bin/true", "true", (char *)NULL);
            exit(0); /* with what the library registered for then, not _exit */
        }
        CHECK(support_wait(child) == 0);
    }
}

/* ---- another pid namespace ---- */

static void in_a_namespace(void)
{
    weir_section *section;
    watch_sleeper sleeper;
    int ready[2];
    char byte;
    CHECK_OK(weir_section_create(&section, "Local/inside", 4096, &(weir_section_options){ .slots = 1 }));
    watch_sleeper_init(&sleeper);
    CHECK_OK(weir_watch_add(&sleeper.client, section));
    CHECK(pipe2(ready, O_CLOEXEC) == 0);
    pid_t outer = fork();
    CHECK(outer >= 0);
    if (outer == 0) {
        end_with_parent();
        if (unshare(CLONE_NEWPID) != 0)
            _exit(SUPPORT_SKIP);
        pid_t inner = fork();
        CHECK(inner >= 0);
        if (inner == 0) {
            struct victim v = { .name = "Local/inside" };
            CHECK(getpid() == 1);
            end_with_parent();
            be_victim(&v);
            CHECK(write(ready[1], "x", 1) == 1);
            for (;;)
                (void)pause();
        }
        (void)pause();
        _exit(1);
    }
    (void)close(ready[1]);
    if (read(ready[0], &byte, 1) == 1) {
        holder h = { .pid = outer }; /* whose death is the inner one's */
        (void)printf("a death in another pid namespace: seen after %lld us\n",
                     (long long)sleep_until_dead(section, &sleeper, &h) / 1000);
        CHECK(support_wait(outer) == -SIGKILL);
    } else {
        CHECK(support_wait(outer) == SUPPORT_SKIP);
        (void)puts("SKIPPED: no pid namespace of one's own is permitted here");
    }
    (void)close(ready[0]);
    weir_watch_remove(&sleeper.client);
    CHECK_OK(weir_section_close(section));
}

int main(void)
{
    pthread_t late;
    dir = support_shm_dir();
    exits();
    comes_and_goes();
    CHECK(pthread_create(&late, NULL, measure_late, NULL) == 0);
    for (int holding = 0; holding < HOLDINGS; holding++)
        deaths((enum holding)holding, (size_t)support_count(100));
    weir_store32_rlx(&late_end, 1);
    CHECK(pthread_join(late, NULL) == 0);
    in_a_namespace();
    a_thousand();
    costs();
    CHECK(support_entries(dir, true) == 0);
    return 0;
}
