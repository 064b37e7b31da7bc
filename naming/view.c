#include <weir/base/fail.h>
#include <weir/naming/section_private.h>
#include <weir/naming/unnamed.h>
#include <weir/naming/view.h>

#include <errno.h>
#include <stdlib.h>

static const char *access_text(weir_access access)
{
    return access == WEIR_READ_WRITE ? "read-write" : access == WEIR_READ_ONLY ? "read-only" : "copy-on-write";
}

/* The handle's own record of a view: not the caller's word for it. */
static struct weir_view_node *find(const weir_view *view)
{
    if (view == NULL || view->base == NULL || view->section == NULL)
        return NULL;
    struct weir_view_node *node = view->section->views;
    while (node != NULL && node->base != view->base)
        node = node->next;
    return node;
}

/* Sees to what can be touched of [from, to) of the content in a mapped view, and to the properties of its memory. */
static weir_status make_ready(weir_section *section, const struct weir_view_node *view, uint64_t from, uint64_t to)
{
    uint64_t low = from > view->offset ? from : view->offset;
    uint64_t high = to < view->offset + view->size ? to : view->offset + view->size;
    if (low >= high)
        return WEIR_OK;
    if (!section->reserved)
        return weir_os_prepare(&section->os, view->base, view->size, view->access);
    weir_status status = WEIR_OK;
    uint64_t end = weir_section_granules(high);
    for (uint64_t g = low / WEIR_COMMIT_GRANULE; status == WEIR_OK && g < end;) {
        bool committed;
        uint64_t run = weir_commit_run(section, g, end, &committed);
        if (committed) {
            uint64_t run_from = g * WEIR_COMMIT_GRANULE, run_to = (g + run) * WEIR_COMMIT_GRANULE;
            uint64_t stop = view->offset + view->size;
            uint64_t bytes = (run_to < stop ? run_to : stop) - run_from;
            unsigned char *base = (unsigned char *)view->base + (run_from - view->offset);
            status = weir_os_reach(&section->os, base, bytes, view->access);
            if (status == WEIR_OK)
                status = weir_os_prepare(&section->os, base, bytes, view->access);
        }
        g += run;
    }
    return status;
}

weir_status weir_views_reach(weir_section *section, uint64_t from, uint64_t to)
{
    weir_status status = WEIR_OK;
    for (struct weir_view_node *node = section->views; status == WEIR_OK && node != NULL; node = node->next)
        status = make_ready(section, node, from, to);
    return status;
}

weir_status weir_view_map(weir_view *out, weir_section *section, uint64_t offset, uint64_t size_bytes,
                          weir_access access)
{
    weir_status status = weir_section_check(section);
    if (status != WEIR_OK)
        return status;
    if (out == NULL || access < WEIR_READ_WRITE || access > WEIR_COPY_ON_WRITE)
        return weir_fail(WEIR_E_INVALID, "access %d is none, or there is no place for the view", (int)access);
    if (access == WEIR_READ_WRITE && section->os.access != WEIR_READ_WRITE)
        return weir_fail(WEIR_E_ACCESS, "a read-write view of %s, which was opened %s", section->os.title,
                         access_text(section->os.access));
    if (offset % WEIR_VIEW_GRANULE != 0)
        return weir_fail(WEIR_E_ALIGNMENT, "a view's offset is a multiple of 64 KiB, %llu is not",
                         (unsigned long long)offset);
    status = weir_section_range(section, offset, &size_bytes);
    if (status == WEIR_OK)
        status = weir_section_check_file(section, offset + size_bytes); /* a touch behind it would be fatal */
    if (status != WEIR_OK)
        return status;
    if (access == WEIR_READ_WRITE && (weir_section_seals(section) & WEIR_SEAL_WRITE) != 0)
        return weir_fail(WEIR_E_ACCESS, "a writable view of %s, which is sealed against writing", section->os.title);
    int saved = errno;
    struct weir_view_node *node = malloc(sizeof *node);
    errno = saved;
    if (node == NULL)
        return weir_fail(WEIR_E_NO_MEMORY, "no memory for a view's record");
    *node = (struct weir_view_node){ .next = section->views, .offset = offset, .size = size_bytes, .access = access };
    status = weir_os_map(&section->os, section->content_off + offset, size_bytes, access, !section->reserved,
                         &node->base);
    if (status == WEIR_OK) {
        status = make_ready(section, node, 0, UINT64_MAX);
        if (status != WEIR_OK)
            weir_os_unmap(&section->os, node->base, size_bytes);
    }
    if (status != WEIR_OK) {
        free(node);
        return status;
    }
    section->views = node;
    *out = (weir_view){ .base = node->base, .offset = offset, .size = size_bytes, .section = section };
    return WEIR_OK;
}

static weir_status not_mapped(void)
{
    return weir_fail(WEIR_E_INVALID, "the view is not mapped");
}

weir_status weir_view_unmap(weir_view *view)
{
    struct weir_view_node *node = find(view);
    if (node == NULL)
        return not_mapped();
    struct weir_view_node **link = &view->section->views;
    while (*link != node)
        link = &(*link)->next;
    *link = node->next;
    weir_os_unmap(&view->section->os, node->base, node->size);
    free(node);
    *view = (weir_view){ .base = NULL };
    return WEIR_OK;
}

weir_status weir_view_refresh(weir_view *view)
{
    struct weir_view_node *node = find(view);
    if (node == NULL)
        return not_mapped();
    weir_status status = weir_section_check(view->section);
    if (status != WEIR_OK || !view->section->reserved)
        return status;
    return make_ready(view->section, node, 0, UINT64_MAX);
}

weir_status weir_view_flush(const weir_view *view, uint64_t offset, uint64_t size_bytes)
{
    struct weir_view_node *node = find(view);
    if (node == NULL)
        return not_mapped();
    weir_section *section = view->section;
    weir_status status = weir_section_check(section);
    if (status != WEIR_OK)
        return status;
    if (offset >= node->size || size_bytes > node->size - offset)
        return weir_fail(WEIR_E_RANGE, "%llu bytes at %llu are not inside the view's %llu bytes",
                         (unsigned long long)size_bytes, (unsigned long long)offset, (unsigned long long)node->size);
    if (section->os.kind != WEIR_SECTION_FILE || node->access == WEIR_COPY_ON_WRITE)
        return WEIR_OK;
    return weir_os_flush_range(&section->os, (unsigned char *)node->base + offset,
                               size_bytes != 0 ? size_bytes : node->size - offset);
}

weir_status weir_view_memory(const weir_view *view, weir_memory *out)
{
    struct weir_view_node *node = find(view);
    if (node == NULL || out == NULL)
        return not_mapped();
    weir_status status = weir_section_check(view->section);
    return status == WEIR_OK ? weir_os_memory(&view->section->os, node->base, node->size, out) : status;
}
