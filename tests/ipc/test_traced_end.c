/* The tracepoint weir:peer_end fires once for each end that a mailbox's sender is told of, and for no other.  Its sites
 * in this program are found as a tracer finds them, and their nops made breakpoints, which count. */
#include <criterion/criterion.h>

#include "mailbox_help.h"

#include <elf.h>
#include <link.h>

#define NAME "Local/traced"

#ifdef __x86_64__

static volatile sig_atomic_t fired;

static void count_one(int number)
{
    (void)number;
    fired++; /* and goes on behind the breakpoint: what was there is a nop of one byte */
}

static void break_at(unsigned char *site)
{
    unsigned char *page = site - ((uintptr_t)site & 4095);
    if (*site != 0x90)
        cr_skip_test("a tracepoint's site is no nop of one byte");
    if (mprotect(page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC) != 0)
        cr_skip_test("this system lets no program change itself");
    *site = 0xcc;
    CHECK(mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0);
}

/* A note's description: address of the site, of the section .stapsdt.base and of a semaphore; provider, name. */
static unsigned break_at_ends(const unsigned char *notes, size_t size, uintptr_t bias)
{
    unsigned found = 0;
    while (size >= sizeof(Elf64_Nhdr)) {
        Elf64_Nhdr note;
        memcpy(&note, notes, sizeof note);
        const unsigned char *text = notes + sizeof note + ((note.n_namesz + 3u) & ~3u);
        uint64_t address;
        memcpy(&address, text, sizeof address);
        const char *provider = (const char *)text + 24, *name = provider + strlen(provider) + 1;
        if (strcmp(provider, "weir") == 0 && strcmp(name, "peer_end") == 0) {
            break_at((unsigned char *)(bias + address));
            found++;
        }
        size_t whole = sizeof note + ((note.n_namesz + 3u) & ~3u) + ((note.n_descsz + 3u) & ~3u);
        notes += whole;
        size -= whole;
    }
    return found;
}

static int first_bias(struct dl_phdr_info *info, size_t size, void *bias)
{
    (void)size;
    *(uintptr_t *)bias = info->dlpi_addr; /* the program itself comes first */
    return 1;
}

static void count_ends(void)
{
    static unsigned char file[16u << 20];
    FILE *self = fopen("/proc/self/exe", "rb");
    CHECK(self != NULL);
    size_t size = fread(file, 1, sizeof file, self);
    CHECK(fclose(self) == 0 && size > sizeof(Elf64_Ehdr) && size < sizeof file);
    uintptr_t bias = 0;
    (void)dl_iterate_phdr(first_bias, &bias);
    CHECK(signal(SIGTRAP, count_one) != SIG_ERR);
    Elf64_Ehdr head;
    memcpy(&head, file, sizeof head);
    Elf64_Shdr section, names;
    memcpy(&names, file + head.e_shoff + (size_t)head.e_shstrndx * sizeof names, sizeof names);
    unsigned found = 0;
    for (unsigned i = 0; i < head.e_shnum; i++) {
        memcpy(&section, file + head.e_shoff + i * sizeof section, sizeof section);
        if (strcmp((const char *)file + names.sh_offset + section.sh_name, ".note.stapsdt") == 0)
            found += break_at_ends(file + section.sh_offset, section.sh_size, bias);
    }
    if (found == 0)
        cr_skip_test("sys/sdt.h was not there at build: there are no tracepoints");
}

/* An owner that goes once its sender sleeps on a full lane. */
static pid_t owner_goes(bool killed)
{
    struct gate there = gate_make();
    pid_t child = child_fork();
    if (child == 0) {
        weir_mailbox *mailbox;
        CHECK_OK(weir_mailbox_open(&mailbox, NAME, &(weir_mailbox_options){ .capacity = 4096 }));
        weir_observer *observer;
        CHECK_OK(weir_observer_open(&observer, NAME, NULL));
        gate_open(there);
        weir_member members[2];
        uint32_t count = 0;
        do
            CHECK_OK(weir_observer_members(observer, members, 2, &count));
        while (weir_members_total(members, count < 2 ? count : 2, WEIR_PRODUCER).slept == 0);
        if (killed)
            (void)raise(SIGKILL);
        CHECK_OK(weir_observer_close(observer));
        CHECK_OK(weir_mailbox_close(mailbox));
        _exit(0);
    }
    gate_wait(there);
    gate_close(there);
    return child;
}

Test(traced_end, an_owner_that_goes_while_its_sender_waits_for_room_is_traced_once)
{
    (void)support_shm_dir();
    count_ends();
    for (int calls = 0; calls < 2; calls++)
        for (int killed = 0; killed < 2; killed++) {
            weir_status end = killed ? WEIR_DIED : WEIR_CLOSED;
            weir_mailbox *back = own(NULL, 0);
            pid_t child = owner_goes(killed);
            weir_sender *sender = sends_to(NAME, back);
            uint64_t id = 0, answer;
            while (weir_sender_send(sender, 0, 0, &id, sizeof id, WEIR_NOWAIT) == WEIR_OK)
                id++;
            fired = 0;
            CHECK_STATUS(calls ? call_id(sender, id, &answer, HELP_DEADLINE)
                               : weir_sender_send(sender, 0, 0, &id, sizeof id, HELP_DEADLINE), end);
            CHECK(fired == 1);
            CHECK(support_wait(child) == (killed ? -SIGKILL : 0));
            CHECK_STATUS(weir_sender_send(sender, 0, 0, &id, sizeof id, WEIR_MILLISECONDS(5)), WEIR_TIMEOUT);
            CHECK(fired == 1); /* nothing is told any more */
            CHECK_OK(weir_sender_close(sender));
            CHECK_OK(weir_mailbox_close(back));
        }
}

#else

Test(traced_end, an_owner_that_goes_while_its_sender_waits_for_room_is_traced_once)
{
    cr_skip_test("breakpoints are made for x86-64 only");
}

#endif
