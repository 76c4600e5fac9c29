"""What a journal that somebody left behind holds: all of it, read and checked."""

from __future__ import annotations

from mmapkit.durable import frames
from mmapkit.durable.journal import Entry, entries_from, marks, slot_of
from mmapkit.durable.window import window_over
from mmapkit.errors import JournalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final, Self

    from mmapkit._native import File

__all__ = ["REMEDIES", "Findings"]

REMEDIES: Final = (
    "Nothing was changed. mmapkit.recover(path, discard=True) throws the journal away and leaves "
    "the file as it is; force=True applies the journal all the same"
)


class Findings:
    """What a journal holds.

    Attributes
    ----------
    slot : slots.Slot
        What its generation began with.
    entries : list of Entry
        The commits that are complete, in order.
    tail : frames.Tail
        Behind the last of them.
    marked : bool
        Whether the tail is marked as applied.
    settled : int
        Up to which byte it is known to be durable.
    """

    __slots__ = ("_window", "entries", "marked", "path", "settled", "slot", "tail")

    def __init__(self, path: str, file: File) -> None:
        """Read all of it.

        Raises
        ------
        JournalError
            If it is damaged, or is no journal.
        """
        self.path = path
        self.slot = slot_of(file, path)
        self.tail = frames.tail_of(self.slot)
        self._window = window_over(file, file.size())
        try:
            self._read()
        except BaseException:
            self.close()
            raise

    def _read(self) -> None:
        path = self.path
        try:
            self.entries = list(entries_from(self._window, self.slot, self.tail))
            marker = frames.read_marker(self._window.at(self.tail.position, frames.MARKER_BYTES))
            proof = frames.evidence_of(self._window, self.slot, self.tail)
        except JournalError as error:
            raise JournalError(f"{path!r}: {error}. {REMEDIES}") from None
        unsettled = [entry for entry in self.entries if entry.sequence > self.tail.applied]
        self.settled = unsettled[0].position if unsettled else self.tail.position
        self.marked = marker is not None and marks(marker, self.slot, self.tail)
        if proof is not None:
            raise JournalError(
                f"{path!r} is damaged at byte {self.tail.position}: commit "
                f"{self.tail.sequence + 1} cannot be read, and byte {proof} proves that it was "
                "committed. Nothing was changed. mmapkit.recover(path, discard=True) throws the "
                "journal away and leaves the file as it is, perhaps with commits in part"
            )

    def close(self) -> None:
        """Let go of the journal."""
        self._window.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close."""
        self.close()

    def payload(self, position: int, length: int) -> memoryview:
        """Bytes of the journal; valid until the next are asked for."""
        return self._window.at(position, length)

    def parts(self) -> Iterator[tuple[bytes, bytes, memoryview]]:
        """Run table, checksums of the old bytes and payload of every frame, in order; each valid
        until the next."""
        for entry in self.entries:
            yield from self.parts_of(entry)

    def parts_of(self, entry: Entry) -> Iterator[tuple[bytes, bytes, memoryview]]:
        """Those of one commit."""
        for table, before, position, length in entry.parts:
            yield table, before, self.payload(position, length)

    @property
    def sizes(self) -> list[int]:
        """Bytes of the data file: at first, and after each commit."""
        return [self.slot.size, *(entry.size_after for entry in self.entries)]
