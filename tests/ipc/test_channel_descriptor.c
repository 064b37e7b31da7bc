/* A channel's descriptor for poll: readable from when there may be something to do until a call with WEIR_NOWAIT has
 * found nothing. */
#include "ipc/kinds_help.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <weir/ipc/channel_private.h>

#define NAME "polled"
#define SOON WEIR_MILLISECONDS(50)

static bool is_readable(int fd, int ms)
{
    struct pollfd poll_in = { .fd = fd, .events = POLLIN };
    int ready = poll(&poll_in, 1, ms);
    CHECK(ready >= 0);
    return ready == 1;
}

static int descriptor_of(weir_channel *channel)
{
    int fd, again;
    CHECK_OK(weir_channel_descriptor(channel, &fd));
    CHECK_OK(weir_channel_descriptor(channel, &again));
    CHECK(fd == again);
    return fd;
}

/* Calls until nothing is there; how many messages that were. */
static uint64_t take_all(weir_channel *c)
{
    uint64_t taken = 0;
    weir_status status;
    while ((status = receive_nothing(c, WEIR_NOWAIT)) == WEIR_OK)
        taken++;
    CHECK_STATUS(status, WEIR_EMPTY);
    return taken;
}

/* With nothing to do; others who come and go make it readable now and then. */
static bool falls_silent(weir_channel *c, int fd)
{
    for (int64_t end = help_now_ns() + WEIR_MILLISECONDS(2000); help_now_ns() < end;) {
        CHECK(take_all(c) == 0);
        if (!is_readable(fd, 10))
            return true;
    }
    return false;
}

Test(channel_descriptor, is_readable_until_nothing_was_found_and_again_with_the_next_message)
{
    support_shm_dir();
    for (unsigned i = 0; i < KINDS; i++) {
        const struct kind_row *k = &kind_rows[i];
        weir_channel *c = open_kind(NAME, k->kind, WEIR_CONSUMER, 4096), *p = open_kind(NAME, k->kind, WEIR_PRODUCER, 4096);
        int fd = descriptor_of(c);
        CHECK(is_readable(fd, 0)); /* there may have been something */
        CHECK(falls_silent(c, fd));
        for (uint64_t id = 1; id <= 5; id++) {
            CHECK_OK(send_id(p, id, WEIR_NOWAIT));
            CHECK(is_readable(fd, 1000));
            CHECK_OK(send_id(p, id, WEIR_NOWAIT)); /* level: also after one of two was taken */
            CHECK_OK(receive_nothing(c, WEIR_NOWAIT));
            CHECK(is_readable(fd, 0));
            CHECK(take_all(c) == (k->kind == WEIR_LATEST ? 0 : 1));
            CHECK(falls_silent(c, fd));
        }
        CHECK_STATUS(receive_nothing(c, WEIR_MILLISECONDS(60)), WEIR_TIMEOUT); /* a wait in between loses nothing */
        CHECK(is_readable(fd, 0) && falls_silent(c, fd));
        CHECK_OK(weir_channel_close(p));
        CHECK(is_readable(fd, 1000));
        CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_CLOSED);
        CHECK(falls_silent(c, fd));
        CHECK_OK(weir_channel_close(c));
    }
    CHECK(support_entries(getenv("WEIR_SHM_DIR"), true) == 0);
}

Test(channel_descriptor, tells_of_a_batch_that_an_array_published_of_which_nothing_was_sent)
{
    support_shm_dir();
    FOR_EACH_KIND(k) {
        weir_channel *c = open_kind(NAME, k->kind, WEIR_CONSUMER, 4096), *p = open_kind(NAME, k->kind, WEIR_PRODUCER, 4096);
        uint64_t id = 7;
        uint32_t sent;
        int fd = descriptor_of(c);
        for (uint32_t count = 0; count < 2; count++) { /* an empty one, and one that is too long */
            CHECK(falls_silent(c, fd));
            CHECK_OK(weir_send_more(p, &id, sizeof id, WEIR_NOWAIT));
            CHECK_STATUS(weir_send_array(p, &id, count == 0 ? 8 : 1 << 20, count, &sent, WEIR_NOWAIT),
                         count == 0 ? WEIR_OK : WEIR_E_TOO_LARGE);
            CHECK(is_readable(fd, 1000) && take_all(c) == 1);
        }
        CHECK_OK(weir_channel_close(p));
        CHECK_OK(weir_channel_close(c));
    }
    CHECK(support_entries(getenv("WEIR_SHM_DIR"), true) == 0);
}

Test(channel_descriptor, of_a_producer_tells_of_room)
{
    support_shm_dir();
    weir_channel *p = open_as(NAME, WEIR_PRODUCER, 4096), *c = open_as(NAME, WEIR_CONSUMER, 0);
    weir_status last;
    int fd = descriptor_of(p);
    uint64_t id = send_until_full(p, 0, &last);
    CHECK(last == WEIR_FULL && !is_readable(fd, 0));
    for (uint64_t taken = 0; taken < id; taken++)
        receive_id(c, taken);
    CHECK(is_readable(fd, 1000));
    CHECK(send_until_full(p, id, &last) > id && last == WEIR_FULL && !is_readable(fd, 0));
    CHECK_OK(weir_channel_close(c));
    CHECK(is_readable(fd, 1000));
    CHECK_STATUS(send_id(p, 0, WEIR_NOWAIT), WEIR_CLOSED);
    CHECK_OK(weir_channel_close(p));
    CHECK(support_entries(getenv("WEIR_SHM_DIR"), true) == 0);
}

Test(channel_descriptor, of_each_of_several_consumers_tells_all_of_them)
{
    support_shm_dir();
    weir_channel_options options = { .kind = WEIR_BROADCAST_GATED, .consumers = 100 };
    weir_channel *p, *c[100];
    int fd[100];
    CHECK_OK(weir_channel_open(&p, NAME, WEIR_PRODUCER, &options));
    for (int i = 0; i < 100; i++) {
        CHECK_OK(weir_channel_open(&c[i], NAME, WEIR_CONSUMER, &options));
        fd[i] = descriptor_of(c[i]);
    }
    for (int i = 0; i < 100; i++)
        CHECK(falls_silent(c[i], fd[i]));
    CHECK_OK(send_id(p, 1, WEIR_NOWAIT));
    for (int i = 0; i < 100; i++)
        CHECK(is_readable(fd[i], 1000) && take_all(c[i]) == 1);
    for (int i = 0; i < 100; i++)
        CHECK_OK(weir_channel_close(c[i]));
    CHECK_OK(weir_channel_close(p));
    CHECK(support_entries(getenv("WEIR_SHM_DIR"), true) == 0);
}

/* The child opens one end, sends a message where it is the producer, and stands still. */
static pid_t stands_still(weir_role role, struct gate gate)
{
    pid_t child = child_fork();
    if (child != 0)
        return child;
    weir_channel *channel = open_as(NAME, role, 4096);
    if (role == WEIR_PRODUCER)
        CHECK_OK(send_id(channel, 7, WEIR_NOWAIT));
    else
        (void)descriptor_of(channel);
    gate_open(gate);
    for (;;)
        (void)pause();
}

Test(channel_descriptor, tells_of_a_death_at_once_and_a_dead_holders_is_its_successors)
{
    support_shm_dir();
    struct gate gate = gate_make();
    weir_channel *c = open_as(NAME, WEIR_CONSUMER, 0);
    int fd = descriptor_of(c);
    pid_t child = stands_still(WEIR_PRODUCER, gate);
    gate_wait(gate);
    CHECK(is_readable(fd, 1000) && take_all(c) == 1 && falls_silent(c, fd));
    child_kill(child);
    CHECK(is_readable(fd, 1000));
    int64_t end = help_now_ns() + HELP_DEADLINE; /* the news may be ahead of the lock: then it comes again */
    weir_status status;
    while ((status = receive_nothing(c, WEIR_NOWAIT)) == WEIR_EMPTY && help_now_ns() < end)
        CHECK(is_readable(fd, 1000));
    CHECK_STATUS(status, WEIR_DIED);
    CHECK_OK(weir_channel_close(c));

    child = stands_still(WEIR_CONSUMER, gate);
    gate_wait(gate);
    child_kill(child);
    c = open_as(NAME, WEIR_CONSUMER, 0);
    weir_channel *p = open_as(NAME, WEIR_PRODUCER, 4096);
    fd = descriptor_of(c);
    CHECK(falls_silent(c, fd));
    CHECK_OK(send_id(p, 1, WEIR_NOWAIT));
    CHECK(is_readable(fd, 1000));
    CHECK_OK(weir_channel_close(p));
    CHECK_OK(weir_channel_close(c));
    CHECK(support_entries(getenv("WEIR_SHM_DIR"), true) == 0);
    gate_close(gate);
}

Test(channel_descriptor, one_consumer_that_is_told_of_a_death_does_not_take_anothers_wake)
{
    support_shm_dir();
    weir_channel_options options = { .kind = WEIR_BROADCAST_GATED, .capacity = 4096, .wait = WEIR_WAIT_SLEEP };
    weir_channel *p, *polls, *sleeps;
    CHECK_OK(weir_channel_open(&p, NAME, WEIR_PRODUCER, &options));
    CHECK_OK(weir_channel_open(&polls, NAME, WEIR_CONSUMER, &options));
    CHECK_OK(weir_channel_open(&sleeps, NAME, WEIR_CONSUMER, &options));
    CHECK_STATUS(receive_nothing(sleeps, WEIR_MILLISECONDS(1)), WEIR_TIMEOUT); /* it is watched now */
    CHECK(channel_cold(sleeps)->watched);
    int fd = descriptor_of(polls);
    CHECK(falls_silent(polls, fd));
    channel_cold(sleeps)->watch.told(sleeps); /* as the watch does: it clears the word that both wait on */
    CHECK_OK(send_id(p, 1, WEIR_NOWAIT));
    CHECK(is_readable(fd, 1000));
    CHECK_OK(weir_channel_close(sleeps));
    CHECK_OK(weir_channel_close(polls));
    CHECK_OK(weir_channel_close(p));
    CHECK(support_entries(getenv("WEIR_SHM_DIR"), true) == 0);
}

Test(channel_descriptor, a_look_for_peers_leaves_it_readable)
{
    support_shm_dir();
    weir_channel *c = open_as(NAME, WEIR_CONSUMER, 0), *p = open_as(NAME, WEIR_PRODUCER, 4096);
    int fd = descriptor_of(c);
    CHECK(falls_silent(c, fd));
    CHECK_OK(send_id(p, 1, WEIR_NOWAIT));
    CHECK_OK(weir_channel_close(p));
    CHECK(is_readable(fd, 1000));
    for (int i = 0; i < 20; i++) { /* also when nobody else comes or goes any more */
        CHECK_STATUS(weir_channel_wait_peer(c, WEIR_NOWAIT), WEIR_EMPTY);
        CHECK_STATUS(weir_channel_wait_gone(c, WEIR_CONSUMER, 0, 1, WEIR_NOWAIT), WEIR_EMPTY);
        CHECK(is_readable(fd, 0));
        (void)usleep(3000);
    }
    receive_id(c, 1);
    CHECK_OK(weir_channel_close(c));
    CHECK(support_entries(getenv("WEIR_SHM_DIR"), true) == 0);
}

Test(channel_descriptor, a_cancel_makes_it_readable_and_what_is_wrong_is_said)
{
    support_shm_dir();
    weir_channel *c = open_as(NAME, WEIR_CONSUMER, 4096);
    CHECK_STATUS(weir_channel_descriptor(c, NULL), WEIR_E_INVALID);
    int fd = descriptor_of(c);
    CHECK(falls_silent(c, fd));
    CHECK_OK(weir_channel_cancel(c));
    CHECK(is_readable(fd, 0));
    CHECK_STATUS(receive_nothing(c, SOON), WEIR_CANCELLED);
    pid_t child = child_fork();
    if (child == 0) {
        CHECK_STATUS(weir_channel_descriptor(c, &fd), WEIR_E_FORKED);
        CHECK_OK(weir_channel_close(c));
        _exit(0);
    }
    CHECK(support_wait(child) == 0);
    CHECK_OK(weir_channel_close(c));
    CHECK(support_entries(getenv("WEIR_SHM_DIR"), true) == 0);
}

/* ---- what a sender keeps of them ---- */

static int open_files(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir != NULL);
    while (readdir(dir) != NULL)
        count++;
    CHECK(closedir(dir) == 0);
    return count;
}

/* Without those: the watch's thread has a FIFO open for a moment now and then. */
static int settled_files(void)
{
    int least = open_files();
    for (int looks = 0; looks < 20; looks++) {
        CHECK(nanosleep(&(struct timespec){ .tv_nsec = 500000 }, NULL) == 0);
        int now = open_files();
        least = now < least ? now : least;
    }
    return least;
}

static void wait_for_files(int files)
{
    for (int64_t deadline = help_now_ns() + HELP_DEADLINE; open_files() != files;)
        CHECK(help_now_ns() < deadline);
}

/* Sends to consumers that wait in poll; all hear of it. */
static void wake_all(weir_channel *p, weir_channel *const *c, const int *fd, int count)
{
    for (int i = 0; i < count; i++)
        CHECK(take_all(c[i]) == 0);
    CHECK_OK(send_id(p, 1, WEIR_NOWAIT));
    for (int i = 0; i < count; i++)
        CHECK(is_readable(fd[i], 1000) && take_all(c[i]) == 1);
}

/* The same until that many files are open, and no more stay open: news of a close may have woken one before the sender,
 * and the watch's thread, who brings it, has a FIFO open for a moment. */
static void wake_until(int files, weir_channel *p, weir_channel *const *c, const int *fd, int count)
{
    int64_t deadline = help_now_ns() + HELP_DEADLINE;
    int now;
    do {
        wake_all(p, c, fd, count);
        while ((now = open_files()) > files)
            CHECK(help_now_ns() < deadline);
        CHECK(help_now_ns() < deadline);
    } while (now != files);
}

Test(channel_descriptor, is_kept_by_who_has_written_to_it_until_its_holder_has_left)
{
    support_shm_dir();
    weir_channel *p = open_as(NAME, WEIR_PRODUCER, 4096);
    for (int holder = 0; holder < 3; holder++) {
        weir_channel *c = open_as(NAME, WEIR_CONSUMER, 0);
        int fd = descriptor_of(c), before = settled_files() - (holder != 0); /* the last one's */
        for (int wakes = 0; wakes < 5; wakes++)
            wake_until(before + 1, p, &c, &fd, 1);
        CHECK_OK(weir_channel_close(c));
        CHECK_STATUS(weir_channel_drain(p, HELP_DEADLINE), WEIR_OK);
    }
    int before = settled_files();
    pid_t child = child_fork();
    if (child == 0) {
        int inherited = open_files();
        CHECK_OK(weir_channel_close(p));
        CHECK(open_files() == inherited - 1); /* the section's was closed by the fork */
        _exit(0);
    }
    CHECK(support_wait(child) == 0);
    CHECK_OK(weir_channel_close(p));
    wait_for_files(before - 2);
    CHECK(support_entries(getenv("WEIR_SHM_DIR"), true) == 0);
}

#define HALF 70 /* of more than a process keeps */

Test(channel_descriptor, beyond_128_in_a_process_they_are_opened_anew_at_each_wake)
{
    support_shm_dir();
    weir_channel_options options = { .kind = WEIR_BROADCAST_GATED, .capacity = 4096, .consumers = HALF };
    weir_channel *p[2], *c[2][HALF];
    int fd[2][HALF];
    for (int k = 0; k < 2; k++) {
        const char *name = k != 0 ? "other" : NAME;
        CHECK_OK(weir_channel_open(&p[k], name, WEIR_PRODUCER, &options));
        for (int i = 0; i < HALF; i++) {
            CHECK_OK(weir_channel_open(&c[k][i], name, WEIR_CONSUMER, &options));
            fd[k][i] = descriptor_of(c[k][i]);
        }
    }
    int before = settled_files();
    for (int wakes = 0; wakes < 3; wakes++)
        for (int k = 0; k < 2; k++)
            wake_until(before + (wakes == 0 && k == 0 ? HALF : 128), p[k], c[k], fd[k], HALF);
    CHECK_OK(weir_channel_close(p[0])); /* what it kept others may keep now */
    for (int wakes = 0; wakes < 2; wakes++)
        wake_until(before - 1 + HALF, p[1], c[1], fd[1], HALF);
    CHECK_OK(weir_channel_close(p[1]));
    wait_for_files(before - 2);
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < HALF; i++)
            CHECK_OK(weir_channel_close(c[k][i]));
    CHECK(support_entries(getenv("WEIR_SHM_DIR"), true) == 0);
}
