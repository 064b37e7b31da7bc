/* ipc/channel.h - a ring in a named section, with waiting, and with the news of who is at the other end.
 *
 *   weir_channel_open     from either side, in either order
 *   weir_send             copies one message in;  weir_reserve + weir_commit: writes it in place;
 *                         weir_send_pieces: gathers it; weir_send_array: many at once
 *   weir_receive          copies one message out; weir_peek + weir_release: reads it in place
 *   weir_channel_close    leaves; the last to leave takes the section away
 *
 * Callers:  a handle is one thread's at a time, but for weir_channel_cancel.  The two ends are two handles, in one process
 *           or two.  send, receive and their kin are async-signal-safe with WEIR_NOWAIT once the handle has a lane (a
 *           producer's has; a consumer's has one after its first message), and with other timeouts once it has slept
 *           (in a process without the watch's thread, weir_watch_allow: once it has slept for a second);
 *           inside another call on the same handle they return WEIR_E_BUSY.  After close there is no handle.
 * Progress: a call that need not wait is wait-free and makes no system call, except that it wakes a peer that sleeps.
 *           One with WEIR_NOWAIT that finds nothing asks the kernel about the peer, at most every 10 ms.  A stopped
 *           peer delays the other end by no more than the lane's room: then FULL, EMPTY or TIMEOUT.
 * Waiting:  spins for a short while, then sleeps (weir_wait).  A signal does not end a wait: give a timeout, or let its
 *           handler, or another thread, call weir_channel_cancel.
 * The end:  WEIR_CLOSED and WEIR_DIED come after the last committed record was received, and at most once for each
 *           peer that leaves: a later call waits for the next one, and one that has come already hides the end of the
 *           last (weir_channel_info counts them).  A killed peer is noticed within 50 ms of its end, mostly within 5.
 *           A process that is killed loses at most the
 *           message it had not committed; what a killed consumer had not released is received again by its successor.
 * Coming:   a consumer that comes later goes on where the last one stopped (SPSC, MPSC, MPSC_ORDERED, MPMC: all of them
 *           together); of BROADCAST_GATED where its place's last holder did, or at the oldest message that is still
 *           held; of BROADCAST with the newest messages, at most an eighth of the capacity; of LATEST with the newest.
 *           One of these three that states the identity of one who has gone goes on where that one stopped
 *           (weir_channel_options): BROADCAST counts what was overwritten since as lost (but a loss behind which its
 *           reader had found WEIR_EMPTY, and was killed before the next message).  What was not released comes again.
 *           A producer that comes later goes on behind what the last one sent.
 * Fork:     in a child every call on a handle of the parent returns WEIR_E_FORKED, but close, which frees the child's
 *           copy.
 * Hostile:  messages received by copy are safe against any bytes of the peer; in-place reading is for peers you
 *           trust. */
#ifndef WEIR_IPC_CHANNEL_H
#define WEIR_IPC_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/base/status.h>
#include <weir/naming/participant.h>
#include <weir/naming/section.h>
#include <weir/ring/broadcast_gated.h>
#include <weir/ring/mpmc.h>
#include <weir/ring/spsc.h>

WEIR_BEGIN_DECLS

typedef enum weir_role { WEIR_PRODUCER = 1, WEIR_CONSUMER = 2 } weir_role;

typedef enum weir_kind {
    WEIR_SPSC = 1,            /* one producer, one consumer: every message, in order */
    WEIR_MPSC = 2,            /* many producers, one consumer: each producer's messages in order */
    WEIR_MPSC_ORDERED = 3,    /* the same; a send that returned before another began comes first, whoever's it is */
    WEIR_MPMC = 4,            /* a work queue: each message goes to one of the consumers */
    WEIR_BROADCAST = 5,       /* one producer who never waits; each consumer gets all, or hears how many it lost */
    WEIR_BROADCAST_GATED = 6, /* one producer who waits for the slowest consumer; each gets all */
    WEIR_LATEST = 7           /* one producer; consumers get the newest message alone */
} weir_kind;

/* Kinds that are not in weir_kind: channels that something is built on, which no bare channel is taken for.  A mailbox
 * (mailbox.h) whose undelivered messages are kept, and one whose are discarded. */
#define WEIR_KIND_MAILBOX 32u
#define WEIR_KIND_MAILBOX_DISCARD 33u

/* How a call waits that has to. */
typedef enum weir_wait {
    WEIR_WAIT_SPIN_SLEEP = 0, /* spins for some 50 us, then sleeps */
    WEIR_WAIT_SPIN = 1,       /* never sleeps: a core for the least latency; yields it to whoever else wants it */
    WEIR_WAIT_SLEEP = 2       /* sleeps at once; in the middle of a stream, if nothing has come in some 10 us */
} weir_wait;

/* How long a call may wait: a duration in nanoseconds, or a point in time made by weir_until; otherwise negative is for
 * ever. */
typedef int64_t weir_timeout;
#define WEIR_NOWAIT ((weir_timeout)0)
#define WEIR_FOREVER ((weir_timeout)-1)
#define WEIR_MILLISECONDS(n) ((weir_timeout)(n) * 1000000)

/* weir_now is the monotonic time in nanoseconds (CLOCK_MONOTONIC).  Async-signal-safe. */
WEIR_API int64_t weir_now(void);

/* weir_until is the timeout that ends when weir_now reaches deadline_ns: several calls share one deadline.  One in the
 * past still looks once; a negative one is in the past. */
static inline weir_timeout weir_until(int64_t deadline_ns)
{
    const int64_t latest = INT64_MAX / 2; /* 146 years: those beyond INT64_MIN / 2 are not deadlines */
    return INT64_MIN + (deadline_ns < 0 ? 0 : deadline_ns > latest ? latest : deadline_ns);
}

#define WEIR_CAPACITY_DEFAULT (UINT64_C(256) * 1024)
#define WEIR_CAPACITY_MIN UINT64_C(4096)
#define WEIR_CAPACITY_MAX (UINT64_C(1) << 46)
#define WEIR_RECORD_DEFAULT 1024u /* bytes of the longest message, of the kinds that are made for one */
#define WEIR_MEMBERS_DEFAULT 64u  /* producers, and consumers, of the kinds that have many of them */
#define WEIR_MEMBERS_MAX 127u
#define WEIR_TYPE_MAX 63

/* What the messages are.  A stated type has a name, 1 to WEIR_TYPE_MAX bytes of the caller's choice; a number of it that
 * is 0 is not stated.  They are agreed upon, nothing else: an address in place is aligned to 8, whatever they say. */
typedef struct weir_type {
    const char *name;
    uint32_t size;      /* bytes */
    uint32_t alignment; /* bytes: a power of two */
    uint32_t version;
} weir_type;

/* WEIR_TYPE_OF states a C type under its own name: .type = WEIR_TYPE_OF(struct order, 2). */
#define WEIR_TYPE_OF(type, version) { #type, (uint32_t)sizeof(type), (uint32_t)_Alignof(type), (version) }

/* What an opener states; 0 or NULL states nothing.  Values that both sides state must agree.  The first to state a type
 * fixes it.  The lane's capacity is fixed by the first to state one, or else by the producer (WEIR_CAPACITY_DEFAULT;
 * who states another one later gets that all the same: weir_channel_info tells). */
typedef struct weir_channel_options {
    weir_kind kind;    /* 0: WEIR_SPSC */
    uint64_t capacity; /* bytes of a lane (each producer has one), rounded up to a power of two of at least
                        * WEIR_CAPACITY_MIN */
    uint32_t record_bytes; /* the longest message this side will send; a lane too small for it is refused at open.
                            * MPMC and LATEST are made for the first producer's (WEIR_RECORD_DEFAULT) */
    weir_type type;
    weir_wait wait;    /* this handle's own, it need not agree */
    uint32_t mode;     /* as in weir_section_options */
    uint32_t producers, consumers; /* how many at once there must be room for, where the kind has many: at most
                                    * WEIR_MEMBERS_MAX; the maker's, or WEIR_MEMBERS_DEFAULT, is what there is */
    uint64_t identity; /* a number that no other live participant of the role may have stated.  Who states that of one
                        * who has left, or died, gets its place if nobody has had it since, and goes on there */
} weir_channel_options;

typedef struct weir_channel weir_channel;

/* What a channel is and who has been there; see weir_channel_info. */
typedef struct weir_channel_facts {
    weir_kind kind;
    uint64_t capacity;   /* bytes of a lane; 0 while there is none */
    uint32_t record_max; /* bytes of the longest message; 0 while there is no lane */
    char type[WEIR_TYPE_MAX + 1]; /* its name; "" while none is stated */
    uint32_t type_size, type_alignment, type_version;
    /* All of a role together.  generation: how many there have been; deaths: how many of them were killed; presence:
     * WEIR_ALIVE while one lives, else WEIR_DEAD where the last of a slot was killed. */
    weir_participant producer, consumer;
    uint32_t producers, consumers;             /* how many there is room for */
    uint32_t producers_alive, consumers_alive;
    uint32_t slot;        /* this handle's own place among its role */
    uint64_t messages;    /* that this handle has sent, or received */
    uint64_t full;        /* how often a send of this handle found no room */
    uint64_t sleeps;      /* how often this handle slept, */
    uint64_t woken;       /* and how often of these a peer, a cancel or the news of a death woke it (of weir_wait_any: this one) */
    uint64_t recovered;   /* how often this handle saw to what a dead participant had left */
    uint64_t lost;        /* messages that were overwritten before this handle had read them (BROADCAST) */
    uint64_t redelivered; /* messages it received that a consumer who is gone may have had before (MPMC) */
} weir_channel_facts;

/* What is known of the message that was received or peeked last; see weir_channel_message. */
typedef struct weir_message {
    uint32_t producer; /* its place */
    bool redelivered;  /* a consumer that is gone may have had it before */
    uint64_t lost;     /* messages overwritten between the one before and this one */
} weir_message;

/* weir_channel_open opens the channel of that name in the given role, making it if it is not there.  options NULL
 * states nothing.
 *
 * Returns:  WEIR_OK; WEIR_E_IN_USE (a live process has the role; or a killed one's memory is still being looked at, see
 *           ipc/README.md: then not for long); WEIR_E_MISMATCH (both values are in
 *           weir_error_detail); WEIR_E_TOO_LARGE (record_bytes is over the lane's limit); WEIR_E_INVALID (options);
 *           WEIR_E_BUSY (another opener holds the channel for 2 seconds: it is stopped, or allocates many GiB);
 *           WEIR_E_UNSUPPORTED (the kind; or the kernel lacks membarrier, which this channel's maker chose);
 *           otherwise as weir_section_open_or_create.
 * If killed: nothing is there, or the channel, as after a death of its last user; a role that was not yet announced was
 *           never taken. */
WEIR_API weir_status weir_channel_open(weir_channel **out, const char *name, weir_role role,
                                       const weir_channel_options *options);

/* weir_channel_close publishes what send_more left unpublished, leaves and frees the handle.  NULL is accepted.
 *
 * Returns:  WEIR_OK; WEIR_E_BUSY (inside another call on the handle; nothing was done).
 * If killed: the peer sees a death, or the leaving. */
WEIR_API weir_status weir_channel_close(weir_channel *channel);

/* weir_channel_info tells what the channel is and who is there.  A system call for each that is, more only while one
 * comes and goes.
 *
 * Returns:  WEIR_OK; WEIR_E_CORRUPT (an impossible type); WEIR_E_FORKED; WEIR_E_BUSY; WEIR_E_OS. */
WEIR_API weir_status weir_channel_info(weir_channel *channel, weir_channel_facts *facts);

/* weir_channel_message tells of the message that this handle received or peeked last, however many calls have found
 * nothing since.  Async-signal-safe.
 *
 * Returns:  WEIR_OK; WEIR_E_STATE (none yet, or a producer's handle); WEIR_E_FORKED; WEIR_E_BUSY. */
WEIR_API weir_status weir_channel_message(weir_channel *channel, weir_message *message);

/* weir_channel_drain waits until everything that this producer has sent was released: by the consumer; of BROADCAST_GATED
 * by all that are there, one that has joined and read nothing yet among them; of BROADCAST and LATEST, whose producer waits for nobody else, until all that are there have
 * come to the end, and one is there.  Producers only.
 *
 * Returns:  WEIR_OK; WEIR_TIMEOUT (WEIR_FULL with WEIR_NOWAIT); WEIR_CLOSED, WEIR_DIED (the consumer has gone before;
 *           what it left waits for the next one); WEIR_CANCELLED; WEIR_E_CORRUPT; WEIR_E_STATE (a consumer's handle); WEIR_E_BUSY;
 *           WEIR_E_FORKED.
 * If killed: as a producer killed between two calls. */
WEIR_API weir_status weir_channel_drain(weir_channel *channel, weir_timeout timeout);

/* weir_channel_wait_peer waits until a live participant of the other role is there.
 *
 * Returns:  WEIR_OK; WEIR_TIMEOUT; WEIR_EMPTY (WEIR_NOWAIT, and none is there); WEIR_CANCELLED; WEIR_E_FORKED;
 *           WEIR_E_BUSY; WEIR_E_OS.
 * If killed: as a participant killed between two calls. */
WEIR_API weir_status weir_channel_wait_peer(weir_channel *channel, weir_timeout timeout);

/* weir_channel_wait_gone waits until the participant of that role, place and generation (observer.h lists them) is there
 * no more.  Of the handle's own role, too.
 *
 * Returns:  WEIR_CLOSED (it left; or it went before this call, and another has its place); WEIR_DIED; WEIR_TIMEOUT;
 *           WEIR_EMPTY (WEIR_NOWAIT, and it is there); WEIR_CANCELLED; WEIR_E_INVALID (no such role or place);
 *           WEIR_E_FORKED; WEIR_E_BUSY; WEIR_E_OS.
 * If killed: as a participant killed between two calls. */
WEIR_API weir_status weir_channel_wait_gone(weir_channel *channel, weir_role role, uint32_t place, uint32_t generation,
                                            weir_timeout timeout);

/* weir_channel_descriptor gives a descriptor for poll(2), epoll(7) and the loops built on them.  It is readable (POLLIN)
 * from when a consumer may have a message to receive, or a producer room for one, or there is an end to hear of, until a
 * call with WEIR_NOWAIT has returned WEIR_EMPTY, or WEIR_FULL: level semantics, and now and then without a reason.  So:
 * when it is readable, call with WEIR_NOWAIT until that is what you get (send or receive, or what else waits for the
 * ring; weir_channel_wait_peer and _wait_gone leave it as it is).  It stays the library's: do not read, write or
 * close it; it goes with the handle.
 *
 * Senders pay for it only after that WEIR_EMPTY, once: some 2 us for a write.  A sender's handle keeps a descriptor for
 * each peer that it has woken so, 128 in a process; beyond those it opens and closes one each time (6 us).  A sender
 * that was stopped between
 * its message and that write keeps the descriptor quiet until it goes on, or dies: give the loop a timeout where that
 * matters.  Deaths are told by the process's watch.
 *
 * Made of: a FIFO beside the section (a file NAME@SLOT), which goes with the handle or, if it is killed, with the section;
 *           where the section's file was removed by hand, with the next `weir clean` (weir_section_clean), or with the
 *           channel that is made under that name and has its slot's holder ask for one.
 * Returns:  WEIR_OK; WEIR_E_FORKED; WEIR_E_BUSY; WEIR_E_PERMISSION (the section is another user's); WEIR_E_NO_MEMORY
 *           (descriptors, inotify instances); WEIR_E_NO_SPACE; WEIR_E_UNSUPPORTED (no inotify, no /proc; weir_watch_allow);
 *           WEIR_E_NOT_FOUND (the channel's name was removed); WEIR_E_NOT_WEIR (something else has that file's name);
 *           WEIR_E_OS.
 * If killed: as a participant killed between two calls. */
WEIR_API weir_status weir_channel_descriptor(weir_channel *channel, int *descriptor);

/* weir_wait_any waits until one of the handles has something to do, up to timeout: a consumer a message, a producer room
 * for a message of its record_bytes, either an end or a fault; its next call with WEIR_NOWAIT then tells (or, of kinds
 * with several consumers, another was faster).  *which becomes its index.  The first look is at the one behind the old
 * *which, so that a loop that passes it on serves all alike; 0 will do at first.  It waits as the first handle does
 * (weir_wait).
 *
 * Up to 128 handles sleep in one futex_waitv(2); more, or on a kernel without it (before Linux 5.16), in poll(2), for
 * which each handle gets a descriptor (weir_channel_descriptor) that it keeps.  A call costs a look at each handle, and a
 * sleep an arming of each.
 *
 * Callers:  none of the handles may be in another call.
 * Returns:  WEIR_OK; WEIR_TIMEOUT; WEIR_EMPTY (WEIR_NOWAIT); WEIR_CANCELLED (*which: whose cancel it was);
 *           WEIR_E_INVALID (no handles, a NULL among them, no which); WEIR_E_BUSY (one is in a call, or is there twice);
 *           WEIR_E_FORKED; WEIR_E_NO_MEMORY; as weir_channel_descriptor, where that is needed.
 * If killed: as a participant killed between two calls. */
WEIR_API weir_status weir_wait_any(weir_channel *const *channels, uint32_t count, uint32_t *which,
                                   weir_timeout timeout);

/* weir_channel_cancel makes the call that waits on the handle return WEIR_CANCELLED, or else the next that has to wait.
 * That call has done nothing: no message is lost.  Any number of cancels before it are one.
 *
 * Callers:  any thread, beside the one that uses the handle, and signal handlers; nobody after close has begun.
 * Progress: wait-free.
 * Returns:  WEIR_OK; WEIR_E_FORKED. */
WEIR_API weir_status weir_channel_cancel(weir_channel *channel);

/* weir_watch_allow(false) keeps this process from having the thread that is told of deaths, which the first sleep in any
 * call would start.  Handles that have slept stay as they are.  The others wake every 45 ms in the first second of a wait
 * and ask the kernel about their peers; from then on they sleep in poll, with a FIFO each (as weir_channel_descriptor's),
 * and hear of deaths themselves, within 50 ms too.  weir_channel_descriptor returns WEIR_E_UNSUPPORTED.  To be called
 * before the first sleep; a forked child has what its parent had.
 *
 * Callers:  any thread. */
WEIR_API void weir_watch_allow(bool allowed);

/* ---- what the functions below are made of; not for callers ---- */

/* A sleeper's words in the section: it sleeps on armed, and wants to be woken when the peer reaches want_pos. */
typedef struct weir_sleeper {
    weir_atomic_u32 armed;
    weir_atomic_u32 alerts; /* a producer's: not 0 where it has a descriptor */
    weir_atomic_u64 want_pos;
} weir_sleeper;

struct weir_channel {      /* on a page that a fork clears: in a child everything here is 0 */
    uint32_t busy;         /* a call is under way */
    uint32_t alive;        /* not so in a forked child */
    union { /* attached in a producer's handle, */
        weir_spsc_producer tx;
        weir_broadcast_gated_writer gated_tx; /* which begins with its lane */
        weir_mpmc_producer slots_tx;          /* in which tx finds no room */
    };
    union { /* in a consumer's, once there is a ring; of kinds whose calls are not inline, neither is */
        weir_spsc_consumer rx;
        weir_broadcast_gated_reader gated_rx;
    };
    weir_sleeper *peer;    /* where the other end sleeps */
    weir_atomic_u64 *messages; /* this end's counter in the section; there whenever an end is attached */
    weir_sleeper *sleeper; /* where this end sleeps */
    weir_atomic_u32 cancelled;
    weir_atomic_u32 alert; /* the descriptor for poll, plus 1; 0: none */
    uint32_t full_fence;   /* this channel's senders pay the handshake's fence */
    weir_mpmc_hand hand;   /* what a work queue's consumer has in hand */
};

/* What is not done at once, and the leaving: calls behind which nothing follows, so that the fast paths are without. */
WEIR_API weir_status weir_channel_send_slow(weir_channel *channel, const void *msg, uint64_t len, int more,
                                            weir_timeout timeout);
WEIR_API weir_status weir_channel_wake_and_leave(weir_channel *channel);
WEIR_API weir_status weir_channel_reserve_slow(weir_channel *channel, uint64_t len, void **slot, weir_timeout timeout);
WEIR_API weir_status weir_channel_commit_slow(weir_channel *channel, uint64_t len, int more, weir_status status);
WEIR_API weir_status weir_channel_flush_slow(weir_channel *channel);
WEIR_API weir_status weir_channel_peek_slow(weir_channel *channel, const void **msg, uint32_t *len,
                                            weir_timeout timeout, weir_status status);
WEIR_API weir_status weir_channel_receive_slow(weir_channel *channel, void *buffer, uint64_t size_bytes, uint32_t *len,
                                               int more, weir_timeout timeout, weir_status status);
WEIR_API weir_status weir_channel_release_slow(weir_channel *channel);
WEIR_API void weir_channel_wake(weir_channel *channel);
WEIR_API void weir_channel_wake_for_hand(weir_channel *channel);

WEIR_INLINE int weir_channel_enter(weir_channel *channel)
{
    if (WEIR_UNLIKELY(channel->busy != 0))
        return 0;
    channel->busy = 1;
    weir_fence_compiler(); /* only a handler in this thread looks */
    return 1;
}

WEIR_INLINE weir_status weir_channel_leave(weir_channel *channel, weir_status status)
{
    weir_fence_compiler();
    channel->busy = 0;
    return status;
}

/* The waker's half of the handshake: what was published before, then the look at whether anybody sleeps. */
WEIR_INLINE int weir_channel_peer_sleeps(weir_channel *channel)
{
    if (channel->full_fence != 0)
        weir_fence_sc(); /* order WAKE sc: the published word before the look at armed */
    else
        weir_fence_compiler(); /* order WAKE sc: the sleeper's membarrier is the fence of both sides */
    return WEIR_UNLIKELY(weir_load32_rlx(&channel->peer->armed) != 0);
}

static inline void weir_channel_published(weir_channel *channel)
{
    if (weir_channel_peer_sleeps(channel))
        weir_channel_wake(channel);
}

/* Gives back what was read of what is in hand. */
WEIR_INLINE void weir_channel_release_hand(weir_channel *channel)
{
    weir_mpmc_hand_release(&channel->hand);
    if (weir_channel_peer_sleeps(channel))
        weir_channel_wake_for_hand(channel);
}

static inline void weir_channel_released(weir_channel *channel)
{
    if (weir_channel_peer_sleeps(channel) &&
        /* relaxed: a wrong one only delays, by at most one bounded sleep */
        (int64_t)(channel->rx.head_pos - weir_load_rlx(&channel->peer->want_pos)) >= 0)
        weir_channel_wake(channel);
}

/* Tells of what was published and leaves. */
WEIR_INLINE weir_status weir_channel_sent(weir_channel *channel, int more)
{
    if (!more && weir_channel_peer_sleeps(channel))
        return weir_channel_wake_and_leave(channel);
    return weir_channel_leave(channel, WEIR_OK);
}

/* What the lane's calls did not do.  A work queue's slots do it, if they have room, in a handle without a lane. */
WEIR_INLINE weir_status weir_channel_put_apart(weir_channel *channel, const void *msg, uint64_t len, int more,
                                               weir_timeout timeout)
{
    if (channel->tx.capacity == 0 &&
        weir_mpmc_put_now(&channel->slots_tx, msg, len, more != 0, channel->messages))
        return weir_channel_sent(channel, more);
    return weir_channel_send_slow(channel, msg, len, more, timeout);
}

WEIR_INLINE weir_status weir_channel_reserve_apart(weir_channel *channel, uint64_t len, void **slot,
                                                   weir_timeout timeout)
{
    if (channel->tx.capacity == 0 && weir_mpmc_reserve_now(&channel->slots_tx, len, slot))
        return weir_channel_leave(channel, WEIR_OK);
    return weir_channel_leave(channel, weir_channel_reserve_slow(channel, len, slot, timeout));
}

WEIR_INLINE weir_status weir_channel_commit_apart(weir_channel *channel, uint64_t len, int more)
{
    weir_status status = weir_mpmc_commit_as(&channel->slots_tx, len, more != 0, channel->messages);
    if (WEIR_LIKELY(status == WEIR_OK))
        return weir_channel_sent(channel, more);
    return weir_channel_leave(channel, weir_channel_commit_slow(channel, len, more, status));
}

WEIR_INLINE weir_status weir_channel_put(weir_channel *channel, const void *msg, uint64_t len, int more,
                                           weir_timeout timeout)
{
    if (!weir_channel_enter(channel))
        return WEIR_E_BUSY;
    if (WEIR_UNLIKELY(!weir_spsc_put_now(&channel->tx, msg, len, more != 0, channel->messages)))
        return weir_channel_put_apart(channel, msg, len, more, timeout);
    return weir_channel_sent(channel, more);
}

/* ---- producer ---- */

/* weir_send copies len bytes of msg into the channel as one message, waiting for room up to timeout.
 *
 * Ordering: release; what the caller wrote before is visible to whoever receives this message.
 * Returns:  WEIR_OK; WEIR_FULL (WEIR_NOWAIT and no room); WEIR_TIMEOUT; WEIR_CLOSED, WEIR_DIED (no room, and the
 *           consumer has gone); WEIR_CANCELLED (no room, and weir_channel_cancel); nothing was sent with any of these.  WEIR_E_TOO_LARGE (over the record limit);
 *           WEIR_E_CORRUPT; WEIR_E_STATE (a consumer's handle); WEIR_E_BUSY; WEIR_E_FORKED.
 * If killed: the message was never sent, or it is whole. */
WEIR_INLINE weir_status weir_send(weir_channel *channel, const void *msg, uint64_t len, weir_timeout timeout)
{
    return weir_channel_put(channel, msg, len, 0, timeout);
}

/* weir_send_more is weir_send that leaves the message unpublished: it appears, with all that follow it, at the next
 * send, commit, flush, drain or close, or when a call has to wait for room. */
WEIR_INLINE weir_status weir_send_more(weir_channel *channel, const void *msg, uint64_t len, weir_timeout timeout)
{
    return weir_channel_put(channel, msg, len, 1, timeout);
}

/* weir_send_array copies count messages of len bytes each, which lie one behind the other in msgs, into the channel,
 * waiting for room up to timeout.  Those that fit at once appear at once.  The fastest way to send messages of one
 * size.
 *
 * Returns:  WEIR_OK (all were sent); otherwise as weir_send, and *sent tells how many were: it is always set.
 * If killed: some of the first were sent, each whole. */
WEIR_API weir_status weir_send_array(weir_channel *channel, const void *msgs, uint64_t len, uint32_t count,
                                     uint32_t *sent, weir_timeout timeout);

/* A piece of a message; base may be NULL where len is 0. */
typedef struct weir_piece {
    const void *base;
    uint64_t len; /* bytes */
} weir_piece;

/* weir_send_pieces sends the pieces, one behind the other, as one message, waiting for room up to timeout.  A reserve
 * before it is given up.
 *
 * Returns:  as weir_send; WEIR_E_TOO_LARGE also where the lengths' sum overflows; WEIR_E_INVALID (a piece without a base).
 * If killed: the message was never sent, or it is whole. */
WEIR_API weir_status weir_send_pieces(weir_channel *channel, const weir_piece *pieces, uint32_t count,
                                      weir_timeout timeout);

/* weir_reserve gives the address, 8-byte aligned, of room for a message of up to len bytes, waiting up to timeout.
 * Write there, then weir_commit.  A send, or another reserve, gives the room up.
 *
 * Returns:  as weir_send.  If killed: the message was never sent. */
WEIR_INLINE weir_status weir_reserve(weir_channel *channel, uint64_t len, void **slot, weir_timeout timeout)
{
    if (!weir_channel_enter(channel))
        return WEIR_E_BUSY;
    if (WEIR_UNLIKELY(!weir_spsc_reserve_now(&channel->tx, len, slot)))
        return weir_channel_reserve_apart(channel, len, slot, timeout);
    return weir_channel_leave(channel, WEIR_OK);
}

WEIR_INLINE weir_status weir_channel_commit(weir_channel *channel, uint64_t len, int more)
{
    if (!weir_channel_enter(channel))
        return WEIR_E_BUSY;
    if (WEIR_UNLIKELY(channel->tx.reserved == 0) && channel->tx.capacity == 0)
        return weir_channel_commit_apart(channel, len, more);
    weir_status status = weir_spsc_commit_as(&channel->tx, len, more != 0, channel->messages);
    if (WEIR_UNLIKELY(status != WEIR_OK))
        return weir_channel_leave(channel, weir_channel_commit_slow(channel, len, more, status));
    return weir_channel_sent(channel, more);
}

/* weir_commit sends the reserved message with its first len bytes.
 *
 * Returns:  WEIR_OK; WEIR_E_STATE (nothing is reserved); WEIR_E_INVALID (len over what was reserved, which stays
 *           reserved); WEIR_E_BUSY; WEIR_E_FORKED.
 * If killed: the message was never sent, or it is whole. */
WEIR_INLINE weir_status weir_commit(weir_channel *channel, uint64_t len)
{
    return weir_channel_commit(channel, len, 0);
}

/* weir_commit_more is weir_commit that leaves the message unpublished, as weir_send_more does. */
WEIR_INLINE weir_status weir_commit_more(weir_channel *channel, uint64_t len)
{
    return weir_channel_commit(channel, len, 1);
}

/* weir_flush publishes what the _more calls left unpublished.
 *
 * Returns:  WEIR_OK (also when there was nothing); WEIR_E_STATE (a consumer's handle); WEIR_E_CORRUPT; WEIR_E_BUSY;
 *           WEIR_E_FORKED.
 * If killed: none of the batch was sent, or all. */
static inline weir_status weir_flush(weir_channel *channel)
{
    if (!weir_channel_enter(channel))
        return WEIR_E_BUSY;
    weir_status status = WEIR_OK;
    if (WEIR_UNLIKELY(channel->tx.capacity == 0)) {
        status = weir_channel_flush_slow(channel);
    } else {
        weir_spsc_flush(&channel->tx);
        weir_channel_published(channel);
    }
    return weir_channel_leave(channel, status);
}

/* ---- consumer ---- */

/* Of who has no lane in hand: from a run. */
WEIR_INLINE weir_status weir_channel_peek_apart(weir_channel *channel, const void **msg, uint32_t *len,
                                                weir_timeout timeout)
{
    if (WEIR_UNLIKELY(!weir_mpmc_hand_peek(&channel->hand, msg, len)))
        return weir_channel_leave(channel, weir_channel_peek_slow(channel, msg, len, timeout, WEIR_E_STATE));
    weir_tally(channel->messages, 1);
    return weir_channel_leave(channel, WEIR_OK);
}

/* weir_peek gives the next message in place, waiting for one up to timeout, and moves on to the one behind it.  The
 * bytes stay until weir_release.  A call that waits releases nothing: release before you wait for more than the lane
 * holds.
 *
 * Ordering: acquire.
 * Returns:  WEIR_OK; WEIR_EMPTY (WEIR_NOWAIT and no message); WEIR_TIMEOUT; WEIR_CLOSED, WEIR_DIED (nothing left, and
 *           the producer, or the last of them, has gone); WEIR_FULL (MPMC: this handle holds as much as one may, and
 *           there is more: release first; weir_receive does that itself); WEIR_AGAIN (WEIR_NOWAIT; MPMC, BROADCAST,
 *           LATEST: messages are there, and others were faster at each try); WEIR_CANCELLED; WEIR_E_CORRUPT; WEIR_E_MISMATCH (the producer that came states another capacity
 *           or type); WEIR_E_STATE (a producer's handle); WEIR_E_NO_MEMORY (no address space for the lane);
 *           WEIR_E_BUSY; WEIR_E_FORKED.
 * If killed: the message is received again by the next consumer. */
WEIR_INLINE weir_status weir_peek(weir_channel *channel, const void **msg, uint32_t *len, weir_timeout timeout)
{
    if (!weir_channel_enter(channel))
        return WEIR_E_BUSY;
    if (channel->rx.capacity == 0)
        return weir_channel_peek_apart(channel, msg, len, timeout);
    weir_status status = weir_spsc_peek(&channel->rx, msg, len);
    if (WEIR_UNLIKELY(status != WEIR_OK))
        return weir_channel_leave(channel, weir_channel_peek_slow(channel, msg, len, timeout, status));
    weir_tally(channel->messages, 1);
    return weir_channel_leave(channel, WEIR_OK);
}

/* weir_release gives the room of every message received or peeked so far back to the producer.
 *
 * Returns:  WEIR_OK; WEIR_E_STATE (a producer's handle); WEIR_E_CORRUPT; WEIR_E_BUSY; WEIR_E_FORKED.
 * If killed: all of them are received again by the next consumer, or none. */
WEIR_INLINE weir_status weir_release(weir_channel *channel)
{
    if (!weir_channel_enter(channel))
        return WEIR_E_BUSY;
    weir_status status = WEIR_OK;
    if (channel->rx.capacity != 0) {
        weir_spsc_release(&channel->rx);
        weir_channel_released(channel);
    } else if (channel->hand.run != NULL) {
        weir_channel_release_hand(channel);
    } else {
        status = weir_channel_release_slow(channel);
    }
    return weir_channel_leave(channel, status);
}

/* The same. */
WEIR_INLINE weir_status weir_channel_receive_apart(weir_channel *channel, void *buffer, uint64_t size_bytes,
                                                   uint32_t *len, weir_timeout timeout)
{
    if (WEIR_UNLIKELY(!weir_mpmc_hand_pop(&channel->hand, buffer, size_bytes, len)))
        return weir_channel_leave(channel, weir_channel_receive_slow(channel, buffer, size_bytes, len, 0, timeout,
                                                                     WEIR_E_STATE));
    weir_channel_release_hand(channel);
    weir_tally(channel->messages, 1);
    return weir_channel_leave(channel, WEIR_OK);
}

/* weir_receive copies the next message into buffer, waiting for one up to timeout, and releases it and all before it.
 * Where it gets none those stay; but of MPMC it releases them first where this handle holds as much as one may.
 *
 * Returns:  as weir_peek; WEIR_E_TOO_SMALL (size_bytes is less than the message, which stays the next; *len = its
 *           bytes).
 * If killed: the message is received again by the next consumer, or was received. */
WEIR_INLINE weir_status weir_receive(weir_channel *channel, void *buffer, uint64_t size_bytes, uint32_t *len,
                                       weir_timeout timeout)
{
    if (!weir_channel_enter(channel))
        return WEIR_E_BUSY;
    if (channel->rx.capacity == 0)
        return weir_channel_receive_apart(channel, buffer, size_bytes, len, timeout);
    weir_status status = weir_spsc_pop(&channel->rx, buffer, size_bytes, len);
    if (WEIR_UNLIKELY(status != WEIR_OK))
        return weir_channel_leave(channel, weir_channel_receive_slow(channel, buffer, size_bytes, len, 0, timeout, status));
    weir_tally(channel->messages, 1);
    weir_channel_released(channel);
    return weir_channel_leave(channel, WEIR_OK);
}

/* weir_receive_more is weir_receive without the release: weir_release, or a later weir_receive, gives back the room of
 * all.  A call that waits releases nothing. */
WEIR_INLINE weir_status weir_receive_more(weir_channel *channel, void *buffer, uint64_t size_bytes, uint32_t *len,
                                            weir_timeout timeout)
{
    if (!weir_channel_enter(channel))
        return WEIR_E_BUSY;
    weir_status status = WEIR_E_STATE;
    if (channel->rx.capacity != 0)
        status = weir_spsc_pop_more(&channel->rx, buffer, size_bytes, len);
    else if (weir_mpmc_hand_pop(&channel->hand, buffer, size_bytes, len))
        status = WEIR_OK;
    if (WEIR_UNLIKELY(status != WEIR_OK))
        return weir_channel_leave(channel, weir_channel_receive_slow(channel, buffer, size_bytes, len, 1, timeout, status));
    weir_tally(channel->messages, 1);
    return weir_channel_leave(channel, WEIR_OK);
}

WEIR_END_DECLS

#endif
