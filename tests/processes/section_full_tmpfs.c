/* A file system that is too small or full is a status with figures, never a SIGBUS, and leaves nothing. */
#include "../naming/sections.h"

#include <weir/naming/companion.h>

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#define MIB (UINT64_C(1) << 20)
#define PAGE UINT64_C(4096)

static const char *dir;

static uint64_t free_bytes(void)
{
    struct statvfs fs;
    CHECK(statvfs(dir, &fs) == 0);
    return (uint64_t)fs.f_bavail * fs.f_frsize;
}

/* Writes each page: were one not allocated, that would be a SIGBUS. */
static void touch(weir_section *section)
{
    weir_view view;
    CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE));
    memset(view.base, 0xa5, view.size);
    CHECK_OK(weir_view_unmap(&view));
}

static void create_and_close(const char *name, uint64_t size)
{
    weir_section *section;
    CHECK_OK(weir_section_create(&section, name, size, NULL));
    touch(section);
    CHECK_OK(weir_section_close(section));
    CHECK(!exists(section_path(dir, name).text));
}

static void more_than_there_is(void)
{
    uint64_t before = free_bytes();
    weir_section *section = NULL;
    bool created = true;
    CHECK_STATUS(weir_section_create(&section, "Local/large", 64 * MIB, NULL), WEIR_E_NO_SPACE);
    CHECK(detail_has("needs 64.0 MiB")); /* with its header */
    CHECK(detail_has("1020 KiB free") || detail_has("1 MiB free") || detail_has("1016 KiB free"));
    CHECK(detail_has(dir));
    CHECK_STATUS(weir_section_open_or_create(&section, "Global/large", MIB, NULL, &created), WEIR_E_NO_SPACE);
    CHECK(section == NULL && created);
    CHECK(files_under(dir) == 0);
    create_and_close("Local/large", MIB / 2);
    CHECK(free_bytes() == before);
}

static void up_to_the_last_page(void)
{
    weir_section *section;
    /* Make the user's directory first: it takes of the room. */
    CHECK_OK(weir_section_create(&section, "Local/first", 1, NULL));
    uint64_t room = free_bytes();
    create_and_close("Global/all", room - PAGE); /* its header is one page */
    CHECK_STATUS(weir_section_create(&(weir_section *){ NULL }, "Global/all", room - PAGE + 1, NULL), WEIR_E_NO_SPACE);
    weir_section *filler, *last;
    CHECK_OK(weir_section_create(&filler, "Global/filler", room - 3 * PAGE, NULL));
    CHECK(free_bytes() == 2 * PAGE);
    CHECK_OK(weir_section_create(&last, "Global/last", PAGE, NULL)); /* exactly fits */
    touch(filler);
    touch(last);
    CHECK(free_bytes() == 0);
    CHECK_STATUS(weir_section_create(&(weir_section *){ NULL }, "Global/none", 1, NULL), WEIR_E_NO_SPACE);
    CHECK_STATUS(weir_section_create(&(weir_section *){ NULL }, "Local/none", 1, NULL), WEIR_E_NO_SPACE);
    CHECK(detail_has("needs") && detail_has("0 bytes free") && detail_has(dir));
    weir_section *second; /* opening takes nothing */
    CHECK_OK(weir_section_open(&second, "Global/last", NULL));
    touch(second);
    CHECK_OK(weir_section_close(second));
    CHECK_OK(weir_section_close(last));
    CHECK_STATUS(weir_section_create(&last, "Global/none", PAGE + 1, NULL), WEIR_E_NO_SPACE);
    CHECK_OK(weir_section_create(&last, "Global/none", PAGE, NULL));
    CHECK_OK(weir_section_close(last));
    CHECK_OK(weir_section_close(filler));
    CHECK_OK(weir_section_close(section));
    CHECK(support_entries(dir, true) == 0);
}

static void extending(void)
{
    weir_section *section;
    weir_view view;
    CHECK_OK(weir_section_create(&section, "Local/grows", PAGE, NULL));
    CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE));
    strcpy(view.base, "stays");
    uint64_t room = free_bytes();
    CHECK_STATUS(weir_section_extend(section, PAGE + room + 1), WEIR_E_NO_SPACE);
    CHECK(detail_has("needs") && detail_has("free") && detail_has(dir));
    CHECK_STATUS(weir_section_extend(section, 64 * MIB), WEIR_E_NO_SPACE);
    CHECK(weir_section_size(section) == PAGE);
    CHECK(free_bytes() == room);
    CHECK(strcmp(view.base, "stays") == 0);
    CHECK_OK(weir_section_extend(section, PAGE + room));
    CHECK(free_bytes() == 0);
    touch(section);
    CHECK_STATUS(weir_section_extend(section, PAGE + room + 1), WEIR_E_NO_SPACE);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
    CHECK(support_entries(dir, true) == 0);
}

static void stale_ones_make_room(void)
{
    section_job job = { .name = "Local/hog", .size = free_bytes() - 64 * 1024 };
    holder h = holder_start(section_job_begin, NULL, &job);
    CHECK_STATUS(weir_section_create(&(weir_section *){ NULL }, "Local/next", MIB / 2, NULL), WEIR_E_NO_SPACE);
    holder_kill(&h);
    create_and_close("Local/next", MIB / 2); /* the dead one's memory is swept first */
    CHECK(support_entries(dir, true) == 0);
}

/* Without inodes there is room, and yet no file can be made. */
static void no_inodes(void)
{
    char path[300];
    int made = 0, fd_none = -7;
    weir_section *section;
    weir_participant slot;
    CHECK_OK(weir_section_create(&section, "Global/before", 1, &(weir_section_options){ .slots = 1 }));
    CHECK_OK(weir_participant_claim(section, 0, 1, &slot));
    for (;; made++) {
        (void)snprintf(path, sizeof path, "%s/inode-%d", dir, made);
        int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
        if (fd < 0)
            break;
        (void)close(fd);
    }
    CHECK(errno == ENOSPC && made > 0);
    CHECK_STATUS(weir_section_create(&(weir_section *){ NULL }, "Local/none", 1, NULL), WEIR_E_NO_SPACE);
    CHECK_STATUS(weir_section_create(&(weir_section *){ NULL }, "Global/none", 1, NULL), WEIR_E_NO_SPACE);
    CHECK_STATUS(weir_companion_make(section, 0, &fd_none), WEIR_E_NO_SPACE);
    CHECK_STATUS(weir_companion_open(section, 0, &fd_none), WEIR_E_NOT_FOUND);
    CHECK(fd_none == -7);
    CHECK_OK(weir_section_close(section));
    while (made-- > 0) {
        (void)snprintf(path, sizeof path, "%s/inode-%d", dir, made);
        CHECK(unlink(path) == 0);
    }
    CHECK(files_under(dir) == 0);
    create_and_close("Local/some", PAGE);
}

/* Last: the limit stays.  SIGXFSZ, unblocked and unhandled, would end the program. */
static void file_size_limit(void)
{
    weir_section *section;
    struct rlimit limit = { .rlim_cur = 64 * 1024, .rlim_max = RLIM_INFINITY };
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHECK_STATUS(weir_section_create(&section, "Local/limited", 64 * 1024, NULL), WEIR_E_NO_SPACE);
    CHECK(detail_has("64 KiB") && detail_has("ulimit -f"));
    CHECK_OK(weir_section_create(&section, "Local/limited", 64 * 1024 - PAGE, NULL));
    touch(section);
    CHECK_STATUS(weir_section_extend(section, 64 * 1024), WEIR_E_NO_SPACE);
    CHECK(weir_section_size(section) == 64 * 1024 - PAGE);
    CHECK_OK(weir_section_close(section));
    CHECK(support_entries(dir, true) == 0);
}

static void unmount(void)
{
    (void)umount2(dir, MNT_DETACH);
}

int main(void)
{
    dir = support_shm_dir();
    if (unshare(CLONE_NEWNS) != 0)
        support_skip("a mount namespace of one's own is not permitted here: %s", strerror(errno));
    /* Nothing of this is seen outside, and it goes with the process. */
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("weir", dir, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,nr_inodes=64") != 0)
        support_skip("mounting a tmpfs is not permitted here: %s", strerror(errno));
    CHECK(atexit(unmount) == 0);
    more_than_there_is();
    up_to_the_last_page();
    extending();
    stale_ones_make_room();
    no_inodes();
    file_size_limit();
    return 0;
}
