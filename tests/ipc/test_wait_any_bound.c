/* One wait for several channels: how long it sleeps, and what a wake costs, in a time of the test's own that passes in
 * sleeps.  That a death is told and not found by the bound, in real time. */
#include "ipc/kinds_help.h"
#include "naming/sections.h"

#include <criterion/criterion.h>
#include <sys/resource.h>
#include <weir/ipc/channel_wait.h>
#include <weir/ipc/os_linux.h>
#include <weir/naming/os_linux.h>

#define MANY 300 /* more than one futex_waitv takes */
#define SECOND INT64_C(1000000000)
#define MINUTE (60 * SECOND)
#define FIRST_NS INT64_C(45000000) /* a sleep in the first second of nothing, and always where deaths are not told; later: */
#define WATCHED_NS INT64_C(450000000)
#define EACH_NS INT64_C(4000000) /* for each handle, where that is longer */
#define ASKED_NS INT64_C(250000000) /* how often the kernel is asked about a handle's peers at most, where deaths are told, */
#define ASKED_MAX 250u              /* and about those of all handles, in a second, however many they are */

/* ---- time, and sleeps ---- */

static int64_t passed_ns; /* in sleeps, beside the real time */
static struct {
    bool real;            /* they are slept, and end by a wake alone; */
    bool poll;            /* those in poll are, and begin with the victim's death; on words the first second passes at once */
    uint64_t count, late; /* late: behind the first second */
    uint64_t polls;       /* of these in poll */
    int64_t shortest_late_ns, longest_ns;
    uint64_t dies_in; /* the sleep in which somebody is killed; 0: none */
    pid_t victim;
    uint64_t after_death; /* sleeps that began behind it */
} sleeps;

int64_t __real_weir_os_now_ns(void);
int64_t __wrap_weir_os_now_ns(void);
bool __real_weir_os_sleep_any(const struct weir_os_sleep *on, uint32_t count, int64_t ns);
bool __wrap_weir_os_sleep_any(const struct weir_os_sleep *on, uint32_t count, int64_t ns);
int __real_weir_os_poll(const int *descriptors, uint32_t count, int64_t ns);
int __wrap_weir_os_poll(const int *descriptors, uint32_t count, int64_t ns);

int64_t __wrap_weir_os_now_ns(void) { return __real_weir_os_now_ns() + passed_ns; }

static void note(int64_t ns)
{
    sleeps.count++;
    sleeps.after_death += sleeps.dies_in != 0 && sleeps.count > sleeps.dies_in;
    if (sleeps.count == sleeps.dies_in)
        child_kill(sleeps.victim);
    if (passed_ns > 2 * SECOND && passed_ns < MINUTE - 2 * SECOND) { /* the last one is cut */
        sleeps.late++;
        if (sleeps.shortest_late_ns == 0 || ns < sleeps.shortest_late_ns)
            sleeps.shortest_late_ns = ns;
    }
    sleeps.longest_ns = ns > sleeps.longest_ns ? ns : sleeps.longest_ns;
    passed_ns += ns;
}

bool __wrap_weir_os_sleep_any(const struct weir_os_sleep *on, uint32_t count, int64_t ns)
{
    if (sleeps.real && !sleeps.poll)
        return __real_weir_os_sleep_any(on, count, HELP_DEADLINE);
    note(ns);
    return true;
}

int __wrap_weir_os_poll(const int *descriptors, uint32_t count, int64_t ns)
{
    if (sleeps.poll && ns != 0 && sleeps.victim != 0) {
        child_kill(sleeps.victim);
        sleeps.victim = 0;
    }
    if (sleeps.real && ns != 0)
        return __real_weir_os_poll(descriptors, count, HELP_DEADLINE);
    if (ns != 0) {
        note(ns);
        sleeps.polls++;
    }
    return __real_weir_os_poll(descriptors, count, 0);
}

/* ---- what a wake costs ---- */

static uint64_t asked; /* calls about locks: all that a look makes */
static int (*real_lock)(int fd, int command, struct flock *range);

static int counting_lock(int fd, int command, struct flock *range)
{
    asked++;
    return real_lock(fd, command, range);
}

/* ---- many channels ---- */

static weir_channel *p[MANY], *c[MANY];

static const char *name_of(unsigned i)
{
    static char name[32];
    (void)snprintf(name, sizeof name, "bound-%u", i);
    return name;
}

static void open_some(unsigned count, unsigned but)
{
    struct rlimit files = { 4096, 4096 };
    (void)setrlimit(RLIMIT_NOFILE, &files);
    for (unsigned i = 0; i < count; i++) {
        c[i] = open_as(name_of(i), WEIR_CONSUMER, 4096);
        p[i] = i == but ? NULL : open_as(name_of(i), WEIR_PRODUCER, 4096);
    }
}

static void close_some(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        CHECK_OK(weir_channel_close(p[i]));
        CHECK_OK(weir_channel_close(c[i]));
    }
    CHECK(support_entries(getenv("WEIR_SHM_DIR"), true) == 0);
}

static void wait_a_minute(unsigned count)
{
    uint32_t which = 0;
    memset(&sleeps, 0, sizeof sleeps);
    passed_ns = 0;
    asked = 0;
    CHECK_STATUS(weir_wait_any(c, count, &which, MINUTE), WEIR_TIMEOUT);
    CHECK(passed_ns <= MINUTE && passed_ns > MINUTE - 20 * SECOND); /* the rest is what the calls took */
}

/* From the second second on it wakes every `bound`, looks at each handle, and asks the kernel about each. */
Test(wait_any_bound, sleeps_longer_the_more_there_are_where_deaths_are_told, .timeout = 100)
{
    (void)support_shm_dir();
    static const unsigned counts[] = { 1, 2, 112, 113, 128, 129, MANY };
    real_lock = weir_linux.lock;
    weir_linux.lock = counting_lock;
    open_some(MANY, MANY);
    for (unsigned i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        int64_t bound = counts[i] * EACH_NS > WATCHED_NS ? counts[i] * EACH_NS : WATCHED_NS;
        wait_a_minute(counts[i]);
        CHECK(channel_cold(c[0])->watched && channel_cold(c[counts[i] - 1])->watched);
        CHECK(sleeps.shortest_late_ns == bound && sleeps.longest_ns == bound);
        CHECK(sleeps.late <= (uint64_t)(56 * SECOND / bound + 1));
        uint64_t first = (SECOND / ASKED_NS + 2) * counts[i]; /* in the first second, where sleeps are short */
        CHECK(asked >= counts[i] && asked <= first + ASKED_MAX * 60);
        for (unsigned n = 0; n < counts[i]; n++) /* the next wait begins anew */
            channel_cold(c[n])->idle = false;
    }
    weir_linux.lock = real_lock;
    close_some(MANY);
}

Test(wait_any_bound, sleeps_as_long_where_they_listen_themselves, .timeout = 100)
{
    (void)support_shm_dir();
    static const unsigned counts[] = { 1, 112, 128, MANY };
    weir_watch_allow(false);
    open_some(MANY, MANY);
    for (unsigned i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        int64_t bound = counts[i] * EACH_NS > WATCHED_NS ? counts[i] * EACH_NS : WATCHED_NS;
        wait_a_minute(counts[i]);
        CHECK(channel_cold(c[0])->listens && channel_cold(c[counts[i] - 1])->listens);
        CHECK(sleeps.shortest_late_ns == bound && sleeps.longest_ns == bound);
        for (unsigned n = 0; n < counts[i]; n++) /* the next wait begins anew */
            channel_cold(c[n])->idle = false;
    }
    close_some(MANY);
}

Test(wait_any_bound, sleeps_on_words_in_its_first_second_whoever_has_listened)
{
    const unsigned count = 3;
    uint32_t which = 0;
    (void)support_shm_dir();
    weir_watch_allow(false);
    open_some(count, count);
    wait_a_minute(count);
    CHECK(channel_cold(c[0])->listens && sleeps.polls != 0);
    for (unsigned n = 0; n < count; n++)
        channel_cold(c[n])->idle = false;
    memset(&sleeps, 0, sizeof sleeps);
    CHECK_STATUS(weir_wait_any(c, count, &which, SECOND / 2), WEIR_TIMEOUT);
    CHECK(sleeps.count >= 11 && sleeps.polls == 0 && sleeps.longest_ns == FIRST_NS);
    close_some(count);
}

/* The first was watched before the program refused that, and can have no FIFO; the last one listens already. */
Test(wait_any_bound, one_that_cannot_sleep_in_poll_keeps_all_of_them_on_words, .timeout = 100)
{
    const unsigned count = 3;
    uint32_t which = 0;
    const char *dir = support_shm_dir();
    open_some(count, count);
    CHECK_STATUS(receive_nothing(c[0], WEIR_MILLISECONDS(1)), WEIR_TIMEOUT);
    weir_watch_allow(false);
    CHECK(unlink(section_path(dir, weir_section_name(channel_cold(c[0])->section)).text) == 0);
    wait_a_minute(1);
    CHECK(channel_cold(c[0])->watched);
    CHECK_STATUS(weir_wait_any(&c[2], 1, &which, 3 * SECOND), WEIR_TIMEOUT);
    CHECK(channel_cold(c[2])->listens);
    wait_a_minute(count);
    CHECK(!channel_cold(c[1])->watched && sleeps.polls == 0 && sleeps.longest_ns == FIRST_NS);
    close_some(count);
}

static int no_inotify(int flags) { return (void)flags, errno = ENOSYS, -1; }

Test(wait_any_bound, does_not_grow_where_they_are_not_and_a_death_is_found_by_the_next_wake, .timeout = 100)
{
    (void)support_shm_dir();
    const unsigned count = WEIR_OS_SLEEP_ANY_MAX, dying = 77;
    uint32_t which = 0;
    weir_watch_linux.inotify_init1 = no_inotify;
    open_some(count, dying);
    pid_t victim = child_stands(name_of(dying), WEIR_PRODUCER, (weir_channel_options){ .capacity = 0 }, works_not);
    wait_a_minute(count);
    CHECK(!channel_cold(c[0])->watched && !channel_cold(c[0])->listens);
    CHECK(sleeps.shortest_late_ns == FIRST_NS && sleeps.longest_ns == FIRST_NS);
    sleeps.dies_in = sleeps.count + 3;
    sleeps.victim = victim;
    CHECK_OK(weir_wait_any(c, count, &which, MINUTE));
    CHECK(which == dying);
    CHECK(sleeps.after_death == 0 && sleeps.longest_ns == FIRST_NS);
    CHECK_STATUS(receive_nothing(c[dying], WEIR_NOWAIT), WEIR_DIED);
    close_some(count);
}

/* A sleep's bound is a long one here: who only found it by that would be late. */
static void a_death_among(unsigned count)
{
    const unsigned dying = count - 2;
    uint32_t which = 0;
    open_some(count, dying);
    sleeps.real = true;
    pid_t victim = child_fork();
    if (victim == 0) {
        weir_channel *own = open_as(name_of(dying), WEIR_PRODUCER, 0);
        wait_for_word32(&own->peer->armed, 1);
        (void)kill(getpid(), SIGKILL);
    }
    CHECK_OK(weir_wait_any(c, count, &which, WEIR_FOREVER));
    CHECK(which == dying);
    CHECK_STATUS(receive_nothing(c[dying], WEIR_NOWAIT), WEIR_DIED);
    CHECK(support_wait(victim) == -SIGKILL);
    close_some(count);
}

Test(wait_any_bound, a_death_is_told_whatever_the_bound, .timeout = 100)
{
    (void)support_shm_dir();
    a_death_among(3);
    a_death_among(128);
    a_death_among(MANY);
}

Test(wait_any_bound, a_death_is_told_where_they_listen_themselves, .timeout = 100)
{
    (void)support_shm_dir();
    static const unsigned counts[] = { 3, 128, MANY };
    weir_watch_allow(false);
    for (unsigned i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        const unsigned dying = counts[i] - 2;
        uint32_t which = 0;
        open_some(counts[i], dying);
        memset(&sleeps, 0, sizeof sleeps);
        sleeps.real = sleeps.poll = true;
        sleeps.victim = child_stands(name_of(dying), WEIR_PRODUCER, (weir_channel_options){ .capacity = 0 }, works_not);
        int64_t from = help_now_ns();
        CHECK_OK(weir_wait_any(c, counts[i], &which, WEIR_FOREVER));
        CHECK(sleeps.victim == 0 && which == dying);
        CHECK(help_now_ns() - from < HELP_DEADLINE / 2); /* not by the end of that sleep */
        CHECK_STATUS(receive_nothing(c[dying], WEIR_NOWAIT), WEIR_DIED);
        close_some(counts[i]);
    }
}
