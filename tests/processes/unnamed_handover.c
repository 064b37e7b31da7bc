/* Unnamed sections between processes: by inheritance, across exec, over sockets, on and on, and to other users.
 *
 * What a death frees is looked for until it is there: whoever reads /proc/PID/maps (ps, weir stat) meanwhile keeps a
 * killed process's mappings, and the locks by them, until he has read. */
#include "../naming/handles.h"

#include <weir/naming/participant.h>

#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/un.h>

#define KIB64 UINT64_C(65536)
#define LABEL "handed-over"
#define STRANGER 12345u
#define SIZE (KIB64 + 77)

static weir_section *create(uint32_t mode)
{
    return unnamed_of(SIZE, (weir_section_options){ .slots = 4, .mode = mode, .label = LABEL });
}

static void check_nothing_left(void)
{
    CHECK(label_fds(LABEL, NULL) == 0 && mappings_of("/memfd:" LABEL).all == 0);
}

static void die(void)
{
    (void)kill(getpid(), SIGKILL);
}

static void wait_for(int fd)
{
    char byte;
    CHECK(read(fd, &byte, 1) == 1);
}

static void tell(int fd)
{
    CHECK(write(fd, "x", 1) == 1);
}

static weir_participant slot_of(weir_section *section, uint32_t slot)
{
    weir_participant seen;
    CHECK_OK(weir_participant_look(section, slot, &seen));
    return seen;
}

static void join(weir_section *section, uint32_t slot)
{
    weir_participant before;
    CHECK_OK(weir_participant_claim(section, slot, 1, &before));
    CHECK_OK(weir_participant_join(section, &before));
}

/* ---- fork ---- */

static void attaches_and_answers(void *arg)
{
    weir_handle handle = *(weir_handle *)arg;
    weir_section *section = attach_of(handle, RW);
    CHECK(strcmp(weir_section_name(section), LABEL) == 0 && weir_section_size(section) == SIZE);
    CHECK(has_pattern(section, 1));
    put_pattern(section, 2);
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_handle_close(handle));
    check_nothing_left();
}

static void forks_on(void *arg)
{
    run_in_child(attaches_and_answers, arg);
}

static void a_child_attaches_by_what_it_inherited(void)
{
    for (int way = 0; way < 4; way++) {
        weir_section *section = create(0);
        weir_handle handle;
        put_pattern(section, 1);
        CHECK_OK(weir_section_export(section, RW, (way & 1) != 0, &handle));
        run_in_child((way & 2) != 0 ? forks_on : attaches_and_answers, &handle);
        CHECK(has_pattern(section, 2));
        CHECK_OK(weir_section_close(section));
        CHECK_OK(weir_handle_close(handle));
        check_nothing_left();
    }
}

/* ---- exec ---- */

static void become(const char *what, weir_handle number, int times)
{
    char text[32], count[16];
    (void)snprintf(text, sizeof text, "%lld", (long long)number);
    (void)snprintf(count, sizeof count, "%d", times);
    (void)execl("/proc/self/exe", "unnamed_handover", what, text, count, (char *)NULL);
    _exit(3);
}

/* The new programs. */
static int after_exec(const char *what, weir_handle number, int times)
{
    end_with_parent();
    CHECK(mappings_of("/memfd:" LABEL).all == 0);
    if (strcmp(what, "closed") == 0) {
        CHECK(label_fds(LABEL, NULL) == 0);
        check_refused_both(number, WEIR_E_INVALID, handle_text(number));
        return 0;
    }
    CHECK(label_fds(LABEL, NULL) == 1);
    if (times > 1) /* inherited once more */
        become(what, number, times - 1);
    if (strcmp(what, "stays") == 0) {
        tell(STDOUT_FILENO);
        for (;;)
            (void)pause();
    }
    attaches_and_answers(&number);
    return 0;
}

static void an_exec_leaves_the_handle_and_nothing_else_and_only_with_inherit(void)
{
    for (int times = 0; times < 3; times++) { /* 0: without inherit */
        weir_section *section = create(0);
        weir_handle handle;
        put_pattern(section, 1);
        CHECK_OK(weir_section_export(section, RW, times > 0, &handle));
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            (void)attach_of(handle, RW); /* and not closed */
            become(times > 0 ? "open" : "closed", handle, times);
        }
        CHECK(support_wait(child) == 0);
        CHECK(has_pattern(section, times > 0 ? 2 : 1));
        CHECK_OK(weir_section_close(section));
        CHECK_OK(weir_handle_close(handle));
        check_nothing_left();
    }
}

static void a_program_that_only_inherited_a_handle_is_no_user(void)
{
    int out[2];
    weir_section *section = unnamed_of(2 * KIB64, (weir_section_options){ .flags = WEIR_RESERVE, .label = LABEL });
    weir_handle handle;
    CHECK_OK(weir_section_commit(section, 0, 0));
    CHECK_OK(weir_section_export(section, RW, true, &handle));
    CHECK(pipe2(out, O_CLOEXEC) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        weir_section *own = attach_of(handle, RW); /* a user, until exec */
        (void)view_of(own, RW);
        CHECK(dup2(out[1], STDOUT_FILENO) == STDOUT_FILENO);
        become("stays", handle, 1);
    }
    (void)close(out[1]);
    wait_for(out[0]);
    CHECK_SOON(weir_section_decommit(section, 0, KIB64) == WEIR_OK);
    CHECK(kill(child, SIGKILL) == 0 && support_wait(child) == -SIGKILL);
    (void)close(out[0]);
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_handle_close(handle));
    check_nothing_left();
}

/* ---- sockets ---- */

static void receives_and_answers(void *arg)
{
    int socket = *(int *)arg;
    weir_handle handle = NO_HANDLE;
    CHECK(label_fds(LABEL, NULL) == 0);
    CHECK_OK(weir_handle_receive(socket, &handle));
    attaches_and_answers(&handle);
}

static void over_a_socketpair(void)
{
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    pid_t child = start(receives_and_answers, &ends[1]); /* before there is a section: it inherits none */
    weir_section *section = create(0);
    put_pattern(section, 1);
    weir_handle handle = export_of(section, RW);
    CHECK_OK(weir_handle_send(ends[0], handle));
    CHECK_OK(weir_handle_close(handle));
    CHECK(support_wait(child) == 0);
    CHECK(has_pattern(section, 2));
    CHECK_OK(weir_section_close(section));
    (void)close(ends[0]);
    (void)close(ends[1]);
    check_nothing_left();
}

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    CHECK(strlen(path) < sizeof address.sun_path);
    (void)strcpy(address.sun_path, path);
    return address;
}

/* Two programs that know a socket's path and nothing of each other. */
static int giver(const char *path)
{
    end_with_parent();
    struct sockaddr_un address = address_of(path);
    int listens = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(listens >= 0 && bind(listens, (struct sockaddr *)&address, sizeof address) == 0 && listen(listens, 1) == 0);
    tell(STDOUT_FILENO);
    int connection = accept4(listens, NULL, NULL, SOCK_CLOEXEC);
    CHECK(connection >= 0);
    weir_section *section = create(0);
    put_pattern(section, 1);
    weir_handle handle = export_of(section, RW);
    CHECK_OK(weir_handle_send(connection, handle));
    weir_handle none = NO_HANDLE;
    CHECK_STATUS(weir_handle_receive(connection, &none), WEIR_CLOSED); /* the taker has done */
    CHECK(none == NO_HANDLE && has_pattern(section, 2));
    CHECK_OK(weir_section_close(section));
    return 0;
}

static int taker(const char *path)
{
    end_with_parent();
    struct sockaddr_un address = address_of(path);
    int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(connection >= 0 && connect(connection, (struct sockaddr *)&address, sizeof address) == 0);
    receives_and_answers(&connection);
    return 0;
}

static pid_t start_program(const char *what, const char *path, int out)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(dup2(out, STDOUT_FILENO) == STDOUT_FILENO);
        (void)execl("/proc/self/exe", "unnamed_handover", what, path, (char *)NULL);
        _exit(3);
    }
    return child;
}

static void over_a_named_socket_between_unrelated_programs(const char *dir)
{
    char path[128];
    int out[2];
    (void)snprintf(path, sizeof path, "%s/socket", dir);
    CHECK(pipe2(out, O_CLOEXEC) == 0);
    pid_t gives = start_program("giver", path, out[1]);
    wait_for(out[0]);
    pid_t takes = start_program("taker", path, out[1]);
    CHECK(support_wait(takes) == 0 && support_wait(gives) == 0);
    (void)close(out[0]);
    (void)close(out[1]);
    CHECK(unlink(path) == 0);
    CHECK(support_entries(dir, true) == 0); /* unnamed: nothing of it is there */
}

/* ---- from A to B to C ---- */

struct link {
    int from, to; /* sockets; -1: the chain's end */
    int go;
    bool killed;  /* how it ends */
    bool anew;    /* it sends on a handle that it exported, not the one that came */
    uint32_t place;
    bool before_was_killed;
};

static void a_link_of_the_chain(void *arg)
{
    const struct link *link = arg;
    weir_handle handle = NO_HANDLE;
    weir_section *section;
    wait_for(link->go); /* whoever came before has ended */
    if (link->from < 0) {
        section = create(0);
        handle = export_of(section, RW);
    } else {
        CHECK_OK(weir_handle_receive(link->from, &handle));
        section = attach_of(handle, RW);
        CHECK(has_pattern(section, link->place));
        for (uint32_t slot = 0; slot < link->place; slot++)
            CHECK_SOON(slot_of(section, slot).presence == (link->before_was_killed ? WEIR_DEAD : WEIR_LEFT));
    }
    join(section, link->place);
    put_pattern(section, link->place + 1);
    if (link->anew) {
        CHECK_OK(weir_handle_close(handle));
        handle = export_of(section, RW);
    }
    if (link->to >= 0)
        CHECK_OK(weir_handle_send(link->to, handle));
    if (link->killed)
        die();
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_handle_close(handle));
}

static void it_is_passed_on_after_whoever_made_it_has_gone(bool killed, bool anew)
{
    int one[2], two[2], go[3][2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, one) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, two) == 0);
    const int from[3] = { -1, one[1], two[1] }, to[3] = { one[0], two[0], -1 };
    struct link links[3];
    pid_t pids[3];
    for (uint32_t i = 0; i < 3; i++) {
        CHECK(pipe2(go[i], O_CLOEXEC) == 0);
        links[i] = (struct link){ .from = from[i], .to = to[i], .go = go[i][0], .killed = killed && i < 2,
                                  .anew = anew, .place = i, .before_was_killed = killed };
        pids[i] = start(a_link_of_the_chain, &links[i]);
    }
    for (int i = 0; i < 3; i++) {
        tell(go[i][1]);
        CHECK(support_wait(pids[i]) == (links[i].killed ? -SIGKILL : 0));
        (void)close(go[i][0]);
        (void)close(go[i][1]);
    }
    for (int i = 0; i < 2; i++) {
        (void)close(one[i]);
        (void)close(two[i]);
    }
}

/* A socket whose ends all have: between two processes the section is nowhere but in it. */
static void adds_one_and_puts_it_back(void *arg)
{
    const struct link *link = arg;
    weir_handle handle = NO_HANDLE;
    CHECK_OK(weir_handle_receive(link->from, &handle));
    weir_section *section = attach_of(handle, RW);
    weir_view view = view_of(section, RW);
    ++*(uint64_t *)view.base;
    CHECK_OK(weir_handle_send(link->to, handle));
    if (link->killed)
        die();
}

static void it_goes_through_many_hands(void)
{
    int ends[2];
    weir_section *section = create(0);
    weir_handle handle = export_of(section, RW);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    CHECK_OK(weir_handle_send(ends[0], handle));
    CHECK_OK(weir_handle_close(handle));
    CHECK_OK(weir_section_close(section));
    uint64_t hands = support_count(200);
    for (uint64_t i = 0; i < hands; i++) {
        struct link link = { .from = ends[1], .to = ends[0], .killed = i % 2 == 0 };
        CHECK(support_wait(start(adds_one_and_puts_it_back, &link)) == (link.killed ? -SIGKILL : 0));
    }
    CHECK_OK(weir_handle_receive(ends[1], &handle));
    section = attach_of(handle, RO);
    CHECK(stamp_of(section) == hands);
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_handle_close(handle));
    (void)close(ends[0]);
    (void)close(ends[1]);
    check_nothing_left();
}

/* ---- participants ---- */

static weir_section *held; /* a holder's */

static void attaches_and_joins(void *arg)
{
    held = attach_of(*(weir_handle *)arg, RW);
    join(held, 1);
}

static void leaves(void *arg)
{
    (void)arg;
    CHECK_OK(weir_participant_leave(held, 1));
}

static void participants_see_each_other_live_leave_and_die(void)
{
    weir_section *section = create(0);
    weir_handle handle = export_of(section, RW);
    weir_section *observer = attach_of(handle, RO);
    weir_participant before;
    CHECK(slot_of(section, 1).presence == WEIR_ABSENT);
    for (uint32_t round = 0; round < 3; round++) {
        holder h = holder_start(attaches_and_joins, leaves, &handle);
        CHECK(slot_of(section, 1).presence == WEIR_ALIVE && slot_of(observer, 1).presence == WEIR_ALIVE);
        CHECK(slot_of(section, 1).generation == 2 * round + 1);
        CHECK_STATUS(weir_participant_claim(section, 1, 1, &before), WEIR_E_IN_USE);
        holder_finish(&h);
        CHECK(slot_of(section, 1).presence == WEIR_LEFT && slot_of(observer, 1).presence == WEIR_LEFT);
        h = holder_start(attaches_and_joins, NULL, &handle);
        CHECK(kill(h.pid, SIGSTOP) == 0);
        int status;
        CHECK(waitpid(h.pid, &status, WUNTRACED) == h.pid && WIFSTOPPED(status));
        CHECK(slot_of(observer, 1).presence == WEIR_ALIVE); /* stopped is not dead */
        holder_kill(&h);
        CHECK_SOON(slot_of(section, 1).presence == WEIR_DEAD);
        CHECK(slot_of(observer, 1).presence == WEIR_DEAD);
        CHECK(slot_of(observer, 1).deaths == round + 1);
    }
    CHECK_OK(weir_participant_claim(section, 0, 4, &before));
    CHECK(before.slot == 0 && before.presence == WEIR_ABSENT);
    CHECK_OK(weir_participant_claim(section, 1, 3, &before));
    CHECK(before.slot == 1 && before.presence == WEIR_DEAD && before.deaths == 3 && before.generation == 6);
    CHECK_OK(weir_section_close(observer));
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_handle_close(handle));
    check_nothing_left();
}

/* Many that attach, add, and are killed somewhere in it: then nobody is there. */
static void attaches_for_ever(void *arg)
{
    for (;;) {
        weir_section *section = attach_of(*(weir_handle *)arg, RW);
        weir_participant before;
        weir_view view = view_of(section, RW);
        (void)__atomic_add_fetch((uint64_t *)view.base, 1, __ATOMIC_RELAXED);
        if (weir_participant_claim(section, 0, 4, &before) == WEIR_OK)
            CHECK_OK(weir_participant_join(section, &before));
        CHECK_OK(weir_view_unmap(&view));
        CHECK_OK(weir_section_close(section));
    }
}

static void of_processes_killed_anywhere_nothing_is_left(void)
{
    weir_section_options options = { .flags = WEIR_RESERVE, .commit_bytes = KIB64, .slots = 4, .label = LABEL };
    weir_section *section = unnamed_of(2 * KIB64, options);
    weir_handle handle = export_of(section, RW);
    weir_view view = view_of(section, RO);
    const uint64_t *count = view.base;
    uint64_t rounds = support_count(50);
    for (uint64_t round = 0; round < rounds; round++) {
        pid_t pids[4];
        uint64_t from = __atomic_load_n(count, __ATOMIC_RELAXED);
        for (int i = 0; i < 4; i++)
            pids[i] = start(attaches_for_ever, &handle);
        CHECK_SOON(__atomic_load_n(count, __ATOMIC_RELAXED) > from + round);
        for (int i = 0; i < 4; i++)
            CHECK(kill(pids[i], SIGKILL) == 0);
        for (int i = 0; i < 4; i++)
            CHECK(support_wait(pids[i]) == -SIGKILL);
        for (uint32_t slot = 0; slot < 4; slot++)
            CHECK_SOON(slot_of(section, slot).presence != WEIR_ALIVE);
        CHECK_SOON(weir_section_decommit(section, KIB64, 0) == WEIR_OK); /* it is the sole user again */
    }
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_handle_close(handle));
    check_nothing_left();
}

/* ---- another user ---- */

struct stranger {
    weir_handle handle;
    uint32_t mode;
    weir_status writes, reads;
};

static void comes_as_a_stranger(void *arg)
{
    const struct stranger *s = arg;
    CHECK(setgroups(0, NULL) == 0 && setgid(STRANGER) == 0 && setuid(STRANGER) == 0);
    for (int access = RW; access <= RO; access++) {
        weir_section_options options = { .access = (weir_access)access };
        weir_status expected = access == RW ? s->writes : s->reads;
        if (expected != WEIR_OK) {
            check_refused(s->handle, options, expected, "its owner and mode do not let this user");
            continue;
        }
        weir_section *section = attach_of(s->handle, (weir_access)access);
        CHECK(has_pattern(section, 1));
        weir_handle own = export_of(section, (weir_access)access);
        if (access == RW) {
            join(section, 3);
            put_pattern(section, 1);
        }
        CHECK_OK(weir_section_close(section));
        section = attach_of(own, (weir_access)access);
        CHECK_OK(weir_section_close(section));
        CHECK_OK(weir_handle_close(own));
        options.flags = WEIR_EXPECT_OWNER;
        options.owner = STRANGER;
        check_refused(s->handle, options, WEIR_E_PERMISSION, "uid 0");
        options.owner = 0;
        CHECK_OK(weir_section_attach(&section, s->handle, &options));
        CHECK_OK(weir_section_close(section));
    }
}

static void another_user_attaches_as_the_mode_lets_him(void)
{
    static const struct {
        uint32_t mode, group;
        weir_status writes, reads;
    } rows[] = {
        { 0, 0, WEIR_E_PERMISSION, WEIR_E_PERMISSION },    { 0600, 0, WEIR_E_PERMISSION, WEIR_E_PERMISSION },
        { 0644, 0, WEIR_E_PERMISSION, WEIR_OK },           { 0666, 0, WEIR_OK, WEIR_OK },
        { 0660, 0, WEIR_E_PERMISSION, WEIR_E_PERMISSION }, { 0660, STRANGER, WEIR_OK, WEIR_OK },
        { 0640, STRANGER, WEIR_E_PERMISSION, WEIR_OK },    { 0606, STRANGER, WEIR_E_PERMISSION, WEIR_E_PERMISSION },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        weir_section *section = unnamed_of(SIZE, (weir_section_options){
            .mode = rows[i].mode, .group = rows[i].group, .flags = WEIR_SET_GROUP, .slots = 4, .label = LABEL });
        struct stranger s = { export_of(section, RW), rows[i].mode, rows[i].writes, rows[i].reads };
        put_pattern(section, 1);
        run_in_child(comes_as_a_stranger, &s);
        CHECK(slot_of(section, 3).presence == (rows[i].writes == WEIR_OK ? WEIR_LEFT : WEIR_ABSENT));
        CHECK_OK(weir_section_close(section));
        CHECK_OK(weir_handle_close(s.handle));
        check_nothing_left();
    }
}

/* ---- without /proc ---- */

#define NOT_ALLOWED 7

static void is_without_proc(void *arg)
{
    bool covered = *(bool *)arg;
    weir_section *section = create(0), *none = UNTOUCHED;
    weir_handle handle = export_of(section, RW), second = NO_HANDLE;
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        (covered ? mount("none", "/proc", "tmpfs", 0, NULL) : umount2("/proc", MNT_DETACH)) != 0)
        _exit(NOT_ALLOWED);
    int lowest = lowest_free_fd();
    for (int access = RW; access <= RO; access++) {
        weir_section_options options = { .access = (weir_access)access };
        CHECK_STATUS(weir_section_export(section, (weir_access)access, true, &second), WEIR_E_UNSUPPORTED);
        CHECK(detail_has("/proc is not mounted"));
        CHECK_STATUS(weir_section_attach(&none, handle, &options), WEIR_E_UNSUPPORTED);
        CHECK(detail_has("/proc is not mounted"));
    }
    CHECK_STATUS(weir_section_attach(&none, lowest, NULL), WEIR_E_INVALID);
    CHECK(none == UNTOUCHED && second == NO_HANDLE && lowest_free_fd() == lowest);
    weir_section *another = create(0); /* making one, and using it, needs no /proc */
    put_pattern(another, 1);
    CHECK(has_pattern(another, 1));
    CHECK_OK(weir_section_seal(another, WEIR_SEAL_GROW));
    CHECK_OK(weir_section_close(another));
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_handle_close(handle));
}

static void without_proc_handing_over_is_unsupported(void)
{
    for (int covered = 0; covered < 2; covered++) {
        bool how = covered != 0;
        int end = support_wait(start(is_without_proc, &how));
        if (end == NOT_ALLOWED)
            (void)printf("SKIPPED a part: a mount namespace without /proc is not allowed here\n");
        else
            CHECK(end == 0);
    }
}

int main(int argc, char **argv)
{
    if (argc == 4)
        return after_exec(argv[1], (weir_handle)atoll(argv[2]), atoi(argv[3]));
    if (argc == 3)
        return strcmp(argv[1], "giver") == 0 ? giver(argv[2]) : taker(argv[2]);
    const char *dir = support_shm_dir();
    unsigned fds = open_fds();
    a_child_attaches_by_what_it_inherited();
    an_exec_leaves_the_handle_and_nothing_else_and_only_with_inherit();
    a_program_that_only_inherited_a_handle_is_no_user();
    over_a_socketpair();
    over_a_named_socket_between_unrelated_programs(dir);
    for (int way = 0; way < 4; way++)
        it_is_passed_on_after_whoever_made_it_has_gone((way & 1) != 0, (way & 2) != 0);
    it_goes_through_many_hands();
    participants_see_each_other_live_leave_and_die();
    of_processes_killed_anywhere_nothing_is_left();
    if (geteuid() == 0)
        another_user_attaches_as_the_mode_lets_him();
    else
        (void)printf("SKIPPED a part: needs root, to be two users\n");
    without_proc_handing_over_is_unsupported();
    CHECK(open_fds() == fds && support_entries(dir, true) == 0);
    return 0;
}
