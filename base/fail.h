/* base/fail.h - private: how a library function says why it failed. */
#ifndef WEIR_BASE_FAIL_H
#define WEIR_BASE_FAIL_H

#include <weir/base/status.h>

/* weir_fail stores the formatted text as this thread's error detail and returns status, so that a failure is one
 * line: `return weir_fail(WEIR_E_NAME, "...", ...)`.  Longer texts are cut.  errno is kept. */
__attribute__((format(printf, 2, 3))) weir_status weir_fail(weir_status status, const char *format, ...);

/* weir_detail_save and weir_detail_restore keep this thread's detail over calls whose failures are nobody's. */
struct weir_detail { char text[512]; };
void weir_detail_save(struct weir_detail *to);
void weir_detail_restore(const struct weir_detail *from);

/* weir_size_text writes a byte count for people, "64 MiB" or "1000 bytes", into text and returns text. */
#define WEIR_SIZE_TEXT_MAX 32
const char *weir_size_text(char text[WEIR_SIZE_TEXT_MAX], unsigned long long bytes);

#endif
