/* The hooks behind the atomics: nothing, but where WEIR_ATOMIC_BACKEND is this folder's. */
#include "hooks.h"
#include "crash.h"

#include <stdio.h>
#include <string.h>

#ifdef WEIR_ATOMIC_BACKEND

void (*crash_hook)(bool store);

static struct crash_site nowhere;
struct crash_site *crash_site_now = &nowhere;

extern struct crash_site __start_crash_sites[], __stop_crash_sites[];

static void hook(bool store)
{
    void (*call)(bool) = crash_hook;
    if (call == NULL)
        return;
    crash_hook = NULL; /* what it does itself is not watched */
    crash_site_now->hits++;
    call(store);
    crash_hook = call;
}

void crash_hook_load(void) { hook(false); }
void crash_hook_store(void) { hook(true); }

void crash_payload_write(void *to, const void *from, uint64_t len)
{
    for (uint64_t off = 0; off < len; off += 8) {
        memcpy((unsigned char *)to + off, (const unsigned char *)from + off, len - off < 8 ? len - off : 8);
        hook(true);
    }
}

void crash_payload_read(void *to, const void *from, uint64_t len)
{
    for (uint64_t off = 0; off < len; off += 8) {
        memcpy((unsigned char *)to + off, (const unsigned char *)from + off, len - off < 8 ? len - off : 8);
        hook(false);
    }
}

/* A file's own name: before it the compiler writes the folder as it was told of it, which is not one way. */
static const char *base_name(const char *file)
{
    const char *slash = strrchr(file, '/');
    return slash == NULL ? file : slash + 1;
}

/* A header's places are in every file that includes it: those of one line are one place. */
static bool is_first(const struct crash_site *site, uint64_t *hits)
{
    *hits = 0;
    for (const struct crash_site *other = __start_crash_sites; other < __stop_crash_sites; other++) {
        if (other->line != site->line || strcmp(base_name(other->file), base_name(site->file)) != 0)
            continue;
        if (other < site)
            return false;
        *hits += other->hits;
    }
    return true;
}

/* A file of ring/, not of a ring's tests. */
static bool is_of_a_ring(const char *file)
{
    return strstr(file, "/ring/") != NULL && strstr(file, "/tests/") == NULL;
}

void crash_sites_count(unsigned *sites, unsigned *hit)
{
    *sites = *hit = 0;
    for (const struct crash_site *site = __start_crash_sites; site < __stop_crash_sites; site++) {
        uint64_t hits;
        if (!is_of_a_ring(site->file) || !is_first(site, &hits))
            continue;
        ++*sites;
        *hit += hits > 0;
        if (hits == 0)
            (void)fprintf(stderr, "never reached: %s:%llu\n", site->file, (unsigned long long)site->line);
    }
}
#endif
