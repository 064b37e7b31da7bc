/* tests/model/model_wake.c - the sleep/wake handshake, and the end of a peer against its last message.
 * edges: WAKE SLOT
 *
 * This is the code that ships: ipc/channel.h's calls, ipc/channel_wait.c, naming/participant.c and the lane below them,
 * compiled against the explorer.  What stands instead of the system is in system.c.  Nobody spins (WEIR_WAIT_SLEEP, at rest), and a sleep has no bound as long as nobody is killed, so a
 * wake-up that is lost is a failure, where in truth it costs 45 ms. */
#include <weir/ipc/kind.h>
#include <weir/naming/section_private.h>

#include "explorer.h"
#include "system.h"

#define CAPACITY 64u
#define MESSAGES 4u

enum { PRODUCER = 1, CONSUMER = 2 }; /* the threads' numbers: those of their slots, and one more */
enum { MARK_CLOSED = 2, MARK_DIED = 4, MARK_FULL = 8 };

struct end {
    struct weir_section section;
    weir_channel_member member; /* for its counters: they are not what is explored */
    _Alignas(16) unsigned char handle[2 * WEIR_OS_HANDLE_PART];
};

static struct {
    _Alignas(64) unsigned char header[sizeof(weir_section_layout)];
    _Alignas(64) unsigned char content[WEIR_CHANNEL_DATA + CAPACITY];
    struct end producer, consumer;
    unsigned sent, received;
} rig;

static weir_channel *tx(void) { return (weir_channel *)(void *)rig.producer.handle; }
static weir_channel *rx(void) { return (weir_channel *)(void *)rig.consumer.handle; }

/* ---- the two ends, as ipc/channel.c opens and leaves them ---- */

static void open_end(struct end *end, weir_role role, bool full_fence)
{
    weir_channel *channel = (weir_channel *)(void *)end->handle;
    struct channel_cold *cold = channel_cold(channel);
    weir_channel_layout *layout = (void *)rig.content;
    weir_participant before;
    end->section.header = (void *)rig.header;
    end->section.slots = weir_channel_slots(1, 1);
    cold->section = &end->section;
    cold->view.base = rig.content;
    cold->layout = layout;
    cold->role = role;
    cold->wait = WEIR_WAIT_SLEEP;
    cold->rest = UINT32_MAX;
    cold->full_fence = full_fence;
    cold->kind = &weir_channel_spsc;
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
    void *lane = rig.content + WEIR_CHANNEL_LANE;
    uint64_t bytes = WEIR_SPSC_CONTROL + CAPACITY;
    MODEL_ASSERT((role == WEIR_PRODUCER ? weir_spsc_producer_attach(&channel->tx, lane, bytes)
                                        : weir_spsc_consumer_attach(&channel->rx, lane, bytes)) == WEIR_OK);
    MODEL_ASSERT(weir_participant_claim(&end->section, cold->slot, 1, &before) == WEIR_OK);
    MODEL_ASSERT(weir_participant_join(&end->section, &before) == WEIR_OK);
}

static void leave(struct end *end)
{
    weir_channel *channel = (weir_channel *)(void *)end->handle;
    MODEL_ASSERT(weir_participant_leave(&end->section, channel_cold(channel)->slot) == WEIR_OK);
    weir_channel_wake_peers(channel);
}

static void setup(bool full_fence)
{
    model_zero(&rig, sizeof rig);
    system_begin();
    model_share("header", rig.header, sizeof rig.header, 0);
    model_share("channel", rig.content, sizeof rig.content, 0);
    MODEL_ASSERT(weir_spsc_init(rig.content + WEIR_CHANNEL_LANE, WEIR_SPSC_CONTROL + CAPACITY, CAPACITY, 0) == WEIR_OK);
    model_share("producer's mark", &tx()->cancelled, 8, 0);
    model_share("consumer's mark", &rx()->cancelled, 8, 0);
    open_end(&rig.producer, WEIR_PRODUCER, full_fence);
    open_end(&rig.consumer, WEIR_CONSUMER, full_fence);
}

static void setup_full(void) { setup(true); }
static void setup_light(void) { setup(false); }

static weir_status send_some(unsigned count);

/* Some messages are there before they begin: two fill the lane. */
static void setup_sent(bool full_fence, unsigned count)
{
    setup(full_fence);
    MODEL_ASSERT(send_some(count) == WEIR_OK);
}

static void setup_no_room_full(void) { setup_sent(true, 2); }
static void setup_no_room_light(void) { setup_sent(false, 2); }
static void setup_room_full(void) { setup_sent(true, MODEL_BOUND(0, 1)); }
static void setup_room_light(void) { setup_sent(false, MODEL_BOUND(0, 1)); }
static void setup_left_full(void) { setup_sent(true, MODEL_BOUND(0, 2)); }
static void setup_left_light(void) { setup_sent(false, MODEL_BOUND(0, 2)); }

/* ---- what they do ---- */

/* WEIR_OK, or the end of the consumer. */
static weir_status send_some(unsigned count)
{
    for (; rig.sent < count; rig.sent++) {
        uint64_t message[2] = { rig.sent + 1, ~(uint64_t)rig.sent };
        weir_status status = weir_send(tx(), message, sizeof message, WEIR_FOREVER);
        if (status != WEIR_OK)
            return status;
    }
    return WEIR_OK;
}

/* WEIR_OK, or the end of the producer. */
static weir_status receive_some(unsigned count)
{
    for (; rig.received < count; rig.received++) {
        uint64_t message[2] = { 0 };
        uint32_t len;
        weir_status status = weir_receive(rx(), message, sizeof message, &len, WEIR_FOREVER);
        if (status != WEIR_OK)
            return status;
        MODEL_ASSERT(len == sizeof message && message[0] == rig.received + 1 && message[1] == ~(uint64_t)rig.received);
    }
    return WEIR_OK;
}

static void send_one(void) { MODEL_ASSERT(send_some(1) == WEIR_OK); }
static void send_two(void) { MODEL_ASSERT(send_some(2) == WEIR_OK); }
static void send_three(void) { MODEL_ASSERT(send_some(3) == WEIR_OK); }
static void send_many(void) { MODEL_ASSERT(send_some(MODEL_BOUND(4, 3)) == WEIR_OK); }
static void receive_two(void) { MODEL_ASSERT(receive_some(2) == WEIR_OK); }
static void receive_three(void) { MODEL_ASSERT(receive_some(3) == WEIR_OK); }
static void receive_many(void) { MODEL_ASSERT(receive_some(MODEL_BOUND(4, 2)) == WEIR_OK); }

static void send_batch(void)
{
    uint64_t message[2] = { 1, ~(uint64_t)0 };
    MODEL_ASSERT(weir_send_more(tx(), message, sizeof message, WEIR_FOREVER) == WEIR_OK);
    message[0] = 2, message[1] = ~(uint64_t)1;
    MODEL_ASSERT(weir_send_more(tx(), message, sizeof message, WEIR_FOREVER) == WEIR_OK);
    MODEL_ASSERT(weir_flush(tx()) == WEIR_OK);
}

static void send_in_place(void)
{
    for (uint64_t sent = 0; sent < 2; sent++) {
        uint64_t message[2] = { sent + 1, ~sent };
        void *slot = NULL;
        MODEL_ASSERT(weir_reserve(tx(), sizeof message, &slot, WEIR_FOREVER) == WEIR_OK);
        WEIR_PAYLOAD_WRITE(slot, message, sizeof message);
        MODEL_ASSERT(weir_commit(tx(), sizeof message) == WEIR_OK);
    }
}

static void drain(void)
{
    send_one();
    MODEL_ASSERT(weir_channel_drain(tx(), WEIR_FOREVER) == WEIR_OK);
    MODEL_ASSERT(rig.received == 1); /* what the consumer did before its release is seen */
}

static void receive_one_in_place(void)
{
    const void *msg;
    uint32_t len;
    MODEL_ASSERT(weir_peek(rx(), &msg, &len, WEIR_FOREVER) == WEIR_OK);
    rig.received = 1;
    MODEL_ASSERT(weir_release(rx()) == WEIR_OK);
}

static void send_and_leave(void)
{
    send_one();
    leave(&rig.producer);
}

/* Until the end, which comes behind the last message. */
static void receive_to_the_end(void)
{
    weir_status status = receive_some(MESSAGES + 1);
    if (status == WEIR_CLOSED) {
        model_reached(MARK_CLOSED);
        MODEL_ASSERT(rig.received == rig.sent); /* it may have been killed behind its leaving */
        return;
    }
    MODEL_ASSERT(status == WEIR_DIED && model_killed(PRODUCER));
    MODEL_ASSERT(rig.received == rig.sent || rig.received == rig.sent + 1); /* the last may be there and unsaid */
    model_reached(MARK_DIED);
}

/* Sends until the consumer has gone, with a full lane. */
static void send_to_the_end(void)
{
    weir_status status = send_some(MESSAGES);
    if (status == WEIR_OK)
        return;
    model_reached(status == WEIR_CLOSED ? MARK_CLOSED : MARK_DIED);
    MODEL_ASSERT(status == WEIR_CLOSED || (status == WEIR_DIED && model_killed(CONSUMER)));
}

static void receive_and_leave(void)
{
    MODEL_ASSERT(receive_some(1) == WEIR_OK);
    leave(&rig.consumer);
}

/* ---- models: each with a full fence on both sides, and with the sleeper's membarrier ---- */

#define WAKE_AFTER(set, id, title, produce, consume, marks, p, s)                                                      \
    MODEL(id##_full) = { .name = "wake: " title ", full fences", .setup = set##_full,                                  \
                         .threads = { { .name = "producer", .run = (produce) },                                        \
                                      { .name = "consumer", .run = (consume) } },                                      \
                         .preemptions = (p), .stale = (s), .must_reach = (marks), .random = 20000 };                   \
    MODEL(id##_light) = { .name = "wake: " title ", membarrier", .setup = set##_light,                                 \
                          .threads = { { .name = "producer", .run = (produce) },                                       \
                                       { .name = "consumer", .run = (consume) } },                                     \
                          .preemptions = (p), .stale = (s), .must_reach = (marks), .random = 20000 }
#define WAKE(id, ...) WAKE_AFTER(setup, id, __VA_ARGS__)

WAKE(message, "messages", send_two, receive_two, MARK_SLEPT, 3, 2);
WAKE(place, "in place", send_in_place, receive_two, MARK_SLEPT, 3, 2);
WAKE(batch, "a batch", send_batch, receive_two, MARK_SLEPT, 3, 2);
WAKE_AFTER(setup_room, room, "room", send_many, receive_many, MARK_SLEPT, 2, 2);
WAKE_AFTER(setup_no_room, no_room, "room in a full lane", send_three, receive_three, MARK_SLEPT, 3, 2);
WAKE(drained, "drain", drain, receive_one_in_place, MARK_SLEPT, 3, 2);
WAKE(closed, "the producer leaves", send_and_leave, receive_to_the_end, MARK_SLEPT | MARK_CLOSED, 3, 2);
WAKE_AFTER(setup_left, left, "the consumer leaves", send_to_the_end, receive_and_leave, MARK_SLEPT | MARK_CLOSED, 2, 2);

/* ---- a cancel ---- */

static void cancel_consumer(void) { MODEL_ASSERT(weir_channel_cancel(rx()) == WEIR_OK); }

/* A cancel is never lost: nobody else would end the sleep. */
static void receive_until_cancelled(void)
{
    weir_status status;
    while ((status = receive_some(rig.received + 1)) == WEIR_OK)
        continue;
    MODEL_ASSERT(status == WEIR_CANCELLED);
    MODEL_ASSERT(receive_some(1) == WEIR_OK); /* once, and no message is lost by it */
}

#define CANCEL(id, title, set)                                                                                         \
    MODEL(id) = { .name = "wake: a cancel, " title, .setup = (set),                                                    \
                  .threads = { { .name = "producer", .run = send_one },                                                \
                               { .name = "consumer", .run = receive_until_cancelled },                                 \
                               { .name = "canceller", .run = cancel_consumer } },                                      \
                  .preemptions = 2, .stale = 2, .must_reach = MARK_SLEPT, .random = 20000 }
CANCEL(cancel_full, "full fences", setup_full);
CANCEL(cancel_light, "membarrier", setup_light);

/* ---- deaths ---- */

MODEL(producer_dies) = { .name = "wake: the producer is killed", .setup = setup_full,
                         .threads = { { .name = "producer", .run = send_and_leave, .victim = true },
                                      { .name = "consumer", .run = receive_to_the_end } },
                         .preemptions = 3, .stale = 2, .kills = 1,
                         .must_reach = MARK_SLEPT | MARK_DIED | MARK_CLOSED | MARK_TIMEOUT, .random = 20000 };
MODEL(consumer_dies) = { .name = "wake: the consumer is killed", .setup = setup_left_full,
                         .threads = { { .name = "producer", .run = send_to_the_end },
                                      { .name = "consumer", .run = receive_and_leave, .victim = true } },
                         .preemptions = 2, .stale = 2, .kills = 1,
                         .must_reach = MARK_SLEPT | MARK_DIED | MARK_CLOSED | MARK_TIMEOUT, .random = 20000 };
