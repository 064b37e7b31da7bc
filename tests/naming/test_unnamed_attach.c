/* Exported handles: giving them out, and attaching to whatever somebody says is one. */
#include "handles.h"

#include <weir/naming/file.h>
#include <weir/naming/os_linux.h>
#include <weir/naming/section_layout.h>

#include <criterion/criterion.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#define KIB64 UINT64_C(65536)
#define STRANGER 12345u

/* ---- export ---- */

static void check_no_export(weir_section *section, weir_access access, bool inherit, weir_status expected)
{
    weir_handle handle = NO_HANDLE;
    unsigned fds = open_fds();
    CHECK_KEEPS_ERRNO(weir_section_export(section, access, inherit, &handle), expected);
    cr_assert_eq(handle, NO_HANDLE);
    cr_assert_neq(*weir_error_detail(), 0);
    cr_assert_eq(open_fds(), fds, "a descriptor was left open");
}

Test(attach, an_exported_handle_survives_exec_only_with_inherit)
{
    weir_section *section = unnamed_of(4096, (weir_section_options){ .label = "exec" });
    for (int access = RW; access <= RO; access++) {
        for (int inherit = 0; inherit < 2; inherit++) {
            weir_handle handle = NO_HANDLE;
            unsigned inherited = 0, fds = label_fds("exec", &inherited);
            CHECK_KEEPS_ERRNO(weir_section_export(section, (weir_access)access, inherit != 0, &handle), WEIR_OK);
            cr_assert(handle > 2 && handle < 1024);
            cr_assert_eq((fcntl((int)handle, F_GETFD) & FD_CLOEXEC) == 0, inherit != 0);
            cr_assert_eq(fcntl((int)handle, F_GETFL) & O_ACCMODE, access == RW ? O_RDWR : O_RDONLY);
            cr_assert_eq(label_fds("exec", &inherited), fds + 1);
            cr_assert_eq(inherited, inherit != 0 ? 1 : 0, "the section's own descriptors are inherited");
            CHECK_OK(weir_handle_close(handle));
        }
    }
    CHECK_OK(weir_section_close(section));
    cr_assert_eq(label_fds("exec", NULL), 0);
}

Test(attach, wrong_arguments_to_export_are_refused)
{
    weir_section *section = unnamed_of(4096, (weir_section_options){ 0 });
    check_no_export(section, WEIR_COPY_ON_WRITE, false, WEIR_E_INVALID);
    check_no_export(section, (weir_access)3, false, WEIR_E_INVALID);
    check_no_export(section, (weir_access)-1, true, WEIR_E_INVALID);
    CHECK_KEEPS_ERRNO(weir_section_export(section, RW, false, NULL), WEIR_E_INVALID);
    CHECK_OK(weir_section_close(section));
}

Test(attach, named_and_file_sections_are_not_exported)
{
    const char *dir = support_shm_dir();
    weir_section *named, *file;
    char path[512];
    (void)snprintf(path, sizeof path, "%s/file", dir);
    CHECK_OK(weir_section_create(&named, "Local/named", 4096, NULL));
    CHECK_OK(weir_section_open_file(&file, path, 4096, &(weir_section_options){ .flags = WEIR_FILE_NEW }));
    check_no_export(named, RW, false, WEIR_E_STATE);
    cr_assert(detail_has("Local/named"));
    check_no_export(named, RO, true, WEIR_E_STATE);
    check_no_export(file, RO, false, WEIR_E_STATE);
    cr_assert(detail_has(path));
    CHECK_OK(weir_section_close(named));
    CHECK_OK(weir_section_close(file));
}

Test(attach, a_handle_wider_than_the_section_is_not_exported)
{
    weir_section *section = unnamed_of(4096, (weir_section_options){ .label = "narrow" });
    weir_handle handle = export_of(section, RW);
    for (int access = RO; access <= COW; access++) {
        weir_section *reader = attach_of(handle, (weir_access)access);
        check_no_export(reader, RW, false, WEIR_E_ACCESS);
        cr_assert(detail_has("narrow"));
        weir_handle again = export_of(reader, RO);
        check_refused(again, (weir_section_options){ 0 }, WEIR_E_ACCESS, handle_text(again));
        CHECK_OK(weir_handle_close(again));
        CHECK_OK(weir_section_close(reader));
    }
    CHECK_OK(weir_handle_close(handle));
    CHECK_OK(weir_section_close(section));
}

Test(attach, without_a_free_descriptor_export_and_attach_are_no_memory)
{
    weir_section *section = unnamed_of(4096, (weir_section_options){ 0 }), *other = UNTOUCHED;
    weir_handle handle = export_of(section, RW), second = NO_HANDLE;
    unsigned fds = open_fds();
    struct rlimit before = limit_fds(0);
    CHECK_KEEPS_ERRNO(weir_section_export(section, RW, true, &second), WEIR_E_NO_MEMORY);
    CHECK_KEEPS_ERRNO(weir_section_attach(&other, handle, NULL), WEIR_E_NO_MEMORY);
    limit_restore(&before);
    cr_assert(other == UNTOUCHED && second == NO_HANDLE && open_fds() == fds);
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_handle_close(handle));
}

static void export_as_a_stranger(void *arg)
{
    weir_section *section = unnamed_of(4096, (weir_section_options){ 0 });
    weir_handle handle = NO_HANDLE;
    (void)arg;
    CHECK(seteuid(STRANGER) == 0);
    CHECK_STATUS(weir_section_export(section, RO, false, &handle), WEIR_E_PERMISSION);
    CHECK(detail_has("weir") && detail_has("mode") && handle == NO_HANDLE);
    CHECK(seteuid(0) == 0);
}

Test(attach, who_may_no_longer_open_the_section_may_not_export_it)
{
    if (geteuid() != 0)
        cr_skip_test("needs root, to become another user");
    run_in_child(export_as_a_stranger, NULL);
}

static int refuse_error;

static int refuse_flags(int fd, int command, int value)
{
    (void)fd, (void)command, (void)value;
    errno = refuse_error;
    return -1;
}

static int refuse_open(int dir, const char *path, int flags, mode_t mode)
{
    (void)dir, (void)path, (void)flags, (void)mode;
    errno = refuse_error;
    return -1;
}

static int refuse_stat(int fd, struct stat *out)
{
    (void)fd, (void)out;
    errno = refuse_error;
    return -1;
}

static int refuse_lock(int fd, int command, struct flock *range)
{
    (void)fd, (void)command, (void)range;
    errno = refuse_error;
    return -1;
}

Test(attach, a_system_call_that_fails_has_its_status_and_leaves_nothing)
{
    weir_section *section = unnamed_of(4096, (weir_section_options){ 0 });
    weir_handle handle = export_of(section, RW);
    weir_linux_calls real = weir_linux;
    refuse_error = EIO;
    weir_linux.fd_flags = refuse_flags;
    check_no_export(section, RW, true, WEIR_E_OS);
    check_refused_both(handle, WEIR_E_OS, strerror(EIO));
    weir_linux = real;
    weir_linux.openat = refuse_open;
    check_no_export(section, RW, false, WEIR_E_OS);
    check_refused_both(handle, WEIR_E_OS, strerror(EIO));
    refuse_error = ENOENT; /* as without /proc; processes/unnamed_handover is really without it */
    check_no_export(section, RO, false, WEIR_E_UNSUPPORTED);
    check_refused_both(handle, WEIR_E_UNSUPPORTED, "/proc");
    refuse_error = EACCES;
    check_no_export(section, RO, false, WEIR_E_PERMISSION);
    check_refused_both(handle, WEIR_E_PERMISSION, "cannot be opened anew");
    weir_linux = real;
    refuse_error = EIO;
    weir_linux.fstat = refuse_stat;
    check_refused_both(handle, WEIR_E_OS, strerror(EIO));
    weir_linux = real;
    weir_linux.lock = refuse_lock;
    check_refused_both(handle, WEIR_E_OS, strerror(EIO));
    refuse_error = ENOLCK;
    check_refused_both(handle, WEIR_E_UNSUPPORTED, "locks");
    weir_linux = real;
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_handle_close(handle));
}

/* ---- attach ---- */

Test(attach, both_have_the_same_memory_and_size)
{
    static const uint64_t sizes[] = { 1, 4095, 4096, 3 * KIB64 + 5 };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        weir_section *section = unnamed_of(sizes[i], (weir_section_options){ .content = 7, .slots = 2 });
        put_pattern(section, 1);
        weir_handle handle = export_of(section, RW);
        weir_section *other = UNTOUCHED;
        weir_section_options options = { .content = 7 };
        CHECK_KEEPS_ERRNO(weir_section_attach(&other, handle, &options), WEIR_OK);
        CHECK_OK(weir_handle_close(handle)); /* it was the caller's */
        cr_assert(weir_section_size(other) == sizes[i] && has_pattern(other, 1));
        put_pattern(other, 2);
        cr_assert(has_pattern(section, 2));
        CHECK_OK(weir_section_extend(other, sizes[i] + KIB64));
        cr_assert_eq(weir_section_size(section), sizes[i] + KIB64);
        weir_view view = view_of(section, RW);
        cr_assert(all_bytes((char *)view.base + sizes[i], KIB64, 0));
        CHECK_OK(weir_view_unmap(&view));
        put_pattern(section, 3);
        cr_assert(has_pattern(other, 3));
        CHECK_OK(weir_section_close(section));
        CHECK_OK(weir_section_close(other));
    }
}

Test(attach, attaching_to_ones_own_handle_twice_gives_independent_sections)
{
    weir_section *section = unnamed_of(4096, (weir_section_options){ .slots = 2 });
    weir_handle handle = export_of(section, RW);
    weir_section *one = attach_of(handle, RW), *two = attach_of(handle, RW);
    weir_participant before, seen;
    CHECK_OK(weir_participant_claim(one, 0, 1, &before));
    CHECK_OK(weir_participant_join(one, &before));
    CHECK_STATUS(weir_participant_claim(two, 0, 1, &before), WEIR_E_IN_USE);
    CHECK_OK(weir_participant_look(section, 0, &seen));
    cr_assert_eq(seen.presence, WEIR_ALIVE);
    CHECK_OK(weir_section_close(one));
    CHECK_OK(weir_participant_look(two, 0, &seen));
    cr_assert_eq(seen.presence, WEIR_LEFT);
    CHECK_OK(weir_section_close(two));
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_handle_close(handle));
}

static bool locked(weir_handle handle, int64_t range)
{
    short found;
    cr_assert_eq(weir_lock_ask((int)handle, range, WEIR_RANGE_LEN, &found), 0);
    return found != F_UNLCK;
}

Test(attach, users_and_observers_hold_locks_of_their_kind_and_a_handle_none)
{
    weir_section *section = unnamed_of(4096, (weir_section_options){ 0 });
    weir_handle handle = export_of(section, RW), reads = export_of(section, RO);
    cr_assert(locked(handle, WEIR_LIFE_FIRST) && !locked(handle, WEIR_LOOK_FIRST));
    CHECK_OK(weir_section_close(section));
    for (int access = RW; access <= COW; access++) {
        cr_assert(!locked(handle, WEIR_LIFE_FIRST) && !locked(handle, WEIR_LOOK_FIRST));
        section = attach_of(access == RW ? handle : reads, (weir_access)access);
        cr_assert_eq(locked(handle, WEIR_LIFE_FIRST), access == RW);
        cr_assert_eq(locked(handle, WEIR_LOOK_FIRST), access != RW);
        CHECK_OK(weir_section_close(section));
    }
    CHECK_OK(weir_handle_close(handle));
    CHECK_OK(weir_handle_close(reads));
}

Test(attach, read_only_and_copy_on_write_ones_change_nothing_that_others_see)
{
    weir_section *section = unnamed_of(4096, (weir_section_options){ .slots = 1 });
    weir_handle reads = export_of(section, RO);
    put_pattern(section, 1);
    for (int access = RO; access <= COW; access++) {
        weir_section *other = attach_of(reads, (weir_access)access);
        weir_view view = { .base = NULL };
        weir_participant before;
        cr_assert(has_pattern(other, 1));
        CHECK_STATUS(weir_view_map(&view, other, 0, 0, RW), WEIR_E_ACCESS);
        CHECK_STATUS(weir_section_extend(other, 8192), WEIR_E_PERMISSION);
        CHECK_STATUS(weir_participant_claim(other, 0, 1, &before), WEIR_E_PERMISSION);
        CHECK_STATUS(weir_section_seal(other, WEIR_SEAL_GROW), WEIR_E_PERMISSION);
        view = view_of(other, COW);
        memset(view.base, 0xff, view.size);
        cr_assert(has_pattern(section, 1) && has_pattern(other, 1));
        CHECK_OK(weir_view_unmap(&view));
        CHECK_OK(weir_section_close(other));
    }
    check_refused(reads, (weir_section_options){ 0 }, WEIR_E_ACCESS, "read-only");
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_handle_close(reads));
}

Test(attach, wrong_arguments_are_refused)
{
    static const weir_section_options rows[] = {
        { .slots = WEIR_SLOTS_MAX + 1 },
        { .mode = 01000 },
        { .access = (weir_access)3 },
        { .access = (weir_access)-1 },
        { .flags = WEIR_PERSISTENT },
        { .flags = WEIR_RESERVE },
        { .flags = WEIR_SET_GROUP },
        { .flags = WEIR_FILE_CREATE },
        { .flags = WEIR_FILE_NEW },
        { .flags = WEIR_SEAL_SHRINK },
        { .flags = WEIR_SEAL_GROW },
        { .flags = WEIR_SEAL_WRITE },
        { .flags = WEIR_SEAL_SEAL },
        { .flags = 0x80000000u },
        { .want = 0x40u },
        { .flags = WEIR_DUMP, .demand = WEIR_NOT_DUMPED },
    };
    weir_section *section = unnamed_of(4096, (weir_section_options){ 0 });
    weir_handle handle = export_of(section, RW);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check_refused(handle, rows[i], WEIR_E_INVALID, "options");
    CHECK_KEEPS_ERRNO(weir_section_attach(NULL, handle, NULL), WEIR_E_INVALID);
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_handle_close(handle));
}

Test(attach, what_is_no_handle_at_all_is_invalid)
{
    weir_section *section = unnamed_of(4096, (weir_section_options){ 0 });
    weir_handle handle = export_of(section, RW);
    weir_handle far = (weir_handle)1 << 32; /* in its low bits it is an open one */
    weir_handle numbers[] = { -1, INTPTR_MIN, INTPTR_MAX, INT32_MAX, handle + far, handle - far, lowest_free_fd() };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        check_refused_both(numbers[i], WEIR_E_INVALID, handle_text(numbers[i]));
    CHECK_OK(weir_handle_close(handle));
    check_refused_both(handle, WEIR_E_INVALID, handle_text(handle));
    CHECK_OK(weir_section_close(section));
}

Test(attach, what_is_no_section_is_not_weir)
{
    const char *dir = support_shm_dir();
    char path[512], zeros[8192] = "no section";
    int ends[2], pair[2];
    (void)snprintf(path, sizeof path, "%s/file", dir);
    cr_assert(pipe2(ends, O_CLOEXEC) == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    int memory = memfd_create("other", MFD_CLOEXEC), sealable = memfd_create("other", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    cr_assert(write(memory, zeros, 8192) == 8192 && write(sealable, zeros, 8192) == 8192);
    int fds[] = {
        ends[0], ends[1], pair[0], memory, sealable,
        file_with(path, "", 0), file_with(path, zeros, 8192), file_with("/tmp/weir-test-attach", zeros, 8192),
        open("/dev/null", O_RDWR | O_CLOEXEC), open("/dev/zero", O_RDWR | O_CLOEXEC),
        open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), open("/proc/self/maps", O_RDONLY | O_CLOEXEC),
        eventfd(0, EFD_CLOEXEC), epoll_create1(EPOLL_CLOEXEC), memfd_create("empty", MFD_CLOEXEC | MFD_ALLOW_SEALING),
    };
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        cr_assert_geq(fds[i], 0);
        check_refused_both(fds[i], WEIR_E_NOT_WEIR, i < 3 ? handle_text(fds[i]) : " ");
    }
}

Test(attach, a_sections_bytes_in_a_file_that_is_no_memory_file_are_no_section)
{
    /* Its memory, its seals and who may cut it are another's; and weir never makes such a file. */
    const char *dir = support_shm_dir();
    static char image[8192];
    char path[512];
    weir_section *section = unnamed_of(4096, (weir_section_options){ 0 });
    weir_handle handle = export_of(section, RW);
    cr_assert_eq(pread((int)handle, image, sizeof image, 0), 8192);
    (void)snprintf(path, sizeof path, "%s/copy", dir);
    check_refused_both(file_with(path, image, sizeof image), WEIR_E_NOT_WEIR, " ");
    check_refused_both(file_with("/tmp/weir-test-copy", image, sizeof image), WEIR_E_NOT_WEIR, " ");
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_handle_close(handle));
}

Test(attach, the_file_of_a_named_section_is_state)
{
    const char *dir = support_shm_dir();
    static const uint32_t flags[] = { 0, WEIR_PERSISTENT, WEIR_RESERVE };
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        weir_section *section;
        CHECK_OK(weir_section_create(&section, "Global/named", 4096, &(weir_section_options){ .flags = flags[i] }));
        int fd = open(section_path(dir, "Global/named").text, O_RDWR | O_CLOEXEC);
        cr_assert_geq(fd, 0);
        check_refused_both(fd, WEIR_E_STATE, "name");
        CHECK_OK(weir_section_close(section)); /* nobody of ours is left there as a user */
        if (flags[i] == WEIR_PERSISTENT)
            CHECK_OK(weir_section_remove("Global/named"));
        check_refused_both(fd, WEIR_E_STATE, "name"); /* a removed one */
        (void)close(fd);
        cr_assert_eq(support_entries(dir, true), 0);
    }
}

Test(attach, another_content_is_a_mismatch_that_says_both)
{
    weir_section *section = unnamed_of(4096, (weir_section_options){ .content = 0x51 });
    weir_handle handle = export_of(section, RW);
    for (int access = RW; access <= COW; access++) {
        check_refused(handle, (weir_section_options){ .access = (weir_access)access }, WEIR_E_MISMATCH, "0x51");
        check_refused(handle, (weir_section_options){ .content = 0x52, .access = (weir_access)access }, WEIR_E_MISMATCH,
                      "0x52");
    }
    check_refused(handle, (weir_section_options){ .content = UINT32_MAX }, WEIR_E_MISMATCH, "0x51");
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_handle_close(handle));
}

Test(attach, the_owner_is_looked_at_only_where_that_was_asked_for)
{
    uint32_t me = (uint32_t)geteuid();
    weir_section *section = unnamed_of(4096, (weir_section_options){ 0 }), *other;
    weir_handle handle = export_of(section, RW);
    for (int access = RW; access <= RO; access++) {
        weir_section_options options = { .flags = WEIR_EXPECT_OWNER, .owner = me, .access = (weir_access)access };
        CHECK_OK(weir_section_attach(&other, handle, &options));
        CHECK_OK(weir_section_close(other));
        options.owner = me + 1;
        check_refused(handle, options, WEIR_E_PERMISSION, "expected");
        cr_assert(detail_names_uid(me) && detail_has(handle_text(handle)));
        options.flags = 0;
        CHECK_OK(weir_section_attach(&other, handle, &options));
        CHECK_OK(weir_section_close(other));
    }
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_handle_close(handle));
}

static void attach_to_the_locked(void *arg)
{
    weir_section_options options = *(weir_section_options *)arg;
    weir_section *section = UNTOUCHED;
    weir_handle handle = options.node; /* carried in a field that means nothing here */
    int64_t from = monotonic_ns();
    unsigned fds = open_fds();
    CHECK_STATUS(weir_section_attach(&section, handle, &options), WEIR_E_BUSY);
    int64_t ns = monotonic_ns() - from;
    CHECK(ns > WAIT_NS && ns < HANGS_NS);
    CHECK(section == UNTOUCHED && open_fds() == fds && detail_has("held") && detail_has("2 seconds"));
}

Test(attach, who_holds_it_locked_keeps_others_out_for_two_seconds)
{
    weir_section *section = unnamed_of(4096, (weir_section_options){ .label = "held" });
    weir_handle handle = export_of(section, RW);
    CHECK_OK(weir_section_close(section));
    struct flock all = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = WEIR_LIFE_FIRST,
                         .l_len = WEIR_LOOK_FIRST + WEIR_RANGE_LEN - WEIR_LIFE_FIRST };
    cr_assert_eq(fcntl((int)handle, F_OFD_SETLK, &all), 0);
    weir_section_options writer = { .node = (uint32_t)handle }, reader = { .access = RO, .node = (uint32_t)handle };
    pid_t one = start(attach_to_the_locked, &writer), two = start(attach_to_the_locked, &reader);
    cr_assert_eq(support_wait(one), 0);
    cr_assert_eq(support_wait(two), 0);
    all.l_type = F_UNLCK;
    cr_assert_eq(fcntl((int)handle, F_OFD_SETLK, &all), 0);
    CHECK_OK(weir_section_close(attach_of(handle, RW)));
    CHECK_OK(weir_handle_close(handle));
}

/* ---- threads that make and attach while another forks ---- */

static struct {
    weir_handle handle;
    _Atomic bool stop;
    _Atomic uint64_t rounds;
} busy;

static void *make_and_attach(void *arg)
{
    (void)arg;
    while (!busy.stop) {
        weir_section *made = unnamed_of(4096, (weir_section_options){ .label = "made" });
        weir_section *writer = attach_of(busy.handle, RW), *reader = attach_of(busy.handle, RO);
        weir_view view = view_of(writer, RW);
        CHECK_OK(weir_view_unmap(&view));
        CHECK_OK(weir_section_close(writer));
        CHECK_OK(weir_section_close(reader));
        CHECK_OK(weir_section_close(made));
        ++busy.rounds;
    }
    return NULL;
}

static void has_the_handle_alone(void *arg)
{
    (void)arg;
    unsigned made = label_fds("made", NULL), handed = label_fds("handed", NULL), maps = mappings_of("/memfd:").all;
    if (made != 0 || handed != 1 || maps != 0) {
        (void)fprintf(stderr, "%u, %u descriptors and %u mappings came with a fork\n", made, handed, maps);
        _exit(1);
    }
    CHECK_OK(weir_section_close(attach_of(busy.handle, RW)));
}

Test(attach, a_fork_while_other_threads_make_and_attach_takes_nothing_of_theirs)
{
    weir_section *section = unnamed_of(4096, (weir_section_options){ .label = "handed" });
    pthread_t threads[2];
    busy.handle = export_of(section, RW);
    CHECK_OK(weir_section_close(section));
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, make_and_attach, NULL), 0);
    for (uint64_t i = 0; i < support_count(500); i++)
        run_in_child(has_the_handle_alone, NULL);
    busy.stop = true;
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    cr_assert_gt(busy.rounds, 0);
    CHECK_OK(weir_handle_close(busy.handle));
    cr_assert(label_fds("handed", NULL) == 0 && label_fds("made", NULL) == 0);
}
