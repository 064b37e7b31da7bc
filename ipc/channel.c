/* ipc/channel.c - opening, agreeing, leaving.  The paths that wait are in channel_wait.c. */
#include <weir/base/fail.h>
#include <weir/ipc/kind.h>

#include <stdlib.h>
#include <string.h>

#define TERMS_NS INT64_C(2000000000) /* how long an opener waits for another that is stopped while it agrees, */
#define TERMS_NAP_NS INT64_C(50000)  /* and how often it looks */

const struct channel_kind *weir_channel_kind(uint32_t kind)
{
    static const struct channel_kind *const kinds[] = {
        [WEIR_SPSC] = &weir_channel_spsc,
        [WEIR_MPSC] = &weir_channel_mpsc,
        [WEIR_MPSC_ORDERED] = &weir_channel_mpsc_ordered,
        [WEIR_MPMC] = &weir_channel_mpmc,
        [WEIR_BROADCAST] = &weir_channel_broadcast,
        [WEIR_BROADCAST_GATED] = &weir_channel_broadcast_gated,
        [WEIR_LATEST] = &weir_channel_latest,
    };
    return kind < sizeof kinds / sizeof kinds[0] ? kinds[kind] : NULL;
}

/* ---- what the two sides must agree on ---- */

/* The opener's wishes, checked: what a new channel is made from. */
struct terms {
    uint32_t kind;
    const struct channel_kind *calls;
    uint64_t capacity; /* rounded; 0: not stated */
    uint32_t record_bytes;
    uint32_t producers, consumers; /* 0: not stated */
    uint64_t identity;
    const char *type;
    size_t type_len; /* 0: not stated */
    bool full_fence;
    bool makes_ring; /* where there is none: it knows what is needed for that */
};

static weir_status check_options(const weir_channel_options *options, weir_role role, struct terms *terms)
{
    if (role != WEIR_PRODUCER && role != WEIR_CONSUMER)
        return weir_fail(WEIR_E_INVALID, "role %d: give WEIR_PRODUCER or WEIR_CONSUMER", (int)role);
    terms->kind = options->kind != 0 ? (uint32_t)options->kind : WEIR_SPSC;
    terms->calls = weir_channel_kind(terms->kind);
    if (terms->calls == NULL)
        return weir_fail(WEIR_E_UNSUPPORTED, "kind %d is none that this library has", (int)options->kind);
    if ((unsigned)options->wait > WEIR_WAIT_SLEEP)
        return weir_fail(WEIR_E_INVALID, "wait %d is no way of waiting", (int)options->wait);
    if (options->capacity > WEIR_CAPACITY_MAX)
        return weir_fail(WEIR_E_INVALID, "a capacity of %llu bytes: at most %llu",
                         (unsigned long long)options->capacity, (unsigned long long)WEIR_CAPACITY_MAX);
    if (options->producers > WEIR_MEMBERS_MAX || options->consumers > WEIR_MEMBERS_MAX ||
        (options->producers > 1 && !terms->calls->many_producers) ||
        (options->consumers > 1 && !terms->calls->many_consumers))
        return weir_fail(WEIR_E_INVALID, "%u producers and %u consumers of a channel of kind %s (%s, %s)",
                         options->producers, options->consumers, terms->calls->name,
                         terms->calls->many_producers ? "at most 127 producers" : "one producer",
                         terms->calls->many_consumers ? "at most 127 consumers" : "one consumer");
    uint64_t wish = options->capacity < WEIR_CAPACITY_MIN ? WEIR_CAPACITY_MIN : options->capacity;
    terms->capacity = options->capacity != 0 ? weir_spsc_capacity(wish) : 0;
    terms->record_bytes = options->record_bytes;
    terms->producers = options->producers;
    terms->consumers = options->consumers;
    terms->identity = options->identity;
    terms->makes_ring = role == WEIR_PRODUCER || (terms->capacity != 0 && !terms->calls->made_for_record);
    terms->type = options->type != NULL ? options->type : "";
    terms->type_len = strnlen(terms->type, WEIR_TYPE_MAX + 1);
    if (terms->type_len > WEIR_TYPE_MAX)
        return weir_fail(WEIR_E_INVALID, "the type \"%.20s...\" is longer than %d bytes", terms->type, WEIR_TYPE_MAX);
    return WEIR_OK;
}

/* The ring that these terms make. */
static struct channel_shape shape_of(const struct terms *terms, uint32_t producers, uint32_t consumers, uint64_t asked)
{
    uint64_t capacity = terms->capacity != 0 ? terms->capacity : asked != 0 ? asked : WEIR_CAPACITY_DEFAULT;
    uint32_t record = terms->record_bytes != 0 ? terms->record_bytes : WEIR_RECORD_DEFAULT;
    return (struct channel_shape){ capacity, terms->calls->made_for_record ? record : 0, producers, consumers };
}

static uint32_t members_of(uint32_t stated, bool many)
{
    return !many ? 1 : stated != 0 ? stated : WEIR_MEMBERS_DEFAULT;
}

static void state_type(weir_channel_layout *layout, const struct terms *terms)
{
    memcpy(layout->type, terms->type, terms->type_len);
    /* order TYPE rel: the type's bytes before its length. */
    weir_store_rel(&layout->type_len, terms->type_len);
}

/* What is stored before the capacity, which says that all of it is there. */
static void state_ring(weir_channel_layout *layout, const struct channel_shape *shape, bool stated)
{
    weir_store32_rlx(&layout->capacity_stated, stated);         /* relaxed: seen by LANE */
    weir_store_rlx(&layout->record_bytes, shape->record_bytes); /* relaxed: seen by LANE */
    /* order LANE rel: the ring and what was stated with it before its capacity. */
    weir_store_rel(&layout->capacity, shape->capacity);
}

/* What a new channel is filled with. */
struct making {
    const struct terms *terms;
    struct channel_shape shape;
};

/* Fills a new channel's content; nobody sees it yet. */
static weir_status init_layout(void *content, uint64_t size, void *arg)
{
    const struct making *making = arg;
    const struct terms *terms = making->terms;
    const struct channel_shape *shape = &making->shape;
    weir_channel_layout *layout = content;
    layout->version = WEIR_CHANNEL_VERSION;
    layout->kind = terms->kind;
    layout->full_fence = terms->full_fence;
    layout->producers = shape->producers;
    layout->consumers = shape->consumers;
    weir_store_rlx(&layout->asked, terms->capacity); /* relaxed, as all of this: nobody sees it yet */
    state_type(layout, terms);
    if (!terms->makes_ring)
        return WEIR_OK;
    uint64_t off = weir_channel_ring_off(shape->producers, shape->consumers);
    weir_status status = terms->calls->init((unsigned char *)content + off, size - off, shape, 1);
    if (status == WEIR_OK)
        state_ring(layout, shape, terms->capacity != 0);
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

/* The constants of the channel, read once; whoever states other numbers of participants wants no less. */
static weir_status check_layout(struct channel_cold *cold, const struct terms *terms)
{
    const weir_channel_layout *layout = cold->view.base;
    const char *name = weir_section_name(cold->section);
    uint32_t version = layout->version, kind = layout->kind, full_fence = layout->full_fence;
    uint32_t producers = layout->producers, consumers = layout->consumers;
    if (version != WEIR_CHANNEL_VERSION)
        return weir_fail(WEIR_E_VERSION, "%s has channel layout %u, this library knows %u", name, version,
                         WEIR_CHANNEL_VERSION);
    if (kind != terms->kind && weir_channel_kind(kind) != NULL)
        return weir_fail(WEIR_E_MISMATCH, "%s is a channel of kind %s, asked for was %s", name,
                         weir_channel_kind(kind)->name, terms->calls->name);
    if (kind != terms->kind)
        return weir_fail(WEIR_E_MISMATCH, "%s is a channel of kind %u, asked for was %s", name, kind,
                         terms->calls->name);
    if (full_fence > 1 || producers == 0 || producers > WEIR_MEMBERS_MAX || consumers == 0 ||
        consumers > WEIR_MEMBERS_MAX || (producers > 1 && !terms->calls->many_producers) ||
        (consumers > 1 && !terms->calls->many_consumers) ||
        weir_section_size(cold->section) < weir_channel_ring_off(producers, consumers))
        return weir_fail(WEIR_E_CORRUPT, "%s states fence %u, %u producers and %u consumers", name, full_fence,
                         producers, consumers);
    if (terms->producers > producers || terms->consumers > consumers)
        return weir_fail(WEIR_E_MISMATCH, "%s has room for %u producers and %u consumers, asked for were %u and %u",
                         name, producers, consumers, terms->producers, terms->consumers);
    weir_participant terms_slot;
    if (weir_participant_look(cold->section, weir_channel_slot_terms(producers, consumers), &terms_slot) ==
        WEIR_E_INVALID)
        return weir_fail(WEIR_E_CORRUPT, "%s states %u producers and %u consumers, and has fewer places", name,
                         producers, consumers);
    cold->full_fence = full_fence != 0;
    if (!cold->full_fence && !weir_os_can_fence_others())
        return weir_fail(WEIR_E_UNSUPPORTED,
                         "%s was made where membarrier(2) works and this process may not use it (seccomp?): open it "
                         "here first",
                         name);
    struct channel_side of_producers = { 0, producers }, of_consumers = { producers, consumers };
    cold->own = cold->role == WEIR_PRODUCER ? of_producers : of_consumers;
    cold->peers = cold->role == WEIR_PRODUCER ? of_consumers : of_producers;
    return WEIR_OK;
}

static uint32_t producers_of(const struct channel_cold *cold)
{
    return cold->role == WEIR_PRODUCER ? cold->own.count : cold->peers.count;
}

static uint32_t consumers_of(const struct channel_cold *cold)
{
    return cold->role == WEIR_PRODUCER ? cold->peers.count : cold->own.count;
}

static uint64_t ring_off(const struct channel_cold *cold)
{
    return weir_channel_ring_off(producers_of(cold), consumers_of(cold));
}

/* Compares what this handle states with what the channel states by now. */
static weir_status check_terms(struct channel_cold *cold, uint64_t capacity)
{
    char type[WEIR_TYPE_MAX + 1];
    weir_status status = read_type(cold, type);
    if (status != WEIR_OK)
        return status;
    const char *name = weir_section_name(cold->section);
    const weir_channel_layout *layout = cold->view.base;
    uint64_t stated = capacity;
    /* relaxed: stored before capacity, which was acquired; asked: only the terms' holder looks at it and stores it */
    if (capacity == 0)
        stated = weir_load_rlx(&layout->asked);
    else if (weir_load32_rlx(&layout->capacity_stated) == 0)
        stated = 0;
    if (stated != 0 && cold->capacity != 0 && stated != cold->capacity)
        return weir_fail(WEIR_E_MISMATCH, "%s has a capacity of %llu bytes, asked for were %llu", name,
                         (unsigned long long)stated, (unsigned long long)cold->capacity);
    if (type[0] != 0 && cold->type[0] != 0 && strcmp(type, cold->type) != 0)
        return weir_fail(WEIR_E_MISMATCH, "%s has messages of type \"%s\", asked for was \"%s\"", name, type,
                         cold->type);
    return WEIR_OK;
}

/* ---- the ring ---- */

/* Where the peers sleep that this handle wakes. */
static weir_sleeper *peer_sleeper(struct channel_cold *cold)
{
    weir_channel_layout *layout = cold->view.base;
    return cold->role == WEIR_PRODUCER ? &layout->consumer : &layout->member[0].sleeper;
}

/* Sees that `bytes` of the content can be touched, and that up to `room` will be at the same addresses. */
static weir_status view_all(weir_channel *channel, uint64_t bytes, uint64_t room)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_status status = WEIR_OK;
    bool there = bytes <= cold->view.size || bytes <= weir_section_size(cold->section);
    if (there && room > cold->room) { /* what is stated and not there is not mapped either: it may be any number */
        weir_view whole;
        status = weir_view_map_growing(&whole, cold->section, room, WEIR_READ_WRITE);
        if (status != WEIR_OK)
            return status;
        if (cold->view.base != NULL)
            (void)weir_view_unmap(&cold->view);
        cold->view = whole;
        cold->room = room;
        channel->peer = peer_sleeper(cold);
    } else if (there && bytes > cold->view.size) {
        status = weir_view_refresh(&cold->view);
        if (status != WEIR_OK)
            return status;
    }
    if (bytes > cold->view.size)
        return weir_fail(WEIR_E_CORRUPT, "%s has %llu bytes of content, its ring needs %llu",
                         weir_section_name(cold->section), (unsigned long long)weir_section_size(cold->section),
                         (unsigned long long)bytes);
    return WEIR_OK;
}

static weir_status view_ring(weir_channel *channel, const struct channel_shape *shape, uint32_t lanes)
{
    struct channel_cold *cold = channel_cold(channel);
    uint64_t off = ring_off(cold);
    return view_all(channel, off + cold->kind->footprint(shape, lanes),
                    off + cold->kind->footprint(shape, shape->producers));
}

weir_status weir_channel_reach(void *arg, uint64_t bytes)
{
    struct channel_cold *cold = channel_cold(arg);
    return view_all(arg, ring_off(cold) + bytes, 0);
}

/* The ring as the section states it; WEIR_EMPTY while there is none. */
static weir_status stated_shape(struct channel_cold *cold, struct channel_shape *shape)
{
    const weir_channel_layout *layout = cold->view.base;
    /* order LANE acq: the capacity before the ring, and before what else is stated of it. */
    uint64_t capacity = weir_load_acq(&layout->capacity);
    uint64_t record = weir_load_rlx(&layout->record_bytes);
    if (capacity == 0)
        return WEIR_EMPTY;
    *shape = (struct channel_shape){ capacity, (uint32_t)record, producers_of(cold), consumers_of(cold) };
    bool possible = capacity >= WEIR_CAPACITY_MIN && capacity <= WEIR_CAPACITY_MAX && (capacity & (capacity - 1)) == 0 &&
                    (cold->kind->made_for_record ? record != 0 && record <= UINT32_MAX : record == 0);
    if (!possible || cold->kind->footprint(shape, shape->producers) == 0 ||
        cold->kind->footprint(shape, shape->producers) > WEIR_SECTION_SIZE_MAX - ring_off(cold))
        return weir_fail(WEIR_E_CORRUPT, "%s states a ring of %llu bytes, for records of %llu",
                         weir_section_name(cold->section), (unsigned long long)capacity, (unsigned long long)record);
    return WEIR_OK;
}

static weir_status attach_stated(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    struct channel_shape shape;
    weir_status status = stated_shape(cold, &shape);
    if (status == WEIR_OK)
        status = check_terms(cold, shape.capacity);
    if (status == WEIR_OK)
        status = view_ring(channel, &shape, 1);
    if (status != WEIR_OK)
        return status;
    uint64_t off = ring_off(cold), seen;
    do { /* lanes that were made since the section was looked at are not there yet, and look impossible */
        seen = cold->view.size;
        status = cold->kind->attach(channel, (unsigned char *)cold->view.base + off, seen - off, &shape);
        if (status == WEIR_E_CORRUPT && weir_section_size(cold->section) > seen &&
            weir_view_refresh(&cold->view) != WEIR_OK)
            break;
    } while (status == WEIR_E_CORRUPT && cold->view.size > seen);
    if (status == WEIR_E_MISMATCH)
        status = weir_fail(WEIR_E_CORRUPT, "%s states a ring of %llu bytes and has another",
                           weir_section_name(cold->section), (unsigned long long)shape.capacity);
    cold->attached = status == WEIR_OK;
    return status == WEIR_E_NOT_WEIR ? WEIR_E_CORRUPT : status;
}

weir_status weir_channel_attach_ring(weir_channel *channel)
{
    weir_status status = attach_stated(channel);
    if (status == WEIR_E_CORRUPT) /* for good, as when a ring turns out corrupt later */
        weir_channel_poison(channel, status);
    return status;
}

/* Does the longest message that this side will send fit a ring of that shape? */
static weir_status check_record(struct channel_cold *cold, const struct terms *terms, const struct channel_shape *shape)
{
    struct channel_shape larger = *shape;
    uint32_t max = cold->kind->record_max(shape);
    if (terms->record_bytes <= max)
        return WEIR_OK;
    if (cold->kind->made_for_record)
        return weir_fail(WEIR_E_TOO_LARGE, "a record of %u bytes is over the limit of %u, for which %s was made",
                         terms->record_bytes, max, weir_section_name(cold->section));
    while (larger.capacity < WEIR_CAPACITY_MAX && cold->kind->record_max(&larger) < terms->record_bytes)
        larger.capacity *= 2;
    return weir_fail(WEIR_E_TOO_LARGE,
                     "a record of %u bytes is over the limit of %u in a lane of %llu bytes: that takes a capacity of "
                     "%llu or more",
                     terms->record_bytes, max, (unsigned long long)shape->capacity, (unsigned long long)larger.capacity);
}

/* Makes the section hold that many lanes. */
static weir_status make_room(weir_channel *channel, const struct channel_shape *shape, uint32_t lanes)
{
    struct channel_cold *cold = channel_cold(channel);
    uint64_t bytes = cold->kind->footprint(shape, lanes);
    if (bytes == 0)
        return weir_fail(WEIR_E_INVALID, "a ring of kind %s of %llu bytes for records of %u", cold->kind->name,
                         (unsigned long long)shape->capacity, shape->record_bytes);
    weir_status status = weir_section_extend(cold->section, ring_off(cold) + bytes);
    return status == WEIR_OK ? view_ring(channel, shape, lanes) : status;
}

/* Makes what is missing of the ring for this handle: all of it, unless it waits for a producer to say how large; a
 * producer's lane.  The type is stated before the ring, because who finds the ring has found all terms; and after what
 * can fail, because who is refused states nothing. */
static weir_status settle(weir_channel *channel, const struct terms *terms)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_channel_layout *layout = cold->view.base;
    struct channel_shape shape;
    weir_status status = stated_shape(cold, &shape);
    bool makes_ring = status == WEIR_EMPTY && terms->makes_ring;
    if (status != WEIR_OK && status != WEIR_EMPTY)
        return status;
    uint32_t lanes = cold->role == WEIR_PRODUCER ? cold->slot - cold->own.first + 1 : 1;
    if (makes_ring) /* relaxed: only the terms' holder stores it */
        shape = shape_of(terms, producers_of(cold), consumers_of(cold), weir_load_rlx(&layout->asked));
    if (makes_ring || (status == WEIR_OK && cold->kind->grow != NULL && cold->role == WEIR_PRODUCER)) {
        status = check_record(cold, terms, &shape);
        if (status == WEIR_OK)
            status = make_room(channel, &shape, lanes);
        uint64_t off = ring_off(cold);
        unsigned char *ring = (unsigned char *)cold->view.base + off;
        if (status == WEIR_OK)
            status = makes_ring ? cold->kind->init(ring, cold->view.size - off, &shape, lanes)
                                : cold->kind->grow(ring, cold->view.size - off, lanes);
        if (status != WEIR_OK)
            return status == WEIR_E_NOT_WEIR ? WEIR_E_CORRUPT : status;
        layout = cold->view.base;
    } else if (status == WEIR_OK) {
        status = check_record(cold, terms, &shape);
        if (status != WEIR_OK)
            return status;
    }
    if (weir_load_rlx(&layout->type_len) == 0) /* relaxed: only the terms' holder stores it, */
        state_type(layout, terms);
    if (weir_load_rlx(&layout->asked) == 0) /* and this */
        weir_store_rlx(&layout->asked, terms->capacity);
    if (makes_ring)
        state_ring(layout, &shape, weir_load_rlx(&layout->asked) != 0);
    return WEIR_OK;
}

/* Only one opener at a time agrees with what is stated and states the rest: the holder of this slot's lock. */
static weir_status claim_terms(const struct channel_cold *cold)
{
    weir_participant before;
    int64_t deadline = weir_os_now_ns() + TERMS_NS;
    for (;;) {
        uint32_t slot = weir_channel_slot_terms(producers_of(cold), consumers_of(cold));
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

/* ---- open, close ---- */

/* Makes or joins the section and maps it. */
static weir_status open_section(weir_channel *channel, const char *name, uint32_t mode, struct terms *terms)
{
    struct channel_cold *cold = channel_cold(channel);
    uint32_t producers = members_of(terms->producers, terms->calls->many_producers);
    uint32_t consumers = members_of(terms->consumers, terms->calls->many_consumers);
    terms->full_fence = !weir_os_can_fence_others();
    struct making making = { terms, shape_of(terms, producers, consumers, 0) };
    uint64_t footprint = terms->calls->footprint(&making.shape, 1);
    if (terms->makes_ring && footprint == 0)
        return weir_fail(WEIR_E_INVALID, "a ring of kind %s of %llu bytes for records of %u", terms->calls->name,
                         (unsigned long long)making.shape.capacity, making.shape.record_bytes);
    weir_section_options options = {
        .content = WEIR_CHANNEL_CONTENT,
        .slots = weir_channel_slots(producers, consumers),
        .mode = mode,
        .init = init_layout,
        .init_arg = &making,
    };
    uint64_t size = weir_channel_ring_off(producers, consumers) + (terms->makes_ring ? footprint : WEIR_SPSC_CONTROL);
    weir_status status = weir_section_open_or_create(&cold->section, name, size, &options, NULL);
    if (status != WEIR_OK)
        return status;
    if (weir_section_is_reserved(cold->section)) /* then a view may have pages that cannot be touched */
        return weir_fail(WEIR_E_CORRUPT, "%s has reserved room, a channel has none", weir_section_name(cold->section));
    if (weir_section_size(cold->section) < WEIR_CHANNEL_PAGE)
        return weir_fail(WEIR_E_CORRUPT, "%s is too short for a channel", weir_section_name(cold->section));
    return view_all(channel, WEIR_CHANNEL_LANE, WEIR_CHANNEL_LANE);
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
    weir_status status = stated_shape(cold, &shape);
    if (status == WEIR_OK)
        status = view_ring(channel, &shape, 1);
    uint64_t off = ring_off(cold);
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

/* Compares, states what is not stated yet, and attaches to the ring if there is one; then announces itself: who is
 * refused was never there.  The terms are held. */
static weir_status agree(weir_channel *channel, const struct terms *terms, weir_participant *before)
{
    struct channel_cold *cold = channel_cold(channel);
    weir_channel_layout *layout = cold->view.base;
    weir_participant peers;
    /* order LANE acq: as in stated_shape. */
    weir_status status = check_terms(cold, weir_load_acq(&layout->capacity));
    if (status == WEIR_OK)
        status = choose_place(channel, before);
    if (status == WEIR_OK)
        status = check_identity(cold, terms->identity);
    if (status == WEIR_OK)
        status = settle(channel, terms);
    if (status == WEIR_OK)
        status = weir_channel_crowd(cold, cold->peers, true, &peers, NULL);
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

/* Takes a place of the role, with the terms in hand: who compares numbers must not meet a place whose dead holder's word
 * still says "present" under the lock of its next one. */
static weir_status take_place(struct channel_cold *cold, weir_participant *before)
{
    weir_status status = weir_participant_claim(cold->section, cold->own.first, cold->own.count, before);
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
    status = take_place(cold, &before);
    if (status == WEIR_OK)
        status = agree(channel, terms, &before);
    (void)weir_participant_leave(cold->section, weir_channel_slot_terms(producers_of(cold), consumers_of(cold)));
    return status;
}

static void leave(weir_channel *channel)
{
    struct channel_cold *cold = channel_cold(channel);
    if (cold->attached && cold->kind->detach != NULL)
        cold->kind->detach(channel);
    if (cold->claimed) {
        (void)weir_participant_leave(cold->section, cold->slot);
        weir_channel_wake_peers(channel);
    }
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
    cold->kind = terms.calls;
    cold->number = (weir_kind)terms.kind;
    cold->wait = options->wait;
    cold->pauses = 1;
    cold->capacity = terms.capacity;
    memcpy(cold->type, terms.type, terms.type_len);
    struct weir_detail detail;
    weir_detail_save(&detail);

    status = open_section(channel, name, options->mode, &terms);
    if (status == WEIR_OK)
        status = check_layout(cold, &terms);
    if (status == WEIR_OK)
        status = view_all(channel, ring_off(cold), ring_off(cold));
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
    channel->alive = CHANNEL_ALIVE;
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
        if (weir_section_forked(cold->section)) /* not so after a raw clone: then it is not ours to close */
            (void)weir_section_close(cold->section);
        free(cold->handles);
        weir_os_handle_free(channel);
        return WEIR_OK;
    }
    if (!weir_channel_enter(channel)) /* and never left: a handler that comes now must find it busy */
        return weir_fail(WEIR_E_BUSY, "the channel is closed inside another call on it");
    if (channel_cold(channel)->role == WEIR_PRODUCER)
        (void)weir_channel_flush_slow(channel);
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
    if (status != WEIR_OK)
        return weir_channel_leave(channel, status);
    struct channel_side producers = { 0, producers_of(cold) }, consumers = { producers.count, consumers_of(cold) };
    status = weir_channel_crowd(cold, producers, true, &seen.producer, &seen.producers_alive);
    if (status == WEIR_OK)
        status = weir_channel_crowd(cold, consumers, true, &seen.consumer, &seen.consumers_alive);
    if (status == WEIR_OK)
        status = read_type(cold, seen.type);
    if (status != WEIR_OK)
        return weir_channel_leave(channel, status);
    struct channel_shape shape;
    struct weir_detail detail;
    weir_detail_save(&detail); /* an impossible ring is found by who attaches */
    if (stated_shape(cold, &shape) == WEIR_OK) {
        seen.capacity = cold->kind->capacity(&shape);
        seen.record_max = cold->kind->record_max(&shape);
    }
    weir_detail_restore(&detail);
    seen.kind = cold->number;
    seen.producers = producers.count;
    seen.consumers = consumers.count;
    seen.slot = cold->slot - cold->own.first;
    seen.full = cold->full;
    seen.sleeps = cold->sleeps;
    seen.lost = cold->lost;
    seen.redelivered = cold->redelivered;
    *facts = seen;
    return weir_channel_leave(channel, WEIR_OK);
}
