/* What the children of a storm call. */
#include "storm.h"

#include <sched.h>
#include <string.h>

void storm_turn(storm_child *self, uint64_t records)
{
    weir_atomic_u64 *turns = &self->page->child[self->index].turns, *done = &self->page->child[self->index].done;
    weir_store_rlx(turns, weir_load_rlx(turns) + 1);
    if (records > 0)
        weir_store_rlx(done, weir_load_rlx(done) + records);
}

void storm_idle(storm_child *self)
{
    if (support_random(&self->seed) % 16 == 0)
        (void)sched_yield();
    else
        weir_pause();
}

static uint64_t record_word(uint64_t id, uint64_t len, uint64_t i)
{
    return (id * 8191 + len) * UINT64_C(0x9e3779b97f4a7c15) + i * UINT64_C(0xbf58476d1ce4e5b9);
}

void storm_fill(void *buffer, uint64_t id, uint64_t len)
{
    unsigned char *bytes = buffer;
    memcpy(bytes, &id, sizeof id);
    for (uint64_t off = 8; off < len; off += 8) {
        uint64_t word = record_word(id, len, off);
        memcpy(bytes + off, &word, len - off < 8 ? len - off : 8);
    }
}

bool storm_whole(const void *msg, uint64_t id, uint64_t len)
{
    const unsigned char *bytes = msg;
    for (uint64_t off = 8; off < len; off += 8) {
        uint64_t word = record_word(id, len, off);
        if (memcmp(bytes + off, &word, len - off < 8 ? len - off : 8) != 0)
            return false;
    }
    return memcmp(bytes, &id, sizeof id) == 0;
}
