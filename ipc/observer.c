/* ipc/observer.c - a handle that only looks. */
#include <weir/base/fail.h>
#include <weir/ipc/channel_look.h>
#include <weir/ipc/channel_terms.h>

#include <errno.h>
#include <stdlib.h>

#define MODE_ANY 0777u

struct weir_observer {
    struct channel_cold cold; /* as a participant's, of which the looking needs no more than what it is */
};

/* The whole content as it is now.  A ring that has come since, or lanes, lie behind what was mapped before.  It never
 * gets less, whatever the section says: what was checked stays mapped. */
static weir_status view_all(struct channel_cold *cold)
{
    weir_view whole;
    uint64_t size = weir_section_size(cold->section);
    if (size <= cold->view.size)
        return WEIR_OK;
    weir_status status = weir_view_map(&whole, cold->section, 0, size, WEIR_READ_ONLY);
    if (status != WEIR_OK)
        return status == WEIR_E_RANGE ? weir_fail(WEIR_E_CORRUPT, "%s became shorter", weir_section_name(cold->section))
                                      : status;
    if (cold->view.base != NULL)
        (void)weir_view_unmap(&cold->view);
    cold->view = whole;
    cold->layout = whole.base;
    return WEIR_OK;
}

static weir_status open_channel(struct channel_cold *cold, const char *name, const weir_section_options *options)
{
    weir_section_options wanted = options != NULL ? *options : (weir_section_options){ .mode = MODE_ANY };
    wanted.content = WEIR_CHANNEL_CONTENT;
    wanted.access = WEIR_READ_ONLY;
    weir_status status = weir_section_open(&cold->section, name, &wanted);
    if (status == WEIR_OK)
        status = weir_terms_check_section(cold->section);
    if (status == WEIR_OK)
        status = view_all(cold);
    if (status == WEIR_OK)
        status = weir_terms_read_head(cold);
    if (status == WEIR_OK && cold->view.size < weir_channel_ring_at(cold))
        status = weir_fail(WEIR_E_CORRUPT, "%s became shorter", weir_section_name(cold->section));
    return status;
}

weir_status weir_observer_open(weir_observer **out, const char *name, const weir_section_options *options)
{
    if (out == NULL)
        return weir_fail(WEIR_E_INVALID, "no place to return the observer");
    int saved = errno;
    weir_observer *observer = calloc(1, sizeof *observer);
    errno = saved;
    if (observer == NULL)
        return weir_fail(WEIR_E_NO_MEMORY, "no memory for an observer's handle");
    observer->cold.role = WEIR_PRODUCER; /* whose side comes first */
    weir_status status = open_channel(&observer->cold, name, options);
    if (status == WEIR_OK)
        *out = observer;
    else
        (void)weir_observer_close(observer);
    return status;
}

weir_status weir_observer_close(weir_observer *observer)
{
    if (observer == NULL)
        return WEIR_OK;
    if (observer->cold.view.base != NULL)
        (void)weir_view_unmap(&observer->cold.view);
    (void)weir_section_close(observer->cold.section);
    free(observer);
    return WEIR_OK;
}

static weir_status check(const weir_observer *observer, bool place)
{
    if (observer == NULL || !place)
        return weir_fail(WEIR_E_INVALID, "no observer, or no place to return what it sees");
    if (weir_section_forked(observer->cold.section)) /* its view is not there */
        return weir_fail(WEIR_E_FORKED, "the observer of %s was opened before the fork: open it again in the child",
                         weir_section_name(observer->cold.section));
    return WEIR_OK;
}

weir_status weir_observer_channel(weir_observer *observer, weir_channel_facts *facts)
{
    weir_status status = check(observer, facts != NULL);
    if (status == WEIR_OK)
        status = view_all(&observer->cold);
    return status == WEIR_OK ? weir_look_at_channel(&observer->cold, facts) : status;
}

weir_status weir_observer_members(weir_observer *observer, weir_member *out, uint32_t max, uint32_t *count)
{
    weir_status status = check(observer, (out != NULL || max == 0) && count != NULL);
    if (status == WEIR_OK)
        status = view_all(&observer->cold);
    return status == WEIR_OK ? weir_look_at_members(&observer->cold, out, max, count) : status;
}
