/* tools/weir/clean.c - removing: all that is stale, or one by its name. */
#include "tool.h"

#include <stdio.h>

static bool print_removed(const weir_section_info *info, void *arg)
{
    unsigned *count = arg;
    (void)printf("removed %s, %llu bytes\n", info->name, (unsigned long long)info->resident);
    ++*count;
    return true;
}

int tool_clean(int count, char **arguments)
{
    if (count != 0)
        return tool_usage("clean takes no \"%s\"", arguments[0]);
    unsigned removed = 0;
    weir_status status = weir_section_clean(print_removed, &removed);
    if (removed == 0)
        (void)puts("nothing is stale");
    int result = tool_end();
    return status == WEIR_OK ? result : tool_failed("clean", status);
}

int tool_rm(int count, char **arguments)
{
    if (count != 1 || arguments[0][0] == '-')
        return tool_usage("rm needs one NAME");
    weir_status status = weir_section_remove(arguments[0]);
    return status == WEIR_OK ? 0 : tool_failed("rm", status);
}
