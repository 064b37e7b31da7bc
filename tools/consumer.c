/* weir-consumer NAME [options] - receives, checks and counts the records of weir-producer NAME. */
#include "pair.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define OUTPUT_PIECES 1024 /* records written by one system call: IOV_MAX */

/* What was seen of one run of one producer. */
struct stream {
    uint32_t id, session;
    uint64_t first, last, records, gaps, repeats;
};

struct consumer {
    struct pair_options *options;
    weir_channel *channel;
    weir_mailbox *mailbox; /* instead */
    uint32_t joined_before, died_before; /* producers that do not count: they had gone when we came */
    bool type_known, generated;
    int output;       /* -1: none */
    bool output_made; /* by this run: it goes again if the run is refused */
    struct stream *streams, *stream;
    size_t stream_count;
    uint64_t records, bytes, corrupt, lost, redelivered;
    bool told;     /* the kind tells more of a message than its bytes */
    bool gaps_are_fine;
    struct iovec pieces[OUTPUT_PIECES];
    int unreleased; /* records peeked and not released; with an output they are in pieces */
    double start, last;
    const char *end;
    int exit_status;
};

static weir_status info(struct consumer *c, weir_channel_facts *facts)
{
    weir_mailbox_facts mailbox;
    if (c->mailbox == NULL)
        return weir_channel_info(c->channel, facts);
    weir_status status = weir_mailbox_info(c->mailbox, &mailbox);
    if (status == WEIR_OK)
        *facts = mailbox.channel;
    return status;
}

/* ---- one record ---- */

static struct stream *find_stream(struct consumer *c, const struct pair_record *record)
{
    for (size_t i = 0; i < c->stream_count; i++)
        if (c->streams[i].id == record->id && c->streams[i].session == record->session)
            return &c->streams[i];
    struct stream *grown = realloc(c->streams, (c->stream_count + 1) * sizeof *grown);
    if (grown == NULL)
        return NULL;
    c->streams = grown;
    grown[c->stream_count] = (struct stream){ .id = record->id, .session = record->session };
    return &grown[c->stream_count++];
}

static void judge(struct consumer *c, const void *msg, uint32_t len)
{
    struct pair_record record;
    if (!pair_record_read(msg, len, &record)) {
        c->corrupt++;
        return;
    }
    struct stream *s = c->stream;
    if (s == NULL || s->id != record.id || s->session != record.session)
        c->stream = s = find_stream(c, &record);
    if (s == NULL) {
        c->end = "error";
        c->exit_status = pair_die(c->options, "no memory for another producer's line");
        return;
    }
    weir_message message = { .lost = 0 };
    if (c->told)
        (void)weir_channel_message(c->channel, &message);
    if (s->records == 0)
        s->first = s->last = record.sequence;
    else if (record.sequence > s->last) {
        uint64_t missing = record.sequence - s->last - 1;
        if (!c->gaps_are_fine)
            s->gaps += missing > message.lost ? missing - message.lost : 0;
        s->last = record.sequence;
    } else
        s->repeats += !message.redelivered; /* of a dead consumer's, it may have been seen by that one alone */
    s->records++;
}

static void take(struct consumer *c, const void *msg, uint32_t len)
{
    if (!c->type_known) { /* the producer has stated it before its first record */
        weir_channel_facts facts = { .type = "" };
        (void)info(c, &facts);
        c->generated = strcmp(facts.type, PAIR_TYPE_GENERATED) == 0;
        c->told = facts.kind == WEIR_MPMC || facts.kind == WEIR_BROADCAST;
        c->gaps_are_fine = facts.kind == WEIR_MPMC || facts.kind == WEIR_LATEST;
        c->type_known = true;
        c->start = pair_now();
    }
    if (c->generated)
        judge(c, msg, len);
    if (c->output >= 0)
        c->pieces[c->unreleased] = (struct iovec){ (void *)(uintptr_t)msg, len };
    c->unreleased++;
    c->records++;
    c->bytes += len;
    if (c->records == c->options->count)
        c->end = "count";
}

/* ---- handing on, giving back ---- */

/* Told to stop while the output takes nothing: what is not written stays unreleased, and uncounted. */
static bool give_up(struct consumer *c, const struct iovec *piece, int left)
{
    struct pollfd wait = { .fd = c->output, .events = POLLOUT };
    if (!pair_stop || poll(&wait, 1, 0) > 0)
        return false;
    c->end = "signal";
    c->records -= (uint64_t)left;
    for (; left > 0; left--)
        c->bytes -= piece++->iov_len;
    return true;
}

/* False: not all of it was written, and nothing of it may be released. */
static bool write_pieces(struct consumer *c)
{
    struct iovec *piece = c->pieces;
    int left = c->unreleased;
    while (left > 0) {
        if (give_up(c, piece, left))
            return false;
        ssize_t wrote = writev(c->output, piece, left);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0 && errno == EAGAIN) {
            (void)poll(&(struct pollfd){ .fd = c->output, .events = POLLOUT }, 1, -1);
            continue;
        }
        if (wrote < 0) {
            c->end = "error";
            c->exit_status = pair_die(c->options, "cannot write --output %s: %s", c->options->output, strerror(errno));
            return false;
        }
        size_t done = (size_t)wrote;
        for (; left > 0 && done >= piece->iov_len; left--)
            done -= piece++->iov_len;
        if (left > 0) {
            piece->iov_base = (unsigned char *)piece->iov_base + done;
            piece->iov_len -= done;
        }
    }
    return true;
}

/* Written before it is released: what a killed consumer had not written is received again by the next one. */
static void release(struct consumer *c)
{
    if (c->unreleased == 0)
        return;
    if (c->output < 0 || write_pieces(c))
        (void)weir_release(c->channel);
    c->unreleased = 0;
    pair_progress(c->records, c->bytes, c->start);
}

/* ---- the run ---- */

/* A producer has gone: is the stream over? */
static void count_producers(struct consumer *c)
{
    weir_channel_facts facts;
    if (info(c, &facts) != WEIR_OK)
        return;
    uint32_t joined = facts.producer.generation - c->joined_before;
    uint32_t died = (facts.producer.deaths - c->died_before) & 0xffff;
    if (facts.producer.presence == WEIR_ALIVE || joined < c->options->producers)
        return;
    c->end = died != 0 ? "died" : "closed";
    c->exit_status = died != 0 ? PAIR_DIED : PAIR_WELL;
}

static void run(struct consumer *c)
{
    int batch = c->output >= 0 ? OUTPUT_PIECES : PAIR_BATCH;
    if (c->options->channel.kind == WEIR_BROADCAST || c->options->channel.kind == WEIR_LATEST)
        batch = 1; /* what is peeked is a copy, until the next one */
    while (c->end == NULL) {
        const void *msg;
        uint32_t len;
        weir_status status = weir_peek(c->channel, &msg, &len, WEIR_NOWAIT);
        if (status == WEIR_FULL) { /* it holds as much as one consumer may */
            release(c);
            continue;
        }
        if (status == WEIR_EMPTY || status == WEIR_AGAIN) { /* nothing may stay unreleased while we wait */
            release(c);
            if (c->end == NULL)
                status = weir_peek(c->channel, &msg, &len, PAIR_TICK);
        }
        if (status == WEIR_OK) {
            take(c, msg, len);
            if (c->unreleased >= batch)
                release(c);
            if (pair_stop)
                c->end = "signal";
        } else if (status == WEIR_CLOSED || status == WEIR_DIED) {
            release(c);
            if (c->end == NULL)
                count_producers(c);
            /* Believed first, looked at once more, and then the end: another producer may have come and gone since. */
            if (c->end != NULL && c->exit_status != PAIR_ERROR &&
                weir_peek(c->channel, &msg, &len, WEIR_NOWAIT) == WEIR_OK) {
                c->end = NULL;
                c->exit_status = PAIR_WELL;
                take(c, msg, len);
            }
        } else if (status == WEIR_TIMEOUT) {
            pair_progress(c->records, c->bytes, c->start);
            if (pair_stop)
                c->end = "signal";
        } else if (status != WEIR_EMPTY && status != WEIR_AGAIN && status != WEIR_FULL) {
            c->end = "error";
            c->exit_status = pair_die_status(c->options, "cannot receive from", status);
        }
    }
    release(c);
    c->last = pair_now();
}

/* ---- a mailbox ---- */

/* A record of it, written before it is answered: who has the answer knows that its record is safe.  A sender that is
 * gone, or takes no answer, is nobody else's loss. */
static void take_mail(struct consumer *c, const weir_mail *mail, const unsigned char *buffer)
{
    uint64_t sum = pair_checksum(buffer, mail->len);
    take(c, buffer, mail->len);
    if (c->output < 0 || write_pieces(c))
        (void)weir_mailbox_reply(c->mailbox, mail, PAIR_CHECKSUM, &sum, sizeof sum, PAIR_TICK);
    c->unreleased = 0;
    pair_progress(c->records, c->bytes, c->start);
}

/* Receives into a buffer that grows as it must. */
static weir_status receive(struct consumer *c, weir_mail *mail, unsigned char **buffer, uint64_t *size,
                           weir_timeout timeout)
{
    weir_status status = weir_mailbox_receive(c->mailbox, mail, *buffer, *size, timeout);
    if (status != WEIR_E_TOO_SMALL)
        return status;
    free(*buffer);
    *size = mail->len;
    *buffer = malloc(*size);
    if (*buffer == NULL)
        return WEIR_E_NO_MEMORY;
    return weir_mailbox_receive(c->mailbox, mail, *buffer, *size, timeout);
}

static void run_mailbox(struct consumer *c)
{
    unsigned char *buffer = NULL;
    uint64_t size = 0;
    weir_mail mail;
    while (c->end == NULL) {
        weir_status status = receive(c, &mail, &buffer, &size, PAIR_TICK);
        if (status == WEIR_OK) {
            take_mail(c, &mail, buffer);
        } else if (status == WEIR_CLOSED || status == WEIR_DIED) {
            count_producers(c);
            if (c->end != NULL && receive(c, &mail, &buffer, &size, WEIR_NOWAIT) == WEIR_OK) { /* as in run */
                c->end = NULL;
                c->exit_status = PAIR_WELL;
                take_mail(c, &mail, buffer);
            }
        } else if (status == WEIR_TIMEOUT) {
            pair_progress(c->records, c->bytes, c->start);
        } else if (status != WEIR_CANCELLED) {
            c->end = "error";
            c->exit_status = pair_die_status(c->options, "cannot receive from", status);
        }
        if (pair_stop && c->end == NULL)
            c->end = "signal";
    }
    free(buffer);
    c->last = pair_now();
}

static weir_status open_mailbox(struct consumer *c)
{
    weir_mailbox_options own = pair_mailbox_options(c->options);
    weir_channel_facts facts;
    weir_status status = weir_mailbox_open(&c->mailbox, c->options->name, &own);
    if (status == WEIR_OK && info(c, &facts) == WEIR_OK)
        pair_report_capacity(c->options, &facts);
    return status;
}

static int summary(const struct consumer *c)
{
    FILE *to = c->output == STDOUT_FILENO ? stderr : stdout;
    uint64_t gaps = 0, repeats = 0;
    for (size_t i = 0; i < c->stream_count; i++) {
        const struct stream *s = &c->streams[i];
        (void)fprintf(to,
                      "producer=%" PRIu32 " first=%" PRIu64 " last=%" PRIu64 " records=%" PRIu64 " gaps=%" PRIu64
                      " repeats=%" PRIu64 "\n",
                      s->id, s->first, s->last, s->records, s->gaps, s->repeats);
        gaps += s->gaps;
        repeats += s->repeats;
    }
    double seconds = c->records > 0 ? c->last - c->start : 0;
    (void)fprintf(to,
                  "records=%" PRIu64 " bytes=%" PRIu64 " seconds=%.6f mb_per_s=%.1f corrupt=%" PRIu64 " gaps=%" PRIu64
                  " repeats=%" PRIu64 " lost=%" PRIu64 " redelivered=%" PRIu64 " end=%s\n",
                  c->records, c->bytes, seconds, seconds > 0 ? (double)c->bytes * 1e-6 / seconds : 0.0, c->corrupt,
                  gaps, repeats, c->lost, c->redelivered, c->end);
    if (fflush(to) != 0)
        return pair_die(c->options, "cannot write the summary: %s", strerror(errno));
    return c->corrupt != 0 || gaps != 0 || repeats != 0 ? PAIR_WRONG : c->exit_status;
}

/* Who was there before us: a producer that is there, or that left something, counts among those awaited. */
static void count_before(struct consumer *c)
{
    weir_channel_facts facts;
    if (info(c, &facts) != WEIR_OK || facts.producer.generation == 0)
        return;
    c->joined_before = facts.producer.generation - (facts.producers_alive != 0 ? facts.producers_alive : 1);
    c->died_before = facts.producer.deaths - (facts.producer.presence == WEIR_DEAD);
}

/* An output is opened before the channel is joined and emptied after, so that a consumer that is refused has lost
 * nobody's file. */
static bool open_output(struct consumer *c)
{
    const char *path = c->options->output;
    if (strcmp(path, "-") == 0) {
        c->output = STDOUT_FILENO;
        return true;
    }
    c->output = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    c->output_made = c->output >= 0;
    if (c->output < 0)
        c->output = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    return c->output >= 0;
}

static void empty_output(struct consumer *c)
{
    struct stat st;
    if (c->output >= 0 && c->output != STDOUT_FILENO && fstat(c->output, &st) == 0 && S_ISREG(st.st_mode) &&
        ftruncate(c->output, 0) != 0) {
        c->end = "error";
        c->exit_status = pair_die(c->options, "cannot empty --output %s: %s", c->options->output, strerror(errno));
    }
}

int main(int argc, char **argv)
{
    static struct consumer c = { .output = -1 };
    struct pair_options options = { .program = "weir-consumer" };
    c.options = &options;
    pair_options_parse(&options, argc, argv);
    if (options.producers > WEIR_MEMBERS_DEFAULT && options.producers <= WEIR_MEMBERS_MAX &&
        (options.channel.kind == WEIR_MPSC || options.channel.kind == WEIR_MPSC_ORDERED ||
         options.channel.kind == WEIR_MPMC || options.mailbox))
        options.channel.producers = (uint32_t)options.producers;
    if (options.output != NULL && !open_output(&c))
        return pair_die(&options, "cannot open --output %s: %s", options.output, strerror(errno));
    pair_catch_signals();
    weir_status status = options.mailbox ? open_mailbox(&c) : pair_open(&options, &c.channel);
    if (status != WEIR_OK) {
        if (c.output_made)
            (void)unlink(options.output);
        return pair_die_status(&options, "cannot open", status);
    }
    empty_output(&c);
    count_before(&c);
    if (options.count == 0)
        c.end = "count";
    if (options.mailbox)
        run_mailbox(&c);
    else
        run(&c);
    pair_progress_end();
    weir_channel_facts facts;
    if (info(&c, &facts) == WEIR_OK) {
        c.lost = facts.lost;
        c.redelivered = facts.redelivered;
    }
    (void)weir_channel_close(c.channel);
    (void)weir_mailbox_close(c.mailbox);
    int exit_status = c.exit_status == PAIR_ERROR ? PAIR_ERROR : summary(&c);
    free(c.streams);
    return exit_status;
}
