/* naming/section.h - named sections: memory that processes share by name.
 *
 * A section is created whole or not at all, really allocated before anybody sees it, and gone when the last process
 * that has it open closes it.  If its last users were all killed, the next create or open by that uid takes it away.
 * naming/README.md has the layout, the locks and what holds after a death at each step.
 *
 * Where a name lives: WEIR_SHM_DIR, else /dev/shm.  Ask for offsets into the content, never for addresses: every
 * process maps it elsewhere.
 *
 * Callers:  a handle is one thread's at a time; different handles, of one section too, are independent.
 * Fork:     a child's copy of a handle answers WEIR_E_FORKED to everything but close, and its views are not there; the
 *           parent's are untouched.  A child made without atfork handlers (a raw clone) keeps what the parent holds
 *           alive until it execs or exits.  Exec without close is as a death.
 * Truncation: a peer that may write the section may also truncate its file; that is a fault weir does not survive. */
#ifndef WEIR_NAMING_SECTION_H
#define WEIR_NAMING_SECTION_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/base/status.h>
#include <weir/naming/name.h>

WEIR_BEGIN_DECLS

typedef struct weir_section weir_section;

typedef enum weir_access {
    WEIR_READ_WRITE = 0,
    WEIR_READ_ONLY = 1 /* an observer: it does not keep the section alive and cannot change a byte of it */
} weir_access;

#define WEIR_SECTION_SIZE_MAX (UINT64_C(1) << 47) /* bytes of content */
#define WEIR_SLOTS_MAX 256u

/* How a section is made or opened; all zero is a good start.  NULL stands for all zero. */
typedef struct weir_section_options {
    uint32_t content; /* what is in it, any number of the caller's; a differing one is refused.  0: plain data */
    uint32_t slots;   /* create: room for this many participants, at most WEIR_SLOTS_MAX */
    uint32_t mode;    /* create: its permission bits, whatever the umask; open: the widest accepted.  0: 0600 */
    weir_access access;
    /* create: fills the content (all zero before) while nobody can see it; what it returns but WEIR_OK fails create.
     * It may not fork nor call any weir_section function. */
    weir_status (*init)(void *content, uint64_t size_bytes, void *arg);
    void *init_arg;
} weir_section_options;

/* weir_section_create makes a section of size_bytes of content, zeroed, and gives this process a handle to it.
 *
 * Stale sections of that name (nobody has them open) are replaced.
 * Returns:  WEIR_OK; WEIR_E_EXISTS (a live section has the name); WEIR_E_INVALID; WEIR_E_NAME; WEIR_E_NO_SPACE (need,
 *           have and where are in weir_error_detail); WEIR_E_NO_MEMORY; WEIR_E_PERMISSION (the directory, or whoever
 *           stands at the name; their owner is named); WEIR_E_NOT_WEIR, WEIR_E_VERSION, WEIR_E_CORRUPT (what stands
 *           at the name is no section of this library, and is left alone); WEIR_E_BUSY (the name is held locked by
 *           somebody, for 2 seconds); WEIR_E_UNSUPPORTED (the directory's file system); WEIR_E_OS; or what init
 *           returned.
 * If killed: nothing is there, or the whole section, stale. */
WEIR_API weir_status weir_section_create(weir_section **out, const char *name, uint64_t size_bytes,
                                         const weir_section_options *options);

/* weir_section_open opens the live section of that name.
 *
 * Returns:  WEIR_OK; WEIR_E_NOT_FOUND (none, or a stale one, which is removed unless access is read-only);
 *           WEIR_E_MISMATCH (its content is another); otherwise as weir_section_create.
 * If killed: as if it had not been called. */
WEIR_API weir_status weir_section_open(weir_section **out, const char *name, const weir_section_options *options);

/* weir_section_open_or_create opens the live section of that name, or else makes it.  *created, unless created is NULL,
 * tells which; an existing one keeps its own size.  Returns: as both, but neither EXISTS nor NOT_FOUND. */
WEIR_API weir_status weir_section_open_or_create(weir_section **out, const char *name, uint64_t size_bytes,
                                                 const weir_section_options *options, bool *created);

/* weir_section_close leaves every slot that the handle holds, and gives the handle up.  The last to close removes the
 * section.  NULL is accepted.
 *
 * Returns:  WEIR_OK (in a forked child too: only the child's copy is freed); WEIR_E_BUSY (views are mapped; nothing was
 *           done).
 * If killed: the section goes with its other users, or is left stale. */
WEIR_API weir_status weir_section_close(weir_section *section);

/* weir_section_size gives the bytes of content now; 0 in a forked child. */
WEIR_API uint64_t weir_section_size(weir_section *section);

/* weir_section_forked tells whether the handle is a forked child's copy.  Async-signal-safe. */
WEIR_API bool weir_section_forked(const weir_section *section);

/* weir_section_name returns the canonical name, valid until close. */
WEIR_API const char *weir_section_name(const weir_section *section);

/* weir_section_extend makes the content size_bytes long, zeroed and really allocated behind its old end.  Others see
 * the new size when it is there.  Views stay as they are.
 *
 * Callers:  one extender of a section at a time, among all processes: holding a slot is a way to see to that.
 * Returns:  WEIR_OK (also when it is that long already); WEIR_E_INVALID; WEIR_E_NO_SPACE; WEIR_E_PERMISSION
 *           (read-only); WEIR_E_FORKED; WEIR_E_OS.
 * If killed: the old size stands; memory behind it may stay allocated until the next extend, or until the section
 * goes. */
WEIR_API weir_status weir_section_extend(weir_section *section, uint64_t size_bytes);

/* ---- views ---- */

/* A piece of the content at an address of this process. */
typedef struct weir_view {
    void *base;
    uint64_t offset; /* bytes from the content's start */
    uint64_t size;   /* bytes */
    weir_section *section;
} weir_view;

/* weir_view_map maps size bytes of the content from offset on.  offset is a multiple of 64 KiB (so that one program
 * runs on both systems); size 0 means up to the end.  Several views of one section are coherent.
 *
 * Returns:  WEIR_OK; WEIR_E_INVALID (offset not a multiple of 64 KiB, or the range is not inside the content);
 *           WEIR_E_PERMISSION (wider than the handle's access); WEIR_E_NO_MEMORY; WEIR_E_FORKED; WEIR_E_CORRUPT (the
 *           file is shorter than its header says).
 * If killed: a view goes with its process. */
WEIR_API weir_status weir_view_map(weir_view *out, weir_section *section, uint64_t offset, uint64_t size_bytes,
                                   weir_access access);

/* weir_view_unmap gives the addresses up.  In a forked child it does nothing to the address space.
 *
 * Returns:  WEIR_OK; WEIR_E_INVALID (view was not mapped). */
WEIR_API weir_status weir_view_unmap(weir_view *view);

/* ---- participants: who is present, as the kernel knows it ---- */

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
