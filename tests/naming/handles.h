/* tests/naming/handles.h - what the tests of unnamed sections share: making, handing over, and refusals that leave
 * nothing. */
#ifndef WEIR_TESTS_NAMING_HANDLES_H
#define WEIR_TESTS_NAMING_HANDLES_H

#include "sections.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <weir/naming/unnamed.h>

#define UNTOUCHED ((weir_section *)(uintptr_t)0x1234)
#define NO_HANDLE ((weir_handle)-4321)
#define RW WEIR_READ_WRITE
#define RO WEIR_READ_ONLY
#define COW WEIR_COPY_ON_WRITE

static inline weir_section *unnamed_of(uint64_t size, weir_section_options options)
{
    weir_section *section = UNTOUCHED;
    CHECK_OK(weir_section_create_unnamed(&section, size, &options));
    return section;
}

static inline weir_handle export_of(weir_section *section, weir_access access)
{
    weir_handle handle = NO_HANDLE;
    CHECK_OK(weir_section_export(section, access, false, &handle));
    return handle;
}

static inline weir_section *attach_of(weir_handle handle, weir_access access)
{
    weir_section *section = UNTOUCHED;
    CHECK_OK(weir_section_attach(&section, handle, &(weir_section_options){ .access = access }));
    return section;
}

static inline weir_view view_of(weir_section *section, weir_access access)
{
    weir_view view;
    CHECK_OK(weir_view_map(&view, section, 0, 0, access));
    return view;
}

/* ---- content ---- */

/* The content is that pattern, from end to end. */
static inline unsigned char pattern_at(uint64_t at, unsigned seed)
{
    return (unsigned char)((at * 2654435761u >> 7) + seed);
}

static inline void put_pattern(weir_section *section, unsigned seed)
{
    weir_view view = view_of(section, RW);
    for (uint64_t i = 0; i < view.size; i++)
        ((unsigned char *)view.base)[i] = pattern_at(i, seed);
    CHECK_OK(weir_view_unmap(&view));
}

static inline bool has_pattern(weir_section *section, unsigned seed)
{
    weir_view view = view_of(section, RO);
    bool same = true;
    for (uint64_t i = 0; i < view.size; i++)
        same = same && ((unsigned char *)view.base)[i] == pattern_at(i, seed);
    CHECK_OK(weir_view_unmap(&view));
    return same;
}

static inline bool all_bytes(const void *at, uint64_t size, unsigned char byte)
{
    const unsigned char *bytes = at;
    for (uint64_t i = 0; i < size; i++)
        if (bytes[i] != byte)
            return false;
    return true;
}

/* ---- descriptors ---- */

/* How many descriptors of memory files with that label this process has, and how many of them exec would leave. */
static inline unsigned label_fds(const char *label, unsigned *inherited)
{
    char wanted[300];
    unsigned count = 0;
    (void)snprintf(wanted, sizeof wanted, "/memfd:%s (deleted)", label);
    for (int fd = 0; fd < 1024; fd++) {
        char link[64], target[512] = "";
        (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        if (readlink(link, target, sizeof target - 1) > 0 && strcmp(target, wanted) == 0) {
            count++;
            if (inherited != NULL)
                *inherited += (fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0;
        }
    }
    return count;
}

static inline int lowest_free_fd(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    (void)close(fd);
    return fd;
}

/* From here on this process can open `spare` more descriptors; limit_restore ends it. */
static inline struct rlimit limit_fds(int spare)
{
    struct rlimit before, now;
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    now = before;
    now.rlim_cur = (rlim_t)(lowest_free_fd() + spare); /* below the lowest free one nothing is free */
    CHECK(setrlimit(RLIMIT_NOFILE, &now) == 0);
    return before;
}

static inline void limit_restore(const struct rlimit *before)
{
    CHECK(setrlimit(RLIMIT_NOFILE, before) == 0);
}

static inline ino_t inode_of(weir_handle handle)
{
    struct stat st;
    CHECK(fstat((int)handle, &st) == 0);
    return st.st_ino;
}

/* ---- refusals ---- */

/* Attaching is refused, for the reason that text says, and leaves nothing behind. */
static inline void check_refused(weir_handle handle, weir_section_options options, weir_status expected,
                                 const char *text)
{
    weir_section *section = UNTOUCHED;
    unsigned fds = open_fds(), maps = mappings_of("/memfd:").all;
    errno = KEPT;
    CHECK_STATUS(weir_section_attach(&section, handle, &options), expected);
    CHECK(errno == KEPT && section == UNTOUCHED);
    if (*text == 0 || !detail_has(text)) {
        (void)fprintf(stderr, "\"%s\" does not say \"%s\"\n", weir_error_detail(), text);
        CHECK(!"its text");
    }
    CHECK(open_fds() == fds && mappings_of("/memfd:").all == maps);
}

/* For both ways to come. */
static inline void check_refused_both(weir_handle handle, weir_status expected, const char *text)
{
    check_refused(handle, (weir_section_options){ .access = RW }, expected, text);
    check_refused(handle, (weir_section_options){ .access = RO }, expected, text);
}

static inline const char *handle_text(weir_handle handle)
{
    static char text[64];
    (void)snprintf(text, sizeof text, "handle %lld", (long long)handle);
    return text;
}

/* A file that only its descriptor knows. */
static inline int file_with(const char *path, const void *bytes, size_t size)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, bytes, size) == (ssize_t)size && unlink(path) == 0);
    return fd;
}

/* ---- processes ---- */

static inline pid_t start(void (*body)(void *), void *arg)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        end_with_parent();
        body(arg);
        _exit(0);
    }
    return child;
}

static inline void run_in_child(void (*body)(void *), void *arg)
{
    CHECK(support_wait(start(body, arg)) == 0);
}

#endif
