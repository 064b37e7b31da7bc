/* As test_section_faults.c: sections without a name, handing them over, files, and looking at what is there. */
#include "faults_kinds.h"

/* ---- what holds, failed or not ---- */

static void check_attached(struct scene *s, weir_status status, const char *text)
{
    EXPECT(status != WEIR_OK || stamp_of(s->handle) == STAMP, "%s: it is another section", text);
    EXPECT(stamp_of(s->other) == STAMP, "%s: the other's is another", text);
}

static void check_sealed(struct scene *s, weir_status status, const char *text)
{
    const uint32_t all = WEIR_SEAL_SHRINK | WEIR_SEAL_GROW | WEIR_SEAL_WRITE | WEIR_SEAL_SEAL;
    EXPECT(status != WEIR_OK || plan.call == SEALS || weir_section_seals(s->handle) == all, "%s: OK, and not sealed",
           text);
}

static void check_seal(struct scene *s, weir_status status, const char *text)
{
    uint32_t expected = status == WEIR_OK ? WEIR_SEAL_SHRINK | WEIR_SEAL_GROW : 0;
    EXPECT(weir_section_seals(s->handle) == expected, "%s: the seals are %#x", text, weir_section_seals(s->handle));
}

static void check_unnamed_room(struct scene *s, weir_status status, const char *text)
{
    if (status != WEIR_OK)
        return;
    CHECK_OK(weir_view_map(&s->had, s->handle, 0, 0, WEIR_READ_WRITE));
    EXPECT(count_committed(s->handle) == 1 && reaches_what_is_committed(s->handle, &s->had) &&
               holds(&s->had, 0, 1, ZEROS), "%s: its room is not as asked for", text);
}

static void check_unnamed_group(struct scene *s, weir_status status, const char *text)
{
    struct stat st;
    weir_handle handle;
    if (status != WEIR_OK)
        return;
    CHECK_OK(weir_section_export(s->handle, WEIR_READ_WRITE, false, &handle));
    EXPECT(fstat((int)handle, &st) == 0 && (st.st_mode & 07777) == 0660 && (geteuid() != 0 || st.st_gid == STRANGER),
           "%s: it has another mode or group", text);
    CHECK_OK(weir_handle_close(handle));
}

static void check_exported(struct scene *s, weir_status status, const char *text)
{
    if (status == WEIR_OK) {
        weir_section *section;
        CHECK_OK(weir_section_attach(&section, s->got, &observing));
        CHECK_OK(weir_section_close(section));
        bool inherited = (fcntl((int)s->got, F_GETFD) & FD_CLOEXEC) == 0;
        EXPECT(inherited == ((fcntl((int)s->got, F_GETFL) & O_ACCMODE) == O_RDONLY), "%s: exec does otherwise", text);
    }
}

static void check_sent(struct scene *s, weir_status status, const char *text)
{
    weir_handle handle = NO_HANDLE;
    weir_section *section;
    weir_status received = weir_handle_receive(s->ends[1], &handle);
    EXPECT(received == (status == WEIR_OK ? WEIR_OK : WEIR_TIMEOUT), "%s: the receiver then got %s", text,
           weir_status_name(received));
    if (received != WEIR_OK)
        return;
    CHECK_OK(weir_section_attach(&section, handle, NULL));
    EXPECT(stamp_of(section) == STAMP, "%s: it is another section", text);
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_handle_close(handle));
}

static void check_received(struct scene *s, weir_status status, const char *text)
{
    EXPECT((status == WEIR_OK) == (s->got >= 0), "%s: %s, and handle %lld", text, weir_status_name(status),
           (long long)s->got);
    if (s->got < 0)
        s->got = NO_HANDLE;
    EXPECT(s->got != 0 && s->got != 1, "%s: the handle is a standard descriptor", text);
}

static void check_file(struct scene *s, weir_status status, const char *text)
{
    uint64_t size = 0;
    struct stat st = { .st_blocks = 0 };
    bool whole = file_is_whole(s->path, &size) && stat(s->path, &st) == 0;
    if (status != WEIR_OK)
        EXPECT(st.st_blocks * 512 < 2 * FILE_BYTES, "%s: memory stays behind the file's end", text);
    if (status == WEIR_OK && s->handle != NULL)
        EXPECT(whole && size == weir_section_size(s->handle), "%s: its file is not as it says", text);
    else if (status != WEIR_OK)
        EXPECT(whole && size == FILE_BYTES, "%s: the file is not as it was", text);
}

static void check_new_file(struct scene *s, weir_status status, const char *text)
{
    if (status == WEIR_OK)
        check_file(s, status, text);
}

static void check_extended(struct scene *s, weir_status status, const char *text)
{
    uint64_t size = weir_section_size(s->handle);
    if (status != WEIR_OK)
        EXPECT(size == (s->path[0] != 0 ? FILE_BYTES : SIZE), "%s: the size is another", text);
    if (s->path[0] != 0)
        check_file(s, status, text);
}

/* A look that says it is fine tells what is there, or that it could not look at something. */
static void check_list(struct scene *s, weir_status status, const char *text)
{
    unsigned there = geteuid() == 0 ? 3 : 2;
    bool vanished = plan.error == ENOENT || plan.error == EACCES; /* what cannot be entered is left out */
    EXPECT(s->wrong == 0, "%s: %u of %u are told of wrongly", text, s->wrong, s->visits);
    EXPECT(status != WEIR_OK || vanished || s->visits == there, "%s: OK, and %u of %u are listed", text, s->visits,
           there);
}

static void check_stat(struct scene *s, weir_status status, const char *text)
{
    bool strange = s->info.state == WEIR_SECTION_STRANGE && is_failing(s->info.why);
    if (status == WEIR_OK)
        EXPECT(strange || is_true(&s->info, s->name),
               "%s: OK, and state %d, %u users, %u present, %llu bytes are committed", text, (int)s->info.state,
               s->info.users, s->info.present, (unsigned long long)s->info.committed);
    else
        EXPECT(s->info.name[0] == 0, "%s: touched its output", text);
}

static void check_users(struct scene *s, weir_status status, const char *text)
{
    EXPECT(status != WEIR_OK || (s->visits == 2 && s->wrong == 0), "%s: OK, and %u users, %u of them wrong", text,
           s->visits, s->wrong);
}

static void check_mappings(struct scene *s, weir_status status, const char *text)
{
    EXPECT(status != WEIR_OK || (s->visits == 1 && s->wrong == 0), "%s: OK, and %u mappings, %u of them wrong", text,
           s->visits, s->wrong);
}

static void check_memory(struct scene *s, weir_status status, const char *text)
{
    if (status == WEIR_OK)
        EXPECT(s->memory.page_bytes == 4096 && s->memory.resident_bytes <= GRANULE &&
                   (s->memory.got & WEIR_NOT_DUMPED) != 0 && (s->memory.got & WEIR_LOCKED) == 0,
               "%s: it is told of wrongly", text);
    else
        EXPECT(s->memory.page_bytes == 0, "%s: touched its output", text);
}

static void check_cleaned(struct scene *s, weir_status status, const char *text)
{
    unsigned gone = 0;
    for (int i = 0; i < 2; i++)
        gone += !exists(section_path(s->dir, stale_names[i]).text);
    EXPECT((s->wrong == 0 && s->visits == gone) || plan.error == ENOENT, "%s: %u are gone, %u are said to be", text,
           gone, s->visits);
    EXPECT(plan.failed > 0 || gone == 2 || status != WEIR_OK, "%s: %u are gone", text, gone);
    EXPECT(exists(section_path(s->dir, s->name).text) && exists(section_path(s->dir, kept_name).text),
           "%s: what is not stale is gone", text);
}

/* ---- the operations ---- */

#define EXPORT (NO_MEMORY | UNSUPPORTED | PERMISSION | OS)
#define FLUSH (NO_SPACE | NO_MEMORY | PERMISSION | OS)
#define SEND (TIMED_OUT | CLOSED_END | UNSUPPORTED | NO_MEMORY | PERMISSION | OS)
#define RECEIVE (TIMED_OUT | CLOSED_END | NO_MEMORY | UNSUPPORTED | OS)
#define USERS (PERMISSION | UNSUPPORTED | NO_MEMORY | OS)
#define LIST (PERMISSION | OS | NO_MEMORY)

static const struct operation unnamed_operations[] = {
    { "create_unnamed", NULL, NULL, do_unnamed, WEIR_OK, ALL, LOCAL_ONLY | MAKES_NOTHING, NULL },
    { "create_unnamed, large pages wanted", NULL, NULL, do_unnamed_large, WEIR_OK, ALL, LOCAL_ONLY | MAKES_NOTHING,
      NULL },
    { "create_unnamed, sealed", NULL, NULL, do_unnamed_sealed, WEIR_OK, ALL, LOCAL_ONLY | MAKES_NOTHING,
      check_sealed },
    { "create_unnamed, reserved", NULL, NULL, do_unnamed_room, WEIR_OK, ALL, LOCAL_ONLY | MAKES_NOTHING,
      check_unnamed_room },
    { "create_unnamed of a group", NULL, NULL, do_unnamed_of_group, WEIR_OK, ALL, LOCAL_ONLY | MAKES_NOTHING,
      check_unnamed_group },
    { "create_unnamed on a node", NULL, NULL, do_unnamed_on_node, WEIR_OK, ALL,
      LOCAL_ONLY | MAKES_NOTHING | MAY_LACK, NULL },
    { "export", NULL, have_unnamed, do_export, WEIR_OK, EXPORT, LOCAL_ONLY, check_exported },
    { "export to look, for exec", NULL, have_unnamed, do_export_inherited, WEIR_OK, EXPORT, LOCAL_ONLY,
      check_exported },
    { "attach", have_unnamed_other, NULL, do_attach, WEIR_OK, EXPORT, LOCAL_ONLY, check_attached },
    { "attach to look", have_unnamed_other, NULL, do_attach_to_look, WEIR_OK, EXPORT, LOCAL_ONLY, check_attached },
    { "attach another kind", have_unnamed_other, NULL, do_attach_another, WEIR_E_MISMATCH, EXPORT, LOCAL_ONLY,
      check_attached },
    { "attach reserved room", have_unnamed_room_other, NULL, do_attach, WEIR_OK, EXPORT, LOCAL_ONLY,
      check_unnamed_room },
    { "seal", NULL, have_unnamed, do_seal, WEIR_OK, PERMISSION | UNSUPPORTED | OS, LOCAL_ONLY, check_seal },
    { "seals", NULL, have_unnamed, do_seals, WEIR_OK, 0, LOCAL_ONLY, NULL },
    { "map", have_unnamed_other, have_attached, do_map, WEIR_OK, MAP, LOCAL_ONLY, NULL },
    { "commit", have_unnamed_room_other, have_attached_view, do_commit, WEIR_OK,
      ALL, LOCAL_ONLY, NULL },
    { "extend", have_unnamed_other, have_attached, do_extend, WEIR_OK, EXTEND, LOCAL_ONLY, check_extended },
    { "close", have_unnamed_other, have_attached, do_close, WEIR_OK, 0, LOCAL_ONLY | ONCE, NULL },
    { "send", have_socket, NULL, do_send, WEIR_OK, SEND, LOCAL_ONLY, check_sent },
    { "receive", have_sent, NULL, do_receive, WEIR_OK, RECEIVE,
      LOCAL_ONLY | ONCE, check_received },
    { "close of a handle", have_unnamed_other, NULL, do_close_handle, WEIR_OK, 0, LOCAL_ONLY | ONCE, NULL },
};

static const struct operation file_operations[] = {
    { "open_file", have_file, NULL, do_open_file, WEIR_OK, ALL, LOCAL_ONLY, check_file },
    { "open_file to look", have_file, NULL, do_observe_file, WEIR_OK, ALL, LOCAL_ONLY, check_file },
    { "open_file, growing", have_file, NULL, do_grow_file, WEIR_OK, ALL, LOCAL_ONLY, check_file },
    { "open_file, growing in steps", have_file, NULL, do_grow_file_much, WEIR_OK, ALL, LOCAL_ONLY, check_file },
    { "open_file, new", have_no_file, NULL, do_new_file, WEIR_OK, ALL, LOCAL_ONLY | MAKES_NOTHING, check_new_file },
    { "open_file, making", have_no_file, NULL, do_create_file, WEIR_OK, ALL, LOCAL_ONLY | MAKES_NOTHING,
      check_new_file },
    { "open_file, made", have_file, NULL, do_create_file, WEIR_OK, ALL, LOCAL_ONLY, check_file },
    { "open_file, not new", have_file, NULL, do_new_file_again, WEIR_E_EXISTS, ALL, LOCAL_ONLY, check_file },
    { "open_file of none", have_no_file, NULL, do_open_file, WEIR_E_NOT_FOUND, ALL, LOCAL_ONLY | MAKES_NOTHING, NULL },
    { "open_file, short", have_file, NULL, do_observe_more, WEIR_E_FILE_SHORT, ALL, LOCAL_ONLY, check_file },
    { "open_file of a stranger's", have_file, NULL, do_open_file_of_stranger, WEIR_E_PERMISSION, ALL, LOCAL_ONLY,
      check_file },
    { "extend of a file", have_file, have_open_file, do_extend, WEIR_OK, EXTEND, LOCAL_ONLY, check_extended },
    { "map of a file", have_file, have_open_file, do_map, WEIR_OK, MAP, LOCAL_ONLY, NULL },
    { "flush", have_file, have_open_file, do_flush, WEIR_OK, FLUSH, LOCAL_ONLY, check_file },
    { "flush of a view", have_file, have_file_view, do_flush_view, WEIR_OK, FLUSH, LOCAL_ONLY, check_file },
    { "close of a file", have_file, have_open_file, do_close, WEIR_OK, 0, LOCAL_ONLY | ONCE, check_file },
};

static const struct operation looks[] = {
    { "list", have_sights, have_looked_at, do_list, WEIR_OK, LIST, LOCAL_ONLY, check_list },
    { "stat", have_sights, have_looked_at, do_stat, WEIR_OK, LIST, VANISHES, check_stat },
    { "users", have_sights, have_looked_at, do_users, WEIR_OK, USERS, VANISHES, check_users },
    { "mappings", have_sights, have_looked_at, do_mappings, WEIR_OK, USERS, VANISHES,
      check_mappings },
    { "clean", have_stale_sights, NULL, do_clean, WEIR_OK, LIST, LOCAL_ONLY, check_cleaned },
    { "memory of a view", have_sights, have_looked_at, do_memory, WEIR_OK, UNSUPPORTED | NO_MEMORY | OS, LOCAL_ONLY,
      check_memory },
};

Test(kinds_faults, an_unnamed_section_whose_files_and_locks_fail_leaks_nothing)
{
    WALK_FAULTS(unnamed_operations, OPENAT, DUP, CLOSE, FD_FLAGS, FSTAT, FCHMOD, FCHOWN, LOCK, UNLOCK, PREAD, MEMFD,
                SEAL, SEALS, SENDMSG, RECVMSG);
}
Test(kinds_faults, an_unnamed_section_whose_memory_is_not_to_be_had_leaks_nothing)
{
    WALK_FAULTS(unnamed_operations, FALLOCATE, FTRUNCATE, MMAP, MUNMAP, MPROTECT, MADVISE, MBIND, GETRLIMIT, FSTATVFS,
                GETRANDOM);
}
Test(kinds_faults, a_file_is_as_it_was_when_opening_growing_or_flushing_it_fails)
{
    WALK_FAULTS(file_operations, OPENAT, DUP, CLOSE, FSTAT, FCHMOD, FCHOWN, FALLOCATE, FSYNC, MMAP, MADVISE,
                MSYNC, FSTATVFS, GETRLIMIT);
}
Test(kinds_faults, a_look_whose_calls_fail_says_so_or_tells_the_truth)
{
    WALK_FAULTS(looks, OPENAT, DUP, CLOSE, FSTAT, FSTATAT, UNLINKAT, LOCK, LOOK, PREAD, GETDENTS, MOVE_PAGES);
}
