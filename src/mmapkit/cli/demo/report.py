"""What mapping a file with mmapkit does, beside the usual ways, as one table."""

from __future__ import annotations

import errno
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from mmapkit import __version__
from mmapkit.cli.demo import subject as subjects
from mmapkit.cli.demo import truncation, works
from mmapkit.cli.demo.contest import Result, compare
from mmapkit.cli.demo.subject import Subject
from mmapkit.errors import MappingFault
from mmapkit.mapping import Mapping
from mmapkit.mapping import open as open_mapping
from mmapkit.residency import residency

_STEPS: Final = 9
_TABLE_COLUMNS: Final = 100  # when nobody says how wide the output is
_OPENINGS: Final = 100


class _Steps:
    """Progress on stderr: a bar on a terminal, a line a step elsewhere."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description:<34}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=_STEPS)
        self._done = -1

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def __call__(self, step: str) -> None:
        """Say which step begins."""
        self._done += 1
        self._bar.update(self._task, description=step, completed=self._done)
        if not self._console.is_terminal:
            print(f"{step} ...", file=sys.stderr, flush=True)


def run(path: str | None, limit: int) -> None:
    """Run the demo on a file, or on data made for it, and print the table.

    Parameters
    ----------
    path : str or None
        The user's file, which is only read.
    limit : int
        How much of it to use, or how much data to make, in bytes.

    Raises
    ------
    OSError
        If a file cannot be opened, or the disk is full.
    UnusableFile
        If there is nothing in the file to work on.
    DifferentAnswers
        If two ways of doing the same work gave different answers.
    """
    subject = None if path is None else subjects.find(path, limit)
    temporary = tempfile.TemporaryDirectory(prefix="mmapkit-demo-", ignore_cleanup_errors=True)
    with temporary as directory, _Steps() as step:
        if subject is None:
            step(f"making {_megabytes(limit)} of data")
            subject = subjects.make(directory, limit)
        report = _Report(subject, made=path is None)
        _compare(subject, report, step)
        _show_residency(subject, report, step)
        _truncate(subject, directory, report, step)
    report.print()


# --- the three parts ------------------------------------------------------------------------------


def _compare(subject: Subject, report: _Report, step: Callable[[str], None]) -> None:
    step("opening")
    report.add(compare("open and close", works.opening(subject), times=_OPENINGS))
    step("random rows, resident")
    report.add(compare("random rows, resident", works.random_rows(subject, prefetch=False)))
    step(f"{subject.what}, resident")
    report.add(compare(f"{subject.what}, resident", works.one_pass(subject)))
    reason = _reason_not_to_evict(subject)
    if reason is not None:
        report.note(f"Work on an evicted file is left out: {reason}.")
        return

    def evict() -> None:
        _evict(subject)

    step("random rows, evicted")
    rows = works.random_rows(subject, prefetch=True)
    report.add(compare("random rows, evicted", rows, before=evict))
    step(f"{subject.what}, evicted")
    report.add(compare(f"{subject.what}, evicted", works.one_pass(subject), before=evict))


def _evict(subject: Subject) -> None:
    with open_mapping(subject.path) as mapping:
        mapping.evict()


def _reason_not_to_evict(subject: Subject) -> str | None:
    if sys.platform == "win32":
        return "Windows keeps a file in its cache after it has left a process"
    _evict(subject)
    left = residency(subject.path)
    if left.fraction is None:
        return "the system does not tell what is resident of this file"
    if left.fraction > 0.1:
        share = f"{left.fraction:.0%}"
        return f"{share} of it stays resident (in use elsewhere, just written, or kept in memory)"
    return None


def _show_residency(subject: Subject, report: _Report, step: Callable[[str], None]) -> None:
    step("residency")
    end = subject.offset + subject.nbytes
    with open_mapping(subject.path, length=end) as mapping:
        mapping.evict()
        report.tell("resident after evict()", _share(mapping))
        with _seconds() as prefetching:
            mapping.prefetch()
        at_once = _share(mapping)
        with _seconds() as populating:
            mapping.populate()
        report.tell(f"  prefetch(), {_time(prefetching[0])}", at_once)
        report.tell(f"  populate(), {_time(populating[0])}", _share(mapping))


def _share(mapping: Mapping) -> str:
    fraction = mapping.residency().fraction
    return "unknown" if fraction is None else f"{fraction:.0%}"


@contextmanager
def _seconds() -> Iterator[list[float]]:
    taken: list[float] = []
    start = time.perf_counter()
    yield taken
    taken.append(time.perf_counter() - start)


def _truncate(
    subject: Subject, directory: str, report: _Report, step: Callable[[str], None]
) -> None:
    step("truncating a copy under a sum")
    reason = truncation.reason_to_skip()
    if reason is not None:
        report.note(f"Truncation is left out: {reason}.")
        return
    fault = truncation.catch(truncation.copy_of(subject, directory))
    step("the same with numpy.memmap")
    rival = truncation.with_memmap(truncation.copy_of(subject, directory))
    report.truncated(fault, rival)


# --- the report -----------------------------------------------------------------------------------


class _Report:
    """Collects lines and prints them at the end."""

    def __init__(self, subject: Subject, *, made: bool) -> None:
        used = _megabytes(subject.nbytes)
        source = "data made for the demo" if made else subject.path
        self._title = f"mmapkit {__version__} on {source}: {subject.kind}"
        self._used = f"{used} in rows of {subject.row_bytes} bytes"
        self._rounds = 0
        self._notes: list[str] = []
        self._table = Table(box=SIMPLE, pad_edge=False, show_edge=False)
        self._table.add_column("work")
        for name in (works.OURS, *works.RIVALS):
            self._table.add_column(name, justify="right", no_wrap=True)

    def add(self, result: Result) -> None:
        """Add medians, and their ratios to ours."""
        ours = result.seconds[works.OURS]
        self._rounds = max(self._rounds, result.rounds)
        cells = [Text(_time(ours), style="bold")]
        for name in works.RIVALS:
            theirs = result.seconds.get(name)
            cells.append(
                Text("-", style="dim") if theirs is None else _beside(theirs, theirs / ours)
            )
        self._table.add_row(result.work, *cells)

    def tell(self, work: str, answer: str) -> None:
        """Add something that only mmapkit can tell."""
        cells = [Text("cannot tell", style="dim")] * 2
        self._table.add_row(work, Text(answer, style="bold"), *cells, Text("-", style="dim"))

    def truncated(self, fault: MappingFault | None, rival: str) -> None:
        """Add what a truncation does."""
        answer = Text("no fault", style="bold red")
        if fault is not None:
            answer = Text("raises", style="bold green")
            code = errno.errorcode.get(fault.errno or 0, "")
            self._notes.append(
                "mmapkit raised MappingFault out of numpy's sum:\n"
                f"  filename={fault.filename!r}\n"
                f"  offset={fault.offset}  cause={fault.cause!r}  errno={fault.errno} ({code})  "
                f"count={fault.count}"
            )
        self._notes.append(f"The process that did the same with numpy.memmap ended: {rival}.")
        died = Text("dies" if rival.startswith("SIG") else rival, style="bold red")
        nothing = Text("-", style="dim")
        self._table.add_row("truncated during sum", answer, died, nothing, nothing)

    def note(self, text: str) -> None:
        """Add a sentence below the table."""
        self._notes.append(text)

    def print(self) -> None:
        """Print all of it."""
        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = max(console.width, _TABLE_COLUMNS)
        console.print(Text(self._title), style="bold", soft_wrap=True)
        console.print(self._used, soft_wrap=True)
        console.print()
        console.print(self._table)
        console.print()
        console.print(
            f"Medians of {self._rounds} rounds; 2.0x took twice as long as mmapkit. All answers "
            "were equal.\nEvicted: the file was evicted first, and mmapkit prefetched the rows.",
            style="dim",
            soft_wrap=True,
        )
        for note in self._notes:
            console.print()
            console.print(Text(note), soft_wrap=True)


def _beside(seconds: float, ratio: float) -> Text:
    style = "green" if ratio > 1.05 else "red" if ratio < 0.95 else ""
    return Text.assemble(f"{_time(seconds)} ", (f"{ratio:.{1 if ratio < 100 else 0}f}x", style))


def _time(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale * 0.9995 or unit == "us":
            value = seconds / scale
            return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}"
    raise AssertionError("unreachable")


def _megabytes(count: int) -> str:
    if count < 1 << 20:
        return f"{count} bytes"
    return f"{np.round(count / (1 << 20), 1):g} MiB"
