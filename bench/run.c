/* bench/run.c - one run: the parent makes what is shared, a process for each side opens, meets the others, works, leaves. */
#include "run.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct side {
    uint64_t received, wrong, lost;
    int64_t began_ns, begin_ns, end_ns; /* the work; behind its warm-up; all of it */
    char error[200];
} __attribute__((aligned(WEIR_LINE_PAIR)));

/* Shared by the parent and all sides. */
struct bench_meeting {
    uint32_t ready, go;        /* sides that are ready; 1: go.  By the compiler's builtins: base/atomic.h has no such order */
    weir_atomic_u32 given_up;
    uint32_t sides;
    uint64_t all;              /* messages of all producers */
    _Alignas(WEIR_LINE_PAIR) weir_atomic_u64 taken;
    _Alignas(WEIR_LINE_PAIR) struct side side[BENCH_SIDES_MAX];
    struct bench_histogram histogram;
};

int64_t bench_now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

double bench_ns_per_tick(void)
{
    static double known;
    if (known != 0)
        return known;
    int64_t ns = bench_now_ns();
    uint64_t ticks = bench_ticks();
    while (bench_now_ns() - ns < 20000000)
        ;
    ns = bench_now_ns() - ns;
    return known = (double)ns / (double)(bench_ticks() - ticks);
}

/* ---- processors ---- */

static cpu_set_t allowed;
static unsigned allowed_count;

unsigned bench_processors(void)
{
    if (allowed_count == 0) {
        if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
            CPU_SET(0, &allowed);
        allowed_count = (unsigned)CPU_COUNT(&allowed);
    }
    return allowed_count;
}

void bench_pin(unsigned index)
{
    unsigned left = index % bench_processors();
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &allowed) && left-- == 0) {
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            (void)sched_setaffinity(0, sizeof one, &one);
            return;
        }
    }
}

/* ---- what the loops call ---- */

bool bench_goes_on(const struct bench_end *end)
{
    return weir_load32_rlx(&end->meeting->given_up) == 0; /* relaxed: only whether to go on */
}

bool bench_waited(struct bench_end *end)
{
    if (end->crowded)
        (void)sched_yield();
    return bench_goes_on(end);
}

void bench_fail(struct bench_end *end, const char *error)
{
    if (end->error == NULL)
        end->error = error;
    weir_store32_rlx(&end->meeting->given_up, 1); /* relaxed: the others are to leave; the error is read behind their end */
}

bool bench_all_taken(struct bench_end *end, uint64_t more)
{
    weir_atomic_u64 *taken = &end->meeting->taken;
    uint64_t now = more != 0 ? weir_fetch_add_rlx(taken, more) + more : weir_load_rlx(taken); /* relaxed: a count */
    return now == end->meeting->all;
}

void bench_trip(struct bench_end *end, uint64_t ticks)
{
    histogram_add(&end->meeting->histogram, ticks);
}

/* ---- a side ---- */

static void futex(uint32_t *word, int op, uint32_t value)
{
    (void)syscall(SYS_futex, word, op, value, NULL, NULL, 0);
}

/* All open, then all begin.  They sleep meanwhile, or many sides would wait for each other's time slices. */
static void meet(struct bench_meeting *m)
{
    if (__atomic_add_fetch(&m->ready, 1, __ATOMIC_ACQ_REL) == m->sides) {
        __atomic_store_n(&m->go, 1, __ATOMIC_RELEASE);
        futex(&m->go, FUTEX_WAKE, INT32_MAX);
    }
    while (__atomic_load_n(&m->go, __ATOMIC_ACQUIRE) == 0 && weir_load32_rlx(&m->given_up) == 0)
        futex(&m->go, FUTEX_WAIT, 0);
}

struct plan {
    const struct bench_peer *peer;
    const struct bench_work *work;
    struct bench_link link[2];  /* the second: the way back of a latency run */
    struct bench_meeting *meeting;
    bool latency, crowded;
    unsigned char *buffers;     /* four, each of a batch */
    uint64_t buffer_bytes;
};

static bool open_end(const struct plan *plan, unsigned which, bool produces, uint32_t index, struct bench_end *end)
{
    *end = (struct bench_end){
        .link = (struct bench_link *)&plan->link[which], .work = plan->work, .meeting = plan->meeting, .index = index,
        .produces = produces, .crowded = plan->crowded,
        .buffer = plan->buffers + (which * 2 + produces) * plan->buffer_bytes,
    };
    if (plan->peer->open == NULL || plan->peer->open(end))
        return true;
    bench_fail(end, end->error != NULL ? end->error : "open failed");
    return false;
}

static void do_work(const struct plan *plan, bool produces, struct bench_end *end)
{
    if (plan->latency && produces)
        plan->peer->ping(&end[0], &end[1]);
    else if (plan->latency)
        plan->peer->pong(&end[0], &end[1]);
    else if (produces)
        plan->peer->produce(&end[0]);
    else
        plan->peer->consume(&end[0]);
}

/* A side's whole life.  Of a latency run, the first side pings: it produces on link 0 and consumes on link 1. */
static void live(const struct plan *plan, uint32_t number)
{
    bool produces = number < plan->work->producers;
    uint32_t index = produces ? number : number - plan->work->producers, ends = plan->latency ? 2 : 1, opened = 0;
    struct bench_end end[2];
    int64_t began = 0;
    if (!plan->crowded)
        bench_pin(number);
    while (opened < ends && open_end(plan, opened, opened == 0 ? produces : !produces, index, &end[opened]))
        opened++;
    meet(plan->meeting);
    if (weir_load32_rlx(&plan->meeting->given_up) == 0) { /* relaxed: only whether to go on */
        began = bench_now_ns();
        do_work(plan, produces, end);
        if (end[0].end_ns == 0)
            end[0].end_ns = bench_now_ns();
        if (end[0].begin_ns == 0)
            end[0].begin_ns = began;
    }
    struct side *side = &plan->meeting->side[number];
    for (uint32_t i = 0; i < ends && i <= opened; i++) {
        side->received += end[i].received;
        side->wrong += end[i].wrong;
        side->lost += end[i].lost;
        if (end[i].error != NULL && side->error[0] == 0)
            (void)snprintf(side->error, sizeof side->error, "%s %u: %s", produces ? "producer" : "consumer", index,
                           end[i].error);
    }
    side->began_ns = began;
    side->begin_ns = end[0].begin_ns;
    side->end_ns = end[0].end_ns;
    while (opened-- != 0)
        if (plan->peer->close != NULL)
            plan->peer->close(&end[opened]);
}

/* ---- the parent ---- */

static void *shared(uint64_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static bool make_link(struct plan *plan, unsigned which, const char **error)
{
    static unsigned runs;
    struct bench_link *link = &plan->link[which];
    *link = (struct bench_link){ .peer = plan->peer, .work = plan->work, .fd = { -1, -1, -1, -1 } };
    (void)snprintf(link->name, sizeof link->name, "weir-bench.%ld.%u", (long)getpid(), runs++);
    link->memory_bytes = plan->peer->memory != NULL ? plan->peer->memory(plan->work) : 0;
    if (link->memory_bytes != 0 && (link->memory = shared(link->memory_bytes)) == NULL) {
        *error = "no memory to share";
        return false;
    }
    *error = "could not be made";
    return plan->peer->make == NULL || plan->peer->make(link, error);
}

static void remove_link(struct plan *plan, unsigned which)
{
    if (plan->peer->remove != NULL)
        plan->peer->remove(&plan->link[which]);
    if (plan->link[which].memory != NULL)
        (void)munmap(plan->link[which].memory, plan->link[which].memory_bytes);
}

static void start_sides(const struct plan *plan, pid_t *pids)
{
    sigset_t child, before;
    (void)sigemptyset(&child);
    (void)sigaddset(&child, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &child, &before); /* it stays so: end_sides waits for it */
    (void)fflush(NULL);
    pid_t parent = getpid();
    for (uint32_t i = 0; i < plan->meeting->sides; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
            (void)sigprocmask(SIG_SETMASK, &before, NULL);
            if (getppid() == parent)
                live(plan, i);
            (void)fflush(NULL);
            _exit(0);
        }
        if (pids[i] < 0)
            weir_store32_rlx(&plan->meeting->given_up, 1); /* relaxed: only whether to go on */
    }
}

/* Sleeps until a side has ended, or until then: a parent that looked now and then would take time from a side. */
static void await_child(int64_t until_ns)
{
    int64_t left = until_ns - bench_now_ns();
    sigset_t child;
    (void)sigemptyset(&child);
    (void)sigaddset(&child, SIGCHLD);
    if (left > 0)
        (void)sigtimedwait(&child, NULL, &(struct timespec){ .tv_sec = left / 1000000000, .tv_nsec = left % 1000000000 });
}

/* Waits for the sides until then: those that are left are asked to leave, and 2 seconds later killed.  *late: that is all
 * that is wrong. */
static const char *end_sides(struct bench_meeting *m, pid_t *pids, int64_t until_ns, bool *late)
{
    const char *error = NULL;
    uint32_t left = 0;
    for (uint32_t i = 0; i < m->sides; i++)
        left += pids[i] > 0;
    for (bool told = false; left != 0;) {
        for (uint32_t i = 0; i < m->sides; i++) {
            int status;
            if (pids[i] <= 0 || waitpid(pids[i], &status, WNOHANG) == 0)
                continue;
            bool killed = told && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
            if (!killed && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
                if (error == NULL)
                    error = "a side crashed";
                weir_store32_rlx(&m->given_up, 1); /* relaxed: only whether to go on */
            }
            pids[i] = 0;
            left--;
        }
        if (left == 0)
            break;
        if (bench_now_ns() > until_ns) {
            for (uint32_t i = 0; told && i < m->sides; i++)
                if (pids[i] > 0)
                    (void)kill(pids[i], SIGKILL);
            if (!told)
                *late = error == NULL && weir_load32_rlx(&m->given_up) == 0; /* relaxed: only whether a side had failed */
            weir_store32_rlx(&m->given_up, 1);
            futex(&m->go, FUTEX_WAKE, INT32_MAX);
            told = true;
            until_ns = bench_now_ns() + 2000000000;
        }
        await_child(until_ns);
    }
    *late &= error == NULL;
    return error;
}

/* ---- what came of it ---- */

/* Did all consumers leave when they were asked to? */
static bool all_have_left(const struct plan *plan)
{
    for (uint32_t i = plan->work->producers; i < plan->meeting->sides; i++)
        if (plan->meeting->side[i].end_ns == 0)
            return false;
    return true;
}

/* error: what the parent saw, or NULL; a side that says what was wrong knows better.  late: they were asked to leave, and
 * some may have found others gone. */
static bool judge(const struct plan *plan, const char *error, bool late, struct bench_result *result)
{
    const struct bench_meeting *m = plan->meeting;
    uint64_t wrong = 0, received = 0;
    for (uint32_t i = 0; i < m->sides; i++) {
        if (m->side[i].error[0] != 0 && !late) {
            (void)snprintf(result->error, sizeof result->error, "%s", m->side[i].error);
            return false;
        }
        wrong += m->side[i].wrong;
        received += m->side[i].received;
        result->lost += m->side[i].lost;
    }
    if (error != NULL) {
        (void)snprintf(result->error, sizeof result->error, "%s", error);
        return false;
    }
    if (late && (plan->latency || received == 0 || !all_have_left(plan))) {
        (void)snprintf(result->error, sizeof result->error, "took too long");
        return false;
    }
    uint64_t expected = m->all * (plan->latency ? 2 : plan->work->shape == BENCH_BROADCAST ? plan->work->consumers : 1);
    result->done = late ? (double)(received + result->lost) / (double)expected : 1;
    if (wrong != 0 || (!late && received + result->lost != expected)) {
        (void)snprintf(result->error, sizeof result->error, "%llu of %llu messages received, %llu of them wrong",
                       (unsigned long long)received, (unsigned long long)expected, (unsigned long long)wrong);
        return false;
    }
    return true;
}

/* All consumers' time together: from when the first had its warm-up to when the last had all. */
static void rate(const struct plan *plan, struct bench_result *result)
{
    const struct bench_work *work = plan->work;
    const struct side *consumer = &plan->meeting->side[work->producers];
    int64_t begin = INT64_MAX, end = 0;
    uint64_t least = UINT64_MAX, received = 0;
    for (uint32_t i = 0; i < work->consumers; i++) {
        begin = consumer[i].begin_ns < begin ? consumer[i].begin_ns : begin;
        end = consumer[i].end_ns > end ? consumer[i].end_ns : end;
        least = consumer[i].received < least ? consumer[i].received : least;
        received += consumer[i].received;
    }
    uint64_t timed = work->shape == BENCH_BROADCAST ? least : received;
    timed -= timed > work->warm_up ? work->warm_up : 0; /* or it took too long even for that, and all of it counts */
    result->per_second = end > begin ? (double)timed * 1e9 / (double)(end - begin) : 0;
    /* Of producers: the first to have sent all leaves the others the queue; how long it was before the last one. */
    result->worst_side = 1;
    int64_t first_end = INT64_MAX, last_end = 0;
    for (uint32_t i = 0; i < work->producers; i++) {
        const struct side *side = &plan->meeting->side[i];
        first_end = side->end_ns < first_end ? side->end_ns : first_end;
        last_end = side->end_ns > last_end ? side->end_ns : last_end;
    }
    if (work->producers > 1 && last_end > begin && first_end > begin)
        result->worst_side = (double)(first_end - begin) / (double)(last_end - begin);
}

/* From when the first side began to when the last had ended. */
static double duration(const struct bench_meeting *m)
{
    int64_t begin = INT64_MAX, end = 0;
    for (uint32_t i = 0; i < m->sides; i++) {
        if (m->side[i].end_ns == 0) /* it had to be killed */
            continue;
        begin = m->side[i].began_ns < begin ? m->side[i].began_ns : begin;
        end = m->side[i].end_ns > end ? m->side[i].end_ns : end;
    }
    return end > begin ? (double)(end - begin) / 1e9 : 0;
}

static void times(const struct bench_histogram *h, struct bench_result *result)
{
    double tick = bench_ns_per_tick();
    result->p50 = histogram_quantile(h, 0.5) * tick;
    result->p90 = histogram_quantile(h, 0.9) * tick;
    result->p99 = histogram_quantile(h, 0.99) * tick;
    result->p999 = histogram_quantile(h, 0.999) * tick;
    result->max = (double)h->max * tick;
}

void bench_run(const struct bench_peer *peer, const struct bench_work *work, struct bench_histogram *histogram,
               unsigned limit_ms, struct bench_result *result)
{
    struct plan plan = { .peer = peer, .work = work, .latency = histogram != NULL };
    pid_t pids[BENCH_SIDES_MAX] = { 0 };
    const char *error = NULL;
    unsigned links = 0, wanted = plan.latency ? 2 : 1;
    bool late = false;
    memset(result, 0, sizeof *result);
    (void)bench_ns_per_tick(); /* found out before the sides are forked */
    plan.crowded = work->producers + work->consumers > bench_processors();
    plan.buffer_bytes = ((uint64_t)work->bytes * work->batch + 4095) & ~UINT64_C(4095);
    plan.buffers = mmap(NULL, 4 * plan.buffer_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    plan.meeting = shared(sizeof *plan.meeting);
    if (plan.meeting == NULL || plan.buffers == MAP_FAILED) {
        (void)snprintf(result->error, sizeof result->error, "no memory for the run");
        return;
    }
    plan.meeting->sides = work->producers + work->consumers;
    plan.meeting->all = work->producers * work->messages;

    while (links < wanted && make_link(&plan, links, &error))
        links++;
    if (links == wanted) {
        start_sides(&plan, pids);
        error = end_sides(plan.meeting, pids, bench_now_ns() + (int64_t)limit_ms * 1000000, &late);
    } else {
        links++; /* half made */
    }
    while (links-- != 0)
        remove_link(&plan, links);

    bool judged = judge(&plan, error, late, result);
    if (judged && plan.latency)
        times(&plan.meeting->histogram, result);
    else if (judged)
        rate(&plan, result);
    if (judged)
        result->seconds = duration(plan.meeting);
    if (plan.latency && judged)
        for (uint32_t i = 0; i < HISTOGRAM_CLASSES; i++)
            histogram->of[i] += plan.meeting->histogram.of[i];
    if (plan.latency && judged) {
        histogram->count += plan.meeting->histogram.count;
        histogram->max = plan.meeting->histogram.max > histogram->max ? plan.meeting->histogram.max : histogram->max;
    }
    (void)munmap(plan.buffers, 4 * plan.buffer_bytes);
    (void)munmap(plan.meeting, sizeof *plan.meeting);
}
