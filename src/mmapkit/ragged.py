"""RaggedArray: rows of different lengths, and strings, in two arrays that grow.

A directory holds

- ``data.npy``: the elements of all rows, one row behind the other;
- ``offsets.npy``: int64, where each row begins and, last, where the last one ends; the first is 0;
- ``ragged.json``: ``{"kind": "str"}`` or ``{"kind": "bytes"}``, if rows are such.

A row is there once its offset is. Elements are written first, so a writer that is killed leaves
elements that no offset reaches: they are ignored, and overwritten by the next rows.
"""

from __future__ import annotations

import errno
import math
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mmapkit.array import MappedArray, create_array, open_array
from mmapkit.closing import Closing
from mmapkit.errors import FormatError
from mmapkit.growing import checked_rows
from mmapkit.views import normal_shape, storable_shape

__all__ = ["RaggedArray", "create_ragged", "open_ragged"]

DATA: Final = "data.npy"
OFFSETS: Final = "offsets.npy"
KIND: Final = "ragged.json"
KINDS: Final[dict[str, type]] = {"str": str, "bytes": bytes}
MOST_KIND_BYTES: Final = 1000
# Rows are gathered and written up to this many bytes at a time.
BATCH_BYTES: Final = 32 << 20
# Rows are checked this many at a time.
CHECKED_ROWS: Final = 1 << 18


class RaggedArray(Closing):
    """Rows of different lengths in a directory. Made by `create_ragged()` and `open_ragged()`.

    ``r[i]`` is a row: an ndarray that views the file without copying, or, where rows are strings, a
    new str or bytes. A slice, a list or an array of indices gives a list of rows. A context manager
    that closes at the end of the block; pickles by reference.

    Attributes
    ----------
    data : MappedArray
        The elements of all rows.
    offsets : MappedArray
        Row i is ``data[offsets[i] : offsets[i + 1]]``.
    path : str
        The directory.
    dtype : numpy.dtype or type
        Of the elements; or `str` or `bytes`.
    """

    __slots__ = ("__weakref__", "_kind", "_lock", "data", "offsets", "path")

    def __init__(
        self, path: str, data: MappedArray, offsets: MappedArray, kind: str | None
    ) -> None:
        """See two arrays as rows; cheap checks only, see `check()`."""
        self.path = path
        self.data = data
        self.offsets = offsets
        self._kind = kind
        self._lock = threading.Lock()  # held while rows are added
        self._require_sense()

    def _require_sense(self) -> None:
        data, offsets = self.data, self.offsets
        if offsets.dtype != np.dtype("<i8") or offsets.ndim != 1 or not len(offsets):
            raise FormatError(
                f"{offsets.path!r} has to hold int64 of one dimension, at least one, and holds "
                f"{offsets.dtype} of shape {offsets.shape}"
            )
        if not data.ndim or (data.order == "F" and data.ndim > 1):
            raise FormatError(
                f"{data.path!r} has to hold rows one behind the other, and holds {data.dtype} of "
                f"shape {data.shape} in order {data.order!r}"
            )
        if self._kind is not None and (data.dtype != np.dtype("u1") or data.ndim != 1):
            raise FormatError(
                f"{data.path!r} has to hold the bytes of {self._kind} rows, and holds "
                f"{data.dtype} of shape {data.shape}"
            )
        first, last = int(offsets[0]), int(offsets[-1])
        if first != 0:
            raise FormatError(f"{offsets.path!r} has to begin with 0, and begins with {first}")
        if not 0 <= last <= len(data):
            raise FormatError(
                f"{offsets.path!r} ends with {last}, but {data.path!r} holds {len(data)} elements"
            )

    # --- what it is -------------------------------------------------------------------------

    @property
    def dtype(self) -> np.dtype[Any] | type:
        """Of the elements; `str` or `bytes` where rows are such."""
        return self.data.dtype if self._kind is None else KINDS[self._kind]

    @property
    def item_shape(self) -> tuple[int, ...]:
        """Shape of one element of a row."""
        return self.data.shape[1:]

    @property
    def mode(self) -> str:
        """``"r"``, ``"r+"`` or ``"c"``."""
        return self.data.mode

    @property
    def closed(self) -> bool:
        """True after `close()`."""
        return self.offsets.closed

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Length of each row, as a new ndarray; of strings in bytes."""
        lengths: npt.NDArray[np.int64] = np.diff(self.offsets[...])
        return lengths

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.offsets) - 1

    def __repr__(self) -> str:
        """Show directory, number of rows and what they are."""
        state = "closed" if self.closed else f"{len(self)} rows, mode={self.mode!r}"
        kind = self._kind or f"{self.data.dtype}{list(self.item_shape) or ''}"
        return f"<mmapkit.RaggedArray {self.path!r} {kind} {state}>"

    # --- rows -------------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        """Return a row without copying; for slices, lists and arrays of indices a list of rows.

        Raises
        ------
        FormatError
            If the offsets of the row make no sense.
        IndexError
            If there is no such row.
        """
        if type(key) is int and key >= 0:
            return self._row(key)
        if isinstance(key, slice):
            return [self._row(row) for row in range(*key.indices(len(self)))]
        if hasattr(key, "__index__") and getattr(key, "ndim", 0) == 0:
            return self._row(int(self._rows([key.__index__()])[0]))
        return [self._row(row) for row in self._rows(key).tolist()]

    def _row(self, row: int) -> Any:
        ends = self.offsets[row : row + 2].tolist()
        if len(ends) != 2:
            raise IndexError(f"row {row} is out of range: there are {len(self)}")
        first, last = ends
        if 0 <= first <= last:
            found = self.data[first:last]
            if len(found) == last - first:
                return found if self._kind is None else self._text(row, found.tobytes())
        raise self._senseless(row, first, last)

    def _text(self, row: int, found: bytes) -> str | bytes:
        if self._kind == "bytes":
            return found
        try:
            return found.decode()
        except UnicodeDecodeError as error:
            raise FormatError(f"row {row} of {self.data.path!r} is no UTF-8: {error}") from None

    def _senseless(self, row: int, first: int, last: int) -> FormatError:
        return FormatError(
            f"row {row} of {self.path!r} has the offsets {first} and {last}: they have to rise "
            f"from 0 to the {len(self.data)} elements that there are"
        )

    def _rows(self, key: Any) -> npt.NDArray[np.int64]:
        """Indices as numpy takes them: ints, negative ones too, or a mask."""
        found = np.asarray(key)
        if found.dtype == np.bool_:
            if found.shape != (len(self),):
                raise IndexError(f"a mask of shape {found.shape} for {len(self)} rows")
            return np.flatnonzero(found)
        if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
            raise IndexError(
                f"rows are chosen by one dimension of integers or bools, not {found.dtype} of "
                f"shape {found.shape}"
            )
        count = len(self)
        rows = found.astype(np.int64)
        wrong = (rows < -count) | (rows >= count)
        if wrong.any():
            raise IndexError(f"row {rows[wrong][0]} is out of range: there are {count}")
        return np.where(rows < 0, rows + count, rows)

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the rows that there are now."""
        return (self._row(row) for row in range(len(self)))

    def gather(self, indices: npt.ArrayLike, *, packed: bool = False) -> Any:
        """Copy rows by index. All that are not in memory are read at once, not one by one.

        Parameters
        ----------
        indices : array_like of int or bool
            Rows, in any order, also repeated; negative ones count from the end.
        packed : bool
            Return the elements in one ndarray, and where each row begins and the last one ends.

        Returns
        -------
        list of rows, or (elements, offsets)
            Rows are ndarrays that share one copy, or str or bytes. `elements` has shape
            ``(n, *item_shape)`` and is uint8 for strings; `offsets` is int64, one more than rows.

        Raises
        ------
        FormatError, IndexError
            As for ``r[i]``.
        """
        rows = self._rows(indices)
        offsets = self.offsets[...]
        firsts, lasts = offsets[rows], offsets[rows + 1]
        data = self.data
        wrong = (firsts < 0) | (lasts < firsts) | (lasts > len(data))
        if wrong.any():
            at = int(np.argmax(wrong))
            raise self._senseless(int(rows[at]), int(firsts[at]), int(lasts[at]))
        spans = list(zip(firsts.tolist(), lasts.tolist(), strict=True))
        row_bytes = data.dtype.itemsize * math.prod(self.item_shape)
        data.mapping.prefetch(
            (data.offset + first * row_bytes, (last - first) * row_bytes)
            for first, last in spans
            if last > first
        )
        whole = np.asarray(data) if not data.mapping.faulted else data
        elements = np.concatenate([data[:0], *[whole[first:last] for first, last in spans]])
        if data.mapping.faulted:  # poison may have been copied
            for first, last in spans:
                data[first:last]
        ends = np.concatenate([[0], np.cumsum(lasts - firsts)])
        if packed:
            return elements, ends
        parts = [elements[i:j] for i, j in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)]
        if self._kind is None:
            return parts
        numbered = zip(rows.tolist(), parts, strict=True)
        return [self._text(row, part.tobytes()) for row, part in numbered]

    # --- adding -----------------------------------------------------------------------------

    def append(self, row: Any) -> int:
        """Add one row; return how many there are. See `extend()`, which is faster for many."""
        return self.extend((row,))

    def extend(self, rows: Iterable[Any]) -> int:
        """Add rows, and return how many there are.

        They are written in batches of up to 32 MiB: elements first, then their offsets. Each batch
        is seen whole or not at all, also if the writer is killed. Views stay valid. As with
        `MappedArray.append`, one process writes; others see the rows after `refresh()`.

        Parameters
        ----------
        rows : iterable
            Arrays of shape ``(k, *item_shape)``, `k` differing, whose dtype casts by numpy's
            ``same_kind`` rule; or str; or bytes-like.

        Raises
        ------
        OSError, MappingFault, TypeError, ValueError
            As for `MappedArray.append`; the batch with the row in question is not added.
        """
        with self._lock:
            most = BATCH_BYTES // max(1, self.data.dtype.itemsize * math.prod(self.item_shape))
            batch: list[Any] = []
            size = 0
            for part in self._parts(rows):
                batch.append(part)
                size += len(part)
                if size >= most:
                    self._add(batch)
                    batch, size = [], 0
            self._add(batch)
            return len(self)

    def _parts(self, rows: Iterable[Any]) -> Iterator[Any]:
        """Rows as they are put together: all of the same dtype, or bytes."""
        if self._kind == "str":
            for row in rows:
                if not isinstance(row, str):
                    raise TypeError(f"a row has to be a str, not {type(row).__name__}")
                yield row.encode()
        elif self._kind == "bytes":
            for row in rows:
                if isinstance(row, str):
                    raise TypeError("a row has to be bytes, not str")
                yield bytes(memoryview(row))
        else:
            layout, path = self.data._layout, self.data.path
            for row in rows:
                found = checked_rows(row, layout, path)
                yield found if found.dtype is layout.dtype else found[...].astype(layout.dtype)

    def _add(self, batch: Sequence[Any]) -> None:
        if not batch:
            return
        lengths = np.fromiter(map(len, batch), np.int64, len(batch))
        if self._kind is not None:
            elements = np.frombuffer(b"".join(batch), np.uint8)
        elif len(batch) == 1:
            elements = np.asarray(batch[0])
        else:
            elements = np.concatenate(batch)
        data, start = self.data, int(self.offsets[-1])
        # What a killed writer, or a full disk, left behind the last row.
        tail = min(len(data) - start, len(elements))
        if tail > 0:
            self.offsets._growing().require_unchanged(self.offsets)  # else these are another's rows
            data[start : start + tail] = elements[:tail]
        data.append(elements[tail:])
        self.offsets.append(start + np.cumsum(lengths))

    # --- others -----------------------------------------------------------------------------

    def refresh(self) -> int:
        """See the rows that another process added; return how many there are. Views stay valid.

        Raises
        ------
        FormatError
            If the files do not belong together any more.
        """
        self.offsets.refresh()  # first: elements are written before their offsets
        self.data.refresh()
        self._require_sense()
        return len(self)

    def check(self) -> None:
        """Look at every row; FormatError names the first that makes no sense."""
        count = len(self)
        for start in range(0, count, CHECKED_ROWS):
            offsets = self.offsets[start : min(count, start + CHECKED_ROWS) + 1]
            firsts, lasts = offsets[:-1], offsets[1:]
            wrong = (firsts < 0) | (lasts < firsts) | (lasts > len(self.data))
            if wrong.any():
                at = int(np.argmax(wrong))
                raise self._senseless(start + at, int(offsets[at]), int(offsets[at + 1]))
        if self._kind == "str":
            for row in range(count):
                self._row(row)

    def flush(self, *, level: str = "disk") -> None:
        """Push changes out, elements first; see `Mapping.flush` for levels and errors."""
        self.data.flush(level=level)
        self.offsets.flush(level=level)

    def close(self, *, defer: bool = False) -> None:
        """Close both arrays.

        Parameters
        ----------
        defer : bool
            With live rows, close now and unmap with the last of them.

        Raises
        ------
        BufferError
            If rows are alive; call it again when they are gone.
        """
        self.data.close(defer=defer)
        self.offsets.close(defer=defer)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close; with live rows while an exception is under way, close with the last of them."""
        try:
            self.data.__exit__(kind, error, traceback)
        finally:
            self.offsets.__exit__(kind, error, traceback)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by reference: directory and mode; mode ``"c"`` becomes ``"r"``."""
        self._require_open()
        return (open_ragged, (self.path, "r" if self.mode == "c" else self.mode))


def create_ragged(
    directory: str | os.PathLike[str],
    dtype: npt.DTypeLike,
    *,
    item_shape: int | Sequence[int] = (),
    overwrite: bool = False,
) -> RaggedArray:
    """Make an empty RaggedArray and open it read-write.

    Parameters
    ----------
    directory : path
        Made if it is missing. `numpy.load` reads the files in it: ``data.npy``, ``offsets.npy``.
    dtype : dtype_like
        Of the elements; or `str` for rows that are str and lie there as UTF-8, or `bytes`.
    item_shape : int or sequence of int
        Shape of one element of a row: rows have the shape ``(k, *item_shape)``.
    overwrite : bool
        Empty the array if there is one, instead of raising FileExistsError.

    Examples
    --------
    >>> import numpy as np, mmapkit as mk
    >>> with mk.create_ragged("walks", "f4", item_shape=2) as r:
    ...     r.append([[0, 0], [1, 0], [1, 1]])
    ...     r.extend([np.zeros((5, 2)), np.ones((1, 2))])
    ...     r.lengths.tolist(), r[-1].tolist()
    1
    3
    ([3, 5, 1], [[1.0, 1.0]])
    """
    place = os.path.abspath(os.fsdecode(directory))
    element, inner = np.dtype(dtype), normal_shape(item_shape)
    kind = None
    if element.itemsize == 0 and element.kind in "US":
        kind = "str" if element.kind == "U" else "bytes"
        if inner:
            raise ValueError(f"rows of {kind} have no item_shape, and it is {inner}")
        element = np.dtype("u1")
    storable_shape(element, (0, *inner))  # raises before anything is replaced
    os.makedirs(place, exist_ok=True)
    files = [os.path.join(place, name) for name in (OFFSETS, DATA, KIND)]
    for file in files:
        if os.path.lexists(file):
            if not overwrite:
                raise FileExistsError(
                    errno.EEXIST, "there is one already; overwrite=True replaces it", file
                )
            os.unlink(file)
    # Offsets last: without them it is not there.
    data = create_array(files[1], (0, *inner), element)
    try:
        if kind is not None:
            with open(files[2], "x", encoding="ascii") as text:
                text.write(f'{{"kind": "{kind}"}}\n')
        offsets = create_array(files[0], 1, "<i8")
    except BaseException:
        data.close()
        raise
    return RaggedArray(place, data, offsets, kind)


def open_ragged(directory: str | os.PathLike[str], mode: str = "r") -> RaggedArray:
    """Open a RaggedArray.

    Parameters
    ----------
    directory : path
        As it was given to `create_ragged()`.
    mode : {"r", "r+", "c"}
        As for `open()`.

    Raises
    ------
    FormatError
        If the files make no sense together. Each row's offsets are checked when it is looked at;
        `RaggedArray.check` looks at all.
    OSError
        If there is no such array.

    Examples
    --------
    >>> import mmapkit as mk
    >>> with mk.create_ragged("names", str) as names:
    ...     names.extend(["Ada", "Émilie", ""])
    3
    >>> with mk.open_ragged("names") as names:
    ...     names[1], names[:2]
    ('Émilie', ['Ada', 'Émilie'])
    """
    if mode not in ("r", "r+", "c"):
        raise ValueError(f"mode must be 'r', 'r+' or 'c', not {mode!r}")
    place = os.path.abspath(os.fsdecode(directory))
    kind = _kind_in(os.path.join(place, KIND))
    offsets = open_array(os.path.join(place, OFFSETS), mode)  # first, as in refresh()
    data = None
    try:
        data = open_array(os.path.join(place, DATA), mode)
        for part in (offsets, data):
            if part._layout.format != "npy":
                raise FormatError(f"{part.path!r} is not a .npy file")
        return RaggedArray(place, data, offsets, kind)
    except BaseException:
        offsets.mapping.close(defer=True)
        if data is not None:
            data.mapping.close(defer=True)
        raise


def _kind_in(path: str) -> str | None:
    import json

    try:
        with open(path, "rb") as file:
            text = file.read(MOST_KIND_BYTES + 1)
    except FileNotFoundError:
        return None
    try:
        found = json.loads(text)
        kind = found["kind"]
    except (ValueError, TypeError, KeyError, RecursionError):
        kind = None
    if len(text) > MOST_KIND_BYTES or not isinstance(kind, str) or kind not in KINDS:
        raise FormatError(f"{path!r} has to name a kind of rows, 'str' or 'bytes'")
    return kind
