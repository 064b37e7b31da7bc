/* The work queue between 32 processes, on however few processors: 16 producers and 16 consumers, killed at random, by the
 * parent anywhere and by themselves with records in hand, and replaced.  The parent, who sees them die, says so; then
 * others deliver what a dead consumer had, or its slot's next one does. */
#include "ring/mpmc_work.h"

#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PRODUCERS 16u
#define CONSUMERS 16u
#define ENDS (PRODUCERS + CONSUMERS)

typedef struct stage {
    work_board *b;
    void *mem;
    uint64_t seed, kills;
} stage;

static void live(const stage *s, uint32_t id)
{
    uint64_t random = s->seed * 31 + id + (uint64_t)getpid() * 977;
    bool left;
    if (id < PRODUCERS) {
        left = work_produce(s->b, s->mem, id, &random, (random & 16) != 0);
    } else {
        work_consumer *w = calloc(1, sizeof *w);
        CHECK(w != NULL);
        w->b = s->b;
        w->slot = id - PRODUCERS;
        w->random = random;
        left = work_consume(w, s->mem, (random & 16) != 0);
    }
    if (!left)
        CHECK(kill(getpid(), SIGKILL) == 0);
}

static pid_t start(const stage *s, uint32_t id)
{
    (void)fflush(stdout);
    pid_t parent = getpid(), pid = fork();
    CHECK(pid >= 0);
    if (pid != 0)
        return pid;
    CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent);
    live(s, id);
    _exit(0);
}

/* Its end is known: it has left in order, or the next life begins. */
static void ended(stage *s, pid_t *pid, uint32_t id, int state)
{
    if (WIFEXITED(state)) {
        CHECK(WEXITSTATUS(state) == 0);
        *pid = 0;
        return;
    }
    CHECK(WIFSIGNALED(state) && WTERMSIG(state) == SIGKILL);
    if (id >= PRODUCERS)
        weir_store_rel(&s->b->dead[id - PRODUCERS], weir_load_acq(&s->b->life[id - PRODUCERS]));
    s->kills++;
    *pid = start(s, id);
}

/* Looks who has ended; returns how many are there. */
static uint32_t look_after(stage *s, pid_t pids[ENDS])
{
    uint32_t there = 0;
    for (uint32_t id = 0; id < ENDS; id++) {
        int state;
        if (pids[id] != 0 && waitpid(pids[id], &state, WNOHANG) == pids[id])
            ended(s, &pids[id], id, state);
        there += pids[id] != 0;
    }
    return there;
}

/* How many records came again. */
static uint64_t play(uint32_t slots, uint64_t records, uint64_t seed)
{
    weir_mpmc_shape shape = { PRODUCERS, CONSUMERS, slots, WORK_RECORD_MAX };
    uint64_t bytes = weir_mpmc_footprint(&shape);
    int flags = MAP_SHARED | MAP_ANONYMOUS;
    stage s = { .mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0),
                .b = mmap(NULL, sizeof(work_board), PROT_READ | PROT_WRITE, flags, -1, 0), .seed = seed };
    pid_t pids[ENDS];
    CHECK(s.mem != MAP_FAILED && s.b != MAP_FAILED);
    work_make(s.b, s.mem, bytes, shape, shape.lanes, records);
    for (uint32_t id = 0; id < ENDS; id++)
        pids[id] = start(&s, id);
    while (look_after(&s, pids) != 0) {
        struct timespec pace = { .tv_nsec = (long)(support_random(&seed) % 1500000) }; /* when to kill; nothing more */
        (void)nanosleep(&pace, NULL);
        uint32_t id = (uint32_t)(support_random(&seed) % ENDS);
        if (pids[id] != 0 && !work_all_pushed(s.b))
            CHECK(kill(pids[id], SIGKILL) == 0);
    }
    work_check(s.b, s.mem);
    uint64_t again = weir_load_rlx(&s.b->again);
    printf("%u slots: %llu records of each producer, %llu killed, %llu redelivered\n", slots,
           (unsigned long long)s.b->records, (unsigned long long)s.kills, (unsigned long long)again);
    CHECK(s.kills > 0);
    CHECK(munmap(s.mem, bytes) == 0 && munmap(s.b, sizeof(work_board)) == 0);
    return again;
}

int main(void)
{
    uint64_t seed = support_seed(), again = 0;
    for (uint32_t slots = 8; slots <= 256; slots *= 4)
        again += play(slots, support_count(60000), support_random(&seed));
    CHECK(again > 0); /* of the fewest slots there may be none: little is in hands there */
    return 0;
}
