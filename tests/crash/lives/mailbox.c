/* Mailboxes: an owner's life, and a sender's with the mailbox that its answers come to. */
#include "lives/life.h"

#define NAME "Local/life-mailbox"
#define MESSAGES 3u /* that wait for an owner's life */
#define LATER 50u   /* a number of one that is sent behind it */

static weir_mailbox_options options_of(const life_scene *s)
{
    return (weir_mailbox_options){
        .undelivered = s->undelivered, .capacity = 4096, .wait = WEIR_WAIT_SLEEP, .senders = 3
    };
}

static weir_mailbox *come_to_own(const life_scene *s, const char *name)
{
    weir_mailbox *mailbox;
    weir_mailbox_options options = options_of(s);
    CHECK_OK(weir_mailbox_open(&mailbox, name, &options));
    return mailbox;
}

static weir_sender *come_to_send(const life_scene *s, weir_mailbox *replies)
{
    weir_sender *sender;
    weir_mailbox_options options = options_of(s);
    CHECK_OK(weir_sender_open(&sender, NAME, replies, &options));
    return sender;
}

static weir_status take_id(weir_mailbox *mailbox, weir_mail *mail, uint64_t *id, weir_timeout timeout)
{
    weir_status status = weir_mailbox_receive(mailbox, mail, id, sizeof *id, timeout);
    CHECK(status != WEIR_OK || mail->len == sizeof *id);
    return status;
}

/* ---- an owner's life ---- */

static weir_status answer_noted(life_scene *s, weir_mailbox *mailbox, weir_timeout timeout)
{
    weir_mail mail;
    uint64_t id;
    weir_status status = take_id(mailbox, &mail, &id, timeout);
    if (status != WEIR_OK)
        return status;
    life_note(&s->notes->had, life_noted(&s->notes->had) | UINT64_C(1) << id);
    life_operation("reply");
    life_note(&s->notes->begun, id + 1);
    CHECK_OK(answer_id(mailbox, &mail, id));
    life_note(&s->notes->done, id + 1);
    return WEIR_OK;
}

static void live_as_owner(life_scene *s)
{
    life_operation("open");
    weir_mailbox *mailbox = come_to_own(s, NAME);
    do
        life_operation("receive");
    while (answer_noted(s, mailbox, WEIR_NOWAIT) == WEIR_OK);
    life_operation("sleep");
    weir_status status = answer_noted(s, mailbox, LIFE_WAIT);
    CHECK(status == WEIR_TIMEOUT || status == WEIR_OK);
    life_operation("cancel");
    CHECK_OK(weir_mailbox_cancel(mailbox));
    status = answer_noted(s, mailbox, HELP_DEADLINE);
    CHECK(status == WEIR_CANCELLED || status == WEIR_OK);
    life_operation("close");
    CHECK_OK(weir_mailbox_close(mailbox));
}

static void lose_an_owner(life_scene *s)
{
    pid_t child = child_fork();
    if (child == 0) {
        CHECK_OK(answer_noted(s, come_to_own(s, NAME), WEIR_NOWAIT));
        life_kill_self();
    }
    CHECK(support_wait(child) == -SIGKILL);
}

static void send_bit(life_scene *s, uint64_t id)
{
    CHECK_OK(weir_sender_send(s->sender, 7, id + 1000, &id, sizeof id, WEIR_NOWAIT));
    s->sent |= UINT64_C(1) << id;
}

static void prepare_for_owner(life_scene *s)
{
    if (s->setting == LIFE_FIRST)
        return;
    s->mailbox = come_to_own(s, NULL);
    s->sender = come_to_send(s, s->mailbox);
    for (uint64_t id = 0; id < MESSAGES; id++)
        send_bit(s, id);
    if (s->setting == LIFE_AFTER)
        lose_an_owner(s);
}

static void beside_owner(life_scene *s)
{
    uint64_t id = MESSAGES;
    if (s->sender == NULL)
        return;
    weir_status status = weir_sender_send(s->sender, 7, id + 1000, &id, sizeof id, WEIR_NOWAIT);
    CHECK(status == WEIR_OK || status == WEIR_CLOSED || status == WEIR_DIED); /* it may have left */
    s->sent |= (uint64_t)(status == WEIR_OK) << id;
}

/* The answers come in order, none twice and, of what is kept, none left out.  The number behind the last. */
static uint64_t take_answers(const life_scene *s)
{
    weir_mail mail;
    uint64_t id, next = 0;
    while (take_id(s->mailbox, &mail, &id, WEIR_NOWAIT) == WEIR_OK) {
        CHECK(mail.answer && mail.correlation == 1000 + id);
        CHECK(s->undelivered == WEIR_KEEP ? id == next : id >= next);
        next = id + 1;
    }
    return next;
}

static void follow_an_owner(life_scene *s, bool killed)
{
    weir_mail mail;
    uint64_t id, done = life_noted(&s->notes->done), begun = life_noted(&s->notes->begun);
    if (s->sender == NULL) {
        s->mailbox = come_to_own(s, NULL);
        s->sender = come_to_send(s, s->mailbox);
    }
    uint64_t answered = take_answers(s);
    CHECK(done <= answered && answered <= begun);
    weir_channel_facts facts;
    CHECK_OK(weir_sender_info(s->sender, &facts));
    weir_mailbox *next = come_to_own(s, NAME);
    while (take_id(next, &mail, &id, WEIR_NOWAIT) == WEIR_OK)
        s->taken |= UINT64_C(1) << id;
    if (s->undelivered == WEIR_KEEP)
        life_check_once(s, killed);
    else
        CHECK(s->taken == (facts.consumer.generation == 0 ? s->sent : 0)); /* they are the first owner's */
    id = LATER;
    weir_status status = weir_sender_send(s->sender, 7, id + 1000, &id, sizeof id, WEIR_NOWAIT);
    if (status == WEIR_DIED || status == WEIR_CLOSED) /* it is told once */
        status = weir_sender_send(s->sender, 7, id + 1000, &id, sizeof id, WEIR_NOWAIT);
    CHECK_OK(status);
    mail = get_id(next, LATER);
    CHECK_OK(answer_id(next, &mail, LATER));
    (void)get_id(s->mailbox, LATER);
    CHECK_OK(weir_mailbox_close(next));
    CHECK_OK(weir_sender_close(s->sender));
    CHECK_OK(weir_mailbox_close(s->mailbox));
}

/* ---- a sender's life ---- */

static void live_as_sender(life_scene *s)
{
    uint64_t id, answer = 0;
    life_operation("open-own");
    weir_mailbox *back = come_to_own(s, NULL);
    life_operation("open");
    weir_sender *sender = come_to_send(s, back);
    life_operation("wait");
    CHECK_STATUS(weir_sender_wait(sender, LIFE_WAIT), s->setting == LIFE_THERE ? WEIR_OK : WEIR_TIMEOUT);
    for (id = 0; id < MESSAGES; id++) {
        life_operation("send");
        life_note(&s->notes->begun, id + 1);
        CHECK_OK(weir_sender_send(sender, 7, 0, &id, sizeof id, WEIR_NOWAIT));
        life_note(&s->notes->done, id + 1);
    }
    if (s->setting == LIFE_THERE) {
        life_operation("call");
        CHECK_OK(call_id(sender, 10, &answer, HELP_DEADLINE));
        CHECK(answer == 11);
    }
    id = SILENT;
    life_operation("call-in-vain");
    CHECK_STATUS(weir_sender_call(sender, 9, &id, sizeof id, NULL, &answer, sizeof answer, LIFE_WAIT), WEIR_TIMEOUT);
    life_operation("close");
    CHECK_OK(weir_sender_close(sender));
    life_operation("close-own");
    CHECK_OK(weir_mailbox_close(back));
}

/* With an owner in a process of its own, for all lives of the scene. */
static void begin_server(life_scene *s)
{
    s->server = child_serves(NAME, s->undelivered);
    s->mailbox = come_to_own(s, NULL);
    s->sender = come_to_send(s, s->mailbox);
}

static void end_server(life_scene *s)
{
    CHECK_OK(weir_sender_close(s->sender));
    CHECK_OK(weir_mailbox_close(s->mailbox));
    CHECK(support_wait(s->server) == 0);
    CHECK_OK(weir_mailbox_close(come_to_own(s, NULL))); /* takes away what the killed left */
}

static void check_server(life_scene *s)
{
    uint64_t answer = 0;
    CHECK_OK(call_id(s->sender, 20, &answer, HELP_DEADLINE));
    CHECK(answer == 21);
}

static void check_server_behind(life_scene *s, bool killed)
{
    (void)killed;
    check_server(s);
}

static void prepare_nothing(life_scene *s) { (void)s; }

/* Without an owner: another sender keeps the mailbox. */
static void prepare_for_sender(life_scene *s)
{
    if (s->setting == LIFE_BESIDE)
        s->sender = come_to_send(s, NULL);
}

static void beside_sender(life_scene *s)
{
    uint64_t id = LATER;
    if (s->sender != NULL)
        CHECK_OK(weir_sender_send(s->sender, 7, 0, &id, sizeof id, WEIR_NOWAIT));
}

static void follow_a_sender(life_scene *s, bool killed)
{
    weir_mail mail;
    uint64_t id, count = 0, done = life_noted(&s->notes->done), begun = life_noted(&s->notes->begun);
    weir_mailbox *owner = come_to_own(s, NAME);
    while (take_id(owner, &mail, &id, WEIR_NOWAIT) == WEIR_OK) {
        if (id == LATER || id >= SILENT)
            continue;
        CHECK(id == count);
        count++;
    }
    CHECK(s->setting == LIFE_FIRST ? count == 0 : done <= count && count <= begun && (killed || count == MESSAGES));
    weir_sender *next = come_to_send(s, NULL);
    id = LATER;
    CHECK_OK(weir_sender_send(next, 7, 0, &id, sizeof id, WEIR_NOWAIT));
    (void)get_id(owner, LATER);
    CHECK_OK(weir_sender_close(next));
    CHECK_OK(weir_sender_close(s->sender));
    CHECK_OK(weir_mailbox_close(owner));
}

/* ---- the table ---- */

static const life_scene scenes[] = {
    { .name = "owner-first", .prepare = prepare_for_owner, .live = live_as_owner, .beside = beside_owner,
      .follow = follow_an_owner, .setting = LIFE_FIRST, .undelivered = WEIR_KEEP },
    { .name = "owner-comes", .prepare = prepare_for_owner, .live = live_as_owner, .beside = beside_owner,
      .follow = follow_an_owner, .setting = LIFE_THERE, .undelivered = WEIR_KEEP },
    { .name = "owner-after", .prepare = prepare_for_owner, .live = live_as_owner, .beside = beside_owner,
      .follow = follow_an_owner, .setting = LIFE_AFTER, .undelivered = WEIR_KEEP },
    { .name = "owner-comes-discard", .prepare = prepare_for_owner, .live = live_as_owner, .beside = beside_owner,
      .follow = follow_an_owner, .setting = LIFE_THERE, .undelivered = WEIR_DISCARD },
    { .name = "owner-after-discard", .prepare = prepare_for_owner, .live = live_as_owner, .beside = beside_owner,
      .follow = follow_an_owner, .setting = LIFE_AFTER, .undelivered = WEIR_DISCARD },
    { .name = "sender-first", .prepare = prepare_for_sender, .live = live_as_sender, .beside = beside_sender,
      .follow = follow_a_sender, .setting = LIFE_FIRST, .undelivered = WEIR_KEEP },
    { .name = "sender-beside", .prepare = prepare_for_sender, .live = live_as_sender, .beside = beside_sender,
      .follow = follow_a_sender, .setting = LIFE_BESIDE, .undelivered = WEIR_KEEP },
    { .name = "sender-joins", .prepare = prepare_nothing, .live = live_as_sender, .beside = check_server,
      .follow = check_server_behind, .begin = begin_server, .end = end_server, .setting = LIFE_THERE,
      .undelivered = WEIR_KEEP },
};

unsigned life_mailboxes(life_scene *out, unsigned max)
{
    unsigned count = sizeof scenes / sizeof scenes[0];
    CHECK(count <= max);
    for (unsigned i = 0; i < count; i++) {
        out[i] = scenes[i];
        (void)snprintf(out[i].ring, sizeof out[i].ring, "mailbox");
    }
    return count;
}
