/* The work queue between threads: producers and consumers at once, on lanes so small that they are full and empty all
 * the time; producers are replaced in the middle of a batch, consumers with records in hand, and others recover from
 * them; lanes are there from the start, or are made when their producer comes.  Under ThreadSanitizer payload is plain
 * memory: a missing order is a race. */
#include "ring/mpmc_work.h"

#include <pthread.h>
#include <stdio.h>

typedef struct stage {
    work_board *b;
    void *mem;
    bool mortal;
    uint64_t seed;
    pthread_mutex_t one_grows;
} stage;

typedef struct end {
    stage *s;
    uint32_t id;
} end;

static void *produce(void *arg)
{
    const end *e = arg;
    uint64_t random = e->s->seed + e->id + 1;
    if (e->id >= e->s->b->made) {
        CHECK(pthread_mutex_lock(&e->s->one_grows) == 0);
        CHECK_OK(weir_mpmc_grow(e->s->mem, e->s->b->bytes, e->id + 1));
        CHECK(pthread_mutex_unlock(&e->s->one_grows) == 0);
    }
    while (!work_produce(e->s->b, e->s->mem, e->id, &random, e->s->mortal))
        continue;
    return NULL;
}

static void *consume(void *arg)
{
    const end *e = arg;
    work_board *b = e->s->b;
    work_consumer *w = calloc(1, sizeof *w);
    CHECK(w != NULL);
    w->b = b;
    w->slot = e->id;
    w->random = e->s->seed * 31 + e->id + 1;
    while (!work_consume(w, e->s->mem, e->s->mortal)) /* the others hear of it, or its next life comes first */
        if (support_random(&w->random) % 4 != 0)
            weir_store_rel(&b->dead[w->slot], weir_load_acq(&b->life[w->slot]));
    free(w);
    return NULL;
}

static void play(weir_mpmc_shape shape, uint32_t made, bool mortal, uint64_t records, uint64_t seed)
{
    uint64_t bytes = weir_mpmc_footprint(&shape);
    stage s = { .b = calloc(1, sizeof *s.b), .mem = aligned_alloc(128, (bytes + 127) / 128 * 128), .mortal = mortal,
                .seed = seed, .one_grows = PTHREAD_MUTEX_INITIALIZER };
    pthread_t producers[WORK_LANES], consumers[WORK_CONSUMERS];
    end ends[WORK_LANES + WORK_CONSUMERS];
    CHECK(s.b != NULL && s.mem != NULL);
    memset(s.mem, 0xee, bytes);
    work_make(s.b, s.mem, bytes, shape, made, records);
    for (uint32_t i = 0; i < shape.lanes; i++) {
        ends[i] = (end){ &s, i };
        CHECK(pthread_create(&producers[i], NULL, produce, &ends[i]) == 0);
    }
    for (uint32_t i = 0; i < shape.consumers; i++) {
        ends[shape.lanes + i] = (end){ &s, i };
        CHECK(pthread_create(&consumers[i], NULL, consume, &ends[shape.lanes + i]) == 0);
    }
    for (uint32_t i = 0; i < shape.lanes; i++)
        CHECK(pthread_join(producers[i], NULL) == 0);
    for (uint32_t i = 0; i < shape.consumers; i++)
        CHECK(pthread_join(consumers[i], NULL) == 0);
    work_check(s.b, s.mem);
    printf("%u producers, %u of them late, %u consumers, %u slots: %llu records of each, %llu redelivered\n",
           shape.lanes, shape.lanes - made, shape.consumers, shape.slots, (unsigned long long)s.b->records,
           (unsigned long long)weir_load_rlx(&s.b->again));
    free(s.mem);
    free(s.b);
}

int main(void)
{
    uint64_t seed = support_seed();
    for (uint32_t slots = 2; slots <= 64; slots *= 4)
        for (uint32_t ends = 1; ends <= 8; ends *= 2)
            for (unsigned mortal = 0; mortal < 2; mortal++) {
                weir_mpmc_shape shape = { ends, ends == 8 ? 3 : ends + mortal, slots, WORK_RECORD_MAX };
                uint32_t made = 1 + (uint32_t)(support_random(&seed) % ends); /* one, some or all */
                play(shape, made, mortal != 0, support_count(20000), support_random(&seed));
            }
    return 0;
}
