/* Each system call that naming/ makes fails once, fails from then on, is the last thing its process does, or is when
 * another process comes in between. */
#include "sections.h"

#include <weir/naming/os_linux.h>
#include <weir/naming/section_layout.h>

#include <criterion/criterion.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>

#define SIZE UINT64_C(4096)
#define LARGE (UINT64_C(17) << 20) /* more than one step of allocation */

/* ---- the table ---- */

enum call {
    OPENAT, TMPFILE, CLOSE, FSTAT, FSTATAT, FCHMOD, FCHMODAT, MKDIRAT, LINKAT, UNLINKAT, LOCK, UNLOCK, LOOK,
    FALLOCATE, FTRUNCATE, PREAD, MMAP, MUNMAP, MADVISE, FSTATVFS, GETRLIMIT, CALLS
};

static const char *const call_names[CALLS] = {
    "openat", "openat of a new file", "close", "fstat", "fstatat", "fchmod", "fchmodat", "mkdirat", "linkat",
    "unlinkat", "lock", "unlock", "look at a lock", "fallocate", "ftruncate", "pread", "mmap", "munmap", "madvise", "fstatvfs",
    "getrlimit",
};

static weir_linux_calls real;

static struct {
    bool armed;
    enum call call;    /* which kind fails, */
    long first, times; /* from which one on, and how many of them */
    int error;
    long seen;   /* calls of that kind */
    long failed; /* of them */
    long total;  /* calls of any kind */
    long kill_at;
    bool kill_after;
    bool munmap_too;
    long meet_at; /* before which call another process acts */
    void (*meet)(void);
} plan;

static void die_if(bool after)
{
    if (plan.armed && plan.total == plan.kill_at && plan.kill_after == after)
        (void)kill(getpid(), SIGKILL);
}

static bool fails(enum call call)
{
    if (!plan.armed)
        return false;
    plan.total++;
    die_if(false);
    if (plan.total == plan.meet_at)
        plan.meet();
    if (call == MUNMAP && plan.munmap_too) {
        errno = ENOMEM;
        return true;
    }
    if (call != plan.call)
        return false;
    plan.seen++;
    if (plan.seen < plan.first || plan.seen - plan.first >= plan.times)
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

static int my_openat(int dir, const char *path, int flags, mode_t mode)
{
    CALL((flags & O_TMPFILE) == O_TMPFILE ? TMPFILE : OPENAT, int, -1, real.openat(dir, path, flags, mode));
}

static int my_close(int fd)
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

static int my_fstat(int fd, struct stat *out)
{
    CALL(FSTAT, int, -1, real.fstat(fd, out));
}
static int my_fstatat(int dir, const char *path, struct stat *out, int flags)
{
    CALL(FSTATAT, int, -1, real.fstatat(dir, path, out, flags));
}
static int my_fchmod(int fd, mode_t mode)
{
    CALL(FCHMOD, int, -1, real.fchmod(fd, mode));
}
static int my_fchmodat(int dir, const char *path, mode_t mode, int flags)
{
    CALL(FCHMODAT, int, -1, real.fchmodat(dir, path, mode, flags));
}
static int my_mkdirat(int dir, const char *path, mode_t mode)
{
    CALL(MKDIRAT, int, -1, real.mkdirat(dir, path, mode));
}
static int my_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    CALL(LINKAT, int, -1, real.linkat(from_dir, from, to_dir, to, flags));
}
static int my_unlinkat(int dir, const char *path, int flags)
{
    CALL(UNLINKAT, int, -1, real.unlinkat(dir, path, flags));
}
static int my_lock(int fd, int command, struct flock *range)
{
    enum call call = command == F_OFD_GETLK ? LOOK : range->l_type == F_UNLCK ? UNLOCK : LOCK;
    CALL(call, int, -1, real.lock(fd, command, range));
}
static int my_fallocate(int fd, int mode, off_t offset, off_t len)
{
    CALL(FALLOCATE, int, -1, real.fallocate(fd, mode, offset, len));
}
static int my_ftruncate(int fd, off_t size)
{
    CALL(FTRUNCATE, int, -1, real.ftruncate(fd, size));
}
static ssize_t my_pread(int fd, void *buffer, size_t size, off_t offset)
{
    CALL(PREAD, ssize_t, -1, real.pread(fd, buffer, size, offset));
}
static void *my_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    CALL(MMAP, void *, MAP_FAILED, real.mmap(at, size, protection, flags, fd, offset));
}
static int my_munmap(void *base, size_t size)
{
    CALL(MUNMAP, int, -1, real.munmap(base, size));
}
static int my_madvise(void *base, size_t size, int advice)
{
    CALL(MADVISE, int, -1, real.madvise(base, size, advice));
}
static int my_fstatvfs(int fd, struct statvfs *out)
{
    CALL(FSTATVFS, int, -1, real.fstatvfs(fd, out));
}
static int my_getrlimit(int resource, struct rlimit *out)
{
    CALL(GETRLIMIT, int, -1, real.getrlimit(resource, out));
}

static const char *prepare(void)
{
    real = weir_linux;
    weir_linux.openat = my_openat;
    weir_linux.close = my_close;
    weir_linux.fstat = my_fstat;
    weir_linux.fstatat = my_fstatat;
    weir_linux.fchmod = my_fchmod;
    weir_linux.fchmodat = my_fchmodat;
    weir_linux.mkdirat = my_mkdirat;
    weir_linux.linkat = my_linkat;
    weir_linux.unlinkat = my_unlinkat;
    weir_linux.lock = my_lock;
    weir_linux.fallocate = my_fallocate;
    weir_linux.ftruncate = my_ftruncate;
    weir_linux.pread = my_pread;
    weir_linux.mmap = my_mmap;
    weir_linux.munmap = my_munmap;
    weir_linux.madvise = my_madvise;
    weir_linux.fstatvfs = my_fstatvfs;
    weir_linux.getrlimit = my_getrlimit;
    return support_shm_dir();
}

static void arm_fault(enum call call, int error, long first, long times)
{
    memset(&plan, 0, sizeof plan);
    plan.call = call;
    plan.error = error;
    plan.first = first;
    plan.times = times;
    plan.armed = true;
}

static void arm_kill(long at, bool after)
{
    memset(&plan, 0, sizeof plan);
    plan.call = CALLS;
    plan.kill_at = at;
    plan.kill_after = after;
    plan.armed = true;
}

static void disarm(void)
{
    plan.armed = false;
}

/* ---- the operations ---- */

struct scene {
    const char *dir, *name;
    weir_section *other;  /* somebody else's handle, which must be none the worse for it */
    weir_section *handle; /* the one that is acted on, or is the result */
    weir_view view;
    weir_participant slot;
};

static const weir_section_options with_slots = { .slots = 4 };

static void have_other(struct scene *s)
{
    CHECK_OK(weir_section_create(&s->other, s->name, SIZE, &with_slots));
}
static void have_handle(struct scene *s) /* the only one */
{
    CHECK_OK(weir_section_create(&s->handle, s->name, SIZE, &with_slots));
}
static void have_second(struct scene *s)
{
    CHECK_OK(weir_section_open(&s->handle, s->name, NULL));
}
static void have_claimed(struct scene *s)
{
    have_second(s);
    CHECK_OK(weir_participant_claim(s->handle, 0, 4, &s->slot));
}
static void have_joined(struct scene *s)
{
    have_claimed(s);
    CHECK_OK(weir_participant_join(s->handle, &s->slot));
}
/* A file with a section's bytes that nobody holds. */
static void have_stale(struct scene *s)
{
    static unsigned char image[WEIR_SECTION_HEADER + SIZE];
    have_handle(s);
    path_text path = section_path(s->dir, s->name);
    CHECK(file_read(path.text, image, sizeof image) == sizeof image);
    CHECK_OK(weir_section_close(s->handle));
    s->handle = NULL;
    if (strncmp(s->name, "Local", 5) == 0)
        CHECK(mkdir(local_dir(s->dir).text, 0700) == 0);
    file_write(path.text, image, sizeof image, 0600);
}
static void look_up(struct scene *s) /* somebody to look at */
{
    have_second(s);
    weir_participant claimed;
    CHECK_OK(weir_participant_claim(s->other, 0, 4, &claimed));
    CHECK_OK(weir_participant_join(s->other, &claimed));
}

static weir_status do_create(struct scene *s) { return weir_section_create(&s->handle, s->name, SIZE, &with_slots); }
static weir_status do_open(struct scene *s) { return weir_section_open(&s->handle, s->name, NULL); }
static weir_status do_either(struct scene *s)
{
    return weir_section_open_or_create(&s->handle, s->name, SIZE, NULL, NULL);
}
static weir_status do_observe(struct scene *s)
{
    return weir_section_open(&s->handle, s->name, &(weir_section_options){ .access = WEIR_READ_ONLY });
}
static weir_status do_mismatch(struct scene *s)
{
    return weir_section_open(&s->handle, s->name, &(weir_section_options){ .content = 7 });
}
static weir_status do_close(struct scene *s)
{
    weir_section *section = s->handle;
    s->handle = NULL;
    return weir_section_close(section);
}
static weir_status do_extend(struct scene *s) { return weir_section_extend(s->handle, LARGE); }
static weir_status do_map(struct scene *s) { return weir_view_map(&s->view, s->handle, 0, 0, WEIR_READ_WRITE); }
static weir_status do_claim(struct scene *s) { return weir_participant_claim(s->handle, 0, 4, &s->slot); }
static weir_status do_join(struct scene *s) { return weir_participant_join(s->handle, &s->slot); }
static weir_status do_leave(struct scene *s) { return weir_participant_leave(s->handle, s->slot.slot); }
static weir_status do_look(struct scene *s) { return weir_participant_look(s->handle, 0, &s->slot); }

struct operation {
    const char *text;
    bool other;                     /* with somebody else there */
    void (*before)(struct scene *); /* what the actor has beforehand, or NULL */
    weir_status (*act)(struct scene *);
    weir_status fine;  /* what act returns when nothing fails */
    bool makes_nothing; /* failed, it leaves no file at all */
};

static const struct operation operations[] = {
    { "create", false, NULL, do_create, WEIR_OK, true },
    { "create over a stale one", false, have_stale, do_create, WEIR_OK, false },
    { "create of a live one", true, NULL, do_create, WEIR_E_EXISTS, false },
    { "open", true, NULL, do_open, WEIR_OK, false },
    { "open of none", false, NULL, do_open, WEIR_E_NOT_FOUND, true },
    { "open of a stale one", false, have_stale, do_open, WEIR_E_NOT_FOUND, false },
    { "open of another kind", true, NULL, do_mismatch, WEIR_E_MISMATCH, false },
    { "open_or_create, making", false, NULL, do_either, WEIR_OK, true },
    { "open_or_create, opening", true, NULL, do_either, WEIR_OK, false },
    { "observe", true, NULL, do_observe, WEIR_OK, false },
    { "close, the last", false, have_handle, do_close, WEIR_OK, false },
    { "close, not the last", true, have_second, do_close, WEIR_OK, false },
    { "extend", true, have_second, do_extend, WEIR_OK, false },
    { "map", true, have_second, do_map, WEIR_OK, false },
    { "claim", true, have_second, do_claim, WEIR_OK, false },
    { "join", true, have_claimed, do_join, WEIR_OK, false },
    { "leave", true, have_joined, do_leave, WEIR_OK, false },
    { "look", true, look_up, do_look, WEIR_OK, false },
};
#define OPERATIONS (sizeof operations / sizeof operations[0])

static const char *const scopes[] = { "Local/fault", "Global/fault" };

/* What is left when all is closed goes with one use of another name. */
static void check_clean(const char *dir, const char *text)
{
    weir_section *section;
    CHECK_OK(weir_section_create(&section, "Local/later", SIZE, NULL));
    CHECK_OK(weir_section_close(section));
    if (support_entries(dir, true) != 0)
        support_fail(__FILE__, __LINE__, text);
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
    { FSTAT, EIO, false }, { FSTAT, ENOMEM, false },
    { FSTATAT, EIO, false }, { FSTATAT, ENOENT, false },
    { FCHMOD, EPERM, true }, { FCHMOD, EIO, true },
    { FCHMODAT, EPERM, true },
    { MKDIRAT, ENOSPC, true }, { MKDIRAT, EACCES, true }, { MKDIRAT, EEXIST, false }, { MKDIRAT, EROFS, true },
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
    { FTRUNCATE, EIO, true },
    { PREAD, EIO, true }, { PREAD, EINTR, true },
    { MMAP, ENOMEM, true }, { MMAP, EAGAIN, true }, { MMAP, ENODEV, true },
    { MUNMAP, ENOMEM, true },
    { MADVISE, ENOMEM, true }, { MADVISE, EINVAL, true },
    { FSTATVFS, EIO, true },
    { GETRLIMIT, EINVAL, true },
};

static bool is_honest(weir_status status)
{
    return status == WEIR_E_PERMISSION || status == WEIR_E_NO_SPACE || status == WEIR_E_NO_MEMORY ||
           status == WEIR_E_UNSUPPORTED || status == WEIR_E_OS;
}

/* One operation with one fault.  False when it had no such call any more. */
static bool run_fault(const char *dir, const char *name, const struct operation *o, const struct fault *f, long first,
                      long times)
{
    char text[256];
    (void)snprintf(text, sizeof text, "%s of %s, %s number %ld %sfails with errno %d", o->text, name,
                   call_names[f->call], first, times > 1 ? "and later " : "", f->error);
    struct scene s = { .dir = dir, .name = name };
    unsigned fds_outside = open_fds();
    if (o->other)
        have_other(&s);
    if (o->before != NULL)
        o->before(&s);
    unsigned fds = open_fds();
    weir_section *handle = s.handle;
    arm_fault(f->call, f->error, first, times);
    errno = 12345;
    weir_status status = o->act(&s);
    int error = errno;
    disarm();
    bool hit = plan.failed > 0;
    cr_assert_eq(error, 12345, "%s: errno is %d", text, error);
    cr_assert(status == o->fine || (hit && is_honest(status)), "%s: gave %s (%s)", text, weir_status_name(status),
              weir_error_detail());
    if (o->act == do_close)
        cr_assert_eq(status, WEIR_OK, "%s", text);
    if (status != WEIR_OK) {
        cr_assert_eq(open_fds(), fds, "%s: %u descriptors, before %u", text, open_fds(), fds);
        cr_assert_eq(s.handle, handle, "%s: touched its output", text);
        cr_assert_null(s.view.base, "%s: touched its output", text);
        cr_assert_neq(*weir_error_detail(), 0, "%s", text);
        if (o->makes_nothing)
            cr_assert_eq(files_under(dir), 0, "%s: a file is left", text);
        if (handle != NULL && o->act != do_close) { /* the handle is as good as before */
            cr_assert_eq(weir_section_size(handle), SIZE, "%s", text);
            status = o->act(&s);
            cr_assert_eq(status, o->fine, "%s: then %s", text, weir_status_name(status));
        }
    }
    if (s.view.base != NULL)
        CHECK_OK(weir_view_unmap(&s.view));
    if (s.other != NULL) {
        weir_section *third;
        CHECK_OK(weir_section_open(&third, name, NULL));
        CHECK_OK(weir_section_close(third));
    }
    CHECK_OK(weir_section_close(s.handle));
    CHECK_OK(weir_section_close(s.other));
    cr_assert_eq(open_fds(), fds_outside, "%s: %u descriptors in the end, before %u", text, open_fds(), fds_outside);
    check_clean(dir, text);
    return hit;
}

static void walk_faults(enum call from, enum call to)
{
    const char *dir = prepare();
    unsigned hits[CALLS] = { 0 };
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        const struct fault *f = &faults[i];
        if (f->call < from || f->call > to)
            continue;
        for (size_t o = 0; o < OPERATIONS; o++)
            for (int scope = 0; scope < 2; scope++)
                for (int onwards = 0; onwards <= f->onwards; onwards++) {
                    long n = 1;
                    while (run_fault(dir, scopes[scope], &operations[o], f, n, onwards ? LONG_MAX : 1))
                        n++;
                    hits[f->call] += (unsigned)(n - 1);
                }
    }
    for (enum call call = from; call <= to; call++)
        cr_assert_gt(hits[call], 0, "no operation makes a call of %s: this test shows nothing", call_names[call]);
}

Test(section_faults, opening_fails_and_nothing_leaks_or_is_left) { walk_faults(OPENAT, TMPFILE); }
Test(section_faults, closing_and_looking_at_files_fails_and_nothing_leaks_or_is_left) { walk_faults(CLOSE, FSTATAT); }
Test(section_faults, naming_and_removing_fails_and_nothing_leaks_or_is_left) { walk_faults(FCHMOD, UNLINKAT); }
Test(section_faults, locking_fails_and_nothing_leaks_or_is_left) { walk_faults(LOCK, LOOK); }
Test(section_faults, allocating_fails_and_nothing_leaks_or_is_left) { walk_faults(FALLOCATE, FTRUNCATE); }
Test(section_faults, reading_and_mapping_fails_and_nothing_leaks_or_is_left) { walk_faults(PREAD, MADVISE); }
Test(section_faults, limits_that_cannot_be_read_are_taken_for_none) { walk_faults(FSTATVFS, GETRLIMIT); }

/* ---- which status an error gives ---- */

struct verdict {
    const char *operation;
    enum call call;
    int error;
    long first, times;
    weir_status expected;
};

static const struct verdict verdicts[] = {
    { "create", OPENAT, EMFILE, 1, LONG_MAX, WEIR_E_NO_MEMORY },
    { "create", OPENAT, ENFILE, 1, LONG_MAX, WEIR_E_NO_MEMORY },
    { "create", OPENAT, EACCES, 1, LONG_MAX, WEIR_E_PERMISSION },
    { "create", OPENAT, EIO, 1, LONG_MAX, WEIR_E_OS },
    { "create", TMPFILE, EOPNOTSUPP, 1, 1, WEIR_E_UNSUPPORTED },
    { "create", TMPFILE, EISDIR, 1, 1, WEIR_E_UNSUPPORTED },
    { "create", TMPFILE, ENOSPC, 1, 1, WEIR_E_NO_SPACE },
    { "create", TMPFILE, EDQUOT, 1, 1, WEIR_E_NO_SPACE },
    { "create", TMPFILE, EMFILE, 1, 1, WEIR_E_NO_MEMORY },
    { "create", TMPFILE, ENOMEM, 1, 1, WEIR_E_NO_MEMORY },
    { "create", TMPFILE, EACCES, 1, 1, WEIR_E_PERMISSION },
    { "create", TMPFILE, EROFS, 1, 1, WEIR_E_PERMISSION },
    { "create", TMPFILE, EIO, 1, 1, WEIR_E_OS },
    { "create", TMPFILE, ENOENT, 1, 1, WEIR_OK }, /* the directory went: again */
    { "create", MKDIRAT, ENOSPC, 1, 1, WEIR_E_NO_SPACE },
    { "create", MKDIRAT, EACCES, 1, 1, WEIR_E_PERMISSION },
    { "create", MKDIRAT, EROFS, 1, 1, WEIR_E_PERMISSION },
    { "create", MKDIRAT, EEXIST, 1, 1, WEIR_OK }, /* somebody else made it, and it went: again */
    { "create", FCHMOD, EPERM, 1, 1, WEIR_E_PERMISSION },
    { "create", FALLOCATE, ENOSPC, 1, 1, WEIR_E_NO_SPACE },
    { "create", FALLOCATE, ENOMEM, 1, 1, WEIR_E_NO_SPACE },
    { "create", FALLOCATE, EDQUOT, 1, 1, WEIR_E_NO_SPACE },
    { "create", FALLOCATE, EOPNOTSUPP, 1, 1, WEIR_E_UNSUPPORTED },
    { "create", FALLOCATE, EIO, 1, 1, WEIR_E_OS },
    { "create", FALLOCATE, EINTR, 1, 1, WEIR_OK },
    { "create", FALLOCATE, EINTR, 1, 100, WEIR_OK },
    { "create", MMAP, ENOMEM, 1, 1, WEIR_E_NO_MEMORY }, /* to fill it */
    { "create", MMAP, ENOMEM, 2, 1, WEIR_E_NO_MEMORY }, /* its header, when it has its name already */
    { "create", MADVISE, ENOMEM, 1, 1, WEIR_E_NO_MEMORY },
    { "create", MADVISE, EINVAL, 2, 1, WEIR_OK }, /* in the dump of a crash, then */
    { "create", LOCK, EINVAL, 1, 1, WEIR_E_UNSUPPORTED },
    { "create", LOCK, ENOLCK, 1, 1, WEIR_E_UNSUPPORTED },
    { "create", LINKAT, ENOENT, 1, 1, WEIR_OK }, /* without a capability: the long way */
    { "create", LINKAT, ENOENT, 1, 2, WEIR_E_UNSUPPORTED },
    { "create", LINKAT, EEXIST, 1, 1, WEIR_OK },
    { "create", LINKAT, EXDEV, 1, 2, WEIR_E_OS },
    { "create", LINKAT, ENOSPC, 1, 2, WEIR_E_NO_SPACE },
    { "create", LINKAT, EPERM, 1, 2, WEIR_E_PERMISSION },
    { "create", FSTATVFS, EIO, 1, 1, WEIR_OK },
    { "create", GETRLIMIT, EIO, 1, 1, WEIR_OK },
    { "open", LOCK, EINVAL, 1, LONG_MAX, WEIR_E_UNSUPPORTED },
    { "open", LOCK, ENOLCK, 1, LONG_MAX, WEIR_E_UNSUPPORTED },
    { "open", LOCK, EIO, 1, LONG_MAX, WEIR_E_OS },
    { "open", PREAD, EIO, 1, LONG_MAX, WEIR_E_OS },
    { "open", MMAP, ENOMEM, 1, 1, WEIR_E_NO_MEMORY },
    { "open", OPENAT, EMFILE, 1, LONG_MAX, WEIR_E_NO_MEMORY },
    { "observe", LOOK, EINVAL, 1, 1, WEIR_E_UNSUPPORTED },
    { "observe", LOOK, EIO, 1, 1, WEIR_E_OS },
    { "extend", FALLOCATE, ENOSPC, 2, 1, WEIR_E_NO_SPACE },
    { "extend", FALLOCATE, EINTR, 1, 100, WEIR_OK },
    { "extend", FSTAT, EIO, 1, 1, WEIR_OK },
    { "map", MMAP, ENOMEM, 1, 1, WEIR_E_NO_MEMORY },
    { "map", MMAP, EAGAIN, 1, 1, WEIR_E_OS },
    { "map", MADVISE, ENOMEM, 1, 1, WEIR_E_NO_MEMORY },
    { "claim", LOCK, ENOLCK, 1, 1, WEIR_E_OS },
    { "claim", LOCK, EAGAIN, 1, 1, WEIR_OK }, /* the next slot */
    { "claim", LOCK, EAGAIN, 1, 4, WEIR_E_IN_USE },
    { "claim", LOCK, EACCES, 1, 4, WEIR_E_IN_USE }, /* POSIX allows either */
    { "look", LOOK, EINVAL, 1, 1, WEIR_E_OS },
};

Test(section_faults, each_error_of_the_system_gives_the_status_of_the_header)
{
    const char *dir = prepare();
    for (size_t i = 0; i < sizeof verdicts / sizeof verdicts[0]; i++) {
        const struct verdict *v = &verdicts[i];
        const struct operation *o = operations;
        while (strcmp(o->text, v->operation) != 0)
            o++;
        struct scene s = { .dir = dir, .name = "Local/fault" };
        if (o->other)
            have_other(&s);
        if (o->before != NULL)
            o->before(&s);
        arm_fault(v->call, v->error, v->first, v->times);
        weir_status status = o->act(&s);
        disarm();
        cr_assert_eq(status, v->expected, "%s, %s number %ld: %s gave %s, not %s (%s)", v->operation,
                     call_names[v->call], v->first, strerror(v->error), weir_status_name(status),
                     weir_status_name(v->expected), weir_error_detail());
        cr_assert(plan.failed > 0 || v->call == FSTAT, "%s, %s: was not called", v->operation, call_names[v->call]);
        if (s.view.base != NULL)
            CHECK_OK(weir_view_unmap(&s.view));
        CHECK_OK(weir_section_close(s.handle));
        CHECK_OK(weir_section_close(s.other));
        check_clean(dir, "a verdict");
    }
}

Test(section_faults, the_text_of_a_failed_allocation_says_need_and_where_and_what_was_had)
{
    const char *dir = prepare();
    weir_section *section;
    arm_fault(FALLOCATE, ENOSPC, 2, 1);
    CHECK_STATUS(weir_section_create(&section, "fault", LARGE, NULL), WEIR_E_NO_SPACE);
    disarm();
    cr_assert(detail_has("needs 17.0 MiB") && detail_has(dir) && detail_has("16 MiB"), "%s", weir_error_detail());
    cr_assert_eq(files_under(dir), 0);
}

/* ---- the last call of a process ---- */

/* A leftover is a whole section, or there is none. */
static void check_whole(const char *dir, const char *name, const char *text)
{
    static unsigned char image[WEIR_SECTION_HEADER + SIZE];
    path_text path = section_path(dir, name);
    weir_section_layout header;
    if (!exists(path.text))
        return;
    cr_assert_eq(file_read(path.text, image, sizeof image), sizeof image, "%s: half a file", text);
    memcpy(&header, image, sizeof header);
    cr_assert_eq(weir_load_rlx(&header.magic), WEIR_SECTION_MAGIC, "%s", text);
    cr_assert_eq(weir_load_rlx(&header.size), SIZE, "%s", text);
    cr_assert_str_eq((const char *)header.name, name, "%s", text);
}

/* A child that dies at its n-th call in the operation.  False when it had fewer. */
static bool run_kill(const char *dir, const char *name, const struct operation *o, long n, bool after)
{
    char text[256];
    (void)snprintf(text, sizeof text, "%s of %s, killed %s call %ld", o->text, name, after ? "after" : "before", n);
    struct scene s = { .dir = dir, .name = name };
    weir_participant own = { .slot = 1 };
    if (o->other) {
        have_other(&s);
        if (o->before == look_up) {
            CHECK_OK(weir_participant_claim(s.other, 0, 1, &own));
            CHECK_OK(weir_participant_join(s.other, &own));
        }
    }
    pid_t child = fork();
    if (child == 0) {
        if (o->before == look_up)
            have_second(&s);
        else if (o->before != NULL)
            o->before(&s);
        arm_kill(n, after);
        weir_status status = o->act(&s);
        disarm();
        CHECK(status == o->fine);
        _exit(42);
    }
    int end = support_wait(child);
    cr_assert(end == 42 || end == -SIGKILL, "%s: ended with %d", text, end);
    if (s.other != NULL) {
        weir_section *third;
        weir_participant seen;
        uint64_t size = weir_section_size(s.other);
        cr_assert(size == SIZE || (o->act == do_extend && size == LARGE), "%s: size %llu", text,
                  (unsigned long long)size);
        if (own.slot == 0)
            CHECK_OK(weir_participant_leave(s.other, 0));
        CHECK_OK(weir_participant_look(s.other, 0, &seen));
        cr_assert(seen.presence != WEIR_ALIVE, "%s", text);
        if (o->act == do_join || o->act == do_claim)
            cr_assert(seen.presence == WEIR_ABSENT || (seen.presence == WEIR_DEAD && seen.deaths == 1), "%s", text);
        if (o->act == do_leave)
            cr_assert(seen.generation == 1 && (seen.presence == WEIR_DEAD || seen.presence == WEIR_LEFT), "%s", text);
        CHECK_OK(weir_participant_claim(s.other, 0, 1, &seen)); /* nobody holds it */
        CHECK_OK(weir_section_open(&third, name, NULL));
        CHECK_OK(weir_section_close(third));
        CHECK_OK(weir_section_extend(s.other, LARGE)); /* what is behind a killed extender's size does not hinder */
    } else {
        check_whole(dir, name, text);
        if (n % 2 == 0) { /* the name is free, without another's sweep before */
            weir_section *section;
            weir_status status = weir_section_create(&section, name, SIZE, NULL);
            cr_assert_eq(status, WEIR_OK, "%s: then %s (%s)", text, weir_status_name(status), weir_error_detail());
            CHECK_OK(weir_section_close(section));
        }
    }
    CHECK_OK(weir_section_close(s.other));
    check_clean(dir, text);
    return end != 42;
}

static void walk_kills(size_t from, size_t to)
{
    const char *dir = prepare();
    for (size_t o = from; o < to; o++)
        for (int scope = 0; scope < 2; scope++)
            for (int after = 0; after < 2; after++) {
                long n = 1;
                while (run_kill(dir, scopes[scope], &operations[o], n, after))
                    n++;
                /* join is a store and nothing else */
                cr_assert(n > 1 || operations[o].act == do_join, "%s makes no calls", operations[o].text);
            }
}

Test(section_faults, killed_at_any_call_of_create_it_leaves_nothing_or_a_whole_stale_section) { walk_kills(0, 3); }
Test(section_faults, killed_at_any_call_of_open_it_is_as_if_it_had_not_been_called) { walk_kills(3, 10); }
Test(section_faults, killed_at_any_call_of_close_the_section_goes_with_the_next_use) { walk_kills(10, 12); }
Test(section_faults, killed_at_any_call_of_the_rest_the_others_are_none_the_worse) { walk_kills(12, OPERATIONS); }

Test(section_faults, memory_that_cannot_be_unmapped_does_not_keep_the_name_locked_behind_close)
{
    struct scene s = { .dir = prepare(), .name = "Local/fault" };
    have_handle(&s);
    arm_fault(UNLINKAT, EIO, 1, 1);
    plan.munmap_too = true;
    CHECK_OK(weir_section_close(s.handle));
    disarm();
    cr_assert(exists(section_path(s.dir, s.name).text));
    weir_section *section;
    CHECK_OK(weir_section_create(&section, s.name, SIZE, NULL));
    CHECK_OK(weir_section_close(section));
    cr_assert_eq(support_entries(s.dir, true), 0);
}

/* ---- another process in between any two calls ---- */

/* What the peer does when it is told to. */
enum order { CLOSE_IT, REPLACE_IT, HAVE_IT, USE_IT, DIE, VERIFY, QUIT };

static struct {
    pid_t pid;
    int to, from;
    enum order order;
    bool waiting; /* for its answer */
    const char *name;
} peer;

static void stamp(weir_section *section, uint64_t value)
{
    weir_view view;
    CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE));
    memcpy(view.base, &value, sizeof value);
    CHECK_OK(weir_view_unmap(&view));
}

/* The name means the section of that handle. */
static void check_named(weir_section *section, const char *name, uint64_t value)
{
    weir_section *again;
    stamp(section, value);
    CHECK_OK(weir_section_open(&again, name, NULL));
    CHECK(stamp_of(again) == value);
    CHECK_OK(weir_section_close(again));
}

static void peer_obeys(weir_section *section, int in, int out)
{
    weir_section *used;
    weir_status status;
    char order;
    while (read(in, &order, 1) == 1) {
        switch ((enum order)order) {
        case DIE:
            (void)kill(getpid(), SIGKILL);
            break;
        case CLOSE_IT:
        case QUIT:
            CHECK_OK(weir_section_close(section));
            section = NULL;
            break;
        case REPLACE_IT:
            CHECK_OK(weir_section_close(section));
            CHECK_OK(weir_section_open_or_create(&section, peer.name, SIZE, &with_slots, NULL));
            break;
        case HAVE_IT:
            CHECK(section == NULL);
            CHECK_OK(weir_section_open_or_create(&section, peer.name, SIZE, &with_slots, NULL));
            break;
        case USE_IT:
            status = weir_section_open(&used, peer.name, NULL);
            CHECK(status == WEIR_OK || status == WEIR_E_NOT_FOUND);
            if (status == WEIR_OK)
                CHECK_OK(weir_section_close(used));
            break;
        default:
            if (section != NULL)
                check_named(section, peer.name, 777);
            order = section != NULL;
        }
        CHECK(write(out, &order, 1) == 1);
    }
    _exit(0);
}

static void peer_start(const char *name, bool has)
{
    int to[2], from[2];
    char byte = HAVE_IT;
    CHECK(pipe2(to, O_CLOEXEC) == 0 && pipe2(from, O_CLOEXEC) == 0);
    peer.name = name;
    peer.pid = fork();
    CHECK(peer.pid >= 0);
    if (peer.pid == 0) {
        (void)close(to[1]);
        (void)close(from[0]);
        peer_obeys(NULL, to[0], from[1]);
    }
    (void)close(to[0]);
    (void)close(from[1]);
    peer.to = to[1];
    peer.from = from[0];
    if (has)
        CHECK(write(peer.to, &byte, 1) == 1 && read(peer.from, &byte, 1) == 1);
}

/* -1: it has died. */
static int peer_answer(void)
{
    char answer;
    peer.waiting = false;
    return read(peer.from, &answer, 1) == 1 ? answer : -1;
}

/* Called in the middle of this process's operation.  What it holds locked just then may keep the peer waiting: goes on
 * after a moment. */
static void peer_acts(void)
{
    char order = (char)peer.order;
    struct pollfd ready = { .fd = peer.from, .events = POLLIN };
    CHECK(write(peer.to, &order, 1) == 1);
    peer.waiting = true;
    if (poll(&ready, 1, 50) == 1)
        (void)peer_answer();
}

struct meeting {
    const char *text;
    bool has; /* the peer has the section beforehand */
    void (*before)(struct scene *);
    weir_status (*act)(struct scene *);
    enum order order;
    weir_status other; /* what act may return beside WEIR_OK */
};

static const struct meeting meetings[] = {
    { "open, the last closes", true, NULL, do_open, CLOSE_IT, WEIR_E_NOT_FOUND },
    { "open, it is replaced", true, NULL, do_open, REPLACE_IT, WEIR_E_NOT_FOUND },
    { "open, the last dies", true, NULL, do_open, DIE, WEIR_E_NOT_FOUND },
    { "open, it is made", false, NULL, do_open, HAVE_IT, WEIR_E_NOT_FOUND },
    { "observe, the last closes", true, NULL, do_observe, CLOSE_IT, WEIR_E_NOT_FOUND },
    { "observe, it is replaced", true, NULL, do_observe, REPLACE_IT, WEIR_E_NOT_FOUND },
    { "create, the last closes", true, NULL, do_create, CLOSE_IT, WEIR_E_EXISTS },
    { "create, it is replaced", true, NULL, do_create, REPLACE_IT, WEIR_E_EXISTS },
    { "create, the last dies", true, NULL, do_create, DIE, WEIR_E_EXISTS },
    { "create, another is first", false, NULL, do_create, HAVE_IT, WEIR_E_EXISTS },
    { "open_or_create, the last closes", true, NULL, do_either, CLOSE_IT, WEIR_OK },
    { "open_or_create, it is replaced", true, NULL, do_either, REPLACE_IT, WEIR_OK },
    { "open_or_create, the last dies", true, NULL, do_either, DIE, WEIR_OK },
    { "open_or_create, another is first", false, NULL, do_either, HAVE_IT, WEIR_OK },
    { "close, the other closes", true, have_second, do_close, CLOSE_IT, WEIR_OK },
    { "close, the other closes and comes again", true, have_second, do_close, REPLACE_IT, WEIR_OK },
    { "close, the other dies", true, have_second, do_close, DIE, WEIR_OK },
    { "close, another opens or makes it", false, have_handle, do_close, HAVE_IT, WEIR_OK },
    { "close, another opens and closes", false, have_handle, do_close, USE_IT, WEIR_OK },
    { "open a stale one, another makes it", false, have_stale, do_open, HAVE_IT, WEIR_E_NOT_FOUND },
    { "open a stale one, another does too", false, have_stale, do_open, USE_IT, WEIR_E_NOT_FOUND },
    { "replace a stale one, another does too", false, have_stale, do_create, HAVE_IT, WEIR_E_EXISTS },
    { "replace a stale one, another opens it", false, have_stale, do_create, USE_IT, WEIR_E_EXISTS },
    { "observe a stale one, another makes it", false, have_stale, do_observe, HAVE_IT, WEIR_E_NOT_FOUND },
};

/* One operation, at whose n-th call the peer acts.  False when it had fewer. */
static bool run_meeting(const char *dir, const char *name, const struct meeting *m, long n)
{
    char text[256], byte = VERIFY;
    (void)snprintf(text, sizeof text, "%s (%s), before call %ld", m->text, name, n);
    struct scene s = { .dir = dir, .name = name };
    peer_start(name, m->has);
    if (m->before != NULL)
        m->before(&s);
    peer.order = m->order;
    arm_fault(CALLS, 0, 0, 0);
    plan.meet = peer_acts;
    plan.meet_at = n;
    weir_status status = m->act(&s);
    disarm();
    bool met = plan.total >= n;
    cr_assert(status == WEIR_OK || status == m->other, "%s: gave %s (%s)", text, weir_status_name(status),
              weir_error_detail());
    if (peer.waiting)
        (void)peer_answer();
    bool dead = met && m->order == DIE;
    if (dead)
        cr_assert_eq(support_wait(peer.pid), -SIGKILL, "%s", text);
    bool writes = s.handle != NULL && m->act != do_observe;
    if (writes)
        check_named(s.handle, name, 5);
    if (!dead) {
        cr_assert_eq(write(peer.to, &byte, 1), 1, "%s", text);
        int has = peer_answer();
        cr_assert_geq(has, 0, "%s: the peer has said what it found", text);
        if (writes && has) /* both have it: the same one */
            cr_assert_eq(stamp_of(s.handle), 777, "%s: two sections of one name", text);
        if (!writes && has == 0 && m->before != have_stale)
            cr_assert_eq(files_under(dir), 0, "%s: a name that nobody has", text);
    }
    CHECK_OK(weir_section_close(s.handle));
    if (!dead) {
        byte = QUIT;
        cr_assert_eq(write(peer.to, &byte, 1), 1);
        cr_assert_geq(peer_answer(), 0, "%s", text);
        (void)close(peer.to);
        cr_assert_eq(support_wait(peer.pid), 0, "%s", text);
        if (m->before != have_stale)
            cr_assert_eq(support_entries(dir, true), 0, "%s: left behind with nobody killed", text);
    } else {
        (void)close(peer.to);
    }
    (void)close(peer.from);
    check_clean(dir, text);
    return met;
}

static void walk_meetings(size_t from, size_t to)
{
    const char *dir = prepare();
    for (size_t i = from; i < to; i++)
        for (int scope = 0; scope < 2; scope++) {
            long n = 1;
            while (run_meeting(dir, scopes[scope], &meetings[i], n))
                n++;
            cr_assert_gt(n, 4, "%s: %ld calls", meetings[i].text, n);
        }
}

Test(section_faults, another_acts_between_any_two_calls_of_open) { walk_meetings(0, 6); }
Test(section_faults, another_acts_between_any_two_calls_of_create) { walk_meetings(6, 10); }
Test(section_faults, another_acts_between_any_two_calls_of_open_or_create) { walk_meetings(10, 14); }
Test(section_faults, another_acts_between_any_two_calls_of_close) { walk_meetings(14, 19); }
Test(section_faults, another_acts_between_any_two_calls_about_a_stale_section)
{
    walk_meetings(19, sizeof meetings / sizeof meetings[0]);
}

/* ---- a fork in the middle of a call ---- */

static struct {
    pthread_barrier_t barrier;
    _Atomic bool done;
    const char *dir;
    pid_t child;
    bool used;
} forker;

static void *fork_once(void *arg)
{
    (void)arg;
    (void)pthread_barrier_wait(&forker.barrier);
    pid_t child = fork();
    if (child == 0)
        _exit((int)mappings_of(forker.dir).all);
    forker.child = child;
    forker.done = true;
    return NULL;
}

/* Between mmap and madvise: has another thread fork, and waits for it if it can be done at all. */
static int fork_then_madvise(void *base, size_t size, int advice)
{
    if (!forker.used) {
        forker.used = true;
        (void)pthread_barrier_wait(&forker.barrier);
        for (int i = 0; i < 1000 && !forker.done; i++)
            (void)nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
    }
    return real.madvise(base, size, advice);
}

static void check_fork_inside(weir_status (*act)(struct scene *))
{
    struct scene s = { .dir = support_shm_dir(), .name = "Local/forks" };
    real = weir_linux;
    have_other(&s);
    if (act == do_map)
        have_second(&s);
    forker.dir = s.dir;
    cr_assert_eq(pthread_barrier_init(&forker.barrier, NULL, 2), 0);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, fork_once, NULL), 0);
    weir_linux.madvise = fork_then_madvise;
    CHECK_OK(act(&s));
    weir_linux = real;
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(support_wait(forker.child), 0, "the child has memory of the section, and with it the parent's locks");
    if (s.view.base != NULL)
        CHECK_OK(weir_view_unmap(&s.view));
    CHECK_OK(weir_section_close(s.handle));
    CHECK_OK(weir_section_close(s.other));
}

Test(section_faults, a_fork_in_the_middle_of_open_inherits_no_memory) { check_fork_inside(do_open); }
Test(section_faults, a_fork_in_the_middle_of_map_inherits_no_memory) { check_fork_inside(do_map); }
