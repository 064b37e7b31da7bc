/* Another process opens, looks, commits, gives back, closes or dies between any two system calls of a commit, a
 * decommit or a refresh: what is committed is memory with what was written to it, what is not reads zero when it is. */
#include "faults_peer.h"

/* ---- the peer ---- */

static void peer_has_room(weir_section **mine)
{
    if (*mine == NULL)
        CHECK_OK(weir_section_open(mine, peer.name, NULL));
}
static void peer_commits(weir_section **mine)
{
    weir_view view;
    peer_has_room(mine);
    CHECK_OK(weir_view_map(&view, *mine, 0, 0, WEIR_READ_WRITE));
    CHECK_OK(weir_section_commit(*mine, 0, 0));
    CHECK(count_committed(*mine) == GRANULES && reaches_what_is_committed(*mine, &view));
    CHECK_OK(weir_view_unmap(&view));
}
static void peer_commits_one(weir_section **mine)
{
    peer_has_room(mine);
    CHECK_OK(weir_section_commit(*mine, (COMMIT_FIRST + 1) * GRANULE, 1));
    CHECK(is_committed(*mine, COMMIT_FIRST + 1));
}
static void peer_commits_and_closes(weir_section **mine)
{
    peer_commits(mine);
    peer_closes(mine);
}
static void peer_commits_and_dies(weir_section **mine)
{
    peer_commits(mine);
    peer_dies(mine);
}
static void peer_decommits(weir_section **mine)
{
    peer_has_room(mine);
    weir_status status = weir_section_decommit(*mine, DECOMMIT_FIRST * GRANULE, 0);
    CHECK(status == WEIR_OK || status == WEIR_E_IN_USE);
}
static void peer_decommits_and_closes(weir_section **mine)
{
    peer_decommits(mine);
    peer_closes(mine);
}
static void peer_looks(weir_section **mine)
{
    weir_section *observer;
    weir_view view;
    (void)mine;
    CHECK_OK(weir_section_open(&observer, peer.name, &observing));
    CHECK_OK(weir_view_map(&view, observer, 0, 0, WEIR_READ_ONLY));
    for (uint64_t g = 0; g < GRANULES; g++)
        CHECK(!is_committed(observer, g) || holds(&view, g, g + 1, EITHER));
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(observer));
}

/* ---- the meetings ---- */

static void have_room_to_open(struct scene *s) /* it is there, unused, with some of it committed */
{
    have_some_room(s);
    CHECK_OK(weir_view_unmap(&s->had));
    CHECK_OK(do_close(s));
}
static void have_open_room(struct scene *s)
{
    have_room_to_open(s);
    have_view(s);
}
static void have_view_of_less(struct scene *s)
{
    struct scene another = { .name = s->name };
    have_open_room(s);
    have_second(&another);
    CHECK_OK(do_commit(&another));
    CHECK_OK(do_close(&another));
}

struct meeting {
    const char *text;
    void (*before)(struct scene *);
    weir_status (*act)(struct scene *);
    deed deed;
    bool others; /* act may say that others have it open */
};

static const struct meeting meetings[] = {
    { "commit, another commits the same", have_open_room, do_commit, peer_commits, false },
    { "commit, another commits a part", have_open_room, do_commit, peer_commits_one, false },
    { "commit all, another commits a part", have_open_room, do_commit_all, peer_commits_one, false },
    { "commit, another commits and closes", have_open_room, do_commit, peer_commits_and_closes, false },
    { "commit, another commits and dies", have_open_room, do_commit, peer_commits_and_dies, false },
    { "commit, another would give back", have_open_room, do_commit, peer_decommits, false },
    { "commit, another looks", have_open_room, do_commit, peer_looks, false },
    { "refresh, another commits", have_view_of_less, do_refresh, peer_commits, false },
    { "refresh, another would give back", have_view_of_less, do_refresh, peer_decommits, false },
    { "map, another commits", have_view_of_less, do_map, peer_commits, false },
    { "open, another commits", have_room_to_open, do_open, peer_commits, false },
    { "open, another gives back", have_room_to_open, do_open, peer_decommits_and_closes, false },
    { "open of a half decommitted one, another commits", have_half_decommitted, do_open, peer_commits, false },
    { "open of a half decommitted one, another looks", have_half_decommitted, do_open, peer_looks, false },
    { "open of a half decommitted one, another commits and closes", have_half_decommitted, do_open,
      peer_commits_and_closes, false },
    { "decommit, another opens", have_filled_room, do_decommit, peer_has_room, true },
    { "decommit, another opens and commits", have_filled_room, do_decommit, peer_commits, true },
    { "decommit, another commits and closes", have_filled_room, do_decommit, peer_commits_and_closes, true },
    { "decommit, another commits and dies", have_filled_room, do_decommit, peer_commits_and_dies, true },
    { "decommit, another would too", have_filled_room, do_decommit, peer_decommits_and_closes, true },
    { "decommit, another looks", have_filled_room, do_decommit, peer_looks, true },
};

/* What is committed reads as it was written or zero, and as it was where nobody gave it back; what is not, reads zero
 * when it is. */
static void check_content(struct scene *s, const struct meeting *m, weir_status status, const char *text)
{
    weir_view view;
    bool was[GRANULES];
    bool given_back = m->act == do_decommit && status == WEIR_OK;
    CHECK_OK(weir_view_map(&view, s->handle, 0, 0, WEIR_READ_WRITE));
    EXPECT(reaches_what_is_committed(s->handle, &view), "%s: a new view reaches something else", text);
    EXPECT(is_backed(section_path(s->dir, s->name).text, s->handle), "%s: a hole is promised", text);
    EXPECT(holds(&view, 0, 1, PATTERN), "%s: what nobody gave back is not as it was", text);
    uint64_t bad = GRANULES;
    for (uint64_t g = 0; g < GRANULES; g++) {
        was[g] = is_committed(s->handle, g);
        bool kept = m->before == have_filled_room && (!given_back || g < DECOMMIT_FIRST);
        enum content content = kept ? PATTERN : given_back ? ZEROS : EITHER;
        if (was[g] && !holds(&view, g, g + 1, content))
            bad = g;
        if (!was[g] && kept)
            bad = g;
    }
    EXPECT(bad == GRANULES, "%s: granule %llu is not as it should be", text, (unsigned long long)bad);
    CHECK_OK(weir_section_commit(s->handle, 0, 0));
    for (uint64_t g = 0; g < GRANULES; g++)
        EXPECT(was[g] || holds(&view, g, g + 1, ZEROS), "%s: granule %llu is not zeroed", text, (unsigned long long)g);
    EXPECT(m->before != have_half_decommitted || holds(&view, HALF_FIRST, HALF_END, ZEROS),
           "%s: what was decommitted reads old bytes", text);
    CHECK_OK(weir_view_unmap(&view));
}

/* One operation, at whose n-th call the peer acts.  False when it had fewer. */
static bool run_meeting(const char *dir, const struct meeting *m, long n)
{
    char text[256];
    (void)snprintf(text, sizeof text, "%s, before call %ld", m->text, n);
    struct scene s;
    scene_begin(&s, dir, scopes[0]);
    peer.deed = m->deed;
    peer_start(s.name, NULL, NULL);
    m->before(&s);
    arm_meeting(n, peer_acts);
    weir_status status = m->act(&s);
    disarm();
    bool met = plan.total >= n, dead = met && m->deed == peer_commits_and_dies;
    EXPECT(status == WEIR_OK || (m->others && status == WEIR_E_IN_USE), "%s: gave %s (%s)", text,
           weir_status_name(status), weir_error_detail());
    if (peer.waiting)
        (void)peer_answer();
    if (m->act == do_commit || m->act == do_commit_all)
        for (uint64_t g = COMMIT_FIRST; g < COMMIT_END && status == WEIR_OK; g++)
            EXPECT(is_committed(s.handle, g) && holds(&s.had, g, g + 1, ZEROS), "%s: granule %llu is not to be had",
                   text, (unsigned long long)g);
    if (m->act == do_refresh)
        EXPECT(holds(&s.had, COMMIT_FIRST, COMMIT_END, ZEROS), "%s: not all is reachable", text);
    if (m->act == do_decommit && status == WEIR_E_IN_USE)
        EXPECT(count_committed(s.handle) == GRANULES && holds(&s.had, 0, GRANULES, PATTERN), "%s: something was done",
               text);
    peer_end(dead, text);
    if (s.handle != NULL)
        check_content(&s, m, status, text);
    scene_end(&s);
    check_clean(dir, text);
    return met;
}

static void walk_meetings(size_t from, size_t to)
{
    const char *dir = prepare();
    for (size_t i = from; i < to; i++) {
        unsigned enough = complaints + COMPLAINTS_EACH;
        long n = 1;
        while (complaints < enough && run_meeting(dir, &meetings[i], n))
            n++;
        EXPECT(n > 1, "%s makes no calls", meetings[i].text);
    }
    check_no_complaints();
}

Test(room_meetings, another_acts_between_any_two_calls_of_commit) { walk_meetings(0, 7); }
Test(room_meetings, another_acts_between_any_two_calls_of_refresh_and_map) { walk_meetings(7, 10); }
Test(room_meetings, another_acts_between_any_two_calls_of_opening_reserved_room) { walk_meetings(10, 15); }
Test(room_meetings, another_acts_between_any_two_calls_of_decommit)
{
    walk_meetings(15, sizeof meetings / sizeof meetings[0]);
}
