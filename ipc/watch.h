/* ipc/watch.h - private: news that somebody who had a section open has closed it, or was killed.
 *
 * A killed process closes all that it had open, what only a mapping still held included, and the kernel tells of that
 * at once: so deaths need not be polled for.  One watch serves the whole process, whatever it has open: a thread that
 * sleeps until a watched section is closed by somebody.  It does not know who that was, nor whether it was a death: a
 * client is told to look (weir_participant_look).  The locks that a look asks about may go a moment behind the news,
 * so it is told at once, and again 1, 5 and 20 ms behind the last close; while closes go on, at most once in a
 * millisecond.
 *
 * No news is lost: a client that sleeps does
 *
 *     seen = weir_watch_seen(c);  looks at all that it waits for;  arms the word that it sleeps on;
 *     if (!weir_watch_is_news(c, seen)) sleeps while the word is what it has armed it with;
 *
 * and its told() does what every waker of that sleep does: looks whether the word is armed, changes it, and wakes.  The
 * watch counts, fences, and calls told(); the client arms, fences, and looks at the count (edge WATCH).  So either
 * told() sees the word armed, and the sleep ends or never begins, or the client sees the count, and looks again.
 *
 * The thread is made with the first client and ends a second behind the last: ending with the last would cost a program
 * that opens and closes channels in turn a thread, and 14 ms in which the kernel takes an inotify instance apart, each
 * time; and one that stayed for ever would be in the way of who wants to be single-threaded (unshare(2), setns(2))
 * when all channels are closed.  All signals are blocked in it.  Asleep it takes nothing.  exec ends it; a forked
 * child has none, and none of the clients: what the child registers makes one anew.  A library whose code is unloaded
 * (dlclose) within that second is not supported.
 *
 * Where there is no thread (weir_watch_allow, or the system gives none), who sleeps can be it: a client by
 * weir_watch_listen does a round before each sleep, and sleeps in poll on the watch's descriptor besides. */
#ifndef WEIR_IPC_WATCH_H
#define WEIR_IPC_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/base/atomic.h>
#include <weir/naming/section.h>

struct weir_watch_place;

/* A client, in its owner's memory from add to remove; told and arg are the owner's, set before add, the rest is 0. */
struct weir_watch_client {
    void (*told)(void *arg); /* in the watch's thread, with its lock held: it must not block, nor call add or remove */
    void *arg;
    weir_atomic_u64 news; /* how often it was told; written by the watch alone */
    /* the watch's */
    struct weir_watch_place *place;
    struct weir_watch_client *next, *previous;
    uint64_t epoch;
};

/* weir_watch_add begins to tell c of closes of the section, which stays open until weir_watch_remove(c).  Several
 * clients may watch one section, through one handle or several.
 *
 * Callers:  any thread, not from told() nor a signal handler.
 * Progress: blocking, for as long as one round of telling takes.
 * Returns:  WEIR_OK; WEIR_E_FORKED; WEIR_E_UNSUPPORTED (no inotify, or no /proc; or weir_watch_allow); WEIR_E_NO_MEMORY (memory; no thread;
 *           the process's descriptors, or the user's inotify instances: fs.inotify.max_user_instances);
 *           WEIR_E_NO_SPACE (fs.inotify.max_user_watches); WEIR_E_PERMISSION; WEIR_E_OS.  Then c is as it was, and its
 *           owner polls. */
weir_status weir_watch_add(struct weir_watch_client *c, const weir_section *section);

/* weir_watch_listen is weir_watch_add without a thread: whoever calls weir_watch_round tells the clients.
 *
 * Callers and Returns: as weir_watch_add, but that weir_watch_allow does not matter and no thread is started. */
weir_status weir_watch_listen(struct weir_watch_client *c, const weir_section *section);

/* weir_watch_round tells whom it is time to tell, where no thread does; told() is called in it.  How long it is until the
 * next time, in ns, 1 ms at least; negative: until *watch is readable (-1: the thread sees to it, or another round does).
 *
 * Callers:  a client's owner, not from told().  Progress: wait-free but for told(). */
int64_t weir_watch_round(int *watch);

/* weir_watch_remove ends that.  When it returns, told() is not running and will not be called.  Of a client that is not
 * added, or was added before a fork, in the child: nothing.
 *
 * Callers:  as weir_watch_add.  To be called before the section is closed. */
void weir_watch_remove(struct weir_watch_client *c);

/* weir_watch_seen and weir_watch_is_news: see above. */
static inline uint64_t weir_watch_seen(const struct weir_watch_client *c)
{
    return weir_load_rlx(&c->news); /* relaxed: what the news is about is asked of the kernel */
}

static inline bool weir_watch_is_news(const struct weir_watch_client *c, uint64_t seen)
{
    /* order WATCH sc: the word is armed before the count is looked at.  Without it both sides look too early: told()
     * finds nobody armed, the client no news, and it sleeps over a death. */
    weir_fence_sc();
    return weir_load_rlx(&c->news) != seen;
}

/* weir_watch_tell is the watch's own. */
static inline void weir_watch_tell(struct weir_watch_client *c)
{
    (void)weir_fetch_add_rlx(&c->news, 1);
    /* order WATCH sc: the count before told() looks whether the client is armed. */
    weir_fence_sc();
    c->told(c->arg);
}

#endif
