/* A writer and two readers of a latest value for the storm.  A value says which one of all it is; so a reader knows that
 * what it gets is whole, is no older than what was the newest before it looked, and is never older than the one before. */
#include "storm.h"

#include <weir/ring/latest.h>

#define SLOTS 4u
#define VALUE_MAX 400u
#define START_NUMBER ((UINT64_C(1) << 32) - 4096)

enum { WRITER, READER, OTHER_READER, CHILDREN };

typedef struct notes {
    weir_atomic_u64 sent, sending; /* the newest value; the newest, if the writer's call has happened */
    _Alignas(WEIR_LINE_PAIR) unsigned char ring[WEIR_LATEST_CONTROL + SLOTS * 512];
} notes;

static void make(void *share)
{
    notes *n = share;
    CHECK(weir_latest_footprint(VALUE_MAX, SLOTS) == sizeof n->ring);
    CHECK_OK(weir_latest_init(n->ring, sizeof n->ring, VALUE_MAX, SLOTS, START_NUMBER));
    storm_note(&n->sent, START_NUMBER);
    storm_note(&n->sending, START_NUMBER);
}

static void put(storm_child *self, weir_latest_writer *w, uint64_t random)
{
    unsigned char out[VALUE_MAX];
    notes *n = self->share;
    uint64_t number = w->number + 1;
    uint32_t len = 16 + (uint32_t)(random / 4 % (VALUE_MAX - 15));
    void *value = NULL;
    storm_fill(out, number, len);
    storm_note(&n->sending, number);
    if (random % 2 != 0) {
        STORM_CHECK(self, weir_latest_write(w, out, len) == WEIR_OK);
    } else {
        STORM_CHECK(self, weir_latest_reserve(w, &value) == WEIR_OK);
        weir_words_store(weir_word_at(value, 0), out, len);
        STORM_CHECK(self, weir_latest_publish(w, len) == WEIR_OK);
    }
    storm_note(&n->sent, number);
    storm_turn(self, 1);
}

static void write_values(storm_child *self)
{
    notes *n = self->share;
    weir_latest_writer w;
    STORM_CHECK(self, weir_latest_writer_attach(&w, n->ring, sizeof n->ring) == WEIR_OK);
    /* The former's last call has happened as a whole or not at all. */
    STORM_CHECK(self, w.number == weir_load_acq(&n->sent) || w.number == weir_load_acq(&n->sending));
    storm_note(&n->sent, w.number);
    storm_note(&n->sending, w.number);
    while (weir_load_rlx(&self->page->stop) == 0) {
        uint64_t random = support_random(&self->seed);
        put(self, &w, random);
        for (uint64_t i = random >> 32 & 15; i > 0; i--)
            storm_idle(self);
    }
}

static void read_values(storm_child *self)
{
    notes *n = self->share;
    weir_latest_reader r;
    uint64_t last = START_NUMBER;
    STORM_CHECK(self, weir_latest_reader_attach(&r, n->ring, sizeof n->ring) == WEIR_OK);
    while (weir_load_rlx(&self->page->stop) == 0) {
        unsigned char in[VALUE_MAX];
        uint64_t sent = weir_load_acq(&n->sent), number = 0;
        uint32_t len = 0;
        weir_status status = weir_latest_read(&r, in, sizeof in, &len, &number);
        storm_turn(self, status == WEIR_OK && number != last);
        STORM_CHECK(self, status == WEIR_OK || status == WEIR_AGAIN);
        if (status != WEIR_OK)
            continue;
        STORM_CHECK(self, number >= sent && number >= last && number <= weir_load_acq(&n->sending));
        STORM_CHECK(self, number == START_NUMBER ? len == 0 : len >= 16 && storm_whole(in, number, len));
        if (number == last)
            storm_idle(self);
        last = number;
    }
}

static void live(storm_child *self)
{
    if (self->index == WRITER)
        write_values(self);
    else
        read_values(self);
}

const storm_kind storm_latest[STORM_LATEST_COUNT] = {
    { "latest", CHILDREN, sizeof(notes), make, live, NULL },
};
