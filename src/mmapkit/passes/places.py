"""Bringing a pass's steps into memory, and out again: of a mapping, or of a file.

Reading through the file's descriptor is what brings cold pages in, for mappings too. Measured on
ext4 of Linux 6.18: pages that a large `preadv` brings in come as large folios, at the device's full
rate and whatever ``read_ahead_kb`` says, and go again as fast; the pages of MADV_WILLNEED come one
by one and cost 3 times the processor's time, and faults alone wait for the device again and again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
import time

from mmapkit.errors import CAUSES, UnsupportedError, fault
from mmapkit.mapping import anonymous
from mmapkit.mapping import open as open_mapping
from mmapkit.passes.cache import Traces
from mmapkit.passes.files import advise_file
from mmapkit.residency import page_flags

TYPE_CHECKING = False  # importing typing would cost more than all of this package
if TYPE_CHECKING:
    import io
    from collections.abc import Iterator
    from typing import Any, Final

    from mmapkit.mapping import Mapping
    from mmapkit.passes.choice import Choice
    from mmapkit.passes.cuts import Cuts, Lie

__all__ = [
    "InFile",
    "Loaded",
    "OfFile",
    "Place",
    "Whole",
    "advise_sequential",
    "is_readable",
    "look_in_file",
]

# Read into a buffer of this size, pages are on their way while the last ones are copied within the
# processor's cache. Measured: 256 KiB is half as fast where the system reads little ahead.
PRIME_BYTES: Final = 2 << 20
# What os.preadv takes at once is limited by a C int.
READ_BYTES: Final = 1 << 30
_preadv: Any = getattr(os, "preadv", None)
_READS: Final = _preadv is not None


class Loaded:
    """A step in memory.

    Attributes
    ----------
    view : memoryview or ndarray
        Its rows, from row `first` on.
    mapping : Mapping
        Where they are: of the file, or a buffer.
    """

    __slots__ = ("first", "mapping", "view", "way")

    def __init__(self, view: Any, first: int, mapping: Mapping, way: str) -> None:
        """Say what was loaded."""
        self.view, self.first, self.mapping, self.way = view, first, mapping, way


class Place:
    """What a pass takes its steps from; steps may be loaded and left by any thread.

    In this order for each step: `scout` (steps in order), `load`, `leave`; `close` at the end.
    """

    def scout(self, step: int) -> bool:
        """Look at what is resident of a step, and tell whether it has to be read."""
        raise NotImplementedError

    def load(self, step: int, cold: bool) -> Loaded:
        """Bring a step in, and wait until it is there."""
        raise NotImplementedError

    def blocks(self, step: int, loaded: Loaded) -> Iterator[Any]:
        """Iterate over a step's blocks; raises MappingFault when bytes were lost meanwhile."""
        raise NotImplementedError

    def leave(self, step: int, loaded: Loaded) -> None:
        """Let a step go; raises MappingFault if its bytes were lost meanwhile."""
        self.release(step, loaded)
        self.passed(step)

    def release(self, step: int, loaded: Loaded) -> None:
        """Take a step out of this process's memory; the page cache keeps it."""
        raise NotImplementedError

    def passed(self, step: int) -> None:
        """Take what a step read in out of the page cache, once all before it has gone, too."""
        raise NotImplementedError

    def close(self) -> None:
        """Let everything go; after this nothing is loaded any more."""
        raise NotImplementedError


class OfFile(Place):
    """Steps of one file.

    The page cache is left in order, so that a folio that two steps share goes with the second.
    """

    def __init__(self, lie: Lie, cuts: Cuts, traces: Traces | None, drop_behind: bool) -> None:
        """Take over what was looked at already; without traces the page cache is left alone."""
        self.lie, self.cuts = lie, cuts
        self._traces = traces
        self._drop_behind = drop_behind
        self._lock = threading.Lock()
        # One reader at a time: the system reads ahead of one cursor in a file, and disks like it.
        # Measured with two threads: 1.4 times as fast as both at once.
        self._reading = threading.Lock()
        self._left: set[int] = set()
        self._next = 0

    def span(self, step: int) -> tuple[int, int]:
        """First byte of a step in the file, and one past the last."""
        return self.lie.span(*self.cuts.rows(step))

    def _kept_from(self, step: int) -> int:
        """What lies before this offset is not needed after a step."""
        _, stop = self.span(step)
        return min(self.span(step + 1)[0], stop) if step + 1 < self.cuts.step_count else stop

    def scout(self, step: int) -> bool:
        """Look at what is resident of a step, and tell whether it has to be read."""
        with self._lock:
            return self._traces is not None and self._traces.scout(*self.span(step))

    def passed(self, step: int) -> None:
        """Take what a step read in out of the page cache, once all before it has gone, too."""
        if self._traces is None:
            return
        with self._lock:
            self._left.add(step)
            upto = None
            while self._next in self._left:
                self._left.remove(self._next)
                upto = self._kept_from(self._next)
                self._next += 1
            if upto is not None:
                self._evict(upto)

    def blocks(self, step: int, loaded: Loaded) -> Iterator[Any]:
        """Iterate over a step's blocks; raises MappingFault when bytes were lost meanwhile."""
        for first, last in self.cuts.blocks(step):
            yield self.lie.cut(loaded.view, first - loaded.first, last - loaded.first)
            if loaded.mapping.faulted:
                loaded.mapping.check()

    def _evict(self, upto: int | None) -> None:
        """Take out of the page cache what the pass brought in."""
        assert self._traces is not None
        for first, last in self._traces.leave(upto):
            if self._drop_behind:
                self._evict_range(first, last)

    def _evict_range(self, first: int, last: int) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Let everything go; after this nothing is loaded any more."""
        if self._traces is not None:
            with self._lock:
                self._evict(None)


class Whole(OfFile):
    """Steps of a mapping that is there already."""

    def __init__(
        self, mapping: Mapping, view: Any, lie: Lie, cuts: Cuts, drop_behind: bool
    ) -> None:
        """Pass over a view of a mapping; the view's export keeps it open."""
        self._mapping: Mapping = mapping
        self._view = view
        # Memory without a file, or of a filesystem that was read, has no other copy to come from.
        self._from_file = mapping.backend in ("map", "map-private")
        self._only_copy = mapping.mode == "c"
        # On Windows a mapping has a handle, and no descriptor.
        self._readable = self._from_file and _READS and is_readable(mapping.fileno())
        self._own = _reopen(mapping.fileno()) if self._readable else None
        first, last = lie.span(0, lie.count)
        traces = Traces(self._look, first, last) if self._from_file else None
        super().__init__(lie, cuts, traces, drop_behind)

    def _look(self, offset: int, length: int) -> bytes | None:
        return page_flags(self._mapping, *self._within(offset, offset + length))

    def _within(self, first: int, last: int) -> tuple[int, int]:
        """Offset and length in the mapping of a range of the file, as far as it is mapped."""
        start = max(0, first - self._mapping.offset)
        return start, max(0, min(last - self._mapping.offset, self._mapping.size) - start)

    def load(self, step: int, cold: bool) -> Loaded:
        """Read the pages in, and map them."""
        if self._from_file:
            first, last = self.span(step)
            if cold:
                descriptor = self._own
                if descriptor is None and self._readable:
                    descriptor = self._mapping.fileno()
                with self._reading:
                    _prime(self._mapping, descriptor, first, last)
            self._mapping.populate(*self._within(first, last))
        return Loaded(self._view, 0, self._mapping, "map")

    def release(self, step: int, loaded: Loaded) -> None:
        """Unmap the pages; changes of a private mapping stay."""
        if not self._from_file:
            return
        if self._drop_behind and not self._only_copy:
            with contextlib.suppress(UnsupportedError):  # then evicting does what can be done
                self._mapping.advise(
                    "dontneed", *self._within(self.span(step)[0], self._kept_from(step))
                )
        self._mapping.check()

    def _evict_range(self, first: int, last: int) -> None:
        with contextlib.suppress(UnsupportedError):
            self._mapping.evict(*self._within(first, last))

    def close(self) -> None:
        """Let everything go."""
        if self._own is not None:
            os.close(self._own)
            self._own = None
        self._view = None
        if not self._mapping.closed:
            super().close()


class InFile(OfFile):
    """Steps of a file, one window at a time: mapped, or read into buffers."""

    def __init__(
        self,
        file: io.FileIO,
        lie: Lie,
        cuts: Cuts,
        choice: Choice,
        traces: Traces,
        drop_behind: bool,
    ) -> None:
        """Pass over an open file, which is closed at the end."""
        super().__init__(lie, cuts, traces, drop_behind)
        self._file = file
        self._choice = choice
        self._buffers: list[Mapping] = []

    @property
    def _path(self) -> str | None:
        name = self._file.name
        return None if isinstance(name, int) else os.path.abspath(os.fsdecode(name))

    def load(self, step: int, cold: bool) -> Loaded:
        """Map a window, or fill a buffer."""
        way = self._choice.way(step)
        start = time.perf_counter()
        loaded = self._load_mapped(step, cold) if way == "map" else self._load_read(step, cold)
        first, last = self.span(step)
        with self._lock:
            self._choice.note(step, way, last - first, time.perf_counter() - start)
        return loaded

    def _load_mapped(self, step: int, cold: bool) -> Loaded:
        first, last = self.span(step)
        window = self._open(first, last)
        try:
            if window.backend == "read":
                self._choice.refused()
            else:
                if cold:
                    with self._reading:
                        _prime(window, self._file.fileno() if _READS else None, first, last)
                window.populate()
            rows = self.cuts.rows(step)
            return Loaded(self.lie.make(window, 0, rows[1] - rows[0]), rows[0], window, "map")
        except BaseException:
            window.close(defer=True)
            raise

    def _open(self, first: int, last: int, backend: str = "auto") -> Mapping:
        try:
            return open_mapping(self._file, offset=first, length=last - first, backend=backend)
        except ValueError:
            size = os.fstat(self._file.fileno()).st_size
            if size >= last:
                raise
            raise self._truncated(size) from None

    def _truncated(self, size: int) -> Exception:
        return fault(errno.ENXIO, self._path, size, 1, CAUSES.index("truncated"))

    def _load_read(self, step: int, cold: bool) -> Loaded:
        first, last = self.span(step)
        start, stop = self.cuts.rows(step)
        if not _READS:
            window = self._open(first, last, "read")
            return Loaded(self.lie.make(window, 0, stop - start), start, window, "window")
        with self._lock:
            buffer = next((b for b in self._buffers if b.exports == 0), None)
            if buffer is None:
                buffer = anonymous(max(last - first, self.span(0)[1] - self.span(0)[0]))
                with contextlib.suppress(OSError):  # 512 times fewer faults, where there are any
                    buffer.advise("hugepage")
                self._buffers.append(buffer)
            view = self.lie.make(buffer, 0, stop - start)  # from now on the buffer is taken
        with memoryview(buffer) as target, self._reading if cold else contextlib.nullcontext():
            at = first
            while at < last:
                piece = target[at - first : min(last, at + READ_BYTES) - first]
                count = _preadv(self._file.fileno(), [piece], at)
                piece.release()
                if count == 0:
                    raise self._truncated(at)
                at += count
        return Loaded(_read_only(view), start, buffer, "read")

    def release(self, step: int, loaded: Loaded) -> None:
        """Close a window, when its last view goes; a buffer is used again then."""
        loaded.view = None
        if loaded.way == "read":
            return
        if loaded.way == "map" and loaded.mapping.backend != "read":
            if self._drop_behind:
                with contextlib.suppress(UnsupportedError):
                    loaded.mapping.advise("dontneed")  # views may stay for a while
            try:
                loaded.mapping.check()
            except BaseException:
                loaded.mapping.close(defer=True)
                raise
        loaded.mapping.close(defer=True)

    def _evict_range(self, first: int, last: int) -> None:
        advise_file(self._file.fileno(), "DONTNEED", first, last)

    def close(self) -> None:
        """Let everything go."""
        if self._file.closed:
            return
        try:
            super().close()
        finally:
            self._file.close()
            for buffer in self._buffers:
                buffer.close(defer=True)
            self._buffers.clear()


def _reopen(descriptor: int) -> int | None:
    """Open a mapping's file again, so that how it is read ahead is the pass's own matter."""
    try:
        own = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY)
    except OSError:  # not Linux, or it may not be read any more
        return None
    advise_sequential(own)
    return own


def advise_sequential(descriptor: int) -> None:
    """Have the system read farther ahead: Linux doubles its reach. Measured: 10 to 20 % faster."""
    advise_file(descriptor, "SEQUENTIAL")


def is_readable(descriptor: int) -> bool:
    """Tell whether a descriptor is a file's or a disk's: others may wait for what they read."""
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:  # somebody has closed it
        return False
    return stat.S_ISREG(mode) or stat.S_ISBLK(mode)


def look_in_file(file: io.FileIO, offset: int, length: int) -> bytes | None:
    """Ask what is resident of a range of a file; None where that cannot be told."""
    try:
        with open_mapping(file, offset=offset, length=length) as window:
            return None if window.backend == "read" else page_flags(window, 0, length)
    except (OSError, ValueError):  # who reads it will say why
        return None


_scratch = threading.local()


def _prime(mapping: Mapping, descriptor: int | None, first: int, last: int) -> None:
    """Read pages into the page cache. Whoever touches them raises what went wrong."""
    if descriptor is None:
        with contextlib.suppress(OSError):
            start = max(0, first - mapping.offset)
            mapping.prefetch(start, min(last - mapping.offset, mapping.size) - start)
        return
    target = getattr(_scratch, "buffer", None)
    if target is None:
        target = _scratch.buffer = bytearray(PRIME_BYTES)
    with contextlib.suppress(OSError):
        for at in range(first, last, PRIME_BYTES):
            if _preadv(descriptor, [target], at) < PRIME_BYTES:
                return


def _read_only(view: Any) -> Any:
    if isinstance(view, memoryview):
        return view.toreadonly()
    view.flags.writeable = False
    return view
