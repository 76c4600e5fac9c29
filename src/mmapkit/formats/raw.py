"""Raw files: bytes and nothing else; the caller says what they are."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

import numpy.typing as npt

from mmapkit.formats.layout import Layout
from mmapkit.views import Order, storable_dtype, storable_shape

__all__ = ["layout_of", "rows_of"]


def layout_of(
    available_bytes: int | None,
    path: str | None,
    dtype: npt.DTypeLike | None,
    shape: int | Sequence[int] | None,
    offset: int | None,
    order: Order,
    strides: Sequence[int] | None = None,
) -> Layout:
    """Lay an array out; bytes by default, one dimension to the end of the file by default.

    `available_bytes` is the file's size, or None for a file that is still to be made.
    """
    kind = storable_dtype("u1" if dtype is None else dtype)
    start = 0 if offset is None else offset
    if start < 0:
        raise ValueError(f"offset must not be negative, and is {start}")
    steps = None if strides is None else tuple(operator.index(step) for step in strides)
    if steps is not None and shape is None:
        raise ValueError("strides= needs a shape")
    if shape is None:
        if available_bytes is None:
            raise ValueError("a new raw file needs a shape")
        shape, rest = divmod(available_bytes - start, kind.itemsize)
        if shape < 0 or rest:
            raise ValueError(
                f"{path!r} has {available_bytes} bytes: from offset {start} on that is not a whole "
                f"number of {kind} items of {kind.itemsize} bytes; give shape= or another dtype="
            )
    kind, lengths = storable_shape(kind, shape, order)
    if steps is not None and len(steps) != len(lengths):
        raise ValueError(f"strides {steps} and shape {lengths} differ in length")
    layout = Layout(kind, lengths, order, start, steps)
    first, last = layout.span
    if first < 0 or (available_bytes is not None and last > available_bytes):
        by = "" if steps is None else f", strides {steps}"
        raise ValueError(
            f"{path!r} has {available_bytes} bytes, but {kind} of shape {layout.shape}{by} at "
            f"offset {start} takes bytes [{first}, {last})"
        )
    return layout


def rows_of(
    available_bytes: int,
    path: str | None,
    dtype: npt.DTypeLike,
    row_shape: int | Sequence[int],
    offset: int,
) -> Layout:
    """Lay as many rows out as there are, to the end of the file."""
    kind, shape = storable_shape(dtype, row_shape)
    row_bytes = kind.itemsize * math.prod(shape)
    left = available_bytes - offset
    if row_bytes == 0 or left < 0 or left % row_bytes:
        raise ValueError(
            f"{path!r} has {available_bytes} bytes: from offset {offset} on that is not a whole "
            f"number of rows of {row_bytes} bytes ({kind}, row_shape {shape})"
        )
    return layout_of(available_bytes, path, kind, (left // row_bytes, *shape), offset, "C")
