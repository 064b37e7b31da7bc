/* naming/os.h - private: what naming/ asks of an operating system.  os_linux*.c is the Linux answer.
 *
 * Every call keeps errno, and says the particulars of a failure with weir_fail. */
#ifndef WEIR_NAMING_OS_H
#define WEIR_NAMING_OS_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/naming/list.h>
#include <weir/naming/section.h>
#include <weir/naming/section_layout.h>
#include <weir/naming/unnamed.h>
#include <weir/naming/view.h>

/* One open section, as the system sees it.  The list of them all is what a forked child gives up. */
typedef struct weir_os_section {
    struct weir_os_section *next, *previous;
    weir_section_kind kind;
    char *title;      /* what texts call it: the name, the label, the path */
    weir_name name;   /* named: */
    char *dir;        /* the shm directory it was found in, absolute: environment and working directory may change */
    const char *from; /* where its memory comes from, for texts */
    uint32_t uid;     /* whose Local names are meant: the process may change it */
    bool persistent;
    bool unfinished;  /* just made, by a call that may still fail: then it goes, persistent or not */
    int fd;           /* an open file description of its own, which holds its locks */
    int dirs[2];      /* directories that are open while it is made; -1: none */
    int64_t life;     /* the byte whose lock says that this handle uses it, or looks at it; 0: none */
    uint64_t page;    /* bytes: a mapping begins and ends on a multiple */
    bool large;       /* pages larger than the system's, from a pool */
    weir_access access;
    uint32_t want, demand, node; /* of its options */
    bool dump;
    bool forked;      /* a child's copy: the fd is closed */
} weir_os_section;

/* What to do with a name, and how. */
typedef struct weir_os_request {
    bool may_open, may_create;
    const weir_section_options *options; /* checked */
    uint64_t bytes;     /* create: the whole file's, header included */
    uint64_t allocated; /* create: how much of it is real memory from the start */
    /* create: fills the start of the file, mapped or in a copy that is all 0, before anybody sees it; all but the magic.
     * filled: how much of it that is; 0: `allocated`, mapped */
    weir_status (*fill)(void *base, uint64_t bytes, void *arg);
    uint64_t filled;
    void *arg;
} weir_os_request;

/* weir_os_acquire opens the section of that name or creates one, as the request allows, replacing a stale one; the
 * result holds a lifetime lock (an observer's does not).  *created tells which.  Also takes away some other stale
 * sections of this user.  Returns as weir_section_open_or_create does, EXISTS and NOT_FOUND included. */
weir_status weir_os_acquire(weir_os_section *os, const weir_name *name, const weir_os_request *request, bool *created);

/* weir_os_user gives the uid that this process acts as; weir_os_page a page of memory, in bytes. */
uint32_t weir_os_user(void);
uint64_t weir_os_page(void);

/* weir_os_random draws a number at random, not 0. */
weir_status weir_os_random(uint64_t *out);

/* weir_os_same tells whether two handles of this process are of one section. */
weir_status weir_os_same(const weir_os_section *a, const weir_os_section *b, bool *same);

/* weir_os_at_fork has these called around each fork from then on, where there is fork.  WEIR_OK, or
 * WEIR_E_NO_MEMORY. */
weir_status weir_os_at_fork(void (*before)(void), void (*after_parent)(void), void (*after_child)(void));

/* weir_os_remove is weir_section_remove. */
weir_status weir_os_remove(const weir_name *name);

/* weir_os_create_unnamed, weir_os_attach and weir_os_open_file: as the functions of the headers. */
weir_status weir_os_create_unnamed(weir_os_section *os, const weir_os_request *request);
weir_status weir_os_attach(weir_os_section *os, weir_handle handle, const weir_os_request *request);
weir_status weir_os_open_file(weir_os_section *os, const char *path, uint64_t *size_bytes,
                              const weir_section_options *options);
weir_status weir_os_export(weir_os_section *os, weir_access access, bool inherit, weir_handle *out);
weir_status weir_os_seal(weir_os_section *os, uint32_t seals);
uint32_t weir_os_seals(weir_os_section *os);

/* weir_os_release gives the locks up and removes a named section if that was the last user. */
void weir_os_release(weir_os_section *os);

/* weir_os_grow makes the file `to` bytes long and allocates what is new.  from is its old length. */
weir_status weir_os_grow(weir_os_section *os, uint64_t from, uint64_t to);

/* weir_os_bytes gives the file's length. */
weir_status weir_os_bytes(weir_os_section *os, uint64_t *bytes);

/* weir_os_map maps a range of the file; reachable false: nothing of it can be touched until weir_os_reach. */
weir_status weir_os_map(weir_os_section *os, uint64_t offset, uint64_t bytes, weir_access access, bool reachable,
                        void **base);
void weir_os_unmap(weir_os_section *os, void *base, uint64_t bytes);

/* weir_os_reach makes [base, base + bytes) of a mapping touchable as access says; weir_os_unreach undoes it.  base and
 * bytes are multiples of the page, but for a mapping's end. */
weir_status weir_os_reach(weir_os_section *os, void *base, uint64_t bytes, weir_access access);
weir_status weir_os_unreach(weir_os_section *os, void *base, uint64_t bytes);

/* weir_os_prepare sees to the properties of memory that the section's options ask for, of what is reachable. */
weir_status weir_os_prepare(weir_os_section *os, void *base, uint64_t bytes, weir_access access);

/* weir_os_flush_range and weir_os_flush write what is dirty to the device. */
weir_status weir_os_flush_range(weir_os_section *os, void *base, uint64_t bytes);
weir_status weir_os_flush(weir_os_section *os);

/* weir_os_memory is weir_view_memory, of a mapping. */
weir_status weir_os_memory(weir_os_section *os, void *base, uint64_t bytes, weir_memory *out);

/* Committing a range of the file.  The lock keeps other committers from the granules [first, first + count), and
 * extenders, who take granule 0, from each other. */
weir_status weir_os_commit_lock(weir_os_section *os, uint64_t first, uint64_t count);
void weir_os_commit_unlock(weir_os_section *os, uint64_t first, uint64_t count);
weir_status weir_os_allocate(weir_os_section *os, uint64_t from, uint64_t to);
weir_status weir_os_punch(weir_os_section *os, uint64_t from, uint64_t to);

/* weir_os_alone keeps everybody else out, observers too, until weir_os_share: WEIR_OK, or WEIR_E_IN_USE. */
weir_status weir_os_alone(weir_os_section *os);
void weir_os_share(weir_os_section *os);

/* Slot locks: lock gives WEIR_OK, or WEIR_E_IN_USE where another holds it; a holder's death unlocks. */
weir_status weir_os_slot_lock(weir_os_section *os, uint32_t slot);
void weir_os_slot_unlock(weir_os_section *os, uint32_t slot);
weir_status weir_os_slot_held(weir_os_section *os, uint32_t slot, bool *held); /* by others than os */

/* Companions: as the functions of companion.h, of a named section; the bits of the header are the caller's matter.
 * make and remove are for a slot that the caller holds.  remove: true if nothing of ours stands there then. */
weir_status weir_os_companion_make(weir_os_section *os, uint32_t slot, int *fd);
weir_status weir_os_companion_open(const weir_os_section *os, uint32_t slot, int *fd);
bool weir_os_companion_remove(weir_os_section *os, uint32_t slot);
bool weir_os_companion_is_named(int fd);
void weir_os_companion_close(int fd);

#endif
