/* Who sees what: sections, their users and their mappings, of one's own and of others; root sees all. */
#include "../naming/looks.h"

#include <grp.h>
#include <sched.h>
#include <sys/mman.h>

#define STRANGER 12345u
#define GUARD 54321u
#define SIZE UINT64_C(131072)

static const char *dir;

static void become(uid_t uid)
{
    CHECK(setgroups(0, NULL) == 0 && setgid(uid) == 0 && setuid(uid) == 0);
    end_with_parent(); /* the kernel forgets it with the old uid */
}

/* Runs body(arg) as that user in a child. */
static void as_user(uid_t uid, void (*body)(void *), void *arg)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        become(uid);
        body(arg);
        _exit(0);
    }
    CHECK(support_wait(child) == 0);
}

static void sees_as_stranger(void *arg)
{
    static struct infos all;
    weir_section_info info;
    (void)arg;
    CHECK_OK(weir_section_list(infos_visit, &all));
    const weir_section_info *shared = infos_find(&all, "Global/shared", 0);
    const weir_section_info *closed = infos_find(&all, "Global/closed", 0);
    CHECK(shared != NULL && shared->state == WEIR_SECTION_LIVE && shared->users == 1 && shared->mode == 0644);
    CHECK(closed != NULL && closed->state == WEIR_SECTION_STRANGE && closed->why == WEIR_E_PERMISSION);
    CHECK(closed->mode == 0600 && closed->size == 0 && closed->users == 0 && closed->resident >= SIZE);
    CHECK(infos_find(&all, "Local/roots", 0) == NULL && infos_find(&all, "Local/guards", GUARD) == NULL);
    CHECK(infos_find(&all, "Local/mine", STRANGER) != NULL && all.count == 3);
    CHECK_STATUS(weir_section_stat("Local/roots", &info), WEIR_E_NOT_FOUND);
    CHECK_OK(weir_section_stat("Global/closed", &info));
    CHECK(info.state == WEIR_SECTION_STRANGE && info.why == WEIR_E_PERMISSION && info.owner == 0);
    CHECK_STATUS(weir_section_users("Global/closed", users_visit, NULL), WEIR_E_PERMISSION);
    CHECK(detail_names_uid(0) && detail_has("0600"));
    CHECK_STATUS(weir_section_mappings("Global/closed", mapped_visit, NULL), WEIR_E_PERMISSION);
    CHECK(detail_names_uid(0));
    all.count = 0;
    CHECK_OK(weir_section_clean(infos_visit, &all));
    CHECK(all.count == 0); /* nothing of his is stale */
}

struct as_uid {
    uid_t uid;
    section_job job;
};

static void holds_as_uid(void *arg)
{
    struct as_uid *as = arg;
    become(as->uid);
    section_job_begin(&as->job);
}

static void cleans(void *arg)
{
    CHECK_OK(weir_section_clean(NULL, arg));
}

static void sights(void)
{
    struct as_uid jobs[] = {
        { 0, { .name = "Global/shared", .size = SIZE, .options = { .mode = 0644 } } },
        { 0, { .name = "Global/closed", .size = SIZE } },
        { 0, { .name = "Local/roots", .size = SIZE } },
        { STRANGER, { .name = "Local/mine", .size = SIZE } },
        { GUARD, { .name = "Local/guards", .size = SIZE } },
        { GUARD, { .name = "Local/mine", .size = SIZE } },
    };
    enum { JOBS = sizeof jobs / sizeof jobs[0] };
    static struct infos all, cleaned;
    holder holders[JOBS];
    for (int i = 0; i < JOBS; i++)
        holders[i] = holder_start(holds_as_uid, NULL, &jobs[i]);
    CHECK_OK(weir_section_list(infos_visit, &all));
    CHECK(all.count == JOBS);
    for (int i = 0; i < JOBS; i++) {
        const weir_section_info *info = infos_find(&all, jobs[i].job.name, jobs[i].uid);
        CHECK(info != NULL && info->state == WEIR_SECTION_LIVE && info->users == 1 && info->group == jobs[i].uid);
    }
    for (unsigned stop = 1; stop <= JOBS; stop++) {
        static struct infos some;
        some = (struct infos){ .stop = stop };
        CHECK_OK(weir_section_list(infos_visit, &some));
        CHECK(some.count == stop);
    }
    as_user(STRANGER, sees_as_stranger, NULL);
    for (int i = 0; i < JOBS; i++)
        holder_kill(&holders[i]);
    CHECK_OK(weir_section_clean(infos_visit, &cleaned)); /* of others', none, though root could */
    CHECK(cleaned.count == 3 && files_under(dir) == 3);
    all.count = 0;
    CHECK_OK(weir_section_list(infos_visit, &all));
    CHECK(all.count == 3);
    for (unsigned i = 0; i < all.count; i++)
        CHECK(all.at[i].state == WEIR_SECTION_STALE && all.at[i].owner != 0);
    as_user(STRANGER, cleans, NULL);
    as_user(GUARD, cleans, NULL);
    CHECK(support_entries(dir, true) == 0);
}

static void maps_shared(void *arg)
{
    weir_section *section;
    become(STRANGER);
    weir_section_options options = { .mode = 0644, .access = WEIR_READ_ONLY };
    CHECK_OK(weir_section_open(&section, "Global/shared", &options));
    CHECK_OK(weir_view_map(arg, section, 65536, 0, WEIR_READ_ONLY));
}

static void root_sees_the_mappings_of_all(void)
{
    static struct mapped mapped;
    weir_section *section;
    weir_view view, unused;
    CHECK_OK(weir_section_create(&section, "Global/shared", SIZE, &(weir_section_options){ .mode = 0644 }));
    CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE));
    holder h = holder_start(maps_shared, NULL, &unused);
    CHECK_OK(weir_section_mappings("Global/shared", mapped_visit, &mapped));
    CHECK(mapped.count == 2);
    unsigned his = mapped.at[0].pid == (uint32_t)h.pid ? 0 : 1;
    CHECK(mapped.at[his].pid == (uint32_t)h.pid && mapped.at[his].access == WEIR_READ_ONLY);
    CHECK(mapped.at[his].offset == 65536 && mapped.at[his].size == SIZE - 65536);
    CHECK(mapped.at[1 - his].pid == (uint32_t)getpid() && mapped.at[1 - his].base == (uintptr_t)view.base);
    holder_kill(&h);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
}

static void may_not_enter(void *arg)
{
    static const char *const names[] = { "Global/x", "Local/x" };
    weir_section *section = NULL;
    weir_section_info info;
    weir_section_options options = { .mode = 0666 };
    static struct infos all;
    bool may_read = *(bool *)arg;
    int64_t from = monotonic_ns();
    memset(&info, 0xa5, sizeof info);
    for (int i = 0; i < 2; i++) {
        CHECK_STATUS(weir_section_users(names[i], users_visit, NULL), WEIR_E_PERMISSION);
        CHECK_STATUS(weir_section_mappings(names[i], mapped_visit, NULL), WEIR_E_PERMISSION);
        CHECK_STATUS(weir_section_remove(names[i]), WEIR_E_PERMISSION);
        CHECK_STATUS(weir_section_open(&section, names[i], &options), WEIR_E_PERMISSION);
        CHECK_STATUS(weir_section_create(&section, names[i], SIZE, &options), WEIR_E_PERMISSION);
        options.access = WEIR_READ_ONLY;
        CHECK_STATUS(weir_section_open(&section, names[i], &options), WEIR_E_PERMISSION);
        options.access = WEIR_READ_WRITE;
        if (!may_read || i == 1)
            CHECK_STATUS(weir_section_stat(names[i], &info), WEIR_E_PERMISSION);
    }
    CHECK(section == NULL && info.mode == 0xa5a5a5a5u);
    CHECK_STATUS(weir_section_list(infos_visit, &all), WEIR_E_PERMISSION);
    CHECK(detail_has(may_read ? "weir-u.12345" : dir) && all.count == may_read);
    if (may_read) { /* names he sees, and nothing else */
        CHECK(all.at[0].state == WEIR_SECTION_STRANGE && all.at[0].why == WEIR_E_PERMISSION);
        CHECK(all.at[0].mode == 0 && all.at[0].owner == 0 && all.at[0].group == 0 && all.at[0].resident == 0);
    }
    CHECK_STATUS(weir_section_clean(NULL, NULL), WEIR_E_PERMISSION);
    CHECK(monotonic_ns() - from < WAIT_NS); /* no wait would help */
}

static void closed_directories(void)
{
    weir_section *section;
    CHECK_OK(weir_section_create(&section, "Global/x", SIZE, &(weir_section_options){ .mode = 0666 }));
    for (int may_read = 0; may_read < 2; may_read++) {
        bool may = may_read != 0;
        CHECK(chmod(dir, may ? 0704 : 0700) == 0);
        as_user(STRANGER, may_not_enter, &may);
    }
    CHECK(chmod(dir, 01777) == 0);
    CHECK_OK(weir_section_close(section));
}

/* ---- stale ones of others ---- */

/* Where everybody may remove everything, too. */
static void cleans_nothing(void *arg)
{
    static struct infos cleaned;
    weir_section *section;
    CHECK_OK(weir_section_clean(infos_visit, &cleaned));
    CHECK(cleaned.count == 0 && exists(arg));
    CHECK_OK(weir_section_create(&section, "Global/another", SIZE, NULL)); /* nor does a sweep */
    CHECK_OK(weir_section_close(section));
    CHECK(exists(arg));
}

static void stale_of_others(void)
{
    weir_section_options everybody = { .mode = 0666 };
    path_text path = section_path(dir, "Global/left");
    CHECK(chmod(dir, 0777) == 0); /* without the sticky bit */
    leave_stale("Global/left", &everybody);
    as_user(STRANGER, cleans_nothing, path.text);
    CHECK_OK(weir_section_clean(NULL, NULL));
}

/* ---- pid namespaces ---- */

struct told {
    pid_t pid; /* of the first of its namespace, as this one has it */
    weir_view view;
};

static void creates_and_maps(void *arg)
{
    struct told *told = arg;
    section_job job = { .name = "Global/first", .size = SIZE };
    section_job_begin(&job);
    CHECK_OK(weir_view_map(&told->view, job.section, 0, 0, WEIR_READ_WRITE));
}

static void has_a_namespace(void *arg)
{
    struct told *told = arg;
    CHECK(unshare(CLONE_NEWPID) == 0);
    told->pid = holder_start(creates_and_maps, NULL, told).pid;
}

/* A handle's pid is told as its own namespace has it, a mapping's as this process's /proc does. */
static void pids_of_namespaces(void)
{
    static struct users users;
    static struct mapped mapped;
    struct told *told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(told != MAP_FAILED);
    holder h = holder_start(has_a_namespace, NULL, told);
    CHECK_OK(weir_section_users("Global/first", users_visit, &users));
    CHECK(users.count == 1 && users.at[0].pid == 1 && !users.at[0].observer);
    CHECK_OK(weir_section_mappings("Global/first", mapped_visit, &mapped));
    CHECK(mapped.count == 1 && mapped.at[0].pid == (uint32_t)told->pid && told->pid != 1);
    CHECK(mapped.at[0].base == (uintptr_t)told->view.base && mapped.at[0].size == SIZE);
    holder_kill(&h); /* and the other with it */
    weir_section_info info;
    CHECK_SOON(weir_section_stat("Global/first", &info) == WEIR_OK && info.state == WEIR_SECTION_STALE);
    CHECK_OK(weir_section_clean(NULL, NULL));
}

/* Each in a process and a directory of its own, so that one that fails hides no other. */
static bool passes(void (*test)(void))
{
    (void)fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        end_with_parent();
        dir = support_shm_dir();
        CHECK(chmod(dir, 01777) == 0);
        test();
        CHECK(support_entries(dir, true) == 0);
        exit(0);
    }
    return support_wait(child) == 0;
}

int main(void)
{
    static void (*const tests[])(void) = {
        sights, root_sees_the_mappings_of_all, closed_directories, stale_of_others, pids_of_namespaces,
    };
    bool all = true;
    if (geteuid() != 0)
        support_skip("needs root, to be several users");
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
        all = passes(tests[i]) && all;
    return all ? 0 : 1;
}
