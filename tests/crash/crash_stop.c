/* hooks */
/* Stopped, not dead: the operation is frozen behind each of its shared accesses, loads too, while the others go on as
 * far as they may.  Then it is thawed, and nothing is spoilt; or it is killed there, and recovered. */
#include "crash.h"
#include "hooks.h"

#include <setjmp.h>
#include <stdio.h>

#define STATES_MAX UINT64_C(5000)

enum fate { THAWED, KILLED, FATES };

static struct {
    const crash_operation *op;
    crash_world w;
    uint64_t hook, freeze_at, choice;
    enum fate fate;
    jmp_buf killed;
    uint64_t stops, kills, states, operations;
} ice;

static void at_hook(bool store)
{
    (void)store;
    if (ice.hook++ != ice.freeze_at)
        return;
    ice.op->rules->others(&ice.w, ice.choice);
    if (ice.fate == KILLED)
        longjmp(ice.killed, 1);
}

/* Runs it from that state, frozen behind that access.  False: it has not so many. */
static bool freeze(uint64_t state, uint64_t at, enum fate fate)
{
    static unsigned char image[CRASH_MEMORY_MAX];
    static const char *const doing[FATES] = { "frozen, then thawed", "frozen, then killed" };
    crash_at.point = at;
    crash_at.doing = doing[fate];
    memset(&ice.w, 0, sizeof ice.w);
    ice.op->make(&ice.w, ice.op->what, state);
    ice.hook = 0;
    ice.freeze_at = at;
    ice.fate = fate;
    ice.choice = state / 7 + at;
    if (setjmp(ice.killed) == 0) {
        crash_hook = at_hook;
        ice.op->run(&ice.w);
        crash_hook = NULL;
        if (ice.hook <= ice.freeze_at)
            return false;
        ice.stops++;
        ice.op->rules->resumed(&ice.w);
        return true;
    }
    crash_hook = NULL;
    ice.kills++;
    memcpy(image, ice.w.memory, ice.w.bytes);
    unsigned reached = crash_check(ice.op, &ice.w, image, CRASH_NEW_ENDS);
    CHECK(reached == crash_check(ice.op, &ice.w, image, CRASH_SURVIVORS));
    return true;
}

static void try_state(uint64_t state)
{
    crash_at.state = state;
    for (uint64_t at = 0; freeze(state, at, THAWED); at++)
        CHECK(freeze(state, at, KILLED));
    ice.states++;
    crash_alive();
}

static void try_operation(uint64_t *seed)
{
    crash_walk walk = crash_walk_begin(ice.op->states, seed);
    uint64_t max = support_count(STATES_MAX), stops = ice.stops, state;
    if (crash_wanted_state(&state)) {
        try_state(state);
        return;
    }
    for (uint64_t i = 0; i < ice.op->states && (i < max || i < support_count(CRASH_STATES_MIN)); i++)
        try_state(crash_walk_next(&walk));
    CHECK(ice.stops > stops);
    ice.operations++;
}

int main(void)
{
    uint64_t seed = crash_begin("crash stop");
    for (unsigned ring = 0; ring < crash_ring_count; ring++)
        for (unsigned i = 0; i < crash_rings[ring]->count; i++) {
            ice.op = &crash_rings[ring]->operations[i];
            crash_at.ring = crash_rings[ring]->name;
            crash_at.operation = ice.op->name;
            if (crash_wanted(crash_at.ring, ice.op->name))
                try_operation(&seed);
        }
    crash_done();
    (void)printf("crash stop: stops=%llu kills=%llu states=%llu operations=%llu failures=0\n",
                 (unsigned long long)ice.stops, (unsigned long long)ice.kills, (unsigned long long)ice.states,
                 (unsigned long long)ice.operations);
    return 0;
}
