#include "sections.h"

#include <weir/naming/os_linux.h>
#include <weir/naming/section_layout.h>

#include <criterion/criterion.h>

#define SLOTS 8u
#define NAME "Local/present"

static const weir_section_options with_slots = { .slots = SLOTS };

static weir_section *create(void)
{
    weir_section *section;
    CHECK_OK(weir_section_create(&section, NAME, 4096, &with_slots));
    return section;
}

static weir_section *open_again(void)
{
    weir_section *section;
    CHECK_OK(weir_section_open(&section, NAME, NULL));
    return section;
}

static uint32_t claim(weir_section *section, uint32_t first, uint32_t count, weir_participant *before)
{
    CHECK_OK(weir_participant_claim(section, first, count, before));
    cr_assert(before->slot >= first && before->slot < first + count);
    return before->slot;
}

static uint32_t join(weir_section *section, uint32_t first, uint32_t count)
{
    weir_participant before;
    uint32_t slot = claim(section, first, count, &before);
    CHECK_OK(weir_participant_join(section, &before));
    return slot;
}

static void check_look(weir_section *section, uint32_t slot, weir_presence presence, uint32_t generation,
                       uint32_t deaths)
{
    weir_participant seen;
    CHECK_OK(weir_participant_look(section, slot, &seen));
    cr_assert(seen.slot == slot && seen.presence == presence && seen.generation == generation &&
                  seen.deaths == deaths,
              "slot %u: presence %d, generation %u, deaths %u; not %d, %u, %u", seen.slot, seen.presence,
              seen.generation, seen.deaths, presence, generation, deaths);
}

/* A child that joins a slot of [0, SLOTS) with a handle of its own and waits. */
static void join_in_child(void *arg)
{
    weir_section **section = arg;
    *section = open_again();
    (void)join(*section, 0, SLOTS);
}

static void leave_in_child(void *arg)
{
    weir_section **section = arg;
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        if (weir_participant_leave(*section, slot) == WEIR_OK)
            _exit(0); /* without close */
    _exit(1);
}

static void close_in_child(void *arg)
{
    weir_section **section = arg;
    CHECK_OK(weir_section_close(*section));
}

Test(participant, a_new_sections_slots_are_absent)
{
    support_shm_dir();
    weir_section *section = create();
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        check_look(section, slot, WEIR_ABSENT, 0, 0);
        weir_participant seen = weir_participant_glance(section, slot);
        cr_assert(seen.slot == slot && seen.presence == WEIR_ABSENT && seen.generation == 0 && seen.deaths == 0);
    }
    CHECK_OK(weir_section_close(section));
}

Test(participant, joining_and_leaving_is_seen_by_another_handle_with_its_generation)
{
    support_shm_dir();
    weir_section *section = create(), *other = open_again();
    for (uint32_t generation = 1; generation <= 5; generation++) {
        weir_participant before;
        cr_assert_eq(claim(section, 3, 1, &before), 3);
        cr_assert_eq(before.generation, generation - 1);
        cr_assert_eq(before.presence, generation == 1 ? WEIR_ABSENT : WEIR_LEFT);
        CHECK_OK(weir_participant_join(section, &before));
        check_look(other, 3, WEIR_ALIVE, generation, 0);
        check_look(section, 3, WEIR_ALIVE, generation, 0); /* of itself: its own lock is invisible to it */
        cr_assert_eq(weir_participant_glance(other, 3).presence, WEIR_ALIVE);
        CHECK_OK(weir_participant_leave(section, 3));
        check_look(other, 3, WEIR_LEFT, generation, 0);
        check_look(section, 3, WEIR_LEFT, generation, 0);
        cr_assert_eq(weir_participant_glance(other, 3).presence, WEIR_LEFT);
    }
    check_look(other, 2, WEIR_ABSENT, 0, 0);
    check_look(other, 4, WEIR_ABSENT, 0, 0);
    CHECK_OK(weir_section_close(other));
    CHECK_OK(weir_section_close(section));
}

Test(participant, claim_takes_the_first_slot_of_its_range_that_nobody_has)
{
    support_shm_dir();
    weir_section *section = create(), *other = open_again();
    weir_participant before;
    cr_assert_eq(join(section, 2, 3), 2);
    cr_assert_eq(join(other, 2, 3), 3);
    cr_assert_eq(join(section, 2, 3), 4);
    CHECK_STATUS(weir_participant_claim(section, 2, 3, &before), WEIR_E_IN_USE);
    cr_assert(detail_has(NAME), "%s", weir_error_detail());
    CHECK_STATUS(weir_participant_claim(other, 2, 3, &before), WEIR_E_IN_USE);
    CHECK_OK(weir_participant_leave(other, 3));
    cr_assert_eq(claim(section, 2, 3, &before), 3);
    cr_assert_eq(claim(section, 7, 1, &before), 7);
    CHECK_STATUS(weir_participant_claim(section, 7, 1, &before), WEIR_E_IN_USE); /* by this handle, and not joined */
    CHECK_STATUS(weir_participant_claim(other, 7, 1, &before), WEIR_E_IN_USE);
    CHECK_OK(weir_section_close(other));
    CHECK_OK(weir_section_close(section));
}

Test(participant, all_256_slots_can_be_held_at_once)
{
    support_shm_dir();
    weir_section *section, *other;
    CHECK_OK(weir_section_create(&section, NAME, 4096, &(weir_section_options){ .slots = WEIR_SLOTS_MAX }));
    other = open_again();
    for (uint32_t slot = 0; slot < WEIR_SLOTS_MAX; slot++)
        cr_assert_eq(join(slot % 2 ? other : section, 0, WEIR_SLOTS_MAX), slot);
    weir_participant before;
    CHECK_STATUS(weir_participant_claim(section, 0, WEIR_SLOTS_MAX, &before), WEIR_E_IN_USE);
    for (uint32_t slot = 0; slot < WEIR_SLOTS_MAX; slot++)
        check_look(section, slot, WEIR_ALIVE, 1, 0);
    CHECK_OK(weir_section_close(other));
    for (uint32_t slot = 0; slot < WEIR_SLOTS_MAX; slot++)
        check_look(section, slot, slot % 2 ? WEIR_LEFT : WEIR_ALIVE, 1, 0);
    CHECK_OK(weir_section_close(section));
}

Test(participant, arguments_that_no_call_can_serve_are_refused_and_touch_nothing)
{
    support_shm_dir();
    weir_section *section = create(), *observer;
    weir_participant seen = { .slot = 99 }, fine;
    static const uint32_t ranges[][2] = { { 0, 0 },           { 0, SLOTS + 1 }, { SLOTS, 1 },         { SLOTS - 1, 2 },
                                          { UINT32_MAX, 1 },  { 1, UINT32_MAX }, { UINT32_MAX, UINT32_MAX } };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        CHECK_STATUS(weir_participant_claim(section, ranges[i][0], ranges[i][1], &seen), WEIR_E_INVALID);
    CHECK_STATUS(weir_participant_look(section, SLOTS, &seen), WEIR_E_INVALID);
    CHECK_STATUS(weir_participant_look(section, UINT32_MAX, &seen), WEIR_E_INVALID);
    CHECK_STATUS(weir_participant_leave(section, 0), WEIR_E_STATE);
    CHECK_STATUS(weir_participant_leave(section, SLOTS), WEIR_E_STATE);
    CHECK_STATUS(weir_participant_leave(section, UINT32_MAX), WEIR_E_STATE);
    CHECK_STATUS(weir_participant_join(section, &(weir_participant){ .slot = 0 }), WEIR_E_STATE);
    CHECK_STATUS(weir_participant_join(section, &(weir_participant){ .slot = UINT32_MAX }), WEIR_E_STATE);
    (void)claim(section, 1, 1, &fine);
    CHECK_OK(weir_participant_join(section, &fine));
    CHECK_STATUS(weir_participant_join(section, &fine), WEIR_E_STATE);
    check_look(section, 1, WEIR_ALIVE, 1, 0);
    CHECK_OK(weir_participant_leave(section, 1));
    CHECK_STATUS(weir_participant_leave(section, 1), WEIR_E_STATE);
    CHECK_STATUS(weir_participant_join(section, &fine), WEIR_E_STATE);
    check_look(section, 1, WEIR_LEFT, 1, 0);
    CHECK_OK(weir_section_open(&observer, NAME, &(weir_section_options){ .access = WEIR_READ_ONLY }));
    CHECK_STATUS(weir_participant_claim(observer, 0, 1, &seen), WEIR_E_PERMISSION);
    CHECK_STATUS(weir_participant_leave(observer, 0), WEIR_E_STATE);
    cr_assert_eq(seen.slot, 99);
    CHECK_OK(weir_section_close(observer));
    CHECK_OK(weir_section_close(section));
}

Test(participant, a_section_without_slots_has_none)
{
    support_shm_dir();
    weir_section *section;
    weir_participant seen;
    CHECK_OK(weir_section_create(&section, NAME, 4096, NULL));
    CHECK_STATUS(weir_participant_claim(section, 0, 1, &seen), WEIR_E_INVALID);
    CHECK_STATUS(weir_participant_look(section, 0, &seen), WEIR_E_INVALID);
    CHECK_OK(weir_section_close(section));
}

Test(participant, who_claims_and_does_not_join_leaves_no_trace)
{
    support_shm_dir();
    weir_section *section = create(), *other = open_again();
    weir_participant before;
    (void)claim(section, 0, 1, &before);
    check_look(other, 0, WEIR_ABSENT, 0, 0);
    CHECK_OK(weir_participant_leave(section, 0));
    check_look(other, 0, WEIR_ABSENT, 0, 0);
    (void)join(section, 0, 1);
    CHECK_OK(weir_participant_leave(section, 0));
    (void)claim(section, 0, 1, &before);
    check_look(other, 0, WEIR_LEFT, 1, 0);
    CHECK_OK(weir_participant_leave(section, 0));
    check_look(other, 0, WEIR_LEFT, 1, 0);
    (void)claim(section, 0, 1, &before); /* close gives it back too */
    CHECK_OK(weir_section_close(section));
    check_look(other, 0, WEIR_LEFT, 1, 0);
    cr_assert_eq(join(other, 0, 1), 0);
    check_look(other, 0, WEIR_ALIVE, 2, 0);
    CHECK_OK(weir_section_close(other));
}

Test(participant, a_dead_slot_that_was_claimed_and_given_back_is_as_dead_as_before)
{
    support_shm_dir();
    weir_section *section = create(), *other = open_again(), *child;
    holder h = holder_start(join_in_child, NULL, &child);
    holder_kill(&h);
    for (int i = 0; i < 3; i++) {
        weir_participant before;
        check_look(section, 0, WEIR_DEAD, 1, 1);
        (void)claim(section, 0, 1, &before);
        cr_assert(before.presence == WEIR_DEAD && before.generation == 1 && before.deaths == 1);
        check_look(other, 0, WEIR_DEAD, 1, 1); /* the claimer's lock does not hide the death */
        CHECK_OK(weir_participant_leave(section, 0));
        check_look(other, 0, WEIR_DEAD, 1, 1);
    }
    CHECK_OK(weir_section_close(other));
    CHECK_OK(weir_section_close(section));
}

Test(participant, a_killed_one_is_dead_and_each_death_is_counted_once)
{
    support_shm_dir();
    weir_section *section = create(), *child;
    for (uint32_t round = 1; round <= 6; round++) {
        holder h = holder_start(join_in_child, NULL, &child);
        check_look(section, 0, WEIR_ALIVE, round, round - 1);
        holder_kill(&h);
        check_look(section, 0, WEIR_DEAD, round, round);
        check_look(section, 0, WEIR_DEAD, round, round); /* looking changes nothing */
        cr_assert_eq(weir_participant_glance(section, 0).presence, WEIR_ALIVE);
        cr_assert_eq(weir_participant_glance(section, 0).deaths, round - 1);
    }
    weir_participant before;
    (void)claim(section, 0, SLOTS, &before);
    cr_assert(before.slot == 0 && before.presence == WEIR_DEAD && before.generation == 6 && before.deaths == 6);
    CHECK_OK(weir_participant_join(section, &before));
    check_look(section, 0, WEIR_ALIVE, 7, 6);
    CHECK_OK(weir_participant_leave(section, 0));
    check_look(section, 0, WEIR_LEFT, 7, 6);
    CHECK_OK(weir_section_close(section));
}

Test(participant, generations_and_deaths_wrap_around)
{
    const char *dir = support_shm_dir();
    weir_section *section = create();
    uint64_t word = UINT64_C(0xffffffff) << 32 | UINT64_C(0xffff) << 16 | WEIR_SLOT_PRESENT;
    int fd = open(section_path(dir, NAME).text, O_RDWR | O_CLOEXEC);
    cr_assert_eq(pwrite(fd, &word, 8, offsetof(weir_section_layout, slot) + 8 * 5), 8);
    (void)close(fd);
    check_look(section, 5, WEIR_DEAD, UINT32_MAX, 0);
    weir_participant before;
    (void)claim(section, 5, 1, &before);
    cr_assert(before.presence == WEIR_DEAD && before.generation == UINT32_MAX && before.deaths == 0);
    CHECK_OK(weir_participant_join(section, &before));
    check_look(section, 5, WEIR_ALIVE, 0, 0);
    CHECK_OK(weir_section_close(section));
}

Test(participant, one_who_leaves_or_closes_in_order_is_not_dead)
{
    support_shm_dir();
    weir_section *section = create(), *child;
    holder h = holder_start(join_in_child, leave_in_child, &child);
    holder_finish(&h); /* left, then ended without close */
    check_look(section, 0, WEIR_LEFT, 1, 0);
    h = holder_start(join_in_child, close_in_child, &child);
    holder_finish(&h);
    check_look(section, 0, WEIR_LEFT, 2, 0);
    h = holder_start(join_in_child, NULL, &child);
    holder_finish(&h); /* ended without either */
    check_look(section, 0, WEIR_DEAD, 3, 1);
    CHECK_OK(weir_section_close(section));
}

/* ---- another acts just before a call about a slot's lock ---- */

static int (*real_lock)(int fd, int command, struct flock *range);

static struct {
    int command;       /* which call: one that asks, or one that sets */
    short type;        /* and what */
    void (*act)(void); /* once */
    weir_section *peer;
} before_lock;

static int lock_behind_another(int fd, int command, struct flock *range)
{
    void (*act)(void) = before_lock.act;
    if (act != NULL && command == before_lock.command && range->l_type == before_lock.type &&
        range->l_start == WEIR_SLOT_FIRST) {
        before_lock.act = NULL;
        act();
    }
    return real_lock(fd, command, range);
}

static void watch_lock(int command, short type, void (*act)(void), weir_section *peer)
{
    before_lock.command = command;
    before_lock.type = type;
    before_lock.act = act;
    before_lock.peer = peer;
    real_lock = weir_linux.lock;
    weir_linux.lock = lock_behind_another;
}

static void watched(void)
{
    weir_linux.lock = real_lock;
    cr_assert_null(before_lock.act, "there was no such call");
}

static void peer_leaves(void)
{
    CHECK_OK(weir_participant_leave(before_lock.peer, 0));
}

static void peer_has_left(void)
{
    cr_assert_eq(weir_participant_glance(before_lock.peer, 0).presence, WEIR_LEFT);
}

Test(participant, one_who_leaves_between_the_look_at_its_word_and_at_its_lock_is_not_dead)
{
    support_shm_dir();
    weir_section *section = create(), *other = open_again();
    cr_assert_eq(join(other, 0, 1), 0);
    watch_lock(F_OFD_GETLK, F_WRLCK, peer_leaves, other);
    check_look(section, 0, WEIR_LEFT, 1, 0);
    watched();
    CHECK_OK(weir_section_close(other));
    CHECK_OK(weir_section_close(section));
}

Test(participant, one_who_leaves_just_before_its_slot_is_claimed_was_not_killed)
{
    support_shm_dir();
    weir_section *section = create(), *other = open_again();
    weir_participant before;
    cr_assert_eq(join(other, 0, 1), 0);
    watch_lock(F_OFD_SETLK, F_WRLCK, peer_leaves, other);
    CHECK_OK(weir_participant_claim(section, 0, 1, &before));
    watched();
    cr_assert(before.presence == WEIR_LEFT && before.generation == 1 && before.deaths == 0);
    check_look(other, 0, WEIR_LEFT, 1, 0);
    CHECK_OK(weir_section_close(other));
    CHECK_OK(weir_section_close(section));
}

Test(participant, who_leaves_says_so_before_its_slot_is_free)
{
    support_shm_dir();
    weir_section *section = create(), *other = open_again();
    for (int closes = 0; closes < 2; closes++) {
        cr_assert_eq(join(other, 0, 1), 0);
        watch_lock(F_OFD_SETLK, F_UNLCK, peer_has_left, section);
        CHECK_OK(closes ? weir_section_close(other) : weir_participant_leave(other, 0));
        watched();
    }
    CHECK_OK(weir_section_close(section));
}

Test(participant, one_that_ended_and_was_not_waited_for_is_dead)
{
    support_shm_dir();
    weir_section *section = create(), *child;
    holder h = holder_start(join_in_child, NULL, &child);
    cr_assert_eq(kill(h.pid, SIGKILL), 0);
    siginfo_t info;
    cr_assert_eq(waitid(P_PID, (id_t)h.pid, &info, WEXITED | WNOWAIT), 0); /* a zombie now */
    check_look(section, 0, WEIR_DEAD, 1, 1);
    cr_assert_eq(support_wait(h.pid), -SIGKILL);
    (void)close(h.go);
    CHECK_OK(weir_section_close(section));
}

Test(participant, a_stopped_one_is_alive)
{
    support_shm_dir();
    weir_section *section = create(), *child;
    holder h = holder_start(join_in_child, close_in_child, &child);
    cr_assert_eq(kill(h.pid, SIGSTOP), 0);
    int status;
    cr_assert_eq(waitpid(h.pid, &status, WUNTRACED), h.pid);
    cr_assert(WIFSTOPPED(status));
    weir_participant before;
    check_look(section, 0, WEIR_ALIVE, 1, 0);
    CHECK_STATUS(weir_participant_claim(section, 0, 1, &before), WEIR_E_IN_USE);
    cr_assert_eq(kill(h.pid, SIGCONT), 0);
    holder_finish(&h);
    check_look(section, 0, WEIR_LEFT, 1, 0);
    CHECK_OK(weir_section_close(section));
}

Test(participant, a_slot_of_another_process_is_in_use_until_it_ends)
{
    support_shm_dir();
    weir_section *section = create(), *child;
    weir_participant before;
    holder h = holder_start(join_in_child, NULL, &child);
    CHECK_STATUS(weir_participant_claim(section, 0, 1, &before), WEIR_E_IN_USE);
    cr_assert_eq(claim(section, 0, 2, &before), 1);
    holder_kill(&h);
    cr_assert_eq(claim(section, 0, 2, &before), 0);
    CHECK_OK(weir_section_close(section));
}

Test(participant, close_leaves_every_slot_that_the_handle_holds)
{
    support_shm_dir();
    weir_section *section = create(), *other = open_again();
    cr_assert_eq(join(other, 0, SLOTS), 0);
    cr_assert_eq(join(other, 5, 1), 5);
    cr_assert_eq(join(section, 6, 1), 6);
    CHECK_OK(weir_section_close(other));
    check_look(section, 0, WEIR_LEFT, 1, 0);
    check_look(section, 5, WEIR_LEFT, 1, 0);
    check_look(section, 6, WEIR_ALIVE, 1, 0);
    CHECK_OK(weir_section_close(section));
}

Test(participant, an_observer_sees_who_is_there_and_who_died)
{
    support_shm_dir();
    weir_section *section = create(), *observer, *child;
    CHECK_OK(weir_section_open(&observer, NAME, &(weir_section_options){ .access = WEIR_READ_ONLY }));
    check_look(observer, 0, WEIR_ABSENT, 0, 0);
    holder h = holder_start(join_in_child, NULL, &child);
    check_look(observer, 0, WEIR_ALIVE, 1, 0);
    holder_kill(&h);
    check_look(observer, 0, WEIR_DEAD, 1, 1);
    CHECK_OK(weir_section_close(observer));
    CHECK_OK(weir_section_close(section));
}

Test(participant, a_replaced_stale_section_knows_nobody_of_before)
{
    support_shm_dir();
    weir_section *section = create(), *child;
    holder h = holder_start(join_in_child, NULL, &child);
    CHECK_OK(weir_section_close(section));
    holder_kill(&h);
    section = create();
    check_look(section, 0, WEIR_ABSENT, 0, 0);
    CHECK_OK(weir_section_close(section));
}

Test(participant, a_forked_childs_copy_says_so_and_the_parent_stays_present)
{
    const char *dir = support_shm_dir();
    weir_section *section = create(), *other = open_again();
    weir_participant claimed;
    (void)join(section, 0, 1);
    (void)claim(section, 1, 1, &claimed);
    pid_t child = fork();
    if (child == 0) {
        weir_participant seen;
        CHECK_STATUS(weir_participant_claim(section, 2, 1, &seen), WEIR_E_FORKED);
        CHECK_STATUS(weir_participant_join(section, &claimed), WEIR_E_FORKED);
        CHECK_STATUS(weir_participant_leave(section, 0), WEIR_E_FORKED);
        CHECK_STATUS(weir_participant_look(section, 0, &seen), WEIR_E_FORKED);
        CHECK(detail_has(NAME));
        CHECK_OK(weir_section_close(section));
        _exit(0);
    }
    cr_assert_eq(support_wait(child), 0);
    check_look(other, 0, WEIR_ALIVE, 1, 0);
    CHECK_OK(weir_participant_join(section, &claimed));
    check_look(other, 1, WEIR_ALIVE, 1, 0);
    CHECK_OK(weir_section_close(other));
    CHECK_OK(weir_section_close(section));
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(participant, a_glance_in_a_forked_child_does_not_crash)
{
    support_shm_dir();
    weir_section *section = create();
    (void)join(section, 0, 1);
    pid_t child = fork();
    if (child == 0) {
        (void)weir_participant_glance(section, 0);
        _exit(0);
    }
    cr_assert_eq(support_wait(child), 0);
    CHECK_OK(weir_section_close(section));
}

Test(participant, errno_is_kept_by_calls_that_succeed_and_by_calls_that_fail)
{
    support_shm_dir();
    weir_section *section = create(), *other = open_again();
    weir_participant before, seen;
    CHECK_KEEPS_ERRNO(weir_participant_claim(section, 0, 1, &before), WEIR_OK);
    CHECK_KEEPS_ERRNO(weir_participant_claim(other, 0, 1, &seen), WEIR_E_IN_USE);
    CHECK_KEEPS_ERRNO(weir_participant_claim(other, 0, 99, &seen), WEIR_E_INVALID);
    CHECK_KEEPS_ERRNO(weir_participant_join(section, &before), WEIR_OK);
    CHECK_KEEPS_ERRNO(weir_participant_join(section, &before), WEIR_E_STATE);
    CHECK_KEEPS_ERRNO(weir_participant_look(other, 0, &seen), WEIR_OK);
    CHECK_KEEPS_ERRNO(weir_participant_look(other, 99, &seen), WEIR_E_INVALID);
    CHECK_KEEPS_ERRNO(weir_participant_leave(section, 0), WEIR_OK);
    CHECK_KEEPS_ERRNO(weir_participant_leave(section, 0), WEIR_E_STATE);
    CHECK_OK(weir_section_close(other));
    CHECK_OK(weir_section_close(section));
}
