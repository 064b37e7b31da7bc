/* ipc/observer.h - looking at a channel: who is there, since when, and what they have counted.
 *
 * An observer is no participant: it maps the section read-only, takes no place, holds no lock that a participant waits
 * for, and keeps nothing alive: the last participant to close takes the section away all the same.
 *
 * Callers:  a handle is one thread's at a time.
 * Progress: system calls, a bounded number: one for each participant that says it is there, a few more while they come
 *           and go.  It waits for nobody, and nobody waits for it.
 * Verdicts: who lives is what the kernel says of the place's lock, right across pid namespaces, and of stopped
 *           processes; a pid is shown and never used.
 * Hostile:  any bytes in the section yield a status, or numbers that are not so.  Whoever may write the section may
 *           also cut it short, which is a fault (section.h). */
#ifndef WEIR_IPC_OBSERVER_H
#define WEIR_IPC_OBSERVER_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/base/status.h>
#include <weir/ipc/channel.h>
#include <weir/naming/participant.h>

WEIR_BEGIN_DECLS

typedef struct weir_observer weir_observer;

/* What participants count, each its own, in the section. */
typedef struct weir_counts {
    uint64_t messages;  /* sent, or received */
    uint64_t full;      /* sends that found no room */
    uint64_t slept;
    uint64_t woken;     /* sleeps that a peer, a cancel or the news of a death ended */
    uint64_t lost;      /* messages overwritten before they were read (BROADCAST) */
    uint64_t recovered; /* how often it saw to what a dead participant had left */
} weir_counts;

/* What a position says.  In bytes of the ring since it was made, headers and padding included; MPMC, and a consumer of
 * BROADCAST: in messages; LATEST: in values. */
typedef enum weir_position {
    WEIR_POSITION_NONE = 0,      /* the ring keeps none for this place, or there is no ring yet */
    WEIR_POSITION_PUBLISHED = 1, /* a producer's: so far it has published, at least (BROADCAST: less than an eighth of
                                  * the lane ago; LATEST: exactly) */
    WEIR_POSITION_RELEASED = 2,  /* a consumer's: what it has released; a producer's: what was released of its lane (MPSC,
                                  * MPSC_ORDERED), or by all as far as it has looked (BROADCAST_GATED) */
    WEIR_POSITION_CLAIMED = 3,   /* a producer's: what consumers have taken of its lane (MPMC) */
    WEIR_POSITION_READ = 4       /* a consumer's: so far it has read, as it said last (BROADCAST, LATEST) */
} weir_position;

/* One place of a channel, and its holder or last holder. */
typedef struct weir_member {
    weir_role role;
    uint32_t place;         /* among its role */
    uint32_t generation;    /* how many have had the place */
    uint32_t deaths;        /* how many of them were killed, modulo 2^16, a dead last one included */
    weir_presence presence; /* never WEIR_ABSENT */
    bool known;             /* false: another has just begun to come to the place, or was refused there: what stood
                             * there of its last holder is gone; from here to held, all is 0 */
    uint64_t identity;      /* that it stated */
    uint64_t process;       /* its pid, as it says itself, in its own pid namespace: */
    uint64_t pid_space;     /* this one (Linux: the inode of /proc/PID/ns/pid); 0: not known */
    uint64_t since_ns;      /* when it came: CLOCK_REALTIME */
    weir_counts held;       /* what it has counted since */
    weir_counts all;        /* what all holders of the place have */
    weir_position position_is;
    uint64_t position;      /* of the place */
} weir_member;

#define WEIR_CHANNEL_PLACES_MAX (2 * WEIR_MEMBERS_MAX) /* that a channel has, of both roles */

/* weir_observer_open opens the channel of that name for looking; of another kind than this library knows, too.  It need
 * not be this user's to write: mode bits that let it be read are enough.  options NULL: of this user or root, whatever
 * the mode; else its mode, and its owner with WEIR_EXPECT_OWNER, as in weir_section_open.
 *
 * Returns:  WEIR_OK; WEIR_E_NOT_FOUND (nobody has it open, or there is none); WEIR_E_MISMATCH (a section that is no
 *           channel); WEIR_E_VERSION (a channel of another layout); WEIR_E_CORRUPT; WEIR_E_INVALID; otherwise as
 *           weir_section_open.
 * If killed: as if it had not been called. */
WEIR_API weir_status weir_observer_open(weir_observer **out, const char *name, const weir_section_options *options);

/* weir_observer_close ends the looking.  NULL is accepted.  Returns: WEIR_OK. */
WEIR_API weir_status weir_observer_close(weir_observer *observer);

/* weir_observer_channel tells what weir_channel_info does; this handle's own place and counts, which it has not, are 0.
 *
 * Returns:  WEIR_OK; WEIR_E_CORRUPT (an impossible type; it became shorter); WEIR_E_INVALID; WEIR_E_FORKED; WEIR_E_NO_MEMORY; WEIR_E_OS. */
WEIR_API weir_status weir_observer_channel(weir_observer *observer, weir_channel_facts *facts);

/* weir_observer_members tells of every place that somebody has had, producers first.  *count is how many those are; the
 * first `max` of them are in out.  Each is whole: its holder's words are of the generation it shows.  They were not all
 * looked at in one moment.
 *
 * Ordering: acquire; a holder's words after its announcement (edges SLOT, MEMBER).
 * Returns:  WEIR_OK; WEIR_E_INVALID; WEIR_E_CORRUPT (it became shorter); WEIR_E_FORKED; WEIR_E_NO_MEMORY; WEIR_E_OS. */
WEIR_API weir_status weir_observer_members(weir_observer *observer, weir_member *out, uint32_t max, uint32_t *count);

/* weir_channel_members is weir_observer_members for a participant; it sees itself too.
 *
 * Returns:  as weir_observer_members; WEIR_E_BUSY (inside another call on the handle). */
WEIR_API weir_status weir_channel_members(weir_channel *channel, weir_member *out, uint32_t max, uint32_t *count);

/* weir_members_total adds up what all holders of all places of a role have counted.  members: all there are. */
static inline weir_counts weir_members_total(const weir_member *members, uint32_t count, weir_role role)
{
    weir_counts sum = { 0, 0, 0, 0, 0, 0 };
    for (uint32_t i = 0; i < count; i++) {
        if (members[i].role != role)
            continue;
        sum.messages += members[i].all.messages;
        sum.full += members[i].all.full;
        sum.slept += members[i].all.slept;
        sum.woken += members[i].all.woken;
        sum.lost += members[i].all.lost;
        sum.recovered += members[i].all.recovered;
    }
    return sum;
}

WEIR_END_DECLS

#endif
