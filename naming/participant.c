#include <weir/base/fail.h>
#include <weir/naming/companion.h>
#include <weir/naming/participant.h>
#include <weir/naming/section_private.h>

#define LOOKS_MAX 16 /* at a word that changes at each look: by then it is no death */

static uint64_t word_make(uint32_t state, uint32_t deaths, uint32_t generation)
{
    return (uint64_t)generation << 32 | (uint64_t)(deaths & 0xffff) << 16 | state;
}

static bool holds(const weir_section *section, uint32_t slot)
{
    return slot < WEIR_SLOTS_MAX && (section->held[slot / 64] >> slot % 64 & 1) != 0;
}

static bool joined(const weir_section *section, uint32_t slot)
{
    return (section->joined[slot / 64] >> slot % 64 & 1) != 0;
}

static weir_participant participant(uint32_t slot, uint64_t word)
{
    uint32_t state = (uint32_t)word & 0xffff;
    return (weir_participant){
        .slot = slot,
        .generation = (uint32_t)(word >> 32),
        .deaths = (uint32_t)word >> 16,
        .presence = state == WEIR_SLOT_PRESENT ? WEIR_ALIVE
                    : state == WEIR_SLOT_LEFT  ? WEIR_LEFT
                    : state == WEIR_SLOT_DEAD  ? WEIR_DEAD
                                               : WEIR_ABSENT,
    };
}

weir_participant weir_participant_glance(const weir_section *section, uint32_t slot)
{
    if (section->os.forked) /* the header is not mapped in a child */
        return (weir_participant){ .slot = slot, .presence = WEIR_ABSENT };
    /* order SLOT acq: the holder's word before what it did until then. */
    return participant(slot, weir_load_acq(&section->header->slot[slot]));
}

weir_status weir_participant_look(weir_section *section, uint32_t slot, weir_participant *out)
{
    weir_status status = weir_section_check(section);
    if (status != WEIR_OK)
        return status;
    if (slot >= section->slots)
        return weir_fail(WEIR_E_INVALID, "%s has %u slots, there is no slot %u", section->os.title,
                         section->slots, slot);
    weir_participant seen = weir_participant_glance(section, slot);
    /* A lock that is free says "dead" only of the generation whose word stood before and after the look at it: between,
     * its holder may have left, or a successor come. */
    for (int look = 0; look < LOOKS_MAX && seen.presence == WEIR_ALIVE && !holds(section, slot); look++) {
        bool held;
        status = weir_os_slot_held(&section->os, slot, &held);
        if (status != WEIR_OK)
            return status;
        if (held)
            break;
        weir_participant again = weir_participant_glance(section, slot);
        if (again.generation == seen.generation && again.presence == seen.presence) {
            seen.presence = WEIR_DEAD;
            seen.deaths = (seen.deaths + 1) & 0xffff;
            break;
        }
        seen = again;
    }
    *out = seen;
    return WEIR_OK;
}

weir_status weir_participant_claim(weir_section *section, uint32_t first, uint32_t count, weir_participant *before)
{
    weir_status status = weir_section_check_writer(section);
    if (status != WEIR_OK)
        return status;
    if (count == 0 || first >= section->slots || count > section->slots - first)
        return weir_fail(WEIR_E_INVALID, "%s has %u slots, there are no %u from %u on", section->os.title,
                         section->slots, count, first);
    for (uint32_t slot = first; slot < first + count; slot++) {
        /* The kernel would give this handle its own lock again. */
        if (holds(section, slot))
            continue;
        status = weir_os_slot_lock(&section->os, slot);
        if (status == WEIR_E_IN_USE)
            continue;
        if (status != WEIR_OK)
            return status;
        section->held[slot / 64] |= UINT64_C(1) << slot % 64;
        *before = weir_participant_glance(section, slot);
        if (before->presence == WEIR_ALIVE) { /* its lock is ours: it ended without leaving */
            before->presence = WEIR_DEAD;
            before->deaths = (before->deaths + 1) & 0xffff;
            /* order SLOT rel: as join's; only the holder of the lock writes the word. */
            weir_store_rel(&section->header->slot[slot],
                           word_make(WEIR_SLOT_DEAD, before->deaths, before->generation));
        }
        return WEIR_OK;
    }
    return weir_fail(WEIR_E_IN_USE, "%s: every slot of that role is held by a live participant",
                     section->os.title);
}

weir_status weir_participant_join(weir_section *section, const weir_participant *claimed)
{
    uint32_t slot = claimed->slot;
    weir_status status = weir_section_check(section);
    if (status != WEIR_OK)
        return status;
    if (!holds(section, slot) || joined(section, slot))
        return weir_fail(WEIR_E_STATE, "slot %u of %s is not claimed by this handle, or joined already", slot,
                         section->os.title);
    section->joined[slot / 64] |= UINT64_C(1) << slot % 64;
    /* order SLOT rel: what the joiner did before it joined. */
    weir_store_rel(&section->header->slot[slot],
                   word_make(WEIR_SLOT_PRESENT, claimed->deaths, claimed->generation + 1));
    return WEIR_OK;
}

weir_status weir_participant_leave(weir_section *section, uint32_t slot)
{
    weir_status status = weir_section_check(section);
    if (status != WEIR_OK)
        return status;
    if (!holds(section, slot))
        return weir_fail(WEIR_E_STATE, "this handle does not hold slot %u of %s", slot, section->os.title);
    if (joined(section, slot)) {
        weir_participant self = weir_participant_glance(section, slot);
        /* order SLOT rel: all that the holder did, before "left".  Without it a peer can see the end and miss the last
         * record. */
        weir_store_rel(&section->header->slot[slot], word_make(WEIR_SLOT_LEFT, self.deaths, self.generation));
    }
    (void)weir_companion_remove(section, slot); /* while it is ours: a successor's would have the same name */
    section->held[slot / 64] &= ~(UINT64_C(1) << slot % 64);
    section->joined[slot / 64] &= ~(UINT64_C(1) << slot % 64);
    weir_os_slot_unlock(&section->os, slot);
    return WEIR_OK;
}
