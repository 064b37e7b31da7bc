/* The registry between threads: readers resolve refs and read what is there, while other threads make sections, publish
 * views of them, retire, poison, unmap and close.  Built with each backend (WEIR_TEST_BACKEND).
 *
 * The content of a section follows from its id, so a reader knows each word.  When a view is retired, its owner writes
 * poison over its own copy of the content and unmaps it: a reader that still has an address reads poison, or faults; to
 * ThreadSanitizer it is a race.  One part of each section stays published as long as its ref is on the board as pinned:
 * to resolve it never fails. */
#include "support.h"

#include <weir/base/atomic.h>
#include <weir/naming/registry.h>
#include <weir/naming/unnamed.h>

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define READERS 3u
#define OWNERS 2u
#define SECTIONS 4u /* that each owner has at a time */
#define PARTS 3u    /* of a section: a view each */
#define PART WEIR_VIEW_GRANULE
#define RESOLUTIONS UINT64_C(1000000)
#define VIEWS UINT64_C(12000)
#define WORDS 8u /* that a reader reads of a ref */

/* What is there to be read: ids, which may be of sections that have gone. */
static weir_atomic_u64 board[OWNERS * SECTIONS];
/* One section that is there from the beginning to the end, in which views come and go. */
static uint64_t lasting;
static weir_atomic_u64 resolved[READERS], views[OWNERS], ended;
static uint64_t seed;

static uint64_t word(uint64_t id, uint64_t offset)
{
    uint64_t x = (id ^ offset) * UINT64_C(0x9e3779b97f4a7c15);
    return x ^ x >> 29;
}

static void fill(const weir_view *view, uint64_t id)
{
    uint64_t *words = view->base;
    for (uint64_t i = 0; i < view->size / 8; i++)
        words[i] = word(id, view->offset + i * 8);
}

/* ---- readers ---- */

struct counts { uint64_t found, not_found, out_of_range; };

/* Reads some words at a ref that any of the threads may be taking away. */
static void read_one(uint64_t id, uint64_t offset, bool dawdle, bool pinned, struct counts *counts)
{
    void *at = NULL;
    CHECK_OK(weir_read_begin());
    weir_status status = weir_resolve((weir_ref){ id, offset }, WORDS * 8, WEIR_READ_ONLY, &at);
    if (status == WEIR_OK) {
        const uint64_t *words = at;
        for (unsigned i = 0; i < WORDS; i++) {
            if (dawdle && i == WORDS / 2)
                (void)sched_yield();
            if (words[i] != word(id, offset + i * 8)) {
                (void)fprintf(stderr, "section %#llx, offset %llu: %#llx and not %#llx\n", (unsigned long long)id,
                              (unsigned long long)offset + i * 8, (unsigned long long)words[i],
                              (unsigned long long)word(id, offset + i * 8));
                CHECK(!"a retired view was read");
            }
        }
        counts->found++;
    } else {
        CHECK(!pinned);
        CHECK(status == WEIR_E_NOT_FOUND || status == WEIR_E_RANGE);
        *(status == WEIR_E_RANGE ? &counts->out_of_range : &counts->not_found) += 1;
    }
    CHECK_OK(weir_read_end());
}

static void *reads(void *arg)
{
    unsigned id = (unsigned)(uintptr_t)arg;
    uint64_t random = seed * 7 + id + 1;
    struct counts counts = { 0, 0, 0 };
    while (weir_load_rlx(&ended) != OWNERS) {
        uint64_t bits = support_random(&random), last = PARTS * PART - WORDS * 8;
        uint64_t offset = (bits >> 16) % last / 8 * 8;
        bool dawdle = bits % 2048 == 0;
        if (bits % 64 == 1)
            (void)sched_yield(); /* outside, or it would most often lose the processor inside, and retiring take long */
        if ((bits >> 9) % 4 == 0) /* pinned: part 0 of that section */
            read_one(lasting, offset % (PART - WORDS * 8), dawdle, true, &counts);
        else
            read_one(weir_load_rlx(&board[(bits >> 11) % (OWNERS * SECTIONS)]), offset, dawdle, false, &counts);
        weir_store_rlx(&resolved[id], counts.found);
    }
    printf("reader %u: %llu resolved, %llu not found, %llu not covered\n", id, (unsigned long long)counts.found,
           (unsigned long long)counts.not_found, (unsigned long long)counts.out_of_range);
    CHECK(counts.not_found != 0); /* or views did not go under its eyes */
    return NULL;
}

/* ---- owners ---- */

struct owned {
    weir_section *section;
    weir_view views[PARTS];
};

static void give_up(struct owned *o)
{
    for (unsigned i = 0; i < PARTS; i++) {
        CHECK_OK(weir_registry_retire(&o->views[i]));
        memset(o->views[i].base, 0xee, PART);
        CHECK_OK(weir_view_unmap(&o->views[i]));
    }
    CHECK_OK(weir_section_close(o->section));
}

static void make(struct owned *o, weir_atomic_u64 *place)
{
    CHECK_OK(weir_section_create_unnamed(&o->section, PARTS * PART, NULL));
    for (unsigned i = 0; i < PARTS; i++) {
        CHECK_OK(weir_view_map(&o->views[i], o->section, i * PART, PART, WEIR_READ_WRITE));
        fill(&o->views[i], weir_section_id(o->section));
        CHECK_OK(weir_registry_publish(&o->views[i]));
    }
    weir_store_rlx(place, weir_section_id(o->section)); /* relaxed: a ref carries nothing but itself */
}

static uint64_t all_resolved(void)
{
    uint64_t all = 0;
    for (unsigned i = 0; i < READERS; i++)
        all += weir_load_rlx(&resolved[i]);
    return all;
}

static void *owns(void *arg)
{
    unsigned id = (unsigned)(uintptr_t)arg;
    uint64_t random = seed * 3 + id + 1, count = 0;
    struct owned owned[SECTIONS] = { { 0 } };
    while (count < support_count(VIEWS) / OWNERS || all_resolved() < support_count(RESOLUTIONS)) {
        unsigned which = (unsigned)(support_random(&random) % SECTIONS);
        if (owned[which].section != NULL)
            give_up(&owned[which]);
        make(&owned[which], &board[id * SECTIONS + which]);
        count += PARTS;
        weir_store_rlx(&views[id], count);
    }
    for (unsigned i = 0; i < SECTIONS; i++)
        if (owned[i].section != NULL)
            give_up(&owned[i]);
    (void)weir_fetch_add_rlx(&ended, 1);
    return NULL;
}

/* Other views of the lasting section, some of which cover its first part, some not; the content stays. */
static void come_and_go(weir_section *section)
{
    uint64_t random = seed;
    while (weir_load_rlx(&ended) != OWNERS) {
        weir_view view;
        uint64_t from = support_random(&random) % PARTS;
        CHECK_OK(weir_view_map(&view, section, from * PART, 0, from % 2 != 0 ? WEIR_READ_ONLY : WEIR_READ_WRITE));
        CHECK_OK(weir_registry_publish(&view));
        (void)sched_yield();
        CHECK_OK(weir_registry_retire(&view));
        CHECK_OK(weir_view_unmap(&view));
    }
}

/* ---- figures, for naming/README.md: registry figures ---- */

#define FIGURE_ROUNDS 2000 /* short ones, so that some are not interrupted on a busy machine */
#define FIGURE_STEPS 5000

struct runner {
    unsigned count; /* of the refs */
    weir_ref *refs;
    void **plain; /* what they resolve to */
    double ns[4]; /* a step of each kind; the least of all rounds */
};

static double now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* Each step reads the word that the last one led to: where to go next.  By plain pointers; by refs, in a read section
 * of its own each; by refs in one read section; read sections alone. */
static uint64_t step(const struct runner *r, unsigned kind, uint64_t at)
{
    void *address = NULL;
    switch (kind) {
    case 0:
        return *(const uint64_t *)r->plain[at];
    case 1:
        CHECK_OK(weir_read_begin());
        CHECK_OK(weir_resolve(r->refs[at], 8, WEIR_READ_ONLY, &address));
        at = *(const uint64_t *)address;
        CHECK_OK(weir_read_end());
        return at;
    case 2:
        CHECK_OK(weir_resolve(r->refs[at], 8, WEIR_READ_ONLY, &address));
        return *(const uint64_t *)address;
    default:
        CHECK_OK(weir_read_begin());
        CHECK_OK(weir_read_end());
        return at;
    }
}

static void *run_figures(void *arg)
{
    struct runner *r = arg;
    for (unsigned round = 0; round < FIGURE_ROUNDS; round++)
        for (unsigned kind = 0; kind < 4; kind++) {
            uint64_t at = 0;
            if (kind == 2)
                CHECK_OK(weir_read_begin());
            double began = now_ns();
            for (unsigned i = 0; i < FIGURE_STEPS; i++)
                at = step(r, kind, at);
            double ns = (now_ns() - began) / FIGURE_STEPS;
            if (kind == 2)
                CHECK_OK(weir_read_end());
            CHECK(at < r->count);
            if (round == 0 || ns < r->ns[kind])
                r->ns[kind] = ns;
        }
    return NULL;
}

static void figures_of(unsigned count, unsigned threads)
{
    weir_section *sections[256];
    weir_view of[256];
    weir_ref refs[256];
    void *plain[256];
    double publish = 0, retire = 0;
    for (unsigned i = 0; i < count; i++) {
        CHECK_OK(weir_section_create_unnamed(&sections[i], 4096, NULL));
        CHECK_OK(weir_view_map(&of[i], sections[i], 0, 0, WEIR_READ_WRITE));
        double began = now_ns();
        CHECK_OK(weir_registry_publish(&of[i]));
        publish += now_ns() - began;
        plain[i] = of[i].base;
        *(uint64_t *)plain[i] = (i * 7 + 1) % count; /* all of them, in an order that is not theirs */
        CHECK_OK(weir_ref_of(&of[i], plain[i], 8, &refs[i]));
    }
    struct runner runners[2] = { { count, refs, plain, { 0 } }, { count, refs, plain, { 0 } } };
    pthread_t other;
    if (threads == 2)
        CHECK(pthread_create(&other, NULL, run_figures, &runners[1]) == 0);
    run_figures(&runners[0]);
    if (threads == 2)
        CHECK(pthread_join(other, NULL) == 0);
    for (unsigned i = 0; i < count; i++) {
        double began = now_ns();
        CHECK_OK(weir_registry_retire(&of[i]));
        retire += now_ns() - began;
        CHECK_OK(weir_view_unmap(&of[i]));
        CHECK_OK(weir_section_close(sections[i]));
    }
    for (unsigned i = 0; i < threads; i++)
        printf("%-8s %3u views, thread %u of %u: pointer %.1f, read section with resolve %.1f, resolve %.1f, read section "
               "%.1f ns; publish %.1f, retire %.1f us\n", weir_registry_backend(), count, i + 1, threads,
               runners[i].ns[0], runners[i].ns[1], runners[i].ns[2], runners[i].ns[3], publish / count / 1000,
               retire / count / 1000);
}

static void stress(void)
{
    pthread_t readers[READERS], owners[OWNERS];
    weir_section *section;
    weir_view pinned, whole;
    seed = support_seed();
    CHECK_OK(weir_section_create_unnamed(&section, PARTS * PART, NULL));
    lasting = weir_section_id(section);
    CHECK_OK(weir_view_map(&whole, section, 0, 0, WEIR_READ_WRITE));
    fill(&whole, lasting);
    CHECK_OK(weir_view_unmap(&whole));
    CHECK_OK(weir_view_map(&pinned, section, 0, PART, WEIR_READ_ONLY));
    CHECK_OK(weir_registry_publish(&pinned));

    for (unsigned i = 0; i < READERS; i++)
        CHECK(pthread_create(&readers[i], NULL, reads, (void *)(uintptr_t)i) == 0);
    for (unsigned i = 0; i < OWNERS; i++)
        CHECK(pthread_create(&owners[i], NULL, owns, (void *)(uintptr_t)i) == 0);
    come_and_go(section);
    uint64_t gone = 0;
    for (unsigned i = 0; i < OWNERS; i++) {
        CHECK(pthread_join(owners[i], NULL) == 0);
        gone += weir_load_rlx(&views[i]);
    }
    for (unsigned i = 0; i < READERS; i++)
        CHECK(pthread_join(readers[i], NULL) == 0);
    CHECK_OK(weir_registry_retire(&pinned));
    CHECK_OK(weir_view_unmap(&pinned));
    CHECK_OK(weir_section_close(section));
    printf("%s: %llu resolutions, %llu views came and went\n", weir_registry_backend(),
           (unsigned long long)all_resolved(), (unsigned long long)gone);
    CHECK(all_resolved() >= support_count(RESOLUTIONS) && gone >= support_count(VIEWS) - OWNERS);
}

int main(int argc, char **argv)
{
    CHECK(strcmp(weir_registry_backend(), WEIR_TEST_BACKEND) == 0);
    if (argc == 2 && strcmp(argv[1], "figures") == 0)
        for (unsigned count = 1; count <= 256; count *= 16)
            for (unsigned threads = 1; threads <= 2; threads++)
                figures_of(count, threads);
    else
        stress();
    return 0;
}
