/* bench/options.c - what the command line says. */
#include "options.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum value { NONE, TEXT, NUMBERS, WORDS };

static const struct option {
    const char *name;
    enum value value;
    size_t at;
    uint64_t least, most; /* of numbers */
    const char *words;    /* those that there are, a blank between; NULL: any */
} options_known[] = {
    { "quick", NONE, offsetof(struct options, quick), 0, 0, NULL },
    { "help", NONE, offsetof(struct options, help), 0, 0, NULL },
    { "json", TEXT, offsetof(struct options, json), 0, 0, NULL },
    { "out", TEXT, offsetof(struct options, out), 0, 0, NULL },
    { "bytes", NUMBERS, offsetof(struct options, bytes), 8, UINT64_C(1) << 30, NULL },
    { "producers", NUMBERS, offsetof(struct options, producers), 1, 32, NULL },
    { "consumers", NUMBERS, offsetof(struct options, consumers), 1, 32, NULL },
    { "capacity", NUMBERS, offsetof(struct options, capacity), 4096, UINT64_C(1) << 32, NULL },
    { "batch", NUMBERS, offsetof(struct options, batch), 1, 4096, NULL },
    { "channels", NUMBERS, offsetof(struct options, channels), 1, 10000, NULL },
    { "rate", NUMBERS, offsetof(struct options, rate), 1, 100000000, NULL },
    { "rounds", NUMBERS, offsetof(struct options, rounds), 3, 31, NULL },
    { "run-ms", NUMBERS, offsetof(struct options, run_ms), 1, 10000, NULL },
    { "target", NUMBERS, offsetof(struct options, target), 1, 9, NULL },
    { "kind", WORDS, offsetof(struct options, kind), 0, 0, "spsc mpsc mpsc-ordered mpmc gated broadcast latest mailbox" },
    { "wait", WORDS, offsetof(struct options, wait), 0, 0, "spin sleep" },
    { "only", WORDS, offsetof(struct options, only), 0, 0, NULL },
};

/* Is the word among the words of a list with blanks between? */
static bool is_among(const char *list, const char *word, size_t length)
{
    for (const char *at = list; (at = strstr(at, word)) != NULL; at++) {
        bool begins = at == list || at[-1] == ' ';
        if (begins && (at[length] == ' ' || at[length] == 0))
            return true;
    }
    return false;
}

static bool complain(const struct option *option, const char *what, const char *text)
{
    fprintf(stderr, "weir-bench: --%s: %s: %s\n", option->name, what, text);
    return false;
}

/* "64", "4K", "1M", "2G". */
static bool number(const char *text, const char **end, uint64_t *value)
{
    char *rest;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    uint64_t base = strtoull(text, &rest, 10);
    unsigned shift = *rest == 'K' ? 10 : *rest == 'M' ? 20 : *rest == 'G' ? 30 : 0;
    *end = rest + (shift != 0);
    *value = base << shift;
    return errno == 0 && *value >> shift == base;
}

static bool read_numbers(const struct option *option, struct options_numbers *numbers, const char *text)
{
    for (const char *at = text;; at++) {
        uint64_t value;
        if (!number(at, &at, &value) || (*at != 0 && *at != ','))
            return complain(option, "numbers, K, M and G allowed, a comma between", text);
        if (value < option->least || value > option->most) {
            char limits[80];
            (void)snprintf(limits, sizeof limits, "from %llu to %llu", (unsigned long long)option->least,
                           (unsigned long long)option->most);
            return complain(option, limits, text);
        }
        if (strcmp(option->name, "bytes") == 0 && value % 8 != 0)
            return complain(option, "multiples of 8", text);
        if (numbers->count == OPTIONS_LIST_MAX)
            return complain(option, "too many", text);
        numbers->of[numbers->count++] = value;
        if (*at == 0)
            return true;
    }
}

static bool read_words(const struct option *option, struct options_words *words, const char *text)
{
    if (strlen(text) >= sizeof words->text)
        return complain(option, "too long", text);
    strcpy(words->text, text);
    char *rest = NULL;
    for (char *word = strtok_r(words->text, ",", &rest); word != NULL; word = strtok_r(NULL, ",", &rest)) {
        if (option->words != NULL && !is_among(option->words, word, strlen(word)))
            return complain(option, "none of its words", word);
        if (words->count == OPTIONS_LIST_MAX)
            return complain(option, "too many", text);
        words->of[words->count++] = word;
    }
    return words->count != 0 || complain(option, "nothing in it", text);
}

static bool read_value(const struct option *option, struct options *options, const char *text)
{
    void *field = (char *)options + option->at;
    if (option->value == TEXT) {
        *(const char **)field = text;
        return *text != 0 || complain(option, "nothing in it", text);
    }
    return option->value == NUMBERS ? read_numbers(option, field, text) : read_words(option, field, text);
}

static const struct option *find(const char *argument, const char *allowed)
{
    if (strncmp(argument, "--", 2) != 0 || !is_among(allowed, argument + 2, strlen(argument + 2)))
        return NULL;
    for (size_t i = 0; i < sizeof options_known / sizeof options_known[0]; i++)
        if (strcmp(options_known[i].name, argument + 2) == 0)
            return &options_known[i];
    return NULL;
}

bool options_read(struct options *options, const char *allowed, int count, char **argv)
{
    for (int i = 0; i < count; i++) {
        const struct option *option = find(argv[i], allowed);
        if (option == NULL) {
            fprintf(stderr, "weir-bench: %s: this command has no such option (--help tells those it has)\n", argv[i]);
            return false;
        }
        if (option->value == NONE) {
            *(bool *)((char *)options + option->at) = true;
            continue;
        }
        if (i + 1 == count)
            return complain(option, "a value is missing", "");
        if (!read_value(option, options, argv[++i]))
            return false;
    }
    return true;
}

struct options_numbers options_or(const struct options_numbers *given, const uint64_t *others, unsigned count)
{
    struct options_numbers list = *given;
    if (list.count == 0)
        for (; list.count < count; list.count++)
            list.of[list.count] = others[list.count];
    return list;
}

bool options_has(const struct options_words *words, const char *word)
{
    for (unsigned i = 0; i < words->count; i++)
        if (strcmp(words->of[i], word) == 0)
            return true;
    return words->count == 0;
}
