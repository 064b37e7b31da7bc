/* What may stand at a name: modes that are too wide, files that are no section or an impossible one, links, FIFOs,
 * directories; a size that changes to nonsense. */
#include "ways.h"

#include <weir/naming/os_linux.h>
#include <weir/naming/section_layout.h>

#include <sys/socket.h>
#include <sys/un.h>

#define KIB64 UINT64_C(65536)

/* ---- mode ---- */

Test(section_strange, the_mode_is_the_one_asked_for_whatever_the_umask)
{
    static const struct { mode_t umask; uint32_t asked; mode_t expected; } rows[] = {
        { 0777, 0, 0600 },    { 0, 0, 0600 },       { 077, 0666, 0666 },
        { 0777, 0640, 0640 }, { 022, 0777, 0777 },  { 027, 0622, 0622 },
    };
    const char *dir = support_shm_dir();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        (void)umask(rows[i].umask);
        weir_section *section;
        CHECK_OK(weir_section_create(&section, "Local/moded", 4096,
                                     &(weir_section_options){ .mode = rows[i].asked }));
        struct stat st;
        cr_assert_eq(stat(section_path(dir, "Local/moded").text, &st), 0);
        cr_assert_eq(st.st_mode & 07777, rows[i].expected, "umask %o: mode %o", rows[i].umask, st.st_mode);
        cr_assert_eq(stat(local_dir(dir).text, &st), 0);
        cr_assert_eq(st.st_mode & 07777, 0700);
        CHECK_OK(weir_section_close(section));
    }
}

Test(section_strange, a_mode_wider_than_asked_for_is_refused_with_owner_and_mode)
{
    const char *dir = support_shm_dir();
    weir_section *section;
    CHECK_OK(weir_section_create(&section, "Global/wide", 4096, &(weir_section_options){ .mode = 0660 }));
    static const uint32_t narrow[] = { 0, 0600, 0640, 0620, 0066 };
    for (size_t i = 0; i < sizeof narrow / sizeof narrow[0]; i++) {
        weir_section_options options = { .mode = narrow[i] };
        check_way(OPEN, "Global/wide", &options, WEIR_E_PERMISSION);
        cr_assert(detail_has("0660") && detail_names_uid(geteuid()) && detail_has("weir-g.wide"), "%s",
                  weir_error_detail());
        check_way(OBSERVE, "Global/wide", &options, WEIR_E_PERMISSION);
        bool of_owner = narrow[i] == 0 || (narrow[i] & 0600) == 0600; /* or it could not be made so */
        check_way(OPEN_OR_CREATE, "Global/wide", &options, of_owner ? WEIR_E_PERMISSION : WEIR_E_INVALID);
    }
    check_way(OPEN, "Global/wide", &(weir_section_options){ .mode = 0660 }, WEIR_OK);
    check_way(OPEN, "Global/wide", &(weir_section_options){ .mode = 0777 }, WEIR_OK);
    check_way(OBSERVE, "Global/wide", &(weir_section_options){ .mode = 0666 }, WEIR_OK);
    CHECK_OK(weir_section_close(section));
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(section_strange, a_users_directory_open_to_others_is_refused)
{
    const char *dir = support_shm_dir();
    static const mode_t modes[] = { 0710, 0701, 0770, 0777, 01777 };
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        cr_assert_eq(mkdir(local_dir(dir).text, 0700), 0);
        cr_assert_eq(chmod(local_dir(dir).text, modes[i]), 0);
        check_every_way("Local/x", NULL, WEIR_E_PERMISSION);
        cr_assert(detail_names_uid(geteuid()) && detail_has("weir-u.") && detail_has("a directory"), "%s",
                  weir_error_detail());
        cr_assert_eq(support_entries(dir, false), 1);
        check_way(CREATE, "Global/x", NULL, WEIR_OK); /* it concerns Local names alone */
        cr_assert_eq(rmdir(local_dir(dir).text), 0);
    }
}

Test(section_strange, a_directory_that_was_opened_to_others_meanwhile_leaks_no_descriptor_at_close)
{
    const char *dir = support_shm_dir();
    unsigned fds = open_fds();
    weir_section *section = create("Local/x", 4096);
    cr_assert_eq(chmod(local_dir(dir).text, 0777), 0);
    CHECK_OK(weir_section_close(section));
    cr_assert_eq(open_fds(), fds);
}

/* ---- what else may stand at a name ---- */

#define IMAGE 8192 /* a header and one page of content */

/* The bytes of a section that was never here: as a killed holder leaves it. */
static void image_of(const char *dir, const char *name, unsigned char image[IMAGE])
{
    weir_section *section;
    CHECK_OK(weir_section_create(&section, name, IMAGE - WEIR_SECTION_HEADER,
                                 &(weir_section_options){ .slots = 4 }));
    cr_assert_eq(file_read(section_path(dir, name).text, image, IMAGE), IMAGE);
    CHECK_OK(weir_section_close(section));
}

/* A file with these bytes at the name is refused by every way in, and left alone by them and by sweeps. */
static void check_left_alone(const char *dir, const char *name, const void *bytes, size_t size, weir_status expected)
{
    path_text path = section_path(dir, name);
    static unsigned char now[IMAGE + 1];
    struct stat before, after;
    if (strncmp(name, "Local", 5) == 0)
        cr_assert_eq(mkdir(local_dir(dir).text, 0700), 0);
    file_write(path.text, bytes, size, 0600);
    cr_assert_eq(stat(path.text, &before), 0);
    check_every_way(name, NULL, expected);
    cr_assert(detail_has(name), "%s", weir_error_detail());
    check_way(CREATE, "Local/other", NULL, WEIR_OK);
    check_way(CREATE, "Global/other", NULL, WEIR_OK);
    cr_assert_eq(stat(path.text, &after), 0);
    cr_assert_eq(after.st_ino, before.st_ino);
    cr_assert_eq(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
    cr_assert_eq(file_read(path.text, now, sizeof now), size);
    cr_assert_eq(memcmp(now, bytes, size), 0);
    cr_assert_eq(unlink(path.text), 0);
    (void)rmdir(local_dir(dir).text);
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(section_strange, a_file_that_is_no_section_is_refused_and_left_alone)
{
    const char *dir = support_shm_dir();
    static unsigned char garbage[IMAGE];
    uint64_t seed = support_seed();
    for (size_t i = 0; i < IMAGE; i++)
        garbage[i] = (unsigned char)support_random(&seed);
    static const char *const names[] = { "Local/odd", "Global/odd" };
    for (int i = 0; i < 2; i++) {
        check_left_alone(dir, names[i], garbage, 0, WEIR_E_NOT_WEIR);
        check_left_alone(dir, names[i], garbage, 1, WEIR_E_NOT_WEIR);
        check_left_alone(dir, names[i], garbage, 4096, WEIR_E_NOT_WEIR);
        check_left_alone(dir, names[i], garbage, IMAGE, WEIR_E_NOT_WEIR);
        check_left_alone(dir, names[i], "a letter to a friend", 20, WEIR_E_NOT_WEIR);
    }
}

Test(section_strange, a_truncated_header_is_refused_and_left_alone)
{
    const char *dir = support_shm_dir();
    unsigned char image[IMAGE];
    image_of(dir, "Global/cut", image);
    for (size_t len = 0; len < 8; len++)
        check_left_alone(dir, "Global/cut", image, len, WEIR_E_NOT_WEIR);
    static const size_t cuts[] = { 12, 16, 24, 239, 240, 247, 248, 255, 256, 2047, 2048, 4088, 4095 };
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++)
        check_left_alone(dir, "Global/cut", image, cuts[i], WEIR_E_CORRUPT);
    /* the content is missing, or a byte of it */
    check_left_alone(dir, "Global/cut", image, 4096, WEIR_E_CORRUPT);
    check_left_alone(dir, "Global/cut", image, IMAGE - 1, WEIR_E_CORRUPT);
}

/* One field of a valid header changed. */
static void check_field(const char *dir, size_t offset, const void *value, size_t size, weir_status expected)
{
    unsigned char image[IMAGE];
    image_of(dir, "Local/bent", image);
    memcpy(image + offset, value, size);
    check_left_alone(dir, "Local/bent", image, IMAGE, expected);
}

#define CHECK_FIELD(dir, field, number, expected)                                                                     \
    check_field(dir, offsetof(weir_section_layout, field), &number, sizeof number, expected)

Test(section_strange, the_image_these_tests_bend_is_a_stale_section_when_it_is_not_bent)
{
    const char *dir = support_shm_dir();
    unsigned char image[IMAGE];
    image_of(dir, "Local/bent", image);
    for (enum way way = CREATE; way < WAYS; way++) {
        (void)mkdir(local_dir(dir).text, 0700);
        if (!exists(section_path(dir, "Local/bent").text))
            file_write(section_path(dir, "Local/bent").text, image, IMAGE, 0600);
        check_way(way, "Local/bent", NULL, way == OPEN || way == OBSERVE ? WEIR_E_NOT_FOUND : WEIR_OK);
        cr_assert_eq(exists(section_path(dir, "Local/bent").text), way == OBSERVE);
    }
}

Test(section_strange, a_wrong_magic_or_version_is_refused_and_left_alone)
{
    const char *dir = support_shm_dir();
    uint64_t magics[] = { 0, WEIR_SECTION_MAGIC + 1, WEIR_SECTION_MAGIC ^ (UINT64_C(1) << 63), UINT64_MAX };
    for (size_t i = 0; i < 4; i++)
        CHECK_FIELD(dir, magic, magics[i], WEIR_E_NOT_WEIR);
    uint32_t versions[] = { 0, WEIR_SECTION_VERSION + 1, UINT32_MAX };
    for (size_t i = 0; i < 3; i++)
        CHECK_FIELD(dir, version, versions[i], WEIR_E_VERSION);
    cr_assert(detail_has("version"), "%s", weir_error_detail());
}

Test(section_strange, an_impossible_header_is_refused_and_left_alone)
{
    const char *dir = support_shm_dir();
    uint32_t slots[] = { WEIR_SLOTS_MAX + 1, UINT32_MAX }, flags[] = { 8, UINT32_C(1) << 31 };
    for (size_t i = 0; i < 2; i++) {
        CHECK_FIELD(dir, slots, slots[i], WEIR_E_CORRUPT);
        CHECK_FIELD(dir, flags, flags[i], WEIR_E_CORRUPT);
    }
    uint64_t sizes[] = { IMAGE - WEIR_SECTION_HEADER + 1, WEIR_SECTION_SIZE_MAX, WEIR_SECTION_SIZE_MAX + 1,
                         UINT64_MAX, UINT64_MAX - WEIR_SECTION_HEADER + 1, UINT64_C(1) << 63 };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        CHECK_FIELD(dir, size, sizes[i], WEIR_E_CORRUPT);
}

Test(section_strange, a_header_that_states_no_content_at_all_is_refused)
{
    uint64_t none = 0;
    CHECK_FIELD(support_shm_dir(), size, none, WEIR_E_CORRUPT);
}

Test(section_strange, a_header_without_an_id_is_refused)
{
    uint64_t none = 0;
    CHECK_FIELD(support_shm_dir(), id, none, WEIR_E_CORRUPT);
    cr_assert(detail_has("no id"), "%s", weir_error_detail());
}

Test(section_strange, another_sections_name_in_the_header_is_refused_and_left_alone)
{
    const char *dir = support_shm_dir();
    static const char *const others[] = { "Local/other", "Local/ben", "Local/bentt", "Global/bent", "bent", "" };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        uint8_t name[WEIR_NAME_TEXT_MAX] = { 0 };
        memcpy(name, others[i], strlen(others[i]));
        check_field(dir, offsetof(weir_section_layout, name), name, sizeof name, WEIR_E_NOT_WEIR);
    }
    uint8_t endless[WEIR_NAME_TEXT_MAX];
    memset(endless, 'n', sizeof endless);
    check_field(dir, offsetof(weir_section_layout, name), endless, sizeof endless, WEIR_E_NOT_WEIR);
}

Test(section_strange, a_hard_link_to_another_section_is_refused_live_or_stale_and_left_alone)
{
    const char *dir = support_shm_dir();
    path_text alias = section_path(dir, "Local/alias");
    weir_section *section = create("Local/real", 4096);
    cr_assert_eq(link(section_path(dir, "Local/real").text, alias.text), 0);
    check_every_way("Local/alias", NULL, WEIR_E_NOT_WEIR);
    cr_assert(detail_has("Local/real"), "%s", weir_error_detail());
    check_way(OPEN, "Local/real", NULL, WEIR_OK);
    CHECK_OK(weir_section_close(section)); /* a link more does not keep the name */
    cr_assert_not(exists(section_path(dir, "Local/real").text));
    cr_assert(exists(alias.text));
    check_every_way("Local/alias", NULL, WEIR_E_NOT_WEIR);
    check_way(CREATE, "Local/real", NULL, WEIR_OK);
    cr_assert(exists(alias.text));
}

/* Puts something at path that is no file.  Returns what the texts call it. */
static const char *squat(int kind, const char *path, const char *victim)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd;
    switch (kind) {
    case 0:
        cr_assert_eq(symlink(victim, path), 0);
        return "a symbolic link";
    case 1:
        cr_assert_eq(mkfifo(path, 0600), 0);
        return "a FIFO";
    case 2:
        cr_assert_eq(mkdir(path, 0700), 0);
        return "a directory";
    case 3:
        cr_assert_lt(strlen(path), sizeof address.sun_path);
        (void)strcpy(address.sun_path, path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        cr_assert_geq(fd, 0);
        cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
        (void)close(fd);
        cr_assert_eq(chmod(path, 0600), 0);
        return "a socket";
    default:
        cr_assert_eq(symlink("/nonexistent/weir", path), 0);
        return "a symbolic link";
    }
}

Test(section_strange, links_fifos_directories_and_sockets_in_a_names_place_are_named_at_once_and_left_alone,
     .timeout = 200)
{
    const char *dir = support_shm_dir();
    static const char *const names[] = { "Local/odd", "Global/odd" };
    char victim[600];
    (void)snprintf(victim, sizeof victim, "%s/victim", dir);
    for (int kind = 0; kind < 5; kind++)
        for (int i = 0; i < 2; i++) {
            /* The link's target is a valid stale section: following it would take it away. */
            unsigned char image[IMAGE], now[IMAGE + 1];
            image_of(dir, names[i], image);
            file_write(victim, image, IMAGE, 0600);
            cr_assert_eq(mkdir(local_dir(dir).text, 0700), 0);
            path_text path = section_path(dir, names[i]);
            const char *what = squat(kind, path.text, victim);
            struct stat before, after;
            cr_assert_eq(lstat(path.text, &before), 0);
            check_every_way(names[i], NULL, WEIR_E_NOT_WEIR);
            cr_assert(detail_has(what) && detail_names_uid(geteuid()) && detail_has("odd"), "%s", weir_error_detail());
            check_way(CREATE, "Global/other", NULL, WEIR_OK);
            cr_assert_eq(lstat(path.text, &after), 0);
            cr_assert(before.st_ino == after.st_ino && before.st_mode == after.st_mode);
            cr_assert_eq(file_read(victim, now, sizeof now), IMAGE);
            cr_assert_eq(memcmp(now, image, IMAGE), 0);
            cr_assert_eq(kind == 2 ? rmdir(path.text) : unlink(path.text), 0);
            cr_assert_eq(rmdir(local_dir(dir).text), 0);
            cr_assert_eq(unlink(victim), 0);
        }
}

Test(section_strange, something_else_in_the_users_directorys_place_is_named_at_once_and_left_alone, .timeout = 200)
{
    const char *dir = support_shm_dir();
    char victim[600];
    (void)snprintf(victim, sizeof victim, "%s/victim", dir);
    cr_assert_eq(mkdir(victim, 0700), 0);
    for (int kind = 0; kind < 5; kind++) {
        if (kind == 2)
            continue;
        const char *what = squat(kind, local_dir(dir).text, victim);
        check_every_way("Local/x", NULL, WEIR_E_PERMISSION);
        cr_assert(detail_has(what) && detail_names_uid(geteuid()) && detail_has("weir-u."), "%s", weir_error_detail());
        check_way(CREATE, "Global/x", NULL, WEIR_OK);
        cr_assert_eq(unlink(local_dir(dir).text), 0);
        cr_assert_eq(support_entries(dir, false), 1); /* nothing in the victim */
    }
    file_write(local_dir(dir).text, "mine", 4, 0700);
    check_every_way("Local/x", NULL, WEIR_E_PERMISSION);
    cr_assert(detail_has("a file"), "%s", weir_error_detail());
    cr_assert_eq(unlink(local_dir(dir).text), 0);
}

Test(section_strange, a_shared_memory_directory_that_cannot_be_used_is_named)
{
    support_shm_dir();
    cr_assert_eq(setenv("WEIR_SHM_DIR", "/nonexistent/shm", 1), 0);
    check_every_way("Local/x", NULL, WEIR_E_OS);
    cr_assert(detail_has("/nonexistent/shm"), "%s", weir_error_detail());
    check_every_way("Global/x", NULL, WEIR_E_OS);
    cr_assert_eq(setenv("WEIR_SHM_DIR", "/dev/null", 1), 0);
    check_every_way("Global/x", NULL, WEIR_E_OS);
    cr_assert_eq(setenv("WEIR_SHM_DIR", "/proc", 1), 0); /* no O_TMPFILE there, and not for everybody */
    check_way(CREATE, "Global/x", NULL, geteuid() == 0 ? WEIR_E_UNSUPPORTED : WEIR_E_PERMISSION);
    cr_assert(detail_has("/proc"), "%s", weir_error_detail());
}

/* ---- a size that changes to nonsense, or that is there no more ---- */

/* The section would promise what was cut off, and a hole would be there. */
Test(section_strange, extend_of_what_was_cut_is_corrupt_and_makes_no_hole)
{
    const char *dir = support_shm_dir();
    weir_section *section = create("cut", 4 * KIB64);
    path_text path = section_path(dir, "cut");
    const off_t cuts[] = { 4096 + 4 * (off_t)KIB64 - 1, 4096 + (off_t)KIB64, 4096 };
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        cr_assert_eq(truncate(path.text, cuts[i]), 0);
        for (uint64_t size = KIB64; size <= 16 * KIB64; size *= 4) {
            CHECK_KEEPS_ERRNO(weir_section_extend(section, size), WEIR_E_CORRUPT);
            cr_assert(detail_has("cut"), "%s", weir_error_detail());
        }
        struct stat st;
        cr_assert(stat(path.text, &st) == 0 && st.st_size == cuts[i], "it was made %lld bytes long",
                  (long long)st.st_size);
    }
    CHECK_OK(weir_section_close(section));
    cr_assert_eq(support_entries(dir, true), 0);
}

/* Else who has mapped it would fault. */
Test(section_strange, extend_of_what_states_less_than_it_has_cuts_nothing)
{
    const char *dir = support_shm_dir();
    weir_section *section = create("less", 4 * KIB64), *other;
    path_text path = section_path(dir, "less");
    int fd = open(path.text, O_RDWR | O_CLOEXEC);
    weir_view view;
    uint64_t size = 4096;
    struct stat st;
    CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE));
    ((unsigned char *)view.base)[4 * KIB64 - 1] = 7;
    cr_assert_eq(pwrite(fd, &size, 8, offsetof(weir_section_layout, size)), 8);
    CHECK_OK(weir_section_open(&other, "less", NULL));
    CHECK_OK(weir_section_extend(other, 2 * KIB64));
    cr_assert(((unsigned char *)view.base)[4 * KIB64 - 1] == 7, "it was cut");
    cr_assert(stat(path.text, &st) == 0 && st.st_size == 4096 + 4 * (off_t)KIB64);
    CHECK_OK(weir_section_extend(other, 8 * KIB64));
    cr_assert(((unsigned char *)view.base)[4 * KIB64 - 1] == 7);
    (void)close(fd);
    CHECK_OK(weir_section_close(other));
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(section_strange, a_size_that_the_file_does_not_have_is_corrupt_and_not_believed)
{
    const char *dir = support_shm_dir();
    weir_section *section = create("lied", 4096);
    int fd = open(section_path(dir, "lied").text, O_RDWR | O_CLOEXEC);
    uint64_t sizes[] = { 4097, 1 << 30, WEIR_SECTION_SIZE_MAX + 1, UINT64_MAX, UINT64_MAX - 4095 };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        weir_view view = { .base = NULL };
        cr_assert_eq(pwrite(fd, &sizes[i], 8, offsetof(weir_section_layout, size)), 8);
        cr_assert_eq(weir_section_size(section), 4096);
        CHECK_STATUS(weir_view_map(&view, section, 0, 0, WEIR_READ_ONLY), WEIR_E_CORRUPT);
        cr_assert_null(view.base);
        cr_assert(detail_has("lied"), "%s", weir_error_detail());
        CHECK_STATUS(weir_section_extend(section, 8192), WEIR_E_CORRUPT);
        check_way(OPEN, "lied", NULL, WEIR_E_CORRUPT);
    }
    uint64_t right = 4096;
    cr_assert_eq(pwrite(fd, &right, 8, offsetof(weir_section_layout, size)), 8);
    (void)close(fd);
    cr_assert_eq(stamp_of(section), 0);
    CHECK_OK(weir_section_close(section));
    cr_assert_eq(support_entries(dir, true), 0);
}
