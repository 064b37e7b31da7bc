/* Every value of every 16-bit slice, and a boundary set, of every word of a section's header that says something, against
 * the model; for sections with and without a name, and with room reserved. */
#include "hostile.h"

#include "section_model.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>

#define FRONT 256u

static uint64_t mutations;

struct subject {
    unsigned char *header; /* of exactly WEIR_SECTION_HEADER bytes */
    const weir_name *name;
    const char *text;
    uint64_t file_bytes;
};

static void look(const struct subject *s)
{
    weir_section_facts facts, untouched;
    memset(&facts, 0xa5, sizeof facts);
    untouched = facts;
    hostile_operations++;
    weir_status status = weir_section_inspect(s->header, WEIR_SECTION_HEADER, s->file_bytes, s->name, s->text, &facts);
    HOSTILE_CHECK(status == section_model(s->header, WEIR_SECTION_HEADER, s->file_bytes, s->text));
    HOSTILE_CHECK(status == WEIR_OK || memcmp(&facts, &untouched, sizeof facts) == 0);
}

static void put(const struct subject *s, unsigned off, uint64_t value)
{
    uint64_t old;
    memcpy(&old, s->header + off, 8);
    hostile_where.life = value;
    mutations += old != value;
    memcpy(s->header + off, &value, 8);
    look(s);
    memcpy(s->header + off, &old, 8);
}

static void every_word(const struct subject *s, uint64_t step)
{
    for (unsigned off = 0; off < FRONT; off += 8) {
        uint64_t old;
        memcpy(&old, s->header + off, 8);
        hostile_where.state = off;
        for (unsigned slice = 0; slice < 4; slice++)
            for (uint64_t part = 0; part < 65536; part += step)
                put(s, off, (old & ~(UINT64_C(0xffff) << slice * 16)) | part << slice * 16);
        for (unsigned bit = 0; bit < 64; bit++)
            for (int near = -2; near <= 2; near++) {
                uint64_t power = (UINT64_C(1) << bit) + (uint64_t)(int64_t)near;
                put(s, off, power);
                put(s, off, 0 - power);
                put(s, off, old + power);
                put(s, off, old ^ power);
                put(s, off, s->file_bytes - 4096 + power); /* round what its file has room for */
            }
    }
}

int main(void)
{
    uint64_t step = support_count(100) >= 100 ? 1 : 13;
    weir_name local;
    hostile_begin("section");
    CHECK_OK(weir_name_parse(&local, "Local/orders"));
    unsigned char *header = aligned_alloc(8, WEIR_SECTION_HEADER);
    CHECK(header != NULL);
    for (unsigned kind = 0; kind < 4; kind++) {
        struct subject s = { header, kind == 1 ? NULL : &local, kind == 1 ? "" : "Local/orders", 8192 };
        section_good(header, s.text);
        if (kind == 2) { /* reserved room, of a file as long as the address space of processors allows */
            header[20] |= 2;
            s.file_bytes = UINT64_C(1) << 48;
        }
        if (kind == 3)
            memcpy(header, "weirmake", 8);
        hostile_where.ring = kind == 0 ? "named" : kind == 1 ? "nameless" : kind == 2 ? "reserved" : "making";
        hostile_where.op = "weir_section_inspect";
        look(&s);
        every_word(&s, step);
    }
    free(header);
    (void)printf("part section: mutations=%llu operations=%llu executions=0\n", (unsigned long long)mutations,
                 (unsigned long long)hostile_operations);
    return 0;
}
