"""Windows upon a file: what those who read a journal from its begin to its end look through."""

from __future__ import annotations

import sys

from mmapkit import _native
from mmapkit.mapping import open as open_mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Protocol

    from mmapkit._native import File

    class AnyWindow(Protocol):
        """What `Window` offers to those who read frames."""

        end: int

        def at(self, position: int, length: int) -> memoryview: ...


__all__ = ["MappedWindow", "Window", "window_over"]


class Window:
    """Reads a file forward in big pieces, of which all bytes can be had without copying."""

    LEAST: Final = 64 << 10
    MOST: Final = 2 << 20

    def __init__(self, file: File, end: int) -> None:
        """Read no further than `end`."""
        self.end = end
        self._file = file
        self._buffer = bytearray(self.LEAST)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._filled = 0
        self._ahead = self.LEAST

    def at(self, position: int, length: int) -> memoryview:
        """Bytes of the file, fewer at its end; valid until the next call."""
        begin = position - self._start
        if begin < 0 or begin + length > self._filled:
            wanted = min(max(length, self._ahead), max(self.end - position, 0))
            if wanted > len(self._buffer):
                self._buffer = bytearray(wanted)
                self._view = memoryview(self._buffer)
            self._start, begin = position, 0
            self._filled = self._file.read_into(position, self._view[:wanted])
            self._ahead = min(self._ahead * 4, self.MOST)
        return self._view[begin : min(begin + length, self._filled)]

    def close(self) -> None:
        """Nothing: the file is the caller's."""


class MappedWindow:
    """A `Window` over a whole file, which is mapped: nothing is copied."""

    def __init__(self, file: File, end: int) -> None:
        """Map the first `end` bytes, of which there is at least one."""
        self.end = end
        self._mapping = open_mapping(file.fileno(), length=end)
        self._view = memoryview(self._mapping)

    def at(self, position: int, length: int) -> memoryview:
        """Bytes of the file, fewer at its end."""
        return self._view[position : min(position + length, self.end)]

    def close(self) -> None:
        """Unmap it, with the last slice of it."""
        self._view.release()
        self._mapping.close(defer=True)


def window_over(file: File, end: int) -> Window | MappedWindow:
    """Return a window over the first `end` bytes of a file, mapped where it can be."""
    if end and sys.platform != "win32" and isinstance(file, _native.File):
        return MappedWindow(file, end)
    return Window(file, end)
