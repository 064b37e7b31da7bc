/* Opening, agreeing, refusing, leaving. */
#include "ipc/channel_help.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static weir_status open_with(weir_channel **out, weir_role role, uint64_t capacity, const char *type)
{
    return weir_channel_open(out, "agree", role, &(weir_channel_options){ .capacity = capacity, .type.name = type });
}

/* The file of Local/<word>. */
static void file_of(char path[256], const char *dir, const char *word)
{
    (void)snprintf(path, 256, "%s/weir-u.%u/%s", dir, (unsigned)geteuid(), word);
}

Test(channel_open, either_role_opens_first_with_any_wait_and_the_last_to_close_leaves_nothing)
{
    const char *dir = support_shm_dir();
    for (int order = 0; order < 2; order++)
        for (int wait = WEIR_WAIT_SPIN_SLEEP; wait <= WEIR_WAIT_SLEEP; wait++)
            for (int leave = 0; leave < 2; leave++) {
                weir_channel *end[2];
                weir_channel_options options = { .wait = (weir_wait)wait };
                weir_role role[2] = { order == 0 ? WEIR_PRODUCER : WEIR_CONSUMER,
                                      order == 0 ? WEIR_CONSUMER : WEIR_PRODUCER };
                CHECK_OK(weir_channel_open(&end[0], "both", role[0], &options));
                CHECK_OK(weir_channel_open(&end[1], "both", role[1], wait != 0 ? &options : NULL));
                CHECK_OK(send_id(end[order == 0 ? 0 : 1], 5, WEIR_FOREVER));
                receive_id(end[order == 0 ? 1 : 0], 5);
                CHECK_OK(weir_channel_close(end[leave]));
                CHECK(support_entries(dir, false) == 2);
                CHECK_OK(weir_channel_close(end[1 - leave]));
                CHECK(support_entries(dir, true) == 0);
            }
    CHECK_OK(weir_channel_close(NULL));
}

Test(channel_open, arguments_out_of_range_are_refused_and_make_nothing)
{
    const char *dir = support_shm_dir();
    char long_type[WEIR_TYPE_MAX + 2];
    memset(long_type, 't', sizeof long_type - 1);
    long_type[WEIR_TYPE_MAX + 1] = 0;
    static const struct {
        const char *name;
        int role;
        weir_channel_options options;
        weir_status status;
    } refused[] = {
        { "x", 0, { 0 }, WEIR_E_INVALID },
        { "x", 3, { 0 }, WEIR_E_INVALID },
        { "x", -1, { 0 }, WEIR_E_INVALID },
        { "x", WEIR_PRODUCER, { .kind = (weir_kind)8 }, WEIR_E_UNSUPPORTED },
        { "x", WEIR_PRODUCER, { .kind = (weir_kind)-1 }, WEIR_E_UNSUPPORTED },
        { "x", WEIR_PRODUCER, { .producers = 2 }, WEIR_E_INVALID },
        { "x", WEIR_PRODUCER, { .kind = WEIR_MPSC, .producers = 128 }, WEIR_E_INVALID },
        { "x", WEIR_PRODUCER, { .kind = WEIR_MPSC, .consumers = 2 }, WEIR_E_INVALID },
        { "x", WEIR_CONSUMER, { .kind = WEIR_BROADCAST, .producers = 2 }, WEIR_E_INVALID },
        { "x", WEIR_CONSUMER, { .kind = WEIR_BROADCAST, .consumers = 128 }, WEIR_E_INVALID },
        { "x", WEIR_PRODUCER, { .kind = WEIR_LATEST, .record_bytes = UINT32_MAX }, WEIR_E_INVALID },
        { "x", WEIR_PRODUCER, { .wait = (weir_wait)3 }, WEIR_E_INVALID },
        { "x", WEIR_CONSUMER, { .wait = (weir_wait)-1 }, WEIR_E_INVALID },
        { "x", WEIR_CONSUMER, { .capacity = WEIR_CAPACITY_MAX + 1 }, WEIR_E_INVALID },
        { "x", WEIR_PRODUCER, { .capacity = UINT64_MAX }, WEIR_E_INVALID },
        { "x", WEIR_PRODUCER, { .capacity = WEIR_CAPACITY_MAX }, WEIR_E_NO_SPACE },
        { "x", WEIR_PRODUCER, { .mode = 01000 }, WEIR_E_INVALID },
        { "a b", WEIR_PRODUCER, { 0 }, WEIR_E_NAME },
        { "", WEIR_CONSUMER, { 0 }, WEIR_E_NAME },
    };
    weir_channel *const untouched = (weir_channel *)&refused;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        weir_channel *out = untouched;
        weir_status status = weir_channel_open(&out, refused[i].name, (weir_role)refused[i].role, &refused[i].options);
        cr_assert_eq(status, refused[i].status, "case %zu: %s", i, weir_status_name(status));
        CHECK(out == untouched);
        CHECK(weir_error_detail()[0] != 0);
        CHECK(support_entries(dir, false) <= 1); /* no section; the user's directory may be there */
    }
    weir_channel *out = untouched;
    CHECK_STATUS(weir_channel_open(NULL, "x", WEIR_PRODUCER, NULL), WEIR_E_INVALID);
    CHECK_STATUS(open_with(&out, WEIR_PRODUCER, 0, long_type), WEIR_E_INVALID);
    long_type[WEIR_TYPE_MAX] = 0;
    CHECK_OK(open_with(&out, WEIR_PRODUCER, 0, long_type));
    CHECK(strcmp(facts_of(out).type, long_type) == 0);
    CHECK_OK(weir_channel_close(out));
}

Test(channel_open, a_capacity_is_rounded_up_to_a_power_of_two_of_at_least_the_least)
{
    (void)support_shm_dir();
    static const uint64_t wish[][2] = {
        { 1, 4096 }, { 4095, 4096 }, { 4096, 4096 }, { 4097, 8192 }, { 100000, 131072 }, { 0, WEIR_CAPACITY_DEFAULT },
    };
    for (size_t i = 0; i < sizeof wish / sizeof wish[0]; i++) {
        weir_channel *p = open_as("round", WEIR_PRODUCER, wish[i][0]);
        weir_channel_facts facts = facts_of(p);
        CHECK(facts.kind == WEIR_SPSC);
        CHECK(facts.capacity == wish[i][1]);
        CHECK(facts.record_max == wish[i][1] / 2 - 16);
        CHECK(facts.type[0] == 0);
        /* The rounded values agree, whatever was written. */
        weir_channel *c = open_as("round", WEIR_CONSUMER, wish[i][0]);
        CHECK(facts_of(c).capacity == wish[i][1]);
        CHECK_OK(weir_channel_close(p));
        CHECK_OK(weir_channel_close(c));
    }
}

Test(channel_open, a_lane_too_small_for_the_longest_message_stated_is_TOO_LARGE_at_open)
{
    const char *dir = support_shm_dir();
    weir_channel *p = NULL, *c;
    weir_channel_options fits = { .capacity = 4096, .record_bytes = 2032 };
    weir_channel_options over = { .capacity = 4096, .record_bytes = 2033 }, over_unset = { .record_bytes = 131072 };
    CHECK_STATUS(weir_channel_open(&p, "long", WEIR_PRODUCER, &over), WEIR_E_TOO_LARGE);
    CHECK(strstr(weir_error_detail(), "2033") != NULL && strstr(weir_error_detail(), "2032") != NULL);
    CHECK(strstr(weir_error_detail(), "8192") != NULL); /* what would do */
    CHECK_STATUS(weir_channel_open(&p, "long", WEIR_PRODUCER, &over_unset), WEIR_E_TOO_LARGE);
    CHECK(p == NULL && support_entries(dir, true) == 0);
    CHECK_OK(weir_channel_open(&p, "long", WEIR_PRODUCER, &fits));
    CHECK_OK(weir_channel_close(p));
    /* Refused by the lane of a consumer, and by the one it would make: it was never there. */
    for (int with = 0; with < 2; with++) {
        c = open_as("long", WEIR_CONSUMER, with != 0 ? 4096 : 0);
        CHECK_STATUS(weir_channel_open(&p, "long", WEIR_PRODUCER, &over), WEIR_E_TOO_LARGE);
        CHECK(facts_of(c).producer.presence == WEIR_ABSENT);
        CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_EMPTY);
        CHECK_OK(weir_channel_open(&p, "long", WEIR_PRODUCER, &fits));
        CHECK_OK(weir_channel_close(p));
        CHECK_OK(weir_channel_close(c));
    }
}

Test(channel_open, a_default_channel_takes_its_capacity_and_at_most_64_KiB_more)
{
    const char *dir = support_shm_dir();
    char path[256];
    struct stat st;
    file_of(path, dir, "size");
    for (int order = 0; order < 2; order++) {
        weir_channel *first = open_as("size", order == 0 ? WEIR_PRODUCER : WEIR_CONSUMER, 0);
        CHECK(stat(path, &st) == 0);
        CHECK(order == 0 || (uint64_t)st.st_blocks * 512 <= 65536); /* no lane before there is a producer */
        weir_channel *second = open_as("size", order == 0 ? WEIR_CONSUMER : WEIR_PRODUCER, 0);
        CHECK(stat(path, &st) == 0);
        CHECK((uint64_t)st.st_blocks * 512 >= WEIR_CAPACITY_DEFAULT);
        CHECK((uint64_t)st.st_blocks * 512 <= WEIR_CAPACITY_DEFAULT + 65536);
        CHECK((st.st_mode & 07777) == 0600);
        CHECK_OK(weir_channel_close(first));
        CHECK_OK(weir_channel_close(second));
    }
}

Test(channel_open, the_mode_is_the_makers_and_a_wider_one_than_asked_for_is_refused)
{
    const char *dir = support_shm_dir();
    char path[256];
    struct stat st;
    weir_channel *p, *c;
    (void)umask(0777);
    CHECK_OK(weir_channel_open(&p, "mode", WEIR_PRODUCER, &(weir_channel_options){ .mode = 0640 }));
    file_of(path, dir, "mode");
    CHECK(stat(path, &st) == 0 && (st.st_mode & 07777) == 0640);
    CHECK_STATUS(weir_channel_open(&c, "mode", WEIR_CONSUMER, NULL), WEIR_E_PERMISSION);
    CHECK_OK(weir_channel_open(&c, "mode", WEIR_CONSUMER, &(weir_channel_options){ .mode = 0640 }));
    CHECK_OK(weir_channel_close(c));
    CHECK_OK(weir_channel_close(p));
}

Test(channel_open, the_same_name_means_another_channel_in_the_global_scope)
{
    const char *dir = support_shm_dir();
    weir_channel *local = open_as("Local/scope", WEIR_PRODUCER, 0), *global = open_as("Global/scope", WEIR_PRODUCER, 0);
    weir_channel *local_c = open_as("scope", WEIR_CONSUMER, 0), *global_c = open_as("Global\\scope", WEIR_CONSUMER, 0);
    CHECK_OK(send_id(local, 1, WEIR_NOWAIT));
    CHECK_OK(send_id(global, 2, WEIR_NOWAIT));
    receive_id(local_c, 1);
    receive_id(global_c, 2);
    CHECK_OK(weir_channel_close(local));
    CHECK_OK(weir_channel_close(local_c));
    CHECK_OK(weir_channel_close(global_c));
    CHECK_OK(weir_channel_close(global));
    CHECK(support_entries(dir, true) == 0);
}

Test(channel_open, a_second_live_producer_or_consumer_is_IN_USE)
{
    (void)support_shm_dir();
    weir_channel *p = open_as("one", WEIR_PRODUCER, 0), *c = open_as("one", WEIR_CONSUMER, 0), *other = NULL;
    CHECK_STATUS(weir_channel_open(&other, "one", WEIR_PRODUCER, NULL), WEIR_E_IN_USE);
    CHECK(strstr(weir_error_detail(), "producer") != NULL);
    CHECK_STATUS(weir_channel_open(&other, "one", WEIR_CONSUMER, NULL), WEIR_E_IN_USE);
    CHECK(strstr(weir_error_detail(), "consumer") != NULL);
    pid_t child = child_fork();
    if (child == 0) {
        CHECK_STATUS(weir_channel_open(&other, "one", WEIR_PRODUCER, NULL), WEIR_E_IN_USE);
        CHECK_STATUS(weir_channel_open(&other, "one", WEIR_CONSUMER, NULL), WEIR_E_IN_USE);
        _exit(0);
    }
    CHECK(support_wait(child) == 0);
    /* The refused ones changed nothing. */
    CHECK(facts_of(p).producer.generation == 1 && facts_of(p).consumer.generation == 1);
    CHECK(facts_of(p).producer.presence == WEIR_ALIVE && facts_of(p).consumer.presence == WEIR_ALIVE);
    CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_EMPTY);
    CHECK_OK(send_id(p, 1, WEIR_NOWAIT));
    receive_id(c, 1);
    CHECK_OK(weir_channel_close(p));
    CHECK_OK(weir_channel_open(&p, "one", WEIR_PRODUCER, NULL));
    CHECK_OK(weir_channel_close(p));
    CHECK_OK(weir_channel_close(c));
}

Test(channel_open, another_capacity_or_type_is_MISMATCH_and_the_detail_has_both)
{
    (void)support_shm_dir();
    weir_channel *p, *c, *const untouched = (weir_channel *)&p;
    for (int first = WEIR_PRODUCER; first <= WEIR_CONSUMER; first++) {
        weir_role second = first == WEIR_PRODUCER ? WEIR_CONSUMER : WEIR_PRODUCER;
        CHECK_OK(open_with(&p, (weir_role)first, 8192, "order, 2"));
        c = untouched;
        CHECK_STATUS(open_with(&c, second, 16384, "order, 2"), WEIR_E_MISMATCH);
        CHECK(strstr(weir_error_detail(), "8192") != NULL && strstr(weir_error_detail(), "16384") != NULL);
        CHECK_STATUS(open_with(&c, second, 4096, NULL), WEIR_E_MISMATCH);
        CHECK_STATUS(open_with(&c, second, 8192, "trade, 1"), WEIR_E_MISMATCH);
        CHECK(strstr(weir_error_detail(), "order, 2") != NULL && strstr(weir_error_detail(), "trade, 1") != NULL);
        CHECK_STATUS(open_with(&c, second, 0, "order, 22"), WEIR_E_MISMATCH); /* a prefix is not the same */
        CHECK_STATUS(open_with(&c, second, 0, "order, "), WEIR_E_MISMATCH);
        CHECK(c == untouched);
        CHECK_OK(open_with(&c, second, 8192, "order, 2"));
        CHECK_OK(weir_channel_close(c));
        CHECK_OK(open_with(&c, second, 0, NULL)); /* nothing stated: what is there is accepted */
        CHECK(facts_of(c).capacity == 8192);
        CHECK(strcmp(facts_of(c).type, "order, 2") == 0);
        CHECK_OK(weir_channel_close(c));
        CHECK_OK(weir_channel_close(p));
    }
}

Test(channel_open, a_refused_producer_was_never_there)
{
    (void)support_shm_dir();
    weir_channel *c, *p;
    CHECK_OK(open_with(&c, WEIR_CONSUMER, 8192, "a"));
    CHECK_STATUS(open_with(&p, WEIR_PRODUCER, 4096, "a"), WEIR_E_MISMATCH);
    CHECK_STATUS(open_with(&p, WEIR_PRODUCER, 8192, "b"), WEIR_E_MISMATCH);
    CHECK(facts_of(c).producer.presence == WEIR_ABSENT);
    CHECK(facts_of(c).producer.generation == 0 && facts_of(c).producer.deaths == 0);
    CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_EMPTY);
    CHECK_STATUS(receive_nothing(c, WEIR_MILLISECONDS(60)), WEIR_TIMEOUT);
    /* Nor after one that was there: its end is told once, and not again for the refused one. */
    CHECK_OK(open_with(&p, WEIR_PRODUCER, 0, NULL));
    CHECK_OK(send_id(p, 1, WEIR_NOWAIT));
    CHECK_OK(weir_channel_close(p));
    CHECK_STATUS(open_with(&p, WEIR_PRODUCER, 4096, NULL), WEIR_E_MISMATCH);
    CHECK(facts_of(c).producer.presence == WEIR_LEFT && facts_of(c).producer.generation == 1);
    receive_id(c, 1);
    CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_CLOSED);
    CHECK_STATUS(open_with(&p, WEIR_PRODUCER, 4096, NULL), WEIR_E_MISMATCH);
    CHECK_STATUS(receive_nothing(c, WEIR_MILLISECONDS(60)), WEIR_TIMEOUT);
    CHECK(facts_of(c).producer.generation == 1 && facts_of(c).producer.deaths == 0);
    CHECK_OK(weir_channel_close(c));
}

Test(channel_open, a_refused_consumer_was_never_there)
{
    (void)support_shm_dir();
    weir_channel *c, *p;
    weir_status last;
    CHECK_OK(open_with(&p, WEIR_PRODUCER, 4096, "a"));
    CHECK_STATUS(open_with(&c, WEIR_CONSUMER, 8192, "a"), WEIR_E_MISMATCH);
    CHECK_STATUS(open_with(&c, WEIR_CONSUMER, 4096, "b"), WEIR_E_MISMATCH);
    CHECK(facts_of(p).consumer.presence == WEIR_ABSENT && facts_of(p).consumer.generation == 0);
    uint64_t count = send_until_full(p, 0, &last);
    CHECK_STATUS(last, WEIR_FULL);
    CHECK_STATUS(open_with(&c, WEIR_CONSUMER, 8192, NULL), WEIR_E_MISMATCH);
    CHECK_STATUS(send_id(p, 0, WEIR_MILLISECONDS(60)), WEIR_TIMEOUT);
    CHECK_OK(open_with(&c, WEIR_CONSUMER, 0, NULL));
    for (uint64_t id = 0; id < count; id++)
        receive_id(c, id);
    CHECK(facts_of(p).consumer.generation == 1);
    CHECK_OK(weir_channel_close(c));
    CHECK_OK(weir_channel_close(p));
}

Test(channel_open, a_consumer_without_a_capacity_makes_no_lane_and_the_producer_fixes_it)
{
    (void)support_shm_dir();
    static const uint64_t stated[] = { 0, 4096, 1 << 20 };
    for (size_t i = 0; i < 3; i++) {
        uint64_t expected = stated[i] != 0 ? stated[i] : WEIR_CAPACITY_DEFAULT;
        weir_channel *c = open_as("late", WEIR_CONSUMER, 0);
        CHECK(facts_of(c).capacity == 0 && facts_of(c).record_max == 0);
        CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_EMPTY);
        CHECK_STATUS(receive_nothing(c, WEIR_MILLISECONDS(1)), WEIR_TIMEOUT);
        weir_channel *p = open_as("late", WEIR_PRODUCER, stated[i]);
        CHECK(facts_of(p).capacity == expected);
        CHECK_OK(send_id(p, i, WEIR_NOWAIT));
        receive_id(c, i);
        CHECK(facts_of(c).capacity == expected && facts_of(c).record_max == expected / 2 - 16);
        CHECK_OK(weir_channel_close(p));
        CHECK_OK(weir_channel_close(c));
    }
}

Test(channel_open, a_consumers_info_tells_of_the_lane_as_soon_as_there_is_one)
{
    (void)support_shm_dir();
    weir_channel *c = open_as("told", WEIR_CONSUMER, 0), *p = open_as("told", WEIR_PRODUCER, 8192);
    CHECK(facts_of(c).capacity == 8192);
    CHECK(facts_of(c).record_max == 8192 / 2 - 16);
    CHECK_OK(weir_channel_close(p));
    CHECK_OK(weir_channel_close(c));
}

Test(channel_open, a_release_by_a_consumer_that_has_no_lane_yet_is_OK)
{
    (void)support_shm_dir();
    weir_channel *c = open_as("nolane", WEIR_CONSUMER, 0);
    CHECK_OK(weir_release(c));
    CHECK_OK(weir_channel_close(c));
}

Test(channel_open, a_consumer_that_states_a_capacity_makes_the_lane)
{
    (void)support_shm_dir();
    weir_channel *p, *c = open_as("agree", WEIR_CONSUMER, 5000);
    CHECK(facts_of(c).capacity == 8192);
    CHECK_STATUS(open_with(&p, WEIR_PRODUCER, 4096, NULL), WEIR_E_MISMATCH);
    CHECK_OK(open_with(&p, WEIR_PRODUCER, 0, NULL));
    CHECK(facts_of(p).capacity == 8192);
    CHECK_OK(weir_channel_close(p));
    CHECK_OK(weir_channel_close(c));
}

Test(channel_open, the_type_stated_first_is_the_channels_whoever_states_it)
{
    (void)support_shm_dir();
    weir_channel *p, *c;
    CHECK_OK(open_with(&c, WEIR_CONSUMER, 0, "t"));
    CHECK_OK(open_with(&p, WEIR_PRODUCER, 0, NULL));
    CHECK(strcmp(facts_of(p).type, "t") == 0);
    CHECK_OK(weir_channel_close(p));
    CHECK_STATUS(open_with(&p, WEIR_PRODUCER, 0, "u"), WEIR_E_MISMATCH);
    CHECK_OK(weir_channel_close(c));
    /* A consumer that says nothing, and then a producer. */
    CHECK_OK(open_with(&c, WEIR_CONSUMER, 0, NULL));
    CHECK_OK(open_with(&p, WEIR_PRODUCER, 0, "v"));
    CHECK(strcmp(facts_of(c).type, "v") == 0);
    CHECK_OK(weir_channel_close(c));
    CHECK_STATUS(open_with(&c, WEIR_CONSUMER, 0, "t"), WEIR_E_MISMATCH);
    CHECK_OK(weir_channel_close(p));
}

Test(channel_open, a_type_that_a_joining_consumer_states_binds_the_next_producer)
{
    (void)support_shm_dir();
    weir_channel *p, *c;
    CHECK_OK(open_with(&p, WEIR_PRODUCER, 0, NULL));
    CHECK_OK(open_with(&c, WEIR_CONSUMER, 0, "t"));
    CHECK_OK(weir_channel_close(p));
    weir_status status = open_with(&p, WEIR_PRODUCER, 0, "u");
    if (status == WEIR_OK) { /* then the consumer must hear of it before it reads a message of another type */
        CHECK_OK(send_id(p, 1, WEIR_NOWAIT));
        status = receive_nothing(c, WEIR_NOWAIT);
        CHECK_OK(weir_channel_close(p));
    }
    CHECK_STATUS(status, WEIR_E_MISMATCH);
    CHECK_OK(weir_channel_close(c));
}

Test(channel_open, a_producer_refused_for_want_of_room_fixes_neither_type_nor_capacity)
{
    (void)support_shm_dir();
    weir_channel *p, *c;
    CHECK_OK(open_with(&c, WEIR_CONSUMER, 0, NULL));
    CHECK_STATUS(open_with(&p, WEIR_PRODUCER, WEIR_CAPACITY_MAX, "t"), WEIR_E_NO_SPACE);
    CHECK(facts_of(c).producer.presence == WEIR_ABSENT && facts_of(c).capacity == 0);
    CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_EMPTY);
    CHECK_OK(open_with(&p, WEIR_PRODUCER, 4096, "u"));
    CHECK_OK(send_id(p, 1, WEIR_NOWAIT));
    receive_id(c, 1);
    CHECK_OK(weir_channel_close(p));
    CHECK_OK(weir_channel_close(c));
}

Test(channel_open, a_producer_that_came_with_other_terms_than_a_waiting_consumers_gives_it_MISMATCH)
{
    (void)support_shm_dir();
    static const struct {
        uint64_t capacity;
        const char *type;
    } terms[] = { { 8192, NULL }, { 0, "t" } };
    for (size_t i = 0; i < 2; i++) {
        /* The channel is there without a lane and without a type when a consumer joins it that states something. */
        struct third third;
        weir_channel *p, *c, *first = open_as("agree", WEIR_CONSUMER, 0);
        third_open(&third, "agree");
        CHECK_OK(weir_channel_close(first));
        CHECK_OK(open_with(&c, WEIR_CONSUMER, terms[i].capacity, terms[i].type));
        weir_status status = open_with(&p, WEIR_PRODUCER, 4096, "u");
        if (status == WEIR_OK) {
            CHECK_OK(send_id(p, 1, WEIR_NOWAIT));
            const void *msg;
            uint32_t len;
            CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_E_MISMATCH);
            CHECK_STATUS(weir_peek(c, &msg, &len, WEIR_FOREVER), WEIR_E_MISMATCH);
            CHECK_OK(weir_channel_close(p));
        } else {
            CHECK_STATUS(status, WEIR_E_MISMATCH);
        }
        CHECK_OK(weir_channel_close(c));
        third_close(&third);
    }
}

Test(channel_open, an_opener_that_is_stopped_while_it_agrees_makes_others_BUSY_and_nothing_else)
{
    (void)support_shm_dir();
    struct third third;
    weir_participant before;
    weir_channel *p = open_as("agree", WEIR_PRODUCER, 4096), *c = NULL;
    third_open(&third, "agree");
    CHECK_OK(weir_participant_claim(third.section, weir_channel_slot_terms(1, 1), 1, &before));
    int64_t begin = help_now_ns();
    CHECK_STATUS(weir_channel_open(&c, "agree", WEIR_CONSUMER, NULL), WEIR_E_BUSY);
    CHECK(help_now_ns() - begin >= WEIR_MILLISECONDS(2000));
    CHECK(c == NULL && facts_of(p).consumer.presence == WEIR_ABSENT);
    CHECK_OK(send_id(p, 1, WEIR_NOWAIT)); /* whoever is there goes on */
    CHECK_OK(weir_participant_leave(third.section, weir_channel_slot_terms(1, 1)));
    c = open_as("agree", WEIR_CONSUMER, 0);
    receive_id(c, 1);
    CHECK_OK(weir_channel_close(c));
    CHECK_OK(weir_channel_close(p));
    third_close(&third);
}

Test(channel_open, a_section_of_another_content_is_MISMATCH_and_what_is_no_section_NOT_WEIR)
{
    const char *dir = support_shm_dir();
    weir_section *section;
    weir_channel *channel = NULL;
    CHECK_OK(weir_section_create(&section, "plain", 65536, NULL));
    CHECK_STATUS(weir_channel_open(&channel, "plain", WEIR_PRODUCER, NULL), WEIR_E_MISMATCH);
    CHECK_STATUS(weir_channel_open(&channel, "plain", WEIR_CONSUMER, NULL), WEIR_E_MISMATCH);
    char path[256];
    file_of(path, dir, "garbage");
    int fd = open(path, O_CREAT | O_EXCL | O_RDWR, 0600);
    CHECK(fd >= 0 && write(fd, path, sizeof path) == (ssize_t)sizeof path && close(fd) == 0);
    CHECK_STATUS(weir_channel_open(&channel, "garbage", WEIR_PRODUCER, NULL), WEIR_E_NOT_WEIR);
    CHECK_STATUS(weir_channel_open(&channel, "garbage", WEIR_CONSUMER, NULL), WEIR_E_NOT_WEIR);
    CHECK(access(path, F_OK) == 0);
    CHECK(unlink(path) == 0);
    CHECK_OK(weir_section_close(section));
    CHECK(support_entries(dir, true) == 0);
}

Test(channel_open, info_tells_who_is_there_and_who_was)
{
    (void)support_shm_dir();
    weir_channel *p = open_as("who", WEIR_PRODUCER, 4096);
    weir_channel_facts facts = facts_of(p);
    CHECK(facts.producer.presence == WEIR_ALIVE && facts.producer.generation == 1);
    CHECK(facts.consumer.presence == WEIR_ABSENT && facts.consumer.generation == 0);
    struct gate ready = gate_make();
    pid_t child = child_fork();
    if (child == 0) {
        (void)open_as("who", WEIR_CONSUMER, 0);
        gate_open(ready);
        for (;;)
            (void)pause();
    }
    gate_wait(ready);
    CHECK(facts_of(p).consumer.presence == WEIR_ALIVE && facts_of(p).consumer.generation == 1);
    child_kill(child);
    facts = facts_of(p);
    CHECK(facts.consumer.presence == WEIR_DEAD && facts.consumer.generation == 1 && facts.consumer.deaths == 1);
    weir_channel *c = open_as("who", WEIR_CONSUMER, 0);
    facts = facts_of(p);
    CHECK(facts.consumer.presence == WEIR_ALIVE && facts.consumer.generation == 2 && facts.consumer.deaths == 1);
    CHECK_OK(weir_channel_close(c));
    facts = facts_of(p);
    CHECK(facts.consumer.presence == WEIR_LEFT && facts.consumer.generation == 2 && facts.consumer.deaths == 1);
    CHECK_OK(weir_channel_close(p));
    gate_close(ready);
}

/* ---- the fence that the maker chooses ---- */

static bool forbid_membarrier(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { .len = sizeof code / sizeof code[0], .filter = code };
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

Test(channel_open, a_process_without_membarrier_makes_channels_for_all_and_is_refused_those_that_rely_on_it)
{
    (void)support_shm_dir();
    struct third third;
    struct gate ready = gate_make(), go = gate_make();
    weir_channel *p = open_as("with", WEIR_PRODUCER, 4096);
    third_open(&third, "with");
    bool can = third.layout->full_fence == 0;
    third_close(&third);
    pid_t child = child_fork();
    if (child == 0) {
        if (!forbid_membarrier()) {
            gate_open(ready);
            _exit(SUPPORT_SKIP);
        }
        weir_channel *c;
        weir_status status = weir_channel_open(&c, "with", WEIR_CONSUMER, NULL);
        CHECK_STATUS(status, can ? WEIR_E_UNSUPPORTED : WEIR_OK);
        CHECK(!can || strstr(weir_error_detail(), "membarrier") != NULL);
        CHECK_OK(weir_channel_open(&c, "without", WEIR_CONSUMER, &(weir_channel_options){ .wait = WEIR_WAIT_SLEEP }));
        gate_open(ready);
        for (uint64_t id = 0; id < 100; id++)
            receive_id(c, id);
        gate_wait(go);
        CHECK_OK(weir_channel_close(c));
        _exit(0);
    }
    gate_wait(ready);
    CHECK(facts_of(p).consumer.presence == WEIR_ABSENT || !can);
    CHECK_OK(weir_channel_close(p));
    p = open_as("without", WEIR_PRODUCER, 4096);
    third_open(&third, "without");
    uint32_t full_fence = third.layout->full_fence;
    third_close(&third);
    for (uint64_t id = 0; id < 100; id++)
        CHECK_OK(send_id(p, id, HELP_DEADLINE));
    gate_open(go);
    int status = support_wait(child);
    CHECK(status == SUPPORT_SKIP || (status == 0 && full_fence == 1));
    CHECK_OK(weir_channel_close(p));
}
