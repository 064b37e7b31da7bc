/* Mailboxes: an owner is killed before and behind each of its system calls of opening, receiving, answering and leaving;
 * so is a sender, of opening its own mailbox, calling and leaving.  What the owner had not received comes to its
 * successor; a sender's death is nobody else's loss. */
#include <criterion/criterion.h>

#include "mailbox_help.h"
#include "naming/faults.h"

#define NAME "Local/kills"
#define MESSAGES 3

static void life_of_an_owner(weir_undelivered undelivered)
{
    weir_mailbox *mailbox = own(NAME, undelivered);
    for (uint64_t id = 0; id < MESSAGES; id++) {
        weir_mail mail = get_id(mailbox, id);
        CHECK_OK(answer_id(mailbox, &mail, id));
    }
    CHECK_STATUS(get_nothing(mailbox, WEIR_NOWAIT), WEIR_EMPTY); /* asks who is there */
    CHECK_OK(weir_mailbox_close(mailbox));
}

static void life_of_a_sender(void)
{
    weir_mailbox *back = own(NULL, 0);
    weir_sender *sender = sends_to(NAME, back);
    for (uint64_t id = 0; id < MESSAGES; id++) {
        uint64_t answer = 0;
        CHECK_OK(call_id(sender, id, &answer, HELP_DEADLINE));
        CHECK(answer == id + 1);
    }
    CHECK_OK(weir_sender_close(sender));
    CHECK_OK(weir_mailbox_close(back));
}

/* True: it was killed. */
static bool try_life(bool owns, weir_undelivered undelivered, long at, bool after)
{
    pid_t child = child_fork();
    if (child == 0) {
        arm_kill(at, after);
        if (owns)
            life_of_an_owner(undelivered);
        else
            life_of_a_sender();
        disarm();
        _exit(0);
    }
    int status = support_wait(child);
    CHECK(status == 0 || status == -SIGKILL);
    return status != 0;
}

/* How many were answered, in order. */
static uint64_t answers(weir_mailbox *back)
{
    weir_mail mail;
    uint64_t got, count = 0;
    while (weir_mailbox_receive(back, &mail, &got, sizeof got, WEIR_NOWAIT) == WEIR_OK) {
        CHECK(mail.answer && got == count && mail.correlation == 1000 + count);
        count++;
    }
    return count;
}

/* The successor gets what the killed one had not received: the one that it had received last may be unanswered. */
static void follow(weir_undelivered undelivered, weir_sender *sender, weir_mailbox *back, bool killed)
{
    uint64_t answered = answers(back), got, first = MESSAGES, next = 0;
    weir_mail mail;
    weir_mailbox *mailbox = own(NAME, undelivered);
    bool announced = mailbox_facts(mailbox).channel.consumer.generation != 1;
    while (weir_mailbox_receive(mailbox, &mail, &got, sizeof got, WEIR_NOWAIT) == WEIR_OK) {
        CHECK(first == MESSAGES || got == next);
        first = first == MESSAGES ? got : first;
        next = got + 1;
    }
    CHECK(killed || (answered == MESSAGES && first == MESSAGES));
    if (undelivered == WEIR_KEEP)
        CHECK(answered <= first && first <= answered + 1 && (first == MESSAGES || next == MESSAGES));
    else /* all, by the first owner there is; or nothing */
        CHECK(announced ? first == MESSAGES : first == 0 && next == MESSAGES);
    weir_status status = weir_sender_send(sender, 0, 0, &got, sizeof got, WEIR_NOWAIT); /* of one that it knew: none */
    CHECK_OK(status);
    CHECK_OK(weir_mailbox_receive(mailbox, &mail, &got, sizeof got, WEIR_NOWAIT));
    CHECK_OK(answer_id(mailbox, &mail, 9));
    (void)get_id(back, 9);
    CHECK_OK(weir_mailbox_close(mailbox));
}

Test(mailbox_kills, an_owner_killed_at_each_of_its_system_calls, .timeout = 200)
{
    const char *dir = prepare();
    uint64_t lives = 0, step = 100 / support_count(100);
    for (int variant = 0; variant < 4; variant++) {
        weir_undelivered undelivered = variant % 2 != 0 ? WEIR_DISCARD : WEIR_KEEP;
        for (long at = 1;; at += (long)step) {
            weir_mailbox *back = own(NULL, 0);
            weir_sender *sender;
            CHECK_OK(weir_sender_open(&sender, NAME, back, &(weir_mailbox_options){ .undelivered = undelivered }));
            for (uint64_t id = 0; id < MESSAGES; id++)
                post_id(sender, id);
            bool killed = try_life(true, undelivered, at, variant / 2 != 0);
            lives++;
            follow(undelivered, sender, back, killed);
            CHECK_OK(weir_sender_close(sender));
            CHECK_OK(weir_mailbox_close(back));
            CHECK(support_entries(dir, true) == 0);
            if (!killed)
                break;
            CHECK(at < 1000);
        }
    }
    CHECK(lives > 4 * 30 / step);
}

Test(mailbox_kills, a_sender_killed_at_each_of_its_system_calls, .timeout = 200)
{
    const char *dir = prepare();
    uint64_t lives = 0, step = 100 / support_count(100);
    pid_t server = child_serves(NAME, 0);
    weir_mailbox *back = own(NULL, 0);
    weir_sender *sender = sends_to(NAME, back);
    for (int after = 0; after < 2; after++) {
        bool killed = true;
        for (long at = 1; killed; at += (long)step) {
            uint64_t answer = 0;
            killed = try_life(false, 0, at, after != 0);
            lives++;
            CHECK_OK(call_id(sender, lives, &answer, HELP_DEADLINE));
            CHECK(answer == lives + 1);
            CHECK(at < 1000);
        }
    }
    CHECK(lives > 2 * 30 / step);
    CHECK_OK(weir_sender_close(sender));
    CHECK_OK(weir_mailbox_close(back));
    CHECK(support_wait(server) == 0);
    CHECK_OK(weir_mailbox_close(own(NULL, 0))); /* takes away what the killed left */
    CHECK(support_entries(dir, true) == 0);
}
