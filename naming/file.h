/* naming/file.h - file-backed sections: the content is a file's, before and after.
 *
 * Nothing but the content is in the file, and weir takes no lock on it: it has no participants, and lives as long as
 * the file system says. */
#ifndef WEIR_NAMING_FILE_H
#define WEIR_NAMING_FILE_H

#include <weir/naming/section.h>

WEIR_BEGIN_DECLS

/* weir_section_open_file opens a file as a section of size_bytes; 0 means the file's own size.
 *
 * options: access; flags WEIR_FILE_CREATE or WEIR_FILE_NEW (mode, group: the new file's), WEIR_DUMP,
 *          WEIR_EXPECT_OWNER (else anybody's file will do); want, demand.
 * Access:  WEIR_READ_WRITE: a file shorter than size_bytes is grown to it, with zeros, really allocated.
 *          Holes that it has stay holes, so that it may be larger than its disk: a write to one is a fault where the
 *          disk is full.
 *          WEIR_READ_ONLY, WEIR_COPY_ON_WRITE: the file is not changed.
 * Returns:  WEIR_OK; WEIR_E_EMPTY_FILE (the file is empty and no size was given); WEIR_E_FILE_SHORT (read-only or
 *           copy-on-write, and larger than the file); WEIR_E_NOT_FOUND; WEIR_E_EXISTS (WEIR_FILE_NEW); WEIR_E_INVALID
 *           (path, size, flags; not a regular file; a link to nothing); WEIR_E_PERMISSION; WEIR_E_NO_SPACE (the file
 *           is as it was); WEIR_E_NO_MEMORY; WEIR_E_UNSUPPORTED; WEIR_E_OS.
 * If killed: a file that was growing is as long as it was, or as it was to be, and may hold memory behind its end; a
 * new one may be there, empty. */
WEIR_API weir_status weir_section_open_file(weir_section **out, const char *path, uint64_t size_bytes,
                                            const weir_section_options *options);

/* weir_section_flush returns when everything that was written to the section's file, by any process, and its size, is
 * on the device.  For page-file-backed sections there is nothing to do.
 *
 * Returns:  WEIR_OK; WEIR_E_NO_SPACE; WEIR_E_NO_MEMORY; WEIR_E_PERMISSION; WEIR_E_FORKED; WEIR_E_OS (the device
 *           failed: the text says how). */
WEIR_API weir_status weir_section_flush(weir_section *section);

WEIR_END_DECLS

#endif
