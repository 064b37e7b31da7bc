/* The whole table, each operation lost at each of its points, and its recovery at each of that one's. */
#include "crash.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const heirs_name[CRASH_HEIRS] = { "new ends", "survivors" };

static struct {
    const crash_plan *plan;
    crash_totals totals;
    crash_set images;
    crash_set recoveries;
    uint64_t seed;
    uint64_t wanted; /* recoveries of this operation that are still to be stepped */
    bool alone;      /* one state, whose every image counts */
} drive;

/* ---- one image ---- */

unsigned crash_check(const crash_operation *op, const crash_world *before, const unsigned char *image,
                     crash_heirs heirs)
{
    static unsigned char once[CRASH_MEMORY_MAX];
    static crash_world first, second;
    first = *before;
    if (heirs == CRASH_NEW_ENDS)
        first.memory = crash_away(first.bytes);
    memcpy(first.memory, image, first.bytes);
    second = first;
    op->rules->recover(&first, heirs);
    memcpy(once, first.memory, first.bytes);
    op->rules->recover(&second, heirs);
    CHECK(memcmp(once, second.memory, first.bytes) == 0); /* the second recovery changes nothing */
    return op->rules->examine(&first, heirs);
}

static crash_heirs recover_heirs;
static const crash_operation *recover_op;

static void recover_call(crash_world *w) { recover_op->rules->recover(w, recover_heirs); }

/* Who recovers that image is lost, too, at any instruction. */
static void lose_recovery(const crash_operation *op, const crash_world *before, const unsigned char *image,
                          unsigned reached)
{
    static crash_images images;
    static crash_world w;
    recover_op = op;
    recover_heirs = (crash_heirs)(support_random(&drive.seed) % CRASH_HEIRS);
    w = *before;
    memcpy(w.memory, image, w.bytes);
    crash_watch(&images, &w);
    drive.plan->step(recover_call, &w);
    crash_watch_end();
    crash_at.doing = "a crash in its recovery";
    for (uint64_t i = 0; i < images.count; i++) {
        const unsigned char *left = images.all + i * images.bytes;
        unsigned now = crash_check(op, before, left, CRASH_NEW_ENDS);
        CHECK(now >= reached && now == crash_check(op, before, left, CRASH_SURVIVORS));
        reached = now;
        if (crash_set_add(&drive.images, left, images.bytes, before->bytes))
            drive.totals.images++;
    }
}

/* ---- one state ---- */

static void check_images(const crash_operation *op, const crash_world *before, const crash_images *images,
                         unsigned last)
{
    unsigned reached = 0;
    uint64_t pick = support_random(&drive.seed) % images->count;
    for (uint64_t i = 0; i < images->count; i++) {
        const unsigned char *image = images->all + i * images->bytes;
        crash_at.point = i;
        unsigned now[CRASH_HEIRS];
        for (int heirs = 0; heirs < CRASH_HEIRS; heirs++) {
            crash_at.doing = heirs_name[heirs];
            now[heirs] = crash_check(op, before, image, (crash_heirs)heirs);
        }
        CHECK(now[CRASH_NEW_ENDS] == now[CRASH_SURVIVORS]);
        CHECK(now[CRASH_NEW_ENDS] >= reached); /* what was committed once is so for good */
        reached = now[CRASH_NEW_ENDS];
        if (crash_set_add(&drive.images, image, images->bytes, before->bytes))
            drive.totals.images++;
        if ((i == pick || drive.alone) && drive.wanted > 0 &&
            crash_set_add(&drive.recoveries, image, images->bytes, before->bytes)) {
            drive.wanted--;
            drive.totals.recoveries++;
            lose_recovery(op, before, image, reached);
        }
    }
    CHECK(reached == last); /* what has returned has happened */
}

static void try_state(const crash_operation *op, uint64_t state)
{
    static crash_images images;
    static crash_world w, before;
    crash_at.state = state;
    crash_at.doing = "before it";
    memset(&w, 0, sizeof w);
    op->make(&w, op->what, state);
    before = w;
    crash_at.doing = "the operation itself";
    crash_watch(&images, &w);
    drive.plan->step(op->run, &w);
    crash_watch_end();
    unsigned last = op->rules->returned(&w);
    crash_at.doing = "going on behind it";
    op->rules->resumed(&w); /* the images are kept */
    check_images(op, &before, &images, last);
    drive.totals.states++;
    crash_alive();
}

/* ---- the table ---- */

/* Until it has had its share of the points, and 200 states or all it has. */
static void try_operation(const crash_operation *op, uint64_t points)
{
    crash_walk walk = crash_walk_begin(op->states, &drive.seed);
    uint64_t begun = crash_points(), state, states = 0;
    uint64_t max = drive.plan->states_max < op->states ? drive.plan->states_max : op->states;
    uint64_t min = support_count(CRASH_STATES_MIN);
    CHECK(op->states >= CRASH_STATES_MIN);
    drive.alone = crash_wanted_state(&state);
    if (drive.alone) {
        try_state(op, state);
        return;
    }
    for (; states < max && (states < min || crash_points() - begun < points); states++)
        try_state(op, crash_walk_next(&walk));
    (void)printf("  %s %s: points=%llu states=%llu of %llu\n", crash_at.ring, op->name,
                 (unsigned long long)(crash_points() - begun), (unsigned long long)states,
                 (unsigned long long)op->states);
    (void)fflush(stdout);
}

static unsigned operations(void)
{
    unsigned count = 0;
    for (unsigned ring = 0; ring < crash_ring_count; ring++)
        count += crash_rings[ring]->count;
    return count;
}

crash_totals crash_sweep(const crash_plan *plan)
{
    drive.plan = plan;
    drive.seed = crash_begin(plan->program);
    crash_calibrate(plan->step);
    unsigned left = operations();
    uint64_t share = plan->recoveries / left + 1;
    for (unsigned ring = 0; ring < crash_ring_count; ring++)
        for (unsigned i = 0; i < crash_rings[ring]->count; i++, left--) {
            const crash_operation *op = &crash_rings[ring]->operations[i];
            crash_at.ring = crash_rings[ring]->name;
            crash_at.operation = op->name;
            if (!crash_wanted(crash_at.ring, op->name))
                continue;
            /* What one could not use, because it has no more states, is the others'. */
            uint64_t to_go = plan->points > crash_points() ? plan->points - crash_points() : 0;
            drive.wanted += share;
            try_operation(op, to_go / left);
            drive.totals.operations++;
        }
    drive.totals.points = crash_points();
    return drive.totals;
}
