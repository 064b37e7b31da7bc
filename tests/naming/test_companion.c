/* Companions: FIFOs beside a section, by which a sleeper in poll(2) is woken.  What each call returns, what stands
 * there then, and that none is left when its section goes, however that goes. */
#include "companions.h"

#include <criterion/criterion.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <weir/naming/file.h>
#include <weir/naming/unnamed.h>

#define OTHER 12345u

static const weir_section_options slots = { .slots = SLOTS };
static const char *const names[] = { "Local/fifo", "Global/fifo" };

static weir_section *create(const char *name, const weir_section_options *options)
{
    weir_section *section;
    CHECK_OK(weir_section_create(&section, name, 4096, options));
    return section;
}

static void check_nothing_left(const char *dir)
{
    cr_assert_eq(support_entries(dir, true), 0);
}

/* ---- what it is for ---- */

Test(companion, wakes_a_poll_of_the_slots_holder)
{
    const char *dir = support_shm_dir();
    for (size_t i = 0; i < 2; i++) {
        unsigned fds = open_fds();
        int mine = -1, theirs = -1;
        char bytes[8];
        weir_section *sleeper = have_companion(names[i], 7, &slots, &mine), *waker;
        CHECK_OK(weir_section_open(&waker, names[i], NULL));
        cr_assert_not(is_readable(mine));
        CHECK_KEEPS_ERRNO(weir_companion_open(waker, 7, &theirs), WEIR_OK);
        cr_assert_not(is_readable(mine), "opening is no wake");
        cr_assert_eq(write(theirs, "x", 1), 1);
        cr_assert(is_readable(mine));
        cr_assert_eq(read(mine, bytes, sizeof bytes), 1);
        cr_assert_not(is_readable(mine));
        cr_assert(read(mine, bytes, sizeof bytes) < 0 && errno == EAGAIN, "it does not block");
        cr_assert((fcntl(mine, F_GETFD) & FD_CLOEXEC) != 0 && (fcntl(theirs, F_GETFD) & FD_CLOEXEC) != 0);
        cr_assert((fcntl(theirs, F_GETFL) & (O_NONBLOCK | O_ACCMODE)) == (O_NONBLOCK | O_RDWR));
        weir_companion_close(mine);
        weir_companion_close(theirs);
        CHECK_OK(weir_section_close(waker));
        CHECK_OK(weir_section_close(sleeper));
        cr_assert_eq(open_fds(), fds);
    }
    check_nothing_left(dir);
}

Test(companion, a_waker_neither_blocks_nor_dies_when_the_sleeper_is_gone_or_never_reads)
{
    const char *dir = support_shm_dir();
    int mine, theirs;
    static char block[4096];
    weir_section *sleeper = have_companion("fifo", 0, &slots, &mine), *waker;
    CHECK_OK(weir_section_open(&waker, "fifo", NULL));
    CHECK_OK(weir_companion_open(waker, 0, &theirs));
    while (write(theirs, block, sizeof block) > 0)
        ;
    cr_assert_eq(errno, EAGAIN, "full is EAGAIN");
    cr_assert(is_readable(mine));
    weir_companion_close(mine);
    CHECK_OK(weir_section_close(sleeper));
    cr_assert(write(theirs, "x", 1) == 1 || errno == EAGAIN, "no SIGPIPE, no EPIPE");
    weir_companion_close(theirs);
    CHECK_STATUS(weir_companion_open(waker, 0, &theirs), WEIR_E_NOT_FOUND);
    CHECK_OK(weir_section_close(waker));
    check_nothing_left(dir);
}

Test(companion, every_slot_has_one_of_its_own)
{
    const char *dir = support_shm_dir();
    static int fds[SLOTS];
    weir_section *section = create("all", &slots);
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        claim_slot(section, slot);
        CHECK_OK(weir_companion_make(section, slot, &fds[slot]));
        cr_assert(is_fifo(companion_path(dir, "all", slot).text) && is_noted(section_path(dir, "all").text, slot));
    }
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        int fd;
        CHECK_OK(weir_companion_open(section, slot, &fd));
        cr_assert_eq(write(fd, "x", 1), 1);
        weir_companion_close(fd);
        for (uint32_t other = 0; other < SLOTS; other += 17)
            cr_assert_eq(is_readable(fds[other]), other <= slot, "slot %u, woken %u", other, slot);
    }
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        weir_companion_close(fds[slot]);
    CHECK_OK(weir_section_close(section));
    check_nothing_left(dir);
}

Test(companion, has_the_sections_mode_and_group_whatever_the_umask)
{
    static const mode_t umasks[] = { 0, 022, 0777 }, modes[] = { 0600, 0660, 0640, 0666 };
    const char *dir = support_shm_dir();
    bool root = geteuid() == 0;
    for (size_t i = 0; i < 12; i++) {
        int fd, woken;
        struct stat section_st, st;
        mode_t before = umask(umasks[i % 3]);
        weir_section_options options = { .slots = 4, .mode = modes[i / 3], .group = OTHER,
                                         .flags = root ? WEIR_SET_GROUP : 0u };
        weir_section *section = have_companion("Global/fifo", 3, &options, &fd);
        umask(before);
        cr_assert_eq(stat(section_path(dir, "Global/fifo").text, &section_st), 0);
        cr_assert_eq(lstat(companion_path(dir, "Global/fifo", 3).text, &st), 0);
        cr_assert((st.st_mode & 07777) == modes[i / 3] && st.st_uid == section_st.st_uid &&
                  st.st_gid == section_st.st_gid, "mode %#o, uid %u, gid %u", st.st_mode, st.st_uid, st.st_gid);
        CHECK_OK(weir_companion_open(section, 3, &woken));
        weir_companion_close(woken);
        weir_companion_close(fd);
        CHECK_OK(weir_section_close(section));
    }
    check_nothing_left(dir);
}

/* ---- statuses ---- */

Test(companion, says_what_it_cannot_do)
{
    const char *dir = support_shm_dir();
    int fd = -7;
    char path[300];
    weir_handle handle;
    weir_participant slot;
    weir_section *section = create("some", &(weir_section_options){ .slots = 8 }), *unnamed, *attached, *file, *looks;
    CHECK_KEEPS_ERRNO(weir_companion_make(section, 0, &fd), WEIR_E_STATE);
    CHECK_KEEPS_ERRNO(weir_companion_remove(section, 0), WEIR_E_STATE);
    CHECK_STATUS(weir_companion_make(section, 8, &fd), WEIR_E_STATE);
    CHECK_STATUS(weir_companion_make(section, UINT32_MAX, &fd), WEIR_E_STATE);
    CHECK_OK(weir_participant_claim(section, 0, 1, &slot));
    CHECK_STATUS(weir_companion_make(section, 0, NULL), WEIR_E_INVALID);
    CHECK_STATUS(weir_companion_open(section, SLOTS, &fd), WEIR_E_INVALID);
    CHECK_STATUS(weir_companion_open(section, 0, NULL), WEIR_E_INVALID);
    CHECK_KEEPS_ERRNO(weir_companion_open(section, 0, &fd), WEIR_E_NOT_FOUND);
    CHECK_KEEPS_ERRNO(weir_companion_remove(section, 0), WEIR_OK);
    CHECK_OK(weir_section_open(&looks, "some", &(weir_section_options){ .access = WEIR_READ_ONLY }));
    CHECK_STATUS(weir_companion_make(looks, 0, &fd), WEIR_E_STATE);
    CHECK_STATUS(weir_companion_open(looks, 0, &fd), WEIR_E_NOT_FOUND);
    CHECK_OK(weir_section_close(looks));
    CHECK_OK(weir_section_close(section));

    CHECK_OK(weir_section_create_unnamed(&unnamed, 4096, &(weir_section_options){ .slots = 2 }));
    CHECK_OK(weir_section_export(unnamed, WEIR_READ_WRITE, false, &handle));
    CHECK_OK(weir_section_attach(&attached, handle, NULL));
    CHECK_OK(weir_participant_claim(attached, 1, 1, &slot));
    CHECK_STATUS(weir_companion_make(attached, 1, &fd), WEIR_E_UNSUPPORTED);
    CHECK_STATUS(weir_companion_open(unnamed, 1, &fd), WEIR_E_UNSUPPORTED);
    CHECK_OK(weir_companion_remove(attached, 1));
    CHECK_OK(weir_participant_leave(attached, 1));
    CHECK_OK(weir_handle_close(handle));
    CHECK_OK(weir_section_close(attached));
    CHECK_OK(weir_section_close(unnamed));

    (void)snprintf(path, sizeof path, "%s/file", dir);
    CHECK_OK(weir_section_open_file(&file, path, 4096, &(weir_section_options){ .flags = WEIR_FILE_NEW }));
    CHECK_STATUS(weir_companion_open(file, 0, &fd), WEIR_E_UNSUPPORTED);
    CHECK_STATUS(weir_companion_make(file, 0, &fd), WEIR_E_STATE); /* it has no slots */
    CHECK_OK(weir_section_close(file));
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(fd, -7, "touched its output");
    check_nothing_left(dir);
}

Test(companion, is_the_parents_and_not_a_childs)
{
    const char *dir = support_shm_dir();
    int fd;
    weir_section *section = have_companion("fifo", 1, &slots, &fd);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        int got = -1;
        CHECK_STATUS(weir_companion_make(section, 1, &got), WEIR_E_FORKED);
        CHECK_STATUS(weir_companion_open(section, 1, &got), WEIR_E_FORKED);
        CHECK_STATUS(weir_companion_remove(section, 1), WEIR_E_FORKED);
        weir_companion_close(fd);
        CHECK_OK(weir_section_close(section));
        _exit(got == -1 && is_fifo(companion_path(dir, "fifo", 1).text) ? 0 : 1);
    }
    cr_assert_eq(support_wait(child), 0);
    CHECK_OK(weir_companion_open(section, 1, &(int){ -1 }));
    weir_companion_close(fd);
    CHECK_OK(weir_section_close(section));
    check_nothing_left(dir);
}

/* ---- what else may stand there ---- */

enum squat { TEXT, SECTION, LINK_TO_FIFO, DANGLING, FOLDER, SOCKET, DEVICE, SQUATS };

static bool squat(const char *path, const char *dir, enum squat kind)
{
    char elsewhere[300];
    (void)snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere", dir);
    switch (kind) {
    case TEXT: file_write(path, "text", 4, 0600); return true;
    case SECTION: file_write(path, "weirsect", 8, 0600); return true;
    case LINK_TO_FIFO:
        CHECK((mkfifo(elsewhere, 0600) == 0 || errno == EEXIST) && symlink(elsewhere, path) == 0);
        return true;
    case DANGLING: CHECK(symlink("/nowhere", path) == 0); return true;
    case FOLDER: CHECK(mkdir(path, 0700) == 0); return true;
    case SOCKET: {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(strlen(path) < sizeof address.sun_path);
        memcpy(address.sun_path, path, strlen(path) + 1);
        CHECK(fd >= 0 && bind(fd, (void *)&address, sizeof address) == 0 && close(fd) == 0);
        return true;
    }
    default: return mknod(path, S_IFCHR | 0600, 1 << 8 | 3) == 0; /* null: needs to be root, outside containers */
    }
}

Test(companion, what_stands_in_its_place_is_left_alone_and_named)
{
    const char *dir = support_shm_dir();
    unsigned tried = 0;
    for (int kind = 0; kind < SQUATS * 2; kind++) {
        const char *name = names[kind % 2];
        weir_section *section = create(name, &slots);
        path_text path = companion_path(dir, name, 5);
        struct stat before, after;
        unsigned fds = open_fds();
        int fd = -7;
        claim_slot(section, 5);
        if (!squat(path.text, dir, (enum squat)(kind / 2))) {
            CHECK_OK(weir_section_close(section));
            continue;
        }
        tried++;
        cr_assert_eq(lstat(path.text, &before), 0);
        CHECK_KEEPS_ERRNO(weir_companion_make(section, 5, &fd), WEIR_E_NOT_WEIR);
        cr_assert(detail_has(path.text + strlen(dir)) && detail_names_uid(geteuid()), "%s", weir_error_detail());
        cr_assert(!is_noted(section_path(dir, name).text, 5), "nothing of ours stands there");
        write_notes(section_path(dir, name).text, UINT64_MAX); /* as if a peer had said that there is one */
        CHECK_KEEPS_ERRNO(weir_companion_open(section, 5, &fd), WEIR_E_NOT_WEIR);
        cr_assert(fd == -7 && open_fds() == fds);
        CHECK_OK(weir_section_close(section));
        cr_assert(lstat(path.text, &after) == 0 && before.st_ino == after.st_ino && before.st_mode == after.st_mode);
        CHECK_OK(weir_section_clean(NULL, NULL));
        cr_assert(lstat(path.text, &after) == 0 && before.st_ino == after.st_ino, "clean takes FIFOs alone");
        cr_assert_eq(S_ISDIR(before.st_mode) ? rmdir(path.text) : unlink(path.text), 0);
        if (kind % 2 == 0)
            cr_assert_eq(rmdir(local_dir(dir).text), 0);
    }
    cr_assert_geq(tried, 2 * (SQUATS - 1));
    char elsewhere[300];
    (void)snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere", dir);
    cr_assert(is_fifo(elsewhere) && unlink(elsewhere) == 0, "a link is not followed");
    check_nothing_left(dir);
}

Test(companion, a_strangers_fifo_is_never_used_nor_removed)
{
    const char *dir = support_shm_dir();
    if (geteuid() != 0)
        cr_skip_test("needs root, to be two users");
    int fd = -7;
    /* The section of another user, in whose place a third one has put a FIFO. */
    weir_section *section = create("Global/fifo", &slots);
    path_text path = companion_path(dir, "Global/fifo", 2);
    claim_slot(section, 2);
    cr_assert(mkfifo(path.text, 0600) == 0 && chown(path.text, OTHER, OTHER) == 0);
    CHECK_STATUS(weir_companion_make(section, 2, &fd), WEIR_E_PERMISSION);
    cr_assert(detail_names_uid(OTHER), "%s", weir_error_detail());
    write_notes(section_path(dir, "Global/fifo").text, UINT64_MAX);
    CHECK_STATUS(weir_companion_open(section, 2, &fd), WEIR_E_PERMISSION);
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_section_clean(NULL, NULL));
    cr_assert(fd == -7 && is_fifo(path.text));
    cr_assert_eq(unlink(path.text), 0);
    check_nothing_left(dir);
}

Test(companion, only_the_sections_owner_and_root_can_have_one)
{
    const char *dir = support_shm_dir();
    if (geteuid() != 0)
        cr_skip_test("needs root, to be two users");
    int mine = -7, his = -7, roots;
    struct stat st;
    cr_assert_eq(chmod(dir, 01777), 0);
    cr_assert_eq(seteuid(OTHER), 0);
    weir_section *section = create("Global/fifo", &(weir_section_options){ .slots = 8, .mode = 0666 });
    claim_slot(section, 0);
    CHECK_OK(weir_companion_make(section, 0, &his));
    cr_assert(seteuid(0) == 0 && seteuid(OTHER + 1) == 0);
    weir_section *third;
    CHECK_OK(weir_section_open(&third, "Global/fifo", &(weir_section_options){ .mode = 0666, .owner = OTHER,
                                                                               .flags = WEIR_EXPECT_OWNER }));
    claim_slot(third, 1);
    CHECK_STATUS(weir_companion_make(third, 1, &mine), WEIR_E_PERMISSION);
    cr_assert(mine == -7 && !exists(companion_path(dir, "Global/fifo", 1).text), "nothing of it is left");
    cr_assert(!is_noted(section_path(dir, "Global/fifo").text, 1));
    CHECK_OK(weir_companion_open(third, 0, &mine)); /* but he may wake */
    cr_assert(write(mine, "x", 1) == 1 && is_readable(his));
    weir_companion_close(mine);
    CHECK_OK(weir_section_close(third));
    cr_assert_eq(seteuid(0), 0);
    weir_section *root;
    CHECK_OK(weir_section_open(&root, "Global/fifo", &(weir_section_options){ .mode = 0666, .owner = OTHER,
                                                                              .flags = WEIR_EXPECT_OWNER }));
    claim_slot(root, 3);
    CHECK_OK(weir_companion_make(root, 3, &roots));
    cr_assert(lstat(companion_path(dir, "Global/fifo", 3).text, &st) == 0 && st.st_uid == OTHER);
    weir_companion_close(roots);
    weir_companion_close(his);
    CHECK_OK(weir_section_close(root));
    cr_assert_eq(seteuid(OTHER), 0);
    CHECK_OK(weir_section_close(section));
    cr_assert_eq(seteuid(0), 0);
    check_nothing_left(dir);
}

/* ---- its life ---- */

Test(companion, goes_when_its_holder_leaves_or_removes_it)
{
    const char *dir = support_shm_dir();
    for (int way = 0; way < 3; way++) {
        int fd;
        weir_section *other = create("fifo", &slots), *section = have_companion("fifo", 9, &slots, &fd);
        path_text path = companion_path(dir, "fifo", 9);
        cr_assert(weir_companion_is_named(fd));
        if (way == 0)
            CHECK_KEEPS_ERRNO(weir_companion_remove(section, 9), WEIR_OK);
        else if (way == 1)
            CHECK_OK(weir_participant_leave(section, 9));
        else
            CHECK_OK(weir_section_close(section));
        cr_assert(!exists(path.text) && !is_noted(section_path(dir, "fifo").text, 9));
        cr_assert(!weir_companion_is_named(fd));
        weir_companion_close(fd);
        CHECK_STATUS(weir_companion_open(other, 9, &fd), WEIR_E_NOT_FOUND);
        if (way == 0) { /* and can be had again */
            CHECK_OK(weir_companion_make(section, 9, &fd));
            CHECK_OK(weir_companion_make(section, 9, &(int){ -1 }));
            weir_companion_close(fd);
        }
        if (way != 2)
            CHECK_OK(weir_section_close(section));
        CHECK_OK(weir_section_close(other));
    }
    check_nothing_left(dir);
}

struct dying {
    const char *name;
    weir_section_options options;
    int fd;
};

static void die_with_companion(void *arg)
{
    struct dying *d = arg;
    (void)have_companion(d->name, 4, &d->options, &d->fd);
}

static void kill_one(const char *name, const weir_section_options *options)
{
    struct dying d = { .name = name, .options = *options };
    holder h = holder_start(die_with_companion, NULL, &d);
    holder_kill(&h);
}

Test(companion, of_a_killed_holder_is_its_successors_with_those_who_have_it_open)
{
    const char *dir = support_shm_dir();
    int fd, theirs;
    weir_section *section = create("fifo", &slots);
    kill_one("fifo", &slots);
    cr_assert(is_fifo(companion_path(dir, "fifo", 4).text) && is_noted(section_path(dir, "fifo").text, 4));
    CHECK_OK(weir_companion_open(section, 4, &theirs)); /* a waker does not know that he is dead */
    claim_slot(section, 4);
    CHECK_OK(weir_companion_make(section, 4, &fd));
    cr_assert(write(theirs, "x", 1) == 1 && is_readable(fd));
    weir_companion_close(theirs);
    weir_companion_close(fd);
    CHECK_OK(weir_section_close(section));
    check_nothing_left(dir);
}

static const weir_section_options lasting = { .slots = SLOTS, .flags = WEIR_PERSISTENT };

/* However a section goes whose users were killed, or left in order beside one who was. */
Test(companion, of_a_killed_holder_goes_with_the_sections_name)
{
    const char *dir = support_shm_dir();
    weir_section *section, *kept;
    for (int way = 0; way < 14; way++) {
        const char *name = names[way % 2];
        path_text path = companion_path(dir, name, 4);
        section = way / 2 == 0 ? create(name, &slots) : NULL;
        kill_one(name, way / 2 == 5 || way / 2 == 6 ? &lasting : &slots);
        cr_assert(is_fifo(path.text));
        switch (way / 2) {
        case 0: CHECK_OK(weir_section_close(section)); break;                   /* close of the last */
        case 1: CHECK_STATUS(weir_section_open(&section, name, NULL), WEIR_E_NOT_FOUND); break; /* met by an opener */
        case 2:                                                                 /* replaced */
            section = create(name, &slots);
            cr_assert(!exists(path.text) && !is_noted(section_path(dir, name).text, 4));
            CHECK_OK(weir_section_close(section));
            break;
        case 3: CHECK_OK(weir_section_close(create("Local/another", NULL))); break; /* swept */
        case 4: CHECK_OK(weir_section_clean(NULL, NULL)); break;
        case 5: CHECK_OK(weir_section_remove(name)); break;
        default:                                                                /* it persists: so does what is noted */
            CHECK_OK(weir_section_open(&kept, name, NULL));
            CHECK_OK(weir_section_close(kept));
            cr_assert(is_fifo(path.text) && is_noted(section_path(dir, name).text, 4));
            CHECK_OK(weir_section_remove(name));
        }
        cr_assert_not(exists(path.text), "way %d", way);
        check_nothing_left(dir);
    }
}

Test(companion, of_an_unfinished_section_goes_as_well)
{
    const char *dir = support_shm_dir();
    const uint64_t making = WEIR_SECTION_MAGIC_MAKING;
    kill_one("Global/fifo", &slots);
    int fd = open(section_path(dir, "Global/fifo").text, O_WRONLY | O_CLOEXEC);
    cr_assert(fd >= 0 && pwrite(fd, &making, sizeof making, 0) == sizeof making && close(fd) == 0);
    CHECK_OK(weir_section_clean(NULL, NULL));
    check_nothing_left(dir);
}

/* In a sticky directory a stale section's owner alone can remove it and what stands beside it: another user who makes
 * it again in place leaves that to him, and the section goes on knowing of it. */
Test(companion, of_a_section_that_is_made_again_in_place_is_still_its_owners)
{
    const char *dir = support_shm_dir();
    if (geteuid() != 0)
        cr_skip_test("needs root, to be two users");
    const weir_section_options same = { .slots = SLOTS, .mode = 0666 };
    path_text section_file = section_path(dir, "Global/fifo"), path = companion_path(dir, "Global/fifo", 4);
    weir_section *section;
    int fd, woken;
    bool created = false;
    cr_assert_eq(chmod(dir, 01777), 0);
    kill_one("Global/fifo", &same);
    cr_assert_eq(seteuid(OTHER), 0);
    CHECK_OK(weir_section_open_or_create(&section, "Global/fifo", 4096, &same, &created));
    cr_assert(created && is_fifo(path.text) && is_noted(section_file.text, 4) && !is_noted(section_file.text, 5));
    claim_slot(section, 4);
    CHECK_OK(weir_companion_make(section, 4, &fd)); /* the dead one's, as it is */
    CHECK_OK(weir_companion_open(section, 4, &woken));
    cr_assert(write(woken, "x", 1) == 1 && is_readable(fd));
    weir_companion_close(woken);
    weir_companion_close(fd);
    CHECK_STATUS(weir_companion_remove(section, 4), WEIR_E_OS);
    CHECK_OK(weir_section_close(section));
    cr_assert(is_fifo(path.text) && is_noted(section_file.text, 4));
    cr_assert_eq(seteuid(0), 0);
    CHECK_OK(weir_section_close(create("Local/another", NULL))); /* root's next use of weir */
    check_nothing_left(dir);
}

static weir_section *handlers_section;
static int handlers_fd = -1;
static void open_in_handler(int signal)
{
    (void)signal;
    if (weir_companion_open(handlers_section, 7, &handlers_fd) == WEIR_OK)
        (void)!write(handlers_fd, "x", 1);
}

Test(companion, is_opened_and_written_in_a_signal_handler)
{
    const char *dir = support_shm_dir();
    int fd;
    handlers_section = have_companion("Local/fifo", 7, &slots, &fd);
    cr_assert(signal(SIGUSR1, open_in_handler) != SIG_ERR && raise(SIGUSR1) == 0);
    cr_assert(handlers_fd >= 0 && is_readable(fd));
    weir_companion_close(handlers_fd);
    weir_companion_close(fd);
    CHECK_OK(weir_section_close(handlers_section));
    check_nothing_left(dir);
}

/* ---- orphans ---- */

static unsigned visits;
static bool count_visit(const weir_section_info *info, void *arg)
{
    (void)info, (void)arg;
    visits++;
    return true;
}

Test(companion, without_its_section_is_taken_away_by_clean_alone)
{
    const char *dir = support_shm_dir();
    for (size_t i = 0; i < 2; i++) {
        path_text path = companion_path(dir, names[i], 4);
        kill_one(names[i], &slots);
        cr_assert_eq(unlink(section_path(dir, names[i]).text), 0);
        CHECK_OK(weir_section_close(create("Local/another", NULL)));
        cr_assert(is_fifo(path.text));
        visits = 0;
        CHECK_OK(weir_section_list(count_visit, NULL));
        CHECK_KEEPS_ERRNO(weir_section_clean(count_visit, NULL), WEIR_OK);
        cr_assert_eq(visits, 0, "neither is a section");
        cr_assert_not(exists(path.text));
        check_nothing_left(dir);
    }
}

Test(companion, without_its_section_is_taken_over_by_the_next_of_that_name)
{
    const char *dir = support_shm_dir();
    int fd, again;
    kill_one("fifo", &slots);
    cr_assert(unlink(section_path(dir, "fifo").text) == 0 && chmod(companion_path(dir, "fifo", 4).text, 0) == 0);
    weir_section *section = have_companion("fifo", 4, &slots, &fd);
    CHECK_OK(weir_section_clean(NULL, NULL));
    CHECK_OK(weir_companion_open(section, 4, &again));
    cr_assert(write(again, "x", 1) == 1 && is_readable(fd));
    weir_companion_close(again);
    weir_companion_close(fd);
    CHECK_OK(weir_section_close(section));
    check_nothing_left(dir);
}

Test(companion, of_a_live_section_is_not_touched_by_clean_and_list)
{
    const char *dir = support_shm_dir();
    for (size_t i = 0; i < 2; i++) {
        int fd;
        weir_section *section = have_companion(names[i], 4, &slots, &fd);
        visits = 0;
        CHECK_OK(weir_section_list(count_visit, NULL));
        cr_assert_eq(visits, 1, "the section, and not its FIFO");
        write_notes(section_path(dir, names[i]).text, 0); /* a peer says that there is none */
        CHECK_OK(weir_section_clean(NULL, NULL));
        cr_assert(is_fifo(companion_path(dir, names[i], 4).text));
        CHECK_OK(weir_section_close(section));
        CHECK_OK(weir_section_clean(NULL, NULL)); /* which has made it an orphan: held, as long as it is open */
        cr_assert(is_fifo(companion_path(dir, names[i], 4).text));
        weir_companion_close(fd);
        CHECK_OK(weir_section_clean(NULL, NULL));
        check_nothing_left(dir);
    }
}

Test(companion, clean_takes_only_what_is_named_as_one)
{
    static const char *const others[] = { "weir-g.x@", "weir-g.x@256", "weir-g.x@01", "weir-g.x@-1", "weir-g.x@+1",
                                          "weir-g.x@1x", "weir-g.@1", "weir-g.x@1@1", "weir-g.x 1@1", "x@1", "@1",
                                          "weir-g.x@4294967297", "weir-g.x@ 1" };
    const char *dir = support_shm_dir();
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        char path[400];
        (void)snprintf(path, sizeof path, "%s/%s", dir, others[i]);
        cr_assert_eq(mkfifo(path, 0600), 0);
        CHECK_OK(weir_section_clean(NULL, NULL));
        cr_assert(is_fifo(path), "%s", others[i]);
        cr_assert_eq(unlink(path), 0);
    }
    cr_assert(mkfifo(companion_path(dir, "Global/x", 255).text, 0600) == 0);
    CHECK_OK(weir_section_clean(NULL, NULL));
    check_nothing_left(dir);
}

/* ---- the name removed under it ---- */

Test(companion, of_a_section_whose_name_is_another_now_is_not_made_and_the_others_not_removed)
{
    const char *dir = support_shm_dir();
    int old_fd, fd, got = -7;
    weir_section *old = have_companion("fifo", 4, &slots, &old_fd);
    cr_assert_eq(unlink(section_path(dir, "fifo").text), 0);
    CHECK_STATUS(weir_companion_make(old, 4, &got), WEIR_E_NOT_FOUND);
    weir_section *section = have_companion("fifo", 4, &slots, &fd);
    CHECK_STATUS(weir_companion_make(old, 4, &got), WEIR_E_NOT_FOUND);
    CHECK_OK(weir_section_close(old));
    cr_assert(got == -7 && is_fifo(companion_path(dir, "fifo", 4).text));
    weir_companion_close(old_fd);
    weir_companion_close(fd);
    CHECK_OK(weir_section_close(section));
    check_nothing_left(dir);
}

/* ---- what peers write ---- */

Test(companion, any_bits_lead_to_no_more_than_removing_fifos_of_ones_own)
{
    const char *dir = support_shm_dir();
    uint64_t seed = support_seed();
    for (uint64_t round = 0; round < support_count(200); round++) {
        weir_section *section = create("Global/fifo", &slots), *beside = create("Global/fifo2", &slots);
        path_text text = companion_path(dir, "Global/fifo", 3), fifo = companion_path(dir, "Global/fifo", 200);
        path_text others = companion_path(dir, "Global/fifo2", 200);
        file_write(text.text, "text", 4, 0600);
        cr_assert(mkfifo(fifo.text, 0600) == 0 && mkfifo(others.text, 0600) == 0);
        uint64_t bits = round == 0 ? UINT64_MAX : support_random(&seed);
        write_notes(section_path(dir, "Global/fifo").text, bits);
        CHECK_OK(weir_section_close(section));
        cr_assert(exists(text.text) && is_fifo(others.text));
        cr_assert_eq(exists(fifo.text), (bits >> 200 % 64 & 1) == 0);
        CHECK_OK(weir_section_close(beside));
        cr_assert(unlink(text.text) == 0 && unlink(others.text) == 0);
        (void)unlink(fifo.text);
    }
    check_nothing_left(dir);
}
