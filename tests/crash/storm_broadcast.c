/* A writer and two readers of a broadcast ring for the storm.  A record says which one of all it is; so a reader knows
 * that what it gets is exact, and that it was told exactly how many it lost. */
#include "storm.h"

#include <string.h>
#include <weir/ring/broadcast.h>

#define CAPACITY UINT64_C(1024)
#define BUFFER 256u
#define BATCH_MAX 4u
#define START_NUMBER (UINT64_MAX - 1000)

enum { WRITER, READER, OTHER_READER, CHILDREN };

typedef struct notes {
    weir_atomic_u64 sent, sending; /* records that are published; how many, if the writer's call has happened */
    _Alignas(WEIR_LINE_PAIR) unsigned char ring[WEIR_BROADCAST_CONTROL + CAPACITY];
} notes;

static void make(void *share)
{
    notes *n = share;
    CHECK_OK(weir_broadcast_init(n->ring, sizeof n->ring, CAPACITY, UINT64_MAX - 4095, START_NUMBER));
}

static bool put(storm_child *self, weir_broadcast_writer *w, bool more, uint64_t random)
{
    unsigned char out[BUFFER];
    notes *n = self->share;
    uint64_t id = w->number - START_NUMBER, len = 16 + random / 4 % (weir_broadcast_record_max(CAPACITY) - 15);
    void *slot = NULL;
    weir_status status;
    storm_fill(out, id, len);
    if (!more)
        storm_note(&n->sending, id + 1);
    if (random % 2 != 0) {
        status = (more ? weir_broadcast_push_more : weir_broadcast_push)(w, out, len);
    } else if ((status = weir_broadcast_reserve(w, len, &slot)) == WEIR_OK) {
        weir_words_store(weir_word_at(slot, 0), out, len);
        status = (more ? weir_broadcast_commit_more : weir_broadcast_commit)(w, len);
    }
    STORM_CHECK(self, status == WEIR_OK || status == WEIR_FULL);
    if (!more && status == WEIR_OK)
        storm_note(&n->sent, id + 1);
    storm_turn(self, status == WEIR_OK);
    return status == WEIR_OK;
}

static void flush(storm_child *self, weir_broadcast_writer *w)
{
    notes *n = self->share;
    storm_note(&n->sending, w->number - START_NUMBER);
    weir_broadcast_flush(w);
    storm_note(&n->sent, w->number - START_NUMBER);
}

static void write_records(storm_child *self)
{
    notes *n = self->share;
    weir_broadcast_writer w;
    STORM_CHECK(self, weir_broadcast_writer_attach(&w, n->ring, sizeof n->ring) == WEIR_OK);
    uint64_t begun = w.number - START_NUMBER; /* the former's last call has happened as a whole or not at all */
    STORM_CHECK(self, begun == weir_load_acq(&n->sent) || begun == weir_load_acq(&n->sending));
    storm_note(&n->sent, begun);
    storm_note(&n->sending, begun);
    while (weir_load_rlx(&self->page->stop) == 0) {
        uint64_t random = support_random(&self->seed), batch = random % 8 < 4 ? 0 : 1 + random / 8 % BATCH_MAX;
        for (; batch > 0 && put(self, &w, true, support_random(&self->seed)); batch--)
            continue;
        if (batch > 0 || random % 2 != 0 || !put(self, &w, false, random >> 16))
            flush(self, &w);
        for (uint64_t i = random >> 32 & 15; i > 0; i--)
            storm_idle(self);
    }
}

static void read_records(storm_child *self)
{
    notes *n = self->share;
    weir_broadcast_reader r;
    weir_status status;
    while ((status = weir_broadcast_reader_attach(&r, n->ring, sizeof n->ring)) == WEIR_AGAIN)
        storm_turn(self, 0);
    STORM_CHECK(self, status == WEIR_OK);
    uint64_t next = r.number - START_NUMBER;
    while (weir_load_rlx(&self->page->stop) == 0) {
        unsigned char in[BUFFER];
        uint64_t sent = weir_load_acq(&n->sent), lost = 0;
        uint32_t len = 0;
        status = weir_broadcast_read(&r, in, sizeof in, &len, &lost);
        storm_turn(self, status == WEIR_OK);
        STORM_CHECK(self, status == WEIR_OK || status == WEIR_EMPTY || status == WEIR_AGAIN);
        if (status == WEIR_EMPTY) { /* what was published before has been read, or counted as lost */
            STORM_CHECK(self, r.number - START_NUMBER >= sent && next + r.lost == r.number - START_NUMBER);
            storm_idle(self);
        }
        if (status != WEIR_OK)
            continue;
        next += lost;
        STORM_CHECK(self, len >= 16 && storm_whole(in, next, len));
        next++;
        STORM_CHECK(self, next <= weir_load_acq(&n->sending)); /* the writer had begun to publish it */
    }
}

static void live(storm_child *self)
{
    if (self->index == WRITER)
        write_records(self);
    else
        read_records(self);
}

const storm_kind storm_broadcast[STORM_BROADCAST_COUNT] = {
    { "broadcast", CHILDREN, sizeof(notes), make, live, NULL },
};
