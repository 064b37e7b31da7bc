/* naming/unnamed.h - page-file-backed sections without a name, handed from process to process.
 *
 * The owner exports a handle of the operating system's, gives it to another process, and that one attaches:
 *   across fork, and exec   export with inherit; tell the child the number (an argument, the environment)
 *   over a socket           weir_handle_send and weir_handle_receive
 * A section lives as long as a weir handle, a view or an exported handle of it does. */
#ifndef WEIR_NAMING_UNNAMED_H
#define WEIR_NAMING_UNNAMED_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/naming/section.h>

WEIR_BEGIN_DECLS

/* Linux: a file descriptor.  Windows: a HANDLE. */
typedef intptr_t weir_handle;

/* weir_section_create_unnamed makes a section without a name.  options as in weir_section_create; the WEIR_SEAL_ flags
 * seal it as soon as init has filled it.
 *
 * Returns:  WEIR_OK; WEIR_E_INVALID; WEIR_E_NO_SPACE; WEIR_E_NO_MEMORY; WEIR_E_PERMISSION; WEIR_E_UNSUPPORTED (a
 *           kernel without it; what was demanded and cannot be had; no getrandom); WEIR_E_OS; or what init returned.
 * If killed: nothing is there. */
WEIR_API weir_status weir_section_create_unnamed(weir_section **out, uint64_t size_bytes,
                                                 const weir_section_options *options);

/* weir_section_export gives a handle from which another process can attach.  It holds no lock: whoever has it is no
 * user.  access WEIR_READ_ONLY gives one from which no writable section is attached; against a receiver of the same
 * uid only WEIR_SEAL_WRITE enforces that.  With inherit it survives exec (and every exec, of any thread); without, it
 * does not.  In a forked child it is there in both cases.
 *
 * Returns:  WEIR_OK (close *out with weir_handle_close); WEIR_E_STATE (a section with a name or a file: open that);
 *           WEIR_E_ACCESS (wider than the section's); WEIR_E_INVALID; WEIR_E_NO_MEMORY; WEIR_E_UNSUPPORTED (/proc is
 *           not mounted); WEIR_E_PERMISSION; WEIR_E_FORKED; WEIR_E_OS. */
WEIR_API weir_status weir_section_export(weir_section *section, weir_access access, bool inherit, weir_handle *out);

/* weir_section_attach opens the section behind an exported handle, with locks of its own.  The handle stays the
 * caller's.  options.content must be the section's; access WEIR_READ_WRITE needs a handle exported so, and the
 * section's mode must let this user reopen it.  The owner is checked with WEIR_EXPECT_OWNER only: who hands a section
 * over is whom the receiver trusts.
 *
 * Returns:  WEIR_OK; WEIR_E_INVALID (no handle at all); WEIR_E_NOT_WEIR (not of a section); WEIR_E_STATE (of a section
 *           with a name: open that); WEIR_E_VERSION; WEIR_E_CORRUPT; WEIR_E_MISMATCH (content); WEIR_E_ACCESS (wider
 *           than the handle's, or sealed against writing); WEIR_E_PERMISSION (it cannot be reopened, or its owner is
 *           another; the text says which); WEIR_E_UNSUPPORTED (/proc is not mounted); WEIR_E_BUSY; WEIR_E_NO_MEMORY;
 *           WEIR_E_OS.
 * If killed: as if it had not been called. */
WEIR_API weir_status weir_section_attach(weir_section **out, weir_handle handle, const weir_section_options *options);

/* weir_section_seal adds seals (WEIR_SEAL_SHRINK and the others) for everybody and for ever.
 *
 * Returns:  WEIR_OK; WEIR_E_INVALID; WEIR_E_STATE (not an unnamed section); WEIR_E_PERMISSION (read-only, or
 *           WEIR_SEAL_SEAL is set); WEIR_E_UNSUPPORTED (WEIR_SEAL_WRITE before Linux 5.1); WEIR_E_FORKED; WEIR_E_OS. */
WEIR_API weir_status weir_section_seal(weir_section *section, uint32_t seals);

/* weir_section_seals gives the seals that are set; 0 for other kinds and in a forked child. */
WEIR_API uint32_t weir_section_seals(weir_section *section);

/* weir_handle_close closes an exported or received handle.  Returns: WEIR_OK; WEIR_E_INVALID. */
WEIR_API weir_status weir_handle_close(weir_handle handle);

/* weir_handle_send passes a handle over a connected Unix-domain socket, with one byte; it stays the caller's too.
 * Blocks as the socket does.
 *
 * Returns:  WEIR_OK; WEIR_TIMEOUT (a socket that does not block, or has a timeout, has no room now); WEIR_CLOSED (the
 *           other end is closed; no SIGPIPE); WEIR_E_INVALID; WEIR_E_UNSUPPORTED (not such a socket);
 *           WEIR_E_NO_MEMORY (too many are under way); WEIR_E_PERMISSION; WEIR_E_OS. */
WEIR_API weir_status weir_handle_send(int socket, weir_handle handle);

/* weir_handle_receive takes what weir_handle_send sent: exactly one byte and one handle, close-on-exec.
 *
 * Returns:  WEIR_OK; WEIR_TIMEOUT (nothing is there now); WEIR_CLOSED; WEIR_E_NOT_WEIR (a byte came without exactly one
 *           handle; what came is closed); WEIR_E_NO_MEMORY (no descriptor is free); WEIR_E_INVALID; WEIR_E_UNSUPPORTED;
 *           WEIR_E_PERMISSION; WEIR_E_OS. */
WEIR_API weir_status weir_handle_receive(int socket, weir_handle *out);

WEIR_END_DECLS

#endif
