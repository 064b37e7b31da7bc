/* fork and exec in the middle of use: the child's copies are no handles, and hold nothing of the parent's. */
#include "../naming/sections.h"

#include <weir/naming/section_layout.h>

#include <pthread.h>

#define NAME "Local/forked"
#define THREADS 3

static const char *dir;
static const weir_section_options with_slots = { .slots = 8 };

static weir_section *create(void)
{
    weir_section *section;
    CHECK_OK(weir_section_create(&section, NAME, 4096, &with_slots));
    return section;
}

static weir_presence presence(weir_section *section, uint32_t slot)
{
    weir_participant seen;
    CHECK_OK(weir_participant_look(section, slot, &seen));
    return seen.presence;
}

static uint32_t join(weir_section *section)
{
    weir_participant before;
    CHECK_OK(weir_participant_claim(section, 0, 8, &before));
    CHECK_OK(weir_participant_join(section, &before));
    return before.slot;
}

/* How many descriptors of files under dir this process has. */
static unsigned section_fds(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 1024; fd++) {
        char link[64], target[512] = "";
        (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        if (readlink(link, target, sizeof target - 1) > 0)
            count += strstr(target, dir) != NULL;
    }
    return count;
}

/* ---- a child's copy ---- */

static void child_of_a_user(weir_section *section, weir_view *view)
{
    weir_participant seen;
    weir_view mine = { .base = NULL };
    CHECK(section_fds() == 0);
    CHECK(mappings_of(dir).all == 0);
    CHECK(weir_section_forked(section));
    CHECK(weir_section_size(section) == 0);
    CHECK(strcmp(weir_section_name(section), NAME) == 0);
    CHECK_STATUS(weir_section_extend(section, 1 << 20), WEIR_E_FORKED);
    CHECK_STATUS(weir_view_map(&mine, section, 0, 0, WEIR_READ_ONLY), WEIR_E_FORKED);
    CHECK_STATUS(weir_participant_claim(section, 0, 1, &seen), WEIR_E_FORKED);
    CHECK_STATUS(weir_participant_look(section, 0, &seen), WEIR_E_FORKED);
    CHECK_STATUS(weir_participant_leave(section, 0), WEIR_E_FORKED);
    CHECK(detail_has(NAME) && detail_has("fork"));
    CHECK(mine.base == NULL);
    /* It may come to the section anew, before and after it gives the copy up. */
    weir_section *own;
    CHECK_OK(weir_section_open(&own, NAME, NULL));
    CHECK(!weir_section_forked(own));
    CHECK(stamp_of(own) == 5);
    CHECK(presence(own, 0) == WEIR_ALIVE);
    CHECK_OK(weir_view_unmap(view));
    CHECK_OK(weir_section_close(section));
    CHECK(join(own) == 1);
    /* A child of the child has copies of both. */
    pid_t grandchild = fork();
    if (grandchild == 0) {
        CHECK(section_fds() == 0 && weir_section_forked(own));
        CHECK_OK(weir_section_close(own));
        _exit(0);
    }
    CHECK(support_wait(grandchild) == 0);
    CHECK_OK(weir_section_close(own));
    CHECK_OK(weir_section_open(&own, NAME, NULL));
    CHECK(presence(own, 1) == WEIR_LEFT);
    CHECK_OK(weir_section_close(own));
    /* Not the last: the parent is. */
    CHECK(exists(section_path(dir, NAME).text));
    _exit(0);
}

static void a_childs_copy_is_no_handle(void)
{
    section_job job = { .name = NAME, .size = 4096, .stamp = 5, .options = with_slots };
    section_job_begin(&job);
    weir_view view;
    CHECK_OK(weir_view_map(&view, job.section, 0, 0, WEIR_READ_WRITE));
    CHECK(join(job.section) == 0);
    unsigned fds = section_fds();
    pid_t child = fork();
    if (child == 0)
        child_of_a_user(job.section, &view);
    CHECK(support_wait(child) == 0);
    CHECK(section_fds() == fds && !weir_section_forked(job.section));
    CHECK(presence(job.section, 0) == WEIR_ALIVE && presence(job.section, 1) == WEIR_LEFT);
    CHECK(*(uint64_t *)view.base == 5);
    CHECK_OK(weir_section_extend(job.section, 8192));
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(job.section));
    CHECK(support_entries(dir, true) == 0);
}

/* A child that only ends takes nothing with it. */
static void a_child_that_exits_leaves_the_parents_alone(void)
{
    weir_section *section = create();
    CHECK(join(section) == 0);
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    CHECK(support_wait(child) == 0);
    weir_section *other;
    CHECK_OK(weir_section_open(&other, NAME, NULL));
    CHECK(presence(other, 0) == WEIR_ALIVE);
    CHECK_OK(weir_section_close(other));
    CHECK_OK(weir_section_close(section));
    CHECK(support_entries(dir, true) == 0);
}

/* ---- a parent that dies before its child ---- */

struct family {
    int alive[2]; /* its write end is open as long as the grandchild lives */
    int go[2];    /* closed: the grandchild ends */
    int ready[2];
};

/* Joins, maps, forks a child that stays, and waits. */
static void parent_with_child(struct family *f)
{
    weir_section *section, *observer;
    weir_view view;
    char byte = 0;
    end_with_parent();
    (void)close(f->go[1]);
    CHECK_OK(weir_section_open_or_create(&section, NAME, 4096, &with_slots, NULL));
    CHECK_OK(weir_section_open(&observer, NAME, &(weir_section_options){ .access = WEIR_READ_ONLY }));
    CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE));
    CHECK(join(section) == 0);
    pid_t child = fork();
    if (child == 0) {
        CHECK(write(f->ready[1], &byte, 1) == 1);
        (void)read(f->go[0], &byte, 1);
        _exit(0);
    }
    for (;;)
        (void)pause();
}

static void a_killed_parents_slot_and_section_are_dead_at_once(bool alone)
{
    struct family f;
    char byte;
    weir_section *section = alone ? NULL : create();
    CHECK(pipe2(f.alive, O_CLOEXEC) == 0 && pipe2(f.go, O_CLOEXEC) == 0 && pipe2(f.ready, O_CLOEXEC) == 0);
    pid_t parent = fork();
    if (parent == 0)
        parent_with_child(&f);
    (void)close(f.alive[1]);
    CHECK(read(f.ready[0], &byte, 1) == 1);
    if (section != NULL)
        CHECK(presence(section, 0) == WEIR_ALIVE);
    CHECK(kill(parent, SIGKILL) == 0);
    CHECK(support_wait(parent) == -SIGKILL);
    /* The child lives: the pipe's other end is open. */
    CHECK(fcntl(f.alive[0], F_SETFL, O_NONBLOCK) == 0);
    CHECK(read(f.alive[0], &byte, 1) == -1 && errno == EAGAIN);
    if (section != NULL) {
        CHECK(presence(section, 0) == WEIR_DEAD);
        CHECK(join(section) == 0);
        CHECK_OK(weir_section_close(section));
    } else {
        weir_section *stale;
        CHECK_STATUS(weir_section_open(&stale, NAME, NULL), WEIR_E_NOT_FOUND);
    }
    CHECK(support_entries(dir, true) == 0);
    (void)close(f.go[0]);
    (void)close(f.go[1]);
    (void)close(f.ready[0]);
    (void)close(f.ready[1]);
    CHECK(fcntl(f.alive[0], F_SETFL, 0) == 0);
    CHECK(read(f.alive[0], &byte, 1) == 0); /* the child has gone as well */
    (void)close(f.alive[0]);
}

/* ---- threads that open and close while another forks ---- */

static struct {
    _Atomic bool stop;
    _Atomic uint64_t rounds[THREADS];
} busy;

static void *open_and_close(void *arg)
{
    _Atomic uint64_t *rounds = arg;
    char name[32];
    (void)snprintf(name, sizeof name, "Local/thread-%d", (int)(rounds - busy.rounds));
    while (!busy.stop) {
        weir_section *section, *second;
        weir_view view;
        CHECK_OK(weir_section_create(&section, name, 4096, &with_slots));
        CHECK_OK(weir_section_open(&second, name, NULL));
        CHECK_OK(weir_view_map(&view, second, 0, 0, WEIR_READ_WRITE));
        ++*(uint64_t *)view.base;
        (void)join(second);
        CHECK_OK(weir_view_unmap(&view));
        CHECK_OK(weir_section_close(section));
        CHECK_OK(weir_section_close(second));
        ++*rounds;
    }
    return NULL;
}

static bool all_are_busy(void)
{
    for (int i = 0; i < THREADS; i++)
        if (busy.rounds[i] == 0)
            return false;
    return true;
}

static void threads_use_while_another_forks(void)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, open_and_close, &busy.rounds[i]) == 0);
    uint64_t forks = support_count(500);
    for (uint64_t i = 0; i < forks || !all_are_busy(); i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) { /* nothing of theirs is here, whatever they were doing */
            unsigned fds = section_fds(), maps = mappings_of(dir).all;
            if (fds != 0 || maps != 0) {
                (void)fprintf(stderr, "fork %d: %u descriptors, %u mappings came with it\n", (int)i, fds, maps);
                _exit(1);
            }
            weir_section *section;
            CHECK_OK(weir_section_open_or_create(&section, "Local/child", 4096, NULL, NULL));
            CHECK_OK(weir_section_close(section));
            _exit(0);
        }
        CHECK(support_wait(child) == 0);
    }
    busy.stop = true;
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(support_entries(dir, true) == 0);
}

/* ---- exec ---- */

/* Uses the section and becomes another program, without close. */
static pid_t start_exec(weir_section *section, int out)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        weir_section *own;
        char number[16];
        end_with_parent(); /* after exec too */
        CHECK_OK(weir_section_close(section));
        CHECK_OK(weir_section_open(&own, NAME, NULL));
        CHECK(join(own) == 1);
        CHECK(fcntl(out, F_SETFD, 0) == 0);
        (void)snprintf(number, sizeof number, "%d", out);
        (void)execl("/proc/self/exe", "section_fork_exec", "after-exec", dir, number, (char *)NULL);
        _exit(3);
    }
    return child;
}

static int after_exec(const char *where, int out)
{
    char byte = 0;
    dir = where;
    CHECK(section_fds() == 0 && mappings_of(dir).all == 0);
    CHECK(write(out, &byte, 1) == 1);
    /* The new program is a user like any other. */
    weir_section *section;
    CHECK_OK(weir_section_open(&section, NAME, NULL));
    CHECK(presence(section, 1) == WEIR_DEAD);
    CHECK(join(section) == 1);
    CHECK_OK(weir_section_close(section));
    CHECK(write(out, &byte, 1) == 1);
    for (;;)
        (void)pause();
}

static void exec_without_close_is_a_death(void)
{
    weir_section *section = create();
    int out[2];
    char byte;
    CHECK(join(section) == 0);
    CHECK(pipe2(out, O_CLOEXEC) == 0);
    pid_t child = start_exec(section, out[1]);
    (void)close(out[1]);
    CHECK(read(out[0], &byte, 1) == 1); /* it is the new program */
    CHECK(read(out[0], &byte, 1) == 1); /* and has seen its predecessor dead, come and gone */
    weir_participant seen;
    CHECK_OK(weir_participant_look(section, 1, &seen));
    CHECK(seen.presence == WEIR_LEFT && seen.generation == 2 && seen.deaths == 1);
    CHECK(presence(section, 0) == WEIR_ALIVE);
    CHECK_OK(weir_section_close(section)); /* the last, though that process lives */
    CHECK(support_entries(dir, true) == 0);
    CHECK(kill(child, SIGKILL) == 0);
    CHECK(support_wait(child) == -SIGKILL);
    (void)close(out[0]);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "after-exec") == 0)
        return after_exec(argv[2], atoi(argv[3]));
    dir = support_shm_dir();
    a_childs_copy_is_no_handle();
    a_child_that_exits_leaves_the_parents_alone();
    a_killed_parents_slot_and_section_are_dead_at_once(false);
    a_killed_parents_slot_and_section_are_dead_at_once(true);
    exec_without_close_is_a_death();
    threads_use_while_another_forks();
    return 0;
}
