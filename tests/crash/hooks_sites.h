/* tests/crash/hooks_sites.h - included before all else by whoever is compiled with hooks: each call of an atomic leaves
 * its place in the section crash_sites, so that a hook which no state reaches is known.
 *
 * An operation that base/atomic.h gains needs its line here and in hooks_backend.h. */
#ifndef WEIR_TESTS_CRASH_HOOKS_SITES_H
#define WEIR_TESTS_CRASH_HOOKS_SITES_H

#include <weir/base/atomic.h>

/* As large as it is aligned: one lies behind the other in the section. */
struct crash_site {
    _Alignas(32) const char *file;
    uint64_t line, hits;
};

extern struct crash_site *crash_site_now;

#define CRASH_SITE()                                                                                                  \
    __extension__({                                                                                                   \
        static struct crash_site here __attribute__((section("crash_sites"), used)) = { __FILE__, __LINE__, 0 };      \
        crash_site_now = &here;                                                                                       \
        (void)0;                                                                                                      \
    })

#define weir_load_rlx(a) (CRASH_SITE(), weir_load_rlx(a))
#define weir_load_acq(a) (CRASH_SITE(), weir_load_acq(a))
#define weir_store_rlx(a, value) (CRASH_SITE(), weir_store_rlx((a), (value)))
#define weir_store_rel(a, value) (CRASH_SITE(), weir_store_rel((a), (value)))
#define weir_fetch_add_rlx(a, value) (CRASH_SITE(), weir_fetch_add_rlx((a), (value)))
#define weir_fetch_or_rlx(a, bits) (CRASH_SITE(), weir_fetch_or_rlx((a), (bits)))
#define weir_fetch_or_rel(a, bits) (CRASH_SITE(), weir_fetch_or_rel((a), (bits)))
#define weir_fetch_and_rlx(a, bits) (CRASH_SITE(), weir_fetch_and_rlx((a), (bits)))
#define weir_cas_rlx(a, expected, desired) (CRASH_SITE(), weir_cas_rlx((a), (expected), (desired)))
#define weir_cas_acq(a, expected, desired) (CRASH_SITE(), weir_cas_acq((a), (expected), (desired)))
#define weir_cas_rel(a, expected, desired) (CRASH_SITE(), weir_cas_rel((a), (expected), (desired)))
#define weir_words_store(words, from, len) (CRASH_SITE(), weir_words_store((words), (from), (len)))
#define weir_words_load(to, words, len) (CRASH_SITE(), weir_words_load((to), (words), (len)))

#endif
