// bench/peers/boost.cc - Boost.Interprocess's message_queue, as many messages as the capacity holds.
//
// Its name is gone before the sides begin: they inherit the mapping.
#define BOOST_DATE_TIME_NO_LIB
#include <boost/date_time/posix_time/posix_time_types.hpp>
#include <boost/interprocess/ipc/message_queue.hpp>

#include "../loops.h"

#include <new>

using boost::interprocess::message_queue;

extern "C" const struct bench_peer bench_boost;

namespace {

message_queue *queue_of(const struct bench_end *end) { return static_cast<message_queue *>(end->link->priv); }

bool make(struct bench_link *link, const char **error)
{
    *error = "message_queue could not be made";
    try {
        link->priv = new message_queue(boost::interprocess::create_only, link->name, bench_slots(link->work), link->work->bytes);
    } catch (const std::exception &) {
        return false;
    }
    return message_queue::remove(link->name);
}

void remove_queue(struct bench_link *link) { delete static_cast<message_queue *>(link->priv); }

/* What a call throws, the side says. */
template <typename Call> BENCH_INLINE bool tried(struct bench_end *end, Call call)
{
    try {
        return call();
    } catch (const std::exception &) {
        bench_fail(end, "message_queue threw");
        return false;
    }
}

BENCH_INLINE bool try_send(struct bench_end *end, const void *msg, uint32_t bytes)
{
    return tried(end, [=] { return queue_of(end)->try_send(msg, bytes, 0); });
}

BENCH_INLINE bool try_receive(struct bench_end *end, void *buffer, uint32_t bytes)
{
    message_queue::size_type len = 0;
    unsigned int priority = 0;
    return tried(end, [&] { return queue_of(end)->try_receive(buffer, bytes, len, priority); }) && len == bytes;
}

BENCH_INLINE bool send(struct bench_end *end, const void *msg, uint32_t bytes)
{
    return tried(end, [=] { return queue_of(end)->send(msg, bytes, 0), true; });
}

bool receive_until(struct bench_end *end, void *buffer, uint32_t bytes)
{
    message_queue::size_type len = 0;
    unsigned int priority = 0;
    boost::posix_time::ptime until = boost::posix_time::microsec_clock::universal_time() +
                                     boost::posix_time::milliseconds(BENCH_LOOK_UP_MS);
    return tried(end, [&] { return queue_of(end)->timed_receive(buffer, bytes, len, priority, until); }) && len == bytes;
}

BENCH_INLINE bool receive(struct bench_end *end, void *buffer, uint32_t bytes)
{
    message_queue::size_type len = 0;
    unsigned int priority = 0;
    if (WEIR_UNLIKELY(bench_shares(end)))
        return receive_until(end, buffer, bytes);
    return tried(end, [&] { return queue_of(end)->receive(buffer, bytes, len, priority), true; }) && len == bytes;
}

BENCH_SIDE(produce_spinning, bench_produce_copies, try_send)
BENCH_SIDE(produce_sleeping, bench_produce_copies, send)
BENCH_SIDE(consume_spinning, bench_consume_copies, try_receive)
BENCH_SIDE(consume_sleeping, bench_consume_copies, receive)
BENCH_TRIPS(ping_spinning, bench_ping_copies, try_send, try_receive)
BENCH_TRIPS(ping_sleeping, bench_ping_copies, send, receive)
BENCH_TRIPS(pong_spinning, bench_pong_copies, try_send, try_receive)
BENCH_TRIPS(pong_sleeping, bench_pong_copies, send, receive)

bool sleeps(const struct bench_end *end) { return end->work->wait == BENCH_SLEEP; }

void produce(struct bench_end *end) { (sleeps(end) ? produce_sleeping : produce_spinning)(end); }
void consume(struct bench_end *end) { (sleeps(end) ? consume_sleeping : consume_spinning)(end); }

void ping(struct bench_end *out, struct bench_end *back) { (sleeps(out) ? ping_sleeping : ping_spinning)(out, back); }
void pong(struct bench_end *back, struct bench_end *out) { (sleeps(out) ? pong_sleeping : pong_spinning)(back, out); }

struct bench_peer described()
{
    struct bench_peer peer = {};
    peer.name = "boost";
    peer.what = "Boost.Interprocess message_queue " BOOST_LIB_VERSION;
    peer.can = BENCH_SPSC | BENCH_MPSC | BENCH_MPMC | BENCH_SPIN | BENCH_SLEEP | BENCH_LATENCY;
    peer.make = make;
    peer.remove = remove_queue;
    peer.produce = produce;
    peer.consume = consume;
    peer.ping = ping;
    peer.pong = pong;
    return peer;
}

}

const struct bench_peer bench_boost = described();
