/* A producer's whole life, open to close, in single steps.  It is killed behind every store to the section: the
 * consumer then gets what was committed and the end, a successor opens the role and goes on, and nothing is CORRUPT. */
#include "ipc/channel_help.h"

#include <inttypes.h>
#include <sys/ptrace.h>

#define NAME "steps"
#define CAPACITY UINT64_C(4096)
#define CONTENT (WEIR_CHANNEL_DATA + CAPACITY)
#define SENT 4 /* messages in the life */

static void life(void)
{
    weir_channel *p;
    void *slot;
    CHECK_OK(weir_channel_open(&p, NAME, WEIR_PRODUCER, &(weir_channel_options){ .capacity = CAPACITY, .type.name = "t" }));
    CHECK_OK(send_id(p, 0, WEIR_NOWAIT));
    uint64_t id = 1;
    CHECK_OK(weir_send_more(p, &id, 8, WEIR_NOWAIT));
    id = 2;
    CHECK_OK(weir_reserve(p, 16, &slot, WEIR_NOWAIT));
    memcpy(slot, &id, 8);
    CHECK_OK(weir_commit(p, 8));
    id = 3;
    CHECK_OK(weir_send_more(p, &id, 8, WEIR_NOWAIT));
    CHECK_OK(weir_channel_close(p));
}

/* Steps the child until it has changed the section kill_at times, or taken steps_max steps, or is through; then it is
 * dead.  Returns the steps it took, *through whether it was through. */
static uint64_t step(pid_t child, struct third *keeper, uint64_t kill_at, uint64_t steps_max, bool *through)
{
    static unsigned char last[CONTENT];
    uint64_t changes = 0, steps = 0, seen = keeper->view.size;
    int state;
    weir_participant slot = weir_participant_glance(keeper->section, WEIR_CHANNEL_SLOT_PRODUCER);
    memcpy(last, keeper->view.base, seen);
    for (*through = false; changes < kill_at && steps < steps_max; steps++) {
        CHECK(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) == 0);
        CHECK(waitpid(child, &state, 0) == child);
        if (WIFEXITED(state)) {
            CHECK(WEXITSTATUS(state) == 0);
            *through = true;
            return steps;
        }
        CHECK(WIFSTOPPED(state) && WSTOPSIG(state) == SIGTRAP);
        if (keeper->view.size < CONTENT && weir_section_size(keeper->section) >= CONTENT) {
            CHECK_OK(weir_view_unmap(&keeper->view)); /* it has grown: that is a change, too */
            CHECK_OK(weir_view_map(&keeper->view, keeper->section, 0, CONTENT, WEIR_READ_WRITE));
            seen = CONTENT;
            memcpy(last, keeper->view.base, seen);
            changes++;
        }
        weir_participant now = weir_participant_glance(keeper->section, WEIR_CHANNEL_SLOT_PRODUCER);
        if (memcmp(last, keeper->view.base, seen) != 0 || now.presence != slot.presence) {
            memcpy(last, keeper->view.base, seen);
            slot = now;
            changes++;
        }
    }
    child_kill(child);
    return steps;
}

/* One life, killed at that change or step; false where it was through before. */
static bool try_life(bool consumer_first, uint64_t kill_at, uint64_t steps_max, uint64_t *steps)
{
    struct third keeper;
    /* Either the lane comes with this producer, or it was there. */
    weir_channel *c = open_as(NAME, WEIR_CONSUMER, consumer_first ? 0 : CAPACITY);
    third_open(&keeper, NAME);
    pid_t child = child_fork();
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
            _exit(SUPPORT_SKIP);
        (void)raise(SIGSTOP);
        life();
        _exit(0);
    }
    int state;
    CHECK(waitpid(child, &state, 0) == child);
    if (WIFEXITED(state) && WEXITSTATUS(state) == SUPPORT_SKIP)
        support_skip("ptrace(2) is forbidden here");
    CHECK(WIFSTOPPED(state) && WSTOPSIG(state) == SIGSTOP);
    bool through;
    *steps = step(child, &keeper, kill_at, steps_max, &through);

    weir_participant producer;
    CHECK_OK(weir_participant_look(keeper.section, WEIR_CHANNEL_SLOT_PRODUCER, &producer));
    CHECK(producer.presence != WEIR_ALIVE);
    weir_status end = producer.presence == WEIR_DEAD   ? WEIR_DIED
                      : producer.presence == WEIR_LEFT ? WEIR_CLOSED
                                                       : WEIR_EMPTY;
    CHECK(through == false || end == WEIR_CLOSED);
    uint64_t got = 0, count = 0;
    uint32_t len;
    weir_status status;
    while ((status = weir_receive(c, &got, sizeof got, &len, WEIR_NOWAIT)) == WEIR_OK) {
        CHECK(len == 8 && got == count);
        count++;
    }
    CHECK_STATUS(status, end);
    CHECK(count <= SENT && count != 2); /* 1 and 2 are a batch */
    CHECK(end != WEIR_CLOSED || count == SENT);
    CHECK(end != WEIR_EMPTY || count == 0);

    weir_channel *p;
    CHECK_OK(weir_channel_open(&p, NAME, WEIR_PRODUCER, &(weir_channel_options){ .capacity = CAPACITY, .type.name = "t" }));
    CHECK(facts_of(p).capacity == CAPACITY && strcmp(facts_of(p).type, "t") == 0);
    CHECK(facts_of(p).producer.generation == producer.generation + 1);
    for (uint64_t id = 0; id < 300; id++) { /* more than a lap */
        CHECK_OK(send_id(p, id, WEIR_NOWAIT));
        receive_id(c, id);
    }
    CHECK_OK(weir_channel_close(p));
    CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_CLOSED);
    CHECK_OK(weir_channel_close(c));
    third_close(&keeper);
    return !through;
}

int main(void)
{
    const char *dir = support_shm_dir();
    uint64_t seed = support_seed(), lives = 0;
    for (int first = support_count(100) < 100; first < 2; first++) { /* where all is slow, only the longer one */
        uint64_t steps, all = 0, changes = 1;
        while (try_life(first != 0, changes, UINT64_MAX, &steps))
            changes++;
        all = steps;
        CHECK(changes > 8);
        lives += changes;
        for (uint64_t i = support_count(10); i > 0; i--, lives++)
            (void)try_life(first != 0, UINT64_MAX, support_random(&seed) % all, &steps);
        (void)printf("%s: %" PRIu64 " stores to the section in %" PRIu64 " steps\n",
                     first != 0 ? "the lane comes with the producer" : "the lane is there", changes - 1, all);
    }
    CHECK(support_entries(dir, true) == 0);
    (void)printf("lives=%" PRIu64 "\n", lives);
    return 0;
}
