/* Making a lane, for the crash harness: from memory that holds anything, an older lane too, to the new one. */
#include "crash.h"

#include "ring/spsc_rig.h"

enum before { STALE, ZEROS, RANDOM, HALF_MADE, OLD_RING, OLD_RING_OF_OTHER_SIZE, BEFORES };
enum found { FOUND_OLD, FOUND_NONE, FOUND_NEW };

#define STATES (2 * 16 * 4 * BEFORES)
#define CAPACITY_MAX UINT64_C(128)

typedef struct scene {
    rig r;
    enum before before;
    uint64_t start_pos, old_pos, old_capacity;
    enum found found;
    weir_status status;
} scene;

static scene *scene_of(crash_world *w) { return (scene *)(void *)w->scene; }

/* An older ring with two records in it. */
static void make_old(scene *s)
{
    rig old = { .capacity = s->old_capacity, .bytes = s->r.bytes, .mem = s->r.mem };
    CHECK_OK(weir_spsc_init(old.mem, old.bytes, old.capacity, s->old_pos));
    rig_attach(&old);
    CHECK_OK(rig_push(&old, 1, 5));
    CHECK_OK(rig_push(&old, 2, 9));
}

static void make(crash_world *w, unsigned what, uint64_t state)
{
    static const uint64_t base[] = { 1 << 20, UINT64_C(1) << 32, UINT64_C(1) << 63, 0 };
    scene *s = scene_of(w);
    uint64_t capacity = CAPACITY_MAX >> crash_digit(&state, 2);
    uint64_t offset = crash_digit(&state, 16) * 8, random = state + 1 + what;
    s->start_pos = base[crash_digit(&state, 4)] - 64 + offset;
    s->before = (enum before)crash_digit(&state, BEFORES);
    crash_memory(w, WEIR_SPSC_CONTROL + CAPACITY_MAX, s->before == ZEROS ? 0 : RIG_STALE);
    s->r = (rig){ .capacity = capacity, .bytes = w->bytes, .mem = w->memory };
    s->old_pos = s->start_pos + 24;
    s->old_capacity = s->before == OLD_RING_OF_OTHER_SIZE ? CAPACITY_MAX * 64 / capacity : capacity;
    if (s->before >= HALF_MADE)
        make_old(s);
    if (s->before == HALF_MADE)
        weir_store_rlx(&rig_control(&s->r)->magic, 0);
    for (uint64_t off = 0; s->before == RANDOM && off < w->bytes; off += 8)
        weir_store_rlx(weir_word_at(w->memory, off), support_random(&random));
}

static void run_init(crash_world *w)
{
    scene *s = scene_of(w);
    s->status = weir_spsc_init(w->memory, w->bytes, s->r.capacity, s->start_pos);
}

static bool is_new(const scene *s)
{
    return s->r.c.capacity == s->r.capacity && s->r.c.pos == s->start_pos;
}

/* Whoever finds no ring makes one. */
static void recover(crash_world *w, crash_heirs heirs)
{
    scene *s = scene_of(w);
    (void)heirs;
    s->r.mem = w->memory;
    weir_status status = weir_spsc_consumer_attach(&s->r.c, s->r.mem, s->r.bytes);
    s->found = FOUND_NONE;
    if (status == WEIR_E_NOT_WEIR)
        CHECK_OK(weir_spsc_init(s->r.mem, s->r.bytes, s->r.capacity, s->start_pos));
    else
        s->found = is_new(s) ? FOUND_NEW : FOUND_OLD;
    CHECK(status == WEIR_OK || status == WEIR_E_NOT_WEIR);
    rig_attach(&s->r);
}

static void must_go_on(rig *r)
{
    for (uint64_t i = 0; i <= r->capacity / 8; i++) {
        CHECK_OK(rig_push(r, i, i % 8));
        rig_expect_pop(r, i, i % 8);
        rig_expect_empty(r);
    }
    CHECK_OK(weir_spsc_drained(&r->p));
}

static unsigned examine(crash_world *w, crash_heirs heirs)
{
    scene *s = scene_of(w);
    (void)heirs;
    if (s->found == FOUND_OLD) { /* whole, as it was */
        CHECK(s->before >= OLD_RING);
        s->r.capacity = s->old_capacity;
        CHECK(s->r.c.capacity == s->old_capacity && s->r.c.pos == s->old_pos);
        rig_expect_pop(&s->r, 1, 5);
        rig_expect_pop(&s->r, 2, 9);
    } else {
        CHECK(is_new(s) && s->r.p.pos == s->start_pos);
    }
    rig_expect_empty(&s->r);
    must_go_on(&s->r);
    return s->found;
}

static unsigned returned(crash_world *w)
{
    CHECK_OK(scene_of(w)->status);
    return FOUND_NEW;
}

/* An end that polls for the ring while its maker is frozen sees none, or the whole one. */
static void others(crash_world *w, uint64_t choice)
{
    scene *s = scene_of(w);
    weir_status consumer = weir_spsc_consumer_attach(&s->r.c, w->memory, w->bytes);
    weir_status producer = weir_spsc_producer_attach(&s->r.p, w->memory, w->bytes);
    (void)choice;
    CHECK(consumer == producer);
    if (consumer == WEIR_OK && (is_new(s) || s->before < OLD_RING)) {
        CHECK(is_new(s) && s->r.p.pos == s->start_pos);
        rig_expect_empty(&s->r);
    }
    CHECK(consumer == WEIR_OK || consumer == WEIR_E_NOT_WEIR);
}

static void resumed(crash_world *w)
{
    scene *s = scene_of(w);
    CHECK_OK(s->status);
    rig_attach(&s->r);
    CHECK(is_new(s));
    must_go_on(&s->r);
}

static const crash_rules rules = { recover, examine, returned, others, resumed };

static const crash_operation operations[] = {
    { "init", 0, STATES, make, run_init, &rules },
};

const crash_ring crash_ring_spsc_init = {
    .name = "spsc",
    .operations = operations,
    .count = sizeof operations / sizeof operations[0],
};
