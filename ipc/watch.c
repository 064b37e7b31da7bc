#include <weir/base/fail.h>
#include <weir/ipc/channel.h>
#include <weir/ipc/os.h>
#include <weir/ipc/watch.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define MS INT64_C(1000000)
#define PACE_NS (1 * MS)      /* between two rounds of telling */
#define LINGER_NS (1000 * MS) /* that the thread outlives its last client */
#define BUCKETS 256
#define KEYS 512              /* news taken at once: what is left comes with the next round */

/* When a client is told, behind the last close: the locks of the closed file go behind the news of it, by as long as
 * its process is kept from running just there. */
static const int64_t told_ns[] = { 0, 1 * MS, 5 * MS, 20 * MS };
#define TIMES (sizeof told_ns / sizeof told_ns[0])

/* What is watched: one file, for however many clients. */
struct weir_watch_place {
    struct weir_watch_place *next; /* of its bucket */
    struct weir_watch_client *clients;
    int64_t closed_ns; /* when it was last closed by somebody */
    unsigned times;    /* that its clients were told since; TIMES: it is quiet */
    int key;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static weir_status fork_status;

/* All under the lock. */
static struct {
    uint64_t epoch; /* of how many forks this process is the child */
    int watch;
    bool running; /* the thread; without it, clients do its rounds */
    unsigned clients;
    int64_t left_ns; /* when the last of them went */
    int64_t news_ns; /* when a client last took news */
    struct weir_watch_place *places[BUCKETS];
} state = { .epoch = 1, .watch = -1 };

static weir_atomic_u32 refused; /* relaxed: nothing else depends on it */

/* A thread that is cancelled inside would leave the lock held for ever: close(2) can be cancelled. */
static _Thread_local int cancel_before;

static void enter(void)
{
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_before);
    (void)pthread_mutex_lock(&lock);
}

static void leave(void)
{
    (void)pthread_mutex_unlock(&lock);
    (void)pthread_setcancelstate(cancel_before, NULL);
}

/* ---- fork ---- */

static void before_fork(void)
{
    (void)pthread_mutex_lock(&lock);
}

static void after_fork_parent(void)
{
    (void)pthread_mutex_unlock(&lock);
}

/* The clients are the parent's, and may lie in memory that the fork has cleared: they are not touched. */
static void after_fork_child(void)
{
    if (state.watch >= 0)
        weir_os_watch_close(state.watch);
    for (unsigned i = 0; i < BUCKETS; i++)
        while (state.places[i] != NULL) {
            struct weir_watch_place *next = state.places[i]->next;
            free(state.places[i]);
            state.places[i] = next;
        }
    state.watch = -1;
    state.running = false;
    state.clients = 0;
    state.epoch++;
    (void)pthread_mutex_unlock(&lock);
}

static void see_to_forks(void)
{
    fork_status = weir_os_watch_at_fork(before_fork, after_fork_parent, after_fork_child);
}

/* ---- telling ---- */

static struct weir_watch_place **bucket_of(int key)
{
    return &state.places[(unsigned)key % BUCKETS];
}

static struct weir_watch_place *find(int key)
{
    struct weir_watch_place *place = *bucket_of(key);
    while (place != NULL && place->key != key)
        place = place->next;
    return place;
}

static void note(struct weir_watch_place *place, int64_t now)
{
    place->closed_ns = now;
    place->times = 0;
}

/* Was there any? */
static bool take_news(int64_t now)
{
    int keys[KEYS];
    bool lost = false;
    unsigned count = weir_os_watch_read(state.watch, keys, KEYS, &lost);
    for (unsigned i = 0; i < count; i++) {
        struct weir_watch_place *place = find(keys[i]);
        if (place != NULL) /* else its last client has left */
            note(place, now);
    }
    for (unsigned i = 0; lost && i < BUCKETS; i++)
        for (struct weir_watch_place *place = state.places[i]; place != NULL; place = place->next)
            note(place, now);
    return count != 0 || lost;
}

/* Tells whom it is time to tell; *next becomes how long it is until the next time, or stays. */
static void tell_all(int64_t now, int64_t *next)
{
    for (unsigned i = 0; i < BUCKETS; i++)
        for (struct weir_watch_place *place = state.places[i]; place != NULL; place = place->next) {
            if (place->times < TIMES && now - place->closed_ns >= told_ns[place->times]) {
                for (struct weir_watch_client *c = place->clients; c != NULL; c = c->next)
                    weir_watch_tell(c);
                place->times++; /* a time that was missed by then comes with the next round */
            }
            if (place->times == TIMES)
                continue;
            int64_t wait = told_ns[place->times] - (now - place->closed_ns);
            if (*next < 0 || wait < *next)
                *next = wait > 0 ? wait : 0; /* less than none would be for ever */
        }
}

static void watch_thread(void)
{
    (void)pthread_mutex_lock(&lock);
    for (;;) {
        int64_t now = weir_os_now_ns(), next = -1;
        (void)take_news(now);
        tell_all(now, &next);
        if (state.clients == 0) {
            next = state.left_ns + LINGER_NS - now;
            if (next <= 0)
                break;
        }
        int watch = state.watch; /* nobody else closes it while this thread is there */
        (void)pthread_mutex_unlock(&lock);
        weir_os_nap(PACE_NS); /* whatever happens, and whatever fails, one round in that time */
        weir_os_watch_wait(watch, next < PACE_NS && next >= 0 ? 0 : next < 0 ? -1 : next - PACE_NS);
        (void)pthread_mutex_lock(&lock);
    }
    weir_os_watch_close(state.watch); /* under the lock: a child that was forked just now would keep it */
    state.watch = -1;
    state.running = false;
    (void)pthread_mutex_unlock(&lock);
}

int64_t weir_watch_round(int *watch)
{
    int64_t next = -1;
    int before; /* not enter's: this may be a handler inside it */
    *watch = -1;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    if (pthread_mutex_trylock(&lock) == 0) { /* who has it tells, or adds or removes: a handler must not wait for that */
        if (!state.running && state.watch >= 0) {
            int64_t now = weir_os_now_ns();
            *watch = state.watch; /* as long as its caller is a client */
            if (now - state.news_ns < PACE_NS) { /* or who closes and closes would keep all listeners running */
                next = PACE_NS;
            } else {
                state.news_ns = take_news(now) ? now : state.news_ns;
                tell_all(now, &next);
            }
        }
        (void)pthread_mutex_unlock(&lock);
    } else {
        next = PACE_NS;
    }
    (void)pthread_setcancelstate(before, NULL);
    return next < 0 || next > PACE_NS ? next : PACE_NS;
}

/* ---- clients ---- */

/* The place of a section's file, which has one client more now. */
static weir_status take_place(const weir_section *section, struct weir_watch_place **out)
{
    int key = -1, saved = errno;
    weir_status status = weir_os_watch_add(state.watch, section, &key);
    if (status != WEIR_OK)
        return status;
    struct weir_watch_place *place = find(key);
    if (place == NULL) {
        place = calloc(1, sizeof *place);
        errno = saved;
        if (place == NULL) {
            weir_os_watch_remove(state.watch, key);
            return weir_fail(WEIR_E_NO_MEMORY, "no memory to watch %s", weir_section_name(section));
        }
        place->key = key;
        place->times = TIMES;
        place->next = *bucket_of(key);
        *bucket_of(key) = place;
    }
    *out = place;
    return WEIR_OK;
}

/* Without clients there is no instance either, but the thread's, which ends a second later. */
static void close_unused(void)
{
    if (state.running || state.clients != 0 || state.watch < 0)
        return;
    weir_os_watch_close(state.watch);
    state.watch = -1;
}

/* Gives a place without clients up. */
static void give_up(struct weir_watch_place *place)
{
    struct weir_watch_place **at = bucket_of(place->key);
    while (*at != place)
        at = &(*at)->next;
    *at = place->next;
    weir_os_watch_remove(state.watch, place->key);
    free(place);
}

static weir_status add(struct weir_watch_client *c, const weir_section *section, bool thread)
{
    struct weir_watch_place *place = NULL;
    weir_status status = state.watch >= 0 ? WEIR_OK : weir_os_watch_open(&state.watch);
    if (status == WEIR_OK)
        status = take_place(section, &place);
    if (status == WEIR_OK && thread && !state.running) {
        status = weir_os_thread_start(watch_thread);
        state.running = status == WEIR_OK;
        if (!state.running && place->clients == NULL)
            give_up(place);
    }
    if (status != WEIR_OK) {
        close_unused();
        return status;
    }
    c->place = place;
    c->epoch = state.epoch;
    c->previous = NULL;
    c->next = place->clients;
    if (c->next != NULL)
        c->next->previous = c;
    place->clients = c;
    state.clients++;
    return WEIR_OK;
}

void weir_watch_allow(bool allowed)
{
    weir_store32_rlx(&refused, !allowed);
}

static weir_status become_client(struct weir_watch_client *c, const weir_section *section, bool thread)
{
    if (weir_section_forked(section))
        return weir_fail(WEIR_E_FORKED, "the handle of %s was opened before the fork: open it again in the child",
                         weir_section_name(section));
    (void)pthread_once(&fork_once, see_to_forks);
    if (fork_status != WEIR_OK)
        return weir_fail(fork_status, "no memory for a fork handler"); /* the text was another thread's, perhaps */
    enter();
    weir_status status = add(c, section, thread);
    leave();
    return status;
}

weir_status weir_watch_add(struct weir_watch_client *c, const weir_section *section)
{
    if (weir_load32_rlx(&refused) != 0 && !weir_section_forked(section))
        return weir_fail(WEIR_E_UNSUPPORTED, "weir_watch_allow(false): this process has no thread that is told of deaths");
    return become_client(c, section, true);
}

weir_status weir_watch_listen(struct weir_watch_client *c, const weir_section *section)
{
    return become_client(c, section, false);
}

void weir_watch_remove(struct weir_watch_client *c)
{
    enter();
    struct weir_watch_place *place = c->epoch == state.epoch ? c->place : NULL;
    if (place != NULL) {
        if (c->next != NULL)
            c->next->previous = c->previous;
        if (c->previous != NULL)
            c->previous->next = c->next;
        else
            place->clients = c->next;
        state.clients--;
        state.left_ns = weir_os_now_ns();
        if (place->clients == NULL)
            give_up(place);
        close_unused();
    }
    c->place = NULL;
    leave();
}
