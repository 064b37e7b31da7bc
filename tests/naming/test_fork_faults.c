/* Another thread forks between any two system calls: the child inherits neither memory of a section nor a descriptor
 * of one, with which its parent's locks would outlive the parent. */
#include "faults_kinds.h"

#include <pthread.h>

static struct {
    const struct scene *scene;
    pthread_t thread;
    _Atomic bool done;
    bool started;
    pid_t child;
} forker;

/* In the child: what it has of sections, but for a handle that was exported. */
static int inherited(const struct scene *s)
{
    int count = (int)(mappings_of(s->dir).all + mappings_of("memfd:fault").all);
    char path[64], link[300];
    for (int fd = 0; fd < 256; fd++) {
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t len = readlink(path, link, sizeof link - 1);
        link[len > 0 ? len : 0] = 0;
        if (fd != s->given && (strstr(link, s->dir) != NULL || strstr(link, "memfd:fault") != NULL)) {
            (void)fprintf(stderr, "inherited: %d is %s\n", fd, link);
            count++;
        }
    }
    return count;
}

static void *fork_once(void *arg)
{
    (void)arg;
    pid_t child = fork();
    if (child == 0)
        _exit(inherited(forker.scene));
    forker.child = child;
    forker.done = true;
    return NULL;
}

/* Has another thread fork, and waits for it a little: it cannot while this one holds what fork waits for. */
static void fork_here(void)
{
    forker.done = false;
    forker.started = true;
    CHECK(pthread_create(&forker.thread, NULL, fork_once, NULL) == 0);
    for (int i = 0; i < 20 && !forker.done; i++)
        (void)nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
}

static const struct operation forked[] = {
    { "create", NULL, NULL, do_create, WEIR_OK, 0, 0, NULL },
    { "create, mapped ahead", NULL, NULL, do_create_ahead, WEIR_OK, 0, 0, NULL },
    { "open, mapped ahead", have_other, NULL, do_open_ahead, WEIR_OK, 0, 0, NULL },
    { "create over a stale one", NULL, have_stale, do_create, WEIR_OK, 0, LOCAL_ONLY, NULL },
    { "create of a live one", have_other, NULL, do_create, WEIR_E_EXISTS, 0, LOCAL_ONLY, NULL },
    { "create, reserved, to persist", NULL, NULL, do_create_lasting_room, WEIR_OK, 0, LOCAL_ONLY, NULL },
    { "open", have_other, NULL, do_open, WEIR_OK, 0, 0, NULL },
    { "open of another kind", have_other, NULL, do_mismatch, WEIR_E_MISMATCH, 0, LOCAL_ONLY, NULL },
    { "open of an unused one", NULL, have_unused, do_open, WEIR_OK, 0, LOCAL_ONLY, NULL },
    { "observe", have_other, NULL, do_observe, WEIR_OK, 0, LOCAL_ONLY, NULL },
    { "close", have_other, have_second, do_close, WEIR_OK, 0, LOCAL_ONLY, NULL },
    { "remove", NULL, have_unused, do_remove, WEIR_OK, 0, LOCAL_ONLY, NULL },
    { "map", have_other, have_second, do_map, WEIR_OK, 0, LOCAL_ONLY, NULL },
    { "map reserved room", have_room_other, have_second, do_map, WEIR_OK, 0, LOCAL_ONLY, NULL },
    { "commit", have_room_other, have_view, do_commit, WEIR_OK, 0, LOCAL_ONLY, NULL },
    { "decommit", NULL, have_filled_room, do_decommit, WEIR_OK, 0, LOCAL_ONLY, NULL },
    { "extend", have_other, have_second, do_extend, WEIR_OK, 0, LOCAL_ONLY, NULL },
    { "create_unnamed", NULL, NULL, do_unnamed, WEIR_OK, 0, LOCAL_ONLY, NULL },
    { "create_unnamed, reserved", NULL, NULL, do_unnamed_room, WEIR_OK, 0, LOCAL_ONLY, NULL },
    { "attach", have_unnamed_other, NULL, do_attach, WEIR_OK, 0, LOCAL_ONLY, NULL },
    { "map of a file", have_file, have_open_file, do_map, WEIR_OK, 0, LOCAL_ONLY, NULL },
};

/* One operation, at whose n-th call another thread forks.  False when it had fewer. */
static bool run_fork(const char *dir, const char *name, const struct operation *o, long n)
{
    struct scene s;
    char text[256];
    (void)snprintf(text, sizeof text, "%s (%s), a fork before call %ld", o->text, name, n);
    scene_begin(&s, dir, name);
    if (o->stage != NULL)
        o->stage(&s);
    if (o->before != NULL)
        o->before(&s);
    struct scene seen = s;
    forker.scene = &seen;
    forker.started = false;
    arm_meeting(n, fork_here);
    weir_status status = o->act(&s);
    disarm();
    EXPECT(status == o->fine, "%s: gave %s (%s)", text, weir_status_name(status), weir_error_detail());
    if (forker.started) {
        CHECK(pthread_join(forker.thread, NULL) == 0);
        int end = support_wait(forker.child);
        EXPECT(end == 0, "%s: the child has %d of the section, and with it the parent's locks", text, end);
    }
    scene_end(&s);
    check_clean(dir, text);
    return forker.started;
}

/* Opening a file is left out: it takes no lock, and may take long. */
static void walk_forks(size_t from, size_t to)
{
    const char *dir = prepare();
    for (size_t i = 2 * from; i < 2 * to; i++) {
        if (!takes_scope(&forked[i / 2], i % 2))
            continue;
        long n = 1;
        while (run_fork(dir, scopes[i % 2], &forked[i / 2], n))
            n++;
        EXPECT(n > 1, "%s makes no calls", forked[i / 2].text);
    }
    check_no_complaints();
}

Test(fork_faults, a_fork_between_any_two_calls_of_making_or_opening_inherits_nothing) { walk_forks(0, 8); }
Test(fork_faults, a_fork_between_any_two_calls_of_the_rest_inherits_nothing)
{
    walk_forks(8, sizeof forked / sizeof forked[0]);
}
