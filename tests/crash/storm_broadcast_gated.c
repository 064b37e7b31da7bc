/* A writer and three readers of a gated broadcast ring for the storm.  A record says which one of all it is, so a
 * reader knows that it misses none; a reader that takes over after a kill goes on where the killed one was, unless the writer
 * was told of that death first. */
#include "storm.h"

#include <string.h>
#include <weir/ring/broadcast_gated.h>

#define CAPACITY UINT64_C(1024)
#define BUFFER 512u
#define BATCH_MAX 4u
#define READERS 3u
#define CHILDREN (1 + READERS)
#define ANY UINT64_MAX
#define RING_BYTES (WEIR_BROADCAST_GATED_CONTROL + READERS * WEIR_BROADCAST_GATED_ENTRY + CAPACITY)

/* What the writer knows at a moment; of two the one that `now` names is whole. */
typedef struct note {
    uint64_t pos;     /* the published end, */
    uint64_t sent;    /* the records before it, */
    uint64_t sending; /* and how many there are if the end is another */
} note;

typedef struct notes {
    note writer[2];
    weir_atomic_u64 now, sent, sending; /* the last two for readers to look at */
    struct {
        weir_atomic_u64 generation;          /* of who holds the slot, noted before it attaches */
        weir_atomic_u64 dead;                /* told by the storm: this generation and all before it */
        weir_atomic_u64 released, releasing; /* the next record after its last release; after one that is under way, */
        unsigned char pad[WEIR_LINE_PAIR - 32]; /* or ANY: it has come, and not said yet where it is */
    } reader[READERS];
    _Alignas(WEIR_LINE_PAIR) unsigned char ring[RING_BYTES];
} notes;

static void make(void *share)
{
    notes *n = share;
    CHECK_OK(weir_broadcast_gated_init(n->ring, sizeof n->ring, READERS, CAPACITY, UINT64_MAX - 4095));
    n->writer[0].pos = UINT64_MAX - 4095;
}

static void died(void *share, unsigned index)
{
    notes *n = share;
    if (index > 0)
        storm_note(&n->reader[index - 1].dead, weir_load_acq(&n->reader[index - 1].generation));
}

/* ---- the writer ---- */

typedef struct writer {
    storm_child *self;
    notes *n;
    weir_broadcast_gated_writer w;
    uint64_t dead[READERS];
    uint64_t sent, open; /* records that are published; and of the open batch */
} writer;

/* What is published now, and that so many more will be, if they are. */
static void note_all(writer *w, uint64_t more)
{
    uint64_t next = weir_load_rlx(&w->n->now) + 1;
    uint64_t pos = w->open > 0 ? w->w.lane.batch_pos : w->w.lane.pos;
    storm_note(&w->n->sent, w->sent);
    storm_note(&w->n->sending, w->sent + more);
    w->n->writer[next % 2] = (note){ pos, w->sent, w->sent + more };
    storm_note(&w->n->now, next);
}

static void publish(writer *w)
{
    note_all(w, w->open);
    weir_broadcast_gated_flush(&w->w);
    w->sent += w->open;
    w->open = 0;
    note_all(w, 0);
}

/* Asks who holds it up, and is told of those who are dead. */
static void tell(writer *w)
{
    weir_broadcast_gated_gate gate;
    for (uint32_t from = 0; weir_broadcast_gated_gate_from(&w->w, from, &gate) == WEIR_OK; from = gate.reader + 1) {
        STORM_CHECK(w->self, gate.reader < READERS);
        if (gate.generation <= weir_load_acq(&w->n->reader[gate.reader].dead))
            STORM_CHECK(w->self, weir_broadcast_gated_recover(&w->w, gate.reader, gate.generation) == WEIR_OK);
    }
}

static void put(writer *w, bool more, uint64_t random)
{
    unsigned char out[BUFFER];
    uint64_t id = w->sent + w->open, most = weir_broadcast_gated_record_max(CAPACITY);
    uint64_t len = 16 + random / 4 % ((random % 64 == 0 ? most : 120) - 15);
    void *slot = NULL;
    weir_status status;
    storm_fill(out, id, len);
    if (!more)
        note_all(w, w->open + 1);
    if (random % 2 != 0) {
        status = (more ? weir_broadcast_gated_push_more : weir_broadcast_gated_push)(&w->w, out, len);
    } else if ((status = weir_broadcast_gated_reserve(&w->w, len, &slot)) == WEIR_OK) {
        memcpy(slot, out, len);
        status = (more ? weir_broadcast_gated_commit_more : weir_broadcast_gated_commit)(&w->w, len);
    }
    STORM_CHECK(w->self, status == WEIR_OK || status == WEIR_FULL);
    storm_turn(w->self, status == WEIR_OK);
    if (status == WEIR_FULL) {
        publish(w);
        if (random >> 40 & 1)
            tell(w);
        storm_idle(w->self);
    } else if (more) {
        w->open++;
    } else {
        w->sent += w->open + 1;
        w->open = 0;
        note_all(w, 0);
    }
}

static void write_records(storm_child *self)
{
    writer w = { .self = self, .n = self->share };
    STORM_CHECK(self, weir_broadcast_gated_writer_attach(&w.w, w.n->ring, RING_BYTES, w.dead, READERS) == WEIR_OK);
    /* The former's last call has happened as a whole or not at all. */
    note last = w.n->writer[weir_load_acq(&w.n->now) % 2];
    w.sent = w.w.lane.pos == last.pos ? last.sent : last.sending;
    note_all(&w, 0);
    while (weir_load_rlx(&self->page->stop) == 0) {
        uint64_t random = support_random(&self->seed), batch = random % 8 < 4 ? 0 : 1 + random / 8 % BATCH_MAX;
        for (; batch > 0; batch--)
            put(&w, true, support_random(&self->seed));
        put(&w, false, random >> 16);
    }
}

/* ---- a reader ---- */

typedef struct reader {
    storm_child *self;
    notes *n;
    weir_broadcast_gated_reader r;
    unsigned slot;
    uint32_t comings;
    uint64_t next; /* the record that comes next */
    bool known;    /* or it is whichever comes first, from `next` on */
} reader;

static weir_status attach(reader *r, weir_broadcast_gated_start start)
{
    uint32_t generation = (uint32_t)(r->self->life << 8 | (r->comings++ & 255));
    storm_note(&r->n->reader[r->slot].generation, generation);
    if (start != WEIR_BROADCAST_GATED_RESUME)
        storm_note(&r->n->reader[r->slot].releasing, ANY);
    weir_status status = weir_broadcast_gated_reader_attach(&r->r, r->n->ring, RING_BYTES, r->slot, generation, start);
    storm_turn(r->self, 0);
    return status;
}

static void come(reader *r, uint64_t random)
{
    uint64_t sent = weir_load_acq(&r->n->sent);
    weir_broadcast_gated_start start = random % 16 == 0   ? WEIR_BROADCAST_GATED_OLDEST
                                       : random % 16 == 1 ? WEIR_BROADCAST_GATED_NEWEST
                                                          : WEIR_BROADCAST_GATED_RESUME;
    weir_status status = attach(r, start);
    if (status == WEIR_E_STATE) {
        start = WEIR_BROADCAST_GATED_OLDEST;
        status = attach(r, start);
    }
    while (status == WEIR_AGAIN)
        status = attach(r, start);
    STORM_CHECK(r->self, status == WEIR_OK);
    r->known = false;
    r->next = start == WEIR_BROADCAST_GATED_NEWEST ? sent : 0;
    if (start == WEIR_BROADCAST_GATED_RESUME) { /* what was released is not seen again, and nothing is missed */
        const void *msg;
        uint32_t len = 0;
        while ((status = weir_broadcast_gated_peek(&r->r, &msg, &len)) == WEIR_EMPTY) {
            storm_turn(r->self, 0);
            storm_idle(r->self);
            if (weir_load_rlx(&r->self->page->stop) != 0)
                return;
        }
        STORM_CHECK(r->self, status == WEIR_OK && len >= 16);
        memcpy(&r->next, msg, sizeof r->next);
        STORM_CHECK(r->self, storm_whole(msg, r->next, len));
        uint64_t releasing = weir_load_acq(&r->n->reader[r->slot].releasing);
        STORM_CHECK(r->self, r->next == weir_load_acq(&r->n->reader[r->slot].released) || r->next == releasing ||
                                 releasing == ANY);
        storm_note(&r->n->reader[r->slot].released, r->next);
        storm_note(&r->n->reader[r->slot].releasing, r->next);
        r->next++;
        r->known = true;
    }
}

static void give_back(reader *r)
{
    if (!r->known)
        return;
    storm_note(&r->n->reader[r->slot].releasing, r->next);
    weir_broadcast_gated_release(&r->r);
    storm_note(&r->n->reader[r->slot].released, r->next);
}

static void look(reader *r)
{
    unsigned char in[BUFFER];
    uint64_t sent = weir_load_acq(&r->n->sent), id = 0;
    uint32_t len = 0;
    weir_status status = weir_broadcast_gated_pop_more(&r->r, in, sizeof in, &len);
    storm_turn(r->self, status == WEIR_OK);
    if (status == WEIR_EMPTY) { /* what was published before has been read */
        STORM_CHECK(r->self, !r->known || r->next >= sent);
        give_back(r);
        storm_idle(r->self);
        return;
    }
    STORM_CHECK(r->self, status == WEIR_OK && len >= 16);
    memcpy(&id, in, sizeof id);
    STORM_CHECK(r->self, (r->known ? id == r->next : id >= r->next) && storm_whole(in, id, len));
    STORM_CHECK(r->self, id < weir_load_acq(&r->n->sending)); /* the writer had begun to publish it */
    if (!r->known) { /* where it begins: who takes over from here on resumes there */
        storm_note(&r->n->reader[r->slot].released, id);
        storm_note(&r->n->reader[r->slot].releasing, id);
    }
    r->next = id + 1;
    r->known = true;
}

static void read_records(storm_child *self)
{
    reader r = { .self = self, .n = self->share, .slot = self->index - 1 };
    come(&r, support_random(&self->seed));
    while (weir_load_rlx(&self->page->stop) == 0) {
        uint64_t random = support_random(&self->seed);
        look(&r);
        if (random % 4 == 0)
            give_back(&r);
        if ((random >> 8) % 64 == 0) {
            STORM_CHECK(self, weir_broadcast_gated_reader_detach(&r.r) == WEIR_OK);
            come(&r, random >> 16);
        }
    }
}

static void live(storm_child *self)
{
    if (self->index == 0)
        write_records(self);
    else
        read_records(self);
}

const storm_kind storm_broadcast_gated[STORM_BROADCAST_GATED_COUNT] = {
    { "broadcast-gated", CHILDREN, sizeof(notes), make, live, died },
};
