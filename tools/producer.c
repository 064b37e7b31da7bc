/* weir-producer NAME [options] - sends generated records, or a file, to weir-consumer NAME. */
#include "pair.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define INPUT_BUFFER (UINT64_C(1) << 20)
#define LOOK_SECONDS 0.02 /* how often a producer that has nothing to do looks whether its consumer lives */

struct producer {
    struct pair_options *options;
    weir_channel *channel;
    uint32_t consumers_before; /* generation of a consumer that was gone when we came */
    uint32_t session;
    uint64_t records, bytes;
    unsigned unpublished;
    bool alone; /* the consumer has gone */
    double start, looked;
    const char *end; /* why it stopped; NULL: not yet */
    int exit_status;
};

/* What a status that is not WEIR_OK means for the run.  True: try again. */
static bool again(struct producer *p, weir_status status)
{
    if (status == WEIR_TIMEOUT) {
        pair_progress(p->records, p->bytes, p->start);
        if (!pair_stop)
            return true;
        p->end = "signal";
    } else if (status == WEIR_CLOSED) {
        p->alone = true;
        p->end = "closed";
    } else if (status == WEIR_DIED) {
        p->alone = true;
        p->end = "died";
        p->exit_status = PAIR_DIED;
    } else {
        p->end = "error";
        p->exit_status = pair_die_status(p->options, "cannot send to", status);
    }
    return false;
}

/* Something was put into the lane: publishes a batch when it is full, or at once when records come slowly. */
static void put(struct producer *p, uint64_t len)
{
    p->records++;
    p->bytes += len;
    if (++p->unpublished >= PAIR_BATCH || p->options->rate != 0) {
        (void)weir_flush(p->channel);
        p->unpublished = 0;
        pair_progress(p->records, p->bytes, p->start);
        if (pair_stop)
            p->end = "signal";
    }
    if (p->records == p->options->count)
        p->end = "count";
}

/* A producer that is not held up by a full lane would not hear that its consumer has gone. */
static void look_at_consumer(struct producer *p)
{
    weir_channel_facts facts;
    double now = pair_now();
    if (now - p->looked < LOOK_SECONDS)
        return;
    p->looked = now;
    pair_progress(p->records, p->bytes, p->start);
    if (pair_stop)
        p->end = "signal";
    if (weir_channel_info(p->channel, &facts) != WEIR_OK || facts.consumer.generation == p->consumers_before)
        return;
    if (facts.consumer.presence == WEIR_LEFT)
        (void)again(p, WEIR_CLOSED);
    else if (facts.consumer.presence == WEIR_DEAD)
        (void)again(p, WEIR_DIED);
}

/* Waits until the next record is due at --rate. */
static void keep_rate(struct producer *p)
{
    if (p->options->rate == 0)
        return;
    double due = p->start + (double)p->records / (double)p->options->rate;
    for (double now; p->end == NULL && (now = pair_now()) < due;) {
        double nap = due - now < LOOK_SECONDS ? due - now : LOOK_SECONDS;
        (void)nanosleep(&(struct timespec){ .tv_nsec = (long)(nap * 1e9) }, NULL);
        look_at_consumer(p);
    }
}

/* Sends one record, waiting as long as it takes; false when the run is over. */
static bool send_record(struct producer *p, const void *record, uint64_t len)
{
    keep_rate(p);
    while (p->end == NULL) {
        weir_status status = weir_send_more(p->channel, record, len, PAIR_TICK);
        if (status == WEIR_OK) {
            put(p, len);
            return p->end == NULL;
        }
        if (!again(p, status))
            return false;
    }
    return false;
}

static void send_generated(struct producer *p)
{
    struct pair_record record = { p->options->id, p->session, 0, p->options->message_size };
    void *bytes = malloc(record.size + 8);
    if (bytes == NULL) {
        p->end = "error";
        p->exit_status = pair_die(p->options, "no memory for a record");
        return;
    }
    do {
        pair_record_fill(bytes, &record);
        record.sequence++;
    } while (send_record(p, bytes, record.size));
    free(bytes);
}

static void send_bytes(struct producer *p, const unsigned char *bytes, uint64_t len)
{
    for (uint64_t at = 0; at < len;) {
        uint64_t piece = len - at < p->options->message_size ? len - at : p->options->message_size;
        if (!send_record(p, bytes + at, piece))
            return;
        at += piece;
    }
}

static void send_input(struct producer *p, int fd)
{
    unsigned char *buffer = malloc(INPUT_BUFFER);
    if (buffer == NULL) {
        p->end = "error";
        p->exit_status = pair_die(p->options, "no memory for a buffer of 1 MiB");
    }
    while (p->end == NULL) {
        struct pollfd wait = { .fd = fd, .events = POLLIN };
        if (poll(&wait, 1, 0) <= 0) { /* a pipe with nothing in it: what was read must not wait for more */
            (void)weir_flush(p->channel);
            p->unpublished = 0;
            (void)poll(&wait, 1, (int)(LOOK_SECONDS * 1000));
            look_at_consumer(p);
            continue;
        }
        ssize_t got = read(fd, buffer, INPUT_BUFFER);
        if (got > 0) {
            send_bytes(p, buffer, (uint64_t)got);
        } else if (got == 0) {
            p->end = "closed";
        } else if (errno != EINTR && errno != EAGAIN) {
            p->end = "error";
            p->exit_status = pair_die(p->options, "cannot read %s: %s", p->options->input, strerror(errno));
        }
    }
    free(buffer);
}

/* An empty file has nothing that a consumer could release: stays until one has come, or it would wait for ever. */
static void await_consumer(struct producer *p)
{
    weir_channel_facts facts;
    while (!pair_stop && weir_channel_info(p->channel, &facts) == WEIR_OK &&
           facts.consumer.generation == p->consumers_before)
        (void)nanosleep(&(struct timespec){ .tv_nsec = (long)(LOOK_SECONDS * 1e9) }, NULL);
    if (pair_stop)
        p->end = "signal";
}

/* A short file that was sent before the consumer came must not be lost: stays until all is released. */
static void drain(struct producer *p)
{
    const char *end = p->end;
    weir_status status;
    p->end = NULL;
    while ((status = weir_channel_drain(p->channel, PAIR_TICK)) != WEIR_OK && again(p, status))
        ;
    if (p->end == NULL && p->records == 0 && p->options->count != 0)
        await_consumer(p);
    if (p->end == NULL)
        p->end = end;
}

int main(int argc, char **argv)
{
    struct pair_options options = { .program = "weir-producer", .producer = true };
    struct producer p = { .options = &options };
    pair_options_parse(&options, argc, argv);
    int fd = -1;
    if (options.input != NULL) {
        fd = strcmp(options.input, "-") == 0 ? STDIN_FILENO : open(options.input, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return pair_die(&options, "cannot open --input %s: %s", options.input, strerror(errno));
    }
    options.channel.type = fd >= 0 ? PAIR_TYPE_RAW : PAIR_TYPE_GENERATED;
    options.channel.record_bytes = (uint32_t)options.message_size;
    pair_catch_signals();
    weir_status status = pair_open(&options, &p.channel);
    if (status != WEIR_OK)
        return pair_die_status(&options, "cannot open", status);
    weir_channel_facts facts;
    if (weir_channel_info(p.channel, &facts) == WEIR_OK) {
        p.session = facts.producer.generation;
        if (facts.consumer.presence != WEIR_ALIVE)
            p.consumers_before = facts.consumer.generation;
    }

    p.start = pair_now();
    if (options.count == 0)
        p.end = "count";
    else if (fd >= 0)
        send_input(&p, fd);
    else
        send_generated(&p);
    if (!p.alone && p.exit_status == PAIR_WELL && strcmp(p.end, "signal") != 0)
        drain(&p);
    double seconds = pair_now() - p.start;
    pair_progress_end();
    (void)weir_channel_info(p.channel, &facts);
    (void)weir_channel_close(p.channel);
    if (p.exit_status == PAIR_ERROR)
        return PAIR_ERROR;
    (void)printf("records=%" PRIu64 " bytes=%" PRIu64 " seconds=%.6f mb_per_s=%.1f full=%" PRIu64 " end=%s\n",
                 p.records, p.bytes, seconds, seconds > 0 ? (double)p.bytes * 1e-6 / seconds : 0.0, facts.full, p.end);
    if (fflush(stdout) != 0)
        return pair_die(&options, "cannot write the summary: %s", strerror(errno));
    return p.exit_status;
}
