/* One thread serves several channels, by weir_wait_any and by their descriptors in turn, while others send to them with
 * random delays, and one cancels: nothing is lost, and few waits end by the bound of a sleep (on an idle machine none). */
#include "ipc/channel_help.h"

#include <inttypes.h>
#include <pthread.h>
#include <sched.h>

#define CHANNELS 6

static weir_channel *p[CHANNELS], *c[CHANNELS];
static uint64_t messages; /* to each */
static uint64_t seeds;
static weir_atomic_u64 served, cancels;

static void *send_all(void *arg)
{
    uint64_t at = (uint64_t)(uintptr_t)arg, seed = seeds + at;
    for (uint64_t id = 0; id < messages; id++) {
        uint64_t random = support_random(&seed);
        for (uint64_t i = random >> 40 & 2047; i > 0; i--)
            weir_pause();
        if ((random & 15) == 0)
            (void)sched_yield();
        CHECK_OK(send_id(p[at], id, HELP_DEADLINE));
    }
    return NULL;
}

static void *cancel_now_and_then(void *arg)
{
    (void)arg;
    while (weir_load_acq(&served) < CHANNELS * messages) {
        (void)usleep(3000);
        CHECK_OK(weir_channel_cancel(c[0]));
        (void)weir_fetch_add_rlx(&cancels, 1);
    }
    return NULL;
}

/* Takes what is there; how many. */
static uint64_t take(unsigned at, uint64_t *next)
{
    uint64_t got, taken = 0;
    uint32_t len;
    weir_status status;
    while ((status = weir_receive(c[at], &got, sizeof got, &len, WEIR_NOWAIT)) == WEIR_OK) {
        CHECK(got == *next);
        ++*next;
        taken++;
    }
    CHECK_STATUS(status, WEIR_EMPTY);
    return taken;
}

static void serve(bool by_descriptor)
{
    uint64_t next[CHANNELS] = { 0 }, done = 0, cancelled = 0, waits = 0, late = 0;
    uint32_t which = 0;
    struct pollfd fds[CHANNELS];
    for (unsigned i = 0; by_descriptor && i < CHANNELS; i++) {
        fds[i].events = POLLIN;
        CHECK_OK(weir_channel_descriptor(c[i], &fds[i].fd));
    }
    int64_t longest = 0;
    while (done < CHANNELS * messages) {
        int64_t begin = help_now_ns();
        waits++;
        if (by_descriptor) {
            CHECK(poll(fds, CHANNELS, (int)(HELP_DEADLINE / 1000000)) > 0);
            for (unsigned i = 0; i < CHANNELS; i++)
                if (fds[i].revents != 0)
                    done += take(i, &next[i]);
        } else {
            weir_status status = weir_wait_any(c, CHANNELS, &which, HELP_DEADLINE);
            cancelled += status == WEIR_CANCELLED;
            CHECK(status == WEIR_OK || status == WEIR_CANCELLED);
            done += take(which, &next[which]);
        }
        late += help_now_ns() - begin > WEIR_MILLISECONDS(40);
        longest = help_now_ns() - begin > longest ? help_now_ns() - begin : longest;
        weir_store_rel(&served, done);
    }
    CHECK(late * 10 < waits);
    (void)printf("%s: messages=%" PRIu64 " waits=%" PRIu64 " cancelled=%" PRIu64 " late=%" PRIu64 " longest=%" PRId64 " us\n",
                 by_descriptor ? "poll" : "wait_any", done, waits, cancelled, late, longest / 1000);
}

static void round_of(bool by_descriptor)
{
    pthread_t sender[CHANNELS], canceller;
    weir_store_rel(&served, 0);
    for (unsigned i = 0; i < CHANNELS; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "any-%u", i);
        weir_channel_options options = { .capacity = 4096, .wait = WEIR_WAIT_SLEEP };
        CHECK_OK(weir_channel_open(&p[i], name, WEIR_PRODUCER, &options));
        CHECK_OK(weir_channel_open(&c[i], name, WEIR_CONSUMER, &options));
    }
    for (unsigned i = 0; i < CHANNELS; i++)
        CHECK(pthread_create(&sender[i], NULL, send_all, (void *)(uintptr_t)i) == 0);
    CHECK(pthread_create(&canceller, NULL, cancel_now_and_then, NULL) == 0);
    serve(by_descriptor);
    for (unsigned i = 0; i < CHANNELS; i++)
        CHECK(pthread_join(sender[i], NULL) == 0);
    CHECK(pthread_join(canceller, NULL) == 0);
    for (unsigned i = 0; i < CHANNELS; i++) {
        CHECK_OK(weir_channel_close(p[i]));
        CHECK_OK(weir_channel_close(c[i]));
    }
}

int main(void)
{
    const char *dir = support_shm_dir();
    messages = support_count(20000);
    seeds = support_seed();
    round_of(false);
    round_of(true);
    CHECK(support_entries(dir, true) == 0);
    return 0;
}
