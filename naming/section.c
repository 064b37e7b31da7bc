#include <weir/base/fail.h>
#include <weir/naming/os.h>
#include <weir/naming/section.h>
#include <weir/naming/section_layout.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define VIEW_GRANULE UINT64_C(65536)
#define MODE_DEFAULT 0600u
#define LOOKS_MAX 16 /* at a word that changes at each look: by then it is no death */

struct weir_section {
    weir_os_section os;
    weir_section_layout *header; /* mapped; read-only for an observer */
    uint64_t size;               /* bytes of content, as last read and checked */
    uint32_t slots;
    uint32_t views;                     /* mapped now */
    /* the slots that this handle has locked, and those of them whose word says so */
    uint64_t held[WEIR_SLOTS_MAX / 64];
    uint64_t joined[WEIR_SLOTS_MAX / 64];
};

static uint64_t word_make(uint32_t state, uint32_t deaths, uint32_t generation)
{
    return (uint64_t)generation << 32 | (uint64_t)(deaths & 0xffff) << 16 | state;
}

/* ---- the header ---- */

struct creation {
    const weir_name *name;
    const weir_section_options *options;
    uint64_t size;
};

static weir_status fill(void *base, uint64_t bytes, void *arg)
{
    const struct creation *c = arg;
    weir_section_layout *header = base;
    header->magic = WEIR_SECTION_MAGIC;
    header->version = WEIR_SECTION_VERSION;
    header->content = c->options->content;
    header->slots = c->options->slots;
    memcpy(header->name, c->name->text, sizeof header->name);
    weir_store_rlx(&header->size, c->size); /* relaxed: nobody sees the file before it has a name */
    if (c->options->init == NULL)
        return WEIR_OK;
    return c->options->init((unsigned char *)base + WEIR_SECTION_HEADER, bytes - WEIR_SECTION_HEADER,
                            c->options->init_arg);
}

/* Is that the start of a whole section with this name?  Called on a copy, so nothing changes under it. */
static weir_status inspect(const void *copy, uint64_t len, uint64_t file_bytes, const weir_name *name)
{
    const weir_section_layout *header = copy;
    if (len < sizeof header->magic || header->magic != WEIR_SECTION_MAGIC)
        return weir_fail(WEIR_E_NOT_WEIR, "%s: a file that is no weir section stands there; it was left alone",
                         name->text);
    if (len < offsetof(weir_section_layout, content) || header->version != WEIR_SECTION_VERSION)
        return weir_fail(WEIR_E_VERSION, "%s has layout version %u, this library knows %u", name->text,
                         len < offsetof(weir_section_layout, content) ? 0 : header->version, WEIR_SECTION_VERSION);
    if (len < WEIR_SECTION_HEADER)
        return weir_fail(WEIR_E_CORRUPT, "%s is cut off after %llu bytes", name->text, (unsigned long long)file_bytes);
    uint64_t size = weir_load_rlx(&header->size);
    if (size == 0 || size > WEIR_SECTION_SIZE_MAX || WEIR_SECTION_HEADER + size > file_bytes)
        return weir_fail(WEIR_E_CORRUPT, "%s states %llu bytes of content, its file has %llu with its header",
                         name->text, (unsigned long long)size, (unsigned long long)file_bytes);
    if (header->slots > WEIR_SLOTS_MAX || header->flags != 0)
        return weir_fail(WEIR_E_CORRUPT, "%s has an impossible header (slots %u, flags %u)", name->text,
                         header->slots, header->flags);
    if (memcmp(header->name, name->text, strlen(name->text) + 1) != 0)
        return weir_fail(WEIR_E_NOT_WEIR, "%s: what stands there is a section of another name, \"%.*s\"", name->text,
                         (int)strnlen((const char *)header->name, sizeof header->name), header->name);
    return WEIR_OK;
}

/* Reads the size again and believes it if the file is that long. */
static weir_status refresh_size(weir_section *section)
{
    /* order SECTION-SIZE acq: the size before the memory it promises. */
    uint64_t size = weir_load_acq(&section->header->size);
    if (size == section->size)
        return WEIR_OK;
    uint64_t bytes;
    weir_status status = weir_os_bytes(&section->os, &bytes);
    if (status != WEIR_OK)
        return status;
    if (size > WEIR_SECTION_SIZE_MAX || WEIR_SECTION_HEADER + size > bytes)
        return weir_fail(WEIR_E_CORRUPT, "%s states %llu bytes of content, its file has %llu with its header",
                         section->os.name.text, (unsigned long long)size, (unsigned long long)bytes);
    section->size = size;
    return WEIR_OK;
}

/* ---- create, open, close ---- */

static weir_status attach(weir_section *section, const weir_section_options *options)
{
    void *base;
    weir_status status =
        weir_os_map(&section->os, 0, WEIR_SECTION_HEADER, options->access == WEIR_READ_WRITE, &base);
    if (status != WEIR_OK)
        return status;
    section->header = base;
    section->slots = section->header->slots;
    if (section->slots > WEIR_SLOTS_MAX)
        return weir_fail(WEIR_E_CORRUPT, "%s changed while it was opened", section->os.name.text);
    uint32_t content = section->header->content;
    if (content != options->content)
        return weir_fail(WEIR_E_MISMATCH, "%s holds content %#x, %#x was asked for", section->os.name.text, content,
                         options->content);
    return refresh_size(section);
}

static weir_status acquire(weir_section **out, const char *text, uint64_t size, const weir_section_options *options,
                           weir_os_request *request, bool *created)
{
    static const weir_section_options defaults;
    if (options == NULL)
        options = &defaults;
    if (out == NULL)
        return weir_fail(WEIR_E_INVALID, "no place to return the section");
    if (request->may_create && (size == 0 || size > WEIR_SECTION_SIZE_MAX))
        return weir_fail(WEIR_E_INVALID, "a section of %llu bytes: give 1 to %llu", (unsigned long long)size,
                         (unsigned long long)WEIR_SECTION_SIZE_MAX);
    if (options->slots > WEIR_SLOTS_MAX || options->mode > 0777 ||
        (options->access != WEIR_READ_WRITE && options->access != WEIR_READ_ONLY))
        return weir_fail(WEIR_E_INVALID, "options: slots %u (at most %u), mode %#o (at most 0777), access %d",
                         options->slots, WEIR_SLOTS_MAX, options->mode, (int)options->access);
    if (request->may_create && options->access == WEIR_READ_ONLY)
        return weir_fail(WEIR_E_INVALID, "a section cannot be created read-only: open it after its creator did");
    weir_name name;
    weir_status status = weir_name_parse(&name, text);
    if (status != WEIR_OK)
        return status;
    int saved = errno;
    weir_section *section = calloc(1, sizeof *section);
    if (section == NULL) {
        errno = saved;
        return weir_fail(WEIR_E_NO_MEMORY, "no memory for a section's handle");
    }

    struct creation creation = { .name = &name, .options = options, .size = size };
    request->access = options->access;
    request->mode = options->mode != 0 ? options->mode : MODE_DEFAULT;
    request->bytes = WEIR_SECTION_HEADER + size;
    request->fill = fill;
    request->inspect = inspect;
    request->arg = &creation;
    bool was_created = false;
    status = weir_os_acquire(&section->os, &name, request, &was_created);
    if (status != WEIR_OK)
        goto fail_free;
    status = attach(section, options);
    if (status != WEIR_OK)
        goto fail_release;
    *out = section;
    if (created != NULL)
        *created = was_created;
    return WEIR_OK;

fail_release:
    if (section->header != NULL)
        weir_os_unmap(&section->os, section->header, WEIR_SECTION_HEADER);
    weir_os_release(&section->os);
fail_free:
    free(section);
    return status;
}

weir_status weir_section_create(weir_section **out, const char *name, uint64_t size_bytes,
                                const weir_section_options *options)
{
    return acquire(out, name, size_bytes, options, &(weir_os_request){ .may_create = true }, NULL);
}

weir_status weir_section_open(weir_section **out, const char *name, const weir_section_options *options)
{
    return acquire(out, name, 0, options, &(weir_os_request){ .may_open = true }, NULL);
}

weir_status weir_section_open_or_create(weir_section **out, const char *name, uint64_t size_bytes,
                                        const weir_section_options *options, bool *created)
{
    return acquire(out, name, size_bytes, options, &(weir_os_request){ .may_open = true, .may_create = true },
                   created);
}

static bool holds(const weir_section *section, uint32_t slot)
{
    return slot < WEIR_SLOTS_MAX && (section->held[slot / 64] >> slot % 64 & 1) != 0;
}

static bool joined(const weir_section *section, uint32_t slot)
{
    return (section->joined[slot / 64] >> slot % 64 & 1) != 0;
}

weir_status weir_section_close(weir_section *section)
{
    if (section == NULL)
        return WEIR_OK;
    if (section->os.forked) {
        weir_os_release(&section->os);
        free(section);
        return WEIR_OK;
    }
    if (section->views != 0)
        return weir_fail(WEIR_E_BUSY, "%s still has %u views mapped: unmap them first", section->os.name.text,
                         section->views);
    for (uint32_t slot = 0; slot < section->slots; slot++)
        if (holds(section, slot))
            (void)weir_participant_leave(section, slot);
    weir_os_unmap(&section->os, section->header, WEIR_SECTION_HEADER);
    weir_os_release(&section->os);
    free(section);
    return WEIR_OK;
}

static weir_status forked(const weir_section *section)
{
    return weir_fail(WEIR_E_FORKED, "the handle of %s was opened before the fork: open it again in the child",
                     section->os.name.text);
}

bool weir_section_forked(const weir_section *section)
{
    return section->os.forked;
}

uint64_t weir_section_size(weir_section *section)
{
    if (section->os.forked)
        return 0;
    (void)refresh_size(section); /* an impossible new size leaves the old one */
    return section->size;
}

const char *weir_section_name(const weir_section *section)
{
    return section->os.name.text;
}

weir_status weir_section_extend(weir_section *section, uint64_t size_bytes)
{
    if (section->os.forked)
        return forked(section);
    if (section->os.read_only)
        return weir_fail(WEIR_E_PERMISSION, "%s was opened read-only", section->os.name.text);
    if (size_bytes == 0 || size_bytes > WEIR_SECTION_SIZE_MAX)
        return weir_fail(WEIR_E_INVALID, "a section of %llu bytes: give 1 to %llu", (unsigned long long)size_bytes,
                         (unsigned long long)WEIR_SECTION_SIZE_MAX);
    weir_status status = refresh_size(section);
    if (status != WEIR_OK || size_bytes <= section->size)
        return status;
    status = weir_os_grow(&section->os, WEIR_SECTION_HEADER + section->size, WEIR_SECTION_HEADER + size_bytes);
    if (status != WEIR_OK)
        return status;
    /* order SECTION-SIZE rel: the memory before the size that promises it. */
    weir_store_rel(&section->header->size, size_bytes);
    section->size = size_bytes;
    return WEIR_OK;
}

/* ---- views ---- */

weir_status weir_view_map(weir_view *out, weir_section *section, uint64_t offset, uint64_t size_bytes,
                          weir_access access)
{
    if (section->os.forked)
        return forked(section);
    if (access != WEIR_READ_WRITE && access != WEIR_READ_ONLY)
        return weir_fail(WEIR_E_INVALID, "access %d is neither read-write nor read-only", (int)access);
    if (access == WEIR_READ_WRITE && section->os.read_only)
        return weir_fail(WEIR_E_PERMISSION, "a writable view of %s, which was opened read-only",
                         section->os.name.text);
    if (offset % VIEW_GRANULE != 0)
        return weir_fail(WEIR_E_INVALID, "a view's offset is a multiple of 64 KiB, %llu is not",
                         (unsigned long long)offset);
    weir_status status = refresh_size(section);
    if (status != WEIR_OK)
        return status;
    if (offset >= section->size || size_bytes > section->size - offset)
        return weir_fail(WEIR_E_INVALID, "a view of %llu bytes at %llu is not inside the %llu bytes of %s",
                         (unsigned long long)size_bytes, (unsigned long long)offset,
                         (unsigned long long)section->size, section->os.name.text);
    uint64_t size = size_bytes != 0 ? size_bytes : section->size - offset;
    void *base;
    status = weir_os_map(&section->os, WEIR_SECTION_HEADER + offset, size, access == WEIR_READ_WRITE, &base);
    if (status != WEIR_OK)
        return status;
    section->views++;
    *out = (weir_view){ .base = base, .offset = offset, .size = size, .section = section };
    return WEIR_OK;
}

weir_status weir_view_unmap(weir_view *view)
{
    if (view == NULL || view->base == NULL)
        return weir_fail(WEIR_E_INVALID, "the view is not mapped");
    weir_os_unmap(&view->section->os, view->base, view->size);
    view->section->views--;
    *view = (weir_view){ .base = NULL };
    return WEIR_OK;
}

/* ---- participants ---- */

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
    if (section->os.forked)
        return forked(section);
    if (slot >= section->slots)
        return weir_fail(WEIR_E_INVALID, "%s has %u slots, there is no slot %u", section->os.name.text,
                         section->slots, slot);
    weir_participant seen = weir_participant_glance(section, slot);
    /* A lock that is free says "dead" only of the generation whose word stood before and after the look at it: between,
     * its holder may have left, or a successor come. */
    for (int look = 0; look < LOOKS_MAX && seen.presence == WEIR_ALIVE && !holds(section, slot); look++) {
        bool held;
        weir_status status = weir_os_slot_held(&section->os, slot, &held);
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
    if (section->os.forked)
        return forked(section);
    if (section->os.read_only)
        return weir_fail(WEIR_E_PERMISSION, "%s was opened read-only: an observer cannot join it",
                         section->os.name.text);
    if (count == 0 || first >= section->slots || count > section->slots - first)
        return weir_fail(WEIR_E_INVALID, "%s has %u slots, there are no %u from %u on", section->os.name.text,
                         section->slots, count, first);
    for (uint32_t slot = first; slot < first + count; slot++) {
        /* The kernel would give this handle its own lock again. */
        if (holds(section, slot))
            continue;
        weir_status status = weir_os_slot_lock(&section->os, slot);
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
                     section->os.name.text);
}

weir_status weir_participant_join(weir_section *section, const weir_participant *claimed)
{
    uint32_t slot = claimed->slot;
    if (section->os.forked)
        return forked(section);
    if (!holds(section, slot) || joined(section, slot))
        return weir_fail(WEIR_E_STATE, "slot %u of %s is not claimed by this handle, or joined already", slot,
                         section->os.name.text);
    section->joined[slot / 64] |= UINT64_C(1) << slot % 64;
    /* order SLOT rel: what the joiner did before it joined. */
    weir_store_rel(&section->header->slot[slot],
                   word_make(WEIR_SLOT_PRESENT, claimed->deaths, claimed->generation + 1));
    return WEIR_OK;
}

weir_status weir_participant_leave(weir_section *section, uint32_t slot)
{
    if (section->os.forked)
        return forked(section);
    if (!holds(section, slot))
        return weir_fail(WEIR_E_STATE, "this handle does not hold slot %u of %s", slot, section->os.name.text);
    if (joined(section, slot)) {
        weir_participant self = weir_participant_glance(section, slot);
        /* order SLOT rel: all that the holder did, before "left".  Without it a peer can see the end and miss the last
         * record. */
        weir_store_rel(&section->header->slot[slot], word_make(WEIR_SLOT_LEFT, self.deaths, self.generation));
    }
    section->held[slot / 64] &= ~(UINT64_C(1) << slot % 64);
    section->joined[slot / 64] &= ~(UINT64_C(1) << slot % 64);
    weir_os_slot_unlock(&section->os, slot);
    return WEIR_OK;
}
