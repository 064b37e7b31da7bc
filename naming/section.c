/* naming/section.c - making, opening and closing sections of every kind. */
#include <weir/base/fail.h>
#include <weir/naming/file.h>
#include <weir/naming/participant.h>
#include <weir/naming/section_private.h>
#include <weir/naming/unnamed.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LABEL_MAX 200

static const weir_section_options defaults;

/* ---- the header ---- */

struct creation {
    const weir_name *name; /* NULL: none */
    const weir_section_options *options;
    uint64_t size, content_off;
    uint32_t flags; /* the layout's */
};

static weir_status fill(void *base, uint64_t bytes, void *arg)
{
    const struct creation *c = arg;
    weir_section_layout *header = base;
    weir_status status = weir_os_random(&header->id); /* another one where it is made again */
    if (status != WEIR_OK)
        return status;
    header->version = WEIR_SECTION_VERSION;
    header->content = c->options->content;
    header->slots = c->options->slots;
    header->flags = c->flags;
    if (c->name != NULL)
        memcpy(header->name, c->name->text, sizeof header->name);
    weir_store_rlx(&header->size, c->size); /* relaxed: nobody sees the section before its magic or its name */
    uint64_t committed = bytes - c->content_off;
    for (uint64_t g = 0; (c->flags & WEIR_SECTION_RESERVED) != 0 && g < weir_section_granules(committed); g++)
        /* relaxed: as the size's */
        (void)weir_fetch_or_rlx(weir_word_at(base, WEIR_SECTION_HEADER + g / 64 * 8), UINT64_C(1) << g % 64);
    if (c->options->init == NULL)
        return WEIR_OK;
    return c->options->init((unsigned char *)base + c->content_off, committed, c->options->init_arg);
}

weir_status weir_section_refresh(weir_section *section)
{
    if (section->header == NULL)
        return WEIR_OK;
    /* order SECTION-SIZE acq: the size before the memory it promises. */
    uint64_t size = weir_load_acq(&section->header->size);
    if (size == section->size && size != 0) /* 0: nothing was read before, and this was changed meanwhile */
        return WEIR_OK;
    uint64_t bytes = 0;
    weir_status status = weir_os_bytes(&section->os, &bytes);
    if (status != WEIR_OK)
        return status;
    if (section->reserved || size == 0 || size > WEIR_SECTION_SIZE_MAX || bytes < section->content_off ||
        size > bytes - section->content_off)
        return weir_fail(WEIR_E_CORRUPT, "%s states %llu bytes of content, its file has %llu with its header",
                         section->os.title, (unsigned long long)size, (unsigned long long)bytes);
    section->size = size;
    return WEIR_OK;
}

/* What no view has taken. */
static void drop_ahead(weir_section *section)
{
    if (section->ahead != NULL)
        weir_os_unmap(&section->os, section->ahead, section->ahead_bytes);
    section->ahead = NULL;
}

/* Maps the header of what was opened, and checks what its opener must agree with. */
static weir_status attach(weir_section *section, const weir_section_options *options)
{
    void *base;
    weir_access access = options->access == WEIR_READ_WRITE ? WEIR_READ_WRITE : WEIR_READ_ONLY;
    uint64_t mapped = WEIR_SECTION_HEADER;
    weir_status status = WEIR_OK;
    bool ahead = (options->flags & WEIR_MAP_AHEAD) != 0 && access == WEIR_READ_WRITE;
    if (ahead)
        status = weir_os_bytes(&section->os, &mapped);
    if (status == WEIR_OK && mapped < WEIR_SECTION_HEADER)
        status = weir_fail(WEIR_E_CORRUPT, "%s was cut to %llu bytes", section->os.title, (unsigned long long)mapped);
    if (status == WEIR_OK)
        status = weir_os_map(&section->os, 0, mapped, access, true, &base);
    if (status != WEIR_OK)
        return status;
    section->header = base;
    section->ahead = ahead ? (unsigned char *)base + WEIR_SECTION_HEADER : NULL;
    section->ahead_bytes = mapped - WEIR_SECTION_HEADER;
    section->content_off = WEIR_SECTION_HEADER;
    uint32_t slots = section->header->slots, flags = section->header->flags;
    uint32_t content = section->header->content;
    uint64_t id = section->header->id;
    uint64_t size = weir_load_rlx(&section->header->size); /* relaxed: refreshed, with its order, below */
    if (weir_load_rlx(&section->header->magic) != WEIR_SECTION_MAGIC || slots > WEIR_SLOTS_MAX ||
        (flags & ~WEIR_SECTION_FLAGS) != 0 || size == 0 || size > WEIR_SECTION_SIZE_MAX ||
        id == 0)
        return weir_fail(WEIR_E_CORRUPT, "%s changed while it was opened", section->os.title);
    if (content != options->content)
        return weir_fail(WEIR_E_MISMATCH, "%s holds content %#x, %#x was asked for", section->os.title, content,
                         options->content);
    section->slots = slots;
    section->id = id;
    if ((flags & WEIR_SECTION_RESERVED) == 0) {
        section->size = section->ahead_bytes >= size ? size : 0; /* the file was that long a moment ago */
        return weir_section_refresh(section);
    }
    drop_ahead(section);

    uint64_t content_off = weir_section_content_off(flags, size), bytes = 0;
    status = weir_os_bytes(&section->os, &bytes);
    if (status == WEIR_OK && (bytes < content_off || size > bytes - content_off))
        status = weir_fail(WEIR_E_CORRUPT, "%s changed while it was opened", section->os.title);
    if (status == WEIR_OK)
        status = weir_os_map(&section->os, 0, content_off, access, true, &base);
    if (status != WEIR_OK)
        return status;
    weir_os_unmap(&section->os, section->header, WEIR_SECTION_HEADER);
    section->header = base;
    section->content_off = content_off;
    section->size = size;
    section->reserved = true;
    return WEIR_OK;
}

/* ---- options ---- */

#define CREATE_FLAGS (WEIR_RESERVE | WEIR_SET_GROUP | WEIR_DUMP)
#define SEAL_FLAGS (WEIR_SEAL_SHRINK | WEIR_SEAL_GROW | WEIR_SEAL_WRITE | WEIR_SEAL_SEAL)
#define MEMORY_FLAGS                                                                                                  \
    (WEIR_LARGE_PAGES | WEIR_PREFAULT | WEIR_LOCKED | WEIR_ON_NODE | WEIR_NOT_DUMPED | WEIR_MAP_NAME)

static weir_status check_options(const weir_section_options *o, uint32_t allowed_flags)
{
    if (o->slots > WEIR_SLOTS_MAX || o->mode > 0777 || o->access < WEIR_READ_WRITE || o->access > WEIR_COPY_ON_WRITE)
        return weir_fail(WEIR_E_INVALID, "options: slots %u (at most %u), mode %#o (at most 0777), access %d", o->slots,
                         WEIR_SLOTS_MAX, o->mode, (int)o->access);
    if ((o->flags & ~allowed_flags) != 0)
        return weir_fail(WEIR_E_INVALID, "options: flags %#x are not for this call (it takes %#x)",
                         o->flags & ~allowed_flags, allowed_flags);
    if (((o->want | o->demand) & ~MEMORY_FLAGS) != 0)
        return weir_fail(WEIR_E_INVALID, "options: want %#x, demand %#x: the properties of memory are %#x", o->want,
                         o->demand, MEMORY_FLAGS);
    if ((o->flags & WEIR_DUMP) != 0 && (o->demand & WEIR_NOT_DUMPED) != 0)
        return weir_fail(WEIR_E_INVALID, "options: WEIR_DUMP and a demand to be kept out of core dumps");
    if (((o->want | o->demand) & WEIR_ON_NODE) != 0 && o->node > 1023)
        return weir_fail(WEIR_E_INVALID, "options: node %u (at most 1023)", o->node);
    if (o->label != NULL && strnlen(o->label, LABEL_MAX + 1) > LABEL_MAX)
        return weir_fail(WEIR_E_INVALID, "options: the label is longer than %d bytes", LABEL_MAX);
    return WEIR_OK;
}

static weir_status check_creation(uint64_t size, const weir_section_options *o)
{
    if (size == 0 || size > WEIR_SECTION_SIZE_MAX)
        return weir_fail(WEIR_E_INVALID, "a section of %llu bytes: give 1 to %llu", (unsigned long long)size,
                         (unsigned long long)WEIR_SECTION_SIZE_MAX);
    if (o->access != WEIR_READ_WRITE)
        return weir_fail(WEIR_E_INVALID, "a section cannot be created read-only: open it after its creator did");
    if (o->mode != 0 && (o->mode & 0600) != 0600)
        return weir_fail(WEIR_E_INVALID, "options: mode %#o keeps its own owner out: it needs 0600 at least", o->mode);
    if ((o->flags & WEIR_RESERVE) != 0 && weir_os_page() > WEIR_SECTION_HEADER)
        return weir_fail(WEIR_E_UNSUPPORTED, "reserved room needs pages of 4096 bytes");
    if (o->init_bytes > size || o->init_bytes > WEIR_INIT_BYTES_MAX || (o->init_bytes != 0 && (o->flags & WEIR_RESERVE) != 0))
        return weir_fail(WEIR_E_INVALID, "options: init_bytes %llu, of %llu bytes: at most %u, and not with WEIR_RESERVE",
                         (unsigned long long)o->init_bytes, (unsigned long long)size, WEIR_INIT_BYTES_MAX);
    if (o->commit_bytes > size || (o->commit_bytes != 0 && (o->flags & WEIR_RESERVE) == 0))
        return weir_fail(WEIR_E_INVALID, "options: commit_bytes %llu, of %llu bytes with WEIR_RESERVE",
                         (unsigned long long)o->commit_bytes, (unsigned long long)size);
    return WEIR_OK;
}

/* ---- create, open, close ---- */

static weir_section *new_section(void)
{
    int saved = errno;
    weir_section *section = calloc(1, sizeof *section);
    errno = saved;
    if (section == NULL)
        (void)weir_fail(WEIR_E_NO_MEMORY, "no memory for a section's handle");
    return section;
}

/* What a new section's file will be. */
static void plan(weir_os_request *request, struct creation *creation, uint64_t size, const weir_section_options *o)
{
    creation->size = size;
    creation->content_off = weir_section_content_off(creation->flags, size);
    uint64_t committed = size;
    if ((o->flags & WEIR_RESERVE) != 0) {
        committed = weir_section_granules(o->commit_bytes) * WEIR_COMMIT_GRANULE;
        if (committed > size)
            committed = size;
    }
    request->bytes = creation->content_off + size;
    request->allocated = creation->content_off + committed;
    request->filled = o->init_bytes != 0 ? creation->content_off + o->init_bytes : 0;
    request->fill = fill;
    request->arg = creation;
}

/* Ends an opening of any kind: the header, or all undone. */
static weir_status finish(weir_section **out, weir_section *section, const weir_section_options *options)
{
    weir_status status = attach(section, options);
    if (status == WEIR_OK) {
        *out = section;
        return status;
    }
    drop_ahead(section);
    if (section->header != NULL)
        weir_os_unmap(&section->os, section->header, section->content_off);
    weir_os_release(&section->os);
    free(section);
    return status;
}

static weir_status acquire(weir_section **out, const char *text, uint64_t size, const weir_section_options *options,
                           weir_os_request *request, bool *created)
{
    if (options == NULL)
        options = &defaults;
    if (out == NULL)
        return weir_fail(WEIR_E_INVALID, "no place to return the section");
    uint32_t flags = WEIR_DUMP | WEIR_MAP_AHEAD | (request->may_open ? WEIR_EXPECT_OWNER : 0) |
                     (request->may_create ? CREATE_FLAGS | WEIR_PERSISTENT : 0);
    weir_status status = check_options(options, flags);
    if (status == WEIR_OK && request->may_create)
        status = check_creation(size, options);
    if (status == WEIR_OK && request->may_create && (options->flags & WEIR_EXPECT_OWNER) != 0 &&
        options->owner != weir_os_user())
        status = weir_fail(WEIR_E_INVALID, "options: a section of uid %u cannot be made by uid %u: open it",
                           options->owner, weir_os_user());
    weir_name name;
    if (status == WEIR_OK)
        status = weir_name_parse(&name, text);
    if (status != WEIR_OK)
        return status;
    weir_section *section = new_section();
    if (section == NULL)
        return WEIR_E_NO_MEMORY;

    struct creation creation = { .name = &name, .options = options,
                                 .flags = options->flags & (WEIR_PERSISTENT | WEIR_RESERVE) };
    request->options = options;
    plan(request, &creation, size, options);
    bool was_created = false;
    status = weir_os_acquire(&section->os, &name, request, &was_created);
    if (status != WEIR_OK) {
        free(section);
        return status;
    }
    section->os.unfinished = was_created;
    status = finish(out, section, options);
    if (status == WEIR_OK)
        section->os.unfinished = false;
    if (status == WEIR_OK && created != NULL)
        *created = was_created;
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

weir_status weir_section_create_unnamed(weir_section **out, uint64_t size_bytes, const weir_section_options *options)
{
    if (options == NULL)
        options = &defaults;
    if (out == NULL)
        return weir_fail(WEIR_E_INVALID, "no place to return the section");
    weir_status status = check_options(options, CREATE_FLAGS | SEAL_FLAGS);
    if (status == WEIR_OK)
        status = check_creation(size_bytes, options);
    if (status != WEIR_OK)
        return status;
    weir_section *section = new_section();
    if (section == NULL)
        return WEIR_E_NO_MEMORY;
    weir_os_request request = { .may_create = true, .options = options };
    struct creation creation = { .options = options,
                                 .flags = (options->flags & WEIR_RESERVE) | WEIR_SECTION_NAMELESS };
    plan(&request, &creation, size_bytes, options);
    status = weir_os_create_unnamed(&section->os, &request);
    if (status != WEIR_OK) {
        free(section);
        return status;
    }
    weir_section *whole;
    status = finish(&whole, section, options);
    uint32_t seals = options->flags & SEAL_FLAGS;
    if (status == WEIR_OK && seals != 0) { /* the header's own mapping is writable, and comes first */
        status = weir_os_seal(&whole->os, seals);
        if (status != WEIR_OK)
            (void)weir_section_close(whole);
    }
    if (status == WEIR_OK)
        *out = whole;
    return status;
}

weir_status weir_section_attach(weir_section **out, weir_handle handle, const weir_section_options *options)
{
    if (options == NULL)
        options = &defaults;
    if (out == NULL)
        return weir_fail(WEIR_E_INVALID, "no place to return the section");
    weir_status status = check_options(options, WEIR_EXPECT_OWNER | WEIR_DUMP);
    if (status != WEIR_OK)
        return status;
    weir_section *section = new_section();
    if (section == NULL)
        return WEIR_E_NO_MEMORY;
    weir_os_request request = { .may_open = true, .options = options };
    status = weir_os_attach(&section->os, handle, &request);
    if (status != WEIR_OK) {
        free(section);
        return status;
    }
    return finish(out, section, options);
}

weir_status weir_section_open_file(weir_section **out, const char *path, uint64_t size_bytes,
                                   const weir_section_options *options)
{
    if (options == NULL)
        options = &defaults;
    if (out == NULL || path == NULL || *path == 0)
        return weir_fail(WEIR_E_INVALID, "no place to return the section, or no path");
    weir_status status = check_options(options, WEIR_FILE_CREATE | WEIR_FILE_NEW | WEIR_SET_GROUP | WEIR_DUMP |
                                                    WEIR_EXPECT_OWNER);
    if (status != WEIR_OK)
        return status;
    if (options->content != 0 || options->slots != 0 || options->init != NULL || options->commit_bytes != 0)
        return weir_fail(WEIR_E_INVALID, "options: content, slots, init and commit_bytes are not for a file: all that "
                                         "is in it is its own");
    if (size_bytes > WEIR_SECTION_SIZE_MAX)
        return weir_fail(WEIR_E_INVALID, "a section of %llu bytes: give at most %llu", (unsigned long long)size_bytes,
                         (unsigned long long)WEIR_SECTION_SIZE_MAX);
    weir_section *section = new_section();
    if (section == NULL)
        return WEIR_E_NO_MEMORY;
    section->size = size_bytes;
    status = weir_os_open_file(&section->os, path, &section->size, options);
    if (status != WEIR_OK) {
        free(section);
        return status;
    }
    *out = section;
    return WEIR_OK;
}

weir_status weir_section_close(weir_section *section)
{
    if (section == NULL)
        return WEIR_OK;
    if (section->os.forked) {
        while (section->views != NULL) {
            struct weir_view_node *next = section->views->next;
            free(section->views);
            section->views = next;
        }
    } else if (section->views != NULL) {
        unsigned views = 0;
        for (const struct weir_view_node *node = section->views; node != NULL; node = node->next)
            views++;
        return weir_fail(WEIR_E_BUSY, "%s still has %u views mapped: unmap them first", section->os.title, views);
    } else if (section->header != NULL) {
        for (uint32_t slot = 0; slot < section->slots; slot++)
            if ((section->held[slot / 64] >> slot % 64 & 1) != 0)
                (void)weir_participant_leave(section, slot);
        drop_ahead(section);
        weir_os_unmap(&section->os, section->header, section->content_off);
    }
    weir_os_release(&section->os);
    free(section);
    return WEIR_OK;
}

weir_status weir_section_remove(const char *text)
{
    weir_name name;
    weir_status status = weir_name_parse(&name, text);
    return status == WEIR_OK ? weir_os_remove(&name) : status;
}

/* ---- of a handle ---- */

weir_status weir_section_check(const weir_section *section)
{
    if (section->os.forked)
        return weir_fail(WEIR_E_FORKED, "the handle of %s was opened before the fork: open it again in the child",
                         section->os.title);
    return WEIR_OK;
}

weir_status weir_section_check_writer(const weir_section *section)
{
    weir_status status = weir_section_check(section);
    if (status == WEIR_OK && section->os.access != WEIR_READ_WRITE)
        return weir_fail(WEIR_E_PERMISSION, "%s was opened %s", section->os.title,
                         section->os.access == WEIR_READ_ONLY ? "read-only" : "copy-on-write");
    return status;
}

bool weir_section_forked(const weir_section *section)
{
    return section->os.forked;
}

uint64_t weir_section_size(weir_section *section)
{
    if (section->os.forked)
        return 0;
    (void)weir_section_refresh(section); /* an impossible new size leaves the old one */
    return section->size;
}

bool weir_section_is_reserved(const weir_section *section) { return section->reserved; }

const char *weir_section_name(const weir_section *section)
{
    return section->os.title;
}

weir_status weir_section_range(weir_section *section, uint64_t offset, uint64_t *size)
{
    weir_status status = weir_section_refresh(section);
    if (status != WEIR_OK)
        return status;
    if (offset >= section->size || *size > section->size - offset)
        return weir_fail(WEIR_E_RANGE, "%llu bytes at %llu are not inside the %llu bytes of %s",
                         (unsigned long long)*size, (unsigned long long)offset, (unsigned long long)section->size,
                         section->os.title);
    if (*size == 0)
        *size = section->size - offset;
    return WEIR_OK;
}

weir_status weir_section_check_file(weir_section *section, uint64_t end)
{
    uint64_t bytes = 0;
    weir_status status = weir_os_bytes(&section->os, &bytes);
    if (status == WEIR_OK && (bytes < section->content_off || end > bytes - section->content_off))
        return weir_fail(WEIR_E_CORRUPT, "the file of %s was cut to %llu bytes", section->os.title,
                         (unsigned long long)bytes);
    return status;
}

weir_status weir_section_extend(weir_section *section, uint64_t size_bytes)
{
    weir_status status = weir_section_check_writer(section);
    if (status != WEIR_OK)
        return status;
    if (size_bytes == 0 || size_bytes > WEIR_SECTION_SIZE_MAX)
        return weir_fail(WEIR_E_INVALID, "a section of %llu bytes: give 1 to %llu", (unsigned long long)size_bytes,
                         (unsigned long long)WEIR_SECTION_SIZE_MAX);
    if (section->reserved)
        return weir_fail(WEIR_E_STATE, "the room of %s was reserved when it was made: commit it", section->os.title);
    bool file = section->header == NULL;
    if (!file) /* one extender at a time, or it would cut off what another has promised */
        status = weir_os_commit_lock(&section->os, 0, 1);
    if (status != WEIR_OK)
        return status;
    status = weir_section_refresh(section);
    if (status == WEIR_OK) /* or what was cut off would be a hole in what is promised */
        status = weir_section_check_file(section, section->size);
    if (status == WEIR_OK && size_bytes > section->size) {
        status = weir_os_grow(&section->os, section->content_off + section->size, section->content_off + size_bytes);
        if (status == WEIR_OK && !file)
            /* order SECTION-SIZE rel: the memory before the size that promises it. */
            weir_store_rel(&section->header->size, size_bytes);
        if (status == WEIR_OK)
            section->size = size_bytes;
    }
    if (!file)
        weir_os_commit_unlock(&section->os, 0, 1);
    return status;
}

weir_status weir_section_seal(weir_section *section, uint32_t seals)
{
    weir_status status = weir_section_check(section);
    if (status != WEIR_OK)
        return status;
    if (seals == 0 || (seals & ~SEAL_FLAGS) != 0)
        return weir_fail(WEIR_E_INVALID, "seals %#x: they are %#x", seals, SEAL_FLAGS);
    if (section->os.kind != WEIR_SECTION_UNNAMED)
        return weir_fail(WEIR_E_STATE, "%s cannot be sealed: only unnamed sections can", section->os.title);
    status = weir_section_check_writer(section);
    return status == WEIR_OK ? weir_os_seal(&section->os, seals) : status;
}

uint32_t weir_section_seals(weir_section *section)
{
    return section->os.kind == WEIR_SECTION_UNNAMED && !section->os.forked ? weir_os_seals(&section->os) : 0;
}

weir_status weir_section_export(weir_section *section, weir_access access, bool inherit, weir_handle *out)
{
    weir_status status = weir_section_check(section);
    if (status != WEIR_OK)
        return status;
    if (out == NULL || (access != WEIR_READ_WRITE && access != WEIR_READ_ONLY))
        return weir_fail(WEIR_E_INVALID, "access %d is neither read-write nor read-only, or there is no place for the "
                                         "handle", (int)access);
    if (section->os.kind != WEIR_SECTION_UNNAMED)
        return weir_fail(WEIR_E_STATE, "%s is not handed over: open it by its name or path", section->os.title);
    if (access == WEIR_READ_WRITE && section->os.access != WEIR_READ_WRITE)
        return weir_fail(WEIR_E_ACCESS, "a writable handle of %s, which this process may only read",
                         section->os.title);
    return weir_os_export(&section->os, access, inherit, out);
}

weir_status weir_section_flush(weir_section *section)
{
    weir_status status = weir_section_check(section);
    if (status != WEIR_OK || section->os.kind != WEIR_SECTION_FILE)
        return status;
    return weir_os_flush(&section->os);
}
