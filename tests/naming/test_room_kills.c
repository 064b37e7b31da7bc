/* A process is killed before and after each system call of committing and giving back reserved room: what is committed
 * is memory, also where no more is to be had, and what is committed later is zeroed. */
#include "faults_walk.h"

#include <sched.h>
#include <sys/mount.h>

/* ---- beside others ---- */

/* A prefix of what was asked for is committed, of whole words of the map; nobody is kept from the rest. */
static void left_committed(struct scene *s, long n, const char *text)
{
    unsigned count = count_committed(s->other) - 1, word = 64 - COMMIT_FIRST;
    (void)n;
    EXPECT(count == 0 || count == word || count == COMMIT_END - COMMIT_FIRST, "%s: %u granules are committed", text,
           count);
    EXPECT(count == 0 || (is_committed(s->other, COMMIT_FIRST) && is_committed(s->other, 63)),
           "%s: it is no prefix that is committed", text);
    EXPECT(is_backed(section_path(s->dir, s->name).text, s->other), "%s: a hole is promised", text);
    CHECK_OK(weir_view_map(&s->view, s->other, 0, 0, WEIR_READ_WRITE));
    int64_t from = monotonic_ns();
    CHECK_OK(weir_section_commit(s->other, 0, 0));
    EXPECT(monotonic_ns() - from < WAIT_NS, "%s: a dead process's lock was waited for", text);
    EXPECT(count_committed(s->other) == GRANULES && reaches_what_is_committed(s->other, &s->view), "%s: not all", text);
    EXPECT(holds(&s->view, 0, 1, PATTERN), "%s: what was committed is not as it was", text);
    EXPECT(holds(&s->view, 1, GRANULES, ZEROS), "%s: it is not zeroed", text);
    CHECK_OK(weir_view_unmap(&s->view));
}

static void left_to_observer(struct scene *s, long n, const char *text)
{
    weir_view view;
    (void)n;
    CHECK_OK(weir_view_map(&view, s->other, 0, 0, WEIR_READ_ONLY));
    EXPECT(count_committed(s->other) == GRANULES && holds(&view, 0, GRANULES, PATTERN), "%s: something was done", text);
    CHECK_OK(weir_view_unmap(&view));
}

static void have_observed_room(struct scene *s) /* beside an observer only */
{
    have_filled_room(s);
    CHECK_OK(weir_section_open(&s->other, s->name, &observing));
    CHECK_OK(weir_view_unmap(&s->had));
    CHECK_OK(weir_section_close(s->handle));
    s->handle = NULL;
}

static void have_view_of_less(struct scene *s) /* than another handle has committed since */
{
    struct scene another = { .name = s->name };
    have_view(s);
    have_second(&another);
    CHECK_OK(do_commit(&another));
    CHECK_OK(do_close(&another));
}

static const struct death shared_deaths[] = {
    { "commit", have_room_other, have_view, do_commit, WEIR_OK, LOCAL_ONLY, left_committed },
    { "commit in a Global one", have_room_other, have_view, do_commit, WEIR_OK, GLOBAL_ONLY, left_committed },
    { "decommit under an observer", have_observed_room, have_view, do_decommit, WEIR_E_IN_USE, LOCAL_ONLY,
      left_to_observer },
    { "refresh", have_room_other, have_view_of_less, do_refresh, WEIR_OK, LOCAL_ONLY, left_committed },
    { "map reserved room", have_room_other, have_second, do_map, WEIR_OK, LOCAL_ONLY, left_committed },
    { "unmap", have_room_other, have_view, do_unmap, WEIR_OK, LOCAL_ONLY, left_committed },
};

Test(room_kills, killed_at_any_call_of_commit_a_prefix_is_committed_and_others_can_commit_the_rest)
{
    WALK_KILLS(shared_deaths);
}

/* ---- alone, in a file system that is full ---- */

static path_text filler;

/* Nothing is left to be had: what was promised must be there. */
static void fill_up(const struct scene *s)
{
    struct statvfs fs;
    (void)snprintf(filler.text, sizeof filler.text, "%s/filler", s->dir);
    int fd = open(filler.text, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && fstatvfs(fd, &fs) == 0);
    CHECK(fs.f_bavail == 0 || fallocate(fd, 0, 0, (off_t)(fs.f_bavail * fs.f_frsize)) == 0);
    CHECK(fstatvfs(fd, &fs) == 0 && fs.f_bavail == 0 && close(fd) == 0);
}

static uint64_t room_left(const char *dir)
{
    struct statvfs fs;
    CHECK(statvfs(dir, &fs) == 0);
    return (uint64_t)fs.f_bavail * fs.f_frsize;
}

/* The next opener finds all that is committed to be memory, and what was there; the rest is zero when he commits it. */
static void left_lasting(struct scene *s, long n, const char *text)
{
    static unsigned char bytes[GRANULE];
    bool was[GRANULES];
    weir_section_info info;
    (void)n;
    CHECK_OK(weir_section_stat(s->name, &info));
    EXPECT(info.state == WEIR_SECTION_UNUSED && info.why == WEIR_OK, "%s: state %d", text, (int)info.state);
    fill_up(s);
    weir_status status = weir_section_open(&s->handle, s->name, NULL);
    EXPECT(status == WEIR_OK, "%s: then open gave %s (%s)", text, weir_status_name(status), weir_error_detail());
    if (status != WEIR_OK)
        return;
    CHECK_OK(weir_view_map(&s->had, s->handle, 0, 0, WEIR_READ_WRITE));
    uint64_t hole = GRANULES, other = GRANULES;
    for (uint64_t g = 0; g < GRANULES; g++) {
        was[g] = is_committed(s->handle, g);
        if (was[g] && !holds(&s->had, g, g + 1, EITHER))
            other = g;
        memset(bytes, pattern(g), sizeof bytes);
        if (was[g] && !can_write((unsigned char *)s->had.base + g * GRANULE, bytes, granule_bytes(g)))
            hole = g;
    }
    EXPECT(other == GRANULES, "%s: granule %llu is not as it was", text, (unsigned long long)other);
    EXPECT(hole == GRANULES, "%s: granule %llu is committed, and a hole", text, (unsigned long long)hole);
    EXPECT(reaches_what_is_committed(s->handle, &s->had), "%s: more is reached than what is committed", text);
    CHECK(unlink(filler.text) == 0);
    CHECK_OK(weir_section_commit(s->handle, 0, 0));
    uint64_t dirty = GRANULES;
    for (uint64_t g = 0; g < GRANULES; g++)
        if (!holds(&s->had, g, g + 1, was[g] ? PATTERN : ZEROS))
            dirty = g;
    EXPECT(dirty == GRANULES, "%s: granule %llu, which was %scommitted, reads otherwise when all is committed", text,
           (unsigned long long)dirty, was[dirty % GRANULES] ? "" : "not ");
}

static void have_holes(struct scene *s)
{
    have_filled_room(s);
    CHECK_OK(do_decommit(s));
    CHECK_OK(weir_section_commit(s->handle, 30 * GRANULE, 2 * GRANULE));
    write_pattern(&s->had, 30, 32);
}

static const struct death lone_deaths[] = {
    { "commit, alone", NULL, have_some_room, do_commit_all, WEIR_OK, LOCAL_ONLY, left_lasting },
    { "decommit, alone", NULL, have_filled_room, do_decommit, WEIR_OK, LOCAL_ONLY, left_lasting },
    { "decommit of holes", NULL, have_holes, do_decommit, WEIR_OK, LOCAL_ONLY, left_lasting },
    { "commit of holes", NULL, have_holes, do_commit_all, WEIR_OK, LOCAL_ONLY, left_lasting },
    { "open of a half decommitted one", NULL, have_half_decommitted, do_open, WEIR_OK, LOCAL_ONLY, left_lasting },
    { "close, alone", NULL, have_filled_room, do_unmap, WEIR_OK, LOCAL_ONLY, left_lasting },
};

static void unmount(void)
{
    (void)umount2(getenv("WEIR_SHM_DIR"), MNT_DETACH);
}

/* A file system of its own, which goes with this process. */
static const char *prepare_small(void)
{
    const char *dir = prepare();
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("weir", dir, "tmpfs", MS_NOSUID | MS_NODEV, "size=8m") != 0) {
        (void)printf("SKIPPED: mounting a tmpfs is not permitted here: %s\n", strerror(errno));
        cr_skip_test("mounting a tmpfs is not permitted here");
    }
    CHECK(atexit(unmount) == 0);
    return dir;
}

Test(room_kills, killed_at_any_call_the_next_opener_of_a_full_file_system_touches_no_hole_and_reads_no_old_bytes)
{
    const char *dir = prepare_small();
    uint64_t before = room_left(dir);
    walk_kills(dir, lone_deaths, sizeof lone_deaths / sizeof lone_deaths[0]);
    cr_assert_eq(room_left(dir), before);
}

/* The other way round: the file system is full when it is committed, and then there is room. */
Test(room_kills, a_commit_that_is_refused_promises_no_hole_and_succeeds_when_there_is_room)
{
    struct scene s;
    scene_begin(&s, prepare_small(), "Local/fault");
    have_some_room(&s);
    fill_up(&s);
    CHECK_STATUS(do_commit_all(&s), WEIR_E_NO_SPACE);
    cr_assert_eq(count_committed(s.handle), 1);
    CHECK(truncate(filler.text, 0) == 0);
    int fd = open(filler.text, O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0 && fallocate(fd, 0, 0, (off_t)(room_left(s.dir) - 3 * GRANULE)) == 0 && close(fd) == 0);
    CHECK_STATUS(do_commit_all(&s), WEIR_E_NO_SPACE); /* some of it can be had */
    cr_assert_eq(count_committed(s.handle), 1);
    CHECK_OK(weir_section_commit(s.handle, GRANULE, 3 * GRANULE));
    cr_assert(is_backed(section_path(s.dir, s.name).text, s.handle));
    write_pattern(&s.had, 1, 4);
    cr_assert(holds(&s.had, 0, 4, PATTERN));
    CHECK(unlink(filler.text) == 0);
    CHECK_OK(do_commit_all(&s));
    cr_assert(holds(&s.had, 0, 4, PATTERN) && holds(&s.had, 4, GRANULES, ZEROS));
    scene_end(&s);
    check_clean(s.dir, "a refused commit");
}
