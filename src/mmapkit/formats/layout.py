"""What every format answers: dtype, shape, order and the offset of the first element."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Layout"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where an array lies in its file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: str
    offset: int

    @property
    def nbytes(self) -> int:
        """Bytes of the elements; exact, however large."""
        return math.prod(self.shape) * self.dtype.itemsize
