/* A participant in a pid namespace of its own, seen from outside it: its number means nothing out here, and whether it
 * lives is right all the same. */
#include "../ipc/channel_help.h"

#include <sched.h>
#include <sys/stat.h>
#include <weir/ipc/observer.h>

#define NAME "Global/across"

static weir_member producer(weir_observer *o)
{
    weir_member member[2];
    uint32_t count = 0;
    CHECK_OK(weir_observer_members(o, member, 2, &count));
    CHECK(count >= 1 && member[0].role == WEIR_PRODUCER && member[0].known);
    return member[0];
}

static uint64_t own_space(void)
{
    struct stat st;
    CHECK(stat("/proc/self/ns/pid", &st) == 0);
    return st.st_ino;
}

/* Process 1 of the inner namespace. */
static void inside(struct gate there)
{
    weir_channel *p = open_as(NAME, WEIR_PRODUCER, 4096);
    CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getpid() == 1);
    gate_open(there);
    for (;;)
        (void)pause();
    (void)p;
}

int main(void)
{
    (void)support_shm_dir();
    struct gate there = gate_make(), number = gate_make();
    pid_t init = -1, helper = child_fork();
    if (helper == 0) {
        if (unshare(CLONE_NEWPID) == 0)
            init = fork(); /* its children are in there, it is not */
        if (init == 0)
            inside(there);
        CHECK(write(number.out, &init, sizeof init) == sizeof init);
        _exit(init > 0 && support_wait(init) == -SIGKILL ? 0 : 1);
    }
    CHECK(read(number.in, &init, sizeof init) == sizeof init);
    if (init < 0) {
        CHECK(support_wait(helper) == 1);
        support_skip("a pid namespace of one's own is not permitted here");
    }
    gate_wait(there);
    weir_observer *o;
    CHECK_OK(weir_observer_open(&o, NAME, NULL));
    weir_member seen = producer(o);
    CHECK(seen.presence == WEIR_ALIVE);
    CHECK(seen.process == 1); /* somebody else's number out here */
    CHECK(seen.pid_space != own_space() || seen.pid_space == 0);
    CHECK(kill(init, SIGSTOP) == 0);
    CHECK(producer(o).presence == WEIR_ALIVE);
    weir_channel *c = open_as(NAME, WEIR_CONSUMER, 0);
    CHECK(kill(init, SIGKILL) == 0 && support_wait(helper) == 0);
    seen = producer(o);
    CHECK(seen.presence == WEIR_DEAD && seen.process == 1 && seen.deaths == 1);
    CHECK_OK(weir_channel_close(c));
    CHECK_OK(weir_observer_close(o));
    return 0;
}
