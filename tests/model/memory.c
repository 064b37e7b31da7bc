/* tests/model/memory.c - words, views, fences and data races.  memory.h tells the idea. */
#include "memory.h"
#include "backend.h"

#include <stdio.h>
#include <string.h>

#define WORDS 96      /* distinct words that one model may touch */
#define VALUES 100    /* values of one word in one execution; at most 255, as a view's entries are bytes */
#define REGIONS 8
#define REGION_BYTES 8192
#define GRANULE 4
#define CLOCKS 8 /* of each thread one; a round number, which compilers compare at once */

/* Of each word, the index of the oldest value that may still be read; and how much of each thread happened before. */
struct view {
    uint8_t seen[WORDS];
    uint16_t clock[CLOCKS];
};

struct value {
    uint64_t bits;
    struct view view; /* what whoever acquires it has then seen */
    uint8_t writer;
    bool glued; /* written by a read-modify-write: nothing comes between it and the value before it */
};

/* When each thread last accessed a word in some way, in its own clock. */
struct access {
    uint16_t clock[CLOCKS];
};
_Static_assert(MODEL_ALL_THREADS <= CLOCKS, "a clock for each thread");

struct word {
    const unsigned char *address;
    unsigned size;
    unsigned execution; /* the one that the rest is of */
    unsigned count;
    struct value values[VALUES];
    struct access plain_write, plain_read, atomic_write, atomic_read;
};

struct thread_views {
    struct view now;     /* what it has seen */
    struct view acquire; /* what it will have seen behind an acquire fence */
    struct view release; /* what it had seen at its last release fence: what its relaxed stores carry */
    struct view light;   /* what it had seen at its last compiler fence: what membarrier finds */
};

struct region {
    const char *name;
    const unsigned char *memory;
    size_t bytes;
    uint8_t word_at[REGION_BYTES / GRANULE]; /* 1 + the word's number; 0: not touched yet */
};

static struct {
    struct region regions[REGIONS];
    unsigned region_count;
    struct word words[WORDS];
    unsigned word_count;
    unsigned execution;
    struct thread_views views[MODEL_ALL_THREADS];
    struct view sc;     /* what the last full fence had seen; its clock is not used: full fences alone order no bytes */
    struct view others; /* the same of the last membarrier */
    enum model_order lost;
} memory;

/* ---- words ---- */

void model_zero(void *variables, size_t bytes)
{
    memset(variables, 0, bytes);
}

void model_share(const char *name, void *bytes, size_t size, uint64_t content)
{
    for (size_t off = 0; off + 8 <= size; off += 8)
        memcpy((unsigned char *)bytes + off, &content, 8);
    for (unsigned i = 0; i < memory.region_count; i++)
        if (memory.regions[i].memory == bytes)
            return;
    if (memory.region_count == REGIONS || size > REGION_BYTES)
        explorer_fail("too many regions, or one too large: see memory.c");
    memory.regions[memory.region_count++] = (struct region){ .name = name, .memory = bytes, .bytes = size };
}

static struct region *region_of(const void *address)
{
    const unsigned char *at = address;
    for (unsigned i = 0; i < memory.region_count; i++) {
        struct region *region = &memory.regions[i];
        if (at >= region->memory && at < region->memory + region->bytes)
            return region;
    }
    return NULL;
}

const char *memory_name(const void *address)
{
    static char names[4][48];
    static unsigned at;
    char *name = names[at++ % 4];
    struct region *region = region_of(address);
    if (region == NULL)
        snprintf(name, sizeof names[0], "%p", address);
    else
        snprintf(name, sizeof names[0], "%s+%ld", region->name,
                 (long)((const unsigned char *)address - region->memory));
    return name;
}

static struct word *new_word(struct region *region, const unsigned char *address, unsigned size)
{
    if (memory.word_count == WORDS)
        explorer_fail("more than %d words are touched: see memory.c", WORDS);
    if (size > 8 || (uintptr_t)address % size != 0 || address + size > region->memory + region->bytes)
        explorer_fail("%s: %u bytes there are no word", memory_name(address), size);
    size_t first = (size_t)(address - region->memory) / GRANULE;
    for (size_t i = 0; i < size / GRANULE; i++) {
        if (region->word_at[first + i] != 0)
            explorer_fail("%s: accessed with different sizes", memory_name(address));
        region->word_at[first + i] = (uint8_t)(memory.word_count + 1);
    }
    struct word *word = &memory.words[memory.word_count++];
    word->address = address;
    word->size = size;
    word->execution = 0;
    return word;
}

/* The word at an address, with its first value if nobody has touched it in this execution. */
static struct word *word_at(const void *address, unsigned size)
{
    struct region *region = region_of(address);
    if (region == NULL)
        explorer_fail("an access to %p, which is not shared", address);
    unsigned number = region->word_at[((const unsigned char *)address - region->memory) / GRANULE];
    struct word *word = number != 0 ? &memory.words[number - 1] : new_word(region, address, size);
    if (word->address != address || word->size != size)
        explorer_fail("%s: accessed with different sizes", memory_name(address));
    if (word->execution != memory.execution) {
        uint32_t half;
        word->execution = memory.execution;
        word->count = 1;
        word->values[0] = (struct value){ .writer = MODEL_SETUP };
        if (size == 8)
            memcpy(&word->values[0].bits, address, 8);
        else
            memcpy(&half, address, 4), word->values[0].bits = half;
        word->plain_write = word->plain_read = word->atomic_write = word->atomic_read = (struct access){ { 0 } };
    }
    return word;
}

static unsigned number_of(const struct word *word)
{
    return (unsigned)(word - memory.words);
}

uint64_t memory_latest(const void *address, unsigned size)
{
    struct word *word = word_at(address, size);
    return word->values[word->count - 1].bits;
}

/* ---- views ---- */

static struct thread_views *own_views(void)
{
    return &memory.views[explorer_thread()];
}

static void join_seen(struct view *to, const struct view *from)
{
    for (unsigned i = 0; i < WORDS; i++)
        to->seen[i] = to->seen[i] > from->seen[i] ? to->seen[i] : from->seen[i];
}

static void join(struct view *to, const struct view *from)
{
    join_seen(to, from);
    for (unsigned i = 0; i < CLOCKS; i++)
        to->clock[i] = to->clock[i] > from->clock[i] ? to->clock[i] : from->clock[i];
}

void memory_reset_model(void)
{
    memory.region_count = memory.word_count = 0;
}

void memory_reset_execution(void)
{
    memory.execution++;
    memset(memory.views, 0, sizeof memory.views);
    memset(&memory.sc, 0, sizeof memory.sc);
    memset(&memory.others, 0, sizeof memory.others);
    memory.lost = MODEL_RELAXED;
}

void memory_start(unsigned thread, unsigned from)
{
    join(&memory.views[thread].now, &memory.views[from].now);
    join(&memory.views[thread].acquire, &memory.views[thread].now);
}

void memory_catch_up(unsigned thread)
{
    struct thread_views *views = &memory.views[thread];
    for (unsigned i = 0; i < memory.word_count; i++)
        if (memory.words[i].execution == memory.execution)
            views->now.seen[i] = (uint8_t)(memory.words[i].count - 1);
    join_seen(&views->acquire, &views->now);
}

/* A value goes in between others: whoever had seen those behind it has them one further on. */
static void shift_view(struct view *view, unsigned number, unsigned at)
{
    if (view->seen[number] >= at)
        view->seen[number]++;
}

static void shift_views(unsigned number, unsigned at)
{
    for (unsigned i = 0; i < MODEL_ALL_THREADS; i++) {
        struct thread_views *views = &memory.views[i];
        shift_view(&views->now, number, at);
        shift_view(&views->acquire, number, at);
        shift_view(&views->release, number, at);
        shift_view(&views->light, number, at);
    }
    shift_view(&memory.sc, number, at);
    shift_view(&memory.others, number, at);
    for (unsigned i = 0; i < memory.word_count; i++)
        if (memory.words[i].execution == memory.execution)
            for (unsigned k = 0; k < memory.words[i].count; k++)
                shift_view(&memory.words[i].values[k].view, number, at);
}

/* ---- races ---- */

_Noreturn static void fail_of_race(const struct word *word, const struct access *others, const char *theirs,
                                   const char *ours)
{
    unsigned other = 0;
    while (others->clock[other] <= own_views()->now.clock[other])
        other++;
    explorer_fail("data race on %s: %s by %s, and %s by %s with nothing between", memory_name(word->address), theirs,
                  explorer_thread_name(other), ours, explorer_thread_name(explorer_thread()));
}

static void must_not_race(const struct word *word, const struct access *others, const char *theirs, const char *ours)
{
    const uint16_t *known = own_views()->now.clock; /* all that it did itself is */
    uint16_t newer = 0;
    for (unsigned i = 0; i < CLOCKS; i++)
        newer |= others->clock[i] > known[i];
    if (newer != 0)
        fail_of_race(word, others, theirs, ours);
}

static void tick(struct access *access)
{
    unsigned self = explorer_thread();
    struct thread_views *views = own_views();
    access->clock[self] = views->acquire.clock[self] = ++views->now.clock[self];
}

/* ---- values ---- */

static const char *const order_names[] = { "rlx", "acq", "rel", "acq_rel" };

static void trace(const char *what, const struct word *word, unsigned at, enum model_order order)
{
    if (!explorer_traces())
        return;
    unsigned newer = word->count - 1 - at;
    explorer_trace("%s %s %s = 0x%llx%s", what, order_names[order], memory_name(word->address),
                   (unsigned long long)word->values[at].bits, newer != 0 ? "  (not the newest)" : "");
}

static void see(struct word *word, unsigned at, enum model_order order)
{
    struct thread_views *views = own_views();
    unsigned number = number_of(word);
    if (views->now.seen[number] < at)
        views->now.seen[number] = (uint8_t)at;
    join(&views->acquire, &word->values[at].view);
    if ((order & MODEL_ACQUIRE) != 0)
        join(&views->now, &word->values[at].view);
    if (views->acquire.seen[number] < at)
        views->acquire.seen[number] = (uint8_t)at;
}

/* Puts a value at its place in the word's modification order; before is what it carries. */
static struct value *put(struct word *word, unsigned at, uint64_t bits, const struct view *carried)
{
    struct thread_views *views = own_views();
    unsigned number = number_of(word);
    if (word->count == VALUES)
        explorer_fail("%s has more than %d values: see memory.c", memory_name(word->address), VALUES);
    if (at < word->count) {
        memmove(&word->values[at + 1], &word->values[at], (word->count - at) * sizeof word->values[0]);
        word->values[at].view = (struct view){ .seen = { 0 } };
        word->count++;
        shift_views(number, at);
    } else {
        word->count++;
    }
    struct value *value = &word->values[at];
    views->now.seen[number] = (uint8_t)at;
    if (views->acquire.seen[number] < at)
        views->acquire.seen[number] = (uint8_t)at;
    value->bits = bits;
    value->writer = (uint8_t)explorer_thread();
    value->glued = false;
    value->view = *carried; /* may be now itself */
    value->view.seen[number] = (uint8_t)at;
    explorer_stored();
    return value;
}

/* Whether a read-modify-write may read this value: what it writes must fit directly behind. */
static bool room_behind(const struct word *word, unsigned at)
{
    return at + 1 == word->count || !word->values[at + 1].glued;
}

/* Reads at, writes bits directly behind it. */
static void replace(struct word *word, unsigned at, uint64_t bits, enum model_order order)
{
    struct thread_views *views = own_views();
    see(word, at, order);
    struct value *value = put(word, at + 1, bits, (order & MODEL_RELEASE) != 0 ? &views->now : &views->release);
    value->glued = true;
    join(&value->view, &word->values[at].view); /* a release sequence goes on through it */
}

static enum model_order take_order(enum model_order order)
{
    order &= ~memory.lost;
    memory.lost = MODEL_RELAXED;
    return order;
}

void model_weaken(enum model_order lost)
{
    memory.lost = lost;
}

/* ---- the operations of backend.h ---- */

uint64_t model_load(const void *address, unsigned size, enum model_order order)
{
    order = take_order(order);
    explorer_point();
    struct word *word = word_at(address, size);
    must_not_race(word, &word->plain_write, "a plain write", "an atomic load");
    tick(&word->atomic_read);
    unsigned newest = word->count - 1;
    unsigned at = newest - explorer_choose_stale(newest - own_views()->now.seen[number_of(word)] + 1);
    see(word, at, order);
    trace("load", word, at, order);
    return word->values[at].bits;
}

static void before_atomic_write(struct word *word)
{
    must_not_race(word, &word->plain_write, "a plain write", "an atomic store");
    must_not_race(word, &word->plain_read, "a plain read", "an atomic store");
    tick(&word->atomic_write);
}

void model_store(void *address, unsigned size, uint64_t bits, enum model_order order)
{
    order = take_order(order);
    explorer_point();
    explorer_kill_point();
    struct word *word = word_at(address, size);
    before_atomic_write(word);
    struct thread_views *views = own_views();
    unsigned places[VALUES], count = 0;
    for (unsigned at = word->count; at > views->now.seen[number_of(word)]; at--)
        if (at == word->count || !word->values[at].glued)
            places[count++] = at;
    unsigned at = places[explorer_choose_stale(count)];
    put(word, at, bits, (order & MODEL_RELEASE) != 0 ? &views->now : &views->release);
    trace("store", word, at, order);
}

static uint64_t result_of(enum model_rmw operation, uint64_t was, uint64_t operand, unsigned size)
{
    uint64_t bits = operation == MODEL_ADD ? was + operand
                    : operation == MODEL_OR ? was | operand
                    : operation == MODEL_AND ? was & operand
                                             : operand;
    return size == 8 ? bits : (uint32_t)bits;
}

uint64_t model_rmw(void *address, unsigned size, enum model_rmw operation, uint64_t operand, enum model_order order)
{
    order = take_order(order);
    explorer_point();
    explorer_kill_point();
    struct word *word = word_at(address, size);
    before_atomic_write(word);
    unsigned read[VALUES], count = 0;
    for (unsigned at = word->count; at-- > own_views()->now.seen[number_of(word)];)
        if (room_behind(word, at))
            read[count++] = at;
    unsigned at = read[explorer_choose_stale(count)];
    uint64_t was = word->values[at].bits;
    replace(word, at, result_of(operation, was, operand, size), order);
    trace("read-modify-write", word, at + 1, order);
    return was;
}

static uint64_t bits_at(const void *from, unsigned size)
{
    uint64_t bits;
    uint32_t half;
    if (size == 8)
        return memcpy(&bits, from, 8), bits;
    return memcpy(&half, from, 4), half;
}

bool model_cas(void *address, unsigned size, void *expected, uint64_t desired, enum model_order order)
{
    order = take_order(order);
    explorer_point();
    explorer_kill_point();
    struct word *word = word_at(address, size);
    uint64_t wanted = bits_at(expected, size);
    unsigned read[VALUES], count = 0;
    for (unsigned at = word->count; at-- > own_views()->now.seen[number_of(word)];)
        if (word->values[at].bits != wanted || room_behind(word, at))
            read[count++] = at;
    unsigned at = read[explorer_choose_stale(count)];
    uint64_t was = word->values[at].bits;
    if (was == wanted) {
        before_atomic_write(word);
        replace(word, at, result_of(MODEL_EXCHANGE, was, desired, size), order);
        trace("compare-and-swap", word, at + 1, order);
        return true;
    }
    must_not_race(word, &word->plain_write, "a plain write", "a compare-and-swap");
    tick(&word->atomic_read);
    see(word, at, MODEL_RELAXED);
    trace("failed compare-and-swap", word, at, MODEL_RELAXED);
    uint32_t half = (uint32_t)was;
    memcpy(expected, size == 8 ? (void *)&was : (void *)&half, size);
    return false;
}

static void full_fence(struct thread_views *views)
{
    join(&views->now, &views->acquire);
    join_seen(&views->now, &memory.sc);
    join_seen(&memory.sc, &views->now);
    join(&views->acquire, &views->now);
    views->release = views->now;
}

/* membarrier(2), against the compiler fences of the other threads: each of those comes before it or behind it.  If
 * before, the caller sees behind it all that stands before that fence; if behind, what stands behind that fence sees
 * all that the caller had seen.  (The kernel interrupts each running thread between two instructions; the compiler fences
 * say between which of the source's accesses that may be.  The C++ proposal P1202 has the same: light and heavy.) */
static void fence_others(struct thread_views *views)
{
    full_fence(views);
    for (unsigned i = 0; i < MODEL_ALL_THREADS; i++)
        join_seen(&views->now, &memory.views[i].light);
    full_fence(views);
    join_seen(&memory.others, &views->now);
}

void model_fence(enum model_fence fence)
{
    static const char *const names[] = { "acq", "rel", "sc", "compiler", "membarrier" };
    struct thread_views *views = own_views();
    if (fence == MODEL_FENCE_SC || fence == MODEL_FENCE_OTHERS)
        explorer_point();
    switch (fence) {
    case MODEL_FENCE_ACQ:
        join(&views->now, &views->acquire);
        break;
    case MODEL_FENCE_REL:
        views->release = views->now;
        break;
    case MODEL_FENCE_SC:
        full_fence(views);
        break;
    case MODEL_FENCE_COMPILER:
        join_seen(&views->now, &memory.others);
        join_seen(&views->acquire, &views->now);
        views->light = views->now;
        break;
    case MODEL_FENCE_OTHERS:
        fence_others(views);
        break;
    }
    if (explorer_traces() && fence != MODEL_FENCE_COMPILER)
        explorer_trace("fence %s", names[fence]);
}

void model_fence_others(void)
{
    model_fence(MODEL_FENCE_OTHERS);
}

/* ---- payload ---- */

static void must_be_aligned(const void *address)
{
    if ((uintptr_t)address % 8 != 0)
        explorer_fail("%s: payload is not aligned", memory_name(address));
}

void model_payload_write(void *to, const void *from, uint64_t len)
{
    unsigned char *address = to;
    const unsigned char *bytes = from;
    must_be_aligned(to);
    for (uint64_t done = 0; done < len; done += 8) {
        uint64_t bits = 0; /* the last word is filled up with zeros */
        memcpy(&bits, bytes + done, len - done < 8 ? len - done : 8);
        explorer_kill_point();
        struct word *word = word_at(address + done, 8);
        must_not_race(word, &word->plain_write, "a plain write", "a plain write");
        must_not_race(word, &word->plain_read, "a plain read", "a plain write");
        must_not_race(word, &word->atomic_write, "an atomic store", "a plain write");
        must_not_race(word, &word->atomic_read, "an atomic load", "a plain write");
        tick(&word->plain_write);
        put(word, word->count, bits, &(struct view){ .seen = { 0 } });
        trace("write payload", word, word->count - 1, MODEL_RELAXED);
    }
}

void model_payload_read(void *to, const void *from, uint64_t len)
{
    const unsigned char *address = from;
    unsigned char *bytes = to;
    must_be_aligned(from);
    for (uint64_t done = 0; done < len; done += 8) {
        struct word *word = word_at(address + done, 8);
        must_not_race(word, &word->plain_write, "a plain write", "a plain read");
        must_not_race(word, &word->atomic_write, "an atomic store", "a plain read");
        tick(&word->plain_read);
        trace("read payload", word, word->count - 1, MODEL_RELAXED); /* without a race there is no other value */
        memcpy(bytes + done, &word->values[word->count - 1].bits, len - done < 8 ? len - done : 8);
    }
}
