/* Channels of every kind: opening, agreeing, being refused. */
#include "ipc/kinds_help.h"

#include <criterion/criterion.h>

#define NAME "kinds"

/* Numbers come through: all of them, or the newest. */
static void check_works(const struct kind_row *k, weir_channel *p, weir_channel *c)
{
    for (uint64_t id = 1; id <= 3; id++)
        CHECK_OK(send_id(p, id, WEIR_NOWAIT));
    for (uint64_t id = k->kind == WEIR_LATEST ? 3 : 1; id <= 3; id++)
        receive_id(c, id);
    CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_EMPTY);
}

Test(kinds_open, either_side_comes_first_and_either_states_the_capacity_or_none_does)
{
    const char *dir = support_shm_dir();
    FOR_EACH_KIND(k)
        for (int order = 0; order < 2; order++)
            for (int stated = 0; stated < 4; stated++) {
                weir_channel *p = NULL, *c = NULL;
                for (int turn = 0; turn < 2; turn++)
                    if (turn == order)
                        p = open_kind(NAME, k->kind, WEIR_PRODUCER, stated & 1 ? 30000 : 0);
                    else
                        c = open_kind(NAME, k->kind, WEIR_CONSUMER, stated & 2 ? 32768 : 0);
                check_works(k, p, c);
                weir_channel_facts of_p = facts_of(p), of_c = facts_of(c);
                CHECK(of_p.kind == k->kind && of_c.kind == k->kind);
                CHECK(of_p.capacity == of_c.capacity && of_p.record_max == of_c.record_max);
                bool first = stated == 1 || stated == 3 || (stated == 2 && order == 1);
                uint64_t asked = first ? 32768 : WEIR_CAPACITY_DEFAULT; /* a default is there for all who come later */
                if (k->kind == WEIR_LATEST) /* no more slots than are of use */
                    CHECK(of_p.capacity >= 16 * WEIR_RECORD_DEFAULT && of_p.capacity < 32 * WEIR_RECORD_DEFAULT);
                else if (k->kind == WEIR_MPMC)
                    CHECK(of_p.capacity >= asked && of_p.capacity < 3 * asked);
                else
                    CHECK(of_p.capacity == asked);
                CHECK(!k->for_record || of_p.record_max == WEIR_RECORD_DEFAULT);
                CHECK(of_p.producers == (k->producers ? WEIR_MEMBERS_DEFAULT : 1));
                CHECK(of_p.consumers == (k->consumers ? WEIR_MEMBERS_DEFAULT : 1));
                CHECK_OK(weir_channel_close(order == 0 ? p : c));
                CHECK_OK(weir_channel_close(order == 0 ? c : p));
                CHECK(support_entries(dir, true) == 0);
            }
}

Test(kinds_open, a_consumer_before_the_ring_waits_for_the_producer_to_say_how_large)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k) {
        weir_channel *c = open_kind(NAME, k->kind, WEIR_CONSUMER, 0);
        const void *msg;
        uint32_t len;
        CHECK(facts_of(c).capacity == 0 && facts_of(c).record_max == 0);
        CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_EMPTY);
        CHECK_STATUS(receive_nothing(c, WEIR_MILLISECONDS(2)), WEIR_TIMEOUT);
        CHECK_STATUS(weir_peek(c, &msg, &len, WEIR_NOWAIT), WEIR_EMPTY);
        CHECK_OK(weir_release(c));
        weir_message message;
        CHECK_STATUS(weir_channel_message(c, &message), WEIR_E_STATE);
        weir_channel *p;
        CHECK_OK(weir_channel_open(&p, NAME, WEIR_PRODUCER,
                                   &(weir_channel_options){ .kind = k->kind, .capacity = 8192, .record_bytes = 500 }));
        CHECK(facts_of(c).capacity != 0 && facts_of(c).record_max >= 500);
        check_works(k, p, c);
        CHECK_OK(weir_channel_close(p));
        CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_CLOSED);
        CHECK_OK(weir_channel_close(c));
    }
}

Test(kinds_open, what_both_state_and_state_differently_is_a_mismatch_that_names_both)
{
    const char *dir = support_shm_dir();
    FOR_EACH_KIND(k)
        for (weir_role role = WEIR_PRODUCER; role <= WEIR_CONSUMER; role++) {
            weir_role other = role == WEIR_PRODUCER ? WEIR_CONSUMER : WEIR_PRODUCER;
            weir_channel *one;
            weir_channel_options options = { .kind = k->kind, .capacity = 8192, .type.name = "apples" };
            CHECK_OK(weir_channel_open(&one, NAME, role, &options));
            options.capacity = 65536;
            check_refused(NAME, other, options, WEIR_E_MISMATCH, "8192", "65536");
            options.capacity = 8192;
            options.type.name = "pears";
            check_refused(NAME, other, options, WEIR_E_MISMATCH, "apples", "pears");
            options.type.name = NULL;
            FOR_EACH_KIND(another) {
                options.kind = another->kind;
                if (another != k)
                    check_refused(NAME, other, options, WEIR_E_MISMATCH, k->name, another->name);
            }
            weir_channel_facts facts = facts_of(one); /* who was refused was never there */
            CHECK((role == WEIR_PRODUCER ? facts.consumer : facts.producer).generation == 0);
            CHECK_STATUS(receive_nothing(one, WEIR_NOWAIT), role == WEIR_PRODUCER ? WEIR_E_STATE : WEIR_EMPTY);
            options = (weir_channel_options){ .kind = k->kind, .capacity = 8000, .type.name = "apples" };
            CHECK_OK(try_open(NAME, other, options));
            CHECK_OK(weir_channel_close(one));
            CHECK(support_entries(dir, true) == 0);
        }
}

Test(kinds_open, a_record_is_as_long_as_the_limit_and_no_longer)
{
    (void)support_shm_dir();
    static unsigned char out[16384], in[16384];
    FOR_EACH_KIND(k) {
        weir_channel_options options = { .kind = k->kind, .capacity = 16384, .record_bytes = k->for_record ? 1001 : 0 };
        weir_channel *p, *c = open_kind(NAME, k->kind, WEIR_CONSUMER, 0);
        CHECK_OK(weir_channel_open(&p, NAME, WEIR_PRODUCER, &options));
        uint32_t max = facts_of(p).record_max, len = 0;
        CHECK(k->for_record ? max == 1001 : max >= 16384 / 4 - 24);
        for (uint64_t size = max - 9; size <= max; size++) {
            message_fill(out, size, size);
            CHECK_OK(weir_send(p, out, size, WEIR_NOWAIT));
            CHECK_STATUS(weir_receive(c, in, size - 1, &len, HELP_DEADLINE), WEIR_E_TOO_SMALL);
            CHECK(len == size);
            CHECK_OK(weir_receive(c, in, sizeof in, &len, WEIR_NOWAIT));
            CHECK(len == size && message_is_whole(in, size, size));
        }
        void *slot;
        uint32_t sent = 7;
        CHECK_STATUS(weir_send(p, out, max + 1, WEIR_NOWAIT), WEIR_E_TOO_LARGE);
        CHECK_STATUS(weir_send_more(p, out, max + 1, HELP_DEADLINE), WEIR_E_TOO_LARGE);
        CHECK_STATUS(weir_reserve(p, max + 1, &slot, WEIR_NOWAIT), WEIR_E_TOO_LARGE);
        CHECK_STATUS(weir_send_array(p, out, max + 1, 1, &sent, WEIR_NOWAIT), WEIR_E_TOO_LARGE);
        CHECK(sent == 0);
        CHECK_STATUS(weir_send(p, out, UINT64_MAX, WEIR_NOWAIT), WEIR_E_TOO_LARGE);
        CHECK_OK(weir_reserve(p, max, &slot, WEIR_NOWAIT));
        CHECK_OK(weir_commit(p, 0));
        CHECK_OK(weir_receive(c, in, 0, &len, WEIR_NOWAIT));
        CHECK(len == 0);
        CHECK_OK(weir_channel_close(p));
        options.record_bytes = max + 1;
        char limit[32];
        (void)snprintf(limit, sizeof limit, "%u", max);
        check_refused(NAME, WEIR_PRODUCER, options, WEIR_E_TOO_LARGE, limit, "over the limit");
        CHECK(facts_of(c).producer.generation == 1);
        CHECK_OK(weir_channel_close(c));
    }
}

Test(kinds_open, there_is_room_for_as_many_as_it_was_made_for_and_a_place_that_was_left_is_free)
{
    const char *dir = support_shm_dir();
    FOR_EACH_KIND(k)
        for (weir_role role = WEIR_PRODUCER; role <= WEIR_CONSUMER; role++) {
            bool many = role == WEIR_PRODUCER ? k->producers : k->consumers;
            weir_channel *all[3];
            weir_channel_options options = { .kind = k->kind, .capacity = 4096, .record_bytes = 64 };
            options.producers = k->producers ? 3 : 1;
            options.consumers = k->consumers ? 3 : 1;
            uint32_t room = many ? 3 : 1;
            for (uint32_t i = 0; i < room; i++) {
                CHECK_OK(weir_channel_open(&all[i], NAME, role, &options));
                CHECK(facts_of(all[i]).slot == i);
            }
            const char *who = role == WEIR_PRODUCER ? "producer" : "consumer";
            check_refused(NAME, role, options, WEIR_E_IN_USE, who, "live");
            weir_channel_facts facts = facts_of(all[0]);
            CHECK((role == WEIR_PRODUCER ? facts.producers_alive : facts.consumers_alive) == room);
            uint32_t place = room - 1;
            for (int round = 0; round < 3; round++) { /* left, and taken again */
                CHECK_OK(weir_channel_close(all[place]));
                CHECK_OK(weir_channel_open(&all[place], NAME, role, &options));
                CHECK(facts_of(all[place]).slot == place);
            }
            /* Who wants more than there is is refused; who wants less is not. */
            weir_channel_options wants = options;
            if (many && role == WEIR_PRODUCER)
                wants.producers = 4;
            else if (many)
                wants.consumers = 4;
            if (many) {
                CHECK_OK(weir_channel_close(all[2]));
                check_refused(NAME, role, wants, WEIR_E_MISMATCH, "3", "4");
                CHECK_OK(weir_channel_open(&all[2], NAME, role, &(weir_channel_options){ .kind = k->kind }));
            }
            for (uint32_t i = 0; i < room; i++)
                CHECK_OK(weir_channel_close(all[i]));
            CHECK(support_entries(dir, true) == 0);
        }
}

Test(kinds_open, more_of_a_role_than_the_kind_has_is_invalid)
{
    const char *dir = support_shm_dir();
    FOR_EACH_KIND(k) {
        weir_channel_options options = { .kind = k->kind, .producers = k->producers ? WEIR_MEMBERS_MAX + 1 : 2 };
        check_refused(NAME, WEIR_PRODUCER, options, WEIR_E_INVALID, k->name, "producer");
        options = (weir_channel_options){ .kind = k->kind, .consumers = k->consumers ? WEIR_MEMBERS_MAX + 1 : 2 };
        check_refused(NAME, WEIR_CONSUMER, options, WEIR_E_INVALID, k->name, "consumer");
        options = (weir_channel_options){ .kind = k->kind, .capacity = WEIR_CAPACITY_MAX + 1 };
        check_refused(NAME, WEIR_CONSUMER, options, WEIR_E_INVALID, "capacity", "at most");
        options = (weir_channel_options){ .kind = k->kind, .producers = k->producers ? WEIR_MEMBERS_MAX : 1,
                                          .consumers = k->consumers ? WEIR_MEMBERS_MAX : 1, .capacity = 4096,
                                          .record_bytes = 32 };
        weir_channel *p, *c;
        CHECK_OK(weir_channel_open(&p, NAME, WEIR_PRODUCER, &options));
        CHECK_OK(weir_channel_open(&c, NAME, WEIR_CONSUMER, &options));
        check_works(k, p, c);
        CHECK_OK(weir_channel_close(p));
        CHECK_OK(weir_channel_close(c));
    }
    check_refused(NAME, WEIR_CONSUMER, (weir_channel_options){ .kind = (weir_kind)8 }, WEIR_E_UNSUPPORTED, "8", "");
    CHECK(support_entries(dir, true) == 0);
}

Test(kinds_open, a_number_is_refused_while_its_holder_lives_and_free_again_after)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k)
        for (weir_role role = WEIR_PRODUCER; role <= WEIR_CONSUMER; role++) {
            if (!(role == WEIR_PRODUCER ? k->producers : k->consumers))
                continue;
            weir_channel_options options = { .kind = k->kind, .capacity = 4096, .identity = 7 };
            weir_channel *other, *seven;
            pid_t child = child_stands(NAME, role, options, works_not);
            check_refused(NAME, role, options, WEIR_E_IN_USE, "7", role == WEIR_PRODUCER ? "producer" : "consumer");
            options.identity = 8;
            CHECK_OK(weir_channel_open(&other, NAME, role, &options));
            /* The other role's numbers are their own. */
            options.identity = 7;
            CHECK_OK(try_open(NAME, role == WEIR_PRODUCER ? WEIR_CONSUMER : WEIR_PRODUCER, options));
            child_kill(child);
            CHECK_OK(weir_channel_open(&seven, NAME, role, &options));
            check_refused(NAME, role, options, WEIR_E_IN_USE, "7", "live");
            CHECK_OK(weir_channel_close(seven));
            CHECK_OK(weir_channel_open(&seven, NAME, role, &options));
            options.identity = 0; /* none: any number of them */
            CHECK_OK(try_open(NAME, role, options));
            CHECK_OK(weir_channel_close(seven));
            CHECK_OK(weir_channel_close(other));
        }
}

/* Lanes are made one after the other while the consumer holds what it reads in place. */
static void grow_under_a_reader(const struct kind_row *k)
{
    weir_channel *p[WEIR_MEMBERS_DEFAULT], *c = open_kind(NAME, k->kind, WEIR_CONSUMER, 0);
    const void *held[WEIR_MEMBERS_DEFAULT];
    for (uint32_t i = 0; i < WEIR_MEMBERS_DEFAULT; i++) {
        unsigned char out[100];
        uint32_t len;
        p[i] = open_kind(NAME, k->kind, WEIR_PRODUCER, 65536);
        CHECK(facts_of(p[i]).slot == i);
        message_fill(out, i, sizeof out);
        CHECK_OK(weir_send(p[i], out, sizeof out, WEIR_NOWAIT));
        CHECK_OK(weir_peek(c, &held[i], &len, HELP_DEADLINE));
        CHECK(len == sizeof out);
        CHECK(message_of(c).producer == i);
        for (uint32_t j = 0; j <= i; j++) /* none of them has moved or changed */
            CHECK(message_is_whole(held[j], j, sizeof out));
    }
    check_refused(NAME, WEIR_PRODUCER, (weir_channel_options){ .kind = k->kind }, WEIR_E_IN_USE, "64", "producers");
    CHECK(facts_of(c).producers_alive == WEIR_MEMBERS_DEFAULT);
    CHECK_OK(weir_release(c));
    for (uint32_t i = 0; i < WEIR_MEMBERS_DEFAULT; i++) {
        CHECK_OK(weir_channel_drain(p[i], WEIR_NOWAIT));
        CHECK_OK(weir_channel_close(p[i]));
    }
    CHECK_STATUS(receive_nothing(c, WEIR_NOWAIT), WEIR_CLOSED);
    CHECK_OK(weir_channel_close(c));
}

Test(kinds_open, producers_come_one_by_one_while_the_consumer_reads_in_place)
{
    const char *dir = support_shm_dir();
    FOR_EACH_KIND(k)
        if (k->producers) {
            grow_under_a_reader(k);
            CHECK(support_entries(dir, true) == 0);
        }
}

static uint64_t bytes_of_section(void)
{
    struct third third;
    third_open(&third, NAME);
    uint64_t bytes = weir_section_size(third.section);
    third_close(&third);
    return bytes;
}

Test(kinds_open, a_channel_takes_the_memory_of_the_producers_it_has_had_at_once)
{
    (void)support_shm_dir();
    FOR_EACH_KIND(k) {
        if (!k->producers)
            continue;
        weir_channel *p = open_kind(NAME, k->kind, WEIR_PRODUCER, 0);
        weir_channel *c = open_kind(NAME, k->kind, WEIR_CONSUMER, 0);
        uint64_t lane = facts_of(p).capacity, one = bytes_of_section();
        CHECK(facts_of(p).producers == 64 && one > lane && one < lane + lane / 4);
        check_works(k, p, c);
        weir_channel *other = open_kind(NAME, k->kind, WEIR_PRODUCER, 0);
        uint64_t two = bytes_of_section();
        CHECK(two - one >= lane && two - one < lane + lane / 4);
        check_works(k, other, c);
        CHECK_OK(weir_channel_close(other));
        other = open_kind(NAME, k->kind, WEIR_PRODUCER, 0); /* in the lane that was left */
        check_works(k, other, c);
        CHECK(bytes_of_section() == two);
        CHECK_OK(weir_channel_close(other));
        CHECK_OK(weir_channel_close(p));
        CHECK_OK(weir_channel_close(c));
    }
}
