/* naming/view.h - views: a section's content at an address of this process. */
#ifndef WEIR_NAMING_VIEW_H
#define WEIR_NAMING_VIEW_H

#include <stdint.h>

#include <weir/naming/section.h>

WEIR_BEGIN_DECLS

#define WEIR_VIEW_GRANULE UINT64_C(65536) /* bytes: a view's offset is a multiple of it, on every system */

/* A piece of the content.  The caller keeps it and may copy it; only the library fills it in. */
typedef struct weir_view {
    void *base;
    uint64_t offset; /* bytes from the content's start */
    uint64_t size;   /* bytes */
    weir_section *section;
} weir_view;

/* weir_view_map maps size_bytes of the content from offset on; size 0 means up to the end.  Several views of one
 * section are coherent.  A copy-on-write view shows others' changes on pages that it has not written to, and its own
 * writes to nobody.  Where room was reserved, only what is committed can be touched: the rest is a fault, as an address
 * that is not mapped is, and takes no memory.
 *
 * Returns:  WEIR_OK; WEIR_E_ALIGNMENT (offset is not a multiple of WEIR_VIEW_GRANULE); WEIR_E_RANGE (the range is not
 *           inside the content); WEIR_E_ACCESS (wider than the section's, or sealed against writing); WEIR_E_INVALID;
 *           WEIR_E_NO_MEMORY (address space; or a lock in memory that was demanded); WEIR_E_UNSUPPORTED (what was
 *           demanded and cannot be had); WEIR_E_FORKED; WEIR_E_CORRUPT (the file was cut shorter than the section);
 *           WEIR_E_PERMISSION, WEIR_E_OS.
 * If killed: a view goes with its process. */
WEIR_API weir_status weir_view_map(weir_view *out, weir_section *section, uint64_t offset, uint64_t size_bytes,
                                   weir_access access);

/* weir_view_map_growing maps the whole content of a named section with room behind it, room_bytes in all, so that what
 * weir_section_extend adds is reached at the same addresses: in each process when it calls weir_view_refresh.  out->size
 * is what can be touched; a touch behind it is a fault and takes no memory.
 *
 * Returns:  as weir_view_map; WEIR_E_STATE (a section of reserved room, an unnamed one, a file's). */
WEIR_API weir_status weir_view_map_growing(weir_view *out, weir_section *section, uint64_t room_bytes,
                                           weir_access access);

/* weir_view_unmap gives the addresses up.  In a forked child it does nothing to the address space.
 *
 * Returns:  WEIR_OK; WEIR_E_INVALID (view was not mapped); WEIR_E_BUSY (it is published: weir_registry_retire it). */
WEIR_API weir_status weir_view_unmap(weir_view *view);

/* weir_view_refresh makes what others have committed since the view was mapped reachable in it; or, of a growing view,
 * what the section was extended by.
 *
 * Returns:  WEIR_OK; WEIR_E_INVALID (view was not mapped); WEIR_E_NO_MEMORY (the view is in too many pieces for the
 *           system, or a lock in memory was demanded; what was reachable stays so); WEIR_E_UNSUPPORTED (what was
 *           demanded and cannot be had); WEIR_E_CORRUPT (of a growing view: the file is shorter than the section);
 *           WEIR_E_FORKED; WEIR_E_PERMISSION, WEIR_E_OS. */
WEIR_API weir_status weir_view_refresh(weir_view *view);

/* weir_view_flush returns when what was written to these bytes of the view is on the file's device: offset is from the
 * view's start, size 0 means up to its end.  Of page-file-backed sections and of copy-on-write views nothing is to be
 * written.
 *
 * Returns:  WEIR_OK; WEIR_E_RANGE; WEIR_E_INVALID (view was not mapped); WEIR_E_NO_SPACE; WEIR_E_NO_MEMORY;
 *           WEIR_E_PERMISSION; WEIR_E_FORKED; WEIR_E_OS (the device failed: the text says how). */
WEIR_API weir_status weir_view_flush(const weir_view *view, uint64_t offset, uint64_t size_bytes);

/* ---- what did I really get? ---- */

#define WEIR_NODE_NONE (-1)  /* no page is there yet, or the system does not tell */
#define WEIR_NODE_MIXED (-2) /* pages on several nodes */

/* A view's memory, as the system accounts for it. */
typedef struct weir_memory {
    uint32_t got;            /* WEIR_LARGE_PAGES and the others: true of the whole view now, of what is committed
                              * (WEIR_LARGE_PAGES: of each large page that lies wholly in it) */
    int32_t node;            /* the NUMA node of its pages (of 64 that were looked at, spread over it) */
    uint64_t page_bytes;     /* the page size it is mapped with */
    uint64_t large_bytes;    /* mapped with larger pages than the smallest */
    uint64_t resident_bytes; /* in the view's page table */
    uint64_t locked_bytes;
} weir_memory;

/* weir_view_memory asks the system about a view.  Reads /proc: for looking, not for loops.
 *
 * Returns:  WEIR_OK; WEIR_E_INVALID (view was not mapped); WEIR_E_UNSUPPORTED (/proc is not mounted); WEIR_E_NO_MEMORY;
 *           WEIR_E_FORKED; WEIR_E_OS. */
WEIR_API weir_status weir_view_memory(const weir_view *view, weir_memory *out);

WEIR_END_DECLS

#endif
