/* tests/ipc/kinds_help.h - what the tests of channels of every kind share. */
#ifndef WEIR_TESTS_KINDS_HELP_H
#define WEIR_TESTS_KINDS_HELP_H

#include "channel_help.h"

struct kind_row {
    weir_kind kind;
    const char *name;
    bool producers, consumers; /* many of them */
    bool for_record;           /* it is made for a longest record */
    bool waits;                /* a producer waits for room */
};

static const struct kind_row kind_rows[] = {
    { WEIR_SPSC, "spsc", false, false, false, true },
    { WEIR_MPSC, "mpsc", true, false, false, true },
    { WEIR_MPSC_ORDERED, "mpsc-ordered", true, false, false, true },
    { WEIR_MPMC, "mpmc", true, true, true, true },
    { WEIR_BROADCAST, "broadcast", false, true, false, false },
    { WEIR_BROADCAST_GATED, "broadcast-gated", false, true, false, true },
    { WEIR_LATEST, "latest", false, true, true, false },
};
#define KINDS (sizeof kind_rows / sizeof kind_rows[0])
#define FOR_EACH_KIND(k) for (const struct kind_row *k = kind_rows; k < kind_rows + KINDS; k++)

static inline weir_channel *open_kind(const char *name, weir_kind kind, weir_role role, uint64_t capacity)
{
    weir_channel *channel;
    CHECK_OK(weir_channel_open(&channel, name, role,
                               &(weir_channel_options){ .kind = kind, .capacity = capacity }));
    return channel;
}

static inline weir_status try_open(const char *name, weir_role role, weir_channel_options options)
{
    weir_channel *channel = NULL;
    weir_status status = weir_channel_open(&channel, name, role, &options);
    if (status == WEIR_OK)
        CHECK_OK(weir_channel_close(channel));
    else
        CHECK(channel == NULL);
    return status;
}

/* Opens, and must not be given it. */
static inline void check_refused(const char *name, weir_role role, weir_channel_options options, weir_status expected,
                                 const char *part, const char *other)
{
    CHECK_STATUS(try_open(name, role, options), expected);
    if (strstr(weir_error_detail(), part) == NULL || strstr(weir_error_detail(), other) == NULL)
        (void)fprintf(stderr, "said: %s\n", weir_error_detail());
    CHECK(strstr(weir_error_detail(), part) != NULL && strstr(weir_error_detail(), other) != NULL);
}

static inline weir_message message_of(weir_channel *channel)
{
    weir_message message;
    CHECK_OK(weir_channel_message(channel, &message));
    return message;
}

/* A child that does its work on a handle and then stands still until it is killed; the parent goes on when it stands. */
static inline pid_t child_stands(const char *name, weir_role role, weir_channel_options options,
                                 void (*work)(weir_channel *channel))
{
    struct gate done = gate_make();
    pid_t child = child_fork();
    if (child == 0) {
        weir_channel *channel;
        CHECK_OK(weir_channel_open(&channel, name, role, &options));
        work(channel);
        gate_open(done);
        for (;;)
            (void)pause();
    }
    gate_wait(done);
    gate_close(done);
    return child;
}

static inline void works_not(weir_channel *channel)
{
    (void)channel;
}

#endif
