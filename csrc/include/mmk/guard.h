/* The fault guard: an access that the system cannot back does not end the process.
 *
 * POSIX (guard/posix.c). A SIGBUS inside a published mapping is repaired in the signal handler:
 * the pages that cannot be backed are replaced by poison (0xFF, so that floats read NaN), the
 * faulting instruction runs again, and the mapping's fault record says what was lost. Foreign
 * signals go to whoever handled them before.
 *
 * Windows (guard/windows.c). A mapped file cannot be truncated there; what remains are in-page
 * errors. mmk_guard_run() ends the work that met one and writes the record; memory that others
 * touch directly is not covered.
 *
 * Recording is the handler's; telling is the caller's: mmk_guard_take() hands a fault to the
 * thread that has to raise it.
 */
#ifndef MMK_GUARD_H
#define MMK_GUARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "mmk/file.h"
#include "mmk/status.h"

typedef enum {
    MMK_CAUSE_NONE,
    MMK_CAUSE_TRUNCATED, /* the file has become shorter than the mapping */
    MMK_CAUSE_NO_SPACE,  /* a store needed a block and there was none */
    MMK_CAUSE_IO_ERROR,  /* the device or its filesystem failed */
    MMK_CAUSE_NO_MEMORY  /* anonymous memory or huge pages ran out */
} mmk_cause;

enum {
    MMK_FAULT_PENDING = 1, /* somebody still has to be told */
    MMK_FAULT_DAMAGED = 2  /* poison stands in for some pages */
};

/* How many pages inside the file are patched one by one before the rest is given up. */
#define MMK_GUARD_PAGES 256
/* How many threads are remembered as owed a report of their own, and as told of the damage. */
#define MMK_GUARD_THREADS 16
#define MMK_GUARD_TOLD 64

/* One per mapping, at an address that does not move while it is published. */
typedef struct mmk_fault_record {
    _Atomic unsigned state;  /* MMK_FAULT_PENDING | MMK_FAULT_DAMAGED */
    _Atomic uint64_t count;  /* faults since the mapping was made */

    /* What the handler has to know of the mapping. */
    unsigned slot;           /* its place in the registry, 0 while it has none */
    uintptr_t base;
    uintptr_t end;
    uint64_t file_offset;    /* of `base` */
    mmk_handle file;
    uint64_t device, inode;  /* so that a reused descriptor is not taken for the file */
    bool sized;              /* its end of file means something */
    unsigned protection;
    size_t page_bytes;

    /* Written by the handler, under `lock`. */
    _Atomic unsigned lock;
    bool held_for_fork;
    mmk_cause cause;         /* of the first fault since the last report */
    int code;                /* its errno */
    uint64_t offset;         /* of the first fault since the last report, in the file */
    uint64_t reported;       /* `count` when somebody was last told */
    uint64_t threads[MMK_GUARD_THREADS];
    uint64_t told[MMK_GUARD_TOLD]; /* threads that know of all the poison there is */
    uintptr_t poisoned_from; /* from here to `end` all is poison; 0 if nothing is */
    uintptr_t retried[8];    /* pages that were given a second chance */
    unsigned retries;
    unsigned patches;        /* mappings of poison that were laid */
    unsigned page_count;
    uintptr_t pages[MMK_GUARD_PAGES]; /* single pages that were patched */
} mmk_fault_record;

/* What a caller raises. */
typedef struct {
    mmk_cause cause;
    int code;
    uint64_t offset; /* of the first byte that could not be backed, in the file */
    uint64_t count;  /* faults since the mapping was made */
} mmk_fault;

/* --- the process ---------------------------------------------------------------------------- */

typedef enum {
    MMK_GUARD_KEPT,     /* the guard is in place already, or is switched off */
    MMK_GUARD_DISPLACED /* somebody else handles the signal now: mmk_guard_install() */
} mmk_guard_place;

/* Cheap: one system call. */
mmk_guard_place mmk_guard_look(void);
/* Puts the handler in place. Whoever is there now is called for foreign signals, unless it is the
 * host's handler and `skip_host` says that the host leads back to us. */
mmk_status mmk_guard_install(bool skip_host);
/* Remembers the handler that is in place now as the host's (the one CPython installs for
 * signal.signal), so that install() can tell it from others. */
void mmk_guard_mark_host(void);
/* Whether looking and installing do anything. */
void mmk_guard_enable(bool enabled);
/* Puts whoever was there before back in place, instead of the handler that is there now. */
void mmk_guard_step_down(void);
bool mmk_guard_enabled(void);
/* `notify` is called from the handler, on the main thread only, for its own faults. */
void mmk_guard_on_main_fault(void (*notify)(void));
/* How many faults the main thread was notified of, and how many signals were passed on. */
uint64_t mmk_guard_main_faults(void);
uint64_t mmk_guard_foreign_signals(void);

/* --- a mapping ------------------------------------------------------------------------------ */

/* Sets a record up for `length_bytes` at `base`; publish after mapping, retract before unmapping.
 * Publishing again changes the range. */
void mmk_guard_describe(mmk_fault_record *record, void *base, size_t length_bytes);
mmk_status mmk_guard_publish(mmk_fault_record *record);
void mmk_guard_retract(mmk_fault_record *record);

/* Tells what the calling thread has to be told: its own faults even if another thread was told of
 * them, faults nobody was told of, and, once, that there is poison which it may have read without
 * a fault of its own. False if there is nothing. */
bool mmk_guard_take(mmk_fault_record *record, mmk_fault *fault);
/* True if the calling thread had a fault of its own that it was not told of. */
bool mmk_guard_owes_me(mmk_fault_record *record);
/* The latest fault, for telling it again. */
void mmk_guard_recall(mmk_fault_record *record, mmk_fault *fault);
/* True if nobody was told of the latest faults: they would be lost with the mapping. */
bool mmk_guard_untold(mmk_fault_record *record);
/* Notes a fault that no signal announced, such as a failed write-back or a file that is short. */
void mmk_guard_note(mmk_fault_record *record, mmk_cause cause, int code, uint64_t offset);
/* True if poison stands for any byte of the range. */
bool mmk_guard_damaged(mmk_fault_record *record, const void *at, size_t length_bytes);
/* Has `cover` map the file over every patch, with system calls only, and forgets them. The calling
 * thread counts as told; other threads are still owed the reports of their own faults. Stops at the
 * first `cover` that does not return MMK_OK. */
mmk_status mmk_guard_heal(mmk_fault_record *record,
                          mmk_status (*cover)(void *context, void *at, size_t length_bytes),
                          void *context);

/* Runs `work`, which touches the mapping. MMK_FAULTED if bytes of it were lost meanwhile; on
 * Windows `work` was then left in the middle, so it holds no locks and owns nothing. */
mmk_status mmk_guard_run(mmk_fault_record *record, void (*work)(void *context), void *context);

/* A copy of a few bytes out of or into the mapping, for scalars. */
#ifdef _WIN32
mmk_status mmk_guard_copy(mmk_fault_record *record, void *to, const void *from,
                          size_t length_bytes);
#else
static inline mmk_status mmk_guard_copy(mmk_fault_record *record, void *to, const void *from,
                                        size_t length_bytes) {
    memcpy(to, from, length_bytes);
    return atomic_load_explicit(&record->state, memory_order_relaxed) ? MMK_FAULTED : MMK_OK;
}
#endif

#endif
