/* Handles over sockets: what was sent arrives once and whole; all else that may come is a status and leaves nothing. */
#include "handles.h"

#include <weir/naming/os_linux.h>

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <sys/time.h>
#include <sys/un.h>

static const int kinds[] = { SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM };
#define KINDS (sizeof kinds / sizeof kinds[0])

struct pair {
    int a, b;
};

static struct pair pair_of(int kind)
{
    int ends[2];
    CHECK(socketpair(AF_UNIX, kind | SOCK_CLOEXEC, 0, ends) == 0);
    return (struct pair){ ends[0], ends[1] };
}

static void pair_close(struct pair *p)
{
    (void)close(p->a);
    (void)close(p->b);
}

static void check_not_received(int socket, weir_status expected)
{
    weir_handle handle = NO_HANDLE;
    unsigned fds = open_fds();
    CHECK_KEEPS_ERRNO(weir_handle_receive(socket, &handle), expected);
    cr_assert_eq(handle, NO_HANDLE);
    cr_assert(expected > 0 || *weir_error_detail() != 0);
    cr_assert_eq(open_fds(), fds, "a descriptor that came was left open");
}

static void check_not_sent(int socket, weir_handle handle, weir_status expected)
{
    unsigned fds = open_fds();
    CHECK_KEEPS_ERRNO(weir_handle_send(socket, handle), expected);
    cr_assert(expected > 0 || *weir_error_detail() != 0);
    cr_assert_eq(open_fds(), fds);
}

static weir_handle received(int socket)
{
    weir_handle handle = NO_HANDLE;
    CHECK_KEEPS_ERRNO(weir_handle_receive(socket, &handle), WEIR_OK);
    cr_assert_gt(handle, 2);
    cr_assert_eq(fcntl((int)handle, F_GETFD), FD_CLOEXEC);
    return handle;
}

static weir_handle some_handle(void)
{
    weir_section *section = unnamed_of(4096, (weir_section_options){ .label = "sent" });
    weir_handle handle = export_of(section, RW);
    put_pattern(section, 1);
    CHECK_OK(weir_section_close(section));
    return handle;
}

/* Sends size bytes and count descriptors in one message, as weir_handle_send never does. */
static void send_raw(int socket, size_t size, const int *fds, unsigned count)
{
    static _Alignas(struct cmsghdr) char room[CMSG_SPACE(253 * sizeof(int))];
    char bytes[16] = "wwwwwwwwwwwwwww";
    struct iovec data = { .iov_base = bytes, .iov_len = size };
    struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1 };
    if (count > 0) {
        message.msg_control = room;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(head), fds, count * sizeof(int));
    }
    CHECK(sendmsg(socket, &message, MSG_NOSIGNAL) == (ssize_t)size);
}

/* ---- in order ---- */

Test(handles, what_is_sent_over_a_socket_of_any_kind_is_the_same_section)
{
    for (size_t i = 0; i < KINDS; i++) {
        struct pair p = pair_of(kinds[i]);
        weir_handle sent = some_handle();
        unsigned fds = open_fds();
        CHECK_KEEPS_ERRNO(weir_handle_send(p.a, sent), WEIR_OK);
        weir_handle got = received(p.b);
        cr_assert_eq(open_fds(), fds + 1);
        cr_assert(got != sent && inode_of(got) == inode_of(sent)); /* it stays the sender's too */
        CHECK_OK(weir_handle_close(sent));
        weir_section *section = attach_of(got, RW);
        cr_assert(has_pattern(section, 1));
        CHECK_OK(weir_section_close(section));
        CHECK_OK(weir_handle_close(got));
        pair_close(&p);
        cr_assert_eq(label_fds("sent", NULL), 0);
    }
}

Test(handles, several_come_one_at_a_time_in_order)
{
    for (size_t i = 0; i < KINDS; i++) {
        struct pair p = pair_of(kinds[i]);
        weir_handle sent[8];
        for (int n = 0; n < 8; n++) {
            sent[n] = some_handle();
            CHECK_OK(weir_handle_send(p.a, sent[n]));
        }
        for (int n = 0; n < 8; n++) {
            weir_handle got = received(p.b);
            cr_assert_eq(inode_of(got), inode_of(sent[n]));
            CHECK_OK(weir_handle_close(got));
            CHECK_OK(weir_handle_close(sent[n]));
        }
        pair_close(&p);
    }
}

Test(handles, one_on_its_way_keeps_the_section_alive_and_goes_with_the_socket)
{
    struct pair p = pair_of(SOCK_STREAM);
    weir_handle sent = some_handle();
    CHECK_OK(weir_handle_send(p.a, sent));
    CHECK_OK(weir_handle_close(sent));
    cr_assert_eq(label_fds("sent", NULL), 0);
    (void)close(p.a);
    weir_handle got = received(p.b);
    weir_section *section = attach_of(got, RW);
    cr_assert(has_pattern(section, 1));
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_handle_close(got));
    check_not_received(p.b, WEIR_CLOSED);
    (void)close(p.b);
}

Test(handles, what_a_handle_is_of_does_not_matter_to_the_socket_but_to_attach)
{
    struct pair p = pair_of(SOCK_STREAM);
    CHECK_OK(weir_handle_send(p.a, p.b));
    weir_handle got = received(p.b);
    check_refused_both(got, WEIR_E_NOT_WEIR, handle_text(got));
    CHECK_OK(weir_handle_close(got));
    pair_close(&p);
}

Test(handles, a_receiver_that_asked_for_credentials_gets_the_handle_too)
{
    int on = 1;
    for (size_t i = 0; i < KINDS; i++) {
        struct pair p = pair_of(kinds[i]);
        weir_handle sent = some_handle();
        cr_assert_eq(setsockopt(p.b, SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
        CHECK_OK(weir_handle_send(p.a, sent));
        weir_handle got = received(p.b);
        cr_assert_eq(inode_of(got), inode_of(sent));
        CHECK_OK(weir_handle_close(got));
        CHECK_OK(weir_handle_close(sent));
        pair_close(&p);
    }
}

/* ---- nothing there, no room, nobody there ---- */

Test(handles, with_nothing_there_a_socket_that_does_not_wait_is_a_timeout)
{
    for (size_t i = 0; i < KINDS; i++) {
        struct pair p = pair_of(kinds[i] | SOCK_NONBLOCK), q = pair_of(kinds[i]);
        struct timeval soon = { .tv_usec = 20000 };
        cr_assert_eq(setsockopt(q.b, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon), 0);
        check_not_received(p.b, WEIR_TIMEOUT);
        check_not_received(q.b, WEIR_TIMEOUT);
        pair_close(&p);
        pair_close(&q);
    }
}

static unsigned fill_up(int socket, weir_handle handle)
{
    weir_status status;
    unsigned count = 0;
    while ((status = weir_handle_send(socket, handle)) == WEIR_OK)
        cr_assert_lt(++count, 100000);
    CHECK_STATUS(status, WEIR_TIMEOUT);
    return count;
}

Test(handles, with_no_room_a_socket_that_does_not_wait_is_a_timeout_and_what_was_sent_arrives)
{
    for (size_t i = 0; i < KINDS; i++) {
        struct pair p = pair_of(kinds[i]);
        struct timeval soon = { .tv_usec = 20000 };
        int small = 8192, flags = fcntl(p.a, F_GETFL);
        weir_handle handle = some_handle();
        cr_assert_eq(setsockopt(p.a, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
        cr_assert_eq(fcntl(p.a, F_SETFL, flags | O_NONBLOCK), 0);
        unsigned count = fill_up(p.a, handle);
        check_not_sent(p.a, handle, WEIR_TIMEOUT);
        cr_assert_eq(fcntl(p.a, F_SETFL, flags), 0);
        cr_assert_eq(setsockopt(p.a, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon), 0);
        check_not_sent(p.a, handle, WEIR_TIMEOUT);
        cr_assert_eq(fcntl(p.b, F_SETFL, O_NONBLOCK), 0);
        for (unsigned n = 0; n < count; n++)
            CHECK_OK(weir_handle_close(received(p.b)));
        check_not_received(p.b, WEIR_TIMEOUT);
        CHECK_OK(weir_handle_send(p.a, handle));
        CHECK_OK(weir_handle_close(handle));
        pair_close(&p);
    }
}

Test(handles, a_closed_peer_is_closed_and_raises_no_signal)
{
    for (size_t i = 0; i < 2; i++) { /* stream and seqpacket: those that say so */
        struct pair p = pair_of(kinds[i]);
        weir_handle handle = some_handle();
        cr_assert_neq(signal(SIGPIPE, SIG_DFL), SIG_ERR);
        (void)close(p.b);
        check_not_sent(p.a, handle, WEIR_CLOSED);
        check_not_sent(p.a, handle, WEIR_CLOSED);
        check_not_received(p.a, WEIR_CLOSED);
        (void)close(p.a);
        p = pair_of(kinds[i]);
        CHECK_OK(weir_handle_send(p.a, handle)); /* closed with something unread: a reset */
        (void)close(p.b);
        check_not_received(p.a, WEIR_CLOSED);
        check_not_sent(p.a, handle, WEIR_CLOSED);
        (void)close(p.a);
        p = pair_of(kinds[i]);
        cr_assert_eq(shutdown(p.b, SHUT_WR), 0);
        check_not_received(p.a, WEIR_CLOSED);
        cr_assert_eq(shutdown(p.a, SHUT_WR), 0);
        check_not_sent(p.a, handle, WEIR_CLOSED);
        CHECK_OK(weir_handle_close(handle));
        pair_close(&p);
    }
}

Test(handles, a_closed_peer_of_a_datagram_socket_is_closed_too)
{
    struct pair p = pair_of(SOCK_DGRAM);
    weir_handle handle = some_handle();
    (void)close(p.b);
    check_not_sent(p.a, handle, WEIR_CLOSED);
    (void)close(p.a);
    CHECK_OK(weir_handle_close(handle));
}

/* ---- a signal in between ---- */

static int told_of_signals;

static void tell(int signal)
{
    int error = errno;
    (void)signal;
    (void)!write(told_of_signals, "s", 1);
    errno = error;
}

struct signalled {
    struct pair p;
    int signals;
};

static void sends_after_three_signals(void *arg)
{
    struct signalled *s = arg;
    char bytes[3];
    for (int n = 0; n < 3; n++)
        CHECK(read(s->signals, bytes + n, 1) == 1);
    CHECK_OK(weir_handle_send(s->p.a, some_handle()));
}

Test(handles, a_signal_does_not_end_a_wait)
{
    int signals[2];
    struct signalled s = { .p = pair_of(SOCK_STREAM) };
    struct sigaction action = { .sa_handler = tell }; /* without SA_RESTART */
    struct itimerval often = { { 0, 5000 }, { 0, 5000 } }, never = { { 0, 0 }, { 0, 0 } };
    cr_assert_eq(pipe2(signals, O_CLOEXEC), 0);
    s.signals = signals[0];
    told_of_signals = signals[1];
    pid_t child = start(sends_after_three_signals, &s);
    cr_assert(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &often, NULL) == 0);
    weir_handle got = received(s.p.b);
    cr_assert_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
    CHECK_OK(weir_handle_close(got));
    cr_assert_eq(support_wait(child), 0);
    pair_close(&s.p);
}

/* ---- what weir_handle_send does not send ---- */

Test(handles, a_byte_without_exactly_one_handle_is_not_weir_and_what_came_is_closed)
{
    static const unsigned counts[] = { 0, 2, 3, 8, 9, 253 };
    int fds[253];
    for (size_t i = 0; i < KINDS; i++) {
        struct pair p = pair_of(kinds[i]);
        weir_handle handle = some_handle();
        for (size_t n = 0; n < 253; n++)
            fds[n] = (int)handle;
        for (size_t n = 0; n < sizeof counts / sizeof counts[0]; n++) {
            send_raw(p.a, 1, fds, counts[n]);
            check_not_received(p.b, WEIR_E_NOT_WEIR);
            cr_assert(detail_has("handles"), "%s", weir_error_detail());
            cr_assert_eq(label_fds("sent", NULL), 1);
        }
        CHECK_OK(weir_handle_send(p.a, handle)); /* what comes after is served */
        CHECK_OK(weir_handle_close(received(p.b)));
        CHECK_OK(weir_handle_close(handle));
        pair_close(&p);
    }
}

Test(handles, bytes_of_a_stream_are_taken_one_at_a_time)
{
    struct pair p = pair_of(SOCK_STREAM | SOCK_NONBLOCK);
    int fd = (int)some_handle();
    send_raw(p.a, 3, NULL, 0);
    CHECK_OK(weir_handle_send(p.a, fd));
    send_raw(p.a, 2, &fd, 1);
    for (int n = 0; n < 3; n++)
        check_not_received(p.b, WEIR_E_NOT_WEIR);
    CHECK_OK(weir_handle_close(received(p.b)));
    CHECK_OK(weir_handle_close(received(p.b)));
    check_not_received(p.b, WEIR_E_NOT_WEIR);
    check_not_received(p.b, WEIR_TIMEOUT);
    CHECK_OK(weir_handle_close(fd));
    pair_close(&p);
}

Test(handles, credentials_alone_are_no_handle)
{
    struct pair p = pair_of(SOCK_STREAM);
    int on = 1;
    cr_assert_eq(setsockopt(p.b, SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
    cr_assert_eq(write(p.a, "w", 1), 1);
    check_not_received(p.b, WEIR_E_NOT_WEIR);
    pair_close(&p);
}

Test(handles, a_message_without_a_byte_is_no_end_and_its_handles_are_closed)
{
    for (size_t i = 1; i < KINDS; i++) {
        struct pair p = pair_of(kinds[i]);
        int fds[2] = { (int)some_handle(), p.a };
        for (unsigned count = 1; count <= 2; count++) {
            weir_handle handle = NO_HANDLE;
            unsigned before = open_fds();
            send_raw(p.a, 0, fds, count);
            weir_status status = weir_handle_receive(p.b, &handle);
            cr_assert_eq(open_fds(), before, "a descriptor that came was left open");
            cr_assert_eq(handle, NO_HANDLE);
            CHECK_STATUS(status, WEIR_E_NOT_WEIR); /* the other end is open */
        }
        CHECK_OK(weir_handle_close(fds[0]));
        pair_close(&p);
    }
}

/* ---- no descriptor is free ---- */

Test(handles, without_a_free_descriptor_receive_is_no_memory_and_the_next_one_arrives)
{
    for (size_t i = 0; i < KINDS; i++) {
        struct pair p = pair_of(kinds[i]);
        weir_handle sent = some_handle(), handle = NO_HANDLE;
        unsigned fds = open_fds();
        CHECK_OK(weir_handle_send(p.a, sent));
        CHECK_OK(weir_handle_send(p.a, sent));
        struct rlimit before = limit_fds(0);
        CHECK_KEEPS_ERRNO(weir_handle_receive(p.b, &handle), WEIR_E_NO_MEMORY);
        limit_restore(&before);
        cr_assert(handle == NO_HANDLE && open_fds() == fds && *weir_error_detail() != 0);
        CHECK_OK(weir_handle_close(received(p.b)));
        CHECK_OK(weir_handle_close(sent));
        pair_close(&p);
    }
}

Test(handles, of_two_handles_for_which_there_is_one_descriptor_none_is_taken)
{
    struct pair p = pair_of(SOCK_STREAM);
    weir_handle sent = some_handle(), handle = NO_HANDLE;
    int fds[2] = { (int)sent, (int)sent };
    unsigned before = open_fds();
    send_raw(p.a, 1, fds, 2);
    struct rlimit limit = limit_fds(1);
    weir_status status = weir_handle_receive(p.b, &handle);
    limit_restore(&limit);
    cr_assert(status == WEIR_E_NOT_WEIR || status == WEIR_E_NO_MEMORY, "it gave %s", weir_status_name(status));
    cr_assert(handle == NO_HANDLE && open_fds() == before);
    CHECK_OK(weir_handle_close(sent));
    pair_close(&p);
}

static void closes_its_standard_descriptors(void *arg)
{
    struct pair p = pair_of(SOCK_STREAM), q = pair_of(SOCK_STREAM);
    weir_section *own = unnamed_of(4096, (weir_section_options){ .label = "others" });
    (void)arg;
    for (int fd = 0; fd < 3; fd++)
        (void)close(fd);
    weir_section *section = unnamed_of(4096, (weir_section_options){ .label = "standard" });
    weir_handle writes = export_of(section, RW), reads = export_of(section, RO);
    weir_section *other = attach_of(writes, RW);
    CHECK_OK(weir_handle_send(p.a, reads));
    weir_handle got = NO_HANDLE;
    CHECK_OK(weir_handle_receive(p.b, &got));
    CHECK(writes > 2 && reads > 2 && got > 2);
    CHECK(label_fds("standard", NULL) == 5);
    for (int fd = 0; fd < 3; fd++)
        CHECK(fcntl(fd, F_GETFD) == -1 && errno == EBADF);
    CHECK_OK(weir_section_close(attach_of(got, RO)));
    CHECK_OK(weir_section_close(other));
    CHECK_OK(weir_section_close(section));
    CHECK_OK(weir_section_close(own));
    /* And where 0 to 2 are all that is free, none of them is given to a section. */
    CHECK_OK(weir_handle_send(q.a, writes));
    for (int fd = 0; fd < 3; fd++)
        CHECK(open("/dev/null", O_RDONLY) == fd);
    (void)limit_fds(0);
    for (int fd = 0; fd < 3; fd++)
        (void)close(fd);
    got = NO_HANDLE;
    section = UNTOUCHED;
    CHECK_STATUS(weir_section_create_unnamed(&section, 4096, NULL), WEIR_E_NO_MEMORY);
    CHECK_STATUS(weir_section_attach(&section, writes, NULL), WEIR_E_NO_MEMORY);
    weir_status status = weir_handle_receive(q.b, &got);
    for (int fd = 0; fd < 3; fd++)
        CHECK(fcntl(fd, F_GETFD) == -1 && errno == EBADF);
    CHECK(section == UNTOUCHED);
    if (status != WEIR_E_NO_MEMORY || got != NO_HANDLE)
        _exit(20); /* nothing can be said on standard error */
}

Test(handles, a_program_without_standard_descriptors_never_gets_one_of_them)
{
    int end = support_wait(start(closes_its_standard_descriptors, NULL));
    cr_assert_neq(end, 20, "receive, with 0 to 2 alone free, was not WEIR_E_NO_MEMORY with its output untouched");
    cr_assert_eq(end, 0, "the child ended with %d, and could not say why", end);
}

/* ---- what is no such socket, and no handle ---- */

static struct pair inet_pair(int kind)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;
    struct pair p = { .a = socket(AF_INET, kind | SOCK_CLOEXEC, 0), .b = socket(AF_INET, kind | SOCK_CLOEXEC, 0) };
    CHECK(p.a >= 0 && p.b >= 0 && bind(p.b, (struct sockaddr *)&address, len) == 0);
    CHECK(getsockname(p.b, (struct sockaddr *)&address, &len) == 0);
    if (kind == SOCK_STREAM)
        CHECK(listen(p.b, 1) == 0);
    CHECK(connect(p.a, (struct sockaddr *)&address, len) == 0);
    if (kind == SOCK_STREAM) {
        int accepted = accept4(p.b, NULL, NULL, SOCK_CLOEXEC);
        CHECK(accepted >= 0);
        (void)close(p.b);
        p.b = accepted;
    }
    return p;
}

Test(handles, an_internet_socket_is_unsupported_and_nothing_is_sent)
{
    static const int inet_kinds[] = { SOCK_STREAM, SOCK_DGRAM };
    for (size_t i = 0; i < 2; i++) {
        struct pair p = inet_pair(inet_kinds[i]);
        weir_handle handle = some_handle();
        char byte;
        check_not_sent(p.a, handle, WEIR_E_UNSUPPORTED);
        cr_assert(recv(p.b, &byte, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN);
        cr_assert_eq(send(p.a, "w", 1, 0), 1);
        check_not_received(p.b, WEIR_E_UNSUPPORTED);
        CHECK_OK(weir_handle_close(handle));
        pair_close(&p);
    }
}

Test(handles, what_is_no_connected_unix_socket_is_unsupported)
{
    int ends[2], alone = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), listens = socket(AF_UNIX, SOCK_STREAM, 0);
    int packet = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), datagram = socket(AF_UNIX, SOCK_DGRAM, 0);
    struct sockaddr_un any = { .sun_family = AF_UNIX };
    weir_handle handle = some_handle();
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    cr_assert(bind(listens, (struct sockaddr *)&any, sizeof(sa_family_t)) == 0 && listen(listens, 1) == 0);
    int sockets[] = { ends[1], ends[0], (int)handle, alone, listens, packet };
    for (size_t i = 0; i < sizeof sockets / sizeof sockets[0]; i++) {
        check_not_sent(sockets[i], handle, WEIR_E_UNSUPPORTED);
        cr_assert(detail_has("Unix-domain"), "%s", weir_error_detail());
        check_not_received(sockets[i], WEIR_E_UNSUPPORTED);
        cr_assert(detail_has("Unix-domain"), "%s", weir_error_detail());
    }
    check_not_sent(datagram, handle, WEIR_E_UNSUPPORTED);
}

Test(handles, numbers_that_are_no_socket_or_no_handle_are_invalid)
{
    struct pair p = pair_of(SOCK_STREAM | SOCK_NONBLOCK);
    weir_handle handle = some_handle(), far = (weir_handle)1 << 32;
    int closed = lowest_free_fd();
    weir_handle numbers[] = { -1, INTPTR_MIN, INTPTR_MAX, INT32_MAX, handle + far, handle - far, closed };
    unsigned fds = open_fds();
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        check_not_sent(p.a, numbers[i], WEIR_E_INVALID);
        CHECK_KEEPS_ERRNO(weir_handle_close(numbers[i]), WEIR_E_INVALID);
        cr_assert(detail_has(handle_text(numbers[i])), "%s", weir_error_detail());
        cr_assert_eq(open_fds(), fds);
    }
    static const int no_sockets[] = { -1, INT32_MIN, INT32_MAX };
    for (size_t i = 0; i < 3; i++) {
        check_not_sent(no_sockets[i], handle, WEIR_E_INVALID);
        check_not_received(no_sockets[i], WEIR_E_INVALID);
    }
    check_not_sent(closed, handle, WEIR_E_INVALID);
    check_not_received(p.b, WEIR_TIMEOUT); /* nothing of all that was sent */
    CHECK_KEEPS_ERRNO(weir_handle_close(handle), WEIR_OK);
    cr_assert_eq(open_fds(), fds - 1);
    CHECK_STATUS(weir_handle_close(handle), WEIR_E_INVALID); /* closed twice */
    pair_close(&p);
}

/* ---- other errors ---- */

static int refuse_error;

static ssize_t refuse_send(int socket, const struct msghdr *message, int flags)
{
    (void)socket, (void)message, (void)flags;
    errno = refuse_error;
    return -1;
}

static ssize_t refuse_receive(int socket, struct msghdr *message, int flags)
{
    (void)socket, (void)message, (void)flags;
    errno = refuse_error;
    return -1;
}

Test(handles, an_error_of_the_system_has_its_status_and_its_text)
{
    static const struct {
        int error;
        weir_status sent, received;
    } rows[] = {
        { EIO, WEIR_E_OS, WEIR_E_OS },
        { ENOMEM, WEIR_E_NO_MEMORY, WEIR_E_NO_MEMORY },
        { ETOOMANYREFS, WEIR_E_NO_MEMORY, WEIR_OK }, /* of sending alone */
        { EPERM, WEIR_E_PERMISSION, WEIR_E_PERMISSION },
    };
    struct pair p = pair_of(SOCK_STREAM);
    weir_linux_calls real = weir_linux;
    weir_handle handle = some_handle();
    weir_linux.sendmsg = refuse_send;
    weir_linux.recvmsg = refuse_receive;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        refuse_error = rows[i].error;
        check_not_sent(p.a, handle, rows[i].sent);
        cr_assert(detail_has(strerror(rows[i].error)), "%s", weir_error_detail());
        if (rows[i].sent != rows[i].received)
            continue;
        check_not_received(p.b, rows[i].received);
        cr_assert(detail_has(strerror(rows[i].error)), "%s", weir_error_detail());
    }
    weir_linux = real;
    CHECK_OK(weir_handle_close(handle));
    pair_close(&p);
}

static void sends_too_many(void *arg)
{
    struct rlimit limit = { 16, 16 };
    struct pair p = pair_of(SOCK_STREAM);
    weir_handle handle = some_handle();
    weir_status status = WEIR_OK;
    (void)arg;
    CHECK(setgid(12345) == 0 && setuid(12345) == 0 && setrlimit(RLIMIT_NOFILE, &limit) == 0);
    for (int n = 0; n < 100 && status == WEIR_OK; n++)
        status = weir_handle_send(p.a, handle);
    CHECK_STATUS(status, WEIR_E_NO_MEMORY);
}

Test(handles, too_many_under_way_is_no_memory)
{
    if (geteuid() != 0)
        cr_skip_test("needs root, to become a user for whom that limit holds");
    run_in_child(sends_too_many, NULL);
}
