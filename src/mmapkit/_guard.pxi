# --- the guard, the mechanism behind faults.py: a part of _native.pyx -----------------------------

cdef extern from *:
    """
    #include <signal.h>

    /* Async-signal-safe: documented so for PyErr_SetInterruptEx. */
    static void mmk_py_notify(void) {
    #ifdef SIGBUS
        PyErr_SetInterruptEx(SIGBUS);
    #endif
    }
    """
    void mmk_py_notify() noexcept nogil

cdef extern from "Python.h":
    int Py_AddPendingCall(int (*call)(void *) noexcept, void *argument) nogil

# Called where somebody else has taken the guard's signal: faults.rearm.
cdef object _rearm = None


cdef int ensure_guard() except -1:
    if mmk_guard_look() == MMK_GUARD_DISPLACED:
        if _rearm is None:
            status = mmk_guard_install(False)
            if status != MMK_OK:
                raise _errors.translate(status, "install the fault guard")
        else:
            _rearm()
    return 0


def guard_look():
    """Return False if another handler has taken the guard's place."""
    return mmk_guard_look() == MMK_GUARD_KEPT


def guard_install(bint skip_host):
    """Put the handler in place."""
    status = mmk_guard_install(skip_host)
    if status != MMK_OK:
        raise _errors.translate(status, "install the fault guard")


def guard_mark_host():
    """Remember that the handler in place now is CPython's."""
    mmk_guard_mark_host()


def guard_enable(bint enabled):
    """Switch the guard on or off."""
    mmk_guard_enable(enabled)


def guard_step_down():
    """Put whoever handled the signal before back in place."""
    mmk_guard_step_down()


def guard_enabled():
    """Return True unless the guard was switched off."""
    return bool(mmk_guard_enabled())


def guard_counts():
    """Return how many faults of the main thread were notified, and signals passed on."""
    return mmk_guard_main_faults(), mmk_guard_foreign_signals()


def owed_fault():
    """Return the MappingFault that the calling thread has to raise, or None."""
    cdef Region region
    for reference in list(_live.values()):
        found = reference()
        if found is not None:
            region = found
            if mmk_region_fault_state(&region.c) and mmk_guard_owes_me(&region.c.faults):
                return region._fault()
    return None


cdef int run_rearm(void *argument) noexcept:
    try:
        _rearm()
    except BaseException as error:
        import warnings
        warnings.warn(f"the fault guard could not be completed: {error}", RuntimeWarning)
    return 0


def call_rearm_on_main_thread():
    """Have `rearm` called by the main thread, soon: only it may set Python's signal handlers."""
    Py_AddPendingCall(run_rearm, NULL)


def on_displaced(callback):
    """Set what is called when another handler has taken the guard's place."""
    global _rearm
    _rearm = callback


mmk_guard_on_main_fault(mmk_py_notify)
