/* Gated broadcast's operations for the crash harness: their start states, and what must hold wherever one of them
 * ends. */
#include "crash.h"
#include "storm.h"

#include <weir/ring/broadcast_gated_layout.h>

#define RECORDS 256u
#define BYTES_MAX 128u
#define LENGTHS 6u
#define ARRAY_MAX 6u
#define SLOTS 3u

/* The readers: one beside the operation, the one whose operation it is, and a third that is gone. */
enum { OTHER, OWN, GONE };

enum what {
    PUSH, PUSH_MORE, PUSH_ARRAY, FLUSH, COMMIT, COMMIT_MORE, WRITER_ATTACH, RECOVER, DRAINED, READERS, GATE_FROM,
    POP, POP_MORE, PEEK, RELEASE, READY, JOIN_OLDEST, JOIN_NEWEST, JOIN_RESUME, DETACH
};

/* The model counts records from the ring's first. */
typedef struct scene {
    weir_broadcast_gated_writer w;
    weir_broadcast_gated_reader r[SLOTS];
    uint64_t dead[SLOTS];
    enum what what;
    uint64_t capacity;
    uint64_t pos[RECORDS + 1]; /* where record i begins: the end of the one before it */
    uint32_t len[RECORDS];
    uint32_t count, committed[2]; /* before the operation, and once it has happened */
    uint64_t limit[2];
    uint32_t announced[2];
    struct {
        bool lives, gates, told; /* told: the writer knows that it is dead */
        uint32_t released, next, generation;
    } slot[SLOTS];
    uint32_t own, released;                /* its first record; what the own reader has then released */
    uint32_t oldest, before, after;        /* of one who comes: what is held; where it was; where it begins */
    uint64_t found_word, found_cursor;     /* its entry, as the heirs found it */
    uint32_t own_len, reserved, size, got, pushed, expected_pushed, arrays;
    weir_status expected, status;
    weir_broadcast_gated_gate gate;
    const void *msg;
    unsigned char in[ARRAY_MAX * BYTES_MAX], out[BYTES_MAX];
} scene;

_Static_assert(sizeof(scene) <= CRASH_SCENE_BYTES, "a scene fits into its world");

static scene *scene_of(crash_world *w)
{
    scene *s = (scene *)(void *)w->scene;
    s->w.dead = s->dead; /* worlds are copied */
    return s;
}

static weir_broadcast_gated_layout *layout_of(crash_world *w)
{
    return (weir_broadcast_gated_layout *)(void *)w->memory;
}

static uint64_t read_word(const weir_atomic_u64 *word) { return WEIR_ATOMIC_LOAD(word, RELAXED); }

static bool by_writer(const scene *s) { return s->what <= GATE_FROM; }
static bool joins(const scene *s) { return s->what >= JOIN_OLDEST && s->what <= JOIN_RESUME; }

static unsigned char byte_of(uint64_t i, uint64_t at) { return (unsigned char)(i * 0x9d + at * 7 + 1); }

static void fill(unsigned char *bytes, uint64_t i, uint64_t len)
{
    for (uint64_t at = 0; at < len; at++)
        bytes[at] = byte_of(i, at);
}

static bool holds(const unsigned char *bytes, uint64_t i, uint64_t len)
{
    for (uint64_t at = 0; at < len; at++)
        if (bytes[at] != byte_of(i, at))
            return false;
    return true;
}

/* ---- the model: a second opinion on where records go, who gates and what is given up ---- */

static uint64_t size_of(uint64_t len) { return 8 + (len + 7) / 8 * 8; }

static uint64_t begin_of(const scene *s, uint64_t len)
{
    uint64_t pos = s->pos[s->count], room = s->capacity - pos % s->capacity;
    return pos + (size_of(len) > room ? room : 0);
}

/* Which record begins there.  It is a fault where none does. */
static uint32_t index_of(const scene *s, uint64_t pos)
{
    for (uint32_t i = 0; i <= s->count; i++)
        if (s->pos[i] == pos)
            return i;
    support_fail(__FILE__, __LINE__, "a position between two records");
}

static uint32_t least(const scene *s)
{
    uint32_t at = s->committed[0];
    for (unsigned i = 0; i < SLOTS; i++)
        if (s->slot[i].gates && !s->slot[i].told && s->slot[i].released < at)
            at = s->slot[i].released;
    return at;
}

static void model_ask(scene *s)
{
    uint32_t at = least(s);
    if (at > s->announced[1])
        s->announced[1] = at;
    if ((int64_t)(s->pos[at] + s->capacity - s->limit[1]) > 0)
        s->limit[1] = s->pos[at] + s->capacity;
}

static bool fits(const scene *s, uint64_t len)
{
    return (int64_t)(s->limit[1] - (begin_of(s, len) + size_of(len) + 8)) >= 0;
}

static bool model_place(scene *s, uint64_t len)
{
    if (!fits(s, len))
        model_ask(s);
    return fits(s, len);
}

static void model_add(scene *s, uint64_t reserved, uint64_t len)
{
    CHECK(s->count < RECORDS);
    uint64_t begin = begin_of(s, reserved);
    s->len[s->count++] = (uint32_t)len;
    s->pos[s->count] = begin + size_of(len);
}

static void settle_room(scene *s)
{
    s->limit[0] = s->limit[1];
    s->announced[0] = s->announced[1];
}

static void settle(scene *s, uint32_t count) { s->committed[0] = s->committed[1] = count; }

static bool add(scene *s, uint64_t len, bool more)
{
    unsigned char msg[BYTES_MAX];
    bool room = model_place(s, len);
    fill(msg, s->count, len);
    CHECK_STATUS((more ? weir_broadcast_gated_push_more : weir_broadcast_gated_push)(&s->w, msg, len),
                 room ? WEIR_OK : WEIR_FULL);
    settle_room(s);
    if (room)
        model_add(s, len, len);
    if (room && !more)
        settle(s, s->count);
    return room;
}

static bool reserve(scene *s, uint64_t len, void **slot)
{
    bool room = model_place(s, len);
    CHECK_STATUS(weir_broadcast_gated_reserve(&s->w, len, slot), room ? WEIR_OK : WEIR_FULL);
    settle_room(s);
    return room;
}

static void flush(scene *s)
{
    weir_broadcast_gated_flush(&s->w);
    settle(s, s->count);
}

static void read_some(scene *s, unsigned i, uint32_t most)
{
    unsigned char bytes[BYTES_MAX];
    uint32_t len = 0;
    for (; most > 0; most--, s->slot[i].next++) {
        uint32_t next = s->slot[i].next;
        weir_status status = weir_broadcast_gated_pop_more(&s->r[i], bytes, sizeof bytes, &len);
        if (status == WEIR_EMPTY) {
            CHECK(next == s->committed[0] || next == s->committed[1]);
            CHECK(s->r[i].lane.pos == s->pos[next]);
            CHECK_STATUS(weir_broadcast_gated_ready(&s->r[i]), WEIR_EMPTY);
            return;
        }
        CHECK_OK(status);
        CHECK(next < s->count && len == s->len[next] && holds(bytes, next, len));
    }
}

static void release(scene *s, unsigned i)
{
    weir_broadcast_gated_release(&s->r[i]);
    s->slot[i].released = s->slot[i].next;
}

static void take_all(scene *s, unsigned i)
{
    read_some(s, i, RECORDS + 1);
    release(s, i);
}

/* The reader in that slot has attached: where it is. */
static void arrived(scene *s, unsigned i, uint32_t generation)
{
    s->slot[i].lives = s->slot[i].gates = true;
    s->slot[i].told = false;
    s->slot[i].generation = generation;
    s->slot[i].released = s->slot[i].next = index_of(s, s->r[i].lane.pos);
}

static void join(crash_world *w, unsigned i, weir_broadcast_gated_start start)
{
    scene *s = scene_of(w);
    uint32_t generation = s->slot[i].generation + 1;
    weir_status status = weir_broadcast_gated_reader_attach(&s->r[i], w->memory, w->bytes, i, generation, start);
    if (start == WEIR_BROADCAST_GATED_RESUME && status == WEIR_E_STATE) {
        CHECK(s->slot[i].released < s->announced[1]);
        status = weir_broadcast_gated_reader_attach(&s->r[i], w->memory, w->bytes, i, generation,
                                                    WEIR_BROADCAST_GATED_OLDEST);
    }
    CHECK_OK(status);
    uint32_t released = s->slot[i].released;
    arrived(s, i, generation);
    CHECK(start != WEIR_BROADCAST_GATED_RESUME || s->slot[i].next == released || released < s->announced[1]);
}

static void leave(scene *s, unsigned i)
{
    if (s->slot[i].lives)
        CHECK_OK(weir_broadcast_gated_reader_detach(&s->r[i]));
    s->slot[i].lives = s->slot[i].gates = false;
}

static void tell(scene *s, unsigned i)
{
    if (s->slot[i].generation == 0)
        return;
    CHECK_OK(weir_broadcast_gated_recover(&s->w, i, s->slot[i].generation));
    s->slot[i].told = s->slot[i].gates;
}

static void new_writer(crash_world *w, scene *s)
{
    CHECK_OK(weir_broadcast_gated_writer_attach(&s->w, w->memory, w->bytes, s->dead, SLOTS));
    s->count = s->committed[0];
    s->limit[0] = s->limit[1] = s->w.lane.pos;
    for (unsigned i = 0; i < SLOTS; i++)
        if (s->slot[i].told)
            tell(s, i);
}

/* ---- start states ---- */

#define START_STATES (UINT64_C(2) * 32 * 4 * 6 * 3 * 3 * 4 * 3 * 3)

static uint64_t length_by(const scene *s, uint64_t choice)
{
    static const uint64_t lens[LENGTHS - 1] = { 0, 1, 8, 13, 24 };
    return choice < LENGTHS - 1 ? lens[choice] : weir_broadcast_gated_record_max(s->capacity);
}

/* A writer that died in the middle of a batch, and of a payload. */
static void leave_ghost(crash_world *w, scene *s, uint64_t how)
{
    void *slot = NULL;
    uint32_t wanted = how == 0 ? 0 : how == 1 ? 2 : RECORDS, count = s->count;
    while (s->count - count < wanted && add(s, 7, true))
        continue;
    if (how == 1 && reserve(s, 24, &slot))
        memset(slot, 0x69, 13);
    s->count = count;
    if (how != 0)
        new_writer(w, s);
}

static void follow(scene *s, unsigned i, uint32_t lag, uint32_t held)
{
    if (s->slot[i].lives && s->count - s->slot[i].next > lag) {
        read_some(s, i, s->count - s->slot[i].next - lag);
        if (s->slot[i].next - s->slot[i].released > held)
            release(s, i);
    }
}

/* Readers that keep up, more or less; the third is killed, or leaves, behind its first record. */
static void make_history(scene *s, uint64_t records, uint64_t lens, const uint32_t lag[2], uint64_t gone)
{
    for (uint64_t i = 0; i < records; i++) {
        if (!add(s, lens == 0 ? 0 : length_by(s, (i + lens) % LENGTHS), false)) {
            for (unsigned slot = OTHER; slot <= OWN; slot++)
                if (s->slot[slot].lives && i % 2 == 0)
                    take_all(s, slot);
            continue;
        }
        follow(s, OTHER, lag[OTHER], 0);
        follow(s, OWN, lag[OWN], (uint32_t)(i % 3));
        if (s->slot[GONE].lives) {
            follow(s, GONE, 0, 1);
            if (gone == 1)
                leave(s, GONE);
            if (gone == 2)
                tell(s, GONE);
            s->slot[GONE].lives = false;
        }
    }
}

/* The own slot of one who comes: its former holder has left, died, or is known to be dead. */
static void make_former(scene *s, uint64_t how)
{
    if (how == 0)
        leave(s, OWN);
    s->slot[OWN].lives = false;
    if (how == 2)
        tell(s, OWN);
    for (uint64_t i = 0; how != 1 && i < 8; i++) { /* what it had not read may be given up */
        take_all(s, OTHER);
        (void)add(s, 9, false);
    }
}

static void make_start(crash_world *w, unsigned what, uint64_t state)
{
    static const uint64_t base[] = { 1 << 20, UINT64_C(1) << 32, UINT64_C(1) << 63, 0 };
    static const uint64_t histories[] = { 0, 1, 2, 5, 11, 40 };
    static const uint32_t lags[] = { 0, 2, RECORDS };
    scene *s = scene_of(w);
    s->what = (enum what)what;
    s->capacity = crash_digit(&state, 2) != 0 ? 256 : 128;
    uint64_t offset = crash_digit(&state, 32) * 8, near = base[crash_digit(&state, 4)];
    uint64_t records = histories[crash_digit(&state, 6)];
    uint32_t lag[2];
    lag[OTHER] = lags[crash_digit(&state, 3)];
    lag[OWN] = lags[crash_digit(&state, 3)];
    uint64_t gone = crash_digit(&state, 4), ghost = crash_digit(&state, 3), batch = crash_digit(&state, 3);
    crash_memory(w, weir_broadcast_gated_footprint(SLOTS, s->capacity), offset % 16 == 0 ? WEIR_SPSC_DATA : 0);
    s->pos[0] = near - 256 + offset;
    s->limit[0] = s->limit[1] = s->pos[0];
    CHECK_OK(weir_broadcast_gated_init(w->memory, w->bytes, SLOTS, s->capacity, s->pos[0]));
    new_writer(w, s);
    join(w, OWN, WEIR_BROADCAST_GATED_OLDEST);
    join(w, OTHER, WEIR_BROADCAST_GATED_OLDEST);
    if (gone != 0)
        join(w, GONE, WEIR_BROADCAST_GATED_OLDEST);
    make_history(s, records, offset / 8 % 3 + ghost, lag, gone);
    s->slot[GONE].lives = false;
    if (joins(s))
        make_former(s, gone % 3);
    leave_ghost(w, s, ghost);
    if (what == WRITER_ATTACH)
        batch = 0; /* that writer is not there yet */
    for (uint64_t i = 0; i < batch && add(s, 9, true); i++)
        continue;
    s->own = s->count;
    s->released = s->slot[OWN].released;
}

static void expect_array(scene *s)
{
    uint64_t size = size_of(s->own_len);
    if (s->limit[1] - s->pos[s->count] < size * (s->arrays + 1) + 8)
        model_ask(s);
    for (uint32_t i = 0; i < s->arrays; i++)
        fill(s->in + i * s->own_len, s->count + i, s->own_len);
    while (s->expected_pushed < s->arrays && fits(s, s->own_len)) {
        model_add(s, s->own_len, s->own_len);
        s->expected_pushed++;
    }
    s->expected = s->expected_pushed == s->arrays ? WEIR_OK : WEIR_FULL;
    if (s->expected_pushed > 0)
        s->committed[1] = s->count;
}

/* state's last digits are the operation's own. */
static void make_record(crash_world *w, unsigned what, uint64_t state)
{
    scene *s = scene_of(w);
    uint64_t own = state / START_STATES % LENGTHS, more = state / START_STATES / LENGTHS;
    void *slot = NULL;
    make_start(w, what, state % START_STATES);
    bool commit = what == COMMIT || what == COMMIT_MORE;
    s->own_len = (uint32_t)length_by(s, own);
    s->reserved = commit && more != 0 ? weir_broadcast_gated_record_max(s->capacity) : s->own_len;
    if (!commit && more != 0 && reserve(s, 8, &slot)) /* written to, and given up */
        memset(slot, 0x77, 8);
    if (what == PUSH_ARRAY) {
        s->arrays = 1 + (uint32_t)(state % ARRAY_MAX);
        expect_array(s);
        return;
    }
    fill(s->in, s->own, s->own_len);
    s->expected = model_place(s, s->reserved) ? WEIR_OK : WEIR_FULL;
    if (s->expected == WEIR_OK)
        model_add(s, s->reserved, s->own_len);
    if (s->expected == WEIR_OK && (what == PUSH || what == COMMIT))
        s->committed[1] = s->count;
}

static void make_writer(crash_world *w, unsigned what, uint64_t state)
{
    scene *s = scene_of(w);
    make_start(w, what, state);
    if (what == FLUSH)
        s->committed[1] = s->count;
    if (what == DRAINED)
        s->expected = least(s) == s->count && s->count == s->committed[0] ? WEIR_OK : WEIR_FULL;
}

static void make_reader(crash_world *w, unsigned what, uint64_t state)
{
    scene *s = scene_of(w);
    make_start(w, what, state % START_STATES);
    uint32_t next = s->slot[OWN].next;
    bool there = next < s->committed[0], reads = what == POP || what == POP_MORE || what == PEEK || what == READY;
    s->size = BYTES_MAX;
    if (reads)
        s->expected = there ? WEIR_OK : WEIR_EMPTY;
    if ((what == POP || what == POP_MORE) && state >= START_STATES && there && s->len[next] > 0) {
        s->size = s->len[next] - 1;
        s->expected = WEIR_E_TOO_SMALL;
    }
    if (what == RELEASE || (what == POP && s->expected == WEIR_OK))
        s->released = next + (what == POP);
}

static void make_join(crash_world *w, unsigned what, uint64_t state)
{
    scene *s = scene_of(w);
    make_start(w, what, state);
    bool held = s->slot[OWN].released >= s->announced[0];
    s->oldest = s->announced[0];
    s->before = held ? s->slot[OWN].released : s->announced[0];
    s->after = what == JOIN_OLDEST ? s->announced[0] : what == JOIN_NEWEST ? s->committed[0] : s->before;
    if (what == JOIN_RESUME && !held)
        s->expected = WEIR_E_STATE;
}

/* ---- the operations ---- */

static weir_status reserve_and_commit(scene *s, bool more)
{
    void *slot = NULL;
    weir_status status = weir_broadcast_gated_reserve(&s->w, s->reserved, &slot);
    if (status != WEIR_OK)
        return status;
    if (s->own_len > 0)
        WEIR_PAYLOAD_WRITE(slot, s->in, s->own_len);
    return (more ? weir_broadcast_gated_commit_more : weir_broadcast_gated_commit)(&s->w, s->own_len);
}

static weir_status attach_own(crash_world *w, weir_broadcast_gated_start start)
{
    scene *s = scene_of(w);
    return weir_broadcast_gated_reader_attach(&s->r[OWN], w->memory, w->bytes, OWN, s->slot[OWN].generation + 1, start);
}

static void run(crash_world *w)
{
    scene *s = scene_of(w);
    weir_broadcast_gated_reader *r = &s->r[OWN];
    s->status = WEIR_OK;
    switch (s->what) {
    case PUSH:
        s->status = weir_broadcast_gated_push(&s->w, s->in, s->own_len);
        break;
    case PUSH_MORE:
        s->status = weir_broadcast_gated_push_more(&s->w, s->in, s->own_len);
        break;
    case PUSH_ARRAY:
        s->status = weir_broadcast_gated_push_array(&s->w, s->in, s->own_len, s->arrays, &s->pushed);
        break;
    case FLUSH:
        weir_broadcast_gated_flush(&s->w);
        break;
    case COMMIT:
        s->status = reserve_and_commit(s, false);
        break;
    case COMMIT_MORE:
        s->status = reserve_and_commit(s, true);
        break;
    case WRITER_ATTACH:
        s->status = weir_broadcast_gated_writer_attach(&s->w, w->memory, w->bytes, s->dead, SLOTS);
        break;
    case RECOVER:
        s->status = weir_broadcast_gated_recover(&s->w, GONE, s->slot[GONE].generation);
        break;
    case DRAINED:
        s->status = weir_broadcast_gated_drained(&s->w);
        break;
    case READERS:
        s->status = weir_broadcast_gated_readers(w->memory, w->bytes, &s->got);
        break;
    case GATE_FROM:
        s->status = weir_broadcast_gated_gate_from(&s->w, OWN, &s->gate);
        break;
    case POP:
        s->status = weir_broadcast_gated_pop(r, s->out, s->size, &s->got);
        break;
    case POP_MORE:
        s->status = weir_broadcast_gated_pop_more(r, s->out, s->size, &s->got);
        break;
    case PEEK:
        s->status = weir_broadcast_gated_peek(r, &s->msg, &s->got);
        break;
    case RELEASE:
        weir_broadcast_gated_release(r);
        break;
    case READY:
        s->status = weir_broadcast_gated_ready(r);
        break;
    case JOIN_OLDEST:
        s->status = attach_own(w, WEIR_BROADCAST_GATED_OLDEST);
        break;
    case JOIN_NEWEST:
        s->status = attach_own(w, WEIR_BROADCAST_GATED_NEWEST);
        break;
    case JOIN_RESUME:
        s->status = attach_own(w, WEIR_BROADCAST_GATED_RESUME);
        break;
    case DETACH:
        s->status = weir_broadcast_gated_reader_detach(r);
    }
}

/* ---- what must hold ---- */

/* A new holder of a slot, who goes on where the former one stopped. */
static void take_over(crash_world *w, unsigned i)
{
    scene *s = scene_of(w);
    uint32_t generation = s->slot[i].generation + 2; /* the operation's own may be one more */
    weir_status status = weir_broadcast_gated_reader_attach(&s->r[i], w->memory, w->bytes, i, generation,
                                                            WEIR_BROADCAST_GATED_RESUME);
    if (status == WEIR_E_STATE)
        status = weir_broadcast_gated_reader_attach(&s->r[i], w->memory, w->bytes, i, generation,
                                                    WEIR_BROADCAST_GATED_OLDEST);
    CHECK_OK(status);
}

static void recover(crash_world *w, crash_heirs heirs)
{
    scene *s = scene_of(w);
    const weir_broadcast_gated_entry *own = &layout_of(w)->entry[OWN];
    s->found_word = read_word(&own->word);
    s->found_cursor = read_word(&own->cursor);
    if (heirs == CRASH_NEW_ENDS || by_writer(s))
        CHECK_OK(weir_broadcast_gated_writer_attach(&s->w, w->memory, w->bytes, s->dead, SLOTS));
    else if (s->capacity == 128) /* the writer hears of it before somebody takes over, or never */
        CHECK_OK(weir_broadcast_gated_recover(&s->w, OWN, s->slot[OWN].generation + joins(s)));
    for (unsigned i = OTHER; heirs == CRASH_NEW_ENDS && i <= GONE; i++)
        if (i != OWN && s->slot[i].lives)
            take_over(w, i);
    if (heirs == CRASH_NEW_ENDS || !by_writer(s))
        take_over(w, OWN);
}

/* How far the own reader's operation has come. */
static unsigned reader_came(const scene *s)
{
    uint32_t generation = (uint32_t)(s->found_word >> 32), was = s->slot[OWN].generation;
    if (s->what == DETACH)
        return generation != was; /* left, or taken over by an heir */
    if (!joins(s))
        return s->released != s->slot[OWN].released && s->found_cursor == s->pos[s->released];
    if (s->expected == WEIR_E_STATE)
        return s->found_word != 0 && generation != was + 2 ? 0 : 1;
    if (generation == was + 2)
        return 3;
    return generation != was + 1 ? 0 : s->found_cursor == s->pos[s->after] ? 2 : 1;
}

static unsigned writer_came(crash_world *w)
{
    const scene *s = scene_of(w);
    uint64_t announced = read_word(&layout_of(w)->announced);
    CHECK(index_of(s, announced) >= s->announced[0] && index_of(s, announced) <= s->committed[1]);
    return announced != s->pos[s->announced[0]];
}

/* The heir of a slot has begun where it must. */
static void expect_begun(scene *s, unsigned i)
{
    uint32_t generation = s->slot[i].generation + 2, at = index_of(s, s->r[i].lane.pos);
    if (i != OWN || by_writer(s))
        CHECK(at == s->slot[i].released);
    else if (!joins(s))
        CHECK(at == s->slot[i].released || at == s->released ||
              (s->what == DETACH && s->found_word == 0 && at == s->announced[0])); /* it had left, others went on */
    else if (s->announced[0] > s->before) /* given up meanwhile, or by this very operation's death */
        CHECK(at >= s->oldest);
    else /* of all it did nothing, or some, or all */
        CHECK(at == s->before || (s->what != JOIN_RESUME && (at == s->oldest || at == s->after)) || at > s->after);
    arrived(s, i, generation);
}

/* Full exactly when a reader that is there holds what would be overwritten. */
static uint32_t push_until_full(scene *s)
{
    uint32_t count = 0;
    while (add(s, s->count % 3 * 5, false))
        count++;
    return count;
}

/* Everybody for more than a lap; then who is slowest gates, whoever that is. */
static void go_on(crash_world *w)
{
    scene *s = scene_of(w);
    if (!s->slot[GONE].lives)
        tell(s, GONE);
    unsigned slow = s->slot[OTHER].lives && s->count % 2 != 0 ? OTHER : OWN;
    for (unsigned i = 0; i < 16; i++) {
        for (unsigned r = 0; r < SLOTS; r++)
            if (s->slot[r].lives)
                take_all(s, r);
        CHECK(add(s, i % 8 == 7 ? weir_broadcast_gated_record_max(s->capacity) : i % 5 * 4, i % 3 == 0));
        if (i % 3 == 0)
            flush(s);
    }
    for (unsigned round = 0; round < 3; round++) {
        (void)push_until_full(s);
        for (unsigned r = 0; r < SLOTS; r++)
            if (s->slot[r].lives && r != slow)
                take_all(s, r);
        CHECK(push_until_full(s) == 0);
        take_all(s, slow);
    }
    CHECK(push_until_full(s) > 0);
}

static unsigned examine(crash_world *w, crash_heirs heirs)
{
    scene *s = scene_of(w);
    bool writer_lives = heirs == CRASH_SURVIVORS && !by_writer(s);
    unsigned happened = writer_came(w) + (by_writer(s) ? 0 : reader_came(s));
    for (unsigned i = 0; i < SLOTS; i++)
        if ((heirs == CRASH_NEW_ENDS && (i == OWN || s->slot[i].lives)) || (i == OWN && !by_writer(s)))
            expect_begun(s, i);
    s->announced[0] = s->announced[1] = index_of(s, read_word(&layout_of(w)->announced));
    take_all(s, OWN);
    uint32_t end = s->slot[OWN].next;
    happened += end != s->committed[0];
    settle(s, end);
    if (writer_lives) { /* its batch is none of the dead reader's business */
        flush(s);
        end = s->count;
        CHECK_OK(weir_broadcast_gated_recover(&s->w, OWN, s->slot[OWN].generation - 1)); /* late news */
    } else {
        s->count = end;
        s->limit[0] = s->limit[1] = s->pos[end];
    }
    for (unsigned i = 0; i < SLOTS; i++)
        if (s->slot[i].lives)
            read_some(s, i, RECORDS + 1);
    CHECK(s->w.lane.pos == s->pos[end]);
    go_on(w);
    return happened;
}

static unsigned returned(crash_world *w)
{
    scene *s = scene_of(w);
    CHECK_STATUS(s->status, s->what == GATE_FROM ? s->status : s->expected);
    CHECK(s->what != PUSH_ARRAY || s->pushed == s->expected_pushed);
    CHECK(s->what != READERS || s->got == SLOTS);
    CHECK(s->limit[1] == s->w.lane.limit_pos || s->what == WRITER_ATTACH);
    if (s->what == GATE_FROM) {
        CHECK_OK(s->status);
        CHECK(s->gate.reader == OWN && s->gate.generation == s->slot[OWN].generation);
        CHECK(s->gate.lag_bytes == s->pos[s->committed[0]] - s->pos[s->slot[OWN].released]);
    }
    if (joins(s) && s->status == WEIR_OK)
        CHECK(s->r[OWN].lane.pos == s->pos[s->after]);
    unsigned reader = joins(s) ? (s->status == WEIR_OK ? 2 : 1) : s->what == DETACH;
    return (unsigned)(s->committed[1] != s->committed[0]) + (s->announced[1] != s->announced[0]) + reader +
           (s->released != s->slot[OWN].released);
}

/* ---- frozen, not dead ---- */

/* The own reader's entry as it is now: half of its operation may have happened. */
static void see_own(crash_world *w)
{
    scene *s = scene_of(w);
    uint64_t word = read_word(&layout_of(w)->entry[OWN].word);
    s->slot[OWN].gates = word != 0;
    s->slot[OWN].told = word != 0 && word == s->dead[OWN];
}

static void writer_goes_on(crash_world *w, uint64_t choice)
{
    static const uint64_t counts[] = { 0, 1, 3, 9, 30 };
    scene *s = scene_of(w);
    uint32_t released = s->slot[OWN].released;
    see_own(w);
    s->slot[OWN].released = index_of(s, read_word(&layout_of(w)->entry[OWN].cursor));
    flush(s);
    for (uint64_t i = counts[choice % 5]; i > 0; i--) {
        if (!add(s, length_by(s, (choice + i) % LENGTHS), false) && choice % 2 == 0)
            tell(s, GONE);
        if (choice % 3 != 0)
            take_all(s, OTHER);
    }
    leave_ghost(w, s, choice % 3);
    s->slot[OWN].released = released;
}

static void others(crash_world *w, uint64_t choice)
{
    scene *s = scene_of(w);
    if (!by_writer(s)) {
        writer_goes_on(w, choice);
        return;
    }
    bool in_batch = s->committed[1] != s->committed[0];
    switch (choice % 8) {
    case 0:
        take_all(s, OTHER);
        take_all(s, OWN);
        break;
    case 1:
        read_some(s, OTHER, 1);
        break;
    case 2:
        leave(s, OTHER);
        break;
    case 3:
        leave(s, OTHER);
        join(w, OTHER, WEIR_BROADCAST_GATED_OLDEST);
        break;
    case 4:
    case 5:
    case 6: {
        static const weir_broadcast_gated_start starts[] = { WEIR_BROADCAST_GATED_OLDEST, WEIR_BROADCAST_GATED_NEWEST,
                                                             WEIR_BROADCAST_GATED_RESUME };
        s->announced[1] = index_of(s, read_word(&layout_of(w)->announced));
        join(w, GONE, starts[choice % 8 - 4]);
        read_some(s, GONE, 2);
        break;
    }
    default:
        take_all(s, OWN);
    }
    for (unsigned i = 0; in_batch && i < SLOTS; i++) /* what a reader has seen is there for good */
        if (s->slot[i].next > s->committed[0])
            settle(s, s->committed[1]);
}

/* The writer's call came back after others were at work: it is done or not. */
static void resumed_writer(crash_world *w)
{
    scene *s = scene_of(w);
    bool any = s->status == WEIR_OK || (s->status == WEIR_FULL && s->what != FLUSH && s->what != WRITER_ATTACH);
    CHECK(any || s->status == WEIR_EMPTY);
    if (s->what == PUSH_ARRAY) {
        CHECK(s->status == WEIR_OK ? s->pushed == s->arrays : s->pushed < s->arrays);
        for (s->count = s->own; s->count < s->own + s->pushed;)
            model_add(s, s->own_len, s->own_len);
    } else if (s->what <= COMMIT_MORE && s->what != FLUSH) {
        s->count = s->own;
        if (s->status == WEIR_OK)
            model_add(s, s->reserved, s->own_len);
    }
    s->limit[1] = s->w.lane.limit_pos;
    s->announced[1] = index_of(s, read_word(&layout_of(w)->announced));
}

static void resumed_reader(crash_world *w)
{
    scene *s = scene_of(w);
    uint32_t *next = &s->slot[OWN].next;
    CHECK(s->status == s->expected || s->status == WEIR_OK || (s->what == JOIN_RESUME && s->status == WEIR_E_STATE));
    if (joins(s)) {
        if (s->status == WEIR_E_STATE) {
            CHECK(read_word(&layout_of(w)->entry[OWN].word) == 0);
            join(w, OWN, WEIR_BROADCAST_GATED_OLDEST);
        } else {
            arrived(s, OWN, s->slot[OWN].generation + 1);
            CHECK(*next >= s->oldest && (s->what != JOIN_RESUME || *next == s->before));
        }
        CHECK(s->what != JOIN_NEWEST || *next >= s->after); /* nothing that was published before */
        return;
    }
    if (s->status == WEIR_OK && (s->what == POP || s->what == POP_MORE || s->what == PEEK)) {
        const unsigned char *bytes = s->what == PEEK ? s->msg : s->out;
        CHECK(*next < s->count && s->got == s->len[*next] && holds(bytes, *next, s->got));
        ++*next;
    }
    if (s->status == WEIR_OK && (s->what == POP || s->what == RELEASE))
        s->slot[OWN].released = *next;
    CHECK(s->status != WEIR_E_TOO_SMALL || s->got == s->len[*next]);
    if (s->what == DETACH) {
        s->slot[OWN].lives = s->slot[OWN].gates = false;
        join(w, OWN, WEIR_BROADCAST_GATED_RESUME);
    }
    CHECK(read_word(&layout_of(w)->entry[OWN].cursor) == s->pos[s->slot[OWN].released]);
}

static void resumed(crash_world *w)
{
    scene *s = scene_of(w);
    if (by_writer(s))
        resumed_writer(w);
    else
        resumed_reader(w);
    if (s->what == WRITER_ATTACH)
        for (unsigned i = 0; i < SLOTS; i++)
            s->slot[i].told = false;
    settle_room(s);
    flush(s);
    CHECK(s->w.lane.pos == s->pos[s->count]);
    for (unsigned i = 0; i < SLOTS; i++)
        if (s->slot[i].lives) {
            read_some(s, i, RECORDS + 1);
            CHECK(s->slot[i].next == s->count);
        }
    go_on(w);
}

static const crash_rules rules = { recover, examine, returned, others, resumed };

/* ---- the table ---- */

#define RECORD_STATES (START_STATES * LENGTHS * 2)

static const crash_operation operations[] = {
    { "push", PUSH, RECORD_STATES, make_record, run, &rules },
    { "push_more", PUSH_MORE, RECORD_STATES, make_record, run, &rules },
    { "push_array", PUSH_ARRAY, RECORD_STATES, make_record, run, &rules },
    { "flush", FLUSH, START_STATES, make_writer, run, &rules },
    { "commit", COMMIT, RECORD_STATES, make_record, run, &rules }, /* reserve, the caller's writing, commit */
    { "commit_more", COMMIT_MORE, RECORD_STATES, make_record, run, &rules },
    { "writer_attach", WRITER_ATTACH, START_STATES, make_writer, run, &rules },
    { "recover", RECOVER, START_STATES, make_writer, run, &rules },
    { "drained", DRAINED, START_STATES, make_writer, run, &rules },
    { "readers", READERS, START_STATES, make_writer, run, &rules },
    { "gate_from", GATE_FROM, START_STATES, make_writer, run, &rules },
    { "pop", POP, START_STATES * 2, make_reader, run, &rules },
    { "pop_more", POP_MORE, START_STATES * 2, make_reader, run, &rules },
    { "peek", PEEK, START_STATES, make_reader, run, &rules },
    { "release", RELEASE, START_STATES, make_reader, run, &rules },
    { "ready", READY, START_STATES, make_reader, run, &rules },
    { "join_oldest", JOIN_OLDEST, START_STATES, make_join, run, &rules },
    { "join_newest", JOIN_NEWEST, START_STATES, make_join, run, &rules },
    { "join_resume", JOIN_RESUME, START_STATES, make_join, run, &rules },
    { "detach", DETACH, START_STATES, make_reader, run, &rules },
};

const crash_ring crash_ring_broadcast_gated = {
    .name = "broadcast-gated",
    .operations = operations,
    .count = sizeof operations / sizeof operations[0],
    .storms = storm_broadcast_gated,
    .storm_count = STORM_BROADCAST_GATED_COUNT,
};
