/* naming/section_layout.h - private: the first page of every section.  naming/README.md draws it. */
#ifndef WEIR_NAMING_SECTION_LAYOUT_H
#define WEIR_NAMING_SECTION_LAYOUT_H

#include <stddef.h>

#include <weir/base/atomic.h>
#include <weir/naming/section.h>

#define WEIR_SECTION_MAGIC UINT64_C(0x7463657372696577) /* "weirsect" */
#define WEIR_SECTION_VERSION 1u
#define WEIR_SECTION_HEADER 4096u /* bytes before the content */

typedef struct weir_section_layout {
    /* written once, before the section is visible */
    uint64_t magic;
    uint32_t version;
    uint32_t content; /* the creator's number for what is in it */
    uint32_t slots;   /* of the table below, how many are used */
    uint32_t flags;   /* 0; a set one is from a later layout */
    uint8_t name[WEIR_NAME_TEXT_MAX]; /* the canonical name, 0-filled: a hard link elsewhere is not this section */
    /* written by the one extender */
    weir_atomic_u64 size; /* bytes of content that are allocated */
    uint8_t reserved[2048 - 248];
    /* each written by its holder, under the slot's lock */
    weir_atomic_u64 slot[WEIR_SLOTS_MAX];
} weir_section_layout;

_Static_assert(offsetof(weir_section_layout, name) == 24, "layout");
_Static_assert(offsetof(weir_section_layout, size) == 240, "layout");
_Static_assert(offsetof(weir_section_layout, slot) == 2048, "layout");
_Static_assert(sizeof(weir_section_layout) == WEIR_SECTION_HEADER, "the content begins on a page of its own");

/* A slot's word: state in bits 0-15, deaths in 16-31, generation in 32-63.  A death is first of all a present holder
 * whose lock is free; who claims the slot then says so in the word, because its own lock would hide it. */
#define WEIR_SLOT_ABSENT 0u
#define WEIR_SLOT_PRESENT 1u
#define WEIR_SLOT_LEFT 2u
#define WEIR_SLOT_DEAD 3u

#endif
