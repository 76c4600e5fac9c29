"""What the parsers of the text commands share."""

from __future__ import annotations

import argparse
import os

__all__ = ["add_threads", "parser_of", "positive"]


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Help as wide as the terminal, without importing shutil (and lzma) to ask how wide that is."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


def _columns() -> int:
    try:
        return int(os.environ.get("COLUMNS", "")) or 80
    except ValueError:
        pass
    try:
        return os.get_terminal_size().columns or 80
    except OSError:
        return 80


def parser_of(command: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """Return a parser without arguments, whose texts are printed as they are."""
    return argparse.ArgumentParser(
        prog=f"mmapkit {command}",
        description=description,
        epilog=epilog,
        formatter_class=_Formatter,
    )


def positive(text: str) -> int:
    """A whole number from 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return value


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add ``--threads``."""
    parser.add_argument(
        "--threads",
        type=positive,
        default=1,
        metavar="N",
        help="how many threads share the work on one file; default 1, which is all that most disks "
        "keep busy",
    )
