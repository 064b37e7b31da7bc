/* Sections that lie in files: their words are changed here, and looked at through other mappings. */
#include "aliased.h"

#include "support.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef WEIR_ATOMIC_BACKEND

hostile_ring aliased;
uint64_t aliased_mutations;
static unsigned char *good;

void aliased_begin(const hostile_row *row)
{
    aliased.row = row;
    hostile_where.ring = row->name;
    aliased.mem = mmap(NULL, row->bytes(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    good = malloc(row->bytes());
    CHECK(aliased.mem != MAP_FAILED && good != NULL);
}

void aliased_map(const char *dir, const char *name, uint64_t off, uint64_t bytes)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/weir-u.%u/%s", dir, (unsigned)getuid(), name);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK(mmap(aliased.mem + off, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == aliased.mem + off);
    (void)close(fd);
}

void aliased_end(void)
{
    (void)munmap(aliased.mem, aliased.row->bytes());
    free(good);
    hostile_forget();
}

void aliased_note(void)
{
    for (unsigned state = 0; state < HOSTILE_STATES; state++)
        hostile_remember(&aliased, state);
}

void aliased_good(void)
{
    memcpy(good, aliased.mem, aliased.row->bytes());
    aliased_note();
}

void aliased_mend(void)
{
    for (uint64_t off = 0; off < aliased.row->bytes(); off += 8)
        weir_store_rlx(weir_word_at(aliased.mem, off), aliased_good_word(off));
}

uint64_t aliased_word(uint64_t off) { return weir_load_rlx(weir_word_at(aliased.mem, off)); }

uint64_t aliased_good_word(uint64_t off)
{
    uint64_t word;
    memcpy(&word, good + off, 8);
    return word;
}

bool aliased_put(uint64_t off, uint64_t value)
{
    bool differs = aliased_word(off) != value;
    weir_store_rlx(weir_word_at(aliased.mem, off), value);
    aliased_mutations += differs;
    return differs;
}

void aliased_rest(uint64_t n, uint64_t bits)
{
    uint64_t words = 0, off = 0, slice = bits & 3;
    while (hostile_control_word(aliased.row, words, &off))
        words++;
    (void)hostile_control_word(aliased.row, n % words, &off);
    uint64_t old = aliased_word(off), power = UINT64_C(1) << (bits >> 8 & 63), value;
    switch (bits >> 4 & 7) {
    case 0: value = power; break;
    case 1: value = power - 1; break;
    case 2: value = old + power; break;
    case 3: value = old - power; break;
    default: value = (old & ~(UINT64_C(0xffff) << slice * 16)) | (bits >> 16 & 0xffff) << slice * 16; break;
    }
    (void)aliased_put(off, value);
}

void aliased_call(const char *op)
{
    hostile_where.op = op;
    hostile_hook.loads = 0;
}

weir_status aliased_seen(weir_status status, uint64_t may, uint64_t loads_max)
{
    hostile_operations++;
    HOSTILE_CHECK(status >= -32 && status < 32 && (may & HOSTILE_STATUS(status)) != 0);
    HOSTILE_CHECK(hostile_hook.loads <= loads_max);
    return status;
}

unsigned aliased_round(uint64_t n, uint64_t *random)
{
    static const uint8_t means[] = { 1, 2, 4, 8, 16, 32, 64, 128 };
    uint64_t bits = hostile_random(random) >> 8;
    hostile_target(0, hostile_random(random));
    for (unsigned more = n % 4 == 0 ? 1 + (bits >> 40 & 3) : 0; more > 0; more--) {
        uint64_t word = hostile_random(random) >> 8;
        aliased_rest(word, hostile_random(random) >> 8);
    }
    if (n % 4 == 1)
        hostile_arm(means[bits & 7]);
    return means[bits & 7];
}

#endif
