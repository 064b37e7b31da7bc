/* bench/instructions.c - operations to be counted, each a thousand times in a function of its own (instructions.sh). */
#include <weir/ring/spsc.h>
#include <weir/weir.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TIMES 1000u
#define BYTES 64u
#define ARRAY 25u /* messages of one array */
#define CAPACITY (256u << 10)

/* A function to be counted: its name tells what and of which. */
#define COUNTED(name, parameter, ...)                                                                                  \
    static __attribute__((noinline)) bool counted_##name(parameter)                                                    \
    {                                                                                                                  \
        for (uint32_t i = 0; i < TIMES; i++) {                                                                         \
            if (!(__VA_ARGS__))                                                                                        \
                return false;                                                                                          \
        }                                                                                                              \
        return true;                                                                                                   \
    }

static unsigned char message[BYTES], array[ARRAY * BYTES];
static uint32_t len;
static void *slot;
static const void *seen;

/* ---- the ring alone ---- */

static weir_spsc_producer tx;
static weir_spsc_consumer rx;

COUNTED(ring_push, void, weir_spsc_push(&tx, message, BYTES) == WEIR_OK)
COUNTED(ring_pop, void, weir_spsc_pop(&rx, message, BYTES, &len) == WEIR_OK)
COUNTED(ring_reserve_commit, void, weir_spsc_reserve(&tx, BYTES, &slot) == WEIR_OK && weir_spsc_commit(&tx, BYTES) == WEIR_OK)
COUNTED(ring_peek_release, void, weir_spsc_peek(&rx, &seen, &len) == WEIR_OK && (weir_spsc_release(&rx), true))
COUNTED(ring_array, void, i % ARRAY != 0 || weir_spsc_push_array(&tx, array, BYTES, ARRAY, &len) == WEIR_OK)
COUNTED(ring_pop_more, void, weir_spsc_pop_more(&rx, message, BYTES, &len) == WEIR_OK)

static bool ring(void)
{
    uint64_t size = weir_spsc_footprint(CAPACITY);
    void *memory = aligned_alloc(4096, (size + 4095) & ~(uint64_t)4095);
    if (memory == NULL || weir_spsc_init(memory, size, CAPACITY, 0) != WEIR_OK ||
        weir_spsc_producer_attach(&tx, memory, size) != WEIR_OK || weir_spsc_consumer_attach(&rx, memory, size) != WEIR_OK)
        return false;
    bool good = counted_ring_push() && counted_ring_pop() && counted_ring_reserve_commit() && counted_ring_peek_release() &&
                counted_ring_array() && counted_ring_pop_more();
    free(memory);
    return good;
}

/* ---- channels of every kind ---- */

#define SEND(c) weir_send(c, message, BYTES, WEIR_NOWAIT)
#define RECEIVE(c) weir_receive(c, message, BYTES, &len, WEIR_NOWAIT)
#define IN_PLACE(c) (weir_reserve(c, BYTES, &slot, WEIR_NOWAIT) == WEIR_OK && weir_commit(c, BYTES) == WEIR_OK)
#define SEND_SOME(c) (i % ARRAY != 0 || weir_send_array(c, array, BYTES, ARRAY, &len, WEIR_NOWAIT) == WEIR_OK)
#define LOOK(c) (weir_peek(c, &seen, &len, WEIR_NOWAIT) == WEIR_OK && weir_release(c) == WEIR_OK)

/* The calls are the same, the ways through them are not: each kind has functions of its own. */
#define COUNTED_KIND(kind)                                                                                             \
    COUNTED(kind##_send, weir_channel *c, SEND(c) == WEIR_OK)                                                          \
    COUNTED(kind##_receive, weir_channel *c, RECEIVE(c) == WEIR_OK)                                                    \
    COUNTED(kind##_reserve_commit, weir_channel *c, IN_PLACE(c))

COUNTED_KIND(spsc)
COUNTED_KIND(mpsc)
COUNTED_KIND(mpsc_ordered)
COUNTED_KIND(mpmc)
COUNTED_KIND(broadcast)
COUNTED_KIND(gated)
COUNTED(spsc_peek_release, weir_channel *c, LOOK(c))
COUNTED(mpsc_peek_release, weir_channel *c, LOOK(c))
COUNTED(mpsc_ordered_peek_release, weir_channel *c, LOOK(c))
COUNTED(mpmc_peek_release, weir_channel *c, LOOK(c))
COUNTED(gated_peek_release, weir_channel *c, LOOK(c))
COUNTED(spsc_send_array, weir_channel *c, SEND_SOME(c))
COUNTED(gated_send_array, weir_channel *c, SEND_SOME(c))
COUNTED(spsc_receive_more, weir_channel *c, weir_receive_more(c, message, BYTES, &len, WEIR_NOWAIT) == WEIR_OK)

static weir_channel *latest_reader;
COUNTED(latest_send_and_receive, weir_channel *c, SEND(c) == WEIR_OK && RECEIVE(latest_reader) == WEIR_OK)

typedef bool counted(weir_channel *channel);

static const struct {
    weir_kind kind;
    counted *send, *receive, *reserve, *peek, *array; /* NULL: it has none, or none is counted */
} kinds[] = {
    { WEIR_SPSC, counted_spsc_send, counted_spsc_receive, counted_spsc_reserve_commit, counted_spsc_peek_release,
      counted_spsc_send_array },
    { WEIR_MPSC, counted_mpsc_send, counted_mpsc_receive, counted_mpsc_reserve_commit, counted_mpsc_peek_release, NULL },
    { WEIR_MPSC_ORDERED, counted_mpsc_ordered_send, counted_mpsc_ordered_receive, counted_mpsc_ordered_reserve_commit,
      counted_mpsc_ordered_peek_release, NULL },
    { WEIR_MPMC, counted_mpmc_send, counted_mpmc_receive, counted_mpmc_reserve_commit, counted_mpmc_peek_release, NULL },
    { WEIR_BROADCAST, counted_broadcast_send, counted_broadcast_receive, counted_broadcast_reserve_commit, NULL,
      NULL },
    { WEIR_BROADCAST_GATED, counted_gated_send, counted_gated_receive, counted_gated_reserve_commit,
      counted_gated_peek_release, counted_gated_send_array },
    { WEIR_LATEST, NULL, NULL, NULL, NULL, NULL },
};

static bool do_kind(unsigned index, weir_channel *producer, weir_channel *consumer)
{
    if (kinds[index].kind == WEIR_LATEST) {
        latest_reader = consumer;
        return counted_latest_send_and_receive(producer);
    }
    bool good = kinds[index].send(producer) && kinds[index].receive(consumer) && kinds[index].reserve(producer) &&
                (kinds[index].peek != NULL ? kinds[index].peek : kinds[index].receive)(consumer);
    if (good && kinds[index].array != NULL)
        good = kinds[index].array(producer);
    if (good && kinds[index].kind == WEIR_SPSC)
        good = counted_spsc_receive_more(consumer);
    return good;
}

static bool channel(unsigned index)
{
    weir_channel *producer, *consumer;
    char name[64];
    weir_channel_options options = { .kind = kinds[index].kind, .capacity = CAPACITY, .record_bytes = BYTES };
    (void)snprintf(name, sizeof name, "Local/weir-bench.instructions.%ld.%u", (long)getpid(), index);
    if (weir_channel_open(&producer, name, WEIR_PRODUCER, &options) != WEIR_OK)
        return false;
    if (weir_channel_open(&consumer, name, WEIR_CONSUMER, &options) != WEIR_OK) {
        (void)weir_channel_close(producer);
        return false;
    }
    bool good = do_kind(index, producer, consumer);
    (void)weir_channel_close(consumer);
    (void)weir_channel_close(producer);
    return good;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--compiler") == 0) {
#if defined(__clang__)
        printf("clang-%d.%d.%d\n", __clang_major__, __clang_minor__, __clang_patchlevel__);
#else
        printf("gcc-%d.%d.%d\n", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#endif
        return 0;
    }
    if (!ring()) {
        fprintf(stderr, "instructions: the ring did not work\n");
        return 1;
    }
    for (unsigned i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (!channel(i)) {
            fprintf(stderr, "instructions: kind %d: %s\n", (int)kinds[i].kind, weir_error_detail());
            return 1;
        }
    }
    return 0;
}
