/* ipc/channel.c - opening, agreeing, leaving.  The paths that wait are in channel_wait.c. */
#include <weir/base/fail.h>
#include <weir/ipc/channel_private.h>
#include <weir/ipc/os.h>

#include <string.h>

#define TERMS_NS INT64_C(2000000000) /* how long an opener waits for another that is stopped while it agrees, */
#define TERMS_NAP_NS INT64_C(50000)  /* and how often it looks */

/* ---- what the two sides must agree on ---- */

/* The opener's wishes, checked: what a new channel is made from. */
struct terms {
    weir_kind kind;
    uint64_t capacity; /* rounded; 0: not stated */
    uint32_t record_bytes;
    const char *type;
    size_t type_len; /* 0: not stated */
    bool capacity_stated;
    bool full_fence;
    bool make_lane;
};

static weir_status check_options(const weir_channel_options *options, weir_role role, struct terms *terms)
{
    if (role != WEIR_PRODUCER && role != WEIR_CONSUMER)
        return weir_fail(WEIR_E_INVALID, "role %d: give WEIR_PRODUCER or WEIR_CONSUMER", (int)role);
    if (options->kind != 0 && options->kind != WEIR_SPSC)
        return weir_fail(WEIR_E_UNSUPPORTED, "kind %d: this library has WEIR_SPSC", (int)options->kind);
    if ((unsigned)options->wait > WEIR_WAIT_SLEEP)
        return weir_fail(WEIR_E_INVALID, "wait %d is no way of waiting", (int)options->wait);
    if (options->capacity > WEIR_CAPACITY_MAX)
        return weir_fail(WEIR_E_INVALID, "a capacity of %llu bytes: at most %llu",
                         (unsigned long long)options->capacity, (unsigned long long)WEIR_CAPACITY_MAX);
    uint64_t wish = options->capacity < WEIR_CAPACITY_MIN ? WEIR_CAPACITY_MIN : options->capacity;
    terms->kind = WEIR_SPSC;
    terms->capacity = options->capacity != 0 ? weir_spsc_capacity(wish) : 0;
    terms->capacity_stated = options->capacity != 0;
    terms->record_bytes = options->record_bytes;
    terms->type = options->type != NULL ? options->type : "";
    terms->type_len = strnlen(terms->type, WEIR_TYPE_MAX + 1);
    if (terms->type_len > WEIR_TYPE_MAX)
        return weir_fail(WEIR_E_INVALID, "the type \"%.20s...\" is longer than %d bytes", terms->type, WEIR_TYPE_MAX);
    return WEIR_OK;
}

static void state_type(weir_channel_layout *layout, const struct terms *terms)
{
    memcpy(layout->type, terms->type, terms->type_len);
    /* order TYPE rel: the type's bytes before its length. */
    weir_store_rel(&layout->type_len, terms->type_len);
}

/* Fills a new channel's content; nobody sees it yet. */
static weir_status init_layout(void *content, uint64_t size, void *arg)
{
    const struct terms *terms = arg;
    weir_channel_layout *layout = content;
    layout->version = WEIR_CHANNEL_VERSION;
    layout->kind = (uint32_t)terms->kind;
    layout->full_fence = terms->full_fence;
    state_type(layout, terms);
    if (!terms->make_lane)
        return WEIR_OK;
    unsigned char *lane = (unsigned char *)content + WEIR_CHANNEL_LANE;
    weir_status status = weir_spsc_init(lane, size - WEIR_CHANNEL_LANE, terms->capacity, 0);
    weir_store32_rlx(&layout->capacity_stated, terms->capacity_stated);
    if (status == WEIR_OK)
        weir_store_rlx(&layout->lane_bytes, terms->capacity); /* relaxed: nobody sees it yet */
    return status;
}

/* The channel's type, 0-terminated; "" while none is stated. */
static weir_status read_type(struct channel_cold *cold, char type[WEIR_TYPE_MAX + 1])
{
    weir_channel_layout *layout = cold->view.base;
    /* order TYPE acq: the length before the bytes. */
    uint64_t len = weir_load_acq(&layout->type_len);
    if (len > WEIR_TYPE_MAX)
        return weir_fail(WEIR_E_CORRUPT, "%s states a type of %llu bytes", weir_section_name(cold->section),
                         (unsigned long long)len);
    memcpy(type, layout->type, len);
    type[len] = 0;
    return WEIR_OK;
}

static weir_status check_layout(struct channel_cold *cold)
{
    const weir_channel_layout *layout = cold->view.base;
    const char *name = weir_section_name(cold->section);
    uint32_t version = layout->version, kind = layout->kind, full_fence = layout->full_fence;
    if (version != WEIR_CHANNEL_VERSION)
        return weir_fail(WEIR_E_VERSION, "%s has channel layout %u, this library knows %u", name, version,
                         WEIR_CHANNEL_VERSION);
    if (kind != WEIR_SPSC)
        return weir_fail(WEIR_E_MISMATCH, "%s is a channel of kind %u, asked for was kind %d", name, kind, WEIR_SPSC);
    if (full_fence > 1)
        return weir_fail(WEIR_E_CORRUPT, "%s states fence %u", name, full_fence);
    cold->full_fence = full_fence != 0;
    if (!cold->full_fence && !weir_os_can_fence_others())
        return weir_fail(WEIR_E_UNSUPPORTED,
                         "%s was made where membarrier(2) works and this process may not use it (seccomp?): open it "
                         "here first",
                         name);
    return WEIR_OK;
}

/* Compares what this handle states with what the channel states by now. */
static weir_status check_terms(struct channel_cold *cold, uint64_t lane_bytes)
{
    char type[WEIR_TYPE_MAX + 1];
    weir_status status = read_type(cold, type);
    if (status != WEIR_OK)
        return status;
    const char *name = weir_section_name(cold->section);
    const weir_channel_layout *layout = cold->view.base;
    /* relaxed: stored before lane_bytes, which was acquired */
    bool stated = weir_load32_rlx(&layout->capacity_stated) != 0;
    if (lane_bytes != 0 && stated && cold->capacity != 0 && lane_bytes != cold->capacity)
        return weir_fail(WEIR_E_MISMATCH, "%s has a capacity of %llu bytes, asked for were %llu", name,
                         (unsigned long long)lane_bytes, (unsigned long long)cold->capacity);
    if (type[0] != 0 && cold->type[0] != 0 && strcmp(type, cold->type) != 0)
        return weir_fail(WEIR_E_MISMATCH, "%s has messages of type \"%s\", asked for was \"%s\"", name, type,
                         cold->type);
    return WEIR_OK;
}

/* ---- the lane ---- */

/* Maps the content anew if it has grown since. */
static weir_status view_all(weir_channel *channel, uint64_t bytes)
{
    struct channel_cold *cold = channel_cold(channel);
    if (bytes <= cold->view.size)
        return WEIR_OK;
    weir_view whole;
    weir_status status = weir_view_map(&whole, cold->section, 0, bytes, WEIR_READ_WRITE);
    if (status != WEIR_OK)
        return status == WEIR_E_RANGE ? WEIR_E_CORRUPT : status; /* the section is shorter than its lane */
    (void)weir_view_unmap(&cold->view);
    cold->view = whole;
    weir_channel_layout *layout = whole.base;
    channel->peer = cold->role == WEIR_PRODUCER ? &layout->consumer : &layout->producer;
    return WEIR_OK;
}

/* The lane as the section states it; WEIR_EMPTY while there is none. */
static weir_status attach_stated(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_channel_layout *layout = cold->view.base;
    /* order LANE acq: the lane's size before the lane. */
    uint64_t bytes = weir_load_acq(&layout->lane_bytes);
    if (bytes == 0)
        return WEIR_EMPTY;
    if (bytes < WEIR_CAPACITY_MIN || weir_spsc_footprint(bytes) == 0)
        return weir_fail(WEIR_E_CORRUPT, "%s states a lane of %llu bytes", weir_section_name(cold->section),
                         (unsigned long long)bytes);
    weir_status status = check_terms(cold, bytes);
    if (status == WEIR_OK)
        status = view_all(channel, WEIR_CHANNEL_DATA + bytes);
    if (status != WEIR_OK)
        return status;
    void *lane = (unsigned char *)cold->view.base + WEIR_CHANNEL_LANE;
    uint64_t size = WEIR_SPSC_CONTROL + bytes;
    status = cold->role == WEIR_PRODUCER ? weir_spsc_producer_attach(&channel->tx, lane, size)
                                         : weir_spsc_consumer_attach(&channel->rx, lane, size);
    uint64_t attached = cold->role == WEIR_PRODUCER ? channel->tx.capacity : channel->rx.capacity;
    if (status == WEIR_OK && attached != bytes)
        status = weir_fail(WEIR_E_CORRUPT, "%s states a lane of %llu bytes and has one of %llu",
                           weir_section_name(cold->section), (unsigned long long)bytes, (unsigned long long)attached);
    return status == WEIR_E_NOT_WEIR ? WEIR_E_CORRUPT : status;
}

weir_status weir_channel_attach_lane(weir_channel *channel)
{
    weir_status status = attach_stated(channel);
    if (status == WEIR_E_CORRUPT) { /* for good, as when a lane turns out corrupt later */
        channel->tx = (weir_spsc_producer){ .fault = status };
        channel->rx = (weir_spsc_consumer){ .fault = status };
    }
    return status;
}

/* Does the longest message that this side will send fit a lane of that capacity? */
static weir_status check_record(const struct terms *terms, uint64_t capacity)
{
    if (terms->record_bytes <= weir_spsc_record_max(capacity))
        return WEIR_OK;
    return weir_fail(WEIR_E_TOO_LARGE,
                     "a record of %u bytes is over the limit of %u in a lane of %llu bytes: that takes a capacity of "
                     "%llu or more",
                     terms->record_bytes, weir_spsc_record_max(capacity), (unsigned long long)capacity,
                     (unsigned long long)weir_spsc_capacity(2 * ((uint64_t)terms->record_bytes + 16)));
}

/* Makes the lane, unless it is there or still waits for a producer to say how large.  The type is stated before the
 * lane, because who finds the lane has found all terms; and after what can fail, because who is refused states
 * nothing. */
static weir_status settle(weir_channel *channel, const struct terms *terms)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_channel_layout *layout = cold->view.base;
    bool has_lane = weir_load_rlx(&layout->lane_bytes) != 0; /* relaxed: only the terms' holder stores it */
    bool has_type = weir_load_rlx(&layout->type_len) != 0;   /* relaxed: as above */
    bool makes_lane = !has_lane && (cold->role == WEIR_PRODUCER || terms->capacity_stated);
    uint64_t capacity = terms->capacity != 0 ? terms->capacity : WEIR_CAPACITY_DEFAULT;
    weir_status status = WEIR_OK;
    if (makes_lane) {
        status = check_record(terms, capacity);
        if (status == WEIR_OK)
            status = weir_section_extend(cold->section, WEIR_CHANNEL_DATA + capacity);
        if (status == WEIR_OK)
            status = view_all(channel, WEIR_CHANNEL_DATA + capacity);
        if (status == WEIR_OK)
            status = weir_spsc_init((unsigned char *)cold->view.base + WEIR_CHANNEL_LANE,
                                    WEIR_SPSC_CONTROL + capacity, capacity, 0);
        if (status != WEIR_OK)
            return status;
        layout = cold->view.base;
    }
    if (!has_type)
        state_type(layout, terms);
    if (makes_lane) {
        weir_store32_rlx(&layout->capacity_stated, terms->capacity_stated); /* relaxed: seen by LANE */
        /* order LANE rel: the lane before its size. */
        weir_store_rel(&layout->lane_bytes, capacity);
    }
    return status;
}

/* Only one opener at a time agrees with what is stated and states the rest: the holder of this slot's lock. */
static weir_status claim_terms(const struct channel_cold *cold)
{
    weir_participant before;
    int64_t deadline = weir_os_now_ns() + TERMS_NS;
    for (;;) {
        weir_status status = weir_participant_claim(cold->section, WEIR_CHANNEL_SLOT_TERMS, 1, &before);
        if (status != WEIR_E_IN_USE)
            return status;
        if (weir_os_now_ns() > deadline)
            return weir_fail(WEIR_E_BUSY,
                             "another process has been opening %s for 2 seconds: it is stopped, or allocates much",
                             weir_section_name(cold->section));
        weir_os_nap(TERMS_NAP_NS);
    }
}

/* ---- open, close ---- */

/* Makes or joins the section and maps it. */
static weir_status open_section(weir_channel *channel, const char *name, weir_role role, uint32_t mode,
                                struct terms *terms)
{
    struct channel_cold *cold = channel_cold(channel);
    terms->full_fence = !weir_os_can_fence_others();
    terms->make_lane = role == WEIR_PRODUCER || terms->capacity != 0;
    struct terms made = *terms;
    if (made.make_lane && made.capacity == 0)
        made.capacity = WEIR_CAPACITY_DEFAULT;
    weir_section_options options = {
        .content = WEIR_CHANNEL_CONTENT,
        .slots = WEIR_CHANNEL_SLOTS,
        .mode = mode,
        .init = init_layout,
        .init_arg = &made,
    };
    uint64_t size = WEIR_CHANNEL_DATA + (made.make_lane ? made.capacity : 0);
    weir_status status = weir_section_open_or_create(&cold->section, name, size, &options, NULL);
    if (status != WEIR_OK)
        return status;
    if (weir_section_is_reserved(cold->section)) /* then a view may have pages that cannot be touched */
        return weir_fail(WEIR_E_CORRUPT, "%s has reserved room, a channel has none", weir_section_name(cold->section));
    status = weir_view_map(&cold->view, cold->section, 0, 0, WEIR_READ_WRITE);
    if (status == WEIR_OK && cold->view.size < WEIR_CHANNEL_DATA)
        return weir_fail(WEIR_E_CORRUPT, "%s is too short for a channel", weir_section_name(cold->section));
    return status;
}

/* Compares, states what is not stated yet, and attaches to the lane if there is one. */
static weir_status agree(weir_channel *channel, const struct terms *terms)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_channel_layout *layout = cold->view.base;
    weir_status status = claim_terms(cold);
    if (status != WEIR_OK)
        return status;
    /* order LANE acq: as in attach_stated. */
    uint64_t lane_bytes = weir_load_acq(&layout->lane_bytes);
    status = check_terms(cold, lane_bytes);
    if (status == WEIR_OK && lane_bytes != 0)
        status = check_record(terms, lane_bytes);
    if (status == WEIR_OK)
        status = settle(channel, terms);
    if (status == WEIR_OK)
        status = weir_channel_attach_lane(channel);
    (void)weir_participant_leave(cold->section, WEIR_CHANNEL_SLOT_TERMS);
    if (status == WEIR_EMPTY && cold->role == WEIR_PRODUCER) /* it was stated a moment ago */
        return weir_fail(WEIR_E_CORRUPT, "%s: the lane disappeared", weir_section_name(cold->section));
    return status == WEIR_EMPTY ? WEIR_OK : status; /* a consumer that came first: the lane comes with the producer */
}

/* Takes the role, agrees, attaches, and only then announces itself: who is refused was never there. */
static weir_status join(weir_channel *channel, const struct terms *terms)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_participant before, peer;
    weir_status status = weir_participant_claim(cold->section, cold->slot, 1, &before);
    if (status == WEIR_E_IN_USE)
        return weir_fail(status, "%s has a live %s already", weir_section_name(cold->section),
                         cold->role == WEIR_PRODUCER ? "producer" : "consumer");
    if (status != WEIR_OK)
        return status;
    cold->claimed = true;
    status = agree(channel, terms);
    if (status == WEIR_OK)
        status = weir_participant_look(cold->section, cold->peer_slot, &peer);
    if (status != WEIR_OK)
        return status;
    /* A producer waits for the consumer to come; one that was gone before is no news.  A consumer reports the end of
     * whoever left it something. */
    if (cold->role == WEIR_PRODUCER && (peer.presence == WEIR_LEFT || peer.presence == WEIR_DEAD))
        cold->reported = (uint64_t)peer.generation + 1;
    return weir_participant_join(cold->section, &before);
}

static void leave(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    if (cold->claimed) {
        (void)weir_participant_leave(cold->section, cold->slot);
        weir_channel_wake(channel);
    }
    if (cold->view.base != NULL)
        (void)weir_view_unmap(&cold->view);
    (void)weir_section_close(cold->section);
    weir_os_handle_free(channel);
}

weir_status weir_channel_open(weir_channel **out, const char *name, weir_role role,
                              const weir_channel_options *options)
{
    static const weir_channel_options defaults;
    struct terms terms = { .type = "" };
    if (options == NULL)
        options = &defaults;
    if (out == NULL)
        return weir_fail(WEIR_E_INVALID, "no place to return the channel");
    weir_status status = check_options(options, role, &terms);
    if (status != WEIR_OK)
        return status;
    weir_channel *channel = weir_os_handle_alloc();
    if (channel == NULL)
        return weir_fail(WEIR_E_NO_MEMORY, "no memory for a channel's handle (MADV_WIPEONFORK: Linux 4.14)");
    struct channel_cold *cold = channel_cold(channel);
    cold->role = role;
    cold->wait = options->wait;
    cold->pauses = 1;
    cold->capacity = terms.capacity;
    memcpy(cold->type, terms.type, terms.type_len);
    cold->slot = role == WEIR_PRODUCER ? WEIR_CHANNEL_SLOT_PRODUCER : WEIR_CHANNEL_SLOT_CONSUMER;
    cold->peer_slot = role == WEIR_PRODUCER ? WEIR_CHANNEL_SLOT_CONSUMER : WEIR_CHANNEL_SLOT_PRODUCER;
    struct weir_detail detail;
    weir_detail_save(&detail);

    status = open_section(channel, name, role, options->mode, &terms);
    if (status == WEIR_OK)
        status = check_layout(cold);
    if (status == WEIR_OK) {
        weir_channel_layout *layout = cold->view.base;
        channel->peer = role == WEIR_PRODUCER ? &layout->consumer : &layout->producer;
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
    channel->alive = CHANNEL_ALIVE;
    weir_channel_wake(channel); /* a sleeping peer sees at once who came */
    *out = channel;
    return WEIR_OK;
}

weir_status weir_channel_close(weir_channel *channel)
{
    if (channel == NULL)
        return WEIR_OK;
    if (channel->alive != CHANNEL_ALIVE) { /* a forked child's: its page was cleared */
        struct channel_cold *cold = channel_cold(channel);
        if (weir_section_forked(cold->section)) /* not so after a raw clone: then it is not ours to close */
            (void)weir_section_close(cold->section);
        weir_os_handle_free(channel);
        return WEIR_OK;
    }
    if (!weir_channel_enter(channel)) /* and never left: a handler that comes now must find it busy */
        return weir_fail(WEIR_E_BUSY, "the channel is closed inside another call on it");
    if (channel->tx.capacity != 0) {
        weir_spsc_flush(&channel->tx);
        weir_channel_published(channel);
    }
    leave(channel);
    return WEIR_OK;
}

weir_status weir_channel_info(weir_channel *channel, weir_channel_facts *facts)
{
    if (!weir_channel_enter(channel))
        return WEIR_E_BUSY;
    struct channel_cold *cold = channel_cold(channel);
    weir_channel_facts seen = { .kind = WEIR_SPSC };
    weir_status status = weir_channel_explain(channel, WEIR_OK);
    if (status == WEIR_OK)
        status = weir_participant_look(cold->section, WEIR_CHANNEL_SLOT_PRODUCER, &seen.producer);
    if (status == WEIR_OK)
        status = weir_participant_look(cold->section, WEIR_CHANNEL_SLOT_CONSUMER, &seen.consumer);
    if (status == WEIR_OK)
        status = read_type(cold, seen.type);
    if (status != WEIR_OK)
        return weir_channel_leave(channel, status);
    weir_channel_layout *layout = cold->view.base;
    /* order LANE acq: as in attach_stated. */
    uint64_t bytes = weir_load_acq(&layout->lane_bytes);
    seen.capacity = weir_spsc_footprint(bytes) != 0 ? bytes : 0; /* an impossible one is found by who attaches */
    seen.record_max = weir_spsc_record_max(seen.capacity);
    seen.full = cold->full;
    seen.sleeps = cold->sleeps;
    *facts = seen;
    return weir_channel_leave(channel, WEIR_OK);
}
