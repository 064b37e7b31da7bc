/* tests/ring/kinds.h - every kind of ring behind one table, so that one suite goes through all of them. */
#ifndef WEIR_TESTS_RING_KINDS_H
#define WEIR_TESTS_RING_KINDS_H

#include "support.h"

#include <stdlib.h>
#include <string.h>

#define KIND_PRODUCERS_MAX 16
#define KIND_GATED_READERS 3u /* slots; the suite's one reader has the last */

typedef struct ring {
    const struct ring_kind *kind;
    void *mem;
    uint64_t bytes, capacity;
    unsigned producers;
    union {
        weir_spsc_producer lane[KIND_PRODUCERS_MAX];
        weir_mpsc_ordered_producer ordered[KIND_PRODUCERS_MAX];
        weir_mpmc_producer mpmc[KIND_PRODUCERS_MAX];
        weir_broadcast_writer broadcast;
        weir_broadcast_gated_writer gated;
    } tx;
    union {
        weir_spsc_consumer spsc;
        weir_mpsc_consumer mpsc;
        weir_mpsc_ordered_consumer ordered;
        weir_mpmc_consumer mpmc;
        weir_broadcast_reader broadcast;
        weir_broadcast_gated_reader gated;
    } rx;
    weir_spsc_consumer lanes[KIND_PRODUCERS_MAX];
    union {
        weir_mpsc_ordered_lane ordered_lanes[KIND_PRODUCERS_MAX];
        weir_mpmc_lane mpmc_lanes[KIND_PRODUCERS_MAX];
    };
    uint64_t gated_dead[KIND_GATED_READERS];
    uint32_t gated_generation;
    uint32_t generation; /* of the mpmc consumer that attached last */
} ring;

typedef struct ring_kind {
    const char *name;
    unsigned producers; /* how many the conformance suite gives it */
    bool lossy;         /* never full: overwrites, and says how much was lost */
    bool one_order;     /* of all producers, not of each */
    bool one_run;       /* FULL, to a reader who has read a lane's run and not released it, where more waits */
    uint64_t capacity_min;
    uint64_t (*footprint)(const ring *r);
    uint32_t (*record_max)(uint64_t capacity);
    weir_status (*init)(ring *r, uint64_t start_pos);
    /* Of kinds whose lanes may come later (NULL: of others); a lane for each of r->producers at most. */
    weir_status (*init_some)(ring *r, uint32_t made, uint64_t start_pos);
    weir_status (*grow)(void *mem, uint64_t size_bytes, uint32_t made);
    weir_status (*attach_producer)(ring *r, unsigned producer);
    weir_status (*attach_consumer)(ring *r);
    weir_status (*push)(ring *r, unsigned producer, const void *msg, uint64_t len, bool more);
    weir_status (*reserve)(ring *r, unsigned producer, uint64_t len, void **slot);
    weir_status (*commit)(ring *r, unsigned producer, uint64_t len, bool more);
    void (*flush)(ring *r, unsigned producer);
    /* Reads without giving back; *lost is set by lossy kinds. */
    weir_status (*pop_more)(ring *r, void *buffer, uint64_t size, uint32_t *len, unsigned *producer, uint64_t *lost);
    void (*release)(ring *r);
    weir_status (*ready)(ring *r);
} ring_kind;

/* ---- spsc ---- */

static inline uint64_t spsc_footprint(const ring *r) { return weir_spsc_footprint(r->capacity); }
static inline weir_status spsc_init(ring *r, uint64_t start) { return weir_spsc_init(r->mem, r->bytes, r->capacity, start); }
static inline weir_status spsc_attach_tx(ring *r, unsigned p)
{
    return weir_spsc_producer_attach(&r->tx.lane[p], r->mem, r->bytes);
}
static inline weir_status spsc_attach_rx(ring *r) { return weir_spsc_consumer_attach(&r->rx.spsc, r->mem, r->bytes); }
static inline weir_status lane_push(ring *r, unsigned p, const void *msg, uint64_t len, bool more)
{
    return more ? weir_spsc_push_more(&r->tx.lane[p], msg, len) : weir_spsc_push(&r->tx.lane[p], msg, len);
}
static inline weir_status lane_reserve(ring *r, unsigned p, uint64_t len, void **slot)
{
    return weir_spsc_reserve(&r->tx.lane[p], len, slot);
}
static inline weir_status lane_commit(ring *r, unsigned p, uint64_t len, bool more)
{
    return more ? weir_spsc_commit_more(&r->tx.lane[p], len) : weir_spsc_commit(&r->tx.lane[p], len);
}
static inline void lane_flush(ring *r, unsigned p) { weir_spsc_flush(&r->tx.lane[p]); }
static inline weir_status spsc_pop(ring *r, void *buffer, uint64_t size, uint32_t *len, unsigned *p, uint64_t *lost)
{
    *p = 0;
    (void)lost;
    return weir_spsc_pop_more(&r->rx.spsc, buffer, size, len);
}
static inline void spsc_release(ring *r) { weir_spsc_release(&r->rx.spsc); }
static inline weir_status spsc_ready(ring *r) { return weir_spsc_ready(&r->rx.spsc); }

/* ---- mpsc ---- */

static inline uint64_t mpsc_footprint(const ring *r) { return weir_mpsc_footprint(r->producers, r->capacity); }
static inline weir_status mpsc_init(ring *r, uint64_t start)
{
    return weir_mpsc_init(r->mem, r->bytes, r->producers, r->capacity, start);
}
static inline weir_status mpsc_init_some(ring *r, uint32_t made, uint64_t start)
{
    return weir_mpsc_init_some(r->mem, r->bytes, r->producers, made, r->capacity, start);
}
static inline weir_status mpsc_attach_tx(ring *r, unsigned p)
{
    return weir_mpsc_producer_attach(&r->tx.lane[p], r->mem, r->bytes, p);
}
static inline weir_status mpsc_attach_rx(ring *r)
{
    return weir_mpsc_consumer_attach(&r->rx.mpsc, r->mem, r->bytes, r->lanes, KIND_PRODUCERS_MAX);
}
static inline weir_status mpsc_pop(ring *r, void *buffer, uint64_t size, uint32_t *len, unsigned *p, uint64_t *lost)
{
    (void)lost;
    return weir_mpsc_pop_more(&r->rx.mpsc, buffer, size, len, p);
}
static inline void mpsc_release(ring *r) { weir_mpsc_release(&r->rx.mpsc); }
static inline weir_status mpsc_ready(ring *r) { return weir_mpsc_ready(&r->rx.mpsc); }

/* ---- mpsc, ordered ---- */

static inline weir_status ordered_init(ring *r, uint64_t start)
{
    return weir_mpsc_ordered_init(r->mem, r->bytes, r->producers, r->capacity, start, start / 8);
}
static inline weir_status ordered_init_some(ring *r, uint32_t made, uint64_t start)
{
    return weir_mpsc_ordered_init_some(r->mem, r->bytes, r->producers, made, r->capacity, start, start / 8);
}
static inline weir_status ordered_attach_tx(ring *r, unsigned p)
{
    return weir_mpsc_ordered_producer_attach(&r->tx.ordered[p], r->mem, r->bytes, p);
}
static inline weir_status ordered_attach_rx(ring *r)
{
    return weir_mpsc_ordered_consumer_attach(&r->rx.ordered, r->mem, r->bytes, r->ordered_lanes, KIND_PRODUCERS_MAX);
}
static inline weir_status ordered_push(ring *r, unsigned p, const void *msg, uint64_t len, bool more)
{
    return more ? weir_mpsc_ordered_push_more(&r->tx.ordered[p], msg, len)
                : weir_mpsc_ordered_push(&r->tx.ordered[p], msg, len);
}
static inline weir_status ordered_reserve(ring *r, unsigned p, uint64_t len, void **slot)
{
    return weir_mpsc_ordered_reserve(&r->tx.ordered[p], len, slot);
}
static inline weir_status ordered_commit(ring *r, unsigned p, uint64_t len, bool more)
{
    return more ? weir_mpsc_ordered_commit_more(&r->tx.ordered[p], len) : weir_mpsc_ordered_commit(&r->tx.ordered[p], len);
}
static inline void ordered_flush(ring *r, unsigned p) { weir_mpsc_ordered_flush(&r->tx.ordered[p]); }
static inline weir_status ordered_pop(ring *r, void *buffer, uint64_t size, uint32_t *len, unsigned *p, uint64_t *lost)
{
    (void)lost;
    return weir_mpsc_ordered_pop_more(&r->rx.ordered, buffer, size, len, p);
}
static inline void ordered_release(ring *r) { weir_mpsc_ordered_release(&r->rx.ordered); }
static inline weir_status ordered_ready(ring *r) { return weir_mpsc_ordered_ready(&r->rx.ordered); }

/* ---- broadcast ---- */

static inline uint64_t broadcast_footprint(const ring *r) { return weir_broadcast_footprint(r->capacity); }
static inline weir_status broadcast_init(ring *r, uint64_t start)
{
    return weir_broadcast_init(r->mem, r->bytes, r->capacity, start, start / 8);
}
static inline weir_status broadcast_attach_tx(ring *r, unsigned p)
{
    (void)p;
    return weir_broadcast_writer_attach(&r->tx.broadcast, r->mem, r->bytes);
}
static inline weir_status broadcast_attach_rx(ring *r)
{
    return weir_broadcast_reader_attach(&r->rx.broadcast, r->mem, r->bytes);
}
static inline weir_status broadcast_push(ring *r, unsigned p, const void *msg, uint64_t len, bool more)
{
    (void)p;
    return more ? weir_broadcast_push_more(&r->tx.broadcast, msg, len) : weir_broadcast_push(&r->tx.broadcast, msg, len);
}
static inline weir_status broadcast_reserve(ring *r, unsigned p, uint64_t len, void **slot)
{
    (void)p;
    return weir_broadcast_reserve(&r->tx.broadcast, len, slot);
}
static inline weir_status broadcast_commit(ring *r, unsigned p, uint64_t len, bool more)
{
    (void)p;
    return more ? weir_broadcast_commit_more(&r->tx.broadcast, len) : weir_broadcast_commit(&r->tx.broadcast, len);
}
static inline void broadcast_flush(ring *r, unsigned p)
{
    (void)p;
    weir_broadcast_flush(&r->tx.broadcast);
}
static inline weir_status broadcast_pop(ring *r, void *buffer, uint64_t size, uint32_t *len, unsigned *p, uint64_t *lost)
{
    *p = 0;
    return weir_broadcast_read(&r->rx.broadcast, buffer, size, len, lost);
}
static inline void broadcast_release(ring *r) { (void)r; }
static inline weir_status broadcast_ready(ring *r) { return weir_broadcast_ready(&r->rx.broadcast); }

/* ---- broadcast, gated ---- */

static inline uint64_t gated_footprint(const ring *r)
{
    return weir_broadcast_gated_footprint(KIND_GATED_READERS, r->capacity);
}
static inline weir_status gated_init(ring *r, uint64_t start)
{
    return weir_broadcast_gated_init(r->mem, r->bytes, KIND_GATED_READERS, r->capacity, start);
}
static inline weir_status gated_attach_tx(ring *r, unsigned p)
{
    (void)p;
    return weir_broadcast_gated_writer_attach(&r->tx.gated, r->mem, r->bytes, r->gated_dead, KIND_GATED_READERS);
}
static inline weir_status gated_attach_rx(ring *r)
{
    return weir_broadcast_gated_reader_attach(&r->rx.gated, r->mem, r->bytes, KIND_GATED_READERS - 1,
                                              ++r->gated_generation, WEIR_BROADCAST_GATED_RESUME);
}
static inline weir_status gated_push(ring *r, unsigned p, const void *msg, uint64_t len, bool more)
{
    (void)p;
    return more ? weir_broadcast_gated_push_more(&r->tx.gated, msg, len)
                : weir_broadcast_gated_push(&r->tx.gated, msg, len);
}
static inline weir_status gated_reserve(ring *r, unsigned p, uint64_t len, void **slot)
{
    (void)p;
    return weir_broadcast_gated_reserve(&r->tx.gated, len, slot);
}
static inline weir_status gated_commit(ring *r, unsigned p, uint64_t len, bool more)
{
    (void)p;
    return more ? weir_broadcast_gated_commit_more(&r->tx.gated, len) : weir_broadcast_gated_commit(&r->tx.gated, len);
}
static inline void gated_flush(ring *r, unsigned p)
{
    (void)p;
    weir_broadcast_gated_flush(&r->tx.gated);
}
static inline weir_status gated_pop(ring *r, void *buffer, uint64_t size, uint32_t *len, unsigned *p, uint64_t *lost)
{
    *p = 0;
    (void)lost;
    return weir_broadcast_gated_pop_more(&r->rx.gated, buffer, size, len);
}
static inline void gated_release(ring *r) { weir_broadcast_gated_release(&r->rx.gated); }
static inline weir_status gated_ready(ring *r) { return weir_broadcast_gated_ready(&r->rx.gated); }
/* ---- mpmc, with one consumer: several are in test_mpmc.c ---- */

static inline uint32_t mpmc_record_max(uint64_t capacity) { return (uint32_t)(capacity / 2 - 16); }
static inline weir_mpmc_shape mpmc_shape(const ring *r)
{
    return (weir_mpmc_shape){ .lanes = r->producers, .consumers = 1, .slots = (uint32_t)(r->capacity / 64),
                              .record_max = mpmc_record_max(r->capacity) };
}
static inline uint64_t mpmc_footprint(const ring *r)
{
    weir_mpmc_shape shape = mpmc_shape(r);
    return weir_mpmc_footprint(&shape);
}
static inline weir_status mpmc_init(ring *r, uint64_t start)
{
    weir_mpmc_shape shape = mpmc_shape(r);
    return weir_mpmc_init(r->mem, r->bytes, &shape, start & WEIR_MPMC_POS_MASK);
}
static inline weir_status mpmc_init_some(ring *r, uint32_t made, uint64_t start)
{
    weir_mpmc_shape shape = mpmc_shape(r);
    return weir_mpmc_init_some(r->mem, r->bytes, &shape, made, start & WEIR_MPMC_POS_MASK);
}
static inline weir_status mpmc_attach_tx(ring *r, unsigned p)
{
    return weir_mpmc_producer_attach(&r->tx.mpmc[p], r->mem, r->bytes, p);
}
static inline weir_status mpmc_attach_rx(ring *r)
{
    return weir_mpmc_consumer_attach(&r->rx.mpmc, r->mem, r->bytes, 0, ++r->generation, WEIR_MPMC_RUN_MAX,
                                     r->mpmc_lanes, KIND_PRODUCERS_MAX);
}
static inline weir_status mpmc_push(ring *r, unsigned p, const void *msg, uint64_t len, bool more)
{
    return more ? weir_mpmc_push_more(&r->tx.mpmc[p], msg, len) : weir_mpmc_push(&r->tx.mpmc[p], msg, len);
}
static inline weir_status mpmc_reserve(ring *r, unsigned p, uint64_t len, void **slot)
{
    return weir_mpmc_reserve(&r->tx.mpmc[p], len, slot);
}
static inline weir_status mpmc_commit(ring *r, unsigned p, uint64_t len, bool more)
{
    return more ? weir_mpmc_commit_more(&r->tx.mpmc[p], len) : weir_mpmc_commit(&r->tx.mpmc[p], len);
}
static inline void mpmc_flush(ring *r, unsigned p) { weir_mpmc_flush(&r->tx.mpmc[p]); }
static inline weir_status mpmc_pop(ring *r, void *buffer, uint64_t size, uint32_t *len, unsigned *p, uint64_t *lost)
{
    bool redelivered;
    (void)lost;
    return weir_mpmc_pop_more(&r->rx.mpmc, buffer, size, len, p, &redelivered);
}
static inline void mpmc_release(ring *r) { weir_mpmc_release(&r->rx.mpmc); }
static inline weir_status mpmc_ready(ring *r) { return weir_mpmc_ready(&r->rx.mpmc); }

/* ---- the table ---- */

#define LANE_CALLS .push = lane_push, .reserve = lane_reserve, .commit = lane_commit, .flush = lane_flush

static const ring_kind ring_kinds[] = {
    { .name = "spsc", .producers = 1, .capacity_min = WEIR_SPSC_CAPACITY_MIN, .one_order = true,
      .footprint = spsc_footprint, .record_max = weir_spsc_record_max, .init = spsc_init,
      .attach_producer = spsc_attach_tx, .attach_consumer = spsc_attach_rx, LANE_CALLS, .pop_more = spsc_pop,
      .release = spsc_release, .ready = spsc_ready },
    { .name = "mpsc", .producers = 3, .capacity_min = WEIR_SPSC_CAPACITY_MIN, .footprint = mpsc_footprint,
      .record_max = weir_spsc_record_max, .init = mpsc_init, .attach_producer = mpsc_attach_tx,
      .attach_consumer = mpsc_attach_rx, LANE_CALLS, .pop_more = mpsc_pop, .release = mpsc_release,
      .ready = mpsc_ready, .init_some = mpsc_init_some, .grow = weir_mpsc_grow },
    { .name = "mpsc-ordered", .producers = 3, .capacity_min = WEIR_SPSC_CAPACITY_MIN, .one_order = true,
      .footprint = mpsc_footprint, .record_max = weir_mpsc_ordered_record_max, .init = ordered_init,
      .attach_producer = ordered_attach_tx, .attach_consumer = ordered_attach_rx, .push = ordered_push,
      .reserve = ordered_reserve, .commit = ordered_commit, .flush = ordered_flush, .pop_more = ordered_pop,
      .release = ordered_release, .ready = ordered_ready, .init_some = ordered_init_some,
      .grow = weir_mpsc_ordered_grow },
    { .name = "broadcast", .producers = 1, .capacity_min = WEIR_BROADCAST_CAPACITY_MIN, .one_order = true, .lossy = true,
      .footprint = broadcast_footprint, .record_max = weir_broadcast_record_max, .init = broadcast_init,
      .attach_producer = broadcast_attach_tx, .attach_consumer = broadcast_attach_rx, .push = broadcast_push,
      .reserve = broadcast_reserve, .commit = broadcast_commit, .flush = broadcast_flush, .pop_more = broadcast_pop,
      .release = broadcast_release, .ready = broadcast_ready },
    { .name = "broadcast-gated", .producers = 1, .capacity_min = WEIR_SPSC_CAPACITY_MIN, .one_order = true,
      .footprint = gated_footprint, .record_max = weir_broadcast_gated_record_max, .init = gated_init,
      .attach_producer = gated_attach_tx, .attach_consumer = gated_attach_rx, .push = gated_push,
      .reserve = gated_reserve, .commit = gated_commit, .flush = gated_flush, .pop_more = gated_pop,
      .release = gated_release, .ready = gated_ready },
    { .name = "mpmc", .producers = 3, .capacity_min = 128, .one_run = true,
      .footprint = mpmc_footprint, .record_max = mpmc_record_max, .init = mpmc_init,
      .attach_producer = mpmc_attach_tx, .attach_consumer = mpmc_attach_rx, .push = mpmc_push,
      .reserve = mpmc_reserve, .commit = mpmc_commit, .flush = mpmc_flush, .pop_more = mpmc_pop,
      .release = mpmc_release, .ready = mpmc_ready, .init_some = mpmc_init_some, .grow = weir_mpmc_grow },
};
#define RING_KINDS (sizeof ring_kinds / sizeof ring_kinds[0])

static inline const ring_kind *ring_kind_named(const char *name)
{
    for (size_t k = 0; k < RING_KINDS; k++)
        if (strcmp(ring_kinds[k].name, name) == 0)
            return &ring_kinds[k];
    support_fail(__FILE__, __LINE__, name);
}

/* ---- a ring of any kind ---- */

static inline void ring_attach(ring *r)
{
    for (unsigned p = 0; p < r->producers; p++)
        CHECK_OK(r->kind->attach_producer(r, p));
    CHECK_OK(r->kind->attach_consumer(r));
}

static inline void ring_make(ring *r, const ring_kind *kind, unsigned producers, uint64_t capacity, uint64_t start)
{
    *r = (ring){ .kind = kind, .capacity = capacity, .producers = producers };
    r->bytes = kind->footprint(r);
    CHECK(r->bytes != 0);
    r->mem = aligned_alloc(128, (r->bytes + 127) / 128 * 128);
    CHECK(r->mem != NULL);
    memset(r->mem, 0xee, r->bytes);
    CHECK_OK(kind->init(r, start));
    ring_attach(r);
}

static inline void ring_free(ring *r)
{
    free(r->mem);
    r->mem = NULL;
}

/* The same ring at another address; the handles are those of the old one until ring_attach. */
static inline void ring_move(ring *r)
{
    void *other = aligned_alloc(128, (r->bytes + 127) / 128 * 128);
    CHECK(other != NULL);
    memcpy(other, r->mem, r->bytes);
    memset(r->mem, 0xdd, r->bytes);
    free(r->mem);
    r->mem = other;
}

/* What record number `seq` of a producer is: its bytes follow from both. */
static inline unsigned char record_byte(unsigned producer, uint64_t seq, uint64_t at)
{
    uint64_t bits = (seq * 8 + producer) * UINT64_C(0x9e3779b97f4a7c15) + at * UINT64_C(0xbf58476d1ce4e5b9);
    return (unsigned char)(bits >> 56);
}

static inline void record_fill(void *to, unsigned producer, uint64_t seq, uint64_t len)
{
    for (uint64_t i = 0; i < len; i++)
        ((unsigned char *)to)[i] = record_byte(producer, seq, i);
}

static inline bool record_is(const void *bytes, unsigned producer, uint64_t seq, uint64_t len)
{
    for (uint64_t i = 0; i < len; i++)
        if (((const unsigned char *)bytes)[i] != record_byte(producer, seq, i))
            return false;
    return true;
}

#endif
