/* Follows a process through its system calls, and has one of them fail, or end it.
 *
 *   tracer PID list                 every call, in order: a line "index name" for each
 *   tracer PID kill INDEX           SIGKILL where that call would begin
 *   tracer PID fail INDEX ERRNO     that call is not made, and gives the error
 *   tracer PID short INDEX BYTES    that write gets so many bytes only (of its first buffer)
 *
 * Says "attached" first. Calls count from one sched_yield(2) of the process to its next, which are
 * how it says where to look; index 0 is the first between them. Says "hit NAME" when it has done
 * what it was to do. Lets go of the process at the second sched_yield, or ends with it.
 *
 * ptrace(2): PTRACE_GET_SYSCALL_INFO tells the calls on every architecture; to change one, its
 * registers have to be known. */

#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <linux/ptrace.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

/* glibc's <sys/ptrace.h> and <linux/ptrace.h> do not go together. */
extern long ptrace(int request, ...);

static const struct {
    long number;
    const char *name;
} NAMES[] = {
    {SYS_write, "write"},
    {SYS_writev, "writev"},
    {SYS_pwrite64, "pwrite64"},
    {SYS_pwritev, "pwritev"},
    {SYS_pwritev2, "pwritev2"},
    {SYS_read, "read"},
    {SYS_pread64, "pread64"},
    {SYS_preadv, "preadv"},
    {SYS_fdatasync, "fdatasync"},
    {SYS_fsync, "fsync"},
    {SYS_msync, "msync"},
    {SYS_sync_file_range, "sync_file_range"},
    {SYS_ftruncate, "ftruncate"},
    {SYS_fallocate, "fallocate"},
    {SYS_fcntl, "fcntl"},
    {SYS_ioctl, "ioctl"},
    {SYS_mmap, "mmap"},
    {SYS_munmap, "munmap"},
    {SYS_mremap, "mremap"},
    {SYS_madvise, "madvise"},
    {SYS_mprotect, "mprotect"},
    {SYS_openat, "openat"},
    {SYS_close, "close"},
    {SYS_fstat, "fstat"},
    {SYS_newfstatat, "newfstatat"},
    {SYS_statx, "statx"},
    {SYS_lseek, "lseek"},
    {SYS_unlinkat, "unlinkat"},
    {SYS_renameat2, "renameat2"},
    {SYS_getrandom, "getrandom"},
    {SYS_clock_nanosleep, "clock_nanosleep"},
    {SYS_dup3, "dup3"},
#ifdef SYS_stat
    {SYS_open, "open"},
    {SYS_stat, "stat"},
    {SYS_lstat, "lstat"},
    {SYS_unlink, "unlink"},
    {SYS_rename, "rename"},
    {SYS_readlink, "readlink"},
#endif
#ifdef SYS_renameat
    {SYS_renameat, "renameat"},
#endif
    {SYS_readlinkat, "readlinkat"},
};

static const char *name_of(long number)
{
    static char other[24];
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        if (NAMES[i].number == number)
            return NAMES[i].name;
    snprintf(other, sizeof other, "call%ld", number);
    return other;
}

static void die(const char *what)
{
    fprintf(stderr, "tracer: %s: %s\n", what, strerror(errno));
    exit(2);
}

static void say(const char *first, const char *second)
{
    printf("%s%s%s\n", first, *second ? " " : "", second);
    fflush(stdout);
}

/* --- registers ------------------------------------------------------------------------------- */

#if defined(__x86_64__)
typedef struct user_regs_struct registers;
#define ARGUMENT_3(r) ((r).rdx)
#define RESULT(r) ((r).rax)
#elif defined(__aarch64__)
typedef struct user_regs_struct registers;
#define ARGUMENT_3(r) ((r).regs[2])
#define RESULT(r) ((r).regs[0])
#else
#error "the registers of this architecture are not known here"
#endif

static registers get(pid_t pid)
{
    registers found;
    struct iovec where = {&found, sizeof found};
    if (ptrace(PTRACE_GETREGSET, pid, (void *)NT_PRSTATUS, &where) != 0)
        die("read the registers");
    return found;
}

static void set(pid_t pid, registers wanted)
{
    struct iovec where = {&wanted, sizeof wanted};
    if (ptrace(PTRACE_SETREGSET, pid, (void *)NT_PRSTATUS, &where) != 0)
        die("change the registers");
}

/* No call has the number -1: the kernel makes none. */
static void skip_call(pid_t pid)
{
#if defined(__x86_64__)
    registers changed = get(pid);
    changed.orig_rax = (unsigned long long)-1;
    set(pid, changed);
#else
    int none = -1;
    struct iovec where = {&none, sizeof none};
    if (ptrace(PTRACE_SETREGSET, pid, (void *)NT_ARM_SYSTEM_CALL, &where) != 0)
        die("skip the call");
#endif
}

/* The write gets `size` bytes of its first buffer. A vector is cut to its first part, and that is
 * made shorter in the process's own memory. */
static void shorten(pid_t pid, long number, const __u64 *arguments, unsigned long size)
{
    registers changed = get(pid);
    if (number == SYS_pwritev || number == SYS_pwritev2 || number == SYS_writev) {
        unsigned long *length = &((unsigned long *)arguments[1])[1]; /* iov[0].iov_len */
        errno = 0;
        unsigned long now = (unsigned long)ptrace(PTRACE_PEEKDATA, pid, length, NULL);
        if (errno != 0)
            die("read the vector");
        if (now > size && ptrace(PTRACE_POKEDATA, pid, length, (void *)size) != 0)
            die("shorten the vector");
        ARGUMENT_3(changed) = 1;
    } else if (ARGUMENT_3(changed) > size) {
        ARGUMENT_3(changed) = size;
    }
    set(pid, changed);
}

/* --- following ------------------------------------------------------------------------------- */

int main(int count, char **arguments)
{
    if (count < 3)
        return 2;
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    pid_t pid = (pid_t)atoi(arguments[1]);
    const char *action = arguments[2];
    long wanted = count > 3 ? atol(arguments[3]) : -1;
    long value = count > 4 ? atol(arguments[4]) : 0;

    if (ptrace(PTRACE_SEIZE, pid, NULL, (void *)(PTRACE_O_TRACESYSGOOD)) != 0)
        die("attach");
    if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) != 0)
        die("stop");
    int told = 0, inside = 0, fails_now = 0, status;
    long index = -1;
    for (;;) {
        if (waitpid(pid, &status, __WALL) < 0)
            die("wait");
        if (!WIFSTOPPED(status))
            return 0; /* it is gone, by itself or by us */
        int signal = 0;
        if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
            struct ptrace_syscall_info info;
            if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof info, &info) < 0)
                die("look at the call");
            if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
                long number = (long)info.entry.nr;
                if (number == SYS_sched_yield) {
                    if (inside++) {
                        ptrace(PTRACE_DETACH, pid, NULL, NULL);
                        return 0;
                    }
                } else if (inside && ++index == wanted) {
                    say("hit", name_of(number));
                    if (strcmp(action, "kill") == 0) {
                        kill(pid, SIGKILL);
                    } else if (strcmp(action, "fail") == 0) {
                        skip_call(pid);
                        fails_now = 1;
                    } else if (strcmp(action, "short") == 0) {
                        shorten(pid, number, info.entry.args, (unsigned long)value);
                    }
                } else if (inside && strcmp(action, "list") == 0) {
                    char where[24];
                    snprintf(where, sizeof where, "%ld", index);
                    printf("%s %s\n", where, name_of(number));
                }
            } else if (info.op == PTRACE_SYSCALL_INFO_EXIT && fails_now) {
                fails_now = 0;
                registers changed = get(pid);
                RESULT(changed) = (unsigned long long)-value;
                set(pid, changed);
            }
        } else if (status >> 16 == PTRACE_EVENT_STOP) {
            if (!told++)
                say("attached", "");
        } else {
            signal = WSTOPSIG(status);
        }
        if (ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(long)signal) != 0 && errno != ESRCH)
            die("go on");
    }
}
