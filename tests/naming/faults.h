/* tests/naming/faults.h - the table of the system calls of naming/, replaced: the Nth call of a kind fails once or from
 * then on, is the last thing its process does, or is when another comes in between. */
#ifndef WEIR_TESTS_NAMING_FAULTS_H
#define WEIR_TESTS_NAMING_FAULTS_H

#include "sections.h"

#include <weir/naming/os_linux.h>

#include <criterion/criterion.h>
#include <limits.h>
#include <stdarg.h>
#include <sys/mman.h>

enum call {
    OPENAT, TMPFILE, CLOSE, DUP, FD_FLAGS, FSTAT, FSTATAT, FCHMOD, FCHMODAT, FCHOWN, MKDIRAT, MKFIFOAT, LINKAT,
    UNLINKAT, LOCK, UNLOCK, LOOK, FALLOCATE, PUNCH, FTRUNCATE, FSYNC, PREAD, PWRITE, GETDENTS, MMAP, MUNMAP, MPROTECT,
    MADVISE, MSYNC, MLOCK, MBIND, MOVE_PAGES, MEMFD, SEAL, SEALS, SENDMSG, RECVMSG, FSTATVFS, GETRLIMIT,
    GETRANDOM, CALLS
};

static const char *const call_names[CALLS] = {
    "openat", "openat of a new file", "close", "dup", "fcntl of flags", "fstat", "fstatat", "fchmod", "fchmodat",
    "fchown", "mkdirat", "mkfifoat", "linkat", "unlinkat", "lock", "unlock", "look at a lock", "fallocate", "punch",
    "ftruncate", "fsync", "pread", "pwrite", "getdents", "mmap", "munmap", "mprotect", "madvise", "msync", "mlock2",
    "mbind", "move_pages", "memfd_create", "seal", "look at seals", "sendmsg", "recvmsg", "fstatvfs", "getrlimit",
    "getrandom",
};

_Static_assert(sizeof(weir_linux_calls) == 35 * sizeof(void (*)(void)), "a call more or less: so here");

static weir_linux_calls real;
static void (*kept_out)(void); /* called when somebody else's lock is met */

static struct {
    bool armed;
    enum call call;    /* which kind fails, */
    long first, times; /* from which one on, and how many of them */
    int error;
    long seen[CALLS];
    long failed;
    long total; /* calls of any kind */
    long kill_at;
    bool kill_after;
    bool munmap_too;
    long meet_at; /* before which call another acts */
    void (*meet)(void);
    int64_t mapped; /* bytes that the library has mapped and not unmapped, armed or not */
} plan;

static inline void die_if(bool after)
{
    if (plan.armed && plan.total == plan.kill_at && plan.kill_after == after)
        (void)kill(getpid(), SIGKILL);
}

static inline bool fails(enum call call)
{
    if (!plan.armed)
        return false;
    plan.total++;
    die_if(false);
    if (plan.total == plan.meet_at)
        plan.meet();
    plan.seen[call]++;
    if (call == MUNMAP && plan.munmap_too) {
        errno = ENOMEM;
        return true;
    }
    if (call != plan.call || plan.seen[call] < plan.first || plan.seen[call] - plan.first >= plan.times)
        return false;
    plan.failed++;
    errno = plan.error;
    return true;
}

#define CALL(call, type, failure, expression)                                                                         \
    do {                                                                                                              \
        if (fails(call))                                                                                              \
            return failure;                                                                                           \
        type result = expression;                                                                                     \
        die_if(true);                                                                                                 \
        return result;                                                                                                \
    } while (0)

static inline int my_openat(int dir, const char *path, int flags, mode_t mode)
{
    CALL((flags & O_TMPFILE) == O_TMPFILE ? TMPFILE : OPENAT, int, -1, real.openat(dir, path, flags, mode));
}
static inline int my_close(int fd)
{
    if (fails(CLOSE)) { /* Linux gives the descriptor up whatever close returns */
        int error = errno;
        (void)real.close(fd);
        errno = error;
        return -1;
    }
    int result = real.close(fd);
    die_if(true);
    return result;
}
static inline int my_dup_above(int fd, int least)
{
    CALL(DUP, int, -1, real.dup_above(fd, least));
}
static inline int my_fd_flags(int fd, int command, int value)
{
    CALL(FD_FLAGS, int, -1, real.fd_flags(fd, command, value));
}
static inline int my_fstat(int fd, struct stat *out)
{
    CALL(FSTAT, int, -1, real.fstat(fd, out));
}
static inline int my_fstatat(int dir, const char *path, struct stat *out, int flags)
{
    CALL(FSTATAT, int, -1, real.fstatat(dir, path, out, flags));
}
static inline int my_fchmod(int fd, mode_t mode)
{
    CALL(FCHMOD, int, -1, real.fchmod(fd, mode));
}
static inline int my_fchmodat(int dir, const char *path, mode_t mode, int flags)
{
    CALL(FCHMODAT, int, -1, real.fchmodat(dir, path, mode, flags));
}
static inline int my_fchown(int fd, uid_t owner, gid_t group)
{
    CALL(FCHOWN, int, -1, real.fchown(fd, owner, group));
}
static inline int my_mkdirat(int dir, const char *path, mode_t mode)
{
    CALL(MKDIRAT, int, -1, real.mkdirat(dir, path, mode));
}
static inline int my_mkfifoat(int dir, const char *path, mode_t mode)
{
    CALL(MKFIFOAT, int, -1, real.mkfifoat(dir, path, mode));
}
static inline int my_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    CALL(LINKAT, int, -1, real.linkat(from_dir, from, to_dir, to, flags));
}
static inline int my_unlinkat(int dir, const char *path, int flags)
{
    CALL(UNLINKAT, int, -1, real.unlinkat(dir, path, flags));
}
static inline int my_lock(int fd, int command, struct flock *range)
{
    if (fails(command == F_OFD_GETLK ? LOOK : range->l_type == F_UNLCK ? UNLOCK : LOCK))
        return -1;
    int result = real.lock(fd, command, range), error = errno;
    if (kept_out != NULL && (result != 0 || (command == F_OFD_GETLK && range->l_type == F_WRLCK)))
        kept_out();
    errno = error;
    die_if(true);
    return result;
}
static inline int my_ftruncate(int fd, off_t size)
{
    CALL(FTRUNCATE, int, -1, real.ftruncate(fd, size));
}
static inline int my_fallocate(int fd, int mode, off_t offset, off_t len)
{
    CALL((mode & FALLOC_FL_PUNCH_HOLE) != 0 ? PUNCH : FALLOCATE, int, -1, real.fallocate(fd, mode, offset, len));
}
static inline int my_fsync(int fd)
{
    CALL(FSYNC, int, -1, real.fsync(fd));
}
static inline ssize_t my_pread(int fd, void *buffer, size_t size, off_t offset)
{
    CALL(PREAD, ssize_t, -1, real.pread(fd, buffer, size, offset));
}
static inline ssize_t my_pwrite(int fd, const void *buffer, size_t size, off_t offset)
{
    CALL(PWRITE, ssize_t, -1, real.pwrite(fd, buffer, size, offset));
}
static inline ssize_t my_getdents(int fd, void *buffer, size_t size)
{
    CALL(GETDENTS, ssize_t, -1, real.getdents(fd, buffer, size));
}
static inline void *my_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (fails(MMAP))
        return MAP_FAILED;
    void *result = real.mmap(at, size, protection, flags, fd, offset);
    if (result != MAP_FAILED && (flags & MAP_FIXED) == 0) /* a fixed one takes another's place */
        plan.mapped += (int64_t)((size + 4095) / 4096 * 4096);
    die_if(true);
    return result;
}
static inline int my_munmap(void *base, size_t size)
{
    if (fails(MUNMAP))
        return -1;
    int result = real.munmap(base, size);
    if (result == 0)
        plan.mapped -= (int64_t)((size + 4095) / 4096 * 4096);
    die_if(true);
    return result;
}
static inline int my_mprotect(void *base, size_t size, int protection)
{
    CALL(MPROTECT, int, -1, real.mprotect(base, size, protection));
}
static inline int my_madvise(void *base, size_t size, int advice)
{
    CALL(MADVISE, int, -1, real.madvise(base, size, advice));
}
static inline int my_msync(void *base, size_t size, int flags)
{
    CALL(MSYNC, int, -1, real.msync(base, size, flags));
}
static inline int my_mlock2(const void *base, size_t size, unsigned flags)
{
    CALL(MLOCK, int, -1, real.mlock2(base, size, flags));
}
static inline long my_mbind(void *base, size_t size, uint32_t node)
{
    CALL(MBIND, long, -1, real.mbind(base, size, node));
}
static inline long my_move_pages(unsigned long count, void **pages, int *nodes)
{
    CALL(MOVE_PAGES, long, -1, real.move_pages(count, pages, nodes));
}
static inline int my_memfd_create(const char *name, unsigned flags)
{
    CALL(MEMFD, int, -1, real.memfd_create(name, flags));
}
static inline int my_seals(int fd, int command, int value)
{
    CALL(command == F_ADD_SEALS ? SEAL : SEALS, int, -1, real.seals(fd, command, value));
}
static inline ssize_t my_sendmsg(int socket, const struct msghdr *message, int flags)
{
    CALL(SENDMSG, ssize_t, -1, real.sendmsg(socket, message, flags));
}
static inline ssize_t my_recvmsg(int socket, struct msghdr *message, int flags)
{
    CALL(RECVMSG, ssize_t, -1, real.recvmsg(socket, message, flags));
}
static inline int my_fstatvfs(int fd, struct statvfs *out)
{
    CALL(FSTATVFS, int, -1, real.fstatvfs(fd, out));
}
static inline int my_getrlimit(int resource, struct rlimit *out)
{
    CALL(GETRLIMIT, int, -1, real.getrlimit(resource, out));
}

static inline ssize_t my_getrandom(void *buffer, size_t size, unsigned flags)
{
    CALL(GETRANDOM, ssize_t, -1, real.getrandom(buffer, size, flags));
}

static inline void replace_calls(void)
{
    real = weir_linux;
    weir_linux_believed_ns = 0; /* or the Nth call would be another one the next time */
    weir_linux = (weir_linux_calls){
        .openat = my_openat, .close = my_close, .dup_above = my_dup_above, .fd_flags = my_fd_flags,
        .fstat = my_fstat, .fstatat = my_fstatat, .fchmod = my_fchmod, .fchmodat = my_fchmodat, .fchown = my_fchown,
        .mkdirat = my_mkdirat, .mkfifoat = my_mkfifoat, .linkat = my_linkat, .unlinkat = my_unlinkat, .lock = my_lock,
        .ftruncate = my_ftruncate, .fallocate = my_fallocate, .fsync = my_fsync, .pread = my_pread,
        .pwrite = my_pwrite, .getdents = my_getdents, .mmap = my_mmap, .munmap = my_munmap,
        .mprotect = my_mprotect, .madvise = my_madvise, .msync = my_msync, .mlock2 = my_mlock2, .mbind = my_mbind,
        .move_pages = my_move_pages, .memfd_create = my_memfd_create, .seals = my_seals, .sendmsg = my_sendmsg,
        .recvmsg = my_recvmsg, .fstatvfs = my_fstatvfs, .getrlimit = my_getrlimit,
        .getrandom = my_getrandom,
    };
}

/* ---- what is to happen ---- */

static inline void arm(enum call call, int error, long first, long times)
{
    int64_t mapped = plan.mapped;
    memset(&plan, 0, sizeof plan);
    plan.mapped = mapped;
    plan.call = call;
    plan.error = error;
    plan.first = first;
    plan.times = times;
    plan.armed = true;
}

static inline void arm_kill(long at, bool after)
{
    arm(CALLS, 0, 0, 0);
    plan.kill_at = at;
    plan.kill_after = after;
}

static inline void arm_meeting(long at, void (*meet)(void))
{
    arm(CALLS, 0, 0, 0);
    plan.meet_at = at;
    plan.meet = meet;
}

static inline void disarm(void)
{
    plan.armed = false;
}

/* ---- what was not so ---- */

/* Many rows are walked, and what is wrong with one is said without hiding the others: the test fails at its end, or
 * after enough of it. */
static unsigned complaints;

#define COMPLAINTS_MAX 60
#define COMPLAINTS_EACH 4 /* of one row: then the next */

__attribute__((format(printf, 1, 2))) static inline void complain(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fputs("not so: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    if (++complaints == COMPLAINTS_MAX)
        support_fail(__FILE__, __LINE__, "enough of it");
}

#define EXPECT(condition, ...)                                                                                        \
    do {                                                                                                              \
        if (!(condition))                                                                                             \
            complain(__VA_ARGS__);                                                                                    \
    } while (0)

static inline void check_no_complaints(void)
{
    cr_assert_eq(complaints, 0, "%u things were not so", complaints);
}

/* ---- looking ---- */

static int scratch = -1; /* reading and writing through it says EFAULT where a touch would kill */

static inline void scratch_open(void)
{
    int fd = memfd_create("scratch", MFD_CLOEXEC);
    scratch = fcntl(fd, F_DUPFD_CLOEXEC, 100); /* off the numbers that a test closes */
    CHECK(scratch >= 0 && close(fd) == 0);
}

static inline bool can_read(const void *at, void *copy, size_t size)
{
    return pwrite(scratch, at, size, 0) == (ssize_t)size && pread(scratch, copy, size, 0) == (ssize_t)size;
}

/* Writes bytes there: false where there is nothing to write to, a hole that cannot be filled included. */
static inline bool can_write(void *at, const void *bytes, size_t size)
{
    return pwrite(scratch, bytes, size, 0) == (ssize_t)size && pread(scratch, at, size, 0) == (ssize_t)size;
}

static inline uint64_t locks_between(int fd, int64_t first, int64_t end)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = first, .l_len = end - first };
    if (first >= end || fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type == F_UNLCK)
        return 0;
    int64_t behind = lock.l_len == 0 ? end : lock.l_start + lock.l_len;
    uint64_t here = (uint64_t)lock.l_start * 31 + (uint64_t)lock.l_len * 7 + (lock.l_type == F_WRLCK);
    return here + locks_between(fd, first, lock.l_start) + locks_between(fd, behind, end);
}

/* The locks that anybody has on that file, as a number. */
static inline uint64_t locks_of(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    uint64_t sum = locks_between(fd, 0, INT64_MAX);
    (void)close(fd);
    return sum;
}

/* ---- a folder and the table ---- */

static inline const char *prepare(void)
{
    replace_calls();
    scratch_open();
    return support_shm_dir();
}

#endif
