/* Who keeps a named section alive: observers do not, the killed do not, a read lock does; stale ones and their sweep; a
 * name that is held locked. */
#include "ways.h"

#include <weir/naming/os_linux.h>
#include <weir/naming/section_layout.h>

/* ---- observers ---- */

Test(section_stale, an_observer_has_no_write_mapping_and_does_not_keep_the_section_alive)
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

Test(section_stale, an_observer_that_closes_first_takes_nothing_away)
{
    const char *dir = support_shm_dir();
    weir_section *section = create("stays", 4096);
    check_way(OBSERVE, "stays", NULL, WEIR_OK);
    cr_assert(exists(section_path(dir, "stays").text));
    check_way(OPEN, "stays", NULL, WEIR_OK);
    CHECK_OK(weir_section_close(section));
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(section_stale, to_an_observer_a_stale_section_is_not_there_and_it_does_not_remove_it)
{
    const char *dir = support_shm_dir();
    leave_stale("Local/stale", NULL);
    check_way(OBSERVE, "Local/stale", NULL, WEIR_E_NOT_FOUND);
    cr_assert(exists(section_path(dir, "Local/stale").text));
    check_way(OBSERVE, "Local/other", NULL, WEIR_E_NOT_FOUND);
    cr_assert(exists(section_path(dir, "Local/stale").text));
}

/* ---- stale sections ---- */

Test(section_stale, a_killed_holders_section_is_replaced_by_create_with_a_new_one)
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

Test(section_stale, a_killed_holders_section_is_not_found_by_open_and_gone_then)
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

Test(section_stale, a_stale_section_that_no_sweep_reaches_is_still_found_to_be_stale)
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

Test(section_stale, a_stale_section_is_swept_by_a_later_use_of_another_name)
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

Test(section_stale, a_stale_section_of_any_mode_is_swept)
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

Test(section_stale, fifty_stale_sections_are_gone_after_one_use)
{
    const char *dir = support_shm_dir();
    holder h = holder_start(make_fifty, NULL, NULL);
    holder_kill(&h);
    cr_assert_eq(support_entries(dir, false), 51);
    check_way(CREATE, "used", NULL, WEIR_OK);
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(section_stale, a_sweep_spares_what_is_in_use_and_what_is_no_section)
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

Test(section_stale, a_name_held_locked_is_busy_after_2_seconds_and_hangs_nobody, .timeout = 200)
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

Test(section_stale, a_stale_section_that_somebody_is_removing_is_not_live_to_an_observer)
{
    /* Only a read lock says "in use".  A remover holds the write lock. */
    const char *dir = support_shm_dir();
    int fd = hold_stale_locked(dir, F_WRLCK);
    weir_section *section = UNTOUCHED;
    weir_status status = come(OBSERVE, &section, "Global/held", NULL);
    cr_assert(status == WEIR_E_BUSY || status == WEIR_E_NOT_FOUND, "%s", weir_status_name(status));
    (void)close(fd);
}

Test(section_stale, whoever_holds_the_read_lock_keeps_a_section_alive)
{
    const char *dir = support_shm_dir();
    int fd = hold_stale_locked(dir, F_RDLCK);
    check_way(CREATE, "Global/held", NULL, WEIR_E_EXISTS);
    check_way(OBSERVE, "Global/held", NULL, WEIR_OK);
    (void)close(fd);
    check_way(OPEN, "Global/held", NULL, WEIR_E_NOT_FOUND);
}

Test(section_stale, closing_removes_no_other_section_that_has_taken_the_name)
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
