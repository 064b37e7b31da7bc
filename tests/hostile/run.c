/* One operation on a ring whose bytes may be anything, and what must hold of it whatever they are. */
#include "hostile.h"

#include "support.h"

#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#ifdef WEIR_ATOMIC_BACKEND
#define HOOK(statement) statement
#else
#define HOOK(statement) (void)0
#endif

#define PAGE 4096u

uint64_t hostile_operations;
struct hostile_where hostile_where;

/* ---- saying what went wrong ---- */

static void say_where(void)
{
    const struct hostile_where *w = &hostile_where;
    (void)fprintf(stderr,
                  "hostile: %s: ring %s, state %u, life %llu, call %llu (%s), mutation %llu; again: WEIR_TEST_SEED=%llu "
                  "WEIR_HOSTILE_RING=%s WEIR_HOSTILE_LIFE=%llu\n",
                  w->part, w->ring, w->state, (unsigned long long)w->life, (unsigned long long)w->calls, w->op,
                  (unsigned long long)hostile_mutated(), (unsigned long long)w->seed, w->ring,
                  (unsigned long long)w->life);
}

void hostile_fail(const char *file, int line, const char *what)
{
    (void)fprintf(stderr, "%s:%d: not so: %s (detail: %s)\n", file, line, what, weir_error_detail());
    say_where();
    abort();
}

/* A call that does not come back: no new one has begun in a long stretch of this process's own processor time. */
static void tick(int number)
{
    (void)number;
    static uint64_t last;
    uint64_t now = hostile_where.calls + hostile_operations;
    if (now == last && now != 0)
        hostile_fail(__FILE__, __LINE__, "the call comes back");
    last = now;
}

void hostile_begin(const char *part)
{
    hostile_where.part = part;
    hostile_where.ring = hostile_where.op = "none yet";
    __sanitizer_set_death_callback(say_where);
    struct sigaction action = { .sa_handler = tick };
    HOSTILE_CHECK(sigaction(SIGVTALRM, &action, NULL) == 0);
    struct itimerval every = { .it_interval = { .tv_sec = 20 }, .it_value = { .tv_sec = 20 } };
    HOSTILE_CHECK(setitimer(ITIMER_VIRTUAL, &every, NULL) == 0);
}

void hostile_use(const void *bytes, uint64_t len)
{
    static unsigned char sink[4096];
    HOSTILE_CHECK(len <= sizeof sink);
    memcpy(sink, bytes, len);
    __asm__ volatile("" : : "r"(sink) : "memory"); /* or the copy is left out */
}

/* ---- memory ---- */

/* bytes up to a page that nobody may touch; before them, up to another such page, is poison. */
static unsigned char *guarded(uint64_t bytes)
{
    uint64_t pages = (bytes + PAGE - 1) / PAGE * PAGE;
    unsigned char *area = mmap(NULL, pages + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    HOSTILE_CHECK(area != MAP_FAILED && mprotect(area + PAGE, pages, PROT_READ | PROT_WRITE) == 0);
    __asan_poison_memory_region(area, 2 * PAGE + pages);
    __asan_unpoison_memory_region(area + PAGE + pages - bytes, bytes);
    return area + PAGE + pages - bytes;
}

static void unguard(unsigned char *bytes, uint64_t count)
{
    uint64_t pages = (count + PAGE - 1) / PAGE * PAGE;
    unsigned char *area = bytes + count - pages - PAGE;
    __asan_unpoison_memory_region(area, pages + 2 * PAGE);
    HOSTILE_CHECK(munmap(area, pages + 2 * PAGE) == 0);
}

/* ---- states, reached by valid calls ---- */

static const struct { uint64_t start_pos; unsigned calls; } states[HOSTILE_STATES] = {
    { 0, 0 }, { 0, 3 }, { 0, 7 }, { 0, 15 }, { 0, 40 }, { 0, 150 },
    { 216, 4 }, { 216, 11 }, { 488, 30 },
    { UINT64_MAX - 95, 5 }, { UINT64_MAX - 255, 20 }, { (UINT64_C(1) << 63) - 64, 60 },
};

/* A ring that is used as its header says never finds itself corrupt. */
static void live_validly(hostile_ring *r, unsigned calls, uint64_t *random)
{
    for (unsigned i = 0; i < calls; i++) {
        uint64_t bits = hostile_random(random);
        hostile_side side = (bits >> 8) % 16 == 0 ? HOSTILE_ATTACHES_CONSUMER
                            : (bits >> 8) % 16 == 1 ? HOSTILE_ATTACHES_PRODUCER
                            : (bits >> 8 & 15) < 7 ? HOSTILE_CONSUMES : HOSTILE_PRODUCES;
        const hostile_op *op = hostile_pick(r, side, bits >> 16);
        HOSTILE_CHECK(hostile_run(r, op, hostile_random(random)) != WEIR_E_CORRUPT);
        hostile_remember(r, hostile_where.state);
    }
}

static void attach_all(hostile_ring *r)
{
    for (unsigned i = 0; i < r->row->op_count; i++) {
        const hostile_op *op = &r->row->ops[i];
        unsigned ends = op->side == HOSTILE_ATTACHES_PRODUCER ? r->row->producers : op->side == HOSTILE_ATTACHES_CONSUMER;
        for (unsigned lane = 0; lane < ends; lane++)
            HOSTILE_CHECK(hostile_run(r, op, (uint64_t)lane << 56) == WEIR_OK);
    }
}

void hostile_open(hostile_ring *r, const hostile_row *row)
{
    uint64_t bytes = row->bytes(), random = 0x5eed;
    *r = (hostile_ring){ .row = row, .mem = guarded(bytes), .bytes = bytes, .ends = calloc(1, row->ends_bytes),
                         .buffer = guarded(HOSTILE_BUFFER) };
    HOSTILE_CHECK(r->ends != NULL && bytes % 8 == 0);
    hostile_where.ring = row->name;
    for (unsigned i = 0; i < HOSTILE_STATES; i++) {
        hostile_where.state = i;
        memset(r->mem, 0, bytes);
        memset(r->corrupt, 0, sizeof r->corrupt);
        HOSTILE_CHECK(row->init(r, states[i].start_pos) == WEIR_OK);
        hostile_remember(r, i);
        attach_all(r);
        live_validly(r, states[i].calls, &random);
        r->saved[i].mem = malloc(bytes);
        r->saved[i].ends = malloc(row->ends_bytes);
        HOSTILE_CHECK(r->saved[i].mem != NULL && r->saved[i].ends != NULL);
        memcpy(r->saved[i].mem, r->mem, bytes);
        memcpy(r->saved[i].ends, r->ends, row->ends_bytes);
    }
}

void hostile_close(hostile_ring *r)
{
    for (unsigned i = 0; i < HOSTILE_STATES; i++) {
        free(r->saved[i].mem);
        free(r->saved[i].ends);
    }
    unguard(r->mem, r->bytes);
    unguard(r->buffer, HOSTILE_BUFFER);
    free(r->ends);
    hostile_forget();
    *r = (hostile_ring){ .row = NULL };
}

void hostile_state(hostile_ring *r, unsigned state)
{
    hostile_where.state = state;
    hostile_where.calls = 0;
    /* By words: in one part another thread writes here meanwhile. */
    for (uint64_t off = 0; off < r->bytes; off += 8) {
        uint64_t word;
        memcpy(&word, r->saved[state].mem + off, 8);
        weir_store_rlx(weir_word_at(r->mem, off), word);
    }
    memcpy(r->ends, r->saved[state].ends, r->row->ends_bytes);
    memset(r->corrupt, 0, sizeof r->corrupt);
}

/* ---- one operation ---- */

const hostile_op *hostile_pick(const hostile_ring *r, hostile_side side, uint64_t random)
{
    const hostile_row *row = r->row;
    for (uint32_t at = (uint32_t)random % row->op_count;; at = at + 1 < row->op_count ? at + 1 : 0)
        if (row->ops[at].side == side || (row->ops[at].side == HOSTILE_LOOKS && side == HOSTILE_ATTACHES_CONSUMER) ||
            (row->ops[at].side == HOSTILE_GROWS && side == HOSTILE_ATTACHES_PRODUCER))
            return &row->ops[at];
}

bool hostile_control_word(const hostile_row *row, uint64_t n, uint64_t *off)
{
    for (unsigned i = 0; i < row->control_count; i++) {
        const hostile_words *words = &row->control[i];
        if (n < words->count) {
            *off = words->off + n * (words->stride != 0 ? words->stride : 8);
            return true;
        }
        n -= words->count;
    }
    return false;
}

#ifdef WEIR_ATOMIC_BACKEND

static const hostile_ring *watched;
static const hostile_op *watched_op;

static bool is_consumers(const hostile_row *row, uint64_t off)
{
    for (unsigned i = 0; i < row->consumer_writes_count; i++) {
        const hostile_words *words = &row->consumer_writes[i];
        uint64_t stride = words->stride != 0 ? words->stride : 8, from = off - words->off;
        if (off >= words->off && from / stride < words->count && from % stride < 8)
            return true;
    }
    return false;
}

/* If the row does not say otherwise: who attaches writes nothing; a consumer writes its own words alone, and a producer
 * not those. */
void hostile_store_seen(const void *word)
{
    uint64_t off = (uint64_t)((const unsigned char *)word - watched->mem);
    HOSTILE_CHECK(off < watched->bytes);
    if (watched_op->side == HOSTILE_GROWS)
        return;
    if (watched->row->may_write != NULL) {
        HOSTILE_CHECK(watched_op->side != HOSTILE_LOOKS && watched->row->may_write(watched, watched_op->side, off));
        return;
    }
    HOSTILE_CHECK(watched_op->side == HOSTILE_CONSUMES || watched_op->side == HOSTILE_PRODUCES);
    HOSTILE_CHECK(is_consumers(watched->row, off) == (watched_op->side == HOSTILE_CONSUMES));
}

void hostile_loads_out(void)
{
    hostile_fail(__FILE__, __LINE__, "the loads of a call are bounded by the capacity");
}

static void watch(const hostile_ring *r, const hostile_op *op)
{
    watched = r;
    watched_op = op;
    hostile_hook.watch_stores = true;
    hostile_hook.loads = 0;
    hostile_hook.loads_max = op->loads + op->laps * (r->bytes / 8);
}

static void unwatch(void)
{
    hostile_hook.watch_stores = false;
    hostile_hook.loads_max = UINT64_MAX;
}

#endif

weir_status hostile_run(hostile_ring *r, const hostile_op *op, uint64_t random)
{
    hostile_where.op = op->name;
    hostile_where.calls++;
    hostile_operations++;
    r->lane = (unsigned)(random >> 56) % r->row->producers;
    bool uses = op->side == HOSTILE_CONSUMES || op->side == HOSTILE_PRODUCES;
    unsigned end = op->side == HOSTILE_CONSUMES || op->side == HOSTILE_ATTACHES_CONSUMER ? 0 : 1 + r->lane;
    HOOK(watch(r, op));
    weir_status status = op->run(r, random);
    HOOK(unwatch());
    if (op->side == HOSTILE_ATTACHES_CONSUMER || op->side == HOSTILE_ATTACHES_PRODUCER)
        r->corrupt[end] = false;
    if (op->says_nothing)
        return status;
    HOSTILE_CHECK(status >= -32 && status < 32 && (op->statuses & HOSTILE_STATUS(status)) != 0);
    HOSTILE_CHECK(!uses || !r->corrupt[end] || status == WEIR_E_CORRUPT); /* for good */
    if (uses && status == WEIR_E_CORRUPT)
        r->corrupt[end] = true;
    return status;
}
