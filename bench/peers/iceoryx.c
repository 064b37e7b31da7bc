/* bench/peers/iceoryx.c - iceoryx by its C binding, in place: loan and publish, take and release; nothing is lost, publishers
 * wait for subscribers (blocking queues of 256 messages, the most there are).
 *
 * RouDi, its daemon, is started before the first run and ended behind the last, without watching its clients, and with memory
 * for messages of up to 1 MiB.  Where another RouDi runs, ours ends at once, and there is no iceoryx.  A subscriber that
 * sleeps does so in a WaitSet. */
#include "../loops.h"

#include <iceoryx_binding_c/enums.h>
#include <iceoryx_binding_c/log.h>
#include <iceoryx_binding_c/publisher.h>
#include <iceoryx_binding_c/runtime.h>
#include <iceoryx_binding_c/subscriber.h>
#include <iceoryx_binding_c/types.h>
#include <iceoryx_binding_c/wait_set.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define QUEUE_MAX 256u
#define QUEUE_BYTES (UINT64_C(16) << 20) /* what may lie in one: of large messages fewer */

/* ---- the daemon ---- */

static const char config[] = "[general]\nversion = 1\n[[segment]]\n"
                             "[[segment.mempool]]\nsize = 128\ncount = 8192\n"
                             "[[segment.mempool]]\nsize = 1024\ncount = 4096\n"
                             "[[segment.mempool]]\nsize = 4096\ncount = 2048\n"
                             "[[segment.mempool]]\nsize = 65536\ncount = 512\n"
                             "[[segment.mempool]]\nsize = 1048576\ncount = 64\n";
static pid_t roudi;
static int roudi_says = -1; /* what it prints; closed, it would end by a signal */

static void run_roudi(int settings, int out)
{
    char path[32];
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", settings);
    if (dup2(out, 1) >= 0 && dup2(out, 2) >= 0 && fcntl(settings, F_SETFD, 0) == 0)
        (void)execlp("iox-roudi", "iox-roudi", "-m", "off", "-l", "off", "-c", path, (char *)NULL);
    _exit(1);
}

static bool roudi_ready(void)
{
    char said[4096];
    size_t have = 0;
    while (have < sizeof said - 1) {
        ssize_t n = read(roudi_says, said + have, sizeof said - 1 - have);
        if (n <= 0)
            return false;
        have += (size_t)n;
        said[have] = 0;
        if (strstr(said, "ready for clients") != NULL)
            return true;
    }
    return false;
}

static void finish(void)
{
    if (roudi > 0) {
        (void)kill(roudi, SIGTERM);
        (void)waitpid(roudi, NULL, 0);
    }
    if (roudi_says >= 0)
        (void)close(roudi_says);
    roudi = 0;
    roudi_says = -1;
}

static bool begin(void)
{
    int out[2], settings = memfd_create("roudi.toml", MFD_CLOEXEC);
    bool ready = false;
    if (settings >= 0 && write(settings, config, sizeof config - 1) == sizeof config - 1 && pipe2(out, O_CLOEXEC) == 0) {
        (void)fflush(NULL);
        roudi = fork();
        if (roudi == 0)
            run_roudi(settings, out[1]);
        (void)close(out[1]);
        roudi_says = out[0];
        ready = roudi > 0 && roudi_ready();
    }
    if (settings >= 0)
        (void)close(settings);
    if (!ready)
        finish();
    return ready;
}

/* ---- an end ---- */

struct side {
    iox_pub_storage_t pub_storage;
    iox_sub_storage_t sub_storage;
    iox_ws_storage_t set_storage;
    iox_pub_t pub;
    iox_sub_t sub;
    iox_ws_t set;
    const void *held;
};

static unsigned ends_open; /* in this process */

static struct side *side_of(const struct bench_end *end) { return end->priv; }

/* RouDi knows clients by name, and takes one of the same name for the old one, started again. */
static void client_name(bool produces, uint32_t index, char *name, size_t size)
{
    (void)snprintf(name, size, "weir-bench.%s.%u", produces ? "producer" : "consumer", index);
}

static void sign_on(bool produces, uint32_t index)
{
    char name[64];
    client_name(produces, index, name, sizeof name);
    iox_set_loglevel(Iceoryx_LogLevel_Off);
    iox_runtime_init(name);
}

/* The library's destructors sign off. */
static _Noreturn void sign_off(void) { exit(0); }

/* A side that was killed left a file, and RouDi when it ends would signal its pid, and abort where there is none: another
 * takes its name, and signs off. */
static void replace_killed(struct bench_link *link)
{
    for (uint32_t i = 0; i < link->work->producers + link->work->consumers; i++) {
        bool produces = i < link->work->producers;
        uint32_t index = produces ? i : i - link->work->producers;
        char path[80] = "/tmp/";
        client_name(produces, index, path + 5, sizeof path - 5);
        if (access(path, F_OK) != 0 || waitpid(roudi, NULL, WNOHANG) != 0)
            continue;
        pid_t other = fork();
        if (other == 0) {
            sign_on(produces, index);
            sign_off();
        }
        if (other > 0)
            (void)waitpid(other, NULL, 0);
    }
}

static bool connected(const struct bench_end *end)
{
    const struct side *side = side_of(end);
    return end->produces ? iox_pub_has_subscribers(side->pub)
                         : iox_sub_get_subscription_state(side->sub) == SubscribeState_SUBSCRIBED;
}

static void open_publisher(struct bench_end *end, struct side *side)
{
    iox_pub_options_t options;
    iox_pub_options_init(&options);
    options.subscriberTooSlowPolicy = ConsumerTooSlowPolicy_WAIT_FOR_CONSUMER;
    side->pub = iox_pub_init(&side->pub_storage, "weir-bench", end->link->name, "message", &options);
}

static void open_subscriber(struct bench_end *end, struct side *side)
{
    uint64_t queue = QUEUE_BYTES / end->work->bytes;
    iox_sub_options_t options;
    iox_sub_options_init(&options);
    options.queueCapacity = queue < QUEUE_MAX ? queue : QUEUE_MAX;
    options.queueFullPolicy = QueueFullPolicy_BLOCK_PRODUCER;
    side->sub = iox_sub_init(&side->sub_storage, "weir-bench", end->link->name, "message", &options);
    if (end->work->wait == BENCH_SLEEP) {
        side->set = iox_ws_init(&side->set_storage);
        (void)iox_ws_attach_subscriber_event(side->set, side->sub, SubscriberEvent_DATA_RECEIVED, 0, NULL);
    }
}

/* Is back when RouDi has brought both together, which it does ten times a second. */
static bool open_end(struct bench_end *end)
{
    struct side *side = calloc(1, sizeof *side);
    end->priv = side;
    if (side == NULL)
        return false;
    if (ends_open++ == 0) /* a process is one client; the way back of a round trip is another end */
        sign_on(end->produces, end->index);
    if (end->produces)
        open_publisher(end, side);
    else
        open_subscriber(end, side);
    while (!connected(end) && bench_waited(end))
        (void)nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    return connected(end);
}

static void close_end(struct bench_end *end)
{
    struct side *side = side_of(end);
    if (side->set != NULL) {
        iox_ws_detach_subscriber_event(side->set, side->sub, SubscriberEvent_DATA_RECEIVED);
        iox_ws_deinit(side->set);
    }
    if (side->sub != NULL)
        iox_sub_deinit(side->sub);
    if (side->pub != NULL)
        iox_pub_deinit(side->pub);
    free(side);
    if (--ends_open == 0)
        sign_off();
}

BENCH_INLINE void *reserve(struct bench_end *end, uint32_t bytes)
{
    void *slot = NULL;
    if (WEIR_UNLIKELY(iox_pub_loan_chunk(side_of(end)->pub, &slot, bytes) != AllocationResult_SUCCESS))
        bench_fail(end, "iox_pub_loan_chunk failed");
    return slot;
}

BENCH_INLINE void commit(struct bench_end *end, void *slot, uint32_t bytes, bool more)
{
    (void)bytes, (void)more;
    iox_pub_publish_chunk(side_of(end)->pub, slot);
}

BENCH_INLINE const void *peek(struct bench_end *end, uint32_t bytes)
{
    struct side *side = side_of(end);
    (void)bytes;
    enum iox_ChunkReceiveResult result = iox_sub_take_chunk(side->sub, &side->held);
    if (WEIR_LIKELY(result == ChunkReceiveResult_SUCCESS))
        return side->held;
    if (result != ChunkReceiveResult_NO_CHUNK_AVAILABLE)
        bench_fail(end, "iox_sub_take_chunk failed");
    else if (side->set != NULL) {
        iox_notification_info_t info;
        uint64_t missed;
        (void)iox_ws_timed_wait(side->set, (struct timespec){ .tv_sec = 1 }, &info, 1, &missed);
    }
    return NULL;
}

BENCH_INLINE void release(struct bench_end *end) { iox_sub_release_chunk(side_of(end)->sub, side_of(end)->held); }

BENCH_SIDE(produce, bench_produce_in_place, reserve, commit)
BENCH_SIDE(consume, bench_consume_in_place, peek, release)
BENCH_TRIPS(ping, bench_ping_in_place, reserve, commit, peek, release)
BENCH_TRIPS(pong, bench_pong_in_place, reserve, commit, peek, release)

const struct bench_peer bench_iceoryx = {
    .name = "iceoryx", .what = "iceoryx, its C binding, in place", .bytes_max = 1048576,
    .can = BENCH_SPSC | BENCH_MPSC | BENCH_BROADCAST | BENCH_SPIN | BENCH_SLEEP | BENCH_LATENCY,
    .begin = begin, .finish = finish, .remove = replace_killed, .open = open_end, .produce = produce,
    .consume = consume, .ping = ping, .pong = pong, .close = close_end,
};
