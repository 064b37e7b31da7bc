/* tests/crash/crash.h - an operation, the states it starts from, and what must hold wherever its process is lost.
 *
 * A ring registers once, in rings.c, with a row for each of its operations; every program here then works through that
 * table.  tests/crash/README.md says how to write a row. */
#ifndef WEIR_TESTS_CRASH_H
#define WEIR_TESTS_CRASH_H

#include "support.h"

#include <stddef.h>
#include <string.h>

#define CRASH_MEMORY_MAX 65536u
#define CRASH_SCENE_BYTES 10240u

/* One ring in memory, with all that its ends and the test's own model of it know.  It is copied as it is: what is in
 * scene may point into memory only for those who survive. */
typedef struct crash_world {
    unsigned char *memory; /* 64-byte aligned; behind it is a page that nobody may touch */
    uint64_t bytes;
    _Alignas(WEIR_LINE) unsigned char scene[CRASH_SCENE_BYTES];
} crash_world;

/* Who goes on behind a death: new ends alone, at another address; or whoever was not the dead one, where it was. */
typedef enum crash_heirs { CRASH_NEW_ENDS, CRASH_SURVIVORS, CRASH_HEIRS } crash_heirs;

/* What must hold.  Each function ends the program where it does not (CHECK). */
typedef struct crash_rules {
    /* Does what is to be done when the operation's process is known to be dead.  It is called a second time on what the
     * first left, and is itself lost at each of its points. */
    void (*recover)(crash_world *w, crash_heirs heirs);
    /* After recover: every record is there that must be, exact and in order, no other, and the ring can be used.
     * Returns how far the operation has come, as a number that never falls from one instruction to the next. */
    unsigned (*examine)(crash_world *w, crash_heirs heirs);
    /* The operation has returned and nobody was near: it gave what the model says.  Returns how far it has come. */
    unsigned (*returned)(crash_world *w);
    /* The operation is frozen and alive: the others go on, as far as they may; choice varies what they do. */
    void (*others)(crash_world *w, uint64_t choice);
    /* It was thawed after that, or nobody was near, and it has returned: it gave what it may, nothing is lost or spoilt,
     * and everybody can go on. */
    void (*resumed)(crash_world *w);
} crash_rules;

typedef struct crash_operation {
    const char *name;
    unsigned what;   /* the ring's own number for it */
    uint64_t states; /* make knows 0 to states - 1; at least CRASH_STATES_MIN */
    void (*make)(crash_world *w, unsigned what, uint64_t state);
    void (*run)(crash_world *w); /* the operation and, as far as can be, nothing else */
    const crash_rules *rules;
} crash_operation;

#define CRASH_STATES_MIN 200u

/* Real processes over one ring, killed and stopped at random: see storm.h. */
struct storm_kind;

typedef struct crash_ring {
    const char *name;
    const crash_operation *operations;
    unsigned count;
    const struct storm_kind *storms;
    unsigned storm_count;
} crash_ring;

extern const crash_ring *const crash_rings[];
extern const unsigned crash_ring_count;

/* For make: gives the world memory of that size, a multiple of 64, and fills it with stale. */
void crash_memory(crash_world *w, uint64_t bytes, uint64_t stale);

/* For make: cuts a digit below radix off a state's number. */
static inline uint64_t crash_digit(uint64_t *state, uint64_t radix)
{
    uint64_t digit = *state % radix;
    *state /= radix;
    return digit;
}

/* ---- for the programs: images.c, drive.c ---- */

/* Runs call(w) and calls crash_point at each of its points. */
typedef void crash_stepper(void (*call)(crash_world *w), crash_world *w);

typedef struct crash_plan {
    const char *program;
    crash_stepper *step;
    uint64_t points;     /* to be reached in all, shared out among the operations */
    uint64_t states_max; /* of one operation */
    uint64_t recoveries; /* images in whose recovery the crash comes */
} crash_plan;

typedef struct crash_totals {
    uint64_t points, images, states, operations, recoveries;
} crash_totals;

/* Works through the whole table: every operation is lost at each of its points. */
crash_totals crash_sweep(const crash_plan *plan);

/* One image of a ring, lost in the state `before`: recovered by those heirs, twice, and examined. */
unsigned crash_check(const crash_operation *op, const crash_world *before, const unsigned char *image,
                     crash_heirs heirs);

/* Where the programs are, so that a failure can say it. */
typedef struct crash_place {
    const char *program, *ring, *operation, *doing;
    uint64_t state, point;
} crash_place;
extern crash_place crash_at;

/* The seed, the memory, and a last word from whoever fails, faults or hangs. */
uint64_t crash_begin(const char *program);
void crash_done(void);
void crash_alive(void); /* to be called at least every CRASH_HANG_S seconds */
#define CRASH_HANG_S 60

/* WEIR_CRASH_CASE="ring operation state" runs that one alone. */
bool crash_wanted(const char *ring, const char *operation);
bool crash_wanted_state(uint64_t *state);

/* The states of an operation in an order that the seed chooses. */
typedef struct crash_walk {
    uint64_t states, next, stride;
} crash_walk;
crash_walk crash_walk_begin(uint64_t states, uint64_t *seed);
uint64_t crash_walk_next(crash_walk *walk);

/* The images of a call in the order in which they came; the first is what was there before. */
typedef struct crash_images {
    unsigned char *all;
    uint64_t bytes, count, room;
} crash_images;
void crash_watch(crash_images *images, const crash_world *w);
void crash_watch_end(void);
void crash_point(void); /* async-signal-safe */
uint64_t crash_points(void);
void crash_calibrate(crash_stepper *step); /* finds how many points are the stepper's own: they do not count */

/* The memory of a world with that many bytes: where operations run, and where images of theirs are recovered. */
unsigned char *crash_home(uint64_t bytes);
unsigned char *crash_away(uint64_t bytes);

/* A set of what was seen before, by its bytes. */
typedef struct crash_set {
    uint64_t *slots, count, size;
} crash_set;
bool crash_set_add(crash_set *set, const void *bytes, uint64_t count, uint64_t salt); /* true: it is new */

#endif
