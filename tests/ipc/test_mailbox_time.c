/* Mailboxes: a call that need not wait reads no clock; one that waits more than once has one deadline. */
#include <criterion/criterion.h>

#include "mailbox_help.h"

#include <weir/ipc/kind.h>
#include <weir/ipc/os.h>

#define NAME "Local/clock"

static uint64_t clock_reads;

int64_t __real_weir_os_now_ns(void);
int64_t __wrap_weir_os_now_ns(void);

int64_t __wrap_weir_os_now_ns(void)
{
    clock_reads++;
    return __real_weir_os_now_ns();
}

static int64_t lately_ns; /* the time that a sender sees, where it is not 0 */

int64_t __real_weir_os_lately_ns(void);
int64_t __wrap_weir_os_lately_ns(void);

int64_t __wrap_weir_os_lately_ns(void)
{
    return lately_ns != 0 ? lately_ns : __real_weir_os_lately_ns();
}

Test(mailbox_time, who_need_not_wait_reads_no_clock_whatever_the_timeout)
{
    (void)support_shm_dir();
    weir_mailbox *mailbox = own(NAME, 0), *back = own(NULL, 0);
    weir_sender *sender = sends_to(NAME, back);
    post_id(sender, 0);
    weir_mail mail = get_id(mailbox, 0);
    CHECK_OK(answer_id(mailbox, &mail, 0)); /* opens the sender's mailbox */
    (void)get_id(back, 0);
    const weir_timeout timeouts[] = { WEIR_NOWAIT, WEIR_FOREVER, WEIR_MILLISECONDS(1000), weir_until(weir_now()) };
    for (size_t i = 0; i < sizeof timeouts / sizeof timeouts[0]; i++) {
        uint64_t id = i, got;
        clock_reads = 0;
        CHECK_OK(weir_sender_send(sender, 0, 1, &id, sizeof id, timeouts[i]));
        CHECK_OK(weir_mailbox_receive(mailbox, &mail, &got, sizeof got, timeouts[i]));
        CHECK_OK(weir_mailbox_reply(mailbox, &mail, 0, &id, sizeof id, timeouts[i]));
        CHECK_OK(weir_mailbox_receive(back, &mail, &got, sizeof got, timeouts[i]));
        CHECK(clock_reads == 0);
    }
    CHECK_STATUS(get_nothing(back, WEIR_MILLISECONDS(1)), WEIR_TIMEOUT);
    CHECK(clock_reads != 0);
    CHECK_OK(weir_sender_close(sender));
    CHECK_OK(weir_mailbox_close(back));
    CHECK_OK(weir_mailbox_close(mailbox));
}

Test(mailbox_time, who_sends_seldom_behind_many_at_once_hears_of_a_death_with_the_next_message)
{
    (void)support_shm_dir();
    uint64_t id = 0;
    lately_ns = WEIR_MILLISECONDS(1000000);
    pid_t child = child_serves(NAME, 0);
    weir_sender *sender = sends_to(NAME, NULL);
    for (; id < 100; id++)
        CHECK_OK(weir_sender_send(sender, 0, 1, &id, sizeof id, WEIR_NOWAIT));
    child_kill(child);
    lately_ns += WEIR_MILLISECONDS(20);
    CHECK_STATUS(weir_sender_send(sender, 0, 1, &id, sizeof id, WEIR_NOWAIT), WEIR_DIED);
    CHECK_OK(weir_sender_close(sender));
}

/* Sends what every receiver drops, as long as it lives. */
static pid_t child_pesters(const char *name)
{
    pid_t child = child_fork();
    if (child != 0)
        return child;
    weir_channel *channel;
    CHECK_OK(weir_channel_open(&channel, name, WEIR_PRODUCER,
                               &(weir_channel_options){ .kind = (weir_kind)WEIR_KIND_MAILBOX }));
    for (;;) {
        CHECK_OK(weir_send(channel, "nonsense", 8, HELP_DEADLINE));
        (void)usleep(1000);
    }
}

Test(mailbox_time, what_is_dropped_puts_off_no_deadline)
{
    (void)support_shm_dir();
    weir_mailbox *mailbox = own(NAME, 0), *back = own("Local/back", 0);
    weir_sender *sender = sends_to(NAME, back);
    pid_t child = child_pesters("Local/back");
    while (mailbox_facts(back).malformed == 0)
        CHECK_STATUS(get_nothing(back, WEIR_MILLISECONDS(5)), WEIR_TIMEOUT);
    for (int calls = 0; calls < 2; calls++) {
        uint64_t answer, before = mailbox_facts(back).malformed;
        int64_t start = help_now_ns();
        CHECK_STATUS(calls != 0 ? call_id(sender, 1, &answer, WEIR_MILLISECONDS(100))
                                : get_nothing(back, WEIR_MILLISECONDS(100)), WEIR_TIMEOUT);
        int64_t took = help_now_ns() - start;
        CHECK(took >= WEIR_MILLISECONDS(100) && took < WEIR_MILLISECONDS(5000));
        CHECK(mailbox_facts(back).malformed > before + 2);
    }
    child_kill(child);
    CHECK_OK(weir_sender_close(sender));
    CHECK_OK(weir_mailbox_close(back));
    CHECK_OK(weir_mailbox_close(mailbox));
}
