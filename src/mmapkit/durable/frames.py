"""The frames and markers of a journal. docs/journal.md describes all of its bytes.

Every check is a small function of its own, so that tests can show that each is needed.
"""

from __future__ import annotations

import struct
from functools import reduce
from operator import add, le, or_

from mmapkit._journal import crc32c
from mmapkit.durable.runs import LENGTH, NEW, SECTOR_BYTES, pieces_in, runs_of
from mmapkit.durable.slots import FRAMES_AT, MOST_OFFSET, same_journal
from mmapkit.durable.window import Window
from mmapkit.errors import JournalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    from mmapkit.durable.slots import Slot
    from mmapkit.durable.window import AnyWindow

    Buffer = bytes | bytearray | memoryview

__all__ = [
    "HEADER_BYTES",
    "MARKER_BYTES",
    "MOST_PAYLOAD_BYTES",
    "MOST_RUNS",
    "Frame",
    "Tail",
    "evidence_of",
    "frames_from",
    "pack_frame",
    "pack_marker",
    "padded",
    "read_marker",
    "step_over",
    "tail_of",
]

MOST_PAYLOAD_BYTES: Final = 4 << 20  # of one frame
MOST_RUNS: Final = 4096  # of one frame

LAST: Final = 1  # flag of a frame: the last one of its commit

FRAME_MAGIC: Final = b"mmapkitF"
MARKER_MAGIC: Final = b"mmapkitA"

# crc, previous, magic, journal, generation, sequence, size after, applied, index, flags, run
# count, bytes
_FRAME: Final = struct.Struct("<II8s8sQQQQIIII")
_FRAME_BODY: Final = struct.Struct("<I8s8sQQQQIIII")
_MARKER_BODY: Final = struct.Struct("<I8s8sQQ24x")
_U32: Final = struct.Struct("<I")
MARKER_BYTES: Final = 64
HEADER_BYTES: Final = _FRAME.size
_JOURNAL_AT: Final = 16  # where frames and markers name their journal


# --- frames ---------------------------------------------------------------------------------------


class Tail:
    """Where a journal ends: what the next frame must follow.

    Attributes
    ----------
    position : int
        Where it begins.
    chain : int
        The checksum of the frame before it, or of the slot.
    sequence : int
        Of the last commit that is complete.
    size : int
        Of the data file after that commit.
    applied : int
        The highest sequence that a frame calls applied, and so durable.
    index : int
        Frames of the commit that is not complete, before `position`.
    """

    __slots__ = ("applied", "chain", "index", "position", "sequence", "size")

    def __init__(
        self, position: int, chain: int, sequence: int, size: int, applied: int, index: int = 0
    ) -> None:
        """Take what is known."""
        self.position = position
        self.chain = chain
        self.sequence = sequence
        self.size = size
        self.applied = applied
        self.index = index

    def step(self, length: int, chain: int, last: bool, sequence: int, size: int) -> None:
        """Go behind a frame that is so long, and has the checksum `chain`."""
        self.position += padded(length)
        self.chain = chain
        if last:
            self.sequence, self.size, self.index = sequence, size, 0
        else:
            self.index += 1

    def move(self, other: Tail) -> None:
        """Go where another is."""
        for name in self.__slots__:
            setattr(self, name, getattr(other, name))

    def copy(self) -> Tail:
        """Remember it."""
        return Tail(self.position, self.chain, self.sequence, self.size, self.applied, self.index)


def tail_of(slot: Slot) -> Tail:
    """The tail of a generation without frames."""
    return Tail(FRAMES_AT, slot.crc, slot.sequence, slot.size, slot.sequence)


class Frame:
    """One frame that was read and checked.

    Attributes
    ----------
    sequence, index, last, size_after, applied : as in the format
    table : bytes
        The run table.
    before : bytes
        The checksums of the old content of the runs that are not new.
    payload : memoryview
        Valid until the next frame is read.
    payload_at : int
        Where the payload lies in the journal.
    """

    __slots__ = (
        "applied",
        "before",
        "index",
        "last",
        "payload",
        "payload_at",
        "sequence",
        "size_after",
        "table",
    )

    def __init__(
        self,
        sequence: int,
        index: int,
        last: bool,
        size_after: int,
        applied: int,
        table: bytes,
        before: bytes,
        payload: memoryview,
        payload_at: int,
    ) -> None:
        """Take what was read."""
        self.sequence = sequence
        self.index = index
        self.last = last
        self.size_after = size_after
        self.applied = applied
        self.table = table
        self.before = before
        self.payload = payload
        self.payload_at = payload_at


def padded(length: int) -> int:
    """Bytes up to where the next frame may begin."""
    return (length + SECTOR_BYTES - 1) & -SECTOR_BYTES


_ZEROS: Final = bytes(SECTOR_BYTES)


def pack_frame(
    slot: Slot,
    tail: Tail,
    sequence: int,
    size_after: int,
    applied: int,
    last: bool,
    table: bytes,
    before: Buffer,
    payload: list[Any],
    payload_bytes: int,
    parts: list[Any],
) -> None:
    """Append the bytes of a frame to `parts`, without copying the payload; moves `tail` on."""
    rest = len(table) + len(before) + payload_bytes
    head = (
        _FRAME_BODY.pack(
            tail.chain,
            FRAME_MAGIC,
            slot.journal,
            slot.generation,
            sequence,
            size_after,
            applied,
            tail.index,
            last,
            len(table) >> 4,
            HEADER_BYTES + rest,
        )
        + table
        + before
    )
    crc = crc32c(head)
    for part in payload:
        crc = crc32c(part, crc)
    parts.append(_U32.pack(crc) + head)
    parts += payload
    length = HEADER_BYTES + rest
    over = -length & (SECTOR_BYTES - 1)
    if over:
        parts.append(_ZEROS[:over])
    tail.step(length, crc, last, sequence, size_after)


def frames_from(window: AnyWindow, slot: Slot, tail: Tail) -> Iterator[Frame]:
    """Read frames until one is not whole; `tail` is then where that one would begin.

    Raises
    ------
    JournalError
        For a frame that is whole and makes no sense: somebody has made it up.
    """
    while True:
        position = tail.position
        head = window.at(position, HEADER_BYTES)
        if len(head) < HEADER_BYTES:
            return
        (
            crc, previous, magic, journal, generation, sequence, size_after, applied, index, flags,
            run_count, length,
        ) = _FRAME.unpack(head)  # fmt: skip
        if magic != FRAME_MAGIC or not same_journal(journal, slot.journal):
            return
        if not same_generation(generation, slot.generation) or not follows(previous, tail.chain):
            return
        if not length_is_possible(length, window.end - position):
            return
        whole = window.at(position, length)
        if len(whole) < length or not frame_checksum_matches(whole, crc):
            return
        if not is_next(sequence, index, tail):
            raise _senseless(position, f"commit {sequence}, part {index}, where commit "
                             f"{tail.sequence + 1}, part {tail.index}, should be")  # fmt: skip
        if not claims_are_possible(size_after, applied, sequence, flags, tail):
            raise _senseless(position, f"a file of {size_after} bytes, commits up to {applied} "
                             f"applied, flags {flags}")  # fmt: skip
        table_end = HEADER_BYTES + 16 * run_count
        if not table_fits(run_count, length):
            raise _senseless(position, f"{run_count} runs in {length} bytes")
        table = bytes(whole[HEADER_BYTES:table_end])
        before_bytes = _checked_runs(table, size_after, tail.size, length - table_end, position)
        payload_at = table_end + before_bytes
        last = bool(flags & LAST)
        tail.step(length, crc, last, sequence, size_after)
        tail.applied = max(tail.applied, applied)
        yield Frame(
            sequence, index, last, size_after, applied, table, bytes(whole[table_end:payload_at]),
            whole[payload_at:], position + payload_at,
        )  # fmt: skip


def _checked_runs(table: bytes, size_after: int, size_before: int, rest: int, at: int) -> int:
    """Return how many bytes the checksums of the runs take; JournalError if the runs cannot be."""
    numbers = runs_of(table)
    counted = _counted_at_once(numbers, min(size_after, size_before))
    sums, payload = counted or _counted(numbers, size_after, size_before, at)
    if not amounts_match(4 * sums + payload, rest):
        raise _senseless(at, f"{payload} bytes of data and {sums} checksums in {rest} bytes")
    return 4 * sums


def _counted_at_once(numbers: tuple[int, ...], size: int) -> tuple[int, int] | None:
    """Count the checksums and bytes of runs that are nothing special: whole sectors before the end
    of the file. None for others."""
    offsets, lengths = numbers[::2], numbers[1::2]
    if not numbers or reduce(or_, numbers) & (SECTOR_BYTES - 1) or max(lengths) >= NEW:
        return None
    ends = list(map(add, offsets, lengths))
    if min(lengths) == 0 or ends[-1] > size or not all(map(le, ends, offsets[1:])):
        return None
    payload = sum(lengths)
    return payload // SECTOR_BYTES, payload


def _counted(
    numbers: tuple[int, ...], size_after: int, size_before: int, at: int
) -> tuple[int, int]:
    """Count those of any runs; JournalError, naming the first that cannot be."""
    sums = payload = end = 0
    for offset, marked in zip(numbers[::2], numbers[1::2], strict=True):
        length = marked & LENGTH
        if not run_is_possible(offset, marked, end, size_after, size_before):
            raise _senseless(at, f"a run of {marked:#x} bytes at {offset}, after one that ends at "
                             f"{end}, in a file of {size_after} bytes")  # fmt: skip
        if marked < NEW:
            sums += pieces_in(length)
        payload += length
        end = offset + length
    return sums, payload


def same_generation(generation: int, wanted: int) -> bool:
    return generation == wanted


def follows(previous: int, chain: int) -> bool:
    return previous == chain


def length_is_possible(length: int, room: int) -> bool:
    most = HEADER_BYTES + 16 * MOST_RUNS + 8 * (MOST_PAYLOAD_BYTES >> 9) + 8 * MOST_RUNS
    return HEADER_BYTES <= length <= min(most + MOST_PAYLOAD_BYTES, room)


def frame_checksum_matches(whole: memoryview, crc: int) -> bool:
    return crc32c(whole[4:]) == crc


def is_next(sequence: int, index: int, tail: Tail) -> bool:
    return sequence == tail.sequence + 1 and index == tail.index


def claims_are_possible(
    size_after: int, applied: int, sequence: int, flags: int, tail: Tail
) -> bool:
    return size_after <= MOST_OFFSET and tail.applied <= applied < sequence and flags in (0, LAST)


def table_fits(run_count: int, length: int) -> bool:
    return run_count <= MOST_RUNS and HEADER_BYTES + 16 * run_count <= length


def run_is_possible(offset: int, marked: int, end: int, size_after: int, size_before: int) -> bool:
    length = marked & LENGTH
    new = marked & ~LENGTH
    if not end <= offset <= offset + length <= size_after or not length or new not in (0, NEW):
        return False
    crosses = offset // SECTOR_BYTES != (offset + length - 1) // SECTOR_BYTES
    if crosses and offset % SECTOR_BYTES:
        return False
    return offset >= size_before if new else offset + length <= size_before


def amounts_match(counted: int, there: int) -> bool:
    return counted == there


def _senseless(position: int, what: str) -> JournalError:
    return JournalError(f"the frame at byte {position} of the journal makes no sense: {what}")


# --- markers --------------------------------------------------------------------------------------


def pack_marker(slot: Slot, tail: Tail) -> bytes:
    """Return the bytes that say: everything up to here has been applied."""
    body = _MARKER_BODY.pack(tail.chain, MARKER_MAGIC, slot.journal, slot.generation, tail.sequence)
    return _U32.pack(crc32c(body)) + body


def read_marker(data: Buffer) -> tuple[int, bytes, int, int] | None:
    """Return chain, journal, generation and sequence of a marker that is whole, or None."""
    if len(data) < MARKER_BYTES:
        return None
    chain, magic, journal, generation, sequence = _MARKER_BODY.unpack_from(data, 4)
    if magic != MARKER_MAGIC or not marker_checksum_matches(data):
        return None
    return chain, journal, generation, sequence


def marker_checksum_matches(data: Buffer) -> bool:
    return bool(_U32.unpack_from(data)[0] == crc32c(memoryview(data)[4:MARKER_BYTES]))


# --- damage ---------------------------------------------------------------------------------------


def evidence_of(window: AnyWindow, slot: Slot, tail: Tail) -> int | None:
    """Look behind an unreadable frame for proof that it had been durable: then it is damaged.

    A crash tears what was not synced yet. Frames and markers say up to which commit everything was
    applied, which happens after a sync. A later generation's frames prove that its slot is lost.

    Returns
    -------
    int or None
        Where in the journal the proof lies.
    """
    position = tail.position
    while position < window.end:
        piece = bytes(window.at(position, Window.MOST))
        if not piece:
            return None
        found = piece.find(slot.journal)
        while found >= 0:
            start = position + found - _JOURNAL_AT
            aligned = start >= tail.position and start % SECTOR_BYTES == 0
            if aligned and _proves(window, start, slot, tail):
                return start
            found = piece.find(slot.journal, found + 1)
        # The name may lie across two pieces.
        position += len(piece) if len(piece) < Window.MOST else len(piece) - 7
    return None


def _proves(window: AnyWindow, start: int, slot: Slot, tail: Tail) -> bool:
    """Whether what begins there is whole, and says that the commit after `tail` was durable."""
    data = window.at(start, MARKER_BYTES)
    marker = read_marker(data)
    if marker is not None:
        _, _, generation, applied = marker
        return generation > slot.generation or (
            generation == slot.generation and is_proof(applied, tail)
        )
    head = window.at(start, HEADER_BYTES)
    if len(head) < HEADER_BYTES:
        return False
    crc, _, magic, _, generation, _, _, applied, _, _, _, length = _FRAME.unpack(head)
    if magic != FRAME_MAGIC or generation < slot.generation:
        return False
    if generation == slot.generation and not is_proof(applied, tail):
        return False
    if not length_is_possible(length, window.end - start):
        return False
    whole = window.at(start, length)
    return len(whole) == length and frame_checksum_matches(whole, crc)


def is_proof(applied: int, tail: Tail) -> bool:
    return applied > tail.sequence


# --- at a glance ----------------------------------------------------------------------------------


def step_over(head: Buffer, slot: Slot, tail: Tail) -> bool:
    """Move `tail` behind the frame whose head follows it; False if it does not follow.

    For those who only look for the marker behind the last one, which says that all before it is
    whole: nothing else of the frame is looked at.
    """
    if len(head) < HEADER_BYTES:
        return False
    crc, previous, magic, journal, generation, sequence, size, applied, _, flags, _, length = (
        _FRAME.unpack_from(head)
    )
    if magic != FRAME_MAGIC or not same_journal(journal, slot.journal):
        return False
    if not same_generation(generation, slot.generation) or not follows(previous, tail.chain):
        return False
    if length < HEADER_BYTES:
        return False
    tail.step(length, crc, bool(flags & LAST), sequence, size)
    tail.applied = applied
    return True
