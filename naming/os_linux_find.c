/* naming/os_linux_find.c - named sections: finding, making and removing them.
 *
 * A user holds a read lock on a byte of LIFE (os_linux.h); whoever makes again, recovers or removes a section holds all
 * of LIFE for writing.  naming/README.md says what holds when a process dies between any two calls here. */
#include <weir/base/cacheline.h>
#include <weir/base/fail.h>
#include <weir/naming/os_linux.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MODE_DEFAULT 0600u
#define NO_SPACE_TRIES 4 /* of 0 to 1, 2, 4, 8 ms */

static mode_t mode_of(const weir_section_options *options)
{
    return options->mode != 0 ? options->mode : MODE_DEFAULT;
}

/* ---- finding a section ---- */

weir_status weir_linux_inspect(int fd, const weir_name *name, const char *title, weir_section_facts *out)
{
    /* By pread, not through a mapping: the file may be shorter than it says, and may shrink. */
    unsigned char header[WEIR_SECTION_HEADER] __attribute__((aligned(8)));
    struct stat st;
    ssize_t len = weir_linux.pread(fd, header, sizeof header, 0);
    if (len < 0 || weir_linux.fstat(fd, &st) != 0)
        return weir_linux_fail("cannot read", title);
    return weir_section_inspect(header, (uint64_t)len, (uint64_t)st.st_size, name, title, out);
}

static bool trusted(const struct stat *st, const weir_section_options *options)
{
    if ((options->flags & WEIR_EXPECT_OWNER) != 0)
        return st->st_uid == options->owner;
    return st->st_uid == geteuid() || st->st_uid == 0;
}

weir_status weir_linux_open_file(const struct weir_place *place, const weir_section_options *options, int *fd)
{
    int access = options->access == WEIR_READ_WRITE ? O_RDWR : O_RDONLY;
    /* O_NONBLOCK: a FIFO in the name's place must not hang an observer. */
    *fd = weir_linux.openat(place->dir, place->file, access | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
    *fd = weir_linux_off_standard(*fd);
    if (*fd < 0 && errno == ENOENT)
        return WEIR_E_NOT_FOUND;
    if (*fd < 0 && (errno == ELOOP || errno == EISDIR || errno == ENXIO || errno == ENODEV))
        return weir_place_squatted(place, place->dir, place->file, WEIR_E_NOT_WEIR,
                                   "no weir section; it was left alone");
    if (*fd < 0 && errno == EACCES)
        return weir_place_squatted(place, place->dir, place->file, WEIR_E_PERMISSION, "you may not open it");
    if (*fd < 0)
        return weir_linux_fail("cannot open", place->file);
    struct stat st;
    if (weir_linux.fstat(*fd, &st) != 0)
        return weir_linux_fail("cannot look at", place->file);
    if (!S_ISREG(st.st_mode))
        return weir_place_squatted(place, place->dir, place->file, WEIR_E_NOT_WEIR,
                                   "no weir section; it was left alone");
    char why[64] = "its owner is neither you nor root";
    if ((options->flags & WEIR_EXPECT_OWNER) != 0)
        (void)snprintf(why, sizeof why, "expected was one of uid %u", options->owner);
    if (!trusted(&st, options))
        return weir_place_squatted(place, place->dir, place->file, WEIR_E_PERMISSION, why);
    if ((st.st_mode & 07777 & ~mode_of(options)) != 0)
        return weir_place_squatted(place, place->dir, place->file, WEIR_E_PERMISSION,
                                   "its mode is wider than was asked for");
    return WEIR_OK;
}

weir_status weir_linux_remove_stale(const struct weir_place *place, int fd, const weir_name *name, bool even_persistent,
                                    weir_section_facts *facts)
{
    weir_status status = weir_linux_inspect(fd, name, name->text, facts);
    if (status != WEIR_OK)
        return status;
    if (!weir_place_names(place, fd))
        return WEIR_LINUX_AGAIN;
    if ((facts->flags & WEIR_SECTION_PERSISTENT) != 0 && !even_persistent)
        return WEIR_OK;
    if (weir_place_remove(place, fd) == 0 || errno == ENOENT)
        return WEIR_E_NOT_FOUND;
    return weir_place_squatted(place, place->dir, place->file, WEIR_E_PERMISSION,
                    "it is a stale section that you may not remove: its owner's next use of weir will");
}

/* An observer holds no lock that keeps the section alive; what it has open is not taken from under it by a decommit. */
static weir_status find_to_look(const struct weir_place *place, weir_os_section *os, int fd)
{
    short found;
    if (weir_lock_ask(fd, WEIR_LIFE_FIRST, WEIR_RANGE_LEN, &found) != 0)
        return weir_lock_fail(place->path);
    if (found == F_WRLCK) /* somebody is about to remove it, or has just found it in use */
        return WEIR_LINUX_AGAIN;
    os->life = weir_lock_byte(WEIR_LOOK_FIRST);
    if (weir_lock_set(fd, F_RDLCK, os->life, 1) != 0)
        return errno == EAGAIN ? WEIR_LINUX_AGAIN : weir_lock_fail(place->path);
    weir_section_facts facts;
    weir_status status = weir_linux_inspect(fd, &os->name, os->title, &facts);
    if (status != WEIR_OK)
        return status;
    os->persistent = (facts.flags & WEIR_SECTION_PERSISTENT) != 0;
    if (facts.making)
        return found == F_UNLCK ? WEIR_E_NOT_FOUND : WEIR_LINUX_AGAIN;
    return found == F_UNLCK && !os->persistent ? WEIR_E_NOT_FOUND : WEIR_OK;
}

/* Would this user have made that file the same, but for its owner? */
static bool as_made_by(const weir_section_options *options, int fd)
{
    struct stat st;
    mode_t mode = mode_of(options);
    bool asked = (options->flags & WEIR_SET_GROUP) != 0, matters = (mode >> 3 & 7 & ~mode) != 0;
    gid_t group = asked ? options->group : getegid();
    return weir_linux.fstat(fd, &st) == 0 && (st.st_mode & 07777) == mode && st.st_nlink == 1 &&
           (st.st_gid == group || (!asked && !matters)); /* a group that may no more than others is no matter */
}

static weir_status make_again(struct weir_place *place, weir_os_section *os, const weir_os_request *request, int fd);

/* The caller has the exclusive lock: nobody uses the section.  As find. */
static weir_status find_unused(struct weir_place *place, weir_os_section *os, const weir_os_request *request,
                               int fd, bool *created)
{
    weir_section_facts facts;
    weir_status status = weir_linux_remove_stale(place, fd, &os->name, false, &facts);
    os->persistent = status == WEIR_OK;
    if (status == WEIR_OK && request->may_open && weir_lock_share(fd, WEIR_LIFE_FIRST, os->life) != 0)
        return weir_lock_fail(place->path);
    if (status == WEIR_OK && !request->may_open)
        return weir_fail(WEIR_E_EXISTS, "%s exists and persists: open it, or remove it", os->title);
    if (status != WEIR_E_PERMISSION) /* it is there, or gone, or strange */
        return status;
    if (!request->may_create)
        return WEIR_E_NOT_FOUND; /* stale, whoever may remove it */
    if (as_made_by(request->options, fd)) {
        status = make_again(place, os, request, fd);
        *created = status == WEIR_OK;
    }
    return status;
}

/* OK: fd is a section with this process's lifetime lock on it (an observer's: without).  NOT_FOUND: the name is free,
 * or an opener finds nobody there.  AGAIN: something changed meanwhile. */
static weir_status find(struct weir_place *place, weir_os_section *os, const weir_os_request *request, int *fd,
                        bool *created)
{
    weir_status status = weir_linux_open_file(place, request->options, fd);
    if (status != WEIR_OK)
        return status;
    if (os->access != WEIR_READ_WRITE)
        return find_to_look(place, os, *fd);
    weir_section_facts facts;
    os->life = weir_lock_byte(WEIR_LIFE_FIRST);
    if (weir_lock_set(*fd, F_WRLCK, WEIR_LIFE_FIRST, WEIR_RANGE_LEN) == 0)
        return find_unused(place, os, request, *fd, created);
    if (errno != EAGAIN)
        return weir_lock_fail(place->path);
    /* Somebody reads, or somebody writes: only who has seen a reader becomes one, or a stale section would come to life
     * behind one who was about to remove it. */
    short found;
    if (weir_lock_ask(*fd, WEIR_LIFE_FIRST, WEIR_RANGE_LEN, &found) != 0)
        return weir_lock_fail(place->path);
    if (found != F_RDLCK)
        return WEIR_LINUX_AGAIN;
    if (weir_lock_set(*fd, F_RDLCK, os->life, 1) != 0)
        return errno == EAGAIN ? WEIR_LINUX_AGAIN : weir_lock_fail(place->path);
    if (!weir_place_names(place, *fd)) /* its last user removed it before our lock */
        return WEIR_LINUX_AGAIN;
    status = weir_linux_inspect(*fd, &os->name, os->title, &facts);
    if (status == WEIR_OK && facts.making)
        return WEIR_LINUX_AGAIN;
    os->persistent = status == WEIR_OK && (facts.flags & WEIR_SECTION_PERSISTENT) != 0;
    return status;
}

/* ---- making a section ---- */

weir_status weir_linux_fill(weir_os_section *os, const weir_os_request *request)
{
    void *base;
    weir_status status = weir_os_map(os, 0, request->allocated, WEIR_READ_WRITE, true, &base);
    if (status != WEIR_OK)
        return status;
    status = request->fill(base, request->filled != 0 ? request->filled : request->allocated, request->arg);
    if (status == WEIR_OK) {
        /* The magic last, for one made again in place, which has its name already: who is killed before has made
         * nothing.  No order is needed between processors: others look under a lock. */
        weir_section_layout *header = base;
        weir_fence_compiler();
        weir_store_rlx(&header->magic, WEIR_SECTION_MAGIC);
    }
    weir_os_unmap(os, base, request->allocated);
    return status;
}

/* Fills the start of a new file that nobody sees, if that is all there is to be filled: a write is one call, a mapping
 * four, and a fault for each page. */
static weir_status write_start(weir_os_section *os, const weir_os_request *request)
{
    _Alignas(WEIR_LINE_PAIR) unsigned char copy[WEIR_SECTION_HEADER + WEIR_INIT_BYTES_MAX];
    memset(copy, 0, request->filled);
    weir_status status = request->fill(copy, request->filled, request->arg);
    if (status != WEIR_OK)
        return status;
    weir_store_rlx(weir_word_at(copy, 0), WEIR_SECTION_MAGIC); /* relaxed: this thread's own copy */
    ssize_t len = weir_linux.pwrite(os->fd, copy, request->filled, 0);
    if (len < 0)
        return weir_linux_fail("cannot fill a section in", os->from);
    if ((uint64_t)len != request->filled)
        return weir_fail(WEIR_E_OS, "cannot fill a section in %s: it took %lld bytes of %llu", os->from, (long long)len,
                         (unsigned long long)request->filled);
    return WEIR_OK;
}

/* Makes the file as long as it will be and allocates what is real from the start. */
static weir_status take_room(weir_os_section *os, const weir_os_request *request, uint64_t from)
{
    bool more = request->bytes != request->allocated;
    weir_status status = more ? weir_linux_check_length(request->bytes) : WEIR_OK;
    if (status != WEIR_OK)
        return status;
    if (more && weir_linux.ftruncate(os->fd, (off_t)request->bytes) != 0)
        return weir_linux_fail("cannot reserve the room of a section in", os->from);
    status = weir_linux_bind(os, 0, request->bytes);
    return status == WEIR_OK ? weir_linux_allocate(os->fd, from, request->allocated, os->from) : status;
}

/* Gives the file without a name its name, if that is free.  AGAIN: it is not, or the directory is gone. */
static weir_status link_file(const struct weir_place *place, int fd)
{
    char self[64];
    if (weir_linux.linkat(fd, "", place->dir, place->file, AT_EMPTY_PATH) == 0)
        return WEIR_OK;
    if (errno == EEXIST)
        return WEIR_LINUX_AGAIN;
    /* Without CAP_DAC_READ_SEARCH the call above says ENOENT; the long way needs /proc. */
    (void)snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    if (weir_linux.linkat(AT_FDCWD, self, place->dir, place->file, AT_SYMLINK_FOLLOW) == 0)
        return WEIR_OK;
    struct stat dir;
    if (errno == EEXIST || (errno == ENOENT && weir_linux.fstat(place->dir, &dir) == 0 && dir.st_nlink == 0))
        return WEIR_LINUX_AGAIN;
    if (errno == ENOENT)
        return weir_fail(WEIR_E_UNSUPPORTED, "cannot name a new section: /proc is not mounted");
    return weir_linux_fail("cannot name a new section in", place->path);
}

/* What was made without a name keeps looking nameless in /proc/PID/maps: a description that was opened by the name does
 * not.  Where that fails, the first one stays. */
static int by_name(const struct weir_place *place, weir_os_section *os, int fd)
{
    int named = weir_linux_off_standard(
        weir_linux.openat(place->dir, place->file, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0));
    if (named < 0)
        return fd;
    int64_t life = weir_lock_byte(WEIR_LIFE_FIRST);
    struct stat opened, made;
    if (weir_linux.fstat(named, &opened) != 0 || weir_linux.fstat(fd, &made) != 0 || opened.st_dev != made.st_dev ||
        opened.st_ino != made.st_ino || weir_lock_set(named, F_RDLCK, life, 1) != 0) {
        (void)weir_linux.close(named);
        return fd;
    }
    (void)weir_lock_set(fd, F_UNLCK, os->life, 1); /* should its mapping have stayed, so would the lock */
    (void)weir_linux.close(fd);
    os->life = life;
    return named;
}

/* Memory is taken and filled while other threads may fork: a child finds the file in the list, with the directories. */
static void step_out(const struct weir_place *place, weir_os_section *os, int fd)
{
    os->dirs[0] = place->base;
    os->dirs[1] = place->dir != place->base ? place->dir : -1;
    weir_linux_step_out(os, fd);
}

static void step_in(weir_os_section *os)
{
    weir_linux_step_in(os);
    os->dirs[0] = os->dirs[1] = -1;
}

/* The user's directory may have been removed meanwhile, by the last of its sections: then into a new one. */
static weir_status link_into(struct weir_place *place, const weir_os_section *os, int fd)
{
    struct stat dir;
    weir_status status = link_file(place, fd);
    if (status != WEIR_LINUX_AGAIN || weir_linux.fstat(place->dir, &dir) != 0 || dir.st_nlink != 0)
        return status;
    weir_place_close(place);
    status = weir_place_open(place, os->dir, os->name.scope, true);
    weir_place_name(place, &os->name);
    return status == WEIR_OK ? link_file(place, fd) : status;
}

/* OK: fd is the new section, whole, with this process's lifetime lock on it.  AGAIN: somebody else was first. */
static weir_status make(struct weir_place *place, weir_os_section *os, const weir_os_request *request, int *fd)
{
    const weir_section_options *options = request->options;
    *fd = weir_linux_off_standard(weir_linux.openat(place->dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (*fd < 0 && errno == ENOENT) /* the user's directory was removed */
        return WEIR_LINUX_AGAIN;
    if (*fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL))
        return weir_fail(WEIR_E_UNSUPPORTED, "the file system of %s has no O_TMPFILE: use a tmpfs", place->path);
    if (*fd < 0)
        return weir_linux_fail("cannot create a section in", place->path);
    if ((options->flags & WEIR_SET_GROUP) != 0 && weir_linux.fchown(*fd, (uid_t)-1, options->group) != 0)
        return weir_linux_fail("cannot give the group asked for to a section in", place->path);
    if (weir_linux.fchmod(*fd, mode_of(options)) != 0) /* whatever the umask */
        return weir_linux_fail("cannot set the mode of a section in", place->path);
    step_out(place, os, *fd);
    weir_status status = take_room(os, request, 0);
    if (status == WEIR_E_NO_SPACE)
        status = WEIR_LINUX_NO_ROOM;
    if (status == WEIR_OK)
        status = request->filled != 0 ? write_start(os, request) : weir_linux_fill(os, request);
    step_in(os);
    if (status != WEIR_OK)
        return status;
    os->life = weir_lock_byte(WEIR_LIFE_FIRST);
    os->persistent = (options->flags & WEIR_PERSISTENT) != 0;
    if (weir_lock_set(*fd, F_RDLCK, os->life, 1) != 0)
        return weir_lock_fail(place->path);
    status = link_into(place, os, *fd);
    if (status == WEIR_OK)
        *fd = by_name(place, os, *fd);
    return status;
}

/* Makes a section an unfinished one of its name, and gives all else of it back. */
static weir_status clear(weir_os_section *os)
{
    void *base;
    weir_status status = weir_os_map(os, 0, WEIR_SECTION_HEADER, WEIR_READ_WRITE, true, &base);
    if (status != WEIR_OK)
        return status;
    weir_section_layout *header = base;
    unsigned char *bytes = base;
    const size_t name_end = offsetof(weir_section_layout, name) + sizeof header->name;
    const size_t companions = offsetof(weir_section_layout, companions);
    const size_t companions_end = companions + sizeof header->companions;
    weir_store_rlx(&header->magic, WEIR_SECTION_MAGIC_MAKING); /* relaxed: the locks keep all others out */
    weir_fence_compiler(); /* whoever is killed from here on leaves an unfinished section of this name */
    memset(bytes + sizeof header->magic, 0, offsetof(weir_section_layout, name) - sizeof header->magic);
    memset(bytes + name_end, 0, companions - name_end); /* what FIFOs there are, only their owner can remove */
    memset(bytes + companions_end, 0, WEIR_SECTION_HEADER - companions_end);
    weir_os_unmap(os, base, WEIR_SECTION_HEADER);
    return weir_linux.ftruncate(os->fd, WEIR_SECTION_HEADER) == 0 ? WEIR_OK
                                                                   : weir_linux_fail("cannot make again", os->title);
}

void weir_linux_undo(int fd)
{
    const uint64_t making = WEIR_SECTION_MAGIC_MAKING;
    (void)weir_linux.pwrite(fd, &making, sizeof making, 0);
}

/* A stale Global section of another owner, who alone may unlink it in a sticky directory: it is made again in place, if
 * it is as this user would have made it.  The caller has the exclusive lock; on success it is shared.  A death in here
 * leaves the magic of the unfinished, which anybody may make again or its owner's sweep takes. */
static weir_status make_again(struct weir_place *place, weir_os_section *os, const weir_os_request *request, int fd)
{
    if (weir_lock_set(fd, F_WRLCK, WEIR_LOOK_FIRST, WEIR_RANGE_LEN) != 0) /* an observer may be looking */
        return errno == EAGAIN ? WEIR_LINUX_AGAIN : weir_lock_fail(place->path);
    step_out(place, os, fd);
    weir_status status = clear(os);
    if (status == WEIR_OK)
        status = take_room(os, request, WEIR_SECTION_HEADER);
    if (status == WEIR_OK)
        status = weir_linux_fill(os, request);
    step_in(os);
    if (status == WEIR_OK && weir_lock_share(fd, WEIR_LIFE_FIRST, os->life) != 0)
        status = weir_lock_fail(place->path);
    if (status != WEIR_OK)
        weir_linux_undo(fd);
    else
        (void)weir_lock_set(fd, F_UNLCK, WEIR_LOOK_FIRST, WEIR_RANGE_LEN);
    os->persistent = (request->options->flags & WEIR_PERSISTENT) != 0;
    return status;
}

/* ---- the contract of os.h ---- */

/* One look at the name.  AGAIN: it changed meanwhile. */
static weir_status attempt(weir_os_section *os, const weir_os_request *request, bool sweeps, bool *created)
{
    struct weir_place place;
    struct weir_detail detail;
    weir_status status = weir_place_open(&place, os->dir, os->name.scope, request->may_create);
    bool opened = status == WEIR_OK;
    int fd = -1;
    if (sweeps) {
        weir_detail_save(&detail);
        weir_linux_sweep(&place, opened, &os->name);
        weir_detail_restore(&detail); /* what a sweep could not take away is no fault of this call */
    }
    os->persistent = *created = false;
    if (opened) {
        weir_place_name(&place, &os->name);
        status = find(&place, os, request, &fd, created);
        if (status == WEIR_OK && !request->may_open && !*created) {
            status = weir_fail(WEIR_E_EXISTS, "%s exists and is in use", os->title);
        } else if (status == WEIR_E_NOT_FOUND && request->may_create) {
            if (fd >= 0)
                (void)weir_linux.close(fd);
            fd = -1;
            status = make(&place, os, request, &fd);
            *created = status == WEIR_OK;
        }
    }
    os->fd = fd;
    if (status == WEIR_E_EXISTS && fd >= 0 && !os->persistent) {
        weir_linux_let_go(os); /* its other users may have left meanwhile */
        (void)weir_linux.close(fd);
    } else if (status != WEIR_OK && fd >= 0) {
        (void)weir_linux.close(fd); /* and with it any lock: nothing of it is mapped */
    }
    if (status != WEIR_OK)
        os->fd = -1;
    if (status != WEIR_OK && opened && request->may_create)
        weir_place_remove_local(&place); /* it may have been made for this */
    if (status == WEIR_E_NOT_FOUND)
        (void)weir_fail(status, "%s: nobody has a section of that name open in %s", os->name.text, os->dir);
    weir_place_close(&place);
    return status;
}

/* Of several that make one section at once, each takes memory for it, and where there is not that much, none may get
 * it: so a creator that finds none waits a little, of random length, and looks again. */
static void back_off(const weir_os_section *os, int tries)
{
    int64_t spread = (int64_t)(((uintptr_t)os >> 4 ^ (uint64_t)weir_linux_now_ns()) % 1000) * 1000;
    (void)nanosleep(&(struct timespec){ .tv_nsec = spread << tries }, NULL);
}

static weir_status acquire(weir_os_section *os, const weir_os_request *request, bool *created)
{
    struct weir_detail detail;
    int64_t wait = 0;
    int no_space = 0;
    bool sweeps = os->access == WEIR_READ_WRITE, swept_name = !sweeps;
    for (;; sweeps = false) {
        weir_status status = weir_linux_enter();
        if (status != WEIR_OK)
            return status;
        status = attempt(os, request, sweeps, created);
        if (status == WEIR_E_PERMISSION && !swept_name) { /* perhaps a stale one of this user: of a wider mode, say */
            weir_detail_save(&detail);
            swept_name = true;
            if (weir_linux_sweep_name(os->dir, &os->name))
                status = WEIR_LINUX_AGAIN;
            else
                weir_detail_restore(&detail);
        }
        if (status == WEIR_OK)
            weir_linux_list_add(os);
        weir_linux_leave();
        if (status == WEIR_LINUX_NO_ROOM && no_space < NO_SPACE_TRIES)
            back_off(os, no_space++);
        else if (status == WEIR_LINUX_NO_ROOM)
            return WEIR_E_NO_SPACE;
        else if (status != WEIR_LINUX_AGAIN)
            return status;
        else if (!weir_linux_wait(&wait))
            return weir_fail(WEIR_E_BUSY, "%s has been held locked for 2 seconds by somebody", os->title);
    }
}

weir_status weir_os_acquire(weir_os_section *os, const weir_name *name, const weir_os_request *request, bool *created)
{
    int saved = errno;
    struct weir_detail detail;
    weir_detail_save(&detail);
    weir_status status = weir_linux_adopt(os, WEIR_SECTION_NAMED, name->text, request->options);
    if (status == WEIR_OK) {
        os->name = *name;
        os->from = os->dir = weir_linux_shm_dir(&status);
    }
    if (status == WEIR_OK)
        status = acquire(os, request, created);
    if (status == WEIR_OK)
        weir_detail_restore(&detail);
    else
        weir_linux_abandon(os);
    errno = saved;
    return status;
}

static weir_status attempt_remove(const char *path, const weir_name *name)
{
    struct weir_place place;
    const weir_section_options options = { .mode = 0777 };
    weir_section_facts facts;
    int fd = -1;
    weir_status status = weir_place_open(&place, path, name->scope, false);
    if (status == WEIR_OK) {
        weir_place_name(&place, name);
        status = weir_linux_open_file(&place, &options, &fd);
    }
    if (status == WEIR_OK) {
        short found;
        if (weir_lock_set(fd, F_WRLCK, WEIR_LIFE_FIRST, WEIR_RANGE_LEN) == 0) {
            status = weir_linux_remove_stale(&place, fd, name, true, &facts);
            status = status == WEIR_E_NOT_FOUND ? WEIR_OK : status;
        } else if (errno != EAGAIN || weir_lock_ask(fd, WEIR_LIFE_FIRST, WEIR_RANGE_LEN, &found) != 0)
            status = weir_lock_fail(path);
        else if (found == F_RDLCK)
            status = weir_fail(WEIR_E_IN_USE, "%s is in use: it was not removed", name->text);
        else
            status = WEIR_LINUX_AGAIN;
    } else if (status == WEIR_E_NOT_FOUND) {
        (void)weir_fail(status, "%s: there is no section of that name in %s", name->text, path);
    }
    if (fd >= 0)
        (void)weir_linux.close(fd);
    weir_place_close(&place);
    return status;
}

weir_status weir_os_remove(const weir_name *name)
{
    int saved = errno;
    weir_status status = WEIR_OK;
    char *path = weir_linux_shm_dir(&status);
    int64_t wait = 0;
    while (status == WEIR_OK) {
        status = weir_linux_enter();
        if (status != WEIR_OK)
            break;
        status = attempt_remove(path, name);
        weir_linux_leave();
        if (status != WEIR_LINUX_AGAIN)
            break;
        status = weir_linux_wait(&wait) ? WEIR_OK
                                        : weir_fail(WEIR_E_BUSY, "%s has been held locked for 2 seconds by somebody",
                                                    name->text);
    }
    free(path);
    errno = saved;
    return status;
}
