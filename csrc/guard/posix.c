/* The SIGBUS handler.
 *
 *     fault at `address` in a published mapping:
 *         past the end of the file?    poison from the end of the file to the end of the mapping
 *         inside it, first time?       run the instruction again: the failure may have passed
 *         inside it, second time?      poison that page; after many such pages, all the rest
 *         record it, notify the main thread of its own faults, return: the instruction runs again
 *     anything else: whoever handled SIGBUS before us
 *
 * Why in one go: page by page, each patch splits a mapping, and a process may have 65,530 of them.
 * Why under a lock, and with a note of what is patched: a second thread that faulted on the same
 * page would lay fresh poison over what the first has stored since.
 *
 * Only system calls, lock-free atomics and values fetched beforehand are used here. errno is
 * kept. macOS reports some of these faults as SIGSEGV, so both are handled there.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "guard/poison.h"
#include "guard/registry.h"
#include "os/os.h"
#include "os/posix.h"

#ifdef __APPLE__
static const int signals[] = {SIGBUS, SIGSEGV};
#else
static const int signals[] = {SIGBUS};
#endif
enum { SIGNAL_COUNT = sizeof signals / sizeof *signals };

/* Second chances for pages inside a file, so that threads cannot keep each other retrying. */
#define MOST_RETRIES 4096
/* How much of the stack a handler uses before it raises its signal again. */
#define MOST_NESTED_BYTES 65536

/* A foreign fault that comes again this often, at one address, is not going to be repaired. */
#define MOST_REPEATS 1000

typedef void (*plain_handler)(int);

/* Whoever handled each signal before us. Written outside handlers, one word at a time. */
static struct {
    _Atomic uintptr_t handler; /* SIG_DFL, SIG_IGN or a function */
    atomic_bool with_info;     /* SA_SIGINFO */
} previous[SIGNAL_COUNT];
static _Atomic uintptr_t host_handler;
static _Atomic uint64_t passing_on;      /* the thread that is inside `previous`, ... */
static _Atomic uintptr_t passing_on_from; /* ... and where its signal frame lies */
static _Atomic uintptr_t foreign_address; /* of the latest fault that was passed on, ... */
static _Atomic uint64_t foreign_thread;   /* ... in this thread, ... */
static _Atomic unsigned foreign_repeats;  /* ... and how often it came before */
static atomic_bool enabled = true;
static _Atomic uint64_t main_faults, foreign_signals;
static void (*_Atomic notify_main)(void);

/* --- repair ----------------------------------------------------------------------------------- */

static bool is_patched(const mmk_fault_record *record, uintptr_t page) {
    if (record->poisoned_from != 0 && page >= record->poisoned_from)
        return true;
    for (unsigned i = 0; i < record->page_count; i++)
        if (record->pages[i] == page)
            return true;
    return false;
}

static bool lay_tail(mmk_fault_record *record, uintptr_t from) {
    uintptr_t to = record->poisoned_from != 0 ? record->poisoned_from : record->end;
    if (from < to && !mmk__poison_lay(record, from, to))
        return false;
    record->poisoned_from = from;
    return true;
}

/* True the first time it is asked for a page. */
static bool deserves_retry(mmk_fault_record *record, uintptr_t page) {
    uintptr_t *entry = &record->retried[(page / record->page_bytes) %
                                        (sizeof record->retried / sizeof *record->retried)];
    if (*entry == page || record->retries >= MOST_RETRIES)
        return false;
    *entry = page;
    record->retries++;
    return true;
}

/* A descriptor may have been closed behind our back, and its number may be another file's by now. */
static bool still_ours(const mmk_fault_record *record, struct stat *now) {
    return fstat((int)record->file, now) == 0 && (uint64_t)now->st_dev == record->device &&
           (uint64_t)now->st_ino == record->inode;
}

static bool is_full(int file) {
    struct statvfs found;
    return fstatvfs(file, &found) == 0 && found.f_blocks > 0 && found.f_bavail == 0;
}

/* Why a page inside the file cannot be backed: reading it through the descriptor tells a failing
 * device from a store that found no block. */
static mmk_cause ask_cause(const mmk_fault_record *record, uint64_t offset, int *code) {
    char byte;
    struct stat now;
    if (record->file == MMK_NO_HANDLE) {
        *code = ENOMEM;
        return MMK_CAUSE_NO_MEMORY;
    }
    if (!still_ours(record, &now)) {
        *code = EBADF;
        return MMK_CAUSE_IO_ERROR;
    }
    if (pread((int)record->file, &byte, 1, (off_t)offset) < 0) {
        *code = errno;
        return MMK_CAUSE_IO_ERROR;
    }
    /* tmpfs takes a page even for reading a hole. */
    if ((record->protection & MMK_PROT_WRITE) || is_full((int)record->file)) {
        *code = ENOSPC;
        return MMK_CAUSE_NO_SPACE;
    }
    *code = EIO;
    return MMK_CAUSE_IO_ERROR;
}

/* Where the file ends inside the mapping, rounded up to whole pages; the mapping's end if the file
 * reaches further or has no size. */
static uintptr_t end_of_file(const mmk_fault_record *record) {
    struct stat now;
    if (!record->sized || !still_ours(record, &now))
        return record->end;
    uint64_t size = (uint64_t)now.st_size;
    uint64_t inside = size > record->file_offset ? size - record->file_offset : 0;
    if (inside >= record->end - record->base)
        return record->end;
    return record->base + (((uintptr_t)inside + record->page_bytes - 1) & ~(record->page_bytes - 1));
}

static bool lay_page(mmk_fault_record *record, uintptr_t page) {
    if (record->page_count == MMK_GUARD_PAGES)
        /* Too many to keep apart. A second wave, below the poisoned tail, gives everything up. */
        return lay_tail(record, record->poisoned_from == 0 ? page : record->base);
    if (!mmk__poison_lay(record, page, page + record->page_bytes))
        return false;
    record->pages[record->page_count++] = page;
    return true;
}

/* Recorded before the poison is laid: whoever reads it finds the fault in the record, however soon. */
static void record_loss(mmk_fault_record *record, mmk_cause cause, int code, uint64_t offset) {
    mmk__record_damage(record);
    mmk__record_fault(record, cause, code, offset);
}

/* Under the lock. `counted` is false where the instruction is only run again. */
static bool patch(mmk_fault_record *record, uintptr_t page, uint64_t offset, bool *counted) {
    uintptr_t end = end_of_file(record);
    if (page >= end) {
        record_loss(record, MMK_CAUSE_TRUNCATED, mmk_os_truncated_error(), offset);
        return lay_tail(record, end);
    }
    if (deserves_retry(record, page)) {
        *counted = false;
        return true;
    }
    int code;
    mmk_cause cause = ask_cause(record, offset, &code);
    record_loss(record, cause, code, offset);
    return lay_page(record, page);
}

/* False if nothing could be done and the signal has to take its course. */
static bool repair(mmk_fault_record *record, uintptr_t address) {
    bool repaired = true, counted = true;
    mmk__record_lock(record);
    uintptr_t page = address & ~(record->page_bytes - 1);
    uint64_t offset = record->file_offset + (address - record->base);
    if (is_patched(record, page)) /* by another thread, just now */
        mmk__record_fault(record, record->cause, record->code, offset);
    else
        repaired = patch(record, page, offset, &counted);
    mmk__record_unlock(record);
    if (repaired && counted && mmk_os_on_main_thread()) {
        void (*notify)(void) = atomic_load(&notify_main);
        atomic_fetch_add(&main_faults, 1);
        if (notify != NULL)
            notify();
    }
    return repaired;
}

/* --- the handler ------------------------------------------------------------------------------ */

static int index_of(int number) {
    int i = 0;
    while (i < SIGNAL_COUNT - 1 && signals[i] != number)
        i++;
    return i;
}

static void die_of(int number, bool synchronous) {
    struct sigaction act;
    memset(&act, 0, sizeof act);
    act.sa_handler = SIG_DFL;
    sigaction(number, &act, NULL);
    /* A fault comes again when the handler returns, and then kills with its true cause. */
    if (!synchronous)
        raise(number);
}

/* True if this thread has met the same fault over and over, and whoever handles it just returns:
 * faulthandler does when it was displaced by us and then disabled, CPython's own handler always. */
static bool leads_nowhere(uintptr_t address, uint64_t me) {
    if (atomic_exchange(&foreign_address, address) != address ||
        atomic_exchange(&foreign_thread, me) != me)
        atomic_store(&foreign_repeats, 0);
    return atomic_fetch_add(&foreign_repeats, 1) >= MOST_REPEATS;
}

static void pass_on(int number, siginfo_t *info, void *context) {
    int i = index_of(number);
    uintptr_t handler = atomic_load(&previous[i].handler);
    bool synchronous = info->si_code > 0;
    uint64_t me = mmk_os_thread_id();
    atomic_fetch_add(&foreign_signals, 1);
    if (handler == (uintptr_t)SIG_IGN && !synchronous)
        return;
    /* faulthandler, displaced by us and called from here, puts back what it had displaced, which
     * may be us, and raises the signal again. That signal's frame lies below the first one's. A
     * handler that jumped out of the first one (siglongjmp) leaves only a mark, at an address where
     * the stack is not any more. */
    uintptr_t frame = (uintptr_t)context, outer = atomic_load(&passing_on_from);
    bool in_circles = !synchronous && atomic_load(&passing_on) == me &&
                      frame + sizeof(ucontext_t) < outer && outer - frame < MOST_NESTED_BYTES;
    /* Out of duty, we are only here because somebody whom we had displaced leads back to us. */
    in_circles = in_circles || (!synchronous && !atomic_load(&enabled));
    bool futile = synchronous && leads_nowhere((uintptr_t)info->si_addr, me);
    if (handler == (uintptr_t)SIG_DFL || handler == (uintptr_t)SIG_IGN || in_circles || futile) {
        die_of(number, synchronous);
        return;
    }
    atomic_store(&passing_on_from, frame);
    atomic_store(&passing_on, me);
    if (atomic_load(&previous[i].with_info))
        ((void (*)(int, siginfo_t *, void *))handler)(number, info, context);
    else
        ((plain_handler)handler)(number);
    atomic_store(&passing_on, 0);
}

static void on_signal(int number, siginfo_t *info, void *context) {
    int saved = errno;
    mmk_fault_record *record = NULL;
    if (info->si_code > 0 && atomic_load(&enabled)) /* kill() and raise() carry no address */
        record = mmk__registry_find((uintptr_t)info->si_addr);
    if (record == NULL || !repair(record, (uintptr_t)info->si_addr))
        pass_on(number, info, context);
    errno = saved;
}

/* --- installation ----------------------------------------------------------------------------- */

static bool is_us(const struct sigaction *act) {
    return (act->sa_flags & SA_SIGINFO) && act->sa_sigaction == on_signal;
}

static uintptr_t handler_of(const struct sigaction *act) {
    return act->sa_flags & SA_SIGINFO ? (uintptr_t)act->sa_sigaction : (uintptr_t)act->sa_handler;
}

mmk_guard_place mmk_guard_look(void) {
    struct sigaction now;
    if (!atomic_load_explicit(&enabled, memory_order_relaxed))
        return MMK_GUARD_KEPT;
    for (int i = 0; i < SIGNAL_COUNT; i++)
        if (sigaction(signals[i], NULL, &now) == 0 && !is_us(&now))
            return MMK_GUARD_DISPLACED;
    return MMK_GUARD_KEPT;
}

void mmk_guard_mark_host(void) {
    struct sigaction now;
    if (sigaction(SIGBUS, NULL, &now) == 0 && !is_us(&now))
        atomic_store(&host_handler, handler_of(&now));
}

mmk_status mmk_guard_install(bool skip_host) {
    if (!atomic_load(&enabled))
        return MMK_OK;
    struct sigaction act, now;
    memset(&act, 0, sizeof act);
    act.sa_sigaction = on_signal;
    act.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigemptyset(&act.sa_mask);
    for (int i = 0; i < SIGNAL_COUNT; i++) {
        if (sigaction(signals[i], NULL, &now) != 0)
            return errno;
        if (is_us(&now))
            continue;
        uintptr_t handler = handler_of(&now);
        if (!(skip_host && handler == atomic_load(&host_handler))) {
            atomic_store(&previous[i].with_info, (now.sa_flags & SA_SIGINFO) != 0);
            atomic_store(&previous[i].handler, handler);
        }
        if (sigaction(signals[i], &act, NULL) != 0)
            return errno;
    }
    return MMK_OK;
}

void mmk_guard_enable(bool on) { atomic_store(&enabled, on); }

void mmk_guard_step_down(void) {
    for (int i = 0; i < SIGNAL_COUNT; i++) {
        struct sigaction act;
        memset(&act, 0, sizeof act);
        sigemptyset(&act.sa_mask);
        act.sa_flags = SA_ONSTACK | SA_NODEFER;
        uintptr_t handler = atomic_load(&previous[i].handler);
        if (atomic_load(&previous[i].with_info)) {
            act.sa_flags |= SA_SIGINFO;
            act.sa_sigaction = (void (*)(int, siginfo_t *, void *))handler;
        } else {
            act.sa_handler = (plain_handler)handler;
        }
        sigaction(signals[i], &act, NULL);
    }
}

bool mmk_guard_enabled(void) { return atomic_load(&enabled); }
void mmk_guard_on_main_fault(void (*notify)(void)) { atomic_store(&notify_main, notify); }
uint64_t mmk_guard_main_faults(void) { return atomic_load(&main_faults); }
uint64_t mmk_guard_foreign_signals(void) { return atomic_load(&foreign_signals); }

mmk_status mmk_guard_run(mmk_fault_record *record, void (*work)(void *context), void *context) {
    work(context);
    return atomic_load_explicit(&record->state, memory_order_relaxed) ? MMK_FAULTED : MMK_OK;
}
