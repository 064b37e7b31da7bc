/* Where sections are mapped: every view of every process, as what it is. */
#include "looks.h"

#include <weir/naming/os_linux.h>

#include <criterion/criterion.h>
#include <sys/mman.h>

#define KIB64 UINT64_C(65536)

static weir_section *create(const char *name, uint64_t size, const weir_section_options *options)
{
    weir_section *section;
    CHECK_OK(weir_section_create(&section, name, size, options));
    return section;
}

static weir_section *open_as(const char *name, weir_access access)
{
    weir_section *section;
    CHECK_OK(weir_section_open(&section, name, &(weir_section_options){ .access = access }));
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

/* The mapping of a process at that address. */
static const weir_section_mapping *mapping_at(const struct mapped *mapped, pid_t pid, uint64_t base)
{
    const weir_section_mapping *found = NULL;
    for (unsigned i = 0; i < mapped->count; i++)
        if (mapped->at[i].pid == (uint32_t)pid && mapped->at[i].base == base) {
            CHECK(found == NULL);
            found = &mapped->at[i];
        }
    return found;
}

static void look(const char *name, struct mapped *mapped)
{
    unsigned fds = open_fds();
    mapped->count = 0;
    CHECK_KEEPS(weir_section_mappings(name, mapped_visit, mapped));
    cr_assert_eq(open_fds(), fds);
}

static void check_view(const struct mapped *mapped, pid_t pid, const weir_view *view, weir_access access)
{
    const weir_section_mapping *mapping = mapping_at(mapped, pid, (uintptr_t)view->base);
    cr_assert_not_null(mapping, "a view of %llu bytes at %llu is missing", (unsigned long long)view->size,
                       (unsigned long long)view->offset);
    cr_assert_eq(mapping->offset, view->offset);
    cr_assert_eq(mapping->size, view->size, "%llu, not %llu", (unsigned long long)mapping->size,
                 (unsigned long long)view->size);
    cr_assert_eq(mapping->access, access, "access %d, not %d", mapping->access, access);
}

static const struct {
    uint64_t offset, size;
    weir_access access;
} pieces[] = {
    { 0, 0, WEIR_READ_WRITE },            { 0, KIB64, WEIR_READ_ONLY },        { KIB64, 0, WEIR_COPY_ON_WRITE },
    { 3 * KIB64, 0, WEIR_READ_ONLY },     { 2 * KIB64, 4096, WEIR_READ_WRITE }, { 0, 0, WEIR_COPY_ON_WRITE },
    { KIB64, 2 * KIB64, WEIR_READ_ONLY },
};
#define PIECES (sizeof pieces / sizeof pieces[0])

/* What another process has mapped: it tells through memory that both have. */
static weir_view *told;

static void map_pieces(void *arg)
{
    weir_section *section = open_as(arg, WEIR_READ_WRITE), *observer = open_as(arg, WEIR_READ_ONLY);
    for (size_t i = 0; i < PIECES; i++)
        told[i] = map(pieces[i].access == WEIR_READ_WRITE ? section : observer, pieces[i].offset, pieces[i].size,
                      pieces[i].access);
}

Test(list_mappings, every_view_of_every_process_is_told_with_base_offset_size_and_access)
{
    static const char *const names[] = { "Local/mapped", "Global/mapped" };
    const char *dir = support_shm_dir();
    static struct mapped mapped;
    told = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(told != MAP_FAILED);
    for (int n = 0; n < 2; n++) {
        weir_section *section = create(names[n], 3 * KIB64 + 100, NULL), *other = create("Local/other", KIB64, NULL);
        weir_view of_other = map(other, 0, 0, WEIR_READ_WRITE), views[PIECES];
        look(names[n], &mapped);
        cr_assert_eq(mapped.count, 0); /* its header is no view */
        for (size_t i = 0; i < PIECES; i++) {
            views[i] = map(section, pieces[i].offset, pieces[i].size, pieces[i].access);
            look(names[n], &mapped);
            cr_assert_eq(mapped.count, i + 1);
            check_view(&mapped, getpid(), &views[i], pieces[i].access);
        }
        holder holders[2] = { { .pid = 0 } };
        for (int k = 0; k < 2; k++) {
            holders[k] = holder_start(map_pieces, NULL, (void *)(uintptr_t)names[n]);
            look(names[n], &mapped);
            for (size_t i = 0; i < PIECES; i++) {
                check_view(&mapped, getpid(), &views[i], pieces[i].access);
                check_view(&mapped, holders[k].pid, &told[i], pieces[i].access);
            }
            cr_assert_eq(mapped.count, PIECES * (2 + (unsigned)k));
        }
        for (unsigned stop = 1; stop <= 3 * PIECES; stop++) {
            struct mapped some = { .stop = stop };
            CHECK_KEEPS(weir_section_mappings(names[n], mapped_visit, &some));
            cr_assert_eq(some.count, stop);
        }
        holder_kill(&holders[0]);
        holder_kill(&holders[1]);
        look(names[n], &mapped);
        cr_assert_eq(mapped.count, PIECES);
        for (size_t i = 0; i < PIECES; i++)
            unmap(&views[i]);
        look(names[n], &mapped);
        cr_assert_eq(mapped.count, 0);
        unmap(&of_other);
        CHECK_OK(weir_section_close(other));
        CHECK_OK(weir_section_close(section));
    }
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(list_mappings, a_copy_on_write_view_that_was_written_to_is_one_view)
{
    support_shm_dir();
    static struct mapped mapped;
    weir_section *section = create("Local/x", 4 * KIB64, NULL);
    weir_view view = map(section, 0, 0, WEIR_COPY_ON_WRITE);
    ((char *)view.base)[KIB64] = 1;
    look("Local/x", &mapped);
    cr_assert_eq(mapped.count, 1);
    check_view(&mapped, getpid(), &view, WEIR_COPY_ON_WRITE);
    unmap(&view);
    CHECK_OK(weir_section_close(section));
}

static void nothing(void *arg)
{
    (void)arg;
}

Test(list_mappings, a_forked_child_has_none)
{
    support_shm_dir();
    static struct mapped mapped;
    weir_section *section = create("Local/x", 4 * KIB64, NULL);
    weir_view view = map(section, 0, 0, WEIR_READ_WRITE);
    holder h = holder_start(nothing, NULL, NULL);
    look("Local/x", &mapped);
    cr_assert_eq(mapped.count, 1);
    check_view(&mapped, getpid(), &view, WEIR_READ_WRITE);
    holder_finish(&h);
    unmap(&view);
    CHECK_OK(weir_section_close(section));
}

Test(list_mappings, a_partly_committed_view_is_told_as_one)
{
    static const weir_access accesses[] = { WEIR_READ_WRITE, WEIR_READ_ONLY, WEIR_COPY_ON_WRITE };
    support_shm_dir();
    static struct mapped mapped;
    weir_section_options options = { .flags = WEIR_RESERVE, .commit_bytes = 2 * KIB64 };
    for (int first = 0; first < 2; first++) { /* mapped first or committed first */
        weir_section *section = create("Global/room", 40 * KIB64 + 1, &options);
        weir_view views[3];
        for (int i = 0; i < 3 && first == 0; i++)
            views[i] = map(section, (uint64_t)i * KIB64, 0, accesses[i]);
        for (uint64_t g = 4; g < 40; g += 3)
            CHECK_OK(weir_section_commit(section, g * KIB64, KIB64));
        for (int i = 0; i < 3 && first == 1; i++) {
            views[i] = map(section, (uint64_t)i * KIB64, 0, accesses[i]);
            /* a page that belongs to nobody, so that no view is right beside another */
            CHECK(mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
        }
        look("Global/room", &mapped);
        cr_assert_eq(mapped.count, 3, "%u", mapped.count);
        for (int i = 0; i < 3; i++)
            check_view(&mapped, getpid(), &views[i], accesses[i]);
        for (int i = 0; i < 3; i++)
            unmap(&views[i]);
        CHECK_OK(weir_section_close(section));
    }
}

/* ---- views side by side ---- */

static weir_linux_calls real;
static unsigned char *room; /* where the file's beginning goes, and with it, in order, all else of the file */
static size_t beginning;    /* bytes of the header's mapping that is meant: of reserved room, not the first */

static void *mmap_in_order(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (at != NULL || fd < 0 || room == NULL || (offset == 0 && size != beginning))
        return real.mmap(at, size, protection, flags, fd, offset);
    return real.mmap(room + offset, size, protection, flags | MAP_FIXED_NOREPLACE, fd, offset);
}

static void place_in_order(uint64_t size)
{
    room = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(room != MAP_FAILED && munmap(room, size) == 0);
    if (real.mmap == NULL)
        real = weir_linux;
    weir_linux.mmap = mmap_in_order;
}

/* The kernel makes one mapping of the two, which begins before the content. */
Test(list_mappings, a_view_right_behind_the_header_s_own_mapping_is_told)
{
    support_shm_dir();
    static struct mapped mapped;
    for (int reserved = 0; reserved < 2; reserved++) {
        weir_section_options options = { .flags = reserved ? WEIR_RESERVE : 0, .commit_bytes = reserved ? KIB64 : 0 };
        weir_section *keep = create("Local/beside", 2 * KIB64, &options);
        beginning = weir_section_content_off(options.flags, 2 * KIB64);
        place_in_order(1 << 20);
        weir_section *section = open_as("Local/beside", WEIR_READ_WRITE);
        weir_view view = map(section, 0, 0, WEIR_READ_WRITE);
        cr_assert_eq((unsigned char *)view.base, room + beginning);
        look("Local/beside", &mapped);
        cr_assert_eq(mapped.count, 1, "%u mappings", mapped.count);
        check_view(&mapped, getpid(), &view, WEIR_READ_WRITE);
        unmap(&view);
        room = NULL;
        CHECK_OK(weir_section_close(section));
        CHECK_OK(weir_section_close(keep));
    }
}

Test(list_mappings, of_two_views_side_by_side_each_has_its_own_access)
{
    static const weir_access pairs[][2] = {
        { WEIR_READ_ONLY, WEIR_READ_WRITE },     { WEIR_READ_WRITE, WEIR_READ_ONLY },
        { WEIR_READ_ONLY, WEIR_COPY_ON_WRITE },  { WEIR_COPY_ON_WRITE, WEIR_READ_WRITE },
    };
    support_shm_dir();
    static struct mapped mapped;
    for (int reserved = 0; reserved < 2; reserved++)
        for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
            weir_section_options options = { .flags = reserved ? WEIR_RESERVE : 0,
                                             .commit_bytes = reserved ? 2 * KIB64 : 0 };
            weir_section *section = create("Local/beside", 2 * KIB64, &options);
            place_in_order(1 << 20);
            weir_view low = map(section, 0, KIB64, pairs[i][0]), high = map(section, KIB64, KIB64, pairs[i][1]);
            cr_assert_eq((unsigned char *)low.base + KIB64, (unsigned char *)high.base);
            look("Local/beside", &mapped);
            room = NULL;
            cr_assert_eq(mapped.count, 2, "%u mappings of %d and %d", mapped.count, pairs[i][0], pairs[i][1]);
            check_view(&mapped, getpid(), &low, pairs[i][0]);
            check_view(&mapped, getpid(), &high, pairs[i][1]);
            unmap(&low);
            unmap(&high);
            CHECK_OK(weir_section_close(section));
        }
}
