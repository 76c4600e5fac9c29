"""From what a pass is over to its blocks: a mapping, an array, a path."""

from __future__ import annotations

import operator
import os

from mmapkit.mapping import Mapping
from mmapkit.passes.cache import Traces
from mmapkit.passes.choice import HOWS, Choice
from mmapkit.passes.cuts import Cuts, Lie
from mmapkit.passes.files import forget_head, layout_in, open_file, size_of
from mmapkit.passes.joined import JoinedPlace, JoinedSteps
from mmapkit.passes.places import InFile, Whole, advise_sequential, look_in_file
from mmapkit.passes.running import Blocks

TYPE_CHECKING = False  # importing typing would cost more than all of this package
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    import numpy.typing as npt

    from mmapkit.array import MappedArray
    from mmapkit.formats.layout import Layout
    from mmapkit.mapping import type_of_file
    from mmapkit.passes.cuts import Steps
    from mmapkit.passes.places import Place
    from mmapkit.sharded import ShardedArray

__all__ = ["Plan", "blocks", "of_array", "of_mapping", "of_range", "of_shards", "plan_of"]

BLOCK_BYTES = 8 << 20
MAPPED = "it is mapped already"


class Plan:
    """Everything that is known of a pass before it begins.

    Attributes
    ----------
    cuts, width, choice
        How the rows are cut, bytes of one, and whether they are mapped or read.
    begin : callable
        Opens what a pass needs.
    """

    __slots__ = ("begin", "choice", "cuts", "width")

    def __init__(self, cuts: Steps, width: int, choice: Choice, begin: Callable[[], Place]) -> None:
        """Keep them together."""
        self.cuts, self.width, self.choice, self.begin = cuts, width, choice, begin

    @property
    def total_bytes(self) -> int:
        """Bytes of all rows."""
        return self.cuts.count * self.width

    def blocks(self) -> Blocks:
        """Promise the blocks."""
        return Blocks(self.cuts, self.total_bytes, self.choice, self.begin)


# --- sizes --------------------------------------------------------------------------------------


def _positive(value: Any, name: str, least: int = 1) -> int:
    number = operator.index(value)
    if number < least:
        raise ValueError(f"{name} must be at least {least}, not {number}")
    return number


def _cuts(lie: Lie, nbytes: Any, rows: Any, overlap: Any, name: str = "nbytes") -> Cuts:
    """Cut into blocks of so many bytes, or rows; at least one row that the block before lacks."""
    nbytes, overlap = _positive(nbytes, name), _positive(overlap, "overlap", 0)
    if rows is None:
        length = max(overlap + 1, nbytes // lie.pitch if lie.pitch else lie.count)
    else:
        length = _positive(rows, "rows")
        if overlap >= length:
            raise ValueError(f"overlap must be less than the {length} rows of a block: {overlap}")
    return Cuts(lie.count, length, overlap, lie.pitch)


def _byte_lie(start: int, count: int) -> Lie:
    def make(mapping: Mapping, offset: int, count: int) -> memoryview:
        return mapping[offset : offset + count]

    return Lie(start, 1, 1, count, make, lambda view, i, j: view[i:j])


def _byte_cuts(lie: Lie, size: Any, overlap: Any) -> Cuts:
    size, overlap = _positive(size, "size"), _positive(overlap, "overlap", 0)
    if overlap >= size:
        raise ValueError(f"overlap must be less than the block's {size} bytes, not {overlap}")
    return _cuts(lie, size, None, overlap, "size")


def _row_lie(layout: Layout, start: int, axis: Any = 0) -> Lie:
    """Rows along the axis on which they follow one another in the file."""
    from mmapkit.views import ndarray_at, span_of

    axis = operator.index(axis)
    dtype, shape, order, strides = layout.dtype, layout.shape, layout.order, layout.strides
    if not shape:
        raise ValueError("an array of no dimensions has no rows to make blocks of")
    if axis not in range(-len(shape), len(shape)):
        raise ValueError(f"axis {axis} is out of range for an array of {len(shape)} dimensions")
    axis %= len(shape)
    if len(shape) > 1 and axis != (0 if order == "C" else len(shape) - 1):
        raise ValueError(
            f"in order {order!r}, blocks along axis {axis} are scattered over the whole file: "
            f"a.blocks(axis={'-1' if order == 'F' else '0'}) follows it"
        )
    others = shape[:axis] + shape[axis + 1 :]
    low, high = span_of(others, dtype.itemsize, strides and strides[:axis] + strides[axis + 1 :])
    width = high - low
    pitch = strides[axis] if strides else width
    if strides and pitch < width and shape[axis] > 1:
        raise ValueError(
            f"strides {strides} do not put one row after another in the file: blocks of rows "
            "would each be all over it"
        )

    def make(mapping: Mapping, offset: int, count: int) -> npt.NDArray[Any]:
        part = (*shape[:axis], count, *shape[axis + 1 :])
        return ndarray_at(mapping, dtype, part, offset - low, order, strides)

    def cut(view: npt.NDArray[Any], i: int, j: int) -> npt.NDArray[Any]:
        return view[i:j] if axis == 0 else view[..., i:j]

    # numpy's views of nothing lie anywhere: so do rows of 0 bytes.
    if 0 in others:
        return Lie(start, 0, 0, shape[axis], make, cut)
    return Lie(start + low, pitch, width, shape[axis], make, cut)


# --- mappings -----------------------------------------------------------------------------------


def _plan_whole(mapping: Mapping, offset: int, lie: Lie, cuts: Cuts, drop_behind: bool) -> Plan:
    def begin() -> Place:  # not before it has to: a view keeps the mapping from being closed
        return Whole(mapping, lie.make(mapping, offset, lie.count), lie, cuts, drop_behind)

    return Plan(cuts, lie.width, Choice.given(MAPPED), begin)


def _plan_mapping(
    mapping: Mapping,
    size: int = BLOCK_BYTES,
    overlap: int = 0,
    drop_behind: bool = True,
    start: int = 0,
    count: int | None = None,
) -> Plan:
    """Plan a pass over bytes of a mapping: `count` of them, from `start` on."""
    lie = _byte_lie(mapping.offset + start, len(mapping) - start if count is None else count)
    cuts = _byte_cuts(lie, size, overlap)
    return _plan_whole(mapping, start, lie, cuts, drop_behind)


def _plan_array(
    array: MappedArray,
    nbytes: int = BLOCK_BYTES,
    rows: int | None = None,
    overlap: int = 0,
    drop_behind: bool = True,
    axis: int = 0,
) -> Plan:
    """Plan a pass over the rows of an array."""
    array[...]  # raises for one that is closed, or lost
    layout = array._layout
    lie = _row_lie(layout, array.mapping.offset + layout.offset, axis)
    cuts = _cuts(lie, nbytes, rows, overlap)
    first = lie.start - array.mapping.offset
    return _plan_whole(array.mapping, first, lie, cuts, drop_behind)


def _plan_shards(
    array: ShardedArray,
    nbytes: int,
    rows: int | None,
    overlap: int,
    drop_behind: bool,
    axis: int,
) -> Plan:
    """Plan a pass over the rows of all shards, as many as each has now."""
    import numpy as np

    array._require_open()
    shards = array.shards
    plans = [_plan_array(shard, nbytes, rows, overlap, drop_behind, axis) for shard in shards]
    cuts = JoinedSteps([plan.cuts for plan in plans], operator.index(overlap))

    def rows_before(part: int) -> npt.NDArray[Any] | None:
        pieces: list[npt.NDArray[Any]] = []
        left = cuts.overlap
        while part and left:
            part -= 1
            count = plans[part].cuts.count
            pieces.insert(0, shards[part].gather(np.arange(max(0, count - left), count)))
            left -= len(pieces[0])
        return np.concatenate(pieces, dtype=array.dtype) if any(map(len, pieces)) else None

    def begin() -> Place:
        counts = [plan.cuts.step_count for plan in plans]
        return JoinedPlace(cuts, counts, lambda part: plans[part].begin(), rows_before)

    return Plan(cuts, plans[0].width, Choice.given(MAPPED), begin)


def of_mapping(mapping: Mapping, size: int, overlap: int, drop_behind: bool) -> Blocks:
    """See `Mapping.blocks`."""
    return _plan_mapping(mapping, size, overlap, drop_behind).blocks()


def of_range(mapping: Mapping, start: int, stop: int) -> Blocks:
    """Pass over the bytes [start, stop) of a mapping."""
    return _plan_mapping(mapping, start=start, count=stop - start).blocks()


def of_array(
    array: MappedArray,
    nbytes: int,
    rows: int | None,
    overlap: int,
    drop_behind: bool,
    axis: int,
) -> Blocks:
    """See `MappedArray.blocks`."""
    return _plan_array(array, nbytes, rows, overlap, drop_behind, axis).blocks()


def of_shards(
    array: ShardedArray, nbytes: int, rows: int | None, overlap: int, drop_behind: bool
) -> Blocks:
    """See `ShardedArray.blocks`."""
    return _plan_shards(array, nbytes, rows, overlap, drop_behind, axis=0).blocks()


# --- files --------------------------------------------------------------------------------------


def _plan_file(
    file: type_of_file,
    how: str = "auto",
    nbytes: int = BLOCK_BYTES,
    rows: int | None = None,
    overlap: int = 0,
    drop_behind: bool = True,
    dtype: npt.DTypeLike | None = None,
    row_shape: int | Sequence[int] | None = None,
    offset: int | None = None,
    axis: int = 0,
) -> Plan:
    """Plan a pass over a file that is not mapped."""
    start = None if offset is None else _positive(offset, "offset", 0)
    with open_file(file) as opened:
        size = size_of(opened)
        # What is resident has to be looked at before the header is read.
        seen = Traces(lambda *where: look_in_file(opened, *where), start or 0, size)
        seen.scout(start or 0, start or 0)
        layout = layout_in(opened, size, dtype, row_shape, start)
        share = seen.share
        forget_head(opened, seen)
    if layout is None:
        if rows is not None:
            raise ValueError("rows= goes with arrays: a .npy file, or dtype=")
        if (start or 0) > size:
            raise ValueError(
                f"offset {start} lies past the end of {file!r}, which has {size} bytes"
            )
        lie = _byte_lie(start or 0, size - (start or 0))
        cuts = _byte_cuts(lie, nbytes, overlap)
    else:
        lie = _row_lie(layout, layout.offset, axis)
        cuts = _cuts(lie, nbytes, rows, overlap, "size")
    choice = Choice(how, lie.count * lie.width, cuts.step_count, share)

    def begin() -> Place:
        again = open_file(file)
        if isinstance(file, (str, bytes, os.PathLike)):  # a descriptor's advice is its owner's
            advise_sequential(again.fileno())
        traces = Traces(lambda *where: look_in_file(again, *where), start or 0, size)
        return InFile(again, lie, cuts, choice, traces, drop_behind)

    return Plan(cuts, lie.width, choice, begin)


def blocks(
    source: type_of_file | Mapping | MappedArray | ShardedArray,
    how: str = "auto",
    *,
    size: int = BLOCK_BYTES,
    rows: int | None = None,
    overlap: int = 0,
    drop_behind: bool = True,
    dtype: npt.DTypeLike | None = None,
    row_shape: int | Sequence[int] | None = None,
    offset: int | None = None,
    axis: int = 0,
) -> Blocks:
    """Pass over a file block by block, in bounded memory, mapping it or reading it.

    A file of any size: windows of it are mapped one at a time, or read into buffers that are used
    again when nobody holds the blocks that were in them. The next step is brought in by a thread
    while the last one is worked on.

    Parameters
    ----------
    source : path, descriptor, file object, Mapping, MappedArray or ShardedArray
        A ``.npy`` file gives ndarrays by its header, any other memoryviews, or ndarrays with
        `dtype`. A descriptor has to stay open until the pass is over. No block crosses a seam
        between shards; the first of a shard repeats, as a copy, the `overlap` rows before it.
    how : {"auto", "map", "read"}
        ``"auto"`` reads small files, and tries both ways on the first blocks of large ones;
        `Blocks.how` and `Blocks.why` tell. What is mapped already stays mapped.
    size : int
        Bytes of a block; the last may have less.
    rows : int, optional
        Rows of a block, instead of `size`.
    overlap : int
        How much of the end of each block is repeated at the start of the next: bytes, or rows of an
        array. Counts in the block's size.
    drop_behind : bool
        Let what was passed go from memory. What the page cache held before stays there, and what
        is not on the disk yet; only what this pass read in is evicted.
    dtype : dtype_like, optional
        Of a raw file's elements.
    row_shape : int or sequence of int, optional
        Of a raw file's rows, with `dtype`; one element by default.
    offset : int, optional
        Where a raw file's rows or bytes begin, in bytes. Given for a ``.npy`` file, its header is
        ignored.
    axis : int
        0; or -1 for an array in order F, whose blocks along the first axis would be scattered.

    Returns
    -------
    Blocks
        To iterate over, any number of times. Blocks that are mapped are views of the file, without
        copying; all are read-only, but for those of a source that is mapped writable. A block keeps
        its own memory alive for as long as it is held.

    Raises
    ------
    MappingFault
        While iterating, at the latest with the next block, if the file became shorter.
    ValueError
        If a value makes no sense, or an array has no dimensions.

    Examples
    --------
    >>> import numpy as np, mmapkit as mk
    >>> np.save("steps.npy", np.arange(10.0))
    >>> [float(block.sum()) for block in mk.blocks("steps.npy", rows=4)]
    [6.0, 22.0, 17.0]
    """
    return plan_of(
        source, how, size, rows, drop_behind, dtype, row_shape, offset, overlap, axis
    ).blocks()


def plan_of(
    source: Any,
    how: str,
    nbytes: int,
    rows: int | None,
    drop_behind: bool,
    dtype: npt.DTypeLike | None,
    row_shape: int | Sequence[int] | None,
    offset: int | None,
    overlap: int = 0,
    axis: int = 0,
) -> Plan:
    """Plan a pass over anything that `blocks()` takes."""
    if how not in HOWS:
        raise ValueError(f"how must be one of {', '.join(map(repr, HOWS))}, not {how!r}")
    plan = _plan_mapped(source, how, nbytes, rows, overlap, drop_behind, axis)
    if plan is None:
        return _plan_file(
            source, how, nbytes, rows, overlap, drop_behind, dtype, row_shape, offset, axis
        )
    if dtype is not None or row_shape is not None or offset is not None:
        raise ValueError("dtype=, row_shape= and offset= go with files that are not mapped yet")
    return plan


def _plan_mapped(
    source: Any,
    how: str,
    nbytes: int,
    rows: int | None,
    overlap: int,
    drop_behind: bool,
    axis: int,
) -> Plan | None:
    """Plan a pass over what is mapped; None for files."""
    if not isinstance(source, Mapping):
        if isinstance(source, (str, bytes, os.PathLike)) or hasattr(source, "fileno"):
            return None
        from mmapkit.array import MappedArray
        from mmapkit.sharded import ShardedArray

        if not isinstance(source, (MappedArray, ShardedArray)):
            is_number = hasattr(source, "__index__") and not getattr(source, "ndim", 0)
            if is_number and not isinstance(source, bool):
                return None
            raise TypeError(
                "blocks are made of a path, a descriptor, a file object, a Mapping, a MappedArray "
                f"or a ShardedArray, not of {type(source).__name__}"
            )
    if how == "read":
        raise ValueError("how='read' goes with a path: this is mapped already")
    if isinstance(source, Mapping):
        if rows is not None:
            raise ValueError("rows= goes with arrays, not with the bytes of a Mapping")
        return _plan_mapping(source, nbytes, overlap, drop_behind)
    plan = _plan_array if isinstance(source, MappedArray) else _plan_shards
    return plan(source, nbytes, rows, overlap, drop_behind, axis)
