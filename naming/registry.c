/* naming/registry.c - what both backends share: the table of published views, and who may change it.
 *
 * The table is an array that readers find through one word and that never changes while it can be found.  A change builds
 * the other array, stores its address in that word, and waits for a grace period: then nobody looks at the old one, which
 * is where the next change goes.  So views cost a copy of the table to come and go, and retiring needs no memory. */
#include <weir/base/fail.h>
#include <weir/naming/grace.h>
#include <weir/naming/registry.h>
#include <weir/naming/section_private.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define NONE UINT32_MAX

/* Sorted by section, then offset. */
struct entry {
    uint64_t section, offset, end; /* bytes of the content */
    unsigned char *base;
    const weir_section *handle;
    /* Of those of this section up to here, the one that goes furthest: if any of them covers what begins behind this
     * one's offset, it does.  The same of those that are read-write, or NONE. */
    uint32_t furthest, furthest_writable;
    bool writable;
};

struct table {
    uint32_t count, capacity;
    struct entry entry[];
};

static struct {
    pthread_mutex_t lock; /* of whoever changes the table */
    weir_atomic_u64 table; /* address; 0: nothing is published */
    struct table *spare;   /* as large as the table, and nobody's */
    bool lost;             /* a child that was forked inside of a read section */
} registry = { .lock = PTHREAD_MUTEX_INITIALIZER };

static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static weir_status fork_status;

static _Thread_local struct { unsigned depth; bool known; } reader;

const char *weir_registry_backend(void) { return weir_grace_name; }

uint64_t weir_section_id(const weir_section *section) { return section->id; }

/* ---- fork ---- */

/* This thread's read section would keep a change from ending, and so a fork that waits for that; a lost child has one for
 * ever, of its parent's. */
static bool inside(void)
{
    return registry.lost || reader.depth != 0 || weir_grace_ongoing();
}

static void before_fork(void)
{
    if (inside())
        return;
    (void)pthread_mutex_lock(&registry.lock);
    weir_grace_before_fork();
}

static void after_fork_parent(void)
{
    if (inside())
        return;
    weir_grace_after_fork_parent();
    (void)pthread_mutex_unlock(&registry.lock);
}

static void after_fork_child(void)
{
    struct table *table = weir_grace_get(&registry.table);
    weir_grace_set(&registry.table, NULL);
    if (inside()) { /* another thread may have been in the middle of anything */
        registry.lost = true;
        return;
    }
    free(table);
    free(registry.spare);
    registry.spare = NULL;
    weir_grace_after_fork_child();
    (void)pthread_mutex_unlock(&registry.lock);
}

static void watch_fork(void)
{
    fork_status = weir_os_at_fork(before_fork, after_fork_parent, after_fork_child);
}

static weir_status watch(void)
{
    (void)pthread_once(&fork_once, watch_fork);
    return fork_status == WEIR_OK ? WEIR_OK : weir_fail(fork_status, "no memory for a fork handler");
}

/* ---- reading ---- */

static __attribute__((noinline)) weir_status first_begin(void)
{
    weir_status status = watch();
    reader.known = status == WEIR_OK;
    return status;
}

weir_status weir_read_begin(void)
{
    if (reader.depth == 0 && WEIR_LIKELY(!registry.lost)) {
        weir_status status = WEIR_LIKELY(reader.known) ? WEIR_OK : first_begin();
        if (WEIR_LIKELY(status == WEIR_OK))
            status = weir_grace_enter();
        if (WEIR_UNLIKELY(status != WEIR_OK))
            return status;
    }
    reader.depth++;
    return WEIR_OK;
}

weir_status weir_read_end(void)
{
    if (WEIR_UNLIKELY(reader.depth == 0))
        return weir_fail(WEIR_E_STATE, "weir_read_end without a weir_read_begin");
    if (--reader.depth == 0 && WEIR_LIKELY(!registry.lost))
        weir_grace_leave();
    return WEIR_OK;
}

/* How many entries begin at or before that place. */
static uint32_t entries_before(const struct table *table, weir_ref ref)
{
    uint32_t low = 0, high = table->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct entry *e = &table->entry[middle];
        if (e->section < ref.section || (e->section == ref.section && e->offset <= ref.offset))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool covers(const struct entry *e, uint64_t offset, uint64_t len)
{
    return offset <= e->end && len <= e->end - offset; /* e->offset <= offset is known */
}

static __attribute__((noinline)) weir_status not_found(weir_ref ref, const struct table *table, uint32_t behind)
{
    if (table != NULL && behind < table->count && table->entry[behind].section == ref.section)
        return weir_fail(WEIR_E_RANGE, "every published view of section %#llx begins behind offset %llu",
                         (unsigned long long)ref.section, (unsigned long long)ref.offset);
    return weir_fail(WEIR_E_NOT_FOUND, "no view of a section with the id %#llx is published here",
                     (unsigned long long)ref.section);
}

weir_status weir_resolve(weir_ref ref, uint64_t len, weir_access access, void **out)
{
    if (WEIR_UNLIKELY(reader.depth == 0))
        return weir_fail(WEIR_E_STATE, "weir_resolve outside of weir_read_begin and weir_read_end");
    if (WEIR_UNLIKELY(len == 0 || out == NULL || (access != WEIR_READ_WRITE && access != WEIR_READ_ONLY)))
        return weir_fail(WEIR_E_INVALID, "%llu bytes with access %d, or no place for the address",
                         (unsigned long long)len, (int)access);
    const struct table *table = weir_grace_get(&registry.table);
    uint32_t behind = table != NULL ? entries_before(table, ref) : 0;
    if (WEIR_UNLIKELY(behind == 0 || table->entry[behind - 1].section != ref.section))
        return not_found(ref, table, behind);

    const struct entry *near = &table->entry[behind - 1];
    const struct entry *any = &table->entry[near->furthest];
    if (WEIR_UNLIKELY(!covers(any, ref.offset, len)))
        return weir_fail(WEIR_E_RANGE, "no published view of section %#llx covers %llu bytes at %llu",
                         (unsigned long long)ref.section, (unsigned long long)len, (unsigned long long)ref.offset);
    if (access == WEIR_READ_WRITE && !any->writable) {
        any = near->furthest_writable != NONE ? &table->entry[near->furthest_writable] : NULL;
        if (any == NULL || !covers(any, ref.offset, len))
            return weir_fail(WEIR_E_ACCESS, "only read-only views of section %#llx cover %llu bytes at %llu",
                             (unsigned long long)ref.section, (unsigned long long)len,
                             (unsigned long long)ref.offset);
    }
    *out = any->base + (ref.offset - any->offset);
    return WEIR_OK;
}

weir_status weir_ref_of(const weir_view *view, const void *ptr, uint64_t len, weir_ref *out)
{
    if (view == NULL || view->base == NULL || view->section == NULL || out == NULL || len == 0)
        return weir_fail(WEIR_E_INVALID, "the view is not mapped, or %llu bytes, or no place for the ref",
                         (unsigned long long)len);
    if (view->section->id == 0)
        return weir_fail(WEIR_E_STATE, "%s is a file: it has no id that a ref could carry", view->section->os.title);
    uint64_t within = (uint64_t)((uintptr_t)ptr - (uintptr_t)view->base); /* huge, if ptr is before it */
    if (within > view->size || len > view->size - within)
        return weir_fail(WEIR_E_RANGE, "%llu bytes there are not inside of the view's %llu", (unsigned long long)len,
                         (unsigned long long)view->size);
    *out = (weir_ref){ .section = view->section->id, .offset = view->offset + within };
    return WEIR_OK;
}

/* ---- changing the table ---- */

static weir_status begin_change(int *cancel_before)
{
    weir_status status = watch();
    if (status != WEIR_OK)
        return status;
    if (registry.lost)
        return weir_fail(WEIR_E_FORKED, "this process was forked inside of a read section: it publishes nothing");
    if (inside())
        return weir_fail(WEIR_E_STATE, "inside of a read section: it would wait for itself; end it first");
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, cancel_before); /* or the lock would be held for ever */
    (void)pthread_mutex_lock(&registry.lock);
    return WEIR_OK;
}

static void end_change(int cancel_before)
{
    (void)pthread_mutex_unlock(&registry.lock);
    (void)pthread_setcancelstate(cancel_before, NULL);
}

/* Copies what `from` has but `without` (an address, or NULL), and one more (or NULL). */
static void fill(struct table *to, const struct table *from, const unsigned char *without, const struct entry *more)
{
    uint32_t count = 0, all = from != NULL ? from->count : 0;
    for (uint32_t i = 0; i < all; i++) {
        const struct entry *e = &from->entry[i];
        if (more != NULL && (e->section > more->section ||
                             (e->section == more->section && e->offset > more->offset))) {
            to->entry[count++] = *more;
            more = NULL;
        }
        if (e->base != without)
            to->entry[count++] = *e;
    }
    if (more != NULL)
        to->entry[count++] = *more;
    to->count = count;

    for (uint32_t i = 0; i < count; i++) {
        struct entry *e = &to->entry[i];
        const struct entry *before = i != 0 && e[-1].section == e->section ? &e[-1] : NULL;
        e->furthest = before != NULL && to->entry[before->furthest].end >= e->end ? before->furthest : i;
        uint32_t writable = before != NULL ? before->furthest_writable : NONE;
        bool further = e->writable && (writable == NONE || to->entry[writable].end < e->end);
        e->furthest_writable = further ? i : writable;
    }
}

static struct table *table_make(uint32_t capacity)
{
    struct table *table = malloc(sizeof *table + capacity * sizeof table->entry[0]);
    if (table != NULL)
        *table = (struct table){ .capacity = capacity };
    return table;
}

/* Another section with that id must not be taken for this one. */
static weir_status check_same(const struct table *table, const struct entry *more)
{
    for (uint32_t i = 0; table != NULL && i < table->count; i++) {
        const struct entry *e = &table->entry[i];
        if (e->section != more->section || e->handle == more->handle)
            continue;
        bool same = false;
        weir_status status = weir_os_same(&e->handle->os, &more->handle->os, &same);
        if (status != WEIR_OK)
            return status;
        if (!same)
            return weir_fail(WEIR_E_EXISTS, "%s and %s are two sections and have one id, %#llx: a copy?",
                             more->handle->os.title, e->handle->os.title, (unsigned long long)e->section);
    }
    return WEIR_OK;
}

/* The lock is held.  Whatever it replaces is nobody's behind the wait. */
static weir_status put(const struct entry *more)
{
    struct table *old = weir_grace_get(&registry.table), *next = registry.spare, *spare = old;
    weir_status status = check_same(old, more);
    if (status != WEIR_OK)
        return status;
    if (old == NULL || old->count == old->capacity) {
        uint32_t capacity = old == NULL ? 8 : old->capacity * 2;
        next = table_make(capacity);
        spare = table_make(capacity);
        if (next == NULL || spare == NULL) {
            free(next);
            free(spare);
            return weir_fail(WEIR_E_NO_MEMORY, "no memory for a table of %u views", capacity);
        }
    }
    fill(next, old, more->base, more);
    weir_grace_set(&registry.table, next);
    weir_grace_wait();
    if (spare != old) {
        free(old);
        free(registry.spare);
    }
    registry.spare = spare;
    return WEIR_OK;
}

static void take_out(const unsigned char *base)
{
    struct table *old = weir_grace_get(&registry.table), *next = registry.spare;
    fill(next, old, base, NULL);
    bool empty = next->count == 0;
    weir_grace_set(&registry.table, empty ? NULL : next);
    weir_grace_wait();
    registry.spare = old;
    if (empty) {
        free(old);
        free(next);
        registry.spare = NULL;
    }
}

/* ---- views come and go ---- */

static weir_status not_mapped(void)
{
    return weir_fail(WEIR_E_INVALID, "the view is not mapped");
}

/* May each byte of the view be touched?  *size: how many there are. */
static weir_status check_reach(weir_section *section, const struct weir_view_node *node, uint64_t *size)
{
    *size = node->growing ? node->reached : node->size;
    if (!section->reserved)
        return WEIR_OK;
    uint64_t first = node->offset / WEIR_COMMIT_GRANULE, end = weir_section_granules(node->offset + node->size);
    bool committed = false;
    uint64_t run = weir_commit_run(section, first, end, &committed);
    if (!committed || run < end - first)
        return weir_fail(WEIR_E_STATE, "%s has reserved room, and not all that lies in the view is committed: map and "
                                       "publish what is", section->os.title);
    return weir_views_reach(section, node->offset, node->offset + node->size);
}

weir_status weir_registry_publish(const weir_view *view)
{
    struct weir_view_node *node = weir_view_node_of(view);
    if (node == NULL)
        return not_mapped();
    weir_section *section = view->section;
    uint64_t size = 0;
    weir_status status = weir_section_check(section);
    if (status == WEIR_OK && section->id == 0)
        status = weir_fail(WEIR_E_STATE, "%s is a file: it has no id that a ref could carry", section->os.title);
    if (status == WEIR_OK && node->access == WEIR_COPY_ON_WRITE)
        status = weir_fail(WEIR_E_INVALID, "a copy-on-write view of %s: what it holds need not be the section's",
                           section->os.title);
    if (status == WEIR_OK)
        status = check_reach(section, node, &size);
    if (status != WEIR_OK)
        return status;

    int saved = errno, cancel_before;
    status = begin_change(&cancel_before);
    if (status == WEIR_OK) {
        status = put(&(struct entry){ .section = section->id, .offset = node->offset, .end = node->offset + size,
                                      .base = node->base, .handle = section,
                                      .writable = node->access == WEIR_READ_WRITE });
        node->published = node->published || status == WEIR_OK;
        end_change(cancel_before);
    }
    errno = saved;
    return status;
}

weir_status weir_registry_retire(const weir_view *view)
{
    struct weir_view_node *node = weir_view_node_of(view);
    if (node == NULL)
        return not_mapped();
    weir_status status = weir_section_check(view->section);
    if (status != WEIR_OK || !node->published)
        return status;
    int saved = errno, cancel_before;
    status = begin_change(&cancel_before);
    if (status == WEIR_OK) {
        take_out(node->base);
        node->published = false;
        end_change(cancel_before);
    }
    errno = saved;
    return status;
}
