/* tests/ipc/channel_help.h - what the tests of channels share: a third hand in a channel's section, gates, children. */
#ifndef WEIR_TESTS_CHANNEL_HELP_H
#define WEIR_TESTS_CHANNEL_HELP_H

#include "support.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <weir/ipc/channel_layout.h>
#include <weir/ring/spsc_layout.h>

#define HELP_DEADLINE WEIR_MILLISECONDS(20000) /* whatever takes that long hangs */
#define HELP_BUFFER 8192

static inline int64_t help_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* ---- a third holder: keeps the section alive, looks into it, and spoils it ---- */

struct third {
    weir_section *section;
    weir_view view;
    weir_channel_layout *layout;
    weir_spsc_layout *lane; /* there once a lane is */
    unsigned char *data;
};

static inline void third_open(struct third *third, const char *name)
{
    weir_section_options options = { .content = WEIR_CHANNEL_CONTENT };
    CHECK_OK(weir_section_open(&third->section, name, &options));
    CHECK_OK(weir_view_map(&third->view, third->section, 0, 0, WEIR_READ_WRITE));
    unsigned char *base = third->view.base;
    third->layout = third->view.base;
    third->lane = (weir_spsc_layout *)(void *)(base + WEIR_CHANNEL_LANE);
    third->data = base + WEIR_CHANNEL_DATA;
}

static inline void third_close(struct third *third)
{
    CHECK_OK(weir_view_unmap(&third->view));
    CHECK_OK(weir_section_close(third->section));
}

/* ---- one process tells another to go on ---- */

struct gate {
    int in, out;
};

static inline struct gate gate_make(void)
{
    int ends[2];
    CHECK(pipe(ends) == 0);
    return (struct gate){ .in = ends[0], .out = ends[1] };
}

static inline void gate_open(struct gate gate)
{
    CHECK(write(gate.out, "", 1) == 1);
}

static inline void gate_wait(struct gate gate)
{
    struct pollfd poll_in = { .fd = gate.in, .events = POLLIN };
    char byte;
    CHECK(poll(&poll_in, 1, (int)(HELP_DEADLINE / 1000000)) == 1);
    CHECK(read(gate.in, &byte, 1) == 1);
}

static inline void gate_close(struct gate gate)
{
    (void)close(gate.in);
    (void)close(gate.out);
}

/* ---- children ---- */

/* fork; the child does not outlive its parent. */
static inline pid_t child_fork(void)
{
    pid_t parent = getpid();
    (void)fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
        if (getppid() != parent)
            _exit(1);
    }
    return child;
}

static inline void child_kill(pid_t child)
{
    CHECK(kill(child, SIGKILL) == 0);
    CHECK(support_wait(child) == -SIGKILL);
}

/* Waits until *word is value, or fails. */
static inline void wait_for_word32(const weir_atomic_u32 *word, uint32_t value)
{
    int64_t deadline = help_now_ns() + HELP_DEADLINE;
    while (weir_load32_rlx(word) != value) {
        CHECK(help_now_ns() < deadline);
        (void)usleep(20);
    }
}

/* Waits until *word is at least value, or fails. */
static inline void wait_for_count(const weir_atomic_u64 *word, uint64_t value)
{
    int64_t deadline = help_now_ns() + HELP_DEADLINE;
    while (weir_load_acq(word) < value) {
        CHECK(help_now_ns() < deadline);
        (void)usleep(20);
    }
}

/* Zeroed memory that forked children share. */
static inline void *share_pages(size_t bytes)
{
    void *page = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    return page;
}

/* ---- messages ---- */

/* The word at index of the message number id: word 0 is the id, the others follow from it. */
static inline uint64_t message_word(uint64_t id, uint64_t index)
{
    return index == 0 ? id : (id + index) * UINT64_C(0x9e3779b97f4a7c15) ^ index << 56;
}

/* len is at least 8; the last bytes may be part of a word. */
static inline void message_fill(void *msg, uint64_t id, uint64_t len)
{
    unsigned char *bytes = msg;
    for (uint64_t at = 0; at < len; at += 8) {
        uint64_t word = message_word(id, at / 8);
        memcpy(bytes + at, &word, len - at < 8 ? len - at : 8);
    }
}

static inline bool message_is_whole(const void *msg, uint64_t id, uint64_t len)
{
    const unsigned char *bytes = msg;
    for (uint64_t at = 0; at < len; at += 8) {
        uint64_t word = message_word(id, at / 8);
        if (memcmp(bytes + at, &word, len - at < 8 ? len - at : 8) != 0)
            return false;
    }
    return true;
}

static inline uint64_t message_id(const void *msg)
{
    uint64_t id;
    memcpy(&id, msg, sizeof id);
    return id;
}

/* Sends and receives 8-byte messages by number. */
static inline weir_status send_id(weir_channel *channel, uint64_t id, weir_timeout timeout)
{
    return weir_send(channel, &id, sizeof id, timeout);
}

static inline void receive_id(weir_channel *channel, uint64_t id)
{
    uint64_t got = ~id;
    uint32_t len = 0;
    CHECK_OK(weir_receive(channel, &got, sizeof got, &len, HELP_DEADLINE));
    CHECK(len == sizeof got);
    CHECK(got == id);
}

static inline weir_status receive_nothing(weir_channel *channel, weir_timeout timeout)
{
    uint64_t got;
    uint32_t len;
    return weir_receive(channel, &got, sizeof got, &len, timeout);
}

/* Sends numbered messages from id on until there is no room; the next number.  *last is what ended it. */
static inline uint64_t send_until_full(weir_channel *channel, uint64_t id, weir_status *last)
{
    while ((*last = send_id(channel, id, WEIR_NOWAIT)) == WEIR_OK)
        id++;
    return id;
}

static inline weir_channel *open_as(const char *name, weir_role role, uint64_t capacity)
{
    weir_channel *channel;
    CHECK_OK(weir_channel_open(&channel, name, role, &(weir_channel_options){ .capacity = capacity }));
    return channel;
}

static inline weir_channel_facts facts_of(weir_channel *channel)
{
    weir_channel_facts facts;
    CHECK_OK(weir_channel_info(channel, &facts));
    return facts;
}

#endif
