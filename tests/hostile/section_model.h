/* tests/hostile/section_model.h - what the start of a section's file means, read once more from naming/README.md. */
#ifndef WEIR_TESTS_HOSTILE_SECTION_MODEL_H
#define WEIR_TESTS_HOSTILE_SECTION_MODEL_H

#include <string.h>

#include <weir/naming/section_layout.h>

static inline uint64_t section_number(const unsigned char *bytes, unsigned off, unsigned len)
{
    uint64_t value = 0;
    for (unsigned i = len; i > 0; i--)
        value = value << 8 | bytes[off + i - 1];
    return value;
}

/* name is "" for a section without one. */
static inline weir_status section_model(const unsigned char *b, uint64_t len, uint64_t file_bytes, const char *name)
{
    if (len < 8 || (memcmp(b, "weirsect", 8) != 0 && memcmp(b, "weirmake", 8) != 0))
        return WEIR_E_NOT_WEIR;
    bool making = b[4] == 'm';
    if (!making && len >= 12 && section_number(b, 8, 4) != 3)
        return WEIR_E_VERSION;
    if (len < 4096)
        return WEIR_E_CORRUPT;
    if (strncmp((const char *)b + 24, name, 216) != 0)
        return WEIR_E_NOT_WEIR;
    if (making)
        return WEIR_OK;
    uint64_t slots = section_number(b, 16, 4), flags = section_number(b, 20, 4), bytes = section_number(b, 240, 8);
    bool nameless = (flags & 4) != 0, persistent = (flags & 1) != 0, reserved = (flags & 2) != 0;
    if (slots > 256 || flags > 7 || nameless != (name[0] == 0) || (nameless && persistent))
        return WEIR_E_CORRUPT;
    if (bytes == 0 || bytes > WEIR_SECTION_SIZE_MAX)
        return WEIR_E_CORRUPT;
    uint64_t map = 0;
    if (reserved) { /* a bit for each 64 KiB, in whole pages */
        uint64_t granules = bytes / 65536 + (bytes % 65536 != 0);
        uint64_t map_bytes = granules / 8 + (granules % 8 != 0);
        map = (map_bytes / 4096 + (map_bytes % 4096 != 0)) * 4096;
    }
    uint64_t before = 4096 + map; /* no sum of the three, which might wrap */
    return before > file_bytes || bytes > file_bytes - before ? WEIR_E_CORRUPT : WEIR_OK;
}

static inline void section_good(unsigned char *header, const char *name)
{
    memset(header, 0, WEIR_SECTION_HEADER);
    memcpy(header, "weirsect", 8);
    header[8] = 3;
    header[16] = 3;
    header[20] = name[0] == 0 ? 4 : 0;
    memcpy(header + 24, name, strlen(name));
    header[241] = 0x10; /* 4096 bytes */
}

#endif
