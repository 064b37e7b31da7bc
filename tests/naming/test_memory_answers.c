/* Nodes, core dumps, names in /proc/PID/maps; what is true of a part of a view only; and looks that fail. */
#include "view_memory.h"

#include <weir/naming/os_linux.h>

#include <criterion/criterion.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static weir_linux_calls real;

static void replace(void)
{
    if (real.mmap == NULL)
        real = weir_linux;
}

/* ---- nodes ---- */

#define NO_NODE 999u /* a number that options may have and machines have not */

static bool has_nodes(void)
{
    return exists("/sys/devices/system/node/node0") && exists("/proc/self/numa_maps");
}

static weir_section_options on_node(uint32_t node, int demanded)
{
    weir_section_options options = ways(WEIR_ON_NODE, demanded);
    options.node = node;
    return options;
}

/* Is the memory of the view bound to node 0? */
static bool bound(const weir_view *view)
{
    char line[2048], wanted[64];
    bool found = false;
    FILE *file = fopen("/proc/self/numa_maps", "re");
    CHECK(file != NULL);
    (void)snprintf(wanted, sizeof wanted, "%llx bind:0 ", (unsigned long long)(uintptr_t)view->base);
    while (fgets(line, sizeof line, file) != NULL)
        found |= strncmp(line, wanted, strlen(wanted)) == 0;
    (void)fclose(file);
    return found;
}

Test(memory_answers, memory_of_a_node_is_got_and_told)
{
    support_shm_dir();
    if (!has_nodes())
        cr_skip_test("this kernel tells nothing of NUMA nodes");
    for (enum kind kind = CREATOR; kind < KINDS; kind++)
        for (int demanded = 0; demanded < 2; demanded++) {
            subject s;
            weir_section_options options = on_node(0, demanded);
            options.want |= WEIR_PREFAULT; /* where no page is there yet, none is on any node */
            CHECK_OK(subject_begin(&s, kind, &options));
            weir_memory got = memory(&s);
            cr_assert(got.node == 0 && (got.got & WEIR_ON_NODE) != 0, "kind %d: node %d", kind, got.node);
            if (kind == CREATOR || kind == COPYING || kind == UNNAMED)
                cr_assert(bound(&s.view), "kind %d has no policy", kind);
            subject_end(&s);
        }
    subject s; /* not asked for: told, but nothing that was got */
    CHECK_OK(subject_begin(&s, CREATOR, &(weir_section_options){ .want = WEIR_PREFAULT }));
    weir_memory got = memory(&s);
    cr_assert(got.node == 0 && (got.got & WEIR_ON_NODE) == 0 && !bound(&s.view));
    subject_end(&s);
}

Test(memory_answers, a_node_that_is_not_there_is_done_without_when_wanted_and_a_failure_when_demanded)
{
    const char *dir = support_shm_dir();
    if (!has_nodes())
        cr_skip_test("this kernel tells nothing of NUMA nodes");
    weir_section_options wanted = on_node(NO_NODE, 0), demanded = on_node(NO_NODE, 1);
    for (enum kind kind = CREATOR; kind < KINDS; kind++) {
        subject s;
        CHECK_OK(subject_begin(&s, kind, &wanted));
        cr_assert_eq(memory(&s).got & WEIR_ON_NODE, 0);
        subject_end(&s);
        if (kind == CREATOR || kind == COPYING || kind == ROOM || kind == UNNAMED)
            continue;
        CHECK_KEEPS_ERRNO(subject_begin(&s, kind, &demanded), WEIR_E_UNSUPPORTED);
        cr_assert(detail_has("NUMA node"), "%s", weir_error_detail());
        subject_end(&s);
    }
    weir_section *section = NULL;
    CHECK_KEEPS_ERRNO(weir_section_create(&section, "Local/far", SIZE, &demanded), WEIR_E_UNSUPPORTED);
    cr_assert(section == NULL && detail_has("999"), "%s", weir_error_detail());
    CHECK_KEEPS_ERRNO(weir_section_create_unnamed(&section, SIZE, &demanded), WEIR_E_UNSUPPORTED);
    cr_assert(section == NULL && detail_has("999"), "%s", weir_error_detail());
    weir_section *creator, *far;
    CHECK_OK(weir_section_create(&creator, "Local/near", SIZE, NULL));
    CHECK_OK(weir_section_open(&far, "Local/near", &demanded));
    CHECK_KEEPS_ERRNO(weir_section_extend(far, 2 * SIZE), WEIR_E_UNSUPPORTED);
    cr_assert(weir_section_size(far) == SIZE && weir_section_size(creator) == SIZE);
    CHECK_OK(weir_section_close(far));
    CHECK_OK(weir_section_close(creator));
    cr_assert_eq(support_entries(dir, true), 0);
}

/* Pages on nodes of our own making. */
static enum { ALL_ON_3, MIXED, NONE_THERE, SOME_ON_3, NOT_TOLD } nodes_are;
static unsigned long asked;
static unsigned char *asked_first, *asked_last;

static long my_move_pages(unsigned long count, void **pages, int *nodes)
{
    asked = count;
    asked_first = pages[0];
    asked_last = pages[count - 1];
    for (unsigned long i = 0; i < count; i++)
        nodes[i] = nodes_are == ALL_ON_3                ? 3
                   : nodes_are == MIXED                 ? (i == count - 1) + 3
                   : nodes_are == SOME_ON_3 && i % 5 == 2 ? 3
                                                        : -ENOENT;
    errno = ENOSYS;
    return nodes_are == NOT_TOLD ? -1 : 0;
}

Test(memory_answers, the_node_is_told_as_one_none_or_mixed_of_pages_all_over_the_view)
{
    static const int32_t expected[] = { 3, WEIR_NODE_MIXED, WEIR_NODE_NONE, 3, WEIR_NODE_NONE };
    support_shm_dir();
    replace();
    weir_linux.move_pages = my_move_pages;
    weir_section_options options = on_node(3, 0);
    weir_section *section;
    CHECK_OK(weir_section_create(&section, "Local/nodes", 5 * SIZE, NULL));
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_section_create(&section, "Local/nodes", 5 * SIZE, &options));
    static const uint64_t sizes[] = { 1, 4096, 5000, 64 * SMALL, 65 * SMALL, 5 * SIZE };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (nodes_are = ALL_ON_3; nodes_are <= NOT_TOLD; nodes_are++) {
            weir_view view;
            weir_memory got;
            CHECK_OK(weir_view_map(&view, section, 0, sizes[i], WEIR_READ_WRITE));
            CHECK_KEEPS(weir_view_memory(&view, &got));
            uint64_t pages = (sizes[i] + SMALL - 1) / SMALL;
            if (nodes_are == MIXED && pages == 1)
                cr_assert_eq(got.node, 4);
            else if (nodes_are != SOME_ON_3 || pages > 2)
                cr_assert_eq(got.node, expected[nodes_are], "%d, not %d", got.node, expected[nodes_are]);
            cr_assert_eq((got.got & WEIR_ON_NODE) != 0, got.node == 3);
            cr_assert(asked >= 1 && asked <= 64 && asked <= pages && (pages > 64 || asked == pages));
            cr_assert(asked_first == view.base && asked_last < (unsigned char *)view.base + sizes[i]);
            cr_assert(asked_last + SMALL >= (unsigned char *)view.base + sizes[i] / 2);
            CHECK_OK(weir_view_unmap(&view));
        }
    CHECK_OK(weir_section_close(section));
    nodes_are = MIXED; /* demanded: each view is looked at */
    options = on_node(3, 1);
    CHECK_OK(weir_section_create(&section, "Local/nodes", 5 * SIZE, NULL));
    weir_section *opener;
    weir_view view = UNTOUCHED;
    CHECK_OK(weir_section_open(&opener, "Local/nodes", &options));
    CHECK_KEEPS_ERRNO(weir_view_map(&view, opener, 0, 0, WEIR_READ_WRITE), WEIR_E_UNSUPPORTED);
    nodes_are = ALL_ON_3;
    CHECK_OK(weir_view_map(&view, opener, 0, 0, WEIR_READ_WRITE));
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(opener));
    CHECK_OK(weir_section_close(section));
}

/* ---- core dumps ---- */

static int my_madvise(void *base, size_t size, int advice)
{
    errno = EINVAL;
    return advice == MADV_DONTDUMP ? -1 : real.madvise(base, size, advice);
}

Test(memory_answers, a_view_is_in_core_dumps_if_its_handle_says_so)
{
    support_shm_dir();
    for (enum kind kind = CREATOR; kind < KINDS; kind++) {
        subject s;
        CHECK_OK(subject_begin(&s, kind, &(weir_section_options){ .flags = WEIR_DUMP }));
        cr_assert_eq(memory(&s).got, WEIR_MAP_NAME); /* compared with the kernel's flag dd */
        weir_view other;
        if (s.owner != s.section) { /* which is a choice of each handle's own */
            CHECK_OK(weir_view_map(&other, s.owner, 0, 0, WEIR_READ_WRITE));
            cr_assert((memory_of(&other, SMALL, s.shows).got & WEIR_NOT_DUMPED) != 0);
            CHECK_OK(weir_view_unmap(&other));
        }
        subject_end(&s);
        weir_section_options options = ways(WEIR_NOT_DUMPED, 1);
        CHECK_OK(subject_begin(&s, kind, &options));
        cr_assert_eq(memory(&s).got, DEFAULTS);
        subject_end(&s);
        options = ways(WEIR_NOT_DUMPED, 0); /* wanted, but the flag is stronger */
        options.flags = WEIR_DUMP;
        CHECK_OK(subject_begin(&s, kind, &options));
        cr_assert_eq(memory(&s).got, WEIR_MAP_NAME);
        subject_end(&s);
    }
}

Test(memory_answers, what_cannot_be_kept_out_of_core_dumps_is_let_in_unless_it_was_demanded)
{
    const char *dir = support_shm_dir();
    subject s;
    weir_section *section = NULL;
    weir_section_options demanded = ways(WEIR_NOT_DUMPED, 1);
    replace();
    weir_linux.madvise = my_madvise;
    CHECK_OK(subject_begin(&s, CREATOR, &(weir_section_options){ 0 }));
    cr_assert_eq(memory(&s).got, WEIR_MAP_NAME);
    subject_end(&s);
    CHECK_KEEPS_ERRNO(weir_section_create(&section, "Local/x", SIZE, &demanded), WEIR_E_OS);
    cr_assert(section == NULL && detail_has("core dumps"), "%s", weir_error_detail());
    CHECK_KEEPS_ERRNO(subject_begin(&s, FILE_WRITER, &demanded), WEIR_E_OS);
    subject_end(&s);
    cr_assert_eq(support_entries(dir, true), 0);
}

/* ---- names ---- */

static const char *unseen; /* a section's file that cannot be opened once it is there */

static int my_openat(int dir, const char *path, int flags, mode_t mode)
{
    if (strcmp(path, unseen) != 0 || faccessat(dir, path, F_OK, 0) != 0)
        return real.openat(dir, path, flags, mode);
    errno = EACCES;
    return -1;
}

Test(memory_answers, views_show_their_section_in_proc)
{
    const char *dir = support_shm_dir();
    char name[600];
    for (enum kind kind = CREATOR; kind < KINDS; kind++) {
        subject s;
        weir_section_options options = ways(WEIR_MAP_NAME, 1);
        CHECK_OK(subject_begin(&s, kind, &options));
        (void)snprintf(name, sizeof name, "%s/weir-g.subject\n", dir);
        if (kind == UNNAMED || kind == ATTACHED)
            (void)strcpy(name, "/memfd:a label (deleted)\n");
        if (is_file(kind))
            (void)snprintf(name, sizeof name, "%s/a-file (deleted)\n", dir);
        smaps kernel = smaps_of(&s.view, SMALL, s.shows);
        cr_assert_str_eq(kernel.name, name);
        cr_assert_eq(memory(&s).got & DEFAULTS, DEFAULTS);
        subject_end(&s);
    }
    weir_section *section;
    weir_view view;
    CHECK_OK(weir_section_create(&section, "Local/mine", SIZE, NULL));
    CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE));
    (void)snprintf(name, sizeof name, "%s/mine\n", local_dir(dir).text);
    cr_assert_str_eq(smaps_of(&view, SMALL, NULL).name, name);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_section_create_unnamed(&section, SIZE, NULL));
    CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE));
    cr_assert_str_eq(smaps_of(&view, SMALL, NULL).name, "/memfd:weir (deleted)\n");
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
}

Test(memory_answers, a_view_that_does_not_show_its_section_is_a_failure_only_when_that_was_demanded)
{
    /* "shm" and "s" are in every line of what is in /dev/shm. */
    static const char *const names[] = { "Global/unseen", "Global/shm", "Global/s" };
    const char *dir = support_shm_dir();
    char file[64];
    replace();
    for (int i = 0; i < 6; i++) {
        weir_section_options options = ways(WEIR_MAP_NAME, i % 2);
        weir_section *section;
        weir_view view = UNTOUCHED;
        (void)snprintf(file, sizeof file, "weir-g.%s", strchr(names[i / 2], '/') + 1);
        unseen = file;
        weir_linux.openat = my_openat; /* its creator cannot open it by its name: the first description stays */
        CHECK_OK(weir_section_create(&section, names[i / 2], SIZE, &options));
        weir_linux.openat = real.openat;
        if (i % 2 == 0) {
            CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE));
            cr_assert_eq(memory_of(&view, SMALL, file).got, WEIR_NOT_DUMPED);
            CHECK_OK(weir_view_unmap(&view));
        } else {
            CHECK_KEEPS_ERRNO(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE), WEIR_E_UNSUPPORTED);
            cr_assert(detail_has("/proc/PID/maps"), "%s", weir_error_detail());
        }
        CHECK_OK(weir_section_close(section));
    }
    cr_assert_eq(support_entries(dir, true), 0);
}

/* ---- true of the whole view, or not got ---- */

Test(memory_answers, what_is_true_of_a_part_of_the_view_only_was_not_got)
{
    support_shm_dir();
    for (enum kind kind = CREATOR; kind < KINDS; kind++) {
        subject s;
        weir_section_options options = ways(WEIR_PREFAULT | WEIR_LOCKED, 0);
        CHECK_OK(subject_begin(&s, kind, &options));
        uint64_t whole = touchable(kind);
        unsigned char *page = (unsigned char *)s.view.base + 3 * KIB64;
        weir_memory all = memory(&s);
        if (geteuid() == 0)
            cr_assert_eq(all.got, DEFAULTS | WEIR_PREFAULT | WEIR_LOCKED);
        CHECK(syscall(SYS_munlock, page, SMALL) == 0); /* sanitizers make munlock do nothing */
        weir_memory got = memory(&s);
        cr_assert_eq(got.got, DEFAULTS | WEIR_PREFAULT);
        cr_assert(all.locked_bytes == 0 || got.locked_bytes == whole - SMALL);
        CHECK(madvise(page, SMALL, MADV_DONTNEED) == 0);
        got = memory(&s);
        cr_assert(got.got == DEFAULTS && got.resident_bytes == whole - SMALL);
        CHECK(madvise(page, SMALL, MADV_DODUMP) == 0);
        cr_assert_eq(memory(&s).got & DEFAULTS, WEIR_MAP_NAME);
        subject_end(&s);
    }
}

static unsigned char *room; /* a section's beginning is mapped there, and what follows in its file behind it */

static void *mmap_in_order(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (at != NULL || fd < 0 || room == NULL)
        return real.mmap(at, size, protection, flags, fd, offset);
    return real.mmap(room + offset, size, protection, flags | MAP_FIXED_NOREPLACE, fd, offset);
}

/* The kernel makes one mapping of a view and the header's own if they are side by side. */
Test(memory_answers, the_header_s_page_is_none_of_the_view_s)
{
    support_shm_dir();
    weir_section *keep, *section;
    weir_view view;
    weir_memory got;
    CHECK_OK(weir_section_create(&keep, "Local/beside", SMALL, NULL));
    replace();
    room = mmap(NULL, MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(room != MAP_FAILED && munmap(room, MIB) == 0);
    weir_linux.mmap = mmap_in_order;
    CHECK_OK(weir_section_open(&section, "Local/beside", NULL));
    CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE));
    cr_assert(view.base == room + WEIR_SECTION_HEADER);
    CHECK_OK(weir_view_memory(&view, &got));
    cr_assert(got.resident_bytes == 0 && (got.got & WEIR_PREFAULT) == 0, "%llu bytes resident, got %#x",
              (unsigned long long)got.resident_bytes, got.got);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_section_close(keep));
}

Test(memory_answers, of_room_where_nothing_is_committed_nothing_was_got)
{
    support_shm_dir();
    weir_section *section;
    weir_view view;
    weir_section_options options = { .flags = WEIR_RESERVE, .demand = WEIR_MAP_NAME | WEIR_PREFAULT | WEIR_NOT_DUMPED };
    CHECK_OK(weir_section_create(&section, "Local/room", SIZE, &options));
    CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE));
    weir_memory got = memory_of(&view, SMALL, "/room");
    cr_assert(got.got == 0 && got.resident_bytes == 0 && got.node == WEIR_NODE_NONE);
    struct stat st;
    CHECK(stat(section_path(getenv("WEIR_SHM_DIR"), "Local/room").text, &st) == 0);
    cr_assert_lt(st.st_blocks * 512, (blkcnt_t)KIB64); /* nor did the look take memory */
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
}

/* ---- what is refused ---- */

static void check_options(const weir_section_options *options, bool create, bool open)
{
    weir_section *section = NULL, *owner, *unnamed;
    weir_handle handle;
    char path[512];
    (void)snprintf(path, sizeof path, "%s/refused", getenv("WEIR_SHM_DIR"));
    weir_section_options observer = *options;
    observer.access = WEIR_READ_ONLY;
    CHECK_OK(weir_section_create(&owner, "Local/owner", SIZE, NULL));
    CHECK_OK(weir_section_create_unnamed(&unnamed, SIZE, NULL));
    CHECK_OK(weir_section_export(unnamed, WEIR_READ_WRITE, false, &handle));
    if (create) {
        CHECK_KEEPS_ERRNO(weir_section_create(&section, "Local/refused", SIZE, options), WEIR_E_INVALID);
        CHECK_KEEPS_ERRNO(weir_section_create_unnamed(&section, SIZE, options), WEIR_E_INVALID);
    }
    if (open) {
        CHECK_KEEPS_ERRNO(weir_section_open(&section, "Local/owner", options), WEIR_E_INVALID);
        CHECK_KEEPS_ERRNO(weir_section_open(&section, "Local/owner", &observer), WEIR_E_INVALID);
        CHECK_KEEPS_ERRNO(weir_section_attach(&section, handle, options), WEIR_E_INVALID);
    }
    if (create && open) {
        weir_section_options file = *options;
        file.flags |= WEIR_FILE_NEW;
        CHECK_KEEPS_ERRNO(weir_section_open_or_create(&section, "Local/owner", SIZE, options, NULL), WEIR_E_INVALID);
        CHECK_KEEPS_ERRNO(weir_section_open_file(&section, path, SIZE, &file), WEIR_E_INVALID);
    }
    cr_assert(section == NULL && !exists(path) && detail_has("options"), "%s", weir_error_detail());
    CHECK_OK(weir_handle_close(handle));
    CHECK_OK(weir_section_close(unnamed));
    CHECK_OK(weir_section_close(owner));
}

Test(memory_answers, properties_that_are_none_or_exclude_each_other_are_refused)
{
    const char *dir = support_shm_dir();
    static const weir_section_options rows[] = {
        { .want = 0x40 },
        { .demand = 0x40 },
        { .want = 0x80000000u },
        { .demand = WEIR_LOCKED | 0x100 },
        { .want = WEIR_PERSISTENT }, /* a flag, not a property; */
        { .demand = WEIR_EXPECT_OWNER },
        { .flags = WEIR_PREFAULT }, /* a property, not a flag */
        { .flags = WEIR_LOCKED },
        { .flags = WEIR_DUMP, .demand = WEIR_NOT_DUMPED },
        { .flags = WEIR_DUMP, .demand = WEIR_NOT_DUMPED | WEIR_LOCKED, .want = WEIR_NOT_DUMPED },
        { .want = WEIR_ON_NODE, .node = 1024 },
        { .demand = WEIR_ON_NODE, .node = UINT32_MAX },
        { .flags = 0x1000 },
        { .flags = WEIR_DUMP | 0x2000 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check_options(&rows[i], true, true);
    static const uint32_t of_create[] = { WEIR_RESERVE, WEIR_SET_GROUP, WEIR_PERSISTENT, WEIR_SEAL_SHRINK };
    for (size_t i = 0; i < sizeof of_create / sizeof of_create[0]; i++)
        check_options(&(weir_section_options){ .flags = of_create[i] }, false, true);
    check_options(&(weir_section_options){ .flags = WEIR_EXPECT_OWNER }, true, false);
    weir_section *section; /* a node that nobody asks for may be any number */
    CHECK_OK(weir_section_create(&section, "Local/x", SIZE, &(weir_section_options){ .node = 5000 }));
    CHECK_OK(weir_section_close(section));
    cr_assert_eq(support_entries(dir, true), 0);
}

static void in_the_child(void *arg)
{
    const subject *s = arg;
    weir_memory got;
    memset(&got, 0xa5, sizeof got);
    CHECK_STATUS(weir_view_memory(&s->view, &got), WEIR_E_FORKED);
    CHECK(*weir_error_detail() != 0 && got.got == 0xa5a5a5a5u);
}

static void without_proc(void *arg)
{
    const subject *s = arg;
    weir_view view = UNTOUCHED;
    weir_memory got = { .got = 77 };
    CHECK(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    for (int file = 0; file < 2; file++) { /* nothing there, then a file in a folder's place */
        subject mine;
        weir_section_options wanted = ways(WEIR_PREFAULT, 0), demanded = ways(WEIR_MAP_NAME, 1);
        weir_status expected = file == 0 ? WEIR_E_UNSUPPORTED : WEIR_E_OS;
        CHECK(mount("none", "/proc", "tmpfs", 0, NULL) == 0);
        if (file != 0)
            file_write("/proc/self", "x", 1, 0600);
        errno = KEPT;
        CHECK_OK(weir_section_create(&mine.section, "Local/x", SIZE, &wanted));
        CHECK_OK(weir_view_map(&mine.view, mine.section, 0, 0, WEIR_READ_WRITE));
        CHECK_STATUS(weir_view_memory(&mine.view, &got), expected);
        CHECK(errno == KEPT && got.got == 77 && detail_has("/proc"));
        CHECK_OK(weir_view_unmap(&mine.view));
        CHECK_OK(weir_section_close(mine.section));
        CHECK_OK(weir_section_create(&mine.section, "Local/x", SIZE, &demanded));
        CHECK_STATUS(weir_view_map(&view, mine.section, 0, 0, WEIR_READ_WRITE), expected);
        CHECK(view.base == UNTOUCHED.base);
        CHECK_OK(weir_section_close(mine.section));
    }
    (void)s;
}

Test(memory_answers, a_look_that_fails_says_why_and_touches_nothing)
{
    support_shm_dir();
    subject s;
    CHECK_OK(subject_begin(&s, CREATOR, &(weir_section_options){ 0 }));
    weir_memory got = { .got = 77 }, ok;
    weir_view unknown = s.view, none = { .base = NULL };
    unknown.base = (unsigned char *)unknown.base + SMALL;
    CHECK_KEEPS_ERRNO(weir_view_memory(NULL, &got), WEIR_E_INVALID);
    CHECK_KEEPS_ERRNO(weir_view_memory(&none, &got), WEIR_E_INVALID);
    CHECK_KEEPS_ERRNO(weir_view_memory(&unknown, &got), WEIR_E_INVALID);
    CHECK_KEEPS_ERRNO(weir_view_memory(&s.view, NULL), WEIR_E_INVALID);
    holder h = holder_start(in_the_child, NULL, &s);
    holder_finish(&h);
    if (geteuid() == 0) {
        h = holder_start(without_proc, NULL, &s);
        holder_finish(&h);
    } else {
        (void)puts("SKIPPED in part: /proc is hidden as root only");
    }
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    struct rlimit none_left = { .rlim_cur = 3, .rlim_max = limit.rlim_max };
    CHECK(setrlimit(RLIMIT_NOFILE, &none_left) == 0);
    CHECK_KEEPS_ERRNO(weir_view_memory(&s.view, &got), WEIR_E_NO_MEMORY);
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    cr_assert_eq(got.got, 77);
    CHECK_KEEPS(weir_view_memory(&s.view, &ok));
    weir_view copy = s.view; /* the caller may copy it */
    CHECK_KEEPS(weir_view_memory(&copy, &ok));
    subject_end(&s);
}
