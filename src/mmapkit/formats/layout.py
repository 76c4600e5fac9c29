"""What every format answers: dtype, shape, order and the offset of the first element."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from mmapkit.views import span_of

if TYPE_CHECKING:
    import numpy as np

    from mmapkit.views import Order

__all__ = ["Layout"]


class Layout(NamedTuple):
    """Where an array lies in its file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: Order
    offset: int
    strides: tuple[int, ...] | None = None  # of raw files only; None: contiguous, in `order`
    format: str = "raw"  # "npy" is a file with that header, which can grow

    @property
    def nbytes(self) -> int:
        """Bytes of the elements; exact, however large."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def span(self) -> tuple[int, int]:
        """First byte, and one past the last, counted from the start of the file."""
        first, last = span_of(self.shape, self.dtype.itemsize, self.strides)
        return self.offset + first, self.offset + last
