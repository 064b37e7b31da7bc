/* ipc/channel_alert.c - what wakes a handle that no futex wakes: the process's watch of deaths, a descriptor. */
#include <weir/base/fail.h>
#include <weir/ipc/channel_wait.h>
#include <weir/naming/companion.h>

/* In the watch's thread.  Its count comes first, then the look at armed; who sleeps arms first, then looks at the count:
 * ipc/watch.h. */
static void told(void *arg)
{
    struct channel_cold *cold = channel_cold(arg);
    weir_channel_wake_own(arg);
    if (weir_load32_rlx(&cold->beside_waits) != 0) /* relaxed: who sets it arms behind it */
        weir_channel_wake_own(cold->waits_beside);
}

weir_status weir_channel_watch_deaths(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    if (cold->watched || cold->unwatchable)
        return WEIR_OK;
    struct weir_detail detail;
    weir_detail_save(&detail);
    cold->watch = (struct weir_watch_client){ .told = told, .arg = channel };
    weir_status status = weir_watch_add(&cold->watch, cold->section);
    cold->watched = status == WEIR_OK;
    cold->unwatchable = !cold->watched; /* it would hardly be better at the next sleep */
    cold->probed = cold->asked = cold->recovered = (struct channel_asked){ 0, 0 }; /* who died before it was there */
    if (status != WEIR_OK)
        weir_detail_restore(&detail);
    return status;
}

/* ---- the descriptors of others ---- */

#define KEPT_MAX 128u /* by all handles of the process; the rest is opened at each wake */

static weir_atomic_u64 kept;

/* Relaxed: a number. */
static bool may_keep(void)
{
    if (weir_fetch_add_rlx(&kept, 1) < KEPT_MAX)
        return true;
    (void)weir_fetch_add_rlx(&kept, UINT64_MAX);
    return false;
}

static void forget(struct channel_cold *cold, uint32_t place)
{
    weir_companion_close((int)cold->others[place] - 1);
    cold->others[place] = 0;
    (void)weir_fetch_add_rlx(&kept, UINT64_MAX);
}

void weir_channel_forget(struct channel_cold *cold)
{
    for (uint32_t place = 0; place < WEIR_CHANNEL_ROLE_MAX; place++)
        if (cold->others[place] != 0)
            forget(cold, place);
}

void weir_channel_signal(struct channel_cold *cold, uint32_t slot, bool keeps)
{
    uint32_t place = slot - cold->peers.first;
    int fd = keeps ? (int)cold->others[place] - 1 : -1;
    if (fd >= 0 && !weir_companion_is_named(fd)) { /* its holder has left: the next one's is another */
        forget(cold, place);
        fd = -1;
    }
    bool is_kept = fd >= 0;
    if (!is_kept && weir_companion_open(cold->section, slot, &fd) != WEIR_OK)
        return;
    weir_os_signal(fd);
    if (!is_kept && keeps && may_keep())
        cold->others[place] = (uint32_t)fd + 1;
    else if (!is_kept)
        weir_companion_close(fd);
}

/* ---- a descriptor of its own ---- */

/* Relaxed: it is set before its owner arms its word, and a waker looks at it behind that. */
void weir_channel_ask_alerts(struct channel_cold *cold, bool wanted)
{
    weir_channel_layout *layout = cold->view.base;
    uint32_t place = cold->slot - cold->own.first;
    if (cold->role == WEIR_PRODUCER)
        weir_store32_rlx(&layout->member[cold->slot].sleeper.alerts, wanted);
    else if (wanted)
        (void)weir_fetch_or_rlx(&layout->consumer_alerts[place / 64], UINT64_C(1) << place % 64);
    else
        (void)weir_fetch_and_rlx(&layout->consumer_alerts[place / 64], ~(UINT64_C(1) << place % 64));
}

void weir_channel_hush(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    if (cold->watched)
        weir_watch_remove(&cold->watch); /* behind this its thread does not look at the handle */
    cold->watched = false;
    weir_channel_forget(cold);
    uint32_t own = weir_load32_rlx(&channel->alert);
    if (own == 0)
        return;
    weir_channel_ask_alerts(cold, false);
    weir_store32_rlx(&channel->alert, 0);
    weir_companion_close((int)own - 1);
}

weir_status weir_channel_describe(weir_channel *channel, int *descriptor)
{
    struct channel_cold *cold = channel_cold(channel);
    uint32_t own = weir_load32_rlx(&channel->alert);
    if (own == 0) {
        int fd;
        cold->unwatchable = false;
        weir_status status = weir_channel_watch_deaths(channel);
        if (status == WEIR_OK)
            status = weir_companion_make(cold->section, cold->slot, &fd);
        if (status != WEIR_OK)
            return status;
        own = (uint32_t)fd + 1;
        weir_store32_rlx(&channel->alert, own);
        weir_channel_ask_alerts(cold, true);
        weir_channel_alert(channel); /* there may be something */
    }
    *descriptor = (int)own - 1;
    return WEIR_OK;
}

weir_status weir_channel_descriptor(weir_channel *channel, int *descriptor)
{
    if (descriptor == NULL)
        return weir_fail(WEIR_E_INVALID, "no place to return the descriptor");
    if (!weir_channel_enter(channel))
        return WEIR_E_BUSY;
    weir_status status = weir_channel_explain(channel, WEIR_OK);
    if (status == WEIR_OK)
        status = weir_channel_describe(channel, descriptor);
    return weir_channel_leave(channel, status);
}
