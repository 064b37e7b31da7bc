/* Reserved room: making it, committing it, asking what is committed, giving it back. */
#include "commit.h"

#include <criterion/criterion.h>

#define UNTOUCHED ((weir_section *)(uintptr_t)0x1234)
#define TIB (UINT64_C(1) << 40)
#define NAME "Local/room"
#define SIZE (4 * GRANULE + 100) /* five granules, the last a short one */

/* Closes it, and nothing is left. */
static void close_last(weir_section *section, const char *dir)
{
    CHECK_OK(weir_section_close(section));
    cr_assert_eq(support_entries(dir, true), 0);
    cr_assert_eq(mappings_of(dir).all, 0);
}

static void check_refused(weir_section *section, uint64_t offset, uint64_t size, weir_status expected)
{
    uint64_t bytes = size;
    bool committed = true;
    CHECK_KEEPS_ERRNO(weir_section_commit(section, offset, size), expected);
    cr_assert_neq(*weir_error_detail(), 0);
    CHECK_KEEPS_ERRNO(weir_section_decommit(section, offset, size), expected);
    cr_assert_neq(*weir_error_detail(), 0);
    if (expected == WEIR_E_STATE || expected == WEIR_E_PERMISSION)
        return;
    CHECK_KEEPS_ERRNO(weir_section_committed(section, offset, &bytes, &committed), expected);
    cr_assert(bytes == size && committed);
    committed = false;
    CHECK_STATUS(weir_section_committed(section, offset, &bytes, &committed), expected);
    cr_assert(bytes == size && !committed);
}

/* ---- creation ---- */

struct init_record {
    uint64_t size;
    unsigned calls;
    bool dirty;
};

static weir_status init(void *content, uint64_t size, void *arg)
{
    struct init_record *record = arg;
    record->calls++;
    record->size = size;
    for (uint64_t i = 0; i < size; i++)
        record->dirty |= ((unsigned char *)content)[i] != 0;
    memset(content, 0x6b, size);
    return WEIR_OK;
}

/* A section of `size`, of which commit_bytes are asked for and `committed` must be there. */
static void check_creation(const char *dir, uint64_t size, uint64_t commit_bytes, uint64_t committed)
{
    struct init_record record = { 0, 0, false };
    weir_section_options options = { .flags = WEIR_RESERVE, .commit_bytes = commit_bytes, .init = init,
                                     .init_arg = &record };
    weir_section *section;
    CHECK_KEEPS_ERRNO(weir_section_create(&section, NAME, size, &options), WEIR_OK);
    cr_assert(record.calls == 1 && record.size == committed && !record.dirty, "init got %llu bytes, not %llu",
              (unsigned long long)record.size, (unsigned long long)committed);
    cr_assert_eq(weir_section_size(section), size);
    uint64_t run = size, after = size - committed;
    bool is;
    CHECK_OK(weir_section_committed(section, 0, &run, &is));
    cr_assert(is == (committed != 0) && run == (committed != 0 ? committed : size));
    if (committed != 0 && committed != size) {
        CHECK_OK(weir_section_committed(section, committed, &after, &is));
        cr_assert(!is && after == size - committed);
    }
    uint64_t taken = weir_section_content_off(WEIR_SECTION_RESERVED, size) + (committed + PAGE - 1) / PAGE * PAGE;
    cr_assert_eq(bytes_taken(section_path(dir, NAME).text), taken);
    if (committed != 0) {
        weir_view view = map_view(section, 0, committed, WEIR_READ_ONLY);
        for (uint64_t i = 0; i < committed; i++)
            cr_assert_eq(((unsigned char *)view.base)[i], 0x6b);
        CHECK_OK(weir_view_unmap(&view));
    }
    close_last(section, dir);
}

Test(commit, a_new_section_takes_and_init_fills_exactly_what_is_committed_of_it)
{
    const char *dir = support_shm_dir();
    static const uint64_t sizes[] = { 1, PAGE, GRANULE - 1, GRANULE, GRANULE + 1, 65 * GRANULE, SIZE, TIB, TIB + 1 };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint64_t size = sizes[i], first = size < GRANULE ? size : GRANULE;
        unsigned fds = open_fds();
        check_creation(dir, size, 0, 0);
        check_creation(dir, size, 1, first);
        check_creation(dir, size, first, first);
        if (size > GRANULE + 1)
            check_creation(dir, size, GRANULE + 1, 2 * GRANULE);
        if (size < TIB) {
            check_creation(dir, size, size, size);
            check_creation(dir, size, size - size / 2, (size - size / 2 + GRANULE - 1) / GRANULE * GRANULE < size
                                                           ? (size - size / 2 + GRANULE - 1) / GRANULE * GRANULE
                                                           : size);
        }
        cr_assert_eq(open_fds(), fds);
    }
}

Test(commit, what_cannot_be_reserved_is_refused_and_leaves_nothing)
{
    const char *dir = support_shm_dir();
    weir_section *section = UNTOUCHED;
    bool created = true;
    weir_section_options over = { .flags = WEIR_RESERVE, .commit_bytes = SIZE + 1 };
    weir_section_options plain = { .commit_bytes = 1 }, reserve_only = { .flags = WEIR_RESERVE };
    CHECK_KEEPS_ERRNO(weir_section_create(&section, NAME, SIZE, &over), WEIR_E_INVALID);
    cr_assert(detail_has("262245") && detail_has("262244"), "%s", weir_error_detail());
    CHECK_STATUS(weir_section_open_or_create(&section, NAME, SIZE, &over, &created), WEIR_E_INVALID);
    CHECK_STATUS(weir_section_create_unnamed(&section, SIZE, &over), WEIR_E_INVALID);
    over.commit_bytes = UINT64_MAX;
    CHECK_STATUS(weir_section_create(&section, NAME, SIZE, &over), WEIR_E_INVALID);
    CHECK_STATUS(weir_section_create(&section, NAME, SIZE, &plain), WEIR_E_INVALID);
    cr_assert(detail_has("WEIR_RESERVE"), "%s", weir_error_detail());
    CHECK_STATUS(weir_section_create_unnamed(&section, SIZE, &plain), WEIR_E_INVALID);
    CHECK_STATUS(weir_section_create(&section, NAME, 0, &reserve_only), WEIR_E_INVALID);
    CHECK_STATUS(weir_section_create(&section, NAME, WEIR_SECTION_SIZE_MAX + 1, &reserve_only), WEIR_E_INVALID);
    CHECK_STATUS(weir_section_open(&section, NAME, &reserve_only), WEIR_E_INVALID);
    over = (weir_section_options){ .flags = WEIR_RESERVE, .commit_bytes = TIB };
    CHECK_KEEPS_ERRNO(weir_section_create(&section, NAME, TIB, &over), WEIR_E_NO_SPACE);
    cr_assert(detail_has("1.0 TiB") || detail_has("1 TiB") || detail_has("1024"), "%s", weir_error_detail());
    cr_assert(section == UNTOUCHED && created);
    cr_assert_eq(support_entries(dir, true), 0);
}

/* ---- commit ---- */

Test(commit, a_range_is_widened_to_the_granules_it_touches_and_those_alone_take_memory)
{
    const char *dir = support_shm_dir();
    static const struct { uint64_t offset, size; const char *shape; } rows[] = {
        { 0, 1, "#...." },
        { GRANULE - 1, 1, "#...." },
        { GRANULE - 1, 2, "##..." },
        { 0, GRANULE, "#...." },
        { 0, GRANULE + 1, "##..." },
        { GRANULE, GRANULE, ".#..." },
        { GRANULE, 2 * GRANULE, ".##.." },
        { GRANULE + 5, GRANULE, ".##.." },
        { 3 * GRANULE - 1, GRANULE + 2, "..###" },
        { 4 * GRANULE, 1, "....#" },
        { 4 * GRANULE + 99, 1, "....#" },
        { 4 * GRANULE + 99, 0, "....#" },
        { 4 * GRANULE - 1, 0, "...##" },
        { 0, 0, "#####" },
        { 0, SIZE, "#####" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        weir_section *section = reserve(NAME, SIZE, 0);
        check_shape(section, ".....");
        CHECK_KEEPS_ERRNO(weir_section_commit(section, rows[i].offset, rows[i].size), WEIR_OK);
        check_shape(section, rows[i].shape);
        cr_assert_eq(bytes_taken(section_path(dir, NAME).text), shape_bytes(SIZE, rows[i].shape));
        weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE);
        for (uint64_t g = 0; g < 5; g++)
            if (rows[i].shape[g] == '#')
                check_bytes(&view, g, 0);
        check_reach(&view, rows[i].shape, true);
        CHECK_OK(weir_view_unmap(&view));
        close_last(section, dir);
    }
}

Test(commit, what_is_committed_stays_as_it_is_when_it_is_committed_again)
{
    const char *dir = support_shm_dir();
    weir_section *section = reserve(NAME, SIZE, 1), *other = open_as(NAME, WEIR_READ_WRITE);
    weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE);
    fill_bytes(&view, 0, 0x11);
    CHECK_OK(weir_section_commit(other, 2 * GRANULE, 1));
    CHECK_OK(weir_section_commit(section, 2 * GRANULE, 1));
    fill_bytes(&view, 2, 0x22);
    CHECK_OK(weir_section_commit(other, 0, 0));
    check_shape(section, "#####");
    check_shape(other, "#####");
    CHECK_OK(weir_view_refresh(&view));
    check_bytes(&view, 0, 0x11);
    check_bytes(&view, 2, 0x22);
    check_bytes(&view, 1, 0);
    check_bytes(&view, 4, 0);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(other));
    close_last(section, dir);
}

Test(commit, a_range_that_is_not_inside_the_room_is_refused)
{
    const char *dir = support_shm_dir();
    weir_section *section = reserve(NAME, SIZE, 1);
    static const uint64_t rows[][2] = {
        { SIZE, 0 },           { SIZE, 1 },          { 0, SIZE + 1 },   { 4 * GRANULE, 101 }, { SIZE - 1, 2 },
        { 5 * GRANULE, 0 },    { UINT64_MAX, 0 },    { UINT64_MAX, 1 }, { 1, UINT64_MAX },    { 0, UINT64_MAX },
        { 0 - GRANULE, GRANULE }, { UINT64_C(1) << 63, UINT64_C(1) << 63 }, { UINT64_C(1) << 32, 1 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check_refused(section, rows[i][0], rows[i][1], WEIR_E_RANGE);
    cr_assert(detail_has(NAME) && detail_has("262244"), "%s", weir_error_detail());
    check_shape(section, "#....");
    close_last(section, dir);
}

Test(commit, a_section_without_reserved_room_is_all_committed_and_says_state)
{
    const char *dir = support_shm_dir();
    weir_section *section;
    CHECK_OK(weir_section_create(&section, NAME, SIZE, NULL));
    check_refused(section, 0, 1, WEIR_E_STATE);
    cr_assert(detail_has(NAME) && detail_has("no reserved room"), "%s", weir_error_detail());
    uint64_t bytes = 3 * GRANULE;
    bool committed = false;
    CHECK_KEEPS_ERRNO(weir_section_committed(section, GRANULE, &bytes, &committed), WEIR_OK);
    cr_assert(committed && bytes == 3 * GRANULE);
    bytes = 0;
    CHECK_OK(weir_section_committed(section, GRANULE, &bytes, &committed));
    cr_assert(committed && bytes == SIZE - GRANULE);
    CHECK_STATUS(weir_section_committed(section, SIZE, &bytes, &committed), WEIR_E_RANGE);
    close_last(section, dir);
}

Test(commit, committed_counts_to_the_end_of_the_run_or_of_the_question)
{
    support_shm_dir();
    weir_section *section = reserve(NAME, SIZE, 0);
    CHECK_OK(weir_section_commit(section, GRANULE, 2 * GRANULE));
    CHECK_OK(weir_section_commit(section, 4 * GRANULE, 0));
    static const struct { uint64_t offset, size, run; bool is; } rows[] = {
        { 0, SIZE, GRANULE, false },
        { 5, SIZE - 5, GRANULE - 5, false },
        { 0, 7, 7, false },
        { GRANULE - 1, 2, 1, false },
        { GRANULE, SIZE - GRANULE, 2 * GRANULE, true },
        { GRANULE, 0, 2 * GRANULE, true }, /* up to the end, as everywhere */
        { 2 * GRANULE + 9, 2 * GRANULE, GRANULE - 9, true },
        { 2 * GRANULE + 9, 10, 10, true },
        { 3 * GRANULE, GRANULE + 1, GRANULE, false },
        { 4 * GRANULE, 100, 100, true },
        { 4 * GRANULE + 99, 1, 1, true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (int before = 0; before < 2; before++) { /* whatever stands there */
            uint64_t bytes = rows[i].size;
            bool committed = before != 0;
            CHECK_KEEPS_ERRNO(weir_section_committed(section, rows[i].offset, &bytes, &committed), WEIR_OK);
            cr_assert(bytes == rows[i].run && committed == rows[i].is, "row %zu: %llu", i, (unsigned long long)bytes);
        }
    CHECK_OK(weir_section_close(section));
}

Test(commit, only_a_read_write_handle_may_change_what_is_committed_and_any_may_ask)
{
    const char *dir = support_shm_dir();
    weir_section *section = reserve(NAME, SIZE, GRANULE);
    static const weir_access accesses[] = { WEIR_READ_ONLY, WEIR_COPY_ON_WRITE };
    static const char *const texts[] = { "read-only", "copy-on-write" };
    for (int i = 0; i < 2; i++) {
        weir_section *other = open_as(NAME, accesses[i]);
        check_refused(other, 0, 1, WEIR_E_PERMISSION);
        cr_assert(detail_has(NAME) && detail_has(texts[i]), "%s", weir_error_detail());
        check_shape(other, "#....");
        CHECK_OK(weir_section_commit(section, 2 * GRANULE, 1));
        check_shape(other, "#.#..");
        CHECK_OK(weir_section_close(other));
        CHECK_OK(weir_section_decommit(section, 2 * GRANULE, GRANULE));
    }
    close_last(section, dir);
}

Test(commit, a_forked_childs_handle_says_forked)
{
    const char *dir = support_shm_dir();
    weir_section *section = reserve(NAME, SIZE, GRANULE);
    weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE);
    pid_t child = fork();
    if (child == 0) {
        check_refused(section, 0, 1, WEIR_E_FORKED);
        CHECK_KEEPS_ERRNO(weir_view_refresh(&view), WEIR_E_FORKED);
        _exit(0);
    }
    cr_assert_eq(support_wait(child), 0);
    check_shape(section, "#....");
    check_reach(&view, "#....", true);
    CHECK_OK(weir_view_unmap(&view));
    close_last(section, dir);
}

Test(commit, reserved_room_cannot_be_extended)
{
    const char *dir = support_shm_dir();
    weir_section *section = reserve(NAME, SIZE, 0);
    static const uint64_t sizes[] = { 1, SIZE, SIZE + 1, WEIR_SECTION_SIZE_MAX };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        CHECK_KEEPS_ERRNO(weir_section_extend(section, sizes[i]), WEIR_E_STATE);
    cr_assert(detail_has(NAME) && detail_has("reserved"), "%s", weir_error_detail());
    cr_assert_eq(weir_section_size(section), SIZE);
    CHECK_OK(weir_section_commit(section, 0, 0));
    CHECK_STATUS(weir_section_extend(section, SIZE + 1), WEIR_E_STATE);
    close_last(section, dir);
}

Test(commit, more_than_there_is_says_so_and_nothing_more_is_committed)
{
    const char *dir = support_shm_dir();
    weir_section *section = reserve(NAME, TIB, GRANULE);
    uint64_t before = bytes_taken(section_path(dir, NAME).text), run = 0;
    bool committed;
    CHECK_KEEPS_ERRNO(weir_section_commit(section, 0, 0), WEIR_E_NO_SPACE);
    cr_assert(detail_has("needs") && detail_has(dir), "%s", weir_error_detail());
    CHECK_OK(weir_section_committed(section, 0, &run, &committed));
    cr_assert(committed && run == GRANULE);
    run = 0;
    CHECK_OK(weir_section_committed(section, GRANULE, &run, &committed));
    cr_assert(!committed && run == TIB - GRANULE);
    cr_assert_eq(bytes_taken(section_path(dir, NAME).text), before);
    CHECK_OK(weir_section_commit(section, TIB - 1, 1));
    CHECK_OK(weir_section_commit(section, 0, 3 * GRANULE));
    weir_section_info info;
    CHECK_OK(weir_section_stat(NAME, &info));
    cr_assert(info.committed == 4 * GRANULE && info.size == TIB && info.resident == before + 3 * GRANULE);
    close_last(section, dir);
}

/* ---- somebody else who commits ---- */

#define HELD 2 /* granules from here on, */
#define HELD_COUNT 2

struct stopper {
    const char *path;
};

/* As a process that is stopped inside a commit. */
static void lock_and_stop(void *arg)
{
    const struct stopper *stopper = arg;
    int fd = open(stopper->path, O_RDWR | O_CLOEXEC);
    struct flock range = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = WEIR_COMMIT_FIRST + HELD,
                           .l_len = HELD_COUNT };
    CHECK(fd >= 0 && fcntl(fd, F_OFD_SETLK, &range) == 0);
}

Test(commit, a_stopped_committer_keeps_others_from_its_granules_alone_and_not_for_ever)
{
    const char *dir = support_shm_dir();
    weir_section *section = reserve(NAME, SIZE, 0);
    path_text path = section_path(dir, NAME);
    struct stopper stopper = { .path = path.text };
    holder h = holder_start(lock_and_stop, NULL, &stopper);
    int status;
    CHECK(kill(h.pid, SIGSTOP) == 0 && waitpid(h.pid, &status, WUNTRACED) == h.pid && WIFSTOPPED(status));
    int64_t from = monotonic_ns();
    CHECK_OK(weir_section_commit(section, 0, 2 * GRANULE));
    CHECK_OK(weir_section_commit(section, 4 * GRANULE, 0));
    cr_assert_lt(monotonic_ns() - from, WAIT_NS);
    CHECK_KEEPS_ERRNO(weir_section_commit(section, GRANULE, GRANULE + 1), WEIR_E_BUSY);
    int64_t took = monotonic_ns() - from;
    cr_assert(took >= WAIT_NS && took < HANGS_NS, "%lld ns", (long long)took);
    cr_assert(detail_has(NAME) && detail_has("2 seconds"), "%s", weir_error_detail());
    check_shape(section, "##..#");
    CHECK_OK(weir_section_commit(section, 0, 2 * GRANULE)); /* what it took it gave back */
    holder_kill(&h);
    from = monotonic_ns();
    CHECK_OK(weir_section_commit(section, 0, 0));
    cr_assert_lt(monotonic_ns() - from, WAIT_NS);
    check_shape(section, "#####");
    close_last(section, dir);
}

static int stop_before_memory(int fd, int mode, off_t offset, off_t len)
{
    if (mode == 0)
        CHECK(raise(SIGSTOP) == 0);
    return fallocate(fd, mode, offset, len);
}

/* Were both let in, one that fails for lack of room would take back what the other has had. */
Test(commit, two_commits_of_one_granule_exclude_each_other)
{
    const char *dir = support_shm_dir();
    weir_section *section = reserve(NAME, SIZE, 0);
    pid_t child = fork();
    if (child == 0) {
        end_with_parent();
        weir_section *mine = open_as(NAME, WEIR_READ_WRITE);
        weir_linux.fallocate = stop_before_memory;
        CHECK_OK(weir_section_commit(mine, GRANULE, 3 * GRANULE));
        CHECK_OK(weir_section_close(mine));
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
    CHECK_OK(weir_section_commit(section, 0, GRANULE));
    CHECK_OK(weir_section_commit(section, 4 * GRANULE, 0));
    CHECK_STATUS(weir_section_commit(section, 3 * GRANULE, 1), WEIR_E_BUSY);
    check_shape(section, "#...#");
    CHECK(kill(child, SIGCONT) == 0);
    CHECK_OK(weir_section_commit(section, 3 * GRANULE, 1)); /* it waits */
    CHECK(support_wait(child) == 0);
    check_shape(section, "#####");
    close_last(section, dir);
}

Test(commit, a_commit_leaves_no_lock_behind_whatever_it_returned)
{
    const char *dir = support_shm_dir();
    weir_section *section = reserve(NAME, TIB, 0);
    CHECK_STATUS(weir_section_commit(section, 0, 0), WEIR_E_NO_SPACE);
    CHECK_OK(weir_section_commit(section, 0, GRANULE));
    int fd = open(section_path(dir, NAME).text, O_RDWR | O_CLOEXEC);
    struct flock range = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = WEIR_COMMIT_FIRST,
                           .l_len = (off_t)(TIB / GRANULE) };
    cr_assert(fd >= 0 && fcntl(fd, F_OFD_SETLK, &range) == 0);
    cr_assert_eq(close(fd), 0);
    close_last(section, dir);
}

/* ---- decommit ---- */

Test(commit, decommit_gives_back_exactly_the_granules_that_lie_wholly_in_the_range)
{
    const char *dir = support_shm_dir();
    static const struct { uint64_t offset, size; const char *shape; } rows[] = {
        { 0, 1, "#####" },
        { 0, GRANULE - 1, "#####" },
        { 0, GRANULE, ".####" },
        { 0, 2 * GRANULE - 1, ".####" },
        { 1, 2 * GRANULE - 1, "#.###" },
        { 1, 2 * GRANULE - 2, "#####" },
        { GRANULE, 2 * GRANULE, "#..##" },
        { 3 * GRANULE, GRANULE + 99, "###.#" },
        { 4 * GRANULE, 99, "#####" },
        { 4 * GRANULE + 1, 99, "#####" },
        { 4 * GRANULE, 100, "####." },
        { 4 * GRANULE, 0, "####." },
        { 3 * GRANULE + 1, 0, "####." },
        { 0, 0, "....." },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        weir_section *section = reserve(NAME, SIZE, SIZE);
        weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE);
        memset(view.base, 0x77, view.size);
        CHECK_KEEPS_ERRNO(weir_section_decommit(section, rows[i].offset, rows[i].size), WEIR_OK);
        check_shape(section, rows[i].shape);
        check_reach(&view, rows[i].shape, true);
        for (uint64_t g = 0; g < 5; g++)
            if (rows[i].shape[g] == '#')
                check_bytes(&view, g, 0x77);
        CHECK_OK(weir_section_commit(section, 0, 0));
        for (uint64_t g = 0; g < 5; g++)
            check_bytes(&view, g, rows[i].shape[g] == '#' ? 0x77 : 0);
        CHECK_OK(weir_view_unmap(&view));
        close_last(section, dir);
    }
}

Test(commit, what_is_decommitted_takes_no_memory_any_more)
{
    const char *dir = support_shm_dir();
    static const uint64_t sizes[] = { 4 * GRANULE, 4 * GRANULE + PAGE, 4 * GRANULE + 7 * PAGE };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        weir_section *section = reserve(NAME, sizes[i], sizes[i]);
        path_text path = section_path(dir, NAME);
        const char *shape = sizes[i] == 4 * GRANULE ? "#..#" : "#..##";
        CHECK_OK(weir_section_decommit(section, GRANULE, 2 * GRANULE));
        cr_assert_eq(bytes_taken(path.text), shape_bytes(sizes[i], shape));
        CHECK_OK(weir_section_decommit(section, GRANULE, 2 * GRANULE)); /* again */
        cr_assert_eq(bytes_taken(path.text), shape_bytes(sizes[i], shape));
        CHECK_OK(weir_section_decommit(section, 0, 0));
        cr_assert_eq(bytes_taken(path.text), shape_bytes(sizes[i], ""));
        CHECK_OK(weir_section_commit(section, 0, 0));
        check_shape(section, sizes[i] == 4 * GRANULE ? "####" : "#####");
        close_last(section, dir);
    }
}

Test(commit, a_last_granule_that_ends_inside_a_page_is_given_back_with_that_page)
{
    const char *dir = support_shm_dir();
    static const uint64_t sizes[] = { 1, PAGE + 1, GRANULE - 1, SIZE };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        weir_section *section = reserve(NAME, sizes[i], sizes[i]);
        CHECK_OK(weir_section_decommit(section, 0, 0));
        cr_assert_eq(bytes_taken(section_path(dir, NAME).text), shape_bytes(sizes[i], ""), "of %llu bytes stay %llu",
                     (unsigned long long)sizes[i],
                     (unsigned long long)(bytes_taken(section_path(dir, NAME).text) - shape_bytes(sizes[i], "")));
        close_last(section, dir);
    }
}

static void check_in_use(weir_section *section, const char *dir, const weir_view *view, const char *text)
{
    CHECK_KEEPS_ERRNO(weir_section_decommit(section, 0, 2 * GRANULE), WEIR_E_IN_USE);
    cr_assert(detail_has(NAME) && detail_has(text), "%s", weir_error_detail());
    check_shape(section, "##...");
    check_reach(view, "##...", true);
    check_bytes(view, 0, 0x55);
    cr_assert_eq(bytes_taken(section_path(dir, NAME).text), shape_bytes(SIZE, "##..."));
}

Test(commit, decommit_is_refused_while_anybody_else_has_it_open_and_nothing_is_done)
{
    const char *dir = support_shm_dir();
    weir_section *section = reserve(NAME, SIZE, 2 * GRANULE), *other;
    weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE);
    fill_bytes(&view, 0, 0x55);
    static const weir_access accesses[] = { WEIR_READ_WRITE, WEIR_READ_ONLY, WEIR_COPY_ON_WRITE };
    for (int i = 0; i < 3; i++) {
        const char *text = i == 0 ? "others" : "observer";
        other = open_as(NAME, accesses[i]);
        check_in_use(section, dir, &view, text);
        if (i == 0)
            CHECK_STATUS(weir_section_decommit(other, 0, 0), WEIR_E_IN_USE);
        check_in_use(section, dir, &view, text);
        CHECK_OK(weir_section_close(other));
        section_job job = { .name = NAME, .open = true, .options.access = accesses[i] };
        holder h = holder_start(section_job_begin, NULL, &job);
        check_in_use(section, dir, &view, text);
        holder_kill(&h);
    }
    /* A refused one has not given up this user's place. */
    weir_section_info info;
    CHECK_OK(weir_section_stat(NAME, &info));
    cr_assert(info.state == WEIR_SECTION_LIVE && info.users == 1 && info.observers == 0);
    CHECK_OK(weir_section_decommit(section, 0, 2 * GRANULE));
    check_shape(section, ".....");
    check_reach(&view, ".....", true);
    CHECK_OK(weir_view_unmap(&view));
    close_last(section, dir);
}

Test(commit, after_decommit_others_can_open_and_the_handle_still_keeps_the_section)
{
    const char *dir = support_shm_dir();
    weir_section *section = reserve(NAME, SIZE, 2 * GRANULE);
    for (int i = 0; i < 3; i++) {
        CHECK_OK(weir_section_decommit(section, 0, GRANULE));
        weir_section_info info;
        CHECK_OK(weir_section_stat(NAME, &info));
        cr_assert(info.state == WEIR_SECTION_LIVE && info.users == 1 && info.observers == 0);
        section_job job = { .name = NAME, .open = true };
        holder h = holder_start(section_job_begin, section_job_end, &job);
        CHECK_STATUS(weir_section_remove(NAME), WEIR_E_IN_USE);
        CHECK_STATUS(weir_section_decommit(section, 0, GRANULE), WEIR_E_IN_USE);
        holder_finish(&h);
        cr_assert(exists(section_path(dir, NAME).text));
        weir_section *observer = open_as(NAME, WEIR_READ_ONLY);
        CHECK_STATUS(weir_section_decommit(section, 0, GRANULE), WEIR_E_IN_USE);
        CHECK_OK(weir_section_close(observer));
        CHECK_OK(weir_section_commit(section, 0, GRANULE));
    }
    close_last(section, dir);
}
