/* tests/model/spsc_rig.h - a lane of the smallest capacity with one of each end, for the models of it.
 *
 * Record n has plan->lens[n] bytes, and each of its words tells n and its own place.  The lane's memory is at first
 * full of what the worst older lap would have left there: headers that could be true. */
#ifndef MODEL_SPSC_RIG_H
#define MODEL_SPSC_RIG_H

#include <weir/ring/spsc.h>

#include "explorer.h"

#define CAPACITY 64u
#define RECORDS 8u
#define RECORD_WORDS 2u /* the limit of a lane of that capacity is 16 bytes */

struct plan {
    uint64_t start_pos;
    unsigned count;
    uint8_t lens[RECORDS];
};

static struct {
    _Alignas(64) unsigned char ring[WEIR_SPSC_CONTROL + CAPACITY];
    const struct plan *plan;
    weir_spsc_producer producer;
    weir_spsc_consumer consumer;
    unsigned pushed; /* the producer's calls that came back */
    unsigned popped; /* the consumer's */
} rig;

enum { MARK_FULL = 1, MARK_EMPTY = 2, MARK_KILLED = 4, MARK_OTHER = 8 };

static inline void rig_blank(const struct plan *plan)
{
    model_zero(&rig, sizeof rig);
    rig.plan = plan;
    model_share("ring", rig.ring, sizeof rig.ring, WEIR_SPSC_DATA | 8);
}

static inline void rig_setup(const struct plan *plan)
{
    rig_blank(plan);
    MODEL_ASSERT(weir_spsc_init(rig.ring, sizeof rig.ring, CAPACITY, plan->start_pos) == WEIR_OK);
    MODEL_ASSERT(weir_spsc_producer_attach(&rig.producer, rig.ring, sizeof rig.ring) == WEIR_OK);
    MODEL_ASSERT(weir_spsc_consumer_attach(&rig.consumer, rig.ring, sizeof rig.ring) == WEIR_OK);
}

/* Word i of record n. */
static inline uint64_t rig_word(unsigned n, unsigned i)
{
    return UINT64_C(0x0101010101010101) * (2 * n + i + 1);
}

static inline void rig_check(const uint64_t words[RECORD_WORDS], uint32_t len, unsigned n)
{
    MODEL_ASSERT(n < rig.plan->count);
    MODEL_ASSERT(len == rig.plan->lens[n]);
    for (unsigned i = 0; i * 8 < len; i++) {
        unsigned bits = len - i * 8 < 8 ? (len - i * 8) * 8 : 64;
        MODEL_ASSERT((words[i] ^ rig_word(n, i)) << (64 - bits) == 0); /* the low bytes: little-endian */
    }
}

/* ---- the producer's ways ---- */

static inline weir_status rig_put(weir_spsc_producer *producer, unsigned n, bool more)
{
    uint64_t words[RECORD_WORDS] = { rig_word(n, 0), rig_word(n, 1) };
    weir_status status = weir_spsc_put(producer, words, rig.plan->lens[n], more);
    if (status == WEIR_FULL)
        model_reached(MARK_FULL);
    else
        MODEL_ASSERT(status == WEIR_OK);
    return status;
}

static inline weir_status rig_push(weir_spsc_producer *producer, unsigned n)
{
    return rig_put(producer, n, false);
}

static inline weir_status rig_push_more(weir_spsc_producer *producer, unsigned n)
{
    return rig_put(producer, n, true);
}

/* In place. */
static inline weir_status rig_commit(weir_spsc_producer *producer, unsigned n)
{
    uint64_t words[RECORD_WORDS] = { rig_word(n, 0), rig_word(n, 1) };
    void *slot = NULL;
    weir_status status = weir_spsc_reserve(producer, sizeof words, &slot);
    if (status == WEIR_FULL) {
        model_reached(MARK_FULL);
        return status;
    }
    MODEL_ASSERT(status == WEIR_OK);
    WEIR_PAYLOAD_WRITE(slot, words, rig.plan->lens[n]);
    MODEL_ASSERT(weir_spsc_commit(producer, rig.plan->lens[n]) == WEIR_OK);
    return WEIR_OK;
}

static inline void rig_push_all(void)
{
    for (; rig.pushed < rig.plan->count; rig.pushed++)
        while (rig_push(&rig.producer, rig.pushed) == WEIR_FULL)
            MODEL_ASSERT(model_wait());
}

static inline void rig_commit_all(void)
{
    for (; rig.pushed < rig.plan->count; rig.pushed++)
        while (rig_commit(&rig.producer, rig.pushed) == WEIR_FULL)
            MODEL_ASSERT(model_wait());
}

/* ---- the consumer's ways ---- */

static inline weir_status rig_pop(weir_spsc_consumer *consumer, unsigned n)
{
    uint64_t words[RECORD_WORDS] = { 0, 0 };
    uint32_t len = 0;
    weir_status status = weir_spsc_pop(consumer, words, sizeof words, &len);
    if (status == WEIR_EMPTY) {
        model_reached(MARK_EMPTY);
        return status;
    }
    MODEL_ASSERT(status == WEIR_OK);
    rig_check(words, len, n);
    return WEIR_OK;
}

/* In place, without a release. */
static inline weir_status rig_peek(weir_spsc_consumer *consumer, unsigned n)
{
    uint64_t words[RECORD_WORDS] = { 0, 0 };
    const void *msg = NULL;
    uint32_t len = 0;
    weir_status status = weir_spsc_peek(consumer, &msg, &len);
    if (status == WEIR_EMPTY) {
        model_reached(MARK_EMPTY);
        return status;
    }
    MODEL_ASSERT(status == WEIR_OK && len <= sizeof words);
    WEIR_PAYLOAD_READ(words, msg, len);
    rig_check(words, len, n);
    return WEIR_OK;
}

static inline void rig_pop_all(void)
{
    for (; rig.popped < rig.plan->count; rig.popped++)
        while (rig_pop(&rig.consumer, rig.popped) == WEIR_EMPTY)
            MODEL_ASSERT(model_wait());
}

static inline void rig_peek_all(void)
{
    for (; rig.popped < rig.plan->count; rig.popped++) {
        while (rig_peek(&rig.consumer, rig.popped) == WEIR_EMPTY)
            MODEL_ASSERT(model_wait());
        weir_spsc_release(&rig.consumer);
    }
}

/* Everything came, and nothing else is there. */
static inline void rig_check_end(const weir_spsc_consumer *consumer)
{
    weir_spsc_consumer next;
    MODEL_ASSERT(rig.popped == rig.plan->count);
    MODEL_ASSERT(weir_spsc_ready(consumer) == WEIR_EMPTY);
    MODEL_ASSERT(weir_spsc_consumer_attach(&next, rig.ring, sizeof rig.ring) == WEIR_OK);
    MODEL_ASSERT(weir_spsc_ready(&next) == WEIR_EMPTY);
}

static inline void rig_check_all(void)
{
    rig_check_end(&rig.consumer);
}

#endif
