/* A process is killed before and after each system call of a named section's life: what is left is what the headers'
 * "If killed" and the death table of naming/README.md say. */
#include "faults_walk.h"

/* ---- what is there then ---- */

static bool is_there(const struct scene *s, weir_section_info *info)
{
    weir_status status = weir_section_stat(s->name, info);
    CHECK(status == WEIR_OK || status == WEIR_E_NOT_FOUND);
    return status == WEIR_OK;
}

/* The name is free, or what stands there is whole and in the state said; nobody has it open. */
static void check_leftover(const struct scene *s, weir_section_state state, uint64_t size, const char *text)
{
    weir_section_info info;
    struct stat st;
    if (!is_there(s, &info))
        return;
    EXPECT(info.state == state && info.why == WEIR_OK && info.users == 0 && info.observers == 0,
           "%s: state %d (%s), %u users", text, (int)info.state, weir_status_name(info.why), info.users);
    EXPECT(info.size == size, "%s: size %llu", text, (unsigned long long)info.size);
    EXPECT(stat(section_path(s->dir, s->name).text, &st) == 0 && (uint64_t)st.st_size >= WEIR_SECTION_HEADER + size,
           "%s: half a file", text);
    EXPECT(info.resident >= info.committed + WEIR_SECTION_HEADER, "%s: a hole is promised", text);
}

static void check_can_be_made(const struct scene *s, long n, const char *text)
{
    weir_section *section;
    if (n % 2 != 0) /* else another's sweep takes it */
        return;
    weir_status status = weir_section_create(&section, s->name, SIZE, NULL);
    EXPECT(status == WEIR_OK, "%s: then create gave %s (%s)", text, weir_status_name(status), weir_error_detail());
    if (status == WEIR_OK)
        CHECK_OK(weir_section_close(section));
}

static void left_stale(struct scene *s, long n, const char *text)
{
    check_leftover(s, WEIR_SECTION_STALE, SIZE, text);
    check_can_be_made(s, n, text);
}

static void left_stale_room(struct scene *s, long n, const char *text)
{
    check_leftover(s, WEIR_SECTION_STALE, ROOM, text);
    check_can_be_made(s, n, text);
}

/* One that was made to persist, or one that was and was not there before: a name, or none. */
static void left_unused_or_none(struct scene *s, long n, const char *text)
{
    weir_section *section;
    weir_section_info info;
    (void)n;
    check_leftover(s, WEIR_SECTION_UNUSED, SIZE, text);
    weir_status status = weir_section_open(&section, s->name, NULL);
    EXPECT(status == (is_there(s, &info) ? WEIR_OK : WEIR_E_NOT_FOUND), "%s: then open gave %s", text,
           weir_status_name(status));
    if (status != WEIR_OK)
        return;
    EXPECT(stamp_of(section) == 0 || stamp_of(section) == STAMP, "%s: its content is another", text);
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_section_remove(s->name));
}

/* Over a stale one: that, the new one, or none. */
static void left_unused_or_stale(struct scene *s, long n, const char *text)
{
    weir_section_info info;
    if (is_there(s, &info) && info.state == WEIR_SECTION_UNUSED)
        left_unused_or_none(s, n, text);
    else
        left_stale(s, n, text);
}

static void left_kept(struct scene *s, long n, const char *text)
{
    weir_section *section;
    (void)n;
    check_leftover(s, WEIR_SECTION_UNUSED, SIZE, text);
    weir_status status = weir_section_open(&section, s->name, NULL);
    EXPECT(status == WEIR_OK, "%s: then open gave %s (%s)", text, weir_status_name(status), weir_error_detail());
    if (status != WEIR_OK)
        return;
    EXPECT(stamp_of(section) == STAMP, "%s: its content is another", text);
    CHECK_OK(weir_section_close(section));
}

static void left_lasting_room(struct scene *s, long n, const char *text)
{
    weir_section *section;
    weir_section_info info;
    (void)n;
    check_leftover(s, WEIR_SECTION_UNUSED, ROOM, text);
    if (!is_there(s, &info))
        return;
    EXPECT(info.committed == GRANULE, "%s: %llu bytes are committed", text, (unsigned long long)info.committed);
    CHECK_OK(weir_section_open(&section, s->name, NULL));
    CHECK_OK(weir_view_map(&s->had, section, 0, 0, WEIR_READ_WRITE));
    CHECK_OK(weir_section_commit(section, 0, 0));
    EXPECT(holds(&s->had, 0, GRANULES, ZEROS), "%s: it is not zeroed", text);
    CHECK_OK(weir_view_unmap(&s->had));
    CHECK_OK(weir_section_close(section));
}

/* Somebody else has it: he is none the worse for it, nor is who comes next. */
static void left_to_other(struct scene *s, long n, const char *text)
{
    weir_section *third;
    weir_participant seen;
    uint64_t size = weir_section_size(s->other);
    (void)n;
    EXPECT(size == SIZE || size == LARGE, "%s: size %llu", text, (unsigned long long)size);
    (void)weir_participant_leave(s->other, 0); /* where it had joined */
    CHECK_OK(weir_participant_look(s->other, 0, &seen));
    EXPECT(seen.presence != WEIR_ALIVE, "%s: somebody is present", text);
    CHECK_OK(weir_participant_claim(s->other, 0, 1, &seen)); /* nobody holds it */
    CHECK_OK(weir_section_open(&third, s->name, NULL));
    CHECK_OK(weir_section_close(third));
    CHECK_OK(weir_section_extend(s->other, LARGE)); /* what is behind a killed extender's size does not hinder */
}

static void left_at_its_size(struct scene *s, long n, const char *text)
{
    EXPECT(weir_section_size(s->other) == SIZE, "%s: the size is another", text);
    left_to_other(s, n, text);
}

static void left_joining(struct scene *s, long n, const char *text)
{
    weir_participant seen;
    CHECK_OK(weir_participant_look(s->other, 0, &seen));
    EXPECT(seen.presence == WEIR_ABSENT || (seen.presence == WEIR_DEAD && seen.deaths == 1), "%s: presence %d", text,
           (int)seen.presence);
    left_at_its_size(s, n, text);
}

static void left_leaving(struct scene *s, long n, const char *text)
{
    weir_participant seen;
    CHECK_OK(weir_participant_look(s->other, 0, &seen));
    EXPECT(seen.generation == 1 && (seen.presence == WEIR_DEAD || seen.presence == WEIR_LEFT), "%s: presence %d", text,
           (int)seen.presence);
    left_at_its_size(s, n, text);
}

static void left_lasting_other(struct scene *s, long n, const char *text)
{
    EXPECT(stamp_of(s->other) == STAMP, "%s: its content is another", text);
    CHECK_OK(weir_section_close(s->other));
    s->other = NULL;
    left_kept(s, n, text);
}

/* ---- the deaths ---- */

static const struct death creations[] = {
    { "create", NULL, NULL, do_create, WEIR_OK, 0, left_stale },
    { "create, mapped ahead", NULL, NULL, do_create_ahead, WEIR_OK, 0, left_stale },
    { "create over a stale one", NULL, have_stale, do_create, WEIR_OK, 0, left_stale },
    { "create of a live one", have_other, NULL, do_create, WEIR_E_EXISTS, 0, left_at_its_size },
    { "create, to persist", NULL, NULL, do_create_persistent, WEIR_OK, 0, left_unused_or_none },
    { "create, to persist, over a stale one", NULL, have_stale, do_create_persistent, WEIR_OK, 0,
      left_unused_or_stale },
    { "create over an unused one", have_unused, NULL, do_create, WEIR_E_EXISTS, 0, left_kept },
    { "create, reserved", NULL, NULL, do_create_room, WEIR_OK, LOCAL_ONLY, left_stale_room },
    { "create, reserved, to persist", NULL, NULL, do_create_lasting_room, WEIR_OK, LOCAL_ONLY, left_lasting_room },
    { "create of a group", NULL, NULL, do_create_with_group, WEIR_OK, LOCAL_ONLY, left_stale },
    { "create, a node wanted", NULL, NULL, do_create_wanting_node, WEIR_OK, LOCAL_ONLY, left_stale },
    { "open_or_create, making one to persist", NULL, NULL, do_either_persistent, WEIR_OK, LOCAL_ONLY,
      left_unused_or_none },
};

static const struct death openings[] = {
    { "open", have_other, NULL, do_open, WEIR_OK, 0, left_at_its_size },
    { "open of none", NULL, NULL, do_open, WEIR_E_NOT_FOUND, 0, left_stale },
    { "open of a stale one", NULL, have_stale, do_open, WEIR_E_NOT_FOUND, 0, left_stale },
    { "open of another kind", have_other, NULL, do_mismatch, WEIR_E_MISMATCH, LOCAL_ONLY, left_at_its_size },
    { "open of an unused one", have_unused, NULL, do_open, WEIR_OK, 0, left_kept },
    { "open of one that persists", have_persistent_other, NULL, do_open, WEIR_OK, 0, left_lasting_other },
    { "open_or_create, making", NULL, NULL, do_either, WEIR_OK, 0, left_stale },
    { "open_or_create, opening", have_other, NULL, do_either, WEIR_OK, 0, left_at_its_size },
    { "open_or_create of an unused one", have_unused, NULL, do_either_persistent, WEIR_OK, 0, left_kept },
    { "observe", have_other, NULL, do_observe, WEIR_OK, 0, left_at_its_size },
    { "observe an unused one", have_unused, NULL, do_observe, WEIR_OK, 0, left_kept },
};

static const struct death endings[] = {
    { "close, the last", NULL, have_handle, do_close, WEIR_OK, 0, left_stale },
    { "close, not the last", have_other, have_second, do_close, WEIR_OK, 0, left_at_its_size },
    { "close of one that persists, the last", have_unused, have_second, do_close, WEIR_OK, 0, left_kept },
    { "close of one that persists", have_persistent_other, have_second, do_close, WEIR_OK, 0, left_lasting_other },
    { "remove an unused one", have_unused, NULL, do_remove, WEIR_OK, 0, left_unused_or_none },
    { "remove a stale one", NULL, have_stale, do_remove, WEIR_OK, 0, left_stale },
    { "remove a live one", have_other, NULL, do_remove, WEIR_E_IN_USE, 0, left_at_its_size },
};

static const struct death uses[] = {
    { "extend", have_other, have_second, do_extend, WEIR_OK, LOCAL_ONLY, left_to_other },
    { "map", have_other, have_second, do_map, WEIR_OK, LOCAL_ONLY, left_at_its_size },
    { "claim", have_other, have_second, do_claim, WEIR_OK, LOCAL_ONLY, left_joining },
    { "join", have_other, have_claimed, do_join, WEIR_OK, LOCAL_ONLY, left_joining },
    { "leave", have_other, have_joined, do_leave, WEIR_OK, LOCAL_ONLY, left_leaving },
    { "look", have_joined_other, have_second, do_look, WEIR_OK, LOCAL_ONLY, left_at_its_size },
};

Test(section_kills, killed_at_any_call_of_create_it_leaves_nothing_or_a_whole_section) { WALK_KILLS(creations); }
Test(section_kills, killed_at_any_call_of_open_it_is_as_if_it_had_not_been_called) { WALK_KILLS(openings); }
Test(section_kills, killed_at_any_call_of_close_or_remove_the_section_is_there_or_gone) { WALK_KILLS(endings); }
Test(section_kills, killed_at_any_call_of_the_rest_the_others_are_none_the_worse) { WALK_KILLS(uses); }
