/* bench/peers/stream.c - the machine's line streaming: whole lines through a buffer that both sides have, read whole.
 *
 * No messages, no records, no wrap within a piece, both sides' positions on lines of their own and looked at only when
 * what was known of them is used up: what a ring of that size could at most do.  work: bytes, of a piece that is published
 * at once; capacity, of the buffer. */
#include "../loops.h"
#include "../systems.h"

struct positions {
    _Alignas(WEIR_LINE_PAIR) weir_atomic_u64 written;
    _Alignas(WEIR_LINE_PAIR) weir_atomic_u64 read;
};

static uint64_t memory(const struct bench_work *work) { return 4096 + work->capacity; }
static struct positions *positions_of(const struct bench_end *end) { return end->link->memory; }
static unsigned char *buffer_of(const struct bench_end *end) { return (unsigned char *)end->link->memory + 4096; }

static void produce(struct bench_end *end)
{
    struct positions *shared = positions_of(end);
    uint64_t size = end->work->capacity, piece = end->work->bytes, read = 0, pos = 0;
    for (uint64_t number = 0; number < end->work->messages; number++, pos += piece) {
        uint32_t turn = 0;
        while (pos + piece - read > size) {
            read = weir_load_acq(&shared->read);
            if (pos + piece - read > size && !bench_wait(end, &turn))
                return;
        }
        bench_fill_wide(buffer_of(end) + pos % size, piece, number);
        weir_store_rel(&shared->written, pos + piece);
    }
}

static void consume(struct bench_end *end)
{
    struct positions *shared = positions_of(end);
    uint64_t size = end->work->capacity, piece = end->work->bytes, written = 0, pos = 0;
    end->begin_ns = bench_now_ns();
    for (uint64_t number = 0; number < end->work->messages; number++, pos += piece) {
        uint32_t turn = 0;
        while (written == pos) {
            written = weir_load_acq(&shared->written);
            if (written == pos && !bench_wait(end, &turn))
                return;
        }
        end->wrong += bench_differ_wide(buffer_of(end) + pos % size, piece, number) != 0;
        weir_store_rel(&shared->read, pos + piece);
        if (++end->received == end->work->warm_up)
            end->begin_ns = bench_now_ns();
    }
    end->end_ns = bench_now_ns();
}

const struct bench_peer bench_stream = {
    .name = "stream", .what = "whole lines through a buffer", .can = BENCH_SPSC | BENCH_SPIN, .memory = memory,
    .produce = produce, .consume = consume,
};
