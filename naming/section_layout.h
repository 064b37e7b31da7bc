/* naming/section_layout.h - private: how a page-file-backed section begins.  naming/README.md draws it. */
#ifndef WEIR_NAMING_SECTION_LAYOUT_H
#define WEIR_NAMING_SECTION_LAYOUT_H

#include <stddef.h>

#include <weir/base/atomic.h>
#include <weir/naming/section.h>

#define WEIR_SECTION_MAGIC UINT64_C(0x7463657372696577)        /* "weirsect" */
#define WEIR_SECTION_MAGIC_MAKING UINT64_C(0x656b616d72696577) /* "weirmake": being made again in place */
#define WEIR_SECTION_VERSION 3u
#define WEIR_SECTION_HEADER 4096u /* bytes before the map of commitments, and before the content where there is none */

/* weir_section_layout.flags */
#define WEIR_SECTION_PERSISTENT WEIR_PERSISTENT
#define WEIR_SECTION_RESERVED WEIR_RESERVE
#define WEIR_SECTION_NAMELESS 0x4u
#define WEIR_SECTION_FLAGS 0x7u /* a set one beyond these is from a later layout */

typedef struct weir_section_layout {
    /* written once, before the section is visible */
    weir_atomic_u64 magic; /* (made again in place: stored last) */
    uint32_t version;
    uint32_t content; /* the creator's number for what is in it */
    uint32_t slots;   /* of the table below, how many are used */
    uint32_t flags;
    uint8_t name[WEIR_NAME_TEXT_MAX]; /* the canonical name, 0-filled: a hard link elsewhere is not this section */
    /* written by the one extender */
    weir_atomic_u64 size; /* bytes of content that are allocated; of a reserved one, the room */
    /* written once, before the section is visible */
    uint64_t id; /* at random, never 0: what refs call it (registry.h) */
    /* a bit for each slot that has, or had, a FIFO beside the file: set by the slot's holder before it makes that,
     * cleared by it behind its removal.  A peer may write anything there: see naming/companion.h */
    weir_atomic_u64 companions[WEIR_SLOTS_MAX / 64];
    uint8_t reserved[2048 - 288];
    /* each written by its holder, under the slot's lock */
    weir_atomic_u64 slot[WEIR_SLOTS_MAX];
} weir_section_layout;

_Static_assert(offsetof(weir_section_layout, name) == 24, "layout");
_Static_assert(offsetof(weir_section_layout, size) == 240, "layout");
_Static_assert(offsetof(weir_section_layout, id) == 248, "layout");
_Static_assert(offsetof(weir_section_layout, companions) == 256, "layout");
_Static_assert(offsetof(weir_section_layout, slot) == 2048, "layout");
_Static_assert(sizeof(weir_section_layout) == WEIR_SECTION_HEADER, "what follows begins on a page of its own");

/* A slot's word: state in bits 0-15, deaths in 16-31, generation in 32-63.  A death is first of all a present holder
 * whose lock is free; who claims the slot then says so in the word, because its own lock would hide it. */
#define WEIR_SLOT_ABSENT 0u
#define WEIR_SLOT_PRESENT 1u
#define WEIR_SLOT_LEFT 2u
#define WEIR_SLOT_DEAD 3u

/* Reserved room has a map of commitments behind the header: a bit for each granule, in 64-bit words, padded to pages.
 * weir_section_content_off is where the content begins: behind the header, and behind that map. */
static inline uint64_t weir_section_granules(uint64_t size)
{
    return (size + WEIR_COMMIT_GRANULE - 1) / WEIR_COMMIT_GRANULE;
}

static inline uint64_t weir_section_content_off(uint32_t flags, uint64_t size)
{
    if ((flags & WEIR_SECTION_RESERVED) == 0)
        return WEIR_SECTION_HEADER;
    return WEIR_SECTION_HEADER + ((weir_section_granules(size) + 7) / 8 + 4095) / 4096 * 4096;
}

/* What a header says, checked. */
typedef struct weir_section_facts {
    bool making; /* being made in place: nothing below is said */
    uint32_t version, content, slots, flags;
    uint64_t size, id;
} weir_section_facts;

/* weir_section_inspect tells whether that is the start of a whole section of that name (NULL: of an unnamed one).
 * copy, aligned to 8, holds the first len bytes of a file of file_bytes: a copy, so that nothing changes under the
 * look.  title is for texts.
 *
 * Returns:  WEIR_OK; WEIR_E_NOT_WEIR; WEIR_E_VERSION; WEIR_E_CORRUPT. */
weir_status weir_section_inspect(const void *copy, uint64_t len, uint64_t file_bytes, const weir_name *name,
                                 const char *title, weir_section_facts *out);

#endif
