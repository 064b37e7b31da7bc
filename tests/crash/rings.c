/* The one place where a ring is registered.  Its operations are rows of its own table. */
#include "crash.h"

extern const crash_ring crash_ring_spsc, crash_ring_spsc_init;

const crash_ring *const crash_rings[] = {
    &crash_ring_spsc_init, &crash_ring_spsc,
};

const unsigned crash_ring_count = sizeof crash_rings / sizeof crash_rings[0];
