/* Lanes that are made while the others are at work, a consumer that takes them in, and who asks what there is: mpsc,
 * mpsc-ordered and mpmc.  Of mpmc also a consumer that recovers from one who had a run in a lane which it does not know itself. */
#include "crash.h"

#include <weir/ring/mpmc_layout.h>
#include <weir/ring/mpsc_layout.h>
#include <weir/ring/mpsc_ordered.h>

#define LANES 4u
#define BUFFER 64u
#define STATES (2 * LANES * LANES * 8 * 5)

#define DEAD 1u /* a consumer's slot of mpmc; 0: of the one at work; */
#define HEIR 2u
#define CONSUMERS 3u

enum kind { MPSC, ORDERED, MPMC };

typedef struct scene {
    enum kind kind;
    uint32_t made, want; /* lanes before, lanes after */
    uint32_t records;    /* in lane 0, numbered from 1; of the recovery, in the last lane */
    uint64_t capacity;
    weir_mpmc_shape shape;
    uint32_t slot, generation; /* of mpmc's consumer */
    weir_status status;
    unsigned char popped; /* the record that the operation got; 0: none */
    uint32_t told;        /* the lanes that there are, as it was told */
    weir_mpmc_shape told_shape;
    uint32_t told_owner, told_generation;
    /* the consumer, who survives */
    weir_mpsc_consumer mpsc;
    weir_mpsc_ordered_consumer ordered;
    weir_spsc_consumer lanes[LANES];
    weir_mpsc_ordered_lane ordered_lanes[LANES];
    weir_mpmc_consumer mpmc;
    weir_mpmc_lane mpmc_lanes[LANES];
} scene;

_Static_assert(sizeof(scene) <= CRASH_SCENE_BYTES, "a scene fits into its world");

/* The handles lie in the scene, which is copied. */
static scene *scene_of(crash_world *w)
{
    scene *s = (scene *)(void *)w->scene;
    s->mpsc.lanes = s->lanes;
    s->ordered.lanes = s->ordered_lanes;
    s->mpmc.lanes = s->mpmc_lanes;
    return s;
}

/* ---- one call for each, whatever it is ---- */

static weir_status make(const scene *s, crash_world *w, uint64_t start)
{
    switch (s->kind) {
    case MPSC:
        return weir_mpsc_init_some(w->memory, w->bytes, LANES, s->made, s->capacity, start);
    case ORDERED:
        return weir_mpsc_ordered_init_some(w->memory, w->bytes, LANES, s->made, s->capacity, start, start);
    default:
        return weir_mpmc_init_some(w->memory, w->bytes, &s->shape, s->made, start & WEIR_MPMC_POS_MASK);
    }
}

static weir_status grow(const scene *s, crash_world *w, uint32_t made)
{
    switch (s->kind) {
    case MPSC:
        return weir_mpsc_grow(w->memory, w->bytes, made);
    case ORDERED:
        return weir_mpsc_ordered_grow(w->memory, w->bytes, made);
    default:
        return weir_mpmc_grow(w->memory, w->bytes, made);
    }
}

static weir_status attach_consumer(scene *s, crash_world *w)
{
    switch (s->kind) {
    case MPSC:
        return weir_mpsc_consumer_attach(&s->mpsc, w->memory, w->bytes, s->lanes, LANES);
    case ORDERED:
        return weir_mpsc_ordered_consumer_attach(&s->ordered, w->memory, w->bytes, s->ordered_lanes, LANES);
    default:
        return weir_mpmc_consumer_attach(&s->mpmc, w->memory, w->bytes, s->slot, ++s->generation, 0, s->mpmc_lanes,
                                         LANES);
    }
}

static weir_status pop_as(scene *s, unsigned char *value, uint32_t *lane, bool *again)
{
    unsigned char buffer[BUFFER] = { 0 };
    uint32_t len = 0;
    weir_status status;
    switch (s->kind) {
    case MPSC:
        status = weir_mpsc_pop(&s->mpsc, buffer, sizeof buffer, &len, lane);
        break;
    case ORDERED:
        status = weir_mpsc_ordered_pop(&s->ordered, buffer, sizeof buffer, &len, lane);
        break;
    default:
        status = weir_mpmc_pop(&s->mpmc, buffer, sizeof buffer, &len, lane, again);
    }
    CHECK(status != WEIR_OK || len == 1);
    *value = buffer[0];
    return status;
}

static weir_status pop(scene *s, unsigned char *value, uint32_t *lane)
{
    bool again;
    return pop_as(s, value, lane, &again);
}

static void push(const scene *s, crash_world *w, uint32_t lane, unsigned char value)
{
    if (s->kind == MPSC) {
        weir_spsc_producer p;
        CHECK_OK(weir_mpsc_producer_attach(&p, w->memory, w->bytes, lane));
        CHECK_OK(weir_spsc_push(&p, &value, 1));
    } else if (s->kind == ORDERED) {
        weir_mpsc_ordered_producer p;
        CHECK_OK(weir_mpsc_ordered_producer_attach(&p, w->memory, w->bytes, lane));
        CHECK_OK(weir_mpsc_ordered_push(&p, &value, 1));
    } else {
        weir_mpmc_producer p;
        CHECK_OK(weir_mpmc_producer_attach(&p, w->memory, w->bytes, lane));
        CHECK_OK(weir_mpmc_push(&p, &value, 1));
    }
}

static uint32_t lanes_there(const scene *s, crash_world *w)
{
    return (uint32_t)(s->kind == MPMC ? weir_load_rlx(&((weir_mpmc_layout *)(void *)w->memory)->made)
                                      : weir_load_rlx(&((weir_mpsc_layout *)(void *)w->memory)->made));
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
    s->shape = (weir_mpmc_shape){ LANES, CONSUMERS, (uint32_t)(s->capacity / 32), 8 };
    if (s->kind == MPMC)
        crash_memory(w, weir_mpmc_footprint(&s->shape), weir_mpmc_tag(0, 2) | 8);
    else
        crash_memory(w, weir_mpsc_footprint(LANES, s->capacity), WEIR_SPSC_DATA | 8);
    CHECK_OK(make(s, w, start));
    CHECK_OK(attach_consumer(s, w));
    for (uint32_t i = 0; i < s->records; i++)
        push(s, w, 0, (unsigned char)(i + 1));
}

static void pop_all(scene *s)
{
    unsigned char value;
    uint32_t lane;
    for (uint32_t i = 0; i < s->records; i++) {
        CHECK_OK(pop(s, &value, &lane));
        CHECK(value == i + 1 && lane == 0);
    }
    s->records = 0;
}

/* For pop: the lanes have come, and the last of them has the only record. */
static void make_come(crash_world *w, unsigned what, uint64_t state)
{
    scene *s = scene_of(w);
    make_ring(w, what, state);
    pop_all(s);
    CHECK_OK(grow(s, w, s->want));
    push(s, w, lanes_there(s, w) - 1, 1);
}

/* For recover: another consumer has taken the first of two records of the last lane, and is gone. */
static void make_left(crash_world *w, unsigned what, uint64_t state)
{
    static weir_mpmc_consumer dead;
    static weir_mpmc_lane lanes[LANES];
    scene *s = scene_of(w);
    const void *msg;
    uint32_t len, lane;
    bool again;
    make_come(w, what, state);
    push(s, w, lanes_there(s, w) - 1, 2);
    s->records = 2;
    CHECK_OK(weir_mpmc_consumer_attach(&dead, w->memory, w->bytes, DEAD, 1, 0, lanes, LANES));
    CHECK_OK(weir_mpmc_peek(&dead, &msg, &len, &lane, &again));
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

static void run_lanes(crash_world *w)
{
    scene *s = scene_of(w);
    s->status = s->kind == MPMC ? weir_mpmc_lanes(w->memory, w->bytes, &s->told)
                                : weir_mpsc_lanes(w->memory, w->bytes, &s->told);
}

static void run_shape_of(crash_world *w)
{
    scene *s = scene_of(w);
    s->status = weir_mpmc_shape_of(w->memory, w->bytes, &s->told_shape);
}

static void run_owner(crash_world *w)
{
    scene *s = scene_of(w);
    s->status = weir_mpmc_owner(w->memory, w->bytes, 0, &s->told_owner, &s->told_generation);
}

static void run_recover(crash_world *w)
{
    scene *s = scene_of(w);
    s->status = weir_mpmc_recover(&s->mpmc, DEAD, 1);
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
        uint32_t to = i % lanes_there(s, w);
        push(s, w, to, (unsigned char)i);
        CHECK_OK(pop(s, &value, &lane));
        CHECK(value == (unsigned char)i && lane == to);
    }
}

/* mpmc's consumers attach in examine: each one is another, and says so in the ring. */
static void recover_grow(crash_world *w, crash_heirs heirs)
{
    scene *s = scene_of(w);
    if (heirs == CRASH_NEW_ENDS && s->kind != MPMC)
        CHECK_OK(attach_consumer(s, w));
}

static unsigned examine_grow(crash_world *w, crash_heirs heirs)
{
    scene *s = scene_of(w);
    uint32_t there = lanes_there(s, w);
    if (heirs == CRASH_NEW_ENDS && s->kind == MPMC)
        CHECK_OK(attach_consumer(s, w));
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
    CHECK(lanes_there(s, w) == (s->want > s->made ? s->want : s->made));
    return s->want > s->made;
}

static void others_grow(crash_world *w, uint64_t choice)
{
    scene *s = scene_of(w);
    unsigned char value;
    uint32_t lane;
    if (choice % 2 == 0)
        return;
    pop_all(s);
    CHECK_STATUS(pop(s, &value, &lane), WEIR_EMPTY);
}

static void resumed_grow(crash_world *w)
{
    (void)returned_grow(w);
    must_serve(scene_of(w), w, 0);
}

/* ---- what who asks is told ---- */

static unsigned examine_asked(crash_world *w, crash_heirs heirs)
{
    (void)examine_grow(w, heirs);
    return 0; /* it writes nothing */
}

static void must_be_told(const scene *s)
{
    CHECK_OK(s->status);
    CHECK(s->told == 0 || s->told == s->made || (s->want > s->made && s->told == s->want));
    CHECK(s->told_shape.lanes == 0 || memcmp(&s->told_shape, &s->shape, sizeof s->shape) == 0);
    CHECK(s->told_generation == 0 || (s->told_owner == s->slot && s->told_generation == s->generation));
    CHECK((s->told != 0) + (s->told_shape.lanes != 0) + (s->told_generation != 0) == 1);
}

static unsigned returned_asked(crash_world *w)
{
    must_be_told(scene_of(w));
    CHECK(scene_of(w)->told <= scene_of(w)->made);
    return 0;
}

static void others_asked(crash_world *w, uint64_t choice)
{
    CHECK_OK(grow(scene_of(w), w, scene_of(w)->want));
    others_grow(w, choice);
}

static void resumed_asked(crash_world *w)
{
    must_be_told(scene_of(w));
    must_serve(scene_of(w), w, 0);
}

/* ---- a consumer takes the new ones in ---- */

static void recover_pop(crash_world *w, crash_heirs heirs)
{
    scene *s = scene_of(w);
    (void)heirs; /* the consumer is the one who died */
    if (s->kind != MPMC)
        CHECK_OK(attach_consumer(s, w));
}

static unsigned examine_pop(crash_world *w, crash_heirs heirs)
{
    scene *s = scene_of(w);
    unsigned char value = 0;
    uint32_t lane = 0;
    (void)heirs;
    if (s->kind == MPMC)
        CHECK_OK(attach_consumer(s, w));
    weir_status status = pop(s, &value, &lane);
    CHECK(status == WEIR_EMPTY || (status == WEIR_OK && value == 1 && lane == lanes_there(s, w) - 1));
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

/* ---- what a recovery must find ---- */

/* The dead one's record comes again, those behind it come as new. */
static void must_find(scene *s, crash_world *w)
{
    uint32_t last = lanes_there(s, w) - 1, lane = 0;
    for (uint32_t i = 0; i < s->records; i++) {
        unsigned char value = 0;
        bool again = i != 0;
        CHECK_OK(pop_as(s, &value, &lane, &again));
        CHECK(value == i + 1 && lane == last && again == (i == 0));
    }
    s->records = 0;
    must_serve(s, w, 0);
}

static bool is_taken_over(crash_world *w)
{
    uint32_t owner = HEIR, generation;
    CHECK_OK(weir_mpmc_owner(w->memory, w->bytes, DEAD, &owner, &generation));
    return owner != DEAD;
}

static void recover_recover(crash_world *w, crash_heirs heirs)
{
    (void)w;
    (void)heirs; /* the heir comes in examine, as above */
}

/* Who recovered is dead, too. */
static unsigned examine_recover(crash_world *w, crash_heirs heirs)
{
    scene *s = scene_of(w);
    uint32_t generation = s->generation;
    bool happened = is_taken_over(w);
    (void)heirs;
    s->slot = HEIR;
    CHECK_OK(attach_consumer(s, w));
    CHECK_OK(weir_mpmc_recover(&s->mpmc, 0, generation));
    CHECK_OK(weir_mpmc_recover(&s->mpmc, DEAD, 1));
    must_find(s, w);
    return happened;
}

static unsigned returned_recover(crash_world *w)
{
    CHECK_OK(scene_of(w)->status);
    CHECK(is_taken_over(w));
    return 1;
}

static void others_recover(crash_world *w, uint64_t choice)
{
    scene *s = scene_of(w);
    if (choice % 2 != 0)
        push(s, w, lanes_there(s, w) - 1, (unsigned char)++s->records);
}

static void resumed_recover(crash_world *w)
{
    (void)returned_recover(w);
    must_find(scene_of(w), w);
}

static const crash_rules rules_grow = { recover_grow, examine_grow, returned_grow, others_grow, resumed_grow };
static const crash_rules rules_asked = { recover_grow, examine_asked, returned_asked, others_asked, resumed_asked };
static const crash_rules rules_pop = { recover_pop, examine_pop, returned_pop, others_pop, resumed_pop };

static const crash_rules rules_recover = { recover_recover, examine_recover, returned_recover, others_recover,
                                           resumed_recover };

#define GROWS(kind)                                                                                                   \
    { "grow", kind, STATES, make_ring, run_grow, &rules_grow }, { "pop", kind, STATES, make_come, run_pop, &rules_pop }

#define ASKED(name, kind) { #name, kind, STATES, make_ring, run_##name, &rules_asked }

static const crash_operation grow_mpsc[] = { GROWS(MPSC), ASKED(lanes, MPSC) };
static const crash_operation grow_mpsc_ordered[] = { GROWS(ORDERED) };
static const crash_operation grow_mpmc[] = {
    GROWS(MPMC),
    { "recover", MPMC, STATES, make_left, run_recover, &rules_recover },
    ASKED(lanes, MPMC),
    ASKED(shape_of, MPMC),
    ASKED(owner, MPMC),
};

#define RING(kind, title)                                                                                             \
    const crash_ring crash_ring_##kind##_grow = { .name = title, .operations = grow_##kind,                           \
                                                  .count = sizeof grow_##kind / sizeof grow_##kind[0] }

RING(mpsc, "mpsc-grow");
RING(mpsc_ordered, "mpsc-ordered-grow");
RING(mpmc, "mpmc-grow");
