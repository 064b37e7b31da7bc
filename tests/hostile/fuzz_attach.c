/* Any bytes as a ring's memory: attaches, and the first operations behind them.  Input: which ring; the state the rest of
 * the memory is in; 14 bytes that choose operations; where the bytes go, in words; the bytes. */
#include "hostile.h"

#define CALLS 7u
#define BEFORE (2 + 2 * CALLS + 1)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static hostile_ring rings[16];
    if (rings[0].row == NULL)
        for (unsigned row = 0; row < hostile_row_count; row++)
            hostile_open(&rings[row], hostile_rows[row]);
    if (size < BEFORE)
        return 0;
    hostile_ring *r = &rings[data[0] % hostile_row_count];
    uint64_t bytes = r->row->bytes(), off = data[BEFORE - 1] * UINT64_C(8) % bytes;
    hostile_where.ring = r->row->name;
    hostile_state(r, data[1] % HOSTILE_STATES);
    size_t len = size - BEFORE < bytes - off ? size - BEFORE : bytes - off;
    memcpy(r->mem + off, data + BEFORE, len);
    for (unsigned i = 0; i < CALLS; i++) {
        uint64_t bits = data[2 + 2 * i] | (uint64_t)data[3 + 2 * i] << 8;
        hostile_side side = i < 2 && data[1] < 128 ? (i == 0 ? HOSTILE_ATTACHES_CONSUMER : HOSTILE_ATTACHES_PRODUCER)
                                                   : (hostile_side)(bits >> 12 & 3);
        (void)hostile_run(r, hostile_pick(r, side, bits & 31), bits << 3 | bits << 56);
    }
    return 0;
}
