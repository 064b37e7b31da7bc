/* The newest value's operations for the crash harness: their start states, and what must hold wherever one ends. */
#include "crash.h"
#include "storm.h"

#include <weir/ring/latest_layout.h>

#define BYTES_MAX 64u
#define STALE UINT64_C(0x0000000500000005)

enum what { WRITE, PUBLISH, WRITER_ATTACH, READ, NUMBER, READER_ATTACH };

typedef struct scene {
    weir_latest_writer w;
    weir_latest_reader r;
    enum what what;
    uint32_t value_max, slots;
    uint64_t empty_number; /* init's own, or 0 */
    uint64_t newest[2];    /* before the operation, and once it has happened */
    uint64_t own;          /* the number of the value that the operation writes, which has a length of its own */
    uint32_t own_len, size;
    /* what it gave */
    weir_status expected, status;
    uint32_t got;
    uint64_t number;
    unsigned char in[BYTES_MAX], out[BYTES_MAX];
} scene;

_Static_assert(sizeof(scene) <= CRASH_SCENE_BYTES, "a scene fits into its world");

static scene *scene_of(crash_world *w) { return (scene *)(void *)w->scene; }

static bool by_writer(const scene *s) { return s->what <= WRITER_ATTACH; }

/* ---- the model ---- */

static uint32_t len_of(const scene *s, uint64_t number)
{
    if (number == s->empty_number)
        return 0;
    return number == s->own ? s->own_len : (uint32_t)(number * 5 % (s->value_max + 1));
}

static void fill(unsigned char *bytes, uint64_t number, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++)
        bytes[i] = (unsigned char)(number * 0x9d + i * 7 + 1);
}

static bool holds(const unsigned char *bytes, uint64_t number, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++)
        if (bytes[i] != (unsigned char)(number * 0x9d + i * 7 + 1))
            return false;
    return true;
}

/* The writer's next value, which is that number's. */
static void write_one(scene *s, uint64_t number)
{
    unsigned char bytes[BYTES_MAX];
    fill(bytes, number, len_of(s, number));
    CHECK_OK(weir_latest_write(&s->w, bytes, len_of(s, number)));
}

static void write_half(scene *s, uint64_t ghost)
{
    void *room = NULL;
    CHECK_OK(weir_latest_reserve(&s->w, &room));
    if (ghost > 1)
        fill(room, 999, s->value_max / 2);
}

/* A look must give the value of a number from low to high, whole.  Never AGAIN: nobody writes just now. */
static uint64_t look(scene *s, weir_latest_reader *r, uint64_t low, uint64_t high)
{
    unsigned char bytes[BYTES_MAX];
    uint32_t len = UINT32_MAX;
    uint64_t number = 0;
    weir_status status = weir_latest_read(r, bytes, sizeof bytes, &len, &number);
    CHECK_STATUS(status, status == WEIR_EMPTY && low == 0 ? WEIR_EMPTY : WEIR_OK);
    CHECK(number >= low && number <= high && weir_latest_number(r) == number);
    CHECK(status == WEIR_EMPTY || (number != 0 && len == len_of(s, number) && holds(bytes, number, len)));
    return number;
}

/* ---- start states ---- */

#define START_STATES (2 * 5 * 4 * 8 * 10 * 3 * 3 * 2)
#define LENGTHS 3

static void make_start(crash_world *w, scene *s, uint64_t state)
{
    static const uint64_t base[] = { 0, UINT64_C(1) << 32, UINT64_C(1) << 63, UINT64_MAX - 99 };
    static const uint32_t value_max[] = { 0, 1, 8, 13, 40 };
    s->slots = crash_digit(&state, 2) != 0 ? 8 : 4;
    s->value_max = value_max[crash_digit(&state, 5)];
    uint64_t start = base[crash_digit(&state, 4)], offset = crash_digit(&state, 8);
    uint64_t history = crash_digit(&state, 10), ghost = crash_digit(&state, 3), mine = crash_digit(&state, 3);
    crash_memory(w, weir_latest_footprint(s->value_max, s->slots), crash_digit(&state, 2) != 0 ? STALE : 0);
    s->empty_number = start + offset == 0 ? 0 : start + offset - (start != 0 ? 4 : 0);
    CHECK_OK(weir_latest_init(w->memory, w->bytes, s->value_max, s->slots, s->empty_number));
    CHECK_OK(weir_latest_writer_attach(&s->w, w->memory, w->bytes));
    CHECK_OK(weir_latest_reader_attach(&s->r, w->memory, w->bytes));
    s->newest[0] = s->empty_number;
    for (; history > 0; history--)
        write_one(s, ++s->newest[0]);
    if (ghost > 0) { /* a dead writer's, and the one that took its place */
        write_half(s, ghost);
        CHECK_OK(weir_latest_writer_attach(&s->w, w->memory, w->bytes));
    }
    if (mine > 0) /* reserved, written to, and given up */
        write_half(s, mine);
    s->newest[1] = s->newest[0];
    s->own = s->newest[0] + 1;
}

static void make_writer(crash_world *w, unsigned what, uint64_t state)
{
    scene *s = scene_of(w);
    uint64_t len = state / START_STATES % LENGTHS;
    s->what = (enum what)what;
    s->own = UINT64_MAX;
    make_start(w, s, state % START_STATES);
    s->own_len = len == 0 ? 0 : len == 1 ? s->value_max : s->value_max + 1;
    fill(s->in, s->own, s->own_len);
    if (what == WRITER_ATTACH)
        return;
    s->expected = s->own_len > s->value_max ? WEIR_E_TOO_LARGE : WEIR_OK;
    s->newest[1] += s->expected == WEIR_OK;
}

static void make_reader(crash_world *w, unsigned what, uint64_t state)
{
    scene *s = scene_of(w);
    s->what = (enum what)what;
    s->own = UINT64_MAX;
    make_start(w, s, state % START_STATES);
    s->own_len = len_of(s, s->newest[0]);
    s->own = UINT64_MAX;
    s->size = state >= START_STATES && s->own_len > 0 ? s->own_len - 1 : BYTES_MAX;
    if (what == READ && s->newest[0] == 0)
        s->expected = WEIR_EMPTY;
    else if (what == READ && s->size < s->own_len)
        s->expected = WEIR_E_TOO_SMALL;
}

/* ---- the operations ---- */

static void run_write(crash_world *w)
{
    scene *s = scene_of(w);
    s->status = weir_latest_write(&s->w, s->in, s->own_len);
}

static void run_publish(crash_world *w)
{
    scene *s = scene_of(w);
    void *room = NULL;
    s->status = weir_latest_reserve(&s->w, &room);
    if (s->status != WEIR_OK)
        return;
    if (s->own_len > 0 && s->own_len <= s->value_max)
        WEIR_PAYLOAD_WRITE(room, s->in, s->own_len);
    s->status = weir_latest_publish(&s->w, s->own_len);
}

static void run_writer_attach(crash_world *w)
{
    scene_of(w)->status = weir_latest_writer_attach(&scene_of(w)->w, w->memory, w->bytes);
}

static void run_read(crash_world *w)
{
    scene *s = scene_of(w);
    s->status = weir_latest_read(&s->r, s->out, s->size, &s->got, &s->number);
}

static void run_number(crash_world *w) { scene_of(w)->number = weir_latest_number(&scene_of(w)->r); }

static void run_reader_attach(crash_world *w)
{
    scene_of(w)->status = weir_latest_reader_attach(&scene_of(w)->r, w->memory, w->bytes);
}

/* ---- what must hold ---- */

static void recover(crash_world *w, crash_heirs heirs)
{
    scene *s = scene_of(w);
    if (heirs == CRASH_NEW_ENDS || by_writer(s))
        CHECK_OK(weir_latest_writer_attach(&s->w, w->memory, w->bytes));
    if (heirs == CRASH_NEW_ENDS || !by_writer(s))
        CHECK_OK(weir_latest_reader_attach(&s->r, w->memory, w->bytes));
}

/* Each value is the newest as soon as it is written, for the reader who was there and for a new one. */
static void go_on(crash_world *w, uint64_t number)
{
    scene *s = scene_of(w);
    weir_latest_reader late;
    s->own = UINT64_MAX; /* what comes now has its own lengths */
    for (uint32_t i = 0; i < 2 * s->slots + 1; i++) {
        write_one(s, ++number);
        CHECK(look(s, &s->r, number, number) == number);
        CHECK_OK(weir_latest_reader_attach(&late, w->memory, w->bytes));
        CHECK(look(s, &late, number, number) == number);
    }
}

static unsigned examine(crash_world *w, crash_heirs heirs)
{
    scene *s = scene_of(w);
    (void)heirs;
    uint64_t number = look(s, &s->r, s->newest[0], s->newest[1]);
    CHECK(s->w.number == number);
    unsigned happened = number != s->newest[0];
    go_on(w, number);
    return happened;
}

static unsigned returned(crash_world *w)
{
    scene *s = scene_of(w);
    CHECK_STATUS(s->status, s->expected);
    if (s->what == NUMBER || (s->what == READ && s->status == WEIR_OK))
        CHECK(s->number == s->newest[0]);
    if (s->what == READ && s->status != WEIR_EMPTY)
        CHECK(s->got == len_of(s, s->newest[0]));
    if (s->what == READ && s->status == WEIR_OK)
        CHECK(holds(s->out, s->number, s->got));
    return s->newest[1] != s->newest[0];
}

/* ---- frozen, not dead ---- */

static void others(crash_world *w, uint64_t choice)
{
    scene *s = scene_of(w);
    if (by_writer(s)) { /* what a reader has seen is not taken back */
        if (choice % 2 != 0)
            CHECK_OK(weir_latest_reader_attach(&s->r, w->memory, w->bytes));
        s->newest[0] = look(s, &s->r, s->newest[0], s->newest[1]);
        return;
    }
    for (uint64_t i = 0; i < choice % (2 * s->slots + 3); i++)
        write_one(s, ++s->newest[1]);
    if (choice % 3 != 0)
        write_half(s, choice % 3);
    if (choice % 3 == 2)
        CHECK_OK(weir_latest_writer_attach(&s->w, w->memory, w->bytes));
}

static bool may_read(const scene *s, uint64_t number)
{
    uint32_t len = number != 0 ? len_of(s, number) : UINT32_MAX;
    if (s->status == WEIR_EMPTY)
        return number == 0;
    if (len != s->got)
        return false;
    if (s->status == WEIR_E_TOO_SMALL)
        return len > s->size;
    return s->status == WEIR_OK && s->number == number && holds(s->out, number, len);
}

static void resumed(crash_world *w)
{
    scene *s = scene_of(w);
    if (s->what == READ) { /* any value that was the newest meanwhile; the writer stopped: never AGAIN */
        uint64_t number = s->newest[0];
        while (number < s->newest[1] && !may_read(s, number))
            number++;
        CHECK(may_read(s, number));
    } else {
        CHECK_STATUS(s->status, s->expected);
        CHECK(s->what != NUMBER || (s->number >= s->newest[0] && s->number <= s->newest[1]));
    }
    (void)look(s, &s->r, s->newest[1], s->newest[1]);
    go_on(w, s->newest[1]);
}

/* A reader was lost while others wrote: what it has seen is nobody's business, and all they wrote is there. */
static void recover_settled(crash_world *w, crash_heirs heirs)
{
    scene_of(w)->newest[0] = scene_of(w)->newest[1];
    recover(w, heirs);
}

static const crash_rules rules = { recover, examine, returned, others, resumed };
static const crash_rules reader_rules = { recover_settled, examine, returned, others, resumed };

/* ---- the table ---- */

#define WRITER(name, what) { #name, what, START_STATES * LENGTHS, make_writer, run_##name, &rules }
#define READER(name, what, states) { #name, what, states, make_reader, run_##name, &reader_rules }

static const crash_operation operations[] = {
    WRITER(write, WRITE),
    WRITER(publish, PUBLISH), /* reserve, the caller's writing, publish */
    WRITER(writer_attach, WRITER_ATTACH),
    READER(read, READ, 2 * START_STATES),
    READER(number, NUMBER, START_STATES),
    READER(reader_attach, READER_ATTACH, START_STATES),
};

const crash_ring crash_ring_latest = {
    .name = "latest",
    .operations = operations,
    .count = sizeof operations / sizeof operations[0],
    .storms = storm_latest,
    .storm_count = STORM_LATEST_COUNT,
};
