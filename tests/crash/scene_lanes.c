/* Rings of lanes for the crash harness: their operations' start states, and what must hold wherever one of them ends.
 * In the ordered ring a record also has its place among those of all lanes. */
#include "scene_lanes.h"

#include "ring/kinds.h"
#include "ring/spsc_rig.h"

#include <weir/ring/mpsc_layout.h>

#define LANES 3u
#define RECORDS 44u
#define BYTES_MAX 64u
#define LENGTHS 6u
#define BATCH_LEN 7u

/* The model counts a lane's records from the first one that was not released when the operation began. */
typedef struct lane {
    uint64_t pos[RECORDS + 1]; /* where record i begins */
    uint32_t len[RECORDS];
    uint32_t early[RECORDS], late[RECORDS]; /* between these times its stamp was drawn */
    uint32_t shown[RECORDS];                /* when it was published */
    uint32_t count;
    uint32_t released[2]; /* before the operation, and once it has happened */
    uint32_t committed[2];
    uint32_t committed_late; /* as many, if the consumer makes room meanwhile */
    uint32_t read;
    uint32_t batch;
} lane;

typedef struct scene {
    ring r;
    enum lanes_what what;
    uint32_t extra; /* bytes of a record before its payload */
    uint32_t clock;
    uint32_t at;  /* the lane whose producer's operation it is */
    uint32_t own; /* its record */
    lane lane[LANES];
    /* the operation's arguments, and what it gave */
    uint32_t len, reserved, size;
    weir_status expected, status;
    uint32_t got, got_lane;
    const void *msg;
    unsigned char in[BYTES_MAX], out[BYTES_MAX];
} scene;

_Static_assert(sizeof(scene) <= CRASH_SCENE_BYTES, "a scene fits into its world");

/* The consumer's handles lie in the scene itself, which may have been copied. */
static scene *scene_of(crash_world *w)
{
    scene *s = (scene *)(void *)w->scene;
    if (s->extra != 0)
        s->r.rx.ordered.lanes = s->r.ordered_lanes;
    else
        s->r.rx.mpsc.lanes = s->r.lanes;
    s->r.mem = w->memory;
    return s;
}

static bool by_producer(const scene *s) { return s->what <= LANES_PRODUCER_ATTACH; }

static bool ordered(const scene *s) { return s->extra != 0; }

/* ---- calls that kinds.h has not ---- */

static weir_status pop(scene *s, void *buffer, uint32_t size, uint32_t *len, uint32_t *from)
{
    return ordered(s) ? weir_mpsc_ordered_pop(&s->r.rx.ordered, buffer, size, len, from)
                      : weir_mpsc_pop(&s->r.rx.mpsc, buffer, size, len, from);
}

static weir_status peek(scene *s, const void **msg, uint32_t *len, uint32_t *from)
{
    return ordered(s) ? weir_mpsc_ordered_peek(&s->r.rx.ordered, msg, len, from)
                      : weir_mpsc_peek(&s->r.rx.mpsc, msg, len, from);
}

static void release(ring *r)
{
    if (r->kind->one_order)
        weir_mpsc_ordered_release(&r->rx.ordered);
    else
        weir_mpsc_release(&r->rx.mpsc);
}

static uint64_t producer_pos(const scene *s, uint32_t i)
{
    return ordered(s) ? s->r.tx.ordered[i].lane.pos : s->r.tx.lane[i].pos;
}

/* ---- the model ---- */

static bool fits(const scene *s, uint32_t i, uint64_t len)
{
    const lane *l = &s->lane[i];
    return rig_fits(s->r.capacity, l->pos[l->released[0]], l->pos[l->count], len + s->extra);
}

static void model_add(scene *s, uint32_t i, uint64_t reserved, uint64_t len)
{
    lane *l = &s->lane[i];
    CHECK(l->count < RECORDS);
    uint64_t start = rig_end(s->r.capacity, l->pos[l->count], reserved + s->extra) - rig_size(reserved + s->extra);
    l->pos[l->count + 1] = start + rig_size(len + s->extra);
    l->len[l->count] = (uint32_t)len;
    l->early[l->count] = l->late[l->count] = ++s->clock;
    l->count++;
}

static void settle(lane *l, uint32_t count)
{
    l->committed[0] = l->committed[1] = l->committed_late = count;
}

/* All that is in the lane is published. */
static void model_show(scene *s, uint32_t i)
{
    lane *l = &s->lane[i];
    s->clock++;
    for (uint32_t k = l->committed[0]; k < l->count; k++)
        l->shown[k] = s->clock;
    settle(l, l->count);
    l->batch = 0;
}

/* A real push, which must agree with the model about the room. */
static bool add(scene *s, uint32_t i, uint64_t len, bool more)
{
    unsigned char msg[BYTES_MAX];
    bool room = fits(s, i, len);
    record_fill(msg, i, s->lane[i].count, len);
    CHECK_STATUS(s->r.kind->push(&s->r, i, msg, len, more), room ? WEIR_OK : WEIR_FULL);
    if (!room)
        return false;
    model_add(s, i, len, len);
    if (more)
        s->lane[i].batch++;
    else
        model_show(s, i);
    return true;
}

static void flush(scene *s, uint32_t i)
{
    s->r.kind->flush(&s->r, i);
    model_show(s, i);
}

/* The record is the lane's next, and none that comes before it waits elsewhere.  others_at_work: only what was
 * published before it must have been seen. */
static void expect_next(const scene *s, uint32_t i, const void *msg, uint32_t len, bool others_at_work)
{
    CHECK(i < s->r.producers && s->lane[i].read < s->lane[i].count);
    const lane *l = &s->lane[i];
    uint32_t at = l->read;
    CHECK(len == l->len[at] && record_is(msg, i, at, len));
    for (uint32_t k = 0; ordered(s) && k < s->r.producers; k++) {
        const lane *o = &s->lane[k];
        bool waits = k != i && o->read < o->committed[0];
        if (waits && (!others_at_work || o->shown[o->read] < l->shown[at]))
            CHECK(o->late[o->read] > l->early[at]);
    }
}

static bool may_be_committed(const lane *l, uint32_t count)
{
    return count == l->committed[0] || count == l->committed[1] || count == l->committed_late;
}

/* Reads up to `most` records.  EMPTY comes only where every lane is read to an end that it may have. */
static void read_some(scene *s, uint32_t most)
{
    for (; most > 0; most--) {
        unsigned char buffer[BYTES_MAX];
        const void *msg = buffer;
        uint32_t len = 0, from = LANES;
        uint64_t lost;
        weir_status status = most % 2 != 0 ? peek(s, &msg, &len, &from)
                                           : s->r.kind->pop_more(&s->r, buffer, sizeof buffer, &len, &from, &lost);
        if (status == WEIR_EMPTY) {
            CHECK_STATUS(s->r.kind->ready(&s->r), WEIR_EMPTY);
            for (uint32_t i = 0; i < s->r.producers; i++)
                CHECK(may_be_committed(&s->lane[i], s->lane[i].read));
            return;
        }
        CHECK_OK(status);
        expect_next(s, from, msg, len, false);
        s->lane[from].read++;
    }
}

static void read_all(scene *s) { read_some(s, LANES * RECORDS); }

/* The lane whose record comes next; LANES: none. */
static uint32_t next_lane(const scene *s)
{
    uint32_t best = LANES, first = ordered(s) ? 0 : s->r.rx.mpsc.at + (s->r.rx.mpsc.left == 0);
    for (uint32_t n = 0; n < s->r.producers; n++) {
        uint32_t i = (first + n) % s->r.producers;
        const lane *l = &s->lane[i], *b = &s->lane[best % LANES];
        if (l->read == l->committed[0])
            continue;
        if (best == LANES || (ordered(s) && l->early[l->read] < b->early[b->read]))
            best = i;
    }
    return best;
}

/* ---- start states ---- */

_Static_assert(LANES_START_STATES == 2 * 16 * 4 * 3 * 3 * 5 * 3 * 4 * 3 * 3, "every digit is used");

static void make_ring(crash_world *w, scene *s, uint64_t *state)
{
    static const uint64_t base[] = { 1 << 20, UINT64_C(1) << 32, UINT64_C(1) << 63, 0 };
    uint64_t capacity = crash_digit(state, 2) != 0 ? 64 : 128;
    uint64_t offset = crash_digit(state, 16) * 8, near = base[crash_digit(state, 4)];
    uint64_t history = crash_digit(state, 3), start = near - 64 + offset;
    uint32_t lanes = (uint32_t)crash_digit(state, 3) + 1;
    crash_memory(w, weir_mpsc_footprint(lanes, capacity), history != 1 ? WEIR_SPSC_DATA : 0);
    s->r = (ring){ .kind = &ring_kinds[ordered(s) ? 2 : 1], .mem = w->memory, .bytes = w->bytes, .capacity = capacity,
                   .producers = lanes };
    if (ordered(s))
        CHECK_OK(weir_mpsc_ordered_init(w->memory, w->bytes, lanes, capacity, start, near - offset / 8));
    else
        CHECK_OK(weir_mpsc_init(w->memory, w->bytes, lanes, capacity, start));
    ring_attach(&s->r);
    for (uint32_t i = 0; i < lanes; i++)
        s->lane[i].pos[0] = start;
    for (uint64_t k = 0, end = history == 2 ? capacity / 8 * lanes : 0; k < end; k++) {
        unsigned char msg[BYTES_MAX] = { 0 };
        uint32_t i = (uint32_t)k % lanes, len = (uint32_t)k % 2 * 7, got = 0, from = 0;
        CHECK_OK(s->r.kind->push(&s->r, i, msg, len, false));
        CHECK_OK(pop(s, msg, sizeof msg, &got, &from));
        s->lane[i].pos[0] = rig_end(capacity, s->lane[i].pos[0], len + s->extra);
    }
}

/* Is there room for the batch and the operation's own record behind one more that is empty? */
static bool leaves_room(const scene *s, uint32_t i, uint32_t batch, uint64_t own)
{
    const lane *l = &s->lane[i];
    uint64_t end = rig_end(s->r.capacity, l->pos[l->count], s->extra);
    for (; batch > 0; batch--)
        end = rig_end(s->r.capacity, end, BATCH_LEN + s->extra);
    return rig_fits(s->r.capacity, l->pos[0], end, own + s->extra);
}

static void fill_lane(scene *s, uint32_t i, uint64_t how, uint32_t batch, uint64_t own)
{
    switch (how) {
    case 0: /* empty */
        return;
    case 1:
        (void)add(s, i, 5, false);
        return;
    case 2:
        (void)(add(s, i, 0, false) && add(s, i, 8, false) && add(s, i, 3, false));
        return;
    case 3: /* one left */
        while (leaves_room(s, i, batch, own) && add(s, i, 0, false))
            continue;
        return;
    default: /* full */
        while (add(s, i, 0, false))
            continue;
    }
}

/* A producer that died in the middle of a batch, and in the middle of a payload. */
static void leave_ghost(scene *s, uint32_t i, uint64_t how)
{
    static const unsigned char bytes[7] = { 0x69, 0x77 };
    void *slot = NULL;
    uint32_t left = how == 0 ? 0 : how == 1 ? 2 : RECORDS;
    for (uint32_t k = 0; k < left && s->r.kind->push(&s->r, i, bytes, sizeof bytes, true) == WEIR_OK; k++)
        continue;
    if (how == 1 && s->r.kind->reserve(&s->r, i, 8, &slot) == WEIR_OK)
        memcpy(slot, bytes, 5);
    if (how != 0)
        CHECK_OK(s->r.kind->attach_producer(&s->r, i));
}

static uint64_t length_by(const scene *s, uint64_t choice)
{
    static const uint64_t lens[LENGTHS - 1] = { 0, 1, 8, 13, 24 };
    uint64_t max = s->r.kind->record_max(s->r.capacity);
    return choice < LENGTHS - 1 && lens[choice] < max ? lens[choice] : max;
}

/* The lanes differ in all; `own_choice` is the length of the record that one-left leaves room for. */
static void make_start(crash_world *w, unsigned what, uint64_t state, uint64_t own_choice)
{
    scene *s = (scene *)(void *)w->scene;
    s->what = (enum lanes_what)(what % LANES_ORDERED);
    s->extra = what >= LANES_ORDERED ? WEIR_MPSC_STAMP : 0;
    make_ring(w, s, &state);
    uint64_t fill = crash_digit(&state, 5), ghost = crash_digit(&state, 3), behind = crash_digit(&state, 4);
    uint32_t batch = (uint32_t)crash_digit(&state, 3), lanes = s->r.producers;
    s->at = (uint32_t)state % lanes;
    for (uint32_t k = 0; k < lanes; k++)
        fill_lane(s, (s->at + k) % lanes, (fill + k) % 5, (batch + k) % 3, length_by(s, own_choice));
    for (uint32_t k = 0; k < lanes; k++)
        leave_ghost(s, k, (ghost + k) % 3);
    read_some(s, behind < 3 ? (uint32_t)behind : LANES * RECORDS);
    for (uint32_t k = 0; k < lanes; k++) {
        uint32_t i = (s->at + k) % lanes, wanted = (batch + k) % 3;
        if (s->what == LANES_PRODUCER_ATTACH && k == 0)
            continue; /* that producer is not there yet */
        while (s->lane[i].batch < wanted && add(s, i, BATCH_LEN, true))
            continue;
    }
    s->own = s->lane[s->at].count;
}

/* state's last digits are the operation's own. */
void lanes_make_producer(crash_world *w, unsigned what, uint64_t state)
{
    uint64_t own = state / LANES_START_STATES % LENGTHS, more = state / LANES_START_STATES / LENGTHS;
    make_start(w, what, state % LANES_START_STATES, own);
    scene *s = scene_of(w);
    lane *l = &s->lane[s->at];
    void *slot;
    s->len = (uint32_t)length_by(s, own);
    s->expected = WEIR_OK;
    if (s->what == LANES_PRODUCER_ATTACH)
        return;
    if (s->what == LANES_FLUSH) {
        l->committed[1] = l->committed_late = s->own;
        return;
    }
    bool commit = s->what == LANES_COMMIT || s->what == LANES_COMMIT_MORE;
    s->reserved = commit && more != 0 ? s->r.kind->record_max(s->r.capacity) : s->len;
    if (!commit && more != 0 && s->r.kind->reserve(&s->r, s->at, 8, &slot) == WEIR_OK)
        memset(slot, 0x77, 8); /* and given up */
    bool room = fits(s, s->at, s->reserved);
    s->expected = room ? WEIR_OK : WEIR_FULL;
    record_fill(s->in, s->at, s->own, s->len);
    model_add(s, s->at, s->reserved, s->len);
    l->late[s->own] = UINT32_MAX; /* whatever is pushed meanwhile may come before it or behind it */
    l->shown[s->own] = UINT32_MAX;
    if (s->what == LANES_PUSH || s->what == LANES_COMMIT)
        l->committed[1] = l->committed_late = room ? s->own + 1 : l->committed[0];
}

void lanes_make_consumer(crash_world *w, unsigned what, uint64_t state)
{
    make_start(w, what, state % LANES_START_STATES, 2);
    scene *s = scene_of(w);
    if (s->what == LANES_CONSUMER_ATTACH)
        for (uint32_t i = 0; i < LANES; i++)
            s->lane[i].read = 0;
    uint32_t next = next_lane(s);
    bool takes = s->what == LANES_POP || s->what == LANES_POP_MORE;
    s->size = BYTES_MAX;
    s->expected = next == LANES && (takes || s->what == LANES_PEEK || s->what == LANES_READY) ? WEIR_EMPTY : WEIR_OK;
    uint32_t len = next != LANES ? s->lane[next].len[s->lane[next].read] : 0;
    if (takes && state >= LANES_START_STATES && len > 0) {
        s->size = len - 1;
        s->expected = WEIR_E_TOO_SMALL;
    }
    bool releases = s->what == LANES_RELEASE || (s->what == LANES_POP && s->expected == WEIR_OK);
    for (uint32_t i = 0; releases && i < s->r.producers; i++) {
        bool popped = s->what == LANES_POP && i == next;
        s->lane[i].released[1] = s->lane[i].read + popped;
    }
}

/* ---- the operations ---- */

static void reserve_and_commit(scene *s, bool more)
{
    void *slot = NULL;
    s->status = s->r.kind->reserve(&s->r, s->at, s->reserved, &slot);
    if (s->status != WEIR_OK)
        return;
    if (s->len > 0)
        WEIR_PAYLOAD_WRITE(slot, s->in, s->len);
    s->status = s->r.kind->commit(&s->r, s->at, s->len, more);
}

void lanes_run(crash_world *w)
{
    scene *s = scene_of(w);
    uint64_t lost;
    switch (s->what) {
    case LANES_PUSH:
    case LANES_PUSH_MORE:
        s->status = s->r.kind->push(&s->r, s->at, s->in, s->len, s->what == LANES_PUSH_MORE);
        return;
    case LANES_FLUSH:
        s->r.kind->flush(&s->r, s->at);
        return;
    case LANES_COMMIT:
    case LANES_COMMIT_MORE:
        reserve_and_commit(s, s->what == LANES_COMMIT_MORE);
        return;
    case LANES_PRODUCER_ATTACH:
        s->status = s->r.kind->attach_producer(&s->r, s->at);
        return;
    case LANES_POP:
        s->status = pop(s, s->out, s->size, &s->got, &s->got_lane);
        return;
    case LANES_POP_MORE:
        s->status = s->r.kind->pop_more(&s->r, s->out, s->size, &s->got, &s->got_lane, &lost);
        return;
    case LANES_PEEK:
        s->status = peek(s, &s->msg, &s->got, &s->got_lane);
        return;
    case LANES_RELEASE:
        release(&s->r);
        return;
    case LANES_READY:
        s->status = s->r.kind->ready(&s->r);
        return;
    default:
        s->status = s->r.kind->attach_consumer(&s->r);
    }
}

/* ---- what must hold ---- */

/* How many of the lane's records are released, as the ring says it: one of the two that the model knows. */
static uint32_t released_now(const scene *s, uint32_t i)
{
    const lane *l = &s->lane[i];
    weir_spsc_layout *layout = weir_mpsc_lane(s->r.mem, s->r.capacity, i);
    uint64_t head = WEIR_ATOMIC_LOAD(&layout->head, RELAXED);
    uint32_t after = l->released[1] <= l->count ? l->released[1] : l->released[0];
    CHECK(head == l->pos[after] || head == l->pos[l->released[0]]);
    return head == l->pos[after] ? after : l->released[0];
}

/* All ends, on an empty ring, for more than a lap of each lane. */
static void go_on(scene *s)
{
    ring *r = &s->r;
    for (uint64_t round = 0; round <= r->capacity / 8; round++) {
        uint32_t len = round % 8 == 7 ? r->kind->record_max(r->capacity) : (uint32_t)(round % 2 * 5), got = 0;
        bool taken[LANES] = { false };
        unsigned char msg[BYTES_MAX];
        for (uint32_t n = 0; n < r->producers; n++) {
            uint32_t i = (uint32_t)(round + n) % r->producers;
            record_fill(msg, i, round, len);
            CHECK_OK(r->kind->push(r, i, msg, len, round % 4 == 3));
            r->kind->flush(r, i);
        }
        for (uint32_t n = 0; n < r->producers; n++) {
            uint32_t from = LANES;
            CHECK_OK(pop(s, msg, sizeof msg, &got, &from));
            CHECK(from < r->producers && got == len && record_is(msg, from, round, len) && !taken[from]);
            CHECK(!ordered(s) || from == (round + n) % r->producers);
            taken[from] = true;
        }
        CHECK_STATUS(r->kind->ready(r), WEIR_EMPTY);
    }
}

static void recover(crash_world *w, crash_heirs heirs)
{
    scene *s = scene_of(w);
    for (uint32_t i = 0; i < s->r.producers; i++)
        if (heirs == CRASH_NEW_ENDS || (by_producer(s) && i == s->at))
            CHECK_OK(s->r.kind->attach_producer(&s->r, i));
    if (heirs == CRASH_NEW_ENDS || !by_producer(s))
        CHECK_OK(s->r.kind->attach_consumer(&s->r));
}

static unsigned examine(crash_world *w, crash_heirs heirs)
{
    scene *s = scene_of(w);
    bool consumer_lives = heirs == CRASH_SURVIVORS && by_producer(s);
    unsigned happened = 0;
    for (uint32_t i = 0; i < s->r.producers; i++) {
        uint32_t released = released_now(s, i);
        happened += released != s->lane[i].released[0];
        if (!consumer_lives)
            s->lane[i].read = released;
    }
    read_all(s);
    for (uint32_t i = 0; i < s->r.producers; i++) {
        lane *l = &s->lane[i];
        bool lives = heirs == CRASH_SURVIVORS && (!by_producer(s) || i != s->at);
        happened += l->read != l->committed[0];
        if (!lives)
            l->count = l->read;
        settle(l, l->read);
        CHECK(producer_pos(s, i) == l->pos[l->count]);
    }
    for (uint32_t i = 0; i < s->r.producers; i++)
        flush(s, i); /* the batches of those who live are none of the dead one's business */
    read_all(s);
    release(&s->r);
    go_on(s);
    return happened;
}

static bool reads(const scene *s)
{
    return s->what == LANES_POP || s->what == LANES_POP_MORE || s->what == LANES_PEEK;
}

static unsigned returned(crash_world *w)
{
    scene *s = scene_of(w);
    unsigned happened = 0;
    CHECK_STATUS(s->status, s->expected);
    if (reads(s) && s->status == WEIR_OK) {
        CHECK(s->got_lane == next_lane(s));
        expect_next(s, s->got_lane, s->what == LANES_PEEK ? s->msg : s->out, s->got, false);
    }
    for (uint32_t i = 0; i < s->r.producers; i++)
        happened += (s->lane[i].committed[1] != s->lane[i].committed[0]) +
                    (unsigned)(s->lane[i].released[1] != s->lane[i].released[0]);
    return happened;
}

/* ---- frozen, not dead ---- */

static void consumer_goes_on(scene *s, uint64_t choice)
{
    lane *own = &s->lane[s->at];
    bool publishes = s->what == LANES_PUSH || s->what == LANES_COMMIT;
    if (publishes) /* there may be more room now than when it began */
        own->committed_late = s->own + 1;
    read_some(s, choice % 4 == 1 ? 1 : LANES * RECORDS);
    if (own->read > own->committed[0])
        settle(own, publishes ? s->own + 1 : own->committed[1]);
    if (choice % 4 != 3) {
        release(&s->r);
        for (uint32_t i = 0; i < s->r.producers; i++) {
            s->lane[i].released[0] = s->lane[i].released[1] = s->lane[i].read;
            (void)released_now(s, i);
        }
    }
    if (choice % 4 == 2) { /* another takes its place while the producer is frozen */
        CHECK_OK(s->r.kind->attach_consumer(&s->r));
        for (uint32_t i = 0; i < s->r.producers; i++)
            s->lane[i].read = s->lane[i].released[0];
    }
}

/* FULL comes exactly where what is not released begins. */
static void producers_go_on(scene *s, uint64_t choice)
{
    static const uint64_t lens[] = { 0, 3, 8, 7 };
    uint32_t most = choice % 3 == 1 ? 2 : choice % 3 == 2 ? 1 : RECORDS;
    for (uint32_t n = 0; n < s->r.producers; n++) {
        uint32_t i = (uint32_t)(choice + n) % s->r.producers;
        if (by_producer(s) && i == s->at)
            continue;
        s->lane[i].released[0] = released_now(s, i); /* from here on for good */
        if (choice % 5 < 3)
            flush(s, i);
        for (uint32_t k = 0; k < most && s->lane[i].count + 1 < RECORDS; k++)
            if (!add(s, i, lens[(choice + k) % 4], false))
                break;
        if (choice % 7 == 2 && s->lane[i].batch == 0)
            CHECK_OK(s->r.kind->attach_producer(&s->r, i));
    }
}

static void others(crash_world *w, uint64_t choice)
{
    scene *s = scene_of(w);
    if (by_producer(s))
        consumer_goes_on(s, choice);
    producers_go_on(s, choice / 3);
    if (by_producer(s) && choice % 8 >= 4)
        consumer_goes_on(s, choice / 8);
}

static void resumed_producer(scene *s)
{
    lane *own = &s->lane[s->at];
    bool puts = s->what != LANES_FLUSH && s->what != LANES_PRODUCER_ATTACH;
    /* Room that came meanwhile may have been seen or not; room that was there is not lost. */
    CHECK(s->status == s->expected || (s->expected == WEIR_FULL && s->status == WEIR_OK));
    if (puts && s->status != WEIR_OK)
        own->count = s->own;
    CHECK(own->read <= own->count && own->committed[0] <= own->count); /* what was seen has happened */
}

static void resumed_consumer(scene *s)
{
    bool late = s->expected == WEIR_EMPTY && s->status == WEIR_OK; /* it came meanwhile */
    /* Another record than the one that it would have been may come first. */
    bool other = reads(s) && s->size < BYTES_MAX && s->status == WEIR_OK && s->expected == WEIR_E_TOO_SMALL;
    CHECK(s->status == s->expected || late || other);
    if (s->what == LANES_CONSUMER_ATTACH)
        for (uint32_t i = 0; i < s->r.producers; i++)
            s->lane[i].read = s->lane[i].released[0];
    if (reads(s) && s->status == WEIR_OK) {
        expect_next(s, s->got_lane, s->what == LANES_PEEK ? s->msg : s->out, s->got, true);
        s->lane[s->got_lane].read++;
    }
}

static void resumed(crash_world *w)
{
    scene *s = scene_of(w);
    if (by_producer(s))
        resumed_producer(s);
    else
        resumed_consumer(s);
    for (uint32_t i = 0; i < s->r.producers; i++)
        flush(s, i);
    read_all(s);
    release(&s->r);
    go_on(s);
}

const crash_rules lanes_rules = { recover, examine, returned, others, resumed };
