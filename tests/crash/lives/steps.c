#include "lives/steps.h"

#include "support.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#if defined(__x86_64__)

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

#include <weir/ipc/os.h>
#include <weir/naming/os_linux.h>

#define TRAP_FLAG INT64_C(0x100)
#define BREAKPOINT 0xcc
#define FILES 8
#define FILE_BYTES (UINT64_C(1) << 20) /* of a section that are looked at */
#define MAPPINGS 64

/* The red zone below the stack pointer may be in use. */
#define SET_TRAP(how)                                                                                                 \
    __asm__ __volatile__("lea -128(%%rsp), %%rsp\n\tpushfq\n\t" how "\n\tpopfq\n\tlea 128(%%rsp), %%rsp" ::           \
                             : "memory", "cc")
#define TRAP_ON SET_TRAP("orq $0x100, (%%rsp)")
#define TRAP_OFF SET_TRAP("andq $~0x100, (%%rsp)")

extern const char __executable_start, etext;

/* Foreign functions return here: behind it the stepping goes on. */
__asm__(".text\nsteps_return:\n\tint3\n\tnop\n");
extern const char steps_return;

static struct {
    steps_trace *trace;
    uintptr_t before;   /* the point before: in our code? */
    uintptr_t back;     /* where the foreign function that is under way was to return */
    uintptr_t called;
    uint16_t operation;
    bool stepping, changed;
} tracing;

static struct {
    steps_aim to;
    uint64_t seen, left;
    unsigned char was;
    bool over; /* the breakpoint's own instruction is being stepped over */
} aiming;

/* ---- what others can see ---- */

static weir_linux_calls real;
static struct {
    uintptr_t base;
    size_t size;
} mapping[MAPPINGS];
static struct {
    dev_t device;
    ino_t inode;
    int fd;
    uint64_t bytes;
    unsigned char *view, *last;
} file[FILES];
static unsigned mappings, files;

static bool is_shared(uintptr_t at)
{
    for (unsigned i = 0; i < mappings; i++)
        if (at - mapping[i].base < mapping[i].size)
            return true;
    return false;
}

static uint64_t seen_bytes(const struct stat *st)
{
    return (uint64_t)st->st_size < FILE_BYTES ? (uint64_t)st->st_size : FILE_BYTES;
}

/* A view of the whole file, through a description that holds no locks. */
static void know_file(int fd)
{
    struct stat st;
    char path[32];
    CHECK(fstat(fd, &st) == 0);
    for (unsigned i = 0; i < files; i++)
        if (file[i].device == st.st_dev && file[i].inode == st.st_ino)
            return;
    CHECK(files < FILES);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int own = open(path, O_RDWR | O_CLOEXEC);
    CHECK(own >= 0);
    file[files].device = st.st_dev;
    file[files].inode = st.st_ino;
    file[files].fd = own;
    file[files].bytes = seen_bytes(&st);
    file[files].view = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, own, 0);
    file[files].last = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(file[files].view != MAP_FAILED && file[files].last != MAP_FAILED);
    memcpy(file[files].last, file[files].view, file[files].bytes);
    files++;
}

static void *my_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    bool stepping = tracing.stepping; /* a life that is aimed at does not come here */
    if (stepping)
        steps_pause();
    void *base = real.mmap(at, size, protection, flags, fd, offset);
    if (base != MAP_FAILED && (flags & MAP_TYPE) == MAP_SHARED && fd >= 0) {
        CHECK(mappings < MAPPINGS); /* one that was unmapped stays known: it does no harm */
        mapping[mappings].base = (uintptr_t)base;
        mapping[mappings].size = size;
        mappings++;
        know_file(fd);
    }
    if (stepping)
        steps_go_on();
    return base;
}

static bool has_changed(void)
{
    bool changed = false;
    for (unsigned i = 0; i < files; i++) {
        struct stat st;
        if (fstat(file[i].fd, &st) != 0)
            continue;
        uint64_t bytes = seen_bytes(&st);
        if (bytes == file[i].bytes && memcmp(file[i].view, file[i].last, bytes) == 0)
            continue;
        memcpy(file[i].last, file[i].view, bytes);
        file[i].bytes = bytes;
        changed = true;
    }
    return changed;
}

/* ---- the handler ---- */

static bool is_ours(uintptr_t at)
{
    return at >= (uintptr_t)&__executable_start && at < (uintptr_t)&etext;
}

/* A foreign function goes through without steps, unless it is given a section's memory: the address that it returns to
 * is replaced.  (A breakpoint there would be met by the watch's thread, too.) */
static void go_through(greg_t *regs)
{
    uintptr_t *top = (uintptr_t *)regs[REG_RSP];
    tracing.called = (uintptr_t)regs[REG_RIP];
    if (is_shared((uintptr_t)regs[REG_RDI]) || !is_ours(*top))
        return;
    tracing.back = *top;
    *top = (uintptr_t)&steps_return;
    regs[REG_EFL] &= ~TRAP_FLAG;
}

static void trace_point(greg_t *regs)
{
    if ((uintptr_t)regs[REG_RIP] == (uintptr_t)&steps_return + 1) {
        regs[REG_RIP] = (greg_t)tracing.back;
        regs[REG_EFL] |= TRAP_FLAG;
    }
    uintptr_t at = (uintptr_t)regs[REG_RIP];
    steps_trace *trace = tracing.trace;
    if (trace->count == STEPS_MAX)
        _exit(1);
    bool ours = is_ours(at), entered = is_ours(tracing.before) && !ours;
    tracing.before = at;
    tracing.changed |= has_changed();
    trace->point[trace->count++] =
        (steps_point){ at, ours ? tracing.called : 0, tracing.operation, ours && tracing.changed };
    if (ours) {
        tracing.called = 0;
        tracing.changed = false;
    }
    if (entered)
        go_through(regs);
}

/* The breakpoint has been met, or a step has been made behind it. */
static void aim_point(greg_t *regs)
{
    volatile unsigned char *code = (volatile unsigned char *)aiming.to.at;
    if (aiming.over) {
        aiming.over = false;
        *code = BREAKPOINT;
        regs[REG_EFL] &= ~TRAP_FLAG;
        return;
    }
    if (aiming.left == 0) {
        *code = aiming.was;
        regs[REG_RIP]--;
        regs[REG_EFL] |= TRAP_FLAG;
        if (++aiming.seen < aiming.to.nth) {
            aiming.over = true;
            return;
        }
        aiming.left = aiming.to.steps + 1;
    }
    if (--aiming.left == 0) {
        regs[REG_EFL] &= ~TRAP_FLAG;
        (void)kill(getpid(), aiming.to.signal);
    }
}

static void at_trap(int signal, siginfo_t *info, void *context)
{
    int saved = errno;
    (void)signal, (void)info;
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    if (tracing.trace != NULL)
        trace_point(regs);
    else
        aim_point(regs);
    errno = saved;
}

static void handle_traps(void)
{
    struct sigaction action = { .sa_sigaction = at_trap, .sa_flags = SA_SIGINFO };
    CHECK(sigaction(SIGTRAP, &action, NULL) == 0);
}

/* ---- a life ---- */

void steps_to_trace(steps_trace *trace)
{
    real = weir_linux;
    weir_linux.mmap = my_mmap;
    trace->count = 0;
    tracing.trace = trace;
    handle_traps();
}

void steps_to_aim(const steps_aim *aim)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    aiming.to = *aim;
    CHECK(mprotect((void *)(aim->at & ~(page - 1)), page, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
    handle_traps();
}

void steps_go_on(void)
{
    if (tracing.trace != NULL) {
        tracing.stepping = true;
        TRAP_ON;
    } else if (aiming.seen < aiming.to.nth) {
        aiming.was = *(unsigned char *)aiming.to.at;
        *(volatile unsigned char *)aiming.to.at = BREAKPOINT;
    }
}

void steps_pause(void)
{
    if (tracing.trace != NULL) {
        TRAP_OFF;
        tracing.stepping = false;
    } else if (aiming.seen < aiming.to.nth) {
        *(volatile unsigned char *)aiming.to.at = aiming.was;
    }
}

void steps_forget(void)
{
    tracing.trace = NULL;
    aiming.to.nth = 0;
}

void steps_begin(void) { steps_go_on(); }
void steps_end(void) { steps_pause(); }

void steps_operation(unsigned number) { tracing.operation = (uint16_t)number; }

/* The thread's creator has blocked all signals meanwhile, and a trap then is a death. */
weir_status __real_weir_os_thread_start(void (*body)(void));
weir_status __wrap_weir_os_thread_start(void (*body)(void))
{
    bool stepping = tracing.stepping;
    if (stepping)
        steps_pause();
    weir_status status = __real_weir_os_thread_start(body);
    if (stepping)
        steps_go_on();
    return status;
}

/* ---- points ---- */

/* Can it change what others see: names, locks, lengths, who sleeps? */
static bool is_seen(uintptr_t function)
{
    static const char *const parts[] = { "open", "close", "fcntl", "link", "mkdir", "mkfifo", "fallocate", "truncate",
                                         "chmod", "chown", "write", "map", "syscall" };
    Dl_info info;
    if (dladdr((void *)function, &info) == 0 || info.dli_sname == NULL)
        return false; /* a copy, which is seen in the bytes, or the time */
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (strstr(info.dli_sname, parts[i]) != NULL)
            return true;
    return false;
}

bool steps_is_distinct(const steps_trace *trace, uint64_t point)
{
    const steps_point *p = &trace->point[point];
    return p->changed || (p->called != 0 && is_seen(p->called));
}

steps_aim steps_aim_at(const steps_trace *trace, uint64_t point, int signal)
{
    uint64_t anchor = point;
    while (anchor > 0 && !is_ours(trace->point[anchor].at))
        anchor--;
    steps_aim aim = { .at = trace->point[anchor].at, .steps = point - anchor, .signal = signal };
    for (uint64_t i = 0; i <= anchor; i++)
        aim.nth += trace->point[i].at == aim.at;
    return aim;
}

static void nothing_to_see(int signal) { (void)signal; _exit(0); }

/* The trap flag must trap, and code be changed. */
bool steps_possible(void)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)&steps_return & ~(page - 1);
        if (mprotect((void *)at, page, PROT_READ | PROT_WRITE | PROT_EXEC) != 0 ||
            sigaction(SIGTRAP, &(struct sigaction){ .sa_handler = nothing_to_see }, NULL) != 0)
            _exit(1);
        TRAP_ON;
        TRAP_OFF;
        _exit(1);
    }
    return support_wait(child) == 0;
}

#else

weir_status __real_weir_os_thread_start(void (*body)(void));
weir_status __wrap_weir_os_thread_start(void (*body)(void)) { return __real_weir_os_thread_start(body); }

bool steps_possible(void) { return false; }
void steps_to_trace(steps_trace *trace) { (void)trace; }
void steps_to_aim(const steps_aim *aim) { (void)aim; }
void steps_begin(void) {}
void steps_end(void) {}
void steps_pause(void) {}
void steps_go_on(void) {}
void steps_forget(void) {}
void steps_operation(unsigned number) { (void)number; }
bool steps_is_distinct(const steps_trace *trace, uint64_t point) { return trace->count > point; }
steps_aim steps_aim_at(const steps_trace *trace, uint64_t point, int signal)
{
    return (steps_aim){ .at = trace->point[point].at, .signal = signal };
}

#endif
