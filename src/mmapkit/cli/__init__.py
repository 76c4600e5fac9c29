"""The `mmapkit` command: one module for each of its commands, of which a run imports one."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from mmapkit.cli.output import OutputClosed, OutputFailed, complain

TYPE_CHECKING = False  # importing typing would cost more than all of this
if TYPE_CHECKING:
    from typing import Final

__all__ = ["main"]

# Command -> what it does, in a line. Its module has a `main` of its own.
COMMANDS: Final = {
    "search": "print the lines of files that match a pattern",
    "count": "count the lines of files, or a literal in them",
    "lines": "print lines of a file by their numbers, at once",
    "recover": "complete the commits to files that a crash interrupted",
    "verify": "tell whether files show every commit, and whether their journals are sound",
    "demo": "show on a file what mapping it with mmapkit does, beside numpy.memmap, mmap and read",
}

NOT_PRINTED: Final = 2
INTERRUPTED: Final = 130
PIPE_CLOSED: Final = 141  # 128 and SIGPIPE's number: what ends other programs then


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        Without the program's name; `sys.argv` by default.

    Returns
    -------
    int
        What the command returns; 2 if its output cannot be written; 130 after Ctrl-C; 141 if nobody
        reads its output any more. Usage errors leave with ``SystemExit(2)``.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] not in COMMANDS:
        arguments = [_parser().parse_args(arguments).command]
    try:
        status: int = import_module(f"mmapkit.cli.{arguments[0]}").main(arguments[1:])
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return complain("interrupted", INTERRUPTED)
    except (OutputClosed, BrokenPipeError):
        _drop_output()
        return PIPE_CLOSED
    except OutputFailed as failed:
        _drop_output()
        return complain(f"cannot write: {failed}", NOT_PRINTED)
    return status


def _drop_output() -> None:
    """What is left in its buffer would be an error again when Python ends."""
    if sys.stdout is not None:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    """What answers when no command is named: help, the version, or an error."""
    from mmapkit import __version__

    parser = argparse.ArgumentParser(
        prog="mmapkit",
        description="Memory mapping for Python and numpy.",
        epilog="mmapkit COMMAND --help tells about a command.",
    )
    parser.add_argument("--version", action="version", version=f"mmapkit {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, effect in COMMANDS.items():
        commands.add_parser(name, help=effect)
    return parser
