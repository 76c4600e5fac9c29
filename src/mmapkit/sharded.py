"""One logical array over many files, along the first axis."""

from __future__ import annotations

import contextlib
import math
import operator
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from mmapkit._native import allocation_granularity
from mmapkit.array import MappedArray, open_array
from mmapkit.awaiting import Awaiting
from mmapkit.closing import Closing
from mmapkit.errors import MappingFault, UnsupportedError
from mmapkit.formats import raw
from mmapkit.gather import checked_out, indices_of
from mmapkit.mapping import MODES_ELSEWHERE, open_side_by_side
from mmapkit.operators import Operators
from mmapkit.views import addresses_of

if TYPE_CHECKING:
    from mmapkit._native import Span
    from mmapkit.mapping import Mapping
    from mmapkit.passes.running import Blocks

__all__ = ["ShardedArray", "open_sharded"]

# Below so many rows a shard, they do not fill a device's queue: all shards are asked first.
FEW_ROWS: Final = 128


class ShardedArray(Closing, Awaiting, Operators):
    """Arrays in several files as one, along the first axis. Made by `open_sharded()`.

    Where every shard's elements are whole pages of its file (the last shard's need not end with
    one), all of them are mapped into one range of addresses: `contiguous` is true, ``np.asarray``
    and every slice are views without a copy. Otherwise what lies in one shard is a view of it, and
    what crosses shards is a copy.

    Operators and ufuncs work as on an ndarray and give ndarrays; ``s += 1`` and ``out=s`` store
    into the files. Where the shards are not contiguous, they work on a copy of the whole array.
    A context manager that closes all shards; pickles by reference.

    Attributes
    ----------
    shards : tuple of MappedArray
        The arrays, one a file.
    """

    __slots__ = (
        "__weakref__",
        "_lock",
        "_mode",
        "_side_by_side",
        "_span",
        "_starts",
        "_whole",
        "shards",
    )

    shards: tuple[MappedArray, ...]
    _starts: npt.NDArray[np.int64]  # first row of each shard, and the count of all
    _side_by_side: tuple[Mapping, ...]
    _span: Span | None  # of the mappings above
    _whole: npt.NDArray[Any] | None  # the elements in the span

    def __init__(self, shards: Sequence[MappedArray], mode: str) -> None:
        """See arrays that agree in everything but their length as one."""
        self.shards, self._mode = tuple(shards), mode
        self._lock = (
            threading.RLock()
        )  # held while the shards grow, and while it is found out where they lie
        self._side_by_side, self._span, self._whole = (), None, None
        self._starts = np.empty(0, np.int64)
        self._lay()

    def _lay(self) -> None:
        """Find out where the shards begin, and map them side by side where that is possible."""
        with self._lock:
            self._lay_anew()

    def _lay_anew(self) -> None:
        lengths = [len(shard) for shard in self.shards]
        starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        lost = any(mapping.faulted for mapping in self._side_by_side)
        if np.array_equal(starts, self._starts) and not lost:
            return
        self._starts = starts
        # The mappings before are not closed: other threads may be using them.
        side_by_side: tuple[Mapping, ...] = ()
        span = whole = None
        if self._is_whole_pages():
            width = math.prod(self.shape[1:]) * self.dtype.itemsize
            parts = [
                (shard.mapping, shard.offset, length * width)
                for shard, length in zip(self.shards, lengths, strict=True)
            ]
            with contextlib.suppress(UnsupportedError):
                span, side_by_side = open_side_by_side(parts, self._mode)
                whole = self._array_over(span)
        self._side_by_side, self._span, self._whole = side_by_side, span, whole

    def _is_whole_pages(self) -> bool:
        grain = allocation_granularity()
        return (
            self._mode != "c"  # changes through one view would not show in the other
            and all(s.path is not None and s.mapping.backend == "map" for s in self.shards)
            and all(s.offset % grain == 0 for s in self.shards)
            and all(s.nbytes % grain == 0 for s in self.shards[:-1])
        )

    def _array_over(self, span: Span) -> npt.NDArray[Any]:
        held = np.frombuffer(memoryview(span), np.uint8)
        return np.ndarray(self.shape, self.dtype, held)

    # --- what it is -------------------------------------------------------------------------

    @property
    def paths(self) -> tuple[str | None, ...]:
        """The files."""
        return tuple(shard.path for shard in self.shards)

    @property
    def mode(self) -> str:
        """The mode that the files were opened with."""
        return self._mode

    @property
    def contiguous(self) -> bool:
        """True if all elements lie in one range of addresses."""
        return self._whole is not None

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis; the first is the sum of the shards'."""
        return (int(self._starts[-1]), *self.shards[0].shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        return self.shards[0].dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.shards[0].ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return sum(shard.size for shard in self.shards)

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        return sum(shard.nbytes for shard in self.shards)

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """First row of each shard, and the count of all rows: int64, one more than shards."""
        return self._starts.copy()

    @property
    def closed(self) -> bool:
        """True after `close()`."""
        return self.shards[0].closed

    def __len__(self) -> int:
        """Return the number of rows."""
        self._require_open()
        return int(self._starts[-1])

    def __repr__(self) -> str:
        """Show how many files, shape, dtype and how they lie in memory."""
        state = "closed" if self.closed else f"mode={self.mode!r} contiguous={self.contiguous}"
        return (
            f"<mmapkit.ShardedArray of {len(self.shards)} files from {self.paths[0]!r} "
            f"shape={self.shape} dtype={self.dtype} {state}>"
        )

    # --- elements ---------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        """Return what numpy would: a view where it lies in one shard, or all are contiguous.

        Of a list or array of indices or a mask along the first axis, and of a slice that crosses
        shards, it is a copy. The rest of the key is applied to the rows. A mask of more axes picks
        single elements.
        """
        self._require_open()
        whole = self._whole  # another thread may be appending
        if whole is not None:
            found = whole[key]
            self._raise_if_lost(found, whole)
            return found
        if isinstance(key, str):  # a field
            return _joined([(shard, shard[key]) for shard in self.shards])
        masks = self._cut_mask(key)
        if masks is not None:
            return _joined([(shard, shard[mask]) for shard, mask in masks])
        first, rest = self._split(key)
        if isinstance(first, slice):
            if _leads(rest):
                return self[first][(slice(None), *rest)]
            pieces = [(shard, shard[(rows, *rest)]) for shard, rows, _ in self._cut(first)]
            return _joined(pieces) if pieces else self.shards[0][(slice(0), *rest)]
        if isinstance(first, np.ndarray):
            found = self.gather(first)
            if not any(map(_is_fancy, rest)):
                return found[(*[slice(None)] * first.ndim, *rest)] if rest else found
            # Element by element with the other indices, as numpy pairs them.
            each = np.arange(first.size).reshape(first.shape)
            return found.reshape(first.size, *self.shape[1:])[(each, *rest)]
        shard, row = self._place_of(first)
        return shard[(row, *rest)]

    def __setitem__(self, key: Any, value: npt.ArrayLike) -> None:
        """Store into the files; the first axis takes an int, a slice, indices or a mask.

        A mask of more axes picks single elements, as in numpy: ``s[s > 5] = 0``.

        Raises
        ------
        IndexError
            If rows and another axis, or two axes that are not next to each other, are picked by
            indices at once.
        """
        self._require_open()
        masks = self._cut_mask(key)
        if masks is not None:
            ends = np.cumsum([np.count_nonzero(mask) for _, mask in masks]).tolist()
            places = map(slice, [0, *ends], ends)
            self._store(
                [(shard, mask, at) for (shard, mask), at in zip(masks, places, strict=False)],
                ends[-1],
                value,
            )
            return
        first, rest = self._split(key)
        paired = isinstance(first, np.ndarray) and any(map(_is_fancy, rest))
        if paired or (isinstance(first, slice) and _leads(rest)):
            raise IndexError(
                f"cannot store by {key!r}: rows and another axis are picked by indices at once; "
                "store whole rows, or into one of .shards"
            )
        if isinstance(first, slice):
            count = len(range(*first.indices(len(self))))
            self._store([(s, (rows, *rest), at) for s, rows, at in self._cut(first)], count, value)
        elif isinstance(first, np.ndarray):
            if first.ndim != 1:
                raise IndexError(f"rows to store into take one dimension, not {first.ndim}")
            owners, rows = self._split_rows(indices_of(first, len(self), None))
            picked = [(n, np.flatnonzero(owners == n)) for n in np.unique(owners)]
            pieces = [(self.shards[n], (rows[at], *rest), at) for n, at in picked]
            self._store(pieces, len(first), value)
        else:
            shard, row = self._place_of(first)
            shard[(row, *rest)] = value

    def _store(
        self, pieces: Sequence[tuple[MappedArray, Any, Any]], count: int, value: npt.ArrayLike
    ) -> None:
        """Store the rows `at` of a value for `count` rows into each piece (shard, key, at)."""
        given = np.asarray(value)
        for shard, key, at in pieces:
            ndim = np.ndim(shard[key])
            while given.ndim > ndim and given.shape[0] == 1:
                given = given[0]
            by_rows = given.ndim == ndim and given.shape[0] != 1
            if by_rows and given.shape[0] != count:
                raise ValueError(f"cannot store {given.shape[0]} rows into {count}")
            shard[key] = given[at] if by_rows else given

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the rows of all shards."""
        self._require_open()
        for shard in self.shards:
            yield from shard

    def _require_one_piece(self) -> None:
        if self._whole is None and sum(len(shard) > 0 for shard in self.shards) > 1:
            raise ValueError("this needs a copy: the shards are not contiguous")

    def _require_writable(self) -> None:
        for shard in self.shards:
            shard._require_writable()

    def _raise_if_any_lost(self) -> None:
        whole = self._whole
        if whole is not None:
            self._raise_if_lost(whole, whole)
            return
        for shard in self.shards:
            shard._raise_if_any_lost()

    def _raise_if_lost(self, found: Any, whole: npt.NDArray[Any]) -> None:
        """After touching contiguous memory; see `MappedArray._raise_if_lost`."""
        base, end = addresses_of(whole)
        first, last = 0, end - base
        if isinstance(found, np.ndarray) and found.size:
            low, high = addresses_of(found)
            if base <= low and high <= end:  # not a copy
                first, last = low - base, high - base
        for mapping in self._side_by_side:
            if mapping.faulted:
                start = min(max(first, 0), mapping.size)
                mapping._raise_if_lost(start, max(min(last, mapping.size) - start, 0))
            first, last = first - mapping.size, last - mapping.size

    # --- rows and shards --------------------------------------------------------------------

    def _split(self, key: Any) -> tuple[Any, tuple[Any, ...]]:
        """Split a key into that of the rows (an int, a slice or an ndarray of indices) and the
        rest."""
        keys = key if isinstance(key, tuple) else (key,)
        if not keys:
            return slice(None), ()
        first, rest = keys[0], keys[1:]
        if first is Ellipsis:
            if sum(one is not None for one in rest) < self.ndim:
                return slice(None), keys
            first, rest = rest[0], rest[1:]
        if isinstance(first, slice):
            return first, rest
        if isinstance(first, Operators):
            first = np.asarray(first)
        if isinstance(first, list | tuple | np.ndarray):
            found = np.asarray(first) if len(first) else np.empty(np.shape(first), np.intp)
            if found.dtype == np.bool_ and found.shape != (len(self),):
                raise IndexError(f"a mask of shape {found.shape} does not fit {len(self)} rows")
            return (np.flatnonzero(found) if found.dtype == np.bool_ else found), rest
        if hasattr(first, "__index__") and not isinstance(first, bool):
            return operator.index(first), rest
        raise IndexError(f"rows are an int, a slice, indices or a mask, not {first!r}")

    def _cut_mask(self, key: Any) -> list[tuple[MappedArray, npt.NDArray[np.bool_]]] | None:
        """Cut a mask of elements at the seams; None if the key is another one."""
        if not isinstance(key, np.ndarray | Operators):
            return None
        mask = np.asarray(key)
        if mask.dtype != np.bool_ or mask.ndim < 2:
            return None
        if mask.shape != self.shape[: mask.ndim]:
            raise IndexError(f"a mask of shape {mask.shape} does not fit shape {self.shape}")
        return list(zip(self.shards, np.split(mask, self._starts[1:-1]), strict=True))

    def _place_of(self, row: int) -> tuple[MappedArray, int]:
        count = len(self)
        if not -count <= row < count:
            raise IndexError(f"index {row} is out of range for {count} rows")
        row += count if row < 0 else 0
        n = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self.shards[n], row - int(self._starts[n])

    def _split_rows(
        self, rows: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int64]]:
        """Number of the shard of each row, and the row in it."""
        rows = np.where(rows < 0, rows + len(self), rows)
        owners = np.searchsorted(self._starts, rows, side="right") - 1
        return owners, rows - self._starts[owners]

    def _cut(self, rows: slice) -> Iterator[tuple[MappedArray, slice, slice]]:
        """Cut a slice at the seams: shard, rows in it, and where they stand in the result."""
        wanted = range(*rows.indices(len(self)))
        forward = wanted.step > 0
        done = 0
        for n in range(len(self.shards))[:: 1 if forward else -1]:
            low, high = int(self._starts[n]), int(self._starts[n + 1])
            inside = _clip(wanted, low, high)
            if inside:
                stop = inside[-1] - low + (1 if forward else -1)
                local = slice(inside[0] - low, stop if stop >= 0 else None, wanted.step)
                yield self.shards[n], local, slice(done, done + len(inside))
                done += len(inside)

    # --- many rows at once --------------------------------------------------------------------

    def gather(
        self, indices: npt.ArrayLike, out: npt.NDArray[Any] | None = None
    ) -> npt.NDArray[Any]:
        """Copy rows, picked by index from all shards; see `MappedArray.gather`."""
        self._require_open()
        rows = indices_of(indices, len(self), None)
        shape = rows.shape + self.shape[1:]
        views = [shard._view for shard in self.shards]
        if self._whole is not None:  # the same files at other addresses
            views.append(self._whole)
        result = np.empty(shape, self.dtype) if out is None else checked_out(
            out, shape, self.dtype, views
        )  # fmt: skip
        owners, local = self._split_rows(rows.reshape(-1))
        order = np.argsort(owners, kind="stable")
        cuts = np.searchsorted(owners[order], np.arange(len(self.shards) + 1))
        parts = [
            (shard, slice(start, stop))
            for shard, start, stop in zip(self.shards, cuts, cuts[1:], strict=False)
            if stop > start
        ]
        if len(parts) == 1:
            return parts[0][0].gather(local.reshape(rows.shape), result)
        local = local[order]
        by_shard = np.empty((rows.size, *self.shape[1:]), self.dtype)
        for shard, at in parts:
            if at.stop - at.start < FEW_ROWS:
                shard.prefetch(local[at])
        for shard, at in parts:
            shard.gather(local[at], by_shard[at])
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        result[...] = by_shard[back].reshape(shape)
        return result

    def prefetch(self, key: Any = ...) -> None:
        """Start reading what ``a[key]`` will need, and do not wait; see `MappedArray.prefetch`."""
        self._require_open()
        first, rest = self._split(key)
        if isinstance(first, slice):
            for shard, rows, _ in self._cut(first):
                shard.prefetch((rows, *rest))
        elif isinstance(first, np.ndarray):
            if rest:
                raise TypeError(f"prefetch takes a basic index or indices of rows, not {key!r}")
            owners, local = self._split_rows(indices_of(first, len(self), None).reshape(-1))
            for n in np.unique(owners):
                self.shards[n].prefetch(local[owners == n])
        else:
            shard, row = self._place_of(first)
            shard.prefetch((row, *rest))

    # --- for others ---------------------------------------------------------------------------

    def to_dask(self, chunks: Any = "auto") -> Any:
        """Return a lazy Dask array over the files; its tasks carry a reference, not bytes.

        Parameters
        ----------
        chunks : "auto", str, int, tuple or dict
            By default, and with a size such as ``"64 MiB"``, each chunk lies in one piece of one
            shard and is a read-only view there: see `MappedArray.to_dask`. All else is as for
            `dask.array.from_array`: a chunk that crosses shards is a copy then, which a task joins.

        Returns
        -------
        dask.array.Array
            Named by what names the shards, alike in every process; see `MappedArray.to_dask`. Each
            task refers to its own shard.

        Raises
        ------
        ImportError
            Without Dask: ``pip install 'mmapkit[dask]'``.
        MappingFault
            When it is computed, if a file was truncated or the device fails.

        Examples
        --------
        >>> import numpy as np, mmapkit as mk
        >>> np.save("one.npy", np.ones(100)); np.save("two.npy", np.full(50, 2.0))
        >>> s = mk.open_sharded(["one.npy", "two.npy"])
        >>> d = s.to_dask(chunks="512 B")
        >>> d.chunks, float(d.sum().compute())
        (((64, 36, 50),), 200.0)
        """
        from mmapkit.dask import shards_to_dask

        self._require_open()
        return shards_to_dask(self, chunks)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        """Tell Dask what the content depends on: that of the shards, in order."""
        return ("mmapkit-sharded", *(shard.__dask_tokenize__() for shard in self.shards))

    # --- passes -------------------------------------------------------------------------------

    def blocks(
        self,
        nbytes: int = 8 << 20,
        *,
        rows: int | None = None,
        overlap: int = 0,
        drop_behind: bool = True,
    ) -> Blocks:
        """Pass over all shards in blocks of whole rows, in bounded memory.

        Parameters are those of `MappedArray.blocks`. No block crosses a seam: the last one of a
        shard may have less rows. With `overlap` the first block of a shard is a copy, in front of
        which the last rows of the shards before are repeated; all others are views.

        Returns
        -------
        Blocks
            Iterates over ndarrays, of the rows that there are now.

        Raises
        ------
        ValueError
            If a value makes no sense, or the array is closed.
        """
        from mmapkit.passes.sources import of_shards

        return of_shards(self, nbytes, rows, overlap, drop_behind)

    # --- growth -------------------------------------------------------------------------------

    def append(self, rows: npt.ArrayLike) -> int:
        """Add rows to the last shard, in its file and here; return the number of all rows.

        See `MappedArray.append` for `rows` and errors. Views stay valid.
        """
        self._require_open()
        with self._lock:
            self.shards[-1].append(rows)
            self._lay()
            return len(self)

    def refresh(self) -> int:
        """See the rows that another process appended to any shard; return the number of all rows.

        See `MappedArray.refresh`. Views stay valid.
        """
        self._require_open()
        with self._lock:
            for shard in self.shards:
                shard.refresh()
            self._lay()
            return len(self)

    # --- life ------------------------------------------------------------------------------------

    def flush(self, *, level: str = "disk") -> None:
        """Push the changed pages of all shards out; see `Mapping.flush`."""
        self._require_open()
        for shard in self.shards:
            shard.flush(level=level)

    def check(self) -> None:
        """Raise MappingFault if bytes of a shard were lost, or a file is too short now."""
        self._require_open()
        for mapping in (*self._side_by_side, *(shard.mapping for shard in self.shards)):
            mapping.check()

    def close(self, *, defer: bool = False) -> None:
        """Close all shards.

        Parameters
        ----------
        defer : bool
            With live views, close now and unmap with the last of them.

        Raises
        ------
        BufferError
            If views are alive: then all of them stay open.
        MappingFault
            If bytes were lost and nobody was told yet; they are closed all the same.
        """
        if self.closed:
            return
        self._whole = None  # our own view is none that counts
        held = any(mapping._views_left() for mapping in self._side_by_side)
        held = held or any(shard.mapping._views_left(own=1) for shard in self.shards)
        if held and not defer:
            if self._span is not None:
                self._whole = self._array_over(self._span)
            raise BufferError(
                f"cannot close: views of {self!r} are alive; close(defer=True) unmaps with the "
                "last of them"
            )
        lost = None
        closers = [one.close for one in self._side_by_side] + [one.close for one in self.shards]
        for close in closers:
            try:
                close(defer=defer)
            except MappingFault as fault:
                lost = fault
        if lost is not None:
            raise lost

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by reference: paths and mode; mode ``"c"`` becomes ``"r"``."""
        self._require_open()
        return (ShardedArray, (self.shards, MODES_ELSEWHERE[self._mode]))


def _is_fancy(key: Any) -> bool:
    return isinstance(key, list | tuple | np.ndarray | Operators)


def _leads(rest: tuple[Any, ...]) -> bool:
    """Tell whether numpy puts the axes that these keys pick before that of the rows: it does where
    indices are not next to one another."""
    if not any(map(_is_fancy, rest)):
        return False
    picked = [n for n, key in enumerate(rest) if _is_fancy(key) or hasattr(key, "__index__")]
    return picked[-1] - picked[0] + 1 > len(picked)


def _joined(pieces: Sequence[tuple[MappedArray, npt.NDArray[Any]]]) -> npt.NDArray[Any]:
    """Return one view as it is, and several as a copy; raises if one was lost meanwhile."""
    if len(pieces) == 1:
        return pieces[0][1]
    # With the dtype: numpy would make big-endian elements native, and drop a structure's padding.
    found = np.concatenate([piece for _, piece in pieces], dtype=pieces[0][1].dtype)
    for shard, piece in pieces:
        if shard.mapping.faulted:
            shard._raise_if_lost(piece)
    return found


def _clip(wanted: range, low: int, high: int) -> range:
    """Return the part of a range that lies in [low, high)."""
    if wanted.step < 0:
        return _clip(wanted[::-1], low, high)[::-1]
    skip = max(0, -(-(low - wanted.start) // wanted.step))
    stop = max(0, -(-(high - wanted.start) // wanted.step))
    return wanted[skip:stop]


def open_sharded(
    paths: Iterable[str | os.PathLike[str]],
    mode: str = "r",
    *,
    dtype: npt.DTypeLike | None = None,
    row_shape: int | Sequence[int] = (),
) -> ShardedArray:
    """Map the arrays in several files as one, along the first axis.

    Parameters
    ----------
    paths : iterable of path
        At least one file, in order: ``.npy`` files, or raw ones. For raw files whose length is a
        multiple of the page size, and ``.npy`` files made with ``create_array(aligned=True)``
        whose elements are whole pages, the result is `ShardedArray.contiguous`.
    mode : {"r", "r+", "c"}
        As for `open()`.
    dtype, row_shape : optional
        Of raw files: type of the elements and shape of one row.

    Returns
    -------
    ShardedArray

    Raises
    ------
    FileNotFoundError
        If a shard is missing; it is named.
    ValueError
        If the shards differ in dtype, order or the shape of their rows, or there are none.

    Examples
    --------
    >>> import numpy as np, mmapkit as mk
    >>> np.save("part0.npy", np.arange(4)); np.save("part1.npy", np.arange(4, 9))
    >>> with mk.open_sharded(["part0.npy", "part1.npy"]) as s:
    ...     s.shape, int(s[4]), s[3:6].tolist(), s.gather([8, 0]).tolist()
    ((9,), 4, [3, 4, 5], [8, 0])
    """
    if isinstance(paths, str | bytes | os.PathLike):
        raise TypeError(f"open_sharded takes several paths; for one, {paths!r}, use open_array()")
    if mode not in ("r", "r+", "c"):
        raise ValueError(f"mode must be 'r', 'r+' or 'c', not {mode!r}")
    paths = list(paths)
    for path in paths:
        if not isinstance(path, str | bytes | os.PathLike):
            raise TypeError(f"open_sharded takes paths, not {path!r}")
    if not paths:
        raise ValueError("there are no shards: give at least one path")
    with contextlib.ExitStack() as opened:
        shards = []
        for path in paths:
            shard = _open_shard(path, mode, dtype, row_shape)
            opened.callback(shard.mapping.close, defer=True)
            shards.append(shard)
        _require_agreement(shards)
        found = ShardedArray(shards, mode)
        opened.pop_all()
    return found


def _open_shard(
    path: str | os.PathLike[str],
    mode: str,
    dtype: npt.DTypeLike | None,
    row_shape: int | Sequence[int],
) -> MappedArray:
    if dtype is None:
        return open_array(path, mode)
    layout = raw.rows_of(os.stat(path).st_size, os.fspath(path), dtype, row_shape, 0)
    return open_array(path, mode, dtype=layout.dtype, shape=layout.shape, offset=0)


def _require_agreement(shards: Sequence[MappedArray]) -> None:
    first = shards[0]
    if first.ndim == 0:
        raise ValueError(f"{first.path!r} has no dimensions: there are no rows to join")
    for shard in shards:
        if shard.order == "F" and shard.ndim > 1:
            raise ValueError(f"{shard.path!r} is in Fortran order: its rows do not lie together")
        for what in ("dtype", "row shape"):
            found, expected = (
                one.dtype if what == "dtype" else one.shape[1:] for one in (shard, first)
            )
            if found != expected:
                raise ValueError(
                    f"the shards disagree: {shard.path!r} has {what} {found}, but {first.path!r} "
                    f"has {expected}"
                )
