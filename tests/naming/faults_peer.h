/* tests/naming/faults_peer.h - another process that does something between any two calls of an operation. */
#ifndef WEIR_TESTS_NAMING_FAULTS_PEER_H
#define WEIR_TESTS_NAMING_FAULTS_PEER_H

#include "faults_walk.h"

/* What the peer does when it is told to; *mine is the section that it has open, or NULL. */
typedef void (*deed)(weir_section **mine);

static struct {
    pid_t pid;
    int to, from;
    deed deed;
    bool waiting; /* for its answer */
    const char *name;
    const weir_section_options *options; /* with which it makes one */
    uid_t uid;
} peer;

/* The name means the section of that handle. */
static inline void check_named(weir_section *section, const char *name, uint64_t value)
{
    weir_section *again;
    stamp(section, value);
    CHECK_OK(weir_section_open(&again, name, &(weir_section_options){ .mode = 0777 }));
    CHECK(stamp_of(again) == value);
    CHECK_OK(weir_section_close(again));
}

static inline void peer_dies(weir_section **mine)
{
    (void)mine;
    (void)kill(getpid(), SIGKILL);
}
static inline void peer_closes(weir_section **mine)
{
    CHECK_OK(weir_section_close(*mine));
    *mine = NULL;
}
static inline void peer_has(weir_section **mine)
{
    if (*mine == NULL)
        CHECK_OK(weir_section_open_or_create(mine, peer.name, SIZE, peer.options, NULL));
}
static inline void peer_replaces(weir_section **mine)
{
    peer_closes(mine);
    peer_has(mine);
}
static inline void peer_uses(weir_section **mine)
{
    weir_section *used;
    (void)mine;
    weir_status status = weir_section_open(&used, peer.name, &(weir_section_options){ .mode = peer.options->mode });
    CHECK(status == WEIR_OK || status == WEIR_E_NOT_FOUND);
    if (status == WEIR_OK)
        CHECK_OK(weir_section_close(used));
}
static inline void peer_removes(weir_section **mine)
{
    (void)mine;
    weir_status status = weir_section_remove(peer.name);
    CHECK(status == WEIR_OK || status == WEIR_E_NOT_FOUND || status == WEIR_E_IN_USE);
}
static inline void peer_makes_anew(weir_section **mine)
{
    peer_removes(mine);
    peer_has(mine);
}
static inline void peer_cleans(weir_section **mine)
{
    (void)mine;
    CHECK_OK(weir_section_clean(NULL, NULL));
}
static inline void peer_verifies(weir_section **mine)
{
    if (*mine != NULL)
        check_named(*mine, peer.name, 777);
}

#define KEPT_OUT 2 /* an answer: of who has met others' locks so often that he must be waiting */
#define KEPT_OUT_TIMES 8

static int peer_out; /* the peer's own */
static unsigned peer_met;

static inline void peer_kept_out(void)
{
    char answer = KEPT_OUT;
    if (++peer_met == KEPT_OUT_TIMES)
        CHECK(write(peer_out, &answer, 1) == 1);
}

static inline void peer_obeys(int in)
{
    weir_section *mine = NULL;
    deed told;
    kept_out = peer_kept_out;
    while (read(in, &told, sizeof told) == sizeof told) { /* the same program: the same functions */
        peer_met = 0;
        told(&mine);
        char has = mine != NULL;
        CHECK(write(peer_out, &has, 1) == 1);
    }
    _exit(0);
}

/* 1: it has a section open then, 0: none, -1: it has died. */
static inline int peer_answer(void)
{
    char answer;
    while (read(peer.from, &answer, 1) == 1)
        if (answer != KEPT_OUT)
            return answer;
    return -1;
}

static inline int peer_does(deed told)
{
    CHECK(write(peer.to, &told, sizeof told) == sizeof told);
    return peer_answer();
}

static inline void peer_start(const char *name, const weir_section_options *options, deed first)
{
    int to[2], from[2];
    CHECK(pipe2(to, O_CLOEXEC) == 0 && pipe2(from, O_CLOEXEC) == 0);
    peer.name = name;
    peer.options = options;
    peer.waiting = false;
    peer.pid = fork();
    CHECK(peer.pid >= 0);
    if (peer.pid == 0) {
        end_with_parent();
        (void)close(to[1]);
        (void)close(from[0]);
        if (peer.uid != 0)
            CHECK(seteuid(peer.uid) == 0);
        peer_out = from[1];
        peer_obeys(to[0]);
    }
    (void)close(to[0]);
    (void)close(from[1]);
    peer.to = to[1];
    peer.from = from[0];
    if (first != NULL)
        CHECK(peer_does(first) >= 0);
}

static inline void peer_end(bool dead, const char *text)
{
    if (!dead)
        EXPECT(peer_does(peer_closes) == 0, "%s: the peer has said what it found", text);
    (void)close(peer.to);
    int end = support_wait(peer.pid);
    EXPECT(end == (dead ? -SIGKILL : 0), "%s: the peer ended with %d", text, end);
    (void)close(peer.from);
}

/* Called in the middle of this process's operation.  What it holds locked just then may keep the peer waiting: then it
 * goes on. */
static inline void peer_acts(void)
{
    char answer;
    CHECK(write(peer.to, &peer.deed, sizeof peer.deed) == sizeof peer.deed);
    peer.waiting = read(peer.from, &answer, 1) == 1 && answer == KEPT_OUT;
}

#endif
