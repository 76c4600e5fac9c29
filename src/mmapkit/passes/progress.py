"""How far a pass has come: a bar, plain lines, or a function that is told."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Final, Self

__all__ = ["Report", "progress_for"]

Report = Callable[[int, int], object]  # bytes done, bytes in all

LINE_EVERY_S: Final = 1.0


def progress_for(
    progress: bool | Report, total_bytes: int
) -> AbstractContextManager[Callable[[int], object]]:
    """Return a context manager that gives a function to call with the bytes done so far."""
    if callable(progress):
        report = progress
        return nullcontext(lambda done: report(done, total_bytes))
    if not progress:
        return nullcontext(lambda done: None)
    return _Bar(total_bytes) if importlib.util.find_spec("rich") else _Lines(total_bytes)


class _Bar:
    """A bar of rich's on stderr, gone when it is full."""

    def __init__(self, total_bytes: int) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._task = self._progress.add_task("", total=total_bytes)

    def __enter__(self) -> Callable[[int], object]:
        self._progress.start()
        return lambda done: self._progress.update(self._task, completed=done)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()


class _Lines:
    """A line on stderr each second, and one at the end."""

    def __init__(self, total_bytes: int) -> None:
        self._total_bytes = total_bytes
        self._begin = self._last = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if now - self._last < LINE_EVERY_S and done < self._total_bytes:
            return
        self._last = now
        share = done / self._total_bytes if self._total_bytes else 1.0
        rate = done / max(now - self._begin, 1e-9) / 1e6
        print(
            f"{done / 1e6:,.0f} of {self._total_bytes / 1e6:,.0f} MB ({share:.0%}), "
            f"{rate:,.0f} MB/s",
            file=sys.stderr,
            flush=True,
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the last line as it is."""
