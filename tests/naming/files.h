/* tests/naming/files.h - what the tests of file-backed sections share: folders of two file systems, patterns, states of
 * files. */
#ifndef WEIR_TESTS_NAMING_FILES_H
#define WEIR_TESTS_NAMING_FILES_H

#include "sections.h"

#include <dirent.h>
#include <sys/statfs.h>

#define KIB64 UINT64_C(65536)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define PAGE UINT64_C(4096)
#define UNTOUCHED ((weir_section *)(uintptr_t)0x1234)

/* ---- folders ---- */

static char disk_path[64];
static pid_t disk_owner;

static inline void disk_remove(void)
{
    DIR *dir = getpid() == disk_owner ? opendir(disk_path) : NULL;
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
        if (unlinkat(dirfd(dir), entry->d_name, 0) != 0)
            (void)unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
    if (dir != NULL)
        (void)closedir(dir);
    (void)rmdir(disk_path);
}

/* An empty folder on what is a disk on most machines; removed at the end, as support_shm_dir's is. */
static inline const char *disk_dir(void)
{
    (void)strcpy(disk_path, "/var/tmp/weir-test.XXXXXX");
    CHECK(mkdtemp(disk_path) != NULL);
    disk_owner = getpid();
    CHECK(atexit(disk_remove) == 0);
    return disk_path;
}

/* Twice, with dir a folder in memory and one on disk; each must be as empty at the end, and no descriptor left. */
#define IN_EACH_FOLDER(dir)                                                                                           \
    for (struct folders in = folders_begin(); in.next < 2; folders_next(&in))                                         \
        for (const char *dir = in.path[in.next]; dir != NULL; dir = NULL)

struct folders {
    const char *path[2];
    int next;
    unsigned fds;
};

static inline struct folders folders_begin(void)
{
    struct folders in = { .path = { support_shm_dir(), disk_dir() } };
    in.fds = open_fds();
    return in;
}

static inline void folders_next(struct folders *in)
{
    const char *dir = in->path[in->next++];
    CHECK(support_entries(dir, true) == 0 && "nothing is left behind");
    CHECK(mappings_of(dir).all == 0);
    CHECK(open_fds() == in->fds);
}

static inline path_text in_folder(const char *dir, const char *name)
{
    path_text path;
    int len = snprintf(path.text, sizeof path.text, "%s/%s", dir, name);
    CHECK(len > 0 && (size_t)len < sizeof path.text);
    return path;
}

static inline void remove_file(const char *path)
{
    CHECK(unlink(path) == 0);
}

/* ---- what is in a file ---- */

static inline unsigned char pattern(uint64_t at)
{
    return (unsigned char)(at % 251 + at / 65536);
}

static inline void pattern_fill(void *bytes, uint64_t from, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++)
        ((unsigned char *)bytes)[i] = pattern(from + i);
}

static inline void pattern_file(const char *path, uint64_t size)
{
    unsigned char *bytes = malloc(size + 1);
    CHECK(bytes != NULL);
    pattern_fill(bytes, 0, size);
    file_write(path, bytes, size, 0644);
    free(bytes);
}

static inline uint64_t file_size(const char *path)
{
    struct stat st;
    CHECK(stat(path, &st) == 0);
    return (uint64_t)st.st_size;
}

/* Bytes of the file system that it takes. */
static inline uint64_t file_taken(const char *path)
{
    struct stat st;
    CHECK(stat(path, &st) == 0);
    return (uint64_t)st.st_blocks * 512;
}

/* Read with read(2), and nothing else: the pattern up to `kept`, then zeros, and exactly size bytes. */
static inline void check_file(const char *path, uint64_t kept, uint64_t size)
{
    static unsigned char piece[KIB64], zeros[KIB64];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK(file_size(path) == size);
    for (uint64_t at = 0; at < size;) {
        ssize_t len = pread(fd, piece, sizeof piece, (off_t)at);
        CHECK(len > 0);
        uint64_t i = 0;
        for (; i < (uint64_t)len && at + i < kept; i++)
            CHECK(piece[i] == pattern(at + i));
        CHECK(memcmp(piece + i, zeros, (size_t)len - i) == 0);
        at += (uint64_t)len;
    }
    (void)close(fd);
}

/* What a call that changes nothing leaves alike. */
struct file_state {
    uint64_t inode, size, taken;
    struct timespec changed;
    uint32_t mode, owner, group;
};

static inline struct file_state state_of(const char *path)
{
    struct stat st;
    CHECK(lstat(path, &st) == 0);
    return (struct file_state){ .inode = st.st_ino, .size = (uint64_t)st.st_size, .mode = st.st_mode,
                                .taken = (uint64_t)st.st_blocks * 512, .changed = st.st_ctim, .owner = st.st_uid,
                                .group = st.st_gid };
}

static inline bool same_but_time(const struct file_state *a, const struct file_state *b)
{
    return a->inode == b->inode && a->size == b->size && a->taken == b->taken && a->mode == b->mode &&
           a->owner == b->owner && a->group == b->group;
}

static inline bool unchanged(const struct file_state *a, const struct file_state *b)
{
    return same_but_time(a, b) && a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

/* ---- sections and views ---- */

static inline weir_section *open_file(const char *path, uint64_t size, weir_access access, uint32_t flags)
{
    weir_section *section;
    CHECK_OK(weir_section_open_file(&section, path, size, &(weir_section_options){ .access = access, .flags = flags }));
    return section;
}

static inline weir_view map(weir_section *section, uint64_t offset, uint64_t size, weir_access access)
{
    weir_view view;
    CHECK_OK(weir_view_map(&view, section, offset, size, access));
    return view;
}

/* The rights that /proc/PID/maps shows at an address, "rw-s" for example; "" where nothing is mapped. */
static inline path_text rights_at(const void *at)
{
    path_text rights = { "" };
    char line[1024];
    unsigned long low, high;
    FILE *maps = fopen("/proc/self/maps", "re");
    CHECK(maps != NULL);
    while (fgets(line, sizeof line, maps) != NULL)
        if (sscanf(line, "%lx-%lx %4s", &low, &high, rights.text) == 3 && (uintptr_t)at >= low && (uintptr_t)at < high)
            break;
        else
            rights.text[0] = 0;
    (void)fclose(maps);
    return rights;
}

#endif
