/* ipc/channel_calls.c - the calls that the inline paths could not serve. */
#include <weir/base/fail.h>
#include <weir/ipc/channel_wait.h>
#include <weir/ipc/probe.h>

#include <string.h>

#define TAKEN_PER_CLOCK 16u /* messages, of who never waits, between two looks whether a dead one left any */

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
    channel->hand = (weir_mpmc_hand){ .next = NULL };
}

/* Is the handle a live one of that role, and attached to a ring?  Then a call that the inline path could not serve is
 * its kind's. */
static bool serves(weir_channel *channel, weir_role role)
{
    return channel->alive == CHANNEL_ALIVE && channel_cold(channel)->role == role && channel_cold(channel)->attached;
}

/* ---- the slow paths of the producer's inline calls ---- */

/* A full lane holds an unpublished batch's room too: the batch goes out before anybody waits for it to be read. */
static weir_status wait_for_room(weir_channel *channel, uint64_t len, weir_timeout timeout)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_channel_tally(cold, WEIR_COUNT_FULL, 1);
    WEIR_PROBE2(full, weir_section_name(cold->section), len);
    cold->kind->flush(channel);
    weir_channel_published(channel);
    return weir_channel_wait_for(&(struct channel_wait){ channel, GOAL_ROOM, len, WEIR_FULL, false }, timeout);
}

static weir_status send(weir_channel *channel, const void *msg, uint64_t len, int more, weir_timeout timeout)
{
    const struct channel_kind *kind = channel_cold(channel)->kind;
    const weir_spsc_producer *tx = &channel->tx;
    weir_status status = tx->capacity != 0 || tx->fault != WEIR_OK ? weir_spsc_put_slow(&channel->tx, msg, len, more, NULL)
                                                                   : WEIR_E_STATE;
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
    weir_tally(channel->messages, 1);
    if (!more)
        weir_channel_published(channel);
    return WEIR_OK;
}

weir_status weir_channel_send_slow(weir_channel *channel, const void *msg, uint64_t len, int more, weir_timeout timeout)
{
    return weir_channel_leave(channel, send(channel, msg, len, more, timeout));
}

weir_status weir_channel_reserve_slow(weir_channel *channel, uint64_t len, void **slot, weir_timeout timeout)
{
    const struct channel_kind *kind = channel_cold(channel)->kind;
    const weir_spsc_producer *tx = &channel->tx;
    weir_status status = tx->capacity != 0 || tx->fault != WEIR_OK ? weir_spsc_reserve(&channel->tx, len, slot) : WEIR_E_STATE;
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
    if (status == WEIR_OK)
        weir_tally(channel->messages, 1);
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
    if (kind->put_array != NULL) {
        status = kind->put_array(channel, msgs, len, count, sent);
    } else {
        for (; *sent < count && status == WEIR_OK; msgs += len) {
            status = kind->put(channel, msgs, len, true);
            *sent += status == WEIR_OK;
        }
    }
    kind->flush(channel);
    weir_channel_tally(channel_cold(channel), WEIR_COUNT_MESSAGES, *sent);
    weir_channel_published(channel); /* also where that was a batch of before alone */
    return status;
}

weir_status weir_send_array(weir_channel *channel, const void *msgs, uint64_t len, uint32_t count, uint32_t *sent,
                            weir_timeout timeout)
{
    *sent = 0;
    if (!weir_channel_enter(channel))
        return WEIR_E_BUSY;
    const unsigned char *from = msgs;
    uint32_t done = 0;
    weir_status status;
    for (;;) {
        uint32_t some = 0;
        status = send_some(channel, from + (uint64_t)done * len, len, count - done, &some);
        done += some;
        if (status != WEIR_FULL)
            break;
        timeout = weir_channel_deadline(timeout);
        status = wait_for_room(channel, len, timeout);
        if (status != WEIR_OK)
            break;
    }
    *sent = done;
    return weir_channel_leave(channel, weir_channel_explain(channel, status));
}

/* ---- several pieces ---- */

/* The message's bytes; a fault where no message can be that long, or a piece is missing. */
static weir_status measure(const weir_piece *pieces, uint32_t count, uint64_t *len)
{
    *len = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (pieces[i].base == NULL && pieces[i].len != 0)
            return weir_fail(WEIR_E_INVALID, "piece %u of %u has %llu bytes at no address", i, count,
                             (unsigned long long)pieces[i].len);
        if (pieces[i].len > UINT32_MAX - *len)
            return weir_fail(WEIR_E_TOO_LARGE, "the pieces are longer than any message");
        *len += pieces[i].len;
    }
    return WEIR_OK;
}

static void copy_pieces(unsigned char *to, const weir_piece *pieces, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (pieces[i].len != 0)
            memcpy(to, pieces[i].base, pieces[i].len);
        to += pieces[i].len;
    }
}

weir_status weir_channel_send_by(weir_channel *channel, const weir_piece *pieces, uint32_t count,
                                 weir_timeout *timeout)
{
    uint64_t len;
    void *slot;
    weir_status status = measure(pieces, count, &len);
    if (status != WEIR_OK)
        return status;
    if (!weir_channel_enter(channel)) /* one call: a handler's that comes in between would take the room away */
        return WEIR_E_BUSY;
    status = weir_spsc_reserve(&channel->tx, len, &slot);
    if (status == WEIR_FULL)
        *timeout = weir_channel_deadline(*timeout);
    if (status != WEIR_OK)
        status = weir_channel_reserve_slow(channel, len, &slot, *timeout);
    if (status == WEIR_OK) {
        copy_pieces(slot, pieces, count);
        status = weir_spsc_commit_as(&channel->tx, len, false, NULL);
        if (status == WEIR_OK) {
            weir_tally(channel->messages, 1);
            weir_channel_published(channel);
        } else {
            status = weir_channel_commit_slow(channel, len, 0, status);
        }
    }
    return weir_channel_leave(channel, status);
}

weir_status weir_send_pieces(weir_channel *channel, const weir_piece *pieces, uint32_t count, weir_timeout timeout)
{
    return weir_channel_send_by(channel, pieces, count, &timeout);
}

weir_status weir_channel_drain(weir_channel *channel, weir_timeout timeout)
{
    if (!weir_channel_enter(channel))
        return WEIR_E_BUSY;
    weir_status status = weir_channel_flush_slow(channel);
    if (status == WEIR_OK)
        status = weir_channel_wait_for(&(struct channel_wait){ channel, GOAL_DRAINED, 0, WEIR_FULL, false }, timeout);
    return weir_channel_leave(channel, weir_channel_explain(channel, status));
}

/* ---- the slow paths of the consumer's inline calls ---- */

static weir_status try_get(weir_channel *channel, const struct channel_get *get)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_message before = cold->message;
    if (cold->taken - cold->taken_asked >= TAKEN_PER_CLOCK) { /* who always finds something never waits */
        weir_status status = weir_channel_recover(channel, cold->kind->recover != NULL ? weir_os_lately_ns() : 0, false);
        cold->taken_asked = cold->taken;
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
    weir_tally(channel->messages, 1);
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

/* The same of what the inline calls would get. */
static weir_status try_get_inline(weir_channel *channel, const struct channel_get *get)
{
    weir_status status = get->msg != NULL ? weir_spsc_peek(&channel->rx, get->msg, get->len)
                                          : weir_spsc_pop_more(&channel->rx, get->buffer, get->size_bytes, get->len);
    if (WEIR_UNLIKELY(status != WEIR_OK))
        return status;
    if (get->releases)
        weir_spsc_release(&channel->rx);
    weir_tally(channel->messages, 1);
    if (get->releases)
        weir_channel_released(channel);
    return WEIR_OK;
}

/* Waits for a message and gets it; *until becomes a deadline. */
static weir_status wait_and_get(weir_channel *channel, const struct channel_get *get, weir_timeout *until)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_timeout timeout = *until = weir_channel_deadline(*until);
    if (timeout != WEIR_NOWAIT)
        weir_channel_pace_from(channel);
    for (;;) {
        weir_status status = weir_channel_wait_for(&(struct channel_wait){ channel, GOAL_MESSAGE, 0, WEIR_EMPTY, false }, timeout);
        if (status != WEIR_OK && (status != WEIR_FULL || !get->releases))
            return status;
        weir_channel_pace_to(channel);
        cold->waited = true;
        status = channel->rx.capacity != 0 ? try_get_inline(channel, get) : try_get(channel, get);
        cold->waited = false;
        if (status != WEIR_EMPTY && status != WEIR_AGAIN)
            return status;
        if (!may_vanish(cold))
            return disappeared(channel);
        if (timeout == WEIR_NOWAIT)
            return status;
        if (weir_channel_is_past(timeout))
            return WEIR_TIMEOUT;
    }
}

static weir_status get_slow(weir_channel *channel, const struct channel_get *get, weir_timeout *timeout, weir_status status)
{
    struct channel_cold *cold = channel_cold(channel);
    if (cold->kind->next != NULL && (status == WEIR_EMPTY || status == WEIR_E_STATE) &&
        serves(channel, WEIR_CONSUMER) && channel->rx.fault == WEIR_OK && cold->kind->next(channel, get) == WEIR_OK)
        return WEIR_OK;
    if (status == WEIR_E_STATE && channel->alive == CHANNEL_ALIVE && cold->role == WEIR_CONSUMER &&
        channel->rx.fault == WEIR_OK)
        status = cold->attached ? try_get(channel, get) : WEIR_EMPTY; /* not inline; or it came before the ring */
    if (status == WEIR_EMPTY || status == WEIR_AGAIN)
        status = wait_and_get(channel, get, timeout);
    return weir_channel_explain(channel, status);
}

/* The shortest way, of who finds a message at once. */
static bool get_in_hand(weir_channel *channel, const struct channel_get *get)
{
    const struct channel_kind *kind = channel_cold(channel)->kind;
    return kind->in_hand != NULL && serves(channel, WEIR_CONSUMER) && kind->in_hand(channel, get);
}

weir_status weir_channel_peek_slow(weir_channel *channel, const void **msg, uint32_t *len, weir_timeout timeout,
                                   weir_status status)
{
    struct channel_get get = { msg, NULL, 0, len, false };
    return get_in_hand(channel, &get) ? WEIR_OK : get_slow(channel, &get, &timeout, status);
}

weir_status weir_channel_peek_by(weir_channel *channel, const void **msg, uint32_t *len, weir_timeout *timeout)
{
    if (!weir_channel_enter(channel))
        return WEIR_E_BUSY;
    weir_status status = get_slow(channel, &(struct channel_get){ msg, NULL, 0, len, false }, timeout, WEIR_E_STATE);
    return weir_channel_leave(channel, status);
}

weir_status weir_channel_receive_slow(weir_channel *channel, void *buffer, uint64_t size_bytes, uint32_t *len, int more,
                                      weir_timeout timeout, weir_status status)
{
    struct channel_get get = { NULL, buffer, size_bytes, len, more == 0 };
    return get_in_hand(channel, &get) ? WEIR_OK : get_slow(channel, &get, &timeout, status);
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
    bool any = cold->taken != 0 || (channel->rx.capacity != 0 && channel->rx.pos != cold->first_pos);
    weir_status status = weir_channel_explain(channel, serves(channel, WEIR_CONSUMER) && any ? WEIR_OK : WEIR_E_STATE);
    if (status == WEIR_OK)
        *message = cold->message;
    return weir_channel_leave(channel, status);
}

weir_status weir_channel_wait_peer(weir_channel *channel, weir_timeout timeout)
{
    if (!weir_channel_enter(channel))
        return WEIR_E_BUSY;
    weir_status status = weir_channel_explain(channel, WEIR_OK);
    if (status == WEIR_OK)
        status = weir_channel_wait_for(&(struct channel_wait){ channel, GOAL_PEER, 0, WEIR_EMPTY, false }, timeout);
    return weir_channel_leave(channel, status);
}

/* How the holder that is gone went: deaths is what the slot had counted before. */
static weir_status how_it_went(weir_channel *channel, uint32_t slot, uint32_t generation, uint32_t deaths)
{
    weir_participant now;
    weir_status status = weir_participant_look(channel_cold(channel)->section, slot, &now);
    if (status != WEIR_OK)
        return status;
    if (now.generation == generation)
        return now.presence == WEIR_DEAD ? WEIR_DIED : WEIR_CLOSED;
    return now.deaths != deaths ? WEIR_DIED : WEIR_CLOSED;
}

weir_status weir_channel_wait_gone(weir_channel *channel, weir_role role, uint32_t place, uint32_t generation,
                                   weir_timeout timeout)
{
    if (!weir_channel_enter(channel))
        return WEIR_E_BUSY;
    struct channel_cold *cold = channel_cold(channel);
    weir_status status = weir_channel_explain(channel, WEIR_OK);
    struct channel_side side = cold->role == role ? cold->own : cold->peers;
    if (status == WEIR_OK && ((role != WEIR_PRODUCER && role != WEIR_CONSUMER) || place >= side.count))
        status = weir_fail(WEIR_E_INVALID, "%s has no place %u of role %d", weir_section_name(cold->section), place,
                           (int)role);
    if (status != WEIR_OK)
        return weir_channel_leave(channel, status);
    uint32_t slot = side.first + place, deaths = weir_participant_glance(cold->section, slot).deaths;
    cold->asked.when_ns = 0; /* ask at the first look */
    struct channel_wait w = { channel, GOAL_GONE, (uint64_t)generation << 32 | slot, WEIR_EMPTY, false };
    status = weir_channel_wait_for(&w, timeout);
    if (status == WEIR_OK)
        status = how_it_went(channel, slot, generation, deaths);
    if (status == WEIR_CLOSED || status == WEIR_DIED)
        WEIR_PROBE3(peer_end, weir_section_name(cold->section), (int)cold->role, (int)status);
    return weir_channel_leave(channel, status);
}
