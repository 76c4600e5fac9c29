"""Literals in a mapping or any buffer: find, count, list, split."""

from __future__ import annotations

import operator

from mmapkit import _scan
from mmapkit.errors import MappingFault
from mmapkit.mapping import Mapping
from mmapkit.text.calls import Call, adjoin, complete, offsets_of
from mmapkit.text.windows import SMALL_BYTES, Crew, is_one_window, windows

TYPE_CHECKING = False  # importing typing would cost more than all of this package
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from mmapkit.passes.progress import Report
    from mmapkit.text.calls import Offsets, type_of_needle, type_of_text

__all__ = ["count", "find", "find_all", "rfind", "split"]

# What split() looks through at a time: enough for a call to be nothing, and soon there.
SPLIT_BYTES = 1 << 20


def find(
    text: type_of_text,
    sub: type_of_needle,
    start: int | None = None,
    end: int | None = None,
    *,
    ignore_case: bool = False,
    threads: int | None = 1,
    progress: bool | Report = False,
) -> int:
    """Return the offset of the first occurrence of `sub` in text[start:end], or -1.

    What `bytes.find` returns, at the speed of memory, without the GIL. Time is linear in the size
    of the text, whatever the needle. Ctrl-C is heard.

    Parameters
    ----------
    text : Mapping or bytes-like
        What is searched: a Mapping, or any object whose buffer is C-contiguous, as its bytes.
        Nothing is copied.
    sub : bytes-like or int
        What is looked for; an int is a byte. The empty one is found everywhere, as in `bytes.find`.
    start, end : int, optional
        The slice to search, by the rules of slices. Offsets count from the start of the text.
    ignore_case : bool
        Also find ASCII letters of the other case.
    threads : int or None
        How many share the work; None for one on each core. One is mostly enough for a memory bus.
    progress : bool or callable
        Called with the bytes done and the bytes in all from time to time; True draws a bar.

    Returns
    -------
    int
        Offset in bytes.

    Raises
    ------
    TypeError
        If `text` or `sub` is a str or has no buffer.
    ValueError
        If the mapping is closed, or becomes shorter while it is searched.
    MappingFault
        If bytes of the mapping were lost before something was found. `searched` is the offset up to
        which there is no occurrence.

    Examples
    --------
    >>> import mmapkit as mk
    >>> mk.find(b"say what you see", b"you")
    9
    """
    call = Call(text, sub, start, end, ignore_case)
    if call.is_trivial:
        return call.start if call.empty_fits else -1
    needle, stop, end = call.needle, call.stop, call.end
    crew = Crew(threads)
    if progress is False:
        # What is near is found before anything is asked about the rest.
        near = min(stop, call.start + SMALL_BYTES)
        found = _scan.find(text, needle, call.start, near, end)
        if found >= 0 or near == stop:
            return found
        call.start = near

    def part(first: int, last: int, interrupt: bytearray | None) -> int:
        return _scan.find(text, needle, first, last, end, interrupt)

    with complete(lambda: None), crew:
        for first, last in call.windows(text, progress):
            for _, found in crew.run(part, first, last):
                if found >= 0:
                    return int(found)
    return -1


def rfind(
    text: type_of_text,
    sub: type_of_needle,
    start: int | None = None,
    end: int | None = None,
    *,
    ignore_case: bool = False,
) -> int:
    """Return the offset of the last occurrence of `sub` in text[start:end], or -1.

    What `bytes.rfind` returns; runs from the end of the text. For parameters and errors see
    `find()`; `searched` of a MappingFault is the offset from which on there is no occurrence.
    """
    call = Call(text, sub, start, end, ignore_case)
    if call.is_trivial:
        return call.end if call.empty_fits else -1
    return _scan.rfind(text, call.needle, call.start, call.stop, call.end)


def count(
    text: type_of_text,
    sub: type_of_needle,
    start: int | None = None,
    end: int | None = None,
    *,
    ignore_case: bool = False,
    overlapping: bool = False,
    threads: int | None = 1,
    progress: bool | Report = False,
) -> int:
    """Return how often `sub` occurs in text[start:end].

    What `bytes.count` returns: occurrences are taken from the left, and the next one begins where
    the last one ended. With `overlapping`, all are counted. For the other parameters and errors see
    `find()`; `found` of a MappingFault is the count up to `searched`.

    Examples
    --------
    >>> import mmapkit as mk
    >>> mk.count(b"banana", b"ana"), mk.count(b"banana", b"ana", overlapping=True)
    (1, 2)
    """
    call = Call(text, sub, start, end, ignore_case)
    if call.is_trivial:
        return call.end - call.start + 1 if call.empty_fits else 0
    if call.needle.size == 1 and not call.needle.fold:
        return _count_byte(text, call, threads, progress)
    needle, end = call.needle, call.end
    if is_one_window(text, call.start, call.stop, threads, progress):
        return _scan.count(text, needle, call.start, call.stop, end, overlapping)[0]

    def part(first: int, last: int, interrupt: bytearray | None) -> tuple[int, int, int]:
        return _scan.count(text, needle, first, last, end, overlapping, interrupt)

    total = 0
    with complete(lambda: total, operator.add), Crew(threads) as crew:
        for found, _, _ in adjoin(part, call, text, crew, progress):
            total += found
    return total


def _count_byte(
    text: type_of_text, call: Call, threads: int | None, progress: bool | Report
) -> int:
    byte = call.needle.byte
    if is_one_window(text, call.start, call.stop, threads, progress):
        return _scan.count_byte(text, byte, call.start, call.stop)

    def part(first: int, last: int, interrupt: bytearray | None) -> int:
        return _scan.count_byte(text, byte, first, last, interrupt)

    total = 0
    with complete(lambda: total, operator.add), Crew(threads) as crew:
        for first, last in call.windows(text, progress):
            for _, found in crew.run(part, first, last):
                total += found
    return total


def find_all(
    text: type_of_text,
    sub: type_of_needle,
    start: int | None = None,
    end: int | None = None,
    *,
    ignore_case: bool = False,
    overlapping: bool = False,
    threads: int | None = 1,
    progress: bool | Report = False,
) -> Offsets:
    """Return the offsets of all occurrences of `sub` in text[start:end].

    As many as `count()` tells: from the left, without overlaps unless `overlapping`. For the other
    parameters and errors see `find()`; `found` of a MappingFault are the offsets up to `searched`.

    Returns
    -------
    ndarray of int64
        Offsets in bytes, ascending; 8 bytes for each, and no more memory than twice that.

    Examples
    --------
    >>> import mmapkit as mk
    >>> mk.find_all(b"to be or not to be", b"be").tolist()
    [3, 16]
    """
    import numpy as np

    call = Call(text, sub, start, end, ignore_case)
    if call.is_trivial:
        return np.arange(call.start, call.end + 1 if call.empty_fits else call.start)
    needle, end = call.needle, call.end

    def part(first: int, last: int, interrupt: bytearray | None) -> tuple[Any, int, int]:
        numbers, resume = _scan.find_all(text, needle, first, last, end, overlapping, interrupt)
        offsets = offsets_of(numbers)
        return offsets, int(offsets[0]) if len(offsets) else -1, resume

    parts: list[Offsets] = []

    def so_far() -> Offsets:
        return np.concatenate(parts) if len(parts) != 1 else parts[0]

    parts.append(np.empty(0, np.int64))
    with (
        complete(so_far, lambda a, b: np.concatenate([a, offsets_of(b)])),
        Crew(threads) as crew,
    ):
        if is_one_window(text, call.start, call.stop, threads, progress):
            offsets: Offsets = part(call.start, call.stop, None)[0]
            return offsets
        for found, _, _ in adjoin(part, call, text, crew, progress):
            if len(found):
                parts.append(found)
    if len(parts) == 2:  # the usual one: nothing is copied
        return parts[1]
    return so_far()


def split(
    text: type_of_text,
    sep: bytes | bytearray | memoryview,
    maxsplit: int = -1,
    *,
    views: bool = False,
) -> Iterator[Any]:
    """Iterate over the pieces of a text between separators, as `bytes.split(sep)` gives them.

    Parameters
    ----------
    text : Mapping or bytes-like
        What is split; it is looked through as far as the pieces are asked for.
    sep : bytes-like
        At least 1 byte.
    maxsplit : int
        Split so often; -1 for no limit.
    views : bool
        Give read-only memoryviews that keep the text's memory alive, and copy nothing.

    Yields
    ------
    bytes, or memoryview with `views`

    Raises
    ------
    ValueError
        If the separator is empty, or the mapping is closed.
    MappingFault
        If bytes of the mapping were lost; pieces before them have come.

    Examples
    --------
    >>> import mmapkit as mk
    >>> list(mk.split(b"12,,30", b","))
    [b'12', b'', b'30']
    """
    call = Call(text, sep, None, None, False)
    if call.is_trivial and not call.size:
        raise ValueError("empty separator")
    return _pieces(text, call, operator.index(maxsplit), views)


def _pieces(text: type_of_text, call: Call, limit: int, views: bool) -> Iterator[Any]:
    begin, at, end = 0, 0, call.end
    piece = _reader(text, views)
    for first, last in windows(text, 0, call.stop) if not call.is_trivial else ():
        at = max(at, first)
        while at < last and limit != 0:
            stop = min(last, at + SPLIT_BYTES)
            lost = None
            try:
                numbers, at = _scan.find_all(text, call.needle, at, stop, end)
            except MappingFault as fault:
                numbers, lost, fault.found = fault.found, fault, None
            for offset in memoryview(numbers):
                yield piece(begin, offset)
                begin = offset + call.needle.size
                limit -= 1
                if limit == 0:
                    break
            if lost is not None and limit != 0:
                raise lost
        if limit == 0:
            break
    yield piece(begin, end)


def _reader(text: Any, views: bool) -> Callable[[int, int], Any]:
    """How a piece is made of where it begins and ends."""
    if not views and isinstance(text, Mapping):
        return lambda begin, end: text.read(begin, end - begin)
    whole = memoryview(_scan.Plain(text)).toreadonly()
    return (
        (lambda begin, end: whole[begin:end])
        if views
        else (lambda begin, end: bytes(whole[begin:end]))
    )
