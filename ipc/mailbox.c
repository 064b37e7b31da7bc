/* ipc/mailbox.c - the owner of a mailbox. */
#include <weir/base/fail.h>
#include <weir/ipc/channel_wait.h>
#include <weir/ipc/mailbox_private.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PRIVATE_TRIES 16     /* at a name that nobody has */
#define KIND_TRIES 4         /* at a mailbox that is made anew between two looks */
#define DROPS_MAX 65536      /* messages that are nobody's, in one call that may not wait */

/* ---- what owner and sender share ---- */

weir_status weir_mailbox_enter(struct mailbox_front *front)
{
    if (front->alive != CHANNEL_ALIVE)
        return weir_fail(WEIR_E_FORKED, "the mailbox was opened before the fork");
    if (front->busy != 0)
        return weir_fail(WEIR_E_BUSY, "inside another call on the same mailbox or sender");
    front->busy = 1;
    weir_fence_compiler(); /* only a handler in this thread looks */
    return WEIR_OK;
}

weir_status weir_mailbox_leave(struct mailbox_front *front, weir_status status)
{
    weir_fence_compiler();
    front->busy = 0;
    return status;
}

/* The kind of the channel that has the name; 0 where none has. */
static uint32_t kind_there(const char *name)
{
    weir_section *section;
    weir_view view;
    uint32_t kind = 0;
    if (weir_section_open(&section, name, &(weir_section_options){ .content = WEIR_CHANNEL_CONTENT }) != WEIR_OK)
        return 0;
    if (!weir_section_is_reserved(section) && weir_section_size(section) >= WEIR_CHANNEL_PAGE &&
        weir_view_map(&view, section, 0, 0, WEIR_READ_ONLY) == WEIR_OK) {
        kind = ((const weir_channel_layout *)view.base)->kind;
        (void)weir_view_unmap(&view);
    }
    (void)weir_section_close(section);
    return kind;
}

static weir_status check_options(const weir_mailbox_options *options)
{
    if ((unsigned)options->undelivered > WEIR_DISCARD)
        return weir_fail(WEIR_E_INVALID, "undelivered %d: give WEIR_KEEP or WEIR_DISCARD", (int)options->undelivered);
    if (options->message_bytes > UINT32_MAX - MAIL_HEAD_MAX)
        return weir_fail(WEIR_E_INVALID, "messages of %u bytes are longer than any", options->message_bytes);
    if (options->kept_bytes > WEIR_MAILBOX_KEPT_MAX)
        return weir_fail(WEIR_E_INVALID, "%llu bytes for what is kept: at most %llu",
                         (unsigned long long)options->kept_bytes, (unsigned long long)WEIR_MAILBOX_KEPT_MAX);
    return WEIR_OK;
}

weir_status weir_mailbox_channel(weir_channel **out, const char *name, weir_role role,
                                 const weir_mailbox_options *options, uint64_t number, uint32_t head_bytes)
{
    weir_status status = check_options(options);
    if (status != WEIR_OK)
        return status;
    weir_channel_options stated = {
        .kind = (weir_kind)(options->undelivered == WEIR_DISCARD ? WEIR_KIND_MAILBOX_DISCARD : WEIR_KIND_MAILBOX),
        .capacity = options->capacity,
        .record_bytes = options->message_bytes != 0 ? options->message_bytes + head_bytes : 0,
        .type = options->type,
        .wait = options->wait,
        .mode = options->mode,
        .producers = options->senders,
        .identity = number,
    };
    for (int tries = 0;; tries++) {
        status = weir_channel_open(out, name, role, &stated);
        if (status != WEIR_E_MISMATCH || options->undelivered != 0 || tries == KIND_TRIES)
            return status;
        struct weir_detail detail;
        weir_detail_save(&detail);
        uint32_t there = kind_there(name);
        weir_detail_restore(&detail);
        if ((there != WEIR_KIND_MAILBOX && there != WEIR_KIND_MAILBOX_DISCARD) || there == (uint32_t)stated.kind)
            return status;
        stated.kind = (weir_kind)there; /* who states nothing takes what is there */
    }
}

weir_status weir_mailbox_owner(weir_channel *channel, bool ask, weir_participant *owner)
{
    struct channel_cold *cold = channel_cold(channel);
    if (ask)
        return weir_participant_look(cold->section, cold->peers.first, owner);
    *owner = weir_participant_glance(cold->section, cold->peers.first);
    return WEIR_OK;
}

/* ---- opening and leaving ---- */

static weir_status open_own(struct mailbox_state *state, const char *name, const weir_mailbox_options *options)
{
    weir_mailbox_options own = *options;
    if (name != NULL) {
        state->owner = weir_os_unique();
        return weir_mailbox_channel(&state->channel, name, WEIR_CONSUMER, &own, state->owner, 0);
    }
    weir_status status = WEIR_E_IN_USE;
    own.capacity = own.capacity != 0 ? own.capacity : WEIR_MAILBOX_PRIVATE;
    for (int tries = 0; status == WEIR_E_IN_USE && tries < PRIVATE_TRIES; tries++) {
        char text[WEIR_NAME_TEXT_MAX];
        state->owner = weir_os_unique();
        (void)snprintf(text, sizeof text, MAILBOX_PRIVATE_NAME, (unsigned long long)state->owner);
        status = weir_mailbox_channel(&state->channel, text, WEIR_CONSUMER, &own, state->owner, 0);
    }
    return status;
}

static void free_handle(weir_mailbox *mailbox)
{
    struct mailbox_state *state = mailbox_state(mailbox);
    free(state->kept.memory);
    free(state->boxes);
    weir_os_handle_free(mailbox);
}

weir_status weir_mailbox_open(weir_mailbox **out, const char *name, const weir_mailbox_options *options)
{
    static const weir_mailbox_options defaults;
    if (out == NULL)
        return weir_fail(WEIR_E_INVALID, "no place to return the mailbox");
    if (options == NULL)
        options = &defaults;
    weir_status status = check_options(options);
    if (status != WEIR_OK)
        return status;
    weir_mailbox *mailbox = weir_os_handle_alloc();
    if (mailbox == NULL)
        return weir_fail(WEIR_E_NO_MEMORY, "no memory for a mailbox's handle (MADV_WIPEONFORK: Linux 4.14)");
    struct mailbox_state *state = mailbox_state(mailbox);
    state->wait = options->wait;
    state->mode = options->mode;
    state->is_private = name == NULL;
    state->kept.size = options->kept_bytes != 0 ? options->kept_bytes : WEIR_MAILBOX_KEPT;
    state->kept.memory = malloc(state->kept.size);
    state->boxes = calloc(WEIR_MAILBOX_REPLIES, sizeof *state->boxes);
    if (state->kept.memory == NULL || state->boxes == NULL)
        status = weir_fail(WEIR_E_NO_MEMORY, "no memory for a mailbox, of which %llu bytes are for what is kept",
                           (unsigned long long)state->kept.size);
    if (status == WEIR_OK)
        status = open_own(state, name, options);
    if (status != WEIR_OK) {
        free_handle(mailbox);
        return status;
    }
    const struct channel_cold *cold = channel_cold(state->channel);
    state->generation = cold->generation;
    state->undelivered = (uint32_t)cold->number == WEIR_KIND_MAILBOX_DISCARD ? WEIR_DISCARD : WEIR_KEEP;
    mailbox->front.alive = CHANNEL_ALIVE;
    *out = mailbox;
    return WEIR_OK;
}

weir_status weir_mailbox_close(weir_mailbox *mailbox)
{
    if (mailbox == NULL)
        return WEIR_OK;
    struct mailbox_state *state = mailbox_state(mailbox);
    if (mailbox->front.alive == CHANNEL_ALIVE) {
        weir_status status = weir_mailbox_enter(&mailbox->front); /* and never left */
        if (status != WEIR_OK)
            return status;
        if (state->senders != 0)
            return weir_mailbox_leave(&mailbox->front, weir_fail(WEIR_E_BUSY, "the answers of %u senders come to this "
                                                                 "mailbox: close those first", state->senders));
    }
    for (uint32_t i = 0; i < WEIR_MAILBOX_REPLIES; i++)
        (void)weir_channel_close(state->boxes[i].channel);
    (void)weir_channel_close(state->channel);
    free_handle(mailbox);
    return WEIR_OK;
}

/* ---- receiving ---- */

/* Copies a message's head, once, and checks the copy.  False: no weir writes such a one. */
static bool read_head(const void *msg, uint32_t len, struct mail_head *head, struct mail_in_place *out)
{
    const unsigned char *bytes = msg;
    if (len < sizeof *head)
        return false;
    WEIR_PAYLOAD_READ(head, bytes, sizeof *head);
    uint32_t head_bytes = mail_head_bytes(head->name_len);
    bool answers = (head->flags & MAIL_ANSWER) != 0;
    if (head->magic != MAIL_MAGIC || (head->flags & ~MAIL_FLAGS) != 0 || head->zero != 0 || head->zero_too != 0 ||
        head->name_len >= WEIR_NAME_TEXT_MAX || head_bytes > len || answers != (head->to != 0))
        return false;
    if (head->owner == 0 && (head->name_len != 0 || head->generation != 0 || (!answers && head->flags != 0)))
        return false;
    if (answers && head->owner != 0) /* an answer wants none: or two mailboxes could answer one another for ever */
        return false;
    out->mail = (weir_mail){
        .correlation = head->correlation,
        .type = head->type,
        .len = len - head_bytes,
        .answer = answers,
    };
    weir_address *from = &out->mail.from;
    from->owner = head->owner;
    from->generation = head->generation;
    from->call = head->flags & MAIL_CALL;
    WEIR_PAYLOAD_READ(from->name, bytes + sizeof *head, head->name_len); /* and zeros behind it, from above */
    out->bytes = bytes + head_bytes;
    return strlen(from->name) == head->name_len;
}

/* Gives the room of all that was read back, once all of it was handed out. */
static void release(struct mailbox_state *state)
{
    if (state->kept.count == 0 && state->next.bytes == NULL)
        (void)weir_release(state->channel);
}

/* Was a message sent to this owner?  What was sent before there was any is the first one's. */
static bool is_for(const struct mailbox_state *state, uint32_t target)
{
    return state->undelivered == WEIR_KEEP || target == state->generation || (target == 0 && state->generation == 1);
}

/* Is what was read into state->next the owner's business?  Counts what is not. */
static bool is_wanted(struct mailbox_state *state, const void *msg, uint32_t len)
{
    struct mail_head head;
    if (!read_head(msg, len, &head, &state->next)) {
        state->malformed++;
        return false;
    }
    if (!is_for(state, head.target)) {
        state->discarded++;
        return false;
    }
    bool of_call = state->next.mail.answer && (head.flags & MAIL_CALL) != 0;
    if ((state->next.mail.answer && head.to != state->owner) ||
        (of_call && (state->awaited == 0 || head.correlation != state->awaited))) {
        state->late++;
        return false;
    }
    state->next_is_answer = of_call;
    return true;
}

weir_status weir_mailbox_next(struct mailbox_state *state, weir_timeout *timeout)
{
    for (uint32_t drops = 0; state->next.bytes == NULL; drops++) {
        const void *msg;
        uint32_t len;
        if (drops != 0)
            *timeout = weir_channel_deadline(*timeout);
        if (drops != 0 && weir_channel_is_past(*timeout))
            return WEIR_TIMEOUT;
        if (drops == DROPS_MAX && *timeout == WEIR_NOWAIT)
            return WEIR_AGAIN;
        weir_status status = weir_channel_peek_by(state->channel, &msg, &len, timeout);
        if (status != WEIR_OK)
            return status;
        if (is_wanted(state, msg, len)) {
            weir_message place = { .producer = 0 };
            (void)weir_channel_message(state->channel, &place);
            state->next.mail.sender = place.producer;
            return WEIR_OK;
        }
        state->next.bytes = NULL;
        release(state);
    }
    return WEIR_OK;
}

weir_status weir_mailbox_hand(struct mailbox_state *state, weir_mail *mail, void *buffer, uint64_t size_bytes)
{
    const weir_mail *next = &state->next.mail;
    *mail = *next;
    if (next->len > size_bytes)
        return weir_fail(WEIR_E_TOO_SMALL, "a message of %u bytes, the buffer has %llu", next->len,
                         (unsigned long long)size_bytes);
    if (next->len != 0)
        WEIR_PAYLOAD_READ(buffer, state->next.bytes, next->len);
    state->next.bytes = NULL;
    state->received++;
    release(state);
    return WEIR_OK;
}

/* ---- what is kept ---- */

static uint64_t kept_bytes(uint32_t len)
{
    return sizeof(weir_mail) + ((uint64_t)len + 7) / 8 * 8;
}

bool weir_mailbox_keep(struct mailbox_state *state)
{
    struct kept *kept = &state->kept;
    const weir_mail *mail = &state->next.mail;
    uint64_t bytes = kept_bytes(mail->len);
    if (bytes > kept->size - (kept->end_off - kept->first_off))
        return false;
    if (bytes > kept->size - kept->end_off) { /* room is at the front */
        memmove(kept->memory, kept->memory + kept->first_off, kept->end_off - kept->first_off);
        kept->end_off -= kept->first_off;
        kept->first_off = 0;
    }
    unsigned char *at = kept->memory + kept->end_off;
    memcpy(at, mail, sizeof *mail);
    WEIR_PAYLOAD_READ(at + sizeof *mail, state->next.bytes, mail->len);
    kept->end_off += bytes;
    kept->count++;
    state->next.bytes = NULL;
    return true;
}

static weir_status hand_kept(struct mailbox_state *state, weir_mail *mail, void *buffer, uint64_t size_bytes)
{
    struct kept *kept = &state->kept;
    const unsigned char *at = kept->memory + kept->first_off;
    memcpy(mail, at, sizeof *mail);
    if (mail->len > size_bytes)
        return weir_fail(WEIR_E_TOO_SMALL, "a message of %u bytes, the buffer has %llu", mail->len,
                         (unsigned long long)size_bytes);
    if (mail->len != 0)
        memcpy(buffer, at + sizeof *mail, mail->len);
    kept->first_off += kept_bytes(mail->len);
    if (--kept->count == 0)
        kept->first_off = kept->end_off = 0;
    state->received++;
    release(state);
    return WEIR_OK;
}

weir_status weir_mailbox_receive(weir_mailbox *mailbox, weir_mail *mail, void *buffer, uint64_t size_bytes,
                                 weir_timeout timeout)
{
    struct mailbox_state *state = mailbox_state(mailbox);
    weir_status status = weir_mailbox_enter(&mailbox->front);
    if (status != WEIR_OK)
        return status;
    if (state->kept.count != 0)
        return weir_mailbox_leave(&mailbox->front, hand_kept(state, mail, buffer, size_bytes));
    weir_status end = state->end;
    timeout = end != WEIR_OK ? WEIR_NOWAIT : timeout;
    status = weir_mailbox_next(state, &timeout);
    if (status == WEIR_OK)
        status = weir_mailbox_hand(state, mail, buffer, size_bytes);
    else if (status == WEIR_EMPTY && end != WEIR_OK) {
        status = end; /* nothing is left */
        state->end = WEIR_OK;
    }
    return weir_mailbox_leave(&mailbox->front, status);
}

weir_status weir_mailbox_info(weir_mailbox *mailbox, weir_mailbox_facts *facts)
{
    struct mailbox_state *state = mailbox_state(mailbox);
    weir_mailbox_facts seen = {
        .undelivered = state->undelivered,
        .owner = state->owner,
        .kept = state->kept.count + (state->next.bytes != NULL),
        .received = state->received,
        .answered = state->answered,
        .discarded = state->discarded,
        .late = state->late,
        .malformed = state->malformed,
    };
    weir_status status = weir_mailbox_enter(&mailbox->front);
    if (status != WEIR_OK)
        return status;
    for (uint32_t i = 0; i < WEIR_MAILBOX_REPLIES; i++)
        seen.replies += state->boxes[i].channel != NULL;
    status = weir_channel_info(state->channel, &seen.channel);
    if (status == WEIR_OK) {
        (void)snprintf(seen.name, sizeof seen.name, "%s", weir_section_name(channel_cold(state->channel)->section));
        uint32_t max = seen.channel.record_max;
        seen.message_max = max > WEIR_MAILBOX_HEAD ? max - WEIR_MAILBOX_HEAD : 0;
        *facts = seen;
    }
    return weir_mailbox_leave(&mailbox->front, status);
}

weir_status weir_mailbox_cancel(weir_mailbox *mailbox)
{
    if (mailbox->front.alive != CHANNEL_ALIVE)
        return weir_fail(WEIR_E_FORKED, "the mailbox was opened before the fork");
    return weir_channel_cancel(mailbox_state(mailbox)->channel);
}
