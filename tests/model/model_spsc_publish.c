/* tests/model/model_spsc_publish.c - a record is whole for whoever sees its header.
 * edges: SPSC-DATA */
#include "spsc_rig.h"

#define PUBLISH(id, title, push, pop, marks, p, s, ...)                                                                \
    static const struct plan id##_plan = { __VA_ARGS__ };                                                              \
    static void id##_setup(void) { rig_setup(&id##_plan); }                                                            \
    MODEL(id) = { .name = "spsc_publish: " title, .setup = id##_setup,                                                 \
                  .threads = { { .name = "producer", .run = (push) }, { .name = "consumer", .run = (pop) } },          \
                  .check = rig_check_all, .preemptions = (p), .stale = (s), .must_reach = (marks), .random = 20000 }

/* Each of the first three starts at 0, ends at the lane's end, and goes on at its start. */
PUBLISH(records, "records of three sizes", rig_push_all, rig_pop_all, MARK_EMPTY, 5, 4, 0, 3, { 8, 16, 0 });
PUBLISH(to_the_end, "a record that ends at the end", rig_push_all, rig_pop_all, MARK_EMPTY, 5, 4, 40, 3, { 16, 8, 4 });
PUBLISH(in_place, "in place", rig_commit_all, rig_peek_all, MARK_EMPTY, 5, 4, 40, 3, { 16, 8, 12 });

/* 16 bytes of padding; 8 bytes, all header; and where there is no room at the end and none at the start either. */
PUBLISH(padding, "padding", rig_push_all, rig_pop_all, MARK_EMPTY, 5, 4, 48, 3, { 16, 8, 1 });
PUBLISH(short_padding, "padding of a header", rig_push_all, rig_peek_all, MARK_EMPTY, 5, 4, 56, 2, { 8, 16 });
PUBLISH(no_room, "no room at the end and none at the start", rig_push_all, rig_pop_all, MARK_EMPTY | MARK_FULL, 4, 3,
        24, 3, { 16, 16, 8 });
PUBLISH(commit_padding, "in place behind padding", rig_commit_all, rig_peek_all, MARK_EMPTY, 5, 4, 40, 3, { 8, 8, 16 });

/* The counters pass 2^64. */
PUBLISH(last_pos, "the last position", rig_push_all, rig_pop_all, MARK_EMPTY, 5, 4, UINT64_MAX - 15, 3, { 8, 16, 8 });
