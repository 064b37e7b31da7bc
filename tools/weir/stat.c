#include "tool.h"

#include <grp.h>
#include <stdio.h>
#include <string.h>

#include <weir/ipc/channel_layout.h>

/* What a process calls itself; "" where it is gone or hidden. */
static void process_name(uint32_t pid, char *text, size_t size)
{
    char path[64];
    text[0] = 0;
    (void)snprintf(path, sizeof path, "/proc/%u/comm", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return;
    if (fgets(text, (int)size, file) == NULL)
        text[0] = 0;
    text[strcspn(text, "\n")] = 0;
    (void)fclose(file);
}

struct out {
    bool json;
    unsigned count;
};

static bool print_user(const weir_section_user *user, void *arg)
{
    struct out *out = arg;
    char name[64];
    process_name(user->pid, name, sizeof name);
    if (out->json) {
        (void)printf("%s{\"pid\":%u,\"process\":", out->count != 0 ? "," : "", user->pid);
        tool_json_text(name);
        (void)printf(",\"observer\":%s}", user->observer ? "true" : "false");
    } else {
        tool_printable(name);
        (void)printf("  %-9s pid %-8u %s\n", user->observer ? "observer" : "user", user->pid, name);
    }
    out->count++;
    return true;
}

static bool print_view(const weir_section_mapping *view, void *arg)
{
    struct out *out = arg;
    char name[64];
    process_name(view->pid, name, sizeof name);
    if (out->json) {
        (void)printf("%s{\"pid\":%u,\"process\":", out->count != 0 ? "," : "", view->pid);
        tool_json_text(name);
        (void)printf(",\"base\":\"%#llx\",\"offset\":%llu,\"size\":%llu,\"access\":\"%s\"}",
                     (unsigned long long)view->base, (unsigned long long)view->offset, (unsigned long long)view->size,
                     tool_access(view->access));
    } else {
        tool_printable(name);
        (void)printf("  view      pid %-8u %-15s at %#014llx  offset %llu  %llu bytes  %s\n", view->pid, name,
                     (unsigned long long)view->base, (unsigned long long)view->offset, (unsigned long long)view->size,
                     tool_access(view->access));
    }
    out->count++;
    return true;
}

static void print_text(const weir_section_info *info)
{
    char content[32], owner[64], group[64];
    const struct group *found = getgrgid(info->group);
    (void)snprintf(group, sizeof group, "%u", info->group);
    (void)printf("%s\n", info->name);
    (void)printf("  state     %s%s%s\n", tool_state(info->state),
                 info->state == WEIR_SECTION_STRANGE ? ": " : "",
                 info->state == WEIR_SECTION_STRANGE ? weir_status_text(info->why) : "");
    (void)printf("  content   %s, section layout %u%s\n", tool_content(info, content, sizeof content), info->version,
                 (info->flags & WEIR_PERSISTENT) != 0 ? ", persistent" : "");
    (void)printf("  access    mode %04o, owner %s, group %s\n", info->mode,
                 tool_owner(info->owner, owner, sizeof owner), found != NULL ? found->gr_name : group);
    (void)printf("  memory    %s %llu bytes, committed %llu, resident %llu\n",
                 (info->flags & WEIR_RESERVE) != 0 ? "reserved" : "size", (unsigned long long)info->size,
                 (unsigned long long)info->committed, (unsigned long long)info->resident);
    (void)printf("  slots     %u: %u present, %u dead\n", info->slots, info->present, info->dead);
    (void)printf("  users     %u, observers %u\n", info->users, info->observers);
}

int tool_stat(int count, char **arguments)
{
    const char *name = NULL;
    struct out out = { .json = false };
    for (int i = 0; i < count; i++) {
        if (strcmp(arguments[i], "--json") == 0)
            out.json = true;
        else if (name != NULL || arguments[i][0] == '-')
            return tool_usage("stat takes one NAME and --json, not \"%s\"", arguments[i]);
        else
            name = arguments[i];
    }
    if (name == NULL)
        return tool_usage("stat needs a NAME");
    weir_section_info info;
    weir_status status = weir_section_stat(name, &info);
    if (status != WEIR_OK)
        return tool_failed("stat", status);
    bool strange = info.state == WEIR_SECTION_STRANGE;
    if (out.json) {
        (void)putchar('{');
        tool_json_info(&info);
    } else {
        print_text(&info);
    }
    if (!strange && info.content == WEIR_CHANNEL_CONTENT)
        tool_channel(&info, out.json);
    if (out.json)
        (void)fputs(",\"holders\":[", stdout);
    /* It may be gone by now: then these lists are empty. */
    status = strange ? WEIR_OK : weir_section_users(name, print_user, &out);
    if (out.json)
        (void)fputs("],\"views\":[", stdout);
    out.count = 0;
    if (!strange && status == WEIR_OK)
        status = weir_section_mappings(name, print_view, &out);
    if (out.json)
        (void)puts("]}");
    int result = tool_end();
    return status == WEIR_OK || status == WEIR_E_NOT_FOUND ? result : tool_failed("stat", status);
}
