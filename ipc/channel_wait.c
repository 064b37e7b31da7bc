/* ipc/channel_wait.c - what a call does that cannot go on: spin, sleep, look who is there, wake the other side. */
#include <weir/base/fail.h>
#include <weir/ipc/channel_wait.h>
#include <weir/ipc/probe.h>

#define SLEEP_NS INT64_C(45000000)  /* the longest sleep: covers a waker that stopped between its store and its wake */
#define WATCHED_NS CHANNEL_LONGEST_NS /* the same after a second of nothing, where deaths are told: a wake costs 50 us */
#define IDLE_AFTER_NS INT64_C(1000000000) /* on a virtual machine, and who is blocked is to take less than 0.1 % of a core */
#define ALONE_NS (4 * SLEEP_NS)     /* where they are not and nobody could die: who comes wakes us */
#define PAUSES_MAX 128              /* between two looks at the ring: see pace */
#define PAUSES_A_PASS 256u          /* between two looks at the clock: some 6 us */
#define GLANCE_PAUSES 32u           /* half a us: looks before the first look at the clock */
#define OTHERS_RAN_NS INT64_C(2000) /* a yield that takes longer than that let somebody run: alone it takes 0.5 us */
#define END_NS INT64_C(20000)       /* between two looks at the end of the peers */
#define LINGER_PAUSES 512           /* 13 us here, about what a sleep and a wake take: see linger */
#define LINGER_REST 15              /* waits that sleep at once behind one that lingered in vain */

/* ---- waking ---- */

/* True if somebody slept there, or waits in poll. */
static bool wake(weir_sleeper *sleeper)
{
    /* order WAKE sc: what was published before the look at armed.  Without it both sides can look too early, and one
     * sleeps its whole bound. */
    weir_fence_sc();
    if (weir_exchange32_rlx(&sleeper->armed, 0) == 0)
        return false;
    weir_os_wake(&sleeper->armed);
    return true;
}

/* keeps: in a call on the handle, which may keep descriptors of others; here and below. */
static void wake_consumers(struct channel_cold *cold, bool keeps)
{
    struct channel_side consumers = cold->role == WEIR_CONSUMER ? cold->own : cold->peers;
    if (!wake(&cold->layout->consumer))
        return;
    for (uint32_t i = 0; i < consumers.count; i += 64)
        /* relaxed: a bit was set before its owner armed the word */
        for (uint64_t bits = weir_load_rlx(&cold->layout->consumer_alerts[i / 64]); bits != 0; bits &= bits - 1)
            if (i + (uint32_t)__builtin_ctzll(bits) < consumers.count)
                weir_channel_signal(cold, consumers.first + i + (uint32_t)__builtin_ctzll(bits), keeps);
}

static void wake_producer(struct channel_cold *cold, uint32_t slot, bool keeps)
{
    weir_sleeper *sleeper = &cold->layout->member[slot].sleeper;
    if (wake(sleeper) && weir_load32_rlx(&sleeper->alerts) != 0) /* relaxed: as a consumer's bit */
        weir_channel_signal(cold, slot, keeps);
}

/* Of a consumer: the place of the producer whose lane is in hand, or of the only one. */
static uint32_t peer_place(const weir_channel *channel)
{
    weir_channel_member *first = channel_cold((weir_channel *)channel)->layout->member;
    return (uint32_t)(((uintptr_t)channel->peer - (uintptr_t)&first->sleeper) / sizeof *first);
}

void weir_channel_wake(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    if (cold->role == WEIR_PRODUCER)
        wake_consumers(cold, true);
    else
        wake_producer(cold, peer_place(channel), true);
}

weir_status weir_channel_wake_and_leave(weir_channel *channel)
{
    weir_channel_wake(channel);
    return weir_channel_leave(channel, WEIR_OK);
}

void weir_channel_wake_peers(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    if (cold->layout == NULL) /* before the section was mapped */
        return;
    for (uint32_t slot = 0; cold->role == WEIR_CONSUMER && slot < cold->peers.count; slot++)
        wake_producer(cold, slot, false);
    /* Consumers also where another leaves who may have claimed something. */
    if (cold->role == WEIR_PRODUCER || (cold->kind->recover != NULL && cold->own.count > 1))
        wake_consumers(cold, false);
}

static void woken(weir_channel *channel, uint32_t producer, bool whatever, uint64_t released_pos)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_sleeper *sleeper = &cold->layout->member[producer].sleeper;
    if (weir_channel_producer_sleeps(channel, producer) &&
        /* relaxed: a wrong one only delays, by at most one bounded sleep */
        (whatever || (int64_t)(released_pos - weir_load_rlx(&sleeper->want_pos)) >= 0))
        wake_producer(cold, producer, true);
}

void weir_channel_woken(weir_channel *channel, uint32_t producer, uint64_t released_pos)
{
    woken(channel, producer, false, released_pos);
}

void weir_channel_woken_by_any(weir_channel *channel, uint32_t producer)
{
    woken(channel, producer, true, 0);
}

/* A producer may wait for the end of this very run. */
void weir_channel_wake_for_hand(weir_channel *channel)
{
    uint64_t word = channel->hand.done_word;
    bool finished = (word & 0xfe) == 0;
    woken(channel, peer_place(channel), finished, word & ~UINT64_C(0xff));
}

/* All of the side: who clears a word that several wait on wakes them all, who wait in poll too. */
void weir_channel_wake_own(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    if (cold->role == WEIR_PRODUCER)
        wake_producer(cold, cold->slot, false);
    else
        wake_consumers(cold, false);
    weir_os_wake(&channel->sleeper->armed); /* who had cleared it may be stopped, or dead, and has not woken anybody */
    weir_channel_alert(channel);
}

/* The canceller's half of the handshake: the mark is what it publishes, and the sleeper looks at it where it looks at
 * the ring. */
weir_status weir_channel_cancel(weir_channel *channel)
{
    if (channel->alive != CHANNEL_ALIVE)
        return weir_fail(WEIR_E_FORKED, "the channel was opened before the fork");
    weir_store32_rlx(&channel->cancelled, 1);
    weir_channel_wake_own(channel);
    return WEIR_OK;
}

bool weir_channel_take_cancel(weir_channel *channel)
{
    /* relaxed, and looked at before it is taken: it says nothing of other memory */
    return weir_load32_rlx(&channel->cancelled) != 0 && weir_exchange32_rlx(&channel->cancelled, 0) != 0;
}

/* Is it the ring that it waits for?  Else for somebody: who comes or goes. */
static bool is_for_ring(const struct channel_wait *w)
{
    return w->goal != GOAL_PEER && w->goal != GOAL_GONE;
}

/* The position at which a sleeping producer wants to be woken. */
static uint64_t want_pos(const struct channel_wait *w)
{
    if (w->goal == GOAL_MESSAGE || !is_for_ring(w))
        return 0;
    return channel_cold(w->channel)->kind->want(w->channel, w->goal == GOAL_ROOM ? w->len : UINT64_MAX);
}

uint32_t weir_channel_announce(const struct channel_wait *w)
{
    weir_channel *channel = w->channel;
    struct channel_cold *cold = channel_cold(channel);
    weir_sleeper *self = channel->sleeper; /* consumers sleep on one word, each producer on its own */
    uint32_t own = 1;
    if (cold->role == WEIR_CONSUMER && cold->own.count > 1)
        own = ++cold->armings << 8 | (cold->slot - cold->own.first + 1);
    weir_store_rlx(&self->want_pos, want_pos(w)); /* relaxed: a waker that misses it wakes at the next release */
    weir_store32_rlx(&self->armed, own);
    return own;
}

/* The sleeper's half of the handshake: announce, fence, and then look once more before sleeping, on the value that is
 * returned.  Who shares the word stores a value of its own there, and not twice the same: a waker may clear it, and
 * another arm it again, before this one sleeps, who then must not. */
uint32_t weir_channel_arm(const struct channel_wait *w)
{
    uint32_t own = weir_channel_announce(w);
    if (channel_cold(w->channel)->full_fence)
        weir_fence_sc(); /* order WAKE sc: armed before the look at the ring */
    else
        weir_os_fence_others(); /* order WAKE sc: armed before the look at the ring, here and in every waker */
    return own;
}

/* Behind a sleep: who shares the word with others leaves it to the waker, or they would not be woken. */
void weir_channel_disarm(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    if (cold->role == WEIR_PRODUCER || cold->own.count == 1)
        weir_store32_rlx(&channel->sleeper->armed, 0); /* relaxed: a wake too many is harmless */
    if (cold->described)
        weir_channel_alert(channel); /* not armed, the descriptor is readable */
}

/* ---- a descriptor: armed, the FIFO is empty; else there is something in it ---- */

void weir_channel_alert(weir_channel *channel)
{
    uint32_t own = weir_load32_rlx(&channel->alert); /* relaxed: a number */
    if (own != 0)
        weir_os_signal((int)own - 1);
}

weir_status weir_channel_rearm(const struct channel_wait *w)
{
    weir_os_hush((int)weir_load32_rlx(&w->channel->alert) - 1);
    (void)weir_channel_arm(w);
    weir_status status = weir_channel_look(w);
    if (status == w->none)
        status = weir_channel_look_at_end(w, weir_os_now_ns());
    if (status != w->none)
        weir_channel_alert(w->channel);
    return status;
}

/* ---- looking ---- */

/* Is what w waits for there?  w->none where it is not. */
weir_status weir_channel_look(const struct channel_wait *w)
{
    weir_channel *channel = w->channel;
    struct channel_cold *cold = channel_cold(channel);
    if (!cold->attached && is_for_ring(w)) {
        weir_status status = channel->rx.fault != WEIR_OK ? channel->rx.fault : weir_channel_attach_ring(channel);
        if (status == WEIR_E_VERSION) { /* the channel has our layout: then its ring has, or it is nonsense */
            status = WEIR_E_CORRUPT;
            channel->rx = (weir_spsc_consumer){ .fault = status };
        }
        if (status != WEIR_OK)
            return weir_channel_attaches_later(status) ? w->none : status;
    }
    switch (w->goal) {
    case GOAL_MESSAGE: return cold->kind->ready(channel);
    case GOAL_ROOM: return cold->kind->place(channel, w->len);
    case GOAL_PEER: return weir_channel_peer_there(channel);
    case GOAL_GONE: return weir_channel_holder_gone(channel, (uint32_t)w->len, (uint32_t)(w->len >> 32));
    default: return cold->kind->drained(channel);
    }
}

static weir_status look_beside(const struct channel_wait *w, int64_t now)
{
    const struct channel_beside *beside = channel_cold(w->channel)->beside;
    weir_status end = beside != NULL ? beside->look(beside->arg, now) : WEIR_EMPTY;
    if (end == WEIR_EMPTY)
        return w->none;
    weir_status status = weir_channel_look(w); /* what came before that end is still handed over */
    return status != w->none ? status : end;
}

/* The end is believed first and reported last: what was committed before it is still handed over, and what the dead had
 * before that. */
weir_status weir_channel_look_at_end(const struct channel_wait *w, int64_t now)
{
    struct channel_cold *cold = channel_cold(w->channel);
    if (!is_for_ring(w))
        return w->none;
    weir_status end = weir_channel_peers_end(w->channel, now);
    weir_status status = weir_channel_recover(w->channel, now, end > 0);
    if (status < 0 || end < 0)
        return end < 0 ? end : status;
    if (end == WEIR_OK && status == WEIR_EMPTY)
        return look_beside(w, now);
    if (end > 0)
        cold->asked.when_ns = 0; /* so that this look knows who is dead */
    status = weir_channel_look(w);
    if (status != w->none || end == WEIR_OK)
        return status;
    if (w->keeps_end)
        return end;
    cold->reported = cold->ended;
    cold->reported_deaths = cold->ended_deaths;
    if (!cold->told_elsewhere)
        WEIR_PROBE3(peer_end, weir_section_name(cold->section), (int)cold->role, (int)end);
    return end;
}

/* ---- waiting ---- */

/* How many pauses between two looks for a message.  A consumer that is faster than its producer and looks at once takes
 * the line away that is being written, message for message; one that waits a little finds a batch.  But the answer of a
 * ping-pong wants to be seen at once.  So: more than one message since the last wait doubles the pauses, just one
 * halves them. */
void weir_channel_pace_from(weir_channel *channel)
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
void weir_channel_pace_to(weir_channel *channel)
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

/* Gives the processor up, and notes whether somebody else had it meanwhile: then there are more processes than processors, and
 * the one that is waited for may be waiting for ours. */
static int64_t yield(struct channel_cold *cold, int64_t now)
{
    weir_os_yield();
    int64_t then = weir_os_now_ns();
    cold->crowded = then - now > OTHERS_RAN_NS;
    return then;
}

/* Looks again and again until until_ns; w->none if nothing came. */
static weir_status spin(const struct channel_wait *w, int64_t now, int64_t until_ns, bool yields)
{
    struct channel_cold *cold = channel_cold(w->channel);
    int64_t asked_ns = now;
    for (;;) {
        uint32_t pauses = w->goal == GOAL_MESSAGE ? cold->pauses : PAUSES_MAX;
        uint32_t looks = cold->crowded ? 1 : PAUSES_A_PASS / pauses;
        for (uint32_t look = 0; look < looks; look++) {
            for (uint32_t i = 0; i < pauses && !cold->crowded; i++)
                weir_pause();
            weir_status status = weir_channel_look(w);
            if (status != w->none)
                return status;
        }
        if (!cold->crowded)
            now = weir_os_now_ns();
        if (now - asked_ns > END_NS || now >= until_ns) {
            weir_status status = weir_channel_look_at_end(w, now);
            if (status != w->none || now >= until_ns)
                return status;
            asked_ns = now;
        }
        if (weir_channel_take_cancel(w->channel))
            return WEIR_CANCELLED;
        if (yields)
            now = yield(cold, now);
    }
}

/* Who sleeps at once (WEIR_WAIT_SLEEP) in the middle of a stream sleeps, and is woken, every few messages, and a wake costs
 * its peer as much as many of them.  So where the peer is at work (messages come several at a time, or fill the lane) a wait
 * begins with a look behind the time that a sleep and a wake take; and after one in vain, one wait of 16 does.  One long
 * pause for messages: what comes meanwhile is found as a batch.  Several for room, which is little for long messages. */
static weir_status linger(const struct channel_wait *w)
{
    struct channel_cold *cold = channel_cold(w->channel);
    bool streams = w->goal == GOAL_ROOM || (w->goal == GOAL_MESSAGE && cold->pauses > 1);
    uint32_t pauses = w->goal == GOAL_ROOM ? PAUSES_MAX : LINGER_PAUSES;
    if (!streams || cold->rest != 0) {
        cold->rest -= streams;
        return w->none;
    }
    for (uint32_t paused = 0; paused < LINGER_PAUSES; paused += pauses) {
        for (uint32_t i = 0; i < pauses; i++)
            weir_pause();
        weir_status status = weir_channel_look(w);
        if (status != w->none)
            return status;
    }
    cold->rest = LINGER_REST;
    return w->none;
}

bool weir_channel_is_idle(const struct channel_cold *cold, int64_t now)
{
    return now - cold->since_ns > IDLE_AFTER_NS;
}

/* Its deaths are told, by the watch's thread or by its own sleeps, if these do the rounds. */
static bool hears(const struct channel_cold *cold, bool rounds)
{
    return cold->watched || (rounds && cold->listens && !cold->deaf);
}

/* The longest sleep. */
int64_t weir_channel_longest(struct channel_cold *cold, int64_t now, bool rounds)
{
    weir_participant peers;
    uint32_t own = 0;
    if (hears(cold, rounds))
        return weir_channel_is_idle(cold, now) ? WATCHED_NS : SLEEP_NS;
    (void)weir_channel_crowd(cold, cold->peers, false, &peers, NULL); /* which cannot fail where nobody is asked */
    bool alone = peers.presence != WEIR_ALIVE; /* a work queue's consumers have each other to look after */
    if (alone && cold->kind->recover != NULL && cold->role == WEIR_CONSUMER)
        alone = weir_channel_crowd(cold, cold->own, false, &peers, &own) == WEIR_OK && own <= 1;
    return alone ? ALONE_NS : SLEEP_NS;
}

/* Sleeps once, on the value that arm returned; true if the word is to be armed again. */
static bool sleep_once(const struct channel_wait *w, uint32_t armed, int64_t now, int64_t until_ns)
{
    weir_channel *channel = w->channel;
    struct channel_cold *cold = channel_cold(channel);
    bool idle = weir_channel_is_idle(cold, now);
    if (idle && weir_channel_begin_to_listen(channel))
        return true;
    int64_t longest = weir_channel_longest(cold, now, true);
    int64_t beside = cold->beside != NULL ? weir_channel_longest(channel_cold(cold->beside->channel), now, true) : longest;
    longest = beside < longest ? beside : longest;
    int64_t bound = until_ns - now < longest ? until_ns - now : longest;
    weir_channel_tally(cold, WEIR_COUNT_SLEPT, 1);
    WEIR_PROBE3(sleep, weir_section_name(cold->section), (int)cold->role, bound);
    bool ended = idle && !cold->watched && hears(cold, true) ? weir_channel_listen(channel, armed, bound)
                                                       : weir_os_sleep(&channel->sleeper->armed, armed, bound);
    uint32_t now_armed = weir_load32_rlx(&channel->sleeper->armed); /* relaxed: only whether to arm again */
    ended = ended || now_armed == 0; /* another value is another consumer's, who sleeps too */
    weir_channel_tally(cold, WEIR_COUNT_WOKEN, ended);
    WEIR_PROBE3(wake, weir_section_name(cold->section), (int)cold->role, (int)ended);
    return now_armed != armed;
}

static weir_status sleep_until(const struct channel_wait *w, int64_t until_ns)
{
    weir_channel *channel = w->channel;
    weir_status status;
    struct channel_cold *cold = channel_cold(channel);
    weir_channel_watch_deaths(channel); /* without it the kernel is asked */
    if (cold->beside != NULL)
        weir_channel_watch_deaths(cold->beside->channel);
    uint32_t armed = weir_channel_arm(w);
    for (;;) {
        status = weir_channel_look(w);
        int64_t now = 0;
        if (status == w->none) {
            now = weir_os_now_ns();
            status = weir_channel_look_at_end(w, now);
        }
        if (status == w->none && weir_channel_take_cancel(channel))
            status = WEIR_CANCELLED;
        if (status != w->none || now >= until_ns)
            break;
        if (!sleep_once(w, armed, now, until_ns))
            continue;
        status = weir_channel_look(w); /* what it was woken for is mostly there: then it need not arm, and fence, again */
        if (status != w->none)
            break;
        armed = weir_channel_arm(w);
    }
    weir_channel_disarm(channel);
    return status;
}

/* ---- how long ---- */

static bool is_deadline(weir_timeout timeout)
{
    return timeout < INT64_MIN / 2;
}

/* The point in time at which a wait that begins now ends. */
int64_t weir_channel_end_of(weir_timeout timeout, int64_t now)
{
    if (is_deadline(timeout))
        return timeout - INT64_MIN;
    return timeout < 0 || timeout > INT64_MAX - now ? INT64_MAX : now + timeout;
}

weir_timeout weir_channel_deadline(weir_timeout timeout)
{
    if (timeout <= 0)
        return timeout;
    int64_t end = weir_channel_end_of(timeout, weir_os_now_ns());
    return end == INT64_MAX ? WEIR_FOREVER : weir_until(end);
}

bool weir_channel_is_past(weir_timeout timeout)
{
    return is_deadline(timeout) && weir_os_now_ns() >= weir_channel_end_of(timeout, 0);
}

int64_t weir_now(void)
{
    return weir_os_now_ns();
}

/* An answer that is on its way comes sooner than the clock is read and all else is looked at: so who spins looks for it
 * first. */
static weir_status glance(const struct channel_wait *w)
{
    struct channel_cold *cold = channel_cold(w->channel);
    weir_status status = w->none;
    if (w->goal != GOAL_MESSAGE || cold->wait == WEIR_WAIT_SLEEP || cold->idle || cold->crowded)
        return status;
    for (uint32_t paused = 0; status == w->none && paused < GLANCE_PAUSES; paused += cold->pauses) {
        for (uint32_t i = 0; i < cold->pauses; i++)
            weir_pause();
        status = weir_channel_look(w);
    }
    return status;
}

weir_status weir_channel_wait_for(const struct channel_wait *w, weir_timeout timeout)
{
    struct channel_cold *cold = channel_cold(w->channel);
    if (cold->crowded && timeout != WEIR_NOWAIT && cold->wait == WEIR_WAIT_SPIN)
        (void)yield(cold, weir_os_now_ns()); /* others make a batch of it, or room for one */
    weir_status status = weir_channel_look(w);
    if (status == w->none && timeout != WEIR_NOWAIT)
        status = glance(w);
    if (status != w->none)
        return status;
    int64_t now = weir_os_now_ns();
    status = weir_channel_look_at_end(w, now);
    if (status != w->none)
        return status;
    if (timeout == WEIR_NOWAIT)
        return is_for_ring(w) && cold->described ? weir_channel_rearm(w) : status;
    if (!cold->idle)
        cold->since_ns = now;
    int64_t until = weir_channel_end_of(timeout, now);
    if (until <= now)
        return WEIR_TIMEOUT;
    if (weir_channel_take_cancel(w->channel))
        return WEIR_CANCELLED;
    int64_t spin_until = until;
    if (cold->wait == WEIR_WAIT_SPIN_SLEEP && until - now > SPIN_NS)
        spin_until = now + SPIN_NS;
    /* Who has slept in vain goes on sleeping: a short timeout in a loop must not become a spin. */
    if (cold->wait == WEIR_WAIT_SPIN || (cold->wait == WEIR_WAIT_SPIN_SLEEP && !cold->idle))
        status = spin(w, now, spin_until, cold->wait == WEIR_WAIT_SPIN);
    else if (cold->wait == WEIR_WAIT_SLEEP && !cold->idle && until - now > SPIN_NS)
        status = linger(w);
    if (status == w->none && cold->wait != WEIR_WAIT_SPIN)
        status = sleep_until(w, until);
    cold->idle = status == w->none;
    return cold->idle ? WEIR_TIMEOUT : status;
}
