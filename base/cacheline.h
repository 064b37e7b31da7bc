/* base/cacheline.h - what the machine's caches ask of a layout, and a hint to it. */
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

#endif
