/* tools/weir/channel.c - what stat shows of a channel: what it is, who is there, what they have counted. */
#include "tool.h"

#include <weir/ipc/channel_layout.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* The pid namespace of the numbers that this process sees; 0: not known. */
static uint64_t own_pid_space(void)
{
    struct stat st;
    return stat("/proc/self/ns/pid", &st) == 0 ? (uint64_t)st.st_ino : 0;
}

static const char *kind_text(weir_kind kind, char *text, size_t size)
{
    static const char *const names[] = { [WEIR_SPSC] = "spsc",
                                         [WEIR_MPSC] = "mpsc",
                                         [WEIR_MPSC_ORDERED] = "mpsc-ordered",
                                         [WEIR_MPMC] = "mpmc",
                                         [WEIR_BROADCAST] = "broadcast",
                                         [WEIR_BROADCAST_GATED] = "broadcast-gated",
                                         [WEIR_LATEST] = "latest",
                                         [WEIR_KIND_MAILBOX] = "mailbox",
                                         [WEIR_KIND_MAILBOX_DISCARD] = "mailbox-discard" };
    uint32_t number = (uint32_t)kind;
    if (number < sizeof names / sizeof names[0] && names[number] != NULL)
        return names[number];
    (void)snprintf(text, size, "%u", number);
    return text;
}

static const char *role_text(weir_role role) { return role == WEIR_PRODUCER ? "producer" : "consumer"; }

static const char *presence_text(weir_presence presence)
{
    return presence == WEIR_ALIVE ? "alive" : presence == WEIR_DEAD ? "dead" : "left";
}

static const char *position_text(weir_position position)
{
    static const char *const texts[] = { "none", "published", "released", "claimed", "read" };
    return (size_t)position < sizeof texts / sizeof texts[0] ? texts[position] : "?";
}

/* ISO 8601, in UTC; "-" where there is none. */
static const char *time_text(uint64_t ns, char *text, size_t size)
{
    time_t seconds = (time_t)(ns / 1000000000);
    struct tm when;
    if (ns == 0 || gmtime_r(&seconds, &when) == NULL || strftime(text, size, "%Y-%m-%dT%H:%M:%SZ", &when) == 0)
        return "-";
    return text;
}

/* ---- for programs ---- */

static void json_counts(const char *name, const weir_counts *counts)
{
    (void)printf(",\"%s\":{\"messages\":%llu,\"full\":%llu,\"slept\":%llu,\"woken\":%llu,\"lost\":%llu,\"recovered\":%llu}",
                 name, (unsigned long long)counts->messages, (unsigned long long)counts->full,
                 (unsigned long long)counts->slept, (unsigned long long)counts->woken, (unsigned long long)counts->lost,
                 (unsigned long long)counts->recovered);
}

static void json_member(const weir_member *m, uint64_t pid_space)
{
    char text[32];
    (void)printf("{\"role\":\"%s\",\"place\":%u,\"state\":\"%s\",\"generation\":%u,\"deaths\":%u,\"known\":%s",
                 role_text(m->role), m->place, presence_text(m->presence), m->generation, m->deaths,
                 m->known ? "true" : "false");
    (void)printf(",\"process\":%llu,\"pid_namespace\":%llu,\"same_pid_namespace\":%s",
                 (unsigned long long)m->process, (unsigned long long)m->pid_space,
                 m->pid_space != 0 && m->pid_space == pid_space ? "true" : "false");
    (void)printf(",\"identity\":%llu,\"since\":\"%s\",\"since_ns\":%llu", (unsigned long long)m->identity,
                 time_text(m->since_ns, text, sizeof text), (unsigned long long)m->since_ns);
    json_counts("counts", &m->held);
    json_counts("counts_of_all_holders", &m->all);
    if (m->position_is != WEIR_POSITION_NONE)
        (void)printf(",\"position\":%llu,\"position_is\":\"%s\"", (unsigned long long)m->position,
                     position_text(m->position_is));
    (void)putchar('}');
}

static void json_channel(const weir_channel_facts *facts, const weir_member *members, uint32_t count)
{
    char kind[16];
    uint64_t pid_space = own_pid_space();
    (void)printf(",\"channel\":{\"kind\":\"%s\",\"capacity\":%llu,\"record_max\":%u,\"layout_version\":%u,\"type\":",
                 kind_text(facts->kind, kind, sizeof kind), (unsigned long long)facts->capacity, facts->record_max,
                 WEIR_CHANNEL_VERSION); /* an observer opens no other */
    tool_json_text(facts->type);
    (void)printf(",\"type_size\":%u,\"type_alignment\":%u,\"type_version\":%u", facts->type_size, facts->type_alignment,
                 facts->type_version);
    (void)printf(",\"producers\":%u,\"producers_alive\":%u,\"consumers\":%u,\"consumers_alive\":%u", facts->producers,
                 facts->producers_alive, facts->consumers, facts->consumers_alive);
    weir_counts sent = weir_members_total(members, count, WEIR_PRODUCER);
    weir_counts received = weir_members_total(members, count, WEIR_CONSUMER);
    json_counts("counts_of_producers", &sent);
    json_counts("counts_of_consumers", &received);
    (void)fputs("},\"participants\":[", stdout);
    for (uint32_t i = 0; i < count; i++) {
        (void)fputs(i != 0 ? ",\n " : "\n ", stdout);
        json_member(&members[i], pid_space);
    }
    (void)putchar(']');
}

/* ---- for people ---- */

static void print_counts(const weir_counts *counts)
{
    (void)printf("  %12llu  %8llu  %8llu  %8llu  %8llu  %6llu", (unsigned long long)counts->messages,
                 (unsigned long long)counts->full, (unsigned long long)counts->slept, (unsigned long long)counts->woken,
                 (unsigned long long)counts->lost, (unsigned long long)counts->recovered);
}

static void print_member(const weir_member *m, uint64_t pid_space)
{
    char since[32];
    (void)printf("  %-8s  %5u  %-5s  %10u  %6u  %-20s", role_text(m->role), m->place, presence_text(m->presence),
                 m->generation, m->deaths, time_text(m->since_ns, since, sizeof since));
    print_counts(&m->held);
    if (m->known)
        (void)printf("  process %llu", (unsigned long long)m->process);
    else
        (void)printf("  -");
    if (m->known && (m->pid_space == 0 || pid_space == 0))
        (void)printf(" (of a pid namespace that is not known)");
    else if (m->known && m->pid_space != pid_space)
        (void)printf(" (of another pid namespace)");
    if (m->identity != 0)
        (void)printf(", identity %llu", (unsigned long long)m->identity);
    if (m->position_is != WEIR_POSITION_NONE)
        (void)printf(", %s %llu", position_text(m->position_is), (unsigned long long)m->position);
    (void)putchar('\n');
}

static void print_total(const weir_member *members, uint32_t count, weir_role role)
{
    weir_counts sum = weir_members_total(members, count, role);
    (void)printf("  %-62s", role == WEIR_PRODUCER ? "all producers there ever were" : "all consumers there ever were");
    print_counts(&sum);
    (void)putchar('\n');
}

static void print_channel(weir_channel_facts *facts, const weir_member *members, uint32_t count)
{
    char kind[16];
    uint64_t pid_space = own_pid_space();
    (void)printf("  channel   kind %s, channel layout %u, ", kind_text(facts->kind, kind, sizeof kind), WEIR_CHANNEL_VERSION);
    if (facts->capacity != 0)
        (void)printf("capacity %llu bytes, longest message %u\n", (unsigned long long)facts->capacity, facts->record_max);
    else
        (void)printf("no ring that is known here\n");
    tool_printable(facts->type);
    if (facts->type[0] != 0)
        (void)printf("  type      %s, size %u, alignment %u, version %u (0: not stated)\n", facts->type, facts->type_size,
                     facts->type_alignment, facts->type_version);
    (void)printf("  present   %u producers of %u, %u consumers of %u\n", facts->producers_alive, facts->producers,
                 facts->consumers_alive, facts->consumers);
    (void)printf("  %-8s  %5s  %-5s  %10s  %6s  %-20s  %12s  %8s  %8s  %8s  %8s  %6s  %s\n", "ROLE", "PLACE", "STATE",
                 "GENERATION", "DEATHS", "SINCE", "MESSAGES", "FULL", "SLEPT", "WOKEN", "LOST", "RECOV.", "WHO, POSITION");
    for (uint32_t i = 0; i < count; i++)
        print_member(&members[i], pid_space);
    print_total(members, count, WEIR_PRODUCER);
    print_total(members, count, WEIR_CONSUMER);
}

void tool_channel(const weir_section_info *info, bool json)
{
    static weir_member members[WEIR_CHANNEL_PLACES_MAX];
    weir_observer *observer;
    weir_channel_facts facts;
    uint32_t count = 0;
    /* Whoever it belongs to: it is this one that was asked for. */
    weir_section_options options = { .mode = 0777, .flags = WEIR_EXPECT_OWNER, .owner = info->owner };
    weir_status status = weir_observer_open(&observer, info->name, &options);
    if (status == WEIR_E_NOT_FOUND) /* nobody is there, or it is gone by now */
        return;
    if (status == WEIR_OK) {
        status = weir_observer_channel(observer, &facts);
        if (status == WEIR_OK)
            status = weir_observer_members(observer, members, WEIR_CHANNEL_PLACES_MAX, &count);
        (void)weir_observer_close(observer);
    }
    if (status == WEIR_OK && json)
        json_channel(&facts, members, count);
    else if (status == WEIR_OK)
        print_channel(&facts, members, count);
    else if (json)
        (void)printf(",\"channel_why\":\"%s\"", weir_status_name(status));
    else
        (void)printf("  channel   %s: %s\n", weir_status_text(status), weir_error_detail());
}
