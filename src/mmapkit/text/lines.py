"""Lines: where each line of a text begins, so that any of them is at hand by its number."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from mmapkit._lines import LineSequence, LineTable
from mmapkit._scan import Numbers, list_newlines
from mmapkit.errors import MappingFault
from mmapkit.mapping import Mapping
from mmapkit.text.stamps import Stamp, mtime_of
from mmapkit.text.windows import Crew, size_of, windows

if TYPE_CHECKING:
    import numpy.typing as npt

    from mmapkit.passes.progress import Report
    from mmapkit.text.calls import Offsets, type_of_text

    type_of_path = str | bytes | os.PathLike[str]

__all__ = ["Lines", "extend", "lines", "lines_of", "scan"]

# Offsets are kept by their low 32 bits.
WRAP_BYTES = 1 << 32


def lines(
    text: type_of_text,
    *,
    index: bool | type_of_path | None = None,
    views: bool = False,
    keepends: bool = False,
    threads: int | None = 1,
    progress: bool | Report = False,
) -> Lines:
    r"""Find where the lines of a text begin, so that each is at hand by its number.

    Reads the text once, at the speed of memory and without the GIL, and keeps 4 bytes for each
    line. Lines are not copied until they are asked for. A line ends at ``b"\n"``; one ``b"\r"``
    right before it belongs to the ending; the last line may lack its ending.

    Parameters
    ----------
    text : Mapping or bytes-like
        A Mapping, or any object whose buffer is C-contiguous, as its bytes.
    index : bool or path, optional
        Where the numbers are saved, to be there at once the next time: True for ``FILE.lines``
        beside the file of the mapping, or a path. They are used if the file has the size and the
        time of change that it had, and if its first and last bytes are the same; if it has only
        grown, what is new is read; otherwise all. Without it they are in memory only.
    views : bool
        Give lines as read-only memoryviews, without copying; each keeps the text's memory alive. By
        default as bytes.
    keepends : bool
        Leave their endings to the lines.
    threads : int or None
        How many share the work; None for one on each core.
    progress : bool or callable
        Called with the bytes done and the bytes in all from time to time; True draws a bar.

    Returns
    -------
    Lines

    Raises
    ------
    TypeError
        If `text` is a str or has no buffer.
    ValueError
        If the mapping is closed; with `index`, if it does not show a whole file as it is.
    FormatError
        If the file to which `index` leads is something else.
    OSError
        If the numbers cannot be saved to a path that was given. With ``index=True`` that is a
        `RuntimeWarning`.
    MappingFault
        If bytes of the mapping were lost. `found` are the Lines before.

    Examples
    --------
    >>> import mmapkit as mk
    >>> found = mk.lines(b"one\ntwo\r\n\nfour")
    >>> len(found), found[1], found[-1], list(found[:3])
    (4, b'two', b'four', [b'one', b'two', b''])
    """
    size = size_of(text)
    if index is None or index is False:
        mtime_ns = mtime_of(text)  # before it is read: a later change will be seen
        table = LineTable(text, *scan(text, 0, size, threads, progress))
        table.stamp = Stamp.of(text, size, mtime_ns)
    else:
        from mmapkit.text.index import open_index

        table = open_index(text, None if index is True else index, threads, progress)
    return lines_of(table, views, keepends)


class Lines(LineSequence):
    """Lines of a text, by number from 0: a sequence. Made by `lines()`.

    ``lines[i]`` is a line, ``lines[i:j]`` are Lines again, which copy nothing; iterating gives them
    one after the other. The text is not held open: once its mapping is closed, lines raise
    `ValueError`, and so do those that have changed since they were found. Every call may be made
    from any thread.

    Attributes
    ----------
    views, keepends : bool
        As they were given to `lines()`.
    """

    __slots__ = ()

    def __init__(self) -> None:
        """Refuse: lines are those of a text."""
        raise TypeError("Lines are made by mmapkit.lines() or Mapping.lines()")

    @property
    def text(self) -> Any:
        """The mapping, or what else the lines are of."""
        return self._table.text

    @property
    def offsets(self) -> Offsets:
        """Where the lines start, in bytes: a new array of int64, 8 bytes for each line."""
        starts = np.empty(len(self), np.int64)
        self._list_starts(starts)
        return starts

    @property
    def index_bytes(self) -> int:
        """Bytes in memory, or in the saved file, of the numbers for all lines of the text."""
        return self._table.index_bytes

    @overload
    def at_offset(self, offset: int) -> int: ...
    @overload
    def at_offset(self, offset: npt.NDArray[np.integer[Any]]) -> Offsets: ...
    def at_offset(self, offset: Any) -> Any:
        """Return which of these lines holds a byte, its ending included: its index, from 0.

        Parameters
        ----------
        offset : int or array of int
            In the text, in bytes. An array, such as `find_all()` returns, gives an array of int64.

        Raises
        ------
        IndexError
            If the offset is not inside of the text, or none of these lines holds it.
        """
        found = self._at(offset)
        if self._is_whole:
            return found
        mine = self._range
        if isinstance(found, int):
            if found not in mine:
                raise IndexError(
                    f"offset {offset} is in line {found} of the text, which is not among these"
                )
            return mine.index(found)
        index, rest = np.divmod(found - mine.start, mine.step)
        strange = (rest != 0) | (index < 0) | (index >= len(mine))
        if strange.any():
            raise IndexError(
                f"offset {np.asarray(offset)[strange][0]} is in line "
                f"{found[strange][0]} of the text, which is not among these"
            )
        return index

    @overload
    def line_number(self, offset: int) -> int: ...
    @overload
    def line_number(self, offset: npt.NDArray[np.integer[Any]]) -> Offsets: ...
    def line_number(self, offset: Any) -> Any:
        """Return the number of the line that holds a byte, as editors and grep count: from 1.

        It is the number in the whole text, also where these are only some lines of it. For the
        parameter see `at_offset()`.
        """
        return self._at(offset) + 1

    def _at(self, offset: Any) -> Any:
        if hasattr(offset, "__index__") and getattr(offset, "ndim", 0) == 0:
            number = operator.index(offset)
            if number < 0:
                raise IndexError(f"offset {number} is out of range: offsets count from the start")
            return self._table.line_at(number)
        wanted = np.asarray(offset)
        if wanted.dtype.kind not in "iu" and wanted.size:
            raise TypeError(f"offsets must be integers, not {wanted.dtype}")
        if wanted.dtype.kind == "u" and wanted.size and wanted.max() > np.iinfo(np.int64).max:
            raise IndexError(f"offset {wanted.max()} is out of range")
        wanted = np.ascontiguousarray(wanted, np.int64)
        found = np.empty(wanted.shape, np.int64)
        good = self._table.lines_at(wanted, found)
        if good < wanted.size:
            raise IndexError(
                f"offset {wanted.reshape(-1)[good]} is out of range for lines of "
                f"{self._table.size_bytes} bytes"
            )
        return found

    def refresh(self, *, threads: int | None = 1, progress: bool | Report = False) -> int:
        """Follow the text, which has grown or become shorter, and return how many lines there are.

        A mapping is refreshed first, see `Mapping.refresh`. Of a text that has grown, only what is
        new is read; a last line without a newline goes on there. Parts that were taken before keep
        their numbers.

        Raises
        ------
        BufferError
            If the mapping has to move, and there are views of it.
        """
        with self._table.renewing:
            self._renew(threads, progress)
        return len(self)

    def _renew(self, threads: int | None, progress: bool | Report) -> None:
        table = self._table
        text = table.text
        if isinstance(text, Mapping) and text._follows_file:
            text.refresh()
        size = size_of(text)
        if size == table.size_bytes:
            return
        mtime_ns = mtime_of(text)
        known = size > table.size_bytes and table.stamp.matches(text)
        try:
            if known:
                extend(table, size, threads, progress)
            else:
                table.replace(*scan(text, 0, size, threads, progress))
        except MappingFault as fault:
            if known:
                fault.found = self  # as they were
            raise
        table.stamp = Stamp.of(text, size, mtime_ns)

    def save(self, path: type_of_path | None = None) -> None:
        """Save where all lines of the text begin, for `lines(index=...)` to use.

        The file appears whole or not at all, and replaces one of that name if it is an index of
        lines, too.

        Parameters
        ----------
        path : path, optional
            ``FILE.lines`` beside the file of the mapping by default.

        Raises
        ------
        ValueError
            If the lines are not those of a whole file.
        FormatError
            If there is a file of that name that is something else.
        OSError
            If the file cannot be written.
        """
        from mmapkit.text.index import save_index

        save_index(self._table, path)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the text, a mapping by reference; lines are found anew, or in the saved index."""
        chosen = None if self._is_whole else self._range
        table = self._table
        return (_found_again, (table.text, table.origin, chosen, self.views, self.keepends))

    def __repr__(self) -> str:
        """Show how many, and of what."""
        text = self._table.text
        what = text.path if isinstance(text, Mapping) and text.path else type(text).__name__
        return f"<mmapkit.Lines {what!r}: {len(self)} lines>"


def lines_of(table: LineTable, views: bool = False, keepends: bool = False) -> Lines:
    """See a table as its lines."""
    made = Lines.__new__(Lines)
    made._begin(table, views, keepends)
    return made


def _found_again(
    text: Any, index: str | None, chosen: range | None, views: bool, keepends: bool
) -> Lines:
    """Unpickle."""
    found = lines(text, index=index, views=views, keepends=keepends)
    if chosen is None:
        return found
    if not chosen:
        return found[:0]
    if max(chosen[0], chosen[-1]) >= len(found):
        raise ValueError(f"the text has {len(found)} lines now: line {max(chosen)} is not there")
    stop = None if chosen.stop < 0 else chosen.stop
    return found[chosen.start : stop : chosen.step]


def extend(table: LineTable, stop: int, threads: int | None, progress: bool | Report) -> None:
    """Add the lines that end between the size that the text had and `stop`."""
    _, _, wraps, start = table.parts()
    all_wraps = Numbers(8)
    all_wraps.add(wraps)
    found = scan(table.text, start, stop, threads, progress, all_wraps, table.newline_count)
    table.extend(*found)


def scan(
    text: Any,
    start: int,
    stop: int,
    threads: int | None,
    progress: bool | Report,
    wraps: Numbers | None = None,
    before: int = 0,
) -> tuple[Numbers, Numbers, int]:
    """List where lines end in [start, stop); those that end `before` have these wraps.

    Returns the low bits of these offsets, the wraps of all lines, and `stop`.
    """
    ends = Numbers(4)
    wraps = Numbers(8) if wraps is None else wraps

    def part(first: int, last: int, interrupt: bytearray | None) -> Numbers:
        return list_newlines(text, first, last, interrupt)

    with Crew(threads) as crew:
        done = start
        try:
            for window in windows(text, start, stop, progress=progress):
                for first, last in _between_wraps(*window):
                    if (first + 1) % WRAP_BYTES == 0:
                        wraps.add(np.array([before + len(ends)]))
                    if crew.size == 1:
                        list_newlines(text, first, last, None, ends)
                        done = last
                        continue
                    for stopped, more in crew.run(part, first, last):
                        ends.add(more)
                        done = stopped
        except MappingFault as fault:
            if fault.searched is None:  # it was met on the way to the next window
                fault.searched = done
            elif isinstance(fault.found, Numbers) and fault.found is not ends:
                ends.add(fault.found)
            table = LineTable(text, ends, wraps, fault.searched)
            fault.found = lines_of(LineTable(text, ends, wraps, table.end))
            raise
    ends.trim()
    return ends, wraps, stop


def _between_wraps(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Cut a range where lines that end there would be the first of new high bits."""
    while start < stop:
        last = min(stop, (start + 1) // WRAP_BYTES * WRAP_BYTES + WRAP_BYTES - 1)
        yield start, last
        start = last
