/* naming/list.h - what named sections there are, without attaching to them. */
#ifndef WEIR_NAMING_LIST_H
#define WEIR_NAMING_LIST_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/naming/section.h>

WEIR_BEGIN_DECLS

typedef enum weir_section_state {
    WEIR_SECTION_LIVE = 0,   /* somebody has it open */
    WEIR_SECTION_UNUSED = 1, /* nobody has, and it persists */
    WEIR_SECTION_STALE = 2,  /* nobody has; the owner's next use of weir takes it away */
    WEIR_SECTION_STRANGE = 3 /* no whole section, or this user may not read it: see weir_section_info.why */
} weir_section_state;

/* A look at one section, without a lock: it may have changed since. */
typedef struct weir_section_info {
    char name[WEIR_NAME_TEXT_MAX]; /* canonical */
    weir_section_state state;
    weir_status why; /* of a strange one: what is wrong with it; else WEIR_OK */
    uint32_t mode;   /* permission bits */
    uint32_t owner;  /* uid */
    uint32_t group;  /* gid */
    /* From here on 0 of a strange one, but for resident. */
    uint32_t version; /* of its layout */
    uint32_t content; /* the creator's number for what is in it */
    uint32_t flags;   /* WEIR_PERSISTENT, WEIR_RESERVE */
    uint32_t slots;
    uint32_t present;   /* slots whose holder lives */
    uint32_t dead;      /* slots whose last holder was killed */
    uint32_t users;     /* handles that keep it alive; of both at most about 1,000 are counted */
    uint32_t observers; /* handles that only look */
    uint64_t size;      /* bytes of content; of WEIR_RESERVE: the room */
    uint64_t committed; /* bytes of it that are committed */
    uint64_t resident;  /* bytes of memory that it takes, header included */
} weir_section_info;

/* A handle that has a section open. */
typedef struct weir_section_user {
    uint32_t pid; /* as it says itself, in its own pid namespace */
    bool observer;
} weir_section_user;

/* A view of a section in some process. */
typedef struct weir_section_mapping {
    uint32_t pid;    /* as this process's /proc has it */
    uint64_t base;   /* its address in that process */
    uint64_t offset; /* bytes from the content's start */
    uint64_t size;   /* bytes */
    weir_access access;
} weir_section_mapping;

/* Called for each thing found; false ends the walk.  It may not call weir_section functions of handles in use, but may
 * open, remove and stat sections. */
typedef bool (*weir_section_info_visit)(const weir_section_info *info, void *arg);
typedef bool (*weir_section_user_visit)(const weir_section_user *user, void *arg);
typedef bool (*weir_section_mapping_visit)(const weir_section_mapping *mapping, void *arg);

/* weir_section_list visits every section of the shared-memory directory: Global ones, and the Local ones of this user
 * (of every user whose directory this user may enter: root's).  In no order.  What comes or goes meanwhile may be
 * missing.  info is valid during the call.
 *
 * Returns:  WEIR_OK; WEIR_E_INVALID (no visit); WEIR_E_PERMISSION, WEIR_E_OS (the directory); WEIR_E_NO_MEMORY. */
WEIR_API weir_status weir_section_list(weir_section_info_visit visit, void *arg);

/* weir_section_stat looks at one name.  Returns: WEIR_OK; WEIR_E_NOT_FOUND; WEIR_E_NAME; otherwise as list. */
WEIR_API weir_status weir_section_stat(const char *name, weir_section_info *out);

/* weir_section_users visits every handle that has the section open; of users and of observers at most about 1,000.
 * Returns: WEIR_OK; WEIR_E_NOT_FOUND; WEIR_E_PERMISSION; WEIR_E_NAME; WEIR_E_NOT_WEIR, WEIR_E_VERSION, WEIR_E_CORRUPT
 * (a strange one); WEIR_E_UNSUPPORTED (no locks there); WEIR_E_NO_MEMORY; WEIR_E_OS. */
WEIR_API weir_status weir_section_users(const char *name, weir_section_user_visit visit, void *arg);

/* weir_section_mappings visits every piece of the content that a process has mapped and this user may see (its own
 * processes', root everybody's; of this pid namespace).
 * Returns: as weir_section_users; WEIR_E_UNSUPPORTED: /proc is not mounted. */
WEIR_API weir_status weir_section_mappings(const char *name, weir_section_mapping_visit visit, void *arg);

/* weir_section_clean removes the stale sections of this user: whole ones, that nobody has open, and that do not
 * persist.  visit, unless it is NULL, gets each after it is removed.  FIFOs that stood beside a section which is not
 * there any more go as well.
 *
 * Returns:  WEIR_OK; as weir_section_list.
 * If killed: each is there, or gone. */
WEIR_API weir_status weir_section_clean(weir_section_info_visit visit, void *arg);

WEIR_END_DECLS

#endif
