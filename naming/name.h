/* naming/name.h - the grammar of section names.
 *
 *   name   = [ ("Global" | "Local") ("/" | "\") ] word      no prefix means Local
 *   word   = 1 to 200 bytes of A-Z a-z 0-9 . _ -            the first is not a dot
 *
 * Local names are the user's own, Global ones the machine's.  The prefix is case-sensitive. */
#ifndef WEIR_NAMING_NAME_H
#define WEIR_NAMING_NAME_H

#include <stdint.h>

#include <weir/base/status.h>

WEIR_BEGIN_DECLS

#define WEIR_NAME_MAX 200       /* bytes of the word */
#define WEIR_NAME_TEXT_MAX 216  /* bytes of the whole name, its 0 included */

typedef enum weir_scope { WEIR_LOCAL = 0, WEIR_GLOBAL = 1 } weir_scope;

typedef struct weir_name {
    weir_scope scope;
    uint32_t word_off;             /* bytes of text before the word */
    char text[WEIR_NAME_TEXT_MAX]; /* the canonical form: "Local/orders", 0-filled behind */
} weir_name;

/* weir_name_parse checks text against the grammar and gives its canonical form.
 *
 * Callers:  any thread.
 * Returns:  WEIR_OK; WEIR_E_NAME (what is wrong is in weir_error_detail; out is untouched). */
WEIR_API weir_status weir_name_parse(weir_name *out, const char *text);

WEIR_END_DECLS

#endif
