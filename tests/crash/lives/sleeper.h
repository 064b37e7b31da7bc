/* crash/lives/sleeper.h - one who goes on, asleep in a call on a futex, in a thread, while a life is lived beside it. */
#ifndef WEIR_TESTS_CRASH_SLEEPER_H
#define WEIR_TESTS_CRASH_SLEEPER_H

#include "lives/life.h"

/* sleeper_begin runs body(s) in a thread and returns when that is asleep on a futex. */
void sleeper_begin(life_scene *s, weir_status (*body)(life_scene *s));

/* sleeper_is_there: one was begun, and has not ended. */
bool sleeper_is_there(void);

/* sleeper_end waits for it to return, which it must, and counts how long that took; gives what body did. */
weir_status sleeper_end(void);

/* sleeper_done says how long they took, and fails if more than one in SLEEPER_LATE_OF was not told in time. */
void sleeper_done(void);
#define SLEEPER_LATE_OF 20

#endif
