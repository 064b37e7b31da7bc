/* tests/naming/companions.h - what the tests of companions (naming/companion.h) share. */
#ifndef WEIR_TESTS_NAMING_COMPANIONS_H
#define WEIR_TESTS_NAMING_COMPANIONS_H

#include "sections.h"

#include <weir/naming/companion.h>
#include <weir/naming/list.h>
#include <weir/naming/section_layout.h>

#include <poll.h>

#define SLOTS 256u

static inline path_text companion_path(const char *dir, const char *name, uint32_t slot)
{
    path_text path = section_path(dir, name);
    size_t len = strlen(path.text);
    (void)snprintf(path.text + len, sizeof path.text - len, "@%u", slot);
    return path;
}

static inline bool is_fifo(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISFIFO(st.st_mode);
}

/* Does the section's header say that this slot has one?  Read from the file. */
static inline bool is_noted(const char *section, uint32_t slot)
{
    uint64_t words[4];
    int fd = open(section, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && pread(fd, words, sizeof words, 256) == sizeof words && close(fd) == 0);
    return (words[slot / 64] >> slot % 64 & 1) != 0;
}

static inline void write_notes(const char *section, uint64_t word)
{
    uint64_t words[4] = { word, word, word, word };
    int fd = open(section, O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0 && pwrite(fd, words, sizeof words, 256) == sizeof words && close(fd) == 0);
}

static inline bool is_readable(int fd)
{
    struct pollfd look = { .fd = fd, .events = POLLIN };
    return poll(&look, 1, 0) == 1 && (look.revents & POLLIN) != 0;
}

static inline void claim_slot(weir_section *section, uint32_t slot)
{
    weir_participant before;
    CHECK_OK(weir_participant_claim(section, slot, 1, &before));
    CHECK_OK(weir_participant_join(section, &before));
}

/* A section with a slot that is held, and its companion. */
static inline weir_section *have_companion(const char *name, uint32_t slot, const weir_section_options *options,
                                           int *fd)
{
    weir_section *section;
    CHECK_OK(weir_section_open_or_create(&section, name, 4096, options, NULL));
    claim_slot(section, slot);
    CHECK_OK(weir_companion_make(section, slot, fd));
    return section;
}

#endif
