/* The limit of a memory cgroup: what does not fit is a status, and nobody is killed for it: not who asked, not at the
 * next page that it touches. */
#include "../naming/sections.h"

#include <weir/naming/list.h>
#include <weir/naming/os_linux.h>
#include <weir/naming/unnamed.h>
#include <weir/naming/view.h>

#include <stdlib.h>

#define MIB (UINT64_C(1) << 20)
#define LIMIT (48 * MIB)
#define SET_ASIDE MIB /* at the least, of what a limit leaves */

static const char *dir;

/* ---- limits as they are written in a system's files ---- */

static weir_linux_calls real;
static bool unreadable; /* a file with a limit in it, for now */
static unsigned limits_read;
static int64_t before_this; /* weir_linux_believed_ns */

/* The cgroup's files are looked for in the test's own directory. */
static int openat_here(int at, const char *path, int flags, mode_t mode)
{
    char here[4608];
    bool limit = strstr(path, "/memory.max") != NULL;
    limits_read += limit;
    if (limit && unreadable) {
        errno = EMFILE;
        return -1;
    }
    bool of_cgroup = strncmp(path, "/sys/fs/cgroup", 14) == 0 || strcmp(path, "/proc/self/cgroup") == 0;
    (void)snprintf(here, sizeof here, "%s/system%s", dir, path);
    return real.openat(at, of_cgroup ? here : path, flags, mode);
}

static void write_file(const char *path, const char *text)
{
    char here[4608], command[4800];
    (void)snprintf(here, sizeof here, "%s/system%s", dir, path);
    (void)snprintf(command, sizeof command, "mkdir -p $(dirname %s)", here);
    CHECK(system(command) == 0);
    FILE *file = fopen(here, "we");
    CHECK(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void write_number(const char *path, uint64_t value)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%llu\n", (unsigned long long)value);
    write_file(path, text);
}

static void forget_files(void)
{
    char command[4800];
    (void)snprintf(command, sizeof command, "rm -rf %s/system", dir);
    CHECK(system(command) == 0);
}

static weir_status try(uint64_t bytes)
{
    weir_section *section;
    weir_status status = weir_section_create(&section, "Global/limited", bytes, NULL);
    if (status == WEIR_OK)
        CHECK_OK(weir_section_close(section));
    return status;
}

/* With so much room beside what is kept a section of 4 MiB can be had, and with less it cannot; where says whose the
 * limit is. */
static void check_limit(const char *limit_file, const char *usage_file, uint64_t clean, const char *where)
{
    const uint64_t size = 4 * MIB, need = size + 4096, kept = SET_ASIDE + need / 128, used = 100 * MIB;
    write_number(usage_file, used);
    write_number(limit_file, used + need + kept - clean);
    CHECK_OK(try(size));
    write_number(limit_file, used + need + kept - clean - 1);
    CHECK_STATUS(try(size), WEIR_E_NO_SPACE);
    CHECK(detail_has(where) && detail_has("memory limit"));
    write_number(limit_file, used - clean); /* lowered below what is used */
    CHECK_STATUS(try(1), WEIR_E_NO_SPACE);
}

static void limits_of_both_versions_and_of_ancestors_are_obeyed(void)
{
    real = weir_linux;
    weir_linux.openat = openat_here;
    weir_linux_believed_ns = 0;
    CHECK_OK(try(MIB)); /* no cgroups at all */

    write_file("/proc/self/cgroup", "0::/outer/inner\n");
    write_file("/sys/fs/cgroup/outer/inner/memory.max", "max\n");
    write_number("/sys/fs/cgroup/outer/inner/memory.current", MIB);
    CHECK_OK(try(MIB));
    check_limit("/sys/fs/cgroup/outer/memory.max", "/sys/fs/cgroup/outer/memory.current", 0, "/sys/fs/cgroup/outer ");
    write_file("/sys/fs/cgroup/outer/memory.max", "max\n");
    check_limit("/sys/fs/cgroup/outer/inner/memory.max", "/sys/fs/cgroup/outer/inner/memory.current", 0, "inner");
    write_file("/sys/fs/cgroup/outer/inner/memory.stat", "anon 5\ninactive_file 1048576\nactive_file 4096\nslab 9\n");
    check_limit("/sys/fs/cgroup/outer/inner/memory.max", "/sys/fs/cgroup/outer/inner/memory.current", MIB + 4096,
                "inner");
    forget_files();

    /* In a container the path is the host's, and what is mounted here is the container's own. */
    write_file("/proc/self/cgroup", "9:cpu,cpuacct:/x\n8:memory:/docker/0123\n0::/\n");
    check_limit("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes", 0,
                "/sys/fs/cgroup/memory ");
    write_file("/sys/fs/cgroup/memory/memory.stat", "inactive_file 77\ntotal_inactive_file 8192\n"
                                                    "total_active_file 4096\n");
    check_limit("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes", 12288,
                "/sys/fs/cgroup/memory ");
    write_file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"); /* none, in version 1 */
    CHECK_OK(try(MIB));
    forget_files();
    weir_linux = real;
}

static void limits_are_believed_for_a_second_and_neither_usage_nor_the_path_is(void)
{
    const char *limit = "/sys/fs/cgroup/outer/memory.max", *usage = "/sys/fs/cgroup/outer/memory.current";
    CHECK(before_this == INT64_C(1000000000));
    real = weir_linux;
    weir_linux.openat = openat_here;
    weir_linux_believed_ns = INT64_MAX;
    write_file("/proc/self/cgroup", "0::/outer/inner\n");
    write_file("/sys/fs/cgroup/outer/inner/memory.max", "max\n");
    write_number(usage, 10 * MIB);
    write_number(limit, 100 * MIB);

    unreadable = true; /* as no limit is, and not believed */
    CHECK_OK(try(MIB));
    unreadable = false;
    limits_read = 0;
    CHECK_OK(try(MIB));
    CHECK(limits_read == 3); /* inner, outer, and none at the root */
    write_number(limit, 10 * MIB);
    CHECK_OK(try(MIB));
    CHECK(limits_read == 3);
    write_number(usage, 100 * MIB);
    CHECK_STATUS(try(MIB), WEIR_E_NO_SPACE);
    write_number(usage, 10 * MIB);
    CHECK_OK(try(MIB));
    CHECK(limits_read == 3);
    write_file("/proc/self/cgroup", "0::/outer\n");
    CHECK_STATUS(try(MIB), WEIR_E_NO_SPACE);
    CHECK(limits_read == 5);
    write_number(limit, 100 * MIB);
    CHECK_STATUS(try(MIB), WEIR_E_NO_SPACE);
    weir_linux_believed_ns = 0; /* that time is over */
    CHECK_OK(try(MIB));
    CHECK(limits_read == 7);
    forget_files();
    weir_linux = real;
    weir_linux_believed_ns = before_this;
}

/* More levels, or a longer path, than are kept. */
static void limits_that_are_not_kept_are_read_each_time(void)
{
    char path[300] = "", line[320];
    real = weir_linux;
    weir_linux.openat = openat_here;
    for (int way = 0; way < 2; way++) {
        path[0] = 0;
        for (int i = 0; i < (way == 0 ? 20 : 2); i++)
            (void)snprintf(path + strlen(path), sizeof path - strlen(path), way == 0 ? "/x" : "/%0140d", i);
        (void)snprintf(line, sizeof line, "0::%s\n", path);
        write_file("/proc/self/cgroup", line);
        limits_read = 0;
        CHECK_OK(try(MIB));
        unsigned once = limits_read;
        CHECK_OK(try(MIB));
        CHECK(once == (way == 0 ? 21 : 3) && limits_read == 2 * once);
        write_number("/sys/fs/cgroup/memory.max", MIB);
        write_number("/sys/fs/cgroup/memory.current", MIB);
        CHECK_STATUS(try(MIB), WEIR_E_NO_SPACE);
        forget_files();
    }
    weir_linux = real;
}

/* ---- a limit of the kernel's ---- */

static const struct version {
    const char *folder, *limit;
} versions[] = { { "/sys/fs/cgroup/memory/weir-test", "memory.limit_in_bytes" },
                 { "/sys/fs/cgroup/weir-test", "memory.max" } };

static bool put(const char *folder, const char *name, uint64_t value)
{
    char path[256], text[32];
    (void)snprintf(path, sizeof path, "%s.%d/%s", folder, (int)getpid(), name);
    int fd = open(path, O_WRONLY | O_CLOEXEC), len = snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    bool done = fd >= 0 && write(fd, text, (size_t)len) == len;
    if (fd >= 0)
        (void)close(fd);
    return done;
}

/* A cgroup of a limit, or NULL. */
static const struct version *make_cgroup(void)
{
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        char path[256];
        (void)snprintf(path, sizeof path, "%s.%d", versions[i].folder, (int)getpid());
        if (mkdir(path, 0755) == 0 && put(versions[i].folder, versions[i].limit, LIMIT))
            return &versions[i];
        (void)rmdir(path);
    }
    return NULL;
}

/* Takes pieces until there is no more, smaller and smaller ones; how much that was. */
static uint64_t take_all(weir_status (*take)(uint64_t bytes))
{
    uint64_t all = 0;
    for (uint64_t bytes = 16 * MIB; bytes >= 4096;) {
        weir_status status = take(bytes);
        CHECK(status == WEIR_OK || status == WEIR_E_NO_SPACE);
        if (status == WEIR_OK)
            all += bytes;
        else
            bytes /= 2;
    }
    return all;
}

static weir_section *one;
static uint64_t size;

static weir_status take_named(uint64_t bytes)
{
    static unsigned number;
    char name[32];
    weir_section *section;
    (void)snprintf(name, sizeof name, "Local/taken-%u", number++);
    return weir_section_create(&section, name, bytes, NULL); /* they go with the process */
}

static weir_status take_unnamed(uint64_t bytes)
{
    weir_section *section;
    return weir_section_create_unnamed(&section, bytes, NULL);
}

static weir_status extend_it(uint64_t bytes)
{
    weir_status status = weir_section_extend(one, size + bytes);
    size += status == WEIR_OK ? bytes : 0;
    return status;
}

static weir_status commit_it(uint64_t bytes)
{
    bytes = (bytes + WEIR_COMMIT_GRANULE - 1) / WEIR_COMMIT_GRANULE * WEIR_COMMIT_GRANULE;
    weir_status status = weir_section_commit(one, size, bytes);
    size += status == WEIR_OK ? bytes : 0;
    return status;
}

static void take_what_the_limit_leaves(int way)
{
    weir_status (*const ways[])(uint64_t) = { take_named, take_unnamed, extend_it, commit_it };
    weir_section_options options = { .flags = way == 3 ? WEIR_RESERVE : 0 };
    weir_view view = { .base = NULL };
    if (way >= 2)
        CHECK_OK(weir_section_create(&one, "Global/one", way == 3 ? 256 * MIB : 4096, &options));
    size = way == 2 ? 4096 : 0;
    if (way == 3)
        CHECK_OK(weir_view_map(&view, one, 0, 0, WEIR_READ_WRITE));
    uint64_t all = take_all(ways[way]);
    CHECK(all > LIMIT / 2 && all < LIMIT);
    if (way == 2)
        CHECK_OK(weir_view_map(&view, one, 0, 0, WEIR_READ_WRITE));
    if (way >= 2)
        memset(view.base, 1, size); /* a promise */
}

static void nobody_is_killed_for_the_last_page(void)
{
    const struct version *version = make_cgroup();
    if (version == NULL) {
        (void)printf("SKIPPED: a memory cgroup with a limit cannot be made here: %s\n", strerror(errno));
        return;
    }
    char path[256];
    (void)snprintf(path, sizeof path, "%s.%d", version->folder, (int)getpid());
    for (int way = 0; way < 4; way++) {
        int go[2];
        char byte;
        CHECK(pipe2(go, O_CLOEXEC) == 0);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            end_with_parent();
            CHECK(read(go[0], &byte, 1) == 1);
            take_what_the_limit_leaves(way);
            _exit(0);
        }
        CHECK(put(version->folder, "cgroup.procs", (uint64_t)child));
        CHECK(write(go[1], "", 1) == 1);
        int status = support_wait(child);
        (void)close(go[0]);
        (void)close(go[1]);
        CHECK_OK(weir_section_clean(NULL, NULL));
        if (status != 0) {
            (void)rmdir(path);
            (void)fprintf(stderr, "way %d ended with %d\n", way, status);
        }
        CHECK(status == 0);
    }
    CHECK_SOON(rmdir(path) == 0);
}

int main(void)
{
    dir = support_shm_dir();
    before_this = weir_linux_believed_ns;
    limits_of_both_versions_and_of_ancestors_are_obeyed();
    limits_are_believed_for_a_second_and_neither_usage_nor_the_path_is();
    limits_that_are_not_kept_are_read_each_time();
    nobody_is_killed_for_the_last_page();
    CHECK(support_entries(dir, true) == 0);
    return 0;
}
