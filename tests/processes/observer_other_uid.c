/* An observer of another user: mode bits that let a Global section be read are enough, and nothing less is. */
#include "../ipc/channel_help.h"

#include <grp.h>
#include <sys/stat.h>
#include <weir/ipc/observer.h>

#define NAME "Global/shown"
#define STRANGER 12345u

static void as_stranger(weir_status expected)
{
    pid_t child = child_fork();
    if (child == 0) {
        weir_observer *o = NULL;
        weir_channel *c = NULL;
        weir_channel_facts facts;
        weir_member member[4];
        uint32_t count = 0;
        CHECK(setgroups(0, NULL) == 0 && setgid(STRANGER) == 0 && setuid(STRANGER) == 0);
        CHECK_STATUS(weir_observer_open(&o, NAME, NULL), expected);
        CHECK_STATUS(weir_channel_open(&c, NAME, WEIR_CONSUMER, &(weir_channel_options){ .mode = 0644 }),
                     WEIR_E_PERMISSION); /* to take part it must be written */
        if (expected == WEIR_OK) {
            CHECK_OK(weir_observer_members(o, member, 4, &count));
            CHECK(count == 1 && member[0].known && member[0].presence == WEIR_ALIVE && member[0].held.messages == 1);
            CHECK(member[0].process == (uint64_t)getppid());
            CHECK_OK(weir_observer_channel(o, &facts));
            CHECK(facts.producers_alive == 1);
            CHECK_OK(weir_observer_close(o));
        }
        _exit(0);
    }
    CHECK(support_wait(child) == 0);
}

int main(void)
{
    if (geteuid() != 0)
        support_skip("only root can become another user");
    const char *dir = support_shm_dir();
    CHECK(chmod(dir, 01777) == 0);
    static const uint32_t modes[] = { 0644, 0600, 0640 };
    for (int i = 0; i < 3; i++) {
        weir_channel *p;
        CHECK_OK(weir_channel_open(&p, NAME, WEIR_PRODUCER, &(weir_channel_options){ .mode = modes[i] }));
        CHECK_OK(send_id(p, 1, WEIR_NOWAIT));
        as_stranger(modes[i] == 0644 ? WEIR_OK : WEIR_E_PERMISSION);
        CHECK_OK(weir_channel_close(p));
    }
    CHECK(support_entries(dir, true) == 0);
    return 0;
}
