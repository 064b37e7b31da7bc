/* The number that refs call a section by. */
#include "faults.h"

#include <weir/naming/file.h>
#include <weir/naming/unnamed.h>

static weir_section *create(const char *name, const weir_section_options *options)
{
    weir_section *section;
    CHECK_OK(weir_section_create(&section, name, 4096, options));
    return section;
}

Test(section_id, each_section_has_one_of_its_own_that_is_never_0)
{
    support_shm_dir();
    enum { MANY = 200 };
    uint64_t ids[MANY];
    for (int i = 0; i < MANY; i++) {
        weir_section *section;
        if (i % 2 != 0)
            section = create("Local/same", NULL);
        else
            CHECK_OK(weir_section_create_unnamed(&section, 4096, NULL));
        ids[i] = weir_section_id(section);
        cr_assert_neq(ids[i], 0);
        for (int j = 0; j < i; j++)
            cr_assert_neq(ids[j], ids[i]);
        CHECK_OK(weir_section_close(section));
    }
}

Test(section_id, it_is_the_same_for_all_who_have_it_open_and_stays)
{
    const char *dir = support_shm_dir();
    weir_section *section = create("Global/one", &(weir_section_options){ .flags = WEIR_PERSISTENT }), *other;
    uint64_t id = weir_section_id(section), stored;
    for (weir_access access = WEIR_READ_WRITE; access <= WEIR_COPY_ON_WRITE; access++) {
        CHECK_OK(weir_section_open(&other, "Global/one", &(weir_section_options){ .access = access }));
        cr_assert_eq(weir_section_id(other), id);
        CHECK_OK(weir_section_close(other));
    }
    CHECK_OK(weir_section_extend(section, 100000));
    cr_assert_eq(weir_section_id(section), id);
    int fd = open(section_path(dir, "Global/one").text, O_RDONLY | O_CLOEXEC);
    cr_assert_eq(pread(fd, &stored, sizeof stored, 248), sizeof stored); /* as naming/README.md has it */
    cr_assert_eq(stored, id);
    CHECK(close(fd) == 0);
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_section_open(&section, "Global/one", NULL)); /* nobody had it open meanwhile */
    cr_assert_eq(weir_section_id(section), id);
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_section_remove("Global/one"));
}

Test(section_id, it_goes_with_a_section_that_is_handed_over)
{
    support_shm_dir();
    weir_section *section, *attached;
    weir_handle handle;
    CHECK_OK(weir_section_create_unnamed(&section, 4096, NULL));
    CHECK_OK(weir_section_export(section, WEIR_READ_ONLY, false, &handle));
    CHECK_OK(weir_section_attach(&attached, handle, &(weir_section_options){ .access = WEIR_READ_ONLY }));
    cr_assert_eq(weir_section_id(attached), weir_section_id(section));
    CHECK_OK(weir_handle_close(handle));
    CHECK_OK(weir_section_close(attached));
    CHECK_OK(weir_section_close(section));
}

Test(section_id, a_file_has_none)
{
    const char *dir = support_shm_dir();
    char path[600];
    weir_section *section;
    (void)snprintf(path, sizeof path, "%s/file", dir);
    CHECK_OK(weir_section_open_file(&section, path, 4096, &(weir_section_options){ .flags = WEIR_FILE_NEW }));
    cr_assert_eq(weir_section_id(section), 0);
    CHECK_OK(weir_section_close(section));
    CHECK(unlink(path) == 0);
}

/* What the system draws. */
static uint64_t draws[4];
static unsigned drawn;

static ssize_t draw(void *buffer, size_t size, unsigned flags)
{
    CHECK(size == 8 && flags == 0);
    memcpy(buffer, &draws[drawn++], 8);
    return 8;
}

static ssize_t draw_short(void *buffer, size_t size, unsigned flags)
{
    (void)size;
    if (drawn != 0)
        return draw(buffer, 8, flags);
    memset(buffer, 0xff, 4);
    drawn++;
    return 4;
}

Test(section_id, zero_and_half_a_number_are_drawn_again)
{
    support_shm_dir();
    weir_linux.getrandom = draw;
    draws[2] = 77; /* behind two times 0 */
    weir_section *section = create("Local/drawn", NULL);
    cr_assert(weir_section_id(section) == 77 && drawn == 3);
    CHECK_OK(weir_section_close(section));
    weir_linux.getrandom = draw_short;
    drawn = 0;
    draws[1] = 5;
    section = create("Local/drawn", NULL);
    cr_assert(weir_section_id(section) == 5 && drawn == 2);
    CHECK_OK(weir_section_close(section));
}

Test(section_id, without_random_numbers_there_is_no_section_and_the_text_says_so)
{
    const char *dir = prepare();
    weir_section *section = (weir_section *)(uintptr_t)0x77;
    arm(GETRANDOM, ENOSYS, 1, LONG_MAX);
    CHECK_KEEPS_ERRNO(weir_section_create(&section, "Local/none", 4096, NULL), WEIR_E_UNSUPPORTED);
    cr_assert(detail_has("getrandom"), "%s", weir_error_detail());
    CHECK_STATUS(weir_section_create_unnamed(&section, 4096, NULL), WEIR_E_UNSUPPORTED);
    arm(GETRANDOM, EIO, 1, LONG_MAX);
    CHECK_STATUS(weir_section_create(&section, "Local/none", 4096, NULL), WEIR_E_OS);
    cr_assert(section == (weir_section *)(uintptr_t)0x77);
    arm(GETRANDOM, EINTR, 1, 3); /* a signal, and another */
    CHECK_OK(weir_section_create(&section, "Local/none", 4096, NULL));
    cr_assert_eq(plan.failed, 3);
    disarm();
    CHECK_OK(weir_section_close(section));
    cr_assert_eq(support_entries(dir, true), 0);
}
