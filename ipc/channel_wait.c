/* ipc/channel_wait.c - what a call does that cannot go on: spin, sleep, look who is there, wake the other side. */
#include <weir/base/fail.h>
#include <weir/ipc/kind.h>
#include <weir/ipc/os.h>

#define SPIN_NS INT64_C(50000)      /* before the first sleep: some times what a sleep and a wake cost */
#define SLEEP_NS INT64_C(45000000)  /* the longest sleep: covers a waker that died between its store and its wake */
#define IDLE_NS (2 * SLEEP_NS)      /* the same after a second of nothing: a wake costs 60 us on a virtual machine, */
#define IDLE_AFTER_NS INT64_C(1000000000) /* and a blocked process is to take less than 0.1 % of a core */
#define ALONE_NS (4 * SLEEP_NS)     /* while there is no peer that could die: who comes wakes us */
#define PROBE_NS INT64_C(10000000)  /* how often a waiter asks the kernel about the peer's lock */
#define PAUSES_MAX 32               /* between two looks at the ring: see pace */
#define LOOKS_PER_CLOCK 16          /* looks at the ring between two looks at the clock */
#define TAKEN_PER_CLOCK 16u         /* messages, of who never waits, between two looks whether a dead one left any */
#define CROWD_LOOKS 16              /* at peers who come and go at each look: by then they are not all gone */

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
    if (status == WEIR_E_CORRUPT) /* for good, whichever of its calls found it */
        weir_channel_poison(channel, status);
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

void weir_channel_poison(weir_channel *channel, weir_status status)
{
    channel_cold(channel)->attached = false; /* its peers see to what it had, as to a dead one's */
    channel->tx = (weir_spsc_producer){ .fault = status };
    channel->rx = (weir_spsc_consumer){ .fault = status };
}

/* Is the handle a live one of that role, and attached to a ring?  Then a call that the inline path could not serve is
 * its kind's. */
static bool serves(weir_channel *channel, weir_role role)
{
    return channel->alive == CHANNEL_ALIVE && channel_cold(channel)->role == role && channel_cold(channel)->attached;
}

/* ---- waking ---- */

static void wake(weir_sleeper *sleeper)
{
    /* order WAKE sc: what was published before the look at armed.  Without it both sides can look too early, and one
     * sleeps its whole bound. */
    weir_fence_sc();
    if (weir_exchange32_rlx(&sleeper->armed, 0) != 0)
        weir_os_wake(&sleeper->armed);
}

void weir_channel_wake(weir_channel *channel)
{
    wake(channel->peer);
}

void weir_channel_wake_peers(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    if (channel->peer == NULL) /* before the section was mapped */
        return;
    weir_channel_layout *layout = cold->view.base;
    for (uint32_t slot = 0; cold->role == WEIR_CONSUMER && slot < cold->peers.count; slot++)
        wake(&layout->member[slot].sleeper);
    /* Consumers also where another leaves who may have claimed something. */
    if (cold->role == WEIR_PRODUCER || (cold->kind->recover != NULL && cold->own.count > 1))
        wake(&layout->consumer);
}

/* The waker's half of the handshake with the producer of that place. */
static void woken(weir_channel *channel, uint32_t producer, bool whatever, uint64_t released_pos)
{
    weir_channel_layout *layout = channel_cold(channel)->view.base;
    weir_sleeper *sleeper = &layout->member[producer].sleeper;
    if (channel->full_fence != 0)
        weir_fence_sc(); /* order WAKE sc: what was released before the look at armed */
    else
        weir_fence_compiler(); /* order WAKE sc: the sleeper's membarrier is the fence of both sides */
    if (weir_load32_rlx(&sleeper->armed) != 0 &&
        /* relaxed: a wrong one only delays, by at most one bounded sleep */
        (whatever || (int64_t)(released_pos - weir_load_rlx(&sleeper->want_pos)) >= 0))
        wake(sleeper);
}

void weir_channel_woken(weir_channel *channel, uint32_t producer, uint64_t released_pos)
{
    woken(channel, producer, false, released_pos);
}

void weir_channel_woken_by_any(weir_channel *channel, uint32_t producer)
{
    woken(channel, producer, true, 0);
}

/* Consumers sleep on one word, each producer on its own. */
static weir_sleeper *own_sleeper(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_channel_layout *layout = cold->view.base;
    return cold->role == WEIR_PRODUCER ? &layout->member[cold->slot].sleeper : &layout->consumer;
}

/* The sleeper's half of the handshake: announce, fence, and then look once more before sleeping, on the value that is
 * returned.  Who shares the word stores a value of its own there, and not twice the same: a waker may clear it, and
 * another arm it again, before this one sleeps, who then must not. */
static uint32_t arm(weir_channel *channel, uint64_t want_pos)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_sleeper *self = own_sleeper(channel);
    uint32_t own = 1;
    if (cold->role == WEIR_CONSUMER && cold->own.count > 1)
        own = ++cold->armings << 8 | (cold->slot - cold->own.first + 1);
    weir_store_rlx(&self->want_pos, want_pos); /* relaxed: a waker that misses it wakes at the next release */
    weir_store32_rlx(&self->armed, own);
    if (cold->full_fence)
        weir_fence_sc(); /* order WAKE sc: armed before the look at the ring */
    else
        weir_os_fence_others(); /* order WAKE sc: armed before the look at the ring, here and in every waker */
    return own;
}

/* Behind a sleep: who shares the word with others leaves it to the waker, or they would not be woken. */
static void disarm(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    if (cold->role == WEIR_PRODUCER || cold->own.count == 1)
        weir_store32_rlx(&own_sleeper(channel)->armed, 0); /* relaxed: a wake too many is harmless */
}

/* ---- looking ---- */

/* Is what w waits for there?  w->none where it is not. */
static weir_status look(const struct wait *w)
{
    weir_channel *channel = w->channel;
    struct channel_cold *cold = channel_cold(channel);
    if (!cold->attached) {
        weir_status status = channel->rx.fault != WEIR_OK ? channel->rx.fault : weir_channel_attach_ring(channel);
        if (status != WEIR_OK)
            return weir_channel_attaches_later(status) ? w->none : status;
    }
    switch (w->goal) {
    case GOAL_MESSAGE: return cold->kind->ready(channel);
    case GOAL_ROOM: return cold->kind->place(channel, w->len);
    default: return cold->kind->drained(channel);
    }
}

/* The position at which a sleeping producer wants to be woken. */
static uint64_t want_pos(const struct wait *w)
{
    if (w->goal == GOAL_MESSAGE)
        return 0;
    return channel_cold(w->channel)->kind->want(w->channel, w->goal == GOAL_ROOM ? w->len : UINT64_MAX);
}

/* ---- who is there ---- */

/* One look at each. */
static weir_status count(struct channel_cold *cold, struct channel_side side, bool ask, weir_participant *all,
                         uint32_t *alive)
{
    weir_participant sum = { .slot = side.first };
    uint32_t present = 0, left = 0, dead = 0;
    for (uint32_t slot = side.first; slot < side.first + side.count; slot++) {
        weir_participant one = weir_participant_glance(cold->section, slot);
        if (ask && one.presence == WEIR_ALIVE) {
            weir_status status = weir_participant_look(cold->section, slot, &one);
            if (status != WEIR_OK)
                return status;
        }
        sum.generation += one.generation;
        sum.deaths = (sum.deaths + one.deaths) & 0xffff;
        present += one.presence == WEIR_ALIVE;
        left += one.presence == WEIR_LEFT;
        dead += one.presence == WEIR_DEAD;
    }
    sum.presence = present != 0 ? WEIR_ALIVE : dead != 0 ? WEIR_DEAD : left != 0 ? WEIR_LEFT : WEIR_ABSENT;
    *all = sum;
    *alive = present;
    return WEIR_OK;
}

/* Nobody is there only if nobody has come between two looks at all places: one may come to a place that was looked at
 * while the last of the others leaves one that was not. */
weir_status weir_channel_crowd(struct channel_cold *cold, struct channel_side side, bool ask, weir_participant *all,
                               uint32_t *alive)
{
    uint32_t present = 0;
    weir_status status = count(cold, side, ask, all, &present);
    bool same = side.count == 1;
    for (int look = 0; status == WEIR_OK && present == 0 && !same; look++) {
        weir_participant before = *all;
        status = count(cold, side, ask, all, &present);
        same = all->generation == before.generation;
        if (!same && look == CROWD_LOOKS)
            present = 1, all->presence = WEIR_ALIVE;
    }
    if (alive != NULL)
        *alive = present;
    return status;
}

/* Consumers of a ring whose producer knows of no reader say how far they are.  Relaxed, in both: only a number; no byte
 * is used again because of it. */
void weir_channel_progress(weir_channel *channel, uint64_t position)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_channel_layout *layout = cold->view.base;
    weir_atomic_u64 *own = &layout->member[cold->slot].position;
    if (weir_load_rlx(own) == position)
        return;
    weir_store_rlx(own, position);
    weir_channel_woken(channel, 0, position);
}

weir_status weir_channel_all_at(weir_channel *channel, uint64_t position)
{
    struct channel_cold *cold = channel_cold(channel);
    const weir_channel_layout *layout = cold->view.base;
    uint32_t there = 0, behind = 0;
    int64_t now = weir_os_now_ns();
    bool ask = now - cold->asked_ns >= PROBE_NS; /* of the kernel, whether those that are behind live */
    for (uint32_t slot = cold->peers.first; slot < cold->peers.first + cold->peers.count; slot++) {
        weir_participant one = weir_participant_glance(cold->section, slot);
        if (one.presence != WEIR_ABSENT && weir_load_rlx(&layout->member[slot].position) == position) {
            there++; /* or has left since */
            continue;
        }
        if (ask && one.presence == WEIR_ALIVE) {
            weir_status status = weir_participant_look(cold->section, slot, &one);
            if (status != WEIR_OK)
                return status;
            cold->asked_ns = now;
        }
        behind += one.presence == WEIR_ALIVE;
    }
    return there != 0 && behind == 0 ? WEIR_OK : WEIR_FULL;
}

/* CLOSED or DIED if the last of the peers has ended and the caller does not know yet.  Who leaves says so in memory; a
 * death is asked of the kernel, not at every look. */
static weir_status peers_end(weir_channel *channel, int64_t now)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_participant peers;
    weir_status status = weir_channel_crowd(cold, cold->peers, false, &peers, NULL);
    if (peers.presence == WEIR_ALIVE && now - cold->probed_ns >= PROBE_NS) {
        cold->probed_ns = now;
        status = weir_channel_crowd(cold, cold->peers, true, &peers, NULL);
        /* One of several consumers who died while others lived is not the last. */
        if (status == WEIR_OK && peers.presence == WEIR_ALIVE && cold->role == WEIR_PRODUCER)
            cold->reported_deaths = peers.deaths;
    }
    if (status != WEIR_OK)
        return status;
    if ((peers.presence != WEIR_LEFT && peers.presence != WEIR_DEAD) || cold->reported == (uint64_t)peers.generation + 1)
        return WEIR_OK;
    cold->ended = (uint64_t)peers.generation + 1;
    cold->ended_deaths = peers.deaths;
    return peers.presence == WEIR_DEAD && peers.deaths != cold->reported_deaths ? WEIR_DIED : WEIR_CLOSED;
}

/* Sees to what the dead left, if it is time for that.  WEIR_EMPTY: it is not, or there is nothing to be seen to. */
static weir_status recover(weir_channel *channel, int64_t now)
{
    struct channel_cold *cold = channel_cold(channel);
    if (cold->kind->recover == NULL || !cold->attached || now - cold->recovered_ns < PROBE_NS)
        return WEIR_EMPTY;
    cold->recovered_ns = now != INT64_MAX ? now : cold->recovered_ns;
    return cold->kind->recover(channel);
}

/* The end is believed first and reported last: what was committed before it is still handed over, and what the dead had
 * before that. */
static weir_status look_at_end(const struct wait *w, int64_t now)
{
    struct channel_cold *cold = channel_cold(w->channel);
    weir_status end = peers_end(w->channel, now);
    weir_status status = recover(w->channel, end > 0 ? INT64_MAX : now);
    if (status < 0 || end < 0)
        return end < 0 ? end : status;
    if (end == WEIR_OK && status == WEIR_EMPTY)
        return w->none;
    if (end > 0)
        cold->asked_ns = 0; /* so that this look knows who is dead */
    status = look(w);
    if (status != w->none || end == WEIR_OK)
        return status;
    cold->reported = cold->ended;
    cold->reported_deaths = cold->ended_deaths;
    return end;
}

/* ---- waiting ---- */

/* How many pauses between two looks for a message.  A consumer that is faster than its producer and looks at once takes
 * the line away that is being written, message for message; one that waits a little finds a batch.  But the answer of a
 * ping-pong wants to be seen at once.  So: more than one message since the last wait doubles the pauses, just one
 * halves them. */
static void pace_from(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    bool several = channel->rx.capacity != 0 ? channel->rx.pos - cold->wait_pos > cold->wait_size
                                             : cold->taken - cold->wait_pos > 1;
    if (several)
        cold->pauses = cold->pauses < PAUSES_MAX ? cold->pauses * 2 : PAUSES_MAX;
    else
        cold->pauses = cold->pauses > 1 ? cold->pauses / 2 : 1;
}

/* Before the message that came is taken. */
static void pace_to(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    const weir_spsc_consumer *rx = &channel->rx;
    if (rx->capacity == 0) { /* its calls are not inline, and count */
        cold->wait_pos = cold->taken;
        return;
    }
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
    uint32_t armed = arm(channel, want_pos(w));
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
        weir_participant peers;
        uint32_t own;
        (void)weir_channel_crowd(cold, cold->peers, false, &peers, NULL); /* which cannot fail where nobody is asked */
        bool alone = peers.presence != WEIR_ALIVE; /* a work queue's consumers have each other to look after */
        if (alone && cold->kind->recover != NULL && cold->role == WEIR_CONSUMER)
            alone = weir_channel_crowd(cold, cold->own, false, &peers, &own) == WEIR_OK && own <= 1;
        int64_t longest = alone ? ALONE_NS : now - cold->since_ns > IDLE_AFTER_NS ? IDLE_NS : SLEEP_NS;
        int64_t bound = until_ns - now < longest ? until_ns - now : longest;
        weir_os_sleep(&own_sleeper(channel)->armed, armed, bound);
        if (weir_load32_rlx(&own_sleeper(channel)->armed) != armed) /* relaxed: only whether to arm again */
            armed = arm(channel, want_pos(w));
    }
    disarm(channel);
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

/* What is left of a timeout that began at start. */
static weir_timeout remaining(weir_timeout timeout, int64_t start)
{
    if (timeout <= 0)
        return timeout;
    int64_t left = timeout - (weir_os_now_ns() - start);
    return left > 0 ? left : WEIR_NOWAIT;
}

/* ---- the slow paths of the producer's inline calls ---- */

/* A full lane holds an unpublished batch's room too: the batch goes out before anybody waits for it to be read. */
static weir_status wait_for_room(weir_channel *channel, uint64_t len, weir_timeout timeout)
{
    struct channel_cold *cold = channel_cold(channel);
    cold->full++;
    cold->kind->flush(channel);
    weir_channel_published(channel);
    return wait_for(&(struct wait){ channel, GOAL_ROOM, len, WEIR_FULL }, timeout);
}

weir_status weir_channel_send_slow(weir_channel *channel, const void *msg, uint64_t len, int more,
                                   weir_timeout timeout, weir_status status)
{
    const struct channel_kind *kind = channel_cold(channel)->kind;
    bool inlined = status != WEIR_E_STATE && (status != WEIR_FULL || kind->put == weir_channel_lane_put);
    if (!inlined && serves(channel, WEIR_PRODUCER))
        status = kind->put(channel, msg, len, more != 0);
    if (status == WEIR_FULL) {
        status = wait_for_room(channel, len, timeout);
        if (status != WEIR_OK)
            return status;
        status = kind->put(channel, msg, len, more != 0);
    }
    if (status != WEIR_OK)
        return weir_channel_explain(channel, status);
    if (!more)
        weir_channel_published(channel);
    return WEIR_OK;
}

weir_status weir_channel_reserve_slow(weir_channel *channel, uint64_t len, void **slot, weir_timeout timeout,
                                      weir_status status)
{
    const struct channel_kind *kind = channel_cold(channel)->kind;
    bool inlined = status != WEIR_E_STATE && (status != WEIR_FULL || kind->reserve == weir_channel_lane_reserve);
    if (!inlined && serves(channel, WEIR_PRODUCER))
        status = kind->reserve(channel, len, slot);
    if (status == WEIR_FULL) {
        status = wait_for_room(channel, len, timeout);
        if (status != WEIR_OK)
            return status;
        status = kind->reserve(channel, len, slot);
    }
    return weir_channel_explain(channel, status);
}

weir_status weir_channel_commit_slow(weir_channel *channel, uint64_t len, int more, weir_status status)
{
    if (status == WEIR_E_STATE && serves(channel, WEIR_PRODUCER))
        status = channel_cold(channel)->kind->commit(channel, len, more != 0);
    if (status == WEIR_OK && !more)
        weir_channel_published(channel);
    return weir_channel_explain(channel, status);
}

weir_status weir_channel_flush_slow(weir_channel *channel)
{
    if (!serves(channel, WEIR_PRODUCER))
        return weir_channel_explain(channel, WEIR_E_STATE);
    channel_cold(channel)->kind->flush(channel);
    weir_channel_published(channel);
    return weir_channel_explain(channel, channel->tx.fault);
}

/* As many of the messages as fit, published; WEIR_FULL where not all did. */
static weir_status send_some(weir_channel *channel, const unsigned char *msgs, uint64_t len, uint32_t count,
                             uint32_t *sent)
{
    const struct channel_kind *kind = channel_cold(channel)->kind;
    *sent = 0;
    if (!serves(channel, WEIR_PRODUCER))
        return WEIR_E_STATE;
    weir_status status = WEIR_OK;
    if (kind->put == weir_channel_lane_put)
        status = weir_spsc_push_array(&channel->tx, msgs, len, count, sent);
    for (; kind->put != weir_channel_lane_put && *sent < count && status == WEIR_OK; msgs += len) {
        status = kind->put(channel, msgs, len, true);
        *sent += status == WEIR_OK;
    }
    kind->flush(channel);
    if (*sent != 0)
        weir_channel_published(channel);
    return status;
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
        uint32_t some = 0;
        status = send_some(channel, from + (uint64_t)done * len, len, count - done, &some);
        done += some;
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

weir_status weir_channel_drain(weir_channel *channel, weir_timeout timeout)
{
    if (!weir_channel_enter(channel))
        return WEIR_E_BUSY;
    weir_status status = weir_channel_flush_slow(channel);
    if (status == WEIR_OK)
        status = wait_for(&(struct wait){ channel, GOAL_DRAINED, 0, WEIR_FULL }, timeout);
    return weir_channel_leave(channel, weir_channel_explain(channel, status));
}

/* ---- the slow paths of the consumer's inline calls ---- */

/* What a call wants to do with the next message. */
struct get {
    const void **msg; /* NULL: copy it */
    void *buffer;
    uint64_t size_bytes;
    uint32_t *len;
    bool releases;
};

static weir_status try_get(weir_channel *channel, const struct get *get)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_message before = cold->message;
    if (cold->taken % TAKEN_PER_CLOCK == TAKEN_PER_CLOCK - 1) { /* who always finds something never waits */
        weir_status status = recover(channel, cold->kind->recover != NULL ? weir_os_now_ns() : 0);
        if (status < 0)
            return status;
    }
    cold->message = (weir_message){ .producer = 0 };
    weir_status status = get->msg != NULL ? cold->kind->peek(channel, get->msg, get->len)
                                          : cold->kind->pop(channel, get->buffer, get->size_bytes, get->len);
    if (status == WEIR_FULL && get->releases) { /* it holds as much as one may: this call gives that back anyway */
        cold->kind->release(channel);
        status = cold->kind->pop(channel, get->buffer, get->size_bytes, get->len);
    }
    if (status != WEIR_OK) {
        cold->message = before;
        return status;
    }
    cold->taken++;
    cold->redelivered += cold->message.redelivered;
    if (get->releases)
        cold->kind->release(channel);
    return WEIR_OK;
}

/* A producer takes no message back; where there are other consumers, or the producer waits for nobody, one that was
 * there may have gone to another, or been overwritten. */
static bool may_vanish(const struct channel_cold *cold)
{
    return cold->kind->many_consumers;
}

static weir_status disappeared(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_channel_poison(channel, WEIR_E_CORRUPT);
    return weir_fail(WEIR_E_CORRUPT, "%s: a committed message disappeared", weir_section_name(cold->section));
}

/* Waits for a message and gets it. */
static weir_status wait_and_get(weir_channel *channel, const struct get *get, weir_timeout timeout)
{
    struct channel_cold *cold = channel_cold(channel);
    int64_t start = timeout > 0 ? weir_os_now_ns() : 0;
    weir_timeout left = timeout;
    if (timeout != WEIR_NOWAIT)
        pace_from(channel);
    for (;;) {
        weir_status status = wait_for(&(struct wait){ channel, GOAL_MESSAGE, 0, WEIR_EMPTY }, left);
        if (status != WEIR_OK && (status != WEIR_FULL || !get->releases))
            return status == WEIR_EMPTY && timeout != WEIR_NOWAIT ? WEIR_TIMEOUT : status;
        pace_to(channel);
        status = try_get(channel, get);
        if (status != WEIR_EMPTY && status != WEIR_AGAIN)
            return status;
        if (!may_vanish(cold))
            return disappeared(channel);
        if (left == WEIR_NOWAIT)
            return timeout == WEIR_NOWAIT ? status : WEIR_TIMEOUT;
        left = remaining(timeout, start);
    }
}

static weir_status get_slow(weir_channel *channel, const struct get *get, weir_timeout timeout, weir_status status)
{
    struct channel_cold *cold = channel_cold(channel);
    if (status == WEIR_E_STATE && channel->alive == CHANNEL_ALIVE && cold->role == WEIR_CONSUMER &&
        channel->rx.fault == WEIR_OK)
        status = cold->attached ? try_get(channel, get) : WEIR_EMPTY; /* not inline; or it came before the ring */
    if (status == WEIR_EMPTY || status == WEIR_AGAIN)
        status = wait_and_get(channel, get, timeout);
    return weir_channel_explain(channel, status);
}

weir_status weir_channel_peek_slow(weir_channel *channel, const void **msg, uint32_t *len, weir_timeout timeout,
                                   weir_status status)
{
    return get_slow(channel, &(struct get){ msg, NULL, 0, len, false }, timeout, status);
}

weir_status weir_channel_receive_slow(weir_channel *channel, void *buffer, uint64_t size_bytes, uint32_t *len, int more,
                                      weir_timeout timeout, weir_status status)
{
    return get_slow(channel, &(struct get){ NULL, buffer, size_bytes, len, more == 0 }, timeout, status);
}

weir_status weir_channel_release_slow(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    if (channel->alive != CHANNEL_ALIVE || cold->role != WEIR_CONSUMER || channel->rx.fault != WEIR_OK)
        return weir_channel_explain(channel, WEIR_E_STATE);
    if (cold->attached) /* before the ring came there is nothing to release */
        cold->kind->release(channel);
    return WEIR_OK;
}

weir_status weir_channel_message(weir_channel *channel, weir_message *message)
{
    if (!weir_channel_enter(channel))
        return WEIR_E_BUSY;
    struct channel_cold *cold = channel_cold(channel);
    bool any = channel->rx.capacity != 0 ? channel->rx.pos != cold->first_pos : cold->taken != 0;
    weir_status status = weir_channel_explain(channel, serves(channel, WEIR_CONSUMER) && any ? WEIR_OK : WEIR_E_STATE);
    if (status == WEIR_OK)
        *message = cold->message;
    return weir_channel_leave(channel, status);
}
