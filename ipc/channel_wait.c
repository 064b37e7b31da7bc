/* ipc/channel_wait.c - what a call does that cannot go on: spin, sleep, look who is there, wake the other side. */
#include <weir/base/fail.h>
#include <weir/ipc/channel_private.h>
#include <weir/ipc/os.h>

#define SPIN_NS INT64_C(50000)      /* before the first sleep: some times what a sleep and a wake cost */
#define SLEEP_NS INT64_C(45000000)  /* the longest sleep: covers a waker that died between its store and its wake */
#define IDLE_NS (2 * SLEEP_NS)      /* the same after a second of nothing: a wake costs 60 us on a virtual machine, */
#define IDLE_AFTER_NS INT64_C(1000000000) /* and a blocked process is to take less than 0.1 % of a core */
#define ALONE_NS (4 * SLEEP_NS)     /* while there is no peer that could die: who comes wakes us */
#define PROBE_NS INT64_C(10000000)  /* how often a waiter asks the kernel about the peer's lock */
#define PAUSES_MAX 32               /* between two looks at the ring: see pace */
#define LOOKS_PER_CLOCK 16          /* looks at the ring between two looks at the clock */

/* What a handle waits for. */
enum goal { GOAL_MESSAGE, GOAL_ROOM, GOAL_DRAINED };

struct wait {
    weir_channel *channel;
    enum goal goal;
    uint64_t len;     /* GOAL_ROOM: the message's bytes */
    weir_status none; /* what "not yet" is called */
};

/* A status the inline path met, as the caller should hear it: the ring knows nothing of forks and roles. */
weir_status weir_channel_explain(weir_channel *channel, weir_status status)
{
    if (channel->alive != CHANNEL_ALIVE)
        return weir_fail(WEIR_E_FORKED, "the channel was opened before the fork: open it again in the child");
    if (status == WEIR_E_STATE && channel->tx.fault != WEIR_OK)
        return channel->tx.fault;
    if (status == WEIR_E_STATE && channel->rx.fault != WEIR_OK)
        return channel->rx.fault;
    if (status == WEIR_E_STATE)
        return weir_fail(status, "a call that this channel's role does not have, or a commit without a reserve");
    if (status == WEIR_E_INVALID)
        return weir_fail(status, "a commit of more bytes than were reserved");
    return status;
}

/* ---- waking ---- */

void weir_channel_wake(weir_channel *channel)
{
    if (channel->peer == NULL) /* before the section was mapped */
        return;
    /* order WAKE sc: what was published before the look at armed.  Without it both sides can look too early, and one
     * sleeps its whole bound. */
    weir_fence_sc();
    if (weir_exchange32_rlx(&channel->peer->armed, 0) != 0)
        weir_os_wake(&channel->peer->armed);
}

static weir_sleeper *own_sleeper(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_channel_layout *layout = cold->view.base;
    return cold->role == WEIR_PRODUCER ? &layout->producer : &layout->consumer;
}

/* The sleeper's half of the handshake: announce, fence, and then look once more before sleeping. */
static void arm(weir_channel *channel, uint64_t want_pos)
{
    weir_sleeper *self = own_sleeper(channel);
    weir_store_rlx(&self->want_pos, want_pos); /* relaxed: a waker that misses it wakes at the next release */
    weir_store32_rlx(&self->armed, 1);
    if (channel_cold(channel)->full_fence)
        weir_fence_sc(); /* order WAKE sc: armed before the look at the ring */
    else
        weir_os_fence_others(); /* order WAKE sc: armed before the look at the ring, here and in every waker */
}

/* ---- looking ---- */

/* Is what w waits for there?  w->none where it is not. */
static weir_status look(const struct wait *w)
{
    weir_channel *channel = w->channel;
    uint64_t start_pos;
    weir_status status = WEIR_E_STATE;
    switch (w->goal) {
    case GOAL_MESSAGE:
        if (channel->rx.capacity == 0 && channel->rx.fault == WEIR_OK) {
            status = weir_channel_attach_lane(channel);
            if (status == WEIR_E_VERSION) { /* the channel has our layout: then its lane has, or it is nonsense */
                status = WEIR_E_CORRUPT;
                channel->rx = (weir_spsc_consumer){ .fault = status };
            }
            if (status != WEIR_OK)
                break;
        }
        status = weir_spsc_ready(&channel->rx);
        break;
    case GOAL_ROOM:
        status = weir_spsc_place(&channel->tx, w->len, &start_pos);
        break;
    case GOAL_DRAINED:
        status = weir_spsc_drained(&channel->tx);
        break;
    }
    return status;
}

/* The consumer's position at which a sleeping producer wants to be woken: what it needs, and if it waits for room a
 * quarter of the lane with it, so that a full lane costs a wake for many messages. */
static uint64_t want_pos(const struct wait *w)
{
    const weir_spsc_producer *tx = &w->channel->tx;
    if (w->goal != GOAL_ROOM)
        return w->goal == GOAL_DRAINED ? tx->pos : 0;
    uint64_t size = weir_spsc_size(w->len);
    uint64_t room = tx->capacity - (tx->pos & (tx->capacity - 1));
    uint64_t need = (size > room ? room : 0) + size + WEIR_SPSC_HEADER;
    uint64_t quarter = tx->capacity / 4;
    return tx->pos + (need > quarter ? need : quarter) - tx->capacity;
}

/* CLOSED or DIED if the peer has ended and the caller does not know yet.  A leaver says so in memory; a death is asked
 * of the kernel, not at every look. */
static weir_status peer_end(weir_channel *channel, int64_t now)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_participant peer = weir_participant_glance(cold->section, cold->peer_slot);
    if (peer.presence == WEIR_ALIVE && now - cold->probed_ns >= PROBE_NS) {
        cold->probed_ns = now;
        weir_status status = weir_participant_look(cold->section, cold->peer_slot, &peer);
        if (status != WEIR_OK)
            return status;
    }
    if ((peer.presence != WEIR_LEFT && peer.presence != WEIR_DEAD) || cold->reported == (uint64_t)peer.generation + 1)
        return WEIR_OK;
    cold->ended = (uint64_t)peer.generation + 1;
    return peer.presence == WEIR_LEFT ? WEIR_CLOSED : WEIR_DIED;
}

/* The end is believed first and reported last: what was committed before it is still handed over. */
static weir_status look_at_end(const struct wait *w, int64_t now)
{
    struct channel_cold *cold = channel_cold(w->channel);
    weir_status end = peer_end(w->channel, now);
    if (end == WEIR_OK)
        return w->none;
    weir_status status = look(w);
    if (status == w->none) {
        if (end > 0)
            cold->reported = cold->ended;
        return end;
    }
    return status;
}

/* ---- waiting ---- */

/* How many pauses between two looks for a message.  A consumer that is faster than its producer and looks at once takes
 * the line away that is being written, message for message; one that waits a little finds a batch.  But the answer of a
 * ping-pong wants to be seen at once.  So: more than one message since the last wait doubles the pauses, just one
 * halves them. */
static void pace_from(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    if (channel->rx.pos - cold->wait_pos > cold->wait_size)
        cold->pauses = cold->pauses < PAUSES_MAX ? cold->pauses * 2 : PAUSES_MAX;
    else
        cold->pauses = cold->pauses > 1 ? cold->pauses / 2 : 1;
}

static void pace_to(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    const weir_spsc_consumer *rx = &channel->rx;
    cold->wait_pos = rx->pos;
    /* relaxed, and not checked: it sets a number of pauses */
    cold->wait_size = weir_spsc_size((uint32_t)weir_load_rlx(weir_word_at(rx->data, rx->pos & (rx->capacity - 1))));
}

/* Looks again and again until until_ns; w->none if nothing came. */
static weir_status spin(const struct wait *w, int64_t until_ns, bool yields)
{
    uint32_t pauses = w->goal == GOAL_MESSAGE ? channel_cold(w->channel)->pauses : PAUSES_MAX;
    for (;;) {
        for (int looks = 0; looks < LOOKS_PER_CLOCK; looks++) {
            for (uint32_t i = 0; i < pauses; i++)
                weir_pause();
            weir_status status = look(w);
            if (status != w->none)
                return status;
        }
        int64_t now = weir_os_now_ns();
        weir_status status = look_at_end(w, now);
        if (status != w->none || now >= until_ns)
            return status;
        if (yields)
            weir_os_yield();
    }
}

static weir_status sleep_until(const struct wait *w, int64_t until_ns)
{
    weir_channel *channel = w->channel;
    struct channel_cold *cold = channel_cold(channel);
    weir_status status;
    arm(channel, want_pos(w));
    for (;;) {
        status = look(w);
        int64_t now = 0;
        if (status == w->none) {
            now = weir_os_now_ns();
            status = look_at_end(w, now);
        }
        if (status != w->none || now >= until_ns)
            break;
        cold->sleeps++;
        bool alone = weir_participant_glance(cold->section, cold->peer_slot).presence != WEIR_ALIVE;
        int64_t longest = alone ? ALONE_NS : now - cold->since_ns > IDLE_AFTER_NS ? IDLE_NS : SLEEP_NS;
        int64_t bound = until_ns - now < longest ? until_ns - now : longest;
        weir_os_sleep(&own_sleeper(channel)->armed, 1, bound);
        if (weir_load32_rlx(&own_sleeper(channel)->armed) == 0) /* relaxed: only whether to arm again */
            arm(channel, want_pos(w));
    }
    weir_store32_rlx(&own_sleeper(channel)->armed, 0); /* relaxed: a wake too many is harmless */
    return status;
}

static weir_status wait_for(const struct wait *w, weir_timeout timeout)
{
    struct channel_cold *cold = channel_cold(w->channel);
    weir_status status = look(w);
    if (status != w->none)
        return status;
    int64_t now = weir_os_now_ns();
    status = look_at_end(w, now);
    if (status != w->none || timeout == WEIR_NOWAIT)
        return status;
    if (!cold->idle)
        cold->since_ns = now;
    int64_t until = timeout < 0 || timeout > INT64_MAX - now ? INT64_MAX : now + timeout;
    int64_t spin_until = until;
    if (cold->wait == WEIR_WAIT_SPIN_SLEEP && until - now > SPIN_NS)
        spin_until = now + SPIN_NS;
    /* Who has slept in vain goes on sleeping: a short timeout in a loop must not become a spin. */
    if (cold->wait == WEIR_WAIT_SPIN || (cold->wait == WEIR_WAIT_SPIN_SLEEP && !cold->idle))
        status = spin(w, spin_until, cold->wait == WEIR_WAIT_SPIN);
    if (status == w->none && cold->wait != WEIR_WAIT_SPIN)
        status = sleep_until(w, until);
    cold->idle = status == w->none;
    return cold->idle ? WEIR_TIMEOUT : status;
}

/* ---- the slow paths of the inline calls ---- */

/* A full lane holds an unpublished batch's room too: the batch goes out before anybody waits for it to be read. */
static weir_status wait_for_room(weir_channel *channel, uint64_t len, weir_timeout timeout)
{
    channel_cold(channel)->full++;
    weir_spsc_flush(&channel->tx);
    weir_channel_published(channel);
    return wait_for(&(struct wait){ channel, GOAL_ROOM, len, WEIR_FULL }, timeout);
}

weir_status weir_channel_send_slow(weir_channel *channel, const void *msg, uint64_t len, int more,
                                   weir_timeout timeout, weir_status status)
{
    if (status != WEIR_FULL)
        return weir_channel_explain(channel, status);
    status = wait_for_room(channel, len, timeout);
    if (status == WEIR_OK)
        status = weir_spsc_put(&channel->tx, msg, len, more != 0);
    if (status == WEIR_OK && !more)
        weir_channel_published(channel);
    return status;
}

/* What is left of a timeout that began at start. */
static weir_timeout remaining(weir_timeout timeout, int64_t start)
{
    if (timeout <= 0)
        return timeout;
    int64_t left = timeout - (weir_os_now_ns() - start);
    return left > 0 ? left : WEIR_NOWAIT;
}

weir_status weir_send_array(weir_channel *channel, const void *msgs, uint64_t len, uint32_t count, uint32_t *sent,
                            weir_timeout timeout)
{
    *sent = 0;
    if (!weir_channel_enter(channel))
        return WEIR_E_BUSY;
    const unsigned char *from = msgs;
    int64_t start = 0;
    uint32_t done = 0;
    weir_status status;
    for (;;) {
        uint32_t pushed = 0;
        status = weir_spsc_push_array(&channel->tx, from + (uint64_t)done * len, len, count - done, &pushed);
        done += pushed;
        if (pushed != 0)
            weir_channel_published(channel);
        if (status != WEIR_FULL)
            break;
        if (start == 0)
            start = weir_os_now_ns();
        weir_timeout left = remaining(timeout, start);
        status = wait_for_room(channel, len, left);
        if (status == WEIR_FULL && timeout != WEIR_NOWAIT)
            status = WEIR_TIMEOUT;
        if (status != WEIR_OK)
            break;
    }
    *sent = done;
    return weir_channel_leave(channel, weir_channel_explain(channel, status));
}

weir_status weir_channel_reserve_slow(weir_channel *channel, uint64_t len, void **slot, weir_timeout timeout,
                                      weir_status status)
{
    if (status != WEIR_FULL)
        return weir_channel_explain(channel, status);
    status = wait_for_room(channel, len, timeout);
    return status == WEIR_OK ? weir_spsc_reserve(&channel->tx, len, slot) : status;
}

/* Is that status only a consumer's that came before the lane? */
static bool awaits_lane(weir_channel *channel, weir_status status)
{
    return status == WEIR_E_STATE && channel->alive == CHANNEL_ALIVE && channel->rx.fault == WEIR_OK &&
           channel_cold(channel)->role == WEIR_CONSUMER;
}

/* WEIR_OK: a message is there, look again. */
weir_status weir_channel_receive_slow(weir_channel *channel, weir_timeout timeout, weir_status status)
{
    if (status != WEIR_EMPTY && !awaits_lane(channel, status))
        return weir_channel_explain(channel, status);
    if (timeout != WEIR_NOWAIT)
        pace_from(channel);
    status = wait_for(&(struct wait){ channel, GOAL_MESSAGE, 0, WEIR_EMPTY }, timeout);
    if (status == WEIR_OK)
        pace_to(channel);
    return status;
}

/* A release without a lane. */
weir_status weir_channel_unreleased(weir_channel *channel)
{
    return awaits_lane(channel, WEIR_E_STATE) ? WEIR_OK : weir_channel_explain(channel, WEIR_E_STATE);
}

/* The retry after "a message is there".  No producer takes a message back. */
weir_status weir_channel_arrived(weir_channel *channel, weir_status status)
{
    if (status != WEIR_EMPTY)
        return status;
    channel->rx = (weir_spsc_consumer){ .fault = WEIR_E_CORRUPT };
    return weir_fail(WEIR_E_CORRUPT, "%s: a committed message disappeared",
                     weir_section_name(channel_cold(channel)->section));
}

weir_status weir_channel_drain(weir_channel *channel, weir_timeout timeout)
{
    if (!weir_channel_enter(channel))
        return WEIR_E_BUSY;
    weir_status status;
    if (channel->tx.capacity == 0) {
        status = weir_channel_explain(channel, WEIR_E_STATE);
    } else {
        weir_spsc_flush(&channel->tx);
        weir_channel_published(channel);
        status = wait_for(&(struct wait){ channel, GOAL_DRAINED, 0, WEIR_FULL }, timeout);
    }
    return weir_channel_leave(channel, status);
}
