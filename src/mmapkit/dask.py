"""Arrays as Dask collections: chunks that follow the file, tasks that carry it by reference."""

from __future__ import annotations

import itertools
import os
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mmapkit._native import page_size
from mmapkit.views import addresses_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmapkit.array import MappedArray
    from mmapkit.sharded import ShardedArray

__all__ = ["chunks_along_the_file", "shards_to_dask", "to_dask", "token_of", "token_of_shards"]


def _dask() -> Any:
    try:
        import dask.array
        import dask.config
        import dask.highlevelgraph
        import dask.utils
    except ImportError as error:
        raise ImportError("to_dask() needs Dask: pip install 'mmapkit[dask]'") from error
    return dask


def to_dask(array: MappedArray, chunks: Any) -> Any:
    """See `MappedArray.to_dask`."""
    dask = _dask()
    if isinstance(chunks, str):
        limit = dask.config.get("array.chunk-size") if chunks == "auto" else chunks
        chunks = chunks_along_the_file(
            array.shape, array.strides, array.dtype.itemsize, dask.utils.parse_bytes(limit)
        )
    return dask.array.from_array(
        Source(array),
        dask.array.core.normalize_chunks(chunks, array.shape, dtype=array.dtype),
        lock=False,
        asarray=False,
        # A task of its own for the array would be run by one worker, and all others would ask it.
        inline_array=True,
        meta=np.empty((0,) * array.ndim, array.dtype),
    )


def shards_to_dask(array: ShardedArray, chunks: Any) -> Any:
    """See `ShardedArray.to_dask`."""
    dask = _dask()
    if isinstance(chunks, str):
        return _joined(dask, [to_dask(shard, chunks) for shard in array.shards])
    asked = dask.array.core.normalize_chunks(chunks, array.shape, dtype=array.dtype)
    cuts = np.cumsum((0, *asked[0]))
    parts = []
    for shard, start, stop in zip(array.shards, array.starts, array.starts[1:], strict=False):
        inside = cuts[(start < cuts) & (cuts < stop)]
        rows = np.diff(np.concatenate([[start], inside, [stop]])).tolist()
        parts.append(to_dask(shard, (tuple(rows), *asked[1:])))
    return _joined(dask, parts).rechunk(asked)  # joins what an asked chunk has of several shards


def _joined(dask: Any, parts: Sequence[Any]) -> Any:
    """Return Dask arrays, alike but for their rows, as one along the first axis.

    `dask.array.concatenate` would convert big-endian elements, and drop a structure's padding.
    """
    parts = [part for part in parts if len(part)] or parts[:1]
    if len(parts) == 1:
        return parts[0]
    name = "mmapkit-sharded-" + dask.base.tokenize([part.name for part in parts])
    heads = [(part.name, n) for part in parts for n in range(part.numblocks[0])]
    tails = list(itertools.product(*map(range, parts[0].numblocks[1:])))
    tasks = {
        (name, n, *tail): (*head, *tail) for n, head in enumerate(heads) for tail in tails
    }  # each stands for a chunk of a part
    graph = dask.highlevelgraph.HighLevelGraph.from_collections(name, tasks, parts)
    rows = tuple(length for part in parts for length in part.chunks[0])
    return dask.array.Array(graph, name, (rows, *parts[0].chunks[1:]), meta=parts[0]._meta)


def chunks_along_the_file(
    shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int, limit_bytes: int
) -> tuple[int, ...]:
    """Return the shape of chunks that lie in one piece of at most `limit_bytes` each.

    Cuts along the axis with the longest strides: whole rows in C order. A row that is larger than
    the limit is cut likewise.
    """
    room = max(1, limit_bytes // itemsize)
    chunk = [1] * len(shape)
    for axis in sorted(range(len(shape)), key=lambda axis: (abs(strides[axis]), -axis)):
        chunk[axis] = max(1, min(shape[axis], room))
        room //= chunk[axis]
        if chunk[axis] < shape[axis]:
            break
    return tuple(chunk)


def token_of(array: MappedArray) -> tuple[Any, ...]:
    """Tell arrays apart by file, time of its last change, and layout: alike in every process."""
    if array.path is None:  # nobody else can open it
        return ("mmapkit", uuid.uuid4().hex)
    file = os.stat(array.path)
    where = (array.path, file.st_size, file.st_mtime_ns, file.st_ino, array.mapping.offset)
    return ("mmapkit", *where, array.dtype, array.shape, array.strides, array.offset)


def token_of_shards(array: ShardedArray) -> tuple[Any, ...]:
    """Tell sharded arrays apart by their shards."""
    return ("mmapkit-sharded", *map(token_of, array.shards))


class Source:
    """What the tasks hold. Dask hands it slices, those of the chunks or smaller ones.

    Unpickled, it opens the file for the first part that is asked for: a scheduler unpickles tasks,
    too, and need not see the file.
    """

    def __init__(self, array: MappedArray) -> None:
        """Load parts of an array."""
        self._opened: MappedArray | None = array
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim

    def __getstate__(self) -> tuple[Any, ...]:
        """Pickle by reference."""
        reference = self._reference if self._opened is None else self._opened.__reduce__()
        return (reference, self.shape, self.dtype)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Keep the reference, and open nothing yet."""
        self._opened = None
        self._reference, self.shape, self.dtype = state
        self.ndim = len(self.shape)

    @property
    def _array(self) -> MappedArray:
        if self._opened is None:
            reopen, arguments = self._reference
            self._opened = reopen(*arguments)
        return self._opened

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        """Be named as the array is."""
        return token_of(self._array)

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        """Bring a part into memory and return a read-only view of it.

        Raises
        ------
        MappingFault
            If the file was truncated or the device fails: here, not as NaN in whatever is computed.
        """
        array = self._array
        mapping = array.mapping
        with mapping.guard():
            part = array[(*key, ...)]  # also a single element stays an ndarray
            start = -1
            if part.size:
                low, high = addresses_of(part)
                start = mapping._holds(low, high - low)
            if start >= 0:  # not a copy, as fancy indices make
                ranges = _ranges(part, start, page_size())
                mapping.prefetch(ranges)
                for offset, length in ranges:
                    mapping.populate(offset, length)
        mapping.check()  # a truncation inside a page reads as zeros and never faults
        part.flags.writeable = False  # a task that computes in place shall not change the file
        return part  # type: ignore[no-any-return]


def _ranges(part: npt.NDArray[Any], start: int, gap: int) -> list[tuple[int, int]]:
    """Offset and length of the runs of bytes of a view; gaps shorter than `gap` are run over."""
    run, begins = part.itemsize, np.zeros(1, np.int64)
    for step, length in sorted(
        (abs(step), n) for step, n in zip(part.strides, part.shape, strict=True)
    ):
        if length > 1 and step <= run + gap and len(begins) == 1:
            run += (length - 1) * step
        elif step:
            begins = np.add.outer(np.arange(length) * step, begins).ravel()
    return [(start + begin, run) for begin in begins.tolist()]
