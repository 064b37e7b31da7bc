/* ipc/mailbox_sender.c - sending to a mailbox, and waiting for the answer. */
#include <weir/base/fail.h>
#include <weir/ipc/channel_wait.h>
#include <weir/ipc/mailbox_private.h>
#include <weir/ipc/probe.h>

#include <string.h>

/* ---- the owner, as a sender knows it ---- */

/* Is it time to ask the kernel about the owner's lock? */
static bool is_due(struct sender_state *state, int64_t now)
{
    const struct channel_cold *cold = channel_cold(state->channel);
    bool is_client = cold->watched || cold->listens;
    uint64_t news = is_client ? weir_watch_seen(&cold->watch) + 1 : 0; /* that there is a watch is news, too */
    if (news == state->heard && now - state->looked_ns < MAILBOX_PROBE_NS)
        return false;
    state->heard = news;
    state->looked_ns = now;
    return true;
}

/* Who it is now.  A death is asked of the kernel, not at every look; memory says alive until another comes. */
static weir_status observe(struct sender_state *state, int64_t now, weir_participant *owner)
{
    weir_status status = weir_mailbox_owner(state->channel, false, owner);
    if (owner->presence != WEIR_ALIVE)
        return status;
    if (is_due(state, now)) {
        status = weir_mailbox_owner(state->channel, true, owner);
        if (status == WEIR_OK && owner->presence == WEIR_DEAD)
            state->dead = (uint64_t)owner->generation + 1;
    }
    if (owner->presence == WEIR_ALIVE && state->dead == (uint64_t)owner->generation + 1)
        owner->presence = WEIR_DEAD;
    return status;
}

static void know(struct sender_state *state, const weir_participant *owner)
{
    state->known = owner->generation;
    state->deaths = owner->deaths;
    state->told = owner->presence != WEIR_ALIVE;
}

/* The end of the owner that was known and told of, if that is so. */
static weir_status end_of_known(const struct sender_state *state, const weir_participant *owner)
{
    if (owner->generation != state->known) /* another has come since */
        return owner->deaths != state->deaths ? WEIR_DIED : WEIR_CLOSED;
    if (owner->presence == WEIR_ALIVE || owner->presence == WEIR_ABSENT)
        return WEIR_OK;
    return owner->presence == WEIR_DEAD ? WEIR_DIED : WEIR_CLOSED;
}

static void trace_end(const struct sender_state *state, weir_status end)
{
    WEIR_PROBE3(peer_end, weir_section_name(channel_cold(state->channel)->section), (int)WEIR_PRODUCER, (int)end);
}

/* What there is to tell the caller of the owner it knew; WEIR_OK: nothing.  The owner is known from now on. */
static weir_status news(struct sender_state *state, const weir_participant *owner)
{
    weir_status end = state->told || state->known == 0 ? WEIR_OK : end_of_known(state, owner);
    if (end != WEIR_OK)
        trace_end(state, end);
    if (owner->generation == state->known) {
        state->told = state->told || end != WEIR_OK;
        return end;
    }
    know(state, owner);
    state->told = false; /* of this one it has heard nothing, if that is gone too */
    return end;
}

/* The owner that the call was sent to: WEIR_OK while it is there. */
static weir_status look_at_owner(struct sender_state *state, int64_t now, weir_participant *owner)
{
    weir_status status = observe(state, now, owner);
    return status == WEIR_OK ? end_of_known(state, owner) : status;
}

/* In a wait for the answer; WEIR_AGAIN: it is not, which the call finds again. */
static weir_status is_owner_there(void *arg, int64_t now)
{
    weir_participant owner;
    weir_status status = look_at_owner(arg, now, &owner);
    return status > 0 ? WEIR_AGAIN : status == WEIR_OK ? WEIR_EMPTY : status;
}

/* ---- opening and leaving ---- */

static weir_status prepare(struct sender_state *state, weir_mailbox *replies)
{
    struct mail_head *head = &state->head.head;
    head->magic = MAIL_MAGIC;
    state->head_bytes = (uint32_t)sizeof *head;
    if (replies == NULL)
        return WEIR_OK;
    weir_status status = weir_mailbox_enter(&replies->front);
    if (status != WEIR_OK)
        return status;
    const struct mailbox_state *own = mailbox_state(replies);
    head->owner = own->owner;
    head->generation = own->generation;
    if (!own->is_private) {
        const char *name = weir_section_name(channel_cold(own->channel)->section);
        head->name_len = (uint8_t)strlen(name);
        memcpy(state->head.bytes + sizeof *head, name, head->name_len);
    }
    state->head_bytes = mail_head_bytes(head->name_len);
    return weir_mailbox_leave(&replies->front, WEIR_OK);
}

static weir_status join(struct sender_state *state, const char *name, const weir_mailbox_options *options)
{
    weir_name parsed;
    weir_status status = weir_name_parse(&parsed, name);
    if (status == WEIR_OK && state->replies != NULL &&
        strcmp(weir_section_name(channel_cold(mailbox_state(state->replies)->channel)->section), parsed.text) == 0)
        return weir_fail(WEIR_E_INVALID, "%s cannot get the answers to what is sent to it", parsed.text);
    if (status == WEIR_OK)
        status = weir_mailbox_channel(&state->channel, name, WEIR_PRODUCER, options, options->identity,
                                      state->head_bytes);
    if (status != WEIR_OK)
        return status;
    channel_cold(state->channel)->told_elsewhere = true;
    weir_participant owner;
    status = weir_mailbox_owner(state->channel, true, &owner);
    if (status != WEIR_OK)
        (void)weir_channel_close(state->channel);
    else
        know(state, &owner);
    return status;
}

weir_status weir_sender_open(weir_sender **out, const char *name, weir_mailbox *replies,
                             const weir_mailbox_options *options)
{
    static const weir_mailbox_options defaults;
    if (out == NULL || name == NULL)
        return weir_fail(WEIR_E_INVALID, "%s", out == NULL ? "no place to return the sender" : "no name to send to");
    weir_sender *sender = weir_os_handle_alloc();
    if (sender == NULL)
        return weir_fail(WEIR_E_NO_MEMORY, "no memory for a sender's handle (MADV_WIPEONFORK: Linux 4.14)");
    struct sender_state *state = sender_state(sender);
    state->replies = replies;
    weir_status status = prepare(state, replies);
    if (status == WEIR_OK)
        status = join(state, name, options != NULL ? options : &defaults);
    if (status != WEIR_OK) {
        weir_os_handle_free(sender);
        return status;
    }
    if (replies != NULL) {
        mailbox_state(replies)->senders++;
        channel_cold(state->channel)->waits_beside = mailbox_state(replies)->channel;
        state->owner = (struct channel_beside){ state->channel, is_owner_there, state };
    }
    sender->front.alive = CHANNEL_ALIVE;
    *out = sender;
    return WEIR_OK;
}

weir_status weir_sender_close(weir_sender *sender)
{
    if (sender == NULL)
        return WEIR_OK;
    struct sender_state *state = sender_state(sender);
    if (sender->front.alive == CHANNEL_ALIVE) {
        weir_status status = weir_mailbox_enter(&sender->front); /* and never left */
        if (status != WEIR_OK)
            return status;
        if (state->replies != NULL)
            mailbox_state(state->replies)->senders--;
    }
    (void)weir_channel_close(state->channel);
    weir_os_handle_free(sender);
    return WEIR_OK;
}

weir_status weir_sender_info(weir_sender *sender, weir_channel_facts *facts)
{
    weir_status status = weir_mailbox_enter(&sender->front);
    if (status != WEIR_OK)
        return status;
    return weir_mailbox_leave(&sender->front, weir_channel_info(sender_state(sender)->channel, facts));
}

weir_status weir_sender_cancel(weir_sender *sender)
{
    if (sender->front.alive != CHANNEL_ALIVE)
        return weir_fail(WEIR_E_FORKED, "the sender was opened before the fork");
    return weir_channel_cancel(sender_state(sender)->channel);
}

/* ---- waiting for the owner ---- */

static weir_status wait_for_owner(struct sender_state *state, weir_timeout timeout)
{
    weir_participant owner;
    weir_status status = weir_channel_wait_peer(state->channel, timeout);
    if (status == WEIR_OK)
        status = weir_mailbox_owner(state->channel, false, &owner);
    if (status == WEIR_OK)
        know(state, &owner);
    return status;
}

weir_status weir_sender_wait(weir_sender *sender, weir_timeout timeout)
{
    weir_status status = weir_mailbox_enter(&sender->front);
    if (status != WEIR_OK)
        return status;
    return weir_mailbox_leave(&sender->front, wait_for_owner(sender_state(sender), timeout));
}

/* ---- sending ---- */

/* One try, for the owner that was seen. */
static weir_status post(struct sender_state *state, const weir_participant *owner, uint8_t flags, uint32_t type,
                        uint64_t correlation, const weir_piece *msg, weir_timeout *timeout)
{
    struct mail_head *head = &state->head.head;
    head->flags = flags;
    head->type = type;
    head->correlation = correlation;
    head->target = owner->generation;
    weir_piece pieces[2] = { { head, state->head_bytes }, *msg };
    return weir_channel_send_by(state->channel, pieces, 2, timeout);
}

weir_status weir_sender_send(weir_sender *sender, uint32_t type, uint64_t correlation, const void *msg, uint64_t len,
                             weir_timeout timeout)
{
    struct sender_state *state = sender_state(sender);
    weir_status status = weir_mailbox_enter(&sender->front);
    if (status != WEIR_OK)
        return status;
    for (;;) {
        weir_participant owner;
        status = observe(state, weir_os_lately_ns(), &owner);
        if (status == WEIR_OK)
            status = news(state, &owner);
        if (status != WEIR_OK)
            break;
        status = post(state, &owner, 0, type, correlation, &(weir_piece){ msg, len }, &timeout);
        if (status != WEIR_CLOSED && status != WEIR_DIED)
            break;
        /* The lane is full, and its owner has gone: that is told once, then the room is waited for. */
        state->looked_ns = 0;
    }
    return weir_mailbox_leave(&sender->front, status);
}

/* ---- calling ---- */

/* The owner that the call was sent to, as the kernel has it. */
static weir_status ended(struct sender_state *state)
{
    weir_participant owner;
    state->looked_ns = 0;
    weir_status status = look_at_owner(state, weir_os_now_ns(), &owner);
    if (status > 0) { /* and told */
        know(state, &owner);
        trace_end(state, status);
    }
    return status;
}

/* Where the mailbox stands after another message or none: WEIR_OK: the answer is the next; WEIR_EMPTY: not yet. */
static weir_status look_for_answer(struct mailbox_state *own, weir_timeout *timeout)
{
    for (;;) {
        weir_status status = weir_mailbox_next(own, timeout);
        if (status == WEIR_CLOSED || status == WEIR_DIED) {
            own->end = status; /* told by the next receive that finds nothing */
            return WEIR_EMPTY;
        }
        if (status == WEIR_TIMEOUT || status == WEIR_AGAIN)
            return WEIR_EMPTY;
        if (status != WEIR_OK || own->next_is_answer)
            return status;
        if (!weir_mailbox_keep(own))
            return WEIR_FULL;
    }
}

/* The end of the owner is believed first, and told when no answer was found behind it. */
static weir_status await(struct sender_state *state, struct mailbox_state *own, weir_timeout *timeout)
{
    for (;;) {
        weir_status status = look_for_answer(own, timeout);
        if (status != WEIR_EMPTY)
            return status;
        weir_status end = ended(state);
        if (end != WEIR_OK) {
            status = look_for_answer(own, &(weir_timeout){ WEIR_NOWAIT });
            return status != WEIR_EMPTY ? status : end;
        }
        if (*timeout == WEIR_NOWAIT || weir_channel_is_past(*timeout))
            return WEIR_TIMEOUT;
    }
}

/* The same, told of the owner's end: a wait sleeps on the answers' mailbox, and the watch of the owner's wakes it. */
static weir_status await_told(struct sender_state *state, struct mailbox_state *own, weir_timeout *timeout)
{
    struct channel_cold *there = channel_cold(state->channel), *here = channel_cold(own->channel);
    here->beside = &state->owner;
    weir_store32_rlx(&there->beside_waits, 1); /* relaxed: the sleeper arms behind it, with a fence, and looks for news */
    weir_status status = await(state, own, timeout);
    weir_store32_rlx(&there->beside_waits, 0); /* relaxed: a wake too many is harmless */
    here->beside = NULL;
    return status;
}

static weir_status call(struct sender_state *state, struct mailbox_state *own, uint32_t type, const weir_piece *msg,
                        weir_timeout timeout)
{
    weir_participant owner;
    if (own->next.bytes != NULL && !weir_mailbox_keep(own))
        return WEIR_FULL;
    weir_status status = observe(state, weir_os_lately_ns(), &owner);
    if (status == WEIR_OK)
        status = news(state, &owner); /* as a send */
    if (status == WEIR_OK && owner.presence != WEIR_ALIVE) {
        timeout = weir_channel_deadline(timeout);
        status = wait_for_owner(state, timeout);
        if (status == WEIR_OK)
            status = weir_mailbox_owner(state->channel, false, &owner);
        else if (status == WEIR_EMPTY)
            status = WEIR_TIMEOUT;
    }
    if (status != WEIR_OK)
        return status;
    know(state, &owner);
    uint64_t number = ++own->calls;
    status = post(state, &owner, MAIL_CALL, type, number, msg, &timeout);
    if (status != WEIR_OK) {
        if (status == WEIR_CLOSED || status == WEIR_DIED)
            (void)ended(state);
        return status;
    }
    own->awaited = number;
    status = await_told(state, own, &timeout);
    own->awaited = 0;
    return status;
}

weir_status weir_sender_call(weir_sender *sender, uint32_t type, const void *msg, uint64_t len, weir_mail *answer,
                             void *buffer, uint64_t size_bytes, weir_timeout timeout)
{
    struct sender_state *state = sender_state(sender);
    weir_status status = weir_mailbox_enter(&sender->front);
    if (status != WEIR_OK)
        return status;
    if (state->replies == NULL)
        return weir_mailbox_leave(&sender->front,
                                  weir_fail(WEIR_E_STATE, "this sender was opened without a mailbox for answers"));
    struct mailbox_front *front = &state->replies->front;
    status = weir_mailbox_enter(front);
    if (status == WEIR_OK) {
        struct mailbox_state *own = mailbox_state(state->replies);
        status = call(state, own, type, &(weir_piece){ msg, len }, timeout);
        weir_mail mail;
        if (status == WEIR_OK) {
            own->next_is_answer = false;
            status = weir_mailbox_hand(own, answer != NULL ? answer : &mail, buffer, size_bytes);
        }
        status = weir_mailbox_leave(front, status);
    }
    return weir_mailbox_leave(&sender->front, status);
}
