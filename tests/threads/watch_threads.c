/* The death watch and the threads of its process: clients come and go while sections are closed, a sleeper that keeps
 * to the handshake never sleeps over news, nobody is told after remove, and forks come in between. */
#include "ipc/watch_help.h"

#include <pthread.h>

#define SECTIONS 4
#define THREADS 4
#define LONG_NS INT64_C(20000000000)

static const char *const names[SECTIONS] = { "Local/a", "Local/b", "Local/c", "Local/d" };
static weir_section *sections[SECTIONS];
static path_text paths[SECTIONS];
static weir_atomic_u32 over;

/* ---- clients that come and go ---- */

/* A client in memory that is given back: told() behind the remove would be a use after free, which sanitizers see, and
 * a call of NULL, which all do. */
static void *come_and_go(void *arg)
{
    uint64_t seed = *(uint64_t *)arg, told = 0;
    for (uint64_t i = 0; i < support_count(3000); i++) {
        watch_sleeper *s = malloc(sizeof *s);
        CHECK(s != NULL);
        watch_sleeper_init(s);
        CHECK_OK(weir_watch_add(&s->client, sections[support_random(&seed) % SECTIONS]));
        if (i % 16 == 0)
            (void)nanosleep(&(struct timespec){ .tv_nsec = (long)(support_random(&seed) % 3000000) }, NULL);
        weir_watch_remove(&s->client);
        told += watch_told(s);
        s->client.told = NULL;
        free(s);
    }
    CHECK(told > 0);
    return NULL;
}

static void *touch_all(void *arg)
{
    (void)arg;
    while (weir_load32_rlx(&over) == 0)
        for (int i = 0; i < SECTIONS; i++)
            watch_touch(paths[i].text);
    return NULL;
}

/* ---- sleepers ---- */

struct meeting {
    watch_sleeper sleeper;
    weir_atomic_u64 done, seen; /* what the other has done, and what the sleeper has seen of it */
    uint64_t count;
};

/* Sleeps until `done` has grown; each sleep is so long that one that is not woken ends the test. */
static void *sleep_each_time(void *arg)
{
    struct meeting *m = arg;
    for (uint64_t next = 1; next <= m->count; next++) {
        int64_t from = monotonic_ns();
        for (;;) {
            uint64_t news = weir_watch_seen(&m->sleeper.client);
            if (weir_load_acq(&m->done) >= next)
                break;
            watch_sleep(&m->sleeper, news, LONG_NS);
        }
        CHECK(monotonic_ns() - from < LONG_NS / 2);
        weir_store_rel(&m->seen, next);
    }
    return NULL;
}

static void no_news_is_slept_over(void)
{
    static struct meeting m;
    pthread_t thread;
    watch_sleeper_init(&m.sleeper);
    m.count = support_count(1000);
    CHECK_OK(weir_watch_add(&m.sleeper.client, sections[0]));
    CHECK(pthread_create(&thread, NULL, sleep_each_time, &m) == 0);
    for (uint64_t i = 1; i <= m.count; i++) {
        weir_store_rel(&m.done, i);
        watch_touch(paths[0].text);
        while (weir_load_acq(&m.seen) < i)
            weir_os_yield();
    }
    CHECK(pthread_join(thread, NULL) == 0);
    weir_watch_remove(&m.sleeper.client);
}

/* ---- forks in between ---- */

static void fork_meanwhile(void)
{
    for (uint64_t i = 0; i < support_count(100); i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) { /* the lock is free, and there is nothing to be removed */
            watch_sleeper s;
            watch_sleeper_init(&s);
            weir_watch_remove(&s.client);
            CHECK_STATUS(weir_watch_add(&s.client, sections[0]), WEIR_E_FORKED);
            _exit(0);
        }
        CHECK(support_wait(child) == 0);
    }
}

int main(void)
{
    pthread_t workers[THREADS], toucher;
    static uint64_t seeds[THREADS];
    const char *dir = support_shm_dir();
    uint64_t seed = support_seed();
    for (int i = 0; i < SECTIONS; i++) {
        CHECK_OK(weir_section_create(&sections[i], names[i], 4096, NULL));
        paths[i] = section_path(dir, names[i]);
    }
    no_news_is_slept_over();
    CHECK(pthread_create(&toucher, NULL, touch_all, NULL) == 0);
    for (int i = 0; i < THREADS; i++) {
        seeds[i] = support_random(&seed) | 1;
        CHECK(pthread_create(&workers[i], NULL, come_and_go, &seeds[i]) == 0);
    }
    fork_meanwhile();
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(workers[i], NULL) == 0);
    weir_store32_rlx(&over, 1);
    CHECK(pthread_join(toucher, NULL) == 0);
    for (int i = 0; i < SECTIONS; i++)
        CHECK_OK(weir_section_close(sections[i]));
    CHECK(support_entries(dir, true) == 0);
    return 0;
}
