/* Sections that stay when nobody has them open, and taking sections away. */
#include "commit.h"

#include <weir/naming/list.h>
#include <weir/naming/participant.h>

#include <criterion/criterion.h>
#include <sys/socket.h>
#include <sys/un.h>

#define UNTOUCHED ((weir_section *)(uintptr_t)0x1234)
#define SLOTS 4u

static const weir_section_options persistent = { .flags = WEIR_PERSISTENT, .slots = SLOTS };
static const char *const names[] = { "Local/kept", "Global/kept" };

static weir_section *create(const char *name, uint64_t size)
{
    weir_section *section;
    CHECK_OK(weir_section_create(&section, name, size, &persistent));
    return section;
}

/* Makes one that nobody has open. */
static void leave(const char *name, uint64_t stamp)
{
    weir_section *section = create(name, 2 * PAGE);
    weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE);
    memcpy(view.base, &stamp, sizeof stamp);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
}

static weir_section_info look(const char *name)
{
    weir_section_info info;
    CHECK_OK(weir_section_stat(name, &info));
    return info;
}

static void check_remove(const char *name, weir_status expected)
{
    unsigned fds = open_fds();
    int64_t from = monotonic_ns();
    CHECK_KEEPS_ERRNO(weir_section_remove(name), expected);
    cr_assert(expected == WEIR_OK || *weir_error_detail() != 0);
    cr_assert_eq(open_fds(), fds, "remove left a descriptor open");
    cr_assert_lt(monotonic_ns() - from, WAIT_NS);
}

/* ---- it stays ---- */

Test(persistent, it_stays_with_its_content_until_it_is_removed_and_its_directory_goes_with_it)
{
    const char *dir = support_shm_dir();
    for (int i = 0; i < 2; i++) {
        unsigned fds = open_fds();
        leave(names[i], 41);
        cr_assert(exists(section_path(dir, names[i]).text));
        weir_section_info info = look(names[i]);
        cr_assert(info.state == WEIR_SECTION_UNUSED && info.users == 0 && info.flags == WEIR_PERSISTENT);
        for (int round = 0; round < 3; round++) {
            weir_section *section;
            bool created = true;
            if (round == 1)
                CHECK_KEEPS_ERRNO(weir_section_open_or_create(&section, names[i], 1, &persistent, &created), WEIR_OK);
            else
                CHECK_KEEPS_ERRNO(weir_section_open(&section, names[i], NULL), WEIR_OK);
            cr_assert_eq(created, round != 1);
            cr_assert(weir_section_size(section) == 2 * PAGE && stamp_of(section) == 41);
            info = look(names[i]);
            cr_assert(info.state == WEIR_SECTION_LIVE && info.users == 1);
            weir_section *second = open_as(names[i], WEIR_READ_WRITE); /* the first does not keep others out */
            CHECK_OK(weir_section_close(section));
            CHECK_OK(weir_section_close(second));
        }
        cr_assert_eq(look(names[i]).state, WEIR_SECTION_UNUSED);
        check_remove(names[i], WEIR_OK);
        cr_assert_eq(support_entries(dir, true), 0);
        check_remove(names[i], WEIR_E_NOT_FOUND);
        weir_section *section = UNTOUCHED;
        CHECK_STATUS(weir_section_open(&section, names[i], NULL), WEIR_E_NOT_FOUND);
        cr_assert_eq(section, UNTOUCHED);
        cr_assert_eq(open_fds(), fds);
    }
}

Test(persistent, the_users_directory_goes_with_the_last_of_its_sections)
{
    const char *dir = support_shm_dir();
    leave("Local/a", 1);
    leave("Local/b", 2);
    check_remove("Local/a", WEIR_OK);
    cr_assert(exists(local_dir(dir).text) && !exists(section_path(dir, "Local/a").text));
    weir_section *section = open_as("Local/b", WEIR_READ_WRITE);
    cr_assert_eq(stamp_of(section), 2);
    CHECK_OK(weir_section_close(section));
    check_remove("Local/b", WEIR_OK);
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(persistent, create_says_exists_and_whether_it_is_in_use_and_leaves_it_free)
{
    support_shm_dir();
    for (int i = 0; i < 2; i++) {
        weir_section *section = UNTOUCHED, *user;
        leave(names[i], 42);
        CHECK_KEEPS_ERRNO(weir_section_create(&section, names[i], 4096, NULL), WEIR_E_EXISTS);
        cr_assert(detail_has(names[i]) && detail_has("persists"), "%s", weir_error_detail());
        CHECK_KEEPS_ERRNO(weir_section_create(&section, names[i], 4096, &persistent), WEIR_E_EXISTS);
        user = open_as(names[i], WEIR_READ_WRITE); /* no lock was left */
        CHECK_KEEPS_ERRNO(weir_section_create(&section, names[i], 4096, &persistent), WEIR_E_EXISTS);
        cr_assert(detail_has(names[i]) && detail_has("in use"), "%s", weir_error_detail());
        cr_assert_eq(section, UNTOUCHED);
        cr_assert_eq(stamp_of(user), 42);
        cr_assert_eq(look(names[i]).users, 1);
        CHECK_OK(weir_section_close(user));
        cr_assert_eq(look(names[i]).state, WEIR_SECTION_UNUSED);
        CHECK_STATUS(weir_section_create(&section, names[i], 4096, NULL), WEIR_E_EXISTS);
        check_remove(names[i], WEIR_OK);
        CHECK_OK(weir_section_create(&section, names[i], 4096, NULL));
        cr_assert_eq(stamp_of(section), 0);
        CHECK_OK(weir_section_close(section));
        CHECK_STATUS(weir_section_open(&section, names[i], NULL), WEIR_E_NOT_FOUND); /* that one did not persist */
    }
}

Test(persistent, an_opener_that_does_not_agree_is_refused_and_leaves_it_unused)
{
    support_shm_dir();
    leave(names[0], 43);
    weir_section *section = UNTOUCHED;
    static const weir_section_options other = { .content = 7 }, narrow = { .mode = 0400 };
    for (int i = 0; i < 2; i++) {
        CHECK_KEEPS_ERRNO(weir_section_open(&section, names[0], &other), WEIR_E_MISMATCH);
        cr_assert_eq(look(names[0]).state, WEIR_SECTION_UNUSED);
        CHECK_KEEPS_ERRNO(weir_section_open(&section, names[0], &narrow), WEIR_E_PERMISSION);
        cr_assert_eq(look(names[0]).state, WEIR_SECTION_UNUSED);
    }
    cr_assert_eq(section, UNTOUCHED);
    section = open_as(names[0], WEIR_READ_WRITE);
    cr_assert_eq(stamp_of(section), 43);
    CHECK_OK(weir_section_close(section));
    check_remove(names[0], WEIR_OK);
}

static weir_status failing_init(void *content, uint64_t size, void *arg)
{
    (void)arg;
    memset(content, 1, size);
    return WEIR_E_MISMATCH;
}

Test(persistent, what_init_refuses_leaves_nothing_and_flags_are_for_calls_that_make)
{
    const char *dir = support_shm_dir();
    weir_section *section = UNTOUCHED;
    weir_section_options options = { .flags = WEIR_PERSISTENT, .init = failing_init };
    CHECK_STATUS(weir_section_create(&section, names[0], 4096, &options), WEIR_E_MISMATCH);
    cr_assert_eq(support_entries(dir, true), 0);
    CHECK_STATUS(weir_section_open(&section, names[0], &persistent), WEIR_E_INVALID);
    CHECK_STATUS(weir_section_create_unnamed(&section, 4096, &persistent), WEIR_E_INVALID);
    cr_assert_eq(section, UNTOUCHED);
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(persistent, an_observer_may_look_at_one_that_nobody_uses_and_keeps_nobody_from_it)
{
    const char *dir = support_shm_dir();
    for (int i = 0; i < 2; i++) {
        leave(names[i], 44);
        weir_section *observer = open_as(names[i], i == 0 ? WEIR_READ_ONLY : WEIR_COPY_ON_WRITE);
        cr_assert_eq(stamp_of(observer), 44);
        weir_section_info info = look(names[i]);
        cr_assert(info.state == WEIR_SECTION_UNUSED && info.users == 0 && info.observers == 1);
        weir_section *user = open_as(names[i], WEIR_READ_WRITE);
        weir_view view = map_view(user, 0, 0, WEIR_READ_WRITE);
        ((char *)view.base)[0] = 45;
        cr_assert_eq(stamp_of(observer), 45);
        CHECK_OK(weir_view_unmap(&view));
        CHECK_OK(weir_section_close(user));
        cr_assert(exists(section_path(dir, names[i]).text));
        weir_view still = map_view(observer, 0, 0, WEIR_READ_ONLY);
        check_remove(names[i], WEIR_OK); /* it keeps nothing alive */
        cr_assert_eq(*(const char *)still.base, 45);
        CHECK_OK(weir_view_unmap(&still));
        CHECK_OK(weir_section_close(observer));
        cr_assert_eq(support_entries(dir, true), 0);
    }
}

/* ---- deaths ---- */

static void join_and_wait(void *arg)
{
    weir_section *section = open_as(arg, WEIR_READ_WRITE);
    weir_participant before;
    CHECK_OK(weir_participant_claim(section, 1, 2, &before));
    CHECK_OK(weir_participant_join(section, &before));
    weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE);
    ((unsigned char *)view.base)[before.slot]++;
}

Test(persistent, after_all_were_killed_the_next_opener_finds_it_and_who_died_in_it)
{
    support_shm_dir();
    for (int i = 0; i < 2; i++) {
        char name[32];
        (void)strcpy(name, names[i]);
        leave(name, 0);
        for (uint32_t round = 1; round <= 3; round++) {
            holder first = holder_start(join_and_wait, NULL, name), second = holder_start(join_and_wait, NULL, name);
            cr_assert(look(name).present == 2 && look(name).users == 2);
            holder_kill(&first);
            holder_kill(&second);
            weir_section_info info = look(name);
            cr_assert(info.state == WEIR_SECTION_UNUSED && info.present == 0 && info.dead == 2);
            weir_section *section = open_as(name, WEIR_READ_WRITE);
            for (uint32_t slot = 0; slot < SLOTS; slot++) {
                weir_participant seen;
                bool used = slot == 1 || slot == 2;
                CHECK_OK(weir_participant_look(section, slot, &seen));
                cr_assert_eq(seen.presence, used ? WEIR_DEAD : WEIR_ABSENT);
                cr_assert(seen.deaths == (used ? round : 0) && seen.generation == (used ? round : 0));
            }
            weir_view view = map_view(section, 0, 0, WEIR_READ_ONLY);
            cr_assert(((unsigned char *)view.base)[1] == round && ((unsigned char *)view.base)[2] == round);
            CHECK_OK(weir_view_unmap(&view));
            CHECK_OK(weir_section_close(section));
        }
        check_remove(name, WEIR_OK);
    }
}

static bool count_cleaned(const weir_section_info *info, void *arg)
{
    CHECK(strcmp(info->name, "Local/stale") == 0 || strcmp(info->name, "Global/stale") == 0);
    ++*(unsigned *)arg;
    return true;
}

Test(persistent, neither_sweep_nor_clean_takes_it_but_the_stale_ones_beside_it)
{
    const char *dir = support_shm_dir();
    leave(names[0], 1);
    leave(names[1], 2);
    section_job job = { .name = "Local/killed", .size = 4096, .options = persistent };
    holder h = holder_start(section_job_begin, NULL, &job);
    holder_kill(&h); /* its creator had it alone */
    leave_stale("Local/stale", NULL);
    leave_stale("Global/stale", NULL);
    CHECK_STATUS(weir_section_open(&(weir_section *){ NULL }, "Local/nothing", NULL), WEIR_E_NOT_FOUND); /* sweeps */
    cr_assert_eq(files_under(dir), 3);
    /* Each new child's own open would sweep the one before. */
    leave_stale("Global/stale", NULL);
    leave_stale("Local/stale", NULL);
    unsigned cleaned = 0;
    CHECK_KEEPS_ERRNO(weir_section_clean(count_cleaned, &cleaned), WEIR_OK);
    cr_assert(cleaned >= 1 && cleaned <= 2);
    CHECK_OK(weir_section_clean(NULL, NULL));
    cr_assert_eq(files_under(dir), 3);
    for (int i = 0; i < 2; i++) {
        weir_section *section = open_as(names[i], WEIR_READ_WRITE);
        cr_assert_eq(stamp_of(section), (uint64_t)i + 1);
        CHECK_OK(weir_section_close(section));
        check_remove(names[i], WEIR_OK);
    }
    check_remove("Local/killed", WEIR_OK);
    cr_assert_eq(support_entries(dir, true), 0);
}

/* ---- remove ---- */

Test(persistent, remove_of_one_in_use_is_refused_and_nothing_is_done)
{
    const char *dir = support_shm_dir();
    for (int i = 0; i < 4; i++) {
        const char *name = names[i % 2];
        section_job job = { .name = name, .size = 4096, .stamp = 46 };
        if (i < 2)
            job.options = persistent;
        holder h = holder_start(section_job_begin, section_job_end, &job);
        check_remove(name, WEIR_E_IN_USE);
        cr_assert(detail_has(name), "%s", weir_error_detail());
        weir_section *section = open_as(name, WEIR_READ_WRITE);
        check_remove(name, WEIR_E_IN_USE);
        holder_finish(&h);
        check_remove(name, WEIR_E_IN_USE); /* by this process's own handle */
        cr_assert_eq(stamp_of(section), 46);
        CHECK_OK(weir_section_close(section));
        check_remove(name, i < 2 ? WEIR_OK : WEIR_E_NOT_FOUND);
        cr_assert_eq(support_entries(dir, true), 0);
    }
}

Test(persistent, remove_takes_a_stale_section_of_any_mode_and_an_unfinished_one)
{
    const char *dir = support_shm_dir();
    for (int i = 0; i < 2; i++) {
        leave_stale(names[i], NULL);
        check_remove(names[i], WEIR_OK);
        leave_stale(names[i], &(weir_section_options){ .mode = 0777 });
        check_remove(names[i], WEIR_OK);
        cr_assert_eq(support_entries(dir, true), 0);
        leave_stale(names[i], NULL);
        uint64_t making = WEIR_SECTION_MAGIC_MAKING; /* as a death while it was made again in place leaves it */
        int fd = open(section_path(dir, names[i]).text, O_WRONLY | O_CLOEXEC);
        CHECK(fd >= 0 && pwrite(fd, &making, sizeof making, 0) == sizeof making && close(fd) == 0);
        check_remove(names[i], WEIR_OK);
        cr_assert_eq(support_entries(dir, true), 0);
    }
}

Test(persistent, remove_of_nothing_or_of_no_name_says_so)
{
    const char *dir = support_shm_dir();
    for (int i = 0; i < 2; i++) {
        check_remove(names[i], WEIR_E_NOT_FOUND);
        cr_assert(detail_has(names[i]) && detail_has(dir), "%s", weir_error_detail());
    }
    leave("Local/other", 1);
    check_remove("Local/kept", WEIR_E_NOT_FOUND);
    check_remove("Local/other", WEIR_OK);
    static const char *const wrong[] = { "", "a/b", "../kept", "Global/", "Elsewhere/kept", ".kept", NULL };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        check_remove(wrong[i], WEIR_E_NAME);
    cr_assert_eq(support_entries(dir, true), 0);
    cr_assert_eq(setenv("WEIR_SHM_DIR", "/nowhere", 1), 0);
    check_remove("Local/kept", WEIR_E_OS);
    cr_assert(detail_has("/nowhere"), "%s", weir_error_detail());
}

/* ---- strange things at the name ---- */

static void check_left_alone(const char *at, const char *name, weir_status expected)
{
    struct stat before, after;
    CHECK(lstat(at, &before) == 0);
    check_remove(name, expected);
    CHECK(lstat(at, &after) == 0);
    cr_assert(before.st_ino == after.st_ino && before.st_mode == after.st_mode && before.st_size == after.st_size);
}

Test(persistent, remove_leaves_what_is_no_section_of_this_library_alone)
{
    const char *dir = support_shm_dir();
    static const char *const from[] = { "Local/image", "Global/image" };
    for (int i = 0; i < 2; i++) {
        unsigned char image[3 * PAGE], bent[3 * PAGE];
        path_text at = section_path(dir, names[i]), source = section_path(dir, from[i]);
        leave(names[i], 1);
        cr_assert_eq(file_read(at.text, image, sizeof image), sizeof image);
        check_remove(names[i], WEIR_OK);
        leave(from[i], 1); /* and keeps the directory */
        static const struct { uint64_t off; uint32_t value; uint64_t len; weir_status expected; } rows[] = {
            { 0, 0x12345678, sizeof image, WEIR_E_NOT_WEIR },   { 8, 4, sizeof image, WEIR_E_VERSION },
            { 8, 2, sizeof image, WEIR_E_VERSION },             { 16, 257, sizeof image, WEIR_E_CORRUPT },
            { 20, 0x11, sizeof image, WEIR_E_CORRUPT },         { 20, 3, sizeof image, WEIR_E_CORRUPT },
            { 240, 3 * 4096, sizeof image, WEIR_E_CORRUPT },    { 24, 0x62626262, sizeof image, WEIR_E_NOT_WEIR },
            { 9999, 0, 2 * PAGE, WEIR_E_CORRUPT },              { 9999, 0, 100, WEIR_E_CORRUPT },
            { 9999, 0, 7, WEIR_E_NOT_WEIR },                    { 9999, 0, 0, WEIR_E_NOT_WEIR },
        };
        for (size_t j = 0; j < sizeof rows / sizeof rows[0]; j++) {
            memcpy(bent, image, sizeof bent);
            memcpy(bent + rows[j].off, &rows[j].value, sizeof rows[j].value);
            file_write(at.text, bent, rows[j].len, 0600);
            check_left_alone(at.text, names[i], rows[j].expected);
            cr_assert(detail_has("kept"), "%s", weir_error_detail());
            cr_assert_eq(unlink(at.text), 0);
        }
        cr_assert_eq(link(source.text, at.text), 0);
        check_left_alone(at.text, names[i], WEIR_E_NOT_WEIR);
        cr_assert_eq(unlink(at.text), 0);
        cr_assert_eq(symlink(source.text, at.text), 0);
        check_left_alone(at.text, names[i], WEIR_E_NOT_WEIR);
        cr_assert_eq(unlink(at.text), 0);
        cr_assert_eq(mkfifo(at.text, 0600), 0);
        check_left_alone(at.text, names[i], WEIR_E_NOT_WEIR);
        cr_assert(detail_has("FIFO") && detail_names_uid(0), "%s", weir_error_detail());
        cr_assert_eq(unlink(at.text), 0);
        cr_assert_eq(mkdir(at.text, 0700), 0);
        check_left_alone(at.text, names[i], WEIR_E_NOT_WEIR);
        cr_assert_eq(rmdir(at.text), 0);
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        (void)snprintf(address.sun_path, sizeof address.sun_path, "%.100s", at.text);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        cr_assert(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
        check_left_alone(at.text, names[i], WEIR_E_NOT_WEIR);
        cr_assert(close(fd) == 0 && unlink(at.text) == 0);
        check_remove(from[i], WEIR_OK); /* through all that it was there */
        cr_assert_eq(support_entries(dir, true), 0);
    }
}

#define STRANGER 12345u

static void remove_as_stranger(void *arg)
{
    CHECK(setgid(STRANGER) == 0 && setuid(STRANGER) == 0);
    CHECK_STATUS(weir_section_remove(arg), WEIR_E_PERMISSION);
    CHECK(detail_names_uid(0));
}

Test(persistent, remove_needs_a_section_of_ones_own_and_a_directory_that_lets_it_go)
{
    if (geteuid() != 0)
        cr_skip_test("needs root");
    const char *dir = support_shm_dir();
    cr_assert_eq(chmod(dir, 01777), 0);
    char name[] = "Global/kept";
    path_text at = section_path(dir, name);
    /* Root's, readable by all: the sticky directory does not let a stranger remove it. */
    weir_section *section;
    CHECK_OK(weir_section_create(&section, name, 4096, &(weir_section_options){ .flags = WEIR_PERSISTENT,
                                                                                .mode = 0666 }));
    CHECK_OK(weir_section_close(section));
    holder h = holder_start(remove_as_stranger, NULL, name);
    holder_finish(&h);
    cr_assert_eq(chmod(at.text, 0600), 0); /* and this he may not even open */
    h = holder_start(remove_as_stranger, NULL, name);
    holder_finish(&h);
    cr_assert_eq(chown(at.text, STRANGER, STRANGER), 0);
    check_left_alone(at.text, name, WEIR_E_PERMISSION); /* root may, but does not trust it */
    cr_assert(detail_names_uid(STRANGER), "%s", weir_error_detail());
    cr_assert_eq(chown(at.text, 0, 0), 0);
    cr_assert_eq(chmod(at.text, 04600), 0);
    check_left_alone(at.text, name, WEIR_E_PERMISSION);
    cr_assert_eq(chmod(at.text, 0600), 0);
    check_remove(name, WEIR_OK);
    /* A user's directory that is somebody else's, or open to others. */
    leave("Local/kept", 1);
    path_text local = local_dir(dir);
    cr_assert_eq(chown(local.text, STRANGER, STRANGER), 0);
    check_remove("Local/kept", WEIR_E_PERMISSION);
    cr_assert(detail_names_uid(STRANGER), "%s", weir_error_detail());
    cr_assert(chown(local.text, 0, 0) == 0 && chmod(local.text, 0755) == 0);
    check_remove("Local/kept", WEIR_E_PERMISSION);
    cr_assert_eq(chmod(local.text, 0700), 0);
    check_remove("Local/kept", WEIR_OK);
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(persistent, remove_gives_up_after_2_seconds_where_somebody_holds_the_name_locked)
{
    const char *dir = support_shm_dir();
    leave(names[1], 1);
    int fd = open(section_path(dir, names[1]).text, O_RDWR | O_CLOEXEC);
    struct flock range = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = WEIR_LIFE_FIRST, .l_len = 4096 };
    cr_assert(fd >= 0 && fcntl(fd, F_OFD_SETLK, &range) == 0);
    int64_t from = monotonic_ns();
    unsigned fds = open_fds();
    CHECK_KEEPS_ERRNO(weir_section_remove(names[1]), WEIR_E_BUSY);
    int64_t took = monotonic_ns() - from;
    cr_assert(took >= WAIT_NS && took < HANGS_NS, "%lld ns", (long long)took);
    cr_assert(detail_has(names[1]) && detail_has("2 seconds"), "%s", weir_error_detail());
    cr_assert_eq(open_fds(), fds);
    cr_assert_eq(close(fd), 0);
    check_remove(names[1], WEIR_OK);
    cr_assert_eq(support_entries(dir, true), 0);
}

/* ---- a system that refuses ---- */

static weir_linux_calls real;
static int refused;

static int refuse_openat(int dir, const char *path, int flags, mode_t mode)
{
    (void)dir, (void)path, (void)flags, (void)mode;
    errno = refused;
    return -1;
}

static int refuse_lock(int fd, int command, struct flock *range)
{
    (void)fd, (void)command, (void)range;
    errno = refused;
    return -1;
}

Test(persistent, remove_says_what_the_system_refused_and_leaves_the_section)
{
    support_shm_dir();
    static const struct { int error; bool lock; weir_status expected; } rows[] = {
        { EMFILE, false, WEIR_E_NO_MEMORY }, { EIO, false, WEIR_E_OS }, { EACCES, false, WEIR_E_PERMISSION },
        { EIO, true, WEIR_E_OS },
    };
    leave(names[0], 47);
    real = weir_linux;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        refused = rows[i].error;
        if (rows[i].lock)
            weir_linux.lock = refuse_lock;
        else
            weir_linux.openat = refuse_openat;
        weir_status status = weir_section_remove(names[0]);
        weir_linux = real;
        CHECK_STATUS(status, rows[i].expected);
        cr_assert_neq(*weir_error_detail(), 0);
        weir_section *section = open_as(names[0], WEIR_READ_WRITE);
        cr_assert_eq(stamp_of(section), 47);
        CHECK_OK(weir_section_close(section));
    }
    check_remove(names[0], WEIR_OK);
}

/* ---- with reserved room ---- */

Test(persistent, what_was_committed_stays_and_what_a_killed_commit_left_reads_zero_and_is_counted_once)
{
    const char *dir = support_shm_dir();
    uint64_t size = 5 * GRANULE - 3 * PAGE;
    weir_section *section;
    weir_section_options options = { .flags = WEIR_RESERVE | WEIR_PERSISTENT, .commit_bytes = GRANULE };
    CHECK_OK(weir_section_create(&section, names[0], size, &options));
    CHECK_OK(weir_section_commit(section, 2 * GRANULE, 1));
    weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE);
    fill_bytes(&view, 2, 0x21);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
    path_text path = section_path(dir, names[0]);
    uint64_t content_off = weir_section_content_off(WEIR_SECTION_RESERVED, size);
    /* Memory without bits, with bytes in it, on both sides of what is committed. */
    unsigned char junk[100];
    memset(junk, 0x99, sizeof junk);
    int fd = open(path.text, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0 && fallocate(fd, 0, (off_t)(content_off + GRANULE), (off_t)GRANULE) == 0);
    CHECK(pwrite(fd, junk, sizeof junk, (off_t)(content_off + GRANULE)) == sizeof junk);
    CHECK(pwrite(fd, junk, sizeof junk, (off_t)(content_off + size - sizeof junk)) == sizeof junk);
    CHECK(close(fd) == 0);
    cr_assert_eq(bytes_taken(path.text), shape_bytes(size, "###") + PAGE);
    weir_section_info info = look(names[0]);
    cr_assert(info.committed == 2 * GRANULE && info.flags == (WEIR_PERSISTENT | WEIR_RESERVE));
    weir_section *observer = open_as(names[0], WEIR_READ_ONLY);
    section = open_as(names[0], WEIR_READ_WRITE);
    check_shape(section, "#.#..");
    check_shape(observer, "#.#..");
    CHECK_OK(weir_section_close(observer));
    view = map_view(section, 0, 0, WEIR_READ_WRITE);
    check_reach(&view, "#.#..", true);
    cr_assert_leq(bytes_taken(path.text), shape_bytes(size, "###") + PAGE);
    CHECK_OK(weir_section_commit(section, GRANULE, 1));
    cr_assert_leq(bytes_taken(path.text), shape_bytes(size, "###") + PAGE);
    check_bytes(&view, 1, 0);
    CHECK_OK(weir_section_commit(section, 0, 0));
    cr_assert_eq(bytes_taken(path.text), shape_bytes(size, "#####"));
    for (uint64_t g = 0; g < 5; g++)
        check_bytes(&view, g, g == 2 ? 0x21 : 0);
    CHECK_OK(weir_section_decommit(section, GRANULE, GRANULE));
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
    section = open_as(names[0], WEIR_READ_WRITE);
    check_shape(section, "#.###");
    cr_assert_eq(bytes_taken(path.text), shape_bytes(size, "#.###"));
    CHECK_OK(weir_section_close(section));
    check_remove(names[0], WEIR_OK);
    cr_assert_eq(support_entries(dir, true), 0);
}
