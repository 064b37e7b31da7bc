/* Who starts first, who ends first, in processes that share nothing but the name: this program runs itself again in
 * each role.  And whoever sleeps is woken by what it waits for, not by the bound of its sleep. */
#include "ipc/endless_sleep.h"

#include <inttypes.h>

#define MESSAGES UINT64_C(300)

/* ---- a process of its own for each role ---- */

static weir_wait wait_of(const char *text)
{
    return (weir_wait)(text[0] - '0');
}

/* role, wait, capacity, "ready" descriptor or -1 */
static int role_main(char **argv)
{
    weir_channel *channel;
    bool produces = strcmp(argv[1], "produce") == 0;
    weir_channel_options options = { .wait = wait_of(argv[2]), .capacity = strtoull(argv[3], NULL, 10) };
    struct gate ready = { .in = -1, .out = (int)strtol(argv[4], NULL, 10) };
    CHECK_OK(weir_channel_open(&channel, "orders", produces ? WEIR_PRODUCER : WEIR_CONSUMER, &options));
    if (!produces && options.capacity == 0 && argv[5][0] == 'f')
        CHECK(facts_of(channel).capacity == 0); /* it came first and fixed nothing */
    if (!produces)
        gate_open(ready);
    for (uint64_t id = 0; id < MESSAGES; id++) {
        if (produces)
            CHECK_OK(send_id(channel, id, HELP_DEADLINE));
        else
            receive_id(channel, id);
    }
    if (produces) {
        gate_open(ready);
        if (argv[5][0] == 'd')
            CHECK_OK(weir_channel_drain(channel, HELP_DEADLINE));
    } else {
        CHECK_STATUS(receive_nothing(channel, HELP_DEADLINE), WEIR_CLOSED);
    }
    CHECK_OK(weir_channel_close(channel));
    return 0;
}

static pid_t run_role(const char *role, weir_wait wait, uint64_t capacity, struct gate ready, const char *how)
{
    char wait_text[8], capacity_text[32], ready_text[16];
    (void)snprintf(wait_text, sizeof wait_text, "%d", (int)wait);
    (void)snprintf(capacity_text, sizeof capacity_text, "%" PRIu64, capacity);
    (void)snprintf(ready_text, sizeof ready_text, "%d", ready.out);
    pid_t child = child_fork();
    if (child == 0) {
        (void)execl("/proc/self/exe", "channel_orders", role, wait_text, capacity_text, ready_text, how, (char *)NULL);
        _exit(1);
    }
    return child;
}

static void both_orders(const char *dir)
{
    static const uint64_t capacities[] = { 0, 4096, 65536 };
    for (int wait = WEIR_WAIT_SPIN_SLEEP; wait <= WEIR_WAIT_SLEEP; wait++)
        for (int p_states = 0; p_states < 3; p_states++)
            for (int c_states = 0; c_states < 3; c_states++) {
                uint64_t of_p = capacities[p_states], of_c = capacities[c_states];
                if (of_p != 0 && of_c != 0 && of_p != of_c)
                    continue;
                struct gate ready = gate_make();
                /* the consumer first */
                pid_t c = run_role("consume", (weir_wait)wait, of_c, ready, "f");
                gate_wait(ready);
                pid_t p = run_role("produce", (weir_wait)wait, of_p, ready, "-");
                CHECK(support_wait(p) == 0);
                CHECK(support_wait(c) == 0);
                CHECK(support_entries(dir, true) == 0);
                gate_close(ready);
                if (of_p == 0 && of_c != 0 && of_c != WEIR_CAPACITY_DEFAULT)
                    continue; /* a producer that states nothing makes the default one */
                /* the producer first: it has sent before the consumer starts, if all fits */
                ready = gate_make();
                p = run_role("produce", (weir_wait)wait, of_p, ready, "d");
                if (of_p != 4096)
                    gate_wait(ready);
                c = run_role("consume", (weir_wait)wait, of_c, ready, "-");
                CHECK(support_wait(p) == 0);
                CHECK(support_wait(c) == 0);
                CHECK(support_entries(dir, true) == 0);
                gate_close(ready);
            }
}

/* ---- whoever sleeps is woken ---- */

enum news {
    NEWS_OPEN,
    NEWS_SEND,
    NEWS_FLUSH,
    NEWS_CLOSE,
    NEWS_RELEASE,
    NEWS_DRAINED,
    NEWS_C_OPEN,
    NEWS_C_CLOSE,
    NEWS_ALL
};

static bool the_sleeper_sends(enum news news)
{
    return news >= NEWS_RELEASE;
}

/* What the sleeper waits for. */
static void sleeper_main(enum news news, weir_wait wait, weir_atomic_u64 *sleeps)
{
    weir_channel *channel;
    weir_channel_options options = { .wait = wait, .capacity = the_sleeper_sends(news) ? 4096 : 0 };
    weir_role role = the_sleeper_sends(news) ? WEIR_PRODUCER : WEIR_CONSUMER;
    weir_status last;
    endless_sleeps = sleeps;
    CHECK_OK(weir_channel_open(&channel, "orders", role, &options));
    if (the_sleeper_sends(news) && news != NEWS_DRAINED)
        (void)send_until_full(channel, 0, &last);
    if (news == NEWS_DRAINED) {
        CHECK_OK(send_id(channel, 0, WEIR_NOWAIT));
        CHECK_OK(weir_channel_drain(channel, HELP_DEADLINE));
    } else if (the_sleeper_sends(news)) {
        CHECK_STATUS(send_id(channel, 1, HELP_DEADLINE), news == NEWS_C_CLOSE ? WEIR_CLOSED : WEIR_OK);
    } else if (news == NEWS_CLOSE) {
        CHECK_STATUS(receive_nothing(channel, HELP_DEADLINE), WEIR_CLOSED);
    } else {
        receive_id(channel, 1);
    }
    CHECK_OK(weir_channel_close(channel));
}

/* Gives the news to a sleeper. */
static void give_news(enum news news, pid_t sleeper, struct third *third, weir_channel *waker)
{
    weir_atomic_u32 *armed = the_sleeper_sends(news) ? &third->layout->member[0].sleeper.armed : &third->layout->consumer.armed;
    uint64_t id = 1, got;
    uint32_t len;
    int state;
    wait_for_word32(armed, 1);
    if (news == NEWS_OPEN || news == NEWS_C_OPEN) {
        /* Its call does not return for that.  Stopped, it cannot sleep again before we have looked. */
        CHECK(kill(sleeper, SIGSTOP) == 0);
        CHECK(waitpid(sleeper, &state, WUNTRACED) == sleeper && WIFSTOPPED(state));
        weir_store32_rlx(armed, 1); /* stopped between two sleeps */
        waker = open_as("orders", news == NEWS_OPEN ? WEIR_PRODUCER : WEIR_CONSUMER, 0);
        CHECK(weir_load32_rlx(armed) == 0);
        CHECK(kill(sleeper, SIGCONT) == 0);
    }
    switch (news) {
    case NEWS_FLUSH:
        CHECK_OK(weir_send_more(waker, &id, 8, WEIR_NOWAIT));
        CHECK_OK(weir_flush(waker));
        break;
    case NEWS_OPEN:
    case NEWS_SEND:
        CHECK_OK(weir_send(waker, &id, 8, WEIR_NOWAIT));
        break;
    case NEWS_RELEASE:
    case NEWS_C_OPEN:
        for (int i = 0; i < 100; i++)
            CHECK_OK(weir_receive_more(waker, &got, 8, &len, WEIR_NOWAIT));
        CHECK_OK(weir_release(waker));
        break;
    case NEWS_DRAINED:
        receive_id(waker, 0);
        break;
    default:
        break;
    }
    CHECK_OK(weir_channel_close(waker));
}

static void one_sleeper_is_woken(enum news news, weir_wait wait, bool soundly, weir_atomic_u64 *sleeps)
{
    struct third third;
    struct gate ready = gate_make();
    bool opens = news == NEWS_OPEN || news == NEWS_C_OPEN;
    weir_role role = the_sleeper_sends(news) ? WEIR_CONSUMER : WEIR_PRODUCER;
    weir_channel *waker = opens ? NULL : open_as("orders", role, 4096);
    weir_store_rlx(sleeps, 0);
    pid_t sleeper = child_fork();
    if (sleeper == 0) {
        if (opens) { /* the name first, then the parent's look at it */
            weir_channel *first = open_as("orders", role == WEIR_PRODUCER ? WEIR_CONSUMER : WEIR_PRODUCER,
                                          role == WEIR_PRODUCER ? 0 : 4096);
            gate_open(ready);
            struct third own;
            third_open(&own, "orders");
            CHECK_OK(weir_channel_close(first));
            sleeper_main(news, wait, sleeps);
            third_close(&own);
        } else {
            sleeper_main(news, wait, sleeps);
        }
        _exit(0);
    }
    if (opens)
        gate_wait(ready);
    third_open(&third, "orders");
    if (soundly)
        wait_for_count(sleeps, 1);
    give_news(news, sleeper, &third, waker);
    CHECK(support_wait(sleeper) == 0);
    third_close(&third);
    gate_close(ready);
}

/* Some sleep when the news come, others are about to: a sleep that misses them does not end in time. */
static void sleepers_are_woken(const char *dir)
{
    uint64_t rounds = support_count(40) < 20 ? 20 : support_count(40);
    weir_atomic_u64 *sleeps = share_pages(4096);
    for (int news = 0; news < NEWS_ALL; news++)
        for (int wait = WEIR_WAIT_SPIN_SLEEP; wait <= WEIR_WAIT_SLEEP; wait += 2)
            for (uint64_t round = 0; round < rounds; round++)
                one_sleeper_is_woken((enum news)news, (weir_wait)wait, round % 2 == 0, sleeps);
    CHECK(support_entries(dir, true) == 0);
}

int main(int argc, char **argv)
{
    if (argc == 6)
        return role_main(argv);
    const char *dir = support_shm_dir();
    both_orders(dir);
    sleepers_are_woken(dir);
    return 0;
}
