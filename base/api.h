/* base/api.h - what every public header needs: linkage, and hints to the compiler. */
#ifndef WEIR_BASE_API_H
#define WEIR_BASE_API_H

#ifdef __cplusplus
#define WEIR_BEGIN_DECLS extern "C" {
#define WEIR_END_DECLS }
#else
#define WEIR_BEGIN_DECLS
#define WEIR_END_DECLS
#endif

/* WEIR_API marks what the shared library exports; everything else is hidden. */
#if defined(_WIN32)
#define WEIR_API
#else
#define WEIR_API __attribute__((visibility("default")))
#endif

/* A fast path that must not become a call: what a call stores on the stack stands between the stores to a ring
 * (ring/README.md). */
#define WEIR_INLINE static inline __attribute__((always_inline))
#define WEIR_LIKELY(x) (__builtin_expect(!!(x), 1) != 0)
#define WEIR_UNLIKELY(x) (__builtin_expect(!!(x), 0) != 0)

#endif
