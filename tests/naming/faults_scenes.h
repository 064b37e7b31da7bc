/* tests/naming/faults_scenes.h - what naming/ is asked to do while its system calls fail, kill or are interrupted:
 * named sections; those of the other kinds are in faults_kinds.h. */
#ifndef WEIR_TESTS_NAMING_FAULTS_SCENES_H
#define WEIR_TESTS_NAMING_FAULTS_SCENES_H

#include "faults.h"

#include <weir/naming/file.h>
#include <weir/naming/list.h>
#include <weir/naming/participant.h>
#include <weir/naming/section_layout.h>
#include <weir/naming/unnamed.h>

#define SIZE UINT64_C(4096)
#define LARGE (UINT64_C(17) << 20) /* more than one step of allocation */
#define PAGES (UINT64_C(4) << 20)  /* has a large page in it, wherever it begins */
#define GRANULE WEIR_COMMIT_GRANULE
#define GRANULES UINT64_C(70)                 /* more than a word of the map of commitments, */
#define ROOM (69 * GRANULE + 4096)            /* and the last one is shorter */
#define STAMP UINT64_C(0x5741544552494e47)
#define STRANGER 12345u /* uids and gids that nobody else has here */
#define GUARD 54321u
#define NO_HANDLE ((weir_handle)-77)

struct scene {
    const char *dir, *name;
    weir_section *other;  /* somebody else's handle, which must be none the worse for it */
    weir_section *handle; /* the one that is acted on, or is the result */
    weir_view view;       /* the result */
    weir_view had;        /* mapped by `handle` beforehand */
    weir_participant slot;
    weir_handle given, got; /* handed over; the result */
    int ends[2];            /* of a socket */
    char path[300];         /* of a file */
    weir_section_info info;
    weir_memory memory;
    unsigned visits, wrong; /* of list and its like */
    void (*end)(struct scene *); /* what takes away what was there */
};

struct operation {
    const char *text;
    void (*stage)(struct scene *);  /* what is there before the actor comes, or NULL */
    void (*before)(struct scene *); /* what the actor has beforehand, or NULL */
    weir_status (*act)(struct scene *);
    weir_status fine;   /* what act returns when nothing fails */
    unsigned listed;    /* the failures of a system that its header lists: of the bits below */
    unsigned traits;    /* of those further below */
    void (*check)(struct scene *, weir_status, const char *text); /* what then holds, failed or not; or NULL */
};

enum { PERMISSION = 1, NO_SPACE = 2, NO_MEMORY = 4, UNSUPPORTED = 8, OS = 16, TIMED_OUT = 32, CLOSED_END = 64 };
#define ALL (PERMISSION | NO_SPACE | NO_MEMORY | UNSUPPORTED | OS)
#define EXTEND (PERMISSION | NO_SPACE | NO_MEMORY | UNSUPPORTED | OS)
#define MAP (NO_MEMORY | UNSUPPORTED | PERMISSION | OS)
#define DECOMMIT (PERMISSION | UNSUPPORTED | NO_MEMORY | OS)
enum {
    MAKES_NOTHING = 1, /* failed, it leaves no file at all */
    LOCAL_ONLY = 2,    /* where the name lives makes no difference to it */
    GLOBAL_ONLY = 4,
    ONCE = 8,     /* cannot be tried again: it is used up */
    VANISHES = 16, /* where a call says ENOENT, it may say NOT_FOUND */
    MAY_LACK = 32, /* a system may not have it, without a fault: the row is left out, and says so */
    NEEDS_ROOT = 64,
    ALONE = 128, /* where a lock is held by others it says IN_USE */
};

static inline void scene_begin(struct scene *s, const char *dir, const char *name)
{
    *s = (struct scene){ .dir = dir, .name = name, .given = NO_HANDLE, .got = NO_HANDLE, .ends = { -1, -1 } };
}

static inline void scene_end(struct scene *s)
{
    if (s->end != NULL)
        s->end(s);
    if (s->view.base != NULL)
        CHECK_OK(weir_view_unmap(&s->view));
    if (s->had.base != NULL)
        CHECK_OK(weir_view_unmap(&s->had));
    CHECK_OK(weir_section_close(s->handle));
    CHECK_OK(weir_section_close(s->other));
    if (s->given != NO_HANDLE)
        CHECK_OK(weir_handle_close(s->given));
    if (s->got != NO_HANDLE)
        CHECK_OK(weir_handle_close(s->got));
    for (int i = 0; i < 2; i++)
        if (s->ends[i] >= 0)
            CHECK(close(s->ends[i]) == 0);
    if (s->path[0] != 0)
        CHECK(unlink(s->path) == 0 || errno == ENOENT);
    weir_section_info info;
    weir_status status = weir_section_stat(s->name, &info);
    CHECK(status == WEIR_OK || status == WEIR_E_NOT_FOUND);
    if (status == WEIR_OK && info.state == WEIR_SECTION_UNUSED) /* a stale one is left to the next use */
        CHECK_OK(weir_section_remove(s->name));
}

/* What is left when all is closed goes with one use of another name. */
static inline void check_clean(const char *dir, const char *text)
{
    weir_section *section;
    CHECK_OK(weir_section_create(&section, "Local/later", SIZE, NULL));
    CHECK_OK(weir_section_close(section));
    if (support_entries(dir, true) != 0)
        support_fail(__FILE__, __LINE__, text);
}

/* ---- what is there ---- */

static const weir_section_options with_slots = { .slots = 4 };
static const weir_section_options persistent = { .slots = 4, .flags = WEIR_PERSISTENT };
static const weir_section_options reserved = { .flags = WEIR_RESERVE, .commit_bytes = 1 };
static const weir_section_options lasting_room = { .flags = WEIR_RESERVE | WEIR_PERSISTENT, .commit_bytes = 1 };
static const weir_section_options observing = { .access = WEIR_READ_ONLY };

static inline void stamp(weir_section *section, uint64_t value)
{
    weir_view view;
    CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE));
    memcpy(view.base, &value, sizeof value);
    CHECK_OK(weir_view_unmap(&view));
}

static inline void have_other(struct scene *s)
{
    CHECK_OK(weir_section_create(&s->other, s->name, SIZE, &with_slots));
}
static inline void have_joined_other(struct scene *s) /* somebody to look at */
{
    weir_participant claimed;
    have_other(s);
    CHECK_OK(weir_participant_claim(s->other, 0, 1, &claimed));
    CHECK_OK(weir_participant_join(s->other, &claimed));
}
static inline void have_persistent_other(struct scene *s)
{
    CHECK_OK(weir_section_create(&s->other, s->name, SIZE, &persistent));
    stamp(s->other, STAMP);
}
static inline void have_unused(struct scene *s) /* one that persists, and nobody has it open */
{
    have_persistent_other(s);
    CHECK_OK(weir_section_close(s->other));
    s->other = NULL;
}
static inline void have_handle(struct scene *s) /* the only one */
{
    CHECK_OK(weir_section_create(&s->handle, s->name, SIZE, &with_slots));
}
static inline void have_second(struct scene *s)
{
    CHECK_OK(weir_section_open(&s->handle, s->name, NULL));
}
static inline void have_claimed(struct scene *s)
{
    have_second(s);
    CHECK_OK(weir_participant_claim(s->handle, 0, 4, &s->slot));
}
static inline void have_joined(struct scene *s)
{
    have_claimed(s);
    CHECK_OK(weir_participant_join(s->handle, &s->slot));
}
/* A file with a section's bytes that nobody holds. */
static inline void have_stale(struct scene *s)
{
    static unsigned char image[WEIR_SECTION_HEADER + SIZE];
    have_handle(s);
    path_text path = section_path(s->dir, s->name);
    CHECK(file_read(path.text, image, sizeof image) == sizeof image);
    CHECK_OK(weir_section_close(s->handle));
    s->handle = NULL;
    if (strncmp(s->name, "Local", 5) == 0)
        CHECK(mkdir(local_dir(s->dir).text, 0700) == 0);
    file_write(path.text, image, sizeof image, 0600);
}

/* ---- another user ---- */

/* Does it as that user; only root can. */
static inline weir_status as_user(uid_t uid, weir_status (*act)(struct scene *), struct scene *s)
{
    CHECK(seteuid(uid) == 0);
    weir_status status = act(s);
    int error = errno;
    CHECK(seteuid(0) == 0);
    errno = error;
    return status;
}

/* ---- reserved room ---- */

static inline unsigned char pattern(uint64_t granule)
{
    return (unsigned char)(0x80 + granule);
}

static inline uint64_t granule_bytes(uint64_t granule)
{
    return granule + 1 < GRANULES ? GRANULE : ROOM - (GRANULES - 1) * GRANULE;
}

/* Granules [first, end) hold their pattern, zeros, or either, all through; what cannot be read does not. */
enum content { PATTERN, ZEROS, EITHER };

static inline bool holds(const weir_view *view, uint64_t first, uint64_t end, enum content content)
{
    static unsigned char copy[GRANULE];
    for (uint64_t g = first; g < end; g++) {
        uint64_t bytes = granule_bytes(g);
        if (!can_read((unsigned char *)view->base + g * GRANULE, copy, bytes))
            return false;
        bool right = copy[0] == (content == ZEROS ? 0 : pattern(g)) || (content == EITHER && copy[0] == 0);
        if (!right || memcmp(copy, copy + 1, bytes - 1) != 0)
            return false;
    }
    return true;
}

static inline void write_pattern(const weir_view *view, uint64_t first, uint64_t end)
{
    for (uint64_t g = first; g < end; g++)
        memset((unsigned char *)view->base + g * GRANULE, pattern(g), granule_bytes(g));
}

static inline bool is_committed(weir_section *section, uint64_t granule)
{
    uint64_t bytes = 1;
    bool committed;
    CHECK_OK(weir_section_committed(section, granule * GRANULE, &bytes, &committed));
    return committed;
}

static inline unsigned count_committed(weir_section *section)
{
    unsigned count = 0;
    for (uint64_t g = 0; g < GRANULES; g++)
        count += is_committed(section, g);
    return count;
}

/* What the map of commitments says can be touched, and nothing else. */
static inline bool reaches_what_is_committed(weir_section *section, const weir_view *view)
{
    char byte;
    for (uint64_t g = 0; g < GRANULES; g++)
        if (can_read((unsigned char *)view->base + g * GRANULE, &byte, 1) != is_committed(section, g))
            return false;
    return true;
}

/* The file has at least as much memory as its header promises. */
static inline bool is_backed(const char *path, weir_section *section)
{
    struct stat st;
    uint64_t promised = WEIR_SECTION_HEADER;
    for (uint64_t g = 0; g < GRANULES; g++)
        promised += is_committed(section, g) ? granule_bytes(g) : 0;
    return stat(path, &st) == 0 && (uint64_t)st.st_blocks * 512 >= promised;
}

static inline void have_room_other(struct scene *s)
{
    weir_view view;
    CHECK_OK(weir_section_create(&s->other, s->name, ROOM, &reserved));
    CHECK_OK(weir_view_map(&view, s->other, 0, 0, WEIR_READ_WRITE));
    write_pattern(&view, 0, 1);
    CHECK_OK(weir_view_unmap(&view));
}
static inline void have_view(struct scene *s) /* of what the other has */
{
    have_second(s);
    CHECK_OK(weir_view_map(&s->had, s->handle, 0, 0, WEIR_READ_WRITE));
}
static inline void have_filled_room(struct scene *s) /* this process alone */
{
    CHECK_OK(weir_section_create(&s->handle, s->name, ROOM, &lasting_room));
    CHECK_OK(weir_section_commit(s->handle, 0, 0));
    CHECK_OK(weir_view_map(&s->had, s->handle, 0, 0, WEIR_READ_WRITE));
    write_pattern(&s->had, 0, GRANULES);
}
static inline void have_some_room(struct scene *s) /* this process alone */
{
    CHECK_OK(weir_section_create(&s->handle, s->name, ROOM, &lasting_room));
    CHECK_OK(weir_view_map(&s->had, s->handle, 0, 0, WEIR_READ_WRITE));
    write_pattern(&s->had, 0, 1);
}
#define HALF_FIRST 3 /* the granules that a decommit was killed over, */
#define HALF_END 66

/* One that persists, unused, with what a decommit leaves that is killed before it gives the memory back. */
static inline void have_half_decommitted(struct scene *s)
{
    uint64_t map[2];
    have_filled_room(s);
    CHECK_OK(weir_view_unmap(&s->had));
    CHECK_OK(weir_section_close(s->handle));
    s->handle = NULL;
    int fd = open(section_path(s->dir, s->name).text, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0 && pread(fd, map, sizeof map, WEIR_SECTION_HEADER) == sizeof map);
    for (int g = HALF_FIRST; g < HALF_END; g++)
        map[g / 64] &= ~(UINT64_C(1) << g % 64);
    CHECK(pwrite(fd, map, sizeof map, WEIR_SECTION_HEADER) == sizeof map && close(fd) == 0);
}
static inline void have_room_observed(struct scene *s)
{
    have_filled_room(s);
    CHECK_OK(weir_section_open(&s->other, s->name, &observing));
}
static inline void have_room_shared(struct scene *s)
{
    have_filled_room(s);
    CHECK_OK(weir_section_open(&s->other, s->name, NULL));
}

/* ---- what is done ---- */

static inline weir_status make_as(struct scene *s, const weir_section_options *options)
{
    return weir_section_create(&s->handle, s->name, SIZE, options);
}
static inline weir_status open_as(struct scene *s, const weir_section_options *options)
{
    return weir_section_open(&s->handle, s->name, options);
}

static inline weir_status do_create(struct scene *s) { return make_as(s, &with_slots); }
/* Its start is written, and its content is mapped with the header. */
static inline weir_status fill_one(void *content, uint64_t size, void *arg)
{
    *(uint64_t *)content = 0x6b;
    return size == 8 && arg == NULL ? WEIR_OK : WEIR_E_STATE;
}
static const weir_section_options ahead = { .init = fill_one, .init_bytes = 8, .flags = WEIR_MAP_AHEAD };
static inline weir_status do_create_ahead(struct scene *s) { return make_as(s, &ahead); }
static inline weir_status do_create_persistent(struct scene *s) { return make_as(s, &persistent); }
static inline weir_status do_create_room(struct scene *s)
{
    return weir_section_create(&s->handle, s->name, ROOM, &reserved);
}
static inline weir_status do_create_lasting_room(struct scene *s)
{
    return weir_section_create(&s->handle, s->name, ROOM, &lasting_room);
}
static inline weir_status do_create_with_group(struct scene *s)
{
    uint32_t group = geteuid() == 0 ? STRANGER : getegid();
    return make_as(s, &(weir_section_options){ .flags = WEIR_SET_GROUP, .group = group, .mode = 0660 });
}
static inline weir_status do_create_wanting_node(struct scene *s)
{
    return make_as(s, &(weir_section_options){ .want = WEIR_ON_NODE });
}
static inline weir_status do_create_demanding_node(struct scene *s)
{
    return make_as(s, &(weir_section_options){ .demand = WEIR_ON_NODE });
}
static inline weir_status do_open(struct scene *s) { return open_as(s, NULL); }
static inline weir_status do_open_ahead(struct scene *s) { return open_as(s, &(weir_section_options){ .flags = WEIR_MAP_AHEAD }); }
static inline weir_status do_either(struct scene *s)
{
    return weir_section_open_or_create(&s->handle, s->name, SIZE, NULL, NULL);
}
static inline weir_status do_either_persistent(struct scene *s)
{
    return weir_section_open_or_create(&s->handle, s->name, SIZE, &persistent, NULL);
}
static inline weir_status do_observe(struct scene *s) { return open_as(s, &observing); }
static inline weir_status do_mismatch(struct scene *s) { return open_as(s, &(weir_section_options){ .content = 7 }); }
static inline weir_status do_open_of_owner(struct scene *s)
{
    return open_as(s, &(weir_section_options){ .flags = WEIR_EXPECT_OWNER, .owner = geteuid() });
}
static inline weir_status do_open_of_stranger(struct scene *s)
{
    return open_as(s, &(weir_section_options){ .flags = WEIR_EXPECT_OWNER, .owner = STRANGER });
}
static inline weir_status do_close(struct scene *s)
{
    weir_section *section = s->handle;
    s->handle = NULL;
    return weir_section_close(section);
}
static inline weir_status do_remove(struct scene *s) { return weir_section_remove(s->name); }
static inline weir_status do_extend(struct scene *s) { return weir_section_extend(s->handle, LARGE); }
static inline weir_status do_map(struct scene *s) { return weir_view_map(&s->view, s->handle, 0, 0, WEIR_READ_WRITE); }
static inline weir_status do_map_copy(struct scene *s)
{
    return weir_view_map(&s->view, s->handle, 0, 0, WEIR_COPY_ON_WRITE);
}
static inline weir_status do_unmap(struct scene *s) { return weir_view_unmap(&s->had); }
static inline weir_status do_claim(struct scene *s) { return weir_participant_claim(s->handle, 0, 4, &s->slot); }
static inline weir_status do_join(struct scene *s) { return weir_participant_join(s->handle, &s->slot); }
static inline weir_status do_leave(struct scene *s) { return weir_participant_leave(s->handle, s->slot.slot); }
static inline weir_status do_look(struct scene *s) { return weir_participant_look(s->handle, 0, &s->slot); }

#define COMMIT_FIRST 60 /* the granules that are committed: of both words of the map */
#define COMMIT_END 68
static inline weir_status do_commit(struct scene *s)
{
    uint64_t from = COMMIT_FIRST * GRANULE + 5, to = COMMIT_END * GRANULE - 5; /* widened to granules */
    return weir_section_commit(s->handle, from, to - from);
}
static inline weir_status do_commit_all(struct scene *s) { return weir_section_commit(s->handle, 0, 0); }

#define DECOMMIT_FIRST 2
static inline weir_status do_decommit(struct scene *s) /* to the end, with its shorter granule */
{
    return weir_section_decommit(s->handle, DECOMMIT_FIRST * GRANULE - 5, 0);
}
static inline weir_status do_refresh(struct scene *s) { return weir_view_refresh(&s->had); }

#endif
