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
#define BATCH_BYTES 16384u /* of generated records that are sent at once */
#define LOOK_SECONDS 0.02 /* how often a producer that has nothing to do looks whether its consumer lives */

struct producer {
    struct pair_options *options;
    weir_channel *channel;
    weir_sender *sender; /* to a mailbox, instead, */
    weir_mailbox *replies;
    struct pair_times times; /* and back */
    uint64_t wrong;          /* answers */
    uint32_t consumers_before; /* generation of a consumer that was gone when we came */
    uint32_t consumer_deaths;  /* while others lived: those are not the end */
    uint32_t session;
    uint64_t records, bytes;
    bool alone; /* the consumer has gone */
    double start, looked;
    const char *end; /* why it stopped; NULL: not yet */
    int exit_status;
};

static weir_status info(struct producer *p, weir_channel_facts *facts)
{
    return p->sender != NULL ? weir_sender_info(p->sender, facts) : weir_channel_info(p->channel, facts);
}

/* What a status that is not WEIR_OK means for the run.  True: try again. */
static bool again(struct producer *p, weir_status status)
{
    if (status == WEIR_TIMEOUT || status == WEIR_CANCELLED) {
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
    if (info(p, &facts) != WEIR_OK || facts.consumer.generation == p->consumers_before)
        return;
    if (facts.consumer.presence == WEIR_ALIVE)
        p->consumer_deaths = facts.consumer.deaths;
    else if (facts.consumer.presence == WEIR_DEAD && facts.consumer.deaths != p->consumer_deaths)
        (void)again(p, WEIR_DIED);
    else if (facts.consumer.presence == WEIR_LEFT || facts.consumer.presence == WEIR_DEAD)
        (void)again(p, WEIR_CLOSED);
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

/* Sends one record to the mailbox and checks the answer, its checksum; false when the run is over. */
static bool call(struct producer *p, const unsigned char *record, uint64_t len)
{
    weir_mail answer;
    uint64_t sum = 0;
    keep_rate(p);
    if (p->end != NULL)
        return false;
    int64_t start = weir_now();
    weir_status status = weir_sender_call(p->sender, PAIR_RECORD, record, len, &answer, &sum, sizeof sum, WEIR_FOREVER);
    if (status != WEIR_OK && status != WEIR_E_TOO_SMALL) {
        (void)again(p, status);
        return p->end == NULL;
    }
    pair_times_add(&p->times, weir_now() - start);
    p->wrong += status != WEIR_OK || answer.len != sizeof sum || sum != pair_checksum(record, len);
    p->records++;
    p->bytes += len;
    pair_progress(p->records, p->bytes, p->start);
    if (p->records == p->options->count)
        p->end = "count";
    else if (pair_stop)
        p->end = "signal";
    return p->end == NULL;
}

/* Sends count records of len bytes each, waiting as long as it takes; false when the run is over. */
static bool send_records(struct producer *p, const unsigned char *records, uint64_t len, uint32_t count)
{
    for (; p->sender != NULL && count > 0; count--, records += len)
        if (!call(p, records, len))
            return false;
    while (count > 0) {
        uint32_t sent;
        keep_rate(p);
        if (p->end != NULL)
            return false;
        weir_status status = weir_send_array(p->channel, records, len, count, &sent, PAIR_TICK);
        records += sent * len;
        count -= sent;
        p->records += sent;
        p->bytes += sent * len;
        pair_progress(p->records, p->bytes, p->start);
        if (p->records == p->options->count)
            p->end = "count";
        else if (status != WEIR_OK)
            (void)again(p, status);
        else if (pair_stop)
            p->end = "signal";
        if (p->end != NULL)
            return false;
    }
    return true;
}

/* How many records of len bytes to send at once: one where they come at a rate, and no more than are asked for. */
static uint32_t batch_of(const struct producer *p, uint64_t len)
{
    uint64_t batch = p->options->rate != 0 || len > BATCH_BYTES ? 1 : BATCH_BYTES / len;
    uint64_t left = p->options->count - p->records;
    batch = batch < PAIR_BATCH ? batch : PAIR_BATCH;
    return (uint32_t)(batch < left ? batch : left);
}

static void send_generated(struct producer *p)
{
    struct pair_record record = { p->options->id, p->session, 0, p->options->message_size };
    unsigned char *records = malloc(record.size * batch_of(p, record.size) + 8);
    uint32_t batch;
    if (records == NULL) {
        p->end = "error";
        p->exit_status = pair_die(p->options, "no memory for a record");
        return;
    }
    do {
        batch = record.size % 8 == 0 ? batch_of(p, record.size) : 1; /* a record is written in aligned words */
        for (uint32_t i = 0; i < batch; i++, record.sequence++)
            pair_record_fill(records + i * record.size, &record);
    } while (send_records(p, records, record.size, batch));
    free(records);
}

static void send_bytes(struct producer *p, const unsigned char *bytes, uint64_t len)
{
    uint64_t size = p->options->message_size;
    while (len >= size) {
        uint32_t batch = batch_of(p, size);
        if (batch > len / size)
            batch = (uint32_t)(len / size);
        if (!send_records(p, bytes, size, batch))
            return;
        bytes += batch * size;
        len -= batch * size;
    }
    if (len > 0)
        (void)send_records(p, bytes, len, 1);
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
        if (poll(&wait, 1, (int)(LOOK_SECONDS * 1000)) <= 0) { /* a pipe with nothing in it */
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
    while (!pair_stop && info(p, &facts) == WEIR_OK &&
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
    while (p->sender == NULL && (status = weir_channel_drain(p->channel, PAIR_TICK)) != WEIR_OK && again(p, status))
        ;
    if (p->end == NULL && p->records == 0 && p->options->count != 0)
        await_consumer(p);
    if (p->end == NULL)
        p->end = end;
}

static struct producer p;

static void cancel(void)
{
    (void)weir_sender_cancel(p.sender);
    (void)weir_mailbox_cancel(p.replies);
}

static weir_status open_sender(struct pair_options *options)
{
    weir_mailbox_options own = pair_mailbox_options(options);
    weir_channel_facts facts;
    weir_status status = weir_mailbox_open(&p.replies, NULL, &(weir_mailbox_options){ .wait = own.wait });
    if (status == WEIR_OK)
        status = weir_sender_open(&p.sender, options->name, p.replies, &own);
    if (status != WEIR_OK)
        (void)weir_mailbox_close(p.replies);
    else if (weir_sender_info(p.sender, &facts) == WEIR_OK)
        pair_report_capacity(options, &facts);
    if (status == WEIR_OK)
        pair_at_stop = cancel;
    return status;
}

/* The line before the summary; true if every answer was right. */
static bool report_answers(void)
{
    (void)printf("answers=%" PRIu64 " wrong=%" PRIu64 " rtt_us_p50=%.2f rtt_us_p99=%.2f\n", p.times.count, p.wrong,
                 pair_times_us(&p.times, 0.5), pair_times_us(&p.times, 0.99));
    return p.wrong == 0;
}

int main(int argc, char **argv)
{
    struct pair_options options = { .program = "weir-producer", .producer = true };
    p.options = &options;
    pair_options_parse(&options, argc, argv);
    int fd = -1;
    if (options.input != NULL) {
        fd = strcmp(options.input, "-") == 0 ? STDIN_FILENO : open(options.input, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return pair_die(&options, "cannot open --input %s: %s", options.input, strerror(errno));
    }
    options.channel.type.name = fd >= 0 ? PAIR_TYPE_RAW : PAIR_TYPE_GENERATED;
    options.channel.record_bytes = (uint32_t)options.message_size;
    options.channel.identity = fd < 0 ? (uint64_t)options.id + 1 : 0; /* two may not write as one */
    pair_catch_signals();
    weir_status status = options.mailbox ? open_sender(&options) : pair_open(&options, &p.channel);
    if (status != WEIR_OK)
        return pair_die_status(&options, "cannot open", status);
    weir_channel_facts facts;
    if (info(&p, &facts) == WEIR_OK) {
        p.session = facts.producer.generation; /* another for each that has ever come */
        p.consumer_deaths = facts.consumer.deaths;
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
    (void)info(&p, &facts);
    pair_at_stop = NULL;
    (void)weir_channel_close(p.channel);
    (void)weir_sender_close(p.sender);
    (void)weir_mailbox_close(p.replies);
    if (p.exit_status == PAIR_ERROR)
        return PAIR_ERROR;
    if (options.mailbox && !report_answers())
        p.exit_status = PAIR_WRONG;
    (void)printf("records=%" PRIu64 " bytes=%" PRIu64 " seconds=%.6f mb_per_s=%.1f full=%" PRIu64 " end=%s\n",
                 p.records, p.bytes, seconds, seconds > 0 ? (double)p.bytes * 1e-6 / seconds : 0.0, facts.full, p.end);
    if (fflush(stdout) != 0)
        return pair_die(&options, "cannot write the summary: %s", strerror(errno));
    return p.exit_status;
}
