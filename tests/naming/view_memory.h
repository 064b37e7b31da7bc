/* tests/naming/view_memory.h - what the kernel says of a view's memory, read without the library; and views of each
 * kind. */
#ifndef WEIR_TESTS_NAMING_VIEW_MEMORY_H
#define WEIR_TESTS_NAMING_VIEW_MEMORY_H

#include "looks.h"

#include <inttypes.h>

#define KIB64 UINT64_C(65536)
#define MIB UINT64_C(1048576)
#define SMALL UINT64_C(4096)
#define DEFAULTS (WEIR_NOT_DUMPED | WEIR_MAP_NAME)
#define PROPERTIES (DEFAULTS | WEIR_LARGE_PAGES | WEIR_PREFAULT | WEIR_LOCKED | WEIR_ON_NODE)

/* The mappings that a view lies in. */
typedef struct smaps {
    unsigned pieces;
    uint64_t bytes;        /* of those that can be touched; all below is of them */
    uint64_t resident;
    uint64_t locked;       /* resident in mappings that are locked */
    uint64_t large;        /* mapped as transparent huge pages */
    uint64_t large_most;   /* as much of that as there could be */
    uint64_t page;         /* the smallest page size */
    uint64_t dirty;
    bool all_locked, all_kept_out, all_named;
    char name[512];        /* of the first */
} smaps;

static inline uint64_t huge_bytes(void)
{
    char text[64] = "0";
    if (access("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", R_OK) == 0)
        text[file_read("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", text, sizeof text - 1)] = 0;
    return strtoull(text, NULL, 10);
}

/* One mapping's first line; false: it is no part of the view.  One that is wider than the view's pages ends the test:
 * the numbers would be another's as well. */
static inline bool smaps_begin(smaps *out, const char *line, const weir_view *view, uint64_t page, const char *name)
{
    uint64_t from, to, base = (uintptr_t)view->base;
    char rights[8];
    int at = 0;
    CHECK(sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %*s %*s %*s %n", &from, &to, rights, &at) == 3);
    if (to <= base || from >= base + view->size)
        return false;
    CHECK(from >= base / page * page && to <= (base + view->size + page - 1) / page * page);
    if (out->pieces++ == 0)
        (void)snprintf(out->name, sizeof out->name, "%.500s", line + at);
    if (rights[0] != 'r')
        return false;
    uint64_t huge = huge_bytes();
    out->bytes += to - from;
    if (huge != 0 && to / huge * huge > (from + huge - 1) / huge * huge)
        out->large_most += to / huge * huge - (from + huge - 1) / huge * huge;
    out->all_named &= name != NULL && strstr(line + at, name) != NULL;
    return true;
}

/* page: that of the section; name: what the mappings should show. */
static inline smaps smaps_of(const weir_view *view, uint64_t page, const char *name)
{
    smaps out = { .all_locked = true, .all_kept_out = true, .all_named = true };
    char line[1024], key[64];
    uint64_t kib, low, resident = 0;
    bool in = false;
    FILE *file = fopen("/proc/self/smaps", "re");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "%" SCNx64 "-%*x %63s", &low, key) == 2 && strchr(line, ':') - line > 20) {
            in = smaps_begin(&out, line, view, page, name);
            resident = 0;
        } else if (in && sscanf(line, "%63[^:]: %" SCNu64 " kB", key, &kib) == 2) {
            if (strcmp(key, "Rss") == 0 || strcmp(key, "Shared_Hugetlb") == 0 || strcmp(key, "Private_Hugetlb") == 0)
                resident += kib * 1024;
            else if (strcmp(key, "ShmemPmdMapped") == 0 || strcmp(key, "FilePmdMapped") == 0)
                out.large += kib * 1024;
            else if (strcmp(key, "KernelPageSize") == 0 && (out.page == 0 || kib * 1024 < out.page))
                out.page = kib * 1024;
            else if (strcmp(key, "Private_Dirty") == 0 || strcmp(key, "Shared_Dirty") == 0)
                out.dirty += kib * 1024;
        } else if (in && strncmp(line, "VmFlags:", 8) == 0) {
            bool locked = strstr(line, " lo") != NULL;
            out.resident += resident;
            out.locked += locked ? resident : 0;
            out.all_locked &= locked;
            out.all_kept_out &= strstr(line, " dd") != NULL;
        }
    }
    (void)fclose(file);
    CHECK(out.pieces > 0);
    return out;
}

/* Asks the library, and compares its answer with the kernel's. */
static inline weir_memory memory_of(const weir_view *view, uint64_t page, const char *name)
{
    weir_memory memory;
    /* First without the library. */
    smaps kernel = smaps_of(view, page, name);
    memset(&memory, 0xa5, sizeof memory);
    CHECK_OK(weir_view_memory(view, &memory));
    bool any = kernel.bytes != 0, large = kernel.page > SMALL;
    CHECK(memory.page_bytes == kernel.page);
    CHECK(memory.resident_bytes == kernel.resident);
    CHECK(memory.large_bytes == (large ? kernel.bytes : kernel.large));
    CHECK((memory.got & ~PROPERTIES) == 0);
    CHECK(((memory.got & WEIR_PREFAULT) != 0) == (any && kernel.resident == kernel.bytes));
    CHECK(((memory.got & WEIR_NOT_DUMPED) != 0) == (any && kernel.all_kept_out));
    CHECK(((memory.got & WEIR_MAP_NAME) != 0) == (any && kernel.all_named));
    CHECK(((memory.got & WEIR_LARGE_PAGES) != 0) ==
          (large || (kernel.large_most != 0 && kernel.large >= kernel.large_most)));
    CHECK(memory.node >= WEIR_NODE_MIXED);
    if (!large) { /* there the kernel has no such flag */
        CHECK(((memory.got & WEIR_LOCKED) != 0) == (any && kernel.all_locked));
        CHECK(memory.locked_bytes == kernel.locked);
    }
    return memory;
}

/* Lines of /proc/self/maps; those of files alone where a sanitizer maps memory of its own. */
static inline unsigned map_lines(void)
{
#ifdef __SANITIZE_ADDRESS__
    bool all = false;
#else
    bool all = true;
#endif
    unsigned count = 0;
    char line[1024];
    FILE *file = fopen("/proc/self/maps", "re");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        count += all || strchr(line, '/') != NULL;
    (void)fclose(file);
    return count;
}

#define SIZE MIB
#define UNTOUCHED ((weir_view){ .base = (void *)(uintptr_t)0x77, .offset = 1, .size = 2 })

/* ---- a view of each kind ---- */

/* COPYING: of a read-write handle.  ROOM: reserved, partly committed. */
enum kind {
    CREATOR, OPENER, OBSERVER, COPYING, COPY_OPENER, ROOM, UNNAMED, ATTACHED, FILE_WRITER, FILE_READER, FILE_COPYING,
    KINDS
};

typedef struct subject {
    enum kind kind;
    weir_section *owner, *section; /* section: of the view; made with the options in question */
    weir_view view;
    const char *shows;
} subject;

static inline bool is_file(enum kind kind)
{
    return kind >= FILE_WRITER;
}

static inline weir_access view_access(enum kind kind)
{
    return kind == COPYING || kind == COPY_OPENER || kind == FILE_COPYING ? WEIR_COPY_ON_WRITE
           : kind == OBSERVER || kind == FILE_READER                      ? WEIR_READ_ONLY
                                                                          : WEIR_READ_WRITE;
}

/* Opens a section of SIZE of that kind; what weir_view_map then returns. */
static inline weir_status subject_begin(subject *s, enum kind kind, const weir_section_options *given)
{
    weir_section_options options = *given, plain = { .access = WEIR_READ_WRITE };
    static char path[512];
    weir_handle handle;
    *s = (subject){ .kind = kind, .view = UNTOUCHED, .shows = "weir-g.subject" };
    (void)snprintf(path, sizeof path, "%s/a-file", getenv("WEIR_SHM_DIR"));
    options.access = kind == OBSERVER || kind == FILE_READER        ? WEIR_READ_ONLY
                     : kind == COPY_OPENER || kind == FILE_COPYING ? WEIR_COPY_ON_WRITE
                                                                   : WEIR_READ_WRITE;
    if (kind == UNNAMED || kind == ATTACHED) {
        plain.label = options.label = "a label";
        s->shows = "/memfd:a label (deleted)";
        CHECK_OK(weir_section_create_unnamed(&s->owner, SIZE, kind == UNNAMED ? &options : &plain));
        if (kind == ATTACHED) {
            CHECK_OK(weir_section_export(s->owner, WEIR_READ_WRITE, false, &handle));
            CHECK_OK(weir_section_attach(&s->section, handle, &options));
            CHECK_OK(weir_handle_close(handle));
        }
    } else if (is_file(kind)) {
        plain.flags = WEIR_FILE_NEW;
        s->shows = "/a-file";
        CHECK_OK(weir_section_open_file(&s->owner, path, SIZE, &plain));
        CHECK_OK(weir_section_open_file(&s->section, path, SIZE, &options));
        CHECK(unlink(path) == 0);
    } else if (kind == CREATOR || kind == COPYING || kind == ROOM) {
        options.flags |= kind == ROOM ? WEIR_RESERVE : 0u;
        CHECK_OK(weir_section_create(&s->owner, "Global/subject", SIZE, &options));
    } else {
        CHECK_OK(weir_section_create(&s->owner, "Global/subject", SIZE, NULL));
        CHECK_OK(weir_section_open(&s->section, "Global/subject", &options));
    }
    if (s->section == NULL)
        s->section = s->owner;
    unsigned lines = map_lines();
    weir_status status = weir_view_map(&s->view, s->section, 0, 0, view_access(kind));
    if (status == WEIR_OK && kind == ROOM) { /* a piece is committed before it is mapped, two are behind it */
        CHECK_OK(weir_view_unmap(&s->view));
        CHECK_OK(weir_section_commit(s->section, 2 * KIB64, 3 * KIB64));
        status = weir_view_map(&s->view, s->section, 0, 0, WEIR_READ_WRITE);
        if (status == WEIR_OK)
            CHECK_OK(weir_section_commit(s->section, 15 * KIB64, 0));
    }
    if (status != WEIR_OK) {
        CHECK(s->view.base == UNTOUCHED.base && s->view.offset == 1 && s->view.size == 2);
        CHECK(map_lines() == lines && *weir_error_detail() != 0);
    }
    return status;
}

static inline void subject_end(subject *s)
{
    if (s->view.section != NULL)
        CHECK_OK(weir_view_unmap(&s->view));
    if (s->section != s->owner)
        CHECK_OK(weir_section_close(s->section));
    CHECK_OK(weir_section_close(s->owner));
}

static inline weir_memory memory(const subject *s)
{
    return memory_of(&s->view, SMALL, s->shows);
}

static inline uint64_t touchable(enum kind kind)
{
    return kind == ROOM ? 4 * KIB64 : SIZE;
}

/* The same property wanted, and demanded. */
static inline weir_section_options ways(uint32_t property, int demanded)
{
    return demanded ? (weir_section_options){ .demand = property } : (weir_section_options){ .want = property };
}

#endif
