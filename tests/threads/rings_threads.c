/* The rings of many ends between threads: mpsc and mpsc-ordered with up to 8 producers, broadcast, broadcast-gated and
 * latest with up to 4 readers, on rings so small that they are full, empty, overrun all the time, and with ends replaced
 * meanwhile.  Every byte is checked, and every count.  Under ThreadSanitizer a lane's payload is plain memory: a missing
 * order is a race.  What broadcast and latest overwrite are relaxed words; there the bytes alone tell. */
#include "ring/kinds.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>

#define RUN_MS 150
#define ENDS_MAX 8u

typedef struct stage {
    ring r;
    uint64_t deadline_ms;
    weir_atomic_u64 clock;          /* pushes that began; relaxed, so that it orders nothing else */
    weir_atomic_u64 sent[ENDS_MAX]; /* by producer: committed, once it has ended */
    weir_atomic_u64 ended;          /* a bit for each producer, or the writer */
    weir_atomic_u64 dead[ENDS_MAX]; /* by reader: this generation of it is dead, and all before */
    uint64_t seed;
    uint32_t value_max, slots;
} stage;

typedef struct end {
    stage *s;
    unsigned id;
} end;

static uint64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void wait_a_moment(unsigned *spins)
{
    if (++*spins % 200 == 0)
        (void)sched_yield();
    else
        weir_pause();
}

static uint32_t length(uint64_t seq, unsigned id, uint32_t max)
{
    return (uint32_t)((seq * 8 + id) * UINT64_C(0xd6e8feb86659fd93) >> 40) % (max + 1);
}

/* ---- many producers ---- */

/* A record: when its push began, then bytes that follow from whose it is and which. */
static uint32_t make(unsigned char *msg, const stage *s, unsigned id, uint64_t seq, uint64_t began)
{
    uint32_t len = 8 + length(seq, id, s->r.kind->record_max(s->r.capacity) - 8);
    memcpy(msg, &began, 8);
    record_fill(msg + 8, id, seq, len - 8);
    return len;
}

static void *produce(void *arg)
{
    const end *e = arg;
    stage *s = e->s;
    const ring_kind *kind = s->r.kind;
    unsigned char msg[1024];
    unsigned spins = 0;
    uint64_t random = s->seed + e->id + 1, seq = 0, published = 0;
    CHECK_OK(kind->attach_producer(&s->r, e->id));
    while (seq == 0 || seq % 64 != 0 || now_ms() < s->deadline_ms) {
        uint64_t bits = support_random(&random);
        bool more = bits % 4 == 0;
        uint64_t began = weir_fetch_add_rlx(&s->clock, 1);
        uint32_t len = make(msg, s, e->id, seq, more ? UINT64_MAX : began);
        weir_status status;
        if (bits & 16) {
            void *slot = NULL;
            status = kind->reserve(&s->r, e->id, len, &slot);
            if (status == WEIR_OK) {
                memcpy(slot, msg, len);
                CHECK_OK(kind->commit(&s->r, e->id, len, more));
            }
        } else {
            status = kind->push(&s->r, e->id, msg, len, more);
        }
        if (status == WEIR_OK) {
            seq++;
            if (!more)
                published = seq;
        } else {
            CHECK_STATUS(status, WEIR_FULL);
            kind->flush(&s->r, e->id);
            published = seq;
            wait_a_moment(&spins);
        }
        if ((bits >> 8) % 128 == 0) { /* gone, with whatever is open, and replaced */
            CHECK_OK(kind->attach_producer(&s->r, e->id));
            seq = published;
        }
    }
    kind->flush(&s->r, e->id);
    weir_store_rlx(&s->sent[e->id], seq);
    (void)weir_fetch_or_rel(&s->ended, UINT64_C(1) << e->id);
    return NULL;
}

/* One order: a record must not come after one whose push began later than its own returned.  Its return is not known,
 * but that it was before the same producer's next push began.  So `late` keeps, for each producer, the highest `began`
 * that was delivered before its last record; its next record's `began` must be higher. */
static void consume(stage *s, bool replace)
{
    const ring_kind *kind = s->r.kind;
    unsigned char buffer[1024], want[1024];
    uint64_t seen[ENDS_MAX] = { 0 }, released[ENDS_MAX] = { 0 }, all = (UINT64_C(1) << s->r.producers) - 1, in_all = 0;
    uint64_t random = s->seed, high = 0, late[ENDS_MAX] = { 0 };
    unsigned spins = 0;
    CHECK_OK(kind->attach_consumer(&s->r));
    for (;;) {
        bool ended = weir_load_acq(&s->ended) == all;
        uint32_t len = 0;
        unsigned id = 99;
        weir_status status = kind->pop_more(&s->r, buffer, sizeof buffer, &len, &id, NULL);
        if (status == WEIR_OK) {
            uint64_t began;
            CHECK(id < s->r.producers && len >= 8);
            memcpy(&began, buffer, 8);
            CHECK(make(want, s, id, seen[id], began) == len && memcmp(want, buffer, len) == 0);
            seen[id]++;
            in_all++;
            if (kind->one_order && !replace && began != UINT64_MAX) {
                CHECK(late[id] < began);
                late[id] = high;
                high = began > high ? began : high;
            }
        } else {
            CHECK_STATUS(status, WEIR_EMPTY);
            if (ended)
                break;
            wait_a_moment(&spins);
        }
        uint64_t bits = support_random(&random);
        if (bits % 4 == 0 || status == WEIR_EMPTY) {
            kind->release(&s->r);
            memcpy(released, seen, sizeof seen);
        }
        if (replace && (bits >> 8) % 64 == 0) {
            CHECK_OK(kind->attach_consumer(&s->r));
            memcpy(seen, released, sizeof seen);
        }
    }
    for (unsigned id = 0; id < s->r.producers; id++)
        CHECK(seen[id] == weir_load_rlx(&s->sent[id]));
    CHECK(in_all > 0);
}

static void many_producers(const ring_kind *kind, unsigned producers, uint64_t capacity, bool replace, uint64_t seed)
{
    stage s = { .seed = seed };
    weir_store_rlx(&s.clock, 1);
    pthread_t threads[ENDS_MAX];
    end ends[ENDS_MAX];
    ring_make(&s.r, kind, producers, capacity, 0 - UINT64_C(2048));
    s.deadline_ms = now_ms() + RUN_MS;
    for (unsigned i = 0; i < producers; i++) {
        ends[i] = (end){ &s, i };
        CHECK(pthread_create(&threads[i], NULL, produce, &ends[i]) == 0);
    }
    consume(&s, replace);
    for (unsigned i = 0; i < producers; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    ring_free(&s.r);
}

/* ---- broadcast ---- */

static void *cast(void *arg)
{
    const end *e = arg;
    stage *s = e->s;
    const ring_kind *kind = s->r.kind;
    unsigned char msg[1024];
    uint64_t random = s->seed, seq = 0, published = 0;
    while (seq == 0 || seq % 64 != 0 || now_ms() < s->deadline_ms) {
        uint64_t bits = support_random(&random);
        bool more = bits % 4 == 0;
        uint32_t len = length(seq, 0, kind->record_max(s->r.capacity));
        record_fill(msg, 0, seq, len);
        weir_status status = kind->push(&s->r, 0, msg, len, more);
        if (status == WEIR_OK)
            seq++;
        else
            kind->flush(&s->r, 0);
        if (status != WEIR_OK || !more)
            published = seq;
        if ((bits >> 8) % 128 == 0) {
            CHECK_OK(kind->attach_producer(&s->r, 0));
            seq = published;
        }
        for (uint64_t pause = (bits >> 16) % 1024 == 0 ? 2000 : (bits >> 32) % 64; pause > 0; pause--)
            weir_pause();
    }
    kind->flush(&s->r, 0);
    weir_store_rlx(&s->sent[0], seq);
    weir_store_rel(&s->ended, 1);
    return NULL;
}

static void *listen_to(void *arg)
{
    const end *e = arg;
    stage *s = e->s;
    uint32_t max = s->r.kind->record_max(s->r.capacity);
    unsigned char buffer[1024];
    weir_broadcast_reader r;
    uint64_t random = s->seed + e->id + 1, next = 0, lost_in_all = 0, got = 0;
    unsigned spins = 0;
    weir_status status;
    while ((status = weir_broadcast_reader_attach(&r, s->r.mem, s->r.bytes)) == WEIR_AGAIN) {
    }
    CHECK_OK(status);
    next = r.number - (0 - UINT64_C(2048)) / 8;
    for (;;) {
        bool ended = weir_load_acq(&s->ended) != 0;
        uint32_t len = 0;
        uint64_t lost = 0;
        status = weir_broadcast_read(&r, buffer, sizeof buffer, &len, &lost);
        if (status == WEIR_OK) {
            next += lost;
            lost_in_all += lost;
            got++;
            CHECK(len == length(next, 0, max) && record_is(buffer, 0, next, len));
            next++;
        } else if (status == WEIR_EMPTY) {
            if (ended)
                break;
            wait_a_moment(&spins);
        } else {
            CHECK_STATUS(status, WEIR_AGAIN);
        }
        uint64_t bits = support_random(&random);
        if (e->id != 0 && bits % 64 == 0) /* a slow one */
            for (uint64_t pause = 0; pause < (bits >> 8) % 4096; pause++)
                weir_pause();
        if (e->id == 1 && (bits >> 32) % 4096 == 0) { /* one that goes and comes again */
            while ((status = weir_broadcast_reader_attach(&r, s->r.mem, s->r.bytes)) == WEIR_AGAIN) {
            }
            CHECK_OK(status);
            next = r.number - (0 - UINT64_C(2048)) / 8;
        }
    }
    CHECK(next + r.lost == weir_load_rlx(&s->sent[0]));
    printf("  reader %u: %llu read, %llu lost\n", e->id, (unsigned long long)got, (unsigned long long)lost_in_all);
    return NULL;
}

static void one_writer(unsigned readers, uint64_t capacity, uint64_t seed)
{
    stage s = { .seed = seed };
    pthread_t threads[ENDS_MAX], writer;
    end ends[ENDS_MAX];
    ring_make(&s.r, &ring_kinds[3], 1, capacity, 0 - UINT64_C(2048));
    s.deadline_ms = now_ms() + RUN_MS * 2;
    for (unsigned i = 0; i < readers; i++) {
        ends[i] = (end){ &s, i };
        CHECK(pthread_create(&threads[i], NULL, listen_to, &ends[i]) == 0);
    }
    CHECK(pthread_create(&writer, NULL, cast, &ends[0]) == 0 && pthread_join(writer, NULL) == 0);
    for (unsigned i = 0; i < readers; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    ring_free(&s.r);
}

/* ---- broadcast, gated ---- */

/* A record: its number, then bytes that follow from it. */
static uint32_t make_numbered(unsigned char *msg, const stage *s, uint64_t seq)
{
    uint32_t len = 8 + length(seq, 0, weir_broadcast_gated_record_max(s->r.capacity) - 8);
    memcpy(msg, &seq, 8);
    record_fill(msg + 8, 0, seq, len - 8);
    return len;
}

/* Whoever holds it up and is dead. */
static void tell(stage *s, weir_broadcast_gated_writer *w)
{
    weir_broadcast_gated_gate gate;
    for (uint32_t from = 0; weir_broadcast_gated_gate_from(w, from, &gate) == WEIR_OK; from = gate.reader + 1)
        if (gate.generation <= weir_load_acq(&s->dead[gate.reader]))
            CHECK_OK(weir_broadcast_gated_recover(w, gate.reader, gate.generation));
}

static weir_status put_gated(weir_broadcast_gated_writer *w, const unsigned char *msg, uint32_t len, bool more,
                             bool copy)
{
    void *slot = NULL;
    if (copy)
        return more ? weir_broadcast_gated_push_more(w, msg, len) : weir_broadcast_gated_push(w, msg, len);
    weir_status status = weir_broadcast_gated_reserve(w, len, &slot);
    if (status != WEIR_OK)
        return status;
    memcpy(slot, msg, len);
    return more ? weir_broadcast_gated_commit_more(w, len) : weir_broadcast_gated_commit(w, len);
}

static void *cast_gated(void *arg)
{
    stage *s = arg;
    weir_broadcast_gated_writer w;
    uint64_t dead[ENDS_MAX], random = s->seed, seq = 0, published = 0;
    unsigned char msg[1024];
    unsigned spins = 0;
    weir_status status;
    CHECK_OK(weir_broadcast_gated_writer_attach(&w, s->r.mem, s->r.bytes, dead, ENDS_MAX));
    while (seq < 64 || now_ms() < s->deadline_ms) {
        uint64_t bits = support_random(&random);
        bool more = bits % 4 == 0;
        status = put_gated(&w, msg, make_numbered(msg, s, seq), more, bits & 16);
        if (status == WEIR_OK) {
            seq++;
        } else {
            CHECK_STATUS(status, WEIR_FULL);
            weir_broadcast_gated_flush(&w);
            tell(s, &w);
            wait_a_moment(&spins);
        }
        if (status != WEIR_OK || !more)
            published = seq;
        if ((bits >> 8) % 128 == 0) { /* gone, with whatever is open, and replaced */
            CHECK_OK(weir_broadcast_gated_writer_attach(&w, s->r.mem, s->r.bytes, dead, ENDS_MAX));
            seq = published;
        }
    }
    weir_broadcast_gated_flush(&w);
    weir_store_rlx(&s->sent[0], seq);
    weir_store_rel(&s->ended, 1);
    while ((status = weir_broadcast_gated_drained(&w)) == WEIR_FULL) {
        tell(s, &w);
        wait_a_moment(&spins);
    }
    CHECK_OK(status);
    return NULL;
}

typedef struct follower {
    const end *e;
    weir_broadcast_gated_reader r;
    uint64_t next, released; /* records: the one that comes next, if it is known; and what a successor begins with */
    uint32_t generation;
    bool known;
} follower;

/* Comes again, after it has left or died. */
static void come(follower *f, uint64_t bits)
{
    stage *s = f->e->s;
    weir_broadcast_gated_start start = bits % 8 == 0   ? WEIR_BROADCAST_GATED_OLDEST
                                       : bits % 8 == 1 ? WEIR_BROADCAST_GATED_NEWEST
                                                       : WEIR_BROADCAST_GATED_RESUME;
    weir_status status;
    while ((status = weir_broadcast_gated_reader_attach(&f->r, s->r.mem, s->r.bytes, f->e->id, ++f->generation,
                                                        start)) != WEIR_OK) {
        CHECK(status == WEIR_AGAIN || (status == WEIR_E_STATE && start == WEIR_BROADCAST_GATED_RESUME));
        if (status == WEIR_E_STATE)
            start = WEIR_BROADCAST_GATED_OLDEST;
    }
    f->known = f->known && start == WEIR_BROADCAST_GATED_RESUME;
    f->next = f->released;
}

static weir_status follow_one(follower *f)
{
    unsigned char buffer[1024], want[1024];
    uint32_t len = 0;
    uint64_t seq;
    weir_status status = weir_broadcast_gated_pop_more(&f->r, buffer, sizeof buffer, &len);
    if (status != WEIR_OK)
        return status;
    CHECK(len >= 8);
    memcpy(&seq, buffer, 8);
    CHECK(!f->known || seq == f->next);
    CHECK(make_numbered(want, f->e->s, seq) == len && memcmp(want, buffer, len) == 0);
    if (!f->known)
        f->released = seq;
    f->known = true;
    f->next = seq + 1;
    return WEIR_OK;
}

static void *follow(void *arg)
{
    follower f = { .e = arg };
    stage *s = f.e->s;
    uint64_t random = s->seed + f.e->id + 1, got = 0, first = 0, comings = 0;
    unsigned spins = 0;
    come(&f, 0);
    for (;;) {
        bool ended = weir_load_acq(&s->ended) != 0;
        uint64_t bits = support_random(&random);
        weir_status status = follow_one(&f);
        if (status == WEIR_OK && got++ == 0)
            first = f.next - 1;
        if (status == WEIR_EMPTY)
            wait_a_moment(&spins);
        else
            CHECK_OK(status);
        if (bits % 4 == 0 || status == WEIR_EMPTY) {
            weir_broadcast_gated_release(&f.r);
            f.released = f.next;
        }
        if (status == WEIR_EMPTY && ended)
            break;
        if (f.e->id != 0 && (bits >> 8) % 64 == 0) {
            if (bits & 1 << 4)
                CHECK_OK(weir_broadcast_gated_reader_detach(&f.r));
            else if (bits & 1 << 5)
                weir_store_rel(&s->dead[f.e->id], f.generation); /* some deaths nobody hears of */
            come(&f, bits >> 16);
            comings++;
        }
    }
    CHECK(!f.known || f.next == weir_load_rlx(&s->sent[0]));
    CHECK(f.e->id != 0 || (f.known && got == f.next - first)); /* who stays sees each once */
    printf("  reader %u: %llu read, %llu times come again\n", f.e->id, (unsigned long long)got,
           (unsigned long long)comings);
    return NULL;
}

static void one_gated_writer(unsigned readers, uint64_t capacity, uint64_t seed)
{
    stage s = { .seed = seed };
    pthread_t threads[ENDS_MAX], writer;
    end ends[ENDS_MAX];
    s.r.capacity = capacity;
    s.r.bytes = weir_broadcast_gated_footprint(readers, capacity);
    s.r.mem = aligned_alloc(128, (s.r.bytes + 127) / 128 * 128);
    CHECK(s.r.mem != NULL);
    CHECK_OK(weir_broadcast_gated_init(s.r.mem, s.r.bytes, readers, capacity, 0 - UINT64_C(2048)));
    s.deadline_ms = now_ms() + RUN_MS * 2;
    for (unsigned i = 0; i < readers; i++) {
        ends[i] = (end){ &s, i };
        CHECK(pthread_create(&threads[i], NULL, follow, &ends[i]) == 0);
    }
    CHECK(pthread_create(&writer, NULL, cast_gated, &s) == 0 && pthread_join(writer, NULL) == 0);
    for (unsigned i = 0; i < readers; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    ring_free(&s.r);
}

/* ---- latest ---- */

static void *write_values(void *arg)
{
    stage *s = arg;
    weir_latest_writer w;
    unsigned char value[1024];
    uint64_t random = s->seed, number = 0;
    void *slot = NULL;
    CHECK_OK(weir_latest_writer_attach(&w, s->r.mem, s->r.bytes));
    while (number == 0 || number % 64 != 0 || now_ms() < s->deadline_ms) {
        uint64_t bits = support_random(&random);
        uint32_t len = length(++number, 0, s->value_max);
        record_fill(value, 0, number, len);
        if (bits & 1) {
            CHECK_OK(weir_latest_write(&w, value, len));
        } else {
            CHECK_OK(weir_latest_reserve(&w, &slot));
            weir_words_store(weir_word_at(slot, 0), value, len); /* plain stores would be a race, as latest.h says */
            if (bits % 64 == 0) {                                /* gone, and replaced */
                CHECK_OK(weir_latest_writer_attach(&w, s->r.mem, s->r.bytes));
                number--;
                continue;
            }
            CHECK_OK(weir_latest_publish(&w, len));
        }
        for (uint64_t pause = (bits >> 8) % 32; pause > 0; pause--)
            weir_pause();
    }
    weir_store_rlx(&s->sent[0], number);
    weir_store_rel(&s->ended, 1);
    return NULL;
}

static void *read_values(void *arg)
{
    const end *e = arg;
    stage *s = e->s;
    weir_latest_reader r;
    unsigned char buffer[1024];
    uint64_t last = 0, got = 0, again = 0, number = 0;
    uint32_t len = 0;
    CHECK_OK(weir_latest_reader_attach(&r, s->r.mem, s->r.bytes));
    for (;;) {
        bool ended = weir_load_acq(&s->ended) != 0;
        weir_status status = weir_latest_read(&r, buffer, sizeof buffer, &len, &number);
        if (status == WEIR_OK) {
            got++;
            CHECK(number >= last && len == length(number, 0, s->value_max) && record_is(buffer, 0, number, len));
            last = number;
        } else if (status == WEIR_AGAIN) {
            again++;
            CHECK(!ended);
        } else {
            CHECK_STATUS(status, WEIR_EMPTY);
            CHECK(last == 0);
        }
        if (ended)
            break;
        if (got % 256 == 0)
            CHECK_OK(weir_latest_reader_attach(&r, s->r.mem, s->r.bytes));
    }
    CHECK(last == weir_load_rlx(&s->sent[0]));
    printf("  reader %u: %llu read, %llu times overtaken at each try\n", e->id, (unsigned long long)got,
           (unsigned long long)again);
    return NULL;
}

static void one_value(unsigned readers, uint32_t value_max, uint32_t slots, uint64_t seed)
{
    stage s = { .seed = seed, .value_max = value_max, .slots = slots };
    pthread_t threads[ENDS_MAX], writer;
    end ends[ENDS_MAX];
    s.r.bytes = weir_latest_footprint(value_max, slots);
    s.r.mem = aligned_alloc(128, s.r.bytes);
    CHECK(s.r.mem != NULL);
    CHECK_OK(weir_latest_init(s.r.mem, s.r.bytes, value_max, slots, 0));
    s.deadline_ms = now_ms() + RUN_MS * 2;
    for (unsigned i = 0; i < readers; i++) {
        ends[i] = (end){ &s, i };
        CHECK(pthread_create(&threads[i], NULL, read_values, &ends[i]) == 0);
    }
    CHECK(pthread_create(&writer, NULL, write_values, &s) == 0 && pthread_join(writer, NULL) == 0);
    for (unsigned i = 0; i < readers; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    ring_free(&s.r);
}

int main(void)
{
    uint64_t seed = support_seed();
    for (unsigned k = 1; k <= 2; k++) /* mpsc, mpsc-ordered */
        for (unsigned producers = 1; producers <= ENDS_MAX; producers += producers < 2 ? 1 : 3)
            for (uint64_t capacity = 128; capacity <= 1024; capacity *= 8)
                for (unsigned replace = 0; replace < 2; replace++) {
                    printf("%s, %u producers, %llu bytes\n", ring_kinds[k].name, producers,
                           (unsigned long long)capacity);
                    many_producers(&ring_kinds[k], producers, capacity, replace != 0, support_random(&seed));
                }
    for (unsigned readers = 1; readers <= 4; readers += 1)
        for (uint64_t capacity = 256; capacity <= 2048; capacity *= 8) {
            printf("broadcast, %u readers, %llu bytes\n", readers, (unsigned long long)capacity);
            one_writer(readers, capacity, support_random(&seed));
        }
    for (unsigned readers = 1; readers <= 4; readers += 1)
        for (uint64_t capacity = 64; capacity <= 2048; capacity *= 32) {
            printf("broadcast-gated, %u readers, %llu bytes\n", readers, (unsigned long long)capacity);
            one_gated_writer(readers, capacity, support_random(&seed));
        }
    for (unsigned readers = 1; readers <= 4; readers *= 2)
        for (uint32_t slots = 4; slots <= 16; slots *= 4) {
            printf("latest, %u readers, %u slots\n", readers, slots);
            one_value(readers, 1000, slots, support_random(&seed));
        }
    return 0;
}
