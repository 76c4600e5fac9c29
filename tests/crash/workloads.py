"""What is done on a recorded disk before the crash, with a note of what is allowed at each moment.

A note is the tuple of contents of the data file of which recovery has to produce one; None where
the file is being changed without a transaction.
"""

import contextlib
import random
import struct

from mmapkit._journal import sector_checksums
from mmapkit.durable import frames, recovery, redo
from mmapkit.durable.journal import Commit, Journal, bytes_of
from mmapkit.durable.runs import split_runs

from .enumerator import FOLDER, Disk, MemoryFiles, State

PATH = FOLDER + "data"
JOURNAL = PATH + ".mmapkit-journal"
PAGE = 1024  # two sectors: enough to be torn
FIRST_BYTES = 24 << 10


class Failure(OSError):
    """What a failing disk raises."""


class Writer:
    """Commits to a file, in the order that journal.py prescribes."""

    def __init__(self, disk, *, durable=True):
        self.disk = disk
        self.files = MemoryFiles(disk)
        self.data = self.files.open(PATH, "r+")
        self.now = bytes(disk.inodes[disk.names[PATH]])
        disk.note((self.now,) if durable else None)
        self.journal = Journal.open_or_create(
            self.files, JOURNAL, self.data, first_bytes=FIRST_BYTES
        )
        disk.note((self.now,))

    def prepared(self, content, old, *, streamed=False):
        """A Commit that turns one content into another."""
        size = max(len(content), len(old))
        runs = []
        for start in range(0, size, PAGE):
            new = content[start : start + PAGE]
            if new and new != old[start : start + PAGE]:
                if runs and runs[-1][0] + runs[-1][1] == start:
                    runs[-1][1] += len(new)
                else:
                    runs.append([start, len(new)])
        flat = [number for run in runs for number in run]
        packed = split_runs(struct.pack(f"={len(flat)}q", *flat), len(old))
        pairs = list(struct.iter_unpack("=qq", packed))
        payload = b"".join(content[offset : offset + length] for offset, length in pairs)
        before = b"".join(
            sector_checksums(old[offset : offset + length])
            for offset, length in pairs
            if offset < len(old)
        )
        if not streamed:
            return Commit(packed, payload, before, len(content))
        pieces = iter([payload[:700], payload[700:701], payload[701:]])
        return Commit(packed, pieces, before, len(content), len(payload))

    def commit(self, *contents, streamed=False):
        """Commit states of the file, one after the other, with one sync."""
        self.append(*contents, streamed=streamed)
        self.finish(*contents)

    def append(self, *contents, streamed=False):
        commits, old = [], self.now
        for content in contents:
            commits.append(self.prepared(content, old, streamed=streamed))
            old = content
        if not self.journal.room(bytes_of(commits)):
            self.journal.extend(bytes_of(commits))
        self.disk.note((self.now, *contents))
        self.journal.append(commits)
        self.commits = commits

    def finish(self, *contents):
        self.journal.sync()
        self.now = contents[-1]
        self.disk.note((self.now,))
        for commit, content in zip(self.commits, contents, strict=True):
            self.data.resize(commit.size_after)
            if commit.runs:
                payload = [
                    content[offset : offset + length]
                    for offset, length in struct.iter_unpack("=qq", commit.runs)
                ]
                self.data.write_runs(commit.runs, b"".join(payload))
        self.journal.mark_applied()

    def close(self):
        self.data.sync()
        self.journal.remove()

    def write_plainly(self, content):
        """Change the file without a transaction, durably."""
        self.disk.note(None)
        self.data.resize(len(content))
        self.data.write(0, content)
        self.data.sync()
        self.now = content
        self.disk.note((content,))


def original(size, seed=3):
    return random.Random(seed).randbytes(size)


def changed(content, *pages, value=1):
    """The content with some of its pages filled with other bytes."""
    new = bytearray(content)
    for page in pages:
        end = min((page + 1) * PAGE, len(new))
        new[page * PAGE : end] = random.Random(page * 1000 + value).randbytes(end - page * PAGE)
    return bytes(new)


def one_page(writer):
    writer.commit(changed(writer.now, 2))
    writer.close()


def scattered_pages(writer):
    writer.commit(changed(writer.now, 0, 2, 3, 6, 7))
    writer.close()


def chain(writer):
    """Commits that overlap."""
    for value, pages in enumerate([(1, 2), (2,), (2, 5), (0, 1)]):
        writer.commit(changed(writer.now, *pages, value=value))
    writer.close()


def group(writer):
    """Several commits with one sync."""
    first = changed(writer.now, 1, 2)
    second = changed(first, 2, 3, value=2)
    writer.commit(first, second, changed(second, 7, value=3))
    writer.commit(changed(writer.now, 1, value=4))
    writer.close()


def checkpoint(writer):
    """Two generations, and commits in each."""
    for value in range(6):
        writer.commit(changed(writer.now, value, 6 - value, value=value))
        if value in (2, 4):
            writer.journal.checkpoint(writer.data)
    writer.close()


def checkpoint_of_many_sectors(writer):
    """With more witnesses than go into the first sector of a slot."""
    content = writer.now + original(30 * PAGE, 8)
    writer.commit(content)
    writer.journal.checkpoint(writer.data)
    writer.commit(changed(content, 1))
    writer.journal.checkpoint(writer.data)
    writer.close()


def generations_alike(writer):
    """The frames of the second generation end where those of the first did."""
    for value in range(4):
        writer.commit(changed(writer.now, value, value=value))
        if value == 1:
            writer.journal.checkpoint(writer.data)
    writer.close()


def growth(writer):
    writer.commit(writer.now + original(2 * PAGE + 77, 5))
    writer.commit(changed(writer.now, 0, 8, 9, value=2))
    writer.commit(writer.now + original(1500, 6))
    writer.close()


def shrink(writer):
    writer.commit(changed(writer.now, 1)[: 3 * PAGE + 100])
    writer.commit(changed(writer.now, 3, value=2))
    writer.commit(writer.now + bytes(2 * PAGE) + original(600, 5))
    writer.commit(writer.now[: 5 * PAGE])
    writer.close()


def last_page(writer):
    """The last, partial page, at every sector border."""
    last = len(writer.now) // PAGE
    for value in range(3):
        writer.commit(changed(writer.now, last, value=value))
    writer.close()


def several_frames(writer):
    """One commit in many frames, handed over piece by piece."""
    with small_frames():
        writer.commit(changed(writer.now, 0, 1, 2, 3, 5, 7), streamed=True)
        writer.commit(changed(writer.now, 2, 3, 4, 5, value=2))
    writer.close()


def longer_journal(writer):
    content = writer.now + original(30 * PAGE, 9)
    writer.commit(content)
    writer.commit(changed(content, *range(3, 20, 2), value=2))
    writer.close()


def failed_append(writer):
    """An append that a full disk stops in its midst is undone, and another takes its place."""
    before = writer.now
    first = changed(before, 1, 2)
    writer.append(first, changed(first, 4, value=2))
    writer.journal.undo_append()
    writer.disk.note((before,))
    # Of the same length, so that the frame after it stands where the next one would.
    writer.commit(changed(before, 5, 6, value=3))
    writer.close()


def used_plainly_afterwards(writer):
    """Closed, changed without a transaction, opened again."""
    writer.commit(changed(writer.now, 2, 3))
    writer.close()
    writer.write_plainly(changed(writer.now, 3, value=9))
    again = Writer(writer.disk)
    again.commit(changed(again.now, 2, value=4))
    again.close()
    again.write_plainly(changed(again.now, 2, value=5))


def used_plainly_before(writer):
    """What was stored before the first transaction is not on the disk yet."""
    writer.close()
    writer.disk.note(None)
    writer.data.write(0, changed(writer.now, 1, 4))
    again = Writer(writer.disk, durable=False)
    again.commit(changed(again.now, 1, value=2))
    again.close()


def recovered_before_the_sync(writer):
    """A process dies before its sync; nobody else lives; the file is recovered."""
    before, content = writer.now, changed(writer.now, 1, 3)
    writer.append(content)
    recovery._recover_on_demand(writer.files, PATH, False, False)
    writer.disk.note((content,))
    assert writer.disk.inodes[1] == content != before


def recovered_after_a_failed_sync(writer):
    """The sync of a commit fails, and nobody knows what is durable; the file is opened again."""
    writer.commit(changed(writer.now, 4))
    before, content = writer.now, changed(writer.now, 1, 3)
    writer.append(content)

    def fail(step):
        if step.kind == "sync":
            raise Failure("the disk fails")

    writer.disk.failing = fail
    with contextlib.suppress(Failure):
        writer.journal.sync()
    writer.disk.failing = None
    recovery._recover_on_demand(writer.files, PATH, False, False)
    writer.disk.note((content,))
    assert writer.disk.inodes[1] == content != before


def recovered_then_used_plainly(writer):
    """A process dies after its sync; the file is recovered, and changed without a transaction."""
    content = changed(writer.now, 1, 3)
    writer.append(content)
    writer.journal.sync()
    writer.disk.note((content,))
    recovery._recover_on_demand(writer.files, PATH, False, False)
    writer.write_plainly(changed(content, 3, value=5))


def recovered_by_the_living(writer):
    """A process dies after its sync; another applies what it left, and goes on."""
    content = changed(writer.now, 1, 6)
    writer.append(content)
    writer.journal.sync()
    writer.disk.note((content,))
    other = Journal.open(writer.files, JOURNAL, writer.data)
    assert not other.applied
    redo.redo(other, writer.data)
    writer.now, writer.journal = content, other
    assert bytes(writer.data.read(0, 1 << 20)) == content
    writer.commit(changed(content, 1, value=2))
    writer.close()


def completed_by_the_living(writer):
    """A process dies before its sync; another finds the whole commit, and makes it last."""
    before, content = writer.now, changed(writer.now, 1, 6)
    writer.append(content)
    other = Journal.open(writer.files, JOURNAL, writer.data)
    writer.disk.note((before, content))
    redo.redo(other, writer.data)
    writer.disk.note((before, content))
    other.sync()
    writer.disk.note((content,))
    writer.journal = other
    writer.close()


WORKLOADS = (
    one_page,
    scattered_pages,
    chain,
    group,
    checkpoint,
    checkpoint_of_many_sectors,
    generations_alike,
    growth,
    shrink,
    last_page,
    several_frames,
    longer_journal,
    failed_append,
    used_plainly_afterwards,
    used_plainly_before,
    recovered_before_the_sync,
    recovered_after_a_failed_sync,
    recovered_then_used_plainly,
    recovered_by_the_living,
    completed_by_the_living,
)


@contextlib.contextmanager
def small_frames():
    """Let frames hold little, so that a commit has several."""
    before = frames.MOST_PAYLOAD_BYTES
    frames.MOST_PAYLOAD_BYTES = 2 * PAGE
    try:
        yield
    finally:
        frames.MOST_PAYLOAD_BYTES = before


def recorded(workload, *, size=7 * PAGE + 300, skipped=frozenset()):
    """Run a workload; return where it started and the disk with its log."""
    start = State({PATH: 1}, {1: original(size)})
    disk = Disk(start, skipped)
    workload(Writer(disk))
    return start, disk
