/* naming/os_linux_unnamed.c - sections without a name: memory files, and descriptors that are handed over. */
#include <weir/base/fail.h>
#include <weir/naming/os_linux.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x10
#endif

#define HUGETLBFS_MAGIC 0x958458f6

/* Memory files are of the system's pages, or of large ones, which come from a pool.  Not by st_blksize: that is large
 * where transparent huge pages are only hoped for. */
static weir_status set_page(weir_os_section *os, int fd)
{
    struct statfs fs;
    if (fstatfs(fd, &fs) != 0)
        return weir_linux_fail("cannot look at", os->title);
    os->large = (unsigned long)fs.f_type == HUGETLBFS_MAGIC;
    os->page = os->large ? (uint64_t)fs.f_bsize : weir_os_page();
    os->from = os->large ? "the pool of huge pages (vm.nr_hugepages)" : "memory";
    return WEIR_OK;
}

/* ---- making one ---- */

static int new_file(const char *label, bool large, uint32_t mode)
{
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | (large ? MFD_HUGETLB : 0u);
    /* Some systems refuse a memory file that could be executed; those before 6.3 do not know the flag. */
    unsigned not_to_run = (mode & 0111) == 0 ? MFD_NOEXEC_SEAL : 0u;
    int fd = weir_linux.memfd_create(label, flags | not_to_run);
    if (fd < 0 && errno == EINVAL && not_to_run != 0)
        fd = weir_linux.memfd_create(label, flags);
    return weir_linux_off_standard(fd);
}

/* Makes a memory file, of large pages or not, and takes its memory. */
static weir_status make(weir_os_section *os, const weir_os_request *request, bool large, int *fd)
{
    const weir_section_options *options = request->options;
    *fd = new_file(os->title, large, options->mode);
    if (*fd < 0 && (errno == ENOSYS || (large && errno == EINVAL)))
        return weir_fail(WEIR_E_UNSUPPORTED, "this kernel has no %s", large ? "huge memory files" : "memory files");
    if (*fd < 0)
        return weir_linux_fail("cannot create a memory file", os->title);
    if ((options->flags & WEIR_SET_GROUP) != 0 && weir_linux.fchown(*fd, (uid_t)-1, options->group) != 0)
        return weir_linux_fail("cannot give the group asked for to", os->title);
    if (weir_linux.fchmod(*fd, options->mode != 0 ? options->mode : 0600u) != 0)
        return weir_linux_fail("cannot set the mode of", os->title);
    weir_status status = set_page(os, *fd);
    if (status != WEIR_OK)
        return status;
    uint64_t bytes = (request->bytes + os->page - 1) / os->page * os->page;
    uint64_t allocated = (request->allocated + os->page - 1) / os->page * os->page;
    status = weir_linux_check_length(bytes);
    if (status != WEIR_OK)
        return status;
    if (weir_linux.ftruncate(*fd, (off_t)bytes) != 0)
        return weir_linux_fail("cannot reserve the room of", os->title);
    weir_linux_step_out(os, *fd);
    status = weir_linux_bind(os, 0, bytes);
    if (status == WEIR_OK)
        status = weir_linux_allocate(*fd, 0, allocated, os->from);
    weir_linux_step_in(os);
    return status;
}

weir_status weir_os_create_unnamed(weir_os_section *os, const weir_os_request *request)
{
    int saved = errno;
    const weir_section_options *options = request->options;
    const char *label = options->label != NULL ? options->label : "weir";
    weir_status status = weir_linux_adopt(os, WEIR_SECTION_UNNAMED, label, options);
    if (status == WEIR_OK)
        status = weir_linux_enter();
    if (status != WEIR_OK) {
        weir_linux_abandon(os);
        errno = saved;
        return status;
    }
    struct weir_detail detail;
    weir_detail_save(&detail);
    int fd = -1;
    bool large = (os->want & WEIR_LARGE_PAGES) != 0;
    bool must = (os->demand & WEIR_LARGE_PAGES) != 0;
    if (large && (options->flags & WEIR_RESERVE) != 0) { /* a granule is smaller than a large page */
        large = false;
        if (must)
            status = weir_fail(WEIR_E_UNSUPPORTED, "reserved room is committed in pieces smaller than large pages");
    }
    if (status == WEIR_OK)
        status = make(os, request, large, &fd);
    if (status != WEIR_OK && large && !must) { /* wanted, not demanded */
        if (fd >= 0)
            (void)weir_linux.close(fd);
        weir_detail_restore(&detail);
        status = make(os, request, false, &fd);
    }
    if (status == WEIR_OK) {
        weir_linux_step_out(os, fd);
        status = weir_linux_fill(os, request);
        weir_linux_step_in(os);
    }
    os->fd = fd;
    os->life = weir_lock_byte(WEIR_LIFE_FIRST);
    if (status == WEIR_OK && weir_lock_set(fd, F_RDLCK, os->life, 1) != 0)
        status = weir_lock_fail(os->title);
    if (status == WEIR_OK)
        weir_linux_list_add(os);
    else if (fd >= 0)
        (void)weir_linux.close(fd);
    weir_linux_leave();
    if (status != WEIR_OK)
        weir_linux_abandon(os);
    errno = saved;
    return status;
}

/* ---- seals ---- */

static const struct { uint32_t ours; int theirs; } seal_table[] = {
    { WEIR_SEAL_SHRINK, F_SEAL_SHRINK },
    { WEIR_SEAL_GROW, F_SEAL_GROW },
    { WEIR_SEAL_WRITE, F_SEAL_FUTURE_WRITE },
    { WEIR_SEAL_SEAL, F_SEAL_SEAL },
};

weir_status weir_os_seal(weir_os_section *os, uint32_t seals)
{
    int saved = errno, theirs = 0;
    weir_status status = WEIR_OK;
    for (unsigned i = 0; i < sizeof seal_table / sizeof seal_table[0]; i++)
        theirs |= (seals & seal_table[i].ours) != 0 ? seal_table[i].theirs : 0;
    if (weir_linux.seals(os->fd, F_ADD_SEALS, theirs) != 0)
        status = errno == EINVAL ? weir_fail(WEIR_E_UNSUPPORTED, "this kernel has not all of these seals")
                                 : weir_linux_fail("cannot seal", os->title);
    errno = saved;
    return status;
}

uint32_t weir_os_seals(weir_os_section *os)
{
    int saved = errno;
    uint32_t seals = 0;
    int theirs = weir_linux.seals(os->fd, F_GET_SEALS, 0);
    for (unsigned i = 0; theirs > 0 && i < sizeof seal_table / sizeof seal_table[0]; i++)
        seals |= (theirs & seal_table[i].theirs) != 0 ? seal_table[i].ours : 0;
    errno = saved;
    return seals;
}

/* ---- handing it over ---- */

static weir_status reopen_fail(const char *title)
{
    if (errno == ENOENT)
        return weir_fail(WEIR_E_UNSUPPORTED, "%s cannot be opened anew: /proc is not mounted", title);
    if (errno == EACCES || errno == EPERM)
        return weir_fail(WEIR_E_PERMISSION, "%s cannot be opened anew: its owner and mode do not let this user", title);
    return weir_linux_fail("cannot open anew", title);
}

weir_status weir_os_export(weir_os_section *os, weir_access access, bool inherit, weir_handle *out)
{
    int saved = errno;
    weir_status status = WEIR_OK;
    int fd = weir_linux_reopen(os->fd, access == WEIR_READ_WRITE ? O_RDWR : O_RDONLY);
    if (fd < 0) {
        status = reopen_fail(os->title);
    } else if (inherit && weir_linux.fd_flags(fd, F_SETFD, 0) != 0) {
        status = weir_linux_fail("cannot let exec inherit a handle of", os->title);
        (void)weir_linux.close(fd);
    } else {
        *out = fd;
    }
    errno = saved;
    return status;
}

/* What its creator called it, as /proc has it.  False: it is no memory file, or /proc is not mounted. */
static bool label_of(int fd, char *title, size_t size)
{
    static const char prefix[] = "/memfd:", suffix[] = " (deleted)";
    const size_t prefix_len = sizeof prefix - 1, suffix_len = sizeof suffix - 1;
    char self[64], link[300];
    (void)snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(self, link, sizeof link - 1);
    link[len > 0 ? len : 0] = 0;
    if (len > (ssize_t)suffix_len && strcmp(link + (size_t)len - suffix_len, suffix) == 0)
        link[(size_t)len - suffix_len] = 0;
    bool memory_file = strncmp(link, prefix, prefix_len) == 0;
    if (memory_file)
        (void)snprintf(title, size, "%s", link + prefix_len);
    else
        (void)snprintf(title, size, "the section of handle %d", fd);
    return memory_file;
}

/* Is fd's section one that may be attached to so? */
static weir_status check_handle(weir_os_section *os, int fd, bool memory_file, const weir_section_options *options)
{
    struct stat st;
    weir_section_facts facts;
    uint64_t start[offsetof(weir_section_layout, name) / 8 + 1] = { 0 }; /* of the header, to the name's beginning */
    if (weir_linux.fstat(fd, &st) != 0)
        return errno == EBADF ? weir_fail(WEIR_E_INVALID, "handle %d is not open", fd)
                              : weir_linux_fail("cannot look at", os->title);
    if (!S_ISREG(st.st_mode))
        return weir_fail(WEIR_E_NOT_WEIR, "handle %d is no weir section's", fd);
    if ((options->flags & WEIR_EXPECT_OWNER) != 0 && st.st_uid != options->owner)
        return weir_fail(WEIR_E_PERMISSION, "the section of handle %d is of uid %u, not of the expected %u", fd,
                         (unsigned)st.st_uid, options->owner);
    int mode = weir_linux.fd_flags(fd, F_GETFL, 0), seals = weir_linux.seals(fd, F_GET_SEALS, 0);
    if (mode < 0 || (seals < 0 && errno != EINVAL))
        return weir_linux_fail("cannot look at", os->title);
    if (!memory_file && access("/proc/self/fd", X_OK) != 0)
        return weir_fail(WEIR_E_UNSUPPORTED, "handle %d cannot be opened anew: /proc is not mounted", fd);
    if (!memory_file || seals < 0) {
        bool named = weir_linux.pread(fd, start, sizeof start, 0) == sizeof start && start[0] == WEIR_SECTION_MAGIC &&
                     (start[offsetof(weir_section_layout, name) / 8] & 0xff) != 0;
        return named ? weir_fail(WEIR_E_STATE, "the section of handle %d has a name: open it by that", fd)
                     : weir_fail(WEIR_E_NOT_WEIR, "handle %d is no weir section's", fd);
    }
    weir_status status = weir_linux_inspect(fd, NULL, os->title, &facts);
    if (status != WEIR_OK)
        return status;
    if (options->access == WEIR_READ_WRITE && (mode & O_ACCMODE) != O_RDWR)
        return weir_fail(WEIR_E_ACCESS, "handle %d was exported read-only", fd);
    if (options->access == WEIR_READ_WRITE && seals > 0 && (seals & F_SEAL_FUTURE_WRITE) != 0)
        return weir_fail(WEIR_E_ACCESS, "the section of handle %d is sealed against writing: attach read-only", fd);
    return set_page(os, fd);
}

weir_status weir_os_attach(weir_os_section *os, weir_handle handle, const weir_os_request *request)
{
    int saved = errno;
    const weir_section_options *options = request->options;
    char title[320];
    bool memory_file = label_of((int)handle, title, sizeof title);
    weir_status status = weir_linux_adopt(os, WEIR_SECTION_UNNAMED, title, options);
    if (status == WEIR_OK)
        status = handle < 0 || handle > INT32_MAX ? weir_fail(WEIR_E_INVALID, "handle %lld is none", (long long)handle)
                                                  : check_handle(os, (int)handle, memory_file, options);
    bool writer = options->access == WEIR_READ_WRITE;
    int64_t wait = 0;
    while (status == WEIR_OK) {
        status = weir_linux_enter();
        if (status != WEIR_OK)
            break;
        os->fd = weir_linux_reopen((int)handle, writer ? O_RDWR : O_RDONLY);
        os->life = weir_lock_byte(writer ? WEIR_LIFE_FIRST : WEIR_LOOK_FIRST);
        bool locked = os->fd >= 0 && weir_lock_set(os->fd, F_RDLCK, os->life, 1) == 0;
        bool held = os->fd >= 0 && !locked && errno == EAGAIN; /* a sole user gives memory back */
        if (os->fd < 0)
            status = reopen_fail(os->title);
        else if (!locked && !held)
            status = weir_lock_fail(os->title);
        if (locked)
            weir_linux_list_add(os);
        else if (os->fd >= 0)
            (void)weir_linux.close(os->fd);
        weir_linux_leave();
        if (!held)
            break;
        if (!weir_linux_wait(&wait))
            status = weir_fail(WEIR_E_BUSY, "%s has been held locked for 2 seconds by somebody", os->title);
    }
    if (status != WEIR_OK)
        weir_linux_abandon(os);
    errno = saved;
    return status;
}

/* ---- handles ---- */

weir_status weir_handle_close(weir_handle handle)
{
    int saved = errno;
    weir_status status = WEIR_OK;
    if (handle < 0 || handle > INT32_MAX || (weir_linux.close((int)handle) != 0 && errno == EBADF))
        status = weir_fail(WEIR_E_INVALID, "handle %lld is not open", (long long)handle);
    errno = saved;
    return status;
}

static weir_status socket_fail(const char *what)
{
    switch (errno) {
    case EAGAIN:
#if EWOULDBLOCK != EAGAIN
    case EWOULDBLOCK:
#endif
        return WEIR_TIMEOUT;
    case EPIPE:
    case ECONNRESET:
    case ECONNREFUSED: /* of datagrams */
        return WEIR_CLOSED;
    case ETOOMANYREFS:
    case ENOBUFS:
        return weir_fail(WEIR_E_NO_MEMORY, "%s: %s", what, strerror(errno));
    case EBADF:
        return weir_fail(WEIR_E_INVALID, "%s: %s", what, strerror(errno));
    case ENOTSOCK:
    case ENOTCONN:
    case EDESTADDRREQ:
    case EOPNOTSUPP:
    case EINVAL:
        return weir_fail(WEIR_E_UNSUPPORTED, "%s: a connected Unix-domain socket is needed: %s", what, strerror(errno));
    default:
        return weir_linux_fail(what, "over the socket");
    }
}

/* Others, internet sockets for one, would drop the handle and say nothing. */
static weir_status check_socket(int socket, const char *what)
{
    int domain = 0;
    socklen_t len = sizeof domain;
    if (getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &len) != 0)
        return socket_fail(what);
    if (domain != AF_UNIX)
        return weir_fail(WEIR_E_UNSUPPORTED, "%s: a connected Unix-domain socket is needed", what);
    return WEIR_OK;
}

weir_status weir_handle_send(int socket, weir_handle handle)
{
    int saved = errno, fd = (int)handle;
    union { struct cmsghdr align; char room[CMSG_SPACE(sizeof fd)]; } control;
    char byte = 'w';
    struct iovec data = { .iov_base = &byte, .iov_len = 1 };
    struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.room,
                              .msg_controllen = sizeof control.room };
    if (handle < 0 || handle > INT32_MAX)
        return weir_fail(WEIR_E_INVALID, "handle %lld is none", (long long)handle);
    weir_status status = check_socket(socket, "cannot send a handle");
    if (status != WEIR_OK) {
        errno = saved;
        return status;
    }
    memset(&control, 0, sizeof control);
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(head), &fd, sizeof fd);
    ssize_t sent;
    do
        sent = weir_linux.sendmsg(socket, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent != 1)
        status = socket_fail("cannot send a handle");
    errno = saved;
    return status;
}

/* Takes the descriptors out of a message: the first to *fd, the others are closed.  How many there were.  Others than
 * descriptors come where the socket asks for them (SO_PASSCRED, SO_PASSSEC). */
static unsigned take_descriptors(struct msghdr *message, int *fd)
{
    unsigned count = 0;
    for (struct cmsghdr *head = CMSG_FIRSTHDR(message); head != NULL; head = CMSG_NXTHDR(message, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = 0; at + sizeof *fd <= head->cmsg_len - CMSG_LEN(0); at += sizeof *fd) {
            int one;
            memcpy(&one, CMSG_DATA(head) + at, sizeof one);
            if (count++ == 0)
                *fd = one;
            else
                (void)weir_linux.close(one);
        }
    }
    return count;
}

weir_status weir_handle_receive(int socket, weir_handle *out)
{
    int saved = errno, fd = -1;
    union { struct cmsghdr align; char room[1024]; } control;
    char byte;
    struct iovec data = { .iov_base = &byte, .iov_len = 1 };
    struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.room,
                              .msg_controllen = sizeof control.room };
    if (out == NULL)
        return weir_fail(WEIR_E_INVALID, "no place for the handle");
    weir_status status = check_socket(socket, "cannot receive a handle");
    if (status != WEIR_OK) {
        errno = saved;
        return status;
    }
    ssize_t got;
    do
        got = weir_linux.recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    unsigned count = got >= 0 ? take_descriptors(&message, &fd) : 0;
    if (got < 0) {
        status = socket_fail("cannot receive a handle");
    } else if (got == 0 && count == 0 && (message.msg_flags & MSG_CTRUNC) == 0) {
        status = WEIR_CLOSED;
    } else {
        bool cut = (message.msg_flags & MSG_CTRUNC) != 0;
        if (count == 0 && cut)
            status = weir_fail(WEIR_E_NO_MEMORY, "no descriptor is free for the handle that came");
        else if (count != 1 || cut || got == 0)
            status = weir_fail(WEIR_E_NOT_WEIR, "a message of %zd bytes with %u handles%s came, not of one with one",
                               got, count, cut ? " and more" : "");
        if (status != WEIR_OK && fd >= 0)
            (void)weir_linux.close(fd);
        else if (status == WEIR_OK)
            fd = weir_linux_off_standard(fd);
        if (status == WEIR_OK && fd < 0)
            status = weir_linux_fail("cannot keep", "the handle that came");
    }
    if (status == WEIR_OK)
        *out = fd;
    errno = saved;
    return status;
}
