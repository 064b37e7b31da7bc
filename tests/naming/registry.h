/* tests/naming/registry.h - what the tests of the registry share. */
#ifndef WEIR_TESTS_NAMING_REGISTRY_H
#define WEIR_TESTS_NAMING_REGISTRY_H

#include "commit.h"
#include "faults.h"

#include <weir/naming/registry.h>
#include <weir/naming/unnamed.h>

#define KIB64 UINT64_C(65536)
#define NOWHERE ((void *)(uintptr_t)0x77)

static inline weir_section *create(uint64_t size)
{
    weir_section *section;
    CHECK_OK(weir_section_create_unnamed(&section, size, NULL));
    return section;
}

static inline weir_view publish(weir_section *section, uint64_t offset, uint64_t size, weir_access access)
{
    weir_view view = map_view(section, offset, size, access);
    CHECK_OK(weir_registry_publish(&view));
    return view;
}

static inline void give_up(weir_view *view)
{
    CHECK_OK(weir_registry_retire(view));
    CHECK_OK(weir_view_unmap(view));
}

/* What resolve says in a read section of its own; *out, or what it was. */
static inline weir_status look_up(uint64_t section, uint64_t offset, uint64_t len, weir_access access, void **out)
{
    CHECK_OK(weir_read_begin());
    weir_status status = weir_resolve((weir_ref){ section, offset }, len, access, out);
    CHECK_OK(weir_read_end());
    return status;
}

static inline void check_refused(uint64_t section, uint64_t offset, uint64_t len, weir_access access, weir_status expected)
{
    void *at = NOWHERE;
    errno = KEPT;
    CHECK_STATUS(look_up(section, offset, len, access, &at), expected);
    cr_assert(at == NOWHERE && errno == KEPT && *weir_error_detail() != 0);
}

static inline void check_at(const weir_view *view, uint64_t offset, uint64_t len, weir_access access)
{
    void *at = NOWHERE;
    CHECK_OK(look_up(weir_section_id(view->section), offset, len, access, &at));
    cr_assert(at == (unsigned char *)view->base + (offset - view->offset), "%llu bytes at %llu",
              (unsigned long long)len, (unsigned long long)offset);
}

#endif
