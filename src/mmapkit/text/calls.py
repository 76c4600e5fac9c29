"""What the functions that find have in common: their arguments, and how their parts adjoin."""

from __future__ import annotations

import operator
from contextlib import contextmanager

from mmapkit import _scan
from mmapkit.errors import MappingFault
from mmapkit.text.windows import size_of, windows

TYPE_CHECKING = False  # importing typing would cost more than all of this package
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    import numpy as np
    import numpy.typing as npt

    from mmapkit.mapping import Mapping
    from mmapkit.passes.progress import Report
    from mmapkit.text.windows import Crew

    Offsets = np.ndarray[tuple[int], np.dtype[np.int64]]
    type_of_text = bytes | bytearray | memoryview | Mapping | npt.NDArray[Any]
    type_of_needle = bytes | bytearray | memoryview | int

__all__ = ["Call", "Span", "adjoin", "bytes_of", "complete", "offsets_of"]


class Span:
    """Where something is looked for.

    Attributes
    ----------
    start, stop, end : int
        Occurrences start in [start, stop) and end by `end`.
    length : int
        Bytes of the whole text.
    """

    __slots__ = ("end", "length", "start", "stop")

    def __init__(self, text: Any, start: int | None, end: int | None, size: int) -> None:
        """Take a slice of the text, for occurrences of at least `size` bytes."""
        self.length = size_of(text)
        self.start, self.end, _ = slice(start, end).indices(self.length)
        self.stop = self.end - size + 1

    def windows(self, text: Any, progress: bool | Report) -> Iterator[tuple[int, int]]:
        """Give the ranges of starts, one after the other."""
        return windows(text, self.start, self.stop, end=self.end, progress=progress)


class Call(Span):
    """A literal that is looked for.

    Attributes
    ----------
    size : int
        Its bytes.
    needle : Needle
        It, where `is_trivial` is False.
    is_trivial : bool
        There is nothing to search: the answer is known.
    empty_fits : bool
        The empty needle is found.
    """

    __slots__ = ("empty_fits", "is_trivial", "needle", "size")

    def __init__(
        self, text: Any, sub: Any, start: int | None, end: int | None, ignore_case: bool
    ) -> None:
        """Check the arguments."""
        needle = bytes_of(sub)
        self.size = len(needle)
        super().__init__(text, start, end, self.size)
        # As in bytes.find: a start beyond the end is no place, even for nothing.
        beyond = start is not None and operator.index(start) > self.length
        self.empty_fits = not needle and self.start <= self.end and not beyond
        self.is_trivial = not needle or self.stop <= self.start
        if not self.is_trivial:
            self.needle = _scan.Needle(needle, ignore_case)


def bytes_of(sub: Any) -> bytes:
    """Return what is looked for as bytes; TypeError if it is none."""
    if isinstance(sub, bytes):
        return sub
    if isinstance(sub, str):
        raise TypeError(f"bytes are looked for, not str: give {sub[:40]!r}.encode()")
    # Arrays have an __index__, too, and of one dimension or more they are bytes.
    is_byte = hasattr(sub, "__index__") and getattr(sub, "ndim", 0) == 0
    if is_byte and not isinstance(sub, bool):
        value = operator.index(sub)
        if not 0 <= value <= 255:
            raise ValueError(f"a byte must be from 0 to 255, not {value}")
        return bytes((value,))
    try:
        return bytes(memoryview(sub))
    except TypeError:
        raise TypeError(f"bytes or a byte (int) are looked for, not {type(sub).__name__}") from None


def adjoin(
    part: Callable[[int, int, bytearray | None], tuple[Any, int, int]],
    call: Span,
    text: Any,
    crew: Crew,
    progress: bool | Report,
) -> Iterator[tuple[Any, int, int]]:
    """Give the results of parts (what was found, where first, where to go on) as one walk from left
    to right would have them: where an occurrence reaches across a seam and there is one that begins
    in it, the part beyond the seam is searched again, from where the first one ends."""
    at = call.start
    for first, last in call.windows(text, progress):
        first = max(first, at)
        if first >= last:
            continue
        for stop, result in crew.run(part, first, last):
            if 0 <= result[1] < at:
                result = part(min(at, stop), stop, None)
            at = max(at, result[2])
            yield result


@contextmanager
def complete(
    so_far: Callable[[], Any], join: Callable[[Any, Any], Any] | None = None
) -> Iterator[None]:
    """Let a MappingFault tell what was found in all parts before it, not only in the last one."""
    try:
        yield
    except MappingFault as error:
        found = so_far()
        error.found = found if join is None or error.found is None else join(found, error.found)
        raise


def offsets_of(numbers: _scan.Numbers) -> Offsets:
    """Return 8-byte numbers as an ndarray, without copying."""
    import numpy as np

    return np.frombuffer(memoryview(numbers), np.int64)
