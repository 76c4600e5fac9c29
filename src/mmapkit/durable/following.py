"""A journal that others write: how far it goes, and whether all of it is in the data file.

Only for those who keep commits out meanwhile (locks.try_reading): then it is at rest.
"""

from __future__ import annotations

import os

from mmapkit.durable import frames
from mmapkit.durable.journal import marks, require_same_file, slot_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mmapkit._native import File
    from mmapkit.durable.files import Files

__all__ = ["Following", "following"]


class Following:
    """Remembers how far it has looked, so that looking again costs a few small reads.

    Attributes
    ----------
    file : File
        The journal, open for reading.
    slot : frames.Slot
        What the generation began with, when it was last looked at.
    tail : frames.Tail
        Up to where it was applied then.
    """

    def __init__(self, file: File, data: File) -> None:
        """Take over an open journal; JournalError if it belongs to another file than `data`."""
        self.file = file
        self.inode = file.identity()[:2]
        self._heads = self._read_heads()
        self.slot = slot_of(file, file.path)
        require_same_file(self.slot, data, file.path)
        self.tail = frames.tail_of(self.slot)

    def is_applied(self) -> bool:
        """Look whether everything is in the data file; if not, somebody died on the way."""
        heads = self._read_heads()
        if heads != self._heads:  # a checkpoint
            slot = slot_of(self.file, self.file.path)
            if slot.generation != self.slot.generation:
                self.slot, self.tail = slot, frames.tail_of(slot)
            self._heads = heads
        tail = self.tail.copy()
        while True:
            data = self.file.read(tail.position, frames.HEADER_BYTES)
            marker = frames.read_marker(data[: frames.MARKER_BYTES])
            if marker is not None and marks(marker, self.slot, tail):
                self.tail = tail
                return True
            if not frames.step_over(data, self.slot, tail):
                return False

    def _read_heads(self) -> tuple[bytes, bytes]:
        """What changes with a checkpoint."""
        read = self.file.read
        return read(0, frames.MARKER_BYTES), read(frames.SLOT_BYTES, frames.MARKER_BYTES)


def following(known: Following | None, files: Files, path: str, data: File) -> Following | None:
    """Return the journal that lies at `path` now, if there is one: the known one, unless it was
    removed since."""
    try:
        now = os.stat(path)
    except FileNotFoundError:
        return None
    # The known one is open, so no other has its number.
    if known is not None and known.inode == (now.st_dev, now.st_ino):
        return known
    try:
        file = files.open(path, "r")
    except FileNotFoundError:  # its last user has just closed it
        return None
    try:
        return Following(file, data)
    except BaseException:
        file.close()
        raise
