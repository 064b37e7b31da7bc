/* naming/commit.c - reserved room: which granules of it are real memory.
 *
 * A bit says so, in the map behind the header.  It is set with release after the memory was had, and cleared, by a sole
 * user alone, before the memory is given back: a set bit is a promise at every instant. */
#include <weir/base/fail.h>
#include <weir/naming/section_private.h>

static weir_atomic_u64 *map_word(const weir_section *section, uint64_t granule)
{
    return weir_word_at(section->header, WEIR_SECTION_HEADER + granule / 64 * 8);
}

static uint64_t mask_of(uint64_t granule, uint64_t end)
{
    uint64_t from = granule % 64, bits = end - granule < 64 - from ? end - granule : 64 - from;
    return (bits == 64 ? ~UINT64_C(0) : (UINT64_C(1) << bits) - 1) << from;
}

uint64_t weir_commit_run(const weir_section *section, uint64_t granule, uint64_t end, bool *committed)
{
    uint64_t g = granule;
    bool first = true;
    while (g < end) {
        /* order COMMIT acq: the bit before a touch of the memory that it promises. */
        uint64_t word = weir_load_acq(map_word(section, g));
        if (first)
            *committed = (word >> g % 64 & 1) != 0;
        first = false;
        uint64_t mask = mask_of(g, end);
        uint64_t other = (*committed ? ~word : word) & mask; /* where the run ends, in this word */
        if (other != 0)
            return g / 64 * 64 + (uint64_t)__builtin_ctzll(other) - granule;
        g = g / 64 * 64 + 64;
    }
    return end - granule;
}

/* Where in the file a granule begins; the last one may be shorter. */
static uint64_t file_off(const weir_section *section, uint64_t granule)
{
    uint64_t off = granule * WEIR_COMMIT_GRANULE;
    return section->content_off + (off < section->size ? off : section->size);
}

static weir_status check(weir_section *section, bool change, uint64_t offset, uint64_t *size)
{
    weir_status status = change ? weir_section_check_writer(section) : weir_section_check(section);
    if (status != WEIR_OK)
        return status;
    if (change && !section->reserved)
        return weir_fail(WEIR_E_STATE, "%s has no reserved room: all of it is committed", section->os.title);
    return weir_section_range(section, offset, size);
}

/* Takes memory for every granule of the range that is not committed.  What a killed commit or decommit left behind is
 * given back first: it is neither zero, nor free for others. */
static weir_status take(weir_section *section, uint64_t first, uint64_t end)
{
    for (uint64_t g = first; g < end;) {
        bool committed;
        uint64_t run = weir_commit_run(section, g, end, &committed);
        if (!committed) {
            uint64_t from = file_off(section, g), to = file_off(section, g + run);
            weir_status status = weir_os_punch(&section->os, from, to);
            if (status == WEIR_OK)
                status = weir_os_allocate(&section->os, from, to);
            if (status != WEIR_OK)
                return status;
        }
        g += run;
    }
    return WEIR_OK;
}

weir_status weir_section_commit(weir_section *section, uint64_t offset, uint64_t size_bytes)
{
    weir_status status = check(section, true, offset, &size_bytes);
    if (status != WEIR_OK)
        return status;
    uint64_t first = offset / WEIR_COMMIT_GRANULE, end = weir_section_granules(offset + size_bytes);
    /* Of two that take the same memory at once, one that fails would undo what the other has had. */
    status = weir_os_commit_lock(&section->os, first, end - first);
    if (status != WEIR_OK)
        return status;
    status = take(section, first, end);
    if (status == WEIR_OK)
        for (uint64_t g = first; g < end; g = g / 64 * 64 + 64)
            /* order COMMIT rel: the memory before the bit that promises it.  Without it a process can see the bit and
             * touch a hole. */
            (void)weir_fetch_or_rel(map_word(section, g), mask_of(g, end));
    weir_os_commit_unlock(&section->os, first, end - first);
    return status == WEIR_OK ? weir_views_reach(section, first * WEIR_COMMIT_GRANULE, end * WEIR_COMMIT_GRANULE)
                             : status;
}

/* Takes the range's pages out of this handle's views. */
static weir_status unreach(weir_section *section, uint64_t from, uint64_t to)
{
    for (struct weir_view_node *node = section->views; node != NULL; node = node->next) {
        uint64_t low = from > node->offset ? from : node->offset;
        uint64_t high = to < node->offset + node->size ? to : node->offset + node->size;
        if (low >= high)
            continue;
        weir_status status =
            weir_os_unreach(&section->os, (unsigned char *)node->base + (low - node->offset), high - low);
        if (status != WEIR_OK)
            return status;
    }
    return WEIR_OK;
}

/* Gives back granules that are all committed; nobody else looks.  What fails stays committed. */
static weir_status give_back(weir_section *section, uint64_t first, uint64_t end)
{
    uint64_t from = first * WEIR_COMMIT_GRANULE, to = end * WEIR_COMMIT_GRANULE;
    weir_status status = unreach(section, from, to < section->size ? to : section->size);
    for (uint64_t g = first; status == WEIR_OK && g < end; g = g / 64 * 64 + 64)
        /* relaxed: nobody else looks, until the lock is shared again */
        (void)weir_fetch_and_rlx(map_word(section, g), ~mask_of(g, end));
    if (status == WEIR_OK)
        status = weir_os_punch(&section->os, file_off(section, first), file_off(section, end));
    if (status != WEIR_OK) {
        for (uint64_t g = first; g < end; g = g / 64 * 64 + 64)
            (void)weir_fetch_or_rlx(map_word(section, g), mask_of(g, end)); /* relaxed: as above */
        (void)weir_views_reach(section, from, to);
    }
    return status;
}

weir_status weir_section_decommit(weir_section *section, uint64_t offset, uint64_t size_bytes)
{
    weir_status status = check(section, true, offset, &size_bytes);
    if (status != WEIR_OK)
        return status;
    uint64_t stop = offset + size_bytes;
    uint64_t first = weir_section_granules(offset);
    uint64_t end = stop == section->size ? weir_section_granules(stop) : stop / WEIR_COMMIT_GRANULE;
    if (first >= end)
        return WEIR_OK;
    for (const struct weir_view_node *node = section->views; node != NULL; node = node->next)
        if (node->published && node->offset < end * WEIR_COMMIT_GRANULE &&
            first * WEIR_COMMIT_GRANULE < node->offset + node->size)
            return weir_fail(WEIR_E_BUSY, "a view of %s that holds some of it is published: retire it first",
                             section->os.title);
    status = weir_os_alone(&section->os);
    if (status != WEIR_OK)
        return status;
    for (uint64_t g = first; status == WEIR_OK && g < end;) {
        bool committed;
        uint64_t run = weir_commit_run(section, g, end, &committed);
        if (committed)
            status = give_back(section, g, g + run);
        g += run;
    }
    weir_os_share(&section->os);
    return status;
}

weir_status weir_section_committed(weir_section *section, uint64_t offset, uint64_t *size_bytes, bool *committed)
{
    uint64_t size = *size_bytes;
    weir_status status = check(section, false, offset, &size);
    if (status != WEIR_OK)
        return status;
    *committed = true;
    if (section->reserved) {
        uint64_t first = offset / WEIR_COMMIT_GRANULE;
        uint64_t run = weir_commit_run(section, first, weir_section_granules(offset + size), committed);
        uint64_t until = (first + run) * WEIR_COMMIT_GRANULE - offset;
        size = until < size ? until : size;
    }
    *size_bytes = size;
    return WEIR_OK;
}
