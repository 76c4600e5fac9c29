"""What is done with a journal that somebody left behind: examine it, complete it, or refuse.

docs/journal.md says what is decided when, and why.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
import time
from bisect import bisect_left
from contextlib import closing

from mmapkit import _native
from mmapkit._journal import crc32c
from mmapkit.durable import frames
from mmapkit.durable.files import OS, SUFFIX, journal_path
from mmapkit.durable.frames import SECTOR_BYTES, Window, runs_of
from mmapkit.durable.journal import (
    Entry,
    Journal,
    entries_from,
    marks,
    require_same_file,
    slot_of,
)
from mmapkit.durable.locks import (
    ALIVE,
    FIRST_BYTE,
    RECOVERY,
    WRITER,
    Locks,
    begin_applying,
    end_applying,
)
from mmapkit.errors import JournalError, RecoveryNeeded, UnsupportedError
from mmapkit.mapping import open as open_mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final, Self

    from mmapkit._native import File
    from mmapkit.durable.files import Files

__all__ = [
    "Report",
    "become_alive",
    "before_open",
    "before_replace",
    "recover",
    "redo",
    "verify",
]

# How long to wait for somebody who is just applying a commit.
PATIENCE_S: Final = 10.0
PAUSE_S: Final = 0.001
BATCH_BYTES: Final = 1 << 20

REMEDIES: Final = (
    "Nothing was changed. mmapkit.recover(path, discard=True) throws the journal away and leaves "
    "the file as it is; force=True applies the journal all the same"
)


# --- reading a journal ----------------------------------------------------------------------------


class MappedWindow:
    """A `Window` over a whole file, which is mapped: nothing is copied."""

    def __init__(self, file: File, end: int) -> None:
        """Map the first `end` bytes, of which there is at least one."""
        self.end = end
        self._mapping = open_mapping(file.fileno(), length=end)
        self._view = memoryview(self._mapping)

    def at(self, position: int, length: int) -> memoryview:
        """Bytes of the file, fewer at its end."""
        return self._view[position : min(position + length, self.end)]

    def close(self) -> None:
        """Unmap it, with the last slice of it."""
        self._view.release()
        self._mapping.close(defer=True)


def _window_over(file: File, end: int) -> Window | MappedWindow:
    if end and sys.platform != "win32" and isinstance(file, _native.File):
        return MappedWindow(file, end)
    return Window(file, end)


class Findings:
    """What a journal holds.

    Attributes
    ----------
    slot : frames.Slot
        What its generation began with.
    entries : list of Entry
        The commits that are complete, in order.
    tail : frames.Tail
        Behind the last of them.
    marked : bool
        Whether the tail is marked as applied.
    settled : int
        Up to which byte it is known to be durable.
    """

    __slots__ = ("_window", "entries", "marked", "path", "settled", "slot", "tail")

    def __init__(self, path: str, file: File) -> None:
        """Read all of it.

        Raises
        ------
        JournalError
            If it is damaged, or is no journal.
        """
        self.path = path
        self.slot = slot_of(file, path)
        self.tail = frames.tail_of(self.slot)
        self._window = _window_over(file, file.size())
        try:
            self._read()
        except BaseException:
            self.close()
            raise

    def _read(self) -> None:
        path = self.path
        try:
            self.entries = list(entries_from(self._window, self.slot, self.tail))
            marker = frames.read_marker(self._window.at(self.tail.position, frames.MARKER_BYTES))
            proof = frames.evidence_of(self._window, self.slot, self.tail)
        except JournalError as error:
            raise JournalError(f"{path!r}: {error}. {REMEDIES}") from None
        unsettled = [entry for entry in self.entries if entry.sequence > self.tail.applied]
        self.settled = unsettled[0].position if unsettled else self.tail.position
        self.marked = marker is not None and marks(marker, self.slot, self.tail)
        if proof is not None:
            raise JournalError(
                f"{path!r} is damaged at byte {self.tail.position}: commit "
                f"{self.tail.sequence + 1} cannot be read, and byte {proof} proves that it was "
                "committed. Nothing was changed. mmapkit.recover(path, discard=True) throws the "
                "journal away and leaves the file as it is, perhaps with commits in part"
            )

    def close(self) -> None:
        """Let go of the journal."""
        self._window.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close."""
        self.close()

    def payload(self, position: int, length: int) -> memoryview:
        """Bytes of the journal; valid until the next are asked for."""
        return self._window.at(position, length)

    def parts(self) -> Iterator[tuple[bytes, bytes, memoryview]]:
        """Run table, checksums of the old bytes and payload of every frame, in order; each valid
        until the next."""
        for entry in self.entries:
            yield from self.parts_of(entry)

    def parts_of(self, entry: Entry) -> Iterator[tuple[bytes, bytes, memoryview]]:
        """Those of one commit."""
        for table, before, position, length in entry.parts:
            yield table, before, self.payload(position, length)

    @property
    def sizes(self) -> list[int]:
        """Bytes of the data file: at first, and after each commit."""
        return [self.slot.size, *(entry.size_after for entry in self.entries)]


# --- whether it fits the file ---------------------------------------------------------------------


def require_fit(found: Findings, data: File) -> None:
    """Raise JournalError unless the data file is what a crash may have left of it: each sector as
    it was before a commit of the journal, or as one of them made it."""
    require_same_file(found.slot, data, found.path)
    size, least = data.size(), min(found.sizes)
    if not size_fits(size, least, max(found.sizes)):
        raise _misfit(found, data, f"has {size} bytes, which it never had since")
    wrong = [witness for witness in found.slot.witnesses if not witness_holds(witness, data)]
    for offset, length, _ in wrong:
        if offset + length <= least and not _is_touched(found, offset, length):
            raise _misfit(found, data, f"has other bytes at {offset} than it had then")
    place = _strange_sector(found, data, least)
    if place is not None:
        raise _misfit(found, data, f"has bytes at {place} that no commit found or left there")


def size_fits(size: int, least: int, most: int) -> bool:
    """Whether the file may have that size after a crash; what lies past `least` is made anew."""
    return least <= size <= most


def witness_holds(witness: tuple[int, int, int], data: File) -> bool:
    offset, length, crc = witness
    if offset > frames.MOST_OFFSET - SECTOR_BYTES or length > SECTOR_BYTES:
        return False
    return crc32c(data.read(offset, length)) == crc


def _is_touched(found: Findings, offset: int, length: int) -> bool:
    """Whether a commit writes there."""
    for entry in found.entries:
        for at, count in entry.runs:
            if at < offset + length and offset < at + count:
                return True
    return False


def _misfit(found: Findings, data: File, what: str) -> JournalError:
    return JournalError(
        f"{data.path!r} {what}: since its journal {found.path!r} was begun, it was restored from a "
        f"backup, or changed while no mapping of it was open. {REMEDIES}"
    )


def _strange_sector(found: Findings, data: File, least: int) -> int | None:
    """Return the offset of a sector that is neither old nor new; None if all are well.

    Only those before `least`, which the file had all the time.
    """
    newest: dict[tuple[int, int], int] = {}
    number = 0
    for entry in found.entries:
        for table, _, _, _ in entry.parts:
            numbers = runs_of(table)
            for key in zip(numbers[::2], numbers[1::2], strict=True):
                newest[key] = number
            number += 1
    doubtful: dict[tuple[int, int], bytes] = {}
    batch: list[tuple[bytes, bytes, int, int]] = []
    size = 0
    parts = [part for entry in found.entries for part in entry.parts]
    for number, part in enumerate(parts):
        numbers = runs_of(part[0])
        keys = zip(numbers[::2], numbers[1::2], strict=True)
        if numbers and numbers[0] < least and any(newest[key] == number for key in keys):
            batch.append(part)
            size += part[3]
        if batch and (size >= BATCH_BYTES or part is parts[-1]):
            strange = _compared(found, data, batch, size)
            doubtful |= {key: seen for key, seen in strange.items() if newest[key] <= number}
            batch, size = [], 0
    if not doubtful:
        return None
    return _unexplained(found, doubtful, least)


def _compared(
    found: Findings, data: File, batch: list[tuple[bytes, bytes, int, int]], size: int
) -> dict[tuple[int, int], bytes]:
    """Read what the file has where some frames wrote. Return, with the checksums of what is there,
    the runs that are neither as their frame found them nor as it made them."""
    tables = b"".join([part[0] for part in batch])
    now = bytearray(size)
    data.read_runs(frames.plain_runs(tables), now)
    there = frames.sums_of(tables, now)
    before = b"".join([part[1] for part in batch])
    if there == before:  # none of the runs is new
        return {}
    written = b"".join([frames.sums_of(part[0], found.payload(*part[2:])) for part in batch])
    if there == written:
        return {}
    doubtful: dict[tuple[int, int], bytes] = {}
    numbers = runs_of(tables)
    at = old = 0
    for offset, marked in zip(numbers[::2], numbers[1::2], strict=True):
        count = 4 * frames.pieces_in(marked & frames.LENGTH)
        if marked < frames.NEW:
            seen = there[at : at + count]
            if seen in (before[old : old + count], written[at : at + count]):
                doubtful.pop((offset, marked), None)
            else:
                doubtful[offset, marked] = seen
            old += count
        at += count
    return doubtful


def _unexplained(found: Findings, doubtful: dict[tuple[int, int], bytes], least: int) -> int | None:
    """Look for each sector of runs among all that it ever was; return one that is not there."""
    left: dict[int, tuple[int, int]] = {}  # offset -> length, checksum
    for (offset, length), checksums in doubtful.items():
        for number, (crc,) in enumerate(struct.iter_unpack("<I", checksums)):
            place = offset + number * SECTOR_BYTES
            size = min(SECTOR_BYTES, offset + length - place)
            if place + size <= least:
                left[place] = (size, crc)
    places = sorted(left)
    for table, before, payload in found.parts():
        numbers = runs_of(table)
        at = sums = 0
        for offset, marked in zip(numbers[::2], numbers[1::2], strict=True):
            length = marked & frames.LENGTH
            first = bisect_left(places, offset - SECTOR_BYTES + 1)
            for place in places[first : bisect_left(places, offset + length)]:
                if place not in left or left[place][0] + place <= offset:
                    continue
                size, crc = left[place]
                begin = at + place - offset
                # A commit that wrote a part of it has left bytes that no checksum tells of.
                if (
                    not offset <= place
                    or place + size > offset + length
                    or sector_is(crc, payload[begin : begin + size])
                ):
                    del left[place]
                elif marked < frames.NEW and size == min(SECTOR_BYTES, offset + length - place):
                    number = sums + 4 * ((place - offset) // SECTOR_BYTES)
                    if sector_was(crc, before[number : number + 4]):
                        del left[place]
            at += length
            if marked < frames.NEW:
                sums += 4 * frames.pieces_in(length)
    return min(left, default=None)


def sector_is(crc: int, content: memoryview) -> bool:
    return crc32c(content) == crc


def sector_was(crc: int, before: bytes) -> bool:
    return crc.to_bytes(4, "little") == before


# --- applying -------------------------------------------------------------------------------------


def _apply(found: Findings, entries: list[Entry], data: File) -> None:
    """Write commits into the data file, in order; again, if need be. What one of them cuts off and
    a later one makes long again reads as zeros, as it did."""
    size = data.size()
    for entry in entries:
        if entry.size_after != size:
            size = entry.size_after
            data.resize(size)
        for table, _, payload in found.parts_of(entry):
            if table:
                data.write_runs(frames.plain_runs(table), payload)


def _harden(found: Findings, file: File) -> None:
    """See that the journal outlives what is done with the data file.

    Its last commits may be in the page cache only. If a sync of them failed, the system may believe
    that they were written, and sync nothing: so they are written again.
    """
    start, end = found.settled, found.tail.position
    while start < end:
        count = min(end - start, Window.MOST)
        file.write(start, file.read(start, count))
        start += count
    file.sync()


def redo(journal: Journal, data: File) -> None:
    """Apply the commits that a process left when it died while others live, and mark the tail.

    To be called with the lock for writing, and nobody reading. Commits that had been applied before
    are left alone: what a process has written is there, even if it was killed a moment later.
    """
    journal.catch_up()
    with Findings(journal.path, journal.file) as found:
        _harden(found, journal.file)
        left = [entry for entry in found.entries if entry.sequence > found.tail.applied]
        _apply(found, left, data)
    journal.mark_applied()


def _shows_all(found: Findings, data: File) -> bool:
    """Whether the data file holds all that the journal does: then it shows the committed state."""
    if data.size() != found.tail.size:
        return False
    latest = _latest(found)
    for number, (table, _, payload) in enumerate(found.parts()):
        numbers = runs_of(table)
        at = 0
        for offset, marked in zip(numbers[::2], numbers[1::2], strict=True):
            for place, size in latest.get((number, offset), ()):
                begin = at + place - offset
                if data.read(place, size) != bytes(payload[begin : begin + size]):
                    return False
            at += marked & frames.LENGTH
    return True


def _latest(found: Findings) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """What of each run no later commit has changed: (frame, offset) -> (offset, length)."""
    tables = [(entry.size_after, part[0]) for entry in found.entries for part in entry.parts]
    left: dict[tuple[int, int], list[tuple[int, int]]] = {}
    newer: list[tuple[int, int]] = []  # disjoint and sorted
    whole = found.tail.size
    for number in reversed(range(len(tables))):
        size_after, table = tables[number]
        whole = min(whole, size_after)
        numbers = runs_of(table)
        for offset, marked in zip(numbers[::2], numbers[1::2], strict=True):
            end = min(offset + (marked & frames.LENGTH), whole)
            if offset < end:
                left[number, offset] = _uncovered(newer, offset, end)
    return left


def _uncovered(newer: list[tuple[int, int]], first: int, last: int) -> list[tuple[int, int]]:
    """Return what disjoint ranges leave uncovered of one, as (offset, length); adds it to them."""
    gaps = []
    at = bisect_left(newer, (first, 0))
    if at and newer[at - 1][1] > first:
        at -= 1
    start, place = at, first
    while at < len(newer) and newer[at][0] < last:
        if place < newer[at][0]:
            gaps.append((place, newer[at][0] - place))
        place = max(place, newer[at][1])
        at += 1
    if place < last:
        gaps.append((place, last - place))
    if gaps:
        low = min(first, newer[start][0]) if start < at else first
        high = max(last, newer[at - 1][1]) if start < at else last
        newer[start:at] = [(low, high)]
    return gaps


# --- who is alive ---------------------------------------------------------------------------------


def become_alive(files: Files, path: str, data: File, locks: Locks) -> None:
    """Hold ALIVE shared from now on; before that, recover the file, if nobody held it.

    Raises
    ------
    JournalError
        If the journal is damaged, or not of this file as it is.
    TimeoutError
        If others are busy finding out the same for too long.
    UnsupportedError
        If the filesystem has no locks.
    """
    _with_recovery(locks)
    try:
        journal = journal_path(path)
        if files.exists(journal) and locks.try_exclusive(ALIVE):
            _complete(files, journal, data, force=False)
            locks.unlock(ALIVE)
        locks.wait(lambda: locks.try_shared(ALIVE), PATIENCE_S, "recovery", ALIVE)
    finally:
        locks.unlock(RECOVERY)


def _with_recovery(locks: Locks) -> None:
    locks.wait(lambda: locks.try_exclusive(RECOVERY), PATIENCE_S, "recovery", RECOVERY)


def _complete(files: Files, journal: str, data: File, force: bool) -> int:
    """Apply a journal of nobody alive, and remove it; return how many commits it held."""
    if not files.exists(journal):
        return 0
    with closing(files.open(journal, "r+")) as file, Findings(journal, file) as found:
        if found.entries:
            if not force:
                require_fit(found, data)
            _harden(found, file)
            _apply(found, found.entries, data)
            data.sync()
    _remove(files, journal)
    return len(found.entries)


def _remove(files: Files, journal: str) -> None:
    files.remove(journal)
    files.sync_directory(journal)


def _recover(files: Files, journal: str, data: File, locks: Locks) -> int:
    """Complete the journal if nobody is alive, and return how many commits it held; else see that
    what a dead process left is applied, or wait for one who is at it.

    Held: RECOVERY, so that those who hold ALIVE are users of the file.
    """
    end = time.monotonic() + PATIENCE_S
    opened = None
    try:
        while True:
            if locks.try_exclusive(ALIVE):  # the last of them is gone
                return _complete(files, journal, data, force=False)
            try:
                if opened is None:
                    opened = Journal.open(files, journal, data)
                else:
                    opened.catch_up()
            except FileNotFoundError:  # the last of them has removed it
                return 0
            if opened.applied:
                return 0
            if locks.try_exclusive(WRITER):
                try:
                    begin_applying(locks, max(0.0, end - time.monotonic()))
                    try:
                        opened.catch_up()
                        if not opened.applied:
                            redo(opened, data)
                    finally:
                        end_applying(locks)
                finally:
                    locks.unlock(WRITER)
                return 0
            if time.monotonic() > end:
                locks.wait(lambda: False, 0, "a commit to be applied", WRITER)
            locks.unlock(RECOVERY)  # who writes may need it to go on
            time.sleep(PAUSE_S)
            _with_recovery(locks)
    finally:
        if opened is not None:
            opened.close()


# --- before a file is opened ----------------------------------------------------------------------


def before_open(path: str, mode: str, files: Files = OS) -> None:
    """See to the journal of a file that is about to be opened: called where there is one.

    Parameters
    ----------
    path : str
        Of the data file; its last component may be a symbolic link.
    mode : {"r", "r+", "w+", "x+", "c"}
        How it will be opened.

    Raises
    ------
    RecoveryNeeded
        If the mode only reads and the file does not show the committed state.
    JournalError
        If the journal is damaged, or not of this file as it is.
    OSError
        EBUSY for ``"w+"``, if somebody uses the journal; what the system says.
    """
    journal = journal_path(path)
    if mode == "w+":
        before_replace(path, files)
    elif mode == "x+":
        if not files.exists(path):
            _remove(files, journal)
    elif mode == "r+":
        _recover_to_write(files, path, journal)
    else:
        _require_committed(files, path, journal)


def _recover_to_write(files: Files, path: str, journal: str) -> None:
    try:
        data = files.open(path, "r+")
    except (FileNotFoundError, PermissionError):
        return  # the caller will hear the same, as he asked for it
    locks = Locks(data)
    try:
        _with_recovery(locks)
        _recover(files, journal, data, locks)
    finally:
        data.close()


def before_replace(path: str, files: Files = OS) -> None:
    """Remove the journal of a file that is about to be emptied or replaced by another.

    Raises
    ------
    OSError
        EBUSY if somebody uses it.
    """
    journal = journal_path(path)
    try:
        data = files.open(path, "r+")
    except FileNotFoundError:
        _remove(files, journal)
        return
    locks = Locks(data)
    try:
        _require_alone(locks, journal, "replace the file")
        if files.exists(journal):
            _remove(files, journal)
    finally:
        data.close()


def _require_alone(locks: Locks, journal: str, what: str) -> None:
    try:
        _with_recovery(locks)
        alone = locks.try_exclusive(ALIVE)
    except UnsupportedError:
        alone = True  # nobody can have transactions here
    if not alone:
        raise OSError(
            errno.EBUSY,
            f"{os.strerror(errno.EBUSY)}: transactions are under way on it, with the journal "
            f"{journal!r}; close the mappings that use them, in every process, to {what}",
            locks.file.path,
        )


def _require_committed(files: Files, path: str, journal: str) -> None:
    """Raise RecoveryNeeded unless those who read the file see the committed state."""
    try:
        data, alone = _open_to_look(files, path)
    except FileNotFoundError:
        return  # the caller will hear the same
    end = time.monotonic() + PATIENCE_S
    try:
        while True:
            try:
                with closing(files.open(journal, "r")) as file, Findings(journal, file) as found:
                    if not found.entries or (alone is False and found.marked):
                        return
                    if _shows_all(found, data):
                        return
                    if alone:
                        require_fit(found, data)
            except FileNotFoundError:  # it has been completed
                return
            if alone or time.monotonic() > end or not _somebody_writes(data):
                break
            time.sleep(PAUSE_S)
    finally:
        data.close()
    raise RecoveryNeeded(
        getattr(errno, "EUCLEAN", errno.EIO),
        "a commit to the file was interrupted: open it with mode 'r+', or call "
        "mmapkit.recover(path), which completes the commit",
        path,
    )


def _open_to_look(files: Files, path: str) -> tuple[File, bool | None]:
    """Open the data file; True if nobody can use the journal meanwhile, False if somebody does,
    None if that cannot be known."""
    try:
        data = files.open(path, "r+")
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        return files.open(path, "r"), None
    try:
        locks = Locks(data)
        _with_recovery(locks)
        return data, locks.try_exclusive(ALIVE)
    except UnsupportedError:
        return data, None
    except BaseException:
        data.close()
        raise


def _somebody_writes(data: File) -> bool:
    """Whether a commit may just be under way; found out without the right to write."""
    try:
        found = data.try_lock(FIRST_BYTE + WRITER, 1, False)
    except UnsupportedError:
        return False
    if found:
        data.unlock(FIRST_BYTE + WRITER, 1)
    return not found


# --- on demand ------------------------------------------------------------------------------------


def recover(
    path: str | bytes | os.PathLike[str], *, discard: bool = False, force: bool = False
) -> int:
    """Complete the commits to a file that were interrupted, and remove its journal.

    Opening the file with mode ``"r+"`` does the same. If other processes have transactions on it,
    only what a dead one has left is completed, and the journal stays.

    Parameters
    ----------
    path : path
        The data file.
    discard : bool
        Throw the journal away instead, whatever is in it: the file stays as it is, which may be
        with some pages of a commit and without others.
    force : bool
        Apply the journal even if the file is not the one it was made for, or has been changed
        since; its own checksums must be right all the same.

    Returns
    -------
    int
        How many commits the journal held; 0 if there was none, or if it was discarded.

    Raises
    ------
    JournalError
        If the journal is damaged, or does not belong to the file as it is now; nothing is changed.
    OSError
        The system's; EBUSY if a journal in use was to be discarded or forced.

    Examples
    --------
    >>> import mmapkit as mk
    >>> with mk.open("safe.bin", "w+", size=10) as m:
    ...     pass
    >>> mk.recover("safe.bin")
    0
    """
    if discard and force:
        raise ValueError("discard=True throws the journal away, force=True applies it: choose one")
    return _recover_on_demand(OS, os.path.realpath(os.fsdecode(path)), discard, force)


def _recover_on_demand(files: Files, path: str, discard: bool, force: bool) -> int:
    journal = path + SUFFIX
    try:
        data = files.open(path, "r+")
    except FileNotFoundError:
        if discard and files.exists(journal):
            _remove(files, journal)
            return 0
        raise
    try:
        if not files.exists(journal):
            return 0
        locks = Locks(data)
        if not discard and not force:
            _with_recovery(locks)
            return _recover(files, journal, data, locks)
        _require_alone(locks, journal, "discard it" if discard else "force it")
        if force:
            return _complete(files, journal, data, force=True)
        _remove(files, journal)
        return 0
    finally:
        data.close()


class Report:
    """What `verify()` found.

    Attributes
    ----------
    path, journal : str
        The data file, and its journal.
    state : {"no journal", "committed", "in use", "needs recovery", "damaged"}
        ``"committed"``: the file shows every commit of its journal. ``"in use"``: other mappings
        have transactions on it, and all is well. ``"damaged"``: the journal, or it does not belong
        to the file as it is.
    commits : int or None
        In the journal, since its last checkpoint.
    message : str
        What is wrong and what can be done; empty if nothing is.
    """

    __slots__ = ("commits", "journal", "message", "path", "state")

    def __init__(
        self, path: str, journal: str, state: str, commits: int | None = None, message: str = ""
    ) -> None:
        """Note what was found."""
        self.path = path
        self.journal = journal
        self.state = state
        self.commits = commits
        self.message = message


def verify(path: str | bytes | os.PathLike[str], files: Files = OS) -> Report:
    """Tell whether a file shows the committed state, and whether its journal is sound.

    Changes nothing. Raises OSError if one of them cannot be read.
    """
    name = os.path.realpath(os.fsdecode(path))
    journal = name + SUFFIX
    data, alone = _open_to_look(files, name)
    try:
        if not files.exists(journal):
            return Report(name, journal, "no journal")
        with closing(files.open(journal, "r")) as file, Findings(journal, file) as found:
            count = len(found.entries)
            if alone is False and found.marked:
                return Report(name, journal, "in use", count)
            if not count or _shows_all(found, data):
                return Report(name, journal, "committed", count)
            if alone is not False:
                require_fit(found, data)
            message = "mmapkit recover completes the commits that were interrupted"
            return Report(name, journal, "needs recovery", count, message)
    except JournalError as error:
        return Report(name, journal, "damaged", None, str(error))
    except FileNotFoundError:  # removed meanwhile
        return Report(name, journal, "no journal")
    finally:
        data.close()
