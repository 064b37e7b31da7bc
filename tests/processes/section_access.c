/* Owners, groups and modes: who may make, open, read and change a section. */
#include "../naming/looks.h"

#include <grp.h>
#include <sys/mman.h>

#define STRANGER 12345u
#define GUARD 54321u
#define GROUP 23456u
#define SIZE UINT64_C(131072)

static const char *dir;

/* Makes this process that user's, in that group besides his own. */
static void become(uid_t uid, gid_t group)
{
    CHECK(setgroups(group != 0, &group) == 0 && setgid(uid) == 0 && setuid(uid) == 0);
    end_with_parent(); /* the kernel forgets it with the old uid */
}

/* Runs body(arg) so in a child. */
static void as_member(uid_t uid, gid_t group, void (*body)(void *), void *arg)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        become(uid, group);
        body(arg);
        _exit(0);
    }
    CHECK(support_wait(child) == 0);
}

static void as_user(uid_t uid, void (*body)(void *), void *arg)
{
    as_member(uid, 0, body, arg);
}

static weir_status come(const char *name, weir_access access, uint32_t mode)
{
    weir_section *section = NULL;
    weir_section_options options = { .access = access, .mode = mode };
    errno = 321;
    weir_status status = weir_section_open(&section, name, &options);
    CHECK(errno == 321);
    if (status == WEIR_OK)
        CHECK_OK(weir_section_close(section));
    else
        CHECK(section == NULL && *weir_error_detail() != 0);
    return status;
}

static void check_file(const char *path, mode_t mode, uid_t owner, gid_t group)
{
    struct stat st;
    CHECK(lstat(path, &st) == 0);
    CHECK((st.st_mode & 07777) == mode && st.st_uid == owner && st.st_gid == group);
}

/* ---- group ---- */

static void makes_with_group(void *arg)
{
    const weir_section_options options = { .mode = 0660, .flags = WEIR_SET_GROUP, .group = *(uint32_t *)arg };
    weir_section_options file = options;
    weir_section *section;
    weir_section_info info;
    weir_handle handle;
    char path[512], self[64];
    CHECK_OK(weir_section_create(&section, "Global/group", SIZE, &options));
    check_file(section_path(dir, "Global/group").text, 0660, geteuid(), options.group);
    CHECK_OK(weir_section_stat("Global/group", &info));
    CHECK(info.group == options.group && info.mode == 0660 && info.owner == geteuid());
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_section_create(&section, "Local/group", SIZE, &options));
    check_file(section_path(dir, "Local/group").text, 0660, geteuid(), options.group);
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_section_create_unnamed(&section, SIZE, &options));
    CHECK_OK(weir_section_export(section, WEIR_READ_ONLY, false, &handle));
    (void)snprintf(self, sizeof self, "/proc/self/fd/%d", (int)handle);
    struct stat st;
    CHECK(stat(self, &st) == 0 && (st.st_mode & 07777) == 0660 && st.st_gid == options.group);
    CHECK_OK(weir_handle_close(handle));
    CHECK_OK(weir_section_close(section));
    (void)snprintf(path, sizeof path, "%s/group-file", dir);
    file.flags |= WEIR_FILE_NEW;
    CHECK_OK(weir_section_open_file(&section, path, SIZE, &file));
    check_file(path, 0660, geteuid(), options.group);
    CHECK_OK(weir_section_close(section));
    CHECK(unlink(path) == 0);
}

static void may_not_give_group(void *arg)
{
    weir_section_options options = { .mode = 0660, .flags = WEIR_SET_GROUP, .group = GROUP };
    static const char *const names[] = { "Global/group", "Local/group" };
    weir_section *section = NULL;
    char path[512];
    (void)arg;
    for (int i = 0; i < 2; i++) {
        CHECK_STATUS(weir_section_create(&section, names[i], SIZE, &options), WEIR_E_PERMISSION);
        CHECK(detail_has("group"));
        CHECK_STATUS(weir_section_open_or_create(&section, names[i], SIZE, &options, NULL), WEIR_E_PERMISSION);
    }
    CHECK_STATUS(weir_section_create_unnamed(&section, SIZE, &options), WEIR_E_PERMISSION);
    CHECK(detail_has("group"));
    (void)snprintf(path, sizeof path, "%s/group-file", dir);
    options.flags |= WEIR_FILE_NEW;
    CHECK_STATUS(weir_section_open_file(&section, path, SIZE, &options), WEIR_E_PERMISSION);
    CHECK(detail_has("group") && section == NULL && support_entries(dir, true) == 0);
}

static void uses_as_member(void *arg)
{
    const uint32_t mode = *(uint32_t *)arg;
    CHECK_STATUS(come("Global/group", WEIR_READ_ONLY, mode), WEIR_OK);
    CHECK_STATUS(come("Global/group", WEIR_READ_WRITE, mode), (mode & 020) != 0 ? WEIR_OK : WEIR_E_PERMISSION);
    CHECK_STATUS(come("Global/group", WEIR_READ_ONLY, 0600), WEIR_E_PERMISSION); /* wider than he asked for */
    CHECK(detail_names_uid(0));
}

static void is_no_member(void *arg)
{
    const uint32_t mode = *(uint32_t *)arg;
    CHECK_STATUS(come("Global/group", WEIR_READ_ONLY, mode), WEIR_E_PERMISSION);
    CHECK(detail_names_uid(0) && detail_has("weir-g.group"));
    CHECK_STATUS(come("Global/group", WEIR_READ_WRITE, mode), WEIR_E_PERMISSION);
}

static void groups(void)
{
    uint32_t none = 0, group = GROUP, own = STRANGER;
    makes_with_group(&none);
    makes_with_group(&group);
    as_member(STRANGER, GROUP, makes_with_group, &group);
    as_user(STRANGER, makes_with_group, &own);
    as_user(STRANGER, may_not_give_group, NULL);
    as_member(STRANGER, GUARD, may_not_give_group, NULL);
    CHECK(support_entries(dir, true) == 0);
    for (uint32_t mode = 0640; mode <= 0660; mode += 020) {
        weir_section *section;
        weir_section_options options = { .mode = mode, .flags = WEIR_SET_GROUP, .group = GROUP };
        CHECK_OK(weir_section_create(&section, "Global/group", SIZE, &options));
        as_member(STRANGER, GROUP, uses_as_member, &mode);
        as_user(STRANGER, is_no_member, &mode);
        CHECK_OK(weir_section_close(section));
        options.flags = 0; /* without the flag the number says nothing */
        CHECK_OK(weir_section_create(&section, "Global/group", SIZE, &options));
        check_file(section_path(dir, "Global/group").text, mode, 0, getegid());
        CHECK_OK(weir_section_close(section));
    }
}

/* A stale one of root's in a sticky directory: made again by whom would have made it the same, its group included. */
static void makes_again(void *arg)
{
    weir_section_options options = { .mode = 0660, .flags = WEIR_SET_GROUP, .group = STRANGER };
    weir_section *section = NULL;
    (void)arg;
    CHECK_STATUS(weir_section_create(&section, "Global/stale", SIZE, &options), WEIR_E_PERMISSION);
    options.group = GROUP;
    CHECK_OK(weir_section_create(&section, "Global/stale", SIZE, &options));
    check_file(section_path(dir, "Global/stale").text, 0660, 0, GROUP);
    CHECK_OK(weir_section_close(section));
    section = NULL; /* his own group, had he made it anew: members of another may not have it instead */
    options = (weir_section_options){ .mode = 0660 };
    weir_status status = weir_section_create(&section, "Global/stale", SIZE, &options);
    if (status == WEIR_OK)
        check_file(section_path(dir, "Global/stale").text, 0660, 0, STRANGER);
    CHECK_STATUS(status, WEIR_E_PERMISSION);
}

static void made_again_with_its_group(void)
{
    weir_section_options options = { .mode = 0660, .flags = WEIR_SET_GROUP, .group = GROUP };
    leave_stale("Global/stale", &options);
    as_member(STRANGER, GROUP, makes_again, NULL);
    CHECK_OK(weir_section_clean(NULL, NULL));
    CHECK(support_entries(dir, true) == 0);
}

/* ---- modes ---- */

static void makes_with_modes(void *arg)
{
    static const uint32_t modes[] = { 0, 0600, 0640, 0644, 0660, 0666, 0777 };
    static const mode_t masks[] = { 0, 022, 077, 0777 };
    char path[512], self[64];
    (void)arg;
    (void)snprintf(path, sizeof path, "%s/mode-file", dir);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        for (size_t k = 0; k < sizeof masks / sizeof masks[0]; k++) {
            weir_section_options options = { .mode = modes[i] }, file = options;
            weir_section *global, *local, *unnamed, *section;
            weir_handle handle;
            struct stat st;
            mode_t mode = modes[i] != 0 ? modes[i] : 0600;
            (void)umask(masks[k]);
            CHECK_OK(weir_section_create(&global, "Global/mode", 1, &options));
            CHECK_OK(weir_section_create(&local, "Local/mode", 1, &options));
            options.mode &= 0666; /* see mode_of_an_unnamed_one */
            CHECK_OK(weir_section_create_unnamed(&unnamed, 1, &options));
            file.flags = WEIR_FILE_NEW;
            CHECK_OK(weir_section_open_file(&section, path, 1, &file));
            check_file(section_path(dir, "Global/mode").text, mode, geteuid(), getegid());
            check_file(section_path(dir, "Local/mode").text, mode, geteuid(), getegid());
            check_file(local_dir(dir).text, 0700, geteuid(), getegid());
            check_file(path, mode, geteuid(), getegid());
            CHECK_OK(weir_section_export(unnamed, WEIR_READ_ONLY, false, &handle));
            (void)snprintf(self, sizeof self, "/proc/self/fd/%d", (int)handle);
            CHECK(stat(self, &st) == 0 && (st.st_mode & 07777) == (mode & 0666));
            CHECK_OK(weir_handle_close(handle));
            CHECK_OK(weir_section_close(section));
            CHECK(unlink(path) == 0);
            /* Accepted: exactly that mode, and any wider one. */
            for (uint32_t wide = 0600; wide <= 0777; wide++)
                CHECK_STATUS(come("Global/mode", WEIR_READ_ONLY, wide),
                             (mode & ~wide) == 0 ? WEIR_OK : WEIR_E_PERMISSION);
            CHECK_OK(weir_section_close(unnamed));
            CHECK_OK(weir_section_close(local));
            CHECK_OK(weir_section_close(global));
        }
    static const uint32_t refused[] = { 01000, 01600, 0400, 0066, 0200, 1 }; /* its owner is to read and write it */
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        weir_section *section = NULL;
        weir_section_options options = { .mode = refused[i] };
        CHECK_STATUS(weir_section_create(&section, "Global/mode", 1, &options), WEIR_E_INVALID);
        CHECK_STATUS(weir_section_create_unnamed(&section, 1, &options), WEIR_E_INVALID);
        CHECK(section == NULL && detail_has("mode"));
    }
    CHECK(support_entries(dir, true) == 0);
}

static void mode_of_an_unnamed_one(void)
{
    static const uint32_t modes[] = { 0700, 0755, 0777 };
    for (int i = 0; i < 3; i++) {
        weir_section *section;
        CHECK_OK(weir_section_create_unnamed(&section, 1, &(weir_section_options){ .mode = modes[i] }));
        CHECK_OK(weir_section_close(section));
    }
}

static void modes_of_root(void)
{
    makes_with_modes(NULL);
}

static void modes_of_a_user(void)
{
    as_user(STRANGER, makes_with_modes, NULL);
}

/* A set-id or sticky bit is wider than any that could be asked for. */
static void bits_beyond_the_mode(void)
{
    weir_section *section;
    CHECK_OK(weir_section_create(&section, "Global/bits", 1, NULL));
    static const mode_t bits[] = { 01600, 02600, 04600 };
    for (int i = 0; i < 3; i++) {
        CHECK(chmod(section_path(dir, "Global/bits").text, bits[i]) == 0);
        CHECK_STATUS(come("Global/bits", WEIR_READ_WRITE, 0777), WEIR_E_PERMISSION);
        weir_section_info info;
        CHECK_OK(weir_section_stat("Global/bits", &info));
        CHECK(info.mode == bits[i] && info.state == WEIR_SECTION_LIVE);
    }
    CHECK_OK(weir_section_close(section));
    CHECK(support_entries(dir, true) == 0);
}

/* ---- owners ---- */

/* Opens what the stranger made, in every way that opens. */
static void check_owner(const char *name, weir_handle handle, const char *path, uint32_t flags, uint32_t owner,
                        weir_status expected)
{
    for (int way = 0; way < 5; way++) {
        weir_section_options options = { .mode = 0666, .flags = flags, .owner = owner,
                                         .access = way % 2 == 0 ? WEIR_READ_WRITE : WEIR_READ_ONLY };
        weir_section *section = NULL;
        weir_status status = way < 2    ? weir_section_open(&section, name, &options)
                             : way == 2 ? weir_section_open_or_create(&section, name, 1, &options, NULL)
                             : way == 3 ? weir_section_attach(&section, handle, &options)
                                        : weir_section_open_file(&section, path, 0, &options);
        weir_status wanted = way >= 3 && (flags & WEIR_EXPECT_OWNER) == 0 ? WEIR_OK : expected;
        if (way == 2 && (flags & WEIR_EXPECT_OWNER) != 0 && owner != geteuid()) {
            CHECK_STATUS(status, WEIR_E_INVALID); /* he could not make it so */
            CHECK(section == NULL && *weir_error_detail() != 0);
            continue;
        }
        CHECK_STATUS(status, wanted);
        if (status == WEIR_OK)
            CHECK_OK(weir_section_close(section));
        else
            CHECK(section == NULL && detail_names_uid(STRANGER));
        char number[32];
        (void)snprintf(number, sizeof number, "%u", owner);
        CHECK(status == WEIR_OK || way < 3 || detail_has(number));
    }
}

struct owned {
    weir_handle handle;
    char path[512];
    holder h;
};

static void opens_strangers(void *arg)
{
    const struct owned *owned = arg;
    const char *name = "Global/owned";
    weir_status own = geteuid() == STRANGER ? WEIR_OK : WEIR_E_PERMISSION;
    check_owner(name, owned->handle, owned->path, 0, 0, own);
    check_owner(name, owned->handle, owned->path, 0, STRANGER, own); /* without the flag, no owner is meant */
    check_owner(name, owned->handle, owned->path, WEIR_EXPECT_OWNER, STRANGER, WEIR_OK);
    check_owner(name, owned->handle, owned->path, WEIR_EXPECT_OWNER, GUARD, WEIR_E_PERMISSION);
    check_owner(name, owned->handle, owned->path, WEIR_EXPECT_OWNER, 0, WEIR_E_PERMISSION);
    check_owner(name, owned->handle, owned->path, WEIR_EXPECT_OWNER, UINT32_MAX, WEIR_E_PERMISSION);
}

static void opens_roots(void *arg)
{
    weir_section *section = NULL;
    weir_section_options options = { .mode = 0666 };
    (void)arg;
    CHECK_STATUS(come("Global/roots", WEIR_READ_WRITE, 0666), WEIR_OK); /* root's is trusted, */
    options.flags = WEIR_EXPECT_OWNER;                                 /* unless another is expected */
    options.owner = geteuid();
    CHECK_STATUS(weir_section_open(&section, "Global/roots", &options), WEIR_E_PERMISSION);
    CHECK(section == NULL && detail_names_uid(0));
    options.owner = 0;
    CHECK_OK(weir_section_open(&section, "Global/roots", &options));
    CHECK_OK(weir_section_close(section));
}

static void makes_owned(void *arg)
{
    section_job job = { .name = "Global/owned", .size = SIZE, .options = { .mode = 0666 } };
    (void)arg;
    become(STRANGER, 0);
    section_job_begin(&job);
}

static void owners(void)
{
    static struct owned owned;
    weir_section *unnamed, *roots;
    /* An unnamed section and a file of his, made by root and given away: what counts is whose they are. */
    CHECK_OK(weir_section_create_unnamed(&unnamed, SIZE, &(weir_section_options){ .mode = 0666 }));
    CHECK_OK(weir_section_export(unnamed, WEIR_READ_WRITE, false, &owned.handle));
    CHECK(fchown((int)owned.handle, STRANGER, STRANGER) == 0);
    (void)snprintf(owned.path, sizeof owned.path, "%s/owned-file", dir);
    file_write(owned.path, "content", 7, 0666);
    CHECK(chown(owned.path, STRANGER, STRANGER) == 0);
    owned.h = holder_start(makes_owned, NULL, NULL);
    opens_strangers(&owned);
    as_user(STRANGER, opens_strangers, &owned);
    as_user(GUARD, opens_strangers, &owned);
    CHECK_OK(weir_section_create(&roots, "Global/roots", SIZE, &(weir_section_options){ .mode = 0666 }));
    as_user(STRANGER, opens_roots, NULL);
    CHECK_OK(weir_section_close(roots));
    holder_kill(&owned.h);
    weir_section_options his = { .mode = 0666, .flags = WEIR_EXPECT_OWNER, .owner = STRANGER };
    CHECK_STATUS(weir_section_open(&roots, "Global/owned", &his), WEIR_E_NOT_FOUND); /* stale: and root takes it away */
    CHECK_OK(weir_handle_close(owned.handle));
    CHECK_OK(weir_section_close(unnamed));
    CHECK(unlink(owned.path) == 0 && support_entries(dir, true) == 0);
}

/* A refusal names both uids. */
static void refusal_names_both(void)
{
    weir_section *section = NULL;
    weir_section_options options = { .mode = 0666, .flags = WEIR_EXPECT_OWNER, .owner = GUARD };
    holder h = holder_start(makes_owned, NULL, NULL);
    CHECK_STATUS(weir_section_open(&section, "Global/owned", &options), WEIR_E_PERMISSION);
    CHECK(detail_names_uid(STRANGER));
    CHECK(detail_has("54321"));
    holder_kill(&h);
    CHECK(unlink(section_path(dir, "Global/owned").text) == 0);
}

/* ---- one who may only read ---- */

/* What he could try past the library, on each descriptor of the section that this process has. */
static void check_descriptors(const char *path)
{
    struct stat section, st;
    unsigned tried = 0;
    CHECK(stat(path, &section) == 0);
    for (int fd = 3; fd < 100; fd++) {
        char self[64];
        if (fstat(fd, &st) != 0 || st.st_ino != section.st_ino || st.st_dev != section.st_dev)
            continue;
        struct flock range = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 1, .l_len = 1 };
        (void)snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
        CHECK(pwrite(fd, "x", 1, 5000) == -1 && errno == EBADF);
        CHECK(ftruncate(fd, 0) == -1 && ftruncate(fd, 1 << 20) == -1);
        CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == -1);
        CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EACCES);
        CHECK(open(self, O_RDWR | O_CLOEXEC) == -1 && open(self, O_WRONLY | O_TRUNC | O_CLOEXEC) == -1);
        CHECK(fchmod(fd, 0666) == -1 && fchown(fd, STRANGER, STRANGER) == -1);
        CHECK(fcntl(fd, F_OFD_SETLK, &range) == -1 && errno == EBADF);
        tried++;
    }
    CHECK(tried >= 2);
    CHECK(truncate(path, 0) == -1 && unlink(path) == -1 && open(path, O_WRONLY | O_CLOEXEC) == -1);
}

static void refused(void *arg)
{
    const char *name = arg;
    weir_section *section = NULL;
    weir_section_options options = { .mode = 0644, .slots = 2 };
    CHECK_STATUS(weir_section_open(&section, name, &options), WEIR_E_PERMISSION);
    CHECK(detail_names_uid(0));
    CHECK_STATUS(weir_section_create(&section, name, SIZE, &options), WEIR_E_PERMISSION);
    CHECK_STATUS(weir_section_open_or_create(&section, name, SIZE, &options, NULL), WEIR_E_PERMISSION);
    CHECK_STATUS(weir_section_remove(name), WEIR_E_PERMISSION);
    CHECK(detail_names_uid(0) && section == NULL);
    CHECK_OK(weir_section_clean(NULL, NULL));
}

static void only_reads(void *arg)
{
    static const weir_access accesses[] = { WEIR_READ_ONLY, WEIR_COPY_ON_WRITE };
    const char *name = arg;
    bool room = strstr(name, "room") != NULL;
    weir_section *sections[2];
    weir_view views[2][2], none;
    weir_participant slot;
    refused(arg);
    for (int i = 0; i < 2; i++) {
        weir_section_options options = { .mode = 0644, .access = accesses[i] };
        weir_section *section;
        uint64_t size = 0;
        bool committed;
        CHECK_OK(weir_section_open(&section, name, &options));
        CHECK_OK(weir_view_map(&views[i][0], section, 0, 0, WEIR_READ_ONLY));
        CHECK_OK(weir_view_map(&views[i][1], section, 0, 0, WEIR_COPY_ON_WRITE));
        CHECK_STATUS(weir_view_map(&none, section, 0, 0, WEIR_READ_WRITE), WEIR_E_ACCESS);
        CHECK(memcmp(views[i][0].base, "root's", 6) == 0 && memcmp(views[i][1].base, "root's", 6) == 0);
        memset(views[i][1].base, 'x', 65536); /* his own copy */
        CHECK(memcmp(views[i][0].base, "root's", 6) == 0);
        CHECK(mprotect(views[i][0].base, 4096, PROT_READ | PROT_WRITE) == -1 && errno == EACCES);
        CHECK_OK(weir_participant_look(section, 0, &slot));
        CHECK(slot.presence == WEIR_ALIVE);
        CHECK_STATUS(weir_participant_claim(section, 1, 1, &slot), WEIR_E_PERMISSION);
        CHECK_STATUS(weir_section_extend(section, 2 * SIZE), WEIR_E_PERMISSION);
        CHECK_STATUS(weir_section_commit(section, 65536, 0), WEIR_E_PERMISSION);
        CHECK_STATUS(weir_section_decommit(section, 0, 0), WEIR_E_PERMISSION);
        CHECK_OK(weir_section_committed(section, 0, &size, &committed));
        CHECK(committed && size == (room ? 65536 : SIZE) && weir_section_size(section) == SIZE);
        sections[i] = section;
    }
    check_descriptors(section_path_of(dir, name, 0).text);
    struct users users = { .count = 0 };
    CHECK_OK(weir_section_users(name, users_visit, &users));
    CHECK(users.count == 3 && handles_of(&users, getpid(), true) == 2 && handles_of(&users, getppid(), false) == 1);
    struct mapped mapped = { .count = 0 }; /* of root's processes he sees nothing */
    CHECK_OK(weir_section_mappings(name, mapped_visit, &mapped));
    CHECK(mapped.count == 4);
    for (unsigned i = 0; i < mapped.count; i++)
        CHECK(mapped.at[i].pid == (uint32_t)getpid() && mapped.at[i].access != WEIR_READ_WRITE);
    for (int i = 0; i < 2; i++) {
        CHECK_OK(weir_view_unmap(&views[i][0]));
        CHECK_OK(weir_view_unmap(&views[i][1]));
        CHECK_OK(weir_section_close(sections[i]));
    }
}

static void readers(void)
{
    static const char *const names[] = { "Global/read", "Global/room" };
    for (int i = 0; i < 2; i++) {
        weir_section_options options = { .mode = 0644, .slots = 2, .flags = i == 1 ? WEIR_RESERVE : 0,
                                         .commit_bytes = i == 1 ? 65536 : 0 };
        weir_section *section;
        weir_view view;
        weir_participant slot;
        static unsigned char before[SIZE], after[SIZE];
        CHECK_OK(weir_section_create(&section, names[i], SIZE, &options));
        CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE));
        memcpy(view.base, "root's", 6);
        CHECK_OK(weir_participant_claim(section, 0, 1, &slot));
        CHECK_OK(weir_participant_join(section, &slot));
        size_t len = file_read(section_path(dir, names[i]).text, before, sizeof before);
        as_user(STRANGER, only_reads, (void *)(uintptr_t)names[i]);
        CHECK(file_read(section_path(dir, names[i]).text, after, sizeof after) == len);
        CHECK(memcmp(before, after, len) == 0);
        check_file(section_path(dir, names[i]).text, 0644, 0, getegid());
        CHECK_OK(weir_view_unmap(&view));
        CHECK_OK(weir_section_close(section));
        CHECK(support_entries(dir, true) == 0);
    }
    /* What nobody has open he may not take away or make again either. */
    weir_section_options options = { .mode = 0644, .flags = WEIR_PERSISTENT };
    weir_section *section;
    CHECK_OK(weir_section_create(&section, "Global/kept", SIZE, &options));
    CHECK_OK(weir_section_close(section));
    as_user(STRANGER, refused, (void *)(uintptr_t)"Global/kept");
    CHECK_OK(weir_section_remove("Global/kept"));
    options.flags = 0;
    leave_stale("Global/left", &options);
    as_user(STRANGER, refused, (void *)(uintptr_t)"Global/left");
    CHECK_OK(weir_section_clean(NULL, NULL));
    CHECK(support_entries(dir, true) == 0);
}

/* Each in a process and a directory of its own, so that one that fails hides no other. */
static bool passes(void (*test)(void))
{
    (void)fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        end_with_parent();
        dir = support_shm_dir();
        CHECK(chmod(dir, 01777) == 0);
        test();
        CHECK(support_entries(dir, true) == 0);
        exit(0);
    }
    return support_wait(child) == 0;
}

int main(void)
{
    static void (*const tests[])(void) = {
        modes_of_root, modes_of_a_user, mode_of_an_unnamed_one, bits_beyond_the_mode, groups, readers, owners,
        refusal_names_both, made_again_with_its_group,
    };
    bool all = true;
    if (geteuid() != 0)
        support_skip("needs root, to be several users");
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
        all = passes(tests[i]) && all;
    return all ? 0 : 1;
}
