/* No bytes in a ring make a call fault, loop or leave the ring's memory: boundary values of every word, every value of
 * every 16 bits of the control block, and whole images changed at random with calls in between.  The memory ends at a
 * page that nobody may touch; what a call must not write is compared. */
#include "kinds.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define KINDS (RING_KINDS + 1) /* and latest */
#define LATEST RING_KINDS
#define PAGE 4096u

typedef struct victim {
    ring r;
    unsigned kind;
    unsigned char *area;
    uint64_t area_bytes, pages; /* of it that may be touched */
    weir_latest_writer w;
    weir_latest_reader reader;
} victim;

static unsigned char buffer[PAGE];

static uint64_t bytes_of(unsigned kind, ring *r)
{
    if (kind == LATEST)
        return weir_latest_footprint(100, 4);
    r->kind = &ring_kinds[kind];
    r->producers = r->kind->producers;
    r->capacity = r->kind->capacity_min * 2;
    return r->kind->footprint(r);
}

static void begin(victim *v, unsigned kind)
{
    *v = (victim){ .kind = kind };
    v->r.bytes = bytes_of(kind, &v->r);
    v->pages = (v->r.bytes + PAGE - 1) / PAGE * PAGE;
    v->area_bytes = v->pages + 2 * PAGE;
    v->area = mmap(NULL, v->area_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(v->area != MAP_FAILED && mprotect(v->area + PAGE, v->pages, PROT_READ | PROT_WRITE) == 0);
    v->r.mem = v->area + PAGE + v->pages - v->r.bytes; /* footprints are multiples of 64 */
}

static void end(victim *v) { CHECK(munmap(v->area, v->area_bytes) == 0); }

/* Only these may come of bytes. */
static void allowed(weir_status status)
{
    switch (status) {
    case WEIR_OK:
    case WEIR_EMPTY:
    case WEIR_FULL:
    case WEIR_AGAIN:
    case WEIR_E_CORRUPT:
    case WEIR_E_NOT_WEIR:
    case WEIR_E_VERSION:
    case WEIR_E_STATE:
    case WEIR_E_INVALID:   /* a lane that there is no more */
    case WEIR_E_IN_USE:    /* an owner word that names another */
    case WEIR_E_TOO_SMALL:
    case WEIR_E_TOO_LARGE: /* the ring states a smaller capacity */
        break;
    default:
        cr_assert_fail("status %d", status);
    }
}

static void attach(victim *v)
{
    if (v->kind == LATEST) {
        allowed(weir_latest_writer_attach(&v->w, v->r.mem, v->r.bytes));
        allowed(weir_latest_reader_attach(&v->reader, v->r.mem, v->r.bytes));
        return;
    }
    for (unsigned p = 0; p < v->r.producers; p++)
        allowed(v->r.kind->attach_producer(&v->r, p));
    allowed(v->r.kind->attach_consumer(&v->r));
}

static void init(victim *v)
{
    memset(v->r.mem, 0, v->r.bytes);
    if (v->kind == LATEST)
        CHECK_OK(weir_latest_init(v->r.mem, v->r.bytes, 100, 4, 0));
    else
        CHECK_OK(v->r.kind->init(&v->r, 128));
    attach(v);
}

static void one_call(victim *v, uint64_t bits)
{
    const ring_kind *kind = v->r.kind;
    uint64_t lost = 0, number = 0, len = bits >> 8 & 15;
    uint32_t got = 0;
    unsigned producer = (unsigned)(bits >> 16 & 3) % (v->r.producers | (v->kind == LATEST)), from = 0;
    void *slot = NULL;
    if (v->kind == LATEST) {
        if (bits % 4 == 0)
            allowed(weir_latest_write(&v->w, buffer, (uint32_t)(bits >> 8 & 63)));
        else if (bits % 4 == 1 && weir_latest_reserve(&v->w, &slot) == WEIR_OK)
            memset(slot, 1, v->w.value_max);
        else if (bits % 4 == 2)
            allowed(weir_latest_publish(&v->w, (uint32_t)(bits >> 8 & 63)));
        else
            allowed(weir_latest_read(&v->reader, buffer, bits >> 16 & 127, &got, &number));
        cr_assert_leq(got, 100);
        return;
    }
    switch (bits % 8) {
    case 0:
    case 1:
        allowed(kind->push(&v->r, producer, buffer, len, bits >> 20 & 1));
        break;
    case 2:
        if (kind->reserve(&v->r, producer, len, &slot) == WEIR_OK) {
            memset(slot, 1, len);
            allowed(kind->commit(&v->r, producer, len, bits >> 20 & 1));
        }
        break;
    case 3:
        kind->flush(&v->r, producer);
        break;
    case 4:
        kind->release(&v->r);
        break;
    case 5:
        allowed(kind->ready(&v->r));
        break;
    default:
        allowed(kind->pop_more(&v->r, buffer, bits >> 20 & 127, &got, &from, &lost));
        cr_assert(got <= v->r.capacity && from < KIND_PRODUCERS_MAX);
    }
}

static void life(victim *v, uint64_t *random, unsigned calls)
{
    for (unsigned i = 0; i < calls; i++)
        one_call(v, support_random(random) >> 8);
}

/* A ring in use: records in every lane, some read; the handles are good ones. */
static void use(victim *v, unsigned how)
{
    uint64_t random = how + 1;
    init(v);
    life(v, &random, how * 16);
}

static uint64_t control_bytes(const victim *v)
{
    return v->kind == LATEST ? WEIR_LATEST_CONTROL : v->r.bytes;
}

Test(rings_hostile, boundary_values_of_every_word_give_a_status)
{
    uint64_t random = support_seed();
    for (unsigned kind = 0; kind < KINDS; kind++)
        for (unsigned how = 0; how < 3; how++) {
            victim v, good;
            begin(&v, kind);
            use(&v, how);
            good = v;
            unsigned char *image = malloc(v.r.bytes);
            memcpy(image, v.r.mem, v.r.bytes);
            for (uint64_t off = 0; off < v.r.bytes; off += 8) {
                uint64_t old;
                memcpy(&old, image + off, 8);
                uint64_t values[] = { 0, 1, 4, 7, 8, 16, 255, 256, old - 1, old + 1, old - 8, old + 8, old + 64,
                                      old + 256, old - 256, ~old, UINT32_MAX, UINT64_C(1) << 31,
                                      UINT64_C(1) << 32, INT64_MAX, UINT64_C(1) << 63, UINT64_MAX,
                                      UINT64_MAX - 7, old << 1, old >> 1,
                                      WEIR_SPSC_DATA, WEIR_SPSC_PAD, WEIR_SPSC_DATA | UINT32_MAX,
                                      WEIR_SPSC_PAD | UINT32_MAX, WEIR_SPSC_DATA | 15, WEIR_SPSC_PAD | 120,
                                      WEIR_SPSC_PAD | 0xf8, old ^ UINT64_C(1) << 40, old ^ 2, old | 0xfe, old ^ 1 };
                for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
                    for (unsigned living = 0; living < 2; living++) {
                        memcpy(v.r.mem, image, v.r.bytes);
                        weir_store_rlx(weir_word_at(v.r.mem, off), values[i]);
                        v.r.tx = good.r.tx; /* ends that were there, or new ones */
                        v.r.rx = good.r.rx;
                        memcpy(v.r.lanes, good.r.lanes, sizeof v.r.lanes);
                        memcpy(v.r.ordered_lanes, good.r.ordered_lanes, sizeof v.r.ordered_lanes);
                        v.w = good.w;
                        v.reader = good.reader;
                        if (v.kind == 1)
                            v.r.rx.mpsc.lanes = v.r.rx.mpsc.lanes != NULL ? v.r.lanes : NULL;
                        if (v.kind == 2)
                            v.r.rx.ordered.lanes = v.r.rx.ordered.lanes != NULL ? v.r.ordered_lanes : NULL;
                        if (v.kind == 4)
                            v.r.rx.mpmc.lanes = v.r.rx.mpmc.lanes != NULL ? v.r.mpmc_lanes : NULL;
                        if (living == 0)
                            attach(&v);
                        life(&v, &random, 8);
                    }
            }
            free(image);
            end(&v);
        }
}

Test(rings_hostile, every_value_of_every_16_bits_of_the_control_block_gives_a_status)
{
    for (unsigned kind = 0; kind < KINDS; kind++) {
        victim v;
        begin(&v, kind);
        use(&v, 1);
        unsigned char *image = malloc(v.r.bytes);
        memcpy(image, v.r.mem, v.r.bytes);
        static const uint64_t words[] = { 0, 8, 16, 24, 128, 136, 256, 264, 384, 512, 520 };
        uint32_t step = support_count(100) < 100 ? 13 : 1;
        for (size_t w = 0; w < sizeof words / sizeof words[0] && words[w] < v.r.bytes; w++)
            for (unsigned part = 0; part < 4; part++)
                for (uint32_t value = 0; value <= UINT16_MAX; value += step) {
                    uint16_t bits = (uint16_t)value;
                    memcpy((unsigned char *)v.r.mem + words[w] + part * 2, &bits, 2);
                    attach(&v);
                    one_call(&v, 7);
                    one_call(&v, 0);
                    one_call(&v, 3);
                    memcpy(v.r.mem, image, v.r.bytes);
                }
        free(image);
        end(&v);
    }
}

/* Words change at any moment, under living ends and between ends. */
Test(rings_hostile, images_changed_at_random_give_a_status)
{
    uint64_t random = support_seed(), count = support_count(300000);
    for (unsigned kind = 0; kind < KINDS; kind++) {
        victim v;
        begin(&v, kind);
        for (uint64_t i = 0; i < count / KINDS; i++) {
            if (i % 32 == 0)
                use(&v, (unsigned)(i / 32 % 4));
            uint64_t bits = support_random(&random), value = support_random(&random);
            uint64_t words = (bits & 1 ? v.r.bytes : control_bytes(&v)) / 8, off = (bits >> 8) % words * 8;
            weir_atomic_u64 *word = weir_word_at(v.r.mem, off);
            switch (bits >> 40 & 7) {
            case 0:
                weir_store_rlx(word, value);
                break;
            case 1:
                weir_store_rlx(word, weir_load_rlx(word) ^ UINT64_C(1) << value % 64);
                break;
            case 2:
                weir_store_rlx(word, weir_load_rlx(word) + (value & 15) * 8 - 64);
                break;
            case 3:
                weir_store_rlx(word, WEIR_SPSC_DATA | (value & 127));
                break;
            case 4:
                weir_store_rlx(word, WEIR_SPSC_PAD | (value & 127));
                break;
            case 5: /* a word from elsewhere in it */
                weir_store_rlx(word, weir_load_rlx(weir_word_at(v.r.mem, value % (v.r.bytes / 8) * 8)));
                break;
            case 6:
                weir_store_rlx(word, 0);
                break;
            default:
                weir_store_rlx(word, value & 63);
            }
            if ((bits >> 48) % 8 == 0)
                attach(&v);
            life(&v, &random, 3);
        }
        end(&v);
    }
}

/* Who reads writes nothing, whatever is there. */
Test(rings_hostile, readers_write_nothing_whatever_the_bytes)
{
    uint64_t random = support_seed();
    for (unsigned kind = 0; kind < KINDS; kind++) {
        if (kind != LATEST && !ring_kinds[kind].lossy)
            continue; /* its readers write what they have read */
        victim v;
        begin(&v, kind);
        for (uint64_t i = 0; i < support_count(2000); i++) {
            use(&v, (unsigned)(i % 4));
            for (unsigned n = 0; n < 4; n++)
                weir_store_rlx(weir_word_at(v.r.mem, support_random(&random) % (v.r.bytes / 8) * 8),
                               support_random(&random) >> support_random(&random) % 64);
            CHECK(mprotect(v.area + PAGE, v.pages, PROT_READ) == 0);
            for (unsigned n = 0; n < 8; n++) {
                if (n == 4 && kind == LATEST)
                    allowed(weir_latest_reader_attach(&v.reader, v.r.mem, v.r.bytes));
                if (n == 4 && kind != LATEST)
                    allowed(v.r.kind->attach_consumer(&v.r));
                one_call(&v, UINT64_C(127) << 20 | UINT64_C(127) << 16 | 7);
            }
            CHECK(mprotect(v.area + PAGE, v.pages, PROT_READ | PROT_WRITE) == 0);
        }
        end(&v);
    }
}
