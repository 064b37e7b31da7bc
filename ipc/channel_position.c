/* ipc/channel_position.c - how far a place is, as the rings' control blocks have it.  Relaxed, all of it: numbers for
 * people, no byte is read because of one. */
#include <weir/base/fail.h>
#include <weir/ipc/channel_look.h>
#include <weir/ipc/channel_terms.h>
#include <weir/ring/broadcast_gated_layout.h>
#include <weir/ring/broadcast_layout.h>
#include <weir/ring/latest_layout.h>
#include <weir/ring/mpmc_layout.h>
#include <weir/ring/mpsc_layout.h>

/* The ring's bytes that can be touched. */
struct ring {
    const unsigned char *mem;
    uint64_t bytes;
};

static bool holds(struct ring ring, uint64_t bytes, uint64_t magic)
{
    return ring.bytes >= bytes && weir_load_rlx(weir_word_of(ring.mem, 0)) == magic;
}

static bool word(struct ring ring, uint64_t off, uint64_t *value)
{
    if (ring.bytes < 8 || off > ring.bytes - 8)
        return false;
    *value = weir_load_rlx(weir_word_of(ring.mem, off));
    return true;
}

static weir_position of_spsc(struct ring ring, weir_role role, uint64_t *position)
{
    return role == WEIR_CONSUMER && holds(ring, WEIR_SPSC_CONTROL, WEIR_SPSC_MAGIC) &&
           word(ring, offsetof(weir_spsc_layout, head), position) ? WEIR_POSITION_RELEASED : WEIR_POSITION_NONE;
}

/* Of a lane that is there. */
static weir_position of_mpsc(struct ring ring, uint64_t magic, uint64_t capacity, uint32_t lane, uint64_t *position)
{
    uint64_t made;
    uint64_t off = WEIR_MPSC_CONTROL + weir_mpsc_stride(capacity) * lane;
    return holds(ring, WEIR_MPSC_CONTROL, magic) && word(ring, offsetof(weir_mpsc_layout, made), &made) && lane < made &&
           word(ring, off + offsetof(weir_spsc_layout, head), position) ? WEIR_POSITION_RELEASED : WEIR_POSITION_NONE;
}

static weir_position of_mpmc(struct ring ring, uint32_t lane, uint64_t *position)
{
    weir_mpmc_sizes sizes;
    struct weir_detail detail;
    weir_detail_save(&detail); /* an impossible ring has no position */
    weir_status status = weir_mpmc_validate(ring.mem, ring.bytes, &sizes);
    weir_detail_restore(&detail);
    uint64_t claim;
    if (status != WEIR_OK || lane >= sizes.made || !word(ring, weir_mpmc_lane_off(&sizes.shape, lane), &claim))
        return WEIR_POSITION_NONE;
    *position = weir_mpmc_claim_of(claim).pos;
    return WEIR_POSITION_CLAIMED;
}

/* The newest anchor; one that is just being replaced is a lap old or new, no worse. */
static weir_position of_broadcast(struct ring ring, uint64_t *position)
{
    uint64_t anchors;
    if (!holds(ring, WEIR_BROADCAST_CONTROL, WEIR_BROADCAST_MAGIC) ||
        !word(ring, offsetof(weir_broadcast_layout, anchors), &anchors) || anchors == 0)
        return WEIR_POSITION_NONE;
    uint64_t off = offsetof(weir_broadcast_layout, anchor) +
                   (anchors - 1) % WEIR_BROADCAST_ANCHORS * sizeof(weir_broadcast_anchor);
    return word(ring, off, position) ? WEIR_POSITION_PUBLISHED : WEIR_POSITION_NONE;
}

static weir_position of_gated(struct ring ring, weir_role role, uint32_t place, uint64_t *position)
{
    if (!holds(ring, WEIR_BROADCAST_GATED_CONTROL, WEIR_BROADCAST_GATED_MAGIC))
        return WEIR_POSITION_NONE;
    uint64_t entry = offsetof(weir_broadcast_gated_layout, entry) + (uint64_t)place * WEIR_BROADCAST_GATED_ENTRY;
    uint64_t off = role == WEIR_PRODUCER ? offsetof(weir_broadcast_gated_layout, announced)
                                         : entry + offsetof(weir_broadcast_gated_entry, cursor);
    return word(ring, off, position) ? WEIR_POSITION_RELEASED : WEIR_POSITION_NONE;
}

static weir_position of_latest(struct ring ring, uint64_t *position)
{
    return holds(ring, WEIR_LATEST_CONTROL, WEIR_LATEST_MAGIC) &&
           word(ring, offsetof(weir_latest_layout, current), position) ? WEIR_POSITION_PUBLISHED : WEIR_POSITION_NONE;
}

weir_position weir_look_at_position(const struct channel_cold *cold, const struct channel_shape *shape, weir_role role,
                                    uint32_t place, uint64_t *position)
{
    uint64_t off = weir_channel_ring_at(cold), found = 0;
    if (cold->view.size < off)
        return WEIR_POSITION_NONE;
    struct ring ring = { (const unsigned char *)cold->view.base + off, cold->view.size - off };
    bool producer = role == WEIR_PRODUCER;
    weir_position is = WEIR_POSITION_NONE;
    switch ((uint32_t)cold->number) {
    case WEIR_SPSC: is = of_spsc(ring, role, &found); break;
    case WEIR_MPSC:
    case WEIR_KIND_MAILBOX:
    case WEIR_KIND_MAILBOX_DISCARD: if (producer) is = of_mpsc(ring, WEIR_MPSC_MAGIC, shape->capacity, place, &found); break;
    case WEIR_MPSC_ORDERED: if (producer) is = of_mpsc(ring, WEIR_MPSC_ORDERED_MAGIC, shape->capacity, place, &found); break;
    case WEIR_MPMC: if (producer) is = of_mpmc(ring, place, &found); break;
    case WEIR_BROADCAST_GATED: is = of_gated(ring, role, place, &found); break;
    case WEIR_BROADCAST: if (producer) is = of_broadcast(ring, &found); break;
    case WEIR_LATEST: if (producer) is = of_latest(ring, &found); break;
    }
    if ((cold->number == WEIR_BROADCAST || cold->number == WEIR_LATEST) && !producer) {
        const weir_channel_layout *layout = cold->view.base; /* these rings know of no reader */
        found = weir_load_rlx(&layout->member[weir_channel_producers(cold) + place].position);
        is = WEIR_POSITION_READ;
    }
    *position = is != WEIR_POSITION_NONE ? found : 0;
    return is;
}
