#include "kinds_help.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#define COUNT 5000u /* of 8 bytes: more than a lane of 4096 holds, many times over */

static uint64_t messages[COUNT];

static void number_messages(void)
{
    for (uint64_t i = 0; i < COUNT; i++)
        messages[i] = i;
}

static void receive_from(weir_channel *c, uint64_t first, uint64_t count)
{
    for (uint64_t i = first; i < first + count; i++) {
        uint64_t got = 0;
        uint32_t len;
        CHECK_OK(weir_receive(c, &got, sizeof got, &len, WEIR_FOREVER));
        CHECK(got == i && len == 8);
    }
}

Test(channel_array, what_fits_is_sent_and_the_rest_is_told)
{
    (void)support_shm_dir();
    number_messages();
    weir_channel *p = open_as("array", WEIR_PRODUCER, 4096), *c = open_as("array", WEIR_CONSUMER, 0);
    uint32_t sent = 0, more = 0;
    CHECK_OK(weir_send_array(p, messages, 8, 10, &sent, WEIR_NOWAIT));
    CHECK(sent == 10);
    CHECK_STATUS(weir_send_array(p, messages + 10, 8, COUNT - 10, &sent, WEIR_NOWAIT), WEIR_FULL);
    CHECK(sent > 200 && sent < 256);
    CHECK_STATUS(weir_send_array(p, messages, 8, 1, &more, WEIR_MILLISECONDS(1)), WEIR_TIMEOUT);
    CHECK(more == 0);
    receive_from(c, 0, 10 + sent);
    CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_EMPTY);
    CHECK_OK(weir_channel_close(p));
    CHECK_OK(weir_channel_close(c));
}

Test(channel_array, a_long_array_waits_for_a_consumer_that_sleeps_and_wakes_it)
{
    (void)support_shm_dir();
    number_messages();
    weir_channel_options sleeps = { .capacity = 4096, .wait = WEIR_WAIT_SLEEP };
    pid_t child = child_fork();
    if (child == 0) {
        weir_channel *c;
        CHECK_OK(weir_channel_open(&c, "array", WEIR_CONSUMER, &sleeps));
        for (int round = 0; round < 20; round++)
            receive_from(c, 0, COUNT);
        CHECK_STATUS(receive_nothing(c, WEIR_FOREVER), WEIR_CLOSED);
        _exit(0);
    }
    weir_channel *p;
    CHECK_OK(weir_channel_open(&p, "array", WEIR_PRODUCER, &sleeps));
    for (int round = 0; round < 20; round++) {
        uint32_t sent = 0;
        CHECK_OK(weir_send_array(p, messages, 8, COUNT, &sent, WEIR_FOREVER));
        CHECK(sent == COUNT);
    }
    CHECK_OK(weir_channel_drain(p, WEIR_FOREVER));
    CHECK_OK(weir_channel_close(p));
    CHECK(support_wait(child) == 0);
}

Test(channel_array, the_end_of_the_consumer_is_told_with_how_many_were_sent)
{
    (void)support_shm_dir();
    weir_channel *p = open_as("array", WEIR_PRODUCER, 4096), *c = open_as("array", WEIR_CONSUMER, 0);
    CHECK_OK(weir_channel_close(c));
    uint32_t sent = 0;
    CHECK_STATUS(weir_send_array(p, messages, 8, COUNT, &sent, WEIR_FOREVER), WEIR_CLOSED);
    CHECK(sent > 200 && sent < 256);
    CHECK_OK(weir_channel_close(p));
}

/* The array's second page may be read only once the handler was there: then the ring holds what lies in the first. */
static struct {
    unsigned char *page;
    weir_channel *consumer;
    int faults, seen;
} half;

static void look_from_within(int number)
{
    unsigned char out[64];
    uint32_t len;
    (void)number;
    half.faults++;
    half.seen += weir_receive(half.consumer, out, sizeof out, &len, WEIR_NOWAIT) != WEIR_EMPTY;
    if (mprotect(half.page, 4096, PROT_READ) != 0)
        _exit(2);
}

Test(channel_array, what_fits_at_once_appears_at_once_though_the_producer_has_to_ask_for_room)
{
    (void)support_shm_dir();
    enum { RECORD = 64, FIRST = 50, BEFORE = 20, ALL = 30 };
    const weir_kind some[] = { WEIR_SPSC, WEIR_MPSC, WEIR_MPSC_ORDERED, WEIR_BROADCAST_GATED };
    unsigned char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), out[RECORD];
    CHECK(pages != MAP_FAILED);
    half.page = pages + 4096;
    CHECK(signal(SIGSEGV, look_from_within) != SIG_ERR);
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) {
        weir_channel *p = open_kind("array", some[i], WEIR_PRODUCER, 4096);
        weir_channel *c = half.consumer = open_kind("array", some[i], WEIR_CONSUMER, 4096);
        uint32_t sent, len;
        for (int n = 0; n < FIRST; n++) { /* room for some more of the lap: what is released beyond that is not known yet */
            CHECK_OK(weir_send(p, pages, RECORD, WEIR_NOWAIT));
            CHECK_OK(weir_receive(c, out, RECORD, &len, WEIR_NOWAIT));
        }
        half.faults = half.seen = 0;
        CHECK(mprotect(half.page, 4096, PROT_NONE) == 0);
        CHECK_OK(weir_send_array(p, half.page - BEFORE * RECORD, RECORD, ALL, &sent, WEIR_NOWAIT));
        CHECK(half.faults == 1 && half.seen == 0 && sent == ALL);
        for (int n = 0; n < ALL; n++)
            CHECK_OK(weir_receive(c, out, RECORD, &len, WEIR_NOWAIT));
        CHECK_OK(weir_channel_close(p));
        CHECK_OK(weir_channel_close(c));
    }
    CHECK(signal(SIGSEGV, SIG_DFL) != SIG_ERR && munmap(pages, 8192) == 0);
}

Test(channel_array, what_no_array_can_be_is_refused)
{
    (void)support_shm_dir();
    weir_channel *p = open_as("array", WEIR_PRODUCER, 4096), *c = open_as("array", WEIR_CONSUMER, 0);
    uint32_t sent = 9;
    CHECK_STATUS(weir_send_array(p, messages, 2033, 1, &sent, WEIR_NOWAIT), WEIR_E_TOO_LARGE);
    CHECK(sent == 0);
    CHECK_STATUS(weir_send_array(c, messages, 8, 1, &sent, WEIR_NOWAIT), WEIR_E_STATE);
    CHECK_OK(weir_send_array(p, messages, 8, 0, &sent, WEIR_NOWAIT));
    pid_t child = child_fork();
    if (child == 0) {
        CHECK_STATUS(weir_send_array(p, messages, 8, 1, &sent, WEIR_NOWAIT), WEIR_E_FORKED);
        _exit(0);
    }
    CHECK(support_wait(child) == 0);
    CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_EMPTY);
    CHECK_OK(weir_channel_close(p));
    CHECK_OK(weir_channel_close(c));
}
