/* Named sections: creating, opening, closing; arguments; init; extending; errno and the detail. */
#include "ways.h"

#include <weir/naming/os_linux.h>
#include <weir/naming/section_layout.h>

#include <sys/mman.h>

#define KIB64 UINT64_C(65536)

/* ---- create, open, close in order ---- */

Test(section, create_gives_zeroed_content_of_exactly_the_size_asked_for)
{
    static const uint64_t sizes[] = { 1, 7, 4095, 4096, 4097, 65536, (1 << 20) + 3 };
    const char *dir = support_shm_dir();
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        weir_section *section = create("zeroed", sizes[i]);
        cr_assert_eq(weir_section_size(section), sizes[i]);
        weir_view view;
        CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE));
        cr_assert_eq(view.size, sizes[i]);
        for (uint64_t at = 0; at < sizes[i]; at++)
            cr_assert_eq(((unsigned char *)view.base)[at], 0);
        memset(view.base, 0xff, view.size);
        CHECK_OK(weir_view_unmap(&view));
        CHECK_OK(weir_section_close(section));
        cr_assert_eq(support_entries(dir, true), 0);
    }
}

Test(section, memory_is_allocated_before_anybody_can_touch_it)
{
    const char *dir = support_shm_dir();
    weir_section *section = create("allocated", 40 << 20);
    struct stat st;
    cr_assert_eq(stat(section_path(dir, "allocated").text, &st), 0);
    cr_assert_geq((uint64_t)st.st_blocks * 512, UINT64_C(40) << 20);
    CHECK_OK(weir_section_close(section));
}

Test(section, two_handles_see_one_content_and_the_last_close_removes_file_and_directory)
{
    static const char *const names[] = { "Local/pair", "Global/pair" };
    const char *dir = support_shm_dir();
    for (int i = 0; i < 4; i++) {
        const char *name = names[i % 2];
        weir_section *handles[2];
        handles[0] = create(name, 4096);
        CHECK_OK(weir_section_open(&handles[1], name, NULL));
        cr_assert_str_eq(weir_section_name(handles[1]), name);
        weir_view views[2];
        CHECK_OK(weir_view_map(&views[0], handles[0], 0, 0, WEIR_READ_WRITE));
        CHECK_OK(weir_view_map(&views[1], handles[1], 0, 0, WEIR_READ_WRITE));
        strcpy(views[0].base, "hello");
        cr_assert_str_eq(views[1].base, "hello");
        CHECK_OK(weir_view_unmap(&views[0]));
        CHECK_OK(weir_view_unmap(&views[1]));
        CHECK_OK(weir_section_close(handles[i / 2])); /* the creator first, or last */
        cr_assert(exists(section_path(dir, name).text));
        CHECK_OK(weir_section_close(handles[1 - i / 2]));
        cr_assert_eq(support_entries(dir, true), 0);
    }
}

Test(section, a_section_lives_on_after_its_creator_in_another_process)
{
    const char *dir = support_shm_dir();
    section_job job = { .name = "Local/on", .size = 8192, .stamp = 77 };
    holder h = holder_start(section_job_begin, section_job_end, &job);
    weir_section *section;
    CHECK_OK(weir_section_open(&section, "Local/on", NULL));
    holder_finish(&h);
    cr_assert_eq(stamp_of(section), 77);
    cr_assert_eq(weir_section_size(section), 8192);
    check_way(CREATE, "Local/on", NULL, WEIR_E_EXISTS);
    CHECK_OK(weir_section_close(section));
    cr_assert_eq(support_entries(dir, true), 0);
    check_way(OPEN, "Local/on", NULL, WEIR_E_NOT_FOUND);
}

Test(section, create_of_a_live_name_says_exists_and_leaves_it)
{
    const char *dir = support_shm_dir();
    section_job job = { .name = "Global/taken", .size = 4096, .stamp = 5 };
    holder h = holder_start(section_job_begin, section_job_end, &job);
    check_way(CREATE, "Global/taken", NULL, WEIR_E_EXISTS);
    cr_assert(detail_has("Global/taken"), "%s", weir_error_detail());
    weir_section *section;
    CHECK_OK(weir_section_open(&section, "Global/taken", NULL));
    cr_assert_eq(stamp_of(section), 5);
    check_way(CREATE, "Global/taken", NULL, WEIR_E_EXISTS);
    CHECK_OK(weir_section_close(section));
    holder_finish(&h);
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(section, open_of_nothing_says_not_found_and_makes_nothing)
{
    const char *dir = support_shm_dir();
    static const char *const names[] = { "Local/nothing", "Global/nothing" };
    for (int i = 0; i < 2; i++) {
        check_way(OPEN, names[i], NULL, WEIR_E_NOT_FOUND);
        cr_assert(detail_has(names[i]) && detail_has(dir), "%s", weir_error_detail());
        check_way(OBSERVE, names[i], NULL, WEIR_E_NOT_FOUND);
        cr_assert_eq(support_entries(dir, true), 0);
    }
}

Test(section, open_or_create_says_which_it_did_and_an_existing_one_keeps_its_size)
{
    const char *dir = support_shm_dir();
    weir_section *first, *second, *third;
    bool created = false;
    CHECK_OK(weir_section_open_or_create(&first, "either", 5000, NULL, &created));
    cr_assert(created);
    CHECK_OK(weir_section_open_or_create(&second, "either", 900000, NULL, &created));
    cr_assert_not(created);
    cr_assert_eq(weir_section_size(second), 5000);
    CHECK_OK(weir_section_open_or_create(&third, "either", 1, NULL, NULL));
    cr_assert_eq(weir_section_size(third), 5000);
    CHECK_OK(weir_section_close(first));
    CHECK_OK(weir_section_close(second));
    CHECK_OK(weir_section_close(third));
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(section, names_of_both_scopes_and_both_slashes_mean_what_the_grammar_says)
{
    const char *dir = support_shm_dir();
    weir_section *local = create("x", 4096), *global = create("Global\\x", 8192), *again;
    CHECK_OK(weir_section_open(&again, "Local\\x", NULL));
    cr_assert_str_eq(weir_section_name(again), "Local/x");
    cr_assert_eq(weir_section_size(again), 4096);
    CHECK_OK(weir_section_close(again));
    CHECK_OK(weir_section_open(&again, "Global/x", NULL));
    cr_assert_eq(weir_section_size(again), 8192);
    CHECK_OK(weir_section_close(again));
    CHECK_OK(weir_section_close(local));
    CHECK_OK(weir_section_close(global));
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(section, the_longest_name_works)
{
    const char *dir = support_shm_dir();
    char name[WEIR_NAME_TEXT_MAX] = "Global/";
    memset(name + 7, 'n', WEIR_NAME_MAX);
    weir_section *section = create(name, 4096);
    check_way(OPEN, name, NULL, WEIR_OK);
    cr_assert_str_eq(weir_section_name(section), name);
    CHECK_OK(weir_section_close(section));
    leave_stale(name, NULL);
    check_way(OPEN, "another", NULL, WEIR_E_NOT_FOUND);
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(section, close_goes_to_where_the_section_was_opened_whatever_the_environment_says_by_then)
{
    const char *dir = support_shm_dir();
    weir_section *section = create("moved", 4096);
    cr_assert_eq(setenv("WEIR_SHM_DIR", "/nowhere", 1), 0);
    CHECK_OK(weir_section_close(section));
    cr_assert_eq(support_entries(dir, true), 0);
}

static int (*real_openat)(int dir, const char *path, int flags, mode_t mode);

/* Between two calls another thread may fork and exec: each descriptor is made so that exec closes it. */
static int openat_closed_by_exec(int dir, const char *path, int flags, mode_t mode)
{
    cr_assert((flags & O_CLOEXEC) != 0, "%s", path);
    return real_openat(dir, path, flags, mode);
}

Test(section, descriptors_do_not_survive_exec)
{
    const char *dir = support_shm_dir();
    static const weir_section_options to_look = { .access = WEIR_READ_ONLY };
    weir_section *other, *observer;
    real_openat = weir_linux.openat;
    weir_linux.openat = openat_closed_by_exec;
    weir_section *section = create("cloexec", 4096);
    CHECK_OK(weir_section_open(&other, "cloexec", NULL));
    CHECK_OK(weir_section_open(&observer, "cloexec", &to_look));
    unsigned found = 0;
    for (int fd = 0; fd < 256; fd++) {
        char link[64], target[512] = "";
        (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        if (readlink(link, target, sizeof target - 1) > 0 && strstr(target, dir) != NULL) {
            cr_assert((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
            found++;
        }
    }
    cr_assert_eq(found, 3);
    CHECK_OK(weir_section_close(observer));
    CHECK_OK(weir_section_close(other));
    CHECK_OK(weir_section_close(section));
    weir_linux.openat = real_openat;
}

Test(section, close_accepts_null_and_refuses_while_views_are_mapped)
{
    support_shm_dir();
    CHECK_OK(weir_section_close(NULL));
    weir_section *section = create("views", 4096);
    weir_view a, b;
    CHECK_OK(weir_view_map(&a, section, 0, 0, WEIR_READ_WRITE));
    CHECK_OK(weir_view_map(&b, section, 0, 0, WEIR_READ_ONLY));
    CHECK_STATUS(weir_section_close(section), WEIR_E_BUSY);
    cr_assert(detail_has("2 views"), "%s", weir_error_detail());
    CHECK_OK(weir_view_unmap(&a));
    CHECK_STATUS(weir_section_close(section), WEIR_E_BUSY);
    cr_assert_eq(*(const char *)b.base, 0); /* still there */
    check_way(CREATE, "views", NULL, WEIR_E_EXISTS);
    CHECK_OK(weir_view_unmap(&b));
    CHECK_OK(weir_section_close(section));
}

/* ---- arguments ---- */

static void check_arguments(const char *name, uint64_t size, weir_section_options options, weir_status expected)
{
    weir_section *section = UNTOUCHED;
    bool created = true;
    CHECK_STATUS(weir_section_create(&section, name, size, &options), expected);
    cr_assert_eq(section, UNTOUCHED);
    CHECK_STATUS(weir_section_open_or_create(&section, name, size, &options, &created), expected);
    cr_assert_eq(section, UNTOUCHED);
    cr_assert_eq(created, true);
}

Test(section, arguments_that_no_call_can_serve_are_refused_and_leave_nothing)
{
    const char *dir = support_shm_dir();
    weir_section_options none = { 0 };
    check_arguments("a", 0, none, WEIR_E_INVALID);
    check_arguments("a", WEIR_SECTION_SIZE_MAX + 1, none, WEIR_E_INVALID);
    check_arguments("a", UINT64_MAX, none, WEIR_E_INVALID);
    check_arguments("a", UINT64_MAX - 4095, none, WEIR_E_INVALID);
    check_arguments("a", 4096, (weir_section_options){ .slots = WEIR_SLOTS_MAX + 1 }, WEIR_E_INVALID);
    check_arguments("a", 4096, (weir_section_options){ .slots = UINT32_MAX }, WEIR_E_INVALID);
    check_arguments("a", 4096, (weir_section_options){ .mode = 01600 }, WEIR_E_INVALID);
    check_arguments("a", 4096, (weir_section_options){ .mode = 04600 }, WEIR_E_INVALID);
    check_arguments("a", 4096, (weir_section_options){ .access = WEIR_READ_ONLY }, WEIR_E_INVALID);
    check_arguments("a", 4096, (weir_section_options){ .access = (weir_access)3 }, WEIR_E_INVALID);
    check_arguments("a b", 4096, none, WEIR_E_NAME);
    check_arguments("", 4096, none, WEIR_E_NAME);
    check_arguments(NULL, 4096, none, WEIR_E_NAME);
    check_arguments("../a", 4096, none, WEIR_E_NAME);
    weir_section *section = UNTOUCHED;
    CHECK_STATUS(weir_section_open(&section, "a/b", NULL), WEIR_E_NAME);
    CHECK_STATUS(weir_section_open(&section, NULL, NULL), WEIR_E_NAME);
    CHECK_STATUS(weir_section_open(&section, "a", &(weir_section_options){ .slots = 257 }), WEIR_E_INVALID);
    CHECK_STATUS(weir_section_open(&section, "a", &(weir_section_options){ .mode = 07777 }), WEIR_E_INVALID);
    CHECK_STATUS(weir_section_open(&section, "a", &(weir_section_options){ .access = (weir_access)9 }), WEIR_E_INVALID);
    cr_assert_eq(section, UNTOUCHED);
    CHECK_STATUS(weir_section_create(NULL, "a", 4096, NULL), WEIR_E_INVALID);
    CHECK_STATUS(weir_section_open(NULL, "a", NULL), WEIR_E_INVALID);
    CHECK_STATUS(weir_section_open_or_create(NULL, "a", 4096, NULL, NULL), WEIR_E_INVALID);
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(section, the_limits_themselves_are_served)
{
    support_shm_dir();
    weir_section *section;
    CHECK_OK(weir_section_create(&section, "limits", 1,
                                 &(weir_section_options){ .slots = WEIR_SLOTS_MAX, .mode = 0777 }));
    CHECK_OK(weir_section_close(section));
    /* No machine has that much: the size itself is accepted. */
    CHECK_STATUS(weir_section_create(&section, "limits", WEIR_SECTION_SIZE_MAX, NULL), WEIR_E_NO_SPACE);
    cr_assert(detail_has("128.0 TiB") || detail_has("128 TiB"), "%s", weir_error_detail());
}

Test(section, a_differing_content_number_is_a_mismatch_that_says_both_and_harms_nobody)
{
    const char *dir = support_shm_dir();
    weir_section_options mine = { .content = 0xabc1 }, other = { .content = 0xdef2 };
    weir_section *section, *second;
    CHECK_OK(weir_section_create(&section, "kinds", 4096, &mine));
    check_way(OPEN, "kinds", &other, WEIR_E_MISMATCH);
    cr_assert(detail_has("0xabc1") && detail_has("0xdef2"), "%s", weir_error_detail());
    check_way(OPEN, "kinds", NULL, WEIR_E_MISMATCH);
    check_way(OBSERVE, "kinds", &other, WEIR_E_MISMATCH);
    check_way(OPEN_OR_CREATE, "kinds", &other, WEIR_E_MISMATCH);
    check_way(CREATE, "kinds", &other, WEIR_E_EXISTS);
    CHECK_OK(weir_section_open(&second, "kinds", &mine));
    CHECK_OK(weir_section_close(second));
    CHECK_OK(weir_section_close(section));
    cr_assert_eq(support_entries(dir, true), 0);
}

/* ---- the init callback ---- */

struct init_record {
    const char *path;
    uint64_t size;
    unsigned calls;
    weir_status result;
    bool visible, dirty;
};

static weir_status init(void *content, uint64_t size, void *arg)
{
    struct init_record *record = arg;
    record->calls++;
    record->size = size;
    record->visible |= exists(record->path);
    for (uint64_t i = 0; i < size; i++)
        record->dirty |= ((unsigned char *)content)[i] != 0;
    memset(content, 0x6b, size);
    return record->result;
}

Test(section, init_fills_zeroed_content_that_nobody_can_see_yet)
{
    const char *dir = support_shm_dir();
    path_text path = section_path(dir, "filled");
    struct init_record record = { .path = path.text };
    weir_section_options options = { .init = init, .init_arg = &record };
    weir_section *section, *second;
    CHECK_OK(weir_section_create(&section, "filled", 9999, &options));
    cr_assert_eq(record.calls, 1);
    cr_assert_eq(record.size, 9999);
    cr_assert_not(record.visible);
    cr_assert_not(record.dirty);
    CHECK_OK(weir_section_open(&second, "filled", &options)); /* an opener's is not called */
    CHECK_OK(weir_section_close(second));
    CHECK_OK(weir_section_open_or_create(&second, "filled", 1, &options, NULL));
    cr_assert_eq(record.calls, 1);
    weir_view view;
    CHECK_OK(weir_view_map(&view, second, 0, 0, WEIR_READ_ONLY));
    for (uint64_t i = 0; i < 9999; i++)
        cr_assert_eq(((unsigned char *)view.base)[i], 0x6b);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(second));
    CHECK_OK(weir_section_close(section));
}

Test(section, init_that_fills_a_part_is_given_that_part_and_the_rest_is_zero)
{
    const char *dir = support_shm_dir();
    path_text path = section_path(dir, "filled");
    const uint64_t sizes[] = { 1, 4095, WEIR_INIT_BYTES_MAX };
    for (unsigned i = 0; i < 3; i++) {
        struct init_record record = { .path = path.text };
        weir_section_options options = { .init = init, .init_arg = &record, .init_bytes = sizes[i] };
        weir_section *section;
        weir_view view;
        CHECK_OK(weir_section_create(&section, "filled", 19999, &options));
        cr_assert(record.calls == 1 && record.size == sizes[i] && !record.visible && !record.dirty);
        CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_ONLY));
        for (uint64_t at = 0; at < 19999; at++)
            cr_assert_eq(((unsigned char *)view.base)[at], at < sizes[i] ? 0x6b : 0);
        CHECK_OK(weir_view_unmap(&view));
        CHECK_OK(weir_section_close(section));
    }
    check_arguments("a", 4096, (weir_section_options){ .init_bytes = 4097 }, WEIR_E_INVALID);
    check_arguments("a", 65536, (weir_section_options){ .init_bytes = WEIR_INIT_BYTES_MAX + 1 }, WEIR_E_INVALID);
    check_arguments("a", 4096, (weir_section_options){ .init_bytes = 8, .flags = WEIR_RESERVE }, WEIR_E_INVALID);
}

/* The first growing view of all of it takes what is mapped ahead; others are mapped, and what nobody takes goes. */
Test(section, content_that_is_mapped_ahead_is_the_first_growing_views)
{
    (void)support_shm_dir();
    const weir_section_options ahead = { .flags = WEIR_MAP_AHEAD };
    for (int taken = 0; taken < 3; taken++) { /* by a view of all, by one with room for more, by none */
        unsigned before = mappings_of("/ahead").all;
        weir_section *section;
        weir_view view, second;
        CHECK_OK(weir_section_create(&section, "ahead", 65536, &ahead));
        CHECK(mappings_of("/ahead").all == before + 1);
        if (taken < 2) {
            CHECK_OK(weir_view_map_growing(&view, section, taken == 0 ? 65536 : 131072, WEIR_READ_WRITE));
            CHECK(view.size == 65536);
            memset(view.base, 0x6b, view.size);
            CHECK_OK(weir_view_map(&second, section, 0, 0, WEIR_READ_ONLY));
            CHECK(((unsigned char *)second.base)[65535] == 0x6b && second.base != view.base);
            CHECK_OK(weir_view_unmap(&second));
            CHECK_OK(weir_view_unmap(&view));
            CHECK(weir_section_size(section) == 65536); /* the header stays */
        }
        CHECK_OK(weir_section_close(section));
        CHECK(mappings_of("/ahead").all == before);
    }
}

static void check_failing_init(const char *dir, weir_status result)
{
    path_text path = section_path(dir, "unmade");
    struct init_record record = { .path = path.text, .result = result };
    weir_section_options options = { .init = init, .init_arg = &record };
    weir_section *section = UNTOUCHED;
    bool created = true;
    unsigned fds = open_fds();
    CHECK_STATUS(weir_section_create(&section, "unmade", 4096, &options), result);
    cr_assert_eq(record.calls, 1, "%s: called %u times", weir_status_name(result), record.calls);
    CHECK_STATUS(weir_section_open_or_create(&section, "unmade", 4096, &options, &created), result);
    cr_assert_eq(record.calls, 2, "%s: called %u times", weir_status_name(result), record.calls);
    cr_assert_eq(section, UNTOUCHED);
    cr_assert_eq(created, true);
    cr_assert_eq(open_fds(), fds);
    cr_assert_eq(files_under(dir), 0);
}

Test(section, what_init_returns_fails_create_and_leaves_no_file)
{
    const char *dir = support_shm_dir();
    for (int status = WEIR_E_OS; status <= WEIR_DIED; status++)
        if (status != WEIR_OK && status != WEIR_E_BUSY)
            check_failing_init(dir, (weir_status)status);
    check_way(CREATE, "unmade", NULL, WEIR_OK);
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(section, busy_from_init_is_returned_at_once_like_any_other_status)
{
    check_failing_init(support_shm_dir(), WEIR_E_BUSY);
}

Test(section, a_create_that_fails_leaves_not_even_the_users_directory)
{
    const char *dir = support_shm_dir();
    struct init_record record = { .path = "/", .result = WEIR_E_STATE };
    weir_section *section;
    CHECK_STATUS(weir_section_create(&section, "unmade", 4096,
                                     &(weir_section_options){ .init = init, .init_arg = &record }),
                 WEIR_E_STATE);
    CHECK_STATUS(weir_section_create(&section, "unmade", WEIR_SECTION_SIZE_MAX, NULL), WEIR_E_NO_SPACE);
    cr_assert_eq(support_entries(dir, true), 0);
}

/* ---- extend ---- */

Test(section, extend_is_seen_by_another_handle_zeroed_and_keeps_what_is_there)
{
    const char *dir = support_shm_dir();
    weir_section *section = create("grows", 5000), *other;
    CHECK_OK(weir_section_open(&other, "grows", NULL));
    weir_view old, whole;
    CHECK_OK(weir_view_map(&old, section, 0, 0, WEIR_READ_WRITE));
    memset(old.base, 0x31, 5000);
    CHECK_OK(weir_section_extend(section, 3 * KIB64 + 1));
    cr_assert_eq(weir_section_size(section), 3 * KIB64 + 1);
    cr_assert_eq(weir_section_size(other), 3 * KIB64 + 1);
    cr_assert_eq(old.size, 5000);
    CHECK_OK(weir_view_map(&whole, other, 0, 0, WEIR_READ_WRITE));
    cr_assert_eq(whole.size, 3 * KIB64 + 1);
    for (uint64_t i = 0; i < whole.size; i++)
        cr_assert_eq(((unsigned char *)whole.base)[i], i < 5000 ? 0x31 : 0, "byte %llu", (unsigned long long)i);
    ((char *)whole.base)[1] = 'y';
    cr_assert_eq(((char *)old.base)[1], 'y');
    struct stat st;
    cr_assert_eq(stat(section_path(dir, "grows").text, &st), 0);
    cr_assert_geq((uint64_t)st.st_blocks * 512, 3 * KIB64 + 1);
    CHECK_OK(weir_view_unmap(&old));
    CHECK_OK(weir_view_unmap(&whole));
    CHECK_OK(weir_section_close(section));
    cr_assert_eq(weir_section_size(other), 3 * KIB64 + 1);
    CHECK_OK(weir_section_close(other));
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(section, extend_to_no_more_than_there_is_does_nothing)
{
    support_shm_dir();
    weir_section *section = create("same", 10000), *other;
    CHECK_OK(weir_section_extend(section, 10000));
    CHECK_OK(weir_section_extend(section, 1));
    cr_assert_eq(weir_section_size(section), 10000);
    CHECK_OK(weir_section_open(&other, "same", NULL));
    CHECK_OK(weir_section_extend(other, 20000));
    CHECK_OK(weir_section_extend(section, 15000)); /* has not looked since: must not shrink it */
    cr_assert_eq(weir_section_size(section), 20000);
    cr_assert_eq(weir_section_size(other), 20000);
    CHECK_OK(weir_section_close(other));
    CHECK_OK(weir_section_close(section));
}

Test(section, extend_refuses_what_it_cannot_do_and_the_size_stands)
{
    support_shm_dir();
    weir_section *section = create("stays", 10000), *observer;
    CHECK_STATUS(weir_section_extend(section, 0), WEIR_E_INVALID);
    CHECK_STATUS(weir_section_extend(section, WEIR_SECTION_SIZE_MAX + 1), WEIR_E_INVALID);
    CHECK_STATUS(weir_section_extend(section, UINT64_MAX), WEIR_E_INVALID);
    CHECK_STATUS(weir_section_extend(section, WEIR_SECTION_SIZE_MAX), WEIR_E_NO_SPACE);
    CHECK_OK(weir_section_open(&observer, "stays", &(weir_section_options){ .access = WEIR_READ_ONLY }));
    CHECK_STATUS(weir_section_extend(observer, 20000), WEIR_E_PERMISSION);
    cr_assert_eq(weir_section_size(section), 10000);
    cr_assert_eq(weir_section_size(observer), 10000);
    CHECK_OK(weir_section_close(observer));
    CHECK_OK(weir_section_close(section));
}

/* ---- errno and the detail ---- */

Test(section, errno_is_kept_by_calls_that_succeed_and_by_calls_that_fail)
{
    const char *dir = support_shm_dir();
    weir_section *section, *other;
    weir_section_options observe = { .access = WEIR_READ_ONLY };
    CHECK_KEEPS_ERRNO(weir_section_open(&section, "e", NULL), WEIR_E_NOT_FOUND);
    CHECK_KEEPS_ERRNO(weir_section_open(&section, "e", &observe), WEIR_E_NOT_FOUND);
    CHECK_KEEPS_ERRNO(weir_section_create(&section, "e e", 1, NULL), WEIR_E_NAME);
    CHECK_KEEPS_ERRNO(weir_section_create(&section, "e", WEIR_SECTION_SIZE_MAX, NULL), WEIR_E_NO_SPACE);
    CHECK_KEEPS_ERRNO(weir_section_create(&section, "e", 4096, NULL), WEIR_OK);
    CHECK_KEEPS_ERRNO(weir_section_create(&other, "e", 4096, NULL), WEIR_E_EXISTS);
    CHECK_KEEPS_ERRNO(weir_section_open(&other, "e", &(weir_section_options){ .content = 3 }), WEIR_E_MISMATCH);
    CHECK_KEEPS_ERRNO(weir_section_open_or_create(&other, "e", 4096, NULL, NULL), WEIR_OK);
    CHECK_KEEPS_ERRNO(weir_section_extend(other, 70000), WEIR_OK);
    CHECK_KEEPS_ERRNO(weir_section_extend(other, WEIR_SECTION_SIZE_MAX), WEIR_E_NO_SPACE);
    weir_view view;
    CHECK_KEEPS_ERRNO(weir_view_map(&view, section, 1, 0, WEIR_READ_ONLY), WEIR_E_ALIGNMENT);
    CHECK_KEEPS_ERRNO(weir_view_map(&view, section, 0, 0, WEIR_READ_ONLY), WEIR_OK);
    CHECK_KEEPS_ERRNO(weir_section_close(section), WEIR_E_BUSY);
    CHECK_KEEPS_ERRNO(weir_view_unmap(&view), WEIR_OK);
    CHECK_KEEPS_ERRNO(weir_view_unmap(&view), WEIR_E_INVALID);
    CHECK_KEEPS_ERRNO(weir_section_close(other), WEIR_OK);
    CHECK_KEEPS_ERRNO(weir_section_close(section), WEIR_OK);
    CHECK_KEEPS_ERRNO(weir_section_close(NULL), WEIR_OK);
    file_write(section_path(dir, "Global/g").text, "g", 1, 0600);
    CHECK_KEEPS_ERRNO(weir_section_open(&section, "Global/g", NULL), WEIR_E_NOT_WEIR);
    cr_assert_eq(unlink(section_path(dir, "Global/g").text), 0);
    cr_assert_eq(symlink("x", section_path(dir, "Global/g").text), 0);
    CHECK_KEEPS_ERRNO(weir_section_create(&section, "Global/g", 4096, NULL), WEIR_E_NOT_WEIR);
    CHECK_KEEPS_ERRNO(weir_section_create(&section, "Global/h", 4096, NULL), WEIR_OK);
    CHECK_KEEPS_ERRNO(weir_section_close(section), WEIR_OK);
}

Test(section, the_detail_of_a_fault_stays_through_calls_that_succeed)
{
    const char *dir = support_shm_dir();
    file_write(section_path(dir, "Global/garbage").text, "g", 1, 0600);
    weir_section *section;
    CHECK_STATUS(weir_section_create(&section, "a b", 1, NULL), WEIR_E_NAME);
    char detail[512];
    (void)snprintf(detail, sizeof detail, "%s", weir_error_detail());
    CHECK_OK(weir_section_create(&section, "fine", 4096, NULL));
    CHECK_OK(weir_section_close(section));
    cr_assert_str_eq(weir_error_detail(), detail);
}
