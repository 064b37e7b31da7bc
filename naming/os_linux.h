/* naming/os_linux.h - private to the Linux half: the system calls it makes, in a table that a test may replace, so that
 * the Nth call of a kind can fail or kill [SQLite's test_syscall.c does it so]; and what its files share. */
#ifndef WEIR_NAMING_OS_LINUX_H
#define WEIR_NAMING_OS_LINUX_H

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

#include <weir/base/status.h>
#include <weir/naming/os.h>

typedef struct weir_linux_calls {
    int (*openat)(int dir, const char *path, int flags, mode_t mode);
    int (*close)(int fd);
    int (*dup_above)(int fd, int least); /* fcntl F_DUPFD_CLOEXEC */
    int (*fd_flags)(int fd, int command, int value); /* fcntl F_SETFD, F_GETFL */
    int (*fstat)(int fd, struct stat *out);
    int (*fstatat)(int dir, const char *path, struct stat *out, int flags);
    int (*fchmod)(int fd, mode_t mode);
    int (*fchmodat)(int dir, const char *path, mode_t mode, int flags);
    int (*fchown)(int fd, uid_t owner, gid_t group);
    int (*mkdirat)(int dir, const char *path, mode_t mode);
    int (*mkfifoat)(int dir, const char *path, mode_t mode);
    int (*linkat)(int from_dir, const char *from, int to_dir, const char *to, int flags);
    int (*unlinkat)(int dir, const char *path, int flags);
    int (*lock)(int fd, int command, struct flock *range);
    int (*ftruncate)(int fd, off_t size);
    int (*fallocate)(int fd, int mode, off_t offset, off_t len);
    int (*fsync)(int fd);
    ssize_t (*pread)(int fd, void *buffer, size_t size, off_t offset);
    ssize_t (*pwrite)(int fd, const void *buffer, size_t size, off_t offset);
    ssize_t (*getdents)(int fd, void *buffer, size_t size);
    void *(*mmap)(void *at, size_t size, int protection, int flags, int fd, off_t offset);
    int (*munmap)(void *base, size_t size);
    int (*mprotect)(void *base, size_t size, int protection);
    int (*madvise)(void *base, size_t size, int advice);
    int (*msync)(void *base, size_t size, int flags);
    int (*mlock2)(const void *base, size_t size, unsigned flags);
    long (*mbind)(void *base, size_t size, uint32_t node);                          /* MPOL_BIND */
    long (*move_pages)(unsigned long count, void **pages, int *nodes);              /* asks, moves nothing */
    int (*memfd_create)(const char *name, unsigned flags);
    int (*seals)(int fd, int command, int value); /* fcntl F_ADD_SEALS, F_GET_SEALS */
    ssize_t (*sendmsg)(int socket, const struct msghdr *message, int flags);
    ssize_t (*recvmsg)(int socket, struct msghdr *message, int flags);
    int (*fstatvfs)(int fd, struct statvfs *out);
    int (*getrlimit)(int resource, struct rlimit *out);
    ssize_t (*getrandom)(void *buffer, size_t size, unsigned flags);
} weir_linux_calls;

extern weir_linux_calls weir_linux;

/* No status: what was seen has changed meanwhile, look again. */
#define WEIR_LINUX_AGAIN ((weir_status)0x7fff)
/* WEIR_E_NO_SPACE, of memory for a new section: others that make the same one may have it. */
#define WEIR_LINUX_NO_ROOM ((weir_status)0x7ffe)

/* weir_linux_fail is a failed call's status, of errno; what and where make its text. */
weir_status weir_linux_fail(const char *what, const char *where);

/* weir_linux_off_standard moves a descriptor off 0, 1 and 2: in a program that has closed those, the next message would
 * go into the section. */
int weir_linux_off_standard(int fd);

/* weir_linux_reopen gives the file of fd an open file description of its own, through /proc/self/fd.  -1 with errno;
 * ENOENT: /proc is not mounted. */
int weir_linux_reopen(int fd, int flags);

/* weir_linux_shm_dir gives the path of the shm directory in use: WEIR_SHM_DIR, else /dev/shm; absolute; heap.  NULL:
 * *why is what to return. */
char *weir_linux_shm_dir(weir_status *why);

int64_t weir_linux_now_ns(void);

/* weir_linux_wait is for a loop that looks again: it yields, then sleeps; false after 2 seconds of it.  *deadline
 * begins as 0. */
bool weir_linux_wait(int64_t *deadline);

/* ---- the process's open sections (os_linux.c) ---- */

/* Between enter and leave no other thread forks, and this one is not cancelled: a descriptor that is not in the list
 * yet, and a mapping that is not marked yet, exist only there, so that a child finds all it inherits and gives it up. */
weir_status weir_linux_enter(void);
void weir_linux_leave(void);
void weir_linux_list_add(weir_os_section *os);

/* weir_linux_step_out lets other threads fork and open while this one, in between, takes memory for fd or fills it;
 * weir_linux_step_in ends that.  fd is os->fd, and in the list, meanwhile. */
void weir_linux_step_out(weir_os_section *os, int fd);
void weir_linux_step_in(weir_os_section *os);

/* weir_linux_adopt begins an os section's life: its options and its title, copied.  weir_linux_abandon ends it. */
weir_status weir_linux_adopt(weir_os_section *os, weir_section_kind kind, const char *title,
                             const weir_section_options *options);
void weir_linux_abandon(weir_os_section *os);

/* weir_linux_let_go gives the lifetime lock up; whoever then gets the exclusive one is the last, and removes the
 * name. */
void weir_linux_let_go(const weir_os_section *os);

/* weir_linux_undo makes a section that was made again in place, and may not be removed, an unfinished one.  The caller
 * has the exclusive lock. */
void weir_linux_undo(int fd);

/* ---- locks (os_linux_lock.c) ----
 *
 * Ranges of bytes, far behind any content.  A user's own byte in LIFE or LOOK says who it is: its pid is in it. */
#define WEIR_SLOT_FIRST INT64_C(1)              /* a byte a slot */
#define WEIR_LIFE_FIRST (INT64_C(1) << 52)      /* a byte a user, locked for reading; all of it for writing: nobody */
#define WEIR_LOOK_FIRST (INT64_C(1) << 53)      /* a byte an observer */
#define WEIR_RANGE_LEN (INT64_C(1) << 52)       /* of both */
#define WEIR_COMMIT_FIRST (INT64_C(1) << 54)    /* a byte a granule */
#define WEIR_LIFE_PID(byte) ((uint32_t)((byte) % WEIR_RANGE_LEN >> 28))

/* weir_lock_set sets (F_RDLCK, F_WRLCK) or clears (F_UNLCK) a lock without waiting.  0, or -1 with errno; EAGAIN:
 * another holds it. */
int weir_lock_set(int fd, short type, int64_t first, int64_t len);

/* weir_lock_ask tells the type of a lock that keeps this description from writing to the range; F_UNLCK: none. */
int weir_lock_ask(int fd, int64_t first, int64_t len, short *found);

/* weir_lock_byte gives a byte that no other user of the range has, but by a chance of 2^-28. */
int64_t weir_lock_byte(int64_t first);

/* weir_lock_share turns a lock of all of `first`'s range into a read lock of one byte. */
int weir_lock_share(int fd, int64_t first, int64_t byte);

/* weir_lock_walk visits each lock in a range that others hold for reading, about 1,000 of them at most; -1 with
 * errno. */
int weir_lock_walk(int fd, int64_t first, int64_t len, bool (*visit)(int64_t byte, void *arg), void *arg);

/* weir_lock_fail is what a failed lock says.  where: the file. */
weir_status weir_lock_fail(const char *where);

/* ---- memory (os_linux_space.c, os_linux_memory.c) ---- */

/* weir_linux_allocate makes [from, to) of the file real memory.  dir is for texts.  What it cannot have is a status
 * before anything is asked of the kernel that could kill: see naming/README.md, "create never lies". */
weir_status weir_linux_allocate(int fd, uint64_t from, uint64_t to, const char *dir);

/* weir_linux_allocate_behind: the same, and the file stays as long as it is; *began: the kernel was asked. */
weir_status weir_linux_allocate_behind(int fd, uint64_t from, uint64_t to, const char *dir, bool *began);

/* For how long a thread believes a memory cgroup's limits, in ns; tests change it. */
extern int64_t weir_linux_believed_ns;

/* weir_linux_check_length: may this process make a file that long?  To be asked before ftruncate, which would kill. */
weir_status weir_linux_check_length(uint64_t bytes);

/* weir_linux_pages_around gives the whole pages around a piece of a mapping. */
void *weir_linux_pages_around(const weir_os_section *os, void *base, uint64_t *bytes);

/* weir_linux_read_file reads a small file of /proc or /sys whole, 0-terminated; its length or -1. */
ssize_t weir_linux_read_file(const char *path, char *text, size_t size);

/* weir_linux_bind asks for [from, to) of the file's memory on a NUMA node, before it is allocated, if the options ask
 * for that.  Not between enter and leave. */
weir_status weir_linux_bind(weir_os_section *os, uint64_t from, uint64_t to);

/* weir_linux_mmap is mmap at an address that large pages can serve, if they are asked for. */
void *weir_linux_mmap(const weir_os_section *os, uint64_t offset, uint64_t bytes, int protection, int flags);

/* ---- names (os_linux_find.c) ---- */

/* weir_linux_inspect reads the header behind fd.  name NULL: an unnamed one. */
weir_status weir_linux_inspect(int fd, const weir_name *name, const char *title, weir_section_facts *out);

struct weir_place;

/* weir_linux_open_file opens what stands at the place's name, if it is a file that this user may trust. */
weir_status weir_linux_open_file(const struct weir_place *place, const weir_section_options *options, int *fd);

/* weir_linux_remove_stale: the caller has the exclusive lock, so nobody uses the section; removes it if it is ours to
 * remove and does not persist.  NOT_FOUND: the name is free now.  OK: it persists. */
weir_status weir_linux_remove_stale(const struct weir_place *place, int fd, const weir_name *name, bool even_persistent,
                                    weir_section_facts *facts);

/* weir_linux_fill has the request fill the start of a new file, and says last that it is a section.  Not between enter
 * and leave. */
weir_status weir_linux_fill(weir_os_section *os, const weir_os_request *request);

/* weir_linux_sweep takes stale sections of this user away: a bounded number of both scopes, and not what was asked for.
 * place: of that scope, as weir_place_open left it; opened: it said OK.  What the place's file is, is lost. */
void weir_linux_sweep(struct weir_place *place, bool opened, const weir_name *asked);

/* weir_linux_sweep_name takes that section away, whatever its mode, if it is stale and this user's.  True: it did. */
bool weir_linux_sweep_name(const char *path, const weir_name *name);

/* ---- where a name lives (os_linux_place.c) ---- */

#define WEIR_PLACE_GLOBAL "weir-g." /* two prefixes: a Global name must never meet a Local directory */
#define WEIR_PLACE_LOCAL "weir-u."
#define WEIR_PLACE_FOLDER 264 /* bytes: a file's name */
#define WEIR_PLACE_PATH 4608 /* bytes: a path, a user's directory and a name */

struct weir_place {
    int base;                     /* the shm directory */
    int dir;                      /* where the file is; base itself for a Global name */
    const char *path;             /* the shm directory's, for texts */
    char local[WEIR_PLACE_FOLDER]; /* the user's directory in it, "" for a Global name */
    char file[WEIR_PLACE_PATH];    /* the file's name in dir; by path: all of it */
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

/* weir_place_remove removes the companions that the section's header speaks of, the name, and the user's directory if
 * that was all in it.  fd has the section open; the caller holds the exclusive lock of its inode and has checked
 * weir_place_names under it.  As unlinkat of the name. */
int weir_place_remove(const struct weir_place *place, int fd);
void weir_place_remove_local(const struct weir_place *place);

/* weir_place_of_file says which name a file of the directory stands for; false: for none. */
bool weir_place_of_file(const char *file, weir_scope scope, weir_name *out);

/* ---- companions (os_linux_companion.c) ---- */

/* weir_linux_remove_companions removes what FIFOs of ours the header behind fd speaks of.  The caller as that of
 * weir_place_remove. */
void weir_linux_remove_companions(const struct weir_place *place, int fd);

/* weir_place_of_companion says which section's companion a file of the directory would be; false: of none. */
bool weir_place_of_companion(const char *file, weir_scope scope, weir_name *out);

/* weir_linux_remove_orphan removes a companion of this user whose section is not there.  place says the section's name,
 * file is the companion's in place->dir. */
void weir_linux_remove_orphan(const struct weir_place *place, const char *file);

/* weir_place_squatted is the failure where something that is none of ours stands at file in dir: it says what, and
 * whose. */
weir_status weir_place_squatted(const struct weir_place *place, int dir, const char *file, weir_status status,
                                const char *why);

#endif
