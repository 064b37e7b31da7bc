/* tests/naming/ways.h - the four ways to come to a section of a name, and what each must leave alone when it fails. */
#ifndef WEIR_TESTS_NAMING_WAYS_H
#define WEIR_TESTS_NAMING_WAYS_H

#include "sections.h"

#include <criterion/criterion.h>

#define UNTOUCHED ((weir_section *)(uintptr_t)0x1234)

static inline weir_section *create(const char *name, uint64_t size)
{
    weir_section *section;
    CHECK_OK(weir_section_create(&section, name, size, NULL));
    return section;
}

enum way { CREATE, OPEN, OPEN_OR_CREATE, OBSERVE, WAYS };
static const char *const way_names[] = { "create", "open", "open_or_create", "observe" };

static inline weir_status come(enum way way, weir_section **out, const char *name, const weir_section_options *given)
{
    weir_section_options options = given != NULL ? *given : (weir_section_options){ 0 };
    weir_section *section = UNTOUCHED;
    bool created = true;
    weir_status status = WEIR_OK;
    if (way == OBSERVE)
        options.access = WEIR_READ_ONLY;
    if (way == CREATE)
        status = weir_section_create(&section, name, 4096, &options);
    else if (way == OPEN_OR_CREATE)
        status = weir_section_open_or_create(&section, name, 4096, &options, &created);
    else
        status = weir_section_open(&section, name, &options);
    if (status != WEIR_OK) {
        cr_assert_eq(section, UNTOUCHED, "%s touched its output", way_names[way]);
        cr_assert_eq(created, true, "%s touched *created", way_names[way]);
        cr_assert_neq(*weir_error_detail(), 0, "%s failed without a detail", way_names[way]);
    } else {
        *out = section;
    }
    return status;
}

static inline void check_way(enum way way, const char *name, const weir_section_options *options, weir_status expected)
{
    weir_section *section = NULL;
    int64_t from = monotonic_ns();
    unsigned fds = open_fds();
    weir_status status = come(way, &section, name, options);
    cr_assert_eq(status, expected, "%s of %s gave %s, not %s (%s)", way_names[way], name, weir_status_name(status),
                 weir_status_name(expected), weir_error_detail());
    if (status == WEIR_OK)
        CHECK_OK(weir_section_close(section));
    cr_assert_eq(open_fds(), fds, "%s of %s left a descriptor open", way_names[way], name);
    cr_assert_lt(monotonic_ns() - from, WAIT_NS, "%s of %s waited", way_names[way], name);
}

static inline void check_every_way(const char *name, const weir_section_options *options, weir_status expected)
{
    for (enum way way = CREATE; way < WAYS; way++)
        check_way(way, name, options, expected);
}

#endif
