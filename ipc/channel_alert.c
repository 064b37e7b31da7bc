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

typedef weir_status become_client(struct weir_watch_client *c, const weir_section *section);

static weir_status become(weir_channel *channel, become_client *client, bool *is)
{
    struct channel_cold *cold = channel_cold(channel);
    if (*is)
        return WEIR_OK;
    if (cold->listens) { /* from now on the thread does */
        weir_watch_remove(&cold->watch);
        cold->listens = false;
    }
    cold->watch = (struct weir_watch_client){ .told = told, .arg = channel };
    weir_status status = client(&cold->watch, cold->section);
    *is = status == WEIR_OK;
    cold->probed = cold->asked = cold->recovered = (struct channel_asked){ 0, 0 }; /* who died before it was there */
    return status;
}

void weir_channel_watch_deaths(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    struct weir_detail detail;
    if (cold->unwatchable)
        return;
    weir_detail_save(&detail);
    if (become(channel, weir_watch_add, &cold->watched) != WEIR_OK) {
        cold->unwatchable = true; /* it would hardly be better at the next sleep */
        weir_detail_restore(&detail);
    }
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
    if (cold->watched || cold->listens)
        weir_watch_remove(&cold->watch); /* behind this its thread does not look at the handle */
    cold->watched = cold->listens = false;
    weir_channel_forget(cold);
    uint32_t own = weir_load32_rlx(&channel->alert);
    if (own == 0)
        return;
    weir_channel_ask_alerts(cold, false);
    weir_store32_rlx(&channel->alert, 0);
    weir_companion_close((int)own - 1);
}

weir_status weir_channel_describe(weir_channel *channel, bool listens, int *descriptor)
{
    struct channel_cold *cold = channel_cold(channel);
    uint32_t own = weir_load32_rlx(&channel->alert);
    weir_status status = listens && cold->listens ? WEIR_OK : become(channel, weir_watch_add, &cold->watched);
    if (status != WEIR_OK && listens)
        status = become(channel, weir_watch_listen, &cold->listens);
    if (status != WEIR_OK)
        return status;
    if (own == 0) {
        int fd;
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
        status = weir_channel_describe(channel, false, descriptor);
    if (status == WEIR_OK)
        channel_cold(channel)->described = true;
    return weir_channel_leave(channel, status);
}

/* ---- without the watch's thread ---- */

/* sleeps: on it, and not on the channel whose waits look at it besides. */
static bool begin(weir_channel *channel, bool sleeps)
{
    struct channel_cold *cold = channel_cold(channel);
    struct weir_detail detail;
    int fd;
    if (cold->watched || cold->deaf || (cold->listens && (!sleeps || weir_load32_rlx(&channel->alert) != 0)))
        return false;
    weir_detail_save(&detail);
    weir_status status = sleeps ? weir_channel_describe(channel, true, &fd)
                                : become(channel, weir_watch_listen, &cold->listens);
    cold->deaf = status != WEIR_OK; /* as unwatchable */
    if (status != WEIR_OK)
        weir_detail_restore(&detail);
    return status == WEIR_OK;
}

bool weir_channel_begin_to_listen(weir_channel *channel)
{
    const struct channel_beside *beside = channel_cold(channel)->beside;
    bool begun = begin(channel, true);
    return (beside != NULL && begin(beside->channel, false)) || begun;
}

bool weir_channel_listen(weir_channel *channel, uint32_t armed, int64_t ns)
{
    int fds[2] = { (int)weir_load32_rlx(&channel->alert) - 1, -1 };
    int64_t next = weir_watch_round(&fds[1]);
    if (weir_load32_rlx(&channel->sleeper->armed) != armed) /* relaxed: as the futex's */
        return true; /* told in that round */
    bool woken = weir_os_poll(fds, next < 0 ? 2 : 1, next >= 0 && next < ns ? next : ns) > 0;
    weir_os_hush(fds[0]); /* a look follows */
    return woken;
}
