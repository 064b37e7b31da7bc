/* naming/registry_portable.c - grace periods by readers' epochs (epoch.h), where liburcu is not. */
#include <weir/base/fail.h>
#include <weir/naming/epoch.h>
#include <weir/naming/grace.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

const char weir_grace_name[] = "portable";

static weir_epochs epochs = WEIR_EPOCHS_INIT;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t key; /* whose destructor gives the slot back */
static int key_error;
static _Thread_local weir_epoch_slot *own;

void weir_epoch_pause(unsigned turn)
{
    if (turn < 64)
        weir_pause();
    else if (turn < 256)
        (void)sched_yield();
    else
        (void)nanosleep(&(struct timespec){ .tv_nsec = 50000 }, NULL);
}

static void thread_ends(void *slot)
{
    own = NULL;
    weir_epoch_give_back(slot);
}

static void make_key(void)
{
    key_error = pthread_key_create(&key, thread_ends);
}

/* A thread's first read section. */
static __attribute__((noinline)) weir_status get_slot(void)
{
    int saved = errno;
    (void)pthread_once(&key_once, make_key);
    weir_epoch_slot *slot = key_error == 0 ? weir_epoch_take(&epochs) : NULL;
    if (key_error == 0 && slot == NULL) {
        unsigned char *room = malloc(2 * (size_t)WEIR_LINE_PAIR); /* for ever: a line pair of its own lies in it */
        if (room != NULL) {
            slot = (void *)(room + WEIR_LINE_PAIR - (uintptr_t)room % WEIR_LINE_PAIR);
            *slot = (weir_epoch_slot){ { 0 }, { 0 }, { 0 } };
            weir_epoch_add(&epochs, slot);
        }
    }
    if (slot != NULL && pthread_setspecific(key, slot) != 0) {
        weir_epoch_give_back(slot);
        slot = NULL;
    }
    errno = saved;
    if (slot == NULL)
        return weir_fail(WEIR_E_NO_MEMORY, "no memory to register a reader thread");
    own = slot;
    return WEIR_OK;
}

weir_status weir_grace_enter(void)
{
    if (WEIR_UNLIKELY(own == NULL)) {
        weir_status status = get_slot();
        if (status != WEIR_OK)
            return status;
    }
    weir_epoch_enter(&epochs, own);
    return WEIR_OK;
}

void weir_grace_leave(void) { weir_epoch_leave(own); }
bool weir_grace_ongoing(void) { return false; }
void weir_grace_wait(void) { weir_epoch_wait(&epochs); }
void weir_grace_before_fork(void) {}
void weir_grace_after_fork_parent(void) {}

/* The other threads are not there, wherever they were. */
void weir_grace_after_fork_child(void)
{
    for (weir_epoch_slot *slot = weir_epoch_slot_at(&epochs.slots); slot != NULL;
         slot = weir_epoch_slot_at(&slot->next))
        if (slot != own)
            weir_epoch_give_back(slot);
}
