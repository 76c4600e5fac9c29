"""What a format is: how its files are recognised, and where in them the arrays lie.

A new format is a module that makes one `Format`; see `npy`, the shortest, and `registry`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from mmapkit.formats.layout import Layout

__all__ = ["Contents", "Format", "Member", "Source", "Unmapped"]

# Every format says in its first bytes what it is.
HEAD_BYTES: Final = 128


class Source:
    """A file as a format's parser sees it: read by position, without faulting a page in.

    Attributes
    ----------
    path : str or None
        For messages.
    size : int
        Bytes.
    head : bytes
        The first bytes, fewer where the file is shorter.
    """

    __slots__ = ("_read", "head", "path", "size")

    def __init__(self, read: Callable[[int, int], bytes], size: int, path: str | None) -> None:
        """Read by ``read(count, offset)``, which may return fewer bytes at the end."""
        self._read = read
        self.path = path
        self.size = size
        self.head = read(min(HEAD_BYTES, size), 0)

    def peek(self, count: int, offset: int = 0) -> bytes:
        """Return `count` bytes from an offset, or as many as there are."""
        end = min(offset + count, self.size)
        if end <= offset:
            return b""
        if end <= len(self.head):
            return self.head[offset:end]
        return self._read(end - offset, offset)


class Unmapped(NamedTuple):
    """An array whose bytes do not stand in the file as they are."""

    reason: str  # the message of the FormatError: file, byte, why, and what to do
    # Where it can be loaded: bytes of memory to provide, and a function that fills them and tells
    # where in them the array lies.
    nbytes: int = 0
    fill: Callable[[memoryview], Layout] | None = None


# A callable is asked when the array is: finding it may cost a read.
Member = Layout | Unmapped | Callable[[], Layout | Unmapped]


class Contents(NamedTuple):
    """What a file holds."""

    members: dict[str, Member]
    metadata: Mapping[str, str] = MappingProxyType({})
    # Compares the file's bytes with its checksums; raises FormatError for the first that differ.
    verify: Callable[[memoryview], None] | None = None


class Format(NamedTuple):
    """A format: a name and what to do with its files.

    `recognise` looks at the content, and is asked about every file; `read` may assume nothing: it
    also gets files that only have the right suffix, and raises FormatError for what is wrong.
    """

    name: str
    recognise: Callable[[Source], bool]
    read: Callable[[Source], Contents]
    suffixes: tuple[str, ...] = ()
    several: bool = True  # False: one array a file, which open_array() opens
    modes: tuple[str, ...] = ("r", "r+", "c")
    refusal: str = ""  # why other modes are refused, and what to do instead

    def is_named(self, path: str | None) -> bool:
        """Tell whether the path ends like one of this format."""
        return path is not None and path.lower().endswith(self.suffixes)
