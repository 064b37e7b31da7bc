/* The consumer's side of mpmc.h: its slot, what it claims, and what it takes over from those who are gone. */
#include <weir/base/fail.h>
#include <weir/ring/mpmc.h>
#include <weir/ring/mpmc_layout.h>

#define MASK WEIR_MPMC_POS_MASK

static weir_status poison_as(weir_mpmc_consumer *c, weir_status status)
{
    *c = (weir_mpmc_consumer){ .fault = status };
    return status;
}

weir_status weir_mpmc_poison(weir_mpmc_consumer *c, const char *what, uint64_t word)
{
    return poison_as(c, weir_fail(WEIR_E_CORRUPT, "impossible %s %#llx", what, (unsigned long long)word));
}

/* ---- lanes ---- */

static void take_in_hand(weir_mpmc_lane *of, uint32_t slot, uint64_t pos, uint32_t count, uint32_t redelivered)
{
    of->run = weir_mpmc_run(of->claim, slot);
    of->pos = of->next_pos = pos;
    of->end_pos = pos + count;
    of->slot = slot;
    of->redelivered = redelivered;
}

/* Attaches to those up to `made`, which can be touched. */
static void attach_lanes(weir_mpmc_consumer *c, uint32_t made)
{
    for (; c->count < made; c->count++) {
        weir_mpmc_lane *of = &c->lanes[c->count];
        weir_atomic_u64 *claim = weir_word_at(weir_ring_lane(&c->room, c->count), 0);
        *of = (weir_mpmc_lane){ .claim = claim };
        of->data = (unsigned char *)claim + weir_mpmc_slots_off(c->consumers);
        of->claim_pos = weir_mpmc_claim_of(weir_load_rlx(claim)).pos; /* relaxed: read_claim reads it again */
        take_in_hand(of, c->slot, of->claim_pos, 0, 0);
    }
}

/* Takes in the lanes that have been made.  Of one who is gone, everything that it knew is found: to know that it is
 * gone is to have seen all that it saw. */
static weir_status look_for_lanes(weir_mpmc_consumer *c)
{
    uint32_t made;
    if (c->count == 0)
        return c->fault != WEIR_OK ? c->fault : WEIR_E_STATE;
    if (WEIR_LIKELY(!weir_ring_news(&c->room, c->count, &made)))
        return WEIR_OK;
    weir_status status = weir_ring_reach_lanes(&c->room, made);
    if (status != WEIR_OK)
        return poison_as(c, status);
    attach_lanes(c, made);
    return WEIR_OK;
}

/* ---- leftovers ---- */

static weir_atomic_u64 *owner_word(const weir_mpmc_consumer *c, uint32_t slot)
{
    return weir_word_at(c->owners, (uint64_t)slot * WEIR_LINE_PAIR);
}

/* Reads the lane's claim word and believes it if it goes on from what it was. */
static weir_status read_claim(weir_mpmc_consumer *c, weir_mpmc_lane *of, uint64_t *claim_word)
{
    /* order MPMC-CLAIM acq: the claim word before the run words and the headers.  Without it the last claimer's intent
     * can be missed, which then is confirmed by nobody; and of a batch that it has claimed the first part of, bytes of
     * an older lap be read. */
    uint64_t word = weir_load_acq(of->claim);
    weir_mpmc_claim claim = weir_mpmc_claim_of(word);
    uint64_t claimed = (claim.pos - of->claim_pos) & MASK;
    if (claimed > MASK / 2 || claim.by >= c->consumers)
        return weir_mpmc_poison(c, "claim", word);
    of->claim_pos += claimed;
    *claim_word = word;
    return WEIR_OK;
}

/* What a slot that is c's has left of a lane.  An intent that its former owner left is brought to truth: it came true
 * exactly if the claim word still is what that claim made it; if another has moved that on, it confirmed it before. */
static weir_status leftover(weir_mpmc_consumer *c, weir_mpmc_lane *of, uint32_t slot, weir_mpmc_run_state *run)
{
    uint64_t claim_word = 0;
    weir_status status = read_claim(c, of, &claim_word);
    if (status != WEIR_OK)
        return status;
    weir_atomic_u64 *at = weir_mpmc_run(of->claim, slot);
    uint64_t word = weir_load_rlx(at); /* relaxed: who wrote it is gone, or freed the slot (edge MPMC-OWNER) */
    *run = weir_mpmc_run_of(word);
    if (run->intent) {
        bool true_one = claim_word == weir_mpmc_claim_word(run->pos + run->left, slot);
        uint64_t settled = true_one ? word | WEIR_MPMC_CONFIRMED
                                    : weir_mpmc_run_word(run->pos, 0, WEIR_MPMC_CONFIRMED);
        /* relaxed: it carries on what the intent's own store released.  It fails where another has just confirmed. */
        uint64_t expected = word;
        if (!weir_cas_rlx(at, &expected, settled))
            settled = expected;
        *run = weir_mpmc_run_of(settled);
    }
    if (run->left == 0)
        return WEIR_OK;
    uint64_t behind = (of->claim_pos - run->pos) & MASK; /* it pins its room, and so nothing is a lap further */
    if (run->intent || run->left > WEIR_MPMC_RUN_MAX || behind < run->left || behind > UINT64_C(1) << c->shift)
        return weir_mpmc_poison(c, "run", word);
    return WEIR_OK;
}

static bool is_adopted(const weir_mpmc_consumer *c, uint32_t slot)
{
    return (c->adopted[slot / 64] >> slot % 64 & 1) != 0;
}

/* Makes the slot c's, if it still is {owner, generation}'s.  That word never comes again. */
static void adopt(weir_mpmc_consumer *c, uint32_t slot, uint64_t word)
{
    /* relaxed: whose it was is gone, and whoever says so has seen all that it did. */
    if (weir_cas_rlx(owner_word(c, slot), &word, weir_mpmc_owner_word(c->slot, c->generation))) {
        c->adopted_count += !is_adopted(c, slot); /* a word that was set back adopts it once more */
        c->adopted[slot / 64] |= UINT64_C(1) << slot % 64;
        c->held = c->leftovers = 1;
    }
}

/* Frees those of the adopted slots that have nothing left. */
static weir_status settle(weir_mpmc_consumer *c)
{
    for (uint32_t slot = 0; c->adopted_count != 0 && slot < c->consumers; slot++) {
        bool done = is_adopted(c, slot);
        for (uint32_t lane = 0; is_adopted(c, slot) && lane < c->count; lane++) { /* each, to settle its intent */
            weir_mpmc_run_state run;
            weir_status status = leftover(c, &c->lanes[lane], slot, &run);
            if (status != WEIR_OK)
                return status;
            done &= run.left == 0;
        }
        if (!done)
            continue;
        uint64_t word = weir_mpmc_owner_word(c->slot, c->generation);
        /* order MPMC-OWNER rel: the slot's run words before it is free.  Without it the slot's next consumer can store
         * an intent before the last words of the former one. */
        if (!weir_cas_rel(owner_word(c, slot), &word, 0))
            return weir_mpmc_poison(c, "owner", word);
        c->adopted[slot / 64] &= ~(UINT64_C(1) << slot % 64);
        c->adopted_count--;
    }
    return WEIR_OK;
}

weir_status weir_mpmc_recover(weir_mpmc_consumer *c, uint32_t owner, uint32_t generation)
{
    if (c->count == 0)
        return c->fault != WEIR_OK ? c->fault : WEIR_E_STATE;
    if (owner >= c->consumers || (owner == c->slot && generation == c->generation))
        return weir_fail(WEIR_E_INVALID, "consumer %u of generation %u is none to recover from", owner, generation);
    weir_status status = look_for_lanes(c); /* before a slot is freed that has a run in one of them */
    if (status != WEIR_OK)
        return status;
    for (uint32_t slot = 0; slot < c->consumers; slot++) {
        weir_mpmc_owner_state state;
        uint64_t word = weir_load_rlx(owner_word(c, slot)); /* relaxed: as adopt's */
        if (!weir_mpmc_owner_of(word, c->consumers, &state))
            return weir_mpmc_poison(c, "owner", word);
        if (word == weir_mpmc_owner_word(owner, generation))
            adopt(c, slot, word);
    }
    return settle(c);
}

/* ---- a life ---- */

/* Gets the slot: it is free, or a former consumer's of that same slot. */
static weir_status take_slot(weir_mpmc_consumer *c)
{
    weir_atomic_u64 *at = owner_word(c, c->slot);
    uint64_t word = weir_load_rlx(at);
    for (int tries = 0; tries < WEIR_MPMC_TRIES; tries++) {
        weir_mpmc_owner_state state;
        if (!weir_mpmc_owner_of(word, c->consumers, &state))
            return weir_fail(WEIR_E_CORRUPT, "impossible owner %#llx of slot %u", (unsigned long long)word, c->slot);
        if (state.held && (state.owner != c->slot || (int32_t)(c->generation - state.generation) <= 0))
            break;
        /* order MPMC-OWNER acq: the slot's run words as who freed it left them, before ours. */
        if (weir_cas_acq(at, &word, weir_mpmc_owner_word(c->slot, c->generation)))
            return WEIR_OK;
    }
    return weir_fail(WEIR_E_IN_USE, "slot %u belongs to %#llx, generation %u cannot have it", c->slot,
                     (unsigned long long)word, c->generation);
}

/* What former consumers of this slot had left: of it, and of those that they were working through for others. */
static weir_status inherit(weir_mpmc_consumer *c)
{
    for (uint32_t slot = 0; slot < c->consumers; slot++) {
        weir_mpmc_owner_state state;
        uint64_t word = weir_load_rlx(owner_word(c, slot)); /* relaxed: as adopt's */
        if (!weir_mpmc_owner_of(word, c->consumers, &state))
            return weir_mpmc_poison(c, "owner", word);
        if (slot != c->slot && state.held && state.owner == c->slot)
            adopt(c, slot, word);
    }
    for (uint32_t lane = 0; lane < c->count; lane++) {
        weir_mpmc_run_state run;
        weir_status status = leftover(c, &c->lanes[lane], c->slot, &run);
        if (status != WEIR_OK)
            return status;
        if (run.left == 0)
            continue;
        take_in_hand(&c->lanes[lane], c->slot, run.pos, run.left, 1);
        c->held = c->leftovers = 1;
    }
    return settle(c);
}

weir_status weir_mpmc_consumer_attach(weir_mpmc_consumer *c, void *mem, uint64_t size_bytes, uint32_t slot,
                                      uint32_t generation, uint32_t run_max, weir_mpmc_lane *handles, uint32_t count)
{
    weir_mpmc_sizes sizes = { .made = 0 };
    *c = (weir_mpmc_consumer){ .fault = WEIR_OK };
    weir_status status = weir_mpmc_validate(mem, size_bytes, &sizes);
    if (status != WEIR_OK)
        return status;
    weir_mpmc_shape shape = sizes.shape;
    if (slot >= shape.consumers || run_max > WEIR_MPMC_RUN_MAX)
        return weir_fail(WEIR_E_INVALID, "slot %u of %u, runs of %u (up to %u)", slot, shape.consumers, run_max,
                         WEIR_MPMC_RUN_MAX);
    if (handles == NULL || count < shape.lanes)
        return weir_fail(WEIR_E_INVALID, "the ring may have %u lanes, there is room for the handles of %u", shape.lanes,
                         count);
    sizes.room.mem = mem;
    weir_mpmc_consumer own = { .lanes = handles, .room = sizes.room, .stride = weir_mpmc_stride(shape.record_max),
                               .shift = weir_mpmc_shift_of(shape.slots), .record_max = shape.record_max,
                               .run_max = run_max != 0 ? run_max : WEIR_MPMC_RUN, .consumers = shape.consumers,
                               .slot = slot, .generation = generation,
                               .at = slot % sizes.made, .left = WEIR_MPMC_TURN, /* not all at the same lane */
                               .owners = weir_word_at(mem, weir_mpmc_owner_off(0)) };
    status = take_slot(&own);
    if (status != WEIR_OK)
        return status;
    attach_lanes(&own, sizes.made);
    status = inherit(&own);
    if (status == WEIR_OK)
        *c = own;
    return status;
}

weir_status weir_mpmc_consumer_detach(weir_mpmc_consumer *c)
{
    if (c->count == 0)
        return c->fault != WEIR_OK ? c->fault : WEIR_E_STATE;
    bool left = false;
    for (uint32_t lane = 0; lane < c->count; lane++) {
        weir_atomic_u64 *at = weir_mpmc_run(c->lanes[lane].claim, c->slot);
        uint64_t word = weir_load_rlx(at); /* relaxed: our own */
        weir_mpmc_run_state run = weir_mpmc_run_of(word);
        if (run.intent) /* another won that claim.  relaxed: a read-modify-write carries on what the store released */
            (void)weir_cas_rlx(at, &word, weir_mpmc_run_word(run.pos, 0, WEIR_MPMC_CONFIRMED));
        else
            left |= run.left != 0;
    }
    weir_status status = settle(c);
    if (status != WEIR_OK)
        return status;
    uint64_t word = weir_mpmc_owner_word(c->slot, c->generation);
    /* order MPMC-OWNER rel: as settle's. */
    if (!left && !weir_cas_rel(owner_word(c, c->slot), &word, 0))
        return weir_mpmc_poison(c, "owner", word);
    left |= c->adopted_count != 0;
    *c = (weir_mpmc_consumer){ .fault = WEIR_OK };
    return left ? WEIR_FULL : WEIR_OK;
}

/* ---- the next run ---- */

/* How many records are committed at the lane's claim position, up to `most`.  *odd: the header behind them, if it is
 * none that can be there; otherwise 0. */
static uint32_t look(const weir_mpmc_consumer *c, const weir_mpmc_lane *of, uint32_t most, uint64_t *odd)
{
    uint64_t slots = UINT64_C(1) << c->shift, stride = c->stride, lap = slots - (of->claim_pos & (slots - 1));
    uint64_t tag = weir_mpmc_tag(of->claim_pos, c->shift);
    unsigned char *slot = weir_mpmc_slot(of->data, of->claim_pos, c->shift, stride);
    *odd = 0;
    for (uint32_t saw = 0; saw < most; saw++, slot += stride) {
        if (WEIR_UNLIKELY(saw == lap)) { /* lap goes up by laps: a ring may have fewer slots than most */
            tag = weir_mpmc_tag(of->claim_pos + saw, c->shift);
            slot = of->data;
            lap += slots;
        }
        /* order MPMC-DATA acq: the header before the record's bytes.
         * order MPMC-LAP acq: a header of a later lap before the next look at the claim word. */
        uint64_t header = weir_load_acq(weir_word_at(slot, 0));
        if (WEIR_LIKELY((header & WEIR_MPMC_TAG) == tag))
            continue;
        uint64_t before = weir_mpmc_tag(of->claim_pos + saw - slots, c->shift);
        *odd = (header & WEIR_MPMC_TAG) != before ? header | 1 : 0;
        return saw;
    }
    return most;
}

/* Is the header at pos one of its lap?  Not acquired, and so a hint: it sets the length of a run, and where it comes from.
 * Any pos will do. */
static bool is_committed(const weir_mpmc_consumer *c, const weir_mpmc_lane *of, uint64_t pos)
{
    uint64_t header = weir_load_rlx(weir_word_at(weir_mpmc_slot(of->data, pos, c->shift, c->stride), 0));
    return (header & WEIR_MPMC_TAG) == weir_mpmc_tag(pos, c->shift);
}

/* The last claimer may have died, or stand still, between its claim and saying so: says it, before the claim word, the
 * only other witness, is moved on. */
static void confirm(const weir_mpmc_lane *of, weir_mpmc_claim claim)
{
    weir_atomic_u64 *at = weir_mpmc_run(of->claim, claim.by);
    uint64_t word = weir_load_rlx(at); /* relaxed: the claim word that was acquired brought the intent with it */
    weir_mpmc_run_state run = weir_mpmc_run_of(word);
    /* relaxed: the claim publishes it, and a read-modify-write carries on what the intent's store released. */
    if (run.intent && ((run.pos + run.left) & MASK) == claim.pos)
        (void)weir_cas_rlx(at, &word, word | WEIR_MPMC_CONFIRMED);
}

/* Claims some of what waits in the lane. */
static weir_status claim_run(weir_mpmc_consumer *c, weir_mpmc_lane *of)
{
    weir_atomic_u64 *own = weir_mpmc_run(of->claim, c->slot);
    uint64_t word = 0, odd = 0, odd_word = 0;
    for (int tries = 0; tries < WEIR_MPMC_TRIES; tries++) {
        weir_status status = read_claim(c, of, &word);
        if (status != WEIR_OK)
            return status;
        /* A header that cannot be there: the producer is a lap further, and so is the claim; or nobody wrote it. */
        if (WEIR_UNLIKELY(odd != 0 && word == odd_word))
            return weir_mpmc_poison(c, "header", odd);
        odd_word = word;
        weir_mpmc_claim claim = weir_mpmc_claim_of(word);
        uint32_t saw = look(c, of, c->run_max, &odd);
        if (WEIR_UNLIKELY(odd != 0))
            continue;
        if (saw == 0)
            return WEIR_EMPTY;
        /* Half, so that others who come now find something; all of it where as much lies behind it. */
        bool all = c->consumers == 1 ||
                   (saw == c->run_max && is_committed(c, of, of->claim_pos + 2 * c->run_max - 1));
        uint32_t count = all ? saw : (saw + 1) / 2;
        /* order MPMC-FREE rel: the reads of this slot's former run before its word names another.  Without it the
         * producer can read this word, and overwrite what is still being read. */
        weir_store_rel(own, weir_mpmc_run_word(of->claim_pos, count, 0));
        if (claim.by != c->slot)
            confirm(of, claim);
        /* order MPMC-CLAIM rel: the intent, and the confirmation of the one before, before the claim. */
        if (!weir_cas_rel(of->claim, &word, weir_mpmc_claim_word(of->claim_pos + count, c->slot)))
            continue;
        take_in_hand(of, c->slot, of->claim_pos, count, 0);
        /* order MPMC-FREE rel: as the intent's. */
        weir_store_rel(own, weir_mpmc_run_word(of->pos, count, WEIR_MPMC_CONFIRMED));
        of->claim_pos += count;
        return WEIR_OK;
    }
    return WEIR_AGAIN;
}

/* Does a record wait at the lane's claim position?  A header of another lap says that others claim just now. */
static bool waits(const weir_mpmc_consumer *c, const weir_mpmc_lane *of)
{
    /* relaxed: whoever reads the record acquires it then.  An old claim position has a header that is committed. */
    uint64_t pos = weir_mpmc_claim_of(weir_load_rlx(of->claim)).pos;
    uint64_t header = weir_load_rlx(weir_word_of(of->data, (pos & ((UINT64_C(1) << c->shift) - 1)) * c->stride));
    return (header & WEIR_MPMC_TAG) != weir_mpmc_tag(pos - (UINT64_C(1) << c->shift), c->shift);
}

/* Has an adopted slot records left of that lane, other than those in hand? */
static bool leftover_waits(const weir_mpmc_consumer *c, const weir_mpmc_lane *of)
{
    for (uint32_t slot = 0; c->adopted_count != 0 && slot < c->consumers; slot++)
        if (is_adopted(c, slot) && (of->pos == of->end_pos || of->slot != slot) &&
            weir_mpmc_run_of(weir_load_rlx(weir_mpmc_run(of->claim, slot))).left != 0)
            return true;
    return false;
}

static weir_status take_leftover(weir_mpmc_consumer *c, weir_mpmc_lane *of)
{
    for (uint32_t slot = 0; c->adopted_count != 0 && slot < c->consumers; slot++) {
        weir_mpmc_run_state run;
        if (!is_adopted(c, slot))
            continue;
        weir_status status = leftover(c, of, slot, &run);
        if (status != WEIR_OK)
            return status;
        if (run.left == 0)
            continue;
        take_in_hand(of, slot, run.pos, run.left, 1);
        return WEIR_OK;
    }
    return WEIR_EMPTY;
}

static weir_status try_lane(weir_mpmc_consumer *c, weir_mpmc_lane *of, bool leftovers)
{
    if (of->next_pos != of->end_pos)
        return WEIR_OK;
    if (of->pos != of->end_pos) /* read, and not given back: its word cannot name another run */
        return leftover_waits(c, of) || waits(c, of) ? WEIR_FULL : WEIR_EMPTY;
    return leftovers ? take_leftover(c, of) : claim_run(c, of);
}

/* Takes what was found in that lane in hand. */
static void go_to(weir_mpmc_consumer *c, uint32_t lane)
{
    uint64_t count = c->lanes[lane].end_pos - c->lanes[lane].next_pos;
    uint64_t left = lane != c->at || c->left == 0 ? WEIR_MPMC_TURN : c->left;
    c->left = left > count ? (uint32_t)(left - count) : 0;
    if (lane != c->at && c->lanes[c->at].pos != c->lanes[c->at].end_pos)
        c->held = 1;
    c->at = lane;
}

/* Which lanes are looked at. */
enum which { ALL, NEAR, FULL_RUNS };

static bool is_one(const weir_mpmc_consumer *c, const weir_mpmc_lane *of, enum which which)
{
    if (which == NEAR)
        return weir_load_rlx(weir_mpmc_home(of->claim)) == c->near; /* relaxed: a hint, as the next */
    uint64_t pos = weir_mpmc_claim_of(weir_load_rlx(of->claim)).pos;
    return which == ALL || of->next_pos != of->end_pos || is_committed(c, of, pos + c->run_max - 1);
}

/* Looks at each of those lanes once, and goes to the first that has something.  Otherwise: EMPTY, FULL or AGAIN. */
static weir_status look_at_lanes(weir_mpmc_consumer *c, bool leftovers, enum which which)
{
    bool full = false, again = false;
    uint32_t lane = c->at;
    if (c->left == 0)
        lane = lane + 1 < c->count ? lane + 1 : 0;
    for (uint32_t looked = 0; looked < c->count; looked++, lane = lane + 1 < c->count ? lane + 1 : 0) {
        if (which != ALL && !is_one(c, &c->lanes[lane], which))
            continue;
        weir_status status = try_lane(c, &c->lanes[lane], leftovers);
        if (status < 0)
            return status;
        full |= status == WEIR_FULL;
        again |= status == WEIR_AGAIN;
        if (status != WEIR_OK)
            continue;
        go_to(c, lane);
        return WEIR_OK;
    }
    return again ? WEIR_AGAIN : full ? WEIR_FULL : WEIR_EMPTY;
}

/* To the next lane that has something.  What a producer near by has written lies in this processor's cache, and a run that
 * waits is read without taking lines away from who writes them. */
static weir_status turn(weir_mpmc_consumer *c)
{
    bool fair = c->turns++ % WEIR_MPMC_FAIR == 0;
    enum which rest = c->picky != 0 ? FULL_RUNS : ALL;
    weir_status status = c->near != 0 && !fair ? look_at_lanes(c, false, NEAR) : WEIR_EMPTY;
    if (status > 0)
        status = look_at_lanes(c, false, rest);
    if (status > 0 && c->near != 0 && fair && rest != ALL)
        status = look_at_lanes(c, false, NEAR);
    return status;
}

weir_status weir_mpmc_next(weir_mpmc_consumer *c)
{
    weir_status status = look_for_lanes(c);
    if (status != WEIR_OK)
        return status;
    if (WEIR_UNLIKELY(c->leftovers != 0)) {
        status = look_at_lanes(c, true, ALL);
        if (status < 0 || status == WEIR_OK)
            return status;
        c->leftovers = c->adopted_count != 0;
    }
    return turn(c);
}

void weir_mpmc_release_all(weir_mpmc_consumer *c)
{
    bool finished = false;
    for (uint32_t lane = 0; lane < c->count; lane++) {
        weir_mpmc_lane *of = &c->lanes[lane];
        if (of->next_pos == of->pos)
            continue;
        weir_mpmc_done(of);
        finished |= of->pos == of->end_pos && of->slot != c->slot;
    }
    if (finished && settle(c) != WEIR_OK)
        return; /* the next call says so */
    c->held = c->adopted_count != 0;
}

void weir_mpmc_hand_take(weir_mpmc_consumer *c, weir_mpmc_hand *hand)
{
    *hand = (weir_mpmc_hand){ .next = NULL };
    if (c->count == 0 || c->held != 0 || c->lanes[c->at].redelivered != 0)
        return;
    const weir_mpmc_lane *of = &c->lanes[c->at];
    uint64_t slots = UINT64_C(1) << c->shift, lap = slots - (of->next_pos & (slots - 1));
    uint64_t left = of->end_pos - of->next_pos, count = left < lap ? left : lap;
    uint64_t word = weir_mpmc_run_word(of->next_pos, (uint32_t)left, WEIR_MPMC_CONFIRMED);
    *hand = (weir_mpmc_hand){
        .next = weir_mpmc_slot(of->data, of->next_pos, c->shift, c->stride), .word = word,
        .end_word = word + count * WEIR_MPMC_WORD_STEP,
        .done_word = word - (of->next_pos - of->pos) * WEIR_MPMC_WORD_STEP,
        .tag = weir_mpmc_tag(of->next_pos, c->shift), .stride = c->stride, .run = of->run, .record_max = c->record_max,
    };
}

uint32_t weir_mpmc_hand_back(weir_mpmc_consumer *c, weir_mpmc_hand *hand)
{
    if (hand->run == NULL)
        return 0;
    weir_mpmc_lane *of = &c->lanes[c->at];
    uint64_t next_pos = of->end_pos - weir_mpmc_run_of(hand->word).left;
    uint32_t count = (uint32_t)(next_pos - of->next_pos);
    of->next_pos = next_pos;
    of->pos = of->end_pos - weir_mpmc_run_of(hand->done_word).left;
    *hand = (weir_mpmc_hand){ .next = NULL };
    return count;
}

weir_status weir_mpmc_ready(weir_mpmc_consumer *c)
{
    weir_status status = look_for_lanes(c), found = WEIR_EMPTY;
    if (status != WEIR_OK)
        return status;
    for (uint32_t lane = 0; lane < c->count; lane++) {
        const weir_mpmc_lane *of = &c->lanes[lane];
        if (of->next_pos == of->end_pos && !leftover_waits(c, of) && !waits(c, of))
            continue;
        if (of->next_pos != of->end_pos || of->pos == of->end_pos)
            return WEIR_OK;
        found = WEIR_FULL;
    }
    return found;
}
