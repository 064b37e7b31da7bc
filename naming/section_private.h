/* naming/section_private.h - private: a handle, as the files of the layer share it. */
#ifndef WEIR_NAMING_SECTION_PRIVATE_H
#define WEIR_NAMING_SECTION_PRIVATE_H

#include <weir/naming/os.h>
#include <weir/naming/section.h>
#include <weir/naming/section_layout.h>

/* A mapped view, as the handle remembers it; weir_view is the caller's, who may copy it. */
struct weir_view_node {
    struct weir_view_node *next;
    void *base;
    uint64_t offset, size;
    weir_access access;
    bool growing;     /* mapped with room behind the content */
    uint64_t reached; /* of a growing one: the bytes that can be touched */
    bool published;   /* refs are resolved to it: it stays (registry.h) */
};

struct weir_section {
    weir_os_section os;
    /* page-file-backed: the header and the map of commitments, mapped; read-only for an observer.  A file: NULL */
    weir_section_layout *header;
    uint64_t content_off; /* where in the file the content begins; what is mapped at header */
    uint64_t size;        /* bytes of content, as last read and checked */
    uint64_t id;          /* a file: 0 */
    uint32_t slots;
    bool reserved; /* its room is committed piece by piece */
    void *ahead;          /* the content, mapped with the header for the first view of all of it; NULL: not, or taken, */
    uint64_t ahead_bytes; /* and how much that is */
    struct weir_view_node *views;
    /* the slots that this handle has locked, and those of them whose word says so */
    uint64_t held[WEIR_SLOTS_MAX / 64];
    uint64_t joined[WEIR_SLOTS_MAX / 64];
};

/* weir_section_check is what every call on a handle begins with: WEIR_OK, or WEIR_E_FORKED. */
weir_status weir_section_check(const weir_section *section);

/* weir_section_check_writer: WEIR_OK, WEIR_E_FORKED, or WEIR_E_PERMISSION for a handle that is not read-write. */
weir_status weir_section_check_writer(const weir_section *section);

/* weir_section_refresh reads the size again and believes it if the file is that long. */
weir_status weir_section_refresh(weir_section *section);

/* weir_section_range checks [offset, offset + *size) against the content, refreshed; *size 0 becomes what is left. */
weir_status weir_section_range(weir_section *section, uint64_t offset, uint64_t *size);

/* weir_section_check_file: is the file still as long as the content up to `end` needs?  WEIR_E_CORRUPT if not. */
weir_status weir_section_check_file(weir_section *section, uint64_t end);

/* weir_view_node_of gives the handle's own record of a view; NULL: it is not mapped. */
struct weir_view_node *weir_view_node_of(const weir_view *view);

/* weir_views_reach makes what is committed of [from, to) of the content reachable in every view of the handle. */
weir_status weir_views_reach(weir_section *section, uint64_t from, uint64_t to);

/* weir_commit_run finds what stands at a granule: how many from it on, up to `end`, are (or are not) committed. */
uint64_t weir_commit_run(const weir_section *section, uint64_t granule, uint64_t end, bool *committed);

#endif
