/* Each system call that a file-backed section needs fails, or another acts before it. */
#include "faults.h"
#include "files.h"

/* A call on the file; the library's calls are replaced. */
static weir_status open_to(const char *path, uint64_t size, uint32_t flags)
{
    weir_section *section = UNTOUCHED;
    weir_section_options options = { .flags = flags };
    if (geteuid() == 0 && (flags & (WEIR_FILE_CREATE | WEIR_FILE_NEW)) != 0) {
        options.flags |= WEIR_SET_GROUP;
        options.group = 12345;
    }
    errno = KEPT;
    weir_status status = weir_section_open_file(&section, path, size, &options);
    int error = errno;
    disarm();
    CHECK(error == KEPT);
    if (status == WEIR_OK)
        CHECK_OK(weir_section_close(section));
    else
        CHECK(section == UNTOUCHED && detail_has(path));
    return status;
}

static weir_status extend_to(weir_section *section, uint64_t size)
{
    uint64_t before = weir_section_size(section);
    errno = KEPT;
    weir_status status = weir_section_extend(section, size);
    int error = errno;
    disarm();
    CHECK(error == KEPT);
    CHECK(weir_section_size(section) == (status == WEIR_OK ? size : before));
    return status;
}

/* ---- opening ---- */

Test(file_calls, a_file_that_cannot_be_opened_says_why)
{
    static const struct {
        int error;
        weir_status status;
    } rows[] = {
        { EACCES, WEIR_E_PERMISSION }, { EPERM, WEIR_E_PERMISSION },   { EROFS, WEIR_E_PERMISSION },
        { EMFILE, WEIR_E_NO_MEMORY },  { ENFILE, WEIR_E_NO_MEMORY },   { ENOMEM, WEIR_E_NO_MEMORY },
        { ENOSPC, WEIR_E_NO_SPACE },   { EDQUOT, WEIR_E_NO_SPACE },    { EISDIR, WEIR_E_INVALID },
        { ENXIO, WEIR_E_INVALID },     { ENODEV, WEIR_E_INVALID },     { ELOOP, WEIR_E_INVALID },
        { ENOTDIR, WEIR_E_INVALID },   { ENAMETOOLONG, WEIR_E_INVALID }, { EIO, WEIR_E_OS },
        { ETXTBSY, WEIR_E_OS },        { ENOENT, WEIR_E_NOT_FOUND },
    };
    replace_calls();
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "refused");
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            arm(OPENAT, rows[i].error, 1, LONG_MAX);
            CHECK_STATUS(open_to(path.text, 100, WEIR_FILE_CREATE), rows[i].status);
            arm(OPENAT, rows[i].error, 2, LONG_MAX); /* the one that makes it */
            CHECK_STATUS(open_to(path.text, 100, WEIR_FILE_CREATE), rows[i].status);
            arm(OPENAT, rows[i].error, 1, LONG_MAX);
            CHECK_STATUS(open_to(path.text, 100, WEIR_FILE_NEW), rows[i].status);
            cr_assert(!exists(path.text));
            pattern_file(path.text, 100);
            arm(OPENAT, rows[i].error, 1, LONG_MAX);
            CHECK_STATUS(open_to(path.text, 0, 0), rows[i].status);
            check_file(path.text, 100, 100);
            remove_file(path.text);
        }
    }
}

Test(file_calls, without_a_free_descriptor_there_is_no_memory_and_no_file)
{
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "none-free");
        pid_t child = fork();
        if (child == 0) {
            struct rlimit limit;
            CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
            limit.rlim_cur = 64;
            CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
            while (dup(2) >= 0)
                ;
            CHECK(errno == EMFILE);
            CHECK_STATUS(open_to(path.text, 100, WEIR_FILE_NEW), WEIR_E_NO_MEMORY);
            CHECK_STATUS(open_to(path.text, 100, WEIR_FILE_CREATE), WEIR_E_NO_MEMORY);
            /* There is one free, and it is a standard one that the file may not have. */
            (void)close(0);
            CHECK_STATUS(open_to(path.text, 100, WEIR_FILE_NEW), WEIR_E_NO_MEMORY);
            CHECK(!exists(path.text));
            CHECK_STATUS(open_to(path.text, 100, WEIR_FILE_CREATE), WEIR_E_NO_MEMORY);
            CHECK(!exists(path.text));
            _exit(0);
        }
        cr_assert_eq(support_wait(child), 0);
        (void)unlink(path.text);
    }
}

Test(file_calls, whatever_fails_a_new_file_is_removed_again_and_one_that_was_there_is_as_it_was)
{
    static const struct {
        enum call call;
        int error;
        long times;
        weir_status status;
    } rows[] = {
        { FSTAT, EIO, 1, WEIR_E_OS },
        { FSTAT, ENOMEM, 1, WEIR_E_NO_MEMORY },
        { FCHOWN, EPERM, LONG_MAX, WEIR_E_PERMISSION },
        { FCHOWN, EDQUOT, LONG_MAX, WEIR_E_NO_SPACE },
        { FCHMOD, EPERM, LONG_MAX, WEIR_E_PERMISSION },
        { FCHMOD, EIO, LONG_MAX, WEIR_E_OS },
        { FALLOCATE, ENOSPC, LONG_MAX, WEIR_E_NO_SPACE },
        { FALLOCATE, EDQUOT, LONG_MAX, WEIR_E_NO_SPACE },
        { FALLOCATE, ENOMEM, LONG_MAX, WEIR_E_NO_SPACE },
        { FALLOCATE, EOPNOTSUPP, LONG_MAX, WEIR_E_UNSUPPORTED },
        { FALLOCATE, EIO, LONG_MAX, WEIR_E_OS },
    };
    replace_calls();
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "made");
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            bool chown = rows[i].call == FCHOWN, makes = chown || rows[i].call == FCHMOD;
            if (chown && geteuid() != 0)
                continue;
            for (uint32_t flags = WEIR_FILE_CREATE; flags <= WEIR_FILE_NEW; flags += WEIR_FILE_CREATE) {
                arm(rows[i].call, rows[i].error, 1, rows[i].times);
                CHECK_STATUS(open_to(path.text, 20 * MIB, flags), rows[i].status);
                cr_assert(plan.failed > 0 && !exists(path.text));
            }
            pattern_file(path.text, 5000);
            struct file_state before = state_of(path.text), after;
            for (int j = 0; j < 2 && !makes; j++) {
                arm(rows[i].call, rows[i].error, 1, rows[i].times);
                CHECK_STATUS(open_to(path.text, 20 * MIB, j == 0 ? 0 : WEIR_FILE_CREATE), rows[i].status);
                after = state_of(path.text);
                cr_assert(same_but_time(&before, &after));
            }
            check_file(path.text, 5000, 5000);
            remove_file(path.text);
        }
    }
}

/* ---- growing ---- */

static const struct {
    int error;
    weir_status status;
} growth[] = { { ENOSPC, WEIR_E_NO_SPACE }, { EDQUOT, WEIR_E_NO_SPACE },        { ENOMEM, WEIR_E_NO_SPACE },
               { EIO, WEIR_E_OS },          { EOPNOTSUPP, WEIR_E_UNSUPPORTED }, { EFBIG, WEIR_E_OS } };

Test(file_calls, a_growth_that_fails_at_any_step_leaves_size_memory_and_content_as_they_were)
{
    static const uint64_t sizes[] = { 0, 1, 4096, 5000, 65536 };
    replace_calls();
    IN_EACH_FOLDER(dir)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            path_text path = in_folder(dir, "grows");
            pattern_file(path.text, sizes[i]);
            struct file_state before = state_of(path.text), after;
            long step = 1;
            for (; step < 10; step++) /* 40 MiB are three */
                for (size_t j = 0; j < sizeof growth / sizeof growth[0]; j++) {
                    arm(FALLOCATE, growth[j].error, step, LONG_MAX);
                    weir_status status = open_to(path.text, 40 * MIB, 0);
                    if (plan.failed == 0) {
                        CHECK_OK(status);
                        goto passed;
                    }
                    CHECK_STATUS(status, growth[j].status);
                    after = state_of(path.text);
                    cr_assert(same_but_time(&before, &after), "step %ld", step);
                    check_file(path.text, sizes[i], sizes[i]);
                }
        passed:
            cr_assert_geq(step, 4);
            check_file(path.text, sizes[i], 40 * MIB);
            remove_file(path.text);
        }
}

Test(file_calls, a_signal_between_or_in_the_steps_does_not_fail_the_growth)
{
    replace_calls();
    IN_EACH_FOLDER(dir)
        for (long step = 1; step < 4; step++) {
            path_text path = in_folder(dir, "interrupted");
            pattern_file(path.text, 100);
            arm(FALLOCATE, EINTR, step, 5);
            CHECK_OK(open_to(path.text, 40 * MIB, 0));
            cr_assert_eq(plan.failed, 5);
            check_file(path.text, 100, 40 * MIB);
            cr_assert_geq(file_taken(path.text), 40 * MIB);
            remove_file(path.text);
        }
}

Test(file_calls, extend_that_fails_leaves_the_file_and_the_section_as_they_were)
{
    replace_calls();
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "extended");
        pattern_file(path.text, 5000);
        weir_section *section = open_file(path.text, 0, WEIR_READ_WRITE, 0);
        weir_view view = map(section, 0, 0, WEIR_READ_WRITE);
        struct file_state before = state_of(path.text), after;
        for (size_t i = 0; i < 3 * sizeof growth / sizeof growth[0]; i++) {
            arm(FALLOCATE, growth[i / 3].error, (long)(i % 3) + 1, LONG_MAX);
            CHECK_STATUS(extend_to(section, 40 * MIB), growth[i / 3].status);
            cr_assert(plan.failed > 0 && detail_has(path.text), "%s", weir_error_detail());
            after = state_of(path.text);
            cr_assert(same_but_time(&before, &after));
            cr_assert_eq(((unsigned char *)view.base)[4999], pattern(4999));
        }
        CHECK_OK(extend_to(section, 40 * MIB));
        CHECK_OK(weir_view_unmap(&view));
        CHECK_OK(weir_section_close(section));
        check_file(path.text, 5000, 40 * MIB);
        remove_file(path.text);
    }
}

/* Three ways to have no room. */
enum want { LIMIT, MORE_THAN_THE_DISK, FAILS, WANTS };

static weir_status extend_without_room(weir_section *section, enum want want)
{
    struct rlimit old, limit;
    CHECK(getrlimit(RLIMIT_FSIZE, &old) == 0);
    limit = old;
    limit.rlim_cur = 30 * MIB;
    if (want == LIMIT) /* SIGXFSZ, unblocked and unhandled, would end the program */
        CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    if (want == FAILS)
        arm(FALLOCATE, ENOSPC, 1, LONG_MAX);
    weir_status status = extend_to(section, want == MORE_THAN_THE_DISK ? WEIR_SECTION_SIZE_MAX : 40 * MIB);
    CHECK(setrlimit(RLIMIT_FSIZE, &old) == 0);
    return status;
}

Test(file_calls, extend_that_fails_cuts_nothing_that_the_file_has_behind_a_smaller_section)
{
    replace_calls();
    IN_EACH_FOLDER(dir)
        for (enum want want = LIMIT; want < WANTS; want++) {
            path_text path = in_folder(dir, "longer");
            pattern_file(path.text, 3 * KIB64);
            weir_section *section = open_file(path.text, 100, WEIR_READ_WRITE, 0);
            CHECK_STATUS(extend_without_room(section, want), WEIR_E_NO_SPACE);
            cr_assert(want != LIMIT || detail_has("ulimit -f"), "%s", weir_error_detail());
            cr_assert(want != LIMIT || (detail_has("40 MiB") && detail_has("30 MiB")), "%s", weir_error_detail());
            check_file(path.text, 3 * KIB64, 3 * KIB64);
            CHECK_OK(weir_section_close(section));
            remove_file(path.text);
        }
}

Test(file_calls, extend_that_fails_cuts_nothing_that_another_handle_has_grown_and_filled_since)
{
    replace_calls();
    IN_EACH_FOLDER(dir)
        for (enum want want = LIMIT; want < WANTS; want++) {
            path_text path = in_folder(dir, "grown");
            pattern_file(path.text, 100);
            weir_section *section = open_file(path.text, 0, WEIR_READ_WRITE, 0);
            weir_section *other = open_file(path.text, 3 * KIB64, WEIR_READ_WRITE, 0);
            weir_view view = map(other, 0, 0, WEIR_READ_WRITE);
            pattern_fill(view.base, 0, view.size);
            CHECK_STATUS(extend_without_room(section, want), WEIR_E_NO_SPACE);
            check_file(path.text, 3 * KIB64, 3 * KIB64);
            CHECK_OK(weir_view_unmap(&view));
            CHECK_OK(weir_section_close(other));
            CHECK_OK(weir_section_close(section));
            remove_file(path.text);
        }
}

static const char *met_path;
static bool met, met_before, met_late; /* before the first step of growth; behind the call that fails */

/* Another process makes it longer, with plain write. */
static void another_grows(void)
{
    static unsigned char bytes[200000];
    int fd = open(met_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    pattern_fill(bytes, 0, sizeof bytes);
    CHECK(fd >= 0 && pwrite(fd, bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes);
    (void)close(fd);
    met = true;
    met_before = plan.seen[FALLOCATE] == 0;
    met_late = plan.failed != 0;
}

Test(file_calls, a_growth_that_fails_cuts_nothing_that_another_grew_before_its_first_step)
{
    replace_calls();
    IN_EACH_FOLDER(dir)
        for (int kind = 0; kind < 2; kind++)
            for (long at = 1; at < 20; at++) {
                path_text path = in_folder(dir, "raced");
                pattern_file(path.text, 100);
                met_path = path.text;
                met = met_before = false;
                weir_section *section = open_file(path.text, 0, WEIR_READ_WRITE, 0);
                arm(FALLOCATE, ENOSPC, kind + 1, LONG_MAX);
                plan.meet_at = at;
                plan.meet = another_grows;
                CHECK_STATUS(extend_to(section, 40 * MIB), WEIR_E_NO_SPACE);
                if (met_before)
                    check_file(path.text, 200000, 200000);
                remove_file(path.text);
                pattern_file(path.text, 100);
                met = met_before = false;
                arm(FALLOCATE, ENOSPC, kind + 1, LONG_MAX);
                plan.meet_at = at;
                plan.meet = another_grows;
                CHECK_STATUS(open_to(path.text, 40 * MIB, 0), WEIR_E_NO_SPACE);
                if (met_before)
                    check_file(path.text, 200000, 200000);
                CHECK_OK(weir_section_close(section));
                remove_file(path.text);
            }
}

/* Of who makes a file and who comes in between, neither loses what it has. */
Test(file_calls, one_that_another_makes_between_two_looks_is_opened_and_never_removed)
{
    replace_calls();
    IN_EACH_FOLDER(dir)
        for (int fails_too = 0; fails_too < 2; fails_too++) {
            path_text path = in_folder(dir, "raced");
            long at = 1;
            met_path = path.text;
            for (;; at++) {
                met = met_before = false;
                arm(fails_too ? FCHMOD : CALLS, EPERM, 1, LONG_MAX);
                plan.meet_at = at;
                plan.meet = another_grows;
                weir_status status = open_to(path.text, 100, WEIR_FILE_CREATE);
                if (status == WEIR_OK && met)
                    check_file(path.text, 200000, 200000);
                if (at <= 2) { /* before it was made here */
                    CHECK_OK(status);
                    cr_assert(met);
                }
                if (!met)
                    break;
                (void)unlink(path.text);
            }
            cr_assert_gt(at, 3);
            (void)unlink(path.text);
        }
}

/* Who comes between the making and a failure behind it opens it with WEIR_OK: what he puts in it stays. */
Test(file_calls, one_that_another_has_filled_since_it_was_made_is_not_removed_with_it)
{
    replace_calls();
    IN_EACH_FOLDER(dir)
        for (enum call call = FCHMOD; call <= FALLOCATE; call += FALLOCATE - FCHMOD) {
            path_text path = in_folder(dir, "filled");
            long at = 3; /* call 2 makes it */
            met_path = path.text;
            for (;; at++) {
                met = false;
                arm(call, ENOSPC, 1, LONG_MAX);
                plan.meet_at = at;
                plan.meet = another_grows;
                weir_status status = open_to(path.text, 40 * MIB, WEIR_FILE_CREATE);
                if (!met || met_late)
                    break;
                CHECK_STATUS(status, WEIR_E_NO_SPACE);
                check_file(path.text, 200000, 200000);
                remove_file(path.text);
            }
            cr_assert_gt(at, 4);
            (void)unlink(path.text);
        }
}

static uint64_t met_size;

static void another_takes_its_place(void)
{
    (void)unlink(met_path); /* it may have been removed by then */
    pattern_file(met_path, met_size);
    met = true;
    met_before = plan.seen[UNLINKAT] == 0;
}

Test(file_calls, what_stands_at_the_path_in_its_place_by_then_is_not_removed)
{
    replace_calls();
    IN_EACH_FOLDER(dir)
        for (met_size = 0; met_size <= 5000; met_size += 5000) {
            path_text path = in_folder(dir, "replaced");
            long at = 2; /* call 1 is the one that makes it */
            int removed = 0;
            met_path = path.text;
            for (met = true; met; at++) {
                met = false;
                arm(FALLOCATE, ENOSPC, 1, LONG_MAX);
                plan.meet_at = at;
                plan.meet = another_takes_its_place;
                CHECK_STATUS(open_to(path.text, 100, WEIR_FILE_NEW), WEIR_E_NO_SPACE);
                if (met && exists(path.text)) {
                    check_file(path.text, met_size, met_size);
                    remove_file(path.text);
                } else if (met) {
                    removed++;
                    cr_assert(met_before && plan.seen[UNLINKAT] == 1);
                }
            }
            cr_assert_gt(at, 5);
            cr_assert_leq(removed, 1); /* in the last instant before the removal nothing can be done */
            cr_assert(!exists(path.text));
        }
}

/* ---- views ---- */

Test(file_calls, a_view_that_cannot_be_had_leaves_nothing_mapped)
{
    static const struct {
        enum call call;
        int error;
        weir_access access;
        weir_status status;
    } rows[] = {
        { MMAP, ENOMEM, WEIR_READ_WRITE, WEIR_E_NO_MEMORY },   { MMAP, ENODEV, WEIR_READ_WRITE, WEIR_E_OS },
        { MMAP, EACCES, WEIR_COPY_ON_WRITE, WEIR_E_PERMISSION },
        { MMAP, ENOMEM, WEIR_COPY_ON_WRITE, WEIR_E_NO_MEMORY }, { MADVISE, EIO, WEIR_READ_ONLY, WEIR_E_OS },
        { MADVISE, ENOMEM, WEIR_COPY_ON_WRITE, WEIR_E_NO_MEMORY },
    };
    replace_calls();
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "viewed");
        pattern_file(path.text, KIB64);
        weir_section *section = open_file(path.text, 0, WEIR_READ_WRITE, 0);
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            weir_view view = { .base = NULL, .size = 7 };
            arm(rows[i].call, rows[i].error, 1, 1);
            CHECK_KEEPS_ERRNO(weir_view_map(&view, section, 0, 0, rows[i].access), rows[i].status);
            disarm();
            cr_assert(view.base == NULL && view.size == 7 && detail_has(path.text));
            cr_assert(mappings_of(dir).all == 0 && plan.mapped == 0);
        }
        CHECK_OK(weir_section_close(section));
        remove_file(path.text);
    }
}

/* ---- flush ---- */

static struct {
    unsigned syncs, fsyncs;
    uintptr_t from, to;
    int flags;
    uint64_t inode;
    int error;
} flushed;

static int watched_msync(void *base, size_t size, int flags)
{
    flushed.syncs++;
    flushed.from = (uintptr_t)base;
    flushed.to = (uintptr_t)base + size;
    flushed.flags = flags;
    errno = flushed.error;
    return flushed.error != 0 ? -1 : real.msync(base, size, flags);
}

static int watched_fsync(int fd)
{
    struct stat st;
    flushed.fsyncs++;
    flushed.inode = fstat(fd, &st) == 0 ? st.st_ino : 0;
    errno = flushed.error;
    return flushed.error != 0 ? -1 : real.fsync(fd);
}

static void watch_flushes(void)
{
    replace_calls();
    weir_linux.msync = watched_msync;
    weir_linux.fsync = watched_fsync;
}

Test(file_calls, flush_waits_for_exactly_the_pages_of_the_range_and_of_the_section_for_the_file)
{
    static const uint64_t ranges[][2] = {
        { 0, 0 },    { 0, 1 },     { 100, 1 },            { 4096, 4096 },
        { 4095, 2 }, { 70000, 0 }, { 2 * KIB64 + 99, 0 }, { 1, 2 * KIB64 },
    };
    watch_flushes();
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "flushed");
        pattern_file(path.text, 3 * KIB64 + 100);
        for (weir_access access = WEIR_READ_WRITE; access <= WEIR_READ_ONLY; access++) {
            weir_section *section = open_file(path.text, 0, access, 0);
            weir_view view = map(section, KIB64, 0, access);
            for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
                uintptr_t from = (uintptr_t)view.base + ranges[i][0];
                uintptr_t to = ranges[i][1] != 0 ? from + ranges[i][1] : (uintptr_t)view.base + view.size;
                memset(&flushed, 0, sizeof flushed);
                CHECK_KEEPS_ERRNO(weir_view_flush(&view, ranges[i][0], ranges[i][1]), WEIR_OK);
                cr_assert(flushed.syncs == 1 && flushed.fsyncs == 0 && flushed.flags == MS_SYNC);
                cr_assert_eq(flushed.from, from / PAGE * PAGE);
                cr_assert_eq((flushed.to + PAGE - 1) / PAGE, (to + PAGE - 1) / PAGE);
            }
            memset(&flushed, 0, sizeof flushed);
            CHECK_KEEPS_ERRNO(weir_section_flush(section), WEIR_OK);
            cr_assert(flushed.fsyncs == 1 && flushed.inode == state_of(path.text).inode);
            CHECK_OK(weir_view_unmap(&view));
            CHECK_OK(weir_section_close(section));
        }
        remove_file(path.text);
    }
}

Test(file_calls, a_device_that_fails_is_a_status_with_its_reason)
{
    static const struct {
        int error;
        weir_status status;
    } rows[] = { { EIO, WEIR_E_OS },           { ENOSPC, WEIR_E_NO_SPACE },   { EDQUOT, WEIR_E_NO_SPACE },
                 { ENOMEM, WEIR_E_NO_MEMORY }, { EROFS, WEIR_E_PERMISSION }, { EINVAL, WEIR_E_OS } };
    watch_flushes();
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "flushed");
        weir_section *section = open_file(path.text, KIB64, WEIR_READ_WRITE, WEIR_FILE_NEW);
        weir_view view = map(section, 0, 0, WEIR_READ_WRITE);
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            flushed.error = rows[i].error;
            CHECK_KEEPS_ERRNO(weir_view_flush(&view, 0, 0), rows[i].status);
            cr_assert(detail_has(path.text) && detail_has(strerror(rows[i].error)), "%s", weir_error_detail());
            CHECK_KEEPS_ERRNO(weir_section_flush(section), rows[i].status);
            cr_assert(detail_has(path.text) && detail_has(strerror(rows[i].error)), "%s", weir_error_detail());
        }
        flushed.error = 0;
        CHECK_OK(weir_section_flush(section));
        CHECK_OK(weir_view_unmap(&view));
        CHECK_OK(weir_section_close(section));
        remove_file(path.text);
    }
}

Test(file_calls, of_memory_and_of_copies_there_is_nothing_to_flush)
{
    watch_flushes();
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "flushed");
        pattern_file(path.text, KIB64);
        weir_section *sections[6];
        weir_section_options room = { .flags = WEIR_RESERVE, .commit_bytes = KIB64 };
        CHECK_OK(weir_section_create(&sections[0], "Local/flushed", KIB64, NULL));
        CHECK_OK(weir_section_create_unnamed(&sections[1], KIB64, NULL));
        CHECK_OK(weir_section_create(&sections[2], "Local/reserved", 2 * KIB64, &room));
        sections[3] = open_file(path.text, 0, WEIR_READ_WRITE, 0);
        sections[4] = open_file(path.text, 0, WEIR_READ_ONLY, 0);
        sections[5] = open_file(path.text, 0, WEIR_COPY_ON_WRITE, 0);
        memset(&flushed, 0, sizeof flushed);
        for (int i = 0; i < 6; i++)
            for (weir_access access = WEIR_READ_WRITE; access <= WEIR_COPY_ON_WRITE; access++) {
                if (i >= 3 && access != WEIR_COPY_ON_WRITE)
                    continue;
                weir_view view = map(sections[i], 0, 0, access);
                CHECK_KEEPS_ERRNO(weir_view_flush(&view, 0, 0), WEIR_OK);
                CHECK_OK(weir_view_flush(&view, 100, 1));
                CHECK_STATUS(weir_view_flush(&view, view.size, 0), WEIR_E_RANGE);
                CHECK_OK(weir_view_unmap(&view));
                if (i < 3)
                    CHECK_KEEPS_ERRNO(weir_section_flush(sections[i]), WEIR_OK);
            }
        cr_assert(flushed.syncs == 0 && flushed.fsyncs == 0);
        for (int i = 0; i < 6; i++)
            CHECK_OK(weir_section_close(sections[i]));
        check_file(path.text, KIB64, KIB64);
        remove_file(path.text);
    }
}
