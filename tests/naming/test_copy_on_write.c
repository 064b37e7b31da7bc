#include "files.h"

#include <criterion/criterion.h>

#define SIZE (4 * KIB64 + 100)

/* ---- a section of each kind, and further handles of it ---- */

enum kind { NAMED, UNNAMED, OF_FILE, ON_DISK, KINDS };
static const char *const kind_names[] = { "named", "unnamed", "file", "file on a disk" };

struct subject {
    enum kind kind;
    const char *dir;
    path_text path;      /* of a file */
    weir_section *owner; /* read-write */
};

static struct subject make(enum kind kind, const char *dir, uint64_t size)
{
    struct subject s = { .kind = kind, .dir = dir, .path = in_folder(kind == ON_DISK ? disk_path : dir, "subject") };
    if (kind == NAMED)
        CHECK_OK(weir_section_create(&s.owner, "Local/subject", size, NULL));
    else if (kind == UNNAMED)
        CHECK_OK(weir_section_create_unnamed(&s.owner, size, &(weir_section_options){ .label = "subject" }));
    else
        s.owner = open_file(s.path.text, size, WEIR_READ_WRITE, WEIR_FILE_NEW);
    return s;
}

static weir_section *again_with(const struct subject *s, const weir_section_options *options)
{
    weir_section *section;
    weir_handle handle;
    if (s->kind == NAMED) {
        CHECK_OK(weir_section_open(&section, "Local/subject", options));
    } else if (s->kind == UNNAMED) {
        weir_access access = options->access == WEIR_READ_WRITE ? WEIR_READ_WRITE : WEIR_READ_ONLY;
        CHECK_OK(weir_section_export(s->owner, access, false, &handle));
        CHECK_OK(weir_section_attach(&section, handle, options));
        CHECK_OK(weir_handle_close(handle));
    } else {
        CHECK_OK(weir_section_open_file(&section, s->path.text, 0, options));
    }
    return section;
}

static weir_section *again(const struct subject *s, weir_access access)
{
    return again_with(s, &(weir_section_options){ .access = access });
}

static void unmake(struct subject *s)
{
    CHECK_OK(weir_section_close(s->owner));
    if (s->kind >= OF_FILE)
        remove_file(s->path.text);
}

#define OF_EACH_KIND(s, size)                                                                                         \
    for (const char *subject_dir = (disk_dir(), support_shm_dir()); subject_dir != NULL; subject_dir = NULL)          \
        for (enum kind kind = NAMED; kind < KINDS; kind++)                                                            \
            for (struct subject s = make(kind, subject_dir, size); s.owner != NULL; end_of_subject(&s))

static void end_of_subject(struct subject *s)
{
    unmake(s);
    s->owner = NULL;
    CHECK(support_entries(s->dir, true) == 0);
    CHECK(mappings_of(s->dir).all == 0 && mappings_of(disk_path).all == 0);
}

static unsigned char at_page(const weir_view *view, uint64_t page)
{
    return ((const unsigned char *)view->base)[page * PAGE];
}

static void set_page(const weir_view *view, uint64_t page, int byte)
{
    uint64_t at = page * PAGE;
    memset((unsigned char *)view->base + at, byte, view->size - at < PAGE ? view->size - at : PAGE);
}

/* ---- who may have which view ---- */

Test(copy_on_write, a_writable_view_needs_a_read_write_section_and_the_others_any)
{
    static const weir_status expected[3][3] = {
        { WEIR_OK, WEIR_OK, WEIR_OK },
        { WEIR_E_ACCESS, WEIR_OK, WEIR_OK },
        { WEIR_E_ACCESS, WEIR_OK, WEIR_OK },
    };
    static const char *const rights[] = { "rw-s", "r--s", "rw-p" };
    static const char *const words[] = { "read-write", "read-only", "copy-on-write" };
    OF_EACH_KIND(s, SIZE)
        for (weir_access of = WEIR_READ_WRITE; of <= WEIR_COPY_ON_WRITE; of++) {
            weir_section *section = again(&s, of);
            for (weir_access access = WEIR_READ_WRITE; access <= WEIR_COPY_ON_WRITE; access++) {
                weir_view view = { .base = (void *)0x77, .offset = 1, .size = 2, .section = NULL };
                CHECK_KEEPS_ERRNO(weir_view_map(&view, section, KIB64, 0, access), expected[of][access]);
                if (expected[of][access] != WEIR_OK) {
                    cr_assert(view.base == (void *)0x77 && view.offset == 1 && view.size == 2 && view.section == NULL);
                    cr_assert(detail_has("subject") && detail_has(words[of]) && detail_has("a read-write view"));
                    continue;
                }
                cr_assert_str_eq(rights_at(view.base).text, rights[access], "%s, %s of %s", kind_names[kind],
                                 words[access], words[of]);
                cr_assert(view.offset == KIB64 && view.size == SIZE - KIB64);
                CHECK_OK(weir_view_refresh(&view));
                CHECK_OK(weir_view_flush(&view, 0, 0));
                CHECK_OK(weir_view_unmap(&view));
            }
            CHECK_OK(weir_section_flush(section));
            CHECK_KEEPS_ERRNO(weir_section_extend(section, SIZE), of == WEIR_READ_WRITE ? WEIR_OK : WEIR_E_PERMISSION);
            cr_assert(of == WEIR_READ_WRITE || (detail_has("subject") && detail_has(words[of])));
            CHECK_OK(weir_section_close(section));
        }
}

Test(copy_on_write, no_section_is_created_so)
{
    support_shm_dir();
    weir_section *section = UNTOUCHED;
    bool created = true;
    weir_section_options options = { .access = WEIR_COPY_ON_WRITE };
    CHECK_STATUS(weir_section_create(&section, "Local/subject", SIZE, &options), WEIR_E_INVALID);
    CHECK_STATUS(weir_section_open_or_create(&section, "Local/subject", SIZE, &options, &created), WEIR_E_INVALID);
    CHECK_STATUS(weir_section_create_unnamed(&section, SIZE, &options), WEIR_E_INVALID);
    cr_assert(section == UNTOUCHED && created);
}

/* ---- whose changes are seen ---- */

Test(copy_on_write, others_changes_are_seen_on_pages_not_written_to_and_own_ones_kept_on_those_that_were)
{
    OF_EACH_KIND(s, SIZE)
        for (weir_access of = WEIR_READ_WRITE; of <= WEIR_COPY_ON_WRITE; of++) {
            weir_section *section = again(&s, of);
            weir_view shared = map(s.owner, 0, 0, WEIR_READ_WRITE), own = map(section, 0, 0, WEIR_COPY_ON_WRITE);
            uint64_t pages = (SIZE + PAGE - 1) / PAGE;
            for (uint64_t page = 0; page < pages; page++) {
                set_page(&shared, page, 1);
                cr_assert_eq(at_page(&own, page), 1);
            }
            for (uint64_t page = 0; page < pages; page += 2) { /* one byte makes the page its own */
                uint64_t at = page * PAGE + (page == pages - 1 ? 99 : PAGE - 1);
                ((unsigned char *)own.base)[at] = 7;
            }
            for (int round = 2; round < 5; round++)
                for (uint64_t page = 0; page < pages; page++) {
                    set_page(&shared, page, round);
                    cr_assert_eq(at_page(&own, page), page % 2 == 0 ? 1 : round);
                    uint64_t at = page * PAGE + (page == pages - 1 ? 99 : PAGE - 1);
                    cr_assert_eq(((unsigned char *)own.base)[at], page % 2 == 0 ? 7 : round);
                    cr_assert_eq(((unsigned char *)shared.base)[at], round);
                }
            CHECK_OK(weir_view_unmap(&own));
            CHECK_OK(weir_view_unmap(&shared));
            CHECK_OK(weir_section_close(section));
        }
}

Test(copy_on_write, nothing_of_it_is_ever_written_back)
{
    OF_EACH_KIND(s, SIZE)
        for (weir_access of = WEIR_READ_WRITE; of <= WEIR_COPY_ON_WRITE; of++) {
            weir_section *section = again(&s, of);
            weir_view shared = map(s.owner, 0, 0, WEIR_READ_WRITE), own = map(section, 0, 0, WEIR_COPY_ON_WRITE);
            pattern_fill(shared.base, 0, SIZE);
            memset(own.base, 0xee, own.size);
            CHECK_OK(weir_view_flush(&own, 0, 0));
            CHECK_OK(weir_view_flush(&own, 5000, 1));
            CHECK_OK(weir_section_flush(section));
            weir_view second = map(section, KIB64, 0, WEIR_COPY_ON_WRITE), look = map(section, 0, 0, WEIR_READ_ONLY);
            for (uint64_t at = 0; at < SIZE; at++) {
                cr_assert_eq(((unsigned char *)shared.base)[at], pattern(at));
                cr_assert_eq(((unsigned char *)look.base)[at], pattern(at));
                cr_assert_eq(((unsigned char *)own.base)[at], 0xee);
                cr_assert(at < KIB64 || ((unsigned char *)second.base)[at - KIB64] == pattern(at)); /* begins anew */
            }
            memset(second.base, 0xdd, second.size); /* two have nothing to do with each other */
            cr_assert(at_page(&own, 16) == 0xee && at_page(&shared, 16) == pattern(KIB64));
            weir_view *views[] = { &own, &look, &second, &shared };
            for (int i = 0; i < 4; i++)
                CHECK_OK(weir_view_unmap(views[i]));
            CHECK_OK(weir_section_close(section));
            look = map(s.owner, 0, 0, WEIR_READ_ONLY);
            for (uint64_t at = 0; at < SIZE; at++)
                cr_assert_eq(((unsigned char *)look.base)[at], pattern(at));
            CHECK_OK(weir_view_unmap(&look));
            if (s.kind >= OF_FILE)
                check_file(s.path.text, SIZE, SIZE);
        }
}

/* What a read-write and three copy-on-write views must show, kept beside them. */
#define PAGES 12
#define COPIES 3

Test(copy_on_write, at_random_each_view_shows_what_a_model_of_it_says)
{
    static unsigned char common[PAGES * PAGE], copies[COPIES][PAGES * PAGE];
    uint64_t seed = support_seed();
    OF_EACH_KIND(s, PAGES * PAGE)
        for (int turn = 0; turn < 5; turn++) {
            bool touched[COPIES][PAGES] = { { false } };
            weir_section *section = again(&s, turn % 2 == 0 ? WEIR_COPY_ON_WRITE : WEIR_READ_ONLY);
            weir_view shared = map(s.owner, 0, 0, WEIR_READ_WRITE), own[COPIES];
            for (int i = 0; i < COPIES; i++)
                own[i] = map(i == 0 ? s.owner : section, 0, 0, WEIR_COPY_ON_WRITE);
            memcpy(common, shared.base, sizeof common);
            for (uint64_t round = support_count(40000); round > 0; round--) {
                uint64_t at = support_random(&seed) % sizeof common, page = at / PAGE;
                unsigned char byte = (unsigned char)support_random(&seed);
                int i = (int)(support_random(&seed) % (COPIES + 2));
                if (i >= COPIES) {
                    ((unsigned char *)shared.base)[at] = byte;
                    common[at] = byte;
                } else if (support_random(&seed) % 8 == 0) {
                    if (!touched[i][page])
                        memcpy(copies[i] + page * PAGE, common + page * PAGE, PAGE);
                    touched[i][page] = true;
                    ((unsigned char *)own[i].base)[at] = byte;
                    copies[i][at] = byte;
                }
                at = support_random(&seed) % sizeof common;
                page = at / PAGE;
                for (int c = 0; c < COPIES; c++)
                    cr_assert_eq(((unsigned char *)own[c].base)[at], (touched[c][page] ? copies[c] : common)[at]);
                if (round % 5000 == 0) { /* one begins anew */
                    int c = (int)(support_random(&seed) % COPIES);
                    CHECK_OK(weir_view_unmap(&own[c]));
                    own[c] = map(section, 0, 0, WEIR_COPY_ON_WRITE);
                    memset(touched[c], 0, sizeof touched[c]);
                }
            }
            cr_assert(memcmp(shared.base, common, sizeof common) == 0);
            for (int i = 0; i < COPIES; i++)
                CHECK_OK(weir_view_unmap(&own[i]));
            CHECK_OK(weir_view_unmap(&shared));
            CHECK_OK(weir_section_close(section));
        }
}

/* Neither prefaulting nor a lock in memory copies a page: that would hide others' changes. */
Test(copy_on_write, prefaulted_or_locked_it_still_shows_others_changes)
{
    OF_EACH_KIND(s, SIZE)
        for (uint32_t want = WEIR_PREFAULT; want <= (WEIR_PREFAULT | WEIR_LOCKED); want += WEIR_PREFAULT) {
            weir_section_options options = { .access = WEIR_COPY_ON_WRITE, .want = want };
            weir_section *section = again_with(&s, &options);
            weir_view shared = map(s.owner, 0, 0, WEIR_READ_WRITE), own = map(section, 0, 0, WEIR_COPY_ON_WRITE);
            int before = at_page(&own, 0), now = before + 1;
            for (uint64_t page = 0; page < SIZE / PAGE; page++) {
                set_page(&shared, page, now);
                cr_assert_eq(at_page(&own, page), now);
            }
            set_page(&own, 3, 99);
            cr_assert(at_page(&own, 3) == 99 && at_page(&shared, 3) == now && at_page(&own, 4) == now);
            CHECK_OK(weir_view_unmap(&own));
            CHECK_OK(weir_view_unmap(&shared));
            CHECK_OK(weir_section_close(section));
        }
}

/* ---- other processes ---- */

struct crossing {
    struct subject *subject;
    weir_section *section;
    weir_view shared;
};

static void cross(void *arg) /* an unnamed section's handle is inherited */
{
    struct crossing *c = arg;
    CHECK_OK(weir_view_map(&c->shared, c->section, 0, 0, WEIR_READ_WRITE));
    set_page(&c->shared, 0, 11);
    set_page(&c->shared, 1, 11);
}

static void begin_crossing(void *arg)
{
    struct crossing *c = arg;
    if (c->subject->kind == NAMED)
        CHECK_OK(weir_section_open(&c->section, "Local/subject", NULL));
    else
        c->section = open_file(c->subject->path.text, 0, WEIR_READ_WRITE, 0);
    cross(c);
}

static void end_crossing(void *arg)
{
    struct crossing *c = arg;
    CHECK(at_page(&c->shared, 0) == 11 && at_page(&c->shared, 1) == 11);
    CHECK_OK(weir_view_unmap(&c->shared));
    CHECK_OK(weir_section_close(c->section));
}

Test(copy_on_write, another_processs_changes_are_seen_and_it_sees_none)
{
    OF_EACH_KIND(s, SIZE) {
        if (s.kind == UNNAMED) /* attaching in a child: unnamed_handover shows it */
            continue;
        struct crossing c = { .subject = &s };
        weir_view own = map(s.owner, 0, 0, WEIR_COPY_ON_WRITE);
        set_page(&own, 0, 22);
        holder h = holder_start(begin_crossing, end_crossing, &c);
        cr_assert(at_page(&own, 0) == 22 && at_page(&own, 1) == 11);
        set_page(&own, 1, 22);
        holder_finish(&h);
        cr_assert(at_page(&own, 0) == 22 && at_page(&own, 1) == 22);
        CHECK_OK(weir_view_unmap(&own));
    }
}

Test(copy_on_write, a_forked_child_does_not_have_the_view)
{
    OF_EACH_KIND(s, SIZE) {
        weir_view own = map(s.owner, 0, 0, WEIR_COPY_ON_WRITE);
        memset(own.base, 5, own.size);
        pid_t child = fork();
        if (child == 0) {
            CHECK(rights_at(own.base).text[0] == 0);
            CHECK_STATUS(weir_view_flush(&own, 0, 0), WEIR_E_FORKED);
            CHECK_OK(weir_view_unmap(&own));
            CHECK_OK(weir_section_close(s.owner));
            _exit(0);
        }
        cr_assert_eq(support_wait(child), 0);
        cr_assert_eq(at_page(&own, 10), 5);
        CHECK_OK(weir_view_unmap(&own));
    }
}

/* It looks, as a reader does, and keeps no named section alive. */
Test(copy_on_write, a_handle_of_it_keeps_no_name_and_its_view_outlives_the_section)
{
    OF_EACH_KIND(s, SIZE) {
        weir_section *section = again(&s, WEIR_COPY_ON_WRITE);
        weir_view shared = map(s.owner, 0, 0, WEIR_READ_WRITE), own = map(section, 0, 0, WEIR_COPY_ON_WRITE);
        memset(shared.base, 3, SIZE);
        CHECK_OK(weir_view_unmap(&shared));
        CHECK_OK(weir_section_close(s.owner));
        cr_assert_eq(exists(section_path(s.dir, "subject").text), false);
        set_page(&own, 0, 4);
        cr_assert(at_page(&own, 0) == 4 && at_page(&own, 1) == 3);
        CHECK_OK(weir_view_unmap(&own));
        CHECK_OK(weir_section_close(section));
        if (s.kind >= OF_FILE)
            remove_file(s.path.text);
        s = make(kind, s.dir, SIZE); /* for the end of the loop */
    }
}

/* ---- what it costs the section ---- */

Test(copy_on_write, writes_to_it_take_nothing_of_a_sparse_file_and_leave_its_times)
{
    IN_EACH_FOLDER(dir) {
        path_text path = in_folder(dir, "sparse");
        file_write(path.text, "", 0, 0600);
        cr_assert_eq(truncate(path.text, (off_t)(5 * GIB)), 0);
        struct file_state before = state_of(path.text), after;
        weir_section *section = open_file(path.text, 0, WEIR_COPY_ON_WRITE, 0);
        for (uint64_t at = 0; at < 5 * GIB; at += 512 * MIB) {
            weir_view view = map(section, at, 2 * KIB64, WEIR_COPY_ON_WRITE);
            memset(view.base, 0xcc, view.size);
            cr_assert_eq(((unsigned char *)view.base)[view.size - 1], 0xcc);
            CHECK_OK(weir_view_unmap(&view));
            view = map(section, at, KIB64, WEIR_COPY_ON_WRITE);
            cr_assert_eq(((unsigned char *)view.base)[0], 0);
            CHECK_OK(weir_view_unmap(&view));
        }
        CHECK_OK(weir_section_flush(section));
        CHECK_OK(weir_section_close(section));
        after = state_of(path.text);
        if (strncmp(dir, "/dev/shm", 8) == 0)
            after.taken = before.taken; /* a tmpfs has memory even for a hole that was looked at */
        cr_assert(unchanged(&before, &after));
        remove_file(path.text);
    }
}

/* ---- reserved and sealed ones ---- */

Test(copy_on_write, of_reserved_room_it_reaches_what_is_committed_and_no_more)
{
    const char *dir = support_shm_dir();
    weir_section *owner, *section;
    weir_section_options room = { .flags = WEIR_RESERVE, .commit_bytes = KIB64 };
    CHECK_OK(weir_section_create(&owner, "Local/room", 4 * KIB64, &room));
    CHECK_OK(weir_section_open(&section, "Local/room", &(weir_section_options){ .access = WEIR_COPY_ON_WRITE }));
    weir_view own = map(section, 0, 0, WEIR_COPY_ON_WRITE), of_owner = map(owner, 0, 0, WEIR_COPY_ON_WRITE);
    weir_view shared = map(owner, 0, 0, WEIR_READ_WRITE);
    const unsigned char *bytes = own.base, *others = of_owner.base;
    set_page(&own, 0, 1);
    cr_assert_str_eq(rights_at(bytes).text, "rw-p");
    cr_assert_str_eq(rights_at(bytes + KIB64).text, "---p");
    CHECK_OK(weir_section_commit(owner, 2 * KIB64, KIB64));
    cr_assert_str_eq(rights_at(others + 2 * KIB64).text, "rw-p"); /* the committing handle's views, at once */
    cr_assert_str_eq(rights_at(bytes + 2 * KIB64).text, "---p");
    CHECK_OK(weir_view_refresh(&own));
    cr_assert_str_eq(rights_at(bytes + 2 * KIB64).text, "rw-p");
    cr_assert_str_eq(rights_at(bytes + KIB64).text, "---p");
    cr_assert_str_eq(rights_at(bytes + 3 * KIB64).text, "---p");
    set_page(&shared, 32, 6);
    cr_assert(at_page(&own, 32) == 6 && at_page(&own, 0) == 1 && at_page(&shared, 0) == 0);
    set_page(&own, 32, 7);
    cr_assert(at_page(&shared, 32) == 6 && at_page(&of_owner, 32) == 6);
    CHECK_STATUS(weir_section_commit(section, 0, 0), WEIR_E_PERMISSION);
    CHECK_STATUS(weir_section_decommit(section, 0, 0), WEIR_E_PERMISSION);
    weir_view *views[] = { &own, &of_owner, &shared };
    for (int i = 0; i < 3; i++)
        CHECK_OK(weir_view_unmap(views[i]));
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_section_close(owner));
    cr_assert_eq(support_entries(dir, true), 0);
}

Test(copy_on_write, a_section_sealed_against_writing_may_still_be_copied)
{
    weir_section *section;
    CHECK_OK(weir_section_create_unnamed(&section, SIZE, NULL));
    CHECK_OK(weir_section_seal(section, WEIR_SEAL_WRITE | WEIR_SEAL_SHRINK | WEIR_SEAL_GROW));
    weir_view own = map(section, 0, 0, WEIR_COPY_ON_WRITE), none = { .base = NULL };
    CHECK_STATUS(weir_view_map(&none, section, 0, 0, WEIR_READ_WRITE), WEIR_E_ACCESS);
    cr_assert(none.base == NULL && detail_has("sealed"));
    memset(own.base, 1, own.size);
    weir_view look = map(section, 0, 0, WEIR_READ_ONLY);
    cr_assert(at_page(&look, 0) == 0 && at_page(&own, 0) == 1);
    CHECK_OK(weir_view_unmap(&look));
    CHECK_OK(weir_view_unmap(&own));
    CHECK_OK(weir_section_close(section));
}
