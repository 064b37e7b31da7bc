/* naming/os_linux.c - sections as files under /dev/shm, their life and their participants as OFD locks.
 *
 * Byte 0 of a section's file is its life: a read lock says "in use", a write lock is for whoever removes it.  Byte 1
 * + i is participant slot i.  naming/README.md says what holds when a process dies between any two calls here. */
#include <weir/base/fail.h>
#include <weir/naming/os.h>
#include <weir/naming/os_linux.h>
#include <weir/naming/section_layout.h>

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define LIFE_BYTE 0
#define SLOT_BYTE(slot) ((off_t)(slot) + 1)
#define ATTEMPT_NS INT64_C(2000000000) /* how long a name may be held locked before an opener gives up */
#define SWEEP_LIVE_MAX 32              /* names in use that one sweep looks at */

/* ---- the system calls ---- */

static int call_openat(int dir, const char *path, int flags, mode_t mode)
{
    return openat(dir, path, flags, mode);
}

static int call_dup_above(int fd, int least)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, least);
}

static int call_lock(int fd, int command, struct flock *range)
{
    return fcntl(fd, command, range);
}

static int call_getrlimit(int resource, struct rlimit *out)
{
    return getrlimit((__rlimit_resource_t)resource, out);
}

weir_linux_calls weir_linux = {
    .openat = call_openat,
    .close = close,
    .dup_above = call_dup_above,
    .fstat = fstat,
    .fstatat = fstatat,
    .fchmod = fchmod,
    .fchmodat = fchmodat,
    .mkdirat = mkdirat,
    .linkat = linkat,
    .unlinkat = unlinkat,
    .lock = call_lock,
    .ftruncate = ftruncate,
    .fallocate = fallocate,
    .pread = pread,
    .mmap = mmap,
    .munmap = munmap,
    .madvise = madvise,
    .fstatvfs = fstatvfs,
    .getrlimit = call_getrlimit,
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

/* Sets, clears or (F_OFD_GETLK) asks for a lock on one byte; *found: the type that was in the way.  0, or -1 with
 * errno; EAGAIN: another holds it. */
static int lock_byte(int fd, int command, short type, off_t byte, short *found)
{
    struct flock range = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
    int result = weir_linux.lock(fd, command, &range);
    if (result != 0 && errno == EACCES) /* POSIX allows either */
        errno = EAGAIN;
    if (found != NULL)
        *found = range.l_type;
    return result;
}

/* Moves a descriptor off 0, 1 and 2: in a program that has closed those, the next message would go into the section. */
static int off_standard(int fd)
{
    if (fd < 0 || fd > 2)
        return fd;
    int moved = weir_linux.dup_above(fd, 3);
    int error = errno;
    (void)weir_linux.close(fd);
    errno = error;
    return moved;
}

/* ---- fork ---- */

/* Every open section of this process.  The lock is also held wherever a descriptor exists that is not in the list yet
 * or no longer, so that a fork finds all of them there: a child closes what it inherited, or its copies would keep the
 * parent's locks after the parent's death. */
static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static weir_os_section *list;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static int fork_once_error;

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

static void list_add(weir_os_section *os)
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

/* ---- finding a section ---- */

static weir_status inspect_file(int fd, const weir_name *name, const weir_os_request *request)
{
    /* By pread, not through a mapping: the file may be shorter than it says, and may shrink. */
    unsigned char header[WEIR_SECTION_HEADER] __attribute__((aligned(8)));
    struct stat st;
    ssize_t len = weir_linux.pread(fd, header, sizeof header, 0);
    if (len < 0 || weir_linux.fstat(fd, &st) != 0)
        return weir_linux_fail("cannot read", name->text);
    return request->inspect(header, (uint64_t)len, (uint64_t)st.st_size, name);
}

/* Opens what stands at the name, if it is a file that this user may trust. */
static weir_status open_file(const struct weir_place *place, const weir_os_request *request, int *fd)
{
    int access = request->access == WEIR_READ_ONLY ? O_RDONLY : O_RDWR;
    /* O_NONBLOCK: a FIFO in the name's place must not hang an observer. */
    *fd = weir_linux.openat(place->dir, place->file, access | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
    *fd = off_standard(*fd);
    if (*fd < 0 && errno == ENOENT)
        return WEIR_E_NOT_FOUND;
    if (*fd < 0 && (errno == ELOOP || errno == EISDIR || errno == ENXIO || errno == ENODEV))
        return weir_place_squatted(place, place->dir, place->file, WEIR_E_NOT_WEIR, "no weir section; it was left alone");
    if (*fd < 0 && errno == EACCES)
        return weir_place_squatted(place, place->dir, place->file, WEIR_E_PERMISSION, "you may not open it");
    if (*fd < 0)
        return weir_linux_fail("cannot open", place->file);
    struct stat st;
    if (weir_linux.fstat(*fd, &st) != 0)
        return weir_linux_fail("cannot look at", place->file);
    if (!S_ISREG(st.st_mode))
        return weir_place_squatted(place, place->dir, place->file, WEIR_E_NOT_WEIR, "no weir section; it was left alone");
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return weir_place_squatted(place, place->dir, place->file, WEIR_E_PERMISSION, "its owner is neither you nor root");
    if ((st.st_mode & 07777 & ~(mode_t)request->mode) != 0)
        return weir_place_squatted(place, place->dir, place->file, WEIR_E_PERMISSION, "its mode is wider than was asked for");
    return WEIR_OK;
}

static weir_status lock_fail(const struct weir_place *place)
{
    if (errno == EINVAL || errno == ENOLCK || errno == ENOSYS || errno == EOPNOTSUPP)
        return weir_fail(WEIR_E_UNSUPPORTED, "%s: no open-file-description locks there: %s", place->path,
                         strerror(errno));
    return weir_linux_fail("cannot lock", place->file);
}

/* The caller has the exclusive lock, so nobody uses the section: removes it if it is ours to remove.
 * NOT_FOUND: the name is free now. */
static weir_status remove_stale(const struct weir_place *place, int fd, const weir_name *name,
                                const weir_os_request *request)
{
    weir_status status = inspect_file(fd, name, request);
    if (status != WEIR_OK)
        return status;
    if (!weir_place_names(place, fd))
        return WEIR_LINUX_AGAIN;
    if (weir_place_remove(place) == 0 || errno == ENOENT)
        return WEIR_E_NOT_FOUND;
    return weir_place_squatted(place, place->dir, place->file, WEIR_E_PERMISSION,
                    "it is a stale section that you may not remove: its owner's next use of weir will");
}

/* OK: fd is a live section with this process's lifetime lock on it (an observer's: without).  NOT_FOUND: the name is
 * free, or an observer finds nobody there.  AGAIN: something changed meanwhile. */
static weir_status find(const struct weir_place *place, const weir_name *name, const weir_os_request *request, int *fd)
{
    weir_status status = open_file(place, request, fd);
    if (status != WEIR_OK)
        return status;
    if (request->access == WEIR_READ_ONLY) {
        short found;
        if (lock_byte(*fd, F_OFD_GETLK, F_WRLCK, LIFE_BYTE, &found) != 0)
            return lock_fail(place);
        if (found == F_WRLCK) /* somebody is about to remove it, or has just found it in use */
            return WEIR_LINUX_AGAIN;
        status = inspect_file(*fd, name, request);
        return status == WEIR_OK && found == F_UNLCK ? WEIR_E_NOT_FOUND : status;
    }
    if (lock_byte(*fd, F_OFD_SETLK, F_WRLCK, LIFE_BYTE, NULL) == 0)
        return remove_stale(place, *fd, name, request);
    if (errno != EAGAIN)
        return lock_fail(place);
    if (lock_byte(*fd, F_OFD_SETLK, F_RDLCK, LIFE_BYTE, NULL) != 0)
        return errno == EAGAIN ? WEIR_LINUX_AGAIN : lock_fail(place);
    if (!weir_place_names(place, *fd)) /* its last user removed it before our lock */
        return WEIR_LINUX_AGAIN;
    return inspect_file(*fd, name, request);
}

/* ---- making a section ---- */

static weir_status fill_file(int fd, const weir_os_request *request)
{
    void *base = weir_linux.mmap(NULL, request->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        return weir_linux_fail("cannot map", "a new section");
    weir_status status = request->fill(base, request->bytes, request->arg);
    (void)weir_linux.munmap(base, request->bytes);
    return status;
}

/* Gives the file without a name its name, if that is free.  AGAIN: it is not, or the directory is gone. */
static weir_status link_file(const struct weir_place *place, int fd)
{
    char self[64];
    (void)snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    if (weir_linux.linkat(fd, "", place->dir, place->file, AT_EMPTY_PATH) == 0)
        return WEIR_OK;
    if (errno == EEXIST)
        return WEIR_LINUX_AGAIN;
    /* Without CAP_DAC_READ_SEARCH the call above says ENOENT; the long way needs /proc. */
    if (weir_linux.linkat(AT_FDCWD, self, place->dir, place->file, AT_SYMLINK_FOLLOW) == 0)
        return WEIR_OK;
    struct stat dir;
    if (errno == EEXIST || (errno == ENOENT && weir_linux.fstat(place->dir, &dir) == 0 && dir.st_nlink == 0))
        return WEIR_LINUX_AGAIN;
    if (errno == ENOENT)
        return weir_fail(WEIR_E_UNSUPPORTED, "cannot name a new section: /proc is not mounted");
    return weir_linux_fail("cannot name a new section in", place->path);
}

/* OK: fd is the new section, whole, with this process's lifetime lock on it.  AGAIN: somebody else was first. */
static weir_status make(const struct weir_place *place, const weir_os_request *request, int *fd)
{
    *fd = off_standard(weir_linux.openat(place->dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (*fd < 0 && errno == ENOENT) /* the user's directory was removed */
        return WEIR_LINUX_AGAIN;
    if (*fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL))
        return weir_fail(WEIR_E_UNSUPPORTED, "the file system of %s has no O_TMPFILE: use a tmpfs", place->path);
    if (*fd < 0)
        return weir_linux_fail("cannot create a section in", place->path);
    if (weir_linux.fchmod(*fd, request->mode) != 0) /* whatever the umask */
        return weir_linux_fail("cannot set the mode of a section in", place->path);
    weir_status status = weir_linux_allocate(*fd, 0, request->bytes, place->path);
    if (status == WEIR_OK)
        status = fill_file(*fd, request);
    if (status != WEIR_OK)
        return status;
    if (lock_byte(*fd, F_OFD_SETLK, F_RDLCK, LIFE_BYTE, NULL) != 0)
        return lock_fail(place);
    return link_file(place, *fd);
}

/* ---- leaving a section ---- */

/* Gives the lifetime lock up; whoever then gets the exclusive one is the last, and removes the name. */
static void let_go(const struct weir_place *place, int fd)
{
    /* Unlocking first, not upgrading: of two that upgrade at once neither succeeds, and the name stays. */
    (void)lock_byte(fd, F_OFD_SETLK, F_UNLCK, LIFE_BYTE, NULL);
    if (lock_byte(fd, F_OFD_SETLK, F_WRLCK, LIFE_BYTE, NULL) == 0 && weir_place_names(place, fd))
        (void)weir_place_remove(place);
    (void)lock_byte(fd, F_OFD_SETLK, F_UNLCK, LIFE_BYTE, NULL); /* a mapping would keep it held behind the close */
    (void)weir_linux.close(fd);
}

/* ---- sweeping ---- */

/* Looks at one name as an opener would; true where somebody uses it.  A stale section goes, all else stays. */
static bool sweep_one(struct weir_place *place, weir_scope scope, const char *file, const weir_os_request *request)
{
    char text[WEIR_NAME_TEXT_MAX + 16];
    weir_name name;
    size_t skip = scope == WEIR_GLOBAL ? sizeof WEIR_PLACE_GLOBAL - 1 : 0;
    if (scope == WEIR_GLOBAL && strncmp(file, WEIR_PLACE_GLOBAL, skip) != 0)
        return false;
    int len = snprintf(text, sizeof text, "%s/%s", scope == WEIR_GLOBAL ? "Global" : "Local", file + skip);
    if (len < 0 || (size_t)len >= sizeof text || weir_name_parse(&name, text) != WEIR_OK)
        return false;
    weir_place_name(place, &name);
    int fd = -1;
    struct stat st;
    bool used = false;
    if (open_file(place, request, &fd) == WEIR_OK && weir_linux.fstat(fd, &st) == 0 && st.st_uid == geteuid()) {
        if (lock_byte(fd, F_OFD_SETLK, F_WRLCK, LIFE_BYTE, NULL) == 0)
            (void)remove_stale(place, fd, &name, request);
        else
            used = true;
    }
    if (fd >= 0)
        (void)weir_linux.close(fd);
    return used;
}

/* Takes stale sections of this user away: all that it meets until it has met SWEEP_LIVE_MAX in use, beginning at a
 * random one of the first directory block, so that short-lived processes do not look at the same few for ever. */
static void sweep(const char *path, weir_scope scope, const weir_os_request *request)
{
    struct weir_place place;
    weir_os_request any = { .access = WEIR_READ_WRITE, .mode = 07777, .inspect = request->inspect };
    if (weir_place_open(&place, path, scope, false) == WEIR_OK) {
        struct timespec now;
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        char block[16384] __attribute__((aligned(8)));
        int live = 0;
        ssize_t len = getdents64(place.dir, block, sizeof block);
        /* Where in the block to begin; a second pass takes what stands before. */
        ssize_t from = 0, skip = len > 0 ? now.tv_nsec / 1000 % len : 0;
        while (len > 0 && from < skip)
            from += ((struct dirent64 *)(void *)(block + from))->d_reclen;
        for (int pass = 0; pass < 2; pass++) {
            ssize_t at = pass == 0 ? from : 0, end = pass == 0 ? len : from;
            while (at < end && live < SWEEP_LIVE_MAX) {
                struct dirent64 *entry = (struct dirent64 *)(void *)(block + at);
                at += entry->d_reclen;
                if (entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN)
                    live += sweep_one(&place, scope, entry->d_name, &any);
            }
        }
    }
    weir_place_close(&place);
}

/* ---- the contract of os.h ---- */

static const char *shm_dir(void)
{
    const char *dir = secure_getenv("WEIR_SHM_DIR");
    return dir != NULL && *dir != 0 ? dir : "/dev/shm";
}

static int64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* One look at the name.  AGAIN: it changed meanwhile. */
static weir_status attempt(weir_os_section *os, const weir_os_request *request, bool *created)
{
    struct weir_place place;
    weir_status status = weir_place_open(&place, os->dir, os->name.scope, request->may_create);
    bool opened = status == WEIR_OK;
    int fd = -1;
    if (opened) {
        weir_place_name(&place, &os->name);
        status = find(&place, &os->name, request, &fd);
        if (status == WEIR_OK && !request->may_open) {
            let_go(&place, fd);
            fd = -1;
            status = weir_fail(WEIR_E_EXISTS, "%s exists and is in use", os->name.text);
        } else if (status == WEIR_E_NOT_FOUND && request->may_create) {
            if (fd >= 0)
                (void)weir_linux.close(fd);
            fd = -1;
            status = make(&place, request, &fd);
            *created = status == WEIR_OK;
        }
    }
    if (status == WEIR_OK)
        os->fd = fd;
    else if (fd >= 0)
        (void)weir_linux.close(fd); /* and with it any lock: nothing of it is mapped */
    if (status != WEIR_OK && opened && request->may_create)
        weir_place_remove_local(&place); /* it may have been made for this */
    if (status == WEIR_E_NOT_FOUND)
        (void)weir_fail(status, "%s: nobody has a section of that name open in %s", os->name.text, os->dir);
    weir_place_close(&place);
    return status;
}

weir_status weir_os_acquire(weir_os_section *os, const weir_name *name, const weir_os_request *request, bool *created)
{
    int saved = errno;
    weir_status status;
    struct weir_detail detail;
    weir_detail_save(&detail);
    *os = (weir_os_section){ .fd = -1, .name = *name, .read_only = request->access == WEIR_READ_ONLY };
    os->uid = geteuid();
    os->dir = *shm_dir() == '/' ? strdup(shm_dir()) : realpath(shm_dir(), NULL);
    if (os->dir == NULL) {
        status = errno == ENOMEM ? weir_fail(WEIR_E_NO_MEMORY, "no memory for a section's handle")
                                 : weir_linux_fail("cannot open the shared-memory directory WEIR_SHM_DIR", shm_dir());
        errno = saved;
        return status;
    }
    (void)pthread_once(&fork_once, watch_fork);
    if (fork_once_error != 0) {
        status = weir_fail(WEIR_E_NO_MEMORY, "no memory for a fork handler");
    } else {
        int64_t deadline = 0;
        for (int tries = 0;; tries++) {
            (void)pthread_mutex_lock(&list_lock);
            if (tries == 0 && !os->read_only) {
                sweep(os->dir, WEIR_LOCAL, request);
                sweep(os->dir, WEIR_GLOBAL, request);
                weir_detail_restore(&detail); /* what a sweep could not take away is no fault of this call */
            }
            status = attempt(os, request, created);
            if (status == WEIR_OK)
                list_add(os);
            (void)pthread_mutex_unlock(&list_lock);
            if (status != WEIR_LINUX_AGAIN)
                break;
            if (deadline == 0)
                deadline = now_ns() + ATTEMPT_NS;
            if (now_ns() > deadline) {
                status = weir_fail(WEIR_E_BUSY, "%s has been held locked for 2 seconds by somebody", name->text);
                break;
            }
            if (tries < 64)
                (void)sched_yield();
            else
                (void)nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
        }
    }
    if (status == WEIR_OK)
        weir_detail_restore(&detail);
    else
        free(os->dir);
    errno = saved;
    return status;
}

void weir_os_release(weir_os_section *os)
{
    if (os->forked) { /* the child's handler closed it; the locks are the parent's */
        free(os->dir);
        return;
    }
    int saved = errno;
    (void)pthread_mutex_lock(&list_lock);
    list_remove(os);
    if (os->read_only) {
        (void)weir_linux.close(os->fd);
    } else {
        struct weir_place place;
        weir_place_by_path(&place, os);
        let_go(&place, os->fd);
    }
    (void)pthread_mutex_unlock(&list_lock);
    free(os->dir);
    os->fd = -1;
    errno = saved;
}

weir_status weir_os_grow(weir_os_section *os, uint64_t from, uint64_t to)
{
    int saved = errno;
    /* What lies behind the old size was promised to nobody: an extender that was killed may have left it. */
    (void)weir_linux.ftruncate(os->fd, (off_t)from);
    weir_status status = weir_linux_allocate(os->fd, from, to, os->dir);
    if (status != WEIR_OK)
        (void)weir_linux.ftruncate(os->fd, (off_t)from);
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
        status = weir_linux_fail("cannot look at", os->name.text);
    errno = saved;
    return status;
}

weir_status weir_os_map(weir_os_section *os, uint64_t offset, uint64_t bytes, bool writable, void **base)
{
    int saved = errno;
    weir_status status = WEIR_OK;
    (void)pthread_mutex_lock(&list_lock); /* a fork between the two calls would inherit the memory, and the locks by it */
    void *at = weir_linux.mmap(NULL, bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, os->fd,
                               (off_t)offset);
    if (at == MAP_FAILED)
        status = weir_linux_fail("cannot map", os->name.text);
    else if (weir_linux.madvise(at, bytes, MADV_DONTFORK) != 0) {
        status = weir_linux_fail("cannot keep from forked children the memory of", os->name.text);
        (void)weir_linux.munmap(at, bytes);
    } else {
        (void)weir_linux.madvise(at, bytes, MADV_DONTDUMP); /* a dump without it is larger, nothing more */
        *base = at;
    }
    (void)pthread_mutex_unlock(&list_lock);
    errno = saved;
    return status;
}

void weir_os_unmap(weir_os_section *os, void *base, uint64_t bytes)
{
    int saved = errno;
    if (!os->forked) /* in a child something else may be at these addresses by now */
        (void)weir_linux.munmap(base, bytes);
    errno = saved;
}

weir_status weir_os_slot_lock(weir_os_section *os, uint32_t slot)
{
    int saved = errno;
    weir_status status = WEIR_OK;
    if (lock_byte(os->fd, F_OFD_SETLK, F_WRLCK, SLOT_BYTE(slot), NULL) != 0)
        status = errno == EAGAIN ? WEIR_E_IN_USE : weir_linux_fail("cannot lock a slot of", os->name.text);
    errno = saved;
    return status;
}

void weir_os_slot_unlock(weir_os_section *os, uint32_t slot)
{
    int saved = errno;
    (void)lock_byte(os->fd, F_OFD_SETLK, F_UNLCK, SLOT_BYTE(slot), NULL);
    errno = saved;
}

weir_status weir_os_slot_held(weir_os_section *os, uint32_t slot, bool *held)
{
    int saved = errno;
    weir_status status = WEIR_OK;
    short found;
    if (lock_byte(os->fd, F_OFD_GETLK, F_WRLCK, SLOT_BYTE(slot), &found) == 0)
        *held = found != F_UNLCK;
    else
        status = weir_linux_fail("cannot look at a slot of", os->name.text);
    errno = saved;
    return status;
}
