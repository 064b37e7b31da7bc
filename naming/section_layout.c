#include <weir/base/fail.h>
#include <weir/naming/section_layout.h>

#include <string.h>

/* How much of the file the header promises. */
static bool whole(const weir_section_facts *facts, uint64_t file_bytes)
{
    if (facts->size == 0 || facts->size > WEIR_SECTION_SIZE_MAX)
        return false;
    uint64_t content_off = weir_section_content_off(facts->flags, facts->size);
    return content_off <= file_bytes && facts->size <= file_bytes - content_off;
}

weir_status weir_section_inspect(const void *copy, uint64_t len, uint64_t file_bytes, const weir_name *name,
                                 const char *title, weir_section_facts *out)
{
    const weir_section_layout *header = copy;
    uint64_t magic = len < sizeof header->magic ? 0 : weir_load_rlx(&header->magic);
    if (magic == WEIR_SECTION_MAGIC_MAKING) {
        *out = (weir_section_facts){ .making = true };
        return WEIR_OK;
    }
    if (magic != WEIR_SECTION_MAGIC)
        return weir_fail(WEIR_E_NOT_WEIR, "%s: a file that is no weir section stands there; it was left alone", title);
    if (len < offsetof(weir_section_layout, content))
        return weir_fail(WEIR_E_CORRUPT, "%s is cut off after %llu bytes", title, (unsigned long long)file_bytes);
    if (header->version != WEIR_SECTION_VERSION)
        return weir_fail(WEIR_E_VERSION, "%s has layout version %u, this library knows %u", title, header->version,
                         WEIR_SECTION_VERSION);
    if (len < WEIR_SECTION_HEADER)
        return weir_fail(WEIR_E_CORRUPT, "%s is cut off after %llu bytes", title, (unsigned long long)file_bytes);
    weir_section_facts facts = {
        .version = header->version,
        .content = header->content,
        .slots = header->slots,
        .flags = header->flags,
        .size = weir_load_rlx(&header->size),
    };
    if (facts.slots > WEIR_SLOTS_MAX || (facts.flags & ~WEIR_SECTION_FLAGS) != 0)
        return weir_fail(WEIR_E_CORRUPT, "%s has an impossible header (slots %u, flags %#x)", title, facts.slots,
                         facts.flags);
    if (!whole(&facts, file_bytes))
        return weir_fail(WEIR_E_CORRUPT, "%s states %llu bytes of content, its file has %llu with its header", title,
                         (unsigned long long)facts.size, (unsigned long long)file_bytes);
    const char *expected = name != NULL ? name->text : "";
    if (memcmp(header->name, expected, strlen(expected) + 1) != 0)
        return weir_fail(WEIR_E_NOT_WEIR, "%s: what stands there is a section of another name, \"%.*s\"", title,
                         (int)strnlen((const char *)header->name, sizeof header->name), header->name);
    if (((facts.flags & WEIR_SECTION_NAMELESS) != 0) != (name == NULL))
        return weir_fail(WEIR_E_CORRUPT, "%s has an impossible header (flags %#x)", title, facts.flags);
    *out = facts;
    return WEIR_OK;
}
