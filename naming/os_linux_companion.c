/* naming/os_linux_companion.c - FIFOs beside the file of a named section: companion.h says for what. */
#include <weir/base/fail.h>
#include <weir/naming/os_linux.h>

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MARK "@" /* no byte of a section's name */
#define FILE_MAX (WEIR_PLACE_PATH + 8)

/* Not snprintf, in these three: a signal handler may be what opens a companion. */
static void add_text(char file[FILE_MAX], const char *text)
{
    size_t len = strlen(file), more = strlen(text);
    if (more >= FILE_MAX - len) /* longer than any path: cut, it is still too long for the kernel */
        more = FILE_MAX - len - 1;
    memcpy(file + len, text, more);
    file[len + more] = 0;
}

static void add_number(char file[FILE_MAX], uint32_t number)
{
    char digits[12];
    size_t at = sizeof digits - 1;
    digits[at] = 0;
    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    add_text(file, digits + at);
}

static void name_companion(char file[FILE_MAX], const char *section_file, uint32_t slot)
{
    file[0] = 0;
    add_text(file, section_file);
    add_text(file, MARK);
    add_number(file, slot);
}

bool weir_place_of_companion(const char *file, weir_scope scope, weir_name *out)
{
    char section_file[NAME_MAX + 1], again[FILE_MAX];
    const char *mark = strrchr(file, MARK[0]);
    if (mark == NULL || (size_t)(mark - file) >= sizeof section_file)
        return false;
    memcpy(section_file, file, (size_t)(mark - file));
    section_file[mark - file] = 0;
    unsigned long slot = strtoul(mark + 1, NULL, 10);
    if (slot >= WEIR_SLOTS_MAX || !weir_place_of_file(section_file, scope, out))
        return false;
    name_companion(again, section_file, (uint32_t)slot);
    return strcmp(again, file) == 0; /* no sign, no leading zero, nothing behind */
}

static bool is_ours(const struct stat *st, uid_t section_owner)
{
    return S_ISFIFO(st->st_mode) && (st->st_uid == section_owner || st->st_uid == geteuid());
}

/* True: nothing of ours stands there now.  What is not ours is left alone. */
static bool remove_one(int dir, const char *file, uid_t section_owner)
{
    struct stat st;
    if (weir_linux.fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT;
    if (!is_ours(&st, section_owner))
        return true;
    return weir_linux.unlinkat(dir, file, 0) == 0 || errno == ENOENT;
}

void weir_linux_remove_companions(const struct weir_place *place, int fd)
{
    uint64_t words[WEIR_SLOTS_MAX / 64], any = 0;
    struct stat section;
    char file[FILE_MAX];
    if (weir_linux.pread(fd, words, sizeof words, offsetof(weir_section_layout, companions)) != sizeof words)
        return;
    for (size_t i = 0; i < WEIR_SLOTS_MAX / 64; i++)
        any |= words[i];
    if (any == 0 || weir_linux.fstat(fd, &section) != 0)
        return;
    for (uint32_t slot = 0; slot < WEIR_SLOTS_MAX; slot++) {
        if ((words[slot / 64] >> slot % 64 & 1) == 0)
            continue;
        name_companion(file, place->file, slot);
        (void)remove_one(place->dir, file, section.st_uid);
    }
}

/* ---- opening one ---- */

/* Without a text. */
static weir_status open_fifo(int dir, const char *file, int *fd, struct stat *st)
{
    /* O_RDWR: it never blocks, and a write never meets the want of a reader. */
    *fd = weir_linux_off_standard(
        weir_linux.openat(dir, file, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0));
    if (*fd < 0) {
        switch (errno) {
        case ENOENT: return WEIR_E_NOT_FOUND;
        case ELOOP:
        case EISDIR:
        case ENXIO:
        case ENODEV: return WEIR_E_NOT_WEIR;
        case EACCES:
        case EPERM:
        case EROFS: return WEIR_E_PERMISSION;
        case ENOMEM:
        case EMFILE:
        case ENFILE: return WEIR_E_NO_MEMORY;
        default: return WEIR_E_OS;
        }
    }
    if (weir_linux.fstat(*fd, st) != 0)
        return WEIR_E_OS;
    return S_ISFIFO(st->st_mode) ? WEIR_OK : WEIR_E_NOT_WEIR;
}

static void path_companion(char file[FILE_MAX], const weir_os_section *os, uint32_t slot)
{
    file[0] = 0;
    add_text(file, os->dir);
    if (os->name.scope == WEIR_GLOBAL) {
        add_text(file, "/" WEIR_PLACE_GLOBAL);
    } else {
        add_text(file, "/" WEIR_PLACE_LOCAL);
        add_number(file, os->uid);
        add_text(file, "/");
    }
    add_text(file, os->name.text + os->name.word_off);
    add_text(file, MARK);
    add_number(file, slot);
}

weir_status weir_os_companion_open(const weir_os_section *os, uint32_t slot, int *out)
{
    int saved = errno, fd = -1;
    struct stat section, st;
    char file[FILE_MAX];
    path_companion(file, os, slot);
    weir_status status = open_fifo(AT_FDCWD, file, &fd, &st);
    if (status == WEIR_OK && weir_linux.fstat(os->fd, &section) != 0)
        status = WEIR_E_OS;
    if (status == WEIR_OK && (st.st_uid != section.st_uid || ((st.st_mode ^ section.st_mode) & 07777) != 0))
        status = WEIR_E_PERMISSION;
    if (status == WEIR_OK)
        *out = fd;
    else if (fd >= 0)
        (void)weir_linux.close(fd);
    errno = saved;
    return status;
}

bool weir_os_companion_is_named(int fd)
{
    int saved = errno;
    struct stat st;
    bool named = weir_linux.fstat(fd, &st) == 0 && st.st_nlink != 0;
    errno = saved;
    return named;
}

void weir_os_companion_close(int fd)
{
    int saved = errno;
    (void)weir_linux.close(fd);
    errno = saved;
}

/* ---- making one ---- */

/* The FIFO is there, it is ours, and its owner may open it, whatever the umask was. */
static weir_status see_to(const struct weir_place *place, const char *file, uid_t section_owner)
{
    struct stat st;
    if (weir_linux.fstatat(place->dir, file, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? WEIR_LINUX_AGAIN : weir_linux_fail("cannot look at", file);
    if (!S_ISFIFO(st.st_mode))
        return weir_place_squatted(place, place->dir, file, WEIR_E_NOT_WEIR,
                                   "no companion of a section; it was left alone");
    if (!is_ours(&st, section_owner))
        return weir_place_squatted(place, place->dir, file, WEIR_E_PERMISSION,
                                   "its owner is not the section's; it was left alone");
    if ((st.st_mode & 0600) != 0600 && weir_linux.fchmodat(place->dir, file, 0600, 0) != 0)
        return weir_linux_fail("cannot set the mode of", file);
    return WEIR_OK;
}

static bool is_named(int dir, const char *file, const struct stat *st)
{
    struct stat named;
    return weir_linux.fstatat(dir, file, &named, AT_SYMLINK_NOFOLLOW) == 0 && named.st_dev == st->st_dev &&
           named.st_ino == st->st_ino;
}

/* Opens it, and holds it against who removes orphans.  AGAIN: it has been removed, or is about to be. */
static weir_status hold(const struct weir_place *place, const char *file, short lock, int *fd, struct stat *st)
{
    weir_status status = open_fifo(place->dir, file, fd, st);
    if (status == WEIR_E_NOT_FOUND)
        return WEIR_LINUX_AGAIN;
    if (status == WEIR_E_NOT_WEIR)
        return weir_fail(status, "%s was replaced by something else meanwhile", file);
    if (status != WEIR_OK)
        return weir_linux_fail("cannot open", file);
    if (weir_lock_set(*fd, lock, 0, 1) != 0)
        return errno == EAGAIN ? WEIR_LINUX_AGAIN : weir_lock_fail(file);
    return is_named(place->dir, file, st) ? WEIR_OK : WEIR_LINUX_AGAIN;
}

static weir_status make_as_section(int fd, const char *file, const struct stat *st, const struct stat *section)
{
    bool owned = st->st_uid == section->st_uid && st->st_gid == section->st_gid;
    if (!owned && weir_linux.fchown(fd, section->st_uid, section->st_gid) != 0)
        return weir_linux_fail("cannot give the section's owner and group to", file);
    if (((st->st_mode ^ section->st_mode) & 07777) != 0 && weir_linux.fchmod(fd, section->st_mode & 07777) != 0)
        return weir_linux_fail("cannot set the mode of", file);
    return WEIR_OK;
}

static weir_status attempt(const weir_os_section *os, uint32_t slot, int *fd)
{
    struct stat section, named, st;
    struct weir_place place;
    char file[FILE_MAX];
    weir_place_by_path(&place, os);
    name_companion(file, place.file, slot);
    /* Its name means this section, and nobody of weir removes it while we use it. */
    if (weir_linux.fstat(os->fd, &section) != 0)
        return weir_linux_fail("cannot look at", os->title);
    bool there = weir_linux.fstatat(place.dir, place.file, &named, AT_SYMLINK_NOFOLLOW) == 0;
    if (!there && errno != ENOENT)
        return weir_linux_fail("cannot look at", os->title);
    if (!there || named.st_dev != section.st_dev || named.st_ino != section.st_ino)
        return weir_fail(WEIR_E_NOT_FOUND, "the name of %s has been removed: nothing can stand beside it", os->title);
    if (weir_linux.mkfifoat(place.dir, file, 0600) != 0 && errno != EEXIST)
        return weir_linux_fail("cannot make", file);
    weir_status status = see_to(&place, file, section.st_uid);
    if (status == WEIR_OK)
        status = hold(&place, file, F_RDLCK, fd, &st);
    return status == WEIR_OK ? make_as_section(*fd, file, &st, &section) : status;
}

weir_status weir_os_companion_make(weir_os_section *os, uint32_t slot, int *out)
{
    int saved = errno;
    int64_t wait = 0;
    weir_status status;
    do {
        int fd = -1;
        status = weir_linux_enter();
        if (status != WEIR_OK)
            break;
        status = attempt(os, slot, &fd);
        if (status == WEIR_OK)
            *out = fd;
        else if (fd >= 0)
            (void)weir_linux.close(fd);
        weir_linux_leave();
    } while (status == WEIR_LINUX_AGAIN && weir_linux_wait(&wait));
    if (status == WEIR_LINUX_AGAIN)
        status = weir_fail(WEIR_E_BUSY, "the FIFO of slot %u beside %s has been held locked for 2 seconds by somebody",
                           slot, os->title);
    errno = saved;
    return status;
}

/* ---- removing ---- */

bool weir_os_companion_remove(weir_os_section *os, uint32_t slot)
{
    int saved = errno;
    struct stat section;
    struct weir_place place;
    char file[FILE_MAX];
    bool gone = false;
    weir_place_by_path(&place, os);
    name_companion(file, place.file, slot);
    if (weir_linux_enter() == WEIR_OK) {
        /* Under a name that means another section it would be that one's. */
        gone = weir_linux.fstat(os->fd, &section) == 0 && is_named(place.dir, place.file, &section) &&
               remove_one(place.dir, file, section.st_uid);
        weir_linux_leave();
    }
    errno = saved;
    return gone;
}

/* True: no section has that name. */
static bool is_free(const struct weir_place *place)
{
    struct stat st;
    return weir_linux.fstatat(place->dir, place->file, &st, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT;
}

void weir_linux_remove_orphan(const struct weir_place *place, const char *file)
{
    struct stat st;
    int fd = -1;
    if (!is_free(place) || see_to(place, file, geteuid()) != WEIR_OK)
        return;
    /* Whoever makes a section of that name now, and finds its companion, waits for this lock, or holds its own. */
    if (hold(place, file, F_WRLCK, &fd, &st) == WEIR_OK && is_free(place) &&
        weir_linux.unlinkat(place->dir, file, 0) == 0)
        weir_place_remove_local(place);
    if (fd >= 0)
        (void)weir_linux.close(fd);
}
