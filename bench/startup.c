/* bench/startup.c - what it takes to begin: from the first call to the first message, and memory. */
#include "startup.h"

#include <weir/weir.h>

#include <fcntl.h>
#include <linux/membarrier.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SAMPLES 41u       /* of a round; with --quick a third of them */
#define SECTION_BYTES ((256u << 10) + 8192)
#define GIVE_UP_NS 2000000000

/* Shared with the children. */
struct report {
    weir_atomic_u64 ready; /* sides */
    int64_t took[2];       /* ns: the process's first time, and when all code has been there before; 0: it did not work */
    int64_t began[2], ended; /* of two sides at once */
    struct startup_memory memory;
    bool ok;
};

typedef void body(struct report *report, unsigned side);

/* ---- what is measured, each in a process that has done nothing yet, and then once more ---- */

static void channel_name(char name[64])
{
    (void)snprintf(name, 64, "Local/weir-bench.startup.%ld", (long)getppid());
}

/* From the first call to the first message, one side behind the other. */
static int64_t channel_once(const char *name)
{
    weir_channel *producer, *consumer;
    uint64_t message = 1;
    uint32_t len;
    bool came = false;
    int64_t began = bench_now_ns(), ended = 0;
    if (weir_channel_open(&producer, name, WEIR_PRODUCER, NULL) != WEIR_OK)
        return 0;
    if (weir_channel_open(&consumer, name, WEIR_CONSUMER, NULL) == WEIR_OK) {
        came = weir_send(producer, &message, sizeof message, 0) == WEIR_OK &&
               weir_receive(consumer, &message, sizeof message, &len, 0) == WEIR_OK;
        ended = bench_now_ns();
        (void)weir_channel_close(consumer);
    }
    (void)weir_channel_close(producer);
    return came ? ended - began : 0;
}

static void ours(struct report *report, unsigned side)
{
    char name[64];
    (void)side;
    channel_name(name);
    for (unsigned i = 0; i < 2; i++)
        report->took[i] = channel_once(name);
    report->ok = report->took[0] != 0 && report->took[1] != 0;
}

/* The same by both sides at once, which have their code: each has had a channel of its own. */
static void ours_both(struct report *report, unsigned side)
{
    weir_channel *channel;
    char name[64];
    uint64_t message = 1;
    uint32_t len;
    bench_pin(side);
    (void)snprintf(name, sizeof name, "Local/weir-bench.startup.own.%ld", (long)getpid());
    (void)channel_once(name);
    channel_name(name);
    (void)weir_fetch_add_rlx(&report->ready, 1); /* relaxed: only whether both run */
    for (int64_t until = bench_now_ns() + GIVE_UP_NS; weir_load_rlx(&report->ready) != 2;)
        if (bench_now_ns() > until)
            return;
    report->began[side] = bench_now_ns();
    if (weir_channel_open(&channel, name, side == 0 ? WEIR_PRODUCER : WEIR_CONSUMER, NULL) != WEIR_OK)
        return;
    if (side == 0) {
        (void)weir_send(channel, &message, sizeof message, WEIR_MILLISECONDS(2000));
        (void)weir_channel_drain(channel, WEIR_MILLISECONDS(2000));
    } else {
        report->ok = weir_receive(channel, &message, sizeof message, &len, WEIR_MILLISECONDS(2000)) == WEIR_OK;
        report->ended = bench_now_ns();
    }
    (void)weir_channel_close(channel);
}

static bool lock(int fd, short type, off_t at)
{
    struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1 };
    return fcntl(fd, F_OFD_SETLK, &l) == 0;
}

/* A side's part of the bare calls: the file is there; who it is, that it lives, the memory. */
static unsigned char *bare_attach(int fd, off_t slot)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || !lock(fd, F_RDLCK, 1000 + slot) || !lock(fd, F_WRLCK, slot))
        return NULL;
    void *memory = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

/* What no shared-memory channel with a name, memory that is really there, and peers whose deaths are seen does without. */
static int64_t bare_once(const char *name)
{
    int64_t began = bench_now_ns(), ended = 0;
    int dir = open("/dev/shm", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int made = openat(dir, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    if (made < 0 || fallocate(made, 0, 0, SECTION_BYTES) != 0)
        return 0;
    unsigned char *producer = bare_attach(made, 1);
    if (producer == NULL || linkat(made, "", dir, name, AT_EMPTY_PATH) != 0)
        return 0;
    int joined = openat(dir, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    unsigned char *consumer = joined >= 0 ? bare_attach(joined, 2) : NULL;
    if (consumer != NULL) {
        for (unsigned page = 0; page < 3; page++) /* header, positions, the message */
            producer[page * 4096] = 1;
        bool came = (consumer[0] & consumer[4096] & consumer[8192]) == 1;
        ended = came ? bench_now_ns() : 0;
    }
    (void)unlinkat(dir, name, 0); /* the rest goes with the process */
    return ended != 0 ? ended - began : 0;
}

static void bare(struct report *report, unsigned side)
{
    char name[64];
    (void)side;
    (void)snprintf(name, sizeof name, "weir-bench.bare.%ld", (long)getpid());
    for (unsigned i = 0; i < 2; i++)
        report->took[i] = bare_once(name);
    report->ok = report->took[0] != 0 && report->took[1] != 0;
}

/* ---- samples ---- */

static bool sample(body *what, unsigned sides, struct report *report)
{
    pid_t pids[2] = { 0, 0 };
    memset(report, 0, sizeof *report);
    (void)fflush(NULL);
    for (unsigned i = 0; i < sides; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
            what(report, i);
            _exit(0);
        }
    }
    for (unsigned i = 0; i < sides; i++)
        if (pids[i] > 0)
            (void)waitpid(pids[i], NULL, 0);
    return report->ok;
}

static struct report *shared_report(void)
{
    void *memory = mmap(NULL, sizeof(struct report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

bool startup_measure(struct programme *programme, struct startup *startup)
{
    double value[5][SAMPLES], *found[] = { startup->ours, startup->bare, startup->ours_first, startup->bare_first,
                                           startup->both };
    struct report *report = shared_report();
    unsigned samples = programme->options->quick ? SAMPLES / 3 : SAMPLES;
    bool ok = report != NULL;
    for (startup->rounds = 0; ok && startup->rounds < programme->rounds; startup->rounds++) {
        for (unsigned i = 0; ok && i < samples; i++) {
            ok = sample(ours, 1, report);
            value[2][i] = (double)report->took[0];
            value[0][i] = (double)report->took[1];
            ok = ok && sample(bare, 1, report);
            value[3][i] = (double)report->took[0];
            value[1][i] = (double)report->took[1];
            ok = ok && sample(ours_both, 2, report);
            int64_t began = report->began[report->began[1] < report->began[0]];
            value[4][i] = (double)(report->ended - began);
        }
        for (unsigned j = 0; ok && j < 5; j++)
            found[j][startup->rounds] = rows_median(value[j], samples);
    }
    if (report != NULL)
        (void)munmap(report, sizeof *report);
    if (!ok)
        programme_failed(programme, "weir", "start-up", "no message came");
    return ok;
}

static void add_row(const struct programme *programme, struct rows *rows, const char *what, const char *system, uint64_t bytes,
                    const char *unit, const char *group, const double *values)
{
    struct row row = { .what = what, .bytes = bytes, .producers = 1, .consumers = 1, .wait = "", .batch = 1, .unit = unit };
    (void)snprintf(row.system, sizeof row.system, "%s", system);
    (void)snprintf(row.group, sizeof row.group, "%s", group);
    rows_sum_up(&row, values, programme->rounds);
    rows_add(rows, &row);
}

void startup_times(struct programme *programme, struct rows *rows)
{
    static const char group[] = "start-up, from the first call to the first message, both sides";
    struct startup startup;
    if (!startup_measure(programme, &startup))
        return;
    add_row(programme, rows, "startup", "weir", 256 << 10, "ns", group, startup.ours);
    add_row(programme, rows, "startup", "weir-both-at-once", 256 << 10, "ns", group, startup.both);
    add_row(programme, rows, "startup", "bare-system-calls", 256 << 10, "ns", group, startup.bare);
    add_row(programme, rows, "startup", "weir, the process's first", 256 << 10, "ns", group, startup.ours_first);
    add_row(programme, rows, "startup", "bare-system-calls, the process's first", 256 << 10, "ns", group, startup.bare_first);
}

/* ---- memory ---- */

/* Bytes of anonymous memory that this process has. */
static double anonymous(void)
{
    char line[128];
    unsigned long kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "RssAnon: %lu kB", &kib) == 1)
            break;
    if (file != NULL)
        (void)fclose(file);
    return (double)kib * 1024;
}

static uint64_t memory_capacity; /* of the child that is forked next */

/* Every byte of the lane is used once. */
static bool go_round(weir_channel *producer, weir_channel *consumer)
{
    static unsigned char message[1024];
    uint32_t len;
    for (uint64_t sent = 0; sent < 2 * memory_capacity; sent += sizeof message)
        if (weir_send(producer, message, sizeof message, 0) != WEIR_OK ||
            weir_receive(consumer, message, sizeof message, &len, 0) != WEIR_OK)
            return false;
    return true;
}

static void takes(struct report *report, unsigned side)
{
    weir_channel *producer, *consumer = NULL;
    weir_section_info info;
    weir_channel_options options = { .capacity = memory_capacity };
    char name[64];
    (void)side;
    channel_name(name);
    (void)anonymous(); /* what stdio takes is there before */
    double before = anonymous();
    if (weir_channel_open(&producer, name, WEIR_PRODUCER, &options) != WEIR_OK)
        return;
    if (weir_channel_open(&consumer, name, WEIR_CONSUMER, &options) == WEIR_OK && go_round(producer, consumer) &&
        weir_section_stat(name, &info) == WEIR_OK) {
        report->memory = (struct startup_memory){ (double)info.committed, (double)info.resident + anonymous() - before };
        report->ok = true;
    }
    if (consumer != NULL)
        (void)weir_channel_close(consumer);
    (void)weir_channel_close(producer);
}

bool startup_takes(struct programme *programme, uint64_t capacity, struct startup_memory *memory)
{
    struct report *report = shared_report();
    memory_capacity = capacity;
    bool ok = report != NULL && sample(takes, 1, report);
    if (ok)
        *memory = report->memory;
    else
        programme_failed(programme, "weir", "memory", "the channel did not work");
    if (report != NULL)
        (void)munmap(report, sizeof *report);
    return ok;
}

void startup_memory(struct programme *programme, const struct options_numbers *capacities, struct rows *rows)
{
    for (unsigned i = 0; i < capacities->count; i++) {
        struct startup_memory memory;
        struct row row = { .what = "memory", .system = "weir", .bytes = capacities->of[i], .producers = 1, .consumers = 1,
                           .wait = "", .batch = 1, .unit = "B", .group = "memory of a channel, by its capacity: all it takes" };
        if (!startup_takes(programme, capacities->of[i], &memory))
            continue;
        rows_sum_up(&row, &memory.taken, 1);
        row_extra(&row, "capacity", (double)capacities->of[i]);
        row_extra(&row, "committed", memory.committed);
        row_extra(&row, "beside", memory.taken - memory.committed);
        rows_add(rows, &row);
    }
}
