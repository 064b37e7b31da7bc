/* Participants come, work, go and are killed; observers look on.  No member is ever shown with another's words, nobody is
 * ever refused a place because somebody looks, and nothing is left. */
#include "../ipc/kinds_help.h"

#include <weir/ipc/observer.h>

#define NAME "storm"
#define WORKERS 3
#define PLACES 4 /* one more: a worker that was killed has left its place when the next one comes */
#define SENT_MAX 7u

static uint64_t wall_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Its identity says who it is and how much it sends: what an observer compares the rest with. */
static void work(weir_role role, uint64_t lives, uint64_t seed)
{
    for (uint64_t life = 0; life < lives; life++) {
        weir_channel *channel;
        uint64_t sends = support_random(&seed) % (SENT_MAX + 1);
        weir_channel_options options = { .kind = WEIR_MPMC, .capacity = 65536, .record_bytes = 8, .producers = PLACES,
                                         .consumers = PLACES };
        options.identity = (uint64_t)getpid() << 32 | life << 4 | sends | 8;
        CHECK_OK(weir_channel_open(&channel, NAME, role, &options));
        for (uint64_t i = 0; i < sends; i++) {
            if (role == WEIR_PRODUCER)
                (void)send_id(channel, i, WEIR_NOWAIT);
            else
                (void)receive_nothing(channel, WEIR_NOWAIT);
        }
        if (support_random(&seed) % 16 == 0)
            (void)kill(getpid(), SIGKILL);
        CHECK_OK(weir_channel_close(channel));
    }
    _exit(0);
}

static void observe(const weir_atomic_u64 *stop, weir_atomic_u64 *known, uint64_t began)
{
    weir_observer *o;
    CHECK_OK(weir_observer_open(&o, NAME, NULL));
    uint64_t all_before[2][PLACES] = { { 0 } }, generation_before[2][PLACES] = { { 0 } };
    while (weir_load_rlx(stop) == 0) {
        weir_member member[2 * PLACES];
        uint32_t count;
        CHECK_OK(weir_observer_members(o, member, 2 * PLACES, &count));
        CHECK(count <= 2 * PLACES);
        for (uint32_t i = 0; i < count; i++) {
            const weir_member *m = &member[i];
            int role = m->role == WEIR_CONSUMER;
            CHECK(m->place < PLACES && m->presence != WEIR_ABSENT);
            CHECK(m->generation >= generation_before[role][m->place] && m->all.messages >= all_before[role][m->place]);
            generation_before[role][m->place] = m->generation;
            all_before[role][m->place] = m->all.messages;
            if (!m->known) {
                CHECK(m->process == 0 && m->identity == 0 && m->since_ns == 0);
                continue;
            }
            weir_fetch_add_rlx(known, 1);
            if (m->identity == 1) /* the one that keeps the channel */
                continue;
            CHECK(m->identity >> 32 == m->process && (m->identity & 8) != 0);
            CHECK(m->held.messages <= (m->identity & 7) && m->held.messages <= m->all.messages);
            CHECK(m->since_ns >= began && m->since_ns <= wall_ns());
        }
        weir_channel_facts facts;
        CHECK_OK(weir_observer_channel(o, &facts));
        CHECK(facts.producers_alive <= PLACES && facts.consumers_alive <= PLACES);
    }
    CHECK_OK(weir_observer_close(o));
    _exit(0);
}

int main(void)
{
    const char *dir = support_shm_dir();
    uint64_t seed = support_seed(), lives = support_count(6000), began = wall_ns();
    weir_atomic_u64 *shared = share_pages(4096);
    weir_channel *keeper;
    weir_channel_options options = { .kind = WEIR_MPMC, .capacity = 65536, .record_bytes = 8, .producers = PLACES,
                                     .consumers = PLACES, .identity = 1 };
    CHECK_OK(weir_channel_open(&keeper, NAME, WEIR_PRODUCER, &options));
    pid_t observers[2], workers[2 * WORKERS] = { 0 };
    for (int i = 0; i < 2; i++)
        if ((observers[i] = child_fork()) == 0)
            observe(&shared[0], &shared[1], began);
    /* A producer less: the keeper has a place of theirs. */
    uint64_t left = lives * (2 * WORKERS - 1), each = 40, deaths = 0;
    while (left > 0)
        for (int i = 1; i < 2 * WORKERS && left > 0; i++) {
            if (workers[i] != 0) {
                int status = support_wait(workers[i]);
                CHECK(status == 0 || status == -SIGKILL);
                deaths += status != 0;
            }
            uint64_t own = support_random(&seed);
            if ((workers[i] = child_fork()) == 0)
                work(i < WORKERS ? WEIR_PRODUCER : WEIR_CONSUMER, each, own);
            left -= left < each ? left : each;
        }
    for (int i = 1; i < 2 * WORKERS; i++)
        if (workers[i] != 0)
            (void)support_wait(workers[i]);
    weir_store_rlx(&shared[0], 1);
    for (int i = 0; i < 2; i++)
        CHECK(support_wait(observers[i]) == 0);
    CHECK_OK(weir_channel_close(keeper));
    (void)printf("storm: %llu known members seen, %llu deaths\n", (unsigned long long)weir_load_rlx(&shared[1]),
                 (unsigned long long)deaths);
    CHECK(weir_load_rlx(&shared[1]) > 0 && deaths > 0);
    CHECK(support_entries(dir, true) <= 1);
    return 0;
}
