"""What one transaction wants written, between its end and the journal."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from mmapkit._journal import copy_runs, sector_checksums_of
from mmapkit.durable.runs import pairs

if TYPE_CHECKING:
    from mmapkit._native import Region
    from mmapkit.mapping import Mapping

__all__ = ["PIECE_BYTES", "Piece", "Staged"]

# What is copied at a time; a commit of more than one piece takes as many frames.
PIECE_BYTES: Final = 4 << 20


class Piece:
    """Runs of the file, their new bytes, and the checksums of what they replace."""

    __slots__ = ("before", "payload", "runs")

    def __init__(self, runs: array[int], payload: bytearray, before: bytes) -> None:
        self.runs = runs  # pairs of file offset and length
        self.payload = payload
        self.before = before


class Staged:
    """The changed runs of a private view; small ones are copied at once, so that the view may go."""

    def __init__(
        self, base: Mapping, view: Region, runs: bytes, size_before: int, size_after: int
    ) -> None:
        """Take what `changed_runs()` found, as offsets in the view."""
        self.base = base
        self.view = view
        self.size_before = size_before
        self.size_after = size_after
        self.released = False  # another transaction may have begun on top of it
        self.settled = False
        self.committed = False
        self.error: BaseException | None = None
        self._runs = list(_split(runs, base.size, min(size_after - base.offset, view.size)))
        self.nbytes = sum(length for _, length in self._runs)
        # A copy, because other threads may go on storing into the view.
        self._copy = self._copied(self._runs) if self.nbytes <= PIECE_BYTES else None

    @property
    def small(self) -> bool:
        """True if the view is not needed any more and the file keeps its size, so that another
        transaction may begin on top of this one."""
        return self._copy is not None and self.size_after == self.size_before

    def settle(self, error: BaseException | None) -> None:
        """It is written, or what was in the way is known."""
        self.settled, self.committed = True, error is None
        if error is not None and not isinstance(error, OSError):
            error = OSError(errno.ECANCELED, "the thread that wrote for all was interrupted")
        self.error = error

    @property
    def file_runs(self) -> list[tuple[int, int]]:
        """All runs, as offsets in the file."""
        return [(self.base.offset + offset, length) for offset, length in self._runs]

    def pieces(self) -> Iterator[Piece]:
        """What goes into the journal, frame by frame.

        The old bytes are looked at now: nobody else changes the file meanwhile, and transactions
        before this one may have.
        """
        if self._copy is not None:
            yield self._piece(self._runs, self._copy)
        else:
            for runs in _in_pieces(self._runs):
                yield self._piece(runs, self._copied(runs))

    def show(self, view: Mapping) -> None:
        """Store the changes into another private view of the same range or of another one."""
        assert self._copy is not None
        at = 0
        copy = memoryview(self._copy)
        shift = self.base.offset - view.offset
        for offset, length in self._runs:
            first, last = max(0, offset + shift), min(view.size, offset + shift + length)
            if first < last:
                skipped = first - offset - shift
                view[first:last] = copy[at + skipped : at + skipped + last - first]
            at += length

    def _copied(self, runs: list[tuple[int, int]]) -> bytearray:
        copy = bytearray(sum(length for _, length in runs))
        copy_runs(self.view, _flat(runs), copy)
        return copy

    def _piece(self, runs: list[tuple[int, int]], payload: bytearray) -> Piece:
        old = [run for run in runs if run[0] < self.base.size]
        before = sector_checksums_of(self.base, _flat(old)) if old else b""
        shifted = _flat([(self.base.offset + offset, length) for offset, length in runs])
        return Piece(shifted, payload, before)


def _flat(runs: list[tuple[int, int]]) -> array[int]:
    flat = array("q")
    for run in runs:
        flat.extend(run)
    return flat


def _split(runs: bytes, old_end: int, new_end: int) -> Iterator[tuple[int, int]]:
    """Cut runs where the file ended, and where it is going to end."""
    for offset, length in pairs(runs):
        last = min(offset + length, new_end)
        if offset < old_end < last:
            yield offset, old_end - offset
            offset = old_end
        if offset < last:
            yield offset, last - offset


def _in_pieces(runs: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Group runs so that each group has at most `PIECE_BYTES`, cutting long ones."""
    group: list[tuple[int, int]] = []
    room = PIECE_BYTES
    for offset, length in runs:
        while length:
            part = min(length, room)
            group.append((offset, part))
            offset, length, room = offset + part, length - part, room - part
            if not room:
                yield group
                group, room = [], PIECE_BYTES
    if group:
        yield group
