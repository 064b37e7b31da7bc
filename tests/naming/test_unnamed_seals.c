/* Seals: each holds against everybody, by weir and by the bare descriptor, from creation or from later on. */
#include "handles.h"

#include <weir/naming/file.h>
#include <weir/naming/os_linux.h>
#include <weir/naming/participant.h>

#include <criterion/criterion.h>

#define KIB64 UINT64_C(65536)
#define EVERY (WEIR_SEAL_SHRINK | WEIR_SEAL_GROW | WEIR_SEAL_WRITE | WEIR_SEAL_SEAL)

static uint32_t seals_of(unsigned bits)
{
    static const uint32_t each[] = { WEIR_SEAL_SHRINK, WEIR_SEAL_GROW, WEIR_SEAL_WRITE, WEIR_SEAL_SEAL };
    uint32_t seals = 0;
    for (unsigned i = 0; i < 4; i++)
        seals |= (bits >> i & 1) != 0 ? each[i] : 0;
    return seals;
}

/* Does it hold exactly these, against whoever has a writable descriptor? */
static void check_descriptor(weir_section *section, uint32_t seals)
{
    weir_handle handle = export_of(section, RW);
    int fd = (int)handle;
    struct stat st;
    cr_assert_eq(weir_section_seals(section), seals);
    cr_assert_eq(fstat(fd, &st), 0);
    bool written = pwrite(fd, "x", 1, st.st_size - 1) == 1;
    cr_assert_eq(written, (seals & WEIR_SEAL_WRITE) == 0);
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    cr_assert_eq(at != MAP_FAILED, (seals & WEIR_SEAL_WRITE) == 0);
    if (at != MAP_FAILED)
        (void)munmap(at, 4096);
    at = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    cr_assert_neq(at, MAP_FAILED);
    cr_assert_eq(mprotect(at, 4096, PROT_READ | PROT_WRITE) == 0, (seals & WEIR_SEAL_WRITE) == 0);
    (void)munmap(at, 4096);
    at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    cr_assert_neq(at, MAP_FAILED);
    (void)munmap(at, 4096);
    cr_assert_eq(ftruncate(fd, st.st_size + 4096) == 0, (seals & WEIR_SEAL_GROW) == 0);
    cr_assert_eq(fallocate(fd, 0, st.st_size + 4096, 4096) == 0, (seals & WEIR_SEAL_GROW) == 0);
    cr_assert_eq(ftruncate(fd, st.st_size - 4096) == 0, (seals & WEIR_SEAL_SHRINK) == 0);
    cr_assert_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0, (seals & WEIR_SEAL_SEAL) == 0);
    CHECK_OK(weir_handle_close(handle));
}

Test(seals, none_is_set_unless_asked_for)
{
    weir_section *section = unnamed_of(8192, (weir_section_options){ 0 });
    check_descriptor(section, 0);
    CHECK_OK(weir_section_close(section));
}

Test(seals, every_combination_holds_from_creation_on)
{
    for (unsigned bits = 1; bits < 16; bits++) {
        uint32_t seals = seals_of(bits);
        if ((seals & WEIR_SEAL_WRITE) != 0)
            continue; /* below */
        weir_section *section = unnamed_of(8192, (weir_section_options){ .flags = seals });
        put_pattern(section, 1);
        check_descriptor(section, seals);
        CHECK_OK(weir_section_close(section));
    }
}

static weir_status fill(void *content, uint64_t size, void *arg)
{
    (void)arg;
    memset(content, 'i', size);
    return WEIR_OK;
}

Test(seals, sealed_against_writing_at_creation_it_keeps_what_init_put_there)
{
    for (unsigned bits = 1; bits < 16; bits++) {
        uint32_t seals = seals_of(bits);
        if ((seals & WEIR_SEAL_WRITE) == 0)
            continue;
        weir_view view;
        weir_section *section = unnamed_of(8192, (weir_section_options){ .flags = seals, .init = fill });
        CHECK_STATUS(weir_view_map(&view, section, 0, 0, RW), WEIR_E_ACCESS);
        view = view_of(section, RO);
        cr_assert(all_bytes(view.base, view.size, 'i'));
        CHECK_OK(weir_view_unmap(&view));
        weir_handle handle = export_of(section, RO);
        weir_section *reader = attach_of(handle, RO);
        view = view_of(reader, RO);
        cr_assert(all_bytes(view.base, view.size, 'i'));
        CHECK_OK(weir_view_unmap(&view));
        CHECK_OK(weir_section_close(reader));
        CHECK_OK(weir_handle_close(handle));
        check_descriptor(section, seals);
        CHECK_OK(weir_section_close(section));
    }
}

Test(seals, every_combination_holds_when_it_was_added_later_by_whoever_attached)
{
    for (unsigned bits = 1; bits < 16; bits++) {
        weir_section *section = unnamed_of(8192, (weir_section_options){ 0 });
        weir_handle handle = export_of(section, RW);
        weir_section *other = attach_of(handle, RW), *reader = attach_of(handle, RO);
        CHECK_KEEPS_ERRNO(weir_section_seal(other, seals_of(bits)), WEIR_OK);
        cr_assert_eq(weir_section_seals(section), seals_of(bits));
        cr_assert_eq(weir_section_seals(reader), seals_of(bits));
        check_descriptor(section, seals_of(bits));
        CHECK_OK(weir_section_close(other));
        CHECK_OK(weir_section_close(reader));
        CHECK_OK(weir_section_close(section));
        CHECK_OK(weir_handle_close(handle));
    }
}

Test(seals, they_add_up_one_at_a_time_until_none_may_be_added)
{
    weir_section *section = unnamed_of(8192, (weir_section_options){ .flags = WEIR_SEAL_GROW });
    CHECK_OK(weir_section_seal(section, WEIR_SEAL_SHRINK));
    cr_assert_eq(weir_section_seals(section), WEIR_SEAL_GROW | WEIR_SEAL_SHRINK);
    CHECK_OK(weir_section_seal(section, WEIR_SEAL_SHRINK)); /* again */
    CHECK_OK(weir_section_seal(section, WEIR_SEAL_SEAL));
    cr_assert_eq(weir_section_seals(section), WEIR_SEAL_GROW | WEIR_SEAL_SHRINK | WEIR_SEAL_SEAL);
    for (unsigned bits = 1; bits < 16; bits++) {
        CHECK_KEEPS_ERRNO(weir_section_seal(section, seals_of(bits)), WEIR_E_PERMISSION);
        cr_assert(detail_has("cannot seal weir"), "%s", weir_error_detail());
    }
    cr_assert_eq(weir_section_seals(section), WEIR_SEAL_GROW | WEIR_SEAL_SHRINK | WEIR_SEAL_SEAL);
    put_pattern(section, 1); /* these seals are not against writing */
    CHECK_OK(weir_section_close(section));
}

/* ---- what each means for weir's own calls ---- */

Test(seals, against_writing_old_views_go_on_and_no_new_one_is_to_be_had)
{
    weir_section *section = unnamed_of(2 * KIB64, (weir_section_options){ .slots = 1, .label = "fixed" });
    weir_handle writes = export_of(section, RW), reads = export_of(section, RO);
    weir_section *other = attach_of(writes, RW), *reader = attach_of(reads, RO);
    weir_view mine = view_of(section, RW), seen = view_of(reader, RO), none = { .base = NULL };
    CHECK_OK(weir_section_seal(section, WEIR_SEAL_WRITE));
    strcpy(mine.base, "after the seal");
    cr_assert_str_eq(seen.base, "after the seal");
    unsigned fds = open_fds(), maps = mappings_of("/memfd:fixed").all;
    for (int i = 0; i < 2; i++) {
        CHECK_KEEPS_ERRNO(weir_view_map(&none, i == 0 ? section : other, 0, 0, RW), WEIR_E_ACCESS);
        cr_assert(none.base == NULL && detail_has("fixed") && detail_has("sealed"));
    }
    cr_assert(open_fds() == fds && mappings_of("/memfd:fixed").all == maps);
    check_refused(writes, (weir_section_options){ .access = RW }, WEIR_E_ACCESS, handle_text(writes));
    cr_assert(detail_has("sealed against writing"));
    for (int access = RO; access <= COW; access++) {
        weir_section *late = attach_of(access == RO ? writes : reads, (weir_access)access);
        weir_participant before;
        CHECK_STATUS(weir_participant_claim(late, 0, 1, &before), WEIR_E_PERMISSION);
        weir_view copy = view_of(late, COW);
        cr_assert_str_eq(copy.base, "after the seal");
        strcpy(copy.base, "mine alone");
        cr_assert_str_eq(seen.base, "after the seal");
        CHECK_OK(weir_view_unmap(&copy));
        CHECK_OK(weir_section_close(late));
    }
    weir_view copy = view_of(section, COW);
    memset(copy.base, 1, copy.size);
    cr_assert_str_eq(seen.base, "after the seal");
    CHECK_OK(weir_view_unmap(&copy));
    CHECK_OK(weir_view_unmap(&mine));
    CHECK_STATUS(weir_view_map(&none, section, 0, 0, RW), WEIR_E_ACCESS);
    CHECK_OK(weir_view_unmap(&seen));
    CHECK_OK(weir_section_close(other));
    CHECK_OK(weir_section_close(reader));
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_handle_close(writes));
    CHECK_OK(weir_handle_close(reads));
}

Test(seals, against_writing_reserved_room_stays_as_it_was)
{
    weir_section_options options = { .flags = WEIR_RESERVE, .commit_bytes = 2 * KIB64 };
    weir_section *section = unnamed_of(4 * KIB64, options);
    weir_view view = view_of(section, RW);
    memset(view.base, 'c', 2 * KIB64);
    CHECK_OK(weir_section_seal(section, WEIR_SEAL_WRITE));
    CHECK_KEEPS_ERRNO(weir_section_decommit(section, 0, KIB64), WEIR_E_PERMISSION);
    CHECK_KEEPS_ERRNO(weir_section_commit(section, KIB64, 2 * KIB64), WEIR_E_PERMISSION);
    CHECK_OK(weir_section_commit(section, 0, 2 * KIB64)); /* it is */
    uint64_t bytes = 4 * KIB64;
    bool committed = false;
    CHECK_OK(weir_section_committed(section, 0, &bytes, &committed));
    cr_assert(committed && bytes == 2 * KIB64, "it is no longer committed");
    cr_assert(all_bytes(view.base, 2 * KIB64, 'c'));
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
}

Test(seals, against_growth_extend_is_permission_and_changes_nothing)
{
    static const uint64_t sizes[] = { 100, 4096, 3 * KIB64 };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        weir_section *section = unnamed_of(sizes[i], (weir_section_options){ .flags = WEIR_SEAL_GROW });
        weir_handle handle = export_of(section, RW);
        weir_section *other = attach_of(handle, RW);
        put_pattern(section, 1);
        CHECK_KEEPS_ERRNO(weir_section_extend(section, sizes[i] + KIB64), WEIR_E_PERMISSION);
        cr_assert_neq(*weir_error_detail(), 0);
        CHECK_STATUS(weir_section_extend(other, sizes[i] + 4096), WEIR_E_PERMISSION);
        CHECK_OK(weir_section_extend(section, sizes[i])); /* it is that long */
        CHECK_OK(weir_section_extend(section, 1));
        cr_assert(weir_section_size(section) == sizes[i] && weir_section_size(other) == sizes[i]);
        cr_assert(has_pattern(section, 1) && has_pattern(other, 1));
        CHECK_OK(weir_section_close(other));
        other = attach_of(handle, RW);
        cr_assert(has_pattern(other, 1));
        CHECK_OK(weir_section_close(other));
        CHECK_OK(weir_section_close(section));
        CHECK_OK(weir_handle_close(handle));
    }
}

Test(seals, against_growth_reserved_room_can_be_committed_still)
{
    weir_section *section = unnamed_of(3 * KIB64 + 1, (weir_section_options){ .flags = WEIR_RESERVE | WEIR_SEAL_GROW });
    CHECK_OK(weir_section_commit(section, 0, 0));
    put_pattern(section, 1);
    CHECK_OK(weir_section_decommit(section, 0, 0));
    CHECK_OK(weir_section_commit(section, 0, 0));
    weir_view view = view_of(section, RW);
    cr_assert(all_bytes(view.base, view.size, 0));
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
}

Test(seals, against_shrinking_extend_gives_zeroed_memory_still)
{
    weir_section *section = unnamed_of(100, (weir_section_options){ .flags = WEIR_SEAL_SHRINK });
    put_pattern(section, 1);
    CHECK_OK(weir_section_extend(section, KIB64));
    weir_view view = view_of(section, RW);
    cr_assert_eq(view.size, KIB64);
    for (uint64_t i = 0; i < 100; i++)
        cr_assert_eq(((unsigned char *)view.base)[i], pattern_at(i, 1));
    cr_assert(all_bytes((char *)view.base + 100, KIB64 - 100, 0));
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
}

/* ---- statuses ---- */

static void check_not_sealed(weir_section *section, uint32_t seals, weir_status expected)
{
    uint32_t before = weir_section_seals(section);
    CHECK_KEEPS_ERRNO(weir_section_seal(section, seals), expected);
    cr_assert_neq(*weir_error_detail(), 0);
    errno = KEPT;
    cr_assert_eq(weir_section_seals(section), before);
    cr_assert_eq(errno, KEPT);
}

Test(seals, what_is_no_seal_is_invalid)
{
    static const uint32_t rows[] = { 0, 1, WEIR_RESERVE, WEIR_SEAL_GROW | 1, 0x1000, EVERY | 0x1000, UINT32_MAX };
    weir_section *section = unnamed_of(8192, (weir_section_options){ 0 });
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check_not_sealed(section, rows[i], WEIR_E_INVALID);
    cr_assert_eq(weir_section_seals(section), 0);
    CHECK_OK(weir_section_close(section));
}

Test(seals, a_section_that_may_only_be_read_cannot_be_sealed_by_its_reader)
{
    weir_section *section = unnamed_of(8192, (weir_section_options){ 0 });
    weir_handle handle = export_of(section, RW);
    for (int access = RO; access <= COW; access++) {
        weir_section *reader = attach_of(handle, (weir_access)access);
        for (unsigned bits = 1; bits < 16; bits++)
            check_not_sealed(reader, seals_of(bits), WEIR_E_PERMISSION);
        cr_assert(detail_has(access == RO ? "read-only" : "copy-on-write"), "%s", weir_error_detail());
        CHECK_OK(weir_section_close(reader));
    }
    cr_assert_eq(weir_section_seals(section), 0);
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_handle_close(handle));
}

Test(seals, named_and_file_sections_have_none)
{
    const char *dir = support_shm_dir();
    weir_section *named, *file;
    char path[512];
    (void)snprintf(path, sizeof path, "%s/file", dir);
    CHECK_OK(weir_section_create(&named, "Local/named", 4096, NULL));
    CHECK_OK(weir_section_open_file(&file, path, 4096, &(weir_section_options){ .flags = WEIR_FILE_NEW }));
    cr_assert(weir_section_seals(named) == 0 && weir_section_seals(file) == 0);
    check_not_sealed(named, WEIR_SEAL_GROW, WEIR_E_STATE);
    cr_assert(detail_has("Local/named"));
    check_not_sealed(file, WEIR_SEAL_SEAL, WEIR_E_STATE);
    cr_assert(detail_has(path));
    CHECK_OK(weir_section_close(named));
    CHECK_OK(weir_section_close(file));
    weir_section *none = UNTOUCHED;
    for (unsigned bits = 1; bits < 16; bits++) {
        weir_section_options options = { .flags = seals_of(bits) };
        CHECK_STATUS(weir_section_create(&none, "Local/named", 4096, &options), WEIR_E_INVALID);
        CHECK_STATUS(weir_section_open_file(&none, path, 0, &options), WEIR_E_INVALID);
    }
    cr_assert_eq(none, UNTOUCHED);
}

static int refuse_error;

static int refuse_to_add(int fd, int command, int value)
{
    if (command != F_ADD_SEALS)
        return fcntl(fd, command, value);
    errno = refuse_error;
    return -1;
}

static int refuse_all(int fd, int command, int value)
{
    (void)fd, (void)command, (void)value;
    errno = refuse_error;
    return -1;
}

Test(seals, what_the_kernel_refuses_has_its_status_also_at_creation_where_it_leaves_nothing)
{
    static const struct {
        int error;
        weir_status status;
    } rows[] = {
        { EINVAL, WEIR_E_UNSUPPORTED }, /* F_SEAL_FUTURE_WRITE before Linux 5.1 */
        { EPERM, WEIR_E_PERMISSION },
        { EIO, WEIR_E_OS },
    };
    weir_section *section = unnamed_of(8192, (weir_section_options){ 0 }), *none = UNTOUCHED;
    weir_section_options options = { .flags = WEIR_SEAL_WRITE };
    unsigned fds = open_fds();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        refuse_error = rows[i].error;
        weir_linux.seals = refuse_to_add;
        check_not_sealed(section, WEIR_SEAL_WRITE, rows[i].status);
        CHECK_KEEPS_ERRNO(weir_section_create_unnamed(&none, 4096, &options), rows[i].status);
        cr_assert(none == UNTOUCHED && open_fds() == fds);
        weir_linux.seals = refuse_all;
        cr_assert_eq(weir_section_seals(section), 0);
    }
    CHECK_OK(weir_section_close(section));
}
