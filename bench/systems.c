/* bench/systems.c - the systems there are: ours and the peers'. */
#include "systems.h"

#include <stddef.h>
#include <string.h>

#define SYSTEMS_MAX 128u

/* Whether each was begun: 0 not yet, 1 it was, 2 it could not be. */
static unsigned char begun[SYSTEMS_MAX];

const struct bench_peer *systems_at(unsigned index)
{
    for (uint32_t i = 0; bench_weir(i) != NULL; i++)
        if (index-- == 0)
            return bench_weir(i);
    for (uint32_t i = 0; bench_peers[i] != NULL; i++)
        if (index-- == 0)
            return bench_peers[i];
    return NULL;
}

const struct bench_peer *systems_find(const char *name)
{
    const struct bench_peer *peer;
    for (unsigned i = 0; (peer = systems_at(i)) != NULL; i++)
        if (strcmp(peer->name, name) == 0)
            return peer;
    return NULL;
}

bool systems_is_ours(const struct bench_peer *peer) { return strncmp(peer->name, "weir", 4) == 0; }

static unsigned place(const struct bench_peer *peer)
{
    unsigned i = 0;
    while (systems_at(i) != NULL && systems_at(i) != peer)
        i++;
    return i;
}

bool systems_begin(const struct bench_peer *peer)
{
    unsigned at = place(peer);
    if (peer->begin == NULL || at >= SYSTEMS_MAX)
        return true;
    if (begun[at] == 0)
        begun[at] = peer->begin() ? 1 : 2;
    return begun[at] == 1;
}

void systems_finish(void)
{
    const struct bench_peer *peer;
    for (unsigned i = 0; (peer = systems_at(i)) != NULL && i < SYSTEMS_MAX; i++) {
        if (begun[i] == 1 && peer->finish != NULL)
            peer->finish();
        begun[i] = 0;
    }
}
