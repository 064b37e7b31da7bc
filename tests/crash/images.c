/* Memory to run in, the images that a call leaves in it, and the last word of a program that fails. */
#include "crash.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define IMAGES_BYTES (UINT64_C(64) << 20)

crash_place crash_at;

static unsigned char *area[2]; /* each ends at a page without access */
static bool done;

static struct {
    crash_images *images;
    const unsigned char *memory;
    const unsigned char *last; /* the newest image */
    uint64_t points;
    uint64_t overhead, skip; /* points that are the stepper's own */
} watch;

/* ---- memory ---- */

static unsigned char *area_make(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *base = mmap(NULL, CRASH_MEMORY_MAX + page, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(base != MAP_FAILED);
    CHECK(mprotect(base + CRASH_MEMORY_MAX, page, PROT_NONE) == 0);
    return base;
}

unsigned char *crash_home(uint64_t bytes) { return area[0] + CRASH_MEMORY_MAX - bytes; }
unsigned char *crash_away(uint64_t bytes) { return area[1] + CRASH_MEMORY_MAX - bytes; }

void crash_memory(crash_world *w, uint64_t bytes, uint64_t stale)
{
    CHECK(bytes % WEIR_LINE == 0 && bytes <= CRASH_MEMORY_MAX);
    w->bytes = bytes;
    w->memory = crash_home(bytes);
    for (uint64_t off = 0; off < bytes; off += sizeof stale)
        memcpy(w->memory + off, &stale, sizeof stale);
}

/* ---- images ---- */

/* May run inside a signal handler: the room is made beforehand. */
static void images_add(crash_images *images, const unsigned char *memory)
{
    if (images->count == images->room) {
        static const char text[] = "crash: more images of one call than there is room for\n";
        (void)!write(STDERR_FILENO, text, sizeof text - 1);
        _exit(1);
    }
    unsigned char *image = images->all + images->count * images->bytes;
    memcpy(image, memory, images->bytes);
    images->count++;
    watch.last = image;
}

void crash_watch(crash_images *images, const crash_world *w)
{
    if (images->all == NULL) {
        images->all = mmap(NULL, IMAGES_BYTES, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        CHECK(images->all != MAP_FAILED);
    }
    images->bytes = w->bytes;
    images->room = IMAGES_BYTES / w->bytes;
    images->count = 0;
    images_add(images, w->memory);
    watch.memory = w->memory;
    watch.skip = watch.overhead;
    watch.images = images;
}

void crash_watch_end(void)
{
    crash_images *images = watch.images;
    watch.images = NULL;
    if (memcmp(watch.memory, watch.last, images->bytes) != 0)
        images_add(images, watch.memory);
}

void crash_point(void)
{
    if (watch.images == NULL)
        return;
    if (watch.skip > 0)
        watch.skip--;
    else
        watch.points++;
    if (memcmp(watch.memory, watch.last, watch.images->bytes) != 0)
        images_add(watch.images, watch.memory);
}

uint64_t crash_points(void) { return watch.points; }

static void nothing(crash_world *w) { (void)w; }

void crash_calibrate(crash_stepper *step)
{
    crash_images images = { .all = NULL };
    crash_world w = { .memory = crash_home(WEIR_LINE), .bytes = WEIR_LINE };
    uint64_t before = watch.points;
    watch.overhead = 0;
    crash_watch(&images, &w);
    step(nothing, &w);
    crash_watch_end();
    CHECK(munmap(images.all, IMAGES_BYTES) == 0);
    watch.overhead = watch.points - before;
    watch.points = before;
}

/* ---- what was seen before ---- */

static uint64_t hash(const unsigned char *bytes, uint64_t count, uint64_t salt)
{
    uint64_t sum = salt * UINT64_C(0x9e3779b97f4a7c15) + count;
    for (uint64_t i = 0; i + 8 <= count; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, 8);
        sum = (sum ^ word) * UINT64_C(0xbf58476d1ce4e5b9); /* splitmix64, Steele et al. 2014 */
        sum ^= sum >> 29;
    }
    sum *= UINT64_C(0x94d049bb133111eb);
    sum ^= sum >> 32;
    return sum != 0 ? sum : 1;
}

static bool set_put(crash_set *set, uint64_t key)
{
    uint64_t i = key & (set->size - 1);
    for (; set->slots[i] != 0; i = (i + 1) & (set->size - 1))
        if (set->slots[i] == key)
            return false;
    set->slots[i] = key;
    set->count++;
    return true;
}

bool crash_set_add(crash_set *set, const void *bytes, uint64_t count, uint64_t salt)
{
    if (2 * (set->count + 1) > set->size) {
        crash_set larger = { .size = set->size != 0 ? 2 * set->size : 1024 };
        larger.slots = calloc(larger.size, sizeof *larger.slots);
        CHECK(larger.slots != NULL);
        for (uint64_t i = 0; i < set->size; i++)
            if (set->slots[i] != 0)
                (void)set_put(&larger, set->slots[i]);
        free(set->slots);
        *set = larger;
    }
    return set_put(set, hash(bytes, count, salt));
}

/* ---- the order of states ---- */

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

crash_walk crash_walk_begin(uint64_t states, uint64_t *seed)
{
    /* A stride near the golden section spreads any first part over all digits. */
    crash_walk walk = { .states = states, .next = support_random(seed) % states, .stride = states * 618 / 1000 };
    while (walk.stride == 0 || common_divisor(walk.stride, states) != 1)
        walk.stride++;
    return walk;
}

uint64_t crash_walk_next(crash_walk *walk)
{
    uint64_t state = walk->next;
    walk->next = (walk->next + walk->stride) % walk->states;
    return state;
}

/* ---- one case alone ---- */

static bool wanted_case(char ring[32], char operation[32], uint64_t *state)
{
    const char *wanted = getenv("WEIR_CRASH_CASE");
    unsigned long long number = 0;
    if (wanted == NULL)
        return false;
    CHECK(sscanf(wanted, "%31s %31s %llu", ring, operation, &number) == 3);
    *state = number;
    return true;
}

bool crash_wanted(const char *ring, const char *operation)
{
    char a[32], b[32];
    uint64_t state;
    return !wanted_case(a, b, &state) || (strcmp(a, ring) == 0 && strcmp(b, operation) == 0);
}

bool crash_wanted_state(uint64_t *state)
{
    char a[32], b[32];
    return wanted_case(a, b, state);
}

/* ---- the last word ---- */

static void say_where(void)
{
    char text[512];
    int len = snprintf(text, sizeof text,
                       "%s: points=%llu failures=1\n  WEIR_CRASH_CASE=\"%s %s %llu\", point %llu, %s\n",
                       crash_at.program, (unsigned long long)watch.points, crash_at.ring, crash_at.operation,
                       (unsigned long long)crash_at.state, (unsigned long long)crash_at.point, crash_at.doing);
    if (len > 0)
        (void)!write(STDERR_FILENO, text, (size_t)len);
}

static void at_exit(void)
{
    if (!done)
        say_where();
}

static void at_fault(int signal)
{
    static const char text[] = "crash: a fault, or no end\n";
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    say_where();
    if (signal == SIGALRM)
        _exit(1);
    /* SA_RESETHAND: it comes again and ends the program by itself. */
}

uint64_t crash_begin(const char *program)
{
    crash_at = (crash_place){ .program = program, .ring = "-", .operation = "-", .doing = "-" };
    area[0] = area_make();
    area[1] = area_make();
    CHECK(atexit(at_exit) == 0);
    struct sigaction action = { .sa_handler = at_fault, .sa_flags = (int)SA_RESETHAND };
    static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM };
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        CHECK(sigaction(signals[i], &action, NULL) == 0);
    crash_alive();
    return support_seed();
}

void crash_done(void)
{
    (void)alarm(0);
    done = true;
}

void crash_alive(void) { (void)alarm(CRASH_HANG_S); }
