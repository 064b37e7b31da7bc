/* tests/ipc/mailbox_help.h - what the tests of mailboxes share. */
#ifndef WEIR_TESTS_MAILBOX_HELP_H
#define WEIR_TESTS_MAILBOX_HELP_H

#include "kinds_help.h"

#include <weir/ipc/mailbox_layout.h>

static inline weir_mailbox *own(const char *name, weir_undelivered undelivered)
{
    weir_mailbox *mailbox;
    CHECK_OK(weir_mailbox_open(&mailbox, name, &(weir_mailbox_options){ .undelivered = undelivered }));
    return mailbox;
}

static inline weir_sender *sends_to(const char *name, weir_mailbox *replies)
{
    weir_sender *sender;
    CHECK_OK(weir_sender_open(&sender, name, replies, NULL));
    return sender;
}

static inline weir_mailbox_facts mailbox_facts(weir_mailbox *mailbox)
{
    weir_mailbox_facts facts;
    CHECK_OK(weir_mailbox_info(mailbox, &facts));
    return facts;
}

static inline void post_id(weir_sender *sender, uint64_t id)
{
    CHECK_OK(weir_sender_send(sender, 7, id + 1000, &id, sizeof id, HELP_DEADLINE));
}

/* Receives the message of that number. */
static inline weir_mail get_id(weir_mailbox *mailbox, uint64_t id)
{
    weir_mail mail;
    uint64_t got = ~id;
    CHECK_OK(weir_mailbox_receive(mailbox, &mail, &got, sizeof got, HELP_DEADLINE));
    CHECK(mail.len == sizeof got);
    CHECK(got == id);
    return mail;
}

static inline weir_status get_nothing(weir_mailbox *mailbox, weir_timeout timeout)
{
    weir_mail mail;
    uint64_t got;
    return weir_mailbox_receive(mailbox, &mail, &got, sizeof got, timeout);
}

static inline weir_status answer_id(weir_mailbox *mailbox, const weir_mail *mail, uint64_t id)
{
    return weir_mailbox_reply(mailbox, mail, 8, &id, sizeof id, HELP_DEADLINE);
}

static inline weir_status call_id(weir_sender *sender, uint64_t id, uint64_t *answer, weir_timeout timeout)
{
    return weir_sender_call(sender, 9, &id, sizeof id, NULL, answer, sizeof *answer, timeout);
}

/* An owner in a process of its own: answers each message of 8 bytes with its number + 1, until it is killed or its
 * senders have gone.  Each that is `silent` it answers not at all. */
#define SILENT UINT64_C(0xffff0000)

static inline void serve(weir_mailbox *mailbox)
{
    for (;;) {
        weir_mail mail;
        uint64_t id;
        weir_status status = weir_mailbox_receive(mailbox, &mail, &id, sizeof id, WEIR_FOREVER);
        if (status == WEIR_CLOSED || status == WEIR_DIED)
            return;
        CHECK_OK(status);
        if (id >= SILENT || mail.from.owner == 0)
            continue;
        status = answer_id(mailbox, &mail, id + 1);
        CHECK(status == WEIR_OK || status == WEIR_CLOSED || status == WEIR_DIED);
    }
}

static inline pid_t child_serves(const char *name, weir_undelivered undelivered)
{
    struct gate there = gate_make();
    pid_t child = child_fork();
    if (child == 0) {
        weir_mailbox *mailbox = own(name, undelivered);
        gate_open(there);
        serve(mailbox);
        CHECK_OK(weir_mailbox_close(mailbox));
        _exit(0);
    }
    gate_wait(there);
    gate_close(there);
    return child;
}

#endif
