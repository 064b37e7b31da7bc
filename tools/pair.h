/* tools/pair.h - what weir-producer and weir-consumer share: options, the generated record, the summary's parts. */
#ifndef WEIR_TOOLS_PAIR_H
#define WEIR_TOOLS_PAIR_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include <weir/weir.h>

enum pair_exit { PAIR_WELL = 0, PAIR_ERROR = 1, PAIR_WRONG = 2, PAIR_DIED = 3 };

/* The channel's type says whether records are bytes of a file or generated ones. */
#define PAIR_TYPE_RAW "weir-pair/raw"
#define PAIR_TYPE_GENERATED "weir-pair/generated"

enum pair_mail { PAIR_RECORD = 1, PAIR_CHECKSUM = 2 }; /* tags of a mailbox's messages */

#define PAIR_BATCH 128 /* records published or released at once while there is no hurry */
#define PAIR_TICK WEIR_MILLISECONDS(180)  /* how long a call may wait before signals and progress are looked at */
#define PAIR_ENDLESS UINT64_MAX

struct pair_options {
    const char *program; /* "weir-producer" */
    bool producer;
    const char *name;
    weir_channel_options channel;
    bool mailbox; /* not a channel: a mailbox, of these options */
    uint64_t message_size;
    bool message_size_given;
    uint64_t count;
    uint64_t rate; /* records a second; 0: as fast as it goes */
    uint64_t producers;
    uint32_t id;
    const char *input;  /* NULL: generated records */
    const char *output; /* NULL: none */
};

/* pair_options_parse fills options from the command line.  It ends the program where that asks for help or the version
 * (0) or is wrong (1, with one line on standard error). */
void pair_options_parse(struct pair_options *options, int argc, char **argv);

/* pair_die prints "program: text" as one line on standard error and gives PAIR_ERROR. */
__attribute__((format(printf, 2, 3))) int pair_die(const struct pair_options *options, const char *format, ...);

/* pair_die_status says what call failed and why, with the library's own particulars. */
int pair_die_status(const struct pair_options *options, const char *what, weir_status status);

/* pair_open opens the channel and reports a capacity that was rounded up; pair_mailbox_options are the channel's, for a
 * mailbox, whose capacity pair_report_capacity reports. */
weir_status pair_open(struct pair_options *options, weir_channel **channel);
weir_mailbox_options pair_mailbox_options(const struct pair_options *options);
void pair_report_capacity(const struct pair_options *options, const weir_channel_facts *facts);

/* SIGINT and SIGTERM set this, and call pair_at_stop, if it is set; SIGPIPE is an error of write instead. */
extern volatile sig_atomic_t pair_stop;
extern void (*volatile pair_at_stop)(void);
void pair_catch_signals(void);

double pair_now(void); /* seconds, monotonic */

/* Times of round trips, in classes of 1/32 of their size. */
struct pair_times {
    uint64_t count, count_in[64 * 32];
};
void pair_times_add(struct pair_times *times, int64_t ns);
double pair_times_us(const struct pair_times *times, double share); /* that share of them took no longer, within 3 % */

/* pair_progress prints a line on standard error about once a second, if that is a terminal; pair_progress_end ends
 * it. */
void pair_progress(uint64_t records, uint64_t bytes, double since);
void pair_progress_end(void);

/* ---- generated records: three words say who sent what, every byte behind them follows from these ---- */

#define PAIR_RECORD_MIN 32u

struct pair_record {
    uint32_t id;
    uint32_t session; /* one run of a producer: a restarted one begins again at 0 */
    uint64_t sequence;
    uint64_t size; /* bytes, these included */
};

/* A mailbox's answer to a record. */
uint64_t pair_checksum(const void *msg, uint64_t size);

void pair_record_fill(void *slot, const struct pair_record *record);

/* pair_record_read checks every byte of a record and gives what it says; false if any is wrong. */
bool pair_record_read(const void *msg, uint64_t size, struct pair_record *record);

#endif
