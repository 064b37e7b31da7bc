/* naming/section.h - sections: memory that processes share.
 *
 * A section is one of three kinds:
 *   named    page-file-backed, found by its name; this header.
 *   unnamed  page-file-backed, handed from process to process; unnamed.h.
 *   file     its content is a file's, before and after; file.h.
 * A page-file-backed section is created whole or not at all, really allocated before anybody sees it, and gone when the
 * last process that has it open closes it, unless it was made to persist.  If the last users of a named one were all
 * killed, the next create or open by that uid takes it away.  naming/README.md has the layout, the locks, and what
 * holds after a death at each step.
 *
 * Where a name lives: WEIR_SHM_DIR, else /dev/shm.  Ask for offsets into the content, never for addresses: every
 * process maps it elsewhere (view.h).
 *
 * Callers:  a handle is one thread's at a time; different handles, of one section too, are independent.
 * Fork:     a child's copy of a handle answers WEIR_E_FORKED to everything but close, and its views are not there; the
 *           parent's are untouched.  A child made without atfork handlers (a raw clone) keeps what the parent holds
 *           alive until it execs or exits.  Exec without close is as a death.
 * Truncation: a peer that may write a named section or a file may also truncate it; that is a fault weir does not
 *           survive.  An unnamed section can be sealed against it. */
#ifndef WEIR_NAMING_SECTION_H
#define WEIR_NAMING_SECTION_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/base/status.h>
#include <weir/naming/name.h>

WEIR_BEGIN_DECLS

typedef struct weir_section weir_section;

typedef enum weir_section_kind {
    WEIR_SECTION_NAMED = 0,
    WEIR_SECTION_UNNAMED = 1,
    WEIR_SECTION_FILE = 2
} weir_section_kind;

/* What a handle may do, and what a view may.  A view's is never wider than its section's: a writable view needs a
 * read-write section; the other two, any. */
typedef enum weir_access {
    WEIR_READ_WRITE = 0,
    WEIR_READ_ONLY = 1,    /* an observer: it does not keep a section alive and cannot change a byte of it */
    WEIR_COPY_ON_WRITE = 2 /* a view's writes stay with the view; of a section: views read-only or copy-on-write */
} weir_access;

#define WEIR_SECTION_SIZE_MAX (UINT64_C(1) << 47) /* bytes of content */
#define WEIR_SLOTS_MAX 256u
#define WEIR_COMMIT_GRANULE UINT64_C(65536) /* bytes: reserved room is committed in multiples of it */

/* weir_section_options.flags.  A flag that a call does not serve is WEIR_E_INVALID. */
#define WEIR_PERSISTENT 0x1u   /* create, named: it stays when nobody has it open, until weir_section_remove */
#define WEIR_RESERVE 0x2u      /* create: size_bytes is room; commit_bytes of it are allocated, the rest on commit */
#define WEIR_SET_GROUP 0x4u    /* create: its group is the one in options.group */
#define WEIR_EXPECT_OWNER 0x8u /* open: accept options.owner's alone.  Without it: this user's own and root's */
#define WEIR_DUMP 0x10u        /* views are in core dumps; without it they are kept out */
#define WEIR_FILE_CREATE 0x20u /* file: make it if it is not there */
#define WEIR_FILE_NEW 0x40u    /* file: make it; one that is there is WEIR_E_EXISTS */
#define WEIR_MAP_AHEAD 0x80u   /* named: the content is mapped with the header, for the first growing view of all of it:
                                * one mapping less.  A hint; of reserved room, or opened to look, it does nothing */
#define WEIR_SEAL_SHRINK 0x100u /* unnamed: nobody can make it shorter any more */
#define WEIR_SEAL_GROW 0x200u   /* unnamed: nobody can make it longer */
#define WEIR_SEAL_WRITE 0x400u  /* unnamed: no new writable view, by anybody; those mapped before stay */
#define WEIR_SEAL_SEAL 0x800u   /* unnamed: no further seal */

/* weir_section_options.want and demand: properties of the memory.  What is wanted is had as far as the system gives it;
 * what is demanded is had, or the call fails.  weir_view_memory (view.h) tells what was really got. */
#define WEIR_LARGE_PAGES 0x10000u /* unnamed: the system's huge pages; named: transparent ones.  Not of file sections */
#define WEIR_PREFAULT 0x20000u    /* pages are in the view's page table before map returns */
#define WEIR_LOCKED 0x40000u      /* views are locked in memory */
#define WEIR_ON_NODE 0x80000u     /* create: allocated on NUMA node options.node; a view: all its pages are there */
#define WEIR_NOT_DUMPED 0x100000u /* views are kept out of core dumps (wanted by default) */
#define WEIR_MAP_NAME 0x200000u   /* views show the section's name in /proc/PID/maps (wanted by default) */

#define WEIR_INIT_BYTES_MAX 4608u /* of weir_section_options.init_bytes: a copy of it is made on the stack */

/* How a section is made or opened; all zero is a good start.  NULL stands for all zero. */
typedef struct weir_section_options {
    uint32_t content; /* what is in it, any number of the caller's; a differing one is refused.  0: plain data */
    uint32_t slots;   /* create: room for this many participants, at most WEIR_SLOTS_MAX */
    uint32_t mode;    /* create: its permission bits, whatever the umask, its owner's 0600 among them; open: the
                       * widest accepted.  0: 0600 */
    weir_access access;
    /* create: fills the content that is committed (all zero before) while nobody can see it; what it returns but
     * WEIR_OK fails create.  It is called once for each try, also where another then turns out to have been first.  It
     * may not fork, leave by longjmp, nor call any weir_section function. */
    weir_status (*init)(void *content, uint64_t size_bytes, void *arg);
    void *init_arg;
    uint64_t init_bytes; /* create: init fills no more than so many of the content's first bytes, and is given those, of
                          * which it keeps no address; not with WEIR_RESERVE, and at most WEIR_INIT_BYTES_MAX.  0: it
                          * is given all */
    uint32_t flags;        /* WEIR_PERSISTENT and the others */
    uint32_t group;        /* with WEIR_SET_GROUP: a gid */
    uint32_t owner;        /* with WEIR_EXPECT_OWNER: a uid; of open_or_create, this user's own */
    uint32_t want, demand; /* WEIR_LARGE_PAGES and the others, for the memory and for all views of this handle */
    uint32_t node;         /* with WEIR_ON_NODE */
    uint64_t commit_bytes; /* create, with WEIR_RESERVE: committed from the start, of the content's beginning */
    const char *label;     /* unnamed: what /proc/PID/maps calls it, at most 200 bytes.  NULL: "weir" */
} weir_section_options;

/* weir_section_create makes a section of size_bytes of content, zeroed, and gives this process a handle to it.
 *
 * Stale sections of that name (nobody has them open) are replaced; persistent ones are not.
 * Returns:  WEIR_OK; WEIR_E_EXISTS (a section in use has the name, or a persistent one); WEIR_E_INVALID; WEIR_E_NAME;
 *           WEIR_E_NO_SPACE (need, have and where are in weir_error_detail); WEIR_E_NO_MEMORY; WEIR_E_PERMISSION (the
 *           directory, the group, or whoever stands at the name; their owner is named); WEIR_E_NOT_WEIR,
 *           WEIR_E_VERSION, WEIR_E_CORRUPT (what stands at the name is no section of this library, and is left alone);
 *           WEIR_E_BUSY (the name is held locked by somebody, for 2 seconds); WEIR_E_UNSUPPORTED (the directory's file
 *           system; WEIR_RESERVE where pages are larger than 4096 bytes; what was demanded and cannot be had; a
 *           system without getrandom); WEIR_E_OS; or what init returned.
 * If killed: nothing is there, or the whole section, stale (a persistent one: unused). */
WEIR_API weir_status weir_section_create(weir_section **out, const char *name, uint64_t size_bytes,
                                         const weir_section_options *options);

/* weir_section_open opens the section of that name: one in use, or a persistent one.
 *
 * Returns:  WEIR_OK; WEIR_E_NOT_FOUND (none, or a stale one, which is removed unless access is read-only or
 *           copy-on-write); WEIR_E_MISMATCH (its content is another); otherwise as weir_section_create.
 * If killed: as if it had not been called. */
WEIR_API weir_status weir_section_open(weir_section **out, const char *name, const weir_section_options *options);

/* weir_section_open_or_create opens the section of that name, or else makes it.  *created, unless created is NULL,
 * tells which; an existing one keeps its own size.  Returns: as both, but neither EXISTS nor NOT_FOUND. */
WEIR_API weir_status weir_section_open_or_create(weir_section **out, const char *name, uint64_t size_bytes,
                                                 const weir_section_options *options, bool *created);

/* weir_section_close leaves every slot that the handle holds, and gives the handle up.  The last to close a named
 * section removes it, unless it persists; the memory of an unnamed one goes with its last handle, view and exported
 * descriptor; a file stays.  NULL is accepted.
 *
 * Returns:  WEIR_OK (in a forked child too: only the child's copy is freed); WEIR_E_BUSY (views are mapped; nothing was
 *           done).
 * If killed: the section goes with its other users, or is left stale. */
WEIR_API weir_status weir_section_close(weir_section *section);

/* weir_section_remove removes a named section that nobody has open: a persistent one, or a stale one.
 *
 * Returns:  WEIR_OK; WEIR_E_NOT_FOUND; WEIR_E_IN_USE (somebody has it open, not counting observers; nothing was done);
 *           WEIR_E_PERMISSION; WEIR_E_NAME, WEIR_E_NOT_WEIR, WEIR_E_VERSION, WEIR_E_CORRUPT, WEIR_E_BUSY,
 *           WEIR_E_NO_MEMORY, WEIR_E_UNSUPPORTED, WEIR_E_OS as weir_section_open.
 * If killed: it is there, or it is gone. */
WEIR_API weir_status weir_section_remove(const char *name);

/* weir_section_size gives the bytes of content now (of a reserved one: the room); 0 in a forked child. */
WEIR_API uint64_t weir_section_size(weir_section *section);

/* weir_section_is_reserved tells whether its room was reserved when it was made: then only what is committed may be
 * touched.  A constant of the handle. */
WEIR_API bool weir_section_is_reserved(const weir_section *section);

/* weir_section_forked tells whether the handle is a forked child's copy.  Async-signal-safe. */
WEIR_API bool weir_section_forked(const weir_section *section);

/* weir_section_name returns the canonical name; of an unnamed one its label, of a file its path as given.  Valid until
 * close. */
WEIR_API const char *weir_section_name(const weir_section *section);

/* weir_section_extend makes the content size_bytes long, zeroed and really allocated behind its old end.  Others see
 * the new size when it is there (of a file: when they open it again).  Views stay as they are.  Of several that
 * extend a section at once one goes after the other.  Where a file is longer than the section, its data stay and its
 * holes are filled.
 *
 * Returns:  WEIR_OK (also when it is that long already); WEIR_E_INVALID; WEIR_E_NO_SPACE; WEIR_E_PERMISSION
 *           (read-only, or sealed); WEIR_E_STATE (its room was reserved at creation); WEIR_E_BUSY (another has been at
 *           it for 2 seconds: it is stopped, or allocates much); WEIR_E_CORRUPT (the file was cut shorter than the
 *           section); WEIR_E_UNSUPPORTED (a demanded node); WEIR_E_NO_MEMORY; WEIR_E_FORKED; WEIR_E_OS.
 * If killed: the old size stands; memory behind it may stay allocated until the next extend, or until the section
 * goes. */
WEIR_API weir_status weir_section_extend(weir_section *section, uint64_t size_bytes);

/* ---- reserved room: WEIR_RESERVE ---- */

/* weir_section_commit makes [offset, offset + size_bytes), widened to multiples of WEIR_COMMIT_GRANULE, real memory:
 * zeroed where it was not committed, as it is where it was.  size 0 means up to the end.  Any process with a read-write
 * handle may; several may at once.  The views of this handle reach it at once; others' when they call
 * weir_view_refresh (view.h), or map.
 *
 * Ordering: release; whoever finds the range committed can touch it (edge COMMIT).
 * Returns:  WEIR_OK; WEIR_E_RANGE; WEIR_E_STATE (nothing was reserved); WEIR_E_NO_SPACE (nothing more is committed
 *           than before; memory that was had stays with the section until the next commit there); WEIR_E_PERMISSION
 *           (read-only, or sealed against writing); WEIR_E_BUSY (another has been committing an overlapping range for 2
 *           seconds: it is stopped, or allocates much); WEIR_E_UNSUPPORTED (the file system cannot give memory back);
 *           WEIR_E_FORKED; WEIR_E_CORRUPT; WEIR_E_OS.  As weir_view_refresh (NO_MEMORY, UNSUPPORTED), of a view of this
 *           handle that cannot reach it; the range is committed then.
 * If killed: a prefix, all or nothing of the range is committed; what is not, can be. */
WEIR_API weir_status weir_section_commit(weir_section *section, uint64_t offset, uint64_t size_bytes);

/* weir_section_decommit gives the granules that lie wholly in the range back.  They read zero when they are committed
 * again; this handle's views no longer reach them.  Only a sole user may, since others may be looking.
 *
 * Returns:  WEIR_OK; WEIR_E_RANGE; WEIR_E_STATE (nothing was reserved); WEIR_E_IN_USE (another handle has the section
 *           open, an observer's too; nothing was done); WEIR_E_BUSY (a published view holds some of it: retire that;
 *           nothing was done); WEIR_E_PERMISSION; WEIR_E_UNSUPPORTED (the file system); WEIR_E_NO_MEMORY (a view in too many pieces); WEIR_E_FORKED; WEIR_E_CORRUPT; WEIR_E_OS.  What failed is
 *           committed as it was; what stood before it in the range may be given back.
 * If killed: part of the range is given back; memory behind the rest of what is not committed goes with the next commit
 *           there, or with the section. */
WEIR_API weir_status weir_section_decommit(weir_section *section, uint64_t offset, uint64_t size_bytes);

/* weir_section_committed counts the bytes of [offset, offset + *size_bytes) from offset on that are committed without
 * a gap, or, with none there, are not: *committed tells which, *size_bytes how many.  Of a section without reserved
 * room everything is committed.
 *
 * Ordering: acquire (edge COMMIT).
 * Returns:  WEIR_OK; WEIR_E_RANGE; WEIR_E_FORKED; WEIR_E_CORRUPT. */
WEIR_API weir_status weir_section_committed(weir_section *section, uint64_t offset, uint64_t *size_bytes,
                                            bool *committed);

WEIR_END_DECLS

#endif
