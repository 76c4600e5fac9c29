"""`mmapkit demo`: its options, and what ends it early."""

from __future__ import annotations

import argparse
import importlib.util
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from mmapkit.cli.output import complain, describe
from mmapkit.errors import JournalError

__all__ = ["main"]

USAGE: Final = 2
INTERRUPTED: Final = 130
MOST_MEGABYTES: Final = 512  # with the copy to truncate, well below 1 GiB of disk


def main(arguments: Sequence[str]) -> int:
    """Run the demo; 0, 1 for a failure, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    if importlib.util.find_spec("rich") is None:
        return complain("the demo needs rich: pip install 'mmapkit[cli]'", USAGE)
    from mmapkit.cli.demo import report
    from mmapkit.cli.demo.contest import DifferentAnswers
    from mmapkit.cli.demo.subject import UnusableFile

    try:
        with _unwinding_when_terminated():
            report.run(options.file, options.size << 20)
    except KeyboardInterrupt:
        return complain("interrupted; temporary files are removed", INTERRUPTED)
    except OSError as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # a fault came at the same time
            return complain("interrupted; temporary files are removed", INTERRUPTED)
        return complain(describe(error))
    except (UnusableFile, DifferentAnswers, JournalError) as error:
        return complain(str(error))
    return 0


@contextmanager
def _unwinding_when_terminated() -> Iterator[None]:
    """Let `timeout` and a closed terminal end the program as Ctrl-C does, so that files go."""
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():  # others may not set handlers
        for name in {"SIGTERM", "SIGHUP"} & set(dir(signal)):
            number = getattr(signal, name)
            before[number] = signal.signal(number, _exit)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mmapkit demo",
        description="Reads random rows, sums in one pass, shows what is resident, and truncates a "
        "copy of the file under a running numpy sum; beside the same work with numpy.memmap, mmap "
        "and read. FILE is only read. Takes less than a minute and 1 GiB of disk for temporary "
        "files (set TMPDIR to choose where).",
    )
    parser.add_argument(
        "file",
        nargs="?",
        metavar="FILE",
        help="a .npy, raw or text file; data are made if none is given",
    )
    parser.add_argument(
        "--size",
        type=_megabytes,
        default=256,
        metavar="MIB",
        help=f"how much data to make, or to use of FILE: 1 to {MOST_MEGABYTES}, default 256",
    )
    return parser


def _megabytes(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if not 1 <= value <= MOST_MEGABYTES:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MOST_MEGABYTES}")
    return value
