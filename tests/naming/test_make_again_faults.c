/* A stale Global section of another user's is made again in place: each system call of that fails, is the last of its
 * process, or is when others come.  Whoever comes next can make it again, or its owner's next use takes it away. */
#include "faults_peer.h"

static const weir_section_options shared = { .mode = 0666, .slots = 4 };
static const weir_section_options shared_lasting = { .mode = 0666, .flags = WEIR_PERSISTENT };
static const weir_section_options shared_room = { .mode = 0666, .flags = WEIR_RESERVE, .commit_bytes = 1 };
static const weir_section_options shared_otherwise = { .mode = 0777 };

/* Root's, in a directory where only root may remove it. */
static void have_roots_stale(struct scene *s)
{
    static unsigned char image[WEIR_SECTION_HEADER + 2 * SIZE];
    weir_section *section;
    path_text path = section_path(s->dir, s->name);
    CHECK_OK(weir_section_create(&section, s->name, 2 * SIZE, &shared));
    stamp(section, STAMP);
    CHECK(file_read(path.text, image, sizeof image) == sizeof image);
    CHECK_OK(weir_section_close(section));
    file_write(path.text, image, sizeof image, 0666);
}

static weir_status create_shared(struct scene *s) { return make_as(s, &shared); }
static weir_status create_shared_lasting(struct scene *s) { return make_as(s, &shared_lasting); }
static weir_status create_shared_otherwise(struct scene *s) { return make_as(s, &shared_otherwise); }
static weir_status create_shared_room(struct scene *s)
{
    return weir_section_create(&s->handle, s->name, ROOM, &shared_room);
}
static weir_status open_shared(struct scene *s) { return open_as(s, &(weir_section_options){ .mode = 0777 }); }
static weir_status observe_shared(struct scene *s)
{
    return open_as(s, &(weir_section_options){ .mode = 0777, .access = WEIR_READ_ONLY });
}
static weir_status close_it(struct scene *s) { return do_close(s); }
static weir_status use_another(struct scene *s)
{
    struct scene another = { .dir = s->dir, .name = "Global/another" };
    weir_status status = do_create(&another);
    return status == WEIR_OK ? do_close(&another) : status;
}

static weir_status do_make_again(struct scene *s) { return as_user(STRANGER, create_shared, s); }
static weir_status do_make_lasting(struct scene *s) { return as_user(STRANGER, create_shared_lasting, s); }
static weir_status do_make_room(struct scene *s) { return as_user(STRANGER, create_shared_room, s); }
static weir_status do_make_otherwise(struct scene *s) { return as_user(STRANGER, create_shared_otherwise, s); }
static weir_status do_open_stale(struct scene *s) { return as_user(STRANGER, open_shared, s); }
static weir_status do_remove_stale(struct scene *s) { return as_user(STRANGER, do_remove, s); }

static const char *prepare_shared(void)
{
    if (geteuid() != 0) {
        (void)puts("SKIPPED: needs root, to be several users");
        cr_skip_test("needs root, to be several users");
    }
    const char *dir = prepare();
    CHECK(chmod(dir, 01777) == 0);
    return dir;
}

/* ---- failing calls ---- */

/* Nobody takes what is there for a section in use, nor its old content for a new one's. */
static void check_made(struct scene *s, weir_status status, const char *text)
{
    weir_section_info info;
    CHECK_OK(weir_section_stat(s->name, &info));
    if (status == WEIR_OK) {
        EXPECT(info.state == WEIR_SECTION_LIVE && info.users == 1 && info.owner == 0 && info.mode == 0666,
               "%s: OK, and state %d, %u users", text, (int)info.state, info.users);
        EXPECT(info.size != SIZE || stamp_of(s->handle) == 0, "%s: has the content of the dead", text);
        return;
    }
    EXPECT(info.state == WEIR_SECTION_STALE && info.why == WEIR_OK && info.users == 0, "%s: state %d (%s)", text,
           (int)info.state, weir_status_name(info.why));
    for (int look = 0; look < 2; look++) {
        struct scene another = { .name = s->name };
        weir_status seen = as_user(GUARD, look == 0 ? open_shared : observe_shared, &another);
        EXPECT(seen == WEIR_E_NOT_FOUND, "%s: then another's %s gave %s", text, look == 0 ? "open" : "look",
               weir_status_name(seen));
        CHECK_OK(weir_section_close(another.handle));
    }
}

/* It is there as it was. */
static void check_left(struct scene *s, weir_status status, const char *text)
{
    struct stat st;
    (void)status;
    EXPECT(stat(section_path(s->dir, s->name).text, &st) == 0 && st.st_size == WEIR_SECTION_HEADER + 2 * SIZE,
           "%s: it is not as it was", text);
}

#define SHARED GLOBAL_ONLY

static const struct operation operations[] = {
    { "make again", NULL, have_roots_stale, do_make_again, WEIR_OK, ALL, SHARED, check_made },
    { "make again, for the owner", NULL, have_roots_stale, do_make_again, WEIR_OK, ALL, SHARED | ONCE, check_made },
    { "make again, to persist", NULL, have_roots_stale, do_make_lasting, WEIR_OK, ALL, SHARED, check_made },
    { "make again, reserved", NULL, have_roots_stale, do_make_room, WEIR_OK, ALL, SHARED, check_made },
    { "not to be made again", NULL, have_roots_stale, do_make_otherwise, WEIR_E_PERMISSION, ALL, SHARED, check_left },
    { "open of another's stale one", NULL, have_roots_stale, do_open_stale, WEIR_E_NOT_FOUND, ALL, SHARED, check_left },
    { "remove of another's stale one", NULL, have_roots_stale, do_remove_stale, WEIR_E_PERMISSION,
      PERMISSION | NO_MEMORY | UNSUPPORTED | OS, SHARED | ONCE, NULL },
};

#define WALK(...) WALK_FAULTS_IN(prepare_shared(), operations, __VA_ARGS__)

Test(make_again_faults, files_and_locks_fail_and_whoever_comes_next_can_make_it_again)
{
    WALK(OPENAT, CLOSE, FSTAT, FSTATAT, UNLINKAT, LOCK, UNLOCK);
}
Test(make_again_faults, memory_fails_and_whoever_comes_next_can_make_it_again)
{
    WALK(FALLOCATE, FTRUNCATE, PREAD, MMAP, MUNMAP, MADVISE, FSTATVFS, GETRLIMIT, GETRANDOM);
}

/* ---- the last call of a process ---- */

static void left_unmade(struct scene *s, long n, const char *text)
{
    weir_section_info info;
    path_text path = section_path(s->dir, s->name);
    CHECK_OK(weir_section_stat(s->name, &info));
    bool lasts = (info.flags & WEIR_PERSISTENT) != 0;
    EXPECT(info.state == (lasts ? WEIR_SECTION_UNUSED : WEIR_SECTION_STALE) && info.why == WEIR_OK, "%s: state %d (%s)",
           text, (int)info.state, weir_status_name(info.why));
    if (lasts)
        return;
    if (n % 4 == 1) { /* another than the first makes it again, */
        weir_status status = as_user(GUARD, create_shared, s);
        EXPECT(status == WEIR_OK, "%s: then another's create gave %s (%s)", text, weir_status_name(status),
               weir_error_detail());
        if (status == WEIR_OK)
            check_made(s, status, text);
        CHECK_OK(as_user(GUARD, close_it, s));
    } else if (n % 4 == 2) { /* its owner does, */
        weir_status status = create_shared(s);
        EXPECT(status == WEIR_OK, "%s: then its owner's create gave %s (%s)", text, weir_status_name(status),
               weir_error_detail());
        if (status == WEIR_OK)
            check_made(s, status, text);
    } else if (n % 4 == 3) { /* its owner removes it, */
        weir_status status = weir_section_remove(s->name);
        EXPECT(status == WEIR_OK && !exists(path.text), "%s: then its owner's remove gave %s", text,
               weir_status_name(status));
    } else { /* or his use of another name takes it. */
        CHECK_OK(as_user(GUARD, use_another, s));
        EXPECT(exists(path.text), "%s: a stranger has removed it", text);
        CHECK_OK(use_another(s));
        EXPECT(!exists(path.text), "%s: its owner's use of another name has left it", text);
    }
}

static void left_as_it_was(struct scene *s, long n, const char *text)
{
    (void)n;
    check_left(s, WEIR_OK, text);
}

static const struct death deaths[] = {
    { "make again", NULL, have_roots_stale, do_make_again, WEIR_OK, SHARED, left_unmade },
    { "make again, to persist", NULL, have_roots_stale, do_make_lasting, WEIR_OK, SHARED, left_unmade },
    { "make again, reserved", NULL, have_roots_stale, do_make_room, WEIR_OK, SHARED, left_unmade },
    { "not to be made again", NULL, have_roots_stale, do_make_otherwise, WEIR_E_PERMISSION, SHARED, left_as_it_was },
    { "open of another's stale one", NULL, have_roots_stale, do_open_stale, WEIR_E_NOT_FOUND, SHARED, left_as_it_was },
};

/* Each death four times: with each that may come next. */
Test(make_again_faults, killed_at_any_call_whoever_comes_next_makes_it_again_or_its_owner_takes_it)
{
    const char *dir = prepare_shared();
    for (size_t i = 0; i < sizeof deaths / sizeof deaths[0]; i++)
        for (int turn = 0; turn < 8; turn++)
            for (long n = 1; n > 0;) {
                char text[256];
                struct scene s;
                (void)snprintf(text, sizeof text, "%s, killed %s call %ld, turn %d", deaths[i].text,
                               turn % 2 != 0 ? "after" : "before", n, turn / 2);
                scene_begin(&s, dir, scopes[1]);
                deaths[i].before(&s);
                pid_t child = fork();
                CHECK(child >= 0);
                if (child == 0) {
                    end_with_parent();
                    arm_kill(n, turn % 2 != 0);
                    weir_status status = deaths[i].act(&s);
                    disarm();
                    CHECK_STATUS(status, deaths[i].fine);
                    _exit(42);
                }
                int end = support_wait(child);
                CHECK(end == 42 || end == -SIGKILL);
                deaths[i].left(&s, turn / 2, text);
                scene_end(&s);
                check_clean(dir, text);
                n = end == 42 ? 0 : n + 1;
            }
    check_no_complaints();
}

static weir_status die_in_init(void *content, uint64_t size_bytes, void *arg)
{
    (void)content;
    (void)size_bytes;
    (void)arg;
    (void)kill(getpid(), SIGKILL);
    return WEIR_OK;
}

static weir_status create_and_die(struct scene *s)
{
    return make_as(s, &(weir_section_options){ .mode = 0666, .flags = WEIR_PERSISTENT, .init = die_in_init });
}

/* What was to persist is not taken for whole before it is. */
Test(make_again_faults, killed_while_it_is_filled_it_is_unfinished)
{
    struct scene s;
    weir_section_info info;
    scene_begin(&s, prepare_shared(), scopes[1]);
    have_roots_stale(&s);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        _exit((int)as_user(STRANGER, create_and_die, &s));
    cr_assert_eq(support_wait(child), -SIGKILL);
    CHECK_OK(weir_section_stat(s.name, &info));
    cr_assert(info.state == WEIR_SECTION_STALE && info.why == WEIR_OK, "state %d", (int)info.state);
    CHECK_STATUS(as_user(GUARD, open_shared, &s), WEIR_E_NOT_FOUND);
    scene_end(&s);
    check_clean(s.dir, "killed while it was filled");
}

/* ---- others come in between ---- */

/* Each may find it made by another whom he does not trust. */
static void peer_makes(weir_section **mine)
{
    weir_status status = *mine != NULL ? WEIR_OK : weir_section_create(mine, peer.name, SIZE, &shared);
    CHECK(status == WEIR_OK || status == WEIR_E_EXISTS || status == WEIR_E_PERMISSION);
}
static void peer_opens(weir_section **mine)
{
    weir_status status = weir_section_open(mine, peer.name, &(weir_section_options){ .mode = 0777 });
    CHECK(status == WEIR_OK || status == WEIR_E_NOT_FOUND || status == WEIR_E_PERMISSION);
    CHECK(status != WEIR_OK || stamp_of(*mine) != STAMP); /* made again: not the dead one's */
}
static void peer_observes(weir_section **mine)
{
    weir_section *observer = NULL;
    (void)mine;
    weir_status status = weir_section_open(&observer, peer.name,
                                           &(weir_section_options){ .mode = 0777, .access = WEIR_READ_ONLY });
    CHECK(status == WEIR_OK || status == WEIR_E_NOT_FOUND || status == WEIR_E_PERMISSION);
    if (status == WEIR_OK)
        CHECK(stamp_of(observer) != STAMP); /* in use again: by who made it again */
    CHECK_OK(weir_section_close(observer));
}
static void peer_uses_another(weir_section **mine)
{
    struct scene another = { .name = "Global/another" };
    (void)mine;
    CHECK_OK(use_another(&another));
}

static const struct meeting {
    const char *text;
    uid_t uid;
    deed deed;
} meetings[] = {
    { "its owner makes it", 0, peer_makes },       { "its owner opens it", 0, peer_opens },
    { "its owner uses another", 0, peer_uses_another }, { "its owner cleans", 0, peer_cleans },
    { "its owner removes it", 0, peer_removes },   { "its owner observes it", 0, peer_observes },
    { "a third makes it", GUARD, peer_makes },     { "a third opens it", GUARD, peer_opens },
    { "a third observes it", GUARD, peer_observes },
};

static weir_status check_mine(struct scene *s)
{
    check_named(s->handle, s->name, 5);
    return WEIR_OK;
}

/* At the n-th call of making again the peer comes.  False when it had fewer. */
static bool run_meeting(const char *dir, const struct meeting *m, long n)
{
    char text[256];
    (void)snprintf(text, sizeof text, "make again, %s, before call %ld", m->text, n);
    struct scene s;
    scene_begin(&s, dir, scopes[1]);
    have_roots_stale(&s);
    peer.deed = m->deed;
    peer.uid = m->uid;
    peer_start(s.name, &shared, NULL);
    arm_meeting(n, peer_acts);
    weir_status status = do_make_again(&s);
    disarm();
    bool met = plan.total >= n;
    EXPECT(status == WEIR_OK || status == WEIR_E_EXISTS, "%s: gave %s (%s)", text, weir_status_name(status),
           weir_error_detail());
    if (peer.waiting)
        (void)peer_answer();
    if (s.handle != NULL)
        CHECK_OK(as_user(STRANGER, check_mine, &s));
    int has = peer_does(peer_verifies);
    EXPECT(has >= 0, "%s: the peer has said what it found", text);
    EXPECT(s.handle == NULL || has <= 0 || stamp_of(s.handle) == 777, "%s: two sections of one name", text);
    EXPECT(s.handle != NULL || has == 1 || m->deed == peer_observes || m->deed == peer_uses_another ||
               m->deed == peer_cleans, "%s: neither has it", text);
    CHECK_OK(as_user(STRANGER, close_it, &s));
    peer_end(false, text);
    CHECK_OK(as_user(STRANGER, use_another, &s)); /* what is left of his own */
    CHECK_OK(as_user(GUARD, use_another, &s));
    scene_end(&s);
    check_clean(dir, text);
    return met;
}

Test(make_again_faults, others_come_between_any_two_calls_and_there_are_never_two_sections_of_one_name)
{
    const char *dir = prepare_shared();
    for (size_t i = 0; i < sizeof meetings / sizeof meetings[0]; i++) {
        unsigned enough = complaints + COMPLAINTS_EACH;
        for (long n = 1; complaints < enough && run_meeting(dir, &meetings[i], n);)
            n++;
    }
    check_no_complaints();
}

/* An observer of it, who has a view of its end, is not cut off from that. */
Test(make_again_faults, a_stale_one_that_an_observer_has_mapped_is_not_made_again_under_him)
{
    struct scene s;
    unsigned char bytes[SIZE];
    scene_begin(&s, prepare_shared(), scopes[1]);
    section_job job = { .name = s.name, .size = 2 * SIZE, .options = shared, .stamp = STAMP };
    holder h = holder_start(section_job_begin, NULL, &job);
    CHECK_OK(weir_section_open(&s.other, s.name, &(weir_section_options){ .mode = 0666, .access = WEIR_READ_ONLY }));
    weir_view view;
    CHECK_OK(weir_view_map(&view, s.other, 0, 0, WEIR_READ_ONLY));
    holder_kill(&h);
    CHECK_STATUS(do_make_again(&s), WEIR_E_BUSY);
    uint64_t first;
    memcpy(&first, view.base, sizeof first);
    cr_assert_eq(first, STAMP);
    cr_assert(can_read((unsigned char *)view.base + SIZE, bytes, sizeof bytes));
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(s.other));
    s.other = NULL;
    CHECK_OK(do_make_again(&s));
    check_made(&s, WEIR_OK, "made again");
    check_no_complaints();
    scene_end(&s);
    check_clean(s.dir, "made again");
}
