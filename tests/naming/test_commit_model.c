/* Reserved room against a model of it, at random, and at its limits. */
#include "commit.h"

#include <criterion/criterion.h>
#include <sys/resource.h>

#define NAME "Local/room"
#define TIB (UINT64_C(1) << 40)

/* ---- the model: a byte a granule ---- */

struct model {
    weir_section *section;
    weir_view view; /* of all, reached as this handle commits; base NULL where that is too much */
    const char *path;
    uint64_t size, granules;
    unsigned char *committed; /* 0 or 1 */
    unsigned char *content;   /* what every byte of the granule is */
    uint64_t seed;
};

static uint64_t below(struct model *m, uint64_t limit)
{
    return support_random(&m->seed) % limit;
}

/* A range inside the room: of any length, of a few bytes, or of a few granules; often at a boundary, or the end. */
static void any_range(struct model *m, uint64_t *offset, uint64_t *size, uint64_t size_max)
{
    *offset = below(m, m->size);
    switch (below(m, 4)) {
    case 0:
        *offset -= *offset % GRANULE;
        break;
    case 1:
        *offset -= *offset % (64 * GRANULE); /* a word of the map begins there */
        break;
    default:
        break;
    }
    uint64_t left = m->size - *offset, most = left < size_max ? left : size_max;
    *size = 1 + (below(m, 2) == 0 ? below(m, most) : below(m, most < 3 * GRANULE ? most : 3 * GRANULE));
    if (below(m, 4) == 0)
        *size = (*offset + *size + GRANULE - 1) / GRANULE * GRANULE - *offset;
    if (*size > left)
        *size = left;
    if (*size == left && below(m, 2) == 0)
        *size = 0; /* up to the end */
}

static void set(struct model *m, uint64_t granule, int byte)
{
    m->content[granule] = (unsigned char)byte;
    if (m->view.base != NULL)
        fill_bytes(&m->view, granule, byte);
}

static void commit(struct model *m)
{
    uint64_t offset, size;
    any_range(m, &offset, &size, 200 * GRANULE);
    CHECK_OK(weir_section_commit(m->section, offset, size));
    uint64_t end = size == 0 ? m->size : offset + size;
    for (uint64_t g = offset / GRANULE; g * GRANULE < end; g++) {
        if (m->committed[g] == 0)
            m->content[g] = 0;
        m->committed[g] = 1;
        if (m->view.base != NULL)
            check_bytes(&m->view, g, m->content[g]);
        if (below(m, 2) == 0)
            set(m, g, (int)below(m, 256));
    }
}

static void decommit(struct model *m)
{
    uint64_t offset, size;
    any_range(m, &offset, &size, UINT64_MAX);
    CHECK_OK(weir_section_decommit(m->section, offset, size));
    uint64_t end = size == 0 ? m->size : offset + size;
    for (uint64_t g = (offset + GRANULE - 1) / GRANULE; g < m->granules; g++) {
        if (g * GRANULE + granule_bytes(m->size, g) > end)
            break;
        m->committed[g] = 0;
    }
}

static void ask(struct model *m)
{
    uint64_t offset, size;
    any_range(m, &offset, &size, UINT64_MAX);
    uint64_t end = size == 0 ? m->size : offset + size, got = size, g = offset / GRANULE;
    bool committed;
    CHECK_OK(weir_section_committed(m->section, offset, &got, &committed));
    CHECK(committed == (m->committed[g] != 0));
    while (g * GRANULE < end && m->committed[g] == (committed ? 1 : 0))
        g++;
    CHECK(got == (g * GRANULE < end ? g * GRANULE : end) - offset);
}

static void check_all(struct model *m)
{
    uint64_t bytes = 0, committed = 0;
    for (uint64_t g = 0; g < m->granules; g++)
        if (m->committed[g] != 0) {
            CHECK(is_committed(m->section, g));
            if (m->view.base != NULL)
                check_bytes(&m->view, g, m->content[g]);
            committed += granule_bytes(m->size, g);
            bytes += (granule_bytes(m->size, g) + PAGE - 1) / PAGE * PAGE;
        }
    CHECK(bytes_taken(m->path) == weir_section_content_off(WEIR_SECTION_RESERVED, m->size) + bytes);
    weir_section_info info;
    CHECK_OK(weir_section_stat(NAME, &info));
    CHECK(info.committed == committed && info.size == m->size);
}

static void run(const char *dir, uint64_t size, uint64_t rounds, bool with_view, uint64_t seed)
{
    path_text path = section_path(dir, NAME);
    struct model m = { .size = size, .granules = weir_section_granules(size), .path = path.text, .seed = seed };
    m.committed = calloc(m.granules, 1);
    m.content = calloc(m.granules, 1);
    CHECK(m.committed != NULL && m.content != NULL);
    m.section = reserve(NAME, size, 0);
    if (with_view)
        m.view = map_view(m.section, 0, 0, WEIR_READ_WRITE);
    for (uint64_t round = 0; round < rounds; round++) {
        switch (below(&m, 4)) {
        case 0:
            commit(&m);
            break;
        case 1:
            decommit(&m);
            break;
        default:
            ask(&m);
            break;
        }
        if (round % 16 == 0)
            check_all(&m);
    }
    check_all(&m);
    if (with_view)
        CHECK_OK(weir_view_unmap(&m.view));
    CHECK_OK(weir_section_close(m.section));
    free(m.committed);
    free(m.content);
    cr_assert_eq(support_entries(dir, true), 0);
}

/* Sizes end with a page: what a partial one costs is a test of its own. */
Test(commit_model, random_commits_decommits_and_questions_agree_with_a_byte_a_granule)
{
    const char *dir = support_shm_dir();
    uint64_t seed = support_seed();
    static const uint64_t sizes[] = {
        PAGE, GRANULE, 2 * GRANULE - PAGE, 63 * GRANULE, 64 * GRANULE, 64 * GRANULE + PAGE, 65 * GRANULE,
        130 * GRANULE - PAGE,
    };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        run(dir, sizes[i], support_count(sizes[i] > 4 * GRANULE ? 200 : 100), true, seed + i + 1);
}

Test(commit_model, the_same_in_a_room_of_a_tebibyte_whose_map_of_commitments_has_many_pages)
{
    const char *dir = support_shm_dir();
    uint64_t seed = support_seed();
    run(dir, TIB, support_count(100), false, seed);
    run(dir, TIB - 3 * GRANULE + PAGE, support_count(100), false, seed + 1);
}

/* ---- limits ---- */

Test(commit_model, the_largest_room_there_is_can_be_reserved_and_used_at_both_ends)
{
    const char *dir = support_shm_dir();
    char text[4096];
    FILE *meminfo = fopen("/proc/meminfo", "re");
    CHECK(meminfo != NULL);
    size_t len = fread(text, 1, sizeof text - 1, meminfo);
    (void)fclose(meminfo);
    text[len] = 0;
    const char *available = strstr(text, "MemAvailable:");
    if (available == NULL || strtoull(available + 13, NULL, 10) < 512 * 1024) {
        (void)printf("SKIPPED: a map of commitments of 256 MiB needs more memory than there is\n");
        cr_skip_test("memory");
    }
    uint64_t size = WEIR_SECTION_SIZE_MAX, map = UINT64_C(256) << 20;
    path_text path = section_path(dir, NAME);
    weir_section *section;
    weir_section_options options = { .flags = WEIR_RESERVE | WEIR_PERSISTENT, .commit_bytes = 1 };
    CHECK_OK(weir_section_create(&section, NAME, size, &options));
    cr_assert_eq(weir_section_size(section), size);
    cr_assert_eq(bytes_taken(path.text), WEIR_SECTION_HEADER + map + GRANULE);
    CHECK_OK(weir_section_commit(section, size - 1, 0));
    CHECK_OK(weir_section_commit(section, size / 2 - 1, 2));
    CHECK_STATUS(weir_section_commit(section, size, 0), WEIR_E_RANGE);
    CHECK_STATUS(weir_section_commit(section, 1, size), WEIR_E_RANGE);
    CHECK_STATUS(weir_section_commit(section, 0, 0), WEIR_E_NO_SPACE);
    static const struct { uint64_t from, run; bool is; } runs[] = {
        { 0, GRANULE, true },
        { GRANULE, WEIR_SECTION_SIZE_MAX / 2 - 2 * GRANULE, false },
        { WEIR_SECTION_SIZE_MAX / 2 - GRANULE, 2 * GRANULE, true },
        { WEIR_SECTION_SIZE_MAX / 2 + GRANULE, WEIR_SECTION_SIZE_MAX / 2 - 2 * GRANULE, false },
        { WEIR_SECTION_SIZE_MAX - GRANULE, GRANULE, true },
    };
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        uint64_t got = 0;
        bool is;
        CHECK_OK(weir_section_committed(section, runs[i].from, &got, &is));
        cr_assert(got == runs[i].run && is == runs[i].is, "run %zu is of %llu", i, (unsigned long long)got);
    }
    weir_view view, none;
    CHECK_STATUS(weir_view_map(&none, section, 0, 0, WEIR_READ_WRITE), WEIR_E_NO_MEMORY); /* all addresses there are */
    CHECK_OK(weir_view_map(&view, section, size - 2 * GRANULE, 0, WEIR_READ_WRITE));
    unsigned char *base = view.base;
    cr_assert_eq(touch(base, false), SIGSEGV);
    memset(base + GRANULE, 0x17, GRANULE);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
    section = open_as(NAME, WEIR_READ_WRITE);
    view = map_view(section, size - GRANULE, GRANULE, WEIR_READ_ONLY);
    cr_assert_eq(((unsigned char *)view.base)[GRANULE - 1], 0x17);
    CHECK_OK(weir_section_decommit(section, GRANULE, 0));
    cr_assert_eq(touch(view.base, false), SIGSEGV);
    CHECK_OK(weir_view_unmap(&view));
    cr_assert_eq(bytes_taken(path.text), WEIR_SECTION_HEADER + map + GRANULE);
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_section_remove(NAME));
    cr_assert_eq(support_entries(dir, true), 0);
}

static void limit_file_size(uint64_t bytes)
{
    struct rlimit limit = { .rlim_cur = bytes, .rlim_max = RLIM_INFINITY };
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

/* With SIGXFSZ as it is by default, which ends the program. */
static int reserve_over_the_limit(bool named)
{
    pid_t child = fork();
    if (child == 0) {
        weir_section *section = NULL;
        weir_section_options options = { .flags = WEIR_RESERVE };
        (void)signal(SIGXFSZ, SIG_DFL);
        limit_file_size(16 * GRANULE);
        weir_status status = named ? weir_section_create(&section, NAME, 17 * GRANULE, &options)
                                   : weir_section_create_unnamed(&section, 17 * GRANULE, &options);
        CHECK_STATUS(status, WEIR_E_NO_SPACE);
        CHECK(section == NULL && detail_has("ulimit -f"));
        _exit(0);
    }
    return support_wait(child);
}

Test(commit_model, room_over_the_limit_on_file_sizes_is_a_status_and_no_signal)
{
    const char *dir = support_shm_dir();
    int ended = reserve_over_the_limit(true);
    cr_assert_eq(ended, 0, "ended with %d", ended);
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(commit_model, room_without_a_name_over_the_limit_on_file_sizes_is_a_status_and_no_signal)
{
    support_shm_dir();
    int ended = reserve_over_the_limit(false);
    cr_assert_eq(ended, 0, "ended with %d", ended);
}

/* The kernel asks of the limit only where a file becomes longer: whether the library does is its own affair. */
Test(commit_model, a_commit_over_the_limit_on_file_sizes_is_no_signal_and_one_under_it_is_served)
{
    const char *dir = support_shm_dir();
    weir_section *section = reserve(NAME, 17 * GRANULE, 0);
    limit_file_size(16 * GRANULE);
    CHECK_OK(weir_section_commit(section, 0, GRANULE));
    weir_status status = weir_section_commit(section, 16 * GRANULE, 1);
    cr_assert(status == WEIR_OK || (status == WEIR_E_NO_SPACE && detail_has("ulimit -f")), "%s: %s",
              weir_status_name(status), weir_error_detail());
    check_shape(section, status == WEIR_OK ? "#...............#" : "#................");
    CHECK_OK(weir_section_decommit(section, 0, 0));
    cr_assert_eq(bytes_taken(section_path(dir, NAME).text), shape_bytes(17 * GRANULE, ""));
    CHECK_OK(weir_section_close(section));
    cr_assert_eq(support_entries(dir, true), 0);
}
