/* naming/os_linux.h - private to the Linux half: the system calls it makes, in a table that a test may replace, so that
 * the Nth call of a kind can fail or kill [SQLite's test_syscall.c does it so]. */
#ifndef WEIR_NAMING_OS_LINUX_H
#define WEIR_NAMING_OS_LINUX_H

#include <fcntl.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

#include <weir/base/status.h>
#include <weir/naming/os.h>

typedef struct weir_linux_calls {
    int (*openat)(int dir, const char *path, int flags, mode_t mode);
    int (*close)(int fd);
    int (*dup_above)(int fd, int least); /* fcntl F_DUPFD_CLOEXEC */
    int (*fstat)(int fd, struct stat *out);
    int (*fstatat)(int dir, const char *path, struct stat *out, int flags);
    int (*fchmod)(int fd, mode_t mode);
    int (*fchmodat)(int dir, const char *path, mode_t mode, int flags);
    int (*mkdirat)(int dir, const char *path, mode_t mode);
    int (*linkat)(int from_dir, const char *from, int to_dir, const char *to, int flags);
    int (*unlinkat)(int dir, const char *path, int flags);
    int (*lock)(int fd, int command, struct flock *range);
    int (*ftruncate)(int fd, off_t size);
    int (*fallocate)(int fd, int mode, off_t offset, off_t len);
    ssize_t (*pread)(int fd, void *buffer, size_t size, off_t offset);
    void *(*mmap)(void *at, size_t size, int protection, int flags, int fd, off_t offset);
    int (*munmap)(void *base, size_t size);
    int (*madvise)(void *base, size_t size, int advice);
    int (*fstatvfs)(int fd, struct statvfs *out);
    int (*getrlimit)(int resource, struct rlimit *out);
} weir_linux_calls;

extern weir_linux_calls weir_linux;

/* No status: what was seen has changed meanwhile, look again. */
#define WEIR_LINUX_AGAIN ((weir_status)0x7fff)

/* weir_linux_fail is a failed call's status, of errno; what and where make its text. */
weir_status weir_linux_fail(const char *what, const char *where);

/* weir_linux_allocate makes [from, to) of the file real memory.  dir is for texts.  What it cannot have is a status
 * before anything is asked of the kernel that could kill: see naming/README.md, "create never lies". */
weir_status weir_linux_allocate(int fd, uint64_t from, uint64_t to, const char *dir);

/* ---- where a name lives ---- */

#define WEIR_PLACE_GLOBAL "weir-g." /* two prefixes: a Global name must never meet a Local directory */
#define WEIR_PLACE_LOCAL "weir-u."
#define WEIR_PLACE_PATH 4608 /* bytes: a path, a user's directory and a name */

struct weir_place {
    int base;                     /* the shm directory */
    int dir;                      /* where the file is; base itself for a Global name */
    const char *path;             /* the shm directory's, for texts */
    char local[WEIR_PLACE_PATH];       /* the user's directory in it, "" for a Global name */
    char file[WEIR_PLACE_PATH];        /* the file's name in dir */
};

/* weir_place_open opens the directories of a scope under the shm directory path, making the user's own if create.
 * Whatever it returns, weir_place_close is due.  NOT_FOUND: there is no user's directory. */
weir_status weir_place_open(struct weir_place *place, const char *path, weir_scope scope, bool create);
void weir_place_close(struct weir_place *place);

/* weir_place_name says which name is meant; weir_place_by_path does it without open directories, for leaving. */
void weir_place_name(struct weir_place *place, const weir_name *name);
void weir_place_by_path(struct weir_place *place, const weir_os_section *os);

/* weir_place_names tells whether the name still means the file that fd has open. */
bool weir_place_names(const struct weir_place *place, int fd);

/* weir_place_remove removes the name, and the user's directory if that was all in it.  The caller holds the exclusive
 * lock of its inode and has checked weir_place_names under it.  As unlinkat. */
int weir_place_remove(const struct weir_place *place);
void weir_place_remove_local(const struct weir_place *place);

/* weir_place_squatted is the failure where something that is none of ours stands at file in dir: it says what, and
 * whose. */
weir_status weir_place_squatted(const struct weir_place *place, int dir, const char *file, weir_status status,
                                const char *why);

#endif
