/* The vectored exception handler.
 *
 *     exception at `address` in a published mapping, while this thread is inside mmk_guard_run():
 *         record it, and return from mmk_guard_run() with MMK_FAULTED
 *     anything else: the next handler
 *
 * Returning means: the handler puts the registers back as they were when mmk_guard_run() began, and
 * continues there. Nothing is patched, because Windows cannot put a page in place of a part of a
 * view; so an access that is not made by mmk_guard_run() is not covered.
 *
 * Why not __try: a compiler that builds for Windows need not have it (mingw's gcc does not). Why not
 * thread-local variables of the language: some compilers allocate them when they are first touched,
 * which a handler must not do on threads that have nothing to do with us.
 *
 * On 32-bit x86 RtlCaptureContext describes the caller's caller, and only if it keeps a frame
 * pointer; there the guard covers nothing.
 */
#ifndef _WIN32_WINNT
#define _WIN32_WINNT 0x0A00
#endif
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include "guard/registry.h"
#include "os/os.h"

#ifndef EXCEPTION_IN_PAGE_ERROR
#define EXCEPTION_IN_PAGE_ERROR ((DWORD)0xC0000006)
#endif
/* From ntstatus.h, which cannot be included beside windows.h. */
#define NT_DISK_FULL ((LONG)0xC000007F)
#define NT_QUOTA_EXCEEDED ((LONG)0xC0000802) /* STATUS_DISK_QUOTA_EXCEEDED */

#ifdef __GNUC__
/* Else the compiler might keep values across the call in places that it reuses afterwards. */
__declspec(dllimport) void WINAPI RtlCaptureContext(PCONTEXT) __attribute__((returns_twice));
#endif

/* One call of mmk_guard_run(). */
typedef struct frame {
    CONTEXT context; /* at its beginning */
    mmk_fault_record *record;
    struct frame *outer;
    volatile bool faulted;
} frame;

static _Atomic DWORD frames = TLS_OUT_OF_INDEXES; /* the thread's innermost frame */
static atomic_bool enabled = true;
static _Atomic uintptr_t installed; /* the handler's registration; 0 while there is none */
static atomic_bool installing;
static _Atomic uint64_t main_faults, foreign_exceptions;
static void (*_Atomic notify_main)(void);

/* --- causes ----------------------------------------------------------------------------------- */

typedef ULONG(NTAPI *translate_status)(LONG);
static _Atomic uintptr_t translator;

static int code_of(LONG status) {
    translate_status translate = (translate_status)atomic_load(&translator);
    return translate == NULL ? ERROR_READ_FAULT : (int)translate(status);
}

static mmk_cause ask_cause(const mmk_fault_record *record, uint64_t offset, LONG status, int *code) {
    uint64_t file_bytes;
    if (record->file == MMK_NO_HANDLE) {
        *code = ERROR_NOT_ENOUGH_MEMORY;
        return MMK_CAUSE_NO_MEMORY;
    }
    if (record->sized && mmk_os_file_size(record->file, &file_bytes) == MMK_OK &&
        offset >= file_bytes) {
        *code = mmk_os_truncated_error();
        return MMK_CAUSE_TRUNCATED;
    }
    *code = code_of(status);
    return status == NT_DISK_FULL || status == NT_QUOTA_EXCEEDED ? MMK_CAUSE_NO_SPACE
                                                                 : MMK_CAUSE_IO_ERROR;
}

/* --- the handler ------------------------------------------------------------------------------ */

static frame *innermost_frame(void) {
    DWORD index = atomic_load(&frames);
    return index == TLS_OUT_OF_INDEXES ? NULL : TlsGetValue(index);
}

/* True if the system could not back the access; false if the access was wrong. */
static bool is_fault(const EXCEPTION_RECORD *exception, const mmk_fault_record *record) {
    if (exception->NumberParameters < 2)
        return false;
    if (exception->ExceptionCode == EXCEPTION_IN_PAGE_ERROR)
        return true;
    /* Wine reports pages past the end of a shortened file like this. */
    if (exception->ExceptionCode != EXCEPTION_ACCESS_VIOLATION)
        return false;
    unsigned needed = exception->ExceptionInformation[0] == 0   ? MMK_PROT_READ
                      : exception->ExceptionInformation[0] == 1 ? MMK_PROT_WRITE
                                                                : MMK_PROT_EXEC;
    return (record->protection & needed) != 0;
}

static bool leave(const EXCEPTION_RECORD *exception, CONTEXT *registers) {
    uintptr_t address = (uintptr_t)exception->ExceptionInformation[1];
    mmk_fault_record *record = mmk__registry_find(address);
    if (record == NULL || !is_fault(exception, record))
        return false;
    frame *here = innermost_frame();
    if (here == NULL)
        return false;
    int code = 0;
    LONG status =
        exception->NumberParameters > 2 ? (LONG)exception->ExceptionInformation[2] : 0;
    uint64_t offset = record->file_offset + (address - record->base);
    mmk_cause cause = ask_cause(record, offset, status, &code);
    mmk_guard_note(record, cause, code, offset);
    if (here->record != record) /* its own work was left in the middle, over another's fault */
        mmk_guard_note(here->record, cause, code, here->record->file_offset);
    if (mmk_os_on_main_thread()) {
        void (*notify)(void) = atomic_load(&notify_main);
        atomic_fetch_add(&main_faults, 1);
        if (notify != NULL)
            notify();
    }
    here->faulted = true;
    /* Safety: the frame is that of a call that has not returned, so its stack is as it was. */
    *registers = here->context;
    return true;
}

static LONG CALLBACK on_exception(EXCEPTION_POINTERS *what) {
    DWORD code = what->ExceptionRecord->ExceptionCode;
    if (code != EXCEPTION_IN_PAGE_ERROR && code != EXCEPTION_ACCESS_VIOLATION)
        return EXCEPTION_CONTINUE_SEARCH;
    DWORD saved = GetLastError();
    bool left = leave(what->ExceptionRecord, what->ContextRecord);
    if (!left)
        atomic_fetch_add(&foreign_exceptions, 1);
    SetLastError(saved);
    return left ? EXCEPTION_CONTINUE_EXECUTION : EXCEPTION_CONTINUE_SEARCH;
}

/* --- installation ----------------------------------------------------------------------------- */

/* Nobody can push a vectored handler out. */
mmk_guard_place mmk_guard_look(void) {
    return atomic_load(&enabled) && atomic_load(&installed) == 0 ? MMK_GUARD_DISPLACED
                                                                 : MMK_GUARD_KEPT;
}

void mmk_guard_mark_host(void) {}

static mmk_status install(void) {
    if (!atomic_load(&enabled) || atomic_load(&installed) != 0)
        return MMK_OK;
    if (atomic_load(&frames) == TLS_OUT_OF_INDEXES) {
        DWORD index = TlsAlloc();
        if (index == TLS_OUT_OF_INDEXES)
            return (mmk_status)GetLastError();
        atomic_store(&frames, index);
    }
    HMODULE system = GetModuleHandleW(L"ntdll.dll");
    if (system != NULL)
        atomic_store(&translator, (uintptr_t)GetProcAddress(system, "RtlNtStatusToDosError"));
    mmk_os_on_main_thread(); /* finds out now; the handler asks again */
    void *registration = AddVectoredExceptionHandler(1, on_exception);
    if (registration == NULL)
        return ERROR_NOT_ENOUGH_MEMORY;
    atomic_store(&installed, (uintptr_t)registration);
    return MMK_OK;
}

mmk_status mmk_guard_install(bool skip_host) {
    (void)skip_host;
    while (atomic_exchange(&installing, true))
        mmk_os_yield();
    mmk_status status = install();
    atomic_store(&installing, false);
    return status;
}

void mmk_guard_enable(bool on) { atomic_store(&enabled, on); }

void mmk_guard_step_down(void) {
    uintptr_t registration = atomic_exchange(&installed, 0);
    if (registration != 0)
        RemoveVectoredExceptionHandler((void *)registration);
}

bool mmk_guard_enabled(void) { return atomic_load(&enabled); }
void mmk_guard_on_main_fault(void (*notify)(void)) { atomic_store(&notify_main, notify); }
uint64_t mmk_guard_main_faults(void) { return atomic_load(&main_faults); }
uint64_t mmk_guard_foreign_signals(void) { return atomic_load(&foreign_exceptions); }

/* --- running under it ------------------------------------------------------------------------- */

#if defined(_M_IX86) || defined(__i386__)
static void run(frame *here, DWORD index, void (*work)(void *context), void *context) {
    (void)here;
    (void)index;
    work(context);
}
#else
/* A function of its own, which after the capture changes nothing that it still needs. */
static void run(frame *here, DWORD index, void (*work)(void *context), void *context) {
    RtlCaptureContext(&here->context);
    /* Here for the first time, or here again out of the handler. */
    if (!here->faulted) {
        TlsSetValue(index, here);
        work(context);
    }
    TlsSetValue(index, here->outer);
}
#endif

mmk_status mmk_guard_run(mmk_fault_record *record, void (*work)(void *context), void *context) {
    DWORD index = atomic_load(&frames);
    if (index == TLS_OUT_OF_INDEXES) { /* never installed */
        work(context);
    } else {
        frame here;
        here.record = record;
        here.outer = TlsGetValue(index);
        here.faulted = false;
        run(&here, index, work, context);
        if (here.faulted)
            return MMK_FAULTED;
    }
    return atomic_load_explicit(&record->state, memory_order_relaxed) ? MMK_FAULTED : MMK_OK;
}

typedef struct {
    void *to;
    const void *from;
    size_t length_bytes;
} copy;

static void run_copy(void *context) {
    const copy *job = context;
    memcpy(job->to, job->from, job->length_bytes);
}

mmk_status mmk_guard_copy(mmk_fault_record *record, void *to, const void *from,
                          size_t length_bytes) {
    copy job = {to, from, length_bytes};
    return mmk_guard_run(record, run_copy, &job);
}
