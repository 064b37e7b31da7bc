#include <weir/base/fail.h>
#include <weir/base/status.h>
#include <weir/base/version.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local struct weir_detail detail;

struct status_row {
    weir_status status;
    const char *name;
    const char *text;
};

#define ROW(status, text) { status, #status, text }
static const struct status_row rows[] = {
    ROW(WEIR_OK, "fine"),
    ROW(WEIR_EMPTY, "no record is there now"),
    ROW(WEIR_FULL, "no room is there now"),
    ROW(WEIR_TIMEOUT, "the time given has passed"),
    ROW(WEIR_CLOSED, "the other side has left"),
    ROW(WEIR_DIED, "the other side was killed"),
    ROW(WEIR_AGAIN, "overwritten while it was read"),
    ROW(WEIR_CANCELLED, "cancelled by another thread"),
    ROW(WEIR_E_INVALID, "invalid argument"),
    ROW(WEIR_E_NAME, "malformed name"),
    ROW(WEIR_E_NOT_FOUND, "no live section of that name"),
    ROW(WEIR_E_EXISTS, "a live section of that name exists"),
    ROW(WEIR_E_IN_USE, "somebody alive holds it"),
    ROW(WEIR_E_PERMISSION, "not permitted"),
    ROW(WEIR_E_NO_SPACE, "not enough memory behind the section"),
    ROW(WEIR_E_NO_MEMORY, "this process is out of memory, address space or descriptors"),
    ROW(WEIR_E_TOO_LARGE, "record over the lane's limit"),
    ROW(WEIR_E_TOO_SMALL, "buffer shorter than the record"),
    ROW(WEIR_E_MISMATCH, "both sides state different values"),
    ROW(WEIR_E_VERSION, "unknown layout version"),
    ROW(WEIR_E_NOT_WEIR, "something that is no weir section stands at that name"),
    ROW(WEIR_E_CORRUPT, "corrupt section"),
    ROW(WEIR_E_FORKED, "the handle belongs to the parent process"),
    ROW(WEIR_E_BUSY, "the handle is in use"),
    ROW(WEIR_E_STATE, "call out of order"),
    ROW(WEIR_E_UNSUPPORTED, "not supported on this system"),
    ROW(WEIR_E_OS, "the system refused"),
    ROW(WEIR_E_EMPTY_FILE, "the file is empty and no size was given"),
    ROW(WEIR_E_FILE_SHORT, "the section is larger than its file, which it may not grow"),
    ROW(WEIR_E_ACCESS, "wider than the section's access"),
    ROW(WEIR_E_RANGE, "not inside the section"),
    ROW(WEIR_E_ALIGNMENT, "the offset is not a multiple of 64 KiB"),
};
#undef ROW

static const struct status_row *find(weir_status status)
{
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].status == status)
            return &rows[i];
    return NULL;
}

const char *weir_status_text(weir_status status)
{
    const struct status_row *row = find(status);
    return row ? row->text : "unknown status";
}

const char *weir_status_name(weir_status status)
{
    const struct status_row *row = find(status);
    return row ? row->name : "unknown status";
}

const char *weir_error_detail(void)
{
    return detail.text;
}

void weir_detail_save(struct weir_detail *to)
{
    (void)strcpy(to->text, detail.text);
}

void weir_detail_restore(const struct weir_detail *from)
{
    (void)strcpy(detail.text, from->text);
}

const char *weir_version(void)
{
    return WEIR_VERSION;
}

weir_status weir_fail(weir_status status, const char *format, ...)
{
    int saved = errno;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(detail.text, sizeof detail.text, format, args); /* cut when longer: it is for reading */
    va_end(args);
    for (char *c = detail.text; *c != 0; c++) /* one line, whatever was in a name */
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    errno = saved;
    return status;
}

const char *weir_size_text(char text[WEIR_SIZE_TEXT_MAX], unsigned long long bytes)
{
    static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    unsigned unit = 0;
    unsigned long long whole = bytes, rest = 0;
    while (whole >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        rest = whole % 1024;
        whole /= 1024;
        unit++;
    }
    if (unit == 0 || rest == 0)
        (void)snprintf(text, WEIR_SIZE_TEXT_MAX, "%llu %s", whole, units[unit]);
    else
        (void)snprintf(text, WEIR_SIZE_TEXT_MAX, "%llu.%llu %s", whole, rest * 10 / 1024, units[unit]);
    return text;
}
