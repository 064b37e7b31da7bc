/* A message costs no system call while nobody sleeps: shown under strict seccomp, where the kernel kills whoever
 * makes any but read, write and exit. */
#include "support.h"

#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MESSAGES 1000000u

static void exchange(weir_channel *p, weir_channel *c)
{
    uint64_t got = 0;
    uint32_t len = 0;
    for (uint64_t i = 0; i < MESSAGES; i++) {
        const void *msg;
        void *slot;
        weir_status status;
        if (i % 2 == 0) {
            status = weir_send(p, &i, sizeof i, WEIR_FOREVER);
            if (status == WEIR_OK)
                status = weir_receive(c, &got, sizeof got, &len, WEIR_FOREVER);
        } else {
            status = weir_reserve(p, sizeof i, &slot, WEIR_FOREVER);
            if (status == WEIR_OK) {
                *(uint64_t *)slot = i;
                status = weir_commit(p, sizeof i);
            }
            if (status == WEIR_OK)
                status = weir_peek(c, &msg, &len, WEIR_FOREVER);
            if (status == WEIR_OK) {
                got = *(const uint64_t *)msg;
                status = weir_release(c);
            }
        }
        if (status != WEIR_OK || got != i || len != sizeof i)
            (void)syscall(SYS_exit, 2);
    }
}

static int child(bool then_ask_for_the_time)
{
    weir_channel *p, *c;
    CHECK_OK(weir_channel_open(&p, "quiet", WEIR_PRODUCER, NULL));
    CHECK_OK(weir_channel_open(&c, "quiet", WEIR_CONSUMER, NULL));
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0)
        _exit(SUPPORT_SKIP);
    exchange(p, c);
    if (then_ask_for_the_time)
        (void)syscall(SYS_getpid);
    (void)syscall(SYS_exit, 0); /* exit_group is not allowed either */
    return 0;
}

int main(void)
{
    (void)support_shm_dir();
    pid_t pid = fork();
    if (pid == 0)
        return child(false);
    int status = support_wait(pid);
    if (status == SUPPORT_SKIP)
        support_skip("no seccomp here");
    CHECK(status == 0);
    /* And the judge is awake: one call more is the end. */
    pid = fork();
    if (pid == 0)
        return child(true);
    CHECK(support_wait(pid) == -9);
    (void)printf("%u messages without a system call\n", MESSAGES);
    return 0;
}
