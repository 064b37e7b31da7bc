/* tests/naming/commit.h - what the tests of reserved room share: what is committed, what can be touched, and what it
 * takes. */
#ifndef WEIR_TESTS_NAMING_COMMIT_H
#define WEIR_TESTS_NAMING_COMMIT_H

#include "sections.h"

#include <setjmp.h>
#include <weir/naming/os_linux.h>
#include <weir/naming/section_layout.h>

#define GRANULE WEIR_COMMIT_GRANULE
#define PAGE UINT64_C(4096)

static inline weir_section *reserve(const char *name, uint64_t size, uint64_t commit_bytes)
{
    weir_section *section;
    weir_section_options options = { .flags = WEIR_RESERVE, .commit_bytes = commit_bytes };
    CHECK_OK(weir_section_create(&section, name, size, &options));
    return section;
}

static inline weir_section *open_as(const char *name, weir_access access)
{
    weir_section *section;
    CHECK_OK(weir_section_open(&section, name, &(weir_section_options){ .access = access }));
    return section;
}

static inline weir_view map_view(weir_section *section, uint64_t offset, uint64_t size, weir_access access)
{
    weir_view view;
    CHECK_OK(weir_view_map(&view, section, offset, size, access));
    return view;
}

/* ---- what is committed ---- */

static inline uint64_t granule_bytes(uint64_t size, uint64_t granule)
{
    return size - granule * GRANULE < GRANULE ? size - granule * GRANULE : GRANULE;
}

static inline bool is_committed(weir_section *section, uint64_t granule)
{
    uint64_t bytes = 1;
    bool committed;
    CHECK_OK(weir_section_committed(section, granule * GRANULE, &bytes, &committed));
    CHECK(bytes == 1);
    return committed;
}

/* Checks that exactly the granules that shape marks with '#' are committed, "##..#" for example, by each one and by
 * runs. */
static inline void check_shape(weir_section *section, const char *shape)
{
    uint64_t size = weir_section_size(section), count = strlen(shape);
    CHECK(weir_section_granules(size) == count);
    for (uint64_t g = 0; g < count; g++)
        if (is_committed(section, g) != (shape[g] == '#')) {
            (void)fprintf(stderr, "granule %llu is not as in %s\n", (unsigned long long)g, shape);
            CHECK(!"the shape");
        }
    for (uint64_t at = 0; at < size;) {
        uint64_t run = size - at, end = at / GRANULE;
        bool committed;
        CHECK_OK(weir_section_committed(section, at, &run, &committed));
        CHECK(committed == (shape[at / GRANULE] == '#'));
        while (end < count && (shape[end] == '#') == committed)
            end++;
        CHECK(at + run == (end == count ? size : end * GRANULE));
        at += run;
    }
}

/* Bytes that a section of that shape takes: its header, its map of commitments, and what is committed, in pages. */
static inline uint64_t shape_bytes(uint64_t size, const char *shape)
{
    uint64_t bytes = weir_section_content_off(WEIR_SECTION_RESERVED, size);
    for (uint64_t g = 0; shape[g] != 0; g++)
        if (shape[g] == '#')
            bytes += (granule_bytes(size, g) + PAGE - 1) / PAGE * PAGE;
    return bytes;
}

static inline uint64_t bytes_taken(const char *path)
{
    struct stat st;
    CHECK(stat(path, &st) == 0);
    return (uint64_t)st.st_blocks * 512;
}

/* ---- what can be touched ---- */

static sigjmp_buf touch_back;
static unsigned char *touch_at;

static inline void touch_fault(int signal)
{
    siglongjmp(touch_back, signal);
}

/* The signal that reading, or with write writing back, the byte at `at` is answered with; 0: none. */
static inline int touch(const void *at, bool write)
{
    struct sigaction action = { .sa_handler = touch_fault }, segv, bus;
    CHECK(sigaction(SIGSEGV, &action, &segv) == 0 && sigaction(SIGBUS, &action, &bus) == 0);
    touch_at = (unsigned char *)(uintptr_t)at;
    int signal = sigsetjmp(touch_back, 1);
    if (signal == 0) {
        unsigned char byte = __atomic_load_n(touch_at, __ATOMIC_RELAXED);
        if (write)
            __atomic_store_n(touch_at, byte, __ATOMIC_RELAXED);
    }
    CHECK(sigaction(SIGSEGV, &segv, NULL) == 0 && sigaction(SIGBUS, &bus, NULL) == 0);
    return signal;
}

/* Checks that of a view, at every page's first byte and at each granule's last, exactly the granules of shape that are
 * '#' can be touched (and written, if the view is a writable one).  shape is the section's. */
static inline void check_reach(const weir_view *view, const char *shape, bool writable)
{
    const unsigned char *base = view->base;
    for (uint64_t at = 0; at < view->size; at++) {
        uint64_t in = (view->offset + at) % GRANULE;
        if (in % PAGE != 0 && in != GRANULE - 1 && at != view->size - 1)
            continue;
        bool reachable = shape[(view->offset + at) / GRANULE] == '#';
        int read = touch(base + at, false), written = touch(base + at, true);
        if (read != (reachable ? 0 : SIGSEGV) || written != (reachable && writable ? 0 : SIGSEGV)) {
            (void)fprintf(stderr, "byte %llu of a view of %s at %llu: reading gives signal %d, writing %d\n",
                          (unsigned long long)at, shape, (unsigned long long)view->offset, read, written);
            CHECK(!"what can be reached");
        }
    }
}

/* All bytes of a granule, in a view of the whole content, are that. */
static inline void check_bytes(const weir_view *view, uint64_t granule, int byte)
{
    const unsigned char *at = (const unsigned char *)view->base + granule * GRANULE;
    for (uint64_t i = 0; i < granule_bytes(view->size, granule); i++)
        CHECK(at[i] == byte);
}

static inline void fill_bytes(const weir_view *view, uint64_t granule, int byte)
{
    memset((unsigned char *)view->base + granule * GRANULE, byte, granule_bytes(view->size, granule));
}

#endif
