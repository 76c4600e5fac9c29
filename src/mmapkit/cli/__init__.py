"""The `mmapkit` command: parses arguments, and turns what can go wrong into one line."""

from __future__ import annotations

import argparse
import importlib.util
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["main"]

FAILED, USAGE, INTERRUPTED = 1, 2, 130
MOST_MEGABYTES = 512  # with the copy to truncate, well below 1 GiB of disk


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        Without the program's name; `sys.argv` by default.

    Returns
    -------
    int
        0, 1 for a failure, 130 after Ctrl-C. Usage errors leave with ``SystemExit(2)``.
    """
    options = _parser().parse_args(argv)
    if importlib.util.find_spec("rich") is None:
        return _complain("the command line needs rich: pip install 'mmapkit[cli]'", USAGE)
    from mmapkit.cli import demo
    from mmapkit.cli.contest import DifferentAnswers
    from mmapkit.cli.subject import UnusableFile

    try:
        with _unwinding_when_terminated():
            demo.run(options.file, options.size << 20)
    except KeyboardInterrupt:
        return _complain("interrupted; temporary files are removed", INTERRUPTED)
    except OSError as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # a fault came at the same time
            return _complain("interrupted; temporary files are removed", INTERRUPTED)
        name = f": {error.filename!r}" if error.filename else ""
        return _complain(f"{error.strerror or error}{name}")
    except (UnusableFile, DifferentAnswers) as error:
        return _complain(str(error))
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


def _complain(message: str, status: int = FAILED) -> int:
    print(f"mmapkit: {message}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    from mmapkit import __version__

    parser = argparse.ArgumentParser(
        prog="mmapkit", description="Memory mapping for Python and numpy."
    )
    parser.add_argument("--version", action="version", version=f"mmapkit {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    demo = commands.add_parser(
        "demo",
        help="show on a file what mapping it with mmapkit does, beside numpy.memmap, mmap and read",
        description="Reads random rows, sums in one pass, shows what is resident, and truncates a "
        "copy of the file under a running numpy sum; beside the same work with numpy.memmap, mmap "
        "and read. FILE is only read. Takes less than a minute and 1 GiB of disk for temporary "
        "files (set TMPDIR to choose where).",
    )
    demo.add_argument(
        "file",
        nargs="?",
        metavar="FILE",
        help="a .npy, raw or text file; data are made if none is given",
    )
    demo.add_argument(
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
