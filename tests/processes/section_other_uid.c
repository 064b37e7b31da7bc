/* Another user in a shared, sticky directory: what he puts in our way is a status that names him, at once, and nothing
 * of his is touched. */
#include "../naming/sections.h"

#include <weir/naming/section_layout.h>

#include <grp.h>
#include <sys/socket.h>
#include <sys/un.h>

#define STRANGER 12345u
#define GUARD 54321u /* a third, who trusts neither */
#define IMAGE 8192

static const char *dir;

/* Runs body(arg) as that user in a child. */
static void as_user(uid_t uid, void (*body)(void *), void *arg)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(setgroups(0, NULL) == 0 && setgid(uid) == 0 && setuid(uid) == 0);
        body(arg);
        _exit(0);
    }
    CHECK(support_wait(child) == 0);
}

static weir_status come(int way, const char *name, const weir_section_options *options)
{
    weir_section *section = NULL;
    weir_section_options observe = options != NULL ? *options : (weir_section_options){ 0 };
    observe.access = WEIR_READ_ONLY;
    weir_status status = way == 0   ? weir_section_create(&section, name, 4096, options)
                         : way == 1 ? weir_section_open(&section, name, options)
                         : way == 2 ? weir_section_open_or_create(&section, name, 4096, options, NULL)
                                    : weir_section_open(&section, name, &observe);
    if (status == WEIR_OK)
        CHECK_OK(weir_section_close(section));
    else
        CHECK(section == NULL);
    return status;
}

/* Every way in is refused at once, with the owner's uid. */
static void check_refused(const char *name, const weir_section_options *options, weir_status expected, uid_t owner)
{
    for (int way = 0; way < 4; way++) {
        int64_t from = monotonic_ns();
        CHECK_STATUS(come(way, name, options), expected);
        CHECK(monotonic_ns() - from < WAIT_NS);
        CHECK(detail_names_uid(owner));
    }
}

/* ---- the stranger squats ---- */

enum squat { FILE_OF_HIS, SECTION_OF_HIS, STALE_OF_HIS, LINK, DANGLING, FIFO, FOLDER, SOCKET, SQUATS };

struct squatting {
    enum squat kind;
    char path[512], victim[512], name[64];
    unsigned char image[IMAGE];
};

/* As the stranger: puts it there.  In a folder that anybody may write. */
static void squat(void *arg)
{
    struct squatting *s = arg;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    (void)umask(0);
    switch (s->kind) {
    case FILE_OF_HIS:
        file_write(s->path, "mine", 4, 0666);
        break;
    case SECTION_OF_HIS:
    case STALE_OF_HIS:
        file_write(s->path, s->image, IMAGE, s->kind == STALE_OF_HIS ? 0600 : 0666);
        break;
    case LINK:
        CHECK(symlink(s->victim, s->path) == 0);
        break;
    case DANGLING:
        CHECK(symlink("/nonexistent/weir", s->path) == 0);
        break;
    case FIFO:
        CHECK(mkfifo(s->path, 0666) == 0);
        break;
    case FOLDER:
        CHECK(mkdir(s->path, 0777) == 0);
        break;
    default:
        CHECK(strlen(s->path) < sizeof address.sun_path);
        (void)strcpy(address.sun_path, s->path);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
        (void)close(fd);
    }
}

static void image_of(struct squatting *s)
{
    weir_section *section;
    CHECK_OK(weir_section_create(&section, s->name, IMAGE - WEIR_SECTION_HEADER, NULL));
    CHECK(file_read(section_path(dir, s->name).text, s->image, IMAGE) == IMAGE);
    CHECK_OK(weir_section_close(section));
}

/* Is what stands there as he left it, and is the victim of his link as it was? */
static void check_untouched(const struct squatting *s, const struct stat *before)
{
    struct stat after;
    unsigned char now[IMAGE + 1];
    CHECK(lstat(s->path, &after) == 0);
    CHECK(after.st_ino == before->st_ino && after.st_mode == before->st_mode && after.st_uid == STRANGER &&
          after.st_size == before->st_size && after.st_mtim.tv_nsec == before->st_mtim.tv_nsec &&
          after.st_nlink == before->st_nlink);
    CHECK(file_read(s->victim, now, sizeof now) == IMAGE && memcmp(now, s->image, IMAGE) == 0);
}

static void squatted_names(void)
{
    static struct squatting s;
    (void)strcpy(s.name, "Global/wanted");
    (void)snprintf(s.path, sizeof s.path, "%s", section_path(dir, s.name).text);
    (void)snprintf(s.victim, sizeof s.victim, "%s/victim", dir);
    image_of(&s);
    file_write(s.victim, s.image, IMAGE, 0600); /* would be a stale section of ours, were the link followed */
    for (s.kind = FILE_OF_HIS; s.kind < SQUATS; s.kind++) {
        weir_status expected = s.kind <= STALE_OF_HIS ? WEIR_E_PERMISSION : WEIR_E_NOT_WEIR;
        struct stat before;
        as_user(STRANGER, squat, &s);
        CHECK(lstat(s.path, &before) == 0 && before.st_uid == STRANGER);
        check_refused(s.name, NULL, expected, STRANGER);
        check_refused(s.name, &(weir_section_options){ .mode = 0777 }, expected, STRANGER);
        CHECK_STATUS(come(0, "Global/another", NULL), WEIR_OK); /* nor does a sweep touch it */
        CHECK_STATUS(come(0, "Local/wanted", NULL), WEIR_OK);
        check_untouched(&s, &before);
        CHECK((s.kind == FOLDER ? rmdir(s.path) : unlink(s.path)) == 0);
    }
    CHECK(unlink(s.victim) == 0);
    CHECK(support_entries(dir, true) == 0);
}

/* The user's own directory, before he came. */
static void squatted_directory(void)
{
    static struct squatting s;
    (void)snprintf(s.name, sizeof s.name, "Local/wanted");
    (void)snprintf(s.path, sizeof s.path, "%s", local_dir(dir).text);
    image_of(&s);
    (void)snprintf(s.victim, sizeof s.victim, "%s/victim-folder", dir);
    CHECK(mkdir(s.victim, 0777) == 0 && chmod(s.victim, 0777) == 0);
    static const enum squat kinds[] = { FILE_OF_HIS, LINK, DANGLING, FIFO, FOLDER, SOCKET };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct stat before, after;
        s.kind = kinds[i];
        as_user(STRANGER, squat, &s);
        CHECK(lstat(s.path, &before) == 0);
        check_refused(s.name, NULL, WEIR_E_PERMISSION, STRANGER);
        CHECK_STATUS(come(0, "Global/another", NULL), WEIR_OK);
        CHECK(lstat(s.path, &after) == 0 && after.st_ino == before.st_ino && after.st_mode == before.st_mode &&
              after.st_mtim.tv_nsec == before.st_mtim.tv_nsec);
        CHECK(support_entries(s.victim, true) == 0);
        CHECK((s.kind == FOLDER ? rmdir(s.path) : unlink(s.path)) == 0);
    }
    /* His, and closed to others as ours would be. */
    CHECK(mkdir(s.path, 0700) == 0 && chown(s.path, STRANGER, STRANGER) == 0);
    check_refused(s.name, NULL, WEIR_E_PERMISSION, STRANGER);
    CHECK(support_entries(s.path, true) == 0);
    CHECK(rmdir(s.path) == 0 && rmdir(s.victim) == 0);
    CHECK(support_entries(dir, true) == 0);
}

/* ---- a hard link to a section that he may use ---- */

struct two_paths {
    const char *from, *to;
};

static void link_as_user(void *arg)
{
    const struct two_paths *paths = arg;
    CHECK(link(paths->from, paths->to) == 0);
}

static void hard_link_of_another_section(void)
{
    weir_section *section;
    weir_section_options everybody = { .mode = 0666 };
    CHECK_OK(weir_section_create(&section, "Global/real", 4096, &everybody));
    path_text real = section_path(dir, "Global/real"), alias = section_path(dir, "Global/alias");
    as_user(STRANGER, link_as_user, &(struct two_paths){ real.text, alias.text });
    for (int way = 0; way < 4; way++) {
        CHECK_STATUS(come(way, "Global/alias", &everybody), WEIR_E_NOT_WEIR);
        CHECK(detail_has("Global/real"));
    }
    CHECK_OK(weir_section_close(section));
    CHECK(!exists(real.text) && exists(alias.text)); /* the link count says nothing */
    CHECK_STATUS(come(0, "Global/another", NULL), WEIR_OK);
    CHECK(exists(alias.text));
    CHECK(unlink(alias.text) == 0);
    CHECK(support_entries(dir, true) == 0);
}

/* ---- what a stranger may do with root's ---- */

static void refused_root_only(void *arg)
{
    (void)arg;
    check_refused("Global/roots", NULL, WEIR_E_PERMISSION, 0);
    check_refused("Global/roots", &(weir_section_options){ .mode = 0777 }, WEIR_E_PERMISSION, 0);
}

static void uses_shared(void *arg)
{
    weir_section_options options = { .mode = 0666 }, observe = { .mode = 0666, .access = WEIR_READ_ONLY };
    weir_section *section, *observer;
    (void)arg;
    CHECK_STATUS(weir_section_open(&section, "Global/roots", NULL), WEIR_E_PERMISSION); /* wider than he asked */
    CHECK(detail_names_uid(0) && detail_has("0666"));
    CHECK_OK(weir_section_open(&section, "Global/roots", &options));
    CHECK(stamp_of(section) == 42);
    CHECK_OK(weir_section_open(&observer, "Global/roots", &observe));
    CHECK_OK(weir_section_close(observer));
    CHECK_OK(weir_section_close(section));
}

static void reads_shared(void *arg)
{
    weir_section_options options = { .mode = 0644 }, observe = { .mode = 0644, .access = WEIR_READ_ONLY };
    weir_section *section, *observer;
    (void)arg;
    CHECK_STATUS(weir_section_open(&section, "Global/roots", &options), WEIR_E_PERMISSION);
    CHECK(detail_names_uid(0));
    CHECK_OK(weir_section_open(&observer, "Global/roots", &observe));
    CHECK(stamp_of(observer) == 42);
    CHECK_OK(weir_section_close(observer));
}

static void sections_of_root(void)
{
    static const struct {
        mode_t mode;
        void (*body)(void *);
    } rows[] = { { 0600, refused_root_only }, { 0666, uses_shared }, { 0644, reads_shared } };
    for (size_t i = 0; i < 3; i++) {
        weir_section *section;
        section_job job = { .name = "Global/roots", .size = 4096, .stamp = 42, .options = { .mode = rows[i].mode } };
        section_job_begin(&job);
        as_user(STRANGER, rows[i].body, NULL);
        CHECK_OK(weir_section_open(&section, "Global/roots", &job.options));
        CHECK_OK(weir_section_close(section));
        CHECK_OK(weir_section_close(job.section));
        CHECK(support_entries(dir, true) == 0);
    }
}

/* A user's own names are his, whoever else has the same. */
static void own_local(void *arg)
{
    weir_section *section;
    (void)arg;
    CHECK_OK(weir_section_create(&section, "Local/same", 4096, NULL));
    CHECK(stamp_of(section) == 0);
    CHECK_OK(weir_section_close(section));
    CHECK(!exists(local_dir(dir).text));
}

static void local_names_of_both(void)
{
    section_job job = { .name = "Local/same", .size = 4096, .stamp = 1 };
    section_job_begin(&job);
    as_user(STRANGER, own_local, NULL);
    CHECK(stamp_of(job.section) == 1);
    CHECK_OK(weir_section_close(job.section));
    CHECK(support_entries(dir, true) == 0);
}

/* ---- stale ones of others ---- */

static void leaves_stale(void *arg)
{
    leave_stale("Global/left", arg);
}

static void refused_by_guard(void *arg)
{
    (void)arg;
    weir_section_options options = { .mode = 0666 };
    check_refused("Global/left", &options, WEIR_E_PERMISSION, STRANGER);
    CHECK_STATUS(come(0, "Global/another", NULL), WEIR_OK);
}

static void makes_stale_of_root_again(void *arg)
{
    /* The sticky bit: only its owner may remove it.  In place it can be made again, by who would have made it so. */
    weir_section_options wider = { .mode = 0777 }, same = { .mode = 0666 };
    weir_section *section;
    uint64_t last = 0;
    (void)arg;
    CHECK_STATUS(come(3, "Global/left", &same), WEIR_E_NOT_FOUND);
    CHECK_STATUS(come(1, "Global/left", &same), WEIR_E_NOT_FOUND); /* an opener makes nothing */
    CHECK_STATUS(come(0, "Global/left", &wider), WEIR_E_PERMISSION);
    for (uint64_t size = 100000; size >= 1000; size /= 10) {
        CHECK_OK(weir_section_create(&section, "Global/left", size, &same));
        CHECK(weir_section_size(section) == size);
        CHECK(stamp_of(section) == 0); /* nothing of what was there */
        CHECK(weir_section_id(section) != 0 && weir_section_id(section) != last); /* nor what refs called it */
        last = weir_section_id(section);
        CHECK_STATUS(come(0, "Global/left", &same), WEIR_E_EXISTS);
        CHECK_STATUS(come(3, "Global/left", &same), WEIR_OK);
        weir_view view;
        CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE));
        memset(view.base, 0xff, view.size);
        CHECK_OK(weir_view_unmap(&view));
        CHECK_OK(weir_section_close(section));
        CHECK_STATUS(come(3, "Global/left", &same), WEIR_E_NOT_FOUND);
    }
}

static void uses_another(void *arg)
{
    (void)arg;
    CHECK_STATUS(come(0, "Local/another", NULL), WEIR_OK);
}

static void stale_of_others(void)
{
    path_text path = section_path(dir, "Global/left");
    weir_section_options everybody = { .mode = 0666 };
    as_user(STRANGER, leaves_stale, &everybody);
    CHECK(exists(path.text));
    check_refused("Global/left", &everybody, WEIR_E_PERMISSION, STRANGER); /* root does not trust his */
    as_user(GUARD, refused_by_guard, NULL);
    CHECK_STATUS(come(0, "Global/another", NULL), WEIR_OK);
    CHECK(exists(path.text));
    as_user(STRANGER, uses_another, NULL); /* its owner's next use takes it away */
    CHECK(support_entries(dir, true) == 0);
    leave_stale("Global/left", &everybody);
    as_user(STRANGER, makes_stale_of_root_again, NULL);
    CHECK(exists(path.text));
    CHECK_STATUS(come(0, "Local/another", NULL), WEIR_OK);
    CHECK(support_entries(dir, true) == 0);
}

int main(void)
{
    if (geteuid() != 0)
        support_skip("needs root, to be two users");
    dir = support_shm_dir();
    CHECK(chmod(dir, 01777) == 0);
    squatted_names();
    squatted_directory();
    hard_link_of_another_section();
    sections_of_root();
    local_names_of_both();
    stale_of_others();
    return 0;
}
