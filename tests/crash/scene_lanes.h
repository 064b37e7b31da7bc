/* tests/crash/scene_lanes.h - the operations of the rings that are made of lanes, mpsc.h and mpsc_ordered.h. */
#ifndef WEIR_TESTS_SCENE_LANES_H
#define WEIR_TESTS_SCENE_LANES_H

#include "crash.h"

enum lanes_what { /* the producers' first */
    LANES_PUSH, LANES_PUSH_MORE, LANES_FLUSH, LANES_COMMIT, LANES_COMMIT_MORE, LANES_PRODUCER_ATTACH,
    LANES_POP, LANES_POP_MORE, LANES_PEEK, LANES_RELEASE, LANES_READY, LANES_CONSUMER_ATTACH,
    LANES_ORDERED = 16 /* added to it */
};

#define LANES_START_STATES UINT64_C(622080)
#define LANES_RECORD_STATES (LANES_START_STATES * 6 * 2)

extern const crash_rules lanes_rules;
void lanes_make_producer(crash_world *w, unsigned what, uint64_t state);
void lanes_make_consumer(crash_world *w, unsigned what, uint64_t state);
void lanes_run(crash_world *w);

#define LANES_PRODUCER(name, what, states) { name, what, states, lanes_make_producer, lanes_run, &lanes_rules }
#define LANES_CONSUMER(name, what, states) { name, what, states, lanes_make_consumer, lanes_run, &lanes_rules }

/* The rows of a ring's table; commit is reserve, the caller's writing, commit. */
#define LANES_OPERATIONS(kind)                                                                                        \
    LANES_PRODUCER("push", (kind) + LANES_PUSH, LANES_RECORD_STATES),                                                 \
    LANES_PRODUCER("push_more", (kind) + LANES_PUSH_MORE, LANES_RECORD_STATES),                                       \
    LANES_PRODUCER("flush", (kind) + LANES_FLUSH, LANES_START_STATES),                                                \
    LANES_PRODUCER("commit", (kind) + LANES_COMMIT, LANES_RECORD_STATES),                                             \
    LANES_PRODUCER("commit_more", (kind) + LANES_COMMIT_MORE, LANES_RECORD_STATES),                                   \
    LANES_PRODUCER("producer_attach", (kind) + LANES_PRODUCER_ATTACH, LANES_START_STATES),                            \
    LANES_CONSUMER("pop", (kind) + LANES_POP, LANES_START_STATES * 2),                                                \
    LANES_CONSUMER("pop_more", (kind) + LANES_POP_MORE, LANES_START_STATES * 2),                                      \
    LANES_CONSUMER("peek", (kind) + LANES_PEEK, LANES_START_STATES),                                                  \
    LANES_CONSUMER("release", (kind) + LANES_RELEASE, LANES_START_STATES),                                            \
    LANES_CONSUMER("ready", (kind) + LANES_READY, LANES_START_STATES),                                                \
    LANES_CONSUMER("consumer_attach", (kind) + LANES_CONSUMER_ATTACH, LANES_START_STATES)

#endif
