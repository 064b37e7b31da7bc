/* SIGSTOP of either end at random: the other one hears FULL, EMPTY and TIMEOUT and nothing else, however long it takes,
 * and after SIGCONT every message comes, whole and in order. */
#include "ipc/channel_help.h"

#include <inttypes.h>

#define NAME "stop"

struct page {
    weir_atomic_u64 stop;
    weir_atomic_u64 calls[2], done[2], refused[2]; /* of the producer, of the consumer */
};

static struct page *page;

static void add(weir_atomic_u64 *word)
{
    weir_store_rel(word, weir_load_rlx(word) + 1); /* one writer each */
}

static weir_timeout random_timeout(uint64_t *seed)
{
    uint64_t random = support_random(seed);
    return (random & 1) != 0 ? WEIR_NOWAIT : (weir_timeout)(random >> 8 & 0x3fffff); /* up to 4 ms */
}

/* Counts the call; true where it did its work. */
static bool served(int side, weir_status status, weir_timeout timeout)
{
    add(&page->calls[side]);
    if (status == WEIR_OK)
        return true;
    weir_status none = timeout != WEIR_NOWAIT ? WEIR_TIMEOUT : side == 0 ? WEIR_FULL : WEIR_EMPTY;
    CHECK_STATUS(status, none);
    add(&page->refused[side]);
    return false;
}

static uint64_t length_of(uint64_t id)
{
    return 8 + id * 131 % 600;
}

static void produce(uint64_t seed)
{
    static unsigned char out[HELP_BUFFER];
    weir_channel *p;
    CHECK_OK(weir_channel_open(&p, NAME, WEIR_PRODUCER, &(weir_channel_options){ .wait = (weir_wait)(seed % 3) }));
    for (uint64_t id = 0; weir_load_acq(&page->stop) == 0;) {
        uint64_t len = length_of(id), how = support_random(&seed) >> 20 & 3;
        weir_timeout timeout = random_timeout(&seed);
        void *slot = out;
        if (how == 0) {
            if (!served(0, weir_reserve(p, len, &slot, timeout), timeout))
                continue;
            message_fill(slot, id, len);
            CHECK_OK(weir_commit(p, len));
        } else {
            message_fill(out, id, len);
            weir_status status = how == 1 ? weir_send_more(p, out, len, timeout) : weir_send(p, out, len, timeout);
            if (!served(0, status, timeout))
                continue;
        }
        add(&page->done[0]);
        id++;
    }
    CHECK_OK(weir_channel_close(p));
}

static void consume(uint64_t seed)
{
    static unsigned char in[HELP_BUFFER];
    weir_channel *c;
    CHECK_OK(weir_channel_open(&c, NAME, WEIR_CONSUMER, &(weir_channel_options){ .wait = (weir_wait)(seed % 3) }));
    for (uint64_t id = 0;; id++) {
        uint32_t len;
        const void *msg;
        weir_timeout timeout;
        weir_status status;
        bool in_place = (support_random(&seed) >> 20 & 1) != 0;
        do {
            timeout = random_timeout(&seed);
            msg = in;
            status = in_place ? weir_peek(c, &msg, &len, timeout)
                              : weir_receive(c, in, sizeof in, &len, timeout);
            if (status == WEIR_CLOSED && weir_load_acq(&page->stop) != 0) {
                CHECK(id == weir_load_acq(&page->done[0]));
                CHECK_OK(weir_channel_close(c));
                return;
            }
        } while (!served(1, status, timeout));
        CHECK(len == length_of(id));
        CHECK(message_is_whole(msg, id, len));
        if (in_place)
            CHECK_OK(weir_release(c));
        add(&page->done[1]);
    }
}

int main(void)
{
    const char *dir = support_shm_dir();
    uint64_t seed = support_seed(), rounds = support_count(300), refused = 0;
    page = share_pages(sizeof *page);
    struct third third;
    pid_t child[2];
    weir_channel *maker = open_as(NAME, WEIR_CONSUMER, 4096); /* a producer's leaving would be news */
    third_open(&third, NAME);
    CHECK_OK(weir_channel_close(maker));
    for (int side = 0; side < 2; side++) {
        uint64_t childs = support_random(&seed);
        child[side] = child_fork();
        if (child[side] == 0) {
            if (side == 0)
                produce(childs);
            else
                consume(childs);
            _exit(0);
        }
    }
    for (uint64_t round = 0; round < rounds; round++) {
        uint64_t random = support_random(&seed);
        int side = random & 1, other = 1 - side, state;
        wait_for_count(&page->done[0], weir_load_acq(&page->done[0]) + 1);
        wait_for_count(&page->done[1], weir_load_acq(&page->done[1]) + 1);
        struct timespec pause = { .tv_nsec = (long)(random >> 8 & 0x1fffff) };
        (void)nanosleep(&pause, NULL);
        CHECK(kill(child[side], SIGSTOP) == 0);
        CHECK(waitpid(child[side], &state, WUNTRACED) == child[side] && WIFSTOPPED(state));
        /* The other one uses up what the lane has and is refused then, again and again, and each call comes back. */
        uint64_t before = weir_load_acq(&page->refused[other]), done = weir_load_acq(&page->done[side]);
        wait_for_count(&page->refused[other], before + 3);
        if (round % 16 == 0) { /* longer than it takes to notice a death */
            int64_t until = help_now_ns() + WEIR_MILLISECONDS(120);
            while (help_now_ns() < until)
                wait_for_count(&page->refused[other], weir_load_acq(&page->refused[other]) + 1);
        }
        weir_participant participant;
        CHECK_OK(weir_participant_look(third.section, (uint32_t)side, &participant));
        CHECK(participant.presence == WEIR_ALIVE);
        CHECK(weir_load_acq(&page->done[side]) == done);
        refused += weir_load_acq(&page->refused[other]) - before;
        CHECK(kill(child[side], SIGCONT) == 0);
    }
    weir_store_rel(&page->stop, 1);
    CHECK(support_wait(child[0]) == 0);
    CHECK(support_wait(child[1]) == 0);
    CHECK(weir_load_acq(&page->done[0]) == weir_load_acq(&page->done[1]));
    third_close(&third);
    CHECK(support_entries(dir, true) == 0);
    (void)printf("stops=%" PRIu64 " refused=%" PRIu64 " records=%" PRIu64 "\n", rounds, refused,
                 weir_load_acq(&page->done[1]));
    return 0;
}
