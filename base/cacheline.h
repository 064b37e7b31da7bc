/* base/cacheline.h - what the machine's caches ask of a layout, and two hints to it. */
#ifndef WEIR_BASE_CACHELINE_H
#define WEIR_BASE_CACHELINE_H

/* One writer per line pair: x86 fetches lines in adjacent pairs, so 64 bytes apart still shares. */
#define WEIR_LINE 64
#define WEIR_LINE_PAIR 128

/* weir_pause tells the processor that this is a spin loop.  Intel SDM vol. 2, PAUSE; Arm ARM, YIELD. */
static inline void weir_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb" ::: "memory"); /* YIELD is a no-op on most cores; ISB waits a few tens of cycles */
#else
    __asm__ __volatile__("" ::: "memory");
#endif
}

/* weir_prefetch_write asks for the line at ptr in a state that can be written.  Never faults, whatever ptr is. */
static inline void weir_prefetch_write(const void *ptr)
{
#if defined(__x86_64__)
    /* The builtin gives a mere read prefetch where -mprfchw is not said; older processors take this as a no-op. */
    __asm__ __volatile__("prefetchw %0" : : "m"(*(const char *)ptr));
#else
    __builtin_prefetch(ptr, 1, 3);
#endif
}

#endif
