/* tests/model/model_watch.c - the death watch's handshake with a client that sleeps (ipc/watch.h).
 * edges: WATCH
 *
 * A peer's death is a lock that the kernel drops, before the watch hears of it or behind that; here it is a word that
 * the watch's thread sets, then tells.  Whatever the order, the client's sleep ends and it sees the death: a sleep
 * here has no bound, so that news which is slept over is a failure. */
#include <weir/ipc/os.h>
#include <weir/ipc/watch.h>

#include "explorer.h"
#include "system.h"

enum { MARK_NOT_SLEPT = 2 };

static struct {
    _Alignas(64) weir_atomic_u64 dead; /* as the kernel says it: seen at once by who asks */
    _Alignas(64) weir_atomic_u32 armed;
    _Alignas(64) struct weir_watch_client client;
} rig;

/* Asking the kernel is no load of a word that may be old.  Its own lock is around the question and around the death: to
 * unlock is a release, to lock an acquire.  Without these the count may be looked at behind the question (--imm). */
static bool ask(void)
{
    return weir_fetch_or_rel(&rig.dead, 0) != 0;
}

static void drop_lock(void)
{
    (void)weir_fetch_or_rlx(&rig.dead, 1);
    weir_fence_acq();
}

static void told(void *arg)
{
    (void)arg;
    if (weir_load32_rlx(&rig.armed) != 0) {
        weir_store32_rlx(&rig.armed, 0);
        weir_os_wake(&rig.armed);
    }
}

static void setup(void)
{
    model_zero(&rig, sizeof rig);
    system_begin();
    model_share("dead", &rig.dead, sizeof rig.dead, 0);
    model_share("armed", &rig.armed, sizeof rig.armed, 0);
    model_share("client", &rig.client.news, sizeof rig.client.news, 0);
    rig.client.told = told;
}

static void die(void)
{
    drop_lock();
    weir_watch_tell(&rig.client);
}

/* The news comes first, the lock goes later, and it is told again. */
static void die_behind_the_news(void)
{
    weir_watch_tell(&rig.client);
    die();
}

static void wait_for_it(void)
{
    for (;;) {
        uint64_t seen = weir_watch_seen(&rig.client);
        if (ask())
            return;
        weir_store32_rlx(&rig.armed, 1);
        if (!weir_watch_is_news(&rig.client, seen))
            weir_os_sleep(&rig.armed, 1, 1);
        else
            model_reached(MARK_NOT_SLEPT);
        weir_store32_rlx(&rig.armed, 0);
    }
}

MODEL(death) = { .name = "watch: a death", .setup = setup,
                 .threads = { { .name = "watch", .run = die }, { .name = "client", .run = wait_for_it } },
                 .preemptions = 4, .stale = 3, .must_reach = MARK_SLEPT | MARK_NOT_SLEPT, .random = 20000 };
MODEL(behind) = { .name = "watch: a death behind its news", .setup = setup,
                  .threads = { { .name = "watch", .run = die_behind_the_news },
                               { .name = "client", .run = wait_for_it } },
                  .preemptions = 4, .stale = 3, .must_reach = MARK_SLEPT | MARK_NOT_SLEPT, .random = 20000 };
