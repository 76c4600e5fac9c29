"""Whether a data file fits a journal: it may be what a crash left of it, or show all of it.

Every check is a small function of its own, so that tests can show that each is needed.
"""

from __future__ import annotations

import struct
from bisect import bisect_left

from mmapkit._journal import crc32c
from mmapkit.durable.findings import REMEDIES
from mmapkit.durable.journal import require_same_file
from mmapkit.durable.runs import (
    LENGTH,
    NEW,
    SECTOR_BYTES,
    pieces_in,
    plain_runs,
    runs_of,
    sums_of,
)
from mmapkit.durable.slots import MOST_OFFSET
from mmapkit.errors import JournalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from mmapkit._native import File
    from mmapkit.durable.findings import Findings

__all__ = ["require_fit", "shows_all"]

BATCH_BYTES: Final = 1 << 20  # of the file, compared at once


# --- what a crash may have left -------------------------------------------------------------------


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
    if offset > MOST_OFFSET - SECTOR_BYTES or length > SECTOR_BYTES:
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
    data.read_runs(plain_runs(tables), now)
    there = sums_of(tables, now)
    before = b"".join([part[1] for part in batch])
    if there == before:  # none of the runs is new
        return {}
    written = b"".join([sums_of(part[0], found.payload(*part[2:])) for part in batch])
    if there == written:
        return {}
    doubtful: dict[tuple[int, int], bytes] = {}
    numbers = runs_of(tables)
    at = old = 0
    for offset, marked in zip(numbers[::2], numbers[1::2], strict=True):
        count = 4 * pieces_in(marked & LENGTH)
        if marked < NEW:
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
            length = marked & LENGTH
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
                elif marked < NEW and size == min(SECTOR_BYTES, offset + length - place):
                    number = sums + 4 * ((place - offset) // SECTOR_BYTES)
                    if sector_was(crc, before[number : number + 4]):
                        del left[place]
            at += length
            if marked < NEW:
                sums += 4 * pieces_in(length)
    return min(left, default=None)


def sector_is(crc: int, content: memoryview) -> bool:
    return crc32c(content) == crc


def sector_was(crc: int, before: bytes) -> bool:
    return crc.to_bytes(4, "little") == before


# --- what shows the committed state ---------------------------------------------------------------


def shows_all(found: Findings, data: File) -> bool:
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
            at += marked & LENGTH
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
            end = min(offset + (marked & LENGTH), whole)
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
