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

__all__ = ["chunks_along_the_file", "shards_to_dask", "to_dask", "token_of"]


def _dask() -> Any:
    try:
        import dask.array
        import dask.blockwise
        import dask.config
        import dask.highlevelgraph
        import dask.utils
    except ImportError as error:
        raise ImportError("to_dask() needs Dask: pip install 'mmapkit[dask]'") from error
    return dask


def to_dask(array: MappedArray, chunks: Any) -> Any:
    """See `MappedArray.to_dask`."""
    dask = _dask()
    return dask.array.from_array(
        Source(array),
        _chunks_of(dask, array, chunks),
        lock=False,
        asarray=False,
        # A task of its own for the array would be run by one worker, and all others would ask it.
        inline_array=True,
        meta=_meta_of(array),
    )


def shards_to_dask(array: ShardedArray, chunks: Any) -> Any:
    """See `ShardedArray.to_dask`."""
    dask = _dask()
    if isinstance(chunks, str):
        return _lined_up(dask, array, [_chunks_of(dask, shard, chunks) for shard in array.shards])
    asked = dask.array.core.normalize_chunks(chunks, array.shape, dtype=array.dtype)
    ends = np.cumsum(asked[0])
    cuts = []
    for start, stop in itertools.pairwise(array.starts):
        inside = ends[(start < ends) & (ends < stop)]
        cuts.append((tuple(np.diff([start, *inside, stop]).tolist()), *asked[1:]))
    return _lined_up(dask, array, cuts).rechunk(asked)  # joins what crosses shards


def _lined_up(dask: Any, array: ShardedArray, cuts: Sequence[Any]) -> Any:
    """Return shards as one Dask array, each cut into chunks that differ in their rows alone.

    `dask.array.concatenate` would read whole chunks for slices of them, convert big-endian elements
    and drop a structure's padding.
    """
    parts = [part for part in zip(array.shards, cuts, strict=True) if sum(part[1][0])]
    rows: list[int] = []
    sources, slices = {}, {}
    for shard, cut in parts or [(array.shards[0], cuts[0])]:
        source, first = Source(shard), len(rows)
        places = np.ndindex(*map(len, cut))
        for place, key in zip(places, dask.array.core.slices_from_chunks(cut), strict=True):
            sources[first + place[0],] = source
            slices[(first + place[0], *place[1:])] = key
        rows += cut[0]
    chunks = (tuple(rows), *cuts[0][1:])
    counts = tuple(map(len, chunks))
    axes = tuple(range(array.ndim))
    name = "mmapkit-sharded-" + dask.base.tokenize(array, chunks)
    layer = dask.blockwise.blockwise(  # the layer of from_array(), with a source for each chunk
        dask.array.core.getter,
        name,
        axes,
        dask.blockwise.BlockwiseDepDict(sources, counts[:1]),
        axes[:1],
        dask.blockwise.BlockwiseDepDict(slices, counts),
        axes,
        numblocks={},
        asarray=False,
        lock=False,
    )
    graph = dask.highlevelgraph.HighLevelGraph.from_collections(name, layer)
    return dask.array.Array(graph, name, chunks, meta=_meta_of(array))


def _chunks_of(dask: Any, array: MappedArray, chunks: Any) -> Any:
    """Return the lengths of the chunks along each axis; a text says how large they are."""
    if isinstance(chunks, str):
        limit = dask.config.get("array.chunk-size") if chunks == "auto" else chunks
        chunks = chunks_along_the_file(
            array.shape, array.strides, array.dtype.itemsize, dask.utils.parse_bytes(limit)
        )
    return dask.array.core.normalize_chunks(chunks, array.shape, dtype=array.dtype)


def _meta_of(array: MappedArray | ShardedArray) -> npt.NDArray[Any]:
    return np.empty((0,) * array.ndim, array.dtype)


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
