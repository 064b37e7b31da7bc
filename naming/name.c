#include <weir/base/fail.h>
#include <weir/naming/name.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char *const prefixes[] = { [WEIR_LOCAL] = "Local", [WEIR_GLOBAL] = "Global" };

/* Not isalnum: the grammar does not change with the locale. */
static bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
}

/* The word behind a prefix, or NULL where text does not begin with that prefix and a slash. */
static const char *after_prefix(const char *text, const char *prefix)
{
    size_t len = strlen(prefix);
    if (strncmp(text, prefix, len) != 0 || (text[len] != '/' && text[len] != '\\'))
        return NULL;
    return text + len + 1;
}

weir_status weir_name_parse(weir_name *out, const char *text)
{
    if (text == NULL)
        return weir_fail(WEIR_E_NAME, "the name is NULL");
    weir_scope scope = WEIR_LOCAL;
    const char *word = text;
    for (int i = WEIR_LOCAL; i <= WEIR_GLOBAL; i++) {
        const char *rest = after_prefix(text, prefixes[i]);
        if (rest != NULL) {
            scope = (weir_scope)i;
            word = rest;
        }
    }
    size_t len = strnlen(word, WEIR_NAME_MAX + 1);
    if (len == 0)
        return weir_fail(WEIR_E_NAME, "the name \"%.40s\" is empty behind its prefix: give 1 to %d bytes", text,
                         WEIR_NAME_MAX);
    if (len > WEIR_NAME_MAX)
        return weir_fail(WEIR_E_NAME, "the name \"%.40s...\" is longer than %d bytes", text, WEIR_NAME_MAX);
    if (word[0] == '.')
        return weir_fail(WEIR_E_NAME, "the name \"%s\" begins with a dot", text);
    for (size_t i = 0; i < len; i++)
        if (!is_name_byte(word[i]))
            return weir_fail(WEIR_E_NAME,
                             "byte 0x%02x in the name \"%s\": allowed are A-Z a-z 0-9 . _ - behind Global/ or Local/",
                             (unsigned)(unsigned char)word[i], text);

    weir_name name = { .scope = scope };
    name.word_off = (uint32_t)strlen(prefixes[scope]) + 1;
    (void)snprintf(name.text, sizeof name.text, "%s/%s", prefixes[scope], word);
    *out = name;
    return WEIR_OK;
}
