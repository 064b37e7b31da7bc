/* naming/os_linux.c - sections as files under /dev/shm, memory files and files: what holds for all of them once they
 * are open.
 *
 * The others: os_linux_find.c (named ones), os_linux_unnamed.c, os_linux_file.c, os_linux_list.c (looking at what is
 * there), os_linux_lock.c, os_linux_place.c, os_linux_space.c, os_linux_memory.c
 * and os_linux_companion.c (FIFOs beside a section). */
#include <weir/base/fail.h>
#include <weir/naming/os_linux.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ATTEMPT_NS INT64_C(2000000000) /* how long a name may be held locked before an opener gives up */
#define MPOL_BIND_MODE 2
#define NODES_MAX 1024

/* ---- the system calls ---- */

static int call_openat(int dir, const char *path, int flags, mode_t mode)
{
    return openat(dir, path, flags, mode);
}

static int call_dup_above(int fd, int least)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, least);
}

static int call_fcntl(int fd, int command, int value)
{
    return fcntl(fd, command, value);
}

static int call_lock(int fd, int command, struct flock *range)
{
    return fcntl(fd, command, range);
}

static int call_getrlimit(int resource, struct rlimit *out)
{
    return getrlimit((__rlimit_resource_t)resource, out);
}

static ssize_t call_getdents(int fd, void *buffer, size_t size)
{
    return getdents64(fd, buffer, size);
}

static long call_mbind(void *base, size_t size, uint32_t node)
{
    unsigned long mask[NODES_MAX / 64 + 1] = { 0 };
    mask[node / 64] = 1ul << node % 64;
    return syscall(SYS_mbind, base, size, (unsigned long)MPOL_BIND_MODE, mask, (unsigned long)NODES_MAX + 1, 0ul);
}

static long call_move_pages(unsigned long count, void **pages, int *nodes)
{
    return syscall(SYS_move_pages, 0ul, count, pages, NULL, nodes, 0ul);
}

weir_linux_calls weir_linux = {
    .openat = call_openat,
    .close = close,
    .dup_above = call_dup_above,
    .fd_flags = call_fcntl,
    .fstat = fstat,
    .fstatat = fstatat,
    .fchmod = fchmod,
    .fchmodat = fchmodat,
    .fchown = fchown,
    .mkdirat = mkdirat,
    .mkfifoat = mkfifoat,
    .linkat = linkat,
    .unlinkat = unlinkat,
    .lock = call_lock,
    .ftruncate = ftruncate,
    .fallocate = fallocate,
    .fsync = fsync,
    .pread = pread,
    .pwrite = pwrite,
    .getdents = call_getdents,
    .mmap = mmap,
    .munmap = munmap,
    .mprotect = mprotect,
    .madvise = madvise,
    .msync = msync,
    .mlock2 = mlock2,
    .mbind = call_mbind,
    .move_pages = call_move_pages,
    .memfd_create = memfd_create,
    .seals = call_fcntl,
    .sendmsg = sendmsg,
    .recvmsg = recvmsg,
    .fstatvfs = fstatvfs,
    .getrlimit = call_getrlimit,
    .getrandom = getrandom,
};

weir_status weir_linux_fail(const char *what, const char *where)
{
    switch (errno) {
    case EACCES:
    case EPERM:
    case EROFS:
        return weir_fail(WEIR_E_PERMISSION, "%s %s: %s", what, where, strerror(errno));
    case ENOMEM:
    case EMFILE:
    case ENFILE:
        return weir_fail(WEIR_E_NO_MEMORY, "%s %s: %s", what, where, strerror(errno));
    case ENOSPC:
    case EDQUOT:
        return weir_fail(WEIR_E_NO_SPACE, "%s %s: %s", what, where, strerror(errno));
    default:
        return weir_fail(WEIR_E_OS, "%s %s: %s", what, where, strerror(errno));
    }
}

_Static_assert(sizeof(off_t) == 8 && sizeof(size_t) == 8, "sizes and offsets of files and mappings are 64 bits");

uint64_t weir_os_page(void)
{
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

uint32_t weir_os_user(void)
{
    return geteuid();
}

weir_status weir_os_random(uint64_t *out)
{
    int saved = errno;
    uint64_t number = 0;
    ssize_t got = 0;
    while (number == 0 && got >= 0) {
        got = weir_linux.getrandom(&number, sizeof number, 0);
        if (got < 0 && errno == EINTR)
            got = 0;
        if (got != (ssize_t)sizeof number)
            number = 0;
    }
    weir_status status = WEIR_OK;
    if (got < 0 && errno == ENOSYS)
        status = weir_fail(WEIR_E_UNSUPPORTED, "this system has no getrandom, from which a section gets its id");
    else if (got < 0)
        status = weir_linux_fail("cannot draw a section's id from", "getrandom");
    else
        *out = number;
    errno = saved;
    return status;
}

int weir_linux_off_standard(int fd)
{
    if (fd < 0 || fd > 2)
        return fd;
    int moved = weir_linux.dup_above(fd, 3);
    int error = errno;
    (void)weir_linux.close(fd);
    errno = error;
    return moved;
}

int weir_linux_reopen(int fd, int flags)
{
    char self[64];
    (void)snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    return weir_linux_off_standard(weir_linux.openat(AT_FDCWD, self, flags | O_CLOEXEC, 0));
}

char *weir_linux_shm_dir(weir_status *why)
{
    const char *dir = secure_getenv("WEIR_SHM_DIR");
    if (dir == NULL || *dir == 0)
        dir = "/dev/shm";
    char *path = *dir == '/' ? strdup(dir) : realpath(dir, NULL);
    if (path == NULL)
        *why = errno == ENOMEM ? weir_fail(WEIR_E_NO_MEMORY, "no memory for the shared-memory directory's path")
                               : weir_linux_fail("cannot open the shared-memory directory WEIR_SHM_DIR", dir);
    return path;
}

int64_t weir_linux_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

bool weir_linux_wait(int64_t *deadline)
{
    int64_t now = weir_linux_now_ns();
    if (*deadline == 0)
        *deadline = now + ATTEMPT_NS;
    if (now > *deadline)
        return false;
    if (now < *deadline - ATTEMPT_NS + 100000)
        (void)sched_yield();
    else
        (void)nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
    return true;
}

/* ---- fork ---- */

/* Every open section of this process: a child closes what it inherited, or its copies would keep the parent's locks
 * after the parent's death. */
static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static weir_os_section *list;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static int fork_once_error;

/* A thread that is cancelled inside would leave the lock held for ever: most calls of the system can be cancelled. */
static _Thread_local int cancel_before;

static void lock_list(void)
{
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_before);
    (void)pthread_mutex_lock(&list_lock);
}

static void unlock_list(void)
{
    (void)pthread_mutex_unlock(&list_lock);
    (void)pthread_setcancelstate(cancel_before, NULL);
}

static void before_fork(void)
{
    (void)pthread_mutex_lock(&list_lock);
}

static void after_fork_parent(void)
{
    (void)pthread_mutex_unlock(&list_lock);
}

static void after_fork_child(void)
{
    int saved = errno;
    for (weir_os_section *os = list; os != NULL; os = os->next) {
        (void)weir_linux.close(os->fd);
        for (int i = 0; i < 2; i++)
            if (os->dirs[i] >= 0)
                (void)weir_linux.close(os->dirs[i]);
        os->fd = -1;
        os->forked = true;
    }
    list = NULL;
    errno = saved;
    (void)pthread_mutex_unlock(&list_lock);
}

static void watch_fork(void)
{
    fork_once_error = pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

weir_status weir_linux_enter(void)
{
    (void)pthread_once(&fork_once, watch_fork);
    if (fork_once_error != 0)
        return weir_fail(WEIR_E_NO_MEMORY, "no memory for a fork handler");
    lock_list();
    return WEIR_OK;
}

weir_status weir_os_at_fork(void (*before)(void), void (*after_parent)(void), void (*after_child)(void))
{
    return pthread_atfork(before, after_parent, after_child) == 0 ? WEIR_OK : WEIR_E_NO_MEMORY;
}

void weir_linux_leave(void)
{
    unlock_list();
}

void weir_linux_list_add(weir_os_section *os)
{
    os->previous = NULL;
    os->next = list;
    if (list != NULL)
        list->previous = os;
    list = os;
}

static void list_remove(weir_os_section *os)
{
    if (os->next != NULL)
        os->next->previous = os->previous;
    if (os->previous != NULL)
        os->previous->next = os->next;
    else
        list = os->next;
}

void weir_linux_step_out(weir_os_section *os, int fd)
{
    os->fd = fd;
    weir_linux_list_add(os);
    unlock_list();
}

void weir_linux_step_in(weir_os_section *os)
{
    lock_list();
    list_remove(os);
}

/* ---- an open section's life ---- */

weir_status weir_linux_adopt(weir_os_section *os, weir_section_kind kind, const char *title,
                             const weir_section_options *options)
{
    *os = (weir_os_section){ .fd = -1, .dirs = { -1, -1 }, .kind = kind, .uid = geteuid(), .page = weir_os_page() };
    if (options != NULL) {
        os->access = options->access;
        os->want = options->want | options->demand;
        os->demand = options->demand;
        os->node = options->node;
        os->dump = (options->flags & WEIR_DUMP) != 0;
    }
    int saved = errno;
    os->title = strdup(title);
    os->from = os->title;
    errno = saved;
    return os->title != NULL ? WEIR_OK : weir_fail(WEIR_E_NO_MEMORY, "no memory for a section's handle");
}

void weir_linux_abandon(weir_os_section *os)
{
    free(os->title);
    free(os->dir);
    os->title = os->dir = NULL;
    os->fd = -1;
}

void weir_linux_let_go(const weir_os_section *os)
{
    /* Unlocking first, not upgrading: of two that upgrade at once neither succeeds, and the name stays. */
    (void)weir_lock_set(os->fd, F_UNLCK, WEIR_LIFE_FIRST, WEIR_RANGE_LEN);
    if (os->kind == WEIR_SECTION_NAMED && (!os->persistent || os->unfinished) &&
        weir_lock_set(os->fd, F_WRLCK, WEIR_LIFE_FIRST, WEIR_RANGE_LEN) == 0) {
        struct weir_place place;
        weir_place_by_path(&place, os);
        if (weir_place_names(&place, os->fd) && weir_place_remove(&place, os->fd) != 0 && os->unfinished)
            weir_linux_undo(os->fd);
        /* a mapping would keep it held behind the close */
        (void)weir_lock_set(os->fd, F_UNLCK, WEIR_LIFE_FIRST, WEIR_RANGE_LEN);
    }
}

void weir_os_release(weir_os_section *os)
{
    int saved = errno;
    if (!os->forked) { /* a child's is closed by its handler; the locks are the parent's */
        lock_list();
        list_remove(os);
        if (os->kind != WEIR_SECTION_FILE && os->access == WEIR_READ_WRITE)
            weir_linux_let_go(os);
        else if (os->life != 0)
            (void)weir_lock_set(os->fd, F_UNLCK, os->life, 1);
        (void)weir_linux.close(os->fd);
        unlock_list();
    }
    weir_linux_abandon(os);
    errno = saved;
}

/* ---- size and memory ---- */

static uint64_t round_up(uint64_t bytes, uint64_t page)
{
    return (bytes + page - 1) / page * page;
}

/* Growing somebody's file.  Memory first, its length last: another may make it longer meanwhile, and what is to be
 * undone is behind its end, wherever that is by then. */
static weir_status grow_file(weir_os_section *os, uint64_t from, uint64_t to)
{
    struct stat st;
    bool began = false;
    weir_status status = weir_linux_allocate_behind(os->fd, from, to, os->from, &began);
    if (status != WEIR_OK && began && weir_linux.fstat(os->fd, &st) == 0)
        (void)weir_linux.ftruncate(os->fd, st.st_size);
    return status;
}

weir_status weir_os_grow(weir_os_section *os, uint64_t from, uint64_t to)
{
    int saved = errno;
    weir_status status = WEIR_OK;
    from = round_up(from, os->large ? os->page : 1); /* a large page's end was had with its beginning */
    to = round_up(to, os->large ? os->page : 1);
    if (os->kind == WEIR_SECTION_FILE) {
        status = grow_file(os, from, to);
    } else if (to > from) {
        /* It may be longer than is stated: a killed extender has left that, or what states it is wrong.  Others may have
         * mapped it, so only what this call adds is taken away again. */
        struct stat st;
        if (weir_linux.fstat(os->fd, &st) != 0) {
            status = weir_linux_fail("cannot look at the length of", os->title);
        } else {
            status = weir_linux_bind(os, from, to);
            if (status == WEIR_OK)
                status = weir_linux_allocate(os->fd, from, to, os->from);
            if (status != WEIR_OK)
                (void)weir_linux.ftruncate(os->fd, st.st_size);
        }
    }
    errno = saved;
    return status;
}

weir_status weir_os_allocate(weir_os_section *os, uint64_t from, uint64_t to)
{
    int saved = errno;
    weir_status status = weir_linux_allocate(os->fd, from, to, os->from);
    errno = saved;
    return status;
}

weir_status weir_os_punch(weir_os_section *os, uint64_t from, uint64_t to)
{
    int saved = errno;
    weir_status status = WEIR_OK;
    to = round_up(to, os->page); /* the last page of a content that ends inside it */
    if (weir_linux.fallocate(os->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)(to - from)) != 0)
        status = errno == EOPNOTSUPP
                     ? weir_fail(WEIR_E_UNSUPPORTED, "the file system of %s cannot give memory back", os->title)
                     : weir_linux_fail("cannot give memory back of", os->title);
    errno = saved;
    return status;
}

weir_status weir_os_bytes(weir_os_section *os, uint64_t *bytes)
{
    int saved = errno;
    struct stat st;
    weir_status status = WEIR_OK;
    if (weir_linux.fstat(os->fd, &st) == 0)
        *bytes = (uint64_t)st.st_size;
    else
        status = weir_linux_fail("cannot look at", os->title);
    errno = saved;
    return status;
}

weir_status weir_os_same(const weir_os_section *a, const weir_os_section *b, bool *same)
{
    int saved = errno;
    struct stat first, second;
    weir_status status = WEIR_OK;
    if (weir_linux.fstat(a->fd, &first) != 0 || weir_linux.fstat(b->fd, &second) != 0)
        status = weir_linux_fail("cannot look at", b->title);
    else
        *same = first.st_dev == second.st_dev && first.st_ino == second.st_ino;
    errno = saved;
    return status;
}

/* ---- mappings ---- */

static int protection_of(weir_access access)
{
    return access == WEIR_READ_ONLY ? PROT_READ : PROT_READ | PROT_WRITE;
}

void *weir_linux_pages_around(const weir_os_section *os, void *base, uint64_t *bytes)
{
    uintptr_t at = (uintptr_t)base;
    uint64_t before = at % os->page;
    *bytes = round_up(before + *bytes, os->page);
    return (unsigned char *)base - before;
}

weir_status weir_os_map(weir_os_section *os, uint64_t offset, uint64_t bytes, weir_access access, bool reachable,
                        void **base)
{
    int saved = errno;
    uint64_t before = offset % os->page, len = round_up(before + bytes, os->page);
    int flags = access == WEIR_COPY_ON_WRITE ? MAP_PRIVATE : MAP_SHARED;
    lock_list(); /* a fork between the calls would inherit the memory, and the locks by it */
    weir_status status = WEIR_OK;
    void *at = weir_linux_mmap(os, offset - before, len, reachable ? protection_of(access) : PROT_NONE, flags);
    if (at == MAP_FAILED)
        status = weir_linux_fail("cannot map", os->title);
    else if (weir_linux.madvise(at, len, MADV_DONTFORK) != 0)
        status = weir_linux_fail("cannot keep from forked children the memory of", os->title);
    if (at != MAP_FAILED && status == WEIR_OK && !os->dump && weir_linux.madvise(at, len, MADV_DONTDUMP) != 0 &&
        (os->demand & WEIR_NOT_DUMPED) != 0)
        status = weir_linux_fail("cannot keep out of core dumps the memory of", os->title);
    if (at != MAP_FAILED && status != WEIR_OK)
        (void)weir_linux.munmap(at, len);
    if (status == WEIR_OK && offset == 0 && os->kind != WEIR_SECTION_FILE)
        (void)weir_linux.madvise(at, len, MADV_RANDOM); /* the header: not to be merged with a view right behind it */
    unlock_list();
    if (status == WEIR_OK)
        *base = (unsigned char *)at + before;
    errno = saved;
    return status;
}

void weir_os_unmap(weir_os_section *os, void *base, uint64_t bytes)
{
    int saved = errno;
    void *at = weir_linux_pages_around(os, base, &bytes);
    if (!os->forked) /* in a child something else may be at these addresses by now */
        (void)weir_linux.munmap(at, bytes);
    errno = saved;
}

static weir_status protect(weir_os_section *os, void *base, uint64_t bytes, int protection)
{
    int saved = errno;
    weir_status status = WEIR_OK;
    void *at = weir_linux_pages_around(os, base, &bytes);
    if (weir_linux.mprotect(at, bytes, protection) != 0)
        status = weir_linux_fail("cannot change what can be reached of", os->title);
    errno = saved;
    return status;
}

weir_status weir_os_reach(weir_os_section *os, void *base, uint64_t bytes, weir_access access)
{
    return protect(os, base, bytes, protection_of(access));
}

weir_status weir_os_unreach(weir_os_section *os, void *base, uint64_t bytes)
{
    return protect(os, base, bytes, PROT_NONE);
}

weir_status weir_os_flush_range(weir_os_section *os, void *base, uint64_t bytes)
{
    int saved = errno;
    void *at = weir_linux_pages_around(os, base, &bytes);
    weir_status status = WEIR_OK;
    if (weir_linux.msync(at, bytes, MS_SYNC) != 0)
        status = weir_linux_fail("cannot flush", os->title);
    errno = saved;
    return status;
}

weir_status weir_os_flush(weir_os_section *os)
{
    int saved = errno;
    weir_status status = weir_linux.fsync(os->fd) == 0 ? WEIR_OK : weir_linux_fail("cannot flush", os->title);
    errno = saved;
    return status;
}
