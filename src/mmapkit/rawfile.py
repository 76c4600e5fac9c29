"""A mapping read and written through Python's file protocol."""

from __future__ import annotations

import errno
import io
import operator
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from mmapkit.mapping import Mapping

__all__ = ["MappingFile"]


class MappingFile(io.RawIOBase):
    """A raw file over a mapping's bytes; `io.BufferedReader` and `io.TextIOWrapper` work over it.

    Reads and writes are guarded copies. It keeps the mapping alive; closing it leaves the mapping
    open. Writing past the end is cut short, as on a device, since a mapping keeps its size;
    `truncate()` resizes it.
    """

    def __init__(self, mapping: Mapping) -> None:
        """Start at the first byte."""
        super().__init__()
        self._mapping = mapping
        self._position = 0
        self.name = mapping.path
        self.mode = "rb+" if mapping.writable else "rb"

    def __repr__(self) -> str:
        """Show the mapping's file and the position."""
        return f"<MappingFile {self.name!r} mode={self.mode!r} position={self._position}>"

    def _require_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on a closed file")

    def readable(self) -> bool:
        """Return True."""
        self._require_open()
        return True

    def writable(self) -> bool:
        """Return True if the mapping may be stored into."""
        self._require_open()
        return self._mapping.writable

    def seekable(self) -> bool:
        """Return True."""
        self._require_open()
        return True

    def fileno(self) -> int:
        """Return the mapping's descriptor; its own position is not this file's."""
        self._require_open()
        return self._mapping.fileno()

    def tell(self) -> int:
        """Return the position, in bytes from the mapping's start."""
        self._require_open()
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to a position, which may lie past the end, and return it."""
        self._require_open()
        offset = operator.index(offset)
        bases = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._mapping.size}
        if whence not in bases:
            raise ValueError(f"whence must be 0, 1 or 2, not {whence}")
        position = bases[whence] + offset
        if position < 0:
            raise ValueError(f"cannot seek to {position}, before the start")
        self._position = position
        return position

    def _left(self) -> int:
        return max(0, len(self._mapping) - self._position)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer as far as there are bytes; return how many."""
        self._require_open()
        count = self._mapping._transfer(self._position, buffer, False)
        self._position += count
        return count

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to `size` bytes; all that are left by default."""
        self._require_open()
        count = self._left() if size is None or size < 0 else min(size, self._left())
        data = self._mapping.read(self._position, count) if count else b""
        self._position += count
        return data

    def readall(self) -> bytes:
        """Return everything from the position to the end."""
        return self.read()

    def write(self, data: ReadableBuffer, /) -> int:
        """Store bytes at the position; return how many there was room for."""
        self._require_open()
        if not self._mapping.writable:
            raise io.UnsupportedOperation("the mapping is read-only")
        count = self._mapping._transfer(self._position, data, True)
        if not count and memoryview(data).nbytes:
            raise OSError(
                errno.EFBIG,
                f"position {self._position} is at the end of a mapping of {self._mapping.size} "
                "bytes: resize() it first",
                self.name,
            )
        self._position += count
        return count

    def truncate(self, size: int | None = None, /) -> int:
        """Resize the mapping and its file, to the position by default; return the new size."""
        self._require_open()
        size = self._position if size is None else size
        self._mapping.resize(size)
        return size

    def flush(self) -> None:
        """Push changes to the OS."""
        self._require_open()
        if not self._mapping.closed:
            self._mapping.flush(level="async")
