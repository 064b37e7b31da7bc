/* tools/weir/main.c - the program `weir`: what sections there are, and who uses them. */
#include "tool.h"

#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <weir/ipc/channel_layout.h>

static const char help[] =
    "usage: weir ls [--json]\n"
    "       weir stat NAME [--json]\n"
    "       weir clean\n"
    "       weir rm NAME\n"
    "\n"
    "ls     the sections of the shared-memory directory ($WEIR_SHM_DIR, else /dev/shm): Global\n"
    "       ones and your own Local ones; as root, everybody's\n"
    "stat   one section: its memory, who has it open, and every view of it that you may see; of a\n"
    "       channel: its participants, alive or dead, what they have counted, and how far they are\n"
    "clean  removes your stale sections: whole ones that nobody has open and that do not persist\n"
    "rm     removes one section that nobody has open, a persistent one too\n"
    "\n"
    "NAME   Global/x or Local/x; x alone means Local/x\n"
    "\n"
    "A user and a participant are shown with the pid that they have in their own pid\n"
    "namespace, as they say themselves: nothing is decided by it.\n"
    "Nothing is attached to: looking keeps nothing alive.  Exit status: 0, or 1 with one line of error.\n";

/* ---- what the subcommands share ---- */

int tool_usage(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fputs("weir: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputs("; weir --help has the commands\n", stderr);
    va_end(args);
    return 1;
}

int tool_failed(const char *what, weir_status status)
{
    (void)fprintf(stderr, "weir: %s: %s: %s\n", what, weir_status_text(status), weir_error_detail());
    return 1;
}

int tool_end(void)
{
    if (fflush(stdout) == 0 && ferror(stdout) == 0)
        return 0;
    (void)fputs("weir: cannot write the output\n", stderr);
    return 1;
}

const char *tool_state(weir_section_state state)
{
    static const char *const texts[] = { "live", "unused", "stale", "strange" };
    return (size_t)state < sizeof texts / sizeof texts[0] ? texts[state] : "?";
}

const char *tool_content(const weir_section_info *info, char *text, size_t size)
{
    if (info->state == WEIR_SECTION_STRANGE)
        return "-";
    if (info->content == 0)
        return "data";
    if (info->content == WEIR_CHANNEL_CONTENT)
        return "channel";
    (void)snprintf(text, size, "%#x", info->content);
    return text;
}

const char *tool_owner(uint32_t uid, char *text, size_t size)
{
    const struct passwd *user = getpwuid(uid);
    if (user != NULL)
        (void)snprintf(text, size, "%s", user->pw_name);
    else
        (void)snprintf(text, size, "%u", uid);
    return text;
}

const char *tool_access(weir_access access)
{
    return access == WEIR_READ_WRITE ? "read-write" : access == WEIR_READ_ONLY ? "read-only" : "copy-on-write";
}

/* UTF-8, RFC 3629: the shortest form of a scalar value; and here no control character, U+0080 to U+009F included. */
int tool_character(const char *text)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    const unsigned char *c = (const unsigned char *)text;
    if (c[0] < 0x80)
        return c[0] >= ' ' && c[0] != 0x7f;
    int len = c[0] >= 0xf0 && c[0] < 0xf8 ? 4 : c[0] >= 0xe0 && c[0] < 0xf0 ? 3 : c[0] >= 0xc0 && c[0] < 0xe0 ? 2 : 0;
    uint32_t value = len != 0 ? c[0] & (0x7fu >> len) : 0;
    for (int i = 1; i < len; i++) {
        if ((c[i] & 0xc0) != 0x80) /* the terminating 0 is none either */
            return 0;
        value = value << 6 | (c[i] & 0x3fu);
    }
    bool scalar = value < 0xd800 || (value > 0xdfff && value < 0x110000);
    return scalar && value >= least[len] && value > 0x9f ? len : 0;
}

void tool_printable(char *text)
{
    for (int len; *text != 0; text += len != 0 ? len : 1) {
        len = tool_character(text);
        if (len == 0)
            *text = '?';
    }
}

void tool_json_text(const char *text)
{
    (void)putchar('"');
    for (int len; *text != 0; text += len != 0 ? len : 1) {
        len = tool_character(text);
        if (*text == '"' || *text == '\\')
            (void)printf("\\%c", *text);
        else if (len == 0) /* a process calls itself anything */
            (void)printf("\\u%04x", (unsigned char)*text);
        else
            (void)printf("%.*s", len, text);
    }
    (void)putchar('"');
}

void tool_json_info(const weir_section_info *info)
{
    char text[64];
    (void)printf("\"name\":");
    tool_json_text(info->name);
    (void)printf(",\"state\":\"%s\",\"content\":\"%s\"", tool_state(info->state),
                 tool_content(info, text, sizeof text));
    if (info->state == WEIR_SECTION_STRANGE)
        (void)printf(",\"why\":\"%s\"", weir_status_name(info->why));
    (void)printf(",\"mode\":\"%04o\",\"owner\":%u,\"group\":%u", info->mode, info->owner, info->group);
    (void)printf(",\"size\":%llu,\"committed\":%llu,\"resident\":%llu", (unsigned long long)info->size,
                 (unsigned long long)info->committed, (unsigned long long)info->resident);
    (void)printf(",\"persistent\":%s,\"reserved\":%s", (info->flags & WEIR_PERSISTENT) != 0 ? "true" : "false",
                 (info->flags & WEIR_RESERVE) != 0 ? "true" : "false");
    (void)printf(",\"slots\":%u,\"present\":%u,\"dead\":%u,\"users\":%u,\"observers\":%u,\"version\":%u", info->slots,
                 info->present, info->dead, info->users, info->observers, info->version);
}

/* ---- the program ---- */

int main(int argc, char **argv)
{
    static const struct { const char *name; int (*run)(int count, char **arguments); } commands[] = {
        { "ls", tool_ls },
        { "stat", tool_stat },
        { "clean", tool_clean },
        { "rm", tool_rm },
    };
    if (argc < 2)
        return tool_usage("no command");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 2, argv + 2);
    if (strcmp(argv[1], "--version") == 0)
        (void)printf("weir %s\n", weir_version());
    else if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)
        (void)fputs(help, stdout);
    else
        return tool_usage("\"%s\" is no command", argv[1]);
    return tool_end();
}
