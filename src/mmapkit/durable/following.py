"""A journal that others write: how far it goes, and whether all of it is in the data file.

Only for those who keep commits out meanwhile (locks.try_reading): then it is at rest.
"""

from __future__ import annotations

import os

from mmapkit.durable import frames
from mmapkit.durable.journal import marks, require_same_file, slot_of
from mmapkit.durable.slots import SLOT_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from mmapkit._native import File
    from mmapkit.durable.files import Files

__all__ = ["Following", "following"]


# Up to where the second slot says which generation it begins.
_HEADS_BYTES: Final = SLOT_BYTES + frames.MARKER_BYTES


class Following:
    """Remembers how far it has looked, so that looking again costs a few small reads.

    Attributes
    ----------
    file : File
        The journal, open for reading.
    slot : slots.Slot
        What the generation began with, when it was last looked at.
    tail : frames.Tail
        Up to where it was applied then.
    """

    def __init__(self, file: File, data: File) -> None:
        """Take over an open journal; JournalError if it belongs to another file than `data`."""
        self.file = file
        self._heads = file.read(0, _HEADS_BYTES)
        self._marker = b""  # at the tail, when it was last applied
        self.slot = slot_of(file, file.path)
        require_same_file(self.slot, data, file.path)
        self.tail = frames.tail_of(self.slot)

    def is_applied(self) -> bool:
        """Look whether everything is in the data file; if not, somebody died on the way."""
        read = self.file.read
        heads, marker = read(0, _HEADS_BYTES), read(self.tail.position, frames.MARKER_BYTES)
        if marker == self._marker and _same_heads(heads, self._heads):
            return True
        if not _same_heads(heads, self._heads):  # a checkpoint
            slot = slot_of(self.file, self.file.path)
            if slot.generation != self.slot.generation:
                self.slot, self.tail = slot, frames.tail_of(slot)
            self._heads = heads
        tail = self.tail.copy()
        while True:
            data = read(tail.position, frames.HEADER_BYTES)
            found = frames.read_marker(data[: frames.MARKER_BYTES])
            if found is not None and marks(found, self.slot, tail):
                self.tail, self._marker = tail, data[: frames.MARKER_BYTES]
                return True
            if not frames.step_over(data, self.slot, tail):
                return False


def _same_heads(heads: bytes, others: bytes) -> bool:
    """Whether the slots begin with the same bytes: a checkpoint changes those of one."""
    first = frames.MARKER_BYTES
    return heads[:first] == others[:first] and heads[-first:] == others[-first:]


def following(known: Following | None, files: Files, path: str, data: File) -> Following | None:
    """Return the journal that lies at `path` now, if there is one: the known one, unless it was
    removed since."""
    if known is not None:
        if files.leads_to(path, known.file):
            return known
    elif not os.access(path, os.F_OK):  # sooner than an exception
        return None
    try:
        file = files.open(path, "r")
    except FileNotFoundError:  # its last user has just closed it
        return None
    try:
        return Following(file, data)
    except BaseException:
        file.close()
        raise
