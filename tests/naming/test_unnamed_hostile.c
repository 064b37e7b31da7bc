/* Unnamed sections whose bytes somebody else has written: a status, never a fault. */
#include "handles.h"

#include <weir/naming/participant.h>
#include <weir/naming/section_layout.h>

#include <criterion/criterion.h>

#define KIB64 UINT64_C(65536)

struct image {
    weir_handle handle;
    unsigned char header[WEIR_SECTION_HEADER];
};

static struct image image_of(uint64_t size, weir_section_options options)
{
    struct image image;
    weir_section *section = unnamed_of(size, options);
    image.handle = export_of(section, RW);
    CHECK_OK(weir_section_close(section));
    CHECK(pread((int)image.handle, image.header, sizeof image.header, 0) == (ssize_t)sizeof image.header);
    return image;
}

static void poke(const struct image *image, uint64_t off, size_t bytes, uint64_t value)
{
    CHECK(pwrite((int)image->handle, &value, bytes, (off_t)off) == (ssize_t)bytes); /* little-endian */
}

static void heal(const struct image *image)
{
    CHECK(pwrite((int)image->handle, image->header, sizeof image->header, 0) == (ssize_t)sizeof image->header);
    CHECK_OK(weir_section_close(attach_of(image->handle, RW)));
}

#define FIELD(name) offsetof(weir_section_layout, name), sizeof((weir_section_layout *)0)->name

Test(unnamed_hostile, each_field_of_the_header_is_checked)
{
    const uint32_t nameless = WEIR_SECTION_NAMELESS;
    const struct {
        uint64_t off;
        size_t bytes;
        uint64_t value;
        weir_status expected;
        const char *text;
    } rows[] = {
        { FIELD(magic), 0, WEIR_E_NOT_WEIR, "no weir section" },
        { FIELD(magic), WEIR_SECTION_MAGIC ^ 1, WEIR_E_NOT_WEIR, "no weir section" },
        { FIELD(magic), WEIR_SECTION_MAGIC ^ UINT64_C(1) << 63, WEIR_E_NOT_WEIR, "no weir section" },
        { FIELD(version), 0, WEIR_E_VERSION, "version 0" },
        { FIELD(version), WEIR_SECTION_VERSION - 1, WEIR_E_VERSION, "version 2" },
        { FIELD(version), WEIR_SECTION_VERSION + 1, WEIR_E_VERSION, "version 4" },
        { FIELD(version), UINT32_MAX, WEIR_E_VERSION, "version 4294967295" },
        { FIELD(content), 7, WEIR_E_MISMATCH, "0x7" },
        { FIELD(slots), WEIR_SLOTS_MAX + 1, WEIR_E_CORRUPT, "slots 257" },
        { FIELD(slots), UINT32_MAX, WEIR_E_CORRUPT, "slots 4294967295" },
        { FIELD(flags), 0, WEIR_E_CORRUPT, "flags" },
        { FIELD(flags), nameless | 8, WEIR_E_CORRUPT, "flags" },
        { FIELD(flags), nameless | 0x80000000u, WEIR_E_CORRUPT, "flags" },
        { FIELD(flags), nameless | WEIR_SECTION_RESERVED, WEIR_E_CORRUPT, "bytes of content" },
        { FIELD(size), 0, WEIR_E_CORRUPT, "states 0 bytes" },
        { FIELD(size), 4097, WEIR_E_CORRUPT, "states 4097 bytes" },
        { FIELD(size), WEIR_SECTION_SIZE_MAX, WEIR_E_CORRUPT, "bytes of content" },
        { FIELD(size), WEIR_SECTION_SIZE_MAX + 1, WEIR_E_CORRUPT, "bytes of content" },
        { FIELD(size), UINT64_MAX, WEIR_E_CORRUPT, "bytes of content" },
        { FIELD(size), UINT64_MAX - 4095, WEIR_E_CORRUPT, "bytes of content" },
    };
    struct image image = image_of(4096, (weir_section_options){ .slots = 3, .label = "image" });
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        poke(&image, rows[i].off, rows[i].bytes, rows[i].value);
        check_refused_both(image.handle, rows[i].expected, rows[i].text);
        heal(&image);
    }
    CHECK_OK(weir_handle_close(image.handle));
}

/* No weir gives it out so; which of the two it is called matters to nobody. */
static void check_no_section(weir_handle handle)
{
    for (int access = RW; access <= COW; access++) {
        weir_section *section = UNTOUCHED;
        weir_section_options options = { .access = (weir_access)access };
        weir_status status = weir_section_attach(&section, handle, &options);
        cr_assert(status == WEIR_E_NOT_WEIR || status == WEIR_E_CORRUPT || status == WEIR_E_STATE, "it gave %s",
                  weir_status_name(status));
        cr_assert_eq(section, UNTOUCHED);
    }
}

Test(unnamed_hostile, what_says_that_it_is_being_made_is_no_section)
{
    uint64_t making = WEIR_SECTION_MAGIC_MAKING;
    struct image image = image_of(4096, (weir_section_options){ 0 });
    poke(&image, FIELD(magic), making);
    check_no_section(image.handle);
    CHECK_OK(weir_handle_close(image.handle));
    int fd = memfd_create("making", MFD_CLOEXEC | MFD_ALLOW_SEALING); /* that word, and nothing else */
    cr_assert_eq(write(fd, &making, sizeof making), sizeof making);
    check_no_section(fd);
    check_no_section(file_with("/tmp/weir-test-making", &making, sizeof making));
}

Test(unnamed_hostile, a_header_that_says_persistent_or_has_a_name_is_impossible)
{
    struct image image = image_of(4096, (weir_section_options){ 0 });
    poke(&image, FIELD(flags), WEIR_SECTION_NAMELESS | WEIR_SECTION_PERSISTENT);
    check_refused_both(image.handle, WEIR_E_CORRUPT, "flags");
    heal(&image);
    for (uint32_t flags = 0; flags <= WEIR_SECTION_NAMELESS; flags += WEIR_SECTION_NAMELESS) {
        poke(&image, FIELD(flags), flags);
        poke(&image, offsetof(weir_section_layout, name), 8, UINT64_C(0x782f6c61636f4c)); /* "Local/x" */
        check_no_section(image.handle);
    }
    heal(&image);
    CHECK_OK(weir_handle_close(image.handle));
}

Test(unnamed_hostile, fields_that_may_have_any_value_are_no_hindrance)
{
    struct image image = image_of(8192, (weir_section_options){ .slots = WEIR_SLOTS_MAX });
    poke(&image, FIELD(size), 4097);
    for (uint64_t off = offsetof(weir_section_layout, reserved); off < WEIR_SECTION_HEADER; off += 8)
        poke(&image, off, 8, UINT64_MAX - off);
    weir_section *section = attach_of(image.handle, RW);
    cr_assert_eq(weir_section_size(section), 4097);
    for (uint32_t slot = 0; slot < WEIR_SLOTS_MAX; slot++) {
        weir_participant seen, before;
        CHECK_OK(weir_participant_look(section, slot, &seen));
        CHECK_OK(weir_participant_claim(section, slot, 1, &before));
        CHECK_OK(weir_participant_join(section, &before));
    }
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_handle_close(image.handle));
}

Test(unnamed_hostile, one_that_was_cut_off_is_refused)
{
    static const struct {
        off_t size;
        weir_status expected;
        const char *text;
    } rows[] = {
        { 8191, WEIR_E_CORRUPT, "has 8191" },         { 4097, WEIR_E_CORRUPT, "has 4097" },
        { 4096, WEIR_E_CORRUPT, "has 4096" },         { 4095, WEIR_E_CORRUPT, "cut off after 4095" },
        { 12, WEIR_E_CORRUPT, "cut off after 12" },   { 11, WEIR_E_CORRUPT, "cut off after 11" },
        { 8, WEIR_E_CORRUPT, "cut off after 8" },     { 7, WEIR_E_NOT_WEIR, "no weir section" },
        { 0, WEIR_E_NOT_WEIR, "no weir section" },
    };
    struct image image = image_of(4096, (weir_section_options){ 0 });
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_assert_eq(ftruncate((int)image.handle, rows[i].size), 0);
        check_refused_both(image.handle, rows[i].expected, rows[i].text);
    }
    CHECK_OK(weir_handle_close(image.handle));
}

Test(unnamed_hostile, a_map_of_commitments_of_any_bits_gives_sections_that_can_be_used)
{
    struct image image = image_of(100 * KIB64, (weir_section_options){ .flags = WEIR_RESERVE, .commit_bytes = KIB64 });
    for (uint64_t off = 0; off < 4096; off += 8)
        poke(&image, WEIR_SECTION_HEADER + off, 8, UINT64_C(0x5555555555555555) << (off / 8 & 1));
    weir_section *section = attach_of(image.handle, RW);
    weir_view view = view_of(section, RW);
    for (uint64_t granule = 0; granule < 100; granule++) {
        uint64_t bytes = 1;
        bool committed;
        CHECK_OK(weir_section_committed(section, granule * KIB64, &bytes, &committed));
        if (committed)
            ((char *)view.base)[granule * KIB64] = 1;
    }
    CHECK_OK(weir_section_commit(section, 0, 0));
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_handle_close(image.handle));
}

/* Whatever stands in a header: a status, or a section inside its file. */
static void attach_to_anything(const struct image *image)
{
    for (int access = RW; access <= RO; access++) {
        weir_section *section = UNTOUCHED;
        weir_section_options options = { .access = (weir_access)access };
        weir_status status = weir_section_attach(&section, image->handle, &options);
        cr_assert((status == WEIR_OK) == (section != UNTOUCHED));
        if (status != WEIR_OK) {
            cr_assert(status == WEIR_E_NOT_WEIR || status == WEIR_E_VERSION || status == WEIR_E_CORRUPT ||
                      status == WEIR_E_MISMATCH || status == WEIR_E_STATE, "it gave %s", weir_status_name(status));
            continue;
        }
        cr_assert(weir_section_size(section) > 0 && weir_section_size(section) <= 100 * KIB64 + 4096);
        weir_view view = view_of(section, RO);
        CHECK_OK(weir_view_refresh(&view));
        CHECK_OK(weir_view_unmap(&view));
        CHECK_OK(weir_section_close(section));
    }
}

Test(unnamed_hostile, random_bytes_in_the_header_give_a_status_or_a_section_inside_its_file)
{
    static const weir_section_options kinds[] = { { .slots = 3 }, { .flags = WEIR_RESERVE, .commit_bytes = KIB64 } };
    static const uint64_t values[] = { 0, 1, 2, 4, 5, 6, 7, 255, 256, 4096, 65536, UINT32_MAX, WEIR_SECTION_SIZE_MAX };
    uint64_t seed = support_seed();
    for (size_t kind = 0; kind < 2; kind++) {
        struct image image = image_of(100 * KIB64, kinds[kind]);
        unsigned fds = open_fds();
        for (uint64_t round = 0; round < support_count(4000); round++) {
            for (uint64_t i = 0; i <= support_random(&seed) % 3; i++) {
                uint64_t r = support_random(&seed), off = r % 3 == 0 ? r / 3 % 4088 : r / 3 % 248;
                uint64_t value = r >> 60 < 8 ? values[r >> 32 & 7] : r >> 60 < 12 ? values[8 + (r >> 32) % 5] : r;
                poke(&image, off, 1u << (r >> 40) % 4, value);
            }
            attach_to_anything(&image);
            CHECK(pwrite((int)image.handle, image.header, sizeof image.header, 0) == (ssize_t)sizeof image.header);
        }
        cr_assert_eq(open_fds(), fds);
        cr_assert_eq(mappings_of("/memfd:").all, 0);
        heal(&image);
        CHECK_OK(weir_handle_close(image.handle));
    }
}
