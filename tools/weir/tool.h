/* tools/weir/tool.h - what the subcommands of `weir` share. */
#ifndef WEIR_TOOLS_TOOL_H
#define WEIR_TOOLS_TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/weir.h>

/* A subcommand: its arguments, without the program's and its own name; its exit status. */
int tool_ls(int count, char **arguments);
int tool_stat(int count, char **arguments);
int tool_clean(int count, char **arguments);
int tool_rm(int count, char **arguments);

/* tool_usage says what is wrong with the arguments, and gives the exit status. */
__attribute__((format(printf, 1, 2))) int tool_usage(const char *format, ...);

/* tool_failed says what a call of the library returned, in one line, and gives the exit status. */
int tool_failed(const char *what, weir_status status);

/* tool_end gives the exit status of a program that has written all it had to: 1 where that could not be written. */
int tool_end(void);

/* Texts of what weir_section_info holds.  owner: "name" or "uid 1000"; both into text. */
const char *tool_state(weir_section_state state);
const char *tool_content(const weir_section_info *info, char *text, size_t size);
const char *tool_owner(uint32_t uid, char *text, size_t size);
const char *tool_access(weir_access access);

/* tool_character gives the bytes of the character that text begins with; 0 where that is no UTF-8, or would control a
 * terminal. */
int tool_character(const char *text);

/* tool_printable leaves out of a text what would move a person's cursor. */
void tool_printable(char *text);

/* tool_channel prints what a channel is and who is there, as members of an object or as lines. */
void tool_channel(const weir_section_info *info, bool json);

/* tool_json_text prints a string as JSON has it; a byte that is no character as the character of its number. */
void tool_json_text(const char *text);

/* tool_json_info prints the members of a section, without braces. */
void tool_json_info(const weir_section_info *info);

#endif
