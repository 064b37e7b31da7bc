/* The one place where a ring is registered.  Its operations are rows of its own table. */
#include "crash.h"

extern const crash_ring crash_ring_spsc, crash_ring_spsc_init;
extern const crash_ring crash_ring_mpsc, crash_ring_mpsc_init;
extern const crash_ring crash_ring_mpsc_ordered, crash_ring_mpsc_ordered_init;
extern const crash_ring crash_ring_mpsc_grow, crash_ring_mpsc_ordered_grow;
extern const crash_ring crash_ring_broadcast, crash_ring_broadcast_init;
extern const crash_ring crash_ring_broadcast_gated, crash_ring_broadcast_gated_init;
extern const crash_ring crash_ring_latest, crash_ring_latest_init;
extern const crash_ring crash_ring_mpmc, crash_ring_mpmc_init, crash_ring_mpmc_grow;

const crash_ring *const crash_rings[] = {
    &crash_ring_spsc_init,         &crash_ring_spsc,
    &crash_ring_mpsc_init,         &crash_ring_mpsc,
    &crash_ring_mpsc_ordered_init, &crash_ring_mpsc_ordered,
    &crash_ring_mpsc_grow,         &crash_ring_mpsc_ordered_grow,
    &crash_ring_broadcast_init,    &crash_ring_broadcast,
    &crash_ring_broadcast_gated_init, &crash_ring_broadcast_gated,
    &crash_ring_latest_init,       &crash_ring_latest,
    &crash_ring_mpmc_init,         &crash_ring_mpmc,
    &crash_ring_mpmc_grow,
};

const unsigned crash_ring_count = sizeof crash_rings / sizeof crash_rings[0];
