/* lives: whole lives of participants of channels and mailboxes, lost behind any of their instructions.  A life is gone
 * through once in single steps, to know where something changes that others can see; then it is lived again and again,
 * each time killed, or stopped, at another of its points. */
#include "crash.h"
#include "lives/sleeper.h"

#include <stdio.h>
#include <stdlib.h>

#define SCENES_MAX 96
#define OPERATIONS_MAX 64
#define SHARE_OF 8     /* of the lives, where a step costs much more */
#define INTRUDED_OF 25 /* one life in so many meets another who comes: each may wait for 2 seconds */
#define MISSED_OF 5    /* at most so many aims miss: a way that the clock decides was another one */
#define CHANGES 32     /* kills of each operation of a life: where a section has changed (which is all, but of fills), */
#define CALLS 1        /* behind calls that others can see (ipc_kinds_kills has each of them), */
#define OTHERS 3       /* and of each life, anywhere */

static struct {
    uint64_t seed, points, kills, stops, missed, operations;
    const char *dir;
    steps_trace *trace;
    life_notes *notes;
    unsigned named; /* operations of this life */
    const char *part; /* of the lives, by what is in their "ring-name" */
    bool full;        /* WEIR_CRASH_FULL: every point of theirs */
} run;

/* ---- operations ---- */

static struct {
    const char *name[OPERATIONS_MAX];
    unsigned count;
} *names; /* shared with the life that is traced */

void life_operation(const char *name)
{
    unsigned number = names->count++;
    CHECK(number < OPERATIONS_MAX);
    names->name[number] = name;
    steps_operation(number);
}

/* ---- one life ---- */

static pid_t begin_life(life_scene *s, const steps_aim *aim)
{
    memset(run.notes, 0, sizeof *run.notes);
    s->notes = run.notes;
    s->other = s->same = s->second = NULL;
    if (s->begin == NULL) /* else they are there for all lives */
        s->mailbox = NULL, s->sender = NULL;
    s->fd = 0;
    s->sent = s->taken = s->told = 0;
    names->count = 0;
    s->prepare(s);
    pid_t child = child_fork();
    if (child != 0)
        return child;
    if (aim != NULL)
        steps_to_aim(aim);
    else
        steps_to_trace(run.trace);
    steps_begin();
    s->live(s);
    steps_end();
    _exit(0);
}

/* The watch's thread, in which all signals are blocked, dies of the breakpoint: a death as good as any. */
static bool is_killed(int state)
{
    CHECK((WIFEXITED(state) && WEXITSTATUS(state) == 0) ||
          (WIFSIGNALED(state) && (WTERMSIG(state) == SIGKILL || WTERMSIG(state) == SIGTRAP)));
    return WIFSIGNALED(state);
}

static void try_life(life_scene *s, const steps_aim *aim, bool intruded)
{
    int state;
    crash_alive();
    s->life = begin_life(s, aim);
    CHECK(waitpid(s->life, &state, WUNTRACED) == s->life);
    if (WIFSTOPPED(state) && life_noted(&s->notes->asks) != 0) {
        life_note(&s->notes->asks, 0);
        s->settle(s);
        CHECK(kill(s->life, SIGCONT) == 0);
        CHECK(waitpid(s->life, &state, WUNTRACED) == s->life);
    }
    bool stopped = WIFSTOPPED(state);
    if (stopped) {
        s->beside(s);
        if (intruded && s->intrude != NULL)
            s->intrude(s);
        CHECK(kill(s->life, SIGCONT) == 0);
        CHECK(waitpid(s->life, &state, 0) == s->life);
    }
    bool killed = is_killed(state);
    run.kills += killed;
    run.stops += stopped;
    run.missed += !killed && !stopped && aim != NULL;
    s->follow(s, killed);
    CHECK(s->begin != NULL || support_entries(run.dir, true) == 0);
}

/* How a life is lost; with the point it makes the number of a case. */
enum how { KILLED, STOPPED, INTRUDED, HOWS };

static void try_point(life_scene *s, uint64_t point, enum how how)
{
    steps_aim aim = steps_aim_at(run.trace, point, how == KILLED ? SIGKILL : SIGSTOP);
    crash_at.state = HOWS * point + how;
    crash_at.doing = names->name[run.trace->point[point].operation];
    try_life(s, &aim, how == INTRUDED);
}

/* ---- one scene ---- */

/* The distinct ones of the life: where a section changed, and others behind a call that others can see. */
static struct points {
    uint64_t count, point[STEPS_MAX];
} changes, calls;

static bool is_left_out(const life_scene *s)
{
    char title[sizeof s->ring + sizeof s->name + 1];
    (void)snprintf(title, sizeof title, "%.*s-%.*s", (int)sizeof s->ring - 1, s->ring, (int)sizeof s->name - 1, s->name);
    return !crash_wanted(s->ring, s->name) || (run.part != NULL && strstr(title, run.part) == NULL);
}

/* A part of the lives is gone through as the release preset does it. */
static uint64_t share_of(uint64_t full) { return run.part != NULL ? full : support_count(full); }

/* Points, of each operation at most so many. */
static void try_some(life_scene *s, const struct points *of, uint64_t wanted, enum how how)
{
    for (unsigned operation = 0; operation < run.named; operation++) {
        uint64_t first = 0, end;
        while (first < of->count && run.trace->point[of->point[first]].operation < operation)
            first++;
        for (end = first; end < of->count && run.trace->point[of->point[end]].operation == operation; end++)
            continue;
        if (first == end)
            continue;
        crash_walk walk = crash_walk_begin(end - first, &run.seed);
        for (uint64_t i = 0; i < wanted && i < end - first; i++)
            try_point(s, of->point[first + crash_walk_next(&walk)], how);
    }
}

/* How many of the points are in the first one, the open. */
static uint64_t first_operation(const struct points *of)
{
    uint64_t first = 1;
    while (first < of->count && run.trace->point[of->point[first]].operation == 0)
        first++;
    return first;
}

static void try_all(life_scene *s)
{
    for (uint64_t i = 0; i < run.trace->count; i++)
        try_point(s, i, KILLED);
    for (uint64_t i = 0; i < changes.count; i++)
        try_point(s, changes.point[i], STOPPED);
    for (uint64_t i = 0; i < calls.count; i++)
        try_point(s, calls.point[i], STOPPED);
}

static void try_points(life_scene *s)
{
    changes.count = calls.count = 0;
    for (uint64_t i = 0; i < run.trace->count; i++)
        if (run.trace->point[i].changed)
            changes.point[changes.count++] = i;
        else if (steps_is_distinct(run.trace, i))
            calls.point[calls.count++] = i;
    (void)printf("  %s %s: points=%llu changes=%llu calls=%llu operations=%u\n", s->ring, s->name,
                 (unsigned long long)run.trace->count, (unsigned long long)changes.count,
                 (unsigned long long)calls.count, run.named);
    (void)fflush(stdout);
    if (run.full) {
        try_all(s);
        return;
    }
    try_some(s, &changes, share_of(CHANGES), KILLED);
    try_some(s, &calls, share_of(CALLS), KILLED);
    try_some(s, support_random(&run.seed) % 2 != 0 ? &changes : &calls, 1, STOPPED);
    for (uint64_t i = 0; i < share_of(OTHERS); i++)
        try_point(s, support_random(&run.seed) % run.trace->count, KILLED);
    if (support_random(&run.seed) % INTRUDED_OF == 0)
        try_point(s, calls.point[support_random(&run.seed) % first_operation(&calls)], INTRUDED);
}

static void try_scene(life_scene *s)
{
    uint64_t state;
    crash_at.ring = s->ring;
    crash_at.operation = s->name;
    crash_at.state = 0;
    crash_at.doing = "all of it, in single steps";
    if (is_left_out(s))
        return;
    if (s->begin != NULL)
        s->begin(s);
    try_life(s, NULL, false);
    run.points += run.trace->count;
    run.named = names->count;
    run.operations += run.named;
    if (names->count == 0 || run.trace->count == 0)
        support_fail(__FILE__, __LINE__, "a life without steps");
    if (crash_wanted_state(&state))
        try_point(s, state / HOWS % run.trace->count, (enum how)(state % HOWS));
    else
        try_points(s);
    if (s->end != NULL)
        s->end(s);
    CHECK(support_entries(run.dir, true) == 0);
}

int main(int argc, char **argv)
{
    static life_scene scenes[SCENES_MAX];
    if (!steps_possible())
        support_skip("no trap flag, or code that cannot be changed, here; ipc_kinds_kills is the portable variant");
    run.seed = crash_begin("crash channel");
    run.dir = support_shm_dir();
    run.trace = share_pages(sizeof *run.trace);
    run.notes = share_pages(sizeof *run.notes);
    names = share_pages(sizeof *names);
    run.full = getenv("WEIR_CRASH_FULL") != NULL;
    run.part = argc > 1 ? argv[1] : NULL;
    unsigned count = life_channels(scenes, SCENES_MAX);
    count += life_mailboxes(scenes + count, SCENES_MAX - count);
    uint64_t turn = support_random(&run.seed), of = share_of(100) < 100 && !run.full ? SHARE_OF : 1;
    for (unsigned i = 0; i < count; i++)
        if ((turn + i) % of == 0 || crash_wanted_state(&turn))
            try_scene(&scenes[i]);
    uint64_t none;
    if (run.part == NULL && !crash_wanted_state(&none))
        CHECK(run.missed * MISSED_OF <= run.kills + run.stops);
    crash_done();
    sleeper_done();
    (void)printf("crash channel: points=%llu kills=%llu stops=%llu operations=%llu failures=0\n",
                 (unsigned long long)run.points, (unsigned long long)run.kills, (unsigned long long)run.stops,
                 (unsigned long long)run.operations);
    (void)printf("missed: %llu\n", (unsigned long long)run.missed);
    return 0;
}
