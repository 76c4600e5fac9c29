"""One open journal: append commits, sync, mark them applied, catch up with others, checkpoint.

What a writer does, holding the lock for writing::

    journal.catch_up()                      # what others appended meanwhile
    if not journal.applied: redo(...)       # somebody died before he had applied it
    if not journal.room(bytes_of(commits)): journal.extend(...) or journal.checkpoint(data)
    try: journal.append(commits)
    except OSError: journal.undo_append()   # as if nothing had happened
    journal.sync()                          # the commits are durable from here on
    ... data.resize(), data.write_runs() ...
    journal.mark_applied()

The order of these steps is all that a commit's safety rests on; docs/journal.md says why.
"""

from __future__ import annotations

from mmapkit._journal import crc32c
from mmapkit.durable import frames
from mmapkit.durable.runs import LENGTH, SECTOR_BYTES, pieces_in, runs_of, table_of
from mmapkit.durable.slots import (
    FRAMES_AT,
    MOST_WITNESSES,
    SLOT_BYTES,
    Slot,
    pack_slot,
    read_slots,
)
from mmapkit.durable.window import Window
from mmapkit.errors import JournalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any, Final, Self

    from mmapkit._native import File
    from mmapkit.durable.files import Files
    from mmapkit.durable.window import AnyWindow

    Buffer = bytes | bytearray | memoryview

__all__ = ["Commit", "Entry", "Journal", "bytes_of"]

FIRST_BYTES: Final = 1 << 20
ZEROS_BYTES: Final = 1 << 20
RECENT_WITNESSES: Final = 48


class Commit:
    """What one commit changes.

    Attributes
    ----------
    runs : bytes
        int64 pairs (offset in the file, length), ascending, as `runs.split_runs()` returns them.
    payload : buffer, or iterable of buffers
        The new bytes of the runs, one run's after the other's. What is large is handed over as an
        iterator of pieces of any length; they are used up by `Journal.append()`.
    payload_bytes : int
        Of all of it.
    before : bytes
        `_journal.sector_checksums()` of the old bytes of each run that lies before the old end of
        the file, one run's after the other's.
    size_after : int
        Bytes of the file after the commit.
    """

    __slots__ = ("before", "payload", "payload_bytes", "runs", "size_after")

    def __init__(
        self,
        runs: bytes,
        payload: Buffer | Iterable[Buffer],
        before: bytes,
        size_after: int,
        payload_bytes: int | None = None,
    ) -> None:
        """Take what changes; `payload_bytes` goes with an iterable."""
        self.runs = runs
        self.payload = payload
        self.payload_bytes = len(payload) if payload_bytes is None else payload_bytes  # type: ignore[arg-type]
        self.before = before
        self.size_after = size_after


def bytes_of(commits: Iterable[Commit]) -> int:
    """Bytes of a journal that are enough for some commits; for `Journal.room`."""
    total = 0
    for commit in commits:
        count = 2 + commit.payload_bytes // (frames.MOST_PAYLOAD_BYTES - SECTOR_BYTES)
        count += len(commit.runs) // (16 * frames.MOST_RUNS)
        total += commit.payload_bytes + len(commit.before) + len(commit.runs)
        total += count * (frames.HEADER_BYTES + 16 + SECTOR_BYTES)
    return total


class Entry:
    """One commit in a journal.

    Attributes
    ----------
    sequence, size_after : int
        Its number, and the bytes of the data file after it.
    position : int
        Where in the journal its first frame begins.
    parts : list of (run table, checksums of the old bytes, position, bytes)
        One for each frame; where in the journal its payload lies.
    """

    __slots__ = ("parts", "position", "sequence", "size_after")

    def __init__(self, position: int, sequence: int, size_after: int) -> None:
        """Begin without frames."""
        self.position = position
        self.sequence = sequence
        self.size_after = size_after
        self.parts: list[tuple[bytes, bytes, int, int]] = []

    @property
    def runs(self) -> list[tuple[int, int]]:
        """Offset and length of each run."""
        found = []
        for table, _, _, _ in self.parts:
            numbers = runs_of(table)
            for offset, marked in zip(numbers[::2], numbers[1::2], strict=True):
                found.append((offset, marked & LENGTH))
        return found


class Journal:
    """A journal that is open for writing. Its methods are called by one thread at a time.

    Attributes
    ----------
    path : str
        Of the journal.
    slot : slots.Slot
        What the generation began with.
    applied : bool
        Whether everything up to the tail has been applied to the data file, as far as is known.
    capacity : int
        Bytes of the journal that are written already.
    file : File
        The journal itself.
    """

    def __init__(self, files: Files, path: str, file: File, slot: Slot) -> None:
        """Take an open file over; use `open_or_create()`."""
        self.path = path
        self.slot = slot
        self.applied = False
        self.capacity = file.size()
        self.files = files
        self.file = file
        self._tail = frames.tail_of(slot)
        self._undo: frames.Tail | None = None
        self._applied_sequence = slot.sequence
        self._recent: list[int] = []  # where the last commits wrote: what witnesses look at
        self._other_slot = self._read_other_slot()

    # --- making and opening -----------------------------------------------------------------

    @classmethod
    def open_or_create(
        cls, files: Files, path: str, data: File, *, first_bytes: int | None = None
    ) -> Self:
        """Open the journal of a data file, or make one; to be called with the lock for writing.

        One that is there is opened at its tail. Nothing is applied: `applied` says whether that is
        still to be done.

        Parameters
        ----------
        files : Files
            The filesystem.
        path : str
            Of the journal.
        data : File
            The data file, open for writing. A new journal begins with what it holds: it is synced.
        first_bytes : int, optional
            Of a new journal; 1 MiB by default.

        Raises
        ------
        JournalError
            If what is there is not a journal of this file.
        OSError
            The system's; PermissionError for a folder that cannot be written. Nothing is left then.
        """
        if not files.exists(path):
            cls._create(files, path, data, first_bytes or FIRST_BYTES)
        return cls.open(files, path, data)

    @classmethod
    def open(cls, files: Files, path: str, data: File) -> Self:
        """Open the journal that is there. See `open_or_create()`."""
        file = files.open(path, "r+")
        try:
            journal = cls(files, path, file, slot_of(file, path))
            require_same_file(journal.slot, data, path)
            journal.catch_up()
        except BaseException:
            file.close()
            raise
        return journal

    @classmethod
    def _create(cls, files: Files, path: str, data: File, first_bytes: int) -> None:
        """Make a journal under another name; it appears whole and durable, or not at all."""
        data.sync()  # what it begins with
        beside = path + ".new"
        if files.exists(beside):  # somebody died at it
            files.remove(beside)
        file = files.open(beside, "x+")
        try:
            files.imitate(file, data)
            _, inode, birth_ns = data.identity()
            size = data.size()
            witnesses = _witnesses(data, size, [])
            slot = Slot(0, files.random(8), 1, inode, birth_ns, size, 0, witnesses)
            head = pack_slot(slot)
            _fill(file, 0, first_bytes)
            file.write(0, head)
            file.write(FRAMES_AT, frames.pack_marker(slot, frames.tail_of(slot)))
            file.sync()
            file.close()
            files.replace(beside, path)
        except BaseException:
            file.close()
            if files.exists(beside):  # Ctrl-C may come when it has its name
                files.remove(beside)
            raise
        files.sync_directory(path)

    def close(self) -> None:
        """Give the file back; the journal stays."""
        self.file.close()

    def remove(self) -> None:
        """Remove the journal: all of it is applied, the data is synced, nobody else is there."""
        self.file.close()
        self.files.remove(self.path)
        self.files.sync_directory(self.path)

    def is_there(self) -> bool:
        """Tell whether its name still leads to it: nobody removed it, or replaced the data file by
        another, which may have one."""
        return self.files.leads_to(self.path, self.file)

    # --- where it is ------------------------------------------------------------------------

    @property
    def position(self) -> int:
        """Where the next frame begins."""
        return self._tail.position

    @property
    def sequence(self) -> int:
        """Number of the last commit; 0 if there never was one."""
        return self._tail.sequence

    @property
    def empty(self) -> bool:
        """True if there has been no commit since the generation began."""
        return self._tail.position == FRAMES_AT

    @property
    def generation(self) -> int:
        """Counts checkpoints, from 1."""
        return self.slot.generation

    @property
    def data_size(self) -> int:
        """Bytes of the data file after the last commit."""
        return self._tail.size

    def room(self, byte_count: int) -> bool:
        """Tell whether `bytes_of()` some commits fits without `extend()` or `checkpoint()`."""
        return self._tail.position + byte_count + SECTOR_BYTES <= self.capacity

    # --- a commit ---------------------------------------------------------------------------

    def append(self, commits: Sequence[Commit]) -> int:
        """Write commits behind the tail, in one system call where they are small. Not synced.

        There must be room, and everything before must have been applied. After an exception, or if
        the commits are not to be after all, `undo_append()`.

        Returns
        -------
        int
            The number of the last one.
        """
        self._undo = self._tail.copy()
        self.applied = False
        tail = self._tail.copy()
        start = tail.position
        parts: list[Any] = []
        for commit in commits:
            sequence = tail.sequence + 1
            if (
                commit.payload_bytes <= frames.MOST_PAYLOAD_BYTES
                and len(commit.runs) <= 16 * frames.MOST_RUNS
                and isinstance(commit.payload, (bytes, bytearray, memoryview))
            ):
                table = table_of(commit.runs, tail.size)
                frames.pack_frame(
                    self.slot, tail, sequence, commit.size_after, self._applied_sequence, True,
                    table, commit.before, [commit.payload], commit.payload_bytes, parts,
                )  # fmt: skip
            else:
                for _ in self._frames_of(commit, sequence, tail, parts):
                    self.file.write(start, *parts)
                    start = tail.position
                    parts.clear()
            self._recent += memoryview(commit.runs).cast("q")[-2 * RECENT_WITNESSES :: 2].tolist()
        del self._recent[:-RECENT_WITNESSES]
        if parts:
            self.file.write(start, *parts)
        self._tail = tail
        return tail.sequence

    def _frames_of(
        self, commit: Commit, sequence: int, tail: frames.Tail, parts: list[Any]
    ) -> Iterator[None]:
        """Pack a commit into frames, one at a time."""
        feed = _Feed(commit.payload)
        old_size = tail.size
        before = 0
        pieces = list(_portions(commit.runs, old_size))
        for number, (runs, payload_bytes, sums) in enumerate(pieces, 1):
            table = table_of(runs, old_size)
            frames.pack_frame(
                self.slot, tail, sequence, commit.size_after, self._applied_sequence,
                number == len(pieces), table, commit.before[before : before + 4 * sums],
                feed.take(payload_bytes), payload_bytes, parts,
            )  # fmt: skip
            before += 4 * sums
            yield

    def sync(self) -> None:
        """Make what was appended durable. After an OSError nobody knows what is: stop using it."""
        self.file.sync()

    def mark_applied(self) -> None:
        """Say that everything up to the tail has been applied; not synced, and need not be."""
        self._write_marker()
        self._note_applied()

    def _write_marker(self) -> None:
        self.file.write(self._tail.position, frames.pack_marker(self.slot, self._tail))

    def _note_applied(self) -> None:
        self._applied_sequence = self._tail.sequence
        self._undo = None
        self.applied = True

    def undo_append(self) -> None:
        """Take the last `append()` back, durably: no recovery will see it.

        Raises
        ------
        OSError
            If that cannot be written or synced: nobody knows then what is durable.
        """
        if self._undo is None:
            return
        self._tail = self._undo.copy()
        self._write_marker()  # over the head of its first frame
        self.file.sync()
        self._note_applied()

    # --- others -----------------------------------------------------------------------------

    def is_applied(self) -> bool:
        """Look whether the tail is marked now; `catch_up()` first, if others may have appended."""
        marker = frames.read_marker(self.file.read(self._tail.position, frames.MARKER_BYTES))
        self.applied = marker is not None and marks(marker, self.slot, self._tail)
        if self.applied:
            self._applied_sequence = self._tail.sequence
        return self.applied

    def catch_up(self) -> list[Entry]:
        """Read what other processes appended; no other may be appending now.

        Follows a checkpoint, too: `generation` tells. `applied` says afterwards whether the tail is
        marked; if not, somebody died before he had applied the last commits (`redo.redo`), or
        even before he had appended all of them, which then counts for nothing.

        Raises
        ------
        JournalError
            If the journal makes no sense.
        """
        if self._read_other_slot() != self._other_slot:
            self._follow()
        if self.is_applied():
            return []
        found = self._read_on()
        self.is_applied()
        return found

    def _read_on(self) -> list[Entry]:
        """Read complete commits from the tail on, which moves behind them."""
        self.capacity = self.file.size()
        try:
            found = list(entries_from(Window(self.file, self.capacity), self.slot, self._tail))
        except JournalError as error:
            raise JournalError(f"{self.path!r}: {error}") from None
        for entry in found:
            self._recent += [offset for offset, _ in entry.runs[-RECENT_WITNESSES:]]
        del self._recent[:-RECENT_WITNESSES]
        return found

    def _read_other_slot(self) -> bytes:
        """What changes with a checkpoint: the head of the slot that does not count now."""
        return self.file.read((1 - self.slot.place) * SLOT_BYTES, 64)

    def _follow(self) -> None:
        slot = slot_of(self.file, self.path)
        if slot.generation != self.slot.generation:
            self.slot = slot
            self._tail = frames.tail_of(slot)
            self._applied_sequence = slot.sequence
        self._other_slot = self._read_other_slot()

    # --- room -------------------------------------------------------------------------------

    def extend(self, byte_count: int) -> None:
        """Make the journal longer, so that there is room for `byte_count`; at least twice as long.

        Raises
        ------
        OSError
            ENOSPC, for example; it is as long as it was then.
        """
        wanted = max(2 * self.capacity, self._tail.position + byte_count + SECTOR_BYTES)
        wanted = -(-wanted // SLOT_BYTES) * SLOT_BYTES
        try:
            _fill(self.file, self.capacity, wanted)
            self.file.sync()
        except OSError:
            self.file.resize(self.capacity)
            raise
        self.capacity = wanted

    def checkpoint(self, data: File) -> None:
        """Make the data file durable and begin at the front again: a new generation.

        Everything must have been applied, and nobody may be appending. `data` must be open for
        writing; its size now is what the generation begins with. After an OSError nobody knows
        what is durable.
        """
        data.sync()
        _, inode, birth_ns = data.identity()
        size = data.size()
        old = self.slot
        slot = Slot(
            1 - old.place, old.journal, old.generation + 1, inode, birth_ns, size,
            self._tail.sequence, _witnesses(data, size, self._recent),
        )  # fmt: skip
        self.file.write(slot.offset, pack_slot(slot))
        # Before the marker takes the place of the old generation's first frame.
        self.file.sync()
        self.slot = slot
        self._other_slot = self._read_other_slot()
        self._tail = frames.tail_of(slot)
        self._recent.clear()
        self.mark_applied()


# --- pieces ---------------------------------------------------------------------------------------


def slot_of(file: File, path: str) -> Slot:
    """Return the slot that counts; JournalError, naming the journal, if there is none."""
    try:
        slot = read_slots(file)
    except JournalError as error:
        raise JournalError(f"{path!r}: {error}") from None
    if slot is None:
        raise JournalError(f"{path!r} is not a journal of mmapkit, or both of its heads are lost")
    return slot


def is_same_file(slot: Slot, data: File) -> bool:
    """Whether the data file is the one that the journal was made for."""
    _, inode, birth_ns = data.identity()
    if inode != slot.inode:
        return False
    return birth_ns == slot.birth_ns or not birth_ns or not slot.birth_ns


def require_same_file(slot: Slot, data: File, path: str) -> None:
    """Raise JournalError if it is not."""
    if not is_same_file(slot, data):
        raise JournalError(
            f"{path!r} belongs to another file than {data.path!r}, which was replaced, copied or "
            "restored since. mmapkit.recover(path, discard=True) throws the journal away and "
            "leaves the file as it is; force=True applies it all the same"
        )


def marks(marker: tuple[int, bytes, int, int], slot: Slot, tail: frames.Tail) -> bool:
    """Whether a marker speaks of this tail."""
    return marker == (tail.chain, slot.journal, slot.generation, tail.sequence)


def entries_from(window: AnyWindow, slot: Slot, tail: frames.Tail) -> Iterator[Entry]:
    """Read complete commits; `tail` is behind the last of them when there are no more."""
    ahead = tail.copy()
    entry = None
    for frame in frames.frames_from(window, slot, ahead):
        if entry is None:
            entry = Entry(tail.position, frame.sequence, frame.size_after)
        entry.parts.append((frame.table, frame.before, frame.payload_at, len(frame.payload)))
        if frame.last:
            tail.move(ahead)
            yield entry
            entry = None


def _fill(file: File, start: int, end: int) -> None:
    """Write zeros, so that no later sync has to allocate blocks or note that they are written."""
    zeros = bytes(min(ZEROS_BYTES, end - start))
    while start < end:
        count = min(len(zeros), end - start)
        file.write(start, zeros if count == len(zeros) else zeros[:count])
        start += count


def _witnesses(data: File, size: int, recent: Sequence[int]) -> list[tuple[int, int, int]]:
    """Choose what of the data file is to be looked at again: where the last commits wrote, and
    places spread evenly."""
    spread = MOST_WITNESSES - len(recent)
    last = max(size - 1, 0)
    places = {place - place % SECTOR_BYTES for place in recent}
    places |= {at * last // (spread - 1) // SECTOR_BYTES * SECTOR_BYTES for at in range(spread)}
    found = []
    for place in sorted(places):
        length = min(SECTOR_BYTES, size - place)
        if length > 0:
            found.append((place, length, crc32c(data.read(place, length))))
    return found


def _portions(runs: bytes, old_size: int) -> Iterator[tuple[bytes, int, int]]:
    """Cut a commit's runs into frames: their runs, bytes, and checksums of old bytes."""
    import struct

    portion: list[int] = []
    size = sums = 0
    numbers = memoryview(runs).cast("q").tolist()
    for offset, length in zip(numbers[::2], numbers[1::2], strict=True):
        while length:
            room = frames.MOST_PAYLOAD_BYTES - size
            if length > room:
                room -= room % SECTOR_BYTES
            count = min(length, room)
            if not count or len(portion) == 2 * frames.MOST_RUNS:
                yield struct.pack(f"={len(portion)}q", *portion), size, sums
                portion, size, sums = [], 0, 0
                continue
            portion += (offset, count)
            size += count
            if offset < old_size:
                sums += pieces_in(count)
            offset += count
            length -= count
    yield struct.pack(f"={len(portion)}q", *portion), size, sums


class _Feed:
    """Takes so many bytes at a time out of buffers of any length."""

    def __init__(self, payload: Buffer | Iterable[Buffer]) -> None:
        whole = isinstance(payload, (bytes, bytearray, memoryview))
        self._buffers: Iterator[Any] = iter([payload] if whole else payload)
        self._left = memoryview(b"")

    def take(self, count: int) -> list[memoryview]:
        found = []
        while count:
            while not self._left:
                self._left = memoryview(next(self._buffers)).cast("B")
            found.append(self._left[:count])
            self._left = self._left[count:]
            count -= len(found[-1])
        return found
