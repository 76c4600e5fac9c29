"""Rows by index, and reading ahead what an index will need."""

from __future__ import annotations

import functools
import itertools
import os
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from mmapkit._native import find_bad_row, page_size
from mmapkit.cores import count_cores
from mmapkit.errors import MappingFault
from mmapkit.pools import Pool, Task

if TYPE_CHECKING:
    from mmapkit.array import MappedArray
    from mmapkit.mapping import Mapping

__all__ = ["checked_out", "gather", "indices_of", "prefetch"]

Rows = np.ndarray[tuple[Any, ...], np.dtype[np.int64]]

# The first rows tell how long the others take: 20 ns for one that is mapped, thousands for one that
# is not. Threads are worth waking for a millisecond; rows that are mapped already hardly gain by
# them, because what they wait for is the memory.
PROBE_ROWS: Final = 256
PROBE_BYTES: Final = 1 << 20
THREADS_FROM_S: Final = 1e-3
MAX_THREADS: Final = 8
# Offsets that are made at a time.
BATCH: Final = 1 << 16


def gather(
    array: MappedArray, indices: npt.ArrayLike, out: npt.NDArray[Any] | None
) -> npt.NDArray[Any]:
    """See `MappedArray.gather`."""
    if array._view.ndim == 0:
        raise ValueError("an array of no dimensions has no rows to gather")
    # No view in a local variable yet: the traceback of an error would keep it alive.
    length = len(array._view)
    rows = indices_of(indices, length, array.path)
    # The mapping after the view: another thread may be growing the array, and then the mapping
    # holds what the view shows, or more.
    view, mapping = array._view[...], array.mapping
    shape = rows.shape + view.shape[1:]
    result = (
        np.empty(shape, view.dtype) if out is None else checked_out(out, shape, view.dtype, [view])
    )
    if result.size == 0:
        return result
    target = result if result.flags.c_contiguous else np.empty(shape, view.dtype)
    source = _Source(mapping, array._layout.offset, length, view)
    _copy(source, rows.reshape(-1), target.reshape(-1).view(np.uint8))
    if target is not result:
        result[...] = target
    return result


def indices_of(indices: npt.ArrayLike, length: int, path: str | None) -> Rows:
    """Return indices of the first axis as contiguous int64, all of them in range.

    Raises
    ------
    TypeError
        If they are no integers.
    IndexError
        If one is out of range; it is named.
    """
    given = np.asarray(indices)
    where = "" if path is None else f" ({path!r})"
    if given.dtype == np.bool_:
        raise TypeError("rows are picked by indices, not by a mask: np.flatnonzero(mask)")
    if given.dtype == np.object_:  # of ints, if one is too large for any dtype
        for i, index in enumerate(given.flat):
            if isinstance(index, int) and not -length <= index < length:
                raise _out_of_range(index, i, given.shape, length, where)
    if given.dtype.kind not in "iu" and given.size:
        raise TypeError(f"indices must be integers, not {given.dtype}")
    if given.dtype.kind == "u" and given.size and int(given.max()) > np.iinfo(np.int64).max:
        most = int(given.argmax())
        raise _out_of_range(given.flat[most], most, given.shape, length, where)
    rows = np.ascontiguousarray(given, np.int64).reshape(given.shape)
    bad = find_bad_row(rows, length)
    if bad >= 0:
        raise _out_of_range(rows.reshape(-1)[bad], bad, rows.shape, length, where)
    return rows


def _out_of_range(
    index: int, position: int, shape: tuple[int, ...], length: int, where: str
) -> IndexError:
    found = tuple(int(i) for i in np.unravel_index(position, shape)) if shape else ()
    place = f" at position {found[0] if len(found) == 1 else found}" if found else ""
    return IndexError(f"index {index}{place} is out of range for {length} rows{where}")


def checked_out(
    out: npt.NDArray[Any],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    sources: Iterable[npt.NDArray[Any]],
) -> npt.NDArray[Any]:
    """Return where rows are to go, if they fit there and it is no part of where they come from."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be an ndarray, not {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(f"out has shape {out.shape}, but the rows have {shape}")
    if out.dtype != dtype:
        raise TypeError(f"out has dtype {out.dtype}, but the rows have {dtype}")
    if not out.flags.writeable:
        raise ValueError("out is read-only")
    if any(np.may_share_memory(out, source) for source in sources):
        raise ValueError("out overlaps the array that is gathered from")
    return out


def _runs_of(view: npt.NDArray[Any]) -> list[tuple[int, int, int]]:
    """Split a row into what lies together: bytes, offset in the row, offset in a contiguous one."""
    run = view.itemsize
    inner = view.ndim
    while inner > 1 and (view.shape[inner - 1] == 1 or view.strides[inner - 1] == run):
        run *= view.shape[inner - 1]
        inner -= 1
    places = [(0, 0)]
    step = run
    for axis in range(inner - 1, 0, -1):
        length, stride = view.shape[axis], view.strides[axis]
        places = [(i * stride + s, i * step + t) for i in range(length) for s, t in places]
        step *= length
    return [(run, source, target) for source, target in places]


class _Source(NamedTuple):
    """Where rows are copied from."""

    mapping: Mapping
    offset: int  # of the first row
    length: int  # that the indices were compared with
    view: npt.NDArray[Any]  # for everything but the length


def _copy(source: _Source, rows: Rows, target: npt.NDArray[np.uint8]) -> None:
    mapping, first, count, view = source
    stride = view.strides[0]
    row_bytes = target.size // rows.size
    whole = view.ndim == 1 or view[0].flags.c_contiguous
    runs = [(row_bytes, 0, 0)] if whole else _runs_of(view)

    def part(start: int, stop: int, interrupt: bytearray | None = None) -> None:
        for size, inner, at in runs:
            mapping._gather(
                first + inner, stride, size, count,
                rows[start:stop], target, start * row_bytes + at, row_bytes, interrupt,
            )  # fmt: skip

    try:
        _in_threads(part, rows.size, row_bytes)
    except MappingFault:
        mapping._take_fault()  # another thread's it may be: this one knows of it now, too
        raise


def _in_threads(part: Callable[..., None], count: int, row_bytes: int) -> None:
    """Run part(start, stop) over all rows; if that takes long, in threads of their own, which also
    leaves this one free to hear Ctrl-C."""
    begin = time.perf_counter()
    tried = min(count, max(1, min(PROBE_ROWS, PROBE_BYTES // row_bytes)))
    part(0, tried)
    left = (time.perf_counter() - begin) / tried * (count - tried)
    if left < THREADS_FROM_S:
        if tried < count:
            part(tried, count)
        return
    threads = min(count_cores(), MAX_THREADS, count - tried)
    cuts = [tried + (count - tried) * i // threads for i in range(threads + 1)]
    interrupt = bytearray(1)
    pool = _pool()
    parts = [Task(part, *cut, interrupt) for cut in itertools.pairwise(cuts)]
    try:
        for one in parts:
            pool.start(one)
        for one in parts:
            one.result()
    finally:  # they write into the caller's memory
        interrupt[0] = 1
        for one in parts:
            one.settle()


@functools.cache
def _pool() -> Pool:
    """Threads of this process: making one anew costs as much as copying thousands of rows."""
    return Pool(min(count_cores(), MAX_THREADS), "mmapkit-gather")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a child has none of them


# --- prefetch ---------------------------------------------------------------------------------


class Box(NamedTuple):
    """The bytes of a strided array, as far as pages can tell them apart."""

    low: int  # from the first element to the lowest byte
    run_bytes: int  # that lie together, or so close that they take every page
    axes: list[tuple[int, int]]  # count and positive stride of the axes along which runs repeat


def prefetch(array: MappedArray, key: Any) -> None:
    """See `MappedArray.prefetch`."""
    if isinstance(key, list | np.ndarray):
        if array._view.ndim == 0:
            raise IndexError("an array of no dimensions has no rows")
        length = len(array._view)
        rows = indices_of(key, length, array.path).reshape(-1)
        if array._view.size and rows.size:
            along = (length, array._view.strides[0])
            _read_ahead(array, array._view[0, ...], along, [rows])
        return
    found = array._view[key]
    if not isinstance(found, np.ndarray):  # a scalar: numpy gives a view where an Ellipsis is
        found = array._view[(*key, ...) if isinstance(key, tuple) else (key, ...)]
    if not found.size:
        return
    if not np.may_share_memory(found, array._view):
        raise TypeError(f"prefetch takes a basic index or indices of rows, not {key!r}")
    _read_ahead(array, found, (1, 0), [np.zeros(1, np.int64)])


def _read_ahead(
    array: MappedArray,
    part: npt.NDArray[Any],
    outermost: tuple[int, int],
    picked: Iterable[Rows],
) -> None:
    """Start reading a part of the array, and the same of other rows: the picked ones of `outermost`
    (count, stride), which are (1, 0) for nothing but the part."""
    box = _box_of(part)
    mapping = array.mapping
    first = mapping._holds(_address(part) + box.low, box.run_bytes)
    if first < 0:  # another thread made the array grow: it lies in another mapping now
        return
    axes = box.axes
    if outermost == (1, 0) and axes:
        outermost = max(axes)
        axes = [axis for axis in axes if axis != outermost]
        picked = (
            np.arange(start, min(start + BATCH, outermost[0]))
            for start in range(0, outermost[0], BATCH)
        )
    count, stride = outermost
    for rows in picked:
        for steps in itertools.product(*(range(0, n * step, step) for n, step in axes)):
            mapping._prefetch_rows(first + sum(steps), stride, box.run_bytes, count, rows)


def _box_of(view: npt.NDArray[Any]) -> Box:
    axes = list(zip(view.strides, view.shape, strict=True))
    run, outer = view.itemsize, []
    for step, count in sorted((abs(step), count) for step, count in axes):
        if step <= max(run, page_size()):
            run += (count - 1) * step
        else:
            outer.append((count, step))
    low = sum((count - 1) * step for step, count in axes if step < 0)
    return Box(low, run, outer)


def _address(view: npt.NDArray[Any]) -> int:
    return int(view.__array_interface__["data"][0])
