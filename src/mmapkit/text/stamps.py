"""What a text was like when it was indexed, to tell whether it has only grown since."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from typing import Any

from mmapkit._scan import Plain
from mmapkit.mapping import Mapping
from mmapkit.text.windows import size_of

__all__ = ["Stamp", "mtime_of", "stat_of"]

SAMPLE_BYTES = 4096


@dataclass(frozen=True)
class Stamp:
    """Size, time of the last change in nanoseconds (0 if it is unknown), and checksums of the first
    and the last bytes."""

    size: int
    mtime_ns: int
    head: int
    tail: int

    @classmethod
    def of(cls, text: Any, size: int, mtime_ns: int) -> Stamp:
        """Take the stamp of the first `size` bytes of a text."""
        count = min(SAMPLE_BYTES, size)
        head = zlib.crc32(_read(text, 0, count))
        tail = zlib.crc32(_read(text, size - count, count))
        return cls(size, mtime_ns, head, tail)

    def matches(self, text: Any) -> bool:
        """Tell whether a text begins with what has this stamp, as far as can be seen at once."""
        return self.size <= size_of(text) and self == Stamp.of(text, self.size, self.mtime_ns)


def stat_of(mapping: Mapping) -> os.stat_result | None:
    """What the system says of a mapping's file; None where there is no file."""
    if mapping.backend == "memory" or mapping.path is None:
        return None
    # On Windows the mapping has no descriptor of the C library's.
    return os.stat(mapping.path if os.name == "nt" else mapping.fileno())


def mtime_of(text: Any) -> int:
    """When a mapped file was changed last, in nanoseconds; 0 if that is unknown."""
    try:
        found = stat_of(text) if isinstance(text, Mapping) else None
    except OSError:  # of a file that is gone, or whose descriptor is: the mapping is there
        return 0
    return 0 if found is None else found.st_mtime_ns


def _read(text: Any, start: int, count: int) -> bytes:
    if isinstance(text, Mapping):
        return text.read(start, count)
    with memoryview(Plain(text)) as view:
        return bytes(view[start : start + count])
