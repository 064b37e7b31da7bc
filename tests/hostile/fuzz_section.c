/* Any bytes as the start of a section's file, against the table of naming/README.md, read once more.  Input: how (named or
 * not, how much of it is there), the file's length, and bytes for the first words of a good header. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include <weir/naming/section_layout.h>

#define FRONT 248u /* bytes of the header that say something, the slots aside */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t number_at(const unsigned char *bytes, unsigned off, unsigned len)
{
    uint64_t value = 0;
    for (unsigned i = len; i > 0; i--)
        value = value << 8 | bytes[off + i - 1];
    return value;
}

static weir_status model(const unsigned char *b, uint64_t len, uint64_t file_bytes, const char *name)
{
    if (len < 8 || (memcmp(b, "weirsect", 8) != 0 && memcmp(b, "weirmake", 8) != 0))
        return WEIR_E_NOT_WEIR;
    bool making = b[4] == 'm';
    if (!making && len >= 12 && number_at(b, 8, 4) != 2)
        return WEIR_E_VERSION;
    if (len < 4096)
        return WEIR_E_CORRUPT;
    if (strncmp((const char *)b + 24, name, 216) != 0)
        return WEIR_E_NOT_WEIR;
    if (making)
        return WEIR_OK;
    uint64_t slots = number_at(b, 16, 4), flags = number_at(b, 20, 4), bytes = number_at(b, 240, 8);
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
    unsigned __int128 whole = (unsigned __int128)4096 + map + bytes;
    return whole > file_bytes ? WEIR_E_CORRUPT : WEIR_OK;
}

static void good(unsigned char *header, const char *name)
{
    memset(header, 0, WEIR_SECTION_HEADER);
    memcpy(header, "weirsect", 8);
    header[8] = 2;
    header[16] = 3;
    header[20] = name[0] == 0 ? 4 : 0;
    memcpy(header + 24, name, strlen(name));
    header[241] = 0x10; /* 4096 bytes */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static weir_name names[2];
    if (names[0].text[0] == 0)
        CHECK(weir_name_parse(&names[0], "Local/orders") == WEIR_OK && weir_name_parse(&names[1], "Global/o") == WEIR_OK);
    if (size < 9)
        return 0;
    const weir_name *name = data[0] % 3 < 2 ? &names[data[0] % 3] : NULL;
    const char *text = name != NULL ? name->text : "";
    static unsigned char header[WEIR_SECTION_HEADER];
    good(header, text);
    size_t front = size - 9 < FRONT ? size - 9 : FRONT;
    if (front != 0)
        memcpy(header, data + 9, front);
    uint64_t file_bytes = number_at(data, 1, 8);
    static const uint16_t cuts[8] = { 4096, 4096, 4096, 4095, 12, 11, 8, 7 };
    uint64_t len = cuts[data[0] >> 5];
    unsigned char *copy = aligned_alloc(8, (len + 7) & ~UINT64_C(7)); /* for the sanitizer to see its end */
    CHECK(copy != NULL);
    memcpy(copy, header, len);
    weir_section_facts facts, untouched;
    memset(&facts, 0xa5, sizeof facts);
    untouched = facts;
    weir_status status = weir_section_inspect(copy, len, file_bytes, name, text, &facts);
    CHECK(status == model(copy, len, file_bytes, text));
    if (status != WEIR_OK)
        CHECK(memcmp(&facts, &untouched, sizeof facts) == 0);
    else if (!facts.making)
        CHECK(facts.version == 2 && facts.content == number_at(copy, 12, 4) && facts.slots == number_at(copy, 16, 4) &&
              facts.flags == number_at(copy, 20, 4) && facts.size == number_at(copy, 240, 8));
    free(copy);
    return 0;
}
