"""What everything that is open until it is closed has in common."""

from __future__ import annotations

from types import TracebackType
from typing import Self

__all__ = ["Closing", "why_closed"]


def why_closed(path: object) -> str:
    """What is wrong with using a closed array; `path` is that of its file, if it has one."""
    return "the array is closed" if path is None else f"the array is closed ({path!r})"


class Closing:
    """A context manager over `close(defer=)` and `closed`, which the class brings."""

    __slots__ = ()

    @property
    def closed(self) -> bool:
        """True after `close()`."""
        raise NotImplementedError

    def close(self, *, defer: bool = False) -> None:
        """Close; with `defer` and live views, unmap with the last of them."""
        raise NotImplementedError

    def _require_open(self) -> None:
        if self.closed:
            raise ValueError(why_closed(getattr(self, "path", None)))

    def __enter__(self) -> Self:
        """Return what was opened."""
        self._require_open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close; with live views while an exception is under way, close with the last of them."""
        self.close(defer=error is not None)
