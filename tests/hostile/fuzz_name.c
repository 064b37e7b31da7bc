/* Any text through the parser of names, against a second one: the grammar of naming/README.md, written down once more in
 * another way. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir/weir.h>

#define NAME_MODEL_MAX 200u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The model: takes the prefix off by what stands at the first slash or backslash, then looks the bytes up in a list. */
static bool is_a_name(const char *text, bool *global, const char **word)
{
    size_t first = strcspn(text, "/\\");
    *global = false;
    *word = text;
    if (text[first] != 0) { /* in a word neither may stand: it must end a prefix */
        if (first == 6 && memcmp(text, "Global", 6) == 0)
            *global = true;
        else if (first != 5 || memcmp(text, "Local", 5) != 0)
            return false;
        *word = text + first + 1;
    }
    size_t len = strspn(*word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    return (*word)[len] == 0 && len >= 1 && len <= NAME_MODEL_MAX && (*word)[0] != '.';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1); /* to the byte, for the sanitizer */
    CHECK(text != NULL);
    if (size != 0)
        memcpy(text, data, size);
    text[size] = 0;
    weir_name out, untouched;
    memset(&out, 0xa5, sizeof out);
    untouched = out;
    bool global;
    const char *word;
    bool expected = is_a_name(text, &global, &word);
    weir_status status = weir_name_parse(&out, text);
    CHECK(status == (expected ? WEIR_OK : WEIR_E_NAME));
    if (expected) {
        char canonical[512];
        int len = snprintf(canonical, sizeof canonical, "%s/%s", global ? "Global" : "Local", word);
        CHECK(out.scope == (global ? WEIR_GLOBAL : WEIR_LOCAL) && strcmp(out.text, canonical) == 0);
        CHECK(strcmp(out.text + out.word_off, word) == 0);
        for (size_t i = (size_t)len; i < sizeof out.text; i++)
            CHECK(out.text[i] == 0);
        weir_name again; /* a canonical name is its own */
        CHECK(weir_name_parse(&again, out.text) == WEIR_OK && strcmp(again.text, out.text) == 0);
    } else {
        CHECK(memcmp(&out, &untouched, sizeof out) == 0 && weir_error_detail()[0] != 0);
    }
    free(text);
    return 0;
}
