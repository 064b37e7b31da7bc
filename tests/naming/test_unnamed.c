/* Unnamed sections in one process: making them, what they hold, how long they live, what a forked child has. */
#include "handles.h"

#include <weir/naming/os_linux.h>
#include <weir/naming/section_layout.h>

#include <criterion/criterion.h>
#include <grp.h>

#define KIB64 UINT64_C(65536)
#define STRANGER 12345u

static void check_not_made(uint64_t size, weir_section_options options, weir_status expected)
{
    weir_section *section = UNTOUCHED;
    unsigned fds = open_fds();
    CHECK_KEEPS_ERRNO(weir_section_create_unnamed(&section, size, &options), expected);
    cr_assert_eq(section, UNTOUCHED);
    cr_assert_neq(*weir_error_detail(), 0);
    cr_assert_eq(open_fds(), fds, "a descriptor was left open");
    cr_assert_eq(mappings_of("/memfd:").all, 0, "a mapping was left");
}

/* ---- create ---- */

Test(unnamed, create_gives_zeroed_content_of_exactly_the_size_asked_for)
{
    static const uint64_t sizes[] = { 1, 7, 4095, 4096, 4097, 65536, (1 << 20) + 3 };
    const char *dir = support_shm_dir();
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        weir_section *section = UNTOUCHED;
        unsigned fds = open_fds();
        CHECK_KEEPS_ERRNO(weir_section_create_unnamed(&section, sizes[i], NULL), WEIR_OK);
        cr_assert_eq(weir_section_size(section), sizes[i]);
        weir_view view = view_of(section, RW);
        cr_assert_eq(view.size, sizes[i]);
        cr_assert(all_bytes(view.base, view.size, 0));
        memset(view.base, 0xff, view.size);
        CHECK_OK(weir_view_unmap(&view));
        CHECK_OK(weir_section_close(section));
        cr_assert_eq(open_fds(), fds);
        cr_assert_eq(mappings_of("/memfd:").all, 0);
        cr_assert_eq(support_entries(dir, true), 0);
    }
}

Test(unnamed, create_needs_no_shared_memory_directory)
{
    cr_assert_eq(setenv("WEIR_SHM_DIR", "/nonexistent/weir", 1), 0);
    weir_section *section = unnamed_of(4096, (weir_section_options){ 0 });
    weir_handle handle = export_of(section, RW);
    weir_section *other = attach_of(handle, RW);
    CHECK_OK(weir_section_close(other));
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_handle_close(handle));
}

Test(unnamed, memory_is_really_allocated_when_create_returns)
{
    weir_section *section = unnamed_of(3 * KIB64 + 1, (weir_section_options){ 0 });
    weir_handle handle = export_of(section, RO);
    struct stat st;
    cr_assert_eq(fstat((int)handle, &st), 0);
    cr_assert_geq((uint64_t)st.st_blocks * 512, WEIR_SECTION_HEADER + 3 * KIB64 + 1);
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_handle_close(handle));
}

Test(unnamed, each_has_memory_of_its_own)
{
    weir_section *one = unnamed_of(4096, (weir_section_options){ 0 });
    weir_section *two = unnamed_of(4096, (weir_section_options){ 0 });
    put_pattern(one, 1);
    put_pattern(two, 2);
    cr_assert(has_pattern(one, 1) && has_pattern(two, 2));
    CHECK_OK(weir_section_close(one));
    CHECK_OK(weir_section_close(two));
}

static char long_label[202];

Test(unnamed, wrong_arguments_to_create_are_refused)
{
    memset(long_label, 'l', 201);
    static const struct {
        uint64_t size;
        weir_section_options options;
    } rows[] = {
        { 0, { 0 } },
        { WEIR_SECTION_SIZE_MAX + 1, { 0 } },
        { UINT64_MAX, { 0 } },
        { 4096, { .slots = WEIR_SLOTS_MAX + 1 } },
        { 4096, { .mode = 01000 } },
        { 4096, { .mode = 0466 } }, /* its owner could not export it, */
        { 4096, { .mode = 0266 } }, /* nor attach */
        { 4096, { .mode = 0077 } },
        { 4096, { .access = WEIR_READ_ONLY } },
        { 4096, { .access = WEIR_COPY_ON_WRITE } },
        { 4096, { .access = (weir_access)3 } },
        { 4096, { .flags = WEIR_PERSISTENT } },
        { 4096, { .flags = WEIR_EXPECT_OWNER } },
        { 4096, { .flags = WEIR_FILE_CREATE } },
        { 4096, { .flags = WEIR_FILE_NEW } },
        { 4096, { .flags = 0x80u } },
        { 4096, { .flags = 0x1000u } },
        { 4096, { .flags = 0x80000000u } },
        { 4096, { .want = 0x40u } },
        { 4096, { .demand = 0x80000000u } },
        { 4096, { .flags = WEIR_DUMP, .demand = WEIR_NOT_DUMPED } },
        { 4096, { .want = WEIR_ON_NODE, .node = 1024 } },
        { 4096, { .commit_bytes = 1 } },
        { 4096, { .flags = WEIR_RESERVE, .commit_bytes = 4097 } },
        { 4096, { .label = long_label } },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check_not_made(rows[i].size, rows[i].options, WEIR_E_INVALID);
    CHECK_KEEPS_ERRNO(weir_section_create_unnamed(NULL, 4096, NULL), WEIR_E_INVALID);
}

Test(unnamed, the_limits_themselves_are_served)
{
    memset(long_label, 'l', 200);
    static const struct {
        uint64_t size;
        weir_section_options options;
    } rows[] = {
        { 1, { .slots = WEIR_SLOTS_MAX, .label = long_label } },
        { 4096, { .flags = WEIR_RESERVE, .commit_bytes = 4096 } },
        { WEIR_SECTION_SIZE_MAX, { .flags = WEIR_RESERVE } },
        { 4096, { .want = WEIR_ON_NODE, .node = 1023 } },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        CHECK_OK(weir_section_close(unnamed_of(rows[i].size, rows[i].options)));
}

static void check_mode(uint32_t asked, mode_t expected)
{
    weir_section *section = unnamed_of(4096, (weir_section_options){ .mode = asked });
    weir_handle handle = export_of(section, RO);
    struct stat st;
    cr_assert_eq(fstat((int)handle, &st), 0);
    cr_assert_eq(st.st_mode & 07777, expected, "mode %#o, not %#o", st.st_mode & 07777, expected);
    CHECK_OK(weir_handle_close(handle));
    CHECK_OK(weir_section_close(section));
}

Test(unnamed, its_mode_is_what_was_asked_for_whatever_the_umask)
{
    (void)umask(0177);
    check_mode(0, 0600);
    for (uint32_t mode = 0600; mode <= 0666; mode++)
        if ((mode & 0111) == 0)
            check_mode(mode, mode);
}

Test(unnamed, a_mode_with_execute_bits_is_served_as_for_a_named_section)
{
    static const uint32_t modes[] = { 0777, 0700, 0755, 0610, 0601 };
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        /* Whether those bits are there means nothing of memory: only that the call is served, and the others are. */
        weir_section *section = unnamed_of(4096, (weir_section_options){ .mode = modes[i] });
        weir_handle handle = export_of(section, RO);
        struct stat st;
        cr_assert_eq(fstat((int)handle, &st), 0);
        cr_assert_eq(st.st_mode & 0666, modes[i] & 0666);
        CHECK_OK(weir_handle_close(handle));
        CHECK_OK(weir_section_close(section));
    }
}

Test(unnamed, its_group_is_the_one_asked_for)
{
    if (geteuid() != 0)
        cr_skip_test("needs root, to give a group");
    weir_section *section = unnamed_of(4096, (weir_section_options){ .flags = WEIR_SET_GROUP, .group = 4242 });
    weir_handle handle = export_of(section, RO);
    struct stat st;
    cr_assert(fstat((int)handle, &st) == 0 && st.st_gid == 4242 && st.st_uid == 0);
    CHECK_OK(weir_handle_close(handle));
    CHECK_OK(weir_section_close(section));
}

/* ---- init ---- */

struct filling {
    unsigned calls;
    bool zeroed;
    uint64_t size;
    weir_status answer;
};

static weir_status fill(void *content, uint64_t size, void *arg)
{
    struct filling *f = arg;
    f->calls++;
    f->size = size;
    f->zeroed = all_bytes(content, size, 0);
    for (uint64_t i = 0; i < size; i++)
        ((unsigned char *)content)[i] = pattern_at(i, 9);
    return f->answer;
}

Test(unnamed, init_fills_the_content_once_before_anybody_has_it)
{
    struct filling f = { .answer = WEIR_OK };
    weir_section *section = unnamed_of(10001, (weir_section_options){ .init = fill, .init_arg = &f });
    cr_assert(f.calls == 1 && f.zeroed && f.size == 10001);
    cr_assert(has_pattern(section, 9));
    CHECK_OK(weir_section_close(section));
}

Test(unnamed, of_reserved_room_init_fills_what_is_committed)
{
    struct filling f = { .answer = WEIR_OK };
    weir_section *section = unnamed_of(10 * KIB64, (weir_section_options){
        .init = fill, .init_arg = &f, .flags = WEIR_RESERVE, .commit_bytes = KIB64 + 1 });
    cr_assert(f.calls == 1 && f.zeroed && f.size == 2 * KIB64);
    CHECK_OK(weir_section_close(section));
}

Test(unnamed, what_init_returns_fails_create_and_leaves_nothing)
{
    static const weir_status answers[] = { WEIR_FULL, WEIR_E_STATE, WEIR_E_NO_SPACE, WEIR_E_INVALID };
    (void)weir_section_create_unnamed(NULL, 0, NULL); /* so that there is a detail */
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct filling f = { .answer = answers[i] };
        check_not_made(4096, (weir_section_options){ .init = fill, .init_arg = &f }, answers[i]);
        cr_assert_eq(f.calls, 1);
    }
}

/* ---- what can go wrong in create ---- */

Test(unnamed, without_a_free_descriptor_create_is_no_memory)
{
    weir_section *section = UNTOUCHED;
    unsigned fds = open_fds();
    struct rlimit before = limit_fds(0);
    CHECK_KEEPS_ERRNO(weir_section_create_unnamed(&section, 4096, NULL), WEIR_E_NO_MEMORY);
    limit_restore(&before);
    cr_assert(section == UNTOUCHED && open_fds() == fds);
}

Test(unnamed, more_than_the_machine_has_is_no_space_with_the_numbers)
{
    check_not_made(UINT64_C(1) << 46, (weir_section_options){ 0 }, WEIR_E_NO_SPACE);
    cr_assert(detail_has("64 TiB"), "%s", weir_error_detail());
}

static void beyond_the_file_size_limit(void *arg)
{
    uint32_t flags = *(uint32_t *)arg;
    struct rlimit limit = { 16384, RLIM_INFINITY };
    weir_section *section = UNTOUCHED;
    unsigned fds = open_fds();
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHECK_STATUS(weir_section_create_unnamed(&section, 1 << 20, &(weir_section_options){ .flags = flags }),
                 WEIR_E_NO_SPACE);
    CHECK(section == UNTOUCHED && open_fds() == fds && detail_has("ulimit -f"));
    CHECK_OK(weir_section_create_unnamed(&section, 4096, NULL));
    CHECK_OK(weir_section_close(section));
}

Test(unnamed, beyond_the_file_size_limit_create_is_no_space_and_no_signal)
{
    uint32_t none = 0;
    run_in_child(beyond_the_file_size_limit, &none);
}

Test(unnamed, reserved_room_beyond_the_file_size_limit_is_no_space_and_no_signal)
{
    uint32_t reserve = WEIR_RESERVE;
    run_in_child(beyond_the_file_size_limit, &reserve);
}

static void ask_for_a_group_of_others(void *arg)
{
    (void)arg;
    CHECK(setgroups(0, NULL) == 0 && setgid(STRANGER) == 0 && setuid(STRANGER) == 0);
    weir_section *section = UNTOUCHED;
    weir_section_options options = { .flags = WEIR_SET_GROUP, .group = 0 };
    unsigned fds = open_fds();
    CHECK_STATUS(weir_section_create_unnamed(&section, 4096, &options), WEIR_E_PERMISSION);
    CHECK(section == UNTOUCHED && detail_has("group") && open_fds() == fds);
    options.group = STRANGER;
    CHECK_OK(weir_section_create_unnamed(&section, 4096, &options));
    CHECK_OK(weir_section_close(section));
}

Test(unnamed, a_group_that_this_user_may_not_give_is_permission)
{
    if (geteuid() != 0)
        cr_skip_test("needs root, to be another user");
    run_in_child(ask_for_a_group_of_others, NULL);
}

static int memfd_error;
static unsigned memfd_flags;

static int no_memfd(const char *name, unsigned flags)
{
    (void)name;
    memfd_flags = flags;
    errno = memfd_error;
    return -1;
}

static int old_memfd(const char *name, unsigned flags)
{
    if ((flags & ~(unsigned)(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB)) != 0)
        return no_memfd(name, flags);
    return memfd_create(name, flags);
}

Test(unnamed, a_kernel_without_memory_files_is_unsupported_and_other_errors_have_their_status)
{
    static const struct {
        int error;
        weir_status status;
    } rows[] = {
        { ENOSYS, WEIR_E_UNSUPPORTED }, { EMFILE, WEIR_E_NO_MEMORY }, { ENFILE, WEIR_E_NO_MEMORY },
        { ENOMEM, WEIR_E_NO_MEMORY },   { EACCES, WEIR_E_PERMISSION }, { EFAULT, WEIR_E_OS },
    };
    weir_linux.memfd_create = no_memfd;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        memfd_error = rows[i].error;
        check_not_made(4096, (weir_section_options){ 0 }, rows[i].status);
    }
    cr_assert(detail_has(strerror(EFAULT)));
}

Test(unnamed, a_kernel_that_does_not_know_the_flag_against_execution_serves_as_well)
{
    memfd_error = EINVAL;
    weir_linux.memfd_create = old_memfd;
    weir_section *section = unnamed_of(4096, (weir_section_options){ .mode = 0640 });
    cr_assert_neq(memfd_flags & 8u, 0, "the flag was not tried first");
    cr_assert_eq(weir_section_seals(section), 0);
    CHECK_OK(weir_section_seal(section, WEIR_SEAL_GROW));
    CHECK_OK(weir_section_close(section));
}

Test(unnamed, memory_that_could_be_executed_is_not_made)
{
    weir_section *section = unnamed_of(4096, (weir_section_options){ 0 });
    weir_handle handle = export_of(section, RW);
    int seals = fcntl((int)handle, F_GET_SEALS);
    if ((seals & 0x20) == 0) /* F_SEAL_EXEC, Linux 6.3 */
        cr_skip_test("this kernel does not know MFD_NOEXEC_SEAL");
    cr_assert_eq(fchmod((int)handle, 0700), -1);
    CHECK_OK(weir_handle_close(handle));
    CHECK_OK(weir_section_close(section));
}

Test(unnamed, demanded_large_pages_and_reserved_room_do_not_go_together)
{
    weir_section_options options = { .flags = WEIR_RESERVE, .demand = WEIR_LARGE_PAGES };
    check_not_made(1 << 22, options, WEIR_E_UNSUPPORTED);
    options = (weir_section_options){ .flags = WEIR_RESERVE, .want = WEIR_LARGE_PAGES };
    CHECK_OK(weir_section_close(unnamed_of(1 << 22, options)));
}

/* ---- the label ---- */

static void check_label(const char *given, const char *label)
{
    char in_maps[320];
    weir_section *section = unnamed_of(2 * KIB64, (weir_section_options){ .label = given });
    cr_assert_str_eq(weir_section_name(section), label);
    weir_handle handle = export_of(section, RW);
    weir_section *other = attach_of(handle, RW);
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_handle_close(handle));
    cr_assert_str_eq(weir_section_name(other), label);
    weir_view view = view_of(other, RO);
    (void)snprintf(in_maps, sizeof in_maps, "/memfd:%s (deleted)\n", label);
    cr_assert_eq(mappings_of(in_maps).all, 2, "%s is not in /proc/self/maps", in_maps); /* the header, and the view */
    weir_memory memory;
    CHECK_OK(weir_view_memory(&view, &memory));
    cr_assert_neq(memory.got & WEIR_MAP_NAME, 0);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(other));
    cr_assert_eq(mappings_of(in_maps).all, 0);
}

Test(unnamed, its_label_is_its_name_and_what_maps_shows_also_where_it_is_attached)
{
    static const char *const labels[] = { "", "x", "frame buffer 3", "a/b", "/memfd:x", "Local/x", "\xc3\xbc" };
    check_label(NULL, "weir");
    for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++)
        check_label(labels[i], labels[i]);
    memset(long_label, 'l', 200);
    check_label(long_label, long_label);
}

Test(unnamed, a_label_that_says_deleted_itself_is_kept_whole)
{
    check_label("old (deleted) frames", "old (deleted) frames");
    check_label(" (deleted)", " (deleted)");
}

/* ---- how long it lives ---- */

Test(unnamed, it_lives_while_an_exported_handle_a_view_or_an_attached_section_is_left)
{
    weir_section *section = unnamed_of(3 * KIB64, (weir_section_options){ .label = "lives" });
    put_pattern(section, 1);
    weir_handle handle = export_of(section, RW);
    CHECK_OK(weir_section_close(section)); /* only the exported handle is left */
    cr_assert_eq(label_fds("lives", NULL), 1);
    weir_section *attached = attach_of(handle, RW);
    cr_assert(has_pattern(attached, 1));
    CHECK_OK(weir_handle_close(handle)); /* only the attached section */
    cr_assert_eq(label_fds("lives", NULL), 1);
    weir_view view = view_of(attached, RW);
    CHECK_STATUS(weir_section_close(attached), WEIR_E_BUSY);
    cr_assert_eq(((unsigned char *)view.base)[view.size - 1], pattern_at(view.size - 1, 1));
    handle = export_of(attached, RO); /* which can be handed on */
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(attached));
    attached = attach_of(handle, RO);
    cr_assert(has_pattern(attached, 1));
    CHECK_OK(weir_handle_close(handle));
    CHECK_OK(weir_section_close(attached));
    cr_assert(label_fds("lives", NULL) == 0 && mappings_of("/memfd:lives").all == 0);
}

static void holds_it(void *arg)
{
    weir_section *section = attach_of(*(weir_handle *)arg, RW);
    (void)view_of(section, RW);
    CHECK_OK(weir_handle_close(*(weir_handle *)arg));
}

Test(unnamed, a_handle_is_no_user)
{
    weir_section *section = unnamed_of(4 * KIB64, (weir_section_options){ .flags = WEIR_RESERVE });
    CHECK_OK(weir_section_commit(section, 0, 0));
    weir_handle writes = export_of(section, RW), reads = export_of(section, RO);
    CHECK_OK(weir_section_decommit(section, 0, KIB64)); /* its sole user */
    static const weir_access every[] = { RW, RO, COW };
    for (size_t i = 0; i < sizeof every / sizeof every[0]; i++) {
        weir_section *other = attach_of(every[i] == RW ? writes : reads, every[i]);
        CHECK_STATUS(weir_section_decommit(section, KIB64, KIB64), WEIR_E_IN_USE);
        if (every[i] == RW)
            CHECK_STATUS(weir_section_decommit(other, KIB64, KIB64), WEIR_E_IN_USE); /* its creator is there */
        CHECK_OK(weir_section_close(other));
    }
    holder h = holder_start(holds_it, NULL, &writes); /* a handle of its own, in a process of its own */
    CHECK_STATUS(weir_section_decommit(section, KIB64, KIB64), WEIR_E_IN_USE);
    holder_kill(&h);
    CHECK_SOON(weir_section_decommit(section, KIB64, KIB64) == WEIR_OK); /* readers of its maps delay it */
    CHECK_OK(weir_handle_close(writes));
    CHECK_OK(weir_handle_close(reads));
    CHECK_OK(weir_section_close(section));
}

/* ---- reserved room ---- */

static bool is_committed(weir_section *section, uint64_t offset)
{
    uint64_t bytes = 1;
    bool committed;
    CHECK_OK(weir_section_committed(section, offset, &bytes, &committed));
    return committed;
}

Test(unnamed, reserved_room_is_committed_by_whoever_attached_and_reached_by_all)
{
    weir_section_options options = { .flags = WEIR_RESERVE, .commit_bytes = KIB64, .label = "room" };
    weir_section *section = unnamed_of(64 * KIB64, options);
    weir_handle handle = export_of(section, RW);
    weir_section *other = attach_of(handle, RW), *reader = attach_of(handle, RO);
    cr_assert(weir_section_size(other) == 64 * KIB64 && weir_section_size(reader) == 64 * KIB64);
    weir_view mine = view_of(section, RW), theirs = view_of(other, RW), seen = view_of(reader, RO);
    struct stat st;
    cr_assert_eq(fstat((int)handle, &st), 0);
    cr_assert_leq((uint64_t)st.st_blocks * 512, 2 * KIB64);
    cr_assert(!is_committed(section, 5 * KIB64));
    CHECK_OK(weir_section_commit(other, 5 * KIB64, KIB64));
    cr_assert(is_committed(section, 5 * KIB64) && is_committed(reader, 5 * KIB64) && !is_committed(reader, 6 * KIB64));
    CHECK_OK(weir_view_refresh(&mine));
    CHECK_OK(weir_view_refresh(&seen));
    ((char *)mine.base)[5 * KIB64] = 'm';
    cr_assert_eq(((char *)theirs.base)[5 * KIB64], 'm');
    cr_assert_eq(((const char *)seen.base)[5 * KIB64], 'm');
    CHECK_STATUS(weir_section_commit(reader, 6 * KIB64, 1), WEIR_E_PERMISSION);
    CHECK_STATUS(weir_section_extend(section, 65 * KIB64), WEIR_E_STATE);
    CHECK_OK(weir_view_unmap(&mine));
    CHECK_OK(weir_view_unmap(&theirs));
    CHECK_OK(weir_view_unmap(&seen));
    CHECK_OK(weir_section_close(other));
    CHECK_OK(weir_section_close(reader));
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_handle_close(handle));
}

static int die_when_memory_is_given_back(int fd, int mode, off_t offset, off_t len)
{
    if ((mode & FALLOC_FL_PUNCH_HOLE) != 0)
        (void)kill(getpid(), SIGKILL);
    return fallocate(fd, mode, offset, len);
}

static void decommits_and_dies(void *arg)
{
    weir_section *section = attach_of(*(weir_handle *)arg, RW);
    weir_linux.fallocate = die_when_memory_is_given_back;
    (void)weir_section_decommit(section, KIB64, KIB64);
}

static void check_zero_after_a_killed_decommit(bool observed)
{
    weir_section_options options = { .flags = WEIR_RESERVE, .commit_bytes = 4 * KIB64 };
    weir_section *section = unnamed_of(4 * KIB64, options);
    put_pattern(section, 3);
    weir_handle handle = export_of(section, RW);
    CHECK_OK(weir_section_close(section));
    cr_assert_eq(support_wait(start(decommits_and_dies, &handle)), -SIGKILL);
    weir_section *observer = observed ? attach_of(handle, RO) : NULL; /* before any user */
    section = attach_of(handle, RW);
    cr_assert(!is_committed(section, KIB64) && is_committed(section, 0) && is_committed(section, 2 * KIB64));
    CHECK_OK(weir_section_commit(section, KIB64, KIB64));
    weir_view view = view_of(section, RW);
    const unsigned char *bytes = view.base;
    cr_assert_eq(bytes[KIB64 - 1], pattern_at(KIB64 - 1, 3));
    cr_assert_eq(bytes[2 * KIB64], pattern_at(2 * KIB64, 3));
    cr_assert(all_bytes(bytes + KIB64, KIB64, 0), "the bytes of before are there again");
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_section_close(observer));
    CHECK_OK(weir_handle_close(handle));
}

Test(unnamed, after_a_killed_decommit_what_is_committed_again_reads_zero)
{
    check_zero_after_a_killed_decommit(false);
    check_zero_after_a_killed_decommit(true);
}

/* ---- fork ---- */

struct inherited {
    weir_section *section, *plain;
    weir_view view;
    weir_handle handle;
};

static void looks_at_what_it_inherited(void *arg)
{
    struct inherited *i = arg;
    weir_view view = { .base = (void *)(uintptr_t)0x77 };
    weir_handle handle = NO_HANDLE;
    weir_participant seen;
    uint64_t bytes = 0;
    bool committed = true;
    CHECK(weir_section_forked(i->section) && weir_section_size(i->section) == 0 && weir_section_seals(i->section) == 0);
    CHECK(strcmp(weir_section_name(i->section), "forked") == 0);
    CHECK_STATUS(weir_section_export(i->section, RW, false, &handle), WEIR_E_FORKED);
    CHECK_STATUS(weir_section_export(i->section, RO, true, &handle), WEIR_E_FORKED);
    CHECK(detail_has("forked") && handle == NO_HANDLE);
    CHECK_STATUS(weir_section_seal(i->section, WEIR_SEAL_GROW), WEIR_E_FORKED);
    CHECK_STATUS(weir_view_map(&view, i->section, 0, 0, RO), WEIR_E_FORKED);
    CHECK_STATUS(weir_section_extend(i->plain, 2 * KIB64), WEIR_E_FORKED);
    CHECK_STATUS(weir_section_commit(i->section, 0, 0), WEIR_E_FORKED);
    CHECK_STATUS(weir_section_decommit(i->section, 0, 0), WEIR_E_FORKED);
    CHECK_STATUS(weir_section_committed(i->section, 0, &bytes, &committed), WEIR_E_FORKED);
    CHECK_STATUS(weir_participant_claim(i->section, 0, 1, &seen), WEIR_E_FORKED);
    CHECK_STATUS(weir_view_refresh(&i->view), WEIR_E_FORKED);
    CHECK(view.base == (void *)(uintptr_t)0x77 && bytes == 0 && committed);
    /* Nothing of it is there but what was exported; by that it comes to the section anew. */
    CHECK(label_fds("forked", NULL) == 1 && mappings_of("/memfd:forked").all == 0);
    weir_section *own = attach_of(i->handle, RW);
    CHECK(stamp_of(own) == 77 && weir_section_seals(own) == WEIR_SEAL_SHRINK && !weir_section_forked(own));
    CHECK_OK(weir_view_unmap(&i->view));
    CHECK_OK(weir_section_close(i->section));
    CHECK_OK(weir_section_close(i->plain));
    CHECK_OK(weir_section_close(own));
    CHECK_OK(weir_handle_close(i->handle));
    CHECK(label_fds("forked", NULL) == 0);
}

Test(unnamed, a_forked_child_has_the_exported_handle_and_no_section)
{
    weir_section_options options = { .flags = WEIR_RESERVE | WEIR_SEAL_SHRINK, .commit_bytes = KIB64, .slots = 1,
                                     .label = "forked" };
    struct inherited i = { .section = unnamed_of(2 * KIB64, options) };
    i.plain = unnamed_of(KIB64, (weir_section_options){ 0 });
    i.view = view_of(i.section, RW);
    *(uint64_t *)i.view.base = 77;
    i.handle = export_of(i.section, RW);
    run_in_child(looks_at_what_it_inherited, &i);
    cr_assert(stamp_of(i.section) == 77 && !weir_section_forked(i.section));
    CHECK_OK(weir_section_decommit(i.section, KIB64, KIB64)); /* nobody else has it open */
    CHECK_OK(weir_section_close(i.plain));
    CHECK_OK(weir_view_unmap(&i.view));
    CHECK_OK(weir_section_close(i.section));
    CHECK_OK(weir_handle_close(i.handle));
}
