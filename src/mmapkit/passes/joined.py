"""A pass over several files, one after the other, as one pass."""

from __future__ import annotations

import contextlib
import threading
from bisect import bisect_right
from itertools import accumulate

from mmapkit.passes.cuts import Steps
from mmapkit.passes.places import Place

TYPE_CHECKING = False  # importing typing would cost more than all of this package
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from mmapkit.passes.places import Loaded

__all__ = ["JoinedPlace", "JoinedSteps"]


class JoinedSteps(Steps):
    """The steps of several parts, one part after the other: no block crosses a seam.

    With an overlap, the first block of a part has the last rows of the parts before in front.
    """

    __slots__ = ("_parts", "_rows_before", "_steps_before", "overlap")

    def __init__(self, parts: Sequence[Steps], overlap: int) -> None:
        """Join the steps of parts."""
        self._parts, self.overlap = parts, overlap
        self._rows_before = list(accumulate((part.count for part in parts), initial=0))
        self._steps_before = list(accumulate((part.step_count for part in parts), initial=0))
        self.count, self.step_count = self._rows_before[-1], self._steps_before[-1]
        self.block_count = sum(part.block_count for part in parts)

    def place_of(self, step: int) -> tuple[int, int]:
        """Return the number of the part that a step belongs to, and of the step there."""
        part = bisect_right(self._steps_before, step) - 1
        return part, step - self._steps_before[part]

    def _in_all(self, part: int, first: int, last: int) -> tuple[int, int]:
        start = self._rows_before[part]
        repeated = min(self.overlap, start) if first == 0 else 0
        return start + first - repeated, start + last

    def blocks(self, step: int) -> Iterator[tuple[int, int]]:
        """First row, and one past the last, of each block of a step."""
        part, inner = self.place_of(step)
        return (self._in_all(part, *rows) for rows in self._parts[part].blocks(inner))

    def rows(self, step: int) -> tuple[int, int]:
        """First row, and one past the last, of a step."""
        part, inner = self.place_of(step)
        return self._in_all(part, *self._parts[part].rows(inner))


class JoinedPlace(Place):
    """The places of several parts; each is open while steps of it are under way."""

    def __init__(
        self,
        steps: JoinedSteps,
        counts: Sequence[int],
        begin: Callable[[int], Place],
        rows_before: Callable[[int], Any],
    ) -> None:
        """Pass over parts of so many steps each.

        `begin(part)` opens the place of one, and `rows_before(part)` copies the rows that its first
        block repeats; None for no rows.
        """
        self._steps, self._begin, self._rows_before = steps, begin, rows_before
        self._lock = threading.Lock()
        self._left = list(counts)  # steps of each part that are not passed yet
        self._open: dict[int, Place] = {}
        self._repeated: dict[int, Any] = {}

    def _at(self, step: int) -> tuple[Place, int, int]:
        """Return the place of a step, open; the number of its part; and of the step there."""
        part, inner = self._steps.place_of(step)
        with self._lock:
            if part not in self._open:
                self._open[part] = self._begin(part)
            return self._open[part], part, inner

    def scout(self, step: int) -> bool:
        """Look at what is resident of a step, and tell whether it has to be read."""
        place, _, inner = self._at(step)
        return place.scout(inner)

    def load(self, step: int, cold: bool) -> Loaded:
        """Bring a step in, and copy the rows that are repeated while they still are in memory."""
        place, part, inner = self._at(step)
        if inner == 0:
            self._repeated[part] = self._rows_before(part)
        return place.load(inner, cold)

    def blocks(self, step: int, loaded: Loaded) -> Iterator[Any]:
        """Iterate over a step's blocks; raises MappingFault when bytes were lost meanwhile."""
        place, part, inner = self._at(step)
        blocks = place.blocks(inner, loaded)
        repeated = self._repeated.pop(part, None) if inner == 0 else None
        if repeated is not None:
            import numpy as np

            yield np.concatenate([repeated, next(blocks)], dtype=repeated.dtype)
        yield from blocks

    def release(self, step: int, loaded: Loaded) -> None:
        """Take a step out of this process's memory; the page cache keeps it."""
        place, _, inner = self._at(step)
        place.release(inner, loaded)

    def passed(self, step: int) -> None:
        """Take what a step read in out of the page cache; close a place after its last step."""
        place, part, inner = self._at(step)
        place.passed(inner)
        with self._lock:
            self._left[part] -= 1
            if self._left[part]:
                return
            del self._open[part]
        place.close()

    def close(self) -> None:
        """Let everything go."""
        self._repeated.clear()
        with contextlib.ExitStack() as closing:
            while self._open:
                closing.callback(self._open.popitem()[1].close)
