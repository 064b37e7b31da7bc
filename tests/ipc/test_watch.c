/* The death watch in one process: what each call returns, each of its system calls failing, who is told of what,
 * forks. */
#include "ipc/watch_help.h"

#include <criterion/criterion.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <weir/naming/file.h>
#include <weir/naming/unnamed.h>

#define MS INT64_C(1000000)

static weir_section *create(const char *name)
{
    weir_section *section;
    CHECK_OK(weir_section_create(&section, name, 4096, &(weir_section_options){ .slots = 1 }));
    return section;
}

/* Each touch is told at once, or within the pace, and three times behind. */
static void check_told(watch_sleeper *s, const char *path)
{
    uint64_t before = watch_told(s);
    watch_touch(path);
    CHECK_SOON(watch_told(s) >= before + 4);
}

/* Nothing is under way any more. */
static void settle(void)
{
    (void)nanosleep(&(struct timespec){ .tv_nsec = 60 * MS }, NULL);
}

/* ---- who is told ---- */

Test(watch, tells_of_a_close_at_once_and_three_times_behind_it_and_then_is_quiet)
{
    const char *dir = support_shm_dir();
    weir_section *section = create("Global/watched");
    watch_sleeper s;
    watch_sleeper_init(&s);
    CHECK_KEEPS_ERRNO(weir_watch_add(&s.client, section), WEIR_OK);
    settle();
    cr_assert_eq(watch_told(&s), 0, "nobody has closed it");
    check_told(&s, section_path(dir, "Global/watched").text);
    settle();
    cr_assert_eq(watch_told(&s), 4);
    cr_assert_eq(weir_watch_seen(&s.client), 4);
    weir_watch_remove(&s.client);
    watch_touch(section_path(dir, "Global/watched").text);
    settle();
    cr_assert_eq(watch_told(&s), 4, "told after it was removed");
    CHECK_OK(weir_section_close(section));
}

Test(watch, tells_every_client_of_a_section_and_nobody_else)
{
    const char *dir = support_shm_dir();
    weir_section *section = create("Local/one"), *again, *other = create("Local/other");
    watch_sleeper s[4];
    CHECK_OK(weir_section_open(&again, "Local/one", NULL));
    for (int i = 0; i < 4; i++) {
        watch_sleeper_init(&s[i]);
        CHECK_OK(weir_watch_add(&s[i].client, i == 3 ? other : i == 2 ? again : section));
    }
    settle(); /* what the opening closed */
    uint64_t others = watch_told(&s[3]);
    path_text path = section_path(dir, "Local/one");
    for (int left = 3; left > 0; left--) { /* the first in the list, the last, the only one */
        uint64_t before[3] = { watch_told(&s[0]), watch_told(&s[1]), watch_told(&s[2]) };
        static const int order[] = { 1, 2, 0 };
        watch_touch(path.text);
        for (int i = 3 - left; i < 3; i++)
            CHECK_SOON(watch_told(&s[order[i]]) > before[order[i]]);
        settle();
        for (int i = 0; i < 3 - left; i++)
            cr_assert_eq(watch_told(&s[order[i]]), before[order[i]]);
        weir_watch_remove(&s[order[3 - left]].client);
    }
    cr_assert_eq(watch_told(&s[3]), others);
    check_told(&s[3], section_path(dir, "Local/other").text);
    CHECK_OK(weir_watch_add(&s[0].client, again)); /* and once more */
    check_told(&s[0], path.text);
    weir_watch_remove(&s[0].client);
    weir_watch_remove(&s[3].client);
    CHECK_OK(weir_section_close(again));
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_section_close(other));
}

Test(watch, watches_what_has_no_name_or_another_or_is_a_file)
{
    const char *dir = support_shm_dir();
    char path[300];
    weir_handle handle;
    weir_section *unnamed, *file, *renamed = create("Global/gone"), *another;
    watch_sleeper s[3];
    for (int i = 0; i < 3; i++)
        watch_sleeper_init(&s[i]);
    CHECK_OK(weir_section_create_unnamed(&unnamed, 4096, NULL));
    (void)snprintf(path, sizeof path, "%s/file", dir);
    CHECK_OK(weir_section_open_file(&file, path, 4096, &(weir_section_options){ .flags = WEIR_FILE_NEW }));
    CHECK_OK(weir_watch_add(&s[0].client, unnamed));
    CHECK_OK(weir_watch_add(&s[1].client, file));
    cr_assert_eq(unlink(section_path(dir, "Global/gone").text), 0);
    another = create("Global/gone");
    settle();
    CHECK_OK(weir_watch_add(&s[2].client, renamed)); /* by its descriptor, not by what its name means */
    CHECK_OK(weir_section_export(unnamed, WEIR_READ_WRITE, false, &handle));
    uint64_t before = watch_told(&s[0]);
    CHECK_OK(weir_handle_close(handle));
    CHECK_SOON(watch_told(&s[0]) > before);
    check_told(&s[1], path);
    watch_touch(section_path(dir, "Global/gone").text);
    settle();
    cr_assert_eq(watch_told(&s[2]), 0);
    for (int i = 0; i < 3; i++)
        weir_watch_remove(&s[i].client);
    CHECK_OK(weir_section_close(unnamed));
    CHECK_OK(weir_section_close(file));
    CHECK_OK(weir_section_close(renamed));
    CHECK_OK(weir_section_close(another));
    cr_assert_eq(unlink(path), 0);
}

/* Rounds one behind the other, while somebody closes and closes. */
Test(watch, rounds_of_clients_tell_once_in_a_millisecond)
{
    const char *dir = support_shm_dir();
    weir_section *section = create("Global/busy");
    path_text path = section_path(dir, "Global/busy");
    watch_sleeper s;
    int watch;
    watch_sleeper_init(&s);
    CHECK_OK(weir_watch_listen(&s.client, section));
    int64_t from = weir_os_now_ns();
    for (int i = 0; i < 2000; i++) {
        watch_touch(path.text);
        int64_t next = weir_watch_round(&watch);
        CHECK(next < 0 ? watch >= 0 : next >= MS);
    }
    int64_t took = weir_os_now_ns() - from;
    CHECK(watch_told(&s) != 0 && watch_told(&s) <= (uint64_t)(took / MS) + 1);
    CHECK(watch_threads() == 0);
    weir_watch_remove(&s.client);
    CHECK_OK(weir_section_close(section));
}

/* ---- failing calls ---- */

static struct {
    int init1, add_watch, thread, thread_times, atfork; /* errors; 0: none */
    weir_atomic_u32 read, poll, overflow;
} fault;
static weir_watch_calls real;

static int my_init1(int flags) { return fault.init1 != 0 ? (errno = fault.init1, -1) : real.inotify_init1(flags); }
static int my_add_watch(int fd, const char *path, uint32_t mask)
{
    return fault.add_watch != 0 ? (errno = fault.add_watch, -1) : real.inotify_add_watch(fd, path, mask);
}
static int my_thread(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *arg)
{
    if (fault.thread != 0 && fault.thread_times-- > 0)
        return fault.thread;
    return real.thread_create(thread, attributes, body, arg);
}
static int my_atfork(void (*before)(void), void (*parent)(void), void (*child)(void))
{
    return fault.atfork != 0 ? fault.atfork : real.atfork(before, parent, child);
}
static ssize_t my_read(int fd, void *buffer, size_t size)
{
    if (weir_load32_rlx(&fault.read) != 0)
        return errno = EIO, -1;
    if (weir_exchange32_rlx(&fault.overflow, 0) == 0)
        return real.read(fd, buffer, size);
    struct inotify_event event = { .wd = -1, .mask = IN_Q_OVERFLOW };
    while (real.read(fd, buffer, size) > 0)
        ; /* all of it lost */
    memcpy(buffer, &event, sizeof event);
    return (ssize_t)sizeof event;
}
static int my_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
    return weir_load32_rlx(&fault.poll) != 0 ? (errno = EINVAL, -1) : real.ppoll(fds, count, timeout, mask);
}

static void replace(void)
{
    real = weir_watch_linux;
    weir_watch_linux.inotify_init1 = my_init1;
    weir_watch_linux.inotify_add_watch = my_add_watch;
    weir_watch_linux.thread_create = my_thread;
    weir_watch_linux.atfork = my_atfork;
    weir_watch_linux.read = my_read;
    weir_watch_linux.ppoll = my_ppoll;
}

static void check_fails(weir_section *section, weir_status expected)
{
    watch_sleeper s;
    watch_sleeper_init(&s);
    CHECK_STATUS(weir_section_open(&(weir_section *){ NULL }, "not a name", NULL), WEIR_E_NAME);
    unsigned fds = open_fds();
    CHECK_KEEPS_ERRNO(weir_watch_add(&s.client, section), expected);
    cr_assert(!detail_has("not a name") && *weir_error_detail() != 0, "no text");
    cr_assert_eq(open_fds(), fds);
    weir_watch_remove(&s.client); /* of one that was not added: nothing */
    cr_assert(watch_threads() == 0);
}

Test(watch, a_process_that_cannot_have_it_gets_a_status_and_another_time_it_works)
{
    static const struct { int *call; int error; weir_status status; } rows[] = {
        { &fault.init1, EMFILE, WEIR_E_NO_MEMORY },   { &fault.init1, ENFILE, WEIR_E_NO_MEMORY },
        { &fault.init1, ENOMEM, WEIR_E_NO_MEMORY },   { &fault.init1, ENOSYS, WEIR_E_UNSUPPORTED },
        { &fault.init1, EPERM, WEIR_E_UNSUPPORTED },  { &fault.init1, EIO, WEIR_E_OS },
        { &fault.add_watch, ENOSPC, WEIR_E_NO_SPACE }, { &fault.add_watch, ENOMEM, WEIR_E_NO_MEMORY },
        { &fault.add_watch, ENOENT, WEIR_E_UNSUPPORTED }, { &fault.add_watch, ENOTDIR, WEIR_E_UNSUPPORTED },
        { &fault.add_watch, EACCES, WEIR_E_PERMISSION }, { &fault.add_watch, EIO, WEIR_E_OS },
        { &fault.thread, EAGAIN, WEIR_E_NO_MEMORY },  { &fault.thread, EPERM, WEIR_E_NO_MEMORY },
        { &fault.thread, EINVAL, WEIR_E_NO_MEMORY },
    };
    const char *dir = support_shm_dir();
    weir_section *section = create("Global/watched");
    watch_sleeper s;
    replace();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        fault.thread_times = 2;
        *rows[i].call = rows[i].error;
        check_fails(section, rows[i].status);
        *rows[i].call = 0;
    }
    fault.thread = EINVAL; /* a stack that is too small: then one of the usual size */
    fault.thread_times = 1;
    watch_sleeper_init(&s);
    CHECK_OK(weir_watch_add(&s.client, section));
    fault.thread = 0;
    check_told(&s, section_path(dir, "Global/watched").text);
    /* One more that fails leaves those that are there alone. */
    watch_sleeper more;
    weir_section *other = create("Global/other");
    watch_sleeper_init(&more);
    fault.add_watch = ENOSPC;
    CHECK_STATUS(weir_watch_add(&more.client, other), WEIR_E_NO_SPACE);
    fault.add_watch = 0;
    check_told(&s, section_path(dir, "Global/watched").text);
    weir_watch_remove(&s.client);
    CHECK_OK(weir_section_close(other));
    CHECK_OK(weir_section_close(section));
}

Test(watch, without_a_fork_handler_there_is_no_watch)
{
    (void)support_shm_dir();
    weir_section *section = create("Global/watched");
    replace();
    fault.atfork = ENOMEM;
    check_fails(section, WEIR_E_NO_MEMORY);
    CHECK_OK(weir_section_close(section));
}

Test(watch, a_process_at_its_limit_of_descriptors_gets_a_status)
{
    const char *dir = support_shm_dir();
    weir_section *section = create("Global/watched");
    struct rlimit before, limit;
    watch_sleeper s;
    watch_sleeper_init(&s);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit = before;
    limit.rlim_cur = 3; /* all there are have numbers below, or are in use */
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK_KEEPS_ERRNO(weir_watch_add(&s.client, section), WEIR_E_NO_MEMORY);
    cr_assert(detail_has("ulimit -n"), "%s", weir_error_detail());
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    CHECK_OK(weir_watch_add(&s.client, section));
    check_told(&s, section_path(dir, "Global/watched").text);
    weir_watch_remove(&s.client);
    CHECK_OK(weir_section_close(section));
}

Test(watch, what_the_system_has_lost_is_told_to_all)
{
    const char *dir = support_shm_dir();
    weir_section *sections[3];
    watch_sleeper s[3];
    static const char *const names[] = { "Global/a", "Global/b", "Global/c" };
    replace();
    for (int i = 0; i < 3; i++)
        sections[i] = create(names[i]); /* which looks at the others, and closes them */
    for (int i = 0; i < 3; i++) {
        watch_sleeper_init(&s[i]);
        CHECK_OK(weir_watch_add(&s[i].client, sections[i]));
    }
    settle();
    cr_assert_eq(watch_told(&s[0]) + watch_told(&s[1]) + watch_told(&s[2]), 0);
    weir_store32_rlx(&fault.overflow, 1);
    watch_touch(section_path(dir, names[1]).text);
    for (int i = 0; i < 3; i++)
        CHECK_SOON(watch_told(&s[i]) == 4);
    for (int i = 0; i < 3; i++) {
        weir_watch_remove(&s[i].client);
        CHECK_OK(weir_section_close(sections[i]));
    }
}

Test(watch, what_fails_in_the_thread_does_not_make_it_burn_a_core)
{
    const char *dir = support_shm_dir();
    weir_section *section = create("Global/watched");
    watch_sleeper s;
    struct rusage from, to;
    watch_sleeper_init(&s);
    replace();
    CHECK_OK(weir_watch_add(&s.client, section));
    for (int call = 0; call < 2; call++) {
        weir_atomic_u32 *which = call == 0 ? &fault.read : &fault.poll;
        weir_store32_rlx(which, 1);
        watch_touch(section_path(dir, "Global/watched").text);
        cr_assert_eq(getrusage(RUSAGE_SELF, &from), 0);
        (void)nanosleep(&(struct timespec){ .tv_nsec = 300 * MS }, NULL);
        cr_assert_eq(getrusage(RUSAGE_SELF, &to), 0);
        int64_t us = (to.ru_utime.tv_sec - from.ru_utime.tv_sec + to.ru_stime.tv_sec - from.ru_stime.tv_sec) * 1000000 +
                     to.ru_utime.tv_usec - from.ru_utime.tv_usec + to.ru_stime.tv_usec - from.ru_stime.tv_usec;
        cr_assert_lt(us, 150000, "%lld us of 300 ms", (long long)us);
        weir_store32_rlx(which, 0);
        check_told(&s, section_path(dir, "Global/watched").text);
    }
    weir_watch_remove(&s.client);
    CHECK_OK(weir_section_close(section));
}

Test(watch, without_standard_descriptors_its_own_is_none_of_them)
{
    (void)support_shm_dir();
    weir_section *section = create("Global/watched");
    watch_sleeper s;
    watch_sleeper_init(&s);
    int kept = fcntl(0, F_DUPFD_CLOEXEC, 100);
    cr_assert(kept >= 100 && close(0) == 0);
    CHECK_OK(weir_watch_add(&s.client, section));
    cr_assert_lt(fcntl(0, F_GETFD), 0);
    cr_assert(dup2(kept, 0) == 0 && close(kept) == 0);
    weir_watch_remove(&s.client);
    CHECK_OK(weir_section_close(section));
}

/* ---- forks ---- */

Test(watch, a_child_has_none_of_it_and_can_have_its_own_while_the_parents_goes_on)
{
    const char *dir = support_shm_dir();
    weir_section *section = create("Local/parents");
    watch_sleeper s;
    watch_sleeper_init(&s);
    CHECK_OK(weir_watch_add(&s.client, section));
    for (int round = 0; round < 20; round++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            weir_section *mine;
            watch_sleeper own;
            uint64_t told = watch_told(&s);
            CHECK(watch_threads() == 0);
            watch_sleeper_init(&own);
            CHECK_STATUS(weir_watch_add(&own.client, section), WEIR_E_FORKED);
            if (round % 2 != 0) { /* whatever the fork left of the parent's client */
                memset(&s, 0, sizeof s);
                told = 0;
            }
            weir_watch_remove(&s.client);
            CHECK_OK(weir_section_close(section));
            CHECK_OK(weir_section_open(&mine, "Local/parents", NULL));
            CHECK_OK(weir_watch_add(&own.client, mine));
            check_told(&own, section_path(dir, "Local/parents").text);
            CHECK_SOON(watch_threads() == 1);
            CHECK(watch_told(&s) == told);
            weir_watch_remove(&own.client);
            CHECK_OK(weir_section_close(mine));
            _exit(0);
        }
        cr_assert_eq(support_wait(child), 0);
        check_told(&s, section_path(dir, "Local/parents").text);
    }
    weir_watch_remove(&s.client);
    CHECK_OK(weir_section_close(section));
}
