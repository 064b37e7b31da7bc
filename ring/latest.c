#include <weir/base/fail.h>
#include <weir/ring/latest.h>
#include <weir/ring/latest_layout.h>

/* A slot has its own line pairs: the writer's next one is not the reader's. */
static uint64_t stride_of(uint32_t value_max)
{
    uint64_t bytes = WEIR_LATEST_SLOT + (uint64_t)value_max;
    return (bytes + WEIR_LINE_PAIR - 1) / WEIR_LINE_PAIR * WEIR_LINE_PAIR;
}

uint64_t weir_latest_footprint(uint32_t value_max, uint32_t slots)
{
    if (value_max > WEIR_LATEST_VALUE_MAX || slots < WEIR_LATEST_SLOTS_MIN || slots > WEIR_LATEST_SLOTS_MAX ||
        (slots & (slots - 1)) != 0)
        return 0;
    return WEIR_LATEST_CONTROL + stride_of(value_max) * slots;
}

weir_status weir_latest_init(void *mem, uint64_t size_bytes, uint32_t value_max, uint32_t slots, uint64_t start_number)
{
    uint64_t footprint = weir_latest_footprint(value_max, slots);
    if (mem == NULL || (uintptr_t)mem % WEIR_LINE != 0)
        return weir_fail(WEIR_E_INVALID, "it needs memory aligned to %d bytes", WEIR_LINE);
    if (footprint == 0)
        return weir_fail(WEIR_E_INVALID, "values of %u bytes (at most %u) in %u slots (a power of two from %u to %u)",
                         value_max, WEIR_LATEST_VALUE_MAX, slots, WEIR_LATEST_SLOTS_MIN, WEIR_LATEST_SLOTS_MAX);
    if (size_bytes < footprint)
        return weir_fail(WEIR_E_INVALID, "values of %u bytes in %u slots need %llu bytes, not %llu", value_max, slots,
                         (unsigned long long)footprint, (unsigned long long)size_bytes);
    weir_latest_layout *ring = mem;
    weir_store_rlx(&ring->magic, 0);
    weir_fence_compiler(); /* whoever is killed from here on leaves none, not an older one half changed */
    weir_store_rlx(&ring->version, WEIR_LATEST_VERSION);
    weir_store_rlx(&ring->value_max, value_max);
    weir_store_rlx(&ring->slots, slots);
    weir_store_rlx(&ring->current, start_number);
    for (uint32_t i = 0; i < slots; i++) { /* an old value of an older one is none of this */
        unsigned char *slot = (unsigned char *)mem + WEIR_LATEST_CONTROL + i * stride_of(value_max);
        weir_store_rlx(weir_word_at(slot, 0), i == (start_number & (slots - 1)) ? start_number : 0);
        weir_store_rlx(weir_word_at(slot, 8), 0);
    }
    /* order LATEST-INIT rel: the control block before its magic.  Without it who polls for the magic can attach to half
     * a control block. */
    weir_store_rel(&ring->magic, WEIR_LATEST_MAGIC);
    return WEIR_OK;
}

/* Checks the control block; each shared size is read here once and kept by the caller. */
static weir_status validate(const void *mem, uint64_t size_bytes, uint32_t *value_max, uint32_t *slots)
{
    if (mem == NULL || (uintptr_t)mem % WEIR_LINE != 0)
        return weir_fail(WEIR_E_INVALID, "it needs memory aligned to %d bytes", WEIR_LINE);
    if (size_bytes < WEIR_LATEST_CONTROL)
        return weir_fail(WEIR_E_NOT_WEIR, "%llu bytes are too few for it", (unsigned long long)size_bytes);
    const weir_latest_layout *ring = mem;
    /* order LATEST-INIT acq: the magic before the control block. */
    if (weir_load_acq(&ring->magic) != WEIR_LATEST_MAGIC)
        return weir_fail(WEIR_E_NOT_WEIR, "no latest value in that memory");
    uint64_t version = weir_load_rlx(&ring->version);
    if (version != WEIR_LATEST_VERSION)
        return weir_fail(WEIR_E_VERSION, "it has layout version %llu, this library knows %llu",
                         (unsigned long long)version, (unsigned long long)WEIR_LATEST_VERSION);
    uint64_t bytes = weir_load_rlx(&ring->value_max), count = weir_load_rlx(&ring->slots);
    uint64_t footprint = bytes <= UINT32_MAX && count <= UINT32_MAX
                             ? weir_latest_footprint((uint32_t)bytes, (uint32_t)count)
                             : 0;
    if (footprint == 0 || footprint > size_bytes)
        return weir_fail(WEIR_E_CORRUPT, "it states values of %llu bytes in %llu slots, in %llu bytes",
                         (unsigned long long)bytes, (unsigned long long)count, (unsigned long long)size_bytes);
    *value_max = (uint32_t)bytes;
    *slots = (uint32_t)count;
    return WEIR_OK;
}

weir_status weir_latest_writer_attach(weir_latest_writer *w, void *mem, uint64_t size_bytes)
{
    uint32_t value_max = 0, slots = 0;
    *w = (weir_latest_writer){ .current = NULL };
    weir_status status = validate(mem, size_bytes, &value_max, &slots);
    if (status != WEIR_OK)
        return status;
    w->current = &((weir_latest_layout *)mem)->current;
    w->slots = (unsigned char *)mem + WEIR_LATEST_CONTROL;
    w->number = weir_load_rlx(w->current); /* relaxed: only a writer writes it, and the former one is gone */
    w->stride = stride_of(value_max);
    w->mask = slots - 1;
    w->value_max = value_max;
    return WEIR_OK;
}

weir_status weir_latest_reader_attach(weir_latest_reader *r, const void *mem, uint64_t size_bytes)
{
    uint32_t value_max = 0, slots = 0;
    *r = (weir_latest_reader){ .current = NULL };
    weir_status status = validate(mem, size_bytes, &value_max, &slots);
    if (status != WEIR_OK)
        return status;
    r->current = &((const weir_latest_layout *)mem)->current;
    r->slots = (const unsigned char *)mem + WEIR_LATEST_CONTROL;
    r->stride = stride_of(value_max);
    r->mask = slots - 1;
    r->value_max = value_max;
    return WEIR_OK;
}

weir_status weir_latest_poison(weir_latest_reader *r, uint64_t number, uint64_t len)
{
    weir_status status = weir_fail(WEIR_E_CORRUPT, "value %llu states %llu bytes, the most is %u",
                                   (unsigned long long)number, (unsigned long long)len, r->value_max);
    *r = (weir_latest_reader){ .fault = status };
    return status;
}
