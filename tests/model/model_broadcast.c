/* tests/model/model_broadcast.c - a reader of lossy broadcast gets each record whole and in order, or knows exactly how
 * many it has lost; the writer is killed and succeeded.
 * edges: BROADCAST-DATA BROADCAST-LIMIT BROADCAST-ANCHOR BROADCAST-INIT */
#include <weir/ring/broadcast.h>

#include "explorer.h"

#define CAPACITY 256u
#define FIRST UINT64_MAX /* the first record's number: the next is 0 */

enum { MARK_EMPTY = 1, MARK_LOST = 2, MARK_KILLED = 4, MARK_OTHER = 8, MARK_AGAIN = 16 };

static struct {
    _Alignas(64) unsigned char ring[WEIR_BROADCAST_CONTROL + CAPACITY];
    weir_broadcast_writer writer, heir;
    weir_broadcast_reader reader, late;
    uint64_t start_pos;
    unsigned written; /* the writer's calls that came back */
    unsigned records; /* how many there will be */
    unsigned len;     /* of each */
    unsigned batch;   /* so many at once */
    unsigned looks;   /* of a reader that does not stay to the end */
} rig;

static void blank(uint64_t start_pos, unsigned records, unsigned len, unsigned batch)
{
    model_zero(&rig, sizeof rig);
    rig.start_pos = start_pos;
    rig.records = records;
    rig.len = len;
    rig.batch = batch;
    model_share("broadcast", rig.ring, sizeof rig.ring, WEIR_BROADCAST_DATA | 8); /* could be an older lap's header */
}

static void init(void)
{
    MODEL_ASSERT(weir_broadcast_init(rig.ring, sizeof rig.ring, CAPACITY, rig.start_pos, FIRST) == WEIR_OK);
}

static void setup(uint64_t start_pos, unsigned records, unsigned len, unsigned batch)
{
    blank(start_pos, records, len, batch);
    init();
    MODEL_ASSERT(weir_broadcast_writer_attach(&rig.writer, rig.ring, sizeof rig.ring) == WEIR_OK);
    MODEL_ASSERT(weir_broadcast_reader_attach(&rig.reader, rig.ring, sizeof rig.ring) == WEIR_OK);
}

/* Record n (from 0) says n in each of its words. */
static void write_rest(weir_broadcast_writer *writer)
{
    while (rig.written < rig.records) {
        unsigned count = rig.batch < rig.records - rig.written ? rig.batch : rig.records - rig.written;
        for (unsigned i = 0; i < count; i++) {
            uint64_t bits[4] = { rig.written + i, rig.written + i, rig.written + i, rig.written + i };
            weir_status status = i + 1 < count ? weir_broadcast_push_more(writer, bits, rig.len)
                                               : weir_broadcast_push(writer, bits, rig.len);
            MODEL_ASSERT(status == WEIR_OK);
        }
        rig.written += count;
    }
}

/* One look; *next is the record that comes next, or is lost. */
static weir_status look(weir_broadcast_reader *reader, uint64_t *next)
{
    uint64_t bits[4] = { 0 }, lost = 0;
    uint32_t len = 0;
    weir_status status = weir_broadcast_read(reader, bits, sizeof bits, &len, &lost);
    if (status == WEIR_EMPTY)
        model_reached(MARK_EMPTY);
    if (status == WEIR_AGAIN)
        model_reached(MARK_AGAIN);
    if (status != WEIR_OK) {
        MODEL_ASSERT(status == WEIR_EMPTY || status == WEIR_AGAIN);
        return status;
    }
    if (lost != 0)
        model_reached(MARK_LOST);
    *next += lost;
    MODEL_ASSERT(*next < rig.records && len == rig.len);
    for (unsigned i = 0; i < (rig.len + 7) / 8; i++)
        MODEL_ASSERT(bits[i] == *next);
    ++*next;
    return WEIR_OK;
}

static void read_to_the_end(weir_broadcast_reader *reader, uint64_t next)
{
    while (next < rig.records)
        if (look(reader, &next) != WEIR_OK)
            MODEL_ASSERT(model_wait());
}

static void write_all(void) { write_rest(&rig.writer); }
static void read_all(void) { read_to_the_end(&rig.reader, 0); }

/* Looks so often, and once more at the end. */
static void read_some(void)
{
    uint64_t next = rig.reader.number - FIRST;
    for (unsigned i = 0; i < rig.looks; i++)
        (void)look(&rig.reader, &next);
}

/* A reader that comes late begins at a record that is whole; what came before is not lost to it. */
static void join_late(void)
{
    weir_status status;
    while ((status = weir_broadcast_reader_attach(&rig.late, rig.ring, sizeof rig.ring)) == WEIR_AGAIN)
        MODEL_ASSERT(model_wait());
    MODEL_ASSERT(status == WEIR_OK);
    uint64_t next = rig.late.number - FIRST;
    MODEL_ASSERT(next <= rig.records);
    for (unsigned i = 0; i < rig.looks; i++)
        (void)look(&rig.late, &next);
}

static void setup_few(void) { setup(UINT64_MAX - 7, 3, 8, 1); }
static void setup_padding(void) { setup(CAPACITY - 24, 2, 16, 1); }
static void setup_batch(void) { setup(CAPACITY - 32, 4, 8, 2); }
static void setup_lap(void) { setup(0, MODEL_BOUND(7, 4), 24, 1), rig.looks = MODEL_BOUND(2, 1); }
/* The first records are there, and read. */
static void setup_death(void)
{
    setup(0, MODEL_BOUND(0, 5), 24, 1);
    write_all();
    read_all();
    rig.records = 7;
    rig.looks = 1;
}

static void setup_overrun(void) { setup(0, MODEL_BOUND(9, 7), 24, 1), rig.looks = MODEL_BOUND(3, 1); }
static void setup_laps(void) { setup(8, MODEL_BOUND(8, 6), 32, 1); }

#define BROADCAST(id, title, set, read, marks, p, s)                                                                   \
    MODEL(id) = { .name = "broadcast: " title, .setup = (set),                                                         \
                  .threads = { { .name = "writer", .run = write_all }, { .name = "reader", .run = (read) } },          \
                  .preemptions = (p), .stale = (s), .must_reach = (marks), .random = 20000 }

BROADCAST(records, "records", setup_few, read_all, MARK_EMPTY, 3, 2);
BROADCAST(padding, "padding", setup_padding, read_all, MARK_EMPTY, 3, 2);
BROADCAST(batches, "batches", setup_batch, read_all, MARK_EMPTY, 2, 2);
BROADCAST(overrun, "overrun against read", setup_overrun, read_some, MARK_EMPTY | MARK_LOST, 2, 2);
BROADCAST(laps, "overrun, all that is left is read", setup_laps, read_all, MARK_EMPTY | MARK_LOST, 2, 1);
BROADCAST(late, "a reader that comes late", setup_lap, join_late, MARK_EMPTY, 2, 2);

/* ---- the writer is killed, and succeeded ---- */

static void succeed(void)
{
    MODEL_ASSERT(weir_broadcast_writer_attach(&rig.heir, rig.ring, sizeof rig.ring) == WEIR_OK);
    unsigned there = (unsigned)(rig.heir.number - FIRST);
    MODEL_ASSERT(there == rig.written || (model_killed(1) && there == rig.written + rig.batch));
    if (model_killed(1))
        model_reached(there == rig.written ? MARK_KILLED : MARK_OTHER);
    rig.written = there;
    write_rest(&rig.heir);
}

#define WRITER_DIES(id, title, set, read, p, s)                                                                        \
    MODEL(id) = { .name = "broadcast: " title, .setup = (set),                                                         \
                  .threads = { { .name = "writer", .run = write_all, .victim = true },                                 \
                               { .name = "reader", .run = (read) },                                                    \
                               { .name = "next writer", .run = succeed, .after = 1 } },                                \
                  .preemptions = (p), .stale = (s), .kills = 1, .must_reach = MARK_EMPTY | MARK_KILLED,         \
                  .random = 20000 }

WRITER_DIES(writer_dies, "the writer is killed", setup_padding, read_all, 2, 1);
WRITER_DIES(batch_dies, "the writer of batches is killed", setup_batch, read_all, 1, 2);
WRITER_DIES(lap_dies, "the writer of a lap is killed", setup_death, MODEL_BOUND(read_all, read_some), 1, 1);

/* ---- it is made while others wait for it ---- */

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
    while (!came(weir_broadcast_writer_attach(&rig.writer, rig.ring, sizeof rig.ring)))
        ;
    write_all();
}

static void attach_and_read(void)
{
    while (!came(weir_broadcast_reader_attach(&rig.reader, rig.ring, sizeof rig.ring)))
        ;
    read_to_the_end(&rig.reader, rig.reader.number - FIRST);
}

static void setup_init(void) { blank(40, 1, 8, 1); }

MODEL(attach) = { .name = "broadcast: ends that wait for it", .setup = setup_init,
                  .threads = { { .name = "maker", .run = init },
                               { .name = "writer", .run = attach_and_write },
                               { .name = "reader", .run = attach_and_read } },
                  .preemptions = 2, .stale = 1, .must_reach = MARK_OTHER, .random = 20000 };
