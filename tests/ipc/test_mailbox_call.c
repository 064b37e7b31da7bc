/* Mailboxes: calls, their deadlines and ends, what comes meanwhile; forks and signals; heads that no weir writes. */
#include <criterion/criterion.h>

#include "endless_sleep.h"
#include "mailbox_help.h"

#include <pthread.h>

#define NAME "Local/clock"

Test(mailbox_call, a_call_gets_its_answer)
{
    const char *dir = support_shm_dir();
    pid_t child = child_serves(NAME, 0);
    weir_mailbox *back = own(NULL, 0);
    weir_sender *sender = sends_to(NAME, back);
    for (uint64_t id = 1; id <= support_count(20000); id++) {
        uint64_t answer = 0;
        CHECK_OK(call_id(sender, id, &answer, HELP_DEADLINE));
        CHECK(answer == id + 1);
    }
    weir_mail mail;
    uint64_t id = 5, answer = 0;
    CHECK_OK(weir_sender_call(sender, 3, &id, sizeof id, &mail, &answer, sizeof answer, HELP_DEADLINE));
    CHECK(mail.answer && mail.type == 8 && mail.len == 8 && mail.from.owner == 0 && answer == 6);
    /* One that is too long for the buffer is a message to receive. */
    CHECK_STATUS(weir_sender_call(sender, 3, &id, sizeof id, &mail, &answer, 4, HELP_DEADLINE), WEIR_E_TOO_SMALL);
    CHECK(mail.len == 8 && mail.answer);
    CHECK_OK(call_id(sender, 7, &answer, HELP_DEADLINE));
    CHECK(answer == 8);
    CHECK(get_id(back, 6).correlation == mail.correlation);
    CHECK_OK(weir_sender_close(sender));
    CHECK_OK(weir_mailbox_close(back));
    CHECK(support_wait(child) == 0);
    CHECK(support_entries(dir, true) == 0);
}

Test(mailbox_call, a_call_ends_at_its_deadline_and_a_late_answer_is_dropped)
{
    (void)support_shm_dir();
    weir_mailbox *mailbox = own(NAME, 0), *back = own(NULL, 0);
    weir_sender *sender = sends_to(NAME, back);
    uint64_t answer = 77;
    int64_t start = help_now_ns();
    CHECK_STATUS(call_id(sender, 1, &answer, WEIR_MILLISECONDS(120)), WEIR_TIMEOUT);
    int64_t took = help_now_ns() - start;
    CHECK(took >= WEIR_MILLISECONDS(120) && took < WEIR_MILLISECONDS(1000));
    CHECK_STATUS(call_id(sender, 2, &answer, weir_until(weir_now() - 1)), WEIR_TIMEOUT);
    CHECK_STATUS(call_id(sender, 3, &answer, WEIR_NOWAIT), WEIR_TIMEOUT);
    CHECK(answer == 77);
    for (uint64_t id = 1; id <= 3; id++) {
        weir_mail mail = get_id(mailbox, id);
        CHECK(mail.from.call != 0);
        CHECK_OK(answer_id(mailbox, &mail, 100 + id));
    }
    CHECK_STATUS(get_nothing(back, WEIR_NOWAIT), WEIR_EMPTY);
    CHECK(mailbox_facts(back).late == 3 && mailbox_facts(back).received == 0);
    /* And is not taken for the next call's. */
    CHECK_STATUS(call_id(sender, 4, &answer, WEIR_NOWAIT), WEIR_TIMEOUT);
    weir_mail mail = get_id(mailbox, 4);
    CHECK_OK(answer_id(mailbox, &mail, 104));
    CHECK_STATUS(call_id(sender, 5, &answer, WEIR_MILLISECONDS(5)), WEIR_TIMEOUT);
    CHECK(mailbox_facts(back).late == 4 && answer == 77);
    CHECK_OK(weir_sender_close(sender));
    CHECK_OK(weir_mailbox_close(back));
    CHECK_OK(weir_mailbox_close(mailbox));
}

Test(mailbox_call, a_call_waits_for_an_owner_first)
{
    (void)support_shm_dir();
    weir_mailbox *back = own(NULL, 0);
    weir_sender *sender = sends_to(NAME, back);
    uint64_t answer = 0;
    CHECK_STATUS(call_id(sender, 1, &answer, WEIR_MILLISECONDS(30)), WEIR_TIMEOUT); /* and has sent nothing */
    CHECK_STATUS(call_id(sender, 1, &answer, WEIR_NOWAIT), WEIR_TIMEOUT);
    pid_t child = child_fork();
    if (child == 0) {
        (void)usleep(30000);
        serve(own(NAME, 0));
        _exit(0);
    }
    CHECK_OK(call_id(sender, 2, &answer, HELP_DEADLINE));
    CHECK(answer == 3);
    CHECK_OK(weir_sender_cancel(sender)); /* not of this wait */
    CHECK_OK(weir_mailbox_cancel(back));
    CHECK_STATUS(call_id(sender, SILENT, &answer, HELP_DEADLINE), WEIR_CANCELLED);
    child_kill(child);
    CHECK_STATUS(call_id(sender, 4, &answer, HELP_DEADLINE), WEIR_DIED);
    CHECK_STATUS(call_id(sender, 4, &answer, HELP_DEADLINE), WEIR_CANCELLED); /* of this one */
    CHECK_OK(weir_sender_close(sender));
    CHECK_OK(weir_mailbox_close(back));
}

/* Another owner, at once. */
static void follow(void)
{
    weir_mailbox *mailbox;
    weir_status status;
    while ((status = weir_mailbox_open(&mailbox, NAME, NULL)) == WEIR_E_IN_USE)
        (void)usleep(100);
    CHECK_OK(status);
    for (;;)
        (void)pause();
}

/* How long after the kill a caller was told. */
static int64_t told_after(weir_undelivered undelivered, weir_wait wait, bool followed)
{
    weir_mailbox *back;
    CHECK_OK(weir_mailbox_open(&back, NULL, &(weir_mailbox_options){ .wait = wait }));
    pid_t child = child_serves(NAME, undelivered);
    weir_sender *sender = sends_to(NAME, back);
    uint64_t answer;
    int64_t *killed = share_pages(4096);
    CHECK_OK(call_id(sender, 1, &answer, HELP_DEADLINE)); /* it answers */
    pid_t killer = child_fork();
    if (killer == 0) {
        (void)usleep(200000);
        *killed = help_now_ns();
        CHECK(kill(child, SIGKILL) == 0);
        if (followed)
            follow();
        _exit(0);
    }
    weir_status status = call_id(sender, SILENT, &answer, HELP_DEADLINE);
    int64_t took = help_now_ns() - *killed;
    CHECK_STATUS(status, WEIR_DIED);
    CHECK(support_wait(child) == -SIGKILL);
    CHECK_OK(weir_sender_send(sender, 0, 0, "a", 1, WEIR_NOWAIT)); /* it was told */
    if (followed)
        child_kill(killer);
    else
        CHECK(support_wait(killer) == 0);
    CHECK_OK(weir_sender_close(sender));
    CHECK_OK(weir_mailbox_close(back));
    CHECK(munmap(killed, 4096) == 0);
    return took;
}

/* Of some, one: the machine has others to run. */
static void check_told(weir_undelivered undelivered, weir_wait wait, bool followed)
{
    (void)support_shm_dir();
    int64_t least = INT64_MAX;
    for (int i = 0; i < 4 && least > WEIR_MILLISECONDS(50); i++) {
        int64_t took = told_after(undelivered, wait, followed);
        least = took < least ? took : least;
    }
    if (least > WEIR_MILLISECONDS(50))
        (void)fprintf(stderr, "told after %lld us\n", (long long)least / 1000);
    CHECK(least <= WEIR_MILLISECONDS(50));
}

Test(mailbox_call, a_caller_is_told_within_50_ms_that_the_owner_was_killed)
{
    check_told(WEIR_KEEP, WEIR_WAIT_SPIN_SLEEP, false);
}

Test(mailbox_call, a_caller_that_spins_is_told_too)
{
    check_told(WEIR_KEEP, WEIR_WAIT_SPIN, false);
}

Test(mailbox_call, a_caller_is_told_though_another_owner_has_come)
{
    check_told(WEIR_DISCARD, WEIR_WAIT_SLEEP, true);
}

Test(mailbox_call, a_caller_is_told_that_the_owner_left)
{
    (void)support_shm_dir();
    weir_mailbox *back = own(NULL, 0);
    pid_t child = child_fork();
    if (child == 0) {
        weir_mailbox *mailbox = own(NAME, 0);
        (void)get_id(mailbox, 1);
        CHECK_OK(weir_mailbox_close(mailbox));
        _exit(0);
    }
    weir_sender *sender = sends_to(NAME, back);
    uint64_t answer;
    CHECK_STATUS(call_id(sender, 1, &answer, HELP_DEADLINE), WEIR_CLOSED);
    CHECK(support_wait(child) == 0);
    CHECK_OK(weir_sender_send(sender, 0, 0, "a", 1, WEIR_NOWAIT));
    CHECK_OK(weir_sender_close(sender));
    CHECK_OK(weir_mailbox_close(back));
}

/* An owner that hears of a call, waits until the caller sleeps, and goes. */
static pid_t child_goes(const weir_atomic_u64 *sleeps, bool killed)
{
    pid_t child = child_fork();
    if (child != 0)
        return child;
    weir_mailbox *mailbox = own(NAME, 0);
    (void)get_id(mailbox, 1);
    int64_t deadline = help_now_ns() + HELP_DEADLINE;
    while (!endless_is_asleep(sleeps, 0)) {
        CHECK(help_now_ns() < deadline);
        (void)usleep(1000);
    }
    if (killed)
        (void)raise(SIGKILL);
    CHECK_OK(weir_mailbox_close(mailbox));
    _exit(0);
}

Test(mailbox_call, a_sleeping_caller_is_woken_by_the_owners_end_and_by_nothing_else)
{
    (void)support_shm_dir();
    for (int killed = 0; killed < 2; killed++) {
        weir_mailbox *back;
        CHECK_OK(weir_mailbox_open(&back, NULL, &(weir_mailbox_options){ .wait = WEIR_WAIT_SLEEP }));
        weir_sender *sender = sends_to(NAME, back);
        weir_atomic_u64 *sleeps = share_pages(4096);
        pid_t child = child_goes(sleeps, killed != 0);
        CHECK_OK(weir_sender_wait(sender, HELP_DEADLINE));
        endless_sleeps = sleeps;
        uint64_t answer;
        CHECK_STATUS(call_id(sender, 1, &answer, WEIR_FOREVER), killed != 0 ? WEIR_DIED : WEIR_CLOSED);
        endless_sleeps = NULL;
        (void)printf("a call slept %llu times\n", (unsigned long long)weir_load_acq(sleeps) / 2);
        CHECK(support_wait(child) == (killed != 0 ? -SIGKILL : 0));
        CHECK_OK(weir_sender_close(sender));
        CHECK_OK(weir_mailbox_close(back));
        CHECK(munmap(sleeps, 4096) == 0);
    }
}

/* ---- what comes meanwhile ---- */

/* An owner that does what the message says before it answers: sends so many to "Local/busy". */
static pid_t child_chats(void)
{
    struct gate there = gate_make();
    pid_t child = child_fork();
    if (child == 0) {
        weir_mailbox *mailbox = own(NAME, 0);
        weir_sender *other = sends_to("Local/busy", NULL);
        gate_open(there);
        uint64_t sent = 0, got;
        weir_mail mail;
        while (weir_mailbox_receive(mailbox, &mail, &got, sizeof got, WEIR_FOREVER) == WEIR_OK) {
            for (uint64_t i = 0; i < got; i++)
                post_id(other, sent++);
            weir_status status = answer_id(mailbox, &mail, got);
            CHECK(status == WEIR_OK || status == WEIR_CLOSED);
        }
        CHECK_OK(weir_sender_close(other));
        CHECK_OK(weir_mailbox_close(mailbox));
        _exit(0);
    }
    gate_wait(there);
    gate_close(there);
    return child;
}

Test(mailbox_call, what_comes_during_a_call_is_kept_in_order)
{
    const char *dir = support_shm_dir();
    weir_mailbox *busy = own("Local/busy", 0);
    pid_t child = child_chats();
    weir_sender *sender = sends_to(NAME, busy);
    uint64_t answer, next = 0, sent = 0;
    weir_mail mail;
    for (uint64_t round = 0; round < 50; round++) {
        CHECK_OK(call_id(sender, round % 7, &answer, HELP_DEADLINE));
        sent += round % 7;
        CHECK(mailbox_facts(busy).kept <= sent - next);
        for (uint64_t i = 0; i < round % 5 && next < sent; i++) { /* some of it */
            char small[2];
            CHECK_STATUS(weir_mailbox_receive(busy, &mail, small, sizeof small, HELP_DEADLINE), WEIR_E_TOO_SMALL);
            CHECK(get_id(busy, next).correlation == 1000 + next);
            next++;
        }
    }
    while (next < sent)
        (void)get_id(busy, next++);
    CHECK_STATUS(get_nothing(busy, WEIR_NOWAIT), WEIR_EMPTY);
    CHECK(mailbox_facts(busy).kept == 0 && mailbox_facts(busy).received == sent + 50);
    CHECK_OK(weir_sender_close(sender));
    CHECK(support_wait(child) == 0);
    CHECK_OK(weir_mailbox_close(busy));
    CHECK(support_entries(dir, true) == 0);
}

Test(mailbox_call, what_comes_during_a_call_may_fill_its_room_and_nothing_is_lost)
{
    (void)support_shm_dir();
    weir_mailbox *busy, *mailbox = own(NAME, 0);
    CHECK_OK(weir_mailbox_open(&busy, NULL, &(weir_mailbox_options){ .kept_bytes = 1000 }));
    weir_mailbox_facts facts = mailbox_facts(busy);
    weir_sender *sender = sends_to(NAME, busy), *other = sends_to(facts.name, NULL);
    uint64_t answer = 77;
    for (uint64_t id = 0; id < 10; id++)
        post_id(other, id);
    CHECK_STATUS(call_id(sender, 1, &answer, HELP_DEADLINE), WEIR_FULL);
    CHECK(mailbox_facts(busy).kept == 1000 / (sizeof(weir_mail) + 8) + 1);
    CHECK_STATUS(call_id(sender, 2, &answer, HELP_DEADLINE), WEIR_FULL); /* which has sent nothing */
    weir_mail mail = get_id(mailbox, 1);
    CHECK_STATUS(get_nothing(mailbox, WEIR_NOWAIT), WEIR_EMPTY);
    CHECK_OK(answer_id(mailbox, &mail, 101));
    for (uint64_t id = 0; id < 10; id++)
        CHECK(get_id(busy, id).correlation == 1000 + id);
    CHECK_STATUS(get_nothing(busy, WEIR_NOWAIT), WEIR_EMPTY);
    CHECK(mailbox_facts(busy).late == 1 && answer == 77);
    CHECK_OK(weir_sender_close(sender));
    CHECK_OK(weir_sender_close(other));
    CHECK_OK(weir_mailbox_close(mailbox));
    CHECK_OK(weir_mailbox_close(busy));
}

Test(mailbox_call, the_end_of_others_that_a_call_has_seen_is_told_by_receive)
{
    (void)support_shm_dir();
    weir_mailbox *busy = own("Local/busy", 0);
    weir_mailbox *mailbox = own(NAME, 0);
    weir_sender *sender = sends_to(NAME, busy), *other = sends_to("Local/busy", NULL);
    uint64_t answer;
    post_id(other, 5);
    CHECK_OK(weir_sender_close(other));
    CHECK_STATUS(call_id(sender, 1, &answer, WEIR_MILLISECONDS(5)), WEIR_TIMEOUT);
    (void)get_id(busy, 5);
    CHECK_STATUS(get_nothing(busy, HELP_DEADLINE), WEIR_CLOSED);
    CHECK_STATUS(get_nothing(busy, WEIR_MILLISECONDS(1)), WEIR_TIMEOUT);
    CHECK_OK(weir_sender_close(sender));
    CHECK_OK(weir_mailbox_close(mailbox));
    CHECK_OK(weir_mailbox_close(busy));
}

Test(mailbox_call, what_was_kept_and_not_received_is_the_next_owners)
{
    (void)support_shm_dir();
    weir_sender *keeper = sends_to("Local/busy", NULL);
    struct gate called = gate_make();
    pid_t child = child_fork();
    if (child == 0) {
        weir_mailbox *busy = own("Local/busy", 0), *mailbox = own(NAME, 0);
        weir_sender *sender = sends_to(NAME, busy), *other = sends_to("Local/busy", NULL);
        uint64_t answer;
        for (uint64_t id = 0; id < 5; id++)
            post_id(other, id);
        CHECK_STATUS(call_id(sender, 5, &answer, WEIR_MILLISECONDS(1)), WEIR_TIMEOUT); /* and has kept them */
        CHECK(mailbox_facts(busy).kept == 5);
        weir_mail mail = get_id(mailbox, 5);
        CHECK_OK(answer_id(mailbox, &mail, 6)); /* for this owner, not for its successor */
        (void)get_id(busy, 0);
        (void)get_id(busy, 1);
        gate_open(called);
        for (;;)
            (void)pause();
    }
    gate_wait(called);
    child_kill(child);
    weir_mailbox *busy = own("Local/busy", 0);
    for (uint64_t id = 0; id < 5; id++) /* 0 and 1 again: they were not released before the rest */
        (void)get_id(busy, id);
    CHECK_STATUS(get_nothing(busy, WEIR_NOWAIT), WEIR_EMPTY);
    CHECK(mailbox_facts(busy).late == 1);
    CHECK_OK(weir_mailbox_close(busy));
    CHECK_OK(weir_sender_close(keeper));
    gate_close(called);
}

/* ---- several ---- */

#define CALLERS 6

static void *caller(void *arg)
{
    uint64_t base = *(uint64_t *)arg << 32, answer;
    weir_mailbox *back = own(NULL, 0);
    weir_sender *sender = sends_to(NAME, back);
    for (uint64_t i = 0; i < support_count(3000); i++) {
        CHECK_OK(call_id(sender, (base | i) & 0xfffeffff, &answer, HELP_DEADLINE));
        CHECK(answer == ((base | i) & 0xfffeffff) + 1);
    }
    CHECK_OK(weir_sender_close(sender));
    CHECK(mailbox_facts(back).late == 0);
    CHECK_OK(weir_mailbox_close(back));
    return NULL;
}

Test(mailbox_call, several_callers_at_once_get_their_own_answers)
{
    const char *dir = support_shm_dir();
    weir_sender *keeper = sends_to(NAME, NULL);
    pid_t child = child_serves(NAME, 0);
    pthread_t threads[CALLERS];
    uint64_t number[CALLERS];
    for (uint64_t i = 0; i < CALLERS; i++) {
        number[i] = i;
        CHECK(pthread_create(&threads[i], NULL, caller, &number[i]) == 0);
    }
    for (int i = 0; i < CALLERS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK_OK(weir_sender_close(keeper));
    CHECK(support_wait(child) == 0);
    CHECK(support_entries(dir, true) == 0);
}

/* ---- forks and signals ---- */

static struct {
    weir_mailbox *mailbox;
    weir_sender *sender;
    int seen;
} signalled;

static void on_signal(int number)
{
    (void)number;
    weir_mail mail;
    uint64_t id = 1;
    CHECK_STATUS(weir_mailbox_receive(signalled.mailbox, &mail, &id, sizeof id, WEIR_NOWAIT), WEIR_E_BUSY);
    CHECK_STATUS(weir_sender_send(signalled.sender, 0, 0, &id, sizeof id, WEIR_NOWAIT), WEIR_E_BUSY);
    CHECK_STATUS(call_id(signalled.sender, 1, &id, WEIR_NOWAIT), WEIR_E_BUSY);
    CHECK_STATUS(weir_mailbox_reply(signalled.mailbox, &mail, 0, &id, sizeof id, WEIR_NOWAIT), WEIR_E_BUSY);
    CHECK_STATUS(weir_mailbox_close(signalled.mailbox), WEIR_E_BUSY);
    CHECK_STATUS(weir_sender_close(signalled.sender), WEIR_E_BUSY);
    CHECK_STATUS(weir_sender_wait(signalled.sender, WEIR_NOWAIT), WEIR_E_BUSY);
    weir_mailbox_facts facts;
    CHECK_STATUS(weir_mailbox_info(signalled.mailbox, &facts), WEIR_E_BUSY);
    CHECK_STATUS(weir_sender_info(signalled.sender, &facts.channel), WEIR_E_BUSY);
    signalled.seen++;
    CHECK_OK(weir_mailbox_cancel(signalled.mailbox));
}

Test(mailbox_call, inside_a_call_a_handler_is_told_so_and_may_cancel_it)
{
    (void)support_shm_dir();
    weir_mailbox *mailbox = own(NAME, 0);
    signalled.mailbox = own(NULL, 0);
    signalled.sender = sends_to(NAME, signalled.mailbox);
    CHECK(signal(SIGALRM, on_signal) != SIG_ERR);
    (void)ualarm(100000, 0);
    uint64_t answer;
    CHECK_STATUS(call_id(signalled.sender, 1, &answer, HELP_DEADLINE), WEIR_CANCELLED);
    CHECK(signalled.seen == 1);
    CHECK_OK(weir_sender_close(signalled.sender));
    CHECK_OK(weir_mailbox_close(signalled.mailbox));
    CHECK_OK(weir_mailbox_close(mailbox));
}

Test(mailbox_call, a_forked_child_has_no_mailbox_and_takes_none_away)
{
    const char *dir = support_shm_dir();
    weir_mailbox *mailbox = own(NAME, 0), *back = own(NULL, 0);
    weir_sender *sender = sends_to(NAME, back);
    post_id(sender, 1);
    weir_mail mail = get_id(mailbox, 1);
    CHECK_OK(answer_id(mailbox, &mail, 2)); /* so that a mailbox is held open */
    pid_t child = child_fork();
    if (child == 0) {
        uint64_t id;
        weir_mailbox_facts facts;
        CHECK_STATUS(get_nothing(mailbox, WEIR_NOWAIT), WEIR_E_FORKED);
        CHECK_STATUS(answer_id(mailbox, &mail, 3), WEIR_E_FORKED);
        CHECK_STATUS(weir_sender_send(sender, 0, 0, "a", 1, WEIR_NOWAIT), WEIR_E_FORKED);
        CHECK_STATUS(call_id(sender, 1, &id, WEIR_NOWAIT), WEIR_E_FORKED);
        CHECK_STATUS(weir_sender_wait(sender, WEIR_NOWAIT), WEIR_E_FORKED);
        CHECK_STATUS(weir_mailbox_info(mailbox, &facts), WEIR_E_FORKED);
        CHECK_STATUS(weir_sender_info(sender, &facts.channel), WEIR_E_FORKED);
        CHECK_STATUS(weir_mailbox_cancel(mailbox), WEIR_E_FORKED);
        CHECK_STATUS(weir_sender_cancel(sender), WEIR_E_FORKED);
        weir_sender *other;
        CHECK_STATUS(weir_sender_open(&other, "Local/other", mailbox, NULL), WEIR_E_FORKED);
        CHECK_OK(weir_mailbox_close(back));
        CHECK_OK(weir_mailbox_close(mailbox));
        CHECK_OK(weir_sender_close(sender));
        _exit(0);
    }
    CHECK(support_wait(child) == 0);
    (void)get_id(back, 2);
    post_id(sender, 3);
    (void)get_id(mailbox, 3);
    CHECK_OK(weir_sender_close(sender));
    CHECK_OK(weir_mailbox_close(back));
    CHECK_OK(weir_mailbox_close(mailbox));
    CHECK(support_entries(dir, true) == 0);
}
