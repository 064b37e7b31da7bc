/* Which status an error of the system gives, and the text that goes with it. */
#include "faults_kinds.h"

struct verdict {
    const char *text;
    void (*stage)(struct scene *);
    void (*before)(struct scene *);
    weir_status (*act)(struct scene *);
    enum call call;
    int error;
    long first, times;
    weir_status expected;
};

#define EVER LONG_MAX

static const struct verdict verdicts[] = {
    { "create", NULL, NULL, do_create, OPENAT, EMFILE, 1, EVER, WEIR_E_NO_MEMORY },
    { "create", NULL, NULL, do_create, OPENAT, ENFILE, 1, EVER, WEIR_E_NO_MEMORY },
    { "create", NULL, NULL, do_create, OPENAT, EACCES, 1, EVER, WEIR_E_PERMISSION },
    { "create", NULL, NULL, do_create, OPENAT, EIO, 1, EVER, WEIR_E_OS },
    { "create", NULL, NULL, do_create, TMPFILE, EOPNOTSUPP, 1, 1, WEIR_E_UNSUPPORTED },
    { "create", NULL, NULL, do_create, TMPFILE, EISDIR, 1, 1, WEIR_E_UNSUPPORTED },
    { "create", NULL, NULL, do_create, TMPFILE, ENOSPC, 1, 1, WEIR_E_NO_SPACE },
    { "create", NULL, NULL, do_create, TMPFILE, EDQUOT, 1, 1, WEIR_E_NO_SPACE },
    { "create", NULL, NULL, do_create, TMPFILE, EMFILE, 1, 1, WEIR_E_NO_MEMORY },
    { "create", NULL, NULL, do_create, TMPFILE, ENOMEM, 1, 1, WEIR_E_NO_MEMORY },
    { "create", NULL, NULL, do_create, TMPFILE, EACCES, 1, 1, WEIR_E_PERMISSION },
    { "create", NULL, NULL, do_create, TMPFILE, EROFS, 1, 1, WEIR_E_PERMISSION },
    { "create", NULL, NULL, do_create, TMPFILE, EIO, 1, 1, WEIR_E_OS },
    { "create", NULL, NULL, do_create, TMPFILE, ENOENT, 1, 1, WEIR_OK }, /* the directory went: again */
    { "create", NULL, NULL, do_create, MKDIRAT, ENOSPC, 1, 1, WEIR_E_NO_SPACE },
    { "create", NULL, NULL, do_create, MKDIRAT, EACCES, 1, 1, WEIR_E_PERMISSION },
    { "create", NULL, NULL, do_create, MKDIRAT, EROFS, 1, 1, WEIR_E_PERMISSION },
    { "create", NULL, NULL, do_create, MKDIRAT, EEXIST, 1, 1, WEIR_OK }, /* somebody else's, and it went: again */
    { "create", NULL, NULL, do_create, FCHMOD, EPERM, 1, 1, WEIR_E_PERMISSION },
    { "create", NULL, NULL, do_create, FALLOCATE, ENOSPC, 1, EVER, WEIR_E_NO_SPACE },
    { "create", NULL, NULL, do_create, FALLOCATE, ENOMEM, 1, EVER, WEIR_E_NO_SPACE },
    { "create", NULL, NULL, do_create, FALLOCATE, EDQUOT, 1, EVER, WEIR_E_NO_SPACE },
    { "create", NULL, NULL, do_create, FALLOCATE, ENOSPC, 1, 2, WEIR_OK }, /* another had it just then: again */
    { "create", NULL, NULL, do_create, FALLOCATE, EOPNOTSUPP, 1, 1, WEIR_E_UNSUPPORTED },
    { "create", NULL, NULL, do_create, FALLOCATE, EIO, 1, 1, WEIR_E_OS },
    { "create", NULL, NULL, do_create, FALLOCATE, EINTR, 1, 1, WEIR_OK },
    { "create", NULL, NULL, do_create, FALLOCATE, EINTR, 1, 100, WEIR_OK },
    { "create", NULL, NULL, do_create, MMAP, ENOMEM, 1, 1, WEIR_E_NO_MEMORY }, /* to fill it */
    { "create", NULL, NULL, do_create, MMAP, ENOMEM, 2, 1, WEIR_E_NO_MEMORY }, /* its header; it has its name already */
    { "create", NULL, NULL, do_create, MADVISE, ENOMEM, 1, 1, WEIR_E_NO_MEMORY },
    { "create", NULL, NULL, do_create, MADVISE, EINVAL, 2, 1, WEIR_OK }, /* in the dump of a crash, then */
    { "create", NULL, NULL, do_create, LOCK, EINVAL, 1, 1, WEIR_E_UNSUPPORTED },
    { "create", NULL, NULL, do_create, LOCK, ENOLCK, 1, 1, WEIR_E_UNSUPPORTED },
    { "create", NULL, NULL, do_create, LINKAT, ENOENT, 1, 1, WEIR_OK }, /* without a capability: the long way */
    { "create", NULL, NULL, do_create, LINKAT, ENOENT, 1, 2, WEIR_E_UNSUPPORTED },
    { "create", NULL, NULL, do_create, LINKAT, EEXIST, 1, 1, WEIR_OK },
    { "create", NULL, NULL, do_create, LINKAT, EXDEV, 1, 2, WEIR_E_OS },
    { "create", NULL, NULL, do_create, LINKAT, ENOSPC, 1, 2, WEIR_E_NO_SPACE },
    { "create", NULL, NULL, do_create, LINKAT, EPERM, 1, 2, WEIR_E_PERMISSION },
    { "create", NULL, NULL, do_create, FSTATVFS, EIO, 1, 1, WEIR_OK },
    { "create", NULL, NULL, do_create, GETRLIMIT, EIO, 1, 1, WEIR_OK },
    { "create of a group", NULL, NULL, do_create_with_group, FCHOWN, EPERM, 1, 1, WEIR_E_PERMISSION },
    { "create of a group", NULL, NULL, do_create_with_group, FCHOWN, EDQUOT, 1, 1, WEIR_E_NO_SPACE },
    { "create, reserved", NULL, NULL, do_create_room, FTRUNCATE, EIO, 1, 1, WEIR_E_OS },
    { "create, reserved", NULL, NULL, do_create_room, FTRUNCATE, EFBIG, 1, 1, WEIR_E_OS },
    { "create, a node wanted", NULL, NULL, do_create_wanting_node, MBIND, EINVAL, 1, 1, WEIR_OK },
    { "create, a node demanded", NULL, NULL, do_create_demanding_node, MBIND, EINVAL, 1, 1, WEIR_E_UNSUPPORTED },
    { "create, a node demanded", NULL, NULL, do_create_demanding_node, MBIND, ENOSYS, 1, 1, WEIR_E_UNSUPPORTED },
    { "open", have_other, NULL, do_open, LOCK, EINVAL, 1, EVER, WEIR_E_UNSUPPORTED },
    { "open", have_other, NULL, do_open, LOCK, ENOLCK, 1, EVER, WEIR_E_UNSUPPORTED },
    { "open", have_other, NULL, do_open, LOCK, EIO, 1, EVER, WEIR_E_OS },
    { "open", have_other, NULL, do_open, PREAD, EIO, 1, EVER, WEIR_E_OS },
    { "open", have_other, NULL, do_open, MMAP, ENOMEM, 1, 1, WEIR_E_NO_MEMORY },
    { "open", have_other, NULL, do_open, OPENAT, EMFILE, 1, EVER, WEIR_E_NO_MEMORY },
    { "observe", have_other, NULL, do_observe, LOOK, EINVAL, 1, 1, WEIR_E_UNSUPPORTED },
    { "observe", have_other, NULL, do_observe, LOOK, EIO, 1, 1, WEIR_E_OS },
    { "remove", NULL, have_unused, do_remove, UNLINKAT, EACCES, 1, 1, WEIR_E_PERMISSION },
    { "remove", NULL, have_unused, do_remove, UNLINKAT, ENOENT, 1, 1, WEIR_OK }, /* another was first */
    { "remove", NULL, have_unused, do_remove, OPENAT, EMFILE, 1, EVER, WEIR_E_NO_MEMORY },
    { "remove", NULL, have_unused, do_remove, PREAD, EIO, 1, EVER, WEIR_E_OS },
    { "remove", have_other, NULL, do_remove, LOCK, EAGAIN, 1, 1, WEIR_E_IN_USE },
    { "extend", have_other, have_second, do_extend, FALLOCATE, ENOSPC, 2, 1, WEIR_E_NO_SPACE },
    { "extend", have_other, have_second, do_extend, FALLOCATE, EINTR, 1, 100, WEIR_OK },
    { "map", have_other, have_second, do_map, MMAP, ENOMEM, 1, 1, WEIR_E_NO_MEMORY },
    { "map", have_other, have_second, do_map, MMAP, EAGAIN, 1, 1, WEIR_E_OS },
    { "map", have_other, have_second, do_map, MADVISE, ENOMEM, 1, 1, WEIR_E_NO_MEMORY },
    { "map reserved room", have_room_other, have_second, do_map, MPROTECT, ENOMEM, 1, 1, WEIR_E_NO_MEMORY },
    { "claim", have_other, have_second, do_claim, LOCK, ENOLCK, 1, 1, WEIR_E_OS },
    { "claim", have_other, have_second, do_claim, LOCK, EAGAIN, 1, 1, WEIR_OK }, /* the next slot */
    { "claim", have_other, have_second, do_claim, LOCK, EAGAIN, 1, 4, WEIR_E_IN_USE },
    { "claim", have_other, have_second, do_claim, LOCK, EACCES, 1, 4, WEIR_E_IN_USE }, /* POSIX allows either */
    { "look", have_joined_other, have_second, do_look, LOOK, EINVAL, 1, 1, WEIR_E_OS },
    { "commit", have_room_other, have_view, do_commit, FALLOCATE, ENOSPC, 1, 1, WEIR_E_NO_SPACE },
    { "commit", have_room_other, have_view, do_commit, FALLOCATE, EIO, 1, 1, WEIR_E_OS },
    { "commit", have_room_other, have_view, do_commit, PUNCH, EOPNOTSUPP, 1, 1, WEIR_E_UNSUPPORTED },
    { "commit", have_room_other, have_view, do_commit, PUNCH, EIO, 1, 1, WEIR_E_OS },
    { "commit", have_room_other, have_view, do_commit, MPROTECT, ENOMEM, 1, 1, WEIR_E_NO_MEMORY },
    { "commit", have_room_other, have_view, do_commit, LOCK, EAGAIN, 1, 3, WEIR_OK }, /* until the other has done */
    { "commit", have_room_other, have_view, do_commit, LOCK, EAGAIN, 1, EVER, WEIR_E_BUSY },
    { "commit", have_room_other, have_view, do_commit, LOCK, ENOLCK, 1, 1, WEIR_E_OS },
    { "decommit", NULL, have_filled_room, do_decommit, LOCK, EAGAIN, 1, 1, WEIR_E_IN_USE },
    { "decommit", NULL, have_filled_room, do_decommit, LOCK, EAGAIN, 2, 1, WEIR_E_IN_USE },
    { "decommit", NULL, have_filled_room, do_decommit, PUNCH, EOPNOTSUPP, 1, 1, WEIR_E_UNSUPPORTED },
    { "decommit", NULL, have_filled_room, do_decommit, PUNCH, EIO, 1, 1, WEIR_E_OS },
    { "refresh", have_room_other, have_view, do_refresh, MPROTECT, ENOMEM, 1, 1, WEIR_E_NO_MEMORY },
    { "create_unnamed", NULL, NULL, do_unnamed, MEMFD, ENOSYS, 1, 1, WEIR_E_UNSUPPORTED },
    { "create_unnamed", NULL, NULL, do_unnamed, MEMFD, EMFILE, 1, 1, WEIR_E_NO_MEMORY },
    { "create_unnamed", NULL, NULL, do_unnamed, MEMFD, EINVAL, 1, 1, WEIR_OK }, /* before Linux 6.3 */
    { "create_unnamed", NULL, NULL, do_unnamed, MEMFD, EACCES, 1, 1, WEIR_E_PERMISSION },
    { "create_unnamed", NULL, NULL, do_unnamed, FALLOCATE, ENOSPC, 1, 1, WEIR_E_NO_SPACE },
    { "create_unnamed", NULL, NULL, do_unnamed, LOCK, ENOLCK, 1, 1, WEIR_E_UNSUPPORTED },
    { "create_unnamed, large pages", NULL, NULL, do_unnamed_large, MEMFD, ENOSYS, 1, 1, WEIR_OK },
    { "export", NULL, have_unnamed, do_export, OPENAT, ENOENT, 1, 1, WEIR_E_UNSUPPORTED }, /* no /proc */
    { "export", NULL, have_unnamed, do_export, OPENAT, EACCES, 1, 1, WEIR_E_PERMISSION },
    { "export", NULL, have_unnamed, do_export, OPENAT, EMFILE, 1, 1, WEIR_E_NO_MEMORY },
    { "export to look", NULL, have_unnamed, do_export_inherited, FD_FLAGS, EBADF, 1, 1, WEIR_E_OS },
    { "attach", have_unnamed_other, NULL, do_attach, OPENAT, ENOENT, 1, 1, WEIR_E_UNSUPPORTED },
    { "attach", have_unnamed_other, NULL, do_attach, OPENAT, EACCES, 1, 1, WEIR_E_PERMISSION },
    { "attach", have_unnamed_other, NULL, do_attach, OPENAT, EMFILE, 1, 1, WEIR_E_NO_MEMORY },
    { "attach", have_unnamed_other, NULL, do_attach, FSTAT, EBADF, 1, 1, WEIR_E_INVALID },
    { "attach", have_unnamed_other, NULL, do_attach, PREAD, EIO, 1, 1, WEIR_E_OS },
    { "attach", have_unnamed_other, NULL, do_attach, LOCK, EAGAIN, 1, 3, WEIR_OK }, /* its sole user decommits */
    { "attach", have_unnamed_other, NULL, do_attach, LOCK, EAGAIN, 1, EVER, WEIR_E_BUSY },
    { "attach", have_unnamed_other, NULL, do_attach, LOCK, EINVAL, 1, 1, WEIR_E_UNSUPPORTED },
    { "seal", NULL, have_unnamed, do_seal, SEAL, EINVAL, 1, 1, WEIR_E_UNSUPPORTED },
    { "seal", NULL, have_unnamed, do_seal, SEAL, EPERM, 1, 1, WEIR_E_PERMISSION },
    { "seal", NULL, have_unnamed, do_seal, SEAL, EBUSY, 1, 1, WEIR_E_OS },
    { "send", have_socket, NULL, do_send, SENDMSG, EAGAIN, 1, 1, WEIR_TIMEOUT },
    { "send", have_socket, NULL, do_send, SENDMSG, EPIPE, 1, 1, WEIR_CLOSED },
    { "send", have_socket, NULL, do_send, SENDMSG, ECONNRESET, 1, 1, WEIR_CLOSED },
    { "send", have_socket, NULL, do_send, SENDMSG, EBADF, 1, 1, WEIR_E_INVALID },
    { "send", have_socket, NULL, do_send, SENDMSG, ENOTSOCK, 1, 1, WEIR_E_UNSUPPORTED },
    { "send", have_socket, NULL, do_send, SENDMSG, ENOTCONN, 1, 1, WEIR_E_UNSUPPORTED },
    { "send", have_socket, NULL, do_send, SENDMSG, ETOOMANYREFS, 1, 1, WEIR_E_NO_MEMORY },
    { "send", have_socket, NULL, do_send, SENDMSG, EINTR, 1, 100, WEIR_OK },
    { "receive", have_sent, NULL, do_receive, RECVMSG, EAGAIN, 1, 1, WEIR_TIMEOUT },
    { "receive", have_sent, NULL, do_receive, RECVMSG, ECONNRESET, 1, 1, WEIR_CLOSED },
    { "receive", have_sent, NULL, do_receive, RECVMSG, ENOTSOCK, 1, 1, WEIR_E_UNSUPPORTED },
    { "receive", have_sent, NULL, do_receive, RECVMSG, ENOMEM, 1, 1, WEIR_E_NO_MEMORY },
    { "receive", have_sent, NULL, do_receive, RECVMSG, EINTR, 1, 100, WEIR_OK },
    { "open_file", have_file, NULL, do_open_file, OPENAT, ENOENT, 1, 1, WEIR_E_NOT_FOUND },
    { "open_file", have_file, NULL, do_open_file, OPENAT, EACCES, 1, 1, WEIR_E_PERMISSION },
    { "open_file", have_file, NULL, do_open_file, OPENAT, EROFS, 1, 1, WEIR_E_PERMISSION },
    { "open_file", have_file, NULL, do_open_file, OPENAT, EISDIR, 1, 1, WEIR_E_INVALID },
    { "open_file", have_file, NULL, do_open_file, OPENAT, ELOOP, 1, 1, WEIR_E_INVALID },
    { "open_file", have_file, NULL, do_open_file, OPENAT, EMFILE, 1, 1, WEIR_E_NO_MEMORY },
    { "open_file", have_file, NULL, do_open_file, OPENAT, ETXTBSY, 1, 1, WEIR_E_OS },
    { "open_file, made", have_file, NULL, do_create_file, OPENAT, ENOENT, 1, 1, WEIR_OK }, /* another made it */
    { "open_file, growing", have_file, NULL, do_grow_file, FALLOCATE, ENOSPC, 1, 1, WEIR_E_NO_SPACE },
    { "open_file, growing", have_file, NULL, do_grow_file, FALLOCATE, EOPNOTSUPP, 1, 1, WEIR_E_UNSUPPORTED },
    { "open_file, new", have_no_file, NULL, do_new_file, FCHOWN, EPERM, 1, 1, WEIR_E_PERMISSION },
    { "flush", have_file, have_open_file, do_flush, FSYNC, EIO, 1, 1, WEIR_E_OS },
    { "flush", have_file, have_open_file, do_flush, FSYNC, ENOSPC, 1, 1, WEIR_E_NO_SPACE },
    { "flush", have_file, have_open_file, do_flush, FSYNC, EDQUOT, 1, 1, WEIR_E_NO_SPACE },
    { "flush of a view", have_file, have_file_view, do_flush_view, MSYNC, EIO, 1, 1, WEIR_E_OS },
    { "flush of a view", have_file, have_file_view, do_flush_view, MSYNC, ENOSPC, 1, 1, WEIR_E_NO_SPACE },
    { "list", have_sights, have_looked_at, do_list, OPENAT, EACCES, 1, EVER, WEIR_E_PERMISSION },
    { "list", have_sights, have_looked_at, do_list, OPENAT, EIO, 1, EVER, WEIR_E_OS },
    { "list", have_sights, have_looked_at, do_list, OPENAT, EMFILE, 1, EVER, WEIR_E_NO_MEMORY },
    { "list", have_sights, have_looked_at, do_list, GETDENTS, EIO, 1, EVER, WEIR_E_OS },
    { "clean", have_stale_sights, NULL, do_clean, GETDENTS, EIO, 1, EVER, WEIR_E_OS },
    { "stat", have_sights, have_looked_at, do_stat, OPENAT, EIO, 1, EVER, WEIR_E_OS },
    { "stat", have_sights, have_looked_at, do_stat, FSTATAT, ENOENT, 1, 1, WEIR_E_NOT_FOUND },
    { "users", have_sights, have_looked_at, do_users, FSTATAT, ENOENT, 1, 1, WEIR_E_NOT_FOUND },
    { "users", have_sights, have_looked_at, do_users, LOOK, EIO, 1, 1, WEIR_E_OS },
    { "mappings", have_sights, have_looked_at, do_mappings, OPENAT, EACCES, 3, 1, WEIR_E_PERMISSION },
    { "memory", have_sights, have_looked_at, do_memory, MOVE_PAGES, ENOSYS, 1, 1, WEIR_OK },
};

static void check_verdict(const char *dir, const struct verdict *v)
{
    struct scene s;
    scene_begin(&s, dir, "Local/fault");
    if (v->stage != NULL)
        v->stage(&s);
    if (v->before != NULL)
        v->before(&s);
    arm(v->call, v->error, v->first, v->times);
    weir_status status = v->act(&s);
    disarm();
    EXPECT(status == v->expected, "%s, %s number %ld: %s gave %s, not %s (%s)", v->text, call_names[v->call], v->first,
           strerror(v->error), weir_status_name(status), weir_status_name(v->expected), weir_error_detail());
    EXPECT(plan.failed > 0, "%s, %s: was not called", v->text, call_names[v->call]);
    if (status == WEIR_E_OS || status == WEIR_E_NO_MEMORY)
        EXPECT(detail_has(strerror(v->error)), "%s, %s: the text does not say: %s (%s)", v->text, call_names[v->call],
               strerror(v->error), weir_error_detail());
    scene_end(&s);
    check_clean(dir, v->text);
}

/* Those that take 2 seconds are of one operation each. */
static void check_verdicts(weir_status (*act_of_busy)(struct scene *))
{
    const char *dir = prepare();
    unsigned count = 0;
    for (size_t i = 0; i < sizeof verdicts / sizeof verdicts[0]; i++) {
        bool busy = verdicts[i].expected == WEIR_E_BUSY;
        if (act_of_busy == NULL ? busy : !busy || verdicts[i].act != act_of_busy)
            continue;
        check_verdict(dir, &verdicts[i]);
        count++;
    }
    cr_assert_gt(count, 0);
    check_no_complaints();
}

Test(verdict_faults, a_range_that_another_commits_for_ever_is_busy) { check_verdicts(do_commit); }
Test(verdict_faults, a_section_that_is_locked_for_ever_is_busy_for_who_attaches) { check_verdicts(do_attach); }
Test(verdict_faults, each_error_of_the_system_gives_the_status_of_the_header) { check_verdicts(NULL); }

Test(verdict_faults, the_text_of_a_failed_allocation_says_need_and_where_and_what_was_had)
{
    const char *dir = prepare();
    weir_section *section;
    CHECK_OK(weir_section_create(&section, "fault", SIZE, NULL));
    arm(FALLOCATE, ENOSPC, 2, 1);
    CHECK_STATUS(weir_section_extend(section, SIZE + LARGE), WEIR_E_NO_SPACE);
    disarm();
    cr_assert(detail_has("needs 17 MiB") && detail_has(dir) && detail_has("gave 16 MiB"), "%s", weir_error_detail());
    cr_assert_eq(weir_section_size(section), SIZE);
    CHECK_OK(weir_section_close(section));
    arm(FALLOCATE, ENOSPC, 1, LONG_MAX);
    CHECK_STATUS(weir_section_create(&section, "fault", LARGE, NULL), WEIR_E_NO_SPACE);
    disarm();
    cr_assert(detail_has("needs 17.0 MiB") && detail_has(dir) && detail_has("gave 0 bytes"), "%s", weir_error_detail());
    cr_assert_eq(files_under(dir), 0);
}

Test(verdict_faults, the_text_of_a_lock_in_memory_that_was_refused_says_how_much_and_the_limit)
{
    (void)prepare();
    weir_section *section;
    weir_view view = { .base = NULL };
    CHECK_OK(weir_section_create(&section, "fault", SIZE, &(weir_section_options){ .demand = WEIR_LOCKED }));
    arm(MLOCK, ENOMEM, 1, 1);
    CHECK_STATUS(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE), WEIR_E_NO_MEMORY);
    disarm();
    cr_assert(detail_has("4 KiB") && detail_has("ulimit -l"), "%s", weir_error_detail());
    cr_assert_null(view.base);
    CHECK_OK(weir_section_close(section));
}

/* madvise(2) gives it while something else has the page in its hands, for as long as that lasts. */
Test(verdict_faults, large_pages_that_cannot_be_had_for_ever_are_done_without, .timeout = 10)
{
    (void)prepare();
    weir_section *section;
    weir_view view;
    CHECK_OK(weir_section_create(&section, "fault", PAGES, &(weir_section_options){ .want = WEIR_LARGE_PAGES }));
    arm(MADVISE, EAGAIN, 4, LONG_MAX); /* MADV_COLLAPSE, which says so */
    CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE));
    disarm();
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
}

/* What stands in the way of the user's directory goes away while it is looked at: that is no status of the library's
 * own that nobody knows. */
Test(verdict_faults, a_squatter_that_goes_while_it_is_looked_at_gives_a_status_of_the_header)
{
    const char *dir = prepare();
    path_text local = local_dir(dir);
    weir_section_info info;
    unsigned visits = 0;
    file_write(local.text, "none", 4, 0600);
    arm(FSTATAT, ENOENT, 1, 1);
    weir_status status = weir_section_stat("Local/fault", &info);
    cr_expect_eq(status, WEIR_E_NOT_FOUND, "stat gave %d", (int)status);
    arm(FSTATAT, ENOENT, 1, 1);
    status = weir_section_list(visit_info, &(struct scene){ .name = "", .visits = visits });
    cr_expect_eq(status, WEIR_OK, "list gave %d", (int)status);
    arm(FSTATAT, ENOENT, 1, 1);
    status = weir_section_clean(NULL, NULL);
    cr_expect_eq(status, WEIR_OK, "clean gave %d", (int)status);
    disarm();
    cr_assert_eq(unlink(local.text), 0);
}
