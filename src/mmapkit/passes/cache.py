"""What was in the page cache before the pass came by, so that it can be left there."""

from __future__ import annotations

from mmapkit._native import page_size

TYPE_CHECKING = False  # importing typing would cost more than all of this package
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Traces"]

# How far ahead of the pass pages are looked at: farther than any system reads ahead by itself, for
# what our own reads brought in looks like what was there before. Linux: read_ahead_kb, 128 by
# default, 8 MiB on some disks, doubled for sequential readers.
HORIZON_BYTES = 64 << 20
LOOK_BYTES = 32 << 20
# The page cache keeps pages in naturally aligned folios, up to a huge page, and evicts them whole.
FOLIO_BYTES = 2 << 20


class Traces:
    """Flags of the pages ahead of a pass: resident before it came, or not. For one thread.

    `look(offset, length)` answers with one byte a page, 1 for resident, or with None where the
    system does not tell; such pages are taken for somebody else's.
    """

    def __init__(self, look: Callable[[int, int], bytes | None], first: int, last: int) -> None:
        """Watch bytes `first` to `last` of a file; nothing is looked at yet."""
        self._look = look
        self._page_bytes = page_size()
        self._at = first - first % self._page_bytes  # of the first flag
        self._end = last
        self._flags = bytearray()
        self._unknown = False

    @property
    def _seen(self) -> int:
        return self._at + len(self._flags) * self._page_bytes

    def scout(self, first: int, last: int) -> bool:
        """Look at a range, and well beyond; tell whether some of its pages have to be read."""
        goal = min(last + HORIZON_BYTES, self._end)
        while self._seen < goal:
            length = min(LOOK_BYTES, self._end - self._seen)
            count = -(-length // self._page_bytes)
            flags = None if self._unknown else self._look(self._seen, length)
            if flags is None:
                self._unknown = True
                flags = b""
            # A mapping that has become shorter tells of fewer pages: the others are not to be read.
            self._flags += flags.ljust(count, b"\1")
        page = self._page_bytes
        return (
            self._unknown
            or 0 in self._flags[max(0, first - self._at) // page : -(-(last - self._at) // page)]
        )

    @property
    def share(self) -> float | None:
        """Resident share of what was looked at and not left yet; None if unknown."""
        if self._unknown or not self._flags:
            return None
        return self._flags.count(1) / len(self._flags)

    def leave(self, upto: int | None) -> Iterator[tuple[int, int]]:
        """Forget the pages before an offset, in whole folios; all that were looked at if None.

        Gives the ranges, (first byte, one past the last), that the pass itself read in.
        """
        stop = self._seen if upto is None else upto - upto % FOLIO_BYTES
        count = max(0, (stop - self._at) // self._page_bytes)
        start, flags = self._at, bytes(self._flags[:count])
        del self._flags[:count]
        self._at += count * self._page_bytes
        at = 0
        while (at := flags.find(0, at)) >= 0:
            until = flags.find(1, at)
            until = len(flags) if until < 0 else until
            yield start + at * self._page_bytes, min(start + until * self._page_bytes, self._end)
            at = until
