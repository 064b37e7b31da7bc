/* bench/peer.h - a system under test: what an adaptor in bench/peers/ gives.  C, and C++ for adaptors of C++ libraries.
 *
 * A run is one parent, which makes what the sides share, and a process for each side, which opens its ends of it, meets the
 * others, does the work and leaves.  loops.h makes the work's loops of an adaptor's calls, so that every system fills,
 * sends, receives and checks in the same instructions but for its own. */
#ifndef WEIR_BENCH_PEER_H
#define WEIR_BENCH_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/base/api.h>
#include <weir/base/atomic.h>
#include <weir/base/cacheline.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BENCH_SIDES_MAX 64u /* processes of one run */

/* What a system can do; each is a bit. */
enum {
    BENCH_SPSC = 1 << 0,      /* one producer, one consumer */
    BENCH_MPSC = 1 << 1,      /* several producers, one consumer */
    BENCH_MPMC = 1 << 2,      /* several of both, each message to one consumer */
    BENCH_BROADCAST = 1 << 3, /* one producer, several consumers, each message to all */
    BENCH_SPIN = 1 << 4,      /* a side that must wait spins */
    BENCH_SLEEP = 1 << 5,     /* a side that must wait sleeps */
    BENCH_BATCH = 1 << 6,     /* publishes several messages at once */
    BENCH_LATENCY = 1 << 7,   /* has ping and pong */
    BENCH_LOSSY = 1 << 8,     /* a consumer that is late misses messages */
    BENCH_NO_PACING = 1 << 9  /* paces its own waits: pauses makes no difference */
};

/* What one run does. */
struct bench_work {
    uint32_t shape;        /* BENCH_SPSC, _MPSC, _MPMC or _BROADCAST */
    uint32_t wait;         /* BENCH_SPIN or BENCH_SLEEP */
    uint32_t bytes;        /* of a message, a multiple of 8 */
    uint32_t batch;        /* messages published at once; 1: each is visible when its send returns */
    uint32_t producers, consumers;
    uint32_t pauses;       /* between two looks of a side that spins */
    uint64_t capacity;     /* bytes that the queue must hold, about; of a queue with a lane for each producer, each lane */
    uint64_t messages;     /* of each producer; of a latency run, round trips */
    uint64_t warm_up;      /* messages of these, the first to be received, that are not timed */
    uint32_t channels;     /* that the producer sends through, one message through each in turn; 0: as 1 */
    uint64_t interval_ns;  /* of a latency run: one trip begins so long after the one before; 0: at once */
};

struct bench_peer;
struct bench_meeting; /* where the sides meet; run.c */

/* One queue from producers to consumers, made by the parent. */
struct bench_link {
    const struct bench_peer *peer;
    const struct bench_work *work;
    char name[48];         /* of this run and no other: letters, digits, dots */
    void *memory;          /* shared by all sides, at one address, zeroed, touched; memory_bytes as the adaptor asked */
    uint64_t memory_bytes;
    int fd[4];             /* inherited; -1 where not used */
    void *priv;            /* the adaptor's own */
};

/* A side's end of a link, in its own process. */
struct bench_end {
    struct bench_link *link;
    const struct bench_work *work;
    struct bench_meeting *meeting;
    uint32_t index;        /* among its role: 0, 1, ... */
    bool produces;
    bool crowded;          /* there are more sides than processors: who waits yields now and then */
    unsigned char *buffer; /* for messages: batch * bytes, on a page of its own */
    void *priv;            /* the adaptor's own */
    const char *error;     /* set by whoever fails, with what it was */
    /* What a consumer's loop has found. */
    uint64_t received, wrong; /* messages; of these torn, repeated, or out of order */
    uint64_t lost;            /* of a lossy system */
    int64_t begin_ns, end_ns; /* when the warm-up had been received, and all */
};

struct bench_peer {
    const char *name;      /* as in the rows: "ck"; ours begin with "weir" */
    const char *what;      /* a few words and the version */
    uint32_t can;          /* BENCH_ bits */
    uint32_t bytes_max;    /* of a message; 0: any */
    uint32_t (*bytes_limit)(void); /* the same where the system has a say; NULL: bytes_max */
    uint64_t (*memory)(const struct bench_work *work); /* bytes that a link shares; NULL: none */

    bool (*begin)(void);   /* once, before the first run (a daemon); NULL: nothing to do */
    void (*finish)(void);  /* once, behind the last */

    /* In the parent.  false: error is set. */
    bool (*make)(struct bench_link *link, const char **error);
    void (*remove)(struct bench_link *link);

    /* In a side's process.  open returns when the end is ready to be used, or to be connected with. */
    bool (*open)(struct bench_end *end);
    void (*produce)(struct bench_end *end);
    void (*consume)(struct bench_end *end);
    void (*ping)(struct bench_end *out, struct bench_end *back);
    void (*pong)(struct bench_end *back, struct bench_end *out);
    void (*close)(struct bench_end *end);
};

/* ---- the systems there are ---- */

extern const struct bench_peer *const bench_peers[];    /* all but our channels and the lines; NULL behind the last */
const struct bench_peer *bench_weir(uint32_t index);    /* our channels, one system a kind; NULL behind the last */
extern const struct bench_peer bench_line, bench_line_two, bench_line_each; /* the machine's own */

/* ---- what the loops need of run.c ---- */

int64_t bench_now_ns(void);

/* The cheapest clock there is; bench_ns_per_tick tells what a tick is.  Across processors it is the same (invariant TSC). */
static inline uint64_t bench_ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    return (uint64_t)bench_now_ns();
#endif
}
double bench_ns_per_tick(void);

/* Consumers of one MPMC run share the count of what was received.  bench_all_taken adds `more`, and tells whether that
 * was all. */
bool bench_all_taken(struct bench_end *end, uint64_t more);
/* A side has waited for another `turn` times.  false: the parent has given up, leave. */
bool bench_waited(struct bench_end *end);
bool bench_goes_on(const struct bench_end *end); /* the same of a side that does not wait */
/* What went wrong in this side; the parent prints it.  The side then leaves. */
void bench_fail(struct bench_end *end, const char *error);

/* A round trip of a latency run, in ticks. */
void bench_trip(struct bench_end *end, uint64_t ticks);

#ifdef __cplusplus
}
#endif

#endif
