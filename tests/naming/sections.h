/* tests/naming/sections.h - what the tests of sections share: the files behind them, and processes that hold them. */
#ifndef WEIR_TESTS_NAMING_SECTIONS_H
#define WEIR_TESTS_NAMING_SECTIONS_H

#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- files ---- */

typedef struct path_text {
    char text[512];
} path_text;

/* Where a section of that name is, for the user uid. */
static inline path_text section_path_of(const char *dir, const char *name, uid_t uid)
{
    path_text path;
    weir_name parsed;
    CHECK_OK(weir_name_parse(&parsed, name));
    const char *word = parsed.text + parsed.word_off;
    if (parsed.scope == WEIR_GLOBAL)
        (void)snprintf(path.text, sizeof path.text, "%s/weir-g.%s", dir, word);
    else
        (void)snprintf(path.text, sizeof path.text, "%s/weir-u.%u/%s", dir, (unsigned)uid, word);
    return path;
}

static inline path_text section_path(const char *dir, const char *name)
{
    return section_path_of(dir, name, geteuid());
}

static inline path_text local_dir(const char *dir)
{
    path_text path;
    (void)snprintf(path.text, sizeof path.text, "%s/weir-u.%u", dir, (unsigned)geteuid());
    return path;
}

static inline size_t file_read(const char *path, void *bytes, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    ssize_t len = pread(fd, bytes, size, 0);
    CHECK(len >= 0);
    (void)close(fd);
    return (size_t)len;
}

/* A new file with these bytes and that mode. */
static inline void file_write(const char *path, const void *bytes, size_t size, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK(pwrite(fd, bytes, size, 0) == (ssize_t)size);
    CHECK(fchmod(fd, mode) == 0);
    (void)close(fd);
}

static inline bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

/* Entries of a folder and its folders that are no folders themselves. */
static inline unsigned files_at(int at, const char *name)
{
    unsigned count = 0;
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL)
        return 1;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            count += files_at(fd, entry->d_name);
    (void)closedir(dir);
    return count;
}

static inline unsigned files_under(const char *dir)
{
    return files_at(AT_FDCWD, dir);
}

static inline unsigned open_fds(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir != NULL);
    while (readdir(dir) != NULL)
        count++;
    (void)closedir(dir);
    return count;
}

/* How this process has memory of files under dir mapped: how many times, and how many of those may be written. */
typedef struct mappings {
    unsigned all, writable;
} mappings;

static inline mappings mappings_of(const char *dir)
{
    mappings found = { 0, 0 };
    char line[1024];
    FILE *maps = fopen("/proc/self/maps", "re");
    CHECK(maps != NULL);
    while (fgets(line, sizeof line, maps) != NULL)
        if (strstr(line, dir) != NULL) {
            found.all++;
            found.writable += strstr(line, " rw") != NULL;
        }
    (void)fclose(maps);
    return found;
}

static inline int64_t monotonic_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* Who waits for somebody who does not give way does so for 2 seconds: what takes less has not waited.  Of what has, no
 * more can be said on a busy machine than that it comes back. */
#define WAIT_NS INT64_C(1900000000)
#define HANGS_NS INT64_C(60000000000)

/* Looks until condition holds, at most 20 seconds. */
#define CHECK_SOON(condition)                                                                                         \
    do {                                                                                                              \
        for (int64_t end_ns = monotonic_ns() + INT64_C(20000000000); !(condition);) {                                 \
            CHECK(monotonic_ns() < end_ns && #condition);                                                             \
            (void)nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);                                           \
        }                                                                                                             \
    } while (0)

static inline bool detail_has(const char *text)
{
    return strstr(weir_error_detail(), text) != NULL;
}

static inline bool detail_names_uid(uid_t uid)
{
    char text[32];
    (void)snprintf(text, sizeof text, "uid %u", (unsigned)uid);
    return detail_has(text);
}

/* ---- processes ---- */

/* A child that has done what it was to do and waits. */
typedef struct holder {
    pid_t pid;
    int go; /* closed: the child goes on */
} holder;

/* In a child: it ends with its parent, or a test that failed would leave it behind, stopped or waiting. */
static inline void end_with_parent(void)
{
    CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
}

/* Forks a child that runs body(arg), then waits for holder_finish, then runs after(arg) unless that is NULL. */
static inline holder holder_start(void (*body)(void *), void (*after)(void *), void *arg)
{
    int ready[2], go[2];
    char byte = 0;
    CHECK(pipe2(ready, O_CLOEXEC) == 0 && pipe2(go, O_CLOEXEC) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        end_with_parent();
        (void)close(ready[0]);
        (void)close(go[1]);
        body(arg);
        CHECK(write(ready[1], &byte, 1) == 1);
        CHECK(read(go[0], &byte, 1) == 0);
        if (after != NULL)
            after(arg);
        _exit(0);
    }
    (void)close(ready[1]);
    (void)close(go[0]);
    CHECK(read(ready[0], &byte, 1) == 1); /* 0: the child failed and has said why */
    (void)close(ready[0]);
    return (holder){ .pid = pid, .go = go[1] };
}

static inline void holder_finish(holder *h)
{
    (void)close(h->go);
    CHECK(support_wait(h->pid) == 0);
}

static inline void holder_kill(holder *h)
{
    CHECK(kill(h->pid, SIGKILL) == 0);
    CHECK(support_wait(h->pid) == -SIGKILL);
    (void)close(h->go);
}

/* What a child makes, and what it does with it. */
typedef struct section_job {
    const char *name;
    uint64_t size;
    weir_section_options options;
    bool open;
    uint64_t stamp; /* not 0: written at the content's start */
    weir_section *section;
} section_job;

static inline void section_job_begin(void *arg)
{
    section_job *job = arg;
    if (job->open)
        CHECK_OK(weir_section_open(&job->section, job->name, &job->options));
    else
        CHECK_OK(weir_section_create(&job->section, job->name, job->size, &job->options));
    if (job->stamp != 0) {
        weir_view view;
        CHECK_OK(weir_view_map(&view, job->section, 0, 0, WEIR_READ_WRITE));
        memcpy(view.base, &job->stamp, sizeof job->stamp);
        CHECK_OK(weir_view_unmap(&view));
    }
}

static inline void section_job_end(void *arg)
{
    section_job *job = arg;
    CHECK_OK(weir_section_close(job->section));
}

/* Leaves a section of that name behind, as a killed process does. */
static inline void leave_stale(const char *name, const weir_section_options *options)
{
    section_job job = { .name = name, .size = 4096, .stamp = UINT64_C(0xdeaddeaddeaddead) };
    if (options != NULL)
        job.options = *options;
    holder h = holder_start(section_job_begin, NULL, &job);
    holder_kill(&h);
}

/* The first 8 bytes of the content. */
static inline uint64_t stamp_of(weir_section *section)
{
    weir_view view;
    uint64_t stamp;
    CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_ONLY));
    memcpy(&stamp, view.base, sizeof stamp);
    CHECK_OK(weir_view_unmap(&view));
    return stamp;
}

/* For Criterion suites: the call returns what is expected and leaves errno as it was. */
#define KEPT 12345

#define CHECK_KEEPS_ERRNO(call, expected)                                                                             \
    do {                                                                                                              \
        errno = KEPT;                                                                                                 \
        weir_status kept_status = (call);                                                                             \
        int kept_errno = errno;                                                                                       \
        CHECK_STATUS(kept_status, expected);                                                                          \
        cr_assert_eq(kept_errno, KEPT, "%s set errno to %d", #call, kept_errno);                                      \
    } while (0)

#endif
