/* Broadcast's operations for the crash harness: their start states, and what must hold wherever one of them ends. */
#include "crash.h"
#include "storm.h"

#include <weir/ring/broadcast_layout.h>

#define RECORDS 192u
#define BYTES_MAX 128u
#define LENGTHS 6u
#define BOUNDARIES (2 * RECORDS)

enum what { PUSH, PUSH_MORE, FLUSH, COMMIT, COMMIT_MORE, WRITER_ATTACH, READ, READY, READER_ATTACH, READER_RESUME };

/* The model counts records from the ring's first. */
typedef struct scene {
    weir_broadcast_writer w;
    weir_broadcast_reader r;
    enum what what;
    uint64_t capacity, start_number;
    uint64_t pos[RECORDS + 1]; /* where record i begins: the end of the one before it */
    uint32_t len[RECORDS];
    uint32_t count, committed[2]; /* before the operation, and once it has happened */
    uint64_t limit[2];
    uint32_t anchor[2]; /* the newest boundary that is remembered */
    uint64_t anchors[2];
    uint32_t boundary[BOUNDARIES]; /* all there have been; the newest is anchor[1] */
    uint32_t next, own; /* the reader's next record; the operation's first */
    /* the operation's arguments, and what it gave */
    uint32_t own_len, reserved, size, got;
    uint32_t wanted, published; /* where to resume; and of what was there before that, the records */
    uint64_t remembered;        /* and the boundaries */
    uint64_t lost;
    weir_status expected, status;
    unsigned char in[BYTES_MAX], out[BYTES_MAX];
} scene;

_Static_assert(sizeof(scene) <= CRASH_SCENE_BYTES, "a scene fits into its world");

static scene *scene_of(crash_world *w) { return (scene *)(void *)w->scene; }

static bool by_writer(const scene *s) { return s->what <= WRITER_ATTACH; }

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

/* ---- the model: a second opinion on where records go and when the limit moves ---- */

static uint64_t size_of(uint64_t len) { return 16 + (len + 7) / 8 * 8; }

static uint64_t begin_of(const scene *s, uint64_t len)
{
    uint64_t pos = s->pos[s->count], room = s->capacity - pos % s->capacity;
    return pos + (size_of(len) > room ? room : 0);
}

/* Makes room for a record in the model's second half.  False: the open batch is too long. */
static bool model_place(scene *s, uint64_t len)
{
    uint64_t end = begin_of(s, len) + size_of(len) + 8, step = s->capacity / 8;
    if ((int64_t)(s->limit[1] - end) >= 0)
        return true;
    if (s->pos[s->count] - s->pos[s->committed[0]] > s->capacity / 4)
        return false;
    s->limit[1] = (end + step - 1) / step * step;
    s->anchor[1] = s->committed[0];
    CHECK(s->anchors[1] < BOUNDARIES);
    s->boundary[s->anchors[1]++] = s->anchor[1];
    return true;
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
    s->anchor[0] = s->anchor[1];
    s->anchors[0] = s->anchors[1];
}

static void settle(scene *s, uint32_t count) { s->committed[0] = s->committed[1] = count; }

static bool add(scene *s, uint64_t len, bool more)
{
    unsigned char msg[BYTES_MAX];
    bool room = model_place(s, len);
    fill(msg, s->count, len);
    CHECK_STATUS((more ? weir_broadcast_push_more : weir_broadcast_push)(&s->w, msg, len), room ? WEIR_OK : WEIR_FULL);
    settle_room(s);
    if (room)
        model_add(s, len, len);
    if (room && !more)
        settle(s, s->count);
    return room;
}

/* May what stands at record i have been overwritten? */
static bool overtaken(const scene *s, uint32_t i) { return s->limit[1] - s->pos[i] > s->capacity; }

/* A record, as read gave it: the reader's next one, or exactly as many behind it as were lost, which only the limit
 * allows, and no further on than the newest boundary. */
static void expect_got(scene *s, const unsigned char *bytes, uint32_t len, uint64_t lost)
{
    CHECK(lost < RECORDS && (lost == 0 || (overtaken(s, s->next) && s->next + lost <= s->anchor[1])));
    s->next += (uint32_t)lost;
    CHECK(s->next < s->count && len == s->len[s->next] && holds(bytes, s->next, len));
    s->next++;
}

static void read_some(scene *s, uint32_t most)
{
    unsigned char bytes[BYTES_MAX];
    uint32_t len = 0;
    uint64_t lost = 0;
    for (; most > 0; most--) {
        weir_status status = weir_broadcast_read(&s->r, bytes, sizeof bytes, &len, &lost);
        if (status == WEIR_EMPTY) {
            uint64_t at = s->r.number - s->start_number;
            CHECK(at == s->committed[0] || at == s->committed[1]);
            CHECK(s->r.pos == s->pos[at] && s->r.lost == at - s->next);
            CHECK(s->r.lost == 0 || overtaken(s, s->next));
            CHECK_STATUS(weir_broadcast_ready(&s->r), WEIR_EMPTY);
            return;
        }
        CHECK_OK(status); /* nobody is writing: never AGAIN */
        expect_got(s, bytes, len, lost);
    }
}

static void read_all(scene *s) { read_some(s, RECORDS + 1); }

/* A reader that attached has begun at one of these boundaries, whole. */
static void expect_begun(scene *s, uint32_t low, uint32_t high)
{
    uint64_t at = s->r.number - s->start_number;
    CHECK(at >= low && at <= high && s->r.pos == s->pos[at]);
    s->next = (uint32_t)at;
}

/* The newest boundary that is not behind the record, or else the oldest that is still there. */
static uint32_t boundary_of(const scene *s, uint32_t record)
{
    uint64_t i = s->anchors[1] - 1;
    while (i > 0 && s->boundary[i] > record && !overtaken(s, s->boundary[i - 1]))
        i--;
    return s->boundary[i];
}

/* A reader that resumed is where it wanted to be, or behind the last record there was, or has lost exactly what no
 * boundary leads to any more.  One that is overtaken meanwhile goes on as in read, at no later boundary than the newest. */
static void expect_resumed(scene *s)
{
    uint32_t at = (uint32_t)(s->r.number - s->start_number), wanted = s->wanted;
    CHECK(at <= s->count && s->r.pos == s->pos[at]);
    CHECK(s->lost == (at > wanted ? at - wanted : 0));
    CHECK(at >= wanted || at >= s->published);
    CHECK(at <= wanted || at <= s->anchor[1]);
    CHECK(at <= wanted || boundary_of(s, wanted) > wanted || s->anchors[1] != s->remembered);
    s->next = at;
}

static void new_reader(crash_world *w, scene *s)
{
    CHECK_OK(weir_broadcast_reader_attach(&s->r, w->memory, w->bytes));
    expect_begun(s, s->anchor[0], s->anchor[1]);
    CHECK(s->next == s->anchor[0] || s->next == s->anchor[1]);
}

/* ---- start states ---- */

#define RESUMES 8u
#define START_STATES (UINT64_C(2) * 32 * 4 * 9 * 4 * 2 * 3 * 4)

static uint64_t length_by(const scene *s, uint64_t choice)
{
    static const uint64_t lens[LENGTHS - 1] = { 0, 1, 8, 13, 24 };
    return choice < LENGTHS - 1 ? lens[choice] : weir_broadcast_record_max(s->capacity);
}

/* A writer that died in the middle of a batch, and of a payload.  The limit has moved for what it wrote. */
static void leave_ghost(crash_world *w, scene *s, uint64_t how)
{
    void *slot = NULL;
    uint32_t wanted = how == 0 ? 0 : how == 1 ? 2 : RECORDS, count = s->count;
    while (s->count - count < wanted && add(s, 7, true))
        continue;
    if (how == 1 && model_place(s, 24)) {
        CHECK_OK(weir_broadcast_reserve(&s->w, 24, &slot));
        memset(slot, 0x69, 13);
        settle_room(s);
    }
    s->count = count;
    if (how != 0)
        CHECK_OK(weir_broadcast_writer_attach(&s->w, w->memory, w->bytes));
}

/* Records and, `lag` behind them, the reader; or one who has only come now. */
static void make_history(crash_world *w, scene *s, uint64_t records, uint64_t lens, uint64_t behind)
{
    static const uint32_t lag[] = { 0, 3, RECORDS };
    for (uint64_t i = 0; i < records; i++) {
        (void)add(s, lens == 0 ? 0 : length_by(s, (i + lens) % LENGTHS), false);
        if (behind < 3 && s->count - s->next > lag[behind])
            read_some(s, s->count - s->next - lag[behind]);
    }
    if (behind == 3)
        new_reader(w, s);
}

static void make_start(crash_world *w, unsigned what, uint64_t state)
{
    static const uint64_t base[] = { 1 << 20, UINT64_C(1) << 32, UINT64_C(1) << 63, 0 };
    static const uint64_t histories[] = { 0, 1, 2, 5, 9, 16, 23, 40, 70 };
    scene *s = scene_of(w);
    s->what = (enum what)what;
    s->capacity = crash_digit(&state, 2) != 0 ? 512 : 256;
    uint64_t offset = crash_digit(&state, 32) * 8, near = base[crash_digit(&state, 4)];
    uint64_t records = histories[crash_digit(&state, 9)], behind = crash_digit(&state, 4);
    crash_memory(w, WEIR_BROADCAST_CONTROL + s->capacity, crash_digit(&state, 2) != 0 ? WEIR_BROADCAST_DATA : 0);
    uint64_t ghost = crash_digit(&state, 3), batch = crash_digit(&state, 4);
    s->start_number = near - offset / 8;
    s->pos[0] = near - 256 + offset;
    s->limit[0] = s->limit[1] = s->pos[0] + 8;
    s->anchors[0] = s->anchors[1] = 1;
    CHECK_OK(weir_broadcast_init(w->memory, w->bytes, s->capacity, s->pos[0], s->start_number));
    CHECK_OK(weir_broadcast_writer_attach(&s->w, w->memory, w->bytes));
    CHECK_OK(weir_broadcast_reader_attach(&s->r, w->memory, w->bytes));
    make_history(w, s, records, offset / 8 % 3 + ghost, behind);
    leave_ghost(w, s, ghost);
    if (what == WRITER_ATTACH)
        batch = 0; /* that writer is not there yet */
    for (uint64_t i = 0; (batch == 3 || i < batch) && add(s, 9, true); i++)
        continue;
    s->own = s->count;
}

/* state's last digits are the operation's own. */
static void make_writer(crash_world *w, unsigned what, uint64_t state)
{
    scene *s = scene_of(w);
    uint64_t own = state / START_STATES % LENGTHS, more = state / START_STATES / LENGTHS;
    void *slot = NULL;
    make_start(w, what, state % START_STATES);
    if (what == FLUSH)
        s->committed[1] = s->count;
    if (what == FLUSH || what == WRITER_ATTACH)
        return;
    bool commit = what == COMMIT || what == COMMIT_MORE;
    s->own_len = (uint32_t)length_by(s, own);
    s->reserved = commit && more != 0 ? weir_broadcast_record_max(s->capacity) : s->own_len;
    if (!commit && more != 0 && model_place(s, 8)) { /* reserved, written to, and given up */
        CHECK_OK(weir_broadcast_reserve(&s->w, 8, &slot));
        memset(slot, 0x77, 8);
        settle_room(s);
    }
    fill(s->in, s->own, s->own_len);
    s->expected = model_place(s, s->reserved) ? WEIR_OK : WEIR_FULL;
    if (s->expected == WEIR_OK)
        model_add(s, s->reserved, s->own_len);
    if (s->expected == WEIR_OK && (what == PUSH || what == COMMIT))
        s->committed[1] = s->count;
}

/* Where the reader is; at, before and behind the newest boundary; all that was, and what is not written yet. */
static uint32_t wanted_by(const scene *s, uint64_t choice)
{
    const uint32_t wanted[RESUMES] = { s->next, 0, s->anchor[1], s->anchor[1] + 1, s->anchor[1] - (s->anchor[1] > 0),
                                       s->committed[0] / 2, s->committed[0], s->committed[0] + 2 };
    return wanted[choice];
}

static void make_reader(crash_world *w, unsigned what, uint64_t state)
{
    scene *s = scene_of(w);
    make_start(w, what, state % START_STATES);
    s->published = s->committed[0];
    s->remembered = s->anchors[1];
    if (what == READER_RESUME)
        s->wanted = wanted_by(s, state / START_STATES);
    bool there = s->r.number - s->start_number < s->committed[0];
    s->size = BYTES_MAX;
    if (what == READY)
        s->expected = there || overtaken(s, s->next) ? WEIR_OK : WEIR_EMPTY;
    if (what != READ || overtaken(s, s->next)) /* what it then gives is for expect_got to say */
        return;
    s->expected = there ? WEIR_OK : WEIR_EMPTY;
    if (state >= START_STATES && there && s->len[s->next] > 0) {
        s->size = s->len[s->next] - 1;
        s->expected = WEIR_E_TOO_SMALL;
    }
}

/* ---- the operations ---- */

static void run_push(crash_world *w)
{
    scene *s = scene_of(w);
    s->status = weir_broadcast_push(&s->w, s->in, s->own_len);
}

static void run_push_more(crash_world *w)
{
    scene *s = scene_of(w);
    s->status = weir_broadcast_push_more(&s->w, s->in, s->own_len);
}

static void run_flush(crash_world *w) { weir_broadcast_flush(&scene_of(w)->w); }

static void reserve_and_commit(scene *s, bool more)
{
    void *slot = NULL;
    s->status = weir_broadcast_reserve(&s->w, s->reserved, &slot);
    if (s->status != WEIR_OK)
        return;
    if (s->own_len > 0)
        WEIR_PAYLOAD_WRITE(slot, s->in, s->own_len);
    s->status = (more ? weir_broadcast_commit_more : weir_broadcast_commit)(&s->w, s->own_len);
}

static void run_commit(crash_world *w) { reserve_and_commit(scene_of(w), false); }
static void run_commit_more(crash_world *w) { reserve_and_commit(scene_of(w), true); }

static void run_writer_attach(crash_world *w)
{
    scene_of(w)->status = weir_broadcast_writer_attach(&scene_of(w)->w, w->memory, w->bytes);
}

static void run_read(crash_world *w)
{
    scene *s = scene_of(w);
    s->status = weir_broadcast_read(&s->r, s->out, s->size, &s->got, &s->lost);
}

static void run_ready(crash_world *w) { scene_of(w)->status = weir_broadcast_ready(&scene_of(w)->r); }

static void run_reader_attach(crash_world *w)
{
    scene_of(w)->status = weir_broadcast_reader_attach(&scene_of(w)->r, w->memory, w->bytes);
}

static void run_reader_resume(crash_world *w)
{
    scene *s = scene_of(w);
    s->status = weir_broadcast_reader_resume(&s->r, w->memory, w->bytes, s->start_number + s->wanted);
    s->lost = s->r.lost; /* it is for expect_resumed, not for who reads on */
    s->r.lost = 0;
}

/* ---- what must hold ---- */

static void recover(crash_world *w, crash_heirs heirs)
{
    scene *s = scene_of(w);
    if (heirs == CRASH_NEW_ENDS || by_writer(s))
        CHECK_OK(weir_broadcast_writer_attach(&s->w, w->memory, w->bytes));
    if (heirs == CRASH_NEW_ENDS || !by_writer(s))
        CHECK_OK(weir_broadcast_reader_attach(&s->r, w->memory, w->bytes));
}

/* The writer and the reader, who has read all, for more than a lap; then the reader is overrun. */
static void go_on(scene *s, uint64_t i)
{
    unsigned char bytes[BYTES_MAX];
    uint32_t got = 0;
    uint64_t lost = 0, next = i, end = i + 20;
    uint32_t max = weir_broadcast_record_max(s->capacity);
    for (; i < end; i++) {
        uint32_t len = i % 8 == 7 ? max : (uint32_t)(i % 5 * 4);
        fill(bytes, i, len);
        CHECK_OK(weir_broadcast_push(&s->w, bytes, len));
        CHECK_OK(weir_broadcast_read(&s->r, bytes, sizeof bytes, &got, &lost));
        CHECK(got == len && lost == (i == next ? lost : 0) && holds(bytes, i, len));
    }
    for (next = i, end = i + 60; i < end; i++) {
        fill(bytes, i, 1 + i % 9);
        CHECK_OK((i % 2 != 0 ? weir_broadcast_push_more : weir_broadcast_push)(&s->w, bytes, 1 + i % 9));
    }
    weir_broadcast_flush(&s->w);
    for (; next < end; next++) {
        CHECK_OK(weir_broadcast_read(&s->r, bytes, sizeof bytes, &got, &lost));
        CHECK(lost < 60);
        next += lost;
        CHECK(next < end && got == 1 + next % 9 && holds(bytes, next, got));
    }
    CHECK_STATUS(weir_broadcast_read(&s->r, bytes, sizeof bytes, &got, &lost), WEIR_EMPTY);
}

static weir_broadcast_layout *layout_of(crash_world *w) { return (weir_broadcast_layout *)(void *)w->memory; }

/* How far the limit's move has come. */
static unsigned moved(crash_world *w)
{
    const scene *s = scene_of(w);
    uint64_t limit = WEIR_ATOMIC_LOAD(&layout_of(w)->limit, RELAXED);
    uint64_t anchors = WEIR_ATOMIC_LOAD(&layout_of(w)->anchors, RELAXED);
    CHECK(limit == s->limit[0] || limit == s->limit[1]);
    CHECK(anchors == s->anchors[0] || anchors == s->anchors[1]);
    return (unsigned)(limit != s->limit[0]) + (anchors != s->anchors[0]);
}

static unsigned examine(crash_world *w, crash_heirs heirs)
{
    scene *s = scene_of(w);
    bool writer_lives = heirs == CRASH_SURVIVORS && !by_writer(s);
    unsigned happened = moved(w);
    if (heirs == CRASH_NEW_ENDS || !by_writer(s)) {
        expect_begun(s, s->anchor[0], s->anchor[1]);
        CHECK(s->next == s->anchor[0] || s->next == s->anchor[1]);
    }
    read_all(s);
    uint64_t end = s->r.number - s->start_number;
    happened += end != s->committed[0];
    if (writer_lives) { /* its batch is none of the dead reader's business */
        weir_broadcast_flush(&s->w);
        settle(s, s->count);
        read_all(s);
        end = s->count;
    }
    CHECK(s->w.pos == s->pos[end] && s->w.number == s->start_number + end);
    go_on(s, end);
    return happened;
}

static unsigned returned(crash_world *w)
{
    scene *s = scene_of(w);
    bool late = s->what == READ && overtaken(s, s->next);
    CHECK(late ? s->status == WEIR_OK || s->status == WEIR_EMPTY : s->status == s->expected);
    if (s->what == READ && s->status == WEIR_OK) {
        uint32_t next = s->next;
        expect_got(s, s->out, s->got, s->lost);
        s->next = next;
    }
    if (s->what == READER_ATTACH)
        expect_begun(s, s->anchor[1], s->anchor[1]);
    if (s->what == READER_RESUME) {
        uint32_t held = boundary_of(s, s->wanted), end = s->wanted < s->published ? s->wanted : s->published;
        expect_resumed(s);
        CHECK(s->next == (held > end ? held : end));
    }
    CHECK(s->status != WEIR_E_TOO_SMALL || s->got == s->len[s->next]);
    return (unsigned)(s->committed[1] != s->committed[0]) + (s->limit[1] != s->limit[0]) +
           (s->anchors[1] != s->anchors[0]);
}

/* ---- frozen, not dead ---- */

static void writer_goes_on(crash_world *w, uint64_t choice)
{
    static const uint64_t counts[] = { 0, 1, 4, 9, 30, 60 };
    scene *s = scene_of(w);
    weir_broadcast_flush(&s->w);
    settle(s, s->count);
    for (uint64_t i = counts[choice % 6]; i > 0; i--)
        (void)add(s, length_by(s, (choice + i) % LENGTHS), false);
    leave_ghost(w, s, choice % 3);
}

static void others(crash_world *w, uint64_t choice)
{
    scene *s = scene_of(w);
    if (!by_writer(s)) {
        writer_goes_on(w, choice);
        return;
    }
    if (choice % 3 == 1)
        new_reader(w, s);
    read_some(s, choice % 3 == 2 ? 1 : RECORDS + 1);
    if (s->next > s->committed[0]) /* what a reader has seen is there for good */
        settle(s, s->committed[1]);
}

static void resumed_reader(crash_world *w)
{
    scene *s = scene_of(w);
    bool any = s->status == WEIR_OK || (s->status == WEIR_EMPTY && s->what < READER_ATTACH);
    CHECK(any || (s->status == WEIR_E_TOO_SMALL && s->size < BYTES_MAX)); /* never AGAIN: the writer has stopped */
    if (s->what == READER_ATTACH)
        expect_begun(s, s->anchor[0] < s->next ? s->anchor[0] : 0, s->anchor[1]);
    if (s->what == READER_RESUME)
        expect_resumed(s);
    if (s->what == READ && s->status == WEIR_OK)
        expect_got(s, s->out, s->got, s->lost);
    if (s->what == READY && s->expected == WEIR_OK)
        CHECK_OK(s->status);
}

static void resumed(crash_world *w)
{
    scene *s = scene_of(w);
    if (by_writer(s))
        CHECK_STATUS(s->status, s->expected);
    else
        resumed_reader(w);
    settle_room(s);
    weir_broadcast_flush(&s->w);
    settle(s, s->count);
    CHECK(s->w.pos == s->pos[s->count]);
    read_all(s);
    CHECK(s->r.number - s->start_number == s->count);
    go_on(s, s->count);
}

static const crash_rules rules = { recover, examine, returned, others, resumed };

/* ---- the table ---- */

#define WRITER(name, what, states) { #name, what, states, make_writer, run_##name, &rules }
#define READER(name, what, states) { #name, what, states, make_reader, run_##name, &rules }

static const crash_operation operations[] = {
    WRITER(push, PUSH, START_STATES * LENGTHS * 2),
    WRITER(push_more, PUSH_MORE, START_STATES * LENGTHS * 2),
    WRITER(flush, FLUSH, START_STATES),
    WRITER(commit, COMMIT, START_STATES * LENGTHS * 2), /* reserve, the caller's writing, commit */
    WRITER(commit_more, COMMIT_MORE, START_STATES * LENGTHS * 2),
    WRITER(writer_attach, WRITER_ATTACH, START_STATES),
    READER(read, READ, START_STATES * 2),
    READER(ready, READY, START_STATES),
    READER(reader_attach, READER_ATTACH, START_STATES),
    READER(reader_resume, READER_RESUME, START_STATES * RESUMES),
};

const crash_ring crash_ring_broadcast = {
    .name = "broadcast",
    .operations = operations,
    .count = sizeof operations / sizeof operations[0],
    .storms = storm_broadcast,
    .storm_count = STORM_BROADCAST_COUNT,
};
