#include <weir/base/fail.h>
#include <weir/ring/mpmc.h>
#include <weir/ring/mpmc_layout.h>

#define MASK WEIR_MPMC_POS_MASK

/* ---- the ring ---- */

static bool shape_is_valid(const weir_mpmc_shape *shape)
{
    return shape->lanes != 0 && shape->lanes <= WEIR_MPMC_LANES_MAX && shape->consumers != 0 &&
           shape->consumers <= WEIR_MPMC_CONSUMERS_MAX && shape->slots >= WEIR_MPMC_SLOTS_MIN &&
           shape->slots <= WEIR_MPMC_SLOTS_MAX && (shape->slots & (shape->slots - 1)) == 0 &&
           shape->record_max <= WEIR_MPMC_RECORD_MAX;
}

uint64_t weir_mpmc_footprint(const weir_mpmc_shape *shape)
{
    return shape_is_valid(shape) ? weir_mpmc_lane_off(shape, shape->lanes) : 0; /* below 2^64: it does not wrap */
}

static void init_lane(void *mem, const weir_mpmc_shape *shape, uint32_t lane, uint64_t start_pos)
{
    uint32_t shift = weir_mpmc_shift_of(shape->slots);
    uint64_t stride = weir_mpmc_stride(shape->record_max);
    weir_atomic_u64 *claim = weir_word_at(mem, weir_mpmc_lane_off(shape, lane));
    unsigned char *data = (unsigned char *)claim + weir_mpmc_slots_off(shape->consumers);
    weir_store_rlx(claim, weir_mpmc_claim_word(start_pos, 0));
    weir_store_rlx(weir_mpmc_home(claim), 0);
    for (uint32_t x = 0; x < shape->consumers; x++)
        weir_store_rlx(weir_mpmc_run(claim, x), weir_mpmc_run_word(start_pos, 0, WEIR_MPMC_CONFIRMED));
    for (uint64_t pos = start_pos; pos - start_pos < shape->slots; pos++)
        weir_store_rlx(weir_word_at(weir_mpmc_slot(data, pos, shift, stride), 0),
                       weir_mpmc_tag(pos - shape->slots, shift));
}

static void make_lanes(void *mem, const weir_mpmc_shape *shape, uint32_t from, uint32_t to, uint64_t start_pos)
{
    for (uint32_t lane = from; lane < to; lane++)
        init_lane(mem, shape, lane, start_pos);
}

weir_status weir_mpmc_init_some(void *mem, uint64_t size_bytes, const weir_mpmc_shape *shape, uint32_t made,
                                uint64_t start_pos)
{
    bool possible = weir_mpmc_footprint(shape) != 0 && made != 0 && made <= shape->lanes;
    uint64_t footprint = possible ? weir_mpmc_lane_off(shape, made) : 0;
    if (mem == NULL || (uintptr_t)mem % WEIR_LINE != 0)
        return weir_fail(WEIR_E_INVALID, "a ring needs memory aligned to %d bytes", WEIR_LINE);
    if (footprint == 0)
        return weir_fail(WEIR_E_INVALID,
                         "%u of %u lanes (1 to %u), %u consumers (1 to %u), %u slots (a power of two, %u to %u), "
                         "records of %u bytes (0 to %u)", made, shape->lanes, WEIR_MPMC_LANES_MAX, shape->consumers,
                         WEIR_MPMC_CONSUMERS_MAX, shape->slots, WEIR_MPMC_SLOTS_MIN, WEIR_MPMC_SLOTS_MAX,
                         shape->record_max, WEIR_MPMC_RECORD_MAX);
    if (size_bytes < footprint)
        return weir_fail(WEIR_E_INVALID, "%u lanes of that shape need %llu bytes, not %llu", made,
                         (unsigned long long)footprint, (unsigned long long)size_bytes);
    if (start_pos > MASK)
        return weir_fail(WEIR_E_INVALID, "a ring's first position is below 2^56");
    weir_mpmc_layout *ring = mem;
    weir_store_rlx(&ring->magic, 0);
    weir_fence_compiler(); /* whoever is killed from here on leaves no ring, not an older one half changed */
    weir_store_rlx(&ring->version, WEIR_MPMC_VERSION);
    weir_store_rlx(&ring->lanes, shape->lanes);
    weir_store_rlx(&ring->consumers, shape->consumers);
    weir_store_rlx(&ring->slots, shape->slots);
    weir_store_rlx(&ring->record_max, shape->record_max);
    weir_store_rlx(&ring->made, made);
    for (uint32_t x = 0; x < shape->consumers; x++)
        weir_store_rlx(weir_word_at(mem, weir_mpmc_owner_off(x)), 0);
    make_lanes(mem, shape, 0, made, start_pos);
    /* order MPMC-INIT rel: the control block and the lanes before the magic.  Without it who polls for the magic can
     * attach to half a ring. */
    weir_store_rel(&ring->magic, WEIR_MPMC_MAGIC);
    return WEIR_OK;
}

weir_status weir_mpmc_init(void *mem, uint64_t size_bytes, const weir_mpmc_shape *shape, uint64_t start_pos)
{
    return weir_mpmc_init_some(mem, size_bytes, shape, shape->lanes, start_pos);
}

/* What never changes.  Believed if the owner words, which all lanes lie behind, are in size_bytes. */
static weir_status read_shape(const void *mem, uint64_t size_bytes, weir_mpmc_shape *shape)
{
    if (mem == NULL || (uintptr_t)mem % WEIR_LINE != 0)
        return weir_fail(WEIR_E_INVALID, "a ring needs memory aligned to %d bytes", WEIR_LINE);
    if (size_bytes < WEIR_MPMC_CONTROL)
        return weir_fail(WEIR_E_NOT_WEIR, "%llu bytes are too few for a ring", (unsigned long long)size_bytes);
    const weir_mpmc_layout *ring = mem;
    /* order MPMC-INIT acq: the magic before the control block and the lanes. */
    if (weir_load_acq(&ring->magic) != WEIR_MPMC_MAGIC)
        return weir_fail(WEIR_E_NOT_WEIR, "no mpmc ring in that memory");
    uint64_t version = weir_load_rlx(&ring->version);
    if (version != WEIR_MPMC_VERSION)
        return weir_fail(WEIR_E_VERSION, "the ring has layout version %llu, this library knows %llu",
                         (unsigned long long)version, (unsigned long long)WEIR_MPMC_VERSION);
    uint64_t lanes = weir_load_rlx(&ring->lanes), consumers = weir_load_rlx(&ring->consumers);
    uint64_t slots = weir_load_rlx(&ring->slots), record_max = weir_load_rlx(&ring->record_max);
    weir_mpmc_shape stated = { (uint32_t)lanes, (uint32_t)consumers, (uint32_t)slots, (uint32_t)record_max };
    bool possible = (lanes | consumers | slots | record_max) <= UINT32_MAX && shape_is_valid(&stated);
    if (!possible || weir_mpmc_lane_off(&stated, 0) > size_bytes)
        return weir_fail(WEIR_E_CORRUPT, "the ring states %llu lanes, %llu consumers, %llu slots of %llu bytes, "
                         "in %llu bytes", (unsigned long long)lanes, (unsigned long long)consumers,
                         (unsigned long long)slots, (unsigned long long)record_max, (unsigned long long)size_bytes);
    *shape = stated;
    return WEIR_OK;
}

weir_status weir_mpmc_validate(const void *mem, uint64_t size_bytes, weir_mpmc_sizes *sizes)
{
    weir_mpmc_shape shape = { .lanes = 0 };
    weir_status status = read_shape(mem, size_bytes, &shape);
    if (status != WEIR_OK)
        return status;
    uint64_t made = 0;
    weir_ring_room room = { .bytes = size_bytes, .first_off = weir_mpmc_lane_off(&shape, 0),
                            .lane_bytes = weir_mpmc_lane_bytes(&shape), .lanes = shape.lanes,
                            .made = &((const weir_mpmc_layout *)mem)->made };
    if (!weir_ring_made(&room, &made))
        return weir_fail(WEIR_E_CORRUPT, "the ring states %llu lanes, %u at most, of %u slots of %u bytes, in %llu "
                         "bytes", (unsigned long long)made, shape.lanes, shape.slots, shape.record_max,
                         (unsigned long long)size_bytes);
    *sizes = (weir_mpmc_sizes){ shape, (uint32_t)made, room };
    return WEIR_OK;
}

weir_status weir_mpmc_grow(void *mem, uint64_t size_bytes, uint32_t made)
{
    weir_mpmc_sizes sizes = { .made = 0 };
    weir_status status = weir_mpmc_validate(mem, size_bytes, &sizes);
    if (status == WEIR_OK)
        status = weir_ring_can_grow(&sizes.room, made);
    if (status != WEIR_OK || made <= sizes.made)
        return status;
    make_lanes(mem, &sizes.shape, sizes.made, made, 0);
    weir_ring_show(&((weir_mpmc_layout *)mem)->made, made);
    return WEIR_OK;
}

weir_status weir_mpmc_shape_of(const void *mem, uint64_t size_bytes, weir_mpmc_shape *shape)
{
    weir_mpmc_sizes sizes = { .made = 0 };
    weir_status status = weir_mpmc_validate(mem, size_bytes, &sizes);
    if (status == WEIR_OK)
        *shape = sizes.shape;
    return status;
}

weir_status weir_mpmc_lanes(const void *mem, uint64_t size_bytes, uint32_t *lanes)
{
    weir_mpmc_sizes sizes = { .made = 0 };
    weir_status status = weir_mpmc_validate(mem, size_bytes, &sizes);
    if (status == WEIR_OK)
        *lanes = sizes.made;
    return status;
}

weir_status weir_mpmc_owner(const void *mem, uint64_t size_bytes, uint32_t slot, uint32_t *owner,
                            uint32_t *generation)
{
    weir_mpmc_shape shape = { .lanes = 0 };
    weir_mpmc_owner_state state;
    weir_status status = read_shape(mem, size_bytes, &shape); /* not the lanes: they may have grown beyond size_bytes */
    if (status != WEIR_OK)
        return status;
    if (slot >= shape.consumers)
        return weir_fail(WEIR_E_INVALID, "the ring has %u consumer slots, there is no slot %u", shape.consumers, slot);
    uint64_t word = weir_load_rlx(weir_word_of(mem, weir_mpmc_owner_off(slot)));
    if (!weir_mpmc_owner_of(word, shape.consumers, &state))
        return weir_fail(WEIR_E_CORRUPT, "impossible owner %#llx of slot %u", (unsigned long long)word, slot);
    if (!state.held)
        return WEIR_EMPTY;
    *owner = state.owner;
    *generation = state.generation;
    return WEIR_OK;
}

/* ---- producer ---- */

/* Finds the end of what is committed, and takes back what a dead producer's open batch left behind it.  Nobody looks
 * there before the header at the end is committed, and that will be done by a release. */
static weir_status repair(weir_mpmc_producer *p, uint64_t claim_pos)
{
    uint64_t slots = UINT64_C(1) << p->shift, end = claim_pos, pos = claim_pos, header = 0;
    bool committed = true;
    for (; pos - claim_pos < slots; pos++) {
        weir_atomic_u64 *word = weir_word_at(weir_mpmc_slot(p->data, pos, p->shift, p->stride), 0);
        header = weir_load_rlx(word); /* relaxed: only a producer writes headers, and the former one is gone */
        uint64_t tag = header & WEIR_MPMC_TAG;
        bool now = tag == weir_mpmc_tag(pos, p->shift);
        if (!now && tag != weir_mpmc_tag(pos - slots, p->shift))
            break;
        if (committed && !now)
            committed = false;
        if (committed)
            end = pos + 1;
        else if (now)
            weir_store_rlx(word, weir_mpmc_tag(pos - slots, p->shift)); /* relaxed: as above */
    }
    if (pos - claim_pos < slots)
        return weir_fail(WEIR_E_CORRUPT, "impossible header %#llx at position %llu", (unsigned long long)header,
                         (unsigned long long)(pos & MASK));
    p->pos = end;
    return WEIR_OK;
}

weir_status weir_mpmc_producer_attach(weir_mpmc_producer *p, void *mem, uint64_t size_bytes, uint32_t lane)
{
    weir_mpmc_sizes sizes = { .made = 0 };
    *p = (weir_mpmc_producer){ .fault = WEIR_OK };
    weir_status status = weir_mpmc_validate(mem, size_bytes, &sizes);
    if (status != WEIR_OK)
        return status;
    if (lane >= sizes.made)
        return weir_fail(WEIR_E_INVALID, "the ring has %u lanes, there is no lane %u", sizes.made, lane);
    weir_mpmc_shape shape = sizes.shape;
    weir_mpmc_producer own = { .shift = weir_mpmc_shift_of(shape.slots), .stride = weir_mpmc_stride(shape.record_max),
                               .record_max = shape.record_max, .consumers = shape.consumers };
    own.claim = weir_word_at(mem, weir_mpmc_lane_off(&shape, lane));
    own.data = (unsigned char *)own.claim + weir_mpmc_slots_off(shape.consumers);
    /* relaxed: any position that was claimed once will do, from there headers lead to the end. */
    own.claim_pos = weir_mpmc_claim_of(weir_load_rlx(own.claim)).pos;
    status = repair(&own, own.claim_pos);
    if (status != WEIR_OK)
        return status;
    own.limit_pos = own.stop_pos = own.own_pos = own.pos; /* the first push asks what is free: no more than a lap was in use */
    own.free_pos = own.pos - shape.slots;
    own.step = own.stride < WEIR_SPSC_AHEAD_MIN ? (uint32_t)(WEIR_SPSC_AHEAD_MIN / own.stride) : 1;
    *p = own;
    return WEIR_OK;
}

static weir_status producer_poison(weir_mpmc_producer *p, const char *what, uint64_t word)
{
    weir_status status = weir_fail(WEIR_E_CORRUPT, "impossible %s %#llx: published is %llu", what,
                                   (unsigned long long)word, (unsigned long long)(p->pos & MASK));
    /* With neither room nor consumers every call comes back to the slow paths and finds the fault. */
    *p = (weir_mpmc_producer){ .fault = status };
    return status;
}

/* Reads how far the lane is claimed and what of that is not done, believes it only if it can be, and keeps it. */
static weir_status read_free(weir_mpmc_producer *p)
{
    if (p->consumers == 0)
        return p->fault != WEIR_OK ? p->fault : WEIR_E_STATE;
    uint64_t published_pos = p->batch_header != 0 ? p->batch_pos : p->pos;
    /* order MPMC-CLAIM acq: the claim word before the run words.  Without it the run of a claim that this word knows
     * of can be missing, and its records be overwritten. */
    uint64_t claim_word = weir_load_acq(p->claim);
    weir_mpmc_claim claim = weir_mpmc_claim_of(claim_word);
    uint64_t claimed = (claim.pos - p->claim_pos) & MASK;
    if (claimed > published_pos - p->claim_pos || claim.by >= p->consumers)
        return producer_poison(p, "claim", claim_word);
    uint64_t claim_pos = p->claim_pos + claimed, free_pos = claim_pos;
    for (uint32_t x = 0; x < p->consumers; x++) {
        /* order MPMC-FREE acq: the consumer's reads of what it gave back before our writes over it. */
        uint64_t word = weir_load_acq(weir_mpmc_run(p->claim, x));
        weir_mpmc_run_state run = weir_mpmc_run_of(word);
        /* An intent is true only if its claim is the last: whoever claims behind another's confirms that first. */
        if (run.left == 0 || (run.intent && claim_word != weir_mpmc_claim_word(run.pos + run.left, x)))
            continue;
        uint64_t ahead = (run.pos - p->free_pos) & MASK; /* of what was free already */
        if (ahead + run.left > published_pos - p->free_pos)
            return producer_poison(p, "run", word);
        if (ahead < free_pos - p->free_pos)
            free_pos = p->free_pos + ahead;
    }
    /* order MPMC-LAP rel: the claim word that was read before the headers of a batch, which are written relaxed.
     * Without it a consumer that still has an older claim word can see them, look at it again, find it unchanged, and
     * take them for corrupt. */
    weir_fence_rel();
    p->claim_pos = claim_pos;
    p->free_pos = free_pos;
    p->limit_pos = free_pos + (UINT64_C(1) << p->shift);
    return WEIR_OK;
}

/* Makes the lines of the next slots the producer's own, while nobody waits for it, by one store to each (weir_spsc_own), and
 * never to a header.  They lie in one lap. */
static void own_lines(weir_mpmc_producer *p, uint64_t count)
{
    uint64_t ahead = (int64_t)(p->own_pos - p->pos) > 0 ? p->own_pos - p->pos : 0;
    unsigned char *header = p->slot + ahead * p->stride, *end = p->slot + count * p->stride;
    unsigned char *at = p->data + (((uint64_t)(header - p->data) + WEIR_LINE - 1) & ~(uint64_t)(WEIR_LINE - 1));
    if (p->stride == WEIR_MPMC_HEADER || ahead >= count)
        return;
    if ((uint64_t)(end - header) > WEIR_SPSC_AHEAD_MAX)
        end = header + WEIR_SPSC_AHEAD_MAX;
    for (; at < end; at += WEIR_LINE) {
        while (header < at)
            header += p->stride;
        /* relaxed: free room, reached through headers that are stored behind this with release. */
        weir_store_rlx(weir_word_at(at, header == at ? WEIR_MPMC_HEADER : 0), 0);
    }
    p->own_pos = p->pos + count;
}

void weir_mpmc_producer_go_on(weir_mpmc_producer *p)
{
    uint64_t slots = UINT64_C(1) << p->shift, lap = slots - (p->pos & (slots - 1)), free = p->limit_pos - p->pos;
    uint64_t most = free < lap ? free : lap;
    p->slot = weir_mpmc_slot(p->data, p->pos, p->shift, p->stride);
    p->tag = weir_mpmc_tag(p->pos, p->shift);
    p->stop_pos = p->pos + (p->step < most ? p->step : most);
    own_lines(p, 2 * p->step < most ? 2 * p->step : most);
}

weir_status weir_mpmc_reserve_slow(weir_mpmc_producer *p, uint64_t len, void **slot)
{
    p->reserved = 0;
    weir_status status = weir_mpmc_place(p, len);
    if (status == WEIR_OK)
        (void)weir_mpmc_reserve_now(p, len, slot); /* there is room now */
    return status;
}

weir_status weir_mpmc_put_slow(weir_mpmc_producer *p, const void *msg, uint64_t len, int more)
{
    weir_status status = weir_mpmc_place(p, len);
    if (status != WEIR_OK || weir_mpmc_put_now(p, msg, len, more != 0, NULL))
        return status;
    unsigned char *payload = p->slot + WEIR_MPMC_HEADER;
    if (more != 0) /* too long to be copied word by word; otherwise as weir_mpmc_put_now */
        weir_mpmc_finish(p, len, true, NULL);
    weir_spsc_copy(payload, msg, len);
    if (more == 0)
        weir_mpmc_finish(p, len, false, NULL);
    return WEIR_OK;
}

weir_status weir_mpmc_producer_refresh(weir_mpmc_producer *p)
{
    weir_status status = read_free(p);
    if (status == WEIR_OK && p->near != p->told)
        weir_store_rlx(weir_mpmc_home(p->claim), p->told = p->near); /* relaxed: a hint */
    if (status != WEIR_OK)
        return status;
    weir_mpmc_producer_go_on(p);
    return p->pos != p->stop_pos ? WEIR_OK : WEIR_FULL;
}

weir_status weir_mpmc_producer_refuse(const weir_mpmc_producer *p, uint64_t len)
{
    if (p->consumers == 0)
        return p->fault != WEIR_OK ? p->fault : WEIR_E_STATE;
    return weir_fail(WEIR_E_TOO_LARGE, "a record of %llu bytes is over the limit of %u", (unsigned long long)len,
                     p->record_max);
}

weir_status weir_mpmc_drained(weir_mpmc_producer *p)
{
    weir_status status = read_free(p);
    if (status != WEIR_OK)
        return status;
    return p->free_pos == p->pos && p->batch_header == 0 ? WEIR_OK : WEIR_FULL;
}
