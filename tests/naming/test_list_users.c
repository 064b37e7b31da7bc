/* Who has a section open, by the locks on its file, and where it is mapped. */
#include "looks.h"

#include <weir/naming/os_linux.h>

#include <criterion/criterion.h>
#include <sys/mman.h>

#define KIB64 UINT64_C(65536)

static weir_section *create(const char *name, uint64_t size, const weir_section_options *options)
{
    weir_section *section;
    CHECK_OK(weir_section_create(&section, name, size, options));
    return section;
}

static weir_section *open_as(const char *name, weir_access access)
{
    weir_section *section;
    CHECK_OK(weir_section_open(&section, name, &(weir_section_options){ .access = access }));
    return section;
}

/* ---- users ---- */

#define PROCESSES 5
#define WRITERS 40 /* handles of each process */
#define OBSERVERS 20

static void open_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < WRITERS; i++)
        (void)open_as("Global/crowd", WEIR_READ_WRITE);
    for (int i = 0; i < OBSERVERS; i++)
        (void)open_as("Global/crowd", i % 2 == 0 ? WEIR_READ_ONLY : WEIR_COPY_ON_WRITE);
}

static void check_crowd(const holder *holders, const bool *alive, unsigned own)
{
    static struct users users;
    weir_section_info info;
    unsigned writers = 0, observers = 0;
    users.count = 0;
    CHECK_KEEPS(weir_section_users("Global/crowd", users_visit, &users));
    for (int i = 0; i < PROCESSES; i++) {
        cr_assert_eq(handles_of(&users, holders[i].pid, false), alive[i] ? WRITERS : 0, "process %d", i);
        cr_assert_eq(handles_of(&users, holders[i].pid, true), alive[i] ? OBSERVERS : 0, "process %d", i);
        writers += alive[i] ? WRITERS : 0;
        observers += alive[i] ? OBSERVERS : 0;
    }
    cr_assert_eq(handles_of(&users, getpid(), false), own);
    cr_assert_eq(users.count, writers + observers + own);
    CHECK_KEEPS(weir_section_stat("Global/crowd", &info));
    cr_assert(info.users == writers + own && info.observers == observers, "%u users, %u observers", info.users,
              info.observers);
}

Test(list_users, every_handle_of_every_process_is_counted_until_it_is_closed_or_its_process_killed)
{
    const char *dir = support_shm_dir();
    bool alive[PROCESSES] = { true, true, true, true, true };
    holder holders[PROCESSES];
    unsigned fds = open_fds();
    weir_section *section = create("Global/crowd", 4096, NULL);
    for (int i = 0; i < PROCESSES; i++)
        holders[i] = holder_start(open_many, NULL, NULL);
    check_crowd(holders, alive, 1);
    CHECK(kill(holders[1].pid, SIGSTOP) == 0);
    CHECK_SOON(waitpid(holders[1].pid, NULL, WUNTRACED | WNOHANG) == holders[1].pid);
    holder_kill(&holders[2]);
    alive[2] = false;
    check_crowd(holders, alive, 1); /* the stopped one is there, the killed one is not */
    weir_section *more[3] = { open_as("Global/crowd", 0), open_as("Global/crowd", 0), open_as("Global/crowd", 0) };
    check_crowd(holders, alive, 4);
    for (int i = 0; i < 3; i++)
        CHECK_OK(weir_section_close(more[i]));
    CHECK_OK(weir_section_close(section));
    check_crowd(holders, alive, 0);
    CHECK(kill(holders[1].pid, SIGCONT) == 0);
    for (int i = 0; i < PROCESSES; i++)
        if (alive[i])
            holder_kill(&holders[i]);
    struct users none = { .count = 0 };
    CHECK_KEEPS(weir_section_users("Global/crowd", users_visit, &none)); /* stale: nobody */
    cr_assert_eq(none.count, 0);
    CHECK_OK(weir_section_clean(NULL, NULL));
    cr_assert_eq(support_entries(dir, true), 0);
    cr_assert_eq(open_fds(), fds);
}

Test(list_users, a_visit_that_returns_false_ends_the_walk)
{
    support_shm_dir();
    weir_section *handles[8];
    handles[0] = create("Local/few", 4096, &(weir_section_options){ .flags = WEIR_PERSISTENT });
    for (int i = 1; i < 8; i++)
        handles[i] = open_as("Local/few", i < 4 ? WEIR_READ_WRITE : WEIR_READ_ONLY);
    for (unsigned stop = 1; stop <= 8; stop++) {
        struct users users = { .stop = stop };
        CHECK_KEEPS(weir_section_users("Local/few", users_visit, &users));
        cr_assert_eq(users.count, stop);
    }
    for (int i = 0; i < 8; i++)
        CHECK_OK(weir_section_close(handles[i]));
    struct users none = { .count = 0 };
    CHECK_KEEPS(weir_section_users("Local/few", users_visit, &none)); /* unused: nobody */
    cr_assert_eq(none.count, 0);
    CHECK_OK(weir_section_remove("Local/few"));
}

static void look_until_stopped(void *arg)
{
    static struct infos infos;
    weir_section_info info;
    char byte;
    while (read(*(int *)arg, &byte, 1) < 0) {
        infos.count = 0;
        CHECK_OK(weir_section_stat("Global/alone", &info));
        CHECK_OK(weir_section_users("Global/alone", users_visit, &(struct users){ .count = 0 }));
        CHECK_OK(weir_section_mappings("Global/alone", mapped_visit, &(struct mapped){ .count = 0 }));
        CHECK_OK(weir_section_list(infos_visit, &infos));
        CHECK_OK(weir_section_clean(NULL, NULL));
    }
}

Test(list_users, those_who_look_are_in_nobodys_way)
{
    support_shm_dir();
    weir_section *section = create("Global/alone", 8 * KIB64, &(weir_section_options){ .flags = WEIR_RESERVE });
    int stop[2];
    pid_t children[2];
    CHECK(pipe2(stop, O_CLOEXEC | O_NONBLOCK) == 0);
    for (int i = 0; i < 2; i++) {
        children[i] = fork();
        CHECK(children[i] >= 0);
        if (children[i] == 0) {
            end_with_parent();
            (void)close(stop[1]);
            look_until_stopped(&stop[0]);
            _exit(0);
        }
    }
    /* To be alone is to hold every lock of the file: any lock of a look would be in the way. */
    for (uint64_t i = support_count(3000); i > 0; i--) {
        CHECK_OK(weir_section_commit(section, 0, 0));
        CHECK_OK(weir_section_decommit(section, 0, 0));
    }
    (void)close(stop[1]);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(support_wait(children[i]), 0);
    CHECK_OK(weir_section_close(section));
}

/* ---- the walk over locks, on a kernel of our own ---- */

#define MODEL_MAX 50000
enum choice { FIRST, LAST, MIDDLE, ANY, CHOICES };

/* Read locks of one byte each, by position; which of those in a range the kernel tells of is its own choice. */
static struct {
    int64_t at[MODEL_MAX];
    unsigned count;
    enum choice choice;
    uint64_t seed, looks, fail_at;
} model;

static unsigned below(int64_t byte)
{
    unsigned low = 0, high = model.count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (model.at[middle] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int model_lock(int fd, int command, struct flock *range)
{
    (void)fd;
    CHECK(command == F_OFD_GETLK && range->l_type == F_WRLCK && range->l_whence == SEEK_SET && range->l_len > 0);
    model.looks++;
    if (model.looks == model.fail_at) {
        errno = EIO;
        return -1;
    }
    unsigned from = below(range->l_start), to = below(range->l_start + range->l_len);
    range->l_type = F_UNLCK;
    if (from == to)
        return 0;
    unsigned pick = model.choice == FIRST    ? from
                    : model.choice == LAST   ? to - 1
                    : model.choice == MIDDLE ? (from + to) / 2
                                             : from + (unsigned)(support_random(&model.seed) % (to - from));
    *range = (struct flock){ .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = model.at[pick], .l_len = 1 };
    return 0;
}

static int by_position(const void *a, const void *b)
{
    int64_t one = *(const int64_t *)a, other = *(const int64_t *)b;
    return (one > other) - (one < other);
}

static bool count_visit(int64_t byte, void *arg)
{
    unsigned at = below(byte);
    cr_assert(at < model.count && model.at[at] == byte);
    cr_assert_eq(((unsigned char *)arg)[at], 0, "a lock was visited twice");
    ((unsigned char *)arg)[at] = 1;
    return true;
}

static void check_walk(unsigned count)
{
    static unsigned char seen[MODEL_MAX];
    memset(seen, 0, sizeof seen);
    model.looks = 0;
    cr_assert_eq(weir_lock_walk(0, WEIR_LIFE_FIRST, WEIR_RANGE_LEN, count_visit, seen), 0);
    unsigned visited = 0;
    for (unsigned i = 0; i < model.count; i++)
        visited += seen[i];
    cr_assert_eq(visited, count, "%u of %u locks, choice %d", visited, model.count, model.choice);
}

/* Scattered ones, sorted, none twice. */
static void scatter(unsigned count, uint64_t spread, uint64_t *seed)
{
    for (unsigned i = 0; i < count; i++)
        model.at[i] = WEIR_LIFE_FIRST + (int64_t)(support_random(seed) % spread);
    model.at[count++] = WEIR_LIFE_FIRST;
    model.at[count++] = WEIR_LIFE_FIRST + WEIR_RANGE_LEN - 1;
    qsort(model.at, count, sizeof model.at[0], by_position);
    model.count = 0;
    for (unsigned i = 0; i < count; i++)
        if (model.count == 0 || model.at[model.count - 1] != model.at[i])
            model.at[model.count++] = model.at[i];
}

Test(list_users, each_lock_is_visited_once_whichever_of_a_range_the_kernel_tells_of)
{
    static const unsigned counts[] = { 0, 1, 2, 3, 10, 100, 950 };
    uint64_t seed = support_seed();
    weir_linux.lock = model_lock;
    model.seed = seed;
    for (model.choice = FIRST; model.choice < CHOICES; model.choice++)
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
            scatter(counts[i], (uint64_t)WEIR_RANGE_LEN, &seed); /* anywhere */
            check_walk(model.count);
            scatter(counts[i], 2 * counts[i] + 1, &seed); /* side by side, nearly */
            check_walk(model.count);
            for (unsigned k = 0; k < counts[i]; k++) /* side by side, as the handles of one process */
                model.at[k] = WEIR_LIFE_FIRST + 5 + (int64_t)k;
            model.count = counts[i];
            check_walk(model.count);
            for (unsigned k = 0; k < 52 && k < counts[i]; k++) { /* each halves what is left */
                model.at[k] = WEIR_LIFE_FIRST + ((WEIR_RANGE_LEN - 1) - ((WEIR_RANGE_LEN - 1) >> k));
                model.count = k + 1;
            }
            check_walk(model.count);
        }
    model.count = 0; /* with nobody there, one look is enough */
    check_walk(0);
    cr_assert_eq(model.looks, 1);
}

Test(list_users, of_very_many_handles_about_1000_are_visited_in_a_bounded_number_of_looks)
{
    /* Each look costs what there are of locks: the kernel goes through a list. */
    static unsigned char seen[MODEL_MAX];
    uint64_t seed = support_seed();
    weir_linux.lock = model_lock;
    model.seed = seed;
    scatter(40000, (uint64_t)WEIR_RANGE_LEN, &seed);
    for (model.choice = FIRST; model.choice < CHOICES; model.choice++) {
        unsigned visited = 0;
        memset(seen, 0, sizeof seen);
        model.looks = 0;
        cr_assert_eq(weir_lock_walk(0, WEIR_LIFE_FIRST, WEIR_RANGE_LEN, count_visit, seen), 0);
        for (unsigned i = 0; i < model.count; i++)
            visited += seen[i];
        cr_assert(visited >= 950 && model.looks <= 4200, "%u visited in %llu looks", visited,
                  (unsigned long long)model.looks);
    }
}

struct until {
    unsigned visits, stop;
};

static bool visit_until(int64_t byte, void *arg)
{
    struct until *until = arg;
    (void)byte;
    return ++until->visits != until->stop;
}

Test(list_users, a_walk_ends_with_the_visit_that_says_so_and_with_a_look_that_fails)
{
    uint64_t seed = support_seed();
    static unsigned char seen[MODEL_MAX];
    weir_linux.lock = model_lock;
    scatter(100, (uint64_t)WEIR_RANGE_LEN, &seed);
    for (model.choice = FIRST; model.choice < CHOICES; model.choice++)
        for (unsigned stop = 1; stop <= model.count; stop++) {
            struct until until = { .stop = stop };
            cr_assert_eq(weir_lock_walk(0, WEIR_LIFE_FIRST, WEIR_RANGE_LEN, visit_until, &until), 0);
            cr_assert_eq(until.visits, stop);
        }
    for (model.fail_at = 2; model.fail_at < 50; model.fail_at++) {
        memset(seen, 0, sizeof seen);
        model.looks = 0;
        cr_assert_eq(weir_lock_walk(0, WEIR_LIFE_FIRST, WEIR_RANGE_LEN, count_visit, seen), -1);
        cr_assert_eq(model.looks, model.fail_at);
    }
}

/* Any answer at all: ranges that begin before, end behind, have no end, or are of writers. */
static int wild_lock(int fd, int command, struct flock *range)
{
    (void)fd;
    (void)command;
    CHECK(++model.looks <= 100000);
    int64_t first = range->l_start, len = range->l_len;
    uint64_t random = support_random(&model.seed);
    range->l_type = random % 8 == 0 ? F_UNLCK : random % 8 == 1 ? F_WRLCK : F_RDLCK;
    range->l_start = first + (int64_t)(support_random(&model.seed) % (uint64_t)len);
    range->l_len = random >> 8 & 1 ? 1 : random >> 9 & 1 ? (int64_t)(support_random(&model.seed) % 1000) : 0;
    if ((random >> 10 & 3) == 0) {
        range->l_start = first - (int64_t)(support_random(&model.seed) % 1000);
        range->l_len = range->l_len != 0 ? first - range->l_start + 1 : 0;
    }
    return 0;
}

static bool count_only(int64_t byte, void *arg)
{
    (void)byte;
    ++*(unsigned *)arg;
    return true;
}

Test(list_users, a_walk_ends_whatever_ranges_a_hostile_process_has_locked)
{
    model.seed = support_seed();
    weir_linux.lock = wild_lock;
    for (uint64_t i = support_count(1000); i > 0; i--) {
        unsigned visits = 0;
        model.looks = 0;
        cr_assert_eq(weir_lock_walk(0, WEIR_LOOK_FIRST, WEIR_RANGE_LEN, count_only, &visits), 0);
        cr_assert(visits <= model.looks);
    }
}

/* ---- a hostile reader ---- */

struct hostile {
    const char *path;
    int locks; /* of a byte each; 0: one of everything */
};

/* Only for reading, and yet it locks whatever it likes. */
static void lock_everything(void *arg)
{
    const struct hostile *hostile = arg;
    int fd = open(hostile->path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    struct flock range = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
    if (hostile->locks == 0) /* to the end of all bytes */
        CHECK(fcntl(fd, F_OFD_SETLK, &range) == 0);
    for (int i = hostile->locks; i > 0; i--) {
        int64_t nobody = (int64_t)(i + (1 << 23)) << 28; /* more than any pid */
        range.l_start = (i % 2 == 0 ? WEIR_LIFE_FIRST : WEIR_LOOK_FIRST) + nobody;
        range.l_len = 1;
        CHECK(fcntl(fd, F_OFD_SETLK, &range) == 0);
    }
}

static bool find_own(const weir_section_user *user, void *arg)
{
    unsigned *counts = arg;
    counts[0]++;
    counts[1 + user->observer] += user->pid == (uint32_t)getpid();
    return true;
}

Test(list_users, a_reader_that_locks_everything_holds_nobody_up_for_long)
{
    const char *dir = support_shm_dir();
    weir_section *section = create("Global/prey", 4096, NULL), *observer = open_as("Global/prey", WEIR_READ_ONLY);
    path_text path = section_path(dir, "Global/prey");
    const int locks[] = { 0, 400, (int)support_count(10000) };
    for (int round = 0; round < 3; round++) {
        struct hostile hostile = { .path = path.text, .locks = locks[round] };
        holder h = holder_start(lock_everything, NULL, &hostile);
        weir_section_info info;
        unsigned counts[3] = { 0, 0, 0 };
        struct users one = { .stop = 1 };
        int64_t from = monotonic_ns();
        CHECK_OK(weir_section_users("Global/prey", users_visit, &one));
        cr_assert_eq(one.count, 1);
        CHECK_OK(weir_section_users("Global/prey", find_own, counts));
        CHECK_OK(weir_section_stat("Global/prey", &info));
        cr_assert(info.state == WEIR_SECTION_LIVE && info.size == 4096);
        cr_assert_eq(info.users + info.observers, counts[0]);
        if (round == 1) /* not yet more than are looked at */
            cr_assert(counts[0] == 402 && counts[1] == 1 && counts[2] == 1);
        cr_assert(round != 2 || counts[0] >= 950);
        int64_t taken = monotonic_ns() - from;
        cr_assert_lt(taken, HANGS_NS, "%d locks took %.1f s", locks[round], (double)taken / 1e9);
        holder_kill(&h);
    }
    CHECK_OK(weir_section_close(observer));
    CHECK_OK(weir_section_close(section));
    cr_assert_eq(support_entries(dir, true), 0);
}
