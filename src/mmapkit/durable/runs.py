"""Runs of bytes of a file that a commit changes: as they are given, cut, and in a journal."""

from __future__ import annotations

import struct
import sys
from itertools import pairwise

from mmapkit._journal import sector_checksums

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    Buffer = bytes | bytearray | memoryview

__all__ = [
    "LENGTH",
    "NEW",
    "SECTOR_BYTES",
    "pieces_in",
    "plain_runs",
    "runs_of",
    "split_runs",
    "sums_of",
    "table_of",
]

SECTOR_BYTES: Final = 512  # what a disk writes whole or not at all, at least
NEW: Final = 1 << 32  # flag of a run, beside its length: bytes that the file did not have before
LENGTH: Final = NEW - 1  # the length of a run, without the flag


def split_runs(runs: Buffer, old_size: int) -> bytes:
    """Cut runs so that a journal can hold them.

    Where one crosses the old end of the file; and after its first sector where it does not begin at
    one, so that checksums are of whole sectors of the file, which disks do not tear.

    Parameters
    ----------
    runs : buffer of int64 pairs
        Offset in the file and length; ascending, not overlapping.
    old_size : int
        Bytes of the file before the commit.

    Returns
    -------
    bytes
        The same bytes of the file, as int64 pairs.
    """
    pairs = memoryview(runs).cast("B").cast("q")
    count = len(pairs)
    if not count:
        return b""
    end = pairs[count - 2] + pairs[count - 1]
    if end <= old_size and not any(offset & 511 for offset in pairs[::2]):
        return bytes(runs)
    found: list[int] = []
    for at in range(0, count, 2):
        offset, length = pairs[at], pairs[at + 1]
        cuts = {offset, offset + length}
        for cut in (-(-offset // SECTOR_BYTES) * SECTOR_BYTES, old_size):
            if offset < cut < offset + length:
                cuts.add(cut)
                # What follows the old end begins anew.
                after = -(-cut // SECTOR_BYTES) * SECTOR_BYTES
                if offset < after < offset + length:
                    cuts.add(after)
        ordered = sorted(cuts)
        for first, last in pairwise(ordered):
            found += (first, last - first)
    return struct.pack(f"={len(found)}q", *found)


def _little_endian(runs: bytes) -> bytes:
    if sys.byteorder == "little":
        return runs
    from array import array

    numbers = array("q", runs)
    numbers.byteswap()
    return numbers.tobytes()


def table_of(runs: bytes, old_size: int) -> bytes:
    """Return the run table of a frame: pairs as they are, with NEW above the lengths that are."""
    pairs = memoryview(runs).cast("q")
    count = len(pairs)
    if not count or pairs[count - 2] < old_size:  # the last one is not new: none is
        return _little_endian(runs)
    return struct.pack(
        f"<{count}q",
        *(
            value | NEW if at % 2 and pairs[at - 1] >= old_size else value
            for at, value in enumerate(pairs)
        ),
    )


def runs_of(table: Buffer) -> tuple[int, ...]:
    """Return offset, length, offset, length, ... of a run table; NEW is set in some lengths."""
    return struct.unpack(f"<{len(memoryview(table)) // 8}Q", table)


def plain_runs(table: bytes) -> bytes:
    """Return a run table as pairs of int64, without flags."""
    numbers = runs_of(table)
    if max(numbers[1::2]) < NEW and sys.byteorder == "little":
        return table
    plain = (number & LENGTH if at % 2 else number for at, number in enumerate(numbers))
    return struct.pack(f"={len(numbers)}q", *plain)


def pieces_in(length: int) -> int:
    """How many checksums a run has: its pieces end where sectors of the file do."""
    return (length + SECTOR_BYTES - 1) // SECTOR_BYTES


def sums_of(table: Buffer, data: Buffer) -> bytes:
    """Return the checksums of all pieces of all runs, whose bytes lie one after the other."""
    if len(table) == 16:  # one run
        return sector_checksums(data)
    numbers = runs_of(table)
    lengths = [marked & LENGTH for marked in numbers[1::2]]
    if not any(length % SECTOR_BYTES for length in lengths[:-1]):
        return sector_checksums(data)
    view = memoryview(data)
    found = []
    at = 0
    for length in lengths:
        found.append(sector_checksums(view[at : at + length]))
        at += length
    return b"".join(found)
