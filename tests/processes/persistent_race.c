/* Processes that make, open and remove the same two persistent sections at once: a name never means two sections that
 * are open, none that is open is removed, nothing written is lost, and exactly as many were removed as were made. */
#include "../naming/sections.h"

#include <sys/mman.h>

#define PROCESSES 4u
#define ROUNDS UINT64_C(120000)
#define IDS_MAX (UINT64_C(1) << 17)
#define SIZE UINT64_C(8192)

static const char *const names[] = { "Local/race-kept", "Global/race-kept" };
#define NAMES (sizeof names / sizeof names[0])

enum { CREATED, OPENED, EXIST, ABSENT, REMOVED, IN_USE, OUTCOMES };
static const char *const outcome_names[] = { "created", "opened", "existed", "not found", "removed", "in use" };

/* What is known, in memory that all share. */
static struct known {
    uint64_t next_id;
    uint64_t held[NAMES][PROCESSES]; /* the id of the section that a process has open under the name; 0: none */
    uint64_t written[IDS_MAX];       /* how often a section's counter was counted up */
    uint64_t outcomes[NAMES][OUTCOMES];
} *known;

#define GET(at) __atomic_load_n(&(at), __ATOMIC_SEQ_CST)
#define SET(at, value) __atomic_store_n(&(at), value, __ATOMIC_SEQ_CST)
#define ADD(at) __atomic_add_fetch(&(at), 1, __ATOMIC_SEQ_CST)

/* The content: who it is, and a counter at its end. */
struct content {
    uint64_t id;
    uint64_t zero[SIZE / 8 - 2];
    uint64_t counter;
};
_Static_assert(sizeof(struct content) == SIZE, "the size of a section");

static weir_status fill(void *content, uint64_t size, void *arg)
{
    struct content *c = content;
    if (size != SIZE || c->id != 0 || c->counter != 0)
        return WEIR_E_CORRUPT;
    c->id = *(const uint64_t *)arg;
    return WEIR_OK;
}

/* Of a section just opened: counts in it (unless it is only looked at), and returns who it is. */
static uint64_t visit(weir_section *section, weir_access access)
{
    weir_view view;
    CHECK_OK(weir_view_map(&view, section, 0, 0, access));
    struct content *c = view.base;
    uint64_t id = c->id;
    CHECK(id > 0 && id < IDS_MAX && c->zero[0] == 0);
    uint64_t least = GET(known->written[id]);
    CHECK(GET(c->counter) >= least);
    if (access == WEIR_READ_WRITE) {
        (void)ADD(c->counter);
        (void)ADD(known->written[id]);
    }
    CHECK_OK(weir_view_unmap(&view));
    return id;
}

/* Whoever has the name open now has the same section. */
static void check_one(unsigned n, uint64_t id)
{
    for (unsigned p = 0; p < PROCESSES; p++) {
        uint64_t other = GET(known->held[n][p]);
        CHECK(other == 0 || other == id);
    }
}

static void count(unsigned n, int outcome)
{
    (void)ADD(known->outcomes[n][outcome]);
}

/* One call at random.  *held: what this process keeps open under the name. */
static void act(unsigned process, unsigned n, unsigned what, weir_section **held)
{
    uint64_t mine = ADD(known->next_id);
    weir_section_options options = { .flags = WEIR_PERSISTENT, .init = fill, .init_arg = &mine };
    weir_section *section = NULL;
    weir_status status;
    bool created = false, looks = what == 5;
    CHECK(mine < IDS_MAX);
    if (what < 2) {
        status = weir_section_remove(names[n]);
        CHECK(status == WEIR_OK || status == WEIR_E_NOT_FOUND || status == WEIR_E_IN_USE);
        CHECK(*held == NULL || status == WEIR_E_IN_USE);
        count(n, status == WEIR_OK ? REMOVED : status == WEIR_E_IN_USE ? IN_USE : ABSENT);
        return;
    }
    if (what == 2) {
        status = weir_section_create(&section, names[n], SIZE, &options);
        CHECK(status == WEIR_OK || status == WEIR_E_EXISTS);
        created = status == WEIR_OK;
    } else if (what == 3) {
        CHECK_OK(status = weir_section_open_or_create(&section, names[n], SIZE, &options, &created));
    } else {
        options = (weir_section_options){ .access = looks ? WEIR_READ_ONLY : WEIR_READ_WRITE };
        status = weir_section_open(&section, names[n], &options);
        CHECK(status == WEIR_OK || (status == WEIR_E_NOT_FOUND && *held == NULL));
    }
    count(n, created                       ? CREATED
             : status == WEIR_OK           ? OPENED
             : status == WEIR_E_NOT_FOUND ? ABSENT
                                           : EXIST);
    if (status != WEIR_OK)
        return;
    uint64_t id = visit(section, looks ? WEIR_READ_ONLY : WEIR_READ_WRITE);
    CHECK(!created || (id == mine && *held == NULL));
    CHECK(*held == NULL || GET(known->held[n][process]) == id);
    if (!looks) {
        SET(known->held[n][process], id);
        check_one(n, id);
    }
    if (*held == NULL && !looks) {
        *held = section; /* for some rounds */
        return;
    }
    CHECK_OK(weir_section_close(section));
}

static void let_go(unsigned process, unsigned n, weir_section **held)
{
    if (*held == NULL)
        return;
    check_one(n, GET(known->held[n][process]));
    SET(known->held[n][process], 0u);
    CHECK_OK(weir_section_close(*held));
    *held = NULL;
}

static void race(unsigned process, uint64_t rounds, uint64_t seed)
{
    weir_section *held[NAMES] = { NULL };
    for (uint64_t round = 0; round < rounds; round++) {
        uint64_t random = support_random(&seed);
        unsigned n = (unsigned)(random % NAMES);
        act(process, n, (unsigned)(random >> 8) % 6, &held[n]);
        if ((random >> 16) % 4 != 0)
            let_go(process, n, &held[n]);
    }
    for (unsigned n = 0; n < NAMES; n++)
        let_go(process, n, &held[n]);
}

/* What is left of a name, after all. */
static void check_end(unsigned n)
{
    weir_section *section;
    uint64_t *outcomes = known->outcomes[n];
    weir_status status = weir_section_open(&section, names[n], NULL);
    (void)printf("%s:", names[n]);
    for (int i = 0; i < OUTCOMES; i++) {
        (void)printf(" %llu %s", (unsigned long long)outcomes[i], outcome_names[i]);
        CHECK(outcomes[i] > 0); /* or this shows little */
    }
    (void)printf("\n");
    CHECK(status == WEIR_OK || status == WEIR_E_NOT_FOUND);
    CHECK(outcomes[CREATED] == outcomes[REMOVED] + (status == WEIR_OK ? 1 : 0));
    if (status != WEIR_OK)
        return;
    weir_view view;
    CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_ONLY));
    const struct content *c = view.base;
    CHECK(c->counter == known->written[c->id]);
    CHECK_OK(weir_view_unmap(&view));
    CHECK_STATUS(weir_section_remove(names[n]), WEIR_E_IN_USE);
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_section_remove(names[n]));
}

int main(void)
{
    const char *dir = support_shm_dir();
    uint64_t seed = support_seed(), rounds = support_count(ROUNDS) / PROCESSES + 1;
    pid_t children[PROCESSES];
    int start[2];
    char byte;
    known = mmap(NULL, sizeof *known, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(known != MAP_FAILED && pipe2(start, O_CLOEXEC) == 0);
    for (unsigned i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        CHECK(children[i] >= 0);
        if (children[i] == 0) {
            end_with_parent();
            (void)close(start[1]);
            CHECK(read(start[0], &byte, 1) == 0);
            race(i, rounds, seed + i * UINT64_C(0x9e3779b97f4a7c15));
            _exit(0);
        }
    }
    (void)close(start[0]);
    (void)close(start[1]); /* all at once */
    for (unsigned i = 0; i < PROCESSES; i++)
        CHECK(support_wait(children[i]) == 0);
    for (unsigned n = 0; n < NAMES; n++)
        check_end(n);
    CHECK(support_entries(dir, true) == 0);
    return 0;
}
