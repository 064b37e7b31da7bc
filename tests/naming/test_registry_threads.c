/* The registry between threads and over forks: grace periods, and what a child has.  Built with each backend
 * (WEIR_TEST_BACKEND). */
#include "registry.h"

#include <pthread.h>

static struct {
    weir_view view;
    weir_atomic_u64 in, may_end, retired;
} meeting;

static void *read_until_told(void *arg)
{
    void *at = NULL;
    CHECK_OK(weir_read_begin());
    CHECK_OK(weir_resolve((weir_ref){ weir_section_id(meeting.view.section), 0 }, 8, WEIR_READ_ONLY, &at));
    weir_store_rel(&meeting.in, 1);
    while (weir_load_acq(&meeting.may_end) == 0)
        CHECK(*(const volatile uint64_t *)at == 42);
    if (arg == NULL)
        CHECK_OK(weir_read_end());
    return NULL; /* or it ends inside */
}

static void *retire_it(void *arg)
{
    (void)arg;
    CHECK_OK(weir_registry_retire(&meeting.view));
    weir_store_rel(&meeting.retired, 1);
    return NULL;
}

static void start_meeting(void)
{
    weir_section *section = create(KIB64);
    memset(&meeting, 0, sizeof meeting);
    meeting.view = publish(section, 0, 0, WEIR_READ_WRITE);
    *(uint64_t *)meeting.view.base = 42;
}

static void end_meeting(void)
{
    weir_section *section = meeting.view.section;
    CHECK_OK(weir_view_unmap(&meeting.view));
    CHECK_OK(weir_section_close(section));
}

static void *(*const reader_ends[])(void *) = { read_until_told, read_until_told };

Test(registry_threads, retiring_waits_for_readers_and_not_for_those_that_come_later)
{
    for (int inside = 0; inside < 2; inside++) { /* a thread that ends inside of a section has left it */
        pthread_t reader, retirer;
        start_meeting();
        CHECK(pthread_create(&reader, NULL, reader_ends[inside], inside ? &meeting : NULL) == 0);
        CHECK_SOON(weir_load_acq(&meeting.in) != 0);
        CHECK(pthread_create(&retirer, NULL, retire_it, NULL) == 0);
        void *at = NOWHERE;
        weir_ref ref = { weir_section_id(meeting.view.section), 0 };
        /* Taken out first, so that no new reader keeps it. */
        CHECK_SOON(look_up(ref.section, 0, 8, WEIR_READ_ONLY, &at) == WEIR_E_NOT_FOUND);
        CHECK_OK(weir_read_begin());
        (void)nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL); /* what has not waited is there by now */
        cr_assert_eq(weir_load_acq(&meeting.retired), 0);
        weir_store_rel(&meeting.may_end, 1);
        CHECK(pthread_join(reader, NULL) == 0);
        CHECK_OK(weir_read_end());
        CHECK(pthread_join(retirer, NULL) == 0);
        end_meeting();
    }
}

static void *publish_another(void *arg)
{
    CHECK_OK(weir_registry_publish(arg));
    weir_store_rel(&meeting.retired, 1);
    return NULL;
}

/* They may be looking at the table that was replaced, and the next change goes there. */
Test(registry_threads, publishing_waits_for_readers_too)
{
    pthread_t reader, publisher;
    start_meeting();
    weir_view other = map_view(meeting.view.section, 0, 0, WEIR_READ_ONLY);
    CHECK(pthread_create(&reader, NULL, read_until_told, NULL) == 0);
    CHECK_SOON(weir_load_acq(&meeting.in) != 0);
    CHECK(pthread_create(&publisher, NULL, publish_another, &other) == 0);
    (void)nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
    cr_assert_eq(weir_load_acq(&meeting.retired), 0);
    weir_store_rel(&meeting.may_end, 1);
    CHECK(pthread_join(reader, NULL) == 0 && pthread_join(publisher, NULL) == 0);
    give_up(&other);
    CHECK_OK(weir_registry_retire(&meeting.view));
    end_meeting();
}

static void *read_once(void *arg)
{
    void *at = NULL;
    CHECK_OK(look_up(*(uint64_t *)arg, 0, 8, WEIR_READ_ONLY, &at));
    return NULL;
}

Test(registry_threads, thousands_of_threads_may_read_one_after_the_other)
{
    start_meeting();
    uint64_t id = weir_section_id(meeting.view.section);
    for (uint64_t i = 0; i < support_count(5000); i++) {
        pthread_t threads[2];
        for (int j = 0; j < 2; j++)
            CHECK(pthread_create(&threads[j], NULL, read_once, &id) == 0);
        for (int j = 0; j < 2; j++)
            CHECK(pthread_join(threads[j], NULL) == 0);
    }
    CHECK_OK(weir_registry_retire(&meeting.view));
    end_meeting();
}

/* ---- fork ---- */

/* What a child has of the registry: nothing, and what it publishes itself. */
static int in_child(uint64_t id, bool may_publish)
{
    void *at = NOWHERE;
    CHECK_STATUS(look_up(id, 0, 8, WEIR_READ_ONLY, &at), WEIR_E_NOT_FOUND);
    CHECK_STATUS(weir_registry_publish(&meeting.view), WEIR_E_FORKED);
    CHECK_STATUS(weir_registry_retire(&meeting.view), WEIR_E_FORKED);
    weir_section *section = create(KIB64), *parents = meeting.view.section;
    weir_view view = map_view(section, 0, 0, WEIR_READ_WRITE);
    if (may_publish) {
        for (int i = 0; i < 3; i++) {
            CHECK_OK(weir_registry_publish(&view));
            check_at(&view, 9, 1, WEIR_READ_WRITE);
            pthread_t thread;
            uint64_t own = weir_section_id(section);
            CHECK(pthread_create(&thread, NULL, read_once, &own) == 0 && pthread_join(thread, NULL) == 0);
            CHECK_OK(weir_registry_retire(&view));
        }
    } else {
        CHECK_STATUS(weir_registry_publish(&view), WEIR_E_FORKED);
    }
    CHECK_OK(weir_view_unmap(&view));
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_view_unmap(&meeting.view)); /* its copy of the parent's, published there */
    CHECK_OK(weir_section_close(parents));
    return 0;
}

static void fork_one(uint64_t id, bool may_publish)
{
    pid_t child = fork();
    if (child == 0) {
        int status = in_child(id, may_publish);
        pid_t grandchild = fork();
        if (grandchild == 0)
            _exit(look_up(id, 0, 1, WEIR_READ_ONLY, &(void *){ NULL }) == WEIR_E_NOT_FOUND ? 0 : 1);
        _exit(support_wait(grandchild) == 0 ? status : 1);
    }
    CHECK(child > 0 && support_wait(child) == 0);
}

Test(registry_threads, in_a_forked_child_nothing_is_published_and_it_may_publish)
{
    start_meeting();
    uint64_t id = weir_section_id(meeting.view.section);
    fork_one(id, true);
    check_at(&meeting.view, 0, 8, WEIR_READ_WRITE); /* the parent has all as before */
    CHECK_OK(weir_registry_retire(&meeting.view));
    end_meeting();
}

Test(registry_threads, a_child_whose_parents_other_threads_read_is_not_held_up_by_them)
{
    pthread_t reader;
    start_meeting();
    CHECK(pthread_create(&reader, NULL, read_until_told, NULL) == 0);
    CHECK_SOON(weir_load_acq(&meeting.in) != 0);
    fork_one(weir_section_id(meeting.view.section), true); /* that reader is in no child */
    weir_store_rel(&meeting.may_end, 1);
    CHECK(pthread_join(reader, NULL) == 0);
    CHECK_OK(weir_registry_retire(&meeting.view));
    end_meeting();
}

Test(registry_threads, a_fork_inside_of_a_read_section_ends_though_another_thread_waits_for_that_section)
{
    for (int waits = 0; waits < 2; waits++) {
        pthread_t retirer;
        start_meeting();
        uint64_t id = weir_section_id(meeting.view.section);
        void *at = NULL;
        CHECK_OK(weir_read_begin());
        CHECK_OK(weir_resolve((weir_ref){ id, 0 }, 8, WEIR_READ_ONLY, &at));
        if (waits) {
            CHECK(pthread_create(&retirer, NULL, retire_it, NULL) == 0);
            CHECK_SOON(weir_resolve((weir_ref){ id, 0 }, 8, WEIR_READ_ONLY, &(void *){ NULL }) == WEIR_E_NOT_FOUND);
        }
        pid_t child = fork();
        if (child == 0) {
            CHECK_STATUS(weir_resolve((weir_ref){ id, 0 }, 8, WEIR_READ_ONLY, &at), WEIR_E_NOT_FOUND);
            CHECK_OK(weir_read_end());
            CHECK_STATUS(weir_read_end(), WEIR_E_STATE);
            _exit(in_child(id, false));
        }
        CHECK(child > 0 && support_wait(child) == 0);
        cr_assert_eq(*(uint64_t *)at, 42);
        cr_assert_eq(weir_load_acq(&meeting.retired), 0);
        CHECK_OK(weir_read_end());
        if (waits)
            CHECK(pthread_join(retirer, NULL) == 0);
        else
            CHECK_OK(weir_registry_retire(&meeting.view));
        fork_one(id, true); /* the parent's next child is as others */
        end_meeting();
    }
}

static weir_atomic_u64 over;

static void *come_and_go(void *arg)
{
    (void)arg;
    weir_section *section = create(KIB64);
    while (weir_load_acq(&over) == 0) {
        weir_view view = publish(section, 0, 0, WEIR_READ_WRITE);
        check_at(&view, 0, 1, WEIR_READ_WRITE);
        give_up(&view);
    }
    CHECK_OK(weir_section_close(section));
    return NULL;
}

/* AddressSanitizer's allocator takes its locks at a fork only from gcc 14 on: before, a child whose parent's other threads
 * allocate can wait for ever in malloc. */
#if defined(__SANITIZE_ADDRESS__) && __GNUC__ < 14
#define CHILDREN_MAY_ALLOCATE 0
#else
#define CHILDREN_MAY_ALLOCATE 1
#endif

Test(registry_threads, children_of_a_process_whose_threads_publish_and_retire_come_to_their_end, .timeout = 200)
{
    if (!CHILDREN_MAY_ALLOCATE)
        cr_skip_test("this compiler's AddressSanitizer can hang in a child of a process with threads");
    pthread_t threads[2];
    start_meeting();
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, come_and_go, NULL) == 0);
    for (uint64_t i = 0; i < support_count(200); i++)
        fork_one(weir_section_id(meeting.view.section), true);
    weir_store_rel(&over, 1);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK_OK(weir_registry_retire(&meeting.view));
    end_meeting();
}
