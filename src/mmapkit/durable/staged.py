"""What one transaction wants written, between its end and the journal."""

from __future__ import annotations

import errno
from array import array
from typing import TYPE_CHECKING, Final

from mmapkit._journal import copy_runs, sector_checksums_of
from mmapkit.durable.frames import MOST_PAYLOAD_BYTES
from mmapkit.durable.journal import Commit
from mmapkit.durable.runs import split_runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mmapkit._native import Region
    from mmapkit.mapping import Mapping

__all__ = ["Staged"]

# What is copied at a time of a commit that is larger.
PIECE_BYTES: Final = MOST_PAYLOAD_BYTES


class Staged:
    """The changed runs of a private view.

    Up to `PIECE_BYTES` are copied at once: other threads may go on storing into the view, and the
    view may go. More is copied piece by piece on its way to the journal.

    Attributes
    ----------
    base : Mapping
        The mapping that the transaction is of; whole until this is settled.
    runs : array of int64
        Pairs of offset in the file and length.
    nbytes : int
        The sum of the lengths.
    size_before, size_after : int
        Bytes of the file.
    released : bool
        Whether another transaction may have begun on top of this one.
    settled, committed, error
        What became of it.
    """

    def __init__(
        self, base: Mapping, view: Region, runs: bytes, size_before: int, size_after: int
    ) -> None:
        """Take what `changed_runs()` found, as offsets in the view."""
        self.size_before = size_before
        self.size_after = size_after
        self.released = False
        self.settled = False
        self.committed = False
        self.error: OSError | None = None
        self.base = base
        self._view = view
        if base.offset or view.size > base.size:
            runs = _moved(runs, base.offset, size_after).tobytes()
        self.runs = array("q", split_runs(runs, size_before))
        self.nbytes = sum(self.runs[1::2])
        self._copy: bytearray | None = None
        if self.nbytes <= PIECE_BYTES:
            self._copy = self._copied(self.runs)

    @property
    def whole(self) -> bool:
        """True if all of it has been copied."""
        return self._copy is not None

    def settle(self, error: BaseException | None) -> None:
        """It is written, or what was in the way is known."""
        if error is not None and not isinstance(error, OSError):
            error = OSError(errno.ECANCELED, "the thread that wrote for all was interrupted")
        self.settled, self.committed, self.error = True, error is None, error

    def commit(self) -> Commit:
        """What the journal takes.

        The old bytes are looked at now: transactions before this one have been written, and nobody
        else changes the file meanwhile.
        """
        runs = self.runs
        old = runs
        if self.size_after > self.size_before:
            end = self.size_before
            old = array("q", [n for pair in _pairs(runs) if pair[0] < end for n in pair])
        before = sector_checksums_of(self.base, _moved(old, -self.base.offset)) if old else b""
        payload = self._pieces() if self._copy is None else self._copy
        return Commit(runs.tobytes(), payload, before, self.size_after, self.nbytes)

    def payload(self) -> bytearray:
        """The new bytes of all runs, one run's after the other's, if it is whole."""
        assert self._copy is not None
        return self._copy

    def show(self, view: Mapping) -> None:
        """Store the changes into another private view, of the same range or of another one."""
        at = 0
        copy = memoryview(self.payload())
        for offset, length in _pairs(self.runs):
            place = offset - view.offset
            first, last = max(0, place), min(view.size, place + length)
            if first < last:
                view[first:last] = copy[at + first - place : at + last - place]
            at += length

    def _copied(self, runs: array[int]) -> bytearray:
        copy = bytearray(sum(runs[1::2]))
        copy_runs(self._view, _moved(runs, -self.base.offset), copy)
        return copy

    def _pieces(self) -> Iterator[bytearray]:
        for offset, length in _pairs(self.runs):
            for first in range(0, length, PIECE_BYTES):
                part = min(PIECE_BYTES, length - first)
                yield self._copied(array("q", (offset + first, part)))


def _pairs(runs: array[int]) -> Iterator[tuple[int, int]]:
    numbers = iter(runs)
    return zip(numbers, numbers, strict=True)


def _moved(runs: bytes | array[int], by: int, end: int | None = None) -> array[int]:
    """The same runs counted from elsewhere; what lies past an end is left out."""
    if not by and end is None and isinstance(runs, array):
        return runs
    moved = array("q", runs) if isinstance(runs, bytes) else runs[:]
    if by:
        for at in range(0, len(moved), 2):
            moved[at] += by
    if end is not None:
        while moved and moved[-2] >= end:
            del moved[-2:]
        if moved:
            moved[-1] = min(moved[-1], end - moved[-2])
    return moved
