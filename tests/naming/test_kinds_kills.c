/* As test_section_kills.c: sections without a name, files, and looking at and cleaning what is there. */
#include "faults_kinds.h"

/* ---- without a name ---- */

static void left_nothing(struct scene *s, long n, const char *text)
{
    (void)n;
    EXPECT(files_under(s->dir) == 0, "%s: a file is left", text);
}

/* The one who gave the handle has it as before, and others can still attach. */
static void left_unnamed(struct scene *s, long n, const char *text)
{
    weir_section *another;
    (void)n;
    uint64_t size = weir_section_size(s->other);
    EXPECT(size == SIZE || size == LARGE, "%s: the size is another", text);
    EXPECT(stamp_of(s->other) == STAMP, "%s: its content is another", text);
    CHECK_OK(weir_section_attach(&another, s->given, NULL));
    EXPECT(stamp_of(another) == STAMP, "%s: it is another section", text);
    CHECK_OK(weir_section_close(another));
    CHECK_OK(weir_section_extend(s->other, LARGE));
}

/* No lock of the dead one is left: his commits can be completed, and a sole user may give memory back. */
static void left_unnamed_room(struct scene *s, long n, const char *text)
{
    unsigned count = count_committed(s->other) - 1;
    (void)n;
    EXPECT(count == 0 || count == 64 - COMMIT_FIRST || count == COMMIT_END - COMMIT_FIRST,
           "%s: %u granules are committed", text, count);
    weir_view view;
    CHECK_OK(weir_view_map(&view, s->other, 0, 0, WEIR_READ_WRITE));
    CHECK_OK(weir_section_commit(s->other, 0, 0));
    EXPECT(holds(&view, 0, GRANULES, ZEROS), "%s: it is not zeroed", text);
    weir_status status = weir_section_decommit(s->other, 0, 0);
    EXPECT(status == WEIR_OK, "%s: then decommit gave %s (%s)", text, weir_status_name(status), weir_error_detail());
    EXPECT(count_committed(s->other) == 0, "%s: it is still committed", text);
    CHECK_OK(weir_view_unmap(&view));
}

static void left_sealed(struct scene *s, long n, const char *text)
{
    uint32_t seals = weir_section_seals(s->other);
    (void)n;
    EXPECT(seals == 0 || seals == (WEIR_SEAL_SHRINK | WEIR_SEAL_GROW), "%s: the seals are %#x", text, seals);
    EXPECT(stamp_of(s->other) == STAMP, "%s: its content is another", text);
    weir_status status = weir_section_extend(s->other, 2 * SIZE);
    EXPECT(status == (seals == 0 ? WEIR_OK : WEIR_E_PERMISSION), "%s: then extend gave %s (%s)", text,
           weir_status_name(status), weir_error_detail());
}

static void left_on_socket(struct scene *s, long n, const char *text)
{
    weir_status status = weir_handle_receive(s->ends[1], &s->got);
    EXPECT(status == WEIR_OK || status == WEIR_TIMEOUT, "%s: then receive gave %s", text, weir_status_name(status));
    left_unnamed(s, n, text);
}

static const struct death unnamed_deaths[] = {
    { "create_unnamed", NULL, NULL, do_unnamed, WEIR_OK, LOCAL_ONLY, left_nothing },
    { "create_unnamed, large pages wanted", NULL, NULL, do_unnamed_large, WEIR_OK, LOCAL_ONLY, left_nothing },
    { "create_unnamed, reserved", NULL, NULL, do_unnamed_room, WEIR_OK, LOCAL_ONLY, left_nothing },
    { "attach", have_unnamed_other, NULL, do_attach, WEIR_OK, LOCAL_ONLY, left_unnamed },
    { "attach to look", have_unnamed_other, NULL, do_attach_to_look, WEIR_OK, LOCAL_ONLY, left_unnamed },
    { "attach reserved room", have_unnamed_room_other, NULL, do_attach, WEIR_OK, LOCAL_ONLY, left_unnamed_room },
    { "attach reserved room to look", have_unnamed_room_other, NULL, do_attach_to_look, WEIR_OK, LOCAL_ONLY,
      left_unnamed_room },
    { "export", have_unnamed_other, have_attached, do_export, WEIR_OK, LOCAL_ONLY, left_unnamed },
    { "export to look, for exec", have_unnamed_other, have_attached, do_export_inherited, WEIR_OK, LOCAL_ONLY,
      left_unnamed },
    { "seal", have_unnamed_other, have_attached, do_seal, WEIR_OK, LOCAL_ONLY, left_sealed },
    { "map", have_unnamed_other, have_attached, do_map, WEIR_OK, LOCAL_ONLY, left_unnamed },
    { "commit", have_unnamed_room_other, have_attached_view, do_commit, WEIR_OK, LOCAL_ONLY, left_unnamed_room },
    { "extend", have_unnamed_other, have_attached, do_extend, WEIR_OK, LOCAL_ONLY, left_unnamed },
    { "close", have_unnamed_other, have_attached, do_close, WEIR_OK, LOCAL_ONLY, left_unnamed },
    { "send", have_socket, NULL, do_send, WEIR_OK, LOCAL_ONLY, left_on_socket },
    { "receive", have_sent, NULL, do_receive, WEIR_OK, LOCAL_ONLY, left_on_socket },
    { "close of a handle", have_unnamed_other, NULL, do_close_handle, WEIR_OK, LOCAL_ONLY, left_unnamed },
};

/* ---- files ---- */

/* It may be longer than it was, with zeros; and it can be opened and grown. */
static void left_file(struct scene *s, long n, const char *text)
{
    uint64_t size = 0;
    (void)n;
    EXPECT(file_is_whole(s->path, &size) && size >= FILE_BYTES, "%s: the file is not as it was", text);
    CHECK_OK(weir_section_open_file(&s->handle, s->path, GROWN, NULL));
    EXPECT(file_is_whole(s->path, &size) && size >= GROWN, "%s: it cannot be grown", text);
}

static void left_same_file(struct scene *s, long n, const char *text)
{
    uint64_t size = 0;
    (void)n;
    EXPECT(file_is_whole(s->path, &size) && size == FILE_BYTES, "%s: the file is not as it was", text);
}

/* It may be there, shorter, with zeros. */
static void left_new_file(struct scene *s, long n, const char *text)
{
    uint64_t size = 0;
    (void)n;
    EXPECT(!exists(s->path) || file_is_whole(s->path, &size), "%s: the file has bytes of its own", text);
    CHECK_OK(weir_section_open_file(&s->handle, s->path, GROWN, &(weir_section_options){ .flags = WEIR_FILE_CREATE }));
    EXPECT(file_is_whole(s->path, &size) && size == GROWN, "%s: it cannot be grown", text);
}

static const struct death file_deaths[] = {
    { "open_file", have_file, NULL, do_open_file, WEIR_OK, LOCAL_ONLY, left_same_file },
    { "open_file to look", have_file, NULL, do_observe_file, WEIR_OK, LOCAL_ONLY, left_same_file },
    { "open_file, growing", have_file, NULL, do_grow_file_much, WEIR_OK, LOCAL_ONLY, left_file },
    { "open_file, new", have_no_file, NULL, do_new_file, WEIR_OK, LOCAL_ONLY, left_new_file },
    { "open_file, making", have_no_file, NULL, do_create_file, WEIR_OK, LOCAL_ONLY, left_new_file },
    { "open_file, not new", have_file, NULL, do_new_file_again, WEIR_E_EXISTS, LOCAL_ONLY, left_same_file },
    { "open_file, short", have_file, NULL, do_observe_more, WEIR_E_FILE_SHORT, LOCAL_ONLY, left_same_file },
    { "extend of a file", have_file, have_open_file, do_extend, WEIR_OK, LOCAL_ONLY, left_file },
    { "flush", have_file, have_open_file, do_flush, WEIR_OK, LOCAL_ONLY, left_same_file },
    { "flush of a view", have_file, have_file_view, do_flush_view, WEIR_OK, LOCAL_ONLY, left_same_file },
    { "close of a file", have_file, have_open_file, do_close, WEIR_OK, LOCAL_ONLY, left_same_file },
};

/* ---- looking ---- */

static bool count_stale(const weir_section_info *info, void *arg)
{
    *(unsigned *)arg += info->state == WEIR_SECTION_STALE;
    return true;
}

static void left_as_it_was(struct scene *s, long n, const char *text)
{
    weir_section_info info;
    (void)n;
    CHECK_OK(weir_section_stat(s->name, &info));
    EXPECT(info.state == WEIR_SECTION_LIVE && info.users == 1 && info.present == 1 && info.committed == 2 * GRANULE,
           "%s: the one in use is not as it was", text);
    CHECK_OK(weir_section_stat(kept_name, &info));
    EXPECT(info.state == WEIR_SECTION_UNUSED && info.users == 0, "%s: the one that persists is not as it was", text);
    CHECK_OK(weir_section_open(&s->handle, kept_name, NULL));
    CHECK_OK(weir_section_close(s->handle));
    s->handle = NULL;
}

/* Each is there, whole, or gone; the next clean takes the rest. */
static void left_partly_cleaned(struct scene *s, long n, const char *text)
{
    weir_section_info info;
    unsigned stale = 0;
    for (int i = 0; i < 2; i++) {
        weir_status status = weir_section_stat(stale_names[i], &info);
        EXPECT(status == WEIR_E_NOT_FOUND || (status == WEIR_OK && info.state == WEIR_SECTION_STALE),
               "%s: %s is half gone", text, stale_names[i]);
    }
    CHECK_OK(weir_section_clean(NULL, NULL));
    CHECK_OK(weir_section_list(count_stale, &stale));
    EXPECT(stale == 0, "%s: %u are stale after the next clean", text, stale);
    left_as_it_was(s, n, text);
}

static weir_status do_only_list(struct scene *s)
{
    unsigned stale = 0;
    (void)s;
    return weir_section_list(count_stale, &stale);
}

static const struct death look_deaths[] = {
    { "list", have_sights, NULL, do_only_list, WEIR_OK, LOCAL_ONLY, left_as_it_was },
    { "stat", have_sights, NULL, do_stat, WEIR_OK, 0, left_as_it_was },
    { "users", have_sights, NULL, do_users, WEIR_OK, LOCAL_ONLY, left_as_it_was },
    { "mappings", have_sights, NULL, do_mappings, WEIR_OK, LOCAL_ONLY, left_as_it_was },
    { "memory of a view", have_sights, have_looked_at, do_memory, WEIR_OK, LOCAL_ONLY, left_as_it_was },
    { "clean", have_stale_sights, NULL, do_clean, WEIR_OK, 0, left_partly_cleaned },
};

Test(kinds_kills, killed_at_any_call_about_an_unnamed_section_the_others_are_none_the_worse)
{
    WALK_KILLS(unnamed_deaths);
}
Test(kinds_kills, killed_at_any_call_about_a_file_it_is_as_it_was_or_longer_with_zeros) { WALK_KILLS(file_deaths); }
Test(kinds_kills, killed_at_any_call_of_a_look_or_a_clean_each_section_is_there_or_gone) { WALK_KILLS(look_deaths); }
