#include "sections.h"

#include <weir/naming/os_linux.h>
#include <weir/naming/section_layout.h>

#include <criterion/criterion.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#define KIB64 UINT64_C(65536)
#define UNTOUCHED ((weir_section *)(uintptr_t)0x1234)

static weir_section *create(const char *name, uint64_t size)
{
    weir_section *section;
    CHECK_OK(weir_section_create(&section, name, size, NULL));
    return section;
}

/* The four ways to come to a section.  Each must leave the output alone when it fails. */
enum way { CREATE, OPEN, OPEN_OR_CREATE, OBSERVE, WAYS };
static const char *const way_names[] = { "create", "open", "open_or_create", "observe" };

static weir_status come(enum way way, weir_section **out, const char *name, const weir_section_options *given)
{
    weir_section_options options = given != NULL ? *given : (weir_section_options){ 0 };
    weir_section *section = UNTOUCHED;
    bool created = true;
    weir_status status = WEIR_OK;
    if (way == OBSERVE)
        options.access = WEIR_READ_ONLY;
    if (way == CREATE)
        status = weir_section_create(&section, name, 4096, &options);
    else if (way == OPEN_OR_CREATE)
        status = weir_section_open_or_create(&section, name, 4096, &options, &created);
    else
        status = weir_section_open(&section, name, &options);
    if (status != WEIR_OK) {
        cr_assert_eq(section, UNTOUCHED, "%s touched its output", way_names[way]);
        cr_assert_eq(created, true, "%s touched *created", way_names[way]);
        cr_assert_neq(*weir_error_detail(), 0, "%s failed without a detail", way_names[way]);
    } else {
        *out = section;
    }
    return status;
}

static void check_way(enum way way, const char *name, const weir_section_options *options, weir_status expected)
{
    weir_section *section = NULL;
    int64_t from = monotonic_ns();
    unsigned fds = open_fds();
    weir_status status = come(way, &section, name, options);
    cr_assert_eq(status, expected, "%s of %s gave %s, not %s (%s)", way_names[way], name, weir_status_name(status),
                 weir_status_name(expected), weir_error_detail());
    if (status == WEIR_OK)
        CHECK_OK(weir_section_close(section));
    cr_assert_eq(open_fds(), fds, "%s of %s left a descriptor open", way_names[way], name);
    cr_assert_lt(monotonic_ns() - from, WAIT_NS, "%s of %s waited", way_names[way], name);
}

static void check_every_way(const char *name, const weir_section_options *options, weir_status expected)
{
    for (enum way way = CREATE; way < WAYS; way++)
        check_way(way, name, options, expected);
}

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

Test(section, descriptors_do_not_survive_exec)
{
    const char *dir = support_shm_dir();
    weir_section *section = create("cloexec", 4096);
    unsigned found = 0;
    for (int fd = 0; fd < 256; fd++) {
        char link[64], target[512] = "";
        (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        if (readlink(link, target, sizeof target - 1) > 0 && strstr(target, dir) != NULL) {
            cr_assert((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
            found++;
        }
    }
    cr_assert_eq(found, 1);
    CHECK_OK(weir_section_close(section));
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

/* ---- observers ---- */

Test(section, an_observer_has_no_write_mapping_and_does_not_keep_the_section_alive)
{
    const char *dir = support_shm_dir();
    section_job job = { .name = "seen", .size = 4096, .stamp = 9 };
    holder h = holder_start(section_job_begin, section_job_end, &job);
    weir_section_options options = { .access = WEIR_READ_ONLY };
    weir_section *observer;
    CHECK_OK(weir_section_open(&observer, "seen", &options));
    weir_view view = { .base = NULL };
    CHECK_STATUS(weir_view_map(&view, observer, 0, 0, WEIR_READ_WRITE), WEIR_E_ACCESS);
    cr_assert_null(view.base);
    CHECK_OK(weir_view_map(&view, observer, 0, 0, WEIR_READ_ONLY));
    mappings found = mappings_of(dir);
    cr_assert_eq(found.all, 2);
    cr_assert_eq(found.writable, 0);
    holder_finish(&h); /* the last that counts */
    cr_assert_eq(support_entries(dir, true), 0);
    uint64_t stamp;
    memcpy(&stamp, view.base, sizeof stamp);
    cr_assert_eq(stamp, 9);
    check_way(OPEN, "seen", NULL, WEIR_E_NOT_FOUND);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(observer));
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(section, an_observer_that_closes_first_takes_nothing_away)
{
    const char *dir = support_shm_dir();
    weir_section *section = create("stays", 4096);
    check_way(OBSERVE, "stays", NULL, WEIR_OK);
    cr_assert(exists(section_path(dir, "stays").text));
    check_way(OPEN, "stays", NULL, WEIR_OK);
    CHECK_OK(weir_section_close(section));
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(section, to_an_observer_a_stale_section_is_not_there_and_it_does_not_remove_it)
{
    const char *dir = support_shm_dir();
    leave_stale("Local/stale", NULL);
    check_way(OBSERVE, "Local/stale", NULL, WEIR_E_NOT_FOUND);
    cr_assert(exists(section_path(dir, "Local/stale").text));
    check_way(OBSERVE, "Local/other", NULL, WEIR_E_NOT_FOUND);
    cr_assert(exists(section_path(dir, "Local/stale").text));
}

/* ---- stale sections ---- */

Test(section, a_killed_holders_section_is_replaced_by_create_with_a_new_one)
{
    const char *dir = support_shm_dir();
    static const char *const names[] = { "Local/left", "Global/left" };
    for (int i = 0; i < 4; i++) {
        leave_stale(names[i % 2], NULL);
        cr_assert(exists(section_path(dir, names[i % 2]).text));
        weir_section *section;
        bool created = false;
        if (i < 2)
            CHECK_OK(weir_section_create(&section, names[i % 2], 12288, NULL));
        else
            CHECK_OK(weir_section_open_or_create(&section, names[i % 2], 12288, NULL, &created));
        cr_assert_eq(created, i >= 2);
        cr_assert_eq(weir_section_size(section), 12288);
        cr_assert_eq(stamp_of(section), 0);
        CHECK_OK(weir_section_close(section));
        cr_assert_eq(support_entries(dir, true), 0);
    }
}

Test(section, a_killed_holders_section_is_not_found_by_open_and_gone_then)
{
    const char *dir = support_shm_dir();
    leave_stale("Local/left", NULL);
    check_way(OPEN, "Local/left", NULL, WEIR_E_NOT_FOUND);
    cr_assert_eq(support_entries(dir, true), 0);
    leave_stale("Global/left", NULL);
    check_way(OPEN, "Global/left", NULL, WEIR_E_NOT_FOUND);
    cr_assert_eq(support_entries(dir, true), 0);
}

static void add_junk(const char *dir, const char *stem)
{
    for (int i = 0; i < 500; i++) {
        char path[600];
        (void)snprintf(path, sizeof path, "%s/%s-of-no-use-to-anybody-%04d", dir, stem, i);
        file_write(path, "junk", 4, 0600);
    }
}

Test(section, a_stale_section_that_no_sweep_reaches_is_still_found_to_be_stale)
{
    const char *dir = support_shm_dir();
    path_text local = local_dir(dir);
    cr_assert_eq(mkdir(local.text, 0700), 0);
    for (enum way way = CREATE; way < OBSERVE; way++) {
        /* More names than one look at the directory gives, on either side of it. */
        char before[32], after[32];
        (void)snprintf(before, sizeof before, "before-%s", way_names[way]);
        (void)snprintf(after, sizeof after, "later-%s", way_names[way]);
        add_junk(local.text, before);
        leave_stale("hidden", NULL);
        add_junk(local.text, after);
        CHECK_OK(weir_section_close(create("other", 4096)));
        cr_assert(exists(section_path(dir, "hidden").text), "the sweep reached it: this test shows nothing");
        check_way(way, "hidden", NULL, way == OPEN ? WEIR_E_NOT_FOUND : WEIR_OK);
        cr_assert_not(exists(section_path(dir, "hidden").text));
    }
}

Test(section, a_stale_section_is_swept_by_a_later_use_of_another_name)
{
    const char *dir = support_shm_dir();
    static const char *const left[] = { "Local/left", "Global/left" };
    static const char *const used[] = { "Local/used", "Global/used" };
    for (int i = 0; i < 8; i++) {
        leave_stale(left[i % 2], NULL);
        if (i < 4)
            check_way(CREATE, used[i / 2 % 2], NULL, WEIR_OK);
        else
            check_way(OPEN, used[i / 2 % 2], NULL, WEIR_E_NOT_FOUND);
        cr_assert_eq(support_entries(dir, true), 0);
    }
}

Test(section, a_stale_section_of_any_mode_is_swept)
{
    const char *dir = support_shm_dir();
    leave_stale("Global/open-to-all", &(weir_section_options){ .mode = 0666 });
    check_way(CREATE, "used", NULL, WEIR_OK);
    cr_assert_eq(support_entries(dir, true), 0);
}

static void make_fifty(void *arg)
{
    (void)arg;
    for (int i = 0; i < 50; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "%s/many-%02d", i % 2 ? "Local" : "Global", i);
        (void)create(name, 4096);
    }
}

Test(section, fifty_stale_sections_are_gone_after_one_use)
{
    const char *dir = support_shm_dir();
    holder h = holder_start(make_fifty, NULL, NULL);
    holder_kill(&h);
    cr_assert_eq(support_entries(dir, false), 51);
    check_way(CREATE, "used", NULL, WEIR_OK);
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(section, a_sweep_spares_what_is_in_use_and_what_is_no_section)
{
    const char *dir = support_shm_dir();
    weir_section *live = create("Local/live", 4096);
    section_job job = { .name = "Global/live", .size = 4096 };
    holder h = holder_start(section_job_begin, section_job_end, &job);
    file_write(section_path(dir, "Local/garbage").text, "garbage", 7, 0600);
    file_write(section_path(dir, "Global/garbage").text, "garbage", 7, 0600);
    file_write(section_path(dir, "Global/empty").text, "", 0, 0600);
    char other[600];
    (void)snprintf(other, sizeof other, "%s/not-ours", dir);
    file_write(other, "theirs", 6, 0600);
    leave_stale("Local/left", NULL);
    check_way(CREATE, "used", NULL, WEIR_OK);
    cr_assert_not(exists(section_path(dir, "Local/left").text));
    cr_assert(exists(section_path(dir, "Local/garbage").text));
    cr_assert(exists(section_path(dir, "Global/garbage").text));
    cr_assert(exists(section_path(dir, "Global/empty").text));
    cr_assert(exists(other));
    check_way(OPEN, "Local/live", NULL, WEIR_OK);
    check_way(OPEN, "Global/live", NULL, WEIR_OK);
    holder_finish(&h);
    CHECK_OK(weir_section_close(live));
}

/* ---- mode ---- */

Test(section, the_mode_is_the_one_asked_for_whatever_the_umask)
{
    static const struct { mode_t umask; uint32_t asked; mode_t expected; } rows[] = {
        { 0777, 0, 0600 },    { 0, 0, 0600 },       { 077, 0666, 0666 },
        { 0777, 0640, 0640 }, { 022, 0777, 0777 },  { 027, 0622, 0622 },
    };
    const char *dir = support_shm_dir();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        (void)umask(rows[i].umask);
        weir_section *section;
        CHECK_OK(weir_section_create(&section, "Local/moded", 4096,
                                     &(weir_section_options){ .mode = rows[i].asked }));
        struct stat st;
        cr_assert_eq(stat(section_path(dir, "Local/moded").text, &st), 0);
        cr_assert_eq(st.st_mode & 07777, rows[i].expected, "umask %o: mode %o", rows[i].umask, st.st_mode);
        cr_assert_eq(stat(local_dir(dir).text, &st), 0);
        cr_assert_eq(st.st_mode & 07777, 0700);
        CHECK_OK(weir_section_close(section));
    }
}

Test(section, a_mode_wider_than_asked_for_is_refused_with_owner_and_mode)
{
    const char *dir = support_shm_dir();
    weir_section *section;
    CHECK_OK(weir_section_create(&section, "Global/wide", 4096, &(weir_section_options){ .mode = 0660 }));
    static const uint32_t narrow[] = { 0, 0600, 0640, 0620, 0066 };
    for (size_t i = 0; i < sizeof narrow / sizeof narrow[0]; i++) {
        weir_section_options options = { .mode = narrow[i] };
        check_way(OPEN, "Global/wide", &options, WEIR_E_PERMISSION);
        cr_assert(detail_has("0660") && detail_names_uid(geteuid()) && detail_has("weir-g.wide"), "%s",
                  weir_error_detail());
        check_way(OBSERVE, "Global/wide", &options, WEIR_E_PERMISSION);
        bool of_owner = narrow[i] == 0 || (narrow[i] & 0600) == 0600; /* or it could not be made so */
        check_way(OPEN_OR_CREATE, "Global/wide", &options, of_owner ? WEIR_E_PERMISSION : WEIR_E_INVALID);
    }
    check_way(OPEN, "Global/wide", &(weir_section_options){ .mode = 0660 }, WEIR_OK);
    check_way(OPEN, "Global/wide", &(weir_section_options){ .mode = 0777 }, WEIR_OK);
    check_way(OBSERVE, "Global/wide", &(weir_section_options){ .mode = 0666 }, WEIR_OK);
    CHECK_OK(weir_section_close(section));
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(section, a_users_directory_open_to_others_is_refused)
{
    const char *dir = support_shm_dir();
    static const mode_t modes[] = { 0710, 0701, 0770, 0777, 01777 };
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        cr_assert_eq(mkdir(local_dir(dir).text, 0700), 0);
        cr_assert_eq(chmod(local_dir(dir).text, modes[i]), 0);
        check_every_way("Local/x", NULL, WEIR_E_PERMISSION);
        cr_assert(detail_names_uid(geteuid()) && detail_has("weir-u.") && detail_has("a directory"), "%s",
                  weir_error_detail());
        cr_assert_eq(support_entries(dir, false), 1);
        check_way(CREATE, "Global/x", NULL, WEIR_OK); /* it concerns Local names alone */
        cr_assert_eq(rmdir(local_dir(dir).text), 0);
    }
}

Test(section, a_directory_that_was_opened_to_others_meanwhile_leaks_no_descriptor_at_close)
{
    const char *dir = support_shm_dir();
    unsigned fds = open_fds();
    weir_section *section = create("Local/x", 4096);
    cr_assert_eq(chmod(local_dir(dir).text, 0777), 0);
    CHECK_OK(weir_section_close(section));
    cr_assert_eq(open_fds(), fds);
}

/* ---- what else may stand at a name ---- */

#define IMAGE 8192 /* a header and one page of content */

/* The bytes of a section that was never here: as a killed holder leaves it. */
static void image_of(const char *dir, const char *name, unsigned char image[IMAGE])
{
    weir_section *section;
    CHECK_OK(weir_section_create(&section, name, IMAGE - WEIR_SECTION_HEADER,
                                 &(weir_section_options){ .slots = 4 }));
    cr_assert_eq(file_read(section_path(dir, name).text, image, IMAGE), IMAGE);
    CHECK_OK(weir_section_close(section));
}

/* A file with these bytes at the name is refused by every way in, and left alone by them and by sweeps. */
static void check_left_alone(const char *dir, const char *name, const void *bytes, size_t size, weir_status expected)
{
    path_text path = section_path(dir, name);
    static unsigned char now[IMAGE + 1];
    struct stat before, after;
    if (strncmp(name, "Local", 5) == 0)
        cr_assert_eq(mkdir(local_dir(dir).text, 0700), 0);
    file_write(path.text, bytes, size, 0600);
    cr_assert_eq(stat(path.text, &before), 0);
    check_every_way(name, NULL, expected);
    cr_assert(detail_has(name), "%s", weir_error_detail());
    check_way(CREATE, "Local/other", NULL, WEIR_OK);
    check_way(CREATE, "Global/other", NULL, WEIR_OK);
    cr_assert_eq(stat(path.text, &after), 0);
    cr_assert_eq(after.st_ino, before.st_ino);
    cr_assert_eq(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
    cr_assert_eq(file_read(path.text, now, sizeof now), size);
    cr_assert_eq(memcmp(now, bytes, size), 0);
    cr_assert_eq(unlink(path.text), 0);
    (void)rmdir(local_dir(dir).text);
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(section, a_file_that_is_no_section_is_refused_and_left_alone)
{
    const char *dir = support_shm_dir();
    static unsigned char garbage[IMAGE];
    uint64_t seed = support_seed();
    for (size_t i = 0; i < IMAGE; i++)
        garbage[i] = (unsigned char)support_random(&seed);
    static const char *const names[] = { "Local/odd", "Global/odd" };
    for (int i = 0; i < 2; i++) {
        check_left_alone(dir, names[i], garbage, 0, WEIR_E_NOT_WEIR);
        check_left_alone(dir, names[i], garbage, 1, WEIR_E_NOT_WEIR);
        check_left_alone(dir, names[i], garbage, 4096, WEIR_E_NOT_WEIR);
        check_left_alone(dir, names[i], garbage, IMAGE, WEIR_E_NOT_WEIR);
        check_left_alone(dir, names[i], "a letter to a friend", 20, WEIR_E_NOT_WEIR);
    }
}

Test(section, a_truncated_header_is_refused_and_left_alone)
{
    const char *dir = support_shm_dir();
    unsigned char image[IMAGE];
    image_of(dir, "Global/cut", image);
    for (size_t len = 0; len < 8; len++)
        check_left_alone(dir, "Global/cut", image, len, WEIR_E_NOT_WEIR);
    static const size_t cuts[] = { 12, 16, 24, 239, 240, 247, 248, 2047, 2048, 4088, 4095 };
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++)
        check_left_alone(dir, "Global/cut", image, cuts[i], WEIR_E_CORRUPT);
    /* the content is missing, or a byte of it */
    check_left_alone(dir, "Global/cut", image, 4096, WEIR_E_CORRUPT);
    check_left_alone(dir, "Global/cut", image, IMAGE - 1, WEIR_E_CORRUPT);
}

/* One field of a valid header changed. */
static void check_field(const char *dir, size_t offset, const void *value, size_t size, weir_status expected)
{
    unsigned char image[IMAGE];
    image_of(dir, "Local/bent", image);
    memcpy(image + offset, value, size);
    check_left_alone(dir, "Local/bent", image, IMAGE, expected);
}

#define CHECK_FIELD(dir, field, number, expected)                                                                     \
    check_field(dir, offsetof(weir_section_layout, field), &number, sizeof number, expected)

Test(section, the_image_these_tests_bend_is_a_stale_section_when_it_is_not_bent)
{
    const char *dir = support_shm_dir();
    unsigned char image[IMAGE];
    image_of(dir, "Local/bent", image);
    for (enum way way = CREATE; way < WAYS; way++) {
        (void)mkdir(local_dir(dir).text, 0700);
        if (!exists(section_path(dir, "Local/bent").text))
            file_write(section_path(dir, "Local/bent").text, image, IMAGE, 0600);
        check_way(way, "Local/bent", NULL, way == OPEN || way == OBSERVE ? WEIR_E_NOT_FOUND : WEIR_OK);
        cr_assert_eq(exists(section_path(dir, "Local/bent").text), way == OBSERVE);
    }
}

Test(section, a_wrong_magic_or_version_is_refused_and_left_alone)
{
    const char *dir = support_shm_dir();
    uint64_t magics[] = { 0, WEIR_SECTION_MAGIC + 1, WEIR_SECTION_MAGIC ^ (UINT64_C(1) << 63), UINT64_MAX };
    for (size_t i = 0; i < 4; i++)
        CHECK_FIELD(dir, magic, magics[i], WEIR_E_NOT_WEIR);
    uint32_t versions[] = { 0, WEIR_SECTION_VERSION + 1, UINT32_MAX };
    for (size_t i = 0; i < 3; i++)
        CHECK_FIELD(dir, version, versions[i], WEIR_E_VERSION);
    cr_assert(detail_has("version"), "%s", weir_error_detail());
}

Test(section, an_impossible_header_is_refused_and_left_alone)
{
    const char *dir = support_shm_dir();
    uint32_t slots[] = { WEIR_SLOTS_MAX + 1, UINT32_MAX }, flags[] = { 8, UINT32_C(1) << 31 };
    for (size_t i = 0; i < 2; i++) {
        CHECK_FIELD(dir, slots, slots[i], WEIR_E_CORRUPT);
        CHECK_FIELD(dir, flags, flags[i], WEIR_E_CORRUPT);
    }
    uint64_t sizes[] = { IMAGE - WEIR_SECTION_HEADER + 1, WEIR_SECTION_SIZE_MAX, WEIR_SECTION_SIZE_MAX + 1,
                         UINT64_MAX, UINT64_MAX - WEIR_SECTION_HEADER + 1, UINT64_C(1) << 63 };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        CHECK_FIELD(dir, size, sizes[i], WEIR_E_CORRUPT);
}

Test(section, a_header_that_states_no_content_at_all_is_refused)
{
    uint64_t none = 0;
    CHECK_FIELD(support_shm_dir(), size, none, WEIR_E_CORRUPT);
}

Test(section, another_sections_name_in_the_header_is_refused_and_left_alone)
{
    const char *dir = support_shm_dir();
    static const char *const others[] = { "Local/other", "Local/ben", "Local/bentt", "Global/bent", "bent", "" };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        uint8_t name[WEIR_NAME_TEXT_MAX] = { 0 };
        memcpy(name, others[i], strlen(others[i]));
        check_field(dir, offsetof(weir_section_layout, name), name, sizeof name, WEIR_E_NOT_WEIR);
    }
    uint8_t endless[WEIR_NAME_TEXT_MAX];
    memset(endless, 'n', sizeof endless);
    check_field(dir, offsetof(weir_section_layout, name), endless, sizeof endless, WEIR_E_NOT_WEIR);
}

Test(section, a_hard_link_to_another_section_is_refused_live_or_stale_and_left_alone)
{
    const char *dir = support_shm_dir();
    path_text alias = section_path(dir, "Local/alias");
    weir_section *section = create("Local/real", 4096);
    cr_assert_eq(link(section_path(dir, "Local/real").text, alias.text), 0);
    check_every_way("Local/alias", NULL, WEIR_E_NOT_WEIR);
    cr_assert(detail_has("Local/real"), "%s", weir_error_detail());
    check_way(OPEN, "Local/real", NULL, WEIR_OK);
    CHECK_OK(weir_section_close(section)); /* a link more does not keep the name */
    cr_assert_not(exists(section_path(dir, "Local/real").text));
    cr_assert(exists(alias.text));
    check_every_way("Local/alias", NULL, WEIR_E_NOT_WEIR);
    check_way(CREATE, "Local/real", NULL, WEIR_OK);
    cr_assert(exists(alias.text));
}

/* Puts something at path that is no file.  Returns what the texts call it. */
static const char *squat(int kind, const char *path, const char *victim)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd;
    switch (kind) {
    case 0:
        cr_assert_eq(symlink(victim, path), 0);
        return "a symbolic link";
    case 1:
        cr_assert_eq(mkfifo(path, 0600), 0);
        return "a FIFO";
    case 2:
        cr_assert_eq(mkdir(path, 0700), 0);
        return "a directory";
    case 3:
        cr_assert_lt(strlen(path), sizeof address.sun_path);
        (void)strcpy(address.sun_path, path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        cr_assert_geq(fd, 0);
        cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
        (void)close(fd);
        cr_assert_eq(chmod(path, 0600), 0);
        return "a socket";
    default:
        cr_assert_eq(symlink("/nonexistent/weir", path), 0);
        return "a symbolic link";
    }
}

Test(section, links_fifos_directories_and_sockets_in_a_names_place_are_named_at_once_and_left_alone, .timeout = 200)
{
    const char *dir = support_shm_dir();
    static const char *const names[] = { "Local/odd", "Global/odd" };
    char victim[600];
    (void)snprintf(victim, sizeof victim, "%s/victim", dir);
    for (int kind = 0; kind < 5; kind++)
        for (int i = 0; i < 2; i++) {
            /* The link's target is a valid stale section: following it would take it away. */
            unsigned char image[IMAGE], now[IMAGE + 1];
            image_of(dir, names[i], image);
            file_write(victim, image, IMAGE, 0600);
            cr_assert_eq(mkdir(local_dir(dir).text, 0700), 0);
            path_text path = section_path(dir, names[i]);
            const char *what = squat(kind, path.text, victim);
            struct stat before, after;
            cr_assert_eq(lstat(path.text, &before), 0);
            check_every_way(names[i], NULL, WEIR_E_NOT_WEIR);
            cr_assert(detail_has(what) && detail_names_uid(geteuid()) && detail_has("odd"), "%s", weir_error_detail());
            check_way(CREATE, "Global/other", NULL, WEIR_OK);
            cr_assert_eq(lstat(path.text, &after), 0);
            cr_assert(before.st_ino == after.st_ino && before.st_mode == after.st_mode);
            cr_assert_eq(file_read(victim, now, sizeof now), IMAGE);
            cr_assert_eq(memcmp(now, image, IMAGE), 0);
            cr_assert_eq(kind == 2 ? rmdir(path.text) : unlink(path.text), 0);
            cr_assert_eq(rmdir(local_dir(dir).text), 0);
            cr_assert_eq(unlink(victim), 0);
        }
}

Test(section, something_else_in_the_users_directorys_place_is_named_at_once_and_left_alone, .timeout = 200)
{
    const char *dir = support_shm_dir();
    char victim[600];
    (void)snprintf(victim, sizeof victim, "%s/victim", dir);
    cr_assert_eq(mkdir(victim, 0700), 0);
    for (int kind = 0; kind < 5; kind++) {
        if (kind == 2)
            continue;
        const char *what = squat(kind, local_dir(dir).text, victim);
        check_every_way("Local/x", NULL, WEIR_E_PERMISSION);
        cr_assert(detail_has(what) && detail_names_uid(geteuid()) && detail_has("weir-u."), "%s", weir_error_detail());
        check_way(CREATE, "Global/x", NULL, WEIR_OK);
        cr_assert_eq(unlink(local_dir(dir).text), 0);
        cr_assert_eq(support_entries(dir, false), 1); /* nothing in the victim */
    }
    file_write(local_dir(dir).text, "mine", 4, 0700);
    check_every_way("Local/x", NULL, WEIR_E_PERMISSION);
    cr_assert(detail_has("a file"), "%s", weir_error_detail());
    cr_assert_eq(unlink(local_dir(dir).text), 0);
}

Test(section, a_shared_memory_directory_that_cannot_be_used_is_named)
{
    support_shm_dir();
    cr_assert_eq(setenv("WEIR_SHM_DIR", "/nonexistent/shm", 1), 0);
    check_every_way("Local/x", NULL, WEIR_E_OS);
    cr_assert(detail_has("/nonexistent/shm"), "%s", weir_error_detail());
    check_every_way("Global/x", NULL, WEIR_E_OS);
    cr_assert_eq(setenv("WEIR_SHM_DIR", "/dev/null", 1), 0);
    check_every_way("Global/x", NULL, WEIR_E_OS);
    cr_assert_eq(setenv("WEIR_SHM_DIR", "/proc", 1), 0); /* no O_TMPFILE there, and not for everybody */
    check_way(CREATE, "Global/x", NULL, geteuid() == 0 ? WEIR_E_UNSUPPORTED : WEIR_E_PERMISSION);
    cr_assert(detail_has("/proc"), "%s", weir_error_detail());
}

/* ---- a name held locked ---- */

static int hold_locked(const char *path, short type)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct flock range = { .l_type = type, .l_whence = SEEK_SET, .l_start = WEIR_LIFE_FIRST,
                           .l_len = WEIR_RANGE_LEN };
    cr_assert_eq(fcntl(fd, F_OFD_SETLK, &range), 0);
    return fd;
}

static int hold_stale_locked(const char *dir, short type)
{
    leave_stale("Global/held", NULL);
    return hold_locked(section_path(dir, "Global/held").text, type);
}

Test(section, a_name_held_locked_is_busy_after_2_seconds_and_hangs_nobody, .timeout = 200)
{
    const char *dir = support_shm_dir();
    int fd = hold_stale_locked(dir, F_WRLCK);
    weir_section *section = UNTOUCHED;
    for (enum way way = CREATE; way < OBSERVE; way++) {
        int64_t from = monotonic_ns();
        cr_assert_eq(come(way, &section, "Global/held", NULL), WEIR_E_BUSY);
        cr_assert(detail_has("Global/held") && detail_has("2 seconds"), "%s", weir_error_detail());
        cr_assert_geq(monotonic_ns() - from, WAIT_NS);
        cr_assert_lt(monotonic_ns() - from, HANGS_NS);
    }
    (void)close(fd);
    check_way(CREATE, "Global/held", NULL, WEIR_OK);
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(section, a_stale_section_that_somebody_is_removing_is_not_live_to_an_observer)
{
    /* Only a read lock says "in use".  A remover holds the write lock. */
    const char *dir = support_shm_dir();
    int fd = hold_stale_locked(dir, F_WRLCK);
    weir_section *section = UNTOUCHED;
    weir_status status = come(OBSERVE, &section, "Global/held", NULL);
    cr_assert(status == WEIR_E_BUSY || status == WEIR_E_NOT_FOUND, "%s", weir_status_name(status));
    (void)close(fd);
}

Test(section, whoever_holds_the_read_lock_keeps_a_section_alive)
{
    const char *dir = support_shm_dir();
    int fd = hold_stale_locked(dir, F_RDLCK);
    check_way(CREATE, "Global/held", NULL, WEIR_E_EXISTS);
    check_way(OBSERVE, "Global/held", NULL, WEIR_OK);
    (void)close(fd);
    check_way(OPEN, "Global/held", NULL, WEIR_E_NOT_FOUND);
}

Test(section, closing_removes_no_other_section_that_has_taken_the_name)
{
    const char *dir = support_shm_dir();
    weir_section *old = create("Local/name", 4096);
    /* as if the name had been removed and made anew meanwhile */
    cr_assert_eq(unlink(section_path(dir, "Local/name").text), 0);
    weir_section *new = create("Local/name", 8192);
    CHECK_OK(weir_section_close(old));
    cr_assert(exists(section_path(dir, "Local/name").text));
    check_way(OPEN, "Local/name", NULL, WEIR_OK);
    CHECK_OK(weir_section_close(new));
    cr_assert_eq(support_entries(dir, true), 0);
}

/* ---- a size that changes to nonsense ---- */

Test(section, a_size_that_the_file_does_not_have_is_corrupt_and_not_believed)
{
    const char *dir = support_shm_dir();
    weir_section *section = create("lied", 4096);
    int fd = open(section_path(dir, "lied").text, O_RDWR | O_CLOEXEC);
    uint64_t sizes[] = { 4097, 1 << 30, WEIR_SECTION_SIZE_MAX + 1, UINT64_MAX, UINT64_MAX - 4095 };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        weir_view view = { .base = NULL };
        cr_assert_eq(pwrite(fd, &sizes[i], 8, offsetof(weir_section_layout, size)), 8);
        cr_assert_eq(weir_section_size(section), 4096);
        CHECK_STATUS(weir_view_map(&view, section, 0, 0, WEIR_READ_ONLY), WEIR_E_CORRUPT);
        cr_assert_null(view.base);
        cr_assert(detail_has("lied"), "%s", weir_error_detail());
        CHECK_STATUS(weir_section_extend(section, 8192), WEIR_E_CORRUPT);
        check_way(OPEN, "lied", NULL, WEIR_E_CORRUPT);
    }
    uint64_t right = 4096;
    cr_assert_eq(pwrite(fd, &right, 8, offsetof(weir_section_layout, size)), 8);
    (void)close(fd);
    cr_assert_eq(stamp_of(section), 0);
    CHECK_OK(weir_section_close(section));
    cr_assert_eq(support_entries(dir, true), 0);
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
