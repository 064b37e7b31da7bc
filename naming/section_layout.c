#include <weir/base/fail.h>
#include <weir/naming/section_layout.h>

#include <string.h>

/* Is the header possible, and the file as long as it promises? */
static weir_status check_facts(const weir_section_facts *facts, uint64_t file_bytes, bool nameless, const char *title)
{
    if (facts->slots > WEIR_SLOTS_MAX || (facts->flags & ~WEIR_SECTION_FLAGS) != 0 ||
        ((facts->flags & WEIR_SECTION_NAMELESS) != 0) != nameless ||
        (nameless && (facts->flags & WEIR_SECTION_PERSISTENT) != 0))
        return weir_fail(WEIR_E_CORRUPT, "%s has an impossible header (slots %u, flags %#x)", title, facts->slots,
                         facts->flags);
    if (facts->id == 0)
        return weir_fail(WEIR_E_CORRUPT, "%s has no id in its header", title);
    bool possible = facts->size != 0 && facts->size <= WEIR_SECTION_SIZE_MAX;
    uint64_t content_off = possible ? weir_section_content_off(facts->flags, facts->size) : 0;
    if (!possible || content_off > file_bytes || facts->size > file_bytes - content_off)
        return weir_fail(WEIR_E_CORRUPT, "%s states %llu bytes of content, its file has %llu with its header", title,
                         (unsigned long long)facts->size, (unsigned long long)file_bytes);
    return WEIR_OK;
}

weir_status weir_section_inspect(const void *copy, uint64_t len, uint64_t file_bytes, const weir_name *name,
                                 const char *title, weir_section_facts *out)
{
    const weir_section_layout *header = copy;
    uint64_t magic = len < sizeof header->magic ? 0 : weir_load_rlx(&header->magic);
    bool making = magic == WEIR_SECTION_MAGIC_MAKING; /* then nothing but the name is sure */
    if (magic != WEIR_SECTION_MAGIC && !making)
        return weir_fail(WEIR_E_NOT_WEIR, "%s: a file that is no weir section stands there; it was left alone", title);
    if (!making && len >= offsetof(weir_section_layout, content) && header->version != WEIR_SECTION_VERSION)
        return weir_fail(WEIR_E_VERSION, "%s has layout version %u, this library knows %u", title, header->version,
                         WEIR_SECTION_VERSION);
    if (len < WEIR_SECTION_HEADER)
        return weir_fail(WEIR_E_CORRUPT, "%s is cut off after %llu bytes", title, (unsigned long long)file_bytes);
    const char *expected = name != NULL ? name->text : "";
    if (memcmp(header->name, expected, strlen(expected) + 1) != 0)
        return weir_fail(WEIR_E_NOT_WEIR, "%s: what stands there is a section of another name, \"%.*s\"", title,
                         (int)strnlen((const char *)header->name, sizeof header->name), header->name);
    weir_section_facts facts = { .making = making };
    if (!making) {
        facts.version = header->version;
        facts.content = header->content;
        facts.slots = header->slots;
        facts.flags = header->flags;
        facts.size = weir_load_rlx(&header->size);
        facts.id = header->id;
        weir_status status = check_facts(&facts, file_bytes, name == NULL, title);
        if (status != WEIR_OK)
            return status;
    }
    *out = facts;
    return WEIR_OK;
}
