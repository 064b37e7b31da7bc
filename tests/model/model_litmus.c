/* tests/model/model_litmus.c - the explorer itself: small programs whose possible outcomes are known.
 *
 * An outcome is a number made of what the threads read (or of the last values); each that RC11 allows must be reached
 * and no other may be.  The names are those of the literature (Alglave, Maranget, Tautschnig 2014: Herding cats;
 * Lahav, Vafeiadis, Kang, Hur, Dreyer 2017: Repairing sequential consistency in C/C++11, which is RC11). */
#include <weir/base/atomic.h>

#include "explorer.h"

static struct {
    weir_atomic_u64 x, y, z;
    uint64_t bytes;
} shared;
static _Alignas(8) weir_atomic_u32 futex;

static uint64_t r[4];

#define LOAD(a, order) WEIR_ATOMIC_LOAD(&shared.a, order)
#define STORE(a, value, order) WEIR_ATOMIC_STORE(&shared.a, (uint64_t)(value), order)

static void setup(void)
{
    model_zero(r, sizeof r);
    model_share("shared", &shared, sizeof shared, 0);
    model_share("futex", &futex, sizeof futex, 0);
}

static void outcome(uint64_t number, uint32_t allowed)
{
    MODEL_ASSERT((allowed >> number & 1) != 0);
    model_reached(UINT32_C(1) << number);
}

/* A litmus test: its threads, the outcomes that are allowed, and how one is numbered. */
#define LITMUS(id, title, allowed, number, ...)                                                                        \
    static void id##_check(void) { outcome((number), (allowed)); }                                                     \
    MODEL(id) = { .name = "litmus: " title, .setup = setup, .threads = { __VA_ARGS__ }, .check = id##_check,           \
                  .preemptions = 9, .stale = 9, .must_reach = (allowed), .random = 1000, .kills = 1 }
#define THREAD(function) { #function, function, 0, false }
#define R01 (r[0] * 2 + r[1])
#define ALL_OF_4 0xfu
#define NOT_00 0xeu
#define NOT_10 0xbu
#define NOT_11 0x7u

/* ---- MP: message passing ---- */

static void mp_writes_rlx(void) { STORE(x, 1, RELAXED), STORE(y, 1, RELAXED); }
static void mp_writes_rel(void) { STORE(x, 1, RELAXED), STORE(y, 1, RELEASE); }
static void mp_writes_fence(void) { STORE(x, 1, RELAXED), weir_fence_rel(), STORE(y, 1, RELAXED); }
static void mp_reads_rlx(void) { r[0] = LOAD(y, RELAXED), r[1] = LOAD(x, RELAXED); }
static void mp_reads_acq(void) { r[0] = LOAD(y, ACQUIRE), r[1] = LOAD(x, RELAXED); }
static void mp_reads_fence(void) { r[0] = LOAD(y, RELAXED), weir_fence_acq(), r[1] = LOAD(x, RELAXED); }

LITMUS(mp, "MP", ALL_OF_4, R01, THREAD(mp_writes_rlx), THREAD(mp_reads_rlx));
LITMUS(mp_rel_rlx, "MP rel rlx", ALL_OF_4, R01, THREAD(mp_writes_rel), THREAD(mp_reads_rlx));
LITMUS(mp_rlx_acq, "MP rlx acq", ALL_OF_4, R01, THREAD(mp_writes_rlx), THREAD(mp_reads_acq));
LITMUS(mp_rel_acq, "MP rel acq", NOT_10, R01, THREAD(mp_writes_rel), THREAD(mp_reads_acq));
LITMUS(mp_fence_acq, "MP fence acq", NOT_10, R01, THREAD(mp_writes_fence), THREAD(mp_reads_acq));
LITMUS(mp_rel_fence, "MP rel fence", NOT_10, R01, THREAD(mp_writes_rel), THREAD(mp_reads_fence));
LITMUS(mp_fences, "MP fence fence", NOT_10, R01, THREAD(mp_writes_fence), THREAD(mp_reads_fence));

/* ---- release sequences: through read-modify-writes they go on, through a store (since C++20) they do not ---- */

static void rs_store_behind(void) { STORE(x, 1, RELAXED), STORE(y, 1, RELEASE), STORE(y, 2, RELAXED); }
static void rs_adds(void) { WEIR_ATOMIC_ADD(&shared.y, (uint64_t)2, RELAXED); }
static void rs_reads(void)
{
    uint64_t y = LOAD(y, ACQUIRE), x = LOAD(x, RELAXED);
    r[0] = y == 3, r[1] = x;
}
static void rs_reads_2(void)
{
    uint64_t y = LOAD(y, ACQUIRE), x = LOAD(x, RELAXED);
    r[0] = y == 2, r[1] = x;
}

/* y is 3 after 1 and then +2, or (stored last, 1) not at all: outcome 10 is "3, but not x". */
LITMUS(rs, "release sequence through an add", NOT_10, R01, THREAD(mp_writes_rel), THREAD(rs_adds), THREAD(rs_reads));
LITMUS(rs_none, "no release sequence through a store", ALL_OF_4, R01, THREAD(rs_store_behind), THREAD(rs_reads_2));

/* ---- SB: store buffering, the shape of the sleep/wake handshake ---- */

static void sb_0(void) { STORE(x, 1, RELAXED), r[0] = LOAD(y, RELAXED); }
static void sb_1(void) { STORE(y, 1, RELAXED), r[1] = LOAD(x, RELAXED); }
static void sb_0_sc(void) { STORE(x, 1, RELAXED), weir_fence_sc(), r[0] = LOAD(y, RELAXED); }
static void sb_1_sc(void) { STORE(y, 1, RELAXED), weir_fence_sc(), r[1] = LOAD(x, RELAXED); }
static void sb_0_acq_rel(void) { STORE(x, 1, RELEASE), weir_fence_rel(), weir_fence_acq(), r[0] = LOAD(y, ACQUIRE); }
static void sb_0_light(void) { STORE(x, 1, RELAXED), weir_fence_compiler(), r[0] = LOAD(y, RELAXED); }
static void sb_1_light(void) { STORE(y, 1, RELAXED), weir_fence_compiler(), r[1] = LOAD(x, RELAXED); }
static void sb_1_heavy(void) { STORE(y, 1, RELAXED), model_fence_others(), r[1] = LOAD(x, RELAXED); }

LITMUS(sb, "SB", ALL_OF_4, R01, THREAD(sb_0), THREAD(sb_1));
LITMUS(sb_one, "SB one full fence", ALL_OF_4, R01, THREAD(sb_0_sc), THREAD(sb_1));
LITMUS(sb_acq_rel, "SB acq and rel fences", ALL_OF_4, R01, THREAD(sb_0_acq_rel), THREAD(sb_1_sc));
LITMUS(sb_sc, "SB full fences", NOT_00, R01, THREAD(sb_0_sc), THREAD(sb_1_sc));
LITMUS(sb_others, "SB membarrier", NOT_00, R01, THREAD(sb_0_light), THREAD(sb_1_heavy));
LITMUS(sb_not_light, "SB membarrier, no compiler fence", ALL_OF_4, R01, THREAD(sb_0), THREAD(sb_1_heavy));
LITMUS(sb_not_heavy, "SB compiler fences alone", ALL_OF_4, R01, THREAD(sb_0_light), THREAD(sb_1_light));

/* ---- coherence, and its absence between words ---- */

static void co_writes(void) { STORE(x, 1, RELAXED), STORE(x, 2, RELAXED); }
static void co_reads(void) { r[0] = LOAD(x, RELAXED), r[1] = LOAD(x, RELAXED); }
static void ww_0(void) { STORE(x, 1, RELAXED), STORE(y, 2, RELAXED); }
static void ww_1(void) { STORE(y, 1, RELAXED), STORE(x, 2, RELAXED); }
static void ww_0_sc(void) { STORE(x, 1, RELAXED), weir_fence_sc(), STORE(y, 2, RELAXED); }
static void ww_1_sc(void) { STORE(y, 1, RELAXED), weir_fence_sc(), STORE(x, 2, RELAXED); }
static void s_0(void) { STORE(x, 2, RELAXED), STORE(y, 1, RELEASE); }
static void s_1(void) { r[0] = LOAD(y, ACQUIRE), STORE(x, 1, RELAXED); }
static void s_1_rlx(void) { r[0] = LOAD(y, RELAXED), STORE(x, 1, RELAXED); }
static void lb_0(void) { r[0] = LOAD(x, RELAXED), STORE(y, 1, RELAXED); }
static void lb_1(void) { r[1] = LOAD(y, RELAXED), STORE(x, 1, RELAXED); }

/* 00 01 02 11 12 22 as base 3 */
LITMUS(corr, "CoRR", 1u << 0 | 1u << 1 | 1u << 2 | 1u << 4 | 1u << 5 | 1u << 8, r[0] * 3 + r[1], THREAD(co_writes),
       THREAD(co_reads));
/* bit 1: x ends as 1; bit 0: y ends as 1 */
#define LAST_X1_Y1 ((uint64_t)(LOAD(x, RELAXED) == 1) * 2 + (LOAD(y, RELAXED) == 1))
LITMUS(ww, "2+2W", ALL_OF_4, LAST_X1_Y1, THREAD(ww_0), THREAD(ww_1));
LITMUS(ww_sc, "2+2W full fences", NOT_11, LAST_X1_Y1, THREAD(ww_0_sc), THREAD(ww_1_sc));
/* bit 1: y was seen; bit 0: x ends as 2 all the same */
#define S_OUTCOME (r[0] * 2 + (LOAD(x, RELAXED) == 2))
LITMUS(s, "S rel acq", NOT_11, S_OUTCOME, THREAD(s_0), THREAD(s_1));
LITMUS(s_rlx, "S rel rlx", ALL_OF_4, S_OUTCOME, THREAD(s_0), THREAD(s_1_rlx));
LITMUS(lb, "LB (RC11 forbids it)", NOT_11, R01, THREAD(lb_0), THREAD(lb_1));

/* ---- IRIW: two readers, two writers ---- */

static void iriw_x(void) { STORE(x, 1, RELEASE); }
static void iriw_y(void) { STORE(y, 1, RELEASE); }
static void iriw_xy(void) { r[0] = LOAD(x, ACQUIRE), r[1] = LOAD(y, ACQUIRE); }
static void iriw_yx(void) { r[2] = LOAD(y, ACQUIRE), r[3] = LOAD(x, ACQUIRE); }
static void iriw_xy_sc(void) { r[0] = LOAD(x, RELAXED), weir_fence_sc(), r[1] = LOAD(y, RELAXED); }
static void iriw_yx_sc(void) { r[2] = LOAD(y, RELAXED), weir_fence_sc(), r[3] = LOAD(x, RELAXED); }

#define R0123 (r[0] * 8 + r[1] * 4 + r[2] * 2 + r[3])
LITMUS(iriw, "IRIW acq", 0xffffu, R0123, THREAD(iriw_x), THREAD(iriw_y), THREAD(iriw_xy), THREAD(iriw_yx));
LITMUS(iriw_sc, "IRIW full fences", 0xfbffu, R0123, THREAD(iriw_x), THREAD(iriw_y), THREAD(iriw_xy_sc),
       THREAD(iriw_yx_sc));

/* ---- read-modify-writes are not torn apart ---- */

static void add_0(void) { r[0] = WEIR_ATOMIC_ADD(&shared.x, (uint64_t)1, RELAXED); }
static void add_1(void) { r[1] = WEIR_ATOMIC_ADD(&shared.x, (uint64_t)1, RELAXED); }
static void stores_5(void) { STORE(x, 5, RELAXED); }
static void cas(uint64_t desired, uint64_t *won)
{
    uint64_t expected = 0;
    *won = WEIR_ATOMIC_CAS(&shared.x, &expected, desired, ACQ_REL);
    MODEL_ASSERT(*won != 0 || expected != 0);
}
static void cas_0(void) { cas(1, &r[0]); }
static void cas_1(void) { cas(2, &r[1]); }

LITMUS(adds, "two adds", 1u << 1 | 1u << 2, r[0] * 2 + r[1] + (LOAD(x, RELAXED) == 2 ? 0 : 4), THREAD(add_0),
       THREAD(add_1));
/* the store comes last, (seen or not) before, or between: 5, 6, 1 for none */
LITMUS(add_store, "an add and a store", 1u << 5 | 1u << 6, LOAD(x, RELAXED), THREAD(add_0), THREAD(stores_5));
LITMUS(two_cas, "two compare-and-swaps", 1u << 1 | 1u << 2, R01, THREAD(cas_0), THREAD(cas_1));

/* ---- data races ---- */

static const uint64_t payload = 7;
static void race_writes_rel(void) { WEIR_PAYLOAD_WRITE(&shared.bytes, &payload, 8), STORE(y, 1, RELEASE); }
static void race_writes_rlx(void) { WEIR_PAYLOAD_WRITE(&shared.bytes, &payload, 8), STORE(y, 1, RELAXED); }
static void race_writes_sc(void)
{
    WEIR_PAYLOAD_WRITE(&shared.bytes, &payload, 8);
    STORE(x, 1, RELAXED), weir_fence_sc();
}
static void race_reads(void)
{
    if ((r[0] = LOAD(y, ACQUIRE)) != 0)
        WEIR_PAYLOAD_READ(&r[1], &shared.bytes, 8);
}
/* A full fence on both sides, but nothing read from the other: no synchronisation (in C11; on machines too). */
static void race_reads_sc(void)
{
    weir_fence_sc();
    if ((r[0] = LOAD(x, RELAXED)) == 0)
        WEIR_PAYLOAD_READ(&r[1], &shared.bytes, 8);
}

LITMUS(no_race, "payload, rel acq", 1u << 0 | 1u << 2, r[0] * 2 + (r[0] != 0 && r[1] != 7), THREAD(race_writes_rel),
       THREAD(race_reads));
MODEL(race) = { .name = "litmus: payload, rlx acq", .setup = setup, .preemptions = 9, .stale = 9,
                .threads = { THREAD(race_writes_rlx), THREAD(race_reads) }, .must_fail = "data race" };
MODEL(race_sc) = { .name = "litmus: payload, full fences alone", .setup = setup, .preemptions = 9, .stale = 9,
                   .threads = { THREAD(race_writes_sc), THREAD(race_reads_sc) }, .must_fail = "data race" };

/* ---- deaths and sleeps ---- */

static void dies(void) { STORE(x, 1, RELAXED), STORE(x, 2, RELAXED), STORE(y, 1, RELAXED); }
static void succeeds(void) { r[0] = LOAD(y, RELAXED), r[1] = LOAD(x, RELAXED); }
static void sleeps(void) { model_sleep(&futex, 0), r[0] = 1; }
static void wakes(void)
{
    WEIR_ATOMIC_STORE(&futex, (uint32_t)1, RELAXED);
    model_wake(&futex);
}
static void dozes(void) { model_sleep(&futex, 0); }
static void wakes_without_a_word(void) { model_wake(&futex); }

/* killed before each of three stores, or not: 0 1 2, and 2 with y; the successor sees just that */
LITMUS(deaths, "killed at each store", 1u << 0 | 1u << 1 | 1u << 2 | 1u << 5, r[0] * 3 + r[1],
       { "dies", dies, 0, true }, { "succeeds", succeeds, 1, false });
LITMUS(sleep, "sleep and wake", 1u << 1, r[0], THREAD(sleeps), THREAD(wakes));
MODEL(sleep_lost) = { .name = "litmus: a wake that is lost", .setup = setup, .preemptions = 9, .stale = 9,
                      .threads = { THREAD(dozes), THREAD(wakes_without_a_word) }, .must_fail = "nobody is left" };
