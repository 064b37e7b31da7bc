/* naming/os_linux_file.c - sections whose content is a file's. */
#include <weir/base/fail.h>
#include <weir/naming/os_linux.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Takes a file that this call made away again, if the path still means it and nobody has put anything in it. */
static void unmake(int fd, const char *path)
{
    struct stat mine, named;
    if (weir_linux.fstat(fd, &mine) == 0 && weir_linux.fstatat(AT_FDCWD, path, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
        mine.st_dev == named.st_dev && mine.st_ino == named.st_ino && named.st_size == 0)
        (void)weir_linux.unlinkat(AT_FDCWD, path, 0);
}

/* Opens the file, or makes it, as the flags say.  *made: it is new. */
static weir_status open_path(const char *path, const weir_section_options *options, int *fd, bool *made)
{
    int access = options->access == WEIR_READ_WRITE ? O_RDWR : O_RDONLY;
    int flags = access | O_CLOEXEC | O_NOCTTY | O_NONBLOCK; /* O_NONBLOCK: a FIFO must not hang us */
    bool create = (options->flags & (WEIR_FILE_CREATE | WEIR_FILE_NEW)) != 0;
    *made = false;
    *fd = -1;
    for (int tries = 0; tries < 16; tries++) { /* between the two looks another may make or remove it */
        if ((options->flags & WEIR_FILE_NEW) == 0)
            *fd = weir_linux.openat(AT_FDCWD, path, flags, 0);
        if (*fd >= 0 || !create || ((options->flags & WEIR_FILE_NEW) == 0 && errno != ENOENT))
            break;
        *fd = weir_linux.openat(AT_FDCWD, path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0600);
        *made = *fd >= 0;
        if (*made || (options->flags & WEIR_FILE_NEW) != 0 || errno != EEXIST)
            break;
    }
    int opened = *fd;
    if (opened >= 0 && opened <= 2) {
        *fd = weir_linux.dup_above(opened, 3);
        int error = errno;
        if (*fd < 0 && *made)
            unmake(opened, path);
        (void)weir_linux.close(opened);
        errno = error;
    }
    if (*fd >= 0)
        return WEIR_OK;
    if (errno == ENOENT)
        return weir_fail(WEIR_E_NOT_FOUND, "%s: there is no such file", path);
    if (errno == EEXIST && (options->flags & WEIR_FILE_NEW) == 0)
        return weir_fail(WEIR_E_INVALID, "%s is a symbolic link to nothing", path);
    if (errno == EEXIST)
        return weir_fail(WEIR_E_EXISTS, "%s exists", path);
    if (errno == EISDIR || errno == ENXIO || errno == ENODEV)
        return weir_fail(WEIR_E_INVALID, "%s is no regular file", path);
    if (errno == ENAMETOOLONG || errno == ENOTDIR || errno == ELOOP)
        return weir_fail(WEIR_E_INVALID, "%s: %s", path, strerror(errno));
    return weir_linux_fail("cannot open", path);
}

/* Brings the file and the size asked for together. */
static weir_status agree(weir_os_section *os, const weir_section_options *options, bool made, uint64_t *size)
{
    struct stat st;
    if (weir_linux.fstat(os->fd, &st) != 0)
        return weir_linux_fail("cannot look at", os->title);
    if (!S_ISREG(st.st_mode))
        return weir_fail(WEIR_E_INVALID, "%s is no regular file", os->title);
    if ((options->flags & WEIR_EXPECT_OWNER) != 0 && st.st_uid != options->owner)
        return weir_fail(WEIR_E_PERMISSION, "%s is of uid %u, not of the expected %u", os->title, (unsigned)st.st_uid,
                         options->owner);
    if (made) {
        if ((options->flags & WEIR_SET_GROUP) != 0 && weir_linux.fchown(os->fd, (uid_t)-1, options->group) != 0)
            return weir_linux_fail("cannot give the group asked for to", os->title);
        if (weir_linux.fchmod(os->fd, options->mode != 0 ? options->mode : 0600u) != 0)
            return weir_linux_fail("cannot set the mode of", os->title);
    }
    uint64_t bytes = (uint64_t)st.st_size;
    if (*size == 0 && bytes == 0)
        return weir_fail(WEIR_E_EMPTY_FILE, "%s is empty, and no size was given", os->title);
    if (*size == 0 && bytes > WEIR_SECTION_SIZE_MAX)
        return weir_fail(WEIR_E_INVALID, "%s has %llu bytes: give a size, at most %llu", os->title,
                         (unsigned long long)bytes, (unsigned long long)WEIR_SECTION_SIZE_MAX);
    if (*size == 0)
        *size = bytes;
    if (*size <= bytes)
        return WEIR_OK;
    if (os->access != WEIR_READ_WRITE)
        return weir_fail(WEIR_E_FILE_SHORT,
                         "a %s section of %llu bytes, its file %s has %llu: it is not grown for that",
                         os->access == WEIR_READ_ONLY ? "read-only" : "copy-on-write", (unsigned long long)*size,
                         os->title, (unsigned long long)bytes);
    return weir_os_grow(os, bytes, *size);
}

weir_status weir_os_open_file(weir_os_section *os, const char *path, uint64_t *size_bytes,
                              const weir_section_options *options)
{
    int saved = errno;
    bool made = false;
    weir_status status = weir_linux_adopt(os, WEIR_SECTION_FILE, path, options);
    if (status == WEIR_OK && (options->flags & (WEIR_FILE_CREATE | WEIR_FILE_NEW)) != 0 &&
        options->access != WEIR_READ_WRITE)
        status = weir_fail(WEIR_E_INVALID, "%s: a file is made for a read-write section only", path);
    /* Not between enter and leave: it may take long, and there is no lock that a child could keep. */
    if (status == WEIR_OK)
        status = open_path(path, options, &os->fd, &made);
    if (status == WEIR_OK)
        status = agree(os, options, made, size_bytes);
    if (status == WEIR_OK)
        status = weir_linux_enter();
    if (status == WEIR_OK) {
        weir_linux_list_add(os);
        weir_linux_leave();
    } else {
        if (made)
            unmake(os->fd, os->title);
        if (os->fd >= 0)
            (void)weir_linux.close(os->fd);
        weir_linux_abandon(os);
    }
    errno = saved;
    return status;
}
