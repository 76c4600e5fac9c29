"""A consistent copy of a file while a writer goes on working.

Where the filesystem can share blocks (``FICLONE`` and its like), the copy is made inside
`reading()`, in no time. Elsewhere it is copied while commits are applied to the file, so that it is
a mixture; but everything that went on meanwhile is in the journal:

1. A snapshot holds CHECKPOINT shared from here on: the journal only grows.
2. Inside `reading()`: note where the journal ends. What is before that is in the file.
3. Copy, outside of it. Commits change the file meanwhile.
4. Inside `reading()`: apply the commits behind the noted end to the copy, in order. Bytes that no
   commit has touched were copied as they were; of the others each gets its newest value.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import threading
from typing import TYPE_CHECKING

from mmapkit._native import File, sync_directory
from mmapkit.durable import frames
from mmapkit.durable.files import SUFFIX, journal_path, temporary_path
from mmapkit.durable.journal import entries_from
from mmapkit.durable.locks import CHECKPOINT, Locks
from mmapkit.durable.reading import file_of, open_file, reader_of
from mmapkit.durable.runs import plain_runs
from mmapkit.durable.window import Window
from mmapkit.errors import JournalError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from mmapkit.durable.following import Following
    from mmapkit.durable.reading import Reader
    from mmapkit.mapping import Mapping

__all__ = ["snapshot"]

# What the system copies at a time; a signal is heard in between.
PIECE_BYTES: Final = 32 << 20
BUFFER_BYTES: Final = 1 << 20
# Up to so much of the journal is applied to the copy while commits wait.
BRIEF_BYTES: Final = 1 << 20
# How often commits may be faster than what applies them to the copy, before they have to wait.
ROUNDS: Final = 20
# How often the journal may be another one afterwards, before the file is copied while commits wait.
ATTEMPTS: Final = 3

# copy_file_range(2): another filesystem, or one that does not do it.
_NO_RANGES: Final = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}


def snapshot(mapping: Mapping, path: str | os.PathLike[str], overwrite: bool) -> None:
    """See `Mapping.snapshot`."""
    mapping._require_open_for("copy its file")
    if mapping.mode == "c":
        raise UnsupportedError(
            errno.ENOTSUP,
            "what mode 'c' changed is in no file: a snapshot would be of the file without it",
            mapping.path,
        )
    source_path = file_of(mapping)
    target = os.path.realpath(os.fsdecode(path))
    _require_free(target, source_path, overwrite)
    if mapping.backend == "read":
        mapping.flush(level="os")
    with (
        open_file(source_path, mapping) as source,
        open_file(source_path, mapping) as held,
        _appearing(target, overwrite) as copy,
    ):
        if sys.platform != "win32":
            os.fchmod(copy.fileno(), stat.S_IMODE(os.fstat(source.fileno()).st_mode))
        state = _State(mapping, source)
        locks = Locks(held)
        try:
            with state:
                pass
        except UnsupportedError:  # no locks: nobody can have a transaction either
            _copy(source, copy)
            return
        locks.wait(
            lambda: locks.try_shared(CHECKPOINT), None, "the end of a checkpoint", CHECKPOINT
        )
        if not _cloned(state, copy):
            _copied(state, copy)


class _State:
    """The source: inside a `with` block it is in one committed state."""

    def __init__(self, mapping: Mapping, source: File) -> None:
        self.source = source
        self._mapping = mapping
        self._reader: Reader = reader_of(mapping)

    def __enter__(self) -> Following | None:
        """Return its journal, if there is one."""
        self._reader.enter(self._mapping, None)
        return self._reader.journal

    def __exit__(self, *error: object) -> None:
        self._reader.leave(threading.get_ident())


def _cloned(state: _State, copy: File) -> bool:
    """Share the blocks, where the filesystem can."""
    # At first outside: what is not on the disk yet goes there now, and commits do not wait for it.
    if not copy.clone(state.source):
        return False
    with state:
        copy.clone(state.source)
        copy.resize(state.source.size())
    return True


def _copied(state: _State, copy: File) -> None:
    for _ in range(ATTEMPTS):
        with state as journal:
            begin = _Position(journal, state.source.size())
        _copy(state.source, copy)
        if _caught_up(state, copy, begin):
            return
    with state:
        _copy(state.source, copy)


class _Position:
    """Up to where the commits of a journal are in the copy."""

    def __init__(self, journal: Following | None, size: int) -> None:
        self.size = size
        self.slot = None if journal is None else journal.slot
        self.tail = None if journal is None else journal.tail.copy()

    def is_in(self, journal: Following | None) -> bool:
        """Whether a journal has everything that came since; a new one has all there ever was."""
        if journal is None:
            return self.slot is None
        if self.slot is None:
            if journal.slot.generation != 1:
                return False
            self.slot, self.tail = journal.slot, frames.tail_of(journal.slot)
        return (journal.slot.journal, journal.slot.generation) == (
            self.slot.journal,
            self.slot.generation,
        )


def _caught_up(state: _State, copy: File, at: _Position) -> bool:
    """Apply what was committed since; False if the journal does not tell any more."""
    for round_number in range(ROUNDS + 1):
        with state as journal:
            if not at.is_in(journal):
                return False
            if journal is None or at.tail is None:
                copy.resize(at.size)
                return True
            goal = journal.tail.position
            if goal - at.tail.position <= BRIEF_BYTES or round_number == ROUNDS:
                _apply(journal, at, goal, copy)
                copy.resize(at.size)
                return True
        _apply(journal, at, goal, copy)
    raise AssertionError  # the last round returns


def _apply(journal: Following, at: _Position, goal: int, copy: File) -> None:
    """Write the commits up to a place in the journal into the copy. They are at rest: they were
    applied to the file, and no new generation begins."""
    assert at.slot is not None
    assert at.tail is not None
    window = Window(journal.file, goal)
    for entry in entries_from(window, at.slot, at.tail):
        for table, _, payload_at, length in entry.parts:
            payload = journal.file.read(payload_at, length)
            copy.write_runs(plain_runs(table), payload)
        at.size = entry.size_after
    if at.tail.position != goal:
        raise JournalError(
            f"{journal.file.path!r} is damaged at byte {at.tail.position}: no snapshot was made"
        )


# --- bytes ----------------------------------------------------------------------------------------


def _copy(source: File, copy: File) -> None:
    """Copy all there is, in bounded memory; holes stay holes."""
    size = source.size()
    copy.resize(0)
    copy.resize(size)
    for offset, end in _data(source, size):
        offset = _copy_ranges(source, copy, offset, end)
        _copy_through_memory(source, copy, offset, end)


def _data(source: File, size: int) -> Iterator[tuple[int, int]]:
    """From where to where there are no holes: lseek(2), SEEK_DATA."""
    at = 0
    while at < size:
        start, end = at, size
        if sys.platform != "win32" and hasattr(os, "SEEK_DATA"):
            try:
                start = os.lseek(source.fileno(), at, os.SEEK_DATA)
                end = os.lseek(source.fileno(), start, os.SEEK_HOLE)
            except OSError as error:
                if error.errno == errno.ENXIO:  # holes up to the end
                    return
        yield start, min(end, size)
        at = end


def _copy_ranges(source: File, copy: File, offset: int, end: int) -> int:
    """Let the system copy; return up to where it did."""
    if not hasattr(os, "copy_file_range"):
        return offset
    while offset < end:
        try:
            count = os.copy_file_range(
                source.fileno(), copy.fileno(), min(end - offset, PIECE_BYTES), offset, offset
            )
        except OSError as error:
            if error.errno in _NO_RANGES:
                break
            raise OSError(error.errno, error.strerror, copy.path) from None
        if not count:
            break
        offset += count
    return offset


def _copy_through_memory(source: File, copy: File, offset: int, end: int) -> None:
    buffer = memoryview(bytearray(min(BUFFER_BYTES, end - offset)))
    while offset < end:
        count = source.read_into(offset, buffer[: end - offset])
        if not count:  # it became shorter
            break
        copy.write(offset, buffer[:count])
        offset += count


# --- names ----------------------------------------------------------------------------------------


def _require_free(target: str, source: str, overwrite: bool) -> None:
    """Raise unless a file may appear there."""
    if target.endswith(SUFFIX):
        raise ValueError(f"{target!r} is the name of a journal, not of a copy")
    if os.path.lexists(journal_path(target)):
        raise FileExistsError(
            errno.EEXIST,
            "a journal lies there, which would be taken for the copy's; mmapkit.recover() completes"
            " or removes it",
            journal_path(target),
        )
    try:
        found = os.stat(target)
    except FileNotFoundError:
        return
    if os.path.samestat(found, os.stat(source)):
        raise ValueError(f"a snapshot of {source!r} cannot take its own place")
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
    if not overwrite:
        raise _exists(target)
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{target!r} is no regular file, which another could replace")


def _exists(target: str) -> FileExistsError:
    return FileExistsError(
        errno.EEXIST, f"{os.strerror(errno.EEXIST)}: overwrite=True replaces it", target
    )


@contextlib.contextmanager
def _appearing(target: str, overwrite: bool) -> Iterator[File]:
    """Write a file beside `target` that gets its name when it is whole and durable."""
    beside = temporary_path(target)
    try:
        with File(beside, "x+") as file:
            yield file
            file.sync()
        if overwrite:
            os.replace(beside, target)
        else:
            _rename(beside, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        if isinstance(error, OSError) and error.filename == beside:
            raise OSError(error.errno, error.strerror, target) from error
        raise
    sync_directory(os.path.dirname(target))


def _rename(beside: str, target: str) -> None:
    """Rename, but not over anything: rename(2) replaces what is there, link(2) does not."""
    if os.name == "posix":
        try:
            os.link(beside, target)
        except FileExistsError:
            raise _exists(target) from None
        except OSError:  # a filesystem without links
            pass
        else:
            os.unlink(beside)
            return
        if os.path.lexists(target):
            raise _exists(target)
    os.rename(beside, target)
