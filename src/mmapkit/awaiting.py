"""The awaitable forms of `gather()` and `prefetch()`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Awaiting"]


class Awaiting:
    """`agather()` and `aprefetch()`, for a class that brings `gather()` and `prefetch()`."""

    __slots__ = ()

    def gather(
        self, indices: npt.ArrayLike, out: npt.NDArray[Any] | None = None
    ) -> npt.NDArray[Any]:
        """Copy rows, picked by index."""
        raise NotImplementedError

    def prefetch(self, key: Any = ...) -> None:
        """Start reading what ``a[key]`` will need, and do not wait."""
        raise NotImplementedError

    async def agather(
        self, indices: npt.ArrayLike, out: npt.NDArray[Any] | None = None
    ) -> npt.NDArray[Any]:
        """Await `gather()` without blocking the event loop: it runs in a thread of the loop's.

        Cancelling the task does not stop the thread: leave `out` alone until it is done.
        """
        import asyncio

        return await asyncio.to_thread(self.gather, indices, out)

    async def aprefetch(self, key: Any = ...) -> None:
        """Await `prefetch()` without blocking the event loop.

        The call can take long where the device's queue is full. It does not wait for the data.
        """
        import asyncio

        await asyncio.to_thread(self.prefetch, key)
