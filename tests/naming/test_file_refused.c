#include "files.h"

#include <criterion/criterion.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

static weir_status no_init(void *content, uint64_t size_bytes, void *arg)
{
    (void)content, (void)size_bytes, (void)arg;
    return WEIR_OK;
}

/* The status, at once, with a text that names the path; nothing is returned, and nothing held. */
static void check_refused(const char *path, uint64_t size, const weir_section_options *options, weir_status expected)
{
    weir_section *section = UNTOUCHED;
    unsigned fds = open_fds();
    int64_t from = monotonic_ns();
    CHECK_KEEPS_ERRNO(weir_section_open_file(&section, path, size, options), expected);
    cr_assert_lt(monotonic_ns() - from, WAIT_NS, "%s waited", path);
    cr_assert_eq(section, UNTOUCHED);
    cr_assert_eq(open_fds(), fds);
    cr_assert_neq(*weir_error_detail(), 0);
    if (expected != WEIR_E_INVALID && strlen(path) < 200)
        cr_assert(detail_has(path), "%s", weir_error_detail());
}

static void check_refused_text(const char *path, uint64_t size, const weir_section_options *options,
                               weir_status expected, const char *text)
{
    check_refused(path, size, options, expected);
    cr_assert(detail_has(text), "no \"%s\" in: %s", text, weir_error_detail());
}

/* ---- arguments ---- */

Test(file_refused, an_argument_that_no_file_can_serve_touches_nothing)
{
    static const weir_section_options rows[] = {
        { .content = 1 },
        { .slots = 1 },
        { .init = no_init },
        { .commit_bytes = 1 },
        { .mode = 01000 },
        { .access = (weir_access)3 },
        { .access = (weir_access)-1 },
        { .flags = WEIR_PERSISTENT },
        { .flags = WEIR_RESERVE },
        { .flags = WEIR_SEAL_SHRINK },
        { .flags = WEIR_SEAL_GROW },
        { .flags = WEIR_SEAL_WRITE },
        { .flags = WEIR_SEAL_SEAL },
        { .flags = 0x80 },
        { .flags = 0x80000000u },
        { .want = 0x40 },
        { .demand = 0x80000000u },
        { .want = WEIR_ON_NODE, .node = 1024 },
        { .flags = WEIR_DUMP, .demand = WEIR_NOT_DUMPED },
        { .slots = WEIR_SLOTS_MAX + 1 },
    };
    static const uint32_t making[] = { 0, WEIR_FILE_CREATE, WEIR_FILE_NEW };
    IN_EACH_FOLDER(dir)
        for (int there = 0; there < 2; there++) {
            path_text path = in_folder(dir, "argument");
            if (there)
                pattern_file(path.text, 10);
            for (size_t i = 0; i < 3 * sizeof rows / sizeof rows[0]; i++) {
                weir_section_options options = rows[i / 3];
                options.flags |= making[i % 3];
                check_refused(path.text, 100, &options, WEIR_E_INVALID);
            }
            check_refused(path.text, WEIR_SECTION_SIZE_MAX + 1, NULL, WEIR_E_INVALID);
            check_refused(path.text, UINT64_MAX, &(weir_section_options){ .flags = WEIR_FILE_NEW }, WEIR_E_INVALID);
            CHECK_KEEPS_ERRNO(weir_section_open_file(NULL, path.text, 100, NULL), WEIR_E_INVALID);
            for (int i = 0; i < 4; i++) {
                weir_section_options look = { .access = i % 2 == 0 ? WEIR_READ_ONLY : WEIR_COPY_ON_WRITE,
                                              .flags = i / 2 == 0 ? WEIR_FILE_CREATE : WEIR_FILE_NEW };
                check_refused_text(path.text, 5, &look, WEIR_E_INVALID, path.text);
            }
            cr_assert_eq(exists(path.text), there == 1);
            if (there) {
                check_file(path.text, 10, 10);
                remove_file(path.text);
            }
        }
    weir_section *section = UNTOUCHED;
    CHECK_KEEPS_ERRNO(weir_section_open_file(&section, NULL, 100, NULL), WEIR_E_INVALID);
    CHECK_KEEPS_ERRNO(weir_section_open_file(&section, "", 100, NULL), WEIR_E_INVALID);
    cr_assert_eq(section, UNTOUCHED);
}

/* ---- what stands at the path ---- */

enum kind { FOLDER, FIFO, SOCKET, DEVICE, DANGLING, LOOP, KINDS };

static void stand_at(const char *path, enum kind kind)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd;
    switch (kind) {
    case FOLDER:
        CHECK(mkdir(path, 0700) == 0);
        break;
    case FIFO:
        CHECK(mkfifo(path, 0600) == 0);
        break;
    case SOCKET:
        (void)strcpy(address.sun_path, path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
        (void)close(fd);
        break;
    case DEVICE:
        CHECK(symlink("/dev/zero", path) == 0);
        break;
    case DANGLING:
        CHECK(symlink("nothing-there", path) == 0);
        break;
    default:
        CHECK(symlink("stands", path) == 0); /* "stands" is its own name */
    }
}

Test(file_refused, what_is_no_regular_file_is_invalid_at_once_and_stays)
{
    IN_EACH_FOLDER(dir)
        for (enum kind kind = FOLDER; kind < KINDS; kind++) {
            path_text path = in_folder(dir, "stands");
            stand_at(path.text, kind);
            struct file_state before = state_of(path.text), after;
            for (weir_access access = WEIR_READ_WRITE; access <= WEIR_COPY_ON_WRITE; access++)
                for (uint64_t size = 0; size <= 100; size += 100) {
                    weir_section_options options = { .access = access };
                    if (kind == DANGLING)
                        check_refused(path.text, size, &options, WEIR_E_NOT_FOUND);
                    else
                        check_refused_text(path.text, size, &options, WEIR_E_INVALID, path.text);
                }
            weir_section_options new = { .flags = WEIR_FILE_NEW }, create = { .flags = WEIR_FILE_CREATE };
            check_refused(path.text, 100, &new, WEIR_E_EXISTS);
            if (kind != DANGLING)
                check_refused_text(path.text, 100, &create, WEIR_E_INVALID, path.text);
            after = state_of(path.text);
            cr_assert(unchanged(&before, &after), "kind %d", (int)kind);
            cr_assert(remove(path.text) == 0);
        }
}

/* EXISTS is what WEIR_FILE_NEW gets, and nobody else. */
Test(file_refused, a_link_to_nothing_is_not_said_to_exist_to_who_would_open_or_create)
{
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "stands"), target = in_folder(dir, "nothing-there");
        weir_section *section = UNTOUCHED;
        weir_section_options create = { .flags = WEIR_FILE_CREATE };
        stand_at(path.text, DANGLING);
        weir_status status = weir_section_open_file(&section, path.text, 100, &create);
        cr_assert(status == WEIR_E_NOT_FOUND || status == WEIR_E_INVALID, "%s", weir_status_name(status));
        cr_assert(section == UNTOUCHED && !exists(target.text) && detail_has(path.text));
        remove_file(path.text);
    }
}

Test(file_refused, a_path_that_leads_nowhere)
{
    static char name[300], deep[5000];
    memset(name, 'n', sizeof name - 1);
    memset(deep, '/', sizeof deep - 1);
    IN_EACH_FOLDER(dir) {
        path_text plain = in_folder(dir, "plain"), none = in_folder(dir, "none"), in_none = in_folder(dir, "none/file");
        path_text in_plain = in_folder(dir, "plain/file"), slash = in_folder(dir, "plain/"), too_long;
        (void)snprintf(too_long.text, sizeof too_long.text, "%s/%s", dir, name);
        pattern_file(plain.text, 10);
        for (int i = 0; i < 5; i++) {
            weir_section_options options = { .access = i < 3 ? (weir_access)i : WEIR_READ_WRITE,
                                             .flags = i == 3   ? WEIR_FILE_CREATE
                                                      : i == 4 ? WEIR_FILE_NEW
                                                               : 0 };
            if (i < 3)
                check_refused(none.text, 100, &options, WEIR_E_NOT_FOUND);
            check_refused(in_none.text, 100, &options, WEIR_E_NOT_FOUND);
            check_refused(in_plain.text, 100, &options, WEIR_E_INVALID);
            check_refused(too_long.text, 100, &options, WEIR_E_INVALID);
            check_refused(deep, 100, &options, WEIR_E_INVALID);
            if (i != 4) /* whether that exists, systems may differ */
                check_refused(slash.text, 100, &options, WEIR_E_INVALID);
        }
        check_file(plain.text, 10, 10);
        remove_file(plain.text);
    }
}

Test(file_refused, new_finds_one_that_exists_and_leaves_it)
{
    static const uint64_t sizes[] = { 0, 1, 10, 11 };
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "exists");
        pattern_file(path.text, 10);
        struct file_state before = state_of(path.text), after;
        for (size_t i = 0; i < 8; i++) {
            weir_section_options options = { .flags = WEIR_FILE_NEW, .mode = 0600 };
            if (i / 4 == 1)
                options.flags |= WEIR_FILE_CREATE;
            check_refused(path.text, sizes[i % 4], &options, WEIR_E_EXISTS);
        }
        after = state_of(path.text);
        cr_assert(unchanged(&before, &after));
        check_file(path.text, 10, 10);
        remove_file(path.text);
    }
}

/* ---- sizes ---- */

Test(file_refused, an_empty_one_without_a_size_and_one_that_would_be_made_so_is_removed_again)
{
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "empty");
        for (uint32_t flags = WEIR_FILE_CREATE; flags <= WEIR_FILE_NEW; flags += WEIR_FILE_CREATE) {
            check_refused_text(path.text, 0, &(weir_section_options){ .flags = flags }, WEIR_E_EMPTY_FILE, "empty");
            cr_assert(!exists(path.text));
        }
        file_write(path.text, "", 0, 0644);
        struct file_state before = state_of(path.text), after;
        for (weir_access access = WEIR_READ_WRITE; access <= WEIR_COPY_ON_WRITE; access++)
            check_refused(path.text, 0, &(weir_section_options){ .access = access }, WEIR_E_EMPTY_FILE);
        check_refused(path.text, 0, &(weir_section_options){ .flags = WEIR_FILE_CREATE }, WEIR_E_EMPTY_FILE);
        after = state_of(path.text);
        cr_assert(unchanged(&before, &after)); /* one that was there stays */
        check_refused(path.text, 1, &(weir_section_options){ .access = WEIR_READ_ONLY }, WEIR_E_FILE_SHORT);
        CHECK_OK(weir_section_close(open_file(path.text, 1, WEIR_READ_WRITE, 0)));
        check_file(path.text, 0, 1);
        remove_file(path.text);
    }
}

Test(file_refused, larger_than_the_file_read_only_or_copy_on_write_says_both_sizes)
{
    static const uint64_t sizes[] = { 10001, 10241, MIB, WEIR_SECTION_SIZE_MAX };
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "short");
        pattern_file(path.text, 10000);
        struct file_state before = state_of(path.text), after;
        for (size_t i = 0; i < 8; i++) {
            weir_section_options options = { .access = i % 2 == 0 ? WEIR_READ_ONLY : WEIR_COPY_ON_WRITE };
            char size[32];
            (void)snprintf(size, sizeof size, "%llu", (unsigned long long)sizes[i / 2]);
            check_refused_text(path.text, sizes[i / 2], &options, WEIR_E_FILE_SHORT, size);
            cr_assert(detail_has("10000") && detail_has(i % 2 == 0 ? "read-only" : "copy-on-write"));
        }
        after = state_of(path.text);
        cr_assert(unchanged(&before, &after));
        remove_file(path.text);
    }
}

/* On tmpfs a file can be longer than a section: 128 TiB of holes. */
Test(file_refused, one_longer_than_any_section_needs_a_size)
{
    path_text path = in_folder(support_shm_dir(), "endless");
    pattern_file(path.text, 10);
    if (truncate(path.text, (off_t)WEIR_SECTION_SIZE_MAX + 1) != 0)
        cr_skip("a file of 128 TiB is not permitted here");
    for (weir_access access = WEIR_READ_WRITE; access <= WEIR_COPY_ON_WRITE; access++) {
        weir_section_options options = { .access = access };
        check_refused_text(path.text, 0, &options, WEIR_E_INVALID, "140737488355329");
        weir_section *section = open_file(path.text, WEIR_SECTION_SIZE_MAX, access, 0);
        cr_assert_eq(weir_section_size(section), WEIR_SECTION_SIZE_MAX);
        weir_view view = { .base = NULL, .size = 99 };
        /* More than this process has addresses. */
        CHECK_KEEPS_ERRNO(weir_view_map(&view, section, 0, 0, access), WEIR_E_NO_MEMORY);
        cr_assert(view.base == NULL && view.size == 99 && detail_has(path.text));
        CHECK_STATUS(weir_view_map(&view, section, WEIR_SECTION_SIZE_MAX, 0, access), WEIR_E_RANGE);
        view = map(section, WEIR_SECTION_SIZE_MAX - KIB64, 0, access);
        cr_assert_eq(view.size, KIB64);
        if (access != WEIR_READ_ONLY)
            ((unsigned char *)view.base)[KIB64 - 1] = (unsigned char)(access + 1);
        cr_assert_eq(((unsigned char *)view.base)[KIB64 - 1], access == WEIR_READ_ONLY ? 1 : access + 1);
        CHECK_OK(weir_view_unmap(&view));
        CHECK_STATUS(weir_section_extend(section, WEIR_SECTION_SIZE_MAX + 1),
                     access == WEIR_READ_WRITE ? WEIR_E_INVALID : WEIR_E_PERMISSION);
        CHECK_OK(weir_section_close(section));
    }
    cr_assert_eq(truncate(path.text, (off_t)WEIR_SECTION_SIZE_MAX), 0);
    CHECK_OK(weir_section_close(open_file(path.text, 0, WEIR_READ_ONLY, 0)));
    remove_file(path.text);
}

/* ---- views ---- */

Test(file_refused, a_view_outside_of_it_unaligned_or_wider_than_it)
{
    static const struct {
        uint64_t offset, size;
        weir_status status;
    } rows[] = {
        { 0, 3 * KIB64 + 101, WEIR_E_RANGE }, { KIB64, 2 * KIB64 + 101, WEIR_E_RANGE },
        { 3 * KIB64, 101, WEIR_E_RANGE },     { 4 * KIB64, 0, WEIR_E_RANGE },
        { 4 * KIB64, 1, WEIR_E_RANGE },       { 0 - KIB64, KIB64, WEIR_E_RANGE },
        { KIB64, 0 - KIB64, WEIR_E_RANGE },   { 4 * GIB, 1, WEIR_E_RANGE },
        { 1, 1, WEIR_E_ALIGNMENT },           { 4096, 1, WEIR_E_ALIGNMENT },
        { KIB64 - 1, 1, WEIR_E_ALIGNMENT },   { 2 * KIB64 + 4096, 0, WEIR_E_ALIGNMENT },
    };
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "viewed");
        pattern_file(path.text, 3 * KIB64 + 100);
        for (weir_access access = WEIR_READ_WRITE; access <= WEIR_COPY_ON_WRITE; access++) {
            weir_section *section = open_file(path.text, 0, access, 0);
            for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
                weir_view view = { .base = (void *)0x77, .offset = 1, .size = 2, .section = NULL };
                CHECK_KEEPS_ERRNO(weir_view_map(&view, section, rows[i].offset, rows[i].size, access), rows[i].status);
                cr_assert(view.base == (void *)0x77 && view.offset == 1 && view.size == 2 && view.section == NULL);
                cr_assert(detail_has(rows[i].status == WEIR_E_RANGE ? path.text : "64 KiB"), "%s", weir_error_detail());
            }
            CHECK_STATUS(weir_view_map(NULL, section, 0, 0, access), WEIR_E_INVALID);
            CHECK_STATUS(weir_view_map(&(weir_view){ NULL }, section, 0, 0, (weir_access)3), WEIR_E_INVALID);
            CHECK_OK(weir_section_close(section));
        }
        cr_assert_eq(mappings_of(dir).all, 0);
        check_file(path.text, 3 * KIB64 + 100, 3 * KIB64 + 100);
        remove_file(path.text);
    }
}

Test(file_refused, a_range_to_flush_that_is_not_inside_the_view)
{
    static const uint64_t rows[][2] = { { KIB64 + 100, 0 },  { KIB64 + 100, 1 }, { 0, KIB64 + 101 }, { 1, KIB64 + 100 },
                                        { KIB64 + 99, 2 },   { 0, UINT64_MAX },  { 1, UINT64_MAX },  { UINT64_MAX, 1 },
                                        { UINT64_MAX, 0 },   { 3 * KIB64, 1 } };
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "flushed");
        pattern_file(path.text, 3 * KIB64 + 100);
        weir_section *section = open_file(path.text, 0, WEIR_READ_WRITE, 0);
        for (weir_access access = WEIR_READ_WRITE; access <= WEIR_COPY_ON_WRITE; access++) {
            weir_view view = map(section, 2 * KIB64, 0, access), elsewhere = view;
            for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
                CHECK_KEEPS_ERRNO(weir_view_flush(&view, rows[i][0], rows[i][1]), WEIR_E_RANGE);
                cr_assert_neq(*weir_error_detail(), 0);
            }
            CHECK_OK(weir_view_flush(&view, KIB64 + 99, 0));
            CHECK_OK(weir_view_flush(&view, KIB64 + 99, 1));
            CHECK_OK(weir_view_flush(&view, 0, KIB64 + 100));
            elsewhere.base = (unsigned char *)view.base + 4096;
            CHECK_STATUS(weir_view_flush(&elsewhere, 0, 0), WEIR_E_INVALID);
            CHECK_OK(weir_view_unmap(&view));
            CHECK_STATUS(weir_view_flush(&view, 0, 0), WEIR_E_INVALID);
        }
        CHECK_STATUS(weir_view_flush(NULL, 0, 0), WEIR_E_INVALID);
        CHECK_OK(weir_section_close(section));
        remove_file(path.text);
    }
}

/* The properties that a file cannot have are wanted in vain, and demanded a status. */
Test(file_refused, large_pages_of_a_file_are_unsupported_where_they_are_demanded)
{
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "large");
        weir_section *section;
        weir_section_options options = { .flags = WEIR_FILE_NEW, .demand = WEIR_LARGE_PAGES };
        CHECK_OK(weir_section_open_file(&section, path.text, 4 * MIB, &options));
        weir_view view = { .base = NULL };
        CHECK_KEEPS_ERRNO(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE), WEIR_E_UNSUPPORTED);
        cr_assert(view.base == NULL && mappings_of(dir).all == 0);
        CHECK_OK(weir_section_close(section));
        options = (weir_section_options){ .want = WEIR_LARGE_PAGES };
        CHECK_OK(weir_section_open_file(&section, path.text, 0, &options));
        view = map(section, 0, 0, WEIR_READ_WRITE);
        CHECK_OK(weir_view_unmap(&view));
        CHECK_OK(weir_section_close(section));
        remove_file(path.text);
    }
}
