/* The lane's operations for the crash harness: their start states, and what must hold wherever one of them ends. */
#include "crash.h"
#include "storm.h"

#include "ring/spsc_rig.h"

#define RECORDS 96u /* in the model of one state */
#define BYTES_MAX 128u
#define ARRAY_MAX 20u

enum what { /* the producer's first */
    PUSH, PUSH_MORE, FLUSH, PUSH_ARRAY, COMMIT, COMMIT_MORE, DRAINED, PRODUCER_ATTACH,
    POP, POP_MORE, PEEK, RELEASE, READY, CONSUMER_ATTACH
};

/* The model counts records from the first one that was not released when the operation began. */
typedef struct scene {
    rig r; /* first, for its alignment */
    enum what what;
    record rec[RECORDS];
    uint64_t pos[RECORDS + 1]; /* where record i begins: the end of the one before it */
    uint32_t count;            /* records of the model */
    uint32_t released[2];      /* before the operation, and once it has happened */
    uint32_t committed[2];
    uint32_t committed_max; /* an array may bring more, if the other end makes room meanwhile */
    uint32_t read;          /* by the consumer, released or not */
    uint32_t batch;         /* records behind the committed ones that the producer has not published */
    uint32_t own;           /* the operation's first record */
    /* its arguments, and what it gave */
    uint32_t len, array, fit, size, reserved;
    weir_status expected, status;
    uint32_t got;
    const void *msg;
    unsigned char in[ARRAY_MAX * BYTES_MAX], out[BYTES_MAX];
} scene;

_Static_assert(sizeof(scene) <= CRASH_SCENE_BYTES, "a scene fits into its world");

static scene *scene_of(crash_world *w) { return (scene *)(void *)w->scene; }

static bool by_producer(const scene *s) { return s->what <= PRODUCER_ATTACH; }

/* ---- the model ---- */

/* Where a record of len bytes ends if room for `reserved` was asked for. */
static uint64_t end_of(const scene *s, uint64_t pos, uint64_t reserved, uint64_t len)
{
    uint64_t start_pos = rig_end(s->r.capacity, pos, reserved) - rig_size(reserved);
    return start_pos + rig_size(len);
}

static bool fits(const scene *s, uint64_t len)
{
    return rig_fits(s->r.capacity, s->pos[s->released[0]], s->pos[s->count], len);
}

static void model_add(scene *s, uint64_t reserved, uint64_t len)
{
    CHECK(s->count < RECORDS);
    s->rec[s->count] = (record){ .seq = s->count + 1, .len = (uint32_t)len };
    s->pos[s->count + 1] = end_of(s, s->pos[s->count], reserved, len);
    s->count++;
}

/* A real push, which must agree with the model about the room. */
static bool add(scene *s, uint64_t len, bool more)
{
    bool room = fits(s, len);
    CHECK_STATUS((more ? rig_push_more : rig_push)(&s->r, s->count + 1, len), room ? WEIR_OK : WEIR_FULL);
    if (room)
        model_add(s, len, len);
    return room;
}

static void set_committed(scene *s, uint32_t before, uint32_t after)
{
    s->committed[0] = before;
    s->committed[1] = s->committed_max = after;
}

/* ---- start states ---- */

#define START_STATES (4 * 16 * 4 * 3 * 5 * 3 * 3 * 3)
#define LENGTHS 7

static uint64_t length_by(const scene *s, uint64_t choice)
{
    static const uint64_t lens[LENGTHS - 1] = { 0, 1, 8, 13, 24, 120 };
    uint64_t max = weir_spsc_record_max(s->r.capacity);
    return choice < LENGTHS - 1 && lens[choice] < max ? lens[choice] : max;
}

/* Memory as it was before: words that look like records, zeros, or a lap of records that were read. */
static void make_ring(crash_world *w, scene *s, uint64_t *state)
{
    static const uint64_t base[] = { 1 << 20, UINT64_C(1) << 32, UINT64_C(1) << 63, 0 };
    uint64_t capacity = UINT64_C(64) << crash_digit(state, 4); /* of 256 and 512, records have whole lines in them */
    uint64_t offset = crash_digit(state, 16) * 8;
    uint64_t start_pos = base[crash_digit(state, 4)] - 64 + offset;
    uint64_t history = crash_digit(state, 3);
    crash_memory(w, WEIR_SPSC_CONTROL + capacity, history != 1 ? RIG_STALE : 0);
    s->r = (rig){ .capacity = capacity, .bytes = w->bytes, .mem = w->memory };
    CHECK_OK(weir_spsc_init(w->memory, w->bytes, capacity, start_pos));
    rig_attach(&s->r);
    s->pos[0] = start_pos;
    for (uint64_t i = 0, end = history == 2 ? capacity / 8 : 0; i < end; i++) {
        CHECK_OK(rig_push(&s->r, 100 + i, i % 3 * 7));
        rig_expect_pop(&s->r, 100 + i, i % 3 * 7);
        s->pos[0] = rig_end(capacity, s->pos[0], i % 3 * 7);
    }
}

/* Is there room for what the state and the operation still bring behind a record of len bytes more? */
static bool leaves_room(const scene *s, uint64_t len, uint32_t batch, uint64_t own)
{
    uint64_t end = rig_end(s->r.capacity, s->pos[s->count], len);
    for (uint32_t i = 0; i < batch; i++)
        end = rig_end(s->r.capacity, end, 9);
    return rig_fits(s->r.capacity, s->pos[0], end, own);
}

static void fill_ring(scene *s, uint64_t how, uint32_t batch, uint64_t own)
{
    switch (how) {
    case 0: /* empty */
        return;
    case 1:
        (void)add(s, 5, false);
        return;
    case 2:
        (void)(add(s, 0, false) && add(s, 16, false) && add(s, 3, false));
        return;
    case 3: /* one left */
        while (leaves_room(s, 0, batch, own) && add(s, 0, false))
            continue;
        return;
    default: /* full */
        while (add(s, 0, false))
            continue;
    }
}

/* A producer that died in the middle of a batch, and in the middle of a payload. */
static void leave_ghost(scene *s, uint64_t how)
{
    void *slot = NULL;
    uint32_t left = how == 0 ? 0 : how == 1 ? 2 : RECORDS;
    for (uint32_t i = 0; i < left && rig_push_more(&s->r, 900 + i, 7) == WEIR_OK; i++)
        continue;
    if (how == 1 && weir_spsc_reserve(&s->r.p, 16, &slot) == WEIR_OK)
        rig_fill(slot, 950, 11);
    if (how != 0)
        CHECK_OK(weir_spsc_producer_attach(&s->r.p, s->r.mem, s->r.bytes));
}

/* What is common to all: `own` is the length of the record that one-left leaves room for. */
static void make_start(crash_world *w, scene *s, uint64_t state, uint64_t own_choice)
{
    make_ring(w, s, &state);
    uint64_t fill = crash_digit(&state, 5), ghost = crash_digit(&state, 3), behind = crash_digit(&state, 3);
    uint32_t batch = (uint32_t)crash_digit(&state, 3);
    fill_ring(s, fill, batch, length_by(s, own_choice));
    set_committed(s, s->count, s->count);
    leave_ghost(s, ghost);
    uint32_t read = behind < 2 ? (uint32_t)behind : s->count;
    for (; s->read < read && s->read < s->count; s->read++)
        rig_expect_peek(&s->r, s->rec[s->read].seq, s->rec[s->read].len);
    if (s->what == PRODUCER_ATTACH)
        batch = 0; /* that producer is not there yet */
    for (; s->batch < batch && add(s, 9, true); s->batch++)
        continue;
    s->own = s->count;
}

#define RECORD_STATES (START_STATES * LENGTHS * 2)
#define ARRAY_STATES (START_STATES * LENGTHS * 4)
#define CONSUMER_STATES START_STATES
#define POP_STATES (START_STATES * 2)

static void make_array(scene *s, uint64_t counts)
{
    static const uint32_t arrays[] = { 1, 2, 5, ARRAY_MAX };
    s->array = arrays[counts];
    for (uint32_t i = 0; i < s->array; i++) {
        rig_fill(s->in + i * s->len, s->own + i + 1, s->len);
        s->fit += s->fit == i && fits(s, s->len);
        model_add(s, s->len, s->len);
    }
    s->expected = s->fit < s->array ? WEIR_FULL : WEIR_OK;
    /* With no room at all, the least that can come is one: if the consumer makes room while it is at work. */
    set_committed(s, s->committed[0], s->own + (s->fit > 0 ? s->fit : 1));
}

/* state's last digits are the operation's own. */
static void make_producer(crash_world *w, unsigned what, uint64_t state)
{
    scene *s = scene_of(w);
    s->what = (enum what)what;
    uint64_t own = state / START_STATES % LENGTHS, counts = state / START_STATES / LENGTHS;
    make_start(w, s, state % START_STATES, own);
    s->len = (uint32_t)length_by(s, own);
    s->expected = WEIR_OK;
    if (what == FLUSH) {
        set_committed(s, s->committed[0], s->own);
    } else if (what == DRAINED) {
        s->expected = s->count == 0 ? WEIR_OK : WEIR_FULL;
    } else if (what == PUSH_ARRAY) {
        make_array(s, counts);
    } else if (what != PRODUCER_ATTACH) {
        bool commit = what == COMMIT || what == COMMIT_MORE;
        void *slot; /* more is reserved than then comes; or it was, and is given up */
        s->reserved = commit && counts != 0 ? weir_spsc_record_max(s->r.capacity) : s->len;
        if (!commit && counts != 0 && weir_spsc_reserve(&s->r.p, 8, &slot) == WEIR_OK)
            rig_fill(slot, 950, 8);
        s->expected = fits(s, s->reserved) ? WEIR_OK : WEIR_FULL;
        rig_fill(s->in, s->own + 1, s->len);
        model_add(s, s->reserved, s->len);
        if (what == PUSH || what == COMMIT)
            set_committed(s, s->committed[0], s->count);
    }
}

static void make_consumer(crash_world *w, unsigned what, uint64_t state)
{
    scene *s = scene_of(w);
    s->what = (enum what)what;
    make_start(w, s, state % START_STATES, 2);
    if (what == CONSUMER_ATTACH)
        s->read = 0;
    bool there = s->read < s->committed[0], reads = what == POP || what == POP_MORE || what == PEEK;
    s->size = BYTES_MAX;
    s->expected = !there && (reads || what == READY) ? WEIR_EMPTY : WEIR_OK;
    if ((what == POP || what == POP_MORE) && state >= START_STATES && there && s->rec[s->read].len > 0) {
        s->size = s->rec[s->read].len - 1;
        s->expected = WEIR_E_TOO_SMALL;
    }
    if (what == RELEASE)
        s->released[1] = s->read;
    else if (what == POP && s->expected != WEIR_E_TOO_SMALL)
        s->released[1] = s->read + 1;
}

/* ---- the operations ---- */

static void run_push(crash_world *w)
{
    scene *s = scene_of(w);
    s->status = weir_spsc_push(&s->r.p, s->in, s->len);
}

static void run_push_more(crash_world *w)
{
    scene *s = scene_of(w);
    s->status = weir_spsc_push_more(&s->r.p, s->in, s->len);
}

static void run_flush(crash_world *w) { weir_spsc_flush(&scene_of(w)->r.p); }

static void run_push_array(crash_world *w)
{
    scene *s = scene_of(w);
    s->status = weir_spsc_push_array(&s->r.p, s->in, s->len, s->array, &s->got);
}

static void reserve_and_commit(scene *s, bool more)
{
    void *slot = NULL;
    s->status = weir_spsc_reserve(&s->r.p, s->reserved, &slot);
    if (s->status != WEIR_OK)
        return;
    if (s->len > 0)
        WEIR_PAYLOAD_WRITE(slot, s->in, s->len);
    s->status = more ? weir_spsc_commit_more(&s->r.p, s->len) : weir_spsc_commit(&s->r.p, s->len);
}

static void run_commit(crash_world *w) { reserve_and_commit(scene_of(w), false); }
static void run_commit_more(crash_world *w) { reserve_and_commit(scene_of(w), true); }

static void run_drained(crash_world *w) { scene_of(w)->status = weir_spsc_drained(&scene_of(w)->r.p); }

static void run_producer_attach(crash_world *w)
{
    rig *r = &scene_of(w)->r;
    scene_of(w)->status = weir_spsc_producer_attach(&r->p, r->mem, r->bytes);
}

static void run_pop(crash_world *w)
{
    scene *s = scene_of(w);
    s->status = weir_spsc_pop(&s->r.c, s->out, s->size, &s->got);
}

static void run_pop_more(crash_world *w)
{
    scene *s = scene_of(w);
    s->status = weir_spsc_pop_more(&s->r.c, s->out, s->size, &s->got);
}

static void run_peek(crash_world *w)
{
    scene *s = scene_of(w);
    s->status = weir_spsc_peek(&s->r.c, &s->msg, &s->got);
}

static void run_release(crash_world *w) { weir_spsc_release(&scene_of(w)->r.c); }
static void run_ready(crash_world *w) { scene_of(w)->status = weir_spsc_ready(&scene_of(w)->r.c); }

static void run_consumer_attach(crash_world *w)
{
    rig *r = &scene_of(w)->r;
    scene_of(w)->status = weir_spsc_consumer_attach(&r->c, r->mem, r->bytes);
}

/* ---- what must hold ---- */

static uint64_t head_of(const rig *r) { return WEIR_ATOMIC_LOAD(&rig_control(r)->head, RELAXED); }

/* How many records are released, as the ring says it: one of the two that the model knows. */
static uint32_t released_now(const scene *s)
{
    uint32_t after = s->released[1] <= s->committed_max ? s->released[1] : s->released[0];
    bool happened = head_of(&s->r) == s->pos[after];
    CHECK(happened || head_of(&s->r) == s->pos[s->released[0]]);
    return happened ? after : s->released[0];
}

static bool may_be_committed(const scene *s, uint32_t count)
{
    return count == s->committed[0] || (count >= s->committed[1] && count <= s->committed_max);
}

/* Reads up to `most` records, which must be the model's from that one on; the first that was not read. */
static uint32_t read_some(scene *s, uint32_t from, uint32_t most)
{
    const void *msg = NULL;
    uint32_t len = 0;
    for (; most > 0; most--, from++) {
        weir_status status = weir_spsc_peek(&s->r.c, &msg, &len);
        if (status == WEIR_EMPTY) {
            rig_expect_empty(&s->r);
            return from;
        }
        CHECK_OK(status);
        CHECK(from < s->count && len == s->rec[from].len && rig_holds(msg, s->rec[from].seq, len));
    }
    return from;
}

static uint32_t read_all(scene *s, uint32_t from) { return read_some(s, from, RECORDS + 1); }

/* Both ends, on an empty ring, for more than a lap. */
static void go_on(rig *r)
{
    uint64_t longest = weir_spsc_record_max(r->capacity);
    CHECK_OK(weir_spsc_drained(&r->p));
    for (uint64_t i = 0; i <= r->capacity / 8; i++) {
        uint64_t len = i % 8 == 7 ? longest : i % 2 * 5;
        CHECK_OK(rig_push(r, i, len));
        rig_expect_pop(r, i, len);
    }
    CHECK_OK(rig_push_more(r, 1, 3));
    CHECK_OK(rig_push_more(r, 2, 4));
    rig_expect_empty(r);
    weir_spsc_flush(&r->p);
    rig_expect_pop(r, 1, 3);
    rig_expect_pop(r, 2, 4);
    rig_expect_empty(r);
}

static void recover(crash_world *w, crash_heirs heirs)
{
    scene *s = scene_of(w);
    rig *r = &s->r;
    r->mem = w->memory;
    if (heirs == CRASH_NEW_ENDS || by_producer(s))
        CHECK_OK(weir_spsc_producer_attach(&r->p, r->mem, r->bytes));
    if (heirs == CRASH_NEW_ENDS || !by_producer(s))
        CHECK_OK(weir_spsc_consumer_attach(&r->c, r->mem, r->bytes));
}

static unsigned examine(crash_world *w, crash_heirs heirs)
{
    scene *s = scene_of(w);
    bool consumer_lives = heirs == CRASH_SURVIVORS && by_producer(s);
    bool producer_lives = heirs == CRASH_SURVIVORS && !by_producer(s);
    uint32_t released = released_now(s);
    uint32_t end = read_all(s, consumer_lives ? s->read : released);
    CHECK(may_be_committed(s, end));
    CHECK(s->r.c.pos == s->pos[end]);
    CHECK(producer_lives || s->r.p.pos == s->pos[end]);
    unsigned happened = end != s->committed[0] || released != s->released[0];
    if (producer_lives) { /* its batch is none of the dead consumer's business */
        weir_spsc_flush(&s->r.p);
        CHECK(read_all(s, end) == end + s->batch);
    }
    weir_spsc_release(&s->r.c);
    go_on(&s->r);
    return happened;
}

/* The record that was next is in the operation's hands. */
static void expect_read(const scene *s)
{
    const record *next = &s->rec[s->read];
    CHECK(s->got == next->len);
    CHECK(rig_holds(s->what == PEEK ? s->msg : s->out, next->seq, next->len));
}

static unsigned returned(crash_world *w)
{
    scene *s = scene_of(w);
    CHECK_STATUS(s->status, s->expected);
    switch (s->what) {
    case PUSH_ARRAY:
        CHECK(s->got == s->fit);
        return s->got > 0;
    case PUSH:
    case COMMIT:
    case FLUSH:
        return s->status == WEIR_OK && s->committed[1] != s->committed[0];
    case POP:
    case POP_MORE:
    case PEEK:
        if (s->status == WEIR_OK)
            expect_read(s);
        return s->status == WEIR_OK && s->released[1] != s->released[0];
    case RELEASE:
        return s->released[1] != s->released[0];
    default:
        return 0;
    }
}

/* ---- frozen, not dead ---- */

static void release(scene *s)
{
    weir_spsc_release(&s->r.c);
    s->released[0] = s->released[1] = s->read;
    CHECK(head_of(&s->r) == s->pos[s->read]);
}

static void consumer_goes_on(scene *s, uint64_t choice)
{
    if (s->what == PUSH_ARRAY) /* there may be more room now than when it began */
        s->committed_max = s->own + s->array;
    s->read = read_some(s, s->read, choice % 4 == 1 ? 1 : RECORDS + 1);
    if (choice % 4 != 1)
        CHECK(may_be_committed(s, s->read)); /* EMPTY came behind all that is committed, and before nothing */
    if (s->read > s->committed[0]) {
        s->committed[0] = choice % 4 != 1 ? s->read : s->committed[1];
        s->committed[1] = s->committed[0];
        s->committed_max = choice % 4 != 1 ? s->read : s->committed_max;
    }
    if (choice % 4 != 3)
        release(s);
    if (choice % 4 == 2) { /* another takes its place while the producer is frozen */
        CHECK_OK(weir_spsc_consumer_attach(&s->r.c, s->r.mem, s->r.bytes));
        s->read = s->released[0];
    }
}

static void producer_goes_on(scene *s, uint64_t choice)
{
    static const uint64_t lens[] = { 0, 3, 16, 9 };
    s->released[0] = released_now(s); /* from here on for good */
    weir_spsc_flush(&s->r.p);
    s->batch = 0;
    for (uint64_t i = 0; (choice % 4 != 1 || i < 1) && add(s, lens[(choice + i) % 4], false); i++)
        continue; /* FULL comes exactly where what the frozen one still holds begins */
    set_committed(s, s->count, s->count);
    if (choice % 4 == 2)
        CHECK_OK(weir_spsc_producer_attach(&s->r.p, s->r.mem, s->r.bytes));
}

static void others(crash_world *w, uint64_t choice)
{
    scene *s = scene_of(w);
    if (by_producer(s))
        consumer_goes_on(s, choice);
    else
        producer_goes_on(s, choice);
}

/* What a producer's operation has put into the ring, once it was thawed and has returned. */
static uint32_t published(const scene *s)
{
    bool done = s->status == WEIR_OK;
    switch (s->what) {
    case PUSH_ARRAY:
        CHECK(!done || s->got == s->array);
        return s->got > 0 ? s->own + s->got : s->own;
    case PUSH:
    case PUSH_MORE:
    case COMMIT:
    case COMMIT_MORE:
        return s->own + done;
    default:
        return s->own;
    }
}

static void resumed_producer(scene *s)
{
    bool seen = s->committed[0] == s->committed[1]; /* nothing is open: what is there has been seen */
    uint32_t before = s->committed[0], end = published(s);
    /* Room that came meanwhile may have been seen or not; room that was there is not lost. */
    CHECK(s->status == s->expected || (s->expected == WEIR_FULL && s->status == WEIR_OK));
    CHECK(!seen || end >= before);
    weir_spsc_flush(&s->r.p);
    CHECK(read_all(s, s->read) == end && end >= before);
    weir_spsc_release(&s->r.c);
    go_on(&s->r);
}

static void resumed_consumer(scene *s)
{
    bool reads = s->what == POP || s->what == POP_MORE || s->what == PEEK;
    bool late = s->expected == WEIR_EMPTY && s->status == WEIR_OK; /* it came meanwhile */
    CHECK(s->status == s->expected || late);
    if (s->what == CONSUMER_ATTACH)
        s->read = s->released[0];
    if (reads && s->status == WEIR_OK) {
        expect_read(s);
        s->read++;
    }
    weir_spsc_flush(&s->r.p);
    uint32_t end = read_all(s, s->read);
    CHECK(end == s->committed[0] + s->batch);
    weir_spsc_release(&s->r.c);
    go_on(&s->r);
}

static void resumed(crash_world *w)
{
    scene *s = scene_of(w);
    if (by_producer(s))
        resumed_producer(s);
    else
        resumed_consumer(s);
}

static const crash_rules rules = { recover, examine, returned, others, resumed };

/* ---- the table ---- */

#define PRODUCER(name, what, states) { #name, what, states, make_producer, run_##name, &rules }
#define CONSUMER(name, what, states) { #name, what, states, make_consumer, run_##name, &rules }

static const crash_operation operations[] = {
    PRODUCER(push, PUSH, RECORD_STATES),
    PRODUCER(push_more, PUSH_MORE, RECORD_STATES),
    PRODUCER(flush, FLUSH, START_STATES),
    PRODUCER(push_array, PUSH_ARRAY, ARRAY_STATES),
    PRODUCER(commit, COMMIT, RECORD_STATES), /* reserve, the caller's writing, commit */
    PRODUCER(commit_more, COMMIT_MORE, RECORD_STATES),
    PRODUCER(drained, DRAINED, START_STATES),
    PRODUCER(producer_attach, PRODUCER_ATTACH, START_STATES),
    CONSUMER(pop, POP, POP_STATES),
    CONSUMER(pop_more, POP_MORE, POP_STATES),
    CONSUMER(peek, PEEK, CONSUMER_STATES),
    CONSUMER(release, RELEASE, CONSUMER_STATES),
    CONSUMER(ready, READY, CONSUMER_STATES),
    CONSUMER(consumer_attach, CONSUMER_ATTACH, CONSUMER_STATES),
};

const crash_ring crash_ring_spsc = {
    .name = "spsc",
    .operations = operations,
    .count = sizeof operations / sizeof operations[0],
    .storms = storm_spsc,
    .storm_count = STORM_SPSC_COUNT,
};
