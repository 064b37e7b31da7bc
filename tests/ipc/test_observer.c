/* Observers: what they see of channels of every kind, every status, any bytes, and that they leave no trace. */
#include "ipc/kinds_help.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <weir/ipc/channel_private.h>
#include <weir/naming/os_linux.h>

#define NAME "watched"

struct seen {
    weir_member member[WEIR_CHANNEL_PLACES_MAX];
    uint32_t count;
};

static struct seen look(weir_observer *o)
{
    struct seen seen = { .count = 0 };
    CHECK_OK(weir_observer_members(o, seen.member, WEIR_CHANNEL_PLACES_MAX, &seen.count));
    return seen;
}

static weir_observer *observe(void)
{
    weir_observer *o = NULL;
    CHECK_OK(weir_observer_open(&o, NAME, NULL));
    return o;
}

static void open_says(weir_status expected, const char *name, const weir_section_options *options)
{
    weir_observer *o = NULL;
    CHECK_STATUS(weir_observer_open(&o, name, options), expected);
    if (expected == WEIR_OK)
        CHECK_OK(weir_observer_close(o));
    else
        CHECK(o == NULL && weir_error_detail()[0] != 0);
}

static uint64_t wall_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ---- statuses ---- */

Test(observer, open_says_what_stands_there)
{
    const char *dir = support_shm_dir();
    char path[512];
    CHECK_STATUS(weir_observer_open(NULL, NAME, NULL), WEIR_E_INVALID);
    open_says(WEIR_E_INVALID, NAME, &(weir_section_options){ .slots = WEIR_SLOTS_MAX + 1 });
    open_says(WEIR_E_NOT_FOUND, NAME, NULL);
    open_says(WEIR_E_NAME, "a/b", NULL);
    weir_section *section;
    CHECK_OK(weir_section_create(&section, NAME, 65536, &(weir_section_options){ .content = 7 }));
    open_says(WEIR_E_MISMATCH, NAME, NULL);
    CHECK_OK(weir_section_close(section));
    (void)snprintf(path, sizeof path, "%s/weir-g.%s", dir, NAME);
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, "no section", 10) == 10);
    open_says(WEIR_E_NOT_WEIR, "Global/" NAME, NULL);
    (void)close(fd);
    CHECK(unlink(path) == 0);
    weir_channel *p = open_as(NAME, WEIR_PRODUCER, 4096);
    open_says(WEIR_OK, NAME, NULL);
    open_says(WEIR_OK, NAME, &(weir_section_options){ .mode = 0600 });
    open_says(WEIR_E_PERMISSION, NAME,
              &(weir_section_options){ .flags = WEIR_EXPECT_OWNER, .owner = geteuid() + 1 });
    CHECK_OK(weir_channel_close(p));
    open_says(WEIR_E_NOT_FOUND, NAME, NULL);
    CHECK_OK(weir_observer_close(NULL));
}

Test(observer, open_refuses_a_channel_that_is_none)
{
    (void)support_shm_dir();
    static const struct {
        uint64_t size;
        uint32_t slots, flags;
    } made[] = { { 4095, 3, 0 }, { 1, 3, 0 }, { 12288, 3, WEIR_RESERVE }, { 12288, 2, 0 }, { 12288, 0, 0 } };
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
        weir_section *section;
        weir_view view;
        weir_section_options options = { .content = WEIR_CHANNEL_CONTENT, .slots = made[i].slots,
                                         .flags = made[i].flags };
        CHECK_OK(weir_section_create(&section, NAME, made[i].size, &options));
        if (made[i].slots < 3) { /* what is left to refuse is the slots */
            CHECK_OK(weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE));
            weir_channel_layout *layout = view.base;
            layout->version = WEIR_CHANNEL_VERSION;
            layout->kind = WEIR_SPSC;
            layout->producers = layout->consumers = 1;
            CHECK_OK(weir_view_unmap(&view));
        }
        open_says(WEIR_E_CORRUPT, NAME, NULL);
        CHECK_OK(weir_section_close(section));
    }
    weir_channel *p = open_as(NAME, WEIR_PRODUCER, 4096);
    struct third third;
    third_open(&third, NAME);
    weir_channel_layout *layout = third.layout;
    static const uint32_t numbers[] = { 0, 2, 127, 128, UINT32_MAX };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        layout->version = numbers[i];
        open_says(WEIR_E_VERSION, NAME, NULL);
        layout->version = WEIR_CHANNEL_VERSION;
        layout->producers = numbers[i];
        open_says(WEIR_E_CORRUPT, NAME, NULL);
        layout->producers = 1;
        layout->consumers = numbers[i];
        open_says(WEIR_E_CORRUPT, NAME, NULL);
        layout->kind = 99; /* which might have many, but has no slots for them */
        open_says(WEIR_E_CORRUPT, NAME, NULL);
        layout->kind = WEIR_SPSC;
        layout->consumers = 1;
    }
    layout->full_fence = 2;
    open_says(WEIR_E_CORRUPT, NAME, NULL);
    layout->full_fence = 0;
    weir_observer *o = observe();
    weir_store_rlx(&layout->type_len, WEIR_TYPE_MAX + 1);
    weir_channel_facts facts;
    CHECK_STATUS(weir_observer_channel(o, &facts), WEIR_E_CORRUPT);
    CHECK(look(o).count == 1);
    CHECK_OK(weir_observer_close(o));
    third_close(&third);
    CHECK_OK(weir_channel_close(p));
}

Test(observer, calls_without_a_place_for_their_answer_are_invalid_and_busy_inside_another)
{
    (void)support_shm_dir();
    weir_channel *p = open_as(NAME, WEIR_PRODUCER, 4096);
    weir_observer *o = observe();
    weir_member member;
    weir_channel_facts facts;
    uint32_t count = 0;
    CHECK_STATUS(weir_observer_channel(o, NULL), WEIR_E_INVALID);
    CHECK_STATUS(weir_observer_channel(NULL, &facts), WEIR_E_INVALID);
    CHECK_STATUS(weir_observer_members(o, NULL, 1, &count), WEIR_E_INVALID);
    CHECK_STATUS(weir_observer_members(o, &member, 1, NULL), WEIR_E_INVALID);
    CHECK_STATUS(weir_observer_members(NULL, &member, 1, &count), WEIR_E_INVALID);
    CHECK_STATUS(weir_channel_members(p, NULL, 1, &count), WEIR_E_INVALID);
    CHECK_STATUS(weir_channel_members(p, &member, 1, NULL), WEIR_E_INVALID);
    CHECK_OK(weir_observer_members(o, NULL, 0, &count)); /* how many are there? */
    CHECK(count == 1);
    p->busy = 1; /* as a handler finds it */
    CHECK_STATUS(weir_channel_members(p, &member, 1, &count), WEIR_E_BUSY);
    p->busy = 0;
    CHECK_OK(weir_channel_members(p, &member, 1, &count));
    CHECK(count == 1 && member.presence == WEIR_ALIVE);
    CHECK_OK(weir_observer_close(o));
    CHECK_OK(weir_channel_close(p));
}

Test(observer, a_forked_child_is_told_so_and_closes_its_copy)
{
    (void)support_shm_dir();
    weir_channel *p = open_as(NAME, WEIR_PRODUCER, 4096);
    weir_observer *o = observe();
    pid_t child = child_fork();
    if (child == 0) {
        weir_member member;
        weir_channel_facts facts;
        uint32_t count;
        CHECK_STATUS(weir_observer_members(o, &member, 1, &count), WEIR_E_FORKED);
        CHECK_STATUS(weir_observer_channel(o, &facts), WEIR_E_FORKED);
        CHECK_STATUS(weir_channel_members(p, &member, 1, &count), WEIR_E_FORKED);
        CHECK_OK(weir_observer_close(o));
        CHECK_OK(weir_channel_close(p));
        _exit(0);
    }
    CHECK(support_wait(child) == 0);
    CHECK(look(o).count == 1);
    CHECK_OK(weir_observer_close(o));
    CHECK_OK(weir_channel_close(p));
}

static int (*real_lock)(int fd, int command, struct flock *range);
static void *(*real_mmap)(void *at, size_t len, int protection, int flags, int fd, off_t off);
static int maps_left;

static int no_lock(int fd, int command, struct flock *range)
{
    if (command != F_OFD_GETLK)
        return real_lock(fd, command, range);
    errno = EIO;
    return -1;
}

static void *no_map(void *at, size_t len, int protection, int flags, int fd, off_t off)
{
    if (maps_left-- > 0)
        return real_mmap(at, len, protection, flags, fd, off);
    errno = ENOMEM;
    return MAP_FAILED;
}

Test(observer, a_system_that_refuses_is_a_status)
{
    (void)support_shm_dir();
    weir_channel *p = open_as(NAME, WEIR_PRODUCER, 4096);
    weir_observer *o = observe();
    weir_channel_facts facts;
    uint32_t count;
    real_lock = weir_linux.lock;
    real_mmap = weir_linux.mmap;
    weir_linux.lock = no_lock;
    CHECK_STATUS(weir_observer_members(o, NULL, 0, &count), WEIR_E_OS);
    CHECK_STATUS(weir_observer_channel(o, &facts), WEIR_E_OS);
    weir_linux.lock = real_lock;
    weir_linux.mmap = no_map;
    for (maps_left = 0; maps_left < 2; maps_left++) {
        weir_observer *none = NULL;
        int left = maps_left;
        CHECK_STATUS(weir_observer_open(&none, NAME, NULL), WEIR_E_NO_MEMORY);
        CHECK(none == NULL);
        maps_left = left;
    }
    struct third third; /* it grows: more is to be mapped */
    weir_linux.mmap = real_mmap;
    third_open(&third, NAME);
    CHECK_OK(weir_section_extend(third.section, weir_section_size(third.section) + 65536));
    weir_linux.mmap = no_map;
    maps_left = 0;
    CHECK_STATUS(weir_observer_members(o, NULL, 0, &count), WEIR_E_NO_MEMORY);
    maps_left = 0;
    CHECK_STATUS(weir_observer_channel(o, &facts), WEIR_E_NO_MEMORY);
    weir_linux.mmap = real_mmap;
    CHECK(look(o).count == 1);
    third_close(&third);
    CHECK_OK(weir_observer_close(o));
    CHECK_OK(weir_channel_close(p));
}

/* ---- every kind ---- */

static void check_same_facts(weir_observer *o, weir_channel *channel)
{
    weir_channel_facts seen, own = facts_of(channel);
    CHECK_OK(weir_observer_channel(o, &seen));
    CHECK(seen.kind == own.kind && seen.capacity == own.capacity && seen.record_max == own.record_max);
    CHECK(strcmp(seen.type, own.type) == 0 && seen.type_size == own.type_size &&
          seen.type_alignment == own.type_alignment && seen.type_version == own.type_version);
    CHECK(memcmp(&seen.producer, &own.producer, sizeof own.producer) == 0);
    CHECK(memcmp(&seen.consumer, &own.consumer, sizeof own.consumer) == 0);
    CHECK(seen.producers == own.producers && seen.consumers == own.consumers);
    CHECK(seen.producers_alive == own.producers_alive && seen.consumers_alive == own.consumers_alive);
    CHECK(seen.messages == 0 && seen.full == 0 && seen.slot == 0);
}

static void check_position(const struct kind_row *k, const weir_member *m, uint64_t sent)
{
    static const weir_position of_producers[] = {
        [WEIR_SPSC] = WEIR_POSITION_NONE,          [WEIR_MPSC] = WEIR_POSITION_RELEASED,
        [WEIR_MPSC_ORDERED] = WEIR_POSITION_RELEASED, [WEIR_MPMC] = WEIR_POSITION_CLAIMED,
        [WEIR_BROADCAST] = WEIR_POSITION_PUBLISHED, [WEIR_BROADCAST_GATED] = WEIR_POSITION_RELEASED,
        [WEIR_LATEST] = WEIR_POSITION_PUBLISHED,
    };
    static const weir_position of_consumers[] = {
        [WEIR_SPSC] = WEIR_POSITION_RELEASED,  [WEIR_BROADCAST] = WEIR_POSITION_READ,
        [WEIR_BROADCAST_GATED] = WEIR_POSITION_RELEASED, [WEIR_LATEST] = WEIR_POSITION_READ,
    };
    weir_position expected = m->role == WEIR_PRODUCER ? of_producers[k->kind] : of_consumers[k->kind];
    cr_assert_eq((int)m->position_is, (int)expected, "%s, role %d: %d", k->name, (int)m->role, (int)m->position_is);
    switch (k->kind) { /* records of 8 bytes take 16 and, of mpsc-ordered, a stamp */
    case WEIR_SPSC: CHECK(m->position == (m->role == WEIR_CONSUMER ? 16 * sent : 0)); break;
    case WEIR_MPSC: CHECK(m->position == (m->role == WEIR_PRODUCER ? 16 * sent : 0)); break;
    case WEIR_MPSC_ORDERED: CHECK(m->position == (m->role == WEIR_PRODUCER ? 24 * sent : 0)); break;
    case WEIR_MPMC: CHECK(m->position == (m->role == WEIR_PRODUCER ? sent : 0)); break;
    case WEIR_BROADCAST: CHECK(m->role == WEIR_PRODUCER ? m->position <= 24 * sent : m->position == sent); break;
    case WEIR_BROADCAST_GATED: CHECK(m->position <= 16 * sent && (m->role == WEIR_PRODUCER || m->position == 16 * sent)); break;
    case WEIR_LATEST: CHECK(m->position == sent); break;
    }
}

Test(observer, sees_who_is_there_and_what_they_have_counted_in_channels_of_every_kind)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k) {
        uint64_t from = wall_ns(), process, pid_space;
        weir_channel *p = NULL, *c = NULL;
        weir_os_process(&process, &pid_space);
        weir_channel_options options = { .kind = k->kind, .capacity = 4096, .type.name = "t", .identity = 1001 };
        CHECK_OK(weir_channel_open(&p, NAME, WEIR_PRODUCER, &options));
        weir_observer *o = observe();
        options.identity = 2002;
        CHECK_OK(weir_channel_open(&c, NAME, WEIR_CONSUMER, &options));
        for (uint64_t id = 0; id < 3; id++) {
            CHECK_OK(send_id(p, id, WEIR_NOWAIT));
            receive_id(c, id);
        }
        (void)receive_nothing(c, WEIR_NOWAIT); /* says so far it has read */
        struct seen seen = look(o), own = { .count = 0 };
        CHECK(seen.count == 2 && seen.member[0].role == WEIR_PRODUCER && seen.member[1].role == WEIR_CONSUMER);
        for (int i = 0; i < 2; i++) {
            const weir_member *m = &seen.member[i];
            CHECK(m->known && m->presence == WEIR_ALIVE && m->generation == 1 && m->deaths == 0 && m->place == 0);
            CHECK(m->process == process && process == (uint64_t)getpid() && m->pid_space == pid_space && pid_space != 0);
            CHECK(m->identity == (i == 0 ? 1001u : 2002u));
            CHECK(m->since_ns >= from && m->since_ns <= wall_ns());
            CHECK(m->held.messages == 3 && m->all.messages == 3 && m->held.full == 0 && m->held.lost == 0);
            check_position(k, m, 3);
        }
        check_same_facts(o, c);
        check_same_facts(o, p);
        weir_channel *const both[] = { p, c };
        for (int i = 0; i < 2; i++) {
            CHECK_OK(weir_channel_members(both[i], own.member, WEIR_CHANNEL_PLACES_MAX, &own.count));
            CHECK(own.count == 2 && memcmp(own.member, seen.member, 2 * sizeof own.member[0]) == 0);
        }
        /* One goes and another comes: the counts of the place go on, the holder's begin again. */
        CHECK_OK(weir_channel_close(c));
        seen = look(o);
        CHECK(seen.member[1].presence == WEIR_LEFT && seen.member[1].known && seen.member[1].held.messages == 3);
        CHECK(seen.member[1].identity == 2002);
        options.identity = 0;
        CHECK_OK(weir_channel_open(&c, NAME, WEIR_CONSUMER, &options));
        CHECK_OK(send_id(p, 3, WEIR_NOWAIT));
        uint64_t got = 0, again = 0; /* of broadcast it may begin with some that were there before */
        for (uint32_t len = 0; got != 3; again++)
            CHECK_OK(weir_receive(c, &got, sizeof got, &len, HELP_DEADLINE));
        seen = look(o);
        CHECK(seen.member[1].generation == 2 && seen.member[1].presence == WEIR_ALIVE && seen.member[1].identity == 0);
        CHECK(seen.member[1].held.messages == again && seen.member[1].all.messages == 3 + again);
        CHECK(weir_members_total(seen.member, seen.count, WEIR_PRODUCER).messages == 4);
        CHECK(weir_members_total(seen.member, seen.count, WEIR_CONSUMER).messages == 3 + again);
        CHECK_OK(weir_channel_close(c));
        CHECK_OK(weir_channel_close(p));
        seen = look(o); /* the section is gone, what is mapped is not */
        CHECK(seen.member[0].presence == WEIR_LEFT && seen.member[1].presence == WEIR_LEFT);
        CHECK_OK(weir_observer_close(o));
    }
}

Test(observer, counts_of_full_sleeps_and_losses_are_seen)
{
    (void)support_shm_dir();
    weir_status last;
    weir_channel *p = open_as(NAME, WEIR_PRODUCER, 4096), *c = open_as(NAME, WEIR_CONSUMER, 0);
    weir_observer *o = observe();
    (void)send_until_full(p, 0, &last);
    CHECK_STATUS(last, WEIR_FULL);
    CHECK_STATUS(send_id(p, 0, WEIR_MILLISECONDS(1)), WEIR_TIMEOUT);
    struct seen seen = look(o);
    CHECK(seen.member[0].held.full == 2 && seen.member[0].held.slept >= 1 && seen.member[0].held.woken == 0);
    CHECK_OK(weir_channel_close(c));
    CHECK_OK(weir_channel_close(p));
    CHECK_OK(weir_observer_close(o));
    p = open_kind(NAME, WEIR_BROADCAST, WEIR_PRODUCER, 4096);
    c = open_kind(NAME, WEIR_BROADCAST, WEIR_CONSUMER, 0);
    o = observe();
    for (uint64_t id = 0; id < 1000; id++)
        CHECK_OK(send_id(p, id, WEIR_NOWAIT));
    CHECK_OK(receive_nothing(c, WEIR_NOWAIT));
    seen = look(o);
    CHECK(seen.member[1].held.lost == message_of(c).lost && seen.member[1].held.lost > 500);
    CHECK(seen.member[0].position_is == WEIR_POSITION_PUBLISHED && seen.member[0].position > 10000);
    CHECK_OK(weir_channel_close(c));
    CHECK_OK(weir_channel_close(p));
    CHECK_OK(weir_observer_close(o));
}

/* A consumer that comes first: no ring yet; then lanes that come one by one behind what the observer has mapped. */
Test(observer, sees_a_ring_and_lanes_that_come_later)
{
    (void)support_shm_dir();
    weir_channel *c = open_kind(NAME, WEIR_MPSC, WEIR_CONSUMER, 0), *p[5];
    weir_observer *o = observe();
    weir_channel_facts facts;
    CHECK_OK(weir_observer_channel(o, &facts));
    CHECK(facts.capacity == 0 && facts.producers == WEIR_MEMBERS_DEFAULT && facts.consumers_alive == 1);
    CHECK(look(o).count == 1 && look(o).member[0].position_is == WEIR_POSITION_NONE);
    for (uint64_t i = 0; i < 5; i++) {
        p[i] = open_kind(NAME, WEIR_MPSC, WEIR_PRODUCER, 8192);
        for (uint64_t id = 0; id <= i; id++) {
            CHECK_OK(send_id(p[i], id, WEIR_NOWAIT));
            receive_id(c, id);
        }
        struct seen seen = look(o);
        CHECK(seen.count == i + 2 && seen.member[i].role == WEIR_PRODUCER && seen.member[i].place == i);
        CHECK(seen.member[i].position_is == WEIR_POSITION_RELEASED && seen.member[i].position == (i + 1) * 16);
        CHECK(seen.member[i + 1].role == WEIR_CONSUMER && seen.member[i + 1].place == 0);
    }
    CHECK_OK(weir_observer_channel(o, &facts));
    CHECK(facts.capacity == 8192 && facts.producers_alive == 5);
    struct seen few = { .count = 0 };
    CHECK_OK(weir_observer_members(o, few.member, 2, &few.count));
    CHECK(few.count == 6 && few.member[1].place == 1 && few.member[2].role == 0);
    for (int i = 0; i < 5; i++)
        CHECK_OK(weir_channel_close(p[i]));
    CHECK_OK(weir_channel_close(c));
    CHECK_OK(weir_observer_close(o));
}

Test(observer, shows_a_channel_of_a_kind_that_this_library_does_not_know)
{
    (void)support_shm_dir();
    weir_channel *p = open_as(NAME, WEIR_PRODUCER, 4096);
    struct third third;
    third_open(&third, NAME);
    CHECK_OK(send_id(p, 1, WEIR_NOWAIT));
    third.layout->kind = 99;
    weir_observer *o = observe();
    weir_channel_facts facts;
    CHECK_OK(weir_observer_channel(o, &facts));
    CHECK((uint32_t)facts.kind == 99 && facts.producers == 1 && facts.producers_alive == 1 && facts.capacity == 0);
    struct seen seen = look(o);
    CHECK(seen.count == 1 && seen.member[0].known && seen.member[0].held.messages == 1);
    CHECK(seen.member[0].position_is == WEIR_POSITION_NONE);
    CHECK_OK(weir_observer_close(o));
    third_close(&third);
    CHECK_OK(weir_channel_close(p));
}

/* ---- deaths, and those who were refused ---- */

static void sends_two(weir_channel *p)
{
    CHECK_OK(send_id(p, 0, WEIR_NOWAIT));
    CHECK_OK(send_id(p, 1, WEIR_NOWAIT));
}

Test(observer, sees_a_member_die_and_what_it_had_counted)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k) {
        pid_t child = child_stands(NAME, WEIR_PRODUCER, (weir_channel_options){ .kind = k->kind, .identity = 7 }, sends_two);
        weir_observer *o = observe();
        struct seen seen = look(o);
        CHECK(seen.count == 1 && seen.member[0].presence == WEIR_ALIVE);
        CHECK(kill(child, SIGSTOP) == 0); /* a stopped one lives */
        CHECK(look(o).member[0].presence == WEIR_ALIVE);
        child_kill(child);
        seen = look(o);
        CHECK(seen.member[0].presence == WEIR_DEAD && seen.member[0].deaths == 1 && seen.member[0].generation == 1);
        CHECK(seen.member[0].known && seen.member[0].process == (uint64_t)child && seen.member[0].identity == 7);
        CHECK(seen.member[0].held.messages == 2);
        CHECK_OK(weir_observer_close(o));
        CHECK_OK(weir_section_remove(NAME));
    }
}

Test(observer, does_not_take_one_who_was_refused_for_the_last_holder)
{
    (void)support_shm_dir();
    weir_channel *p = NULL;
    CHECK_OK(weir_channel_open(&p, NAME, WEIR_PRODUCER, &(weir_channel_options){ .capacity = 4096, .identity = 5 }));
    CHECK_OK(send_id(p, 1, WEIR_NOWAIT));
    weir_observer *o = observe();
    struct third third;
    third_open(&third, NAME); /* so that it stays */
    CHECK_OK(weir_channel_close(p));
    CHECK(look(o).member[0].known && look(o).member[0].identity == 5);
    weir_channel_options options = { .record_bytes = 1 << 20, .identity = 6 };
    CHECK_STATUS(try_open(NAME, WEIR_PRODUCER, options), WEIR_E_TOO_LARGE); /* its number was stated before */
    struct seen seen = look(o);
    CHECK(seen.member[0].presence == WEIR_LEFT && seen.member[0].generation == 1 && !seen.member[0].known);
    CHECK(seen.member[0].identity == 0 && seen.member[0].process == 0 && seen.member[0].held.messages == 0);
    CHECK(seen.member[0].all.messages == 1);
    p = open_as(NAME, WEIR_PRODUCER, 0);
    CHECK(look(o).member[0].known && look(o).member[0].generation == 2 && look(o).member[0].identity == 0);
    CHECK_OK(weir_channel_close(p));
    third_close(&third);
    CHECK_OK(weir_observer_close(o));
}

/* ---- no trace ---- */

static size_t file_bytes(const char *path, unsigned char *bytes, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    ssize_t len = pread(fd, bytes, size, 0);
    CHECK(len > 0);
    (void)close(fd);
    return (size_t)len;
}

/* The locks on that file, as /proc/locks has them: how many for writing, and for reading. */
static void locks_of(const char *path, unsigned *writes, unsigned *reads)
{
    struct stat st;
    char line[256], inode[64];
    CHECK(stat(path, &st) == 0);
    (void)snprintf(inode, sizeof inode, " %02x:%02x:%llu ", major(st.st_dev), minor(st.st_dev),
                   (unsigned long long)st.st_ino);
    FILE *file = fopen("/proc/locks", "re");
    CHECK(file != NULL);
    *writes = *reads = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        *writes += strstr(line, inode) != NULL && strstr(line, "WRITE") != NULL;
        *reads += strstr(line, inode) != NULL && strstr(line, "READ") != NULL;
    }
    (void)fclose(file);
}

/* Others lock and unlock meanwhile, and the system then skips lines or shows them twice: so it may look again. */
static void check_locks(const char *path, unsigned writes, unsigned reads)
{
    unsigned writes_now = 0, reads_now = 0;
    for (int look = 0; look < 500; look++) {
        locks_of(path, &writes_now, &reads_now);
        if (writes_now == writes && reads_now == reads)
            return;
        (void)usleep(1000);
    }
    cr_assert_fail("%u locks for writing and %u for reading, not %u and %u", writes_now, reads_now, writes, reads);
}

Test(observer, leaves_no_trace_and_keeps_nothing_alive)
{
    const char *dir = support_shm_dir();
    static unsigned char before[1 << 20], after[1 << 20];
    char path[512];
    weir_channel_facts facts;
    (void)snprintf(path, sizeof path, "%s/weir-u.%u/%s", dir, (unsigned)geteuid(), NAME);
    FOR_EACH_KIND(k) {
        weir_channel *p = open_kind(NAME, k->kind, WEIR_PRODUCER, 4096), *c = open_kind(NAME, k->kind, WEIR_CONSUMER, 0);
        CHECK_OK(send_id(p, 1, WEIR_NOWAIT));
        size_t len = file_bytes(path, before, sizeof before);
        check_locks(path, 2, 2); /* a place and a life each */
        weir_observer *o = observe();
        (void)look(o);
        CHECK_OK(weir_observer_channel(o, &facts));
        CHECK(file_bytes(path, after, sizeof after) == len && memcmp(before, after, len) == 0);
        check_locks(path, 2, 3); /* it can be counted */
        CHECK_OK(weir_observer_close(o));
        check_locks(path, 2, 2);
        CHECK(file_bytes(path, after, sizeof after) == len && memcmp(before, after, len) == 0);
        o = observe();
        receive_id(c, 1);
        CHECK_OK(weir_channel_close(p));
        CHECK_OK(weir_channel_close(c));
        CHECK(access(path, F_OK) != 0);
        open_says(WEIR_E_NOT_FOUND, NAME, NULL);
        CHECK(look(o).count == 2);
        CHECK_OK(weir_observer_close(o));
    }
}

/* ---- any bytes ---- */

static uint64_t looks;

static void look_anyhow(weir_observer *living, bool open)
{
    static weir_member members[WEIR_CHANNEL_PLACES_MAX];
    weir_channel_facts facts;
    uint32_t count = 0;
    weir_observer *o = living;
    if (open && weir_observer_open(&o, NAME, NULL) != WEIR_OK)
        return;
    if (weir_observer_members(o, members, WEIR_CHANNEL_PLACES_MAX, &count) == WEIR_OK)
        CHECK(count <= WEIR_CHANNEL_PLACES_MAX);
    (void)weir_observer_channel(o, &facts);
    looks++;
    if (open)
        CHECK_OK(weir_observer_close(o));
}

/* Each stepth value of every 16-bit slice, from another one on in each word, and a boundary set. */
static void spoil_word(weir_observer *living, unsigned char *content, uint64_t off, uint64_t step, bool open)
{
    weir_atomic_u64 *word = weir_word_at(content, off);
    uint64_t old = weir_load_rlx(word);
    for (unsigned slice = 0; slice < 4; slice++)
        for (uint64_t part = off / 8 % step; part < 65536; part += step) {
            weir_store_rlx(word, (old & ~(UINT64_C(0xffff) << slice * 16)) | part << slice * 16);
            look_anyhow(living, open);
        }
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t power = UINT64_C(1) << bit;
        const uint64_t values[] = { power, power - 1, power + 1, old + power, old - power, 0 - power, old ^ power };
        for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
            weir_store_rlx(word, values[i]);
            look_anyhow(living, false);
            look_anyhow(living, true);
        }
    }
    weir_store_rlx(word, old);
}

Test(observer, no_word_of_a_channel_makes_it_fault, .timeout = 280)
{
    (void)support_shm_dir();
    uint64_t step = support_count(100) >= 100 ? 1 : 61;
    struct third third;
    weir_channel *p = open_as(NAME, WEIR_PRODUCER, 4096), *c = open_as(NAME, WEIR_CONSUMER, 0);
    CHECK_OK(send_id(p, 1, WEIR_NOWAIT));
    third_open(&third, NAME);
    weir_observer *o = observe();
    unsigned char *content = third.view.base;
    for (uint64_t off = 0; off < 384 + 2 * sizeof(weir_channel_member); off += 8) {
        bool constant = off < 16 || off == 96; /* what is read at open alone */
        bool padding = off >= 256 && (off - 256) % 128 >= 64 && off != 256;
        spoil_word(o, content, off, constant ? step * 7 : padding ? 4099 : step * 9, constant);
    }
    for (uint64_t off = WEIR_CHANNEL_LANE; off < WEIR_CHANNEL_DATA; off += 8)
        spoil_word(o, content, off, 4099, false);
    CHECK(looks > 100000 / step);
    (void)printf("observer: %llu looks\n", (unsigned long long)looks);
    CHECK_OK(weir_observer_close(o));
    third_close(&third);
    CHECK_OK(weir_channel_close(p));
    CHECK_OK(weir_channel_close(c));
}

/* The sizes that a ring's control block states, of each kind, where positions are looked for. */
Test(observer, no_word_of_a_ring_makes_it_fault, .timeout = 280)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k) {
        struct third third;
        weir_channel *p = open_kind(NAME, k->kind, WEIR_PRODUCER, 4096), *c = open_kind(NAME, k->kind, WEIR_CONSUMER, 0);
        CHECK_OK(send_id(p, 1, WEIR_NOWAIT));
        third_open(&third, NAME);
        weir_observer *o = observe();
        uint32_t producers = k->producers ? WEIR_MEMBERS_DEFAULT : 1, consumers = k->consumers ? WEIR_MEMBERS_DEFAULT : 1;
        uint64_t ring = weir_channel_ring_off(producers, consumers);
        for (uint64_t off = ring; off < ring + 512 && off < third.view.size; off += 8)
            spoil_word(o, third.view.base, off, 4099, false);
        for (uint64_t off = 8; off < 128; off += 8) /* with the kinds' own reading of the head */
            spoil_word(o, third.view.base, off, 4099, false);
        CHECK_OK(weir_observer_close(o));
        third_close(&third);
        CHECK_OK(weir_channel_close(p));
        CHECK_OK(weir_channel_close(c));
    }
}

/* The section's own size, which a peer may lower after it was checked. */
Test(observer, a_size_that_shrinks_meanwhile_is_no_fault)
{
    (void)support_shm_dir();
    weir_channel *p = open_kind(NAME, WEIR_MPSC, WEIR_PRODUCER, 4096);
    struct third third;
    third_open(&third, NAME);
    weir_observer *o = observe();
    char path[512]; /* the header is in no view */
    (void)snprintf(path, sizeof path, "%s/weir-u.%u/%s", getenv("WEIR_SHM_DIR"), (unsigned)geteuid(), NAME);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0);
    const off_t at = offsetof(weir_section_layout, size);
    static const uint64_t sizes[] = { 1, 64, 4096, 0, UINT64_MAX };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint64_t old;
        CHECK(pread(fd, &old, 8, at) == 8 && pwrite(fd, &sizes[i], 8, at) == 8);
        look_anyhow(o, false);
        look_anyhow(o, true);
        CHECK(look(o).count == 1);
        CHECK(pwrite(fd, &old, 8, at) == 8);
    }
    (void)close(fd);
    CHECK_OK(weir_observer_close(o));
    third_close(&third);
    CHECK_OK(weir_channel_close(p));
}
