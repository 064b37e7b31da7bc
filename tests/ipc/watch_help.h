/* tests/ipc/watch_help.h - a sleeper as the death watch (ipc/watch.h) wants one: what a channel's wait is, in small. */
#ifndef WEIR_TESTS_IPC_WATCH_HELP_H
#define WEIR_TESTS_IPC_WATCH_HELP_H

#include "naming/sections.h"

#include <weir/ipc/os.h>
#include <weir/ipc/os_linux.h>
#include <weir/ipc/watch.h>

typedef struct watch_sleeper {
    struct weir_watch_client client;
    weir_atomic_u32 armed; /* the word that is slept on */
    weir_atomic_u64 told;  /* calls of told() */
} watch_sleeper;

/* As any waker of that sleep. */
static inline void watch_sleeper_told(void *arg)
{
    watch_sleeper *s = arg;
    (void)weir_fetch_add_rlx(&s->told, 1);
    if (weir_load32_rlx(&s->armed) != 0) {
        weir_store32_rlx(&s->armed, 0);
        weir_os_wake(&s->armed);
    }
}

static inline void watch_sleeper_init(watch_sleeper *s)
{
    memset(s, 0, sizeof *s);
    s->client.told = watch_sleeper_told;
    s->client.arg = s;
}

/* Sleeps until there is news that the client had not seen when it looked; at most ns. */
static inline void watch_sleep(watch_sleeper *s, uint64_t seen, int64_t ns)
{
    weir_store32_rlx(&s->armed, 1);
    if (!weir_watch_is_news(&s->client, seen))
        weir_os_sleep(&s->armed, 1, ns);
    weir_store32_rlx(&s->armed, 0);
}

static inline uint64_t watch_told(const watch_sleeper *s)
{
    return weir_load_rlx(&s->told);
}

static inline unsigned watch_threads(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/task");
    CHECK(dir != NULL);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char path[300], name[32] = "";
        (void)snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0 && read(fd, name, sizeof name - 1) > 0)
            count += strcmp(name, "weir-watch\n") == 0;
        if (fd >= 0)
            (void)close(fd);
    }
    (void)closedir(dir);
    return count;
}

/* Somebody has it open for a moment. */
static inline void watch_touch(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && close(fd) == 0);
}

#endif
