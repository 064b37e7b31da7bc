/* tests/model/system.h - the system of the harnesses that wait: what it notes, and how a harness begins with it.  The
 * holder of a participant's slot is the thread of that number, plus 1, and then the one that succeeds it. */
#ifndef WEIR_TESTS_MODEL_SYSTEM_H
#define WEIR_TESTS_MODEL_SYSTEM_H

enum { MARK_SLEPT = 1, MARK_TIMEOUT = 16 }; /* of must_reach */

/* In setup: the clock begins anew, and no slot has a second holder. */
void system_begin(void);

/* In setup: that thread, which comes behind the end of the slot's first holder, holds it until its own. */
void system_succeeds(unsigned slot, unsigned thread);

#endif
