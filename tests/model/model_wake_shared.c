/* tests/model/model_wake_shared.c - two consumers that sleep on one word, each of whom has to see every message; and
 * their producer, who sleeps until both have.
 * edges: WAKE
 *
 * The code that ships is that of model_wake.c: a sleep has no bound, so a wake-up that is lost is
 * a failure.  The ring is only a number that goes up: what is asked here is who is woken. */
#include <weir/ipc/kind.h>
#include <weir/naming/section_private.h>

#include "explorer.h"
#include "system.h"

#define CONSUMERS 2u
#define MESSAGES MODEL_BOUND(2, 1)

struct end {
    struct weir_section section;
    weir_channel_member member; /* for its counters: they are not what is explored */
    _Alignas(16) unsigned char handle[2 * WEIR_OS_HANDLE_PART];
};

static struct {
    _Alignas(64) unsigned char header[sizeof(weir_section_layout)];
    _Alignas(64) unsigned char content[WEIR_CHANNEL_LANE + 64];
    struct end producer, consumer[CONSUMERS];
} rig;

static weir_channel *handle(struct end *end) { return (weir_channel *)(void *)end->handle; }

/* ---- the ring: how many messages there are ---- */

static weir_atomic_u64 *sent(void) { return weir_word_at(rig.content, WEIR_CHANNEL_LANE); }

static weir_status put(weir_channel *channel, const void *msg, uint64_t len, bool more)
{
    (void)channel, (void)msg, (void)len, (void)more;
    weir_store_rel(sent(), weir_load_rlx(sent()) + 1);
    return WEIR_OK;
}

static weir_status ready(weir_channel *channel)
{
    return weir_load_acq(sent()) > channel_cold(channel)->position ? WEIR_OK : WEIR_EMPTY;
}

static weir_status pop(weir_channel *channel, void *buffer, uint64_t size_bytes, uint32_t *len)
{
    weir_status status = ready(channel);
    (void)buffer, (void)size_bytes;
    channel_cold(channel)->position += status == WEIR_OK;
    weir_channel_progress(channel, channel_cold(channel)->position);
    *len = 0;
    return status;
}

static weir_status drained(weir_channel *channel) { return weir_channel_all_at(channel, weir_load_rlx(sent())); }

static uint64_t want(weir_channel *channel, uint64_t len) { return (void)channel, (void)len, weir_load_rlx(sent()); }

static void nothing(weir_channel *channel) { (void)channel; }

static const struct channel_kind number = {
    .name = "number", .many_consumers = true, .put = put, .flush = nothing, .ready = ready, .pop = pop,
    .release = nothing, .drained = drained, .want = want,
};

/* ---- three ends ---- */

static void open_end(struct end *end, weir_role role, uint32_t slot, bool full_fence)
{
    weir_channel *channel = handle(end);
    struct channel_cold *cold = channel_cold(channel);
    weir_channel_layout *layout = (void *)rig.content;
    struct channel_side producers = { 0, 1 }, consumers = { 1, CONSUMERS };
    weir_participant before;
    end->section.header = (void *)rig.header;
    end->section.slots = weir_channel_slots(1, CONSUMERS);
    cold->section = &end->section;
    cold->view.base = rig.content;
    cold->layout = layout;
    cold->role = role;
    cold->wait = WEIR_WAIT_SLEEP;
    cold->rest = UINT32_MAX;
    cold->full_fence = full_fence;
    cold->kind = &number;
    cold->attached = true;
    cold->slot = slot;
    cold->own = role == WEIR_PRODUCER ? producers : consumers;
    cold->peers = role == WEIR_PRODUCER ? consumers : producers;
    channel->peer = role == WEIR_PRODUCER ? &layout->consumer : &layout->member[0].sleeper;
    channel->full_fence = full_fence;
    cold->member = &end->member;
    channel->messages = &end->member.count[WEIR_COUNT_MESSAGES];
    channel->sleeper = role == WEIR_PRODUCER ? &layout->member[slot].sleeper : &layout->consumer;
    channel->alive = CHANNEL_ALIVE;
    MODEL_ASSERT(weir_participant_claim(&end->section, slot, 1, &before) == WEIR_OK);
    MODEL_ASSERT(weir_participant_join(&end->section, &before) == WEIR_OK);
}

static void setup(bool full_fence)
{
    model_zero(&rig, sizeof rig);
    system_begin();
    model_share("header", rig.header, sizeof rig.header, 0);
    model_share("channel", rig.content, sizeof rig.content, 0);
    model_share("producer's mark", &handle(&rig.producer)->cancelled, 8, 0);
    for (uint32_t i = 0; i < CONSUMERS; i++)
        model_share("a consumer's mark", &handle(&rig.consumer[i])->cancelled, 8, 0);
    open_end(&rig.producer, WEIR_PRODUCER, 0, full_fence);
    for (uint32_t i = 0; i < CONSUMERS; i++)
        open_end(&rig.consumer[i], WEIR_CONSUMER, 1 + i, full_fence);
}

static void setup_full(void) { setup(true); }
static void setup_light(void) { setup(false); }

static void send(int count)
{
    for (; count > 0; count--)
        MODEL_ASSERT(weir_send(handle(&rig.producer), "", 0, WEIR_FOREVER) == WEIR_OK);
}

static void send_some(void) { send(MESSAGES); }

static void receive(struct end *end, int count)
{
    uint32_t len;
    for (; count > 0; count--)
        MODEL_ASSERT(weir_receive(handle(end), NULL, 0, &len, WEIR_FOREVER) == WEIR_OK);
}

static void first_receives_all(void) { receive(&rig.consumer[0], MESSAGES); }
static void second_receives_all(void) { receive(&rig.consumer[1], MESSAGES); }
static void first_receives_one(void) { receive(&rig.consumer[0], 1); }
static void second_receives_one(void) { receive(&rig.consumer[1], 1); }

/* Under GenMC the message is there before they begin. */
static void setup_drain_full(void)
{
    setup(true);
    send(MODEL_BOUND(0, 1));
}

static void setup_drain_light(void)
{
    setup(false);
    send(MODEL_BOUND(0, 1));
}

static void send_one_and_drain(void)
{
    send(MODEL_BOUND(1, 0));
    MODEL_ASSERT(weir_channel_drain(handle(&rig.producer), WEIR_FOREVER) == WEIR_OK);
}

#define SHARED(id, title, begin, produces, receives)                                                                   \
    MODEL(id) = { .name = "wake: two who share a word, " title, .setup = (begin),                                      \
                  .threads = { { .name = "producer", .run = produces },                                                \
                               { .name = "first", .run = first_##receives },                                           \
                               { .name = "second", .run = second_##receives } },                                       \
                  .preemptions = 2, .stale = 1, .must_reach = MARK_SLEPT, .random = 20000 }

SHARED(shared_full, "full fences", setup_full, send_some, receives_all);
SHARED(shared_light, "membarrier", setup_light, send_some, receives_all);
SHARED(drain_full, "drain, full fences", setup_drain_full, send_one_and_drain, receives_one);
SHARED(drain_light, "drain, membarrier", setup_drain_light, send_one_and_drain, receives_one);
