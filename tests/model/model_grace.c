/* tests/model/model_grace.c - readers' epochs (naming/epoch.h): what was found in a read section stays until it ends.
 * edges: GRACE-DATA GRACE-READ GRACE-LEFT GRACE-SLOT GRACE-SLOT-FREE
 *
 * The writer has two places, as the registry has two tables.  It fills the one that is not published, publishes it, waits,
 * and then the other is its own: it writes there at once. */
#include <weir/naming/epoch.h>
#include <weir/naming/grace.h>

#include "explorer.h"

enum { MARK_WAITED = 1, MARK_FIRST = 2, MARK_LAST = 4, MARK_TAKEN = 8, MARK_ADDED = 16 };

#define READERS 2u
#define POISON UINT64_C(0xdead)

static struct {
    struct {
        weir_epochs epochs;
        weir_atomic_u64 published;
        weir_epoch_slot slots[READERS];
        uint64_t place[2][2];
    } shared;
    unsigned versions, looks;
} rig;

void weir_epoch_pause(unsigned turn)
{
    (void)turn;
    model_reached(MARK_WAITED);
    MODEL_ASSERT(model_wait());
}

static void put(unsigned place, uint64_t value)
{
    uint64_t words[2] = { value, ~value };
    WEIR_PAYLOAD_WRITE(rig.shared.place[place], words, sizeof words);
}

static void setup(unsigned versions, unsigned looks)
{
    model_zero(&rig, sizeof rig);
    rig.versions = versions;
    rig.looks = looks;
    model_share("epochs", &rig.shared, sizeof rig.shared, 0);
    weir_store_rlx(&rig.shared.epochs.now, 1); /* WEIR_EPOCHS_INIT */
    put(0, 0);
    weir_grace_set(&rig.shared.published, rig.shared.place[0]);
}

/* ---- the writer ---- */

static void write_versions(void)
{
    for (unsigned version = 1; version <= rig.versions; version++) {
        put(version % 2, version);
        weir_grace_set(&rig.shared.published, rig.shared.place[version % 2]);
        weir_epoch_wait(&rig.shared.epochs);
        put((version - 1) % 2, POISON);
    }
}

/* ---- readers ---- */

static void enter_and_look(weir_epoch_slot *slot)
{
    weir_epoch_enter(&rig.shared.epochs, slot);
    uint64_t words[2] = { 0, 0 };
    WEIR_PAYLOAD_READ(words, weir_grace_get(&rig.shared.published), sizeof words);
    MODEL_ASSERT(words[0] != POISON && words[1] == ~words[0]);
    if (words[0] == 0)
        model_reached(MARK_FIRST);
    if (words[0] == rig.versions)
        model_reached(MARK_LAST);
}

/* As a thread's first read section does. */
static weir_epoch_slot *come(unsigned reader)
{
    weir_epoch_slot *slot = weir_epoch_take(&rig.shared.epochs);
    model_reached(slot != NULL ? MARK_TAKEN : MARK_ADDED);
    if (slot == NULL) {
        slot = &rig.shared.slots[reader];
        weir_epoch_add(&rig.shared.epochs, slot);
    }
    return slot;
}

static void look_some(unsigned reader)
{
    weir_epoch_slot *slot = come(reader);
    for (unsigned i = 0; i < rig.looks; i++) {
        enter_and_look(slot);
        weir_epoch_leave(slot);
    }
}

/* As a thread that ends inside of a read section, and as one that ends outside. */
static void look_and_end(unsigned reader, bool inside)
{
    weir_epoch_slot *slot = come(reader);
    enter_and_look(slot);
    if (!inside)
        weir_epoch_leave(slot);
    weir_epoch_give_back(slot);
}

static void look_0(void) { look_some(0); }
static void look_1(void) { look_some(1); }
static void end_0(void) { look_and_end(0, false); }
static void end_1(void) { look_and_end(1, false); }
static void end_inside_0(void) { look_and_end(0, true); }

static void setup_one(void) { setup(2, 2); }
static void setup_two(void) { setup(1, 1); }

#define ALL_SEEN (MARK_WAITED | MARK_FIRST | MARK_LAST)

MODEL(sections) = { .name = "grace: read sections", .setup = setup_one,
                    .threads = { { .name = "writer", .run = write_versions }, { .name = "reader", .run = look_0 } },
                    .preemptions = 3, .stale = 3, .must_reach = ALL_SEEN, .random = 20000 };
MODEL(readers) = { .name = "grace: two readers, each with a slot", .setup = setup_two,
                   .threads = { { .name = "writer", .run = write_versions },
                                { .name = "reader", .run = look_0 },
                                { .name = "other reader", .run = look_1 } },
                   .preemptions = 2, .stale = 2, .must_reach = ALL_SEEN | MARK_ADDED, .random = 20000 };
MODEL(inside) = { .name = "grace: a thread ends inside of a section", .setup = setup_two,
                  .threads = { { .name = "writer", .run = write_versions },
                               { .name = "reader", .run = end_inside_0 } },
                  .preemptions = 4, .stale = 3, .must_reach = ALL_SEEN, .random = 20000 };
MODEL(given_back) = { .name = "grace: a slot is given back and taken", .setup = setup_two,
                      .threads = { { .name = "writer", .run = write_versions },
                                   { .name = "reader", .run = end_0 },
                                   { .name = "next reader", .run = end_1 } },
                      .preemptions = 2, .stale = 2, .must_reach = ALL_SEEN | MARK_TAKEN | MARK_ADDED, .random = 20000 };
