/* tests/model/model_latest.c - the newest value: never torn, never older than the one before, whoever dies.
 * edges: LATEST-VALUE LATEST-REUSE LATEST-INIT */
#include <weir/ring/latest.h>

#include "explorer.h"

#define VALUE 16u /* bytes, two words */
#define SLOTS 4u

enum { MARK_EMPTY = 1, MARK_SKIPPED = 2, MARK_KILLED = 4, MARK_OTHER = 8, MARK_LAST = 16 };

static struct {
    _Alignas(64) unsigned char ring[WEIR_LATEST_CONTROL + SLOTS * 128];
    weir_latest_writer writer, heir;
    weir_latest_reader readers[2];
    unsigned written; /* the writer's calls that came back */
    unsigned values;  /* how many there will be */
    unsigned looks;   /* of a reader */
} rig;

static void blank(unsigned values, unsigned looks)
{
    model_zero(&rig, sizeof rig);
    rig.values = values;
    rig.looks = looks;
    model_share("latest", rig.ring, sizeof rig.ring, 1);
}

static void init(void)
{
    MODEL_ASSERT(weir_latest_footprint(VALUE, SLOTS) == sizeof rig.ring);
    MODEL_ASSERT(weir_latest_init(rig.ring, sizeof rig.ring, VALUE, SLOTS, 0) == WEIR_OK);
}

static void setup(unsigned values, unsigned looks)
{
    blank(values, looks);
    init();
    MODEL_ASSERT(weir_latest_writer_attach(&rig.writer, rig.ring, sizeof rig.ring) == WEIR_OK);
    for (int i = 0; i < 2; i++)
        MODEL_ASSERT(weir_latest_reader_attach(&rig.readers[i], rig.ring, sizeof rig.ring) == WEIR_OK);
}

/* Value n has 8 bytes if n is odd, 16 if it is even. */
static void write_rest(weir_latest_writer *writer)
{
    while (rig.written < rig.values) {
        uint64_t n = rig.written + 1, value[2] = { n, ~n };
        MODEL_ASSERT(weir_latest_write(writer, value, n % 2 != 0 ? 8 : 16) == WEIR_OK);
        rig.written++;
    }
}

/* Reads one value, which is whole and not older than *number. */
static weir_status look(weir_latest_reader *reader, uint64_t *number)
{
    uint64_t value[2] = { 0, 0 }, n = 0;
    uint32_t len = 0;
    weir_status status = weir_latest_read(reader, value, sizeof value, &len, &n);
    if (status == WEIR_EMPTY) {
        model_reached(MARK_EMPTY);
        MODEL_ASSERT(*number == 0);
    }
    if (status != WEIR_OK) {
        MODEL_ASSERT(status == WEIR_EMPTY || status == WEIR_AGAIN);
        return status;
    }
    MODEL_ASSERT(n >= *number && n >= 1 && n <= rig.values);
    MODEL_ASSERT(len == (n % 2 != 0 ? 8u : 16u));
    MODEL_ASSERT(value[0] == n && (len == 8 || value[1] == ~n));
    if (n > *number + 1)
        model_reached(MARK_SKIPPED);
    *number = n;
    return WEIR_OK;
}

static void read_some(weir_latest_reader *reader)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < rig.looks; i++)
        (void)look(reader, &number);
}

/* Until the last value is there. */
static void read_last(void)
{
    uint64_t number = 0;
    while (number != rig.values) {
        (void)look(&rig.readers[0], &number);
        if (number != rig.values)
            MODEL_ASSERT(model_wait());
    }
    model_reached(MARK_LAST);
}

static void write_all(void) { write_rest(&rig.writer); }
static void read_0(void) { read_some(&rig.readers[0]); }
static void read_1(void) { read_some(&rig.readers[1]); }

static void setup_few(void) { setup(2, 3); }
static void setup_lap(void) { setup(6, 2); }
static void setup_two(void) { setup(5, 1); }

MODEL(values) = { .name = "latest: values", .setup = setup_few,
                  .threads = { { .name = "writer", .run = write_all }, { .name = "reader", .run = read_last } },
                  .preemptions = 4, .stale = 4, .must_reach = MARK_EMPTY | MARK_SKIPPED | MARK_LAST, .random = 20000 };
MODEL(reuse) = { .name = "latest: a slot is written again", .setup = setup_lap,
                 .threads = { { .name = "writer", .run = write_all }, { .name = "reader", .run = read_0 } },
                 .preemptions = 3, .stale = 3, .must_reach = MARK_EMPTY | MARK_SKIPPED, .random = 40000 };
MODEL(two_readers) = { .name = "latest: two readers", .setup = setup_two,
                       .threads = { { .name = "writer", .run = write_all },
                                    { .name = "reader", .run = read_0 },
                                    { .name = "other reader", .run = read_1 } },
                       .preemptions = 2, .stale = 1, .must_reach = MARK_EMPTY | MARK_SKIPPED, .random = 20000 };

/* ---- the writer is killed, and succeeded ---- */

static void succeed(void)
{
    MODEL_ASSERT(weir_latest_writer_attach(&rig.heir, rig.ring, sizeof rig.ring) == WEIR_OK);
    MODEL_ASSERT(rig.heir.number == rig.written || (model_killed(1) && rig.heir.number == rig.written + 1));
    if (model_killed(1))
        model_reached(MARK_KILLED);
    rig.written = (unsigned)rig.heir.number;
    write_rest(&rig.heir);
}

MODEL(writer_dies) = { .name = "latest: the writer is killed", .setup = setup_lap,
                       .threads = { { .name = "writer", .run = write_all, .victim = true },
                                    { .name = "reader", .run = read_last },
                                    { .name = "next writer", .run = succeed, .after = 1 } },
                       .preemptions = 1, .stale = 2, .kills = 1, .must_reach = MARK_LAST | MARK_SKIPPED | MARK_KILLED,
                       .random = 20000 };

/* ---- it is made while others wait for it ---- */

static void setup_init(void) { blank(1, 1); }

static bool came(weir_status status)
{
    if (status == WEIR_OK)
        return true;
    MODEL_ASSERT(status == WEIR_E_NOT_WEIR);
    model_reached(MARK_OTHER);
    MODEL_ASSERT(model_wait());
    return false;
}

static void attach_and_write(void)
{
    while (!came(weir_latest_writer_attach(&rig.writer, rig.ring, sizeof rig.ring)))
        ;
    write_all();
}

static void attach_and_read(void)
{
    while (!came(weir_latest_reader_attach(&rig.readers[0], rig.ring, sizeof rig.ring)))
        ;
    read_last();
}

MODEL(attach) = { .name = "latest: ends that wait for it", .setup = setup_init,
                  .threads = { { .name = "maker", .run = init },
                               { .name = "writer", .run = attach_and_write },
                               { .name = "reader", .run = attach_and_read } },
                  .preemptions = 1, .stale = 2, .must_reach = MARK_OTHER | MARK_LAST, .random = 20000 };
