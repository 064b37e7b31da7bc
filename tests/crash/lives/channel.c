/* Channels of every kind: a producer's life, and a consumer's. */
#include "lives/sleeper.h"

#define SECOND "second"
#define TYPE "a message of a life"
#define RECORD 900u      /* bytes of the long messages */
#define SHORT 5u         /* how many of the others there are, of which the last two are a batch */
#define MESSAGES 5u      /* that wait for a consumer's life */
#define IDENTITY 5u
#define LONG_MAX 39u     /* what surely fills a lane */
#define POLL_MS 2000     /* 50 ms, and what a busy machine adds */
#define TERMS_NS INT64_C(2000000000) /* that an open waits for one that stands still */
#define SETTLED_MS 30    /* behind which nobody is told of a close any more */
#define LAP 40u          /* messages that come round all lanes */

/* Numbers of messages, by who sends them. */
enum { OF_LIFE = 0, OF_SAME = 1, OF_DEAD = 2, OF_NEXT = 3, OWNER_STRIDE = 100 };

/* Only how it begins is another than that of who joins. */
static bool is_short(const life_scene *s) { return s->setting >= LIFE_AFTER; }

/* Does each message go to one consumer only? */
static bool is_shared_out(const life_scene *s) { return s->kind->kind <= WEIR_MPMC; }

static bool sends_for_many(const life_scene *s) { return s->kind->producers; }

/* Who states something states the capacity and the type. */
static weir_channel *come(const life_scene *s, weir_role role, uint64_t identity, bool states)
{
    weir_channel *channel;
    weir_channel_options options = {
        .kind = s->kind->kind,
        .capacity = !states ? 0 : s->kind->kind == WEIR_MPMC ? 8192 : 4096,
        .record_bytes = RECORD,
        .type = states ? (weir_type){ TYPE, 8, 8, 1 } : (weir_type){ NULL, 0, 0, 0 },
        .wait = WEIR_WAIT_SLEEP, /* without spinning, whose length is left to chance */
        .producers = s->kind->producers ? 3 : 0,
        .consumers = s->kind->consumers ? 3 : 0,
        .identity = identity,
    };
    CHECK_OK(weir_channel_open(&channel, LIFE_NAME, role, &options));
    return channel;
}

static weir_channel *come_second(weir_role role)
{
    weir_channel *channel;
    CHECK_OK(weir_channel_open(&channel, SECOND, role,
                               &(weir_channel_options){ .capacity = 4096, .wait = WEIR_WAIT_SLEEP }));
    return channel;
}

static uint64_t length_of(uint64_t id)
{
    uint64_t number = id % OWNER_STRIDE;
    return number < SHORT && id < OF_NEXT * OWNER_STRIDE ? 8 + 8 * number : RECORD;
}

static weir_status give(weir_channel *channel, uint64_t id, bool more, weir_timeout timeout)
{
    unsigned char msg[RECORD];
    steps_pause();
    message_fill(msg, id, length_of(id));
    steps_go_on();
    return more ? weir_send_more(channel, msg, length_of(id), timeout) : weir_send(channel, msg, length_of(id), timeout);
}

/* One message, whole. */
static weir_status take(weir_channel *channel, uint64_t *id, weir_timeout timeout)
{
    unsigned char msg[RECORD];
    uint32_t len = 0;
    weir_status status = weir_receive(channel, msg, sizeof msg, &len, timeout);
    if (status == WEIR_OK) {
        steps_pause();
        *id = message_id(msg);
        CHECK(len == length_of(*id) && message_is_whole(msg, *id, len));
        steps_go_on();
    }
    return status;
}

/* ---- those who are lost before, or beside it ---- */

/* A process of that role comes, does some of its work, and is killed. */
static void lose(const life_scene *s, weir_role role)
{
    pid_t child = child_fork();
    if (child == 0) {
        steps_forget();
        weir_channel *channel = come(s, role, 0, true);
        uint64_t id;
        const void *msg;
        uint32_t len;
        if (role == WEIR_PRODUCER) {
            CHECK_OK(give(channel, OF_DEAD * OWNER_STRIDE, false, WEIR_NOWAIT));
            CHECK_OK(give(channel, OF_DEAD * OWNER_STRIDE + 1, true, WEIR_NOWAIT));
        } else {
            bool counts = is_shared_out(s) || s->setting == LIFE_AFTER; /* of the life's place, or for all */
            if (take(channel, &id, WEIR_NOWAIT) == WEIR_OK && counts)
                life_note(&s->notes->had, UINT64_C(1) << id);
            (void)weir_peek(channel, &msg, &len, WEIR_NOWAIT); /* and never releases it */
        }
        life_kill_self();
    }
    CHECK(support_wait(child) == -SIGKILL);
}

/* ---- a producer's life ---- */

static void wait_in_poll(life_scene *s, weir_channel *c)
{
    uint64_t id;
    CHECK_OK(weir_channel_descriptor(c, &s->fd));
    CHECK_STATUS(take(c, &id, WEIR_NOWAIT), WEIR_EMPTY); /* and its word is armed */
}

static void prepare_for_producer(life_scene *s)
{
    for (unsigned who = 0; who < 4; who++)
        s->next[who] = who * OWNER_STRIDE;
    if (s->setting == LIFE_FIRST)
        return;
    /* The ring comes with the producer; but who reads a broadcast before it has one misses its beginning. */
    s->other = come(s, WEIR_CONSUMER, 0, s->kind->kind == WEIR_BROADCAST);
    if (s->setting == LIFE_BESIDE)
        s->same = come(s, WEIR_PRODUCER, 0, true);
    if (s->setting == LIFE_ASLEEP_ANY)
        s->second = come_second(WEIR_CONSUMER);
    if (s->setting == LIFE_AFTER)
        lose(s, WEIR_PRODUCER);
    else if (s->polls)
        wait_in_poll(s, s->other);
}

static void send_noted(life_scene *s, weir_channel *p, uint64_t id)
{
    life_note(&s->notes->begun, id + 1);
    CHECK_OK(give(p, id, false, WEIR_NOWAIT));
    life_note(&s->notes->done, id + 1);
}

static weir_status fill(life_scene *s, weir_channel *p)
{
    uint64_t id = SHORT;
    weir_status status = WEIR_OK;
    for (; status == WEIR_OK && id < (s->kind->waits ? LONG_MAX : SHORT + 2); id++) {
        life_note(&s->notes->begun, id + 1);
        status = give(p, id, false, LIFE_WAIT);
        if (status == WEIR_OK)
            life_note(&s->notes->done, id + 1);
        else
            life_note(&s->notes->begun, id);
    }
    return status;
}

static void check_among(weir_status status, weir_status one, weir_status other, weir_status third)
{
    if (status != one && status != other)
        CHECK_STATUS(status, third);
}

/* The steps begin when who goes on has gone to sleep. */
static weir_channel *come_and_ask(life_scene *s, weir_role role)
{
    steps_pause();
    weir_channel *channel = come(s, role, IDENTITY, role == WEIR_PRODUCER);
    life_note(&s->notes->asks, 1);
    CHECK(raise(SIGSTOP) == 0);
    steps_go_on();
    return channel;
}

/* Who goes on sleeps, in poll or in a call, when the one message comes, and in a call when the end does. */
static void live_as_waker(life_scene *s)
{
    weir_channel *p = come_and_ask(s, WEIR_PRODUCER);
    life_operation("wake");
    send_noted(s, p, 0);
    if (s->setting == LIFE_WAKES)
        steps_pause();
    else
        life_operation("leave");
    CHECK_OK(weir_channel_close(p));
}

static void settle(life_scene *s)
{
    uint64_t id;
    struct pollfd readable = { .fd = s->fd, .events = POLLIN };
    do
        CHECK_STATUS(take(s->other, &id, WEIR_NOWAIT), WEIR_EMPTY);
    while (poll(&readable, 1, SETTLED_MS) != 0);
}

static void live_as_producer(life_scene *s)
{
    int fd;
    life_operation("open");
    weir_channel *p = come(s, WEIR_PRODUCER, IDENTITY, true);
    if (s->polls) {
        life_operation("descriptor");
        CHECK_OK(weir_channel_descriptor(p, &fd));
    }
    life_operation("send");
    for (uint64_t id = 0; id < SHORT - 2; id++)
        send_noted(s, p, id);
    life_operation("batch");
    life_note(&s->notes->begun, SHORT);
    CHECK_OK(give(p, SHORT - 2, true, WEIR_NOWAIT));
    CHECK_OK(give(p, SHORT - 1, false, WEIR_NOWAIT));
    life_note(&s->notes->done, SHORT);
    if (s->setting == LIFE_RECOVERS) {
        steps_pause();
        lose(s, WEIR_CONSUMER);
        steps_go_on();
    }
    life_operation(s->setting == LIFE_RECOVERS ? "fill-and-recover" : "fill");
    check_among(fill(s, p), WEIR_OK, WEIR_TIMEOUT, WEIR_OK);
    if (!is_short(s)) {
        life_operation("cancel");
        CHECK_OK(weir_channel_cancel(p));
        life_operation("drain");
        check_among(weir_channel_drain(p, LIFE_WAIT), WEIR_OK, WEIR_TIMEOUT, WEIR_CANCELLED);
        check_among(weir_channel_drain(p, LIFE_WAIT), WEIR_OK, WEIR_TIMEOUT, WEIR_CANCELLED);
    }
    life_operation("close");
    CHECK_OK(weir_channel_close(p));
}

/* The end of peers, of whom nothing was told. */
static weir_status end_of(weir_presence presence)
{
    return presence == WEIR_DEAD ? WEIR_DIED : presence == WEIR_LEFT ? WEIR_CLOSED : WEIR_EMPTY;
}

/* Takes what there is: of each producer its messages in order, and none left out. */
static weir_status take_in_order(life_scene *s, weir_timeout timeout)
{
    uint64_t id;
    weir_status status;
    while ((status = take(s->other, &id, timeout)) == WEIR_OK) {
        uint64_t *next = &s->next[id / OWNER_STRIDE < 3 ? id / OWNER_STRIDE : 3];
        CHECK(s->kind->kind == WEIR_LATEST ? id >= *next : id == *next);
        *next = id + 1;
        timeout = WEIR_NOWAIT;
    }
    if (status == WEIR_CLOSED || status == WEIR_DIED)
        s->told = (uint64_t)facts_of(s->other).producer.generation + 1;
    return status;
}

/* The end that is still to be told: of each generation it is told once. */
static weir_status end_to_tell(const life_scene *s, const weir_participant *producer)
{
    return s->told == (uint64_t)producer->generation + 1 ? WEIR_EMPTY : end_of(producer->presence);
}

static void beside_producer(life_scene *s)
{
    if (s->other == NULL) /* who comes now may have to wait for it */
        return;
    (void)take_in_order(s, WEIR_NOWAIT);
    weir_presence presence = facts_of(s->other).producer.presence; /* it may have left, or never come */
    check_among(take_in_order(s, LIFE_WAIT), WEIR_TIMEOUT, WEIR_EMPTY, end_of(presence));
    if (s->same != NULL) {
        weir_status status = give(s->same, s->next[OF_SAME], false, LIFE_WAIT);
        CHECK_OK(status);
        CHECK_STATUS(take_in_order(s, HELP_DEADLINE), WEIR_EMPTY);
    }
}

/* What an observer sees of the life is its own words, or none. */
static void observe(const life_scene *s, weir_role role)
{
    weir_observer *observer;
    weir_member members[WEIR_CHANNEL_PLACES_MAX];
    uint32_t count;
    CHECK_OK(weir_observer_open(&observer, LIFE_NAME, NULL));
    CHECK_OK(weir_observer_members(observer, members, WEIR_CHANNEL_PLACES_MAX, &count));
    for (uint32_t i = 0; i < count; i++) {
        const weir_member *m = &members[i];
        if (m->role != role || !m->known || m->identity != IDENTITY)
            continue;
        CHECK(m->process == (uint64_t)s->life && m->presence != WEIR_ALIVE);
        if (role == WEIR_PRODUCER)
            CHECK(m->held.messages >= life_noted(&s->notes->done) && m->held.messages <= life_noted(&s->notes->begun));
        else
            CHECK(m->held.recovered <= 2);
    }
    CHECK_OK(weir_observer_close(observer));
}

static void go_round(life_scene *s, weir_channel *p, weir_channel *c)
{
    for (uint64_t id = OF_NEXT * OWNER_STRIDE; id < OF_NEXT * OWNER_STRIDE + LAP; id++) {
        uint64_t got = 0;
        CHECK_OK(give(p, id, false, HELP_DEADLINE)); /* a dead one gates until that is known */
        CHECK_OK(take(c, &got, HELP_DEADLINE));
        CHECK(got == id);
    }
    CHECK_OK(weir_channel_drain(p, HELP_DEADLINE));
    (void)s;
}

static void follow_a_producer(life_scene *s, bool killed)
{
    uint64_t done = life_noted(&s->notes->done), begun = life_noted(&s->notes->begun);
    if (s->other == NULL)
        s->other = come(s, WEIR_CONSUMER, 0, true);
    weir_participant producer = facts_of(s->other).producer;
    weir_presence presence = producer.presence;
    CHECK(presence != WEIR_ALIVE || s->same != NULL);
    CHECK(killed || presence == WEIR_ABSENT || presence == WEIR_LEFT || s->same != NULL);
    weir_status end = end_to_tell(s, &producer);
    if (s->fd > 0 && end != WEIR_EMPTY)
        CHECK(poll(&(struct pollfd){ .fd = s->fd, .events = POLLIN }, 1, POLL_MS) == 1);
    weir_status told = take_in_order(s, WEIR_NOWAIT);
    if (told == WEIR_EMPTY && end != WEIR_EMPTY) /* the news may still be under way */
        told = take_in_order(s, WEIR_MILLISECONDS(POLL_MS));
    CHECK_STATUS(told, end);
    if (s->setting != LIFE_FIRST) {
        CHECK(done <= s->next[OF_LIFE] && s->next[OF_LIFE] <= begun);
        CHECK(s->next[OF_LIFE] != SHORT - 1 || s->kind->kind == WEIR_LATEST); /* half a batch */
        CHECK(killed || s->next[OF_LIFE] == begun);
        observe(s, WEIR_PRODUCER);
    }
    if (s->same != NULL) {
        CHECK_OK(give(s->same, s->next[OF_SAME], false, HELP_DEADLINE));
        CHECK_STATUS(take_in_order(s, HELP_DEADLINE), WEIR_EMPTY);
        CHECK_OK(weir_channel_close(s->same));
        producer = facts_of(s->other).producer;
        end = end_to_tell(s, &producer);
        CHECK_STATUS(take_in_order(s, HELP_DEADLINE), end);
    }
    weir_channel *p = come(s, WEIR_PRODUCER, IDENTITY, true);
    weir_channel_facts facts = facts_of(p);
    CHECK(strcmp(facts.type, TYPE) == 0 && facts.type_size == 8 && facts.type_alignment == 8 && facts.type_version == 1);
    go_round(s, p, s->other);
    CHECK_OK(weir_channel_close(p));
    CHECK_STATUS(take_in_order(s, HELP_DEADLINE), WEIR_CLOSED);
    CHECK_OK(weir_channel_close(s->other));
}

/* ---- a consumer's life ---- */

static void send_bit(life_scene *s, weir_channel *p, uint64_t id)
{
    weir_status status = give(p, id, false, WEIR_NOWAIT);
    check_among(status, WEIR_OK, WEIR_FULL, end_of(facts_of(p).consumer.presence)); /* which may have left */
    if (status == WEIR_OK)
        s->sent |= UINT64_C(1) << id;
}

static void prepare_for_consumer(life_scene *s)
{
    if (s->setting == LIFE_FIRST)
        return;
    s->other = come(s, WEIR_PRODUCER, 0, true);
    if (s->setting == LIFE_BESIDE)
        s->same = come(s, WEIR_CONSUMER, 0, false);
    for (uint64_t id = 0; id < MESSAGES; id++)
        send_bit(s, s->other, id);
    if ((s->setting == LIFE_THERE || s->setting == LIFE_ASLEEP) && s->kind->waits) { /* and the life makes room */
        if (s->setting == LIFE_THERE) /* for who waits in poll */
            CHECK_OK(weir_channel_descriptor(s->other, &s->fd));
        for (uint64_t id = MESSAGES; id < LONG_MAX; id++)
            send_bit(s, s->other, id);
        CHECK_STATUS(give(s->other, LONG_MAX, false, WEIR_NOWAIT), WEIR_FULL);
    }
    if (s->setting == LIFE_AFTER)
        lose(s, WEIR_CONSUMER);
    if (s->setting == LIFE_ANY) {
        s->second = come_second(WEIR_PRODUCER);
        send_bit(s, s->second, 40);
        send_bit(s, s->second, 41);
    }
}

static void note_had(const life_scene *s, uint64_t id)
{
    life_note(&s->notes->had, life_noted(&s->notes->had) | UINT64_C(1) << id);
}

static weir_status receive_noted(life_scene *s, weir_channel *c, weir_timeout timeout)
{
    uint64_t id;
    life_note(&s->notes->begun, 1);
    weir_status status = take(c, &id, timeout);
    if (status == WEIR_OK)
        note_had(s, id);
    life_note(&s->notes->begun, 0);
    return status;
}

static void wait_for_any(life_scene *s, weir_channel *c)
{
    life_operation("open-another");
    weir_channel *both[2] = { c, come_second(WEIR_CONSUMER) };
    uint32_t which = 0;
    weir_status status;
    life_operation("wait-any");
    while ((status = weir_wait_any(both, 2, &which, LIFE_WAIT)) == WEIR_OK)
        check_among(receive_noted(s, both[which], WEIR_NOWAIT), WEIR_OK, WEIR_EMPTY, WEIR_OK);
    CHECK_STATUS(status, WEIR_TIMEOUT);
    life_operation("close-another");
    CHECK_OK(weir_channel_close(both[1]));
}

/* Peeks and, unless it is to leave with it, releases. */
static void peek_noted(life_scene *s, weir_channel *c, bool releases)
{
    const void *msg;
    uint32_t len;
    if (weir_peek(c, &msg, &len, WEIR_NOWAIT) != WEIR_OK || !releases)
        return;
    uint64_t id = message_id(msg);
    life_note(&s->notes->begun, 1);
    CHECK_OK(weir_release(c));
    note_had(s, id);
    life_note(&s->notes->begun, 0);
}

static void wait_in_vain(life_scene *s, weir_channel *c)
{
    weir_channel_facts facts;
    life_operation("sleep");
    check_among(receive_noted(s, c, LIFE_WAIT), WEIR_OK, WEIR_TIMEOUT, WEIR_EMPTY);
    life_operation("cancel");
    CHECK_OK(weir_channel_cancel(c));
    check_among(receive_noted(s, c, HELP_DEADLINE), WEIR_OK, WEIR_CANCELLED, WEIR_OK);
    life_operation("info");
    CHECK_OK(weir_channel_info(c, &facts));
}

static void live_as_consumer(life_scene *s)
{
    int fd;
    life_operation("open");
    weir_channel *c = come(s, WEIR_CONSUMER, IDENTITY, s->polls);
    if (s->polls) {
        life_operation("descriptor");
        CHECK_OK(weir_channel_descriptor(c, &fd));
    }
    if (s->setting == LIFE_ANY)
        wait_for_any(s, c);
    if (s->setting == LIFE_RECOVERS) {
        steps_pause();
        lose(s, WEIR_CONSUMER);
        steps_go_on();
    }
    life_operation("receive");
    check_among(receive_noted(s, c, WEIR_NOWAIT), WEIR_OK, WEIR_EMPTY, WEIR_OK);
    life_operation("peek");
    peek_noted(s, c, true);
    if (s->setting == LIFE_RECOVERS || !is_short(s)) {
        life_operation("receive-all");
        while (receive_noted(s, c, WEIR_NOWAIT) == WEIR_OK)
            continue;
    } else {
        life_operation("hold");
        peek_noted(s, c, false);
    }
    if (!is_short(s))
        wait_in_vain(s, c);
    life_operation("close");
    CHECK_OK(weir_channel_close(c));
}

static void take_bits(life_scene *s, weir_channel *c, bool all)
{
    uint64_t id, last = UINT64_MAX;
    while (take(c, &id, WEIR_NOWAIT) == WEIR_OK) {
        CHECK(id < 64 && (s->taken >> id & 1) == 0);
        CHECK(!all || last == UINT64_MAX || id == last + 1);
        s->taken |= UINT64_C(1) << id;
        last = id;
    }
}

static void beside_consumer(life_scene *s)
{
    if (s->other == NULL)
        return;
    uint64_t id = 0;
    while (s->sent >> id & 1)
        id++;
    send_bit(s, s->other, id);
    weir_presence presence = facts_of(s->other).consumer.presence; /* it may have left */
    check_among(weir_channel_drain(s->other, LIFE_WAIT), WEIR_OK, WEIR_TIMEOUT, end_of(presence));
}

/* Each of those who copy all: what one gets is without a gap, up to the newest. */
static void check_tail(const life_scene *s, uint64_t sent, bool must)
{
    uint64_t taken = s->taken & ((UINT64_C(1) << 40) - 1);
    if (taken == 0) {
        CHECK(!must);
        return;
    }
    unsigned newest = 63 - (unsigned)__builtin_clzll(sent), oldest = (unsigned)__builtin_ctzll(taken);
    if (s->kind->kind == WEIR_LATEST)
        CHECK(taken == UINT64_C(1) << newest);
    else
        CHECK(taken == (((UINT64_C(2) << newest) - 1) & ~((UINT64_C(1) << oldest) - 1)));
}

/* Has the life had the newest that was sent?  One that is killed in a receive may have. */
static bool has_newest(const life_scene *s, uint64_t sent, bool killed)
{
    uint64_t newest = UINT64_C(1) << (63 - __builtin_clzll(sent));
    return (life_noted(&s->notes->had) & newest) != 0 || (killed && life_noted(&s->notes->begun) != 0);
}

static void follow_on_second(life_scene *s)
{
    weir_channel *c = come_second(WEIR_CONSUMER);
    take_bits(s, c, true);
    CHECK_OK(weir_channel_drain(s->second, HELP_DEADLINE));
    CHECK_OK(weir_channel_close(c));
    CHECK_OK(weir_channel_close(s->second));
}

static void follow_a_consumer(life_scene *s, bool killed)
{
    if (s->other == NULL)
        s->other = come(s, WEIR_PRODUCER, 0, true);
    else
        observe(s, WEIR_CONSUMER);
    weir_presence presence = facts_of(s->other).consumer.presence;
    if (s->fd > 0 && (presence == WEIR_DEAD || presence == WEIR_LEFT)) /* there is room, or an end to hear of */
        CHECK(poll(&(struct pollfd){ .fd = s->fd, .events = POLLIN }, 1, POLL_MS) == 1);
    uint64_t sent = s->sent & ((UINT64_C(1) << 40) - 1);
    if (s->same != NULL) {
        take_bits(s, s->same, !is_shared_out(s));
        if (!is_shared_out(s)) { /* it has all of it, whatever the life had */
            check_tail(s, sent, true);
            CHECK(s->kind->kind == WEIR_LATEST || s->taken == sent);
            s->taken = 0;
        }
        CHECK_OK(weir_channel_close(s->same));
    }
    weir_channel *c = come(s, WEIR_CONSUMER, IDENTITY, false);
    take_bits(s, c, !sends_for_many(s));
    if (s->second != NULL)
        follow_on_second(s);
    if (is_shared_out(s))
        life_check_once(s, killed && life_noted(&s->notes->begun) != 0);
    else if (sent != 0) /* the newest value is not for who has had it */
        check_tail(s, sent, s->kind->kind == WEIR_LATEST && !has_newest(s, sent, killed));
    if (s->kind->kind == WEIR_BROADCAST_GATED) /* the place's next holder gets what was not released, and no more */
        CHECK((life_noted(&s->notes->had) & s->taken) == 0);
    go_round(s, s->other, c);
    CHECK_OK(weir_channel_close(c));
    CHECK_OK(weir_channel_close(s->other));
}

/* ---- who goes on is asleep in a call ---- */

/* In the sleeper's thread, which has s->other, and s->second, until it has ended. */

static void follow_sleeping_producer(life_scene *s, bool killed);

static weir_status receive_asleep(life_scene *s)
{
    weir_status status;
    while ((status = take_in_order(s, WEIR_FOREVER)) == WEIR_EMPTY)
        continue;
    return status;
}

static weir_status wait_asleep(life_scene *s)
{
    weir_channel *both[2] = { s->second, s->other };
    weir_status status;
    do {
        uint32_t which = 0;
        CHECK_OK(weir_wait_any(both, 2, &which, WEIR_FOREVER));
        CHECK(which == 1);
    } while ((status = take_in_order(s, WEIR_NOWAIT)) == WEIR_EMPTY);
    return status;
}

static uint64_t next_to_send(const life_scene *s) { return (uint64_t)__builtin_ctzll(~s->sent); }

static weir_status send_asleep(life_scene *s) { return give(s->other, next_to_send(s), false, WEIR_FOREVER); }

static void fall_asleep(life_scene *s)
{
    bool sends = s->follow == follow_sleeping_producer;
    sleeper_begin(s, sends ? send_asleep : s->second != NULL ? wait_asleep : receive_asleep);
}

/* It wakes who sends. */
static void live_as_room_maker(life_scene *s)
{
    weir_channel *c = come_and_ask(s, WEIR_CONSUMER);
    life_operation("make-room");
    while (receive_noted(s, c, WEIR_NOWAIT) == WEIR_OK)
        continue;
    life_operation("leave");
    CHECK_OK(weir_channel_close(c));
}

static void leave_alone(life_scene *s) { (void)s; }

/* All that was committed has reached the sleeper, and the end it was told is the life's. */
static void follow_sleeping_consumer(life_scene *s, bool killed)
{
    if (sleeper_is_there()) { /* it was not lost before it came */
        weir_status told = sleeper_end();
        CHECK_STATUS(told, end_of(facts_of(s->other).producer.presence));
        CHECK(s->next[OF_LIFE] >= life_noted(&s->notes->done));
    }
    if (s->second != NULL)
        CHECK_OK(weir_channel_close(s->second));
    follow_a_producer(s, killed);
}

/* There was room for the one message, or the end was told. */
static void follow_sleeping_producer(life_scene *s, bool killed)
{
    weir_status told = sleeper_is_there() ? sleeper_end() : end_of(facts_of(s->other).consumer.presence);
    if (told == WEIR_OK)
        s->sent |= UINT64_C(1) << next_to_send(s);
    else
        CHECK_STATUS(told, end_of(facts_of(s->other).consumer.presence));
    follow_a_consumer(s, killed);
}

/* ---- another who comes while it stands still ---- */

/* It is let in, or told why not, in time; and its leaving changes nothing. */
static void intrude(life_scene *s)
{
    weir_channel *channel;
    weir_role role = s->follow == follow_a_producer ? WEIR_PRODUCER : WEIR_CONSUMER;
    int64_t begun = help_now_ns();
    weir_status status = weir_channel_open(&channel, LIFE_NAME, role, &(weir_channel_options){ .kind = s->kind->kind });
    CHECK(help_now_ns() - begun < 2 * TERMS_NS);
    check_among(status, WEIR_OK, WEIR_E_BUSY, WEIR_E_IN_USE);
    if (status == WEIR_OK)
        CHECK_OK(weir_channel_close(channel));
}

/* ---- the table ---- */

static bool applies(const struct kind_row *k, bool produces, life_setting setting)
{
    switch (setting) {
    case LIFE_BESIDE: return produces ? k->producers : k->consumers;
    case LIFE_RECOVERS: return produces ? k->kind == WEIR_BROADCAST_GATED : k->kind == WEIR_MPMC || k->kind == WEIR_BROADCAST_GATED;
    case LIFE_WAKES: return produces;
    case LIFE_ASLEEP: return produces || k->waits;
    case LIFE_ASLEEP_ANY: return produces && (k->kind == WEIR_SPSC || k->kind == WEIR_MPMC || k->kind == WEIR_BROADCAST_GATED);
    case LIFE_ANY: return !produces && (k->kind == WEIR_SPSC || k->kind == WEIR_MPMC || k->kind == WEIR_BROADCAST_GATED);
    default: return true;
    }
}

static life_scene scene(const struct kind_row *k, bool produces, life_setting setting)
{
    bool asleep = setting >= LIFE_ASLEEP;
    life_scene s = {
        .prepare = produces ? prepare_for_producer : prepare_for_consumer,
        .settle = asleep ? fall_asleep : settle,
        .live = produces ? live_as_producer : live_as_consumer,
        .beside = asleep ? leave_alone : produces ? beside_producer : beside_consumer,
        .intrude = asleep ? NULL : intrude,
        .follow = produces ? follow_a_producer : follow_a_consumer,
        .kind = k,
        .setting = setting,
        .polls = setting == LIFE_THERE || setting == LIFE_FIRST || setting == LIFE_WAKES,
    };
    if (setting >= LIFE_WAKES)
        s.live = produces ? live_as_waker : live_as_room_maker;
    if (asleep)
        s.follow = produces ? follow_sleeping_consumer : follow_sleeping_producer;
    return s;
}

unsigned life_channels(life_scene *out, unsigned max)
{
    static const char *const names[] = { "first", "joins", "beside", "after", "recovers", "any", "wakes", "asleep", "asleep-any" };
    unsigned count = 0;
    FOR_EACH_KIND(k)
        for (int produces = 1; produces >= 0; produces--)
            for (int setting = LIFE_FIRST; setting <= LIFE_ASLEEP_ANY; setting++) {
                if (!applies(k, produces != 0, (life_setting)setting))
                    continue;
                CHECK(count < max);
                life_scene *s = &out[count++];
                *s = scene(k, produces != 0, (life_setting)setting);
                (void)snprintf(s->ring, sizeof s->ring, "%s", k->name);
                (void)snprintf(s->name, sizeof s->name, "%s-%s", produces ? "producer" : "consumer", names[setting]);
            }
    return count;
}
