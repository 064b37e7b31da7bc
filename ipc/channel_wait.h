/* ipc/channel_wait.h - private: waiting, as the calls use it. */
#ifndef WEIR_IPC_CHANNEL_WAIT_H
#define WEIR_IPC_CHANNEL_WAIT_H

#include <weir/ipc/kind.h>

/* What a handle waits for. */
enum channel_goal { GOAL_MESSAGE, GOAL_ROOM, GOAL_DRAINED, GOAL_PEER, GOAL_GONE };

struct channel_wait {
    weir_channel *channel;
    enum channel_goal goal;
    uint64_t len;     /* GOAL_ROOM: the message's bytes; GOAL_GONE: the holder's generation << 32 | its slot */
    weir_status none; /* what "not yet" is called */
    bool keeps_end;   /* who hears of an end here hears of it again in its next call */
};

/* weir_channel_deadline makes a timeout a point in time, so that several waits of one call share it; WEIR_NOWAIT and for
 * ever stay what they are. */
weir_timeout weir_channel_deadline(weir_timeout timeout);
bool weir_channel_is_past(weir_timeout timeout); /* a deadline; of others: false */

/* weir_channel_send_by and _peek_by are weir_send_pieces and weir_peek for who makes several of them in one call: *timeout
 * becomes a deadline where they have to wait, and no clock is read where they have not.  peek_by: of a kind whose calls
 * are not inline. */
weir_status weir_channel_send_by(weir_channel *channel, const weir_piece *pieces, uint32_t count,
                                 weir_timeout *timeout);
weir_status weir_channel_peek_by(weir_channel *channel, const void **msg, uint32_t *len, weir_timeout *timeout);

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

/* weir_channel_holder_gone: WEIR_EMPTY if that generation of the slot's holders is still there. */
weir_status weir_channel_holder_gone(weir_channel *channel, uint32_t slot, uint32_t generation);

/* weir_channel_recover sees to what the dead left, if it is time for that, or is to be done at once.  WEIR_EMPTY: it is
 * not, or there is nothing to be seen to. */
weir_status weir_channel_recover(weir_channel *channel, int64_t now, bool at_once);

/* weir_channel_is_due: is it time to ask the kernel again?  Where deaths are told, when there is news. */
bool weir_channel_is_due(struct channel_cold *cold, struct channel_asked *asked, int64_t now);

/* weir_channel_watch_deaths sees that deaths are told; where that cannot be, the kernel is asked every 10 ms.  Not
 * async-signal-safe. */
void weir_channel_watch_deaths(weir_channel *channel);

/* Where there is no thread to tell of deaths, who has waited for a second listens itself (watch.h).
 * weir_channel_begin_to_listen: true, it does from now on, and has to arm again, because wakers must see its FIFO; not
 * async-signal-safe.  weir_channel_listen is its sleep then, ended by a wake, by news of a death, or after ns. */
bool weir_channel_begin_to_listen(weir_channel *channel);
bool weir_channel_listen(weir_channel *channel, uint32_t armed, int64_t ns);

/* weir_channel_is_idle: it has waited for a second. */
bool weir_channel_is_idle(const struct channel_cold *cold, int64_t now);

/* What a wait is made of, for one handle or many.  look: is it there?  w->none where it is not.  look_at_end: and are
 * the peers?  arm, look again, sleep on what arm returned (weir_channel_longest at most), disarm.
 * announce is arm without its fence, of which who arms several needs one.  rounds: who listens does the watch's before that
 * sleep. */
weir_status weir_channel_look(const struct channel_wait *w);
weir_status weir_channel_look_at_end(const struct channel_wait *w, int64_t now);
uint32_t weir_channel_announce(const struct channel_wait *w);
uint32_t weir_channel_arm(const struct channel_wait *w);
void weir_channel_disarm(weir_channel *channel);
int64_t weir_channel_longest(struct channel_cold *cold, int64_t now, bool rounds);
bool weir_channel_take_cancel(weir_channel *channel);
int64_t weir_channel_end_of(weir_timeout timeout, int64_t now); /* when a wait that begins now ends */

/* weir_channel_rearm is arming for a descriptor: drained, armed, and looked at once more; readable again if there is
 * something. */
weir_status weir_channel_rearm(const struct channel_wait *w);

/* weir_channel_describe gives the handle's descriptor, made if need be.  listens: for its own sleeps, for which the watch
 * need not have a thread. */
weir_status weir_channel_describe(weir_channel *channel, bool listens, int *descriptor);

/* weir_channel_wake_own wakes this handle's own side, from another thread or a handler. */
void weir_channel_wake_own(weir_channel *channel);

/* weir_channel_signal wakes the slot's holder who waits in poll, through its FIFO.  One that has none any more is nobody's
 * fault.  keeps: the descriptor for it may be kept, until weir_channel_forget; in a call on the handle only, not in
 * another thread's. */
void weir_channel_signal(struct channel_cold *cold, uint32_t slot, bool keeps);

/* weir_channel_alert makes the handle's own descriptor readable, if it has one. */
void weir_channel_alert(weir_channel *channel);

#define CHANNEL_LONGEST_NS INT64_C(450000000) /* that weir_channel_longest gives: where deaths are told */
#define SPIN_NS INT64_C(50000) /* before the first sleep: some times what a sleep and a wake cost */

#endif
