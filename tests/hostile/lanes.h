/* tests/hostile/lanes.h - the producer's operations of a lane (row_spsc.c), which mpsc's producers share: the handles
 * of such a ring begin with struct hostile_lanes. */
#ifndef WEIR_TESTS_HOSTILE_LANES_H
#define WEIR_TESTS_HOSTILE_LANES_H

#include "hostile.h"

struct hostile_lanes { weir_spsc_producer tx[HOSTILE_LANES]; };

#define HOSTILE_PUSH_STATUSES                                                                                         \
    (HOSTILE_STATUS(WEIR_OK) | HOSTILE_STATUS(WEIR_FULL) | HOSTILE_STATUS(WEIR_E_TOO_LARGE) |                         \
     HOSTILE_STATUS(WEIR_E_CORRUPT) | HOSTILE_STATUS(WEIR_E_STATE))
#define HOSTILE_PEEK_STATUSES                                                                                         \
    (HOSTILE_STATUS(WEIR_OK) | HOSTILE_STATUS(WEIR_EMPTY) | HOSTILE_STATUS(WEIR_E_CORRUPT) |                          \
     HOSTILE_STATUS(WEIR_E_STATE))
#define HOSTILE_POP_STATUSES (HOSTILE_PEEK_STATUSES | HOSTILE_STATUS(WEIR_E_TOO_SMALL))
#define HOSTILE_ATTACH_STATUSES                                                                                       \
    (HOSTILE_STATUS(WEIR_OK) | HOSTILE_STATUS(WEIR_E_NOT_WEIR) | HOSTILE_STATUS(WEIR_E_VERSION) |                     \
     HOSTILE_STATUS(WEIR_E_CORRUPT))

weir_status hostile_lane_push(hostile_ring *r, uint64_t random);
weir_status hostile_lane_push_more(hostile_ring *r, uint64_t random);
weir_status hostile_lane_push_array(hostile_ring *r, uint64_t random);
weir_status hostile_lane_reserve(hostile_ring *r, uint64_t random);
weir_status hostile_lane_commit(hostile_ring *r, uint64_t random);
weir_status hostile_lane_flush(hostile_ring *r, uint64_t random);
weir_status hostile_lane_drained(hostile_ring *r, uint64_t random);

/* A record in place lies in the lane's data, aligned, within the limit; then every byte is read. */
void hostile_lane_record(const weir_spsc_consumer *c, const void *msg, uint64_t len);
void hostile_lane_producer_sane(const weir_spsc_producer *p);
void hostile_lane_consumer_sane(const weir_spsc_consumer *c);

/* The loads: a push looks at head once, push_array once for each record. */
#define HOSTILE_LANE_OPS                                                                                              \
    { "push", HOSTILE_PRODUCES, hostile_lane_push, HOSTILE_PUSH_STATUSES, 1, 0, false },                              \
    { "push_more", HOSTILE_PRODUCES, hostile_lane_push_more, HOSTILE_PUSH_STATUSES, 1, 0, false },                    \
    { "push_array", HOSTILE_PRODUCES, hostile_lane_push_array, HOSTILE_PUSH_STATUSES, 8, 0, false },                  \
    { "reserve", HOSTILE_PRODUCES, hostile_lane_reserve, HOSTILE_PUSH_STATUSES, 1, 0, false },                        \
    { "commit", HOSTILE_PRODUCES, hostile_lane_commit,                                                                \
      HOSTILE_STATUS(WEIR_OK) | HOSTILE_STATUS(WEIR_E_STATE) | HOSTILE_STATUS(WEIR_E_INVALID) |                       \
          HOSTILE_STATUS(WEIR_E_CORRUPT), 0, 0, false },                                                              \
    { "flush", HOSTILE_PRODUCES, hostile_lane_flush, 0, 0, 0, true },                                                 \
    { "drained", HOSTILE_PRODUCES, hostile_lane_drained,                                                              \
      HOSTILE_STATUS(WEIR_OK) | HOSTILE_STATUS(WEIR_FULL) | HOSTILE_STATUS(WEIR_E_CORRUPT) |                          \
          HOSTILE_STATUS(WEIR_E_STATE), 1, 0, false }

#endif
