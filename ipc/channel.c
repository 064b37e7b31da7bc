/* ipc/channel.c - opening and leaving. */
#include <weir/base/fail.h>
#include <weir/ipc/channel_terms.h>
#include <weir/ipc/member.h>
#include <weir/ipc/probe.h>

#include <stdlib.h>
#include <string.h>

#define TERMS_NS INT64_C(2000000000) /* how long an opener waits for another that is stopped while it agrees, */
#define TERMS_NAP_NS INT64_C(50000)  /* and how often it looks */

/* Only one opener at a time agrees with what is stated and states the rest: the holder of this slot's lock. */
static weir_status claim_terms(const struct channel_cold *cold)
{
    weir_participant before;
    int64_t deadline = weir_os_now_ns() + TERMS_NS;
    for (;;) {
        uint32_t slot = weir_channel_slot_terms(weir_channel_producers(cold), weir_channel_consumers(cold));
        weir_status status = weir_participant_claim(cold->section, slot, 1, &before);
        if (status == WEIR_E_INVALID)
            return weir_fail(WEIR_E_CORRUPT, "%s has too few slots for a channel", weir_section_name(cold->section));
        if (status != WEIR_E_IN_USE)
            return status;
        if (weir_os_now_ns() > deadline)
            return weir_fail(WEIR_E_BUSY,
                             "another process has been opening %s for 2 seconds: it is stopped, or allocates much",
                             weir_section_name(cold->section));
        weir_os_nap(TERMS_NAP_NS);
    }
}

/* Makes or joins the section and maps it. */
static weir_status open_section(weir_channel *channel, const char *name, uint32_t mode, struct terms *terms)
{
    struct channel_cold *cold = channel_cold(channel);
    uint32_t producers = weir_terms_members(terms->producers, terms->calls->many_producers);
    uint32_t consumers = weir_terms_members(terms->consumers, terms->calls->many_consumers);
    terms->full_fence = !weir_os_can_fence_others();
    struct making making = { terms, weir_terms_shape(terms, producers, consumers, 0) };
    uint64_t footprint = terms->calls->footprint(&making.shape, 1);
    if (terms->makes_ring && footprint == 0)
        return weir_fail(WEIR_E_INVALID, "a ring of kind %s of %llu bytes for records of %u", terms->calls->name,
                         (unsigned long long)making.shape.capacity, making.shape.record_bytes);
    uint64_t ring_off = weir_channel_ring_off(producers, consumers), init_bytes = sizeof(weir_channel_layout);
    if (terms->makes_ring)
        init_bytes = terms->calls->init_bytes != 0 ? ring_off + terms->calls->init_bytes : 0;
    weir_section_options options = {
        .content = WEIR_CHANNEL_CONTENT,
        .slots = weir_channel_slots(producers, consumers),
        .mode = mode,
        .init = weir_terms_init_layout,
        .init_arg = &making,
        .init_bytes = init_bytes,
        .flags = WEIR_MAP_AHEAD,
    };
    uint64_t size = ring_off + (terms->makes_ring ? footprint : WEIR_SPSC_CONTROL);
    weir_status status = weir_section_open_or_create(&cold->section, name, size, &options, NULL);
    if (status == WEIR_OK)
        status = weir_terms_check_section(cold->section);
    return status != WEIR_OK ? status : weir_channel_view(channel, WEIR_CHANNEL_LANE, WEIR_CHANNEL_LANE);
}

/* Is what stands at the place that of its last holder, and did that one state this number?  Whoever was refused there has
 * changed it. */
static bool was_of(const struct channel_cold *cold, uint32_t slot, uint64_t identity)
{
    const weir_channel_layout *layout = cold->view.base;
    const weir_channel_member *member = &layout->member[slot];
    /* relaxed: the terms are held, and who stored them held them */
    return identity != 0 && weir_load_rlx(&member->identity) == identity &&
           weir_load_rlx(&member->introduced) ==
               weir_channel_introduced(weir_participant_glance(cold->section, slot).generation);
}

/* Two participants of a role do not state the same number.  Who is about to join is seen too: it does so before it gives
 * the terms up. */
static weir_status check_identity(struct channel_cold *cold, uint64_t identity)
{
    weir_channel_layout *layout = cold->view.base;
    for (uint32_t slot = cold->own.first; identity != 0 && slot < cold->own.first + cold->own.count; slot++) {
        weir_participant other;
        /* relaxed: only the terms' holder compares, and the other held them when it stored its own */
        if (slot == cold->slot || weir_load_rlx(&layout->member[slot].identity) != identity)
            continue;
        weir_status status = weir_participant_look(cold->section, slot, &other);
        if (status != WEIR_OK)
            return status;
        if (other.presence == WEIR_ALIVE)
            return weir_fail(WEIR_E_IN_USE, "a live %s of %s has the number %llu already",
                             cold->role == WEIR_PRODUCER ? "producer" : "consumer", weir_section_name(cold->section),
                             (unsigned long long)identity);
    }
    weir_store_rlx(&layout->member[cold->slot].identity, identity); /* relaxed: as above */
    return WEIR_OK;
}

/* What the last holder of a place left there may be in another's hands, and is to be worked through first: takes a place
 * where it is not so, if there is one. */
static weir_status choose_place(weir_channel *channel, weir_participant *before)
{
    struct channel_cold *cold = channel_cold(channel);
    struct channel_shape shape;
    if (cold->role != WEIR_CONSUMER || cold->kind->is_taken == NULL)
        return WEIR_OK;
    weir_status status = weir_channel_stated_shape(cold, &shape);
    if (status == WEIR_OK)
        status = weir_channel_view_ring(channel, &shape, 1);
    uint64_t off = weir_channel_ring_at(cold);
    while (status == WEIR_OK && cold->kind->is_taken((unsigned char *)cold->view.base + off, cold->view.size - off,
                                                     cold->slot - cold->own.first)) {
        weir_participant next;
        uint32_t from = cold->slot + 1, end = cold->own.first + cold->own.count;
        status = from < end ? weir_participant_claim(cold->section, from, end - from, &next) : WEIR_E_IN_USE;
        if (status != WEIR_OK)
            break;
        (void)weir_participant_leave(cold->section, cold->slot); /* it is as it was */
        *before = next;
        cold->slot = next.slot;
        cold->generation = next.generation + 1;
    }
    return status == WEIR_EMPTY || status == WEIR_E_IN_USE ? WEIR_OK : status; /* the last one will do, later */
}

/* Where it lies now: the view moves while the ring is looked at. */
static weir_channel_member *own_member(const struct channel_cold *cold)
{
    weir_channel_layout *layout = cold->view.base;
    return &layout->member[cold->slot];
}

/* Who it is, behind what it agreed to. */
static void introduce(struct channel_cold *cold)
{
    uint64_t process, pid_space;
    weir_os_process(&process, &pid_space);
    weir_channel_ask_alerts(cold, false); /* which a dead holder may have */
    weir_member_introduce(own_member(cold), cold->generation, process, pid_space, (uint64_t)weir_os_wall_ns());
}

/* What others' threads look at stays where it is until close. */
static void look_after(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    cold->member = &cold->layout->member[cold->slot];
    channel->messages = &cold->member->count[WEIR_COUNT_MESSAGES];
    channel->sleeper = cold->role == WEIR_PRODUCER ? &cold->member->sleeper : &cold->layout->consumer;
}

/* Compares, states what is not stated yet, and attaches to the ring if there is one; then announces itself: who is
 * refused was never there.  The terms are held. */
static weir_status agree(weir_channel *channel, const struct terms *terms, weir_participant *before)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_channel_layout *layout = cold->view.base;
    weir_participant peers;
    /* order LANE acq: as in stated_shape. */
    weir_status status = weir_terms_compare(cold, weir_load_acq(&layout->capacity));
    if (status == WEIR_OK)
        status = choose_place(channel, before);
    cold->resumes = status == WEIR_OK && was_of(cold, cold->slot, terms->identity);
    if (status == WEIR_OK)
        weir_member_begin(own_member(cold));
    if (status == WEIR_OK)
        status = check_identity(cold, terms->identity);
    if (status == WEIR_OK)
        status = weir_channel_settle(channel, terms);
    if (status == WEIR_OK)
        status = weir_channel_crowd(cold, cold->peers, true, &peers, NULL);
    if (status == WEIR_OK)
        introduce(cold);
    bool joins_first = cold->role == WEIR_CONSUMER && cold->kind->joins_first;
    if (status == WEIR_OK && joins_first)
        status = weir_participant_join(cold->section, before);
    if (status != WEIR_OK) /* also IN_USE, which of the attach says: later */
        return status;
    status = weir_channel_attach_ring(channel); /* a consumer that comes first attaches when there is a ring */
    if (status == WEIR_EMPTY && cold->role == WEIR_PRODUCER) /* it was stated a moment ago */
        return weir_fail(WEIR_E_CORRUPT, "%s: the ring disappeared", weir_section_name(cold->section));
    if (status != WEIR_OK && !(cold->role == WEIR_CONSUMER && weir_channel_attaches_later(status)))
        return status;
    cold->came_first = status == WEIR_EMPTY;
    /* A producer waits for a consumer to come; those that were gone before are no news.  A consumer reports the end of
     * whoever left it something. */
    if (cold->role == WEIR_PRODUCER && (peers.presence == WEIR_LEFT || peers.presence == WEIR_DEAD)) {
        cold->reported = (uint64_t)peers.generation + 1;
        cold->reported_deaths = peers.deaths;
    }
    if (peers.presence == WEIR_ALIVE) /* who died while others were there, before it came, is no news of them */
        cold->reported_deaths = peers.deaths;
    return joins_first ? WEIR_OK : weir_participant_join(cold->section, before);
}

/* The place whose last holder stated the same number, if it is free, or any. */
static weir_status claim_place(struct channel_cold *cold, uint64_t identity, weir_participant *before)
{
    for (uint32_t slot = cold->own.first; slot < cold->own.first + cold->own.count; slot++)
        if (was_of(cold, slot, identity) && weir_participant_claim(cold->section, slot, 1, before) == WEIR_OK)
            return WEIR_OK;
    return weir_participant_claim(cold->section, cold->own.first, cold->own.count, before);
}

/* Takes a place of the role, with the terms in hand: who compares numbers must not meet a place whose dead holder's word
 * still says "present" under the lock of its next one. */
static weir_status take_place(struct channel_cold *cold, uint64_t identity, weir_participant *before)
{
    weir_status status = claim_place(cold, identity, before);
    if (status == WEIR_E_INVALID) /* of a slot: the options were right */
        return weir_fail(WEIR_E_CORRUPT, "%s has too few slots for a channel", weir_section_name(cold->section));
    if (status == WEIR_E_IN_USE && cold->own.count == 1)
        return weir_fail(status, "%s has a live %s already", weir_section_name(cold->section),
                         cold->role == WEIR_PRODUCER ? "producer" : "consumer");
    if (status == WEIR_E_IN_USE)
        return weir_fail(status, "%s has %u live %s, and room for no more", weir_section_name(cold->section),
                         cold->own.count, cold->role == WEIR_PRODUCER ? "producers" : "consumers");
    if (status != WEIR_OK)
        return status;
    cold->claimed = true;
    cold->slot = before->slot;
    cold->generation = before->generation + 1;
    return WEIR_OK;
}

static weir_status join(weir_channel *channel, const struct terms *terms)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_participant before;
    weir_status status = claim_terms(cold);
    if (status != WEIR_OK)
        return status;
    status = take_place(cold, terms->identity, &before);
    if (status == WEIR_OK)
        status = agree(channel, terms, &before);
    (void)weir_participant_leave(cold->section, weir_channel_slot_terms(weir_channel_producers(cold), weir_channel_consumers(cold)));
    return status;
}

static void leave(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    if (cold->attached && cold->kind->detach != NULL)
        cold->kind->detach(channel);
    weir_channel_hush(channel);
    if (cold->claimed) {
        (void)weir_participant_leave(cold->section, cold->slot);
        weir_channel_wake_peers(channel);
    }
    if (cold->early.base != NULL)
        (void)weir_view_unmap(&cold->early);
    if (cold->view.base != NULL)
        (void)weir_view_unmap(&cold->view);
    (void)weir_section_close(cold->section);
    free(cold->handles);
    weir_os_handle_free(channel);
}

weir_status weir_channel_open(weir_channel **out, const char *name, weir_role role,
                              const weir_channel_options *options)
{
    static const weir_channel_options defaults;
    struct terms terms = { .kind = 0 };
    if (options == NULL)
        options = &defaults;
    if (out == NULL)
        return weir_fail(WEIR_E_INVALID, "no place to return the channel");
    weir_status status = weir_terms_check_options(options, role, &terms);
    if (status != WEIR_OK)
        return status;
    weir_channel *channel = weir_os_handle_alloc();
    if (channel == NULL)
        return weir_fail(WEIR_E_NO_MEMORY, "no memory for a channel's handle (MADV_WIPEONFORK: Linux 4.14)");
    struct channel_cold *cold = channel_cold(channel);
    cold->role = role;
    cold->kind = terms.calls;
    cold->number = (weir_kind)terms.kind;
    cold->wait = options->wait;
    cold->pauses = 1;
    cold->capacity = terms.capacity;
    cold->record_bytes = terms.record_bytes;
    cold->type = terms.type;
    struct weir_detail detail;
    weir_detail_save(&detail);

    status = open_section(channel, name, options->mode, &terms);
    if (status == WEIR_OK)
        status = weir_terms_check_layout(cold, &terms);
    if (status == WEIR_OK)
        status = weir_channel_view(channel, weir_channel_ring_at(cold), weir_channel_ring_at(cold));
    if (status == WEIR_OK) {
        channel->full_fence = cold->full_fence;
        status = join(channel, &terms);
        if (status == WEIR_E_INVALID) /* of a slot: the options were right */
            status = weir_fail(WEIR_E_CORRUPT, "%s has too few slots for a channel", weir_section_name(cold->section));
    }
    if (status != WEIR_OK) {
        leave(channel);
        return status;
    }
    weir_detail_restore(&detail); /* what was tried again is no fault */
    look_after(channel);
    channel->alive = CHANNEL_ALIVE;
    WEIR_PROBE3(open, weir_section_name(cold->section), (int)role, cold->slot - cold->own.first);
    weir_channel_wake_peers(channel); /* a sleeping peer sees at once who came */
    *out = channel;
    return WEIR_OK;
}

weir_status weir_channel_close(weir_channel *channel)
{
    if (channel == NULL)
        return WEIR_OK;
    if (channel->alive != CHANNEL_ALIVE) { /* a forked child's: its page was cleared */
        struct channel_cold *cold = channel_cold(channel);
        if (weir_section_forked(cold->section)) { /* not so after a raw clone: then it is not ours to close */
            (void)weir_section_close(cold->section);
            weir_channel_forget(cold);
        }
        free(cold->handles);
        weir_os_handle_free(channel);
        return WEIR_OK;
    }
    if (!weir_channel_enter(channel)) /* and never left: a handler that comes now must find it busy */
        return weir_fail(WEIR_E_BUSY, "the channel is closed inside another call on it");
    struct channel_cold *cold = channel_cold(channel);
    WEIR_PROBE3(close, weir_section_name(cold->section), (int)cold->role, cold->slot - cold->own.first);
    if (cold->role == WEIR_PRODUCER)
        (void)weir_channel_flush_slow(channel);
    leave(channel);
    return WEIR_OK;
}
