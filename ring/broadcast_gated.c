#include <string.h>

#include <weir/base/fail.h>
#include <weir/ring/broadcast_gated.h>
#include <weir/ring/broadcast_gated_layout.h>
#include <weir/ring/spsc_layout.h>

uint64_t weir_broadcast_gated_footprint(uint32_t readers, uint64_t capacity_bytes)
{
    if (readers == 0 || readers > WEIR_BROADCAST_GATED_READERS_MAX || weir_spsc_footprint(capacity_bytes) == 0)
        return 0;
    return WEIR_BROADCAST_GATED_CONTROL + (uint64_t)readers * WEIR_BROADCAST_GATED_ENTRY + capacity_bytes;
}

uint32_t weir_broadcast_gated_record_max(uint64_t capacity_bytes) { return weir_spsc_record_max(capacity_bytes); }

weir_status weir_broadcast_gated_init(void *mem, uint64_t size_bytes, uint32_t readers, uint64_t capacity_bytes,
                                      uint64_t start_pos)
{
    uint64_t footprint = weir_broadcast_gated_footprint(readers, capacity_bytes);
    if (mem == NULL || (uintptr_t)mem % WEIR_LINE != 0)
        return weir_fail(WEIR_E_INVALID, "a ring needs memory aligned to %d bytes", WEIR_LINE);
    if (footprint == 0)
        return weir_fail(WEIR_E_INVALID, "%u readers (of at most %u) of capacity %llu (a power of two, at least %u)",
                         readers, WEIR_BROADCAST_GATED_READERS_MAX, (unsigned long long)capacity_bytes,
                         WEIR_SPSC_CAPACITY_MIN);
    if (size_bytes < footprint)
        return weir_fail(WEIR_E_INVALID, "a ring of capacity %llu with %u readers needs %llu bytes, not %llu",
                         (unsigned long long)capacity_bytes, readers, (unsigned long long)footprint,
                         (unsigned long long)size_bytes);
    if (start_pos % WEIR_SPSC_HEADER != 0)
        return weir_fail(WEIR_E_INVALID, "a ring's first position is a multiple of %u", WEIR_SPSC_HEADER);
    weir_broadcast_gated_layout *ring = mem;
    unsigned char *data = weir_broadcast_gated_data(mem, readers);
    weir_store_rlx(&ring->magic, 0);
    weir_fence_compiler(); /* whoever is killed from here on leaves no ring, not an older one half changed */
    weir_store_rlx(&ring->version, WEIR_BROADCAST_GATED_VERSION);
    weir_store_rlx(&ring->capacity, capacity_bytes);
    weir_store_rlx(&ring->readers, readers);
    weir_store_rlx(&ring->announced, start_pos);
    for (uint32_t i = 0; i < readers; i++) {
        weir_store_rlx(&ring->entry[i].word, 0);
        weir_store_rlx(&ring->entry[i].cursor, start_pos);
    }
    weir_store_rlx(weir_word_at(data, start_pos & (capacity_bytes - 1)), 0);
    /* order GATE-INIT rel: the control block and the entries before the magic.  Without it who polls for the magic can
     * attach to half a control block. */
    weir_store_rel(&ring->magic, WEIR_BROADCAST_GATED_MAGIC);
    return WEIR_OK;
}

/* Checks the control block; each shared size is read here once and kept by the caller. */
static weir_status validate(const void *mem, uint64_t size_bytes, uint32_t *readers, uint64_t *capacity)
{
    if (mem == NULL || (uintptr_t)mem % WEIR_LINE != 0)
        return weir_fail(WEIR_E_INVALID, "a ring needs memory aligned to %d bytes", WEIR_LINE);
    if (size_bytes < WEIR_BROADCAST_GATED_CONTROL)
        return weir_fail(WEIR_E_NOT_WEIR, "%llu bytes are too few for a ring", (unsigned long long)size_bytes);
    const weir_broadcast_gated_layout *ring = mem;
    /* order GATE-INIT acq: the magic before the control block and the entries. */
    if (weir_load_acq(&ring->magic) != WEIR_BROADCAST_GATED_MAGIC)
        return weir_fail(WEIR_E_NOT_WEIR, "no gated broadcast ring in that memory");
    uint64_t version = weir_load_rlx(&ring->version);
    if (version != WEIR_BROADCAST_GATED_VERSION)
        return weir_fail(WEIR_E_VERSION, "the ring has layout version %llu, this library knows %llu",
                         (unsigned long long)version, (unsigned long long)WEIR_BROADCAST_GATED_VERSION);
    uint64_t count = weir_load_rlx(&ring->readers), bytes = weir_load_rlx(&ring->capacity);
    uint64_t footprint =
        count <= WEIR_BROADCAST_GATED_READERS_MAX ? weir_broadcast_gated_footprint((uint32_t)count, bytes) : 0;
    if (footprint == 0 || footprint > size_bytes)
        return weir_fail(WEIR_E_CORRUPT, "the ring states %llu readers and capacity %llu in %llu bytes",
                         (unsigned long long)count, (unsigned long long)bytes, (unsigned long long)size_bytes);
    *readers = (uint32_t)count;
    *capacity = bytes;
    return WEIR_OK;
}

weir_status weir_broadcast_gated_readers(const void *mem, uint64_t size_bytes, uint32_t *readers)
{
    uint64_t capacity;
    return validate(mem, size_bytes, readers, &capacity);
}

/* ---- writer ---- */

weir_status weir_broadcast_gated_writer_attach(weir_broadcast_gated_writer *w, void *mem, uint64_t size_bytes,
                                               uint64_t *dead, uint32_t count)
{
    uint32_t readers = 0;
    uint64_t capacity = 0;
    *w = (weir_broadcast_gated_writer){ .readers = 0 };
    weir_status status = validate(mem, size_bytes, &readers, &capacity);
    if (status != WEIR_OK)
        return status;
    if (dead == NULL || count < readers)
        return weir_fail(WEIR_E_INVALID, "the ring has %u readers, there is room for notes on %u", readers, count);
    weir_broadcast_gated_layout *ring = mem;
    unsigned char *data = weir_broadcast_gated_data(mem, readers);
    /* relaxed: only a writer writes it, and that one is gone. */
    uint64_t announced_pos = weir_load_rlx(&ring->announced);
    uint64_t pos = announced_pos;
    if (pos % WEIR_SPSC_HEADER != 0)
        return weir_fail(WEIR_E_CORRUPT, "the ring's oldest record at position %llu, between two words",
                         (unsigned long long)pos);
    status = weir_spsc_walk(data, capacity, &pos);
    if (status != WEIR_OK)
        return status;
    /* order GATE-JOIN sc: what a former writer announced, before our looks at the entries.  That one may have died
     * before its own fence: a reader that came just then would be missed, and it would miss the announcement. */
    weir_fence_sc();
    memset(dead, 0, readers * sizeof *dead);
    w->ring = mem;
    w->announced_pos = announced_pos;
    w->dead = dead;
    w->readers = readers;
    w->lane.data = data;
    w->lane.capacity = capacity;
    w->lane.record_max = weir_spsc_record_max(capacity);
    w->lane.pos = pos;
    w->lane.head_pos = pos - capacity; /* no reader that was waited for is further back */
    w->lane.limit_pos = pos;           /* so the first record asks */
    w->lane.own_pos = pos;
    w->lane.cleared_pos = WEIR_SPSC_NOT_CLEARED;
    return WEIR_OK;
}

/* What readers may have read: an open batch is not among it. */
static uint64_t published(const weir_spsc_producer *lane)
{
    return lane->batch_header != 0 ? lane->batch_pos : lane->pos;
}

static weir_status usable(const weir_broadcast_gated_writer *w)
{
    if (w->lane.capacity == 0)
        return w->lane.fault != WEIR_OK ? w->lane.fault : WEIR_E_STATE;
    return WEIR_OK;
}

/* Reads the entry of a reader.  EMPTY: nobody is there, or one who is known to be dead. */
static weir_status read_gate(weir_broadcast_gated_writer *w, uint32_t reader, weir_broadcast_gated_gate *gate)
{
    weir_broadcast_gated_entry *entry = &((weir_broadcast_gated_layout *)w->ring)->entry[reader];
    /* order GATE-LEAVE acq: the reads of one who has left before our writes over what it had not released. */
    uint64_t word = weir_load_acq(&entry->word);
    if (word == 0 || word == w->dead[reader])
        return WEIR_EMPTY;
    /* order SPSC-FREE acq: the reader's reads of what it gave back before our writes over it. */
    uint64_t pos = weir_load_acq(&entry->cursor);
    uint64_t lag = published(&w->lane) - pos;
    if ((uint32_t)word != WEIR_BROADCAST_GATED_PRESENT || pos % WEIR_SPSC_HEADER != 0 || lag > INT64_MAX) {
        weir_status status = weir_fail(WEIR_E_CORRUPT, "reader %u's entry is %#llx, and its position %llu", reader,
                                       (unsigned long long)word, (unsigned long long)pos);
        w->lane = (weir_spsc_producer){ .fault = status };
        return status;
    }
    *gate = (weir_broadcast_gated_gate){ .lag_bytes = lag, .reader = reader, .generation = (uint32_t)(word >> 32) };
    return WEIR_OK;
}

/* The longest lag of all readers that are there and not known to be dead; without any, 0. */
static weir_status read_lag(weir_broadcast_gated_writer *w, uint64_t *lag)
{
    *lag = 0;
    for (uint32_t reader = 0; reader < w->readers; reader++) {
        weir_broadcast_gated_gate gate = { .lag_bytes = 0 };
        weir_status status = read_gate(w, reader, &gate);
        if (status < 0)
            return status;
        if (status == WEIR_OK && gate.lag_bytes > *lag)
            *lag = gate.lag_bytes;
    }
    return WEIR_OK;
}

/* Moves the limit as far as the readers allow.
 *
 * Nothing before what is announced is given up, and nothing is announced without a look at the entries behind it: a
 * reader that begins at the oldest record just then is seen by that look, or sees the announcement itself. */
static weir_status move_limit(weir_broadcast_gated_writer *w)
{
    weir_spsc_producer *lane = &w->lane;
    uint64_t lag = 0, again = 0, end_pos = published(lane);
    weir_status status = read_lag(w, &lag);
    if (status != WEIR_OK)
        return status;
    if ((int64_t)(end_pos - lag - w->announced_pos) > 0) {
        w->announced_pos = end_pos - lag;
        /* order GATE-JOIN rel: the records before the position where a reader may begin.  Without it that reader can
         * find an older lap's words there. */
        weir_store_rel(&((weir_broadcast_gated_layout *)w->ring)->announced, w->announced_pos);
        /* order GATE-JOIN sc: the announcement before the second look.  Without it a reader that begins just now can be
         * missed and miss the announcement, and what it reads is overwritten. */
        weir_fence_sc();
        status = read_lag(w, &again);
        if (status != WEIR_OK)
            return status;
        if (again > lag) /* never less: what was released meanwhile is not announced yet */
            lag = again;
    }
    uint64_t head_pos = end_pos - lag;
    if ((int64_t)(head_pos - lane->head_pos) > 0) {
        lane->head_pos = head_pos;
        lane->limit_pos = head_pos + lane->capacity;
    }
    return WEIR_OK;
}

weir_status weir_broadcast_gated_ask(weir_broadcast_gated_writer *w, uint64_t len)
{
    uint64_t start_pos = 0;
    weir_status status = usable(w);
    if (status == WEIR_OK)
        status = move_limit(w);
    return status == WEIR_OK ? weir_spsc_place(&w->lane, len, &start_pos) : status;
}

weir_status weir_broadcast_gated_push_array(weir_broadcast_gated_writer *w, const void *msgs, uint64_t len,
                                            uint32_t count, uint32_t *pushed)
{
    *pushed = 0;
    if (weir_broadcast_gated_asks_for(w, len, count)) {
        weir_status status = move_limit(w);
        if (status != WEIR_OK)
            return status;
    }
    return weir_spsc_push_array(&w->lane, msgs, len, count, pushed);
}

weir_status weir_broadcast_gated_drained(weir_broadcast_gated_writer *w)
{
    uint64_t lag = 0;
    weir_status status = usable(w);
    if (status == WEIR_OK)
        status = read_lag(w, &lag);
    if (status != WEIR_OK)
        return status;
    return lag == 0 && w->lane.batch_header == 0 ? WEIR_OK : WEIR_FULL;
}

weir_status weir_broadcast_gated_gate_from(weir_broadcast_gated_writer *w, uint32_t from,
                                           weir_broadcast_gated_gate *gate)
{
    weir_status status = usable(w);
    if (status != WEIR_OK)
        return status;
    for (; from < w->readers; from++)
        if ((status = read_gate(w, from, gate)) != WEIR_EMPTY)
            return status;
    return WEIR_EMPTY;
}

weir_status weir_broadcast_gated_recover(weir_broadcast_gated_writer *w, uint32_t reader, uint32_t generation)
{
    weir_status status = usable(w);
    if (status != WEIR_OK)
        return status;
    if (reader >= w->readers)
        return weir_fail(WEIR_E_INVALID, "the ring has %u readers, there is no reader %u", w->readers, reader);
    uint64_t word = (uint64_t)generation << 32 | WEIR_BROADCAST_GATED_PRESENT;
    /* relaxed: who is known to be dead, is known with all it did.  Another's word is no news of that one, and what is
     * known of the other stays. */
    if (weir_load_rlx(&((weir_broadcast_gated_layout *)w->ring)->entry[reader].word) == word)
        w->dead[reader] = word;
    return WEIR_OK;
}

/* ---- reader ---- */

/* Makes the entry gate at a position from which on everything is held, and will be. */
static weir_status join(weir_broadcast_gated_layout *ring, weir_broadcast_gated_entry *entry, uint64_t capacity,
                        uint32_t generation, weir_broadcast_gated_start start, uint64_t *begin_pos)
{
    /* relaxed: only the slot's holders write the entry, and the former one is gone. */
    uint64_t former_pos = weir_load_rlx(&entry->cursor);
    for (int tries = 0; tries < WEIR_BROADCAST_GATED_TRIES; tries++) {
        /* order GATE-JOIN acq: what is announced before the records from there on. */
        uint64_t pos = weir_load_acq(&ring->announced);
        bool held = former_pos % WEIR_SPSC_HEADER == 0 && former_pos - pos < capacity;
        if (pos % WEIR_SPSC_HEADER != 0)
            return weir_fail(WEIR_E_CORRUPT, "the ring's oldest record at position %llu, between two words",
                             (unsigned long long)pos);
        if (start == WEIR_BROADCAST_GATED_RESUME && !held)
            return weir_fail(WEIR_E_STATE, "what came behind position %llu is given up, up to %llu",
                             (unsigned long long)former_pos, (unsigned long long)pos);
        *begin_pos = start == WEIR_BROADCAST_GATED_RESUME ? former_pos : pos;
        /* order SPSC-FREE rel: the former holder's reads before a position that may be the one it gave back.  Without
         * it a writer that sees this store, and not the former's, can overwrite what that one still read. */
        weir_store_rel(&entry->cursor, *begin_pos);
        /* relaxed: the fence orders it before our reads, and the writer believes what it sees of it either way. */
        weir_store_rlx(&entry->word, (uint64_t)generation << 32 | WEIR_BROADCAST_GATED_PRESENT);
        /* order GATE-JOIN sc: the entry before the second look at what is announced.  Without it the writer can miss
         * the entry while we miss its announcement, and what we read is overwritten. */
        weir_fence_sc();
        /* relaxed: nothing is read by it.  Not beyond our position: whoever announces more sees the entry. */
        if (*begin_pos - weir_load_rlx(&ring->announced) < capacity)
            return WEIR_OK;
    }
    return WEIR_AGAIN;
}

weir_status weir_broadcast_gated_reader_attach(weir_broadcast_gated_reader *r, void *mem, uint64_t size_bytes,
                                               uint32_t reader, uint32_t generation, weir_broadcast_gated_start start)
{
    uint32_t readers = 0;
    uint64_t capacity = 0, pos = 0;
    *r = (weir_broadcast_gated_reader){ .word = NULL };
    weir_status status = validate(mem, size_bytes, &readers, &capacity);
    if (status != WEIR_OK)
        return status;
    if (reader >= readers)
        return weir_fail(WEIR_E_INVALID, "the ring has %u readers, there is no reader %u", readers, reader);
    if (start != WEIR_BROADCAST_GATED_OLDEST && start != WEIR_BROADCAST_GATED_NEWEST &&
        start != WEIR_BROADCAST_GATED_RESUME)
        return weir_fail(WEIR_E_INVALID, "%d is no place to begin at", (int)start);
    weir_broadcast_gated_layout *ring = mem;
    r->word = &ring->entry[reader].word;
    status = join(ring, &ring->entry[reader], capacity, generation, start, &pos);
    if (status == WEIR_OK) {
        r->lane.data = weir_broadcast_gated_data(mem, readers);
        r->lane.head = &ring->entry[reader].cursor;
        r->lane.capacity = capacity;
        r->lane.record_max = weir_spsc_record_max(capacity);
        r->lane.pos = r->lane.limit_pos = r->lane.head_pos = pos;
    }
    if (status == WEIR_OK && start == WEIR_BROADCAST_GATED_NEWEST) {
        const void *msg;
        uint32_t len;
        while ((status = weir_spsc_peek(&r->lane, &msg, &len)) == WEIR_OK)
            continue; /* to the end: what is unreleased gates, so the writer is at most a lap ahead */
        status = status == WEIR_EMPTY ? WEIR_OK : status;
        weir_spsc_release(&r->lane);
    }
    if (status != WEIR_OK)
        (void)weir_broadcast_gated_reader_detach(r);
    return status;
}

weir_status weir_broadcast_gated_reader_detach(weir_broadcast_gated_reader *r)
{
    if (r->word == NULL)
        return WEIR_E_STATE;
    /* order GATE-LEAVE rel: the reads of what was not released before the word that gives it back.  Without it the
     * writer can overwrite bytes that are still being read. */
    weir_store_rel(r->word, 0);
    *r = (weir_broadcast_gated_reader){ .word = NULL };
    return WEIR_OK;
}
