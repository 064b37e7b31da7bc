/* tests/model/system.c - what stands instead of the system below channels: futex, membarrier, the clock, the locks of
 * participants' slots. */
#include <weir/ipc/channel_wait.h>
#include <weir/naming/companion.h>
#include <weir/naming/section_private.h>

#include "explorer.h"
#include "system.h"

static int64_t clock_ns;
static unsigned next_holder[MODEL_THREADS]; /* of each slot; 0: none */

void system_begin(void)
{
    clock_ns = 0;
    model_zero(next_holder, sizeof next_holder);
}

void system_succeeds(unsigned slot, unsigned thread) { next_holder[slot] = thread; }

bool weir_os_sleep(weir_atomic_u32 *word, uint32_t value, int64_t ns)
{
    MODEL_ASSERT(ns > 0);
    model_reached(MARK_SLEPT);
    bool woken = model_sleep(word, value);
    if (!woken) {
        model_reached(MARK_TIMEOUT);
        clock_ns += ns;
    }
    return woken;
}

void weir_os_wake(weir_atomic_u32 *word) { model_wake(word); }
void weir_os_fence_others(void) { model_fence_others(); }
int64_t weir_os_now_ns(void) { return clock_ns; }
int64_t weir_os_lately_ns(void) { return clock_ns; }
void weir_os_yield(void) { MODEL_ASSERT(!"nobody spins here"); }

/* The kernel gives a dead process's locks up; who asks then sees all that it did. */
weir_status weir_os_slot_held(weir_os_section *os, uint32_t slot, bool *held)
{
    (void)os;
    *held = !model_ended(slot + 1) || (next_holder[slot] != 0 && !model_ended(next_holder[slot]));
    return WEIR_OK;
}

weir_status weir_os_slot_lock(weir_os_section *os, uint32_t slot) { return (void)os, (void)slot, WEIR_OK; }
void weir_os_slot_unlock(weir_os_section *os, uint32_t slot) { (void)os, (void)slot; }
weir_status weir_section_check(const weir_section *section) { return (void)section, WEIR_OK; }
weir_status weir_section_check_writer(const weir_section *section) { return (void)section, WEIR_OK; }
weir_status weir_companion_remove(weir_section *section, uint32_t slot) { return (void)section, (void)slot, WEIR_OK; }
const char *weir_section_name(const weir_section *section) { return (void)section, "Local/model"; }

/* Nobody is told of deaths, and nobody waits in poll. */
void weir_channel_watch_deaths(weir_channel *channel) { (void)channel; }
bool weir_channel_begin_to_listen(weir_channel *channel) { return (void)channel, false; }
bool weir_channel_listen(weir_channel *channel, uint32_t armed, int64_t ns)
{
    (void)channel, (void)armed, (void)ns;
    MODEL_ASSERT(!"nobody listens");
    return false;
}
void weir_channel_signal(struct channel_cold *cold, uint32_t slot, bool keeps) { (void)cold, (void)slot, (void)keeps; }
void weir_os_signal(int fd) { (void)fd; }
void weir_os_hush(int fd) { (void)fd; }

weir_status weir_channel_attach_ring(weir_channel *channel)
{
    (void)channel;
    MODEL_ASSERT(!"the lane is there from the start");
    return WEIR_E_STATE;
}
