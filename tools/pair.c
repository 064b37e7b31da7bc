#include "pair.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- errors and options ---- */

int pair_die(const struct pair_options *options, const char *format, ...)
{
    char line[2048];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (char *c = line; *c != 0; c++) /* one line, whatever was in a name */
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    (void)fprintf(stderr, "%s: %s\n", options->program, line);
    return PAIR_ERROR;
}

int pair_die_status(const struct pair_options *options, const char *what, weir_status status)
{
    const char *detail = weir_error_detail();
    return pair_die(options, "%s %s: %s%s%s", what, options->name, weir_status_text(status), *detail != 0 ? ": " : "",
                    detail);
}

static const char producer_help[] =
    "usage: weir-producer NAME [options]     sends records to weir-consumer NAME\n"
    "  --kind KIND           spsc (default), mpsc, mpsc-ordered, mpmc, broadcast, broadcast-gated, latest, mailbox\n"
    "  --capacity BYTES      of the lane (default: what is there, else 256K)\n"
    "  --message-size BYTES  of a generated record, or of a file's largest (default 64, at least 32 if generated)\n"
    "  --count N             stop after N records (default: endless)\n"
    "  --input FILE|-        send a file's bytes (default: generated records)\n"
    "  --rate N              records a second (default: as fast as it goes)\n"
    "  --wait spin|sleep     never sleep, or never spin (default: spin, then sleep)\n"
    "  --id N                the producer's number in generated records (default 0)\n"
    "  --help, --version\n"
    "NAME is Local/x (default) or Global/x.  BYTES take K, M, G.\n";

static const char consumer_help[] =
    "usage: weir-consumer NAME [options]     receives the records of weir-producer NAME\n"
    "  --kind KIND           spsc (default), mpsc, mpsc-ordered, mpmc, broadcast, broadcast-gated, latest, mailbox\n"
    "  --capacity BYTES      of the lane (default: what is there, else what the producer says)\n"
    "  --count N             stop after N records (default: endless)\n"
    "  --output FILE|-       write the payload there\n"
    "  --wait spin|sleep     never sleep, or never spin (default: spin, then sleep)\n"
    "  --producers N         end when N producers have come and none lives (default 1)\n"
    "  --help, --version\n"
    "NAME is Local/x (default) or Global/x.  BYTES take K, M, G.\n";

static _Noreturn void usage(const struct pair_options *options, const char *format, const char *what)
{
    char text[256];
    (void)snprintf(text, sizeof text, format, what);
    exit(pair_die(options, "%s (see --help)", text));
}

/* A number of at most max, with a suffix K, M or G where sizes are meant. */
static uint64_t number(const struct pair_options *options, const char *option, const char *text, bool is_size,
                       uint64_t max)
{
    uint64_t value = 0, scale = 1;
    const char *at = text;
    bool ok = *at >= '0' && *at <= '9';
    for (; ok && *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        ok = value <= (UINT64_MAX - digit) / 10;
        value = value * 10 + digit;
    }
    if (ok && is_size && *at != 0) {
        const char *suffix = strchr("KMG", *at);
        ok = suffix != NULL;
        scale = ok ? UINT64_C(1) << 10 * (suffix - "KMG" + 1) : 1;
        at += ok;
    }
    if (!ok || *at != 0 || value > max / scale) {
        char text_max[128];
        (void)snprintf(text_max, sizeof text_max, "%s \"%.40s\" is no %s of at most %" PRIu64, option, text,
                       is_size ? "size (digits, then K, M or G)" : "number", max);
        usage(options, "%s", text_max);
    }
    return value * scale;
}

/* A mailbox has no such kind: 0. */
static weir_kind kind(const struct pair_options *options, const char *text)
{
    static const struct { const char *name; weir_kind kind; } kinds[] = {
        { "spsc", WEIR_SPSC }, { "mpsc", WEIR_MPSC }, { "mpsc-ordered", WEIR_MPSC_ORDERED }, { "mpmc", WEIR_MPMC },
        { "broadcast", WEIR_BROADCAST }, { "broadcast-gated", WEIR_BROADCAST_GATED }, { "latest", WEIR_LATEST },
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(text, kinds[i].name) == 0)
            return kinds[i].kind;
    if (strcmp(text, "mailbox") != 0)
        usage(options, "--kind \"%.40s\" is unknown: spsc, mpsc, mpsc-ordered, mpmc, broadcast, broadcast-gated, latest "
              "and mailbox are what there is", text);
    return 0;
}

static weir_wait wait_mode(const struct pair_options *options, const char *text)
{
    if (strcmp(text, "spin") == 0)
        return WEIR_WAIT_SPIN;
    if (strcmp(text, "sleep") != 0)
        usage(options, "--wait \"%.40s\": give spin or sleep", text);
    return WEIR_WAIT_SLEEP;
}

enum { KIND = 1, CAPACITY, MESSAGE_SIZE, COUNT, INPUT, OUTPUT, RATE, WAIT, ID, PRODUCERS, HELP, VERSION };

static const struct option producer_options[] = {
    { "kind", required_argument, NULL, KIND },     { "capacity", required_argument, NULL, CAPACITY },
    { "count", required_argument, NULL, COUNT },   { "message-size", required_argument, NULL, MESSAGE_SIZE },
    { "input", required_argument, NULL, INPUT },   { "rate", required_argument, NULL, RATE },
    { "wait", required_argument, NULL, WAIT },     { "id", required_argument, NULL, ID },
    { "help", no_argument, NULL, HELP },           { "version", no_argument, NULL, VERSION },
    { NULL, 0, NULL, 0 },
};

static const struct option consumer_options[] = {
    { "kind", required_argument, NULL, KIND },     { "capacity", required_argument, NULL, CAPACITY },
    { "count", required_argument, NULL, COUNT },   { "output", required_argument, NULL, OUTPUT },
    { "wait", required_argument, NULL, WAIT },     { "producers", required_argument, NULL, PRODUCERS },
    { "help", no_argument, NULL, HELP },           { "version", no_argument, NULL, VERSION },
    { NULL, 0, NULL, 0 },
};

static void take_option(struct pair_options *o, int option)
{
    switch (option) {
    case KIND:
        o->channel.kind = kind(o, optarg);
        o->mailbox = o->channel.kind == 0;
        break;
    case CAPACITY:
        o->channel.capacity = number(o, "--capacity", optarg, true, WEIR_CAPACITY_MAX);
        if (o->channel.capacity == 0)
            usage(o, "--capacity %s: give at least 1 byte", optarg);
        break;
    case MESSAGE_SIZE:
        o->message_size = number(o, "--message-size", optarg, true, INT32_MAX);
        o->message_size_given = true;
        break;
    case COUNT: o->count = number(o, "--count", optarg, false, UINT64_MAX - 1); break;
    case INPUT: o->input = optarg; break;
    case OUTPUT: o->output = optarg; break;
    case RATE:
        o->rate = number(o, "--rate", optarg, false, 1000000000);
        if (o->rate == 0)
            usage(o, "--rate %s: give at least 1 record a second", optarg);
        break;
    case WAIT: o->channel.wait = wait_mode(o, optarg); break;
    case ID: o->id = (uint32_t)number(o, "--id", optarg, false, UINT32_MAX); break;
    case PRODUCERS:
        o->producers = number(o, "--producers", optarg, false, UINT32_MAX);
        if (o->producers == 0)
            usage(o, "--producers %s: give at least 1", optarg);
        break;
    case HELP:
        (void)fputs(o->producer ? producer_help : consumer_help, stdout);
        exit(PAIR_WELL);
    case VERSION:
        (void)printf("%s %s\n", o->program, weir_version());
        exit(PAIR_WELL);
    default: usage(o, "%s", "unknown option");
    }
}

void pair_options_parse(struct pair_options *o, int argc, char **argv)
{
    o->message_size = 64;
    o->count = PAIR_ENDLESS;
    o->producers = 1;
    opterr = 0;
    for (;;) {
        int at = optind;
        int option = getopt_long(argc, argv, ":", o->producer ? producer_options : consumer_options, NULL);
        if (option == -1)
            break;
        if (option == '?')
            usage(o, "unknown option \"%.60s\"", argv[optind > at ? optind - 1 : at]);
        if (option == ':')
            usage(o, "option %.60s wants a value", argv[optind - 1]);
        take_option(o, option);
    }
    if (optind == argc)
        usage(o, "%s", "the channel's NAME is missing");
    if (optind + 1 < argc)
        usage(o, "one NAME only: what is \"%.60s\"?", argv[optind + 1]);
    o->name = argv[optind];
    if (o->producer && o->message_size == 0)
        usage(o, "%s", "--message-size 0: give at least 1 byte");
    if (o->producer && o->input == NULL && o->message_size < PAIR_RECORD_MIN)
        usage(o, "%s", "--message-size: a generated record has at least 32 bytes");
}

void pair_report_capacity(const struct pair_options *o, const weir_channel_facts *facts)
{
    uint64_t asked = o->channel.capacity;
    bool rounded = facts->capacity > asked && facts->capacity / 4 < asked + WEIR_CAPACITY_MIN;
    if (asked != 0 && facts->capacity != 0 && facts->capacity != asked) /* a consumer's may wait for its producer */
        (void)fprintf(stderr, "%s: capacity %" PRIu64 " %s %" PRIu64 "\n", o->program, asked,
                      rounded ? "rounded up to" : "was asked for: it is", facts->capacity);
}

weir_status pair_open(struct pair_options *o, weir_channel **channel)
{
    weir_status status = weir_channel_open(channel, o->name, o->producer ? WEIR_PRODUCER : WEIR_CONSUMER, &o->channel);
    weir_channel_facts facts;
    if (status == WEIR_OK && weir_channel_info(*channel, &facts) == WEIR_OK)
        pair_report_capacity(o, &facts);
    return status;
}

weir_mailbox_options pair_mailbox_options(const struct pair_options *o)
{
    const weir_channel_options *channel = &o->channel;
    return (weir_mailbox_options){
        .capacity = channel->capacity,
        .message_bytes = channel->record_bytes,
        .type = channel->type,
        .wait = channel->wait,
        .senders = channel->producers,
        .identity = channel->identity,
    };
}

/* ---- signals, time, progress ---- */

volatile sig_atomic_t pair_stop;
void (*volatile pair_at_stop)(void);

static void stop(int signal)
{
    (void)signal;
    pair_stop = 1;
    if (pair_at_stop != NULL)
        pair_at_stop();
}

void pair_catch_signals(void)
{
    struct sigaction action = { .sa_handler = stop };
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    action.sa_handler = SIG_IGN; /* a write then says EPIPE, or EFBIG */
    (void)sigaction(SIGPIPE, &action, NULL);
    (void)sigaction(SIGXFSZ, &action, NULL);
}

double pair_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Below 32 each has a class of its own; above, a power of two has 32. */
static unsigned class_of(uint64_t ns)
{
    if (ns < 32)
        return (unsigned)ns;
    unsigned log = 63 - (unsigned)__builtin_clzll(ns);
    return (log - 4) * 32 + (unsigned)(ns >> (log - 5) & 31);
}

void pair_times_add(struct pair_times *times, int64_t ns)
{
    times->count++;
    times->count_in[class_of(ns > 0 ? (uint64_t)ns : 0)]++;
}

double pair_times_us(const struct pair_times *times, double share)
{
    uint64_t below = 0, wanted = (uint64_t)((double)times->count * share);
    for (unsigned i = 0; i < sizeof times->count_in / sizeof times->count_in[0]; i++) {
        below += times->count_in[i];
        if (below > wanted || (below == times->count && below != 0)) {
            uint64_t longest = i < 32 ? i : ((UINT64_C(32) | i % 32) + 1) * (UINT64_C(1) << (i / 32 - 1)) - 1;
            return (double)longest * 1e-3;
        }
    }
    return 0.0;
}

static double progress_last;
static bool progress_shown;

void pair_progress(uint64_t records, uint64_t bytes, double since)
{
    static int terminal = -1;
    if (terminal < 0)
        terminal = isatty(STDERR_FILENO);
    if (!terminal)
        return;
    double now = pair_now();
    if (now - progress_last < 1.0)
        return;
    progress_last = now;
    progress_shown = true;
    (void)fprintf(stderr, "\r%" PRIu64 " records, %.1f MB, %.1f MB/s ", records, (double)bytes * 1e-6,
                  now > since ? (double)bytes * 1e-6 / (now - since) : 0.0);
}

void pair_progress_end(void)
{
    if (progress_shown)
        (void)fputc('\n', stderr);
}

/* ---- generated records ---- */

#define HEAD_BYTES 24u
#define STEP UINT64_C(0x9e3779b97f4a7c15) /* 2^64 / golden ratio: neighbours differ in all bytes */

/* What the bytes behind the head start from. */
static uint64_t mix(const struct pair_record *record)
{
    uint64_t who = (uint64_t)record->id << 32 | record->session;
    uint64_t x = (record->sequence + who * STEP) * UINT64_C(0xbf58476d1ce4e5b9); /* Stafford's mixer, variant 13 */
    return (x ^ x >> 31) + record->size;
}

void pair_record_fill(void *slot, const struct pair_record *record)
{
    uint64_t *word = slot;
    uint64_t words = record->size / 8, rest = record->size % 8;
    uint64_t value = mix(record);
    memcpy(slot, record, HEAD_BYTES);
    for (uint64_t i = HEAD_BYTES / 8; i < words; i++)
        word[i] = value += STEP;
    value += STEP;
    memcpy(word + words, &value, rest);
}

/* Stafford's mixer over the words, the last filled up with zeros. */
uint64_t pair_checksum(const void *msg, uint64_t size)
{
    const unsigned char *bytes = msg;
    uint64_t sum = size * STEP;
    for (uint64_t at = 0; at < size; at += 8) {
        uint64_t word = 0;
        memcpy(&word, bytes + at, size - at < 8 ? size - at : 8);
        sum = (sum ^ word) * UINT64_C(0xbf58476d1ce4e5b9);
        sum ^= sum >> 31;
    }
    return sum;
}

bool pair_record_read(const void *msg, uint64_t size, struct pair_record *record)
{
    const uint64_t *word = msg;
    if (size < PAIR_RECORD_MIN)
        return false;
    memcpy(record, msg, HEAD_BYTES);
    uint64_t value = mix(record), wrong = record->size ^ size;
    for (uint64_t i = HEAD_BYTES / 8; i < size / 8; i++)
        wrong |= word[i] ^ (value += STEP);
    value += STEP;
    return wrong == 0 && memcmp(word + size / 8, &value, size % 8) == 0;
}
