/* naming/registry_urcu.c - grace periods by liburcu, flavour bp ("bulletproof").
 *
 * Of its flavours the one where a thread registers itself at its first read section and leaves when it ends; memb and mb
 * want each thread to say so, and abort where an application that uses them too says it twice.  That costs 2 ns. */
#include <weir/naming/grace.h>

/* Its read_lock, read_unlock and read_ongoing inline, for a third of the time.  They are under ten lines each, which its
 * licence, the LGPL, lets anybody compile in, and its header says that this is meant; nothing else of it is. */
#define _LGPL_SOURCE
#include <urcu/urcu-bp.h>

const char weir_grace_name[] = "urcu";

/* ThreadSanitizer sees nothing of what liburcu's own code orders, since it is not built with it.  So it is told what a
 * grace period means, and no more: each section that was left comes before the end of a wait that begins later.  Without
 * a wait, or with one that does not come behind the section's end, nothing is said, and it reports the race. */
#if defined(__SANITIZE_THREAD__)
void __tsan_acquire(void *address);
void __tsan_release(void *address);
static char left;
#define SAY_LEFT() __tsan_release(&left)
#define SAY_ALL_LEFT() __tsan_acquire(&left)
#else
#define SAY_LEFT() ((void)0)
#define SAY_ALL_LEFT() ((void)0)
#endif

weir_status weir_grace_enter(void)
{
    urcu_bp_read_lock();
    return WEIR_OK;
}

void weir_grace_leave(void)
{
    SAY_LEFT();
    urcu_bp_read_unlock();
}

bool weir_grace_ongoing(void)
{
    return urcu_bp_read_ongoing() != 0; /* the application's own too */
}

void weir_grace_wait(void)
{
    urcu_bp_synchronize_rcu();
    SAY_ALL_LEFT();
}

void weir_grace_before_fork(void) { urcu_bp_before_fork(); }
void weir_grace_after_fork_parent(void) { urcu_bp_after_fork_parent(); }
void weir_grace_after_fork_child(void) { urcu_bp_after_fork_child(); }
