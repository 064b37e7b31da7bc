/* lanes read in the order of their records' stamps: what is common to both is in scene_lanes.c. */
#include "scene_lanes.h"
#include "storm.h"

static const crash_operation operations[] = { LANES_OPERATIONS(LANES_ORDERED) };

const crash_ring crash_ring_mpsc_ordered = {
    .name = "mpsc-ordered",
    .operations = operations,
    .count = sizeof operations / sizeof operations[0],
    .storms = storm_mpsc_ordered,
    .storm_count = STORM_LANES_COUNT,
};
