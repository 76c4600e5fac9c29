"""The fault guard as Python sees it: switching it, and telling the main thread of its faults.

The handler itself is C (csrc/guard). When the main thread meets a fault, it trips SIGBUS in
CPython's signal module (`PyErr_SetInterruptEx`, which is async-signal-safe), so that CPython calls
`_on_signal` between two bytecodes, where it can raise.
"""

from __future__ import annotations

import os

from mmapkit import _native

TYPE_CHECKING = False  # importing typing would cost more than all of this package
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any, Final

__all__ = ["disable_guard", "enable_guard", "guard_enabled"]

VARIABLE: Final = "MMAPKIT_GUARD"
# Whoever handled SIGBUS in Python before us, and how many of each kind of signal were seen.
_previous: Callable[[int, FrameType | None], Any] | int | None = None
_seen_foreign = 0


def enable_guard() -> None:
    """Switch the fault guard on, as it is by default.

    A truncated file, a full disk or a failing device then raises `MappingFault` instead of killing
    the process. The signal handler (SIGBUS; on macOS SIGSEGV, too) is put in place now if it is
    not, and again whenever mmapkit notices that another library has replaced it; that one keeps
    getting the signals that do not concern a mapping. On Windows, in-page errors are caught inside
    mmapkit's own copies only.
    """
    _native.guard_enable(True)
    if not _native.guard_look():
        rearm()


def disable_guard() -> None:
    """Switch the fault guard off: a fault then ends the process, as with `mmap.mmap`.

    The environment variable ``MMAPKIT_GUARD=0`` does the same from the start.
    """
    import signal

    global _previous
    in_place = _native.guard_enabled() and _native.guard_look()
    _native.guard_enable(False)
    number = getattr(signal, "SIGBUS", None)
    if number is not None and signal.getsignal(number) is _on_signal:
        try:
            signal.signal(number, signal.SIG_DFL if _previous is None else _previous)
            _previous = None
        except ValueError:
            pass  # not the main thread: what is left there finds nothing to raise
    if in_place:  # after signal.signal(), which has put CPython's handler there
        _native.guard_step_down()


def guard_enabled() -> bool:
    """Return True unless the fault guard was switched off."""
    return _native.guard_enabled()


def rearm() -> None:
    """Take the guard's place back from another handler, which is called for foreign signals."""
    import signal  # here, because most of what importing mmapkit would cost is in it

    global _previous
    number = getattr(signal, "SIGBUS", None)
    if number is None:  # Windows
        _native.guard_install(False)
        return
    current = signal.getsignal(number)
    # If CPython's handler is in place only because it leads to us, it is not "another".
    _native.guard_install(current is _on_signal)
    if current is _on_signal:
        return
    try:
        signal.signal(number, _on_signal)  # also installs CPython's own handler, in C ...
    except ValueError:
        _native.call_rearm_on_main_thread()
        return
    _previous = current
    _native.guard_mark_host()
    _native.guard_install(True)  # ... which gives way to ours again


def _on_signal(number: int, frame: FrameType | None) -> None:
    """Raise the main thread's fault; hand other signals to whoever was there before."""
    global _seen_foreign
    error = _native.owed_fault()
    if error is not None:
        try:
            raise error
        finally:
            # Its traceback holds this frame, and the frames below it the views that were read: the
            # mapping could not be closed until the garbage collector broke the cycle.
            del error
    _, foreign = _native.guard_counts()
    if foreign != _seen_foreign:
        _seen_foreign = foreign
        if callable(_previous):
            _previous(number, frame)


def _read_variable() -> None:
    value = os.environ.get(VARIABLE, "1").strip().lower()
    if value in ("0", "off", "no", "false"):
        _native.guard_enable(False)
    elif value not in ("1", "on", "yes", "true", ""):
        raise ImportError(f"{VARIABLE} must be 1 or 0, not {value!r}")


_read_variable()
_native.on_displaced(rearm)
