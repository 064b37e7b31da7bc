/* The rings between processes, 32 and more at once on however few processors: a producer and a consumer (spsc), 16
 * producers and a consumer (mpsc, mpsc-ordered), a writer and 4 readers (broadcast, latest) or 3 (broadcast-gated), as
 * many rings beside each other as it takes.  Producers and writers are killed at random and replaced by
 * heirs; what each had committed is known exactly, because a batch or record that was under way is wholly there or not
 * at all. */
#include "ring/kinds.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define PRODUCERS 16u
#define READERS 4u
#define RUN_MS (support_count(100) < 100 ? 400u : 1000u)
#define LATEST_MAX 600u
#define LATEST RING_KINDS
#define LANES 3u /* spsc, mpsc, mpsc-ordered come first */
#define PROCESSES 32u

/* What a producer knows at a moment; of two notes the one that `now` names is whole. */
typedef struct note {
    uint64_t pos;   /* the lane's published end, */
    uint64_t sent;  /* the records before it, */
    uint64_t doubt; /* and how many more there are if the end is another */
} note;

typedef struct board {
    struct {
        note notes[2];
        weir_atomic_u64 now;
    } lane[PRODUCERS];
    weir_atomic_u64 clock, stop, ended, started;
    uint64_t total; /* broadcast, latest: the records in all, once they ended */
} board;

typedef struct stage {
    ring r;
    unsigned kind;
    board *b;
    uint64_t seed;
    weir_broadcast_gated_reader gated[KIND_GATED_READERS];
} stage;

static uint64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static pid_t child(void (*run)(stage *, unsigned), stage *s, unsigned id)
{
    (void)fflush(stdout);
    pid_t parent = getpid(), pid = fork();
    CHECK(pid >= 0);
    if (pid != 0)
        return pid;
    CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent);
    run(s, id);
    (void)fflush(stdout);
    _exit(0);
}

static uint32_t length(uint64_t seq, unsigned id, uint32_t max)
{
    return (uint32_t)((seq * 16 + id) * UINT64_C(0xd6e8feb86659fd93) >> 40) % (max + 1);
}

static uint32_t make(unsigned char *msg, const stage *s, unsigned id, uint64_t seq, uint64_t began)
{
    uint32_t len = 8 + length(seq, id, s->r.kind->record_max(s->r.capacity) - 8);
    memcpy(msg, &began, 8);
    record_fill(msg + 8, id, seq, len - 8);
    return len;
}

static bool is_gated(const stage *s)
{
    return s->kind < RING_KINDS && s->r.kind == ring_kind_named("broadcast-gated");
}

/* ---- many producers ---- */

static uint64_t lane_pos(const stage *s, unsigned id)
{
    if (is_gated(s))
        return s->r.tx.gated.lane.pos;
    return s->kind == 2 ? s->r.tx.ordered[id].lane.pos : s->r.tx.lane[id].pos;
}

static void take_note(board *b, unsigned id, note n)
{
    uint64_t next = weir_load_rlx(&b->lane[id].now) + 1;
    b->lane[id].notes[next % 2] = n;
    weir_store_rel(&b->lane[id].now, next);
}

static note last_note(const board *b, unsigned id)
{
    return b->lane[id].notes[weir_load_acq(&b->lane[id].now) % 2];
}

static void produce(stage *s, unsigned id)
{
    const ring_kind *kind = s->r.kind;
    unsigned char msg[1024];
    uint64_t random = s->seed * 31 + id + (uint64_t)getpid() * 977;
    CHECK_OK(kind->attach_producer(&s->r, id));
    note n = last_note(s->b, id);
    if (lane_pos(s, id) != n.pos)
        n = (note){ lane_pos(s, id), n.sent + n.doubt, 0 };
    n.doubt = 0;
    take_note(s->b, id, n);
    (void)weir_fetch_add_rlx(&s->b->started, 1);
    while (weir_load_rlx(&s->b->stop) == 0) {
        bool more = support_random(&random) % 4 == 0;
        uint64_t began = weir_fetch_add_rlx(&s->b->clock, 1);
        uint32_t len = make(msg, s, id, n.sent + n.doubt, more ? UINT64_MAX : began);
        n.doubt++;
        take_note(s->b, id, n);
        weir_status status = kind->push(&s->r, id, msg, len, more);
        if (status != WEIR_OK) {
            CHECK_STATUS(status, WEIR_FULL);
            n.doubt--;
            take_note(s->b, id, n);
            kind->flush(&s->r, id);
        }
        if (status != WEIR_OK || !more) {
            n = (note){ lane_pos(s, id), n.sent + n.doubt, 0 };
            take_note(s->b, id, n);
        }
        if (status != WEIR_OK)
            (void)sched_yield();
    }
    kind->flush(&s->r, id);
    take_note(s->b, id, (note){ lane_pos(s, id), n.sent + n.doubt, 0 });
}

static void consume(stage *s, unsigned unused)
{
    const ring_kind *kind = s->r.kind;
    unsigned char buffer[1024], want[1024];
    uint64_t seen[PRODUCERS] = { 0 }, late[PRODUCERS] = { 0 }, high = 0, in_all = 0;
    (void)unused;
    CHECK_OK(kind->attach_consumer(&s->r));
    for (;;) {
        bool ended = weir_load_acq(&s->b->ended) != 0;
        uint32_t len = 0;
        unsigned id = 99;
        weir_status status = kind->pop_more(&s->r, buffer, sizeof buffer, &len, &id, NULL);
        if (status == WEIR_EMPTY) {
            kind->release(&s->r);
            if (ended)
                break;
            (void)sched_yield();
            continue;
        }
        uint64_t began;
        CHECK_OK(status);
        CHECK(id < PRODUCERS && len >= 8);
        memcpy(&began, buffer, 8);
        CHECK(make(want, s, id, seen[id], began) == len && memcmp(want, buffer, len) == 0);
        seen[id]++;
        if (kind->one_order && began != UINT64_MAX) { /* as in threads/rings_threads.c */
            CHECK(late[id] < began);
            late[id] = high;
            high = began > high ? began : high;
        }
        if (++in_all % 8 == 0)
            kind->release(&s->r);
    }
    for (unsigned id = 0; id < PRODUCERS; id++)
        CHECK(seen[id] == last_note(s->b, id).sent);
    printf("%s: %llu records\n", kind->name, (unsigned long long)in_all);
}

/* Each reader of a gated broadcast gets all: they were there before the writer. */
static void follow(stage *s, unsigned id)
{
    unsigned char buffer[1024], want[1024];
    uint64_t seen = 0;
    for (;;) {
        bool ended = weir_load_acq(&s->b->ended) != 0;
        uint32_t len = 0;
        weir_status status = weir_broadcast_gated_pop_more(&s->gated[id], buffer, sizeof buffer, &len);
        if (status == WEIR_EMPTY) {
            weir_broadcast_gated_release(&s->gated[id]);
            if (ended)
                break;
            (void)sched_yield();
            continue;
        }
        uint64_t began;
        CHECK_OK(status);
        CHECK(len >= 8);
        memcpy(&began, buffer, 8);
        CHECK(make(want, s, 0, seen, began) == len && memcmp(want, buffer, len) == 0);
        if (++seen % (8u << id) == 0)
            weir_broadcast_gated_release(&s->gated[id]);
    }
    CHECK(seen == last_note(s->b, 0).sent);
    CHECK_OK(weir_broadcast_gated_reader_detach(&s->gated[id]));
    printf("broadcast-gated: %llu records\n", (unsigned long long)seen);
}

/* ---- one writer ---- */

static void write_records(stage *s, unsigned last)
{
    unsigned char msg[1024];
    uint64_t random = s->seed * 31 + (uint64_t)getpid() * 977;
    weir_latest_writer w;
    if (s->kind == LATEST)
        CHECK_OK(weir_latest_writer_attach(&w, s->r.mem, s->r.bytes));
    else
        CHECK_OK(s->r.kind->attach_producer(&s->r, 0));
    (void)weir_fetch_add_rlx(&s->b->started, 1);
    while (weir_load_rlx(&s->b->stop) == 0) {
        if (s->kind == LATEST) {
            uint32_t len = length(w.number + 1, 0, LATEST_MAX);
            record_fill(msg, 0, w.number + 1, len);
            CHECK_OK(weir_latest_write(&w, msg, len));
        } else {
            uint64_t seq = s->r.tx.broadcast.number;
            uint32_t len = length(seq, 0, s->r.kind->record_max(s->r.capacity));
            record_fill(msg, 0, seq, len);
            if (s->r.kind->push(&s->r, 0, msg, len, support_random(&random) % 4 == 0) != WEIR_OK)
                s->r.kind->flush(&s->r, 0);
        }
    }
    if (last != 0 && s->kind == LATEST)
        s->b->total = w.number;
    if (last != 0 && s->kind != LATEST) {
        s->r.kind->flush(&s->r, 0);
        s->b->total = s->r.tx.broadcast.number;
    }
}

static void read_values(stage *s)
{
    unsigned char buffer[1024];
    weir_latest_reader r;
    uint64_t last = 0, number = 0, got = 0;
    uint32_t len = 0;
    CHECK_OK(weir_latest_reader_attach(&r, s->r.mem, s->r.bytes));
    for (bool ended = false; !ended;) {
        ended = weir_load_acq(&s->b->ended) != 0;
        weir_status status = weir_latest_read(&r, buffer, sizeof buffer, &len, &number);
        if (status == WEIR_OK) {
            CHECK(number >= last && len == length(number, 0, LATEST_MAX) && record_is(buffer, 0, number, len));
            if (number == last) /* or no writer comes to run */
                (void)sched_yield();
            last = number;
            got++;
        } else {
            CHECK((status == WEIR_AGAIN && !ended) || (status == WEIR_EMPTY && last == 0));
        }
    }
    CHECK(last == s->b->total);
    printf("latest: %llu of %llu read\n", (unsigned long long)got, (unsigned long long)last);
}

static void read_records(stage *s, unsigned id)
{
    if (s->kind == LATEST) {
        read_values(s);
        return;
    }
    unsigned char buffer[1024];
    uint32_t max = s->r.kind->record_max(s->r.capacity), len = 0;
    weir_broadcast_reader r;
    weir_status status;
    uint64_t next, lost = 0, got = 0, spins = 0;
    while ((status = weir_broadcast_reader_attach(&r, s->r.mem, s->r.bytes)) == WEIR_AGAIN) {
    }
    CHECK_OK(status);
    for (next = r.number;;) {
        bool ended = weir_load_acq(&s->b->ended) != 0;
        status = weir_broadcast_read(&r, buffer, sizeof buffer, &len, &lost);
        if (status == WEIR_OK) {
            next += lost;
            CHECK(len == length(next, 0, max) && record_is(buffer, 0, next, len));
            next++;
            got++;
        } else if (status == WEIR_EMPTY) {
            if (ended)
                break;
        } else {
            CHECK_STATUS(status, WEIR_AGAIN);
        }
        if (++spins % (64u << id) == 0)
            (void)sched_yield();
    }
    CHECK(next + r.lost == s->b->total);
    printf("broadcast: %llu of %llu read\n", (unsigned long long)got, (unsigned long long)s->b->total);
}

/* ---- the parent ---- */

static unsigned producers_of(unsigned kind) { return kind == 1 || kind == 2 ? PRODUCERS : 1; }

static unsigned readers_of(unsigned kind)
{
    bool gated = kind < RING_KINDS && strcmp(ring_kinds[kind].name, "broadcast-gated") == 0;
    return kind < LANES ? 1 : gated ? KIND_GATED_READERS : READERS;
}

static void play(unsigned kind, uint64_t capacity, uint64_t seed)
{
    stage s = { .kind = kind, .seed = seed };
    unsigned producers = producers_of(kind), readers = readers_of(kind), kills = 0;
    pid_t writers[PRODUCERS], others[READERS];
    if (kind == LATEST) {
        s.r.bytes = weir_latest_footprint(LATEST_MAX, 4);
    } else {
        s.r.kind = &ring_kinds[kind];
        s.r.producers = producers;
        s.r.capacity = capacity;
        s.r.bytes = s.r.kind->footprint(&s.r);
    }
    int flags = MAP_SHARED | MAP_ANONYMOUS;
    s.r.mem = mmap(NULL, s.r.bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    s.b = mmap(NULL, sizeof(board), PROT_READ | PROT_WRITE, flags, -1, 0);
    CHECK(s.r.mem != MAP_FAILED && s.b != MAP_FAILED);
    if (kind == LATEST)
        CHECK_OK(weir_latest_init(s.r.mem, s.r.bytes, LATEST_MAX, 4, 0));
    else
        CHECK_OK(s.r.kind->init(&s.r, 0));
    weir_store_rlx(&s.b->clock, 1);
    bool gated = is_gated(&s);
    for (unsigned i = 0; gated && i < KIND_GATED_READERS; i++)
        CHECK_OK(weir_broadcast_gated_reader_attach(&s.gated[i], s.r.mem, s.r.bytes, i, 1,
                                                    WEIR_BROADCAST_GATED_OLDEST));
    void (*run)(stage *, unsigned) = kind < LANES || gated ? produce : write_records;
    for (unsigned i = 0; i < readers; i++)
        others[i] = child(kind < LANES ? consume : gated ? follow : read_records, &s, i);
    for (unsigned i = 0; i < producers; i++)
        writers[i] = child(run, &s, i);
    while (weir_load_rlx(&s.b->started) < producers)
        (void)sched_yield();
    for (uint64_t deadline_ms = now_ms() + RUN_MS; now_ms() < deadline_ms;) {
        struct timespec pace = { .tv_nsec = (long)(support_random(&seed) % 3000000) }; /* when to kill; nothing more */
        (void)nanosleep(&pace, NULL);
        unsigned id = (unsigned)(support_random(&seed) % producers);
        CHECK(kill(writers[id], SIGKILL) == 0);
        CHECK(support_wait(writers[id]) == -SIGKILL);
        writers[id] = child(run, &s, id);
        kills++;
    }
    weir_store_rel(&s.b->stop, 1);
    for (unsigned i = 0; i < producers; i++)
        CHECK(support_wait(writers[i]) == 0);
    if (run == write_records) /* one more heir, to say how far it came */
        CHECK(support_wait(child(run, &s, 1)) == 0);
    weir_store_rel(&s.b->ended, 1);
    for (unsigned i = 0; i < readers; i++)
        CHECK(support_wait(others[i]) == 0);
    printf("%s, %u producers: %u killed\n", kind == LATEST ? "latest" : s.r.kind->name, producers, kills);
    CHECK(kills > 0 && munmap(s.r.mem, s.r.bytes) == 0 && munmap(s.b, sizeof(board)) == 0);
}

static void play_side_by_side(unsigned kind, uint64_t capacity, uint64_t *seed)
{
    pid_t players[PROCESSES];
    unsigned count = 0, ends = producers_of(kind) + readers_of(kind);
    for (; count * ends < PROCESSES; count++) {
        uint64_t own = support_random(seed);
        (void)fflush(stdout);
        pid_t parent = getpid();
        CHECK((players[count] = fork()) >= 0);
        if (players[count] != 0)
            continue;
        CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent);
        play(kind, capacity, own);
        (void)fflush(stdout);
        _exit(0);
    }
    for (unsigned i = 0; i < count; i++)
        CHECK(support_wait(players[i]) == 0);
}

int main(void)
{
    uint64_t seed = support_seed();
    for (unsigned kind = 0; kind <= LATEST; kind++)
        if (kind == LATEST || strcmp(ring_kinds[kind].name, "mpmc") != 0) /* see mpmc_processes.c */
            for (uint64_t capacity = 512; capacity <= 4096; capacity *= 8)
                play_side_by_side(kind, kind == LATEST ? 0 : capacity == 4096 ? 2048 : 512, &seed);
    return 0;
}
