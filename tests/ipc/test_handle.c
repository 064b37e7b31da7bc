/* Where handles lie: clean, apart, kept or given back, and what a fork does to them. */
#include "channel_help.h"

#include <weir/ipc/os.h>

#include <criterion/criterion.h>
#include <errno.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define CHUNK 64
#define HANDLES (3 * CHUNK + 1)

static unsigned char *second(unsigned char *handle) { return handle + WEIR_OS_HANDLE_APART; }

static bool all(const unsigned char *part, unsigned char value)
{
    for (unsigned i = 0; i < WEIR_OS_HANDLE_PART; i++)
        if (part[i] != value)
            return false;
    return true;
}

static void fill(unsigned char *handle, unsigned char value)
{
    memset(handle, value, WEIR_OS_HANDLE_PART);
    memset(second(handle), value, WEIR_OS_HANDLE_PART);
}

static bool is(unsigned char *handle, unsigned char value)
{
    return all(handle, value) && all(second(handle), value);
}

/* Takes so many, each clean and like no other. */
static void take(unsigned char **handles, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        handles[i] = weir_os_handle_alloc();
        CHECK(handles[i] != NULL && is(handles[i], 0));
        fill(handles[i], (unsigned char)(i % 255 + 1));
    }
    for (unsigned i = 0; i < count; i++)
        CHECK(is(handles[i], (unsigned char)(i % 255 + 1)));
}

static bool has_memory(unsigned char *part)
{
    unsigned char there;
    CHECK(mincore(part, WEIR_OS_HANDLE_PART, &there) == 0);
    return (there & 1) != 0;
}

Test(handle, each_is_clean_and_its_own_and_64_take_two_mappings)
{
    unsigned char *handles[HANDLES], *again[HANDLES];
    unsigned before = support_lines("/proc/self/maps");
    errno = 1234;
    take(handles, HANDLES);
    CHECK(errno == 1234);
    CHECK(support_lines("/proc/self/maps") <= before + 2 * 4 + 1); /* one of malloc's */
    for (unsigned i = 0; i < HANDLES; i++)
        weir_os_handle_free(handles[i]);
    CHECK(errno == 1234);
    take(again, HANDLES);
    CHECK(support_lines("/proc/self/maps") <= before + 2 * 4 + 1);
    for (unsigned i = 0; i < HANDLES; i++) {
        bool had = false;
        for (unsigned j = 0; j < HANDLES; j++)
            had = had || again[i] == handles[j];
        CHECK(had);
    }
}

Test(handle, of_the_first_64_the_memory_is_kept_and_of_the_others_it_is_given_back)
{
    unsigned char *handles[HANDLES];
    take(handles, HANDLES);
    for (unsigned i = 0; i < HANDLES; i++)
        weir_os_handle_free(handles[i]);
    for (unsigned i = 0; i < HANDLES; i++)
        CHECK(has_memory(handles[i]) == (i < CHUNK) && has_memory(second(handles[i])) == (i < CHUNK));
    CHECK(weir_os_handle_alloc() == handles[0]); /* which costs no page fault */
}

Test(handle, memory_that_cannot_be_given_back_is_clean_all_the_same)
{
    unsigned char *handles[CHUNK + 1];
    take(handles, CHUNK + 1);
    CHECK(syscall(SYS_mlock, handles[CHUNK], WEIR_OS_HANDLE_PART) == 0); /* AddressSanitizer's mlock does nothing */
    CHECK(syscall(SYS_mlock, second(handles[CHUNK]), WEIR_OS_HANDLE_PART) == 0);
    weir_os_handle_free(handles[CHUNK]);
    CHECK(has_memory(handles[CHUNK]));
    CHECK(weir_os_handle_alloc() == handles[CHUNK] && is(handles[CHUNK], 0));
}

/* ---- fork ---- */

static void check_forked(unsigned char *handle, unsigned char value)
{
    CHECK(all(handle, 0) && all(second(handle), value));
}

/* What was there keeps its second part, what is taken here is another, and a grandchild finds as much of that. */
static void in_a_child(unsigned char **inherited, unsigned count, unsigned depth)
{
    unsigned char *own[CHUNK], *next;
    for (unsigned i = 0; i < count; i++)
        check_forked(inherited[i], (unsigned char)(i % 255 + 1));
    take(own, CHUNK);
    for (unsigned i = 0; i < CHUNK; i++)
        for (unsigned j = 0; j < count; j++)
            CHECK(own[i] != inherited[j]);
    pid_t child = depth > 0 ? fork() : -1;
    if (child == 0) {
        in_a_child(own, CHUNK, depth - 1);
        _exit(0);
    }
    CHECK(depth == 0 || support_wait(child) == 0);
    for (unsigned i = 0; i < CHUNK; i++)
        CHECK(is(own[i], (unsigned char)(i % 255 + 1)));
    weir_os_handle_free(inherited[0]); /* this process's copy, and so it is the next one's here */
    next = weir_os_handle_alloc();
    CHECK(next == inherited[0] && is(next, 0));
}

Test(handle, a_child_finds_first_parts_clear_second_ones_as_they_were_and_takes_its_own)
{
    unsigned char *handles[CHUNK + 9];
    take(handles, CHUNK + 9);
    pid_t child = fork();
    if (child == 0) {
        in_a_child(handles, CHUNK + 9, 2);
        _exit(0);
    }
    CHECK(support_wait(child) == 0);
    for (unsigned i = 0; i < CHUNK + 9; i++)
        CHECK(is(handles[i], (unsigned char)(i % 255 + 1)));
}

/* ---- no memory ---- */

Test(handle, without_memory_there_is_none_and_those_there_are_are_given_out_again)
{
    unsigned char *handles[CHUNK];
    take(handles, CHUNK);
    weir_channel *channel = NULL;
    struct rlimit before, limit;
    CHECK(getrlimit(RLIMIT_AS, &before) == 0);
    limit = (struct rlimit){ .rlim_cur = 4096, .rlim_max = before.rlim_max };
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    errno = 1234;
    void *none = weir_os_handle_alloc();
    weir_status status = weir_channel_open(&channel, "none", WEIR_PRODUCER, NULL);
    CHECK(errno == 1234);
    weir_os_handle_free(handles[5]);
    void *again = weir_os_handle_alloc();
    CHECK(setrlimit(RLIMIT_AS, &before) == 0);
    CHECK(none == NULL && again == handles[5]);
    CHECK_STATUS(status, WEIR_E_NO_MEMORY);
    CHECK(channel == NULL && strstr(weir_error_detail(), "handle") != NULL);
    CHECK(weir_os_handle_alloc() != NULL);
}

/* ---- used behind its end ---- */

Test(handle, to_give_one_back_twice_is_a_fault)
{
    pid_t child = fork();
    if (child == 0) {
        void *handle = weir_os_handle_alloc();
        weir_os_handle_free(handle);
        weir_os_handle_free(handle);
        _exit(0);
    }
    CHECK(support_wait(child) != 0);
}

Test(handle, of_a_channel_that_was_closed_is_a_fault_too)
{
    (void)support_shm_dir();
    pid_t child = fork();
    if (child == 0) {
        weir_channel *channel = open_as("twice", WEIR_PRODUCER, 4096);
        CHECK_OK(weir_channel_close(channel));
        (void)weir_channel_close(channel);
        _exit(0);
    }
    CHECK(support_wait(child) != 0);
}

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>

Test(handle, what_was_given_back_is_poisoned_until_it_is_taken)
{
    unsigned char *handle = weir_os_handle_alloc();
    CHECK(!__asan_address_is_poisoned(handle) && !__asan_address_is_poisoned(second(handle)));
    weir_os_handle_free(handle);
    CHECK(__asan_address_is_poisoned(handle) && __asan_address_is_poisoned(second(handle)));
    CHECK(weir_os_handle_alloc() == handle);
    CHECK(!__asan_address_is_poisoned(handle) && !__asan_address_is_poisoned(second(handle)));
}
#endif
