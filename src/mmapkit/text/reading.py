"""A text that is searched: parts of it as bytes or views, and where its lines are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from mmapkit import _scan
from mmapkit._native import page_size
from mmapkit.errors import MappingFault
from mmapkit.mapping import Mapping

__all__ = ["Source"]

NEWLINE: Final = _scan.Needle(b"\n")
# Bytes that are read at a time to see where others are lost.
COARSE_BYTES: Final = 1 << 16


class Source:
    """Bytes of a mapping, guarded, or of a buffer, which is held.

    Attributes
    ----------
    size : int
        Bytes, as they were when the search began.
    mapping : Mapping or None
    read : callable
        A copy of the bytes from one offset to another.
    """

    # Lines up to this are copied; longer ones are views.
    long_line_bytes = 1 << 20

    def __init__(self, text: Any, size: int) -> None:
        """Hold on to a text of so many bytes."""
        self.text = text
        self.size = size
        self._fault: MappingFault | None = None
        self.mapping = text if isinstance(text, Mapping) else None
        if isinstance(text, bytes):
            self.read: Callable[[int, int], bytes] = lambda start, stop: text[start:stop]
        elif self.mapping is not None:
            self.read = self._read_guarded
        else:
            whole = memoryview(_scan.Plain(text))
            self.read = lambda start, stop: bytes(whole[start:stop])

    def _read_guarded(self, start: int, stop: int) -> bytes:
        try:
            return self.text.read(start, stop - start)  # type: ignore[no-any-return]
        except MappingFault as fault:
            # It may be told of bytes that another thread met elsewhere. If not, it is told again.
            found: bytes = self.text.read(start, stop - start)
            self._fault = fault.with_traceback(None)
            return found

    def settle(self) -> None:
        """At the end, raise a fault that is not of what was read here."""
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault

    def view(self, start: int, stop: int) -> memoryview:
        """Bytes without a copy."""
        if self.mapping is not None:
            return self.mapping[start:stop].toreadonly()
        return memoryview(_scan.Plain(self.text))[start:stop].toreadonly()

    def whole(self) -> bytes | memoryview:
        """All bytes without a copy."""
        if isinstance(self.text, bytes):
            return self.text
        found = self.view(0, self.size)
        if len(found) < self.size:
            raise ValueError(
                f"the text has become shorter than the {self.size} bytes it had: {len(found)}"
            )
        return found

    def line(self, start: int, end: int) -> bytes | memoryview:
        """A line without its ending; `end` is where its newline is, or the end of the text."""
        if end < self.size and end > start and self.read(end - 1, end) == b"\r":
            end -= 1
        return (
            self.read(start, end) if end - start <= self.long_line_bytes else self.view(start, end)
        )

    def read_if_whole(self, start: int, stop: int) -> bytes | None:
        """A copy, or None if bytes of it were lost."""
        try:
            return self.read(start, stop)
        except MappingFault:
            return None

    def find_newline(self, start: int, stop: int, interrupt: bytearray | None = None) -> int:
        """Where the first one in a range is, or -1."""
        return _scan.find(self.text, NEWLINE, start, stop, stop, interrupt) if start < stop else -1

    def line_end(self, start: int, interrupt: bytearray | None = None) -> int:
        """Where the newline of a line is, or the end of the text."""
        at = self.find_newline(start, self.size, interrupt)
        return self.size if at < 0 else at

    def whole_lines(self, start: int, stop: int) -> int:
        """Where the last line ends that is all in a range, with its newline."""
        at = _scan.rfind(self.text, NEWLINE, start, stop, stop) if start < stop else -1
        return start if at < 0 else at + 1

    def first_lost(self, start: int) -> int:
        """Where the first bytes are that are lost, from an offset on; exact to a page."""
        for step in (COARSE_BYTES, page_size()):
            while start < self.size:
                stop = min(self.size, (start // step + 1) * step)
                if self.read_if_whole(start, stop) is None:
                    break
                start = stop
        return start

    def know_of_faults(self) -> None:
        """Let this thread be told already of what another one met."""
        if self.mapping is not None:
            self.mapping._take_fault()

    def unharmed(self, found: Iterable[Any]) -> Iterator[Any]:
        """Pass on what was found in a view, while no bytes of it are lost."""
        if self.mapping is None:
            yield from found
            return
        before = self.mapping.faults
        for each in found:
            if self.mapping.faults != before:
                break
            yield each
        if self.mapping.faults != before:
            raise self.mapping._take_fault()
