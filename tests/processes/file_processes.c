/* Several processes and users over one file, some of them killed. */
#include "../naming/files.h"

#include <weir/naming/os_linux.h>

#include <grp.h>
#include <sys/statvfs.h>

#define STRANGER 12345u

static const char *dir, *disk;
static weir_linux_calls real;

static weir_status try_open(const char *path, uint64_t size, const weir_section_options *options)
{
    weir_section *section = UNTOUCHED;
    weir_status status = weir_section_open_file(&section, path, size, options);
    if (status == WEIR_OK)
        CHECK_OK(weir_section_close(section));
    else
        CHECK(section == UNTOUCHED && detail_has(path));
    return status;
}

static pid_t child_of(void (*body)(void *), void *arg)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        end_with_parent();
        body(arg);
        _exit(0);
    }
    return child;
}

/* ---- two over one file ---- */

struct talk {
    const char *path;
    int hear, tell;
    uint64_t rounds, seed;
};

/* Each in turn changes 8 bytes, through its view or with write, and the other finds them both ways. */
static void take_turns(struct talk *t, bool first)
{
    weir_section *section = open_file(t->path, 0, WEIR_READ_WRITE, 0);
    weir_view view = map(section, 0, 0, WEIR_READ_WRITE);
    int fd = open(t->path, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0);
    char byte = 0;
    for (uint64_t round = 0; round < t->rounds; round++) {
        uint64_t at = support_random(&t->seed) % (view.size - 7), value = support_random(&t->seed), seen[2];
        bool by_view = support_random(&t->seed) % 2 == 0;
        if ((round % 2 == 0) == first) {
            if (by_view)
                memcpy((unsigned char *)view.base + at, &value, sizeof value);
            else
                CHECK(pwrite(fd, &value, sizeof value, (off_t)at) == (ssize_t)sizeof value);
            CHECK(write(t->tell, &byte, 1) == 1);
        } else {
            CHECK(read(t->hear, &byte, 1) == 1);
            memcpy(&seen[0], (unsigned char *)view.base + at, sizeof value);
            CHECK(pread(fd, &seen[1], sizeof value, (off_t)at) == (ssize_t)sizeof value);
            CHECK(seen[0] == value && seen[1] == value);
        }
    }
    (void)close(fd);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
}

static void second_speaker(void *arg)
{
    take_turns(arg, false);
}

static void two_are_coherent_with_each_other_and_with_read_and_write(const char *where, uint64_t seed)
{
    path_text path = in_folder(where, "talk");
    int there[2], back[2];
    pattern_file(path.text, 20 * PAGE + 77);
    CHECK(pipe2(there, O_CLOEXEC) == 0 && pipe2(back, O_CLOEXEC) == 0);
    uint64_t rounds = support_count(20000);
    struct talk a = { path.text, back[0], there[1], rounds, seed }, b = { path.text, there[0], back[1], rounds, seed };
    pid_t child = child_of(second_speaker, &b);
    take_turns(&a, true);
    CHECK(support_wait(child) == 0);
    for (int i = 0; i < 2; i++)
        (void)close(there[i]), (void)close(back[i]);
    remove_file(path.text);
}

static void add_many(void *arg)
{
    weir_section *section = open_file(arg, PAGE, WEIR_READ_WRITE, WEIR_FILE_CREATE);
    weir_view view = map(section, 0, 0, WEIR_READ_WRITE);
    for (uint64_t i = support_count(200000); i > 0; i--)
        (void)__atomic_fetch_add((uint64_t *)view.base, 1, __ATOMIC_RELAXED);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
}

static void they_share_one_memory(const char *where)
{
    path_text path = in_folder(where, "counted");
    pid_t children[3];
    uint64_t sum;
    for (int i = 0; i < 3; i++)
        children[i] = child_of(add_many, path.text);
    for (int i = 0; i < 3; i++)
        CHECK(support_wait(children[i]) == 0);
    CHECK(file_read(path.text, &sum, sizeof sum) == sizeof sum);
    CHECK(sum == 3 * support_count(200000));
    remove_file(path.text);
}

/* ---- many make one ---- */

struct making {
    const char *path;
    uint32_t flags;
    int go;
};

static void make_at_once(void *arg)
{
    const struct making *m = arg;
    char byte;
    CHECK(read(m->go, &byte, 1) == 0);
    weir_section *section;
    weir_status status = weir_section_open_file(&section, m->path, 3 * PAGE + 1,
                                                &(weir_section_options){ .flags = m->flags, .mode = 0640 });
    if (status == WEIR_E_EXISTS)
        _exit(1);
    CHECK_OK(status);
    CHECK(weir_section_size(section) == 3 * PAGE + 1);
    weir_view view = map(section, 0, 0, WEIR_READ_WRITE);
    (void)__atomic_fetch_add((uint64_t *)view.base, 1, __ATOMIC_RELAXED);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
}

static void of_many_that_make_it_at_once_all_open_one_and_with_new_one_does(const char *where)
{
    path_text path = in_folder(where, "made");
    for (uint64_t round = support_count(200); round > 0; round--) {
        int go[2], made = 0;
        pid_t children[4];
        uint64_t sum;
        CHECK(pipe2(go, O_CLOEXEC) == 0);
        struct making m = { path.text, round % 2 == 0 ? WEIR_FILE_NEW : WEIR_FILE_CREATE, go[0] };
        for (int i = 0; i < 4; i++) {
            children[i] = fork();
            CHECK(children[i] >= 0);
            if (children[i] == 0) {
                (void)close(go[1]);
                make_at_once(&m);
                _exit(0);
            }
        }
        (void)close(go[0]);
        (void)close(go[1]);
        for (int i = 0; i < 4; i++) {
            int status = support_wait(children[i]);
            CHECK(status == 0 || (status == 1 && m.flags == WEIR_FILE_NEW));
            made += status == 0;
        }
        CHECK(made == (m.flags == WEIR_FILE_NEW ? 1 : 4));
        CHECK(file_read(path.text, &sum, sizeof sum) == sizeof sum && sum == (uint64_t)made);
        struct file_state state = state_of(path.text);
        CHECK(state.size == 3 * PAGE + 1 && state.taken >= 3 * PAGE + 1 && state.mode == (S_IFREG | 0640));
        remove_file(path.text);
    }
}

/* ---- killed ---- */

static struct {
    long calls, at;
    bool after;
} death;

static void die_if(bool after)
{
    if (death.after == after && death.calls == death.at)
        (void)kill(getpid(), SIGKILL);
}

#define DEADLY(type, expression)                                                                                      \
    do {                                                                                                              \
        death.calls++;                                                                                                \
        die_if(false);                                                                                                \
        type result = expression;                                                                                     \
        die_if(true);                                                                                                 \
        return result;                                                                                                \
    } while (0)

static int deadly_openat(int at, const char *path, int flags, mode_t mode)
{
    DEADLY(int, real.openat(at, path, flags, mode));
}
static int deadly_fstat(int fd, struct stat *out)
{
    DEADLY(int, real.fstat(fd, out));
}
static int deadly_fchmod(int fd, mode_t mode)
{
    DEADLY(int, real.fchmod(fd, mode));
}
static int deadly_fallocate(int fd, int mode, off_t offset, off_t len)
{
    DEADLY(int, real.fallocate(fd, mode, offset, len));
}
static int deadly_ftruncate(int fd, off_t size)
{
    DEADLY(int, real.ftruncate(fd, size));
}
static int deadly_fstatvfs(int fd, struct statvfs *out)
{
    DEADLY(int, real.fstatvfs(fd, out));
}

struct growth {
    const char *path;
    uint64_t from, to;
    bool extend;
};

static void grow(void *arg)
{
    const struct growth *g = arg;
    weir_section *section;
    if (g->extend) {
        section = open_file(g->path, g->from, WEIR_READ_WRITE, 0);
        CHECK_OK(weir_section_extend(section, g->to));
    } else {
        section = open_file(g->path, g->to, WEIR_READ_WRITE, WEIR_FILE_CREATE);
    }
    CHECK_OK(weir_section_close(section));
}

static void grow_and_die(void *arg)
{
    weir_linux.openat = deadly_openat;
    weir_linux.fstat = deadly_fstat;
    weir_linux.fchmod = deadly_fchmod;
    weir_linux.fallocate = deadly_fallocate;
    weir_linux.ftruncate = deadly_ftruncate;
    weir_linux.fstatvfs = deadly_fstatvfs;
    grow(arg);
}

/* What a grower may leave: all that was there, then zeros; and the next one completes it. */
static void check_grown(const struct growth *g)
{
    if (exists(g->path)) {
        uint64_t size = file_size(g->path);
        CHECK(size >= g->from && size <= g->to);
        check_file(g->path, g->from, size);
    } else {
        CHECK(g->from == 0);
    }
    grow(&(struct growth){ .path = g->path, .to = g->to });
    check_file(g->path, g->from, g->to);
    CHECK(file_taken(g->path) >= g->to);
    remove_file(g->path);
}

static void one_killed_at_any_step_of_growing_leaves_what_was_there_and_zeros(const char *where)
{
    path_text path = in_folder(where, "killed");
    unsigned deaths = 0;
    for (int kind = 0; kind < 3; kind++)
        for (int after = 0; after < 2; after++)
            for (death.at = 1, death.after = after == 1;; death.at++) {
                struct growth g = { path.text, kind == 0 ? 0 : 5000, 17 * MIB, kind == 2 };
                if (kind != 0)
                    pattern_file(path.text, g.from);
                int status = support_wait(child_of(grow_and_die, &g));
                CHECK(status == 0 || status == -SIGKILL);
                deaths += status != 0;
                check_grown(&g);
                if (status == 0)
                    break;
            }
    CHECK(deaths > 20);
}

static void one_killed_at_any_time_while_it_grows(const char *where, uint64_t seed)
{
    path_text path = in_folder(where, "killed");
    for (uint64_t round = support_count(12); round > 0; round--) {
        struct growth g = { path.text, 5000, 50 * MIB + 5, round % 2 == 0 };
        pattern_file(path.text, g.from);
        pid_t child = child_of(grow, &g);
        /* It has begun: then some more, or all of it. */
        CHECK_SOON(file_size(path.text) > g.from);
        for (uint64_t spin = support_random(&seed) % 2000; spin > 0; spin--)
            (void)file_size(path.text);
        (void)kill(child, SIGKILL);
        int status = support_wait(child);
        CHECK(status == 0 || status == -SIGKILL);
        check_grown(&g);
    }
}

/* One is killed with views mapped and written: that is in the file. */
static void writes_and_waits(void *arg)
{
    weir_section *section = open_file(arg, 0, WEIR_READ_WRITE, 0);
    weir_view view = map(section, 0, 0, WEIR_READ_WRITE), own = map(section, 0, 0, WEIR_COPY_ON_WRITE);
    pattern_fill(view.base, 0, view.size);
    memset(own.base, 0xee, own.size);
}

static void what_a_killed_one_wrote_is_there_and_what_it_copied_is_not(const char *where)
{
    path_text path = in_folder(where, "written");
    CHECK_STATUS(try_open(path.text, KIB64, &(weir_section_options){ .flags = WEIR_FILE_NEW }), WEIR_OK);
    holder h = holder_start(writes_and_waits, NULL, path.text);
    check_file(path.text, KIB64, KIB64);
    holder_kill(&h);
    check_file(path.text, KIB64, KIB64);
    remove_file(path.text);
}

/* ---- another user ---- */

static void as_stranger(void *arg)
{
    const char *where = arg;
    path_text secret = in_folder(where, "0600"), readable = in_folder(where, "0644"), open = in_folder(where, "0666");
    path_text new = in_folder(where, "new"), closed = in_folder(where, "closed/new");
    CHECK(setgroups(0, NULL) == 0 && setgid(STRANGER) == 0 && setuid(STRANGER) == 0);
    for (weir_access access = WEIR_READ_WRITE; access <= WEIR_COPY_ON_WRITE; access++) {
        weir_section_options options = { .access = access };
        CHECK_STATUS(try_open(secret.text, 0, &options), WEIR_E_PERMISSION);
        CHECK_STATUS(try_open(readable.text, 0, &options), access == WEIR_READ_WRITE ? WEIR_E_PERMISSION : WEIR_OK);
        CHECK_STATUS(try_open(open.text, 0, &options), WEIR_OK);
        options.flags = WEIR_EXPECT_OWNER;
        options.owner = STRANGER;
        CHECK_STATUS(try_open(open.text, 0, &options), WEIR_E_PERMISSION);
        CHECK(detail_names_uid(0) && detail_has("12345"));
        options.owner = 0;
        CHECK_STATUS(try_open(open.text, 0, &options), WEIR_OK);
    }
    weir_section *section = open_file(readable.text, 0, WEIR_COPY_ON_WRITE, 0);
    weir_view view = map(section, 0, 0, WEIR_COPY_ON_WRITE);
    memset(view.base, 0xee, view.size);
    CHECK_STATUS(weir_view_map(&(weir_view){ NULL }, section, 0, 0, WEIR_READ_WRITE), WEIR_E_ACCESS);
    CHECK_OK(weir_section_flush(section));
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
    for (uint32_t flags = WEIR_FILE_CREATE; flags <= WEIR_FILE_NEW; flags += WEIR_FILE_CREATE) {
        weir_section_options options = { .flags = flags };
        CHECK_STATUS(try_open(closed.text, 10, &options), WEIR_E_PERMISSION);
        options.flags |= WEIR_SET_GROUP; /* one he is not in */
        CHECK_STATUS(try_open(new.text, 10, &options), WEIR_E_PERMISSION);
        CHECK(!exists(new.text));
        options.group = STRANGER;
        CHECK_STATUS(try_open(new.text, 10, &options), WEIR_OK);
        CHECK(state_of(new.text).owner == STRANGER && state_of(new.text).group == STRANGER);
        remove_file(new.text);
    }
    CHECK_STATUS(try_open(open.text, 20000, NULL), WEIR_OK); /* what he may write he may grow */
}

static void the_system_says_what_another_user_may(const char *where)
{
    static const mode_t modes[] = { 0600, 0644, 0666 };
    static const char *const names[] = { "0600", "0644", "0666" };
    path_text closed = in_folder(where, "closed");
    char folder[64];
    (void)strcpy(folder, where);
    CHECK(chmod(where, 01777) == 0 && mkdir(closed.text, 0755) == 0);
    for (int i = 0; i < 3; i++) {
        pattern_file(in_folder(where, names[i]).text, 10000);
        CHECK(chmod(in_folder(where, names[i]).text, modes[i]) == 0);
    }
    CHECK(support_wait(child_of(as_stranger, folder)) == 0);
    for (int i = 0; i < 3; i++) {
        check_file(in_folder(where, names[i]).text, 10000, i == 2 ? 20000 : 10000);
        remove_file(in_folder(where, names[i]).text);
    }
    CHECK(rmdir(closed.text) == 0);
}

int main(void)
{
    uint64_t seed = support_seed();
    dir = support_shm_dir();
    disk = disk_dir();
    real = weir_linux;
    for (int i = 0; i < 2; i++) {
        const char *where = i == 0 ? dir : disk;
        unsigned fds = open_fds();
        two_are_coherent_with_each_other_and_with_read_and_write(where, seed);
        they_share_one_memory(where);
        of_many_that_make_it_at_once_all_open_one_and_with_new_one_does(where);
        one_killed_at_any_step_of_growing_leaves_what_was_there_and_zeros(where);
        one_killed_at_any_time_while_it_grows(where, seed);
        what_a_killed_one_wrote_is_there_and_what_it_copied_is_not(where);
        if (geteuid() == 0)
            the_system_says_what_another_user_may(where);
        CHECK(support_entries(where, true) == 0 && open_fds() == fds);
    }
    if (geteuid() != 0)
        (void)printf("not shown here: another user: that needs root\n");
    return 0;
}
