/* Large pages: unnamed sections from the system's pool, named ones from transparent huge pages. */
#include "view_memory.h"

#include <weir/naming/os_linux.h>

#include <criterion/criterion.h>
#include <sys/file.h>
#include <sys/mman.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#define POOL "/proc/sys/vm/nr_hugepages"

/* ---- the pool ---- */

static struct {
    pid_t keeper;
    int go;
} pool;

static uint64_t meminfo(const char *key)
{
    char text[8192];
    text[file_read("/proc/meminfo", text, sizeof text - 1)] = 0;
    const char *line = strstr(text, key);
    CHECK(line != NULL);
    return strtoull(line + strlen(key), NULL, 10);
}

static uint64_t pool_page(void)
{
    return meminfo("Hugepagesize:") * 1024;
}

/* What nobody has, and nobody was promised.  The kernel may look at a page for a moment longer than its owner. */
static uint64_t pool_free(void)
{
    return meminfo("HugePages_Free:") - meminfo("HugePages_Rsvd:");
}

/* What is in use stays until it is given back; a process that was killed does that a moment later.  empty: nobody may
 * have any of it. */
static bool pool_write(int fd, unsigned pages, bool empty)
{
    char text[32];
    int len = snprintf(text, sizeof text, "%u\n", pages);
    for (int64_t end = monotonic_ns() + INT64_C(2000000000); monotonic_ns() < end;) {
        char now[32] = "";
        if (pwrite(fd, text, (size_t)len, 0) == len && pread(fd, now, sizeof now - 1, 0) > 0 &&
            strtoul(now, NULL, 10) == pages &&
            (!empty || (meminfo("HugePages_Total:") == pages && meminfo("HugePages_Free:") == pages)))
            return true;
        (void)nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
    return false;
}

/* A process apart, so that the pool is put back however this one ends; it excludes other tests meanwhile. */
static void keep_pool(unsigned pages, int ready, int go)
{
    char text[32] = "", byte;
    int fd = open(POOL, O_RDWR | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX) != 0 || pread(fd, text, sizeof text - 1, 0) <= 0)
        _exit(1);
    bool had = pool_write(fd, pages, true);
    (void)!write(ready, had ? "y" : "n", 1);
    (void)!read(go, &byte, 1);
    _exit(pool_write(fd, (unsigned)strtoul(text, NULL, 10), false) ? 0 : 1);
}

static void pool_put_back(void)
{
    if (pool.keeper == 0)
        return;
    (void)close(pool.go);
    (void)waitpid(pool.keeper, NULL, 0);
    pool.keeper = 0;
}

/* Makes the pool that many pages for this test; false: it may not, or there is no such memory. */
static bool pool_of(unsigned pages)
{
    int ready[2], go[2];
    char answer = 'n';
    if (access(POOL, W_OK) != 0)
        return false;
    CHECK(pipe2(ready, O_CLOEXEC) == 0 && pipe2(go, O_CLOEXEC) == 0);
    pool.keeper = fork();
    CHECK(pool.keeper >= 0);
    if (pool.keeper == 0) {
        (void)close(ready[0]);
        (void)close(go[1]);
        keep_pool(pages, ready[1], go[0]);
    }
    CHECK(atexit(pool_put_back) == 0);
    pool.go = go[1];
    (void)close(go[0]);
    (void)close(ready[1]);
    bool had = read(ready[0], &answer, 1) == 1 && answer == 'y';
    (void)close(ready[0]);
    return had;
}

#define NEEDS_POOL(pages)                                                                                             \
    do {                                                                                                              \
        if (!pool_of(pages))                                                                                          \
            cr_skip_test("SKIPPED: needs %u huge pages, and root to have them", (unsigned)(pages));                   \
    } while (0)

static const weir_section_options wanted = { .want = WEIR_LARGE_PAGES, .label = "large" };
static const weir_section_options demanded = { .demand = WEIR_LARGE_PAGES, .label = "large" };

static weir_section *create(uint64_t size, const weir_section_options *options)
{
    weir_section *section;
    CHECK_OK(weir_section_create_unnamed(&section, size, options));
    return section;
}

static weir_view map(weir_section *section, uint64_t offset, uint64_t size, weir_access access)
{
    weir_view view;
    CHECK_OK(weir_view_map(&view, section, offset, size, access));
    return view;
}

static void unmap(weir_view *view)
{
    CHECK_OK(weir_view_unmap(view));
}

static weir_status ones(void *content, uint64_t size, void *arg)
{
    unsigned char *bytes = content;
    (void)arg;
    for (uint64_t i = 0; i < size; i += 511)
        if (bytes[i] != 0)
            return WEIR_E_CORRUPT;
    memset(bytes, 1, size);
    return WEIR_OK;
}

Test(memory_large, an_unnamed_section_is_of_the_pool_s_pages_and_gives_them_back)
{
    support_shm_dir();
    NEEDS_POOL(6);
    uint64_t page = pool_page();
    unsigned fds = open_fds(), lines = map_lines();
    for (int must = 0; must < 2; must++) {
        weir_section_options options = must ? demanded : wanted;
        options.init = ones;
        weir_section *section = create(2 * page, &options); /* with its header, three */
        CHECK_SOON(pool_free() == 3);
        cr_assert_eq(weir_section_size(section), 2 * page);
        static const weir_access accesses[] = { WEIR_READ_WRITE, WEIR_READ_ONLY, WEIR_COPY_ON_WRITE };
        for (int i = 0; i < 3; i++) {
            weir_view view = map(section, 0, 0, accesses[i]);
            weir_memory got = memory_of(&view, page, "/memfd:large");
            cr_assert(got.page_bytes == page && (got.got & WEIR_LARGE_PAGES) != 0 && (got.got & DEFAULTS) == DEFAULTS);
            cr_assert_geq(got.large_bytes, 2 * page);
            for (uint64_t at = 0; at < 2 * page; at += SMALL - 1)
                cr_assert_eq(((unsigned char *)view.base)[at], 1);
            unmap(&view);
        }
        CHECK_OK(weir_section_close(section));
        CHECK_SOON(pool_free() == 6);
    }
    cr_assert(open_fds() == fds && map_lines() == lines);
}

Test(memory_large, views_of_huge_pages_begin_at_every_64_kib_and_show_one_content)
{
    support_shm_dir();
    NEEDS_POOL(4);
    uint64_t page = pool_page(), size = 2 * page + 3;
    weir_section *section = create(size, &demanded);
    weir_view whole = map(section, 0, 0, WEIR_READ_WRITE);
    unsigned char *bytes = whole.base;
    for (uint64_t at = 0; at < size; at++)
        bytes[at] = (unsigned char)(at * 31 / 4096 + at);
    unsigned lines = map_lines();
    for (uint64_t offset = 0; offset < size; offset += KIB64) {
        uint64_t left = size - offset, sizes[] = { 0, 1, KIB64, page - SMALL, page };
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            if (sizes[i] > left)
                continue;
            weir_access access = (weir_access)((offset / KIB64 + i) % 2);
            weir_view view = map(section, offset, sizes[i], access);
            cr_assert(view.size == (sizes[i] != 0 ? sizes[i] : left) && view.offset == offset);
            cr_assert_eq(memcmp(view.base, bytes + offset, view.size), 0);
            if (access == WEIR_READ_WRITE) { /* what is written through it shows in the other */
                unsigned char *last = (unsigned char *)view.base + view.size - 1;
                *last ^= 0xff;
                cr_assert_eq(bytes[offset + view.size - 1], *last);
                *last ^= 0xff;
            }
            unmap(&view);
            cr_assert_eq(map_lines(), lines);
        }
    }
    weir_view one = map(section, KIB64, KIB64, WEIR_READ_WRITE);
    weir_memory got = memory_of(&one, page, "/memfd:large");
    cr_assert(got.page_bytes == page && (got.got & WEIR_LARGE_PAGES) != 0);
    unmap(&one);
    CHECK_STATUS(weir_view_map(&one, section, SMALL, 0, WEIR_READ_WRITE), WEIR_E_ALIGNMENT);
    CHECK_STATUS(weir_view_map(&one, section, 0, size + 1, WEIR_READ_WRITE), WEIR_E_RANGE);
    unmap(&whole);
    CHECK_OK(weir_section_close(section));
    CHECK_SOON(pool_free() == 4);
}

Test(memory_large, a_section_of_huge_pages_is_extended_by_them_or_stays_as_it_is)
{
    support_shm_dir();
    NEEDS_POOL(4);
    uint64_t page = pool_page();
    weir_section *section = create(MIB, &demanded), *other;
    weir_handle handle;
    CHECK_OK(weir_section_export(section, WEIR_READ_WRITE, false, &handle));
    CHECK_OK(weir_section_attach(&other, handle, NULL));
    CHECK_OK(weir_handle_close(handle));
    CHECK_SOON(pool_free() == 3);
    weir_view old = map(section, 0, 0, WEIR_READ_WRITE);
    memset(old.base, 7, MIB);
    CHECK_OK(weir_section_extend(section, MIB + KIB64)); /* in the page that it has */
    CHECK_SOON(pool_free() == 3);
    cr_assert_eq(weir_section_size(other), MIB + KIB64);
    CHECK_OK(weir_section_extend(section, page)); /* its header's 4096 bytes need another */
    CHECK_SOON(pool_free() == 2);
    CHECK_OK(weir_section_extend(other, 2 * page + 5));
    CHECK_SOON(pool_free() == 1);
    cr_assert_eq(weir_section_size(section), 2 * page + 5);
    CHECK_KEEPS_ERRNO(weir_section_extend(section, 5 * page), WEIR_E_NO_SPACE);
    cr_assert(detail_has("nr_hugepages"), "%s", weir_error_detail());
    CHECK_SOON(pool_free() == 1);
    cr_assert_eq(weir_section_size(section), 2 * page + 5);
    cr_assert_eq(weir_section_size(other), 2 * page + 5);
    weir_view whole = map(other, 0, 0, WEIR_READ_WRITE);
    const unsigned char *bytes = whole.base;
    for (uint64_t at = 0; at < 2 * page + 5; at += 509)
        cr_assert_eq(bytes[at], at < MIB ? 7 : 0);
    weir_memory got = memory_of(&whole, page, "/memfd:large");
    cr_assert(got.page_bytes == page && got.large_bytes >= 2 * page + 5);
    cr_assert_eq(((unsigned char *)old.base)[MIB - 1], 7);
    unmap(&whole);
    unmap(&old);
    CHECK_OK(weir_section_close(other));
    CHECK_OK(weir_section_close(section));
    CHECK_SOON(pool_free() == 4);
}

/* More than the pool has: what was wanted is done without, what was demanded fails and says what to do. */
static void check_not_enough(uint64_t size, uint64_t free_before)
{
    weir_section *section = NULL;
    weir_section_options on_node = demanded;
    on_node.want = WEIR_ON_NODE;
    const weir_section_options *const options[] = { &demanded, &on_node };
    for (int i = 0; i < 2; i++) {
        errno = KEPT;
        weir_status status = weir_section_create_unnamed(&section, size, options[i]);
        cr_assert(errno == KEPT && section == NULL);
        cr_assert(status == WEIR_E_NO_SPACE || status == WEIR_E_UNSUPPORTED, "%s", weir_status_name(status));
        cr_assert(detail_has("vm.nr_hugepages"), "%s", weir_error_detail());
        CHECK_SOON(pool_free() == free_before);
    }
    CHECK_KEEPS(weir_section_create_unnamed(&section, size, &wanted));
    weir_view view = map(section, 0, 0, WEIR_READ_WRITE);
    weir_memory got = memory_of(&view, SMALL, "/memfd:large");
    cr_assert_eq(got.page_bytes, SMALL);
    memset(view.base, 1, view.size);
    CHECK_SOON(pool_free() == free_before);
    unmap(&view);
    CHECK_OK(weir_section_close(section));
}

Test(memory_large, an_empty_pool_is_done_without_when_wanted_and_a_failure_when_demanded)
{
    support_shm_dir();
    NEEDS_POOL(0);
    unsigned fds = open_fds();
    check_not_enough(1, 0);
    check_not_enough(MIB, 0);
    check_not_enough(3 * pool_page(), 0);
    cr_assert_eq(open_fds(), fds);
}

Test(memory_large, a_pool_that_is_too_small_is_as_an_empty_one_and_stays_whole)
{
    support_shm_dir();
    NEEDS_POOL(2);
    unsigned fds = open_fds();
    check_not_enough(2 * pool_page(), 2);
    weir_section *section = create(2 * pool_page() - WEIR_SECTION_HEADER, &demanded); /* exactly fits */
    CHECK_SOON(pool_free() == 0);
    check_not_enough(1, 0);
    CHECK_OK(weir_section_close(section));
    CHECK_SOON(pool_free() == 2);
    cr_assert_eq(open_fds(), fds);
}

Test(memory_large, reserved_room_has_no_large_pages)
{
    support_shm_dir();
    NEEDS_POOL(4);
    weir_section *section = NULL;
    weir_section_options room = { .flags = WEIR_RESERVE, .demand = WEIR_LARGE_PAGES };
    CHECK_KEEPS_ERRNO(weir_section_create_unnamed(&section, MIB, &room), WEIR_E_UNSUPPORTED);
    cr_assert(section == NULL && detail_has("large pages"), "%s", weir_error_detail());
    room = (weir_section_options){ .flags = WEIR_RESERVE, .want = WEIR_LARGE_PAGES };
    section = create(MIB, &room);
    CHECK_OK(weir_section_commit(section, KIB64, KIB64));
    weir_view view = map(section, 0, 0, WEIR_READ_WRITE);
    weir_memory got = memory_of(&view, SMALL, "/memfd:weir");
    cr_assert(got.page_bytes == SMALL && (got.got & WEIR_LARGE_PAGES) == 0);
    CHECK_SOON(pool_free() == 4);
    unmap(&view);
    CHECK_OK(weir_section_close(section));
}

Test(memory_large, who_attaches_has_the_same_pages)
{
    support_shm_dir();
    NEEDS_POOL(2);
    uint64_t page = pool_page();
    weir_section *section = create(page, &demanded);
    weir_handle handle;
    CHECK_OK(weir_section_export(section, WEIR_READ_WRITE, false, &handle));
    for (int i = 0; i < 4; i++) {
        weir_section_options options = i % 2 == 0 ? demanded : (weir_section_options){ 0 };
        options.access = i < 2 ? WEIR_READ_WRITE : WEIR_READ_ONLY;
        weir_section *other;
        CHECK_OK(weir_section_attach(&other, handle, &options));
        weir_view view = map(other, KIB64, 0, options.access);
        weir_memory got = memory_of(&view, page, "/memfd:large");
        cr_assert(got.page_bytes == page && (got.got & WEIR_LARGE_PAGES) != 0 && view.size == page - KIB64);
        unmap(&view);
        CHECK_OK(weir_section_close(other));
    }
    CHECK_OK(weir_handle_close(handle));
    CHECK_OK(weir_section_close(section));
    CHECK_SOON(pool_free() == 2);
}

/* What is demanded is had, or the call fails; weir_view_memory tells which. */
Test(memory_large, large_pages_go_with_the_other_properties)
{
    support_shm_dir();
    NEEDS_POOL(4);
    uint64_t page = pool_page();
    static const uint32_t properties[] = { WEIR_PREFAULT, WEIR_NOT_DUMPED, WEIR_MAP_NAME, WEIR_ON_NODE, WEIR_LOCKED };
    for (size_t i = 0; i < sizeof properties / sizeof properties[0]; i++)
        for (int copy = 0; copy < 2; copy++) {
            weir_section_options options = { .demand = WEIR_LARGE_PAGES | properties[i], .label = "large" };
            weir_section *section = create(MIB, &options);
            weir_view view = map(section, KIB64, 0, copy ? WEIR_COPY_ON_WRITE : WEIR_READ_WRITE);
            weir_memory got = memory_of(&view, page, "/memfd:large");
            cr_assert_eq(got.got & options.demand, options.demand, "%#x demanded, %#x got", options.demand, got.got);
            unmap(&view);
            CHECK_OK(weir_section_close(section));
        }
    CHECK_SOON(pool_free() == 4);
}

/* ---- transparent ones ---- */

#define CONTENT_OFF WEIR_SECTION_HEADER

static weir_linux_calls real;
static bool no_collapse, no_size;

static int my_madvise(void *base, size_t size, int advice)
{
    errno = EINVAL;
    return no_collapse && (advice == MADV_COLLAPSE || advice == MADV_HUGEPAGE) ? -1 : real.madvise(base, size, advice);
}

static int my_openat(int dir, const char *path, int flags, mode_t mode)
{
    errno = ENOENT;
    return no_size && strstr(path, "hpage_pmd_size") != NULL ? -1 : real.openat(dir, path, flags, mode);
}

/* Whether this kernel gives tmpfs any, found out without the library. */
static bool has_transparent(void)
{
    uint64_t huge = huge_bytes();
    char path[128], text[128] = "";
    if (huge == 0)
        return false;
    (void)snprintf(path, sizeof path, "%s/probe", getenv("WEIR_SHM_DIR"));
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && unlink(path) == 0 && ftruncate(fd, (off_t)huge) == 0);
    unsigned char *room = mmap(NULL, 2 * huge, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(room != MAP_FAILED);
    unsigned char *at = room + (huge - (uintptr_t)room % huge) % huge;
    CHECK(mmap(at, huge, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == at);
    memset(at, 1, huge);
    bool given = madvise(at, huge, MADV_COLLAPSE) == 0;
    (void)munmap(room, 2 * huge);
    (void)close(fd);
    text[file_read("/sys/kernel/mm/transparent_hugepage/shmem_enabled", text, sizeof text - 1)] = 0;
    if (!given)
        (void)printf("SKIPPED: this kernel gives tmpfs no transparent huge pages (shmem_enabled: %s)\n", text);
    return given;
}

Test(memory_large, a_named_section_has_transparent_ones_wherever_a_whole_one_lies_in_the_view)
{
    const char *dir = support_shm_dir();
    if (!has_transparent())
        cr_skip_test("no transparent huge pages of tmpfs");
    uint64_t huge = huge_bytes(), size = 4 * huge;
    unsigned lines = map_lines();
    for (int must = 0; must < 2; must++) {
        weir_section_options options = ways(WEIR_LARGE_PAGES, must);
        weir_section *section;
        CHECK_OK(weir_section_create(&section, "Local/thp", size, &options));
        static const uint64_t offsets[] = { 0, KIB64, 31 * KIB64, 32 * KIB64, 33 * KIB64 };
        for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
            weir_view view = map(section, offsets[i], 0, i % 2 == 0 ? WEIR_READ_WRITE : WEIR_READ_ONLY);
            weir_memory got = memory_of(&view, SMALL, "/thp");
            uint64_t from = CONTENT_OFF + offsets[i], to = CONTENT_OFF + size;
            uint64_t whole = to / huge * huge - (from + huge - 1) / huge * huge;
            cr_assert(got.large_bytes == whole && (got.got & WEIR_LARGE_PAGES) != 0, "at %llu: %llu of %llu large",
                      (unsigned long long)offsets[i], (unsigned long long)got.large_bytes, (unsigned long long)whole);
            cr_assert_eq(got.page_bytes, SMALL);
            memset(view.base, 1, i % 2 == 0 ? view.size : 0);
            /* One of them is taken apart: now it is not all of large pages. */
            uint64_t first = ((uintptr_t)view.base + huge - 1) / huge * huge;
            CHECK(madvise((void *)(uintptr_t)(first + KIB64), SMALL, MADV_DONTNEED) == 0);
            got = memory_of(&view, SMALL, "/thp");
            cr_assert(got.large_bytes == whole - huge && (got.got & WEIR_LARGE_PAGES) == 0);
            unmap(&view);
        }
        weir_view small = UNTOUCHED; /* no large page is wholly in it */
        weir_status status = weir_view_map(&small, section, 0, huge - KIB64, WEIR_READ_WRITE);
        cr_assert_eq(status, must ? WEIR_E_UNSUPPORTED : WEIR_OK);
        if (must)
            cr_assert(detail_has("large pages") && small.base == UNTOUCHED.base, "%s", weir_error_detail());
        else
            unmap(&small);
        CHECK_OK(weir_section_close(section));
        cr_assert_eq(map_lines(), lines);
    }
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(memory_large, transparent_ones_that_cannot_be_had_are_done_without_unless_demanded)
{
    support_shm_dir();
    uint64_t size = 8 * MIB;
    weir_section_options want = ways(WEIR_LARGE_PAGES, 0), demand = ways(WEIR_LARGE_PAGES, 1);
    real = weir_linux;
    weir_linux.madvise = my_madvise;
    weir_linux.openat = my_openat;
    for (int i = 0; i < 2; i++) {
        weir_section *section;
        no_collapse = true; /* no_size alone would let the kernel give them of itself */
        no_size = i == 1;
        CHECK_OK(weir_section_create(&section, "Local/thp", size, &want));
        weir_view view = map(section, 0, 0, WEIR_READ_WRITE);
        weir_memory got = memory_of(&view, SMALL, "/thp");
        if (got.large_bytes == 0) { /* it may be set to give them to everybody */
            cr_assert(got.got == DEFAULTS && got.page_bytes == SMALL);
            unmap(&view);
            CHECK_OK(weir_section_close(section));
            CHECK_OK(weir_section_create(&section, "Local/thp", size, &demand));
            view = UNTOUCHED;
            CHECK_KEEPS_ERRNO(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE), WEIR_E_UNSUPPORTED);
            cr_assert(view.base == UNTOUCHED.base && detail_has("README"), "%s", weir_error_detail());
        } else {
            unmap(&view);
        }
        CHECK_OK(weir_section_close(section));
    }
}

Test(memory_large, a_file_section_has_none)
{
    const char *dir = support_shm_dir();
    char path[512];
    (void)snprintf(path, sizeof path, "%s/file", dir);
    for (int must = 0; must < 2; must++) {
        weir_section_options options = ways(WEIR_LARGE_PAGES, must);
        options.flags = WEIR_FILE_NEW;
        weir_section *section;
        weir_view view = UNTOUCHED;
        CHECK_OK(weir_section_open_file(&section, path, 8 * MIB, &options));
        weir_status status = weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE);
        cr_assert_eq(status, must ? WEIR_E_UNSUPPORTED : WEIR_OK);
        if (must == 0) {
            cr_assert_eq(memory_of(&view, SMALL, "/file").large_bytes, 0);
            unmap(&view);
        }
        CHECK_OK(weir_section_close(section));
        CHECK(unlink(path) == 0);
    }
}
