/* Two processes in different pid namespaces talk through channels and a mailbox: each hears of the other's death within
 * 50 ms, and lists who is alive and who is dead, though the other's number means nothing to it.  In a pid namespace of
 * root's, and in one within a user namespace, which others may have too. */
#include "../ipc/mailbox_help.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <weir/ipc/observer.h>

#define QUESTIONS "Local/questions" /* from outside */
#define ANSWERS "Local/answers"
#define BOX "Local/box" /* its owner is outside */
#define MESSAGES 200
#define CALLED UINT64_C(77)
#define BOUND_NS WEIR_MILLISECONDS(50)
#define ROUNDS 5 /* of which the fastest counts: the machine has others to run */

static void check_listed(const char *name, weir_presence producer, weir_presence consumer)
{
    weir_observer *o;
    weir_member member[2];
    uint32_t count = 0;
    CHECK_OK(weir_observer_open(&o, name, NULL));
    CHECK_OK(weir_observer_members(o, member, 2, &count));
    CHECK(count == 2 && member[0].role == WEIR_PRODUCER && member[1].role == WEIR_CONSUMER);
    CHECK(member[0].presence == producer && member[1].presence == consumer);
    CHECK_OK(weir_observer_close(o));
}

/* ---- within: process 1 of its namespace ---- */

static void call_out(void)
{
    uint64_t answer = 0;
    weir_mailbox *back = own(NULL, 0);
    weir_sender *sender = sends_to(BOX, back);
    CHECK_OK(call_id(sender, CALLED, &answer, HELP_DEADLINE));
    CHECK(answer == CALLED + 1);
    CHECK_OK(weir_sender_close(sender));
    CHECK_OK(weir_mailbox_close(back));
}

static void within(struct gate told)
{
    CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getpid() == 1);
    weir_channel *p = open_as(ANSWERS, WEIR_PRODUCER, 4096), *c = open_as(QUESTIONS, WEIR_CONSUMER, 4096);
    for (uint64_t id = 0; id < MESSAGES; id++) {
        receive_id(c, id);
        CHECK_OK(send_id(p, id, HELP_DEADLINE));
    }
    check_listed(QUESTIONS, WEIR_ALIVE, WEIR_ALIVE);
    call_out();
    gate_open(told);
    CHECK_STATUS(receive_nothing(c, HELP_DEADLINE), WEIR_DIED);
    int64_t now = help_now_ns();
    check_listed(QUESTIONS, WEIR_DEAD, WEIR_ALIVE);
    CHECK(write(told.out, &now, sizeof now) == sizeof now);
    for (;;)
        (void)pause();
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0);
}

/* Its children are within, it is not.  False: it is not permitted. */
static bool enter_namespace(int flags)
{
    char map[64];
    (void)snprintf(map, sizeof map, "%u %u 1", (unsigned)geteuid(), (unsigned)geteuid());
    if (unshare(flags) != 0)
        return false;
    if ((flags & CLONE_NEWUSER) != 0)
        write_file("/proc/self/uid_map", map);
    return true;
}

/* The helper that waits for it; *init: its number out here, or -1. */
static pid_t start_within(int flags, struct gate told, pid_t *init)
{
    struct gate number = gate_make();
    pid_t helper = child_fork();
    if (helper == 0) {
        pid_t inner = enter_namespace(flags) ? fork() : -1;
        if (inner == 0)
            within(told);
        CHECK(write(number.out, &inner, sizeof inner) == sizeof inner);
        _exit(inner > 0 && support_wait(inner) == -SIGKILL ? 0 : SUPPORT_SKIP);
    }
    CHECK(read(number.in, init, sizeof *init) == sizeof *init);
    gate_close(number);
    return helper;
}

/* ---- outside ---- */

static void ask(weir_channel *p)
{
    for (uint64_t id = 0; id < MESSAGES; id++)
        CHECK_OK(send_id(p, id, HELP_DEADLINE));
}

struct killing {
    pid_t init;
    int64_t when_ns;
};

static void *kill_later(void *arg)
{
    struct killing *killing = arg;
    (void)usleep(100000); /* it sleeps by then */
    killing->when_ns = help_now_ns();
    CHECK(kill(killing->init, SIGKILL) == 0);
    return NULL;
}

/* The longer of the two times from a kill to the news of it, over there and here; -1: not permitted. */
static int64_t deaths_told_after(int flags)
{
    struct gate told = gate_make();
    struct killing killing;
    pthread_t thread;
    weir_mailbox *box = own(BOX, 0);
    weir_channel *c = open_as(ANSWERS, WEIR_CONSUMER, 4096);
    pid_t helper = start_within(flags, told, &killing.init);
    int64_t over_there = -1, here = -1;
    if (killing.init > 0) {
        pid_t asker = child_stands(QUESTIONS, WEIR_PRODUCER, (weir_channel_options){ .capacity = 0 }, ask);
        for (uint64_t id = 0; id < MESSAGES; id++)
            receive_id(c, id);
        weir_mail mail = get_id(box, CALLED);
        CHECK_OK(answer_id(box, &mail, CALLED + 1));
        gate_wait(told);
        (void)usleep(100000);
        int64_t killed = help_now_ns();
        child_kill(asker);
        CHECK(read(told.in, &over_there, sizeof over_there) == sizeof over_there);
        over_there -= killed;
        check_listed(ANSWERS, WEIR_ALIVE, WEIR_ALIVE);
        CHECK(pthread_create(&thread, NULL, kill_later, &killing) == 0);
        CHECK_STATUS(receive_nothing(c, HELP_DEADLINE), WEIR_DIED);
        here = help_now_ns();
        CHECK(pthread_join(thread, NULL) == 0);
        here -= killing.when_ns;
        check_listed(ANSWERS, WEIR_DEAD, WEIR_ALIVE);
    }
    CHECK(support_wait(helper) == (killing.init > 0 ? 0 : SUPPORT_SKIP));
    gate_close(told);
    CHECK_OK(weir_channel_close(c));
    CHECK_OK(weir_mailbox_close(box));
    return over_there > here ? over_there : here;
}

static bool works_in(const char *what, int flags)
{
    int64_t least = INT64_MAX;
    for (int round = 0; round < ROUNDS && least > BOUND_NS; round++) {
        int64_t took = deaths_told_after(flags);
        if (took < 0) {
            (void)printf("SKIPPED: %s is not permitted here\n", what);
            return false;
        }
        least = took < least ? took : least;
    }
    (void)printf("%s: both deaths heard of after at most %lld us\n", what, (long long)least / 1000);
    CHECK(least <= BOUND_NS);
    return true;
}

int main(void)
{
    const char *dir = support_shm_dir();
    bool plain = works_in("a pid namespace", CLONE_NEWPID);
    bool user = works_in("a pid namespace in a user namespace", CLONE_NEWUSER | CLONE_NEWPID);
    if (!plain && !user)
        support_skip("no pid namespace of one's own is permitted here");
    CHECK_OK(weir_mailbox_close(own(NULL, 0))); /* takes away what the killed left */
    CHECK(support_entries(dir, true) == 0);
    return 0;
}
