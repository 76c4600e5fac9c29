"""MappedArray: numbers in a file, indexed like an ndarray.

What it does beyond that lies in modules of their own: growing.py (append, resize, refresh, follow),
operators.py, gather.py (gather, prefetch), awaiting.py, passes/ (blocks) and dask.py.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from mmapkit._native import BufferProxy
from mmapkit.awaiting import Awaiting
from mmapkit.closing import Closing, why_closed
from mmapkit.errors import FormatError, UnsupportedError
from mmapkit.formats import npy, raw, registry
from mmapkit.formats.format import Source
from mmapkit.formats.layout import Layout
from mmapkit.mapping import Mapping
from mmapkit.mapping import open as open_mapping
from mmapkit.mapping import reopen as reopen_mapping
from mmapkit.operators import Operators
from mmapkit.residency import estimate
from mmapkit.views import Order, addresses_of, ndarray_at, normal_shape, storable_shape

if TYPE_CHECKING:
    from mmapkit.durable.reading import Reading
    from mmapkit.durable.transaction import Transaction
    from mmapkit.growing import Growth
    from mmapkit.mapping import type_of_file
    from mmapkit.passes.running import Blocks

__all__ = ["MappedArray", "create_array", "open_array"]


class _Closed:
    """Stands in for the view of a closed array, so that the open one needs no check."""

    def __init__(self, why: str) -> None:
        self._why = why

    def __getattr__(self, name: str) -> NoReturn:
        raise ValueError(self._why)

    def __getitem__(self, key: object) -> NoReturn:
        raise ValueError(self._why)

    def __setitem__(self, key: object, value: object) -> NoReturn:
        raise ValueError(self._why)

    def __len__(self) -> NoReturn:
        raise ValueError(self._why)

    def __iter__(self) -> NoReturn:
        raise ValueError(self._why)


class MappedArray(BufferProxy, Closing, Awaiting, Operators):
    """An array in a file, indexed like an ndarray. Made by `open_array()` and `create_array()`.

    Not a subclass of `numpy.ndarray`: ``a[key]`` gives plain ndarrays, without copying wherever
    numpy would give a view, and ``np.asarray(a)`` is the whole array without copying. They keep
    the mapping's pages alive, also after the MappedArray is gone. Operators and ufuncs work as on
    an ndarray and give ndarrays; ``a += 1`` and ``out=a`` store into the file. The buffer protocol
    and DLPack export the elements without copying. A context manager that closes at the end of the
    block; pickles by reference.

    Attributes
    ----------
    mapping : Mapping
        The bytes of the file: `flush()`, `residency()`, faults and so on. Growing without a reserve
        replaces it; views that were made before keep the old one, which shows the same file.
    """

    __slots__ = ("__weakref__", "_growth", "_layout", "_lock", "_shared", "_view", "mapping")

    mapping: Mapping
    _layout: Layout
    _view: npt.NDArray[Any]

    def __init__(self, mapping: Mapping, layout: Layout, *, shared: bool = False) -> None:
        """See a mapping of a file as the array that lies in it.

        `shared` says that other arrays lie in the mapping, too: closing this one leaves it open.
        """
        self._lock = threading.RLock()  # held while the array grows or follows
        self._shared = shared
        self._growth: Growth | None = None  # until it first grows or follows
        self._show(mapping, layout)

    def _show(self, mapping: Mapping, layout: Layout) -> None:
        """Become what lies there in a mapping, at once for whoever is indexing meanwhile."""
        view = ndarray_at(
            mapping, layout.dtype, layout.shape, layout.offset, layout.order, layout.strides
        )
        self.mapping, self._layout, self._view = mapping, layout, view

    def _hide(self) -> None:
        """Let go of the mapping's memory."""
        closed: Any = _Closed(why_closed(self.path))
        self._view = closed

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
        """Offset of the first element in the mapping, in bytes."""
        return self._layout.offset

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes from one element to the next along each axis."""
        return self._view.strides

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
        return isinstance(self._view, _Closed)

    def __len__(self) -> int:
        """Return the length of the first axis."""
        return len(self._view)

    def __repr__(self) -> str:
        """Show file, shape, dtype, mode and how much is resident."""
        state = "closed" if self.closed else f"mode={self.mode!r} resident={self._resident_share()}"
        return f"<mmapkit.MappedArray {self.path!r} shape={self.shape} dtype={self.dtype} {state}>"

    def _resident_share(self) -> str:
        first, last = self._layout.span
        share = estimate(self.mapping, first, last - first)
        return "unknown" if share is None else f"{share:.0%}"

    # --- elements ---------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        """Return what numpy would: a view of the file, a scalar or, for fancy indices, a copy."""
        found = self._view[key]
        if self.mapping.faulted:
            self._raise_if_lost(found)
        return found

    def __setitem__(self, key: Any, value: npt.ArrayLike) -> None:
        """Store into the mapping, as numpy would."""
        self._require_writable()
        self._view[key] = value
        if self.mapping.faulted:
            self._raise_if_lost(self._view)

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the first axis."""
        return iter(self._view)

    # --- for numpy and others -----------------------------------------------------------------

    def to_dask(self, chunks: Any = "auto") -> Any:
        """Return a lazy Dask array over the file; its tasks carry a reference, not bytes.

        Each chunk is brought into memory by the task that needs it, in whatever thread, process or
        machine that sees the path, and is a read-only view there, without copying. No locks.

        Parameters
        ----------
        chunks : "auto", str, int, tuple or dict
            By default chunks lie in one piece of the file each: whole rows, cut along the first
            axis (in order ``"F"`` whole columns, along the last), of about Dask's setting
            ``array.chunk-size``. Another size, such as ``"64 MiB"``, does the same with that. All
            else is as for `dask.array.from_array`.

        Returns
        -------
        dask.array.Array
            Named by path, size, time of change and layout, so that other processes name it alike,
            and differently after the file has changed. Stores into the array show in the time of
            change at the latest after `flush()`. What mode ``"c"`` changed, other processes do not
            see.

        Raises
        ------
        ImportError
            Without Dask: ``pip install 'mmapkit[dask]'``.
        MappingFault
            When it is computed, if the file was truncated or the device fails.

        Examples
        --------
        >>> import mmapkit as mk
        >>> a = mk.create_array("rows.npy", (1000, 50))
        >>> a[:] = 2
        >>> d = a.to_dask(chunks="100 kB")
        >>> d.chunks[0], float(d.sum().compute())
        ((250, 250, 250, 250), 100000.0)
        """
        from mmapkit.dask import to_dask

        return to_dask(self, chunks)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        """Tell Dask what the content depends on: the file, its time of change, the layout."""
        from mmapkit.dask import token_of

        return token_of(self)

    def _exported(self) -> npt.NDArray[Any]:
        # numpy prefers a buffer to __array__(), and a buffer's format says less than a dtype.
        if self.dtype.kind not in "biufcSU":
            raise BufferError(f"{self.dtype} loses its meaning in a buffer: use np.asarray() first")
        return self[...]  # type: ignore[no-any-return]

    def _require_writable(self) -> None:
        if not self._view.flags.writeable:
            if self.mode != "r":
                raise TypeError(
                    "cannot store: the array's memory is read-only, by protect('r') or because it "
                    "was loaded from a file that was opened with mode 'r'"
                )
            in_place = "'r+', or with " if registry.allows(self._layout.format, "r+") else ""
            raise TypeError(
                f"cannot store into {self.path!r}: it was opened with mode {self.mode!r}; open it "
                f"with mode {in_place}'c' for changes that are not written"
            )

    def _raise_if_lost(self, found: Any) -> None:
        """After touching memory that may be poison: raise for a view of healthy bytes only if this
        thread is owed a fault, for everything else always."""
        start, length = 0, self.mapping.size
        if isinstance(found, np.ndarray) and found.size:
            low, high = addresses_of(found)
            at = self.mapping._holds(low, high - low)
            if at >= 0:
                start, length = at, high - low
        self.mapping._raise_if_lost(start, length)

    def _raise_if_any_lost(self) -> None:
        if self.mapping.faulted:
            self._raise_if_lost(self._view)

    # --- growth -----------------------------------------------------------------------------

    def _growing(self) -> Growth:
        if self._growth is None:
            from mmapkit.growing import Growth

            with self._lock:
                self._require_open()
                if self._growth is None:
                    self._growth = Growth(self)
        return self._growth

    def append(self, rows: npt.ArrayLike) -> int:
        """Add rows along the first axis, in the file and here; return the new length.

        `numpy.load` reads the file at every instant, and finds whole batches; a writer that is
        killed loses none that was appended before. Readers in other processes see the rows after
        `refresh()`. Views stay valid. Blocks are allocated ahead and given back by `close()`; call
        `flush()` to have the rows on the medium.

        Parameters
        ----------
        rows : array_like
            Of shape ``(k, *a.shape[1:])``; a dtype that casts to the array's by numpy's
            ``same_kind`` rule. Any strides and byte order, also views of this array. Another
            MappedArray is copied in bounded pieces.

        Raises
        ------
        OSError
            ENOSPC if the disk is full, ESTALE if another process has changed the array (see
            `refresh`); the file keeps what it had.
        MappingFault
            If the file was truncated, or bytes of the mapping were lost.
        TypeError
            If the dtype does not cast, or the mode is ``"r"`` or ``"c"``.
        ValueError
            If the shape does not fit, or rows differ in length; if the array is Fortran-ordered,
            a member of an archive, or a part of a raw file. Of integers and strings of Python, if
            one does not fit the dtype; what is in ndarrays is converted as numpy stores it.

        Notes
        -----
        One process writes. Threads of it may append to one MappedArray: whole batches interleave.
        """
        return self._growing().append(self, rows)

    def resize(self, length: int) -> None:
        """Make the first axis `length` long, in the file and here; new rows are zeros.

        Raises
        ------
        BufferError
            If it becomes shorter while views are alive; nothing changes.
        OSError, MappingFault, TypeError, ValueError
            As for `append()`.
        """
        self._growing().resize(self, length)

    def reserve(self, length: int) -> None:
        """Allocate blocks, and set addresses aside, for `length` rows in all.

        Appending up to there meets no full disk. What is not used is given back by `close()`.

        Raises
        ------
        OSError
            ENOSPC if the disk has no room; nothing changes.
        UnsupportedError
            If the filesystem cannot allocate past the end of a file.
        """
        self._growing().reserve(self, length)

    def refresh(self) -> int:
        """See the rows that another process appended or cut; return the length.

        The array follows the file that it opened, also one that has been deleted since (POSIX). Of
        a raw file it takes all whole rows up to the end. Views stay valid.

        Raises
        ------
        BufferError
            If there are fewer rows now and views are alive; the array stays as it is. In mode
            ``"c"`` also if there are more, unless they fit into `reserve`.
        FormatError
            If the file holds an array of another dtype, order or row shape now.
        """
        return self._growing().refresh(self)

    def follow(
        self, *, poll_s: float = 0.01, timeout_s: float | None = None, start: int | None = None
    ) -> Iterator[npt.NDArray[Any]]:
        """Iterate over what is appended from now on, like ``tail -f``: ndarray views of new rows.

        Parameters
        ----------
        poll_s : float
            Seconds between two looks at the file.
        timeout_s : float, optional
            End after so many seconds without news; never by default.
        start : int, optional
            The first row to give, counted from the end if negative; by default those that are
            there now are not given.

        Notes
        -----
        If the array is found to be shorter, what comes after the end that it has then is new. Drop
        the views before that.
        """
        from mmapkit.growing import follow

        self._growing()
        return follow(self, poll_s, timeout_s, start)

    # --- all or nothing ---------------------------------------------------------------------

    def transaction(self, *, timeout: float | None = 10.0) -> Transaction[MappedArray]:
        """Change the array in many places and make all of it durable, or none.

        Entering the transaction gives a private, writable MappedArray of the same elements;
        everybody else keeps seeing the old ones. Leaving the block commits all that was changed,
        with one wait for the disk; an exception rolls back. `append()` and `resize()` of the
        private array are a part of it.

        See `Mapping.transaction` for the parameter, the errors, and what others see meanwhile.

        Examples
        --------
        >>> import mmapkit as mk
        >>> with mk.create_array("counts.npy", 4, "i8") as a:
        ...     with a.transaction() as private:
        ...         private[1:3] += 5
        ...     a[:].tolist()
        [0, 5, 5, 0]
        """
        from mmapkit.durable.transaction import of_array

        self._require_open()
        return of_array(self, timeout)

    def reading(self, *, timeout: float | None = None) -> Reading[MappedArray]:
        """Read one committed state of the array; see `Mapping.reading`.

        Rows that commits have added are there, as after `refresh()`; views stay valid.

        Examples
        --------
        >>> import mmapkit as mk
        >>> with mk.create_array("sums.npy", (2, 1000), "i8") as a:
        ...     with a.transaction() as private:
        ...         private[0], private[1] = 3, -3
        ...     with a.reading():
        ...         int(a[:].sum())
        0
        """
        from mmapkit.durable.reading import Reading

        self._require_open()
        return Reading(self, timeout)

    def snapshot(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Copy the array's file as one committed state; see `Mapping.snapshot`."""
        self._require_open()
        self.mapping.snapshot(path, overwrite=overwrite)

    # --- many rows at once --------------------------------------------------------------------

    def gather(
        self, indices: npt.ArrayLike, out: npt.NDArray[Any] | None = None
    ) -> npt.NDArray[Any]:
        """Copy rows of the first axis, picked by index: what ``np.take(a, indices, axis=0)`` gives.

        Rows that are not in memory are read with many requests under way at once, instead of one
        page fault after the other. What takes longer than a millisecond is done by several threads.
        The GIL is released.

        Parameters
        ----------
        indices : int or array_like of int
            Of any shape; negative ones count from the end.
        out : ndarray, optional
            Where the rows go, of shape ``np.shape(indices) + a.shape[1:]`` and the array's dtype.

        Returns
        -------
        numpy.ndarray
            `out`, or a new array: always a copy.

        Raises
        ------
        IndexError
            If an index is out of range; it is named, and nothing has been written to `out`.
        TypeError
            If the indices are no integers, or `out` has another dtype.
        ValueError
            If `out` has another shape, is read-only or overlaps the array.
        MappingFault
            If bytes of these rows were lost; `out` is undefined then.

        Notes
        -----
        On Linux whether anything has to be read is learned from the thread's own reads
        (``getrusage``), and reading ahead is ``process_madvise(MADV_WILLNEED)``. macOS has a call
        for each range. Windows does not tell, so all rows are asked for
        (``PrefetchVirtualMemory``).

        Examples
        --------
        >>> import numpy as np, mmapkit as mk
        >>> np.save("rows.npy", np.arange(12).reshape(6, 2))
        >>> with mk.open_array("rows.npy") as a:
        ...     a.gather([5, 0, -2]).tolist()
        [[10, 11], [0, 1], [8, 9]]
        """
        from mmapkit.gather import gather

        return gather(self, indices, out)

    def prefetch(self, key: Any = ...) -> None:
        """Start reading what ``a[key]`` will need, and do not wait.

        Parameters
        ----------
        key : basic index, or list or ndarray of int
            Ints, slices, ``...``, a field's name, or a tuple of them; or indices of rows.

        Raises
        ------
        IndexError
            If an index is out of range.
        TypeError
            If the key is another fancy index.
        """
        from mmapkit.gather import prefetch

        prefetch(self, key)

    # --- passes -----------------------------------------------------------------------------

    def blocks(
        self,
        nbytes: int = 8 << 20,
        *,
        rows: int | None = None,
        overlap: int = 0,
        drop_behind: bool = True,
        axis: int = 0,
    ) -> Blocks:
        """Pass over the array in blocks of whole rows, in bounded memory; see `Mapping.blocks`.

        Parameters
        ----------
        nbytes : int
            Bytes of a block; it has at least one row, and one that the block before lacks.
        rows : int, optional
            Rows of a block, instead of `nbytes`; the last may have less.
        overlap : int
            How many rows of the end of each block are repeated at the start of the next.
        drop_behind : bool
            False leaves everything in memory.
        axis : int
            The axis that is cut: 0, or -1 for an array in order F, whose columns lie together.

        Returns
        -------
        Blocks
            Iterates over ndarrays, views of the file; each keeps the mapping's pages alive.

        Raises
        ------
        ValueError
            If the array has no dimensions; if blocks along the axis would be scattered over the
            whole file, as rows of an array in order F.
        """
        from mmapkit.passes.sources import of_array

        return of_array(self, nbytes, rows, overlap, drop_behind, axis)

    # --- life -------------------------------------------------------------------------------

    def flush(self, *, level: str = "disk") -> None:
        """Push changed pages out; see `Mapping.flush` for levels and errors."""
        self._require_open()
        self.mapping.flush(level=level)

    def close(self, *, defer: bool = False) -> None:
        """Close the mapping; see `Mapping.close`.

        Parameters
        ----------
        defer : bool
            With live views, close now and unmap with the last of them.

        Raises
        ------
        BufferError
            If ndarrays made from this array are alive; it stays open.
        """
        if self.closed:
            return
        with self._lock:
            self._hide()
            if self._shared:
                return
            if self._growth is not None:
                self._growth.give_back()
            try:
                self.mapping.close(defer=defer)
            except BufferError:
                self._show(self.mapping, self._layout)
                raise

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by reference: path, mode and layout; mode ``"c"`` becomes ``"r"``."""
        self._require_open()
        # Not the mapping itself: arrays that share one get one each.
        with self._lock:
            return (_reopen, (self.mapping._reference(), self._layout))


def _reopen(where: tuple[Any, ...], layout: Layout) -> MappedArray:
    """Unpickle: the layout is the pickled one, whatever the file's header says by now."""
    mapping = reopen_mapping(*where)
    first, last = layout.span
    if first < 0 or last > mapping.size:
        size = mapping.size
        mapping.close()
        raise ValueError(
            f"{mapping.path!r} has become shorter than the pickled array: {size} bytes are mapped, "
            f"but {layout.dtype} of shape {layout.shape} takes bytes [{first}, {last})"
        )
    return MappedArray(mapping, layout)


def open_array(
    file: type_of_file,
    mode: str = "r",
    *,
    dtype: npt.DTypeLike | None = None,
    shape: int | Sequence[int] | None = None,
    offset: int | None = None,
    order: Order = "C",
    strides: Sequence[int] | None = None,
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
    strides : sequence of int, optional
        Of a raw file, with `shape`: bytes from one element to the next along each axis; may be
        negative, and then `offset` is still that of the first element.

    Returns
    -------
    MappedArray

    Raises
    ------
    FormatError
        If a ``.npy`` header is malformed or promises more bytes than there are; if a file is named
        ``.npy`` and begins otherwise; if it holds several arrays (``.npz``, ``.safetensors``: see
        `open_arrays()`). With `dtype`, `shape` or `offset` the last two are raw.
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
        layout = raw.layout_of(None, None, dtype, shape, offset, order, strides)
        size = layout.span[1]
        return MappedArray(open_mapping(file, mode, size=size, reserve=reserve), layout)
    mapping = open_mapping(file, mode, reserve=reserve)
    try:
        found = None
        if offset is None:
            explained = not (dtype is None and shape is None and strides is None)
            found = _sole_layout(mapping, mode, explained)
        if found is None:
            found = raw.layout_of(mapping.size, mapping.path, dtype, shape, offset, order, strides)
        else:
            _require_agreement(found, dtype, shape, strides, mapping.path)
        return MappedArray(mapping, found)
    except BaseException:
        mapping.close(defer=True)
        raise


def _sole_layout(mapping: Mapping, mode: str, explained: bool) -> Layout | None:
    """Where the one array lies in its file, with the mapping cut to it; None for raw files."""
    while True:
        size = mapping.size
        source = Source(mapping._peek, size, mapping.path)
        try:
            found = registry.sole_layout(source, mode, explained=explained)
        except FormatError:
            if mapping.refresh() <= size:
                raise
            # A writer appended after the file was mapped and before its header was read.
        else:
            break
    # What a killed writer left after the data is going to be cut: that must not look like a loss.
    if found is not None and found.format == "npy" and found.span[1] < size:
        with contextlib.suppress(UnsupportedError):  # of devices
            mapping._fit(found.span[1])
    return found


def _require_agreement(
    found: Layout,
    dtype: npt.DTypeLike | None,
    shape: int | Sequence[int] | None,
    strides: Sequence[int] | None,
    path: str | None,
) -> None:
    if dtype is not None and np.dtype(dtype) != found.dtype:
        raise ValueError(f"{path!r} holds {found.dtype}, not {np.dtype(dtype)}")
    if shape is not None and normal_shape(shape) != found.shape:
        raise ValueError(f"{path!r} has shape {found.shape}, not {normal_shape(shape)}")
    if strides is not None:
        raise ValueError(f"{path!r} is a .{found.format} file: its header says how elements lie")


def create_array(
    file: str | os.PathLike[str],
    shape: int | Sequence[int],
    dtype: npt.DTypeLike = "f8",
    *,
    order: Order = "C",
    overwrite: bool = False,
    sparse: bool = False,
    aligned: bool = False,
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
    aligned : bool
        Let the elements begin 4096 bytes into the file, on a page of their own, instead of 128.

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
    alignment = npy.PAGE_ALIGNMENT if aligned else npy.ALIGNMENT
    header = npy.header_for(kind, lengths, order, alignment)
    layout = Layout(kind, lengths, order, len(header), format="npy")
    mode = "w+" if overwrite else "x+"
    mapping = open_mapping(file, mode, size=layout.offset + layout.nbytes, sparse=sparse)
    mapping.write(0, header)
    return MappedArray(mapping, layout)
