/* Two processes of different pid namespaces share a section: each has a number that means nothing to the other, and
 * liveness is right all the same. */
#include "../naming/sections.h"

#include <sched.h>

#define NAME "Global/across"

static weir_presence presence(weir_section *section, uint32_t slot)
{
    weir_participant seen;
    CHECK_OK(weir_participant_look(section, slot, &seen));
    return seen.presence;
}

static void join(weir_section *section, uint32_t slot)
{
    weir_participant before;
    CHECK_OK(weir_participant_claim(section, slot, 1, &before));
    CHECK_OK(weir_participant_join(section, &before));
}

/* Steps between the namespaces: a byte each way. */
struct wires {
    int in[2], out[2];
};

static void say(int fd)
{
    char byte = 0;
    CHECK(write(fd, &byte, 1) == 1);
}

static void hear(int fd)
{
    char byte;
    CHECK(read(fd, &byte, 1) == 1);
}

/* Process 1 of the inner namespace: has a child of its own that is killed in there. */
static void inside(const struct wires *w)
{
    weir_section *section;
    end_with_parent();
    CHECK(getpid() == 1);
    CHECK_OK(weir_section_open(&section, NAME, NULL));
    CHECK(presence(section, 0) == WEIR_ALIVE); /* who is out there */
    join(section, 1);
    say(w->out[1]);
    hear(w->in[0]); /* seen */

    section_job job = { .name = NAME, .open = true };
    holder h = holder_start(section_job_begin, NULL, &job);
    CHECK(kill(h.pid, SIGKILL) == 0 && support_wait(h.pid) == -SIGKILL);
    (void)close(h.go); /* not before: it would end by itself */

    pid_t child = fork();
    if (child == 0) { /* process 3 or so in here, another number out there */
        weir_section *own;
        CHECK_OK(weir_section_close(section));
        CHECK_OK(weir_section_open(&own, NAME, NULL));
        join(own, 2);
        say(w->out[1]);
        for (;;)
            (void)pause();
    }
    hear(w->in[0]); /* seen alive */
    CHECK(presence(section, 2) == WEIR_ALIVE);
    CHECK(kill(child, SIGKILL) == 0 && support_wait(child) == -SIGKILL);
    CHECK(presence(section, 2) == WEIR_DEAD);
    say(w->out[1]);
    hear(w->in[0]); /* seen dead; and the outer one left */
    CHECK(presence(section, 0) == WEIR_LEFT);
    say(w->out[1]);
    for (;;)
        (void)pause();
}

/* Makes the namespace and its process 1, says that one's number out here, and waits for its end. */
static void beside(const struct wires *w, int number)
{
    pid_t init = -1;
    end_with_parent();
    /* From here on its children are in the new namespace; it is not. */
    if (unshare(CLONE_NEWPID) == 0)
        init = fork();
    if (init == 0)
        inside(w);
    CHECK(write(number, &init, sizeof init) == sizeof init);
    _exit(init > 0 && support_wait(init) == -SIGKILL ? 0 : 1);
}

int main(void)
{
    const char *dir = support_shm_dir();
    struct wires w;
    int number[2];
    pid_t init;
    CHECK(pipe2(w.in, O_CLOEXEC) == 0 && pipe2(w.out, O_CLOEXEC) == 0 && pipe2(number, O_CLOEXEC) == 0);
    weir_section *section, *second;
    weir_section_options options = { .slots = 4 };
    CHECK_OK(weir_section_create(&section, NAME, 4096, &options));
    CHECK_OK(weir_section_open(&second, NAME, NULL));
    join(section, 0);

    pid_t helper = fork();
    CHECK(helper >= 0);
    if (helper == 0)
        beside(&w, number[1]);
    (void)close(w.out[1]);
    (void)close(w.in[0]);
    CHECK(read(number[0], &init, sizeof init) == sizeof init);
    if (init < 0) {
        CHECK(support_wait(helper) == 1);
        CHECK_OK(weir_section_close(second));
        CHECK_OK(weir_section_close(section));
        support_skip("a pid namespace of one's own is not permitted here");
    }
    hear(w.out[0]);
    CHECK(presence(section, 1) == WEIR_ALIVE); /* process 1, a number that is somebody else's out here */
    CHECK_STATUS(weir_participant_claim(section, 1, 1, &(weir_participant){ 0 }), WEIR_E_IN_USE);
    say(w.in[1]);
    hear(w.out[0]);
    CHECK(presence(section, 2) == WEIR_ALIVE);
    say(w.in[1]);
    hear(w.out[0]);
    CHECK(presence(section, 2) == WEIR_DEAD);
    CHECK_OK(weir_participant_leave(section, 0));
    say(w.in[1]);
    hear(w.out[0]);
    CHECK(presence(section, 1) == WEIR_ALIVE);
    CHECK(kill(init, SIGKILL) == 0 && support_wait(helper) == 0);
    CHECK(presence(section, 1) == WEIR_DEAD);
    weir_participant before;
    CHECK_OK(weir_participant_claim(section, 1, 1, &before));
    CHECK(before.presence == WEIR_DEAD && before.generation == 1 && before.deaths == 1);
    CHECK_OK(weir_section_close(second));
    CHECK_OK(weir_section_close(section));
    CHECK(support_entries(dir, true) == 0);
    return 0;
}
