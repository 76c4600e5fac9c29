"""Several literals at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mmapkit import _scan
from mmapkit.text.calls import Span, adjoin, bytes_of, complete, offsets_of
from mmapkit.text.windows import Crew

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mmapkit.passes.progress import Report
    from mmapkit.text.calls import Offsets, type_of_needle, type_of_text

__all__ = ["find_any"]


def find_any(
    text: type_of_text,
    needles: Iterable[type_of_needle],
    start: int | None = None,
    end: int | None = None,
    *,
    ignore_case: bool = False,
    overlapping: bool = False,
    threads: int | None = 1,
    progress: bool | Report = False,
) -> tuple[Offsets, Offsets]:
    """Return where any of several literals occur in text[start:end], and which.

    One walk through the text finds them all. Occurrences are taken from the left, and the next one
    begins where the last one ended; of several that begin at one place, the one that comes first in
    `needles` counts: what ``re.finditer(b"|".join(map(re.escape, needles)), text)`` gives.

    Parameters
    ----------
    text : Mapping or bytes-like
        What is searched, without copying.
    needles : iterable of bytes-like or int
        What is looked for: any number of literals of at least 1 byte.
    start, end : int, optional
        The slice to search. Offsets count from the start of the text.
    ignore_case : bool
        Also find ASCII letters of the other case.
    overlapping : bool
        Every occurrence of each needle, by offset and then by the needle's index.
    threads, progress
        As for `find()`.

    Returns
    -------
    offsets, which : ndarray of int64
        Offsets in bytes, ascending, and for each the index of the needle that begins there.

    Raises
    ------
    TypeError
        If `needles` are no bytes, or are bytes instead of an iterable of them.
    ValueError
        If there are none, or one of them is empty; or the mapping is closed.
    MappingFault
        If bytes of the mapping were lost. `found` are the two arrays up to `searched`.

    Examples
    --------
    >>> import mmapkit as mk
    >>> offsets, which = mk.find_any(b"ham and eggs and spam", [b"spam", b"eggs", b"and"])
    >>> offsets.tolist(), which.tolist()
    ([4, 8, 13, 17], [2, 1, 2, 0])
    """
    literals = _literals(needles)
    span = Span(text, start, end, min(map(len, literals)))
    found: list[tuple[Offsets, Offsets]] = [(np.empty(0, np.int64), np.empty(0, np.int64))]

    def so_far() -> tuple[Offsets, Offsets]:
        if len(found) == 2:  # the usual one: nothing is copied
            return found[1]
        offsets, which = zip(*found, strict=True)
        return np.concatenate(offsets), np.concatenate(which)

    def join(before: tuple[Offsets, Offsets], last: Any) -> tuple[Offsets, Offsets]:
        offsets, which = (
            np.concatenate([a, offsets_of(b)]) for a, b in zip(before, last, strict=True)
        )
        return offsets, which

    if span.stop <= span.start:
        return so_far()
    wanted = _scan.Needles(literals, ignore_case)

    def part(first: int, last: int, interrupt: bytearray | None) -> tuple[Any, int, int]:
        offsets, which, resume = _scan.find_any(
            text, wanted, first, last, span.end, overlapping, interrupt
        )
        arrays = offsets_of(offsets), offsets_of(which)
        return arrays, int(arrays[0][0]) if len(offsets) else -1, resume

    with complete(so_far, join), Crew(threads) as crew:
        for arrays, _, _ in adjoin(part, span, text, crew, progress):
            if len(arrays[0]):
                found.append(arrays)
    return so_far()


def _literals(needles: Any) -> list[bytes]:
    if isinstance(needles, str | bytes | bytearray | memoryview):
        raise TypeError(
            f"needles are a list of bytes, not {type(needles).__name__}: put it into a list"
        )
    literals = [bytes_of(needle) for needle in needles]
    if not literals:
        raise ValueError("there is no needle to look for")
    if b"" in literals:
        raise ValueError(f"needle {literals.index(b'')} is empty: it would be found everywhere")
    return literals
