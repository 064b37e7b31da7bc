/* tests/ring/mpmc_work.h - producers and consumers of a work queue, in threads or in processes, who may be gone at any
 * moment; a mark for each record tells how far it is known to have come.
 *
 * One that comes as new has not come before; one that was given back never comes again; in the end all were. */
#ifndef WEIR_TESTS_MPMC_WORK_H
#define WEIR_TESTS_MPMC_WORK_H

#include "ring/kinds.h"

#include <sched.h>

#define WORK_LANES 16u
#define WORK_CONSUMERS 16u
#define WORK_RECORDS 65536u /* of each lane at most */
#define WORK_RECORD_MAX 72u
#define WORK_HELD_MAX (WORK_LANES * WEIR_MPMC_RUN_MAX)
#define WORK_START ((UINT64_C(1) << 56) - 1000)

enum work_mark { WORK_NEVER, WORK_CAME, WORK_GIVING, WORK_GIVEN };

/* What all of them see besides the ring.  Marks are relaxed: they order nothing that the ring does not. */
typedef struct work_board {
    weir_mpmc_shape shape;
    uint64_t bytes, records; /* of each lane */
    uint32_t made;           /* lanes that are there at first */
    weir_atomic_u64 dead[WORK_CONSUMERS]; /* the highest generation of that slot that is gone, and known to be */
    weir_atomic_u64 life[WORK_CONSUMERS]; /* the newest that began */
    weir_atomic_u64 ended;                /* a bit for each lane: all was pushed */
    weir_atomic_u64 again;
    weir_atomic_u32 marks[WORK_LANES][WORK_RECORDS];
} work_board;

typedef struct work_consumer {
    work_board *b;
    weir_mpmc_consumer c;
    weir_mpmc_lane lanes[WORK_LANES];
    uint32_t slot;
    uint64_t random;
    uint64_t told[WORK_CONSUMERS];
    struct { uint32_t lane, seq; } held[WORK_HELD_MAX];
    uint32_t count;
} work_consumer;

/* Where a lane begins. */
static inline uint64_t work_start(const work_board *b, uint32_t lane) { return lane < b->made ? WORK_START : 0; }

static inline uint32_t work_length(uint64_t seq, uint32_t lane)
{
    return 8 + (uint32_t)((seq * 16 + lane) * UINT64_C(0xd6e8feb86659fd93) >> 40) % (WORK_RECORD_MAX - 7);
}

static inline void work_idle(uint64_t *random)
{
    if (support_random(random) % 64 == 0)
        (void)sched_yield();
    else
        weir_pause();
}

/* Pushes the lane's records from where a former producer came to; returns early, as if killed, once in a while if
 * `mortal`.  A record's number is its position. */
static inline bool work_produce(work_board *b, void *mem, uint32_t lane, uint64_t *random, bool mortal)
{
    weir_mpmc_producer p;
    unsigned char msg[WORK_RECORD_MAX];
    CHECK_OK(weir_mpmc_producer_attach(&p, mem, b->bytes, lane));
    uint64_t seq = (p.pos - work_start(b, lane)) & WEIR_MPMC_POS_MASK;
    while (seq < b->records) {
        uint64_t bits = support_random(random);
        bool more = bits % 4 == 0 && seq + 1 < b->records;
        uint32_t len = work_length(seq, lane);
        void *slot = NULL;
        weir_status status;
        memcpy(msg, &seq, 8);
        record_fill(msg + 8, lane, seq, len - 8);
        if (bits & 16) {
            status = more ? weir_mpmc_push_more(&p, msg, len) : weir_mpmc_push(&p, msg, len);
        } else if ((status = weir_mpmc_reserve(&p, len, &slot)) == WEIR_OK) {
            memcpy(slot, msg, len);
            CHECK_OK(more ? weir_mpmc_commit_more(&p, len) : weir_mpmc_commit(&p, len));
        }
        seq += status == WEIR_OK;
        if (status != WEIR_OK) {
            CHECK_STATUS(status, WEIR_FULL);
            weir_mpmc_flush(&p);
            work_idle(random);
        }
        if (mortal && (bits >> 8) % 256 == 0)
            return false;
    }
    (void)weir_fetch_or_rel(&b->ended, UINT64_C(1) << lane);
    return true;
}

static inline void work_give_back(work_consumer *w)
{
    for (uint32_t i = 0; i < w->count; i++)
        weir_store32_rlx(&w->b->marks[w->held[i].lane][w->held[i].seq], WORK_GIVING);
    weir_mpmc_release(&w->c);
    for (uint32_t i = 0; i < w->count; i++)
        weir_store32_rlx(&w->b->marks[w->held[i].lane][w->held[i].seq], WORK_GIVEN);
    w->count = 0;
}

static inline void work_came(work_consumer *w, uint32_t lane, const void *msg, uint32_t len, bool again)
{
    uint64_t seq;
    CHECK(lane < w->b->shape.lanes && len >= 8);
    memcpy(&seq, msg, 8);
    CHECK(seq < w->b->records && len == work_length(seq, lane));
    CHECK(record_is((const unsigned char *)msg + 8, lane, seq, len - 8));
    uint32_t mark = weir_exchange32_rlx(&w->b->marks[lane][seq], WORK_CAME);
    CHECK(mark != WORK_GIVEN && (again || mark == WORK_NEVER));
    if (again)
        (void)weir_fetch_add_rlx(&w->b->again, 1);
    CHECK(w->count < WORK_HELD_MAX);
    w->held[w->count].lane = lane;
    w->held[w->count++].seq = (uint32_t)seq;
}

/* Recovers from whom it has newly heard to be gone. */
static inline void work_hear(work_consumer *w, void *mem)
{
    for (uint32_t slot = 0; slot < w->b->shape.consumers; slot++) {
        uint64_t dead = weir_load_acq(&w->b->dead[slot]);
        for (uint32_t x = 0; dead != w->told[slot] && x < w->b->shape.consumers; x++) {
            uint32_t owner, generation;
            if (weir_mpmc_owner(mem, w->b->bytes, x, &owner, &generation) == WEIR_OK && owner == slot &&
                generation <= dead)
                CHECK_OK(weir_mpmc_recover(&w->c, owner, generation));
        }
        w->told[slot] = dead;
    }
}

/* A new life in the slot; waits while another works through what the former left. */
static inline void work_join(work_consumer *w, void *mem)
{
    uint64_t generation = weir_load_acq(&w->b->life[w->slot]) + 1;
    weir_status status;
    weir_store_rel(&w->b->life[w->slot], generation);
    w->count = 0;
    memset(w->told, 0, sizeof w->told);
    while ((status = weir_mpmc_consumer_attach(&w->c, mem, w->b->bytes, w->slot, (uint32_t)generation,
                                               (uint32_t)(support_random(&w->random) % 17), w->lanes, WORK_LANES)) !=
           WEIR_OK) {
        CHECK_STATUS(status, WEIR_E_IN_USE);
        work_idle(&w->random);
    }
}

/* A few records, and gives them back, or not yet.  False: it has looked everywhere, and nothing was there. */
static inline bool work_some(work_consumer *w)
{
    uint64_t bits = support_random(&w->random);
    unsigned char buffer[WORK_RECORD_MAX];
    for (uint64_t n = 0; n < bits % 16; n++) {
        const void *msg = buffer;
        uint32_t len = 0, lane = 0;
        bool again = false;
        weir_status status = bits & 64 ? weir_mpmc_peek(&w->c, &msg, &len, &lane, &again)
                                       : weir_mpmc_pop_more(&w->c, buffer, sizeof buffer, &len, &lane, &again);
        if (status == WEIR_OK) {
            work_came(w, lane, msg, len, again);
            continue;
        }
        CHECK(status == WEIR_EMPTY || status == WEIR_AGAIN || (status == WEIR_FULL && w->count > 0));
        bool holds = w->count != 0;
        work_give_back(w);
        if (status == WEIR_EMPTY && !holds)
            return false;
    }
    if (bits & 128)
        work_give_back(w);
    return true;
}

static inline bool work_all_pushed(const work_board *b)
{
    return weir_load_acq(&b->ended) == (UINT64_C(1) << b->shape.lanes) - 1;
}

/* Until all was pushed and nothing is there; returns early, as if killed, once in a while if `mortal`. */
static inline bool work_consume(work_consumer *w, void *mem, bool mortal)
{
    work_join(w, mem);
    for (;;) {
        bool pushed = work_all_pushed(w->b);
        work_hear(w, mem);
        if (!work_some(w)) {
            if (pushed)
                break;
            work_idle(&w->random);
        }
        if (mortal && support_random(&w->random) % 128 == 0)
            return false;
    }
    weir_status status = weir_mpmc_consumer_detach(&w->c);
    CHECK(status == WEIR_OK);
    return true;
}

/* Everybody has left. */
static inline void work_check(work_board *b, void *mem)
{
    for (uint32_t lane = 0; lane < b->shape.lanes; lane++) {
        weir_mpmc_producer p;
        CHECK_OK(weir_mpmc_producer_attach(&p, mem, b->bytes, lane));
        CHECK(((p.pos - work_start(b, lane)) & WEIR_MPMC_POS_MASK) == b->records);
        CHECK_OK(weir_mpmc_drained(&p));
        for (uint64_t seq = 0; seq < b->records; seq++)
            CHECK(weir_load32_rlx(&b->marks[lane][seq]) >= WORK_GIVING);
    }
}

static inline void work_make(work_board *b, void *mem, uint64_t bytes, weir_mpmc_shape shape, uint32_t made,
                             uint64_t records)
{
    b->shape = shape;
    b->made = made;
    b->records = records < WORK_RECORDS ? records : WORK_RECORDS;
    b->bytes = weir_mpmc_footprint(&shape);
    CHECK(b->bytes != 0 && b->bytes <= bytes);
    CHECK_OK(weir_mpmc_init_some(mem, b->bytes, &shape, made, WORK_START));
}

#endif
