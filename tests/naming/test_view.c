#include "sections.h"

#include <criterion/criterion.h>
#include <sys/mman.h>

#define KIB64 UINT64_C(65536)
#define UNTOUCHED ((weir_view){ .base = (void *)(uintptr_t)0x77, .offset = 1, .size = 2 })

static weir_section *create(const char *name, uint64_t size)
{
    weir_section *section;
    CHECK_OK(weir_section_create(&section, name, size, NULL));
    return section;
}

static void check_refused(weir_section *section, uint64_t offset, uint64_t size, weir_access access,
                          weir_status expected)
{
    weir_view view = UNTOUCHED;
    CHECK_STATUS(weir_view_map(&view, section, offset, size, access), expected);
    cr_assert(view.base == UNTOUCHED.base && view.offset == 1 && view.size == 2 && view.section == NULL);
    cr_assert_neq(*weir_error_detail(), 0);
}

Test(view, its_range_is_what_was_asked_for_and_0_means_up_to_the_end)
{
    support_shm_dir();
    weir_section *section = create("v", 3 * KIB64 + 5);
    static const uint64_t rows[][3] = {
        { 0, 0, 3 * KIB64 + 5 },   { 0, 1, 1 },           { 0, 3 * KIB64 + 5, 3 * KIB64 + 5 },
        { KIB64, 0, 2 * KIB64 + 5 }, { KIB64, KIB64, KIB64 }, { 3 * KIB64, 0, 5 },
        { 3 * KIB64, 5, 5 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        weir_view view;
        CHECK_OK(weir_view_map(&view, section, rows[i][0], rows[i][1], WEIR_READ_WRITE));
        cr_assert(view.offset == rows[i][0] && view.size == rows[i][2] && view.section == section);
        memset(view.base, 1, view.size);
        CHECK_OK(weir_view_unmap(&view));
    }
    CHECK_OK(weir_section_close(section));
}

Test(view, a_range_that_is_not_inside_the_content_is_refused)
{
    support_shm_dir();
    weir_section *section = create("v", 2 * KIB64);
    static const uint64_t rows[][2] = {
        { 0, 2 * KIB64 + 1 }, { KIB64, KIB64 + 1 },  { 2 * KIB64, 0 },          { 2 * KIB64, 1 },
        { 3 * KIB64, 0 },     { 0, UINT64_MAX },     { KIB64, UINT64_MAX },     { KIB64, UINT64_MAX - KIB64 + 1 },
        { 0 - KIB64, 0 },     { 0 - KIB64, KIB64 },  { 0 - KIB64, 2 * KIB64 },  { UINT64_C(1) << 63, 1 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check_refused(section, rows[i][0], rows[i][1], WEIR_READ_WRITE, WEIR_E_RANGE);
    CHECK_OK(weir_section_close(section));
}

Test(view, an_offset_that_is_no_multiple_of_64_kib_is_refused)
{
    support_shm_dir();
    weir_section *section = create("v", 4 * KIB64);
    static const uint64_t offsets[] = { 1, 4095, 4096, 8192, 32768, 65535, 65537, 2 * 65536 - 4096 };
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++)
        check_refused(section, offsets[i], 1, WEIR_READ_ONLY, WEIR_E_ALIGNMENT);
    cr_assert(detail_has("64 KiB"), "%s", weir_error_detail());
    CHECK_OK(weir_section_close(section));
}

Test(view, several_of_one_section_are_coherent_at_bases_of_their_own)
{
    support_shm_dir();
    weir_section *section = create("v", 4 * KIB64), *other;
    CHECK_OK(weir_section_open(&other, "v", NULL));
    weir_view whole, part, again;
    CHECK_OK(weir_view_map(&whole, section, 0, 0, WEIR_READ_WRITE));
    CHECK_OK(weir_view_map(&part, section, KIB64, KIB64, WEIR_READ_WRITE));
    CHECK_OK(weir_view_map(&again, other, KIB64, 0, WEIR_READ_ONLY));
    cr_assert(whole.base != part.base && part.base != again.base && whole.base != again.base);
    unsigned char *all = whole.base, *one = part.base;
    const unsigned char *seen = again.base;
    for (uint64_t i = 0; i < KIB64; i += 97) {
        all[KIB64 + i] = (unsigned char)(i % 251);
        cr_assert_eq(one[i], i % 251);
        one[i]++;
        cr_assert_eq(all[KIB64 + i], (unsigned char)(i % 251 + 1));
        cr_assert_eq(seen[i], (unsigned char)(i % 251 + 1));
    }
    cr_assert_eq(all[KIB64 - 1], 0);
    cr_assert_eq(all[2 * KIB64], 0);
    CHECK_OK(weir_view_unmap(&whole));
    cr_assert_eq(one[0], 1); /* the others stay */
    CHECK_OK(weir_view_unmap(&part));
    CHECK_OK(weir_view_unmap(&again));
    CHECK_OK(weir_section_close(other));
    CHECK_OK(weir_section_close(section));
}

static void write_word(void *arg)
{
    section_job *job = arg;
    weir_view view;
    CHECK_OK(weir_section_open(&job->section, job->name, NULL));
    CHECK_OK(weir_view_map(&view, job->section, KIB64, 0, WEIR_READ_WRITE));
    strcpy(view.base, "from the child");
}

Test(view, what_another_process_writes_is_seen)
{
    support_shm_dir();
    weir_section *section = create("v", 2 * KIB64);
    weir_view view;
    CHECK_OK(weir_view_map(&view, section, KIB64, 0, WEIR_READ_ONLY));
    section_job job = { .name = "v" };
    holder h = holder_start(write_word, NULL, &job);
    cr_assert_str_eq(view.base, "from the child");
    holder_kill(&h);
    cr_assert_str_eq(view.base, "from the child");
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
}

Test(view, access_is_never_wider_than_the_handles_and_no_wider_than_asked_for)
{
    const char *dir = support_shm_dir();
    weir_section *section = create("v", 4096), *observer;
    weir_view view;
    unsigned writable = mappings_of(dir).writable;
    CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_ONLY));
    cr_assert_eq(mappings_of(dir).writable, writable);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE));
    cr_assert_eq(mappings_of(dir).writable, writable + 1);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_open(&observer, "v", &(weir_section_options){ .access = WEIR_READ_ONLY }));
    check_refused(observer, 0, 0, WEIR_READ_WRITE, WEIR_E_ACCESS);
    cr_assert(detail_has("Local/v") && detail_has("read-only"), "%s", weir_error_detail());
    cr_assert_eq(mappings_of(dir).writable, writable);
    CHECK_OK(weir_section_close(observer));
    CHECK_OK(weir_section_close(section));
}

Test(view, unmap_gives_the_addresses_up_and_knows_a_view_that_is_not_mapped)
{
    const char *dir = support_shm_dir();
    weir_section *section = create("v", 4096);
    weir_view view;
    unsigned before = mappings_of(dir).all;
    CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE));
    cr_assert_eq(mappings_of(dir).all, before + 1);
    CHECK_OK(weir_view_unmap(&view));
    cr_assert_eq(mappings_of(dir).all, before);
    cr_assert_null(view.base);
    CHECK_STATUS(weir_view_unmap(&view), WEIR_E_INVALID);
    CHECK_STATUS(weir_view_unmap(NULL), WEIR_E_INVALID);
    CHECK_STATUS(weir_view_unmap(&(weir_view){ .base = NULL }), WEIR_E_INVALID);
    CHECK_OK(weir_section_close(section));
    cr_assert_eq(mappings_of(dir).all, 0);
}

Test(view, one_mapped_before_extend_stays_and_one_mapped_after_it_sees_the_rest)
{
    support_shm_dir();
    weir_section *section = create("v", KIB64), *other;
    CHECK_OK(weir_section_open(&other, "v", NULL));
    weir_view old, new;
    CHECK_OK(weir_view_map(&old, section, 0, 0, WEIR_READ_WRITE));
    check_refused(other, KIB64, 0, WEIR_READ_WRITE, WEIR_E_RANGE);
    CHECK_OK(weir_section_extend(other, 2 * KIB64));
    cr_assert_eq(old.size, KIB64);
    CHECK_OK(weir_view_map(&new, section, KIB64, 0, WEIR_READ_WRITE)); /* it has not asked for the size since */
    cr_assert_eq(new.size, KIB64);
    memset(old.base, 1, old.size);
    memset(new.base, 2, new.size);
    CHECK_OK(weir_view_unmap(&old));
    CHECK_OK(weir_view_unmap(&new));
    CHECK_OK(weir_section_close(other));
    CHECK_OK(weir_section_close(section));
}

Test(view, an_offset_is_not_taken_modulo_4_gib)
{
    support_shm_dir();
    weir_section *section = create("v", KIB64);
    uint64_t offset = UINT64_C(1) << 32;
    check_refused(section, offset, 1, WEIR_READ_ONLY, WEIR_E_RANGE);
    check_refused(section, 0, offset + 1, WEIR_READ_ONLY, WEIR_E_RANGE);
    CHECK_OK(weir_section_close(section));
}

/* Is that flag ("dc" not for forked children, "dd" not for dumps) on the mapping at base? */
static bool has_flag(const void *base, const char *flag)
{
    char line[1024], start[32];
    (void)snprintf(start, sizeof start, "%lx-", (unsigned long)(uintptr_t)base);
    FILE *maps = fopen("/proc/self/smaps", "re");
    CHECK(maps != NULL);
    bool inside = false, found = false;
    while (fgets(line, sizeof line, maps) != NULL) {
        if (strncmp(line, start, strlen(start)) == 0)
            inside = true;
        else if (inside && strncmp(line, "VmFlags:", 8) == 0) {
            found = strstr(line, flag) != NULL;
            break;
        }
    }
    (void)fclose(maps);
    CHECK(inside);
    return found;
}

Test(view, it_is_neither_inherited_nor_dumped)
{
    const char *dir = support_shm_dir();
    weir_section *section = create("v", 4096);
    weir_view view;
    CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE));
    cr_assert(has_flag(view.base, " dc"));
    cr_assert(has_flag(view.base, " dd"));
    pid_t child = fork();
    if (child == 0)
        _exit((int)mappings_of(dir).all); /* the header's would be one as well */
    cr_assert_eq(support_wait(child), 0);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
}

Test(view, unmap_in_a_forked_child_leaves_what_has_come_to_these_addresses_since)
{
    support_shm_dir();
    weir_section *section = create("v", 4096);
    weir_view view;
    CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE));
    strcpy(view.base, "parent");
    pid_t child = fork();
    if (child == 0) {
        char *base = view.base;
        void *mine = mmap(base, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        CHECK(mine == (void *)base);
        strcpy(base, "child");
        CHECK_STATUS(weir_view_map(&(weir_view){ .base = NULL }, section, 0, 0, WEIR_READ_ONLY), WEIR_E_FORKED);
        CHECK_OK(weir_view_unmap(&view));
        CHECK(strcmp(base, "child") == 0);
        CHECK_STATUS(weir_view_unmap(&view), WEIR_E_INVALID);
        CHECK_OK(weir_section_close(section));
        CHECK(strcmp(base, "child") == 0);
        _exit(0);
    }
    cr_assert_eq(support_wait(child), 0);
    cr_assert_str_eq(view.base, "parent");
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
}
