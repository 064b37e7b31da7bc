#include "looks.h"

#include <criterion/criterion.h>
#include <sys/socket.h>
#include <sys/un.h>

#define KIB64 UINT64_C(65536)
#define OTHER 12345u /* a group, and a user, that need not exist */

/* One section as stat gives it; list, where nothing changes meanwhile, must give the same. */
static weir_section_info look(const char *name)
{
    static struct infos all;
    weir_section_info info;
    unsigned fds = open_fds();
    memset(&info, 0xa5, sizeof info);
    all.count = 0;
    CHECK_KEEPS(weir_section_stat(name, &info));
    CHECK_KEEPS(weir_section_list(infos_visit, &all));
    const weir_section_info *listed = infos_find(&all, info.name, info.owner);
    cr_assert(listed != NULL && same_info(&info, listed), "%s: stat and list differ", name);
    cr_assert_eq(open_fds(), fds);
    return info;
}

static void check_state(const char *name, weir_section_state state, uint32_t users, uint32_t observers)
{
    weir_section_info info = look(name);
    cr_assert(info.state == state && info.why == WEIR_OK, "%s: state %d, not %d", name, info.state, state);
    cr_assert(info.users == users && info.observers == observers, "%s: %u users, %u observers", name, info.users,
              info.observers);
}

static weir_section *create(const char *name, uint64_t size, const weir_section_options *options)
{
    weir_section *section;
    CHECK_OK(weir_section_create(&section, name, size, options));
    return section;
}

static weir_section *observe(const char *name)
{
    weir_section *section;
    CHECK_OK(weir_section_open(&section, name, &(weir_section_options){ .access = WEIR_READ_ONLY, .mode = 0777 }));
    return section;
}

/* ---- every field ---- */

Test(list, stat_and_list_tell_every_field)
{
    static const char *const names[] = { "Local/fields", "Global/fields", "fields", "Global\\fields" };
    const char *dir = support_shm_dir();
    bool root = geteuid() == 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        weir_section_options options = { .content = 0xc0ffee, .slots = 7, .mode = 0640, .group = OTHER,
                                         .flags = (root ? WEIR_SET_GROUP : 0u) | (i % 2 != 0 ? WEIR_PERSISTENT : 0u) };
        weir_section *section = create(names[i], 100001, &options);
        weir_section_info info = look(names[i]);
        struct stat st;
        cr_assert_eq(stat(section_path(dir, names[i]).text, &st), 0);
        cr_assert_str_eq(info.name, weir_section_name(section));
        cr_assert(info.state == WEIR_SECTION_LIVE && info.why == WEIR_OK && info.mode == 0640);
        cr_assert(info.owner == geteuid() && info.group == (root ? OTHER : getegid()) && info.group == st.st_gid);
        cr_assert(info.version == WEIR_SECTION_VERSION && info.content == 0xc0ffee);
        cr_assert(info.flags == (i % 2 != 0 ? WEIR_PERSISTENT : 0u), "%#x", info.flags);
        cr_assert(info.slots == 7 && info.present == 0 && info.dead == 0 && info.users == 1 && info.observers == 0);
        cr_assert(info.size == 100001 && info.committed == 100001);
        cr_assert(info.resident == (uint64_t)st.st_blocks * 512 && info.resident >= 100001 + WEIR_SECTION_HEADER);
        CHECK_OK(weir_section_extend(section, 300000));
        info = look(names[i]);
        cr_assert(info.size == 300000 && info.committed == 300000 && info.resident >= 300000);
        CHECK_OK(weir_section_close(section));
        cr_assert(i % 2 == 0 || weir_section_remove(names[i]) == WEIR_OK);
    }
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(list, committed_counts_the_granules_and_a_short_last_one)
{
    /* Beyond 2 GiB the map of commitments has more than one page; beyond 4 MiB, more than one word. */
    static const uint64_t sizes[] = { 1, KIB64, 3 * KIB64 + 100, 64 * KIB64, 64 * KIB64 + 1, 10000 * KIB64,
                                      (UINT64_C(2) << 30), (UINT64_C(2) << 30) + 1, (UINT64_C(5) << 30) + 4097 };
    const char *dir = support_shm_dir();
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint64_t size = sizes[i], granules = weir_section_granules(size), last = size - (granules - 1) * KIB64;
        weir_section *section = create("Local/room", size, &(weir_section_options){ .flags = WEIR_RESERVE });
        weir_section_info info = look("Local/room");
        cr_assert(info.size == size && info.committed == 0 && info.flags == WEIR_RESERVE);
        CHECK_OK(weir_section_commit(section, (granules - 1) * KIB64, 0));
        cr_assert_eq(look("Local/room").committed, last, "%llu: the last alone", (unsigned long long)size);
        uint64_t expected = last;
        static const uint64_t some[] = { 0, 1, 63, 64, 65, 127, 128, 32767, 32768, 40000, 65535 };
        for (size_t g = 0; g < sizeof some / sizeof some[0]; g++)
            if (some[g] < granules - 1) {
                CHECK_OK(weir_section_commit(section, some[g] * KIB64, 1));
                expected += KIB64;
            }
        info = look("Local/room");
        cr_assert(info.committed == expected && info.size == size, "%llu: %llu, not %llu", (unsigned long long)size,
                  (unsigned long long)info.committed, (unsigned long long)expected);
        struct stat st;
        cr_assert_eq(stat(section_path(dir, "Local/room").text, &st), 0);
        cr_assert(info.resident == (uint64_t)st.st_blocks * 512 && info.resident >= expected);
        CHECK_OK(weir_section_decommit(section, (granules - 1) * KIB64, 0));
        cr_assert_eq(look("Local/room").committed, expected - last);
        if (size <= 64 * KIB64 + 1) {
            CHECK_OK(weir_section_commit(section, 0, 0));
            cr_assert_eq(look("Local/room").committed, size);
        }
        CHECK_OK(weir_section_close(section));
    }
    weir_section_options some = { .flags = WEIR_RESERVE | WEIR_PERSISTENT, .commit_bytes = KIB64 + 1 };
    CHECK_OK(weir_section_close(create("Local/room", 10 * KIB64, &some)));
    weir_section_info info = look("Local/room");
    cr_assert(info.state == WEIR_SECTION_UNUSED && info.committed == 2 * KIB64 && info.size == 10 * KIB64);
    cr_assert_eq(info.flags, WEIR_RESERVE | WEIR_PERSISTENT);
    CHECK_OK(weir_section_remove("Local/room"));
    cr_assert_eq(support_entries(dir, true), 0);
}

static void claim_and_join(void *arg)
{
    weir_section *section;
    weir_participant before;
    CHECK_OK(weir_section_open(&section, "Global/slots", NULL));
    CHECK_OK(weir_participant_claim(section, *(uint32_t *)arg, 1, &before));
    CHECK_OK(weir_participant_join(section, &before));
}

static void check_slots(uint32_t present, uint32_t dead)
{
    weir_section_info info = look("Global/slots");
    cr_assert(info.slots == 255 && info.present == present && info.dead == dead, "%u present, %u dead", info.present,
              info.dead);
}

Test(list, slots_are_present_while_their_holder_lives_and_dead_when_it_was_killed)
{
    const char *dir = support_shm_dir();
    uint32_t slots[] = { 0, 3, 254 };
    holder holders[3];
    weir_participant before[2];
    weir_section *section = create("Global/slots", 4096, &(weir_section_options){ .slots = 255 });
    for (int i = 0; i < 3; i++)
        holders[i] = holder_start(claim_and_join, NULL, &slots[i]);
    check_slots(3, 0);
    CHECK_OK(weir_participant_claim(section, 100, 1, &before[0])); /* says nothing of itself yet */
    check_slots(3, 0);
    CHECK_OK(weir_participant_join(section, &before[0]));
    check_slots(4, 0);
    CHECK(kill(holders[0].pid, SIGSTOP) == 0);
    check_slots(4, 0);
    holder_kill(&holders[0]);
    holder_kill(&holders[2]);
    check_slots(2, 2);
    CHECK_OK(weir_participant_claim(section, 254, 1, &before[1])); /* its death is in the word now */
    check_slots(2, 2);
    CHECK_OK(weir_participant_join(section, &before[1]));
    check_slots(3, 1);
    CHECK_OK(weir_participant_leave(section, 254));
    CHECK_OK(weir_participant_leave(section, 100));
    check_slots(1, 1);
    holder_finish(&holders[1]); /* _exit is a death as well */
    check_slots(0, 2);
    CHECK_OK(weir_section_close(section));
    cr_assert_eq(support_entries(dir, true), 0);
}

/* ---- every state ---- */

Test(list, a_section_is_live_unused_or_stale_by_who_has_it_open)
{
    static const char *const names[] = { "Local/held", "Global/held" };
    const char *dir = support_shm_dir();
    weir_section_options persistent = { .flags = WEIR_PERSISTENT };
    for (int i = 0; i < 2; i++) {
        section_job jobs[] = { { .name = names[i], .size = 4096 },
                               { .name = i == 0 ? "Global/kept" : "Local/kept", .size = 4096, .options = persistent } };
        holder holders[2];
        for (int k = 0; k < 2; k++) {
            holders[k] = holder_start(section_job_begin, NULL, &jobs[k]);
            check_state(jobs[k].name, WEIR_SECTION_LIVE, 1, 0);
        }
        weir_section *observers[2];
        for (int k = 0; k < 2; k++) {
            observers[k] = observe(jobs[k].name);
            check_state(jobs[k].name, WEIR_SECTION_LIVE, 1, 1);
        }
        for (int k = 0; k < 2; k++)
            holder_kill(&holders[k]);
        /* An observer keeps nothing alive. */
        check_state(jobs[0].name, WEIR_SECTION_STALE, 0, 1);
        check_state(jobs[1].name, WEIR_SECTION_UNUSED, 0, 1);
        for (int k = 0; k < 2; k++)
            CHECK_OK(weir_section_close(observers[k]));
        check_state(jobs[0].name, WEIR_SECTION_STALE, 0, 0);
        check_state(jobs[1].name, WEIR_SECTION_UNUSED, 0, 0);
        weir_section *section;
        CHECK_OK(weir_section_open(&section, jobs[1].name, NULL));
        check_state(jobs[1].name, WEIR_SECTION_LIVE, 1, 0);
        weir_section_info gone; /* the open has swept it */
        CHECK_STATUS(weir_section_stat(jobs[0].name, &gone), WEIR_E_NOT_FOUND);
        CHECK_OK(weir_section_close(section));
        check_state(jobs[1].name, WEIR_SECTION_UNUSED, 0, 0);
        CHECK_OK(weir_section_remove(jobs[1].name));
    }
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(list, one_that_was_being_made_again_in_place_is_stale)
{
    const char *dir = support_shm_dir();
    look_image image;
    look_image_make(&image, "Global/half", 0);
    weir_store_rlx(&image.header.magic, WEIR_SECTION_MAGIC_MAKING);
    file_write(section_path(dir, "Global/half").text, &image, sizeof image, 0600);
    check_state("Global/half", WEIR_SECTION_STALE, 0, 0);
    CHECK_OK(weir_section_clean(NULL, NULL));
    cr_assert_eq(support_entries(dir, true), 0);
}

/* ---- what is no section ---- */

enum odd {
    TEXT, EMPTY, FIFO, FOLDER, DANGLING, LINK, SOCKET, HARD_LINK, MAGIC, VERSION, SLOTS, FLAGS, NAMELESS, NO_SIZE, NO_ID,
    SIZE_MAX_OVER, SHORTER, CUT, OTHER_NAME, ODDS
};
static const weir_status odd_why[ODDS] = {
    WEIR_E_NOT_WEIR, WEIR_E_NOT_WEIR, WEIR_E_NOT_WEIR, WEIR_E_NOT_WEIR, WEIR_E_NOT_WEIR, WEIR_E_NOT_WEIR,
    WEIR_E_NOT_WEIR, WEIR_E_NOT_WEIR, WEIR_E_NOT_WEIR, WEIR_E_VERSION,  WEIR_E_CORRUPT,  WEIR_E_CORRUPT,
    WEIR_E_CORRUPT,  WEIR_E_CORRUPT,  WEIR_E_CORRUPT,  WEIR_E_CORRUPT,  WEIR_E_CORRUPT,  WEIR_E_CORRUPT,
    WEIR_E_NOT_WEIR,
};

static void put_odd(enum odd odd, const char *path, const char *name, const char *real)
{
    look_image image;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    look_image_make(&image, odd == OTHER_NAME ? "Local/other" : name, 0);
    weir_section_layout *header = &image.header;
    size_t size = odd == EMPTY ? 0 : odd == SHORTER ? LOOK_IMAGE - 1 : odd == CUT ? 4000 : LOOK_IMAGE;
    switch (odd) {
    case TEXT: memset(&image, 'x', sizeof image); break;
    case MAGIC: weir_store_rlx(&header->magic, WEIR_SECTION_MAGIC + 1); break;
    case VERSION: header->version++; break;
    case SLOTS: header->slots = WEIR_SLOTS_MAX + 1; break;
    case FLAGS: header->flags = 8; break;
    case NAMELESS: header->flags = WEIR_SECTION_NAMELESS; break;
    case NO_SIZE: weir_store_rlx(&header->size, 0); break;
    case NO_ID: header->id = 0; break;
    case SIZE_MAX_OVER: weir_store_rlx(&header->size, UINT64_MAX); break;
    case FIFO: CHECK(mkfifo(path, 0640) == 0); return;
    case FOLDER: CHECK(mkdir(path, 0750) == 0); return;
    case DANGLING: CHECK(symlink("/nonexistent/weir", path) == 0); return;
    case LINK: CHECK(symlink(real, path) == 0); return;
    case HARD_LINK: CHECK(link(real, path) == 0); return;
    case SOCKET:
        CHECK(strlen(path) < sizeof address.sun_path);
        (void)strcpy(address.sun_path, path);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
        (void)close(fd);
        return;
    default: break;
    }
    file_write(path, &image, size, 0604);
}

static bool ignore_user(const weir_section_user *user, void *arg)
{
    (void)user;
    ++*(unsigned *)arg;
    return true;
}

static bool ignore_mapping(const weir_section_mapping *mapping, void *arg)
{
    (void)mapping;
    ++*(unsigned *)arg;
    return true;
}

static void check_strange(const char *name, const char *path, weir_status why)
{
    struct stat before, after;
    unsigned visits = 0;
    int64_t from = monotonic_ns();
    CHECK(lstat(path, &before) == 0);
    weir_section_info info = look(name);
    cr_assert(info.state == WEIR_SECTION_STRANGE && info.why == why, "%s: state %d, why %s, not %s", name, info.state,
              weir_status_name(info.why), weir_status_name(why));
    cr_assert(info.mode == (before.st_mode & 07777) && info.owner == before.st_uid && info.group == before.st_gid);
    cr_assert_eq(info.resident, (uint64_t)before.st_blocks * 512);
    cr_assert(info.version == 0 && info.content == 0 && info.flags == 0 && info.slots == 0 && info.present == 0 &&
              info.dead == 0 && info.users == 0 && info.observers == 0 && info.size == 0 && info.committed == 0);
    CHECK_KEEPS_ERRNO(weir_section_users(name, ignore_user, &visits), why);
    cr_assert(*weir_error_detail() != 0);
    CHECK_KEEPS_ERRNO(weir_section_mappings(name, ignore_mapping, &visits), why);
    cr_assert_eq(visits, 0);
    CHECK_KEEPS(weir_section_clean(NULL, NULL));
    cr_assert(lstat(path, &after) == 0 && after.st_ino == before.st_ino && after.st_size == before.st_size &&
              after.st_mode == before.st_mode && after.st_ctim.tv_nsec == before.st_ctim.tv_nsec &&
              after.st_mtim.tv_nsec == before.st_mtim.tv_nsec && after.st_nlink == before.st_nlink);
    cr_assert_lt(monotonic_ns() - from, WAIT_NS, "%s waited", name);
}

Test(list, what_is_no_whole_section_is_strange_says_why_and_is_left_alone)
{
    static const char *const names[] = { "Local/odd", "Global/odd" };
    const char *dir = support_shm_dir();
    weir_section *real[2] = { create("Local/real", 4096, NULL), create("Global/real", 4096, NULL) };
    path_text live[2] = { section_path(dir, "Local/real"), section_path(dir, "Global/real") };
    for (int i = 0; i < 2; i++)
        for (enum odd odd = TEXT; odd < ODDS; odd++) {
            path_text path = section_path(dir, names[i]);
            put_odd(odd, path.text, names[i], live[i].text);
            check_strange(names[i], path.text, odd_why[odd]);
            CHECK((odd == FOLDER ? rmdir(path.text) : unlink(path.text)) == 0);
        }
    for (int i = 0; i < 2; i++) {
        check_state(weir_section_name(real[i]), WEIR_SECTION_LIVE, 1, 0);
        CHECK_OK(weir_section_close(real[i]));
    }
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(list, files_whose_names_are_none_are_not_visited)
{
    static const char *const files[] = { "weir-g.", "weir-g..x", "weir-g.a b", "weir-g.a\\b", "weir-g.Global\\b",
                                         "weir-u.", "weir-u.x", "weir-h.x", "plain", ".hidden", "Local", "sem.x" };
    const char *dir = support_shm_dir();
    struct infos all = { .count = 0 };
    char path[1024], word[256];
    local_dir_make(dir);
    for (int local = 0; local < 2; local++)
        for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
            if (local != 0 && (strchr(files[i], ' ') == NULL && strchr(files[i], '\\') == NULL && files[i][0] != '.'))
                continue; /* any word is a Local name */
            (void)snprintf(path, sizeof path, "%s/%s", local != 0 ? local_dir(dir).text : dir, files[i]);
            file_write(path, "x", 1, 0600);
        }
    memset(word, 'w', sizeof word); /* a name of 201 bytes is none, one of 200 is */
    word[201] = 0;
    (void)snprintf(path, sizeof path, "%s/weir-g.%s", dir, word);
    file_write(path, "x", 1, 0600);
    CHECK_OK(weir_section_list(infos_visit, &all));
    cr_assert_eq(all.count, 0, "%s", all.at[0].name);
    word[200] = 0;
    (void)snprintf(path, sizeof path, "Global/%s", word);
    weir_section *section = create(path, 1, NULL);
    check_state(path, WEIR_SECTION_LIVE, 1, 0);
    CHECK_OK(weir_section_close(section));
}

/* ---- many, early ends, changes meanwhile ---- */

#define MANY 5000u

/* One visit of each of MANY numbered names, half of them Local. */
struct many {
    unsigned count;
    bool remove;
    unsigned char seen[MANY];
};

static void many_name(unsigned i, char name[64])
{
    (void)snprintf(name, 64, "%s/many-of-them-%u", i % 2 == 0 ? "Local" : "Global", i);
}

static bool many_visit(const weir_section_info *info, void *arg)
{
    struct many *many = arg;
    char name[64];
    unsigned i = (unsigned)strtoul(strrchr(info->name, '-') + 1, NULL, 10);
    many_name(i, name);
    cr_assert(i < MANY && strcmp(name, info->name) == 0 && many->seen[i] == 0, "%s again", info->name);
    many->seen[i] = 1;
    many->count++;
    if (many->remove) { /* a visit may open, look at and remove sections */
        weir_section *section;
        weir_section_info now;
        if (i % 50 < 2) { /* not each: an open looks at all the others for stale ones */
            CHECK_OK(weir_section_open(&section, name, NULL));
            CHECK_OK(weir_section_stat(name, &now));
            cr_assert_eq(now.state, WEIR_SECTION_LIVE);
            CHECK_OK(weir_section_close(section));
        }
        CHECK_OK(weir_section_remove(name));
        errno = 77;
    }
    return true;
}

static void put_many(const char *dir, uint32_t flags)
{
    char name[64];
    local_dir_make(dir);
    for (unsigned i = 0; i < MANY; i++) {
        many_name(i, name);
        look_image_put(dir, name, flags);
    }
}

Test(list, every_one_of_5000_is_visited_once_and_cleaned_once)
{
    const char *dir = support_shm_dir();
    static struct many listed, cleaned, kept;
    put_many(dir, 0);
    CHECK_KEEPS(weir_section_list(many_visit, &listed));
    cr_assert_eq(listed.count, MANY);
    CHECK_KEEPS(weir_section_clean(many_visit, &cleaned));
    cr_assert_eq(cleaned.count, MANY);
    cr_assert_eq(support_entries(dir, true), 0);
    put_many(dir, WEIR_PERSISTENT);
    CHECK_KEEPS(weir_section_clean(many_visit, &kept));
    cr_assert_eq(kept.count, 0);
}

Test(list, a_visit_may_open_look_at_and_remove_sections_while_every_one_is_still_visited_once)
{
    const char *dir = support_shm_dir();
    static struct many many;
    many.remove = true;
    put_many(dir, WEIR_PERSISTENT);
    CHECK_KEEPS(weir_section_list(many_visit, &many));
    cr_assert_eq(many.count, MANY);
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(list, a_visit_that_returns_false_ends_the_walk)
{
    static const char *const names[] = { "Local/a", "Local/b", "Local/c", "Global/a", "Global/b", "Global/c" };
    const char *dir = support_shm_dir();
    local_dir_make(dir);
    for (unsigned stop = 1; stop <= 6; stop++) {
        struct infos some = { .stop = stop }, cleaned = { .stop = stop };
        for (int i = 0; i < 6; i++)
            look_image_put(dir, names[i], 0);
        CHECK_KEEPS(weir_section_list(infos_visit, &some));
        cr_assert_eq(some.count, stop);
        cr_assert_eq(files_under(dir), 6);
        CHECK_KEEPS(weir_section_clean(infos_visit, &cleaned));
        cr_assert_eq(cleaned.count, stop);
        cr_assert_eq(files_under(dir), 6 - stop);
        for (unsigned i = 0; i < stop; i++)
            cr_assert(!exists(section_path(dir, cleaned.at[i].name).text));
        CHECK_OK(weir_section_clean(NULL, NULL));
        cr_assert_eq(support_entries(dir, true), 0);
        local_dir_make(dir);
    }
}

static void close_it(void *arg)
{
    section_job_end(arg);
}

static bool finish_holder(const weir_section_info *info, void *arg)
{
    cr_assert_eq(info->state, WEIR_SECTION_LIVE);
    holder_finish(arg);
    return true;
}

Test(list, a_look_keeps_nothing_alive)
{
    static const char *const names[] = { "Local/last", "Global/last" };
    const char *dir = support_shm_dir();
    for (int i = 0; i < 2; i++) {
        section_job job = { .name = names[i], .size = 4096 };
        holder h = holder_start(section_job_begin, close_it, &job);
        CHECK_OK(weir_section_list(finish_holder, &h));
        cr_assert_eq(support_entries(dir, true), 0);
    }
}

/* ---- clean ---- */

Test(list, clean_removes_whole_stale_sections_of_ours_alone)
{
    const char *dir = support_shm_dir();
    look_image image;
    section_job jobs[] = { { .name = "Local/killed", .size = 5000, .options = { .content = 9, .slots = 2 } },
                           { .name = "Global/killed", .size = 4096, .options = { .mode = 0666 } },
                           { .name = "Global/room", .size = 10 * KIB64, .options = { .flags = WEIR_RESERVE } },
                           { .name = "Global/unused", .size = 4096, .options = { .flags = WEIR_PERSISTENT } } };
    holder holders[4];
    weir_section *live = create("Global/live", 4096, NULL), *local = create("Local/live", 4096, NULL);
    for (int i = 0; i < 4; i++)
        holders[i] = holder_start(section_job_begin, NULL, &jobs[i]);
    weir_section *watched = observe("Global/killed");
    for (int i = 0; i < 4; i++)
        holder_kill(&holders[i]);
    file_write(section_path(dir, "Global/file").text, "text", 4, 0600);
    look_image_make(&image, "Global/elsewhere", 0);
    file_write(section_path(dir, "Global/link").text, &image, sizeof image, 0600);
    file_write(section_path(dir, "Global/cut").text, &image, 4096, 0600);
    unsigned stays = 6; /* live ones, the unused one, strange ones */
    if (geteuid() == 0) {
        look_image_put(dir, "Global/his", 0);
        look_image_put(dir, "Local/his", 0);
        CHECK(chown(section_path(dir, "Global/his").text, OTHER, OTHER) == 0);
        CHECK(chown(section_path(dir, "Local/his").text, OTHER, OTHER) == 0);
        stays += 2;
    }
    struct infos cleaned = { .count = 0 };
    CHECK_KEEPS(weir_section_clean(infos_visit, &cleaned));
    cr_assert_eq(cleaned.count, 3);
    for (int i = 0; i < 3; i++) {
        const weir_section_info *info = infos_find(&cleaned, jobs[i].name, geteuid());
        cr_assert(info != NULL && info->state == WEIR_SECTION_STALE && info->why == WEIR_OK && info->users == 0);
        cr_assert(info->size == jobs[i].size && info->content == jobs[i].options.content);
        cr_assert_eq(info->observers, i == 1);
        cr_assert(!exists(section_path(dir, jobs[i].name).text));
    }
    cr_assert_eq(files_under(dir), stays);
    check_state("Global/live", WEIR_SECTION_LIVE, 1, 0);
    check_state("Local/live", WEIR_SECTION_LIVE, 1, 0);
    check_state("Global/unused", WEIR_SECTION_UNUSED, 0, 0);
    CHECK_OK(weir_section_close(watched));
    CHECK_OK(weir_section_close(live));
    CHECK_OK(weir_section_close(local));
    CHECK_OK(weir_section_remove("Global/unused"));
}

/* Creates, looks at its own, closes; or is killed with it. */
static void churn(unsigned number, int stop)
{
    char name[32], byte;
    struct stat mine, named;
    for (unsigned round = 0; read(stop, &byte, 1) < 0; round++) {
        (void)snprintf(name, sizeof name, "%s/churn-%u", number % 2 == 0 ? "Local" : "Global", number);
        const char *dir = getenv("WEIR_SHM_DIR");
        if (number >= 2) {
            leave_stale(name, NULL);
            continue;
        }
        weir_section *section = create(name, 4096, NULL);
        CHECK(stat(section_path(dir, name).text, &mine) == 0);
        for (int look_again = 0; look_again < 20; look_again++) {
            weir_section_info info;
            CHECK_OK(weir_section_stat(name, &info));
            CHECK(info.state == WEIR_SECTION_LIVE && info.users == 1);
        }
        CHECK(stat(section_path(dir, name).text, &named) == 0 && named.st_ino == mine.st_ino);
        CHECK_OK(weir_section_close(section));
    }
}

static bool clean_in_race(const weir_section_info *info, void *arg)
{
    cr_assert(info->state == WEIR_SECTION_STALE && info->users == 0 && info->size == 4096, "%s", info->name);
    ++*(unsigned *)arg;
    return true;
}

static bool list_in_race(const weir_section_info *info, void *arg)
{
    (void)arg;
    cr_assert(info->state != WEIR_SECTION_STRANGE, "%s: %s", info->name, weir_status_name(info->why));
    return true;
}

Test(list, clean_takes_nothing_from_those_who_create_and_close_meanwhile)
{
    const char *dir = support_shm_dir();
    int stop[2];
    pid_t children[4];
    unsigned cleaned = 0, rounds = 0;
    CHECK(pipe2(stop, O_CLOEXEC | O_NONBLOCK) == 0);
    for (unsigned i = 0; i < 4; i++) {
        children[i] = fork();
        CHECK(children[i] >= 0);
        if (children[i] == 0) {
            end_with_parent();
            (void)close(stop[1]);
            churn(i, stop[0]);
            _exit(0);
        }
    }
    int64_t end = monotonic_ns() + (int64_t)support_count(1000) * 1000000;
    for (; monotonic_ns() < end || cleaned == 0; rounds++) {
        CHECK_OK(weir_section_clean(clean_in_race, &cleaned));
        CHECK_OK(weir_section_list(list_in_race, NULL));
    }
    (void)close(stop[1]);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(support_wait(children[i]), 0);
    CHECK_OK(weir_section_clean(clean_in_race, &cleaned));
    cr_assert_gt(rounds, 0);
    cr_assert_eq(support_entries(dir, true), 0);
}
