/* base/status.h - the one numbering of results, on every system. */
#ifndef WEIR_BASE_STATUS_H
#define WEIR_BASE_STATUS_H

#include <weir/base/api.h>

WEIR_BEGIN_DECLS

/* weir_status is what every call returns: 0 fine; > 0 no progress now, nothing is wrong; < 0 a fault.
 * On anything but WEIR_OK the outputs of a call are untouched unless its comment says otherwise. */
typedef enum weir_status {
    WEIR_OK = 0,

    WEIR_EMPTY = 1,   /* no record is there now */
    WEIR_FULL = 2,    /* no room is there now */
    WEIR_TIMEOUT = 3, /* the time given has passed */
    WEIR_CLOSED = 4,  /* the other side left in order, and everything it sent was received */
    WEIR_DIED = 5,    /* the other side was killed, and everything it committed was received */
    WEIR_AGAIN = 6,   /* what was read was overwritten meanwhile, several times over: look again */
    WEIR_CANCELLED = 7, /* somebody called weir_channel_cancel */

    WEIR_E_INVALID = -1,      /* an argument no call can serve */
    WEIR_E_NAME = -2,         /* a name outside the grammar */
    WEIR_E_NOT_FOUND = -3,    /* no live section of that name */
    WEIR_E_EXISTS = -4,       /* a live section of that name is there */
    WEIR_E_IN_USE = -5,       /* the role, the slot or the section is held by somebody alive */
    WEIR_E_PERMISSION = -6,   /* the system, or the owner or mode of what is there, forbids it */
    WEIR_E_NO_SPACE = -7,     /* the memory behind the section cannot be had */
    WEIR_E_NO_MEMORY = -8,    /* this process is out of memory, address space or descriptors */
    WEIR_E_TOO_LARGE = -9,    /* a record over the lane's limit */
    WEIR_E_TOO_SMALL = -10,   /* the caller's buffer is shorter than the record, which stays */
    WEIR_E_MISMATCH = -11,    /* two stated values differ: kind, capacity, type */
    WEIR_E_VERSION = -12,     /* a layout this library does not know */
    WEIR_E_NOT_WEIR = -13,    /* something else stands at that name; it is left alone */
    WEIR_E_CORRUPT = -14,     /* shared bytes that no weir writes */
    WEIR_E_FORKED = -15,      /* a handle of the parent process */
    WEIR_E_BUSY = -16,        /* inside another call on the same handle, or still in use */
    WEIR_E_STATE = -17,       /* a call out of order: commit without reserve, send by a consumer */
    WEIR_E_UNSUPPORTED = -18, /* this system cannot do it */
    WEIR_E_OS = -19,          /* the system refused for a reason of its own: see weir_error_detail */
    WEIR_E_EMPTY_FILE = -20,  /* a section of an empty file, and no size was given */
    WEIR_E_FILE_SHORT = -21,  /* a read-only or copy-on-write section larger than its file */
    WEIR_E_ACCESS = -22,      /* a view, or a handle, wider than its section's access */
    WEIR_E_RANGE = -23,       /* a range that is not inside the section */
    WEIR_E_ALIGNMENT = -24    /* a view's offset that is not a multiple of 64 KiB */
} weir_status;

/* weir_status_text returns one line of English for a status.
 *
 * Callers:  any thread, any time, signal handlers too.
 * Returns:  a constant string, never NULL; "unknown status" for a number that is none. */
WEIR_API const char *weir_status_text(weir_status status);

/* weir_status_name returns the constant's own name ("WEIR_E_NO_SPACE"), for logs.  As weir_status_text. */
WEIR_API const char *weir_status_name(weir_status status);

/* weir_error_detail returns the particulars of the last fault (< 0) that a library call returned in this thread:
 * "needs 64 MiB, /dev/shm has 12 MiB free".
 *
 * Callers:  any thread; each has its own text.
 * Returns:  a string that stays until this thread's next fault; "" when there was none. */
WEIR_API const char *weir_error_detail(void);

/* weir_version returns the version of the library that is running, "0.1.0"; WEIR_VERSION in <weir/base/version.h> is
 * the one compiled against. */
WEIR_API const char *weir_version(void);

WEIR_END_DECLS

#endif
