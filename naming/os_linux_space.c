/* naming/os_linux_space.c - is there room, and taking it: "create never lies". */
#include <weir/base/fail.h>
#include <weir/naming/os_linux.h>

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#define CHUNK (UINT64_C(16) << 20) /* bytes of one fallocate; */
#define CHUNK_MIN UINT64_C(65536)  /* a signal undoes it, so it shrinks until it passes between two */
#define KEPT (UINT64_C(1) << 20)   /* bytes that no section takes of a memory limit, */
#define KEPT_OF 128                /* and of so many bytes one more: page tables, the file's index */
#define TMPFS_MAGIC 0x01021994
#define RAMFS_MAGIC 0x858458f6

ssize_t weir_linux_read_file(const char *path, char *text, size_t size)
{
    int fd = weir_linux.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    /* One read: each of these files is one record, which the kernel gives whole or as far as there is room. */
    ssize_t len = weir_linux.pread(fd, text, size - 1, 0);
    text[len > 0 ? len : 0] = 0;
    (void)weir_linux.close(fd);
    return len;
}

/* The number behind key at the start of a line of text; 0 where there is none. */
static uint64_t number_after(const char *text, const char *key)
{
    size_t len = strlen(key);
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, len) == 0)
            return strtoull(line + len, NULL, 10);
    }
    return 0;
}

#define NO_LIMIT (UINT64_C(1) << 62) /* cgroup v1 says "none" as a number near 2^63 */

#define FOLDER_MAX 4096
#define FILE_MAX 64 /* bytes of room that a folder's path has behind it, for a file's */

/* One of a cgroup's files, 0-terminated; -1 where there is none.  The folder's path comes back as it was. */
static ssize_t cgroup_read(char *folder, const char *file, char *text, size_t size)
{
    size_t end = strlen(folder);
    (void)snprintf(folder + end, FILE_MAX, "/%s", file);
    ssize_t len = weir_linux_read_file(folder, text, size);
    folder[end] = 0;
    return len;
}

/* One of them as a number; false where there is none, or it says "max". */
static bool cgroup_number(char *folder, const char *file, uint64_t *value)
{
    char text[64];
    if (cgroup_read(folder, file, text, sizeof text) <= 0 || text[0] < '0' || text[0] > '9')
        return false;
    *value = strtoull(text, NULL, 10);
    return true;
}

struct cgroup_files {
    const char *max, *current, *inactive, *active;
};
static const struct cgroup_files cgroup_v2 = { "memory.max", "memory.current", "inactive_file ", "active_file " };
static const struct cgroup_files cgroup_v1 = { "memory.limit_in_bytes", "memory.usage_in_bytes",
                                               "total_inactive_file ", "total_active_file " };

/* Clean file pages are given up under pressure before anybody is killed.  Not inline: its room on the stack is large, and
 * mostly not needed. */
static __attribute__((noinline)) uint64_t cgroup_file_pages(char *folder, const struct cgroup_files *files)
{
    char stat[8192];
    if (cgroup_read(folder, "memory.stat", stat, sizeof stat) <= 0)
        return 0;
    return number_after(stat, files->inactive) + number_after(stat, files->active);
}

/* Room for need bytes left in one cgroup; UINT64_MAX where it has no limit.  Who takes the last page of it is killed at
 * the next, be that of a page table, or of another process: so some is kept. */
static uint64_t cgroup_room(char *folder, const struct cgroup_files *files, uint64_t max, uint64_t need)
{
    uint64_t current;
    if (max >= NO_LIMIT || !cgroup_number(folder, files->current, &current))
        return UINT64_MAX;
    uint64_t room = max > current ? max - current : 0, kept = KEPT + need / KEPT_OF;
    if (room >= need + kept)
        return room - kept;
    room += cgroup_file_pages(folder, files);
    room = room < max ? room : max;
    return room > kept ? room - kept : 0;
}

/* The limits of a cgroup and its ancestors, as they were read last: naming/README.md says why they may be believed for a
 * while.  A thread's own, so that nobody waits for another, and a child finds them whole. */
int64_t weir_linux_believed_ns = INT64_C(1000000000);

static _Thread_local struct limits {
    bool whole;
    int64_t since_ns;
    char folder[256];
    uint64_t max[16]; /* from there upwards */
} limits;

static bool limits_known(const char *folder, int64_t now)
{
    return limits.whole && now - limits.since_ns < weir_linux_believed_ns && strcmp(limits.folder, folder) == 0;
}

static void limits_begin(const char *folder, size_t len, int64_t now)
{
    limits.whole = false; /* until all levels are read: a signal handler may look */
    limits.since_ns = now;
    limits.folder[0] = 0;
    if (len < sizeof limits.folder)
        memcpy(limits.folder, folder, len + 1);
}

/* The limit of one level.  One that could not be read now is not believed later. */
static uint64_t read_limit(char *folder, const char *file, unsigned level, bool *whole)
{
    uint64_t max = NO_LIMIT;
    errno = 0;
    if (!cgroup_number(folder, file, &max) && errno != 0 && errno != ENOENT) /* ENOENT: it has no limit */
        *whole = false;
    if (level < sizeof limits.max / sizeof limits.max[0])
        limits.max[level] = max;
    else
        *whole = false;
    return max;
}

/* The least room in the cgroup at path under root and its ancestors, if it is less than *least; folder: whose. */
static void cgroup_and_ancestors(const char *root, const char *path, const struct cgroup_files *files, uint64_t need,
                                 uint64_t *least, char folder[FOLDER_MAX])
{
    char here[FOLDER_MAX + FILE_MAX];
    size_t root_len = strlen(root);
    int len = snprintf(here, FOLDER_MAX, "%s%s", root, strcmp(path, "/") == 0 ? "" : path);
    if (len < 0 || len >= FOLDER_MAX)
        return;
    int64_t now = weir_linux_now_ns();
    bool known = limits_known(here, now), whole = (size_t)len < sizeof limits.folder;
    if (!known)
        limits_begin(here, (size_t)len, now);
    for (unsigned level = 0;; level++) { /* the root's last */
        uint64_t max = known ? limits.max[level] : read_limit(here, files->max, level, &whole);
        uint64_t room = cgroup_room(here, files, max, need);
        if (room < *least) {
            *least = room;
            memcpy(folder, here, strlen(here) + 1); /* its room for a file is empty again */
        }
        char *slash = strrchr(here + root_len, '/');
        if (slash == NULL)
            break;
        *slash = 0;
    }
    limits.whole = known || whole;
}

/* The least room among this process's memory cgroup and its ancestors, and which one that is. */
static uint64_t cgroups_room(uint64_t need, char folder[FOLDER_MAX])
{
    char list[4096];
    if (weir_linux_read_file("/proc/self/cgroup", list, sizeof list) <= 0)
        return UINT64_MAX;
    uint64_t least = UINT64_MAX;
    const char *unified = NULL;
    char *save = NULL;
    for (char *line = strtok_r(list, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
        char *controllers = strchr(line, ':');
        char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (path == NULL)
            continue;
        *path++ = 0;
        controllers++;
        if (strcmp(controllers, "memory") == 0) { /* it is in one hierarchy only */
            cgroup_and_ancestors("/sys/fs/cgroup/memory", path, &cgroup_v1, need, &least, folder);
            return least;
        }
        if (*controllers == 0)
            unified = path;
    }
    if (unified != NULL)
        cgroup_and_ancestors("/sys/fs/cgroup", unified, &cgroup_v2, need, &least, folder);
    return least;
}

static weir_status check_filesystem(int fd, uint64_t need, const char *dir)
{
    char a[WEIR_SIZE_TEXT_MAX], b[WEIR_SIZE_TEXT_MAX], c[WEIR_SIZE_TEXT_MAX];
    struct statvfs fs;
    /* A tmpfs without a limit says 0 blocks. */
    if (weir_linux.fstatvfs(fd, &fs) != 0 || fs.f_blocks == 0)
        return WEIR_OK;
    uint64_t have = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (have >= need)
        return WEIR_OK;
    return weir_fail(WEIR_E_NO_SPACE,
                     "needs %s, %s has %s free of %s: remove what is there, or mount it larger (/dev/shm in a "
                     "container: --shm-size; weir's place elsewhere: WEIR_SHM_DIR)",
                     weir_size_text(a, need), dir, weir_size_text(b, have),
                     weir_size_text(c, (uint64_t)fs.f_blocks * fs.f_frsize));
}

/* Only memory file systems take memory that nobody can write back. */
static weir_status check_memory(int fd, uint64_t need)
{
    char a[WEIR_SIZE_TEXT_MAX], b[WEIR_SIZE_TEXT_MAX], folder[FOLDER_MAX];
    struct statfs fs;
    folder[0] = 0;
    if (fstatfs(fd, &fs) != 0 || (fs.f_type != TMPFS_MAGIC && (unsigned long)fs.f_type != RAMFS_MAGIC))
        return WEIR_OK;
    uint64_t room = cgroups_room(need, folder);
    if (room < need)
        return weir_fail(WEIR_E_NO_SPACE,
                         "needs %s, the memory limit of %s leaves %s for sections: raise it or ask for less",
                         weir_size_text(a, need), folder, weir_size_text(b, room));
    if (need <= CHUNK) /* not worth a look at the machine: it has that much, or is past help */
        return WEIR_OK;
    char text[4096];
    if (weir_linux_read_file("/proc/meminfo", text, sizeof text) <= 0)
        return WEIR_OK;
    room = (number_after(text, "MemAvailable:") + number_after(text, "SwapFree:")) * 1024;
    if (room < need)
        return weir_fail(WEIR_E_NO_SPACE, "needs %s, this machine has %s of memory left", weir_size_text(a, need),
                         weir_size_text(b, room));
    return WEIR_OK;
}

weir_status weir_linux_check_length(uint64_t bytes)
{
    char a[WEIR_SIZE_TEXT_MAX], b[WEIR_SIZE_TEXT_MAX];
    struct rlimit limit;
    if (weir_linux.getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && bytes > limit.rlim_cur)
        return weir_fail(WEIR_E_NO_SPACE, "needs a file of %s, the limit on file sizes (ulimit -f) is %s",
                         weir_size_text(a, bytes), weir_size_text(b, (uint64_t)limit.rlim_cur));
    return WEIR_OK;
}

static weir_status allocate(int fd, bool behind, uint64_t from, uint64_t to, const char *dir, bool *began)
{
    char a[WEIR_SIZE_TEXT_MAX], b[WEIR_SIZE_TEXT_MAX];
    int saved = errno;
    uint64_t need = to - from;
    struct stat st;
    if (behind && weir_linux.fstat(fd, &st) == 0 && (uint64_t)st.st_blocks * 512 > from) { /* some of it is had */
        uint64_t had = (uint64_t)st.st_blocks * 512 - from;
        need = had < need ? need - had : 0;
    }
    weir_status status = weir_linux_check_length(to);
    if (status == WEIR_OK)
        status = check_filesystem(fd, need, dir);
    if (status == WEIR_OK)
        status = check_memory(fd, need);
    uint64_t chunk = CHUNK;
    *began = status == WEIR_OK;
    for (uint64_t at = from; status == WEIR_OK && (at < to || behind);) {
        bool last = behind && at == to; /* all of it is there: now its length */
        uint64_t begin = last ? to - 1 : at, len = last ? 1 : to - at < chunk ? to - at : chunk;
        int mode = behind && !last ? FALLOC_FL_KEEP_SIZE : 0;
        if (weir_linux.fallocate(fd, mode, (off_t)begin, (off_t)len) == 0) {
            at = begin + len;
            behind = behind && !last;
        } else if (errno == ENOSPC || errno == ENOMEM || errno == EDQUOT)
            status = weir_fail(WEIR_E_NO_SPACE, "needs %s, %s gave %s and then said: %s",
                               weir_size_text(a, need), dir, weir_size_text(b, at - from), strerror(errno));
        else if (errno == EOPNOTSUPP)
            status = weir_fail(WEIR_E_UNSUPPORTED, "the file system of %s cannot allocate (fallocate): use a tmpfs",
                               dir);
        else if (errno == EINTR)
            chunk = chunk > CHUNK_MIN ? chunk / 2 : CHUNK_MIN;
        else if (errno == EPERM || errno == EACCES)
            status = weir_linux_fail("cannot allocate in", dir);
        else
            status = weir_fail(WEIR_E_OS, "fallocate in %s: %s", dir, strerror(errno));
    }
    errno = saved;
    return status;
}

weir_status weir_linux_allocate(int fd, uint64_t from, uint64_t to, const char *dir)
{
    bool began;
    return allocate(fd, false, from, to, dir, &began);
}

weir_status weir_linux_allocate_behind(int fd, uint64_t from, uint64_t to, const char *dir, bool *began)
{
    return allocate(fd, true, from, to, dir, began);
}
