/* tests/model/model_member.c - an observer that looks at a place while its holders change: what it shows is one holder's,
 * that of the generation it shows, or is said to be nobody's.
 * edges: MEMBER SLOT
 *
 * This is the code that ships: ipc/member.h and naming/participant.c.  A newcomer does what ipc/channel.c does when a
 * channel is opened; the words of each say whose they are. */
#include <weir/ipc/member.h>
#include <weir/naming/section_private.h>

#include "explorer.h"
#include "system.h"

#define SLOT 0u

enum { HOLDER = 1 }; /* the thread's number: that of its slot, and one more */
enum { MARK_FORMER = 2, MARK_NEXT = 4, MARK_NOBODY = 8, MARK_KILLED = 32, MARK_HEIR = 64 };
enum { FORMER = 1, NEXT, HEIR };                            /* who */
enum { IDENTITY = 1, PROCESS, PID_SPACE, SINCE, WORDS = 8 }; /* of each */

static struct {
    _Alignas(64) unsigned char header[sizeof(weir_section_layout)];
    _Alignas(64) weir_channel_member place;
    struct weir_section former, holder, heir, observer;
    unsigned messages; /* that each counts */
} rig;

static uint64_t word(unsigned who, uint32_t generation, unsigned which)
{
    return ((uint64_t)generation * WORDS + who) * WORDS + which;
}

static void open_section(struct weir_section *section)
{
    section->header = (void *)rig.header;
    section->slots = 1;
}

/* ---- who comes, as ipc/channel.c opens a channel, sends or not, and leaves ---- */

static uint32_t come(struct weir_section *section, unsigned who)
{
    weir_participant before;
    MODEL_ASSERT(weir_participant_claim(section, SLOT, 1, &before) == WEIR_OK);
    uint32_t generation = before.generation + 1;
    weir_member_begin(&rig.place);
    weir_store_rlx(&rig.place.identity, word(who, generation, IDENTITY));
    weir_member_introduce(&rig.place, generation, word(who, generation, PROCESS), word(who, generation, PID_SPACE),
                          word(who, generation, SINCE));
    MODEL_ASSERT(weir_participant_join(section, &before) == WEIR_OK);
    return generation;
}

static void count_and_leave(struct weir_section *section)
{
    weir_atomic_u64 *messages = &rig.place.count[WEIR_COUNT_MESSAGES];
    if (rig.messages != 0) /* models leave weir_tally out */
        weir_store_rlx(messages, weir_load_rlx(messages) + rig.messages);
    MODEL_ASSERT(weir_participant_leave(section, SLOT) == WEIR_OK);
}

static void hold(void)
{
    (void)come(&rig.holder, NEXT);
    count_and_leave(&rig.holder);
}

/* Whoever is killed before it has joined has had no generation. */
static void succeed(void)
{
    uint32_t generation = come(&rig.heir, HEIR);
    MODEL_ASSERT(generation == 3 || (model_killed(HOLDER) && generation == 2));
    if (generation == 2)
        model_reached(MARK_KILLED);
    count_and_leave(&rig.heir);
}

static void setup(unsigned messages)
{
    model_zero(&rig, sizeof rig);
    rig.messages = messages;
    system_begin();
    model_share("header", rig.header, sizeof rig.header, 0);
    model_share("place", &rig.place, sizeof rig.place, 0);
    open_section(&rig.former);
    open_section(&rig.holder);
    open_section(&rig.heir);
    open_section(&rig.observer);
    MODEL_ASSERT(come(&rig.former, FORMER) == 1);
    count_and_leave(&rig.former);
}

static void setup_next(void) { setup(1); }

static void setup_succeeded(void)
{
    setup(MODEL_BOUND(1, 0));
    system_succeeds(SLOT, 3);
}

/* ---- who looks ---- */

static void look(void)
{
    weir_member seen;
    MODEL_ASSERT(weir_member_look(&rig.observer, SLOT, &rig.place, &seen) == WEIR_OK);
    MODEL_ASSERT(seen.presence != WEIR_ABSENT && seen.generation >= 1 && seen.generation <= 3);
    MODEL_ASSERT(seen.all.messages >= rig.messages && seen.all.messages <= 3 * rig.messages);
    if (!seen.known) {
        model_reached(MARK_NOBODY);
        MODEL_ASSERT(seen.identity == 0 && seen.process == 0 && seen.pid_space == 0 && seen.since_ns == 0);
        MODEL_ASSERT(seen.held.messages == 0);
        return;
    }
    uint64_t who = seen.identity / WORDS % WORDS;
    MODEL_ASSERT(who >= FORMER && who <= HEIR && seen.identity == word((unsigned)who, seen.generation, IDENTITY));
    MODEL_ASSERT(seen.process == word((unsigned)who, seen.generation, PROCESS));
    MODEL_ASSERT(seen.pid_space == word((unsigned)who, seen.generation, PID_SPACE));
    MODEL_ASSERT(seen.since_ns == word((unsigned)who, seen.generation, SINCE));
    MODEL_ASSERT(seen.held.messages <= rig.messages);
    MODEL_ASSERT(seen.all.messages - seen.held.messages <= (seen.generation - 1) * rig.messages);
    MODEL_ASSERT(seen.presence != WEIR_LEFT || seen.held.messages == rig.messages);
    model_reached(who == FORMER ? MARK_FORMER : who == NEXT ? MARK_NEXT : MARK_HEIR);
}

MODEL(comes) = { .name = "member: another comes to the place", .setup = setup_next,
                 .threads = { { .name = "holder", .run = hold }, { .name = "observer", .run = look } },
                 .preemptions = 2, .stale = 2, .must_reach = MARK_FORMER | MARK_NEXT | MARK_NOBODY, .random = 20000 };
MODEL(dies) = { .name = "member: who comes is killed, and succeeded", .setup = setup_succeeded,
                .threads = { { .name = "holder", .run = hold, .victim = true },
                             { .name = "observer", .run = look },
                             { .name = "heir", .run = succeed, .after = HOLDER } },
                .preemptions = 2, .stale = 1, .kills = 1,
                .must_reach = MARK_FORMER | MARK_NEXT | MARK_NOBODY | MARK_KILLED | MARK_HEIR, .random = 20000 };
