/* Views with room behind the content: what the section is extended by is reached at the same addresses. */
#include "commit.h"
#include "faults.h"

#include <weir/naming/file.h>
#include <weir/naming/unnamed.h>

#define NAME "Local/growing"
#define ROOM (8 * GRANULE)

static weir_section *make(uint64_t size)
{
    weir_section *section;
    CHECK_OK(weir_section_create(&section, NAME, size, NULL));
    return section;
}

static weir_view map_growing(weir_section *section, uint64_t room, weir_access access)
{
    weir_view view;
    CHECK_OK(weir_view_map_growing(&view, section, room, access));
    CHECK(view.offset == 0 && view.section == section && view.size == weir_section_size(section));
    return view;
}

/* The first `size` bytes can be touched, and behind their last page nothing. */
static void check_grown(const weir_view *view, uint64_t size, uint64_t room, bool writable)
{
    const unsigned char *base = view->base;
    uint64_t end = (size + PAGE - 1) / PAGE * PAGE;
    for (uint64_t at = 0; at < room; at += PAGE) {
        int expected = at < end ? 0 : SIGSEGV;
        CHECK(touch(base + at, false) == expected);
        CHECK(touch(base + at, true) == (writable ? expected : SIGSEGV));
    }
    CHECK(touch(base + size - 1, false) == 0);
}

Test(view_growing, what_it_is_extended_by_is_reached_at_the_same_addresses)
{
    const char *dir = support_shm_dir();
    static const uint64_t sizes[] = { 1, PAGE, PAGE + 1, GRANULE - 1, GRANULE, GRANULE + 1, 3 * GRANULE + 5, ROOM };
    for (weir_access access = WEIR_READ_WRITE; access <= WEIR_COPY_ON_WRITE; access++)
        for (int by_another = 0; by_another < 2; by_another++) {
            weir_section *section = make(sizes[0]), *other;
            CHECK_OK(weir_section_open(&other, NAME, NULL));
            weir_view view = map_growing(section, ROOM, access), whole;
            unsigned char *base = view.base;
            CHECK_OK(weir_view_map(&whole, other, 0, 0, WEIR_READ_WRITE));
            for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
                CHECK_OK(weir_section_extend(by_another ? other : section, sizes[i]));
                CHECK_OK(weir_view_refresh(&view));
                CHECK(view.base == base && view.size == sizes[i]);
                CHECK_OK(weir_view_unmap(&whole));
                CHECK_OK(weir_view_map(&whole, other, 0, 0, WEIR_READ_WRITE));
                ((unsigned char *)whole.base)[sizes[i] - 1] = (unsigned char)(i + 1);
                CHECK(access == WEIR_COPY_ON_WRITE || base[sizes[i] - 1] == i + 1); /* it has that page by now */
                check_grown(&view, sizes[i], ROOM, access != WEIR_READ_ONLY);
                CHECK_OK(weir_view_refresh(&view)); /* nothing is new */
                CHECK(view.base == base && view.size == sizes[i]);
            }
            CHECK_OK(weir_view_unmap(&whole));
            CHECK_OK(weir_section_extend(other, ROOM + 1)); /* more than it has room for */
            CHECK_OK(weir_view_refresh(&view));
            CHECK(view.base == base && view.size == ROOM);
            CHECK_OK(weir_view_unmap(&view));
            CHECK(view.base == NULL);
            view = map_growing(section, 0, access); /* less room than there is: all of it */
            CHECK(view.size == ROOM + 1);
            CHECK_OK(weir_view_unmap(&view));
            CHECK_OK(weir_section_close(other));
            CHECK_OK(weir_section_close(section));
            CHECK(support_entries(dir, true) == 0 && mappings_of(dir).all == 0);
        }
}

Test(view_growing, another_process_extends_it_and_room_takes_no_memory)
{
    const char *dir = support_shm_dir();
    path_text path = section_path(dir, NAME);
    weir_section *section = make(PAGE);
    uint64_t taken = bytes_taken(path.text);
    weir_view view = map_growing(section, UINT64_C(1) << 40, WEIR_READ_WRITE);
    CHECK(bytes_taken(path.text) == taken);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        weir_section *own;
        weir_view all;
        CHECK_STATUS(weir_view_refresh(&view), WEIR_E_FORKED);
        CHECK_OK(weir_section_open(&own, NAME, NULL));
        CHECK_OK(weir_section_extend(own, 5 * GRANULE));
        CHECK_OK(weir_view_map(&all, own, 0, 0, WEIR_READ_WRITE));
        memset(all.base, 7, all.size);
        _exit(0);
    }
    CHECK(support_wait(child) == 0);
    CHECK(view.size == PAGE && touch((unsigned char *)view.base + PAGE, false) == SIGSEGV);
    CHECK_OK(weir_view_refresh(&view));
    CHECK(view.size == 5 * GRANULE);
    for (uint64_t at = 0; at < view.size; at++)
        CHECK(((unsigned char *)view.base)[at] == 7);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
}

Test(view_growing, several_views_of_a_handle_grow_each_by_itself)
{
    (void)support_shm_dir();
    weir_section *section = make(100);
    weir_view a = map_growing(section, ROOM, WEIR_READ_WRITE), b = map_growing(section, 2 * GRANULE, WEIR_READ_ONLY);
    CHECK_OK(weir_section_extend(section, 3 * GRANULE));
    CHECK_OK(weir_view_refresh(&a));
    memset(a.base, 9, a.size);
    CHECK_OK(weir_view_refresh(&b));
    CHECK(a.size == 3 * GRANULE && b.size == 2 * GRANULE);
    CHECK(((unsigned char *)b.base)[b.size - 1] == 9);
    CHECK_OK(weir_view_unmap(&a));
    check_grown(&b, b.size, 2 * GRANULE, false);
    CHECK_STATUS(weir_section_close(section), WEIR_E_BUSY);
    CHECK_OK(weir_view_unmap(&b));
    CHECK_OK(weir_section_close(section));
}

static void check_refused(weir_section *section, uint64_t room, weir_access access, weir_status expected)
{
    weir_view view = { .base = &view, .offset = 3, .size = 4 };
    CHECK_STATUS(weir_view_map_growing(&view, section, room, access), expected);
    CHECK(view.base == &view && view.offset == 3 && view.size == 4 && view.section == NULL);
    CHECK(*weir_error_detail() != 0);
}

Test(view_growing, what_cannot_grow_is_refused)
{
    const char *dir = support_shm_dir();
    weir_section *section = make(PAGE), *other;
    check_refused(section, WEIR_SECTION_SIZE_MAX + 1, WEIR_READ_WRITE, WEIR_E_INVALID);
    check_refused(section, UINT64_MAX, WEIR_READ_WRITE, WEIR_E_INVALID);
    check_refused(section, ROOM, (weir_access)3, WEIR_E_INVALID);
    CHECK_STATUS(weir_view_map_growing(NULL, section, ROOM, WEIR_READ_WRITE), WEIR_E_INVALID);
    CHECK_OK(weir_section_open(&other, NAME, &(weir_section_options){ .access = WEIR_READ_ONLY }));
    check_refused(other, ROOM, WEIR_READ_WRITE, WEIR_E_ACCESS);
    weir_view view = map_growing(other, ROOM, WEIR_READ_ONLY); /* an observer's grows, too */
    CHECK_OK(weir_section_extend(section, GRANULE + 1));
    CHECK_OK(weir_view_refresh(&view));
    check_grown(&view, GRANULE + 1, ROOM, false);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(other));
    CHECK_OK(weir_section_close(section));
    section = reserve(NAME, ROOM, GRANULE);
    check_refused(section, ROOM, WEIR_READ_WRITE, WEIR_E_STATE);
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_section_create_unnamed(&section, PAGE, NULL));
    check_refused(section, ROOM, WEIR_READ_WRITE, WEIR_E_STATE);
    CHECK_OK(weir_section_close(section));
    view = (weir_view){ .base = NULL };
    CHECK_STATUS(weir_view_refresh(&view), WEIR_E_INVALID);
    CHECK(support_entries(dir, true) == 0);
}

Test(view_growing, a_file_that_was_cut_is_corrupt_before_anybody_touches_what_it_lacks)
{
    const char *dir = support_shm_dir();
    for (int looked = 0; looked < 2; looked++) {
        weir_section *section = make(PAGE), *other;
        CHECK_OK(weir_section_open(&other, NAME, NULL));
        weir_view view = map_growing(section, ROOM, WEIR_READ_WRITE);
        CHECK_OK(weir_section_extend(other, 4 * GRANULE));
        if (looked) /* the handle knows the new size, the view does not */
            CHECK(weir_section_size(section) == 4 * GRANULE);
        CHECK(truncate(section_path(dir, NAME).text, WEIR_SECTION_HEADER + 2 * GRANULE) == 0);
        CHECK_STATUS(weir_view_refresh(&view), WEIR_E_CORRUPT);
        CHECK(view.size == PAGE && touch((unsigned char *)view.base + GRANULE, false) == SIGSEGV);
        check_refused(section, ROOM, WEIR_READ_WRITE, WEIR_E_CORRUPT);
        CHECK(truncate(section_path(dir, NAME).text, WEIR_SECTION_HEADER + 4 * GRANULE) == 0);
        CHECK_OK(weir_view_refresh(&view));
        CHECK(view.size == 4 * GRANULE);
        CHECK_OK(weir_view_unmap(&view));
        CHECK_OK(weir_section_close(other));
        CHECK_OK(weir_section_close(section));
    }
}

/* Each call of each kind fails, once or from then on: a status or what was asked for, and never less than before. */
Test(view_growing, a_system_call_that_fails_is_a_status_and_what_was_reached_stays_so)
{
    const char *dir = prepare();
    static const int errors[] = { ENOMEM, EACCES, EIO };
    uint64_t walked = 0;
    for (enum call call = OPENAT; call < CALLS; call++)
        for (int error = 0; error < 3; error++)
            for (long first = 1; first < 8; first++) {
                weir_section *section = make(PAGE), *other;
                CHECK_OK(weir_section_open(&other, NAME, NULL));
                int64_t mapped = plan.mapped;
                weir_view view = { .base = NULL };
                arm(call, errors[error], first, first % 2 != 0 ? 1 : LONG_MAX);
                errno = 77;
                weir_status status = weir_view_map_growing(&view, section, ROOM, WEIR_READ_WRITE);
                CHECK(errno == 77);
                long failed = plan.failed;
                disarm();
                CHECK(status == WEIR_OK || (failed != 0 && status < 0 && *weir_error_detail() != 0));
                if (status != WEIR_OK) {
                    CHECK(view.base == NULL && (call == MUNMAP || plan.mapped == mapped));
                    view = map_growing(section, ROOM, WEIR_READ_WRITE);
                }
                unsigned char *base = view.base;
                memset(base, 5, view.size);
                CHECK_OK(weir_section_extend(other, 3 * GRANULE));
                arm(call, errors[error], first, first % 2 != 0 ? 1 : LONG_MAX);
                status = weir_view_refresh(&view);
                CHECK(errno == 77);
                failed += plan.failed;
                disarm();
                CHECK(view.base == base && base[PAGE - 1] == 5);
                CHECK(status == WEIR_OK ? view.size == 3 * GRANULE : status < 0 && view.size >= PAGE);
                CHECK_OK(weir_view_refresh(&view));
                CHECK(view.size == 3 * GRANULE);
                check_grown(&view, view.size, ROOM, true);
                CHECK_OK(weir_view_unmap(&view));
                CHECK_OK(weir_section_close(other));
                CHECK_OK(weir_section_close(section));
                CHECK(support_entries(dir, true) == 0);
                walked += failed != 0;
            }
    cr_assert_gt(walked, 10);
}
