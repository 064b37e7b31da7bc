/* Views over reserved room: what can be touched is what is committed, and the rest is a fault that takes no memory. */
#include "commit.h"

#include <criterion/criterion.h>
#include <sys/mman.h>

#define NAME "Local/room"
#define SIZE (4 * GRANULE + PAGE + 100) /* five granules, the last of two pages */

static weir_section *partly(const char *shape)
{
    weir_section *section = reserve(NAME, SIZE, 0);
    for (uint64_t g = 0; g < 5; g++)
        if (shape[g] == '#')
            CHECK_OK(weir_section_commit(section, g * GRANULE, 1));
    check_shape(section, shape);
    return section;
}

static void close_last(weir_section *section, const char *dir)
{
    CHECK_OK(weir_section_close(section));
    cr_assert_eq(support_entries(dir, true), 0);
    cr_assert_eq(mappings_of(dir).all, 0);
}

Test(commit_views, what_is_not_committed_is_a_fault_and_takes_no_memory)
{
    const char *dir = support_shm_dir();
    static const char *const shapes[] = { ".....", "#....", "....#", "#.#.#", ".###.", ".#.#.", "#####" };
    static const uint64_t ranges[][2] = {
        { 0, 0 },           { 0, GRANULE },           { GRANULE, 0 },          { GRANULE, 2 * GRANULE },
        { 0, GRANULE + 1 }, { GRANULE, PAGE + 1 },    { 2 * GRANULE, 1 },      { 4 * GRANULE, 0 },
        { 4 * GRANULE, 1 }, { 3 * GRANULE, GRANULE + PAGE },
    };
    path_text path = section_path(dir, NAME);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        weir_section *section = partly(shapes[i]);
        unsigned mapped = mappings_of(dir).all;
        for (size_t j = 0; j < sizeof ranges / sizeof ranges[0]; j++)
            for (weir_access access = WEIR_READ_WRITE; access <= WEIR_COPY_ON_WRITE; access++) {
                weir_view view;
                CHECK_KEEPS_ERRNO(weir_view_map(&view, section, ranges[j][0], ranges[j][1], access), WEIR_OK);
                check_reach(&view, shapes[i], access != WEIR_READ_ONLY);
                CHECK_KEEPS_ERRNO(weir_view_unmap(&view), WEIR_OK);
                cr_assert_eq(mappings_of(dir).all, mapped);
            }
        cr_assert_eq(bytes_taken(path.text), shape_bytes(SIZE, shapes[i]));
        check_shape(section, shapes[i]);
        close_last(section, dir);
    }
}

Test(commit_views, commit_and_decommit_reach_every_view_of_the_handle_at_once)
{
    const char *dir = support_shm_dir();
    weir_section *section = partly(".....");
    weir_view whole = map_view(section, 0, 0, WEIR_READ_WRITE), part = map_view(section, GRANULE, GRANULE + 1,
                                                                               WEIR_READ_ONLY);
    weir_view private = map_view(section, 2 * GRANULE, 0, WEIR_COPY_ON_WRITE);
    static const struct { bool commit; uint64_t offset, size; const char *shape; } steps[] = {
        { true, 2 * GRANULE, 1, "..#.." },  { true, 4 * GRANULE + 5, 1, "..#.#" },
        { true, 0, 0, "#####" },            { false, GRANULE, 2 * GRANULE, "#..##" },
        { true, GRANULE, 1, "##.##" },      { false, 3 * GRANULE, 0, "##..." },
        { true, 3 * GRANULE, 0, "##.##" },  { false, 0, 0, "....." },
        { true, GRANULE, GRANULE, ".#..." },
    };
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (steps[i].commit)
            CHECK_KEEPS_ERRNO(weir_section_commit(section, steps[i].offset, steps[i].size), WEIR_OK);
        else
            CHECK_KEEPS_ERRNO(weir_section_decommit(section, steps[i].offset, steps[i].size), WEIR_OK);
        check_shape(section, steps[i].shape);
        check_reach(&whole, steps[i].shape, true);
        check_reach(&part, steps[i].shape, false);
        check_reach(&private, steps[i].shape, true);
        for (uint64_t g = 0; g < 5; g++)
            if (steps[i].shape[g] == '#')
                ((unsigned char *)whole.base)[g * GRANULE] = (unsigned char)(g + 1);
        if (steps[i].shape[1] == '#')
            cr_assert_eq(*(const unsigned char *)part.base, 2);
        weir_view later = map_view(section, 0, 0, WEIR_READ_WRITE);
        check_reach(&later, steps[i].shape, true);
        CHECK_OK(weir_view_unmap(&later));
    }
    cr_assert_eq(bytes_taken(section_path(dir, NAME).text) / GRANULE, 1); /* what the private view wrote is not there */
    CHECK_OK(weir_view_unmap(&whole));
    CHECK_OK(weir_view_unmap(&part));
    CHECK_OK(weir_view_unmap(&private));
    close_last(section, dir);
}

static void commit_in_child(void *arg)
{
    weir_section *section = open_as(NAME, WEIR_READ_WRITE);
    weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE);
    CHECK_OK(weir_section_commit(section, *(uint64_t *)arg, 1));
    ((unsigned char *)view.base)[*(uint64_t *)arg] = 0x42;
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
}

/* What one other process commits, in views of this one that were mapped before. */
Test(commit_views, what_others_commit_is_reached_after_refresh_by_views_of_every_access)
{
    const char *dir = support_shm_dir();
    weir_section *section = partly("#....");
    static const weir_access handles[] = { WEIR_READ_WRITE, WEIR_READ_ONLY, WEIR_COPY_ON_WRITE, WEIR_READ_ONLY };
    static const weir_access accesses[] = { WEIR_READ_WRITE, WEIR_READ_ONLY, WEIR_COPY_ON_WRITE, WEIR_COPY_ON_WRITE };
    weir_section *others[4];
    weir_view views[4];
    for (int i = 0; i < 4; i++) {
        others[i] = open_as(NAME, handles[i]);
        views[i] = map_view(others[i], 0, 0, accesses[i]);
    }
    uint64_t offset = 2 * GRANULE + 17;
    holder h = holder_start(commit_in_child, NULL, &offset);
    holder_finish(&h);
    for (int i = 0; i < 4; i++) {
        check_shape(others[i], "#.#.."); /* known at once, */
        check_reach(&views[i], "#....", accesses[i] != WEIR_READ_ONLY);
        CHECK_KEEPS_ERRNO(weir_view_refresh(&views[i]), WEIR_OK);
        check_reach(&views[i], "#.#..", accesses[i] != WEIR_READ_ONLY); /* and no wider than it was mapped */
        cr_assert_eq(((unsigned char *)views[i].base)[offset], 0x42);
        CHECK_OK(weir_view_refresh(&views[i]));
        check_reach(&views[i], "#.#..", accesses[i] != WEIR_READ_ONLY);
    }
    for (int i = 0; i < 4; i++) {
        CHECK_OK(weir_view_unmap(&views[i]));
        CHECK_OK(weir_section_close(others[i]));
    }
    close_last(section, dir);
}

Test(commit_views, a_copy_on_write_view_keeps_its_own_bytes_when_more_is_committed)
{
    const char *dir = support_shm_dir();
    weir_section *section = partly("##..."), *other = open_as(NAME, WEIR_COPY_ON_WRITE);
    weir_view shared = map_view(section, 0, 0, WEIR_READ_WRITE), mine = map_view(section, 0, 0, WEIR_COPY_ON_WRITE);
    weir_view his = map_view(other, 0, 0, WEIR_COPY_ON_WRITE);
    unsigned char *all = shared.base, *a = mine.base, *b = his.base;
    a[5] = b[GRANULE + 5] = 0x33;
    CHECK_OK(weir_section_commit(section, 2 * GRANULE, 1));
    CHECK_OK(weir_view_refresh(&his));
    all[6] = all[PAGE] = all[2 * GRANULE] = 0x44;
    cr_assert(a[5] == 0x33 && a[6] == 0 && a[PAGE] == 0x44 && a[2 * GRANULE] == 0x44);
    cr_assert(b[5] == 0 && b[6] == 0x44 && b[GRANULE + 5] == 0x33 && b[2 * GRANULE] == 0x44);
    cr_assert(all[5] == 0 && all[GRANULE + 5] == 0);
    cr_assert_eq(bytes_taken(section_path(dir, NAME).text), shape_bytes(SIZE, "###.."));
    CHECK_OK(weir_view_unmap(&shared));
    CHECK_OK(weir_view_unmap(&mine));
    CHECK_OK(weir_view_unmap(&his));
    CHECK_OK(weir_section_close(other));
    close_last(section, dir);
}

Test(commit_views, refresh_knows_a_view_that_is_not_mapped_and_has_nothing_to_do_without_reserved_room)
{
    const char *dir = support_shm_dir();
    weir_section *section;
    CHECK_OK(weir_section_create(&section, NAME, SIZE, NULL));
    weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE), copy = view, wrong = view;
    wrong.base = (unsigned char *)view.base + PAGE;
    CHECK_KEEPS_ERRNO(weir_view_refresh(&view), WEIR_OK);
    CHECK_KEEPS_ERRNO(weir_view_refresh(&copy), WEIR_OK);
    check_reach(&view, "#####", true);
    CHECK_KEEPS_ERRNO(weir_view_refresh(&wrong), WEIR_E_INVALID);
    CHECK_STATUS(weir_view_refresh(NULL), WEIR_E_INVALID);
    CHECK_STATUS(weir_view_refresh(&(weir_view){ .base = NULL }), WEIR_E_INVALID);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_STATUS(weir_view_refresh(&view), WEIR_E_INVALID);
    CHECK_STATUS(weir_view_refresh(&copy), WEIR_E_INVALID);
    cr_assert_neq(*weir_error_detail(), 0);
    close_last(section, dir);
}

Test(commit_views, a_view_in_pieces_is_neither_inherited_nor_left_behind)
{
    const char *dir = support_shm_dir();
    weir_section *section = partly("#.#.#");
    unsigned mapped = mappings_of(dir).all;
    weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE);
    cr_assert_eq(mappings_of(dir).all, mapped + 5);
    pid_t child = fork();
    if (child == 0) {
        CHECK(mappings_of(dir).all == 0);
        CHECK(touch(view.base, false) == SIGSEGV);
        CHECK_OK(weir_view_unmap(&view));
        _exit(0);
    }
    cr_assert_eq(support_wait(child), 0);
    CHECK_STATUS(weir_section_close(section), WEIR_E_BUSY);
    CHECK_OK(weir_view_flush(&view, 0, 0)); /* nothing to write, and nothing is touched for it */
    CHECK_OK(weir_view_unmap(&view));
    cr_assert_eq(mappings_of(dir).all, mapped);
    close_last(section, dir);
}

Test(commit_views, what_is_wanted_of_memory_is_had_of_what_is_committed_and_takes_no_more)
{
    const char *dir = support_shm_dir();
    weir_section *section;
    weir_section_options options = { .flags = WEIR_RESERVE, .demand = WEIR_PREFAULT | WEIR_NOT_DUMPED | WEIR_MAP_NAME };
    CHECK_OK(weir_section_create(&section, NAME, SIZE, &options));
    weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE);
    static const char *const shapes[] = { "#....", "#.#..", "#.#.#", "#####" };
    static const uint64_t offsets[] = { 0, 2 * GRANULE, 4 * GRANULE, 0 };
    for (int i = 0; i < 4; i++) {
        weir_memory memory;
        CHECK_OK(weir_section_commit(section, offsets[i], i == 3 ? 0 : 1));
        CHECK_KEEPS_ERRNO(weir_view_memory(&view, &memory), WEIR_OK);
        cr_assert_eq(memory.got & options.demand, options.demand, "got %#x", memory.got);
        cr_assert_eq(bytes_taken(section_path(dir, NAME).text), shape_bytes(SIZE, shapes[i]));
        cr_assert_eq(memory.resident_bytes, shape_bytes(SIZE, shapes[i]) - shape_bytes(SIZE, ""));
    }
    CHECK_OK(weir_view_unmap(&view));
    close_last(section, dir);
}

/* ---- a system that refuses ---- */

#define ALL 1000000

static weir_linux_calls real;
static int refused;                 /* errno */
static int mprotects, takes, gives; /* of each kind of call, how many are served before */

static int refuse_mprotect(void *base, size_t size, int protection)
{
    if (mprotects-- > 0)
        return real.mprotect(base, size, protection);
    errno = refused;
    return -1;
}

static int refuse_fallocate(int fd, int mode, off_t offset, off_t len)
{
    int *served = mode == 0 ? &takes : &gives;
    if ((*served)-- != 0) /* one is refused */
        return real.fallocate(fd, mode, offset, len);
    errno = refused;
    return -1;
}

static void refuse(int error, int mprotects_served, int takes_served, int gives_served)
{
    real = weir_linux;
    refused = error;
    mprotects = mprotects_served;
    takes = takes_served;
    gives = gives_served;
    weir_linux.mprotect = refuse_mprotect;
    weir_linux.fallocate = refuse_fallocate;
}

static void serve(void)
{
    weir_linux = real;
}

Test(commit_views, a_view_in_too_many_pieces_is_no_memory_and_what_was_reached_or_committed_stays)
{
    const char *dir = support_shm_dir();
    weir_section *section = partly("#....");
    unsigned fds = open_fds(), mapped = mappings_of(dir).all;
    weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE), none = { .offset = 7 };
    refuse(ENOMEM, 0, ALL, ALL);
    CHECK_KEEPS_ERRNO(weir_view_map(&none, section, 0, 0, WEIR_READ_WRITE), WEIR_E_NO_MEMORY);
    cr_assert(none.base == NULL && none.offset == 7 && none.section == NULL);
    CHECK_KEEPS_ERRNO(weir_view_refresh(&view), WEIR_E_NO_MEMORY);
    cr_assert(detail_has(NAME), "%s", weir_error_detail());
    serve();
    check_reach(&view, "#....", true);
    refuse(ENOMEM, 0, ALL, ALL);
    CHECK_KEEPS_ERRNO(weir_section_commit(section, 2 * GRANULE, 1), WEIR_E_NO_MEMORY);
    serve();
    check_shape(section, "#.#..");
    check_reach(&view, "#....", true);
    CHECK_OK(weir_view_refresh(&view));
    check_reach(&view, "#.#..", true);
    CHECK_OK(weir_view_unmap(&view));
    cr_assert(open_fds() == fds && mappings_of(dir).all == mapped);
    close_last(section, dir);
}

/* A commit gives back first what a killed one may have left there. */
Test(commit_views, a_commit_that_cannot_give_back_commits_nothing)
{
    const char *dir = support_shm_dir();
    static const struct { int error; weir_status status; } rows[] = {
        { EOPNOTSUPP, WEIR_E_UNSUPPORTED }, { EIO, WEIR_E_OS }, { EPERM, WEIR_E_PERMISSION },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (int after = 0; after < 2; after++) {
            weir_section *section = partly(".#...");
            refuse(rows[i].error, ALL, ALL, after);
            CHECK_KEEPS_ERRNO(weir_section_commit(section, 0, 3 * GRANULE), rows[i].status);
            serve();
            cr_assert_neq(*weir_error_detail(), 0);
            check_shape(section, ".#...");
            close_last(section, dir);
        }
}

Test(commit_views, a_commit_that_the_system_refuses_commits_nothing)
{
    const char *dir = support_shm_dir();
    static const struct { int error; weir_status status; } rows[] = {
        { EIO, WEIR_E_OS }, { ENOSPC, WEIR_E_NO_SPACE }, { ENOMEM, WEIR_E_NO_SPACE }, { EDQUOT, WEIR_E_NO_SPACE },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (int after = 0; after < 2; after++) {
            weir_section *section = partly(".#...");
            refuse(rows[i].error, ALL, after, ALL);
            CHECK_KEEPS_ERRNO(weir_section_commit(section, 0, 3 * GRANULE), rows[i].status);
            serve();
            cr_assert_neq(*weir_error_detail(), 0);
            check_shape(section, ".#...");
            CHECK_OK(weir_section_commit(section, 0, 3 * GRANULE));
            check_shape(section, "###..");
            close_last(section, dir);
        }
}

Test(commit_views, a_decommit_that_the_system_refuses_leaves_it_committed_as_it_was)
{
    const char *dir = support_shm_dir();
    static const struct { int error; weir_status status; } rows[] = {
        { EOPNOTSUPP, WEIR_E_UNSUPPORTED }, { EIO, WEIR_E_OS }, { EPERM, WEIR_E_PERMISSION },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        weir_section *section = partly("##...");
        weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE);
        fill_bytes(&view, 0, 0x66);
        fill_bytes(&view, 1, 0x66);
        refuse(rows[i].error, ALL, ALL, 0);
        CHECK_KEEPS_ERRNO(weir_section_decommit(section, GRANULE, GRANULE), rows[i].status);
        serve();
        cr_assert_neq(*weir_error_detail(), 0);
        check_shape(section, "##...");
        check_reach(&view, "##...", true);
        check_bytes(&view, 0, 0x66);
        check_bytes(&view, 1, 0x66);
        CHECK_OK(weir_section_close(open_as(NAME, WEIR_READ_WRITE))); /* nobody is kept out any more */
        CHECK_OK(weir_view_unmap(&view));
        close_last(section, dir);
    }
}

Test(commit_views, of_a_decommit_that_is_refused_in_the_middle_what_stood_before_is_given_back)
{
    const char *dir = support_shm_dir();
    weir_section *section = partly("#.#.#");
    weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE);
    for (uint64_t g = 0; g < 5; g += 2)
        fill_bytes(&view, g, 0x66);
    refuse(EIO, ALL, ALL, 1);
    CHECK_STATUS(weir_section_decommit(section, 0, 0), WEIR_E_OS);
    serve();
    check_shape(section, "..#.#");
    check_reach(&view, "..#.#", true);
    check_bytes(&view, 2, 0x66);
    check_bytes(&view, 4, 0x66);
    CHECK_OK(weir_section_commit(section, 0, 0));
    check_bytes(&view, 0, 0);
    CHECK_OK(weir_view_unmap(&view));
    close_last(section, dir);
}

Test(commit_views, a_decommit_that_cannot_shut_a_view_leaves_what_is_there)
{
    const char *dir = support_shm_dir();
    for (int after = 0; after < 2; after++) {
        weir_section *section = partly("##...");
        weir_view first = map_view(section, 0, 0, WEIR_READ_WRITE), second = map_view(section, 0, 0, WEIR_READ_ONLY);
        fill_bytes(&first, 1, 0x66);
        refuse(after == 0 ? EIO : ENOMEM, after, ALL, ALL);
        CHECK_KEEPS_ERRNO(weir_section_decommit(section, GRANULE, GRANULE), after == 0 ? WEIR_E_OS : WEIR_E_NO_MEMORY);
        serve();
        check_shape(section, "##...");
        CHECK_OK(weir_view_refresh(&first));
        CHECK_OK(weir_view_refresh(&second));
        check_bytes(&first, 1, 0x66);
        check_bytes(&second, 1, 0x66);
        CHECK_OK(weir_section_close(open_as(NAME, WEIR_READ_WRITE)));
        CHECK_OK(weir_view_unmap(&first));
        CHECK_OK(weir_view_unmap(&second));
        close_last(section, dir);
    }
}

/* ---- sections without a name ---- */

Test(commit_views, what_is_committed_of_an_unnamed_section_that_is_sealed_against_writing_stays_as_it_is)
{
    support_shm_dir();
    weir_section *section;
    CHECK_OK(weir_section_create_unnamed(&section, SIZE, &(weir_section_options){ .flags = WEIR_RESERVE }));
    weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE);
    CHECK_OK(weir_section_commit(section, 0, 2 * GRANULE));
    fill_bytes(&view, 0, 0x66);
    fill_bytes(&view, 1, 0x66);
    CHECK_OK(weir_section_seal(section, WEIR_SEAL_WRITE));
    CHECK_OK(weir_section_commit(section, 0, 2 * GRANULE)); /* nothing to do */
    CHECK_KEEPS_ERRNO(weir_section_commit(section, GRANULE, 2 * GRANULE), WEIR_E_PERMISSION);
    check_shape(section, "##...");
    CHECK_KEEPS_ERRNO(weir_section_decommit(section, GRANULE, GRANULE), WEIR_E_PERMISSION);
    check_shape(section, "##...");
    check_reach(&view, "##...", true);
    check_bytes(&view, 0, 0x66);
    check_bytes(&view, 1, 0x66);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
}

static int die_at_punch(int fd, int mode, off_t offset, off_t len)
{
    if (mode != 0)
        (void)kill(getpid(), SIGKILL);
    return fallocate(fd, mode, offset, len);
}

struct handed {
    weir_handle handle;
};

static void decommit_and_die(void *arg)
{
    struct handed *handed = arg;
    weir_section *section;
    CHECK_OK(weir_section_attach(&section, handed->handle, NULL));
    weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE);
    memset(view.base, 0x66, 2 * GRANULE);
    weir_linux.fallocate = die_at_punch;
    (void)weir_section_decommit(section, GRANULE, GRANULE);
}

Test(commit_views, an_unnamed_section_whose_decommitter_was_killed_reads_zero_when_it_is_committed_again)
{
    support_shm_dir();
    weir_section *section;
    struct handed handed;
    weir_section_options options = { .flags = WEIR_RESERVE, .commit_bytes = 2 * GRANULE };
    CHECK_OK(weir_section_create_unnamed(&section, SIZE, &options));
    CHECK_OK(weir_section_export(section, WEIR_READ_WRITE, true, &handed.handle));
    CHECK_OK(weir_section_close(section)); /* the handle keeps it, and is no user */
    pid_t child = fork();
    if (child == 0) {
        decommit_and_die(&handed);
        _exit(1);
    }
    cr_assert_eq(support_wait(child), -SIGKILL);
    CHECK_OK(weir_section_attach(&section, handed.handle, NULL));
    check_shape(section, "#....");
    CHECK_OK(weir_section_commit(section, GRANULE, 1));
    weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE);
    check_bytes(&view, 0, 0x66);
    check_bytes(&view, 1, 0);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_handle_close(handed.handle));
}
