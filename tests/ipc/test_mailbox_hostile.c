/* Mailboxes: heads and addresses that no weir writes.  Dropped and counted, or a status; never anybody else's loss. */
#include <criterion/criterion.h>

#include "mailbox_help.h"

#include <weir/ipc/kind.h>

#define NAME "Local/clock"

/* A sender that writes the channel's bytes itself. */
static weir_channel *stranger(const char *name)
{
    weir_channel *channel;
    CHECK_OK(weir_channel_open(&channel, name, WEIR_PRODUCER,
                               &(weir_channel_options){ .kind = (weir_kind)WEIR_KIND_MAILBOX }));
    return channel;
}

struct forged {
    struct mail_head head;
    char rest[WEIR_NAME_TEXT_MAX + 48];
};

static struct forged plain(weir_mailbox *back)
{
    weir_mailbox_facts facts = mailbox_facts(back);
    return (struct forged){ .head = { .magic = MAIL_MAGIC, .owner = facts.owner, .generation = 1 } };
}

static void put(weir_channel *channel, const struct forged *forged, uint64_t len)
{
    CHECK_OK(weir_send(channel, forged, len, WEIR_NOWAIT));
}

Test(mailbox_hostile, a_head_that_no_weir_writes_is_dropped_and_counted)
{
    (void)support_shm_dir();
    weir_mailbox *mailbox = own(NAME, 0), *back = own(NULL, 0);
    weir_sender *sender = sends_to(NAME, NULL);
    weir_channel *bad = stranger(NAME);
    struct forged good = plain(back), forged;
    uint64_t dropped = 0, id = 0;
    put(bad, &good, 48);
    CHECK(get_nothing(mailbox, WEIR_NOWAIT) == WEIR_OK); /* so that the ones below are refused for what is wrong in them */
#define BAD(len, ...)                                                                                                  \
    do {                                                                                                               \
        forged = good;                                                                                                 \
        __VA_ARGS__;                                                                                                   \
        put(bad, &forged, len);                                                                                        \
        dropped++;                                                                                                     \
        post_id(sender, ++id);                                                                                         \
        (void)get_id(mailbox, id);                                                                                     \
        CHECK_STATUS(get_nothing(mailbox, WEIR_NOWAIT), WEIR_EMPTY);                                                   \
        CHECK(mailbox_facts(mailbox).malformed == dropped);                                                            \
    } while (0)
    for (uint64_t len = 0; len < 48; len++)
        BAD(len, (void)0);
    BAD(48, forged.head.magic ^= 1);
    for (unsigned flag = 4; flag < 256; flag *= 2)
        BAD(48, forged.head.flags = (uint8_t)flag);
    BAD(48, forged.head.zero = 1);
    BAD(48, forged.head.zero_too = 1);
    BAD(48, forged.head.flags = MAIL_ANSWER);                                   /* to nobody */
    BAD(48, forged.head.to = 1);                                                /* no answer, and to somebody */
    BAD(48, (forged.head.flags = MAIL_ANSWER, forged.head.to = 1));             /* an answer that wants one */
    BAD(48, forged.head.owner = 0);                                             /* the generation of nobody */
    BAD(48, (forged.head.owner = 0, forged.head.generation = 0, forged.head.flags = MAIL_CALL));
    BAD(56, (forged.head.owner = 0, forged.head.generation = 0, forged.head.name_len = 1, forged.rest[0] = 'a'));
    for (unsigned len = 1; len < 256; len++)
        BAD(48 + (len - 1) / 8 * 8, (forged.head.name_len = (uint8_t)len, memset(forged.rest, 'a', 200))); /* cut */
    BAD(48 + 216, (forged.head.name_len = WEIR_NAME_TEXT_MAX, memset(forged.rest, 'a', 216))); /* no end */
    BAD(56, (forged.head.name_len = 8, memcpy(forged.rest, "Local\0/a", 8)));   /* an end inside */
    BAD(56, (forged.head.name_len = 1, forged.rest[0] = 0));
    CHECK_OK(weir_channel_close(bad));
    CHECK_OK(weir_sender_close(sender));
    CHECK_OK(weir_mailbox_close(back));
    CHECK_OK(weir_mailbox_close(mailbox));
}

Test(mailbox_hostile, an_address_of_nobody_is_a_status_and_makes_nothing)
{
    const char *dir = support_shm_dir();
    weir_mailbox *mailbox = own(NAME, 0), *back = own(NULL, 0), *named = own("Local/named", 0);
    weir_channel *bad = stranger(NAME), *channel = open_as("Local/channel", WEIR_CONSUMER, 4096);
    weir_section *section;
    CHECK_OK(weir_section_create(&section, "Local/data", 4096, NULL));
    struct forged good = plain(back), forged;
    unsigned entries = support_entries(dir, false);
#define ADDRESS(status, text, ...)                                                                                     \
    do {                                                                                                               \
        weir_mail mail;                                                                                                \
        forged = good;                                                                                                 \
        __VA_ARGS__;                                                                                                   \
        forged.head.name_len = (uint8_t)strlen(text);                                                                  \
        memcpy(forged.rest, text, strlen(text));                                                                       \
        put(bad, &forged, mail_head_bytes(forged.head.name_len));                                                      \
        CHECK_OK(weir_mailbox_receive(mailbox, &mail, NULL, 0, WEIR_NOWAIT));                                          \
        CHECK(strcmp(mail.from.name, text) == 0);                                                                      \
        CHECK_STATUS(answer_id(mailbox, &mail, 1), status);                                                            \
        CHECK(support_entries(dir, false) == entries);                                                                 \
    } while (0)
    ADDRESS(WEIR_OK, "", (void)0);
    ADDRESS(WEIR_CLOSED, "", forged.head.owner ^= 1);
    ADDRESS(WEIR_CLOSED, "", forged.head.generation = 2);
    ADDRESS(WEIR_CLOSED, "", forged.head.generation = 0);
    ADDRESS(WEIR_CLOSED, "Local/nobody", (void)0);
    ADDRESS(WEIR_CLOSED, "Global/nobody", (void)0);
    ADDRESS(WEIR_CLOSED, "Local/named", (void)0); /* is there, and another's */
    ADDRESS(WEIR_OK, "Local/named", forged.head.owner = mailbox_facts(named).owner);
    ADDRESS(WEIR_CLOSED, "Local/named", (forged.head.owner = mailbox_facts(named).owner, forged.head.generation = 9));
    ADDRESS(WEIR_E_MISMATCH, "Local/channel", (void)0);
    ADDRESS(WEIR_E_MISMATCH, "Local/data", (void)0);
    ADDRESS(WEIR_E_NAME, "../etc/passwd", (void)0);
    ADDRESS(WEIR_E_NAME, "Local/a/b", (void)0);
    ADDRESS(WEIR_E_NAME, "Local/\033[2J", (void)0);
    ADDRESS(WEIR_CLOSED, "a", (void)0);
    /* Itself: in either spelling, and by the number of its owner. */
    ADDRESS(WEIR_E_INVALID, NAME, forged.head.owner = mailbox_facts(mailbox).owner);
    ADDRESS(WEIR_CLOSED, NAME, (void)0);
    CHECK_STATUS(get_nothing(mailbox, WEIR_NOWAIT), WEIR_EMPTY);
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_channel_close(channel));
    CHECK_OK(weir_channel_close(bad));
    CHECK_OK(weir_mailbox_close(named));
    CHECK_OK(weir_mailbox_close(back));
    CHECK_OK(weir_mailbox_close(mailbox));
    CHECK(support_entries(dir, true) == 0);
}

Test(mailbox_hostile, an_answer_that_nobody_asked_for_is_dropped)
{
    (void)support_shm_dir();
    weir_mailbox *mailbox = own(NAME, 0), *back = own("Local/back", 0);
    weir_sender *sender = sends_to(NAME, back);
    weir_channel *bad = stranger("Local/back");
    uint64_t owner = mailbox_facts(back).owner, answer = 77;
    struct forged forged = { .head = { .magic = MAIL_MAGIC, .flags = MAIL_ANSWER | MAIL_CALL, .to = owner } };
    for (uint64_t number = 0; number < 4; number++) { /* before the call has its number, or none */
        forged.head.correlation = number;
        put(bad, &forged, 48);
    }
    CHECK_STATUS(get_nothing(back, WEIR_NOWAIT), WEIR_EMPTY);
    forged.head.correlation = UINT64_MAX;
    put(bad, &forged, 48);
    CHECK_STATUS(call_id(sender, 1, &answer, WEIR_MILLISECONDS(5)), WEIR_TIMEOUT);
    CHECK(mailbox_facts(back).late == 5 && answer == 77);
    forged.head.to = owner + 1;
    forged.head.flags = MAIL_ANSWER;
    put(bad, &forged, 48);
    CHECK_STATUS(get_nothing(back, WEIR_NOWAIT), WEIR_EMPTY);
    CHECK(mailbox_facts(back).late == 6);
    CHECK_OK(weir_channel_close(bad));
    CHECK_OK(weir_sender_close(sender));
    CHECK_OK(weir_mailbox_close(back));
    CHECK_OK(weir_mailbox_close(mailbox));
}

Test(mailbox_hostile, random_heads_give_a_message_or_are_dropped)
{
    (void)support_shm_dir();
    uint64_t seed = support_seed();
    weir_mailbox *mailbox = own(NAME, 0), *back = own(NULL, 0);
    weir_channel *bad = stranger(NAME);
    struct forged good = plain(back);
    for (uint64_t i = 0; i < support_count(200000); i++) {
        struct forged forged = good;
        memcpy(forged.rest, "Local/named", 11);
        forged.head.name_len = 11;
        for (uint64_t n = support_random(&seed) % 4; n > 0; n--) {
            uint64_t random = support_random(&seed);
            ((unsigned char *)&forged)[random % 72] ^= (unsigned char)(1u << (random >> 32 & 7));
        }
        uint64_t len = support_random(&seed) % sizeof forged;
        put(bad, &forged, len);
        weir_mail mail;
        unsigned char *end = support_page_end();
        weir_status status = weir_mailbox_receive(mailbox, &mail, end - 256, 256, WEIR_NOWAIT);
        CHECK(status == WEIR_OK || status == WEIR_EMPTY);
        if (status == WEIR_OK && i % 64 == 0)
            CHECK(answer_id(mailbox, &mail, 1) != WEIR_E_CORRUPT);
    }
    CHECK_OK(weir_channel_close(bad));
    CHECK_OK(weir_mailbox_close(back));
    CHECK_OK(weir_mailbox_close(mailbox));
}
