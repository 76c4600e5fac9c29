"""Where blocks begin and end, and how the rows that they are made of lie in the file."""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing would cost more than all of this package
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from mmapkit.mapping import Mapping

__all__ = ["STEP_BYTES", "Cuts", "Lie", "Steps"]

# What is brought into memory at once: blocks that are smaller come in groups. Measured: from 4 MiB
# on, starting a step costs nothing beside the copying.
STEP_BYTES = 4 << 20


class Lie:
    """How rows lie in a file: of one byte each, or a row of an array.

    Attributes
    ----------
    start : int
        Offset in the file of the first row.
    pitch, width : int
        Bytes from one row to the next, and of one row.
    count : int
        Rows.
    make : callable
        ``make(mapping, offset, count)``: the view of rows that begin there in a mapping.
    cut : callable
        ``cut(view, i, j)``: rows i to j of such a view.
    """

    __slots__ = ("count", "cut", "make", "pitch", "start", "width")

    def __init__(
        self,
        start: int,
        pitch: int,
        width: int,
        count: int,
        make: Callable[[Mapping, int, int], Any],
        cut: Callable[[Any, int, int], Any],
    ) -> None:
        """Take the numbers as they are."""
        self.start, self.pitch, self.width, self.count = start, pitch, width, count
        self.make, self.cut = make, cut

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Offset in the file of the first byte of these rows, and one past the last."""
        if last <= first:
            return self.start, self.start
        return self.start + first * self.pitch, self.start + (last - 1) * self.pitch + self.width


class Steps:
    """A pass's rows cut into blocks, and blocks grouped into steps.

    Attributes
    ----------
    count, block_count, step_count : int
        How many rows, blocks and steps there are.
    """

    __slots__ = ("block_count", "count", "step_count")

    count: int
    block_count: int
    step_count: int

    def blocks(self, step: int) -> Iterator[tuple[int, int]]:
        """First row, and one past the last, of each block of a step."""
        raise NotImplementedError

    def rows(self, step: int) -> tuple[int, int]:
        """First row, and one past the last, of a step."""
        raise NotImplementedError


class Cuts(Steps):
    """The steps of rows that lie in one file.

    Block k begins at row ``k * (length - overlap)`` and has `length` rows, the last one what is
    left. Nothing but numbers, so that a pass may have any count of blocks.
    """

    __slots__ = ("length", "per_step", "stride")

    def __init__(self, count: int, length: int, overlap: int, pitch: int) -> None:
        """Cut `count` rows, `pitch` bytes apart."""
        self.count, self.length, self.stride = count, length, length - overlap
        left = max(0, count - length)
        self.block_count = min(1, count) + -(-left // self.stride)
        spare = (STEP_BYTES - length * pitch) // max(1, self.stride * pitch)
        self.per_step = max(1, 1 + spare)
        self.step_count = -(-self.block_count // self.per_step)

    def _block(self, index: int) -> tuple[int, int]:
        start = index * self.stride
        return start, min(start + self.length, self.count)

    def blocks(self, step: int) -> Iterator[tuple[int, int]]:
        """First row, and one past the last, of each block of a step."""
        first = step * self.per_step
        return map(self._block, range(first, min(first + self.per_step, self.block_count)))

    def rows(self, step: int) -> tuple[int, int]:
        """First row, and one past the last, of a step."""
        last = min((step + 1) * self.per_step, self.block_count) - 1
        return self._block(step * self.per_step)[0], self._block(last)[1]
