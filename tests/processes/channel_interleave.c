/* A waiting call in single steps: behind any of its instructions, up to where it sleeps, the other end does what the
 * call waits for, and leaves.  The end never comes before the last message, and no sleep misses its wake. */
#include "ipc/endless_sleep.h"

#include <inttypes.h>
#include <sys/ptrace.h>

#define NAME "interleave"

enum scene { SCENE_POLL, SCENE_SLEEP, SCENE_ROOM, SCENES };

struct page {
    weir_atomic_u64 round;  /* how many the child has begun, */
    weir_atomic_u64 done;   /* and how many of their first calls have returned */
    weir_atomic_u64 sleeps; /* its sleeps, as endless_sleep.h counts */
};

static struct page *page;

static void returned(void)
{
    weir_store_rel(&page->done, weir_load_rlx(&page->done) + 1);
}

/* The stepped one.  Every round begins stopped. */
static void child_main(enum scene scene)
{
    weir_channel *channel;
    weir_channel_options options = { .capacity = 4096, .wait = WEIR_WAIT_SLEEP };
    weir_role role = scene == SCENE_ROOM ? WEIR_PRODUCER : WEIR_CONSUMER;
    weir_timeout timeout = scene == SCENE_POLL ? WEIR_NOWAIT : HELP_DEADLINE;
    uint64_t got;
    uint32_t len;
    weir_status status;
    struct third third;
    endless_sleeps = &page->sleeps;
    CHECK_OK(weir_channel_open(&channel, NAME, role, &options));
    third_open(&third, NAME);
    for (uint64_t round = 1;; round++) {
        if (scene == SCENE_ROOM)
            (void)send_until_full(channel, 0, &status);
        weir_store_rel(&page->round, round);
        (void)raise(SIGSTOP);
        if (scene == SCENE_ROOM) {
            status = send_id(channel, round, timeout);
            returned();
            CHECK_OK(status);
            CHECK(weir_load32_rlx(&third.layout->consumer.armed) == 0); /* who waited wakes, too */
            continue;
        }
        status = weir_receive(channel, &got, 8, &len, timeout);
        returned();
        while (status == WEIR_EMPTY)
            status = weir_receive(channel, &got, 8, &len, WEIR_NOWAIT);
        CHECK_OK(status); /* not CLOSED: the message was sent before */
        CHECK(got == round && len == 8);
        CHECK_STATUS(receive_nothing(channel, HELP_DEADLINE), WEIR_CLOSED);
    }
}

static void wait_for_stop(pid_t child, int signal)
{
    int state;
    CHECK(waitpid(child, &state, 0) == child);
    CHECK(WIFSTOPPED(state) && WSTOPSIG(state) == signal);
}

/* Does the kernel say that it sleeps? */
static bool is_blocked(pid_t child)
{
    char path[64], text[512];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)child);
    FILE *file = fopen(path, "re");
    CHECK(file != NULL);
    size_t len = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[len] = '\0';
    const char *state = strrchr(text, ')'); /* its name is before that, with anything in it */
    return state != NULL && state[1] == ' ' && state[2] == 'S';
}

/* One instruction of the child.  False where it is the one that it sleeps in: that goes on. */
static bool step(pid_t child)
{
    int64_t deadline = help_now_ns() + HELP_DEADLINE;
    int state, how = endless_is_asleep(&page->sleeps, 0) ? WNOHANG : 0;
    pid_t stopped;
    CHECK(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) == 0);
    while ((stopped = waitpid(child, &state, how)) == 0) {
        if (is_blocked(child))
            return false;
        CHECK(help_now_ns() < deadline);
        (void)usleep(20);
    }
    CHECK(stopped == child && WIFSTOPPED(state) && WSTOPSIG(state) == SIGTRAP);
    return true;
}

/* One round: the news come behind that many steps.  False where the call has returned, or slept, before. */
static bool try_round(enum scene scene, pid_t child, weir_channel **other, struct third *keeper, uint64_t round,
                      uint64_t steps)
{
    wait_for_stop(child, SIGSTOP);
    CHECK(weir_load_acq(&page->round) == round);
    if (scene != SCENE_ROOM)
        *other = open_as(NAME, WEIR_PRODUCER, 0);
    bool awake = true;
    for (; steps > 0 && awake && weir_load_acq(&page->done) < round; steps--)
        awake = step(child);
    bool in_time = awake && weir_load_acq(&page->done) < round;
    if (scene != SCENE_ROOM) {
        CHECK_OK(send_id(*other, round, WEIR_NOWAIT));
        CHECK_OK(weir_channel_close(*other));
    } else {
        uint64_t got;
        uint32_t len;
        while (weir_receive(*other, &got, 8, &len, WEIR_NOWAIT) == WEIR_OK)
            continue;
        weir_store32_rlx(&keeper->layout->consumer.armed, 1); /* as if it had gone to sleep then */
    }
    if (!awake)
        wait_for_stop(child, SIGTRAP); /* the step that it slept in */
    CHECK(ptrace(PTRACE_CONT, child, NULL, NULL) == 0);
    return in_time;
}

/* The news come behind every stride-th instruction, from the first of them on. */
static void play(enum scene scene, uint64_t first, uint64_t stride)
{
    page = share_pages(sizeof *page);
    weir_channel *other = open_as(NAME, WEIR_CONSUMER, 4096);
    struct third keeper;
    third_open(&keeper, NAME);
    if (scene != SCENE_ROOM)
        CHECK_OK(weir_channel_close(other));
    pid_t child = child_fork();
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
            _exit(SUPPORT_SKIP);
        (void)raise(SIGSTOP);
        child_main(scene);
    }
    int state;
    CHECK(waitpid(child, &state, 0) == child);
    if (WIFEXITED(state) && WEXITSTATUS(state) == SUPPORT_SKIP)
        support_skip("ptrace(2) is forbidden here");
    CHECK(WIFSTOPPED(state));
    CHECK(ptrace(PTRACE_CONT, child, NULL, NULL) == 0);
    uint64_t round = 1, steps = first;
    while (try_round(scene, child, &other, &keeper, round, steps)) {
        round++;
        steps += stride;
    }
    wait_for_stop(child, SIGSTOP); /* it comes through the last round, too */
    child_kill(child);
    (void)printf("scene %d: rounds=%" PRIu64 "\n", (int)scene, round);
    CHECK(round > 1 + 100 / stride);
    if (scene == SCENE_ROOM)
        CHECK_OK(weir_channel_close(other));
    third_close(&keeper);
}

int main(void)
{
    const char *dir = support_shm_dir();
    /* All of them in one run would take the square of their number: some, others from run to run. */
    uint64_t stride = support_count(100) < 100 ? 211 : 9, seed = support_seed();
    for (int scene = 0; scene < SCENES; scene++)
        play((enum scene)scene, support_random(&seed) % stride, stride);
    CHECK(support_entries(dir, true) == 0);
    return 0;
}
