/* ipc/channel_peers.c - who is there, and the end. */
#include <weir/base/fail.h>
#include <weir/ipc/channel_wait.h>
#include <weir/ipc/probe.h>

#define CROWD_LOOKS 16 /* at peers who come and go at each look: by then they are not all gone */

#define ASK_NS INT64_C(10000000)          /* how often who waits asks the kernel about the peers' locks, */
#define ASK_WATCHED_NS INT64_C(250000000) /* and where it is told of deaths: their locks may go long behind the news */

bool weir_channel_is_due(struct channel_cold *cold, struct channel_asked *asked, int64_t now)
{
    uint64_t news = cold->watched || cold->listens ? weir_watch_seen(&cold->watch) : 0;
    if (news == asked->news && now - asked->when_ns < (cold->watched ? ASK_WATCHED_NS : ASK_NS))
        return false;
    *asked = (struct channel_asked){ now, news };
    return true;
}

/* One look at each. */
static weir_status count(struct channel_cold *cold, struct channel_side side, bool ask, weir_participant *all,
                         uint32_t *alive)
{
    weir_participant sum = { .slot = side.first };
    uint32_t present = 0, left = 0, dead = 0;
    for (uint32_t slot = side.first; slot < side.first + side.count; slot++) {
        weir_participant one = weir_participant_glance(cold->section, slot);
        if (ask && one.presence == WEIR_ALIVE) {
            weir_status status = weir_participant_look(cold->section, slot, &one);
            if (status != WEIR_OK)
                return status;
        }
        sum.generation += one.generation;
        sum.deaths = (sum.deaths + one.deaths) & 0xffff;
        present += one.presence == WEIR_ALIVE;
        left += one.presence == WEIR_LEFT;
        dead += one.presence == WEIR_DEAD;
    }
    sum.presence = present != 0 ? WEIR_ALIVE : dead != 0 ? WEIR_DEAD : left != 0 ? WEIR_LEFT : WEIR_ABSENT;
    *all = sum;
    *alive = present;
    return WEIR_OK;
}

/* Nobody is there only if nobody has come between two looks at all places: one may come to a place that was looked at
 * while the last of the others leaves one that was not. */
weir_status weir_channel_crowd(struct channel_cold *cold, struct channel_side side, bool ask, weir_participant *all,
                               uint32_t *alive)
{
    uint32_t present = 0;
    weir_status status = count(cold, side, ask, all, &present);
    bool same = side.count == 1;
    for (int look = 0; status == WEIR_OK && present == 0 && !same; look++) {
        weir_participant before = *all;
        status = count(cold, side, ask, all, &present);
        same = all->generation == before.generation;
        if (!same && look == CROWD_LOOKS)
            present = 1, all->presence = WEIR_ALIVE;
    }
    if (alive != NULL)
        *alive = present;
    return status;
}

/* Consumers of a ring whose producer knows of no reader say how far they are.  Relaxed, in both: only a number; no byte
 * is used again because of it. */
void weir_channel_progress(weir_channel *channel, uint64_t position)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_channel_layout *layout = cold->view.base;
    weir_atomic_u64 *own = &layout->member[cold->slot].position;
    if (weir_load_rlx(own) == position)
        return;
    weir_store_rlx(own, position);
    weir_channel_woken(channel, 0, position);
}

weir_status weir_channel_all_at(weir_channel *channel, uint64_t position)
{
    struct channel_cold *cold = channel_cold(channel);
    const weir_channel_layout *layout = cold->view.base;
    uint32_t there = 0, behind = 0;
    int64_t now = weir_os_now_ns();
    bool ask = weir_channel_is_due(cold, &cold->asked, now); /* of the kernel, whether those that are behind live */
    for (uint32_t slot = cold->peers.first; slot < cold->peers.first + cold->peers.count; slot++) {
        weir_participant one = weir_participant_glance(cold->section, slot);
        if (one.presence != WEIR_ABSENT && weir_load_rlx(&layout->member[slot].position) == position) {
            there++; /* or has left since */
            continue;
        }
        if (ask && one.presence == WEIR_ALIVE) {
            weir_status status = weir_participant_look(cold->section, slot, &one);
            if (status != WEIR_OK)
                return status;
        }
        behind += one.presence == WEIR_ALIVE;
    }
    return there != 0 && behind == 0 ? WEIR_OK : WEIR_FULL;
}

/* Who leaves says so in memory; a death is asked of the kernel, not at every look. */
weir_status weir_channel_peers_end(weir_channel *channel, int64_t now)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_participant peers;
    weir_status status = weir_channel_crowd(cold, cold->peers, false, &peers, NULL);
    bool known = cold->none_lives == (uint64_t)peers.generation + 1;
    if (peers.presence == WEIR_ALIVE && (known || weir_channel_is_due(cold, &cold->probed, now))) {
        status = weir_channel_crowd(cold, cold->peers, true, &peers, NULL);
        if (peers.presence != WEIR_ALIVE)
            cold->none_lives = (uint64_t)peers.generation + 1;
        /* One of several consumers who died while others lived is not the last. */
        if (status == WEIR_OK && peers.presence == WEIR_ALIVE && cold->role == WEIR_PRODUCER)
            cold->reported_deaths = peers.deaths;
    }
    if (status != WEIR_OK)
        return status;
    if ((peers.presence != WEIR_LEFT && peers.presence != WEIR_DEAD) || cold->reported == (uint64_t)peers.generation + 1)
        return WEIR_OK;
    cold->ended = (uint64_t)peers.generation + 1;
    cold->ended_deaths = peers.deaths;
    return peers.presence == WEIR_DEAD && peers.deaths != cold->reported_deaths ? WEIR_DIED : WEIR_CLOSED;
}

weir_status weir_channel_peer_there(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_participant peers;
    weir_status status = weir_channel_crowd(cold, cold->peers, false, &peers, NULL);
    int64_t now = weir_os_now_ns();
    bool known = cold->none_lives == (uint64_t)peers.generation + 1;
    if (status != WEIR_OK || peers.presence != WEIR_ALIVE || (known && !weir_channel_is_due(cold, &cold->asked, now)))
        return status != WEIR_OK ? status : WEIR_EMPTY;
    status = weir_channel_crowd(cold, cold->peers, true, &peers, NULL); /* one that was killed looks alive until here */
    if (status != WEIR_OK || peers.presence == WEIR_ALIVE)
        return status;
    cold->none_lives = (uint64_t)peers.generation + 1;
    return WEIR_EMPTY;
}

weir_status weir_channel_holder_gone(weir_channel *channel, uint32_t slot, uint32_t generation)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_participant one = weir_participant_glance(cold->section, slot);
    weir_status status = WEIR_OK;
    if (one.presence == WEIR_ALIVE && one.generation == generation) {
        if (!weir_channel_is_due(cold, &cold->asked, weir_os_now_ns()))
            return WEIR_EMPTY;
        status = weir_participant_look(cold->section, slot, &one);
    }
    return status == WEIR_OK && one.presence == WEIR_ALIVE && one.generation == generation ? WEIR_EMPTY : status;
}

void weir_channel_recovered(weir_channel *channel, weir_status status, uint32_t place)
{
    struct channel_cold *cold = channel_cold(channel);
    if (status != WEIR_OK)
        return;
    weir_channel_tally(cold, WEIR_COUNT_RECOVERED, 1);
    WEIR_PROBE2(recovery, weir_section_name(cold->section), place);
}

weir_status weir_channel_recover(weir_channel *channel, int64_t now, bool at_once)
{
    struct channel_cold *cold = channel_cold(channel);
    if (cold->kind->recover == NULL || !cold->attached ||
        (!at_once && !weir_channel_is_due(cold, &cold->recovered, now)))
        return WEIR_EMPTY;
    weir_status status = cold->kind->recover(channel);
    if (status == WEIR_E_NOT_WEIR || status == WEIR_E_VERSION || status == WEIR_E_INVALID)
        status = WEIR_E_CORRUPT; /* it was a ring when this handle attached, and who is asked about stands in it */
    if (status == WEIR_E_CORRUPT) /* for good */
        weir_channel_poison(channel, status);
    return status;
}
