/* The hand that writes into a ring while others use it. */
#include "hostile.h"

#include <stdatomic.h>
#include <stdlib.h>

#include <weir/ring/broadcast.h>

uint64_t hostile_mutations[HOSTILE_KINDS];

#define PAST 4u /* old values of a word that are remembered */
#define RECENT 16u
#define WORDS_MAX 8192u
#define CONTROL_MAX 256u

static struct {
    const hostile_ring *r;
    _Atomic uint64_t *words;
    uint64_t count, random, mean;
    const uint64_t (*past)[PAST];                    /* of the state: what valid calls left there one after the other, */
    struct { uint64_t i, value; } recent[RECENT];    /* and what stood where this hand wrote */
    uint32_t recent_count;
    uint32_t control[CONTROL_MAX], controls; /* indices */
} target;

static uint64_t past[HOSTILE_STATES][WORDS_MAX][PAST];

uint64_t hostile_mutated(void)
{
    uint64_t sum = 0;
    for (int kind = 0; kind < HOSTILE_KINDS; kind++)
        sum += hostile_mutations[kind];
    return sum;
}

static void aim(const hostile_ring *r)
{
    target.r = r;
    target.words = (_Atomic uint64_t *)(void *)r->mem;
    target.count = r->row->bytes() / 8;
    HOSTILE_CHECK(target.count <= WORDS_MAX);
    memset(past, 0, sizeof past);
    uint64_t off;
    for (target.controls = 0; hostile_control_word(r->row, target.controls, &off); target.controls++) {
        HOSTILE_CHECK(target.controls < CONTROL_MAX);
        target.control[target.controls] = (uint32_t)(off / 8);
    }
}

void hostile_remember(const hostile_ring *r, unsigned state)
{
    if (target.r != r)
        aim(r);
    for (uint64_t i = 0; i < target.count; i++) {
        uint64_t *values = past[state][i], now = atomic_load_explicit(&target.words[i], memory_order_relaxed);
        if (values[0] == now)
            continue;
        memmove(values + 1, values, (PAST - 1) * sizeof values[0]);
        values[0] = now;
    }
}

void hostile_forget(void) { target.r = NULL; }

void hostile_target(unsigned state, uint64_t seed)
{
    target.random = seed | 1;
    target.past = (const uint64_t(*)[PAST])past[state];
    target.recent_count = 0;
}

static uint64_t put(uint64_t i, uint64_t value, enum hostile_kind kind)
{
    uint64_t old = atomic_exchange_explicit(&target.words[i], value, memory_order_relaxed);
    uint32_t at = target.recent_count++ % RECENT;
    target.recent[at].i = i;
    target.recent[at].value = old;
    hostile_mutations[kind] += old != value;
    return old;
}

/* A value that this word had before, or once in a while one that another had. */
static uint64_t replay(uint64_t i, uint64_t bits)
{
    if (bits & 1)
        for (uint32_t n = target.recent_count; n > 0 && target.recent_count - n < RECENT; n--)
            if (target.recent[(n - 1) % RECENT].i == i)
                return target.recent[(n - 1) % RECENT].value;
    return target.past[bits >> 1 & 7 ? i : (bits >> 8) % target.count][bits >> 4 & (PAST - 1)];
}

/* Values that a peer which is nearly right would write: lengths an eighth off, another tag, a cursor one word or one lap
 * off, padding that nearly ends where the data do. */
static uint64_t near(uint64_t i, uint64_t old, uint64_t bits)
{
    uint64_t bytes = target.count * 8, power = UINT64_C(64) << (bits >> 8 & 7);
    uint64_t to_end = bytes - i * 8 - 8;
    switch (bits & 15) {
    case 0: return (old & ~UINT64_C(0xffffffff)) | (uint32_t)((uint32_t)old + (uint32_t)old / 8);
    case 1: return (old & ~UINT64_C(0xffffffff)) | (uint32_t)((uint32_t)old - (uint32_t)old / 8);
    case 2: return old ^ UINT64_C(1) << (32 + (bits >> 8 & 31)); /* the tag */
    case 3: return old ^ UINT64_C(1) << (bits >> 8 & 63);
    case 4: return old + 8;
    case 5: return old - 8;
    case 6: return old + power; /* one of them is the capacity */
    case 7: return old - power;
    case 8: return old + 1 - (bits >> 8 & 1) * 2;
    case 9: return WEIR_SPSC_DATA | (bits >> 8 & 127);
    case 10: return WEIR_SPSC_PAD | (bits >> 8 & 127 & ~UINT64_C(7));
    case 11: return WEIR_SPSC_PAD | (to_end & (power - 1)); /* to the end of the data, or nearly */
    case 12: return WEIR_SPSC_DATA | ((to_end & (power - 1)) + (bits >> 16 & 8));
    case 13: return old ^ (WEIR_SPSC_DATA ^ WEIR_SPSC_PAD); /* one for the other */
    case 14: return bits >> 8 & 255;
    default: return 0;
    }
}

static uint64_t vary(uint64_t i, uint64_t bits, enum hostile_kind *kind)
{
    uint64_t old = atomic_load_explicit(&target.words[i], memory_order_relaxed);
    static const uint64_t edges[] = { UINT64_C(1) << 32, UINT64_C(1) << 63, UINT64_MAX, UINT64_MAX - 7, INT64_MAX,
                                      UINT32_MAX, UINT64_C(1) << 46, WEIR_SPSC_TAG };
    switch (bits & 7) {
    case 0:
        *kind = HOSTILE_RANDOM;
        return bits >> 3 & 1 ? edges[bits >> 4 & 7] : hostile_random(&target.random);
    case 1:
    case 2:
        *kind = HOSTILE_REPLAY;
        return replay(i, bits >> 3);
    default:
        *kind = HOSTILE_NEAR;
        return near(i, old, bits >> 3);
    }
}

static uint64_t pick(uint64_t bits)
{
    return bits & 1 ? target.control[(bits >> 1) % target.controls] : (bits >> 1) % target.count;
}

void hostile_strike(void)
{
    enum hostile_kind kind;
    uint64_t i = pick(hostile_random(&target.random) >> 16);
    uint64_t value = vary(i, hostile_random(&target.random) >> 16, &kind);
    (void)put(i, value, kind);
}

#ifdef WEIR_ATOMIC_BACKEND

struct hostile_hook hostile_hook = { .countdown = HOSTILE_NEVER, .loads_max = UINT64_MAX };

static struct {
    bool on; /* or chance decides */
    unsigned n, page;
    bool later, struck;
} flip;

void hostile_arm(uint64_t mean_loads)
{
    target.mean = mean_loads;
    flip.on = false;
    hostile_hook.flip = NULL;
    hostile_hook.countdown = HOSTILE_NEVER;
    if (mean_loads != 0)
        hostile_hook.countdown = 1 + hostile_random(&target.random) % (2 * mean_loads - 1);
}

uint64_t hostile_flip_value(uint64_t old, unsigned n)
{
    static const uint64_t fixed[] = {
        0, 1, 7, 8, UINT64_C(1) << 31, UINT64_C(1) << 32, UINT64_C(1) << 46, UINT64_C(1) << 63, UINT64_MAX,
        UINT64_MAX - 7, WEIR_SPSC_DATA, WEIR_SPSC_DATA | 8, WEIR_SPSC_DATA | 64, WEIR_SPSC_DATA | 248,
        WEIR_SPSC_DATA | UINT32_MAX, WEIR_SPSC_PAD, WEIR_SPSC_PAD | 8, WEIR_SPSC_PAD | 120, WEIR_SPSC_PAD | 248,
        WEIR_SPSC_PAD | 504, 64, 128, 256, 512, 3, 4,
    };
    static const int16_t near[] = { 1, -1, 4, 8, -8, 16, -16, 64, -64, 128, -128, 256, -256, 512, -512, 1024, -1024,
                                    2048, -2048, 4096, -4096 };
    _Static_assert(HOSTILE_COUNT(fixed) + HOSTILE_COUNT(near) + 1 == HOSTILE_FLIP_VALUES, "each has its number");
    if (n < HOSTILE_COUNT(fixed))
        return fixed[n];
    n -= (unsigned)HOSTILE_COUNT(fixed);
    return n < HOSTILE_COUNT(near) ? old + (uint64_t)(int64_t)near[n] : ~old;
}

void hostile_flip_load(uint64_t at, bool later, unsigned n, unsigned page)
{
    flip.on = true;
    flip.n = n;
    flip.page = page;
    flip.later = later;
    flip.struck = false;
    hostile_hook.flip = NULL;
    hostile_hook.countdown = at + 1;
}

bool hostile_struck(void) { return flip.struck; }

static void flip_once(uint64_t off)
{
    hostile_hook.countdown = HOSTILE_NEVER;
    flip.struck = true;
    if (off >= target.count * 8)
        return;
    uint64_t i = off / 8, value = hostile_flip_value(atomic_load_explicit(&target.words[i], memory_order_relaxed), flip.n);
    hostile_hook.flip_value = flip.later ? value : put(i, value, HOSTILE_FLIP);
    hostile_hook.flip = &target.words[i];
}

/* Where a word lies that was reached by another mapping: in the page whose word at that place is what it is, of several in
 * any.  loaded may be any word of the process. */
__attribute__((no_sanitize("address"))) static uint64_t find_aliased(const void *loaded)
{
    uint64_t off = (uintptr_t)loaded % 4096 / 8 * 8, pages = target.count / 512;
    uint64_t page = hostile_random(&target.random) % pages;
    uint64_t value = *(const uint64_t *)((uintptr_t)loaded & ~(uintptr_t)7);
    for (uint64_t tries = 0; tries < pages; tries++, page = page + 1 < pages ? page + 1 : 0)
        if (atomic_load_explicit(&target.words[(page * 4096 + off) / 8], memory_order_relaxed) == value)
            break;
    return page * 4096 + off;
}

/* Before a load.  Half of the changes go to the word that is loaded; of those, half are undone or changed again behind
 * the load: what was checked is then not what a second load would see. */
void hostile_mutate(const void *loaded)
{
    uint64_t off = (uint64_t)((const unsigned char *)loaded - target.r->mem);
    if (target.r->row->aliased)
        off = flip.on ? (uintptr_t)loaded % 4096 + flip.page * 4096 : find_aliased(loaded);
    uint64_t i = off / 8;
    if (flip.on) {
        flip_once(off);
        return;
    }
    uint64_t bits = hostile_random(&target.random) >> 8;
    hostile_hook.countdown = 1 + bits % (2 * target.mean - 1);
    if (off >= target.count * 8 || (bits >> 20 & 1) != 0) {
        hostile_strike();
        return;
    }
    enum hostile_kind kind;
    uint64_t value = vary(i, hostile_random(&target.random) >> 16, &kind);
    bool flips = (bits >> 21 & 1) != 0;
    if (flips && (bits >> 22 & 1) != 0) { /* the load sees what was there, the next one something else */
        hostile_hook.flip_value = value;
    } else {
        uint64_t old = put(i, value, flips ? HOSTILE_FLIP : kind);
        hostile_hook.flip_value = bits >> 23 & 3 ? old : vary(i, hostile_random(&target.random) >> 16, &kind);
    }
    if (flips)
        hostile_hook.flip = &target.words[i];
}

void hostile_flip_back(void)
{
    uint64_t i = (uint64_t)((const _Atomic uint64_t *)hostile_hook.flip - target.words);
    hostile_hook.flip = NULL;
    (void)put(i, hostile_hook.flip_value, HOSTILE_FLIP);
}

void hostile_payload_write(void *to, const void *from, uint64_t len)
{
    for (uint64_t off = 0; off < len; off += 8) {
        hostile_storing((unsigned char *)to + off);
        memcpy((unsigned char *)to + off, (const unsigned char *)from + off, len - off < 8 ? len - off : 8);
    }
}

void hostile_payload_read(void *to, const void *from, uint64_t len)
{
    for (uint64_t off = 0; off < len; off += 8) {
        hostile_before((const unsigned char *)from + off);
        memcpy((unsigned char *)to + off, (const unsigned char *)from + off, len - off < 8 ? len - off : 8);
        hostile_behind();
    }
}

#endif
