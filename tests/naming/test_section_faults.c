/* Each system call that a named section's life makes fails once, and from then on: the status is one of the header's,
 * nothing leaks or is left, and it works when it is tried again. */
#include "faults_walk.h"

/* ---- what holds, failed or not ---- */

static weir_section_state state_of(const char *name)
{
    weir_section_info info;
    weir_status status = weir_section_stat(name, &info);
    CHECK(status == WEIR_OK || status == WEIR_E_NOT_FOUND);
    return status == WEIR_OK ? info.state : WEIR_SECTION_STRANGE;
}

static void check_size(struct scene *s, weir_status status, const char *text)
{
    struct stat st;
    if (status == WEIR_OK)
        return;
    EXPECT(weir_section_size(s->handle) == SIZE, "%s: the size is another", text);
    EXPECT(stat(section_path(s->dir, s->name).text, &st) == 0 && st.st_size == (off_t)(WEIR_SECTION_HEADER + SIZE),
           "%s: memory stays behind its end", text);
}

static void check_kept(struct scene *s, weir_status status, const char *text)
{
    if (status == WEIR_OK && s->handle != NULL) {
        EXPECT(stamp_of(s->handle) == STAMP, "%s: its content is another", text);
        return;
    }
    weir_section *section;
    EXPECT(state_of(s->name) == WEIR_SECTION_UNUSED, "%s: it is not as it was", text);
    CHECK_OK(weir_section_open(&section, s->name, NULL));
    EXPECT(stamp_of(section) == STAMP, "%s: its content is another", text);
    CHECK_OK(weir_section_close(section));
}

static void check_removed(struct scene *s, weir_status status, const char *text)
{
    if (status != WEIR_OK)
        check_kept(s, status, text);
    else if (plan.error != ENOENT) /* which says that it is not there any more */
        EXPECT(!exists(section_path(s->dir, s->name).text), "%s: it is still there", text);
}

static void check_in_use(struct scene *s, weir_status status, const char *text)
{
    EXPECT(status != WEIR_OK && exists(section_path(s->dir, s->name).text), "%s: it is gone", text);
}

static void check_persists(struct scene *s, weir_status status, const char *text)
{
    if (status == WEIR_OK)
        CHECK_OK(do_close(s));
    EXPECT(status != WEIR_OK || state_of(s->name) == WEIR_SECTION_UNUSED, "%s: it did not stay", text);
}

static void check_group(struct scene *s, weir_status status, const char *text)
{
    struct stat st;
    if (status == WEIR_OK)
        EXPECT(stat(section_path(s->dir, s->name).text, &st) == 0 && (st.st_mode & 07777) == 0660 &&
                   (geteuid() != 0 || st.st_gid == STRANGER), "%s: it has another mode or group", text);
}

static void check_room(struct scene *s, weir_status status, const char *text)
{
    if (status != WEIR_OK)
        return;
    weir_view view;
    CHECK_OK(weir_view_map(&view, s->handle, 0, 0, WEIR_READ_WRITE));
    EXPECT(count_committed(s->handle) == 1 && reaches_what_is_committed(s->handle, &view) &&
               holds(&view, 0, 1, ZEROS), "%s: its room is not as asked for", text);
    CHECK_OK(weir_view_unmap(&view));
}

static void check_committed(struct scene *s, weir_status status, const char *text)
{
    bool all = count_committed(s->handle) == 1 + COMMIT_END - COMMIT_FIRST;
    bool none = count_committed(s->handle) == 1;
    EXPECT(status == WEIR_OK ? all : status == WEIR_E_NO_MEMORY ? all || none : none,
           "%s: %u granules are committed", text, count_committed(s->handle));
    EXPECT(status == WEIR_E_NO_MEMORY || reaches_what_is_committed(s->handle, &s->had),
           "%s: the view reaches something else than what is committed", text);
    EXPECT(holds(&s->had, 0, 1, PATTERN), "%s: what was committed is not as it was", text);
    EXPECT(status != WEIR_OK || holds(&s->had, COMMIT_FIRST, COMMIT_END, ZEROS), "%s: it is not zeroed", text);
    EXPECT(is_backed(section_path(s->dir, s->name).text, s->handle), "%s: a hole is promised", text);
}

static void check_others_open(struct scene *s, const char *text)
{
    weir_section *another = NULL;
    weir_status status = plan.call == UNLOCK ? WEIR_OK : weir_section_open(&another, s->name, NULL);
    EXPECT(status == WEIR_OK, "%s: and then another's open gave %s (%s)", text, weir_status_name(status),
           weir_error_detail());
    CHECK_OK(weir_section_close(another));
}

/* What a decommit leaves, done or failed: what is committed is as it was, what is not reads zero when it is again. */
static void check_decommitted(struct scene *s, weir_status status, const char *text)
{
    bool was[GRANULES];
    uint64_t bad = GRANULES;
    for (uint64_t g = GRANULES; g-- > 0;) {
        was[g] = is_committed(s->handle, g);
        bool right = was[g] ? (status != WEIR_OK || g < DECOMMIT_FIRST) && holds(&s->had, g, g + 1, PATTERN)
                            : g >= DECOMMIT_FIRST;
        bad = right ? bad : g;
    }
    EXPECT(bad == GRANULES, "%s: %s, and granule %llu is %s", text, weir_status_name(status), (unsigned long long)bad,
           was[bad % GRANULES] ? "committed, and cannot be touched or is not as it was" : "not committed");
    EXPECT(status == WEIR_OK || plan.call == LOCK || count_committed(s->handle) == GRANULES,
           "%s: failed, and %u granules are committed", text, count_committed(s->handle));
    EXPECT(status != WEIR_OK || reaches_what_is_committed(s->handle, &s->had),
           "%s: the view reaches what is not committed", text);
    CHECK_OK(weir_section_commit(s->handle, 0, 0));
    bad = GRANULES;
    for (uint64_t g = GRANULES; g-- > 0;)
        bad = holds(&s->had, g, g + 1, was[g] ? PATTERN : ZEROS) ? bad : g;
    EXPECT(bad == GRANULES, "%s: granule %llu, which was %scommitted, reads otherwise when all is committed again",
           text, (unsigned long long)bad, was[bad % GRANULES] ? "" : "not ");
    write_pattern(&s->had, 0, GRANULES);
    if (status == WEIR_OK)
        check_others_open(s, text);
}

static void check_untouched(struct scene *s, weir_status status, const char *text)
{
    EXPECT(status != WEIR_OK && count_committed(s->handle) == GRANULES && holds(&s->had, 0, GRANULES, PATTERN),
           "%s: something was done", text);
    if (status == WEIR_E_IN_USE)
        check_others_open(s, text);
}

static void check_recovered(struct scene *s, weir_status status, const char *text)
{
    weir_view view;
    if (status != WEIR_OK)
        return;
    CHECK_OK(weir_view_map(&view, s->handle, 0, 0, WEIR_READ_WRITE));
    EXPECT(reaches_what_is_committed(s->handle, &view) && !is_committed(s->handle, HALF_FIRST),
           "%s: what was decommitted is there", text);
    CHECK_OK(weir_section_commit(s->handle, 0, 0));
    EXPECT(holds(&view, 0, HALF_FIRST, PATTERN) && holds(&view, HALF_END, GRANULES, PATTERN),
           "%s: what was committed is not as it was", text);
    EXPECT(holds(&view, HALF_FIRST, HALF_END, ZEROS), "%s: what was decommitted is not zeroed", text);
    CHECK_OK(weir_view_unmap(&view));
}

static void check_refreshed(struct scene *s, weir_status status, const char *text)
{
    EXPECT(holds(&s->had, 0, 1, PATTERN), "%s: what was reachable is not", text);
    EXPECT(status != WEIR_OK || reaches_what_is_committed(s->handle, &s->had), "%s: not all is reachable", text);
}

static void check_reaches(struct scene *s, weir_status status, const char *text)
{
    EXPECT(status != WEIR_OK || (reaches_what_is_committed(s->handle, &s->view) && holds(&s->view, 0, 1, PATTERN)),
           "%s: the view reaches something else than what is committed", text);
}

/* ---- properties of memory ---- */

static const uint32_t wants = WEIR_LARGE_PAGES | WEIR_PREFAULT | WEIR_LOCKED;
static const uint32_t demands = WEIR_PREFAULT | WEIR_LOCKED | WEIR_ON_NODE | WEIR_NOT_DUMPED | WEIR_MAP_NAME;

static void have_pages(struct scene *s)
{
    CHECK_OK(weir_section_create(&s->other, s->name, PAGES, NULL));
}
static void have_wanting(struct scene *s)
{
    CHECK_OK(weir_section_open(&s->handle, s->name, &(weir_section_options){ .want = wants }));
}
static void have_demanding(struct scene *s)
{
    CHECK_OK(weir_section_open(&s->handle, s->name, &(weir_section_options){ .demand = demands }));
}
static void have_demanding_prefault(struct scene *s)
{
    CHECK_OK(weir_section_open(&s->handle, s->name, &(weir_section_options){ .demand = WEIR_PREFAULT }));
}
static void have_demanding_large(struct scene *s)
{
    CHECK_OK(weir_section_open(&s->handle, s->name, &(weir_section_options){ .demand = WEIR_LARGE_PAGES }));
}
static void have_second_on_node(struct scene *s)
{
    CHECK_OK(weir_section_open(&s->handle, s->name, &(weir_section_options){ .demand = WEIR_ON_NODE }));
}
static void have_view_of_less(struct scene *s) /* than what the other has then */
{
    have_view(s);
    CHECK_OK(weir_section_commit(s->other, COMMIT_FIRST * GRANULE, 3 * GRANULE));
}
static void have_second_of_larger(struct scene *s)
{
    have_second(s);
    CHECK_OK(weir_section_extend(s->other, LARGE));
}

static weir_status do_size(struct scene *s)
{
    uint64_t size = weir_section_size(s->handle);
    return size == SIZE || size == LARGE ? WEIR_OK : WEIR_E_CORRUPT;
}
static weir_status do_open_demanding_no_dump(struct scene *s)
{
    return open_as(s, &(weir_section_options){ .demand = WEIR_NOT_DUMPED });
}

static void check_demanded(struct scene *s, weir_status status, const char *text)
{
    weir_memory memory;
    if (status != WEIR_OK)
        return;
    CHECK_OK(weir_view_memory(&s->view, &memory));
    EXPECT((memory.got & demands) == demands, "%s: OK, and got %#x of %#x", text, memory.got, demands);
}

static void check_prefaulted(struct scene *s, weir_status status, const char *text)
{
    weir_memory memory;
    if (status != WEIR_OK)
        return;
    CHECK_OK(weir_view_memory(&s->view, &memory));
    EXPECT((memory.got & WEIR_PREFAULT) != 0, "%s: OK, and %llu bytes are there", text,
           (unsigned long long)memory.resident_bytes);
}

static void check_large(struct scene *s, weir_status status, const char *text)
{
    weir_memory memory;
    if (status != WEIR_OK)
        return;
    CHECK_OK(weir_view_memory(&s->view, &memory));
    EXPECT((memory.got & WEIR_LARGE_PAGES) != 0, "%s: OK, and %llu bytes of large pages", text,
           (unsigned long long)memory.large_bytes);
}

/* ---- the operations ---- */

#define REMOVE (PERMISSION | NO_MEMORY | UNSUPPORTED | OS)

static const struct operation operations[] = {
    { "create", NULL, NULL, do_create, WEIR_OK, ALL, MAKES_NOTHING, NULL },
    { "create, mapped ahead", NULL, NULL, do_create_ahead, WEIR_OK, ALL, MAKES_NOTHING, NULL },
    { "open, mapped ahead", have_other, NULL, do_open_ahead, WEIR_OK, ALL, 0, NULL },
    { "create over a stale one", NULL, have_stale, do_create, WEIR_OK, ALL, 0, NULL },
    { "create of a live one", have_other, NULL, do_create, WEIR_E_EXISTS, ALL, 0, NULL },
    { "create, to persist", NULL, NULL, do_create_persistent, WEIR_OK, ALL, MAKES_NOTHING, check_persists },
    { "create, to persist, over a stale one", NULL, have_stale, do_create_persistent, WEIR_OK, ALL, 0, check_persists },
    { "create over an unused one", NULL, have_unused, do_create, WEIR_E_EXISTS, ALL, 0, check_kept },
    { "create, reserved", NULL, NULL, do_create_room, WEIR_OK, ALL, MAKES_NOTHING, check_room },
    { "create, reserved, to persist", NULL, NULL, do_create_lasting_room, WEIR_OK, ALL,
      LOCAL_ONLY | MAKES_NOTHING, check_room },
    { "create of a group", NULL, NULL, do_create_with_group, WEIR_OK, ALL, LOCAL_ONLY | MAKES_NOTHING, check_group },
    { "create, a node wanted", NULL, NULL, do_create_wanting_node, WEIR_OK, ALL, LOCAL_ONLY | MAKES_NOTHING, NULL },
    { "create, a node demanded", NULL, NULL, do_create_demanding_node, WEIR_OK, ALL,
      LOCAL_ONLY | MAKES_NOTHING | MAY_LACK, NULL },
    { "open", have_other, NULL, do_open, WEIR_OK, ALL, 0, NULL },
    { "open of none", NULL, NULL, do_open, WEIR_E_NOT_FOUND, ALL, MAKES_NOTHING, NULL },
    { "open of a stale one", NULL, have_stale, do_open, WEIR_E_NOT_FOUND, ALL, 0, NULL },
    { "open of another kind", have_other, NULL, do_mismatch, WEIR_E_MISMATCH, ALL, 0, NULL },
    { "open of one's own", have_other, NULL, do_open_of_owner, WEIR_OK, ALL, LOCAL_ONLY, NULL },
    { "open of a stranger's", have_other, NULL, do_open_of_stranger, WEIR_E_PERMISSION, ALL, LOCAL_ONLY, NULL },
    { "open of an unused one", NULL, have_unused, do_open, WEIR_OK, ALL, 0, check_kept },
    { "open of an unused one of another kind", NULL, have_unused, do_mismatch, WEIR_E_MISMATCH, ALL, 0, check_kept },
    { "open of a half decommitted one", NULL, have_half_decommitted, do_open, WEIR_OK, ALL, LOCAL_ONLY,
      check_recovered },
    { "open of one that persists", have_persistent_other, NULL, do_open, WEIR_OK, ALL, 0, NULL },
    { "open, kept out of dumps", have_other, NULL, do_open_demanding_no_dump, WEIR_OK, ALL, LOCAL_ONLY, NULL },
    { "open_or_create, making", NULL, NULL, do_either, WEIR_OK, ALL, MAKES_NOTHING, NULL },
    { "open_or_create, making one to persist", NULL, NULL, do_either_persistent, WEIR_OK, ALL,
      LOCAL_ONLY | MAKES_NOTHING, NULL },
    { "open_or_create, opening", have_other, NULL, do_either, WEIR_OK, ALL, 0, NULL },
    { "open_or_create of an unused one", NULL, have_unused, do_either_persistent, WEIR_OK, ALL, 0, check_kept },
    { "observe", have_other, NULL, do_observe, WEIR_OK, ALL, 0, NULL },
    { "observe an unused one", NULL, have_unused, do_observe, WEIR_OK, ALL, 0, check_kept },
    { "close, the last", NULL, have_handle, do_close, WEIR_OK, 0, ONCE, NULL },
    { "close, not the last", have_other, have_second, do_close, WEIR_OK, 0, ONCE, NULL },
    { "close of one that persists", have_persistent_other, have_second, do_close, WEIR_OK, 0, ONCE, NULL },
    { "remove an unused one", NULL, have_unused, do_remove, WEIR_OK, REMOVE, ALONE, check_removed },
    { "remove a stale one", NULL, have_stale, do_remove, WEIR_OK, REMOVE, ALONE, NULL },
    { "remove a live one", have_other, NULL, do_remove, WEIR_E_IN_USE, REMOVE, 0, check_in_use },
    { "remove none", NULL, NULL, do_remove, WEIR_E_NOT_FOUND, REMOVE, 0, NULL },
};

/* Of an open section, wherever its name lives. */
static const struct operation handle_operations[] = {
    { "extend", have_other, have_second, do_extend, WEIR_OK, EXTEND, 0, check_size },
    { "extend on a node", have_other, have_second_on_node, do_extend, WEIR_OK, EXTEND,
      LOCAL_ONLY | MAY_LACK, check_size },
    { "size of what another extended", have_other, have_second_of_larger, do_size, WEIR_OK, 0, LOCAL_ONLY, NULL },
    { "map", have_other, have_second, do_map, WEIR_OK, MAP, 0, NULL },
    { "map what another extended", have_other, have_second_of_larger, do_map, WEIR_OK, MAP,
      LOCAL_ONLY, NULL },
    { "map a copy", have_other, have_second, do_map_copy, WEIR_OK, MAP, LOCAL_ONLY, NULL },
    { "map reserved room", have_room_other, have_second, do_map, WEIR_OK, MAP, LOCAL_ONLY,
      check_reaches },
    { "unmap", have_room_other, have_view, do_unmap, WEIR_OK, 0, LOCAL_ONLY | ONCE, NULL },
    { "claim", have_other, have_second, do_claim, WEIR_OK, OS, LOCAL_ONLY, NULL },
    { "join", have_other, have_claimed, do_join, WEIR_OK, OS, LOCAL_ONLY, NULL },
    { "leave", have_other, have_joined, do_leave, WEIR_OK, OS, LOCAL_ONLY, NULL },
    { "look", have_joined_other, have_second, do_look, WEIR_OK, OS, LOCAL_ONLY, NULL },
    { "commit", have_room_other, have_view, do_commit, WEIR_OK, ALL, LOCAL_ONLY,
      check_committed },
    { "decommit", NULL, have_filled_room, do_decommit, WEIR_OK, DECOMMIT, LOCAL_ONLY | ALONE,
      check_decommitted },
    { "decommit under an observer", NULL, have_room_observed, do_decommit, WEIR_E_IN_USE,
      DECOMMIT, LOCAL_ONLY | ALONE, check_untouched },
    { "decommit beside another", NULL, have_room_shared, do_decommit, WEIR_E_IN_USE, DECOMMIT,
      LOCAL_ONLY | ALONE, check_untouched },
    { "refresh", have_room_other, have_view_of_less, do_refresh, WEIR_OK, MAP, LOCAL_ONLY, check_refreshed },
};

/* What is wanted of memory, and what is demanded. */
static const struct operation memory_operations[] = {
    { "map, large and locked pages wanted", have_pages, have_wanting, do_map, WEIR_OK, MAP,
      LOCAL_ONLY, NULL },
    { "map, all but large pages demanded", have_pages, have_demanding, do_map, WEIR_OK, MAP,
      LOCAL_ONLY | MAY_LACK, check_demanded },
    { "map, prefaulting demanded", have_pages, have_demanding_prefault, do_map, WEIR_OK, MAP, LOCAL_ONLY | MAY_LACK,
      check_prefaulted },
    { "map, large pages demanded", have_pages, have_demanding_large, do_map, WEIR_OK, MAP,
      LOCAL_ONLY | MAY_LACK, check_large },
};

#define WALK(...) WALK_FAULTS(operations, __VA_ARGS__)

Test(section_faults, opening_fails_and_nothing_leaks_or_is_left) { WALK(OPENAT, TMPFILE, DUP); }
Test(section_faults, closing_and_looking_at_files_fails_and_nothing_leaks_or_is_left) { WALK(CLOSE, FSTAT, FSTATAT); }
Test(section_faults, naming_and_removing_fails_and_nothing_leaks_or_is_left)
{
    WALK(FCHMOD, FCHMODAT, FCHOWN, MKDIRAT, LINKAT, UNLINKAT);
}
Test(section_faults, locking_fails_and_nothing_leaks_or_is_left) { WALK(LOCK, UNLOCK, LOOK); }
Test(section_faults, allocating_fails_and_nothing_leaks_or_is_left) { WALK(FALLOCATE, FTRUNCATE, MBIND); }
Test(section_faults, reading_and_mapping_fails_and_nothing_leaks_or_is_left)
{
    WALK(PREAD, GETDENTS, MMAP, MUNMAP, MADVISE);
}
Test(section_faults, without_an_id_there_is_no_section) { WALK(GETRANDOM); }
Test(section_faults, limits_that_cannot_be_read_are_taken_for_none) { WALK(FSTATVFS, GETRLIMIT); }

#define WALK_HANDLES(...) WALK_FAULTS(handle_operations, __VA_ARGS__)

Test(section_faults, a_handle_whose_files_and_locks_fail_is_as_good_as_before)
{
    WALK_HANDLES(OPENAT, CLOSE, FSTAT, LOCK, UNLOCK, LOOK, PREAD, FSTATVFS, GETRLIMIT);
}
Test(section_faults, a_handle_whose_memory_is_not_to_be_had_is_as_good_as_before)
{
    WALK_HANDLES(FALLOCATE, PUNCH, MBIND);
}
Test(section_faults, a_handle_whose_mapping_fails_is_as_good_as_before)
{
    WALK_HANDLES(MMAP, MUNMAP, MPROTECT, MADVISE);
}
Test(section_faults, what_was_demanded_of_memory_is_had_or_the_view_is_not)
{
    WALK_FAULTS(memory_operations, OPENAT, MMAP, MUNMAP, MADVISE, MLOCK, MOVE_PAGES);
}

Test(section_faults, memory_that_cannot_be_unmapped_does_not_keep_the_name_locked_behind_close)
{
    struct scene s;
    scene_begin(&s, prepare(), "Local/fault");
    have_handle(&s);
    arm(UNLINKAT, EIO, 1, 1);
    plan.munmap_too = true;
    CHECK_OK(weir_section_close(s.handle));
    disarm();
    cr_assert(exists(section_path(s.dir, s.name).text));
    weir_section *section;
    CHECK_OK(weir_section_create(&section, s.name, SIZE, NULL));
    CHECK_OK(weir_section_close(section));
    cr_assert_eq(support_entries(s.dir, true), 0);
}
