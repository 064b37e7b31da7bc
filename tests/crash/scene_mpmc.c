/* The work queue for the crash harness.  Consumers 0 and 1 live, 2 and 3 are gone with what they had; 0's operation, or
 * that of one lane's producer, is the one that is lost.  Slot 4 is for whoever takes over in the end.
 *
 * The model keeps, of each record, whether it was published, who has read it, whether it has come as new, whether it is
 * done.  Whatever happens: what was published and is not done comes, what is done does not, nothing comes twice as
 * new. */
#include "crash.h"
#include "storm.h"

#include "ring/kinds.h"

#include <weir/ring/mpmc_layout.h>

#define LANES 2u
#define LIVING 2u /* consumers 0 and 1 */
#define GONE 2u   /* the first of those who are */
#define LAST 4u
#define CONSUMERS 5u
#define RECORDS 56u
#define RECORD_MAX 24u
#define LENGTHS 4u
#define NOBODY 0xffu

enum what { /* the producers' first */
    PUSH, PUSH_MORE, FLUSH, COMMIT, COMMIT_MORE, DRAINED, PRODUCER_ATTACH,
    POP, POP_MORE, PEEK, RELEASE, READY, CONSUMER_ATTACH, RECOVER, DETACH
};

typedef struct lane {
    uint32_t count, sure, may; /* written; certainly published; published if the operation has happened */
    unsigned char len[RECORDS], by[RECORDS]; /* by: who has read it and not given it back */
    bool came[RECORDS], done[RECORDS];
} lane;

typedef struct scene {
    enum what what;
    weir_mpmc_shape shape;
    uint64_t start;
    weir_mpmc_producer p[LANES];
    weir_mpmc_consumer c[CONSUMERS];
    weir_mpmc_lane handles[CONSUMERS][LANES];
    bool lives[CONSUMERS];
    lane lane[LANES];
    uint32_t at, own; /* the lane whose producer's operation it is, and its record */
    /* the operation's arguments, and what it gave */
    uint32_t len, size, got, got_lane;
    weir_status expected, status;
    bool again;
    const void *msg;
    unsigned char in[RECORD_MAX], out[RECORD_MAX];
} scene;

_Static_assert(sizeof(scene) <= CRASH_SCENE_BYTES, "a scene fits into its world");

/* The consumers' handles lie in the scene itself, which may have been copied. */
static scene *scene_of(crash_world *w)
{
    scene *s = (scene *)(void *)w->scene;
    for (uint32_t i = 0; i < CONSUMERS; i++)
        if (s->c[i].lanes != NULL)
            s->c[i].lanes = s->handles[i];
    return s;
}

static bool by_producer(const scene *s) { return s->what <= PRODUCER_ATTACH; }

static uint32_t generation_of(uint32_t i) { return 10 * (i + 1); }

/* ---- records ---- */

static void fill(unsigned char *to, uint32_t i, uint32_t n, uint32_t len)
{
    record_fill(to, i, n, len);
    to[0] = (unsigned char)n;
}

static void model_add(scene *s, uint32_t i, uint32_t len)
{
    lane *l = &s->lane[i];
    CHECK(l->count < RECORDS);
    l->len[l->count] = (unsigned char)len;
    l->by[l->count++] = NOBODY;
}

static void model_show(lane *l) { l->sure = l->may = l->count; }

/* A record has come to that consumer. */
static void deliver(scene *s, uint32_t who, uint32_t i, const void *msg, uint32_t len, bool again)
{
    unsigned char want[RECORD_MAX];
    CHECK(i < s->shape.lanes && len >= 1 && len <= RECORD_MAX);
    lane *l = &s->lane[i];
    uint32_t n = *(const unsigned char *)msg;
    CHECK(n < l->may && len == l->len[n]);
    fill(want, i, n, len);
    CHECK(memcmp(want, msg, len) == 0 && !l->done[n]);
    CHECK(again || !l->came[n]);
    if (n >= l->sure) /* what was seen has happened */
        l->sure = l->may;
    l->came[n] = true;
    l->by[n] = (unsigned char)who;
}

static void model_done(scene *s, uint32_t who)
{
    for (uint32_t i = 0; i < s->shape.lanes; i++)
        for (uint32_t n = 0; n < s->lane[i].count; n++)
            if (s->lane[i].by[n] == who) {
                s->lane[i].done[n] = true;
                s->lane[i].by[n] = NOBODY;
            }
}

static void forget(scene *s, uint32_t who)
{
    s->lives[who] = false;
    for (uint32_t i = 0; i < s->shape.lanes; i++)
        for (uint32_t n = 0; n < s->lane[i].count; n++)
            if (s->lane[i].by[n] == who)
                s->lane[i].by[n] = NOBODY;
}

static uint32_t held(const scene *s, uint32_t who, uint32_t i)
{
    uint32_t count = 0;
    for (uint32_t n = 0; n < s->lane[i].count; n++)
        count += s->lane[i].by[n] == who;
    return count;
}

static uint32_t first_not_done(const lane *l)
{
    uint32_t n = 0;
    while (n < l->count && l->done[n])
        n++;
    return n;
}

/* ---- calls, with the model beside them ---- */

static weir_status put(scene *s, uint32_t i, const void *msg, uint32_t len, bool more)
{
    CHECK(len <= RECORD_MAX);
    return more ? weir_mpmc_push_more(&s->p[i], msg, len) : weir_mpmc_push(&s->p[i], msg, len);
}

/* A real push.  unsure: a frozen consumer may or may not have given room back. */
static bool add(scene *s, uint32_t i, uint32_t len, bool more, bool unsure)
{
    unsigned char msg[RECORD_MAX];
    lane *l = &s->lane[i];
    bool room = l->count - first_not_done(l) < s->shape.slots;
    fill(msg, i, l->count, len);
    weir_status status = put(s, i, msg, len, more);
    CHECK(status == (room ? WEIR_OK : WEIR_FULL) || (unsure && !room && status == WEIR_OK));
    if (status != WEIR_OK)
        return false;
    model_add(s, i, len);
    if (!more)
        model_show(l);
    return true;
}

static void release(scene *s, uint32_t who)
{
    weir_mpmc_release(&s->c[who]);
    model_done(s, who);
}

/* One record.  EMPTY: everything is claimed. */
static weir_status take(scene *s, uint32_t who, bool in_place)
{
    unsigned char buffer[RECORD_MAX];
    const void *msg = buffer;
    uint32_t len = 0, from = LANES;
    bool again = false;
    weir_status status = in_place ? weir_mpmc_peek(&s->c[who], &msg, &len, &from, &again)
                                  : weir_mpmc_pop_more(&s->c[who], buffer, sizeof buffer, &len, &from, &again);
    if (status == WEIR_OK) {
        deliver(s, who, from, msg, len, again);
        return status;
    }
    CHECK(status == WEIR_FULL || status == WEIR_EMPTY);
    uint32_t holds = 0;
    for (uint32_t i = 0; i < s->shape.lanes; i++) {
        uint64_t claimed = weir_mpmc_claim_of(WEIR_ATOMIC_LOAD(s->handles[who][i].claim, RELAXED)).pos - s->start;
        claimed &= WEIR_MPMC_POS_MASK;
        CHECK(status == WEIR_FULL || claimed == s->lane[i].sure || claimed == s->lane[i].may);
        if (status == WEIR_EMPTY && claimed > s->lane[i].sure)
            s->lane[i].sure = s->lane[i].may;
        holds += held(s, who, i);
    }
    CHECK(status == WEIR_EMPTY || holds > 0);
    return status;
}

static void take_all(scene *s, uint32_t who)
{
    weir_status status;
    do {
        while ((status = take(s, who, false)) == WEIR_OK)
            continue;
        release(s, who);
    } while (status == WEIR_FULL);
}

static weir_status attach(crash_world *w, scene *s, uint32_t who, uint32_t generation, uint32_t run_max)
{
    weir_status status = weir_mpmc_consumer_attach(&s->c[who], w->memory, w->bytes, who, generation, run_max,
                                                   s->handles[who], LANES);
    s->lives[who] = status == WEIR_OK;
    s->c[who].near = 1;
    return status;
}

/* The first lane's is near the consumers. */
static weir_status attach_producer(crash_world *w, scene *s, uint32_t which)
{
    weir_status status = weir_mpmc_producer_attach(&s->p[which], w->memory, w->bytes, which);
    s->p[which].near = which + 1;
    return status;
}

static void recover_from(scene *s, uint32_t who, uint32_t gone, uint32_t generation)
{
    CHECK_OK(weir_mpmc_recover(&s->c[who], gone, generation));
}

static void recover_from_the_gone(scene *s, uint32_t who)
{
    for (uint32_t x = GONE; x < LAST; x++)
        recover_from(s, who, x, generation_of(x));
}

/* ---- start states ---- */

enum how { IDLE, HOLDS_ONE, RELEASED_ONE, HOLDS_ALL, UNCONFIRMED, NEVER_TRUE, HOWS };
enum told { NOBODY_TOLD, TOLD_0, TOLD_1, TOLD };

#define START_STATES (UINT64_C(2) * 2 * 8 * 3 * 2 * 5 * HOWS * HOWS * HOWS * HOWS * 2 * TOLD * TOLD * 4 * 3 * 3 * 2)

static void make_ring(crash_world *w, scene *s, uint64_t *state)
{
    static const uint64_t base[] = { 1 << 20, UINT64_C(1) << 32, UINT64_C(1) << 56 };
    s->shape = (weir_mpmc_shape){ .lanes = (uint32_t)crash_digit(state, 2) + 1, .consumers = CONSUMERS,
                                  .slots = crash_digit(state, 2) != 0 ? 4 : 8, .record_max = RECORD_MAX };
    uint64_t offset = crash_digit(state, 8), near = base[crash_digit(state, 3)];
    bool history = crash_digit(state, 2) != 0;
    s->start = near - 12 + offset;
    crash_memory(w, weir_mpmc_footprint(&s->shape), weir_mpmc_tag(s->start, 2) | 8);
    uint64_t first = s->start - (history ? s->shape.slots + 1 : 0);
    CHECK_OK(weir_mpmc_init(w->memory, w->bytes, &s->shape, first));
    for (uint32_t i = 0; i < s->shape.lanes; i++)
        CHECK_OK(attach_producer(w, s, i));
    for (uint32_t x = 0; x < LAST; x++)
        CHECK_OK(attach(w, s, x, generation_of(x), 1 + x));
    for (uint32_t i = 0; i < s->shape.lanes; i++) {
        for (uint64_t pos = first; pos < s->start; pos++) { /* positions of an older lap, by all consumers */
            unsigned char msg[RECORD_MAX] = { 0x99 };
            uint32_t len, from;
            bool again;
            CHECK_OK(weir_mpmc_push(&s->p[i], msg, RECORD_MAX));
            CHECK_OK(weir_mpmc_pop(&s->c[pos % LAST], msg, sizeof msg, &len, &from, &again));
        }
    }
}

static uint32_t length_by(uint64_t choice)
{
    static const uint32_t lens[LENGTHS] = { 8, 1, 13, RECORD_MAX };
    return lens[choice % LENGTHS];
}

static void fill_lane(scene *s, uint32_t i, uint64_t how)
{
    uint32_t most = how == 0 ? 0 : how == 1 ? 1 : how == 2 ? 3 : how == 3 ? s->shape.slots - 1 : s->shape.slots;
    for (uint32_t n = 0; n < most; n++)
        CHECK(add(s, i, length_by(n + i), false, false));
}

/* What a consumer did before: some of it is what only one who is frozen or dead in its claim leaves. */
static void act(scene *s, uint32_t who, enum how how)
{
    if (how == IDLE || take(s, who, who == 1) != WEIR_OK)
        return;
    uint32_t i = s->c[who].at;
    weir_mpmc_lane *of = &s->handles[who][i];
    if (how == RELEASED_ONE || how == NEVER_TRUE)
        release(s, who);
    if (how == HOLDS_ALL)
        while (take(s, who, false) == WEIR_OK)
            continue;
    uint64_t word = weir_load_rlx(of->run), claim = weir_load_rlx(of->claim);
    uint32_t left = weir_mpmc_run_of(word).left;
    if (how == UNCONFIRMED && who >= GONE && claim == weir_mpmc_claim_word(of->end_pos, who) &&
        of->end_pos - of->pos == left) /* nothing is released: it could stand behind its claim */
        weir_store_rlx(of->run, word & ~WEIR_MPMC_CONFIRMED);
}

/* An intent with which it came too late: another has claimed what it wanted. */
static void come_late(scene *s, uint32_t who, uint32_t i)
{
    weir_mpmc_claim claim = weir_mpmc_claim_of(weir_load_rlx(s->handles[who][i].claim));
    weir_atomic_u64 *run = weir_mpmc_run(s->handles[who][i].claim, who);
    uint64_t word = weir_load_rlx(run), from = (claim.pos - 1) & WEIR_MPMC_POS_MASK;
    if (claim.by != who && weir_mpmc_run_of(word).left == 0 && s->lane[i].sure > 0)
        weir_store_rlx(run, weir_mpmc_run_word(from, 1 + i, 0));
}

static void make_start(crash_world *w, unsigned what, uint64_t state)
{
    scene *s = (scene *)(void *)w->scene;
    s->what = (enum what)what;
    make_ring(w, s, &state);
    uint64_t filled = crash_digit(&state, 5);
    enum how how[LAST];
    for (uint32_t x = 0; x < LAST; x++)
        how[x] = (enum how)crash_digit(&state, HOWS);
    bool order = crash_digit(&state, 2) != 0;
    enum told told[LAST - GONE] = { (enum told)crash_digit(&state, TOLD), (enum told)crash_digit(&state, TOLD) };
    uint64_t refill = crash_digit(&state, 4), ghost = crash_digit(&state, 3), batch = crash_digit(&state, 3);
    s->at = (uint32_t)crash_digit(&state, 2) % s->shape.lanes;
    for (uint32_t i = 0; i < s->shape.lanes; i++)
        fill_lane(s, i, (filled + i) % 5);
    for (uint32_t k = 0; k < LAST; k++)
        act(s, order ? k : LAST - 1 - k, how[order ? k : LAST - 1 - k]);
    for (uint32_t x = 0; x < LAST; x++)
        for (uint32_t i = 0; how[x] == NEVER_TRUE && i < s->shape.lanes; i++)
            come_late(s, x, i);
    for (uint32_t x = GONE; x < LAST; x++)
        forget(s, x);
    for (uint32_t x = GONE; x < LAST; x++) {
        if (told[x - GONE] == NOBODY_TOLD)
            continue;
        uint32_t heir = told[x - GONE] == TOLD_0 ? 0 : 1;
        recover_from(s, heir, x, generation_of(x));
        (void)take(s, heir, true);
    }
    for (uint32_t i = 0; i < s->shape.lanes; i++) {
        for (uint64_t n = 0; n < (refill < 3 ? refill : RECORDS) && add(s, i, length_by(n), false, false); n++)
            continue;
        uint64_t ghosts = (ghost + i) % 3 * 2;
        unsigned char msg[8] = { 0xaa };
        for (uint64_t n = 0; n < ghosts && put(s, i, msg, sizeof msg, true) == WEIR_OK; n++)
            continue;
        if (ghosts != 0 && (s->what != PRODUCER_ATTACH || i != s->at))
            CHECK_OK(attach_producer(w, s, i));
        if (s->what == PRODUCER_ATTACH && i == s->at)
            continue;
        for (uint64_t n = 0; n < (batch + i) % 3 && add(s, i, length_by(n + 1), true, false); n++)
            continue;
    }
    s->own = s->lane[s->at].count;
}

/* state's last digits are the operation's own. */
#define RECORD_STATES (START_STATES * LENGTHS * 2)

static void make_producer(crash_world *w, unsigned what, uint64_t state)
{
    make_start(w, what, state % START_STATES);
    scene *s = scene_of(w);
    lane *l = &s->lane[s->at];
    bool other = state / START_STATES / LENGTHS != 0;
    void *slot;
    s->len = length_by(state / START_STATES % LENGTHS);
    s->expected = WEIR_OK;
    if (s->what == FLUSH)
        l->may = l->count;
    if (s->what == DRAINED && (first_not_done(l) < l->count || l->count > l->sure))
        s->expected = WEIR_FULL;
    if (s->what == FLUSH || s->what == DRAINED || s->what == PRODUCER_ATTACH)
        return;
    s->size = other ? RECORD_MAX : s->len;
    if ((s->what == PUSH || s->what == PUSH_MORE) && other && weir_mpmc_reserve(&s->p[s->at], 8, &slot) == WEIR_OK)
        memset(slot, 0x77, 8); /* and given up */
    if (l->count - first_not_done(l) == s->shape.slots)
        s->expected = WEIR_FULL;
    fill(s->in, s->at, s->own, s->len);
    model_add(s, s->at, s->len);
    if (s->what == PUSH || s->what == COMMIT)
        l->may = l->count;
}

static void make_consumer(crash_world *w, unsigned what, uint64_t state)
{
    make_start(w, what, state % START_STATES);
    scene *s = scene_of(w);
    s->size = state / START_STATES % 2 != 0 ? 0 : RECORD_MAX;
    if (s->what == CONSUMER_ATTACH && state / START_STATES / 2 != 0) { /* one that left in order */
        (void)weir_mpmc_consumer_detach(&s->c[0]);
        forget(s, 0);
    }
}

/* ---- the operations ---- */

static void reserve_and_commit(scene *s, bool more)
{
    void *slot = NULL;
    s->status = weir_mpmc_reserve(&s->p[s->at], s->size, &slot);
    if (s->status != WEIR_OK)
        return;
    WEIR_PAYLOAD_WRITE(slot, s->in, s->len);
    s->status = more ? weir_mpmc_commit_more(&s->p[s->at], s->len) : weir_mpmc_commit(&s->p[s->at], s->len);
}

static void recover_the_gone(crash_world *w, scene *s)
{
    uint32_t owner = GONE, generation = generation_of(GONE);
    (void)weir_mpmc_owner(w->memory, w->bytes, GONE, &owner, &generation);
    for (uint32_t x = GONE; x < LAST; x++) {
        weir_status status = weir_mpmc_recover(&s->c[0], x, generation_of(x));
        s->status = status != WEIR_OK ? status : s->status;
    }
}

static void run(crash_world *w)
{
    scene *s = scene_of(w);
    weir_mpmc_consumer *c = &s->c[0];
    switch (s->what) {
    case PUSH:
    case PUSH_MORE:
        s->status = put(s, s->at, s->in, s->len, s->what == PUSH_MORE);
        return;
    case FLUSH:
        weir_mpmc_flush(&s->p[s->at]);
        return;
    case COMMIT:
    case COMMIT_MORE:
        reserve_and_commit(s, s->what == COMMIT_MORE);
        return;
    case DRAINED:
        s->status = weir_mpmc_drained(&s->p[s->at]);
        return;
    case PRODUCER_ATTACH:
        s->status = attach_producer(w, s, s->at);
        return;
    case POP:
        s->status = weir_mpmc_pop(c, s->out, s->size, &s->got, &s->got_lane, &s->again);
        return;
    case POP_MORE: /* by one who is picky first */
        c->picky = 1;
        s->status = weir_mpmc_pop_more(c, s->out, s->size, &s->got, &s->got_lane, &s->again);
        c->picky = 0;
        if (s->status > 0)
            s->status = weir_mpmc_pop_more(c, s->out, s->size, &s->got, &s->got_lane, &s->again);
        return;
    case PEEK:
        s->status = weir_mpmc_peek(c, &s->msg, &s->got, &s->got_lane, &s->again);
        return;
    case RELEASE:
        weir_mpmc_release(c);
        return;
    case READY:
        s->status = weir_mpmc_ready(c);
        return;
    case CONSUMER_ATTACH:
        s->status = attach(w, s, 0, generation_of(0) + 1, 2);
        return;
    case RECOVER:
        recover_the_gone(w, s);
        return;
    default:
        s->status = weir_mpmc_consumer_detach(c);
    }
}

/* ---- what must hold ---- */

static bool reads(const scene *s) { return s->what == POP || s->what == POP_MORE || s->what == PEEK; }

static bool writes(const scene *s) { return by_producer(s) && s->what != FLUSH && s->what < DRAINED; }

/* Everybody on an empty ring, for more than a lap of each lane. */
static void go_on(scene *s)
{
    for (uint32_t round = 0; round < 2 * s->shape.slots + 1; round++)
        for (uint32_t i = 0; i < s->shape.lanes; i++) {
            unsigned char msg[RECORD_MAX], want[RECORD_MAX];
            uint32_t len = length_by(round), got = 0, from = LANES, who = round % 2 != 0 && s->lives[1] ? 1 : LAST;
            bool again = true;
            fill(want, i, round, len);
            CHECK_OK(put(s, i, want, len, round % 3 == 0));
            weir_mpmc_flush(&s->p[i]);
            CHECK_OK(weir_mpmc_ready(&s->c[who]));
            CHECK_OK(weir_mpmc_pop(&s->c[who], msg, sizeof msg, &got, &from, &again));
            CHECK(from == i && got == len && !again && memcmp(msg, want, len) == 0);
            CHECK_STATUS(weir_mpmc_ready(&s->c[LAST]), WEIR_EMPTY);
        }
}

static void recover(crash_world *w, crash_heirs heirs)
{
    scene *s = scene_of(w);
    /* A new producer takes back headers: in a lane whose producer lives, examine puts one only where nobody lives. */
    if (by_producer(s))
        CHECK_OK(attach_producer(w, s, s->at));
    if (heirs == CRASH_NEW_ENDS || by_producer(s) || !s->lives[1])
        return;
    recover_from(s, 1, 0, generation_of(0));
    recover_from(s, 1, 0, generation_of(0) + 1);
    recover_from_the_gone(s, 1);
}

/* Whoever has a slot that does not live is gone: the last one takes it over, and reads what is left. */
static void take_over(crash_world *w, scene *s)
{
    CHECK_OK(attach(w, s, LAST, generation_of(LAST), 3));
    for (uint32_t x = 0; x < LAST; x++) {
        uint32_t owner = 0, generation = 0;
        weir_status status = weir_mpmc_owner(w->memory, w->bytes, x, &owner, &generation);
        if (status == WEIR_OK && (owner == LAST || s->lives[owner]))
            continue;
        CHECK(status == WEIR_OK || status == WEIR_EMPTY);
        if (status == WEIR_OK)
            recover_from(s, LAST, owner, generation);
    }
    take_all(s, LAST);
    for (uint32_t x = 0; x < LAST; x++) {
        uint32_t owner = 0, generation = 0;
        weir_status status = weir_mpmc_owner(w->memory, w->bytes, x, &owner, &generation);
        CHECK(s->lives[x] ? status == WEIR_OK && owner == x : status == WEIR_EMPTY);
    }
}

/* A recovery of the living one's was lost, and so was it: its handle does not know what it had got. */
static bool was_lost(crash_world *w, scene *s, uint32_t who)
{
    for (uint32_t x = 0; x < LAST; x++) {
        uint32_t owner = LAST, generation = 0;
        (void)weir_mpmc_owner(w->memory, w->bytes, x, &owner, &generation);
        if (x != who && owner == who && (s->c[who].adopted[0] >> x & 1) == 0)
            return true;
    }
    return false;
}

/* What has come neither now nor before, and is not known to be done: the lost call's release gave it back, the whole
 * run or nothing of it.  A pop may also have given back the one record that it read. */
static unsigned given_back(scene *s, bool own[LANES][RECORDS])
{
    unsigned happened = 0, read_now = 0;
    for (uint32_t i = 0; i < s->shape.lanes; i++) {
        lane *l = &s->lane[i];
        uint32_t missing = 0, kept = 0;
        for (uint32_t n = 0; n < l->sure; n++) {
            if (own[i][n])
                kept += l->done[n];
            if (l->done[n])
                continue;
            missing++;
            read_now += !own[i][n];
            CHECK(s->what == POP || (s->what == RELEASE && own[i][n]));
        }
        CHECK(missing == 0 || kept == 0);
        happened += missing;
    }
    CHECK(read_now <= 1);
    return happened;
}

static unsigned examine(crash_world *w, crash_heirs heirs)
{
    scene *s = scene_of(w);
    bool own[LANES][RECORDS] = { { false } };
    unsigned happened = 0;
    for (uint32_t i = 0; i < s->shape.lanes; i++) {
        lane *l = &s->lane[i];
        bool lives = heirs == CRASH_SURVIVORS && (!by_producer(s) || i != s->at);
        for (uint32_t n = 0; n < l->count; n++)
            own[i][n] = l->by[n] == 0;
        if (lives)
            continue;
        if (!by_producer(s) || i != s->at)
            CHECK_OK(attach_producer(w, s, i));
        uint32_t there = (uint32_t)((s->p[i].pos - s->start) & WEIR_MPMC_POS_MASK);
        CHECK(there == l->sure || there == l->may);
        happened += there - l->sure;
        l->count = there;
        model_show(l);
    }
    for (uint32_t x = 0; x < LIVING; x++)
        if (heirs == CRASH_NEW_ENDS || (x == 0 && !by_producer(s)) || (s->lives[x] && was_lost(w, s, x)))
            forget(s, x);
    for (uint32_t x = 0; x < LIVING; x++)
        if (s->lives[x])
            take_all(s, x);
    take_over(w, s);
    if (!by_producer(s))
        happened += given_back(s, own);
    for (uint32_t i = 0; i < s->shape.lanes; i++) {
        weir_mpmc_flush(&s->p[i]); /* the batches of those who live are none of the dead one's business */
        model_show(&s->lane[i]);
    }
    take_all(s, LAST);
    for (uint32_t i = 0; i < s->shape.lanes; i++)
        CHECK_OK(weir_mpmc_drained(&s->p[i]));
    go_on(s);
    return happened;
}

static unsigned returned(crash_world *w)
{
    scene *s = scene_of(w);
    unsigned happened = 0;
    if (by_producer(s)) {
        CHECK_STATUS(s->status, s->expected);
        lane *l = &s->lane[s->at];
        return s->what == FLUSH || (writes(s) && s->status == WEIR_OK) ? l->may - l->sure : 0;
    }
    bool releases = s->what == RELEASE || (s->what == POP && s->status == WEIR_OK);
    for (uint32_t i = 0; releases && i < s->shape.lanes; i++)
        happened += held(s, 0, i);
    if (s->what == CONSUMER_ATTACH || s->what == RECOVER)
        CHECK(s->status == WEIR_OK || (s->what == CONSUMER_ATTACH && s->status == WEIR_E_IN_USE));
    return happened + (s->what == POP && s->status == WEIR_OK);
}

/* ---- frozen, not dead ---- */

static void consumer_goes_on(scene *s, uint32_t who, uint64_t choice)
{
    uint32_t most = choice % 4 == 1 ? 1 : RECORDS;
    for (uint32_t n = 0; n < most && take(s, who, choice % 2 != 0) == WEIR_OK; n++)
        continue;
    if (choice % 4 != 3)
        release(s, who);
}

static void producers_go_on(scene *s, uint64_t choice)
{
    uint32_t most = choice % 3 == 1 ? 2 : choice % 3 == 2 ? 1 : RECORDS;
    for (uint32_t i = 0; i < s->shape.lanes; i++) {
        lane *l = &s->lane[i];
        if (by_producer(s) && i == s->at)
            continue;
        if (choice % 5 < 3) {
            weir_mpmc_flush(&s->p[i]);
            model_show(l);
        }
        /* The frozen one may just have given room back. */
        for (uint32_t k = 0; k < most && l->count + 10 < RECORDS; k++)
            if (!add(s, i, length_by(choice + k), false, !by_producer(s)))
                break;
    }
}

static void others(crash_world *w, uint64_t choice)
{
    scene *s = scene_of(w);
    (void)w;
    if (choice % 3 != 0 && s->lives[1])
        recover_from_the_gone(s, 1);
    if (choice % 5 == 0 && s->lives[1]) /* stale news of the frozen one */
        recover_from(s, 1, 0, generation_of(0) - 1);
    if (s->what == CONSUMER_ATTACH && choice % 7 < 3) /* while it takes over its slot, so does another */
        recover_from(s, 1, 0, generation_of(0));
    if (by_producer(s) && s->lives[0])
        consumer_goes_on(s, 0, choice / 2);
    consumer_goes_on(s, 1, choice);
    producers_go_on(s, choice / 3);
    if (choice % 8 >= 4)
        consumer_goes_on(s, 1, choice / 8);
}

static void resumed_producer(scene *s)
{
    lane *l = &s->lane[s->at];
    bool late = s->status == WEIR_OK && s->expected == WEIR_FULL; /* room came meanwhile */
    CHECK(s->what == FLUSH || s->status == s->expected || late);
    if (writes(s) && s->status != WEIR_OK) {
        CHECK(l->sure < l->count || l->may < l->count);
        l->count = s->own;
        l->may = l->may < l->count ? l->may : l->count;
        l->may = l->sure;
    } else if (s->what == FLUSH || s->what == PUSH || s->what == COMMIT) {
        model_show(l);
    }
}

static void resumed_consumer(scene *s)
{
    if (reads(s) && s->status == WEIR_OK)
        deliver(s, 0, s->got_lane, s->what == PEEK ? s->msg : s->out, s->got, s->again);
    if (s->what == RELEASE || (s->what == POP && s->status == WEIR_OK))
        model_done(s, 0);
    if (s->what == READY || reads(s))
        CHECK(s->status >= 0 || s->status == WEIR_E_TOO_SMALL);
    if (s->what == CONSUMER_ATTACH) {
        CHECK(s->status == WEIR_OK || s->status == WEIR_E_IN_USE);
        bool lives = s->status == WEIR_OK;
        forget(s, 0);
        s->lives[0] = lives;
    }
    if (s->what == DETACH) {
        uint32_t holds = 0;
        for (uint32_t i = 0; i < s->shape.lanes; i++)
            holds += held(s, 0, i);
        CHECK(s->status == WEIR_FULL || (s->status == WEIR_OK && holds == 0));
        forget(s, 0);
    }
}

static void resumed(crash_world *w)
{
    scene *s = scene_of(w);
    if (by_producer(s))
        resumed_producer(s);
    else
        resumed_consumer(s);
    for (uint32_t i = 0; i < s->shape.lanes; i++) {
        weir_mpmc_flush(&s->p[i]);
        model_show(&s->lane[i]);
    }
    for (uint32_t x = 0; x < LIVING; x++)
        if (s->lives[x])
            take_all(s, x);
    take_over(w, s);
    for (uint32_t i = 0; i < s->shape.lanes; i++) {
        CHECK(first_not_done(&s->lane[i]) == s->lane[i].count); /* nothing is lost */
        CHECK_OK(weir_mpmc_drained(&s->p[i]));
    }
    go_on(s);
}

static const crash_rules rules = { recover, examine, returned, others, resumed };

#define PRODUCER(name, what, states) { name, what, states, make_producer, run, &rules }
#define CONSUMER(name, what, states) { name, what, states, make_consumer, run, &rules }

static const crash_operation operations[] = {
    PRODUCER("push", PUSH, RECORD_STATES),
    PRODUCER("push_more", PUSH_MORE, RECORD_STATES),
    PRODUCER("flush", FLUSH, START_STATES),
    PRODUCER("commit", COMMIT, RECORD_STATES),
    PRODUCER("commit_more", COMMIT_MORE, RECORD_STATES),
    PRODUCER("drained", DRAINED, START_STATES),
    PRODUCER("producer_attach", PRODUCER_ATTACH, START_STATES),
    CONSUMER("pop", POP, START_STATES * 2),
    CONSUMER("pop_more", POP_MORE, START_STATES * 2),
    CONSUMER("peek", PEEK, START_STATES),
    CONSUMER("release", RELEASE, START_STATES),
    CONSUMER("ready", READY, START_STATES),
    CONSUMER("consumer_attach", CONSUMER_ATTACH, START_STATES * 4),
    CONSUMER("recover", RECOVER, START_STATES),
    CONSUMER("detach", DETACH, START_STATES),
};

const crash_ring crash_ring_mpmc = {
    .name = "mpmc",
    .operations = operations,
    .count = sizeof operations / sizeof operations[0],
    .storms = storm_mpmc,
    .storm_count = STORM_MPMC_COUNT,
};
