"""Arrays in a transaction: what growing.py does to the file, done to the private view of it.

Rows go into memory beyond the end of the file, and the header is rewritten in the view. The commit
makes both the file's at once, so that no order between them matters here, nobody has to be told,
and no blocks are allocated ahead.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NoReturn

from mmapkit.array import MappedArray, _Closed
from mmapkit.durable.view import PrivateMapping
from mmapkit.growing import PIECE_BYTES, Growth, checked_length

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mmapkit.formats.layout import Layout

__all__ = ["PrivateArray", "cut_tail", "follow_rows", "grows"]


class PrivateArray(MappedArray):
    """What `MappedArray.transaction()` gives: a MappedArray whose changes are the transaction's.

    It grows like any other; the file and the array that it was made from do so with the commit.
    """

    __slots__ = ("_origin",)

    mapping: PrivateMapping

    def __init__(self, origin: MappedArray, view: PrivateMapping) -> None:
        """See the view as the array that `origin` sees in the file."""
        self._origin = origin
        super().__init__(view, origin._layout, shared=origin._shared)

    def __repr__(self) -> str:
        """Show file, shape, dtype, and that it is a transaction's."""
        state = " has ended" if self.closed else ""
        return (
            f"<mmapkit.MappedArray {self.path!r} shape={self.shape} dtype={self.dtype} "
            f"transaction{state}>"
        )

    def __reduce__(self) -> NoReturn:
        """Refuse: another process would see the file, and not what the transaction changed."""
        raise TypeError("a transaction's array cannot be pickled: its changes are in this process")

    @property
    def closed(self) -> bool:
        """True after the end of the transaction."""
        return isinstance(self._view, _Closed)

    def _require_open(self) -> None:
        if self.closed:
            len(self)  # which says why

    def _growing(self) -> Growth:
        self._require_open()
        with self._lock:
            if self._growth is None:
                self._growth = _PrivateGrowth(self)
        return self._growth

    def close(self, *, defer: bool = False) -> None:
        """Refuse: the end of the transaction closes it."""
        self.mapping.close(defer=defer)

    def transaction(self, *args: Any, **options: Any) -> NoReturn:
        """Refuse: transactions do not nest."""
        self.mapping.transaction()

    def reading(self, *args: Any, **options: Any) -> NoReturn:
        """Refuse: nobody else sees or changes what is here."""
        self.mapping.reading()

    def snapshot(self, *args: Any, **options: Any) -> NoReturn:
        """Refuse: what is not committed is not in the file."""
        self.mapping.snapshot()

    def _hide(self) -> None:
        """End: let go of the view, which ends with the transaction."""
        ended: Any = _Closed(f"the transaction has ended ({self.path!r})")
        self._view = ended


def follow_rows(array: MappedArray) -> None:
    """Take in the rows that the file has by now, if the array is one that grows; views stay."""
    if grows(array):
        array.refresh()


def cut_tail(array: MappedArray) -> None:
    """Cut off what a killed writer left behind the rows, if the array is one that grows.

    With the lock for writing, while no commit is being applied: that makes the file longer before
    anybody counts its rows. Not on Windows: mapped files are not cut there, and no rows are added.
    """
    if os.name != "posix":
        return
    layout = array._layout
    if layout.format == "npy" and grows(array) and array.mapping._file_size() > layout.span[1]:
        array._growing().require_unchanged(array)


def grows(array: MappedArray) -> bool:
    """Tell whether the array could grow, and was the last thing in its file."""
    layout = array._layout
    if array._shared or not layout.shape or layout.strides is not None:
        return False
    if layout.order == "F" and len(layout.shape) > 1:
        return False
    if layout.format == "npy":
        return array.mapping.offset == 0
    return layout.format == "raw" and layout.span[1] == array.mapping.size


class _PrivateGrowth(Growth):
    """Growing in the view. The checks, the header and the rows are those of growing in the file."""

    __slots__ = ()

    _mapping: PrivateMapping

    def __init__(self, array: PrivateArray) -> None:
        super().__init__(array)
        self._preallocates = False

    def resize(self, array: MappedArray, length: int) -> None:
        length = checked_length(length)
        with array._lock:
            if length < self._prepare(array).shape[0]:
                raise ValueError(
                    f"a transaction does not make a file shorter, from {array.shape[0]} to {length}"
                    f" rows: resize() does, outside of it ({array.path!r})"
                )
            super().resize(array, length)

    def reserve(self, array: MappedArray, length: int) -> None:
        length = checked_length(length)
        with array._lock:
            layout = self._prepare(array)
            end = self._end_of(layout, length)
            self._head_with(layout, length)
            file_end = self._mapping._file_size()
            if end <= max(self._end, file_end):
                return
            # Whoever closes the array gives back what is not used; also what was had before a full
            # disk, for another thread's commit may be making the file longer now.
            growth = array._origin._growing()  # type: ignore[attr-defined]
            growth.note_allocated(end)
            self._mapping._allocate_file(file_end, end - file_end)

    def refresh(self, array: MappedArray) -> int:
        return len(array)

    def _prepare(self, array: MappedArray) -> Layout:
        array._require_open()
        mapping, layout = self._mapping, array._layout
        if mapping.faulted:
            mapping._raise_if_lost(0, mapping.size)
        if not self._checked:
            self._require_same(array, layout, mapping.offset + mapping._size_after)
            self._checked = True
        return layout

    def _head_now(self, count: int) -> bytes:
        return self._mapping.read(0, count)

    def _extend_by_zeros(self, start: int, end: int) -> None:
        pass  # what is beyond the end of the file is zeros

    def _add(
        self, array: MappedArray, pieces: Iterable[Any], at: int, end: int, head: bytes
    ) -> None:
        mapping = self._mapping
        offset, start = mapping.offset, self._end
        reached = start
        try:
            mapping._grow(end - offset)
            for piece in pieces:
                reached = at + piece.nbytes
                at += mapping.write(at - offset, piece)
        except BaseException:
            self._wipe(start, reached)
            raise
        # Bytes that nobody counts do no harm; rows that are not there would.
        mapping._size_after = max(mapping._size_after, end - offset)
        if self._header is not None:
            first, after = self._differing(head)
            mapping.write(first, head[first:after])
        self._head, self._foreign, self._end = head, False, end

    def _wipe(self, start: int, end: int) -> None:
        """Make rows zeros again that were not added after all: resize() promises zeros there."""
        offset = self._mapping.offset
        for at in range(start, end, PIECE_BYTES):
            self._mapping.write(at - offset, bytes(min(PIECE_BYTES, end - at)))
