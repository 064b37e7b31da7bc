/* ipc/channel_many.c - one wait for several channels. */
#include <weir/base/fail.h>
#include <weir/ipc/channel_wait.h>
#include <weir/ipc/probe.h>

#include <stdlib.h>

#define LOOKS_PER_CLOCK 16
#define EACH_NS INT64_C(4000000) /* of the longest sleep, for each of many */

struct many {
    weir_channel *const *channels;
    uint32_t count, first; /* where a look begins */
    int64_t until_ns;
};

/* What a handle waits for here. */
static struct channel_wait wait_of(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    if (cold->role == WEIR_CONSUMER)
        return (struct channel_wait){ channel, GOAL_MESSAGE, 0, WEIR_EMPTY, true };
    return (struct channel_wait){ channel, GOAL_ROOM, cold->record_bytes, WEIR_FULL, true };
}

/* Goes through all of them, from the first on, until visit says something else than WEIR_EMPTY of one. */
static weir_status each(const struct many *m, weir_status (*visit)(weir_channel *channel, uint32_t i, void *arg),
                        void *arg, uint32_t *which)
{
    for (uint32_t n = 0; n < m->count; n++) {
        uint32_t i = (uint32_t)(((uint64_t)m->first + n) % m->count);
        weir_status status = visit(m->channels[i], i, arg);
        if (status == WEIR_EMPTY)
            continue;
        *which = i;
        return status;
    }
    return WEIR_EMPTY;
}

/* WEIR_OK: its next call has an answer. */
static weir_status look(weir_channel *channel, uint32_t i, void *arg)
{
    (void)i, (void)arg;
    struct channel_wait w = wait_of(channel);
    return weir_channel_look(&w) != w.none ? WEIR_OK : WEIR_EMPTY;
}

static weir_status look_at_all(weir_channel *channel, uint32_t i, void *arg)
{
    (void)i;
    struct channel_wait w = wait_of(channel);
    weir_status status = weir_channel_look(&w);
    if (status == w.none)
        status = weir_channel_look_at_end(&w, *(int64_t *)arg);
    if (status != w.none)
        return WEIR_OK;
    return weir_channel_take_cancel(channel) ? WEIR_CANCELLED : WEIR_EMPTY;
}

static weir_status spin(const struct many *m, int64_t until_ns, uint32_t *which, bool yields)
{
    for (;;) {
        for (int looks = 0; looks < LOOKS_PER_CLOCK; looks++) {
            weir_status status = each(m, look, NULL, which);
            if (status != WEIR_EMPTY)
                return status;
            weir_pause();
        }
        int64_t now = weir_os_now_ns();
        weir_status status = each(m, look_at_all, &now, which);
        if (status != WEIR_EMPTY || now >= until_ns)
            return status;
        if (yields)
            weir_os_yield();
    }
}

/* How long all of them may sleep.  A wake looks at each, which takes 2 to 3 us: where deaths are told, the longest sleep
 * is so long that this is less than 0.1 % of a core, however many they are. */
static int64_t bound_of(const struct many *m, int64_t now, bool rounds)
{
    int64_t bound = CHANNEL_LONGEST_NS;
    for (uint32_t i = 0; i < m->count; i++) {
        int64_t longest = weir_channel_longest(channel_cold(m->channels[i]), now, rounds);
        bound = longest < bound ? longest : bound;
    }
    if (bound == CHANNEL_LONGEST_NS && m->count * EACH_NS > bound)
        bound = m->count * EACH_NS;
    return m->until_ns - now < bound ? m->until_ns - now : bound;
}

static void note_sleep(const struct many *m, int64_t bound)
{
    for (uint32_t i = 0; i < m->count; i++) {
        struct channel_cold *cold = channel_cold(m->channels[i]);
        weir_channel_tally(cold, WEIR_COUNT_SLEPT, 1);
        WEIR_PROBE3(sleep, weir_section_name(cold->section), (int)cold->role, bound);
    }
}

/* Behind the sleep: whose word was cleared was woken. */
static void note_wake(const struct many *m)
{
    for (uint32_t i = 0; i < m->count; i++) {
        struct channel_cold *cold = channel_cold(m->channels[i]);
        bool ended = weir_load32_rlx(&m->channels[i]->sleeper->armed) == 0; /* relaxed: it is counted */
        weir_channel_tally(cold, WEIR_COUNT_WOKEN, ended);
        WEIR_PROBE3(wake, weir_section_name(cold->section), (int)cold->role, (int)ended);
    }
}

/* Arms the words that are not armed with what on says (0: none is, yet), and fences once for all of them. */
static void arm_all(const struct many *m, struct weir_os_sleep *on)
{
    bool armed = false, others = false;
    for (uint32_t i = 0; i < m->count; i++) {
        if (on[i].value != 0 && weir_load32_rlx(on[i].word) == on[i].value) /* relaxed: only whether to arm again */
            continue;
        struct channel_wait w = wait_of(m->channels[i]);
        on[i].value = weir_channel_announce(&w);
        armed = true;
        others = others || !channel_cold(m->channels[i])->full_fence;
    }
    if (others)
        weir_os_fence_others(); /* order WAKE sc: as in weir_channel_arm; it is a fence of this thread, too */
    else if (armed)
        weir_fence_sc(); /* order WAKE sc: as in weir_channel_arm */
}

/* Can it sleep in poll, and is told of deaths there? */
static bool can_poll(weir_channel *channel)
{
    const struct channel_cold *cold = channel_cold(channel);
    struct weir_detail detail;
    int descriptor;
    if (!cold->watched) {
        (void)weir_channel_begin_to_listen(channel);
        return cold->watched || (cold->listens && !cold->deaf);
    }
    weir_detail_save(&detail);
    bool can = weir_channel_describe(channel, true, &descriptor) == WEIR_OK;
    if (!can)
        weir_detail_restore(&detail);
    return can;
}

/* Where no thread tells of deaths, they listen after a second, if all of them can: in poll. */
static bool listen(const struct many *m, int64_t now)
{
    uint32_t watched = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        const struct channel_cold *cold = channel_cold(m->channels[i]);
        if (!cold->watched && !weir_channel_is_idle(cold, now))
            return false;
        watched += cold->watched;
    }
    for (uint32_t i = 0; i < m->count && watched != m->count; i++)
        if (!can_poll(m->channels[i]))
            return false;
    return watched != m->count;
}

/* WEIR_E_UNSUPPORTED: in another way, then. */
static weir_status sleep_on_words(const struct many *m, uint32_t *which)
{
    struct weir_os_sleep on[WEIR_OS_SLEEP_ANY_MAX];
    weir_status status;
    for (uint32_t i = 0; i < m->count; i++)
        on[i] = (struct weir_os_sleep){ &m->channels[i]->sleeper->armed, 0 };
    for (;;) {
        arm_all(m, on);
        int64_t now = weir_os_now_ns();
        status = each(m, look_at_all, &now, which);
        if (status != WEIR_EMPTY || now >= m->until_ns)
            break;
        if (listen(m, now)) {
            status = WEIR_E_UNSUPPORTED;
            break;
        }
        int64_t bound = bound_of(m, now, false);
        note_sleep(m, bound);
        bool slept = weir_os_sleep_any(on, m->count, bound);
        note_wake(m);
        if (!slept) {
            status = WEIR_E_UNSUPPORTED;
            break;
        }
    }
    for (uint32_t i = 0; i < m->count; i++)
        weir_channel_disarm(m->channels[i]);
    return status;
}

static weir_status rearm(weir_channel *channel, uint32_t i, void *arg)
{
    (void)i, (void)arg;
    struct channel_wait w = wait_of(channel);
    if (weir_channel_rearm(&w) != w.none)
        return WEIR_OK;
    if (!weir_channel_take_cancel(channel))
        return WEIR_EMPTY;
    weir_channel_alert(channel);
    return WEIR_CANCELLED;
}

static weir_status describe(weir_channel *channel, uint32_t i, void *arg)
{
    int *descriptors = arg;
    weir_status status = weir_channel_describe(channel, true, &descriptors[i]);
    return status == WEIR_OK ? WEIR_EMPTY : status;
}

/* Behind a sleep that no descriptor ended: one whose word is armed still is empty still. */
static weir_status rearm_cleared(weir_channel *channel, uint32_t i, void *arg)
{
    if (weir_load32_rlx(&channel->sleeper->armed) == 0) /* relaxed: only whether to arm again */
        return rearm(channel, i, arg);
    weir_status status = look_at_all(channel, i, arg);
    if (status != WEIR_EMPTY)
        weir_channel_alert(channel);
    return status;
}

static weir_status sleep_on_descriptors(const struct many *m, uint32_t *which)
{
    int *descriptors = calloc((size_t)m->count + 1, sizeof *descriptors); /* the last one is the watch's */
    if (descriptors == NULL)
        return weir_fail(WEIR_E_NO_MEMORY, "no memory for %u descriptors", m->count);
    weir_status status = each(m, describe, descriptors, which);
    int readable = 1;
    while (status == WEIR_EMPTY) {
        int64_t now = weir_os_now_ns();
        status = each(m, readable != 0 ? rearm : rearm_cleared, &now, which);
        now = weir_os_now_ns();
        if (status != WEIR_EMPTY || now >= m->until_ns)
            break;
        int64_t bound = bound_of(m, now, true), next = weir_watch_round(&descriptors[m->count]);
        bound = next >= 0 && next < bound ? next : bound;
        note_sleep(m, bound);
        readable = weir_os_poll(descriptors, m->count + (next < 0), bound);
        note_wake(m);
        if (descriptors[m->count] >= 0 && next < 0 && readable > 0) /* not that alone: the round tells whom it is about */
            readable -= weir_os_poll(&descriptors[m->count], 1, 0) > 0;
        if (readable < 0)
            status = weir_fail(WEIR_E_NO_MEMORY, "no memory to wait for %u descriptors", m->count);
    }
    free(descriptors);
    return status;
}

/* A full lane may hold an unpublished batch, which nobody reads before it is out. */
static void publish_batches(const struct many *m)
{
    for (uint32_t i = 0; i < m->count; i++) {
        struct channel_cold *cold = channel_cold(m->channels[i]);
        if (cold->role != WEIR_PRODUCER || !cold->attached)
            continue;
        cold->kind->flush(m->channels[i]);
        weir_channel_published(m->channels[i]);
    }
}

static weir_status wait_any(const struct many *m, uint32_t *which, weir_timeout timeout)
{
    publish_batches(m);
    struct channel_cold *leader = channel_cold(m->channels[0]);
    int64_t now = weir_os_now_ns();
    weir_status status = each(m, look_at_all, &now, which);
    if (status != WEIR_EMPTY || timeout == WEIR_NOWAIT)
        return status;
    bool sleeps = leader->wait != WEIR_WAIT_SPIN;
    int64_t spin_until = sleeps && m->until_ns - now > SPIN_NS ? now + SPIN_NS : m->until_ns;
    /* As in weir_channel_wait_for: who has slept in vain goes on sleeping. */
    if (!sleeps || (leader->wait == WEIR_WAIT_SPIN_SLEEP && !leader->idle))
        status = spin(m, spin_until, which, !sleeps);
    if (!sleeps || status != WEIR_EMPTY)
        return status == WEIR_EMPTY ? WEIR_TIMEOUT : status;
    for (uint32_t i = 0; i < m->count; i++) {
        struct channel_cold *cold = channel_cold(m->channels[i]);
        weir_channel_watch_deaths(m->channels[i]);
        if (!cold->idle)
            cold->since_ns = now;
    }
    status = m->count <= WEIR_OS_SLEEP_ANY_MAX ? sleep_on_words(m, which) : WEIR_E_UNSUPPORTED;
    if (status == WEIR_E_UNSUPPORTED)
        status = sleep_on_descriptors(m, which);
    for (uint32_t i = 0; i < m->count; i++)
        channel_cold(m->channels[i])->idle = status == WEIR_EMPTY;
    return status == WEIR_EMPTY ? WEIR_TIMEOUT : status;
}

weir_status weir_wait_any(weir_channel *const *channels, uint32_t count, uint32_t *which, weir_timeout timeout)
{
    if (channels == NULL || count == 0 || which == NULL)
        return weir_fail(WEIR_E_INVALID, "a wait for no channels, or without a place to say which");
    weir_status status = WEIR_OK;
    uint32_t entered = 0;
    for (; status == WEIR_OK && entered < count; entered += status == WEIR_OK) {
        if (channels[entered] == NULL)
            status = weir_fail(WEIR_E_INVALID, "channel %u of %u is NULL", entered, count);
        else if (!weir_channel_enter(channels[entered]))
            status = weir_fail(WEIR_E_BUSY, "channel %u of %u is in another call, or there twice", entered, count);
    }
    for (uint32_t i = 0; status == WEIR_OK && i < count; i++)
        status = weir_channel_explain(channels[i], WEIR_OK);
    struct many m = { channels, count, *which < count ? (*which + 1) % count : 0,
                      weir_channel_end_of(timeout, weir_os_now_ns()) };
    if (status == WEIR_OK)
        status = wait_any(&m, which, timeout);
    for (uint32_t i = 0; i < entered; i++)
        (void)weir_channel_leave(channels[i], status);
    return status;
}
