/* Another process opens, closes, makes, removes, cleans or dies between any two system calls of a named section's
 * life: there are never two sections of one name, none without one, and none that nobody has is left. */
#include "faults_kinds.h"
#include "faults_peer.h"

enum { FOUND_NONE = 1, FOUND_ONE = 2, FOUND_USED = 4 }; /* what act may return beside WEIR_OK */

struct meeting {
    const char *text;
    const weir_section_options *options; /* with which sections are made */
    deed first;                          /* what the peer does beforehand, or NULL */
    void (*before)(struct scene *);
    weir_status (*act)(struct scene *);
    deed deed;
    unsigned others;
};

#define PLAIN &with_slots
#define LASTING &persistent

static const struct meeting meetings[] = {
    { "open, the last closes", PLAIN, peer_has, NULL, do_open, peer_closes, FOUND_NONE },
    { "open, it is replaced", PLAIN, peer_has, NULL, do_open, peer_replaces, FOUND_NONE },
    { "open, the last dies", PLAIN, peer_has, NULL, do_open, peer_dies, FOUND_NONE },
    { "open, it is made", PLAIN, NULL, NULL, do_open, peer_has, FOUND_NONE },
    { "open, another cleans", PLAIN, peer_has, NULL, do_open, peer_cleans, 0 },
    { "observe, the last closes", PLAIN, peer_has, NULL, do_observe, peer_closes, FOUND_NONE },
    { "observe, it is replaced", PLAIN, peer_has, NULL, do_observe, peer_replaces, FOUND_NONE },
    { "create, the last closes", PLAIN, peer_has, NULL, do_create, peer_closes, FOUND_ONE },
    { "create, it is replaced", PLAIN, peer_has, NULL, do_create, peer_replaces, FOUND_ONE },
    { "create, the last dies", PLAIN, peer_has, NULL, do_create, peer_dies, FOUND_ONE },
    { "create, another is first", PLAIN, NULL, NULL, do_create, peer_has, FOUND_ONE },
    { "create, written, the last closes", PLAIN, peer_has, NULL, do_create_ahead, peer_closes, FOUND_ONE },
    { "create, written, another is first", PLAIN, NULL, NULL, do_create_ahead, peer_has, FOUND_ONE },
    { "create, another cleans", PLAIN, NULL, NULL, do_create, peer_cleans, 0 },
    { "create, another removes", PLAIN, NULL, NULL, do_create, peer_removes, 0 },
    { "open_or_create, the last closes", PLAIN, peer_has, NULL, do_either, peer_closes, 0 },
    { "open_or_create, it is replaced", PLAIN, peer_has, NULL, do_either, peer_replaces, 0 },
    { "open_or_create, the last dies", PLAIN, peer_has, NULL, do_either, peer_dies, 0 },
    { "open_or_create, another is first", PLAIN, NULL, NULL, do_either, peer_has, 0 },
    { "close, the other closes", PLAIN, peer_has, have_second, do_close, peer_closes, 0 },
    { "close, the other closes and comes again", PLAIN, peer_has, have_second, do_close, peer_replaces, 0 },
    { "close, the other dies", PLAIN, peer_has, have_second, do_close, peer_dies, 0 },
    { "close, another opens or makes it", PLAIN, NULL, have_handle, do_close, peer_has, 0 },
    { "close, another opens and closes", PLAIN, NULL, have_handle, do_close, peer_uses, 0 },
    { "close, another cleans", PLAIN, NULL, have_handle, do_close, peer_cleans, 0 },
};

static const struct meeting about_stale_ones[] = {
    { "open a stale one, another makes it", PLAIN, NULL, have_stale, do_open, peer_has, FOUND_NONE },
    { "open a stale one, another does too", PLAIN, NULL, have_stale, do_open, peer_uses, FOUND_NONE },
    { "replace a stale one, another does too", PLAIN, NULL, have_stale, do_create, peer_has, FOUND_ONE },
    { "replace a stale one, another opens it", PLAIN, NULL, have_stale, do_create, peer_uses, FOUND_ONE },
    { "observe a stale one, another makes it", PLAIN, NULL, have_stale, do_observe, peer_has, FOUND_NONE },
    { "remove a stale one, another makes it", PLAIN, NULL, have_stale, do_remove, peer_has, FOUND_USED | FOUND_NONE },
    { "remove a stale one, another opens it", PLAIN, NULL, have_stale, do_remove, peer_uses, FOUND_NONE },
    { "remove a stale one, another does too", PLAIN, NULL, have_stale, do_remove, peer_removes, FOUND_NONE },
    { "clean a stale one, another makes it", PLAIN, NULL, have_stale, do_clean, peer_has, 0 },
    { "clean a stale one, another removes it", PLAIN, NULL, have_stale, do_clean, peer_removes, 0 },
    { "clean a stale one, another does too", PLAIN, NULL, have_stale, do_clean, peer_cleans, 0 },
};

static const struct meeting about_lasting_ones[] = {
    { "open an unused one, another does too", LASTING, NULL, have_unused, do_open, peer_has, 0 },
    { "open an unused one, another opens and closes", LASTING, NULL, have_unused, do_open, peer_uses, 0 },
    { "open an unused one, another removes it", LASTING, NULL, have_unused, do_open, peer_removes, FOUND_NONE },
    { "open an unused one, another makes it anew", LASTING, NULL, have_unused, do_open, peer_makes_anew, FOUND_NONE },
    { "open an unused one, another cleans", LASTING, NULL, have_unused, do_open, peer_cleans, 0 },
    { "open a used one, the last closes", LASTING, peer_has, NULL, do_open, peer_closes, 0 },
    { "open a used one, the last dies", LASTING, peer_has, NULL, do_open, peer_dies, 0 },
    { "observe an unused one, another opens it", LASTING, NULL, have_unused, do_observe, peer_has, 0 },
    { "observe an unused one, another removes it", LASTING, NULL, have_unused, do_observe, peer_removes, FOUND_NONE },
    { "create over an unused one, another removes it", LASTING, NULL, have_unused, do_create_persistent, peer_removes,
      FOUND_ONE },
    { "create one to persist, another does too", LASTING, NULL, NULL, do_create_persistent, peer_has, FOUND_ONE },
    { "open_or_create an unused one, another removes it", LASTING, NULL, have_unused, do_either_persistent,
      peer_removes, 0 },
    { "close the last, another opens", LASTING, NULL, have_unused, do_open, peer_has, 0 },
    { "remove an unused one, another opens it", LASTING, NULL, have_unused, do_remove, peer_has, FOUND_USED },
    { "remove an unused one, another uses it", LASTING, NULL, have_unused, do_remove, peer_uses, 0 },
    { "remove an unused one, another does too", LASTING, NULL, have_unused, do_remove, peer_removes, FOUND_NONE },
    { "remove an unused one, another makes it anew", LASTING, NULL, have_unused, do_remove, peer_makes_anew,
      FOUND_USED | FOUND_NONE },
    { "remove a used one, the last closes", LASTING, peer_has, NULL, do_remove, peer_closes, FOUND_USED },
    { "remove a used one, the last dies", LASTING, peer_has, NULL, do_remove, peer_dies, FOUND_USED },
    { "clean beside an unused one, another opens it", LASTING, NULL, have_unused, do_clean, peer_has, 0 },
};

static bool may_return(const struct meeting *m, weir_status status)
{
    return status == WEIR_OK || (status == WEIR_E_NOT_FOUND && (m->others & FOUND_NONE) != 0) ||
           (status == WEIR_E_EXISTS && (m->others & FOUND_ONE) != 0) ||
           (status == WEIR_E_IN_USE && (m->others & FOUND_USED) != 0);
}

/* One operation, at whose n-th call the peer acts.  False when it had fewer. */
static bool run_meeting(const char *dir, const char *name, const struct meeting *m, long n)
{
    char text[256];
    (void)snprintf(text, sizeof text, "%s (%s), before call %ld", m->text, name, n);
    struct scene s;
    scene_begin(&s, dir, name);
    peer.deed = m->deed;
    peer_start(name, m->options, m->first);
    if (m->before != NULL)
        m->before(&s);
    arm_meeting(n, peer_acts);
    weir_status status = m->act(&s);
    disarm();
    bool met = plan.total >= n, dead = met && m->deed == peer_dies;
    EXPECT(may_return(m, status), "%s: gave %s (%s)", text, weir_status_name(status), weir_error_detail());
    if (peer.waiting)
        (void)peer_answer();
    bool writes = s.handle != NULL && m->act != do_observe, lasts = m->options == LASTING;
    if (writes)
        check_named(s.handle, name, 5);
    if (!dead) {
        int has = peer_does(peer_verifies);
        EXPECT(has >= 0, "%s: the peer has said what it found", text);
        if (writes && has > 0) /* both have it: the same one */
            EXPECT(stamp_of(s.handle) == 777, "%s: two sections of one name", text);
        if (!writes && has == 0 && m->before != have_stale && !lasts)
            EXPECT(files_under(dir) == 0, "%s: a name that nobody has", text);
    }
    CHECK_OK(weir_section_close(s.handle));
    s.handle = NULL;
    peer_end(dead, text);
    weir_section_info info;
    status = weir_section_stat(name, &info);
    EXPECT(status == WEIR_E_NOT_FOUND || (info.why == WEIR_OK && info.state != WEIR_SECTION_LIVE),
           "%s: state %d in the end", text, (int)info.state);
    EXPECT(!lasts || status == WEIR_E_NOT_FOUND || info.state == WEIR_SECTION_UNUSED, "%s: it does not persist", text);
    scene_end(&s); /* removes what persists */
    EXPECT(dead || m->before == have_stale || support_entries(dir, true) == 0, "%s: left behind with nobody killed",
           text);
    check_clean(dir, text);
    return met;
}

static void walk_meetings(const struct meeting *rows, size_t count)
{
    const char *dir = prepare();
    for (size_t i = 0; i < 2 * count; i++) {
        unsigned enough = complaints + COMPLAINTS_EACH;
        long n = 1;
        while (complaints < enough && run_meeting(dir, scopes[i % 2], &rows[i / 2], n))
            n++;
        EXPECT(n > 4, "%s: %ld calls", rows[i / 2].text, n);
    }
    check_no_complaints();
}

#define WALK(rows, from, to) walk_meetings((rows) + (from), (to) - (from))
#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

Test(section_meetings, another_acts_between_any_two_calls_of_open) { WALK(meetings, 0, 7); }
Test(section_meetings, another_acts_between_any_two_calls_of_create) { WALK(meetings, 7, 13); }
Test(section_meetings, another_acts_between_any_two_calls_of_open_or_create) { WALK(meetings, 13, 17); }
Test(section_meetings, another_acts_between_any_two_calls_of_close) { WALK(meetings, 17, COUNT(meetings)); }
Test(section_meetings, another_acts_between_any_two_calls_about_a_stale_section)
{
    WALK(about_stale_ones, 0, COUNT(about_stale_ones));
}
Test(section_meetings, another_acts_between_any_two_calls_of_opening_one_that_persists)
{
    WALK(about_lasting_ones, 0, 13);
}
Test(section_meetings, another_acts_between_any_two_calls_of_removing_one_that_persists)
{
    WALK(about_lasting_ones, 13, COUNT(about_lasting_ones));
}

/* ---- looking, while it changes ---- */

struct look {
    const char *text;
    const weir_section_options *options;
    deed first;
    void (*before)(struct scene *);
    deed deed;
};

static bool look_visit(const weir_section_info *info, void *arg)
{
    struct scene *s = arg;
    s->visits++;
    s->wrong += info->state == WEIR_SECTION_STRANGE || strcmp(info->name, s->name) != 0;
    return true;
}
static bool look_user(const weir_section_user *user, void *arg)
{
    struct scene *s = arg;
    s->wrong += user->pid != (uint32_t)peer.pid;
    return true;
}
static bool look_mapping(const weir_section_mapping *mapping, void *arg)
{
    struct scene *s = arg;
    s->wrong += mapping->pid != (uint32_t)peer.pid;
    return true;
}
static weir_status look_list(struct scene *s) { return weir_section_list(look_visit, s); }
static weir_status look_stat(struct scene *s)
{
    weir_status status = weir_section_stat(s->name, &s->info);
    s->wrong += status == WEIR_OK && s->info.state == WEIR_SECTION_STRANGE;
    return status;
}
static weir_status look_users(struct scene *s) { return weir_section_users(s->name, look_user, s); }
static weir_status look_mappings(struct scene *s) { return weir_section_mappings(s->name, look_mapping, s); }

static weir_status (*const look_acts[])(struct scene *) = { look_list, look_stat, look_users, look_mappings };

static const struct look looks[] = {
    { "it is made", PLAIN, NULL, NULL, peer_has },
    { "the last closes", PLAIN, peer_has, NULL, peer_closes },
    { "it is replaced", PLAIN, peer_has, NULL, peer_replaces },
    { "the last dies", PLAIN, peer_has, NULL, peer_dies },
    { "a stale one is replaced", PLAIN, NULL, have_stale, peer_has },
    { "a stale one is cleaned", PLAIN, NULL, have_stale, peer_cleans },
    { "an unused one is opened", LASTING, NULL, have_unused, peer_has },
    { "an unused one is removed", LASTING, NULL, have_unused, peer_removes },
    { "an unused one is made anew", LASTING, NULL, have_unused, peer_makes_anew },
};

/* What is seen is whole, or not there; and nothing that is used or persists is the worse for the look. */
static bool run_look(const char *dir, const char *name, const struct look *l, size_t act, long n)
{
    char text[256];
    (void)snprintf(text, sizeof text, "look %zu (%s), %s, before call %ld", act, name, l->text, n);
    struct scene s;
    scene_begin(&s, dir, name);
    peer.deed = l->deed;
    peer_start(name, l->options, l->first);
    if (l->before != NULL)
        l->before(&s);
    arm_meeting(n, peer_acts);
    weir_status status = look_acts[act](&s);
    disarm();
    bool met = plan.total >= n, dead = met && l->deed == peer_dies;
    EXPECT(status == WEIR_OK || (act > 0 && status == WEIR_E_NOT_FOUND), "%s: gave %s (%s)", text,
           weir_status_name(status), weir_error_detail());
    EXPECT(s.wrong == 0 && s.visits <= 2, "%s: %u of %u are told of wrongly", text, s.wrong, s.visits);
    if (peer.waiting)
        (void)peer_answer();
    if (!dead)
        EXPECT(peer_does(peer_verifies) >= 0, "%s: the peer has said what it found", text);
    peer_end(dead, text);
    scene_end(&s);
    check_clean(dir, text);
    return met;
}

Test(section_meetings, another_acts_between_any_two_calls_of_a_look)
{
    const char *dir = prepare();
    for (size_t i = 0; i < COUNT(looks) * COUNT(look_acts) * 2; i++) {
        const struct look *l = &looks[i / 2 % COUNT(looks)];
        long n = 1;
        while (run_look(dir, scopes[i % 2], l, i / 2 / COUNT(looks), n))
            n++;
        EXPECT(n > 3, "%s: %ld calls", l->text, n);
    }
    check_no_complaints();
}

/* ---- somebody looks whether it is stale ---- */

static int prober = -1;
static long probe_until;

/* Holds all of it locked for a while, as whoever sweeps or would make it again does who then may not remove it. */
static void probe(void)
{
    struct flock all = { .l_type = F_WRLCK, .l_start = WEIR_LIFE_FIRST, .l_len = WEIR_RANGE_LEN };
    if (plan.total < probe_until) {
        prober = open(section_path(getenv("WEIR_SHM_DIR"), peer.name).text, O_RDWR | O_CLOEXEC);
        if (prober >= 0)
            (void)fcntl(prober, F_OFD_SETLK, &all);
        plan.meet_at = probe_until;
    } else if (prober >= 0) {
        (void)close(prober);
        prober = -1;
    }
}

/* One operation, before whose call `until` somebody gives up the lock that he took before call `from`.  False when it
 * had fewer. */
static bool run_probe(const char *dir, const char *name, const struct operation *o, long from, long until)
{
    char text[256];
    (void)snprintf(text, sizeof text, "%s (%s), locked from call %ld to %ld", o->text, name, from, until);
    struct scene s;
    scene_begin(&s, dir, name);
    peer.name = name;
    if (o->stage != NULL)
        o->stage(&s);
    if (o->before != NULL)
        o->before(&s);
    probe_until = until;
    arm_meeting(from, probe);
    weir_status status = o->act(&s);
    bool met = plan.total >= until;
    disarm();
    if (prober >= 0)
        (void)close(prober);
    prober = -1;
    EXPECT(status == o->fine, "%s: gave %s (%s)", text, weir_status_name(status), weir_error_detail());
    if (o->check != NULL)
        o->check(&s, status, text);
    scene_end(&s);
    check_clean(dir, text);
    return met;
}

static void check_new(struct scene *s, weir_status status, const char *text)
{
    EXPECT(status != WEIR_OK || stamp_of(s->handle) == 0, "%s: has the content of the dead", text);
}
static void check_old_bytes(struct scene *s, weir_status status, const char *text)
{
    weir_view view;
    if (status != WEIR_OK)
        return;
    CHECK_OK(weir_view_map(&view, s->handle, 0, 0, WEIR_READ_WRITE));
    CHECK_OK(weir_section_commit(s->handle, 0, 0));
    EXPECT(holds(&view, HALF_FIRST, HALF_END, ZEROS), "%s: what was decommitted is not zeroed", text);
    EXPECT(holds(&view, 0, HALF_FIRST, PATTERN), "%s: what was committed is not as it was", text);
    CHECK_OK(weir_view_unmap(&view));
}
static void have_stamped_stale(struct scene *s)
{
    have_stale(s);
    int fd = open(section_path(s->dir, s->name).text, O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0 && pwrite(fd, "dead", 4, WEIR_SECTION_HEADER) == 4 && close(fd) == 0);
}

static const struct operation probed[] = {
    { "open", have_other, NULL, do_open, WEIR_OK, 0, 0, NULL },
    { "open of a stale one", NULL, have_stamped_stale, do_open, WEIR_E_NOT_FOUND, 0, 0, NULL },
    { "observe a stale one", NULL, have_stamped_stale, do_observe, WEIR_E_NOT_FOUND, 0, 0, NULL },
    { "create over a stale one", NULL, have_stamped_stale, do_create, WEIR_OK, 0, 0, check_new },
    { "open_or_create over a stale one", NULL, have_stamped_stale, do_either, WEIR_OK, 0, 0, check_new },
    { "open of an unused one", NULL, have_unused, do_open, WEIR_OK, 0, 0, NULL },
    { "open of a half decommitted one", NULL, have_half_decommitted, do_open, WEIR_OK, 0, 0, check_old_bytes },
    { "remove an unused one", NULL, have_unused, do_remove, WEIR_OK, 0, 0, NULL },
};

Test(section_meetings, somebody_who_locks_it_for_a_moment_is_not_taken_for_a_user)
{
    const char *dir = prepare();
    for (size_t i = 0; i < 2 * COUNT(probed); i++) {
        unsigned enough = complaints + COMPLAINTS_EACH;
        for (long n = 1; complaints < enough && run_probe(dir, scopes[i % 2], &probed[i / 2], n, n + 1);)
            n++;
        /* Not until later: it then goes round and round, for 2 seconds. */
        for (long n = 2; n < 60 && complaints < enough && run_probe(dir, scopes[i % 2], &probed[i / 2], 1, n);)
            n++;
    }
    check_no_complaints();
}
