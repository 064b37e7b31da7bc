/* crash/lives/life.h - a participant's whole life, and those who go on behind it, wherever it is lost. */
#ifndef WEIR_TESTS_CRASH_LIFE_H
#define WEIR_TESTS_CRASH_LIFE_H

#include "ipc/mailbox_help.h"
#include "lives/steps.h"

#include <weir/ipc/observer.h>

#define LIFE_NAME "life"
#define LIFE_WAIT WEIR_MILLISECONDS(1) / 5 /* of those who wait in vain */

/* What a life is about to do and has done: shared with those who go on. */
typedef struct life_notes {
    weir_atomic_u64 begun, done; /* messages that it has sent: the numbers below.  Of who receives: begun is 1 while a
                                  * message may have been released and not noted */
    weir_atomic_u64 had;         /* a bit for each that was received and released */
    weir_atomic_u64 asks;        /* it waits for those who will go on */
} life_notes;

/* Who else is there. */
typedef enum life_setting {
    LIFE_FIRST,    /* nobody: it makes the section */
    LIFE_THERE,    /* the other role */
    LIFE_BESIDE,   /* another of its own role as well */
    LIFE_AFTER,    /* the other role; one that was killed had its place before */
    LIFE_RECOVERS, /* the other role; another of the consumers is killed while it lives */
    LIFE_ANY,      /* the other role; it waits for two channels at once */
    LIFE_WAKES,    /* the other role, which waits in poll */
    LIFE_ASLEEP,   /* the other role, asleep in a call */
    LIFE_ASLEEP_ANY /* the other role, asleep for two channels at once */
} life_setting;

typedef struct life_scene life_scene;

/* One operation each is what follows a steps_operation in live: those are numbered from 0. */
struct life_scene {
    char ring[32], name[32];
    void (*begin)(life_scene *s); /* once; NULL: nothing */
    void (*end)(life_scene *s);
    void (*prepare)(life_scene *s); /* those who will go on, before each life */
    void (*live)(life_scene *s);    /* in a process of its own */
    void (*settle)(life_scene *s);  /* it has stopped itself, and asks those who will go on to go to sleep */
    void (*beside)(life_scene *s);  /* it stands still, somewhere */
    void (*intrude)(life_scene *s); /* then, another comes; NULL: nobody */
    void (*follow)(life_scene *s, bool killed); /* it has come to its end; leaves nothing behind */
    const struct kind_row *kind;
    life_setting setting;
    weir_undelivered undelivered;
    bool polls; /* with a descriptor */
    life_notes *notes;
    pid_t life; /* the process */

    weir_channel *other, *same, *second; /* of the other role; beside it; the other channel's other role */
    int fd;                              /* other's descriptor */
    uint64_t sent, taken;                /* bits of messages, by those who go on */
    uint64_t next[4];                    /* of each producer's numbers, what is to come */
    uint64_t told;                       /* the producers' generation + 1 whose end other has heard of */
    pid_t server;
    weir_mailbox *mailbox;
    weir_sender *sender;
};

/* In live: the operation of that name begins. */
void life_operation(const char *name);

unsigned life_channels(life_scene *out, unsigned max);
unsigned life_mailboxes(life_scene *out, unsigned max);

static inline void life_note(weir_atomic_u64 *word, uint64_t value) { weir_store_rel(word, value); }
static inline uint64_t life_noted(const weir_atomic_u64 *word) { return weir_load_acq(word); }

/* A released message is received by nobody else; of the others at most the one in a dead hand is lost. */
static inline void life_check_once(const life_scene *s, bool in_hand)
{
    uint64_t had = life_noted(&s->notes->had);
    CHECK((had & s->taken) == 0);
    CHECK((had & ~s->sent) == 0);
    CHECK(__builtin_popcountll(s->sent & ~had & ~s->taken) <= (in_hand ? 1 : 0));
}

/* Of a process that dies there. */
static inline void life_kill_self(void)
{
    (void)kill(getpid(), SIGKILL);
}

#endif
