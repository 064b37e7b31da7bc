/* One named participant's end: it left, it was killed, another has its place; of either role. */
#include "ipc/kinds_help.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <weir/ipc/observer.h>

#define NAME "gone"

static weir_channel_options options = { .kind = WEIR_MPMC, .capacity = 4096, .wait = WEIR_WAIT_SLEEP };

static weir_channel *open_here(weir_role role)
{
    weir_channel *channel;
    CHECK_OK(weir_channel_open(&channel, NAME, role, &options));
    return channel;
}

/* The place and generation of the one who stated that number. */
static weir_member find(weir_channel *channel, uint64_t identity)
{
    weir_member members[WEIR_CHANNEL_PLACES_MAX];
    uint32_t count;
    CHECK_OK(weir_channel_members(channel, members, WEIR_CHANNEL_PLACES_MAX, &count));
    for (uint32_t i = 0; i < count; i++)
        if (members[i].identity == identity)
            return members[i];
    support_fail(__FILE__, __LINE__, "it is there");
}

static void stand_still(weir_channel *channel) { (void)channel; }

static weir_status wait_for_end(weir_channel *channel, const weir_member *who, weir_timeout timeout)
{
    return weir_channel_wait_gone(channel, who->role, who->place, who->generation, timeout);
}

struct killer {
    pid_t child;
    int64_t killed_ns;
};

static void *kill_later(void *arg)
{
    struct killer *killer = arg;
    (void)usleep(20000);
    killer->killed_ns = help_now_ns();
    child_kill(killer->child);
    return NULL;
}

Test(wait_gone, a_sleeper_hears_of_one_participants_death_while_others_of_its_role_live)
{
    support_shm_dir();
    weir_channel *c = open_here(WEIR_CONSUMER), *p = open_here(WEIR_PRODUCER);
    for (int role = WEIR_PRODUCER; role <= WEIR_CONSUMER; role++) {
        weir_channel_options named = options;
        named.identity = 77;
        struct killer killer = { child_stands(NAME, (weir_role)role, named, stand_still), 0 };
        weir_member who = find(c, 77);
        CHECK((int)who.role == role && who.place == 1);
        CHECK_STATUS(wait_for_end(c, &who, WEIR_NOWAIT), WEIR_EMPTY);
        CHECK_STATUS(wait_for_end(c, &who, WEIR_MILLISECONDS(5)), WEIR_TIMEOUT);
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, kill_later, &killer) == 0);
        CHECK_STATUS(wait_for_end(c, &who, HELP_DEADLINE), WEIR_DIED);
        int64_t heard_ns = help_now_ns();
        CHECK(pthread_join(thread, NULL) == 0);
        (void)printf("heard of after %lld us\n", (long long)(heard_ns - killer.killed_ns) / 1000);
        CHECK_STATUS(wait_for_end(c, &who, WEIR_NOWAIT), WEIR_DIED);
        CHECK_STATUS(wait_for_end(p, &who, HELP_DEADLINE), WEIR_DIED);
        weir_channel *next = open_here((weir_role)role); /* in its place, where it writes the death down */
        CHECK_STATUS(wait_for_end(p, &who, WEIR_NOWAIT), WEIR_CLOSED);
        CHECK_OK(weir_channel_close(next));
    }
    CHECK_OK(weir_channel_close(c));
    CHECK_OK(weir_channel_close(p));
    CHECK(support_entries(getenv("WEIR_SHM_DIR"), true) == 0);
}

static void *close_later(void *arg)
{
    (void)usleep(20000);
    CHECK_OK(weir_channel_close(arg));
    return NULL;
}

Test(wait_gone, one_that_leaves_is_CLOSED_and_what_is_wrong_is_said)
{
    support_shm_dir();
    weir_channel *c = open_here(WEIR_CONSUMER);
    for (int role = WEIR_PRODUCER; role <= WEIR_CONSUMER; role++) {
        weir_channel *other = open_here((weir_role)role);
        pthread_t thread;
        uint32_t place = facts_of(other).slot;
        CHECK(pthread_create(&thread, NULL, close_later, other) == 0);
        CHECK_STATUS(weir_channel_wait_gone(c, (weir_role)role, place, 1, HELP_DEADLINE), WEIR_CLOSED);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    CHECK_STATUS(weir_channel_wait_gone(c, (weir_role)3, 0, 1, WEIR_NOWAIT), WEIR_E_INVALID);
    CHECK_STATUS(weir_channel_wait_gone(c, WEIR_CONSUMER, 64, 1, WEIR_NOWAIT), WEIR_E_INVALID);
    CHECK_STATUS(weir_channel_wait_gone(c, WEIR_CONSUMER, 0, 1, WEIR_NOWAIT), WEIR_EMPTY); /* itself */
    CHECK_OK(weir_channel_cancel(c));
    CHECK_STATUS(weir_channel_wait_gone(c, WEIR_CONSUMER, 0, 1, HELP_DEADLINE), WEIR_CANCELLED);
    CHECK_OK(weir_channel_close(c));
    CHECK(support_entries(getenv("WEIR_SHM_DIR"), true) == 0);
}
