/* Threads take and give back handles while one of them forks: no two ever have the same, each is clean, and a child goes on
 * without what other threads were about to do. */
#include "ipc/channel_help.h"

#include <weir/ipc/os.h>

#include <pthread.h>

#define THREADS 4u
#define HELD 40u /* by each: more than one chunk has room for */
#define FORKS 50u

static uint64_t rounds;
static uint64_t seeds;
static weir_atomic_u64 done;

static uint64_t *words(unsigned char *handle, unsigned part)
{
    return (uint64_t *)(void *)(handle + (size_t)part * WEIR_OS_HANDLE_APART);
}

#define LAST (WEIR_OS_HANDLE_PART / 8 - 1)

/* Plain stores and loads, as those of a handle: ThreadSanitizer sees whether they are apart. */
static void use(unsigned char *handle, uint64_t value)
{
    for (unsigned part = 0; part < 2; part++) {
        uint64_t *word = words(handle, part);
        CHECK(word[0] == 0 && word[LAST] == 0);
        word[0] = word[LAST] = value;
    }
}

static void check(unsigned char *handle, uint64_t value)
{
    for (unsigned part = 0; part < 2; part++) {
        uint64_t *word = words(handle, part);
        CHECK(word[0] == value && word[LAST] == value);
    }
}

static void take_and_give(uint64_t number, uint64_t count)
{
    unsigned char *held[HELD] = { NULL };
    uint64_t value[HELD], seed = seeds + number;
    for (uint64_t i = 0; i < count; i++) {
        unsigned at = (unsigned)(support_random(&seed) >> 32) % HELD;
        if (held[at] != NULL) {
            check(held[at], value[at]);
            weir_os_handle_free(held[at]);
            held[at] = NULL;
        } else {
            held[at] = weir_os_handle_alloc();
            CHECK(held[at] != NULL);
            value[at] = number << 32 | (i + 1);
            use(held[at], value[at]);
        }
    }
    for (unsigned at = 0; at < HELD; at++)
        if (held[at] != NULL)
            weir_os_handle_free(held[at]);
}

static void *thread(void *arg)
{
    take_and_give((uint64_t)(uintptr_t)arg + 1, rounds);
    (void)weir_fetch_add_rlx(&done, 1); /* relaxed: a number */
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    rounds = support_count(200000);
    seeds = support_seed();
    for (unsigned i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, thread, (void *)(uintptr_t)i) == 0);
    unsigned char *own = weir_os_handle_alloc();
    use(own, 7);
    unsigned forks = 0;
    for (; forks < 3 || (weir_load_rlx(&done) < THREADS && forks < FORKS); forks++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            CHECK(*words(own, 0) == 0 && *words(own, 1) == 7);
            take_and_give(THREADS + 1, 500);
            _exit(0);
        }
        CHECK(support_wait(child) == 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    check(own, 7);
    (void)printf("handles: %u threads, %llu rounds each, %u forks\n", THREADS, (unsigned long long)rounds, forks);
    return 0;
}
