/* ipc/channel_wait.h - private: waiting, as the calls use it. */
#ifndef WEIR_IPC_CHANNEL_WAIT_H
#define WEIR_IPC_CHANNEL_WAIT_H

#include <weir/ipc/kind.h>

/* What a handle waits for. */
enum channel_goal { GOAL_MESSAGE, GOAL_ROOM, GOAL_DRAINED, GOAL_PEER };

struct channel_wait {
    weir_channel *channel;
    enum channel_goal goal;
    uint64_t len;     /* GOAL_ROOM: the message's bytes */
    weir_status none; /* what "not yet" is called */
};

/* weir_channel_deadline makes a timeout a point in time, so that several waits of one call share it; WEIR_NOWAIT and for
 * ever stay what they are. */
weir_timeout weir_channel_deadline(weir_timeout timeout);
bool weir_channel_is_past(weir_timeout timeout); /* a deadline; of others: false */

/* weir_channel_wait_for waits.  w->none: WEIR_NOWAIT, and not yet; WEIR_TIMEOUT; WEIR_CANCELLED; the end of the peers; a
 * fault; WEIR_OK: it is there. */
weir_status weir_channel_wait_for(const struct channel_wait *w, weir_timeout timeout);

/* weir_channel_pace_from and _to: around a wait for a message, before it and before the message is taken. */
void weir_channel_pace_from(weir_channel *channel);
void weir_channel_pace_to(weir_channel *channel);

/* weir_channel_peers_end is CLOSED or DIED if the last of the peers has ended and the caller does not know yet. */
weir_status weir_channel_peers_end(weir_channel *channel, int64_t now);

/* weir_channel_peer_there: WEIR_EMPTY if no live participant of the other role is there. */
weir_status weir_channel_peer_there(weir_channel *channel);

/* weir_channel_recover sees to what the dead left, if it is time for that.  WEIR_EMPTY: it is not, or there is nothing
 * to be seen to. */
weir_status weir_channel_recover(weir_channel *channel, int64_t now);

#define PROBE_NS INT64_C(10000000) /* how often a waiter asks the kernel about the peers' locks */

#endif
