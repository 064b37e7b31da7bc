/* ipc/member.h - private: whose words a place's are (edge MEMBER).
 *
 * A holder writes its words, and then announces itself (edge SLOT).  The next one says that they are nobody's before it
 * changes the first of them, and whose they are behind the last.  An observer reads the slot's word, then these, and then
 * asks whose they are: if they still are that generation's, none of them is another's. */
#ifndef WEIR_IPC_MEMBER_H
#define WEIR_IPC_MEMBER_H

#include <weir/ipc/channel_layout.h>
#include <weir/ipc/observer.h>

#define WEIR_MEMBER_LOOKS 16 /* at a place whose holders come and go at each look */

/* ---- who comes ---- */

/* What stands there of the place's last holder is about to be changed, perhaps by one who is then refused. */
static inline void weir_member_begin(weir_channel_member *member)
{
    weir_store_rlx(&member->introduced, 0);
    /* order MEMBER rel: nobody's, before another's words.  Without it an observer can take some of them for the last
     * holder's. */
    weir_fence_rel();
}

/* Who it is, for whoever looks; its identity stands there already.  Relaxed, all of it: nothing is decided by it. */
static inline void weir_member_introduce(weir_channel_member *member, uint32_t generation, uint64_t process,
                                         uint64_t pid_space, uint64_t since_ns)
{
    weir_store_rlx(&member->process, process);
    weir_store_rlx(&member->pid_space, pid_space);
    weir_store_rlx(&member->since_ns, since_ns);
    for (unsigned i = 0; i < WEIR_COUNTS; i++)
        weir_store_rlx(&member->count_before[i], weir_load_rlx(&member->count[i]));
    /* relaxed: it is announced behind it (edge SLOT), and only who has seen that looks for this generation */
    weir_store_rlx(&member->introduced, weir_channel_introduced(generation));
}

/* ---- who looks ---- */

static inline void weir_member_counts(weir_counts *out, const uint64_t count[WEIR_COUNTS])
{
    out->messages = count[WEIR_COUNT_MESSAGES];
    out->full = count[WEIR_COUNT_FULL];
    out->slept = count[WEIR_COUNT_SLEPT];
    out->woken = count[WEIR_COUNT_WOKEN];
    out->lost = count[WEIR_COUNT_LOST];
    out->recovered = count[WEIR_COUNT_RECOVERED];
}

/* Relaxed: what makes them one holder's is said in weir_member_look. */
static inline void weir_member_read(const weir_channel_member *member, weir_member *out)
{
    uint64_t count[WEIR_COUNTS], before[WEIR_COUNTS];
    for (unsigned i = 0; i < WEIR_COUNTS; i++) { /* before first: what a holder has counted only grows */
        before[i] = weir_load_rlx(&member->count_before[i]);
        count[i] = weir_load_rlx(&member->count[i]);
    }
    out->identity = weir_load_rlx(&member->identity);
    out->process = weir_load_rlx(&member->process);
    out->pid_space = weir_load_rlx(&member->pid_space);
    out->since_ns = weir_load_rlx(&member->since_ns);
    weir_member_counts(&out->all, count);
    for (unsigned i = 0; i < WEIR_COUNTS; i++)
        count[i] -= before[i];
    weir_member_counts(&out->held, count);
}

/* weir_member_look fills generation, deaths, presence, and from known to all.
 *
 * Returns:  WEIR_OK; WEIR_EMPTY (nobody has ever been there); otherwise as weir_participant_look. */
static inline weir_status weir_member_look(weir_section *section, uint32_t slot, const weir_channel_member *member,
                                           weir_member *out)
{
    weir_participant seen;
    bool same = false;
    out->known = false;
    for (int look = 0; look < WEIR_MEMBER_LOOKS && !out->known && !same; look++) {
        weir_status status = weir_participant_look(section, slot, &seen);
        if (status != WEIR_OK)
            return status;
        if (seen.presence == WEIR_ABSENT)
            return WEIR_EMPTY;
        weir_member_read(member, out);
        /* order MEMBER acq: the words before the look at whose they are. */
        weir_fence_acq();
        out->known = weir_load_rlx(&member->introduced) == weir_channel_introduced(seen.generation);
        same = weir_participant_glance(section, slot).generation == seen.generation;
    }
    if (!out->known) { /* all stays: each only grows */
        out->identity = out->process = out->pid_space = out->since_ns = 0;
        out->held = (weir_counts){ .messages = 0 };
    }
    out->generation = seen.generation;
    out->deaths = seen.deaths;
    out->presence = seen.presence;
    return WEIR_OK;
}

#endif
