/* bench/wide.h - fills and reads long messages, and streamed lines: by whole lines, with the widest vectors that the processor
 * has, as memset and memcpy do. */
#ifndef WEIR_BENCH_WIDE_H
#define WEIR_BENCH_WIDE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BENCH_WIDE 4096 /* bytes; of shorter messages a call is not worth it */

/* bench_fill_wide stores number into all words; at is 8-byte aligned, bytes a multiple of 8. */
void bench_fill_wide(void *at, uint64_t bytes, uint64_t number);

/* bench_differ_wide reads all words.  Returns the bits in which some differ from number. */
uint64_t bench_differ_wide(const void *at, uint64_t bytes, uint64_t number);

#ifdef __cplusplus
}
#endif

#endif
