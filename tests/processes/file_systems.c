/* Files on file systems that are full, cannot allocate, or may not be written; and on a disk of their own, to look at
 * what is on it. */
#include "../naming/files.h"

#include <weir/naming/os_linux.h>

#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

static const char *dir;
static weir_linux_calls real;

static weir_status try_open(const char *path, uint64_t size, const weir_section_options *options)
{
    weir_section *section = UNTOUCHED;
    weir_status status = weir_section_open_file(&section, path, size, options);
    if (status == WEIR_OK)
        CHECK_OK(weir_section_close(section));
    else
        CHECK(section == UNTOUCHED && (detail_has(path) || detail_has("of memory left")));
    return status;
}

/* ---- full ones ---- */

static uint64_t free_in(const char *where)
{
    struct statvfs fs;
    CHECK(statvfs(where, &fs) == 0);
    return (uint64_t)fs.f_bavail * fs.f_frsize;
}

/* Takes all that is there. */
static void fill_up(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    off_t at = 0;
    CHECK(fd >= 0);
    for (off_t step = 1 << 20; step >= 1024;)
        if (fallocate(fd, 0, at, step) == 0)
            at += step;
        else
            step /= 2;
    (void)close(fd);
}

static bool lies;

static int optimistic_fstatvfs(int fd, struct statvfs *out)
{
    int result = real.fstatvfs(fd, out);
    if (lies)
        out->f_bavail = out->f_blocks = 1 << 30;
    return result;
}

/* Growth for which there is no room, said by the file system's figures or by its refusal in the middle of it. */
static void check_no_room(const char *where, uint64_t size)
{
    path_text new = in_folder(where, "new"), old = in_folder(where, "old");
    pattern_file(old.text, 5000);
    weir_section *section = open_file(old.text, 0, WEIR_READ_WRITE, 0);
    weir_view view = map(section, 0, 0, WEIR_READ_WRITE);
    CHECK_OK(weir_section_flush(section)); /* what it takes is settled */
    struct file_state before = state_of(old.text), after;
    uint64_t room = free_in(where);
    for (int turn = 0; turn < 2; turn++) {
        lies = turn == 1;
        for (uint32_t flags = WEIR_FILE_CREATE; flags <= WEIR_FILE_NEW; flags += WEIR_FILE_CREATE) {
            CHECK_STATUS(try_open(new.text, size, &(weir_section_options){ .flags = flags }), WEIR_E_NO_SPACE);
            CHECK(!exists(new.text));
        }
        CHECK_STATUS(try_open(old.text, size, NULL), WEIR_E_NO_SPACE);
        CHECK(detail_has("needs"));
        CHECK(turn == 1 || detail_has("free"));
        CHECK_STATUS(weir_section_extend(section, size), WEIR_E_NO_SPACE);
        CHECK(weir_section_size(section) == 5000);
        CHECK_OK(weir_section_flush(section));
        after = state_of(old.text);
        if (turn == 1 && after.taken > before.taken && after.taken <= before.taken + PAGE) {
            room -= after.taken - before.taken; /* a disk's own tree of what is where, which it keeps once it has it */
            after.taken = before.taken;
        }
        CHECK(same_but_time(&before, &after));
        check_file(old.text, 5000, 5000);
    }
    lies = false;
    CHECK(free_in(where) == room);
    CHECK(((unsigned char *)view.base)[4999] == pattern(4999));
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
    remove_file(old.text);
}

/* What was given can be written, whatever becomes of the rest of the file system: or that would be a SIGBUS. */
static void check_promised(const char *where)
{
    path_text path = in_folder(where, "promised"), filler = in_folder(where, "filler"), new = in_folder(where, "new");
    uint64_t size = free_in(where) / 2 / PAGE * PAGE - 5;
    pattern_file(path.text, 100);
    weir_section *section = open_file(path.text, size / 2, WEIR_READ_WRITE, 0);
    CHECK_OK(weir_section_extend(section, size));
    fill_up(filler.text);
    weir_section *observer = open_file(path.text, 0, WEIR_READ_ONLY, 0); /* opening takes nothing */
    weir_view view = map(section, 0, 0, WEIR_READ_WRITE), own = map(observer, 0, 0, WEIR_COPY_ON_WRITE);
    memset(own.base, 0xee, own.size);
    pattern_fill(view.base, 0, size);
    CHECK_OK(weir_view_flush(&view, 0, 0));
    CHECK_OK(weir_section_flush(section));
    CHECK_STATUS(weir_section_extend(section, size + MIB), WEIR_E_NO_SPACE);
    CHECK_STATUS(try_open(new.text, MIB, &(weir_section_options){ .flags = WEIR_FILE_NEW }), WEIR_E_NO_SPACE);
    CHECK(!exists(new.text));
    CHECK_OK(weir_view_unmap(&own));
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(observer));
    CHECK_OK(weir_section_close(section));
    check_file(path.text, size, size);
    remove_file(filler.text);
    remove_file(path.text);
}

static void without_inodes_no_file_is_made(const char *where)
{
    int made = 0;
    char name[32];
    for (;; made++) {
        (void)snprintf(name, sizeof name, "inode-%d", made);
        int fd = open(in_folder(where, name).text, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
        if (fd < 0)
            break;
        (void)close(fd);
    }
    CHECK(errno == ENOSPC && made > 0);
    weir_section_options new = { .flags = WEIR_FILE_NEW };
    CHECK_STATUS(try_open(in_folder(where, "new").text, 10, &new), WEIR_E_NO_SPACE);
    CHECK_STATUS(try_open(in_folder(where, "inode-0").text, 10, NULL), WEIR_OK);
    while (made-- > 0) {
        (void)snprintf(name, sizeof name, "inode-%d", made);
        remove_file(in_folder(where, name).text);
    }
}

static void a_full_file_system_is_a_status_and_leaves_all_as_it_was(const char *where)
{
    weir_linux.fstatvfs = optimistic_fstatvfs;
    uint64_t room = free_in(where);
    check_no_room(where, room + MIB);
    check_no_room(where, 3 * room);
    check_no_room(where, UINT64_C(1) << 40);
    check_promised(where);
    CHECK(free_in(where) == room);
    weir_linux.fstatvfs = real.fstatvfs;
}

static void up_to_the_last_page(const char *where)
{
    path_text path = in_folder(where, "all");
    uint64_t room = free_in(where);
    CHECK_STATUS(try_open(path.text, room + 1, &(weir_section_options){ .flags = WEIR_FILE_NEW }), WEIR_E_NO_SPACE);
    weir_section *section = open_file(path.text, room, WEIR_READ_WRITE, WEIR_FILE_NEW);
    weir_view view = map(section, 0, 0, WEIR_READ_WRITE);
    memset(view.base, 1, view.size);
    CHECK(free_in(where) == 0);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_STATUS(weir_section_extend(section, room + 1), WEIR_E_NO_SPACE);
    CHECK(detail_has("needs 1 bytes") && detail_has("0 bytes free"));
    CHECK_OK(weir_section_close(section));
    remove_file(path.text);
}

/* ---- a disk of its own ---- */

static bool found_in(const char *image, const char *text)
{
    static unsigned char bytes[MIB + 64];
    size_t len = strlen(text), kept = 0;
    int fd = open(image, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    bool found = false;
    for (ssize_t got; !found && (got = read(fd, bytes + kept, MIB)) > 0; kept = len) {
        found = memmem(bytes, kept + (size_t)got, text, len) != NULL;
        memmove(bytes, bytes + kept + (size_t)got - len, len);
    }
    (void)close(fd);
    return found;
}

static void flushed_it_is_on_the_device(const char *where, const char *image)
{
    path_text path = in_folder(where, "flushed");
    weir_section *section = open_file(path.text, 3 * KIB64, WEIR_READ_WRITE, WEIR_FILE_NEW);
    weir_view view = map(section, 0, 0, WEIR_READ_WRITE), own = map(section, 0, 0, WEIR_COPY_ON_WRITE);
    char *bytes = view.base, text[3][40];
    for (int i = 0; i < 3; i++) /* not in this program's own text */
        (void)snprintf(text[i], sizeof text[i], "flushed %d by process %d", i, (int)getpid());
    memcpy(bytes + 5 * PAGE + 1000, text[0], strlen(text[0]));
    memcpy(bytes + 40 * PAGE, text[1], strlen(text[1]));
    memcpy((char *)own.base + 41 * PAGE, text[2], strlen(text[2]));
    CHECK_OK(weir_view_flush(&view, 5 * PAGE + 1000, 1));
    CHECK(found_in(image, text[0]));
    CHECK_OK(weir_view_flush(&own, 0, 0));
    CHECK_OK(weir_section_flush(section));
    CHECK(found_in(image, text[1]) && !found_in(image, text[2]));
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_view_unmap(&own));
    CHECK_OK(weir_section_close(section));
    remove_file(path.text);
}

static void what_may_not_be_written_may_be_looked_at(const char *where)
{
    path_text path = in_folder(where, "kept"), new = in_folder(where, "new");
    pattern_file(path.text, 10000);
    CHECK(mount(NULL, where, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
    CHECK_STATUS(try_open(path.text, 0, NULL), WEIR_E_PERMISSION);
    CHECK_STATUS(try_open(new.text, 10, &(weir_section_options){ .flags = WEIR_FILE_NEW }), WEIR_E_PERMISSION);
    CHECK_STATUS(try_open(new.text, 10, &(weir_section_options){ .flags = WEIR_FILE_CREATE }), WEIR_E_PERMISSION);
    weir_section *section = open_file(path.text, 0, WEIR_COPY_ON_WRITE, 0);
    weir_view view = map(section, 0, 0, WEIR_COPY_ON_WRITE);
    CHECK(((unsigned char *)view.base)[9999] == pattern(9999));
    memset(view.base, 0xee, view.size);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
    CHECK(mount(NULL, where, NULL, MS_REMOUNT, NULL) == 0);
    check_file(path.text, 10000, 10000);
    remove_file(path.text);
}

/* It has memory for whoever writes, and gives none in advance. */
static void a_file_system_that_cannot_allocate_is_unsupported(const char *where)
{
    path_text path = in_folder(where, "plain"), new = in_folder(where, "new");
    pattern_file(path.text, 10000);
    CHECK_STATUS(try_open(path.text, 20000, NULL), WEIR_E_UNSUPPORTED);
    CHECK_STATUS(try_open(new.text, 20000, &(weir_section_options){ .flags = WEIR_FILE_NEW }), WEIR_E_UNSUPPORTED);
    CHECK(!exists(new.text));
    CHECK_STATUS(try_open(path.text, 10000, NULL), WEIR_OK);
    check_file(path.text, 10000, 10000);
    remove_file(path.text);
}

/* ---- mounting ---- */

static path_text mounted; /* a folder of dir */
static bool shown;        /* anything at all */

static void unmount(void)
{
    (void)umount2(mounted.text, MNT_DETACH);
}

/* Runs a body on a file system of its own, which nobody outside sees; it goes with the process. */
static bool mount_one(const char *type, const char *data)
{
    if (mount("weir", mounted.text, type, MS_NOSUID | MS_NODEV, data) == 0)
        return shown = true;
    (void)printf("not shown here: what holds on %s cannot be, without a mount: %s\n", type, strerror(errno));
    return false;
}

static bool mount_disk(const char *image)
{
    char command[2400];
    int fd = open(image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && ftruncate(fd, 24 << 20) == 0);
    (void)close(fd);
    (void)snprintf(command, sizeof command, "exec >/dev/null 2>&1; mkfs.ext4 -q -m 0 -b 1024 -N 64 '%s' && "
                   "mount -o loop '%s' '%s' && rmdir '%s/lost+found'", image, image, mounted.text, mounted.text);
    if (system(command) == 0)
        return shown = true;
    (void)printf("not shown here: what holds on a disk cannot be, without mkfs.ext4 and a loop device\n");
    return false;
}

int main(void)
{
    real = weir_linux;
    dir = support_shm_dir();
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        support_skip("a mount namespace of one's own is not permitted here: %s", strerror(errno));
    mounted = in_folder(dir, "mounted");
    path_text image = in_folder(dir, "image");
    CHECK(mkdir(mounted.text, 0700) == 0 && atexit(unmount) == 0);
    if (mount_one("tmpfs", "size=2m,nr_inodes=32")) {
        a_full_file_system_is_a_status_and_leaves_all_as_it_was(mounted.text);
        up_to_the_last_page(mounted.text);
        without_inodes_no_file_is_made(mounted.text);
        what_may_not_be_written_may_be_looked_at(mounted.text);
        CHECK(support_entries(mounted.text, true) == 0 && umount(mounted.text) == 0);
    }
    if (mount_disk(image.text)) {
        a_full_file_system_is_a_status_and_leaves_all_as_it_was(mounted.text);
        without_inodes_no_file_is_made(mounted.text);
        flushed_it_is_on_the_device(mounted.text, image.text);
        what_may_not_be_written_may_be_looked_at(mounted.text);
        CHECK(support_entries(mounted.text, true) == 0 && umount(mounted.text) == 0);
    }
    if (mount_one("ramfs", NULL)) {
        a_file_system_that_cannot_allocate_is_unsupported(mounted.text);
        CHECK(support_entries(mounted.text, true) == 0 && umount(mounted.text) == 0);
    }
    (void)unlink(image.text);
    CHECK(rmdir(mounted.text) == 0);
    CHECK(support_entries(dir, true) == 0);
    return shown ? 0 : SUPPORT_SKIP;
}

