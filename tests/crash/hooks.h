/* tests/crash/hooks.h - the hooks behind the atomics, for the programs that are compiled with them. */
#ifndef WEIR_TESTS_CRASH_HOOKS_H
#define WEIR_TESTS_CRASH_HOOKS_H

#include <stdbool.h>

/* Called behind each shared access while it is set; store tells those that change memory from loads. */
extern void (*crash_hook)(bool store);

/* The places of shared accesses in the rings' sources, and those of them that were reached; says which were not. */
void crash_sites_count(unsigned *sites, unsigned *hit);

#endif
