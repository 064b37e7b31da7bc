/* Reserved room whose bytes somebody else has written: a status, and the library itself stays inside. */
#include "commit.h"

#include <criterion/criterion.h>
#include <sys/mman.h>

#define NAME "Local/room"
#define SIZE (66 * GRANULE - PAGE) /* more than one word of the map, and a short last granule */
#define GRANULES 66
#define UNTOUCHED ((weir_section *)(uintptr_t)0x1234)

static path_text path;

static void poke(uint64_t off, const void *bytes, size_t size)
{
    int fd = open(path.text, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0 && pwrite(fd, bytes, size, (off_t)off) == (ssize_t)size && close(fd) == 0);
}

static void poke_u32(uint64_t off, uint32_t value)
{
    poke(off, &value, sizeof value);
}

static void poke_u64(uint64_t off, uint64_t value)
{
    poke(off, &value, sizeof value);
}

static uint64_t length(void)
{
    struct stat st;
    CHECK(stat(path.text, &st) == 0);
    return (uint64_t)st.st_size;
}

#define FLAGS_OFF offsetof(weir_section_layout, flags)
#define SIZE_OFF offsetof(weir_section_layout, size)
#define MAP_OFF WEIR_SECTION_HEADER

static weir_section *make(uint64_t commit_bytes)
{
    weir_section *section;
    weir_section_options options = { .flags = WEIR_RESERVE | WEIR_PERSISTENT, .commit_bytes = commit_bytes };
    CHECK_OK(weir_section_create(&section, NAME, SIZE, &options));
    return section;
}

static const char *begin(void)
{
    const char *dir = support_shm_dir();
    path = section_path(dir, NAME);
    return dir;
}

/* ---- under an open handle ---- */

Test(commit_hostile, a_size_that_changes_under_a_handle_is_corrupt_and_the_handle_keeps_its_own)
{
    begin();
    weir_section *section = make(2 * GRANULE), *observer = open_as(NAME, WEIR_READ_ONLY);
    weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE);
    static const uint64_t sizes[] = {
        0, 1, GRANULE, SIZE - 1, SIZE + 1, 2 * SIZE, WEIR_SECTION_SIZE_MAX, WEIR_SECTION_SIZE_MAX + 1, UINT64_MAX,
    };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        poke_u64(SIZE_OFF, sizes[i]);
        uint64_t bytes = 5;
        bool committed = true;
        weir_view none = { .offset = 7 };
        CHECK_KEEPS_ERRNO(weir_section_commit(section, 3 * GRANULE, 1), WEIR_E_CORRUPT);
        CHECK_KEEPS_ERRNO(weir_section_decommit(section, 0, GRANULE), WEIR_E_CORRUPT);
        CHECK_KEEPS_ERRNO(weir_section_committed(observer, 0, &bytes, &committed), WEIR_E_CORRUPT);
        cr_assert(bytes == 5 && committed);
        CHECK_KEEPS_ERRNO(weir_view_map(&none, observer, 0, 0, WEIR_READ_ONLY), WEIR_E_CORRUPT);
        cr_assert(detail_has(NAME), "%s", weir_error_detail());
        cr_assert(none.base == NULL && none.offset == 7);
        cr_assert(weir_section_size(section) == SIZE && weir_section_size(observer) == SIZE);
        CHECK_OK(weir_view_refresh(&view));
        cr_assert(touch(view.base, true) == 0 &&
                  touch((unsigned char *)view.base + 3 * GRANULE, false) == SIGSEGV);
        poke_u64(SIZE_OFF, SIZE);
        CHECK_OK(weir_section_committed(observer, 0, &bytes, &committed));
    }
    CHECK_OK(weir_section_commit(section, 3 * GRANULE, 1));
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(observer));
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_section_remove(NAME));
}

Test(commit_hostile, flags_that_change_under_a_handle_are_not_looked_at_again)
{
    const char *dir = begin();
    weir_section *section = make(2 * GRANULE), *plain;
    for (uint32_t flags = 0; flags < 16; flags++) {
        poke_u32(FLAGS_OFF, flags);
        CHECK_STATUS(weir_section_extend(section, 2 * SIZE), WEIR_E_STATE);
        CHECK_OK(weir_section_commit(section, 5 * GRANULE, 1));
        cr_assert(is_committed(section, 5) && !is_committed(section, 4));
        CHECK_OK(weir_section_decommit(section, 5 * GRANULE, GRANULE));
        weir_section_info info;
        CHECK_OK(weir_section_stat(NAME, &info));
    }
    CHECK_OK(weir_section_close(section));
    cr_assert(exists(path.text)); /* it persists: the handle knows */
    poke_u32(FLAGS_OFF, WEIR_SECTION_PERSISTENT | WEIR_SECTION_RESERVED);
    CHECK_OK(weir_section_remove(NAME));
    CHECK_OK(weir_section_create(&plain, NAME, SIZE, NULL));
    poke_u32(FLAGS_OFF, WEIR_SECTION_PERSISTENT | WEIR_SECTION_RESERVED);
    CHECK_STATUS(weir_section_commit(plain, 0, 1), WEIR_E_STATE);
    uint64_t bytes = 0;
    bool committed = false;
    CHECK_OK(weir_section_committed(plain, 0, &bytes, &committed));
    cr_assert(committed && bytes == SIZE);
    CHECK_OK(weir_section_close(plain));
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(commit_hostile, bits_are_taken_as_they_stand_and_those_behind_the_last_granule_are_none)
{
    begin();
    weir_section *section = make(0);
    uint64_t last = ~UINT64_C(0) << (GRANULES - 64); /* all that stand for no granule */
    poke_u64(MAP_OFF + 8, last);
    for (uint64_t off = MAP_OFF + 16; off < MAP_OFF + PAGE; off += 8)
        poke_u64(off, UINT64_MAX);
    uint64_t run = 0;
    bool committed;
    CHECK_OK(weir_section_committed(section, 0, &run, &committed));
    cr_assert(!committed && run == SIZE);
    weir_section_info info;
    CHECK_OK(weir_section_stat(NAME, &info));
    cr_assert_eq(info.committed, 0);
    CHECK_OK(weir_section_commit(section, 65 * GRANULE, 0));
    run = 0;
    CHECK_OK(weir_section_committed(section, 65 * GRANULE, &run, &committed));
    cr_assert(committed && run == GRANULE - PAGE);
    CHECK_OK(weir_section_stat(NAME, &info));
    cr_assert_eq(info.committed, GRANULE - PAGE);
    CHECK_OK(weir_section_decommit(section, 0, 0));
    CHECK_OK(weir_section_stat(NAME, &info));
    cr_assert_eq(info.committed, 0);
    uint64_t word;
    unsigned char image[MAP_OFF + 16];
    cr_assert_eq(file_read(path.text, image, sizeof image), sizeof image);
    memcpy(&word, image + MAP_OFF + 8, sizeof word);
    cr_assert_eq(word, last); /* and nobody touched them */
    CHECK_OK(weir_section_close(section));
    section = open_as(NAME, WEIR_READ_WRITE);
    CHECK_OK(weir_section_stat(NAME, &info));
    cr_assert(info.committed == 0 && info.resident == shape_bytes(SIZE, ""));
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_section_remove(NAME));
}

/* ---- before it is opened ---- */

static void check_open(weir_status expected)
{
    uint64_t before = length();
    for (weir_access access = WEIR_READ_WRITE; access <= WEIR_READ_ONLY; access++) {
        weir_section *section = UNTOUCHED;
        unsigned fds = open_fds();
        CHECK_KEEPS_ERRNO(weir_section_open(&section, NAME, &(weir_section_options){ .access = access }), expected);
        if (expected == WEIR_OK)
            CHECK_OK(weir_section_close(section));
        else
            cr_assert(section == UNTOUCHED && *weir_error_detail() != 0);
        cr_assert_eq(open_fds(), fds);
    }
    cr_assert_eq(length(), before);
}

Test(commit_hostile, a_header_that_the_file_does_not_bear_out_is_corrupt_and_left_alone)
{
    const char *dir = begin();
    CHECK_OK(weir_section_close(make(2 * GRANULE)));
    static const uint32_t flags[] = { 8, 0x10, 0x80000000u, 4, 5, 6, 7, 0xffffffffu };
    static const uint64_t sizes[] = { 0, SIZE + 1, 2 * SIZE, WEIR_SECTION_SIZE_MAX, WEIR_SECTION_SIZE_MAX + 1,
                                      UINT64_MAX, UINT64_MAX - PAGE, UINT64_C(1) << 63 };
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        poke_u32(FLAGS_OFF, flags[i]);
        check_open(WEIR_E_CORRUPT);
        CHECK_KEEPS_ERRNO(weir_section_remove(NAME), WEIR_E_CORRUPT);
    }
    poke_u32(FLAGS_OFF, WEIR_SECTION_PERSISTENT | WEIR_SECTION_RESERVED);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        poke_u64(SIZE_OFF, sizes[i]);
        check_open(WEIR_E_CORRUPT);
        CHECK_KEEPS_ERRNO(weir_section_remove(NAME), WEIR_E_CORRUPT);
    }
    poke_u64(SIZE_OFF, SIZE);
    check_open(WEIR_OK);
    /* Cut: in the content, in the map, in the header. */
    static const off_t lengths[] = { MAP_OFF + PAGE + SIZE - 1, MAP_OFF + PAGE, MAP_OFF + PAGE - 1, MAP_OFF, 2048, 9 };
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        CHECK(truncate(path.text, lengths[i]) == 0);
        check_open(WEIR_E_CORRUPT);
    }
    cr_assert_eq(unlink(path.text), 0);
    cr_assert_eq(rmdir(local_dir(dir).text), 0);
}

Test(commit_hostile, a_section_that_says_it_reserved_nothing_is_read_as_one_that_did_not)
{
    begin();
    CHECK_OK(weir_section_close(make(2 * GRANULE)));
    poke_u32(FLAGS_OFF, WEIR_SECTION_PERSISTENT);
    weir_section *section = open_as(NAME, WEIR_READ_WRITE);
    CHECK_STATUS(weir_section_commit(section, 0, 1), WEIR_E_STATE);
    cr_assert_eq(weir_section_size(section), SIZE);
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_section_remove(NAME));
}

Test(commit_hostile, bits_for_memory_that_is_not_there_harm_only_who_touches_it)
{
    begin();
    CHECK_OK(weir_section_close(make(GRANULE)));
    poke_u64(MAP_OFF, 0x3);
    CHECK(truncate(path.text, (off_t)(MAP_OFF + PAGE + SIZE)) == 0);
    weir_section *section = open_as(NAME, WEIR_READ_WRITE), *observer = open_as(NAME, WEIR_READ_ONLY);
    weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE), look = map_view(observer, 0, 0, WEIR_READ_ONLY);
    cr_assert(is_committed(section, 1) && is_committed(observer, 1));
    weir_memory memory;
    CHECK_OK(weir_view_memory(&view, &memory));
    CHECK_OK(weir_view_refresh(&look));
    CHECK_OK(weir_section_commit(section, 0, 2 * GRANULE));
    CHECK_OK(weir_view_unmap(&look));
    CHECK_OK(weir_section_close(observer));
    CHECK_OK(weir_section_decommit(section, 0, 2 * GRANULE));
    CHECK_OK(weir_section_commit(section, 0, 2 * GRANULE)); /* mended */
    cr_assert_eq(bytes_taken(path.text), shape_bytes(SIZE, "##"));
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_section_remove(NAME));
}

/* What stands there when it is mapped is not what stood there when it was looked at. */
static weir_linux_calls real;
static uint64_t poke_off, poke_value;
static size_t poke_len;

static void *poke_and_map(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    poke(poke_off, &poke_value, poke_len);
    return real.mmap(at, size, protection, flags, fd, offset);
}

Test(commit_hostile, a_header_that_changes_while_it_is_opened_is_a_status)
{
    begin();
    CHECK_OK(weir_section_close(make(2 * GRANULE)));
    static const struct { uint64_t off, value; size_t len; weir_status expected; } rows[] = {
        { SIZE_OFF, 0, 8, WEIR_E_CORRUPT },
        { SIZE_OFF, SIZE + 1, 8, WEIR_E_CORRUPT },
        { SIZE_OFF, SIZE * 1000, 8, WEIR_E_CORRUPT },
        { SIZE_OFF, WEIR_SECTION_SIZE_MAX, 8, WEIR_E_CORRUPT },
        { SIZE_OFF, UINT64_MAX, 8, WEIR_E_CORRUPT },
        { FLAGS_OFF, 8, 4, WEIR_E_CORRUPT },
        { 0, WEIR_SECTION_MAGIC_MAKING, 8, WEIR_E_CORRUPT },
        { offsetof(weir_section_layout, slots), WEIR_SLOTS_MAX + 1, 4, WEIR_E_CORRUPT },
        { offsetof(weir_section_layout, content), 9, 4, WEIR_E_MISMATCH },
        { SIZE_OFF, SIZE - GRANULE, 8, WEIR_OK },
    };
    real = weir_linux;
    unsigned char image[PAGE];
    cr_assert_eq(file_read(path.text, image, sizeof image), sizeof image);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (weir_access access = WEIR_READ_WRITE; access <= WEIR_READ_ONLY; access++) {
            weir_section *section = UNTOUCHED;
            unsigned fds = open_fds(), mapped = mappings_of(path.text).all;
            poke_off = rows[i].off;
            poke_value = rows[i].value;
            poke_len = rows[i].len;
            weir_linux.mmap = poke_and_map;
            CHECK_KEEPS_ERRNO(weir_section_open(&section, NAME, &(weir_section_options){ .access = access }),
                              rows[i].expected);
            weir_linux.mmap = real.mmap;
            if (rows[i].expected == WEIR_OK)
                CHECK_OK(weir_section_close(section));
            else
                cr_assert_eq(section, UNTOUCHED);
            poke(0, image, sizeof image);
            cr_assert(open_fds() == fds && mappings_of(path.text).all == mapped);
            check_open(WEIR_OK);
        }
    CHECK_OK(weir_section_remove(NAME));
}

/* ---- at random ---- */

static uint64_t seed;

static uint64_t below(uint64_t limit)
{
    return support_random(&seed) % limit;
}

static void scramble(void)
{
    if (below(3) == 0)
        poke_u32(FLAGS_OFF, below(2) == 0 ? (uint32_t)below(8) : (uint32_t)support_random(&seed));
    if (below(3) == 0)
        poke_u64(SIZE_OFF, below(2) == 0 ? below(2 * SIZE) : support_random(&seed) >> below(64));
    for (uint64_t i = below(20); i > 0; i--)
        poke_u64(MAP_OFF + below(PAGE / 8) * 8 % (below(2) == 0 ? 16 : PAGE), support_random(&seed));
    if (below(8) == 0) /* anything in the header but its beginning and its name */
        poke_u64(offsetof(weir_section_layout, size) + 8 * below(480), support_random(&seed));
}

static bool any_of(weir_status status, const weir_status *expected)
{
    for (; *expected != WEIR_OK; expected++)
        if (status == *expected)
            return true;
    return status == WEIR_OK;
}

/* Every call of the handle, at random; whatever they say, what comes back is inside. */
static void use(weir_section *section, weir_access access)
{
    static const weir_status any[] = { WEIR_E_RANGE, WEIR_E_CORRUPT, WEIR_E_STATE, WEIR_E_PERMISSION, WEIR_E_IN_USE,
                                       WEIR_E_ALIGNMENT, WEIR_OK };
    weir_view view = { .base = NULL };
    for (int i = 0; i < 12; i++) {
        uint64_t offset = below(SIZE), size = below(4 * GRANULE), bytes = size;
        bool committed;
        weir_memory memory;
        weir_status status = WEIR_OK;
        switch (below(6)) {
        case 0:
            status = weir_section_commit(section, offset, size);
            break;
        case 1:
            status = weir_section_decommit(section, offset, size);
            break;
        case 2:
            status = weir_section_committed(section, offset, &bytes, &committed);
            CHECK(status != WEIR_OK || (bytes > 0 && (size == 0 || bytes <= size)));
            break;
        case 3:
            if (view.base == NULL)
                status = weir_view_map(&view, section, below(GRANULES) * GRANULE, 0, access);
            break;
        case 4:
            if (view.base != NULL && (status = weir_view_refresh(&view)) == WEIR_OK)
                status = weir_view_memory(&view, &memory);
            break;
        default:
            scramble();
            break;
        }
        CHECK(any_of(status, any) || !fprintf(stderr, "%s: %s\n", weir_status_name(status), weir_error_detail()));
        CHECK(weir_section_size(section) <= length());
    }
    if (view.base != NULL)
        CHECK_OK(weir_view_unmap(&view));
}

Test(commit_hostile, random_flags_sizes_and_bits_give_statuses_and_the_file_keeps_its_length)
{
    const char *dir = begin();
    seed = support_seed();
    uint64_t opened = 0, rounds = support_count(2500);
    unsigned char image[MAP_OFF + PAGE];
    CHECK_OK(weir_section_close(make(2 * GRANULE)));
    uint64_t whole = length();
    cr_assert_eq(file_read(path.text, image, sizeof image), sizeof image);
    for (uint64_t round = 0; round < rounds; round++) {
        static const weir_status any[] = { WEIR_E_CORRUPT, WEIR_E_NOT_FOUND, WEIR_OK };
        weir_access access = below(2) == 0 ? WEIR_READ_WRITE : WEIR_READ_ONLY;
        weir_section *section = NULL;
        weir_section_info info;
        if (!exists(path.text)) /* it said it does not persist */
            CHECK_OK(weir_section_close(make(2 * GRANULE)));
        poke(0, image, sizeof image);
        scramble();
        weir_status status = weir_section_open(&section, NAME, &(weir_section_options){ .access = access });
        CHECK(any_of(status, any));
        if (status == WEIR_OK) {
            opened++;
            use(section, access);
            CHECK_OK(weir_section_close(section));
        }
        if (!exists(path.text))
            continue;
        CHECK_OK(weir_section_stat(NAME, &info));
        CHECK(info.committed <= whole);
        CHECK(length() == whole && bytes_taken(path.text) <= whole + PAGE);
    }
    cr_assert_gt(opened, rounds / 10);
    cr_assert_eq(mappings_of(dir).all, 0);
    if (exists(path.text)) {
        poke(0, image, sizeof image);
        CHECK_OK(weir_section_remove(NAME));
    }
    cr_assert_eq(support_entries(dir, true), 0);
}
