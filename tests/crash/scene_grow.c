/* Lanes that are made while the others are at work, and a consumer that takes them in: mpsc and mpsc-ordered. */
#include "crash.h"

#include <weir/ring/mpsc_layout.h>
#include <weir/ring/mpsc_ordered.h>

#define LANES 4u
#define BUFFER 64u
#define STATES (2 * LANES * LANES * 8 * 5)

enum kind { MPSC, ORDERED };

typedef struct scene {
    enum kind kind;
    uint32_t made, want; /* lanes before, lanes after */
    uint32_t records;    /* in lane 0, numbered from 1 */
    uint64_t capacity;
    weir_status status;
    unsigned char popped; /* the record that the operation got; 0: none */
    /* the consumer, who survives */
    weir_mpsc_consumer mpsc;
    weir_mpsc_ordered_consumer ordered;
    weir_spsc_consumer lanes[LANES];
    weir_mpsc_ordered_lane ordered_lanes[LANES];
} scene;

/* The handles lie in the scene, which is copied. */
static scene *scene_of(crash_world *w)
{
    scene *s = (scene *)(void *)w->scene;
    s->mpsc.lanes = s->lanes;
    s->ordered.lanes = s->ordered_lanes;
    return s;
}

/* ---- one call for each, whatever it is ---- */

static weir_status grow(const scene *s, crash_world *w, uint32_t made)
{
    return s->kind == MPSC ? weir_mpsc_grow(w->memory, w->bytes, made)
                           : weir_mpsc_ordered_grow(w->memory, w->bytes, made);
}

static weir_status attach_consumer(scene *s, crash_world *w)
{
    return s->kind == MPSC ? weir_mpsc_consumer_attach(&s->mpsc, w->memory, w->bytes, s->lanes, LANES)
                           : weir_mpsc_ordered_consumer_attach(&s->ordered, w->memory, w->bytes, s->ordered_lanes, LANES);
}

static weir_status pop(scene *s, unsigned char *value, uint32_t *lane)
{
    unsigned char buffer[BUFFER] = { 0 };
    uint32_t len = 0;
    weir_status status = s->kind == MPSC ? weir_mpsc_pop(&s->mpsc, buffer, sizeof buffer, &len, lane)
                                         : weir_mpsc_ordered_pop(&s->ordered, buffer, sizeof buffer, &len, lane);
    CHECK(status != WEIR_OK || len == 1);
    *value = buffer[0];
    return status;
}

static void push(const scene *s, crash_world *w, uint32_t lane, unsigned char value)
{
    if (s->kind == MPSC) {
        weir_spsc_producer p;
        CHECK_OK(weir_mpsc_producer_attach(&p, w->memory, w->bytes, lane));
        CHECK_OK(weir_spsc_push(&p, &value, 1));
    } else {
        weir_mpsc_ordered_producer p;
        CHECK_OK(weir_mpsc_ordered_producer_attach(&p, w->memory, w->bytes, lane));
        CHECK_OK(weir_mpsc_ordered_push(&p, &value, 1));
    }
}

static uint32_t lanes_there(crash_world *w)
{
    return (uint32_t)weir_load_rlx(&((weir_mpsc_layout *)(void *)w->memory)->made);
}

/* ---- start states ---- */

static void make_ring(crash_world *w, unsigned what, uint64_t state)
{
    scene *s = scene_of(w);
    *s = (scene){ .kind = (enum kind)what, .capacity = 128u << crash_digit(&state, 2) };
    s->made = 1 + (uint32_t)crash_digit(&state, LANES);
    s->want = 1 + (uint32_t)crash_digit(&state, LANES);
    uint64_t start = crash_digit(&state, 8) * 8 - 32; /* around the wrap of the counters */
    s->records = (uint32_t)crash_digit(&state, 5);
    crash_memory(w, weir_mpsc_footprint(LANES, s->capacity), WEIR_SPSC_DATA | 8);
    if (s->kind == MPSC)
        CHECK_OK(weir_mpsc_init_some(w->memory, w->bytes, LANES, s->made, s->capacity, start));
    else
        CHECK_OK(weir_mpsc_ordered_init_some(w->memory, w->bytes, LANES, s->made, s->capacity, start, start));
    CHECK_OK(attach_consumer(s, w));
    for (uint32_t i = 0; i < s->records; i++)
        push(s, w, 0, (unsigned char)(i + 1));
}

/* For pop: the lanes have come, and the last of them has the only record. */
static void make_come(crash_world *w, unsigned what, uint64_t state)
{
    scene *s = scene_of(w);
    make_ring(w, what, state);
    for (uint32_t i = 0; i < s->records; i++) {
        unsigned char value;
        uint32_t lane;
        CHECK_OK(pop(s, &value, &lane));
    }
    s->records = 0;
    CHECK_OK(grow(s, w, s->want));
    push(s, w, lanes_there(w) - 1, 1);
}

static void run_grow(crash_world *w)
{
    scene *s = scene_of(w);
    s->status = grow(s, w, s->want);
}

static void run_pop(crash_world *w)
{
    scene *s = scene_of(w);
    uint32_t lane;
    s->status = pop(s, &s->popped, &lane);
}

/* ---- what must hold ---- */

/* Lane 0 from its record `from` on, then each lane that is there. */
static void must_serve(scene *s, crash_world *w, uint32_t from)
{
    unsigned char value = 0;
    uint32_t lane = 0;
    for (uint32_t i = from; i < s->records; i++) {
        CHECK_OK(pop(s, &value, &lane));
        CHECK(value == i + 1 && lane == 0);
    }
    CHECK_STATUS(pop(s, &value, &lane), WEIR_EMPTY);
    for (uint32_t i = 0; i < 40; i++) {
        uint32_t to = i % lanes_there(w);
        push(s, w, to, (unsigned char)i);
        CHECK_OK(pop(s, &value, &lane));
        CHECK(value == (unsigned char)i && lane == to);
    }
}

static void recover_grow(crash_world *w, crash_heirs heirs)
{
    scene *s = scene_of(w);
    if (heirs == CRASH_NEW_ENDS)
        CHECK_OK(attach_consumer(s, w));
}

static unsigned examine_grow(crash_world *w, crash_heirs heirs)
{
    scene *s = scene_of(w);
    uint32_t there = lanes_there(w);
    (void)heirs;
    CHECK(there == s->made || (s->want > s->made && there == s->want));
    unsigned come = there == s->want;
    CHECK_OK(grow(s, w, s->want)); /* who finds too few makes them */
    must_serve(s, w, 0);
    return s->want > s->made ? come : 0;
}

static unsigned returned_grow(crash_world *w)
{
    scene *s = scene_of(w);
    CHECK_OK(s->status);
    CHECK(lanes_there(w) == (s->want > s->made ? s->want : s->made));
    return s->want > s->made;
}

static void others_grow(crash_world *w, uint64_t choice)
{
    scene *s = scene_of(w);
    unsigned char value;
    uint32_t lane;
    if (choice % 2 == 0)
        return;
    for (uint32_t i = 0; i < s->records; i++) {
        CHECK_OK(pop(s, &value, &lane));
        CHECK(value == i + 1 && lane == 0);
    }
    s->records = 0;
    CHECK_STATUS(pop(s, &value, &lane), WEIR_EMPTY);
}

static void resumed_grow(crash_world *w)
{
    (void)returned_grow(w);
    must_serve(scene_of(w), w, 0);
}

static void recover_pop(crash_world *w, crash_heirs heirs)
{
    (void)heirs; /* the consumer is the one who died */
    CHECK_OK(attach_consumer(scene_of(w), w));
}

static unsigned examine_pop(crash_world *w, crash_heirs heirs)
{
    scene *s = scene_of(w);
    unsigned char value = 0;
    uint32_t lane = 0;
    (void)heirs;
    weir_status status = pop(s, &value, &lane);
    CHECK(status == WEIR_EMPTY || (status == WEIR_OK && value == 1 && lane == lanes_there(w) - 1));
    must_serve(s, w, 0);
    return status == WEIR_EMPTY;
}

static unsigned returned_pop(crash_world *w)
{
    scene *s = scene_of(w);
    CHECK_OK(s->status);
    CHECK(s->popped == 1);
    return 1;
}

static void others_pop(crash_world *w, uint64_t choice)
{
    (void)w;
    (void)choice; /* it is tested with grow that producers go on */
}

static void resumed_pop(crash_world *w)
{
    (void)returned_pop(w);
    must_serve(scene_of(w), w, 0);
}

static const crash_rules rules_grow = { recover_grow, examine_grow, returned_grow, others_grow, resumed_grow };
static const crash_rules rules_pop = { recover_pop, examine_pop, returned_pop, others_pop, resumed_pop };

#define GROW(ring, title, kind)                                                                                       \
    static const crash_operation grow_##ring[] = {                                                                    \
        { "grow", kind, STATES, make_ring, run_grow, &rules_grow },                                                   \
        { "pop", kind, STATES, make_come, run_pop, &rules_pop },                                                      \
    };                                                                                                                \
    const crash_ring crash_ring_##ring##_grow = { .name = title, .operations = grow_##ring, .count = 2 }

GROW(mpsc, "mpsc-grow", MPSC);
GROW(mpsc_ordered, "mpsc-ordered-grow", ORDERED);
