/* naming/participant.h - who is present in a section, as the kernel knows it. */
#ifndef WEIR_NAMING_PARTICIPANT_H
#define WEIR_NAMING_PARTICIPANT_H

#include <stdint.h>

#include <weir/naming/section.h>

WEIR_BEGIN_DECLS

typedef enum weir_presence {
    WEIR_ABSENT = 0, /* nobody ever had the slot */
    WEIR_ALIVE = 1,  /* its holder runs or is stopped */
    WEIR_LEFT = 2,   /* its last holder left in order */
    WEIR_DEAD = 3    /* its last holder ended without leaving */
} weir_presence;

/* What a slot's word and its lock say. */
typedef struct weir_participant {
    uint32_t slot;
    uint32_t generation; /* how many have had the slot, modulo 2^32; the holder's own number */
    uint32_t deaths;     /* how many of them ended without leaving, modulo 2^16, a dead last one included */
    weir_presence presence;
} weir_participant;

/* weir_participant_claim locks the first slot of [first, first + count) that no living participant has, and says
 * nothing of it yet: the slot's word still tells of its last holder (that it is dead, if it is), so that whoever then
 * cannot go on has not come and gone.
 *
 * Returns:  WEIR_OK (*before: the slot as it was found, WEIR_DEAD where there is somebody's work to recover);
 *           WEIR_E_IN_USE (all are held, by others or by this handle); WEIR_E_INVALID (no such slots);
 *           WEIR_E_PERMISSION (read-only); WEIR_E_FORKED; WEIR_E_OS.
 * If killed: the slot is as it was; a death that nobody had seen yet may have been written down. */
WEIR_API weir_status weir_participant_claim(weir_section *section, uint32_t first, uint32_t count,
                                            weir_participant *before);

/* weir_participant_join announces the holder of a claimed slot: generation before + 1, alive.
 *
 * Ordering: release; what the joiner did before is visible to whoever sees it present (edge SLOT).
 * Returns:  WEIR_OK; WEIR_E_STATE (this handle has not claimed it, or has joined already); WEIR_E_FORKED.
 * If killed: before the store as in claim; after it the slot is dead. */
WEIR_API weir_status weir_participant_join(weir_section *section, const weir_participant *claimed);

/* weir_participant_leave gives a slot back, in order; a slot that was claimed and not joined is as it was.
 *
 * Ordering: release; whoever sees it gone sees all that it did (edge SLOT).
 * Returns:  WEIR_OK; WEIR_E_STATE (this handle does not hold it); WEIR_E_FORKED.
 * If killed: before the store the slot is dead; after it, left. */
WEIR_API weir_status weir_participant_leave(weir_section *section, uint32_t slot);

/* weir_participant_look tells who has a slot.  One system call where its word says that somebody joined.
 *
 * Returns:  WEIR_OK; WEIR_E_INVALID (no such slot); WEIR_E_FORKED; WEIR_E_OS. */
WEIR_API weir_status weir_participant_look(weir_section *section, uint32_t slot, weir_participant *out);

/* weir_participant_glance is weir_participant_look without the system call: a holder that was killed still looks
 * WEIR_ALIVE.  For loops that ask often; async-signal-safe.  slot must be a slot of the section.  In a forked child:
 * WEIR_ABSENT. */
WEIR_API weir_participant weir_participant_glance(const weir_section *section, uint32_t slot);

WEIR_END_DECLS

#endif
