/* tests/model/model_broadcast_gated.c - every reader of gated broadcast gets every record from where it began, whole
 * and in order, whoever comes, leaves or is killed meanwhile; nothing is overwritten that a reader may still read.
 * edges: GATE-JOIN GATE-LEAVE GATE-INIT SPSC-FREE SPSC-DATA */
#include <weir/ring/broadcast_gated.h>
#include <weir/ring/broadcast_gated_layout.h>

#include "explorer.h"

#define CAPACITY 64u /* three records of 8 bytes, and the 0 behind them */
#define SLOTS 3u
#define SIZE 16u /* of each in the ring */
#define LAP 3u

enum { MARK_FULL = 1, MARK_EMPTY = 2, MARK_KILLED = 4, MARK_OLD = 8, MARK_NEW = 16, MARK_OTHER = 32 };

static struct {
    _Alignas(64) unsigned char ring[WEIR_BROADCAST_GATED_CONTROL + SLOTS * WEIR_BROADCAST_GATED_ENTRY + CAPACITY];
    weir_broadcast_gated_writer writer, heir;
    weir_broadcast_gated_reader reader[SLOTS];
    uint64_t dead[SLOTS];
    uint64_t start_pos;
    unsigned records;     /* how many there will be */
    unsigned written;     /* the writer's calls that came back */
    unsigned popped;      /* reader 0's */
    unsigned leave_after; /* so many records */
} rig;

static weir_broadcast_gated_layout *layout(void) { return (weir_broadcast_gated_layout *)(void *)rig.ring; }

static void blank(uint64_t start_pos, unsigned records)
{
    model_zero(&rig, sizeof rig);
    rig.start_pos = start_pos;
    rig.records = records;
    model_share("gated", rig.ring, sizeof rig.ring, WEIR_SPSC_DATA | 8); /* could be an older lap's header */
}

static void init(void)
{
    MODEL_ASSERT(weir_broadcast_gated_init(rig.ring, sizeof rig.ring, SLOTS, CAPACITY, rig.start_pos) == WEIR_OK);
}

static void attach_writer(weir_broadcast_gated_writer *w)
{
    MODEL_ASSERT(weir_broadcast_gated_writer_attach(w, rig.ring, sizeof rig.ring, rig.dead, SLOTS) == WEIR_OK);
}

static weir_status join(unsigned slot, uint32_t generation, weir_broadcast_gated_start start)
{
    return weir_broadcast_gated_reader_attach(&rig.reader[slot], rig.ring, sizeof rig.ring, slot, generation, start);
}

static void setup(uint64_t start_pos, unsigned records, unsigned readers)
{
    blank(start_pos, records);
    init();
    attach_writer(&rig.writer);
    for (unsigned slot = 0; slot < readers; slot++)
        MODEL_ASSERT(join(slot, 1, WEIR_BROADCAST_GATED_OLDEST) == WEIR_OK);
}

/* ---- what they do ---- */

/* Record n says n. */
static weir_status put(weir_broadcast_gated_writer *w, bool more)
{
    uint64_t bits = rig.written + 1;
    weir_status status = weir_broadcast_gated_put(w, &bits, sizeof bits, more);
    if (status == WEIR_FULL)
        model_reached(MARK_FULL);
    else
        MODEL_ASSERT(status == WEIR_OK);
    return status;
}

static void write_rest(weir_broadcast_gated_writer *w)
{
    for (; rig.written < rig.records; rig.written++)
        while (put(w, false) == WEIR_FULL)
            MODEL_ASSERT(model_wait());
}

static void write_all(void) { write_rest(&rig.writer); }

/* In setup. */
static void write_first(unsigned count)
{
    for (; rig.written < count; rig.written++)
        MODEL_ASSERT(put(&rig.writer, false) == WEIR_OK);
}

/* Whoever is held up for good gives up: a reader died that nobody tells it of. */
static void write_some(void)
{
    for (; rig.written < rig.records; rig.written++)
        while (put(&rig.writer, false) == WEIR_FULL)
            if (!model_wait())
                return;
}

/* The record that the reader comes to next, from its position. */
static unsigned next_of(const weir_broadcast_gated_reader *r)
{
    return (unsigned)((r->lane.pos - rig.start_pos) / SIZE);
}

static weir_status look(weir_broadcast_gated_reader *r)
{
    uint64_t bits = 0;
    uint32_t len = 0;
    unsigned next = next_of(r);
    weir_status status = weir_broadcast_gated_pop_more(r, &bits, sizeof bits, &len);
    if (status == WEIR_EMPTY) {
        model_reached(MARK_EMPTY);
        return status;
    }
    MODEL_ASSERT(status == WEIR_OK);
    MODEL_ASSERT(len == 8 && bits == next + 1 && next < rig.records);
    return status;
}

static void read_to(weir_broadcast_gated_reader *r, unsigned end, bool release)
{
    while (next_of(r) < end) {
        while (look(r) == WEIR_EMPTY)
            MODEL_ASSERT(model_wait());
        if (release)
            weir_broadcast_gated_release(r);
    }
}

static void read_a(void) { read_to(&rig.reader[0], rig.records, true); }
static void read_b(void) { read_to(&rig.reader[1], rig.records, true); }

/* Reads some, gives none of it back, and leaves. */
static void leave(void)
{
    read_to(&rig.reader[0], rig.leave_after, false);
    MODEL_ASSERT(weir_broadcast_gated_reader_detach(&rig.reader[0]) == WEIR_OK);
}

static void join_and_read(weir_broadcast_gated_start start, unsigned least)
{
    MODEL_ASSERT(join(2, 1, start) == WEIR_OK);
    unsigned first = next_of(&rig.reader[2]);
    MODEL_ASSERT(first >= least && first <= rig.records);
    model_reached(first == 0 ? MARK_OLD : MARK_NEW);
    read_to(&rig.reader[2], rig.records, true);
}

static void join_old(void) { join_and_read(WEIR_BROADCAST_GATED_OLDEST, 0); }
static void join_new(void) { join_and_read(WEIR_BROADCAST_GATED_NEWEST, LAP); }

/* ---- records and room ---- */

static void setup_two(void)
{
    setup(CAPACITY - 24, 4, 2);
    write_first(MODEL_BOUND(0, 2));
}

static void setup_none(void)
{
    setup(0, 5, 0);
    write_first(MODEL_BOUND(0, LAP));
}

/* One reader, who has released the whole lap. */
static void setup_lap_of(unsigned records)
{
    setup(0, records, 1);
    write_first(LAP);
    read_to(&rig.reader[0], LAP, true);
}

static void setup_lap(void) { setup_lap_of(LAP + 2); }

/* Reader 0 is behind what is announced: it came while a writer announced that, and died.  That writer was told a lie
 * here, which comes to the same. */
static void setup_behind(void)
{
    setup(0, LAP + 2, 2);
    write_first(LAP);
    read_to(&rig.reader[1], LAP, true);
    MODEL_ASSERT(weir_broadcast_gated_recover(&rig.writer, 0, 1) == WEIR_OK);
    MODEL_ASSERT(weir_broadcast_gated_ask(&rig.writer, 8) == WEIR_OK);
    attach_writer(&rig.writer);
    rig.leave_after = LAP;
}

#define TWO(id, title, set, one, first, two, second, marks, p, s)                                                      \
    MODEL(id) = { .name = "gated: " title, .setup = (set),                                                             \
                  .threads = { { .name = (one), .run = (first) }, { .name = (two), .run = (second) } },                \
                  .preemptions = (p), .stale = (s), .must_reach = (marks), .random = 20000 }

MODEL(two_readers) = { .name = "gated: two readers", .setup = setup_two,
                       .threads = { { .name = "writer", .run = write_all },
                                    { .name = "reader a", .run = read_a },
                                    { .name = "reader b", .run = read_b } },
                       .preemptions = 1, .stale = 1, .must_reach = MARK_EMPTY | MARK_FULL, .random = 20000 };

TWO(release, "a reader behind what is announced", setup_behind, "writer", write_all, "reader a", read_a,
    MARK_EMPTY | MARK_FULL, 3, 2);
TWO(leaves, "a reader leaves", setup_behind, "writer", write_some, "reader a", leave, MARK_FULL, 3, 2);

/* ---- who comes against who gives up ---- */

TWO(joins, "a reader comes", setup_lap, "writer", write_all, "newcomer", join_old, MARK_OLD | MARK_NEW | MARK_FULL, 3,
    3);
TWO(joins_first, "the first reader comes", setup_none, "writer", write_all, "newcomer", join_old,
    MARK_OLD | MARK_NEW | MARK_FULL, 2, 2);
TWO(joins_new, "a reader comes behind the newest", setup_lap, "writer", write_all, "newcomer", join_new,
    MARK_NEW | MARK_FULL, 3, 2);

/* Begins in the middle of a batch, whose headers there were stored relaxed. */
static void write_batch(void)
{
    for (; rig.written < LAP; rig.written++)
        MODEL_ASSERT(put(&rig.writer, rig.written + 1 < LAP) == WEIR_OK);
    write_rest(&rig.writer);
}

static void setup_batch(void) { setup(0, 4, 1); }

/* As read_a; under GenMC it gives the batch back at once, and reads no more. */
static void read_batch(void)
{
    read_to(&rig.reader[0], MODEL_BOUND(rig.records, LAP), MODEL_BOUND(true, false));
    if (MODEL_BOUND(false, true))
        weir_broadcast_gated_release(&rig.reader[0]);
}

MODEL(joins_batch) = { .name = "gated: a reader comes into a batch", .setup = setup_batch,
                       .threads = { { .name = "writer", .run = write_batch },
                                    { .name = "reader a", .run = read_batch },
                                    { .name = "newcomer", .run = join_old } },
                       .preemptions = 1, .stale = 1, .must_reach = MARK_OLD | MARK_NEW | MARK_FULL, .random = 20000 };

/* ---- the writer is killed, and succeeded ---- */

static void succeed(void)
{
    attach_writer(&rig.heir);
    unsigned there = (unsigned)((rig.heir.lane.pos - rig.start_pos) / SIZE);
    MODEL_ASSERT(there == rig.written || (model_killed(1) && there == rig.written + 1));
    if (model_killed(1))
        model_reached(MARK_KILLED);
    rig.written = there;
    write_rest(&rig.heir);
}

static void setup_writer_dies(void) { setup_lap_of(LAP + MODEL_BOUND(2, 1)); }

MODEL(writer_dies) = { .name = "gated: the writer is killed", .setup = setup_writer_dies,
                       .threads = { { .name = "writer", .run = write_all, .victim = true },
                                    { .name = "newcomer", .run = join_old },
                                    { .name = "next writer", .run = succeed, .after = 1 } },
                       .preemptions = 2, .stale = 2, .kills = 1,
                       .must_reach = MARK_KILLED | MARK_OLD | MARK_NEW | MARK_FULL, .random = 20000 };

/* Killed right behind its announcement, before its fence: kills come before stores only. */
static void announce(void)
{
    weir_store_rel(&layout()->announced, rig.start_pos + LAP * SIZE);
}

MODEL(announcer_dies) = { .name = "gated: the writer is killed behind its announcement", .setup = setup_lap,
                          .threads = { { .name = "writer", .run = announce },
                                       { .name = "newcomer", .run = join_old },
                                       { .name = "next writer", .run = succeed, .after = 1 } },
                          .preemptions = 2, .stale = 3, .must_reach = MARK_OLD | MARK_NEW | MARK_FULL,
                          .random = 20000 };

/* ---- a reader is killed, and its slot taken over ---- */

static void read_counted(void)
{
    while (rig.popped < rig.records) {
        while (look(&rig.reader[0]) == WEIR_EMPTY)
            MODEL_ASSERT(model_wait());
        weir_broadcast_gated_release(&rig.reader[0]);
        rig.popped++; /* certainly released */
    }
}

/* The writer has not been told: nothing is lost and nothing that was released is seen again. */
static void resume(void)
{
    MODEL_ASSERT(join(0, 2, WEIR_BROADCAST_GATED_RESUME) == WEIR_OK);
    unsigned first = next_of(&rig.reader[0]);
    MODEL_ASSERT(first == rig.popped || (model_killed(2) && first == rig.popped + 1));
    if (model_killed(2))
        model_reached(MARK_KILLED);
    read_to(&rig.reader[0], rig.records, true);
}

static void setup_victim(void) { setup(CAPACITY - 32, MODEL_BOUND(5, 4), 1); }

MODEL(reader_dies) = { .name = "gated: a reader is killed", .setup = setup_victim,
                       .threads = { { .name = "writer", .run = write_all },
                                    { .name = "reader a", .run = read_counted, .victim = true },
                                    { .name = "next reader", .run = resume, .after = 2 } },
                       .preemptions = 2, .stale = 1, .kills = 1, .must_reach = MARK_KILLED | MARK_FULL,
                       .random = 20000 };

/* The writer is told of the death whenever it is full, also when the slot has its next holder. */
static void write_and_tell(void)
{
    for (; rig.written < rig.records; rig.written++)
        while (put(&rig.writer, false) == WEIR_FULL) {
            if (model_ended(2)) {
                model_reached(MARK_OTHER);
                MODEL_ASSERT(weir_broadcast_gated_recover(&rig.writer, 0, 1) == WEIR_OK);
                if (weir_broadcast_gated_ask(&rig.writer, 8) == WEIR_OK)
                    continue;
            }
            MODEL_ASSERT(model_wait());
        }
}

static void resume_or_go_on(void)
{
    weir_status status = join(0, 2, WEIR_BROADCAST_GATED_RESUME);
    if (status == WEIR_E_STATE) {
        model_reached(MARK_NEW);
        status = join(0, 3, WEIR_BROADCAST_GATED_OLDEST);
    } else {
        MODEL_ASSERT(status != WEIR_OK || next_of(&rig.reader[0]) <= rig.popped + 1);
        model_reached(MARK_OLD);
    }
    MODEL_ASSERT(status == WEIR_OK);
    read_to(&rig.reader[0], rig.records, true);
}

/* It has not even begun to read. */
static void nothing(void) {}

static void setup_told(void)
{
    setup(0, LAP + MODEL_BOUND(2, 1), 1);
    write_first(LAP);
}

MODEL(told) = { .name = "gated: the writer is told of a death", .setup = setup_told,
                .threads = { { .name = "writer", .run = write_and_tell },
                             { .name = "reader a", .run = nothing },
                             { .name = "next reader", .run = resume_or_go_on, .after = 2 } },
                .preemptions = 2, .stale = 2, .must_reach = MARK_OLD | MARK_NEW | MARK_OTHER | MARK_FULL,
                .random = 20000 };

/* ---- drained ---- */

/* What a reader did with a record, or did before it left, happened before the writer knows that all is drained. */
static uint64_t result;

static void drain(void)
{
    uint64_t seen = 0;
    weir_status status;
    write_rest(&rig.writer);
    while ((status = weir_broadcast_gated_drained(&rig.writer)) == WEIR_FULL) {
        model_reached(MARK_FULL);
        MODEL_ASSERT(model_wait());
    }
    MODEL_ASSERT(status == WEIR_OK);
    WEIR_PAYLOAD_READ(&seen, &result, sizeof seen);
    MODEL_ASSERT(seen == 7);
}

static void work(bool leaving)
{
    static const uint64_t seven = 7;
    while (look(&rig.reader[0]) == WEIR_EMPTY)
        MODEL_ASSERT(model_wait());
    WEIR_PAYLOAD_WRITE(&result, &seven, sizeof seven);
    if (leaving)
        MODEL_ASSERT(weir_broadcast_gated_reader_detach(&rig.reader[0]) == WEIR_OK);
    else
        weir_broadcast_gated_release(&rig.reader[0]);
}

static void work_and_release(void) { work(false); }
static void work_and_leave(void) { work(true); }

static void setup_drained(void)
{
    setup(0, 1, 1);
    model_share("result", &result, sizeof result, 0);
}

TWO(drained, "drained", setup_drained, "writer", drain, "reader a", work_and_release, MARK_FULL | MARK_EMPTY, 4, 3);
TWO(drained_left, "drained by leaving", setup_drained, "writer", drain, "reader a", work_and_leave,
    MARK_FULL | MARK_EMPTY, 4, 3);

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
    while (!came(weir_broadcast_gated_writer_attach(&rig.writer, rig.ring, sizeof rig.ring, rig.dead, SLOTS)))
        ;
    write_all();
}

static void attach_and_read(void)
{
    while (!came(join(2, 1, WEIR_BROADCAST_GATED_OLDEST)))
        ;
    read_to(&rig.reader[2], rig.records, true);
}

static void setup_init(void) { blank(CAPACITY - 16, 2); }

MODEL(attach) = { .name = "gated: ends that wait for it", .setup = setup_init,
                  .threads = { { .name = "maker", .run = init },
                               { .name = "writer", .run = attach_and_write },
                               { .name = "reader", .run = attach_and_read } },
                  .preemptions = 2, .stale = 1, .must_reach = MARK_OTHER, .random = 20000 };
