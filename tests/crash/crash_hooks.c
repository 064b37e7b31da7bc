/* hooks */
/* As crash_sweep, on any machine: the rings are compiled with a hook behind each store to shared memory, and between
 * two of them nothing happens that others could see. */
#include "crash.h"
#include "hooks.h"

#include <stdio.h>

#define STATES_MAX UINT64_C(12000)
#define RECOVERIES UINT64_C(2100)

static void at_hook(bool store)
{
    if (store)
        crash_point();
}

static void step(void (*call)(crash_world *w), crash_world *w)
{
    crash_hook = at_hook;
    call(w);
    crash_hook = NULL;
}

int main(void)
{
    crash_plan plan = { .program = "crash hooks", .step = step, .points = UINT64_MAX,
                        .states_max = support_count(STATES_MAX), .recoveries = support_count(RECOVERIES) };
    crash_totals totals = crash_sweep(&plan);
    unsigned sites, hit;
    uint64_t zero;
    crash_sites_count(&sites, &hit);
    CHECK(sites > 0 && (hit == sites || crash_wanted_state(&zero)));
    crash_done();
    (void)printf("crash hooks: points=%llu images=%llu states=%llu operations=%llu sites=%u failures=0\n",
                 (unsigned long long)totals.points, (unsigned long long)totals.images,
                 (unsigned long long)totals.states, (unsigned long long)totals.operations, sites);
    return 0;
}
