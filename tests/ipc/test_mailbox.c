/* Mailboxes: every status, order, answers, what is kept and what is dropped, who is told of an end. */
#include <criterion/criterion.h>

#include "mailbox_help.h"

#include <sys/resource.h>

#define NAME "Local/clock"

/* ---- opening ---- */

Test(mailbox, a_message_comes_with_its_sender_and_the_answer_goes_back)
{
    const char *dir = support_shm_dir();
    weir_mailbox *mailbox = own(NAME, 0), *back = own(NULL, 0);
    weir_sender *sender = sends_to(NAME, back);
    post_id(sender, 5);
    weir_mail mail = get_id(mailbox, 5);
    CHECK(mail.type == 7 && mail.correlation == 1005 && !mail.answer && mail.sender == 0);
    CHECK(mail.from.owner == mailbox_facts(back).owner && mail.from.generation == 1 && mail.from.call == 0);
    CHECK_OK(answer_id(mailbox, &mail, 6));
    weir_mail answer = get_id(back, 6);
    CHECK(answer.answer && answer.type == 8 && answer.correlation == 1005 && answer.from.owner == 0);
    CHECK_STATUS(weir_mailbox_reply(back, &answer, 0, NULL, 0, 0), WEIR_E_STATE); /* nothing goes round for ever */
    weir_mailbox_facts facts = mailbox_facts(mailbox);
    CHECK(facts.received == 1 && facts.answered == 1 && facts.replies == 1 && facts.undelivered == WEIR_KEEP);
    CHECK(strcmp(facts.name, NAME) == 0 && facts.channel.producers_alive == 1);
    CHECK_OK(weir_sender_close(sender));
    CHECK_OK(weir_mailbox_close(back));
    CHECK_OK(weir_mailbox_close(mailbox));
    CHECK(support_entries(dir, true) == 0);
}

Test(mailbox, senders_and_owner_come_in_any_order)
{
    const char *dir = support_shm_dir();
    weir_sender *sender = sends_to(NAME, NULL);
    CHECK_STATUS(weir_sender_wait(sender, WEIR_NOWAIT), WEIR_EMPTY);
    CHECK_STATUS(weir_sender_wait(sender, WEIR_MILLISECONDS(20)), WEIR_TIMEOUT);
    post_id(sender, 1);
    weir_mailbox *mailbox = own(NAME, 0);
    CHECK_OK(weir_sender_wait(sender, WEIR_NOWAIT));
    weir_mail mail = get_id(mailbox, 1);
    CHECK(mail.from.owner == 0);
    CHECK_STATUS(answer_id(mailbox, &mail, 2), WEIR_E_STATE);
    CHECK(strstr(weir_error_detail(), "no answer") != NULL);
    CHECK_OK(weir_sender_close(sender));
    CHECK_STATUS(get_nothing(mailbox, HELP_DEADLINE), WEIR_CLOSED);
    CHECK_STATUS(get_nothing(mailbox, WEIR_NOWAIT), WEIR_EMPTY);
    CHECK_STATUS(get_nothing(mailbox, WEIR_MILLISECONDS(5)), WEIR_TIMEOUT);
    CHECK_OK(weir_mailbox_close(mailbox));
    CHECK(support_entries(dir, true) == 0);
}

static void check_mismatch(weir_status status, const char *one, const char *other)
{
    CHECK_STATUS(status, WEIR_E_MISMATCH);
    if (strstr(weir_error_detail(), one) == NULL || strstr(weir_error_detail(), other) == NULL)
        (void)fprintf(stderr, "said: %s\n", weir_error_detail());
    CHECK(strstr(weir_error_detail(), one) != NULL && strstr(weir_error_detail(), other) != NULL);
}

Test(mailbox, a_mailbox_is_no_bare_channel_and_no_channel_is_a_mailbox)
{
    const char *dir = support_shm_dir();
    weir_channel *channel;
    weir_mailbox *mailbox, *other;
    weir_sender *sender;
    for (weir_undelivered u = WEIR_KEEP; u <= WEIR_DISCARD; u++) {
        mailbox = own(NAME, u);
        FOR_EACH_KIND(k)
        for (weir_role role = WEIR_PRODUCER; role <= WEIR_CONSUMER; role++)
            check_mismatch(weir_channel_open(&channel, NAME, role, &(weir_channel_options){ .kind = k->kind }),
                           "mailbox", k->name);
        CHECK_OK(weir_mailbox_close(mailbox));
    }
    FOR_EACH_KIND(k) {
        channel = open_kind(NAME, k->kind, WEIR_CONSUMER, 0);
        check_mismatch(weir_mailbox_open(&other, NAME, NULL), "mailbox", k->name);
        check_mismatch(weir_sender_open(&sender, NAME, NULL, NULL), "mailbox", k->name);
        CHECK_OK(weir_channel_close(channel));
    }
    CHECK(support_entries(dir, true) == 0);
}

Test(mailbox, what_becomes_of_the_undelivered_is_agreed_upon)
{
    const char *dir = support_shm_dir();
    weir_mailbox *mailbox = own(NAME, WEIR_DISCARD), *other;
    weir_sender *sender;
    check_mismatch(weir_sender_open(&sender, NAME, NULL, &(weir_mailbox_options){ .undelivered = WEIR_KEEP }),
                   "kind mailbox-discard", "asked for was mailbox");
    sender = sends_to(NAME, NULL); /* states nothing */
    CHECK_OK(weir_mailbox_close(mailbox));
    check_mismatch(weir_mailbox_open(&other, NAME, &(weir_mailbox_options){ .undelivered = WEIR_KEEP }),
                   "kind mailbox-discard", "asked for was mailbox");
    mailbox = own(NAME, 0); /* takes what is there */
    CHECK(mailbox_facts(mailbox).undelivered == WEIR_DISCARD);
    CHECK_OK(weir_mailbox_close(mailbox));
    CHECK_OK(weir_sender_close(sender));
    sender = sends_to(NAME, NULL); /* and makes one that keeps */
    check_mismatch(weir_mailbox_open(&other, NAME, &(weir_mailbox_options){ .undelivered = WEIR_DISCARD }),
                   "kind mailbox", "asked for was mailbox-discard");
    CHECK_OK(weir_sender_close(sender));
    CHECK(support_entries(dir, true) == 0);
}

Test(mailbox, options_that_no_call_can_serve_are_refused)
{
    const char *dir = support_shm_dir();
    static const struct { weir_mailbox_options options; weir_status status; const char *says; } bad[] = {
        { { .undelivered = (weir_undelivered)3 }, WEIR_E_INVALID, "WEIR_DISCARD" },
        { { .message_bytes = UINT32_MAX }, WEIR_E_INVALID, "4294967295" },
        { { .senders = WEIR_MEMBERS_MAX + 1 }, WEIR_E_INVALID, "128" },
        { { .wait = (weir_wait)3 }, WEIR_E_INVALID, "wait" },
        { { .kept_bytes = WEIR_MAILBOX_KEPT_MAX + 1 }, WEIR_E_INVALID, "kept" },
        { { .capacity = WEIR_CAPACITY_MAX + 1 }, WEIR_E_INVALID, "capacity" },
    };
    weir_mailbox *mailbox = NULL;
    weir_sender *sender = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_STATUS(weir_mailbox_open(&mailbox, NAME, &bad[i].options), bad[i].status);
        CHECK(strstr(weir_error_detail(), bad[i].says) != NULL);
        if (bad[i].options.kept_bytes == 0)
            CHECK_STATUS(weir_sender_open(&sender, NAME, NULL, &bad[i].options), bad[i].status);
        CHECK(mailbox == NULL && sender == NULL);
    }
    CHECK_STATUS(weir_mailbox_open(NULL, NAME, NULL), WEIR_E_INVALID);
    CHECK_STATUS(weir_sender_open(NULL, NAME, NULL, NULL), WEIR_E_INVALID);
    CHECK_STATUS(weir_sender_open(&sender, NULL, NULL, NULL), WEIR_E_INVALID);
    CHECK_STATUS(weir_mailbox_open(&mailbox, "Local/a b", NULL), WEIR_E_NAME);
    CHECK_STATUS(weir_sender_open(&sender, "Local/a b", NULL, NULL), WEIR_E_NAME);
    CHECK_OK(weir_mailbox_close(NULL));
    CHECK_OK(weir_sender_close(NULL));
    mailbox = own(NAME, 0);
    weir_mailbox *other;
    CHECK_STATUS(weir_mailbox_open(&other, NAME, NULL), WEIR_E_IN_USE);
    CHECK_STATUS(weir_sender_open(&sender, "clock", mailbox, NULL), WEIR_E_INVALID); /* its short name */
    sender = sends_to("Local/other", mailbox);
    CHECK_STATUS(weir_mailbox_close(mailbox), WEIR_E_BUSY);
    CHECK(strstr(weir_error_detail(), "1 senders") != NULL);
    CHECK_OK(weir_sender_close(sender));
    CHECK_OK(weir_mailbox_close(mailbox));
    mailbox = NULL;
    weir_mailbox_options tick = { .senders = 2, .type = { .name = "tick", .size = 8 } };
    CHECK_OK(weir_mailbox_open(&mailbox, NAME, &tick));
    check_mismatch(weir_sender_open(&sender, NAME, NULL, &(weir_mailbox_options){ .type = { .name = "tock" } }),
                   "tick", "tock");
    weir_sender *two[2] = { sends_to(NAME, NULL), sends_to(NAME, NULL) };
    CHECK_STATUS(weir_sender_open(&sender, NAME, NULL, NULL), WEIR_E_IN_USE);
    CHECK_OK(weir_sender_close(two[0]));
    CHECK_OK(weir_sender_close(two[1]));
    CHECK_OK(weir_mailbox_close(mailbox));
    CHECK(support_entries(dir, true) == 0);
}

Test(mailbox, without_memory_there_is_no_mailbox_and_nothing_is_left)
{
    const char *dir = support_shm_dir();
    pid_t child = child_fork();
    if (child == 0) {
        weir_mailbox *mailbox = NULL;
        struct rlimit limit = { .rlim_cur = UINT64_C(1) << 29, .rlim_max = UINT64_C(1) << 29 };
        if (setrlimit(RLIMIT_AS, &limit) != 0)
            _exit(1);
        weir_mailbox_options options = { .kept_bytes = WEIR_MAILBOX_KEPT_MAX };
        weir_status status = weir_mailbox_open(&mailbox, NAME, &options);
        bool said = strstr(weir_error_detail(), "1073741824") != NULL;
        _exit(status == WEIR_E_NO_MEMORY && mailbox == NULL && said ? 0 : 1);
    }
#ifndef __SANITIZE_ADDRESS__ /* which has more address space than that */
    CHECK(support_wait(child) == 0);
#else
    (void)support_wait(child);
#endif
    CHECK(support_entries(dir, true) == 0);
}

/* ---- sizes ---- */

Test(mailbox, messages_of_every_length_up_to_the_longest_and_not_one_byte_more)
{
    (void)support_shm_dir();
    weir_mailbox *mailbox, *back = own("Local/a-name-of-its-own", 0);
    CHECK_OK(weir_mailbox_open(&mailbox, NAME, &(weir_mailbox_options){ .capacity = 4096 }));
    weir_sender *bare = sends_to(NAME, NULL), *named = sends_to(NAME, back);
    uint32_t max = mailbox_facts(mailbox).message_max, less = mail_head_bytes(23) - WEIR_MAILBOX_HEAD;
    unsigned char out[4096], in[4096];
    CHECK(max > 1900 && max < 4096 / 2);
    for (uint32_t len = 0; len <= max; len++) {
        weir_mail mail;
        weir_sender *sender = len & 1 && len <= max - less ? named : bare;
        message_fill(out, len, len + 8);
        CHECK_OK(weir_sender_send(sender, len, 0, len != 0 ? out : NULL, len, WEIR_NOWAIT));
        CHECK_OK(weir_mailbox_receive(mailbox, &mail, in, sizeof in, WEIR_NOWAIT));
        CHECK(mail.len == len && mail.type == len && memcmp(in, out, len) == 0);
        CHECK(strcmp(mail.from.name, sender == named ? "Local/a-name-of-its-own" : "") == 0);
    }
    CHECK_STATUS(weir_sender_send(bare, 0, 0, out, max + 1, WEIR_NOWAIT), WEIR_E_TOO_LARGE);
    CHECK_STATUS(weir_sender_send(named, 0, 0, out, max - less + 1, WEIR_NOWAIT), WEIR_E_TOO_LARGE);
    CHECK_STATUS(weir_sender_send(bare, 0, 0, NULL, 1, WEIR_NOWAIT), WEIR_E_INVALID);
    CHECK_STATUS(call_id(bare, 1, &(uint64_t){ 0 }, WEIR_NOWAIT), WEIR_E_STATE);
    weir_sender *wide;
    CHECK_STATUS(weir_sender_open(&wide, NAME, NULL, &(weir_mailbox_options){ .message_bytes = max + 1 }),
                 WEIR_E_TOO_LARGE);
    CHECK_OK(weir_sender_open(&wide, NAME, NULL, &(weir_mailbox_options){ .message_bytes = max }));
    CHECK_OK(weir_sender_close(wide));
    CHECK_OK(weir_sender_close(bare));
    CHECK_OK(weir_sender_close(named));
    CHECK_OK(weir_mailbox_close(back));
    CHECK_OK(weir_mailbox_close(mailbox));
}

Test(mailbox, a_message_that_the_buffer_is_too_small_for_stays_the_next)
{
    (void)support_shm_dir();
    weir_mailbox *mailbox = own(NAME, 0);
    weir_sender *sender = sends_to(NAME, NULL);
    weir_mail mail;
    char in[4];
    post_id(sender, 1);
    post_id(sender, 2);
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(weir_mailbox_receive(mailbox, &mail, in, sizeof in, WEIR_NOWAIT), WEIR_E_TOO_SMALL);
        CHECK(mail.len == 8 && mail.correlation == 1001);
    }
    (void)get_id(mailbox, 1);
    CHECK_STATUS(weir_mailbox_receive(mailbox, &mail, in, sizeof in, WEIR_NOWAIT), WEIR_E_TOO_SMALL);
    CHECK_OK(weir_mailbox_close(mailbox));
    mailbox = own(NAME, 0); /* not received: the next owner's */
    (void)get_id(mailbox, 2);
    CHECK_OK(weir_mailbox_close(mailbox));
    CHECK_OK(weir_sender_close(sender));
}

Test(mailbox, a_full_mailbox_is_full_or_waited_for)
{
    (void)support_shm_dir();
    weir_mailbox *mailbox;
    CHECK_OK(weir_mailbox_open(&mailbox, NAME, &(weir_mailbox_options){ .capacity = 4096 }));
    weir_sender *sender = sends_to(NAME, NULL), *other = sends_to(NAME, NULL);
    uint64_t count = 0, got = 0;
    while (weir_sender_send(sender, 0, 0, &count, sizeof count, WEIR_NOWAIT) == WEIR_OK)
        count++;
    CHECK(count > 40 && count < 70);
    CHECK_STATUS(weir_sender_send(sender, 0, 0, &count, sizeof count, WEIR_NOWAIT), WEIR_FULL);
    CHECK_STATUS(weir_sender_send(sender, 0, 0, &count, sizeof count, WEIR_MILLISECONDS(5)), WEIR_TIMEOUT);
    post_id(other, 9999); /* each has room of its own */
    CHECK_OK(weir_sender_cancel(sender));
    CHECK_STATUS(weir_sender_send(sender, 0, 0, &count, sizeof count, HELP_DEADLINE), WEIR_CANCELLED);
    CHECK_OK(weir_mailbox_close(mailbox));
    CHECK_STATUS(weir_sender_send(sender, 0, 0, &count, sizeof count, HELP_DEADLINE), WEIR_CLOSED);
    CHECK_STATUS(weir_sender_send(sender, 0, 0, &count, sizeof count, WEIR_MILLISECONDS(5)), WEIR_TIMEOUT);
    mailbox = own(NAME, 0);
    for (uint64_t i = 0; i <= count; i++) {
        weir_mail mail;
        uint64_t id;
        CHECK_OK(weir_mailbox_receive(mailbox, &mail, &id, sizeof id, WEIR_NOWAIT));
        CHECK(id == 9999 || id == got++);
    }
    CHECK(got == count);
    CHECK_OK(weir_mailbox_cancel(mailbox));
    CHECK_STATUS(get_nothing(mailbox, HELP_DEADLINE), WEIR_CANCELLED);
    CHECK_OK(weir_mailbox_close(mailbox));
    CHECK_OK(weir_sender_close(sender));
    CHECK_OK(weir_sender_close(other));
}

/* ---- an owner that goes ---- */

static void stand(const char *name, weir_undelivered undelivered, struct gate done)
{
    weir_mailbox *mailbox = own(name, undelivered);
    (void)mailbox;
    gate_open(done);
    for (;;)
        (void)pause();
}

static pid_t child_owns(const char *name, weir_undelivered undelivered)
{
    struct gate done = gate_make();
    pid_t child = child_fork();
    if (child == 0)
        stand(name, undelivered, done);
    gate_wait(done);
    gate_close(done);
    return child;
}

Test(mailbox, a_sender_is_told_once_that_the_owner_was_killed)
{
    (void)support_shm_dir();
    weir_sender *sender = sends_to(NAME, NULL);
    for (int round = 0; round < 3; round++) {
        pid_t child = child_owns(NAME, 0);
        CHECK_OK(weir_sender_send(sender, 0, 0, "a", 1, WEIR_NOWAIT)); /* knows it now */
        child_kill(child);
        int64_t start = help_now_ns(), told;
        weir_status status;
        while ((status = weir_sender_send(sender, 0, 0, "b", 1, WEIR_NOWAIT)) == WEIR_OK) {
            CHECK(help_now_ns() - start < HELP_DEADLINE);
            (void)usleep(500);
        }
        told = help_now_ns();
        CHECK_STATUS(status, WEIR_DIED);
        CHECK(told - start < WEIR_MILLISECONDS(50));
        for (int i = 0; i < 3; i++) {
            CHECK_OK(weir_sender_send(sender, 0, 0, "c", 1, WEIR_NOWAIT));
            (void)usleep(15000); /* long enough that it asks again */
        }
    }
    CHECK_OK(weir_sender_close(sender));
}

Test(mailbox, a_sender_is_told_once_that_the_owner_left_even_if_another_has_come)
{
    (void)support_shm_dir();
    weir_mailbox *mailbox = own(NAME, 0);
    weir_sender *sender = sends_to(NAME, NULL);
    CHECK_OK(weir_mailbox_close(mailbox));
    CHECK_STATUS(weir_sender_send(sender, 0, 0, "a", 1, WEIR_NOWAIT), WEIR_CLOSED);
    CHECK_OK(weir_sender_send(sender, 0, 0, "a", 1, WEIR_NOWAIT));
    mailbox = own(NAME, 0);
    CHECK_OK(weir_sender_send(sender, 0, 0, "b", 1, WEIR_NOWAIT));
    CHECK_OK(weir_mailbox_close(mailbox));
    mailbox = own(NAME, 0); /* at once */
    CHECK_STATUS(weir_sender_send(sender, 0, 0, "c", 1, WEIR_NOWAIT), WEIR_CLOSED);
    CHECK_OK(weir_sender_send(sender, 0, 0, "c", 1, WEIR_NOWAIT));
    CHECK_OK(weir_mailbox_close(mailbox));
    child_kill(child_owns(NAME, 0));
    mailbox = own(NAME, 0);
    CHECK_STATUS(weir_sender_send(sender, 0, 0, "d", 1, WEIR_NOWAIT), WEIR_DIED); /* or another since */
    CHECK_OK(weir_sender_send(sender, 0, 0, "d", 1, WEIR_NOWAIT));
    weir_sender *late = sends_to(NAME, NULL);
    CHECK_OK(weir_mailbox_close(mailbox));
    weir_sender *later = sends_to(NAME, NULL); /* those that were gone before are no news */
    CHECK_OK(weir_sender_send(later, 0, 0, "e", 1, WEIR_NOWAIT));
    CHECK_STATUS(weir_sender_send(late, 0, 0, "e", 1, WEIR_NOWAIT), WEIR_CLOSED);
    CHECK_OK(weir_sender_close(late));
    CHECK_OK(weir_sender_close(later));
    CHECK_OK(weir_sender_close(sender));
}

Test(mailbox, what_is_undelivered_stays_for_the_next_owner)
{
    (void)support_shm_dir();
    weir_mailbox *mailbox = own(NAME, WEIR_KEEP);
    weir_sender *sender = sends_to(NAME, NULL), *keeper = sends_to(NAME, NULL);
    post_id(sender, 1);
    post_id(sender, 2);
    post_id(sender, 3);
    (void)get_id(mailbox, 1);
    CHECK_OK(weir_mailbox_close(mailbox));
    CHECK_STATUS(weir_sender_send(sender, 0, 0, "x", 1, WEIR_NOWAIT), WEIR_CLOSED);
    post_id(sender, 4);
    child_kill(child_owns(NAME, 0));
    CHECK_OK(weir_sender_close(sender)); /* its messages do not go with a sender */
    sender = sends_to(NAME, NULL);
    post_id(sender, 5);
    mailbox = own(NAME, WEIR_KEEP);
    for (uint64_t id = 2; id <= 5; id++)
        (void)get_id(mailbox, id);
    CHECK_STATUS(get_nothing(mailbox, WEIR_NOWAIT), WEIR_EMPTY);
    CHECK(mailbox_facts(mailbox).discarded == 0);
    CHECK_OK(weir_mailbox_close(mailbox));
    CHECK_OK(weir_sender_close(keeper));
    CHECK_OK(weir_sender_close(sender));
}

Test(mailbox, what_is_undelivered_is_dropped_by_the_next_owner)
{
    (void)support_shm_dir();
    weir_sender *sender;
    CHECK_OK(weir_sender_open(&sender, NAME, NULL, &(weir_mailbox_options){ .undelivered = WEIR_DISCARD }));
    post_id(sender, 0); /* before there was any: the first one's */
    weir_mailbox *mailbox = own(NAME, WEIR_DISCARD);
    post_id(sender, 1);
    post_id(sender, 2);
    (void)get_id(mailbox, 0);
    (void)get_id(mailbox, 1);
    CHECK_OK(weir_mailbox_close(mailbox));
    CHECK_STATUS(weir_sender_send(sender, 0, 0, "x", 1, WEIR_NOWAIT), WEIR_CLOSED);
    post_id(sender, 3); /* nobody is there: the one that was, was the last to have come */
    mailbox = own(NAME, 0);
    CHECK_STATUS(get_nothing(mailbox, WEIR_NOWAIT), WEIR_EMPTY);
    post_id(sender, 4);
    (void)get_id(mailbox, 4);
    CHECK(mailbox_facts(mailbox).discarded == 2 && mailbox_facts(mailbox).received == 1);
    post_id(sender, 5);
    CHECK_OK(weir_mailbox_close(mailbox));
    child_kill(child_owns(NAME, 0));
    mailbox = own(NAME, 0);
    CHECK_STATUS(get_nothing(mailbox, WEIR_MILLISECONDS(1)), WEIR_TIMEOUT);
    CHECK(mailbox_facts(mailbox).discarded == 1);
    CHECK_OK(weir_mailbox_close(mailbox));
    CHECK_OK(weir_sender_close(sender));
}

Test(mailbox, what_was_sent_before_there_was_an_owner_is_the_first_ones_alone)
{
    (void)support_shm_dir();
    weir_sender *sender;
    CHECK_OK(weir_sender_open(&sender, NAME, NULL, &(weir_mailbox_options){ .undelivered = WEIR_DISCARD }));
    post_id(sender, 0);
    child_kill(child_owns(NAME, WEIR_DISCARD)); /* who had it, and received nothing */
    weir_mailbox *mailbox = own(NAME, 0);
    CHECK_STATUS(get_nothing(mailbox, WEIR_NOWAIT), WEIR_EMPTY);
    CHECK(mailbox_facts(mailbox).discarded == 1);
    CHECK_OK(weir_mailbox_close(mailbox));
    CHECK_OK(weir_sender_close(sender));
}

/* ---- replies ---- */

Test(mailbox, a_reply_to_who_is_gone_is_a_status_and_nobody_elses_loss)
{
    const char *dir = support_shm_dir();
    weir_mailbox *mailbox = own(NAME, 0), *back[3];
    weir_sender *sender[3];
    weir_mail mail[3];
    for (uint64_t i = 0; i < 3; i++) {
        back[i] = own(i == 1 ? "Local/named" : NULL, 0);
        sender[i] = sends_to(NAME, back[i]);
        post_id(sender[i], i);
        mail[i] = get_id(mailbox, i);
    }
    CHECK_OK(answer_id(mailbox, &mail[0], 10)); /* one that is open already, and one that never was */
    for (uint64_t i = 0; i < 2; i++) {
        CHECK_OK(weir_sender_close(sender[i]));
        CHECK_OK(weir_mailbox_close(back[i]));
        CHECK_STATUS(answer_id(mailbox, &mail[i], 11), WEIR_CLOSED);
        CHECK_STATUS(answer_id(mailbox, &mail[i], 11), WEIR_CLOSED);
    }
    CHECK(support_entries(dir, false) == 3); /* the folder and two mailboxes: no reply has made one */
    back[1] = own("Local/named", 0); /* of that name again, and another */
    CHECK_STATUS(answer_id(mailbox, &mail[1], 11), WEIR_CLOSED);
    CHECK_STATUS(get_nothing(back[1], WEIR_NOWAIT), WEIR_CLOSED); /* somebody came, looked and left */
    CHECK_STATUS(get_nothing(back[1], WEIR_NOWAIT), WEIR_EMPTY);
    weir_sender *keeper = sends_to("Local/named", NULL);
    sender[1] = sends_to(NAME, back[1]);
    post_id(sender[1], 1);
    mail[1] = get_id(mailbox, 1);
    CHECK_OK(answer_id(mailbox, &mail[1], 12));
    CHECK_OK(weir_sender_close(sender[1]));
    CHECK_OK(weir_mailbox_close(back[1]));
    CHECK_STATUS(answer_id(mailbox, &mail[1], 13), WEIR_CLOSED);
    back[1] = own("Local/named", 0); /* its successor: 12 was not for it */
    CHECK_STATUS(get_nothing(back[1], WEIR_MILLISECONDS(1)), WEIR_TIMEOUT);
    CHECK(mailbox_facts(back[1]).late == 1);
    CHECK_STATUS(answer_id(mailbox, &mail[1], 14), WEIR_CLOSED);
    CHECK_OK(answer_id(mailbox, &mail[2], 22));
    (void)get_id(back[2], 22);
    CHECK_OK(weir_sender_close(keeper));
    CHECK_OK(weir_mailbox_close(back[1]));
    CHECK_OK(weir_sender_close(sender[2]));
    CHECK_OK(weir_mailbox_close(back[2]));
    CHECK_OK(weir_mailbox_close(mailbox));
    CHECK(support_entries(dir, true) == 0);
}

Test(mailbox, a_reply_to_a_killed_sender_is_died)
{
    const char *dir = support_shm_dir();
    weir_mailbox *mailbox = own(NAME, 0);
    for (int open_before = 0; open_before < 2; open_before++) {
        pid_t child = child_fork();
        if (child == 0) {
            weir_sender *sender = sends_to(NAME, own(NULL, 0));
            post_id(sender, 1);
            for (;;)
                (void)pause();
        }
        weir_mail mail = get_id(mailbox, 1);
        if (open_before)
            CHECK_OK(answer_id(mailbox, &mail, 2));
        child_kill(child);
        (void)usleep(12000); /* it asks the kernel every 10 ms */
        CHECK_STATUS(answer_id(mailbox, &mail, 3), open_before ? WEIR_DIED : WEIR_CLOSED);
        CHECK(mailbox_facts(mailbox).replies == 0);
        CHECK_STATUS(get_nothing(mailbox, HELP_DEADLINE), WEIR_DIED);
    }
    CHECK_OK(weir_mailbox_close(mailbox));
    (void)weir_section_remove(NAME);
    CHECK(support_entries(dir, true) == 0);
}

/* Users of a group share mailboxes by mode: what the owner accepts for its own it accepts for those it answers to. */
Test(mailbox, an_owner_answers_into_mailboxes_of_the_mode_that_it_stated)
{
    (void)support_shm_dir();
    for (int stated = 0; stated < 2; stated++) {
        weir_mailbox_options shared = { .mode = 0660 };
        weir_mailbox *mailbox, *back;
        CHECK_OK(weir_mailbox_open(&mailbox, NAME, stated ? &shared : NULL));
        CHECK_OK(weir_mailbox_open(&back, "Local/back", &shared));
        weir_sender *sender;
        CHECK_OK(weir_sender_open(&sender, NAME, back, &shared));
        post_id(sender, 1);
        weir_mail mail = get_id(mailbox, 1);
        CHECK_STATUS(answer_id(mailbox, &mail, 2), stated ? WEIR_OK : WEIR_E_PERMISSION);
        if (stated)
            (void)get_id(back, 2);
        CHECK_OK(weir_sender_close(sender));
        CHECK_OK(weir_mailbox_close(back));
        CHECK_OK(weir_mailbox_close(mailbox));
    }
}

Test(mailbox, a_reply_into_a_full_mailbox_waits_as_long_as_it_may)
{
    (void)support_shm_dir();
    weir_mailbox *mailbox = own(NAME, 0), *back;
    CHECK_OK(weir_mailbox_open(&back, NULL, &(weir_mailbox_options){ .capacity = 4096 }));
    weir_sender *sender = sends_to(NAME, back);
    static const unsigned char big[4096];
    post_id(sender, 1);
    weir_mail mail = get_id(mailbox, 1);
    CHECK_STATUS(weir_mailbox_reply(mailbox, &mail, 0, big, sizeof big, 0), WEIR_E_TOO_LARGE);
    CHECK_STATUS(weir_mailbox_reply(mailbox, &mail, 0, NULL, 1, 0), WEIR_E_INVALID);
    while (weir_mailbox_reply(mailbox, &mail, 0, big, 100, WEIR_NOWAIT) == WEIR_OK)
        continue;
    CHECK_STATUS(weir_mailbox_reply(mailbox, &mail, 0, big, 100, WEIR_NOWAIT), WEIR_FULL);
    CHECK_STATUS(weir_mailbox_reply(mailbox, &mail, 0, big, 100, WEIR_MILLISECONDS(3)), WEIR_TIMEOUT);
    CHECK_OK(weir_sender_close(sender));
    CHECK_OK(weir_mailbox_close(back));
    CHECK_STATUS(weir_mailbox_reply(mailbox, &mail, 0, big, 100, HELP_DEADLINE), WEIR_CLOSED);
    CHECK_OK(weir_mailbox_close(mailbox));
}

Test(mailbox, more_senders_than_are_held_open_get_their_answers)
{
    const char *dir = support_shm_dir();
    enum { COUNT = WEIR_MAILBOX_REPLIES + 8 };
    weir_mailbox *mailbox, *back[COUNT];
    weir_sender *sender[COUNT];
    CHECK_OK(weir_mailbox_open(&mailbox, NAME, &(weir_mailbox_options){ .senders = COUNT, .capacity = 4096 }));
    for (uint64_t i = 0; i < COUNT; i++) {
        CHECK_OK(weir_mailbox_open(&back[i], NULL, &(weir_mailbox_options){ .senders = 1, .capacity = 4096 }));
        CHECK_OK(weir_sender_open(&sender[i], NAME, back[i], NULL));
    }
    for (uint64_t round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < COUNT; i++)
            post_id(sender[i], i);
        for (uint64_t i = 0; i < COUNT; i++) {
            weir_mail mail;
            uint64_t id;
            CHECK_OK(weir_mailbox_receive(mailbox, &mail, &id, sizeof id, HELP_DEADLINE));
            CHECK_OK(answer_id(mailbox, &mail, id + 100));
        }
        for (uint64_t i = 0; i < COUNT; i++)
            (void)get_id(back[i], i + 100);
    }
    CHECK(mailbox_facts(mailbox).replies == WEIR_MAILBOX_REPLIES);
    for (uint64_t i = 0; i < COUNT; i++) {
        CHECK_OK(weir_sender_close(sender[i]));
        if (i != COUNT - 1)
            CHECK_OK(weir_mailbox_close(back[i]));
    }
    (void)usleep(110000); /* those that are gone are let go every 100 ms */
    sender[0] = sends_to(NAME, back[COUNT - 1]);
    post_id(sender[0], 1);
    weir_mail mail = get_id(mailbox, 1);
    CHECK_OK(answer_id(mailbox, &mail, 2));
    CHECK(mailbox_facts(mailbox).replies == 1);
    CHECK_OK(weir_sender_close(sender[0]));
    CHECK_OK(weir_mailbox_close(back[COUNT - 1]));
    CHECK_OK(weir_mailbox_close(mailbox));
    CHECK(support_entries(dir, true) == 0);
}

/* ---- waiting for a name ---- */

Test(mailbox, a_name_is_waited_for_until_its_owner_comes_and_no_longer_than_given)
{
    (void)support_shm_dir();
    weir_sender *sender = sends_to(NAME, NULL);
    int64_t start = help_now_ns();
    CHECK_STATUS(weir_sender_wait(sender, WEIR_MILLISECONDS(200)), WEIR_TIMEOUT);
    int64_t took = help_now_ns() - start;
    CHECK(took >= WEIR_MILLISECONDS(200) && took < WEIR_MILLISECONDS(1000));
    struct gate go = gate_make();
    pid_t child = child_fork();
    if (child == 0) {
        gate_wait(go);
        (void)usleep(50000);
        weir_mailbox *mailbox = own(NAME, 0);
        serve(mailbox);
        _exit(0);
    }
    gate_open(go);
    start = help_now_ns();
    CHECK_OK(weir_sender_wait(sender, WEIR_MILLISECONDS(2000)));
    took = help_now_ns() - start;
    CHECK(took >= WEIR_MILLISECONDS(30) && took < WEIR_MILLISECONDS(2000));
    child_kill(child);
    CHECK_STATUS(weir_sender_wait(sender, WEIR_MILLISECONDS(30)), WEIR_TIMEOUT); /* a killed one is not there */
    CHECK_OK(weir_sender_cancel(sender));
    CHECK_STATUS(weir_sender_wait(sender, HELP_DEADLINE), WEIR_CANCELLED);
    CHECK_OK(weir_sender_close(sender));
    gate_close(go);
}

Test(mailbox, an_observer_sees_what_was_released_of_a_senders_lane)
{
    (void)support_shm_dir();
    for (int undelivered = WEIR_KEEP; undelivered <= WEIR_DISCARD; undelivered++) {
        weir_mailbox *mailbox = own("Local/seen", (weir_undelivered)undelivered);
        weir_sender *sender = sends_to("Local/seen", NULL);
        weir_observer *observer;
        weir_member members[2];
        uint32_t count = 0;
        post_id(sender, 1);
        (void)get_id(mailbox, 1);
        CHECK_OK(weir_observer_open(&observer, "Local/seen", NULL));
        CHECK_OK(weir_observer_members(observer, members, 2, &count));
        CHECK(count == 2 && members[0].role == WEIR_PRODUCER && members[0].held.messages == 1);
        CHECK(members[0].position_is == WEIR_POSITION_RELEASED && members[0].position >= WEIR_MAILBOX_HEAD + 8);
        CHECK_OK(weir_observer_close(observer));
        CHECK_OK(weir_sender_close(sender));
        CHECK_OK(weir_mailbox_close(mailbox));
    }
}
