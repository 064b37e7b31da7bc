#include <weir/base/fail.h>
#include <weir/naming/companion.h>
#include <weir/naming/section_private.h>

static weir_atomic_u64 *word_of(const weir_section *section, uint32_t slot)
{
    return &section->header->companions[slot / 64];
}

static uint64_t bit_of(uint32_t slot)
{
    return UINT64_C(1) << slot % 64;
}

static bool can_have(const weir_section *section)
{
    return section->os.kind == WEIR_SECTION_NAMED;
}

static weir_status check_holder(const weir_section *section, uint32_t slot)
{
    weir_status status = weir_section_check(section);
    if (status == WEIR_OK && (slot >= WEIR_SLOTS_MAX || (section->held[slot / 64] & bit_of(slot)) == 0))
        status = weir_fail(WEIR_E_STATE, "this handle does not hold slot %u of %s", slot, section->os.title);
    return status;
}

weir_status weir_companion_make(weir_section *section, uint32_t slot, int *fd)
{
    weir_status status = check_holder(section, slot);
    if (status != WEIR_OK)
        return status;
    if (fd == NULL)
        return weir_fail(WEIR_E_INVALID, "no place to return the descriptor");
    if (!can_have(section))
        return weir_fail(WEIR_E_UNSUPPORTED, "%s has no name in the shared-memory directory: only a section that has "
                                             "one has companions", section->os.title);
    /* Relaxed, here and below: the bits of the dead are read by who has the exclusive lock, which orders them behind
     * all that they did; the store is done before the call that follows it begins, wherever this process is killed. */
    (void)weir_fetch_or_rlx(word_of(section, slot), bit_of(slot));
    status = weir_os_companion_make(&section->os, slot, fd);
    struct weir_detail detail;
    weir_detail_save(&detail);
    if (status != WEIR_OK) {
        (void)weir_companion_remove(section, slot); /* a half-made one, or what nobody uses now */
        weir_detail_restore(&detail);
    }
    return status;
}

weir_status weir_companion_open(const weir_section *section, uint32_t slot, int *fd)
{
    if (section->os.forked)
        return WEIR_E_FORKED;
    if (slot >= WEIR_SLOTS_MAX || fd == NULL)
        return WEIR_E_INVALID;
    if (!can_have(section))
        return WEIR_E_UNSUPPORTED;
    /* relaxed: a hint that spares a call; see "Callers" in the header. */
    if ((weir_load_rlx(word_of(section, slot)) & bit_of(slot)) == 0)
        return WEIR_E_NOT_FOUND;
    return weir_os_companion_open(&section->os, slot, fd);
}

bool weir_companion_is_named(int fd)
{
    return weir_os_companion_is_named(fd);
}

weir_status weir_companion_remove(weir_section *section, uint32_t slot)
{
    weir_status status = check_holder(section, slot);
    if (status != WEIR_OK || !can_have(section) || (weir_load_rlx(word_of(section, slot)) & bit_of(slot)) == 0)
        return status;
    if (!weir_os_companion_remove(&section->os, slot))
        return weir_fail(WEIR_E_OS, "the FIFO of slot %u beside %s could not be removed: it goes with the section",
                         slot, section->os.title);
    (void)weir_fetch_and_rlx(word_of(section, slot), ~bit_of(slot));
    return WEIR_OK;
}

void weir_companion_close(int fd)
{
    weir_os_companion_close(fd);
}
