/* What a look at sections says when it cannot look: wrong names, wrong directories, and system calls that fail. */
#include "looks.h"

#include <weir/naming/os_linux.h>

#include <criterion/criterion.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

static weir_section *create(const char *name, uint64_t size, const weir_section_options *options)
{
    weir_section *section;
    CHECK_OK(weir_section_create(&section, name, size, options));
    return section;
}

static bool ignore_user(const weir_section_user *user, void *arg)
{
    (void)user;
    ++*(unsigned *)arg;
    return true;
}

static bool ignore_mapping(const weir_section_mapping *mapping, void *arg)
{
    (void)mapping;
    ++*(unsigned *)arg;
    return true;
}

/* ---- names and directories ---- */

enum look { STAT, LIST, CLEAN, USERS, MAPPINGS, LOOKS };
static const char *const look_names[] = { "stat", "list", "clean", "users", "mappings" };
static unsigned looks_seen;

static weir_status look_by(enum look way, const char *name)
{
    static struct infos infos;
    weir_section_info info;
    weir_status status = WEIR_OK;
    unsigned visits = 0, fds = open_fds();
    infos.count = 0;
    memset(&info, 0xa5, sizeof info);
    errno = KEPT;
    switch (way) {
    case STAT: status = weir_section_stat(name, &info); break;
    case LIST: status = weir_section_list(infos_visit, &infos); break;
    case CLEAN: status = weir_section_clean(infos_visit, &infos); break;
    case USERS: status = weir_section_users(name, ignore_user, &visits); break;
    default: status = weir_section_mappings(name, ignore_mapping, &visits);
    }
    cr_assert_eq(errno, KEPT, "%s set errno to %d", look_names[way], errno);
    cr_assert_eq(open_fds(), fds, "%s left a descriptor", look_names[way]);
    for (size_t i = 0; status != WEIR_OK && i < sizeof info; i++)
        cr_assert_eq(((unsigned char *)&info)[i], 0xa5, "%s touched its output", look_names[way]);
    cr_assert(status == WEIR_OK || visits == 0);
    cr_assert(status == WEIR_OK || *weir_error_detail() != 0);
    looks_seen = infos.count;
    return status;
}

static void check_look(enum look way, const char *name, weir_status expected)
{
    weir_status status = look_by(way, name);
    cr_assert_eq(status, expected, "%s of %s gave %s (%d), not %s (%s)", look_names[way], name,
                 weir_status_name(status), status, weir_status_name(expected), weir_error_detail());
}

Test(list_faults, a_name_outside_the_grammar_or_that_nobody_has_is_refused)
{
    static const char *const bad[] = { NULL, "", "Local/", "a/b", ".x", "Global/a b", "local/x" };
    static const enum look named[] = { STAT, USERS, MAPPINGS };
    const char *dir = support_shm_dir();
    for (int folder = 0; folder < 2; folder++) {
        for (int w = 0; w < 3; w++) {
            for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
                check_look(named[w], bad[i], WEIR_E_NAME);
            check_look(named[w], "Local/none", WEIR_E_NOT_FOUND);
            cr_assert(detail_has("Local/none") && detail_has(dir), "%s", weir_error_detail());
            check_look(named[w], "Global/none", WEIR_E_NOT_FOUND);
            cr_assert(detail_has("Global/none") && detail_has(dir), "%s", weir_error_detail());
        }
        CHECK_KEEPS(weir_section_list(infos_visit, &(struct infos){ .count = 0 }));
        CHECK_KEEPS(weir_section_clean(NULL, NULL));
        CHECK_KEEPS_ERRNO(weir_section_list(NULL, NULL), WEIR_E_INVALID);
        cr_assert(*weir_error_detail() != 0);
        local_dir_make(dir);
    }
}

Test(list_faults, a_directory_of_the_user_that_others_may_enter_is_refused_and_global_ones_are_visited_all_the_same)
{
    const char *dir = support_shm_dir();
    local_dir_make(dir);
    look_image_put(dir, "Local/mine", 0);
    look_image_put(dir, "Global/mine", 0);
    /* What is said of this one is not why the call fails. */
    file_write(section_path(dir, "Global/odd").text, "text", 4, 0600);
    CHECK(chmod(local_dir(dir).text, 0755) == 0);
    for (enum look way = STAT; way < LOOKS; way++) {
        check_look(way, "Local/mine", WEIR_E_PERMISSION);
        cr_assert(detail_names_uid(geteuid()) && detail_has("weir-u."), "%s", weir_error_detail());
        cr_assert_eq(looks_seen, way == LIST ? 2 : way == CLEAN ? 1 : 0);
    }
    cr_assert(!exists(section_path(dir, "Global/mine").text) && exists(section_path(dir, "Local/mine").text));
}

Test(list_faults, a_shared_memory_directory_that_is_none_is_refused)
{
    const char *dir = support_shm_dir();
    char path[512];
    (void)snprintf(path, sizeof path, "%s/none", dir);
    CHECK(setenv("WEIR_SHM_DIR", path, 1) == 0);
    for (int file = 0; file < 2; file++) {
        for (enum look way = STAT; way < LOOKS; way++) {
            check_look(way, "Global/x", WEIR_E_OS);
            cr_assert(detail_has(path) && detail_has("WEIR_SHM_DIR"), "%s", weir_error_detail());
            check_look(way, "Local/x", WEIR_E_OS);
        }
        if (file == 0)
            file_write(path, "x", 1, 0600);
    }
}

Test(list_faults, without_descriptors_a_look_says_no_memory)
{
    support_shm_dir();
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = 3;
    weir_section *section = create("Global/x", 4096, NULL);
    weir_section_info info;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK_KEEPS_ERRNO(weir_section_stat("Global/x", &info), WEIR_E_NO_MEMORY);
    CHECK_KEEPS_ERRNO(weir_section_list(infos_visit, &(struct infos){ .count = 0 }), WEIR_E_NO_MEMORY);
    CHECK_KEEPS_ERRNO(weir_section_clean(NULL, NULL), WEIR_E_NO_MEMORY);
    CHECK_KEEPS_ERRNO(weir_section_users("Global/x", users_visit, NULL), WEIR_E_NO_MEMORY);
    CHECK_KEEPS_ERRNO(weir_section_mappings("Global/x", mapped_visit, NULL), WEIR_E_NO_MEMORY);
    limit.rlim_cur = limit.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK_OK(weir_section_close(section));
}

/* ---- a system call that fails ---- */

static weir_linux_calls real;

/* The name of a file for which openat or fstatat fails, and how; or the how-manieth getdents, pread or lock. */
static struct {
    const char *open_of, *stat_of;
    int open_error, stat_error, pread_error, lock_error, getdents_error, fstat_error, unlink_error;
    long getdents_at, getdents_seen;
} plan;

static int my_openat(int dir, const char *path, int flags, mode_t mode)
{
    if (plan.open_of != NULL && strcmp(path, plan.open_of) == 0) {
        errno = plan.open_error;
        return -1;
    }
    return real.openat(dir, path, flags, mode);
}

static int my_fstatat(int dir, const char *path, struct stat *out, int flags)
{
    if (plan.stat_of != NULL && strcmp(path, plan.stat_of) == 0) {
        errno = plan.stat_error;
        return -1;
    }
    return real.fstatat(dir, path, out, flags);
}

static ssize_t my_getdents(int fd, void *buffer, size_t size)
{
    if (plan.getdents_at != 0 && ++plan.getdents_seen == plan.getdents_at) {
        errno = plan.getdents_error;
        return -1;
    }
    return real.getdents(fd, buffer, size);
}

static ssize_t my_pread(int fd, void *buffer, size_t size, off_t offset)
{
    errno = plan.pread_error;
    return plan.pread_error != 0 ? -1 : real.pread(fd, buffer, size, offset);
}

static int my_fstat(int fd, struct stat *out)
{
    errno = plan.fstat_error;
    return plan.fstat_error != 0 ? -1 : real.fstat(fd, out);
}

static int my_lock(int fd, int command, struct flock *range)
{
    errno = plan.lock_error;
    return plan.lock_error != 0 ? -1 : real.lock(fd, command, range);
}

static int my_unlinkat(int dir, const char *path, int flags)
{
    errno = plan.unlink_error;
    return plan.unlink_error != 0 ? -1 : real.unlinkat(dir, path, flags);
}

static void replace_calls(void)
{
    real = weir_linux;
    weir_linux.openat = my_openat;
    weir_linux.fstatat = my_fstatat;
    weir_linux.getdents = my_getdents;
    weir_linux.pread = my_pread;
    weir_linux.fstat = my_fstat;
    weir_linux.lock = my_lock;
    weir_linux.unlinkat = my_unlinkat;
}

Test(list_faults, a_directory_that_cannot_be_read_is_no_empty_one)
{
    const char *dir = support_shm_dir();
    local_dir_make(dir);
    look_image_put(dir, "Local/x", WEIR_PERSISTENT);
    look_image_put(dir, "Global/x", WEIR_PERSISTENT);
    replace_calls();
    plan.getdents_error = EIO;
    for (plan.getdents_at = 1; plan.getdents_at <= 4; plan.getdents_at++)
        for (enum look way = LIST; way <= CLEAN; way++) {
            plan.getdents_seen = 0;
            check_look(way, NULL, WEIR_E_OS);
        }
    plan.getdents_error = ENOENT; /* the directory was removed meanwhile */
    for (plan.getdents_at = 1; plan.getdents_at <= 4; plan.getdents_at++)
        for (enum look way = LIST; way <= CLEAN; way++) {
            plan.getdents_seen = 0;
            check_look(way, NULL, WEIR_OK);
        }
}

/* Another process takes away what stands in the place of the user's directory, between the two looks at it. */
Test(list_faults, a_directory_of_the_user_that_goes_meanwhile_is_as_if_it_had_not_been_there)
{
    const char *dir = support_shm_dir();
    char folder[64];
    static const int errors[] = { ENOTDIR, ELOOP, EACCES };
    (void)snprintf(folder, sizeof folder, "weir-u.%u", (unsigned)geteuid());
    look_image_put(dir, "Global/x", WEIR_PERSISTENT);
    replace_calls();
    plan.open_of = plan.stat_of = folder;
    plan.stat_error = ENOENT;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        plan.open_error = errors[i];
        check_look(USERS, "Local/x", WEIR_E_NOT_FOUND);
        check_look(MAPPINGS, "Local/x", WEIR_E_NOT_FOUND);
        check_look(LIST, NULL, WEIR_OK);
        cr_assert_eq(looks_seen, 1);
        check_look(CLEAN, NULL, WEIR_OK);
        check_look(STAT, "Local/x", WEIR_E_NOT_FOUND);
    }
}

Test(list_faults, a_file_that_goes_meanwhile_is_not_there)
{
    const char *dir = support_shm_dir();
    look_image_put(dir, "Global/x", WEIR_PERSISTENT);
    replace_calls();
    for (int at = 0; at < 3; at++) { /* before the look, before the open, after an open that was refused */
        plan.stat_of = at != 1 ? "weir-g.x" : NULL;
        plan.open_of = at != 0 ? "weir-g.x" : NULL;
        plan.stat_error = ENOENT;
        plan.open_error = at == 1 ? ENOENT : EACCES;
        for (enum look way = STAT; way < LOOKS; way++) {
            check_look(way, "Global/x", way == LIST || way == CLEAN ? WEIR_OK : WEIR_E_NOT_FOUND);
            cr_assert_eq(looks_seen, 0);
        }
    }
}

/* So that what a look leaves uninitialized on the stack is something else each time. */
static void __attribute__((noinline)) paint_stack(int byte)
{
    unsigned char room[65536];
    memset(room, byte, sizeof room);
    __asm__ volatile("" : : "r"(room) : "memory");
}

Test(list_faults, what_cannot_be_looked_at_has_no_made_up_fields)
{
    const char *dir = support_shm_dir();
    look_image_put(dir, "Global/x", WEIR_PERSISTENT);
    replace_calls();
    plan.stat_of = "weir-g.x";
    plan.stat_error = EACCES;
    for (int byte = 0; byte < 256; byte += 85) {
        weir_section_info info;
        paint_stack(byte);
        CHECK_OK(weir_section_stat("Global/x", &info));
        cr_assert(info.state == WEIR_SECTION_STRANGE && info.why == WEIR_E_PERMISSION);
        cr_assert(info.mode == 0 && info.owner == 0 && info.group == 0 && info.resident == 0, "mode %#o, owner %u",
                  info.mode, info.owner);
    }
}

Test(list_faults, a_section_that_cannot_be_read_or_asked_for_locks_is_strange)
{
    static const struct {
        int *error, value;
        weir_status why;
    } rows[] = {
        { &plan.pread_error, EIO, WEIR_E_OS },          { &plan.fstat_error, EIO, WEIR_E_OS },
        { &plan.lock_error, EINVAL, WEIR_E_UNSUPPORTED }, { &plan.lock_error, ENOLCK, WEIR_E_UNSUPPORTED },
        { &plan.lock_error, EIO, WEIR_E_OS },           { &plan.open_error, EACCES, WEIR_E_PERMISSION },
        { &plan.open_error, EMFILE, WEIR_E_NO_MEMORY }, { &plan.open_error, EIO, WEIR_E_OS },
    };
    const char *dir = support_shm_dir();
    look_image_put(dir, "Global/x", WEIR_PERSISTENT);
    struct stat st;
    CHECK(stat(section_path(dir, "Global/x").text, &st) == 0);
    replace_calls();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        weir_section_info info;
        *rows[i].error = rows[i].value;
        plan.open_of = plan.open_error != 0 ? "weir-g.x" : NULL;
        CHECK_KEEPS(weir_section_stat("Global/x", &info));
        cr_assert(info.state == WEIR_SECTION_STRANGE && info.why == rows[i].why, "row %zu: %s", i,
                  weir_status_name(info.why));
        cr_assert(info.owner == st.st_uid && info.mode == 0600 && info.resident == (uint64_t)st.st_blocks * 512);
        cr_assert(info.size == 0 && info.version == 0 && info.flags == 0 && info.committed == 0);
        check_look(USERS, "Global/x", rows[i].why);
        if (rows[i].error != &plan.lock_error)
            check_look(MAPPINGS, "Global/x", rows[i].why);
        check_look(LIST, NULL, WEIR_OK);
        cr_assert_eq(looks_seen, 1);
        *rows[i].error = 0;
    }
}

Test(list_faults, clean_does_not_tell_of_what_it_could_not_remove)
{
    const char *dir = support_shm_dir();
    look_image_put(dir, "Global/x", 0);
    replace_calls();
    plan.unlink_error = EACCES;
    CHECK_KEEPS(weir_section_clean(infos_visit, &(struct infos){ .count = 0 }));
    check_look(CLEAN, NULL, WEIR_OK);
    cr_assert_eq(looks_seen, 0);
    plan.unlink_error = 0;
    check_look(CLEAN, NULL, WEIR_OK);
    cr_assert_eq(looks_seen, 1);
    cr_assert_eq(support_entries(dir, true), 0);
}

/* ---- nothing is locked ---- */

static int only_asks(int fd, int command, struct flock *range)
{
    CHECK(command == F_OFD_GETLK);
    return real.lock(fd, command, range);
}

static int only_reads(int dir, const char *path, int flags, mode_t mode)
{
    CHECK((flags & (O_ACCMODE | O_CREAT | O_TRUNC)) == O_RDONLY && (flags & O_CLOEXEC) != 0);
    return real.openat(dir, path, flags, mode);
}

Test(list_faults, a_look_takes_no_lock_and_opens_nothing_for_writing)
{
    const char *dir = support_shm_dir();
    weir_section *live = create("Global/live", 4096, &(weir_section_options){ .slots = 3 });
    weir_participant slot;
    CHECK_OK(weir_participant_claim(live, 1, 1, &slot));
    CHECK_OK(weir_participant_join(live, &slot));
    local_dir_make(dir);
    look_image_put(dir, "Local/unused", WEIR_PERSISTENT);
    file_write(section_path(dir, "Global/odd").text, "text", 4, 0600);
    real = weir_linux;
    weir_linux.lock = only_asks;
    weir_linux.openat = only_reads;
    for (int stale = 0; stale < 2; stale++) {
        for (enum look way = STAT; way < LOOKS; way++)
            if (way != CLEAN || stale == 0) { /* with nothing to remove, that too is a look */
                check_look(way, "Global/live", WEIR_OK);
                cr_assert(way != LIST || looks_seen == 3 + (unsigned)stale);
                check_look(way, "Local/unused", WEIR_OK);
            }
        if (stale == 0)
            look_image_put(dir, "Local/stale", 0);
    }
    weir_linux = real;
    CHECK_OK(weir_section_close(live));
}

/* ---- no /proc ---- */

static void without_proc(void *arg)
{
    struct users users = { .count = 0 };
    weir_section_info info;
    (void)arg;
    CHECK(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    CHECK(mount("none", "/proc", "tmpfs", 0, NULL) == 0);
    errno = KEPT;
    CHECK_STATUS(weir_section_mappings("Global/x", mapped_visit, NULL), WEIR_E_UNSUPPORTED);
    CHECK(errno == KEPT && detail_has("/proc"));
    CHECK_OK(weir_section_stat("Global/x", &info)); /* the others do not need it */
    CHECK(info.state == WEIR_SECTION_LIVE && info.users == 1);
    CHECK_OK(weir_section_users("Global/x", users_visit, &users));
    CHECK(users.count == 1 && users.at[0].pid == (uint32_t)getppid());
    CHECK_OK(weir_section_list(infos_visit, &(struct infos){ .count = 0 }));
    CHECK_OK(weir_section_clean(NULL, NULL));
}

Test(list_faults, without_proc_mappings_are_unsupported_and_all_else_is_as_ever)
{
    const char *dir = support_shm_dir();
    if (geteuid() != 0)
        cr_skip_test("needs root, to hide /proc");
    weir_section *section = create("Global/x", 4096, NULL);
    holder h = holder_start(without_proc, NULL, NULL);
    holder_finish(&h);
    CHECK_OK(weir_section_close(section));
    cr_assert_eq(support_entries(dir, true), 0);
}
