/* naming/registry.h - from a section's id and an offset to an address of this process.
 *
 * An address means nothing to another process; a ref does.  Who puts a ref into shared memory says which section is
 * meant, by its id, and which byte of its content.  Who reads it resolves it, against the views that its own process has
 * published, while other threads publish and retire views:
 *
 *   weir_read_begin();                                          each thread, any number of times
 *   if (weir_resolve(ref, sizeof *p, WEIR_READ_ONLY, &at) == WEIR_OK) { p = at; use(*p); }
 *   weir_read_end();                                            p is dead
 *
 *   weir_view_map(&view, section, ...);  weir_registry_publish(&view);
 *   weir_registry_retire(&view);         weir_view_unmap(&view);
 *
 * An address that was resolved holds until the read section ends, because a view is not given up before every read
 * section that was open when it was retired has ended: a grace period (read-copy-update; McKenney and Slingwine 1998).
 * Two backends find out when that is, liburcu's and one of our own; naming/README.md has both, and what they cost.
 *
 * A ref is input: from a peer it may be any 16 bytes, and gives an address inside of a published view, or a status.
 * Where nothing has been published, nothing is resolved; which sections a peer can make this process read is decided by
 * what is published.
 *
 * A read section is short: it may nest, and whoever retires waits for it.  In it, do not wait for anything that a thread
 * may hold while it publishes, retires, or forks.
 *
 * Fork:     in a child nothing is published: its parent's views are not there.  It may open sections and publish views
 *           of its own, unless it was forked inside of a read section: then publish answers WEIR_E_FORKED until exec.
 *           What the child must not do is call urcu_bp_before_fork for its own use of liburcu: weir's fork handler does. */
#ifndef WEIR_NAMING_REGISTRY_H
#define WEIR_NAMING_REGISTRY_H

#include <stdint.h>

#include <weir/naming/section.h>
#include <weir/naming/view.h>

WEIR_BEGIN_DECLS

/* The one pointer that may stand in shared memory.  {0, 0}, as zeroed memory has it, refers to nothing. */
typedef struct weir_ref {
    uint64_t section; /* weir_section_id */
    uint64_t offset;  /* bytes from the content's start */
} weir_ref;

/* weir_section_id gives the number that a section, named or unnamed, has got at random when it was made (or made again),
 * the same in every process that has it open: 64 bits, never 0.  0 for a section of a file: a file holds its content and
 * nothing else, and what the system knows it by (device and inode) is used again for another one, and differs between
 * machines and mounts.  A constant of the handle.
 *
 * Callers:  as the handle's. */
WEIR_API uint64_t weir_section_id(const weir_section *section);

/* ---- reading ---- */

/* weir_read_begin opens a read section of this thread; weir_read_end closes it.  They nest: the outermost pair counts.
 *
 * Callers:  any thread, without registration; a thread's first begin registers it, which takes memory and may take a
 *           lock, and is undone when it ends.  A thread that ends inside has left.  Async-signal-safe: no.
 * Progress: wait-free but for a thread's first begin; no system call.
 * Ordering: what was written to a view's memory before it was published is visible behind a resolve (edge GRACE-DATA);
 *           all reads in a section come before what is done to a view after its retirement (edges GRACE-READ,
 *           GRACE-LEFT; liburcu: its own).
 * Returns:  begin: WEIR_OK; WEIR_E_NO_MEMORY (a thread's first begin; no section is open).
 *           end: WEIR_OK; WEIR_E_STATE (none is open).
 * If killed: nothing is left; all of it is the process's own. */
WEIR_API weir_status weir_read_begin(void);
WEIR_API weir_status weir_read_end(void);

/* weir_resolve gives the address of the len bytes that ref means, for reading (WEIR_READ_ONLY) or for reading and
 * writing (WEIR_READ_WRITE).  Of several views that cover all of them it takes one, any one; bytes that only two views
 * together cover are not in one piece.  The address is valid until the outermost read section ends.
 *
 * Callers:  any thread, inside a read section.  Progress: wait-free: a binary search; no system call.
 * Ordering: acquire (edge GRACE-DATA).
 * Returns:  WEIR_OK; WEIR_E_NOT_FOUND (no view of that section is published: open it, map, publish, and try again);
 *           WEIR_E_RANGE (one is, but none that covers these bytes); WEIR_E_ACCESS (only read-only views cover them);
 *           WEIR_E_STATE (outside of a read section); WEIR_E_INVALID (len 0; an access that is neither; no place for the
 *           address). */
WEIR_API weir_status weir_resolve(weir_ref ref, uint64_t len, weir_access access, void **out);

/* weir_ref_of gives the ref of len bytes at ptr in a mapped view.
 *
 * Callers:  any thread while the view is mapped; it need not be published.
 * Returns:  WEIR_OK; WEIR_E_RANGE (they are not inside of the view); WEIR_E_STATE (of a file: it has no id);
 *           WEIR_E_INVALID (len 0; view was not mapped; no place for the ref). */
WEIR_API weir_status weir_ref_of(const weir_view *view, const void *ptr, uint64_t len, weir_ref *out);

/* ---- views come and go ---- */

/* weir_registry_publish lets all threads resolve what lies in the view, as long as the section's content goes.  A
 * published view is not unmapped, nor is memory of it decommitted, before it is retired.  Of a growing view what can be
 * touched is published; after weir_view_refresh publish it again, as often as it grows.  Where room was reserved, all of
 * the view must be committed, and reachable in it: a ref from anywhere must not be a fault.
 *
 * Callers:  the thread that has the section's handle; others may publish and retire meanwhile.  Not inside of a read
 *           section.
 * Progress: blocks until all read sections that are open now have ended: the table that they look at is used again.
 * Returns:  WEIR_OK (also for one that is published: then it is published as it is now); WEIR_E_STATE (inside of a read
 *           section; a section of a file, which has no id; reserved room that is not committed throughout, or not reached);
 *           WEIR_E_EXISTS (another section that says it has the same id has a view here: one of the two was
 *           copied, or is there to deceive; retire its views first); WEIR_E_INVALID (view was not mapped; a copy-on-write
 *           view, whose bytes are not the section's once it is written to); WEIR_E_NO_MEMORY; WEIR_E_FORKED;
 *           WEIR_E_PERMISSION, WEIR_E_OS; of reserved room as weir_view_refresh too.  Nothing is changed by a failure.
 * If killed: nothing is left. */
WEIR_API weir_status weir_registry_publish(const weir_view *view);

/* weir_registry_retire takes the view out and waits for a grace period.  When it returns, no thread holds an address in
 * the view that it got from weir_resolve, so that the view may be unmapped.  It does not fail for want of memory.
 *
 * Callers:  as weir_registry_publish.
 * Progress: blocks until all read sections that are open now have ended.
 * Returns:  WEIR_OK (also if it was not published); WEIR_E_STATE (inside of a read section: it would wait for itself);
 *           WEIR_E_INVALID (view was not mapped); WEIR_E_FORKED.
 * If killed: nothing is left. */
WEIR_API weir_status weir_registry_retire(const weir_view *view);

/* weir_registry_backend names what finds out when a grace period is over: "urcu" or "portable". */
WEIR_API const char *weir_registry_backend(void);

WEIR_END_DECLS

#endif
