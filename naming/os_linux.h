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

/* weir_linux_allocate makes [from, to) of the file real memory.  dir is for texts.  What it cannot have is a status
 * before anything is asked of the kernel that could kill: see naming/README.md, "create never lies". */
weir_status weir_linux_allocate(int fd, uint64_t from, uint64_t to, const char *dir);

#endif
