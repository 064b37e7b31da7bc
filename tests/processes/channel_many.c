/* serial */
/* 10,000 channels, open at once in one process, with their other ends in a second one: a message goes through each, and
 * nothing is left.  Says what a channel costs: memory of the section, of the process, descriptors, mappings, time. */
#include "../ipc/channel_help.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define CHANNELS 10000u
#define CAPACITY 4096u
#define DESCRIPTORS_SPARE 64u
#define MAPPINGS_EACH 1u      /* the section's header with its content; */
#define HANDLES_EACH 64u      /* so many handles lie in two more */
#define BYTES_EACH 16384u     /* of tmpfs: header, two pages of a channel, and what the file system takes */

static char names[CHANNELS][32];

static uint64_t entries_of(const char *path)
{
    uint64_t entries = 0;
    DIR *dir = opendir(path);
    CHECK(dir != NULL);
    while (readdir(dir) != NULL)
        entries++;
    (void)closedir(dir);
    return entries;
}

/* A line of /proc/self/status, in KiB. */
static uint64_t status_kib(const char *what)
{
    char line[256];
    uint64_t kib = 0;
    FILE *file = fopen("/proc/self/status", "re");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, what, strlen(what)) == 0)
            kib = strtoull(line + strlen(what), NULL, 10);
    (void)fclose(file);
    return kib;
}

/* What the section of that name takes. */
static uint64_t tmpfs_bytes(const char *dir, const char *name)
{
    char path[512];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/weir-u.%u/%s", dir, (unsigned)geteuid(), strchr(name, '/') + 1);
    CHECK(stat(path, &st) == 0);
    return (uint64_t)st.st_blocks * 512;
}

static uint64_t mappings_of(uint64_t channels)
{
    return channels * MAPPINGS_EACH + 2 * (channels / HANDLES_EACH + 1);
}

/* Exits with 77 where the machine does not allow it. */
static void prepare(const char *dir, uint64_t channels)
{
    struct rlimit limit;
    struct statvfs fs;
    uint64_t descriptors = channels + DESCRIPTORS_SPARE, maps = 0;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (limit.rlim_max < descriptors)
        support_skip("%llu channels need %llu descriptors, the hard limit is %llu", (unsigned long long)channels,
                     (unsigned long long)descriptors, (unsigned long long)limit.rlim_max);
    limit.rlim_cur = descriptors;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
    if (file == NULL || fscanf(file, "%llu", (unsigned long long *)&maps) != 1)
        maps = UINT64_MAX;
    if (file != NULL)
        (void)fclose(file);
    if (maps < mappings_of(channels) + 1000)
        support_skip("%llu channels need %llu mappings, vm.max_map_count is %llu", (unsigned long long)channels,
                     (unsigned long long)mappings_of(channels), (unsigned long long)maps);
    CHECK(statvfs(dir, &fs) == 0);
    if ((uint64_t)fs.f_bavail * fs.f_frsize < channels * BYTES_EACH || (fs.f_files != 0 && fs.f_favail < channels))
        support_skip("%llu channels need %llu bytes and as many files, %s has %llu bytes and %llu files",
                     (unsigned long long)channels, (unsigned long long)channels * BYTES_EACH, dir,
                     (unsigned long long)fs.f_bavail * fs.f_frsize, (unsigned long long)fs.f_favail);
}

/* The other process: receives one message of each channel. */
static void consume(uint64_t channels, struct gate ready, struct gate done)
{
    weir_channel **all = calloc(channels, sizeof *all);
    CHECK(all != NULL);
    for (uint64_t i = 0; i < channels; i++)
        all[i] = open_as(names[i], WEIR_CONSUMER, 0);
    gate_open(ready);
    for (uint64_t i = 0; i < channels; i++)
        receive_id(all[i], i);
    gate_open(done);
    for (uint64_t i = 0; i < channels; i++)
        CHECK_OK(weir_channel_close(all[i]));
    free(all);
    _exit(0);
}

static void wait_long(struct gate gate)
{
    struct pollfd poll_in = { .fd = gate.in, .events = POLLIN };
    char byte;
    CHECK(poll(&poll_in, 1, 300000) == 1 && read(gate.in, &byte, 1) == 1);
}

int main(void)
{
    const char *dir = support_shm_dir();
    uint64_t channels = support_count(CHANNELS);
    prepare(dir, channels);
    weir_channel **all = calloc(channels, sizeof *all);
    CHECK(all != NULL);
    for (uint64_t i = 0; i < channels; i++)
        (void)snprintf(names[i], sizeof names[i], "Local/many-%llu", (unsigned long long)i);
    struct gate ready = gate_make(), done = gate_make();

    uint64_t maps = support_lines("/proc/self/maps"), descriptors = entries_of("/proc/self/fd");
    uint64_t rss = status_kib("RssAnon:"), shared = status_kib("RssShmem:"), tables = status_kib("VmPTE:");
    int64_t from = help_now_ns(), first = 0;
    for (uint64_t i = 0; i < channels; i++) {
        all[i] = open_as(names[i], WEIR_PRODUCER, CAPACITY);
        if (i + 1 == channels / 10)
            first = help_now_ns() - from;
    }
    int64_t opened = help_now_ns() - from;
    maps = support_lines("/proc/self/maps") - maps;
    descriptors = entries_of("/proc/self/fd") - descriptors;
    (void)printf("many: %llu channels, capacity %u: each 1 section, %.2f descriptors, %.2f mappings, %llu bytes of tmpfs "
                 "and of the process %.0f anonymous, %.0f shared, %.0f of page tables\n",
                 (unsigned long long)channels, CAPACITY, (double)descriptors / (double)channels,
                 (double)maps / (double)channels, (unsigned long long)tmpfs_bytes(dir, names[0]),
                 (double)(status_kib("RssAnon:") - rss) * 1024 / (double)channels,
                 (double)(status_kib("RssShmem:") - shared) * 1024 / (double)channels,
                 (double)(status_kib("VmPTE:") - tables) * 1024 / (double)channels);
    (void)printf("many: opened in %.1f us each, the first tenth in %.1f\n", (double)opened / 1000 / (double)channels,
                 (double)first / 1000 / (double)(channels / 10));
    CHECK(descriptors == channels && maps <= mappings_of(channels) + 64); /* some of malloc's */
    CHECK(support_entries(dir, false) == channels + 1);

    pid_t child = child_fork(); /* it opens its own; of these it has copies that know nothing */
    if (child == 0)
        consume(channels, ready, done);
    wait_long(ready);
    for (uint64_t i = 0; i < channels; i++)
        CHECK_OK(send_id(all[i], i, WEIR_NOWAIT));
    wait_long(done);
    from = help_now_ns();
    for (uint64_t i = 0; i < channels; i++)
        CHECK_OK(weir_channel_close(all[i]));
    (void)printf("many: closed in %.1f us each\n", (double)(help_now_ns() - from) / 1000 / (double)channels);
    CHECK(support_wait(child) == 0);
    free(all);
    CHECK(support_entries(dir, true) <= 1); /* the folder of Local names */
    return 0;
}
