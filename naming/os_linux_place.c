/* naming/os_linux_place.c - where a name lives: directories, paths, and what else may stand there. */
#include <weir/base/fail.h>
#include <weir/naming/os_linux.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void weir_place_close(struct weir_place *place)
{
    if (place->dir >= 0 && place->dir != place->base)
        (void)weir_linux.close(place->dir);
    if (place->base >= 0)
        (void)weir_linux.close(place->base);
    place->dir = place->base = -1;
}

static const char *kind_of(mode_t mode)
{
    return S_ISREG(mode)    ? "a file"
           : S_ISDIR(mode)  ? "a directory"
           : S_ISLNK(mode)  ? "a symbolic link"
           : S_ISFIFO(mode) ? "a FIFO"
           : S_ISSOCK(mode) ? "a socket"
                            : "a device";
}

weir_status weir_place_squatted(const struct weir_place *place, int dir, const char *file, weir_status status,
                                const char *why)
{
    struct stat st;
    if (weir_linux.fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? WEIR_LINUX_AGAIN /* gone meanwhile */ : weir_linux_fail("cannot look at", file);
    return weir_fail(status, "%s/%s%s%s is %s of uid %u, mode %#o: %s", place->path,
                     dir == place->base ? "" : place->local, dir == place->base ? "" : "/", file,
                     kind_of(st.st_mode), (unsigned)st.st_uid, (unsigned)st.st_mode & 07777, why);
}

/* The user's own directory: nobody else may write there, or they could swap what a name means. */
static weir_status open_local(struct weir_place *place, bool create)
{
    int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    place->dir = weir_linux.openat(place->base, place->local, flags, 0);
    if (place->dir < 0 && errno == ENOENT && create) {
        if (weir_linux.mkdirat(place->base, place->local, 0700) == 0)
            (void)weir_linux.fchmodat(place->base, place->local, 0700, 0); /* whatever the umask */
        else if (errno != EEXIST)
            return weir_linux_fail("cannot make a directory in", place->path);
        place->dir = weir_linux.openat(place->base, place->local, flags, 0);
    }
    struct stat st;
    if (place->dir < 0 && errno == ENOENT)
        return create ? WEIR_LINUX_AGAIN : WEIR_E_NOT_FOUND; /* removed again by the last of its sections */
    if (place->dir < 0 && (errno == ENOTDIR || errno == ELOOP || errno == EACCES))
        return weir_place_squatted(place, place->base, place->local, WEIR_E_PERMISSION,
                                   "it must be a directory of your own: its owner or root can remove it");
    if (place->dir < 0 || weir_linux.fstat(place->dir, &st) != 0)
        return weir_linux_fail("cannot open the user's directory in", place->path);
    if (st.st_uid != geteuid() || (st.st_mode & 077) != 0)
        return weir_place_squatted(place, place->base, place->local, WEIR_E_PERMISSION,
                                   "it must be your own and closed to others (mode 0700)");
    return WEIR_OK;
}

weir_status weir_place_open(struct weir_place *place, const char *path, weir_scope scope, bool create)
{
    place->path = path;
    place->local[0] = place->file[0] = 0; /* not all of it: most is never touched */
    place->dir = -1;
    place->base = weir_linux.openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (place->base < 0)
        return weir_linux_fail("cannot open the shared-memory directory (WEIR_SHM_DIR, else /dev/shm)", path);
    if (scope == WEIR_GLOBAL) {
        place->dir = place->base;
        return WEIR_OK;
    }
    (void)snprintf(place->local, sizeof place->local, WEIR_PLACE_LOCAL "%u", (unsigned)geteuid());
    return open_local(place, create);
}

void weir_place_name(struct weir_place *place, const weir_name *name)
{
    (void)snprintf(place->file, sizeof place->file, "%s%s", name->scope == WEIR_GLOBAL ? WEIR_PLACE_GLOBAL : "",
                   name->text + name->word_off);
}

bool weir_place_of_file(const char *file, weir_scope scope, weir_name *out)
{
    char text[WEIR_NAME_TEXT_MAX + 16];
    size_t skip = scope == WEIR_GLOBAL ? sizeof WEIR_PLACE_GLOBAL - 1 : 0;
    if (strncmp(file, WEIR_PLACE_GLOBAL, skip) != 0)
        return false;
    int len = snprintf(text, sizeof text, "%s/%s", scope == WEIR_GLOBAL ? "Global" : "Local", file + skip);
    return len > 0 && (size_t)len < sizeof text && weir_name_parse(out, text) == WEIR_OK;
}

bool weir_place_names(const struct weir_place *place, int fd)
{
    struct stat mine, named;
    return weir_linux.fstat(fd, &mine) == 0 &&
           weir_linux.fstatat(place->dir, place->file, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           mine.st_dev == named.st_dev && mine.st_ino == named.st_ino;
}

void weir_place_by_path(struct weir_place *place, const weir_os_section *os)
{
    const char *word = os->name.text + os->name.word_off;
    place->base = place->dir = AT_FDCWD;
    place->path = os->dir;
    place->local[0] = 0;
    if (os->name.scope == WEIR_GLOBAL) {
        (void)snprintf(place->file, sizeof place->file, "%.4096s/" WEIR_PLACE_GLOBAL "%s", os->dir, word);
    } else {
        (void)snprintf(place->local, sizeof place->local, WEIR_PLACE_LOCAL "%u", os->uid);
        (void)snprintf(place->file, sizeof place->file, "%.4096s/%s/%s", os->dir, place->local, word);
    }
}

/* Removes the user's directory, unless it holds something. */
void weir_place_remove_local(const struct weir_place *place)
{
    char path[WEIR_PLACE_PATH];
    const char *slash = strrchr(place->file, '/');
    if (place->local[0] == 0)
        return;
    if (place->base == AT_FDCWD && slash != NULL) { /* by path */
        (void)snprintf(path, sizeof path, "%.*s", (int)(slash - place->file), place->file);
        (void)weir_linux.unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
    } else {
        (void)weir_linux.unlinkat(place->base, place->local, AT_REMOVEDIR);
    }
}

/* Removes the name.  The caller holds the exclusive lock of its inode and has checked weir_place_names under it. */
int weir_place_remove(const struct weir_place *place, int fd)
{
    weir_linux_remove_companions(place, fd);
    int result = weir_linux.unlinkat(place->dir, place->file, 0);
    int error = errno;
    if (result == 0)
        weir_place_remove_local(place);
    errno = error;
    return result;
}
