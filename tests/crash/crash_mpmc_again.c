/* hooks */
/* The work queue's claims when others are always quicker: behind each access of a consumer's call another claims one
 * record and the producer pushes one.  The call ends all the same, says AGAIN, has taken nothing, and gets what is
 * there when it is let. */
#include "support.h"

#include "hooks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 8u

static struct {
    unsigned char *mem;
    uint64_t bytes, pushed, came, hooks;
    weir_mpmc_producer p;
    weir_mpmc_consumer slow, quick;
    weir_mpmc_lane handles[2];
} race;

static void push(void)
{
    CHECK_OK(weir_mpmc_push(&race.p, &race.pushed, sizeof race.pushed));
    race.pushed++;
}

static weir_status take(weir_mpmc_consumer *c)
{
    uint64_t n = 0;
    uint32_t len = 0, lane = 0;
    bool again = true;
    weir_status status = weir_mpmc_pop(c, &n, sizeof n, &len, &lane, &again);
    if (status == WEIR_OK)
        CHECK(len == sizeof n && n == race.came++ && !again);
    return status;
}

static void at_hook(bool store)
{
    (void)store;
    race.hooks++;
    CHECK_OK(take(&race.quick));
    push();
}

int main(void)
{
    weir_mpmc_shape shape = { .lanes = 1, .consumers = 2, .slots = SLOTS, .record_max = 8 };
    race.bytes = weir_mpmc_footprint(&shape);
    race.mem = aligned_alloc(128, (race.bytes + 127) / 128 * 128);
    CHECK(race.mem != NULL);
    CHECK_OK(weir_mpmc_init(race.mem, race.bytes, &shape, 0));
    CHECK_OK(weir_mpmc_producer_attach(&race.p, race.mem, race.bytes, 0));
    CHECK_OK(weir_mpmc_consumer_attach(&race.slow, race.mem, race.bytes, 0, 1, 4, &race.handles[0], 1));
    CHECK_OK(weir_mpmc_consumer_attach(&race.quick, race.mem, race.bytes, 1, 1, 1, &race.handles[1], 1));
    for (unsigned round = 0; round < 1000; round++) {
        while (race.pushed - race.came < 1 + round % (SLOTS - 1))
            push();
        race.hooks = 0;
        crash_hook = at_hook;
        weir_status status = take(&race.slow);
        crash_hook = NULL;
        CHECK_STATUS(status, WEIR_AGAIN);
        /* Each try reads the claim word, a header or more, stores an intent and may confirm the other's claim. */
        CHECK(race.hooks >= 2 * WEIR_MPMC_TRIES && race.hooks <= (2 * 4 + 5) * WEIR_MPMC_TRIES);
        CHECK_OK(take(&race.slow));
        while (take(&race.slow) == WEIR_OK)
            continue;
        CHECK(race.came == race.pushed);
    }
    CHECK_OK(weir_mpmc_drained(&race.p));
    free(race.mem);
    (void)printf("mpmc: every try of 1000 calls was lost to another, and each said so\n");
    return 0;
}
