"""Every exception of the package, and the one place where a status of the core becomes one."""

from __future__ import annotations

import errno
import os
import sys

TYPE_CHECKING = False  # importing typing would cost more than all of this package
if TYPE_CHECKING:
    from typing import Any, Final

__all__ = [
    "FormatError",
    "JournalError",
    "LateStoreWarning",
    "MappingFault",
    "RecoveryNeeded",
    "UnraisedFaultWarning",
    "UnsupportedError",
    "translate",
]


class MappingFault(OSError):
    """Bytes of a mapping were lost: the OS could not back an access, or could not write it out.

    Raised instead of the SIGBUS that would end the process. The access itself went on over poison
    (bytes of 0xFF, which floats read as NaN), so results that were computed meanwhile are invalid.

    Attributes
    ----------
    filename : str or None
        The mapped file.
    offset : int
        Offset in the file, in bytes, of the first access that failed since the last report.
    count : int
        Faults of this mapping since it was opened.
    cause : str
        ``"truncated"`` (errno ENXIO), ``"no space"`` (ENOSPC), ``"I/O error"`` (EIO or what the
        device gave) or ``"no memory"`` (ENOMEM).
    errno : int
        The system's error number for that cause.
    found : object
        What a search had found before it met the fault, in the form in which it returns it; None
        where nothing was searched for, or what was found has come one by one.
    searched : int or None
        The offset in the mapping up to which `found` is complete.
    """

    offset: int
    count: int
    cause: str
    found: Any = None
    searched: int | None = None

    def __init__(
        self,
        code: int,
        message: str,
        filename: str | None = None,
        *,
        offset: int = 0,
        count: int = 0,
        cause: str = "I/O error",
    ) -> None:
        """Like OSError, with where and why."""
        super().__init__(code, message, filename)
        self.offset = offset
        self.count = count
        self.cause = cause

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with every attribute, so that a worker process can raise it in its parent."""
        args = (self.errno, self.strerror, self.filename)
        state = {"found": self.found, "searched": self.searched}
        return (_remake_fault, (args, self.offset, self.count, self.cause), state)


def _remake_fault(
    args: tuple[int, str, str | None], offset: int, count: int, cause: str
) -> MappingFault:
    return MappingFault(*args, offset=offset, count=count, cause=cause)


class UnsupportedError(OSError):
    """This operating system, kernel or filesystem does not offer what was asked for."""


class FormatError(ValueError):
    """A file does not hold what its format promises; the message names the file and the byte."""


class JournalError(FormatError):
    """A file's journal is damaged, or does not belong to the file as it is now.

    Neither has been touched. The message says what does not fit and what can be done about it.
    """


class RecoveryNeeded(OSError):
    """A commit to the file was interrupted, and who may only read cannot complete it.

    ``filename`` is the file. `mmapkit.recover()` or opening it with mode ``"r+"`` completes it.
    """


class LateStoreWarning(RuntimeWarning):
    """A view that was kept after the end of its transaction was stored into: that is in no file."""


class UnraisedFaultWarning(RuntimeWarning):
    """A mapping was collected before anybody was told that bytes of it had been lost."""


# --- from the core's statuses -----------------------------------------------------------------

# csrc/include/mmk/status.h
UNSUPPORTED: Final = -1
CLOSED: Final = -2
EXPORTED: Final = -3
IN_USE: Final = -4
RANGE: Final = -5
READ_ONLY: Final = -6
NO_SLOT: Final = -8
NOT_MAPPABLE: Final = -9
NEEDS_LENGTH: Final = -10
WRITE_ONLY: Final = -11
TOO_LARGE: Final = -12

# csrc/include/mmk/guard.h: mmk_cause
CAUSES: Final = ("", "truncated", "no space", "I/O error", "no memory")

_REMEDIES: Final = {
    "truncated": (
        "the file was truncated while it was mapped; recover() maps it again once it has grown "
        "back, refresh() follows its new size"
    ),
    "no space": (
        "no space was left for data stored in the mapping, which is lost; free some and recover(), "
        "and create files without sparse=True so that a full disk is noticed first"
    ),
    "I/O error": (
        "the device could not read or write bytes of the mapping; what was stored there is lost"
    ),
    "no memory": "memory for the mapping ran out",
}


def fault(code: int, path: str | None, offset: int, count: int, cause: int) -> MappingFault:
    """Make the MappingFault that tells what a fault record says."""
    word = CAUSES[cause]
    times = "1 fault" if count == 1 else f"{count} faults"
    message = f"{_REMEDIES[word]} (first at byte {offset}; {times})"
    return MappingFault(code, message, path, offset=offset, count=count, cause=word)


def translate(status: int, what: str, path: str | None = None) -> Exception:
    """Return the exception for a status that is not success.

    Parameters
    ----------
    status : int
        Positive: errno, or GetLastError() on Windows. Negative: one of the core's own.
    what : str
        What was being done, with the values that matter; ends up in the message.
    path : str or None
        The file, for ``OSError.filename``.
    """
    if status > 0:
        return _system_error(status, what, path)
    of = f" ({path!r})" if path is not None else ""
    match status:
        case -1:
            return UnsupportedError(errno.ENOTSUP, f"not supported here: {what}", path)
        case -2:
            return ValueError(f"the mapping is closed{of}: cannot {what}")
        case -3 | -4:
            return BufferError(what + of)
        case -5:
            return ValueError(what + of)
        case -6:
            return TypeError(f"cannot {what}{of}: it is read-only; open it with mode 'r+'")
        case -8:
            return OSError(errno.EMFILE, "too many live mappings (65536)", path)
        case -9:
            code = errno.EISDIR if path is not None and os.path.isdir(path) else errno.ENODEV
            return _os_error(code, "only files and devices can be mapped", path)
        case -10:
            return ValueError(f"{path!r} has no size of its own: give length=, in bytes")
        case -11:
            return _os_error(errno.EACCES, "mapping needs a descriptor that can be read", path)
        case -13:
            message = "the mapping's descriptor was closed by somebody else; open the file again"
            return _os_error(errno.EBADF, message, path)
        case -12:
            return ValueError(f"{what}{of}: too large for this machine")
    return RuntimeError(f"unexpected status {status}: {what}{of}")


def _os_error(code: int, message: str, path: str | None) -> OSError:
    return OSError(code, f"{os.strerror(code)}: {message}", path)


def _system_error(code: int, what: str, path: str | None) -> OSError:
    told = f" ({what})" if what else ""
    if sys.platform == "win32":
        import ctypes

        return OSError(0, f"{ctypes.FormatError(code)}{told}", path, code)
    return OSError(code, f"{os.strerror(code)}{told}", path)
