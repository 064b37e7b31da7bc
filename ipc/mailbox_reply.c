/* ipc/mailbox_reply.c - answers: finding a sender's mailbox by its address, and who is still there to get one. */
#include <weir/base/fail.h>
#include <weir/ipc/mailbox_private.h>

#include <stdio.h>
#include <string.h>

#define SWEEP_NS INT64_C(100000000) /* how often mailboxes whose owner is gone are looked for, to let them go */

/* Is that owner still there?  WEIR_CLOSED, WEIR_DIED: no. */
static weir_status still_there(weir_channel *channel, uint32_t generation, bool ask)
{
    weir_participant owner;
    weir_status status = weir_mailbox_owner(channel, ask, &owner);
    if (status != WEIR_OK || (owner.generation == generation && owner.presence == WEIR_ALIVE))
        return status;
    return owner.generation == generation && owner.presence == WEIR_DEAD ? WEIR_DIED : WEIR_CLOSED;
}

static void let_go(struct reply_box *box)
{
    (void)weir_channel_close(box->channel);
    *box = (struct reply_box){ .channel = NULL };
}

static void sweep(struct mailbox_state *state, int64_t now)
{
    if (now - state->swept_ns < SWEEP_NS)
        return;
    state->swept_ns = now;
    for (uint32_t i = 0; i < WEIR_MAILBOX_REPLIES; i++) {
        struct reply_box *box = &state->boxes[i];
        if (box->channel != NULL && still_there(box->channel, box->to.generation, true) != WEIR_OK)
            let_go(box);
    }
}

static bool same(const weir_address *one, const weir_address *other)
{
    return one->owner == other->owner && one->generation == other->generation && strcmp(one->name, other->name) == 0;
}

/* The number of its owner's generation, of whatever section has the name by now. */
static weir_status is_addressed(weir_channel *channel, const weir_address *to)
{
    const struct channel_cold *cold = channel_cold(channel);
    const weir_channel_layout *layout = cold->view.base;
    weir_status status = still_there(channel, to->generation, true);
    /* relaxed: an owner states it before it is announced, which was seen (edge SLOT) */
    if (status == WEIR_OK && weir_load_rlx(&layout->member[cold->peers.first].identity) != to->owner)
        status = WEIR_CLOSED;
    return status;
}

/* Opens a mailbox that is there, and makes none: who holds its section keeps its name from being another's. */
static weir_status open_box(struct mailbox_state *state, const weir_address *to, weir_channel **channel)
{
    char name[WEIR_NAME_TEXT_MAX];
    weir_section *held;
    if (to->name[0] != 0)
        memcpy(name, to->name, sizeof name);
    else
        (void)snprintf(name, sizeof name, MAILBOX_PRIVATE_NAME, (unsigned long long)to->owner);
    weir_status status = weir_section_open(&held, name, &(weir_section_options){ .content = WEIR_CHANNEL_CONTENT,
                                                                                 .mode = state->mode });
    if (status != WEIR_OK)
        return status == WEIR_E_NOT_FOUND ? WEIR_CLOSED : status;
    weir_mailbox_options options = { .wait = state->wait, .mode = state->mode };
    status = weir_mailbox_channel(channel, name, WEIR_PRODUCER, &options, 0, 0);
    (void)weir_section_close(held);
    if (status != WEIR_OK)
        return status;
    status = is_addressed(*channel, to);
    if (status != WEIR_OK)
        (void)weir_channel_close(*channel);
    return status;
}

static weir_status find_box(struct mailbox_state *state, const weir_address *to, struct reply_box **found)
{
    struct reply_box *oldest = &state->boxes[0];
    for (uint32_t i = 0; i < WEIR_MAILBOX_REPLIES; i++) {
        struct reply_box *box = &state->boxes[i];
        if (box->channel != NULL && same(&box->to, to)) {
            *found = box;
            return WEIR_OK;
        }
        if (oldest->channel != NULL && (box->channel == NULL || box->used < oldest->used))
            oldest = box;
    }
    weir_channel *channel;
    weir_status status = open_box(state, to, &channel);
    if (status != WEIR_OK)
        return status;
    if (oldest->channel != NULL)
        let_go(oldest);
    *oldest = (struct reply_box){ .channel = channel, .to = *to, .looked_ns = weir_os_lately_ns() };
    *found = oldest;
    return WEIR_OK;
}

static weir_status send_answer(struct reply_box *box, int64_t now, const struct mail_head *head, const weir_piece *msg,
                               weir_timeout timeout)
{
    bool ask = now - box->looked_ns >= MAILBOX_PROBE_NS;
    box->looked_ns = ask ? now : box->looked_ns;
    weir_status status = still_there(box->channel, box->to.generation, ask);
    if (status != WEIR_OK)
        return status;
    weir_piece pieces[2] = { { head, sizeof *head }, *msg };
    status = weir_send_pieces(box->channel, pieces, 2, timeout);
    if (status < 0)
        return status;
    weir_status there = still_there(box->channel, box->to.generation, status != WEIR_OK);
    if (there != WEIR_OK)
        return there;
    return status == WEIR_CLOSED || status == WEIR_DIED ? WEIR_TIMEOUT : status; /* of another than it is for */
}

static weir_status reply(struct mailbox_state *state, const weir_mail *mail, uint32_t type, const void *msg,
                         uint64_t len, weir_timeout timeout)
{
    struct reply_box *box;
    if (mail->from.owner == 0)
        return weir_fail(WEIR_E_STATE, "the sender wants no answer");
    if (mail->from.owner == state->owner)
        return weir_fail(WEIR_E_INVALID, "the answer would go to the mailbox that answers");
    if (msg == NULL && len != 0)
        return weir_fail(WEIR_E_INVALID, "%llu bytes of no message", (unsigned long long)len);
    int64_t now = weir_os_lately_ns();
    sweep(state, now);
    weir_status status = find_box(state, &mail->from, &box);
    if (status != WEIR_OK)
        return status;
    box->used = ++state->replies;
    struct mail_head head = {
        .magic = MAIL_MAGIC,
        .flags = (uint8_t)(MAIL_ANSWER | (mail->from.call != 0 ? MAIL_CALL : 0)),
        .type = type,
        .target = mail->from.generation,
        .correlation = mail->correlation,
        .to = mail->from.owner,
    };
    status = send_answer(box, now, &head, &(weir_piece){ msg, len }, timeout);
    state->answered += status == WEIR_OK;
    if (status == WEIR_CLOSED || status == WEIR_DIED || (status < 0 && status != WEIR_E_TOO_LARGE))
        let_go(box);
    return status;
}

weir_status weir_mailbox_reply(weir_mailbox *mailbox, const weir_mail *mail, uint32_t type, const void *msg,
                               uint64_t len, weir_timeout timeout)
{
    weir_status status = weir_mailbox_enter(&mailbox->front);
    if (status != WEIR_OK)
        return status;
    struct weir_detail detail;
    weir_detail_save(&detail);
    status = reply(mailbox_state(mailbox), mail, type, msg, len, timeout);
    if (status >= 0)
        weir_detail_restore(&detail); /* a mailbox that is not there is no fault */
    return weir_mailbox_leave(&mailbox->front, status);
}
