/* Views that move over more than 4 GiB, of sparse files and of reserved room: each offset is the one asked for. */
#include "files.h"

#include <criterion/criterion.h>

#define SIZE (6 * GIB + 12345)

/* Where a count of 31 or 32 bits would go wrong, and the ends. */
static const uint64_t landmarks[] = {
    0,       KIB64,           2 * GIB - KIB64, 2 * GIB,         2 * GIB + KIB64, 4 * GIB - KIB64,
    4 * GIB, 4 * GIB + KIB64, 5 * GIB + KIB64, 6 * GIB - KIB64, 6 * GIB, /* of the last, 12345 bytes */
};
#define LANDMARKS (sizeof landmarks / sizeof landmarks[0])

static const uint64_t steps[] = { KIB64, 2 * KIB64, 5 * KIB64, 16 * KIB64 };

static uint64_t stamp_at(uint64_t offset)
{
    return offset * UINT64_C(0x9e3779b97f4a7c15) + 1;
}

static void stamp(const weir_view *view, uint64_t offset)
{
    uint64_t value = stamp_at(offset);
    CHECK(offset >= view->offset && offset - view->offset <= view->size - sizeof value);
    memcpy((unsigned char *)view->base + (offset - view->offset), &value, sizeof value);
}

static void check_stamp(const weir_view *view, uint64_t offset)
{
    uint64_t value;
    CHECK(offset >= view->offset && offset - view->offset <= view->size - sizeof value);
    memcpy(&value, (unsigned char *)view->base + (offset - view->offset), sizeof value);
    cr_assert_eq(value, stamp_at(offset), "at %#llx", (unsigned long long)offset);
}

/* The last word of the content. */
static uint64_t end_of(uint64_t size)
{
    return size - 8;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static weir_section *sparse(const char *path, uint64_t size)
{
    file_write(path, "", 0, 0600);
    CHECK(truncate(path, (off_t)size) == 0);
    return open_file(path, 0, WEIR_READ_WRITE, 0);
}

/* Through a file: by pread, which knows nothing of views. */
static void check_file_stamp(int fd, uint64_t offset)
{
    uint64_t value;
    CHECK(pread(fd, &value, sizeof value, (off_t)offset) == (ssize_t)sizeof value);
    cr_assert_eq(value, stamp_at(offset), "at %#llx", (unsigned long long)offset);
}

Test(file_views, a_window_that_walks_6_gib_is_each_time_where_it_was_asked_to_be)
{
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "walked");
        weir_section *section = sparse(path.text, SIZE);
        unsigned fds = open_fds();
        cr_assert_eq(weir_section_size(section), SIZE);
        unsigned walked = 0;
        /* The memory of 6 GiB is never there.  On a disk a kernel may take 1 MiB for a byte: there stamps are rarer. */
        unsigned each = in.next == 0 ? 1 : 64;
        for (uint64_t at = 0; at < SIZE; at += MIB, walked++) {
            weir_view view = map(section, at, least(MIB, SIZE - at), WEIR_READ_WRITE);
            cr_assert(view.offset == at && view.size == least(MIB, SIZE - at));
            if (walked % each == 0)
                stamp(&view, at);
            CHECK_OK(weir_view_unmap(&view));
        }
        cr_assert_eq(walked, 6 * 1024 + 1);
        weir_view last = map(section, 6 * GIB, 0, WEIR_READ_WRITE);
        cr_assert_eq(last.size, 12345);
        CHECK_OK(weir_view_unmap(&last));
        cr_assert_eq(mappings_of(dir).all, 0);
        cr_assert_eq(open_fds(), fds);
        /* Found by windows of other sizes, that begin elsewhere, and by pread. */
        int fd = open(path.text, O_RDONLY | O_CLOEXEC);
        for (uint64_t at = 0, i = 0; at + 16 * MIB < SIZE; at += 13 * each * MIB, i++) {
            check_file_stamp(fd, at);
            uint64_t before = least(at, i % 16 * KIB64);
            weir_access access = i % 2 == 0 ? WEIR_READ_ONLY : WEIR_READ_WRITE;
            weir_view view = map(section, at - before, before + steps[i % 4], access);
            check_stamp(&view, at);
            CHECK_OK(weir_view_unmap(&view));
        }
        (void)close(fd);
        cr_assert_lt(file_taken(path.text), in.next == 0 ? 64 * MIB : 3 * GIB); /* it is sparse still */
        cr_assert_eq(file_size(path.text), SIZE);
        CHECK_OK(weir_section_close(section));
        remove_file(path.text);
    }
}

Test(file_views, windows_of_every_size_around_2_and_4_gib_and_the_end_agree_with_each_other_and_with_the_file)
{
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "landmarks");
        weir_section *section = sparse(path.text, SIZE), *other = open_file(path.text, 0, WEIR_READ_ONLY, 0);
        for (size_t i = 0; i < LANDMARKS; i++) {
            uint64_t at = landmarks[i], size = least(steps[i % 4], SIZE - at);
            weir_view view = map(section, at, size, WEIR_READ_WRITE);
            stamp(&view, at);
            stamp(&view, at + size / 2);
            stamp(&view, at + size - 8);
            CHECK_OK(weir_view_unmap(&view));
        }
        int fd = open(path.text, O_RDONLY | O_CLOEXEC);
        for (size_t i = 0; i < LANDMARKS; i++) {
            uint64_t at = landmarks[i], size = least(steps[i % 4], SIZE - at);
            check_file_stamp(fd, at);
            for (uint64_t before = 0; before <= least(at, 17 * KIB64); before += KIB64) {
                weir_view view = map(other, at - before, before + size, WEIR_READ_ONLY);
                cr_assert(view.offset == at - before && view.size == before + size);
                check_stamp(&view, at);
                CHECK_OK(weir_view_unmap(&view));
            }
        }
        check_file_stamp(fd, end_of(SIZE));
        (void)close(fd);
        weir_view whole = map(other, 0, 0, WEIR_READ_ONLY); /* all 6 GiB of addresses at once */
        cr_assert_eq(whole.size, SIZE);
        for (size_t i = 0; i < LANDMARKS; i++)
            check_stamp(&whole, landmarks[i]);
        check_stamp(&whole, end_of(SIZE));
        CHECK_OK(weir_view_unmap(&whole));
        CHECK_STATUS(weir_view_map(&whole, section, 6 * GIB + KIB64, 0, WEIR_READ_ONLY), WEIR_E_RANGE);
        CHECK_STATUS(weir_view_map(&whole, section, 6 * GIB, 12346, WEIR_READ_ONLY), WEIR_E_RANGE);
        CHECK_STATUS(weir_view_map(&whole, section, 4 * GIB + 4096, 1, WEIR_READ_ONLY), WEIR_E_ALIGNMENT);
        CHECK_OK(weir_section_close(other));
        CHECK_OK(weir_section_close(section));
        remove_file(path.text);
    }
}

/* A view at 4 GiB is not the one at 0. */
Test(file_views, what_is_4_gib_apart_is_not_alike)
{
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "apart");
        weir_section *section = sparse(path.text, SIZE);
        weir_view low = map(section, 0, KIB64, WEIR_READ_WRITE), high = map(section, 4 * GIB, KIB64, WEIR_READ_WRITE);
        memset(low.base, 1, KIB64);
        cr_assert_eq(((unsigned char *)high.base)[0], 0);
        memset(high.base, 2, KIB64);
        cr_assert_eq(((unsigned char *)low.base)[KIB64 - 1], 1);
        CHECK_OK(weir_view_flush(&high, 100, 5000));
        CHECK_OK(weir_view_unmap(&low));
        cr_assert_eq(((unsigned char *)high.base)[KIB64 - 1], 2);
        CHECK_OK(weir_view_unmap(&high));
        CHECK_OK(weir_section_close(section));
        remove_file(path.text);
    }
}

#define VIEWS 300

/* Hundreds at once, at random, of three handles: what is written through one is in all that overlap it. */
Test(file_views, hundreds_that_overlap_are_coherent)
{
    static weir_view views[VIEWS];
    uint64_t seed = support_seed();
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "overlap");
        weir_section *sections[3] = { sparse(path.text, SIZE), open_file(path.text, 0, WEIR_READ_WRITE, 0),
                                      open_file(path.text, 0, WEIR_READ_ONLY, 0) };
        for (int i = 0; i < VIEWS; i++) {
            uint64_t around = landmarks[support_random(&seed) % LANDMARKS];
            uint64_t before = least(around, support_random(&seed) % 32 * KIB64);
            uint64_t size = before + 8 + support_random(&seed) % MIB / 8 * 8;
            views[i] = map(sections[i % 3], around - before, least(size, SIZE - (around - before)),
                           i % 3 == 2 ? WEIR_READ_ONLY : WEIR_READ_WRITE);
        }
        for (uint64_t round = support_count(2000); round > 0; round--) {
            const weir_view *writer = &views[support_random(&seed) % (VIEWS / 3) * 3];
            uint64_t at = writer->offset + support_random(&seed) % (writer->size / 8) * 8;
            uint64_t value = support_random(&seed), seen;
            memcpy((unsigned char *)writer->base + (at - writer->offset), &value, sizeof value);
            for (int i = 0; i < VIEWS; i++)
                if (at >= views[i].offset && at - views[i].offset + 8 <= views[i].size) {
                    memcpy(&seen, (unsigned char *)views[i].base + (at - views[i].offset), sizeof seen);
                    cr_assert_eq(seen, value);
                }
        }
        for (int i = 0; i < VIEWS; i++) /* in no order */
            CHECK_OK(weir_view_unmap(&views[(i * 7 + 5) % VIEWS]));
        for (int i = 0; i < 3; i++)
            CHECK_OK(weir_section_close(sections[i]));
        remove_file(path.text);
    }
}

Test(file_views, prefaulting_a_sparse_file_makes_none_of_it_memory_to_be_written)
{
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "prefaulted");
        CHECK_OK(weir_section_close(sparse(path.text, MIB)));
        weir_section *section;
        weir_section_options options = { .want = WEIR_PREFAULT };
        struct stat before, after;
        cr_assert_eq(stat(path.text, &before), 0);
        CHECK_OK(weir_section_open_file(&section, path.text, 0, &options));
        weir_view view = map(section, 0, 0, WEIR_READ_WRITE);
        cr_assert_eq(stat(path.text, &after), 0);
        cr_assert(before.st_mtim.tv_sec == after.st_mtim.tv_sec && before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
        cr_assert(strncmp(dir, "/dev/shm", 8) == 0 || before.st_blocks == after.st_blocks);
        stamp(&view, 0);
        CHECK_OK(weir_view_unmap(&view));
        CHECK_OK(weir_section_close(section));
        remove_file(path.text);
    }
}

/* ---- growing beyond 4 GiB ---- */

Test(file_views, a_file_is_extended_across_4_gib)
{
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "across");
        weir_section *section = sparse(path.text, 4 * GIB - 100);
        CHECK_OK(weir_section_extend(section, 4 * GIB + KIB64));
        cr_assert(file_size(path.text) == 4 * GIB + KIB64 && weir_section_size(section) == 4 * GIB + KIB64);
        cr_assert_lt(file_taken(path.text), MIB);
        weir_view view = map(section, 4 * GIB - KIB64, 0, WEIR_READ_WRITE);
        cr_assert_eq(view.size, 2 * KIB64);
        stamp(&view, 4 * GIB - 8);
        stamp(&view, end_of(4 * GIB + KIB64));
        CHECK_OK(weir_view_flush(&view, 0, 0));
        CHECK_OK(weir_view_unmap(&view));
        CHECK_OK(weir_section_close(section));
        int fd = open(path.text, O_RDONLY | O_CLOEXEC);
        check_file_stamp(fd, 4 * GIB - 8);
        check_file_stamp(fd, end_of(4 * GIB + KIB64));
        (void)close(fd);
        remove_file(path.text);
    }
}

/* ---- reserved room ---- */

static void walk_reserved(weir_section *section, uint64_t room)
{
    weir_view whole = map(section, 0, 0, WEIR_READ_WRITE);
    cr_assert(weir_section_size(section) == room && whole.size == room);
    for (size_t i = 0; i < LANDMARKS; i++) {
        uint64_t at = landmarks[i], size = KIB64;
        bool committed = true;
        if (at >= room)
            continue;
        CHECK_OK(weir_section_committed(section, at, &size, &committed));
        cr_assert(!committed);
        CHECK_OK(weir_section_commit(section, at, 1));
        size = KIB64;
        CHECK_OK(weir_section_committed(section, at, &size, &committed));
        cr_assert(committed && size == KIB64);
        stamp(&whole, at); /* it reaches what was committed behind it */
        stamp(&whole, at + KIB64 - 8);
    }
    for (size_t i = 0; i < LANDMARKS; i++) {
        uint64_t at = landmarks[i];
        if (at >= room)
            continue;
        weir_view view = map(section, at, KIB64, WEIR_COPY_ON_WRITE);
        check_stamp(&view, at);
        check_stamp(&view, at + KIB64 - 8);
        memset(view.base, 0, KIB64);
        CHECK_OK(weir_view_unmap(&view));
        check_stamp(&whole, at);
    }
    uint64_t size = room - 4 * GIB - 2 * KIB64;
    bool committed = true;
    CHECK_OK(weir_section_committed(section, 4 * GIB + 2 * KIB64, &size, &committed));
    cr_assert(!committed && size == room - 4 * GIB - 2 * KIB64);
    CHECK_OK(weir_section_decommit(section, 4 * GIB, KIB64));
    size = 2 * KIB64;
    CHECK_OK(weir_section_committed(section, 4 * GIB, &size, &committed));
    cr_assert(!committed && size == KIB64);
    check_stamp(&whole, 4 * GIB + KIB64);
    check_stamp(&whole, 0);
    CHECK_OK(weir_section_commit(section, 4 * GIB, 1));
    cr_assert_eq(((unsigned char *)whole.base)[4 * GIB], 0);
    CHECK_OK(weir_view_unmap(&whole));
}

Test(file_views, reserved_room_of_5_gib_is_committed_and_looked_at_beyond_4)
{
    const char *dir = support_shm_dir();
    weir_section *named, *unnamed;
    weir_section_options options = { .flags = WEIR_RESERVE };
    CHECK_OK(weir_section_create(&named, "Local/five", 5 * GIB, &options));
    struct stat st;
    cr_assert_eq(stat(section_path(dir, "five").text, &st), 0);
    walk_reserved(named, 5 * GIB);
    cr_assert(stat(section_path(dir, "five").text, &st) == 0 && (uint64_t)st.st_blocks * 512 < 2 * MIB);
    /* Another process's handle finds it at the same offset. */
    pid_t child = fork();
    if (child == 0) {
        weir_section *own;
        CHECK_OK(weir_section_open(&own, "Local/five", NULL));
        weir_view view = map(own, 4 * GIB + KIB64, KIB64, WEIR_READ_ONLY);
        uint64_t value, expected = stamp_at(4 * GIB + KIB64);
        memcpy(&value, view.base, sizeof value);
        CHECK(value == expected);
        CHECK_OK(weir_view_unmap(&view));
        CHECK_OK(weir_section_close(own));
        _exit(0);
    }
    cr_assert_eq(support_wait(child), 0);
    CHECK_OK(weir_section_close(named));
    cr_assert_eq(support_entries(dir, true), 0);
    CHECK_OK(weir_section_create_unnamed(&unnamed, 5 * GIB, &options));
    walk_reserved(unnamed, 5 * GIB);
    CHECK_OK(weir_section_close(unnamed));
}
