"""MappedArray: numbers in a file; raw files and .npy."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

import numpy as np
import numpy.typing as npt

from mmapkit.formats import npy, raw
from mmapkit.formats.layout import Layout
from mmapkit.mapping import Mapping
from mmapkit.mapping import open as open_mapping
from mmapkit.views import Order, ndarray_at, normal_shape, storable_shape

if TYPE_CHECKING:
    from mmapkit.mapping import type_of_file

__all__ = ["MappedArray", "create_array", "open_array"]


class _Closed:
    """Stands in for the view of a closed array, so that the open one needs no check."""

    def __getattr__(self, name: str) -> NoReturn:
        raise ValueError("the array is closed")

    def __getitem__(self, key: object) -> NoReturn:
        raise ValueError("the array is closed")

    def __setitem__(self, key: object, value: object) -> NoReturn:
        raise ValueError("the array is closed")

    def __len__(self) -> NoReturn:
        raise ValueError("the array is closed")

    def __iter__(self) -> NoReturn:
        raise ValueError("the array is closed")


_CLOSED: Final[Any] = _Closed()


class MappedArray:
    """An array in a file, indexed like an ndarray. Made by `open_array()` and `create_array()`.

    Not a subclass of `numpy.ndarray`: ``a[key]`` gives plain ndarrays, without copying wherever
    numpy would give a view, and ``np.asarray(a)`` is the whole array without copying. They keep
    the mapping's pages alive, also after the MappedArray is gone. A context manager that closes at
    the end of the block; pickles by reference.

    Attributes
    ----------
    mapping : Mapping
        The bytes of the whole file: `flush()`, `prefetch()`, `residency()`, faults and so on.
    """

    __slots__ = ("__weakref__", "_layout", "_view", "mapping")

    mapping: Mapping
    _layout: Layout
    _view: npt.NDArray[Any]

    def __init__(self, mapping: Mapping, layout: Layout) -> None:
        """See a mapping of a whole file as the array that lies in it."""
        self.mapping = mapping
        self._layout = layout
        self._view = self._make_view()

    def _make_view(self) -> npt.NDArray[Any]:
        layout = self._layout
        return ndarray_at(self.mapping, layout.dtype, layout.shape, layout.offset, layout.order)

    # --- what it is -------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return self._layout.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements, with the file's byte order."""
        return self._layout.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._layout.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._layout.nbytes // self._layout.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        return self._layout.nbytes

    @property
    def order(self) -> Order:
        """``"C"`` (rows together) or ``"F"`` (columns together)."""
        return self._layout.order

    @property
    def offset(self) -> int:
        """Offset of the first element in the file, in bytes."""
        return self._layout.offset

    @property
    def path(self) -> str | None:
        """The file."""
        return self.mapping.path

    @property
    def mode(self) -> str:
        """The mapping's mode."""
        return self.mapping.mode

    @property
    def closed(self) -> bool:
        """True after `close()`."""
        return self._view is _CLOSED

    def __len__(self) -> int:
        """Return the length of the first axis."""
        return len(self._view)

    def __repr__(self) -> str:
        """Show file, shape, dtype and mode."""
        state = "closed" if self.closed else f"mode={self.mode!r}"
        return f"<mmapkit.MappedArray {self.path!r} shape={self.shape} dtype={self.dtype} {state}>"

    # --- elements ---------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        """Return what numpy would: a view of the file, a scalar or, for fancy indices, a copy."""
        found = self._view[key]
        if self.mapping.faulted:
            self._raise_if_lost(found)
        return found

    def __setitem__(self, key: Any, value: npt.ArrayLike) -> None:
        """Store into the mapping, as numpy would."""
        if not self._view.flags.writeable:
            raise TypeError(
                f"cannot store into {self.path!r}: it was opened with mode {self.mode!r}; open it "
                "with mode 'r+', or with 'c' for changes that are not written"
            )
        self._view[key] = value
        if self.mapping.faulted:
            self._raise_if_lost(self._view)

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the first axis."""
        return iter(self._view)

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        """Give numpy the whole array, without copying unless it is asked to or has to convert."""
        view = self._view
        if self.mapping.faulted:
            self._raise_if_lost(view)
        if dtype is not None and np.dtype(dtype) != view.dtype:
            if copy is False:
                raise ValueError(f"converting {view.dtype} to {np.dtype(dtype)} needs a copy")
            return view.astype(dtype)
        return view.copy() if copy else view[...]

    def _raise_if_lost(self, found: Any) -> None:
        """After touching memory that may be poison: raise for a view of healthy bytes only if this
        thread is owed a fault, for everything else always."""
        start, length = 0, self.mapping.size
        if isinstance(found, np.ndarray) and found.size:
            low, high = np.lib.array_utils.byte_bounds(found)
            at = self.mapping._holds(low, high - low)
            if at >= 0:
                start, length = at, high - low
        self.mapping._raise_if_lost(start, length)

    # --- life -------------------------------------------------------------------------------

    def flush(self, *, level: str = "disk") -> None:
        """Push changed pages out; see `Mapping.flush` for levels and errors."""
        if self.closed:
            raise ValueError("the array is closed")
        self.mapping.flush(level=level)

    def close(self) -> None:
        """Close the mapping; see `Mapping.close`.

        Raises
        ------
        BufferError
            If ndarrays made from this array are alive; it stays open.
        """
        if self.closed:
            return
        self._view = _CLOSED
        try:
            self.mapping.close()
        except BufferError:
            self._view = self._make_view()
            raise

    def __enter__(self) -> Self:
        """Return the array."""
        if self.closed:
            raise ValueError("the array is closed")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close; with live views while an exception is under way, close with the last of them."""
        self._view = _CLOSED if error is not None else self._view
        if error is None:
            self.close()
        else:
            self.mapping.close(defer=True)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by reference: the mapping's path and mode, and the layout."""
        return (MappedArray, (self.mapping, self._layout))


def open_array(
    file: type_of_file,
    mode: str = "r",
    *,
    dtype: npt.DTypeLike | None = None,
    shape: int | Sequence[int] | None = None,
    offset: int | None = None,
    order: Order = "C",
    reserve: int | None = None,
) -> MappedArray:
    """Map the array in a file: a ``.npy`` file by its header, any other as raw bytes.

    Parameters
    ----------
    file, reserve
        As for `open()`.
    mode : {"r", "r+", "c", "w+", "x+"}
        As for `open()`; the last two make a raw file and need `shape`. For a new ``.npy`` file see
        `create_array()`.
    dtype : dtype_like, optional
        Of a raw file's elements; bytes by default. For a ``.npy`` file it must agree with the
        header, and so must `shape`.
    shape : int or sequence of int, optional
        Of a raw file; one dimension to the end of the file by default.
    offset : int, optional
        Of a raw file's first element, in bytes. Given for a ``.npy`` file, its header is ignored
        and the file is taken as raw.
    order : {"C", "F"}
        Of a raw file.

    Returns
    -------
    MappedArray

    Raises
    ------
    FormatError
        If a ``.npy`` header is malformed or promises more bytes than there are.
    ValueError
        If a raw file is too short for its shape, or the dtype holds Python objects.

    Examples
    --------
    >>> import numpy as np, mmapkit as mk
    >>> np.save("squares.npy", np.arange(5) ** 2)
    >>> with mk.open_array("squares.npy") as a:
    ...     int(a[3]), a[1:4].tolist()
    (9, [1, 4, 9])
    """
    if mode in ("w+", "x+"):
        name = getattr(file, "name", file)
        if isinstance(name, (str, bytes, os.PathLike)) and os.fsdecode(name).endswith(".npy"):
            raise ValueError(f"{file!r} would be a raw file named .npy; use create_array()")
        layout = raw.layout_of(None, None, dtype, shape, offset, order)
        size = layout.offset + layout.nbytes
        return MappedArray(open_mapping(file, mode, size=size, reserve=reserve), layout)
    mapping = open_mapping(file, mode, reserve=reserve)
    try:
        found = None
        if offset is None:
            found = npy.read_layout(mapping._peek, mapping.size, mapping.path)
        if found is None:
            found = raw.layout_of(mapping.size, mapping.path, dtype, shape, offset, order)
        else:
            _require_agreement(found, dtype, shape, mapping.path)
        return MappedArray(mapping, found)
    except BaseException:
        mapping.close(defer=True)
        raise


def _require_agreement(
    found: Layout,
    dtype: npt.DTypeLike | None,
    shape: int | Sequence[int] | None,
    path: str | None,
) -> None:
    if dtype is not None and np.dtype(dtype) != found.dtype:
        raise ValueError(f"{path!r} holds {found.dtype}, not {np.dtype(dtype)}")
    if shape is not None and normal_shape(shape) != found.shape:
        raise ValueError(f"{path!r} has shape {found.shape}, not {normal_shape(shape)}")


def create_array(
    file: str | os.PathLike[str],
    shape: int | Sequence[int],
    dtype: npt.DTypeLike = "f8",
    *,
    order: Order = "C",
    overwrite: bool = False,
    sparse: bool = False,
) -> MappedArray:
    """Make a ``.npy`` file of zeros and map it read-write; `numpy.load` reads it at any time.

    Parameters
    ----------
    file : path
        The new file.
    shape : int or sequence of int
        Length of each axis.
    dtype : dtype_like
        Of the elements; float64 by default.
    order : {"C", "F"}
        Row-major or column-major.
    overwrite : bool
        Empty the file if it exists, instead of raising FileExistsError.
    sparse : bool
        Do not allocate blocks: stores may then meet a full disk.

    Raises
    ------
    OSError
        ENOSPC if the disk is full; no file is left behind.

    Examples
    --------
    >>> import numpy as np, mmapkit as mk
    >>> with mk.create_array("ones.npy", (2, 3), "f4") as a:
    ...     a[:] = 1
    ...     a.flush()
    >>> float(np.load("ones.npy").sum())
    6.0
    """
    kind, lengths = storable_shape(dtype, shape, order)
    header = npy.header_for(kind, lengths, order)
    layout = Layout(kind, lengths, order, len(header))
    mode = "w+" if overwrite else "x+"
    mapping = open_mapping(file, mode, size=layout.offset + layout.nbytes, sparse=sparse)
    mapping.write(0, header)
    return MappedArray(mapping, layout)
