/* naming/os.h - private: what naming/ asks of an operating system.  os_linux.c is the Linux answer.
 *
 * Every call keeps errno, and says the particulars of a failure with weir_fail. */
#ifndef WEIR_NAMING_OS_H
#define WEIR_NAMING_OS_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/naming/section.h>

/* One open section, as the system sees it.  The list of them all is what a forked child gives up. */
typedef struct weir_os_section {
    struct weir_os_section *next, *previous;
    weir_name name;
    char *dir;      /* the shm directory it was found in, absolute: environment and working directory may change */
    uint32_t uid;   /* whose Local names are meant: the process may change it */
    int fd;         /* an open file description of its own, which holds its locks */
    bool read_only; /* an observer: it holds no lifetime lock */
    bool forked;    /* a child's copy: the fd is closed */
} weir_os_section;

/* What to do with a name, and how. */
typedef struct weir_os_request {
    bool may_open, may_create;
    weir_access access;
    uint32_t mode;
    uint64_t bytes; /* create: the whole file's, header included */
    /* create: fills the mapped file before anybody sees it */
    weir_status (*fill)(void *base, uint64_t bytes, void *arg);
    /* open: is this the header of a section of that name?  file_bytes is the file's length, len how much of its start
     * is in header. */
    weir_status (*inspect)(const void *header, uint64_t len, uint64_t file_bytes, const weir_name *name);
    void *arg;
} weir_os_request;

/* weir_os_acquire opens the live section or creates one, as the request allows, replacing a stale one; the result holds
 * the lifetime lock (an observer's does not).  *created tells which.  Also takes away some other stale sections of this
 * user.  Returns as weir_section_open_or_create does, EXISTS and NOT_FOUND included. */
weir_status weir_os_acquire(weir_os_section *os, const weir_name *name, const weir_os_request *request, bool *created);

/* weir_os_release gives the lifetime lock up and removes the section if that was the last one. */
void weir_os_release(weir_os_section *os);

/* weir_os_grow makes the file `to` bytes long and allocates what is new.  from is its old length. */
weir_status weir_os_grow(weir_os_section *os, uint64_t from, uint64_t to);

/* weir_os_bytes gives the file's length. */
weir_status weir_os_bytes(weir_os_section *os, uint64_t *bytes);

weir_status weir_os_map(weir_os_section *os, uint64_t offset, uint64_t bytes, bool writable, void **base);
void weir_os_unmap(weir_os_section *os, void *base, uint64_t bytes);

/* Slot locks: lock gives WEIR_OK, or WEIR_E_IN_USE where another holds it; a holder's death unlocks. */
weir_status weir_os_slot_lock(weir_os_section *os, uint32_t slot);
void weir_os_slot_unlock(weir_os_section *os, uint32_t slot);
weir_status weir_os_slot_held(weir_os_section *os, uint32_t slot, bool *held); /* by others than os */

#endif
