"""What arrays in files have of an ndarray's operators, ufuncs and conversions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt
from numpy.lib.mixins import NDArrayOperatorsMixin

__all__ = ["Operators", "raise_if_any_lost"]

_Found = TypeVar("_Found")


class Operators(NDArrayOperatorsMixin):
    """Operators of an ndarray, for a class whose ``a[...]`` is the whole array as one.

    That is a view of the elements, or a copy that owns its memory: what an operation stores into
    one is stored into the files then.
    """

    __slots__ = ()

    @property
    def ndim(self) -> int:
        """Number of axes."""
        raise NotImplementedError

    def __getitem__(self, key: Any) -> Any:
        """Return what numpy would."""
        raise NotImplementedError

    def __setitem__(self, key: Any, value: npt.ArrayLike) -> None:
        """Store into the file."""
        raise NotImplementedError

    def _require_writable(self) -> None:
        """Raise TypeError if nothing can be stored."""
        raise NotImplementedError

    def _raise_if_any_lost(self) -> None:
        """Raise MappingFault if elements that were touched have been lost."""
        raise NotImplementedError

    def _require_one_piece(self) -> None:
        """Raise ValueError if ``a[...]`` is a copy."""

    def _checked(self, found: _Found) -> _Found:
        """What was computed from the elements, unless that met a fault."""
        self._raise_if_any_lost()
        return found

    def __contains__(self, item: object) -> bool:
        """Tell whether any element equals the item, as numpy does."""
        return self._checked(item in self[...])

    def __bool__(self) -> bool:
        """Tell the truth of a single element; more than one raise ValueError, as in numpy."""
        return self._checked(bool(self[...]))

    def __int__(self) -> int:
        """Convert a single element."""
        return self._checked(int(self[...]))

    def __float__(self) -> float:
        """Convert a single element."""
        return self._checked(float(self[...]))

    def __complex__(self) -> complex:
        """Convert a single element."""
        return self._checked(complex(self[...]))

    def __index__(self) -> int:
        """Convert a single integer."""
        return self._checked(int(self[...].__index__()))

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        """Give numpy the whole array, without copying unless it is asked to or has to convert.

        Raises
        ------
        ValueError
            With ``copy=False``, if the dtype differs, or the elements do not lie in one piece.
        """
        if copy is False:
            self._require_one_piece()
        whole: npt.NDArray[Any] = self[...]
        if dtype is not None and np.dtype(dtype) != whole.dtype:
            if copy is False:
                raise ValueError(f"converting {whole.dtype} to {np.dtype(dtype)} needs a copy")
            return self._checked(whole.astype(dtype))
        return self._checked(whole.copy()) if copy and not whole.flags.owndata else whole

    def __dlpack__(self, **how: Any) -> Any:
        """Export the elements as a DLPack capsule; parameters as numpy's.

        Without copying, unless it is asked to or they do not lie in one piece.

        Raises
        ------
        BufferError
            If the array is read-only and the consumer cannot say that it will not write (DLPack
            before 1.0); if the dtype has no counterpart. With ``copy=False``, if the elements do
            not lie in one piece.
        """
        if how.get("copy") is False:
            try:
                self._require_one_piece()
            except ValueError as error:
                raise BufferError(str(error)) from None
        return self[...].__dlpack__(**how)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Tell the DLPack device: the CPU, which is the first kind and has no number."""
        return 1, 0

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Compute on the elements (NEP 13); results are ndarrays, unless ``out`` is in a file."""
        out, where = kwargs.get("out", ()), kwargs.get("where", True)
        # at() stores into its first operand, and numpy 2.4 does so even where it may only read: in
        # a read-only mapping that ends the process.
        targets = inputs[:1] if method == "at" else out
        stored = [target for target in targets if isinstance(target, Operators)]
        for target in stored:
            target._require_writable()
        elements = _elements_once(*inputs, *out, where) if stored else _elements
        if out:
            kwargs["out"] = tuple(map(elements, out))
        if where is not True:
            kwargs["where"] = elements(where)
        found = getattr(ufunc, method)(*map(elements, inputs), **kwargs)
        for target in stored:
            if elements(target).flags.owndata:
                target[...] = elements(target)
        raise_if_any_lost(*inputs, *out, where)
        if not out or not stored:
            return found
        if len(out) == 1:
            return out[0]
        return tuple(
            result if target is None else target for result, target in zip(found, out, strict=True)
        )

    def __imatmul__(self, other: Any) -> Self:
        """Multiply matrices in place; ValueError where the product is smaller than the array."""
        # numpy.matmul(out=) would repeat it to fill the array; an ndarray's @= refuses, too.
        if self.ndim < 1 or np.ndim(other) < 2:
            raise ValueError(
                f"in place, an array of at least one dimension is multiplied by one of at least "
                f"two, not {self.ndim} by {np.ndim(other)}"
            )
        product: Self = super().__imatmul__(other)
        return product

    # What zarr calls on values that it writes.

    def astype(self, dtype: npt.DTypeLike, **how: Any) -> npt.NDArray[Any]:
        """Return the elements converted, in memory; parameters as of `numpy.ndarray.astype`."""
        return self._checked(self[...].astype(dtype, **how))

    def ravel(self, order: str = "C") -> npt.NDArray[Any]:
        """Return the elements along one axis: a view of the file where they lie in that order."""
        return self._checked(self[...].ravel(order))

    # An ndarray compares more than the ufuncs do: structures, for one.

    def __eq__(self, other: object) -> Any:
        """Compare element by element."""
        found = self[...] == _elements(other)
        raise_if_any_lost(self, other)
        return found

    def __ne__(self, other: object) -> Any:
        """Compare element by element."""
        found = self[...] != _elements(other)
        raise_if_any_lost(self, other)
        return found

    __hash__ = None  # type: ignore[assignment]


def _elements(value: Any) -> Any:
    return value[...] if isinstance(value, Operators) else value


def _elements_once(*values: Any) -> Callable[[Any], Any]:
    """Give the elements of each value once: what is an operand and `out`, too, is copied once."""
    arrays = {id(value): value[...] for value in values if isinstance(value, Operators)}
    return lambda value: arrays.get(id(value), value)


def raise_if_any_lost(*values: object) -> None:
    """Raise MappingFault if one of the values is an array in a file, and has lost elements."""
    for value in values:
        if isinstance(value, Operators):
            value._raise_if_any_lost()
