/* ipc/probe.h - private: static tracepoints of provider "weir" (USDT: perf, bpftrace, systemtap).  One that nobody
 * traces is a nop; without <sys/sdt.h> there is none.  ipc/README.md lists them with their arguments. */
#ifndef WEIR_IPC_PROBE_H
#define WEIR_IPC_PROBE_H

#ifdef WEIR_HAVE_SDT
#include <sys/sdt.h>
#ifdef __clang__ /* its macros give nothing for "...", which clang says of the line that uses them (gcc: of a system header) */
#pragma clang diagnostic ignored "-Wgnu-zero-variadic-macro-arguments"
#endif
#define WEIR_PROBE2(name, a, b) DTRACE_PROBE2(weir, name, a, b)
#define WEIR_PROBE3(name, a, b, c) DTRACE_PROBE3(weir, name, a, b, c)
#else
#define WEIR_PROBE2(name, a, b) ((void)(a), (void)(b))
#define WEIR_PROBE3(name, a, b, c) ((void)(a), (void)(b), (void)(c))
#endif

#endif
