/* tests/model/search.h - private: the two searches. */
#ifndef MODEL_SEARCH_H
#define MODEL_SEARCH_H

#include "explorer.h"

struct search_result {
    uint64_t executions; /* that came to their end and were checked */
    uint32_t reached;
    bool exhausted; /* there are no others within the bounds */
    bool failed;    /* it has been told how */
    bool failed_as_it_must;
};

struct search_result search_all(const struct model *model, unsigned preemptions, unsigned stale, uint64_t executions);
struct search_result search_random(const struct model *model, uint64_t seed, uint64_t executions);

#endif
