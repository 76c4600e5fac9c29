"""What every format answers: dtype, shape, order and the offset of the first element."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

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

    @property
    def nbytes(self) -> int:
        """Bytes of the elements; exact, however large."""
        return math.prod(self.shape) * self.dtype.itemsize
