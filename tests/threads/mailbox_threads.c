/* A mailbox in one process: an owner that leaves and comes again, callers and a sender, each on a thread; and calls that
 * another thread cancels. */
#include "ipc/mailbox_help.h"

#include <pthread.h>

#define NAME "Local/threads"
#define CALLERS 3

static weir_atomic_u64 stop, cancelled, answered, posted;

static void *owner(void *arg)
{
    uint64_t seed = *(uint64_t *)arg, received = 0;
    weir_mailbox *mailbox = own(NAME, WEIR_KEEP);
    while (weir_load_acq(&stop) == 0) {
        weir_mail mail;
        uint64_t id;
        weir_status status = weir_mailbox_receive(mailbox, &mail, &id, sizeof id, WEIR_MILLISECONDS(5));
        if (status == WEIR_OK && mail.from.call != 0 && id < SILENT) {
            status = answer_id(mailbox, &mail, id + 1);
            CHECK(status == WEIR_OK || status == WEIR_CLOSED);
        } else {
            CHECK(status == WEIR_OK || status == WEIR_TIMEOUT || status == WEIR_CLOSED);
        }
        if (++received % 512 == 0 && (support_random(&seed) & 3) == 0) {
            CHECK_OK(weir_mailbox_close(mailbox));
            mailbox = own(NAME, WEIR_KEEP);
        }
    }
    CHECK_OK(weir_mailbox_close(mailbox));
    return NULL;
}

static void *caller(void *arg)
{
    uint64_t count = *(uint64_t *)arg, answer = 0;
    weir_mailbox *back = own(NULL, 0);
    weir_sender *sender = sends_to(NAME, back);
    for (uint64_t id = 1; id <= count;) {
        weir_status status = call_id(sender, id, &answer, HELP_DEADLINE);
        if (status == WEIR_CLOSED) /* the owner comes again */
            continue;
        CHECK_OK(status);
        CHECK(answer == id + 1);
        id++;
        (void)weir_fetch_add_rlx(&answered, 1);
    }
    CHECK_OK(weir_sender_close(sender));
    CHECK_OK(weir_mailbox_close(back));
    return NULL;
}

static void *sender_thread(void *arg)
{
    weir_sender *sender = sends_to(NAME, NULL);
    (void)arg;
    for (uint64_t id = 0; weir_load_acq(&stop) == 0; id++) {
        weir_status status = weir_sender_send(sender, 0, id, &id, sizeof id, WEIR_MILLISECONDS(1));
        CHECK(status == WEIR_OK || status == WEIR_CLOSED || status == WEIR_TIMEOUT);
        (void)weir_fetch_add_rlx(&posted, status == WEIR_OK);
        if (id % 64 == 0)
            (void)usleep(100);
    }
    CHECK_OK(weir_sender_close(sender));
    return NULL;
}

static weir_mailbox *waits;

/* Calls what is never answered, until it is cancelled. */
static void *waiter(void *arg)
{
    weir_sender *sender = arg;
    uint64_t answer;
    weir_status status;
    while ((status = call_id(sender, SILENT, &answer, HELP_DEADLINE)) == WEIR_CLOSED)
        continue;
    CHECK_STATUS(status, WEIR_CANCELLED);
    weir_store_rel(&cancelled, 1);
    return NULL;
}

int main(void)
{
    const char *dir = support_shm_dir();
    uint64_t seed = support_seed(), count = support_count(20000);
    pthread_t threads[CALLERS], serving, sending, waiting;
    waits = own(NULL, 0);
    weir_sender *keeper = sends_to(NAME, waits);
    CHECK(pthread_create(&serving, NULL, owner, &seed) == 0);
    CHECK(pthread_create(&sending, NULL, sender_thread, NULL) == 0);
    CHECK(pthread_create(&waiting, NULL, waiter, keeper) == 0);
    for (int i = 0; i < CALLERS; i++)
        CHECK(pthread_create(&threads[i], NULL, caller, &count) == 0);
    for (int i = 0; i < CALLERS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    while (weir_load_acq(&cancelled) == 0) { /* it may wait for the owner, or for the answer */
        CHECK_OK(weir_mailbox_cancel(waits));
        CHECK_OK(weir_sender_cancel(keeper));
        (void)usleep(1000);
    }
    weir_store_rel(&stop, 1);
    CHECK(pthread_join(waiting, NULL) == 0);
    CHECK(pthread_join(sending, NULL) == 0);
    CHECK(pthread_join(serving, NULL) == 0);
    CHECK(weir_load_rlx(&answered) == CALLERS * count && weir_load_rlx(&posted) != 0);
    CHECK_OK(weir_sender_close(keeper));
    CHECK_OK(weir_mailbox_close(waits));
    CHECK(support_entries(dir, true) == 0);
    return 0;
}
