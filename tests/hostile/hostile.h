/* tests/hostile/hostile.h - a ring whose bytes are changed under it, and the table of all rings (README.md). */
#ifndef WEIR_TESTS_HOSTILE_HOSTILE_H
#define WEIR_TESTS_HOSTILE_HOSTILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <weir/weir.h>

#define HOSTILE_LANES 3u    /* of the rings with lanes */
#define HOSTILE_STATES 12u  /* states in which a ring's life begins */
#define HOSTILE_BUFFER 256u /* bytes that a record or a copy may have */

/* A run of 64-bit words of the ring's memory. */
typedef struct hostile_words { uint32_t off, count, stride; } hostile_words; /* stride: bytes, 0 means 8 */

typedef enum hostile_side {
    HOSTILE_CONSUMES,
    HOSTILE_PRODUCES,
    HOSTILE_ATTACHES_CONSUMER,
    HOSTILE_ATTACHES_PRODUCER,
    HOSTILE_LOOKS, /* at the memory, without a handle */
    HOSTILE_GROWS  /* makes lanes, without a handle: it may write anywhere in the ring's memory */
} hostile_side;

/* Memory with a page that nobody may touch at both its ends, and both handles of a ring in it. */
typedef struct hostile_ring {
    const struct hostile_row *row;
    unsigned char *mem, *ends;
    uint64_t bytes; /* of mem */
    unsigned char *buffer; /* HOSTILE_BUFFER bytes up to a page that nobody may touch */
    unsigned lane;         /* of the producer that the operation is about */
    struct { unsigned char *mem, *ends; } saved[HOSTILE_STATES];
    bool corrupt[1 + HOSTILE_LANES]; /* the consumer, each producer: has answered WEIR_E_CORRUPT, which is for good */
} hostile_ring;

#define HOSTILE_STATUS(status) (UINT64_C(1) << ((status) + 32))

/* One operation.  run calls it with arguments from the random bits, checks its outputs, and returns its status. */
typedef struct hostile_op {
    const char *name;
    hostile_side side;
    weir_status (*run)(hostile_ring *r, uint64_t random);
    uint64_t statuses; /* what its header documents: HOSTILE_STATUS(..) | .. */
    /* The loads of shared words that it may make: loads + laps * words of the ring's memory. */
    uint32_t loads, laps;
    bool says_nothing; /* a void function */
} hostile_op;

/* A ring: a row of the table. */
typedef struct hostile_row {
    const char *name;
    uint64_t (*bytes)(void);  /* of its memory */
    size_t ends_bytes;        /* of its handles, which lie in hostile_ring.ends and hold no pointer but into that, into
                                 the memory, or to constants */
    unsigned producers;       /* lanes, or 1 */
    weir_status (*init)(hostile_ring *r, uint64_t start_pos);
    const hostile_op *ops;
    unsigned op_count;
    const hostile_words *control; /* every word that is believed, other than records */
    unsigned control_count;
    const hostile_words *consumer_writes; /* the words that a consumer may write */
    unsigned consumer_writes_count;
    /* Instead of consumer_writes, where who attaches writes too or the places follow from what the ring states: may the
     * operation that is under way write there?  Of the handles it sees what the operation has stored so far. */
    bool (*may_write)(const hostile_ring *r, hostile_side side, uint64_t off);
    bool aliased; /* operations reach the memory by other mappings: a word is known by its place in a page */
} hostile_row;

extern const hostile_row *const hostile_rows[];
extern const unsigned hostile_row_count;

#define HOSTILE_COUNT(array) (sizeof(array) / sizeof(array)[0])

/* ---- run.c: one operation, looked at from all sides ---- */

void hostile_open(hostile_ring *r, const hostile_row *row);
void hostile_close(hostile_ring *r);

/* Puts the ring, and living handles on both sides, into one of the states, all reached by valid calls alone. */
void hostile_state(hostile_ring *r, unsigned state);
const hostile_op *hostile_pick(const hostile_ring *r, hostile_side side, uint64_t random);
weir_status hostile_run(hostile_ring *r, const hostile_op *op, uint64_t random);

extern uint64_t hostile_operations;

/* The nth 64-bit control word of a row: its offset; false behind the last. */
bool hostile_control_word(const hostile_row *row, uint64_t n, uint64_t *off);

/* What a failure prints: it is enough to run that life again (README.md). */
extern struct hostile_where {
    const char *part, *ring, *op;
    uint64_t seed, life, calls;
    unsigned state;
} hostile_where;

void hostile_begin(const char *part); /* and watches over crashes and hangs */
__attribute__((noreturn)) void hostile_fail(const char *file, int line, const char *what);
#define HOSTILE_CHECK(condition)                                                                                      \
    do {                                                                                                              \
        if (__builtin_expect(!(condition), 0))                                                                        \
            hostile_fail(__FILE__, __LINE__, #condition);                                                             \
    } while (0)

static inline uint64_t hostile_random(uint64_t *state) /* xorshift64*, Vigna 2016 */
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(0x2545f4914f6cdd1d);
}

/* Reads every byte, as a user would. */
void hostile_use(const void *bytes, uint64_t len);

/* ---- mutate.c ---- */

enum hostile_kind { HOSTILE_RANDOM, HOSTILE_NEAR, HOSTILE_REPLAY, HOSTILE_FLIP, HOSTILE_KINDS };

extern uint64_t hostile_mutations[HOSTILE_KINDS]; /* words that really changed, by kind */
uint64_t hostile_mutated(void);                   /* their sum */

void hostile_remember(const hostile_ring *r, unsigned state); /* the words as they are now, to replay them */
void hostile_forget(void);
void hostile_target(unsigned state, uint64_t seed); /* a life begins */
void hostile_arm(uint64_t mean_loads); /* bytes change at one load of so many; 0: never more */
void hostile_strike(void);             /* changes one word now */

/* The load number `at` from now on finds hostile_flip_value(old, n), and the next one what was there before; later: the
 * other way round.  page: of aliased memory, which.  struck: it came to that load. */
#define HOSTILE_FLIP_VALUES 48u
uint64_t hostile_flip_value(uint64_t old, unsigned n);
void hostile_flip_load(uint64_t at, bool later, unsigned n, unsigned page);
bool hostile_struck(void);

#endif
