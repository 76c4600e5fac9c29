"""A disk in memory that records every step, and everything that a crash may leave of it.

What a crash leaves is decided by these rules, which are no stricter than what filesystems promise:

- What was synced is there. Of what was written since, each sector of 512 bytes may be there or not,
  whatever the order.
- What was not synced when a sync failed may never be, whatever later syncs say, until it is written
  again (man 2 fsync: the pages may be clean afterwards).
- A file that became longer may have become so in part, or not at all.
- A name that was created, replaced or removed may still be as it was, until its folder is synced.
"""

import os
import random
import sys
from dataclasses import dataclass, field

from mmapkit import _native
from mmapkit.durable.files import Files

SECTOR = 512
FOLDER = os.path.join(os.path.abspath("/memory"), "")


@dataclass
class State:
    """What is on the medium: names, and the bytes of each inode."""

    names: dict
    inodes: dict

    def copy(self):
        return State(dict(self.names), dict(self.inodes))

    def key(self):
        return hash((tuple(sorted(self.names.items())), tuple(sorted(self.inodes.items()))))


@dataclass
class Step:
    """One recorded step; `kind` is write, resize, sync, create, rename, remove, folder or note."""

    kind: str
    inode: int = 0
    offset: int = 0
    data: bytes = b""
    path: str = ""
    target: str = ""
    site: str = ""
    note: object = None
    lost: bool = False  # a sync of it has failed


@dataclass
class Disk:
    """What the page cache shows now, and how it came so.

    `skipped` are the sites whose syncs are left out: the name of the calling function.
    """

    start: State
    skipped: frozenset = frozenset()
    names: dict = field(default_factory=dict)
    inodes: dict = field(default_factory=dict)
    log: list = field(default_factory=list)
    sites: set = field(default_factory=set)
    failing: object = None  # called with each step before it is done; may raise

    def __post_init__(self):
        self.names = dict(self.start.names)
        self.inodes = {inode: bytearray(data) for inode, data in self.start.inodes.items()}

    def add(self, step):
        if self.failing is not None:
            self.failing(step)
        self.log.append(step)

    def note(self, what):
        self.log.append(Step("note", note=what))

    def sync(self, step):
        self.sites.add(step.site)
        if step.site in self.skipped:
            return
        try:
            self.add(step)
        except OSError:
            self.log.append(Step("lost", step.inode))
            raise


def _site():
    """Which function asks for a sync."""
    frame = sys._getframe(2)
    return f"{frame.f_globals['__name__'].rpartition('.')[2]}.{frame.f_code.co_name}"


class MemoryFile:
    """What `mmapkit._native.File` offers, on a Disk."""

    def __init__(self, disk, path, mode, inode):
        self.path, self.mode, self.closed = path, mode, False
        self._disk, self._inode = disk, inode
        self._bytes = disk.inodes[inode]

    def close(self):
        self.closed = True

    def size(self):
        return len(self._bytes)

    def identity(self):
        return (1, self._inode, 1000 + self._inode)

    def allocated(self):
        return len(self._bytes)

    def read(self, offset, length):
        assert not self.closed
        return bytes(self._bytes[offset : offset + length])

    def read_into(self, offset, buffer):
        assert not self.closed
        view = memoryview(buffer).cast("B")
        found = self._bytes[offset : offset + len(view)]
        view[: len(found)] = found
        return len(found)

    def write(self, offset, *parts):
        assert not self.closed
        assert self.mode != "r"
        data = b"".join(map(bytes, parts))
        self._disk.add(Step("write", self._inode, offset, data))
        _write(self._bytes, offset, data)

    def write_runs(self, runs, data):
        pairs = memoryview(runs).cast("B").cast("q")
        data = memoryview(data).cast("B")
        assert sum(pairs[1::2]) == len(data)
        at = 0
        for offset, length in zip(pairs[::2], pairs[1::2], strict=True):
            self.write(offset, data[at : at + length])
            at += length

    def read_runs(self, runs, out):
        pairs = memoryview(runs).cast("B").cast("q")
        parts = [
            self.read(offset, length).ljust(length, b"\0")
            for offset, length in zip(pairs[::2], pairs[1::2], strict=True)
        ]
        memoryview(out).cast("B")[:] = b"".join(parts)

    def resize(self, size):
        assert self.mode != "r"
        self._disk.add(Step("resize", self._inode, size))
        _resize(self._bytes, size)

    def allocate(self, offset, length):
        pass

    def sync(self):
        assert not self.closed
        self._disk.sync(Step("sync", self._inode, site=f"{_site()}:{self._kind()}"))

    def _kind(self):
        return "data" if os.path.basename(self.path) == "data" else "journal"

    def try_lock(self, offset, length, exclusive):
        return True

    def unlock(self, offset, length):
        pass


class MemoryFiles(Files):
    """The filesystem over a Disk."""

    def __init__(self, disk):
        self.disk = disk
        self._random = random.Random(7)

    @staticmethod
    def name_of(path):
        """What a path of the system is called here."""
        return FOLDER + os.path.basename(path)

    def open(self, path, mode):
        disk = self.disk
        if mode == "x+":
            if path in disk.names:
                raise FileExistsError(path)
            inode = max(disk.inodes, default=0) + 1
            disk.add(Step("create", inode, path=path))
            disk.inodes[inode] = bytearray()
            disk.names[path] = inode
        elif path not in disk.names:
            raise FileNotFoundError(path)
        return MemoryFile(disk, path, mode, disk.names[path])

    def exists(self, path):
        return path in self.disk.names

    def replace(self, source, target):
        self.disk.add(Step("rename", path=source, target=target))
        self.disk.names[target] = self.disk.names.pop(source)

    def remove(self, path):
        if path not in self.disk.names:
            raise FileNotFoundError(path)
        self.disk.add(Step("remove", path=path))
        del self.disk.names[path]

    def sync_directory(self, path):
        self.disk.sync(Step("folder", site=_site() + ":folder"))

    def imitate(self, file, model):
        pass

    def random(self, count):
        return self._random.randbytes(count)


class RecordedFile:
    """A file of the system, whose steps are recorded on a Disk."""

    def __init__(self, disk, path, mode, inode):
        self._file = _native.File(path, mode)
        self._disk, self._inode, self._name = disk, inode, MemoryFiles.name_of(path)

    def __getattr__(self, name):
        return getattr(self._file, name)

    def identity(self):
        return (1, self._inode, 1000 + self._inode)

    def write(self, offset, *parts):
        self._disk.add(Step("write", self._inode, offset, b"".join(map(bytes, parts))))
        self._file.write(offset, *parts)

    def write_runs(self, runs, data):
        pairs = memoryview(runs).cast("B").cast("q")
        data = memoryview(data).cast("B")
        at = 0
        for offset, length in zip(pairs[::2], pairs[1::2], strict=True):
            self.write(offset, data[at : at + length])
            at += length

    def resize(self, size):
        self._disk.add(Step("resize", self._inode, size))
        self._file.resize(size)

    def sync(self):
        kind = "journal" if "journal" in self._name else "data"
        self._disk.sync(Step("sync", self._inode, site=f"{_site()}:{kind}"))
        self._file.sync()


class RecordedFiles(Files):
    """The system's files, recorded on a Disk under the names that MemoryFiles knows."""

    def __init__(self, disk):
        self.disk = disk

    def open(self, path, mode):
        disk, name = self.disk, MemoryFiles.name_of(path)
        if mode != "x+":
            return RecordedFile(disk, path, mode, disk.names[name])
        inode = max(disk.inodes) + 1
        file = RecordedFile(disk, path, mode, inode)
        disk.add(Step("create", inode, path=name))
        disk.inodes[inode], disk.names[name] = bytearray(), inode
        return file

    def replace(self, source, target):
        super().replace(source, target)
        source, target = MemoryFiles.name_of(source), MemoryFiles.name_of(target)
        self.disk.add(Step("rename", path=source, target=target))
        self.disk.names[target] = self.disk.names.pop(source)

    def remove(self, path):
        super().remove(path)
        self.disk.add(Step("remove", path=MemoryFiles.name_of(path)))
        del self.disk.names[MemoryFiles.name_of(path)]

    def sync_directory(self, path):
        self.disk.sync(Step("folder", site=_site() + ":folder"))


def _write(content, offset, data):
    if len(content) < offset + len(data):
        content.extend(bytes(offset + len(data) - len(content)))
    content[offset : offset + len(data)] = data


def _resize(content, size):
    if size < len(content):
        del content[size:]
    else:
        content.extend(bytes(size - len(content)))


# --- crashes --------------------------------------------------------------------------------------


def apply_step(state, step, keep=None):
    """Let a step have reached the medium; of a write the sectors for which `keep(n)` is true."""
    if step.kind == "create":
        state.names[step.path] = step.inode
        state.inodes.setdefault(step.inode, b"")
    elif step.kind == "rename":
        if step.path in state.names:
            state.names[step.target] = state.names.pop(step.path)
    elif step.kind == "remove":
        state.names.pop(step.path, None)
    elif step.kind in ("write", "resize"):
        content = bytearray(state.inodes.get(step.inode, b""))
        if step.kind == "resize":
            _resize(content, step.offset)
        else:
            for number, (offset, data) in enumerate(_sectors(step)):
                if keep is None or keep(number):
                    _write(content, offset, data)
        state.inodes[step.inode] = bytes(content)


def _sectors(step):
    """Cut a write where sectors of the file end."""
    at = 0
    while at < len(step.data):
        offset = step.offset + at
        count = min(SECTOR - offset % SECTOR, len(step.data) - at)
        yield offset, step.data[at : at + count]
        at += count


def _sector_count(step):
    return (step.offset + len(step.data) - 1) // SECTOR - step.offset // SECTOR + 1


NAMES = ("create", "rename", "remove")


def crashes(start, log, *, seed=1, subsets=3, most_single=12):
    """Yield (note, State) for every crash that is tried, each state once for each note.

    A note is what the workload last said: what is allowed there.
    """
    durable = start.copy()
    pending = []  # steps that have not been synced, in order
    note = None
    chance = random.Random(seed)
    seen = set()

    def once(state):
        key = (id(note), state.key())
        if key in seen:
            return
        seen.add(key)
        yield note, state

    for step in [*log, None]:
        if step is not None and step.kind == "note":
            note = step.note
            continue
        if step is not None and step.kind == "lost":
            for other in pending:
                other.lost = other.lost or other.inode == step.inode
            continue
        if step is not None and step.kind in ("sync", "folder"):
            for variant in _variants(durable, pending, chance, subsets, most_single):
                yield from once(variant)
            pending = _settle(durable, pending, step)
            continue
        if step is not None:
            pending.append(step)
            for variant in _newest(durable, pending, chance):
                yield from once(variant)
        else:
            for variant in _variants(durable, pending, chance, subsets, most_single):
                yield from once(variant)


def _settle(durable, pending, sync):
    """Make what a sync covers durable; return the rest. A file that is synced exists."""
    left = []
    for step in pending:
        if step.lost or not _is_covered(step, sync):
            left.append(step)
            continue
        apply_step(durable, step)
        left = [other for other in left if not _replaces(step, other)]
    return left


def _is_covered(step, sync):
    if sync.kind == "folder":
        return step.kind in NAMES
    return step.inode == sync.inode and step.kind in ("write", "resize")


def _replaces(step, other):
    """Whether what was lost has been written again."""
    return (
        step.inode == other.inode
        and step.kind == other.kind == "write"
        and step.offset <= other.offset
        and other.offset + len(other.data) <= step.offset + len(step.data)
    )


def _built(durable, pending, present, keep=None):
    """The medium with those pending steps; `keep` tears the step of a number."""
    state = durable.copy()
    for number, step in enumerate(pending):
        if present(number):
            tear = keep.get(number) if keep else None
            apply_step(state, step, tear)
    return state


def _newest(durable, pending, chance):
    """What differs by the step that came last."""
    last = len(pending) - 1
    yield _built(durable, pending, lambda number: True)  # a killed process
    yield _built(durable, pending, lambda number: number == last)
    if pending[last].kind == "write":
        for keep in _tears(_sector_count(pending[last]), chance):
            yield _built(durable, pending, lambda number: True, {last: keep})


def _tears(count, chance):
    """Ways of writing some of the sectors of a write."""
    if count < 2:
        return
    yield lambda number: number > 0
    yield lambda number: number < count - 1
    if count > 2:
        yield lambda number: number == 0
        yield lambda number: number == count - 1
        hole = chance.randrange(1, count - 1)
        yield lambda number: number != hole
        mask = chance.getrandbits(count)
        yield lambda number: bool(mask >> number & 1)


def _variants(durable, pending, chance, subsets, most_single):
    """Before a sync, or at the end: everything that may be missing."""
    yield durable.copy()
    count = len(pending)
    for length in range(1, count):
        yield _built(durable, pending, lambda number, length=length: number < length)
    missing = range(count)
    if count > most_single:
        missing = chance.sample(missing, most_single)
    for gone in missing:
        yield _built(durable, pending, lambda number, gone=gone: number != gone)
    for torn in missing:
        if pending[torn].kind == "write":
            for keep in _tears(_sector_count(pending[torn]), chance):
                yield _built(durable, pending, lambda number: True, {torn: keep})
    for _ in range(subsets if count > 1 else 0):
        mask = chance.getrandbits(count)
        keep = {}
        for number, step in enumerate(pending):
            if step.kind == "write" and chance.random() < 0.5:
                bits = chance.getrandbits(_sector_count(step))
                keep[number] = lambda sector, bits=bits: bool(bits >> sector & 1)
        yield _built(durable, pending, lambda number, mask=mask: bool(mask >> number & 1), keep)
