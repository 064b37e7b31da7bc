/* A process that refuses the death watch has no thread of the library's, and hears of deaths all the same. */
#include "mailbox_help.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <pthread.h>
#include <weir/ipc/os_linux.h>

#define NAME "Local/alone"
#define BOUND_NS WEIR_MILLISECONDS(50)
#define SOON_US 60000   /* a death meets who has just gone to sleep, */
#define IDLE_US 1200000 /* or has waited for more than a second */

static int threads(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/task");
    CHECK(dir != NULL);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.';
    CHECK(closedir(dir) == 0);
    return count;
}

/* Who was joined may be there for a moment. */
static void wait_for_threads(int count)
{
    for (int64_t deadline = help_now_ns() + HELP_DEADLINE; threads() != count; (void)usleep(100))
        CHECK(help_now_ns() < deadline);
}

struct killer {
    useconds_t after_us;
    pid_t child;
    int64_t killed_ns;
};

static void *kill_later(void *arg)
{
    struct killer *killer = arg;
    (void)usleep(killer->after_us);
    killer->killed_ns = help_now_ns();
    child_kill(killer->child);
    return NULL;
}

static void nothing(weir_channel *channel) { (void)channel; }

/* How long behind the kill a sleeper was told: of a receive, or a call. */
static int64_t told_after(bool calls, useconds_t after_us)
{
    weir_channel *c = NULL;
    weir_mailbox *back = NULL;
    weir_sender *sender = NULL;
    struct killer killer = { .after_us = after_us };
    uint64_t answer;
    if (calls) {
        back = own(NULL, 0);
        killer.child = child_serves(NAME, 0);
        sender = sends_to(NAME, back);
    } else {
        CHECK_OK(weir_channel_open(&c, NAME, WEIR_CONSUMER, NULL));
        killer.child = child_stands(NAME, WEIR_PRODUCER, (weir_channel_options){ .capacity = 4096 }, nothing);
    }
    pthread_t thread;
    int before = threads();
    CHECK(pthread_create(&thread, NULL, kill_later, &killer) == 0);
    CHECK_STATUS(calls ? call_id(sender, SILENT, &answer, HELP_DEADLINE) : receive_nothing(c, HELP_DEADLINE),
                 WEIR_DIED);
    int64_t now = help_now_ns();
    CHECK(pthread_join(thread, NULL) == 0);
    wait_for_threads(before);
    CHECK_OK(weir_sender_close(sender));
    CHECK_OK(weir_mailbox_close(back));
    CHECK_OK(weir_channel_close(c));
    return now - killer.killed_ns;
}

static void check_heard_in_time(const char *dir, useconds_t after_us)
{
    for (int calls = 0; calls < 2; calls++) {
        int64_t least = INT64_MAX; /* of some: the machine has others to run */
        for (int i = 0; i < 4 && least > BOUND_NS; i++) {
            int64_t took = told_after(calls != 0, after_us);
            least = took < least ? took : least;
        }
        CHECK(least <= BOUND_NS);
    }
    CHECK_OK(weir_mailbox_close(own(NULL, 0))); /* takes away what the killed left */
    CHECK(support_entries(dir, true) == 0);
}

static int no_inotify(int flags) { return (void)flags, errno = ENOSYS, -1; }

Test(watch_refused, no_thread_is_started_and_deaths_are_heard_of_within_50_ms)
{
    const char *dir = support_shm_dir();
    weir_watch_allow(false);
    check_heard_in_time(dir, SOON_US);
    check_heard_in_time(dir, IDLE_US);
}

Test(watch_refused, without_inotify_too)
{
    const char *dir = support_shm_dir();
    weir_watch_linux.inotify_init1 = no_inotify;
    check_heard_in_time(dir, SOON_US);
    check_heard_in_time(dir, IDLE_US);
}

/* They meet a sleeper that listens: it is woken as others are. */
static void *send_later(void *arg)
{
    weir_channel *const *ends = arg;
    for (uint64_t id = 0; id < 3; id++) {
        (void)usleep(IDLE_US);
        CHECK_OK(send_id(ends[1], id, WEIR_NOWAIT));
    }
    (void)usleep(IDLE_US);
    CHECK_OK(weir_channel_cancel(ends[0]));
    return NULL;
}

Test(watch_refused, who_has_waited_for_a_second_wakes_seldom_and_is_woken_at_once)
{
    const char *dir = support_shm_dir();
    weir_channel *c, *p;
    weir_channel_facts facts;
    pthread_t thread;
    weir_watch_allow(false);
    CHECK_OK(weir_channel_open(&c, NAME, WEIR_CONSUMER, NULL));
    CHECK_OK(weir_channel_open(&p, NAME, WEIR_PRODUCER, NULL));
    CHECK_STATUS(receive_nothing(c, WEIR_MILLISECONDS(1100)), WEIR_TIMEOUT);
    CHECK_OK(weir_channel_info(c, &facts));
    uint64_t before = facts.sleeps;
    CHECK_STATUS(receive_nothing(c, WEIR_MILLISECONDS(3000)), WEIR_TIMEOUT);
    CHECK_OK(weir_channel_info(c, &facts));
    CHECK(facts.sleeps - before < 20); /* 67 of 45 ms */
    weir_channel *ends[] = { c, p };
    CHECK(pthread_create(&thread, NULL, send_later, ends) == 0);
    for (uint64_t id = 0; id < 3; id++)
        receive_id(c, id);
    CHECK_STATUS(receive_nothing(c, HELP_DEADLINE), WEIR_CANCELLED);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_OK(weir_channel_info(c, &facts));
    CHECK(facts.woken >= 3);
    CHECK_OK(weir_channel_close(p));
    CHECK_OK(weir_channel_close(c));
    CHECK(support_entries(dir, true) == 0);
}

/* Its FIFO is for its own sleeps: a look that finds nothing need not see to it, and no sender be told of the next message. */
Test(watch_refused, who_has_listened_looks_without_arming)
{
    const char *dir = support_shm_dir();
    weir_channel *c, *p;
    weir_watch_allow(false);
    CHECK_OK(weir_channel_open(&c, NAME, WEIR_CONSUMER, NULL));
    CHECK_OK(weir_channel_open(&p, NAME, WEIR_PRODUCER, NULL));
    CHECK_STATUS(receive_nothing(c, WEIR_MILLISECONDS(1100)), WEIR_TIMEOUT);
    struct pollfd own = { .fd = (int)weir_load32_rlx(&c->alert) - 1, .events = POLLIN };
    CHECK(own.fd >= 0 && poll(&own, 1, 0) == 0); /* the end of a wait put nothing there */
    CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_EMPTY);
    CHECK(weir_load32_rlx(&c->sleeper->armed) == 0);
    CHECK_OK(weir_channel_close(p));
    CHECK_OK(weir_channel_close(c));
    CHECK(support_entries(dir, true) == 0);
}

Test(watch_refused, what_needs_the_watch_is_a_status_and_allowed_again_it_works)
{
    const char *dir = support_shm_dir();
    weir_watch_allow(false);
    weir_channel *c;
    CHECK_OK(weir_channel_open(&c, NAME, WEIR_CONSUMER, NULL));
    int fd = -1, before = threads();
    CHECK_STATUS(weir_channel_descriptor(c, &fd), WEIR_E_UNSUPPORTED);
    CHECK(fd == -1 && threads() == before);
    weir_watch_allow(true);
    CHECK_OK(weir_channel_descriptor(c, &fd));
    CHECK(fd >= 0 && threads() == before + 1);
    CHECK_OK(weir_channel_close(c));
    CHECK(support_entries(dir, true) == 0);
}
