/* tests/naming/looks.h - what the tests of list.h share: visits gathered, files that look like sections. */
#ifndef WEIR_TESTS_NAMING_LOOKS_H
#define WEIR_TESTS_NAMING_LOOKS_H

#include "sections.h"

#include <weir/naming/section_layout.h>

#define GATHERED_MAX 512

/* Visits, in their order; the walk is ended after `stop` of them, 0: never. */
struct infos {
    unsigned count, stop;
    weir_section_info at[GATHERED_MAX];
};

struct users {
    unsigned count, stop;
    weir_section_user at[GATHERED_MAX];
};

struct mapped {
    unsigned count, stop;
    uint32_t pid; /* not 0: of this process alone */
    weir_section_mapping at[GATHERED_MAX];
};

static inline bool infos_visit(const weir_section_info *info, void *arg)
{
    struct infos *infos = arg;
    CHECK(infos->count < GATHERED_MAX);
    infos->at[infos->count++] = *info;
    return infos->count != infos->stop;
}

static inline bool users_visit(const weir_section_user *user, void *arg)
{
    struct users *users = arg;
    CHECK(users->count < GATHERED_MAX);
    users->at[users->count++] = *user;
    return users->count != users->stop;
}

static inline bool mapped_visit(const weir_section_mapping *mapping, void *arg)
{
    struct mapped *mapped = arg;
    CHECK(mapped->count < GATHERED_MAX);
    if (mapped->pid == 0 || mapped->pid == mapping->pid)
        mapped->at[mapped->count++] = *mapping;
    return mapped->count == 0 || mapped->count != mapped->stop;
}

/* The visit of that name by that owner; NULL: there was none. */
static inline const weir_section_info *infos_find(const struct infos *infos, const char *name, uid_t owner)
{
    const weir_section_info *found = NULL;
    for (unsigned i = 0; i < infos->count; i++)
        if (strcmp(infos->at[i].name, name) == 0 && infos->at[i].owner == owner) {
            CHECK(found == NULL);
            found = &infos->at[i];
        }
    return found;
}

static inline bool same_info(const weir_section_info *a, const weir_section_info *b)
{
    return strcmp(a->name, b->name) == 0 && a->state == b->state && a->why == b->why && a->mode == b->mode &&
           a->owner == b->owner && a->group == b->group && a->version == b->version && a->content == b->content &&
           a->flags == b->flags && a->slots == b->slots && a->present == b->present && a->dead == b->dead &&
           a->users == b->users && a->observers == b->observers && a->size == b->size &&
           a->committed == b->committed && a->resident == b->resident;
}

/* How many handles a process has, as weir_section_users tells. */
static inline unsigned handles_of(const struct users *users, pid_t pid, bool observers)
{
    unsigned count = 0;
    for (unsigned i = 0; i < users->count; i++)
        count += users->at[i].pid == (uint32_t)pid && users->at[i].observer == observers;
    return count;
}

/* ---- files that look like sections ---- */

#define LOOK_IMAGE 8192 /* bytes of one: a header and a page of content */

typedef union look_image {
    weir_section_layout header;
    unsigned char bytes[LOOK_IMAGE];
} look_image;

/* What a section of that name would have in its file. */
static inline void look_image_make(look_image *image, const char *name, uint32_t flags)
{
    weir_name parsed;
    CHECK_OK(weir_name_parse(&parsed, name));
    memset(image, 0, sizeof *image);
    weir_store_rlx(&image->header.magic, WEIR_SECTION_MAGIC);
    image->header.version = WEIR_SECTION_VERSION;
    image->header.flags = flags;
    memcpy(image->header.name, parsed.text, sizeof image->header.name);
    image->header.id = 1;
    weir_store_rlx(&image->header.size, LOOK_IMAGE - WEIR_SECTION_HEADER);
}

/* Puts one there; the folder of Local names must be. */
static inline void look_image_put(const char *dir, const char *name, uint32_t flags)
{
    look_image image;
    look_image_make(&image, name, flags);
    file_write(section_path(dir, name).text, &image, sizeof image, 0600);
}

static inline void local_dir_make(const char *dir)
{
    CHECK(mkdir(local_dir(dir).text, 0700) == 0 || errno == EEXIST);
}

/* For Criterion suites: the call succeeds and leaves errno and this thread's detail as they were. */
#define CHECK_KEEPS(call)                                                                                             \
    do {                                                                                                              \
        char kept_detail[512];                                                                                        \
        CHECK_STATUS(weir_section_stat("no name/a detail that stays", NULL), WEIR_E_NAME);                            \
        (void)strcpy(kept_detail, weir_error_detail());                                                               \
        CHECK_KEEPS_ERRNO(call, WEIR_OK);                                                                             \
        cr_assert_str_eq(weir_error_detail(), kept_detail, "%s", #call);                                              \
    } while (0)

#endif
