"""Fuzzed journals: any bytes beside a file. What comes out is a committed state, or the data file
is left as it was; never another exception, and never memory that grows with what a field claims.
"""

import functools
import struct
import tracemalloc

from mmapkit._journal import crc32c
from mmapkit.durable import frames, recovery, slots
from mmapkit.errors import JournalError

from . import test_hostile
from .campaign import content_of
from .enumerator import Disk, MemoryFiles, State
from .test_hostile import page
from .workloads import JOURNAL, PAGE, PATH, Writer, changed, original, small_frames

LARGEST_FILE = 1 << 24  # of the disk that recovers: longer files do not fit it
INTERESTING = (0, 1, 511, 512, 4095, 4096, 0xFFFF_FFFF, 1 << 31, 1 << 62, 1 << 63, (1 << 64) - 1)


class Small(Disk):
    """A disk that has an end."""

    def add(self, step):
        end = step.offset + len(step.data)
        if end > LARGEST_FILE:
            raise OSError(27, "File too large")
        super().add(step)


@functools.cache
def subjects():
    """Media with a journal to recover: (inodes, names, contents that may come out)."""
    found = []

    def add(disk, contents):
        inodes = {inode: bytes(content) for inode, content in disk.inodes.items()}
        found.append((inodes, dict(disk.names), tuple(contents)))

    disk, contents, _ = test_hostile.crashed(page(1, 2), page(2, 5, value=2), page(7, value=3))
    add(disk, contents)
    disk, contents, _ = test_hostile.crashed(page(1), page(2, value=2), applied=2)
    add(disk, contents)
    disk, contents, _ = test_hostile.crashed(
        lambda content: content + original(900, 4),
        lambda content: content[: 3 * PAGE],
        lambda content: changed(content, 1) + bytes(700),
    )
    add(disk, contents)
    with small_frames():
        disk, contents, _ = test_hostile.crashed(page(0, 1, 2, 3, 5), page(0, 1, 2, value=4))
    add(disk, contents)
    disk = Disk(State({PATH: 1}, {1: original(7 * PAGE + 300)}))
    writer = Writer(disk)
    contents = []
    for value in range(4):
        writer.commit(changed(writer.now, value, value=value))
        contents.append(writer.now)
        if value == 1:
            writer.journal.checkpoint(writer.data)
    add(disk, contents)
    return tuple(found)


class Choices:
    """Numbers out of bytes, for as long as there are any."""

    def __init__(self, data):
        self._data = data
        self._at = 0

    def __bool__(self):
        return self._at < len(self._data)

    def below(self, limit):
        taken = self._data[self._at : self._at + 4]
        self._at += 4
        return int.from_bytes(taken, "little") % limit if limit else 0


def mutate(journal, other, choices):
    """Damage a journal as the bytes say; True if checksums were made right again afterwards."""
    forged = False
    used = max(len(bytes(journal).rstrip(b"\0")), 16)
    while choices:
        kind = choices.below(9)
        at = choices.below(used)
        if kind == 0:
            journal[at] ^= 1 << choices.below(8)
        elif kind == 1:
            journal[at] = choices.below(256)
        elif kind == 2:
            del journal[at:]
            journal.extend(bytes(choices.below(3) * 512))
        elif kind == 3:  # swapped sectors
            first, second = at // 512 * 512, choices.below(used) // 512 * 512
            size = 512 * (1 + choices.below(8))
            one, two = journal[first : first + size], journal[second : second + size]
            journal[first : first + len(two)] = two
            journal[second : second + len(one)] = one
        elif kind == 4:  # spliced from another journal
            first = at // 512 * 512
            size = 512 * (1 + choices.below(16))
            journal[first : first + size] = other[first : first + size]
        elif kind in (5, 6):  # a number in the head of a slot or frame, whole or not
            base = frame_starts(journal)
            start = base[choices.below(len(base))]
            number = INTERESTING[choices.below(len(INTERESTING))] + choices.below(3) - 1
            place = start + 8 * choices.below(16)
            if place + 8 <= len(journal):
                struct.pack_into("<Q", journal, place, number % (1 << 64))
        elif kind == 7:
            base = frame_starts(journal)
            forged = seal(journal, base[choices.below(len(base))]) or forged
        else:
            journal[at : at + choices.below(64)] = bytes(choices.below(64))
        if len(journal) < 16:
            break
        used = min(used, len(journal))
    return forged


def frame_starts(journal):
    """Where slots and frames seem to begin."""
    found = [0, slots.SLOT_BYTES]
    at = bytes(journal).find(frames.FRAME_MAGIC)
    while at >= 0:
        found.append(max(at - 8, 0))
        at = bytes(journal).find(frames.FRAME_MAGIC, at + 1)
    return found


def seal(journal, start):
    """Make the checksum right of what begins there."""
    length = slots.SLOT_BYTES
    if start >= slots.FRAMES_AT and start + 72 <= len(journal):
        (length,) = struct.unpack_from("<I", journal, start + 68)
    if len(journal) < start + 4:
        return False
    crc = crc32c(bytes(journal[start + 4 : start + length]))
    struct.pack_into("<I", journal, start, crc)
    return True


def try_one(data):
    """Recover one fuzzed journal; raises what is wrong."""
    choices = Choices(data)
    every = subjects()
    inodes, names, contents = every[choices.below(len(every))]
    # All of them begin with the same file, so that another's journal as a whole is as good.
    others, other_names, other_contents = every[choices.below(len(every))]
    disk = Small(State(names, inodes))
    before = bytes(inodes[names[PATH]])
    forged = mutate(disk.inodes[names[JOURNAL]], others[other_names[JOURNAL]], choices)
    try:
        report = recovery.verify(PATH, MemoryFiles(disk))
        recovery._recover_on_demand(MemoryFiles(disk), PATH, False, bool(choices.below(2)))
    except JournalError:
        assert content_of(disk) == before, "refused, and yet changed"
        return "refused"
    except OSError as error:
        if error.errno == 27 and forged:
            return "too large"
        raise
    assert report.state != "damaged", "found damaged, and yet recovered"
    assert forged or content_of(disk) in (before, *contents, *other_contents), "neither old nor new"
    return "recovered"


def memory_of(data):
    """The most memory that recovering takes, in bytes."""
    subjects()
    tracemalloc.start()
    try:
        try_one(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
