/* From a ref to an address: every status, and which view it takes.  Built with each backend (WEIR_TEST_BACKEND). */
#include "registry.h"

#include <weir/naming/file.h>

/* ---- memory that is not to be had (LINKER:--wrap) ---- */

static bool no_memory, no_handlers;
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
weir_status __real_weir_os_at_fork(void (*before)(void), void (*parent)(void), void (*child)(void));
weir_status __wrap_weir_os_at_fork(void (*before)(void), void (*parent)(void), void (*child)(void));

void *__wrap_malloc(size_t size) { return no_memory ? NULL : __real_malloc(size); }
weir_status __wrap_weir_os_at_fork(void (*before)(void), void (*parent)(void), void (*child)(void))
{
    return no_handlers ? WEIR_E_NO_MEMORY : __real_weir_os_at_fork(before, parent, child);
}

Test(registry, it_is_built_with_the_backend_that_the_test_is_about)
{
    cr_assert_str_eq(weir_registry_backend(), WEIR_TEST_BACKEND);
}

/* ---- resolving ---- */

Test(registry, a_ref_gives_the_address_of_its_bytes_and_no_byte_more)
{
    weir_section *section = create(3 * KIB64 + 5);
    uint64_t id = weir_section_id(section), end = 3 * KIB64 + 5;
    weir_view view = publish(section, 0, 0, WEIR_READ_WRITE);
    for (weir_access access = WEIR_READ_WRITE; access <= WEIR_READ_ONLY; access++) {
        check_at(&view, 0, 1, access);
        check_at(&view, 0, end, access);
        check_at(&view, end - 1, 1, access);
        check_at(&view, KIB64 + 3, 2 * KIB64 + 2, access);
        static const uint64_t beyond[][2] = {
            { 0, 3 * KIB64 + 6 }, { 1, 3 * KIB64 + 5 }, { 3 * KIB64 + 5, 1 }, { 3 * KIB64 + 4, 2 },
            { 3 * KIB64 + 6, 1 }, { UINT64_MAX, 1 }, { UINT64_MAX, UINT64_MAX }, { 1, UINT64_MAX },
            { 8, UINT64_MAX - 7 }, { UINT64_MAX - 7, 8 }, { UINT64_C(1) << 63, UINT64_C(1) << 63 },
        };
        for (size_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++)
            check_refused(id, beyond[i][0], beyond[i][1], access, WEIR_E_RANGE);
    }
    give_up(&view);
    CHECK_OK(weir_section_close(section));
}

Test(registry, what_is_not_published_is_not_found)
{
    check_refused(0, 0, 1, WEIR_READ_ONLY, WEIR_E_NOT_FOUND); /* nothing is */
    check_refused(1, 0, 1, WEIR_READ_ONLY, WEIR_E_NOT_FOUND);
    weir_section *section = create(KIB64);
    uint64_t id = weir_section_id(section);
    weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE);
    check_refused(id, 0, 1, WEIR_READ_ONLY, WEIR_E_NOT_FOUND);
    CHECK_OK(weir_registry_publish(&view));
    check_at(&view, 0, 1, WEIR_READ_ONLY);
    check_refused(0, 0, 1, WEIR_READ_ONLY, WEIR_E_NOT_FOUND);
    check_refused(id - 1, 0, 1, WEIR_READ_ONLY, WEIR_E_NOT_FOUND);
    check_refused(id + 1, 0, 1, WEIR_READ_ONLY, WEIR_E_NOT_FOUND);
    check_refused(UINT64_MAX, 0, 1, WEIR_READ_ONLY, WEIR_E_NOT_FOUND);
    CHECK_OK(weir_registry_retire(&view));
    check_refused(id, 0, 1, WEIR_READ_ONLY, WEIR_E_NOT_FOUND);
    CHECK_OK(weir_registry_retire(&view)); /* it is not published, which is what was wanted */
    CHECK_OK(weir_registry_publish(&view));
    check_at(&view, 0, 1, WEIR_READ_ONLY);
    give_up(&view);
    CHECK_OK(weir_section_close(section));
}

Test(registry, bad_arguments_are_refused)
{
    weir_section *section = create(KIB64);
    uint64_t id = weir_section_id(section);
    weir_view view = publish(section, 0, 0, WEIR_READ_WRITE);
    check_refused(id, 0, 0, WEIR_READ_ONLY, WEIR_E_INVALID);
    check_refused(id, 0, 1, WEIR_COPY_ON_WRITE, WEIR_E_INVALID);
    check_refused(id, 0, 1, (weir_access)-1, WEIR_E_INVALID);
    check_refused(id, 0, 1, (weir_access)3, WEIR_E_INVALID);
    CHECK_STATUS(look_up(id, 0, 1, WEIR_READ_ONLY, NULL), WEIR_E_INVALID);
    give_up(&view);
    CHECK_OK(weir_section_close(section));
}

Test(registry, outside_of_a_read_section_nothing_is_resolved)
{
    weir_section *section = create(KIB64);
    weir_view view = publish(section, 0, 0, WEIR_READ_WRITE);
    weir_ref ref = { weir_section_id(section), 0 };
    void *at = NOWHERE;
    CHECK_KEEPS_ERRNO(weir_resolve(ref, 1, WEIR_READ_ONLY, &at), WEIR_E_STATE);
    CHECK_KEEPS_ERRNO(weir_read_end(), WEIR_E_STATE);
    CHECK_KEEPS_ERRNO(weir_read_begin(), WEIR_OK);
    for (int i = 0; i < 1000; i++)
        CHECK_OK(weir_read_begin());
    for (int i = 0; i < 1000; i++)
        CHECK_OK(weir_read_end());
    CHECK_OK(weir_resolve(ref, 1, WEIR_READ_ONLY, &at)); /* one is left */
    cr_assert_eq(at, view.base);
    CHECK_OK(weir_read_end());
    at = NOWHERE;
    CHECK_STATUS(weir_resolve(ref, 1, WEIR_READ_ONLY, &at), WEIR_E_STATE);
    CHECK_STATUS(weir_read_end(), WEIR_E_STATE);
    cr_assert_eq(at, NOWHERE);
    give_up(&view);
    CHECK_OK(weir_section_close(section));
}

Test(registry, a_read_only_view_gives_no_address_to_write_to)
{
    support_shm_dir();
    weir_section *section = create(4 * KIB64);
    uint64_t id = weir_section_id(section);
    weir_view all = publish(section, 0, 0, WEIR_READ_ONLY);
    check_at(&all, KIB64, 1, WEIR_READ_ONLY);
    check_refused(id, KIB64, 1, WEIR_READ_WRITE, WEIR_E_ACCESS);
    check_refused(id, 4 * KIB64, 1, WEIR_READ_WRITE, WEIR_E_RANGE);
    weir_view part = publish(section, KIB64, KIB64, WEIR_READ_WRITE);
    check_at(&part, KIB64, KIB64, WEIR_READ_WRITE);
    check_at(&part, 2 * KIB64 - 1, 1, WEIR_READ_WRITE);
    check_refused(id, 2 * KIB64 - 1, 2, WEIR_READ_WRITE, WEIR_E_ACCESS);
    check_refused(id, 0, 1, WEIR_READ_WRITE, WEIR_E_ACCESS);
    check_refused(id, 3 * KIB64, 1, WEIR_READ_WRITE, WEIR_E_ACCESS);
    check_refused(id, 3 * KIB64, KIB64 + 1, WEIR_READ_WRITE, WEIR_E_RANGE);
    check_at(&all, 2 * KIB64 - 1, 2, WEIR_READ_ONLY);
    give_up(&part);
    check_refused(id, KIB64, 1, WEIR_READ_WRITE, WEIR_E_ACCESS);
    give_up(&all);
    CHECK_OK(weir_section_close(section));
}

Test(registry, bytes_that_only_two_views_together_cover_are_not_in_one_piece)
{
    weir_section *section = create(3 * KIB64);
    uint64_t id = weir_section_id(section);
    weir_view behind = publish(section, 2 * KIB64, KIB64, WEIR_READ_WRITE);
    check_refused(id, 0, 1, WEIR_READ_ONLY, WEIR_E_RANGE); /* before the first view of it */
    check_refused(id, 2 * KIB64 - 1, 1, WEIR_READ_ONLY, WEIR_E_RANGE);
    weir_view before = publish(section, KIB64, KIB64, WEIR_READ_WRITE);
    check_at(&before, 2 * KIB64 - 1, 1, WEIR_READ_ONLY);
    check_at(&behind, 2 * KIB64, 1, WEIR_READ_ONLY);
    check_refused(id, 2 * KIB64 - 1, 2, WEIR_READ_ONLY, WEIR_E_RANGE);
    check_refused(id, KIB64 - 1, 1, WEIR_READ_ONLY, WEIR_E_RANGE);
    give_up(&behind);
    check_refused(id, 2 * KIB64, 1, WEIR_READ_ONLY, WEIR_E_RANGE);
    give_up(&before);
    CHECK_OK(weir_section_close(section));
}

/* ---- against a plain list ---- */

enum { SECTIONS = 5, VIEWS = 60 };

struct play {
    weir_section *sections[SECTIONS];
    weir_view views[VIEWS];
    weir_access access[VIEWS];
    bool published[VIEWS];
    uint64_t random;
};

static uint64_t below(struct play *p, uint64_t count) { return support_random(&p->random) % count; }

static void compare(struct play *p)
{
    weir_section *section = p->sections[below(p, SECTIONS)];
    uint64_t size = weir_section_size(section), offset = below(p, size + KIB64 / 2);
    uint64_t len = 1 + below(p, below(p, 2) != 0 ? 8 : size);
    weir_access access = below(p, 2) != 0 ? WEIR_READ_ONLY : WEIR_READ_WRITE;
    weir_status expected = WEIR_E_NOT_FOUND;
    void *at = NOWHERE;
    weir_status status = look_up(weir_section_id(section), offset, len, access, &at);
    bool one_of_them = false;
    for (int i = 0; i < VIEWS; i++) {
        const weir_view *v = &p->views[i];
        if (!p->published[i] || v->section != section)
            continue;
        bool covers = offset >= v->offset && offset - v->offset <= v->size && len <= v->size - (offset - v->offset);
        bool fits = covers && (access == WEIR_READ_ONLY || p->access[i] == WEIR_READ_WRITE);
        weir_status by = fits ? WEIR_OK : covers ? WEIR_E_ACCESS : WEIR_E_RANGE;
        int rank[2] = { expected == WEIR_OK ? 3 : expected == WEIR_E_ACCESS ? 2 : expected == WEIR_E_RANGE,
                        by == WEIR_OK ? 3 : by == WEIR_E_ACCESS ? 2 : 1 };
        expected = rank[1] > rank[0] ? by : expected;
        one_of_them = one_of_them || (fits && at == (unsigned char *)v->base + (offset - v->offset));
    }
    CHECK_STATUS(status, expected);
    cr_assert(status == WEIR_OK ? one_of_them : at == NOWHERE);
}

static void change(struct play *p)
{
    uint64_t i = below(p, VIEWS);
    weir_view *v = &p->views[i];
    if (v->base == NULL) {
        weir_section *section = p->sections[below(p, SECTIONS)];
        uint64_t size = weir_section_size(section), offset = below(p, size / KIB64) * KIB64;
        p->access[i] = below(p, 3) == 0 ? WEIR_READ_WRITE : WEIR_READ_ONLY;
        *v = map_view(section, offset, 1 + below(p, size - offset), p->access[i]);
    } else if (!p->published[i]) {
        CHECK_OK(weir_registry_publish(v));
        p->published[i] = true;
    } else {
        CHECK_OK(weir_registry_retire(v));
        p->published[i] = false;
        if (below(p, 2) != 0)
            CHECK_OK(weir_view_unmap(v));
    }
}

Test(registry, it_says_what_a_plain_list_would)
{
    struct play p = { .random = support_seed() };
    for (int i = 0; i < SECTIONS; i++)
        p.sections[i] = create((uint64_t)(1 + i * 3) * KIB64);
    for (uint64_t round = 0; round < support_count(20000); round++) {
        change(&p);
        for (int i = 0; i < 5; i++)
            compare(&p);
    }
    for (int i = 0; i < VIEWS; i++)
        if (p.views[i].base != NULL)
            give_up(&p.views[i]);
    for (int i = 0; i < SECTIONS; i++)
        CHECK_OK(weir_section_close(p.sections[i]));
}

/* ---- the way back ---- */

Test(registry, what_lies_in_a_view_has_a_ref_and_back)
{
    weir_section *section = create(3 * KIB64);
    weir_view view = map_view(section, KIB64, KIB64 + 7, WEIR_READ_WRITE);
    unsigned char *base = view.base;
    weir_ref ref = { 1, 2 };
    CHECK_OK(weir_ref_of(&view, base + 5, KIB64 + 2, &ref));
    cr_assert(ref.section == weir_section_id(section) && ref.offset == KIB64 + 5);
    const struct { const unsigned char *at; uint64_t len; } beyond[] = {
        { base + 5, KIB64 + 3 }, { base - 1, 1 }, { base + KIB64 + 7, 1 }, { base, UINT64_MAX }, { NULL, 1 },
        { base + 8, UINT64_MAX - 7 },
    };
    ref = (weir_ref){ 1, 2 };
    for (size_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++)
        CHECK_STATUS(weir_ref_of(&view, beyond[i].at, beyond[i].len, &ref), WEIR_E_RANGE);
    CHECK_STATUS(weir_ref_of(&view, base, 0, &ref), WEIR_E_INVALID);
    CHECK_STATUS(weir_ref_of(&view, base, 1, NULL), WEIR_E_INVALID);
    CHECK_STATUS(weir_ref_of(NULL, base, 1, &ref), WEIR_E_INVALID);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_STATUS(weir_ref_of(&view, base, 1, &ref), WEIR_E_INVALID);
    cr_assert(ref.section == 1 && ref.offset == 2);
    CHECK_OK(weir_section_close(section));
}

/* ---- publishing and retiring ---- */

static void check_publish(const weir_view *view, weir_status expected)
{
    CHECK_KEEPS_ERRNO(weir_registry_publish(view), expected);
    cr_assert(expected == WEIR_OK || *weir_error_detail() != 0);
}

Test(registry, what_is_published_stays_mapped)
{
    weir_section *section = create(2 * KIB64);
    weir_view view = publish(section, 0, 0, WEIR_READ_WRITE), other = map_view(section, 0, 0, WEIR_READ_ONLY);
    CHECK_STATUS(weir_view_unmap(&view), WEIR_E_BUSY);
    cr_assert(view.base != NULL && touch(view.base, true) == 0);
    check_at(&view, 5, 1, WEIR_READ_WRITE);
    CHECK_OK(weir_view_unmap(&other)); /* that one is not */
    CHECK_STATUS(weir_section_close(section), WEIR_E_BUSY);
    check_publish(&view, WEIR_OK); /* again */
    check_at(&view, 5, 1, WEIR_READ_WRITE);
    give_up(&view);
    check_refused(weir_section_id(section), 5, 1, WEIR_READ_ONLY, WEIR_E_NOT_FOUND);
    CHECK_OK(weir_section_close(section));
}

Test(registry, views_that_no_ref_can_mean_are_not_published)
{
    const char *dir = support_shm_dir();
    char path[600];
    weir_section *file, *section = create(KIB64);
    (void)snprintf(path, sizeof path, "%s/file", dir);
    CHECK_OK(weir_section_open_file(&file, path, KIB64, &(weir_section_options){ .flags = WEIR_FILE_NEW }));
    weir_view of_file = map_view(file, 0, 0, WEIR_READ_WRITE), copy = map_view(section, 0, 0, WEIR_COPY_ON_WRITE);
    weir_ref ref = { 1, 2 };
    check_publish(&of_file, WEIR_E_STATE);
    cr_assert(detail_has("file"), "%s", weir_error_detail());
    CHECK_STATUS(weir_ref_of(&of_file, of_file.base, 1, &ref), WEIR_E_STATE);
    CHECK_OK(weir_registry_retire(&of_file));
    check_publish(&copy, WEIR_E_INVALID);
    check_publish(NULL, WEIR_E_INVALID);
    CHECK_STATUS(weir_registry_retire(NULL), WEIR_E_INVALID);
    CHECK_OK(weir_view_unmap(&copy));
    check_publish(&copy, WEIR_E_INVALID);
    CHECK_STATUS(weir_registry_retire(&copy), WEIR_E_INVALID);
    CHECK_OK(weir_view_unmap(&of_file));
    CHECK_OK(weir_section_close(file));
    CHECK_OK(weir_section_close(section));
}

Test(registry, inside_of_a_read_section_nothing_comes_or_goes)
{
    weir_section *section = create(2 * KIB64);
    weir_view in = publish(section, 0, KIB64, WEIR_READ_WRITE), out = map_view(section, KIB64, 0, WEIR_READ_WRITE);
    CHECK_OK(weir_read_begin());
    check_publish(&out, WEIR_E_STATE);
    CHECK_KEEPS_ERRNO(weir_registry_retire(&in), WEIR_E_STATE);
    CHECK_OK(weir_read_begin()); /* however deep */
    CHECK_STATUS(weir_registry_retire(&in), WEIR_E_STATE);
    CHECK_OK(weir_read_end());
    CHECK_STATUS(weir_registry_retire(&in), WEIR_E_STATE);
    CHECK_OK(weir_read_end());
    check_at(&in, 0, 1, WEIR_READ_ONLY);
    check_refused(weir_section_id(section), KIB64, 1, WEIR_READ_ONLY, WEIR_E_RANGE);
    give_up(&in);
    CHECK_OK(weir_view_unmap(&out));
    CHECK_OK(weir_section_close(section));
}

Test(registry, what_a_section_grows_by_is_resolved_when_its_view_is_published_again)
{
    support_shm_dir();
    weir_section *section;
    weir_view view;
    CHECK_OK(weir_section_create(&section, "Local/growing", 100, NULL));
    CHECK_OK(weir_view_map_growing(&view, section, 8 * KIB64, WEIR_READ_WRITE));
    CHECK_OK(weir_registry_publish(&view));
    uint64_t id = weir_section_id(section);
    check_at(&view, 99, 1, WEIR_READ_WRITE);
    check_refused(id, 100, 1, WEIR_READ_ONLY, WEIR_E_RANGE);
    CHECK_OK(weir_section_extend(section, 3 * KIB64));
    check_refused(id, 100, 1, WEIR_READ_ONLY, WEIR_E_RANGE);
    CHECK_OK(weir_view_refresh(&view));
    check_publish(&view, WEIR_OK);
    check_at(&view, 3 * KIB64 - 1, 1, WEIR_READ_WRITE);
    check_refused(id, 3 * KIB64, 1, WEIR_READ_ONLY, WEIR_E_RANGE);
    give_up(&view);
    check_refused(id, 0, 1, WEIR_READ_ONLY, WEIR_E_NOT_FOUND); /* and not once more */
    CHECK_OK(weir_section_close(section));
}

Test(registry, reserved_room_is_published_where_all_of_it_can_be_touched)
{
    support_shm_dir();
    weir_section *section = reserve("Local/room", 8 * GRANULE, 2 * GRANULE), *other = open_as("Local/room",
                                                                                              WEIR_READ_WRITE);
    weir_view whole = map_view(section, 0, 0, WEIR_READ_WRITE), part = map_view(section, 0, 2 * GRANULE,
                                                                                 WEIR_READ_WRITE);
    check_publish(&whole, WEIR_E_STATE);
    cr_assert(detail_has("committed"), "%s", weir_error_detail());
    check_publish(&part, WEIR_OK);
    void *at;
    CHECK_OK(look_up(weir_section_id(section), 2 * GRANULE - 1, 1, WEIR_READ_WRITE, &at));
    cr_assert_eq(touch(at, true), 0);
    CHECK_OK(weir_section_commit(section, 3 * GRANULE, 5 * GRANULE));
    check_publish(&whole, WEIR_E_STATE); /* one granule is not */
    CHECK_OK(weir_section_commit(other, 2 * GRANULE, GRANULE));
    check_publish(&whole, WEIR_OK); /* others have committed it: it is made reachable */
    for (uint64_t g = 0; g < 8; g++) {
        CHECK_OK(look_up(weir_section_id(section), g * GRANULE, GRANULE, WEIR_READ_WRITE, &at));
        cr_assert_eq(touch(at, true), 0);
    }
    CHECK_OK(weir_section_close(other));
    CHECK_STATUS(weir_section_decommit(section, 7 * GRANULE, GRANULE), WEIR_E_BUSY);
    CHECK_OK(weir_registry_retire(&whole));
    CHECK_STATUS(weir_section_decommit(section, GRANULE, GRANULE), WEIR_E_BUSY); /* there is still that part */
    CHECK_OK(weir_section_decommit(section, 2 * GRANULE, GRANULE));
    check_shape(section, "##.#####");
    CHECK_OK(weir_view_unmap(&whole));
    give_up(&part);
    CHECK_OK(weir_section_close(section));
}

/* ---- two sections that say they are one ---- */

static weir_section *open_named(const char *name)
{
    weir_section *section;
    CHECK_OK(weir_section_open(&section, name, NULL));
    return section;
}

Test(registry, another_section_with_the_same_id_is_refused_and_another_handle_is_not)
{
    const char *dir = prepare();
    weir_section *one, *two;
    CHECK_OK(weir_section_create(&one, "Local/one", KIB64, NULL));
    CHECK_OK(weir_section_create(&two, "Local/two", KIB64, NULL));
    uint64_t id = weir_section_id(one);
    int fd = open(section_path(dir, "Local/two").text, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0 && pwrite(fd, &id, 8, offsetof(weir_section_layout, id)) == 8 && close(fd) == 0);
    weir_section *liar = open_named("Local/two"), *again = open_named("Local/one");
    cr_assert(weir_section_id(liar) == id && weir_section_id(two) != id); /* who had it open knows what it was */
    weir_view view = publish(one, 0, 0, WEIR_READ_WRITE), lie = map_view(liar, 0, 0, WEIR_READ_WRITE);
    weir_view honest = publish(two, 0, 0, WEIR_READ_WRITE);
    check_publish(&lie, WEIR_E_EXISTS);
    cr_assert(detail_has("Local/one") && detail_has("Local/two"), "%s", weir_error_detail());
    check_at(&view, 0, 1, WEIR_READ_ONLY);
    weir_view second = map_view(again, 0, 0, WEIR_READ_WRITE);
    arm(FSTAT, EIO, 1, 1);
    CHECK_KEEPS_ERRNO(weir_registry_publish(&second), WEIR_E_OS);
    arm(FSTAT, EACCES, 2, 1);
    CHECK_KEEPS_ERRNO(weir_registry_publish(&second), WEIR_E_PERMISSION);
    disarm();
    CHECK_OK(weir_view_unmap(&second)); /* it was not published */
    second = publish(again, 0, 0, WEIR_READ_WRITE);
    give_up(&view);
    check_at(&second, 0, 1, WEIR_READ_ONLY);
    give_up(&second);
    check_publish(&lie, WEIR_OK);
    give_up(&lie);
    give_up(&honest);
    CHECK_OK(weir_section_close(again));
    CHECK_OK(weir_section_close(liar));
    CHECK_OK(weir_section_close(two));
    CHECK_OK(weir_section_close(one));
}

/* ---- no memory ---- */

Test(registry, without_memory_nothing_is_published_and_all_can_be_retired)
{
    enum { MANY = 40 };
    weir_section *section = create(MANY * KIB64);
    weir_view views[MANY];
    unsigned refused = 0;
    for (int i = 0; i < MANY; i++) {
        views[i] = map_view(section, (uint64_t)i * KIB64, KIB64, WEIR_READ_ONLY);
        no_memory = true;
        errno = KEPT;
        weir_status status = weir_registry_publish(&views[i]);
        int error = errno;
        no_memory = false;
        cr_assert_eq(error, KEPT);
        if (status != WEIR_OK) {
            refused++;
            CHECK_STATUS(status, WEIR_E_NO_MEMORY);
            check_refused(weir_section_id(section), views[i].offset, 1, WEIR_READ_ONLY,
                          i == 0 ? WEIR_E_NOT_FOUND : WEIR_E_RANGE);
            check_publish(&views[i], WEIR_OK);
        }
        for (int j = 0; j <= i; j++)
            check_at(&views[j], views[j].offset, KIB64, WEIR_READ_ONLY);
    }
    cr_assert_geq(refused, 3u);
    for (int i = MANY - 1; i >= 0; i--) {
        no_memory = true;
        weir_status status = weir_registry_retire(&views[i]);
        no_memory = false;
        CHECK_OK(status);
        for (int j = 0; j < i; j++)
            check_at(&views[j], views[j].offset, KIB64, WEIR_READ_ONLY);
        CHECK_OK(weir_view_unmap(&views[i]));
    }
    check_refused(weir_section_id(section), 0, 1, WEIR_READ_ONLY, WEIR_E_NOT_FOUND);
    CHECK_OK(weir_section_close(section));
}

Test(registry, a_thread_that_cannot_be_registered_is_told_so)
{
    no_handlers = true;
    CHECK_KEEPS_ERRNO(weir_read_begin(), WEIR_E_NO_MEMORY);
    CHECK_STATUS(weir_read_end(), WEIR_E_STATE);
    weir_section *section = create(KIB64);
    weir_view view = map_view(section, 0, 0, WEIR_READ_ONLY);
    check_publish(&view, WEIR_E_NO_MEMORY);
    CHECK_OK(weir_registry_retire(&view)); /* it is not there */
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
}

Test(registry, a_thread_without_memory_for_its_slot_is_told_so_and_can_try_again)
{
    no_memory = true;
    errno = KEPT;
    weir_status status = weir_read_begin();
    cr_assert_eq(errno, KEPT);
    no_memory = false;
    if (strcmp(weir_registry_backend(), "portable") == 0) {
        CHECK_STATUS(status, WEIR_E_NO_MEMORY);
        CHECK_STATUS(weir_read_end(), WEIR_E_STATE);
        CHECK_OK(weir_read_begin());
    } else {
        CHECK_OK(status); /* liburcu has its own memory */
    }
    CHECK_OK(weir_read_end());
}
