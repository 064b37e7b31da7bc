/* naming/os_linux_lock.c - who is there, as open-file-description byte locks say.
 *
 * The kernel drops them at death; they are held while a process is stopped, and mean the same in every pid namespace.
 * A user's byte carries its pid, because the kernel does not tell whose such a lock is. */
#include <weir/base/fail.h>
#include <weir/naming/os_linux.h>

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PID_SHIFT 28     /* bits of the byte's number behind the pid: which handle of the process */
#define WALK_MAX 2048    /* looks of one walk: each costs what locks there are, and a hostile reader may hold many */

static int call(int fd, int command, struct flock *range)
{
    int result = weir_linux.lock(fd, command, range);
    if (result != 0 && errno == EACCES) /* POSIX allows either */
        errno = EAGAIN;
    return result;
}

int weir_lock_set(int fd, short type, int64_t first, int64_t len)
{
    struct flock range = { .l_type = type, .l_whence = SEEK_SET, .l_start = first, .l_len = len };
    return call(fd, F_OFD_SETLK, &range);
}

int weir_lock_ask(int fd, int64_t first, int64_t len, short *found)
{
    struct flock range = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = first, .l_len = len };
    int result = call(fd, F_OFD_GETLK, &range);
    bool one = range.l_len == 1 && len > 1; /* a user whose lock could not be turned into one for reading */
    *found = range.l_type == F_WRLCK && one ? F_RDLCK : range.l_type;
    return result;
}

/* Under the list lock, as all that opens. */
int64_t weir_lock_byte(int64_t first)
{
    static uint32_t next;
    static pid_t of;
    pid_t pid = getpid();
    if (of != pid) { /* begun anywhere: another pid namespace may have the same pid */
        struct timespec now;
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        next = (uint32_t)now.tv_nsec;
        of = pid;
    }
    next = (next + 1) & ((1u << PID_SHIFT) - 1);
    return first + ((int64_t)(pid & 0xffffff) << PID_SHIFT) + next;
}

int weir_lock_share(int fd, int64_t first, int64_t byte)
{
    /* The own byte first: at no instant does the lock leave it.  Should that fail, the rest is given up as well. */
    int result = weir_lock_set(fd, F_RDLCK, byte, 1);
    int error = errno;
    if (byte > first)
        (void)weir_lock_set(fd, F_UNLCK, first, byte - first);
    int64_t end = first + WEIR_RANGE_LEN;
    if (byte + 1 < end)
        (void)weir_lock_set(fd, F_UNLCK, byte + 1, end - byte - 1);
    errno = error;
    return result;
}

/* The kernel tells of some lock in a range, not of the first: so each answer splits the range in two. */
int weir_lock_walk(int fd, int64_t first, int64_t len, bool (*visit)(int64_t byte, void *arg), void *arg)
{
    struct piece { int64_t first, end; } todo[128] = { { first, first + len } };
    unsigned count = 1;
    for (unsigned looks = 0; count > 0 && looks < WALK_MAX; looks++) {
        struct piece piece = todo[--count];
        struct flock range = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = piece.first,
                               .l_len = piece.end - piece.first };
        if (call(fd, F_OFD_GETLK, &range) != 0)
            return -1;
        if (range.l_type == F_UNLCK)
            continue;
        if (range.l_type == F_RDLCK && !visit(range.l_start, arg))
            return 0;
        int64_t end = range.l_len == 0 ? piece.end : range.l_start + range.l_len;
        struct piece left = { piece.first, range.l_start }, right = { end, piece.end };
        /* The longer one first: a stack of twice the bits of a length never overflows. */
        bool left_longer = left.end - left.first > right.end - right.first;
        struct piece longer = left_longer ? left : right, shorter = left_longer ? right : left;
        if (longer.first < longer.end)
            todo[count++] = longer;
        if (shorter.first < shorter.end)
            todo[count++] = shorter;
    }
    return 0;
}

weir_status weir_lock_fail(const char *where)
{
    if (errno == EINVAL || errno == ENOLCK || errno == ENOSYS || errno == EOPNOTSUPP)
        return weir_fail(WEIR_E_UNSUPPORTED, "%s: no open-file-description locks there: %s", where, strerror(errno));
    return weir_linux_fail("cannot lock", where);
}

/* ---- the contract of os.h ---- */

weir_status weir_os_slot_lock(weir_os_section *os, uint32_t slot)
{
    int saved = errno;
    weir_status status = WEIR_OK;
    if (weir_lock_set(os->fd, F_WRLCK, WEIR_SLOT_FIRST + slot, 1) != 0)
        status = errno == EAGAIN ? WEIR_E_IN_USE : weir_linux_fail("cannot lock a slot of", os->title);
    errno = saved;
    return status;
}

void weir_os_slot_unlock(weir_os_section *os, uint32_t slot)
{
    int saved = errno;
    (void)weir_lock_set(os->fd, F_UNLCK, WEIR_SLOT_FIRST + slot, 1);
    errno = saved;
}

weir_status weir_os_slot_held(weir_os_section *os, uint32_t slot, bool *held)
{
    int saved = errno;
    weir_status status = WEIR_OK;
    short found;
    if (weir_lock_ask(os->fd, WEIR_SLOT_FIRST + slot, 1, &found) == 0)
        *held = found != F_UNLCK;
    else
        status = weir_linux_fail("cannot look at a slot of", os->title);
    errno = saved;
    return status;
}

weir_status weir_os_commit_lock(weir_os_section *os, uint64_t first, uint64_t count)
{
    int saved = errno;
    weir_status status = WEIR_OK;
    int64_t wait = 0;
    while (weir_lock_set(os->fd, F_WRLCK, WEIR_COMMIT_FIRST + (int64_t)first, (int64_t)count) != 0) {
        if (errno != EAGAIN)
            status = weir_linux_fail("cannot lock a range of", os->title);
        else if (!weir_linux_wait(&wait))
            status = weir_fail(WEIR_E_BUSY, "%s: another process has been committing that range for 2 seconds",
                               os->title);
        if (status != WEIR_OK)
            break;
    }
    errno = saved;
    return status;
}

void weir_os_commit_unlock(weir_os_section *os, uint64_t first, uint64_t count)
{
    int saved = errno;
    (void)weir_lock_set(os->fd, F_UNLCK, WEIR_COMMIT_FIRST + (int64_t)first, (int64_t)count);
    errno = saved;
}

weir_status weir_os_alone(weir_os_section *os)
{
    int saved = errno;
    weir_status status = WEIR_OK;
    if (weir_lock_set(os->fd, F_WRLCK, WEIR_LIFE_FIRST, WEIR_RANGE_LEN) != 0) {
        status = errno == EAGAIN ? weir_fail(WEIR_E_IN_USE, "%s: others have it open", os->title)
                                 : weir_linux_fail("cannot lock", os->title);
    } else if (weir_lock_set(os->fd, F_WRLCK, WEIR_LOOK_FIRST, WEIR_RANGE_LEN) != 0) {
        status = errno == EAGAIN ? weir_fail(WEIR_E_IN_USE, "%s: an observer has it open", os->title)
                                 : weir_linux_fail("cannot lock", os->title);
        (void)weir_lock_share(os->fd, WEIR_LIFE_FIRST, os->life);
    }
    errno = saved;
    return status;
}

void weir_os_share(weir_os_section *os)
{
    int saved = errno;
    (void)weir_lock_set(os->fd, F_UNLCK, WEIR_LOOK_FIRST, WEIR_RANGE_LEN);
    (void)weir_lock_share(os->fd, WEIR_LIFE_FIRST, os->life);
    errno = saved;
}
