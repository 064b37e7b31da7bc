#include "support.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static void word_of(char *word, size_t len)
{
    for (size_t i = 0; i < len; i++)
        word[i] = "orders-07_A.z"[i % 13];
    word[len] = 0;
}

static void check_refused(const char *text)
{
    weir_name name, before;
    memset(&name, 0x5a, sizeof name);
    memcpy(&before, &name, sizeof name);
    cr_assert_eq(weir_name_parse(&name, text), WEIR_E_NAME, "\"%.60s\" was accepted", text ? text : "NULL");
    cr_assert_eq(memcmp(&name, &before, sizeof name), 0, "\"%.60s\": the output was touched", text ? text : "NULL");
    cr_assert_neq(*weir_error_detail(), 0);
}

static void check_accepted(const char *text, weir_scope scope, const char *canonical)
{
    weir_name name;
    memset(&name, 0x5a, sizeof name);
    CHECK_OK(weir_name_parse(&name, text));
    cr_assert_eq(name.scope, scope, "%s", text);
    cr_assert_str_eq(name.text, canonical);
    cr_assert_str_eq(name.text + name.word_off, strchr(canonical, '/') + 1);
    for (size_t i = strlen(canonical); i < sizeof name.text; i++)
        cr_assert_eq(name.text[i], 0, "%s: byte %zu behind the text is not 0", text, i);
}

Test(name, a_word_has_1_to_200_bytes_behind_each_prefix)
{
    static const char *const prefixes[] = { "", "Local/", "Local\\", "Global/", "Global\\" };
    for (size_t p = 0; p < sizeof prefixes / sizeof prefixes[0]; p++)
        for (size_t len = 0; len <= 210; len++) {
            char word[256], text[300], canonical[300];
            word_of(word, len);
            (void)snprintf(text, sizeof text, "%s%s", prefixes[p], word);
            (void)snprintf(canonical, sizeof canonical, "%s/%s", p < 3 ? "Local" : "Global", word);
            if (len >= 1 && len <= WEIR_NAME_MAX)
                check_accepted(text, p < 3 ? WEIR_LOCAL : WEIR_GLOBAL, canonical);
            else
                check_refused(text);
        }
}

Test(name, a_very_long_text_is_refused_and_its_detail_is_cut)
{
    static char text[1 << 20];
    memset(text, 'a', sizeof text - 1);
    check_refused(text);
    cr_assert_lt(strlen(weir_error_detail()), 512);
}

Test(name, exactly_the_bytes_of_the_grammar_are_allowed_at_each_place)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    cr_assert_eq(sizeof allowed - 1, 65);
    for (unsigned byte = 1; byte < 256; byte++)
        for (size_t at = 0; at < 3; at++) {
            char text[] = "Global/xyz", canonical[16];
            text[7 + at] = (char)byte;
            (void)snprintf(canonical, sizeof canonical, "%s", text);
            if (strchr(allowed, (int)byte) != NULL && !(at == 0 && byte == '.')) {
                check_accepted(text, WEIR_GLOBAL, canonical);
                (void)snprintf(canonical, sizeof canonical, "Local/%s", text + 7);
                check_accepted(text + 7, WEIR_LOCAL, canonical);
            } else {
                check_refused(text);
                check_refused(text + 7);
            }
        }
}

Test(name, a_refused_byte_is_named_in_the_detail)
{
    check_refused("Local/a b");
    cr_assert_not_null(strstr(weir_error_detail(), "0x20"));
    check_refused("Local/a\xff" "b");
    cr_assert_not_null(strstr(weir_error_detail(), "0xff"));
}

Test(name, the_first_byte_is_no_dot)
{
    static const char *const dotted[] = { ".", "..", ".x", "Local/.x", "Global/.", "Global\\..", "Local/..x" };
    for (size_t i = 0; i < sizeof dotted / sizeof dotted[0]; i++)
        check_refused(dotted[i]);
    check_accepted("x.", WEIR_LOCAL, "Local/x.");
    check_accepted("Global/x..y", WEIR_GLOBAL, "Global/x..y");
}

Test(name, a_prefix_is_case_sensitive_and_ends_with_one_slash_of_either_kind)
{
    check_accepted("x", WEIR_LOCAL, "Local/x");
    check_accepted("Local/x", WEIR_LOCAL, "Local/x");
    check_accepted("Local\\x", WEIR_LOCAL, "Local/x");
    check_accepted("Global/x", WEIR_GLOBAL, "Global/x");
    check_accepted("Global\\x", WEIR_GLOBAL, "Global/x");
    static const char *const refused[] = {
        "local/x",   "LOCAL/x", "global/x", "GLOBAL\\x", "Global//x", "Local\\\\x", "Local/\\x",
        "Session/x", "/x",      "\\x",      "x/y",       "x\\y",      "Global/x/",  "Local/x\\",
        "Global ",   "Local /x", "Globa/x", "Globall/x", " Local/x",  "Global/../x",
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        check_refused(refused[i]);
}

Test(name, a_doubled_prefix_has_a_slash_in_its_word)
{
    static const char *const doubled[] = {
        "Local/Local/x",   "Local/Global/x",   "Global/Local/x",   "Global/Global/x",
        "Local\\Local\\x", "Global\\Local\\x", "Global\\Global/x", "Local/Global\\x",
    };
    for (size_t i = 0; i < sizeof doubled / sizeof doubled[0]; i++)
        check_refused(doubled[i]);
}

Test(name, the_words_local_and_global_are_names_too)
{
    check_accepted("Local", WEIR_LOCAL, "Local/Local");
    check_accepted("Global", WEIR_LOCAL, "Local/Global");
    check_accepted("Global/Local", WEIR_GLOBAL, "Global/Local");
    check_accepted("Globalx", WEIR_LOCAL, "Local/Globalx");
}

Test(name, nothing_is_refused_and_said_so)
{
    check_refused(NULL);
    check_refused("");
    check_refused("Local/");
    check_refused("Global\\");
}

Test(name, the_canonical_form_parses_to_itself)
{
    weir_name once, twice;
    CHECK_OK(weir_name_parse(&once, "Global\\a.b-c_9"));
    CHECK_OK(weir_name_parse(&twice, once.text));
    cr_assert_eq(memcmp(&once, &twice, sizeof once), 0);
}
