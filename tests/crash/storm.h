/* tests/crash/storm.h - real processes over one ring in shared memory, which the storm kills, stops, starts again. */
#ifndef WEIR_TESTS_STORM_H
#define WEIR_TESTS_STORM_H

#include "support.h"

#define STORM_CHILDREN_MAX 64

/* What all processes of a storm share besides the ring. */
typedef struct storm_page {
    weir_atomic_u64 stop; /* whoever sees it leaves in order */
    weir_atomic_u64 failed;
    struct {
        weir_atomic_u64 begun; /* the life that is at work */
        weir_atomic_u64 turns; /* calls that came back, whatever they said */
        weir_atomic_u64 done;  /* records moved */
        unsigned char pad[WEIR_LINE_PAIR - 24];
    } child[STORM_CHILDREN_MAX];
} storm_page;

/* One life of one child, in its own process, with the shared memory at an address of its own. */
typedef struct storm_child {
    storm_page *page;
    void *share; /* the kind's own: its notes and its ring */
    unsigned index;
    uint64_t life; /* 1, 2, 3, ... of all children of the storm */
    uint64_t seed;
} storm_child;

typedef struct storm_kind {
    const char *name;
    unsigned children;
    uint64_t bytes; /* of share, which is zero at first */
    void (*make)(void *share);
    /* Attaches, works, notes in share what it is about to do and what it has done, and checks all it gets against what
     * the others noted.  Returns once page->stop is set and it has left in order. */
    void (*live)(storm_child *self);
    /* Told of a death before the next life begins, for rings whose survivors recover; may be null. */
    void (*died)(void *share, unsigned index);
} storm_kind;

/* As CHECK, for a child: the storm is told. */
#define STORM_CHECK(self, condition)                                                                                  \
    do {                                                                                                              \
        if (!(condition)) {                                                                                           \
            weir_store_rlx(&(self)->page->failed, 1);                                                                 \
            support_fail(__FILE__, __LINE__, #condition);                                                             \
        }                                                                                                             \
    } while (0)

/* A call came back; with records it moved. */
void storm_turn(storm_child *self, uint64_t records);

/* There was nothing to do: lets others run now and then. */
void storm_idle(storm_child *self);

/* A note is stored before, or after, the call beside it, never in the middle. */
static inline void storm_note(weir_atomic_u64 *word, uint64_t value)
{
    weir_fence_compiler();
    weir_store_rel(word, value);
    weir_fence_compiler();
}

/* A record's bytes: its number and then words that follow from that and the length.  len is at least 16. */
void storm_fill(void *buffer, uint64_t id, uint64_t len);
bool storm_whole(const void *msg, uint64_t id, uint64_t len);

#define STORM_SPSC_COUNT 2
extern const storm_kind storm_spsc[STORM_SPSC_COUNT];
#define STORM_LANES_COUNT 1
extern const storm_kind storm_mpsc[STORM_LANES_COUNT], storm_mpsc_ordered[STORM_LANES_COUNT];
#define STORM_MPMC_COUNT 1
extern const storm_kind storm_mpmc[STORM_MPMC_COUNT];
#define STORM_BROADCAST_COUNT 1
extern const storm_kind storm_broadcast[STORM_BROADCAST_COUNT];
#define STORM_BROADCAST_GATED_COUNT 1
extern const storm_kind storm_broadcast_gated[STORM_BROADCAST_GATED_COUNT];
#define STORM_LATEST_COUNT 1
extern const storm_kind storm_latest[STORM_LATEST_COUNT];

#endif
