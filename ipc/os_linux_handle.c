/* ipc/os_linux_handle.c - where handles lie: pieces of mappings that the process keeps.
 *
 * A mapping of its own for each handle would cost four calls of the system, two page faults and two of the mappings that a
 * process may have.  No lock: one that another thread holds while this one forks would be held in the child for ever.  What
 * a thread of the parent was about to take or give back then stays taken in the child. */
#include <weir/ipc/os.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h> /* a handle that is used behind its close is reported */
#define POISON(part) __asan_poison_memory_region((part), WEIR_OS_HANDLE_PART)
#define UNPOISON(part) __asan_unpoison_memory_region((part), WEIR_OS_HANDLE_PART)
#else
#define POISON(part) ((void)(part))
#define UNPOISON(part) ((void)(part))
#endif

#define HANDLES (WEIR_OS_HANDLE_APART / WEIR_OS_HANDLE_PART)
_Static_assert(HANDLES == 64, "a bit of a word for each handle");

struct chunk {
    unsigned char *parts;  /* the handles' first parts, then their second ones */
    weir_atomic_u64 taken; /* a bit for each handle */
    weir_atomic_u64 next;  /* the address of the next chunk, which stays where it is; 0: there is none yet */
};

static weir_atomic_u64 first;

static struct chunk *chunk_at(const weir_atomic_u64 *link)
{
    /* order HANDLE-CHUNK acq: its address before what is in it.  Without it a chunk could have no memory yet. */
    return (struct chunk *)(uintptr_t)weir_load_acq(link);
}

static void drop_chunk(struct chunk *chunk)
{
    if (chunk->parts != MAP_FAILED)
        (void)munmap(chunk->parts, 2 * (size_t)WEIR_OS_HANDLE_APART);
    free(chunk);
}

static struct chunk *make_chunk(void)
{
    struct chunk *chunk = calloc(1, sizeof *chunk);
    if (chunk == NULL)
        return NULL;
    chunk->parts = mmap(NULL, 2 * (size_t)WEIR_OS_HANDLE_APART, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (chunk->parts != MAP_FAILED && madvise(chunk->parts, WEIR_OS_HANDLE_APART, MADV_WIPEONFORK) == 0)
        return chunk;
    drop_chunk(chunk);
    return NULL;
}

/* Puts a chunk where the list ends, or finds there what another thread has put. */
static struct chunk *add_chunk(weir_atomic_u64 *link)
{
    struct chunk *chunk = make_chunk();
    uint64_t none = 0;
    if (chunk == NULL)
        return NULL;
    /* order HANDLE-CHUNK rel: what is in it before its address. */
    if (weir_cas_rel(link, &none, (uint64_t)(uintptr_t)chunk))
        return chunk;
    drop_chunk(chunk);
    return chunk_at(link);
}

static void *take(struct chunk *chunk)
{
    uint64_t taken = weir_load_rlx(&chunk->taken); /* relaxed: the exchange looks again */
    while (taken != UINT64_MAX) {
        unsigned i = (unsigned)__builtin_ctzll(~taken);
        /* order HANDLE acq: that it was given back before its bytes.  Without it they could be cleared behind this. */
        if (!weir_cas_acq(&chunk->taken, &taken, taken | UINT64_C(1) << i))
            continue;
        unsigned char *handle = chunk->parts + (size_t)i * WEIR_OS_HANDLE_PART;
        UNPOISON(handle);
        UNPOISON(handle + WEIR_OS_HANDLE_APART);
        return handle;
    }
    return NULL;
}

void *weir_os_handle_alloc(void)
{
    int saved = errno;
    void *handle = NULL;
    for (weir_atomic_u64 *link = &first; handle == NULL;) {
        struct chunk *chunk = chunk_at(link);
        if (chunk == NULL)
            chunk = add_chunk(link);
        if (chunk == NULL)
            break;
        handle = take(chunk);
        link = &chunk->next;
    }
    errno = saved;
    return handle;
}

/* The first chunk keeps its memory, for the next handle; of the others it goes back to the system.  Larger pages than a
 * part would take the neighbours' with them.  What cannot be given back (it is locked, say) is clear all the same. */
static void clear_part(unsigned char *part, bool keep)
{
    memset(part, 0, WEIR_OS_HANDLE_PART);
    if (!keep && sysconf(_SC_PAGESIZE) <= (long)WEIR_OS_HANDLE_PART)
        (void)madvise(part, WEIR_OS_HANDLE_PART, MADV_DONTNEED);
    POISON(part);
}

void weir_os_handle_free(void *handle)
{
    int saved = errno;
    struct chunk *oldest = chunk_at(&first), *chunk = oldest;
    uint64_t off;
    while ((off = (uint64_t)((uintptr_t)handle - (uintptr_t)chunk->parts)) >= WEIR_OS_HANDLE_APART)
        chunk = chunk_at(&chunk->next);
    uint64_t bit = UINT64_C(1) << off / WEIR_OS_HANDLE_PART, taken = weir_load_rlx(&chunk->taken); /* relaxed: as above */
    if ((taken & bit) == 0)
        __builtin_trap(); /* closed twice: as it would be if its memory were gone */
    clear_part(handle, chunk == oldest);
    clear_part((unsigned char *)handle + WEIR_OS_HANDLE_APART, chunk == oldest);
    /* order HANDLE rel: its bytes before it is given back. */
    while (!weir_cas_rel(&chunk->taken, &taken, taken & ~bit))
        continue;
    errno = saved;
}
