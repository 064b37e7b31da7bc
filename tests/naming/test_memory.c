/* Properties of memory: what was wanted, what was demanded, and what the kernel says was got. */
#include "view_memory.h"

#include <weir/naming/os_linux.h>

#include <criterion/criterion.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/vfs.h>

Test(memory, by_default_a_view_is_named_and_kept_out_of_core_dumps_and_nothing_else)
{
    const char *dir = support_shm_dir();
    unsigned fds = open_fds(), lines = 0;
    for (int round = 0; round < 2; round++) /* the first takes what stays with the process */
        for (enum kind kind = CREATOR; kind < KINDS; kind++) {
            subject s;
            CHECK_OK(subject_begin(&s, kind, &(weir_section_options){ 0 }));
            weir_memory got = memory(&s);
            cr_assert_eq(got.got, DEFAULTS, "kind %d: %#x", kind, got.got);
            cr_assert(got.page_bytes == SMALL && got.large_bytes == 0 && got.locked_bytes == 0);
            cr_assert_eq(got.resident_bytes, 0);
            cr_assert_eq(smaps_of(&s.view, SMALL, s.shows).bytes, touchable(kind));
            subject_end(&s);
            if (round == 0)
                lines = map_lines();
        }
    cr_assert(map_lines() == lines && open_fds() == fds);
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(memory, what_is_resident_is_what_was_touched)
{
    support_shm_dir();
    for (enum kind kind = CREATOR; kind < KINDS; kind++) {
        subject s;
        CHECK_OK(subject_begin(&s, kind, &(weir_section_options){ 0 }));
        if (kind != ROOM) {
            (void)((volatile unsigned char *)s.view.base)[10 * KIB64];
            weir_memory got = memory(&s); /* a fault may bring in what is around it, but never all of it */
            cr_assert(got.resident_bytes >= SMALL && got.resident_bytes < SIZE && (got.got & WEIR_PREFAULT) == 0);
        }
        subject_end(&s);
    }
}

Test(memory, a_look_changes_nothing)
{
    support_shm_dir();
    for (enum kind kind = CREATOR; kind < KINDS; kind++) {
        subject s;
        weir_memory first, second;
        CHECK_OK(subject_begin(&s, kind, &(weir_section_options){ 0 }));
        CHECK_OK(weir_view_memory(&s.view, &first));
        CHECK_OK(weir_view_memory(&s.view, &second));
        cr_assert(first.resident_bytes == second.resident_bytes && first.got == second.got,
                  "kind %d: %llu bytes were resident, now %llu; got %#x, now %#x", kind,
                  (unsigned long long)first.resident_bytes, (unsigned long long)second.resident_bytes, first.got,
                  second.got);
        subject_end(&s);
    }
}

/* ---- prefault ---- */

/* Others' changes show in a copy-on-write view; its own, once made, stay its own. */
static void check_copy_is_not_made_yet(subject *s)
{
    weir_view theirs;
    CHECK_OK(weir_view_map(&theirs, s->owner, 0, 0, WEIR_READ_WRITE));
    unsigned char *mine = s->view.base, *other = theirs.base;
    for (uint64_t at = 0; at < SIZE; at += 5 * SMALL) {
        other[at] = 0x5a;
        cr_assert_eq(mine[at], 0x5a, "kind %d: at %llu the view is a copy already", s->kind, (unsigned long long)at);
        mine[at] = 1;
        other[at + 1] = 0x5a;
        cr_assert(mine[at] == 1 && other[at] == 0x5a && mine[at + 1] == 0);
    }
    CHECK_OK(weir_view_unmap(&theirs));
}

Test(memory, prefault_has_every_page_in_the_page_table)
{
    support_shm_dir();
    for (enum kind kind = CREATOR; kind < KINDS; kind++)
        for (int demanded = 0; demanded < 2; demanded++) {
            subject s;
            weir_section_options options = ways(WEIR_PREFAULT, demanded);
            CHECK_OK(subject_begin(&s, kind, &options));
            weir_memory got = memory(&s);
            cr_assert_eq(got.got, DEFAULTS | WEIR_PREFAULT, "kind %d: %#x", kind, got.got);
            cr_assert_eq(got.resident_bytes, touchable(kind));
            if (view_access(kind) == WEIR_COPY_ON_WRITE)
                check_copy_is_not_made_yet(&s);
            subject_end(&s);
        }
}

#define TMPFS 0x01021994

Test(memory, prefault_does_not_make_a_file_dirty)
{
    char path[] = "/tmp/weir-test-file.XXXXXX";
    struct statfs fs;
    int fd = mkostemp(path, O_CLOEXEC);
    static const char bytes[256 * 1024] = "x";
    CHECK(fd >= 0 && unlink(path) == 0 && fstatfs(fd, &fs) == 0);
    if (fs.f_type == TMPFS)
        cr_skip_test("/tmp is a tmpfs, where every page is dirty");
    CHECK(pwrite(fd, bytes, sizeof bytes, 0) == sizeof bytes && fsync(fd) == 0);
    weir_section *section;
    weir_view view;
    char self[64];
    (void)snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    CHECK_OK(weir_section_open_file(&section, self, 0, &(weir_section_options){ .demand = WEIR_PREFAULT }));
    CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE));
    smaps kernel = smaps_of(&view, SMALL, NULL);
    cr_assert(kernel.resident == sizeof bytes && kernel.dirty == 0, "%llu dirty", (unsigned long long)kernel.dirty);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
    (void)close(fd);
}

/* ---- system calls that fail ---- */

static weir_linux_calls real;
static int failing_advice, advice_error, advice_times; /* times: how often it is interrupted, then it succeeds */

static int my_madvise(void *base, size_t size, int advice)
{
    if (advice != failing_advice || advice_error == 0 || (advice_times > 0 && --advice_times == 0))
        return real.madvise(base, size, advice);
    errno = advice_error;
    return -1;
}

static void fail_advice(int advice, int error)
{
    if (real.madvise == NULL)
        real = weir_linux;
    weir_linux.madvise = my_madvise;
    failing_advice = advice;
    advice_error = error;
    advice_times = 0;
}

Test(memory, prefault_that_fails_is_given_up_when_wanted_and_a_failure_when_demanded)
{
    support_shm_dir();
    static const struct { int error; weir_status status; } rows[] = {
        { EINVAL, WEIR_E_UNSUPPORTED }, { EFAULT, WEIR_E_NO_MEMORY }, { ENOMEM, WEIR_E_NO_MEMORY },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (enum kind kind = CREATOR; kind < KINDS; kind++) {
            bool write = view_access(kind) == WEIR_READ_WRITE && !is_file(kind);
            subject s;
            weir_section_options options = ways(WEIR_PREFAULT, 0);
            fail_advice(write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ, rows[i].error);
            CHECK_KEEPS_ERRNO(subject_begin(&s, kind, &options), WEIR_OK);
            cr_assert_eq(memory(&s).got, DEFAULTS);
            subject_end(&s);
            options = ways(WEIR_PREFAULT, 1);
            if (kind == ROOM) /* of that, nothing is committed when it is mapped first */
                continue;
            CHECK_KEEPS_ERRNO(subject_begin(&s, kind, &options), rows[i].status);
            cr_assert(detail_has("prefault"), "%s", weir_error_detail());
            subject_end(&s);
        }
    subject s; /* what a signal interrupts is done again */
    weir_section_options options = ways(WEIR_PREFAULT, 1);
    fail_advice(MADV_POPULATE_WRITE, EINTR);
    advice_times = 3;
    CHECK_OK(subject_begin(&s, CREATOR, &options));
    cr_assert_eq(memory(&s).got, DEFAULTS | WEIR_PREFAULT);
    subject_end(&s);
    fail_advice(MADV_POPULATE_WRITE, EINTR); /* but not for ever */
    CHECK_KEEPS_ERRNO(subject_begin(&s, CREATOR, &options), WEIR_E_NO_MEMORY);
    subject_end(&s);
}

/* ---- locked ---- */

static uint64_t locked_kib(void)
{
    char text[8192];
    text[file_read("/proc/self/status", text, sizeof text - 1)] = 0;
    const char *line = strstr(text, "VmLck:");
    CHECK(line != NULL);
    return strtoull(line + 6, NULL, 10);
}

Test(memory, locked_views_are_locked_until_they_are_unmapped_and_copies_are_not_made_for_that)
{
    support_shm_dir();
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    if (geteuid() != 0 && limit.rlim_cur < SIZE)
        cr_skip_test("ulimit -l is less than %llu", (unsigned long long)SIZE);
    for (enum kind kind = CREATOR; kind < KINDS; kind++)
        for (int demanded = 0; demanded < 2; demanded++) {
            subject s;
            weir_section_options options = ways(WEIR_LOCKED, demanded);
            bool copy = view_access(kind) == WEIR_COPY_ON_WRITE;
            CHECK_OK(subject_begin(&s, kind, &options));
            weir_memory got = memory(&s);
            cr_assert_eq(got.got & ~WEIR_PREFAULT, DEFAULTS | WEIR_LOCKED, "kind %d: %#x", kind, got.got);
            cr_assert_eq(got.locked_bytes, copy ? 0 : touchable(kind));
            cr_assert_eq(locked_kib(), touchable(kind) / 1024);
            if (copy)
                check_copy_is_not_made_yet(&s);
            subject_end(&s);
            cr_assert_eq(locked_kib(), 0);
        }
}

Test(memory, locked_bytes_are_this_view_s_whoever_else_has_the_pages_mapped)
{
    support_shm_dir();
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    if (geteuid() != 0 && limit.rlim_cur < SIZE)
        cr_skip_test("ulimit -l is less than %llu", (unsigned long long)SIZE);
    subject s;
    weir_section_options options = ways(WEIR_LOCKED, 1);
    weir_memory got;
    weir_view second;
    CHECK_OK(subject_begin(&s, OPENER, &options));
    CHECK_OK(weir_view_map(&second, s.owner, 0, 0, WEIR_READ_WRITE));
    memset(second.base, 1, SIZE);
    CHECK_OK(weir_view_memory(&s.view, &got));
    cr_assert_eq(got.locked_bytes, SIZE, "%llu", (unsigned long long)got.locked_bytes);
    CHECK_OK(weir_view_memory(&second, &got));
    cr_assert(got.locked_bytes == 0 && (got.got & WEIR_LOCKED) == 0);
    CHECK_OK(weir_view_unmap(&second));
    subject_end(&s);
}

/* As a user without privileges whose limit is that. */
static void lock_less(rlim_t bytes)
{
    struct rlimit limit = { .rlim_cur = bytes, .rlim_max = bytes };
    CHECK(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    if (geteuid() == 0)
        CHECK(setgid(12345) == 0 && setuid(12345) == 0);
}

static void refused_by_the_limit(void *arg)
{
    (void)arg;
    lock_less(2 * KIB64);
    for (enum kind kind = CREATOR; kind < KINDS; kind++) {
        subject s;
        weir_section_options options = ways(WEIR_LOCKED, 0);
        if (kind == ROOM)
            continue;
        CHECK_OK(subject_begin(&s, kind, &options));
        CHECK((memory(&s).got & WEIR_LOCKED) == 0 && locked_kib() == 0);
        subject_end(&s);
        options = ways(WEIR_LOCKED, 1);
        CHECK_STATUS(subject_begin(&s, kind, &options), WEIR_E_NO_MEMORY);
        CHECK(detail_has("ulimit -l") && detail_has("128 KiB") && detail_has("1 MiB"));
        weir_view small = UNTOUCHED; /* what the limit allows can be had */
        CHECK_OK(weir_view_map(&small, s.section, KIB64, 2 * KIB64, view_access(kind)));
        CHECK((memory_of(&small, SMALL, s.shows).got & WEIR_LOCKED) != 0 && locked_kib() == 128);
        CHECK_OK(weir_view_unmap(&small));
        subject_end(&s);
    }
    /* Of reserved room, what is committed later is locked later. */
    weir_section *section;
    weir_view view;
    uint64_t size = 0;
    bool committed = false;
    weir_section_options options = { .flags = WEIR_RESERVE, .demand = WEIR_LOCKED };
    CHECK_OK(weir_section_create(&section, "Local/room", SIZE, &options));
    CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE));
    CHECK_OK(weir_section_commit(section, 0, KIB64));
    CHECK((memory_of(&view, SMALL, "/room").got & WEIR_LOCKED) != 0);
    CHECK_STATUS(weir_section_commit(section, KIB64, 8 * KIB64), WEIR_E_NO_MEMORY);
    CHECK_OK(weir_section_committed(section, 0, &size, &committed));
    CHECK(committed && size == 9 * KIB64);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
    lock_less(0);
    CHECK_OK(weir_section_create(&section, "Local/none", SIZE, &(weir_section_options){ .demand = WEIR_LOCKED }));
    view = UNTOUCHED;
    CHECK_STATUS(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE), WEIR_E_NO_MEMORY);
    CHECK(detail_has("ulimit -l"));
    CHECK_OK(weir_section_close(section));
}

Test(memory, more_locked_than_the_limit_is_given_up_when_wanted_and_a_failure_when_demanded)
{
    const char *dir = support_shm_dir();
    CHECK(chmod(dir, 01777) == 0);
    holder h = holder_start(refused_by_the_limit, NULL, NULL);
    holder_finish(&h);
    cr_assert_eq(support_entries(dir, true), 0);
}
