/* Any bytes as the start of a section's file, against the table of naming/README.md, read once more.  Input: how (named or
 * not, how much of it is there), the file's length, and bytes for the first words of a good header. */
#include "section_model.h"
#include "support.h"

#include <stdlib.h>

#define FRONT 248u /* bytes of the header that say something, the slots aside */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
    section_good(header, text);
    size_t front = size - 9 < FRONT ? size - 9 : FRONT;
    if (front != 0)
        memcpy(header, data + 9, front);
    uint64_t file_bytes = section_number(data, 1, 8);
    static const uint16_t cuts[8] = { 4096, 4096, 4096, 4095, 12, 11, 8, 7 };
    uint64_t len = cuts[data[0] >> 5];
    unsigned char *copy = aligned_alloc(8, (len + 7) & ~UINT64_C(7)); /* for the sanitizer to see its end */
    CHECK(copy != NULL);
    memcpy(copy, header, len);
    weir_section_facts facts, untouched;
    memset(&facts, 0xa5, sizeof facts);
    untouched = facts;
    weir_status status = weir_section_inspect(copy, len, file_bytes, name, text, &facts);
    CHECK(status == section_model(copy, len, file_bytes, text));
    if (status != WEIR_OK)
        CHECK(memcmp(&facts, &untouched, sizeof facts) == 0);
    else if (!facts.making)
        CHECK(facts.version == 3 && facts.content == section_number(copy, 12, 4) && facts.slots == section_number(copy, 16, 4) &&
              facts.flags == section_number(copy, 20, 4) && facts.size == section_number(copy, 240, 8));
    free(copy);
    return 0;
}
