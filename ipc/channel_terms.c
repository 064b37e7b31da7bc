/* ipc/channel_terms.c - what the openers of a channel agree on: kind, numbers, type, capacity. */
#include <weir/base/fail.h>
#include <weir/ipc/channel_terms.h>

#include <string.h>

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
        [WEIR_KIND_MAILBOX] = &weir_channel_mailbox,
        [WEIR_KIND_MAILBOX_DISCARD] = &weir_channel_mailbox_discard,
    };
    return kind < sizeof kinds / sizeof kinds[0] ? kinds[kind] : NULL;
}

static weir_status check_type(const weir_type *stated, struct channel_type *type)
{
    const char *name = stated->name != NULL ? stated->name : "";
    size_t len = strnlen(name, WEIR_TYPE_MAX + 1);
    if (len > WEIR_TYPE_MAX)
        return weir_fail(WEIR_E_INVALID, "the type \"%.20s...\" is longer than %d bytes", name, WEIR_TYPE_MAX);
    if (len == 0 && (stated->size | stated->alignment | stated->version) != 0)
        return weir_fail(WEIR_E_INVALID, "a type of %u bytes, alignment %u, version %u has no name", stated->size,
                         stated->alignment, stated->version);
    if ((stated->alignment & (stated->alignment - 1)) != 0)
        return weir_fail(WEIR_E_INVALID, "the type %s has alignment %u, which is no power of two", name,
                         stated->alignment);
    *type = (struct channel_type){ .size = stated->size, .alignment = stated->alignment, .version = stated->version };
    memcpy(type->name, name, len);
    return WEIR_OK;
}

weir_status weir_terms_check_options(const weir_channel_options *options, weir_role role, struct terms *terms)
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
    return check_type(&options->type, &terms->type);
}

struct channel_shape weir_terms_shape(const struct terms *terms, uint32_t producers, uint32_t consumers, uint64_t asked)
{
    uint64_t capacity = terms->capacity != 0 ? terms->capacity : asked != 0 ? asked : WEIR_CAPACITY_DEFAULT;
    uint32_t record = terms->record_bytes != 0 ? terms->record_bytes : WEIR_RECORD_DEFAULT;
    return (struct channel_shape){ capacity, terms->calls->made_for_record ? record : 0, producers, consumers };
}

uint32_t weir_terms_members(uint32_t stated, bool many)
{
    return !many ? 1 : stated != 0 ? stated : WEIR_MEMBERS_DEFAULT;
}

void weir_terms_state_type(weir_channel_layout *layout, const struct channel_type *type)
{
    size_t len = strlen(type->name);
    memcpy(layout->type, type->name, len);
    weir_store32_rlx(&layout->type_size, type->size); /* relaxed, these: seen by TYPE */
    weir_store32_rlx(&layout->type_alignment, type->alignment);
    weir_store32_rlx(&layout->type_version, type->version);
    /* order TYPE rel: the type's bytes and numbers before its length. */
    weir_store_rel(&layout->type_len, len);
}

/* What is stored before the capacity, which says that all of it is there. */
void weir_terms_state_ring(weir_channel_layout *layout, const struct channel_shape *shape, bool stated)
{
    weir_store32_rlx(&layout->capacity_stated, stated);         /* relaxed: seen by LANE */
    weir_store_rlx(&layout->record_bytes, shape->record_bytes); /* relaxed: seen by LANE */
    /* order LANE rel: the ring and what was stated with it before its capacity. */
    weir_store_rel(&layout->capacity, shape->capacity);
}

weir_status weir_terms_check_section(weir_section *section)
{
    if (weir_section_is_reserved(section)) /* then a view may have pages that cannot be touched */
        return weir_fail(WEIR_E_CORRUPT, "%s has reserved room, a channel has none", weir_section_name(section));
    if (weir_section_size(section) < WEIR_CHANNEL_PAGE)
        return weir_fail(WEIR_E_CORRUPT, "%s is too short for a channel", weir_section_name(section));
    return WEIR_OK;
}

/* Fills a new channel's content; nobody sees it yet. */
weir_status weir_terms_init_layout(void *content, uint64_t size, void *arg)
{
    (void)size; /* as much as it was said to fill */
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
    weir_terms_state_type(layout, &terms->type);
    if (!terms->makes_ring)
        return WEIR_OK;
    uint64_t off = weir_channel_ring_off(shape->producers, shape->consumers);
    weir_status status = terms->calls->init((unsigned char *)content + off, terms->calls->footprint(shape, 1), shape, 1);
    if (status == WEIR_OK)
        weir_terms_state_ring(layout, shape, terms->capacity != 0);
    return status;
}

weir_status weir_terms_read_type(const weir_channel_layout *layout, const char *channel, struct channel_type *type)
{
    /* order TYPE acq: the length before the bytes and numbers. */
    uint64_t len = weir_load_acq(&layout->type_len);
    if (len > WEIR_TYPE_MAX)
        return weir_fail(WEIR_E_CORRUPT, "%s states a type's name of %llu bytes", channel,
                         (unsigned long long)len);
    *type = (struct channel_type){ .name = "" };
    if (len == 0)
        return WEIR_OK;
    memcpy(type->name, layout->type, len);
    type->size = weir_load32_rlx(&layout->type_size); /* relaxed, these: seen by TYPE */
    type->alignment = weir_load32_rlx(&layout->type_alignment);
    type->version = weir_load32_rlx(&layout->type_version);
    return WEIR_OK;
}

weir_status weir_terms_read_head(struct channel_cold *cold)
{
    const weir_channel_layout *layout = cold->view.base;
    const char *name = weir_section_name(cold->section);
    uint32_t version = layout->version, kind = layout->kind, full_fence = layout->full_fence;
    uint32_t producers = layout->producers, consumers = layout->consumers;
    if (version != WEIR_CHANNEL_VERSION)
        return weir_fail(WEIR_E_VERSION, "%s has channel layout %u, this library knows %u", name, version,
                         WEIR_CHANNEL_VERSION);
    const struct channel_kind *calls = weir_channel_kind(kind);
    if (full_fence > 1 || producers == 0 || producers > WEIR_MEMBERS_MAX || consumers == 0 ||
        consumers > WEIR_MEMBERS_MAX || (calls != NULL && producers > 1 && !calls->many_producers) ||
        (calls != NULL && consumers > 1 && !calls->many_consumers) ||
        weir_section_size(cold->section) < weir_channel_ring_off(producers, consumers))
        return weir_fail(WEIR_E_CORRUPT, "%s states fence %u, %u producers and %u consumers", name, full_fence,
                         producers, consumers);
    weir_participant terms_slot;
    if (weir_participant_look(cold->section, weir_channel_slot_terms(producers, consumers), &terms_slot) ==
        WEIR_E_INVALID)
        return weir_fail(WEIR_E_CORRUPT, "%s states %u producers and %u consumers, and has fewer places", name,
                         producers, consumers);
    struct channel_side of_producers = { 0, producers }, of_consumers = { producers, consumers };
    cold->kind = calls;
    cold->number = (weir_kind)kind;
    cold->full_fence = full_fence != 0;
    cold->own = cold->role == WEIR_PRODUCER ? of_producers : of_consumers;
    cold->peers = cold->role == WEIR_PRODUCER ? of_consumers : of_producers;
    return WEIR_OK;
}

/* Whoever states other numbers of participants wants no less. */
weir_status weir_terms_check_layout(struct channel_cold *cold, const struct terms *terms)
{
    const char *name = weir_section_name(cold->section);
    weir_status status = weir_terms_read_head(cold);
    if (status != WEIR_OK)
        return status;
    uint32_t kind = (uint32_t)cold->number, producers = weir_channel_producers(cold),
             consumers = weir_channel_consumers(cold);
    if (kind != terms->kind && cold->kind != NULL)
        return weir_fail(WEIR_E_MISMATCH, "%s is a channel of kind %s, asked for was %s", name, cold->kind->name,
                         terms->calls->name);
    if (kind != terms->kind)
        return weir_fail(WEIR_E_MISMATCH, "%s is a channel of kind %u, asked for was %s", name, kind,
                         terms->calls->name);
    if (terms->producers > producers || terms->consumers > consumers)
        return weir_fail(WEIR_E_MISMATCH, "%s has room for %u producers and %u consumers, asked for were %u and %u",
                         name, producers, consumers, terms->producers, terms->consumers);
    if (!cold->full_fence && terms->full_fence)
        return weir_fail(WEIR_E_UNSUPPORTED,
                         "%s was made where membarrier(2) works and this process may not use it (seccomp?): open it "
                         "here first",
                         name);
    return WEIR_OK;
}

static bool same_number(uint32_t one, uint32_t other)
{
    return one == 0 || other == 0 || one == other;
}

static bool same_type(const struct channel_type *one, const struct channel_type *other)
{
    return one->name[0] == 0 || other->name[0] == 0 ||
           (strcmp(one->name, other->name) == 0 && same_number(one->size, other->size) &&
            same_number(one->alignment, other->alignment) && same_number(one->version, other->version));
}

weir_status weir_terms_compare(struct channel_cold *cold, uint64_t capacity)
{
    struct channel_type type;
    const char *name = weir_section_name(cold->section);
    const weir_channel_layout *layout = cold->view.base;
    weir_status status = weir_terms_read_type(layout, name, &type);
    if (status != WEIR_OK)
        return status;
    uint64_t stated = capacity;
    /* relaxed: stored before capacity, which was acquired; asked: only the terms' holder looks at it and stores it */
    if (capacity == 0)
        stated = weir_load_rlx(&layout->asked);
    else if (weir_load32_rlx(&layout->capacity_stated) == 0)
        stated = 0;
    if (stated != 0 && cold->capacity != 0 && stated != cold->capacity)
        return weir_fail(WEIR_E_MISMATCH, "%s has a capacity of %llu bytes, asked for were %llu", name,
                         (unsigned long long)stated, (unsigned long long)cold->capacity);
    if (!same_type(&type, &cold->type))
        return weir_fail(WEIR_E_MISMATCH,
                         "%s has messages of type \"%s\" (size %u, alignment %u, version %u), asked for was \"%s\" (size "
                         "%u, alignment %u, version %u; 0: any)",
                         name, type.name, type.size, type.alignment, type.version, cold->type.name, cold->type.size,
                         cold->type.alignment, cold->type.version);
    return WEIR_OK;
}
