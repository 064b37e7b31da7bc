/* Reserved room among processes, on a file system that is nearly full: what anybody finds committed it can write, no
 * byte of another's is lost, and who is killed in the middle leaves nothing that the next one must suffer from. */
#include "../naming/commit.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#define NAME "Local/room"
#define GRANULES 130u /* twice what there is */
#define SIZE (GRANULES * GRANULE - PAGE)
#define WORKERS 4u
#define PAGES (GRANULE / PAGE)

static const char *dir;
static path_text path;

static uint64_t free_bytes(void)
{
    struct statvfs fs;
    CHECK(statvfs(dir, &fs) == 0);
    return (uint64_t)fs.f_bavail * fs.f_frsize;
}

static weir_section *make(uint64_t size)
{
    weir_section *section;
    weir_section_options options = { .flags = WEIR_RESERVE | WEIR_PERSISTENT };
    CHECK_OK(weir_section_create(&section, NAME, size, &options));
    return section;
}

static void end(weir_section *section)
{
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_section_remove(NAME));
    CHECK(files_under(dir) == 0);
}

/* Takes what is free but for that much.  Returns the file. */
static int fill_up(uint64_t but)
{
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    uint64_t take = free_bytes();
    CHECK(fd >= 0 && take > but && fallocate(fd, 0, 0, (off_t)(take - but)) == 0);
    CHECK(free_bytes() == but);
    return fd;
}

/* ---- a full file system ---- */

static void up_to_the_last_page(void)
{
    weir_section *section = make(SIZE);
    weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE);
    int filler = fill_up(3 * GRANULE + GRANULE / 2);
    CHECK_OK(weir_section_commit(section, GRANULE, 2 * GRANULE));
    fill_bytes(&view, 1, 0x11);
    CHECK_STATUS(weir_section_commit(section, 10 * GRANULE, 2 * GRANULE), WEIR_E_NO_SPACE);
    CHECK(detail_has("needs 128 KiB") && detail_has("96 KiB free") && detail_has(dir));
    CHECK(!is_committed(section, 10) && !is_committed(section, 11));
    CHECK(free_bytes() == GRANULE + GRANULE / 2);
    CHECK_OK(weir_section_commit(section, 11 * GRANULE, 1));
    CHECK_STATUS(weir_section_commit(section, 12 * GRANULE, 1), WEIR_E_NO_SPACE);
    CHECK(free_bytes() == GRANULE / 2);
    CHECK_OK(weir_section_commit(section, GRANULE, 2 * GRANULE)); /* they are: nothing more is needed */
    CHECK(close(filler) == 0);
    filler = fill_up(0);
    unsigned char *base = view.base;
    memset(base + 2 * GRANULE, 0x22, GRANULE); /* never touched until now */
    memset(base + 11 * GRANULE, 0x22, GRANULE);
    check_bytes(&view, 1, 0x11);
    CHECK(touch(base, false) == SIGSEGV && touch(base + 12 * GRANULE, true) == SIGSEGV); /* and not SIGBUS */
    CHECK_OK(weir_section_decommit(section, 2 * GRANULE, GRANULE));
    CHECK(free_bytes() == GRANULE);
    CHECK_OK(weir_section_commit(section, 12 * GRANULE, 1));
    CHECK(free_bytes() == 0);
    memset(base + 12 * GRANULE, 0x22, GRANULE);
    CHECK(close(filler) == 0);
    CHECK_OK(weir_view_unmap(&view));
    end(section);
}

/* Of a range in pieces the first was had, and then there was no more. */
static void what_a_refused_commit_had_serves_the_next(void)
{
    weir_section *section = make(SIZE);
    weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE);
    CHECK_OK(weir_section_commit(section, GRANULE, 1));
    fill_bytes(&view, 1, 0x11);
    int filler = fill_up(GRANULE);
    CHECK_STATUS(weir_section_commit(section, 0, 3 * GRANULE), WEIR_E_NO_SPACE);
    CHECK(!is_committed(section, 0) && is_committed(section, 1) && !is_committed(section, 2));
    CHECK_OK(weir_section_commit(section, 0, GRANULE));
    fill_bytes(&view, 0, 0x22);
    check_bytes(&view, 1, 0x11);
    CHECK(close(filler) == 0);
    CHECK_OK(weir_view_unmap(&view));
    end(section);
}

static int die_when_it_was_had(int fd, int mode, off_t offset, off_t len)
{
    CHECK(fallocate(fd, mode, offset, len) == 0);
    return mode == 0 ? kill(getpid(), SIGKILL) : 0;
}

static void what_a_killed_commit_had_serves_the_next(void)
{
    weir_section *section = make(SIZE);
    weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE);
    int filler = fill_up(GRANULE);
    pid_t child = fork();
    if (child == 0) {
        weir_section *mine = open_as(NAME, WEIR_READ_WRITE);
        weir_linux.fallocate = die_when_it_was_had;
        (void)weir_section_commit(mine, 0, GRANULE);
        _exit(1);
    }
    CHECK(support_wait(child) == -SIGKILL);
    CHECK(!is_committed(section, 0) && free_bytes() == 0);
    CHECK_OK(weir_section_commit(section, 0, GRANULE));
    check_bytes(&view, 0, 0);
    fill_bytes(&view, 0, 0x22);
    CHECK(close(filler) == 0);
    CHECK_OK(weir_view_unmap(&view));
    end(section);
}

/* ---- killed at each step of a decommit, and of the commit that comes behind it ---- */

static weir_linux_calls real;
static long calls_until_death;
static bool die_behind;

static void step(bool behind)
{
    if (behind == die_behind && calls_until_death == 0)
        (void)kill(getpid(), SIGKILL);
    calls_until_death -= behind;
}

static int step_lock(int fd, int command, struct flock *range)
{
    step(false);
    int result = real.lock(fd, command, range), error = errno;
    step(true);
    errno = error;
    return result;
}

static int step_mprotect(void *base, size_t size, int protection)
{
    step(false);
    int result = real.mprotect(base, size, protection);
    step(true);
    return result;
}

static int step_fallocate(int fd, int mode, off_t offset, off_t len)
{
    step(false);
    int result = real.fallocate(fd, mode, offset, len);
    step(true);
    return result;
}

static void die_at(long calls, bool behind)
{
    real = weir_linux;
    calls_until_death = calls;
    die_behind = behind;
    weir_linux.lock = step_lock;
    weir_linux.mprotect = step_mprotect;
    weir_linux.fallocate = step_fallocate;
}

/* Runs it in a child that is killed at that call; false: it came through. */
static bool killed_at(void (*body)(long calls, bool behind), long calls, bool behind)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        end_with_parent();
        body(calls, behind);
        _exit(0);
    }
    int status = support_wait(child);
    CHECK(status == 0 || status == -SIGKILL);
    return status != 0;
}

static void decommit_body(long calls, bool behind)
{
    weir_section *section = open_as(NAME, WEIR_READ_WRITE);
    weir_view first = map_view(section, 0, 0, WEIR_READ_WRITE), second = map_view(section, GRANULE, 0, WEIR_READ_ONLY);
    die_at(calls, behind);
    (void)weir_section_decommit(section, GRANULE, 2 * GRANULE);
    weir_linux = real;
    CHECK(first.base != NULL && second.base != NULL);
}

static void commit_body(long calls, bool behind)
{
    weir_section *section = open_as(NAME, WEIR_READ_WRITE);
    weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE);
    die_at(calls, behind);
    (void)weir_section_commit(section, 0, 0);
    weir_linux = real;
    CHECK(view.base != NULL);
}

/* Opens it after deaths: it is as it was, or what is not committed reads zero when it is.  committed: a commit may have
 * been among them. */
static void check_after(uint64_t *deaths_in_the_middle, bool committed)
{
    weir_section *section = open_as(NAME, WEIR_READ_WRITE);
    weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE);
    bool is = is_committed(section, 1), stayed = is && !committed;
    check_shape(section, is ? "####" : "#..#");
    CHECK(bytes_taken(path.text) <= shape_bytes(4 * GRANULE, "####"));
    *deaths_in_the_middle += !is && bytes_taken(path.text) != shape_bytes(4 * GRANULE, "#..#");
    CHECK_OK(weir_section_commit(section, 0, 0));
    CHECK(bytes_taken(path.text) == shape_bytes(4 * GRANULE, "####"));
    check_bytes(&view, 0, 0x66);
    check_bytes(&view, 1, stayed ? 0x66 : 0);
    check_bytes(&view, 2, stayed ? 0x66 : 0);
    check_bytes(&view, 3, 0x66);
    memset(view.base, 0x66, view.size);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
}

static void killed_at_each_step(void)
{
    uint64_t steps = 0, middle = 0;
    weir_section *section = make(4 * GRANULE);
    CHECK_OK(weir_section_commit(section, 0, 0));
    weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE);
    memset(view.base, 0x66, view.size);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
    for (int behind = 0; behind < 2; behind++)
        for (long calls = 0; killed_at(decommit_body, calls, behind != 0); calls++, steps++)
            check_after(&middle, false);
    CHECK(steps >= 10 && middle > 0); /* else none died between the bits and the memory */
    check_after(&middle, false); /* of the one that came through */
    /* And then who commits it again. */
    for (int behind = 0; behind < 2; behind++)
        for (long calls = 0, on = 1; on != 0; calls++, steps++) {
            CHECK(killed_at(decommit_body, 4, false)); /* two locks, two views: before the memory is given back */
            CHECK(bytes_taken(path.text) == shape_bytes(4 * GRANULE, "####"));
            on = killed_at(commit_body, calls, behind != 0);
            check_after(&middle, true);
        }
    (void)printf("%llu deaths at single calls\n", (unsigned long long)steps);
    CHECK_OK(weir_section_remove(NAME));
}

/* ---- stopped in a decommit ---- */

static int stop_at_punch(int fd, int mode, off_t offset, off_t len)
{
    CHECK(raise(SIGSTOP) == 0);
    return fallocate(fd, mode, offset, len);
}

/* 1: busy, after 2 seconds. */
static int try_to_come(int way)
{
    int64_t from = monotonic_ns();
    weir_section *section = NULL;
    weir_section_options options = { .access = way == 1 ? WEIR_READ_ONLY : WEIR_READ_WRITE };
    weir_status status = way == 2 ? weir_section_remove(NAME) : weir_section_open(&section, NAME, &options);
    return status == WEIR_E_BUSY && section == NULL && monotonic_ns() - from > WAIT_NS;
}

static void stopped_in_the_middle_it_keeps_others_out_for_two_seconds_at_most(void)
{
    weir_section *section = make(4 * GRANULE);
    CHECK_OK(weir_section_commit(section, 0, 0));
    CHECK_OK(weir_section_close(section));
    pid_t child = fork(), others[3];
    if (child == 0) {
        end_with_parent();
        section = open_as(NAME, WEIR_READ_WRITE);
        weir_linux.fallocate = stop_at_punch;
        CHECK_OK(weir_section_decommit(section, 0, GRANULE));
        CHECK_OK(weir_section_close(section));
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
    for (int way = 0; way < 3; way++)
        if ((others[way] = fork()) == 0)
            _exit(try_to_come(way));
    for (int way = 0; way < 3; way++)
        CHECK(support_wait(others[way]) == 1);
    CHECK(kill(child, SIGCONT) == 0);
    CHECK(support_wait(child) == 0);
    section = open_as(NAME, WEIR_READ_WRITE);
    check_shape(section, ".###");
    end(section);
}

/* ---- the storm ---- */

/* What is known of each granule, in memory that all processes share. */
static struct model {
    uint32_t stop;
    uint32_t tried[GRANULES];         /* somebody has begun to commit it */
    uint32_t committed[GRANULES];     /* somebody was told that it is */
    /* what the worker has written to its word of each page; one more may stand there */
    uint64_t done[WORKERS][GRANULES];
    uint64_t committed_ok, no_space, writes;
} *model;

#define GET(at) __atomic_load_n(&(at), __ATOMIC_SEQ_CST)
#define SET(at, value) __atomic_store_n(&(at), value, __ATOMIC_SEQ_CST)
#define COUNT(at) (void)__atomic_fetch_add(&(at), 1, __ATOMIC_SEQ_CST)

static void fault(int signal)
{
    static const char text[] = "a granule that is committed cannot be written\n";
    (void)!write(2, text, sizeof text - 1);
    _exit(100 + signal);
}

static uint64_t *word_of(const weir_view *view, uint32_t granule, uint64_t page, uint32_t worker)
{
    return (uint64_t *)(void *)((unsigned char *)view->base + granule * GRANULE + page * PAGE) + worker;
}

static uint64_t pages_of(uint32_t granule)
{
    return granule == GRANULES - 1 ? PAGES - 1 : PAGES;
}

/* A granule that is committed: what all have written is there, and nothing that nobody wrote. */
static void check_content(const weir_view *view, uint32_t granule)
{
    for (uint32_t worker = 0; worker < WORKERS; worker++)
        for (uint64_t page = 0; page < pages_of(granule); page++) {
            uint64_t done = GET(model->done[worker][granule]), word = GET(*word_of(view, granule, page, worker));
            CHECK(word >= done && word <= GET(model->done[worker][granule]) + 1);
        }
}

static void commit_some(weir_section *section, uint64_t *seed)
{
    uint32_t first = (uint32_t)(support_random(seed) % GRANULES), count = 1 + (uint32_t)(support_random(seed) % 5);
    uint32_t last = first + count > GRANULES ? GRANULES : first + count;
    for (uint32_t g = first; g < last; g++)
        SET(model->tried[g], 1u);
    weir_status status = weir_section_commit(section, first * GRANULE + support_random(seed) % PAGE,
                                             last == GRANULES ? 0 : (last - first - 1) * GRANULE + 1);
    CHECK(status == WEIR_OK || status == WEIR_E_NO_SPACE);
    if (status == WEIR_E_NO_SPACE)
        COUNT(model->no_space);
    else
        COUNT(model->committed_ok);
    for (uint32_t g = first; g < last; g++) {
        CHECK(status != WEIR_OK || is_committed(section, g));
        if (status == WEIR_OK)
            SET(model->committed[g], 1u);
    }
}

static void write_one(weir_section *section, weir_view *view, uint32_t worker, uint32_t granule)
{
    bool promised = GET(model->committed[granule]) != 0;
    if (!is_committed(section, granule)) {
        CHECK(!promised);
        return;
    }
    CHECK(GET(model->tried[granule]) != 0);
    CHECK_OK(weir_view_refresh(view));
    check_content(view, granule);
    uint64_t value = model->done[worker][granule] + 1;
    for (uint64_t page = 0; page < pages_of(granule); page++) {
        uint64_t before = GET(*word_of(view, granule, page, worker));
        CHECK(before == value - 1 || before == value);
        SET(*word_of(view, granule, page, worker), value);
    }
    SET(model->done[worker][granule], value);
    COUNT(model->writes);
}

static pid_t start_worker(uint32_t worker, uint64_t seed)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child != 0)
        return child;
    end_with_parent();
    CHECK(signal(SIGBUS, fault) != SIG_ERR && signal(SIGSEGV, fault) != SIG_ERR);
    weir_section *section = open_as(NAME, WEIR_READ_WRITE);
    weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE);
    while (GET(model->stop) == 0) {
        if (support_random(&seed) % 64 == 0) { /* perhaps as the last */
            CHECK_OK(weir_view_unmap(&view));
            CHECK_OK(weir_section_close(section));
            section = open_as(NAME, WEIR_READ_WRITE);
            view = map_view(section, 0, 0, WEIR_READ_WRITE);
        } else if (support_random(&seed) % 4 == 0)
            commit_some(section, &seed);
        else
            write_one(section, &view, worker, (uint32_t)(support_random(&seed) % GRANULES));
    }
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
    _exit(0);
}

/* The bitmap against what is known of it. */
static void compare(weir_section *section)
{
    for (uint32_t g = 0; g < GRANULES; g++) {
        bool promised = GET(model->committed[g]) != 0, is = is_committed(section, g);
        CHECK(is || !promised);
        CHECK(!is || GET(model->tried[g]) != 0);
    }
}

/* As the only one: all content is there; then some is given back, and what killed ones had with it: a commit counts
 * that once, so what is committed and given back takes nothing. */
static void between_rounds(weir_section *section, uint64_t *seed)
{
    weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE);
    uint64_t committed = 0;
    for (uint32_t g = 0; g < GRANULES; g++) {
        if (!is_committed(section, g) || support_random(seed) % 3 != 0) {
            if (is_committed(section, g))
                check_content(&view, g);
            else
                (void)weir_section_commit(section, g * GRANULE, 1); /* there may not be room for it */
            CHECK_OK(weir_section_decommit(section, g * GRANULE, g == GRANULES - 1 ? 0 : GRANULE));
            model->tried[g] = model->committed[g] = 0;
            for (uint32_t worker = 0; worker < WORKERS; worker++)
                model->done[worker][g] = 0;
        } else {
            check_content(&view, g);
            model->committed[g] = 1;
            committed += granule_bytes(SIZE, g);
        }
    }
    CHECK(bytes_taken(path.text) == shape_bytes(SIZE, "") + committed);
    CHECK_OK(weir_view_unmap(&view));
}

static bool all_was_met(void)
{
    return model->committed_ok > 0 && model->no_space > 0 && model->writes > 0;
}

/* Rounds more than asked for where the machine is slow. */
static void storm(uint64_t seed, uint64_t rounds)
{
    uint64_t kills = 0;
    weir_section *section = make(SIZE);
    for (uint64_t round = 0; round < rounds || !all_was_met(); round++) {
        pid_t workers[WORKERS];
        bool gently = round % 2 == 0; /* else this process only looks, and all are killed in the end */
        SET(model->stop, 0u);
        if (!gently) {
            CHECK_OK(weir_section_close(section));
            section = open_as(NAME, WEIR_READ_ONLY);
        }
        for (uint32_t w = 0; w < WORKERS; w++)
            workers[w] = start_worker(w, seed + support_random(&seed));
        for (int step_number = 0; step_number < 30; step_number++) {
            uint32_t w = (uint32_t)(support_random(&seed) % WORKERS);
            (void)nanosleep(&(struct timespec){ .tv_nsec = (long)(support_random(&seed) % 5000000) }, NULL);
            compare(section);
            CHECK(kill(workers[w], SIGKILL) == 0);
            CHECK(support_wait(workers[w]) == -SIGKILL); /* else it has said why it ended */
            kills++;
            workers[w] = start_worker(w, seed + support_random(&seed));
        }
        SET(model->stop, 1u);
        for (uint32_t w = 0; w < WORKERS; w++) {
            if (!gently)
                (void)kill(workers[w], SIGKILL);
            int status = support_wait(workers[w]);
            CHECK(status == 0 || (!gently && status == -SIGKILL));
        }
        if (!gently) {
            CHECK_OK(weir_section_close(section));
            section = open_as(NAME, WEIR_READ_WRITE);
        }
        compare(section);
        between_rounds(section, &seed);
    }
    (void)printf("%llu kills, %llu commits, %llu refused for space, %llu granules written\n",
                 (unsigned long long)kills, (unsigned long long)model->committed_ok,
                 (unsigned long long)model->no_space, (unsigned long long)model->writes);
    end(section);
}

static void unmount(void)
{
    (void)umount2(dir, MNT_DETACH);
}

int main(void)
{
    dir = support_shm_dir();
    path = section_path(dir, NAME);
    if (unshare(CLONE_NEWNS) != 0)
        support_skip("a mount namespace of one's own is not permitted here: %s", strerror(errno));
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("weir", dir, "tmpfs", MS_NOSUID | MS_NODEV, "size=4m") != 0)
        support_skip("mounting a tmpfs is not permitted here: %s", strerror(errno));
    CHECK(atexit(unmount) == 0);
    model = mmap(NULL, sizeof *model, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(model != MAP_FAILED);
    up_to_the_last_page();
    killed_at_each_step();
    stopped_in_the_middle_it_keeps_others_out_for_two_seconds_at_most();
    storm(support_seed(), support_count(24));
    what_a_refused_commit_had_serves_the_next();
    what_a_killed_commit_had_serves_the_next();
    CHECK(support_entries(dir, true) == 0);
    return 0;
}
