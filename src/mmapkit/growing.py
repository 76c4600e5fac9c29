"""Arrays that grow while others read them: append, resize, reserve, refresh, follow.

How a row gets into a file, so that `numpy.load` reads the file at every instant:

1. Rows are written past the end of the data, into blocks that were allocated ahead. Nobody counts
   them yet. A full disk is an error here; the file is cut back to where it ended.
2. The mapping is extended in place, so that views stay where they are.
3. The length in the header is rewritten by one positioned write of the aligned words that differ:
   8 bytes, or 16 when a carry reaches the upper word (formats/npy.py). A signal, SIGKILL included,
   does not interrupt a write to a regular file that lies in one page (signal(7), "Interruption of
   system calls": such calls on a disk do not block), and Linux copies aligned words whole.
   Not by a store into the mapping: on filesystems that copy on write that could meet a full disk,
   as a fault instead of an error; and others would see it later than the rows where mapped and
   written bytes go different ways, as in FUSE and network filesystems.

A writer that is killed leaves rows that nobody counts: a tail, which the next one cuts. Readers map
what the header promises and never the tail. A raw file has no header: its size is the count.

One process writes, any number read. A second writer is noticed by the header that the first did not
write, not kept out.
"""

from __future__ import annotations

import contextlib
import errno
import math
import operator
import os
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from mmapkit.array import MappedArray
from mmapkit.errors import FormatError, MappingFault, UnsupportedError
from mmapkit.formats import Source, npy
from mmapkit.formats.layout import Layout
from mmapkit.mapping import Descriptor
from mmapkit.mapping import open as open_mapping
from mmapkit.views import MAX_BYTES

if TYPE_CHECKING:
    from mmapkit.mapping import Mapping

__all__ = ["Growth", "checked_length", "checked_rows", "follow"]

# Blocks are allocated ahead by half of what there is, within these bounds.
LEAST_AHEAD_BYTES: Final = 1 << 20
MOST_AHEAD_BYTES: Final = 256 << 20
# Addresses that a mapping sets aside when it first grows; they cost nothing else.
GENEROUS_BYTES: Final = 64 << 30
# What is converted or copied from file to file at a time.
PIECE_BYTES: Final = 8 << 20
# A header that makes no sense may be half of two, where a filesystem copies no words.
READINGS: Final = 5
READING_PAUSE_S: Final = 0.001
NOTHING: Final = b""


class Growth:
    """What one array has to remember between growing or following: the file as it was last seen."""

    __slots__ = (
        "_allocated",
        "_checked",
        "_end",
        "_foreign",
        "_head",
        "_header",
        "_later",
        "_mapping",
        "_owner",
        "_preallocates",
        "_reserved",
        "_room_bytes",
        "_row_bytes",
    )

    def __init__(self, array: MappedArray) -> None:
        """Start; ValueError if the array does not lie in its file so that it could grow."""
        layout, mapping = array._layout, array.mapping
        alone = layout.format == "raw" or (layout.format == "npy" and mapping.offset == 0)
        if array.path is None and mapping.backend == "memory":
            raise ValueError("the array was loaded into memory: there is no file that could grow")
        if array._shared or not alone:
            raise ValueError(
                f"{array.path!r} holds more than one array: only one in a .npy or raw file grows"
            )
        if not layout.shape:
            raise ValueError(f"the array in {array.path!r} has no axis along which it could grow")
        if layout.order == "F" and len(layout.shape) > 1:
            raise ValueError(
                f"the array in {array.path!r} is Fortran-ordered: its rows do not lie together, "
                "and it cannot grow along the first axis"
            )
        if layout.strides is not None:
            raise ValueError(f"the array in {array.path!r} has strides: it cannot grow")
        self._mapping = mapping
        self._room_bytes = mapping._capacity  # up to which it grows in place
        self._end = mapping.offset + layout.span[1]  # of the data, in the file
        self._row_bytes = math.prod(layout.shape[1:]) * layout.dtype.itemsize
        self._later: Any = _Later(array)
        self._checked = False  # that the file is as the array was opened
        self._head = b""  # the .npy header that belongs to the array's layout, once seen
        self._header: npy.Header | None = None  # how it is written
        self._foreign = False  # it stands in the file in another way yet
        self._allocated = 0  # blocks are there up to here, perhaps past the end of the file
        self._reserved = 0  # and reserve() asked for them up to here
        self._preallocates = not mapping._sparse
        self._owner = 0  # the process that allocated

    # --- growing ----------------------------------------------------------------------------

    def append(self, array: MappedArray, rows: npt.ArrayLike) -> int:
        """See `MappedArray.append`."""
        layout = array._layout
        found = checked_rows(rows, layout, self._mapping.path)
        pieces = _pieces(found, layout.dtype)
        with array._lock:
            if self._mapping.faulted or array.closed or not self._checked:
                self._prepare(array)
            layout = array._layout
            length = layout.shape[0] + len(found)
            if length > layout.shape[0]:
                end = self._end_of(layout, length)
                head = self._head_with(layout, length)
                if end > self._allocated and self._preallocates and end > self._end:
                    self._allocate_ahead(self._end, end)
                try:
                    self._add(array, pieces, self._end, end, head)
                except OSError:
                    if isinstance(found, MappedArray):
                        found.mapping.check()  # a source that was truncated says EFAULT
                    raise
                self._show_later(array, layout, length)
            return length

    def resize(self, array: MappedArray, length: int) -> None:
        """See `MappedArray.resize`."""
        length = checked_length(length)
        with array._lock:
            layout = self._prepare(array)
            end = self._end_of(layout, length)
            head = self._head_with(layout, length)
            if length > layout.shape[0]:
                if end > self._end:
                    self._extend_by_zeros(self._end, end)
                self._add(array, (), end, end, head)
                self._show_later(array, layout, length)
            elif length < layout.shape[0]:
                self._reshape(array, layout, length, lambda: self._cut(end, head))
                self._end = end

    def reserve(self, array: MappedArray, length: int) -> None:
        """See `MappedArray.reserve`."""
        length = checked_length(length)
        with array._lock:
            layout = self._prepare(array)
            end = self._end_of(layout, length)
            if end <= self._end:
                return
            self._head_with(layout, length)
            if end > self._reserved:
                self._allocate(self._end, end)
                self._reserved = end
            size = end - self._mapping.offset
            if size > self._room_bytes:
                self._swap(array, self._mapping.size, room=size)

    def require_unchanged(self, array: MappedArray) -> None:
        """Raise what `append()` would, if somebody else has changed the file or it cannot grow."""
        with array._lock:
            self._prepare(array)

    def _prepare(self, array: MappedArray) -> Layout:
        """See that nobody else has changed the file, and have it end where the array does; the lock
        is held."""
        array._require_open()
        mapping, layout = self._mapping, array._layout
        if mapping.faulted:
            mapping._raise_if_lost(0, mapping.size)
        if mapping.mode in ("r", "c"):
            raise TypeError(
                f"cannot grow {array.path!r}: it was opened with mode {mapping.mode!r}; open it "
                "with mode 'r+'"
            )
        size = mapping._file_size()
        if size < self._end:
            mapping.check()
            raise self._changed(array)
        self._require_same(array, layout, size)
        if size > self._end:  # a killed writer's
            if mapping.size > self._end:
                self._swap(array, self._end)
            self._mapping._resize_file(size, self._end)
        self._checked = True
        return layout

    def _require_same(self, array: MappedArray, layout: Layout, file_bytes: int) -> None:
        if layout.format == "npy":
            self._compare_header(array, layout, file_bytes)
        elif file_bytes > self._end:
            raise ValueError(
                f"{array.path!r} has {file_bytes - self._end} bytes after the array of shape "
                f"{layout.shape}: refresh() takes whole rows in; the rest has to be cut off before "
                "the array can grow"
            )

    def _head_now(self, count: int) -> bytes:
        return self._mapping._peek(count)

    def _compare_header(self, array: MappedArray, layout: Layout, file_bytes: int) -> None:
        head = self._head_now(layout.offset)
        if not self._head:
            found = _layout_in(head, file_bytes, array.path)
            if found != layout:
                raise self._changed(array)
            self._head = head
        elif head != self._head:
            raise self._changed(array)
        if self._header is None:
            self._header = self._laid_out(layout, layout.shape[0])
            self._foreign = self._header.with_length(layout.shape[0]) != head

    def _end_of(self, layout: Layout, length: int) -> int:
        """Where so many rows end in the file; ValueError if no file can hold them."""
        end = self._mapping.offset + layout.offset + length * self._row_bytes
        if length > MAX_BYTES or end > MAX_BYTES:
            raise ValueError(
                f"{self._mapping.path!r} cannot have {length} rows of {self._row_bytes} bytes: "
                f"files and arrays end at byte {MAX_BYTES}"
            )
        return end

    def _changed(self, array: MappedArray) -> OSError:
        return OSError(
            errno.ESTALE,
            "another process changed the array in the file: nothing was written; refresh() takes "
            "its rows in",
            array.path,
        )

    def _head_with(self, layout: Layout, length: int) -> bytes:
        """The header for a length; ValueError before anything is written."""
        if self._header is None:
            return NOTHING
        try:
            return self._header.with_length(length)
        except ValueError:  # a field of more words, if there is room for it
            self._header, self._foreign = self._laid_out(layout, length), True
            return self._header.with_length(length)

    def _laid_out(self, layout: Layout, length: int) -> npy.Header:
        try:
            version = self._head[6], self._head[7]
            return npy.growing_header(_with_rows(layout, length), version)
        except ValueError as error:
            raise ValueError(f"{self._mapping.path!r} cannot grow: {error}") from None

    def _add(
        self, array: MappedArray, pieces: Iterable[Any], at: int, end: int, head: bytes
    ) -> None:
        """Write pieces to the end of the file, which is at `at`; show them to this process, then
        tell everybody."""
        offset = self._mapping.offset
        start, size = self._end, end - offset
        last: Any = NOTHING
        try:
            if size > self._room_bytes:
                self._swap(array, start - offset, room=size)
            in_place = size <= self._room_bytes  # False where no addresses can be set aside
            for piece in pieces:
                if at == start and (last is not NOTHING or not in_place):
                    self._prepare(array)  # _append() looks at the file itself, but it comes last
                if last is not NOTHING:
                    at += self._mapping._write_file(at, last)
                last = piece
            if not in_place:
                at += self._mapping._write_file(at, last)
                last = NOTHING
                self._swap(array, size)
            first, after = self._differing(head)
            stood = self._mapping._append(at, last, size, self._head, head, first, after)
        except BaseException:
            self._checked = False
            if self._mapping.size <= start - offset:  # else the tail goes another time
                self._cut_back(start)
            raise
        if not stood:
            self._checked = False
            self._prepare(array)
            raise self._changed(array)
        if self._mapping.backend == "read":  # whose copy of the page is written back one day
            self._mapping.write(first, head[first:after])
        self._head, self._foreign, self._end = head, False, end

    def _differing(self, head: bytes) -> tuple[int, int]:
        """The part of the header that a new one changes."""
        if self._header is None or self._foreign:
            return 0, len(head)
        return self._header.differing(self._head, head)

    def _require_no_views(self) -> None:
        mapping = self._mapping
        count = mapping._views_left()
        if count:
            views = "view is" if count == 1 else "views are"
            raise BufferError(f"cannot cut {mapping.path!r}: {count} {views} alive; release them")

    def _cut(self, end: int, head: bytes) -> None:
        """Make the file shorter; first nobody counts the rows any more, then they go."""
        old_head, mapping = self._head, self._mapping
        if self._header is not None:
            self._require_no_views()  # resize() would find out after the header has changed
            first, last = self._differing(head)
            mapping._write_file(first, head[first:last])
        try:
            mapping.resize(end - mapping.offset)
        except BaseException:
            if self._header is not None:
                mapping._write_file(first, old_head[first:last])
            raise
        if self._header is not None:
            if mapping.backend == "read":
                mapping.write(first, head[first:last])
            self._head, self._foreign = head, False
        self._allocated = self._reserved = 0

    # --- blocks -----------------------------------------------------------------------------

    def _allocate_ahead(self, start: int, end: int) -> None:
        """Take blocks up to `end` and, so that this is rare, some beyond."""
        ahead = min(max(end // 2, LEAST_AHEAD_BYTES), MOST_AHEAD_BYTES)
        try:
            try:
                self._allocate(start, end + ahead)
            except UnsupportedError:
                raise
            except OSError:  # that much is not to be had
                self._allocate(start, end)
        except UnsupportedError:
            self._preallocates = False

    def _allocate(self, start: int, end: int) -> None:
        try:
            self._mapping._allocate_file(start, end - start)
        except UnsupportedError:
            raise
        except OSError:
            self._cut_back(start)  # what it got before it failed
            raise
        self.note_allocated(end)

    def note_allocated(self, end: int) -> None:
        """Remember blocks, which `give_back()` frees if they are not used until then."""
        self._allocated = max(self._allocated, end)
        self._owner = os.getpid()

    def _cut_back(self, end: int) -> None:
        """After an error: no tail, and no blocks but those that were asked for."""
        # What went wrong is worth telling, and a tail that stays is cut another time.
        with contextlib.suppress(OSError, ValueError):
            if self._mapping._file_size() < end:  # truncated: this must not hide it
                return
            if self._head and self._mapping._peek(len(self._head)) != self._head:
                return  # those rows are another writer's
            self._mapping._resize_file(end, end)
            self._allocated = end
            if self._reserved > end:
                self._mapping._allocate_file(end, self._reserved - end)
                self._allocated = self._reserved

    def _extend_by_zeros(self, start: int, end: int) -> None:
        try:
            self._mapping._resize_file(start, end)
        except BaseException:
            self._cut_back(start)
            raise
        self._allocated = max(self._allocated, end)

    def give_back(self) -> None:
        """Free the blocks past the end of the file; for closing."""
        # Not in a child that was forked meanwhile, nor where another writer has been.
        if self._allocated <= self._end or self._owner != os.getpid():
            return
        with contextlib.suppress(OSError, ValueError):
            if self._mapping._file_size() == self._end:
                self._mapping._resize_file(self._end, self._end)
        self._allocated = self._reserved = 0

    def __del__(self) -> None:
        """Do so for an array that nobody closed."""
        # At the interpreter's end the module's names may be gone before the array.
        if hasattr(self, "_owner") and os is not None:
            self.give_back()

    # --- the mapping ------------------------------------------------------------------------

    def _reach(self, array: MappedArray, end: int) -> None:
        """Have a mapping that ends where the data does: in place, or else another one."""
        size = end - self._mapping.offset
        if size == self._mapping.size:
            return
        if size <= self._room_bytes:
            try:
                self._mapping._fit(size)
                return
            except BufferError:  # longer than the data was, with views that saw a tail
                pass
        self._swap(array, size)

    def _swap(self, array: MappedArray, size: int, room: int = 0) -> None:
        """Map the same file again, with addresses to grow into; views keep the old mapping."""
        old = self._mapping
        if old.backend == "read" and old.writable:
            old.flush(level="os")
        new = _reopened(old, size, max(room, size))
        if old._ledger is not None:  # there were transactions, which closing the array ends
            old._ledger.move(old, new)
        self._mapping, self._room_bytes = new, new._capacity
        array._show(new, array._layout)
        # Not closed: another thread, or a pass, may be using it. It goes with its last user.

    def _reshape(
        self, array: MappedArray, layout: Layout, length: int, change: Callable[[], None]
    ) -> None:
        """Show other rows after a change of the mapping that needs that nobody is looking."""
        self._later.cutting = True
        array._view = self._later
        try:
            change()
        except BaseException:
            length = layout.shape[0]
            raise
        finally:
            self._later.cutting = False
            self._room_bytes = self._mapping._capacity
            array._show(self._mapping, _with_rows(layout, length))

    def _show_later(self, array: MappedArray, layout: Layout, length: int) -> None:
        """Make the view when somebody looks: who appends only does not."""
        array._layout = _with_rows(layout, length)
        array._view = self._later

    # --- following --------------------------------------------------------------------------

    def refresh(self, array: MappedArray) -> int:
        """See `MappedArray.refresh`."""
        with array._lock:
            array._require_open()
            if self._mapping.faulted:
                with contextlib.suppress(MappingFault):  # again below, if it is still true
                    self._mapping.recover()
            layout = array._layout
            length, head = self._length_now(array, layout)
            if length != layout.shape[0]:
                end = self._end_of(layout, length)
                size = end - self._mapping.offset
                # In mode "c" there is memory that no other mapping of the file would show.
                if length > layout.shape[0] and self._mapping.mode != "c":
                    self._reach(array, end)
                    self._show_later(array, layout, length)
                else:
                    self._reshape(array, layout, length, lambda: self._fit(layout, length, size))
                self._end = end
            if head != self._head:
                self._head, self._header, self._checked = head, None, False
            if self._mapping.faulted:
                self._mapping.recover()
            return length

    def _fit(self, layout: Layout, length: int, size: int) -> None:
        if length < layout.shape[0]:
            self._require_no_views()
        self._mapping._fit(size)

    def _length_now(self, array: MappedArray, layout: Layout) -> tuple[int, bytes]:
        """How many rows the file has, and the header that says so; FormatError if they are not
        those of this array any more."""
        if layout.format == "raw":
            inside = self._mapping._file_size() - self._mapping.offset - layout.offset
            row = self._row_bytes
            return (max(inside, 0) // row if row else layout.shape[0]), b""
        before = None
        for reading in range(READINGS):
            head = self._mapping._peek(layout.offset)
            if head == self._head and self._mapping._file_size() >= self._end:
                return layout.shape[0], head
            try:
                found = _layout_in(head, self._mapping._file_size(), array.path)
                if found is None:
                    raise FormatError(f"{array.path!r} is not a .npy file any more")
                if found._replace(shape=layout.shape) != layout or (
                    found.shape[1:] != layout.shape[1:]
                ):
                    raise FormatError(
                        f"{array.path!r} held {layout.dtype} of shape {layout.shape} and holds "
                        f"{found.dtype} of shape {found.shape} now: open it again"
                    )
            except FormatError:
                if reading == READINGS - 1:
                    raise
            else:
                if found.shape[0] >= layout.shape[0] or head == before:
                    return found.shape[0], head
            before = head
            time.sleep(READING_PAUSE_S)
        raise FormatError(f"{array.path!r}: the header does not come to rest")


class _Later:
    """Stands in for an array's view: whoever looks first makes it, or waits while it is cut."""

    def __init__(self, array: MappedArray) -> None:
        self._array = weakref.ref(array)  # which holds this
        self.cutting = False

    def _made(self) -> Any:
        array = self._array()
        if array is None:
            raise ValueError("the array is gone")
        with array._lock:
            view: Any = array._view
            if view is self:
                if self.cutting:  # in a signal handler of the thread that cuts
                    raise BufferError(f"the array in {array.path!r} is being cut")
                array._show(array.mapping, array._layout)
            return array._view

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made(), name)

    def __getitem__(self, key: Any) -> Any:
        return self._made()[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._made()[key] = value

    def __len__(self) -> int:
        return len(self._made())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._made())


def follow(
    array: MappedArray, poll_s: float, timeout_s: float | None, start: int | None
) -> Iterator[npt.NDArray[Any]]:
    """See `MappedArray.follow`."""
    if not 0 < poll_s < math.inf:
        raise ValueError(f"poll_s must be a positive number of seconds, not {poll_s!r}")
    if timeout_s is not None and not timeout_s >= 0:
        raise ValueError(f"timeout_s must be a number of seconds or None, not {timeout_s!r}")
    at = len(array) if start is None else operator.index(start)
    if at < 0:
        at = max(0, len(array) + at)
    return _news(array, at, poll_s, math.inf if timeout_s is None else timeout_s)


def _news(
    array: MappedArray, at: int, poll_s: float, timeout_s: float
) -> Iterator[npt.NDArray[Any]]:
    seen, deadline = 0, time.monotonic() + timeout_s
    while True:
        length = array.refresh()
        if length < seen:  # cut: what comes after that is new
            at = min(at, length)
        seen = length
        if length > at:
            yield array[at:length]
            at, deadline = length, time.monotonic() + timeout_s
            continue
        left = deadline - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(poll_s, left))


# --- parts ----------------------------------------------------------------------------------------


def _layout_in(head: bytes, file_bytes: int, path: str | None) -> Layout | None:
    """What a file's head says, if it is that of a .npy file of so many bytes."""

    def read(count: int, offset: int) -> bytes:
        return head[offset : offset + count]

    return npy.read_layout(Source(read, file_bytes, path))


def _with_rows(layout: Layout, length: int) -> Layout:
    dtype, shape, order, offset, _, kind = layout
    # By twice as fast a way than Layout(...): this is done for each batch of rows.
    return tuple.__new__(Layout, (dtype, (length, *shape[1:]), order, offset, None, kind))


def checked_length(length: int) -> int:
    """Return it; ValueError unless it is a number of rows."""
    length = operator.index(length)
    if length < 0:
        raise ValueError(f"the number of rows must not be negative, and is {length}")
    return length


def _reopened(old: Mapping, size: int, room: int) -> Mapping:
    """Map the first `size` bytes of the same file, and set addresses aside for `room` and more."""
    file: Any = Descriptor(old) if os.name == "posix" else old.path
    mode = "r" if old.mode == "r" else "r+"
    backend = "read" if old.backend == "read" else "auto"
    for reserve in (max(4 * room, GENEROUS_BYTES), 4 * room, room + LEAST_AHEAD_BYTES, None):
        try:
            new = open_mapping(
                file,
                mode,
                offset=old.offset,
                length=size,
                reserve=reserve,
                sparse=old._sparse,
                backend=backend,
            )
        except OSError:  # too many addresses (ulimit -v), or none to be set aside here
            if reserve is None:
                raise
        else:
            new._reserve = old._reserve  # what another process is to set aside when it unpickles
            return new
    raise AssertionError  # the last one returns or raises


def checked_rows(
    rows: npt.ArrayLike, layout: Layout, path: str | None
) -> npt.NDArray[Any] | MappedArray:
    """The rows, of a shape and a dtype that go into the array."""
    dtype, inner = layout.dtype, layout.shape[1:]
    if (
        type(rows) is np.ndarray
        and rows.dtype == dtype
        and rows.ndim == len(inner) + 1
        and rows.shape[1:] == inner
    ):
        return rows
    found: npt.NDArray[Any] | MappedArray
    if isinstance(rows, (np.ndarray, MappedArray)):
        found = rows
    elif hasattr(rows, "dtype") or hasattr(rows, "__array__"):
        found = np.asarray(rows)
    else:
        found = _rows_of_python(rows, dtype, inner)
    if found.dtype != dtype and not np.can_cast(found.dtype, dtype, "same_kind"):
        raise TypeError(f"cannot append {found.dtype} to {path!r}, which holds {dtype}")
    if found.shape == inner and found.ndim == len(inner):
        raise ValueError(
            f"cannot append shape {found.shape}: it lacks the first axis; one row is appended as "
            "rows[None]"
        )
    if found.ndim != len(inner) + 1 or found.shape[1:] != inner:
        wanted = ", ".join(map(str, ("n", *inner))) + ("," if not inner else "")
        raise ValueError(
            f"cannot append shape {found.shape} to {path!r} of shape {layout.shape}: it takes "
            f"({wanted})"
        )
    return found


def _rows_of_python(rows: Any, dtype: np.dtype[Any], inner: tuple[int, ...]) -> npt.NDArray[Any]:
    """Lists and numbers as an array that holds the same values, or an error."""
    if dtype.kind in "VMm":  # records, and dates that are strings: only the dtype says how
        return np.asarray(rows, dtype)
    try:
        natural = np.asarray(rows)
    except ValueError as error:  # ragged
        raise ValueError(f"cannot append rows that differ in shape: {error}") from None
    if natural.shape == (0,):
        return np.empty((0, *inner), dtype)
    if natural.dtype.kind in "fO" and dtype.kind in "iufc":
        # Integers that no dtype of numpy holds together, such as 0 and 2**64 - 1, or 2**80.
        exact = np.asarray(rows, object)
        if all(isinstance(item, (int, np.integer)) for item in exact.flat):
            natural = exact
    if dtype.kind in "iu" and natural.size and isinstance(natural.flat[0], (int, np.integer)):
        limits = np.iinfo(dtype)
        for extreme in (int(natural.min()), int(natural.max())):
            if not limits.min <= extreme <= limits.max:
                raise ValueError(f"{extreme} does not fit {dtype}: {limits.min} to {limits.max}")
        return natural.astype(dtype)
    if dtype.kind in "fc" and natural.dtype.kind == "O":
        return natural.astype(dtype)
    if dtype.kind in "SU" and natural.dtype.kind == dtype.kind:
        widest = max(natural.flat, key=len, default=natural.dtype.type())
        if len(widest) * np.dtype((dtype.type, 1)).itemsize > dtype.itemsize:
            raise ValueError(f"{widest.item()!r} does not fit {dtype}: it is too long")
    return natural


def _pieces(rows: npt.NDArray[Any] | MappedArray, dtype: np.dtype[Any]) -> Iterable[Any]:
    """The rows as the file holds them: in one piece if they are so, else copied bit by bit."""
    if isinstance(rows, np.ndarray) and rows.dtype == dtype and rows.flags.c_contiguous:
        return (rows if dtype.kind in "biufc" else _plain(rows),)
    step = max(1, PIECE_BYTES // max(1, math.prod(rows.shape[1:]) * dtype.itemsize))
    return (
        _plain(np.ascontiguousarray(rows[first : first + step], dtype))
        for first in range(0, len(rows), step)
    )


def _plain(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """As bytes, because not everything can be had as a buffer of numpy: dates, for one."""
    return rows.reshape(-1).view(np.uint8)
