/* tests/naming/faults_walk.h - each operation with each fault of each call; each operation killed at each call. */
#ifndef WEIR_TESTS_NAMING_FAULTS_WALK_H
#define WEIR_TESTS_NAMING_FAULTS_WALK_H

#include "faults_scenes.h"

static const char *const scopes[] = { "Local/fault", "Global/fault" };

static inline bool takes_scope(const struct operation *o, int scope)
{
    return scope == 0 ? (o->traits & GLOBAL_ONLY) == 0 : (o->traits & LOCAL_ONLY) == 0;
}

/* ---- failing calls ---- */

struct fault {
    enum call call;
    int error;
    bool onwards; /* also from then on: whoever looks again and again would take his 2 seconds with the others */
};

static const struct fault faults[] = {
    { OPENAT, EMFILE, true }, { OPENAT, ENFILE, true }, { OPENAT, ENOMEM, true }, { OPENAT, EACCES, false },
    { OPENAT, EIO, true },
    { TMPFILE, EOPNOTSUPP, true }, { TMPFILE, EISDIR, true }, { TMPFILE, EINVAL, true }, { TMPFILE, ENOENT, false },
    { TMPFILE, ENOSPC, true }, { TMPFILE, EMFILE, true }, { TMPFILE, EACCES, true }, { TMPFILE, EROFS, true },
    { CLOSE, EINTR, true }, { CLOSE, EIO, true },
    { DUP, EMFILE, true },
    { FD_FLAGS, EBADF, true },
    { FSTAT, EIO, false }, { FSTAT, ENOMEM, false },
    { FSTATAT, EIO, false }, { FSTATAT, ENOENT, false },
    { FCHMOD, EPERM, true }, { FCHMOD, EIO, true },
    { FCHMODAT, EPERM, true },
    { FCHOWN, EPERM, true }, { FCHOWN, EIO, true }, { FCHOWN, EDQUOT, true },
    { MKDIRAT, ENOSPC, true }, { MKDIRAT, EACCES, true }, { MKDIRAT, EEXIST, false }, { MKDIRAT, EROFS, true },
    { MKFIFOAT, ENOSPC, true }, { MKFIFOAT, EDQUOT, true }, { MKFIFOAT, EACCES, true }, { MKFIFOAT, EROFS, true },
    { MKFIFOAT, EEXIST, false }, { MKFIFOAT, EPERM, true }, { MKFIFOAT, EIO, true },
    { LINKAT, ENOENT, true }, { LINKAT, EXDEV, true }, { LINKAT, EEXIST, false }, { LINKAT, ENOSPC, true },
    { LINKAT, EPERM, true },
    { UNLINKAT, EACCES, true }, { UNLINKAT, EPERM, true }, { UNLINKAT, EROFS, true }, { UNLINKAT, EBUSY, true },
    { UNLINKAT, ENOENT, false },
    { LOCK, EAGAIN, false }, { LOCK, EACCES, false }, { LOCK, EINVAL, true }, { LOCK, ENOLCK, true },
    { LOCK, EOPNOTSUPP, true },
    { UNLOCK, ENOLCK, true },
    { LOOK, EINVAL, true }, { LOOK, ENOLCK, true },
    { FALLOCATE, ENOSPC, true }, { FALLOCATE, ENOMEM, true }, { FALLOCATE, EINTR, false },
    { FALLOCATE, EOPNOTSUPP, true }, { FALLOCATE, EIO, true }, { FALLOCATE, EFBIG, true },
    { PUNCH, EIO, true }, { PUNCH, EOPNOTSUPP, true }, { PUNCH, EINTR, false },
    { FTRUNCATE, EIO, true }, { FTRUNCATE, EPERM, true },
    { FSYNC, EIO, true }, { FSYNC, ENOSPC, true }, { FSYNC, EDQUOT, true },
    { PREAD, EIO, true }, { PREAD, EINTR, true },
    { GETDENTS, EIO, true }, { GETDENTS, ENOMEM, true },
    { MMAP, ENOMEM, true }, { MMAP, EAGAIN, true }, { MMAP, ENODEV, true },
    { MUNMAP, ENOMEM, true },
    { MPROTECT, ENOMEM, true },
    { MADVISE, ENOMEM, true }, { MADVISE, EINVAL, true }, { MADVISE, EAGAIN, false }, { MADVISE, EBUSY, true },
    { MSYNC, EIO, true }, { MSYNC, ENOSPC, true },
    { MLOCK, ENOMEM, true }, { MLOCK, EPERM, true }, { MLOCK, EAGAIN, true },
    { MBIND, EINVAL, true }, { MBIND, ENOSYS, true }, { MBIND, EPERM, true }, { MBIND, ENOMEM, true },
    { MOVE_PAGES, ENOSYS, true }, { MOVE_PAGES, EPERM, true },
    { MEMFD, ENOSYS, true }, { MEMFD, EMFILE, true }, { MEMFD, EINVAL, true }, { MEMFD, EPERM, true },
    { SEAL, EINVAL, true }, { SEAL, EPERM, true }, { SEAL, EBUSY, true },
    { SEALS, EPERM, true },
    { SENDMSG, EAGAIN, true }, { SENDMSG, EINTR, false }, { SENDMSG, EPIPE, true }, { SENDMSG, ECONNRESET, true },
    { SENDMSG, ENOTSOCK, true }, { SENDMSG, ETOOMANYREFS, true }, { SENDMSG, ENOBUFS, true },
    { RECVMSG, EAGAIN, true }, { RECVMSG, EINTR, false }, { RECVMSG, ECONNRESET, true }, { RECVMSG, ENOTSOCK, true },
    { RECVMSG, ENOMEM, true },
    { FSTATVFS, EIO, true },
    { GETRLIMIT, EINVAL, true },
    { GETRANDOM, ENOSYS, true }, { GETRANDOM, EPERM, true }, { GETRANDOM, EIO, true }, { GETRANDOM, EINTR, false },
};

/* A fault never makes the library say that something is not there, or is not what it is. */
static inline bool is_listed(const struct operation *o, const struct fault *f, weir_status status)
{
    unsigned bit = status == WEIR_E_PERMISSION    ? PERMISSION
                   : status == WEIR_E_NO_SPACE    ? NO_SPACE
                   : status == WEIR_E_NO_MEMORY   ? NO_MEMORY
                   : status == WEIR_E_UNSUPPORTED ? UNSUPPORTED
                   : status == WEIR_E_OS          ? OS
                   : status == WEIR_TIMEOUT       ? TIMED_OUT
                   : status == WEIR_CLOSED        ? CLOSED_END
                                                  : 0;
    bool taken = f->call == LOCK && (f->error == EAGAIN || f->error == EACCES); /* by somebody else, it says */
    if (status == WEIR_OK && f->call == UNLINKAT && f->error == ENOENT)
        return true; /* it was to go, and is gone */
    return (o->listed & bit) != 0 || (status == WEIR_E_IN_USE && taken && (o->traits & ALONE) != 0) ||
           (status == WEIR_E_NOT_FOUND && f->error == ENOENT && (o->traits & VANISHES) != 0);
}

/* Says it once for each operation and status, or it would hide all else. */
static inline void complain_of_status(const struct operation *o, weir_status status, const char *text)
{
    static struct { const struct operation *o; weir_status status; } said[64];
    unsigned i = 0;
    while (i < 64 && said[i].o != NULL && (said[i].o != o || said[i].status != status))
        i++;
    if (i == 64 || said[i].o == o)
        return;
    said[i].o = o;
    said[i].status = status;
    complain("%s: gave %s, which its header does not list for that (%s)", text, weir_status_name(status),
             weir_error_detail());
}

/* Without descriptors 0 and 1, what is opened comes to lie there and is moved. */
static int standard[2];

static inline void close_standard(void)
{
    for (int fd = 0; fd < 2; fd++) {
        standard[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 200 + fd);
        CHECK(standard[fd] >= 0 && close(fd) == 0);
    }
}

static inline void restore_standard(void)
{
    for (int fd = 0; fd < 2; fd++)
        CHECK(fcntl(fd, F_GETFD) < 0 && dup2(standard[fd], fd) == fd && close(standard[fd]) == 0);
}

static const char *const no_detail = "not a name";

/* What holds after a failure; then it is tried again. */
static inline void check_failed(struct scene *s, const struct operation *o, const struct fault *f,
                                const struct scene *was, const char *text)
{
    EXPECT(s->handle == was->handle || o->act == do_close, "%s: touched its output", text);
    EXPECT(s->view.base == NULL && s->got == NO_HANDLE, "%s: touched its output", text);
    EXPECT((o->traits & MAKES_NOTHING) == 0 || files_under(s->dir) == 0, "%s: a file is left", text);
    if ((o->traits & ONCE) != 0)
        return;
    weir_status status = o->act(s);
    EXPECT(status == o->fine, "%s: tried again it gave %s (%s)", text, weir_status_name(status), weir_error_detail());
    if (o->check != NULL && status == o->fine && f->call != MUNMAP)
        o->check(s, status, text);
}

/* One operation with one fault.  False when it had no such call any more. */
static inline bool run_fault(const char *dir, const char *name, const struct operation *o, const struct fault *f,
                             long first, long times)
{
    char text[256], detail[512];
    (void)snprintf(text, sizeof text, "%s (%s), %s number %ld %sfails: %s", o->text, name, call_names[f->call], first,
                   times > 1 ? "and later " : "", strerror(f->error));
    struct scene s, was;
    weir_name none;
    scene_begin(&s, dir, name);
    unsigned fds_outside = open_fds();
    if (o->stage != NULL)
        o->stage(&s);
    if (o->before != NULL)
        o->before(&s);
    path_text path = section_path(dir, name);
    unsigned fds = open_fds();
    uint64_t locks = locks_of(path.text);
    int64_t mapped = plan.mapped;
    was = s;
    CHECK_STATUS(weir_name_parse(&none, no_detail), WEIR_E_NAME);
    (void)snprintf(detail, sizeof detail, "%s", weir_error_detail());
    if (f->call == DUP)
        close_standard();
    arm(f->call, f->error, first, times);
    errno = KEPT;
    weir_status status = o->act(&s);
    int error = errno;
    disarm();
    if (f->call == DUP)
        restore_standard();
    bool hit = plan.failed > 0;
    EXPECT(error == KEPT, "%s: errno is %d", text, error);
    if (status != o->fine && !(hit && is_listed(o, f, status)))
        complain_of_status(o, status, text);
    EXPECT(status >= 0 || strcmp(weir_error_detail(), detail) != 0, "%s: %s without a text", text,
           weir_status_name(status));
    bool no_descriptor = f->error == EMFILE || f->error == ENFILE;
    bool lacks = status == WEIR_E_UNSUPPORTED && (o->traits & MAY_LACK) != 0; /* what was demanded, for that reason */
    EXPECT(!no_descriptor || status == o->fine || status == WEIR_E_NO_MEMORY || lacks, "%s: gave %s (%s)", text,
           weir_status_name(status), weir_error_detail());
    if (o->check != NULL)
        o->check(&s, status, text);
    if (status != WEIR_OK) {
        unsigned now = open_fds();
        EXPECT(now == fds || (o->traits & ONCE) != 0, "%s: %u descriptors, before %u", text, now, fds);
        EXPECT(plan.mapped == mapped || f->call == MUNMAP, "%s: %lld bytes stay mapped", text,
               (long long)(plan.mapped - mapped));
        /* What could not be unlocked, or shared again, stays locked until it can. */
        bool undoing = f->call == UNLOCK || (f->call == LOCK && (o->traits & ALONE) != 0);
        EXPECT(undoing || !exists(path.text) || locks_of(path.text) == locks, "%s: other locks", text);
        check_failed(&s, o, f, &was, text);
    } else if (s.handle != NULL && s.handle != was.handle && f->call != UNLOCK && exists(path.text)) {
        weir_section *third; /* what was had is had by others too */
        status = weir_section_open(&third, name, &(weir_section_options){ .mode = 0777 });
        EXPECT(status == WEIR_OK, "%s: OK, and then another's open gave %s (%s)", text, weir_status_name(status),
               weir_error_detail());
        if (status == WEIR_OK)
            CHECK_OK(weir_section_close(third));
    }
    if (s.other != NULL && exists(path.text)) {
        weir_section *third;
        CHECK_OK(weir_section_open(&third, name, &(weir_section_options){ .mode = 0777 }));
        CHECK_OK(weir_section_close(third));
    }
    scene_end(&s);
    EXPECT(open_fds() == fds_outside, "%s: %u descriptors in the end, before %u", text, open_fds(), fds_outside);
    check_clean(dir, text);
    return hit;
}

/* One operation without a fault: which calls it makes.  False: this system has it not. */
static inline bool rehearse(const char *dir, const char *name, const struct operation *o)
{
    struct scene s;
    scene_begin(&s, dir, name);
    if ((o->traits & NEEDS_ROOT) != 0 && geteuid() != 0) {
        (void)printf("SKIPPED: %s: needs root, to be two users\n", o->text);
        return false;
    }
    if (o->stage != NULL)
        o->stage(&s);
    if (o->before != NULL)
        o->before(&s);
    arm(CALLS, 0, 0, 0);
    weir_status status = o->act(&s);
    disarm();
    unsigned before = complaints;
    bool has = status == o->fine || (o->traits & MAY_LACK) == 0;
    if (has)
        EXPECT(status == o->fine, "%s (%s), without a fault: gave %s (%s)", o->text, name, weir_status_name(status),
               weir_error_detail());
    else
        (void)printf("SKIPPED: %s: %s\n", o->text, weir_error_detail());
    if (has && o->check != NULL)
        o->check(&s, status, o->text);
    scene_end(&s);
    check_clean(dir, o->text);
    return has && complaints == before;
}

static inline bool is_among(enum call call, const enum call *calls, size_t count)
{
    while (count > 0 && calls[count - 1] != call)
        count--;
    return count > 0;
}

static inline void walk_faults(const char *dir, const struct operation *operations, size_t count,
                               const enum call *calls, size_t call_count)
{
    unsigned hits[CALLS] = { 0 };
    for (size_t i = 0; i < 2 * count; i++) {
        const struct operation *o = &operations[i / 2];
        const char *name = scopes[i % 2];
        long seen[CALLS];
        if (!takes_scope(o, i % 2) || !rehearse(dir, name, o))
            continue;
        memcpy(seen, plan.seen, sizeof seen);
        unsigned enough = complaints + COMPLAINTS_EACH;
        for (size_t j = 0; j < sizeof faults / sizeof faults[0]; j++) {
            const struct fault *f = &faults[j];
            bool wanted = f->call == DUP || seen[f->call] > 0; /* DUP: only without 0 and 1 */
            for (int onwards = 0; wanted && is_among(f->call, calls, call_count) && onwards <= f->onwards; onwards++)
                for (long n = 1; complaints < enough && run_fault(dir, name, o, f, n, onwards ? LONG_MAX : 1); n++)
                    hits[f->call]++;
        }
    }
    for (size_t k = 0; k < call_count; k++)
        EXPECT(hits[calls[k]] > 0 || complaints > 0, "no operation makes a call of %s: this test shows nothing",
               call_names[calls[k]]);
    check_no_complaints();
}

#define WALK_FAULTS_IN(dir, operations, ...)                                                                          \
    walk_faults(dir, operations, sizeof(operations) / sizeof((operations)[0]), (const enum call[]){ __VA_ARGS__ },    \
                sizeof((const enum call[]){ __VA_ARGS__ }) / sizeof(enum call))
#define WALK_FAULTS(operations, ...) WALK_FAULTS_IN(prepare(), operations, __VA_ARGS__)

/* ---- the last call of a process ---- */

struct death {
    const char *text;
    void (*stage)(struct scene *);
    void (*before)(struct scene *);
    weir_status (*act)(struct scene *);
    weir_status fine;
    unsigned traits;
    void (*left)(struct scene *, long n, const char *text); /* what is there then */
};

/* A child that dies at its n-th call in the operation.  False when it had fewer. */
static inline bool run_kill(const char *dir, const char *name, const struct death *d, long n, bool after)
{
    char text[256];
    (void)snprintf(text, sizeof text, "%s (%s), killed %s call %ld", d->text, name, after ? "after" : "before", n);
    struct scene s;
    scene_begin(&s, dir, name);
    if (d->stage != NULL)
        d->stage(&s);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        end_with_parent();
        if (d->before != NULL)
            d->before(&s);
        arm_kill(n, after);
        weir_status status = d->act(&s);
        disarm();
        CHECK_STATUS(status, d->fine);
        _exit(42);
    }
    int end = support_wait(child);
    CHECK(end == 42 || end == -SIGKILL);
    d->left(&s, n, text);
    scene_end(&s);
    check_clean(dir, text);
    return end != 42;
}

static inline void walk_kills(const char *dir, const struct death *deaths, size_t count)
{
    for (size_t i = 0; i < 2 * count; i++) {
        const struct death *d = &deaths[i / 2];
        bool left_out = (d->traits & (i % 2 == 0 ? GLOBAL_ONLY : LOCAL_ONLY)) != 0;
        for (int after = 0; after < 2 && !left_out; after++) {
            long n = 1;
            while (run_kill(dir, scopes[i % 2], d, n, after))
                n++;
            EXPECT(n > 1 || d->act == do_join, "%s makes no calls", d->text); /* join is a store and nothing else */
        }
    }
    check_no_complaints();
}

#define WALK_KILLS(deaths) walk_kills(prepare(), deaths, sizeof(deaths) / sizeof((deaths)[0]))

#endif
