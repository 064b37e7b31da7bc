/* naming/os_linux_memory.c - large pages, prefault, locks in memory, NUMA nodes: asking for them, and what was got.
 *
 * What was got is read from /proc/self/smaps and move_pages(2), not remembered from what was asked. */
#include <weir/base/fail.h>
#include <weir/naming/os_linux.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#define TRIES_MAX 16 /* at an advice that signals interrupt */
#define SAMPLES 64

/* ---- asking ---- */

weir_status weir_linux_bind(weir_os_section *os, uint64_t from, uint64_t to)
{
    if ((os->want & WEIR_ON_NODE) == 0)
        return WEIR_OK;
    /* The policy is the file's: it holds for what is allocated later, through any mapping or none. */
    uint64_t len = to - from;
    void *base;
    long result = -1;
    int error = ENOMEM;
    if (weir_os_map(os, from, len, WEIR_READ_ONLY, false, &base) == WEIR_OK) {
        void *at = weir_linux_pages_around(os, base, &len);
        result = weir_linux.mbind(at, len, os->node);
        error = errno;
        weir_os_unmap(os, base, to - from);
    }
    if (result == 0 || (os->demand & WEIR_ON_NODE) == 0)
        return WEIR_OK;
    return weir_fail(WEIR_E_UNSUPPORTED, "memory of NUMA node %u cannot be had: %s", os->node,
                     error == EINVAL ? "there is no such node, or this process may not use it" : strerror(error));
}

/* The size of a transparent huge page; 0: there are none. */
static uint64_t large_page(void)
{
    char text[64];
    if (weir_linux_read_file("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", text, sizeof text) <= 0)
        return 0;
    return strtoull(text, NULL, 10);
}

/* Transparent ones need an address that is as far from a large page's beginning as the offset in the file is. */
static bool transparent(const weir_os_section *os)
{
    return (os->want & WEIR_LARGE_PAGES) != 0 && os->kind != WEIR_SECTION_FILE && !os->large;
}

void *weir_linux_mmap(const weir_os_section *os, uint64_t offset, uint64_t bytes, int protection, int flags)
{
    uint64_t large = transparent(os) ? large_page() : 0;
    if (large == 0 || bytes < large)
        return weir_linux.mmap(NULL, bytes, protection, flags, os->fd, (off_t)offset);
    unsigned char *room = weir_linux.mmap(NULL, bytes + large, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                                          -1, 0);
    if (room == MAP_FAILED)
        return room;
    uint64_t skip = (offset - (uintptr_t)room) % large;
    (void)weir_linux.munmap(room, bytes + large);
    /* A hint, not a demand: another thread may have taken the place, and then it is only no place for large pages. */
    return weir_linux.mmap(room + skip, bytes, protection, flags, os->fd, (off_t)offset);
}

static int advise(void *at, uint64_t bytes, int advice)
{
    int result = -1;
    for (int tries = 0; result != 0 && tries < TRIES_MAX; tries++) {
        result = weir_linux.madvise(at, bytes, advice);
        if (errno != EINTR) /* not EAGAIN: another process can keep a page from being moved for ever */
            break;
    }
    return result;
}

static weir_status prefault(const weir_os_section *os, void *at, uint64_t bytes, weir_access access)
{
    /* Not for writing where that would copy the page, or make a file's page dirty. */
    bool write = access == WEIR_READ_WRITE && os->kind != WEIR_SECTION_FILE;
    if (advise(at, bytes, write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) == 0 || (os->demand & WEIR_PREFAULT) == 0)
        return WEIR_OK;
    if (errno == EINVAL)
        return weir_fail(WEIR_E_UNSUPPORTED, "%s: this kernel cannot prefault (Linux 5.14 can)", os->title);
    return weir_fail(WEIR_E_NO_MEMORY, "%s cannot be prefaulted: %s", os->title, strerror(errno));
}

static weir_status lock_in_memory(const weir_os_section *os, void *at, uint64_t bytes, weir_access access)
{
    /* A private mapping's pages would be copied by an ordinary lock, and show no change of others any more. */
    if (weir_linux.mlock2(at, bytes, access == WEIR_COPY_ON_WRITE ? MLOCK_ONFAULT : 0u) == 0 ||
        (os->demand & WEIR_LOCKED) == 0)
        return WEIR_OK;
    char a[WEIR_SIZE_TEXT_MAX], b[WEIR_SIZE_TEXT_MAX];
    int error = errno;
    struct rlimit limit = { 0, 0 };
    (void)weir_linux.getrlimit(RLIMIT_MEMLOCK, &limit);
    return weir_fail(WEIR_E_NO_MEMORY, "%s of %s cannot be locked in memory: %s (the limit, ulimit -l, is %s)",
                     weir_size_text(a, bytes), os->title, strerror(error), weir_size_text(b, limit.rlim_cur));
}

/* Of a page's node the system tells once the page is in the page table; these have their memory already. */
static void show_samples(const weir_os_section *os, unsigned char *at, uint64_t len)
{
    uint64_t step = (len / os->page + SAMPLES - 1) / SAMPLES * os->page;
    for (uint64_t off = 0; off < len; off += step)
        (void)advise(at + off, os->page, MADV_POPULATE_READ);
}

weir_status weir_os_prepare(weir_os_section *os, void *base, uint64_t bytes, weir_access access)
{
    int saved = errno;
    uint64_t len = bytes;
    void *at = weir_linux_pages_around(os, base, &len);
    weir_status status = WEIR_OK;
    if (transparent(os)) { /* whether they came is looked at below */
        (void)advise(at, len, MADV_HUGEPAGE);
        (void)advise(at, len, MADV_COLLAPSE);
    }
    if ((os->want & WEIR_PREFAULT) != 0)
        status = prefault(os, at, len, access);
    if (status == WEIR_OK && (os->want & WEIR_LOCKED) != 0)
        status = lock_in_memory(os, at, len, access);
    if (status == WEIR_OK && (os->want & WEIR_ON_NODE) != 0 && os->kind != WEIR_SECTION_FILE)
        show_samples(os, at, len);
    uint32_t check = os->demand & (WEIR_LARGE_PAGES | WEIR_ON_NODE | WEIR_MAP_NAME);
    if (status == WEIR_OK && check != 0) {
        weir_memory memory;
        status = weir_os_memory(os, base, bytes, &memory);
        check &= ~memory.got;
        if (status == WEIR_OK && check != 0)
            status = weir_fail(WEIR_E_UNSUPPORTED, "%s: the view did not get %s", os->title,
                               (check & WEIR_LARGE_PAGES) != 0 ? "large pages (see naming/README.md for what they need)"
                               : (check & WEIR_ON_NODE) != 0   ? "all its memory from the NUMA node asked for"
                                                               : "a name in /proc/PID/maps");
    }
    errno = saved;
    return status;
}

/* ---- what was got ---- */

/* What /proc/self/smaps says of the pieces of a view that can be touched. */
struct account {
    uint64_t from, to;               /* the view's pages */
    const char *name;                /* the last part of a mapping's path, as it should be */
    uint64_t bytes, resident, large, locked, page;
    uint64_t large_possible;         /* bytes of large pages that lie wholly in it */
    bool all_locked, all_kept_out, all_named;
    /* the mapping at hand */
    bool in, reachable;
    uint64_t low, high, present;
};

static void begin_mapping(struct account *a, const char *line, uint64_t low, uint64_t high, uint64_t large)
{
    char rights[8] = "";
    a->low = low > a->from ? low : a->from;
    a->high = high < a->to ? high : a->to;
    a->in = a->low < a->high;
    a->present = 0;
    (void)sscanf(line, "%*x-%*x %7s", rights);
    a->reachable = a->in && rights[0] == 'r';
    if (!a->reachable)
        return;
    a->bytes += a->high - a->low;
    if (large != 0) {
        uint64_t first = (a->low + large - 1) / large * large, last = a->high / large * large;
        a->large_possible += last > first ? last - first : 0;
    }
    const char *path = strchr(line, '/');
    const char *last = path != NULL && strncmp(path, "/memfd:", 7) != 0 ? strrchr(path, '/') : path;
    size_t len = strlen(a->name);
    if (last == NULL || strncmp(last + 1, a->name, len) != 0 || (last[1 + len] != '\n' && last[1 + len] != ' '))
        a->all_named = false;
}

static void account_line(struct account *a, const char *line)
{
    uint64_t kib, size = a->high - a->low;
    char key[64];
    if (strncmp(line, "VmFlags:", 8) == 0) {
        if (strstr(line, " lo") == NULL)
            a->all_locked = false;
        else
            a->locked += a->present; /* the line "Locked" shares the pages out among all who have them */
        if (strstr(line, " dd") == NULL)
            a->all_kept_out = false;
    } else if (sscanf(line, "%63[^:]: %" SCNu64 " kB", key, &kib) == 2) {
        /* A neighbouring mapping may have been merged with ours: of its pages no more than ours can be counted. */
        uint64_t counted = kib * 1024 < size ? kib * 1024 : size;
        if (strcmp(key, "Rss") == 0 || strcmp(key, "Shared_Hugetlb") == 0 || strcmp(key, "Private_Hugetlb") == 0)
            a->resident += counted, a->present += counted;
        else if (strcmp(key, "ShmemPmdMapped") == 0 || strcmp(key, "FilePmdMapped") == 0)
            a->large += counted;
        else if (strcmp(key, "KernelPageSize") == 0 && (a->page == 0 || kib * 1024 < a->page))
            a->page = kib * 1024;
    }
}

static bool read_account(struct account *a, uint64_t large)
{
    FILE *smaps = fopen("/proc/self/smaps", "re");
    if (smaps == NULL)
        return false;
    char *line = NULL;
    size_t room = 0;
    a->all_locked = a->all_kept_out = a->all_named = true;
    while (getline(&line, &room, smaps) > 0) {
        uint64_t low, high;
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &low, &high) == 2)
            begin_mapping(a, line, low, high, large);
        else if (a->reachable)
            account_line(a, line);
    }
    free(line);
    (void)fclose(smaps);
    return true;
}

/* The node of the view's pages: of SAMPLES spread over it. */
static int32_t node_of(const weir_os_section *os, unsigned char *at, uint64_t len)
{
    void *pages[SAMPLES];
    int nodes[SAMPLES];
    unsigned long count = 0;
    uint64_t step = (len / os->page + SAMPLES - 1) / SAMPLES * os->page;
    for (uint64_t off = 0; off < len && count < SAMPLES; off += step)
        pages[count++] = at + off;
    int32_t node = WEIR_NODE_NONE;
    if (weir_linux.move_pages(count, pages, nodes) != 0)
        return node;
    for (unsigned long i = 0; i < count; i++) {
        if (nodes[i] < 0)
            continue;
        if (node != WEIR_NODE_NONE && node != nodes[i])
            return WEIR_NODE_MIXED;
        node = nodes[i];
    }
    return node;
}

/* The last part of the path that /proc/PID/maps should show. */
static void name_in_maps(const weir_os_section *os, char *name, size_t size)
{
    const char *slash = strrchr(os->title, '/');
    if (os->kind == WEIR_SECTION_UNNAMED)
        (void)snprintf(name, size, "memfd:%s", os->title);
    else if (os->kind == WEIR_SECTION_FILE)
        (void)snprintf(name, size, "%s", slash != NULL ? slash + 1 : os->title);
    else
        (void)snprintf(name, size, "%s%s", os->name.scope == WEIR_GLOBAL ? WEIR_PLACE_GLOBAL : "",
                       os->name.text + os->name.word_off);
}

weir_status weir_os_memory(weir_os_section *os, void *base, uint64_t bytes, weir_memory *out)
{
    int saved = errno;
    uint64_t len = bytes;
    unsigned char *at = weir_linux_pages_around(os, base, &len);
    char name[WEIR_PLACE_PATH];
    name_in_maps(os, name, sizeof name);
    struct account a = { .from = (uintptr_t)at, .to = (uintptr_t)at + len, .name = name };
    if (!read_account(&a, os->large ? 0 : large_page())) {
        weir_status status = errno == ENOENT
                                 ? weir_fail(WEIR_E_UNSUPPORTED, "what a view got is in /proc, which is not mounted")
                                 : weir_linux_fail("cannot read", "/proc/self/smaps");
        errno = saved;
        return status;
    }
    bool any = a.bytes != 0, huge = os->large;
    weir_memory memory = {
        .node = node_of(os, at, len),
        .page_bytes = a.page,
        .large_bytes = huge ? a.bytes : a.large,
        .resident_bytes = a.resident,
        .locked_bytes = huge ? a.resident : a.locked,
    };
    if (huge || (a.large_possible != 0 && a.large >= a.large_possible))
        memory.got |= WEIR_LARGE_PAGES;
    if (any && a.resident >= a.bytes)
        memory.got |= WEIR_PREFAULT;
    if (any && (a.all_locked || huge)) /* what comes from a pool of huge pages is never written away */
        memory.got |= WEIR_LOCKED;
    if ((os->want & WEIR_ON_NODE) != 0 && memory.node == (int32_t)os->node)
        memory.got |= WEIR_ON_NODE;
    if (any && a.all_kept_out)
        memory.got |= WEIR_NOT_DUMPED;
    if (any && a.all_named)
        memory.got |= WEIR_MAP_NAME;
    *out = memory;
    errno = saved;
    return WEIR_OK;
}
