/* tests/naming/faults_kinds.h - as faults_scenes.h: sections without a name, files, and looking at what is there. */
#ifndef WEIR_TESTS_NAMING_FAULTS_KINDS_H
#define WEIR_TESTS_NAMING_FAULTS_KINDS_H

#include "faults_walk.h"

#include <sys/socket.h>

/* ---- without a name ---- */

static const weir_section_options labelled = { .label = "fault", .slots = 4 };
static const weir_section_options room_handed_over = { .label = "fault", .flags = WEIR_RESERVE, .commit_bytes = 1 };

static inline weir_status make_unnamed(struct scene *s, uint64_t size, const weir_section_options *options)
{
    return weir_section_create_unnamed(&s->handle, size, options);
}
static inline weir_status do_unnamed(struct scene *s) { return make_unnamed(s, SIZE, &labelled); }
static inline weir_status do_unnamed_large(struct scene *s)
{
    return make_unnamed(s, PAGES, &(weir_section_options){ .want = WEIR_LARGE_PAGES });
}
static inline weir_status do_unnamed_sealed(struct scene *s)
{
    return make_unnamed(s, SIZE, &(weir_section_options){ .flags = WEIR_SEAL_SHRINK | WEIR_SEAL_GROW | WEIR_SEAL_WRITE |
                                                                   WEIR_SEAL_SEAL });
}
static inline weir_status do_unnamed_room(struct scene *s) { return make_unnamed(s, ROOM, &room_handed_over); }
static inline weir_status do_unnamed_of_group(struct scene *s)
{
    uint32_t group = geteuid() == 0 ? STRANGER : getegid();
    return make_unnamed(s, SIZE, &(weir_section_options){ .flags = WEIR_SET_GROUP, .group = group, .mode = 0660 });
}
static inline weir_status do_unnamed_on_node(struct scene *s)
{
    return make_unnamed(s, SIZE, &(weir_section_options){ .demand = WEIR_ON_NODE });
}

static inline void have_unnamed_other(struct scene *s) /* and its handle was given */
{
    CHECK_OK(weir_section_create_unnamed(&s->other, SIZE, &labelled));
    stamp(s->other, STAMP);
    CHECK_OK(weir_section_export(s->other, WEIR_READ_WRITE, false, &s->given));
}
static inline void have_unnamed_room_other(struct scene *s)
{
    CHECK_OK(weir_section_create_unnamed(&s->other, ROOM, &room_handed_over));
    CHECK_OK(weir_section_export(s->other, WEIR_READ_WRITE, false, &s->given));
}
static inline void have_unnamed(struct scene *s)
{
    CHECK_OK(do_unnamed(s));
}
static inline void have_attached(struct scene *s)
{
    CHECK_OK(weir_section_attach(&s->handle, s->given, NULL));
}
static inline void have_attached_view(struct scene *s)
{
    have_attached(s);
    CHECK_OK(weir_view_map(&s->had, s->handle, 0, 0, WEIR_READ_WRITE));
}
static inline weir_status do_export(struct scene *s)
{
    return weir_section_export(s->handle, WEIR_READ_WRITE, false, &s->got);
}
static inline weir_status do_export_inherited(struct scene *s)
{
    return weir_section_export(s->handle, WEIR_READ_ONLY, true, &s->got);
}
static inline weir_status do_attach(struct scene *s) { return weir_section_attach(&s->handle, s->given, NULL); }
static inline weir_status do_attach_to_look(struct scene *s)
{
    return weir_section_attach(&s->handle, s->given, &observing);
}
static inline weir_status do_attach_another(struct scene *s)
{
    return weir_section_attach(&s->handle, s->given, &(weir_section_options){ .content = 7 });
}
static inline weir_status do_seal(struct scene *s)
{
    return weir_section_seal(s->handle, WEIR_SEAL_SHRINK | WEIR_SEAL_GROW);
}
static inline weir_status do_seals(struct scene *s)
{
    (void)weir_section_seals(s->handle);
    return WEIR_OK;
}

/* Both ends do not block: what is not there is a timeout, not a hang of the test. */
static inline void have_socket(struct scene *s)
{
    have_unnamed_other(s);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s->ends) == 0);
}
static inline void have_sent(struct scene *s)
{
    have_socket(s);
    CHECK_OK(weir_handle_send(s->ends[0], s->given));
}
static inline weir_status do_send(struct scene *s) { return weir_handle_send(s->ends[0], s->given); }
static inline weir_status do_receive(struct scene *s) { return weir_handle_receive(s->ends[1], &s->got); }
static inline weir_status do_close_handle(struct scene *s)
{
    weir_handle handle = s->given;
    s->given = NO_HANDLE;
    return weir_handle_close(handle);
}

/* ---- files ---- */

#define FILE_BYTES 5000u
#define GROWN UINT64_C(200000)
#define TEXT_BYTE 0x5a

static inline void have_no_file(struct scene *s)
{
    (void)snprintf(s->path, sizeof s->path, "%s/file", s->dir);
}
static inline void have_file(struct scene *s)
{
    unsigned char bytes[FILE_BYTES];
    memset(bytes, TEXT_BYTE, sizeof bytes);
    have_no_file(s);
    file_write(s->path, bytes, sizeof bytes, 0600);
}
static inline weir_status open_file_as(struct scene *s, uint64_t size, const weir_section_options *options)
{
    return weir_section_open_file(&s->handle, s->path, size, options);
}
static inline weir_status do_open_file(struct scene *s) { return open_file_as(s, 0, NULL); }
static inline weir_status do_observe_file(struct scene *s) { return open_file_as(s, 0, &observing); }
static inline weir_status do_grow_file(struct scene *s) { return open_file_as(s, GROWN, NULL); }
static inline weir_status do_grow_file_much(struct scene *s) { return open_file_as(s, LARGE, NULL); }
static inline weir_status do_new_file(struct scene *s)
{
    uint32_t group = geteuid() == 0 ? STRANGER : getegid();
    return open_file_as(s, GROWN, &(weir_section_options){ .flags = WEIR_FILE_NEW | WEIR_SET_GROUP, .group = group });
}
static inline weir_status do_create_file(struct scene *s)
{
    return open_file_as(s, GROWN, &(weir_section_options){ .flags = WEIR_FILE_CREATE });
}
static inline weir_status do_new_file_again(struct scene *s)
{
    return open_file_as(s, GROWN, &(weir_section_options){ .flags = WEIR_FILE_NEW });
}
static inline weir_status do_open_file_of_stranger(struct scene *s)
{
    return open_file_as(s, 0, &(weir_section_options){ .flags = WEIR_EXPECT_OWNER, .owner = STRANGER });
}
static inline weir_status do_observe_more(struct scene *s) { return open_file_as(s, GROWN, &observing); }

static inline void have_open_file(struct scene *s)
{
    CHECK_OK(do_open_file(s));
}
static inline void have_file_view(struct scene *s)
{
    have_open_file(s);
    CHECK_OK(weir_view_map(&s->had, s->handle, 0, 0, WEIR_READ_WRITE));
}
static inline weir_status do_flush(struct scene *s) { return weir_section_flush(s->handle); }
static inline weir_status do_flush_view(struct scene *s) { return weir_view_flush(&s->had, 0, 0); }

/* The file's bytes; what is behind its old end is zero. */
static inline bool file_is_whole(const char *path, uint64_t *size)
{
    static unsigned char bytes[LARGE + 1];
    struct stat st;
    if (lstat(path, &st) != 0 || (uint64_t)st.st_size > LARGE)
        return false;
    *size = file_read(path, bytes, sizeof bytes);
    bool old = *size >= FILE_BYTES && bytes[0] == TEXT_BYTE && memcmp(bytes, bytes + 1, FILE_BYTES - 1) == 0;
    uint64_t from = old ? FILE_BYTES : 0;
    return *size <= from || (bytes[from] == 0 && memcmp(bytes + from, bytes + from + 1, *size - from - 1) == 0);
}

/* ---- looking ---- */

static const char *const stale_names[] = { "Local/stale", "Global/stale" };
static const char *const kept_name = "Global/kept";

static inline void remove_sights(struct scene *s)
{
    char path[300];
    CHECK_OK(weir_section_remove(kept_name));
    (void)snprintf(path, sizeof path, "%s/weir-u.%u/his", s->dir, STRANGER);
    CHECK(unlink(path) == 0 || errno == ENOENT);
    (void)snprintf(path, sizeof path, "%s/weir-u.%u", s->dir, STRANGER);
    CHECK(rmdir(path) == 0 || errno == ENOENT);
}

/* One that is in use in every way, one that persists, and with root one in another user's directory. */
static inline void have_sights(struct scene *s)
{
    weir_participant claimed;
    weir_section *kept;
    const weir_section_options options = { .flags = WEIR_RESERVE, .commit_bytes = 2 * GRANULE, .slots = 4 };
    CHECK_OK(weir_section_create(&s->other, s->name, ROOM, &options));
    CHECK_OK(weir_participant_claim(s->other, 1, 1, &claimed));
    CHECK_OK(weir_participant_join(s->other, &claimed));
    CHECK_OK(weir_section_create(&kept, kept_name, SIZE, &persistent));
    CHECK_OK(weir_section_close(kept));
    if (geteuid() == 0) {
        char path[300];
        (void)snprintf(path, sizeof path, "%s/weir-u.%u", s->dir, STRANGER);
        CHECK(mkdir(path, 0700) == 0 && chown(path, STRANGER, STRANGER) == 0);
        (void)snprintf(path, sizeof path, "%s/weir-u.%u/his", s->dir, STRANGER);
        file_write(path, "none", 4, 0600);
    }
    s->end = remove_sights;
}

/* And stale ones; a file with a section's bytes that nobody holds is one. */
static inline void have_stale_sights(struct scene *s)
{
    static unsigned char image[2][WEIR_SECTION_HEADER + SIZE];
    have_sights(s);
    for (int i = 0; i < 2; i++) {
        weir_section *section;
        CHECK_OK(weir_section_create(&section, stale_names[i], SIZE, NULL));
        CHECK(file_read(section_path(s->dir, stale_names[i]).text, image[i], sizeof image[i]) == sizeof image[i]);
        CHECK_OK(weir_section_close(section));
    }
    CHECK(mkdir(local_dir(s->dir).text, 0700) == 0 || errno == EEXIST);
    for (int i = 0; i < 2; i++)
        file_write(section_path(s->dir, stale_names[i]).text, image[i], sizeof image[i], 0600);
}

/* The actor has it open twice: to use it, with a view of a piece, and to look. */
static inline void have_looked_at(struct scene *s)
{
    CHECK_OK(weir_section_open(&s->handle, s->name, NULL));
    CHECK_OK(weir_view_map(&s->had, s->handle, 0, GRANULE, WEIR_READ_WRITE));
}

/* Is that what there is to see of the section in use?  Without an observer: the scenes have none. */
static inline bool is_true(const weir_section_info *info, const char *name)
{
    return strcmp(info->name, name) == 0 && info->state == WEIR_SECTION_LIVE && info->why == WEIR_OK &&
           info->users == 2 && info->observers == 0 && info->present == 1 && info->dead == 0 && info->slots == 4 &&
           info->size == ROOM && info->committed == 2 * GRANULE && info->flags == WEIR_RESERVE &&
           info->mode == 0600 && info->owner == geteuid() && info->version == WEIR_SECTION_VERSION;
}

static inline bool is_failing(weir_status why) /* what is wrong is the system, and that is said */
{
    return why == WEIR_E_OS || why == WEIR_E_NO_MEMORY || why == WEIR_E_PERMISSION || why == WEIR_E_UNSUPPORTED;
}

static inline bool visit_info(const weir_section_info *info, void *arg)
{
    struct scene *s = arg;
    s->visits++;
    bool right = info->state == WEIR_SECTION_STRANGE ? is_failing(info->why)
                 : strcmp(info->name, s->name) == 0  ? is_true(info, s->name)
                 : strcmp(info->name, kept_name) == 0
                     ? info->state == WEIR_SECTION_UNUSED && info->size == SIZE && info->committed == SIZE
                     : false;
    if (strcmp(info->name, "Local/his") == 0)
        right = info->state == WEIR_SECTION_STRANGE && (info->why == WEIR_E_NOT_WEIR || is_failing(info->why));
    s->wrong += !right;
    return true;
}
static inline bool visit_user(const weir_section_user *user, void *arg)
{
    struct scene *s = arg;
    s->visits++;
    s->wrong += user->pid != (uint32_t)getpid() || user->observer;
    return true;
}
static inline bool visit_mapping(const weir_section_mapping *mapping, void *arg)
{
    struct scene *s = arg;
    s->visits++;
    s->wrong += mapping->pid != (uint32_t)getpid() || mapping->base != (uintptr_t)s->had.base || mapping->offset != 0 ||
                mapping->size != GRANULE || mapping->access != WEIR_READ_WRITE;
    return true;
}

static inline weir_status do_list(struct scene *s)
{
    s->visits = s->wrong = 0;
    return weir_section_list(visit_info, s);
}
static inline weir_status do_stat(struct scene *s) { return weir_section_stat(s->name, &s->info); }
static inline weir_status do_users(struct scene *s)
{
    s->visits = s->wrong = 0;
    return weir_section_users(s->name, visit_user, s);
}
static inline weir_status do_mappings(struct scene *s)
{
    s->visits = s->wrong = 0;
    return weir_section_mappings(s->name, visit_mapping, s);
}
static inline weir_status do_memory(struct scene *s) { return weir_view_memory(&s->had, &s->memory); }

static inline bool visit_cleaned(const weir_section_info *info, void *arg)
{
    struct scene *s = arg;
    s->visits++;
    s->wrong += info->state != WEIR_SECTION_STALE || exists(section_path(s->dir, info->name).text);
    return true;
}
static inline weir_status do_clean(struct scene *s) { return weir_section_clean(visit_cleaned, s); }

#endif
