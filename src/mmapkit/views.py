"""From a mapping's bytes to ndarrays. Needs numpy, so it is imported when first used."""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from mmapkit.mapping import Mapping

Order = Literal["C", "F"]
LEAST_MAXDIMS: Final = 32  # numpy 1's limit; numpy 2 has 64
MAX_BYTES: Final = sys.maxsize

__all__ = [
    "MAX_BYTES",
    "Order",
    "addresses_of",
    "ndarray_at",
    "ndarray_over",
    "normal_shape",
    "span_of",
    "storable_dtype",
    "storable_shape",
]


def storable_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """Return the dtype, if its values are plain bytes of a fixed size.

    Raises
    ------
    ValueError
        For objects, whose pointers mean nothing in a file, and for items of 0 bytes.
    """
    found = np.dtype(dtype)
    if found.hasobject:
        raise ValueError(f"dtype {found} holds Python objects, which cannot be mapped")
    if found.itemsize == 0:
        raise ValueError(f"dtype {found} has items of 0 bytes; give it a length, such as 'S8'")
    if found.itemsize < 0:  # the C int of numpy before 2.2 overflowed
        raise ValueError("the items of the dtype are too large for numpy")
    return found


def normal_shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    """Return the shape as a tuple of ints; ValueError for negative ones."""
    try:
        lengths: Sequence[Any] = (shape,) if hasattr(shape, "__index__") else tuple(shape)
        result = tuple(operator.index(length) for length in lengths)
    except TypeError:
        raise TypeError(f"shape must be an int or a sequence of ints, not {shape!r}") from None
    if any(length < 0 for length in result):
        raise ValueError(f"shape {result} has a negative length")
    return result


def storable_shape(
    dtype: npt.DTypeLike, shape: int | Sequence[int], order: str = "C"
) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return dtype and shape of an array that numpy can make; a sub-array's axes join the shape.

    Raises
    ------
    ValueError
        If there are too many axes or too many bytes for numpy, or `order` is neither C nor F.
    """
    kind, lengths = storable_dtype(dtype), normal_shape(shape)
    if order not in ("C", "F"):
        raise ValueError(f"order must be 'C' or 'F', not {order!r}")
    if kind.subdtype is not None:
        if order == "F":
            raise ValueError(
                f"order 'F' has no meaning for items that are arrays themselves: {kind}"
            )
        kind, lengths = kind.base, lengths + kind.shape
    if len(lengths) > LEAST_MAXDIMS or math.prod(filter(None, lengths)) * kind.itemsize > MAX_BYTES:
        try:
            np.broadcast_to(np.zeros((), kind), lengths)  # makes nothing, and knows numpy's limits
        except ValueError as error:
            raise ValueError(f"shape {lengths} of {kind}: {error}") from None
    return kind, lengths


def span_of(
    shape: tuple[int, ...], itemsize: int, strides: tuple[int, ...] | None
) -> tuple[int, int]:
    """First and one past the last byte of an array, counted from its first element."""
    if 0 in shape:
        return 0, 0
    if strides is None:
        return 0, math.prod(shape) * itemsize
    steps = [(length - 1) * stride for length, stride in zip(shape, strides, strict=True)]
    return sum(s for s in steps if s < 0), sum(s for s in steps if s > 0) + itemsize


def addresses_of(array: npt.NDArray[Any]) -> tuple[int, int]:
    """First address of an array's elements, and one past the last."""
    # numpy's own byte_bounds() has moved from one version to another.
    first, last = span_of(array.shape, array.itemsize, array.strides)
    address = array.__array_interface__["data"][0]
    return address + first, address + last


def ndarray_over(
    mapping: Mapping,
    dtype: npt.DTypeLike,
    shape: int | Sequence[int] | None = None,
    offset: int = 0,
    order: Order = "C",
    strides: Sequence[int] | None = None,
) -> npt.NDArray[Any]:
    """See `Mapping.array`."""
    kind = storable_dtype(dtype)
    offset = operator.index(offset)
    if shape is not None:
        kind, lengths = storable_shape(kind, shape, order)
    steps = None if strides is None else tuple(operator.index(step) for step in strides)
    size = len(mapping)  # after all that may run anybody's code
    if not 0 <= offset <= size:
        raise ValueError(f"offset {offset} lies outside the mapping's {size} bytes")
    if shape is None:
        count, rest = divmod(size - offset, kind.itemsize)
        if rest:
            raise ValueError(
                f"{size - offset} bytes from offset {offset} are not a whole number of {kind} "
                f"items of {kind.itemsize} bytes; give shape="
            )
        kind, lengths = storable_shape(kind, count, order)
    if steps is not None and len(steps) != len(lengths):
        raise ValueError(f"strides {steps} and shape {lengths} differ in length")
    first, last = span_of(lengths, kind.itemsize, steps)
    if offset + first < 0 or offset + last > size:
        by = "" if steps is None else f", strides {steps}"
        raise ValueError(
            f"an array of {kind}, shape {lengths}{by} at offset {offset} takes bytes "
            f"[{offset + first}, {offset + last}), but the mapping has {size}"
        )
    found = ndarray_at(mapping, kind, lengths, offset, order, steps)
    if mapping.faulted:
        mapping._raise_if_lost(offset + first, last - first)
    return found


def ndarray_at(
    mapping: Mapping,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    offset: int,
    order: Order,
    strides: tuple[int, ...] | None = None,
) -> npt.NDArray[Any]:
    """Make the view, of a layout that was checked before."""
    # The export has to live as long as the array. np.ndarray(buffer=x) gives it back at once, even
    # that of a memoryview (numpy#9562); np.frombuffer keeps one of its own.
    held = np.frombuffer(mapping._view(), np.uint8)
    return np.ndarray(shape, dtype, held, offset, strides, order)
