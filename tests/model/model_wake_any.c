/* tests/model/model_wake_any.c - one who waits for two channels at once, and a producer of each.
 * edges: WAKE
 *
 * The code that ships is that of model_wake.c, and ipc/channel_many.c: all words are armed, and one fence stands behind
 * them.  A sleep has no bound, so a wake-up that is lost is a failure.  The rings are only numbers that go up. */
#include <weir/ipc/channel_wait.h>
#include <weir/naming/section_private.h>

#include "explorer.h"
#include "system.h"

#define CHANNELS 2u

enum { MARK_FIRST = 2, MARK_SECOND = 4 }; /* which of them was told of */

struct end {
    struct weir_section section;
    weir_channel_member member; /* for its counters: they are not what is explored */
    _Alignas(16) unsigned char handle[2 * WEIR_OS_HANDLE_PART];
};

static struct channel {
    _Alignas(64) unsigned char header[sizeof(weir_section_layout)];
    _Alignas(64) unsigned char content[WEIR_CHANNEL_LANE + 64];
    struct end producer, consumer;
} rig[CHANNELS];

static weir_channel *handle(struct end *end) { return (weir_channel *)(void *)end->handle; }

/* ---- the system's part that only this harness has ---- */

bool weir_os_sleep_any(const struct weir_os_sleep *on, uint32_t count, int64_t ns)
{
    struct model_sleeps words[CHANNELS];
    MODEL_ASSERT(ns > 0 && count == CHANNELS);
    for (uint32_t i = 0; i < count; i++)
        words[i] = (struct model_sleeps){ on[i].word, on[i].value };
    model_reached(MARK_SLEPT);
    MODEL_ASSERT(model_sleep_any(words, count)); /* nobody dies here */
    return true;
}

int weir_os_poll(const int *descriptors, uint32_t count, int64_t ns)
{
    (void)descriptors, (void)count, (void)ns;
    MODEL_ASSERT(!"nobody waits in poll");
    return 0;
}

int64_t weir_watch_round(int *watch)
{
    (void)watch;
    MODEL_ASSERT(!"nobody waits in poll");
    return -1;
}

weir_status weir_channel_describe(weir_channel *channel, bool listens, int *descriptor)
{
    (void)channel, (void)listens, (void)descriptor;
    MODEL_ASSERT(!"nobody waits in poll");
    return WEIR_E_STATE;
}

/* ---- the ring: how many messages there are ---- */

static weir_atomic_u64 *sent(const weir_channel *channel)
{
    return weir_word_at(channel_cold((weir_channel *)(uintptr_t)channel)->view.base, WEIR_CHANNEL_LANE);
}

static weir_status put(weir_channel *channel, const void *msg, uint64_t len, bool more)
{
    (void)msg, (void)len, (void)more;
    weir_store_rel(sent(channel), weir_load_rlx(sent(channel)) + 1);
    return WEIR_OK;
}

static weir_status ready(weir_channel *channel)
{
    return weir_load_acq(sent(channel)) > channel_cold(channel)->position ? WEIR_OK : WEIR_EMPTY;
}

static weir_status pop(weir_channel *channel, void *buffer, uint64_t size_bytes, uint32_t *len)
{
    weir_status status = ready(channel);
    (void)buffer, (void)size_bytes;
    channel_cold(channel)->position += status == WEIR_OK;
    *len = 0;
    return status;
}

static void nothing(weir_channel *channel) { (void)channel; }

static const struct channel_kind number = {
    .name = "number", .put = put, .flush = nothing, .ready = ready, .pop = pop, .release = nothing,
};

/* ---- the ends ---- */

static void open_end(struct channel *c, weir_role role, bool full_fence)
{
    struct end *end = role == WEIR_PRODUCER ? &c->producer : &c->consumer;
    weir_channel *channel = handle(end);
    struct channel_cold *cold = channel_cold(channel);
    weir_channel_layout *layout = (void *)c->content;
    weir_participant before;
    end->section.header = (void *)c->header;
    end->section.slots = weir_channel_slots(1, 1);
    cold->section = &end->section;
    cold->view.base = c->content;
    cold->layout = layout;
    cold->role = role;
    cold->wait = WEIR_WAIT_SLEEP;
    cold->full_fence = full_fence;
    cold->kind = &number;
    cold->attached = true;
    cold->slot = role == WEIR_PRODUCER ? WEIR_CHANNEL_SLOT_PRODUCER : WEIR_CHANNEL_SLOT_CONSUMER;
    cold->own = (struct channel_side){ cold->slot, 1 };
    cold->peers = (struct channel_side){ 1 - cold->slot, 1 };
    channel->peer = role == WEIR_PRODUCER ? &layout->consumer : &layout->member[0].sleeper;
    channel->full_fence = full_fence;
    cold->member = &end->member;
    channel->messages = &end->member.count[WEIR_COUNT_MESSAGES];
    channel->sleeper = role == WEIR_PRODUCER ? &layout->member[0].sleeper : &layout->consumer;
    channel->alive = CHANNEL_ALIVE;
    MODEL_ASSERT(weir_participant_claim(&end->section, cold->slot, 1, &before) == WEIR_OK);
    MODEL_ASSERT(weir_participant_join(&end->section, &before) == WEIR_OK);
}

static void setup(bool first_full, bool second_full)
{
    static const char *const names[CHANNELS] = { "first channel", "second channel" };
    model_zero(rig, sizeof rig);
    system_begin();
    for (unsigned i = 0; i < CHANNELS; i++) {
        struct channel *c = &rig[i];
        model_share("header", c->header, sizeof c->header, 0);
        model_share(names[i], c->content, sizeof c->content, 0);
        model_share("a mark", &handle(&c->producer)->cancelled, 8, 0);
        model_share("a mark", &handle(&c->consumer)->cancelled, 8, 0);
        open_end(c, WEIR_PRODUCER, i == 0 ? first_full : second_full);
        open_end(c, WEIR_CONSUMER, i == 0 ? first_full : second_full);
    }
}

static void setup_full(void) { setup(true, true); }
static void setup_light(void) { setup(false, false); }
static void setup_mixed(void) { setup(true, false); }

static void send_to(unsigned i)
{
    MODEL_ASSERT(weir_send(handle(&rig[i].producer), "", 0, WEIR_FOREVER) == WEIR_OK);
}

static void send_to_first(void) { send_to(0); }
static void send_to_second(void) { send_to(1); }

/* Both messages, in whatever order. */
static void wait_for_both(void)
{
    weir_channel *both[CHANNELS] = { handle(&rig[0].consumer), handle(&rig[1].consumer) };
    uint32_t which = 0, len;
    for (unsigned received = 0; received < CHANNELS; received++) {
        MODEL_ASSERT(weir_wait_any(both, CHANNELS, &which, WEIR_FOREVER) == WEIR_OK);
        model_reached(which == 0 ? MARK_FIRST : MARK_SECOND);
        MODEL_ASSERT(weir_receive(both[which], NULL, 0, &len, WEIR_NOWAIT) == WEIR_OK);
    }
}

#define ANY(id, title)                                                                                                 \
    MODEL(any_##id) = { .name = "wake: one who waits for two channels, " title, .setup = setup_##id,                   \
                        .threads = { { .name = "first", .run = send_to_first },                                        \
                                     { .name = "second", .run = send_to_second },                                      \
                                     { .name = "consumer", .run = wait_for_both } },                                   \
                        .preemptions = 2, .stale = 2, .must_reach = MARK_SLEPT | MARK_FIRST | MARK_SECOND,             \
                        .random = 20000 }

ANY(full, "full fences");
ANY(light, "membarrier");
ANY(mixed, "one of each");
