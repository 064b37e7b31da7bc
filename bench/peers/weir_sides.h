/* bench/peers/weir_sides.h - the sides of ours, channel or bare ring: copying and in place.  To be included behind the
 * calls that they are made of: send_one, receive_one, send_many, receive_many, reserve, commit, peek, release. */
static void produce_copies(struct bench_end *end)
{
    if (end->work->batch > 1)
        BENCH_BY_SIZE(bench_produce_arrays, end, send_many);
    else
        BENCH_BY_SIZE(bench_produce_copies, end, send_one);
}

static void consume_copies(struct bench_end *end)
{
    if (end->work->batch > 1)
        BENCH_BY_SIZE(bench_consume_arrays, end, receive_many);
    else
        BENCH_BY_SIZE(bench_consume_copies, end, receive_one);
}

BENCH_SIDE(produce_in_place, bench_produce_in_place, reserve, commit)
BENCH_SIDE(consume_in_place, bench_consume_in_place, peek, release)
BENCH_TRIPS(ping_copies, bench_ping_copies, send_one, receive_one)
BENCH_TRIPS(pong_copies, bench_pong_copies, send_one, receive_one)
BENCH_TRIPS(ping_in_place, bench_ping_in_place, reserve, commit, peek, release)
BENCH_TRIPS(pong_in_place, bench_pong_in_place, reserve, commit, peek, release)
