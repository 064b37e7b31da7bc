/* a lane for each producer, read in turn: what is common to both is in scene_lanes.c. */
#include "scene_lanes.h"
#include "storm.h"

static const crash_operation operations[] = { LANES_OPERATIONS(0) };

const crash_ring crash_ring_mpsc = {
    .name = "mpsc",
    .operations = operations,
    .count = sizeof operations / sizeof operations[0],
    .storms = storm_mpsc,
    .storm_count = STORM_LANES_COUNT,
};
