#include "tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Kept and sorted: a directory has no order. */
struct found {
    weir_section_info *infos;
    size_t count, room;
    bool no_memory;
};

static bool keep(const weir_section_info *info, void *arg)
{
    struct found *found = arg;
    if (found->count == found->room) {
        size_t room = found->room != 0 ? 2 * found->room : 16;
        weir_section_info *more = realloc(found->infos, room * sizeof *more);
        if (more == NULL) {
            found->no_memory = true;
            return false;
        }
        found->infos = more;
        found->room = room;
    }
    found->infos[found->count++] = *info;
    return true;
}

static int by_name(const void *left, const void *right)
{
    const weir_section_info *a = left, *b = right;
    int order = strcmp(a->name, b->name);
    return order != 0 ? order : (a->owner > b->owner) - (a->owner < b->owner);
}

static void print_json(const struct found *found)
{
    (void)putchar('[');
    for (size_t i = 0; i < found->count; i++) {
        (void)fputs(i == 0 ? "\n {" : ",\n {", stdout);
        tool_json_info(&found->infos[i]);
        (void)putchar('}');
    }
    (void)puts(found->count != 0 ? "\n]" : "]");
}

static void print_table(const struct found *found)
{
    int width = 4;
    for (size_t i = 0; i < found->count; i++) {
        int len = (int)strlen(found->infos[i].name);
        width = len > width ? len : width;
    }
    (void)printf("%-*s  %-7s  %-10s  %14s  %14s  %5s  %-8s  %5s  %9s  %s\n", width, "NAME", "STATE", "CONTENT", "SIZE",
                 "COMMITTED", "MODE", "OWNER", "USERS", "OBSERVERS", "FLAGS");
    for (size_t i = 0; i < found->count; i++) {
        const weir_section_info *info = &found->infos[i];
        char content[32], owner[64];
        (void)printf("%-*s  %-7s  %-10s  %14llu  %14llu  %05o  %-8s  %5u  %9u  %s%s%s\n", width, info->name,
                     tool_state(info->state), tool_content(info, content, sizeof content),
                     (unsigned long long)info->size, (unsigned long long)info->committed, info->mode,
                     tool_owner(info->owner, owner, sizeof owner), info->users, info->observers,
                     (info->flags & WEIR_PERSISTENT) != 0 ? "persistent " : "",
                     (info->flags & WEIR_RESERVE) != 0 ? "reserved" : "",
                     info->state == WEIR_SECTION_STRANGE ? weir_status_name(info->why) : "");
    }
}

int tool_ls(int count, char **arguments)
{
    bool json = false;
    for (int i = 0; i < count; i++) {
        if (strcmp(arguments[i], "--json") != 0)
            return tool_usage("ls takes no \"%s\"", arguments[i]);
        json = true;
    }
    struct found found = { .infos = NULL };
    weir_status status = weir_section_list(keep, &found);
    if (found.no_memory) {
        (void)fputs("weir: no memory for the list\n", stderr);
        free(found.infos);
        return 1;
    }
    if (found.count != 0)
        qsort(found.infos, found.count, sizeof found.infos[0], by_name);
    if (json)
        print_json(&found);
    else
        print_table(&found);
    free(found.infos);
    int result = tool_end();
    return status == WEIR_OK ? result : tool_failed("ls", status);
}
