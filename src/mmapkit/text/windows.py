"""How a text is walked through: at once if it is in memory, in bounded memory if it is not."""

from __future__ import annotations

import contextlib
import itertools

from mmapkit._scan import Plain
from mmapkit.cores import count_cores
from mmapkit.errors import MappingFault
from mmapkit.mapping import Mapping
from mmapkit.pools import Pool, Task

TYPE_CHECKING = False  # importing typing would cost more than all of this package
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import Any, Self

    from mmapkit.passes.progress import Report

__all__ = ["SMALL_BYTES", "Crew", "is_one_window", "size_of", "windows"]

# What is in memory is worked on so much at a time: long enough for a call to be nothing.
WARM_BYTES = 64 << 20
# If that share of it is in memory, the rest may come as it is touched. Reading ahead of what is
# there already, and letting go behind it, takes several times as long as the work.
MOSTLY = 7 / 8
# So many windows at most are looked at before the first of them is worked on.
COLD_WINDOWS = 64
# A range up to this size is not worth asking where it is.
SMALL_BYTES = 4 << 20
# A thread gets no less than this.
SHARE_BYTES = 1 << 20


def size_of(text: Any) -> int:
    """Bytes of a mapping or of anything with a buffer.

    Raises
    ------
    TypeError
        If there is no buffer; of a str it says how to encode it.
    BufferError or ValueError
        If its bytes do not lie together, or it is closed.
    """
    if isinstance(text, Mapping):
        text._require_open_for("search it")
        return text.size
    if isinstance(text, str):
        raise TypeError("bytes are searched, not str: give text.encode()")
    if isinstance(text, bytes):
        return len(text)
    try:
        with memoryview(Plain(text)) as view:
            return view.nbytes
    except (BufferError, ValueError):
        with memoryview(text):  # tells what else may be wrong, such as that it is closed
            raise BufferError(
                "the bytes to search have to lie together (C-contiguous): copy them first, as "
                "numpy.ascontiguousarray() does"
            ) from None
    except TypeError:
        raise TypeError(
            f"a Mapping or an object with a buffer of bytes is searched, not {type(text).__name__}"
        ) from None


def is_one_window(
    text: Any, start: int, stop: int, threads: int | None, progress: bool | Report
) -> bool:
    """Tell whether one call does it all: the short way, for what is small or in memory."""
    one = type(threads) is int and threads == 1  # of anything else Crew tells what is wrong
    return one and progress is False and _in_memory(text, start, stop - start, 1)


def windows(
    text: Any,
    start: int,
    stop: int,
    *,
    end: int | None = None,
    progress: bool | Report = False,
) -> Iterator[tuple[int, int]]:
    """Give ranges that adjoin and make up [start, stop); each is to be worked on before the next.

    What is not in memory is read ahead of the work, and leaves memory behind it. The work on the
    last range reads up to `end`, if that is farther than `stop`.
    """
    total = (stop if end is None else end) - start
    with _telling(progress, total) as tell:
        for first, last in _ranges(text, start, stop):
            yield first, last
            tell(total if last == stop else last - start)


def _telling(
    progress: bool | Report, total: int
) -> AbstractContextManager[Callable[[int], object]]:
    if progress is False:  # the usual one: spares an import
        return contextlib.nullcontext(lambda done: None)
    from mmapkit.passes.progress import progress_for

    return progress_for(progress, total)


def _ranges(text: Any, start: int, stop: int) -> Iterator[tuple[int, int]]:
    at = start
    while at < stop:
        cold = at
        most = min(stop, at + COLD_WINDOWS * WARM_BYTES)
        while at < most and not _in_memory(text, at, min(WARM_BYTES, stop - at), MOSTLY):
            at = min(stop, at + WARM_BYTES)
        if at > cold:
            yield from _cold(text, cold, at)
        else:
            at = min(stop, at + WARM_BYTES)
            yield cold, at


def _in_memory(text: Any, start: int, size: int, share: float) -> bool:
    if not isinstance(text, Mapping) or text.backend not in ("map", "map-private"):
        return True
    if size <= SMALL_BYTES:
        return True
    found = text._cached_pages(start, size)
    if found is None:
        from mmapkit.residency import estimate

        known = estimate(text, start, size)
        return known is None or known >= share
    return found[0] >= share * found[1]


def _cold(mapping: Mapping, start: int, stop: int) -> Iterator[tuple[int, int]]:
    from mmapkit.passes.sources import of_range

    at = start
    try:
        with of_range(mapping, start, stop) as blocks:
            for block in blocks:
                size = len(block)
                block.release()
                yield at, at + size
                at += size
        if at < stop:  # the mapping has become shorter: who works there tells of it
            yield at, stop
    except MappingFault as fault:
        # Reading ahead has met it. Who works there knows better how far it is good.
        yield at, stop
        fault.searched = stop
        raise


class Crew:
    """Threads that share the ranges of one call; or the caller's own thread alone.

    A context manager. However the block is left, no thread works on after it.
    """

    def __init__(self, threads: int | None) -> None:
        """Ask for so many threads; None for one on each core."""
        if threads is None:
            threads = count_cores()
        elif isinstance(threads, bool) or not hasattr(threads, "__index__"):
            raise TypeError(f"threads must be an int or None, not {type(threads).__name__}")
        elif threads.__index__() < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        self.size: int = threads.__index__()
        self._pool: Pool | None = None
        self._interrupt = bytearray(1)

    def __enter__(self) -> Self:
        """Wait for work."""
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        """Send everybody home, at once if something went wrong."""
        if self._pool is not None:
            self._interrupt[0] = 1
            self._pool.close()

    def run(self, work: Callable[..., Any], start: int, stop: int) -> Iterator[tuple[int, Any]]:
        """Give `last` and work(first, last, interrupt) for parts that make up [start, stop)."""
        parts = max(1, min(self.size, (stop - start) // SHARE_BYTES))
        if parts == 1:
            yield stop, work(start, stop, None)
            return
        pool = self._pool
        if pool is None or parts > pool.count:
            if pool is not None:
                pool.close()
            pool = self._pool = Pool(parts, "mmapkit-search")
        cuts = [start + (stop - start) * i // parts for i in range(parts + 1)]
        tasks = [Task(work, *cut, self._interrupt) for cut in itertools.pairwise(cuts)]
        for task in tasks:
            pool.start(task)
        for last, task in zip(cuts[1:], tasks, strict=True):
            yield last, task.result()
