/* naming/companion.h - private: a FIFO beside a named section, for the holder of a slot that sleeps in poll(2).
 *
 * A futex has no descriptor.  Who wants one that becomes readable when there is something to do makes a companion; who
 * would wake a futex opens it and writes a byte.  Its name is the section's file's, "@" and the slot's number: "@" is
 * in no section's name.  It has the section's owner, group and mode.
 *
 * Its life: the section's header has a bit for each, set before the FIFO is made and cleared behind its removal, so
 * that nobody who is killed leaves one that nobody knows of.  The holder that leaves its slot removes its own
 * (weir_participant_leave does); a killed holder's is its successor's, or goes with the section's name, removed before
 * that by whoever removes the name.  One whose section went in another way (rm, an older library) is removed by
 * weir_section_clean, or taken over.
 *
 * The bits are peer-written.  Any bytes there lead to nothing but unlinkat of one of 256 names that are no section's,
 * of a FIFO that is the section owner's or this user's. */
#ifndef WEIR_NAMING_COMPANION_H
#define WEIR_NAMING_COMPANION_H

#include <stdbool.h>

#include <weir/naming/section.h>

/* weir_companion_make makes the slot's FIFO, or takes over the one that is there, and gives a descriptor of it that
 * reads and writes, does not block and is closed by exec.  The caller closes it with weir_companion_close.  It holds a
 * read lock on the FIFO, which keeps weir_section_clean from taking it for an orphan.
 *
 * Callers:  the holder of the slot (weir_participant_claim), one call at a time per handle.  A forked child has a copy
 *           of the descriptor until it closes that or execs.
 * Returns:  WEIR_OK; WEIR_E_FORKED; WEIR_E_INVALID (no place for the descriptor); WEIR_E_STATE (the handle does not
 *           hold that slot); WEIR_E_UNSUPPORTED (a section without a name, or a file; no locks on FIFOs there);
 *           WEIR_E_NOT_FOUND (the section's name was removed, or means another); WEIR_E_NOT_WEIR (what stands there is
 *           no FIFO; it was left alone); WEIR_E_PERMISSION (it is somebody else's; the section is of another user, who
 *           alone, but for root, can have companions in it); WEIR_E_NO_SPACE; WEIR_E_NO_MEMORY (descriptors);
 *           WEIR_E_BUSY (somebody has held it locked for 2 seconds); WEIR_E_OS.  *fd is untouched unless it is WEIR_OK.
 * If killed: a FIFO may be there that the section's header knows of: the slot's next holder's, or gone with the
 *           section. */
weir_status weir_companion_make(weir_section *section, uint32_t slot, int *fd);

/* weir_companion_open opens the slot's FIFO, to write a byte into it: the descriptor neither blocks nor raises SIGPIPE,
 * because it has both ends.  It is good as long as that holder has its slot and its descriptor; one that a dead holder
 * had is its successor's, too.  A write that says EAGAIN has found the FIFO full: the sleeper will wake.
 *
 * Callers:  any thread.  Async-signal-safe: yes (openat, fstat, close; there is no text of a failure for that reason).
 *           Needs 5 KiB of stack.  The order between a holder's make and another's open is the callers' matter:
 *           whoever has seen what a holder published behind its make finds the FIFO.
 * Returns:  WEIR_OK; WEIR_E_NOT_FOUND (that slot has none); WEIR_E_NOT_WEIR (what stands there is no FIFO);
 *           WEIR_E_PERMISSION (its owner or mode is not the section's, or you may not open it); WEIR_E_UNSUPPORTED;
 *           WEIR_E_FORKED; WEIR_E_INVALID (no such slot, or no place for the descriptor); WEIR_E_NO_MEMORY;
 *           WEIR_E_OS.
 * If killed: nothing changed. */
weir_status weir_companion_open(const weir_section *section, uint32_t slot, int *fd);

/* weir_companion_is_named: does the FIFO of this descriptor, of make or open, still have a name?  A waker that keeps one
 * asks before each use: without its name the FIFO was its holder's who has left, and the next one has another.
 *
 * Callers:  any thread.  Async-signal-safe: yes (fstat). */
bool weir_companion_is_named(int fd);

/* weir_companion_remove removes the slot's FIFO; without one it makes no system call.  weir_participant_leave calls it.
 *
 * Callers:  as weir_companion_make.
 * Returns:  WEIR_OK, also where there is none; WEIR_E_FORKED; WEIR_E_STATE; WEIR_E_OS (it stays, and the header says
 *           so).
 * If killed: it is there and the header says so, or gone. */
weir_status weir_companion_remove(weir_section *section, uint32_t slot);

/* weir_companion_close closes what make and open gave, and keeps errno. */
void weir_companion_close(int fd);

#endif
