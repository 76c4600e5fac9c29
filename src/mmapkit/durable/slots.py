"""The two slots of a journal, of which the newer whole one counts: what its frames begin from.

Every check is a small function of its own, so that tests can show that each is needed.
"""

from __future__ import annotations

import struct

from mmapkit._journal import crc32c
from mmapkit.errors import JournalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

    from mmapkit._native import File

__all__ = [
    "FRAMES_AT",
    "MOST_OFFSET",
    "MOST_WITNESSES",
    "SLOT_BYTES",
    "Slot",
    "pack_slot",
    "read_slots",
]

SLOT_BYTES: Final = 4096
FRAMES_AT: Final = 2 * SLOT_BYTES
VERSION: Final = 1
MOST_WITNESSES: Final = 64
MOST_OFFSET: Final = 1 << 63  # off_t
SLOT_MAGIC: Final = b"mmapkitS"

_SLOT: Final = struct.Struct("<II8s8sQQQQQII")
_WITNESS: Final = struct.Struct("<QII")
_U32: Final = struct.Struct("<I")


class Slot:
    """What a generation begins with.

    Attributes
    ----------
    place : int
        Which of the two slots.
    journal : bytes
        8 random bytes that stay for the life of the journal.
    generation : int
        Counts checkpoints.
    inode, birth_ns : int
        Which data file it belongs to; 0 where the filesystem does not tell.
    size : int
        Bytes of the data file when the generation began.
    sequence : int
        Of the last commit before this generation.
    witnesses : sequence of (offset, length, checksum)
        Bytes of the data file that were durable when the generation began.
    crc : int
        The checksum of the slot, from which its frames are chained.
    """

    __slots__ = (
        "birth_ns",
        "crc",
        "generation",
        "inode",
        "journal",
        "place",
        "sequence",
        "size",
        "witnesses",
    )

    def __init__(
        self,
        place: int,
        journal: bytes,
        generation: int,
        inode: int,
        birth_ns: int,
        size: int,
        sequence: int,
        witnesses: Iterable[tuple[int, int, int]],
        crc: int = 0,
    ) -> None:
        """Take what is in it."""
        self.place = place
        self.journal = journal
        self.generation = generation
        self.inode = inode
        self.birth_ns = birth_ns
        self.size = size
        self.sequence = sequence
        self.witnesses = tuple(witnesses)
        self.crc = crc

    @property
    def offset(self) -> int:
        """Where it lies in the journal."""
        return self.place * SLOT_BYTES


def pack_slot(slot: Slot) -> bytes:
    """Return the bytes of a slot, and note its checksum."""
    body = _SLOT.pack(
        0, VERSION, SLOT_MAGIC, slot.journal, slot.generation, slot.inode, slot.birth_ns,
        slot.size, slot.sequence, len(slot.witnesses), 0,
    )[4:]  # fmt: skip
    body += b"".join(_WITNESS.pack(*witness) for witness in slot.witnesses)
    body += bytes(SLOT_BYTES - 4 - len(body))
    slot.crc = crc32c(body)
    return _U32.pack(slot.crc) + body


def _unpack_slot(data: bytes, place: int) -> Slot | None:
    """Return the slot in 4096 bytes, or None if there is no whole one."""
    if len(data) < SLOT_BYTES:
        return None
    crc, version, magic, journal, generation, inode, birth_ns, size, sequence, count, _ = (
        _SLOT.unpack_from(data)
    )
    if magic != SLOT_MAGIC or not slot_checksum_matches(data, crc):
        return None
    if not version_is_known(version):
        raise JournalError(
            f"a journal of version {version}, of which this mmapkit knows nothing: use a newer one"
        )
    if not slot_makes_sense(generation, size, count):
        raise JournalError(f"the slot at byte {place * SLOT_BYTES} of the journal makes no sense")
    witnesses = [_WITNESS.unpack_from(data, _SLOT.size + at * _WITNESS.size) for at in range(count)]
    return Slot(place, journal, generation, inode, birth_ns, size, sequence, witnesses, crc)


def read_slots(file: File) -> Slot | None:
    """Return the slot that counts: of those that are whole, the one of the higher generation."""
    data = file.read(0, FRAMES_AT)
    found = [_unpack_slot(data[place * SLOT_BYTES :][:SLOT_BYTES], place) for place in (0, 1)]
    whole = [slot for slot in found if slot is not None]
    if len(whole) == 2 and not same_journal(whole[0].journal, whole[1].journal):
        raise JournalError("the two slots belong to two journals")
    return max(whole, key=lambda slot: slot.generation, default=None)


def slot_checksum_matches(data: bytes, crc: int) -> bool:
    return crc32c(memoryview(data)[4:SLOT_BYTES]) == crc


def version_is_known(version: int) -> bool:
    return version == VERSION


def slot_makes_sense(generation: int, size: int, witness_count: int) -> bool:
    return generation > 0 and size <= MOST_OFFSET and witness_count <= MOST_WITNESSES


def same_journal(journal: bytes, wanted: bytes) -> bool:
    return journal == wanted
