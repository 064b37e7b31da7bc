#include "support.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char shm_dir[64];
static pid_t shm_dir_owner;

void support_fail(const char *file, int line, const char *what)
{
    (void)fprintf(stderr, "%s:%d: pid %d: not so: %s (detail: %s)\n", file, line, (int)getpid(), what,
                  weir_error_detail());
    exit(1);
}

void support_check_status(const char *file, int line, const char *call, weir_status got, weir_status expected)
{
    if (got == expected)
        return;
    (void)fprintf(stderr, "%s:%d: pid %d: %s gave %s, not %s (detail: %s)\n", file, line, (int)getpid(), call,
                  weir_status_name(got), weir_status_name(expected), weir_error_detail());
    exit(1);
}

void support_skip(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fputs("SKIPPED: ", stdout);
    (void)vfprintf(stdout, format, args);
    (void)fputc('\n', stdout);
    va_end(args);
    exit(SUPPORT_SKIP);
}

static void remove_all(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir != NULL) {
        for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
            if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                remove_all(fd, entry->d_name);
        (void)closedir(dir);
        (void)unlinkat(at, name, AT_REMOVEDIR);
    } else {
        (void)unlinkat(at, name, 0);
    }
}

static void remove_shm_dir(void)
{
    if (getpid() == shm_dir_owner)
        remove_all(AT_FDCWD, shm_dir);
}

const char *support_shm_dir(void)
{
    const char *parent = getenv("WEIR_TEST_SHM_PARENT");
    int len = snprintf(shm_dir, sizeof shm_dir, "%s/weir-test.XXXXXX", parent != NULL ? parent : "/dev/shm");
    CHECK(len > 0 && (size_t)len < sizeof shm_dir);
    CHECK(mkdtemp(shm_dir) != NULL);
    CHECK(setenv("WEIR_SHM_DIR", shm_dir, 1) == 0);
    shm_dir_owner = getpid();
    CHECK(atexit(remove_shm_dir) == 0);
    return shm_dir;
}

unsigned support_entries(const char *path, bool print)
{
    unsigned count = 0;
    DIR *dir = opendir(path);
    if (dir == NULL)
        return 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char child[4096];
        (void)snprintf(child, sizeof child, "%s/%s", path, entry->d_name);
        if (print)
            (void)fprintf(stderr, "left: %s\n", child);
        struct stat st;
        count += 1 + (lstat(child, &st) == 0 && S_ISDIR(st.st_mode) ? support_entries(child, print) : 0);
    }
    (void)closedir(dir);
    return count;
}

unsigned support_lines(const char *path)
{
    unsigned lines = 0;
    FILE *file = fopen(path, "re");
    CHECK(file != NULL);
    for (int c; (c = getc(file)) != EOF;)
        lines += c == '\n';
    (void)fclose(file);
    return lines;
}

uint64_t support_count(uint64_t full)
{
    const char *percent = getenv("WEIR_TEST_PERCENT");
    uint64_t count = full * (percent != NULL ? strtoull(percent, NULL, 10) : 100) / 100;
    return count > 0 ? count : 1;
}

uint64_t support_seed(void)
{
    const char *given = getenv("WEIR_TEST_SEED");
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    uint64_t seed = (uint64_t)now.tv_sec * 1000000007u ^ (uint64_t)now.tv_nsec ^ (uint64_t)getpid();
    if (given != NULL)
        seed = strtoull(given, NULL, 0);
    if (seed == 0)
        seed = 1;
    (void)printf("WEIR_TEST_SEED=%llu\n", (unsigned long long)seed);
    (void)fflush(stdout);
    return seed;
}

uint64_t support_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(0x2545f4914f6cdd1d);
}

unsigned char *support_page_end(void)
{
    static unsigned char *end;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (end == NULL) {
        unsigned char *two = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(two != MAP_FAILED && mprotect(two + page, page, PROT_NONE) == 0);
        end = two + page;
    }
    return end;
}

int support_wait(pid_t child)
{
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}
