/* bench/systems.h - the systems there are: ours and the peers'. */
#ifndef WEIR_BENCH_SYSTEMS_H
#define WEIR_BENCH_SYSTEMS_H

#include "peer.h"

/* The index-th; NULL behind the last.  Ours come first. */
const struct bench_peer *systems_at(unsigned index);
const struct bench_peer *systems_find(const char *name); /* NULL: there is none of that name */
bool systems_is_ours(const struct bench_peer *peer);
/* Begins those that have something to begin, when they are first used; false: error said. */
bool systems_begin(const struct bench_peer *peer);
void systems_finish(void);

extern const struct bench_peer bench_stream; /* peers/stream.c */
extern const struct bench_peer bench_futex;  /* peers/futex.c */
extern const struct bench_peer bench_weir_channels; /* peers/weir_channels.c */

#endif
