/* Making each ring that is not a lane: from memory that holds anything, an older ring too, to the new one. */
#include "crash.h"

#include <weir/ring/broadcast_gated_layout.h>
#include <weir/ring/broadcast_layout.h>
#include <weir/ring/latest_layout.h>
#include <weir/ring/mpmc_layout.h>
#include <weir/ring/mpsc_layout.h>
#include <weir/ring/mpsc_ordered.h>

#define LANES 3u
#define OLD_RECORDS 2u
#define BUFFER 64u

enum kind { MPSC, ORDERED, MPMC, BROADCAST, LATEST, GATED };
enum before { STALE, ZEROS, RANDOM, HALF_MADE, OLD_RING, OLD_RING_OF_OTHER_SIZE, BEFORES };
enum found { FOUND_OLD, FOUND_NONE, FOUND_NEW };

/* What one of them is made as. */
typedef struct shape {
    uint64_t start_pos;
    uint32_t size, lanes;
} shape;

typedef struct ends {
    weir_spsc_producer lane;
    weir_mpsc_consumer mpsc;
    weir_spsc_consumer lanes[LANES];
    weir_mpsc_ordered_producer ordered_lane;
    weir_mpsc_ordered_consumer ordered;
    weir_mpsc_ordered_lane ordered_lanes[LANES];
    weir_mpmc_producer mpmc_lane;
    weir_mpmc_consumer mpmc;
    weir_mpmc_lane mpmc_lanes[LANES];
    weir_broadcast_writer writer;
    weir_broadcast_reader reader;
    weir_latest_writer latest_writer;
    weir_latest_reader latest;
    weir_broadcast_gated_writer gated_writer;
    weir_broadcast_gated_reader gated;
    uint64_t gated_dead[LANES];
} ends;

typedef struct scene {
    enum kind kind;
    enum before before;
    shape new, old;
    enum found found;
    weir_status status;
} scene;

#define STATES (2 * 16 * 4 * BEFORES)

static scene *scene_of(crash_world *w) { return (scene *)(void *)w->scene; }

/* ---- one call for each, whatever it is ---- */

/* A slot for each 32 bytes of size. */
static weir_mpmc_shape mpmc_shape_as(const shape *as)
{
    return (weir_mpmc_shape){ .lanes = as->lanes, .consumers = 2, .slots = as->size / 32, .record_max = 24 };
}

static weir_status init(enum kind kind, void *mem, uint64_t bytes, const shape *as)
{
    weir_mpmc_shape shape_as = mpmc_shape_as(as);
    switch (kind) {
    case MPSC:
        return weir_mpsc_init(mem, bytes, as->lanes, as->size, as->start_pos);
    case ORDERED:
        return weir_mpsc_ordered_init(mem, bytes, as->lanes, as->size, as->start_pos, as->start_pos / 8);
    case MPMC:
        return weir_mpmc_init(mem, bytes, &shape_as, as->start_pos & WEIR_MPMC_POS_MASK);
    case BROADCAST:
        return weir_broadcast_init(mem, bytes, as->size, as->start_pos, as->start_pos / 8);
    case GATED:
        return weir_broadcast_gated_init(mem, bytes, as->lanes, as->size, as->start_pos);
    default:
        return weir_latest_init(mem, bytes, as->size, as->lanes * 4, 0);
    }
}

static uint64_t footprint(enum kind kind, const shape *as)
{
    weir_mpmc_shape shape_as = mpmc_shape_as(as);
    switch (kind) {
    case MPSC:
    case ORDERED:
        return weir_mpsc_footprint(as->lanes, as->size);
    case MPMC:
        return weir_mpmc_footprint(&shape_as);
    case BROADCAST:
        return weir_broadcast_footprint(as->size);
    case GATED:
        return weir_broadcast_gated_footprint(as->lanes, as->size);
    default:
        return weir_latest_footprint(as->size, as->lanes * 4);
    }
}

/* Both ends; which of the lanes the producer's is, or the reader's. */
static weir_status attach(ends *e, enum kind kind, void *mem, uint64_t bytes, uint32_t lane)
{
    weir_status status;
    switch (kind) {
    case MPSC:
        status = weir_mpsc_consumer_attach(&e->mpsc, mem, bytes, e->lanes, LANES);
        return status != WEIR_OK ? status : weir_mpsc_producer_attach(&e->lane, mem, bytes, lane);
    case ORDERED:
        status = weir_mpsc_ordered_consumer_attach(&e->ordered, mem, bytes, e->ordered_lanes, LANES);
        return status != WEIR_OK ? status : weir_mpsc_ordered_producer_attach(&e->ordered_lane, mem, bytes, lane);
    case MPMC: { /* each time as a generation higher than the one before */
        uint32_t owner = 0, generation = 0;
        (void)weir_mpmc_owner(mem, bytes, 0, &owner, &generation);
        status = weir_mpmc_consumer_attach(&e->mpmc, mem, bytes, 0, generation + 1, 0, e->mpmc_lanes, LANES);
        return status != WEIR_OK ? status : weir_mpmc_producer_attach(&e->mpmc_lane, mem, bytes, lane);
    }
    case BROADCAST:
        status = weir_broadcast_reader_attach(&e->reader, mem, bytes);
        return status != WEIR_OK ? status : weir_broadcast_writer_attach(&e->writer, mem, bytes);
    case GATED: /* the reader last: all that is checked is checked before it writes */
        status = weir_broadcast_gated_writer_attach(&e->gated_writer, mem, bytes, e->gated_dead, LANES);
        return status != WEIR_OK ? status
                                 : weir_broadcast_gated_reader_attach(&e->gated, mem, bytes, lane, 1,
                                                                      WEIR_BROADCAST_GATED_RESUME);
    default:
        status = weir_latest_reader_attach(&e->latest, mem, bytes);
        return status != WEIR_OK ? status : weir_latest_writer_attach(&e->latest_writer, mem, bytes);
    }
}

static weir_status put(ends *e, enum kind kind, const void *msg, uint32_t len)
{
    switch (kind) {
    case MPSC:
        return weir_spsc_push(&e->lane, msg, len);
    case ORDERED:
        return weir_mpsc_ordered_push(&e->ordered_lane, msg, len);
    case MPMC:
        return weir_mpmc_push(&e->mpmc_lane, msg, len);
    case BROADCAST:
        return weir_broadcast_push(&e->writer, msg, len);
    case GATED:
        return weir_broadcast_gated_push(&e->gated_writer, msg, len);
    default:
        return weir_latest_write(&e->latest_writer, msg, len);
    }
}

static weir_status get(ends *e, enum kind kind, void *buffer, uint32_t *len, uint64_t *number)
{
    uint32_t lane = 0;
    bool again;
    switch (kind) {
    case MPSC:
        return weir_mpsc_pop(&e->mpsc, buffer, BUFFER, len, &lane);
    case ORDERED:
        return weir_mpsc_ordered_pop(&e->ordered, buffer, BUFFER, len, &lane);
    case MPMC:
        return weir_mpmc_pop(&e->mpmc, buffer, BUFFER, len, &lane, &again);
    case BROADCAST:
        return weir_broadcast_read(&e->reader, buffer, BUFFER, len, number);
    case GATED:
        return weir_broadcast_gated_pop(&e->gated, buffer, BUFFER, len);
    default:
        return weir_latest_read(&e->latest, buffer, BUFFER, len, number);
    }
}

/* Is it that one, with its sizes and its first positions? */
static bool is_made_as(const ends *e, enum kind kind, const shape *as)
{
    switch (kind) {
    case MPSC:
        for (uint32_t i = 0; i < e->mpsc.count; i++)
            if (e->lanes[i].capacity != as->size || e->lanes[i].pos != as->start_pos)
                return false;
        return e->mpsc.count == as->lanes;
    case ORDERED:
        for (uint32_t i = 0; i < e->ordered.count; i++)
            if (e->ordered_lanes[i].lane.capacity != as->size || e->ordered_lanes[i].lane.pos != as->start_pos)
                return false;
        return e->ordered.count == as->lanes;
    case MPMC:
        for (uint32_t i = 0; i < e->mpmc.count; i++)
            if (e->mpmc_lanes[i].claim_pos != (as->start_pos & WEIR_MPMC_POS_MASK))
                return false;
        return e->mpmc.count == as->lanes && UINT64_C(1) << e->mpmc.shift == as->size / 32;
    case BROADCAST:
        return e->reader.capacity == as->size && e->reader.pos == as->start_pos &&
               e->reader.number == as->start_pos / 8;
    case GATED:
        return e->gated.lane.capacity == as->size && e->gated.lane.pos == as->start_pos &&
               e->gated_writer.readers == as->lanes;
    default:
        return e->latest.value_max == as->size && e->latest.mask + 1 == as->lanes * 4;
    }
}

/* ---- start states ---- */

static void make(crash_world *w, unsigned what, uint64_t state)
{
    static const uint64_t base[] = { 1 << 20, UINT64_C(1) << 32, UINT64_C(1) << 63, 0 };
    scene *s = scene_of(w);
    s->kind = (enum kind)what;
    uint32_t half = (uint32_t)crash_digit(&state, 2), large = what == BROADCAST ? 512 : what == LATEST ? 160 : 256;
    uint64_t offset = crash_digit(&state, 16) * 8, random = state + 1 + what;
    s->new = (shape){ .start_pos = base[crash_digit(&state, 4)] - 64 + offset, .size = large >> half,
                      .lanes = half != 0 && what != LATEST ? 1 : LANES - 1 };
    s->before = (enum before)crash_digit(&state, BEFORES);
    s->old = s->new;
    s->old.start_pos += 24;
    if (s->before == OLD_RING_OF_OTHER_SIZE)
        s->old.size = large >> !half;
    shape most = { .size = large, .lanes = LANES - 1 };
    crash_memory(w, footprint(s->kind, &most), s->before == ZEROS ? 0 : WEIR_SPSC_DATA);
    unsigned char old[OLD_RECORDS] = { 1, 2 };
    ends e;
    if (s->before >= HALF_MADE) {
        CHECK_OK(init(s->kind, w->memory, w->bytes, &s->old));
        CHECK_OK(attach(&e, s->kind, w->memory, w->bytes, 0));
        for (uint32_t i = 0; i < OLD_RECORDS; i++)
            CHECK_OK(put(&e, s->kind, &old[i], 1));
    }
    if (s->before == HALF_MADE) /* all of them begin with their magic */
        weir_store_rlx(weir_word_at(w->memory, 0), 0);
    for (uint64_t off = 0; s->before == RANDOM && off < w->bytes; off += 8)
        weir_store_rlx(weir_word_at(w->memory, off), support_random(&random));
}

static void run_init(crash_world *w)
{
    scene *s = scene_of(w);
    s->status = init(s->kind, w->memory, w->bytes, &s->new);
}

/* ---- what must hold ---- */

static void expect_empty(ends *e, enum kind kind)
{
    unsigned char buffer[BUFFER];
    uint32_t len = 0;
    uint64_t number = 0;
    CHECK_STATUS(get(e, kind, buffer, &len, &number), WEIR_EMPTY);
}

static void expect_old(scene *s, ends *e)
{
    CHECK(s->before >= OLD_RING);
    CHECK(s->kind == BROADCAST || s->kind == LATEST || is_made_as(e, s->kind, &s->old));
    uint64_t first = s->kind == LATEST ? OLD_RECORDS - 1 : 0;
    if (s->kind == BROADCAST) /* a new reader begins at the newest boundary */
        first = e->reader.number - s->old.start_pos / 8;
    CHECK(first <= OLD_RECORDS);
    for (uint64_t i = first; i < OLD_RECORDS; i++) {
        unsigned char buffer[BUFFER];
        uint32_t len = 0;
        uint64_t number = 0;
        CHECK_OK(get(e, s->kind, buffer, &len, &number));
        CHECK(len == 1 && buffer[0] == i + 1 && number == (s->kind == LATEST ? OLD_RECORDS : 0));
    }
}

/* The old one has a value in it, or begins elsewhere. */
static bool is_new(const scene *s, const ends *e)
{
    return is_made_as(e, s->kind, &s->new) && (s->kind != LATEST || weir_latest_number(&e->latest) == 0);
}

static void skip_one(ends *e)
{
    unsigned char buffer[BUFFER];
    uint32_t len;
    uint64_t lost;
    CHECK_OK(weir_broadcast_read(&e->reader, buffer, sizeof buffer, &len, &lost));
}

static void must_go_on(ends *e, enum kind kind, void *mem, uint64_t bytes, const shape *as)
{
    for (uint32_t lane = 0; lane < (kind <= MPMC ? as->lanes : 1); lane++) {
        CHECK_OK(attach(e, kind, mem, bytes, lane));
        while (kind == BROADCAST && weir_broadcast_ready(&e->reader) == WEIR_OK)
            skip_one(e);
        for (unsigned char i = 0; i < 40; i++) {
            unsigned char buffer[BUFFER] = { i };
            uint32_t len = 0;
            uint64_t number = 0;
            CHECK_OK(put(e, kind, buffer, i % 8));
            buffer[0] = 0xff;
            CHECK_OK(get(e, kind, buffer, &len, &number));
            CHECK(len == i % 8 && (len == 0 || buffer[0] == i) && (kind != BROADCAST || number == 0));
            if (kind != LATEST)
                expect_empty(e, kind);
        }
    }
}

/* Whoever finds no ring makes one. */
static void recover(crash_world *w, crash_heirs heirs)
{
    scene *s = scene_of(w);
    ends e;
    (void)heirs;
    weir_status status = attach(&e, s->kind, w->memory, w->bytes, 0);
    s->found = FOUND_NONE;
    if (status == WEIR_E_NOT_WEIR) {
        CHECK_OK(init(s->kind, w->memory, w->bytes, &s->new));
        CHECK_OK(attach(&e, s->kind, w->memory, w->bytes, 0));
    } else
        s->found = is_new(s, &e) ? FOUND_NEW : FOUND_OLD;
    if (s->kind == MPMC) /* a consumer is noted in the ring */
        CHECK_OK(weir_mpmc_consumer_detach(&e.mpmc));
    CHECK(status == WEIR_OK || status == WEIR_E_NOT_WEIR);
}

static unsigned examine(crash_world *w, crash_heirs heirs)
{
    scene *s = scene_of(w);
    ends e;
    (void)heirs;
    CHECK_OK(attach(&e, s->kind, w->memory, w->bytes, 0));
    if (s->found == FOUND_OLD) /* whole, as it was */
        expect_old(s, &e);
    else
        CHECK(is_new(s, &e));
    if (s->found != FOUND_OLD || s->kind != LATEST)
        expect_empty(&e, s->kind);
    must_go_on(&e, s->kind, w->memory, w->bytes, s->found == FOUND_OLD ? &s->old : &s->new);
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
    ends e;
    weir_status status = attach(&e, s->kind, w->memory, w->bytes, 0);
    (void)choice;
    CHECK(status == WEIR_OK || status == WEIR_E_NOT_WEIR);
    if (status == WEIR_OK && s->before < OLD_RING) {
        CHECK(is_new(s, &e));
        expect_empty(&e, s->kind);
    }
}

static void resumed(crash_world *w)
{
    scene *s = scene_of(w);
    ends e;
    CHECK_OK(s->status);
    CHECK_OK(attach(&e, s->kind, w->memory, w->bytes, 0));
    CHECK(is_new(s, &e));
    must_go_on(&e, s->kind, w->memory, w->bytes, &s->new);
}

static const crash_rules rules = { recover, examine, returned, others, resumed };

#define INIT(ring, title, kind)                                                                                       \
    static const crash_operation init_##ring[] = { { "init", kind, STATES, make, run_init, &rules } };               \
    const crash_ring crash_ring_##ring##_init = { .name = title, .operations = init_##ring, .count = 1 }

INIT(mpsc, "mpsc", MPSC);
INIT(mpsc_ordered, "mpsc-ordered", ORDERED);
INIT(mpmc, "mpmc", MPMC);
INIT(broadcast, "broadcast", BROADCAST);
INIT(latest, "latest", LATEST);
INIT(broadcast_gated, "broadcast-gated", GATED);
