/* Two processes that map the channels at different addresses exchange messages by copy and in place. */
#include "ipc/channel_help.h"

#define MESSAGES UINT64_C(20000)
#define CAPACITY UINT64_C(65536)

/* Where a record of the lane lies in this process, as told to the other. */
struct place {
    uint64_t id;
    uint64_t address;
};

static void tell(int fd, uint64_t id, const void *at)
{
    struct place place = { .id = id, .address = (uint64_t)(uintptr_t)at };
    CHECK(write(fd, &place, sizeof place) == (ssize_t)sizeof place);
}

static struct place hear(int fd)
{
    struct place place;
    CHECK(read(fd, &place, sizeof place) == (ssize_t)sizeof place);
    return place;
}

static uint64_t length_of(uint64_t id)
{
    return 8 + id * 37 % 900;
}

static void send_all(weir_channel *p, uint64_t count)
{
    static unsigned char out[HELP_BUFFER];
    for (uint64_t id = 0; id < count; id++) {
        uint64_t len = length_of(id);
        void *slot = out;
        if (id % 2 != 0)
            CHECK_OK(weir_reserve(p, len, &slot, HELP_DEADLINE));
        message_fill(slot, id, len);
        if (id % 2 != 0)
            CHECK_OK(weir_commit(p, len));
        else
            CHECK_OK(weir_send(p, out, len, HELP_DEADLINE));
    }
}

static void receive_all(weir_channel *c, uint64_t count)
{
    static unsigned char in[HELP_BUFFER];
    for (uint64_t id = 0; id < count; id++) {
        const void *msg = in;
        uint32_t len;
        if (id % 3 == 0)
            CHECK_OK(weir_peek(c, &msg, &len, HELP_DEADLINE));
        else
            CHECK_OK(weir_receive(c, in, sizeof in, &len, HELP_DEADLINE));
        CHECK(len == length_of(id));
        CHECK(message_is_whole(msg, id, len));
        if (id % 3 == 0)
            CHECK_OK(weir_release(c));
    }
}

static void child_main(int to_parent, uint64_t count)
{
    /* The addresses the parent's maps have are taken here, and all holes of that size. */
    for (int i = 0; i < 256; i++)
        CHECK(mmap(NULL, CAPACITY + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED);
    CHECK(mmap(NULL, (size_t)1 << 34, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED);
    weir_channel *c = open_as("there", WEIR_CONSUMER, 0), *p = open_as("back", WEIR_PRODUCER, CAPACITY);
    const void *msg;
    void *slot;
    uint32_t len;
    CHECK_OK(weir_peek(c, &msg, &len, HELP_DEADLINE));
    CHECK(len == 8 && message_id(msg) == 1);
    tell(to_parent, 1, msg);
    CHECK_OK(weir_release(c));
    CHECK_OK(weir_reserve(p, 8, &slot, HELP_DEADLINE));
    tell(to_parent, 2, slot);
    message_fill(slot, 2, 8);
    CHECK_OK(weir_commit(p, 8));
    receive_all(c, count);
    send_all(p, count);
    CHECK_OK(weir_channel_drain(p, HELP_DEADLINE));
    CHECK_OK(weir_channel_close(c));
    CHECK_OK(weir_channel_close(p));
}

int main(void)
{
    const char *dir = support_shm_dir();
    uint64_t count = support_count(MESSAGES);
    weir_channel *p = open_as("there", WEIR_PRODUCER, CAPACITY), *c = open_as("back", WEIR_CONSUMER, CAPACITY);
    int pipe_ends[2];
    CHECK(pipe(pipe_ends) == 0);
    pid_t child = child_fork();
    if (child == 0) {
        CHECK_OK(weir_channel_close(p));
        CHECK_OK(weir_channel_close(c));
        child_main(pipe_ends[1], count);
        return 0;
    }
    (void)close(pipe_ends[1]);
    const void *msg;
    void *slot;
    uint32_t len;
    CHECK_OK(weir_reserve(p, 8, &slot, HELP_DEADLINE));
    message_fill(slot, 1, 8);
    CHECK_OK(weir_commit(p, 8));
    struct place theirs = hear(pipe_ends[0]);
    CHECK(theirs.id == 1 && theirs.address != (uint64_t)(uintptr_t)slot);
    CHECK_OK(weir_peek(c, &msg, &len, HELP_DEADLINE));
    CHECK(len == 8 && message_id(msg) == 2);
    theirs = hear(pipe_ends[0]);
    CHECK(theirs.id == 2 && theirs.address != (uint64_t)(uintptr_t)msg);
    CHECK_OK(weir_release(c));
    send_all(p, count);
    receive_all(c, count);
    CHECK(support_wait(child) == 0);
    CHECK_OK(weir_channel_close(p));
    CHECK_OK(weir_channel_close(c));
    CHECK(support_entries(dir, true) == 0);
    return 0;
}
