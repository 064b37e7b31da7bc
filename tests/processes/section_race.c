/* serial */
/* Processes that create, open and close a few names as fast as they can.  Whoever opens sees a whole section, nobody is
 * told anything that could not be so, and in the end nothing is left. */
#include "../naming/sections.h"

#include <weir/naming/section_layout.h>

#define PROCESSES 8
#define NAMES 3
#define ROUNDS UINT64_C(100000)
#define SIZE UINT64_C(8192)

static const char *const names[NAMES] = { "Local/race-0", "Global/race-1", "Local/race-2" };

/* The content: one number all over, which says who made it. */
static weir_status fill(void *content, uint64_t size, void *arg)
{
    uint64_t *words = content;
    for (uint64_t i = 0; i < size / sizeof *words; i++) {
        if (words[i] != 0)
            return WEIR_E_CORRUPT;
        words[i] = *(const uint64_t *)arg;
    }
    return WEIR_OK;
}

static void check_whole(weir_section *section, uint64_t mine)
{
    weir_view view;
    CHECK(weir_section_size(section) == SIZE);
    CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_ONLY));
    const uint64_t *words = view.base;
    CHECK(words[0] != 0 && (mine == 0 || words[0] == mine));
    for (uint64_t i = 1; i < SIZE / sizeof *words; i++)
        CHECK(words[i] == words[0]);
    CHECK_OK(weir_view_unmap(&view));
}

struct tally {
    uint64_t created, opened, exist, absent;
};

static void race(uint64_t process, uint64_t rounds, uint64_t seed, struct tally *tally)
{
    weir_section *held[NAMES] = { NULL };
    for (uint64_t round = 1; round <= rounds; round++) {
        uint64_t random = support_random(&seed), mine = process << 48 | round;
        unsigned n = (unsigned)(random % NAMES), what = (unsigned)(random >> 8) % 8;
        weir_section_options options = { .content = 1 + n, .slots = 4, .init = fill, .init_arg = &mine };
        weir_section *section = NULL;
        weir_status status;
        bool created = false;
        if (what < 2) {
            status = weir_section_create(&section, names[n], SIZE, &options);
            created = status == WEIR_OK;
            CHECK(status == WEIR_OK || status == WEIR_E_EXISTS);
            CHECK(status != WEIR_OK || held[n] == NULL);
            tally->exist += status == WEIR_E_EXISTS;
        } else if (what < 5) {
            options.access = what == 4 ? WEIR_READ_ONLY : WEIR_READ_WRITE;
            status = weir_section_open(&section, names[n], &options);
            CHECK(status == WEIR_OK || status == WEIR_E_NOT_FOUND);
            CHECK(status == WEIR_OK || held[n] == NULL); /* this process keeps it alive */
            tally->absent += status == WEIR_E_NOT_FOUND;
        } else {
            status = weir_section_open_or_create(&section, names[n], SIZE, &options, &created);
            CHECK_OK(status);
            CHECK(!created || held[n] == NULL);
        }
        tally->created += created;
        tally->opened += status == WEIR_OK && !created;
        if (status != WEIR_OK)
            continue;
        check_whole(section, created ? mine : 0);
        if (held[n] == NULL && options.access == WEIR_READ_WRITE && (random >> 16) % 64 == 0) {
            held[n] = section; /* for a few rounds */
            continue;
        }
        CHECK_OK(weir_section_close(section));
        if ((random >> 16) % 4 != 1) {
            CHECK_OK(weir_section_close(held[n]));
            held[n] = NULL;
        }
    }
    for (unsigned n = 0; n < NAMES; n++)
        CHECK_OK(weir_section_close(held[n]));
}

int main(void)
{
    const char *dir = support_shm_dir();
    uint64_t seed = support_seed(), rounds = support_count(ROUNDS) / PROCESSES + 1;
    pid_t children[PROCESSES];
    int results[2], start[2];
    char byte;
    CHECK(pipe2(results, O_CLOEXEC) == 0 && pipe2(start, O_CLOEXEC) == 0);
    for (unsigned i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        CHECK(children[i] >= 0);
        if (children[i] == 0) {
            struct tally tally = { 0, 0, 0, 0 };
            (void)close(start[1]);
            CHECK(read(start[0], &byte, 1) == 0);
            race(i + 1, rounds, seed + i * UINT64_C(0x9e3779b97f4a7c15), &tally);
            CHECK(write(results[1], &tally, sizeof tally) == sizeof tally);
            _exit(0);
        }
    }
    (void)close(start[0]);
    (void)close(start[1]); /* all at once */
    (void)close(results[1]);
    for (unsigned i = 0; i < PROCESSES; i++)
        CHECK(support_wait(children[i]) == 0);
    struct tally all = { 0, 0, 0, 0 }, one;
    while (read(results[0], &one, sizeof one) == sizeof one) {
        all.created += one.created;
        all.opened += one.opened;
        all.exist += one.exist;
        all.absent += one.absent;
    }
    (void)printf("%llu rounds: %llu created, %llu opened, %llu existed, %llu not found\n",
                 (unsigned long long)(rounds * PROCESSES), (unsigned long long)all.created,
                 (unsigned long long)all.opened, (unsigned long long)all.exist, (unsigned long long)all.absent);
    /* Every outcome was met, or this shows little. */
    CHECK(all.created > 0 && all.opened > 0 && all.exist > 0 && all.absent > 0);
    CHECK(support_entries(dir, true) == 0);
    return 0;
}
