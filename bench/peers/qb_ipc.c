/* bench/peers/qb_ipc.c - libqb's ipc on shared memory: clients send to a server, which libqb's main loop calls with each
 * message; its answer is the way back of a round trip.  Rings of the capacity, the fastest rate of requests.
 *
 * Each message is also a byte on a socket, which wakes the loop: a side sleeps when it waits.  A full ring is told to the
 * client at once, and it asks again. */
#include "../loops.h"
#include "stay.h"

#include <errno.h>
#include <glob.h>
#include <libgen.h>
#include <qb/qbdefs.h>
#include <qb/qbipcc.h>
#include <qb/qbipcs.h>
#include <qb/qbloop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define FIRST_ID 100 /* those below QB_IPC_MSG_USER_START are libqb's */

/* A process has one end that counts; its loop's functions take no argument of ours. */
static struct bench_end *ours;
static struct bench_seen seen;
static qb_loop_t *loop;

/* Files of sides that were killed. */
static void remove_files(struct bench_link *link)
{
    char pattern[96];
    glob_t found;
    (void)snprintf(pattern, sizeof pattern, "/dev/shm/qb-*/*%s*", link->name);
    if (glob(pattern, GLOB_NOSORT, NULL, &found) != 0)
        return;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        (void)unlink(found.gl_pathv[i]);
        (void)rmdir(dirname(found.gl_pathv[i]));
    }
    globfree(&found);
}

/* ---- the server ---- */

static int32_t job_add(enum qb_loop_priority p, void *data, qb_loop_job_dispatch_fn call)
{
    return qb_loop_job_add(loop, p, data, call);
}

static int32_t dispatch_add(enum qb_loop_priority p, int32_t fd, int32_t events, void *data, qb_ipcs_dispatch_fn_t call)
{
    return qb_loop_poll_add(loop, p, fd, events, data, call);
}

static int32_t dispatch_mod(enum qb_loop_priority p, int32_t fd, int32_t events, void *data, qb_ipcs_dispatch_fn_t call)
{
    return qb_loop_poll_mod(loop, p, fd, events, data, call);
}

static int32_t dispatch_del(int32_t fd) { return qb_loop_poll_del(loop, fd); }

static int32_t accept_all(qb_ipcs_connection_t *client, uid_t uid, gid_t gid)
{
    (void)client, (void)uid, (void)gid;
    return 0;
}

static int32_t take(qb_ipcs_connection_t *client, void *data, size_t size)
{
    (void)client, (void)size;
    bench_consume_one(ours, &seen, (const struct qb_ipc_request_header *)data + 1, ours->work->bytes);
    if (seen.got == seen.total)
        qb_loop_stop(loop);
    return 0;
}

static int32_t answer(qb_ipcs_connection_t *client, void *data, size_t size)
{
    struct qb_ipc_response_header header = { .id = FIRST_ID, .size = (int32_t)(sizeof header + ours->work->bytes) };
    const void *msg = (const struct qb_ipc_request_header *)data + 1;
    struct iovec parts[2] = { { &header, sizeof header }, { ours->buffer, ours->work->bytes } };
    (void)size;
    memcpy(ours->buffer, msg, ours->work->bytes);
    ours->wrong += bench_read(ours->buffer, ours->work->bytes) != ours->received;
    if (qb_ipcs_response_sendv(client, parts, 2) < 0)
        bench_fail(ours, "qb_ipcs_response_sendv failed");
    if (++ours->received == ours->work->messages || ours->error != NULL)
        qb_loop_stop(loop);
    return 0;
}

static void serve(struct bench_end *end, qb_ipcs_msg_process_fn process)
{
    struct qb_ipcs_service_handlers handlers = {
        .connection_accept = accept_all, .msg_process = process,
    };
    struct qb_ipcs_poll_handlers poll = {
        .job_add = job_add, .dispatch_add = dispatch_add, .dispatch_mod = dispatch_mod, .dispatch_del = dispatch_del,
    };
    ours = end;
    loop = qb_loop_create();
    qb_ipcs_service_t *service = qb_ipcs_create(end->link->name, 0, QB_IPC_SHM, &handlers);
    qb_ipcs_poll_handlers_set(service, &poll);
    qb_ipcs_request_rate_limit(service, QB_IPCS_RATE_FAST);
    if (qb_ipcs_run(service) == 0)
        qb_loop_run(loop);
    else
        bench_fail(end, "qb_ipcs_run failed");
    stay(end);
    qb_ipcs_destroy(service);
    qb_loop_destroy(loop);
}

static void consume(struct bench_end *end)
{
    bench_consume_begin(end, &seen);
    serve(end, take);
    bench_consume_end(end, &seen);
}

static void pong(struct bench_end *back, struct bench_end *out)
{
    (void)out;
    serve(back, answer);
}

/* ---- a client ---- */

/* There is a server when its loop runs. */
static qb_ipcc_connection_t *join(struct bench_end *end)
{
    size_t room = end->work->capacity > 4 * (uint64_t)end->work->bytes ? end->work->capacity : 4 * (uint64_t)end->work->bytes;
    qb_ipcc_connection_t *server;
    while ((server = qb_ipcc_connect(end->link->name, room + 1024)) == NULL && bench_waited(end))
        (void)usleep(1000);
    return end->priv = server;
}

BENCH_INLINE bool send_one(struct bench_end *end, const void *msg, uint32_t bytes)
{
    struct qb_ipc_request_header header = { .id = FIRST_ID, .size = (int32_t)(sizeof header + bytes) };
    struct iovec parts[2] = { { &header, sizeof header }, { (void *)(uintptr_t)msg, bytes } };
    ssize_t n = qb_ipcc_sendv(end->priv, parts, 2);
    if (n < 0 && n != -EAGAIN)
        bench_fail(end, "qb_ipcc_sendv failed");
    return n > 0;
}

static void produce(struct bench_end *end)
{
    if (join(end) == NULL)
        return;
    BENCH_BY_SIZE(bench_produce_copies, end, send_one);
    stay(end); /* the server drops what its client left behind */
    qb_ipcc_disconnect(end->priv);
}

static void *responses; /* room for one with its header */

/* The answer comes by the way out. */
BENCH_INLINE bool receive_one(struct bench_end *end, void *buffer, uint32_t bytes)
{
    struct qb_ipc_response_header *whole = responses;
    ssize_t n = qb_ipcc_recv(end->priv, whole, sizeof *whole + bytes, -1);
    if (n < 0 && n != -EAGAIN && n != -ETIMEDOUT)
        bench_fail(end, "qb_ipcc_recv failed");
    if (n > 0)
        memcpy(buffer, whole + 1, bytes);
    return n > 0;
}

static void ping(struct bench_end *out, struct bench_end *back)
{
    responses = malloc(sizeof(struct qb_ipc_response_header) + out->work->bytes);
    if (responses == NULL || (back->priv = join(out)) == NULL)
        return;
    BENCH_BY_SIZE(bench_ping_copies, out, back, send_one, receive_one);
    qb_ipcc_disconnect(out->priv);
    free(responses);
}

const struct bench_peer bench_qb_ipc = {
    .name = "qb-ipc", .what = "libqb's ipc, clients and a server", .bytes_max = 1048576,
    .can = BENCH_SPSC | BENCH_MPSC | BENCH_SLEEP | BENCH_LATENCY,
    .memory = stay_memory, .remove = remove_files, .produce = produce, .consume = consume, .ping = ping, .pong = pong,
};
