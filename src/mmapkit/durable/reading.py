"""Reading one committed state: while somebody is inside, no commit is applied to the file.

A commit waits for those who are inside, and new ones wait for it (locks.py). Threads of a process
share one lock on the file; who finds it held still asks whether a commit is waiting, or threads
that take turns would keep it out for ever. A thread that is inside enters again without asking:
the commit is waiting for it.

What a writer leaves behind who dies in the middle of applying is completed by the first who may
write; others are told.
"""

from __future__ import annotations

import errno
import os
import threading
import weakref
from typing import TYPE_CHECKING, Generic, TypeVar

from mmapkit._native import File
from mmapkit.durable.files import OS, journal_path
from mmapkit.durable.following import Following, following
from mmapkit.durable.locks import (
    END_OF_COMMIT,
    GATE,
    Locks,
    checked_timeout,
    end_reading,
    try_reading,
)
from mmapkit.durable.recovery import before_open
from mmapkit.durable.view import follow_bytes
from mmapkit.errors import RecoveryNeeded, UnsupportedError
from mmapkit.mapping import Mapping

if TYPE_CHECKING:
    from types import TracebackType

    from mmapkit.array import MappedArray

Target = TypeVar("Target", bound="Mapping | MappedArray")

__all__ = ["Reader", "Reading", "file_of", "open_file", "reader_of", "require_outside"]


class Reading(Generic[Target]):
    """A section in which one committed state is read; see `Mapping.reading`. A context manager."""

    __slots__ = ("_entered", "_target", "_timeout")

    def __init__(self, target: Target, timeout: float | None) -> None:
        """Read `target`; to be entered, also several times."""
        self._target = target
        self._entered: list[tuple[Reader, int]] = []  # and in which thread
        self._timeout = checked_timeout(timeout)

    def __repr__(self) -> str:
        """Show what is read, and whether the section is entered."""
        state = "entered" if self._entered else "not entered"
        return f"<mmapkit.Reading {self._target.path!r} {state}>"

    def __enter__(self) -> Target:
        """Wait for a commit that is under way, and return what is read."""
        target = self._target
        mapping: Mapping = target if isinstance(target, Mapping) else target.mapping
        if mapping.backend == "read":
            raise UnsupportedError(
                errno.ENOTSUP,
                "the bytes were read into memory: with backend='read' no commit is seen",
                mapping.path,
            )
        reader = reader_of(mapping)
        thread = threading.get_ident()
        reader.enter(mapping, self._timeout)
        self._entered = [*self._entered, (reader, thread)]  # no call, at which Ctrl-C is heard
        try:
            if mapping._file_size() != mapping._followed:
                _follow(target)
        except BaseException:
            self._leave()
            raise
        return target

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let commits be applied again."""
        self._leave()

    def _leave(self) -> None:
        reader, thread = self._entered[-1]
        reader.leave(thread)
        self._entered = self._entered[:-1]

    def __del__(self) -> None:
        """Leave, if Ctrl-C came in the way of `__exit__()`."""
        while getattr(self, "_entered", ()):  # before the first line of __init__ there is none
            self._leave()


class Reader:
    """The lock of one file in this process, and which threads are inside."""

    def __init__(self, path: str, data: File) -> None:
        """Take the data file over, opened for locking."""
        self.locks = Locks(data)
        self._journal_path = journal_path(path)
        self._journal: Following | None = None
        # May be taken again: collecting garbage may leave.
        self._mutex = threading.RLock()
        self._depths: dict[int, int] = {}  # thread that is inside -> how often

    @property
    def entered(self) -> bool:
        """Whether this thread is inside."""
        return threading.get_ident() in self._depths

    @property
    def journal(self) -> Following | None:
        """The file's journal; for who is inside."""
        return self._journal

    def enter(self, mapping: Mapping, timeout: float | None) -> None:
        """Go inside; complete what somebody died over, if `mapping` may be written."""
        thread = threading.get_ident()
        depth = self._depths.get(thread)
        if depth is not None:
            self._depths[thread] = depth + 1
            return
        try:
            if not self._try_enter():
                self.locks.wait(self._try_enter, timeout, END_OF_COMMIT, GATE)
        except RecoveryNeeded:
            if mapping.mode in ("r", "c"):
                raise
            before_open(self.locks.file.path, "r+")
            self.locks.wait(self._try_enter, timeout, END_OF_COMMIT, GATE)
        except BaseException:  # Ctrl-C, perhaps when it was inside
            self.leave(thread)
            raise

    def leave(self, thread: int) -> None:
        """Go outside, as often as inside."""
        depth = self._depths.get(thread, 0)
        if depth > 1:
            self._depths[thread] = depth - 1
            return
        with self._mutex:
            if thread in self._depths:
                del self._depths[thread]
            if not self._depths:
                try:
                    end_reading(self.locks)
                except BaseException:  # Ctrl-C, perhaps before it was done
                    end_reading(self.locks)
                    raise

    def _try_enter(self) -> bool:
        thread = threading.get_ident()
        with self._mutex:
            if not try_reading(self.locks, inside=bool(self._depths)):
                return False
            if not self._depths:
                try:
                    self._require_applied()
                except BaseException:
                    end_reading(self.locks)
                    raise
            self._depths[thread] = 1
            return True

    def _require_applied(self) -> None:
        data = self.locks.file
        self._journal = journal = following(self._journal, OS, self._journal_path, data)
        if journal is not None and not journal.is_applied():
            before_open(data.path, "r")  # which looks closer


def _follow(target: Mapping | MappedArray) -> None:
    """See the file as long as it is now."""
    if isinstance(target, Mapping):
        follow_bytes(target)
        mapping = target
    else:
        from mmapkit.durable.growth import follow_rows  # numpy

        follow_rows(target)
        mapping = target.mapping
    mapping._followed = mapping._file_size()


# --- which reader ---------------------------------------------------------------------------------

_readers: weakref.WeakValueDictionary[tuple[int, int], Reader] = weakref.WeakValueDictionary()
_readers_lock = threading.Lock()


def reader_of(mapping: Mapping) -> Reader:
    """Return this process' reader of a mapping's file, which lives as long as its mappings do.

    Raises
    ------
    OSError
        ESTALE if another file has the name now.
    UnsupportedError
        If the mapping has no file that others could commit to.
    """
    reader: Reader | None = mapping._reader
    if reader is None or reader.locks.closed:  # in a child that was forked since
        mapping._require_open_for("read one state of it")
        with _readers_lock:
            reader = mapping._reader = _joined(mapping)
    return reader


def _joined(mapping: Mapping) -> Reader:
    path = file_of(mapping)
    data = open_file(path, mapping)
    key = data.identity()[:2]
    reader = _readers.get(key)
    if reader is None or reader.locks.closed:
        reader = _readers[key] = Reader(path, data)
    else:
        data.close()
    return reader


def file_of(mapping: Mapping) -> str:
    """Return the path of a mapping's file; UnsupportedError if nobody can commit to it."""
    if mapping.backend == "memory":
        raise UnsupportedError(
            errno.ENOTSUP, "anonymous memory has no file, to which others could commit"
        )
    if mapping.path is None:
        raise UnsupportedError(
            errno.ENOTSUP, "the file was opened without a name, beside which a journal could lie"
        )
    return os.path.realpath(mapping.path)


def open_file(path: str, mapping: Mapping) -> File:
    """Open a mapping's file by its name; OSError unless it is the one that is mapped."""
    file = File(path, "r")
    if os.name == "posix":  # elsewhere no other takes the name of a file that is mapped
        mapped = os.fstat(mapping.fileno())
        if (mapped.st_dev, mapped.st_ino) != file.identity()[:2]:
            file.close()
            raise OSError(
                errno.ESTALE,
                f"{os.strerror(errno.ESTALE)}: another file has this name by now; open it again",
                mapping.path,
            )
    return file


def require_outside(identity: tuple[int, ...], path: str) -> None:
    """Raise RuntimeError if this thread is inside reading() of a file: its commit would wait for
    itself.

    Parameters
    ----------
    identity : tuple of int
        As `File.identity()` tells.
    path : str
        For the message.
    """
    reader = _readers.get((identity[0], identity[1]))
    if reader is not None and reader.entered:
        raise RuntimeError(
            f"a transaction cannot begin or commit inside reading(): it waits until nobody reads "
            f"{path!r}, and this thread does"
        )


def _after_fork_in_child() -> None:
    """The locks are the parent's, and are closed by now. Whoever was inside has to get out."""
    global _readers_lock
    _readers_lock = threading.Lock()
    for reader in list(_readers.values()):
        reader._mutex = threading.RLock()
    _readers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
