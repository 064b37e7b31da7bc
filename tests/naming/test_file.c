#include "files.h"

#include <criterion/criterion.h>

/* ---- its content is the file's ---- */

Test(file, one_that_is_there_is_the_content_before_and_after_byte_for_byte)
{
    static const uint64_t sizes[] = { 1, 4095, 4096, 4097, 200001 };
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "there");
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            uint64_t size = sizes[i];
            pattern_file(path.text, size);
            weir_section *section = open_file(path.text, 0, WEIR_READ_WRITE, 0);
            cr_assert_eq(weir_section_size(section), size);
            cr_assert_str_eq(weir_section_name(section), path.text);
            weir_view view = map(section, 0, 0, WEIR_READ_WRITE);
            unsigned char *bytes = view.base;
            cr_assert_eq(view.size, size);
            for (uint64_t at = 0; at < size; at++)
                cr_assert_eq(bytes[at], pattern(at));
            bytes[0] = 0xf0;
            bytes[size - 1] = 0xf1;
            CHECK_OK(weir_view_unmap(&view));
            CHECK_OK(weir_section_close(section));
            unsigned char first, *all = malloc(size + 1);
            cr_assert_eq(file_read(path.text, all, size + 1), size);
            first = size == 1 ? 0xf1 : 0xf0;
            cr_assert(all[0] == first && all[size - 1] == 0xf1);
            for (uint64_t at = 1; at + 1 < size; at++)
                cr_assert_eq(all[at], pattern(at));
            free(all);
            remove_file(path.text);
        }
    }
}

Test(file, a_new_one_has_the_size_asked_for_zeros_and_its_memory_and_then_nothing_but_the_content)
{
    static const uint64_t sizes[] = { 1, 4096, 4097, 65536, 3 * MIB + 5 };
    static const uint32_t flags[] = { WEIR_FILE_CREATE, WEIR_FILE_NEW, WEIR_FILE_CREATE | WEIR_FILE_NEW };
    IN_EACH_FOLDER(dir)
        for (size_t i = 0; i < 15; i++) {
            path_text path = in_folder(dir, "new");
            uint64_t size = sizes[i % 5];
            weir_section *section = open_file(path.text, size, WEIR_READ_WRITE, flags[i / 5]);
            cr_assert_eq(weir_section_size(section), size);
            check_file(path.text, 0, size);
            cr_assert_geq(file_taken(path.text), size);
            weir_view view = map(section, 0, 0, WEIR_READ_WRITE);
            pattern_fill(view.base, 0, size);
            CHECK_OK(weir_view_unmap(&view));
            CHECK_OK(weir_section_close(section));
            check_file(path.text, size, size);
            remove_file(path.text);
        }
}

Test(file, create_opens_one_that_is_there_and_leaves_it_and_its_mode_and_group)
{
    static const uint64_t asked[] = { 0, 4097, 10, 5000 };
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "there");
        pattern_file(path.text, 5000);
        struct file_state before = state_of(path.text), after;
        for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
            weir_section *section;
            weir_section_options options = { .flags = WEIR_FILE_CREATE | WEIR_SET_GROUP, .mode = 0600, .group = 7 };
            CHECK_OK(weir_section_open_file(&section, path.text, asked[i], &options));
            cr_assert_eq(weir_section_size(section), asked[i] != 0 ? asked[i] : 5000);
            CHECK_OK(weir_section_close(section));
            after = state_of(path.text);
            cr_assert(unchanged(&before, &after));
        }
        check_file(path.text, 5000, 5000);
        remove_file(path.text);
    }
}

Test(file, a_shorter_one_is_grown_with_zeros_really_allocated_and_keeps_what_it_had)
{
    /* 40 MiB are more than two steps of allocation. */
    static const uint64_t rows[][2] = {
        { 0, 1 },        { 1, 2 },         { 100, 4096 },      { 4096, 4097 },
        { 5000, 65536 }, { 65536, 65537 }, { 70001, MIB + 3 }, { 12345, 40 * MIB + 77 },
    };
    IN_EACH_FOLDER(dir)
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            path_text path = in_folder(dir, "grows");
            uint64_t from = rows[i][0], to = rows[i][1];
            pattern_file(path.text, from);
            weir_section *section = open_file(path.text, to, WEIR_READ_WRITE, 0);
            cr_assert_eq(weir_section_size(section), to);
            cr_assert_geq(file_taken(path.text), to);
            check_file(path.text, from, to);
            weir_view view = map(section, 0, 0, WEIR_READ_WRITE);
            pattern_fill((unsigned char *)view.base + from, from, to - from);
            CHECK_OK(weir_view_unmap(&view));
            CHECK_OK(weir_section_close(section));
            check_file(path.text, to, to);
            remove_file(path.text);
        }
}

/* The last page of what it had may have been a hole. */
Test(file, behind_a_hole_it_is_grown_with_memory_from_its_old_end_on)
{
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "hole");
        pattern_file(path.text, 0);
        cr_assert_eq(truncate(path.text, (off_t)(MIB + 100)), 0);
        CHECK_OK(weir_section_close(open_file(path.text, MIB + PAGE, WEIR_READ_WRITE, 0)));
        uint64_t taken = file_taken(path.text);
        cr_assert(taken >= PAGE && taken < MIB, "%llu", (unsigned long long)taken); /* and no byte before it */
        CHECK_OK(weir_section_close(open_file(path.text, 3 * MIB, WEIR_READ_WRITE, 0)));
        cr_assert_geq(file_taken(path.text), 2 * MIB);
        check_file(path.text, 0, 3 * MIB);
        remove_file(path.text);
    }
}

Test(file, a_smaller_section_ends_where_it_was_asked_to_and_leaves_the_rest)
{
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "longer");
        pattern_file(path.text, 3 * KIB64 + 100);
        for (weir_access access = WEIR_READ_WRITE; access <= WEIR_COPY_ON_WRITE; access++) {
            weir_section *section = open_file(path.text, KIB64 + 5, access, 0);
            cr_assert_eq(weir_section_size(section), KIB64 + 5);
            weir_view view = map(section, KIB64, 0, access), none = { .base = NULL };
            cr_assert_eq(view.size, 5);
            CHECK_STATUS(weir_view_map(&none, section, KIB64, 6, access), WEIR_E_RANGE);
            CHECK_STATUS(weir_view_map(&none, section, 2 * KIB64, 0, access), WEIR_E_RANGE);
            if (access != WEIR_READ_ONLY)
                memset(view.base, 0xee, view.size);
            if (access == WEIR_READ_WRITE)
                pattern_fill(view.base, KIB64, view.size);
            CHECK_OK(weir_view_unmap(&view));
            CHECK_OK(weir_section_close(section));
            check_file(path.text, 3 * KIB64 + 100, 3 * KIB64 + 100);
        }
        remove_file(path.text);
    }
}

Test(file, opened_to_look_or_copy_on_write_nothing_of_it_changes)
{
    static const uint64_t asked[] = { 0, 1, 4096, 9999, 10000 };
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "looked-at");
        pattern_file(path.text, 10000);
        struct file_state before = state_of(path.text), after;
        for (int i = 0; i < 10; i++) {
            weir_section *section = open_file(path.text, asked[i / 2], i % 2 == 0 ? WEIR_READ_ONLY : WEIR_COPY_ON_WRITE,
                                              0);
            weir_view view = map(section, 0, 0, i % 2 == 0 ? WEIR_READ_ONLY : WEIR_COPY_ON_WRITE);
            cr_assert_eq(view.size, asked[i / 2] != 0 ? asked[i / 2] : 10000);
            for (uint64_t at = 0; at < view.size; at++)
                cr_assert_eq(((unsigned char *)view.base)[at], pattern(at));
            CHECK_STATUS(weir_section_extend(section, 20000), WEIR_E_PERMISSION);
            cr_assert(detail_has(path.text) && detail_has(i % 2 == 0 ? "read-only" : "copy-on-write"));
            CHECK_OK(weir_section_flush(section));
            CHECK_OK(weir_view_flush(&view, 0, 0));
            CHECK_OK(weir_view_unmap(&view));
            CHECK_OK(weir_section_close(section));
            after = state_of(path.text);
            cr_assert(unchanged(&before, &after));
        }
        check_file(path.text, 10000, 10000);
        remove_file(path.text);
    }
}

Test(file, views_of_several_handles_and_read_and_write_are_coherent)
{
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "coherent");
        weir_section *one = open_file(path.text, 3 * KIB64, WEIR_READ_WRITE, WEIR_FILE_NEW);
        weir_section *two = open_file(path.text, 0, WEIR_READ_WRITE, 0);
        weir_section *observer = open_file(path.text, 0, WEIR_READ_ONLY, 0);
        weir_view views[3] = { map(one, 0, 0, WEIR_READ_WRITE), map(two, KIB64, 0, WEIR_READ_WRITE),
                               map(observer, KIB64, KIB64, WEIR_READ_ONLY) };
        unsigned char *a = (unsigned char *)views[0].base + KIB64, *b = views[1].base, byte;
        const unsigned char *c = views[2].base;
        int fd = open(path.text, O_RDWR | O_CLOEXEC);
        for (uint64_t at = 0; at < KIB64; at += 411) {
            a[at] = (unsigned char)(at % 250);
            cr_assert(b[at] == at % 250 && c[at] == at % 250);
            cr_assert(pread(fd, &byte, 1, (off_t)(KIB64 + at)) == 1 && byte == at % 250);
            byte++;
            cr_assert_eq(pwrite(fd, &byte, 1, (off_t)(KIB64 + at)), 1);
            cr_assert(a[at] == byte && b[at] == byte && c[at] == byte);
            b[at] = 0;
            cr_assert(a[at] == 0 && c[at] == 0);
        }
        (void)close(fd);
        for (int i = 0; i < 3; i++)
            CHECK_OK(weir_view_unmap(&views[i]));
        CHECK_OK(weir_section_close(one));
        CHECK_OK(weir_section_close(two));
        CHECK_OK(weir_section_close(observer));
        check_file(path.text, 0, 3 * KIB64);
        remove_file(path.text);
    }
}

/* ---- extend ---- */

Test(file, extend_makes_it_longer_zeroed_and_allocated_and_others_see_it_when_they_open_it_again)
{
    static const uint64_t sizes[] = { 101, 4096, 4097, 100000, 18 * MIB + 1 };
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "extended");
        pattern_file(path.text, 100);
        weir_section *section = open_file(path.text, 0, WEIR_READ_WRITE, 0);
        weir_section *other = open_file(path.text, 0, WEIR_READ_ONLY, 0);
        weir_view old = map(section, 0, 0, WEIR_READ_WRITE);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            uint64_t size = sizes[i];
            CHECK_OK(weir_section_extend(section, size));
            cr_assert_eq(weir_section_size(section), size);
            cr_assert_geq(file_taken(path.text), size);
            check_file(path.text, 100, size);
            CHECK_OK(weir_section_extend(section, size)); /* it is that long already */
            CHECK_OK(weir_section_extend(section, 1));
            cr_assert_eq(weir_section_size(section), size);
            cr_assert_eq(file_size(path.text), size);
            cr_assert_eq(weir_section_size(other), 100);
            weir_section *again = open_file(path.text, 0, WEIR_READ_ONLY, 0);
            cr_assert_eq(weir_section_size(again), size);
            CHECK_OK(weir_section_close(again));
        }
        weir_view all = map(section, 0, 0, WEIR_READ_WRITE);
        cr_assert_eq(old.size, 100);
        ((unsigned char *)all.base)[50] = 0; /* the views stay, and are of one memory */
        cr_assert_eq(((unsigned char *)old.base)[50], 0);
        CHECK_STATUS(weir_view_map(&(weir_view){ NULL }, other, 0, 101, WEIR_READ_ONLY), WEIR_E_RANGE);
        CHECK_STATUS(weir_section_extend(section, 0), WEIR_E_INVALID);
        CHECK_STATUS(weir_section_extend(section, WEIR_SECTION_SIZE_MAX + 1), WEIR_E_INVALID);
        CHECK_OK(weir_view_unmap(&all));
        CHECK_OK(weir_view_unmap(&old));
        CHECK_OK(weir_section_close(other));
        CHECK_OK(weir_section_close(section));
        remove_file(path.text);
    }
}

Test(file, extend_into_what_the_file_has_keeps_its_bytes)
{
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "longer");
        pattern_file(path.text, 3 * KIB64);
        weir_section *section = open_file(path.text, 100, WEIR_READ_WRITE, 0);
        CHECK_OK(weir_section_extend(section, 2 * KIB64));
        check_file(path.text, 3 * KIB64, 3 * KIB64);
        CHECK_OK(weir_section_extend(section, 4 * KIB64));
        check_file(path.text, 3 * KIB64, 4 * KIB64);
        CHECK_OK(weir_section_close(section));
        remove_file(path.text);
    }
}

Test(file, extend_allocates_the_holes_that_the_file_has_behind_the_section)
{
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "holes");
        pattern_file(path.text, 100);
        cr_assert_eq(truncate(path.text, (off_t)(2 * MIB)), 0);
        weir_section *section = open_file(path.text, 100, WEIR_READ_WRITE, 0);
        CHECK_OK(weir_section_extend(section, MIB)); /* inside the file */
        uint64_t taken = file_taken(path.text);
        cr_assert(taken >= MIB - PAGE && taken < 2 * MIB, "%llu", (unsigned long long)taken);
        CHECK_OK(weir_section_extend(section, 3 * MIB)); /* and across its end */
        cr_assert_geq(file_taken(path.text), 3 * MIB - PAGE);
        check_file(path.text, 100, 3 * MIB);
        CHECK_OK(weir_section_close(section));
        remove_file(path.text);
    }
}

/* ---- cut by another ---- */

/* A touch behind its end would be a SIGBUS. */
Test(file, no_view_is_given_of_what_was_cut_from_it_since)
{
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "cut");
        for (weir_access access = WEIR_READ_WRITE; access <= WEIR_COPY_ON_WRITE; access++) {
            pattern_file(path.text, 3 * KIB64);
            weir_section *section = open_file(path.text, 0, access, 0);
            weir_view view = { .base = NULL, .size = 7 };
            cr_assert_eq(truncate(path.text, (off_t)(KIB64 + 100)), 0);
            CHECK_KEEPS_ERRNO(weir_view_map(&view, section, 0, 0, access), WEIR_E_CORRUPT);
            cr_assert(detail_has(path.text) && detail_has("65636"), "%s", weir_error_detail());
            CHECK_STATUS(weir_view_map(&view, section, KIB64, 101, access), WEIR_E_CORRUPT);
            CHECK_STATUS(weir_view_map(&view, section, 2 * KIB64, 1, access), WEIR_E_CORRUPT);
            cr_assert(view.base == NULL && view.size == 7);
            CHECK_STATUS(weir_section_extend(section, 5 * KIB64),
                         access == WEIR_READ_WRITE ? WEIR_E_CORRUPT : WEIR_E_PERMISSION);
            cr_assert_eq(file_size(path.text), KIB64 + 100);
            view = map(section, KIB64, 100, access); /* what is there can be had */
            cr_assert_eq(((unsigned char *)view.base)[99], pattern(KIB64 + 99));
            CHECK_OK(weir_view_unmap(&view));
            cr_assert_eq(truncate(path.text, (off_t)(3 * KIB64)), 0);
            view = map(section, 0, 0, access);
            cr_assert_eq(((unsigned char *)view.base)[3 * KIB64 - 1], 0);
            CHECK_OK(weir_view_unmap(&view));
            CHECK_OK(weir_section_close(section));
            remove_file(path.text);
        }
    }
}

/* ---- whose it is ---- */

Test(file, a_new_one_has_the_mode_and_group_asked_for_whatever_the_umask)
{
    static const mode_t masks[] = { 0, 022, 077, 0777 };
    static const uint32_t modes[] = { 0, 0600, 0666, 0640, 0777, 0400, 0004 };
    bool root = geteuid() == 0;
    IN_EACH_FOLDER(dir)
        for (size_t i = 0; i < sizeof masks / sizeof masks[0]; i++)
            for (size_t j = 0; j < sizeof modes / sizeof modes[0]; j++) {
                path_text path = in_folder(dir, "mode");
                weir_section *section;
                weir_section_options options = { .flags = WEIR_FILE_NEW, .mode = modes[j] };
                if (root && j % 2 == 1) {
                    options.flags |= WEIR_SET_GROUP;
                    options.group = 12345;
                }
                mode_t old = umask(masks[i]);
                CHECK_OK(weir_section_open_file(&section, path.text, 1, &options));
                cr_assert_eq(umask(old), masks[i]);
                struct file_state state = state_of(path.text);
                cr_assert_eq(state.mode, S_IFREG | (modes[j] != 0 ? modes[j] : 0600u));
                cr_assert_eq(state.owner, geteuid());
                cr_assert_eq(state.group, root && j % 2 == 1 ? 12345 : getegid());
                CHECK_OK(weir_section_close(section));
                remove_file(path.text);
            }
}

Test(file, anybodys_will_do_unless_an_owner_is_expected)
{
    if (geteuid() != 0)
        cr_skip("needs root, to give a file away");
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "of-another");
        weir_section *section = UNTOUCHED;
        pattern_file(path.text, 10);
        cr_assert_eq(chmod(path.text, 0666), 0);
        cr_assert_eq(chown(path.text, 12345, 12345), 0);
        CHECK_OK(weir_section_close(open_file(path.text, 0, WEIR_READ_WRITE, 0)));
        for (weir_access access = WEIR_READ_WRITE; access <= WEIR_COPY_ON_WRITE; access++) {
            weir_section_options options = { .flags = WEIR_EXPECT_OWNER, .owner = 12345, .access = access };
            CHECK_OK(weir_section_open_file(&section, path.text, 0, &options));
            CHECK_OK(weir_section_close(section));
            options.owner = 54321;
            section = UNTOUCHED;
            CHECK_KEEPS_ERRNO(weir_section_open_file(&section, path.text, 20, &options), WEIR_E_PERMISSION);
            cr_assert(section == UNTOUCHED && detail_has(path.text) && detail_names_uid(12345) && detail_has("54321"));
            options.owner = 0; /* root's, when that is what is expected, and no other's */
            CHECK_STATUS(weir_section_open_file(&section, path.text, 0, &options), WEIR_E_PERMISSION);
        }
        check_file(path.text, 10, 10); /* it was looked at before it was grown */
        remove_file(path.text);
        weir_section_options mine = { .flags = WEIR_EXPECT_OWNER | WEIR_FILE_NEW, .owner = 54321 };
        CHECK_STATUS(weir_section_open_file(&section, path.text, 20, &mine), WEIR_E_PERMISSION);
        mine.owner = 0;
        CHECK_OK(weir_section_open_file(&section, path.text, 20, &mine));
        CHECK_OK(weir_section_close(section));
        remove_file(path.text);
    }
}

Test(file, weir_takes_no_lock_on_it_and_minds_nobodys)
{
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "locked");
        weir_section *section = open_file(path.text, KIB64, WEIR_READ_WRITE, WEIR_FILE_NEW);
        weir_section *observer = open_file(path.text, 0, WEIR_READ_ONLY, 0);
        weir_view view = map(section, 0, 0, WEIR_READ_WRITE);
        int fd = open(path.text, O_RDWR | O_CLOEXEC);
        struct flock all = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
        cr_assert_eq(fcntl(fd, F_OFD_SETLK, &all), 0); /* every byte there can be */
        CHECK_OK(weir_section_extend(section, 2 * KIB64));
        CHECK_OK(weir_section_close(open_file(path.text, 3 * KIB64, WEIR_READ_WRITE, 0)));
        CHECK_OK(weir_view_unmap(&view));
        CHECK_OK(weir_section_close(observer));
        CHECK_OK(weir_section_close(section));
        (void)close(fd);
        remove_file(path.text);
    }
}

/* ---- where it is ---- */

Test(file, a_relative_path_is_of_the_directory_that_was_the_working_one_when_it_was_opened)
{
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "relative");
        int back = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        cr_assert_eq(chdir(dir), 0);
        weir_section *section = open_file("./relative", 10, WEIR_READ_WRITE, WEIR_FILE_NEW);
        cr_assert_eq(chdir("/"), 0);
        cr_assert_str_eq(weir_section_name(section), "./relative");
        CHECK_OK(weir_section_extend(section, 100000));
        weir_view view = map(section, 0, 0, WEIR_READ_WRITE);
        pattern_fill(view.base, 0, view.size);
        CHECK_OK(weir_view_flush(&view, 0, 0));
        CHECK_OK(weir_section_flush(section));
        CHECK_OK(weir_view_unmap(&view));
        CHECK_OK(weir_section_close(section));
        CHECK_STATUS(weir_section_open_file(&section, "./relative", 0, NULL), WEIR_E_NOT_FOUND);
        check_file(path.text, 100000, 100000);
        cr_assert_eq(fchdir(back), 0);
        (void)close(back);
        remove_file(path.text);
    }
}

Test(file, links_lead_to_it_and_renamed_or_removed_it_stays_what_was_opened)
{
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "file"), soft = in_folder(dir, "soft"), hard = in_folder(dir, "hard");
        path_text moved = in_folder(dir, "moved");
        pattern_file(path.text, 10);
        cr_assert(symlink("file", soft.text) == 0 && link(path.text, hard.text) == 0);
        weir_section *sections[3] = { open_file(path.text, 0, WEIR_READ_WRITE, 0),
                                      open_file(soft.text, 20, WEIR_READ_WRITE, WEIR_FILE_CREATE),
                                      open_file(hard.text, 30, WEIR_READ_WRITE, 0) };
        check_file(path.text, 10, 30);
        cr_assert_eq(rename(path.text, moved.text), 0);
        CHECK_OK(weir_section_extend(sections[0], 40));
        check_file(moved.text, 10, 40);
        remove_file(moved.text);
        remove_file(hard.text);
        CHECK_OK(weir_section_extend(sections[1], 50));
        weir_view views[2] = { map(sections[0], 0, 0, WEIR_READ_WRITE), map(sections[1], 0, 0, WEIR_READ_ONLY) };
        strcpy(views[0].base, "nameless");
        cr_assert_str_eq(views[1].base, "nameless");
        CHECK_OK(weir_section_flush(sections[0]));
        CHECK_OK(weir_view_unmap(&views[0]));
        CHECK_OK(weir_view_unmap(&views[1]));
        for (int i = 0; i < 3; i++)
            CHECK_OK(weir_section_close(sections[i]));
        cr_assert(!exists(path.text));
        remove_file(soft.text);
    }
}

/* ---- the process ---- */

Test(file, what_is_not_for_a_file_says_so)
{
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "plain");
        weir_section *section = open_file(path.text, 3 * KIB64, WEIR_READ_WRITE, WEIR_FILE_NEW);
        weir_participant who;
        weir_handle handle = -7;
        uint64_t size = KIB64;
        bool committed = false;
        CHECK_STATUS(weir_participant_claim(section, 0, 1, &who), WEIR_E_INVALID);
        CHECK_STATUS(weir_participant_look(section, 0, &who), WEIR_E_INVALID);
        CHECK_STATUS(weir_participant_leave(section, 0), WEIR_E_STATE);
        CHECK_STATUS(weir_section_seal(section, WEIR_SEAL_GROW), WEIR_E_STATE);
        cr_assert_eq(weir_section_seals(section), 0);
        CHECK_STATUS(weir_section_export(section, WEIR_READ_ONLY, false, &handle), WEIR_E_STATE);
        cr_assert(handle == -7 && detail_has(path.text));
        CHECK_STATUS(weir_section_commit(section, 0, 0), WEIR_E_STATE);
        CHECK_STATUS(weir_section_decommit(section, 0, 0), WEIR_E_STATE);
        CHECK_OK(weir_section_committed(section, KIB64, &size, &committed));
        cr_assert(committed && size == KIB64);
        weir_view view = map(section, 0, 0, WEIR_READ_WRITE);
        CHECK_OK(weir_view_refresh(&view));
        CHECK_STATUS(weir_section_close(section), WEIR_E_BUSY);
        cr_assert(detail_has(path.text) && detail_has("1 view"));
        CHECK_OK(weir_view_unmap(&view));
        CHECK_OK(weir_section_close(section));
        check_file(path.text, 0, 3 * KIB64);
        remove_file(path.text);
    }
}

Test(file, a_forked_child_has_neither_handle_nor_view_and_leaves_the_file_alone)
{
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "forked");
        weir_section *section = open_file(path.text, KIB64, WEIR_READ_WRITE, WEIR_FILE_NEW);
        weir_view view = map(section, 0, 0, WEIR_READ_WRITE), none = { .base = NULL };
        pid_t child = fork();
        if (child == 0) {
            CHECK(weir_section_forked(section) && weir_section_size(section) == 0);
            CHECK_STATUS(weir_section_flush(section), WEIR_E_FORKED);
            CHECK(detail_has(path.text));
            CHECK_STATUS(weir_view_flush(&view, 0, 0), WEIR_E_FORKED);
            CHECK_STATUS(weir_view_map(&none, section, 0, 0, WEIR_READ_ONLY), WEIR_E_FORKED);
            CHECK_STATUS(weir_view_refresh(&view), WEIR_E_FORKED);
            CHECK_STATUS(weir_section_extend(section, 2 * KIB64), WEIR_E_FORKED);
            CHECK_STATUS(weir_section_commit(section, 0, 0), WEIR_E_FORKED);
            CHECK(mappings_of(dir).all == 0);
            weir_section *own = open_file(path.text, 0, WEIR_READ_WRITE, 0);
            weir_view of_own = map(own, 0, 0, WEIR_READ_WRITE);
            strcpy(of_own.base, "from the child");
            CHECK_OK(weir_view_unmap(&of_own));
            CHECK_OK(weir_section_close(own));
            CHECK_OK(weir_view_unmap(&view));
            CHECK_STATUS(weir_view_flush(&view, 0, 0), WEIR_E_INVALID);
            CHECK_OK(weir_section_close(section));
            _exit(0);
        }
        cr_assert_eq(support_wait(child), 0);
        cr_assert_str_eq(view.base, "from the child");
        CHECK_OK(weir_view_flush(&view, 0, 0));
        CHECK_OK(weir_section_extend(section, 2 * KIB64));
        CHECK_OK(weir_view_unmap(&view));
        CHECK_OK(weir_section_close(section));
        cr_assert_eq(file_size(path.text), 2 * KIB64);
        remove_file(path.text);
    }
}

/* In a program that has closed them, the next message would go into the file. */
Test(file, its_descriptor_is_none_of_the_standard_ones)
{
    IN_EACH_FOLDER(dir)
        for (int closed = 1; closed < 8; closed++) {
            path_text path = in_folder(dir, "standard");
            pid_t child = fork();
            if (child == 0) {
                int error = dup(2);
                for (int fd = 0; fd < 3; fd++)
                    if ((closed >> fd & 1) != 0)
                        (void)close(fd);
                weir_section *made = open_file(path.text, 10, WEIR_READ_WRITE, WEIR_FILE_NEW);
                weir_section *found = open_file(path.text, 0, WEIR_READ_ONLY, 0);
                bool free_still = true;
                for (int fd = 0; fd < 3; fd++)
                    free_still = free_still && ((closed >> fd & 1) == 0 || fcntl(fd, F_GETFD) < 0);
                (void)dup2(error, 2);
                CHECK(free_still);
                CHECK_OK(weir_section_close(made));
                CHECK_OK(weir_section_close(found));
                check_file(path.text, 0, 10);
                _exit(0);
            }
            cr_assert_eq(support_wait(child), 0);
            remove_file(path.text);
        }
}
