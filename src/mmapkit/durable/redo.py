"""Redo: a journal's commits are written into the data file, as often as need be."""

from __future__ import annotations

from mmapkit.durable.findings import Findings
from mmapkit.durable.runs import plain_runs
from mmapkit.durable.window import Window

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mmapkit._native import File
    from mmapkit.durable.journal import Entry, Journal

__all__ = ["apply", "harden", "redo"]


def apply(found: Findings, entries: list[Entry], data: File) -> None:
    """Write commits into the data file, in order; again, if need be. What one of them cuts off and
    a later one makes long again reads as zeros, as it did."""
    size = data.size()
    for entry in entries:
        if entry.size_after != size:
            size = entry.size_after
            data.resize(size)
        for table, _, payload in found.parts_of(entry):
            if table:
                data.write_runs(plain_runs(table), payload)


def harden(found: Findings, file: File) -> None:
    """See that the journal outlives what is done with the data file.

    Its last commits may be in the page cache only. If a sync of them failed, the system may believe
    that they were written, and sync nothing: so they are written again.
    """
    start, end = found.settled, found.tail.position
    while start < end:
        count = min(end - start, Window.MOST)
        file.write(start, file.read(start, count))
        start += count
    file.sync()


def redo(journal: Journal, data: File) -> None:
    """Apply the commits that a process left when it died while others live, and mark the tail.

    To be called with the lock for writing, and nobody reading. Commits that had been applied before
    are left alone: what a process has written is there, even if it was killed a moment later.
    """
    journal.catch_up()
    with Findings(journal.path, journal.file) as found:
        harden(found, journal.file)
        left = [entry for entry in found.entries if entry.sequence > found.tail.applied]
        apply(found, left, data)
    journal.mark_applied()
