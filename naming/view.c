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

/* Not the caller's word for it. */
struct weir_view_node *weir_view_node_of(const weir_view *view)
{
    if (view == NULL || view->base == NULL || view->section == NULL)
        return NULL;
    struct weir_view_node *node = view->section->views;
    while (node != NULL && node->base != view->base)
        node = node->next;
    return node;
}

/* Makes what the content has grown by since touchable in a view with room. */
static weir_status reach_content(weir_section *section, struct weir_view_node *view)
{
    uint64_t end = section->size < view->size ? section->size : view->size;
    uint64_t from = view->reached / WEIR_VIEW_GRANULE * WEIR_VIEW_GRANULE; /* whole pages */
    unsigned char *base = (unsigned char *)view->base + from;
    weir_status status = WEIR_OK;
    if (end <= view->reached)
        return WEIR_OK;
    status = weir_os_reach(&section->os, base, end - from, view->access);
    if (status == WEIR_OK)
        status = weir_os_prepare(&section->os, base, end - from, view->access);
    if (status == WEIR_OK)
        view->reached = end;
    return status;
}

/* Sees to what can be touched of [from, to) of the content in a mapped view, and to the properties of its memory. */
static weir_status make_ready(weir_section *section, struct weir_view_node *view, uint64_t from, uint64_t to)
{
    if (view->growing)
        return reach_content(section, view);

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

/* Is all of the content mapped already, for this view? */
static bool is_ahead(const weir_section *section, uint64_t size_bytes, weir_access access)
{
    return section->ahead != NULL && size_bytes == section->ahead_bytes && section->size == size_bytes &&
           access == WEIR_READ_WRITE;
}

static weir_status map_whole_or_ahead(weir_section *section, struct weir_view_node *node, bool whole)
{
    if (!node->growing || !is_ahead(section, node->size, node->access))
        return weir_os_map(&section->os, section->content_off + node->offset, node->size, node->access, whole,
                           &node->base);
    node->base = section->ahead;
    section->ahead = NULL;
    return WEIR_OK;
}

/* Maps size_bytes of the content, refreshed and checked, or room for them, and remembers it. */
static weir_status map_node(weir_view *out, weir_section *section, uint64_t offset, uint64_t size_bytes,
                            weir_access access, bool growing)
{
    int saved = errno;
    struct weir_view_node *node = malloc(sizeof *node);
    errno = saved;
    if (node == NULL)
        return weir_fail(WEIR_E_NO_MEMORY, "no memory for a view's record");
    *node = (struct weir_view_node){ .next = section->views, .offset = offset, .size = size_bytes, .access = access,
                                     .growing = growing };
    bool whole = !section->reserved && (!growing || size_bytes <= section->size); /* no room behind the content */
    weir_status status = map_whole_or_ahead(section, node, whole);
    if (status == WEIR_OK) {
        if (growing && whole) {
            node->reached = size_bytes;
            status = weir_os_prepare(&section->os, node->base, size_bytes, access);
        } else {
            status = make_ready(section, node, 0, UINT64_MAX);
        }
        if (status != WEIR_OK)
            weir_os_unmap(&section->os, node->base, size_bytes);
    }
    if (status != WEIR_OK) {
        free(node);
        return status;
    }
    section->views = node;
    *out = (weir_view){ .base = node->base, .offset = offset, .size = growing ? node->reached : size_bytes,
                        .section = section };
    return WEIR_OK;
}

static weir_status check_access(weir_section *section, const weir_view *out, weir_access access)
{
    weir_status status = weir_section_check(section);
    if (status != WEIR_OK)
        return status;
    if (out == NULL || access < WEIR_READ_WRITE || access > WEIR_COPY_ON_WRITE)
        return weir_fail(WEIR_E_INVALID, "access %d is none, or there is no place for the view", (int)access);
    if (access == WEIR_READ_WRITE && section->os.access != WEIR_READ_WRITE)
        return weir_fail(WEIR_E_ACCESS, "a read-write view of %s, which was opened %s", section->os.title,
                         access_text(section->os.access));
    return WEIR_OK;
}

weir_status weir_view_map(weir_view *out, weir_section *section, uint64_t offset, uint64_t size_bytes,
                          weir_access access)
{
    weir_status status = check_access(section, out, access);
    if (status != WEIR_OK)
        return status;
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
    return map_node(out, section, offset, size_bytes, access, false);
}

weir_status weir_view_map_growing(weir_view *out, weir_section *section, uint64_t room_bytes, weir_access access)
{
    uint64_t content = 0;
    weir_status status = check_access(section, out, access);
    if (status != WEIR_OK)
        return status;
    if (section->reserved || section->os.kind != WEIR_SECTION_NAMED)
        return weir_fail(WEIR_E_STATE, "%s cannot grow while it is in use", section->os.title);
    status = weir_section_range(section, 0, &content);
    uint64_t bytes = room_bytes > content ? room_bytes : content;
    if (status == WEIR_OK && !is_ahead(section, bytes, access)) /* it was looked at before it was mapped */
        status = weir_section_check_file(section, content);
    if (status != WEIR_OK)
        return status;
    if (room_bytes > WEIR_SECTION_SIZE_MAX)
        return weir_fail(WEIR_E_INVALID, "room for %llu bytes: a section has at most %llu",
                         (unsigned long long)room_bytes, (unsigned long long)WEIR_SECTION_SIZE_MAX);
    return map_node(out, section, 0, bytes, access, true);
}

static weir_status not_mapped(void)
{
    return weir_fail(WEIR_E_INVALID, "the view is not mapped");
}

weir_status weir_view_unmap(weir_view *view)
{
    struct weir_view_node *node = weir_view_node_of(view);
    if (node == NULL)
        return not_mapped();
    if (node->published && !view->section->os.forked)
        return weir_fail(WEIR_E_BUSY, "the view of %s is published: retire it first", view->section->os.title);
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
    struct weir_view_node *node = weir_view_node_of(view);
    if (node == NULL)
        return not_mapped();
    weir_status status = weir_section_check(view->section);
    if (status == WEIR_OK && node->growing)
        status = weir_section_refresh(view->section); /* it believes no size that the file does not have */
    if (status == WEIR_OK && node->growing && view->section->size > node->reached)
        status = weir_section_check_file(view->section, view->section->size); /* nor one that it had when it was last looked at */
    if (status == WEIR_OK && (view->section->reserved || node->growing))
        status = make_ready(view->section, node, 0, UINT64_MAX);
    if (status == WEIR_OK && node->growing)
        view->size = node->reached;
    return status;
}

weir_status weir_view_flush(const weir_view *view, uint64_t offset, uint64_t size_bytes)
{
    struct weir_view_node *node = weir_view_node_of(view);
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
    struct weir_view_node *node = weir_view_node_of(view);
    if (node == NULL || out == NULL)
        return not_mapped();
    weir_status status = weir_section_check(view->section);
    return status == WEIR_OK ? weir_os_memory(&view->section->os, node->base, node->size, out) : status;
}
