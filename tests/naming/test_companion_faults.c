/* Each system call that a companion's life makes fails, is the last of its process, or has another's clean before it:
 * the statuses are companion.h's, nothing leaks, and no FIFO is left that nobody knows of. */
#include "companions.h"
#include "faults_kinds.h"
#include "faults_peer.h"

static int had = -1; /* the descriptor that make or open gave */

static void drop_fd(struct scene *s)
{
    (void)s;
    if (had >= 0)
        weir_companion_close(had);
    had = -1;
}

static void have_held(struct scene *s) /* slot 0, of a section that another has too */
{
    have_joined(s);
    s->end = drop_fd;
}
static void have_made(struct scene *s)
{
    int fd;
    have_held(s);
    CHECK_OK(weir_companion_make(s->handle, 0, &fd));
    weir_companion_close(fd);
}
static void have_made_alone(struct scene *s)
{
    have_handle(s);
    CHECK_OK(weir_participant_claim(s->handle, 0, 1, &s->slot));
    CHECK_OK(weir_companion_make(s->handle, 0, &had));
    drop_fd(s);
}
static void have_held_beside_orphan(struct scene *s)
{
    have_held(s);
    CHECK(mkfifo(companion_path(s->dir, s->name, 0).text, 0600) == 0);
}
static void have_orphan(struct scene *s) /* beside a section that is there no more */
{
    if (strncmp(s->name, "Local", 5) == 0)
        CHECK(mkdir(local_dir(s->dir).text, 0700) == 0);
    CHECK(mkfifo(companion_path(s->dir, s->name, 0).text, 0600) == 0);
}

/* A section of another mode, and, if this is root, of another group, than a new FIFO has. */
static void have_wider_other(struct scene *s)
{
    bool root = geteuid() == 0;
    CHECK_OK(weir_section_create(&s->other, s->name, SIZE,
                                 &(weir_section_options){ .slots = 4, .mode = 0660, .group = STRANGER,
                                                          .flags = root ? WEIR_SET_GROUP : 0u }));
}
static void have_wider_held(struct scene *s)
{
    CHECK_OK(weir_section_open(&s->handle, s->name, &(weir_section_options){ .mode = 0660 }));
    claim_slot(s->handle, 0);
    s->end = drop_fd;
}

static weir_status do_make(struct scene *s) { return weir_companion_make(s->handle, 0, &had); }
static weir_status do_make_umask(struct scene *s)
{
    mode_t before = umask(0777);
    weir_status status = do_make(s);
    umask(before);
    return status;
}
static weir_status do_open_companion(struct scene *s) { return weir_companion_open(s->handle, 0, &had); }
static weir_status do_remove_companion(struct scene *s) { return weir_companion_remove(s->handle, 0); }
static weir_status do_clean_all(struct scene *s) { return (void)s, weir_section_clean(NULL, NULL); }

/* What there is, the header knows of. */
static void check_known(struct scene *s, const char *text)
{
    path_text section = section_path(s->dir, s->name);
    bool denied = plan.error == ENOENT && plan.failed > 0; /* a fault said that it is not there, and was believed */
    if (exists(section.text) && !denied)
        EXPECT(!is_fifo(companion_path(s->dir, s->name, 0).text) || is_noted(section.text, 0),
               "%s: a FIFO is there, and the header knows nothing of it", text);
}

static void check_made(struct scene *s, weir_status status, const char *text)
{
    path_text path = companion_path(s->dir, s->name, 0);
    check_known(s, text);
    if (status == WEIR_OK)
        EXPECT(had >= 0 && is_fifo(path.text) && is_noted(section_path(s->dir, s->name).text, 0), "%s: it is not there",
               text);
    else
        EXPECT(had < 0, "%s: touched its output", text);
    drop_fd(s);
}
static void check_still(struct scene *s, weir_status status, const char *text)
{
    check_known(s, text);
    EXPECT(status == WEIR_OK || had < 0, "%s: touched its output", text);
    drop_fd(s);
}
static void check_left(struct scene *s, weir_status status, const char *text)
{
    (void)status;
    check_known(s, text);
    if (plan.error == ENOENT)
        (void)unlink(companion_path(s->dir, s->name, 0).text);
}
static void check_gone(struct scene *s, weir_status status, const char *text)
{
    check_known(s, text);
    EXPECT(status != WEIR_OK || plan.error == ENOENT || !exists(companion_path(s->dir, s->name, 0).text),
           "%s: it is still there", text);
    if (plan.error == ENOENT)
        (void)unlink(companion_path(s->dir, s->name, 0).text);
}
static void check_cleaned(struct scene *s, weir_status status, const char *text)
{
    (void)status;
    EXPECT(!exists(companion_path(s->dir, s->name, 0).text) || plan.failed > 0, "%s: it is still there", text);
    CHECK_OK(weir_section_clean(NULL, NULL));
    EXPECT(files_under(s->dir) == 0, "%s: and stays", text);
}
static void check_left_none(struct scene *s, weir_status status, const char *text)
{
    path_text path = companion_path(s->dir, s->name, 0);
    (void)status;
    if (exists(path.text) && !exists(section_path(s->dir, s->name).text)) { /* the bits, or it, could not be seen to */
        EXPECT(plan.failed > 0, "%s: it is left", text);
        CHECK_OK(weir_section_clean(NULL, NULL));
        EXPECT(!exists(path.text), "%s: and stays", text);
    }
}

static const struct operation operations[] = {
    { "make", have_other, have_held, do_make, WEIR_OK, ALL, VANISHES, check_made },
    { "make under a umask", have_other, have_held, do_make_umask, WEIR_OK, ALL, VANISHES, check_made },
    { "make, of another mode", have_wider_other, have_wider_held, do_make, WEIR_OK, ALL, VANISHES, check_made },
    { "make where one is", have_other, have_made, do_make, WEIR_OK, ALL, VANISHES, check_made },
    { "make where an orphan is", have_other, have_held_beside_orphan, do_make, WEIR_OK, ALL, VANISHES, check_made },
    { "open", have_other, have_made, do_open_companion, WEIR_OK, PERMISSION | NO_MEMORY | OS, VANISHES, check_still },
    { "remove", have_other, have_made, do_remove_companion, WEIR_OK, OS, 0, check_gone },
    { "leave", have_other, have_made, do_leave, WEIR_OK, OS, ONCE, check_left },
    { "close, the last", NULL, have_made_alone, do_close, WEIR_OK, 0, ONCE, check_left_none },
    { "clean", NULL, have_orphan, do_clean_all, WEIR_OK, ALL, ONCE, check_cleaned },
};

/* An open's failures have no text, for a signal handler's sake. */
static bool run_textless(void)
{
    struct weir_section *section;
    int fd = -7;
    static const struct { enum call call; int error; weir_status status; } rows[] = {
        { OPENAT, EMFILE, WEIR_E_NO_MEMORY }, { OPENAT, ENFILE, WEIR_E_NO_MEMORY },
        { OPENAT, EACCES, WEIR_E_PERMISSION },
        { OPENAT, ENOENT, WEIR_E_NOT_FOUND }, { OPENAT, ELOOP, WEIR_E_NOT_WEIR }, { OPENAT, EIO, WEIR_E_OS },
        { FSTAT, EIO, WEIR_E_OS },
    };
    section = have_companion("Global/textless", 0, &with_slots, &had);
    CHECK_STATUS(weir_section_open(&(weir_section *){ NULL }, "not a name", NULL), WEIR_E_NAME);
    char detail[512];
    (void)snprintf(detail, sizeof detail, "%s", weir_error_detail());
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned fds = open_fds();
        for (long nth = 1; nth <= (rows[i].call == FSTAT ? 2 : 1); nth++) {
            arm(rows[i].call, rows[i].error, nth, 1);
            CHECK_KEEPS_ERRNO(weir_companion_open(section, 0, &fd), rows[i].status);
            disarm();
            cr_assert(fd == -7 && open_fds() == fds && plan.failed == 1);
            cr_assert_str_eq(weir_error_detail(), detail);
        }
    }
    drop_fd(NULL);
    CHECK_OK(weir_section_close(section));
    return true;
}

Test(companion_faults, a_failing_call_gives_a_status_and_leaves_nothing_unknown)
{
    static struct operation with_text[sizeof operations / sizeof operations[0]];
    size_t count = 0;
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++)
        if (operations[i].act != do_open_companion)
            with_text[count++] = operations[i];
    walk_faults(prepare(), with_text, count,
                (const enum call[]){ MKFIFOAT, OPENAT, FSTAT, FSTATAT, FCHMOD, FCHMODAT, UNLINKAT, LOCK, CLOSE, PREAD,
                                     GETDENTS, FCHOWN }, geteuid() == 0 ? 12 : 11);
}

Test(companion_faults, an_open_that_fails_has_a_status_and_no_text)
{
    (void)prepare();
    cr_assert(run_textless());
}

/* ---- kills ---- */

static void left_known(struct scene *s, long n, const char *text)
{
    weir_section *section;
    path_text path = companion_path(s->dir, s->name, 0);
    check_known(s, text);
    if (!exists(section_path(s->dir, s->name).text)) {
        EXPECT(!exists(path.text) || s->other == NULL, "%s: it outlived its section", text);
        CHECK_OK(weir_section_clean(NULL, NULL)); /* an orphan from the start */
        return;
    }
    if (n % 2 != 0) { /* the slot's next holder has it; else it goes with the section */
        CHECK_OK(weir_section_open_or_create(&section, s->name, SIZE,
                                             &(weir_section_options){ .slots = 4, .mode = 0660 }, NULL));
        claim_slot(section, 0);
        weir_status status = weir_companion_make(section, 0, &had);
        EXPECT(status == WEIR_OK, "%s: then make gave %s (%s)", text, weir_status_name(status), weir_error_detail());
        drop_fd(s);
        CHECK_OK(weir_section_close(section));
        EXPECT(!exists(path.text), "%s: it is there when its holder has left", text);
    }
    if (s->other != NULL) {
        CHECK_OK(weir_section_close(s->other));
        s->other = NULL;
        EXPECT(!exists(path.text), "%s: it outlived its section", text);
    }
}

static void have_made_stale(struct scene *s)
{
    static unsigned char image[WEIR_SECTION_HEADER + SIZE];
    have_made_alone(s);
    path_text path = section_path(s->dir, s->name);
    CHECK(file_read(path.text, image, sizeof image) == sizeof image);
    CHECK_OK(weir_section_close(s->handle));
    s->handle = NULL;
    have_orphan(s);
    file_write(path.text, image, sizeof image, 0600);
}

static const struct death deaths[] = {
    { "make", have_other, have_held, do_make, WEIR_OK, 0, left_known },
    { "make under a umask", have_other, have_held, do_make_umask, WEIR_OK, 0, left_known },
    { "make, of another mode", have_wider_other, have_wider_held, do_make, WEIR_OK, 0, left_known },
    { "make where one is", have_other, have_made, do_make, WEIR_OK, 0, left_known },
    { "open", have_other, have_made, do_open_companion, WEIR_OK, 0, left_known },
    { "remove", have_other, have_made, do_remove_companion, WEIR_OK, 0, left_known },
    { "leave", have_other, have_made, do_leave, WEIR_OK, 0, left_known },
    { "close, the last", NULL, have_made_alone, do_close, WEIR_OK, 0, left_known },
    { "clean of a stale one's", NULL, have_made_stale, do_clean_all, WEIR_OK, 0, left_known },
    { "clean of an orphan", NULL, have_orphan, do_clean_all, WEIR_OK, 0, left_known },
    { "replacing a stale one's section", NULL, have_made_stale, do_create, WEIR_OK, 0, left_known },
};

Test(companion_faults, killed_at_any_call_it_leaves_none_that_nobody_knows_of) { WALK_KILLS(deaths); }

/* ---- another between any two calls ---- */

/* A section is there, and its slot's holder makes a companion where an orphan was, while another cleans: the FIFO that
 * make gave is the one that a waker finds. */
static void check_meeting(const char *dir, const char *name, bool orphan, deed told)
{
    for (long n = 1;; n++) {
        struct scene s;
        int theirs;
        scene_begin(&s, dir, name);
        have_handle(&s);
        claim_slot(s.handle, 0);
        if (orphan)
            CHECK(mkfifo(companion_path(dir, name, 0).text, 0600) == 0);
        peer_start(name, &with_slots, NULL);
        peer.deed = told;
        arm_meeting(n, peer_acts);
        CHECK_OK(do_make(&s));
        long total = plan.total;
        disarm();
        if (peer.waiting)
            CHECK(peer_answer() >= 0);
        CHECK_OK(weir_companion_open(s.handle, 0, &theirs));
        EXPECT(write(theirs, "x", 1) == 1 && is_readable(had), "%s, before call %ld of make: it wakes another FIFO",
               name, n);
        weir_companion_close(theirs);
        drop_fd(&s);
        CHECK(close(peer.to) == 0 && support_wait(peer.pid) == 0 && close(peer.from) == 0);
        scene_end(&s);
        check_clean(dir, name);
        if (n > total)
            return;
    }
}

Test(companion_faults, another_cleans_between_any_two_calls_of_make)
{
    const char *dir = prepare();
    for (int i = 0; i < 4; i++)
        check_meeting(dir, scopes[i % 2], i / 2 != 0, peer_cleans);
    check_no_complaints();
}

/* The other way round: while an orphan is being cleaned, another makes the section and takes the FIFO over. */
static int peers_fd = -1;
static void peer_takes_over(weir_section **mine)
{
    peer_has(mine);
    claim_slot(*mine, 0);
    CHECK_OK(weir_companion_make(*mine, 0, &peers_fd));
}
static void peer_was_woken(weir_section **mine)
{
    int fd;
    CHECK_OK(weir_companion_open(*mine, 0, &fd));
    CHECK(write(fd, "x", 1) == 1 && is_readable(peers_fd));
    weir_companion_close(fd);
    weir_companion_close(peers_fd);
}

Test(companion_faults, an_orphan_is_taken_over_between_any_two_calls_of_clean)
{
    const char *dir = prepare();
    for (int i = 0; i < 2; i++) {
        for (long n = 1;; n++) {
            struct scene s;
            scene_begin(&s, dir, scopes[i]);
            have_orphan(&s);
            peer_start(scopes[i], &with_slots, NULL);
            peer.deed = peer_takes_over;
            arm_meeting(n, peer_acts);
            CHECK_OK(do_clean_all(&s));
            long total = plan.total;
            disarm();
            if (total >= n) {
                if (peer.waiting)
                    CHECK(peer_answer() == 1);
                CHECK(peer_does(peer_was_woken) == 1);
                CHECK(peer_does(peer_closes) == 0);
            }
            CHECK(close(peer.to) == 0 && support_wait(peer.pid) == 0 && close(peer.from) == 0);
            scene_end(&s);
            check_clean(dir, scopes[i]);
            if (n > total)
                break;
        }
    }
    check_no_complaints();
}
